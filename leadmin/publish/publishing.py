"""What is worth keeping of a study, in ``book/published``: committed, and in every book.

Nothing else writes there. A folder is replaced as a whole or not at all.
"""

import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill

from leadmin.errors import LeadminError
from leadmin.files import write_json
from leadmin.leads import resolve
from leadmin.questions.ablation import load_variants
from leadmin.study.run import Run, load_runs
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
    """
    out = root / "outputs" / study.name
    runs = load_runs(out / "runs", [resolve(name).name for name in study.configurations])
    target = root / "book" / "published" / study.name
    with _replaced(target) as scratch:
        shutil.copytree(out / "tables", scratch / "tables")
        if (out / "figures").is_dir():
            shutil.copytree(out / "figures", scratch / "figures")
        _copy_runs(runs, scratch / "runs")
        if study.name != EDITION:
            analysis = nbformat.read(out / "notebooks" / "04_analysis.ipynb", as_version=4)
            first = analysis.cells[0]
            first.source = re.sub(r"\A# .*", f"# How few leads? {study.title}", first.source)
            (scratch / "notebooks").mkdir()
            nbformat.write(_portable(analysis), scratch / "notebooks" / "04_analysis.ipynb")
        write_json(scratch / "study.json", dataclasses.asdict(study))
    return target


def publish_ablation(folder: Path, root: Path) -> Path:
    """Execute the chapter on the ablation and copy it with its runs to ``book/published``.

    Parameters
    ----------
    folder : Path
        What ``leadmin ablate`` wrote, with the folder ``runs``.
    root : Path
        The source tree.

    Returns
    -------
    Path
        ``book/published/ablation``.

    Raises
    ------
    LeadminError
        If there is no finished variant, or the notebook fails.
    """
    runs = load_variants(folder / "runs")
    target = root / "book" / "published" / "ablation"
    with _replaced(target) as scratch:
        _copy_runs(runs, scratch / "runs")
        executed = scratch / "notebooks" / "05_ablation.ipynb"
        executed.parent.mkdir()
        parameters = {
            "runs": str(folder.resolve() / "runs"),
            "figures_out": str(scratch.resolve() / "figures"),
            "tables_out": str(scratch.resolve()),
        }
        try:
            papermill.execute_notebook(
                str(root / "notebooks" / "05_ablation.ipynb"),
                str(executed),
                parameters,
                cwd=str(root),
                progress_bar=False,
            )
        except papermill.PapermillExecutionError as error:
            raise LeadminError(f"{folder}: the chapter on the ablation fails: {error}") from error
        notebook = _portable(nbformat.read(executed, as_version=4))
        nbformat.write(notebook, executed)
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
