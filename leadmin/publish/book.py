"""From executed notebooks to the HTML book.

The published studies are the book; what a study produced on this machine is its appendix, or left
out. The sources are gathered in one folder: the prose chapters of ``book/``, published pages,
executed copies of the notebooks, one page per run, and pages about provenance that are made from
what the runs recorded about themselves. Jupyter Book builds that folder, and only a finished build
replaces the previous one.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from leadmin.errors import LeadminError
from leadmin.files import write_text
from leadmin.leads import electrodes_needed, resolve
from leadmin.net.recipes import recipe_table
from leadmin.questions import diagnoses
from leadmin.questions.electrodes import short_curve, with_training
from leadmin.show.words import markdown_table, number, value_with_interval
from leadmin.study.mapping import ANY_LEAD
from leadmin.study.run import Run, load_run, require_same_records
from leadmin.study.settings import Study
from leadmin.study.validity import read_metrics, study_problems

CHAPTERS = ("01_data_exploration", "02_resnet")
"""Explanatory notebooks, which train nothing and are executed for every book."""

BY_RUNS = ("runs/", "notebooks/", "machine")
"""How the names of pages begin that need something executed here; a book may lack some of them."""


def build_book(study: Study, root: Path, with_runs: bool = True) -> Path:
    """Gather the sources of a book and build it, warnings being errors.

    ``root`` is the source tree. With runs, what ``study`` produced on this machine is the book's
    appendix, and it lies in ``outputs/<study>/book``; without, the published studies stand alone,
    in ``outputs/report``. Gives the book's ``index.html``; what is unfinished, and a build that
    fails, is refused.
    """
    if study.mapping and with_runs:
        raise LeadminError(
            f"study {study.name}: its records are your own, and the book's prose is about PTB-XL; "
            f"valid: a study of PTB-XL; read outputs/{study.name}/notebooks/04_analysis.ipynb"
        )
    folder = root / "outputs" / study.name / "book" if with_runs else root / "outputs" / "report"
    source = folder / "source"
    gather(study, root, source, with_runs)
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


def gather(study: Study, root: Path, target: Path, with_runs: bool = True) -> None:
    """Put all that a book is made of into the folder ``target``, with a study's runs or not."""
    out = root / "outputs" / study.name
    problems = study_problems(out, study.networks) if with_runs else {}
    for published in (root / "book" / "published").glob("[!.]*"):
        problems |= study_problems(published)
    for found in problems.values():
        raise LeadminError("\n".join(found))
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target, ignore=shutil.ignore_patterns("published"))
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copyfile(root / name, target / name)
    runs = {name: load_run(out / "runs" / name) for name in study.networks if with_runs}
    if runs:
        require_same_records(runs.values())
    names = (*CHAPTERS, *(study.conclusions if with_runs else ()))
    pages = {f"notebooks/{name}": out / "notebooks" / f"{name}.ipynb" for name in names}
    own = {f"runs/{name}": run.folder / "training.ipynb" for name, run in runs.items()}
    pages, of_networks = pages | own, published_runs(root)
    executions: dict[str, Any] = {}
    for page, path in (pages | published_pages(root) | of_networks).items():
        if not path.is_file():
            raise LeadminError(f"{path}: this page is not executed; run the study with --all first")
        notebook = nbformat.read(path, as_version=4)
        executions[page] = notebook.metadata.get("papermill", {})
        if page in own | of_networks:
            _title_run(notebook, read_metrics(path.parent))
        _place(notebook, target / f"{page}.ipynb")
    tables = root / "book" / "published" / "subset" / "tables"
    first = short_curve(*(pd.read_csv(tables / f"{name}.csv") for name in ("curve", "map")))
    write_text(target / "electrode_table.md", f"{markdown_table(first)}\n")
    # What prose shows and claims read, and beside the pages all of it, to be taken away.
    others = ("*.ipynb", "*.md", "*.npz", "*.pdf", "runs")
    for place, unwanted in ((target, others), (target / "files", ())):
        left_out = shutil.ignore_patterns(".*", *unwanted)
        at = place / "published"
        shutil.copytree(root / "book" / "published", at, ignore=left_out, dirs_exist_ok=True)
    recipes = recipe_table("original", "default").rename_axis("setting").to_markdown()
    write_text(target / "recipes_table.md", f"{recipes}\n")
    texts = {
        "networks": _rendered("networks", table=networks_table(root, of_networks)),
        "provenance": _rendered("provenance", **published_provenance(root)),
        "runs": _rendered(
            "yours",
            study=study,
            table=runs_table(runs.values()) if runs else "",
            run=next((run.metrics for run in runs.values()), {}),
        ),
    }
    if runs:
        texts["machine"] = _rendered(
            "machine",
            study=study,
            **_recorded([run.metrics for run in runs.values()]),
            trained={f"runs/{name}": run.metrics["seconds"] for name, run in runs.items()},
            executions={page: executions[page] for page in pages},
            jupyter_book=version("jupyter-book"),
        )
    for page, text in texts.items():
        write_text(target / f"{page}.md", text)
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    listed = _listed(contents, {*pages, *texts}, runs, of_networks)
    write_text(target / "_toc.yml", yaml.safe_dump(listed, sort_keys=False))


def published_pages(root: Path) -> dict[str, Path]:
    """Find the executed notebooks of published studies: page name to file."""
    files = sorted(root.glob("book/published/[!.]*/notebooks/*.ipynb"))
    return {f"published/{path.parts[-3]}/{path.stem}": path for path in files}


def published_runs(root: Path) -> dict[str, Path]:
    """Find the executed training notebooks of published runs: page name to file, by leads."""
    files = root.glob("book/published/[!.]*/runs/*/training.ipynb")
    by_leads = sorted(files, key=lambda path: (-len(read_metrics(path.parent)["leads"]), path))
    return {f"published/{path.parts[-4]}/runs/{path.parts[-2]}": path for path in by_leads}


def _title_run(notebook: nbformat.NotebookNode, run: Mapping[str, Any]) -> None:
    """Give the executed template the title of its configuration, from what its run says."""
    first = notebook.cells[0]
    title = f"{run['config']}: {len(run['leads'])} lead{'s' * (len(run['leads']) > 1)} on trial"
    if next(iter(run["recipes"])) == ANY_LEAD:
        title = f"{ANY_LEAD}: the network that the others start from"
    first.source = re.sub(r"\A# .*", f"# {title}", first.source)


def _place(notebook: nbformat.NotebookNode, destination: Path) -> None:
    """Write a page, its code folded away where a chapter explains, and parameters everywhere."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        seldom = {"parameters", "injected-parameters"} & set(tags) or destination.stem in CHAPTERS
        if cell.cell_type == "code" and seldom and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
    destination.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, destination)


def _listed(
    contents: dict[str, Any], pages: Collection[str], runs: Iterable[str], published: Iterable[str]
) -> dict[str, Any]:
    """Name the runs of the study and published ones in a table of contents.

    The pages that it lacks are left out.
    """

    def there(entry: Mapping[str, Any]) -> bool:
        return entry["file"] in pages or not entry["file"].startswith(BY_RUNS)

    for part in contents.get("parts", []):
        part["chapters"] = [chapter for chapter in part["chapters"] if there(chapter)]
        for chapter in part["chapters"]:
            sections = chapter.pop("sections", [])
            own = [{"file": f"runs/{name}", "title": name} for name in runs]
            others = [one for one in sections if not one["file"].startswith("runs/")]
            if kept := [one for one in (*others, *own) if there(one)] if sections else []:
                chapter["sections"] = kept
            if chapter["file"] == "networks":
                named = [{"file": page, "title": page.rpartition("/")[2]} for page in published]
                chapter |= {"sections": named} if named else {}
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


def networks_table(root: Path, pages: Iterable[str]) -> str:
    """Write the table of published runs side by side, each linked to its page.

    Missed in 1,000 records and macro AUROC are those of the primary recipe; the interval counts
    training where several seeds allow. A network for any leads stands in the map instead.
    """
    read = cache(lambda path: pd.DataFrame(pd.read_csv(path)))
    rows = []
    for page in pages:
        _, study, _, name = page.split("/")
        tables = root / "book" / "published" / study / "tables"
        main, missed = (read(tables / f"{kind}.csv") for kind in ("main", "missed"))
        scored = main[(main["config"] == name) & (main["recipe"] == main["recipe"].iloc[0])]
        if scored.empty:
            continue
        (row,) = with_training(scored).to_dict("records")
        own = missed[(missed["config"] == name) & (missed["recipe"] == row["recipe"])]
        of_class = own.set_index("class")["missed"]
        electrodes = electrodes_needed(resolve(name).leads)
        rows.append(
            {"leads": f"[{row['leads']}]({page})", "recording electrodes": len(electrodes)}
            | {f"{one} missed": number(of_class[one], 0) for one in diagnoses(of_class.index)}
            | {"macro AUROC": value_with_interval(row, "auroc"), "seeds": row["n_seeds"]}
        )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) if rows else ""


def published_provenance(root: Path) -> dict[str, Any]:
    """Gather what the runs of published studies recorded, and what can be downloaded."""
    studies = []
    folders = sorted(path.parent for path in root.glob("book/published/[!.]*/study.json"))
    for folder in folders:
        runs = [read_metrics(file.parent) for file in sorted(folder.glob("runs/*/metrics.json"))]
        of_study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        pages = [page for page, path in published_pages(root).items() if folder in path.parents]
        studies.append({"study": of_study, "pages": pages, **_recorded(runs)})
    return {"studies": studies, "folders": folders, "chapters": CHAPTERS}


def _recorded(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bring together what the summaries of runs say of data, machines and versions."""
    recorded = [run["provenance"] for run in runs]
    return {
        "first": recorded[0],
        "machines": sorted(set(map(_machine, recorded))),
        "commits": sorted({str(one["git_commit"]) for one in recorded}),
        "days": sorted({one["date"] for one in recorded}),
        "hours": sum(run.get("seconds", 0) for run in runs) / 3600,
        "n_runs": len(runs),
    }


def _rendered(template: str, **values: Any) -> str:
    """Fill in one of this folder's templates; a value that it lacks is an error."""
    templates = Environment(
        loader=PackageLoader("leadmin.publish", ""), undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template(f"{template}.md.jinja").render(**values)


def _machine(provenance: Mapping[str, Any]) -> str:
    return (
        f"{provenance['system']}, {provenance['processor']}, {provenance['n_cores']} cores "
        f"({provenance['n_threads']} per run), {provenance['accelerator'] or 'no accelerator'}"
    )
