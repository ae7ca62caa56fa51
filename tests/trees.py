"""A copy of the source tree, and a study of two configurations to run in it."""

import importlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from archives import SAMPLE, sign, write_zip
from click.testing import Result
from typer.testing import CliRunner

from leadmin.data.ptbxl import DATABASE_FILE

CONFIGS = ("12-lead", "2-lead-I-II")
CLI = importlib.import_module("leadmin.cli.main")
TINY = "workflow/studies/tiny.yml"


def cut_archive(target: Path) -> None:
    """Write every third record of the embedded sample."""
    with zipfile.ZipFile(SAMPLE) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    records = pd.read_csv(io.BytesIO(files[DATABASE_FILE]), dtype=str).iloc[::3]
    stems = set(records["filename_lr"].str.removesuffix("_lr"))
    kept = {n: x for n, x in files.items() if "/" not in n or n.partition("_lr")[0] in stems}
    kept |= {DATABASE_FILE: records.to_csv(index=False).encode()}
    kept |= {"RECORDS": "\n".join(records["filename_lr"]).encode()}
    write_zip(target, sign(kept))


class Tree:
    """A copy of the source tree with its own outputs."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        for name in ("notebooks", "workflow", "book", "leadmin"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / name, folder / name, ignore=ignored)
        for name in ("_config.yml", "_toc.yml", "CITATION.cff"):
            shutil.copyfile(root / name, folder / name)
        cut_archive(folder / "data" / "sample" / "ptb-xl-sample.zip")
        self.write_study({})

    def write_study(self, changes: dict, name: str = "tiny") -> None:
        study = {
            "name": name,
            "title": "Two configurations, one epoch",
            "source": "data/sample/ptb-xl-sample.zip",
            "configurations": list(CONFIGS),
            "epochs": 1,
            "n_resamples": 200,
        }
        path = self.folder / "workflow" / "studies" / f"{name}.yml"
        path.write_text(yaml.safe_dump(study | changes), encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from leadmin.cli.main import main; main()", *words]

    @property
    def environment(self) -> dict[str, str]:
        # The copy's package goes before the installed one, in every process of the workflow. Who
        # asks the network meets a closed door.
        closed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
        return os.environ | closed | {"PYTHONPATH": str(self.folder)}

    def process(self, command, timeout=580, **variables: str) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "text": True, "timeout": timeout}
        environment = self.environment | variables
        return subprocess.run(command, cwd=self.folder, env=environment, **options)

    def leadmin(self, *words: str, study: str = TINY) -> subprocess.CompletedProcess:
        # There is no home, as in many a container.
        return self.process(self.command(*words, "--study", study), HOME="/proc/nowhere")

    def ran(self, *words: str, study: str = TINY) -> subprocess.CompletedProcess:
        """The result of ``leadmin run``, which has to succeed."""
        result = self.leadmin("run", *words, study=study)
        assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
        return result

    def started(self, *words: str, study: str = TINY) -> subprocess.Popen:
        """A process that can be killed with all that it starts."""
        command, quiet = self.command(*words, "--study", study), subprocess.DEVNULL
        options = {"cwd": self.folder, "env": self.environment, "start_new_session": True}
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, **options)

    def here(self, *words: str) -> Result:
        """The result of a command in this process, on the copy."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CLI, "source_tree", lambda: self.folder)
            return CliRunner().invoke(CLI.app, words)

    def dry_run(self, study: str, profile: str = "local") -> str:
        """What the engine says that it would do."""
        words = ["-m", "snakemake", "--snakefile", "workflow/Snakefile", "--nolock", "--dry-run"]
        words += ["--profile", f"workflow/profiles/{profile}", "--config", f"study={study}"]
        result = self.process([sys.executable, *words, "--", "all"])
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout + result.stderr

    def would_run(self, study: str = TINY) -> list[str]:
        """Names of the runs that the workflow would repeat."""
        return sorted(re.findall(r"wildcards: run=(\S+)", self.dry_run(study)))

    def edit(self, module: str, old: str = "", new: str = "\nADDED = 1\n") -> None:
        """Replace ``old`` in a module; without it, put ``new`` at its end."""
        path = self.folder / f"{module}.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")

    def stamps(self, name: str) -> dict[str, int]:
        """When each file of a run's results was written."""
        folder = self.out / "runs" / name
        files = [folder / "metrics.json", folder / "predictions.npz", folder / "history.csv"]
        return {p.name: p.stat().st_mtime_ns for p in [*files, *folder.glob("checkpoints/*")]}

    def page(self, name: str) -> str:
        """What the executed notebook of a run printed."""
        notebook = nbformat.read(self.out / "runs" / name / "training.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        return "".join(output.get("text", "") for output in outputs)

    @property
    def out(self) -> Path:
        return self.folder / "outputs" / "tiny"
