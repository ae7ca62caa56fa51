"""Figures of one run: learning curves, ROC curves, reliability."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from leadmin.errors import LeadminError
from leadmin.evidence.resampling import patient_weights
from leadmin.labels import CLASSES
from leadmin.metrics import auroc
from leadmin.show.style import (
    FAINT,
    MUTED,
    blank_figure,
    checked_labels,
    darker,
    recipe_look,
    recipe_order,
    require_columns,
    seeds_in_words,
)


def plot_learning_curves(history: pd.DataFrame, keeps_last: Collection[str] = ()) -> Figure:
    """Draw the loss and the validation AUROC of every fit of a run.

    Parameters
    ----------
    history : DataFrame
        Columns ``recipe``, ``seed``, ``epoch``, ``train_loss``, ``validation_loss``,
        ``validation_auroc``, and optionally ``fold``: one row a fit and epoch.
    keeps_last : collection of str, default none
        Recipes that keep the weights of the last epoch; the others keep those of the best.

    Returns
    -------
    Figure
        A row a recipe. Left, training loss (broken) and validation loss (solid); right,
        validation AUROC with the epoch marked whose weights each fit keeps.

    Raises
    ------
    LeadminError
        If a column is missing or the table is empty.
    """
    columns = ("recipe", "seed", "epoch", "train_loss", "validation_loss", "validation_auroc")
    require_columns(history, columns, "plot_learning_curves")
    recipes = recipe_order(history["recipe"])
    look = recipe_look(recipes)
    by = ["seed", "fold"] if "fold" in history.columns else ["seed"]
    figure = blank_figure(0.4 + 2.1 * len(recipes))
    grid = figure.subplots(len(recipes), 2, squeeze=False)
    for (losses, scores), recipe in zip(grid, recipes, strict=True):
        mine = history[history["recipe"] == recipe]
        colour, marker, _ = look[recipe]
        fits = [fit.sort_values("epoch") for _, fit in mine.groupby(by)]
        strong = 0.9 if len(fits) <= 3 else max(0.25, 3 / len(fits))
        thin = 1.4 if len(fits) <= 3 else 0.9
        best = []
        for fit in fits:
            losses.plot(
                fit["epoch"],
                fit["train_loss"],
                color=MUTED,
                linewidth=thin,
                linestyle=(0, (3, 1.5)),
                alpha=strong,
            )
            losses.plot(
                fit["epoch"], fit["validation_loss"], color=colour, linewidth=thin, alpha=strong
            )
            scores.plot(
                fit["epoch"], fit["validation_auroc"], color=colour, linewidth=thin, alpha=strong
            )
            reached = fit["validation_auroc"].to_numpy(dtype=float)
            if np.isfinite(reached).any():
                kept = len(fit) - 1 if recipe in keeps_last else int(np.nanargmax(reached))
                best.append((float(fit["epoch"].iloc[kept]), float(reached[kept])))
                scores.plot(
                    *best[-1],
                    marker=marker,
                    markersize=6,
                    color=colour,
                    markeredgecolor="white",
                    markeredgewidth=0.8,
                    zorder=4,
                )
        for axis in (losses, scores):
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        count = f"{len(fits)} fit" + ("s" if len(fits) > 1 else "")
        losses.set_title(f"{recipe} recipe: loss ({count})")
        scores.set_title("validation AUROC, macro")
        losses.legend(
            [Line2D([], [], color=MUTED, linestyle=(0, (3, 1.5))), Line2D([], [], color=colour)],
            ["training (as augmented)", "validation"], loc="upper right")  # fmt: skip
        if best:
            mean = np.mean([score for _, score in best])
            scores.legend(
                [Line2D([], [], color=colour, marker=marker, markeredgecolor="white", markersize=6,
                        linestyle="none")],
                [f"{'last' if recipe in keeps_last else 'best'} epoch, kept: {mean:.3f}"
                 + (" (mean)" if len(best) > 1 else "")],
                loc="lower right")  # fmt: skip
        losses.set_ylabel("binary cross-entropy")
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
    return figure


def plot_roc(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    patient_id: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 300,
) -> Figure:
    """Draw the ROC curve of each class with a 95% band from a bootstrap over patients.

    The curve of a recipe is the mean over its seeds of the true-positive rate at each
    false-positive rate. The band is pointwise, from resampled patients; seeds are resampled with
    nothing, so it shows the error of the test set alone. AUROC is the mean over seeds.

    Parameters
    ----------
    labels : array_like, shape (n_records, 5)
        0/1 labels.
    scores : mapping of str to array_like, shape (n_seeds, n_records, 5) or (n_records, 5)
        Recipe to logits or probabilities: only their order matters.
    patient_id : array_like, shape (n_records,)
        Records of one patient are drawn together.
    rng : numpy.random.Generator
        Draws the resamples.
    n_resamples : int, default 300
        Enough for a band that is drawn, not for an interval that is quoted.

    Returns
    -------
    Figure
        One panel a class, and one for the legend.

    Raises
    ------
    LeadminError
        If shapes disagree.
    """
    binary = checked_labels(labels, "plot_roc").astype(bool)
    stacks = _stacked_scores(scores, binary, "plot_roc")
    recipes = recipe_order(stacks)
    look = recipe_look(recipes)
    weights = patient_weights(patient_id, n_resamples, rng).T.astype(float)
    areas = {recipe: np.mean([auroc(binary, seed) for seed in stacks[recipe]], axis=0)
             for recipe in recipes}  # fmt: skip
    rates = np.linspace(0, 1, 201)
    figure = blank_figure(5.0)
    grid = figure.subplots(2, 3).ravel()
    for column, (axis, name) in enumerate(zip(grid, CLASSES, strict=False)):
        truth = binary[:, column]
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9)
        axis.set_title(f"{name}  ({truth.sum():,} of {truth.size:,})")
        axis.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
        axis.grid(axis="both", visible=True)
        if truth.all() or not truth.any():
            axis.text(
                0.5,
                0.5,
                "only one class\nin these records",
                ha="center",
                va="center",
                fontsize=8.5,
                color=MUTED,
            )
            continue
        for place, recipe in enumerate(recipes):
            colour, _, line = look[recipe]
            plain = np.ones((1, truth.size))
            curve, resampled = (
                np.mean(
                    [_roc(truth, seed[:, column], drawn, rates) for seed in stacks[recipe]], axis=0
                )
                for drawn in (plain, weights)
            )
            low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
            axis.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(rates, curve[0], color=colour, linestyle=line, linewidth=1.6)
            axis.text(
                0.97,
                0.05 + 0.11 * (len(recipes) - 1 - place),
                f"{recipe} {areas[recipe][column]:.3f}",
                ha="right",
                fontsize=8.5,
                color=darker(colour),
                fontweight="bold",
            )
    for axis in grid[[0, 3]]:
        axis.set_ylabel("sensitivity")
    figure.supxlabel("1 − specificity", fontsize=9)
    legend = grid[-1]
    legend.set_axis_off()
    legend.legend(
        [Line2D([], [], color=look[recipe][0], linestyle=look[recipe][2]) for recipe in recipes]
        + [Patch(facecolor=MUTED, alpha=0.25)],
        [f"{recipe}, {seeds_in_words(len(stacks[recipe]))}"
         for recipe in recipes] + ["95% band over patients\n(pointwise)"],
        loc="center left", bbox_to_anchor=(0.0, 0.55), title="recipe; numbers: AUROC",
        alignment="left")  # fmt: skip
    return figure


def _stacked_scores(
    scores: Mapping[str, ArrayLike], labels: NDArray[Any], what: str
) -> dict[str, NDArray[np.floating[Any]]]:
    stacks: dict[str, NDArray[np.floating[Any]]] = {}
    for recipe, values in scores.items():
        array = np.asarray(values, dtype=float)
        array = array[None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[1:] != labels.shape:
            raise LeadminError(
                f"{what}: scores of recipe {recipe!r} have the shape {array.shape}; expected "
                f"(n_seeds, {labels.shape[0]}, {labels.shape[1]}), as the labels have."
            )
        stacks[recipe] = array
    if not stacks:
        raise LeadminError(f"{what}: no recipe was given; hand in at least one.")
    return stacks


def _roc(
    truth: NDArray[np.bool_],
    score: NDArray[np.floating[Any]],
    weights: NDArray[np.float64],
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the sensitivity at each false-positive rate, (n_resamples, n_rates).

    ``weights`` is (n_resamples, n_records). NaN where a resample holds one class only. Tied scores
    make one sloping step, as in AUROC.
    """
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)
    sorted_weights = weights[:, order]
    hits = np.cumsum(sorted_weights * truth[order], axis=1)[:, last_of_tie]
    alarms = np.cumsum(sorted_weights * ~truth[order], axis=1)[:, last_of_tie]
    with np.errstate(invalid="ignore"):
        sensitivity = np.pad(hits / hits[:, -1:], ((0, 0), (1, 0)))
        false_rate = np.pad(alarms / alarms[:, -1:], ((0, 0), (1, 0)))
    curves = np.full((len(weights), rates.size), np.nan)
    for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
        curves[row] = np.interp(rates, false_rate[row], sensitivity[row])
    return curves


def plot_calibration(
    labels: ArrayLike, probabilities: Mapping[str, ArrayLike], n_bins: int = 8
) -> Figure:
    """Draw predicted against observed frequency, with how many records each point stands on.

    Predictions of all seeds of a recipe are pooled and cut into bins of equal count. A point
    stands at the mean prediction and the observed frequency of its bin; its bar is Wilson's 95%
    interval at the bin's number of records (of predictions divided by seeds), as though records
    were independent. Beneath, the distribution of the predictions.

    Parameters
    ----------
    labels : array_like, shape (n_records, 5)
        0/1 labels.
    probabilities : mapping of str to array_like, shape (n_seeds, n_records, 5) or (n_records, 5)
        Recipe to predicted probabilities.
    n_bins : int, default 8
        Bins of equal count.

    Returns
    -------
    Figure
        One panel a class, each with a histogram beneath, and one for the legend.

    Raises
    ------
    LeadminError
        If shapes disagree or a value is no probability.
    """
    binary = checked_labels(labels, "plot_calibration").astype(float)
    stacks = _stacked_scores(probabilities, binary, "plot_calibration")
    for recipe, stack in stacks.items():
        if np.nanmin(stack) < 0 or np.nanmax(stack) > 1:
            raise LeadminError(
                f"plot_calibration: recipe {recipe!r} has values outside 0 to 1; hand in "
                "probabilities (the sigmoid of the logits)."
            )
    recipes = recipe_order(stacks)
    look = recipe_look(recipes)
    figure = blank_figure(6.2)
    panels = figure.subplots(4, 3, height_ratios=(3, 0.9, 3, 0.9), sharex=True)
    pairs = [
        (panels[row, column], panels[row + 1, column]) for row in (0, 2) for column in range(3)
    ]
    edges = np.linspace(0, 1, 21)
    for column, ((axis, strip), name) in enumerate(zip(pairs, CLASSES, strict=False)):
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0)
        tallest = 0.0
        for recipe in recipes:
            colour, marker, line = look[recipe]
            stack = stacks[recipe]
            predicted = stack[:, :, column].ravel()
            observed = np.tile(binary[:, column], len(stack))
            table = _reliability(predicted, observed, len(stack), n_bins)
            axis.errorbar(
                table["predicted"],
                table["observed"],
                [table["observed"] - table["low"], table["high"] - table["observed"]],
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=line,
                linewidth=1.1,
                elinewidth=0.9,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
            counts, _ = np.histogram(predicted, edges)
            counts = counts / len(stack)
            tallest = max(tallest, counts.max())
            strip.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.2)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), yticks=[0, 0.5, 1], xticks=[0, 0.5, 1])
        axis.grid(axis="both", visible=True)
        axis.set_title(name)
        strip.set(ylim=(0, 1.15 * tallest), yticks=[0, int(tallest)])
        strip.grid(visible=False)
        strip.tick_params(labelsize=7.5)
    panels[0, 0].set_ylabel("observed frequency")
    panels[2, 0].set_ylabel("observed frequency")
    panels[1, 0].set_ylabel("records")
    panels[3, 0].set_ylabel("records")
    for strip in panels[1]:
        strip.tick_params(labelbottom=True)
    figure.supxlabel("predicted probability", fontsize=9)
    for axis in panels[2:, 2]:
        axis.set_axis_off()
    panels[2, 2].legend(
        [Line2D([], [], color=look[recipe][0], marker=look[recipe][1], linestyle=look[recipe][2],
                markersize=5, markeredgecolor="white") for recipe in recipes]
        + [Line2D([], [], color=FAINT)],
        [f"{recipe}, {seeds_in_words(len(stacks[recipe]))}"
         for recipe in recipes] + ["perfect calibration"],
        loc="center left", bbox_to_anchor=(0.0, 0.5), alignment="left",
        title=f"recipe; {len(binary):,} records,\n{n_bins} bins of equal count")  # fmt: skip
    return figure


def _reliability(
    predicted: NDArray[np.floating[Any]],
    observed: NDArray[np.floating[Any]],
    n_seeds: int,
    n_bins: int,
) -> dict[str, NDArray[np.float64]]:
    """Tabulate mean prediction and observed frequency with Wilson's interval, by equal counts."""
    bins = [part for part in np.array_split(np.argsort(predicted, kind="stable"), n_bins)
            if part.size]  # fmt: skip
    mean = np.array([predicted[part].mean() for part in bins])
    rate = np.array([observed[part].mean() for part in bins])
    records = np.array([part.size for part in bins]) / n_seeds
    z = 1.959964
    centre = (rate + z**2 / (2 * records)) / (1 + z**2 / records)
    spread = (z / (1 + z**2 / records)) * np.sqrt(
        rate * (1 - rate) / records + z**2 / (4 * records**2)
    )
    low, high = np.minimum(centre - spread, rate), np.maximum(centre + spread, rate)
    return {"predicted": mean, "observed": rate, "low": low, "high": high}
