"""A data set's files, whether they lie in a zip file, in a folder or behind a web address.

Every read is bounded and every name is checked first, so a member that inflates to gigabytes is
refused before it is inflated, and one whose name climbs out of the archive leads nowhere.
"""

import hashlib
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from leadmin.errors import LeadminError

CHECKSUM_FILE = "SHA256SUMS.txt"
"""Where PhysioNet lists the SHA-256 of every file of a data set."""

TABLE_LIMIT = 2**28
"""Bytes that a table may have."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\\:]")
"""Control characters, and what means something else on Windows."""

_SHA256_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*)")


class FileError(LeadminError):
    """A file of a data set, or the record in it, cannot be used.

    ``reason`` is one word for tables: missing, damaged, oversized, checksum, header, leads, rate,
    length, empty, invalid, range, or unreadable for whatever `leadmin.data.recordings` refuses.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["FileError"], tuple[str, str]]:
        return type(self), (str(self), self.reason)


def checked_member(member: str) -> str:
    """Give ``member`` back if it is a relative path that stays inside its archive.

    `LeadminError` if it is absolute, climbs out with ``..``, or is no path at all.
    """
    parts = member.split("/")  # an absolute path begins with an empty part
    if len(member) > 1024 or _FORBIDDEN.search(member) or not {"", ".", ".."}.isdisjoint(parts):
        raise LeadminError(
            f"{member[:80]!r} is not a relative path inside the archive; refused for safety"
        )
    return member


class Archive:
    """A read-only tree of named files: the zip file or folder ``path``, its top folder ``name``."""

    path: Path
    name: str

    def __contains__(self, member: str) -> bool:
        raise NotImplementedError

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; raise `FileError` if that fails or exceeds ``limit``."""
        raise NotImplementedError

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        raise NotImplementedError

    def fingerprint(self, tables: Iterable[str], records: Iterable[str]) -> str:
        """Hash what the directory says of ``tables`` and of all that lies beside ``records``.

        Names and sizes, with checksums (zip) or modification times (folder); nothing is read.
        """
        folders = {record.rpartition("/")[0] for record in records if record}
        lines = sorted(self._stamps(set(tables), folders))
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def _stamps(self, members: set[str], folders: set[str]) -> Iterable[str]:
        raise NotImplementedError

    def read_listed(
        self, member: str, limit: int, checksums: Mapping[str, str] | None
    ) -> tuple[bytes, str]:
        """Give the bytes and the SHA-256 of a member that agrees with the archive's own list.

        `FileError` as `read`, and if the member is not listed or differs. Where ``checksums`` is
        None, the archive has no list and nothing is compared.
        """
        content = self.read(member, limit)
        digest = hashlib.sha256(content).hexdigest()
        listed = digest if checksums is None else checksums.get(member)
        if listed != digest:
            wrong = "is not listed" if listed is None else "differs from its checksum"
            raise FileError(
                f"{self.where(member)} {wrong} in {CHECKSUM_FILE}; it is damaged or was edited; "
                "get it again",
                "checksum",
            )
        return content, digest


class FolderArchive(Archive):
    """An unpacked archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name

    def __contains__(self, member: str) -> bool:
        return (self.path / checked_member(member)).is_file()

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return str(self.path / member)

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `Archive.read`."""
        file = self.path / checked_member(member)
        try:
            if not stat.S_ISREG(file.stat().st_mode):  # a pipe or a device would never end
                raise FileError(f"{file} is not a regular file", "damaged")
            with file.open("rb") as stream:
                content = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileError(f"{file} is missing", "missing") from error
        except OSError as error:
            reason = error.strerror or error
            raise FileError(f"{file} cannot be read: {reason}", "damaged") from error
        if len(content) > limit:
            raise FileError(f"{file} is larger than the {limit} bytes allowed", "oversized")
        return content

    def _stamps(self, members: set[str], folders: set[str]) -> Iterator[str]:
        yield f"folder {self.path.resolve()}"
        files = [self.path / member for member in members if (self.path / member).is_file()]
        for folder in folders:
            top = self.path / (checked_member(folder) if folder else "")
            files += top.iterdir() if top.is_dir() else ()
        for file in files:
            status = file.lstat()
            yield f"{file.relative_to(self.path)} {status.st_size} {status.st_mtime_ns}"


class ZipArchive(Archive):
    """A zip file, of which single members are read."""

    def __init__(self, path: Path, prefix: str, opened: zipfile.ZipFile) -> None:
        self.path = path
        self.name = prefix.rstrip("/") or path.stem
        self._prefix = prefix
        self._zip = opened

    def __contains__(self, member: str) -> bool:
        return self._prefix + checked_member(member) in self._zip.NameToInfo

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return f"{self.path}:{self._prefix}{member}"

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `Archive.read`."""
        where = self.where(member)
        info = self._zip.NameToInfo.get(self._prefix + checked_member(member))
        if info is None:
            raise FileError(f"{where} is missing", "missing")
        if info.file_size > limit:
            raise FileError(
                f"{where} says it holds {info.file_size} bytes; at most {limit} are allowed",
                "oversized",
            )
        try:
            # zipfile stops at the declared size and then compares the CRC, so a member that
            # declares little and inflates to much is cut off and reported here.
            return self._zip.read(info)
        except Exception as error:  # zipfile raises whatever a damaged file leads it to
            raise FileError(f"{where} cannot be read: {_reason(error)}", "damaged") from error

    def _stamps(self, members: set[str], folders: set[str]) -> Iterator[str]:
        yield f"zip {self._prefix}"
        for name, info in self._zip.NameToInfo.items():
            member = name.removeprefix(self._prefix)
            if member in members or member.rpartition("/")[0] in folders:
                yield f"{member} {info.file_size} {info.CRC:08x}"


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


_ABOVE = ("", "*/", "*/*/", "files/*/*/", "physionet.org/files/*/*/")
"""Where below a folder a tree may begin: ``wget -r`` makes ``physionet.org/files/NAME/VERSION``."""


def open_archive(path: Path, landmark: str) -> Archive:
    """Open a zip file or a folder that holds a tree with the file ``landmark`` at its top.

    The folder is the tree's top, one that holds the top, or any above it that ``wget -r`` makes;
    the landmark a file name such as ``"ptbxl_database.csv"``. What is nothing of the kind, is
    damaged, holds a member twice, or the landmark not exactly once, is refused.
    """
    wanted = f"{path} should hold one {landmark} at its top or one folder below"
    if path.is_dir():
        each = (sorted(path.glob(f"{above}{landmark}")) for above in _ABOVE)
        tops = [file.parent for file in next(filter(None, each), [])]
        if len(tops) != 1:
            found = ", ".join(str(top.relative_to(path)) for top in tops) or "none"
            raise LeadminError(f"{wanted}; found: {found}; give the folder that does")
        return FolderArchive(tops[0])
    if not path.is_file():
        wrong = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise LeadminError(f"{path} {wrong}; give an archive (zip) or an unpacked folder")
    try:
        opened = zipfile.ZipFile(path)
    except Exception as error:
        raise LeadminError(
            f"{path} is not a readable zip archive ({_reason(error)}); download it again or give "
            "the unpacked folder"
        ) from error
    names = [info.filename for info in opened.filelist]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise LeadminError(
            f"{path} holds the member {twice[:200]!r} twice; no telling which is meant"
        )
    prefixes = [
        name.removesuffix(landmark)
        for name in names
        if name == landmark or (name.endswith(f"/{landmark}") and name.count("/") == 1)
    ]
    if len(prefixes) != 1:
        raise LeadminError(f"{wanted}; found {len(prefixes)}; is it the right archive?")
    return ZipArchive(path, prefixes[0], opened)


def decode(content: bytes, where: str) -> str:
    """Give a file's UTF-8 text; raise `LeadminError` with the line if it is something else."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LeadminError(
            f"{where}, line {line}: not UTF-8 text (byte {content[error.start]:#04x}); the file is "
            "damaged or was saved in another encoding; get it again, or save it as UTF-8"
        ) from error


def read_checksums(archive: Archive) -> dict[str, str] | None:
    """Read the archive's own ``SHA256SUMS.txt``; None where it has no such file.

    Gives file name to SHA-256 in lower-case hexadecimal; `LeadminError` if it is no list of those.
    """
    if CHECKSUM_FILE not in archive:
        return None
    where = archive.where(CHECKSUM_FILE)
    checksums: dict[str, str] = {}
    text = decode(archive.read(CHECKSUM_FILE, TABLE_LIMIT), where)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _SHA256_LINE.fullmatch(line.strip())
        if match is None:
            raise LeadminError(f"{where}, line {number}: {line[:80]!r} is not '<sha256> <file>'")
        name, digest = checked_member(match[2].strip()), match[1].lower()
        if checksums.setdefault(name, digest) != digest:
            raise LeadminError(f"{where} gives {name} two different checksums")
    return checksums
