"""What makes a run valid, and who may write it: the one place that says so.

A run is a folder. It is valid if

1. its ``metrics.json``, which is written last, is there, readable and of this version;
2. every file that it names is there with the checksum that it names: predictions, history and all
   checkpoints, so that nothing of another run passes for a part of it;
3. its identity is the wanted one (`leadmin.study.identity`), where a certain run is wanted.

One process at a time writes it. What a run could have written and ``metrics.json`` does not name is
of an earlier one, and goes when a run is finished; a file of anybody else stays.

A page that was executed from it is sealed: a file beside it holds its checksum and those of what it
shows, as ``sha256sum --check`` reads them. The workflow asks for the seal, which is written last.
"""

import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json, write_text

SCHEMA_VERSION = 1
METRICS, SEAL, LOCK = "metrics.json", ".sha256", ".lock"

_WRITTEN_BY_A_RUN = re.compile(
    r"(checkpoints|state)/[^/]+-seed\d+(-fold\d+)?\.(json|safetensors)|state/code"
    r"|((checkpoints|state)/)?\.([^/]+\.)?(json|npz|csv|safetensors)\.\w{8}/[^/]+"  # cut off
)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read ``metrics.json``; one that is missing, damaged or of another version is refused."""
    path = folder / METRICS
    if not path.is_file():
        raise LeadminError(f"{folder}: no {METRICS}, so this run is not finished; run it again")
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, files = metrics["schema_version"], metrics["files"]
        places = [Path(name) for name in [*files, *files.values()]]
        inside = all(p.parts and not p.is_absolute() and ".." not in p.parts for p in places)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise LeadminError(
            f"{path}: not a run's metrics ({type(error).__name__}: {str(error)[:99]}); run it again"
        ) from error
    if version != SCHEMA_VERSION:
        raise LeadminError(
            f"{path}: schema_version is {version!r}; valid: {SCHEMA_VERSION!r}; run the "
            "configuration again"
        )
    if not inside:
        raise LeadminError(f"{path}: files names one outside the run's folder; run it again")
    return metrics


def run_problems(folder: Path) -> list[str]:
    """Say what is wrong with a run, a sentence for each file; nothing if it is valid."""
    try:
        named = read_metrics(folder)["files"]
    except LeadminError as error:
        return [str(error)]
    return [
        f"{folder / name}: missing or not the file that {METRICS} was written for; run the "
        "configuration again"
        for name, expected in named.items()
        if _digest(folder / name) != expected
    ]


def valid_metrics(folder: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a run; the first file that is not what it says is refused."""
    for problem in run_problems(folder):
        raise LeadminError(problem)
    return read_metrics(folder)


def finish_run(folder: Path, metrics: Mapping[str, Any], names: Iterable[str]) -> None:
    """Write ``metrics.json`` with the checksums of the files of a run.

    What else a run could have written here and this one has not goes.
    """
    files = {name: sha256(folder / name) for name in names}
    write_json(folder / METRICS, {"schema_version": SCHEMA_VERSION, **metrics, "files": files})
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        name = path.relative_to(folder).as_posix()
        if name not in files and _WRITTEN_BY_A_RUN.fullmatch(name):
            path.unlink()
            with suppress(OSError):  # where something of somebody else is left
                path.parent.rmdir()


def foreign_files(folder: Path, named: Collection[str]) -> list[str]:
    """List what lies in a run folder and is neither the run's nor a page, nor curves of it."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    known = {METRICS, LOCK, "training.ipynb", "baseline.txt", *named}
    nested = {p.parent.relative_to(folder).as_posix() for p in folder.glob(f"*/{METRICS}")}
    nested |= {"tensorboard", "wandb", "state"}
    return [n for n in names if n.removesuffix(SEAL) not in known and n.split("/")[0] not in nested]


@contextmanager
def held(folder: Path, work: str) -> Iterator[None]:
    """Let one process at a time do some work in a folder; a killed one leaves no lock behind.

    It is refused while another does, with what is known of that one, and where the folder cannot be
    written.
    """
    import fcntl  # not on Windows, which the command line refuses

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise LeadminError(
            f"{folder}: this folder cannot be written ({error.strerror}); valid: one that you may "
            "write to; choose another"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise LeadminError(
                f"{folder}: another {work} is running here ({lock.read(300).strip()}); valid: one "
                "at a time; wait until it ends"
            ) from error
        except OSError as error:
            raise LeadminError(
                f"{folder}: this folder cannot be locked ({error.strerror}); valid: one on a file "
                "system with locks; choose another"
            ) from error
        lock.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        lock.write(f"process {os.getpid()} on {platform.node()} since {since}\n")
        lock.flush()
        yield


def seal(path: Path, files: Iterable[Path]) -> None:
    """Write the checksums of some files into ``path``, by their names as seen from there."""
    rows = [f"{sha256(file)}  {os.path.relpath(file, path.parent)}\n" for file in files]
    write_text(path, "".join(rows))


def seal_problems(path: Path) -> list[str]:
    """Say which of the files that were sealed are not what they were."""
    try:
        rows = [row.partition("  ") for row in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path}: not a list of checksums ({error}); make it again"]
    names = [os.path.normpath(path.parent / name) for digest, _, name in rows if name]
    if len(names) < len(rows) or not names:
        return [f"{path}: not a list of checksums; make it again"]
    return [
        f"{name}: missing or not the file that {path.name} was written for; make it again"
        for name, (digest, _, _) in zip(names, rows, strict=True)
        if _digest(Path(name)) != digest
    ]


def study_problems(
    folder: Path, runs: Iterable[str] = (), pages: bool = True
) -> dict[Path, list[str]]:
    """Say what is wrong below the folder of a study, by run folder or seal.

    That is ``outputs/<study>`` or ``book/published/<study>``; ``runs`` must be there, by default
    those that are. With ``pages`` the map and pages that belong to no single run are looked at too.
    """
    names = list(runs) or [path.name for path in sorted(folder.glob("runs/*")) if path.is_dir()]
    places = [folder / "runs" / name for name in names]
    places += [folder / "map"] if pages and (folder / "map").is_dir() else []
    found = {place: run_problems(place) for place in places}
    others = ("", "notebooks/") if pages else ()
    seals = [path for part in others for path in folder.glob(f"{part}*{SEAL}")]
    seals += [path for name in names for path in folder.glob(f"runs/{name}/*{SEAL}")]
    found |= {path: seal_problems(path) for path in sorted(seals)}
    return {path: problems for path, problems in found.items() if problems}


def _digest(path: Path) -> str:
    try:
        return sha256(path) if path.is_file() else ""
    except OSError:
        return ""


def keep_page(log: Path, page: Path, shown: Iterable[Path]) -> None:
    """Put an executed page in its place and seal it with what it shows."""
    with atomic_path(page) as temporary:
        shutil.copyfile(log, temporary)
    seal(page.with_name(page.name + SEAL), [page, *shown])


if __name__ == "__main__":  # for the workflow: LOG PAGE [SHOWN...]
    log, page, *shown = map(Path, sys.argv[1:])
    keep_page(log, page, shown)
