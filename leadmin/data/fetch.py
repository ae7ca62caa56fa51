"""Getting PTB-XL onto this machine, and checking what is there.

Only files that the study needs are written, each under a name that was checked, each compared with
the archive's own list of checksums. What else an archive may hold (links, names that climb out of
it, files that inflate without end) is never looked at.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE, TABLE_LIMIT, Archive, FileError, read_checksums
from leadmin.data.download import PATIENCE, HttpTree, Patience, check_space, download
from leadmin.data.records import RECORD_LIMIT, check_header, read_records
from leadmin.errors import LeadminError
from leadmin.files import write_json

ARCHIVE_URL = f"https://physionet.org/static/published-projects/ptb-xl/{ptbxl.TOP_FOLDER}.zip"
"""The official archive, one zip file with both sampling rates."""

_NEEDED = (CHECKSUM_FILE, ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE)
_TABLES = (*_NEEDED, ptbxl.LICENSE_FILE, ptbxl.RECORDS_FILE, ptbxl.PROVENANCE_FILE)
_SHOWN = 10
_THREADS = 8


@dataclass(frozen=True)
class FetchReport:
    """What `fetch` did; files and bytes are those of the sampling rate, written or found."""

    folder: Path
    n_records: int
    n_files: int
    n_bytes: int
    up_to_date: bool = False


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
    source: str = ARCHIVE_URL,
    sampling_rate: int = 100,
    keep_archive: bool = False,
    patience: Patience = PATIENCE,
    quiet: bool = False,
) -> FetchReport:
    """Get PTB-XL and unpack what one sampling rate needs.

    A source that cannot be had or is damaged, and a disk that is too small, are refused. What has
    arrived is kept; the same command goes on from there.

    Parameters
    ----------
    target : Path
        The data set goes into a folder of its own name below this one.
    source : str
        The address of a zip file, or of a folder (ending in ``/``) that holds the files one by one;
        a local zip file, or an unpacked folder.
    sampling_rate : {100, 500}
        Hz.
    keep_archive : bool
        Keep the downloaded zip file in ``target``; by default it is removed in the end.
    patience, quiet
        When to give up on a server; show no progress bars.
    """
    target = Path(target)
    ptbxl.check_rate(sampling_rate)
    is_url = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", source)
    receipt = target / f"fetched-{sampling_rate}hz.json"
    try:
        done = _already_fetched(receipt, source, sampling_rate)
        if done is not None:
            return done
        target.mkdir(parents=True, exist_ok=True)
        if source.endswith("/") or not is_url:
            archive = HttpTree(source, patience) if is_url else ptbxl.open_ptbxl(Path(source))
            return _unpack(archive, receipt, source, sampling_rate, quiet)
        file = target / f"ptb-xl-{hashlib.sha256(source.encode()).hexdigest()[:8]}.zip"
        spare = _estimated_bytes(ptbxl.N_RECORDS, sampling_rate) if source == ARCHIVE_URL else 0
        if not file.is_file():
            download(source, file, patience, spare_bytes=spare, quiet=quiet)
        try:
            report = _unpack(ptbxl.open_ptbxl(file), receipt, source, sampling_rate, quiet)
        except LeadminError as error:
            file.unlink(missing_ok=True)
            raise LeadminError(
                f"the archive from {source} is damaged and was removed: {error}; run the command "
                "again to download it again"
            ) from error
        if not keep_archive:
            file.unlink(missing_ok=True)
        return report
    except OSError as error:
        raise LeadminError(
            f"{error.filename or target} cannot be written: {error.strerror or error}; check the "
            "free space and the rights of the folder, or choose another one with --to"
        ) from error


def _estimated_bytes(n_records: int, sampling_rate: int) -> int:
    """Disk space of the uncompressed records: 12 leads of 10 s in int16, a header, a margin."""
    return n_records * (12 * 10 * sampling_rate * 2 + 4096)


def _fingerprint(folder: Path, sampling_rate: int) -> str:
    """Hash names, sizes and times of the tables and records of an unpacked data set."""
    archive = ptbxl.open_ptbxl(folder)
    return archive.fingerprint(_TABLES, ptbxl.read_table(archive).files_at(sampling_rate))


def _already_fetched(receipt: Path, source: str, sampling_rate: int) -> FetchReport | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, LeadminError):
        said = json.loads(receipt.read_text(encoding="utf-8"))
        folder = receipt.with_name(said["folder"])
        if said["source"] == source and said["fingerprint"] == _fingerprint(folder, sampling_rate):
            counts = {name: int(said[name]) for name in ("n_records", "n_files", "n_bytes")}
            return FetchReport(folder, **counts, up_to_date=True)
    return None


def _unpack(
    archive: Archive, receipt: Path, source: str, sampling_rate: int, quiet: bool
) -> FetchReport:
    """Copy what is needed out of ``archive`` beside ``receipt``, every file checked."""
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
    check_space(receipt.parent, _estimated_bytes(len(table), sampling_rate))
    named = re.fullmatch(r"ptb-xl[\w.-]*", archive.name)
    final = receipt.with_name(archive.name if named else ptbxl.TOP_FOLDER)
    copier = _Copier(archive, checksums, final.with_name(f".{final.name}.partial"), final)
    for name in _TABLES:
        if name in _NEEDED or name in archive:
            copier.take(name, TABLE_LIMIT)
    with ThreadPoolExecutor(_THREADS if isinstance(archive, HttpTree) else 1) as pool:
        taken = pool.map(copier.take_record, names)
        bar = tqdm(taken, "unpacking", len(names), unit="record", disable=quiet or None)
        problems = list(islice(filter(None, bar), _SHOWN))
        pool.shutdown(cancel_futures=True)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        raise LeadminError(f"{source} is incomplete or damaged:\n{shown}")
    copier.finish()
    report = FetchReport(final, len(table), len(copier.sizes), sum(copier.sizes.values()))
    said = asdict(report) | {"source": source, "folder": final.name}
    said |= {"sampling_rate": sampling_rate, "fingerprint": _fingerprint(final, sampling_rate)}
    write_json(receipt, said)
    return report


@dataclass
class _Copier:
    """Copies files out of an archive, or finds that an earlier call has."""

    archive: Archive
    checksums: Mapping[str, str]
    staging: Path
    final: Path
    sizes: dict[str, int] = field(default_factory=dict)

    def take(self, member: str, limit: int) -> bytes:
        """Bring one file and give its content; raise `LeadminError` if it is not as listed."""
        for present in (self.staging / member, self.final / member):
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
        self.sizes[member] = len(content)
        return content

    def take_record(self, record: str) -> str:
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
        return ""

    def finish(self) -> None:
        """Give the complete files their final place; at once where nothing is there yet."""
        if not self.final.exists():
            self.staging.replace(self.final)
            return
        for member in self.sizes:
            if (self.staging / member).is_file():
                (self.final / member).parent.mkdir(parents=True, exist_ok=True)
                (self.staging / member).replace(self.final / member)
        shutil.rmtree(self.staging, ignore_errors=True)


def verify(source: Path, sampling_rate: int = 100, quiet: bool = False) -> VerifyReport:
    """Check an archive or an unpacked folder: tables, checksums, and every record of one rate.

    A source that cannot be read at all, or a table of it, is refused.
    """
    ptbxl.check_rate(sampling_rate)
    archive = ptbxl.open_ptbxl(Path(source))
    table = ptbxl.read_table(archive)
    labels = ptbxl.read_labels(archive, table)
    checksums = read_checksums(archive)
    problems: list[Problem] = []
    if checksums is None:
        missing = f"{archive.where(CHECKSUM_FILE)} is missing; nothing could be compared"
        problems.append(Problem(CHECKSUM_FILE, "missing", missing))
    tops = [name for name in checksums or {} if "/" not in name and name in archive]
    for name in tops:
        try:
            archive.read_listed(name, TABLE_LIMIT, checksums)
        except FileError as error:
            problems.append(Problem(name, error.reason, str(error)))
    n_files, names = len(tops), table.files_at(sampling_rate)
    found = read_records(archive, names, sampling_rate, checksums)
    bar = tqdm(found, "verifying", len(names), unit="record", disable=quiet or None)
    for name, record in zip(names, bar, strict=True):
        if isinstance(record, FileError):
            problems.append(Problem(name, record.reason, str(record)))
        else:
            n_files += len(record[1])
    counts = {policy: ptbxl.class_counts(matrix) for policy, matrix in labels.items()}
    if len(table) == ptbxl.N_RECORDS and counts["any"] != dict(ptbxl.OFFICIAL_COUNTS):
        detail = (
            f"{archive.where(ptbxl.DATABASE_FILE)} has all {len(table)} records, but its "
            f"superclasses {counts['any']} are not the published {dict(ptbxl.OFFICIAL_COUNTS)}"
        )
        problems.append(Problem(ptbxl.DATABASE_FILE, "counts", detail))
    return VerifyReport(len(table), n_files, counts, tuple(problems))
