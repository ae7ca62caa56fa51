"""The workflow from end to end, on a copy of the tree and a study of two configurations."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors import safe_open
from typer.testing import CliRunner

import leadmin.cli.main  # noqa: F401
from leadmin.publish.book import published_pages
from leadmin.questions.ablation import ablation_table, gather_variants, load_variants
from leadmin.study.run import load_run, load_runs

CONFIGS = ("12-lead", "2-lead-I-II")


class Tree:
    """A copy of the source tree with its own outputs."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        for name in ("notebooks", "workflow", "book", "leadmin"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / name, folder / name, ignore=ignored)
        for name in ("_config.yml", "_toc.yml"):
            shutil.copyfile(root / name, folder / name)
        (folder / "data").symlink_to(root / "data")
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
        # The copy's package goes before the installed one, in every process of the workflow.
        return os.environ | {"PYTHONPATH": str(self.folder)}

    def leadmin(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
        )

    def would_run(self) -> list[str]:
        """Names of the runs that the workflow would repeat, from its dry run."""
        result = self.leadmin("run", "--all", "--dry-run", "--study", "workflow/studies/tiny.yml")
        assert result.returncode == 0, result.stderr
        lines = (result.stdout + result.stderr).splitlines()
        return sorted(line.split("run=")[1] for line in lines if "wildcards: run=" in line)

    def edit(self, module: str, old: str = "", new: str = "\nADDED = 1\n") -> None:
        """Replace ``old`` in a module; without it, put ``new`` at its end."""
        path = self.folder / "leadmin" / f"{module}.py"
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


@pytest.fixture(scope="module")
def tree(root, tmp_path_factory):
    return Tree(root, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def built(tree):
    result = tree.leadmin("run", "--all", "--study", "workflow/studies/tiny.yml")
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result


def test_everything_is_built_and_the_last_line_is_the_page(tree, built):
    index = Path(built.stdout.strip().splitlines()[-1])
    assert index == tree.out / "book" / "html" / "index.html"
    assert index.is_file()
    names = {"table_main.tex", "table_perclass.tex", "RESULTS.md", "summary.json"}
    assert names | {"results_final.json", "main.csv"} <= {p.name for p in tree.out.glob("tables/*")}
    for config in CONFIGS:
        assert (tree.out / "book" / "html" / "runs" / f"{config}.html").is_file()


def test_numbers_on_the_landing_page_are_those_of_the_run(tree, built):
    page = (tree.out / "book" / "html" / "index.html").read_text(encoding="utf-8")
    results = json.loads((tree.out / "tables" / "results_final.json").read_text(encoding="utf-8"))
    (row,) = [
        r
        for r in results["tables"]["main"]
        if r["config"] == "2-lead-I-II" and r["recipe"] == "default"
    ]
    assert f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]" in page
    assert f"{row['n_records']:,}" in page


def test_no_page_names_a_path_of_this_machine(tree, built):
    for page in (tree.out / "book" / "html").rglob("*.html"):
        assert str(tree.folder) not in page.read_text(encoding="utf-8"), page.name


def test_the_provenance_page_names_data_and_times(tree, built):
    page = (tree.out / "book" / "html" / "provenance.html").read_text(encoding="utf-8")
    metrics = json.loads((tree.out / "runs" / "12-lead" / "metrics.json").read_text())
    assert metrics["provenance"]["data"]["content_sha256"] in page
    assert metrics["provenance"]["versions"]["torch"] in page


def test_again_at_once_there_is_nothing_to_do(tree, built):
    started = time.perf_counter()
    result = tree.leadmin("run", "--all", "--study", "workflow/studies/tiny.yml")
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout + result.stderr
    assert time.perf_counter() - started < 60


def test_a_change_to_one_configuration_repeats_that_one_only(tree, built):
    assert tree.would_run() == []
    tree.write_study({"overrides": {"2-lead-I-II": {"epochs": 2}}})
    assert tree.would_run() == ["2-lead-I-II"]
    tree.write_study({})
    names = {path.name for path in tree.out.glob("runs/*")}
    assert names == {"any-lead", *CONFIGS}
    metrics = json.loads((tree.out / "runs" / "2-lead-I-II" / "metrics.json").read_text())
    assert metrics["settings"]["start_from"] == "any-lead"
    registry = tree.folder / "leadmin" / "configurations.yml"
    text = registry.read_text(encoding="utf-8")
    registry.write_text(text.replace("leads: [I, II]\n", "leads: [I, III]\n"), encoding="utf-8")
    assert tree.would_run() == ["2-lead-I-II"]
    registry.write_text(text, encoding="utf-8")
    assert tree.would_run() == []


def test_two_workflows_do_not_write_at_once(tree, built):
    import fcntl

    with (tree.folder / "outputs" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = tree.leadmin("run", "--config", "12-lead", "--study", "workflow/studies/tiny.yml")
    assert result.returncode == 2
    assert "another workflow is running" in result.stderr


def test_publishing_copies_tables_and_summaries(tree, built):
    result = tree.leadmin("publish", "--study", "workflow/studies/tiny.yml")
    assert result.returncode == 0, result.stderr
    folder = tree.folder / "book" / "published" / "tiny"
    assert (folder / "tables" / "RESULTS.md").is_file()
    assert (folder / "figures" / "answer.png").is_file()
    page = (folder / "notebooks" / "04_analysis.ipynb").read_text(encoding="utf-8")
    assert "# How few leads? Two configurations, one epoch" in page
    assert str(tree.folder) not in page
    runs = load_runs(folder / "runs", CONFIGS)  # enough to repeat the analysis
    assert runs["12-lead"].test.logits["default"].shape[1] > 100
    assert json.loads((folder / "runs" / "12-lead" / "metrics.json").read_text())["config"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "give either --all or --config"),
        (["run", "--config", "13-lead"], "12-lead"),
        (["run", "--all", "--study", "absent.yml"], "absent.yml"),
        (["run", "--all", "--profile", "moon"], "valid: kubernetes, local, slurm"),
        (["run", "--all", "--epochs", "-3"], "whole numbers from 0"),
        (["baseline", "magic", "--out", "x"], "valid: logistic-regression"),
        (["book", "--study", "workflow/studies/full.yml"], "not finished"),
    ],
)
def test_a_wrong_call_says_what_is_valid(tree, words, message):
    result = tree.leadmin(*words)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


ABLATION = "workflow/studies/tiny-ablation.yml"


def test_a_killed_variant_goes_on_behind_its_last_epoch(tree, built):
    variants = ["scratch", "scratch-mixup", "random-network"]
    changes = {"configurations": ["1-lead-II"], "variants": variants, "epochs": 4}
    tree.write_study(changes, "tiny-ablation")
    process = subprocess.Popen(
        tree.command("run", "--config", "scratch", "--study", ABLATION),
        cwd=tree.folder,
        env=tree.environment,
        start_new_session=True,
    )
    folder = tree.folder / "outputs" / "tiny-ablation" / "runs" / "scratch"
    state = folder / "state" / "scratch-seed0.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with safe_open(state, framework="np") as file:
        begun = json.loads(file.metadata()["progress"])["history"]
    assert begun
    assert not (folder / "metrics.json").exists()
    result = tree.leadmin("run", "--config", "scratch", "--study", ABLATION)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    history = load_run(folder).history
    assert list(history["epoch"]) == [1, 2, 3, 4]
    expected = [entry["seconds"] for entry in begun]
    assert list(history["seconds"])[: len(begun)] == pytest.approx(expected, rel=1e-12)


def test_an_ablation_is_a_study_and_can_be_published(tree, built):
    result = tree.leadmin("run", "--all", "--study", ABLATION)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    out = tree.folder / "outputs" / "tiny-ablation"
    page = out / "notebooks" / "05_ablation.ipynb"
    assert Path(result.stdout.strip().splitlines()[-1]) == page
    names = ["scratch", "scratch-mixup", "random-network"]
    runs = [load_run(out / "runs" / name) for name in names]
    assert [run.recipes for run in runs] == [(name,) for name in names]
    assert {run.config for run in runs} == {"1-lead-II"}
    assert "random-network: macro AUROC" in (out / "runs/random-network/baseline.txt").read_text()
    table = pd.read_csv(out / "tables" / "ablation.csv")
    assert list(table["variant"]) == names
    published = tree.folder / "book" / "published" / "tiny-ablation"
    result = tree.leadmin("publish", "--study", ABLATION)
    assert Path(result.stdout.strip()) == published, result.stderr
    assert "published/tiny-ablation/05_ablation" in published_pages(tree.folder)
    text = (published / "notebooks" / "05_ablation.ipynb").read_text(encoding="utf-8")
    assert str(tree.folder) not in text
    assert f"{table.set_index('variant').loc['scratch-mixup', 'auroc_difference']:+.3f}" in text
    assert (published / "figures" / "ablation.pdf").is_file()
    again = ablation_table(gather_variants(load_variants(published / "runs"), 100))
    np.testing.assert_allclose(again["auroc"], table["auroc"], atol=1e-12)
    result = tree.leadmin("run", "--all", "--study", ABLATION)
    assert "Nothing to be done" in result.stdout + result.stderr


def test_pages_are_executed_again_and_nothing_is_trained(tree, built):
    """After edits of the evidence and of a comment, and a data file that only looks new."""
    everything = ["any-lead", *CONFIGS]
    tree.edit("evidence/resampling")
    assert tree.would_run() == sorted(everything)
    tree.edit("net/fit", "import torch\n", "import torch  # a comment\n")
    (data,) = (tree.folder / "outputs" / "data").glob("*.h5")
    data.touch()
    assert tree.would_run() == sorted(everything)
    before = {name: tree.stamps(name) for name in everything}
    assert "nothing is trained again" not in tree.page("12-lead")
    words = [word for name in CONFIGS for word in ("--config", name)]
    result = tree.leadmin("run", *words, "--study", "workflow/studies/tiny.yml")
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert {name: tree.stamps(name) for name in everything} == before
    for name in everything:
        assert "nothing is trained again" in tree.page(name)
        assert "validation AUROC" in tree.page(name), "the page shows the history all the same"
    assert tree.would_run() == []


def test_a_change_to_the_code_of_training_trains(tree, built):
    before = tree.stamps("2-lead-I-II")
    tree.edit("net/fit")
    assert tree.would_run() == ["12-lead", "2-lead-I-II", "any-lead"]
    words = ("run", "--config", "2-lead-I-II", "--study", "workflow/studies/tiny.yml")
    assert tree.leadmin(*words).returncode == 0
    after = tree.stamps("2-lead-I-II")
    assert all(after[name] > before[name] for name in before)
    for name in ("any-lead", "2-lead-I-II"):
        assert "nothing is trained again" not in tree.page(name)


def test_a_failing_run_leaves_its_notebook_with_the_traceback(tree, built):
    line = "        recipe = self.recipe.start\n"
    tree.edit("study/train", line, f"{line}        if recipe:\n            1 / 0\n")
    result = tree.leadmin("run", "--config", "12-lead", "--study", "workflow/studies/tiny.yml")
    tree.edit("study/train", "        if recipe:\n            1 / 0\n", "")
    assert result.returncode == 2
    assert "workflow failed" in result.stderr
    assert "ZeroDivisionError" in (tree.out / "logs" / "12-lead.ipynb").read_text(encoding="utf-8")
    assert not (tree.out / "runs" / "12-lead" / "metrics.json").exists()
    assert not (tree.out / "runs" / "12-lead" / "training.ipynb").exists()
    kept = tree.out / "runs" / "any-lead"
    assert (kept / "metrics.json").exists(), "what was finished is kept"
    assert (kept / "training.ipynb").exists()


def test_a_system_without_locks_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    result = CliRunner().invoke(importlib.reload(sys.modules["leadmin.cli.main"]).app, ["configs"])
    assert result.exit_code == 2
    assert "this system is not supported; valid: Linux, macOS, and Windows by WSL" in result.stderr


@pytest.mark.slow
def test_a_workflow_killed_at_any_moment_is_finished_by_the_next(root, tmp_path):
    tree = Tree(root, tmp_path)
    words = ("run", "--all", "--study", "workflow/studies/tiny.yml")
    for seconds in (4, 9, 15, 22, 30):
        process = subprocess.Popen(
            tree.command(*words),
            cwd=tree.folder,
            env=tree.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = tree.leadmin(*words)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert (tree.out / "book" / "html" / "index.html").is_file()
