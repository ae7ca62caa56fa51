"""Cutting a small sample of real records out of PTB-XL, in the official archive's own layout.

The sample that ships with this repository was cut by `cut_sample`; anyone who has the source can
cut it again. Selection depends on ids and labels alone, through a hash instead of a random number
generator, so that it is the same on every machine and with every library version.
"""

import argparse
import csv
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE, Archive, FolderArchive, read_checksums
from leadmin.data.ptbxl import RecordTable
from leadmin.data.records import read_record
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, write_text
from leadmin.labels import CLASSES
from leadmin.leads import CHEST_LEADS, LIMB_LEADS

ARCHIVE_NAME = "ptb-xl-sample.zip"
NORMAL_PER_FOLD = 50
SAMPLING_RATE = 100

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_FLAC_RATE = 96000
"""What WFDB writes as the FLAC sampling rate; the true one stands in the header."""


@dataclass(frozen=True)
class Sample:
    """Which records a sample holds.

    Attributes
    ----------
    rows : ndarray of intp
        Positions in the source's table, ascending.
    kinds : tuple of str
        Why each record is in: ``"pathology"``, ``"no superclass"`` or ``"normal"``; for further
        records of such a patient, ``"same patient"``.
    """

    rows: NDArray[np.intp]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class CutReport:
    """What `cut_sample` wrote.

    Attributes
    ----------
    archive : Path
        The zip file.
    n_records, n_patients, n_bytes : int
        What it holds and how large it is.
    sha256 : str
        Checksum of the zip file.
    """

    archive: Path
    n_records: int
    n_patients: int
    n_bytes: int
    sha256: str


def choose_records(
    table: RecordTable, labels: NDArray[np.uint8], normal_per_fold: int = NORMAL_PER_FOLD
) -> Sample:
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
    Sample
    """
    rows = candidate_rows(table)
    plain = labels[:, CLASSES.index("NORM")] == 1
    plain &= labels.sum(axis=1) == 1
    by_patient: dict[int, list[int]] = {}
    for row in rows.tolist():
        by_patient.setdefault(int(table.patient_id[row]), []).append(row)
    chosen: dict[int, str] = {}
    normal_patients: dict[int, list[int]] = {fold: [] for fold in range(1, 11)}
    for patient, own in by_patient.items():
        if plain[own].all():
            normal_patients[int(table.fold[own[0]])].append(patient)
            continue
        for row in own:
            kind = "pathology" if labels[row].any() else "no superclass"
            chosen[row] = "same patient" if plain[row] else kind
    for patients in normal_patients.values():
        taken = 0
        for patient in sorted(patients, key=_shuffled):
            if taken >= normal_per_fold:
                break
            for row in by_patient[patient]:
                chosen[row] = "normal"
                taken += 1
    ordered = sorted(chosen)
    return Sample(np.array(ordered, dtype=np.intp), tuple(chosen[row] for row in ordered))


def _shuffled(patient: int) -> str:
    return hashlib.sha256(f"leadmin sample, patient {patient}".encode()).hexdigest()


def cut_sample(source: Path, folder: Path, normal_per_fold: int = NORMAL_PER_FOLD) -> CutReport:
    """Cut the sample out of a PTB-XL source and write it with its list of ids and a README.

    Parameters
    ----------
    source : Path
        PTB-XL or a subset of it with `leadmin.data.ptbxl.PROVENANCE_FILE`: zip or unpacked folder.
    folder : Path
        Gets ``ptb-xl-sample.zip``, ``records.csv`` and ``README.md``.
    normal_per_fold : int
        See `choose_records`.

    Returns
    -------
    CutReport

    Raises
    ------
    LeadminError
        If the source cannot be read, or a signal would not survive compression unchanged.
    """
    source_archive = ptbxl.open_ptbxl(source)
    table = ptbxl.read_table(source_archive)
    labels = ptbxl.read_labels(source_archive, table)["any"]
    sample = choose_records(table, labels, normal_per_fold)
    if not len(sample.rows):
        raise LeadminError(f"{source} holds no record to choose from")
    members = _sample_members(source_archive, table, sample)
    archive = folder / ARCHIVE_NAME
    with atomic_path(archive) as temporary:
        _write_zip(temporary, members)
    content = archive.read_bytes()
    report = CutReport(
        archive=archive,
        n_records=len(sample.rows),
        n_patients=len(np.unique(table.patient_id[sample.rows])),
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    listing = pd.DataFrame(
        {
            "ecg_id": table.record_id[sample.rows],
            "patient_id": table.patient_id[sample.rows],
            "strat_fold": table.fold[sample.rows],
            "superclasses": [
                " ".join(name for name, flag in zip(CLASSES, row, strict=True) if flag)
                for row in labels[sample.rows]
            ],
            "chosen_as": sample.kinds,
        }
    )
    write_text(folder / "records.csv", listing.to_csv(index=False, lineterminator="\n"))
    write_text(
        folder / "README.md",
        _readme(report, table, labels, sample, normal_per_fold, len(candidate_rows(table))),
    )
    return report


def candidate_rows(table: RecordTable) -> NDArray[np.intp]:
    """Positions of the records that are PTB-XL's own 100 Hz files."""
    return np.flatnonzero(table.metadata["resampled_from_500_hz"].to_numpy() != 1)


def _sample_members(archive: Archive, table: RecordTable, sample: Sample) -> dict[str, bytes]:
    """Give the sample's files in the order of the zip, without the top folder."""
    checksums = read_checksums(archive)
    signal_files: dict[str, bytes] = {}
    names = [table.files[SAMPLING_RATE][row] for row in sample.rows]
    for name in names:
        signal_files.update(_compressed_record(archive, name, checksums))
    ids = {int(number) for number in table.record_id[sample.rows]}
    limit = 2**28
    tables = {
        ptbxl.LICENSE_FILE: archive.read(ptbxl.LICENSE_FILE, limit),
        ptbxl.RECORDS_FILE: "".join(f"{name}\n" for name in names).encode(),
        ptbxl.DATABASE_FILE: _rows_with_ids(archive.read(ptbxl.DATABASE_FILE, limit), ids),
        ptbxl.STATEMENTS_FILE: archive.read(ptbxl.STATEMENTS_FILE, limit),
    }
    listed = {**tables, **signal_files}
    sums = "".join(
        f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in listed.items()
    )
    return {
        ptbxl.LICENSE_FILE: tables[ptbxl.LICENSE_FILE],
        ptbxl.RECORDS_FILE: tables[ptbxl.RECORDS_FILE],
        CHECKSUM_FILE: sums.encode(),
        ptbxl.DATABASE_FILE: tables[ptbxl.DATABASE_FILE],
        ptbxl.STATEMENTS_FILE: tables[ptbxl.STATEMENTS_FILE],
        **signal_files,
    }


def _rows_with_ids(content: bytes, ids: set[int]) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    column = rows[0].index("ecg_id")
    writer.writerows(row for row in rows[1:] if row and int(row[column]) in ids)
    return text.getvalue().encode("utf-8")


def _compressed_record(
    archive: Archive, record: str, checksums: dict[str, str] | None
) -> dict[str, bytes]:
    """Give one record in format 516: the header and two FLAC files, since FLAC has 8 channels.

    The header keeps its text but for file name and format, so the checksums in it, which are sums
    of samples, still hold and are compared when the record is read.
    """
    signal, _ = read_record(archive, record, SAMPLING_RATE, checksums)
    header = archive.read(f"{record}.hea", 2**20)
    lines = header.decode("utf-8").splitlines()
    plain = (
        re.fullmatch(rf"\S+ 16 1000\.0\(0\)/mV .* {lead}", line, re.IGNORECASE)
        for lead, line in zip(LIMB_LEADS + CHEST_LEADS, lines[1:13], strict=True)
    )
    if not all(plain):
        raise LeadminError(
            f"{archive.where(record)}.hea cannot be cut: it is not as in PTB-XL; valid: format "
            "16, 1000 per mV, leads in order"
        )
    folder, _, name = record.rpartition("/")
    parts = {f"{name}.dat": signal[:6], f"{name}_chest.dat": signal[6:]}
    files: dict[str, bytes] = {}
    limb, chest = parts
    for number in range(1, 13):
        file = limb if number <= 6 else chest
        lines[number] = re.sub(r"^\S+ 16 ", f"{file} 516 ", lines[number])
    files[f"{record}.hea"] = ("\n".join(lines) + "\n").encode()
    for file, leads in parts.items():
        files[f"{folder}/{file}"] = _flac(leads)
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


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip file whose bytes depend on the members alone: no times, no user, no system."""
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"{ptbxl.TOP_FOLDER}/{name}", date_time=_ZIP_DATE)
            info.create_system = 3  # Unix, on every system
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, content, compresslevel=9)


def _readme(
    report: CutReport,
    table: RecordTable,
    labels: NDArray[np.uint8],
    sample: Sample,
    normal_per_fold: int,
    n_candidates: int,
) -> str:
    folds = table.fold[sample.rows]
    own = labels[sample.rows]
    kinds = np.array(sample.kinds)
    rows = [
        [str(fold), str((folds == fold).sum())]
        + [str(count) for count in own[folds == fold].sum(axis=0)]
        + [str((~own[folds == fold].any(axis=1)).sum())]
        for fold in range(1, 11)
    ]
    total = ["all", str(len(own)), *(str(count) for count in own.sum(axis=0))]
    rows.append([*total, str((~own.any(axis=1)).sum())])
    by_fold = _markdown_table(["fold", "records", *CLASSES, "none"], rows)
    return f"""# A sample of PTB-XL

Real 12-lead ECGs, {report.n_records:,} records of 10 s at 100 Hz from {report.n_patients:,} \
patients, cut out of
{ptbxl.TITLE}, version {ptbxl.VERSION}.

| file | what |
|---|---|
| `{ARCHIVE_NAME}` | the records in the official archive's own layout ({report.n_bytes:,} bytes, \
SHA-256 `{report.sha256}`) |
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
  {(kinds != "normal").sum():,} records;
- of the patients whose records are all plainly normal, in each fold as many as it takes to reach
  {normal_per_fold} records, in an order given by a hash of the patient's number: \
{(kinds == "normal").sum():,} records.

It is no random sample of PTB-XL, nor of any population: normal ECGs are thinned, and the source
holds mostly the earliest recordings. Scores on it can be compared only with scores on the same
records.

## Records by fold and superclass (label policy `any`)

A record may count in several superclasses.

{by_fold}

The same source gives the same bytes with the same versions of libFLAC and zlib, and the same
samples with any.
"""


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return "\n".join([line(head), line(["---:"] * len(head)), *(line(row) for row in rows)])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, help="PTB-XL")
    parser.add_argument("--to", dest="folder", type=Path, required=True)
    parser.add_argument("--normal-per-fold", type=int, default=NORMAL_PER_FOLD)
    options = parser.parse_args()
    try:
        report = cut_sample(options.source, options.folder, options.normal_per_fold)
    except LeadminError as error:
        parser.error(str(error))
    print(
        f"{report.archive}: {report.n_records} records of {report.n_patients} patients, "
        f"{report.n_bytes} bytes, sha256 {report.sha256}"
    )


if __name__ == "__main__":
    main()
