"""Tables and numbers as a page of the book shows them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.errors import LeadminError


def value_with_interval(row: Mapping[str, Any], name: str, digits: int = 3) -> str:
    """Write a value with its 95 % interval, as in ``0.912 [0.880, 0.941]``.

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
    shown = {}
    for name, heading in columns.items():
        kind = table[name].dtype.kind
        if kind == "f":
            shown[heading] = [value_with_interval(row, name, digits) for row in rows]
        elif kind == "i":
            shown[heading] = [f"{row[name]:,}" for row in rows]
        elif kind == "b":
            shown[heading] = ["yes" if row[name] else "no" for row in rows]
        else:
            shown[heading] = [str(row[name]) for row in rows]
    return pd.DataFrame(shown).style.hide(axis="index")
