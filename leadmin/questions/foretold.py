"""Does the map foretell networks that are trained for one set?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leadmin.evidence.estimates import combine, interval_columns
from leadmin.evidence.nested import targets
from leadmin.evidence.scores import Evidence, named
from leadmin.questions import Question, Tables, of
from leadmin.questions.electrodes import target_in_words
from leadmin.show import style
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval
from leadmin.study.mapping import ANY_LEAD


def foretold_table(evidence: Evidence) -> pd.DataFrame:
    """Compare the one network with those trained for a set, on the same test records.

    A row for each set that has both, and ``target`` (``macro`` or a class): ``auroc`` of the map,
    ``trained`` of the networks of the recipe ``of``, and ``difference``, trained minus map, each
    with ``_low`` and ``_high`` over patients; ``n_records, n_patients``, ``n_seeds`` of the map and
    ``n_trained``. Empty without such networks.
    """
    rows = []
    for (config, recipe), trained in evidence.scored.items():
        if recipe == ANY_LEAD:
            continue
        mapped = evidence.get(config, ANY_LEAD)
        for target in targets(evidence.classes):
            metric = "auroc" if target == "macro" else f"auroc_{target}"
            both = [named(one, metric) for one in (mapped, trained)]
            row: dict[str, Any] = {"config": config, "of": recipe, "target": target}
            row |= interval_columns("auroc", both[0]) | interval_columns("trained", both[1])
            row |= interval_columns("difference", combine(np.subtract, *reversed(both)))
            rows.append(row | evidence.counts(mapped) | {"n_trained": trained.n_seeds})
    return pd.DataFrame(rows)


def foretold_reading(table: pd.DataFrame) -> str:
    """Say how close the map comes to the trained networks."""
    if table.empty:
        return "No networks were trained for single sets here, so that nothing can be compared."
    macro = table[table["target"] == "macro"]
    worst = max(macro.to_dict("records"), key=lambda row: abs(row["difference"]))
    together = ""
    if len(macro) > 2:
        r = number(float(np.corrcoef(macro["auroc"], macro["trained"])[0, 1]))
        together = f"; both correlate at r = {r}"
    return joined_sentence(
        "networks that were trained for the leads of one set alone differ from the one network, on "
        f"the mean over {len(macro)} sets, by {number(macro['difference'].mean(), 3, '+')} macro "
        f"AUROC; the largest difference is that of `{worst['config']}`, "
        f"{value_with_interval(worst, 'difference')}{together}"
    )


def plot_foretold(tables: Tables) -> Figure | None:
    """Draw trained networks against the map, set by set."""
    table = tables["foretold"]
    if table.empty:
        return None
    figure = style.blank_figure(3.9)
    axes = figure.subplots(1, 2)
    colours = style.class_colours(tables.classes)
    for axis, drawn in zip(axes, (("macro",), tuple(tables.classes)), strict=True):
        shown = table[table["target"].isin(drawn)]
        ends = shown[["auroc", "trained"]].to_numpy()
        limits = float(ends.min()) - 0.01, float(ends.max()) + 0.01
        axis.plot(limits, limits, **style.CRITERION)
        for target in drawn:
            rows = shown[shown["target"] == target]
            colour = colours.get(target, style.INK)
            axis.plot(rows["auroc"], rows["trained"], "o", color=colour, markersize=5,
                      label=target_in_words(target, tables.classes),
                      **style.WHITE_EDGE)  # fmt: skip
        axis.set(xlim=limits, ylim=limits, aspect="equal", xlabel="AUROC, the one network")
        axis.legend(loc="lower right", fontsize=7.5)
    axes[0].set_ylabel("AUROC, trained for the set")
    return figure


COLUMNS = {
    "config": "set",
    "auroc": "the one network",
    "trained": "trained for the set",
    "difference": "difference",
    "n_seeds": "seeds of the one",
    "n_trained": "seeds of the other",
}


FORETOLD = Question(
    name="foretold",
    title="Does the map foretell networks of their own?",
    tables={"foretold": foretold_table},
    reading=lambda tables: foretold_reading(tables["foretold"]),
    figures={"foretold": plot_foretold},
    shown={
        "Networks of their own, and the one network": of(
            "foretold", lambda table: reading_table(table[table["target"] == "macro"], COLUMNS)
        )
    },
    place=50,
    about="map",
)
