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
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.archive import TABLE_LIMIT, Archive, checked_member, decode, open_archive
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

_TEXT_LIMIT = 4096
_FILE_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
_REQUIRED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold")


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

    def files_at(self, sampling_rate: int) -> tuple[str, ...]:
        """Give the record paths of one sampling rate; raise `LeadminError` if it has none."""
        if sampling_rate not in self.files:
            rates = " and ".join(f"{rate} Hz" for rate in sorted(self.files))
            raise LeadminError(
                f"{DATABASE_FILE} has no column of {sampling_rate} Hz file names; valid: "
                f"{rates or 'none'}; choose another rate or get the whole table"
            )
        return self.files[sampling_rate]


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


def check_rate(sampling_rate: int) -> None:
    """Raise `LeadminError` if PTB-XL has no records at ``sampling_rate`` Hz."""
    if sampling_rate not in SAMPLING_RATES:
        rates = " and ".join(map(str, SAMPLING_RATES))
        raise LeadminError(f"PTB-XL has records at {rates} Hz, not at {sampling_rate} Hz")


def open_ptbxl(path: Path) -> Archive:
    """Open PTB-XL, or a cut of it in the same layout, as a zip file or an unpacked folder."""
    return open_archive(path, DATABASE_FILE)


def read_table(archive: Archive) -> RecordTable:
    """Read and check ``ptbxl_database.csv``.

    Parameters
    ----------
    archive : Archive
        The opened source.

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
        raise LeadminError(f"{where} lacks the columns {', '.join(missing)}; is it PTB-XL?")
    if len(frame) == 0:
        raise LeadminError(f"{where} has no rows; get it again")
    record_id = _numbers(frame, "ecg_id", where, low=0, high=2**31 - 1, whole=True)
    order = np.argsort(record_id, kind="stable")
    frame, record_id = frame.iloc[order].reset_index(drop=True), record_id[order]
    repeated = np.flatnonzero(np.diff(record_id) == 0)
    if repeated.size:
        raise LeadminError(f"{where} lists ecg_id {int(record_id[repeated[0]])} more than once")
    ids = [f"ecg_id {int(number)}" for number in record_id]

    def column(name: str, low: float, high: float, whole: bool, unknown: float) -> NDArray[Any]:
        if name not in frame.columns:
            return np.full(len(frame), unknown)
        return _numbers(frame, name, where, low, high, whole, unknown, ids)

    patient_id = _numbers(frame, "patient_id", where, 0, 2**31 - 1, True, rows=ids)
    fold = _numbers(frame, "strat_fold", where, 1, 10, True, rows=ids)
    crossing = crossing_patients(patient_id, fold)
    if crossing:  # every evaluation would be optimistic
        listed = ", ".join(map(str, crossing[:5]))
        raise LeadminError(
            f"{where}: {len(crossing)} patients are in more than one strat_fold (patient_id "
            f"{listed}); test records would be known from training; get the table again"
        )
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
            raise LeadminError(f"{where} lacks the column {column}; is it PTB-XL?")
    flags = _numbers(frame, "diagnostic", where, 0, 1, whole=True, unknown=0)
    codes = frame[frame.columns[0]].str.strip()
    superclasses: dict[str, str] = {}
    for code, superclass, diagnostic in zip(codes, frame["diagnostic_class"], flags, strict=True):
        if diagnostic != 1:
            continue
        if superclass not in CLASSES:
            raise LeadminError(
                f"{where}: the code {code!r} has the superclass {superclass!r}; valid: "
                f"{', '.join(CLASSES)}"
            )
        if code in superclasses:
            raise LeadminError(f"{where} lists the code {code!r} more than once")
        superclasses[code] = superclass
    if set(superclasses.values()) != set(CLASSES):
        missing = [name for name in CLASSES if name not in superclasses.values()]
        raise LeadminError(f"{where} has no code for the superclass {', '.join(missing)}")
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
            f"there is no label policy {policy!r}; valid: {', '.join(LABEL_POLICIES)}"
        )
    threshold = LABEL_POLICIES[policy].least
    labels = np.zeros((len(statements), len(CLASSES)), dtype=np.uint8)
    for row, codes in enumerate(statements):
        for code, likelihood in codes.items():
            if likelihood >= threshold and code in superclasses:
                labels[row, CLASSES.index(superclasses[code])] = 1
    return labels


def class_counts(labels: NDArray[np.uint8]) -> dict[str, int]:
    """Count the records of each superclass in a matrix of `label_matrix`."""
    return dict(zip(CLASSES, labels.sum(axis=0, dtype=int).tolist(), strict=True))


def parse_statements(text: str, where: str) -> dict[str, float]:
    """Read one ``scp_codes`` field, which PTB-XL writes as a Python dictionary literal.

    Raises
    ------
    LeadminError
        If it is anything but a dictionary of codes with likelihoods from 0 to 100.
    """
    if len(text) > _TEXT_LIMIT:
        raise LeadminError(f"{where}: scp_codes has {len(text)} characters; at most {_TEXT_LIMIT}")
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise LeadminError(
            f"{where}: scp_codes {text[:60]!r} is not a dictionary of codes and likelihoods"
        ) from error
    if not isinstance(value, dict):
        raise LeadminError(f"{where}: scp_codes {text[:60]!r} is not a dictionary")
    codes: dict[str, float] = {}
    for code, likelihood in value.items():
        number = isinstance(likelihood, int | float) and not isinstance(likelihood, bool)
        if not isinstance(code, str) or not number or not 0 <= likelihood <= 100:
            raise LeadminError(
                f"{where}: scp_codes has the entry {str(code)[:40]!r}: {str(likelihood)[:40]}; "
                "valid: a code with a likelihood from 0 to 100"
            )
        codes[code] = float(likelihood)
    return codes


def check_tables(archive: Archive, checksums: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Hash the tables of an archive and compare them with the archive's own list.

    Returns
    -------
    list of (str, str)
        Name and SHA-256 of each table that the archive holds.

    Raises
    ------
    LeadminError
        If a table differs from its checksum or is not listed.
    """
    return [
        (member, archive.read_listed(member, TABLE_LIMIT, checksums)[1])
        for member in (DATABASE_FILE, STATEMENTS_FILE, PROVENANCE_FILE)
        if member in archive
    ]


def _read_csv(archive: Archive, member: str) -> pd.DataFrame:
    """Read a CSV file of the archive with every field as text; an absent field is empty."""
    where = archive.where(member)
    text = decode(archive.read(member, TABLE_LIMIT), where)
    if "\0" in text:
        raise LeadminError(f"{where} holds zero bytes; the file is damaged; get it again")
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
        raise LeadminError(f"{where} has two columns of one name")
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
            f"{where}, {row}: {name} is {texts.iloc[first][:40]!r}; valid: a {kind} from "
            f"{low:g} to {high:g}{'' if unknown is None else ' or empty'}"
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
            f"{where}, {rows[int(too_long[0])]}: {name} is longer than {_TEXT_LIMIT} characters"
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
            f"{where}, {rows[first]}: {name} is {frame[name].iloc[first][:40]!r}; valid: True or "
            "False"
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
            raise LeadminError(f"{where}: {first[name]} and {row} both name the file {name}")


def crossing_patients(
    patient_id: NDArray[np.number[Any]], fold: NDArray[np.number[Any]]
) -> tuple[int, ...]:
    """Find the patients who have records in more than one fold; ascending, it should be none."""
    folds = pd.Series(np.asarray(fold)).groupby(np.asarray(patient_id)).nunique()
    return tuple(int(patient) for patient in folds[folds > 1].index)


def _resampled(archive: Archive, record_id: NDArray[Any]) -> NDArray[np.int8]:
    if PROVENANCE_FILE not in archive:
        return np.full(len(record_id), -1, np.int8)
    where = archive.where(PROVENANCE_FILE)
    frame = _read_csv(archive, PROVENANCE_FILE)
    if not {"ecg_id", "resampled_from_500_hz"} <= set(frame.columns):
        raise LeadminError(f"{where} lacks the columns ecg_id and resampled_from_500_hz")
    ids = _numbers(frame, "ecg_id", where, 0, 2**31 - 1, whole=True)
    flags = _numbers(frame, "resampled_from_500_hz", where, 0, 1, whole=True)
    known = dict(zip(ids.tolist(), flags.tolist(), strict=True))
    return np.array([known.get(float(number), -1) for number in record_id], dtype=np.int8)


def _as_json(codes: Mapping[str, float]) -> str:
    """Write codes as JSON, whole likelihoods without a decimal point."""
    tidy = {code: int(v) if math.floor(v) == v else v for code, v in codes.items()}
    return json.dumps(tidy, ensure_ascii=True, separators=(",", ":"))
