"""ECGs from the files that people have, in millivolts, with leads and sampling rate."""

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
    """Read as `read_recordings` does, one file after the other; an error takes a file's place."""
    if unit is not None:
        millivolts(unit)
    if leads is not None and (isinstance(leads, str) or not all(isinstance(n, str) for n in leads)):
        raise LeadminError(
            f"leads is {str(leads)[:80]!r}; valid: a list of names such as ['I', 'II']; change it"
        )
    options = Options(
        None if leads is None else tuple(leads),
        None if sampling_rate is None else checked_rate(sampling_rate),
        unit,
    )
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _READERS and f.is_file())
        if not files:
            yield LeadminError(
                f"{path}: no file of a form that is read; valid: {FORMS}; convert it"
            )
        for file in files:
            yield from read_file(file, options, file.relative_to(path).with_suffix("").as_posix())
    elif path.is_file() and zipfile.is_zipfile(path):
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
        start = file.read(132)
    if start[128:] == b"DICM":
        return read_dicom
    if start[:4] == b"PAR1":
        return read_parquet
    if start[:8] == b"0       " and path.suffix.lower() not in {".csv", ".tsv", ".txt"}:
        return read_edf
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LeadminError(f"{path}: not a form that is read; valid: {FORMS}; convert it")
    return reader


def _read_zip(path: Path, options: Options) -> Iterator[Recording | LeadminError]:
    """Unpack what can be read into a scratch folder, each name and size checked first."""
    try:
        with zipfile.ZipFile(path) as opened, tempfile.TemporaryDirectory() as scratch:
            top, files = Path(scratch), []
            archive = ZipArchive(path, "", opened)
            for member in _members(opened, path):
                target = top / member
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member, MOST_BYTES))
                files += [target] if target.suffix.lower() in _READERS else []
            if not files:
                yield LeadminError(
                    f"{path}: it holds nothing that is read; valid: {FORMS}; convert"
                )
            for file in files:
                inside = file.relative_to(top)
                for one in read_file(file, options, inside.with_suffix("").as_posix()):
                    if isinstance(one, LeadminError):
                        one = LeadminError(str(one).replace(f"{top}/", f"{path}:"))
                    yield one
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        yield LeadminError(
            f"{path}: it cannot be unpacked ({str(error)[:200]}); get the archive again"
        )
    except FileError as error:
        yield LeadminError(f"{error}; get the archive again")


def _members(opened: zipfile.ZipFile, path: Path) -> list[str]:
    """List the members to unpack; refuse names that climb out, repeat, or ask for too much."""
    wanted = {*_READERS, ".dat", ".mat"}
    infos = [i for i in opened.infolist() if Path(i.filename).suffix.lower() in wanted]
    try:
        names = [checked_member(info.filename) for info in infos if not info.is_dir()]
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
