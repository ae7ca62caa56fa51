"""Does training with noise help against noise?"""

from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.scores import REFERENCE, Evidence
from leadmin.evidence.trials import trial_of
from leadmin.questions import Question, of
from leadmin.questions.electrodes import electrodes_in_words, with_training
from leadmin.questions.noise import HARD, NOISES
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval

HEAD = {"noise": "noise", "electrodes": "electrodes"}
SCORES = {"plain": "AUROC", "taught": "so trained", "difference": "difference"}


def taught_table(evidence: Evidence) -> pd.DataFrame:
    """List the rows of `compare` of ``workflow/taught.py``, none if the trial has none.

    With ``electrodes``; without noise ``noise`` is empty.
    """
    rows = [
        row | {"electrodes": electrodes_in_words(row["config"])}
        for row in trial_of(evidence).get("taught", [])
    ]
    return pd.DataFrame(rows, columns=None if rows else ["config", "decibels", *HEAD, *SCORES])


def taught_reading(table: pd.DataFrame) -> str:
    """Say what nine electrodes gain under the hard noise, and what they pay without any."""
    if table.empty:
        return "No network was trained with noise."
    nine = with_training(table[table["config"] == REFERENCE])
    (clean,) = nine[nine["noise"] == ""].to_dict("records")
    kind, decibels = HARD
    hard = nine[(nine["noise"] == kind) & (nine["decibels"] == decibels)]
    said = [
        f"under {NOISES[kind]} at {decibels} dB training with noise changes the macro AUROC of "
        f"nine electrodes from {number(row['plain'])} to {number(row['taught'])}, "
        f"{value_with_interval(row, 'difference')}"
        for row in hard.to_dict("records")
    ]
    said.append(f"without noise it changes it by {value_with_interval(clean, 'difference')}")
    return joined_sentence("; ".join(said))


def _shown(table: pd.DataFrame) -> Styler:
    return _all(table[(table["decibels"] == HARD[1]) | (table["noise"] == "")], HEAD)


def _all(table: pd.DataFrame, head: Mapping[str, str]) -> Styler:
    rows = with_training(table)
    ratio = rows["decibels"].map("{:g}".format, na_action="ignore").fillna("")
    rows = rows.assign(decibels=ratio, noise=rows["noise"].map({"": "none"} | NOISES))
    return reading_table(rows, {**head, **SCORES})


TAUGHT = Question(
    name="taught",
    title="Does training with noise help?",
    tables={"taught": taught_table},
    reading=lambda tables: taught_reading(tables["taught"]),
    shown={f"Trained with noise or not, at {HARD[1]} dB": of("taught", _shown)},
    folded={"At every ratio": of("taught", _all, HEAD | {"decibels": "dB"})},
    about="noise",
)
