"""The workflow from end to end, on a copy of the tree and a study of two configurations."""

import importlib
import json
import os
import re
import shutil
import signal
import sys
import time
from html import unescape
from pathlib import Path

import nbformat
import pair_notebooks
import pandas as pd
import pytest
from jupytext.cli import jupytext
from safetensors import safe_open
from trees import CLI, CONFIGS, TINY, Tree
from trouble import command_refused, flip, refused
from typer.testing import CliRunner

from leadmin import load
from leadmin.publish import publishing
from leadmin.publish.book import gather, published_pages
from leadmin.questions.ablation import ablation_table, gather_variants, load_variants
from leadmin.study.run import load_run, load_runs
from leadmin.study.settings import load_study

ABLATION = "workflow/studies/tiny-ablation.yml"
pytestmark = pytest.mark.timeout(600)


def test_everything_is_built_and_the_last_line_is_the_page(tree, built):
    index = Path(built.stdout.strip().splitlines()[-1])
    assert index == tree.out / "book" / "html" / "index.html"
    assert index.is_file()
    names = {"table_main.tex", "table_perclass.tex", "RESULTS.md", "summary.json"}
    assert names | {"results_final.json", "main.csv"} <= {p.name for p in tree.out.glob("tables/*")}
    for config in CONFIGS:
        assert (tree.out / "book" / "html" / "runs" / f"{config}.html").is_file()


def test_numbers_data_and_times_on_the_pages_are_those_of_the_run(tree, built):
    page = (tree.out / "book" / "html" / "runs.html").read_text(encoding="utf-8")
    results = json.loads((tree.out / "tables" / "results_final.json").read_text(encoding="utf-8"))
    main = pd.DataFrame(results["tables"]["main"]).set_index(["config", "recipe"])
    row = main.loc[("2-lead-I-II", "default")]
    assert f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]" in page
    assert f"{row['n_records']:,}" in page
    published = tree.folder / "book" / "published" / "subset"
    for page, folder in (("machine", tree.out), ("provenance", published)):
        text = (tree.out / "book" / "html" / f"{page}.html").read_text(encoding="utf-8")
        recorded = json.loads((folder / "runs" / "12-lead" / "metrics.json").read_text())
        assert recorded["provenance"]["data"]["content_sha256"] in text
        assert (recorded["provenance"]["git_commit"] or "a copy outside of git") in text
        assert recorded["provenance"]["versions"]["torch"] in text
    for page in (tree.out / "book" / "html").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert str(tree.folder) not in text, f"{page.name} names a path of this machine"
        images = {unescape(source) for source in re.findall(r'<img[^>]*? src="([^"]+)"', text)}
        absent = [one for one in images if not (page.parent / one.split("?")[0]).is_file()]
        assert not absent, f"{page.name} shows an image that is not there"
        assert ":width:" not in text, f"{page.name} shows an option of a directive"


def test_a_change_to_one_configuration_repeats_that_one_only(tree, built):
    tree.write_study({"overrides": {"2-lead-I-II": {"epochs": 2}}})
    assert tree.would_run() == ["2-lead-I-II"]
    tree.write_study({})
    assert {path.name for path in tree.out.glob("runs/*")} == {"any-lead", *CONFIGS}
    run = load_run(tree.out / "runs" / "2-lead-I-II")
    assert run.metrics["settings"]["start_from"] == "any-lead"


@pytest.mark.slow  # the engine is asked as above, and takes its time
def test_the_registry_and_what_checks_a_map_decide_what_is_trained(tree, built):
    registry = tree.folder / "leadmin" / "configurations.yml"
    tree.write_study({"map": "electrodes", "map_seeds": 1})
    asked = tree.would_run()
    assert {"III", "I,II,V5"} < set(asked)
    assert "12-lead" not in asked
    command_refused("runs/1-lead-I: no metrics.json", tree.here("publish", "--study", TINY))
    tree.write_study({})
    text, stamp = registry.read_text(encoding="utf-8"), registry.stat()
    registry.write_text(text.replace("leads: [I, II]\n", "leads: [I, III]\n"), encoding="utf-8")
    assert tree.would_run() == ["2-lead-I-II"]
    registry.write_text(text, encoding="utf-8")
    os.utime(registry, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_again_there_is_nothing_to_do_and_at_once_the_engine_is_not_started(tree, built):
    log = tree.out / "logs" / "workflow.log"
    tree.write_study({})  # as it was, but for its time: the engine has to judge that
    for started in (True, False):
        before = log.stat().st_mtime_ns
        words = ("run", "--all", "--study", TINY)
        result = tree.leadmin(*words[:2]) if started else tree.here(*words)
        assert "Nothing to be done: everything is up to date." in result.stdout
        assert result.stdout.strip().endswith(str(tree.out / "book" / "html" / "index.html"))
        assert (log.stat().st_mtime_ns > before) == started


def test_a_report_is_the_book_without_what_was_run_here(tree, built, tmp_path):
    gather(load_study(tree.folder / TINY), tree.folder, tmp_path, with_runs=False)
    for target, with_runs in ((tree.out / "book" / "source", True), (tmp_path, False)):
        contents = (target / "_toc.yml").read_text(encoding="utf-8")
        assert "file: published/subset/04_analysis" in contents
        for page in ("runs/12-lead", "machine", "notebooks/04_analysis"):
            assert (f"file: {page}\n" in contents) == with_runs, page
            assert any(target.glob(f"{page}.*")) == with_runs, page


def test_a_report_is_one_page_that_the_engine_is_asked_for(tree, monkeypatch):
    monkeypatch.setattr(CLI, "run_engine", lambda *asked: print(*asked[2]))
    page = "outputs/report/html/index.html"
    assert tree.here("report").stdout.splitlines() == [page, str(tree.folder / page)]


def test_publishing_copies_tables_and_summaries(tree, built):
    folder = tree.folder / "book" / "published" / "tiny"
    assert tree.here("publish", "--study", TINY, "--keep", "tables").exit_code == 0
    assert {p.suffix for p in folder.rglob("*.*")} == {".csv", ".json", ".sha256"}
    assert tree.here("publish", "--study", TINY, "--keep", "pages").exit_code == 0
    assert {p.name for p in folder.glob("runs/12-lead/*")} == {"metrics.json", "training.ipynb"}
    assert "no problems found" in tree.here("verify", str(folder)).stdout
    result = tree.here("publish", "--study", TINY)
    assert result.exit_code == 0, result.stderr
    assert (folder / "tables" / "RESULTS.md").is_file()
    figures = {path.name for path in folder.glob("figures/*")}
    assert "answer.pdf" in figures
    assert "answer.png" not in figures, "no chapter shows it, and the page holds it"
    page = (folder / "notebooks" / "04_analysis.ipynb").read_text(encoding="utf-8")
    assert "# How few leads? Two configurations, one epoch" in page
    assert str(tree.folder) not in page
    runs = load_runs(folder / "runs", CONFIGS)  # enough to repeat the analysis
    assert runs["12-lead"].test.logits["default"].shape[1] > 30
    assert set(runs["12-lead"].metrics["files"]) == {"predictions.npz", "history.csv"}
    refused("names no checkpoint", load, folder / "runs" / "12-lead")
    assert "no problems found" in tree.here("verify", str(folder)).stdout


def test_publishing_replaces_what_it_made_itself_or_nothing(tree, built, monkeypatch):
    tree.write_study({"name": "absent"}, "absent")
    command_refused("not finished", tree.here("publish", "--study", "workflow/studies/absent.yml"))
    folder = tree.folder / "book" / "published" / "tiny"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "seal", fail)
    assert tree.here("publish", "--study", TINY).exit_code == 2
    folder.rename(folder.with_name(".tiny.old"))  # as if it had been killed while it replaced
    assert tree.here("publish", "--study", TINY).exit_code == 2
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert tree.here("publish", "--study", TINY).exit_code == 0
    assert not list(folder.parent.glob(".*"))
    page = folder / "notebooks" / "04_analysis.ipynb"
    page.write_bytes(page.read_bytes() + b" ")
    result = tree.here("verify", str(folder))
    assert result.exit_code == 1
    assert f"{page}: missing or not the file" in result.stdout
    (folder / "study.json").unlink()
    command_refused("did not make this folder", tree.here("publish", "--study", TINY))
    assert page.is_file()


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
    command_refused(message, tree.here(*words))


@pytest.mark.slow
def test_a_report_is_built_of_what_is_published_and_trains_nothing(root, tmp_path):
    tree = Tree(root, tmp_path)
    result = tree.process(tree.command("report"))
    assert result.returncode == 0, result.stderr
    index = tmp_path / "outputs" / "report" / "html" / "index.html"
    assert (result.stdout.strip(), index.is_file()) == (str(index), True)
    assert not list(tmp_path.glob("outputs/*/runs"))


@pytest.mark.slow
def test_a_killed_variant_goes_on_behind_its_last_epoch(tree, built):
    variants = ["scratch", "scratch-mixup", "random-network"]
    changes = {"configurations": ["1-lead-II"], "variants": variants, "epochs": 4}
    tree.write_study(changes, "tiny-ablation")
    process = tree.started("run", "--config", "scratch", study=ABLATION)
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
    tree.ran("--config", "scratch", study=ABLATION)
    history = load_run(folder).history
    assert list(history["epoch"]) == [1, 2, 3, 4]
    expected = [entry["seconds"] for entry in begun]  # a history keeps seven digits
    assert list(history["seconds"])[: len(begun)] == pytest.approx(expected, rel=5e-7)


@pytest.mark.slow
def test_an_ablation_is_a_study_and_can_be_published(tree, built):
    result = tree.ran("--all", study=ABLATION)
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
    result = tree.here("publish", "--study", ABLATION)
    assert Path(result.stdout.strip()) == published, result.stderr
    assert "published/tiny-ablation/05_ablation" in published_pages(tree.folder)
    text = (published / "notebooks" / "05_ablation.ipynb").read_text(encoding="utf-8")
    assert str(tree.folder) not in text
    difference = table.set_index("variant").loc["scratch-mixup", "auroc_difference"]
    assert f"{difference:+.3f}".replace("-", "−") in text
    assert (published / "figures" / "ablation.pdf").is_file()
    again = ablation_table(gather_variants(load_variants(published / "runs"), 100))
    assert [float(f"{x:.6g}") for x in again["auroc"]] == table["auroc"].tolist()
    assert tree.would_run(ABLATION) == []


@pytest.mark.slow
def test_a_map_is_a_study_and_can_be_published_and_read_again(tree, root, tmp_path):
    name, study = "tiny-map", "workflow/studies/tiny-map.yml"
    changes = {"configurations": ["12-lead"], "recipe": "any-lead", "compare_with": ""}
    tree.write_study(changes | {"map": "electrodes", "seeds": 2}, name)
    result = tree.ran("--all", study=study)
    out = tree.folder / "outputs" / name
    assert Path(result.stdout.strip().splitlines()[-1]) == out / "notebooks" / "06_map.ipynb"
    assert len(load_run(out / "map").recipes) == 67
    curve = pd.read_csv(out / "tables" / "curve.csv")
    assert "Nothing to be done" in (again := tree.ran("--all", study=study)).stdout + again.stderr
    damaged = out / "map" / "predictions-test.npz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert tree.here("verify", study).exit_code == 1
    assert "damaged, made again" in tree.ran("--all", study=study).stderr
    assert tree.here("verify", study).exit_code == 0
    published = tree.folder / "book" / "published" / name
    result = tree.here("publish", "--study", study)
    assert Path(result.stdout.strip()) == published, result.stderr
    assert load(published / "runs" / "12-lead").model.architecture.any_leads
    words = [sys.executable, "-m", "papermill", str(root / "notebooks" / "06_map.ipynb")]
    words += [str(tmp_path / "map.ipynb"), "-p", "map_out", str(published / "map")]
    words += ["-p", "n_resamples", "200", "-p", "tables_out", str(tmp_path)]
    words += ["-p", "figures_out", str(tmp_path)]
    result = tree.process(words)
    assert result.returncode == 0, result.stderr[-3000:]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curve.csv"), curve)


@pytest.mark.slow
def test_pages_are_executed_again_and_nothing_is_trained(tree, built):
    """After edits of the evidence and of a comment, and files that only look new.

    The training notebook was run and saved in JupyterLab, with its outputs.
    """
    everything = ["any-lead", *CONFIGS]
    (data,) = (tree.folder / "outputs" / "data").glob("*.h5")
    data.touch()
    assert tree.would_run() == sorted(everything)
    tree.edit("leadmin/evidence/resampling")
    tree.edit("leadmin/net/fit", "import torch\n", "import torch  # a comment\n")
    tree.edit("leadmin/data/ptbxl", new="\n# a comment\n")
    saved = tree.folder / "notebooks" / "03_training.ipynb"
    notebook = nbformat.read(saved, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[-1].outputs = [nbformat.v4.new_output("stream", text="0.5\n")]
    code[-1].execution_count = 20
    nbformat.write(notebook, saved)
    before = {name: tree.stamps(name) for name in everything}
    assert "nothing is trained again" not in tree.page("12-lead")
    tree.ran(*(word for name in CONFIGS for word in ("--config", name)))
    assert {name: tree.stamps(name) for name in everything} == before
    for name in everything:
        assert "nothing is trained again" in tree.page(name)
        assert "validation AUROC" in tree.page(name), "the page shows the history all the same"
    assert tree.would_run() == []
    pairs = tree.process([sys.executable, "workflow/pair_notebooks.py", "--check"])
    assert pairs.returncode == 0, "outputs of a working copy are no difference"


def test_notebooks_out_of_step_name_what_mends_them(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pair_notebooks, "NOTEBOOKS", tmp_path)
    script, pair = (tmp_path / f"02_resnet{end}" for end in (".py", ".ipynb"))
    for path in (script, pair):
        shutil.copyfile(root / "notebooks" / path.name, path)

    def said(*options):
        monkeypatch.setattr(sys, "argv", ["pair_notebooks.py", *options])
        return pair_notebooks.main(), capsys.readouterr().err

    script.write_text(script.read_text(encoding="utf-8") + "\n# %%\n1 + 1\n", encoding="utf-8")
    os.utime(pair, (1, 1))
    code, told = said("--check")
    assert code == 1
    assert "02_resnet.py is not in its .ipynb; run `python workflow/pair_noteb" in told
    assert [said(), said("--check")] == [(0, "")] * 2
    text = pair.read_text(encoding="utf-8")
    pair.write_text(text.replace("1 + 1", "2 + 2"), encoding="utf-8")
    os.utime(script, (1, 1))
    (command,) = re.findall("`(.*)`", said("--check")[1])
    assert command == f"jupytext --sync {pair}"
    jupytext(command.split()[1:])
    assert "2 + 2" in script.read_text(encoding="utf-8")
    # Outputs of a working copy are no difference, and go when the pair is written.
    notebook = nbformat.read(pair, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="4\n")]
    nbformat.write(notebook, pair)
    assert [said("--check"), said()] == [(0, "")] * 2
    assert pair_notebooks.clean(nbformat.read(pair, as_version=4))


@pytest.mark.slow
def test_damage_is_found_said_and_made_again(tree, built):
    assert "no problems found" in tree.here("verify", TINY).stdout
    runs, before = tree.out / "runs", tree.stamps("12-lead")
    checkpoint = runs / "any-lead" / "checkpoints" / "any-lead-seed0.safetensors"
    page = tree.out / "notebooks" / "02_resnet.ipynb"
    flip(checkpoint)
    flip(page)
    (runs / "2-lead-I-II" / "metrics.json").unlink()
    (runs / "12-lead" / "notes.txt").write_text("mine")
    found = [
        f"{checkpoint}: missing or not the file that",
        f"{page}: missing or not the file that",
        f"{runs / '2-lead-I-II'}: no metrics.json",
        f"{runs / '2-lead-I-II' / 'metrics.json'}: missing or not the file that",
    ]
    result = tree.here("verify", TINY)
    assert result.exit_code == 1
    assert all(problem in result.stdout for problem in found)
    assert "12-lead/notes.txt: not a file of this run; left alone" in result.stdout
    assert len(result.stdout.splitlines()) == len(found) + 1
    dry = tree.ran("--all", "--dry-run")
    assert all(f"damaged, made again: {problem}" in dry.stderr for problem in found)
    assert "chapter=02_resnet" in dry.stdout + dry.stderr
    result = tree.ran("--config", "2-lead-I-II")
    assert [problem in result.stderr for problem in found] == [True, False, True, True]
    for name in ("any-lead", "2-lead-I-II"):
        assert "nothing is trained again" not in tree.page(name)
        assert load(runs / name).leads
    assert tree.stamps("12-lead") == before
    result = tree.here("verify", TINY)
    assert result.exit_code == 1
    assert [problem in result.stdout for problem in found] == [False, True, False, False]


@pytest.mark.slow
def test_force_trains_what_is_wanted_again(tree, built):
    before = {name: tree.stamps(name) for name in ("any-lead", "2-lead-I-II")}
    tree.ran("--config", "2-lead-I-II", "--force")
    after = {name: tree.stamps(name) for name in before}
    assert after["any-lead"] == before["any-lead"]
    assert all(after["2-lead-I-II"][file] > stamp for file, stamp in before["2-lead-I-II"].items())


@pytest.mark.slow
def test_an_analysis_that_fails_leaves_the_one_before(tree, built):
    template = tree.folder / "notebooks" / "04_analysis.ipynb"
    text = template.read_text(encoding="utf-8")
    files = [tree.out / "notebooks" / "04_analysis.ipynb", *(tree.out / "tables").glob("*.json")]
    before = [path.read_bytes() for path in files]
    template.write_text(text.replace("use_style()", "1 / 0", 1), encoding="utf-8")
    result = tree.leadmin("run", "--all")
    assert result.returncode == 2
    assert f"their tracebacks are in {tree.out / 'logs'}" in result.stderr
    assert "ZeroDivisionError" in (tree.out / "logs" / "04_analysis.ipynb").read_text()
    assert [path.read_bytes() for path in files] == before
    assert not (tree.out / "notebooks" / "04_analysis.ipynb.sha256").exists(), "it is not done"
    template.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_a_change_to_the_code_of_training_trains(tree, built):
    before = tree.stamps("2-lead-I-II")
    tree.edit("leadmin/net/fit")
    assert tree.would_run() == ["12-lead", "2-lead-I-II", "any-lead"]
    tree.ran("--config", "2-lead-I-II")
    after = tree.stamps("2-lead-I-II")
    assert all(after[name] > before[name] for name in before)
    for name in ("any-lead", "2-lead-I-II"):
        assert "nothing is trained again" not in tree.page(name)


@pytest.mark.slow
def test_a_failing_run_leaves_its_notebook_with_the_traceback(tree, built):
    line = "        recipe = self.recipe.start\n"
    tree.edit("leadmin/study/train", line, f"{line}        if recipe:\n            1 / 0\n")
    result = tree.leadmin("run", "--config", "12-lead")
    tree.edit("leadmin/study/train", "        if recipe:\n            1 / 0\n", "")
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
    result = CliRunner().invoke(importlib.reload(CLI).app, ["configs"])
    command_refused("this system is not supported; valid: Linux, macOS, and Windows by WSL", result)


@pytest.mark.slow
def test_a_workflow_killed_at_any_moment_is_finished_by_the_next(root, tmp_path):
    tree = Tree(root, tmp_path)
    for seconds in (4, 9, 15, 22, 30):
        process = tree.started("run", "--all")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    tree.ran("--all")
    assert (tree.out / "book" / "html" / "index.html").is_file()
