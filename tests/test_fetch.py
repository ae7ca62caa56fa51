"""Fetching over a real HTTP connection to a server that drops, lies, refuses and damages."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from archives import make_files, real, sign, write_folder, write_zip, zip_bytes
from trouble import refused
from typer.testing import CliRunner

from leadmin.cli.data import app
from leadmin.data import fetch, ptbxl
from leadmin.data.archive import CHECKSUM_FILE, read_checksums
from leadmin.data.download import HttpTree, Patience, check_url, download
from leadmin.errors import LeadminError
from leadmin.files import sha256

pytestmark = pytest.mark.timeout(60)

QUICK = Patience(attempts=4, backoff=0.0, connect_timeout=2.0, read_timeout=0.5)
CONTENT = np.random.default_rng(3).bytes(1_500_000)  # 91 chunks and a bit
NAME = "a.zip"


# --- a server that behaves well or badly on request -----------------------------------------


@dataclass
class Served:
    """What the server holds, how it behaves, and what it was asked: paths, and ranges of them.

    ``behave`` gets the request's number for its path (from 0) and the handler; it returns False if
    it has not answered.
    """

    files: dict[str, bytes]
    behave: "Behaviour | None" = None
    etag: str = '"one"'
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Answers GET with or without a range."""

    served: Served
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def content(self) -> bytes | None:
        return self.served.files.get(self.path.lstrip("/"))

    def start(self) -> int:
        """First byte asked for, 0 where the request names no range that this server honours."""
        asked, etag = self.headers.get("Range"), self.served.etag
        if not asked or not self.served.ranges or self.headers.get("If-Range", etag) != etag:
            return 0
        return int(asked.removeprefix("bytes=").split("-")[0])

    def reply(self, status: int, body: bytes = b"", **headers: object) -> None:
        """Answer just so; what does not say its length, or another one, ends the connection."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = headers.get("Content_Length") != len(body)

    def empty(self, status: int, **headers: object) -> None:
        self.reply(status, Content_Length=0, **headers)

    def answer(self, content: bytes, length: int | None = None, send: int | None = None) -> None:
        """Send ``content`` from the byte asked for; may lie about its length or stop early."""
        start = self.start()
        body = content[start:]
        headers = {"Content_Length": len(body) if length is None else length}
        headers["ETag"] = self.served.etag
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(206 if start else 200, body[:send], **headers)

    def do_GET(self) -> None:
        served = self.served
        number = sum(path == self.path for path, _ in served.requests)
        served.requests.append((self.path, self.headers.get("Range")))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if served.behave is not None and served.behave(number, self) is not False:
                return
            content = self.content()
            if content is None:
                self.empty(404)
            elif self.start() >= len(content) > 0:
                self.empty(416, Content_Range=f"bytes */{len(content)}")
            else:
                self.answer(content)


Behaviour = Callable[[int, Handler], bool | None]


@contextlib.contextmanager
def serve(served: Served) -> Iterator[Served]:
    """Run a server on a free port of 127.0.0.1."""
    handler = type("BoundHandler", (Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield served
        finally:
            server.shutdown()


@pytest.fixture
def server():
    with serve(Served({NAME: CONTENT, "b.zip": CONTENT})) as served:
        yield served


def get(server: Served, target: Path, **options: object) -> Path:
    options = {"patience": QUICK, "quiet": True, **options}
    return download(f"{server.url}/{NAME}", target, **options)


# --- one file -------------------------------------------------------------------------------


def ignore_if_range(number: int, handler: Handler) -> bool | None:
    """The file seems replaced after a cut, and the server sends a range of it all the same."""
    if number == 0:
        return handler.answer(CONTENT, send=294_912)
    handler.served.etag = '"two"'
    del handler.headers["If-Range"]
    return False


def shift(number: int, handler: Handler) -> bool | None:
    if number == 0:
        return handler.answer(CONTENT, send=294_912)
    where = f"bytes 294900-{len(CONTENT) - 1}/{len(CONTENT)}"
    body = CONTENT[294_900:]
    return number == 1 and handler.reply(206, body, Content_Range=where, Content_Length=len(body))


def repeat(number: int, handler: Handler) -> None:
    """Each try brings bytes, but the same ones: that is no progress."""
    handler.served.ranges = False
    handler.answer(CONTENT, send=700_000)


def in_chunks(number: int, handler: Handler) -> None:
    """No length is ever said, and the connection ends too early; a range is honoured."""
    start = handler.start()
    handler.send_response(206 if start else 200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.send_header("ETag", handler.served.etag)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.end_headers()
    for at in range(start, min(start + 655_360, len(CONTENT)), 16_384):
        piece = CONTENT[at : at + 16_384]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    handler.close_connection = True


def whole_as_range(number: int, handler: Handler) -> None:
    place = f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.reply(206, CONTENT, Content_Range=place, Content_Length=len(CONTENT))


def pour(number: int, handler: Handler) -> None:
    handler.reply(200)
    while True:
        handler.wfile.write(bytes(100_000))


def stall(number: int, handler: Handler) -> None:
    handler.reply(200, Content_Length=len(CONTENT))
    time.sleep(0.8)


def answering(status: int, times: int = 100, **headers: str) -> Behaviour:
    """The first so many requests are answered without content."""
    return lambda n, h: n < times and h.empty(status, **headers)


# Six cuts are more than the tries allowed without progress, and nothing is sent twice.
_RESUMED = [None] + [f"bytes={163_840 * k}-" for k in range(1, 7)]


@pytest.mark.parametrize(
    ("behave", "ranges", "asked"),
    [
        pytest.param(None, True, [None], id="well-behaved"),
        pytest.param(
            lambda n, h: n < 6 and h.answer(CONTENT, send=163_840), True, _RESUMED, id="cuts"
        ),
        pytest.param(
            lambda n, h: n < 2 and h.answer(CONTENT, send=700_000), False, 3, id="refused ranges"
        ),
        pytest.param(ignore_if_range, True, [None, "bytes=294912-", None], id="ignored If-Range"),
        pytest.param(shift, True, None, id="wrong range is not glued on"),
        pytest.param(lambda n, h: h.reply(200, CONTENT), True, 1, id="no length"),
        pytest.param(in_chunks, True, [None, "bytes=655360-", "bytes=1310720-"], id="chunks, cut"),
        pytest.param(whole_as_range, True, [None], id="a range that none asked for"),
        pytest.param(answering(302, 1, Location="/b.zip"), True, None, id="a redirect"),
        *(
            pytest.param(answering(status, 3, Retry_After="0"), True, 4, id=f"passing {status}")
            for status in (500, 502, 503, 429)
        ),
    ],
)
def test_faults_that_are_survived(server, tmp_path, behave, ranges, asked):
    server.behave, server.ranges = behave, ranges
    assert get(server, tmp_path / "f.zip").read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["f.zip"]
    found = server.ranges_asked()
    assert asked in (None, len(found), found)


@pytest.mark.parametrize(
    ("behave", "message", "most_requests"),
    [
        (repeat, "gave up", 19),
        (lambda n, h: h.answer(CONTENT, length=len(CONTENT) - h.start() + 1000), "gave up", 19),
        (lambda n, h: h.answer(CONTENT, length=len(CONTENT) - h.start() + 10**9), "gave up", 19),
        (lambda n, h: h.answer(CONTENT, length=10**14), r"more than .* are refused", 1),
        (pour, "sent more than 2000000 bytes", 1),
        (stall, "gave up", 4),
        (lambda n, h: h.empty(302, Location=h.path), "redirects", 100),
        (answering(200, Content_Encoding="gzip"), "encoded as gzip", 1),
        *((answering(s), f"answered {s}", 1) for s in (400, 401, 403, 404, 410, 501)),
    ],
)
def test_faults_that_end_a_download(server, tmp_path, behave, message, most_requests):
    server.behave = behave
    special = {pour: {"max_bytes": 2_000_000}, stall: {"patience": Patience(2, 0.0, 1.0, 0.2)}}
    start = time.monotonic()
    refused(message, get, server, tmp_path / "f.zip", **special.get(behave, {}))
    assert time.monotonic() - start < 5
    assert len(server.requests) <= most_requests
    assert not (tmp_path / "f.zip").exists()
    assert behave is not pour or list(tmp_path.iterdir()) == []


def test_file_replaced_on_the_server_is_not_mixed(server, tmp_path):
    other = np.random.default_rng(4).bytes(len(CONTENT))

    def replace(number: int, handler: Handler) -> None:
        if number == 0:
            handler.answer(CONTENT, send=294_912)
        else:
            server.etag, server.files[NAME] = '"two"', other
            handler.answer(other)

    server.behave = replace
    assert get(server, tmp_path / "f.zip").read_bytes() == other


def test_no_server_at_all(tmp_path):
    with serve(Served({})) as served:
        url = served.url
    with pytest.raises(LeadminError, match="gave up after 4 tries"):
        download(f"{url}/a.zip", tmp_path / "f.zip", QUICK, quiet=True)
    refused("gave up after 4 tries", HttpTree(f"{url}/", QUICK).read, "RECORDS", 100)


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "http://", "nonsense"])
def test_only_http(url):
    refused("not an http", check_url, url)


@pytest.mark.parametrize(
    "note", ['{"url": "http://other", "validator": "", "total": 9}', "{damaged"]
)
def test_part_of_another_address_is_not_used(server, tmp_path, note):
    (tmp_path / "f.zip.part").write_bytes(b"something else")
    (tmp_path / "f.zip.part.json").write_text(note)
    assert get(server, tmp_path / "f.zip").read_bytes() == CONTENT


# --- the whole data set ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def files():
    return make_files(8, rates=(100, 500))


@pytest.fixture
def mirror(files):
    """The archive as a zip file, and its files one by one below ``tree/``."""
    tree = {f"tree/{name}": content for name, content in files.items()}
    with serve(Served({NAME: zip_bytes(files), **tree})) as served:
        yield served


def fetch_from(source: str, target: Path, **options: object) -> fetch.FetchReport:
    return fetch.fetch(target, source, patience=QUICK, quiet=True, **options)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["zip url", "tree url", "zip file", "folder"])
def test_all_sources_give_the_same_files(mirror, files, tmp_path, kind):
    source = {
        "zip url": f"{mirror.url}/{NAME}",
        "tree url": f"{mirror.url}/tree/",
        "zip file": str(write_zip(tmp_path / "in.zip", files)),
        "folder": str(write_folder(tmp_path / "in", files)),
    }[kind]
    report = fetch_from(source, tmp_path / "out")
    # Only what 100 Hz needs.
    expected = {name: c for name, c in files.items() if not name.startswith("records500")}
    assert tree_of(report.folder) == expected
    assert (report.n_records, report.n_files) == (8, len(expected))
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {report.folder.name, "fetched-100hz.json"}
    assert fetch.verify(report.folder, quiet=True).problems == ()
    # Again: nothing to do, and nothing is asked of the server.
    mirror.requests.clear()
    assert fetch_from(source, tmp_path / "out").up_to_date
    assert mirror.requests == []


def test_a_second_rate_and_removed_or_changed_files_join_what_is_there(mirror, files, tmp_path):
    source = f"{mirror.url}/{NAME}"
    fetch_from(source, tmp_path)
    folder = fetch_from(source, tmp_path, sampling_rate=500).folder
    assert tree_of(folder) == files
    assert fetch_from(source, tmp_path).up_to_date
    assert fetch_from(source, tmp_path, sampling_rate=500).up_to_date
    (folder / "records100/00000/00003_lr.dat").unlink()
    (folder / "records100/00000/00004_lr.dat").write_bytes(b"damaged")
    assert not fetch_from(source, tmp_path).up_to_date
    assert fetch.verify(folder, quiet=True).problems == ()


def test_cut_download_is_resumed_by_the_next_fetch(mirror, tmp_path):
    whole = mirror.files[NAME]
    mirror.behave = lambda n, h: h.answer(whole, send=98_304 if n == 0 else 0)
    message = "98304 bytes are kept; the same command goes on from there"
    refused(message, fetch_from, f"{mirror.url}/{NAME}", tmp_path)
    assert not list(tmp_path.glob("*.zip"))
    mirror.behave = None
    mirror.requests.clear()
    fetch_from(f"{mirror.url}/{NAME}", tmp_path)
    assert mirror.ranges_asked() == ["bytes=98304-"]


def flipped(content: bytes, at: int = -1) -> bytes:
    """The same bytes but for a bit."""
    damaged = bytearray(content)
    damaged[at] ^= 1
    return bytes(damaged)


RECORD = "records100/00000/00002_lr.dat"


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (lambda z, f: flipped(z, z.index(RECORD.encode()) + 500),
         r"(?s)damaged and was removed.*00002_lr\.dat"),
        (lambda z, f: zip_bytes({**f, RECORD: flipped(f[RECORD])}),  # with a right CRC
         r"00002_lr\.dat differs from its checksum"),
        (lambda z, f: z[: len(z) // 2], "not a readable zip archive"),  # as announced, half of it
    ],
)  # fmt: skip
def test_damage_in_the_archive_is_found_and_cured(mirror, files, tmp_path, damaged, message):
    good = mirror.files[NAME]
    mirror.files[NAME] = damaged(good, files)
    refused(message, fetch_from, f"{mirror.url}/{NAME}", tmp_path)
    assert not list(tmp_path.glob("*.zip*"))
    assert not (tmp_path / ptbxl.TOP_FOLDER).exists()
    mirror.files[NAME] = good
    fetch_from(f"{mirror.url}/{NAME}", tmp_path)


def test_tree_with_flipped_byte_missing_file_and_errors(mirror, tmp_path):
    source = f"{mirror.url}/tree/"
    name = "tree/records100/00000/00005_lr.dat"
    good = mirror.files[name]
    mirror.files[name] = flipped(good)
    refused(r"00005_lr.dat differs", fetch_from, source, tmp_path)
    del mirror.files[name]
    refused(r"00005_lr.dat is missing", fetch_from, source, tmp_path)
    mirror.files[name] = good
    mirror.requests.clear()

    def stumble(number: int, handler: Handler) -> bool | None:
        """Answer first with an error or a cut."""
        content = handler.content()
        if number or content is None:
            return False
        return handler.empty(503) if len(content) % 2 else handler.answer(content, send=5)

    mirror.behave = stumble
    fetch_from(source, tmp_path)
    # What had arrived before the first errors was not asked for again.
    asked = {path for path, _ in mirror.requests}
    assert "/tree/records100/00000/00001_lr.dat" not in asked


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], dict]:
    """Change a file; checksums are made right for it, unless they are the file."""

    def made(files: dict[str, bytes]) -> dict[str, bytes]:
        new = {**files, name: change(files[name])}
        return new if name == CHECKSUM_FILE else sign(new)

    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {n: c for n, c in f.items() if n != CHECKSUM_FILE}, "SHA256SUMS.txt is missing"),
        (changed(CHECKSUM_FILE, lambda c: re.sub(rb".*00003_lr\.dat\n", b"", c)),
         r"00003_lr\.dat is not listed"),
        (changed(ptbxl.DATABASE_FILE, lambda c: c.replace(b"records100/00000/00001", b"../../x")),
         "not a relative path"),
        (changed(RECORD, lambda c: c + bytes(64 * 2**20)), r"at most .* are allowed|larger than"),
        (changed(ptbxl.DATABASE_FILE, lambda c: c + bytes(300 * 2**20)),
         r"at most .* are allowed|larger than"),
    ],
)  # fmt: skip
def test_refused_archives(files, tmp_path, change, message):
    source = write_zip(tmp_path / "in.zip", change(files))
    start = time.monotonic()
    refused(message, fetch_from, str(source), tmp_path / "out")
    assert time.monotonic() - start < 20
    assert not (tmp_path / "out" / ptbxl.TOP_FOLDER).exists()


def test_hostile_members_beside_good_ones_are_never_unpacked(files, tmp_path):
    """Names that climb out, an absolute name, a link, and a bomb, beside good files."""
    source = write_zip(tmp_path / "in.zip", files)
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as target:
        for name in ("../escaped.txt", "/tmp/leadmin-escaped.txt", "{}/../../escaped.txt"):
            target.writestr(name.format(ptbxl.TOP_FOLDER), "out")
        target.writestr(f"{ptbxl.TOP_FOLDER}/records100/00000/..\\..\\escaped.txt", "out")
        link = zipfile.ZipInfo(f"{ptbxl.TOP_FOLDER}/link")
        link.external_attr = 0o120777 << 16
        target.writestr(link, "/etc/passwd")
        target.writestr(f"{ptbxl.TOP_FOLDER}/bomb", bytes(100 * 2**20))
    report = fetch_from(str(source), tmp_path / "deep" / "out")
    expected = {name for name in files if not name.startswith("records500")}
    assert set(tree_of(report.folder)) == expected
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/leadmin-escaped.txt").exists()


def test_a_link_in_the_target_is_not_written_through(files, tmp_path):
    outside = tmp_path / "outside.dat"
    outside.write_bytes(b"precious")
    staging = tmp_path / "out" / f".{ptbxl.TOP_FOLDER}.partial" / "records100" / "00000"
    staging.mkdir(parents=True)
    (staging / "00001_lr.dat").symlink_to(outside)
    fetch_from(str(write_zip(tmp_path / "in.zip", files)), tmp_path / "out")
    assert outside.read_bytes() == b"precious"


def test_disk_space_is_checked_first(mirror, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    refused(r"0.00 GB free; .* GB are needed", fetch_from, f"{mirror.url}/{NAME}", tmp_path)
    assert not (tmp_path / f"ptb-xl-{'x' * 8}.zip").exists()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1000


@pytest.mark.parametrize("rate", [0, 250, -100])
def test_unknown_rate(rate, tmp_path):
    refused("100 and 500 Hz", fetch_from, "x.zip", tmp_path, sampling_rate=rate)
    refused("100 and 500 Hz", fetch.verify, tmp_path, rate)


# --- verify and the command line ------------------------------------------------------------


def test_verify_names_every_bad_file(files, tmp_path):
    gone, cut, bad = names = [f"records100/00000/{number:05d}_lr" for number in (2, 5, 7)]
    changed = {name: content for name, content in files.items() if name != f"{gone}.dat"}
    changed[f"{cut}.dat"] = changed[f"{cut}.dat"][:-2]
    changed[f"{bad}.dat"] = flipped(changed[f"{bad}.dat"])
    report = fetch.verify(write_zip(tmp_path / "in.zip", changed), quiet=True)
    expected = list(zip(names, ("missing", "checksum", "checksum"), strict=True))
    assert [(p.file, p.reason) for p in report.problems] == expected
    assert report.n_records == 8


def test_verify_knows_the_published_counts(files, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "in.zip", files)
    counts = fetch.verify(source, quiet=True).class_counts["any"]
    monkeypatch.setattr(ptbxl, "N_RECORDS", 8)
    assert [p.reason for p in fetch.verify(source, quiet=True).problems] == ["counts"]
    monkeypatch.setattr(ptbxl, "OFFICIAL_COUNTS", counts)
    assert fetch.verify(source, quiet=True).problems == ()


def test_killed_fetch_is_finished_by_the_next(tmp_path):
    """SIGKILL while it unpacks; the next call keeps what is whole and completes it."""
    source = write_zip(tmp_path / "in.zip", make_files(300))
    out = tmp_path / "out"
    program = "import sys; from leadmin.cli.data import app; app()"
    command = [sys.executable, "-c", program, "fetch", "--from", str(source), "--to", str(out)]
    process = subprocess.Popen([*command, "--quiet"])
    staging = out / f".{ptbxl.TOP_FOLDER}.partial"
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(staging.glob("records100/*/*"))) > 100:
            process.kill()
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    assert not (out / ptbxl.TOP_FOLDER).exists()
    kept = {path: path.stat().st_mtime_ns for path in staging.glob("records100/*/*.hea")}
    assert len(kept) > 10
    report = fetch.fetch(out, str(source), quiet=True)
    assert not staging.exists()
    now = {path: (report.folder / path.relative_to(staging)).stat().st_mtime_ns for path in kept}
    assert len(set(kept.items()) - set(now.items())) <= 1  # the file that was being written
    assert fetch.verify(report.folder, quiet=True).problems == ()


def test_commands(mirror, files, tmp_path):
    def run(*arguments: object, code: int) -> str:
        result = CliRunner().invoke(app, [str(one) for one in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    out, table = tmp_path / "out", tmp_path / "problems.csv"
    folder = out / ptbxl.TOP_FOLDER
    text = run("fetch", "--from", f"{mirror.url}/{NAME}", "--to", out, "--quiet", code=0)
    assert "8 records at 100 Hz" in text
    assert "no problems found" in run("verify", "--from", folder, "--quiet", code=0)
    inside = folder / ptbxl.DATABASE_FILE
    assert "valid: a file outside of" in run("verify", "--from", folder, "--report", inside, code=2)
    (folder / "records100/00000/00001_lr.dat").unlink()
    text = run("verify", "--from", folder, "--report", table, "--quiet", code=2)
    assert "00001_lr.dat is missing" in text
    assert "00001_lr,missing," in table.read_text()
    assert "answered 404" in run("fetch", "--from", f"{mirror.url}/no.zip", "--to", out, code=2)
    assert "does not exist" in run("fetch", "--from", "no.zip", "--to", out, code=2)


def test_the_real_subset_over_http(tmp_path):
    """The whole real archive through a server that cuts every connection after 20 MB."""
    path = real("LEADMIN_PTBXL")
    if path.suffix != ".zip":
        pytest.skip("LEADMIN_PTBXL names no zip archive of PTB-XL")
    content = path.read_bytes()
    cuts = Served({NAME: content}, lambda n, h: h.answer(content, send=20_000_000))
    with serve(cuts) as served:
        report = fetch_from(f"{served.url}/{NAME}", tmp_path)
        assert len(served.requests) == -(-len(content) // 20_000_000)
    assert report.n_records == len(ptbxl.read_table(ptbxl.open_ptbxl(path)))
    listed = read_checksums(ptbxl.open_ptbxl(report.folder))
    for name in sorted(tree_of(report.folder))[:: report.n_files // 50]:
        if name != CHECKSUM_FILE:
            assert sha256(report.folder / name) == listed[name]
