"""WFDB records of any kind: the wfdb library reads the signals, here is what it leaves unchecked.

The library fills a gap in a header with a default, such as a gain of 200, and takes sizes by their
word. So the header's lines are read first, by the rules of header(5) [1]_.

References
----------
.. [1] WFDB Applications Guide, header(5) and signal(5). https://wfdb.io/wag/
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from leadmin.data.archive import FileError
from leadmin.data.recordings.recording import (
    MOST_BYTES,
    UNITS,
    Channel,
    Options,
    Recording,
    assemble,
    check_size,
    file_size,
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
_PACKED = {"16": (1, 2), "61": (1, 2), "160": (1, 2), "80": (1, 1), "212": (2, 3), "24": (1, 3)}
_PACKED |= {"32": (1, 4), "310": (3, 4), "311": (3, 4)} | dict.fromkeys(
    ("508", "516", "524"), (1, 0)
)
"""How many samples are packed into how many bytes, by format; in the last three it depends."""


class Lines(NamedTuple):
    """The lines of a header, each by the names of its fields."""

    record: re.Match[str]
    signals: list[re.Match[str]]

    @property
    def files(self) -> list[str]:
        """Names of the signal files, which lie beside the header."""
        return list(dict.fromkeys(signal["file"] for signal in self.signals))


def read_wfdb(header: Path, options: Options, name: str) -> list[Recording]:
    """Read the record whose header is the file ``header``; its signals lie beside it."""
    where = str(header)
    lines = read_header(read_bytes(header).decode("utf-8-sig", "replace"), where)
    rate = float(lines.record["rate"]) if lines.record["rate"] else None
    return [assemble(read_channels(header, lines, where), rate, options, name, where)]


def read_channels(header: Path, lines: Lines, where: str) -> list[Channel]:
    """Read the signals of a record whose header, a file, has these lines."""
    _check_files(lines, header, where)
    with parsed_as("WFDB", where), quick_lookups() as wfdb:
        found = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
        digital = np.asarray(found.d_signal)
        no_sample = wfdb.io._signal.INVALID_SAMPLE_VALUE
    zeros = [float(signal["baseline"] or signal["zero"] or 0) for signal in lines.signals]
    values = (digital - np.array(zeros)) / [float(signal["gain"]) for signal in lines.signals]
    values[digital == [no_sample[signal["format"]] for signal in lines.signals]] = np.nan
    totals = digital.sum(axis=0, dtype=np.int64).tolist()
    channels = []
    for signal, column, total in zip(lines.signals, values.T, totals, strict=True):
        listed, wrong = signal["checksum"], ""
        if listed and (int(listed) - total) % 65536:
            wrong = (
                f"its samples add up to {total % 65536} (mod 65536), the header says {listed}; the "
                "file is damaged; get it again"
            )
        channels.append(Channel(signal["lead"] or "", signal["unit"] or "mV", column, wrong))
    return channels


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


def _packed_bytes(signals: Sequence[re.Match[str]], n_samples: int) -> range:
    """Say how many bytes a file may have that holds these signals and nothing else."""
    samples, size = _PACKED[signals[0]["format"]]
    if not size:
        return range(MOST_BYTES + 1)
    start, n_values = int(signals[0]["offset"] or 0), n_samples * len(signals)
    least, most = math.ceil(n_values * size / samples), math.ceil(n_values / samples) * size
    return range(start + least, start + most + 1)


def _check_files(lines: Lines, path: Path, where: str) -> None:
    """Refuse a record that is too large, or whose files are not those that its header means."""
    first, signals = lines
    if first["name"] != path.stem:
        raise FileError(
            f"{where}: the record calls itself {first['name']!r}; valid: the name of its file; "
            "rename it back",
            "header",
        )
    n_samples = int(first["n_samples"] or 0)
    if n_samples:  # else the library counts them in the file
        check_size(len(signals), n_samples, where)
    for file in lines.files:
        own = [signal for signal in signals if signal["file"] == file]
        size = file_size(path.with_name(file))
        if not n_samples:
            check_size(len(own), size, where)
            continue
        fit = _packed_bytes(own, n_samples)
        if size not in fit:
            raise FileError(
                f"{where}: {file} has {size} bytes; valid: the {fit[0]} that the header asks for; "
                "get the record again",
                "length",
            )


def _signal(line: str, number: int, where: str) -> re.Match[str]:
    match = _SIGNAL.fullmatch(line)
    if match is None or match["format"] not in _PACKED:
        raise LeadminError(
            f"{where}: signal {number} is {line[:80]!r}; valid: file, format ("
            f"{', '.join(_PACKED)}), gain/unit, five whole numbers, lead; convert the record"
        )
    if match["skew"] or int(match["frame"] or 1) != 1:
        raise LeadminError(
            f"{where}: signal {number} has a skew or several samples a frame; valid: neither; "
            "convert the record"
        )
    if float(match["gain"] or 0) == 0:
        raise LeadminError(
            f"{where}: signal {number} has no gain, so that its voltage is unknown; valid: "
            f"a gain and its unit ({UNITS}); complete the header"
        )
    return match
