"""Tables and numbers as a page of the book shows them."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence.calibration import before_and_after
from leadmin.evidence.comparisons import lrs_ranks
from leadmin.evidence.scores import VERDICTS, p_value, shown, signed


def value_with_interval(row: Mapping[Any, Any], name: str, digits: int = 3) -> str:
    """Write a value with its 95% interval, as in ``0.912 [0.880, 0.941]``.

    Parameters
    ----------
    row : mapping
        Holds ``name`` and, where there is an interval, ``<name>_low`` and ``<name>_high``.
    name : str
        The column.
    digits : int
        Decimals.

    Returns
    -------
    str
        A dash where the value is not defined; differences carry their sign.
    """
    value = row[name]
    if value is None or not np.isfinite(value):
        return "–"
    sign = "+" if name.startswith(("difference", "interaction")) else ""
    text = f"{value:{sign}.{digits}f}"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is not None and low == high == value:  # relative to itself: nothing was estimated
        return "–" if name.startswith("difference") else text
    if low is None or high is None or not np.isfinite([low, high]).all():
        return text.replace("-", "−")
    return f"{text} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]".replace("-", "−")


def reading_table(table: pd.DataFrame, columns: Mapping[str, str], digits: int = 3) -> Styler:
    """Turn a tidy table into one that people read.

    Parameters
    ----------
    table : DataFrame
        One row per line. Numbers with ``_low`` and ``_high`` columns beside them are written with
        their interval.
    columns : mapping of str to str
        Column of ``table`` to its heading, in order.
    digits : int
        Decimals of numbers that are not whole.

    Returns
    -------
    Styler
        Without an index column.

    Raises
    ------
    LeadminError
        If ``table`` lacks a column.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        raise LeadminError(
            f"the table has no column {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    rows = table.to_dict("records")
    cells = {}
    for name, heading in columns.items():
        kind = table[name].dtype.kind
        if kind == "f" and re.search(r"(^|_)p(_holm|_bh)?$", name):
            cells[heading] = [p_value(row[name]) for row in rows]
        elif kind == "f":
            cells[heading] = [value_with_interval(row, name, digits) for row in rows]
        elif kind == "i":
            cells[heading] = [f"{row[name]:,}" for row in rows]
        elif kind == "b":
            cells[heading] = ["yes" if row[name] else "no" for row in rows]
        else:
            cells[heading] = [str(row[name]) for row in rows]
    return _styled(pd.DataFrame(cells), "reading")


def _styled(table: pd.DataFrame, kind: str) -> Styler:
    """Hide the index and name the class that the book's style sheet knows."""
    style = table.style.hide(axis="index").format(escape="html")
    return style.set_table_attributes(f'class="dataframe {kind}"')


def rendered(markdown: str) -> HTML:
    """Turn Markdown into HTML, which can be glued on any page; Markdown only on its own."""
    return HTML(MarkdownIt().render(markdown))


def answer_sentence(main: pd.DataFrame, margin: float = 0.01, reference: str = "12-lead") -> str:
    """Answer the title's question from the main table, in words.

    The rule was fixed before any run was seen: the answer is the configuration with the fewest
    leads whose whole paired 95% interval of the difference in macro AUROC lies above the
    negative margin; among equals the one with the higher AUROC.

    Parameters
    ----------
    main : DataFrame
        `leadmin.evidence.scores.main_table` of one recipe.
    margin : float
        Non-inferiority margin in macro AUROC.
    reference : str
        The configuration that the others are compared with.

    Returns
    -------
    str
        One or two sentences of Markdown.
    """
    reduced = main[main["config"] != reference]
    if reduced.empty or reference not in set(main["config"]):
        return "These runs hold no comparison with twelve leads, so they answer nothing."
    ranked = reduced.sort_values(["n_leads", "auroc"], ascending=[True, False])
    proven = ranked[ranked["difference_low"] > -margin]
    if len(proven):
        best = proven.iloc[0].to_dict()
        return (
            f"**{_leads(best)}**: {best['leads']} read the five superclasses within "
            f"{margin} of the twelve leads' macro AUROC (difference "
            f"{value_with_interval(best, 'difference')}), and no smaller set of the study could be "
            "shown to."
        )
    worse = int((reduced["difference_high"] < -margin).sum())
    best = reduced.sort_values("auroc", ascending=False).iloc[0].to_dict()
    if worse == len(reduced):
        sets = f"{worse} sets" if worse > 1 else "set"
        return (
            f"**More than these.** Each of the {sets} with fewer than twelve leads is shown to "
            f"lose more than {margin} of their macro AUROC. The closest is {best['leads']}, at a "
            f"difference of {value_with_interval(best, 'difference')}."
        )
    return (
        "**These records cannot decide it.** No set with fewer than twelve leads could be shown to "
        f"stay within {margin} of their macro AUROC; {worse} of {len(reduced)} are shown to be "
        f"worse than that. The closest is {best['leads']}, at a difference of "
        f"{value_with_interval(best, 'difference')}."
    )


def _leads(row: Mapping[Any, Any]) -> str:
    n = row["n_leads"]
    return "One lead" if n == 1 else f"{n} leads"


def findings_table(findings: pd.DataFrame) -> Styler:
    """Show the original study's key findings with what these runs say of them.

    Parameters
    ----------
    findings : DataFrame
        `leadmin.evidence.scores.key_findings`.
    """
    rows = findings.to_dict("records")

    def effect(row: Mapping[Any, Any]) -> str:
        if not np.isfinite(row["effect"]):
            return "this study lacks a run that the question needs"
        value, low, high = (shown(row[key], row["shown_as"]) for key in ("effect", "low", "high"))
        return f"{row['effect_name']}: {value} [{low}, {high}]"

    table = {
        "": [row["part"] for row in rows],
        "question": [row["question"] for row in rows],
        "verdict": [row["verdict"] for row in rows],
        "here": [effect(row) for row in rows],
        "the claim needs": [row["threshold"] for row in rows],
        "p (Holm)": [p_value(row["p_holm"]) for row in rows],
        "the original": [row["original"] for row in rows],
    }
    return _styled(pd.DataFrame(table), "findings")


def margin_table(non_inferiority: pd.DataFrame) -> Styler:
    """Show the verdict on each configuration at each margin, with the bound that it stands on.

    Parameters
    ----------
    non_inferiority : DataFrame
        `leadmin.evidence.comparisons.non_inferiority_table` of one recipe.
    """
    primary = non_inferiority[non_inferiority["primary"]]
    table = pd.DataFrame({"configuration": primary["config"].to_list()})
    table["lower bound"] = [signed(low) for low in primary["low"]]
    for margin, rows in non_inferiority.groupby("margin"):
        name = f"at {margin:g}, p (Holm)" + (", primary" if rows["primary"].all() else "")
        ordered = rows.set_index("config").loc[primary["config"]].to_dict("records")
        table[name] = [f"{row['verdict']}, {p_value(row['p_holm'])}" for row in ordered]
    return _styled(table, "reading")


def recalibration_table(calibration: pd.DataFrame, by: str = "config") -> Styler:
    """Show every measure of calibration before and after recalibration.

    Parameters
    ----------
    calibration : DataFrame
        `calibration_table`: rows of one recipe, and of either one class or one
        configuration.
    by : {"config", "class"}
        What tells the rows apart.
    """
    headings = {
        "brier": "Brier score",
        "miscalibration": "miscalibration",
        "discrimination": "discrimination",
        "uncertainty": "uncertainty",
        "slope": "slope",
        "offset": "intercept",
        "ece": "ECE",
        "smooth_ece": "smooth ECE",
    }
    before, after = before_and_after(calibration, by)
    table = pd.DataFrame({"configuration" if by == "config" else by: before.index})
    for name, heading in headings.items():
        digits = 2 if name in ("slope", "offset") else 3
        cells = [
            [value_with_interval(row, name, digits) for row in side.to_dict("records")]
            for side in (before, after)
        ]
        table[heading] = [a if a == b else f"{a} → {b}" for a, b in zip(*cells, strict=True)]
    return _styled(table, "reading")


# --- what a figure shows, in one line that is made of its numbers ---------------------------------


def answer_reading(main: pd.DataFrame, reference: str = "12-lead") -> str:
    """Say what the figure of the answer shows: all leads, the best and the worst smaller set.

    Parameters
    ----------
    main : DataFrame
        `leadmin.evidence.scores.main_table` of one recipe.
    reference : str
        The configuration with all leads.
    """
    full, reduced = main[main["config"] == reference], main[main["config"] != reference]
    parts = []
    if len(full):
        parts.append(f"all twelve leads reach {_macro(full.iloc[0])}")
    if len(reduced):
        ordered = reduced.sort_values("auroc", ascending=False, kind="stable")
        best, worst = ordered.iloc[0], ordered.iloc[-1]
        parts.append(f"the best smaller set, `{best['config']}`, {_macro(best)}")
        if len(reduced) > 1:
            parts.append(f"the weakest, `{worst['config']}`, {_macro(worst)}")
    return _sentence("; ".join(parts))


def findings_reading(findings: pd.DataFrame) -> str:
    """Count the verdicts on the original study's findings, each with all of its parts.

    Parameters
    ----------
    findings : DataFrame
        `leadmin.evidence.scores.key_findings` of one recipe.
    """
    verdicts = findings.drop_duplicates("finding")["finding_verdict"].value_counts()
    counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if name in verdicts)
    return f"Recipe `{findings['recipe'].iloc[0]}`: of {verdicts.sum()} findings {counts}."


def margin_reading(non_inferiority: pd.DataFrame) -> str:
    """Count the verdicts at the primary margin, and say what the undecided could have shown.

    Parameters
    ----------
    non_inferiority : DataFrame
        `leadmin.evidence.comparisons.non_inferiority_table` of one recipe.
    """
    if non_inferiority.empty:
        return "There is no smaller set to compare with twelve leads."
    rows = non_inferiority[non_inferiority["primary"]]
    counts = rows["verdict"].value_counts()
    text = (
        f"At the margin of {rows['margin'].iloc[0]:g}, of {len(rows)} sets "
        f"{counts.get('non-inferior', 0)} are shown to be non-inferior to twelve leads, "
        f"{counts.get('inferior', 0)} to be worse, and {counts.get('undecided', 0)} stay undecided"
    )
    open_ones = rows.loc[rows["verdict"] == "undecided", "smallest_resolvable"]
    if len(open_ones):
        text += f"; for these the smallest resolvable difference is {_span(open_ones)}"
    return _sentence(text)


def pairs_reading(pairwise: pd.DataFrame, level: float = 0.05) -> str:
    """Count the pairs that differ, and say what the others could have shown.

    Parameters
    ----------
    pairwise : DataFrame
        `leadmin.evidence.scores.pairwise_matrix` of one recipe.
    level : float
        Share of false discoveries that is accepted.
    """
    if pairwise.empty:
        return "There is no pair to compare."
    clear = pairwise["p_bh"] < level
    text = f"{clear.sum()} of {len(pairwise)} pairs differ at a false discovery rate of {level:.0%}"
    if not clear.all():
        text += (
            "; in the others the smallest resolvable difference is "
            f"{_span(pairwise.loc[~clear, 'smallest_resolvable'])}"
        )
    return _sentence(text)


def rank_reading(ranks: pd.DataFrame) -> str:
    """Say which smaller set is most often the best, and how wide its rank is.

    Parameters
    ----------
    ranks : DataFrame
        `leadmin.evidence.comparisons.rank_table` of one recipe.
    """
    reduced = ranks[ranks["share_best_reduced"].notna()].sort_values(
        "share_best_reduced", ascending=False
    )
    if reduced.empty:
        return "There is no smaller set to rank."
    first = reduced.iloc[0]
    text = (
        f"Among the smaller sets `{first['config']}` is the best in "
        f"{first['share_best_reduced']:.0%} of the resamples"
    )
    if len(reduced) > 1:
        text += f", `{reduced.iloc[1]['config']}` in {reduced.iloc[1]['share_best_reduced']:.0%}"
    certain = int((ranks["rank_low"] == ranks["rank_high"]).sum())
    return _sentence(f"{text}; {certain} of {len(ranks)} ranks are certain at 95%")


def class_reading(per_class: pd.DataFrame, reference: str = "12-lead") -> str:
    """Say which class loses most and least with fewer leads, on the mean over the smaller sets.

    Parameters
    ----------
    per_class : DataFrame
        `leadmin.evidence.scores.per_class_table` of one recipe.
    reference : str
        The configuration with all leads.
    """
    reduced = per_class[per_class["config"] != reference]
    if reduced.empty or reference not in set(per_class["config"]):
        return "There is no smaller set to compare with twelve leads."
    mean = reduced.groupby("class")["difference"].mean()
    lowest = per_class.sort_values("auroc", kind="stable").iloc[0]
    return _sentence(
        f"On the mean over the smaller sets {mean.idxmin()} changes most for the worse "
        f"({signed(mean.min())}) and {mean.idxmax()} least ({signed(mean.max())}); the lowest "
        f"AUROC of all is {lowest['class']} under `{lowest['config']}`, "
        f"{value_with_interval(lowest.to_dict(), 'auroc')}"
    )


def recalibration_reading(calibration: pd.DataFrame) -> str:
    """Say what recalibration did to twelve leads, and for how many configurations it helped.

    Parameters
    ----------
    calibration : DataFrame
        `leadmin.evidence.calibration.calibration_table` of one recipe.
    """
    before, after = before_and_after(calibration[calibration["class"] == "macro"])
    config = before.index[0]
    lower = int((after["smooth_ece"] < before["smooth_ece"]).sum())
    brier = int((after["brier"] < before["brier"]).sum())
    return _sentence(
        f"Recalibration moves the mean slope of `{config}` from {before['slope'].iloc[0]:.2f} to "
        f"{after['slope'].iloc[0]:.2f} and its smooth calibration error from "
        f"{before['smooth_ece'].iloc[0]:.3f} to {after['smooth_ece'].iloc[0]:.3f}; of "
        f"{len(before)} configurations it lowers that error in {lower} and the Brier score in "
        f"{brier}"
    )


def decision_reading(curves: pd.DataFrame, config: str = "3-lead-I-II-V2") -> str:
    """Say at which thresholds acting on a configuration is shown to gain anything.

    Parameters
    ----------
    curves : DataFrame
        `leadmin.evidence.calibration.decision_curves` of one recipe.
    config : str
        The first configuration of the table where this one is missing.
    """
    if config not in set(curves["config"]):
        config = curves["config"].iloc[0]
    parts = []
    for name, rows in curves[curves["config"] == config].groupby("class", sort=False):
        gains = rows.set_index("threshold")["gain_low"] > 0
        found = gains[gains].index
        where = f"{found.min():.0%} to {found.max():.0%}" if len(found) else "nowhere"
        whole = gains.loc[found.min() : found.max()].all() if len(found) else True
        parts.append(f"{name} {where}" if whole else f"{name} parts of {where}")
    return _sentence(
        f"Thresholds at which acting on `{config}` is shown to be worth more than calling every "
        f"record or none: {', '.join(parts)}"
    )


def recipe_reading(comparison: pd.DataFrame) -> str:
    """Count the configurations in which the first recipe is better, and clearly so.

    Parameters
    ----------
    comparison : DataFrame
        `leadmin.evidence.scores.recipe_comparison`.
    """
    parts = []
    for metric, name in (("auroc", "macro AUROC"), ("auroc_HYP", "AUROC of HYP")):
        rows = comparison[comparison["metric"] == metric]
        parts.append(
            f"{name} in {(rows['difference'] > 0).sum()} of {len(rows)} configurations, clear of "
            f"zero in {(rows['difference_low'] > 0).sum()}"
        )
    first, second = comparison[["first_recipe", "second_recipe"]].iloc[0]
    return _sentence(f"`{first}` is above `{second}` in {'; in '.join(parts)}")


def across_reading(across: pd.DataFrame) -> str:
    """Name the lead sets that read better under one recipe than twelve leads under the other.

    A set is clearly better or worse where the Holm-corrected p value is below 0.05.

    Parameters
    ----------
    across : DataFrame
        `leadmin.evidence.comparisons.across_recipes`, with a row at least.
    """
    first, second = across[["first_recipe", "second_recipe"]].iloc[0]
    fewer = across[across["n_leads"] < 12]
    clear, gain = fewer["p_holm"] < 0.05, fewer["difference"] > 0
    above, below, level = fewer[clear & gain], fewer[clear & ~gain], fewer[~clear]
    parts = [
        f"{what}: {', '.join(rows['config'])}"
        for what, rows in (("clearly above", above), ("level", level), ("clearly below", below))
        if len(rows)
    ]
    text = f"Under `{first}` against twelve leads under `{second}` "
    return _sentence(f"{text}({across['reference'].iloc[0]:.3f}), {'; '.join(parts) or 'no set'}")


def ablation_reading(table: pd.DataFrame, reference: str) -> str:
    """Say which variants are clearly worse or better than the reference, from intervals alone.

    Parameters
    ----------
    table : DataFrame
        `leadmin.study.ablation.ablation_table`.
    reference : str
        What its differences are to.

    Returns
    -------
    str
        Markdown, a paragraph for macro AUROC and one for the AUROC of hypertrophy.
    """
    compared = table[table["auroc_difference"].notna()]
    sentences = []
    for measure, what in (("auroc", "macro AUROC"), ("auroc_HYP", "the AUROC of hypertrophy")):
        column = f"{measure}_difference"
        lower, higher = compared[f"{column}_high"] < 0, compared[f"{column}_low"] > 0
        parts = [
            f"{verdict}: "
            + ", ".join(
                f"{row['description']} ({row[column]:+.3f})" for row in rows.to_dict("records")
            )
            for verdict, rows in (
                ("clearly lower", compared[lower]),
                ("clearly higher", compared[higher]),
                ("not to be told apart from it", compared[~lower & ~higher]),
            )
            if len(rows)
        ]
        sentences.append(f"**In {what}**, against `{reference}`: " + "; ".join(parts) + ".")
    return "\n\n".join(sentences)


def hypertrophy_reading(hypertrophy: pd.DataFrame) -> str:
    """Say what the first recipe gains on hypertrophy, and what "fewer leads" stands for.

    Parameters
    ----------
    hypertrophy : DataFrame
        `leadmin.evidence.comparisons.hypertrophy_table`, with a row at least.
    """
    row = hypertrophy.iloc[0].to_dict()
    row |= {"difference_low": row["low"], "difference_high": row["high"]}
    text = (
        f"{row['effect_name']}: {row['first']:.3f} under `{row['first_recipe']}` and "
        f"{row['second']:.3f} under `{row['second_recipe']}`, a difference of "
        f"{value_with_interval(row, 'difference')} (Holm-corrected p {p_value(row['p_holm'])})"
    )
    if row["n_reduced"]:
        fewer = "one smaller set" if row["n_reduced"] == 1 else f"{row['n_reduced']} smaller sets"
        text += f'; "fewer leads" is the mean over {fewer}'
    return _sentence(text)


def lrs_reading(main: pd.DataFrame, reference: str = "12-lead") -> str:
    """Set the LRS of the weakest set against what it keeps above chance, and against a coin flip.

    Parameters
    ----------
    main : DataFrame
        `leadmin.evidence.scores.main_table` of one recipe.
    reference : str
        The configuration with all leads.
    """
    reduced = main[main["config"] != reference]
    if reduced.empty or not np.isfinite(main["lrs"]).any():
        return "There is no smaller set to compare with twelve leads."
    worst = reduced.sort_values("lrs", kind="stable").iloc[0].to_dict()
    full = float(main.loc[main["config"] == reference, "auroc"].iloc[0])
    return _sentence(
        f"The lowest LRS, that of `{worst['config']}`, is still {value_with_interval(worst, 'lrs')}"
        f", though it keeps {value_with_interval(worst, 'retention_above_chance')} of what lies "
        f"above chance; a coin flip with an unchanged Brier score would get "
        f"{metrics.lrs(0.5, 0.1, full, 0.1):.2f}"
    )


def lrs_weights_reading(weights: pd.DataFrame) -> str:
    """Say whether the best smaller set hangs on the weights of the LRS, and how many pairs do.

    Parameters
    ----------
    weights : DataFrame
        `leadmin.evidence.comparisons.lrs_weights` of one recipe.
    """
    if weights.empty:
        return "There is no smaller set to rank."
    configs = list(dict.fromkeys(weights["config"]))
    share, ranks = lrs_ranks(weights)
    original = float(weights.loc[weights["original"], "weight_ratio"].iloc[0])
    first = int(ranks[np.argmin(np.abs(share - original))].argmin())
    leads = share[ranks[:, first] == 1]
    signs = np.sign(ranks[:, :, None] - ranks[:, None, :])[:, *np.triu_indices(len(configs), 1)]
    turned = int((np.ptp(signs, axis=0) > 0).sum())
    where = (
        "at every weight"
        if len(leads) == len(share)
        else f"for weights of the AUROC ratio from {leads.min():.2f} to {leads.max():.2f}"
    )
    return _sentence(
        f"`{configs[first]}` is first {where}; {turned} of {signs.shape[1]} pairs of sets change "
        "their order somewhere between all weight on one term and all on the other"
    )


def subgroup_reading(subgroups: pd.DataFrame, config: str = "3-lead-I-II-V2") -> str:
    """Say in how many subgroups anything can be said, and whether the loss differs between them.

    Parameters
    ----------
    subgroups : DataFrame
        `leadmin.evidence.comparisons.subgroup_table` of one recipe.
    config : str
        The configuration that is compared with twelve leads.
    """
    rows = subgroups[(subgroups["config"] == config) & (subgroups["grouping"] != "all")]
    enough = rows[rows["enough"] & rows["difference"].notna()]
    text = f"{len(enough)} of {len(rows)} subgroups hold enough records of every class for a value"
    if len(enough):
        ends = list(dict.fromkeys(signed(end) for end in enough["difference"].agg(["min", "max"])))
        text += f"; there `{config}` differs from twelve leads by {' to '.join(ends)}"
        tested = int(enough["interaction_p_holm"].notna().sum())
        clear = int((enough["interaction_p_holm"] < 0.05).sum())
        text += (
            f", in {clear} of {tested} tests by more or less than in the other records (Holm)"
            if tested
            else ", and no group can be tested against the other records"
        )
    return _sentence(text)


def seed_reading(main: pd.DataFrame) -> str:
    """Compare the spread over seeds with the width of the interval over patients.

    Parameters
    ----------
    main : DataFrame
        `leadmin.evidence.scores.main_table` of one recipe.
    """
    spread = main["auroc_seed_sd"].dropna()
    half = float(((main["auroc_high"] - main["auroc_low"]) / 2).median())
    if spread.empty:
        return _sentence(
            "Each network was trained once, so the spread over seeds is not known; the median half "
            f"width of the interval over patients is {half:.4f}"
        )
    return _sentence(
        f"The median SD over seeds is {spread.median():.4f} and the largest {spread.max():.4f}; "
        f"the median half width of the interval over patients is {half:.4f}"
    )


def delong_reading(delong: pd.DataFrame, per_class: pd.DataFrame) -> str:
    """Say how far DeLong's intervals lie from those of the bootstrap.

    Parameters
    ----------
    delong : DataFrame
        `leadmin.evidence.comparisons.delong_table` of one recipe.
    per_class : DataFrame
        `leadmin.evidence.scores.per_class_table` of the same recipe.
    """
    both = delong.merge(per_class, on=["config", "class"], suffixes=("", "_bootstrap"))
    ends = [f"{name}_{end}" for name in ("auroc", "difference") for end in ("low", "high")]
    apart = pd.concat([(both[end] - both[f"{end}_bootstrap"]).abs() for end in ends]).dropna()
    return _sentence(
        f"The ends of the {len(apart) // 2} intervals of both methods differ by "
        f"{apart.median():.4f} in the median and {apart.max():.4f} at most"
    )


def fold_reading(folds: pd.DataFrame) -> str:
    """Say what is left of the differences when the folds' shared training records are allowed for.

    Parameters
    ----------
    folds : DataFrame
        `leadmin.evidence.comparisons.fold_table` of one recipe.
    """
    worse, better = int((folds["high"] < 0).sum()), int((folds["low"] > 0).sum())
    return _sentence(
        f"Over {folds['n_folds'].iloc[0]} folds, with the correction for shared training records, "
        f"{worse} of {len(folds)} sets are below twelve leads, {better} above, and "
        f"{len(folds) - worse - better} cannot be told apart from them"
    )


def _macro(row: pd.Series) -> str:
    return value_with_interval(row.to_dict(), "auroc")


def _span(values: pd.Series) -> str:
    low, high = f"{values.min():.3f}", f"{values.max():.3f}"
    return low if low == high else f"{low} to {high}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def print_epoch(row: Mapping[str, Any]) -> None:
    """Print one aligned row of a training history, with a heading before each fit.

    Parameters
    ----------
    row : mapping
        What `leadmin.study.runs.train_run` hands to ``on_epoch``.
    """
    if row["epoch"] == 1:
        print(f"{row['recipe']}, seed {row['seed']}, test fold {row['fold']}")
        print("epoch  train loss  validation loss  validation AUROC  seconds")
    print(
        f"{row['epoch']:5d}  {row['train_loss']:10.4f}  {row['validation_loss']:15.4f}"
        f"  {row['validation_auroc']:16.4f}  {row['seconds']:7.2f}"
    )
