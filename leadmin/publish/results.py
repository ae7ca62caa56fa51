"""What a paper or a page shows in numbers: LaTeX, Markdown, CSV and JSON from one `Evidence`.

Every table states on which data, protocol, records, patients and seeds it stands. The same evidence
gives the same bytes: nothing here reads a clock, a machine or a random number.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from leadmin.errors import LeadminError
from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import Evidence
from leadmin.files import write_json, write_text
from leadmin.questions import Question, Tables, questions, read_tables
from leadmin.show.words import markdown_table

SCHEMA_VERSION = 1
DIGITS = ".6g"
"""How many digits a table on disk keeps: intervals are known to three at best."""

SUMMARY_COLUMNS = (
    *("leads", "n_leads", "auroc", "auroc_low", "auroc_high", "auroc_seed_sd", "f1", "brier"),
    *("ece", "lrs", "retention", "retention_above_chance", "difference", "difference_low"),
    *("difference_high", "non_inferior", "n_seeds"),
)
"""What ``summary.json`` says of each configuration."""


def write_publication_outputs(
    evidence: Evidence,
    folder: Path,
    study: StudyDescription,
    tables: Mapping[str, pd.DataFrame],
) -> list[Path]:
    """Write the tables of a study as a paper, a page and a program want them.

    These are the LaTeX tables of the questions, ``RESULTS.md``, one CSV per table that has rows,
    ``summary.json`` and ``results_final.json`` (every table but those that are only drawn). What
    does not fit ``results_schema.json`` is refused. Files are replaced one by one, each all or
    nothing. ``tables`` are those of `leadmin.questions.study_tables`.
    """
    drawn = {name for question in questions() for name in question.only_csv}
    kept = {name: _rows(table) for name, table in tables.items() if name not in drawn}
    about = asdict(study) | {
        "n_records": evidence.n_records,
        "n_patients": evidence.n_patients,
        "n_resamples": evidence.n_resamples,
        "resampling_seed": evidence.seed,
        "configurations": list(evidence.configs),
        "recipes": list(evidence.recipes),
    }
    head = {"schema_version": SCHEMA_VERSION, "study": about}
    documents = {"summary": head | _summary(evidence, tables), "results": head | {"tables": kept}}
    for kind, document in documents.items():
        check_document(document, kind, f"{kind} document")
    read, stands_on = read_tables(evidence, tables), basis(evidence, study)
    texts = {
        name: table(read, stands_on)
        for question in questions()
        for name, table in question.latex.items()
    }
    texts["RESULTS.md"] = _report(evidence, study, read)
    for name, text in texts.items():
        write_text(folder / name, text)
    written = [folder / name for name in texts] + write_tables(tables, folder)
    for name, document in zip(("summary", "results_final"), documents.values(), strict=True):
        write_json(folder / f"{name}.json", document)
        written.append(folder / f"{name}.json")
    return written


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table that has rows as CSV."""
    written = []
    for name, table in tables.items():
        if len(table):
            text = table.to_csv(index=False, lineterminator="\n", float_format=f"%{DIGITS}")
            write_text(folder / f"{name}.csv", text)
            written.append(folder / f"{name}.csv")
    return written


def _summary(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Give what most readers look for."""
    main, findings = tables["main"], tables["key_findings"]
    return {
        "recipes": {
            recipe: {
                row["config"]: {key: row[key] for key in SUMMARY_COLUMNS}
                for row in _rows(main[main["recipe"] == recipe])
            }
            for recipe in evidence.recipes
        },
        "key_findings": [
            {key: row[key] for key in ("finding", "part", "recipe", "verdict", "statement")}
            for row in _rows(findings)
        ],
    }


def _report(evidence: Evidence, study: StudyDescription, read: Tables) -> str:
    """Write what one reads in a terminal: question by question its reading and its table."""
    parts = [f"# {study.title}", basis(evidence, study)]
    for question in questions():
        parts += _section(question, read)
    parts += [
        "## How to read this",
        "Intervals are 95% intervals of a bootstrap over patients, BCa for AUROC, average "
        "precision and Brier score, percentile for everything else. The same resamples serve "
        "every configuration, so differences are paired. Intervals carry the sampling of patients; "
        "the spread over seeds stands in a column of its own. The lead robustness score (LRS) "
        "divides AUROC by AUROC, so that a coin flip at unchanged Brier score would still "
        "score about 0.7; *retention above chance* is 0 for a coin flip. With "
        f"{evidence.n_resamples:,} resamples no p value can fall below "
        f"{2 / (evidence.n_resamples + 1):.1g} before it is corrected.",
    ]
    return "\n\n".join(parts) + "\n"


def _section(question: Question, read: Tables) -> list[str]:
    """Write a question: below a recipe's name what it alone says, once what all of them say."""
    make = question.report or next(iter(question.shown.values()), lambda _: None)
    each = {recipe: read.under(recipe) for recipe in read.recipes}
    readings = {recipe: question.reading(tables) for recipe, tables in each.items()}
    shown = {recipe: make(tables) for recipe, tables in each.items()}
    cells = {recipe: "" if one is None else markdown_table(one) for recipe, one in shown.items()}
    parts = [f"## {question.title}"]
    for said in (readings, cells):
        if len(set(said.values())) == 1:
            parts += [next(iter(said.values()))]
            said.clear()
    for recipe in each if readings or cells else ():
        parts += [f"### Recipe `{recipe}`", readings.get(recipe, ""), cells.get(recipe, "")]
    return [part for part in (*parts, question.note) if part]


def schema() -> dict[str, Any]:
    """Give the JSON schema of ``results_final.json`` and ``summary.json``."""
    text = files("leadmin.publish").joinpath("results_schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def check_document(document: Any, kind: str, where: str) -> None:
    """Hold a document against a part of ``results_schema.json``: "results" or "summary".

    ``where`` is what the message calls it, such as its path; it names the place in the document.
    """
    validator = jsonschema.Draft202012Validator({**schema(), "$ref": f"#/$defs/{kind}"})
    problem = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if problem is not None:
        raise LeadminError(
            f"{where}: it does not fit results_schema.json at {problem.json_path}, where "
            f"{problem.message[:300]}; valid: what that schema says; make it again"
        )


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows as plain Python values; NaN and infinity, which JSON lacks, become null."""
    known = table.replace([math.inf, -math.inf], math.nan)
    for name in known.select_dtypes("float"):
        known[name] = [float(f"{value:{DIGITS}}") for value in known[name]]
    known = known.astype(object)
    return known.where(known.notna(), None).to_dict("records")
