"""Does the recipe matter more than the leads?"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError
from leadmin.evidence.estimates import Estimate, bounded, combine, interval_columns
from leadmin.evidence.scores import REFERENCE, Evidence, Row, Rows, Scored, named
from leadmin.labels import CLASSES
from leadmin.questions import (
    Question,
    about_superclasses,
    bounds_named,
    corrected,
    first_two_recipes,
    mean_of,
    of,
    read_of_superclasses,
    smaller_sets,
)
from leadmin.show import style
from leadmin.show.words import (
    P_FLOOR,
    joined_sentence,
    number,
    p_of_row,
    reading_table,
    value_with_interval,
)


def recipe_comparison(
    evidence: Evidence, first: str = "default", second: str = "original"
) -> pd.DataFrame:
    """Two recipes on the same records, configuration by configuration.

    One row per configuration and metric (``auroc, auroc_<class>, brier, f1`` and, without interval
    and p value, ``ece``): ``config, n_leads, metric, first, second`` (values), ``difference``
    (first minus second, paired) with ``_low``, ``_high``, ``p``, and ``p_holm`` over the
    configurations within the metric; ``first_recipe, second_recipe, n_records, n_patients,
    n_seeds``. Empty where no configuration was trained under both.
    """
    names = ["auroc", *(f"auroc_{name}" for name in evidence.classes), "brier", "ece", "f1"]

    def rows(scored: Scored) -> Rows:
        other = evidence.get(scored.config, second)
        for name in names:
            a, b = named(scored, name), named(other, name)
            difference = combine(np.subtract, a, b)
            row: Row = {"metric": name, "first": a.value, "second": b.value}
            row |= interval_columns("difference", difference) | {"p": difference.p()}
            if name == "ece":  # see `interval_columns`
                row |= dict.fromkeys(("difference_low", "difference_high", "p"), float("nan"))
            yield row | {"first_recipe": first, "second_recipe": second}

    table = evidence.table(_under_both(evidence, first, second), rows)
    return corrected(table.drop(columns="recipe", errors="ignore"), by="metric")


def _under_both(evidence: Evidence, first: str, second: str) -> list[Scored]:
    """Those of the first recipe whose configuration was trained under the second too."""
    return [one for one in evidence.under(first) if (one.config, second) in evidence.scored]


def across_recipes(
    evidence: Evidence, first: str = "default", second: str = "original"
) -> pd.DataFrame:
    """Set each lead set under one recipe against the 12 leads under another.

    Does a better recipe make up for missing leads? Paired: the same test records on both sides.
    One row per configuration: ``config, n_leads, auroc`` (under ``first``), ``reference`` (the 12
    leads under ``second``), ``difference`` with ``_low``, ``_high``, ``p`` and ``p_holm`` over the
    rows, ``first_recipe, second_recipe, n_records, n_patients, n_seeds``. Empty where the 12 leads
    were not trained under ``second``.
    """
    if (REFERENCE, second) not in evidence.scored:
        return pd.DataFrame()
    reference = evidence.get(REFERENCE, second).macro("auroc")

    def rows(scored: Scored) -> Rows:
        own = scored.macro("auroc")
        difference = combine(np.subtract, own, reference)
        row: Row = {"auroc": own.value, "reference": reference.value}
        row |= interval_columns("difference", difference) | {"p": difference.p()}
        yield row | {"first_recipe": first, "second_recipe": second}

    table = evidence.table(evidence.under(first), rows)
    return corrected(table.drop(columns="recipe", errors="ignore"))


def hypertrophy_table(
    evidence: Evidence, first: str = "default", second: str = "original"
) -> pd.DataFrame:
    """Ask whether hypertrophy is hard because of the leads or because of the recipe.

    Voltage is the criterion for hypertrophy, and z-scoring each lead of each record, as the
    ``original`` recipe does, removes it. All effects are differences between two recipes on the
    same records. They bound what the scaling does and do not isolate it where the recipes differ
    in more than the scaling; the ablation does that.

    ``effect_name, first, second`` (values under each recipe), ``difference`` (first minus second,
    paired) with ``low, high, p, p_holm``; ``first_recipe, second_recipe, n_reduced, n_records,
    n_patients``. The effects: AUROC of HYP with 12 leads, with I-II-V2, and as mean of the
    ``n_reduced`` configurations with fewer than 12 leads that both recipes trained; the gap between
    HYP and the next hardest class with fewer leads; the AUROC that HYP loses with fewer leads.
    Effects whose runs are missing are left out.
    """
    both = [one.config for one in _under_both(evidence, first, second) if len(one.leads) < 12]

    def of_config(config: str, recipe: str, name: str = "HYP") -> Estimate:
        return evidence.get(config, recipe).of_class("auroc", name)

    def reduced(recipe: str, name: str = "HYP") -> Estimate:
        return mean_of(of_config(config, recipe, name) for config in both)

    def gap(recipe: str) -> Estimate:
        others = [reduced(recipe, name) for name in CLASSES if name != "HYP"]
        return combine(lambda a, *b: np.min(b, axis=0) - a, reduced(recipe), *others)

    def loss(recipe: str) -> Estimate:
        return combine(np.subtract, of_config(REFERENCE, recipe), reduced(recipe))

    effects: dict[str, Callable[[str], Estimate]] = {
        "AUROC of HYP, 12 leads": lambda recipe: of_config(REFERENCE, recipe),
        "AUROC of HYP, I-II-V2": lambda recipe: of_config("3-lead-I-II-V2", recipe),
    }
    if both:
        effects["AUROC of HYP, mean of fewer leads"] = reduced
        effects["Gap from HYP to the next hardest class, fewer leads"] = gap
        effects["AUROC that HYP loses with fewer leads"] = loss
    rows = []
    for name, effect in effects.items():
        try:
            a, b = effect(first), effect(second)
        except LeadminError:  # a run is missing
            continue
        difference = combine(np.subtract, a, b)
        row = {"effect_name": name, "first": a.value, "second": b.value, **bounded(difference)}
        row |= {"p": difference.p(), "first_recipe": first, "second_recipe": second}
        row |= {"n_reduced": len(both), "n_records": evidence.n_records}
        rows.append(row | {"n_patients": evidence.n_patients})
    return corrected(pd.DataFrame(rows))


ONE_RECIPE = "These runs hold one recipe, so there is nothing to compare."


def recipe_reading(comparison: pd.DataFrame) -> str:
    """Count the configurations in which the first recipe is better, and clearly so."""
    if comparison.empty:
        return ONE_RECIPE
    names = {"auroc": "macro AUROC", "auroc_HYP": "AUROC of HYP"}  # the latter of superclasses
    parts = [
        f"{names[str(metric)]} in {(rows['difference'] > 0).sum()} of {len(rows)} configurations, "
        f"clear of zero in {(rows['difference_low'] > 0).sum()}"
        for metric, rows in comparison.groupby("metric")
        if metric in names
    ]
    first, second = comparison[["first_recipe", "second_recipe"]].iloc[0]
    return joined_sentence(f"`{first}` is above `{second}` in {'; in '.join(parts)}")


def across_reading(across: pd.DataFrame) -> str:
    """Name the lead sets that read better under one recipe than twelve leads under the other.

    A set is clearly better or worse where the Holm-corrected p value is below 0.05.
    """
    if across.empty:
        return "These runs hold no twelve leads under a second recipe to compare with."
    first, second = across[["first_recipe", "second_recipe"]].iloc[0]
    fewer = across[across["n_leads"] < 12]
    clear, gain = fewer["p_holm"] < 0.05, fewer["difference"] > 0
    sides = {"clearly above": fewer[clear & gain], "level": fewer[~clear]}
    sides |= {"clearly below": fewer[clear & ~gain]}
    parts = [f"{what}: {', '.join(rows['config'])}" for what, rows in sides.items() if len(rows)]
    return joined_sentence(
        f"Under `{first}` against twelve leads under `{second}` "
        f"({number(across['reference'].iloc[0])}), {'; '.join(parts) or 'no set'}"
    )


def hypertrophy_reading(hypertrophy: pd.DataFrame) -> str:
    """Say what the first recipe gains on hypertrophy, and what "fewer leads" stands for."""
    if hypertrophy.empty:
        return "These runs hold no configuration under two recipes to compare."
    row = bounds_named(hypertrophy).iloc[0].to_dict()
    p = p_of_row(row, "p_holm", hypertrophy.attrs.get(P_FLOOR, 0), "p")
    text = (
        f"{row['effect_name']}: {number(row['first'])} under `{row['first_recipe']}` and "
        f"{number(row['second'])} under `{row['second_recipe']}`, a difference of "
        f"{value_with_interval(row, 'difference')} (Holm-corrected {p})"
    )
    if row["n_reduced"]:
        text += f'; "fewer leads" is the mean over {smaller_sets(row["n_reduced"])}'
    return joined_sentence(text)


def _side_by_side(table: pd.DataFrame, columns: Mapping[str, str]) -> Styler:
    """Show a comparison; ``{first}`` and ``{second}`` in a heading stand for the recipes."""
    first, second = table[["first_recipe", "second_recipe"]].iloc[0]
    headings = {name: text.format(first=first, second=second) for name, text in columns.items()}
    return reading_table(bounds_named(table), headings | {"p_holm": "p (Holm)"})


def _macro_auroc(comparison: pd.DataFrame) -> Styler:
    rows = comparison[comparison["metric"] == "auroc"]
    return _side_by_side(rows, {"config": "configuration", **_BOTH})


_BOTH = {"first": "{first}", "second": "{second}", "difference": "difference"}


def plot_recipe_comparison(comparison: pd.DataFrame, metrics: Sequence[str] = ()) -> Figure:
    """Draw what one recipe gains over another under each configuration, a panel a metric.

    By default macro AUROC, that of hypertrophy where it is a class, and the Brier score. For
    ``brier`` and ``ece`` less is better, so their axis runs the other way: the better side is
    always on the right. Filled where the interval is clear of zero. ``comparison`` holds
    ``config``, ``metric`` and ``difference`` with its bounds; where it names both recipes, so does
    the axis.
    """
    metrics = metrics or ["auroc", *({"auroc_HYP"} & set(comparison["metric"])), "brier"]
    configs = comparison["config"].unique()
    figure, panels = style.row_figure(configs, len(metrics), head=1.2)
    for axis, metric in zip(panels, metrics, strict=True):
        mine = comparison[comparison["metric"] == metric].set_index("config").reindex(configs)
        clear = (mine["difference_low"] > 0) | (mine["difference_high"] < 0)
        axis.axvline(0, **style.ZERO)
        style.forest(axis, mine, "difference", filled=clear)
        if metric.split("_")[0] in ("brier", "ece"):
            axis.invert_xaxis()
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.set_title(style.metric_name(metric))
    recipes = comparison.filter(["first_recipe", "second_recipe"]).iloc[0]
    label = " minus ".join(recipes) or "difference"
    figure.supxlabel(f"{label} (95% interval); better to the right, filled: interval clear of 0",
                     fontsize=9)  # fmt: skip
    return figure


RECIPES = Question(
    name="recipes",
    title="Does the recipe matter more than the leads?",
    tables={"recipe_comparison": first_two_recipes(recipe_comparison)},
    reading=lambda tables: recipe_reading(tables["recipe_comparison"]),
    figures={"recipes": of("recipe_comparison", plot_recipe_comparison)},
    report=of("recipe_comparison", _macro_auroc),
    note="Macro AUROC under both recipes.",
)

ACROSS = {
    "config": "configuration",
    "auroc": "macro AUROC, {first}",
    "difference": "minus 12 leads, {second}",
}

ACROSS_RECIPES = Question(
    name="across",
    title="How many leads is the better recipe worth?",
    tables={"across_recipes": first_two_recipes(across_recipes)},
    reading=lambda tables: across_reading(tables["across_recipes"]),
    shown={
        "Each set against twelve leads under the other recipe": of(
            "across_recipes", _side_by_side, ACROSS
        )
    },
)

HYPERTROPHY = Question(
    name="hypertrophy",
    title="Is hypertrophy hard because of the leads, or because of the recipe?",
    tables={"hypertrophy": about_superclasses(first_two_recipes(hypertrophy_table))},
    reading=read_of_superclasses(lambda tables: hypertrophy_reading(tables["hypertrophy"])),
    shown={
        "Hypertrophy under both recipes": of(
            "hypertrophy", _side_by_side, {"effect_name": "", **_BOTH}
        )
    },
)
