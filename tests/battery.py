"""Malformed inputs, each tried in a process of its own that may take so long and so much memory.

A case writes something malformed and gives the call that has to cope with it. The call may refuse
it (a `LeadminError`, or the command line's one message), or give the right answer; all else is a
fault. A server imports once and forks for every few cases, each of which has its own limits.
"""

import collections
import contextlib
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
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


def run(seed: int | None = None) -> list[Result]:
    """Try all cases, or the tenth that a seed draws, in a server of their own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as server:
        return server.submit(_serve, seed).result()


# --- the server -----------------------------------------------------------------------------


def _serve(seed: int | None) -> list[Result]:
    # What the cases damage is made when they are imported, once.
    from damaged_networks import NETWORK_CASES
    from damaged_sources import SOURCE_CASES

    families, results = collections.defaultdict(list), []
    for case in SOURCE_CASES + NETWORK_CASES:
        families[case.family].append(case)
    for cases in families.values():
        assert len({case.name for case in cases}) == len(cases)
    if seed is not None:
        draw = random.Random(seed)
        families = {k: draw.sample(own, max(3, len(own) // 10)) for k, own in families.items()}
    waiting = [case for cases in families.values() for case in cases]
    with tempfile.TemporaryDirectory(prefix="battery-") as scratch:
        while waiting:
            answers = fork(waiting[:BATCH], scratch)
            for case, answer in zip(waiting, answers, strict=False):
                results.append(Result(case.family, case.name, *answer))
            del waiting[: len(answers)]
    return results


def fork(cases: list[Case], scratch: str) -> list[tuple[str, str]]:
    """Try cases in a child, until one ends it or does not answer in time, which is a fault too."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=_try_all, args=(cases, scratch, writing))
    child.start()
    writing.close()
    answers = []
    with contextlib.suppress(EOFError):
        while len(answers) < len(cases) and reading.poll(WALL_SECONDS):
            answers.append(reading.recv())
    child.kill()
    child.join()
    if len(answers) < len(cases):
        answers.append((HANG, f"killed after {CPU_SECONDS} s of work, or dead by itself"))
    return answers


def _try_all(cases: list[Case], scratch: str, writing: Connection) -> None:
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    for case in cases:
        with tempfile.TemporaryDirectory(dir=scratch) as top:
            try:
                outcome, detail = _try(case, Path(top))
            except BaseException as error:
                outcome, detail = TRACEBACK, f"the case itself is broken: {error!r}"
            os.chdir("/")
        writing.send((outcome, detail[:2000]))


def _try(case: Case, top: Path) -> tuple[str, str]:
    folder = top / "above" / "case"
    for name in ("in", "tmp"):
        (folder / name).mkdir(parents=True)
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder)
    call = case.build(folder)
    before = _listing(top)
    # At the end of its time, which others' work is no part of, the system kills this process.
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
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
    except BaseException as error:
        memory = isinstance(error, MemoryError) or "allocate memory" in str(error)
        trace = traceback.walk_tb(error.__traceback__)
        places = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in trace][-4:]
        detail = f"{type(error).__name__}: {str(error)[:200]} at {' '.join(places)}"
        return (OUT_OF_MEMORY if memory else TRACEBACK), detail
    return RIGHT, ""


def _listing(top: Path) -> dict[str, tuple[int, int]]:
    """Names, sizes and times of everything below ``top``."""
    return {
        str(path.relative_to(top)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in top.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
