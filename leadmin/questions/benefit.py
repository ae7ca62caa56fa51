"""Is acting on fewer electrodes worth as much?"""

import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.reliability import BENEFIT_THRESHOLD
from leadmin.questions import Question, Tables, diagnoses
from leadmin.questions.electrodes import choice_in_words, with_training
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval


def _chosen(tables: Tables) -> pd.DataFrame:
    """Give the rows of the sets that were chosen for the mean of the classes."""
    curve = tables["curve"]
    return with_training(curve[curve["target"] == "macro"])


def benefit_reading(tables: Tables) -> str:
    """Say what acting on nine electrodes is worth, and what five of them give away."""
    rows = {row["n_electrodes"]: row for row in _chosen(tables).to_dict("records")}
    nine, few = rows[max(rows)], rows[5]
    parts = [
        f"{tables.classes[name]} {number(nine[f'benefit_{name}'], 0)} and "
        f"{value_with_interval(few, f'difference_benefit_{name}', 1)}"
        for name in diagnoses(tables.classes)
    ]
    return joined_sentence(
        "net benefit counts the patients who are found, less the false calls at the price that a "
        f"threshold sets; at {BENEFIT_THRESHOLD:.0%} four false calls weigh as much as one patient "
        "found. In 1,000 records nine electrodes are worth this many patients found without a "
        "false call, and five of them this many more or fewer: " + "; ".join(parts)
    )


def benefit_table(tables: Tables, lost: bool = False) -> Styler:
    """Show the net benefit of the chosen sets, or what they differ by from nine electrodes."""
    what = "difference_benefit" if lost else "benefit"
    rows = _chosen(tables)
    rows = rows.assign(which=[choice_in_words(row) for row in rows.to_dict("records")])
    columns = {"n_electrodes": "electrodes", "which": "chosen (of folds)"}
    columns |= {f"{what}_{name}": name for name in diagnoses(tables.classes)}
    return reading_table(rows, columns, dict.fromkeys(list(columns)[2:], 1))


BENEFIT = Question(
    name="benefit",
    title="Is acting on fewer electrodes worth as much?",
    reading=benefit_reading,
    shown={
        "Net benefit less that of nine electrodes": lambda tables: benefit_table(tables, lost=True)
    },
    folded={"Net benefit in 1,000 records": benefit_table},
    note="Of the sets in the first table, recalibrated on the validation records of each network.",
    about="map",
)
