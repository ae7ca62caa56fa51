"""Malformed inputs, each tried in a process of its own that may take so long and so much memory.

A case writes something malformed and gives the call that has to cope with it. The call may refuse
it (a `LeadminError`, or the command line's one message), or give the right answer; all else is a
fault. Run as a script this file is the server: it imports once, forks for every few cases, each of
which has its own limits, and prints what became of them.
"""

import collections
import json
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from leadmin.errors import LeadminError

CPU_SECONDS, WALL_SECONDS, MEMORY, BATCH = 5, 60, 768 * 2**20, 20

REFUSED, RIGHT = "refused clearly", "right"
TRACEBACK, HANG, OUT_OF_MEMORY, SILENT, OUTSIDE = FAULTS = (
    "traceback", "hang", "memory", "silently wrong", "wrote outside",
)  # fmt: skip


class WrongError(Exception):
    """An answer was given, and it is wrong."""


class _HangError(BaseException):
    """The time is over; no handler of `Exception` keeps it."""


@dataclass(frozen=True)
class Case:
    """Something malformed: ``build`` writes it below a folder and gives the call to try.

    The call returns if all is right; it raises `LeadminError` where it refuses and `WrongError`
    where an answer is not what it should be. It may write below ``out`` in the folder.
    """

    family: str
    name: str
    build: Callable[[Path], Callable[[], object]]


class Result(NamedTuple):
    """What became of a case; ``detail`` is the message, or the last lines of a traceback."""

    family: str
    name: str
    outcome: str
    detail: str


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


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


def all_cases() -> list[Case]:
    """Every case; what they damage is made when they are imported, once."""
    from damaged_networks import NETWORK_CASES
    from damaged_sources import SOURCE_CASES

    return [*SOURCE_CASES, *NETWORK_CASES]


def a_tenth(cases: Iterable[Case], seed: int) -> list[Case]:
    """Draw one in ten of each family, at least three."""
    rng, families = random.Random(seed), collections.defaultdict(list)
    for case in cases:
        families[case.family].append(case)
    return [c for own in families.values() for c in rng.sample(own, max(3, len(own) // 10))]


def tally(results: Iterable[Result]) -> str:
    """Count the outcomes by family, as a table."""
    counts = collections.Counter((r.family, r.outcome) for r in results)
    families = dict.fromkeys(family for family, _ in counts)
    rows = [("", *(columns := (REFUSED, RIGHT, *FAULTS)))]
    rows += [(family, *(str(counts[family, c]) for c in columns)) for family in families]
    rows += [("all", *(str(sum(counts[f, c] for f in families)) for c in columns))]
    return "\n".join(f"{row[0]:20}" + "".join(f"{cell:>16}" for cell in row[1:]) for row in rows)


def run(seed: int | None = None) -> list[Result]:
    """Try all cases, or the tenth that a seed draws, in a server of their own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, __file__, *([] if seed is None else [str(seed)])],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Result(*json.loads(line)) for line in done.stdout.splitlines()]


# --- the server -----------------------------------------------------------------------------


def _serve() -> None:
    waiting = all_cases()
    assert len({(case.family, case.name) for case in waiting}) == len(waiting) >= 600
    if len(sys.argv) > 1:
        waiting = a_tenth(waiting, int(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="battery-") as scratch:
        while waiting:
            answers = _fork(waiting[:BATCH], scratch)
            for case, answer in zip(waiting, answers, strict=False):
                print(json.dumps([case.family, case.name, *answer]), flush=True)
            del waiting[: len(answers)]


def _fork(cases: list[Case], scratch: str) -> list[tuple[str, str]]:
    """Try cases in a child, until one ends it or does not answer in time, which is a fault too."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        for case in cases:
            with tempfile.TemporaryDirectory(dir=scratch) as top:
                try:
                    answer = _try(case, Path(top))
                except BaseException as error:
                    answer = TRACEBACK, f"the case itself is broken: {error!r}"
                os.chdir("/")
            os.write(writing, json.dumps((answer[0], answer[1][:2000])).encode() + b"\n")
        os._exit(0)
    os.close(writing)
    answers = b""
    while select.select([reading], [], [], WALL_SECONDS)[0] and (more := os.read(reading, 2**16)):
        answers += more
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    given = [tuple(json.loads(line)) for line in answers.splitlines()]
    return given if len(given) == len(cases) else [*given, (HANG, "killed, or dead by itself")]


def _stop(*_: object) -> None:
    raise _HangError


def _try(case: Case, top: Path) -> tuple[str, str]:
    folder = top / "above" / "case"
    for name in ("in", "tmp"):
        (folder / name).mkdir(parents=True)
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder)
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    call = case.build(folder)
    before = _listing(top)
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(time.process_time() + 1)  # what no Python code interrupts is killed in the end
    resource.setrlimit(resource.RLIMIT_CPU, (used + int(3 * CPU_SECONDS), resource.RLIM_INFINITY))
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY)
    )
    outcome, detail = _outcome(call)
    signal.setitimer(signal.ITIMER_PROF, 0)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    tempfile.tempdir = None
    after = _listing(top)
    changed = sorted(n for n in before | after if before.get(n) != after.get(n))
    changed = [name for name in changed if not name.startswith("above/case/out")]
    return (OUTSIDE, ", ".join(changed)) if changed else (outcome, detail)


def _outcome(call: Callable[[], object]) -> tuple[str, str]:
    try:
        call()
    except LeadminError as error:
        text, cause = str(error), error
        while (cause := cause.__cause__ or cause.__context__) is not None:
            if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
                return OUT_OF_MEMORY, text
        clear = 20 < len(text) < 4000 and not re.search(r"Traceback|<class|object at 0x", text)
        return (REFUSED, text) if clear else (TRACEBACK, f"no clear message: {text[:300]}")
    except WrongError as error:
        return SILENT, str(error)
    except MemoryError as error:
        return OUT_OF_MEMORY, repr(error)
    except _HangError:
        return HANG, f"more than {CPU_SECONDS} s"
    except BaseException as error:
        kind = OUT_OF_MEMORY if "allocate memory" in str(error) else TRACEBACK
        trace, places = error.__traceback__, []
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{Path(code.co_filename).name}:{trace.tb_lineno}")
            trace = trace.tb_next
        return kind, f"{type(error).__name__}: {str(error)[:200]} at {' '.join(places[-4:])}"
    return RIGHT, ""


def _listing(top: Path) -> dict[str, tuple[int, int]]:
    """Names, sizes and times of everything below ``top``."""
    return {
        str(path.relative_to(top)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in top.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


if __name__ == "__main__":
    import battery  # by its name, so that its errors are those that the cases raise

    battery._serve()
