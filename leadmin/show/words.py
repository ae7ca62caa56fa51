"""Numbers into words: the one place that knows how a value, an interval or a table is written.

Three decimals, a true minus, a dash for what is missing, "< 0.001" for the smallest p values. LaTeX
takes the same text through `latex_escape`; only its number columns want digits and a hyphen.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from IPython.display import HTML
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from myst_nb import glue
from pandas.io.formats.style import Styler

MISSING = "\N{EN DASH}"


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """Write a number with a real minus; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return MISSING
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None) -> str:
    """Write a difference as `number` does, with its sign."""
    return number(value, sign="+")


def shown(value: float, shown_as: str) -> str:
    """Write an effect as its question shows it: a signed difference or a share in per cent."""
    if shown_as == "share":
        return f"{100 * value:.1f}%" if np.isfinite(value) else number(value)
    return signed(value) if value else "0"


P_FLOOR = "p_floor"
"""Attribute of a table: the smallest p that its resamples can give."""


def p_value(p: float, name: str = "", floored: bool = False) -> str:
    """Write a p value, alone or as in ``p = 0.012``; a dash where there is none.

    One that is ``floored``, the smallest that the resamples can give, is only an upper bound.
    """
    if p < 0.001:
        return f"{name} < 0.001".strip()
    relation = "\N{LESS-THAN OR EQUAL TO}" if floored else "=" if name else ""
    return f"{name} {relation} {number(p)}".strip()


def p_of_row(row: Mapping[Any, Any], column: str, floor: float, name: str = "") -> str:
    """Write a p value of a row; a corrected one is a bound where the raw one is at the floor."""
    raw = row.get(re.sub("_(holm|bh)$", "", column), row[column])
    return p_value(row[column], name, floored=bool(raw <= floor * (1 + 1e-9)))


def value_with_interval(row: Mapping[Any, Any], name: str, digits: int = 3) -> str:
    """Write a value with its 95% interval, as in ``0.912 [0.880, 0.941]``.

    ``row`` holds ``name`` and, where there is an interval, ``<name>_low`` and ``<name>_high``.
    Gives a dash where the value is not defined; differences carry their sign.
    """
    sign = "+" if name.startswith(("difference", "interaction")) else ""
    value, low, high = row[name], row.get(f"{name}_low"), row.get(f"{name}_high")
    text = number(value, digits, sign)
    if low is not None and low == high == value:  # relative to itself: nothing was estimated
        return MISSING if sign else text
    if low is None or high is None or not np.isfinite([low, high]).all():
        return text
    return f"{text} [{number(low, digits, sign)}, {number(high, digits, sign)}]"


def with_intervals(table: pd.DataFrame, name: str, digits: int = 3) -> list[str]:
    """Write a column as `value_with_interval` does, row by row."""
    return [value_with_interval(row, name, digits) for row in table.to_dict("records")]


HEADINGS = {
    "config": "configuration",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "difference": "difference to 12 leads",
    "difference_p_holm": "p (Holm)",
    "ece": "ECE",
    "f1": "F1",
    "lrs": "LRS",
    "n_positive": "positive records",
    "p_bh": "p (BH)",
    "p_holm": "p (Holm)",
}
"""Of columns in tables that people read; others are headed by their name."""


def headings(*columns: str, **others: str) -> dict[str, str]:
    """Head columns by `HEADINGS` or by other words, in their order, for `reading_table`."""
    named = {name: name.removeprefix("n_").replace("_", " ") for name in columns}
    return named | {name: HEADINGS[name] for name in columns if name in HEADINGS} | others


def reading_table(
    table: pd.DataFrame,
    columns: Mapping[str, str],
    digits: int | Mapping[str, int] = 3,
    kind: str = "reading",
) -> Styler:
    """Turn a tidy table into one that people read.

    ``columns`` are those that it shows, with their headings, in order. Numbers with ``_low`` and
    ``_high`` columns beside them are written with their interval; ``digits`` are the decimals of
    those that are not whole, of all columns or of each; ``kind`` is that of `styled_table`.
    """
    rows = table.to_dict("records")
    cells = {}
    for name, heading in columns.items():
        of_type = table[name].dtype.kind
        places = digits if isinstance(digits, int) else digits.get(name, 3)
        if of_type == "f" and re.search(r"(^|_)p(_holm|_bh)?$", name):
            floor = table.attrs.get(P_FLOOR, 0)
            cells[heading] = [p_of_row(row, name, floor) for row in rows]
        elif of_type == "f":
            cells[heading] = with_intervals(table, name, places)
        elif of_type == "i":
            cells[heading] = [f"{row[name]:,}" for row in rows]
        elif of_type == "b":
            cells[heading] = ["yes" if row[name] else "no" for row in rows]
        else:
            cells[heading] = [str(row[name]) for row in rows]
    return styled_table(pd.DataFrame(cells), kind)


def wide_table(
    rows: pd.DataFrame, head: Mapping[str, str], across: str, texts: Sequence[str] | pd.Series
) -> Styler:
    """Show a text of each row, those with the same ``head`` side by side, by the column ``across``.

    ``head`` are the columns that name a line, with their headings. Both keep the order of the
    rows; a cell is empty where there is no such row.
    """
    told = rows.assign(text=texts)
    wide = told.pivot(index=list(head), columns=across, values="text")
    lines = told.set_index(list(head)).index.unique()
    wide = wide.loc[lines, told[across].unique()].fillna("")
    return styled_table(wide.reset_index(names=list(head.values())), "reading")


def styled_table(table: pd.DataFrame, kind: str) -> Styler:
    """Hide the index and name the class that the book's style sheet knows."""
    style = table.style.hide(axis="index").format(escape="html")
    return style.set_table_attributes(f'class="dataframe {kind}"')


def folded(heading: str, table: Styler) -> HTML:
    """Fold a table away behind its heading, which a click opens and the book numbers."""
    return HTML(f"<details><summary>{heading}</summary>{_lean(table)}</details>")


def headed(heading: str, table: Styler) -> HTML:
    """Show a table below its heading, which the book numbers."""
    return HTML(_lean(table).replace(">", f"><caption>{heading}</caption>", 1))


def _lean(table: Styler) -> str:
    """Write a table without the name that pandas gives each cell: less than half the weight."""
    named = r"<style.*?</style>\n?| id=\"T_[^\"]*\"| class=\"(?:data |\w+_heading|blank)[^\"]*\" ?"
    bare = re.sub(named, "", table.to_html(), flags=re.DOTALL)
    return re.sub(r">\s+(?=<(?:t[dh]|/tr)\b)", ">", bare)


def legend(caption: str, alt: str) -> HTML:
    """Write what stands below a figure; ``alt``, what it shows, is heard and not seen."""
    return HTML(f'<p class="caption" data-alt="{escape(alt)}">{escape(caption)}</p>')


def markdown_table(table: Styler) -> str:
    """Write what a page shows as a pipe table; bars in the text are escaped."""
    data: pd.DataFrame = table.data  # type: ignore[attr-defined]
    plain = data.astype(str).map(lambda cell: cell.replace("|", "\\|"))
    return str(plain.to_markdown(index=False, disable_numparse=True))


def rendered(markdown: str) -> HTML:
    """Turn Markdown into HTML, which can be glued on any page; Markdown only on its own."""
    return HTML(MarkdownIt().render(markdown))


class _Picture:
    """A figure that prose shows in JupyterLab, where it would else be as high as a line of text."""

    def __init__(self, figure: Figure) -> None:
        self._figure = figure

    def _repr_html_(self) -> str:
        image = BytesIO()
        self._figure.savefig(image, format="png", dpi=2 * self._figure.dpi)
        data = b64encode(image.getvalue()).decode()
        style = "width: 100%; height: auto; max-height: none; transform: none"
        return f'<img style="{style}" src="data:image/png;base64,{data}">'


class Facts(SimpleNamespace):
    """Values by the names that prose calls them: glued for the book, attributes for JupyterLab."""

    def __call__(self, **values: Any) -> None:
        """Give values names by which the prose of any page finds them; see `book/_ext/prose.py`."""
        for name, value in values.items():
            glue(name, value, display=False)
            setattr(self, name, _Picture(value) if isinstance(value, Figure) else value)


facts = Facts()


@cache
def _statements() -> dict[str, str]:
    return yaml.safe_load((Path(__file__).parent / "statements.yml").read_text(encoding="utf-8"))


def statement_in_words(code: str) -> str:
    """Spell an SCP-ECG statement out, such as ``ASMI``; a code that PTB-XL lacks stays a code."""
    return _statements().get(code, code)


def range_in_words(values: pd.Series) -> str:
    """Write the range of some AUROCs."""
    return " to ".join(dict.fromkeys(number(end) for end in (values.min(), values.max())))


COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def listed(words: Sequence[str], separator: str = ", ", last: str = " and ") -> str:
    """Join words as a sentence lists them; of no words nothing."""
    return last.join(filter(None, [separator.join(words[:-1]), *words[-1:]]))


def joined_sentence(text: str) -> str:
    """Make a sentence of a clause: a capital first, a full stop last."""
    return text[:1].upper() + text[1:] + "."


def print_epoch(row: Mapping[str, Any]) -> None:
    """Print a row that `leadmin.study.train.train_run` reports, with a heading before each fit."""
    if row["epoch"] == 1:
        print(f"{row['recipe']}, seed {row['seed']}, test fold {row['fold']}")
        print("epoch  train loss  validation loss  validation AUROC  seconds")
    print(
        f"{row['epoch']:5d}  {row['train_loss']:10.4f}  {row['validation_loss']:15.4f}"
        f"  {row['validation_auroc']:16.4f}  {row['seconds']:7.2f}"
    )


LATEX_SPECIAL = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": r"$-$",
    "\N{EN DASH}": "--",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
}


def latex_escape(text: str) -> str:
    """Make plain text safe in LaTeX; line breaks become spaces, other control characters go."""
    joined = re.sub(r"\s+", " ", text)
    kept = "".join(c for c in joined if c.isprintable())
    return "".join(LATEX_SPECIAL.get(character, character) for character in kept)


def latex_number(value: float, digits: int = 3) -> str:
    """For an S column of siunitx: digits and a hyphen, or a dash in braces."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "{--}"


def latex_interval(low: float, high: float, digits: int = 3) -> str:
    """Set an interval; a dash in braces where there is none."""
    if not np.isfinite([low, high]).all():
        return latex_number(float("nan"))
    between, bracket = (" to ", "$") if low < 0 else ("--", "")
    return between.join(f"{bracket}{latex_number(end, digits)}{bracket}" for end in (low, high))


def latex_table(
    spec: str, heading: str, rows: Sequence[Sequence[str]], caption: str, label: str
) -> str:
    """Set a LaTeX table with caption and label; it needs booktabs and siunitx.

    ``spec`` is that of the columns, ``heading`` their names with ``&`` between them. A row holds
    its recipe, then its cells, safe for LaTeX; of several recipes, each has a line above its rows.
    """
    recipes = list(dict.fromkeys(row[0] for row in rows))
    blocks = []
    for recipe in recipes:
        lines = [" & ".join(cells) + r" \\" for of_recipe, *cells in rows if of_recipe == recipe]
        if len(recipes) > 1:
            over = rf"\emph{{Recipe: {latex_escape(recipe)}}}"
            width = len(rows[0]) - 1
            lines.insert(0, rf"\multicolumn{{{width}}}{{l}}{{{over}}} \\")
        blocks.append("\n".join(lines))
    body = "\n\\midrule\n".join(blocks)
    return rf"""% Needs \usepackage{{booktabs}} and \usepackage{{siunitx}}, which loads array.
\begin{{table}}[tbp]
\centering
\footnotesize
\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{{label}}}
\medskip
\begin{{tabular}}{{{spec}}}
\toprule
{heading} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{table}}
"""
