"""Does the map foretell networks that are trained for one set?"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import combine, interval_columns
from leadmin.evidence.nested import targets
from leadmin.evidence.scores import Evidence, Row, named
from leadmin.leads import electrode_sets
from leadmin.questions import Question, Tables, mean_of, of
from leadmin.questions.electrodes import target_in_words
from leadmin.show import style
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval
from leadmin.study.mapping import ANY_LEAD

MEAN = "mean"
"""What stands for a set in the row of the mean over electrode sets."""


def foretold_table(evidence: Evidence) -> pd.DataFrame:
    """Compare the one network with those trained for a set, on the same test records.

    A row for each set that has both, and for the `MEAN` of those that are electrode sets, and
    ``target`` (``macro`` or a class): ``auroc`` of the map, ``trained`` of the networks of the
    recipe ``of``, and ``difference``, trained minus map, each with ``_low`` and ``_high`` over
    patients; ``n_records, n_patients``, ``n_seeds`` of the map, ``n_trained`` (the fewest of any
    set), and ``n_sets`` behind the row. Empty without such networks.
    """
    own = {key[0]: one for key, one in evidence.scored.items() if key[1] != ANY_LEAD}
    groups = {config: [config] for config in own}
    if electrodes := [space.name for space in electrode_sets() if space.name in own]:
        groups[MEAN] = electrodes
    rows = []
    for (config, sets), target in itertools.product(groups.items(), targets(evidence.classes)):
        metric = "auroc" if target == "macro" else f"auroc_{target}"
        sides = [evidence.get(name, ANY_LEAD) for name in sets], [own[name] for name in sets]
        mapped, trained = (mean_of(named(one, metric) for one in side) for side in sides)
        row: Row = {"config": config, "of": sides[1][0].recipe, "target": target}
        row |= interval_columns("auroc", mapped) | interval_columns("trained", trained)
        row |= interval_columns("difference", combine(np.subtract, trained, mapped))
        row |= evidence.counts(sides[0][0])
        rows.append(row | {"n_trained": min(one.n_seeds for one in sides[1]), "n_sets": len(sets)})
    return pd.DataFrame(rows)


def foretold_reading(table: pd.DataFrame) -> str:
    """Say how close the map comes to the trained networks."""
    if table.empty:
        return "No networks were trained for single sets here, so that nothing can be compared."
    macro = table[table["target"] == "macro"]
    sets = macro[macro["config"] != MEAN]
    worst = max(sets.to_dict("records"), key=lambda row: abs(row["difference"]))
    text = "networks that were trained for the leads of one set alone differ from the one network"
    for row in macro[macro["config"] == MEAN].to_dict("records"):
        text += f", on the mean over {row['n_sets']} electrode sets, by "
        text += f"{value_with_interval(row, 'difference')} macro AUROC"
    text += f"; the largest difference is that of `{worst['config']}`, "
    text += value_with_interval(worst, "difference")
    if len(sets) > 2:
        r = number(sets["auroc"].corr(sets["trained"]))
        text += f"; over {len(sets)} sets both correlate at r = {r}"
    return joined_sentence(text)


def plot_foretold(tables: Tables) -> Figure | None:
    """Draw trained networks against the map, set by set."""
    table = tables["foretold"]
    if table.empty:
        return None
    table = table[table["config"] != MEAN]
    figure, axes = style.panels(3.9, 1, 2)
    colours = style.class_colours(tables.classes)
    for axis, drawn in zip(axes, (("macro",), tuple(tables.classes)), strict=True):
        shown = table[table["target"].isin(drawn)]
        ends = shown[["auroc", "trained"]].to_numpy()
        limits = float(ends.min()) - 0.01, float(ends.max()) + 0.01
        axis.plot(limits, limits, **style.CRITERION)
        for target in drawn:
            rows = shown[shown["target"] == target]
            colour = colours.get(target, style.INK)
            axis.plot(rows["auroc"], rows["trained"], "o", color=colour, markersize=4,
                      label=target_in_words(target, tables.classes),
                      **style.WHITE_EDGE)  # fmt: skip
        axis.set(xlim=limits, ylim=limits, aspect="equal", xlabel="AUROC, the one network")
        axis.legend(loc="lower right", fontsize=7.5)
    axes[0].set_ylabel("AUROC, trained for the set")
    return figure


COLUMNS = {"auroc": "the one network", "trained": "trained for the set", "difference": "difference"}
COLUMNS |= {"n_seeds": "seeds of the one", "n_trained": "seeds of the other"}


def _means(table: pd.DataFrame) -> Styler:
    rows = table[table["config"] == MEAN]
    return reading_table(rows, {"target": "AUROC of", "n_sets": "sets"} | COLUMNS)


def _sets(table: pd.DataFrame) -> Styler:
    rows = table[(table["target"] == "macro") & (table["config"] != MEAN)]
    return reading_table(rows, {"config": "set"} | COLUMNS)


FORETOLD = Question(
    name="foretold",
    title="Does the map foretell networks of their own?",
    tables={"foretold": foretold_table},
    reading=lambda tables: foretold_reading(tables["foretold"]),
    figures={"foretold": plot_foretold},
    shown={"Networks of their own, and the one network": of("foretold", _means)},
    folded={"Set by set": of("foretold", _sets)},
    about="map",
)
