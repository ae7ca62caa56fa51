"""Keep the two halves of each notebook in step: ``.py`` for people, ``.ipynb`` for papermill.

Without options, writes each ``.ipynb`` anew from its ``.py``, without outputs. With ``--check``,
changes nothing and fails where the two differ; outputs of a working copy are no difference.
"""

import argparse
import sys
from pathlib import Path

import jupytext
import nbformat

PAIR = (".py", ".ipynb")
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
    """Give what counts in a comparison: kinds, sources and tags; what cells printed does not."""
    return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]


def clean(notebook: nbformat.NotebookNode) -> bool:
    """Tell whether no cell was executed, prose with numbers included."""
    kept = [c.get("outputs") or c.get("execution_count") for c in notebook.cells]
    return not any(kept) and not any("user_expressions" in c.metadata for c in notebook.cells)


def remedy(script: Path, pair: Path) -> str:
    """Name the command that brings two halves in step again: the newer one was edited."""
    if not script.is_file():
        return f"{pair.name} has no .py; delete it, or run `jupytext --to py:percent {pair}`"
    if pair.is_file() and pair.stat().st_mtime > script.stat().st_mtime:
        return f"{pair.name} was edited after its .py; run `jupytext --sync {pair}`"
    return f"{script.name} is not in its .ipynb; run `python workflow/pair_notebooks.py`"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only report differences")
    check = parser.parse_args().check
    problems = []
    for stem in sorted({path.stem for path in NOTEBOOKS.glob("*") if path.suffix in PAIR}):
        script, pair = (NOTEBOOKS / f"{stem}{suffix}" for suffix in PAIR)
        found = nbformat.read(pair, as_version=4) if pair.is_file() else None
        text = rendered(script) if script.is_file() else ""
        wanted = nbformat.reads(text, as_version=4) if text else None
        same = bool(found and wanted and content(found) == content(wanted))
        if check or not wanted:
            problems += [] if same else [remedy(script, pair)]
        elif not same or not clean(found):
            pair.write_text(text, encoding="utf-8")
            script.touch()  # JupyterLab opens no .py that looks older than its .ipynb
    for problem in problems:
        print(f"notebooks: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
