"""How much is lost, and how much hangs on the margin?"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import LEVEL, bounded, smallest_resolvable_difference
from leadmin.evidence.scores import MARGIN, REFERENCE, Evidence, compare
from leadmin.questions import Question, bounds_named, corrected, each_recipe, of, with_firm
from leadmin.show import style
from leadmin.show.words import (
    MISSING,
    P_FLOOR,
    headings,
    joined_sentence,
    p_of_row,
    range_in_words,
    reading_table,
    styled_table,
)

MARGINS = (MARGIN, 0.005, 0.02)
"""Non-inferiority margins in macro AUROC: the primary one, then two for sensitivity."""

LABELS = {"any": "all statements", "likelihood50": "statements from 50%"}
INTERVALS = {"patients": "interval over patients", "folds": "interval over folds"}
"""What a table's headings call the label policies and the kinds of intervals."""


def non_inferiority_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Test each configuration for non-inferiority to the 12 leads in macro AUROC.

    Non-inferior at a margin means: the lower end of the two-sided 95% interval of the paired
    difference, which is a one-sided 97.5% bound, lies above minus the margin. It is inferior where
    the whole interval lies below minus the margin, and undecided otherwise.

    One row per margin and configuration: ``recipe, config, n_leads, margin, primary`` (bool),
    ``difference, low, high, p`` (one-sided, of "inferior by the margin or more"; compare with
    0.025), ``p_holm`` (over the configurations, within the margin), ``verdict`` by the interval,
    ``holds_corrected`` (non-inferior after Holm's correction too), ``smallest_resolvable,
    n_records, n_patients, n_seeds``. Empty without a 12-lead run.
    """
    rows = []
    for margin, scored in itertools.product(MARGINS, evidence.compared(recipe)):
        difference = compare(evidence, scored.config, REFERENCE, recipe)
        row = scored.head | {"margin": margin, "primary": margin == MARGIN}
        row |= bounded(difference)
        reached = np.sum(difference.replicates <= -margin)
        row["p"] = float((reached + 1) / (len(difference.replicates) + 1))
        row |= {"verdict": _margin_verdict(row, margin), "holds_corrected": False}
        row["smallest_resolvable"] = smallest_resolvable_difference(difference)
        rows.append(row | evidence.counts(scored))
    table = corrected(pd.DataFrame(rows), by="margin")
    if rows:
        table["holds_corrected"] = table["p_holm"] < (1 - LEVEL) / 2
    return table


def _margin_verdict(row: Mapping[str, float], margin: float = MARGIN) -> str:
    if row["low"] > -margin:
        return "non-inferior"
    return "inferior" if row["high"] < -margin else "undecided"


def firm_losses(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Ask at `MARGIN` under each label policy and by each kind of interval what each set loses.

    ``recipe, config, n_leads, labels, intervals`` (over ``patients``; or over ``folds``, which
    carry another draw of training patients), ``difference`` to the 12 leads, ``low, high, verdict,
    n_records, n_patients, n_seeds, firm`` (the verdict that all rows of the set share).
    """
    rows = []
    for labels, intervals, view in evidence.views():
        for scored in view.compared(recipe):
            row = scored.head | {"labels": labels, "intervals": intervals}
            row |= bounded(compare(view, scored.config, REFERENCE, recipe))
            rows.append(row | {"verdict": _margin_verdict(row)} | view.counts(scored))
    return with_firm(pd.DataFrame(rows), "config")


def margin_table(non_inferiority: pd.DataFrame) -> Styler:
    """Show the verdict on each configuration at each margin, with the interval it stands on."""
    primary = bounds_named(non_inferiority[non_inferiority["primary"]])
    columns = headings("config", "difference")
    floor = non_inferiority.attrs.get(P_FLOOR, 0)
    for margin, rows in non_inferiority.groupby("margin"):
        name = f"at {margin:g}, p (Holm)" + (", primary" if rows["primary"].all() else "")
        ordered = rows.set_index("config").loc[primary["config"]].to_dict("records")
        # where a set is shown to be worse, the p of "not worse" is near 1 and says nothing
        primary[name] = [
            row["verdict"] + f", {p_of_row(row, 'p_holm', floor)}" * (row["verdict"] != "inferior")
            for row in ordered
        ]
        columns[name] = name
    primary["after Holm"] = np.where(primary["holds_corrected"], "holds", "no")
    columns |= {"after Holm": "after Holm", "smallest_resolvable": "resolvable"}
    return reading_table(primary, columns)


def views_table(table: pd.DataFrame, by: str) -> Styler:
    """Show verdicts under each recipe, label policy and kind of interval, and what is firm."""
    said = table.replace({"labels": LABELS, "intervals": INTERVALS})
    heading = said[["recipe", "labels", "intervals"]].agg(", ".join, axis=1)
    wide = table.assign(heading=heading).pivot(index=by, columns="heading", values="verdict")
    wide = wide.loc[table[by].unique(), heading.unique()].fillna(MISSING)
    firm = table.drop_duplicates(by).set_index(by)["firm"]
    return styled_table(wide.assign(firm=firm).reset_index(), "reading")


def margin_reading(non_inferiority: pd.DataFrame) -> str:
    """Count the verdicts at the primary margin, and say what the undecided could have shown."""
    if non_inferiority.empty:
        return "There is no smaller set to compare with twelve leads."
    rows = non_inferiority[non_inferiority["primary"]]
    counts = rows["verdict"].value_counts()
    margin = f"{rows['margin'].iloc[0]:g}"
    said = {
        "non-inferior": f"shown to lose less than {margin} of twelve leads' macro AUROC",
        "inferior": f"shown to lose more than {margin}",
        "undecided": f"undecided at {margin}",
    }
    counted = [f"{counts[name]} {words}" for name, words in said.items() if name in counts]
    text = f"verdicts on {len(rows)} smaller sets: {', '.join(counted)}"
    open_ones = rows.loc[rows["verdict"] == "undecided", "smallest_resolvable"]
    if len(open_ones):
        text += f"; for these the smallest resolvable difference is {range_in_words(open_ones)}"
    return joined_sentence(text)


def plot_differences(table: pd.DataFrame) -> Figure:
    """Draw each paired difference to the twelve leads with its interval: a forest plot.

    Of a `non_inferiority_table` of one recipe, at the primary margin; the other `MARGINS` are drawn
    as dotted lines. ``smallest_resolvable`` is written beside the interval.
    """
    rows = bounds_named(table[table["primary"]]).reset_index(drop=True)
    verdicts = rows["verdict"]
    figure, (axis,) = style.row_figure(rows["config"], head=1.35, row=0.31)
    axis.axvspan(-MARGIN, 0, color=style.BLUE, alpha=0.11, linewidth=0, zorder=0)
    axis.axvline(0, **style.ZERO)
    axis.axvline(-MARGIN, **style.CRITERION)
    for other in MARGINS[1:]:
        axis.axvline(-other, **style.CRITERION | {"linestyle": style.DOTTED})
    looks = [style.VERDICT_LOOKS[verdict] for verdict in verdicts]
    style.forest(axis, rows, "difference", looks, verdicts != "undecided")
    style.beside(axis, 8, "difference (95% interval)", style.in_words(rows, "difference"))
    least = rows["smallest_resolvable"].map("{:.3f}".format).to_dict()
    style.beside(axis, 196, "resolvable", least, ha="right")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(f"macro AUROC minus that of {REFERENCE}")
    keys: dict[str, Any] = {
        verdict: style.key(look, verdict != "undecided", line=True)
        for verdict, look in style.VERDICT_LOOKS.items()
        if (verdicts == verdict).any()
    }
    keys[f"margin {MARGIN:g}"] = Patch(facecolor=style.BLUE, alpha=0.13)
    others = " and ".join(f"{other:g}" for other in MARGINS[1:])
    keys[others] = Line2D([], [], color=style.MUTED, linewidth=0.9, linestyle=style.DOTTED)
    style.legend(figure, keys, loc="outside upper center", ncols=5, columnspacing=1.4,
                 handletextpad=0.5)  # fmt: skip
    return figure


MARGINS_HELD = Question(
    name="margins",
    title="Which sets are as good as twelve leads, at which margin?",
    tables={
        "non_inferiority": each_recipe(non_inferiority_table),
        "firm_losses": each_recipe(firm_losses),
    },
    reading=lambda tables: margin_reading(tables["non_inferiority"]),
    figures={"differences": of("non_inferiority", plot_differences)},
    shown={"Verdicts at three margins": of("non_inferiority", margin_table)},
    folded={
        "Each verdict under both label policies and kinds of interval": of(
            "firm_losses", views_table, "config"
        )
    },
    note=f"The primary margin is {MARGIN:g}, the others test how much hangs on it. A verdict reads "
    "the 95% interval, whose lower end is a one-sided 97.5% bound; the p values beside it are "
    "Holm-corrected, and *after Holm* says whether non-inferiority holds by them too. "
    "*Resolvable*: the true difference that would have been found four times in five.",
)
