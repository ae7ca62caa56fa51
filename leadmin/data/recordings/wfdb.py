"""WFDB records of any kind: the wfdb library reads the signals, here is what it leaves unchecked.

The library fills a gap in a header with a default, such as a gain of 200, and takes sizes by their
word. So the header's lines are read first, by the rules of header(5) [1]_.

References
----------
.. [1] WFDB Applications Guide, header(5) and signal(5). https://wfdb.io/wag/
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from leadmin.data.recordings.recording import (
    UNITS,
    Channel,
    Options,
    Recording,
    assemble,
    check_size,
    parsed_as,
    read_bytes,
)
from leadmin.errors import LeadminError

_RECORD = re.compile(
    r"(?P<name>[-\w]+)(?P<segments>/\d+)?\s+(?P<n_signals>\d{1,4})"
    r"(?:\s+(?P<rate>\d{1,9}(?:\.\d{1,12})?)(?:/\S*)?(?:\s+(?P<n_samples>\d{1,15})(?:\s.*)?)?)?",
    re.ASCII,
)
_SIGNAL = re.compile(
    r"(?P<file>[-\w]+(?:\.\w+)?)\s+(?P<format>\d{1,4})(?:x(?P<frame>\d{1,9}))?(?P<skew>:\d+)?"
    r"(?:\+(?P<offset>\d{1,12}))?"
    r"(?:\s+(?P<gain>\d{1,12}(?:\.\d{1,12})?(?:e[-+]?\d{1,3})?)(?:\((?P<baseline>-?\d{1,12})\))?"
    r"(?:/(?P<unit>[^\s/]+))?(?:\s+-?\d{1,12}(?:\s+(?P<zero>-?\d{1,12})(?:\s+-?\d{1,12}"
    r"(?:\s+(?P<checksum>-?\d{1,12})(?:\s+-?\d{1,12}(?:\s+(?P<lead>\S.*))?)?)?)?)?)?)?",
    re.IGNORECASE,
)
_BITS = {
    "16": 16,
    "61": 16,
    "160": 16,
    "80": 8,
    "212": 12,
    "24": 24,
    "32": 32,
    "310": 10,
    "311": 10,
}
_BITS |= {"508": 0, "516": 0, "524": 0}
"""Bits that one sample takes at least, by format; in the last three it depends."""


class Lines(NamedTuple):
    """The lines of a header, each by the names of its fields."""

    record: re.Match[str]
    signals: list[re.Match[str]]


def read_wfdb(header: Path, options: Options, name: str) -> list[Recording]:
    """Read the record whose header is the file ``header``; its signals lie beside it."""
    where = str(header)
    lines = read_header(read_bytes(header).decode("utf-8", "replace"), where)
    _check_files(lines, header, where)
    with parsed_as("WFDB", where), quick_lookups() as wfdb:
        found = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
        digital = np.asarray(found.d_signal)
        no_sample = wfdb.io._signal.INVALID_SAMPLE_VALUE
    channels, noticed = [], []
    for signal, column in zip(lines.signals, digital.T, strict=True):
        values = column.astype(np.float64)
        values[column == no_sample[signal["format"]]] = np.nan
        zero = float(signal["baseline"] or signal["zero"] or 0)
        values = (values - zero) / float(signal["gain"])
        lead, listed = signal["lead"] or "", signal["checksum"]
        if listed and (int(listed) - int(column.sum(dtype=np.int64))) % 65536:
            noticed.append(f"the samples of {lead} do not add up to the header's checksum")
        channels.append(Channel(lead, signal["unit"] or "mV", values))
    rate = float(lines.record["rate"]) if lines.record["rate"] else None
    return [assemble(channels, rate, options, name, where, noticed)]


_quick: dict[str, SimpleNamespace] = {}


@contextmanager
def quick_lookups() -> Iterator[Any]:
    """Lend wfdb its two tables of header fields as dictionaries, and yield the library.

    It looks up some 240 single values a header in pandas tables, which takes nine tenths of its
    time (5.9 ms a record instead of 0.6 ms: two minutes more for PTB-XL). Writing records needs
    the tables themselves, so they are put back.
    """
    import wfdb  # takes a second, and most commands do without
    from wfdb.io import _header

    tables = {name: getattr(_header, name) for name in ("RECORD_SPECS", "SIGNAL_SPECS")}
    if not _quick:
        for name, table in tables.items():
            cells = {
                (row, column): table.at[row, column] for row in table.index for column in table
            }
            _quick[name] = SimpleNamespace(index=tuple(table.index), loc=cells)
    vars(_header).update(_quick)
    try:
        yield wfdb
    finally:
        vars(_header).update(tables)


def read_header(text: str, where: str) -> Lines:
    """Read the lines of a header; refuse what is incomplete, or what nobody here can read."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    first = _RECORD.fullmatch(lines[0]) if lines else None
    if first is None:
        raise LeadminError(
            f"{where}: the first line is {''.join(lines[:1])[:80]!r}; valid: 'name signals rate "
            "samples'; get the record again"
        )
    if first["segments"]:
        raise LeadminError(
            f"{where}: a record of several segments; valid: the header of one; give that"
        )
    if not 0 < int(first["n_signals"]) == len(lines) - 1:
        raise LeadminError(
            f"{where}: it announces {first['n_signals']} signals and describes {len(lines) - 1}; "
            "get the record again"
        )
    return Lines(first, [_signal(line, n, where) for n, line in enumerate(lines[1:], start=1)])


def _check_files(lines: Lines, path: Path, where: str) -> None:
    """Refuse a record that is too large, or whose files are not those that its header means."""
    first, signals = lines
    if first["name"] != path.stem:
        raise LeadminError(
            f"{where}: the record calls itself {first['name']!r}; valid: the name of its file; "
            "rename it back"
        )
    n_samples = int(first["n_samples"] or 0)
    if n_samples:  # else the library counts them in the file
        check_size(len(signals), n_samples, where)
    for file in {signal["file"] for signal in signals}:
        beside = path.with_name(file)
        own = [signal for signal in signals if signal["file"] == file]
        needed = int(own[0]["offset"] or 0) + n_samples * len(own) * _BITS[own[0]["format"]] // 8
        size = len(read_bytes(beside))
        if size < needed:
            raise LeadminError(
                f"{beside}: it has {size} bytes; valid: the {needed} that {path.name} asks for; "
                "get the record again"
            )
        if not n_samples:
            check_size(len(own), size, where)


def _signal(line: str, number: int, where: str) -> re.Match[str]:
    match = _SIGNAL.fullmatch(line)
    if match is None or match["format"] not in _BITS:
        raise LeadminError(
            f"{where}: signal {number} is {line[:80]!r}; valid: file, format ("
            f"{', '.join(_BITS)}), gain/unit, five whole numbers, lead; convert the record"
        )
    if match["skew"] or int(match["frame"] or 1) != 1:
        raise LeadminError(
            f"{where}: signal {number} has a skew or several samples a frame; valid: neither; "
            "convert the record"
        )
    if not match["gain"] or float(match["gain"]) == 0:
        raise LeadminError(
            f"{where}: signal {number} has no gain, so that its voltage is unknown; valid: "
            f"a gain and its unit ({UNITS}); complete the header"
        )
    return match
