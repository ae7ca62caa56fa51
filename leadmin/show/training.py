"""Figures of one run: learning curves, ROC curves, reliability."""

from collections.abc import Collection, Mapping, Sequence
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
from leadmin.show import style

_HALVES: dict[str, Any] = {"xticks": [0, 0.5, 1], "yticks": [0, 0.5, 1]}


TRAINING = (0, (3, 1.5))
"""Dashes of what is measured on training records."""


def plot_learning_curves(history: pd.DataFrame, keeps_last: Collection[str] = ()) -> Figure:
    """Draw the loss and the validation AUROC of the fits of a run, a row a recipe.

    Each curve is the mean of the fits that ran that long, in the band of their range. ``history``
    has a row for each fit and epoch: ``recipe``, ``seed``, ``epoch``, ``train_loss``,
    ``validation_loss``, ``validation_auroc``, and optionally ``fold``. The recipes ``keeps_last``
    keep the weights of the last epoch; the others keep those of the best.
    """
    looks = style.recipe_looks(history["recipe"])
    by = [column for column in ("seed", "fold") if column in history.columns]
    figure, grid = style.panels(0.4 + 2.1 * len(looks), len(looks), 2, squeeze=False)
    for (losses, scores), (recipe, look) in zip(grid, looks.items(), strict=True):
        own = history[history["recipe"] == recipe]
        fits = [fit.set_index("epoch").sort_index() for _, fit in own.groupby(by)]
        for axis, column, colour, dashes in (
            (losses, "train_loss", style.MUTED, TRAINING),
            (losses, "validation_loss", look.colour, "-"),
            (scores, "validation_auroc", look.colour, "-"),
        ):
            values = pd.concat([fit[column] for fit in fits], axis=1)
            axis.plot(values.mean(axis=1), color=colour, linestyle=dashes)
            axis.fill_between(values.index, values.min(axis=1), values.max(axis=1), color=colour,
                              alpha=0.15, linewidth=0)  # fmt: skip
        kept = []
        for reached in (fit["validation_auroc"] for fit in fits):
            if reached.notna().any():
                row = -1 if recipe in keeps_last else int(np.nanargmax(reached))
                kept.append(reached.iloc[row])
                scores.plot(reached.index[row], kept[-1], look.marker, color=look.colour,
                            markersize=5, zorder=4, **style.WHITE_EDGE)  # fmt: skip
        losses.set_title(f"{recipe} recipe: loss ({len(fits)} fit{'s' if len(fits) > 1 else ''})")
        scores.set_title("validation AUROC, macro")
        losses.set_ylabel("binary cross-entropy")
        drawn = {"training (as augmented)": Line2D([], [], color=style.MUTED, linestyle=TRAINING),
                 "validation": Line2D([], [], color=look.colour)}  # fmt: skip
        losses.margins(y=0.35)  # room for the legends
        scores.margins(y=0.25)
        style.legend(losses, drawn, loc="upper right")
        if kept:
            words = f"{'last' if recipe in keeps_last else 'best'} epoch, kept: "
            words += f"{np.mean(kept):.3f}" + (" (mean)" if len(kept) > 1 else "")
            style.legend(scores, {words: style.key(look)}, loc="lower right")
    for axis in grid.ravel():
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
    return figure


def plot_roc(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    patient_id: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 300,
    classes: Sequence[str] = CLASSES,
) -> Figure:
    """Draw the ROC curve of each class with a 95% band from a bootstrap over patients.

    The curve of a recipe is the mean over its seeds of the true-positive rate at each
    false-positive rate; its AUROC is the mean over seeds. The band is pointwise, from resampled
    patients, and shows the error of the test set alone. Its 300 resamples are enough for drawing,
    not for an interval that is quoted.

    ``labels`` are 0/1, (n_records, n_classes); ``scores``, by recipe, are logits or probabilities,
    ([n_seeds, ]n_records, n_classes), of which only the order matters; records of one patient,
    ``patient_id`` (n_records,), are drawn together.
    """
    binary = np.asarray(labels, dtype=bool)
    stacks = _by_seed(scores)
    looks = style.recipe_looks(stacks)
    weights = patient_weights(patient_id, n_resamples, rng).T.astype(float)
    plain = np.ones((1, len(binary)))
    areas = {recipe: np.mean([auroc(binary, seed) for seed in stacks[recipe]], axis=0)
             for recipe in looks}  # fmt: skip
    rates = np.linspace(0, 1, 201)
    figure, panels = style.class_panels(len(classes), 2.5)
    for column, (axis, name) in enumerate(zip(panels, classes, strict=False)):
        truth = binary[:, column]
        axis.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.9)
        axis.set(title=f"{name}  ({truth.sum():,} of {truth.size:,})", xlim=(0, 1),
                 ylim=(0, 1.005), aspect="equal", **_HALVES)  # fmt: skip
        axis.grid(axis="both", visible=True)
        if truth.all() or not truth.any():
            axis.text(0.5, 0.5, "only one class\nin these records", ha="center", va="center",
                      fontsize=8.5, color=style.MUTED)  # fmt: skip
            continue
        for place, (recipe, look) in enumerate(reversed(looks.items())):
            curve, resampled = (
                np.mean([_roc(truth, seed[:, column], drawn, rates) for seed in stacks[recipe]], 0)
                for drawn in (plain, weights)
            )
            low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
            axis.fill_between(rates, low, high, color=look.colour, alpha=0.18, linewidth=0)
            axis.plot(rates, curve[0], color=look.colour, linestyle=look.line, linewidth=1.6)
            axis.text(0.97, 0.05 + 0.11 * place, f"{recipe} {areas[recipe][column]:.3f}",
                      ha="right", fontsize=8.5, color=style.darker(look.colour),
                      fontweight="bold")  # fmt: skip
    for axis in panels[: len(classes) : 3]:
        axis.set_ylabel("sensitivity")
    figure.supxlabel("1 − specificity", fontsize=9)
    unmarked = {recipe: look._replace(marker="") for recipe, look in looks.items()}
    keys: dict[str, Any] = _keys(stacks, unmarked)
    keys["95% band over patients\n(pointwise)"] = Patch(facecolor=style.MUTED, alpha=0.25)
    style.legend(panels[len(classes)], keys, loc="center left", bbox_to_anchor=(0.0, 0.55),
                 alignment="left", title="recipe; numbers: AUROC")  # fmt: skip
    return figure


def _keys(stacks: Mapping[str, NDArray[Any]], looks: Mapping[str, style.Look]) -> dict[str, Line2D]:
    """Make the legend's keys of recipes, with their numbers of seeds."""
    return {
        f"{recipe}, {style.seeds_in_words(len(stacks[recipe]))}": style.key(look, line=True)
        for recipe, look in looks.items()
    }


def _by_seed(scores: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.floating[Any]]]:
    """Give what each recipe scored a first axis for its seeds, also where it has one."""
    arrays = {recipe: np.asarray(values, dtype=float) for recipe, values in scores.items()}
    return {recipe: a[None] if a.ndim == 2 else a for recipe, a in arrays.items()}


def _roc(
    truth: NDArray[np.bool_],
    score: NDArray[np.floating[Any]],
    weights: NDArray[np.float64],
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the sensitivity at each rate for weights (n_resamples, n_records); NaN: one class."""
    order = np.argsort(-score, kind="stable")
    # tied scores make one sloping step, as in AUROC
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
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    n_bins: int = 8,
    classes: Sequence[str] = CLASSES,
) -> Figure:
    """Draw predicted against observed frequency, with how many records each point stands on.

    Predictions of all seeds of a recipe are pooled and cut into bins of equal count. A point
    stands at the mean prediction and the observed frequency of its bin; its bar is Wilson's 95%
    interval at the bin's number of records (of predictions divided by seeds), as though records
    were independent. Beneath, the distribution of the predictions. ``labels`` are 0/1, (n_records,
    n_classes), ``probabilities``, by recipe, ([n_seeds, ]n_records, n_classes).
    """
    binary = np.asarray(labels, dtype=float)
    stacks = _by_seed(probabilities)
    for recipe, stack in stacks.items():
        if np.nanmin(stack) < 0 or np.nanmax(stack) > 1:
            raise LeadminError(
                f"plot_calibration: recipe {recipe!r} has values outside 0 to 1; valid: "
                "probabilities; hand in the sigmoid of the logits"
            )
    looks = style.recipe_looks(stacks)
    n_rows, last = len(classes) // 3 + 1, divmod(len(classes), 3)  # the last one is the legend's
    ratios = (3, 0.9) * n_rows
    figure, grid = style.panels(3.1 * n_rows, 2 * n_rows, 3, height_ratios=ratios, sharex=True)
    edges = np.linspace(0, 1, 21)
    for column, name in enumerate(classes):
        axis, strip = grid[2 * (column // 3) : 2 * (column // 3) + 2, column % 3]
        axis.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1.0)
        tallest = 0.0
        for recipe, look in looks.items():
            n_seeds = len(stacks[recipe])
            predicted = stacks[recipe][:, :, column].ravel()
            bins = _reliability(predicted, np.tile(binary[:, column], n_seeds), n_seeds, n_bins)
            around = [bins["observed"] - bins["low"], bins["high"] - bins["observed"]]
            axis.errorbar(bins["predicted"], bins["observed"], around, color=look.colour,
                          marker=look.marker, markersize=4, linestyle=look.line, linewidth=1.1,
                          elinewidth=0.9, **style.WHITE_EDGE)  # fmt: skip
            counts = np.histogram(predicted, edges)[0] / n_seeds
            tallest = max(tallest, counts.max())
            strip.stairs(counts, edges, color=look.colour, linestyle=look.line, linewidth=1.2)
        axis.set(title=name, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), **_HALVES)
        axis.grid(axis="both", visible=True)
        strip.set(ylim=(0, 1.15 * tallest), yticks=[0, int(tallest)])
        strip.grid(visible=False)
        strip.tick_params(labelsize=7.5, labelbottom=True)
    for row, text in enumerate(("observed frequency", "records") * n_rows):
        grid[row, 0].set_ylabel(text)
    figure.supxlabel("predicted probability", fontsize=9)
    for axis in grid[2 * last[0] :, last[1] :].ravel():
        axis.set_axis_off()
    keys = _keys(stacks, looks) | {"perfect calibration": Line2D([], [], color=style.FAINT)}
    style.legend(grid[2 * last[0], last[1]], keys, loc="center left", bbox_to_anchor=(0.0, 0.5),
                 alignment="left", title=f"recipe; {len(binary):,} records,\n"
                 f"{n_bins} bins of equal count")  # fmt: skip
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
