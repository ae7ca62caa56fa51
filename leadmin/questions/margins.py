"""How much is lost, and how much hangs on the margin?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.scores import (
    LEVEL,
    MARGIN,
    REFERENCE,
    Evidence,
    compare,
    count_columns,
    smaller_sets,
    smallest_resolvable_difference,
)
from leadmin.questions import Question, Tables, bounds_named, each_recipe
from leadmin.show.style import (
    INK,
    MUTED,
    OKABE_ITO,
    VERDICT_COLOURS,
    VERDICT_MARKERS,
    beside,
    blank_figure,
    read_across,
    require_columns,
    require_one_recipe,
    rows_down,
)
from leadmin.show.words import (
    joined_sentence,
    number,
    p_value,
    range_in_words,
    styled_table,
    value_with_interval,
)

MARGINS = (MARGIN, 0.005, 0.02)
"""Non-inferiority margins in macro AUROC: the primary one, then two for sensitivity."""


def non_inferiority_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Test each configuration for non-inferiority to the 12 leads in macro AUROC.

    Non-inferior at a margin means: the lower end of the two-sided 95% interval of the paired
    difference, which is a one-sided 97.5% bound, lies above minus the margin. It is inferior where
    the whole interval lies below minus the margin, and undecided otherwise.

    Returns
    -------
    DataFrame
        One row per margin and configuration: ``recipe, config, n_leads, margin, primary`` (bool),
        ``difference, low, high, p`` (one-sided, of "inferior by the margin or more"; compare with
        0.025), ``p_holm`` (over the configurations, within the margin), ``verdict`` (by the
        interval: ``non-inferior``, ``inferior`` or ``undecided``), ``holds_corrected`` (bool:
        non-inferior after Holm's correction too), ``smallest_resolvable, n_records, n_patients,
        n_seeds``. Empty without a 12-lead run.
    """
    of_margins = [_at_margin(evidence, recipe, margin) for margin in MARGINS]
    return pd.concat(of_margins, ignore_index=True)


def _at_margin(evidence: Evidence, recipe: str, margin: float) -> pd.DataFrame:
    rows = []
    for scored in smaller_sets(evidence, recipe):
        difference = compare(evidence, scored.config, REFERENCE, recipe)
        low, high = difference.interval()
        reached = np.sum(difference.replicates <= -margin)
        row: dict[str, Any] = {
            "recipe": recipe,
            "config": scored.config,
            "n_leads": len(scored.leads),
            "margin": margin,
            "primary": margin == MARGIN,
            "difference": difference.value,
            "low": low,
            "high": high,
            "p": float((reached + 1) / (len(difference.replicates) + 1)),
            "p_holm": float("nan"),
            "verdict": _margin_verdict(low, high, margin),
            "holds_corrected": False,
            "smallest_resolvable": smallest_resolvable_difference(difference),
        }
        rows.append(row | count_columns(evidence, scored))
    table = pd.DataFrame(rows)
    if rows:
        table["p_holm"] = resampling.holm(table["p"])
        table["holds_corrected"] = table["p_holm"] < (1 - LEVEL) / 2
    return table


def _margin_verdict(low: float, high: float, margin: float) -> str:
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "undecided"


def margin_table(non_inferiority: pd.DataFrame) -> Styler | None:
    """Show the verdict on each configuration at each margin, with the interval it stands on."""
    if non_inferiority.empty:
        return None
    primary = bounds_named(non_inferiority[non_inferiority["primary"]])
    table = {
        "configuration": primary["config"].to_list(),
        "difference to 12 leads": [
            value_with_interval(row, "difference") for row in primary.to_dict("records")
        ],
    }
    for margin, rows in non_inferiority.groupby("margin"):
        name = f"at {margin:g}, p (Holm)" + (", primary" if rows["primary"].all() else "")
        ordered = rows.set_index("config").loc[primary["config"]].to_dict("records")
        table[name] = [f"{row['verdict']}, {p_value(row['p_holm'])}" for row in ordered]
    table["after Holm"] = ["holds" if holds else "no" for holds in primary["holds_corrected"]]
    table["resolvable"] = [number(value) for value in primary["smallest_resolvable"]]
    return styled_table(pd.DataFrame(table), "reading")


def margin_reading(non_inferiority: pd.DataFrame) -> str:
    """Count the verdicts at the primary margin, and say what the undecided could have shown."""
    if non_inferiority.empty:
        return "There is no smaller set to compare with twelve leads."
    rows = non_inferiority[non_inferiority["primary"]]
    counts = rows["verdict"].value_counts()
    text = (
        f"At the margin of {rows['margin'].iloc[0]:g}, of {len(rows)} sets "
        f"{counts.get('non-inferior', 0)} are shown to be non-inferior to twelve leads, "
        f"{counts.get('inferior', 0)} to be worse, and {counts.get('undecided', 0)} stay undecided"
    )
    open_ones = rows.loc[rows["verdict"] == "undecided", "smallest_resolvable"]
    if len(open_ones):
        text += f"; for these the smallest resolvable difference is {range_in_words(open_ones)}"
    return joined_sentence(text)


def plot_differences(
    comparisons: pd.DataFrame,
    margin: float = 0.01,
    reference: str = "12-lead",
    note: str | None = None,
    other_margins: Sequence[float] = (),
) -> Figure:
    """Draw each paired difference to the reference with its interval: a forest plot.

    A configuration is *non-inferior* where the whole interval lies above the negative margin,
    *inferior* where it lies below it, otherwise *undecided*. A column ``verdict`` with these
    words overrides that reading, for verdicts that stand on one-sided or corrected bounds.

    Parameters
    ----------
    comparisons : DataFrame
        One recipe. Columns ``config``, ``difference``, ``difference_low``, ``difference_high``
        (configuration minus reference, so that a loss is negative), as
        :func:`leadmin.evidence.scores.main_table` gives; optionally ``verdict``, and
        ``smallest_resolvable``, which is then written beside the interval.
    margin : float, default 0.01
        Of non-inferiority.
    reference : str, default "12-lead"
        Its own row, if there is one, is left out.
    note : str, optional
        Stands below the axes.
    other_margins : sequence of float, optional
        Drawn as dotted lines, without a verdict.

    Returns
    -------
    Figure

    Raises
    ------
    LeadminError
        If a column is missing, the table is empty or holds several recipes.
    """
    what = "plot_differences"
    require_columns(
        comparisons, ("config", "difference", "difference_low", "difference_high"), what
    )
    require_one_recipe(comparisons, what)
    rows = comparisons[comparisons["config"] != reference].reset_index(drop=True)
    if rows.empty:
        raise LeadminError(f"{what}: only {reference!r} is in the table; there is no difference.")
    if "verdict" in rows.columns:
        verdicts = rows["verdict"].astype(str)
    else:
        verdicts = pd.Series(
            np.select([rows["difference_low"] > -margin, rows["difference_high"] < -margin],
                      ["non-inferior", "inferior"], "undecided"))  # fmt: skip
    figure = blank_figure(0.31 * len(rows) + 1.35)
    axis = figure.subplots()
    axis.axvspan(-margin, 0, color=OKABE_ITO["blue"], alpha=0.11, linewidth=0, zorder=0)
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axis.axvline(-margin, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    for other in other_margins:
        axis.axvline(-other, color=MUTED, linewidth=0.9, linestyle=(0, (1, 1.6)), zorder=1)
    resolvable = "smallest_resolvable" in rows.columns
    bounds = rows[["difference", "difference_low", "difference_high"]].to_numpy(dtype=float)
    for position, ((value, low, high), verdict) in enumerate(zip(bounds, verdicts, strict=True)):
        colour = VERDICT_COLOURS.get(verdict, MUTED)
        axis.plot(
            [low, high],
            [position] * 2,
            color=colour,
            linewidth=1.7,
            solid_capstyle="butt",
            zorder=2,
        )
        axis.plot(
            value,
            position,
            marker=VERDICT_MARKERS.get(verdict, "s"),
            color=colour,
            markersize=6.5,
            markeredgewidth=1.4,
            zorder=3,
            markerfacecolor="white" if verdict == "undecided" else colour,
        )
        figures = f"{value:+.3f}  ({low:+.3f} to {high:+.3f})"
        beside(axis, position, 8, figures.replace("-", "−"))
        if resolvable:
            beside(axis, position, 196, f"{rows['smallest_resolvable'].iloc[position]:.3f}",
                    ha="right")  # fmt: skip
    rows_down(axis, rows["config"])
    read_across(axis)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(f"macro AUROC minus that of {reference}")
    if resolvable:
        beside(axis, None, 196, "resolvable", ha="right")
    beside(axis, None, 8, "difference (95% interval)")
    shown = [verdict for verdict in VERDICT_COLOURS if (verdicts == verdict).any()]
    figure.legend(
        [Line2D([], [], color=VERDICT_COLOURS[verdict], marker=VERDICT_MARKERS[verdict],
                markersize=6, markeredgewidth=1.4,
                markerfacecolor="white" if verdict == "undecided" else VERDICT_COLOURS[verdict])
         for verdict in shown] + [Patch(facecolor=OKABE_ITO["blue"], alpha=0.13)]
        + [Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (1, 1.6)))
           for _ in other_margins[:1]],
        [*shown, f"margin {margin:g}", *([" and ".join(f"{other:g}" for other in other_margins)]
                                         if len(other_margins) else [])],
        loc="outside upper center", ncols=5, columnspacing=1.4, handletextpad=0.5)  # fmt: skip
    if note:
        figure.supxlabel(note, fontsize=8, color=MUTED)
    return figure


def _forest(tables: Tables) -> Figure | None:
    table = tables["non_inferiority"]
    if table.empty:
        return None
    return plot_differences(
        bounds_named(table[table["primary"]]),
        note=f"{tables.tested}; 95% intervals",
        other_margins=MARGINS[1:],
    )


MARGINS_HELD = Question(
    name="margins",
    title="Which sets are as good as twelve leads, at which margin?",
    tables={"non_inferiority": each_recipe(non_inferiority_table)},
    reading=lambda tables: margin_reading(tables["non_inferiority"]),
    figures={"differences": _forest},
    shown={"Non-inferiority": lambda tables: margin_table(tables["non_inferiority"])},
    note=f"The primary margin is {MARGIN:g}, the others test how much hangs on it. A verdict reads "
    "the 95% interval, whose lower end is a one-sided 97.5% bound; the p values beside it are "
    "Holm-corrected, and *after Holm* says whether non-inferiority holds by them too. "
    "*Resolvable*: the true difference that would have been found four times in five.",
    place=40,
)
