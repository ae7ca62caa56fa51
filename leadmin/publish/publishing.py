"""What is worth keeping of a study, in ``book/published``: committed, and in every book.

Nothing else writes there. A folder is replaced as a whole or not at all, and only one that was made
here: it holds ``study.json``, and in ``all.sha256`` the checksum of every file.
"""

import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import nbformat
import numpy as np
import pandas as pd

from leadmin.errors import LeadminError
from leadmin.files import write_json
from leadmin.questions import questions
from leadmin.study.protocol import N_FOLDS
from leadmin.study.run import Run, load_run, prediction_files, require_same_records
from leadmin.study.settings import Study
from leadmin.study.validity import SEAL, finish_run, seal, seal_problems, valid_metrics

TITLES = {"04_analysis": "How few leads?", "06_map": "How few electrodes?"}
"""Of pages that a book holds for several studies, whose own title goes behind."""

EDITION = "sample"
"""The study that every `make book` runs again, whose pages are never copied."""


Kept: TypeAlias = Literal["all", "pages", "tables"]
"""What is published of a study: all, or without the predictions, or its tables alone."""


def publish_study(study: Study, root: Path, keep: Kept = "all") -> Path:
    """Copy what is worth keeping of a study to ``book/published/<study>``, and give that folder.

    The executed analysis, tables, figures, the map and, for each run, its summary, history and
    predictions, so that everything can be computed again without training; of a study with an
    analysis the page of each configuration, too. Of checkpoints only those of a network for any
    leads that test fold 10, of all seeds; of networks that only check the map, what its tables say.
    A folder published before is replaced as a whole. What is not finished, or damaged, is refused,
    and so is a folder that was not published. Of ``pages`` the predictions are left out, which are
    most of it, and of ``tables`` all but the tables (CSV) that are read, and what each run says of
    itself: nothing can be computed again.
    """
    out = root / "outputs" / study.name
    for name in study.checks:
        valid_metrics(out / "runs" / name)
    kept = [name for name in study.runs if name not in study.checks]
    runs = {name: load_run(out / "runs" / name) for name in kept}
    require_same_records(runs.values())
    pages = [f"notebooks/{page}.ipynb" for page in study.conclusions]
    if study.has_analysis and keep != "tables":
        pages += [study.page(run) for run in study.configurations]
    for page in (out / name for name in pages):
        if not page.is_file():
            raise LeadminError(f"{page}: this page is not executed; run the study with --all first")
        for problem in seal_problems(page.with_name(page.name + SEAL)):
            raise LeadminError(problem)
    target = root / "book" / "published" / study.name
    with _replaced(target, study.plain()) as scratch:
        _copy_results(out, scratch, root, keep == "tables")
        _copy_runs(runs, scratch / "runs", keep == "all")
        if study.map and keep == "all":
            _copy_runs({"map": load_run(out / "map")}, scratch)
        for name in pages if study.name != EDITION and keep != "tables" else ():
            _copy_page(out / name, scratch / name, study.title)
    return target


@contextmanager
def _replaced(target: Path, study: Mapping[str, Any]) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``target``, described and sealed, at the end."""
    scratch, older = (target.with_name(f".{target.name}.{end}") for end in ("new", "old"))
    if older.exists() and not target.exists():  # a replacement that was killed
        older.rename(target)
    if target.exists() and not (target / "study.json").is_file():
        raise LeadminError(
            f"{target}: `leadmin publish` did not make this folder, as it holds no study.json; "
            "valid: a free name; move it, or change the study's name"
        )
    for left in (scratch, older):
        shutil.rmtree(left, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        write_json(scratch / "study.json", study)
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        seal(scratch / f"all{SEAL}", files)
        if target.exists():
            target.rename(older)
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        if older.exists() and not target.exists():
            older.rename(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _copy_results(out: Path, target: Path, root: Path, alone: bool = False) -> None:
    """Copy tables and figures; of those, pictures that no chapter shows are in the pages anyway.

    ``alone`` copies the tables that are read, as CSV.
    """
    prose = "".join(path.read_text(encoding="utf-8") for path in root.glob("book/*.md"))
    drawn = {name for question in questions() for name in question.only_csv}
    for part in ("tables",) if alone else ("tables", "figures"):
        for path in (out / part).glob("*"):
            if alone and (path.suffix != ".csv" or path.stem in drawn):
                continue
            if path.suffix != ".png" or f"/{out.name}/figures/{path.name}" in prose:
                (target / part).mkdir(exist_ok=True)
                shutil.copyfile(path, target / part / path.name)


def _copy_runs(runs: Mapping[str, Run], target: Path, predictions: bool = True) -> None:
    for name, run in runs.items():
        kept = [*prediction_files(run.metrics), "history.csv"] if predictions else []
        if run.reads_any_lead and predictions:  # the networks of one fold
            own = (file for file in run.metrics["files"] if file.startswith("checkpoints/"))
            kept += [file for file in own if f"-fold{N_FOLDS}." in file or "-fold" not in file]
        for file in kept:
            (target / name / file).parent.mkdir(parents=True, exist_ok=True)
            copy = {".npz": _copy_arrays, ".csv": _copy_history}.get(
                Path(file).suffix, shutil.copyfile
            )
            copy(run.folder / file, target / name / file)
        finish_run(target / name, run.metrics, kept)


def _copy_arrays(source: Path, target: Path) -> None:
    """Copy predictions, packed more densely: the seeds of a record are alike, so side by side."""
    with np.load(source, allow_pickle=False) as arrays:
        kept = dict(arrays)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_BZIP2) as archive:  # NumPy reads that, too
        for name, values in kept.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asfortranarray(values), allow_pickle=False)


def _copy_history(source: Path, target: Path) -> None:
    """Copy what the curves of a history show, with four digits: not each class for itself."""
    rows = pd.read_csv(source)
    kept = [name for name in rows if not str(name).startswith("validation_auroc_")]
    rows[kept].to_csv(target, index=False, float_format="%.4g")


def _copy_page(page: Path, target: Path, title: str = "") -> None:
    """Copy an executed notebook without the folders of this machine; ``title`` is its study's."""
    notebook = nbformat.read(page, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    cells = notebook.cells
    notebook.cells = [c for c in cells if "injected-parameters" not in c.metadata.get("tags", [])]
    if page.stem in TITLES:
        heading = f"# {TITLES[page.stem]} {title}"
        notebook.cells[0].source = re.sub(r"\A# .*", heading, notebook.cells[0].source)
    target.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, target)


def publish_trials(out: Path, page: Path, root: Path) -> Path:
    """Keep trials of networks and their executed page in ``book/published``, and give the folder.

    The folder has the name of ``out``, where each trial, ``tables`` and ``figures`` lie. What is
    published is all that the page is computed from, but for the map.
    """
    target = root / "book" / "published" / out.name
    said = {"name": out.name, "title": "Other hospitals, noise and lost electrodes"}
    said |= {"protocol": "crossval", "label_policy": "any"}  # of the networks on trial
    trials = {path.parent.name: load_run(path.parent) for path in out.glob("runs/*/metrics.json")}
    with _replaced(target, said) as scratch:
        _copy_results(out, scratch, root)
        _copy_runs(trials, scratch / "runs")
        _copy_page(page, scratch / "notebooks" / page.name)
    return target
