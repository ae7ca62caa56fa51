"""What recorders and hospital archives write: EDF, DICOM waveforms, and HL7 aECG.

References
----------
.. [1] Kemp B, Olivan J. European data format 'plus'. Clin Neurophysiol 114, 1755 (2003).
.. [2] DICOM PS3.3, C.10.9 Waveform module: voltage = stored value * sensitivity * correction +
   baseline, the baseline in the units of the sensitivity.
.. [3] HL7 v3 Annotated ECG, R1: value = origin + digit * scale, time from the increment of a
   GLIST_TS.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leadmin.data.recordings.recording import (
    Channel,
    Options,
    Recording,
    assemble,
    check_size,
    parsed_as,
    read_bytes,
)
from leadmin.errors import LeadminError

_EDF_HEADER = 256
_HL7 = "{urn:hl7-org:v3}"
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

_HARMLESS = re.compile(
    r"\((?:einthoven|goldberger|wilson|mdc_\w+|[muµμ]?v)\)|, augmented voltage, \w+", re.IGNORECASE
)
"""What says nothing more of a signal than the name of its lead, as ``(inv)`` would."""


def read_edf(path: Path, options: Options, name: str) -> list[Recording]:
    """Read an EDF or EDF+ file without gaps."""
    where, content = str(path), read_bytes(path)
    if content[192:197] == b"EDF+D":
        raise LeadminError(
            f"{where}: an EDF+ with gaps; valid: a continuous one; cut it at its gaps"
        )
    with parsed_as("EDF", where):
        import edfio

        _check_edf(content, where)
        file = edfio.read_edf(io.BytesIO(content), header_encoding="latin-1")
        rates = {signal.sampling_frequency for signal in file.signals}
        named = [(_bare(signal.label), signal.physical_dimension) for signal in file.signals]
        channels = [
            Channel(label, unit, np.asarray(signal.data, dtype=np.float64))
            for (label, unit), signal in zip(named, file.signals, strict=True)
        ]
    if len(rates) > 1:
        raise LeadminError(
            f"{where}: its signals have {', '.join(f'{r:g}' for r in sorted(rates))} Hz; valid: "
            "one rate for all; export the ECG alone"
        )
    return [assemble(channels, next(iter(rates), None), options, name, where)]


def _check_edf(content: bytes, where: str) -> None:
    """Compare the size of an EDF file with what its header announces."""
    n_records, n_signals = int(content[236:244]), int(content[252:256])
    first = _EDF_HEADER + 216 * n_signals
    per_record = [int(content[first + 8 * n : first + 8 * n + 8]) for n in range(n_signals)]
    announced = _EDF_HEADER * (n_signals + 1) + 2 * n_records * sum(per_record)
    check_size(n_signals, n_records * max(per_record, default=0), where)
    if min(per_record, default=0) < 1 or announced != len(content):
        raise LeadminError(
            f"{where}: it has {len(content)} bytes, its header announces {announced}; the file is "
            "damaged; get it again"
        )


def _bare(label: str) -> str:
    """Give a channel's label without what recorders put around it; a sign stays."""
    plain = _HARMLESS.sub("", label.replace("\0", "")).strip()
    return re.sub(r"(?i)^(e[ck]g)(?:[:_-]|\s+-\s)\s*(?=\S)", r"\1 ", plain)


def read_dicom(path: Path, options: Options, name: str) -> list[Recording]:
    """Read the original waveforms of a DICOM ECG; each multiplex group is a recording."""
    where, content = str(path), read_bytes(path)
    found, left_out = [], []
    with parsed_as("a DICOM waveform", where):
        import pydicom

        dataset = pydicom.dcmread(io.BytesIO(content))
        groups = list(dataset.get("WaveformSequence", None) or [])
        for number, group in enumerate(groups, start=1):
            place = f"{where}: waveform {number}"
            if str(group.get("WaveformOriginality", "ORIGINAL")) == "DERIVED":
                left_out.append(f"waveform {number} is derived, such as a median beat: left out")
                continue
            channels, rate = _waveform(group, place)
            found.append((channels, rate, place, name if len(groups) == 1 else f"{name}#{number}"))
    if not found:
        raise LeadminError(
            f"{where}: it holds no original waveform; valid: a DICOM ECG; export the waveform, "
            "not the picture"
        )
    return [
        assemble(channels, rate, options, name_, place, left_out)
        for channels, rate, place, name_ in found
    ]


def _waveform(group: Any, where: str) -> tuple[list[Channel], float]:
    """Read one multiplex group; see [2]_."""
    from pydicom.waveforms.numpy_handler import WAVEFORM_DTYPES

    n_channels, n_samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    check_size(n_channels, n_samples, where)
    stored = int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation)
    if stored not in WAVEFORM_DTYPES or stored[1] in {"MB", "AB"}:  # companded: mu-law, A-law
        raise LeadminError(
            f"{where}: its samples are stored as {stored}; valid: whole numbers (SB, UB, SS, US, "
            "SL, UL); convert it"
        )
    kind = np.dtype(WAVEFORM_DTYPES[stored])
    content = bytes(group.WaveformData)
    definitions = list(group.ChannelDefinitionSequence)
    needed = n_channels * n_samples * kind.itemsize
    if len(content) not in {needed, needed + needed % 2} or len(definitions) != n_channels:
        raise LeadminError(
            f"{where}: it holds {len(content)} bytes for {len(definitions)} described channels; "
            f"valid: {needed} for {n_channels}; get the file again"
        )
    raw = np.frombuffer(content, dtype=kind, count=n_channels * n_samples)
    raw = raw.reshape(n_samples, n_channels)
    padding = group.get("WaveformPaddingValue")
    if isinstance(padding, bytes):
        padding = np.frombuffer(padding, dtype=kind)[0]
    channels = []
    for column, definition in zip(raw.T, definitions, strict=True):
        source = definition.get("ChannelSourceSequence")
        label = str(source[0].get("CodeMeaning", "")) if source else ""
        label = label or str(definition.get("ChannelLabel", ""))
        if any(float(definition.get(f"Channel{of}Skew") or 0) for of in ("Sample", "Time")):
            raise LeadminError(
                f"{where}: channel {label[:40]} has a skew against the others; valid: none; "
                "convert it"
            )
        values = column.astype(np.float64)
        if definition.get("ChannelSensitivity") is None:
            unit = ""  # the numbers of the ADC: the user may know their gain
        else:
            unit = str(definition.ChannelSensitivityUnitsSequence[0].CodeValue)
            factor = float(definition.ChannelSensitivity)
            factor *= float(definition.get("ChannelSensitivityCorrectionFactor") or 1)
            values = values * factor + float(definition.get("ChannelBaseline") or 0)
        if padding is not None:
            values[column == padding] = np.nan
        channels.append(Channel(_bare(label), unit, values))
    return channels, float(group.SamplingFrequency)


def read_aecg(path: Path, options: Options, name: str) -> list[Recording]:
    """Read the series of an HL7 annotated ECG; each is a recording."""
    where, content = str(path), read_bytes(path)
    with parsed_as("HL7 aECG", where):
        from defusedxml import ElementTree
    try:
        root = ElementTree.fromstring(content, forbid_dtd=True)
    except Exception as error:  # entities, a DTD, or no XML
        raise LeadminError(
            f"{where}: it is no XML that is read ({type(error).__name__}: {str(error)[:120]}); "
            "valid: HL7 aECG without DTD or entities; export it again"
        ) from error
    if root.tag != f"{_HL7}AnnotatedECG":
        raise LeadminError(
            f"{where}: the XML is {root.tag[:60]!r}; valid: AnnotatedECG of HL7 v3; convert it"
        )
    series = root.findall(f"{_HL7}component/{_HL7}series")
    if not series:
        raise LeadminError(f"{where}: it holds no series; valid: one or more; export it again")
    found = []
    for number, one in enumerate(series, start=1):
        place = where if len(series) == 1 else f"{where}: series {number}"
        with parsed_as("HL7 aECG", place):
            channels, rate = _series(one, place)
        own = name if len(series) == 1 else f"{name}#{number}"
        found.append(assemble(channels, rate, options, own, place))
    return found


def _series(series: Any, where: str) -> tuple[list[Channel], float]:
    """Read one series: sequences of one time axis; see [3]_."""
    sets = series.findall(f"{_HL7}component/{_HL7}sequenceSet")
    if len(sets) != 1:
        raise LeadminError(
            f"{where}: it holds {len(sets)} sets of sequences; valid: one; export a continuous ECG"
        )
    channels, rates = [], []
    for code, value in _sequences(sets[0], where):
        kind = value.get(_XSI_TYPE, "").rpartition(":")[2]
        if code.startswith("TIME_"):
            step, unit = (_needed(value, "increment", p, where) for p in ("value", "unit"))
            if unit not in _SECONDS or not float(step) > 0:
                raise LeadminError(
                    f"{where}: time goes on by {step[:20]} {unit[:20]}; valid: more than 0 s, "
                    "ms or us; export it again"
                )
            rates.append(1 / (float(step) * _SECONDS[unit]))
        elif kind == "SLIST_PQ":
            place = f"{where}: {code}"
            both = ("origin", "scale")
            origin, size = (float(_needed(value, part, "value", place)) for part in both)
            units = [value.find(f"{_HL7}{part}").get("unit") for part in both]
            if units[0] != units[1] and origin:
                raise LeadminError(
                    f"{place}: origin and scale have the units {units[0]} and {units[1]}; valid: "
                    "one unit; export it again"
                )
            digits = np.array(value.findtext(f"{_HL7}digits", "").split(), float)
            channels.append(Channel(code, units[1] or "", origin + size * digits))
        else:
            raise LeadminError(
                f"{where}: {code} is written as {kind!r}; valid: SLIST_PQ; export it again"
            )
    if len(rates) != 1:
        raise LeadminError(
            f"{where}: it has {len(rates)} axes of time; valid: one; export it again"
        )
    return channels, rates[0]


def _sequences(sequence_set: Any, where: str) -> Iterator[tuple[str, Any]]:
    for sequence in sequence_set.findall(f"{_HL7}component/{_HL7}sequence"):
        code, value = _needed(sequence, "code", "code", where), sequence.find(f"{_HL7}value")
        if value is None:
            raise LeadminError(f"{where}: {code} has no value; valid: one; export it again")
        yield code, value


def _needed(element: Any, child: str, name: str, where: str) -> str:
    """Give the attribute ``name`` of a child."""
    found = element.find(f"{_HL7}{child}")
    if found is None or not found.get(name):
        raise LeadminError(f"{where}: {child} has no {name!r}; valid: HL7 aECG R1; export it again")
    return str(found.get(name))
