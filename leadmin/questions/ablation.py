"""What is each part of the recipe worth?"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from leadmin.errors import LeadminError
from leadmin.evidence.resampling import holm
from leadmin.evidence.scores import gather
from leadmin.questions.answer import main_table
from leadmin.questions.calibration import calibration_table
from leadmin.questions.classes import per_class_table
from leadmin.questions.recipes import recipe_comparison
from leadmin.study.ablation import VARIANTS, merge
from leadmin.study.baselines import BASELINES
from leadmin.study.run import Run, load_run


def ablation_reading(table: pd.DataFrame, reference: str) -> str:
    """Say which variants are clearly worse or better than the reference, from intervals alone.

    Parameters
    ----------
    table : DataFrame
        `leadmin.study.ablation.ablation_table`.
    reference : str
        What its differences are to.

    Returns
    -------
    str
        Markdown, a paragraph for macro AUROC and one for the AUROC of hypertrophy.
    """
    compared = table[table["auroc_difference"].notna()]
    sentences = []
    for measure, what in (("auroc", "macro AUROC"), ("auroc_HYP", "the AUROC of hypertrophy")):
        column = f"{measure}_difference"
        lower, higher = compared[f"{column}_high"] < 0, compared[f"{column}_low"] > 0
        parts = [
            f"{verdict}: "
            + ", ".join(
                f"{row['description']} ({row[column]:+.3f})" for row in rows.to_dict("records")
            )
            for verdict, rows in (
                ("clearly lower", compared[lower]),
                ("clearly higher", compared[higher]),
                ("not to be told apart from it", compared[~lower & ~higher]),
            )
            if len(rows)
        ]
        sentences.append(f"**In {what}**, against `{reference}`: " + "; ".join(parts) + ".")
    return "\n\n".join(sentences)


BASE = "scratch"
"""What the others are compared with: most of them differ from it in one respect."""


MEASURES = ("auroc", "auroc_HYP", "brier")


def load_variants(folder: Path) -> dict[str, Run]:
    """Read the finished variants below ``folder``, in the order of `VARIANTS`.

    Raises
    ------
    LeadminError
        If there is none.
    """
    found = {name: folder / name for name in VARIANTS if (folder / name / "metrics.json").is_file()}
    if not found:
        raise LeadminError(f"{folder}: no finished variant; run the study of the ablation first")
    return {name: load_run(path) for name, path in found.items()}


def ablation_table(
    runs: Mapping[str, Run], reference: str = BASE, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Score variants and baselines of one configuration on the same test records.

    Parameters
    ----------
    runs : mapping of str to Run
        From `load_variants`.
    reference : str
        What the others are compared with.
    n_resamples, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    DataFrame
        One row per variant: ``variant, description, kind`` (``recipe`` or ``baseline``); for each
        of ``auroc`` (macro), ``auroc_HYP`` and ``brier`` the value with ``_low`` and ``_high``, and
        ``<measure>_difference`` to the reference, paired, with ``_low``, ``_high``; ``p_holm`` of
        the difference in macro AUROC over all rows but the reference; ``slope`` and ``smooth_ece``,
        means over classes; ``n_records, n_patients, n_seeds``.

    Raises
    ------
    LeadminError
        If the reference is not among the runs, or they do not belong together.
    """
    if reference not in runs:
        raise LeadminError(
            f"the variant {reference!r}, which the others are compared with, is not among the "
            f"finished ones: {', '.join(runs)}"
        )
    merged = merge(runs.values())
    evidence = gather([merged], n_resamples, seed)
    rows = []
    for name in runs:
        main = main_table(evidence, name).iloc[0].to_dict()
        row: dict[str, Any] = {
            "variant": name,
            "description": VARIANTS[name],
            "kind": "baseline" if name in BASELINES else "recipe",
        }
        classes = _records(per_class_table(evidence, name), "class")
        sources: list[dict[Any, Any]] = [main, classes["HYP"], main]
        for measure, source in zip(MEASURES, sources, strict=True):
            column = measure.removesuffix("_HYP")
            for end in ("", "_low", "_high"):
                row[measure + end] = source[column + end]
        if name == reference:
            for measure in MEASURES:
                for end in ("", "_low", "_high"):
                    row[f"{measure}_difference{end}"] = float("nan")
            row["p"] = float("nan")
        else:
            compared = _records(recipe_comparison(evidence, name, reference), "metric")
            for measure in MEASURES:
                for end in ("", "_low", "_high"):
                    row[f"{measure}_difference{end}"] = compared[measure][f"difference{end}"]
            row["p"] = compared["auroc"]["p"]
        calibrated = calibration_table(evidence, name)
        macro = _records(calibrated[~calibrated["recalibrated"]], "class")["macro"]
        row |= {measure: macro[measure] for measure in ("slope", "smooth_ece")}
        row |= {count: int(main[count]) for count in ("n_records", "n_patients", "n_seeds")}
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(table.columns.tolist().index("p") + 1, "p_holm", holm(table["p"]))
    return table


def _records(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    """Rows of ``table`` by the value in ``key``."""
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return {str(row[key]): row for row in rows}


def long_differences(table: pd.DataFrame, measures: Iterable[str] = MEASURES) -> pd.DataFrame:
    """Reshape an ablation table for `leadmin.questions.recipes.plot_recipe_comparison`.

    Parameters
    ----------
    table : DataFrame
        From `ablation_table`, without the reference.
    measures : iterable of str
        Of `MEASURES`.

    Returns
    -------
    DataFrame
        Columns ``config`` (the variant in words), ``metric, difference, difference_low,
        difference_high``; one row per variant and measure.
    """
    pieces = [
        pd.DataFrame(
            {
                "config": table["description"],
                "metric": measure,
                **{
                    f"difference{end}": table[f"{measure}_difference{end}"]
                    for end in ("", "_low", "_high")
                },
            }
        )
        for measure in measures
    ]
    return pd.concat(pieces, ignore_index=True)
