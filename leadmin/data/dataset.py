"""The prepared data in memory: one HDF5 file per sampling rate, read and checked by every run.

Signals are stored as recorded, in integer microvolts; scaling, cropping and the choice of leads
belong to the recipe of a run and are never baked in. `leadmin.data.prepare` writes the file of
PTB-XL, `leadmin.data.own` that of any other records: its attributes name their classes and the
length of a record, and where statements have no likelihood, all label policies are one.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadmin.data.ptbxl import DURATION, METADATA_COLUMNS, SAMPLING_RATES
from leadmin.errors import LeadminError
from leadmin.labels import CLASS_NAMES, CLASSES, LABEL_POLICIES, check_class_names
from leadmin.leads import LEADS

FORMAT = "leadmin prepared ECG"
SCHEMA_VERSION = 1
UNIT = "uV"
MICROVOLTS_PER: Mapping[str, float] = MappingProxyType({"uV": 1.0, "mV": 1e3, "V": 1e6})
"""Units of voltage that are understood, in records and by a trained network."""

OWN_COLUMNS: Mapping[str, tuple[None, str]] = {"record": (None, "what its table calls the record")}
"""Metadata that a file of other records has besides those of PTB-XL."""

_MOST_SAMPLES = 500_000

TABLE_TYPES: Mapping[str, type[np.generic]] = {
    "record_id": np.int32,
    "patient_id": np.int32,
    "fold": np.int8,
    "age": np.float32,
    "sex": np.int8,
}


@dataclass(frozen=True)
class EcgDataset:
    """Prepared ECGs in memory.

    ``attributes`` say where the data come from: ``source``, ``source_version``, ``source_doi``,
    ``license``, ``inputs_sha256``, ``inputs_verified`` (True if the source had a list of checksums
    and every file agreed), ``content_sha256``, ``schema_version``, ``created_by``, ``n_failed``
    and more.
    """

    signals: NDArray[np.int16]  # (n_records, 12, n_samples), microvolts, in the order of `LEADS`
    record_id: NDArray[np.int32]  # (n_records,), like the next four
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]  # 1 to 10; the holdout protocol validates on 9 and tests on 10
    age: NDArray[np.float32]  # years, NaN where unknown; 300 means over 89
    sex: NDArray[np.int8]  # 0 male, 1 female, -1 unknown
    labels: dict[str, NDArray[np.uint8]]  # label policy to (n_records, n_classes), as in `classes`
    sampling_rate: int  # Hz
    attributes: dict[str, Any]
    metadata: pd.DataFrame  # one row per record; see leadmin.data.ptbxl.METADATA_COLUMNS
    path: Path  # of the file it was read from

    def __len__(self) -> int:
        return len(self.record_id)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return tuple(self.attributes.get("classes", CLASSES))

    @property
    def class_names(self) -> dict[str, str]:
        """Give each class what a report calls it."""
        plain = [CLASS_NAMES.get(name, name) for name in self.classes]
        return dict(zip(self.classes, self.attributes.get("class_meanings", plain), strict=True))

    @property
    def policies(self) -> tuple[str, ...]:
        """Label policies that differ: one, where statements have no likelihood."""
        return tuple(self.attributes.get("policies", LABEL_POLICIES))

    @property
    def duration(self) -> float:
        """Length of each record in seconds."""
        return self.signals.shape[-1] / self.sampling_rate

    def select(self, mask_or_index: ArrayLike) -> "EcgDataset":
        """Give the records that a Boolean mask or an array of positions picks, as copies."""
        rows = np.asarray(mask_or_index)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise LeadminError(f"a mask of shape {rows.shape} does not fit {len(self)} records")
            rows = np.flatnonzero(rows)
        elif rows.size == 0:
            rows = rows.astype(np.intp)
        elif not np.issubdtype(rows.dtype, np.integer):
            raise LeadminError(f"records are picked by a mask or by integers, not by {rows.dtype}")
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in ("signals", *TABLE_TYPES)},
            labels={policy: labels[rows] for policy, labels in self.labels.items()},
            metadata=self.metadata.iloc[rows].reset_index(drop=True),
        )

    def has_superclass(self, policy: str) -> NDArray[np.bool_]:
        """Mark the records that belong to at least one superclass under a label policy."""
        marked: NDArray[np.bool_] = self._labels(policy).max(axis=1).astype(bool)
        return marked

    def class_counts(self, policy: str) -> pd.Series:
        """Count the records of each superclass; a record may count in several."""
        return pd.Series(self._labels(policy).sum(axis=0, dtype=int), index=list(self.classes))

    def cooccurrence(self, policy: str) -> pd.DataFrame:
        """Count for each pair of superclasses the records in both; the diagonal holds totals."""
        labels = self._labels(policy).astype(int)
        names = list(self.classes)
        return pd.DataFrame(labels.T @ labels, index=names, columns=names)

    def _labels(self, policy: str) -> NDArray[np.uint8]:
        if policy not in self.labels:
            raise LeadminError(
                f"there is no label policy {policy!r}; valid: {', '.join(self.labels)}"
            )
        return self.labels[policy]


def load_dataset(path: Path) -> EcgDataset:
    """Read prepared ECGs into memory and check them.

    A file that is missing, was not written by `leadmin.data.prepare.prepare`, has another schema
    version, or is damaged in any byte of its content is refused. The message names the file, the
    field, and what to do.
    """
    path = Path(path)
    wrong = "it does not exist or is no file"
    if path.is_file():
        try:
            with h5py.File(path, "r") as file:
                return _read_file(file, path)
        except LeadminError as error:
            wrong = str(error)
        except Exception as error:  # h5py raises whatever a damaged file leads it to
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            wrong = f"it cannot be read as HDF5 ({text[:200]}); it is damaged or something else"
    raise LeadminError(f"{path}: {wrong}; make it again with `leadmin data prepare`")


def _read_file(file: h5py.File, path: Path) -> EcgDataset:
    attributes = {name: _plain(value) for name, value in file.attrs.items()}
    _check_attributes(attributes)
    rate, n_records = attributes["sampling_rate"], attributes["n_records"]
    n_classes, n_samples = len(attributes["classes"]), attributes.get("n_samples", DURATION * rate)
    policies = attributes.get("policies", list(LABEL_POLICIES))
    columns: dict[str, Any] = dict(METADATA_COLUMNS)
    own_data = "policies" in attributes
    columns |= OWN_COLUMNS if own_data else {}
    size = path.stat().st_size
    signals = _read_array(file, "signals", "<i2", (n_records, len(LEADS), n_samples), size)
    kinds: dict[str, Any] = dict(TABLE_TYPES)
    kinds |= {f"labels/{policy}": np.uint8 for policy in policies}
    kinds |= {f"metadata/{name}": kind for name, (kind, _) in columns.items()}
    arrays = {}
    for name, kind in kinds.items():
        shape = (n_records, n_classes) if name.startswith("labels/") else (n_records,)
        arrays[name] = _read_array(file, name, kind, shape, size)
    signals_sha256 = hashlib.sha256(signals.data).hexdigest()
    named = [*attributes["classes"], *attributes["class_meanings"]] if own_data else ()
    found = content_sha256(signals.shape, signals_sha256, arrays, named)
    if found != attributes.get("content_sha256"):
        raise LeadminError(
            "the content does not agree with its checksum content_sha256; the file is damaged"
        )
    metadata = {name: arrays[f"metadata/{name}"] for name in columns}
    own = {policy: policy if policy in policies else policies[0] for policy in LABEL_POLICIES}
    return EcgDataset(
        signals=signals,
        **{name: arrays[name] for name in TABLE_TYPES},
        labels={policy: arrays[f"labels/{stored}"] for policy, stored in own.items()},
        sampling_rate=rate,
        attributes=attributes,
        metadata=pd.DataFrame(
            {
                name: [t.decode() for t in array.tolist()] if array.dtype.kind == "S" else array
                for name, array in metadata.items()
            }
        ),
        path=path,
    )


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    if attributes.get("format") != FORMAT:
        raise LeadminError("it is HDF5, but was not written by `leadmin data prepare`")
    expected = {
        "schema_version": (SCHEMA_VERSION,),
        "leads": (list(LEADS),),
        "unit": (UNIT,),
        "sampling_rate": SAMPLING_RATES,
    }
    for name, valid in expected.items():
        if attributes.get(name) not in valid:
            found, shown = attributes.get(name), " or ".join(map(repr, valid))
            kind = "the text " if isinstance(found, str) else ""
            raise LeadminError(f"{name} is {kind}{repr(found)[:80]}; valid: {shown}")
    n_records = attributes.get("n_records")
    if not isinstance(n_records, int) or n_records < 1:
        raise LeadminError(f"n_records is {n_records!r}; valid: 1 or more")
    check_class_names(attributes.get("classes"), "classes")
    if "policies" not in attributes:
        if attributes["classes"] != list(CLASSES):
            raise LeadminError(f"classes is {attributes['classes']!r}; valid: {list(CLASSES)!r}")
        return
    own = {
        "policies": attributes["policies"] == ["any"],
        "class_meanings": isinstance(meanings := attributes.get("class_meanings"), list)
        and len(meanings) == len(attributes["classes"]),
        "n_samples": isinstance(n := attributes.get("n_samples"), int) and 0 < n <= _MOST_SAMPLES,
    }
    for name in (name for name, good in own.items() if not good):
        raise LeadminError(f"{name} is {repr(attributes.get(name))[:80]}, as no version writes it")


def _read_array(
    file: h5py.File, name: str, kind: Any, shape: tuple[int, ...], size: int
) -> NDArray[Any]:
    """Read one field of a file of ``size`` bytes; ``kind`` None means text."""
    link = file.get(name, getlink=True) if name in file else None
    stored = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(stored, h5py.Dataset):
        raise LeadminError(f"the field {name} is missing")
    right_type = stored.dtype.kind == "S" if kind is None else stored.dtype == np.dtype(kind)
    if stored.shape != shape or not right_type:
        raise LeadminError(
            f"the field {name} has shape {stored.shape} and type {stored.dtype}; valid: {shape} "
            f"and {'text' if kind is None else np.dtype(kind)}"
        )
    # A damaged or hostile file may announce more than it holds, or point to other files.
    n_bytes = stored.id.get_storage_size()
    if stored.is_virtual or stored.external or not stored.nbytes <= n_bytes <= size:
        raise LeadminError(f"the field {name} is not stored completely in the file")
    values = np.empty(stored.shape, dtype=stored.dtype)
    stored.read_direct(values)
    return values


def content_sha256(
    signals_shape: tuple[int, ...],
    signals_sha256: str,
    arrays: Mapping[str, NDArray[Any]],
    named: Iterable[str] = (),
) -> str:
    """Hash all arrays of a prepared file; the identity of the data.

    ``named`` are names and meanings of its classes, where these are not PTB-XL's.
    """
    digest = hashlib.sha256(f"signals <i2 {signals_shape} {signals_sha256}\n".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        part = hashlib.sha256(array.tobytes()).hexdigest()
        digest.update(f"{name} {array.dtype.str} {array.shape} {part}\n".encode())
    for name in named:
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Turn an HDF5 attribute into a plain Python value."""
    if isinstance(value, bytes):  # before np.generic, which np.bytes_ is as well
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
