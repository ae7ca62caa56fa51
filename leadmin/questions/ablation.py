"""What is each part of the recipe worth?

The evidence is one configuration under every recipe and baseline that was trained for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leadmin.errors import LeadminError
from leadmin.evidence.estimates import UNKNOWN, Estimate, combine, interval_columns
from leadmin.evidence.scores import ENDS, Evidence, Row, gather, named
from leadmin.questions import Question, corrected, of
from leadmin.questions.calibration import calibration_table
from leadmin.questions.recipes import plot_recipe_comparison
from leadmin.show.words import number, reading_table
from leadmin.study.ablation import VARIANTS, merge
from leadmin.study.baselines import BASELINES
from leadmin.study.run import Run, load_run

BASE = "scratch"
"""What the others are compared with: most of them differ from it in one respect."""

RIVAL = "default"
"""What the baselines are compared with."""

MEASURES = {
    "auroc": "macro AUROC",
    "auroc_HYP": "the AUROC of hypertrophy",
    "brier": "the Brier score",
}
"""What is compared, and its words."""


def load_variants(folder: Path) -> dict[str, Run]:
    """Read the finished variants below ``folder``, in the order of `VARIANTS`; refuse none."""
    found = {name: folder / name for name in VARIANTS if (folder / name / "metrics.json").is_file()}
    if not found:
        study = "leadmin run --all --study workflow/studies/ablation.yml"
        raise LeadminError(f"{folder}: no finished variant; run `{study}` first")
    return {name: load_run(path) for name, path in found.items()}


def gather_variants(runs: Mapping[str, Run], n_resamples: int = 2000) -> Evidence:
    """Score the variants of one configuration under the same resamples, as recipes of one run."""
    return gather([merge(runs.values())], n_resamples)


def ablation_table(
    evidence: Evidence, reference: str = BASE, variants: Sequence[str] = ()
) -> pd.DataFrame:
    """Score variants and baselines of one configuration on the same test records.

    Of the evidence of `gather_variants`, or of some of its ``variants``. One row each: ``variant,
    description, kind`` (``recipe`` or ``baseline``); each of `MEASURES` with ``_low``, ``_high``;
    ``<measure>_difference`` to the reference, paired, likewise; ``p_holm`` of the difference in
    macro AUROC over all rows but the reference; ``slope`` and ``smooth_ece``, means over classes;
    ``n_records, n_patients, n_seeds``. It is refused without the reference.
    """
    names = variants or evidence.recipes
    if reference not in names:
        raise LeadminError(
            f"ablation: the variant {reference!r}, which the others are compared with, is not "
            f"among the finished ones; valid: {', '.join(names)}; train it too"
        )
    (config,), rows = evidence.configs, []

    def measured(name: str, measure: str) -> Estimate:
        if measure.endswith("_HYP") and "HYP" not in evidence.classes:
            return UNKNOWN
        return named(evidence.get(config, name), measure)

    for name in names:
        row: Row = {"variant": name, "description": VARIANTS[name]}
        row["kind"] = "baseline" if name in BASELINES else "recipe"
        for measure in MEASURES:
            values = interval_columns(measure.removesuffix("_HYP"), measured(name, measure))
            row |= {f"{measure}{end}": v for end, v in zip(ENDS, values.values(), strict=True)}
        differences = {}
        for measure in MEASURES:
            sides = (measured(one, measure) for one in (name, reference))
            differences[measure] = combine(np.subtract, *sides) if name != reference else UNKNOWN
            row |= interval_columns(f"{measure}_difference", differences[measure])
        row["p"] = differences["auroc"].p()
        (macro,) = (
            calibration_table(evidence, name)
            .query("`class` == 'macro' and not recalibrated")
            .to_dict("records")
        )
        row |= {measure: macro[measure] for measure in ("slope", "smooth_ece")}
        rows.append(row | evidence.counts(evidence.get(config, name)))
    return corrected(pd.DataFrame(rows))


def baseline_table(evidence: Evidence) -> pd.DataFrame:
    """Compare the baselines with `RIVAL`; empty where either is missing."""
    found = [name for name in evidence.recipes if name in BASELINES]
    if not found or RIVAL not in evidence.recipes:
        return pd.DataFrame()
    return ablation_table(evidence, RIVAL, (RIVAL, *found))


def ablation_reading(
    table: pd.DataFrame, reference: str, measures: Sequence[str] = ("auroc", "auroc_HYP")
) -> str:
    """Say which variants are clearly worse or better than the reference, from intervals alone.

    A paragraph for each of the measures.
    """
    if table.empty:
        return "These runs hold no baseline to compare with."
    rows, sentences = table.dropna(subset="auroc_difference"), []
    for measure in measures:
        column = f"{measure}_difference"
        lower, higher = rows[f"{column}_high"] < 0, rows[f"{column}_low"] > 0
        sides = {"clearly lower": lower, "clearly higher": higher}
        sides["not to be told apart from it"] = ~lower & ~higher
        values = rows[column].map(lambda value: number(value, 4, "+"))
        said = rows["description"] + " (" + values + ")"
        parts = [f"{name}: {', '.join(said[side])}" for name, side in sides.items() if side.any()]
        sentences.append(
            f"**In {MEASURES[measure]}**, against `{reference}`: {'; '.join(parts) or 'nothing'}."
        )
    return "\n\n".join(sentences)


def long_differences(table: pd.DataFrame) -> pd.DataFrame:
    """Reshape an ablation table for `leadmin.questions.recipes.plot_recipe_comparison`.

    One row per variant, in words as ``config``, and measure: ``metric, difference`` with bounds.
    """
    pieces = []
    for measure in MEASURES:
        bounds = {f"difference{end}": table[f"{measure}_difference{end}"] for end in ENDS}
        pieces.append(pd.DataFrame({"config": table["description"], "metric": measure, **bounds}))
    return pd.concat(pieces, ignore_index=True)


def _differences(table: pd.DataFrame) -> Figure | None:
    others = table.query("variant != @BASE")
    return plot_recipe_comparison(long_differences(others), list(MEASURES)) if len(others) else None


WHAT = {"description": "what"}
AUROCS = WHAT | {"auroc": "macro AUROC", "auroc_difference": "difference"}
BRIERS = {"brier": "Brier score"}
SLOPES = {"brier_difference": "difference", "slope": "slope", "smooth_ece": "smooth ECE"}

PARTS = Question(
    name="parts",
    title="What is each part of the recipe worth?",
    tables={"ablation": ablation_table},
    reading=lambda tables: ablation_reading(tables["ablation"], BASE),
    figures={"ablation": of("ablation", _differences)},
    shown={
        "Each changed recipe, and its difference to the recipe scratch": of(
            "ablation", reading_table, AUROCS | {"auroc_HYP": "AUROC of HYP"}
        )
    },
    about="ablation",
)

BELIEVED = Question(
    name="believed",
    title="Can the probabilities of each variant be believed?",
    reading=lambda tables: ablation_reading(tables["ablation"], BASE, ("brier",)),
    shown={
        "Calibration of each changed recipe": of("ablation", reading_table, WHAT | BRIERS | SLOPES)
    },
    about="ablation",
)

SIMPLER = Question(
    name="simpler",
    title="Is a network needed?",
    tables={"baselines": baseline_table},
    reading=lambda tables: ablation_reading(tables["baselines"], RIVAL),
    shown={"Simpler methods beside default": of("baselines", reading_table, AUROCS | BRIERS)},
    about="ablation",
)
