"""What does an answer cost?"""

import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.scores import Evidence
from leadmin.evidence.trials import trial_of
from leadmin.questions import Question, of
from leadmin.show.words import headings, joined_sentence, number, reading_table
from leadmin.study.mapping import ANY_LEAD

PUBLISHED = pd.DataFrame(
    [
        ("ECG-CPC", 3.8e6, 1741.0, "arXiv 2509.25095"),
        ("ECG-FM", 90.9e6, float("nan"), "arXiv 2408.05178"),
        ("HuBERT-ECG large", 189e6, float("nan"), "its card at huggingface.co/Edoardo-BS"),
    ],
    columns=["network", "n_parameters", "mflop", "source"],
)
"""Larger networks with public weights: parameters, and operations for an ECG, as far as their
authors say. Inputs differ in length and rate, so that operations compare only roughly."""


def efficiency_table(evidence: Evidence) -> pd.DataFrame:
    """List the rows of `costs` of ``workflow/cost.py``, and `PUBLISHED` with its ``source``."""
    ours = pd.DataFrame(trial_of(evidence)["costs"]).assign(source="measured")
    return pd.concat([ours, PUBLISHED], ignore_index=True)


def efficiency_reading(table: pd.DataFrame) -> str:
    """Say what the network for any leads costs, and how much larger others are."""
    one = dict(table[table["network"] == ANY_LEAD].iloc[0])
    smallest = table[table["source"] != "measured"].sort_values("n_parameters").iloc[0]
    times = smallest["n_parameters"] / one["n_parameters"]
    return joined_sentence(
        f"the network for any leads has {int(one['n_parameters']):,} parameters "
        f"({number(one['kilobytes'], 0)} kB) and takes {number(one['mflop'], 0)} million "
        f"operations for an ECG of ten seconds: {number(one['ms_alone'], 1)} ms of one core alone "
        f"({number(one['ms_onnx'], 1)} as an ONNX file), {number(one['ms_of_many'], 2)} where many "
        "are read at once; "
        f"{smallest['network']} has {number(times, 0)} times as many parameters"
    )


def shown_efficiency(table: pd.DataFrame) -> Styler:
    """Show all networks, a dash where nothing is said."""
    mflop = [number(value, 1 if value < 100 else 0) for value in table["mflop"]]
    rows = table.assign(mflop=mflop, n_parameters=table["n_parameters"].astype(int))
    columns = headings("network", "n_leads", "n_parameters", mflop="MFLOP", ms_alone="ms alone")
    columns |= headings(ms_torch="by torch", ms_onnx="by ONNX", ms_of_many="ms of many")
    digits = dict.fromkeys(columns, 2) | {"n_leads": 0, "ms_torch": 1, "kilobytes": 0}
    return reading_table(rows, columns | {"kilobytes": "kB", "source": "source"}, digits)


EFFICIENCY = Question(
    name="efficiency",
    title="What does an answer cost?",
    tables={"efficiency": efficiency_table},
    reading=lambda tables: efficiency_reading(tables["efficiency"]),
    shown={"What an answer costs": of("efficiency", shown_efficiency)},
    about="elsewhere",
)
