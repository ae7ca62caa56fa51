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
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from leadmin.data import ptbxl
from leadmin.data.archive import Archive, FolderArchive, MemberError
from leadmin.data.download import HttpTree, Patience, download
from leadmin.data.records import RecordError, parse_header
from leadmin.errors import LeadminError
from leadmin.files import write_json
from leadmin.labels import CLASSES, LABEL_POLICIES

ARCHIVE_URL = f"https://physionet.org/static/published-projects/ptb-xl/{ptbxl.TOP_FOLDER}.zip"
"""The official archive, one zip file with both sampling rates."""

FILES_URL = f"https://physionet.org/files/ptb-xl/{ptbxl.VERSION}/"
"""The same files one by one, as ``--from`` takes them."""

_TABLES_NEEDED = (ptbxl.CHECKSUM_FILE, ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE)
_TABLES_WELCOME = (ptbxl.LICENSE_FILE, ptbxl.RECORDS_FILE, ptbxl.PROVENANCE_FILE)
_TABLE_LIMIT = 2**28
_RECORD_LIMIT = 2**22
_SHOWN = 10
_THREADS = 8


@dataclass(frozen=True)
class FetchReport:
    """What `fetch` did.

    Attributes
    ----------
    folder : Path
        The unpacked data set, which `leadmin.data.dataset.prepare` takes.
    n_records, n_files, n_bytes : int
        Records of the sampling rate asked for, files written or found, and their size.
    up_to_date : bool
        True if everything was there and nothing was done.
    """

    folder: Path
    n_records: int
    n_files: int
    n_bytes: int
    up_to_date: bool


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file of an archive.

    Attributes
    ----------
    file : str
        Its name in the archive.
    reason : str
        One word; see `leadmin.data.records.RecordError`.
    detail : str
        The whole message.
    """

    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    n_records : int
        Records of the sampling rate.
    n_files : int
        Files whose checksum was compared.
    class_counts : dict of str to dict of str to int
        Label policy to superclass to number of records.
    problems : tuple of Problem
        Empty if all is well.
    """

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

    Returns
    -------
    FetchReport

    Raises
    ------
    LeadminError
        If the source cannot be had, is damaged, or the disk is too small. What has arrived is
        kept; the same command goes on from there.
    """
    target = Path(target)
    source = source or ARCHIVE_URL
    if sampling_rate not in ptbxl.SAMPLING_RATES:
        raise LeadminError(f"PTB-XL comes at 100 and 500 Hz, not at {sampling_rate} Hz.")
    try:
        done = _already_fetched(target, source, sampling_rate)
        if done is not None:
            return done
        target.mkdir(parents=True, exist_ok=True)
        if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", source):
            return _unpack(ptbxl.open_ptbxl(Path(source)), target, source, sampling_rate, progress)
        if source.endswith("/"):
            tree = HttpTree(source, patience or Patience())
            return _unpack(tree, target, source, sampling_rate, progress)
        return _fetch_archive(target, source, sampling_rate, keep_archive, patience, progress)
    except OSError as error:
        raise LeadminError(
            f"{target} cannot be written: {error.strerror or error}. Check the free space and the "
            "rights of the folder."
        ) from error


def _fetch_archive(
    target: Path,
    url: str,
    sampling_rate: int,
    keep_archive: bool,
    patience: Patience | None,
    progress: bool | None,
) -> FetchReport:
    archive = target / f"ptb-xl-{hashlib.sha256(url.encode()).hexdigest()[:8]}.zip"
    unpacked = _estimated_bytes(ptbxl.N_RECORDS, sampling_rate) if url == ARCHIVE_URL else 0

    def enough_space(n_bytes: int | None) -> None:
        _check_space(target, (n_bytes or 0) + unpacked)

    if not archive.is_file():
        download(url, archive, patience, before_body=enough_space, progress=progress)
    try:
        report = _unpack(ptbxl.open_ptbxl(archive), target, url, sampling_rate, progress)
    except _SpaceError:
        raise
    except LeadminError as error:
        archive.unlink(missing_ok=True)
        raise LeadminError(
            f"The archive from {url} is damaged and was removed: {error} Run the command again to "
            "download it again."
        ) from error
    if not keep_archive:
        archive.unlink(missing_ok=True)
    return report


class _SpaceError(LeadminError):
    """The disk is too small, which is no fault of the archive."""


def _check_space(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise _SpaceError(
            f"{folder} has {free / 1e9:.2f} GB free; {n_bytes / 1e9:.2f} GB are needed. Free some "
            "space or choose another folder with --to."
        )


def _estimated_bytes(n_records: int, sampling_rate: int) -> int:
    """Disk space of the uncompressed records: 12 leads of 10 s in int16, a header, a margin."""
    return n_records * (12 * 10 * sampling_rate * 2 + 4096)


def _top_folder(archive: Archive) -> str:
    fits = re.fullmatch(r"ptb-xl[\w.-]*", archive.name) is not None
    return archive.name if fits and isinstance(archive.name, str) else ptbxl.TOP_FOLDER


def _receipt_path(target: Path, sampling_rate: int) -> Path:
    return target / f"fetched-{sampling_rate}hz.json"


def _needed(folder: Path, sampling_rate: int) -> tuple[list[str], list[str]]:
    """Name the tables of an unpacked data set and the folders that hold its records."""
    table = ptbxl.read_table(FolderArchive(folder))
    folders = {name.rpartition("/")[0] for name in table.files[sampling_rate] if name}
    return [*_TABLES_NEEDED, *_TABLES_WELCOME], sorted(folders)


def _already_fetched(target: Path, source: str, sampling_rate: int) -> FetchReport | None:
    try:
        receipt = json.loads(_receipt_path(target, sampling_rate).read_text(encoding="utf-8"))
        folder = target / str(receipt["folder"])
        if receipt["source"] != source or folder.parent != target:
            return None
        found = FolderArchive(folder).fingerprint(*_needed(folder, sampling_rate))
        if found != receipt["fingerprint"]:
            return None
        return FetchReport(
            folder=folder,
            n_records=int(receipt["n_records"]),
            n_files=int(receipt["n_files"]),
            n_bytes=int(receipt["n_bytes"]),
            up_to_date=True,
        )
    except (OSError, ValueError, KeyError, TypeError, LeadminError):
        return None


def _unpack(
    archive: Archive, target: Path, source: str, sampling_rate: int, progress: bool | None
) -> FetchReport:
    """Copy what is needed out of ``archive`` into ``target``, every file checked."""
    checksums = ptbxl.read_checksums(archive)
    if checksums is None:
        raise LeadminError(
            f"{archive.where(ptbxl.CHECKSUM_FILE)} is missing; without it nothing can be checked."
        )
    table = ptbxl.read_table(archive)
    ptbxl.read_superclasses(archive)
    if sampling_rate not in table.files:
        raise LeadminError(f"{archive.path} has no file names for {sampling_rate} Hz.")
    _check_space(target, _estimated_bytes(len(table), sampling_rate))
    final = target / _top_folder(archive)
    staging = target / f".{final.name}.partial"
    copier = _Copier(archive, checksums, staging, final)
    tables = [*_TABLES_NEEDED, *(name for name in _TABLES_WELCOME if name in archive)]
    for name in tables:
        copier.take(name, _TABLE_LIMIT)
    workers = _THREADS if isinstance(archive, HttpTree) else 1
    problems: list[str] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(
            total=len(table),
            desc=f"unpacking {sampling_rate} Hz",
            unit="record",
            disable=None if progress is None else not progress,
        ) as bar,
    ):
        for problem in pool.map(copier.take_record, table.files[sampling_rate]):
            bar.update()
            if problem:
                problems.append(problem)
            if len(problems) >= _SHOWN:
                pool.shutdown(cancel_futures=True)
                break
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        raise LeadminError(f"{source} is incomplete or damaged:\n{shown}")
    _move(staging, final, copier.taken)
    tables_and_folders = _needed(final, sampling_rate)
    write_json(
        _receipt_path(target, sampling_rate),
        {
            "source": source,
            "folder": final.name,
            "sampling_rate": sampling_rate,
            "n_records": len(table),
            "n_files": len(copier.taken),
            "n_bytes": sum(copier.taken.values()),
            "fingerprint": FolderArchive(final).fingerprint(*tables_and_folders),
        },
    )
    return FetchReport(
        folder=final,
        n_records=len(table),
        n_files=len(copier.taken),
        n_bytes=sum(copier.taken.values()),
        up_to_date=False,
    )


class _Copier:
    """Copies files out of an archive, or finds that an earlier call has."""

    def __init__(
        self, archive: Archive, checksums: Mapping[str, str], staging: Path, final: Path
    ) -> None:
        self._archive = archive
        self._checksums = checksums
        self._staging = staging
        self._final = final
        self.taken: dict[str, int] = {}

    def take(self, member: str, limit: int) -> bytes:
        """Bring one file and give its content; raise `LeadminError` if it is not as listed."""
        if member == ptbxl.CHECKSUM_FILE:  # which cannot list itself
            content = self._archive.read(member, limit)
            expected = hashlib.sha256(content).hexdigest()
        elif member in self._checksums:
            content = None
            expected = self._checksums[member]
        else:
            raise MemberError(
                f"{self._archive.where(member)} is not listed in {ptbxl.CHECKSUM_FILE}.", "checksum"
            )
        for folder in (self._staging, self._final):
            present = folder / member
            if present.is_file() and not present.is_symlink() and present.stat().st_size <= limit:
                found = present.read_bytes()
                if hashlib.sha256(found).hexdigest() == expected:
                    self.taken[member] = len(found)
                    return found
        if content is None:
            content = self._archive.read(member, limit)
        if hashlib.sha256(content).hexdigest() != expected:
            raise MemberError(
                f"{self._archive.where(member)} differs from its checksum in "
                f"{ptbxl.CHECKSUM_FILE}.",
                "checksum",
            )
        file = self._staging / member
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # never write through a link that someone left there
        file.write_bytes(content)
        self.taken[member] = len(content)
        return content

    def take_record(self, record: str) -> str | None:
        """Bring a header and its signal files; give a message if that fails."""
        if not record:
            return "a record of ptbxl_database.csv has no file name"
        try:
            content = self.take(f"{record}.hea", _RECORD_LIMIT)
            header = parse_header(content, self._archive.where(f"{record}.hea"))
            folder = record.rpartition("/")[0]
            for file in header.files:
                self.take(f"{folder}/{file}" if folder else file, _RECORD_LIMIT)
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

    Parameters
    ----------
    source : Path
        Zip file or folder.
    sampling_rate : {100, 500}
        Which version of the records, Hz.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.

    Returns
    -------
    VerifyReport

    Raises
    ------
    LeadminError
        If the source or one of its tables cannot be read at all.
    """
    if sampling_rate not in ptbxl.SAMPLING_RATES:
        raise LeadminError(f"PTB-XL comes at 100 and 500 Hz, not at {sampling_rate} Hz.")
    archive = ptbxl.open_ptbxl(Path(source))
    table = ptbxl.read_table(archive)
    superclasses = ptbxl.read_superclasses(archive)
    checksums = ptbxl.read_checksums(archive)
    if sampling_rate not in table.files:
        raise LeadminError(f"{source} has no file names for {sampling_rate} Hz.")
    problems: list[Problem] = []
    n_files = 0
    if checksums is None:
        missing = f"{archive.where(ptbxl.CHECKSUM_FILE)} is missing; nothing could be compared."
        problems.append(Problem(ptbxl.CHECKSUM_FILE, "missing", missing))
    others = [name for name in checksums or {} if "/" not in name and name in archive]
    for name in others:
        n_files += 1
        digest = hashlib.sha256(archive.read(name, _TABLE_LIMIT)).hexdigest()
        if checksums is not None and digest != checksums[name]:
            detail = f"{archive.where(name)} differs from its checksum in {ptbxl.CHECKSUM_FILE}."
            problems.append(Problem(name, "checksum", detail))
    for record in tqdm(
        table.files[sampling_rate],
        desc="verifying",
        unit="record",
        disable=None if progress is None else not progress,
    ):
        try:
            _, digests = ptbxl.read_record(archive, record, sampling_rate, checksums)
        except RecordError as error:
            problems.append(Problem(record, error.reason, str(error)))
            continue
        n_files += len(digests)
    counts = {
        policy: dict(
            zip(
                CLASSES,
                ptbxl.label_matrix(table.statements, superclasses, policy)
                .sum(axis=0, dtype=int)
                .tolist(),
                strict=True,
            )
        )
        for policy in LABEL_POLICIES
    }
    if len(table) == ptbxl.N_RECORDS and counts["any"] != dict(ptbxl.OFFICIAL_COUNTS):
        detail = (
            f"{archive.where(ptbxl.DATABASE_FILE)} has all {len(table)} records, but its "
            f"superclasses {counts['any']} are not the published {dict(ptbxl.OFFICIAL_COUNTS)}."
        )
        problems.append(Problem(ptbxl.DATABASE_FILE, "counts", detail))
    return VerifyReport(len(table), n_files, counts, tuple(problems))
