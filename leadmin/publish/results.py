"""What a paper or a page shows in numbers: LaTeX, Markdown, CSV and JSON from one `Evidence`.

Every table states on which data, protocol, records, patients and seeds it stands. The same evidence
gives the same bytes: nothing here reads a clock, a machine or a random number.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leadmin.errors import LeadminError
from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import REFERENCE, Evidence
from leadmin.files import write_json, write_text
from leadmin.labels import CLASSES
from leadmin.questions.answer import main_latex, main_table
from leadmin.questions.calibration import calibration_table, decision_curves, markdown_calibration
from leadmin.questions.classes import delong_table, per_class_latex, per_class_table
from leadmin.questions.controls import fold_table, markdown_controls, negative_controls
from leadmin.questions.findings import effect_in_words, findings_latex, key_findings
from leadmin.questions.lrs import lrs_weights
from leadmin.questions.margins import markdown_non_inferiority, non_inferiority_table
from leadmin.questions.pairs import pairwise_matrix, rank_table
from leadmin.questions.recipes import (
    across_recipes,
    hypertrophy_table,
    markdown_hypertrophy,
    recipe_comparison,
)
from leadmin.questions.subgroups import markdown_subgroups, subgroup_table
from leadmin.show.words import markdown_table, number, p_value, per_cent, with_interval

SCHEMA_VERSION = 1


CURVES = ("decision_curves", "lrs_weights")
"""Tables with many rows that exist to be drawn: they are written as CSV only."""


SUMMARY_COLUMNS = (
    "leads",
    "n_leads",
    "auroc",
    "auroc_low",
    "auroc_high",
    "auroc_seed_sd",
    "f1",
    "brier",
    "ece",
    "lrs",
    "retention",
    "retention_above_chance",
    "difference",
    "difference_low",
    "difference_high",
    "non_inferior",
    "n_seeds",
)
"""What ``summary.json`` says of each configuration."""


def study_tables(
    evidence: Evidence, groups: Mapping[str, ArrayLike] | None = None
) -> dict[str, pd.DataFrame]:
    """Compute every table of a study.

    Parameters
    ----------
    evidence : Evidence
    groups : mapping of str to array_like of str, optional
        Subgroups of the test records, see `leadmin.questions.subgroups.subgroup_table`.

    Returns
    -------
    dict of str to DataFrame
        ``main, per_class, key_findings, pairwise, non_inferiority, negative_controls, ranks,
        delong, calibration, decision_curves, lrs_weights, folds, subgroups``, each with the recipes
        one below the other, and ``recipe_comparison, hypertrophy, across_recipes`` of the first two
        recipes. A table without rows (``folds`` with a single fold, ``subgroups`` without groups,
        ...) is empty.
    """

    def each(table: Callable[[Evidence, str], pd.DataFrame]) -> pd.DataFrame:
        made = [table(evidence, recipe) for recipe in evidence.recipes]
        with_rows = [one for one in made if len(one)]
        return pd.concat(with_rows, ignore_index=True) if with_rows else pd.DataFrame()

    tables = {
        "main": each(main_table),
        "per_class": each(per_class_table),
        "key_findings": each(key_findings),
        "pairwise": each(pairwise_matrix),
        "recipe_comparison": pd.DataFrame(),
        "hypertrophy": pd.DataFrame(),
        "across_recipes": pd.DataFrame(),
        "non_inferiority": each(non_inferiority_table),
        "negative_controls": each(negative_controls),
        "ranks": each(rank_table),
        "delong": each(delong_table),
        "folds": each(fold_table),
        "calibration": each(calibration_table),
        "decision_curves": each(decision_curves),
        "lrs_weights": each(lrs_weights),
        "subgroups": each(lambda e, recipe: subgroup_table(e, groups or {}, recipe)),
    }
    if len(evidence.recipes) > 1:
        first, second = evidence.recipes[:2]
        tables["recipe_comparison"] = recipe_comparison(evidence, first, second)
        tables["hypertrophy"] = hypertrophy_table(evidence, first, second)
        tables["across_recipes"] = across_recipes(evidence, first, second)
    return tables


def write_publication_outputs(
    evidence: Evidence,
    folder: Path,
    study: StudyDescription,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> list[Path]:
    """Write the tables of a study as a paper, a page and a program want them.

    Parameters
    ----------
    evidence : Evidence
    folder : Path
        Made if it is missing; files in it are replaced one by one, each all or nothing.
    study : StudyDescription
    tables : mapping of str to DataFrame, optional
        Of `study_tables`, where they are at hand already.

    Returns
    -------
    list of Path
        ``table_main.tex``, ``table_perclass.tex``, ``table_findings.tex``, ``RESULTS.md``,
        ``summary.json``,
        ``results_final.json`` (every table but those of `CURVES`) and one CSV per table that has
        rows.

    Raises
    ------
    LeadminError
        If what would be written does not fit ``results_schema.json``.
    """
    made = dict(study_tables(evidence) if tables is None else tables)
    results = results_document(evidence, study, made)
    summary = summary_document(evidence, study, made)
    check_document(results, "results", "The results document")
    check_document(summary, "summary", "The summary document")
    texts = {
        "table_main.tex": main_latex(evidence, study, made["main"]),
        "table_perclass.tex": per_class_latex(evidence, study, made["per_class"]),
        "table_findings.tex": findings_latex(evidence, study, made["key_findings"]),
        "RESULTS.md": results_markdown(evidence, study, made),
    }
    texts |= {
        f"{name}.csv": table.to_csv(index=False, lineterminator="\n", float_format="%.10g")
        for name, table in made.items()
        if len(table)
    }
    written = []
    for name, text in texts.items():
        write_text(folder / name, text)
        written.append(folder / name)
    for name, document in (("summary.json", summary), ("results_final.json", results)):
        write_json(folder / name, document)
        written.append(folder / name)
    return written


def results_document(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Give everything as one document, the content of ``results_final.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study": _study_document(evidence, study),
        "tables": {name: _rows(table) for name, table in tables.items() if name not in CURVES},
    }


def summary_document(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Give what most readers look for, the content of ``summary.json``."""
    main, findings = tables["main"], tables["key_findings"]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": _study_document(evidence, study),
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


def results_markdown(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> str:
    """Write the report that one reads in a terminal or on a code host."""
    findings, main, per_class = tables["key_findings"], tables["main"], tables["per_class"]
    parts = [f"# {study.title}", basis(evidence, study)]
    parts.append("## The original study's key findings, asked again")
    for recipe in evidence.recipes:
        rows = findings[findings["recipe"] == recipe]
        shown = pd.DataFrame(
            {
                "": rows["part"],
                "Question": rows["question"],
                "Effect": [effect_in_words(row) for row in rows.to_dict("records")],
                "Claim needs": rows["threshold"],
                "p (Holm)": [p_value(value) for value in rows["p_holm"]],
                "Verdict": rows["verdict"],
                "Original": rows["original"],
            }
        )
        verdicts = rows.drop_duplicates("finding")
        listed = "\n".join(
            f"{row['finding']}. {row['finding_name']}: **{row['finding_verdict']}**"
            for row in verdicts.to_dict("records")
        )
        parts += [f"### Recipe `{recipe}`", listed, markdown_table(shown)]
    parts.append("## Configurations")
    for recipe in evidence.recipes:
        rows = main[main["recipe"] == recipe]
        shown = pd.DataFrame(
            {
                "Configuration": rows["config"],
                "Leads": rows["n_leads"],
                "AUROC": with_interval(rows, "auroc"),
                "Seed SD": [number(value, 4) for value in rows["auroc_seed_sd"]],
                "Minus 12 leads": with_interval(
                    rows.mask(rows["config"] == REFERENCE), "difference", sign=True
                ),
                "p (Holm)": [p_value(value) for value in rows["difference_p_holm"]],
                "F1": with_interval(rows, "f1"),
                "Brier": with_interval(rows, "brier"),
                "ECE": [number(value) for value in rows["ece"]],
                "LRS": with_interval(rows, "lrs"),
                "Retention": [per_cent(value) for value in rows["retention"]],
                "Kept above chance": [per_cent(value) for value in rows["retention_above_chance"]],
                "Seeds": rows["n_seeds"],
            }
        )
        parts += [f"### Recipe `{recipe}`", markdown_table(shown)]
    parts.append("## AUROC per class")
    for recipe in evidence.recipes:
        rows = per_class[per_class["recipe"] == recipe].copy()
        rows["shown"] = with_interval(rows, "auroc")
        wide = rows.pivot(index="config", columns="class", values="shown")
        wide = wide.loc[list(dict.fromkeys(rows["config"])), list(CLASSES)]
        parts += [f"### Recipe `{recipe}`", markdown_table(wide.reset_index(names="Configuration"))]
    compared = tables["recipe_comparison"]
    if len(compared):
        first, second = compared["first_recipe"].iloc[0], compared["second_recipe"].iloc[0]
        rows = compared[compared["metric"] == "auroc"]
        shown = pd.DataFrame(
            {
                "Configuration": rows["config"],
                f"`{first}`": [number(value) for value in rows["first"]],
                f"`{second}`": [number(value) for value in rows["second"]],
                "Difference": with_interval(rows, "difference", sign=True),
                "p (Holm)": [p_value(value) for value in rows["p_holm"]],
            }
        )
        parts += [f"## Macro AUROC, `{first}` minus `{second}`", markdown_table(shown)]
    parts += markdown_hypertrophy(tables["hypertrophy"])
    parts += markdown_non_inferiority(evidence, tables["non_inferiority"])
    parts += markdown_controls(tables["negative_controls"])
    parts += markdown_calibration(evidence, tables["calibration"])
    parts += markdown_subgroups(evidence, tables["subgroups"])
    parts += [
        "## How to read this",
        "Intervals are 95% intervals of a bootstrap over patients, BCa for AUROC, average "
        "precision and Brier score, percentile for everything else. The same resamples serve "
        "every configuration, so differences are paired. Intervals carry the sampling of patients; "
        "the spread over seeds stands in a column of its own. The lead robustness score (LRS) "
        "divides AUROC by AUROC, so that a coin flip at unchanged Brier score would still "
        "score about 0.7; *kept above chance* is 0 for a coin flip. With "
        f"{evidence.n_resamples:,} resamples no p value can fall below "
        f"{2 / (evidence.n_resamples + 1):.1g} before it is corrected.",
    ]
    return "\n\n".join(parts) + "\n"


def schema() -> dict[str, Any]:
    """Give the JSON schema of ``results_final.json`` and ``summary.json``."""
    text = files("leadmin.publish").joinpath("results_schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def check_document(document: Any, kind: str, where: str) -> None:
    """Hold a document against ``results_schema.json``.

    Parameters
    ----------
    document : object
        As JSON has it.
    kind : {"results", "summary"}
        Which of the two documents it should be.
    where : str
        What the message calls it, such as its path.

    Raises
    ------
    LeadminError
        Naming the place in the document and what is wrong there.
    """
    validator = jsonschema.Draft202012Validator({**schema(), "$ref": f"#/$defs/{kind}"})
    problem = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if problem is not None:
        raise LeadminError(
            f"{where} does not fit results_schema.json at {problem.json_path}: "
            f"{problem.message[:300]}"
        )


def _study_document(evidence: Evidence, study: StudyDescription) -> dict[str, Any]:
    return asdict(study) | {
        "n_records": evidence.n_records,
        "n_patients": evidence.n_patients,
        "n_resamples": evidence.n_resamples,
        "resampling_seed": evidence.seed,
        "configurations": list(evidence.configs),
        "recipes": list(evidence.recipes),
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values; NaN and infinity, which JSON lacks, become null."""
    return [
        {str(key): _json_value(value) for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _json_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
