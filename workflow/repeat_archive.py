"""An archive of the full size, for measuring: real records repeated under new ids and patients.

    python workflow/repeat_archive.py --from PTBXL --to outputs/full-size/ptb-xl.zip

Signals and labels are those of the source, so that it is read, checked and trained on like PTB-XL.
A copy of a record keeps its fold and belongs to a copy of its patient. It says nothing about ECGs.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from copies import as_csv, database, run, with_checksums, write_archive

from leadmin.data import ptbxl
from leadmin.data.archive import TABLE_LIMIT, Archive
from leadmin.data.records import check_header


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
    """Write a zip file of ``n_records`` at 100 Hz in PTB-XL's own layout, with its checksums.

    ``source`` is PTB-XL or a part of it, zip or folder.
    """
    write_archive(target, with_checksums(_files(ptbxl.open_ptbxl(source), n_records)))


def _files(archive: Archive, n_records: int) -> Iterator[tuple[str, bytes]]:
    rows = repeated_table(database(archive), n_records)
    yield ptbxl.DATABASE_FILE, as_csv(rows.drop(columns="source"))
    for name in (ptbxl.STATEMENTS_FILE, ptbxl.LICENSE_FILE):
        yield name, archive.read(name, TABLE_LIMIT)
    yield ptbxl.RECORDS_FILE, "".join(f"{name}\n" for name in rows["filename_lr"]).encode()
    for old, new in zip(rows["source"], rows["filename_lr"], strict=True):
        header, named, anew = archive.read(f"{old}.hea", TABLE_LIMIT), Path(old), Path(new)
        yield f"{new}.hea", header.replace(named.name.encode(), anew.name.encode())
        for file in check_header(header, old).files:  # one, or two where they are compressed
            content = archive.read(f"{named.parent}/{file}", TABLE_LIMIT)
            yield f"{anew.parent}/{file.replace(named.name, anew.name)}", content


if __name__ == "__main__":
    run(repeat_archive, __doc__, "--records", ptbxl.N_RECORDS, "how many")
