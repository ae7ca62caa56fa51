"""Several hundred damaged sources of records: picked by hand, and mutated from fixed seeds.

Whatever comes in, `leadmin data prepare` answers with a sentence and exit code 2, or, where the
damage does not matter, with exactly the right data. It never leaves a file that a later step takes
for good.
"""

import csv
import functools
import io
import os
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from archives import COLUMNS, SAMPLE, make_files, sign, write_folder, write_zip, zip_bytes
from battery import Case, WrongError
from typer.testing import CliRunner

from leadmin.cli.data import app
from leadmin.data import ptbxl
from leadmin.data.archive import CHECKSUM_FILE
from leadmin.data.dataset import load_dataset
from leadmin.data.prepare import prepare
from leadmin.data.records import read_record
from leadmin.errors import LeadminError

N_RECORDS = 6
FIRST = "records100/00000/00001_lr"

Files = dict[str, bytes]
GOOD = make_files(N_RECORDS)
"""The undamaged archive."""

with tempfile.TemporaryDirectory() as _folder:
    prepare(write_zip(Path(_folder, "p.zip"), GOOD), Path(_folder, "x.h5"), quiet=True)
    PREPARED = Path(_folder, "x.h5").read_bytes()
    UNDAMAGED = load_dataset(Path(_folder, "x.h5"))


MUST_FAIL: dict[str, Callable[[Path], Path]] = {}
"""What writes the damaged archives that nothing may accept."""


def source(family: str, name: str, write: Callable[[Path], Path], must_fail: bool = True) -> Case:
    """A case of `leadmin data prepare`; ``must_fail`` is False where damage may not matter."""
    if must_fail and family in ("archives", "signals"):
        MUST_FAIL[name] = write

    def build(folder: Path) -> Callable[[], None]:
        path = write(folder / "in")
        return lambda: _prepare(path, folder / "out" / "x.h5", must_fail)

    return Case(family, name, build)


def _prepare(path: Path, target: Path, must_fail: bool) -> None:
    try:
        command("prepare", "--from", str(path), "--to", str(target), "--quiet")
    except LeadminError:
        left = {file.name for file in target.parent.glob("*x.*")} - {"x.failures.csv"}
        if left:
            raise WrongError(f"left {left}") from None
        raise
    if must_fail:
        raise WrongError("accepted")
    # What was accepted holds every record with exactly the samples it had before.
    found = load_dataset(target)
    by_signal = {signal.tobytes() for signal in UNDAMAGED.signals}
    if not 1 <= len(found) <= N_RECORDS or {s.tobytes() for s in found.signals} - by_signal:
        raise WrongError("other records")


def command(*arguments: str) -> None:
    """Run a data command; raise what it refuses with, as an error of the package."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 2 and result.stderr.startswith("error: "):
        raise LeadminError(result.stderr)
    if result.exit_code:
        raise WrongError(f"exit code {result.exit_code}: {result.output}")


def case(
    family: str, name: str, change: Callable[[Files], Files | None], must_fail: bool = True
) -> Case:
    """A case that changes files and then makes the checksums right, so that parsers see it."""

    def write(folder: Path) -> Path:
        files = dict(GOOD)
        changed = change(files)
        return write_zip(folder / "ptb.zip", sign(files if changed is None else changed))

    return source(family, name, write, must_fail)


# --- fields of the tables -------------------------------------------------------------------

_VALUES = {
    "empty": "",
    "word": "abc",
    "negative": "-1",
    "fraction": "2.5",
    "huge": "99999999999999999999",
    "beyond float": "1e999",
    "nan": "nan",
    "inf": "-inf",
    "hex": "0x10",
    "formula": "=cmd()",
    "other digits": "٣",
    "heart": "🫀",
    "long": "9" * 100_000,
    "newline": "1\n2",
    "quote": '"',
    "traversal": "../../../etc/passwd",
}
_ODD = set(_VALUES)
_FIELDS = {
    **dict.fromkeys(("scp_codes", "filename_lr"), _ODD),
    **dict.fromkeys(("ecg_id", "patient_id", "strat_fold"), _ODD - {"other digits"}),
    **dict.fromkeys(("age", "height"), _ODD - {"empty", "fraction", "other digits"}),
    **dict.fromkeys(("sex", "site"), _ODD - {"empty", "other digits"}),
    "validated_by_human": _ODD - {"empty"},
    "device": {"long"},
    "report": set(),
}
"""Field to the values that must not be accepted there."""


def _set_field(files: Files, column: str, value: str, row: int = 2) -> Files:
    rows = list(csv.reader(io.StringIO(files[ptbxl.DATABASE_FILE].decode(), newline="")))
    rows[row][COLUMNS.index(column)] = value
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return {**files, ptbxl.DATABASE_FILE: text.getvalue().encode()}


FIELD_CASES = [
    case(
        "tables",
        f"{column}: {name}",
        functools.partial(_set_field, column=column, value=value),
        must_fail=name in refused,
    )
    for column, refused in _FIELDS.items()
    for name, value in _VALUES.items()
]


def _in_member(member: str, change: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    return lambda files: {**files, member: change(files[member])}


_DB, _SCP, _SUMS = ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE, CHECKSUM_FILE

TABLE_CASES = [
    case("tables", f"{member}: {name}", _in_member(member, change), must_fail)
    for member in (_DB, _SCP)
    for name, change, must_fail in (
        ("empty", lambda c: b"", True),
        ("one newline", lambda c: b"\n", True),
        ("header only", lambda c: c.splitlines()[0], True),
        ("latin-1", lambda c: c.replace(b"e", "é".encode("latin-1")), True),
        ("utf-16", lambda c: c.decode().encode("utf-16"), True),
        ("zero bytes", lambda c: c[:200] + bytes(10) + c[200:], True),
        ("only zero bytes", lambda c: bytes(1000), True),
        ("binary", lambda c: np.random.default_rng(0).bytes(5000), True),
        ("semicolons", lambda c: c.replace(b",", b";"), True),
        ("open quote", lambda c: c + b'"', False),
        ("half", lambda c: c[: len(c) // 2], True),
        ("BOM", lambda c: b"\xef\xbb\xbf" + c, False),
        ("CRLF", lambda c: c.replace(b"\n", b"\r\n"), False),
        ("blank lines", lambda c: c.replace(b"\n", b"\n\n"), False),
        ("no newline at end", lambda c: c.rstrip(b"\n"), False),
    )
] + [
    case("tables", "no ptbxl_database.csv", lambda f: f.pop(_DB) and None),
    case("tables", "no scp_statements.csv", lambda f: f.pop(_SCP) and None),
    case("tables", "every id the same", _in_member(_DB, lambda c: c.replace(b"\n2,", b"\n1,"))),
    case("tables", "a row twice", _in_member(_DB, lambda c: c + c.splitlines(keepends=True)[-1])),
    case("tables", "a column twice", _in_member(_DB, lambda c: c.replace(b"nurse", b"age"))),
    case("tables", "a row too long", _in_member(_DB, lambda c: c.rstrip(b"\n") + b",1,2,3,4\n")),
    case("tables", "header too short", _in_member(_DB, lambda c: c.replace(b",filename_hr", b""))),
    case("tables", "a million commas", _in_member(_DB, lambda c: c + b"," * 1_000_000)),
    case("tables", "ten million columns", _in_member(_DB, lambda c: b"," * 10_000_000 + c)),
    case("tables", "a million columns", _in_member(_SCP, lambda c: b"x," * 1_000_000 + c)),
    case("tables", "patient in two folds", lambda f: _set_field(f, "strat_fold", "9")),
    case("tables", "deep nesting", lambda f: _set_field(f, "scp_codes", "[" * 2000 + "]" * 2000)),
    case("tables", "code runs", lambda f: _set_field(f, "scp_codes", "__import__('os').abort()")),
    case("tables", "file of another record", lambda f: _set_field(f, "filename_lr", FIRST)),
]


# --- checksums ------------------------------------------------------------------------------


def _sums(name: str, change: Callable[[bytes], bytes], must_fail: bool = True) -> Case:
    def write(folder: Path) -> Path:
        return write_zip(folder / "ptb.zip", {**GOOD, _SUMS: change(GOOD[_SUMS])})

    return source("checksums", name, write, must_fail)


CHECKSUM_CASES = [
    _sums("all wrong", lambda c: c.replace(b"a", b"b")),
    _sums("not hexadecimal", lambda c: c.replace(b"a", b"z")),
    _sums("too short", lambda c: b"\n".join(line[1:] for line in c.splitlines())),
    _sums("binary", lambda c: np.random.default_rng(1).bytes(3000)),
    _sums("latin-1", lambda c: c + "é".encode("latin-1")),
    _sums("climbs out", lambda c: c + b"0" * 64 + b" ../../etc/passwd\n"),
    _sums("twice, differently", lambda c: c + b"0" * 64 + b" RECORDS\n" + b"1" * 64 + b" RECORDS"),
    _sums("empty", lambda c: b"", must_fail=False),
    _sums("capital letters", lambda c: c.upper().replace(b"RECORDS100", b"records100"), False),
]


# --- records --------------------------------------------------------------------------------


def _header(name: str, change: Callable[[str], str], must_fail: bool = True) -> Case:
    return case(
        "headers",
        name,
        _in_member(f"{FIRST}.hea", lambda c: change(c.decode()).encode("utf-8", "surrogateescape")),
        must_fail,
    )


def _swap(text: str, old: str, new: str, count: int) -> str:
    assert old in text
    return text.replace(old, new, count)


def _line(number: int, text: str) -> Callable[[str], str]:
    def change(header: str) -> str:
        lines = header.split("\n")
        lines[number] = text
        return "\n".join(lines)

    return change


_FIRST_LINES = (
    "_lr 0 100 1000", "_lr -12 100 1000", "_lr 999999999 100 1000", "_lr 12 500 1000",
    "_lr 12 0 1000", "_lr 12 nan 1000", "_lr 12 100", "_lr 12 100 999", "_lr 12 100 100000000000",
    "_lr 12 100 " + "9" * 30, "_lr/2 12 100 1000",
)  # fmt: skip
_EVERYWHERE = (
    ("_lr 12 ", "_lr 13 "), (" V6", " V7"), (" V6", " V1"), (" V6", ""),
    *((".dat 16 ", f".dat {odd} ") for odd in ("17", "212", "516", "8", "16x4", "16:10", "16+100")),
    *(("00001_lr.dat", file) for file in ("absent.dat", "..", "00001_lr.hea", "00002_lr.dat", "~")),
    (" 0 AVR", "1 0 AVR"), ("AVR", "A\udce4R"),
)  # fmt: skip
_ONCE = (
    ("\n", ""), *(("1000.0(0)", f"{gain}(0)") for gain in ("0", "-1000", "nan", "1e-300", "1e300")),
    ("(0)", "(99999999999)"), ("/mV", "/furlong"), ("/mV", ""),
    ("/mV", "/µV"),  # which wfdb would read as V
    (".dat 16 ", ".dat 212 "), (".dat 16 ", ".dat 516 "),
)  # fmt: skip

HEADER_CASES = [
    *(_header(f"first line {text}", _line(0, f"00001{text}")) for text in _FIRST_LINES),
    *(
        _header(
            f"{how} {old!a} to {new!a}", functools.partial(_swap, old=old, new=new, count=count)
        )
        for how, pairs, count in (("all", _EVERYWHERE, -1), ("one", _ONCE, 1))
        for old, new in pairs
    ),
    _header("empty", lambda t: ""),
    _header("only comments", lambda t: "# nothing\n"),
    _header("no lines of signals", lambda t: t.split("\n")[0]),
    _header("a line too many", lambda t: t + t.split("\n")[-2] + "\n"),
    _header("other name", _line(0, "00002_lr 12 100 1000")),
    _header("name with a path", _line(0, "../00001_lr 12 100 1000")),
    _header("two names swapped", lambda t: t.replace(" V6", " x").replace(" V5", " V6")),
    _header("zero bytes", lambda t: t.replace(" ", "\0", 3)),
    _header("backtracking", _line(1, "00001_lr.dat 16 " + "1" * 5000 + "!")),
    _header("a long line", lambda t: t + "# " + "x" * 1_000_000, must_fail=False),
    _header("a comment", lambda t: t + "# <age>: 56\n", must_fail=False),
    _header("CRLF", lambda t: t.replace("\n", "\r\n"), must_fail=False),
    _header("spaces", lambda t: t.replace(" ", "   "), must_fail=False),
]


def _data(name: str, change: Callable[[bytes], bytes], must_fail: bool = True) -> Case:
    return case("signals", name, _in_member(f"{FIRST}.dat", change), must_fail)


def _zeros(files: Files) -> Files:
    header = files[f"{FIRST}.hea"].decode().split("\n")
    for number in range(1, 13):
        fields = header[number].split(" ")
        fields[5] = fields[6] = "0"
        header[number] = " ".join(fields)
    content = {f"{FIRST}.hea": "\n".join(header).encode(), f"{FIRST}.dat": bytes(24_000)}
    return {**files, **content}


DATA_CASES = [
    _data("empty", lambda c: b""),
    _data("one byte", lambda c: c[:1]),
    _data("one byte short", lambda c: c[:-1]),
    _data("one sample short", lambda c: c[:-2]),
    _data("one frame short", lambda c: c[:-24]),
    _data("one byte more", lambda c: c + b"\0"),
    _data("one frame more", lambda c: c + bytes(24)),
    _data("twice", lambda c: c + c),
    _data("10 MB", lambda c: c + bytes(10_000_000)),
    _data("big-endian", lambda c: np.frombuffer(c, "<i2").astype(">i2").tobytes()),
    _data("text", lambda c: b"0,1,2\n" * 4000),
    _data("shifted", lambda c: c[1:] + b"\0"),
    _data("transposed", lambda c: np.frombuffer(c, "<i2").reshape(-1, 12).T.tobytes()),
    _data("random", lambda c: np.random.default_rng(2).bytes(len(c))),
    case("signals", "all zero, checksums right", _zeros),
    case("signals", "missing", lambda f: f.pop(f"{FIRST}.dat") and None),
    case("headers", "missing", lambda f: f.pop(f"{FIRST}.hea") and None),
    case("signals", "all missing", lambda f: {k: v for k, v in f.items() if "records" not in k}),
]  # fmt: skip
DATA_CASES += [
    _data(f"cut after {cut} bytes", lambda c, cut=cut: c[:cut])
    for cut in np.random.default_rng(3).integers(0, 24_000, 10).tolist()
]


# --- the archive itself ---------------------------------------------------------------------


GOOD_ZIP = zip_bytes(GOOD)


def _raw(name: str, content: Callable[[], bytes], must_fail: bool = True) -> Case:
    def write(folder: Path) -> Path:
        (folder / "ptb.zip").write_bytes(content())
        return folder / "ptb.zip"

    return source("archives", name, write, must_fail)


def _members(name: str, extra: Callable[[zipfile.ZipFile], None], must_fail: bool) -> Case:
    def write(folder: Path) -> Path:
        path = write_zip(folder / "ptb.zip", GOOD)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as target:
            extra(target)
        return path

    return source("archives", name, write, must_fail)


def _patched(fmt: str, offset: int, value: int) -> bytes:
    """Overwrite a field in every entry of the zip's central directory."""
    content = bytearray(GOOD_ZIP)
    at = content.find(b"PK\1\2")
    while at >= 0:
        struct.pack_into(fmt, content, at + offset, value)
        at = content.find(b"PK\1\2", at + 4)
    return bytes(content)


def _bomb(target: zipfile.ZipFile) -> None:
    with target.open(f"{ptbxl.TOP_FOLDER}/bomb", "w", force_zip64=True) as bomb:
        for _ in range(64):
            bomb.write(bytes(2**20))


def _twice(target: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target.writestr(f"{ptbxl.TOP_FOLDER}/{FIRST}.dat", b"other")


def _link(target: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo(f"{ptbxl.TOP_FOLDER}/link")
    info.external_attr = 0o120777 << 16
    target.writestr(info, "/etc/passwd")


ARCHIVE_CASES = [
    _raw("empty file", lambda: b""),
    _raw("text", lambda: b"not a zip"),
    _raw("only the magic", lambda: b"PK\3\4"),
    _raw("end record alone", lambda: b"PK\5\6" + bytes(18)),
    _raw("html error page", lambda: b"<html>404</html>" * 1000),
    _raw("random", lambda: np.random.default_rng(4).bytes(100_000)),
    _raw("zeros", lambda: bytes(100_000)),
    _raw("encrypted flag", lambda: _patched("<H", 8, 1)),
    _raw("unknown compression", lambda: _patched("<H", 10, 99)),
    _raw("sizes of 0", lambda: _patched("<I", 24, 0)),
    _raw("sizes of 4 GB", lambda: _patched("<I", 24, 2**32 - 2)),
    _raw("bytes before it", lambda: b"#!/bin/sh\n" + GOOD_ZIP, must_fail=False),
    _raw("bytes after it", lambda: GOOD_ZIP + bytes(100), must_fail=False),
    _members("member ../", lambda t: t.writestr("../out.txt", "x"), False),
    _members("member a/../../", lambda t: t.writestr("a/../../out.txt", "x"), False),
    _members("member /", lambda t: t.writestr("/out.txt", "x"), False),
    _members("a link", _link, False),
    _members("a bomb that nobody needs", _bomb, False),
    _members("a member twice", _twice, True),
    _members("two databases", lambda t: t.writestr(f"b/{_DB}", "x"), True),
    source("archives", "no top folder", lambda f: write_zip(f / "p.zip", GOOD, ""), False),
    source("archives", "top folder ..", lambda f: write_zip(f / "p.zip", GOOD, ".."), False),
    source("archives", "two levels down", lambda f: write_zip(f / "p.zip", GOOD, "a/b"), True),
    case("archives", "a bomb for a record", lambda f: {**f, f"{FIRST}.dat": bytes(64 * 2**20)}),
    case("archives", "a bomb for a header", lambda f: {**f, f"{FIRST}.hea": b"\n" * (64 * 2**20)}),
    case("archives", "a bomb for a table", lambda f: {**f, _DB: bytes(300 * 2**20)}),
    source("archives", "nothing there", lambda f: f / "absent.zip"),
    source("archives", "an empty folder", lambda f: f),
    source("archives", "a device", lambda f: Path("/dev/null")),
]


def _in_folder(name: str, change: Callable[[Path], None], must_fail: bool = True) -> Case:
    def write(folder: Path) -> Path:
        path = write_folder(folder / "ptb", GOOD)
        change(path)
        return path

    return source("archives", f"folder: {name}", write, must_fail)


def _replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = path / f"{FIRST}.dat"
        file.unlink()
        make(file)

    return change


ARCHIVE_CASES += [
    _in_folder("a pipe for a record", _replaced_by(lambda file: os.mkfifo(file))),
    _in_folder("a folder for a record", _replaced_by(lambda file: file.mkdir())),
    _in_folder("a dead link", _replaced_by(lambda file: file.symlink_to("/nowhere"))),
    _in_folder("a link in a circle", _replaced_by(lambda file: file.symlink_to(file))),
    _in_folder("an endless device", _replaced_by(lambda file: file.symlink_to("/dev/zero"))),
    _in_folder("records renamed", lambda path: (path / "records100").rename(path / "records")),
]
ARCHIVE_CASES += [
    _raw(f"cut at {share:.0%}", lambda share=share: GOOD_ZIP[: int(share * len(GOOD_ZIP))])
    for share in np.linspace(0.02, 0.98, 13).tolist()
]


# --- random mutations -----------------------------------------------------------------------


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: flip bits, overwrite, cut, insert, repeat, or swap in strange text."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(1, len(data))))
        kind = int(rng.integers(0, 7))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + int(rng.integers(1, 20))] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 200))]
        elif kind == 3:
            data[at:at] = rng.bytes(int(rng.integers(1, 50)))
        elif kind == 4:
            data[at:at] = data[at : at + int(rng.integers(1, 100))]
        elif kind == 5:
            strange = ["-1", "9" * 40, "nan", "\n", ",", '"', "é", "\0", "..", "/", "1e999", "%s"]
            data[at : at + 3] = str(rng.choice(strange)).encode("latin-1")
        else:
            data = data[:at]
    return bytes(data)


def _mutated_member(files: Files, seed: int) -> Files:
    rng = np.random.default_rng([7, seed])
    texts = [_DB, _SCP, f"{FIRST}.hea", f"{FIRST}.dat"]
    member = texts[int(rng.choice(4, p=[0.4, 0.15, 0.35, 0.1]))]
    return {**files, member: mutate(files[member], rng)}


def _mutated_zip(seed: int) -> bytes:
    return mutate(GOOD_ZIP, np.random.default_rng([8, seed]))


FUZZ_CASES = [
    *(
        case("mutated members", f"{n}", functools.partial(_mutated_member, seed=n), False)
        for n in range(100)
    ),
    *(_raw(f"mutated, seed {n}", functools.partial(_mutated_zip, n), False) for n in range(40)),
]


# --- fetching, FLAC, HDF5 ---------------------------------------------------------------------


def _fetched(write: Callable[[Path], Path], folder: Path) -> Callable[[], None]:
    path, out = write(folder / "in"), folder / "out"

    def call() -> None:
        try:
            command("fetch", "--from", str(path), "--to", str(out), "--quiet")
        except LeadminError:
            if (out / ptbxl.TOP_FOLDER).exists():
                raise WrongError("left a folder") from None
            raise
        # Checksums were made right for the damage, and fetching does not look into signals: the
        # step after it has to refuse.
        _prepare(out, out / "x.h5", must_fail=True)

    return call


FETCH_CASES = [
    Case("fetch", name, functools.partial(_fetched, write))
    for name, write in list(MUST_FAIL.items())[::3]
]

_SAMPLE = ptbxl.open_ptbxl(SAMPLE)
_FLAC = ptbxl.read_table(_SAMPLE).files[100][0]
_FLAC_FILES = {
    f"{_FLAC}{s}": _SAMPLE.read(f"{_FLAC}{s}", 10**6) for s in (".hea", ".dat", "_chest.dat")
}
_FLAC_SIGNAL = read_record(_SAMPLE, _FLAC, 100)[0]


def _flac(seed: int, folder: Path) -> Callable[[], None]:
    """Damage one record of the embedded sample."""
    rng = np.random.default_rng([9, seed])
    member = f"{_FLAC}{rng.choice(['.dat', '_chest.dat'])}"
    whole = _FLAC_FILES[member]
    if seed < 10:  # cut the file
        content = whole[: int(rng.integers(0, len(whole)))]
    elif seed < 20:  # damage its first bytes, which say how long it is and how it is coded
        at = int(rng.integers(0, 60))
        content = whole[:at] + rng.bytes(4) + whole[at + 4 :]
    else:
        content = mutate(whole, rng)
    path = write_folder(folder / "in", {**_FLAC_FILES, member: content, _DB: b"x", _SCP: b"x"})

    def call() -> None:
        if not np.array_equal(read_record(ptbxl.open_ptbxl(path), _FLAC, 100)[0], _FLAC_SIGNAL):
            raise WrongError("other samples")

    return call


def _hdf5(seed: int, folder: Path) -> Callable[[], None]:
    rng = np.random.default_rng([10, seed])
    content = bytearray(PREPARED)
    signals = content.find(UNDAMAGED.signals[0].tobytes())
    end = signals + UNDAMAGED.signals.nbytes
    if seed < 20:
        content = content[: int(rng.integers(0, len(content)))]
    for _ in range(0 if seed < 20 else int(rng.integers(1, 6))):
        # Everywhere, but mostly in the structure and the tables, which are small.
        inside = rng.random() < 0.2
        outside = int(rng.integers(len(content) - (end - signals)))
        at = int(rng.integers(signals, end)) if inside else outside
        at += (end - signals) if not inside and outside >= signals else 0
        content[at] = int(rng.integers(256))
    path = folder / "in" / "x.h5"
    path.write_bytes(content)

    def call() -> None:
        found = load_dataset(path)
        same = all(
            np.array_equal(found.labels[policy], labels)
            for policy, labels in UNDAMAGED.labels.items()
        )
        for name in ("signals", "fold", "patient_id"):
            same &= np.array_equal(getattr(found, name), getattr(UNDAMAGED, name))
        if not same or not found.metadata.equals(UNDAMAGED.metadata):
            raise WrongError("other content")

    return call


SOURCE_CASES = [
    *(*FIELD_CASES, *TABLE_CASES, *CHECKSUM_CASES, *HEADER_CASES, *DATA_CASES, *ARCHIVE_CASES),
    *(*FUZZ_CASES, *FETCH_CASES),
    *(Case("FLAC", f"{seed}", functools.partial(_flac, seed)) for seed in range(50)),
    *(Case("HDF5", f"{seed}", functools.partial(_hdf5, seed)) for seed in range(80)),
]
