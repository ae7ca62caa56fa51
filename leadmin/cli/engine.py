"""The workflow's engine: where it runs, its log, and one line that says how far it is."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer
import yaml

from leadmin.errors import LeadminError
from leadmin.files import write_text

if TYPE_CHECKING:
    from leadmin.study.settings import Study

UP_TO_DATE = "Nothing to be done: everything is up to date."


def profiles(root: Path) -> list[str]:
    """Name the folders of workflow/profiles."""
    return sorted(path.parent.name for path in root.glob("workflow/profiles/*/config.yaml"))


def _resources(listed: Any) -> list[str]:
    """Write a profile's resources as the engine's command line does: ``train:gpu=1``."""
    if not isinstance(listed, Mapping):
        return list(map(str, listed or ()))
    nested = {key: value for key, value in listed.items() if isinstance(value, Mapping)}
    plain = [f"{key}={value}" for key, value in listed.items() if key not in nested]
    return plain + [f"{key}:{one}" for key in nested for one in _resources(nested[key])]


def profile_options(root: Path, profile: str, gpus: int | None) -> list[str]:
    """Choose a profile, with as many GPUs for each training job as ``gpus`` says, or it itself."""
    if profile not in profiles(root):
        raise LeadminError(
            f"profile {profile!r} does not exist; valid: {', '.join(profiles(root))}"
        )
    file = root / "workflow" / "profiles" / profile / "config.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    for one in _resources(settings.get("default-resources")):
        name, _, value = one.partition("=")
        if name == "slurm_account" and value.lower() in ("", "none", "null"):
            raise LeadminError(
                f"{file}: slurm_account is {value!r}; valid: an account that "
                "`sacctmgr show associations user=$USER` lists, or no such line where there are no "
                "accounts; change it"
            )
    options = ["--profile", f"workflow/profiles/{profile}"]
    if gpus is not None:  # what the command line says replaces all of what the profile says
        kept = _resources(settings.get("set-resources"))
        kept = [one for one in kept if not one.startswith("train:gpu=")]
        options += ["--set-resources", *kept, f"train:gpu={gpus}"]
    return options


class Standing:
    """How a study stood when the engine last left nothing to do: files by names, sizes and times.

    While all of it stands so, the engine would say the same again and need not be started, which
    takes many times as long. Whatever differs, if only in its time, is the engine's to judge. More
    counts than it looks at: every file of the source tree and of the study's results.
    """

    def __init__(self, root: Path, study: "Study", file: Path):
        from leadmin.net.own import source_file

        names = ("leadmin", "notebooks", "workflow", "book", "_config.yml", "_toc.yml")
        own = [file, study.source_path, *study.own_files]
        own += [source_file(study.network)] if study.network else []
        self._made_of = [root / name for name in names] + [root / path for path in own]
        self._made = [root / "outputs" / study.name, root / study.prepared]
        self._kept = root / "outputs" / ".cache" / f"{study.name}.standing"
        self._before = fingerprint(self._made_of)

    def holds(self) -> bool:
        """Whether everything is as it was kept."""
        there = self._kept.is_file()
        return there and self._kept.read_bytes().decode() == self._before + fingerprint(self._made)

    def keep(self) -> None:
        """Write down how it stands, unless somebody edited while the engine ran."""
        if fingerprint(self._made_of) == self._before:
            write_text(self._kept, self._before + fingerprint(self._made))


def fingerprint(places: Iterable[Path]) -> str:
    """Digest the names, sizes and times of files, and of all files below folders but caches."""
    total = hashlib.sha256()
    for place in places:
        found = [(str(place.parent), [], [place.name])] if place.is_file() else os.walk(place)
        for folder, folders, names in found:
            folders[:] = sorted(set(folders) - {"__pycache__"})
            for path in (Path(folder, name) for name in sorted(names)):
                about = path.stat() if path.exists() else path.lstat()
                # Its second time tells of a change after which somebody put the first one back.
                times = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
                total.update(os.fsencode(f"{path}\0{times}\0"))
    return total.hexdigest()


def run_engine(
    root: Path, study: Path, targets: list[str], options: list[str], log: Path | None
) -> int:
    """Run the engine; with ``log``, its own words go there and one line says how far it is."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Caches lie below outputs, so that neither containers nor cluster jobs need a home.
    caches = root / "outputs" / ".cache"
    environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(caches)}
    home = os.environ.get("HOME", "")
    if not (home and os.access(home, os.W_OK)):
        environment |= {"HOME": str(caches), "XDG_CONFIG_HOME": str(caches)}
    caches.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    # The lock above replaces Snakemake's, which a killed process would leave behind.
    command += ["--nolock", "--rerun-incomplete", *options]
    command += ["--config", f"study={study.as_posix()}", "--", *targets]
    if log is None:
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(sys.stderr)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as engine,
    ):
        try:
            for line in engine.stdout or ():
                file.write(line)
                file.flush()
                progress.feed(line)
                if line.startswith("Nothing to be done"):
                    typer.echo(UP_TO_DATE)
        except KeyboardInterrupt:  # the engine got it too, and stops its jobs
            file.writelines(engine.stdout or ())
            progress.close()
            typer.echo(
                f"stopped; kept: every finished run ({len(progress.done)} of this call), and of "
                "each other run its complete epochs; the same command goes on from there",
                err=True,
            )
            raise typer.Exit(130) from None
    progress.close()
    return engine.returncode


TRAINING = ("train", "baseline")
"""Rules whose jobs are runs."""


class Progress:
    """Reads the engine's log line by line, and shows what it says of the runs.

    On a terminal the line is written over; elsewhere a new one appears when a run ends.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic):
        self.n_runs = 0
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self._out, self._clock = out, clock
        self._under_way: dict[str, str] = {}
        self._rule, self._started, self._shown = "", 0.0, (-1, -1)

    def feed(self, line: str) -> None:
        """Read one line of the log."""
        if counted := re.match(rf"({'|'.join(TRAINING)})\s+(\d+)$", line):
            self.n_runs += int(counted[2])
        elif begun := re.match(r"(?:local)?rule (\w+):", line):
            self._rule = begun[1]
        elif broken := re.match(r"Error in rule (\w+):", line):
            self._rule = f"!{broken[1]}"
        elif job := re.match(r" +jobid: (\d+)", line):
            self._meet(job[1])
        elif ended := re.match(r"Finished jobid: (\d+) ", line):
            if self._under_way.pop(ended[1], "") in TRAINING:
                self.done.add(ended[1])
            self._show()
        elif again := re.match(r"Trying to restart job (\d+)\.", line):
            self.failed.discard(again[1])

    def _meet(self, job: str) -> None:
        rule, self._rule = self._rule, ""
        if rule.startswith("!"):
            self._under_way.pop(job, None)
            if rule[1:] in TRAINING:
                self.failed.add(job)
        elif rule:
            self._started = self._started or self._clock()
            self._under_way[job] = rule
        self._show()

    def words(self) -> str:
        """Say how many runs are done, running and failed, what else is made, and the time left."""
        rules = list(self._under_way.values())
        running = sum(rule in TRAINING for rule in rules)
        counts = f"{len(self.done)} of {self.n_runs} done, {running} running"
        parts = [
            f"runs: {counts}, {len(self.failed)} failed" if self.n_runs else "nothing to train"
        ]
        if others := sorted(set(rules) - set(TRAINING)):
            parts.append(", ".join(others))
        left = self.n_runs - len(self.done) - len(self.failed)
        if self.done and left:
            minutes = (self._clock() - self._started) / len(self.done) * left / 60
            parts.append(f"about {minutes:.0f} min left" if minutes >= 1 else "a minute left")
        return "; ".join(parts)

    def _show(self) -> None:
        ended = len(self.done), len(self.failed)
        if self._out.isatty():
            self._out.write(f"\r\x1b[K{self.words()}")
        elif ended != self._shown:
            self._out.write(f"{self.words()}\n")
        self._out.flush()
        self._shown = ended

    def close(self) -> None:
        """End the line."""
        if self._started and self._out.isatty():
            self._out.write("\n")
