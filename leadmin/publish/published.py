"""The published results of a study, read back and checked.

They are a folder as ``leadmin publish`` writes it::

    tables/      results_final.json and the LaTeX tables
    figures/     PDFs
    runs/        <configuration>/metrics.json: recipes, sizes, versions
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from leadmin.errors import LeadminError
from leadmin.evidence.scores import REFERENCE
from leadmin.publish.results import check_document
from leadmin.study.validity import SEAL, seal_problems

LATEX_TABLES = ("table_main.tex", "table_perclass.tex", "table_findings.tex")


@dataclass(frozen=True)
class PublishedStudy:
    """What a study left: ``results_final.json``, each run's ``metrics.json``, the figures."""

    folder: Path
    results: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    figures: tuple[Path, ...]

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes, the primary one first."""
        return list(self.results["study"]["recipes"])

    def rows(self, table: str, recipe: str | None = None) -> list[dict[str, Any]]:
        """Rows of a table, of one recipe if it is named."""
        rows = self.results["tables"][table]
        return [row for row in rows if recipe is None or row["recipe"] == recipe]


def default_results(root: Path) -> Path:
    """Choose among the results that come with the source tree: the published study if there."""
    published = root / "book" / "published"
    for name in ("subset", "sample"):
        if (published / name / "tables" / "results_final.json").is_file():
            return published / name
    raise LeadminError(
        f"{published}: no published study here; name one's folder with --results "
        "(make paper STUDY_RESULTS=FOLDER), or run `make book publish`"
    )


def read_published(folder: Path) -> PublishedStudy:
    """Read ``book/published/<study>`` or ``outputs/<study>``, and check that it is one study.

    A file that is missing, does not fit the schema, or is not the one that was sealed with the
    others is refused.
    """
    at = folder / "tables"
    results = _read_json(at / "results_final.json")
    check_document(results, "results", f"{at / 'results_final.json'}:")
    for seal in (folder / f"all{SEAL}", folder / f"notebooks/04_analysis.ipynb{SEAL}"):
        for problem in seal_problems(seal) if seal.exists() else ():
            raise LeadminError(problem)
    for name in LATEX_TABLES:
        if not (at / name).is_file():
            raise LeadminError(f"{at / name}: missing; write it with `leadmin run --all`")
    configurations = results["study"]["configurations"]
    if REFERENCE not in configurations:
        raise LeadminError(
            f"{at / 'results_final.json'}: study.configurations lacks {REFERENCE}, which every "
            "comparison of the paper needs; run it and publish again"
        )
    runs = {name: _read_run(folder / "runs" / name / "metrics.json") for name in configurations}
    figures = tuple(sorted((folder / "figures").glob("*.pdf")))
    return PublishedStudy(folder, results, runs, figures)


def run_date(study: PublishedStudy) -> date:
    """Give the day of the last run."""
    days = [str(run["provenance"].get("date", "")) for run in study.runs.values()]
    try:
        return max(date.fromisoformat(day) for day in days)
    except ValueError:
        raise LeadminError(
            f"{study.folder / 'runs'}: a metrics.json has no date in its provenance (such as "
            "2026-01-31); publish the study again"
        ) from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LeadminError(
            f"{path}: missing; --results wants a study's folder with tables/, figures/ and runs/, "
            "as `leadmin publish` writes it"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LeadminError(f"{path}: not a JSON file ({error}); publish the study again") from None


def _read_run(path: Path) -> dict[str, Any]:
    run = _read_json(path)
    for need in ("n_parameters", "recipes", "provenance.versions", "provenance.data.n_records"):
        found = run
        for name in need.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            raise LeadminError(f"{path}: no {need}; publish the study again")
    return dict(run)
