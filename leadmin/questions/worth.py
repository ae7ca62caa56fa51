"""What is each chest electrode worth?"""

import math
from collections.abc import Mapping
from functools import cache

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from leadmin.evidence.nested import chosen_sets, contrast, numbers_of_electrodes, targets
from leadmin.evidence.scores import REFERENCE, Evidence, Row
from leadmin.labels import CLASS_NAMES
from leadmin.leads import CHEST_LEADS, LIMB_LEADS, electrode_sets
from leadmin.questions import Question, Tables, diagnoses, of
from leadmin.questions.electrodes import electrodes_in_words, target_in_words
from leadmin.show import style
from leadmin.show.words import (
    joined_sentence,
    number,
    value_with_interval,
    wide_table,
    with_intervals,
)
from leadmin.study.mapping import ANY_LEAD

LACKING = "This map lacks some of the 64 sets of chest electrodes."


@cache
def _chest_sets() -> dict[frozenset[str], str]:
    """Name the set of each of the 64 choices of chest electrodes beside RA, LA and LL."""
    return {
        frozenset(space.leads) - set(LIMB_LEADS): space.name
        for space in electrode_sets()
        if set(LIMB_LEADS) <= set(space.leads)
    }


def _by_chest(evidence: Evidence) -> dict[frozenset[str], str]:
    """Give `_chest_sets`, or none of them where the map lacks some."""
    names = _chest_sets()
    return names if set(names.values()) <= evidence.runs.keys() else {}


def shapley_weights(electrode: str) -> dict[frozenset[str], float]:
    """Give the weight of each of the 64 chest sets in the Shapley value of one electrode.

    The value is the mean gain from adding the electrode, over all orders in which the six could be
    placed [1]_; the six values add up to what all six are worth.

    References
    ----------
    .. [1] Shapley LS. A value for n-person games. Contributions to the Theory of Games II, 307-317
       (1953).
    """
    n, weights = len(CHEST_LEADS), {}
    for chest in _chest_sets():
        before = len(chest - {electrode})
        share = math.factorial(before) * math.factorial(n - before - 1) / math.factorial(n)
        weights[chest] = share if electrode in chest else -share
    return weights


def worth_table(evidence: Evidence) -> pd.DataFrame:
    """Give each chest electrode's Shapley value over the 64 chest sets, for each class.

    ``electrode, target``; ``gain`` in AUROC and ``spared``, in missed per 1,000 records (of the
    diagnoses), each with the intervals of `leadmin.questions.electrodes.map_table`; ``n_records,
    n_patients, n_seeds``. Empty where the map lacks some of the sets.
    """
    names, rows = _by_chest(evidence), []
    for electrode in CHEST_LEADS if names else ():
        weights = {names[chest]: w for chest, w in shapley_weights(electrode).items()}
        fewer = {name: -w for name, w in weights.items()}
        for target in targets(evidence.classes):
            row: Row = {"electrode": electrode, "target": target}
            row |= contrast(evidence, weights, "auroc", target).columns("gain")
            if target in diagnoses(evidence.classes):
                row |= contrast(evidence, fewer, "missed", target).columns("spared")
            rows.append(row | evidence.counts(evidence.get(REFERENCE, ANY_LEAD)))
    return pd.DataFrame(rows)


def next_table(evidence: Evidence) -> pd.DataFrame:
    """Give what each chest electrode adds as the next one, to the set chosen most often so far.

    ``n_electrodes`` and ``base`` (the set, in words), ``electrode, target``, and ``gain`` as in
    `worth_table`.
    """
    names, rows = _by_chest(evidence), []
    chest_of = {name: chest for chest, name in names.items()}
    # from the limb electrodes alone to one short of all
    for n_electrodes in numbers_of_electrodes()[1:-1] if names else ():
        base = next(iter(chosen_sets(evidence, n_electrodes, "macro")))
        for electrode in sorted(set(CHEST_LEADS) - chest_of[base]):
            more = names[chest_of[base] | {electrode}]
            for target in targets(evidence.classes):
                gain = contrast(evidence, {more: 1.0, base: -1.0}, "auroc", target)
                row: Row = {"n_electrodes": n_electrodes}
                row |= {"base": electrodes_in_words(base)}
                row |= {"electrode": electrode, "target": target} | gain.columns("gain")
                rows.append(row | evidence.counts(evidence.get(REFERENCE, ANY_LEAD)))
    return pd.DataFrame(rows)


def worth_reading(worth: pd.DataFrame, names: Mapping[str, str] = CLASS_NAMES) -> str:
    """Say which electrode each class owes most to."""
    if worth.empty:
        return LACKING
    parts = []
    for name, called in names.items():
        best = worth[worth["target"] == name].sort_values("gain", ascending=False).iloc[0]
        gain = value_with_interval(dict(best), "gain")
        parts.append(f"for {called} from {best['electrode']} ({gain})")
    return joined_sentence(
        "the largest part of what chest electrodes add to the AUROC comes " + "; ".join(parts)
    )


def plot_worth(tables: Tables) -> Figure | None:
    """Draw the Shapley values as a heat map, electrode by class."""
    worth = tables["worth"]
    if worth.empty:
        return None
    gain = worth.pivot(index="target", columns="electrode", values="gain")
    gain = gain.loc[list(targets(tables.classes))]
    gain.index = pd.Index([target_in_words(target, tables.classes) for target in gain.index])
    figure, axis = style.panels(1.1 + 0.3 * len(gain))
    style.difference_heatmap(axis, gain, "AUROC gained", cbar=False)
    return figure


def wide_gain(table: pd.DataFrame, head: dict[str, str], value: str, digits: int = 3) -> Styler:
    """Show a value with its interval, a column for each class that has it."""
    rows = table.dropna(subset=value)
    return wide_table(rows, head, "target", with_intervals(rows, value, digits))


def next_reading(table: pd.DataFrame) -> str:
    """Say which electrode adds most as the next one, number by number."""
    if table.empty:
        return LACKING
    macro, parts = table[table["target"] == "macro"], []
    for base, group in macro.groupby("base", sort=False):
        best = group.sort_values("gain", ascending=False).iloc[0]
        parts.append(f"to {base}, {best['electrode']} ({number(best['gain'], 3, '+')})")
    return joined_sentence("what adds most to the macro AUROC as the next one: " + "; ".join(parts))


WORTH = Question(
    name="worth",
    title="What is each chest electrode worth?",
    tables={"worth": worth_table},
    reading=lambda tables: worth_reading(tables["worth"], tables.classes),
    figures={"worth": plot_worth},
    folded={
        "AUROC gained, with intervals": of("worth", wide_gain, {"electrode": "electrode"}, "gain"),
        "Missed in 1,000 spared, with intervals": of(
            "worth", wide_gain, {"electrode": "electrode"}, "spared", 1
        ),
    },
    about="map",
)

NEXT = Question(
    name="next",
    title="Which electrode next?",
    tables={"next": next_table},
    reading=lambda tables: next_reading(tables["next"]),
    folded={
        "What each adds": of(
            "next", wide_gain, {"base": "there already", "electrode": "next"}, "gain"
        )
    },
    about="map",
)
