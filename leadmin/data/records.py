"""One WFDB record, from its bytes to microvolts, with every check that the format allows.

The reader takes bytes, not paths, so that a record can be read straight out of a zip file. The two
formats that PTB-XL and its embedded sample use are decoded here (16: little-endian int16, 516: the
same in FLAC); every other format goes through the WFDB library.

References
----------
.. [1] WFDB Applications Guide, header(5) and signal(5). https://wfdb.io/wag/
"""

import io
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from leadmin.errors import LeadminError
from leadmin.leads import LEADS, canonical_lead

INVALID_SAMPLE = -(2**15)
"""What format 16 writes where there is no valid sample."""

_MICROVOLTS = {"uv": 1.0, "µv": 1.0, "μv": 1.0, "mv": 1e3, "v": 1e6}

_RECORD_LINE = re.compile(
    r"(?P<name>[-\w]+)\s+(?P<n_signals>\d{1,4})\s+(?P<rate>\d{1,9}(?:\.\d{1,9})?)"
    r"(?:/\S+)?\s+(?P<n_samples>\d{1,12})(?:\s.*)?"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>[-\w.]+)\s+"
    r"(?P<format>\d{1,4})(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?\s+"
    r"(?P<gain>[-+]?\d{1,12}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,3})?)"
    r"(?:\((?P<baseline>-?\d{1,12})\))?(?:/(?P<unit>\S+))?\s+"
    r"(?P<resolution>\d{1,4})\s+(?P<zero>-?\d{1,12})\s+"
    r"(?P<initial>-?\d{1,12})\s+(?P<checksum>-?\d{1,12})\s+(?P<block>-?\d{1,12})\s+"
    r"(?P<description>\S.*)"
)


class RecordError(LeadminError):
    """A record cannot be used.

    Attributes
    ----------
    reason : str
        One word for tables: missing, damaged, oversized, checksum, header, leads, rate, length,
        empty, invalid or range.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["RecordError"], tuple[str, str]]:
        return type(self), (str(self), self.reason)


@dataclass(frozen=True)
class SignalSpec:
    """One signal line of a header.

    Attributes
    ----------
    file, format : str
        The signal file and its WFDB format.
    lead : str
        Canonical lead name.
    gain : float
        Digital units per `unit`.
    baseline : int
        Digital value that stands for 0.
    unit : str
        For instance ``"mV"``.
    checksum : int
        Sum of the digital samples modulo 65,536.
    """

    file: str
    format: str
    lead: str
    gain: float
    baseline: int
    unit: str
    checksum: int


@dataclass(frozen=True)
class Header:
    """What a single-segment WFDB header says.

    Attributes
    ----------
    name : str
        Record name.
    sampling_rate : float
        Hz.
    n_samples : int
        Samples per signal.
    signals : tuple of SignalSpec
        In the order of the file.
    """

    name: str
    sampling_rate: float
    n_samples: int
    signals: tuple[SignalSpec, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The signal files, each once, in the order of the header."""
        return tuple(dict.fromkeys(signal.file for signal in self.signals))


def parse_header(content: bytes, where: str) -> Header:
    """Read a WFDB header of a 12-lead record.

    Parameters
    ----------
    content : bytes
        The ``.hea`` file.
    where : str
        Its name, for error messages.

    Returns
    -------
    Header

    Raises
    ------
    RecordError
        If it is not UTF-8 text, not a single-segment header with one line for each signal, or
        holds a field that this study cannot honour (several samples per frame, skew, offsets).
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{where} is not UTF-8 text: {error.reason}.", "header") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    first = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if first is None:
        raise RecordError(
            f"{where}: the first line should read 'name signals rate samples'.", "header"
        )
    n_signals = int(first["n_signals"])
    if len(lines) != 1 + n_signals:
        raise RecordError(
            f"{where} announces {n_signals} signals and describes {len(lines) - 1}.", "header"
        )
    signals = tuple(_parse_signal(line, f"{where}, line {line!r}") for line in lines[1:])
    return Header(
        name=first["name"],
        sampling_rate=float(first["rate"]),
        n_samples=int(first["n_samples"]),
        signals=signals,
    )


def _parse_signal(line: str, where: str) -> SignalSpec:
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        raise RecordError(f"{where} is not a complete WFDB signal line.", "header")
    if int(match["per_frame"] or 1) != 1 or int(match["skew"] or 0) or int(match["offset"] or 0):
        raise RecordError(f"{where}: several samples a frame, skew or offset.", "header")
    if match["unit"] is None or match["unit"].casefold() not in _MICROVOLTS:
        raise RecordError(f"{where}: the unit {match['unit']!r} is not mV, uV or V.", "header")
    gain = float(match["gain"])
    if not 0 < gain < 1e9:
        raise RecordError(f"{where}: the gain {match['gain']} cannot be used.", "header")
    try:
        lead = canonical_lead(match["description"])
    except LeadminError as error:
        raise RecordError(f"{where}: {error}", "leads") from error
    return SignalSpec(
        file=match["file"],
        format=match["format"],
        lead=lead,
        gain=gain,
        baseline=int(match["baseline"] if match["baseline"] is not None else match["zero"]),
        unit=match["unit"],
        checksum=int(match["checksum"]) % 65536,
    )


def decode(
    header: Header,
    read_file: Callable[[str], bytes],
    where: str,
    sampling_rate: int,
    n_samples: int,
    raw_header: bytes,
) -> NDArray[np.int16]:
    """Turn a record into microvolts in the order of `LEADS`.

    Parameters
    ----------
    header : Header
        The parsed header.
    read_file : callable
        Gives the bytes of one of ``header.files``.
    where : str
        The record's name, for error messages.
    sampling_rate : int
        Hz that the record must have.
    n_samples : int
        Samples that each lead must have.
    raw_header : bytes
        The header itself, which the WFDB library needs for formats other than 16 and 516.

    Returns
    -------
    ndarray of int16
        ``(12, n_samples)``, microvolts. Leads are placed by their names, not by their position.

    Raises
    ------
    RecordError
        If leads are missing or repeated, rate or length differ, the samples do not add up to the
        checksum of the header, a sample is marked invalid, everything is zero, or the voltage
        does not fit int16.
    """
    names = [signal.lead for signal in header.signals]
    if sorted(names) != sorted(LEADS):
        missing = [lead for lead in LEADS if lead not in names]
        repeated = sorted({lead for lead in names if names.count(lead) > 1})
        raise RecordError(
            f"{where} must hold the 12 leads once each; missing: {', '.join(missing) or 'none'}; "
            f"repeated: {', '.join(repeated) or 'none'}.",
            "leads",
        )
    if header.sampling_rate != sampling_rate:
        raise RecordError(
            f"{where} was sampled at {header.sampling_rate:g} Hz, not at {sampling_rate} Hz.",
            "rate",
        )
    if header.n_samples != n_samples:
        raise RecordError(
            f"{where} has {header.n_samples} samples a lead, not {n_samples}.", "length"
        )
    digital = _digital_samples(header, read_file, where, raw_header)
    sums = digital.sum(axis=1, dtype=np.int64) % 65536
    for signal, total in zip(header.signals, sums, strict=True):
        if total != signal.checksum:
            raise RecordError(
                f"{where}: the samples of lead {signal.lead} add up to {total} (mod 65536), the "
                f"header says {signal.checksum}; the file is damaged.",
                "checksum",
            )
    if (digital == INVALID_SAMPLE).any():
        leads = [
            s.lead for s, row in zip(header.signals, digital, strict=True) if INVALID_SAMPLE in row
        ]
        raise RecordError(f"{where} has samples marked invalid in {', '.join(leads)}.", "invalid")
    if not digital.any():
        raise RecordError(f"{where} is zero everywhere.", "empty")
    return _to_microvolts(header, digital, where)


def _digital_samples(
    header: Header, read_file: Callable[[str], bytes], where: str, raw_header: bytes
) -> NDArray[np.int16]:
    """Give the digital samples ``(n_signals, n_samples)`` in the order of the header."""
    formats = {signal.format for signal in header.signals}
    if not formats <= {"16", "516"}:
        contents = {file: read_file(file) for file in header.files}
        return _by_wfdb_library(header, contents, where, raw_header)
    digital = np.empty((len(header.signals), header.n_samples), dtype=np.int16)
    for file in header.files:
        rows = [row for row, signal in enumerate(header.signals) if signal.file == file]
        kinds = {header.signals[row].format for row in rows}
        if len(kinds) != 1:
            raise RecordError(f"{where} gives {file} two formats.", "header")
        content = read_file(file)
        decoder = _decode_16 if kinds == {"16"} else _decode_516
        digital[rows] = decoder(content, len(rows), header.n_samples, f"{where}, {file}")
    return digital


def _decode_16(content: bytes, n_signals: int, n_samples: int, where: str) -> NDArray[np.int16]:
    expected = 2 * n_signals * n_samples
    if len(content) != expected:
        raise RecordError(
            f"{where} has {len(content)} bytes; {n_signals} signals of {n_samples} samples take "
            f"{expected}.",
            "length",
        )
    return np.frombuffer(content, dtype="<i2").reshape(n_samples, n_signals).T


def _decode_516(content: bytes, n_signals: int, n_samples: int, where: str) -> NDArray[np.int16]:
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            shape = (file.frames, file.channels)
            if file.format != "FLAC" or file.subtype != "PCM_16" or shape != (n_samples, n_signals):
                raise RecordError(
                    f"{where} is {file.format} {file.subtype} with {file.channels} signals of "
                    f"{file.frames} samples, not FLAC PCM_16 with {n_signals} of {n_samples}.",
                    "length" if file.format == "FLAC" else "damaged",
                )
            samples = file.read(n_samples, dtype="int16", always_2d=True)
    except (soundfile.SoundFileError, ValueError, TypeError, OSError) as error:
        raise RecordError(f"{where} is not a readable FLAC file: {error}", "damaged") from error
    if samples.shape != (n_samples, n_signals):
        raise RecordError(f"{where} ends after {len(samples)} of {n_samples} samples.", "length")
    result: NDArray[np.int16] = samples.T
    return result


def _by_wfdb_library(
    header: Header, contents: Mapping[str, bytes], where: str, raw_header: bytes
) -> NDArray[np.int16]:
    with tempfile.TemporaryDirectory(prefix="leadmin-") as folder:
        for file, content in contents.items():
            Path(folder, file).write_bytes(content)
        Path(folder, f"{header.name}.hea").write_bytes(raw_header)
        import wfdb  # takes a while and is hardly ever needed

        try:
            record = wfdb.rdrecord(str(Path(folder, header.name)), physical=False)
            digital: NDArray[Any] = np.asarray(record.d_signal).T
        except Exception as error:  # the library raises whatever its parsing runs into
            raise RecordError(
                f"{where}: the WFDB library cannot read it ({type(error).__name__}: {error}).",
                "damaged",
            ) from error
    if digital.shape != (len(header.signals), header.n_samples):
        raise RecordError(f"{where} ends after {digital.shape[-1]} samples.", "length")
    if digital.min() < INVALID_SAMPLE or digital.max() > 2**15 - 1:
        raise RecordError(f"{where} has samples of more than 16 bits.", "range")
    return digital.astype(np.int16)


def _to_microvolts(header: Header, digital: NDArray[np.int16], where: str) -> NDArray[np.int16]:
    rows = [[signal.lead for signal in header.signals].index(lead) for lead in LEADS]
    ordered = digital if rows == list(range(len(LEADS))) else digital[rows]
    specs = [header.signals[row] for row in rows]
    scale = np.array([_MICROVOLTS[s.unit.casefold()] / s.gain for s in specs])[:, None]
    baseline = np.array([s.baseline for s in specs])[:, None]
    if (scale == 1).all() and not baseline.any():
        return np.ascontiguousarray(ordered)
    microvolts = np.rint((ordered.astype(np.float64) - baseline) * scale)
    limits = np.iinfo(np.int16)
    if microvolts.min() <= limits.min or microvolts.max() > limits.max:
        raise RecordError(
            f"{where} reaches {np.abs(microvolts).max() / 1e3:.1f} mV, beyond the ±32.7 mV that "
            "16 bits of microvolts hold.",
            "range",
        )
    return microvolts.astype(np.int16)
