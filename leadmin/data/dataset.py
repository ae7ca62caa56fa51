"""The prepared data: one HDF5 file per sampling rate, written once and read by every run.

Signals are stored as recorded, in integer microvolts; scaling, cropping and the choice of leads
belong to the recipe of a run and are never baked in.
"""

import hashlib
import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from leadmin.data import ptbxl
from leadmin.data.archive import Archive
from leadmin.data.ptbxl import RecordTable
from leadmin.data.records import RecordError
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, write_json, write_text
from leadmin.labels import CLASSES, LABEL_POLICIES
from leadmin.leads import LEADS

FORMAT = "leadmin prepared ECG"
SCHEMA_VERSION = 1
UNIT = "uV"

_TABLE_TYPES: Mapping[str, type[np.generic]] = {
    "record_id": np.int32,
    "patient_id": np.int32,
    "fold": np.int8,
    "age": np.float32,
    "sex": np.int8,
}
_METADATA_TYPES: Mapping[str, type[np.generic] | None] = {
    "site": np.int16,
    "device": None,  # None: text
    "height": np.float32,
    "weight": np.float32,
    "recording_date": None,
    "baseline_drift": np.int8,
    "static_noise": np.int8,
    "burst_noise": np.int8,
    "electrodes_problems": np.int8,
    "extra_beats": np.int8,
    "pacemaker": np.int8,
    "validated_by_human": np.int8,
    "resampled_from_500_hz": np.int8,
    "scp_codes": None,
}
_BLOCK_BYTES = 3 * 2**20
_SMALL = 8000
"""Below this many records the start of worker processes costs more than it saves."""


@dataclass(frozen=True)
class Failure:
    """A record that could not be prepared.

    Attributes
    ----------
    record_id : int
        Its ``ecg_id``.
    file : str
        Its path in the archive, without extension.
    reason : str
        One word; see `leadmin.data.records.RecordError`.
    detail : str
        The whole message.
    """

    record_id: int
    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did.

    Attributes
    ----------
    target : Path
        The HDF5 file.
    sampling_rate : int
        Hz.
    n_records, n_failed : int
        Records in the file, and records of the source that are not.
    content_sha256 : str
        Checksum of everything in the file; the identity of the data.
    inputs_sha256 : str
        Checksum of everything read from the source.
    class_counts : dict of str to dict of str to int
        Label policy to superclass to number of records.
    failures : tuple of Failure
        In the order of record ids; also in the CSV beside the HDF5 file.
    up_to_date : bool
        True if the file was there already, made from the same inputs, and nothing was done.
    seconds : float
        Wall time.
    """

    target: Path
    sampling_rate: int
    n_records: int
    n_failed: int
    content_sha256: str
    inputs_sha256: str
    class_counts: dict[str, dict[str, int]]
    failures: tuple[Failure, ...]
    up_to_date: bool
    seconds: float


@dataclass(frozen=True)
class EcgDataset:
    """Prepared ECGs in memory.

    Attributes
    ----------
    signals : ndarray of int16
        ``(n_records, 12, n_samples)``, microvolts, leads in the order of `LEADS`.
    record_id, patient_id : ndarray of int32
        ``(n_records,)``.
    fold : ndarray of int8
        1 to 10; 9 is the validation fold and 10 the test fold of the holdout protocol.
    age : ndarray of float32
        Years, NaN where unknown; 300 means over 89.
    sex : ndarray of int8
        0 male, 1 female, -1 unknown.
    labels : dict of str to ndarray of uint8
        Label policy to ``(n_records, 5)`` in the order of `CLASSES`.
    sampling_rate : int
        Hz.
    attributes : dict
        Where the data come from: ``source``, ``source_version``, ``source_doi``, ``license``,
        ``inputs_sha256``, ``inputs_verified`` (True if the source had a list of checksums and
        every file agreed), ``content_sha256``, ``schema_version``, ``created_by``, ``n_failed``
        and more.
    metadata : pandas.DataFrame
        One row per record; columns as in `leadmin.data.ptbxl.METADATA_COLUMNS`.
    path : Path
        The file it was read from.
    """

    signals: NDArray[np.int16]
    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    age: NDArray[np.float32]
    sex: NDArray[np.int8]
    labels: dict[str, NDArray[np.uint8]]
    sampling_rate: int
    attributes: dict[str, Any]
    metadata: pd.DataFrame
    path: Path

    def __len__(self) -> int:
        return len(self.record_id)

    @property
    def duration(self) -> float:
        """Length of each record in seconds."""
        return self.signals.shape[-1] / self.sampling_rate

    def select(self, mask_or_index: ArrayLike) -> "EcgDataset":
        """Give the records that a Boolean mask or an array of positions picks.

        Parameters
        ----------
        mask_or_index : array_like
            ``(n_records,)`` of bool, or positions along the first axis in the order wanted.

        Returns
        -------
        EcgDataset
            Arrays are copies, but for a full slice.
        """
        rows = np.asarray(mask_or_index)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise LeadminError(
                    f"A mask of shape {rows.shape} does not fit {len(self)} records."
                )
            rows = np.flatnonzero(rows)
        elif rows.size == 0:
            rows = rows.astype(np.intp)
        elif not np.issubdtype(rows.dtype, np.integer):
            raise LeadminError(f"Records are picked by a mask or by integers, not by {rows.dtype}.")
        return replace(
            self,
            signals=self.signals[rows],
            record_id=self.record_id[rows],
            patient_id=self.patient_id[rows],
            fold=self.fold[rows],
            age=self.age[rows],
            sex=self.sex[rows],
            labels={policy: labels[rows] for policy, labels in self.labels.items()},
            metadata=self.metadata.iloc[rows].reset_index(drop=True),
        )

    def has_superclass(self, policy: str) -> NDArray[np.bool_]:
        """Mark the records that belong to at least one superclass under a label policy."""
        marked: NDArray[np.bool_] = self._labels(policy).max(axis=1).astype(bool)
        return marked

    def for_policy(self, policy: str, unlabelled: str = "drop") -> "EcgDataset":
        """Keep or drop the records that have no superclass under a label policy.

        Parameters
        ----------
        policy : str
            A key of `LABEL_POLICIES`.
        unlabelled : {"drop", "keep"}
            The original study and the benchmark drop them; kept, they count as negatives of all
            five superclasses.
        """
        if unlabelled not in ("drop", "keep"):
            raise LeadminError(f"unlabelled must be 'drop' or 'keep', not {unlabelled!r}.")
        labelled = self.has_superclass(policy)
        return self if unlabelled == "keep" or labelled.all() else self.select(labelled)

    def class_counts(self, policy: str) -> pd.Series:
        """Count the records of each superclass; a record may count in several."""
        return pd.Series(self._labels(policy).sum(axis=0, dtype=int), index=list(CLASSES))

    def cooccurrence(self, policy: str) -> pd.DataFrame:
        """Count for each pair of superclasses the records in both; the diagonal holds totals."""
        labels = self._labels(policy).astype(int)
        return pd.DataFrame(labels.T @ labels, index=list(CLASSES), columns=list(CLASSES))

    def _labels(self, policy: str) -> NDArray[np.uint8]:
        if policy not in self.labels:
            raise LeadminError(
                f"There is no label policy called {policy!r}; valid: {', '.join(self.labels)}."
            )
        return self.labels[policy]


def prepare(
    source: Path,
    target: Path,
    sampling_rate: int = 100,
    n_jobs: int | None = None,
    max_failures: int = 0,
    force: bool = False,
    progress: bool | None = None,
) -> PrepareReport:
    """Convert PTB-XL, or a cut of it in the same layout, to one HDF5 file.

    Beside ``target`` two files are written: ``<stem>.failures.csv`` with the records that could
    not be read, and ``<stem>.json`` with what the file was made from, by which a second call sees
    that nothing has to be done.

    Parameters
    ----------
    source : Path
        The archive (zip, read in place) or its unpacked folder.
    target : Path
        The HDF5 file to write.
    sampling_rate : {100, 500}
        Which of PTB-XL's two versions of each record, Hz.
    n_jobs : int, optional
        Processes; by default one for each CPU this process may use.
    max_failures : int
        How many records may fail. One more is an error, and ``target`` is left alone.
    force : bool
        Prepare even if ``target`` is up to date.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.

    Returns
    -------
    PrepareReport

    Raises
    ------
    LeadminError
        If the source is no PTB-XL, more than ``max_failures`` records fail, or ``target`` cannot
        be written. Nothing half-written stays.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    if sampling_rate not in ptbxl.SAMPLING_RATES:
        raise LeadminError(
            f"PTB-XL has records at {' and '.join(map(str, ptbxl.SAMPLING_RATES))} Hz, not at "
            f"{sampling_rate} Hz."
        )
    if max_failures < 0:
        raise LeadminError(f"max_failures is {max_failures}; it should be 0 or more.")
    archive = ptbxl.open_ptbxl(source)
    checksums = ptbxl.read_checksums(archive)
    tables = ptbxl.check_tables(archive, checksums)
    table = ptbxl.read_table(archive)
    superclasses = ptbxl.read_superclasses(archive)
    if sampling_rate not in table.files:
        raise LeadminError(
            f"{archive.where(ptbxl.DATABASE_FILE)} has no column of {sampling_rate} Hz file names."
        )
    files = table.files[sampling_rate]
    receipt = {
        "schema_version": SCHEMA_VERSION,
        "created_by": software(),
        "sampling_rate": sampling_rate,
        "source_fingerprint": _fingerprint(archive, files),
    }
    done = None if force else _up_to_date(target, receipt, max_failures)
    if done is not None:
        return replace(done, seconds=time.perf_counter() - start)
    labels = {
        policy: ptbxl.label_matrix(table.statements, superclasses, policy)
        for policy in LABEL_POLICIES
    }
    try:
        report = _write(
            _Source(archive, checksums, tables, table, files),
            labels,
            target,
            sampling_rate,
            n_jobs,
            max_failures,
            progress,
        )
        report = replace(report, seconds=time.perf_counter() - start)
        _write_receipt(report, receipt)
    except OSError as error:
        raise LeadminError(
            f"{target} cannot be written: {error.strerror or error}. Check the free space and the "
            "rights of the folder; nothing half-written was left."
        ) from error
    return report


def software() -> str:
    """Name and version of this package, e.g. ``"leadmin 0.1.0"``."""
    try:
        return f"leadmin {version('leadmin')}"
    except PackageNotFoundError:
        return "leadmin (not installed)"


def _fingerprint(archive: Archive, files: tuple[str, ...]) -> str:
    tables = [
        ptbxl.DATABASE_FILE,
        ptbxl.STATEMENTS_FILE,
        ptbxl.CHECKSUM_FILE,
        ptbxl.PROVENANCE_FILE,
    ]
    folders = {file.rpartition("/")[0] for file in files if file}
    return archive.fingerprint(tables, sorted(folders))


def _receipt_path(target: Path) -> Path:
    return target.with_name(f"{target.stem}.json")


def failures_path(target: Path) -> Path:
    """Where `prepare` writes the table of failed records for the HDF5 file ``target``."""
    return target.with_name(f"{target.stem}.failures.csv")


def _up_to_date(
    target: Path, receipt: Mapping[str, Any], max_failures: int
) -> PrepareReport | None:
    """Give the report of an earlier call if it made ``target`` from the same inputs."""
    try:
        earlier = json.loads(_receipt_path(target).read_text(encoding="utf-8"))
        if any(earlier.get(key) != value for key, value in receipt.items()):
            return None
        report = PrepareReport(
            target=target,
            sampling_rate=int(earlier["sampling_rate"]),
            n_records=int(earlier["n_records"]),
            n_failed=int(earlier["n_failed"]),
            content_sha256=str(earlier["content_sha256"]),
            inputs_sha256=str(earlier["inputs_sha256"]),
            class_counts=dict(earlier["class_counts"]),
            failures=tuple(Failure(**failure) for failure in earlier["failures"]),
            up_to_date=True,
            seconds=0.0,
        )
        if report.n_failed > max_failures:
            return None
        if not failures_path(target).is_file():
            return None
        # Reads and checks the whole file, so that a damaged one is made again.
        dataset = load_dataset(target)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LeadminError):
        return None
    return report if dataset.attributes["content_sha256"] == report.content_sha256 else None


def _write_receipt(report: PrepareReport, receipt: Mapping[str, Any]) -> None:
    content = {
        **receipt,
        "hdf5": report.target.name,
        "n_records": report.n_records,
        "n_failed": report.n_failed,
        "content_sha256": report.content_sha256,
        "inputs_sha256": report.inputs_sha256,
        "class_counts": report.class_counts,
        "failures": [asdict(failure) for failure in report.failures],
    }
    write_json(_receipt_path(report.target), content)


class _SteadyFile(io.RawIOBase):
    """A file under HDF5 that keeps a failure to itself until it is asked.

    The HDF5 library may crash the whole process when a write fails, for instance on a full disk,
    and it still tries to write while it cleans up. So the first failure is kept here, the library
    is told that all is well, and the failure is raised once it has let go of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def __exit__(self, *exception: object) -> None:
        self.close()
        self.raise_failure()  # also in place of what the library made of it

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while len(left) and self._failure is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failure = error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # what could not be written reads as zero
        self._file.readinto(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class _Source:
    """An opened source and what its tables say."""

    archive: Archive
    checksums: dict[str, str] | None
    table_digests: list[tuple[str, str]]
    table: RecordTable
    files: tuple[str, ...]


def _write(
    source: _Source,
    labels: Mapping[str, NDArray[np.uint8]],
    target: Path,
    sampling_rate: int,
    n_jobs: int | None,
    max_failures: int,
    progress: bool | None,
) -> PrepareReport:
    table = source.table
    n_samples = ptbxl.DURATION * sampling_rate
    row_bytes = len(LEADS) * n_samples * 2
    rows_per_block = max(1, _BLOCK_BYTES // row_bytes)
    failures: list[Failure] = []
    good: list[NDArray[np.intp]] = []
    inputs = hashlib.sha256()
    for member, digest in source.table_digests:
        inputs.update(f"{digest} {member}\n".encode())
    signal_hash = hashlib.sha256()
    with (
        atomic_path(target) as temporary,
        _SteadyFile(temporary) as stream,
        # From format 1.10 on HDF5 protects its own structure by checksums.
        h5py.File(stream, "w", libver=("v110", "v110"), rdcc_nbytes=4 * _BLOCK_BYTES) as file,
    ):
        stored = file.create_dataset(
            "signals",
            shape=(len(table), len(LEADS), n_samples),
            maxshape=(None, len(LEADS), n_samples),
            chunks=(max(1, min(rows_per_block // 2, len(table))), len(LEADS), n_samples),
            dtype="<i2",
        )
        written = 0
        with tqdm(
            total=len(table),
            desc=f"preparing {sampling_rate} Hz",
            unit="record",
            disable=None if progress is None else not progress,
        ) as bar:
            for block in _read_blocks(source, sampling_rate, rows_per_block, n_jobs):
                count = len(block.rows)
                if count:
                    stored[written : written + count] = block.signals
                    signal_hash.update(block.signals.data)
                written += count
                good.append(block.rows)
                failures.extend(block.failures)
                for member, digest in block.digests:
                    inputs.update(f"{digest} {member}\n".encode())
                bar.update(count + len(block.failures))
                stream.raise_failure()
        _report_failures(target, failures, max_failures, len(table))
        stored.resize(written, axis=0)
        rows = np.concatenate(good)
        content_sha256 = _write_tables(file, table, labels, rows, signal_hash.hexdigest())
        attributes = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "created_by": software(),
            "source": ptbxl.TITLE,
            "source_version": _source_version(source.archive.name),
            "source_doi": ptbxl.DOI,
            "license": ptbxl.LICENSE_NAME,
            "sampling_rate": sampling_rate,
            "unit": UNIT,
            "leads": list(LEADS),
            "classes": list(CLASSES),
            "n_records": written,
            "n_failed": len(failures),
            "inputs_sha256": inputs.hexdigest(),
            "inputs_verified": source.checksums is not None,
            "content_sha256": content_sha256,
        }
        for name, value in attributes.items():
            # Text of fixed length, since the heap of the other kind has no checksum.
            is_text = isinstance(value, str | list)
            file.attrs[name] = np.array(value, dtype=np.bytes_) if is_text else value
    return PrepareReport(
        target=target,
        sampling_rate=sampling_rate,
        n_records=written,
        n_failed=len(failures),
        content_sha256=content_sha256,
        inputs_sha256=inputs.hexdigest(),
        class_counts={
            policy: dict(zip(CLASSES, matrix[rows].sum(axis=0, dtype=int).tolist(), strict=True))
            for policy, matrix in labels.items()
        },
        failures=tuple(failures),
        up_to_date=False,
        seconds=0.0,
    )


def _source_version(top_folder: str) -> str:
    match = re.search(r"-(\d+\.\d+\.\d+)$", top_folder)
    return match[1] if match else "unknown"


def _report_failures(
    target: Path, failures: list[Failure], max_failures: int, n_records: int
) -> None:
    """Write the table of failures; raise if there are too many or nothing is left."""
    columns = ["record_id", "file", "reason", "detail"]
    frame = pd.DataFrame([asdict(failure) for failure in failures], columns=columns)
    write_text(failures_path(target), frame.to_csv(index=False))
    if len(failures) <= max_failures and len(failures) < n_records:
        return
    shown = "\n".join(f"  {f.record_id}: {f.reason}: {f.detail}" for f in failures[:5])
    more = f"\n  ... and {len(failures) - 5} more" if len(failures) > 5 else ""
    raise LeadminError(
        f"{len(failures)} of {n_records} records cannot be used ({max_failures} allowed):\n"
        f"{shown}{more}\nAll of them with their reasons: {failures_path(target)}. Get the archive "
        "again, or allow the loss with --max-failures."
    )


def _write_tables(
    file: h5py.File,
    table: RecordTable,
    labels: Mapping[str, NDArray[np.uint8]],
    rows: NDArray[np.intp],
    signals_sha256: str,
) -> str:
    """Write everything but the signals; give the checksum of the whole content."""
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(table, name)[rows].astype(kind) for name, kind in _TABLE_TYPES.items()
    }
    for policy, matrix in labels.items():
        arrays[f"labels/{policy}"] = matrix[rows]
    for name, kind in _METADATA_TYPES.items():
        values = table.metadata[name].iloc[rows]
        arrays[f"metadata/{name}"] = (
            values.to_numpy(kind)
            if kind is not None
            else np.array([text.encode() for text in values] or [b""], dtype=np.bytes_)
        )
    for name, array in arrays.items():
        file.create_dataset(name, data=array)
    return _content_sha256(file["signals"].shape, signals_sha256, arrays)


def _content_sha256(
    signals_shape: tuple[int, ...], signals_sha256: str, arrays: Mapping[str, NDArray[Any]]
) -> str:
    digest = hashlib.sha256(f"signals <i2 {signals_shape} {signals_sha256}\n".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        part = hashlib.sha256(array.tobytes()).hexdigest()
        digest.update(f"{name} {array.dtype.str} {array.shape} {part}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Block:
    """Some consecutive records of the source, read."""

    rows: NDArray[np.intp]
    signals: NDArray[np.int16]
    failures: list[Failure]
    digests: list[tuple[str, str]]


def _read_blocks(
    source: _Source, sampling_rate: int, rows_per_block: int, n_jobs: int | None
) -> Iterator[_Block]:
    """Read all records in order, in parallel where that pays, a bounded number of blocks ahead."""
    archive, record_id, files = source.archive, source.table.record_id, source.files
    blocks = [
        (first, record_id[first : first + rows_per_block], files[first : first + rows_per_block])
        for first in range(0, len(files), rows_per_block)
    ]
    n_jobs = joblib.cpu_count() if n_jobs is None else max(1, n_jobs)
    if n_jobs == 1 or len(files) * sampling_rate < _SMALL * 100:
        for first, ids, names in blocks:
            yield _read_block(archive, source.checksums, first, ids, names, sampling_rate)
        return
    stamp = archive.path.stat().st_mtime_ns
    workers = joblib.Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="2*n_jobs")
    yield from workers(
        joblib.delayed(_read_block_in_worker)(str(archive.path), stamp, *block, sampling_rate)
        for block in blocks
    )


@lru_cache(maxsize=1)
def _opened_in_worker(path: str, stamp: int) -> tuple[Archive, dict[str, str] | None]:
    """Open the source once per worker process; ``stamp`` tells a replaced file from the old."""
    archive = ptbxl.open_ptbxl(Path(path))
    return archive, ptbxl.read_checksums(archive)


def _read_block_in_worker(
    path: str,
    stamp: int,
    first: int,
    record_id: NDArray[np.int32],
    files: tuple[str, ...],
    sampling_rate: int,
) -> _Block:
    archive, checksums = _opened_in_worker(path, stamp)
    return _read_block(archive, checksums, first, record_id, files, sampling_rate)


def _read_block(
    archive: Archive,
    checksums: dict[str, str] | None,
    first: int,
    record_id: NDArray[np.int32],
    files: tuple[str, ...],
    sampling_rate: int,
) -> _Block:
    signals = np.empty((len(files), len(LEADS), ptbxl.DURATION * sampling_rate), dtype=np.int16)
    rows: list[int] = []
    failures: list[Failure] = []
    digests: list[tuple[str, str]] = []
    for offset, (number, name) in enumerate(zip(record_id.tolist(), files, strict=True)):
        try:
            signal, read = ptbxl.read_record(archive, name, sampling_rate, checksums)
        except RecordError as error:
            failures.append(Failure(number, name, error.reason, str(error)))
            continue
        signals[len(rows)] = signal
        rows.append(first + offset)
        digests.extend(read)
    return _Block(np.array(rows, dtype=np.intp), signals[: len(rows)], failures, digests)


def load_dataset(path: Path) -> EcgDataset:
    """Read prepared ECGs into memory and check them.

    Parameters
    ----------
    path : Path
        A file that `prepare` wrote.

    Returns
    -------
    EcgDataset

    Raises
    ------
    LeadminError
        If the file is missing, was not written by `prepare`, has another schema version, or is
        damaged in any byte of its content. The message names the file, the field, and what to do.
    """
    path = Path(path)
    remedy = "Make it again with `leadmin data prepare`."
    if not path.is_file():
        raise LeadminError(f"{path} does not exist or is no file. {remedy}")
    try:
        size = path.stat().st_size
        with h5py.File(path, "r") as file:
            return _read_file(file, path, size, remedy)
    except LeadminError:
        raise
    except Exception as error:  # h5py raises whatever a damaged file leads it to
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LeadminError(
            f"{path} cannot be read as HDF5 ({text[:200]}): it is damaged or something else. "
            f"{remedy}"
        ) from error


def _read_file(file: h5py.File, path: Path, size: int, remedy: str) -> EcgDataset:
    attributes = {name: _plain(value) for name, value in file.attrs.items()}
    if attributes.get("format") != FORMAT:
        raise LeadminError(
            f"{path} is HDF5, but was not written by `leadmin data prepare`. {remedy}"
        )
    if attributes.get("schema_version") != SCHEMA_VERSION:
        raise LeadminError(
            f"{path}: schema_version is {attributes.get('schema_version')!r}; this version of "
            f"leadmin reads {SCHEMA_VERSION}. {remedy}"
        )
    for name, expected in (("leads", list(LEADS)), ("classes", list(CLASSES)), ("unit", UNIT)):
        if attributes.get(name) != expected:
            raise LeadminError(
                f"{path}: the attribute {name} is {str(attributes.get(name))[:80]}, not "
                f"{expected}. {remedy}"
            )
    rate = attributes.get("sampling_rate")
    n_records = attributes.get("n_records")
    if rate not in ptbxl.SAMPLING_RATES or not isinstance(n_records, int) or n_records < 1:
        raise LeadminError(
            f"{path}: the attributes sampling_rate {rate!r} and n_records {n_records!r} make no "
            f"sense. {remedy}"
        )

    def read(name: str, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        link = file.get(name, getlink=True) if name in file else None
        stored = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(stored, h5py.Dataset):
            raise LeadminError(f"{path}: the field {name} is missing. {remedy}")
        right_type = stored.dtype.kind == "S" if kind is None else stored.dtype == np.dtype(kind)
        if stored.shape != shape or not right_type:
            raise LeadminError(
                f"{path}: the field {name} has shape {stored.shape} and type {stored.dtype}; "
                f"expected {shape} and {'text' if kind is None else np.dtype(kind)}. {remedy}"
            )
        # A damaged or hostile file may announce more than it holds, or point to other files.
        n_bytes = stored.id.get_storage_size()
        if stored.is_virtual or stored.external or not stored.nbytes <= n_bytes <= size:
            raise LeadminError(
                f"{path}: the field {name} is not stored completely in the file. {remedy}"
            )
        values = np.empty(stored.shape, dtype=stored.dtype)
        stored.read_direct(values)
        return values

    signals = read("signals", "<i2", (n_records, len(LEADS), ptbxl.DURATION * rate))
    arrays = {name: read(name, kind, (n_records,)) for name, kind in _TABLE_TYPES.items()}
    for policy in LABEL_POLICIES:
        arrays[f"labels/{policy}"] = read(f"labels/{policy}", np.uint8, (n_records, len(CLASSES)))
    for name, kind in _METADATA_TYPES.items():
        arrays[f"metadata/{name}"] = read(f"metadata/{name}", kind, (n_records,))
    found = _content_sha256(signals.shape, hashlib.sha256(signals.data).hexdigest(), arrays)
    if found != attributes.get("content_sha256"):
        raise LeadminError(
            f"{path}: the content does not agree with its checksum content_sha256; the file is "
            f"damaged. {remedy}"
        )
    return EcgDataset(
        signals=signals,
        **{name: arrays[name] for name in _TABLE_TYPES},
        labels={policy: arrays[f"labels/{policy}"] for policy in LABEL_POLICIES},
        sampling_rate=rate,
        attributes=attributes,
        metadata=pd.DataFrame(
            {
                name: (
                    arrays[f"metadata/{name}"]
                    if kind is not None
                    else [text.decode("utf-8") for text in arrays[f"metadata/{name}"].tolist()]
                )
                for name, kind in _METADATA_TYPES.items()
            }
        ),
        path=path,
    )


def _plain(value: Any) -> Any:
    """Turn an HDF5 attribute into a plain Python value."""
    if isinstance(value, bytes):  # before np.generic, which np.bytes_ is as well
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
