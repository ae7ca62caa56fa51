"""What does the original's Lead Robustness Score say, and what does it hide?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from leadmin.evidence.scores import REFERENCE, Evidence, relative_to_reference
from leadmin.metrics import LRS_BRIER_SCALE, lrs
from leadmin.questions import Question, Tables, each_recipe, of
from leadmin.show import style
from leadmin.show.words import joined_sentence, value_with_interval

ORIGINAL = (0.7, 0.3)
"""Weights of the AUROC ratio and of the calibration term in the original's score."""


def lrs_weights(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Score the lead sets under other LRS weights, to see whether the ranking hangs on them.

    Three terms share the weight, on a regular grid over the simplex: the AUROC ratio and the
    calibration term, which are the original's, and retention above chance, which it lacks. One row
    per weighting and configuration with fewer than 12 leads: ``recipe, config, n_leads,
    weight_ratio, weight_calibration, weight_above_chance`` (they sum to 1), ``score, rank`` (1 is
    best), ``original`` (bool: the weights are `ORIGINAL`). Empty without a 12-lead run.
    """
    reduced, terms = evidence.compared(recipe), []
    for scored in reduced:
        relative = relative_to_reference(evidence, scored.config, recipe)
        full = evidence.get(REFERENCE, recipe).macro("brier").value
        calibration = 1 - (scored.macro("brier").value - full) / LRS_BRIER_SCALE
        terms.append(
            [relative["retention"].value, calibration, relative["retention_above_chance"].value]
        )
    grid = [(i / 10, j / 10, (10 - i - j) / 10) for i in range(11) for j in range(11 - i)]
    rows = []
    for weights in grid if reduced else ():
        scores = np.array(terms) @ np.array(weights)
        for scored, score in zip(reduced, scores, strict=True):
            names = ("weight_ratio", "weight_calibration", "weight_above_chance")
            row = scored.head | dict(zip(names, weights, strict=True))
            row |= {"score": float(score), "rank": int(1 + (scores > score).sum())}
            rows.append(row | {"original": weights[:2] == ORIGINAL})
    return pd.DataFrame(rows)


def lrs_ranks(
    table: pd.DataFrame, steps: int = 1000
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Rank the lead sets along the weights of the two terms of the Lead Robustness Score.

    The score is linear in its weights, so the two corners of `lrs_weights`, one recipe, say all.
    Gives the weight of the AUROC ratio, (steps + 1,) from 0 to 1, and the ranks, (steps + 1,
    n_configs) in the order of the table, of which 1 is best.
    """
    calibration, ratio = (
        table.loc[np.isclose(table[f"weight_{name}"], 1), "score"]
        for name in ("calibration", "ratio")
    )
    weight = np.linspace(0, 1, steps + 1)
    score = np.outer(1 - weight, calibration) + np.outer(weight, ratio)
    rank = 1 + (score[:, None, :] > score[:, :, None]).sum(axis=2)
    return weight, rank


def lrs_reading(main: pd.DataFrame) -> str:
    """Set the lowest LRS against what that set keeps above chance, and against a coin flip."""
    reduced = main[main["config"] != REFERENCE]
    if reduced.empty or not np.isfinite(main["lrs"]).any():
        return "There is no smaller set to compare with twelve leads."
    worst = reduced.sort_values("lrs", kind="stable").iloc[0].to_dict()
    full = float(main.loc[main["config"] == REFERENCE, "auroc"].iloc[0])
    return joined_sentence(
        f"The lowest LRS, that of `{worst['config']}`, is still {value_with_interval(worst, 'lrs')}"
        f", though it keeps {value_with_interval(worst, 'retention_above_chance')} of what lies "
        f"above chance; a coin flip with an unchanged Brier score would get "
        f"{lrs(0.5, 0.1, full, 0.1):.2f}"
    )


def lrs_weights_reading(weights: pd.DataFrame) -> str:
    """Say whether the best smaller set hangs on the weights of the LRS, and how many pairs do."""
    if weights.empty:
        return "There is no smaller set to rank."
    configs = list(dict.fromkeys(weights["config"]))
    share, ranks = lrs_ranks(weights)
    first = int(ranks[np.argmin(np.abs(share - ORIGINAL[0]))].argmin())
    leads = share[ranks[:, first] == 1]
    signs = np.sign(ranks[:, :, None] - ranks[:, None, :])[:, *np.triu_indices(len(configs), 1)]
    turned = int((np.ptp(signs, axis=0) > 0).sum())
    where = (
        "at every weight"
        if len(leads) == len(share)
        else f"for weights of the AUROC ratio from {leads.min():.2f} to {leads.max():.2f}"
    )
    return joined_sentence(
        f"`{configs[first]}` is first {where}; {turned} of {signs.shape[1]} pairs of sets change "
        "their order somewhere between all weight on one term and all on the other"
    )


def plot_lrs(table: pd.DataFrame) -> Figure:
    """Draw the Lead Robustness Score: where its points are lost, and what it hides.

    Left, the two ways to lose a point. Right, LRS beside the chance-corrected retention, with the
    LRS that a coin flip of unchanged Brier score would get. ``table`` is a `main_table` of one
    recipe with a row of the 12 leads.
    """
    values = table.set_index("config")[["auroc", "brier"]].astype(float)
    auroc_12, brier_12 = values.loc[REFERENCE].to_numpy()
    lost_auroc = 1 - lrs(values["auroc"].to_numpy(), brier_12, auroc_12, brier_12)
    lost_brier = 1 - lrs(auroc_12, values["brier"].to_numpy(), auroc_12, brier_12)
    coin = float(lrs(0.5, brier_12, auroc_12, brier_12))
    places = np.arange(len(values))
    figure, (left, right) = style.row_figure(values.index, 2, head=1.35, row=0.30)
    # Gains stack to the left of zero and losses to the right, so that neither hides the other.
    starts = np.where(np.sign(lost_auroc) == np.sign(lost_brier), lost_auroc, 0.0)
    left.barh(places, lost_auroc, 0.62, label="AUROC term", **style.BARS[0])
    left.barh(places, lost_brier, 0.62, left=starts, label="Brier term",
              **style.BARS[1] | {"color": style.ORANGE})  # fmt: skip
    left.axvline(0, **style.ZERO)
    left.set_xlabel("LRS points lost to all leads")
    left.xaxis.set_major_locator(MaxNLocator(5))
    kept = style.Look(style.VERMILLION, "D")
    style.forest(right, table, "lrs", places=places - 0.13)
    style.forest(right, table, "retention_above_chance", kept, places=places + 0.13)
    right.axvline(coin, **style.CRITERION)
    right.annotate(f"a coin flip's LRS: {coin:.2f}", (coin, 0.72), (-4, 0), fontsize=8, rotation=90,
                   xycoords=right.get_xaxis_transform(), textcoords="offset points",
                   color=style.MUTED, ha="right", va="center")  # fmt: skip
    right.set_xlim(left=min(coin - 0.05, right.get_xlim()[0]))
    right.set_xlabel("share of all leads' score kept")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": 2, "borderaxespad": 0.2,
             "columnspacing": 1.2}  # fmt: skip
    left.legend(**above)
    keys = {"LRS": style.key(style.PLAIN), "chance-corrected retention": style.key(kept)}
    style.legend(right, keys, **above)
    return figure


def plot_lrs_weights(table: pd.DataFrame) -> Figure | None:
    """Draw how the order of the lead sets hangs on the weights of the Lead Robustness Score.

    Of `lrs_weights`, one recipe: each set's rank along the segment of the two terms, those that
    change rank in colour. Nothing is drawn where none does.
    """
    share, ranks = lrs_ranks(table)
    if not np.ptp(ranks, axis=0).any():
        return None
    configs = list(dict.fromkeys(table["config"]))
    figure, axis = style.panels(max(0.27 * len(configs) + 1.2, 3.4))
    looks = iter(style.SERIES)
    aside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    for config, rank in zip(configs, ranks.T, strict=True):
        moves = np.ptp(rank) > 0
        look = next(looks, style.Look(style.INK)) if moves else style.Look(style.FAINT)
        axis.plot(share, rank, color=look.colour, linestyle=look.line, zorder=2 + moves,
                  linewidth=2.2 if moves else 1.6, solid_joinstyle="round")  # fmt: skip
        colour = style.darker(look.colour) if moves else style.MUTED
        axis.annotate(config, (0, rank[0]), (-5, 0), ha="right", color=colour, **aside)
        axis.annotate(f"{rank[-1]:.0f}", (1, rank[-1]), (5, 0), color=style.MUTED, **aside)
    axis.plot([ORIGINAL[0]] * 2, [0.6, len(configs) + 0.5], **style.CRITERION)
    axis.text(ORIGINAL[0], 0.5, "original", fontsize=8, ha="center", va="bottom")
    axis.set(xlim=(0, 1), ylim=(len(configs) + 0.5, 0.3), yticks=[],
             xlabel="weight of the AUROC ratio (the Brier term has the rest)")  # fmt: skip
    axis.set_title("rank among the smaller sets", pad=14)
    axis.spines[:].set_visible(False)
    return figure


def _figure(tables: Tables) -> Figure | None:
    scored = tables["main"].dropna(subset="auroc")
    return plot_lrs(tables["main"]) if REFERENCE in set(scored["config"]) else None


LRS = Question(
    name="lrs",
    title="What does the Lead Robustness Score hide?",
    reading=lambda tables: lrs_reading(tables["main"]),
    figures={"lrs": _figure},
)

WEIGHTS = Question(
    name="weights",
    title="Does the order hang on the weights of that score?",
    tables={"lrs_weights": each_recipe(lrs_weights)},
    reading=lambda tables: lrs_weights_reading(tables["lrs_weights"]),
    figures={"lrs_weights": of("lrs_weights", plot_lrs_weights)},
    only_csv=("lrs_weights",),
)
