"""From executed notebooks to the HTML book.

The book's sources are gathered in one folder per study, ``outputs/<study>/book/source``: the
prose chapters of ``book/``, the executed copies of the notebooks, one page per run, and a
provenance page that is made from what the runs recorded about themselves. Jupyter Book builds
that folder, and only a finished build replaces the previous one.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from leadmin.errors import LeadminError
from leadmin.files import write_text
from leadmin.leads import resolve
from leadmin.net.recipes import recipe_table
from leadmin.publish.first_screen import write_first_screen
from leadmin.study.run import Run, load_run, require_same_records
from leadmin.study.settings import Study
from leadmin.study.validity import study_problems

CHAPTERS = ("01_data_exploration", "02_resnet")


MAP = "notebooks/06_map"


def build_book(study: Study, root: Path) -> Path:
    """Gather the sources of a study's book and build it, warnings being errors.

    ``root`` is the source tree. Gives the book's ``index.html``; what is unfinished, and a build
    that fails, is refused.
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
    problems = study_problems(out, study.networks)
    for published in (root / "book" / "published").glob("[!.]*"):
        problems |= study_problems(published)
    for found in problems.values():
        raise LeadminError("\n".join(found))
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target, ignore=shutil.ignore_patterns("published"))
    shutil.copyfile(root / "_config.yml", target / "_config.yml")
    notebooks = {
        f"notebooks/{name}": out / "notebooks" / f"{name}.ipynb"
        for name in (*CHAPTERS, *study.conclusions)
    }
    pages = {name: load_run(out / "runs" / name) for name in study.networks}
    require_same_records(pages.values())
    notebooks |= {f"runs/{name}": run.folder / "training.ipynb" for name, run in pages.items()}
    machine: list[tuple[str, Any]] = []
    for page, path in notebooks.items():
        if not path.is_file():
            raise LeadminError(f"{path}: this page is not executed; run the study with --all first")
        notebook = nbformat.read(path, as_version=4)
        machine.append((page, notebook.metadata.get("papermill", {})))
        if page.startswith("runs/"):
            _title_run(notebook, pages[page.removeprefix("runs/")])
        _place(notebook, target / f"{page}.ipynb")
    for page, path in published_pages(root).items():
        _place(nbformat.read(path, as_version=4), target / f"{page}.ipynb")
    write_first_screen(root, target)
    for figure in (root / "book" / "published").glob("[!.]*/figures/*.png"):
        copy = target / figure.relative_to(root / "book")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figure, copy)
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    write_text(
        target / "_toc.yml", yaml.safe_dump(_listed(contents, pages, notebooks), sort_keys=False)
    )
    write_text(target / "runs_table.md", runs_table(pages.values()))
    recipes = recipe_table("original", "default").to_markdown()
    write_text(target / "recipes_table.md", f"{recipes}\n")
    write_text(target / "provenance.md", provenance_page(study, pages, machine))


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
    title = f"{run.config}: {leads} on trial"
    if run.reads_any_lead:
        title = f"{run.recipes[0]}: the network that the others start from"
    first.source = re.sub(r"\A# .*", f"# {title}", first.source)


def _place(notebook: nbformat.NotebookNode, destination: Path) -> None:
    """Write a page, with the cells folded away that a reader seldom needs: the parameters."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if {"parameters", "injected-parameters"} & set(tags) and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
    destination.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, destination)


def _listed(
    contents: dict[str, Any], runs: Iterable[str], notebooks: Iterable[str]
) -> dict[str, Any]:
    """Replace the runs in a table of contents by those of the study; leave out a map it lacks."""
    for part in contents.get("parts", []):
        chapters = part.get("chapters", [])
        if MAP not in notebooks:
            chapters[:] = [chapter for chapter in chapters if chapter.get("file") != MAP]
        for chapter in chapters:
            if chapter.get("file") == "runs":
                chapter["sections"] = [{"file": f"runs/{name}", "title": name} for name in runs]
    return contents


def runs_table(runs: Iterable[Run]) -> str:
    """Write the table that links to one page per run, for the chapter on the runs."""
    rows = []
    for run in runs:
        name, leads, why = run.config, ", ".join(run.leads), resolve(run.config).why
        if run.reads_any_lead:
            name, leads = run.recipes[0], "all, a random part of them hidden"
            why = "The network of any lead set, which the others start from."
        rows.append((f"[{name}](runs/{name})", leads, why or "chosen for this study"))
    columns = ["configuration", "leads", "why it is in the study"]
    return pd.DataFrame(rows, columns=columns).to_markdown(index=False) + "\n"


def provenance_page(
    study: Study, runs: Mapping[str, Run], executions: Sequence[tuple[str, Any]]
) -> str:
    """Write the page that says on which data, with what and in how long the book was made.

    Parameters
    ----------
    study : Study
    runs : mapping of str to Run
        Its finished runs by the names of their pages.
    executions : sequence of (str, dict)
        Page and papermill's own record of its execution.
    """
    recorded = [run.metrics["provenance"] for run in runs.values()]
    templates = Environment(
        loader=PackageLoader("leadmin.publish", ""), undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template("provenance.md.jinja").render(
        study=study,
        first=recorded[0],
        machines=sorted(set(map(_machine, recorded))),
        commits=sorted({str(one["git_commit"]) for one in recorded}),
        trained={f"runs/{name}": run.metrics["seconds"] for name, run in runs.items()},
        executions=executions,
        jupyter_book=version("jupyter-book"),
    )


def _machine(provenance: Mapping[str, Any]) -> str:
    accelerator = provenance["accelerator"] or "no accelerator"
    return (
        f"{provenance['system']}, {provenance['processor']}, {provenance['n_cores']} cores "
        f"({provenance['n_threads']} per run), {accelerator}"
    )
