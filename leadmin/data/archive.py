"""Reading a data archive in place, whether it is a zip file or an unpacked folder.

Nothing is unpacked to read it, so a hostile member name can lead nowhere; each read is bounded,
so a member that inflates to gigabytes is refused before it is inflated.
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leadmin.errors import LeadminError

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression method that zipfile lacks
    UnicodeDecodeError,
    ValueError,
    OverflowError,
)


_FORBIDDEN = re.compile(r"[\x00-\x1f\\:]")
"""Control characters, and what means something else on Windows."""


class MemberError(LeadminError):
    """A member of an archive cannot be read.

    Attributes
    ----------
    kind : str
        ``"missing"``, ``"oversized"`` or ``"damaged"``.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type["MemberError"], tuple[str, str]]:
        return type(self), (str(self), self.kind)


class Archive(Protocol):
    """A read-only tree of named files.

    Attributes
    ----------
    path : Path
        The zip file or the folder.
    name : str
        The name of the tree's top folder.
    """

    path: Path
    name: str

    def __contains__(self, member: str) -> bool: ...

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; raise `MemberError` if that fails or exceeds ``limit``."""

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""

    def fingerprint(self, members: list[str], folders: list[str]) -> str:
        """Hash what the directory says of ``members`` and of all files in ``folders``.

        Names and sizes, with checksums (zip) or modification times (folder); nothing is read.
        """


def checked_member(member: str) -> str:
    """Give ``member`` back if it is a relative path that stays inside its archive.

    Raises
    ------
    LeadminError
        If it is absolute, climbs out with ``..``, or is no path at all.
    """
    parts = member.split("/")  # an absolute path begins with an empty part
    bad = (
        len(member) > 1024
        or _FORBIDDEN.search(member) is not None
        or "" in parts
        or "." in parts
        or ".." in parts
    )
    if bad:
        raise LeadminError(
            f"{member[:80]!r} is not a relative path inside the archive; refused for safety."
        )
    return member


@dataclass
class FolderArchive:
    """An unpacked archive."""

    path: Path

    def __post_init__(self) -> None:
        self.name = self.path.resolve().name

    def __contains__(self, member: str) -> bool:
        return (self.path / checked_member(member)).is_file()

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return str(self.path / member)

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `Archive.read`."""
        file = self.path / checked_member(member)
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device would block or never end
                raise MemberError(f"{file} is not a regular file.", "damaged")
            with file.open("rb") as stream:
                content = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MemberError(f"{file} is missing.", "missing") from error
        except OSError as error:
            raise MemberError(
                f"{file} cannot be read: {error.strerror or error}.", "damaged"
            ) from error
        if len(content) > limit:
            raise MemberError(f"{file} is larger than the {limit} bytes allowed.", "oversized")
        return content

    def fingerprint(self, members: list[str], folders: list[str]) -> str:
        """Hash names, sizes and modification times; see `Archive.fingerprint`."""
        lines = []
        for member in members:
            if (self.path / member).is_file():
                status = (self.path / member).stat()
                lines.append(f"{member} {status.st_size} {status.st_mtime_ns}")
        for folder in folders:
            if (self.path / checked_member(folder or ".")).is_dir():
                with os.scandir(self.path / folder) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        stamp = f"{status.st_size} {status.st_mtime_ns}"
                        lines.append(f"{folder}/{entry.name} {stamp}")
        lines.sort()
        text = "\n".join([f"folder {self.path.resolve()}", *lines])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass
class ZipArchive:
    """A zip file, read without unpacking; it can be sent to another process."""

    path: Path
    prefix: str
    _zip: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.name = self.prefix.rstrip("/") or self.path.stem

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "prefix": self.prefix}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = open_zip(self.path)
        return self._zip

    def __contains__(self, member: str) -> bool:
        return self.prefix + checked_member(member) in self._opened().NameToInfo

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return f"{self.path}:{self.prefix}{member}"

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `Archive.read`."""
        where = self.where(member)
        info = self._opened().NameToInfo.get(self.prefix + checked_member(member))
        if info is None:
            raise MemberError(f"{where} is missing.", "missing")
        if info.file_size > limit:
            raise MemberError(
                f"{where} says it holds {info.file_size} bytes; at most {limit} are allowed.",
                "oversized",
            )
        try:
            # zipfile stops at the declared size and then compares the CRC, so a member that
            # declares little and inflates to much is cut off and reported here.
            return self._opened().read(info)
        except _ZIP_ERRORS as error:
            raise MemberError(f"{where} cannot be read: {_reason(error)}.", "damaged") from error

    def fingerprint(self, members: list[str], folders: list[str]) -> str:
        """Hash names, sizes and CRC-32; see `Archive.fingerprint`."""
        wanted, parents = set(members), set(folders)
        lines = []
        for name, info in self._opened().NameToInfo.items():
            member = name.removeprefix(self.prefix)
            if member in wanted or member.rpartition("/")[0] in parents:
                lines.append(f"{member} {info.file_size} {info.CRC:08x}")
        text = "\n".join([f"zip {self.prefix}", *sorted(lines)])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file for reading.

    Raises
    ------
    LeadminError
        If it is no readable zip file, or two of its members carry one name.
    """
    try:
        opened = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise LeadminError(
            f"{path} is not a readable zip archive ({_reason(error)}); download it again or give "
            "the unpacked folder."
        ) from error
    if len(opened.NameToInfo) != len(opened.filelist):
        seen: set[str] = set()
        for info in opened.filelist:
            if info.filename in seen:
                opened.close()
                raise LeadminError(
                    f"{path} holds the member {info.filename[:200]!r} twice; no telling which is "
                    "meant. Download it again."
                )
            seen.add(info.filename)
    return opened


def open_archive(path: Path, landmark: str) -> Archive:
    """Open a zip file or a folder that holds a tree with the file ``landmark`` at its top.

    Parameters
    ----------
    path : Path
        The zip file, the tree's top folder, or the folder that holds the top folder.
    landmark : str
        A file name that marks the top, for instance ``"ptbxl_database.csv"``.

    Returns
    -------
    Archive

    Raises
    ------
    LeadminError
        If there is nothing at ``path``, it is damaged, or the landmark is not in it exactly once.
    """
    if path.is_dir():
        tops = [path] if (path / landmark).is_file() else []
        if not tops:
            tops = sorted(child.parent for child in path.glob(f"*/{landmark}"))
        if len(tops) != 1:
            found = "none" if not tops else ", ".join(top.name for top in tops)
            raise LeadminError(
                f"{path} should hold one {landmark} at its top or one folder below; found: {found}."
            )
        return FolderArchive(tops[0])
    if not path.exists():
        raise LeadminError(f"{path} does not exist; give an archive (zip) or an unpacked folder.")
    if not path.is_file():
        raise LeadminError(f"{path} is neither a file nor a folder.")
    opened = open_zip(path)
    prefixes = [
        name[: -len(landmark)]
        for name in opened.NameToInfo
        if name == landmark or (name.endswith(f"/{landmark}") and name.count("/") == 1)
    ]
    if len(prefixes) != 1:
        opened.close()
        raise LeadminError(
            f"{path} should hold one {landmark} at its top or one folder below; "
            f"found {len(prefixes)}. Is it the right archive?"
        )
    return ZipArchive(path, prefixes[0], opened)
