"""One WFDB record in microvolts: the wfdb library reads it, here is what it leaves unchecked.

The library takes a header by its word, fills gaps with defaults and never compares checksums. So
the header's lines must be complete before it reads (a default gain or unit would be a guess), each
signal file must lie beside its header, and afterwards rate, leads, units and checksums must be
what they should.

References
----------
.. [1] WFDB Applications Guide, header(5) and signal(5). https://wfdb.io/wag/
"""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadmin.data.archive import Archive, FileError, FolderArchive
from leadmin.data.dataset import MICROVOLTS_PER
from leadmin.data.ptbxl import DURATION
from leadmin.data.recordings.wfdb import packed_bytes, quick_lookups, read_header
from leadmin.errors import LeadminError
from leadmin.leads import LEADS, canonical_lead

RECORD_LIMIT = 2**22
"""Bytes that a header or a signal file may have."""

_INVALID_SAMPLE = -(2**15)
"""What formats of 16 bits write where there is no valid sample."""

_SCALE = {unit.casefold(): factor for unit, factor in MICROVOLTS_PER.items()}


class Header(NamedTuple):
    """What has to be known of a WFDB header before its signals are read."""

    name: str
    n_samples: int  # of each signal
    files: dict[str, range]  # signal file, without folder, to the bytes that it may have


def check_header(content: bytes, where: str) -> Header:
    """Check that a WFDB header is complete, so that no default of the library steps in.

    `FileError` if it is not a single-segment header with one complete line for each signal, or
    holds what this study cannot honour (several samples a frame, skew, offsets, other units than
    volts). ``where`` names it in the message.
    """
    try:
        lines = read_header(content.decode("utf-8"), where)  # the library skips what is not text
    except UnicodeDecodeError as error:
        raise FileError(f"{where} is not UTF-8 text: {error.reason}", "header") from error
    except LeadminError as error:
        raise FileError(str(error), "header") from error
    n_samples = int(lines.record["n_samples"] or 0)
    for signal in lines.signals:
        unit = str(signal["unit"]).casefold()
        if unit not in _SCALE or not signal["lead"] or signal["offset"] or not signal[0].isascii():
            raise FileError(
                f"{where}: {signal[0][:80]!r} is not a complete signal line; valid: file, format, "
                f"gain/unit ({', '.join(MICROVOLTS_PER)}), five whole numbers, lead",
                "header",
            )
    files = {
        file: packed_bytes([one for one in lines.signals if one["file"] == file], n_samples)
        for file in dict.fromkeys(signal["file"] for signal in lines.signals)
    }
    return Header(lines.record["name"], n_samples, files)


Digests = list[tuple[str, str]]
"""Name and SHA-256 of every file that was read for a record."""


def read_record(
    archive: Archive,
    record: str,
    sampling_rate: int,
    checksums: Mapping[str, str] | None = None,
) -> tuple[NDArray[np.int16], Digests]:
    """Read one record, e.g. ``records100/00000/00001_lr``, which must have ``sampling_rate`` Hz.

    Every file read must be listed in ``checksums`` and agree, unless there are none. Gives the
    signal, ``(12, 10 s * sampling_rate)`` in microvolts, in the order of `leadmin.leads.LEADS`
    (leads are placed by their names, not by their position), and the digests. `FileError` if the
    record is missing, damaged, or not what it should be; its ``reason`` says which.
    """
    found = next(read_records(archive, [record], sampling_rate, checksums))
    if isinstance(found, FileError):
        raise found
    return found


def read_records(
    archive: Archive,
    records: Iterable[str],
    sampling_rate: int,
    checksums: Mapping[str, str] | None = None,
) -> Iterator[tuple[NDArray[np.int16], Digests] | FileError]:
    """Read records one after the other as `read_record` does; an error takes a record's place."""
    with tempfile.TemporaryDirectory(prefix="leadmin-") as scratch:
        for record in records:
            contents: dict[str, bytes] = {}
            try:
                yield _read(archive, record, sampling_rate, checksums, Path(scratch), contents)
            except FileError as error:
                yield error
            for file in contents:
                Path(scratch, file).unlink(missing_ok=True)


def _read(
    archive: Archive,
    record: str,
    sampling_rate: int,
    checksums: Mapping[str, str] | None,
    scratch: Path,
    contents: dict[str, bytes],
) -> tuple[NDArray[np.int16], Digests]:
    """Read a record; ``contents`` gets its files, which may be written to ``scratch``."""
    if not record:
        raise FileError(f"{archive.path} names no file for this record", "missing")
    where, n_samples = archive.where(record), DURATION * sampling_rate
    folder, _, name = record.rpartition("/")
    digests: Digests = []

    def read(file: str) -> bytes:
        member = f"{folder}/{file}" if folder else file
        contents[file], digest = archive.read_listed(member, RECORD_LIMIT, checksums)
        digests.append((member, digest))
        return contents[file]

    header = check_header(read(f"{name}.hea"), f"{where}.hea")
    if header.name != name:
        raise FileError(f"{where}.hea describes the record {header.name[:80]!r}", "header")
    if header.n_samples != n_samples:
        raise FileError(
            f"{where} has {header.n_samples or 'no number of'} samples a lead, not {n_samples}",
            "length",
        )
    for file, fit in header.files.items():
        n_bytes = len(read(file))
        if n_bytes not in fit:
            raise FileError(f"{where}: {file} has {n_bytes} bytes, not {fit[0]}", "length")
    path = archive.path / record
    if not isinstance(archive, FolderArchive):  # the library reads from folders alone
        path = scratch / name
        for file, content in contents.items():
            (scratch / file).write_bytes(content)
    return _checked(_by_wfdb(path, where), where, sampling_rate), digests


def _by_wfdb(path: Path, where: str) -> Any:
    try:
        with quick_lookups() as wfdb:
            return wfdb.rdrecord(str(path), physical=False)
    except Exception as error:  # the library raises whatever its parsing runs into
        text = re.sub(r"<\S+ object at \w+>", "it", f"{type(error).__name__}: {error}")[:300]
        raise FileError(f"{where}: wfdb cannot read it: {text}", "damaged") from error


def _checked(found: Any, where: str, sampling_rate: int) -> NDArray[np.int16]:
    """Turn a `wfdb.Record` with digital samples into microvolts, if all of it is right."""
    if found.fs != sampling_rate:
        raise FileError(
            f"{where} was sampled at {found.fs:g} Hz, not at {sampling_rate} Hz", "rate"
        )
    try:
        names = [canonical_lead(name) for name in found.sig_name]
    except LeadminError as error:
        raise FileError(f"{where}: {error}", "leads") from error
    if sorted(names) != sorted(LEADS):
        missing = ", ".join(lead for lead in LEADS if lead not in names) or "none"
        repeated = ", ".join(sorted({n for n in names if names.count(n) > 1})) or "none"
        raise FileError(
            f"{where} must hold the 12 leads once each; missing: {missing}; repeated: {repeated}",
            "leads",
        )
    if not all(0 < gain < 1e9 for gain in found.adc_gain):
        raise FileError(f"{where}: the gains are {found.adc_gain}; valid: 0 to 1e9", "header")
    digital: NDArray[np.int64] = found.d_signal
    n_samples = DURATION * sampling_rate
    if digital.shape != (n_samples, len(LEADS)):
        raise FileError(f"{where} ends after {len(digital)} of {n_samples} samples", "length")
    for name, total, listed in zip(names, found.calc_checksum(), found.checksum, strict=True):
        if total != listed % 65536:
            raise FileError(
                f"{where}: the samples of lead {name} add up to {total} (mod 65536), the header "
                f"says {listed}; the file is damaged",
                "checksum",
            )
    invalid = [name for name, row in zip(names, digital.T, strict=True) if _INVALID_SAMPLE in row]
    if invalid:
        raise FileError(f"{where} has samples marked invalid in {', '.join(invalid)}", "invalid")
    if not digital.any():
        raise FileError(f"{where} is zero everywhere", "empty")
    scale = np.array([_SCALE[unit.casefold()] for unit in found.units]) / found.adc_gain
    microvolts = np.rint((digital - np.array(found.baseline)) * scale).T
    if not np.abs(microvolts).max() < 2**15:  # so that a NaN is refused too
        raise FileError(
            f"{where} reaches {np.abs(microvolts).max() / 1e3:.1f} mV, beyond the ±32.7 mV that "
            "16 bits of microvolts hold",
            "range",
        )
    return microvolts[[names.index(lead) for lead in LEADS]].astype(np.int16)
