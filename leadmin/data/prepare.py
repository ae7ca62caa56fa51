"""Records written once as the HDF5 file that every run reads: PTB-XL or a cut of it, or one's own.

What the file holds besides signals, and how they are read, is a `Source`; `prepare` makes that of
PTB-XL, and `leadmin.data.own` that of any other records.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from leadmin.data import dataset, ptbxl
from leadmin.data.archive import CHECKSUM_FILE, Archive, FileError, read_checksums
from leadmin.data.records import Digests, read_records
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, write_json, write_text
from leadmin.labels import CLASSES
from leadmin.leads import LEADS
from leadmin.workers import side_by_side

_BLOCK_BYTES = 3 * 2**20
_SMALL = 2000
"""Below this many records the start of worker processes costs more than it saves."""


@dataclass(frozen=True)
class Failure:
    """A record that could not be prepared: its file without extension, and why (`FileError`)."""

    record_id: int
    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did.

    ``content_sha256`` is the identity of the data, ``inputs_sha256`` that of everything read from
    the source; ``class_counts`` is by label policy; ``failures`` are in the order of record ids;
    ``up_to_date`` is True if the file was made from the same inputs before and nothing was done.
    """

    target: Path
    sampling_rate: int
    n_records: int
    content_sha256: str
    inputs_sha256: str
    class_counts: dict[str, dict[str, int]]
    failures: tuple[Failure, ...]
    up_to_date: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_failed(self) -> int:
        """How many records could not be prepared."""
        return len(self.failures)


Read = tuple[int, NDArray[np.int16], Digests] | Failure
"""Position in its table, signal (12, n_samples) in microvolts, and files of a record."""


@dataclass(frozen=True)
class Source:
    """What a prepared file is made of."""

    receipt: dict[str, Any]  # see `receipt_of`
    records: ptbxl.Records
    labels: dict[str, NDArray[np.uint8]]  # label policy to (n_records, n_classes)
    classes: list[str]
    n_samples: int
    read: Iterable[Read]  # each record, in order
    inputs: bytes  # with the digests of what is read for records, the identity of the inputs
    attributes: dict[str, Any]  # of the file, besides those that `write_prepared` gives it
    named: Sequence[str] = ()  # see `leadmin.data.dataset.content_sha256`
    # on the records that can be used, by position
    notes: Callable[[NDArray[np.intp]], list[str]] = lambda kept: []


def prepare(
    source: Path,
    target: Path,
    sampling_rate: int = 100,
    n_jobs: int | None = None,
    max_failures: int = 0,
    force: bool = False,
    quiet: bool = False,
) -> PrepareReport:
    """Convert PTB-XL, or a cut of it in the same layout, to one HDF5 file.

    Beside ``target`` two files are written: ``<stem>.failures.csv`` with the records that could
    not be read, and ``<stem>.json`` with what the file was made from, by which a second call sees
    that nothing has to be done, unless ``force`` is set.

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
    force, quiet : bool
        Prepare even if ``target`` is up to date; show no progress bar.

    Raises
    ------
    LeadminError
        If the source is no PTB-XL, more than ``max_failures`` records fail, or ``target`` cannot
        be written. Nothing half-written stays.
    """
    source, target = Path(source), Path(target)
    check_target(target, source)
    ptbxl.check_rate(sampling_rate)
    archive = ptbxl.open_ptbxl(source)
    checksums = read_checksums(archive)
    digests = ptbxl.check_tables(archive, checksums)
    table = ptbxl.read_table(archive)
    labels = ptbxl.read_labels(archive, table)
    tables = (ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE, CHECKSUM_FILE, ptbxl.PROVENANCE_FILE)
    fingerprint = archive.fingerprint(tables, table.files_at(sampling_rate))
    opened = Source(
        receipt=receipt_of(sampling_rate, source_fingerprint=fingerprint),
        records=table,
        labels=labels,
        classes=list(CLASSES),
        n_samples=ptbxl.DURATION * sampling_rate,
        read=_read_all(archive, checksums, table, sampling_rate, fingerprint, n_jobs),
        inputs=_listed(digests),
        attributes={
            "source": ptbxl.TITLE,
            "source_version": ptbxl.source_version(archive),
            "source_doi": ptbxl.DOI,
            "license": ptbxl.LICENSE_NAME,
            "inputs_verified": checksums is not None,
        },
    )
    return write_prepared(target, opened, max_failures, force, quiet)


def receipt_of(sampling_rate: int, **made_from: str) -> dict[str, Any]:
    """Give what has to be the same for a prepared file to be up to date."""
    return {
        "schema_version": dataset.SCHEMA_VERSION,
        "created_by": software(),
        "sampling_rate": sampling_rate,
        **made_from,
    }


def write_prepared(
    target: Path, source: Source, max_failures: int, force: bool, quiet: bool
) -> PrepareReport:
    """Write a source to ``target``, unless it is there already; see `prepare`."""
    if max_failures < 0:
        raise LeadminError(f"max_failures is {max_failures}; valid: 0 or more")
    report = None if force else _up_to_date(target, source.receipt, max_failures)
    try:
        if report is None:
            report = _write(target, source, max_failures, quiet)
            _write_receipt(target, source.receipt, report)
    except OSError as error:
        raise LeadminError(
            f"{target} cannot be written: {error.strerror or error}; nothing half-written was "
            "left; check the free space and the rights of the folder"
        ) from error
    return report


def software() -> str:
    """Name and version of this package, e.g. ``"leadmin 0.1.0"``."""
    return f"leadmin {version('leadmin')}"


def check_target(target: Path, *inputs: Path) -> None:
    """Refuse to write over what is read, or over a file that an earlier call did not write."""
    if target.suffix not in {".h5", ".hdf5"}:
        raise LeadminError(f"--to is {target}; valid: a name that ends in .h5 or .hdf5; change it")
    receipt, failures = _receipt_path(target), failures_path(target)
    foreign = [p for p in (target, receipt, failures) if p.resolve() in map(Path.resolve, inputs)]
    with contextlib.suppress(Exception), h5py.File(target) as file:
        if file.attrs["format"] == dataset.FORMAT.encode() and not foreign:
            return  # and so are those beside it
    marks = {receipt: f'"hdf5": "{target.name}"', failures: "record_id,file,reason,detail"}
    ours = [p for p in marks if p.is_file() and marks[p] in p.read_text(errors="replace")]
    ours += [target] * (receipt in ours)  # which may be damaged
    foreign += [p for p in (target, *marks) if p.exists() and p not in ours]
    if foreign:
        raise LeadminError(
            f"--to is {target}, and {foreign[0]} is there, which `leadmin data prepare` did not "
            "write; valid: a name that nothing is lost by; change it"
        )


def _receipt_path(target: Path) -> Path:
    return target.with_name(f"{target.stem}.json")


def _write_receipt(target: Path, receipt: Mapping[str, Any], report: PrepareReport) -> None:
    """Write beside ``target`` what it was made from, which `_up_to_date` reads."""
    found = {name: getattr(report, name) for name in _IN_RECEIPT}
    failures = [asdict(failure) for failure in report.failures]
    said = {"hdf5": target.name, "n_failed": len(failures), **found, "failures": failures}
    said["notes"] = list(report.notes)
    write_json(_receipt_path(target), {**receipt, **said})


def failures_path(target: Path) -> Path:
    """Where `prepare` writes the table of failed records for the HDF5 file ``target``."""
    return target.with_name(f"{target.stem}.failures.csv")


_IN_RECEIPT = ("n_records", "content_sha256", "inputs_sha256", "class_counts")


def _up_to_date(
    target: Path, receipt: Mapping[str, Any], max_failures: int
) -> PrepareReport | None:
    """Give the report of an earlier call if it made ``target`` from the same inputs."""
    try:
        earlier = json.loads(_receipt_path(target).read_text(encoding="utf-8"))
        if any(earlier.get(key) != value for key, value in receipt.items()):
            return None
        if earlier["n_failed"] > max_failures or not failures_path(target).is_file():
            return None
        # Reads and checks the whole file, so that a damaged one is made again.
        found = dataset.load_dataset(target).attributes["content_sha256"]
        if found != earlier["content_sha256"]:
            return None
        failures = tuple(Failure(**failure) for failure in earlier["failures"])
        said = {name: earlier[name] for name in ("sampling_rate", *_IN_RECEIPT)}
        notes = tuple(earlier.get("notes", ()))
        return PrepareReport(target, **said, failures=failures, up_to_date=True, notes=notes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LeadminError):
        return None


class SteadyFile(io.FileIO):
    """A file under HDF5 that keeps a failure to itself until it is asked.

    The HDF5 library may crash the whole process when a write fails, for instance on a full disk,
    and it still tries to write while it cleans up. So the first failure is kept here, the library
    is told that all is well, and the failure is raised once it has let go of the file.
    """

    _failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def __exit__(self, *exception: object) -> None:
        self.close()
        self.raise_failure()  # also in place of what the library made of it

    def write(self, content: Any) -> int:
        """Write all of it, or keep the failure and say that all was written."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while len(left) and self._failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._failure = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Read what there is."""
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # what could not be written reads as zero
        super().readinto(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file, or keep the failure."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0


def _write(target: Path, source: Source, max_failures: int, quiet: bool) -> PrepareReport:
    n_records, shape = len(source.records), (len(LEADS), source.n_samples)
    rate, per_block = source.receipt["sampling_rate"], _records_per_block(source.n_samples)
    rows: list[int] = []
    failures: list[Failure] = []
    inputs, signals = hashlib.sha256(source.inputs), hashlib.sha256()
    with (
        atomic_path(target) as temporary,
        SteadyFile(str(temporary), "w+") as stream,
        # From format 1.10 on HDF5 protects its own structure by checksums.
        h5py.File(stream, "w", libver=("v110", "v110"), rdcc_nbytes=4 * _BLOCK_BYTES) as file,
    ):
        stored = file.create_dataset(
            "signals",
            shape=(n_records, *shape),
            maxshape=(None, *shape),
            chunks=(max(1, min(per_block // 2, n_records)), *shape),
            dtype="<i2",
        )
        for found in tqdm(source.read, f"preparing {rate} Hz", n_records, disable=quiet or None):
            if isinstance(found, Failure):
                failures.append(found)
                continue
            row, signal, digests = found
            stored[len(rows)] = signal
            rows.append(row)
            signals.update(signal.tobytes())
            inputs.update(_listed(digests))
            stream.raise_failure()
        stored.resize(len(rows), axis=0)
        _report_failures(target, failures, max_failures, n_records)
        kept = np.array(rows, dtype=np.intp)
        notes = source.notes(kept)
        arrays = _tables(source, kept)
        content = dataset.content_sha256(stored.shape, signals.hexdigest(), arrays, source.named)
        attributes = {
            "format": dataset.FORMAT,
            "schema_version": dataset.SCHEMA_VERSION,
            "created_by": software(),
            "sampling_rate": rate,
            "unit": dataset.UNIT,
            "leads": list(LEADS),
            "classes": source.classes,
            "n_records": len(rows),
            "n_failed": len(failures),
            "inputs_sha256": inputs.hexdigest(),
            "content_sha256": content,
            **source.attributes,
        }
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for name, value in attributes.items():
            file.attrs[name] = _as_bytes(value) if isinstance(value, str | list) else value
    counts = {
        policy: dict(zip(source.classes, labels[kept].sum(axis=0, dtype=int).tolist(), strict=True))
        for policy, labels in source.labels.items()
    }
    about = target, rate, len(rows), content, inputs.hexdigest(), counts
    return PrepareReport(*about, tuple(failures), notes=tuple(notes))


def _as_bytes(text: Any) -> NDArray[np.bytes_]:
    """Give texts a fixed length, since HDF5's heap for others has no checksum."""
    return np.char.encode(np.asarray(text, dtype=str), "utf-8")


def _listed(digests: Digests) -> bytes:
    return "".join(f"{digest} {member}\n" for member, digest in digests).encode()


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
        f"{shown}{more}\n{failures_path(target)} lists them with their reasons; get these files "
        "again, or allow the loss with --max-failures"
    )


def _tables(source: Source, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Give everything but the signals as arrays for the file."""
    arrays = {name: getattr(source.records, name)[rows] for name in dataset.TABLE_TYPES}
    arrays |= {f"labels/{policy}": labels[rows] for policy, labels in source.labels.items()}
    for name, column in source.records.metadata.iloc[rows].items():
        is_number = pd.api.types.is_numeric_dtype(column)
        arrays[f"metadata/{name}"] = column.to_numpy() if is_number else _as_bytes(column)
    return arrays


def _records_per_block(n_samples: int) -> int:
    return max(1, _BLOCK_BYTES // (len(LEADS) * n_samples * 2))


_Records = list[tuple[int, int, str]]
"""Row, record id and file of some records."""


def _read_all(
    archive: Archive,
    checksums: dict[str, str] | None,
    table: ptbxl.RecordTable,
    rate: int,
    fingerprint: str,
    n_jobs: int | None,
) -> Iterator[Read]:
    """Read all records in order, in parallel where that pays, a bounded number of blocks ahead."""
    ids = table.record_id.tolist()
    records: _Records = list(zip(range(len(ids)), ids, table.files_at(rate), strict=True))
    n_jobs = joblib.cpu_count() if n_jobs is None else max(1, n_jobs)
    if n_jobs == 1 or len(ids) * rate < _SMALL * 100:
        yield from _read(archive, checksums, records, rate)
        return
    size = _records_per_block(ptbxl.DURATION * rate)
    blocks = (records[i : i + size] for i in range(0, len(records), size))
    workers = side_by_side(n_jobs, return_as="generator", pre_dispatch="2*n_jobs")
    where = str(archive.path), fingerprint
    for block in workers(joblib.delayed(_read_in_worker)(*where, block, rate) for block in blocks):
        yield from block


@lru_cache(maxsize=1)
def _opened_in_worker(path: str, fingerprint: str) -> tuple[Archive, dict[str, str] | None]:
    """Open the source once per worker process; its fingerprint tells a changed one."""
    archive = ptbxl.open_ptbxl(Path(path))
    return archive, read_checksums(archive)


def _read_in_worker(path: str, fingerprint: str, records: _Records, rate: int) -> list[Read]:
    return list(_read(*_opened_in_worker(path, fingerprint), records, rate))


def _read(
    archive: Archive, checksums: dict[str, str] | None, records: _Records, rate: int
) -> Iterator[Read]:
    all_found = read_records(archive, (name for _, _, name in records), rate, checksums)
    for (row, record_id, name), found in zip(records, all_found, strict=True):
        if isinstance(found, FileError):
            yield Failure(record_id, name, found.reason, str(found))
        else:
            yield row, *found
