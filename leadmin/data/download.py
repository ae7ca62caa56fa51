"""Downloads that survive cuts: a loop over HTTP ranges, and a tree of small files.

The transfer itself is the requests library's; here is only what it leaves open: when to resume,
when to start again, when to give up, and never to trust what a server says about lengths.
"""

import contextlib
import errno
import json
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Never
from urllib.parse import quote

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


@dataclass(frozen=True)
class Patience:
    """How long to keep trying: tries in a row without a new byte, and seconds."""

    attempts: int = 5
    backoff: float = 1.0  # before the second try, doubled each time
    connect_timeout: float = 15.0
    read_timeout: float = 60.0  # for the next byte


PATIENCE = Patience()


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise `OSError` if the disk that holds ``folder`` has less than ``n_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        said = f"{free / 1e9:.2f} GB free; {n_bytes / 1e9:.2f} GB are needed"
        raise OSError(errno.ENOSPC, said, str(folder))


def check_url(url: str) -> str:
    """Give ``url`` back if it is a complete http or https address; raise `LeadminError` if not."""
    if not re.match(r"https?://[^/?#]", url, re.IGNORECASE):
        raise LeadminError(f"{url[:200]!r} is not an http or https address")
    return url


class _AgainError(Exception):
    """One answer was no use; the next may be."""


def _length(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


class _Part:
    """A file on its way, and what is needed to know that the rest belongs to the same file."""

    validator: str  # what the server says of the file
    total: int | None

    def __init__(self, url: str, path: Path, max_bytes: int) -> None:
        """Pick up an earlier call's part, or discard it if it may be of another file."""
        self.url, self.path, self.max_bytes = url, path, max_bytes
        self.note = path.with_name(f"{path.name}.json")
        self.validator, self.total = "", None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if note["url"] == url and self.size:
                self.validator, self.total = str(note["validator"]), _length(str(note["total"]))
        if not self.validator and self.total is None:
            self.restart()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def restart(self, validator: str = "", total: int | None = None) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator, self.total = validator, total

    def headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if self.size and (self.total or self.validator):
            headers |= {"Range": f"bytes={self.size}-"}
            headers |= {"If-Range": self.validator} if self.validator else {}
        return headers

    def accept(self, response: requests.Response) -> None:
        """Decide how a body continues the part, or that it does not."""
        status, headers = response.status_code, response.headers
        answer = f"the server answered {status} {response.reason}"
        if status in _PASSING:
            raise _AgainError(answer)
        if status not in (200, 206, 416):
            reason = "missing" if status in (404, 410) else "damaged"
            raise FileError(f"{self.url} is {reason}: {answer}", reason)
        encoding = headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise FileError(
                f"{self.url} is sent encoded as {encoding}, where lengths mean nothing", "damaged"
            )
        validator = headers.get("ETag") or headers.get("Last-Modified") or ""
        if status == 200:
            total = _length(headers.get("Content-Length", ""))
            self.restart("" if validator.startswith("W/") else validator, total)
            self.check_size(total or 0)
            return
        place = headers.get("Content-Range", "").strip()
        if self.total is None:  # no answer had said it before
            self.total = _length(place.rpartition("/")[2])
            self.check_size(self.total or 0)
        follows = place.startswith(f"bytes {self.size}-")
        follows &= place.endswith((f"/{self.total}", "/*"))
        changed = self.validator and validator and validator != self.validator
        if not follows or changed:  # as where nothing follows: a 416
            self.restart()
            raise _AgainError("the server holds another file than the part here")

    def check_size(self, n_bytes: int) -> None:
        if n_bytes > self.max_bytes:
            self.restart()
            raise FileError(
                f"{self.url} sent more than {self.max_bytes} bytes, or is about to; files as large "
                "are refused",
                "oversized",
            )

    def receive(self, response: requests.Response, bar: "tqdm[Never]") -> None:
        """Append the body; what has come stays, also if the connection breaks."""
        note = {"url": self.url, "validator": self.validator, "total": self.total}
        self.note.write_text(json.dumps(note), encoding="utf-8")
        received = bar.n = self.size
        bar.total = self.total
        with self.path.open("ab") as file:
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                self.check_size(received)
                file.write(chunk)
                bar.update(len(chunk))
        self.total = self.size if self.total is None else self.total
        if self.size != self.total:
            raise _AgainError(f"the connection ended after {self.size} of {self.total} bytes")


def download(
    url: str,
    target: Path,
    patience: Patience = PATIENCE,
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
        If the server refuses, sends something too large, or too many tries bring nothing new.
        What has arrived is kept for the next call.
    OSError
        If the disk is too small.
    """
    session = session or requests.Session()
    timeout = (patience.connect_timeout, patience.read_timeout)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(check_url(url), target.with_name(f"{target.name}.part"), max_bytes)
    failures, farthest = 0, part.size
    with tqdm(unit="B", unit_scale=True, desc=target.name, disable=quiet or None) as bar:
        while part.size != part.total:
            wait = ""
            try:
                with session.get(
                    url, headers=part.headers(), stream=True, timeout=timeout
                ) as response:
                    wait = response.headers.get("Retry-After", "")
                    part.accept(response)
                    check_space(target.parent, (part.total or 0) - part.size + spare_bytes)
                    part.receive(response, bar)
                    continue
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
            seconds = patience.backoff * 2.0 ** max(failures - 1, 0)
            asked = float(wait[:6]) if wait.isdecimal() else 0.0
            time.sleep(min(max(seconds, asked), _LONGEST_PAUSE))
    part.path.replace(target)
    part.note.unlink(missing_ok=True)
    return target


class HttpTree(Archive):
    """A data set's files below a web address ``url``, one request each."""

    def __init__(self, url: str, patience: Patience = PATIENCE) -> None:
        self.url, self.patience = check_url(url).rstrip("/") + "/", patience
        self.path, self.name = Path(self.url), ""
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
