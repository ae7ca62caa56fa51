"""From executed notebooks to the HTML book.

The book's sources are gathered in one folder per study, ``outputs/<study>/book/source``: the
prose chapters of ``book/``, the executed copies of the notebooks, one page per run, and a
provenance page that is made from what the runs recorded about themselves. Jupyter Book builds
that folder, and only a finished build replaces the previous one.
"""

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml

from leadmin.ablation import ablation_table, load_variants
from leadmin.atomic import write_json, write_text
from leadmin.errors import LeadminError
from leadmin.leads import resolve
from leadmin.study import Run, Study, load_runs

EDITION = "sample"
"""The study that every `make book` runs again, whose pages are never copied."""

CHAPTERS = ("01_data_exploration", "02_resnet", "04_analysis")


def build_book(study: Study, root: Path) -> Path:
    """Gather the sources of a study's book and build it, warnings being errors.

    Parameters
    ----------
    study : Study
        A study whose runs, chapters and analysis are finished.
    root : Path
        The source tree.

    Returns
    -------
    Path
        The book's ``index.html``.

    Raises
    ------
    LeadminError
        If something is unfinished or the build fails.
    """
    folder = root / "outputs" / study.name / "book"
    source = folder / "source"
    gather(study, root, source)
    scratch = folder / "build"
    shutil.rmtree(scratch, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    command += ["--path-output", str(scratch), "-n", "-W", "--keep-going", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    index = scratch / "_build" / "html" / "index.html"
    if result.returncode or not index.is_file():
        raise LeadminError(
            f"{source}: the book does not build\n{result.stdout[-4000:]}\n{result.stderr[-8000:]}"
        )
    html = folder / "html"
    shutil.rmtree(html, ignore_errors=True)
    index.parent.rename(html)
    shutil.rmtree(scratch)
    return html / "index.html"


def gather(study: Study, root: Path, target: Path) -> None:
    """Put everything that the book of ``study`` is made of into the folder ``target``."""
    out = root / "outputs" / study.name
    runs = load_runs(out / "runs", [resolve(name).name for name in study.configurations])
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target, ignore=shutil.ignore_patterns("published"))
    shutil.copyfile(root / "_config.yml", target / "_config.yml")
    notebooks = {f"notebooks/{name}": out / "notebooks" / f"{name}.ipynb" for name in CHAPTERS}
    notebooks |= {f"runs/{name}": run.folder / "training.ipynb" for name, run in runs.items()}
    machine: list[tuple[str, Any]] = []
    for page, path in notebooks.items():
        if not path.is_file():
            raise LeadminError(f"{path}: this notebook has not been executed; run the study")
        notebook = nbformat.read(path, as_version=4)
        machine.append((page, notebook.metadata.get("papermill", {})))
        if page.startswith("runs/"):
            _title_run(notebook, runs[page.removeprefix("runs/")])
        _tidy(notebook)
        destination = target / f"{page}.ipynb"
        destination.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, destination)
    for page, path in published_pages(root).items():
        notebook = nbformat.read(path, as_version=4)
        _tidy(notebook)
        destination = target / f"{page}.ipynb"
        destination.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, destination)
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    write_text(target / "_toc.yml", yaml.safe_dump(_list_runs(contents, runs), sort_keys=False))
    write_text(target / "runs_table.md", runs_table(runs))
    write_text(target / "provenance.md", provenance_page(study, runs, machine))


def published_pages(root: Path) -> dict[str, Path]:
    """Find the executed notebooks of published studies: page name to file."""
    folder = root / "book" / "published"
    return {
        f"published/{path.parent.parent.name}/{path.stem}": path
        for path in sorted(folder.glob("[!.]*/notebooks/*.ipynb"))
    }


def _title_run(notebook: nbformat.NotebookNode, run: Run) -> None:
    """Give the executed template the title of its configuration."""
    first = notebook.cells[0]
    leads = f"{len(run.leads)} lead{'s' * (len(run.leads) > 1)}"
    first.source = re.sub(r"\A# .*", f"# {run.config}: {leads} on trial", first.source)


def _tidy(notebook: nbformat.NotebookNode) -> None:
    """Fold away what a reader seldom needs: the cells that hold parameters."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if {"parameters", "injected-parameters"} & set(tags) and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]


def _list_runs(contents: dict[str, Any], runs: Iterable[str]) -> dict[str, Any]:
    """Replace the runs in a table of contents by those of the study."""
    for part in contents.get("parts", []):
        for chapter in part.get("chapters", []):
            if chapter.get("file") == "runs":
                chapter["sections"] = [{"file": f"runs/{name}", "title": name} for name in runs]
    return contents


def runs_table(runs: Iterable[str]) -> str:
    """Write the table that links to one page per run, for the chapter on the runs."""
    configurations = [resolve(name) for name in runs]
    rows = [
        (f"[{c.name}](runs/{c.name})", ", ".join(c.leads), c.why or "chosen for this study")
        for c in configurations
    ]
    return "\n".join(_table(("configuration", "leads", "why it is in the study"), rows))


def provenance_page(study: Study, runs: dict[str, Run], executions: list[tuple[str, Any]]) -> str:
    """Write the page that says on which data, with what and in how long the book was made.

    Parameters
    ----------
    study : Study
        The study.
    runs : dict of str to Run
        Its finished runs.
    executions : list of (str, dict)
        Page and papermill's own record of its execution.

    Returns
    -------
    str
        MyST Markdown.
    """
    first = next(iter(runs.values())).metrics
    data, environment = first["provenance"]["data"], first["provenance"]
    machines = sorted({_machine(run.metrics["provenance"]) for run in runs.values()})
    commits = sorted({str(run.metrics["provenance"]["git_commit"]) for run in runs.values()})
    lines = [
        "# Provenance",
        "",
        f"Everything in this book that is not prose was computed by the study `{study.name}` "
        f"({study.title}). This page was written by the build, from what each run recorded about "
        "itself.",
        "",
        "## Data",
        "",
        *_table(
            ("item", "value"),
            [
                ("source", data["source"]),
                ("version", data["source_version"]),
                ("SHA-256 of the input files", f"`{data['inputs_sha256']}`"),
                ("SHA-256 of the prepared content", f"`{data['content_sha256']}`"),
                ("sampling rate", f"{data['sampling_rate']} Hz"),
                ("records, patients", f"{data['n_records']:,}, {data['n_patients']:,}"),
                ("protocol, label policy", f"{study.protocol}, {study.label_policy}"),
                ("licence", "CC BY 4.0 {cite}`wagner2020ptbxl,wagner2022physionet`"),
            ],
        ),
        "## Machine and versions",
        "",
        *_table(
            ("item", "value"),
            [
                *(("machine", machine) for machine in machines),
                *(("source code, commit", f"`{commit}`") for commit in commits),
                ("Python", environment["python"]),
                *environment["versions"].items(),
                ("jupyter-book", version("jupyter-book")),
            ],
        ),
        "A `+` behind a commit says that files had been changed since.",
        "",
        "## Time",
        "",
        "Wall-clock time of each notebook, start-up of its kernel included. Two runs go side by "
        "side where there are two cores, one core each.",
        "",
        *_table(
            ("page", "executed", "seconds"),
            [
                (
                    f"[](/{page}.ipynb)",
                    str(record.get("start_time", ""))[:10],
                    f"{record.get('duration') or 0:.1f}",
                )
                for page, record in executions
            ],
        ),
    ]
    return "\n".join(lines)


def _machine(provenance: dict[str, Any]) -> str:
    accelerator = provenance["accelerator"] or "no accelerator"
    return (
        f"{provenance['system']}, {provenance['processor']}, {provenance['n_cores']} cores "
        f"({provenance['n_threads']} per run), {accelerator}"
    )


def _table(header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [header, tuple("---" for _ in header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]


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
        parameters = {"runs": str(folder.resolve() / "runs")}
        parameters["figures_out"] = str(scratch.resolve() / "figures")
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
        write_text(scratch / "ablation.csv", ablation_table(runs).to_csv(index=False))
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
