"""What is worth keeping of a study, in ``book/published``: committed, and in every book.

Nothing else writes there. A folder is replaced as a whole or not at all.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat

from leadmin.errors import LeadminError
from leadmin.files import write_json
from leadmin.study.run import Run, load_run, require_same_records
from leadmin.study.settings import Study

EDITION = "sample"
"""The study that every `make book` runs again, whose pages are never copied."""


def publish_study(study: Study, root: Path) -> Path:
    """Copy what is worth keeping of a study to ``book/published/<study>``.

    The executed analysis, tables, figures and, for each run, its summary, history and predictions,
    so that everything can be computed again without training; no checkpoints. A folder published
    before is replaced as a whole.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    LeadminError
        If a run or the analysis is not finished.
    """
    out = root / "outputs" / study.name
    if study.variants:
        names, page = study.variants, "05_ablation"
    else:
        names, page = study.configurations, "04_analysis"
    runs = {name: load_run(out / "runs" / name) for name in names}
    require_same_records(runs.values())
    analysis = out / "notebooks" / f"{page}.ipynb"
    if not analysis.is_file():
        raise LeadminError(f"{analysis}: this page is not executed; run the study with --all first")
    target = root / "book" / "published" / study.name
    with _replaced(target) as scratch:
        for part in ("tables", "figures"):
            if (out / part).is_dir():
                shutil.copytree(out / part, scratch / part)
        _copy_runs(runs, scratch / "runs")
        if study.name != EDITION:
            notebook = _portable(nbformat.read(analysis, as_version=4))
            if not study.variants:
                first = notebook.cells[0]
                first.source = re.sub(r"\A# .*", f"# How few leads? {study.title}", first.source)
            (scratch / "notebooks").mkdir()
            nbformat.write(notebook, scratch / "notebooks" / analysis.name)
        write_json(scratch / "study.json", study.plain())
    return target


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``target`` if all goes well."""
    scratch = target.with_name(f".{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def _copy_runs(runs: Mapping[str, Run], target: Path) -> None:
    for name, run in runs.items():
        (target / name).mkdir(parents=True)
        for file in ("metrics.json", "predictions.npz", "history.csv"):
            shutil.copyfile(run.folder / file, target / name / file)


def _portable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take the folders of this machine out of an executed notebook."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    cells = notebook.cells
    notebook.cells = [c for c in cells if "injected-parameters" not in c.metadata.get("tags", [])]
    return notebook
