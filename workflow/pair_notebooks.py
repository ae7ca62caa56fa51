"""Keep the two halves of each notebook in step: ``.py`` for people, ``.ipynb`` for papermill.

Without options, writes each ``.ipynb`` anew from its ``.py``. With ``--check``, changes nothing and
fails where the two differ or a notebook holds outputs.
"""

import argparse
import sys
from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def rendered(script: Path) -> str:
    """Give the ``.ipynb`` text that belongs to a percent script, the same each time."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def content(notebook: nbformat.NotebookNode) -> list[tuple]:
    """Give what counts in a comparison: kinds, sources and tags, and that there is no output."""
    return [
        (
            cell.cell_type,
            cell.source,
            cell.metadata.get("tags", []),
            cell.get("outputs", []),
            cell.get("execution_count"),
        )
        for cell in notebook.cells
    ]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only report differences")
    check = parser.parse_args().check
    scripts, differing = sorted(NOTEBOOKS.glob("*.py")), []
    orphans = {p.stem for p in NOTEBOOKS.glob("*.ipynb")} - {p.stem for p in scripts}
    for script in scripts:
        pair = script.with_suffix(".ipynb")
        text = rendered(script)
        if pair.is_file() and content(nbformat.read(pair, as_version=4)) == content(
            nbformat.reads(text, as_version=4)
        ):
            continue
        if check:
            differing.append(pair.name)
        else:
            pair.write_text(text, encoding="utf-8")
    for name in sorted(orphans):
        differing.append(f"{name}.ipynb (has no .py)")
    if differing:
        print(
            f"not in step with their .py: {', '.join(differing)}; "
            "run `python workflow/pair_notebooks.py`, or `jupytext --sync` after an edit in "
            "JupyterLab",
            file=sys.stderr,
        )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
