"""One record of PTB-XL in microvolts: a WFDB record as strangers have it, and nothing left open.

Its header's lines must be complete, its files as the archive lists them, and leads, rate and length
those of every other record.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadmin.data.archive import Archive, FileError, FolderArchive
from leadmin.data.dataset import MICROVOLTS_PER
from leadmin.data.ptbxl import DURATION
from leadmin.data.recordings.recording import Channel
from leadmin.data.recordings.wfdb import Lines, read_channels, read_header
from leadmin.errors import LeadminError
from leadmin.leads import LEADS, canonical_lead

RECORD_LIMIT = 2**22
"""Bytes that a header or a signal file may have."""

_SCALE = {unit.casefold(): factor for unit, factor in MICROVOLTS_PER.items()}


def check_header(content: bytes, where: str) -> Lines:
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
    for signal in lines.signals:
        unit = str(signal["unit"]).casefold()
        if unit not in _SCALE or not signal["lead"] or signal["offset"] or not signal[0].isascii():
            raise FileError(
                f"{where}: {signal[0][:80]!r} is not a complete signal line; valid: file, format, "
                f"gain/unit ({', '.join(MICROVOLTS_PER)}), five whole numbers, lead",
                "header",
            )
        if float(signal["gain"]) >= 1e9:
            raise FileError(
                f"{where}: lead {signal['lead']} has a gain of {signal['gain']}; valid: 0 to 1e9",
                "header",
            )
    return lines


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
    with tempfile.TemporaryDirectory(prefix="leadmin-") as folder:
        scratch = Path(folder)
        for record in records:
            try:
                yield _read(archive, record, sampling_rate, checksums, scratch)
            except FileError as error:
                yield error
            for file in scratch.iterdir():
                file.unlink()


def _read(
    archive: Archive,
    record: str,
    sampling_rate: int,
    checksums: Mapping[str, str] | None,
    scratch: Path,
) -> tuple[NDArray[np.int16], Digests]:
    if not record:
        raise FileError(f"{archive.path} names no file for this record", "missing")
    where, n_samples = archive.where(record), DURATION * sampling_rate
    folder, _, name = record.rpartition("/")
    unpacked = isinstance(archive, FolderArchive)  # the library reads from folders alone
    place, digests = archive.path / folder if unpacked else scratch, Digests()

    def read(file: str) -> bytes:
        member = f"{folder}/{file}" if folder else file
        content, digest = archive.read_listed(member, RECORD_LIMIT, checksums)
        digests.append((member, digest))
        if not unpacked:
            (scratch / file).write_bytes(content)
        return content

    lines = check_header(read(f"{name}.hea"), f"{where}.hea")
    rate, length = lines.record["rate"], lines.record["n_samples"]
    if float(rate or 0) != sampling_rate:
        said = rate or "no number of"
        raise FileError(f"{where} was sampled at {said} Hz, not at {sampling_rate} Hz", "rate")
    if int(length or 0) != n_samples:
        raise FileError(
            f"{where} has {length or 'no number of'} samples a lead, not {n_samples}", "length"
        )
    for file in lines.files:
        read(file)
    try:
        channels = read_channels(place / f"{name}.hea", lines, where)
    except FileError:
        raise
    except LeadminError as error:
        raise FileError(str(error), "damaged") from error
    return _microvolts(channels, n_samples, where), digests


def _microvolts(channels: Sequence[Channel], n_samples: int, where: str) -> NDArray[np.int16]:
    """Put the twelve leads in order, if they are there and right."""
    try:
        names = [canonical_lead(channel.name) for channel in channels]
    except LeadminError as error:
        raise FileError(f"{where}: {error}", "leads") from error
    if sorted(names) != sorted(LEADS):
        missing = ", ".join(lead for lead in LEADS if lead not in names) or "none"
        repeated = ", ".join(sorted({n for n in names if names.count(n) > 1})) or "none"
        raise FileError(
            f"{where} must hold the 12 leads once each; missing: {missing}; repeated: {repeated}",
            "leads",
        )
    ordered = [channels[names.index(lead)] for lead in LEADS]
    for lead, channel in zip(LEADS, ordered, strict=True):
        if channel.wrong:
            raise FileError(f"{where}: lead {lead}: {channel.wrong}", "checksum")
    x = np.array([_SCALE[channel.unit.casefold()] * channel.values for channel in ordered])
    x = np.rint(np.round(x, 6))  # halves are halves, whatever the division by the gain left
    if x.shape[1] != n_samples:
        raise FileError(f"{where} ends after {x.shape[1]} of {n_samples} samples", "length")
    invalid = [lead for lead, row in zip(LEADS, x, strict=True) if np.isnan(row).any()]
    if invalid:
        raise FileError(f"{where} has samples marked invalid in {', '.join(invalid)}", "invalid")
    if not x.any():
        raise FileError(f"{where} is zero everywhere", "empty")
    largest = np.abs(x).max()
    if not largest < 2**15:
        raise FileError(
            f"{where} reaches {largest / 1e3:.1f} mV, beyond the ±32.7 mV that 16 bits of "
            "microvolts hold",
            "range",
        )
    return x.astype(np.int16)
