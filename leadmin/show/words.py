"""Numbers into words: the one place that knows how a value, an interval or a table is written."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from myst_nb import glue
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError


def shown(value: float, shown_as: str) -> str:
    """Write an effect as its question shows it: a signed difference or a share in per cent."""
    if np.isnan(value):
        return "\N{EN DASH}"
    if shown_as == "share":
        return f"{100 * value:.1f}%"
    return signed(value) if value else "0"


def number(value: float, digits: int = 3, sign: str = "") -> str:
    """Write a number with a real minus; a dash where there is none."""
    if not np.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """Write a difference as `number` does, with its sign."""
    return number(value, sign="+")


def p_value(p: float) -> str:
    """Write a p value with three decimals; a dash where there is none."""
    return "< 0.001" if p < 0.001 else number(p)


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
    return styled_table(pd.DataFrame(cells), "reading")


def styled_table(table: pd.DataFrame, kind: str) -> Styler:
    """Hide the index and name the class that the book's style sheet knows."""
    style = table.style.hide(axis="index").format(escape="html")
    return style.set_table_attributes(f'class="dataframe {kind}"')


def rendered(markdown: str) -> HTML:
    """Turn Markdown into HTML, which can be glued on any page; Markdown only on its own."""
    return HTML(MarkdownIt().render(markdown))


def leads_in_words(row: Mapping[Any, Any]) -> str:
    """Write how many leads a row has."""
    n = row["n_leads"]
    return "One lead" if n == 1 else f"{n} leads"


def macro_in_words(row: pd.Series) -> str:
    """Write a row's macro AUROC with its interval."""
    return value_with_interval(row.to_dict(), "auroc")


def range_in_words(values: pd.Series) -> str:
    """Write the range of some AUROCs."""
    low, high = f"{values.min():.3f}", f"{values.max():.3f}"
    return low if low == high else f"{low} to {high}"


def joined_sentence(text: str) -> str:
    """Make a sentence of a clause: a capital first, a full stop last."""
    return text[:1].upper() + text[1:] + "."


def facts(**values: Any) -> None:
    """Glue values by name, so that the prose of a page can show them."""
    for name, value in values.items():
        glue(name, value, display=False)


def print_epoch(row: Mapping[str, Any]) -> None:
    """Print one aligned row of a training history, with a heading before each fit.

    Parameters
    ----------
    row : mapping
        What `leadmin.study.train.train_run` hands to ``on_epoch``.
    """
    if row["epoch"] == 1:
        print(f"{row['recipe']}, seed {row['seed']}, test fold {row['fold']}")
        print("epoch  train loss  validation loss  validation AUROC  seconds")
    print(
        f"{row['epoch']:5d}  {row['train_loss']:10.4f}  {row['validation_loss']:15.4f}"
        f"  {row['validation_auroc']:16.4f}  {row['seconds']:7.2f}"
    )


LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": r"$-$",
    "\N{EN DASH}": "--",
}


def latex_escape(text: str) -> str:
    """Make plain text safe in LaTeX; line breaks become spaces, other control characters go."""
    joined = re.sub(r"\s+", " ", text)
    kept = "".join(c for c in joined if c.isprintable())
    return "".join(LATEX_SPECIAL.get(character, character) for character in kept)


def latex_table(
    spec: str, heading: Sequence[str], lines: Sequence[str], caption: str, label: str
) -> str:
    """Set lines as a LaTeX table with caption and label."""
    body = [
        "% Needs \\usepackage{booktabs} and \\usepackage{siunitx}, which loads array.",
        "\\begin{table}[tbp]",
        "\\centering",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        "\\medskip",
        f"\\begin{{tabular}}{{{spec}}}",
        "\\toprule",
        *heading,
        "\\midrule",
        *lines,
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(body) + "\n"


def latex_recipe_heading(recipe: str, width: int) -> str:
    """Set the line above the rows of a recipe."""
    return f"\\multicolumn{{{width}}}{{l}}{{\\emph{{Recipe: {latex_escape(recipe)}}}}} \\\\"


def latex_number(value: float, digits: int = 3) -> str:
    """For an S column: a dash in braces where there is no value."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "{--}"


def latex_interval(low: float, high: float, digits: int = 3) -> str:
    """Set an interval; a dash in braces where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "{--}"
    if low < 0:
        return f"${low:.{digits}f}$ to ${high:.{digits}f}$"
    return f"{low:.{digits}f}--{high:.{digits}f}"


def per_cent(value: float) -> str:
    """Write a share in per cent; a dash where there is none."""
    return f"{100 * value:.1f}%" if math.isfinite(value) else "\N{EN DASH}"


def with_interval(rows: pd.DataFrame, name: str, sign: bool = False) -> list[str]:
    """Write each row's value with its interval."""
    write = signed if sign else number
    return [
        f"{write(value)} ({write(low)} to {write(high)})" if math.isfinite(low) else write(value)
        for value, low, high in zip(
            rows[name], rows[f"{name}_low"], rows[f"{name}_high"], strict=True
        )
    ]


def markdown_table(table: pd.DataFrame) -> str:
    """Write a pipe table; bars in the text are escaped."""
    cells = [[str(c) for c in table.columns], ["---"] * table.shape[1]]
    cells += [[str(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)
