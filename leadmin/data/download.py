"""Downloads that survive cuts: a loop over HTTP ranges, and a tree of small files.

The transfer itself is the requests library's; here is only what it leaves open: when to resume,
when to start again, when to give up, and never to trust what a server says about lengths.
"""

import json
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from leadmin.data.archive import Archive, FileError, checked_member
from leadmin.errors import LeadminError

MAX_BYTES = 16 * 2**30
"""More than this is no ECG archive; it bounds what a server without a length can send."""

_CHUNK = 2**14
"""Bytes at a time. A cut connection loses what had come of the last chunk, so keep it small."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 60.0
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-\d+|\*)/(?:(\d{1,15})|\*)")


@dataclass(frozen=True)
class Patience:
    """How long to keep trying: tries in a row without a new byte, and seconds."""

    attempts: int = 5
    backoff: float = 1.0  # before the second try, doubled each time
    connect_timeout: float = 15.0
    read_timeout: float = 60.0  # for the next byte

    def pause(self, failures: int, retry_after: str) -> None:
        """Wait before the next try, as long as the server asks for within reason."""
        asked = float(retry_after[:6]) if retry_after.isdigit() else 0.0
        time.sleep(min(max(self.backoff * 2.0 ** (failures - 1), asked), _LONGEST_PAUSE))


class SpaceError(LeadminError):
    """The disk is too small, which is no fault of the source."""


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise `SpaceError` if the disk that holds ``folder`` has less than ``n_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise SpaceError(
            f"{folder} has {free / 1e9:.2f} GB free; {n_bytes / 1e9:.2f} GB are needed; free some "
            "space or choose another folder with --to"
        )


def check_url(url: str) -> str:
    """Give ``url`` back if it is a complete http or https address; raise `LeadminError` if not."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that close nothing
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LeadminError(f"{url[:200]!r} is not an http or https address")
    return url


class _AgainError(Exception):
    """One answer was no use; the next may be."""


class _Part:
    """A file on its way, and what is needed to know that the rest belongs to the same file."""

    def __init__(self, url: str, path: Path) -> None:
        """Pick up an earlier call's part, or discard it if it may be of another file."""
        self.url, self.path, self.note = url, path, path.with_name(f"{path.name}.json")
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            self.validator, self.total = str(note["validator"]), int(note["total"] or 0)
            known = note["url"] == url
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known or not self.size:
            self.restart()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def restart(self, validator: str = "", total: int = 0) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator, self.total = validator, total  # empty and 0 where the server says nothing

    def headers(self) -> dict[str, str]:
        rest = {"Range": f"bytes={self.size}-", "If-Range": self.validator} if self.size else {}
        return {"Accept-Encoding": "identity"} | {name: said for name, said in rest.items() if said}

    def accept(self, response: requests.Response) -> bool:
        """Decide how a body continues the part; False where there is nothing left to come."""
        status, headers = response.status_code, response.headers
        answer = f"the server answered {status} {response.reason}"
        if status in _PASSING:
            raise _AgainError(answer)
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        start, total = (int(n or 0) for n in (found.groups() if found else ("", "")))
        same_total = total == (self.total or total)
        if status == 416 and 0 < self.size == total and same_total:
            return False
        if status not in (200, 206, 416):
            reason = "missing" if status in (404, 410) else "damaged"
            raise FileError(f"{self.url} is {reason}: {answer}", reason)
        encoding = headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise FileError(
                f"{self.url} is sent encoded as {encoding}, where lengths mean nothing", "damaged"
            )
        validator = headers.get("ETag") or headers.get("Last-Modified") or ""
        if status == 200 or (status == 206 and not self.size):
            length = headers.get("Content-Length", "")
            known = int(length) if length.isdigit() and len(length) < 16 else 0
            self.restart("" if validator.startswith("W/") else validator, known)
            return True
        changed = self.validator and validator and validator != self.validator
        if status == 416 or start != self.size or changed or not (same_total or not total):
            self.restart()
            raise _AgainError("the server holds another file than the part here")
        self.total = self.total or total
        return True

    def receive(self, response: requests.Response, max_bytes: int, bar: "tqdm[Never]") -> None:
        """Append the body; what has come stays, also if the connection breaks."""
        note = {"url": self.url, "validator": self.validator, "total": self.total}
        self.note.write_text(json.dumps(note), encoding="utf-8")
        received = bar.n = self.size
        bar.total = self.total or None
        with self.path.open("ab") as file:
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    self.restart()
                    raise FileError(
                        f"{self.url} sent more than {max_bytes} bytes; stopped and discarded",
                        "oversized",
                    )
                file.write(chunk)
                bar.update(len(chunk))


def download(
    url: str,
    target: Path,
    patience: Patience | None = None,
    max_bytes: int = MAX_BYTES,
    spare_bytes: int = 0,
    quiet: bool = False,
    session: requests.Session | None = None,
) -> Path:
    """Download one file, resuming where an earlier call or a cut connection left off.

    Until ``target`` is complete, its bytes are in ``<target>.part``. A file of more than
    ``max_bytes`` is refused; the disk must hold ``spare_bytes`` besides it.

    Raises
    ------
    LeadminError
        If the server refuses, sends something too large, the disk is too small, or too many tries
        bring nothing new. What has arrived is kept for the next call.
    """
    check_url(url)
    patience, session = patience or Patience(), session or requests.Session()
    timeout = (patience.connect_timeout, patience.read_timeout)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(url, target.with_name(f"{target.name}.part"))
    failures, farthest = 0, part.size
    with tqdm(unit="B", unit_scale=True, desc=target.name, disable=quiet or None) as bar:
        while True:
            wait = ""
            try:
                with session.get(
                    url, headers=part.headers(), stream=True, timeout=timeout
                ) as response:
                    wait = response.headers.get("Retry-After", "")
                    if not part.accept(response):
                        break
                    if part.total > max_bytes:
                        raise FileError(
                            f"{url} holds {part.total} bytes by its server's word; more than "
                            f"{max_bytes} are refused",
                            "oversized",
                        )
                    check_space(target.parent, part.total - part.size + spare_bytes)
                    part.receive(response, max_bytes, bar)
                if part.size == (part.total or part.size):
                    break
                last = f"the connection ended after {part.size} of {part.total} bytes"
            except (requests.TooManyRedirects, requests.exceptions.InvalidURL) as error:
                raise LeadminError(f"{url} cannot be downloaded: {error}") from error
            except (_AgainError, requests.RequestException, ConnectionError) as error:
                last = str(error) or type(error).__name__
            # Only bytes never reached before are progress: a server that makes the file start
            # again and again does not keep this loop going.
            failures = 0 if part.size > farthest else failures + 1
            farthest = max(farthest, part.size)
            if failures >= patience.attempts:
                raise FileError(
                    f"{url}: gave up after {failures} tries without progress ({last[:300]}); "
                    f"{part.size} bytes are kept; the same command goes on from there",
                    "damaged",
                )
            patience.pause(max(failures, 1), wait)
    part.path.replace(target)
    part.note.unlink(missing_ok=True)
    return target


@dataclass
class HttpTree(Archive):
    """A data set's files below a web address ``url``, one request each."""

    url: str
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self.url = check_url(self.url).rstrip("/") + "/"
        self.path, self.name = Path(urlsplit(self.url).path), ""
        self._local = threading.local()  # sessions are not safe to share between threads

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return f"{self.url}{member}"

    def __contains__(self, member: str) -> bool:
        try:
            self.read(member, MAX_BYTES)
        except FileError as error:
            if error.reason == "missing":
                return False
            raise
        return True

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `leadmin.data.archive.Archive.read`."""
        url = self.url + quote(checked_member(member))
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        with tempfile.TemporaryDirectory(prefix="leadmin-") as folder:
            file = Path(folder, "file")
            download(url, file, self.patience, limit, 0, True, self._local.session)
            return file.read_bytes()
