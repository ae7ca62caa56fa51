"""What does a lost electrode cost, told and not told?"""

import re

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from leadmin.evidence.scores import REFERENCE, Evidence, Row
from leadmin.evidence.trials import trial_of
from leadmin.questions import Question, of
from leadmin.questions.noise import disturbed, false_calls, in_turn
from leadmin.show import style
from leadmin.show.words import MISSING, number, value_with_interval, wide_table, with_intervals

FIXED = ", 12-lead network"
"""Stands behind what is asked of a network of twelve leads, which can be told nothing."""

WHOLE = f"whole{FIXED}"
"""The condition in which nothing is lost, for that network; the others are sets of the map."""

_NOT_TOLD = {"flat": "leads flat", "noisy": "noise", "swapped": "swapped"}
FAULTS = {
    "told": "told of it",
    **{fault: f"not told, {words}" for fault, words in _NOT_TOLD.items()},
    **{f"{fault}{FIXED}": f"{words}{FIXED}" for fault, words in _NOT_TOLD.items()},
}
LOOKS = {
    "told": style.Look(style.BLUE, "o"),
    "flat": style.Look(style.VERMILLION, "D"),
    "noisy": style.Look(style.ORANGE, "s"),
    "swapped": style.Look(style.PURPLE, "^"),
}


def fallen_table(evidence: Evidence) -> pd.DataFrame:
    """Score each loss: ``electrode, fault`` (of `FAULTS`; none for all nine in place).

    Before `FIXED` it is of a network of twelve leads, which has AUROCs alone. Then what
    `leadmin.questions.noise.disturbed` gives.
    """
    conditions = trial_of(evidence)["conditions"]
    cases = {("", "none"): REFERENCE}
    cases |= {(said["electrode"], "told"): said["told"] for said in conditions.values()
              if "told" in said}  # fmt: skip
    cases |= {(said["electrode"], said["fault"]): name for name, said in conditions.items()}
    rows: list[Row] = []
    for (electrode, fault), config in cases.items():
        clean = WHOLE if fault.endswith(FIXED) else REFERENCE
        rows += disturbed(evidence, config, clean, {"electrode": electrode, "fault": fault})
    table = pd.DataFrame(rows)
    # That network has thresholds of its own, which the trial does not hold.
    counted = [name for name in table if re.search("missed|in_vain", str(name))]
    table.loc[table["fault"].str.endswith(FIXED), counted] = float("nan")
    return table


def fallen_reading(table: pd.DataFrame) -> str:
    """Say what the loss of a chest and of a limb electrode costs, told and not told."""
    macro = table[table["target"] == "macro"]
    whole = {
        kind: number(macro.loc[macro["fault"] == f"none{kind}", "auroc"].mean())
        for kind in ("", FIXED)
    }
    said = f"With all nine in place the macro AUROC is {whole['']}"
    said += f" ({whole[FIXED]}{FIXED})" * (whole[FIXED] != MISSING) + ". With\n\n"
    parts = []
    for where, chest in (("a chest electrode", True), ("a limb electrode", False)):
        rows = macro[macro["electrode"].str.startswith("V") == chest]
        for fault in ("told", "flat", f"flat{FIXED}", "noisy", f"noisy{FIXED}"):
            of_fault = rows[rows["fault"] == fault]
            if len(of_fault):
                mean, worst = of_fault["auroc"].mean(), of_fault.sort_values("auroc").iloc[0]
                parts.append(
                    f"{where} lost, {FAULTS[fault]}: {number(mean)} on average, at worst "
                    f"{number(worst['auroc'])} ({worst['electrode']})"
                )
    for kind in ("", FIXED):
        parts += [
            f"arms swapped{kind}: {value_with_interval(row, 'auroc')}"
            for row in macro[macro["fault"] == f"swapped{kind}"].to_dict("records")
        ]
    return said + "\n".join(f"* {part}" for part in parts)


def plot_fallen(table: pd.DataFrame) -> Figure | None:
    """Draw the macro AUROC of each loss, told and not told."""
    macro = table[table["target"] == "macro"]
    names = [name for name in dict.fromkeys(macro["electrode"]) if name]
    if not names:
        return None
    figure, (axis,) = style.row_figure(names, row=0.42)
    for shift, (fault, look) in enumerate(LOOKS.items()):
        rows = macro[macro["fault"] == fault]
        places = [names.index(name) + 0.2 * (min(shift, 2) - 1) for name in rows["electrode"]]
        style.forest(axis, rows, "auroc", look, places=places)
    full = macro[macro["fault"] == "none"]["auroc"].iloc[0]
    axis.axvline(full, **style.CRITERION)
    axis.set_xlabel("macro AUROC; all nine in place dashed")
    axis.set_ylabel("lost")
    keys = {FAULTS[fault]: style.key(look) for fault, look in LOOKS.items()}
    style.legend(figure, keys, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def wide_fallen(table: pd.DataFrame, target: str, digits: int, *values: str) -> Styler:
    """Show values for each electrode, a column for each fault; a single one with its interval."""
    rows = table[table["target"] == target].dropna(subset=values[0])
    single = len(values) == 1
    said = with_intervals(rows, values[0], digits) if single else in_turn(rows, values, digits)
    rows = rows.assign(said=said, fault=rows["fault"].map(FAULTS))
    lost, full = rows[rows["fault"].notna()], rows.loc[rows["fault"].isna(), "said"].iloc[0]
    return wide_table(
        lost.assign(full=full), {"electrode": "lost", "full": "in place"}, "fault", lost["said"]
    )


FALLEN = Question(
    name="fallen",
    title="What does a lost electrode cost?",
    tables={"fallen": fallen_table},
    reading=lambda tables: fallen_reading(tables["fallen"]),
    figures={"fallen": of("fallen", plot_fallen)},
    shown={"Macro AUROC without an electrode": of("fallen", wide_fallen, "macro", 3, "auroc")},
    folded=false_calls("fallen", wide_fallen),
    about="fallen",
)
