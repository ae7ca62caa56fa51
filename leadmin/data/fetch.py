"""Getting PTB-XL onto this machine, and checking what is there.

Only files that the study needs are written, each under a name that was checked, each compared with
the archive's own list of checksums. What else an archive may hold (links, names that climb out of
it, files that inflate without end) is never looked at.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from leadmin.data import ptbxl
from leadmin.data.archive import (
    CHECKSUM_FILE,
    TABLE_LIMIT,
    Archive,
    FileError,
    FolderArchive,
    read_checksums,
)
from leadmin.data.download import HttpTree, Patience, SpaceError, check_space, download
from leadmin.data.records import RECORD_LIMIT, check_header, read_records
from leadmin.errors import LeadminError
from leadmin.files import write_json
from leadmin.labels import LABEL_POLICIES

ARCHIVE_URL = f"https://physionet.org/static/published-projects/ptb-xl/{ptbxl.TOP_FOLDER}.zip"
"""The official archive, one zip file with both sampling rates."""

FILES_URL = f"https://physionet.org/files/ptb-xl/{ptbxl.VERSION}/"
"""The same files one by one, as ``--from`` takes them."""

_TABLES_NEEDED = (CHECKSUM_FILE, ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE)
_TABLES_WELCOME = (ptbxl.LICENSE_FILE, ptbxl.RECORDS_FILE, ptbxl.PROVENANCE_FILE)
_COUNTED = ("n_records", "n_files", "n_bytes")
_SHOWN = 10
_THREADS = 8


@dataclass(frozen=True)
class FetchReport:
    """What `fetch` did; files and bytes are those of the sampling rate, written or found."""

    folder: Path
    n_records: int
    n_files: int
    n_bytes: int
    up_to_date: bool


@dataclass(frozen=True)
class Problem:
    """A file of an archive, why it is bad (see `archive.FileError`), and the whole message."""

    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found; ``n_files`` were compared, ``class_counts`` is by label policy."""

    n_records: int
    n_files: int
    class_counts: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]


def fetch(
    target: Path,
    source: str | None = None,
    sampling_rate: int = 100,
    keep_archive: bool = False,
    patience: Patience | None = None,
    progress: bool | None = None,
) -> FetchReport:
    """Get PTB-XL and unpack what one sampling rate needs.

    Parameters
    ----------
    target : Path
        The data set goes into a folder of its own name below this one.
    source : str, optional
        Where to take it from, by default PhysioNet's archive: the address of a zip file, the
        address of a folder (ending in ``/``) that holds the files one by one, a local zip file, or
        an unpacked folder.
    sampling_rate : {100, 500}
        Hz.
    keep_archive : bool
        Keep the downloaded zip file in ``target``; by default it is removed in the end.
    patience : Patience, optional
        When to give up on a server.
    progress : bool, optional
        Show progress bars; by default only on a terminal.

    Raises
    ------
    LeadminError
        If the source cannot be had, is damaged, or the disk is too small. What has arrived is
        kept; the same command goes on from there.
    """
    target = Path(target)
    source = source or ARCHIVE_URL
    ptbxl.check_rate(sampling_rate)
    try:
        done = _already_fetched(target, source, sampling_rate)
        if done is not None:
            return done
        target.mkdir(parents=True, exist_ok=True)
        unpacking = (target, source, sampling_rate, progress)
        if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", source):
            return _unpack(ptbxl.open_ptbxl(Path(source)), *unpacking)
        if source.endswith("/"):
            return _unpack(HttpTree(source, patience or Patience()), *unpacking)
        archive = target / f"ptb-xl-{hashlib.sha256(source.encode()).hexdigest()[:8]}.zip"
        spare = _estimated_bytes(ptbxl.N_RECORDS, sampling_rate) if source == ARCHIVE_URL else 0
        if not archive.is_file():
            download(source, archive, patience, spare_bytes=spare, progress=progress)
        try:
            report = _unpack(ptbxl.open_ptbxl(archive), *unpacking)
        except SpaceError:
            raise
        except LeadminError as error:
            archive.unlink(missing_ok=True)
            raise LeadminError(
                f"the archive from {source} is damaged and was removed: {error}; run the command "
                "again to download it again"
            ) from error
        if not keep_archive:
            archive.unlink(missing_ok=True)
        return report
    except OSError as error:
        raise LeadminError(
            f"{target} cannot be written: {error.strerror or error}; check the free space and the "
            "rights of the folder"
        ) from error


def _estimated_bytes(n_records: int, sampling_rate: int) -> int:
    """Disk space of the uncompressed records: 12 leads of 10 s in int16, a header, a margin."""
    return n_records * (12 * 10 * sampling_rate * 2 + 4096)


def _receipt_path(target: Path, sampling_rate: int) -> Path:
    return target / f"fetched-{sampling_rate}hz.json"


def _fingerprint(folder: Path, sampling_rate: int) -> str:
    """Hash names, sizes and times of the tables and records of an unpacked data set."""
    archive = FolderArchive(folder)
    names = ptbxl.read_table(archive).files_at(sampling_rate)
    folders = {name.rpartition("/")[0] for name in names if name}
    return archive.fingerprint([*_TABLES_NEEDED, *_TABLES_WELCOME], sorted(folders))


def _already_fetched(target: Path, source: str, sampling_rate: int) -> FetchReport | None:
    try:
        receipt = json.loads(_receipt_path(target, sampling_rate).read_text(encoding="utf-8"))
        folder = target / str(receipt["folder"])
        known = receipt["source"] == source and folder.parent == target
        if not known or receipt["fingerprint"] != _fingerprint(folder, sampling_rate):
            return None
        counts = {name: int(receipt[name]) for name in _COUNTED}
        return FetchReport(folder, **counts, up_to_date=True)
    except (OSError, ValueError, KeyError, TypeError, LeadminError):
        return None


def _unpack(
    archive: Archive, target: Path, source: str, sampling_rate: int, progress: bool | None
) -> FetchReport:
    """Copy what is needed out of ``archive`` into ``target``, every file checked."""
    checksums = read_checksums(archive)
    if checksums is None:
        raise LeadminError(
            f"{archive.where(CHECKSUM_FILE)} is missing; without it nothing can be checked"
        )
    listing = archive.read(CHECKSUM_FILE, TABLE_LIMIT)  # which cannot list itself
    checksums[CHECKSUM_FILE] = hashlib.sha256(listing).hexdigest()
    table = ptbxl.read_table(archive)
    ptbxl.read_superclasses(archive)
    names = table.files_at(sampling_rate)
    check_space(target, _estimated_bytes(len(table), sampling_rate))
    named = re.fullmatch(r"ptb-xl[\w.-]*", archive.name)
    final = target / (archive.name if named else ptbxl.TOP_FOLDER)
    copier = _Copier(archive, checksums, target / f".{final.name}.partial", final)
    for name in _TABLES_NEEDED + tuple(name for name in _TABLES_WELCOME if name in archive):
        copier.take(name, TABLE_LIMIT)
    problems: list[str] = []
    hidden = None if progress is None else not progress
    with (
        ThreadPoolExecutor(_THREADS if isinstance(archive, HttpTree) else 1) as pool,
        tqdm(total=len(table), desc="unpacking", unit="record", disable=hidden) as bar,
    ):
        for problem in pool.map(copier.take_record, names):
            bar.update()
            if problem:
                problems.append(problem)
            if len(problems) >= _SHOWN:
                pool.shutdown(cancel_futures=True)
                break
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        raise LeadminError(f"{source} is incomplete or damaged:\n{shown}")
    _move(copier.staging, final, copier.taken)
    counts = (len(table), len(copier.taken), sum(copier.taken.values()))
    receipt = {
        "source": source,
        "folder": final.name,
        "sampling_rate": sampling_rate,
        **dict(zip(_COUNTED, counts, strict=True)),
        "fingerprint": _fingerprint(final, sampling_rate),
    }
    write_json(_receipt_path(target, sampling_rate), receipt)
    return FetchReport(final, *counts, up_to_date=False)


@dataclass
class _Copier:
    """Copies files out of an archive, or finds that an earlier call has."""

    archive: Archive
    checksums: Mapping[str, str]
    staging: Path
    final: Path
    taken: dict[str, int] = field(default_factory=dict)

    def take(self, member: str, limit: int) -> bytes:
        """Bring one file and give its content; raise `LeadminError` if it is not as listed."""
        for folder in (self.staging, self.final):
            present = folder / member
            if present.is_file() and not present.is_symlink() and present.stat().st_size <= limit:
                content = present.read_bytes()
                if hashlib.sha256(content).hexdigest() == self.checksums.get(member):
                    break
        else:
            content, _ = self.archive.read_listed(member, limit, self.checksums)
            file = self.staging / member
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)  # never write through a link that someone left there
            file.write_bytes(content)
        self.taken[member] = len(content)
        return content

    def take_record(self, record: str) -> str | None:
        """Bring a header and its signal files; give a message if that fails."""
        if not record:
            return f"{ptbxl.DATABASE_FILE} has a record without a file name"
        try:
            content = self.take(f"{record}.hea", RECORD_LIMIT)
            folder = record.rpartition("/")[0]
            for file in check_header(content, self.archive.where(f"{record}.hea")).files:
                self.take(f"{folder}/{file}" if folder else file, RECORD_LIMIT)
        except LeadminError as error:
            return str(error)
        return None


def _move(staging: Path, final: Path, members: Iterable[str]) -> None:
    """Give the complete files their final place; at once where nothing is there yet."""
    if not final.exists():
        staging.replace(final)
        return
    for member in members:
        source = staging / member
        if source.is_file():
            (final / member).parent.mkdir(parents=True, exist_ok=True)
            source.replace(final / member)
    shutil.rmtree(staging, ignore_errors=True)


def verify(source: Path, sampling_rate: int = 100, progress: bool | None = None) -> VerifyReport:
    """Check an archive or an unpacked folder: tables, checksums, and every record.

    ``sampling_rate`` is 100 or 500 Hz; by default a progress bar shows only on a terminal.

    Raises
    ------
    LeadminError
        If the source or one of its tables cannot be read at all.
    """
    ptbxl.check_rate(sampling_rate)
    archive = ptbxl.open_ptbxl(Path(source))
    table = ptbxl.read_table(archive)
    superclasses = ptbxl.read_superclasses(archive)
    checksums = read_checksums(archive)
    problems: list[Problem] = []
    if checksums is None:
        missing = f"{archive.where(CHECKSUM_FILE)} is missing; nothing could be compared"
        problems.append(Problem(CHECKSUM_FILE, "missing", missing))
    tops = [name for name in checksums or {} if "/" not in name and name in archive]
    n_files = len(tops)
    for name in tops:
        try:
            archive.read_listed(name, TABLE_LIMIT, checksums)
        except FileError as error:
            problems.append(Problem(name, error.reason, str(error)))
    names = table.files_at(sampling_rate)
    hidden = None if progress is None else not progress
    found = read_records(archive, names, sampling_rate, checksums)
    progressing = tqdm(found, total=len(names), desc="verifying", unit="record", disable=hidden)
    for name, record in zip(names, progressing, strict=True):
        if isinstance(record, FileError):
            problems.append(Problem(name, record.reason, str(record)))
        else:
            n_files += len(record[1])
    counts = {
        policy: ptbxl.class_counts(ptbxl.label_matrix(table.statements, superclasses, policy))
        for policy in LABEL_POLICIES
    }
    if len(table) == ptbxl.N_RECORDS and counts["any"] != dict(ptbxl.OFFICIAL_COUNTS):
        detail = (
            f"{archive.where(ptbxl.DATABASE_FILE)} has all {len(table)} records, but its "
            f"superclasses {counts['any']} are not the published {dict(ptbxl.OFFICIAL_COUNTS)}"
        )
        problems.append(Problem(ptbxl.DATABASE_FILE, "counts", detail))
    return VerifyReport(len(table), n_files, counts, tuple(problems))
