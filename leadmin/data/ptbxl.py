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
import re
import warnings
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

EARLIER = ("1.0.0", "1.0.1", "1.0.2")
"""Versions with 21,837 records [1]_: 38 of them are no longer in 1.0.3."""

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

METADATA_COLUMNS: Mapping[str, tuple[type[np.generic] | None, str]] = MappingProxyType(
    {
        "site": (np.int16, "recording site as PTB-XL numbers it, -1 unknown"),
        "device": (None, "recording device as PTB-XL names it, empty if unknown"),
        "height": (np.float32, "height of the patient in cm, NaN unknown"),
        "weight": (np.float32, "weight of the patient in kg, NaN unknown"),
        "recording_date": (None, "shifted date and time of the recording, as PTB-XL gives it"),
        "baseline_drift": (np.int8, "1 where a note on baseline drift was made"),
        "static_noise": (np.int8, "1 where a note on static noise was made"),
        "burst_noise": (np.int8, "1 where a note on burst noise was made"),
        "electrodes_problems": (np.int8, "1 where a note on electrode problems was made"),
        "extra_beats": (np.int8, "1 where a note on extra beats was made"),
        "pacemaker": (np.int8, "1 where a note on a pacemaker was made"),
        "validated_by_human": (np.int8, "1 where a human validated the statements, -1 unknown"),
        "resampled_from_500_hz": (
            np.int8,
            "1 where the 100 Hz record is no file of PTB-XL's, -1 unknown",
        ),
        "scp_codes": (None, "JSON object: SCP-ECG code to likelihood in per cent"),
    }
)
"""What describes subgroups: column to its type, None for text, and its meaning."""

_NOTES = (
    "baseline_drift", "static_noise", "burst_noise", "electrodes_problems", "extra_beats",
    "pacemaker",
)  # fmt: skip
"""Free-text annotations; a record has the note when the field is not empty."""

_TEXT_LIMIT, _MOST_COLUMNS = 4096, 1000
_FILE_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
_YES = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "": -1}
_REQUIRED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold")


@dataclass(frozen=True)
class Records:
    """What a table says of its records, checked; as in `leadmin.data.dataset.EcgDataset`."""

    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    age: NDArray[np.float32]
    sex: NDArray[np.int8]
    metadata: pd.DataFrame

    def __len__(self) -> int:
        return len(self.record_id)


@dataclass(frozen=True)
class RecordTable(Records):
    """The rows of ``ptbxl_database.csv`` that matter here, in the order of record ids."""

    statements: tuple[dict[str, float], ...]  # SCP-ECG codes with their likelihood in per cent
    files: dict[int, tuple[str, ...]]  # Hz to the path of each record, without extension

    def files_at(self, sampling_rate: int) -> tuple[str, ...]:
        """Give the record paths of one sampling rate; raise `LeadminError` if it has none."""
        if sampling_rate not in self.files:
            rates = " and ".join(f"{rate} Hz" for rate in sorted(self.files))
            raise LeadminError(
                f"{DATABASE_FILE} has no column of {sampling_rate} Hz file names; valid: "
                f"{rates or 'none'}; choose another rate or get the whole table"
            )
        return self.files[sampling_rate]


def check_rate(sampling_rate: int) -> None:
    """Raise `LeadminError` if no file is prepared at ``sampling_rate`` Hz."""
    if sampling_rate not in SAMPLING_RATES:
        rates = " and ".join(map(str, SAMPLING_RATES))
        raise LeadminError(f"--rate is {sampling_rate} Hz; valid: {rates} Hz; change it")


def open_ptbxl(path: Path) -> Archive:
    """Open PTB-XL, or a cut of it in the same layout, as a zip file or an unpacked folder."""
    return open_archive(path, DATABASE_FILE)


def source_version(archive: Archive) -> str:
    """Read the version off the name of the top folder, or of a web address; or ``"unknown"``."""
    names = (archive.name, archive.path.name)
    found = (re.search(r"(?:^|-)(\d+\.\d+\.\d+)$", name) for name in names)
    return next((match[1] for match in found if match), "unknown")


def read_table(archive: Archive) -> RecordTable:
    """Read and check ``ptbxl_database.csv``.

    A table that is missing or that of a version before 1.0.3, and a field that cannot be what it
    should be, are refused; the message names file, column and record.
    """
    table = CsvTable(archive, DATABASE_FILE, _REQUIRED)
    if not table.rows:
        raise LeadminError(f"{table.where} has no rows; get it again")
    version = source_version(archive)
    if version in EARLIER or len(table.rows) > N_RECORDS:
        named = version if version in EARLIER else f"a version before {VERSION}"
        raise LeadminError(
            f"{table.where}: this is PTB-XL {named}, whose full table has 21,837 records, 38 of "
            f"them no longer in {VERSION}; valid: {VERSION}, which every number of this study "
            "stands on; get it with `leadmin data fetch`"
        )
    record_id = table.whole("ecg_id", 0, 2**31 - 1)
    order = np.argsort(record_id, kind="stable")
    table.frame, record_id = table.frame.iloc[order].reset_index(drop=True), record_id[order]
    repeated = np.flatnonzero(np.diff(record_id) == 0)
    if repeated.size:
        raise LeadminError(
            f"{table.where} lists ecg_id {int(record_id[repeated[0]])} more than once"
        )
    table.rows = [f"ecg_id {int(number)}" for number in record_id]
    patient_id = table.whole("patient_id", 0, 2**31 - 1)
    fold = table.whole("strat_fold", 1, 10)
    crossing = crossing_patients(patient_id, fold)
    if crossing:  # every evaluation would be optimistic
        listed = ", ".join(map(str, crossing[:5]))
        raise LeadminError(
            f"{table.where}: {len(crossing)} patients are in more than one strat_fold (patient_id "
            f"{listed}); test records would be known from training; get the table again"
        )
    statements = tuple(
        parse_statements(text, f"{table.where}, {row}")
        for text, row in zip(table.frame["scp_codes"], table.rows, strict=True)
    )
    metadata = {
        "site": table.whole("site", 0, 2**15 - 1, -1),
        "device": table.texts("device"),
        "height": table.numbers("height", 0, 400, np.nan),
        "weight": table.numbers("weight", 0, 1000, np.nan),
        "recording_date": table.texts("recording_date"),
        **{name: table.notes(name) for name in _NOTES},
        "validated_by_human": table.coded("validated_by_human", _YES, "True, False"),
        "resampled_from_500_hz": _resampled(archive, record_id),
        "scp_codes": [_as_json(codes) for codes in statements],
    }
    return RecordTable(
        record_id=record_id.astype(np.int32),
        patient_id=patient_id.astype(np.int32),
        fold=fold.astype(np.int8),
        age=table.numbers("age", 0, AGE_OVER_89, np.nan).astype(np.float32),
        sex=table.whole("sex", 0, 1, -1).astype(np.int8),
        statements=statements,
        files={
            rate: table.paths(name)
            for rate, name in _FILE_COLUMNS.items()
            if name in table.frame.columns
        },
        metadata=pd.DataFrame(
            {
                name: metadata[name] if kind is None else np.asarray(metadata[name]).astype(kind)
                for name, (kind, _) in METADATA_COLUMNS.items()
            }
        ),
    )


def read_superclasses(archive: Archive) -> dict[str, str]:
    """Read from ``scp_statements.csv`` which SCP-ECG code belongs to which superclass.

    Every diagnostic code has one; form and rhythm codes are left out. A table that is missing,
    incomplete, or names a superclass that is not one of `CLASSES` is refused.
    """
    table = CsvTable(archive, STATEMENTS_FILE, ("diagnostic", "diagnostic_class"))
    where, frame = table.where, table.frame
    flags = table.whole("diagnostic", 0, 1, unknown=0)
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
    missing = [name for name in CLASSES if name not in superclasses.values()]
    if missing:
        raise LeadminError(f"{where} has no code for the superclass {', '.join(missing)}")
    return superclasses


def read_labels(archive: Archive, table: RecordTable) -> dict[str, NDArray[np.uint8]]:
    """Turn a table's statements into the matrices of `label_matrix`, by label policy."""
    superclasses = read_superclasses(archive)
    return {
        policy: label_matrix(table.statements, superclasses, policy) for policy in LABEL_POLICIES
    }


def label_matrix(
    statements: tuple[dict[str, float], ...], superclasses: Mapping[str, str], policy: str
) -> NDArray[np.uint8]:
    """Turn SCP-ECG codes with their likelihoods into superclass labels under a label policy.

    Gives ``(n_records, 5)`` in the order of `CLASSES`; several may be 1, or none.
    """
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

    Anything but a dictionary of codes with likelihoods from 0 to 100 is refused.
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
    """Give name and SHA-256 of each table of an archive, compared with the archive's own list.

    `FileError` if a table differs from its checksum or is not listed.
    """
    return [
        (member, archive.read_listed(member, TABLE_LIMIT, checksums)[1])
        for member in (DATABASE_FILE, STATEMENTS_FILE, PROVENANCE_FILE)
        if member in archive
    ]


class CsvTable:
    """A table of an archive with every field as text, read column by column."""

    def __init__(self, archive: Archive, member: str, needed: tuple[str, ...]) -> None:
        """Read it; an absent field at the end of a row is empty."""
        self.where = archive.where(member)
        text = decode(archive.read(member, TABLE_LIMIT), self.where)
        if "\0" in text:
            raise LeadminError(f"{self.where} holds zero bytes; the file is damaged; get it again")
        if text.partition("\n")[0].count(",") > _MOST_COLUMNS:
            raise LeadminError(f"{self.where} has more than {_MOST_COLUMNS} columns; get it again")
        try:
            names = next(csv.reader(io.StringIO(text, newline="")), [])
            with warnings.catch_warnings():  # of rows that are longer than the header
                warnings.simplefilter("error", pd.errors.ParserWarning)
                self.frame = pd.read_csv(
                    io.StringIO(text), dtype=str, na_filter=False, index_col=False
                ).fillna("")
        except (ValueError, OverflowError, csv.Error, pd.errors.ParserWarning) as error:
            raise LeadminError(f"{self.where} is not a CSV table: {error}") from error
        if len(set(names)) < len(names):  # pandas would give the second another name
            raise LeadminError(f"{self.where} has two columns of one name")
        missing = [name for name in needed if name not in self.frame.columns]
        if missing:
            raise LeadminError(
                f"{self.where} lacks the columns {', '.join(missing)}; is it PTB-XL?"
            )
        self.rows = [f"row {number}" for number in range(2, len(self.frame) + 2)]

    def numbers(
        self, name: str, low: float, high: float, unknown: float | None = None, whole: bool = False
    ) -> NDArray[np.float64]:
        """Read a column of numbers; ``unknown`` stands for an empty field, None forbids it."""
        texts = self._column(name)
        empty = (texts == "").to_numpy()
        values = pd.to_numeric(texts.mask(empty, "0"), errors="coerce")
        found = values.to_numpy(np.float64, copy=True)
        good = np.isfinite(found) & (found >= low) & (found <= high)
        if whole:
            good &= found == np.floor(found)
        good = np.where(empty, unknown is not None, good)
        valid = f"a {'whole number' if whole else 'number'} from {low:g} to {high:g}"
        self._check(name, good, valid + ("" if unknown is None else " or empty"))
        found[empty] = 0 if unknown is None else unknown
        return found

    def require(self, name: str) -> None:
        """Refuse an empty field, or one that stands for a missing value, in a column."""
        missing = self._column(name).str.casefold().isin(("", "nan", "na", "null", "none"))
        self._check(name, ~missing.to_numpy(), "some text; fill it in, or leave the row out")

    def coded(self, name: str, codes: Mapping[str, int], valid: str) -> NDArray[np.int8]:
        """Read a column of words as the numbers that stand for them, as one does for none."""
        values = self._column(name).str.casefold().map(codes)
        self._check(name, values.notna().to_numpy(), f"{valid} or empty")
        return values.to_numpy().astype(np.int8)

    def whole(
        self, name: str, low: float, high: float, unknown: float | None = None
    ) -> NDArray[np.float64]:
        """Read a column of whole numbers as `numbers` does."""
        return self.numbers(name, low, high, unknown, whole=True)

    def texts(self, name: str) -> list[str]:
        """Read a column of text."""
        texts = self._column(name)
        short = (texts.str.len() <= _TEXT_LIMIT).to_numpy()
        self._check(name, short, f"at most {_TEXT_LIMIT} characters")
        return texts.tolist()

    def notes(self, name: str) -> NDArray[Any]:
        """Mark where a column has any text; -1 everywhere if there is no such column."""
        if name not in self.frame.columns:
            return np.full(len(self.frame), -1, np.int8)
        return (self._column(name) != "").to_numpy()

    def paths(self, name: str) -> tuple[str, ...]:
        """Read a column of record paths, empty or inside the archive, no two the same.

        Of two records that are one file one has the other's labels.
        """
        first: dict[str, str] = {}
        paths = tuple(self._column(name))
        for path, row in zip(paths, self.rows, strict=True):
            try:
                if path and first.setdefault(checked_member(path), row) != row:
                    raise LeadminError(f"{first[path]} and {row} both name the file {path}")
            except LeadminError as error:
                raise LeadminError(f"{self.where}, {row}: {name}: {error}") from error
        return paths

    def _column(self, name: str) -> "pd.Series[str]":
        if name not in self.frame.columns:  # every field is empty
            return pd.Series("", self.frame.index)
        return self.frame[name].str.strip()

    def _check(self, name: str, good: NDArray[np.bool_], valid: str) -> None:
        if not good.all():
            first = int(np.flatnonzero(~good)[0])
            raise LeadminError(
                f"{self.where}, {self.rows[first]}: {name} is "
                f"{self.frame[name].iloc[first].strip()[:40]!r}; valid: {valid}"
            )


def crossing_patients(
    patient_id: NDArray[np.number[Any]], fold: NDArray[np.number[Any]]
) -> tuple[int, ...]:
    """Find the patients who have records in more than one fold; ascending, it should be none."""
    folds = pd.Series(np.asarray(fold)).groupby(np.asarray(patient_id)).nunique()
    return tuple(int(patient) for patient in folds[folds > 1].index)


def _resampled(archive: Archive, record_id: NDArray[Any]) -> NDArray[np.int8]:
    if PROVENANCE_FILE not in archive:
        return np.full(len(record_id), -1, np.int8)
    table = CsvTable(archive, PROVENANCE_FILE, ("ecg_id", "resampled_from_500_hz"))
    ids = table.whole("ecg_id", 0, 2**31 - 1)
    known = dict(zip(ids, table.whole("resampled_from_500_hz", 0, 1), strict=True))
    return np.array([known.get(number, -1) for number in record_id], dtype=np.int8)


def _as_json(codes: Mapping[str, float]) -> str:
    """Write codes as JSON, whole likelihoods without a decimal point."""
    tidy = {code: int(v) if math.floor(v) == v else v for code, v in codes.items()}
    return json.dumps(tidy, ensure_ascii=True, separators=(",", ":"))
