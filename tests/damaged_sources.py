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
GOOD = make_files(N_RECORDS)
"""The undamaged archive."""

FIRST = "records100/00000/00001_lr"
DB, SCP, SUMS = ptbxl.DATABASE_FILE, ptbxl.STATEMENTS_FILE, CHECKSUM_FILE
HEA, DAT = f"{FIRST}.hea", f"{FIRST}.dat"

with tempfile.TemporaryDirectory() as _folder:
    prepare(write_zip(Path(_folder, "p.zip"), GOOD), Path(_folder, "x.h5"), quiet=True)
    PREPARED = Path(_folder, "x.h5").read_bytes()
    UNDAMAGED = load_dataset(Path(_folder, "x.h5"))


def command(*arguments):
    """Run a data command; raise what it refuses with, as an error of the package."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 2 and result.stderr.startswith("error: "):
        raise LeadminError(result.stderr)
    if result.exit_code:
        raise WrongError(f"exit code {result.exit_code}: {result.output}")


def prepare_or_refuse(path, target, must_fail):
    try:
        command("prepare", "--from", path, "--to", target)
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


def try_source(made, must_fail, folder):
    """Prepare what a function writes below a folder."""
    write, *arguments = made
    path = write(folder / "in", *arguments)
    return lambda: prepare_or_refuse(path, folder / "out" / "x.h5", must_fail)


def try_fetch(made, folder):
    write, *arguments = made
    path, out = write(folder / "in", *arguments), folder / "out"

    def call():
        try:
            command("fetch", "--from", path, "--to", out)
        except LeadminError:
            if (out / ptbxl.TOP_FOLDER).exists():
                raise WrongError("left a folder") from None
            raise
        # Checksums were made right for the damage, and fetching does not look into signals: the
        # step after it has to refuse.
        prepare_or_refuse(out, out / "x.h5", must_fail=True)

    return call


# Below, a generator a family yields names of cases, whether each must fail or may also not matter,
# and what writes it below a folder: a function, and its arguments.


def damaged(folder, change, member=""):
    """Write the archive after a change of its files, or of one of them.

    Its checksums are made right for it, so that parsers see it, unless the change is theirs.
    """
    files = {**GOOD, member: change(GOOD[member])} if member else change(dict(GOOD))
    return write_zip(folder / "ptb.zip", files if member == SUMS else sign(files))


def each(changes, member, must_fail=True):
    for name, change in changes.items():
        yield f"{member.rpartition('/')[2]}: {name}", must_fail, damaged, change, member


def without(ends):
    return damaged, lambda files: {n: c for n, c in files.items() if not n.endswith(ends)}


TEXTS = {
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

HARMLESS = {
    "CRLF": lambda c: c.replace(b"\n", b"\r\n"),
    "blank lines": lambda c: c.replace(b"\n", b"\n\n"),
    "no newline at end": lambda c: c.rstrip(b"\n"),
}


# --- tables and checksums -------------------------------------------------------------------

VALUES = {
    "empty": "", "word": "abc", "negative": "-1", "fraction": "2.5", "nan": "nan", "inf": "-inf",
    "huge": "99999999999999999999", "beyond float": "1e999", "hex": "0x10", "formula": "=cmd()",
    "other digits": "٣", "heart": "🫀", "long": "9" * 100_000, "newline": "1\n2", "quote": '"',
    "traversal": "../../../etc/passwd",
}  # fmt: skip
ODD_VALUES = set(VALUES)
FIELDS = {
    **dict.fromkeys(("scp_codes", "filename_lr"), ODD_VALUES),
    **dict.fromkeys(("ecg_id", "patient_id", "strat_fold"), ODD_VALUES - {"other digits"}),
    **dict.fromkeys(("age", "height"), ODD_VALUES - {"empty", "fraction", "other digits"}),
    **dict.fromkeys(("sex", "site"), ODD_VALUES - {"empty", "other digits"}),
    "validated_by_human": ODD_VALUES - {"empty"},
    "device": {"long"},
    "report": set(),
}
"""Field to the values that must not be accepted there."""


def field(column, value):
    def change(content):
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        rows[2][COLUMNS.index(column)] = value
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()

    return change


def tables():
    for column, refused in FIELDS.items():
        for name, value in VALUES.items():
            yield f"{column}: {name}", name in refused, damaged, field(column, value), DB
    for table in (DB, SCP):
        more = {
            "header only": lambda c: c.splitlines()[0],
            "semicolons": lambda c: c.replace(b",", b";"),
            "a million columns": lambda c: b"x," * 1_000_000 + c,
            "ten million columns": lambda c: b"," * 10_000_000 + c,
        }
        yield from each(TEXTS | more, table)
        accepted = {"open quote": lambda c: c + b'"', "BOM": lambda c: b"\xef\xbb\xbf" + c}
        yield from each(HARMLESS | accepted, table, must_fail=False)
        yield f"no {table}", True, *without(table)
    changes = {
        "every id the same": lambda c: c.replace(b"\n2,", b"\n1,"),
        "a row twice": lambda c: c + c.splitlines(keepends=True)[-1],
        "a column twice": lambda c: c.replace(b"nurse", b"age"),
        "a row too long": lambda c: c.rstrip(b"\n") + b",1,2,3,4\n",
        "header too short": lambda c: c.replace(b",filename_hr", b""),
        "a million commas": lambda c: c + b"," * 1_000_000,
        "patient in two folds": field("strat_fold", "9"),
        "deep nesting": field("scp_codes", "[" * 2000 + "]" * 2000),
        "code runs": field("scp_codes", "__import__('os').abort()"),
        "file of another record": field("filename_lr", FIRST),
    }
    yield from each(changes, DB)


def checksums():
    capital = {"capital letters": lambda c: c.upper().replace(b"RECORDS100", b"records100")}
    yield from each(HARMLESS | capital, SUMS, must_fail=False)
    for name, change in TEXTS.items():  # without any sum, the archive is one without checksums
        yield name, name not in ("empty", "one newline"), damaged, change, SUMS
    changes = {
        "all wrong": lambda c: c.replace(b"a", b"b"),
        "not hexadecimal": lambda c: c.replace(b"a", b"z"),
        "too short": lambda c: b"\n".join(line[1:] for line in c.splitlines()),
        "climbs out": lambda c: c + b"0" * 64 + b" ../../etc/passwd\n",
        "twice, differently": lambda c: c + b"0" * 64 + b" RECORDS\n" + b"1" * 64 + b" RECORDS",
    }
    yield from each(changes, SUMS)


# --- records --------------------------------------------------------------------------------


def replaced(old, new, count):
    def change(content):
        assert old.encode() in content
        return content.replace(old.encode(), new.encode("utf-8", "surrogateescape"), count)

    return change


FIRST_LINES = (
    "1_lr 0 100 1000", "1_lr -12 100 1000", "1_lr 999999999 100 1000", "1_lr 12 500 1000",
    "1_lr 12 0 1000", "1_lr 12 nan 1000", "1_lr 12 100", "1_lr 12 100 999", "2_lr 12 100 1000",
    "1_lr 12 100 100000000000", "1_lr 12 100 " + "9" * 30, "1_lr/2 12 100 1000",
    "1_lr 13 100 1000", "1/../00001_lr 12 100 1000",
)  # fmt: skip
EVERYWHERE = (
    (" V6", " V7"), (" V6", " V1"), (" V6", ""), (" 0 AVR", "1 0 AVR"), ("AVR", "A\udce4R"),
    *((".dat 16 ", f".dat {odd} ") for odd in ("17", "61", "212", "516", "8", "16x4")),
    *((".dat 16 ", f".dat {odd} ") for odd in ("16:10", "16+100")),
    *(("00001_lr.dat", file) for file in ("absent.dat", "..", "00001_lr.hea", "00002_lr.dat", "~")),
)  # fmt: skip
ONCE = (
    ("\n", ""), *(("1000.0(0)", f"{gain}(0)") for gain in ("0", "-1000", "nan", "1e-300", "1e300")),
    ("(0)", "(99999999999)"), ("/mV", "/furlong"), ("/mV", ""),
    ("/mV", "/µV"),  # which wfdb would read as V
    (".dat 16 ", ".dat 212 "), (".dat 16 ", ".dat 516 "), (".dat 16 ", f".dat 16 {'1' * 5000}!"),
)  # fmt: skip
HEADERS = {
    **TEXTS,
    **{f"first line {t}": replaced("1_lr 12 100 1000", t, 1) for t in FIRST_LINES},
    **{f"all {old!a} to {new!a}": replaced(old, new, -1) for old, new in EVERYWHERE},
    **{f"one {old!a} to {new[:20]!a}": replaced(old, new, 1) for old, new in ONCE},
    "only comments": lambda c: b"# nothing\n",
    "a bomb": lambda c: b"\n" * (64 * 2**20),
    "no lines of signals": lambda c: c.split(b"\n")[0],
    "a line too many": lambda c: c + c.split(b"\n")[-2] + b"\n",
    "two names swapped": lambda c: c.replace(b" V6", b" x").replace(b" V5", b" V6"),
}
FINE = {
    **HARMLESS,
    "a long line": lambda c: c + b"# " + b"x" * 1_000_000,
    "a comment": lambda c: c + b"# <age>: 56\n",
    "spaces": lambda c: c.replace(b" ", b"   "),
}
SIGNALS = {
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


def zeros(files):
    """Zero everywhere, with checksums that are right."""
    text = re.sub(r"16 0 \S+ \S+ 0", "16 0 0 0 0", files[HEA].decode())
    return {**files, HEA: text.encode(), DAT: bytes(24_000)}


def headers():
    yield from each(HEADERS, HEA)
    yield from each(FINE, HEA, must_fail=False)
    yield "missing", True, *without(HEA)


def signals():
    yield from each(SIGNALS, DAT)
    yield "all zero, checksums right", True, damaged, zeros
    yield "missing", True, *without(DAT)
    yield "all missing", True, *without("_lr.dat")


# --- the archive itself ---------------------------------------------------------------------

GOOD_ZIP = zip_bytes(GOOD)


def raw(folder, content):
    (folder / "ptb.zip").write_bytes(content)
    return folder / "ptb.zip"


def with_member(folder, name, content, kind=0o100):
    """Write the archive with one member more."""
    path = write_zip(folder / "ptb.zip", GOOD)
    info = zipfile.ZipInfo(name.format(ptbxl.TOP_FOLDER))
    info.external_attr = (kind << 9 | 0o644) << 16
    with zipfile.ZipFile(path, "a") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        target.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def patched(fmt, offset, value):
    """Overwrite a field in every entry of the zip's central directory."""
    content = bytearray(GOOD_ZIP)
    for match in re.finditer(b"PK\1\2", GOOD_ZIP):
        struct.pack_into(fmt, content, match.start() + offset, value)
    return bytes(content)


def unpacked(folder, make):
    """Write an unpacked archive with something else in place of a file of samples."""
    path = write_folder(folder / "ptb", GOOD)
    (path / DAT).unlink()
    make(path / DAT)
    return path


def elsewhere(folder, top):
    return write_zip(folder / "p.zip", GOOD, top)


def archives():
    contents = {
        "empty file": b"",
        "text": b"not a zip",
        "only the magic": b"PK\3\4",
        "end record alone": b"PK\5\6" + bytes(18),
        "html error page": b"<html>404</html>" * 1000,
        "random": rng(4).bytes(100_000),
        "zeros": bytes(100_000),
        "encrypted flag": patched("<H", 8, 1),
        "unknown compression": patched("<H", 10, 99),
        "sizes of 0": patched("<I", 24, 0),
        "sizes of 4 GB": patched("<I", 24, 2**32 - 2),
    }
    contents |= {f"cut at {n} in 14": GOOD_ZIP[: n * len(GOOD_ZIP) // 14] for n in range(1, 14)}
    must_fail = {name: (raw, content) for name, content in contents.items()} | {
        "other samples": (with_member, f"{{}}/{DAT}", "other"),
        "other table": (with_member, f"b/{DB}", "x"),
        "two levels down": (elsewhere, "a/b"),
        "a bomb for a table": (damaged, lambda files: {**files, DB: bytes(300 * 2**20)}),
        "nothing there": (lambda folder: folder / "absent.zip",),
        "an empty folder": (lambda folder: folder,),
        "a device": (lambda folder: Path("/dev/null"),),
        "a pipe": (unpacked, os.mkfifo),
        "a folder": (unpacked, Path.mkdir),
        "a dead link": (unpacked, lambda file: file.symlink_to("/nowhere")),
        "a link in a circle": (unpacked, lambda file: file.symlink_to(file)),
        "an endless device": (unpacked, lambda file: file.symlink_to("/dev/zero")),
        "no records": (unpacked, lambda file: file.parents[1].rename(file.parents[2] / "records")),
    }
    may_not = {f"mutated {n}": (raw, mutate(GOOD_ZIP, rng(8, n))) for n in range(40)} | {
        "a way up": (with_member, "../out.txt", "x"),
        "a longer way up": (with_member, "a/../../out.txt", "x"),
        "an absolute name": (with_member, "/out.txt", "x"),
        "a link": (with_member, "{}/link", "/etc/passwd", 0o120),
        "a bomb": (with_member, "{}/bomb", bytes(64 * 2**20)),
        "bytes before it": (raw, b"#!/bin/sh\n" + GOOD_ZIP),
        "bytes after it": (raw, GOOD_ZIP + bytes(100)),
        "no top folder": (elsewhere, ""),
        "top folder ..": (elsewhere, ".."),
    }
    for name, made in (must_fail | may_not).items():
        yield name, name in must_fail, *made


def mutated():
    for number in range(100):
        chosen = rng(7, number)
        member = (DB, SCP, HEA, DAT)[int(chosen.choice(4, p=[0.4, 0.15, 0.35, 0.1]))]
        yield f"{number}", False, damaged, functools.partial(mutate, rng=chosen), member


# --- FLAC, HDF5 -----------------------------------------------------------------------------

ARCHIVE = ptbxl.open_ptbxl(SAMPLE)
RECORD = ptbxl.read_table(ARCHIVE).files[100][0]
FLAC = {f"{RECORD}{end}": ARCHIVE.read(f"{RECORD}{end}", 10**6) for end in (".hea", ".dat")}
FLAC[f"{RECORD}_chest.dat"] = ARCHIVE.read(f"{RECORD}_chest.dat", 10**6)
FLAC_SIGNAL = read_record(ARCHIVE, RECORD, 100)[0]


def try_flac(seed, folder):
    """Damage one record of the embedded sample; its first bytes say how long it is, how coded."""
    chosen = rng(9, seed)
    member = f"{RECORD}{chosen.choice(['.dat', '_chest.dat'])}"
    content = mutate(FLAC[member], chosen)
    if seed < 15:
        at = int(chosen.integers(0, 60))
        content = FLAC[member][:at] + chosen.bytes(4) + FLAC[member][at + 4 :]
    path = write_folder(folder / "in", {**FLAC, member: content, DB: b"x", SCP: b"x"})

    def call():
        if not np.array_equal(read_record(ptbxl.open_ptbxl(path), RECORD, 100)[0], FLAC_SIGNAL):
            raise WrongError("other samples")

    return call


def try_hdf5(seed, folder):
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

    def call():
        found, same = load_dataset(path), UNDAMAGED
        arrays = [(getattr(found, n), getattr(same, n)) for n in ("signals", "fold", "patient_id")]
        arrays += [(found.labels[policy], same.labels[policy]) for policy in same.labels]
        if not all(np.array_equal(*pair) for pair in arrays):
            raise WrongError("other content")
        if not found.metadata.equals(same.metadata):
            raise WrongError("other metadata")

    return call


FAMILIES = {
    "tables": tables(), "checksums": checksums(), "headers": headers(), "signals": signals(),
    "archives": archives(), "mutated members": mutated(),
}  # fmt: skip
FETCHED = [(name, made) for name, must_fail, *made in [*signals(), *archives()] if must_fail]
SOURCE_CASES = [
    *(
        Case(family, name, functools.partial(try_source, made, must_fail))
        for family, cases in FAMILIES.items()
        for name, must_fail, *made in cases
    ),
    *(Case("fetch", name, functools.partial(try_fetch, made)) for name, made in FETCHED[::3]),
    *(Case("FLAC", f"{seed}", functools.partial(try_flac, seed)) for seed in range(50)),
    *(Case("HDF5", f"{seed}", functools.partial(try_hdf5, seed)) for seed in range(80)),
]
