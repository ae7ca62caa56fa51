"""Records of one's own: a folder of signals, a table and a mapping, written as the prepared file.

The table says record, patient, statements and, if there is one, the fold of each record; a
mapping, see `leadmin.data.own_mapping`, which column is which, and which statements make which
class. Everything behind the file, training, evidence and pages, works with these classes.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.archive import FileError, FolderArchive
from leadmin.data.faults import USUAL_MEAN_MILLIVOLTS, USUAL_MILLIVOLTS
from leadmin.data.own_mapping import SLOWEST, Mapping, Signals, read_mapping
from leadmin.data.prepare import (
    Failure,
    PrepareReport,
    Read,
    Source,
    check_target,
    receipt_of,
    write_prepared,
)
from leadmin.data.ptbxl import METADATA_COLUMNS, CsvTable, Records, check_rate, crossing_patients
from leadmin.data.quality import RULES, mark, measure
from leadmin.data.recordings import Recording, read_file
from leadmin.data.recordings.recording import Options
from leadmin.data.resample import resample
from leadmin.errors import LeadminError
from leadmin.files import sha256
from leadmin.leads import LEADS, derive

N_FOLDS = 10
"""What the protocols of a study divide the patients into."""

FORMS = (".hea", ".csv", ".parquet")
"""Files that signals are read from: WFDB by its header, or a table with a column for each lead."""

NARROWEST = 50.0
"""Microvolts. A record half of whose leads span less has another unit, or loose electrodes."""


@dataclass(frozen=True)
class OwnTable(Records):
    """What a table and a mapping say of each record, checked, in the order of the table."""

    files: tuple[str, ...]
    labels: NDArray[np.uint8]  # (n_records, n_classes)
    unmapped: dict[str, int]  # statements that are in no class, the most frequent first


def read_own_table(path: Path, mapping: Mapping) -> OwnTable:
    """Read and check the table of one's own records.

    Raises
    ------
    LeadminError
        If the table lacks a column or rows, names a record twice, has a record without statements,
        a patient in two folds, a fold out of 1 to 10, or a class that no record has or all have.
    """
    table = CsvTable(FolderArchive(path.parent), path.name, ())
    columns = mapping.columns
    listed = [columns.labels] if isinstance(columns.labels, str) else columns.labels
    wanted = [columns.record, columns.patient, *listed]
    wanted += [name for name in (columns.fold, columns.age, columns.sex) if name]
    for name in (name for name in wanted if name not in table.frame.columns):
        raise LeadminError(
            f"{path}: there is no column {name!r}; valid: {', '.join(table.frame.columns)[:200]}; "
            "correct the columns of the mapping"
        )
    if not table.rows:
        raise LeadminError(f"{path}: it has no rows; valid: one for each record; fill it")
    for name in (columns.record, columns.patient):
        table.require(name)
    statements = _statements(table, mapping)
    labels = np.array(
        [
            [any(str(code) in said for code in one.statements) for one in mapping.classes.values()]
            for said in statements
        ],
        dtype=np.uint8,
    )
    for name, column in zip(mapping.classes, labels.T, strict=True):
        if len(np.unique(column)) == 2:
            continue
        which = "every record has it" if column.any() else "no record has one of its statements"
        known = ", ".join(dict.fromkeys(code for said in statements for code in said))[:200]
        raise LeadminError(
            f"{path}: class {name}: {which}, so that nothing can be learned; statements here: "
            f"{known}; correct its statements, or take the class out of the mapping"
        )
    patients = pd.factorize(table.frame[columns.patient].str.strip())[0].astype(np.int32) + 1
    if columns.fold:
        fold = table.whole(columns.fold, 1, N_FOLDS).astype(np.int8)
    else:
        fold = made_folds(patients, labels, mapping.fold_seed)
    if crossing := crossing_patients(patients, fold):
        first = table.frame[columns.patient].iloc[int(np.argmax(patients == crossing[0]))]
        raise LeadminError(
            f"{path}: {len(crossing)} patients are in more than one fold, the first of them "
            f"{first!r}; valid: each in one, or test records are known from training; correct the "
            "folds, or take the column out of the mapping to have them made"
        )
    mapped = {str(code) for one in mapping.classes.values() for code in one.statements}
    unmapped = Counter(code for said in statements for code in said if code not in mapped)
    files = table.paths(columns.record)
    unknown = {
        name: pd.Series(
            "" if kind is None else np.nan if kind is np.float32 else -1, range(len(files)), kind
        )
        for name, (kind, _) in METADATA_COLUMNS.items()
    }
    return OwnTable(
        np.arange(1, len(files) + 1, dtype=np.int32),
        patients,
        fold,
        table.numbers(columns.age, 0, 130, np.nan).astype(np.float32),
        table.coded(columns.sex, {"male": 0, "m": 0, "female": 1, "f": 1, "": -1}, "male, female"),
        pd.DataFrame(unknown | {"record": files}),
        files,
        labels,
        dict(unmapped.most_common()),
    )


def _statements(table: CsvTable, mapping: Mapping) -> list[list[str]]:
    """List what is said of each record: codes in one column, or columns of zeros and ones."""
    columns = mapping.columns.labels
    if isinstance(columns, str):
        table.require(columns)
        texts = table.texts(columns)
        return [
            [code.strip() for code in t.split(mapping.separator) if code.strip()] for t in texts
        ]
    flags = np.column_stack([table.whole(name, 0, 1) for name in columns])
    return [[name for name, flag in zip(columns, row, strict=True) if flag] for row in flags]


def made_folds(
    patients: NDArray[np.int32], labels: NDArray[np.uint8], seed: int
) -> NDArray[np.int8]:
    """Divide records into ten folds by patient, each class spread over them.

    Patients are taken in random order, those with the rarest class first, each into the fold that
    has the fewest records of that class, and among equals the fewest records: the idea of iterative
    stratification [1]_. ``patients`` are (n_records,), ``labels`` (n_records, n_classes).

    References
    ----------
    .. [1] Sechidis K, Tsoumakas G, Vlahavas I. On the stratification of multi-label data. ECML
       PKDD 2011.
    """
    _, codes = np.unique(patients, return_inverse=True)
    counts = np.zeros((codes.max() + 1, labels.shape[1] + 1))
    np.add.at(counts, codes, np.column_stack([labels, np.ones(len(labels))]))
    total = counts.sum(axis=0)
    rarest = np.where(counts > 0, total, np.inf).argmin(axis=1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(total[rarest[order]], kind="stable")]
    filled, fold = np.zeros((N_FOLDS, counts.shape[1])), np.zeros(len(counts), dtype=np.int8)
    for patient in order:
        chosen = np.lexsort((filled[:, -1], filled[:, rarest[patient]]))[0]
        filled[chosen] += counts[patient]
        fold[patient] = chosen + 1
    return fold[codes]


def read_signal(file: Path, signals: Signals) -> Recording:
    """Read one record as a stranger's is read; `FileError` if that cannot be done."""
    options = Options(slowest=SLOWEST)
    if file.suffix != ".hea":  # whose header says all three
        options = Options(signals.leads, signals.rate, signals.unit or None, SLOWEST)
    found = next(read_file(file, options, file.stem))
    if isinstance(found, LeadminError):
        ours = "signals.unit, signals.rate and signals.leads are the options of a mapping"
        raise FileError(f"{found} ({ours})", "unreadable")
    return found


def twelve_leads(signal: Recording, where: str, rate: int, n_samples: int) -> NDArray[np.int16]:
    """Give the twelve leads of a record, (12, n_samples) in microvolts at ``rate`` Hz.

    Leads that are missing are derived; the signal is low-pass filtered and resampled, and cut after
    ``n_samples``. `FileError` if it is too short, lacks leads, or is no ECG in volts.
    """
    if not np.isfinite(signal.signals).all():
        raise FileError(f"{where}: it holds a value that is no finite number", "invalid")
    x = resample(1000 * signal.signals, signal.sampling_rate, rate)
    if x.shape[-1] < n_samples:
        raise FileError(
            f"{where}: it lasts {x.shape[-1] / rate:g} s, not {n_samples / rate:g} s; take fewer "
            "seconds in the mapping, or leave it out",
            "length",
        )
    try:  # last, so that limb leads agree exactly
        x = np.rint(derive(x[:, :n_samples], signal.leads, LEADS))
    except LeadminError as error:
        raise FileError(f"{where}: {error}", "leads") from error
    middle, largest = float(np.median(np.ptp(x, axis=-1))), float(np.abs(x).max())
    if middle < NARROWEST or largest >= 2**15:
        raise FileError(
            f"{where}: its middle lead spans {middle:g} microvolts and its largest value is "
            f"{largest:g}; valid: from {NARROWEST:g}, and below 32768; check the unit, or whether "
            "leads are flat",
            "range",
        )
    return x.astype(np.int16)


def noticed_in(x: NDArray[np.int16], rate: int) -> list[str]:
    """Say which rules of `leadmin.data.quality` mark twelve leads, and which size is odd."""
    marks = mark(measure(x[None, :, : x.shape[-1] // 5 * 5], rate)).iloc[0]
    small, far = 1000 * USUAL_MILLIVOLTS[0], 1000 * USUAL_MEAN_MILLIVOLTS
    size = {
        f"no lead spans {small:g} microvolts, check the unit": np.ptp(x, axis=-1).max() < small,
        f"a lead has a mean beyond {far:g} microvolts": np.abs(x.mean(axis=-1)).max() > far,
    }
    odd = [sentence for sentence, is_odd in size.items() if is_odd]
    return [RULES[name] for name in marks.index[marks]] + odd


def unfit(labels: NDArray[np.uint8], fold: NDArray[np.int8], protocol: str = "crossval") -> str:
    """Say why no study can be made of such records; empty if one can.

    ``labels`` are (n_records, n_classes), ``fold`` (n_records,).
    """
    there = labels.any(axis=1)
    lacking = sorted(set(range(1, N_FOLDS + 1)) - set(fold[there].tolist()))
    if lacking:
        return (
            f"no record with a class is in fold {', '.join(map(str, lacking))}; valid: one or more "
            f"in each of 1 to {N_FOLDS}; give more records, or other folds"
        )
    tested = labels[there & ((fold == N_FOLDS) | (protocol != "holdout"))]
    if (tested.any(axis=0) & ~tested.all(axis=0)).any():
        return ""
    return (
        f"each class is on all or none of the {len(tested)} records with a class that are tested "
        f"({protocol}), so that none can be scored; valid: one or more with and without it; give "
        "more records or classes, or other folds"
    )


class _Names(dict[str, str]):
    """Other names of leads, which knows what it was asked for."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__(names)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def prepare_own(
    source: Path,
    target: Path,
    table: Path,
    mapping: Path,
    sampling_rate: int = 100,
    max_failures: int = 0,
    force: bool = False,
    quiet: bool = False,
) -> PrepareReport:
    """Convert records of one's own to one HDF5 file, as `leadmin.data.prepare.prepare` does.

    Parameters
    ----------
    source : Path
        The folder with the signals: WFDB records, or tables (CSV, Parquet) with a column a lead.
    table, mapping : Path
        The table of records (CSV), and what its columns and statements mean; see `Mapping`.
    target, sampling_rate, max_failures, force, quiet
        As there; records of other rates are resampled.

    Raises
    ------
    LeadminError
        If mapping or table are not what they should be, or too many records cannot be used.
    """
    check_rate(sampling_rate)
    check_target(target, table, mapping)
    if not source.is_dir():
        raise LeadminError(
            f"{source}: no folder; valid: one with the records that {table} names; unpack it"
        )
    said = read_mapping(mapping)
    rows = read_own_table(table, said)
    receipt = receipt_of(
        sampling_rate,
        source_fingerprint=FolderArchive(source).fingerprint((), rows.files),
        table_sha256=sha256(table),
        mapping_sha256=sha256(mapping),
    )
    noticed: dict[str, list[str]] = defaultdict(list)
    n_samples = round(said.seconds * sampling_rate)
    meanings = [one.meaning or name for name, one in said.classes.items()]
    own = Source(
        receipt=receipt,
        records=rows,
        labels={"any": rows.labels},
        classes=list(said.classes),
        n_samples=n_samples,
        read=_read_all(source, said, rows, sampling_rate, noticed),
        inputs=str(receipt).encode(),
        attributes={
            "source": said.title,
            "source_version": said.version,
            "source_doi": said.doi,
            "license": said.license,
            "inputs_verified": False,
            "n_samples": n_samples,
            "class_meanings": meanings,
            "policies": ["any"],
        },
        named=[*said.classes, *meanings],
        notes=lambda kept: _notes(said, rows, kept, noticed),
    )
    return write_prepared(target, own, max_failures, force, quiet)


def _notes(
    mapping: Mapping, rows: OwnTable, kept: NDArray[np.intp], noticed: dict[str, list[str]]
) -> list[str]:
    """Say what is odd about the records; refuse a class of which those kept hold one label only."""
    for name, column in zip(mapping.classes, rows.labels[kept].T, strict=True):
        if len(np.unique(column)) < 2:
            raise LeadminError(
                f"class {name}: of the {len(column)} records that can be used "
                f"{int(column.sum())} have it; valid: some, and not all; give more records, or "
                "take the class out of the mapping"
            )
    left = int((rows.labels.sum(axis=1) == 0).sum())
    notes = [f"{left} records are in no class, and take no part in a study"] if left else []
    if rows.unmapped:
        listed = ", ".join(f"{code} ({n})" for code, n in list(rows.unmapped.items())[:10])
        notes += [f"{len(rows.unmapped)} statements are in no class, most often {listed}"]
    if why := unfit(rows.labels[kept], rows.fold[kept]):
        notes += [f"no study can be made of these records: {why}"]
    return notes + [
        f"{len(names)} of {len(rows)} records: {sentence} ({', '.join(names[:10])}"
        f"{', ...' * (len(names) > 10)})"
        for sentence, names in noticed.items()
    ]


def _read_all(
    source: Path, mapping: Mapping, rows: OwnTable, rate: int, noticed: dict[str, list[str]]
) -> Iterator[Read]:
    """Read each record of a table, and add to ``noticed`` by sentence what it is true of."""
    files: dict[Path, str] = {}
    same: dict[bytes, int] = {}
    names = _Names(mapping.signals.leads)
    options = mapping.signals.model_copy(update={"leads": names})
    for row, record in enumerate(rows.files):
        try:
            path = _file_of(source, record)
            if (first := files.setdefault(path.resolve(), record)) != record:
                raise LeadminError(
                    f"{path}: the table calls it {first!r} and {record!r}; valid: each file in one "
                    "row; take one out"
                )
            recording = read_signal(path, options)
            found = twelve_leads(recording, str(path), rate, round(mapping.seconds * rate))
        except FileError as error:
            yield Failure(row + 1, record, error.reason, str(error))
            continue
        for sentence in (*recording.noticed, *noticed_in(found, rate)):
            noticed[sentence].append(record)
        twin = same.setdefault(hashlib.sha256(found.tobytes()).digest(), row)
        if twin != row:
            apart = ", in another fold" * bool(rows.fold[twin] != rows.fold[row])
            noticed[RULES["duplicated"]].append(f"{record} as {rows.files[twin]}{apart}")
        yield row, found, []
    for name in sorted(set(names) - names.asked) if same else ():
        raise LeadminError(
            f"signals.leads: no table in {source} has a column {name!r}; valid: names of columns; "
            "correct or remove it"
        )


def _file_of(source: Path, record: str) -> Path:
    """Find the file of a record, which the table names with or without its ending."""
    path = source / record
    names = [path] if path.suffix in FORMS else [Path(f"{path}{end}") for end in FORMS]
    found = [name for name in names if name.is_file()]
    if len(found) != 1:
        which = "there is no such file" if not found else "there are several such files"
        raise FileError(f"{path}: {which}; valid: one that ends in {', '.join(FORMS)}", "missing")
    return found[0]
