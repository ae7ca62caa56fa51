"""What the landing page says first: the answer in a sentence, how sure it is, and the table.

Made from the published map when the sources of the book are gathered, so that the page is as new as
the tables.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from leadmin.evidence.scores import MARGIN
from leadmin.files import write_text
from leadmin.labels import CLASSES
from leadmin.leads import CHEST_LEADS, electrodes_needed, resolve
from leadmin.questions import diagnoses
from leadmin.questions.electrodes import (
    N_ALL,
    choice_in_words,
    present_in_1000,
    short_curve,
    with_training,
)
from leadmin.show.words import COUNTS, listed, markdown_table, number, value_with_interval

_MANY = {
    "MI": ("infarction", "infarctions"),
    "STTC": ("ST or T change", "ST or T changes"),
    "CD": ("conduction disturbance", "conduction disturbances"),
    "HYP": ("hypertrophy", "hypertrophies"),
}
_LIMBS = {"RA": "right arm", "LA": "left arm", "LL": "left leg"}


def write_first_screen(root: Path, target: Path) -> None:
    """Write ``answer.md``, ``how_sure.md`` and ``electrode_table.md`` into the book's sources."""
    tables = root / "book" / "published" / "subset" / "tables"
    curve, scores = (pd.read_csv(tables / f"{name}.csv") for name in ("curve", "map"))
    write_text(target / "answer.md", f"{answer(curve, scores)}\n")
    write_text(target / "how_sure.md", f"{how_sure(curve)}\n")
    write_text(target / "electrode_table.md", f"{markdown_table(short_curve(curve, scores))}\n")


def answer(curve: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Answer in electrodes and missed patients; Markdown, the sentence itself bold."""
    best = _fewest(curve)
    n = best["n_electrodes"]
    if n == N_ALL:
        return (
            "**It takes all nine: no smaller number of electrodes was shown to lose less than "
            f"{MARGIN:g} AUROC.**"
        )
    return (
        f"**{COUNTS[n].capitalize()} electrodes, {_places(best)}, read an ECG almost as "
        f"well as all nine: in 1,000 patients the network misses "
        f"{_more_missed(curve, n, present_in_1000(scores))}.** "
        f"With the three limb electrodes alone it misses {_more_missed(curve, 3)}."
    )


def how_sure(curve: pd.DataFrame) -> str:
    """Say on what the answer stands and how firm it is."""
    best = _fewest(curve)
    counted = "patients alone, as there is one training"
    if best["n_seeds"] > 1:
        counted = f"patients and {best['n_seeds']} trainings"
    text = (
        f"{best['n_records']:,} ECGs of {best['n_patients']:,} patients, each read by a network "
        "that had never met the patient."
    )
    if best["n_electrodes"] == N_ALL:
        return text
    return (
        f"{text} Over five classes, the mean AUROC with {COUNTS[best['n_electrodes']]} electrodes "
        f"differs from that with nine by {value_with_interval(best, 'difference')}; the 95% "
        f"interval covers {counted}. The electrodes were chosen on other ECGs than those they "
        f"were tested on, {best['n_networks']} times over: {best['chosen']}."
    )


def _fewest(curve: pd.DataFrame) -> dict[Any, Any]:
    """Give the fewest electrodes that are within the margin for the mean of the classes."""
    rows = with_training(curve[curve["target"] == "macro"], ["difference"]).to_dict("records")
    return next(row for row in rows if row["within"])


def _places(row: dict[Any, Any]) -> str:
    """Say where the electrodes that were chosen sit."""
    needed = electrodes_needed(resolve(row["config"]).leads)
    chest = [one for one in needed if one in CHEST_LEADS]
    if chest:
        number_of = f"{COUNTS[len(chest)]} place{'s' * (len(chest) > 1)}"
        return f"on both arms, the left leg and {number_of} of the chest ({choice_in_words(row)})"
    return "on " + listed([_LIMBS[one] for one in needed])


def _more_missed(
    curve: pd.DataFrame, n_electrodes: int, present: dict[Any, float] | None = None
) -> str:
    """Say how many more of each diagnosis are missed than with nine, the largest number first."""
    rows = curve[curve["target"] == "macro"].set_index("n_electrodes")
    losses = {}
    for name in diagnoses(CLASSES):
        missed = rows[f"missed_{name}"].round().astype(int)  # as the table beside it shows them
        losses[name] = int(missed.loc[n_electrodes] - missed.loc[N_ALL])
    said = [
        f"{losses[name]} more {_MANY[name][losses[name] > 1]}"
        + (f" (of {number(present[name], 0)})" if present else "")
        for name in sorted(diagnoses(CLASSES), key=lambda one: -losses[one])
        if losses[name] > 0
    ]
    return listed(said) or "no more of any diagnosis"
