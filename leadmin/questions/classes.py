"""Which diagnoses are lost?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from leadmin.evidence.delong import delong
from leadmin.evidence.estimates import combine, interval_columns, sd
from leadmin.evidence.scores import ENDS, REFERENCE, Evidence, Row, Rows, Scored
from leadmin.labels import are_superclasses
from leadmin.questions import Question, Tables, corrected, each_recipe, of
from leadmin.show import style
from leadmin.show.words import (
    headings,
    joined_sentence,
    latex_escape,
    latex_interval,
    latex_number,
    latex_table,
    reading_table,
    signed,
    value_with_interval,
    wide_table,
    with_intervals,
)


def per_class_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """One row per configuration and class.

    ``recipe, config, n_leads, class, n_positive``; each metric of `main_table` that a class has
    with ``_low`` and ``_high``; ``auroc_seed_sd``; ``difference`` to the 12 leads in AUROC with
    ``_low``, ``_high``, ``difference_p``; ``n_records, n_patients, n_seeds``.
    """
    reference = evidence.scored.get((REFERENCE, recipe))

    def rows(scored: Scored) -> Rows:
        for c, name in enumerate(evidence.classes):
            row: Row = {"class": name, "n_positive": int(evidence.labels[:, c].sum())}
            for metric in scored.per_seed:
                row |= interval_columns(metric, scored.of_class(metric, name))
            row["auroc_seed_sd"] = sd(scored.per_seed["auroc"][:, c])
            if reference:
                own, full = (one.of_class("auroc", name) for one in (scored, reference))
                difference = combine(np.subtract, own, full)
                row |= interval_columns("difference", difference)
                row["difference_p"] = difference.p() if scored is not reference else float("nan")
            yield row

    return evidence.table(evidence.under(recipe), rows)


def delong_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """AUROC per class and its difference to the 12 leads without resampling, a second opinion.

    DeLong's method, with the records of a patient taken together (see `leadmin.evidence.delong`);
    a configuration's AUROC is the mean over its seeds. ``recipe, config, n_leads, class,
    n_positive, auroc`` and ``difference`` with ``_low`` and ``_high``, ``p, p_bh``
    (Benjamini-Hochberg over all rows); NaN where the class has one label value or the study no
    12-lead run; ``n_records, n_patients, n_seeds``.
    """

    def rows(scored: Scored) -> Rows:
        compared = scored.config != REFERENCE and (REFERENCE, recipe) in evidence.scored
        sides = [scored.config, REFERENCE] if compared else [scored.config]
        stacks = [np.asarray(evidence.runs[side].test.logits[recipe]) for side in sides]
        weights = [np.full(len(stack), 1 / len(stack)) for stack in stacks]
        contrasts = {"auroc": np.concatenate([weights[0], *(0 * w for w in weights[1:])])}
        if compared:
            contrasts["difference"] = np.concatenate([weights[0], -weights[1]])
        for c, name in enumerate(evidence.classes):
            y = evidence.labels[:, c]
            row: Row = {"class": name, "n_positive": int(y.sum())}
            row |= {f"{what}{end}": np.nan for what in ("auroc", "difference") for end in ENDS}
            row["p"] = np.nan
            if 0 < y.sum() < len(y):
                scores = np.concatenate([stack[:, :, c] for stack in stacks])
                found = delong(y, scores, evidence.patient_id)
                for what, contrast in contrasts.items():
                    value = found.contrast(contrast)
                    row |= {what: value["estimate"]}
                    row |= {f"{what}_{end}": value[end] for end in ("low", "high")}
                row["p"] = value["p"] if compared else np.nan
            yield row

    return corrected(evidence.table(evidence.under(recipe), rows), method="bh")


def class_reading(per_class: pd.DataFrame) -> str:
    """Say which class loses most and least with fewer leads, on the mean over the smaller sets."""
    reduced = per_class[per_class["config"] != REFERENCE].dropna(subset=["auroc"])
    if reduced.empty or REFERENCE not in set(per_class["config"]):
        return "There is no smaller set to compare with twelve leads."
    mean = reduced.groupby("class")["difference"].mean()
    lowest = per_class.sort_values("auroc", kind="stable").iloc[0]
    return joined_sentence(
        f"On average over the smaller sets {mean.idxmin()} changes most for the worse "
        f"({signed(mean.min())}) and {mean.idxmax()} least ({signed(mean.max())}); the lowest "
        f"AUROC of all is {lowest['class']} under `{lowest['config']}`, "
        f"{value_with_interval(lowest.to_dict(), 'auroc')}"
    )


def delong_reading(delong: pd.DataFrame, per_class: pd.DataFrame) -> str:
    """Say how far DeLong's intervals lie from those of the bootstrap, under one recipe."""
    both = delong.merge(per_class, on=["config", "class"], suffixes=("", "_bootstrap"))
    ends = [f"{name}{end}" for name in ("auroc", "difference") for end in ENDS[1:]]
    ends = [end for end in ends if f"{end}_bootstrap" in both]
    apart = pd.concat([(both[end] - both[f"{end}_bootstrap"]).abs() for end in ends]).dropna()
    return joined_sentence(
        f"The ends of the {len(apart) // 2} intervals of both methods differ by "
        f"{apart.median():.4f} in the median and {apart.max():.4f} at most"
    )


def by_class(table: pd.DataFrame, name: str = "auroc", digits: int = 3) -> Styler:
    """Show a value with its interval, the configurations one below the other, classes across."""
    texts = with_intervals(table, name, digits)
    return wide_table(table, {"config": "configuration"}, "class", texts)


def every_metric(tables: Tables) -> Styler:
    """Show every metric of every class and their mean, configuration by configuration."""
    main, per_class = tables["main"], tables["per_class"]
    every = pd.concat([per_class, main.assign(**{"class": "macro"})]).set_index("config")
    columns = headings("config", "class", "auroc", "average_precision", "f1", "f1_half", "brier")
    columns |= {"f1": "F1, validation threshold", "f1_half": "F1 at 0.5"}
    for level in (90, 95):
        columns[f"sensitivity_at_{level}_specificity"] = f"sensitivity at {level}% specificity"
        columns[f"specificity_at_{level}_sensitivity"] = f"specificity at {level}% sensitivity"
    return reading_table(every.loc[main["config"]].reset_index(), columns)


def per_class_latex(per_class: pd.DataFrame, stands_on: str) -> str:
    """Typeset AUROC per class under all recipes."""
    classes = per_class["class"].unique()
    cells = [
        f"{latex_number(row['auroc'])} ({latex_interval(row['auroc_low'], row['auroc_high'])})"
        for row in per_class.to_dict("records")
    ]
    blocks = per_class.assign(cell=cells).groupby(["recipe", "config"], sort=False)["cell"]
    rows = [(str(name), latex_escape(str(config)), *cells) for (name, config), cells in blocks]
    first = per_class.drop_duplicates("class").to_dict("records")
    each = (f"{latex_escape(row['class'])} ($n = {row['n_positive']}$)" for row in first)
    heading = ["Configuration", *each]
    what = "superclass" if are_superclasses(classes) else "class"
    caption = (
        f"AUROC of each {what} with 95\\% interval; $n$: positive test records. "
        + latex_escape(stands_on)
    )
    return latex_table(
        f"l *{{{len(classes)}}}{{c}}", " & ".join(heading), rows, caption, "tab:perclass"
    )


def plot_class_heatmap(per_class: pd.DataFrame, macro: pd.DataFrame) -> Figure:
    """Draw the AUROC of each class under each configuration, and what is lost to twelve leads.

    Of a `per_class_table` of one recipe, and its `main_table` with the mean over classes.
    """
    values = per_class.pivot(index="config", columns="class", values="auroc")
    values = values.loc[per_class["config"].unique(), per_class["class"].unique()]
    values["macro"] = macro.set_index("config")["auroc"]
    figure, (left, right) = style.panels(0.30 * len(values) + 1.0, 1, 2, sharey=True)
    bars: list[dict[str, Any]] = [
        {"location": "top", "shrink": 0.7, "aspect": 30, "ticks": MaxNLocator(4)} for _ in "lr"
    ]
    style.heatmap(left, values, annot=True, fmt=".3f", cbar_kws={"label": "AUROC", **bars[0]})
    losses = values - values.loc[REFERENCE]
    label = f"AUROC minus that of {REFERENCE}"
    style.difference_heatmap(right, losses, label, zero=REFERENCE, cbar_kws=bars[1])
    for axis in (left, right):
        axis.axvline(len(values.columns) - 1, color=style.INK, linewidth=1.0)
    return figure


DELONG_COLUMNS = headings("config", "class", "n_positive", "auroc", "difference", "p", "p_bh")


def _figure(tables: Tables) -> Figure | None:
    if REFERENCE not in set(tables["main"]["config"]):
        return None
    return plot_class_heatmap(tables["per_class"], tables["main"])


CLASS_BY_CLASS = Question(
    name="classes",
    title="Which diagnoses pay for missing leads?",
    tables={"per_class": each_recipe(per_class_table)},
    reading=lambda tables: class_reading(tables["per_class"]),
    figures={"classes": _figure},
    folded={"Every metric of every class, with intervals": every_metric},
    report=of("per_class", by_class),
    note="AUROC of each class.",
    latex={"table_perclass.tex": lambda t, basis: per_class_latex(t.whole["per_class"], basis)},
)

DELONG = Question(
    name="delong",
    title="Do intervals without resampling agree?",
    tables={"delong": each_recipe(delong_table)},
    reading=lambda tables: delong_reading(tables["delong"], tables["per_class"]),
    folded={"DeLong's intervals of every class": of("delong", reading_table, DELONG_COLUMNS)},
)
