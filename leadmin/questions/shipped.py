"""Do the networks that ship, asked as anybody asks them, see the same elsewhere?"""

import pandas as pd

from leadmin.evidence.scores import REFERENCE
from leadmin.evidence.trials import Hospitals, trial_of
from leadmin.leads import electrodes_needed, resolve
from leadmin.questions import Question, of
from leadmin.questions.elsewhere import named
from leadmin.show.words import (
    headings,
    joined_sentence,
    number,
    reading_table,
    signed,
    value_with_interval,
)
from leadmin.study.mapping import ANY_LEAD

COLUMNS = headings("network", "hospital", "class", "electrodes", "n_records", "n_refused", "auroc")
COLUMNS |= headings(averaged="of the ten together")


def shipped_table(evidence: Hospitals) -> pd.DataFrame:
    """List the rows of `through_the_door` of ``workflow/trials.py``, none if the trial has none.

    With ``electrodes``, and ``averaged``: the AUROC of the trial's own networks, whose logits are
    averaged, for the same set, hospital and class.
    """
    rows = []
    for row in trial_of(evidence).get("shipped", []):
        there = evidence.there.get((row["config"], row["hospital"], row["class"]))
        electrodes = ", ".join(electrodes_needed(resolve(row["config"]).leads))
        more = {"averaged": there.value if there else float("nan"), "electrodes": electrodes}
        rows.append(row | more | {"hospital": named(row["hospital"])})
    return pd.DataFrame(
        rows, columns=["config", *COLUMNS, "auroc_low", "auroc_high", "mean_probability"]
    )


def shipped_reading(table: pd.DataFrame) -> str:
    """Say what the network reaches with all electrodes, and how far it is from the averaged."""
    if table.empty:
        return "The networks that ship were not tried."
    parts = []
    for name, words in ((ANY_LEAD, "for any leads"), (REFERENCE, "of twelve leads")):
        nine = table[(table["network"] == name) & (table["config"] == REFERENCE)]
        each = (
            f"{row['hospital']}, {row['class']}: {value_with_interval(row, 'auroc')}"
            for row in nine.to_dict("records")
        )
        if said := "; ".join(each):
            parts.append(f"the network {words} reaches with nine electrodes {said}")
    any_lead = table[table["network"] == ANY_LEAD]
    apart = (any_lead["auroc"] - any_lead["averaged"]).dropna()
    return joined_sentence(
        "of the networks that ship, one record at a time through `predict`, "
        f"{'. And '.join(parts)}. Over all sets the AUROC of that for any leads differs from that "
        f"of the ten networks together by {signed(apart.mean())} on average, and by "
        f"{number(apart.abs().max())} at most"
    )


SHIPPED = Question(
    name="shipped",
    title="Do the networks that ship see the same?",
    tables={"shipped": shipped_table},
    reading=lambda tables: shipped_reading(tables["shipped"]),
    folded={"The networks that ship": of("shipped", reading_table, COLUMNS)},
    about="elsewhere",
)
