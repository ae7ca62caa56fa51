"""What the scripts that write a copy of PTB-XL share: its table, its zip file, a command line."""

import argparse
import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE, Archive
from leadmin.errors import LeadminError
from leadmin.files import atomic_path


def database(archive: Archive) -> pd.DataFrame:
    """Read the table of records, all cells text."""
    return ptbxl.CsvTable(archive, ptbxl.DATABASE_FILE, ("ecg_id", "patient_id")).frame


def as_csv(rows: pd.DataFrame) -> bytes:
    """Write a table as PTB-XL has it."""
    return rows.to_csv(index=False, lineterminator="\n").encode()


def with_checksums(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents, and behind them the list of their checksums."""
    sums = []
    for name, content in files:
        sums.append(f"{hashlib.sha256(content).hexdigest()} {name}\n")
        yield name, content
    yield CHECKSUM_FILE, "".join(sums).encode()


def write_archive(target: Path, files: Iterable[tuple[str, bytes]], level: int = 1) -> None:
    """Write a zip file whose bytes depend on the files alone: no times, no user, no system."""
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as zipped:
        for name, content in files:
            info = zipfile.ZipInfo(f"{ptbxl.TOP_FOLDER}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, on every system
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(info, content, compresslevel=level)


def run(
    copy: Callable[..., object], description: str, option: str, default: int, words: str
) -> None:
    """Call ``copy`` with what the command line says: --from, --to, and a number."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, help="PTB-XL")
    parser.add_argument("--to", type=Path, required=True, help="what to write")
    parser.add_argument(option, dest="number", type=int, default=default, help=words)
    chosen = parser.parse_args()
    try:
        copy(chosen.source, chosen.to, chosen.number)
    except LeadminError as error:
        parser.error(str(error))
