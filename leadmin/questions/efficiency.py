"""What does an answer cost?"""

from typing import NamedTuple

import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.scores import Evidence
from leadmin.evidence.trials import trial_of
from leadmin.questions import Question, of
from leadmin.show.words import joined_sentence, number, styled_table
from leadmin.study.mapping import ANY_LEAD


class Published(NamedTuple):
    """What others say that their network has: parameters, and operations for an ECG."""

    network: str
    n_parameters: float
    mflop: float
    source: str


PUBLISHED = (
    Published("ECG-CPC", 3.8e6, 1741.0, "arXiv 2509.25095"),
    Published("ECG-FM", 90.9e6, float("nan"), "arXiv 2408.05178"),
    Published("HuBERT-ECG large", 189e6, float("nan"), "its card at huggingface.co/Edoardo-BS"),
)
"""Larger networks with public weights, as far as their authors say. Inputs differ in length and
rate, so that operations compare only roughly."""


def efficiency_table(evidence: Evidence) -> pd.DataFrame:
    """List the rows of `costs` of ``workflow/cost.py``, and `PUBLISHED` with its ``source``."""
    ours = pd.DataFrame(trial_of(evidence)["costs"]).assign(source="measured")
    return pd.concat([ours, pd.DataFrame(PUBLISHED)], ignore_index=True)


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
    rows = [
        {
            "network": row["network"],
            "leads": number(row["n_leads"], 0),
            "parameters": f"{row['n_parameters']:,.0f}",
            "MFLOP": number(row["mflop"], 1 if row["mflop"] < 100 else 0),
            "ms alone": number(row["ms_alone"], 2),
            "by torch": number(row["ms_torch"], 1),
            "by ONNX": number(row["ms_onnx"], 2),
            "ms of many": number(row["ms_of_many"], 2),
            "kB": number(row["kilobytes"], 0),
            "source": row["source"],
        }
        for row in table.to_dict("records")
    ]
    return styled_table(pd.DataFrame(rows), "reading")


EFFICIENCY = Question(
    name="efficiency",
    title="What does an answer cost?",
    tables={"efficiency": efficiency_table},
    reading=lambda tables: efficiency_reading(tables["efficiency"]),
    shown={"What an answer costs": of("efficiency", shown_efficiency)},
    about="elsewhere",
)
