"""ECGs of other hospitals: their signals in microvolts, their statements as superclasses.

A hospital is a folder of WFDB records whose headers name the diagnoses, after ``#Dx:`` by SNOMED CT
codes or short names, as in the PhysioNet Challenges [1]_, or after ``#Diagnoses:`` in words, as in
LUDB [2]_. What a statement means for the five superclasses stands in ``statements.csv``, with the
reason: a superclass; nothing where it says nothing of them (a rhythm, an axis); or `UNSURE`. A
record counts if all its statements are known and none is unsure. Nothing is guessed: another record
is left out, and its reason counted.

References
----------
.. [1] Reyna MA et al. Issues in the automated classification of multilead ECGs using heterogeneous
   labels and populations. Physiol. Meas. 43, 084001 (2022).
.. [2] Kalyakulina AI et al. LUDB: a new open-access validation tool for electrocardiogram
   delineation algorithms. IEEE Access 8, 186181-186190 (2020).
"""

import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadmin.data.archive import checked_member
from leadmin.data.recordings.recording import MOST_BYTES, Options
from leadmin.data.recordings.wfdb import read_wfdb
from leadmin.data.resample import resample
from leadmin.errors import LeadminError
from leadmin.labels import CLASSES
from leadmin.leads import LEADS
from leadmin.questions.elsewhere import statement_table

UNSURE = "?"
"""Stands for a superclass where a statement may mean one or another."""

SAMPLING_RATE = 100
"""To which records are brought, in Hz."""

SECONDS, LEAST_SECONDS = 10.0, 2.5
"""What is kept of a record, from its beginning; one that is shorter than the least is left out."""

_VOCABULARY = re.compile(r"\s*(Dx|Diagnoses)\s*:(.*)", re.DOTALL)
_SEPARATOR = {"Dx": ",", "Diagnoses": "|"}


@dataclass(frozen=True)
class HospitalRecord:
    """A record of a hospital; ``signal`` is (12, n_samples) in microvolts, ``labels`` (5,)."""

    hospital: str
    name: str
    signal: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class LeftOut:
    """A record that does not count, and why, in words that many records can share."""

    hospital: str
    name: str
    reason: str


@cache
def _superclass_of() -> Mapping[tuple[str, str], str]:
    rows = statement_table()[["vocabulary", "statement", "superclass"]].to_numpy().tolist()
    return {(vocabulary, name.casefold()): found for vocabulary, name, found in rows}


def statements(comments: Iterable[str]) -> list[tuple[str, str]]:
    """List the statements of a header's comments, each behind the name of its vocabulary.

    Of LUDB's texts the part before a colon or comma counts: ``STEMI: septal.`` is ``STEMI``.
    """
    found = []
    for comment in comments:
        if match := _VOCABULARY.fullmatch(comment):
            vocabulary, text = match.groups()
            for part in text.split(_SEPARATOR[vocabulary]):
                if vocabulary == "Diagnoses":
                    part = re.split(r"[:,]", part)[0].strip().removesuffix(".")
                if part.strip():
                    found.append((vocabulary, part.strip()))
    return found


def superclasses(found: Iterable[tuple[str, str]]) -> NDArray[np.uint8]:
    """Turn statements into labels in the order of `CLASSES`.

    Refuses, with the statement, what is not in the table, and what is unsure; and none at all.
    """
    labels, listed = np.zeros(len(CLASSES), dtype=np.uint8), list(found)
    if not listed:
        raise LeadminError("no statement")
    for vocabulary, statement in listed:
        superclass = _superclass_of().get((vocabulary, statement.casefold()))
        if superclass is None:
            raise LeadminError(f"unknown statement: {statement[:80]}")
        if superclass == UNSURE:
            raise LeadminError(f"unsure statement: {statement}")
        if superclass:
            labels[CLASSES.index(superclass)] = 1
    return labels


def read_hospitals(path: Path) -> Iterator[HospitalRecord | LeftOut]:
    """Read a zip file or folder with a folder for each hospital, in the order of their names."""
    with _unpacked(path) as folder:
        headers = sorted(folder.rglob("*.hea"))
        if not headers:
            raise LeadminError(
                f"{path}: no WFDB headers (.hea) in it; valid: a zip file or folder with a folder "
                "of records for each hospital; name that"
            )
        for header in headers:
            hospital, name = header.parent.name, header.stem
            try:
                signal, comments = _read(header)
                labels = superclasses(statements(comments))
                signal = signal[:, : round(SECONDS * SAMPLING_RATE)]
                if signal.shape[1] < LEAST_SECONDS * SAMPLING_RATE:
                    raise LeadminError(f"shorter than {LEAST_SECONDS:g} s")
                yield HospitalRecord(hospital, name, signal, labels)
            except LeadminError as error:
                reason = str(error).removeprefix(str(header.with_suffix("")))
                yield LeftOut(hospital, name, reason.removeprefix(".hea").lstrip(": "))


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Give a folder with the headers and signals of an archive."""
    if path.is_dir():
        yield path
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise LeadminError(f"{path}: no zip file ({error}); valid: one, or a folder") from error
    with archive, tempfile.TemporaryDirectory(prefix="leadmin-") as scratch:
        for info in archive.infolist():
            if Path(info.filename).suffix in {".hea", ".dat"} and info.file_size <= MOST_BYTES:
                target = Path(scratch, checked_member(info.filename))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(info))
        yield Path(scratch)


def _read(header: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Read a record's microvolts, (12, n_samples) in the order of `LEADS`, and its comments."""
    (found,) = read_wfdb(header, Options(), header.stem)
    if sorted(found.leads) != sorted(LEADS):
        raise LeadminError("not the twelve leads once each")
    signal = 1000 * found.signals[[found.leads.index(lead) for lead in LEADS]]
    if not signal.any() or not np.isfinite(signal).all():
        raise LeadminError("zero everywhere" if not signal.any() else "samples are missing")
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [line.strip(" \t#") for line in lines if line.startswith("#")]
    return resample(signal, found.sampling_rate, SAMPLING_RATE).astype(np.float32), comments


def same_as(signals: NDArray[np.float32], others: NDArray[np.int16]) -> NDArray[np.float64]:
    """Give for each of ``signals`` the largest correlation with any of ``others``.

    Both are (n_records, 12, n_samples). All samples of the leads count at once, at the same place
    in time; the same ECG comes to nearly 1 whatever its gain, two different ones hardly reach 0.8.
    """
    n_samples = min(signals.shape[-1], others.shape[-1])

    def unit(records: NDArray[np.generic]) -> NDArray[np.float32]:
        x = records[..., :n_samples].astype(np.float32)
        x = (x - x.mean(axis=-1, keepdims=True)).reshape(len(x), -1)
        return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6))

    first, largest = unit(signals), np.full(len(signals), -1.0)
    for start in range(0, len(others), 256):
        largest = np.maximum(largest, (first @ unit(others[start : start + 256]).T).max(axis=1))
    return largest
