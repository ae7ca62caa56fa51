"""Which diagnoses are lost?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import (
    REFERENCE,
    Evidence,
    Runs,
    combine,
    configs_under,
    count_columns,
    gathered,
    interval_columns,
)
from leadmin.labels import CLASSES
from leadmin.show.style import (
    GAIN_MAP,
    INK,
    LOSS_MAP,
    blank_figure,
    heatmap,
    require_columns,
    require_one_recipe,
)
from leadmin.show.words import (
    joined_sentence,
    latex_escape,
    latex_interval,
    latex_number,
    latex_recipe_heading,
    latex_table,
    signed,
    value_with_interval,
)


def per_class_table(
    runs: "Runs | Evidence", recipe: str = "default", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row per configuration and class.

    Returns
    -------
    DataFrame
        Columns ``recipe, config, n_leads, class, n_positive``; for each metric of `main_table`
        that a class has, the value with ``_low`` and ``_high``; ``auroc_seed_sd``; ``difference``
        to the 12 leads in AUROC with ``_low``, ``_high``, ``difference_p``; ``n_records,
        n_patients, n_seeds``.
    """
    evidence = gathered(runs, n_resamples, seed)
    rows = []
    for config in evidence.configs:
        if (config, recipe) not in evidence.scored:
            continue
        scored = evidence.get(config, recipe)
        for c, name in enumerate(CLASSES):
            row: dict[str, Any] = {
                "recipe": recipe,
                "config": config,
                "n_leads": len(scored.leads),
                "class": name,
                "n_positive": int(evidence.labels[:, c].sum()),
            }
            for metric in scored.per_seed:
                row |= interval_columns(metric, scored.of_class(metric, name))
            seeds = scored.per_seed["auroc"][:, c]
            row["auroc_seed_sd"] = float(seeds.std(ddof=1)) if len(seeds) > 1 else float("nan")
            if (REFERENCE, recipe) in evidence.scored:
                reference = evidence.get(REFERENCE, recipe).of_class("auroc", name)
                difference = combine(np.subtract, scored.of_class("auroc", name), reference)
                row |= interval_columns("difference", difference)
                row["difference_p"] = difference.p() if config != REFERENCE else float("nan")
            rows.append(
                row
                | {
                    "n_records": evidence.n_records,
                    "n_patients": evidence.n_patients,
                    "n_seeds": scored.n_seeds,
                }
            )
    return pd.DataFrame(rows)


def delong_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """AUROC per class and its difference to the 12 leads without resampling, a second opinion.

    DeLong's method, with the records of a patient taken together (see `resampling.delong`). A
    configuration's AUROC is the mean over its seeds, as everywhere.

    Returns
    -------
    DataFrame
        One row per configuration and class: ``recipe, config, n_leads, class, n_positive, auroc,
        auroc_low, auroc_high, difference, difference_low, difference_high, p, p_bh``
        (Benjamini-Hochberg over all rows); NaN where the class has one label value or the study no
        12-lead run; ``n_records, n_patients, n_seeds``.
    """
    rows = []
    for config in configs_under(evidence, recipe):
        scored = evidence.get(config, recipe)
        with_reference = config != REFERENCE and (REFERENCE, recipe) in evidence.scored
        sides = [config, REFERENCE] if with_reference else [config]
        stacks = [np.asarray(evidence.runs[side].test.logits[recipe]) for side in sides]
        own = np.concatenate([np.full(len(s), 1 - i) / len(s) for i, s in enumerate(stacks)])
        against = np.concatenate(
            [np.full(len(s), 1 - 2 * i) / len(s) for i, s in enumerate(stacks)]
        )
        for c, name in enumerate(CLASSES):
            y = evidence.labels[:, c]
            row: dict[str, Any] = {
                "recipe": recipe,
                "config": config,
                "n_leads": len(scored.leads),
                "class": name,
                "n_positive": int(y.sum()),
            }
            row |= dict.fromkeys(_DELONG_COLUMNS, float("nan"))
            if 0 < y.sum() < len(y):
                scores = np.concatenate([stack[:, :, c] for stack in stacks])
                found = resampling.delong(y, scores, evidence.patient_id)
                alone = found.contrast(own)
                row |= {
                    "auroc": alone["estimate"],
                    "auroc_low": alone["low"],
                    "auroc_high": alone["high"],
                }
                if with_reference:
                    difference = found.contrast(against)
                    row |= {
                        "difference": difference["estimate"],
                        "difference_low": difference["low"],
                        "difference_high": difference["high"],
                        "p": difference["p"],
                    }
            rows.append(row | count_columns(evidence, scored))
    table = pd.DataFrame(rows)
    table.insert(table.columns.tolist().index("p") + 1, "p_bh", benjamini_hochberg(table["p"]))
    return table


_DELONG_COLUMNS = (
    "auroc",
    "auroc_low",
    "auroc_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for the false discovery rate; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    defined = ~np.isnan(p)
    if defined.any():
        adjusted[defined] = false_discovery_control(p[defined], method="bh")
    return adjusted


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
    return joined_sentence(
        f"On the mean over the smaller sets {mean.idxmin()} changes most for the worse "
        f"({signed(mean.min())}) and {mean.idxmax()} least ({signed(mean.max())}); the lowest "
        f"AUROC of all is {lowest['class']} under `{lowest['config']}`, "
        f"{value_with_interval(lowest.to_dict(), 'auroc')}"
    )


def delong_reading(delong: pd.DataFrame, per_class: pd.DataFrame) -> str:
    """Say how far DeLong's intervals lie from those of the bootstrap.

    Parameters
    ----------
    delong : DataFrame
        `leadmin.questions.classes.delong_table` of one recipe.
    per_class : DataFrame
        `leadmin.evidence.scores.per_class_table` of the same recipe.
    """
    both = delong.merge(per_class, on=["config", "class"], suffixes=("", "_bootstrap"))
    ends = [f"{name}_{end}" for name in ("auroc", "difference") for end in ("low", "high")]
    apart = pd.concat([(both[end] - both[f"{end}_bootstrap"]).abs() for end in ends]).dropna()
    return joined_sentence(
        f"The ends of the {len(apart) // 2} intervals of both methods differ by "
        f"{apart.median():.4f} in the median and {apart.max():.4f} at most"
    )


def per_class_latex(evidence: Evidence, study: StudyDescription, per_class: pd.DataFrame) -> str:
    """Typeset AUROC per class; the document needs booktabs and siunitx."""
    several = len(evidence.recipes) > 1
    lines: list[str] = []
    for recipe in evidence.recipes:
        block = per_class[per_class["recipe"] == recipe]
        if several:
            lines += [
                *([r"\midrule"] if lines else []),
                latex_recipe_heading(recipe, 1 + len(CLASSES)),
            ]
        for config, rows in block.groupby("config", sort=False):
            cells = [latex_escape(str(config))]
            by_class = rows.set_index("class")
            for name in CLASSES:
                row: Any = by_class.loc[name]
                interval = latex_interval(row["auroc_low"], row["auroc_high"])
                cells.append(f"{latex_number(row['auroc'])} ({interval})")
            lines.append(" & ".join(cells) + r" \\")
    positives = per_class.drop_duplicates("class").set_index("class")["n_positive"]
    heading = [
        " & ".join(["Configuration", *(f"{name} ($n = {positives[name]}$)" for name in CLASSES)])
        + r" \\"
    ]
    caption = (
        "AUROC of each superclass with 95\\% interval; $n$: positive test records. "
        + latex_escape(basis(evidence, study))
    )
    return latex_table("l *{5}{c}", heading, lines, caption, "tab:perclass")


def plot_class_heatmap(
    per_class: pd.DataFrame, reference: str = "12-lead", macro: pd.DataFrame | None = None
) -> Figure:
    """Draw the AUROC of each class under each configuration, and what is lost to all leads.

    Parameters
    ----------
    per_class : DataFrame
        One recipe. Columns ``config``, ``class`` (or ``class_name``), ``auroc``: one row a
        configuration and class, as :func:`leadmin.evidence.scores.per_class_table` gives.
    reference : str, default "12-lead"
        The configuration that losses are taken from.
    macro : DataFrame, optional
        Columns ``config``, ``auroc``: adds a column for the mean over classes.

    Returns
    -------
    Figure
        Left, AUROC; right, AUROC minus that of the reference.

    Raises
    ------
    LeadminError
        If a column or the reference is missing, or the table holds several recipes.
    """
    what = "plot_class_heatmap"
    per_class = per_class.rename(columns={"class_name": "class"})
    require_columns(per_class, ("config", "class", "auroc"), what)
    require_one_recipe(per_class, what)
    configs = list(dict.fromkeys(per_class["config"]))
    if reference not in configs:
        raise LeadminError(f"{what}: no row of the reference {reference!r} is in the table.")
    values = per_class.pivot(index="config", columns="class", values="auroc")
    values = values.loc[configs, [name for name in CLASSES if name in values.columns]]
    if macro is not None:
        require_columns(macro, ("config", "auroc"), what)
        require_one_recipe(macro, what)
        values["macro"] = macro.set_index("config")["auroc"].reindex(configs)
    losses = values - values.loc[reference]
    figure = blank_figure(0.30 * len(configs) + 1.0)
    left, right = figure.subplots(1, 2, sharey=True)
    bar = {"location": "top", "shrink": 0.7, "aspect": 30}
    heatmap(
        left,
        values,
        cmap=GAIN_MAP,
        annot=True,
        fmt=".3f",
        cbar_kws={"label": "AUROC", "ticks": MaxNLocator(4), **bar},
    )
    reach = max(float(np.nanmax(np.abs(losses.to_numpy()))), 1e-3)
    texts = [["0" if config == reference else f"{value:+.3f}".replace("-", "−") for value in row]
             for config, row in zip(losses.index, losses.to_numpy(), strict=True)]  # fmt: skip
    heatmap(right, losses, cmap=LOSS_MAP.reversed(), vmin=-reach, vmax=reach, annot=texts,
             cbar_kws={"label": f"AUROC minus that of {reference}", "ticks": MaxNLocator(4),
                       **bar})  # fmt: skip
    for axis in (left, right):
        axis.set(xlabel="", ylabel="")
        if macro is not None:
            axis.axvline(len(values.columns) - 1, color=INK, linewidth=1.0)
    return figure
