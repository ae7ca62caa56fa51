"""Downloads that survive cuts: one large file with resumption, or a tree of small files.

The transfer itself is the requests library's; here is only what it leaves open: when to resume,
when to start again, when to give up, and never to trust what a server says about lengths.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from leadmin.data.archive import MemberError, checked_member
from leadmin.errors import LeadminError

MAX_BYTES = 16 * 2**30
"""More than this is no ECG archive; it bounds what a server without a length can send."""

_CHUNK = 2**14
"""Bytes at a time. A cut connection loses what had come of the last chunk, so keep it small."""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True)
class Patience:
    """How long to keep trying.

    Attributes
    ----------
    attempts : int
        Tries in a row that bring no new byte before giving up.
    backoff : float
        Seconds before the second try, doubled each time.
    connect_timeout, read_timeout : float
        Seconds to wait for a connection and for the next byte.
    """

    attempts: int = 5
    backoff: float = 1.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0

    @property
    def timeout(self) -> tuple[float, float]:
        """As requests takes it."""
        return (self.connect_timeout, self.read_timeout)

    def pause(self, failures: int, response: requests.Response | None = None) -> None:
        """Wait before the next try, as long as the server asks for within reason."""
        seconds = self.backoff * 2.0 ** (failures - 1)
        asked = "" if response is None else response.headers.get("Retry-After", "")
        if asked.isdigit():
            seconds = max(seconds, float(asked[:6]))
        time.sleep(min(seconds, _LONGEST_PAUSE))


def check_url(url: str) -> str:
    """Give ``url`` back if it is a complete http or https address; raise `LeadminError` if not."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LeadminError(f"{url[:200]!r} is not an http or https address.")
    return url


@dataclass
class _Partial:
    """A file on its way, and what is needed to know that the rest belongs to the same file."""

    path: Path
    url: str
    validator: str = ""
    total: int | None = None

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def offset(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def recall(self) -> None:
        """Pick up an earlier call's part, or discard it if it may be of another file."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            fits = note["url"] == self.url and isinstance(note["validator"], str)
            total = note["total"]
            if fits and (total is None or isinstance(total, int)) and self.offset:
                self.validator, self.total = note["validator"], total
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.discard()

    def remember(self) -> None:
        note = {"url": self.url, "validator": self.validator, "total": self.total}
        self.note.write_text(json.dumps(note), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator, self.total = "", None


def download(
    url: str,
    target: Path,
    patience: Patience | None = None,
    max_bytes: int = MAX_BYTES,
    before_body: Any = None,
    progress: bool | None = None,
) -> Path:
    """Download one file, resuming where an earlier call or a cut connection left off.

    Parameters
    ----------
    url : str
        http or https.
    target : Path
        Where to put it; complete when it carries this name. Until then the bytes are in
        ``<target>.part``.
    patience : Patience, optional
        When to give up.
    max_bytes : int
        A file larger than this is refused.
    before_body : callable, optional
        Called once with the number of bytes still to come (None if the server does not say),
        before they are written; may raise, e.g. when the disk is too small.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    LeadminError
        If the server refuses, sends something too large, or too many tries bring nothing new.
        What has arrived is kept for the next call.
    """
    check_url(url)
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Partial(target.with_name(f"{target.name}.part"), url)
    part.recall()
    failures = 0
    farthest = part.offset
    asked = False
    last = "no answer"
    with (
        requests.Session() as session,
        tqdm(
            total=part.total,
            initial=part.offset,
            unit="B",
            unit_scale=True,
            desc=target.name,
            disable=None if progress is None else not progress,
        ) as bar,
    ):
        while True:
            response = None
            try:
                with _request(session, part, patience) as response:
                    start = _start_of_body(response, part)
                    if start is None:  # everything is here already
                        break
                    if start < part.offset:
                        bar.reset(total=part.total)
                    _refuse_too_large(url, part.total, max_bytes)
                    if before_body is not None and not asked:
                        before_body(None if part.total is None else part.total - start)
                        asked = True
                    part.remember()
                    bar.total = part.total
                    _receive(response, part, start, max_bytes, bar)
                if part.total is None or part.offset == part.total:
                    break
                last = f"the connection ended after {part.offset} of {part.total} bytes"
            except _RefusalError as refusal:
                raise LeadminError(f"{url} cannot be downloaded: {refusal}.") from refusal
            except (_TransientError, requests.RequestException, ConnectionError) as error:
                last = str(error) or type(error).__name__
            # Only bytes never reached before are progress: a server that makes the file start
            # again and again does not keep this loop going.
            failures = 0 if part.offset > farthest else failures + 1
            farthest = max(farthest, part.offset)
            if failures >= patience.attempts:
                raise LeadminError(
                    f"{url}: gave up after {failures} tries without progress ({last[:300]}). "
                    f"{part.offset} bytes are kept; the same command goes on from there."
                )
            patience.pause(max(failures, 1), response)
    part.path.replace(target)
    part.note.unlink(missing_ok=True)
    return target


class _RefusalError(Exception):
    """The server will not give the file; trying again is no use."""


class _TransientError(Exception):
    """One answer was no use; the next may be."""


def _request(session: requests.Session, part: _Partial, patience: Patience) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}
    if part.offset:
        headers["Range"] = f"bytes={part.offset}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        return session.get(part.url, headers=headers, stream=True, timeout=patience.timeout)
    except (requests.TooManyRedirects, requests.exceptions.InvalidURL) as error:
        raise _RefusalError(str(error)) from error


def _start_of_body(response: requests.Response, part: _Partial) -> int | None:
    """Decide at which byte of the file the body of ``response`` starts; None: nothing is missing.

    Updates what is known of the file. Raises `_TransientError` when the part had to be discarded.
    """
    status = response.status_code
    if status in _TRANSIENT:
        raise _TransientError(f"the server answered {status} {response.reason}")
    if status == 416:
        total = _total_of(response.headers.get("Content-Range", ""))
        if total is not None and total == part.offset == (part.total or total):
            return None
        part.discard()
        raise _TransientError("the server holds another file than the part here; starting again")
    if status not in (200, 206):
        raise _RefusalError(f"the server answered {status} {response.reason}")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise _RefusalError(
            f"the server sends it encoded as {encoding}, where lengths mean nothing"
        )
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if status == 206 and part.offset:
        start, total = _range_of(response.headers.get("Content-Range", ""))
        changed = bool(part.validator and validator and validator != part.validator)
        known = part.total is None or total is None or total == part.total
        if start != part.offset or changed or not known:
            part.discard()
            raise _TransientError("the server's range does not fit the part here; starting again")
        part.total = part.total if total is None else total
        return start
    length = response.headers.get("Content-Length", "")
    part.total = int(length) if length.isdigit() and len(length) < 16 else None
    part.validator = "" if validator.startswith("W/") else validator
    return 0


def _range_of(text: str) -> tuple[int, int | None]:
    """Read ``bytes 100-199/200``; (-1, None) if it is something else."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]
    if unit != "bytes" or not start.isdigit() or len(start) > 15:
        return -1, None
    return int(start), int(total) if total.isdigit() and len(total) < 16 else None


def _total_of(text: str) -> int | None:
    """Read the total of ``bytes */200``."""
    total = text.rpartition("/")[2]
    return int(total) if total.isdigit() and len(total) < 16 else None


def _refuse_too_large(url: str, n_bytes: int | None, max_bytes: int) -> None:
    if n_bytes is not None and n_bytes > max_bytes:
        raise LeadminError(
            f"{url} holds {n_bytes} bytes by its server's word; more than {max_bytes} are refused."
        )


def _receive(
    response: requests.Response, part: _Partial, start: int, max_bytes: int, bar: Any
) -> None:
    mode = "ab" if start else "wb"
    received = start
    with part.path.open(mode) as file:
        for chunk in response.iter_content(_CHUNK):
            received += len(chunk)
            if received > max_bytes:
                part.discard()
                raise LeadminError(
                    f"{part.url} sent more than {max_bytes} bytes; stopped and discarded."
                )
            file.write(chunk)
            bar.update(len(chunk))


@dataclass
class HttpTree:
    """A data set's files behind a web address, one request each; an `Archive`.

    Attributes
    ----------
    url : str
        The address of the top folder.
    patience : Patience
        When to give up on a file.
    """

    url: str
    patience: Patience = field(default_factory=Patience)
    name: str = ""

    def __post_init__(self) -> None:
        self.url = check_url(self.url).rstrip("/") + "/"
        self.path = Path(urlsplit(self.url).path)
        self._local = threading.local()

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):  # sessions are not safe to share between threads
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def where(self, member: str) -> str:
        """Name ``member`` for an error message."""
        return f"{self.url}{member}"

    def __contains__(self, member: str) -> bool:
        try:
            self.read(member, MAX_BYTES)
        except MemberError as error:
            if error.kind == "missing":
                return False
            raise
        return True

    def read(self, member: str, limit: int) -> bytes:
        """Give the bytes of ``member``; see `leadmin.data.archive.Archive.read`."""
        url = self.url + quote(checked_member(member))
        last = "no answer"
        for failure in range(1, self.patience.attempts + 1):
            response = None
            try:
                with self._session().get(
                    url, stream=True, timeout=self.patience.timeout
                ) as response:
                    if response.status_code in (404, 410):
                        raise MemberError(f"{url} is missing.", "missing")
                    if response.status_code in _TRANSIENT:
                        raise _TransientError(f"the server answered {response.status_code}")
                    if response.status_code != 200:
                        raise MemberError(
                            f"{url}: the server answered {response.status_code} {response.reason}.",
                            "damaged",
                        )
                    return self._body(response, url, limit)
            except (_TransientError, requests.RequestException, ConnectionError) as error:
                last = str(error) or type(error).__name__
            if failure < self.patience.attempts:
                self.patience.pause(failure, response)
        raise MemberError(
            f"{url}: gave up after {self.patience.attempts} tries ({last[:300]}).", "damaged"
        )

    @staticmethod
    def _body(response: requests.Response, url: str, limit: int) -> bytes:
        content = bytearray()
        for chunk in response.iter_content(_CHUNK):
            content += chunk
            if len(content) > limit:
                raise MemberError(f"{url} is larger than the {limit} bytes allowed.", "oversized")
        return bytes(content)

    def fingerprint(self, members: list[str], folders: list[str]) -> str:
        """Not available: a web server does not list its files."""
        raise LeadminError(f"{self.url} cannot be prepared from directly; fetch it first.")
