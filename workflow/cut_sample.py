"""Cutting a small sample of real records out of PTB-XL, in the official archive's own layout.

The sample that ships with this repository was cut by `cut_sample`; anyone who has the source can
cut it again. Selection depends on ids and labels alone, through a hash instead of a random number
generator, so that it is the same on every machine and with every library version.
"""

import hashlib
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from copies import as_csv, database, run, with_checksums, write_archive
from numpy.typing import NDArray

from leadmin.data import ptbxl
from leadmin.data.archive import (
    CHECKSUM_FILE,
    TABLE_LIMIT,
    Archive,
    FolderArchive,
    read_checksums,
)
from leadmin.data.ptbxl import RecordTable
from leadmin.data.records import read_record
from leadmin.errors import LeadminError
from leadmin.files import sha256, write_text
from leadmin.labels import CLASSES
from leadmin.leads import CHEST_LEADS, LIMB_LEADS
from leadmin.study.protocol import N_FOLDS

ARCHIVE_NAME = "ptb-xl-sample.zip"
NORMAL_PER_FOLD = 50
SAMPLING_RATE = 100

_FLAC_RATE = 96000
"""What WFDB writes as the FLAC sampling rate; the true one stands in the header."""


def choose_records(
    table: RecordTable, labels: NDArray[np.uint8], normal_per_fold: int = NORMAL_PER_FOLD
) -> dict[int, str]:
    """Choose whole patients: everyone with a pathology, and as many normals from every fold.

    Parameters
    ----------
    table : RecordTable
        The source's records. Those resampled from 500 Hz are left out.
    labels : ndarray of uint8
        ``(n_records, 5)`` under the policy ``any``.
    normal_per_fold : int
        In each fold patients whose records are all plainly normal are added until this many of
        their records are in, or none are left.

    Returns
    -------
    dict of int to str
        Rows of the source's table, ascending, and why each is in: ``"pathology"``, ``"no
        superclass"`` or ``"normal"``; for further records of such a patient, ``"same patient"``.
    """
    plain = (labels[:, CLASSES.index("NORM")] == 1) & (labels.sum(axis=1) == 1)
    by_patient: dict[int, list[int]] = {}
    for row in candidate_rows(table).tolist():
        by_patient.setdefault(int(table.patient_id[row]), []).append(row)
    chosen: dict[int, str] = {}
    normals = dict.fromkeys(range(1, N_FOLDS + 1), 0)
    for patient in sorted(by_patient, key=_shuffled):
        own = by_patient[patient]
        fold = int(table.fold[own[0]])
        if not plain[own].all():
            for row in own:
                kind = "pathology" if labels[row].any() else "no superclass"
                chosen[row] = "same patient" if plain[row] else kind
        elif normals[fold] < normal_per_fold:
            chosen |= dict.fromkeys(own, "normal")
            normals[fold] += len(own)
    return dict(sorted(chosen.items()))


def _shuffled(patient: int) -> str:
    return hashlib.sha256(f"leadmin sample, patient {patient}".encode()).hexdigest()


def candidate_rows(table: RecordTable) -> NDArray[np.intp]:
    """Positions of the records that are PTB-XL's own 100 Hz files."""
    return np.flatnonzero(table.metadata["resampled_from_500_hz"].to_numpy() != 1)


def cut_sample(source: Path, folder: Path, normal_per_fold: int = NORMAL_PER_FOLD) -> Path:
    """Cut the sample out of a PTB-XL source and write it with its list of ids and a README.

    ``source`` is PTB-XL or a subset of it with `leadmin.data.ptbxl.PROVENANCE_FILE`, zip or folder;
    ``folder`` gets ``ptb-xl-sample.zip``, whose path is given back, ``records.csv`` and
    ``README.md``. A source that cannot be read is refused, and a signal that would not survive
    compression unchanged.
    """
    source_archive = ptbxl.open_ptbxl(source)
    table = ptbxl.read_table(source_archive)
    labels = ptbxl.read_labels(source_archive, table)["any"]
    sample = choose_records(table, labels, normal_per_fold)
    if not sample:
        raise LeadminError(f"{source} holds no record to choose from")
    rows = list(sample)
    archive = folder / ARCHIVE_NAME
    write_archive(archive, _members(source_archive, table, rows).items(), level=9)
    listing = pd.DataFrame(
        {
            "ecg_id": table.record_id[rows],
            "patient_id": table.patient_id[rows],
            "strat_fold": table.fold[rows],
            "superclasses": [" ".join(np.array(CLASSES)[own == 1]) for own in labels[rows]],
            "chosen_as": list(sample.values()),
        }
    )
    write_text(folder / "records.csv", as_csv(listing).decode())
    readme = _readme(archive, listing, labels[rows], normal_per_fold, len(candidate_rows(table)))
    write_text(folder / "README.md", readme)
    print(
        f"{archive}: {len(listing)} records of {listing['patient_id'].nunique()} patients, "
        f"{archive.stat().st_size} bytes, sha256 {sha256(archive)}"
    )
    return archive


def _members(archive: Archive, table: RecordTable, rows: list[int]) -> dict[str, bytes]:
    """Give the sample's files in the order of the zip, without the top folder."""
    names = [table.files[SAMPLING_RATE][row] for row in rows]
    known = database(archive)
    kept = known[known["ecg_id"].astype(int).isin(table.record_id[rows])]
    files = {
        ptbxl.LICENSE_FILE: archive.read(ptbxl.LICENSE_FILE, TABLE_LIMIT),
        ptbxl.RECORDS_FILE: "".join(f"{name}\n" for name in names).encode(),
        ptbxl.DATABASE_FILE: as_csv(kept),
        ptbxl.STATEMENTS_FILE: archive.read(ptbxl.STATEMENTS_FILE, TABLE_LIMIT),
    }
    checksums = read_checksums(archive)
    for name in names:
        files |= _compressed_record(archive, name, checksums)
    members = dict(with_checksums(files.items()))
    first = (ptbxl.LICENSE_FILE, ptbxl.RECORDS_FILE, CHECKSUM_FILE)
    return {name: members[name] for name in (*first, *files)}


def _compressed_record(
    archive: Archive, record: str, checksums: dict[str, str] | None
) -> dict[str, bytes]:
    """Give one record in format 516: the header and two FLAC files, since FLAC has 8 channels.

    The header keeps its text but for file name and format, so the checksums in it, which are sums
    of samples, still hold and are compared when the record is read.
    """
    signal, _ = read_record(archive, record, SAMPLING_RATE, checksums)
    lines = archive.read(f"{record}.hea", 2**20).decode("utf-8").splitlines()
    folder, _, name = record.rpartition("/")
    limb, chest = f"{name}.dat", f"{name}_chest.dat"
    for number, lead in enumerate(LIMB_LEADS + CHEST_LEADS, start=1):
        plain = rf"\S+ 16 (1000\.0\(0\)/mV .* {lead})"
        if not (found := re.fullmatch(plain, lines[number], re.IGNORECASE)):
            raise LeadminError(
                f"{archive.where(record)}.hea cannot be cut: it is not as in PTB-XL; valid: format "
                "16, 1000 per mV, leads in order"
            )
        lines[number] = f"{limb if lead in LIMB_LEADS else chest} 516 {found[1]}"
    files = {
        f"{record}.hea": ("\n".join(lines) + "\n").encode(),
        f"{folder}/{limb}": _flac(signal[:6]),
        f"{folder}/{chest}": _flac(signal[6:]),
    }
    _check_unchanged(files, record, signal, archive)
    return files


def _flac(leads: NDArray[np.int16]) -> bytes:
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream,
        mode="w",
        samplerate=_FLAC_RATE,
        channels=len(leads),
        subtype="PCM_16",
        format="FLAC",
        compression_level=1.0,
    ) as file:
        file.write(np.ascontiguousarray(leads.T))
    return stream.getvalue()


def _check_unchanged(
    files: dict[str, bytes], record: str, signal: NDArray[np.int16], archive: Archive
) -> None:
    """Read the compressed record by the same path as any other and compare every sample."""
    with tempfile.TemporaryDirectory() as folder:
        for member, content in files.items():
            file = Path(folder, member)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        again, _ = read_record(FolderArchive(Path(folder)), record, SAMPLING_RATE)
    if not np.array_equal(again, signal):
        raise LeadminError(f"{archive.where(record)} did not survive compression unchanged")


def _readme(
    archive: Path,
    listing: pd.DataFrame,
    labels: NDArray[np.uint8],
    normal_per_fold: int,
    n_candidates: int,
) -> str:
    n_patients, n_bytes = listing["patient_id"].nunique(), archive.stat().st_size
    counts = pd.DataFrame(labels, columns=CLASSES, dtype=int).assign(none=~labels.any(axis=1))
    counts.insert(0, "records", 1)
    by_fold = counts.groupby(listing["strat_fold"]).sum()
    by_fold.loc["all"] = counts.sum()
    head = ["fold", *by_fold]
    rows = [head, ["---:"] * len(head), *by_fold.reset_index().to_numpy().tolist()]
    fold_table = "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
    normal = listing["chosen_as"] == "normal"
    return f"""# A sample of PTB-XL

Real 12-lead ECGs, {len(listing):,} records of 10 s at 100 Hz from {n_patients:,} \
patients, cut out of
{ptbxl.TITLE}, version {ptbxl.VERSION}.

| file | what |
|---|---|
| `{ARCHIVE_NAME}` | the records in the official archive's own layout ({n_bytes:,} bytes, \
SHA-256 `{sha256(archive)}`) |
| `records.csv` | id, patient, fold and superclasses of each record, and why it was chosen |

## Licence and citation

The data are under the Creative Commons Attribution 4.0 International licence (CC BY 4.0,
<{ptbxl.LICENSE_URL}>); its text is in the archive. Whoever uses them cites

- Wagner P, Strodthoff N, Bousseljot R-D, Samek W, Schaeffter T. *PTB-XL, a large publicly
  available electrocardiography dataset* (version {ptbxl.VERSION}). PhysioNet, 2022.
  <https://doi.org/{ptbxl.DOI}>
- Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, Schaeffter T. PTB-XL, a
  large publicly available electrocardiography dataset. *Scientific Data* 7:154, 2020.
  <https://doi.org/{ptbxl.PAPER_DOI}>

## Changes to the original

- Records were selected (below); `ptbxl_database.csv`, `RECORDS` and `SHA256SUMS.txt` list those
  alone. There are no 500 Hz records, though `ptbxl_database.csv` still names them.
- Signals are compressed without loss: WFDB format 516 (FLAC) instead of 16. FLAC holds at most
  eight signals, so each record has two signal files, limb leads and chest leads. Every sample was
  compared with the original when the archive was written. Headers differ in file name and format
  only.

## How it was cut

    python workflow/cut_sample.py --from ARCHIVE --to data/sample

out of {n_candidates:,} candidate records, all of them PTB-XL's own 100 Hz files. Of a chosen \
patient all candidate records are in:

- every patient with at least one record that is not plainly normal (label policy `any`):
  {(~normal).sum():,} records;
- of the patients whose records are all plainly normal, in each fold as many as it takes to reach
  {normal_per_fold} records, in an order given by a hash of the patient's number: \
{normal.sum():,} records.

It is no random sample of PTB-XL, nor of any population: normal ECGs are thinned, and the source
holds mostly the earliest recordings. Scores on it can be compared only with scores on the same
records.

## Records by fold and superclass (label policy `any`)

A record may count in several superclasses.

{fold_table}

The same source gives the same bytes with the same versions of libFLAC and zlib, and the same
samples with any.
"""


if __name__ == "__main__":
    run(cut_sample, __doc__, "--normal-per-fold", NORMAL_PER_FOLD, "normal records of a fold")
