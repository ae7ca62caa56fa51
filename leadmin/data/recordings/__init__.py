"""ECGs from the files that people have, in millivolts, with leads and sampling rate."""

import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from leadmin.data.archive import FileError, ZipArchive, checked_member
from leadmin.data.recordings.devices import read_aecg, read_dicom, read_edf
from leadmin.data.recordings.recording import (
    MOST_BYTES,
    Options,
    Recording,
    millivolts,
)
from leadmin.data.recordings.tables import read_parquet, read_text_table
from leadmin.data.recordings.wfdb import read_wfdb
from leadmin.data.resample import checked_rate
from leadmin.errors import LeadminError

__all__ = ["FORMS", "Recording", "iter_recordings", "read_recordings"]

_Reader = Callable[[Path, Options, str], list[Recording]]
_READERS: dict[str, _Reader] = {
    ".hea": read_wfdb,
    ".csv": read_text_table,
    ".tsv": read_text_table,
    ".txt": read_text_table,
    ".parquet": read_parquet,
    ".edf": read_edf,
    ".dcm": read_dicom,
    ".xml": read_aecg,
}

FORMS = (
    "WFDB (.hea beside its .dat or .mat), CSV, TSV (.csv, .tsv, .txt), Parquet (.parquet), EDF "
    "(.edf), DICOM (.dcm), HL7 aECG (.xml), the export of an Apple Watch (.csv), and folders and "
    "zip files (.zip) of them"
)

_START = 4096
_ROWS = re.compile(rb'(?m)(?:^[-+.,;eE"\t \0\d]*\d[-+.,;eE"\t \0\d]*\r?\0?\n){2}')
"""Two lines of numbers: a table has them among its first `_START` bytes, a README.txt has not."""

MOST_MEMBERS = 100_000
MOST_UNPACKED = 2**31
"""Of a zip file: bytes that the members to be read have together."""


def read_recordings(
    path: str | Path,
    *,
    leads: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    unit: str | None = None,
) -> list[Recording]:
    """Read every ECG in a file, a folder or a zip file.

    Parameters
    ----------
    path : str or Path
        Of a form that `FORMS` lists. Of a folder or zip file all files of those forms are read, in
        the order of their names.
    leads : sequence of str, optional
        A name for each channel, where the file has none or others; ``"-"`` leaves a channel out.
    sampling_rate : float, optional
        Hz, where the file does not say it.
    unit : str, optional
        Where the file does not say it; see `leadmin.data.recordings.recording.millivolts`.

    Raises
    ------
    LeadminError
        With file and field, if there is nothing to read, or one of the files cannot be read. With
        `iter_recordings` an error takes the place of its file instead.
    """
    found = []
    for one in iter_recordings(path, leads=leads, sampling_rate=sampling_rate, unit=unit):
        if isinstance(one, LeadminError):
            raise one
        found.append(one)
    return found


def iter_recordings(
    path: str | Path,
    *,
    leads: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    unit: str | None = None,
) -> Iterator[Recording | LeadminError]:
    """Read as `read_recordings` does, one file after the other; an error takes a file's place.

    What is left out of a folder or zip file is noticed in its first recording.
    """
    if unit is not None:
        millivolts(unit)
    named = isinstance(leads, Sequence) and not isinstance(leads, str)
    if leads is not None and not (named and all(isinstance(name, str) for name in leads)):
        raise LeadminError(
            f"leads is {str(leads)[:80]!r}; valid: a list of names such as ['I', 'II']; change it"
        )
    options = Options(
        None if leads is None else tuple(leads),
        None if sampling_rate is None else checked_rate(sampling_rate),
        unit,
    )
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise LeadminError(f"path is {str(path)[:80]!r}; valid: the name of a file; change it")
    path = Path(path)
    try:
        is_folder, is_zip = path.is_dir(), path.is_file() and zipfile.is_zipfile(path)
        files = [f for f in path.rglob("*") if not f.is_dir()] if is_folder else []
        regular: dict[PurePath, bool] = {f.relative_to(path): f.is_file() for f in files}
    except OSError as error:
        raise LeadminError(
            f"{str(path)[:80]}: it cannot be read ({error.strerror}); check the name"
        ) from error
    if is_folder:

        def start(name: PurePath) -> bytes:
            return _first_bytes((path / name).open, "rb") if regular[name] else b""

        read, left = _parted(regular, start)
        yield from _read_all(path, read, left, options, f"{path}/")
    elif is_zip:
        yield from _read_zip(path, options)
    else:
        yield from read_file(_header_beside(path), options, path.stem)


def _header_beside(path: Path) -> Path:
    """Give the header of a WFDB record that was named by its signals or without suffix."""
    header = path.with_name(path.name + ".hea")
    if path.suffix.lower() in {".dat", ".mat"}:
        header = path.with_suffix(".hea")
    return header if path.suffix.lower() not in _READERS and header.is_file() else path


def read_file(path: Path, options: Options, name: str) -> Iterator[Recording | LeadminError]:
    """Read one file, which is no zip; an error takes the place of what it should hold."""
    try:
        yield from _reader(path)(path, options, name)
    except LeadminError as error:
        yield error
    except OSError as error:
        yield LeadminError(f"{path}: it cannot be read ({error.strerror or error}); check it")
    except (MemoryError, RecursionError) as error:
        yield LeadminError(f"{path}: it is too large or too deep ({error}); cut the recording")


def _reader(path: Path) -> _Reader:
    """Choose who reads a file: by its first bytes where they tell, else by its name."""
    if not path.is_file():
        raise LeadminError(f"{path}: there is no such file; valid: {FORMS}; check the name")
    with path.open("rb") as file:
        reader = _reader_of(file.read(_START), path.suffix.lower())
    if reader is None:
        raise LeadminError(f"{path}: not a form that is read; valid: {FORMS}; convert it")
    return reader


def _reader_of(start: bytes, suffix: str) -> _Reader | None:
    if start[128:132] == b"DICM":
        return read_dicom
    if start[:4] == b"PAR1":
        return read_parquet
    if start[:8] == b"0       " and suffix not in {".csv", ".tsv", ".txt"}:
        return read_edf
    return _READERS.get(suffix)


def _first_bytes(opened: Callable[..., IO[bytes]], *what: Any) -> bytes:
    """Give the first bytes of a file; none if it cannot be read."""
    try:
        with opened(*what) as file:
            return file.read(_START)
    except Exception:  # zipfile raises whatever a damaged member leads it to
        return b""


def _parted(
    names: Iterable[PurePath], start: Callable[[PurePath], bytes]
) -> tuple[list[PurePath], list[PurePath]]:
    """Part names of files into those that are read, and those that are left out.

    Neither are signals beside a WFDB header, and what macOS packs beside each file. ``start`` gives
    the first bytes of a file.
    """
    macos = ("._", ".DS_Store")
    names = sorted(n for n in names if "__MACOSX" not in n.parts and not n.name.startswith(macos))
    heads = {name.with_suffix("") for name in names if name.suffix.lower() == ".hea"}
    read: list[PurePath] = []
    left: list[PurePath] = []
    for name in names:
        suffix, stem = name.suffix.lower(), name.with_suffix("")
        if suffix == ".txt":
            known = _ROWS.search(start(name)) is not None
        elif suffix in _READERS:
            known = True
        elif heads & {stem, stem.parent / stem.name.rpartition("_")[0]}:
            continue
        else:
            known = _reader_of(start(name), suffix) is not None
        (read if known else left).append(name)
    return read, left


def _read_all(
    folder: Path,
    read: Iterable[PurePath],
    left: Sequence[PurePath],
    options: Options,
    where: str,
) -> Iterator[Recording | LeadminError]:
    """Read files of a folder, which errors call ``where``, and say what was left out."""
    said = f"left out, since of no form that is read: {', '.join(map(str, left[:3]))}"
    said += f" and {len(left) - 3} more" if len(left) > 3 else ""
    n_read = n_failed = 0
    for name in read:
        called = name.with_suffix("") if name.suffix.lower() in _READERS else name
        for one in read_file(folder / name, options, called.as_posix()):
            if isinstance(one, LeadminError):
                n_failed += 1
                yield LeadminError(str(one).replace(f"{folder}/", where))
                continue
            n_read += 1
            yield replace(one, noticed=(*one.noticed, said)) if left and n_read == 1 else one
    if not n_read and (left or not n_failed):
        yield LeadminError(
            f"{where[:-1]}: nothing in it is read; {said if left else 'it is empty'}; valid: "
            f"{FORMS}; convert it"
        )


def _read_zip(path: Path, options: Options) -> Iterator[Recording | LeadminError]:
    """Unpack what can be read into a scratch folder, each name and size checked first."""
    try:
        with zipfile.ZipFile(path) as opened, tempfile.TemporaryDirectory() as scratch:
            archive = ZipArchive(path, "", opened)
            infos: dict[PurePath, zipfile.ZipInfo] = {
                PurePosixPath(info.filename): info
                for info in opened.infolist()
                if not info.is_dir()
            }
            read, left = _parted(infos, lambda name: _first_bytes(opened.open, infos[name]))
            for member in _members(opened, path, {*map(str, left)}):
                target = Path(scratch, member)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member, MOST_BYTES))
            yield from _read_all(Path(scratch), read, left, options, f"{path}:")
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        yield LeadminError(
            f"{path}: it cannot be unpacked ({str(error)[:200]}); get the archive again"
        )
    except FileError as error:
        yield LeadminError(f"{error}; get the archive again")


def _members(opened: zipfile.ZipFile, path: Path, left: set[str]) -> list[str]:
    """List the members to unpack; refuse names that climb out, repeat, or ask for too much."""
    infos = [i for i in opened.infolist() if not i.is_dir() and i.filename not in left]
    try:
        names = [checked_member(info.filename) for info in infos]
    except LeadminError as error:
        raise FileError(f"{path}: {error}", "invalid") from error
    n_bytes = sum(info.file_size for info in infos)
    if len(names) > MOST_MEMBERS or n_bytes > MOST_UNPACKED:
        raise FileError(
            f"{path}: unpacked it has {len(names)} files and {n_bytes} bytes; valid: up to "
            f"{MOST_MEMBERS} and {MOST_UNPACKED}",
            "oversized",
        )
    if len({name.casefold() for name in names}) != len(names):
        raise FileError(f"{path}: it holds a name twice; valid: each once", "invalid")
    return sorted(names)
