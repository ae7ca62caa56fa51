"""Several hundred damaged sources of records: picked by hand, and mutated from fixed seeds.

Whatever comes in, `leadmin data prepare` answers with a sentence and exit code 2, or, where the
damage does not matter, with exactly the right data. It never leaves a file that a later step takes
for good.
"""

import csv
import functools
import io
import os
import re
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from archives import COLUMNS, SAMPLE, make_files, sign, write_folder, write_zip, zip_bytes
from battery import Case, WrongError, mutate, rng
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
Change = Callable[[bytes], bytes]
FilesChange = Callable[[Files], Files]
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


def changed(family: str, name: str, change: FilesChange, must_fail: bool = True) -> Case:
    """A case that changes files and then makes the checksums right, so that parsers see it."""

    def write(folder: Path) -> Path:
        return write_zip(folder / "ptb.zip", sign(change(dict(GOOD))))

    return source(family, name, write, must_fail)


def of_member(
    family: str, member: str, changes: Mapping[str, Change], must_fail: bool = True
) -> list[Case]:
    """Cases that change one member."""
    found = []
    for name, change in changes.items():
        new = lambda files, change=change: {**files, member: change(files[member])}  # noqa: E731
        found.append(changed(family, f"{member.rpartition('/')[2]}: {name}", new, must_fail))
    return found


def without(ends: str) -> FilesChange:
    return lambda files: {n: content for n, content in files.items() if not n.endswith(ends)}


TEXTS: dict[str, Change] = {
    "empty": lambda c: b"",
    "one newline": lambda c: b"\n",
    "half": lambda c: c[: len(c) // 2],
    "null": lambda c: b"null",
    "a number": lambda c: b"5",
    "a list": lambda c: b"[1, 2]",
    "deep": lambda c: b"[" * 100_000,
    "deep and closed": lambda c: b"[" * 50_000 + b"]" * 50_000,
    "deep mapping": lambda c: b'{"a":' * 50_000,
    "latin-1": lambda c: c.replace(b"1", "é".encode("latin-1")),
    "utf-16": lambda c: c.decode().encode("utf-16"),
    "zero bytes": lambda c: c[:20] + bytes(20) + c[20:],
    "only zero bytes": lambda c: bytes(1000),
    "binary": lambda c: rng(0).bytes(5000),
    "long": lambda c: b"9" * 5_000_000,
}
"""What is done to any text file, none of which may be accepted."""

HARMLESS: dict[str, Change] = {
    "CRLF": lambda c: c.replace(b"\n", b"\r\n"),
    "blank lines": lambda c: c.replace(b"\n", b"\n\n"),
    "no newline at end": lambda c: c.rstrip(b"\n"),
}
_DB, _SCP, _SUMS = ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE, CHECKSUM_FILE
_HEA, _DAT = f"{FIRST}.hea", f"{FIRST}.dat"


# --- tables and checksums -------------------------------------------------------------------

_VALUES = {
    "empty": "", "word": "abc", "negative": "-1", "fraction": "2.5", "nan": "nan", "inf": "-inf",
    "huge": "99999999999999999999", "beyond float": "1e999", "hex": "0x10", "formula": "=cmd()",
    "other digits": "٣", "heart": "🫀", "long": "9" * 100_000, "newline": "1\n2", "quote": '"',
    "traversal": "../../../etc/passwd",
}  # fmt: skip
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


def _field(column: str, value: str) -> FilesChange:
    def change(files: Files) -> Files:
        rows = list(csv.reader(io.StringIO(files[_DB].decode(), newline="")))
        rows[2][COLUMNS.index(column)] = value
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        return {**files, _DB: text.getvalue().encode()}

    return change


TABLE_CASES = [
    changed("tables", f"{column}: {name}", _field(column, value), name in refused)
    for column, refused in _FIELDS.items()
    for name, value in _VALUES.items()
]
for _table in (_DB, _SCP):
    more: dict[str, Change] = {
        "header only": lambda c: c.splitlines()[0],
        "semicolons": lambda c: c.replace(b",", b";"),
        "a million columns": lambda c: b"x," * 1_000_000 + c,
        "ten million columns": lambda c: b"," * 10_000_000 + c,
    }
    TABLE_CASES += of_member("tables", _table, TEXTS | more)
    accepted: dict[str, Change] = {
        "open quote": lambda c: c + b'"',
        "BOM": lambda c: b"\xef\xbb\xbf" + c,
    }
    TABLE_CASES += of_member("tables", _table, HARMLESS | accepted, must_fail=False)
    TABLE_CASES.append(changed("tables", f"no {_table}", without(_table)))
TABLE_CASES += of_member(
    "tables",
    _DB,
    {
        "every id the same": lambda c: c.replace(b"\n2,", b"\n1,"),
        "a row twice": lambda c: c + c.splitlines(keepends=True)[-1],
        "a column twice": lambda c: c.replace(b"nurse", b"age"),
        "a row too long": lambda c: c.rstrip(b"\n") + b",1,2,3,4\n",
        "header too short": lambda c: c.replace(b",filename_hr", b""),
        "a million commas": lambda c: c + b"," * 1_000_000,
    },
)
TABLE_CASES += [
    changed("tables", "patient in two folds", _field("strat_fold", "9")),
    changed("tables", "deep nesting", _field("scp_codes", "[" * 2000 + "]" * 2000)),
    changed("tables", "code runs", _field("scp_codes", "__import__('os').abort()")),
    changed("tables", "file of another record", _field("filename_lr", FIRST)),
]


def _sums(name: str, change: Change, must_fail: bool = True) -> Case:
    files = {**GOOD, _SUMS: change(GOOD[_SUMS])}
    return source("checksums", name, lambda f: write_zip(f / "ptb.zip", files), must_fail)


CHECKSUM_CASES = [
    *(_sums(name, change, False) for name, change in HARMLESS.items()),
    *(_sums(name, change, name not in ("empty", "one newline")) for name, change in TEXTS.items()),
    _sums("all wrong", lambda c: c.replace(b"a", b"b")),
    _sums("not hexadecimal", lambda c: c.replace(b"a", b"z")),
    _sums("too short", lambda c: b"\n".join(line[1:] for line in c.splitlines())),
    _sums("climbs out", lambda c: c + b"0" * 64 + b" ../../etc/passwd\n"),
    _sums("twice, differently", lambda c: c + b"0" * 64 + b" RECORDS\n" + b"1" * 64 + b" RECORDS"),
    _sums("capital letters", lambda c: c.upper().replace(b"RECORDS100", b"records100"), False),
]


# --- records --------------------------------------------------------------------------------


def _replaced(old: str, new: str, count: int) -> Change:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode("utf-8", "surrogateescape"), count)

    return change


_FIRST_LINES = (
    "1_lr 0 100 1000", "1_lr -12 100 1000", "1_lr 999999999 100 1000", "1_lr 12 500 1000",
    "1_lr 12 0 1000", "1_lr 12 nan 1000", "1_lr 12 100", "1_lr 12 100 999", "2_lr 12 100 1000",
    "1_lr 12 100 100000000000", "1_lr 12 100 " + "9" * 30, "1_lr/2 12 100 1000",
    "1_lr 13 100 1000", "1/../00001_lr 12 100 1000",
)  # fmt: skip
_EVERYWHERE = (
    (" V6", " V7"), (" V6", " V1"), (" V6", ""), (" 0 AVR", "1 0 AVR"), ("AVR", "A\udce4R"),
    *((".dat 16 ", f".dat {odd} ") for odd in ("17", "61", "212", "516", "8", "16x4")),
    *((".dat 16 ", f".dat {odd} ") for odd in ("16:10", "16+100")),
    *(("00001_lr.dat", file) for file in ("absent.dat", "..", "00001_lr.hea", "00002_lr.dat", "~")),
)  # fmt: skip
_ONCE = (
    ("\n", ""), *(("1000.0(0)", f"{gain}(0)") for gain in ("0", "-1000", "nan", "1e-300", "1e300")),
    ("(0)", "(99999999999)"), ("/mV", "/furlong"), ("/mV", ""),
    ("/mV", "/µV"),  # which wfdb would read as V
    (".dat 16 ", ".dat 212 "), (".dat 16 ", ".dat 516 "), (".dat 16 ", f".dat 16 {'1' * 5000}!"),
)  # fmt: skip
_HEADERS: dict[str, Change] = {
    **TEXTS,
    **{f"first line {t}": _replaced("1_lr 12 100 1000", t, 1) for t in _FIRST_LINES},
    **{f"all {old!a} to {new!a}": _replaced(old, new, -1) for old, new in _EVERYWHERE},
    **{f"one {old!a} to {new[:20]!a}": _replaced(old, new, 1) for old, new in _ONCE},
    "only comments": lambda c: b"# nothing\n",
    "no lines of signals": lambda c: c.split(b"\n")[0],
    "a line too many": lambda c: c + c.split(b"\n")[-2] + b"\n",
    "two names swapped": lambda c: c.replace(b" V6", b" x").replace(b" V5", b" V6"),
}
_FINE: dict[str, Change] = {
    **HARMLESS,
    "a long line": lambda c: c + b"# " + b"x" * 1_000_000,
    "a comment": lambda c: c + b"# <age>: 56\n",
    "spaces": lambda c: c.replace(b" ", b"   "),
}
_SIGNALS: dict[str, Change] = {
    "empty": lambda c: b"",
    "one byte": lambda c: c[:1],
    "one byte short": lambda c: c[:-1],
    "one frame short": lambda c: c[:-24],
    "one byte more": lambda c: c + b"\0",
    "one frame more": lambda c: c + bytes(24),
    "10 MB": lambda c: c + bytes(10_000_000),
    "big-endian": lambda c: np.frombuffer(c, "<i2").astype(">i2").tobytes(),
    "text": lambda c: b"0,1,2\n" * 4000,
    "shifted": lambda c: c[1:] + b"\0",
    "transposed": lambda c: np.frombuffer(c, "<i2").reshape(-1, 12).T.tobytes(),
    "random": lambda c: rng(2).bytes(len(c)),
    "a bomb": lambda c: bytes(64 * 2**20),
    **{f"cut at {n}": (lambda c, n=n: c[:n]) for n in rng(3).integers(0, 24_000, 10).tolist()},
}


def _zeros(files: Files) -> Files:
    """Zero everywhere, with checksums that are right."""
    text = re.sub(r"16 0 \S+ \S+ 0", "16 0 0 0 0", files[_HEA].decode())
    return {**files, _HEA: text.encode(), _DAT: bytes(24_000)}


RECORD_CASES = [
    *of_member("headers", _HEA, _HEADERS | {"a bomb": lambda c: b"\n" * (64 * 2**20)}),
    *of_member("headers", _HEA, _FINE, must_fail=False),
    *of_member("signals", _DAT, _SIGNALS),
    changed("signals", "all zero, checksums right", _zeros),
    changed("signals", "missing", without(_DAT)),
    changed("headers", "missing", without(_HEA)),
    changed("signals", "all missing", without("_lr.dat")),
]


# --- the archive itself ---------------------------------------------------------------------

GOOD_ZIP = zip_bytes(GOOD)


def _raw(name: str, content: bytes, must_fail: bool = True) -> Case:
    def write(folder: Path) -> Path:
        (folder / "ptb.zip").write_bytes(content)
        return folder / "ptb.zip"

    return source("archives", name, write, must_fail)


def _member(name: str, content: bytes | str, must_fail: bool = False, kind: int = 0o100) -> Case:
    """A zip file with one member more."""

    def write(folder: Path) -> Path:
        path = write_zip(folder / "ptb.zip", GOOD)
        info = zipfile.ZipInfo(name.format(ptbxl.TOP_FOLDER))
        info.external_attr = (kind << 9 | 0o644) << 16
        with zipfile.ZipFile(path, "a") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there already
            target.writestr(info, content, zipfile.ZIP_DEFLATED)
        return path

    return source("archives", f"member {name}", write, must_fail)


def _patched(fmt: str, offset: int, value: int) -> bytes:
    """Overwrite a field in every entry of the zip's central directory."""
    content = bytearray(GOOD_ZIP)
    for match in re.finditer(b"PK\1\2", GOOD_ZIP):
        struct.pack_into(fmt, content, match.start() + offset, value)
    return bytes(content)


def _in_folder(name: str, make: Callable[[Path], object]) -> Case:
    """An unpacked archive with something else in place of a file of samples."""

    def write(folder: Path) -> Path:
        path = write_folder(folder / "ptb", GOOD)
        (path / _DAT).unlink()
        make(path / _DAT)
        return path

    return source("archives", f"in a folder {name}", write)


ARCHIVE_CASES = [
    _raw("empty file", b""),
    _raw("text", b"not a zip"),
    _raw("only the magic", b"PK\3\4"),
    _raw("end record alone", b"PK\5\6" + bytes(18)),
    _raw("html error page", b"<html>404</html>" * 1000),
    _raw("random", rng(4).bytes(100_000)),
    _raw("zeros", bytes(100_000)),
    _raw("encrypted flag", _patched("<H", 8, 1)),
    _raw("unknown compression", _patched("<H", 10, 99)),
    _raw("sizes of 0", _patched("<I", 24, 0)),
    _raw("sizes of 4 GB", _patched("<I", 24, 2**32 - 2)),
    _raw("bytes before it", b"#!/bin/sh\n" + GOOD_ZIP, must_fail=False),
    _raw("bytes after it", GOOD_ZIP + bytes(100), must_fail=False),
    *(_raw(f"cut at {n} in 14", GOOD_ZIP[: n * len(GOOD_ZIP) // 14]) for n in range(1, 14)),
    *(_raw(f"mutated {n}", mutate(GOOD_ZIP, rng(8, n)), must_fail=False) for n in range(40)),
    *(_member(name, "x") for name in ("../out.txt", "a/../../out.txt", "/out.txt")),
    _member("{}/link", "/etc/passwd", kind=0o120),
    _member("{}/bomb", bytes(64 * 2**20)),
    _member(f"{{}}/{_DAT}", "other", must_fail=True),
    _member(f"b/{_DB}", "x", must_fail=True),
    source("archives", "no top folder", lambda f: write_zip(f / "p.zip", GOOD, ""), False),
    source("archives", "top folder ..", lambda f: write_zip(f / "p.zip", GOOD, ".."), False),
    source("archives", "two levels down", lambda f: write_zip(f / "p.zip", GOOD, "a/b")),
    changed("archives", "a bomb for a table", lambda f: {**f, _DB: bytes(300 * 2**20)}),
    source("archives", "nothing there", lambda f: f / "absent.zip"),
    source("archives", "an empty folder", lambda f: f),
    source("archives", "a device", lambda f: Path("/dev/null")),
    _in_folder("a pipe", os.mkfifo),
    _in_folder("a folder", Path.mkdir),
    _in_folder("a dead link", lambda file: file.symlink_to("/nowhere")),
    _in_folder("a link in a circle", lambda file: file.symlink_to(file)),
    _in_folder("an endless device", lambda file: file.symlink_to("/dev/zero")),
    _in_folder("no records", lambda file: file.parents[1].rename(file.parents[2] / "records")),
]


def _mutated(seed: int) -> FilesChange:
    chosen = rng(7, seed)
    member = (_DB, _SCP, _HEA, _DAT)[int(chosen.choice(4, p=[0.4, 0.15, 0.35, 0.1]))]
    return lambda files: {**files, member: mutate(files[member], chosen)}


MUTATED_CASES = [changed("mutated members", f"{n}", _mutated(n), False) for n in range(100)]


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
_RECORD = ptbxl.read_table(_SAMPLE).files[100][0]
_FLAC = {f"{_RECORD}{end}": _SAMPLE.read(f"{_RECORD}{end}", 10**6) for end in (".hea", ".dat")}
_FLAC[f"{_RECORD}_chest.dat"] = _SAMPLE.read(f"{_RECORD}_chest.dat", 10**6)
_FLAC_SIGNAL = read_record(_SAMPLE, _RECORD, 100)[0]


def _flac(seed: int, folder: Path) -> Callable[[], None]:
    """Damage one record of the embedded sample; its first bytes say how long it is, how coded."""
    chosen = rng(9, seed)
    member = f"{_RECORD}{chosen.choice(['.dat', '_chest.dat'])}"
    content = mutate(_FLAC[member], chosen)
    if seed < 15:
        at = int(chosen.integers(0, 60))
        content = _FLAC[member][:at] + chosen.bytes(4) + _FLAC[member][at + 4 :]
    path = write_folder(folder / "in", {**_FLAC, member: content, _DB: b"x", _SCP: b"x"})

    def call() -> None:
        if not np.array_equal(read_record(ptbxl.open_ptbxl(path), _RECORD, 100)[0], _FLAC_SIGNAL):
            raise WrongError("other samples")

    return call


def _hdf5(seed: int, folder: Path) -> Callable[[], None]:
    """Cut a prepared file, or change bytes, mostly in its structure and tables, which are small."""
    chosen, content = rng(10, seed), bytearray(PREPARED)
    first = content.find(UNDAMAGED.signals[0].tobytes())
    last = first + UNDAMAGED.signals.nbytes
    if seed < 20:
        content = content[: int(chosen.integers(0, len(content)))]
    else:
        inside = chosen.random() < 0.2
        places = np.r_[first:last] if inside else np.r_[0:first, last : len(content)]
        for at in chosen.choice(places, int(chosen.integers(1, 6))):
            content[at] = int(chosen.integers(256))
    path = folder / "in" / "x.h5"
    path.write_bytes(content)

    def call() -> None:
        found, same = load_dataset(path), UNDAMAGED
        arrays = [(getattr(found, n), getattr(same, n)) for n in ("signals", "fold", "patient_id")]
        arrays += [(found.labels[policy], same.labels[policy]) for policy in same.labels]
        if not all(np.array_equal(*pair) for pair in arrays):
            raise WrongError("other content")
        if not found.metadata.equals(same.metadata):
            raise WrongError("other metadata")

    return call


SOURCE_CASES = [
    *(*TABLE_CASES, *CHECKSUM_CASES, *RECORD_CASES, *ARCHIVE_CASES, *MUTATED_CASES, *FETCH_CASES),
    *(Case("FLAC", f"{seed}", functools.partial(_flac, seed)) for seed in range(50)),
    *(Case("HDF5", f"{seed}", functools.partial(_hdf5, seed)) for seed in range(80)),
]
