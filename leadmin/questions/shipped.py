"""Does the network that ships, asked as anybody asks it, see the same elsewhere?"""

import pandas as pd

from leadmin.evidence.scores import REFERENCE
from leadmin.evidence.trials import Hospitals, trial_of
from leadmin.leads import electrodes_needed, resolve
from leadmin.questions import Question, of
from leadmin.questions.elsewhere import named
from leadmin.show.words import headings, joined_sentence, number, reading_table, signed

COLUMNS = headings("hospital", "class", "electrodes", "n_records", "n_refused", "auroc")
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
    return pd.DataFrame(rows, columns=["config", *COLUMNS, "mean_probability"])


def shipped_reading(table: pd.DataFrame) -> str:
    """Say what the network reaches with all electrodes, and how far it is from the averaged."""
    if table.empty:
        return "The network that ships was not tried."
    nine = table[table["config"] == REFERENCE]
    parts = [
        f"{row['hospital']}, {row['class']}: {number(row['auroc'])}"
        for row in nine.to_dict("records")
    ]
    apart = (table["auroc"] - table["averaged"]).dropna()
    return joined_sentence(
        "the network that ships, one record at a time through `predict`, reaches with nine "
        f"electrodes {'; '.join(parts)}. Over all sets its AUROC differs from that of the ten "
        f"networks together by {signed(apart.mean())} on average, and by "
        f"{number(apart.abs().max())} at most"
    )


SHIPPED = Question(
    name="shipped",
    title="Does the network that ships see the same?",
    tables={"shipped": shipped_table},
    reading=lambda tables: shipped_reading(tables["shipped"]),
    folded={"The network that ships": of("shipped", reading_table, COLUMNS)},
    place=15,
    about="elsewhere",
)
