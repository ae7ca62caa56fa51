"""How few leads are enough?"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError
from leadmin.evidence.estimates import interval_columns, with_seeds
from leadmin.evidence.scores import (
    ENDS,
    MARGIN,
    REFERENCE,
    Evidence,
    Row,
    Rows,
    Scored,
    relative_to_reference,
    seed_variances,
)
from leadmin.labels import CLASSES, classes_in_words
from leadmin.questions import DEPENDS, Question, Tables, corrected, each_recipe
from leadmin.questions.electrodes import with_training
from leadmin.show import style
from leadmin.show.words import (
    headings,
    joined_sentence,
    latex_escape,
    latex_interval,
    latex_number,
    latex_table,
    reading_table,
    value_with_interval,
)


def main_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """One row per configuration: the study's main table; refused where the recipe has none.

    ``recipe, config, leads, n_leads``; then, each with ``_low`` and ``_high`` of its 95% interval
    (none for ``ece``), every metric in macro average, ``lrs, retention, retention_above_chance``
    and ``difference`` (macro AUROC minus that of the 12 leads, paired), which has ``difference_p``,
    ``difference_p_holm`` (over the other configurations) and ``non_inferior`` (the interval lies
    above ``-MARGIN``). ``auroc`` and ``difference`` have ``_low_with_seeds`` and
    ``_high_with_seeds`` too; ``auroc_seed_sd``; ``n_records, n_patients, n_seeds``.
    """
    sets = evidence.under(recipe)
    if not sets:
        raise LeadminError(
            f"main table: recipe is {recipe!r}; valid for these runs: "
            f"{', '.join(evidence.recipes)}; choose one of them"
        )

    def rows(scored: Scored) -> Rows:
        row: Row = {"leads": ", ".join(scored.leads)}
        for metric in scored.per_seed:
            row |= interval_columns(metric, scored.macro(metric))
        row |= with_seeds("auroc", scored.macro("auroc"), [scored.seed_variance("auroc")])
        row["auroc_seed_sd"] = scored.seed_sd("auroc")
        for name, estimate in relative_to_reference(evidence, scored.config, recipe).items():
            row |= interval_columns(name, estimate)
        row["difference_p"] = estimate.p() if scored.config != REFERENCE else float("nan")
        row |= with_seeds(name, estimate, seed_variances(evidence, scored.config, recipe))
        yield row | {"non_inferior": bool(row["difference_low"] > -MARGIN)}

    table = evidence.table(sets, rows)
    table.insert(2, "leads", table.pop("leads"))
    return corrected(table, "difference_p")


def answer_sentence(
    main: pd.DataFrame, losses: pd.DataFrame | None = None, classes: Iterable[str] = CLASSES
) -> str:
    """Answer the title's question from the main table of one recipe, in words.

    The rule was fixed before any run was seen: the fewest leads whose whole paired 95% interval of
    the difference in macro AUROC lies above the negative margin; among equals the higher AUROC.
    What of it is firm comes from `leadmin.questions.margins.firm_losses`.
    """
    reduced = main[main["config"] != REFERENCE]
    if reduced.empty or REFERENCE not in set(main["config"]):
        return "These runs hold no comparison with twelve leads, so they answer nothing."
    firm = {}
    if losses is not None and len(losses):
        firm = dict(zip(losses["config"], losses["firm"], strict=True))
    ranked = reduced.sort_values(["n_leads", "auroc"], ascending=[True, False])
    proven = ranked[ranked["difference_low"] > -MARGIN]
    if len(proven):
        best = with_training(proven).iloc[0].to_dict()
        count = "One lead" if best["n_leads"] == 1 else f"{best['n_leads']} leads"
        doubt = firm.get(best["config"]) == DEPENDS
        return (
            f"**{count}**: {best['leads']} read the {classes_in_words(classes)} "
            f"within {MARGIN} of the twelve leads' macro AUROC (difference "
            f"{value_with_interval(best, 'difference')}), and no smaller set of the study could be "
            "shown to." + doubt * f" The verdict is not firm: it {DEPENDS}."
        )
    worse = int((reduced["difference_high"] < -MARGIN).sum())
    best = with_training(reduced).sort_values("auroc", ascending=False).iloc[0].to_dict()
    difference = value_with_interval(best, "difference")
    closest = f"The closest is {best['leads']}, at a difference of {difference}."
    if worse == len(reduced):
        sets = f"{worse} sets" if worse > 1 else "set"
        loose = ranked.loc[ranked["config"].map(firm.get) == DEPENDS, "leads"]
        besides = (
            " Whatever the draw of training patients and the label policy, that holds for "
            f"{worse - len(loose)} of them; for {' and for '.join(loose)} it {DEPENDS}."
        )
        return (
            f"**None of these is enough.** Each of the {sets} with fewer than twelve leads is "
            f"shown to lose more than {MARGIN} macro AUROC.{besides * bool(len(loose))} {closest}"
        )
    return (
        "**These records cannot decide it.** No set with fewer than twelve leads could be shown to "
        f"stay within {MARGIN} of their macro AUROC; {worse} of {len(reduced)} are shown to be "
        f"worse than that. {closest}"
    )


def configurations_reading(main: pd.DataFrame) -> str:
    """Say what the figure of the answer shows: all leads, the best and the worst smaller set."""
    full, reduced = main[main["config"] == REFERENCE], main[main["config"] != REFERENCE]
    ordered = reduced.sort_values("auroc", ascending=False, kind="stable").to_dict("records")
    named = [("all twelve leads reach", row) for row in full.to_dict("records")]
    named += [(f"the best smaller set, `{row['config']}`,", row) for row in ordered[:1]]
    named += [(f"the weakest, `{row['config']}`,", row) for row in ordered[1:][-1:]]
    return joined_sentence(
        "; ".join(f"{words} {value_with_interval(row, 'auroc')}" for words, row in named)
    )


def main_latex(main: pd.DataFrame, stands_on: str, classes: Iterable[str] = CLASSES) -> str:
    """Typeset the main table of all recipes."""
    shown = main.copy()  # no difference of the 12 leads to themselves was estimated
    differences = [f"difference{end}" for end in ENDS]
    shown.loc[shown["config"] == REFERENCE, differences] = float("nan")
    rows = [
        (
            row["recipe"],
            latex_escape(row["config"]),
            str(row["n_leads"]),
            latex_number(row["auroc"]),
            latex_interval(row["auroc_low"], row["auroc_high"]),
            latex_number(row["difference"]),
            latex_interval(row["difference_low"], row["difference_high"]),
            *(latex_number(row[name]) for name in ("f1", "brier", "lrs", "retention_above_chance")),
        )
        for row in shown.to_dict("records")
    ]
    heading = (
        "Configuration & {Leads} & {AUROC} & {95\\% interval} & {$\\Delta$ to 12 leads} & "
        "{95\\% interval} & {F1} & {Brier} & {LRS} & {Kept}"
    )
    caption = (
        f"Lead configurations in macro averages over {classes_in_words(classes)}. "
        "$\\Delta$: macro AUROC minus that of the 12 leads, paired over patients. "
        "LRS: lead robustness score. Kept: share of the discrimination above chance, "
        "$(\\mathrm{AUROC} - 0.5) / (\\mathrm{AUROC}_{12} - 0.5)$. " + latex_escape(stands_on)
    )
    spec = (
        "l S[table-format=2.0] S[table-format=1.3] c S[table-format=+1.3] c "
        "*{4}{S[table-format=1.3]}"
    )
    return latex_table(spec, heading, rows, caption, "tab:main")


COLUMNS = headings("config", "auroc", "difference", "difference_p_holm", "f1", "brier", "lrs")
COLUMNS |= {"auroc": "macro AUROC", "retention_above_chance": "retention above chance"}
"""Of the main table, as a page shows it."""


def _main_columns(*names: str) -> Callable[[Tables], Styler]:
    return lambda tables: reading_table(tables["main"], {name: COLUMNS[name] for name in names})


def _every_column(tables: Tables) -> Styler:
    """Show what a page shows of the main table, and what it leaves out for want of room."""
    columns = headings("config", "n_leads") | COLUMNS | {"auroc_seed_sd": "SD over seeds"}
    columns |= headings("ece", "retention", "n_seeds")
    return reading_table(tables["main"], columns, digits={"auroc_seed_sd": 4})


def plot_answer(table: pd.DataFrame) -> Figure:
    """Draw macro AUROC against the number of leads: the study's answer in one figure.

    Of a `main_table` of one or several recipes. Each configuration has a column of its own. The
    first recipe (``default`` where there is one) sets the REFERENCE line and the band of the margin
    beneath it; the best configuration at each number of leads is joined by a line. Whether an
    interval reaches the band is *not* the test: that one is paired, and a filled marker says that
    its ``difference_low`` lies above the margin.
    """
    looks = style.recipe_looks(table["recipe"])
    answer = next(iter(looks))
    by_recipe = {recipe: table[table["recipe"] == recipe].set_index("config") for recipe in looks}
    first = by_recipe[answer]["auroc"]
    place, counts = _columns(table, first)
    figure, axis = style.panels(4.5)
    reached = style.bounds(table, "auroc").to_numpy()
    known = reached[np.isfinite(reached)] if np.isfinite(reached).any() else np.array([0.0, 1.0])
    low, high = known.min(), known.max()
    pad = 0.06 * (high - low) or 0.01
    axis.set(xlim=(-0.75, place.max() + 0.75), ylim=(low - pad, high + 1.9 * pad))
    deepest = max(style.stacked_leads(config).count("\n") + 1 for config in place.index)
    for number, (count, members) in enumerate(place.groupby(counts)):
        if number % 2 == 0:
            ends = members.min() - 0.775, members.max() + 0.775
            axis.axvspan(*ends, color="#f5f6f8", zorder=0)
        axis.annotate(f"{count} lead{'s' * (count > 1)}", (members.mean(), 0),
                      (0, -(8 + 11.5 * deepest)), xycoords=axis.get_xaxis_transform(),
                      textcoords="offset points", ha="center", va="top", fontsize=9.5,
                      fontweight="bold", annotation_clip=False)  # fmt: skip
    middle = (len(looks) - 1) / 2
    dodge = {recipe: 0.18 * (number - middle) / max(middle, 1 / 2)
             for number, recipe in enumerate(looks)}  # fmt: skip
    for recipe, look in looks.items():
        rows, places = by_recipe[recipe], place + dodge[recipe]
        if REFERENCE in rows.index:
            level = float(rows["auroc"][REFERENCE])
            axis.axhline(level, color=look.colour, linewidth=1.0, linestyle=look.line, alpha=0.9,
                         zorder=1)  # fmt: skip
            if recipe == answer:
                axis.axhspan(level - MARGIN, level, color=look.colour, alpha=0.13, linewidth=0,
                             zorder=1)  # fmt: skip
        leaders = rows.groupby("n_leads")["auroc"].idxmax()
        axis.plot(places[leaders], rows.loc[leaders, "auroc"], color=look.colour, linewidth=1.3,
                  alpha=0.45, linestyle=look.line, zorder=2)  # fmt: skip
        filled = (rows["difference_low"] > -MARGIN) | (rows.index == REFERENCE)
        style.forest(axis, rows, "auroc", look, filled, places[rows.index], upright=True)
    tops = table.groupby("config")["auroc_high"].max()
    for config, value in zip(map(str, first.index), first, strict=True):
        axis.annotate(f"{value:.3f}", (place[config] + dodge[answer], tops[config]), (0, 3),
                      textcoords="offset points", ha="center", va="bottom", fontsize=8,
                      color=style.darker(looks[answer].colour), fontweight="bold", zorder=5,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7,
                            "pad": 0.6})  # fmt: skip
    axis.set_xticks(place, [style.stacked_leads(config) for config in place.index])
    axis.tick_params(axis="x", length=0, labelsize=8.5, pad=3, rotation=0)
    axis.set_ylabel("macro AUROC (axis cut)")
    keys: dict[str, Any] = {f"{recipe} recipe": style.key(look) for recipe, look in looks.items()}
    keys["open: not shown non-inferior"] = style.key(style.Look(style.MUTED), filled=False)
    if REFERENCE in first.index:
        keys[f"{REFERENCE}, margin {MARGIN:g} beneath"] = (
            Patch(facecolor=looks[answer].colour, alpha=0.13),
            Line2D([], [], color=looks[answer].colour, linewidth=1.0),
        )
    style.legend(axis, keys, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(keys),
                 columnspacing=1.3, handletextpad=0.4, borderaxespad=0.3)  # fmt: skip
    return figure


def _columns(frame: pd.DataFrame, first: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Give each configuration its x, and its number of leads: few leads first, then low scores."""
    counts = frame.drop_duplicates("config").set_index("config")["n_leads"].astype(int)
    order = sorted(counts.index, key=lambda config: (counts[config], first.get(config, np.inf)))
    counts = counts[order]
    gaps = pd.factorize(counts)[0]  # one gap before each further number of leads
    return pd.Series(np.arange(len(order)) + 0.55 * gaps, index=order), counts


ANSWER = Question(
    name="answer",
    title="How few leads are enough?",
    reading=lambda t: answer_sentence(t["main"], t["firm_losses"], t.classes),
)

CONFIGURATIONS = Question(
    name="configurations",
    title="What does each set of leads reach?",
    tables={"main": each_recipe(main_table)},
    reading=lambda tables: configurations_reading(tables["main"]),
    figures={
        "answer": lambda t: plot_answer(t.whole["main"]) if t["main"]["auroc"].any() else None
    },
    shown={"What each set of leads reaches": _main_columns(*COLUMNS)},
    report=_every_column,
    latex={"table_main.tex": lambda t, basis: main_latex(t.whole["main"], basis, t.classes)},
    elsewhere={
        "main_table": _main_columns("config", "auroc", "difference", "retention_above_chance"),
    },
)
