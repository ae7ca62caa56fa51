"""An archive of the full size, for measuring: real records repeated under new ids and patients.

    python workflow/repeat_archive.py --from PTBXL --to outputs/full-size/ptb-xl.zip

Signals and labels are those of the source, so that it is read, checked and trained on like PTB-XL.
A copy of a record keeps its fold and belongs to a copy of its patient. It says nothing about ECGs.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import pandas as pd

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE
from leadmin.data.records import check_header
from leadmin.files import atomic_path

LIMIT = 2**28
"""Largest file that is read, in bytes."""


def repeated_table(table: pd.DataFrame, n_records: int) -> pd.DataFrame:
    """Repeat a database table, all cells text, until it has ``n_records`` rows.

    Records are numbered from 1, patients of the k-th copy go on behind those of the one before.
    ``source`` names the 100 Hz file that each row stands for.
    """
    whole = pd.concat([table] * -(-n_records // len(table)), ignore_index=True)[:n_records]
    copy = whole.index // len(table)
    patient = whole["patient_id"].astype(float)
    number = pd.Series(whole.index + 1)
    folder = (number // 1000 * 1000).map("{:05d}".format)
    stem = number.map("{:05d}".format)
    return whole.assign(
        source=whole["filename_lr"],
        ecg_id=number.astype(str),
        patient_id=(patient + copy * (patient.max() + 1)).astype(str),
        filename_lr="records100/" + folder + "/" + stem + "_lr",
        filename_hr="records500/" + folder + "/" + stem + "_hr",
    )


def repeat_archive(source: Path, target: Path, n_records: int = ptbxl.N_RECORDS) -> None:
    """Write an archive of ``n_records`` at 100 Hz in PTB-XL's own layout, with its checksums.

    Parameters
    ----------
    source : Path
        PTB-XL or a part of it, zip or folder.
    target : Path
        The zip file.
    n_records : int
    """
    archive = ptbxl.open_ptbxl(source)
    text = io.BytesIO(archive.read(ptbxl.DATABASE_FILE, LIMIT))
    rows = repeated_table(pd.read_csv(text, dtype=str, keep_default_na=False), n_records)
    sums = []
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as zipped:

        def add(name: str, content: bytes) -> None:
            sums.append(f"{hashlib.sha256(content).hexdigest()} {name}\n")
            compressed = zipfile.ZIP_DEFLATED
            zipped.writestr(f"{ptbxl.TOP_FOLDER}/{name}", content, compressed, compresslevel=1)

        table = rows.drop(columns="source").to_csv(index=False, lineterminator="\n")
        add(ptbxl.DATABASE_FILE, table.encode())
        for name in (ptbxl.STATEMENTS_FILE, ptbxl.LICENSE_FILE):
            add(name, archive.read(name, LIMIT))
        add(ptbxl.RECORDS_FILE, "".join(f"{name}\n" for name in rows["filename_lr"]).encode())
        for old, new in zip(rows["source"], rows["filename_lr"], strict=True):
            header, named, anew = archive.read(f"{old}.hea", LIMIT), Path(old), Path(new)
            add(f"{new}.hea", header.replace(named.name.encode(), anew.name.encode()))
            for file in check_header(header, old).files:  # one, or two where they are compressed
                content = archive.read(f"{named.parent}/{file}", LIMIT)
                add(f"{anew.parent}/{file.replace(named.name, anew.name)}", content)
        zipped.writestr(f"{ptbxl.TOP_FOLDER}/{CHECKSUM_FILE}", "".join(sums))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, help="PTB-XL")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="zip file to write")
    parser.add_argument("--records", type=int, default=ptbxl.N_RECORDS, help="how many")
    chosen = parser.parse_args()
    repeat_archive(chosen.source, chosen.target, chosen.records)


if __name__ == "__main__":
    main()
