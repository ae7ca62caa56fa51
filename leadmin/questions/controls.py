"""Can one trust the comparison?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import bounded, sd, smallest_resolvable_difference
from leadmin.evidence.scores import MARGIN, REFERENCE, Evidence, Row, Rows, Scored, compare
from leadmin.questions import Question, Tables, bounds_named, each_recipe
from leadmin.show.words import headings, joined_sentence, number, reading_table, signed

NEGATIVE_CONTROLS = (("6-lead-limb", "2-lead-I-II"), ("3-lead-I-II-III", "2-lead-I-II"))
"""Pairs that carry the same information, since every limb lead is a combination of I and II."""


def negative_controls(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Compare lead sets that carry the same information: they must come out equivalent.

    Two one-sided tests at `MARGIN`: equivalent where the 95% interval of the difference lies
    within it on both sides, not equivalent where it lies outside, undecided otherwise.

    One row per pair of `NEGATIVE_CONTROLS` that the study has: ``recipe, first, second,
    difference`` (first minus second), ``low, high, margin, p`` (of "they differ by the margin or
    more", the larger of the two one-sided ones), ``verdict, smallest_resolvable, statement,
    n_records, n_patients, n_seeds``.
    """
    rows = []
    for pair in NEGATIVE_CONTROLS:
        if any((config, recipe) not in evidence.scored for config in pair):
            continue
        difference = compare(evidence, *pair, recipe)
        found, replicates = bounded(difference), difference.replicates
        outside = max(np.sum(replicates <= -MARGIN), np.sum(replicates >= MARGIN))
        verdict = "undecided"
        if found["low"] > -MARGIN and found["high"] < MARGIN:
            verdict = "equivalent"
        elif found["high"] < -MARGIN or found["low"] > MARGIN:
            verdict = "not equivalent"
        row: Row = {"recipe": recipe, "first": pair[0], "second": pair[1], **found}
        row |= {"margin": MARGIN, "p": float((outside + 1) / (len(replicates) + 1))}
        row |= {"verdict": verdict}
        row["smallest_resolvable"] = smallest_resolvable_difference(difference)
        row["statement"] = _control_sentence(row)
        rows.append(row | evidence.counts(evidence.get(pair[0], recipe)))
    return pd.DataFrame(rows)


def _control_sentence(row: Mapping[str, Any]) -> str:
    interval = " to ".join(signed(row[bound]) for bound in ("low", "high"))
    meaning = {
        "equivalent": "as they must, since the one set is computed from the other",
        "not equivalent": (
            "which no difference in information can explain: the training or the scaling favours "
            "one of them, and differences of this size between other lead sets mean nothing either"
        ),
        "undecided": (
            "too wide to tell; differences of this size between other lead sets are not to be "
            "trusted on these data"
        ),
    }[row["verdict"]]
    return (
        f"{row['first']} minus {row['second']}, 95% interval {interval} against a margin of "
        f"{row['margin']:g}: {row['verdict']}, {meaning}. "
        f"Smallest resolvable difference: {number(row['smallest_resolvable'])}."
    )


def fold_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Compare each configuration with the 12 leads fold by fold, see `FoldEstimate`.

    One row per configuration but the 12 leads: ``recipe, config, n_leads, difference`` (mean over
    folds of the difference in macro AUROC within the fold), ``fold_sd, low, high, p, n_folds,
    n_folds_better`` (in how many folds it beat the 12 leads). Empty with one fold or without a
    12-lead run.
    """
    n_folds = len(np.unique(evidence.fold))
    if n_folds < 2:
        return pd.DataFrame()

    def rows(scored: Scored) -> Rows:
        difference = compare(evidence.folds, scored.config, REFERENCE, recipe)
        ends, better = bounded(difference), difference.replicates > 0
        row: Row = {"difference": ends.pop("difference")}
        row |= {"fold_sd": sd(difference.replicates)} | ends
        yield row | {"p": difference.p(), "n_folds": n_folds, "n_folds_better": int(better.sum())}

    return evidence.table(evidence.compared(recipe), rows)


def control_reading(controls: pd.DataFrame) -> str:
    """Give the statement on each pair that carries the same information."""
    if controls.empty:
        return "These runs hold no such pair."
    return "\n\n".join(controls["statement"])


def fold_reading(folds: pd.DataFrame) -> str:
    """Say which differences lie beyond the margin when shared training records are allowed for."""
    if folds.empty:
        return "These runs test a single fold, so there is nothing to compare between folds."
    lost, within = folds["high"] < -MARGIN, folds["low"] > -MARGIN
    return joined_sentence(
        f"Over {folds['n_folds'].iloc[0]} folds, with the correction for shared training records, "
        f"{lost.sum()} of {len(folds)} sets are shown to lose more than {MARGIN:g} to twelve "
        f"leads, {within.sum()} to lose less, and for {(~lost & ~within).sum()} it stays open"
    )


def folds_shown(tables: Tables) -> Styler | None:
    """Show the comparison fold by fold, beside the AUROC over pooled folds and within them."""
    if tables["folds"].empty:
        return None
    columns = headings("config", difference="mean difference to 12 leads", p="p")
    columns |= headings(fold_sd="SD over folds", n_folds_better="folds better")
    columns |= headings(auroc="AUROC, pooled", auroc_within_fold="AUROC, within folds")
    main = tables["main"][["config", "auroc", "auroc_within_fold"]]
    return reading_table(bounds_named(tables["folds"]).merge(main), columns)


def seed_reading(main: pd.DataFrame) -> str:
    """Compare the spread over seeds with the width of the interval over patients."""
    spread = main["auroc_seed_sd"].dropna()
    half = number(float(((main["auroc_high"] - main["auroc_low"]) / 2).median()), 4)
    if spread.empty:
        return joined_sentence(
            "Each network was trained once, so the spread over seeds is not known; the median half "
            f"width of the interval over patients is {half}"
        )
    return joined_sentence(
        f"The median SD over seeds is {spread.median():.4f} and the largest {spread.max():.4f}; "
        f"the median half width of the interval over patients is {half}"
    )


def seeds_shown(tables: Tables) -> Styler | None:
    """Show the interval over patients beside the one over patients and seeds."""
    main = tables["main"]
    if main["auroc_seed_sd"].isna().all():
        return None
    columns = headings("config", "n_seeds", auroc="interval over patients")
    columns |= headings(auroc_seed_sd="SD over seeds", both="interval over patients and seeds")
    with_seeds = {"auroc_low_with_seeds": "both_low", "auroc_high_with_seeds": "both_high"}
    both = main.rename(columns=with_seeds).assign(both=main["auroc"])
    return reading_table(both, columns, digits=dict.fromkeys(columns, 4))


CONTROLS = Question(
    name="controls",
    title="Do sets that carry the same information come out even?",
    tables={"negative_controls": each_recipe(negative_controls)},
    reading=lambda tables: control_reading(tables["negative_controls"]),
)

SEEDS = Question(
    name="seeds",
    title="How much does one training differ from the next?",
    reading=lambda tables: seed_reading(tables["main"]),
    shown={"Spread over seeds": seeds_shown},
)

FOLDS = Question(
    name="folds",
    title="What is left where folds share their training records?",
    tables={"folds": each_recipe(fold_table)},
    reading=lambda tables: fold_reading(tables["folds"]),
    shown={"Fold by fold, corrected for shared training records": folds_shown},
)
