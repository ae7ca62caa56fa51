"""Can the probabilities be believed, and acted on?"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas.io.formats.style import Styler
from scipy.special import expit

from leadmin import metrics
from leadmin.evidence import resampling
from leadmin.evidence.estimates import LEVEL
from leadmin.evidence.reliability import (
    BENEFIT_THRESHOLD,
    benefit_of_records,
    brier_decomposition,
    calibration_line,
    recalibrated_logits,
    resampled_calibration,
    smooth_calibration_error,
)
from leadmin.evidence.scores import ENDS, Evidence, Row, Rows, Scored
from leadmin.questions import FOLLOWED, Question, Tables, each_recipe, of
from leadmin.questions.classes import by_class
from leadmin.show import style
from leadmin.show.words import headings, joined_sentence, styled_table, with_intervals

NET_BENEFIT_THRESHOLDS = tuple(np.round(np.arange(0.02, 0.81, 0.02), 2))
"""Threshold probabilities of `decision_curves`."""


def calibration_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Calibration of each configuration and class, before and after recalibration.

    Recalibration is fitted on the validation records of the same network; values are means over
    seeds. ``recipe, config, n_leads, class`` (each, and ``macro``), ``recalibrated`` (bool),
    those of `MEASURES`; ``slope`` and ``offset`` with ``_low`` and ``_high`` of a 95% interval by
    the bootstrap's standard error (none for ``macro``); ``n_positive, n_records, n_patients,
    n_seeds``.
    """
    weights = evidence.weights.astype(np.float64)

    def rows(scored: Scored) -> Rows:
        for recalibrated in (False, True):
            logits = _logits(evidence, scored, recalibrated)
            classes: list[Row] = []
            for c, name in enumerate(evidence.classes):
                y = evidence.labels[:, c]
                row: Row = {"class": name, "recalibrated": recalibrated}
                row |= class_calibration(y, logits[:, :, c], weights)
                classes.append(row | {"n_positive": int(y.sum())})
            mean = pd.DataFrame(classes)[list(MEASURES)].mean()
            macro = classes[0] | {f"{name}{end}": np.nan for name in LINE for end in ENDS}
            macro |= dict(mean)
            macro |= {"class": "macro", "n_positive": int(evidence.labels.sum())}
            yield from (*classes, macro)

    return evidence.table(evidence.under(recipe), rows)


LINE = ("slope", "offset")
"""Of the calibration line: those measures that have an interval."""


def class_calibration(
    y: NDArray[np.uint8], logits: Iterable[NDArray[np.float64]], weights: NDArray[Any]
) -> dict[str, float]:
    """Give the mean over seeds of every calibration measure of one class.

    ``y`` and each of the ``logits`` are (n_records,), ``weights`` (n_records, n_resamples).
    """
    points, replicates = [], []
    for x in logits:
        p, line = expit(x), calibration_line(y, x)
        points.append(
            {
                "brier": float(np.mean((p - y) ** 2)),
                **brier_decomposition(y, p),
                "slope": line.slope,
                "offset": line.offset,
                "ece": float(metrics.calibration_error(y[:, None], p[:, None])[0]),
                "smooth_ece": smooth_calibration_error(y, p),
            }
        )
        replicates.append(resampled_calibration(y, x, line, weights))
    result = {name: float(np.mean([one[name] for one in points])) for name in points[0]}
    for name in LINE:
        mean = np.mean([one[name] for one in replicates], axis=0)
        low, high = resampling.normal_interval(result[name], mean)
        result |= {f"{name}_low": low, f"{name}_high": high}
    return result


def before_and_after(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a calibration table of one recipe into its halves before and after recalibration.

    Both have their rows in the same order, by configuration and class.
    """
    keyed = table.set_index(["config", "class"])
    before, after = keyed[~keyed["recalibrated"]], keyed[keyed["recalibrated"]]
    return before, after.loc[before.index]


def decision_curves(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Net benefit of each class over threshold probabilities, as decision curves show it.

    Recalibrated on validation records: a decision threshold is a statement about probabilities.
    ``recipe, config, class, threshold, net_benefit, low, high`` (95% percentile interval),
    ``treat_all`` (net benefit of calling every record positive; calling none has 0), ``gain`` over
    the better of the two with ``gain_low``, ``gain_high``, ``recalibrated, n_positive, n_records,
    n_patients, n_seeds``.
    """
    t = np.asarray(NET_BENEFIT_THRESHOLDS)
    weights = evidence.weights.T.astype(np.float32)
    tables = []
    for scored in evidence.under(recipe):
        p = expit(_logits(evidence, scored, True))
        for c, name in enumerate(evidence.classes):
            y = evidence.labels[:, c].astype(np.float64)
            curve: Row = {"recipe": recipe, "config": scored.config}
            curve |= {"class": name, "threshold": t} | _net_benefit(y, p[:, :, c], t, weights)
            curve |= {"recalibrated": True, "n_positive": int(y.sum())}
            tables.append(pd.DataFrame(curve | evidence.counts(scored)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _net_benefit(
    y: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    t: NDArray[np.float64],
    weights: NDArray[np.float32],
) -> Row:
    """Net benefit of one class at each threshold, mean over seeds, with its interval."""
    per_record = np.mean([benefit_of_records(y, p, t) for p in probabilities], axis=0)
    treated = y[:, None] - (1 - y[:, None]) * t / (1 - t)
    total = weights.sum(axis=1, dtype=np.float64)[:, None]
    resampled = (weights @ per_record.astype(np.float32)) / total
    default = np.maximum((weights @ treated.astype(np.float32)) / total, 0)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(resampled, ends, axis=0)
    gain_low, gain_high = np.quantile(resampled - default, ends, axis=0)
    value, everyone = per_record.mean(axis=0), treated.mean(axis=0)
    benefit = {"net_benefit": value, "low": low, "high": high, "treat_all": everyone}
    gain = value - np.maximum(everyone, 0)
    return benefit | {"gain": gain, "gain_low": gain_low, "gain_high": gain_high}


def _logits(evidence: Evidence, scored: Scored, recalibrated: bool) -> NDArray[np.float64]:
    """Test logits of every seed, recalibrated on its networks' validation records or not."""
    run, recipe = evidence.runs[scored.config], scored.recipe
    if recalibrated:
        return recalibrated_logits(run, recipe)
    return np.asarray(run.test.logits[recipe], dtype=np.float64)


MEASURES = headings("brier", "miscalibration", "discrimination", "uncertainty", "slope")
MEASURES |= headings(offset="intercept", ece="ECE", smooth_ece="smooth ECE")
"""Of the calibration table, as a page shows them."""


def recalibration_table(calibration: pd.DataFrame) -> Styler:
    """Show every measure of calibration before and after recalibration, under one recipe."""
    before, after = before_and_after(calibration)
    table = before.index.to_frame(index=False).rename(columns={"config": "configuration"})
    if table["class"].nunique() == 1:
        table = table.drop(columns="class")
    for name, heading in MEASURES.items():
        digits = 2 if name in LINE else 3
        cells = zip(*(with_intervals(side, name, digits) for side in (before, after)), strict=True)
        table[heading] = [a if a == b else f"{a} → {b}" for a, b in cells]
    return styled_table(table, "reading")


def recalibration_reading(calibration: pd.DataFrame) -> str:
    """Say what recalibration did to twelve leads, and for how many configurations it helped."""
    before, after = before_and_after(calibration[calibration["class"] == "macro"])
    lower = (after < before)[["smooth_ece", "brier"]].sum()
    (config, _), old, new = before.index[0], before.iloc[0], after.iloc[0]
    return joined_sentence(
        f"Recalibration moves the mean slope of `{config}` from {old['slope']:.2f} to "
        f"{new['slope']:.2f} and its smooth calibration error from {old['smooth_ece']:.3f} to "
        f"{new['smooth_ece']:.3f}; of {len(before)} configurations it lowers that error in "
        f"{lower['smooth_ece']} and the Brier score in {lower['brier']}"
    )


def decision_reading(curves: pd.DataFrame, config: str = "3-lead-I-II-V2") -> str:
    """Say at which thresholds acting on a configuration is shown to gain anything.

    Where that configuration is missing the first of the curves takes its place.
    """
    if curves.empty:
        return "These runs hold no configuration whose decisions are followed."
    if config not in set(curves["config"]):
        config = curves["config"].iloc[0]
    parts = []
    for name, rows in curves[curves["config"] == config].groupby("class", sort=False):
        gains = rows.set_index("threshold")["gain_low"] > 0
        found = gains[gains].index
        where = f"{found.min():.0%} to {found.max():.0%}" if len(found) else "nowhere"
        whole = gains.loc[found.min() : found.max()].all() if len(found) else True
        parts.append(f"{name} {where}" if whole else f"{name} parts of {where}")
    return joined_sentence(
        f"Thresholds at which acting on `{config}` is shown to be worth more than calling every "
        f"record or none: {', '.join(parts)}"
    )


def plot_recalibration(calibration: pd.DataFrame) -> Figure:
    """Draw a `calibration_table` of one recipe before (open) and after (filled) recalibration."""
    titles = {"slope": "calibration slope", "smooth_ece": "smooth ECE", "brier": "Brier score"}
    before, after = before_and_after(calibration[calibration["class"] == "macro"])
    names = before.index.get_level_values("config")
    figure, panels = style.row_figure(names, len(titles), head=1.3)
    places = np.arange(len(before))
    dot: dict[str, Any] = {"color": style.BLUE, "markersize": 6, "markeredgewidth": 1.4}
    for axis, (name, title) in zip(panels, titles.items(), strict=True):
        axis.hlines(places, before[name], after[name], color=style.FAINT, linewidth=2.2)
        axis.plot(before[name], places, "o", markerfacecolor="white", label="as trained", **dot)
        axis.plot(after[name], places, "o", label="recalibrated", **dot)
        if name == "slope":
            axis.axvline(1, **style.ZERO)
        if name == "smooth_ece":
            axis.set_xlim(0, 1.07 * max(before[name].max(), after[name].max()))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.set_title(title)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def plot_decision_curves(curves: pd.DataFrame) -> Figure:
    """Draw `decision_curves` of one recipe, a panel a class, with the first one's interval."""
    configs = list(dict.fromkeys(curves["config"]))
    looks = dict(zip(configs, itertools.cycle(style.SERIES), strict=False))
    classes = list(dict.fromkeys(curves["class"]))
    figure, panels = style.class_panels(len(classes), 2.45, sharex=True)
    for axis, name in zip(panels, classes, strict=False):
        mine = curves[curves["class"] == name]
        prevalence = float((mine["n_positive"] / mine["n_records"]).iloc[0])
        first = mine[mine["config"] == configs[0]].set_index("threshold")
        axis.plot(first["treat_all"], color=style.MUTED, linewidth=1.0)
        axis.axhline(0, **style.ZERO)
        axis.fill_between(first.index, first["low"], first["high"], color=style.BLUE, alpha=0.13,
                          linewidth=0)  # fmt: skip
        for config, look in looks.items():
            rows = mine[mine["config"] == config].set_index("threshold")
            axis.plot(rows["net_benefit"], color=look.colour, linestyle=look.line)
        axis.set_ylim(-0.12 * prevalence, 1.15 * prevalence)
        axis.yaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter(style.PER_CENT)
        axis.set_title(f"{name}, {prevalence:.0%} of records")
    for axis in panels[max(0, len(classes) - 3) : len(classes)]:
        axis.tick_params(labelbottom=True)  # also where nothing stands below
    keys: dict[str, Any] = {config: Line2D([], [], color=look.colour, linestyle=look.line)
                            for config, look in looks.items()}  # fmt: skip
    keys |= {
        f"95% interval of {configs[0]}": Patch(facecolor=style.BLUE, alpha=0.13),
        "call every record": Line2D([], [], color=style.MUTED, linewidth=1.0),
        "call no record": Line2D([], [], color=style.INK, linewidth=0.9),
    }
    style.legend(panels[len(classes)], keys, loc="center left", bbox_to_anchor=(0.0, 0.5))
    figure.supxlabel("threshold probability", fontsize=9)
    figure.supylabel("net benefit per record", fontsize=9)
    return figure


def benefit_table(curves: pd.DataFrame) -> Styler:
    """Show the net benefit of every set in 1,000 records at `BENEFIT_THRESHOLD`."""
    rows = curves[np.isclose(curves["threshold"], BENEFIT_THRESHOLD)]
    values = {"": "net_benefit", "_low": "low", "_high": "high"}
    named = {f"benefit{end}": 1000 * rows[name] for end, name in values.items()}
    return by_class(rows.assign(**named), "benefit", 0)


def _curves(table: pd.DataFrame) -> Figure | None:
    followed = table[table["config"].isin(FOLLOWED)]
    return plot_decision_curves(followed) if len(followed) else None


def _recalibration(operator: str) -> Callable[[Tables], Styler | None]:
    query = f"`class` {operator} 'macro'"
    return of("calibration", lambda table: recalibration_table(table.query(query)))


CALIBRATION = Question(
    name="calibration",
    title="Do the probabilities mean what they say?",
    tables={"calibration": each_recipe(calibration_table)},
    reading=lambda tables: recalibration_reading(tables["calibration"]),
    figures={"recalibration": of("calibration", plot_recalibration)},
    shown={"Before and after recalibration, means over the classes": _recalibration("==")},
    folded={"The calibration of every class": _recalibration("!=")},
    note="Means over the classes, before → after recalibration, which is Platt scaling per class, "
    "fitted on validation records. Brier = miscalibration − discrimination + uncertainty of the "
    "labels.",
)

DECISIONS = Question(
    name="decisions",
    title="Is a prediction worth acting on?",
    tables={"decision_curves": each_recipe(decision_curves)},
    reading=lambda tables: decision_reading(tables["decision_curves"]),
    figures={"decision_curves": of("decision_curves", _curves)},
    folded={
        f"Net benefit of every set in 1,000 records at a threshold of {BENEFIT_THRESHOLD:.0%}": of(
            "decision_curves", benefit_table
        )
    },
    only_csv=("decision_curves",),
)
