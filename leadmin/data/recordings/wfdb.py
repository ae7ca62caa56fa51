"""WFDB records of any kind: the wfdb library reads the signals, here is what it leaves unchecked.

The library fills a gap in a header with a default, such as a gain of 200, and takes sizes by their
word. So the header's lines are read first, by the rules of header(5) [1]_.

References
----------
.. [1] WFDB Applications Guide, header(5) and signal(5). https://wfdb.io/wag/
"""

import re
from pathlib import Path
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
    r"(?P<file>[-\w]+(?:\.\w+)?)\s+(?P<format>\d{1,4})(?:x(?P<frame>\d+))?(?P<skew>:\d+)?"
    r"(?:\+(?P<offset>\d{1,12}))?"
    r"(?:\s+(?P<gain>\d{1,12}(?:\.\d{1,12})?(?:e[-+]?\d{1,3})?)(?:\((?P<baseline>-?\d{1,12})\))?"
    r"(?:/(?P<unit>[^\s/]+))?(?:\s+-?\d+(?:\s+(?P<zero>-?\d+)(?:\s+-?\d+"
    r"(?:\s+(?P<checksum>-?\d+)(?:\s+-?\d+(?:\s+(?P<lead>\S.*))?)?)?)?)?)?)?",
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


class _Header(NamedTuple):
    signals: list[dict[str, Any]]
    rate: float | None


def read_wfdb(header: Path, options: Options, name: str) -> list[Recording]:
    """Read the record whose header is the file ``header``; its signals lie beside it."""
    where = str(header)
    parsed = _header(read_bytes(header), header, where)
    from leadmin.data.records import quick_lookups  # pandas takes its time

    with parsed_as("WFDB", where), quick_lookups() as wfdb:
        found = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
        digital = np.asarray(found.d_signal)
        no_sample = wfdb.io._signal.INVALID_SAMPLE_VALUE
    channels, noticed = [], []
    for signal, column in zip(parsed.signals, digital.T, strict=True):
        values = column.astype(np.float64)
        values[column == no_sample[signal["format"]]] = np.nan
        zero = float(signal["baseline"] or signal["zero"] or 0)
        values = (values - zero) / float(signal["gain"])
        lead, listed = signal["lead"] or "", signal["checksum"]
        if listed and (int(listed) - int(column.sum(dtype=np.int64))) % 65536:
            noticed.append(f"the samples of {lead} do not add up to the header's checksum")
        channels.append(Channel(lead, signal["unit"] or "mV", values))
    return [assemble(channels, parsed.rate, options, name, where, noticed)]


def _header(content: bytes, path: Path, where: str) -> _Header:
    """Read the lines of a header; refuse what is incomplete, too large, or leads elsewhere."""
    text = content.decode("utf-8", "replace")
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
    if first["name"] != path.stem:
        raise LeadminError(
            f"{where}: the record calls itself {first['name']!r}; valid: the name of its file; "
            "rename it back"
        )
    if not 0 < int(first["n_signals"]) == len(lines) - 1:
        raise LeadminError(
            f"{where}: it announces {first['n_signals']} signals and describes {len(lines) - 1}; "
            "get the record again"
        )
    n_samples = int(first["n_samples"] or 0)
    if n_samples:  # else the library counts them in the file
        check_size(len(lines) - 1, n_samples, where)
    signals = [_signal(line, n, where) for n, line in enumerate(lines[1:], start=1)]
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
    return _Header(signals, float(first["rate"]) if first["rate"] else None)


def _signal(line: str, number: int, where: str) -> dict[str, Any]:
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
    return match.groupdict()
