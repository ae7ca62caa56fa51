"""Tables and numbers as a page of the book shows them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError
from leadmin.evidence import shown


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
    sign = "+" if name.startswith("difference") else ""
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
        if kind == "f":
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
    return table.style.hide(axis="index").set_table_attributes(f'class="dataframe {kind}"')


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
        `leadmin.evidence.main_table` of one recipe.
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
        `leadmin.evidence.key_findings`.
    """
    rows = findings.to_dict("records")

    def effect(row: Mapping[Any, Any]) -> str:
        value, low, high = (shown(row[key], row["shown_as"]) for key in ("effect", "low", "high"))
        return f"{value} [{low}, {high}]"

    table = {
        "": [row["part"] for row in rows],
        "question": [row["question"] for row in rows],
        "verdict": [row["verdict"] for row in rows],
        "here": [f"{row['effect_name']}: {effect(row)}" for row in rows],
        "the claim needs": [row["threshold"] for row in rows],
        "p (Holm)": ["<0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}" for row in rows],
        "the original": [row["original"] for row in rows],
    }
    return _styled(pd.DataFrame(table), "findings")


def print_epoch(row: Mapping[str, Any]) -> None:
    """Print one aligned row of a training history, with a heading before each fit.

    Parameters
    ----------
    row : mapping
        What `leadmin.study.train_run` hands to ``on_epoch``.
    """
    if row["epoch"] == 1:
        print(f"{row['recipe']}, seed {row['seed']}, test fold {row['fold']}")
        print("epoch  train loss  validation loss  validation AUROC  seconds")
    print(
        f"{row['epoch']:5d}  {row['train_loss']:10.4f}  {row['validation_loss']:15.4f}"
        f"  {row['validation_auroc']:16.4f}  {row['seconds']:7.2f}"
    )
