"""A copy of PTB-XL whose patients are divided into ten folds anew, to repeat a cross-validation.

    python workflow/fresh_folds.py --from PTBXL --to outputs/fresh-folds/ptb-xl.zip --seed 1

All records of a patient stay together, and each fold gets its share of every combination of labels.
Nothing but the column ``strat_fold`` and the list of checksums differs from the source.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE, read_checksums
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.study.protocol import N_FOLDS

LIMIT = 2**28
"""Largest file that is read, in bytes."""


def fresh_folds(source: Path, target: Path, seed: int) -> None:
    """Write an archive with the records of another one and new folds.

    Parameters
    ----------
    source : Path
        PTB-XL or a part of it, zip or folder, with its list of checksums.
    target : Path
        The zip file.
    seed : int
        Of the division.
    """
    archive = ptbxl.open_ptbxl(source)
    checksums = read_checksums(archive)
    if checksums is None:
        raise LeadminError(f"{source}: no {CHECKSUM_FILE}; give the archive with its checksums")
    table = ptbxl.read_table(archive)
    labels = ptbxl.read_labels(archive, table)["any"]
    text = io.BytesIO(archive.read(ptbxl.DATABASE_FILE, LIMIT))
    rows = pd.read_csv(text, dtype=str, keep_default_na=False)
    combination = labels @ (1 << np.arange(labels.shape[1]))
    drawn = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, tested) in enumerate(drawn.split(rows, combination, rows["patient_id"]), start=1):
        rows.loc[tested, "strat_fold"] = str(fold)
    changed = {ptbxl.DATABASE_FILE: rows.to_csv(index=False, lineterminator="\n").encode()}
    sums = checksums | {name: hashlib.sha256(x).hexdigest() for name, x in changed.items()}
    changed[CHECKSUM_FILE] = "".join(f"{value} {name}\n" for name, value in sums.items()).encode()
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as zipped:
        for name in [*(name for name in checksums if name in archive), CHECKSUM_FILE]:
            content = changed.get(name) or archive.read(name, LIMIT)
            zipped.writestr(f"{ptbxl.TOP_FOLDER}/{name}", content, zipfile.ZIP_DEFLATED, 1)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, help="PTB-XL")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="zip file to write")
    parser.add_argument("--seed", type=int, default=1, help="of the division")
    chosen = parser.parse_args()
    fresh_folds(chosen.source, chosen.target, chosen.seed)


if __name__ == "__main__":
    main()
