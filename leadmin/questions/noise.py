"""How much noise does each electrode set bear?"""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from leadmin.evidence.nested import targets
from leadmin.evidence.scores import Evidence, Row, Rows
from leadmin.evidence.trials import trial_of
from leadmin.labels import CLASSES
from leadmin.questions import Question, Tables, diagnoses, of
from leadmin.questions.electrodes import compared, electrodes_in_words
from leadmin.show import style
from leadmin.show.words import number, signed, value_with_interval, wide_table
from leadmin.study.mapping import ANY_LEAD

NOISES = {"em": "electrode motion", "ma": "muscle", "bw": "baseline wander"}
"""Records of the Noise Stress Test Database, and what they hold."""

HARD = ("em", 6)
"""Noise and ratio at which sets are compared in words: electrode motion, visible on any paper."""


def disturbed(evidence: Evidence, config: str, clean: str, head: Row) -> Rows:
    """Score what was done to records against the same set undisturbed, for each class and the mean.

    Behind ``head`` the ``target``; ``auroc``, and of the diagnoses ``missed`` and called
    ``in_vain`` per 1,000 records, each with ``_low`` and ``_high`` over patients, and what they
    differ by, ``difference`` and its like.
    """
    for target in targets(evidence.classes):
        columns = compared(evidence, config, clean, target, ("missed", "in_vain"))
        of_patients = {name: v for name, v in columns.items() if not name.endswith("_with_seeds")}
        counts = evidence.counts(evidence.get(config, ANY_LEAD))
        yield head | {"target": target} | of_patients | counts


def noise_table(evidence: Evidence) -> pd.DataFrame:
    """Score the main sets under noise: ``noise, decibels, config, electrodes``, then `disturbed`.

    Without noise ``noise`` is empty.
    """
    conditions = trial_of(evidence)["conditions"]
    rows: list[Row] = []
    sets = dict.fromkeys(said["set"] for said in conditions.values())
    clean = {name: {"set": name, "noise": "", "decibels": float("nan")} for name in sets}
    for config, said in (clean | conditions).items():
        head = {"noise": said["noise"], "decibels": said["decibels"], "config": said["set"]}
        head |= {"electrodes": electrodes_in_words(said["set"])}
        rows += disturbed(evidence, config, said["set"], head)
    return pd.DataFrame(rows)


def noise_reading(table: pd.DataFrame) -> str:
    """Say which sets lose least and most under the hard noise, and which noise harms most."""
    macro = table[table["target"] == "macro"]
    kind, decibels = HARD
    hard = macro[(macro["noise"] == kind) & (macro["decibels"] == decibels)]
    if hard.empty:
        return f"No trial with {NOISES[kind]} at {decibels} dB."
    ordered = hard.sort_values("difference", ascending=False).to_dict("records")
    said = [f"{row['electrodes']}, {value_with_interval(row, 'difference')}" for row in ordered]
    nine = macro[(macro["config"] == "12-lead") & (macro["decibels"] == decibels)]
    others = [
        f"{NOISES[row['noise']]} {signed(row['difference'])}" for row in nine.to_dict("records")
    ]
    best = hard.sort_values("auroc", ascending=False).iloc[0]
    return (
        f"Under {NOISES[kind]} at {decibels} dB the macro AUROC changes least with {said[0]}, "
        f"and most with {said[-1]}. Nine electrodes at {decibels} dB, by noise: "
        f"{', '.join(others)}. The best of these sets is then still {best['electrodes']}, "
        f"at {number(best['auroc'])}."
    )


def plot_noise(table: pd.DataFrame) -> Figure | None:
    """Draw the macro AUROC of each set against the ratio, a panel for each noise."""
    macro = table[table["target"] == "macro"]
    kinds = [kind for kind in NOISES if kind in set(macro["noise"])]
    if not kinds:
        return None
    figure, (axes,) = style.panels(3.6, 1, len(kinds), sharey=True, squeeze=False)
    looks = [*style.SERIES, style.Look(style.INK)]
    for axis, kind in zip(axes, kinds, strict=True):
        rows = macro[macro["noise"] == kind]
        places = sorted(rows["decibels"].unique(), reverse=True)
        clean_place = places[0] + 8
        for look, (config, line) in zip(looks, rows.groupby("config", sort=False), strict=False):
            line = line.sort_values("decibels", ascending=False)
            clean = macro[(macro["noise"] == "") & (macro["config"] == config)]["auroc"]
            axis.plot([clean_place, *line["decibels"]], [*clean, *line["auroc"]],
                      color=look.colour, linestyle=look.line, marker=".")  # fmt: skip
        axis.set_xticks([clean_place, *places], ["none", *(f"{place:g}" for place in places)])
        axis.invert_xaxis()
        axis.set_title(NOISES[kind], fontsize=9)
    axes[0].set_ylabel("macro AUROC")
    figure.supxlabel("signal-to-noise ratio, dB", fontsize=9)
    names = dict.fromkeys(macro["electrodes"])
    keys = {name: style.key(look, line=True) for name, look in zip(names, looks, strict=False)}
    style.legend(figure, keys, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def in_turn(rows: pd.DataFrame, values: Sequence[str], digits: int) -> pd.Series:
    """Write several values of each row, parted by strokes."""
    return rows[list(values)].map(number, digits=digits).agg(" / ".join, axis=1)


def wide_noise(table: pd.DataFrame, target: str, digits: int, *values: str) -> Styler:
    """Show values of each set, a column for each ratio, noise by noise."""
    rows = table[table["target"] == target]
    rows = rows.assign(said=in_turn(rows, values, digits))
    none = rows[rows["noise"] == ""].set_index("config")["said"]
    rows = rows[rows["noise"] != ""].assign(
        noise=rows["noise"].map(NOISES),
        none=rows["config"].map(none),
        ratio=rows["decibels"].map("{:g} dB".format),
    )
    head = {name: name for name in ("noise", "electrodes", "none")}
    return wide_table(rows, head, "ratio", rows["said"])


def false_calls(
    table: str, wide: Callable[..., Styler]
) -> dict[str, Callable[[Tables], Styler | None]]:
    """Fold away, diagnosis by diagnosis, what is missed and what is falsely called."""
    return {
        f"{name} in 1,000: missed / falsely called": of(table, wide, name, 0, "missed", "in_vain")
        for name in diagnoses(CLASSES)
    }


NOISE = Question(
    name="noise",
    title="How much noise does each electrode set bear?",
    tables={"noise": noise_table},
    reading=lambda tables: noise_reading(tables["noise"]),
    figures={"noise": of("noise", plot_noise)},
    shown={"Macro AUROC under noise": of("noise", wide_noise, "macro", 3, "auroc")},
    folded=false_calls("noise", wide_noise),
    about="noise",
)
