"""A copy of PTB-XL whose patients are divided into ten folds anew, to repeat a cross-validation.

    python workflow/fresh_folds.py --from PTBXL --to outputs/fresh-folds/ptb-xl.zip --seed 1

All records of a patient stay together, and each fold gets its share of every combination of labels.
Nothing but the column ``strat_fold`` and the list of checksums differs from the source.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from copies import as_csv, database, run, with_checksums, write_archive
from sklearn.model_selection import StratifiedGroupKFold

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE, TABLE_LIMIT, read_checksums
from leadmin.errors import LeadminError
from leadmin.study.protocol import N_FOLDS


def fresh_folds(source: Path, target: Path, seed: int) -> None:
    """Write a zip file with the records of an archive and new folds, of a division by ``seed``.

    ``source`` is PTB-XL or a part of it, zip or folder, with its list of checksums.
    """
    archive = ptbxl.open_ptbxl(source)
    checksums = read_checksums(archive)
    if checksums is None:
        raise LeadminError(f"{source}: no {CHECKSUM_FILE}; give the archive with its checksums")
    labels = ptbxl.read_labels(archive, ptbxl.read_table(archive))["any"]
    rows = database(archive)
    combination = labels @ (1 << np.arange(labels.shape[1]))
    drawn = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, tested) in enumerate(drawn.split(rows, combination, rows["patient_id"]), start=1):
        rows.loc[tested, "strat_fold"] = str(fold)

    def files() -> Iterator[tuple[str, bytes]]:
        for name in checksums:
            if name == ptbxl.DATABASE_FILE:
                yield name, as_csv(rows)
            elif name in archive:
                yield name, archive.read_listed(name, TABLE_LIMIT, checksums)[0]

    write_archive(target, with_checksums(files()))


if __name__ == "__main__":
    run(fresh_folds, __doc__, "--seed", 1, "of the division")
