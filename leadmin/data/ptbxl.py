"""PTB-XL as a source: its tables, its diagnostic superclasses, its files and its records.

References
----------
.. [1] Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, Schaeffter T.
   PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 7:154, 2020.
   https://doi.org/10.1038/s41597-020-0495-6
.. [2] The data set itself, version 1.0.3, PhysioNet. https://doi.org/10.13026/kfzx-aw45
.. [3] Strodthoff N, Wagner P, Schaeffter T, Samek W. Deep learning for ECG analysis: benchmarks
   and insights from PTB-XL. IEEE J Biomed Health Inform 25(5):1519-1528, 2021.
"""

import ast
import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.archive import Archive, MemberError, checked_member, open_archive
from leadmin.data.records import RecordError, decode, parse_header
from leadmin.errors import LeadminError
from leadmin.labels import CLASSES, LABEL_POLICIES

VERSION = "1.0.3"
TITLE = "PTB-XL, a large publicly available electrocardiography dataset"
TOP_FOLDER = f"ptb-xl-a-large-publicly-available-electrocardiography-dataset-{VERSION}"
DOI = "10.13026/kfzx-aw45"
PAPER_DOI = "10.1038/s41597-020-0495-6"
LICENSE_NAME = "CC BY 4.0"
LICENSE_URL = "https://creativecommons.org/licenses/by/4.0/"

N_RECORDS = 21_799
"""Records of the complete data set."""

OFFICIAL_COUNTS: Mapping[str, int] = MappingProxyType(
    {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649}
)
"""Records of each superclass in the complete data set, any likelihood, as [2]_ states them."""

SAMPLING_RATES: tuple[int, ...] = (100, 500)
DURATION = 10
"""Seconds of every PTB-XL record."""

AGE_OVER_89 = 300.0
"""What PTB-XL writes for every age above 89 years, to protect the oldest patients."""

DATABASE_FILE = "ptbxl_database.csv"
STATEMENTS_FILE = "scp_statements.csv"
CHECKSUM_FILE = "SHA256SUMS.txt"
LICENSE_FILE = "LICENSE.txt"
RECORDS_FILE = "RECORDS"
PROVENANCE_FILE = "provenance.csv"
"""Not in the official archive: which 100 Hz records were resampled from 500 Hz ones."""

NOTE_COLUMNS: tuple[str, ...] = (
    "baseline_drift",
    "static_noise",
    "burst_noise",
    "electrodes_problems",
    "extra_beats",
    "pacemaker",
)
"""Free-text annotations; a record has the note when the field is not empty."""

_TABLE_LIMIT = 256 * 2**20
_RECORD_LIMIT = 4 * 2**20
_TEXT_LIMIT = 4096
_FILE_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
_REQUIRED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold")
_SHA256_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*)")


@dataclass(frozen=True)
class RecordTable:
    """The rows of ``ptbxl_database.csv`` that matter here, checked, in the order of record ids.

    Attributes
    ----------
    record_id, patient_id : ndarray of int32
        ``(n_records,)``.
    fold : ndarray of int8
        1 to 10; all records of a patient are in one fold.
    age : ndarray of float32
        Years, NaN where unknown, 300 for over 89.
    sex : ndarray of int8
        0 male, 1 female, -1 unknown.
    statements : tuple of dict
        For each record the SCP-ECG codes with their likelihood in per cent.
    files : dict of int to tuple of str
        Sampling rate in Hz to the record path of each record, without extension.
    metadata : pandas.DataFrame
        What describes subgroups; see `METADATA_COLUMNS`.
    """

    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    age: NDArray[np.float32]
    sex: NDArray[np.int8]
    statements: tuple[dict[str, float], ...]
    files: dict[int, tuple[str, ...]]
    metadata: pd.DataFrame

    def __len__(self) -> int:
        return len(self.record_id)


METADATA_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "site": "recording site as PTB-XL numbers it, -1 unknown",
        "device": "recording device as PTB-XL names it, empty if unknown",
        "height": "height of the patient in cm, NaN unknown",
        "weight": "weight of the patient in kg, NaN unknown",
        "recording_date": "shifted date and time of the recording, as PTB-XL gives it",
        "baseline_drift": "1 where a note on baseline drift was made",
        "static_noise": "1 where a note on static noise was made",
        "burst_noise": "1 where a note on burst noise was made",
        "electrodes_problems": "1 where a note on electrode problems was made",
        "extra_beats": "1 where a note on extra beats was made",
        "pacemaker": "1 where a note on a pacemaker was made",
        "validated_by_human": "1 where a human validated the statements, -1 unknown",
        "resampled_from_500_hz": "1 where the 100 Hz record is no file of PTB-XL's, -1 unknown",
        "scp_codes": "JSON object: SCP-ECG code to likelihood in per cent",
    }
)


def open_ptbxl(path: Path) -> Archive:
    """Open PTB-XL, or a cut of it in the same layout, as a zip file or an unpacked folder."""
    return open_archive(path, DATABASE_FILE)


def read_table(archive: Archive) -> RecordTable:
    """Read and check ``ptbxl_database.csv``.

    Parameters
    ----------
    archive : Archive
        The opened source.

    Returns
    -------
    RecordTable

    Raises
    ------
    LeadminError
        If the table is missing or a field cannot be what it should be; the message names file,
        column and record.
    """
    where = archive.where(DATABASE_FILE)
    frame = _read_csv(archive, DATABASE_FILE)
    missing = [column for column in _REQUIRED if column not in frame.columns]
    if missing:
        raise LeadminError(f"{where} lacks the columns {', '.join(missing)}. Is it PTB-XL?")
    if len(frame) == 0:
        raise LeadminError(f"{where} has no rows.")
    record_id = _numbers(frame, "ecg_id", where, low=0, high=2**31 - 1, whole=True)
    order = np.argsort(record_id, kind="stable")
    frame, record_id = frame.iloc[order].reset_index(drop=True), record_id[order]
    repeated = np.flatnonzero(np.diff(record_id) == 0)
    if repeated.size:
        raise LeadminError(f"{where} lists ecg_id {int(record_id[repeated[0]])} more than once.")
    ids = [f"ecg_id {int(number)}" for number in record_id]

    def column(name: str, low: float, high: float, whole: bool, unknown: float) -> NDArray[Any]:
        if name not in frame.columns:
            return np.full(len(frame), unknown)
        return _numbers(frame, name, where, low, high, whole, unknown, ids)

    patient_id = _numbers(frame, "patient_id", where, 0, 2**31 - 1, True, rows=ids)
    fold = _numbers(frame, "strat_fold", where, 1, 10, True, rows=ids)
    _check_patients(patient_id, fold, where)
    statements = tuple(
        parse_statements(text, f"{where}, {row}")
        for text, row in zip(frame["scp_codes"], ids, strict=True)
    )
    files = {
        rate: tuple(_record_path(frame, name, row, where, ids) for row in range(len(frame)))
        for rate, name in _FILE_COLUMNS.items()
        if name in frame.columns
    }
    for rate, names in files.items():
        _check_distinct(names, ids, f"{where}, {_FILE_COLUMNS[rate]}")
    metadata = pd.DataFrame(
        {
            "site": column("site", 0, 2**15 - 1, True, -1).astype(np.int16),
            "device": _texts(frame, "device", where, ids),
            "height": column("height", 0, 400, False, np.nan).astype(np.float32),
            "weight": column("weight", 0, 1000, False, np.nan).astype(np.float32),
            "recording_date": _texts(frame, "recording_date", where, ids),
            **{
                name: (
                    (frame[name].str.strip() != "").to_numpy(np.int8)
                    if name in frame.columns
                    else np.full(len(frame), -1, np.int8)
                )
                for name in NOTE_COLUMNS
            },
            "validated_by_human": _booleans(frame, "validated_by_human", where, ids),
            "resampled_from_500_hz": _resampled(archive, record_id),
            "scp_codes": [_as_json(codes) for codes in statements],
        }
    )
    return RecordTable(
        record_id=record_id.astype(np.int32),
        patient_id=patient_id.astype(np.int32),
        fold=fold.astype(np.int8),
        age=column("age", 0, AGE_OVER_89, False, np.nan).astype(np.float32),
        sex=column("sex", 0, 1, True, -1).astype(np.int8),
        statements=statements,
        files=files,
        metadata=metadata,
    )


def read_superclasses(archive: Archive) -> dict[str, str]:
    """Read from ``scp_statements.csv`` which SCP-ECG code belongs to which superclass.

    Returns
    -------
    dict of str to str
        Every diagnostic code with its superclass; form and rhythm codes are left out.

    Raises
    ------
    LeadminError
        If the table is missing, incomplete, or names a superclass that is not one of `CLASSES`.
    """
    where = archive.where(STATEMENTS_FILE)
    frame = _read_csv(archive, STATEMENTS_FILE)
    for column in ("diagnostic", "diagnostic_class"):
        if column not in frame.columns:
            raise LeadminError(f"{where} lacks the column {column}. Is it PTB-XL?")
    flags = _numbers(frame, "diagnostic", where, 0, 1, whole=True, unknown=0)
    codes = frame[frame.columns[0]].str.strip()
    superclasses: dict[str, str] = {}
    for code, superclass, diagnostic in zip(codes, frame["diagnostic_class"], flags, strict=True):
        if diagnostic != 1:
            continue
        if superclass not in CLASSES:
            raise LeadminError(
                f"{where}: the code {code!r} has the superclass {superclass!r}, which is none of "
                f"{', '.join(CLASSES)}."
            )
        if code in superclasses:
            raise LeadminError(f"{where} lists the code {code!r} more than once.")
        superclasses[code] = superclass
    if set(superclasses.values()) != set(CLASSES):
        missing = [name for name in CLASSES if name not in superclasses.values()]
        raise LeadminError(f"{where} has no code for the superclass {', '.join(missing)}.")
    return superclasses


def label_matrix(
    statements: tuple[dict[str, float], ...], superclasses: Mapping[str, str], policy: str
) -> NDArray[np.uint8]:
    """Turn SCP-ECG codes into superclass labels.

    Parameters
    ----------
    statements : tuple of dict
        For each record its codes with their likelihood in per cent.
    superclasses : mapping of str to str
        Diagnostic code to superclass.
    policy : str
        A key of `LABEL_POLICIES`.

    Returns
    -------
    ndarray of uint8
        ``(n_records, 5)`` in the order of `CLASSES`; several may be 1, or none.
    """
    if policy not in LABEL_POLICIES:
        raise LeadminError(
            f"There is no label policy called {policy!r}; valid: {', '.join(LABEL_POLICIES)}."
        )
    threshold = LABEL_POLICIES[policy].least
    labels = np.zeros((len(statements), len(CLASSES)), dtype=np.uint8)
    for row, codes in enumerate(statements):
        for code, likelihood in codes.items():
            if likelihood >= threshold and code in superclasses:
                labels[row, CLASSES.index(superclasses[code])] = 1
    return labels


def parse_statements(text: str, where: str) -> dict[str, float]:
    """Read one ``scp_codes`` field, which PTB-XL writes as a Python dictionary literal.

    Raises
    ------
    LeadminError
        If it is anything but a dictionary of codes with likelihoods from 0 to 100.
    """
    if len(text) > _TEXT_LIMIT:
        raise LeadminError(
            f"{where}: scp_codes has {len(text)} characters; that is no list of codes."
        )
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise LeadminError(
            f"{where}: scp_codes {text[:60]!r} is not a dictionary of codes and likelihoods."
        ) from error
    if not isinstance(value, dict):
        raise LeadminError(f"{where}: scp_codes {text[:60]!r} is not a dictionary.")
    codes: dict[str, float] = {}
    for code, likelihood in value.items():
        number = isinstance(likelihood, int | float) and not isinstance(likelihood, bool)
        if not isinstance(code, str) or not number or not 0 <= likelihood <= 100:
            raise LeadminError(
                f"{where}: scp_codes has the entry {str(code)[:40]!r}: {str(likelihood)[:40]}; a "
                "code with a likelihood from 0 to 100 should stand there."
            )
        codes[code] = float(likelihood)
    return codes


def read_checksums(archive: Archive) -> dict[str, str] | None:
    """Read the archive's own ``SHA256SUMS.txt``.

    Returns
    -------
    dict of str to str or None
        File name to SHA-256 in lower-case hexadecimal; None where the archive has no such file.

    Raises
    ------
    LeadminError
        If the file is not a list of checksums.
    """
    if CHECKSUM_FILE not in archive:
        return None
    where = archive.where(CHECKSUM_FILE)
    text = _decode(archive.read(CHECKSUM_FILE, _TABLE_LIMIT), where)
    return parse_checksums(text, where)


def check_tables(archive: Archive, checksums: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Hash the tables of an archive and compare them with the archive's own list.

    Parameters
    ----------
    archive : Archive
        The opened source.
    checksums : mapping of str to str or None
        From `read_checksums`; None where the archive has no such list.

    Returns
    -------
    list of (str, str)
        Name and SHA-256 of each table that the archive holds.

    Raises
    ------
    LeadminError
        If a table differs from its checksum or is not listed.
    """
    digests = []
    for member in (DATABASE_FILE, STATEMENTS_FILE, PROVENANCE_FILE):
        if member not in archive:
            continue
        digest = hashlib.sha256(archive.read(member, _TABLE_LIMIT)).hexdigest()
        complaint = _compare(archive, member, digest, checksums)
        if complaint:
            raise LeadminError(
                f"{complaint} The file is damaged or was edited; get the archive again."
            )
        digests.append((member, digest))
    return digests


def parse_checksums(text: str, where: str) -> dict[str, str]:
    """Read lines of ``<sha256> <file>``; see `read_checksums`."""
    checksums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _SHA256_LINE.fullmatch(line.strip())
        if match is None:
            raise LeadminError(f"{where}, line {number}: {line[:80]!r} is not '<sha256> <file>'.")
        name, digest = checked_member(match[2].strip()), match[1].lower()
        if checksums.setdefault(name, digest) != digest:
            raise LeadminError(f"{where} gives {name} two different checksums.")
    return checksums


def read_record(
    archive: Archive,
    record: str,
    sampling_rate: int,
    checksums: Mapping[str, str] | None = None,
) -> tuple[NDArray[np.int16], list[tuple[str, str]]]:
    """Read one record.

    Parameters
    ----------
    archive : Archive
        The opened source.
    record : str
        Path of the record in the archive without extension, e.g. ``records100/00000/00001_lr``.
    sampling_rate : int
        100 or 500 Hz.
    checksums : mapping of str to str, optional
        File name to SHA-256. Every file read has to be listed and to agree.

    Returns
    -------
    signal : ndarray of int16
        ``(12, 10 s * sampling_rate)``, microvolts, in the order of `leadmin.leads.LEADS`.
    digests : list of (str, str)
        Name and SHA-256 of every file read.

    Raises
    ------
    RecordError
        If the record is missing, damaged, or not what it should be; ``reason`` says which.
    """
    digests: list[tuple[str, str]] = []

    def read_file(member: str) -> bytes:
        try:
            content = archive.read(member, _RECORD_LIMIT)
        except MemberError as error:
            raise RecordError(str(error), error.kind) from error
        digest = hashlib.sha256(content).hexdigest()
        complaint = _compare(archive, member, digest, checksums)
        if complaint:
            raise RecordError(complaint, "checksum")
        digests.append((member, digest))
        return content

    if not record:
        raise RecordError(f"{archive.path} names no file for this record.", "missing")
    folder, _, name = record.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    where = archive.where(record)
    raw_header = read_file(f"{record}.hea")
    header = parse_header(raw_header, f"{where}.hea")
    if header.name != name:
        raise RecordError(f"{where}.hea describes the record {header.name!r}.", "header")
    try:
        signal = decode(
            header,
            lambda file: read_file(prefix + file),
            where,
            sampling_rate,
            DURATION * sampling_rate,
            raw_header,
        )
    except RecordError:
        raise
    except LeadminError as error:  # a signal file outside the archive
        raise RecordError(f"{where}.hea: {error}", "header") from error
    return signal, digests


def _compare(
    archive: Archive, member: str, digest: str, checksums: Mapping[str, str] | None
) -> str:
    """Say what is wrong with a file's checksum; nothing where the archive lists none at all."""
    if checksums is None or checksums.get(member) == digest:
        return ""
    if member not in checksums:
        return f"{archive.where(member)} is not listed in {CHECKSUM_FILE}."
    return f"{archive.where(member)} differs from its checksum in {CHECKSUM_FILE}."


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LeadminError(
            f"{where}, line {line}: not UTF-8 text (byte {content[error.start]:#04x}); the file is "
            "damaged or was saved in another encoding."
        ) from error


def _read_csv(archive: Archive, member: str) -> pd.DataFrame:
    """Read a CSV file of the archive with every field as text; an absent field is empty."""
    where = archive.where(member)
    text = _decode(archive.read(member, _TABLE_LIMIT), where)
    if "\0" in text:
        raise LeadminError(f"{where} holds zero bytes; the file is damaged.")
    try:
        names = next(csv.reader(io.StringIO(text, newline="")), [])
        frame = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, na_filter=False, index_col=False
        )
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        ValueError,
        OverflowError,
        csv.Error,
    ) as error:
        raise LeadminError(f"{where} is not a CSV table: {error}") from error
    frame = frame.fillna("")  # the missing end of a short row
    if len(set(names)) < len(names):  # pandas would give the second another name
        raise LeadminError(f"{where} has two columns of one name.")
    return frame


def _numbers(
    frame: pd.DataFrame,
    name: str,
    where: str,
    low: float,
    high: float,
    whole: bool,
    unknown: float | None = None,
    rows: list[str] | None = None,
) -> NDArray[np.float64]:
    """Read a column of numbers; ``unknown`` stands for an empty field, None forbids it."""
    texts = frame[name].str.strip()
    empty = (texts == "").to_numpy()
    values = pd.to_numeric(texts.mask(empty, "0"), errors="coerce").to_numpy(np.float64, copy=True)
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if whole:
        bad |= ~bad & (values != np.floor(np.where(bad, 0, values)))
    bad = (bad & ~empty) | (empty & (unknown is None))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        row = rows[first] if rows else f"row {first + 2}"
        kind = "whole number" if whole else "number"
        raise LeadminError(
            f"{where}, {row}: {name} is {texts.iloc[first][:40]!r}; it should be a {kind} from "
            f"{low:g} to {high:g}{'' if unknown is None else ' or empty'}."
        )
    if unknown is not None:
        values[empty] = unknown
    return values


def _texts(frame: pd.DataFrame, name: str, where: str, rows: list[str]) -> list[str]:
    if name not in frame.columns:
        return [""] * len(frame)
    texts = frame[name].str.strip()
    too_long = np.flatnonzero(texts.str.len().to_numpy() > _TEXT_LIMIT)
    if too_long.size:
        raise LeadminError(
            f"{where}, {rows[int(too_long[0])]}: {name} is longer than {_TEXT_LIMIT} characters."
        )
    return texts.tolist()


def _booleans(frame: pd.DataFrame, name: str, where: str, rows: list[str]) -> NDArray[np.int8]:
    if name not in frame.columns:
        return np.full(len(frame), -1, np.int8)
    meaning = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "": -1}
    values = frame[name].str.strip().str.casefold().map(meaning)
    if values.isna().any():
        first = int(np.flatnonzero(values.isna())[0])
        raise LeadminError(
            f"{where}, {rows[first]}: {name} is {frame[name].iloc[first][:40]!r}, not True or "
            "False."
        )
    flags: NDArray[np.int8] = values.to_numpy().astype(np.int8)
    return flags


def _record_path(frame: pd.DataFrame, name: str, row: int, where: str, rows: list[str]) -> str:
    text: str = frame[name].iloc[row].strip()
    if not text:
        return ""
    try:
        return checked_member(text)
    except LeadminError as error:
        raise LeadminError(f"{where}, {rows[row]}: {name}: {error}") from error


def _check_distinct(names: tuple[str, ...], rows: list[str], where: str) -> None:
    """Refuse a table in which two records are one file: one of them has another's labels."""
    first: dict[str, str] = {}
    for name, row in zip(names, rows, strict=True):
        if name and first.setdefault(name, row) != row:
            raise LeadminError(f"{where}: {first[name]} and {row} both name the file {name}.")


def _check_patients(patient_id: NDArray[Any], fold: NDArray[Any], where: str) -> None:
    """Refuse a table in which a patient is in two folds: every evaluation would be optimistic."""
    folds = pd.Series(fold).groupby(patient_id).nunique()
    crossing = folds[folds > 1].index
    if len(crossing):
        listed = ", ".join(str(int(patient)) for patient in crossing[:5])
        raise LeadminError(
            f"{where}: {len(crossing)} patients are in more than one strat_fold (patient_id "
            f"{listed}); test records would be known from training."
        )


def _resampled(archive: Archive, record_id: NDArray[Any]) -> NDArray[np.int8]:
    if PROVENANCE_FILE not in archive:
        return np.full(len(record_id), -1, np.int8)
    where = archive.where(PROVENANCE_FILE)
    frame = _read_csv(archive, PROVENANCE_FILE)
    if not {"ecg_id", "resampled_from_500_hz"} <= set(frame.columns):
        raise LeadminError(f"{where} should have the columns ecg_id and resampled_from_500_hz.")
    ids = _numbers(frame, "ecg_id", where, 0, 2**31 - 1, whole=True)
    flags = _numbers(frame, "resampled_from_500_hz", where, 0, 1, whole=True)
    known = dict(zip(ids.tolist(), flags.tolist(), strict=True))
    return np.array([known.get(float(number), -1) for number in record_id], dtype=np.int8)


def _as_json(codes: Mapping[str, float]) -> str:
    """Write codes as JSON, whole likelihoods without a decimal point."""
    tidy = {code: int(v) if math.floor(v) == v else v for code, v in codes.items()}
    return json.dumps(tidy, ensure_ascii=True, separators=(",", ":"))
