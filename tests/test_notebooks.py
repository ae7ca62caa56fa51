"""Notebooks through papermill, the door that batch users come through."""

import json
import re
import subprocess
import sys
from dataclasses import fields

import matplotlib as mpl
import nbformat
import numpy as np
import papermill
import pytest
from archives import make_files, write_zip
from evidence_fixtures import on_records, one_run, synthetic_runs, with_original_on, write_runs
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
from trees import cut_archive

from leadmin.data.prepare import prepare
from leadmin.errors import LeadminError
from leadmin.study.run import load_run
from leadmin.study.settings import RunSettings

FACT = re.compile(r'\{eval\}`(?:facts\.(\w+)|f"\{facts\.(\w+):[^{}"]+\}")`')


def executed(root, folder, notebook, **parameters):
    """The outputs of a notebook that papermill executed in a folder."""
    source = str(root / "notebooks" / f"{notebook}.ipynb")
    words = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", source, "out.ipynb", "--no-progress-bar", *words]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    cells = nbformat.read(folder / "out.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    prose = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    asked = {name for fact in FACT.finditer(prose) for name in fact.groups()[:2] if name}
    assert asked <= glued(outputs), "the prose asks for what no cell gives"
    assert len(FACT.findall(prose)) == prose.count("{eval}") + prose.count("{glue")
    return outputs


def glued(outputs):
    found = [output.get("metadata", {}).get("scrapbook", {}).get("name") for output in outputs]
    return set(filter(None, found))


def test_the_parameters_of_the_training_notebook_are_those_of_a_run(root):
    notebook = root / "notebooks" / "03_training.ipynb"
    shown = papermill.inspect_notebook(str(notebook))
    assert list(shown) == [field.name for field in fields(RunSettings)]
    for name, field in RunSettings.__pydantic_fields__.items():
        said = {key: shown[name][key] for key in ("inferred_type_name", "default", "help")}
        assert said == {
            "inferred_type_name": field.annotation.__name__,
            "default": json.dumps(field.default).replace("false", "False"),
            "help": field.description,
        }


def test_bare_papermill_writes_a_run_and_a_page_that_says_what_it_measured(root, tmp_path):
    """The README's papermill line, in a folder that has nothing to do with the clone."""
    cut_archive(tmp_path / "cut.zip")
    options = {"config": "3-lead-I-II-V2", "epochs": 1, "data": "cut.zip"}
    outputs = executed(root, tmp_path, "03_training", **options)
    run = load_run(tmp_path / "outputs" / "adhoc" / "runs" / "3-lead-I-II-V2")
    assert run.leads == ("I", "II", "V2")
    assert list(run.history["epoch"]) == [1, 1]
    assert {"auroc", "auroc_text", "n_records", "n_patients"} <= glued(outputs)
    measured = f"{run.metrics['test']['default'][0]['auroc']:.3f}"
    assert measured in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("01_data_exploration", {"colour": "red"}, "unknown parameter colour; valid: data"),
        ("02_resnet", {"colour": "red"}, "unknown parameter colour; valid: data"),
        ("04_analysis", {"colour": "red"}, "unknown parameter colour; valid: runs"),
        ("05_ablation", {"colour": "red"}, "unknown parameter colour; valid: runs"),
        ("06_map", {"colour": "red"}, "unknown parameter colour; valid: map_of"),
        ("06_map", {"map_out": "absent"}, "absent: no metrics.json"),
        ("03_training", {"epoch": 3}, "unknown parameter epoch; valid: config, data, out, recipe"),
        ("03_training", {"config": "3-lead-I-II-V9"}, "3-lead-I-II-V2"),
        ("03_training", {"config": "I,V9"}, "V1, V2, V3"),
        ("03_training", {"epochs": -1}, "epochs is -1; valid: whole numbers from 0"),
        ("03_training", {"data": "absent.h5"}, "absent.h5"),
    ],
)
def test_every_notebook_refuses_what_is_not_valid(
    root, tmp_path, monkeypatch, name, parameters, message
):
    """Its first cells, as papermill would hand them to a kernel."""
    monkeypatch.chdir(tmp_path)
    template = papermill.iorw.load_notebook_node(str(root / "notebooks" / f"{name}.ipynb"))
    cells = papermill.parameterize.parameterize_notebook(template, parameters).cells
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    first = [cell.source for cell in cells if cell.cell_type == "code"][:5]
    with mpl.rc_context():
        errors = [shell.run_cell(one, store_history=True).error_in_exec for one in first]
    assert message in str(next(error for error in errors if isinstance(error, LeadminError)))
    assert list(tmp_path.iterdir()) == [], "a refused run must not leave a folder"


@pytest.mark.slow
def test_a_file_at_500_hz_goes_through(root, tmp_path):
    archive = write_zip(tmp_path / "ptb-xl.zip", make_files(240, rates=(500,)))
    prepare(archive, tmp_path / "data.h5", 500)
    options = {"config": "v1, i", "data": "data.h5", "recipe": "scratch", "compare_with": ""}
    executed(root, tmp_path, "03_training", epochs=1, **options)
    run = load_run(tmp_path / "outputs" / "adhoc" / "runs" / "I,V1")
    assert run.metrics["provenance"]["data"]["sampling_rate"] == 500
    assert " at 500 Hz" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow  # `to_read`, and each of its questions, has a test of its own
def test_the_ablation_shows_what_is_published_where_nothing_was_run(root, tmp_path):
    if (root / "outputs" / "ablation" / "runs").exists():
        pytest.skip("the ablation was run here")
    executed(root, tmp_path, "05_ablation", n_resamples=50)
    text = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert "not here, so this page shows what the book publishes" in text
    assert "run `leadmin run --all --study workflow/studies/ablation.yml` first" in text
    assert (tmp_path / "outputs" / "adhoc" / "ablation" / "ablation.csv").is_file()
    kept = root / "book" / "published" / "ablation"
    assert not [path.name for path in kept.rglob("*") if path.name == "ablation.csv"][1:]


def analysis(root, folder, **options):
    """All text of the analysis of the runs in a folder, which gets its tables and figures."""
    places = {f"{what}_out": folder / what for what in ("tables", "figures")}
    places |= {"runs": folder / "runs", "n_resamples": 100}
    outputs = executed(root, folder, "04_analysis", **places, **options)
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    data = [output.data for output in outputs if "data" in output]
    return "\n".join(str(d.get(kind, "")) for d in data for kind in ("text/html", "text/markdown"))


@pytest.mark.slow  # the workflow's analysis is of one fold; test_questions asks all of pooled ones
def test_the_analysis_takes_pooled_folds_a_recipe_on_some_runs_and_subgroups(
    root, tmp_path, sample_file, sample
):
    names = ("12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II")
    runs = synthetic_runs(600, 1, strength=names, folds=range(1, 11))
    tested = sample.select(np.flatnonzero(sample.labels["any"].any(axis=1))[:600])
    labels = tested.labels["any"]
    for name, run in with_original_on(runs, names[:2]).items():
        runs[name] = on_records(run, tested, labels=labels)
    write_runs(runs, tmp_path / "runs", "crossval")
    text = analysis(root, tmp_path, data=sample_file)
    assert "Over 10 folds" in text
    assert "recipe original on 2 of 4 configurations" in text
    assert "not asked" in text
    assert "subgroups hold enough records of every class" in text
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.pdf")}
    assert drawn == {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"answer", "differences", "pairs", "ranks", "classes", "lrs"} <= drawn
    assert "subgroups" in drawn
    assert (tmp_path / "tables" / "folds.csv").is_file()
    assert "under 40" in (tmp_path / "tables" / "subgroups.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_analysis_of_a_single_run_says_what_it_lacks(root, tmp_path):
    write_runs({"12-lead": one_run(200)}, tmp_path / "runs", "holdout")
    text = analysis(root, tmp_path)
    assert "no comparison with twelve leads" in text
    assert "nothing to compare between folds" in text
    assert "hold one recipe" in text
    assert "Subgroups are not shown here: no data file was given." in text


def test_pages_that_appear_twice_hold_no_labels(root):
    for name in ("03_training", "04_analysis"):
        text = (root / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
        assert ":name:" not in text


def test_cells_are_short_and_surrounded_by_prose(root):
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].cell_type == "markdown"
        assert cells[-1].cell_type == "markdown", f"{path.name} ends without a summary"
        for cell in cells:
            if cell.cell_type == "code" and "import" not in cell.source:
                n_lines = sum(bool(line.strip()) for line in cell.source.splitlines())
                # a parameter is a line
                allowed = 17 if "parameters" in cell.metadata.get("tags", []) else 15
                assert n_lines <= allowed, f"{path.name}: {cell.source}"
