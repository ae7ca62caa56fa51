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
from leadmin.questions.electrodes import N_ALL, present_in_1000, short_curve, with_training
from leadmin.show.words import joined_sentence, markdown_table, number, value_with_interval

_COUNTS = dict(enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine"], start=2))
_PLURAL = {"MI": "infarctions", "STTC": "ST or T changes", "CD": "conduction disturbances",
           "HYP": "hypertrophies"}  # fmt: skip


def write_first_screen(root: Path, target: Path) -> None:
    """Write ``answer.md``, ``how_sure.md`` and ``electrode_table.md`` into the book's sources."""
    tables = root / "book" / "published" / "map" / "tables"
    curve, scores = (pd.read_csv(tables / f"{name}.csv") for name in ("curve", "map"))
    write_text(target / "answer.md", answer(curve, scores))
    write_text(target / "how_sure.md", how_sure(curve))
    write_text(target / "electrode_table.md", markdown_table(short_curve(curve, scores)) + "\n")


def _row(curve: pd.DataFrame) -> dict[Any, Any]:
    """Give the fewest electrodes that are within the margin for the mean of the classes."""
    rows = with_training(curve[curve["target"] == "macro"], ["difference"]).to_dict("records")
    return next(row for row in rows if row["within"])


def _places(row: dict[Any, Any]) -> str:
    """Say where the electrodes of a set sit."""
    needed = electrodes_needed(resolve(row["config"]).leads)
    limbs = {"RA": "right arm", "LA": "left arm", "LL": "left leg"}
    chest = [one for one in needed if one in CHEST_LEADS]
    sites = [limbs[one] for one in needed if one in limbs]
    if len(sites) == len(limbs):
        sites = ["both arms", "the left leg"]
    said = "on " + ", ".join(sites)
    if chest:
        said += f" and at {', '.join(chest[:-1])}{' and ' if chest[1:] else ''}{chest[-1]} of the chest"
    return said


def answer(curve: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Answer in patients and electrodes; the sentence is bold Markdown."""
    best, present = _row(curve), present_in_1000(scores)
    if best["n_electrodes"] == N_ALL:
        return (
            f"**It takes all nine: no smaller number of electrodes was shown to lose less than "
            f"{MARGIN:g} AUROC.**\n"
        )
    rows = curve[curve["target"] == "macro"].set_index("n_electrodes")

    def more(n_electrodes: int, of: str = "") -> str:
        losses = {name: round(rows.loc[n_electrodes, f"missed_{name}"])
                  - round(rows.loc[N_ALL, f"missed_{name}"]) for name in diagnoses(CLASSES)}  # fmt: skip
        said = [f"{losses[name]} more {_PLURAL[name]}" + of.format(number(present[name], 0))
                for name in sorted(diagnoses(CLASSES), key=lambda one: -losses[one])
                if losses[name] > 0]  # fmt: skip
        return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]])) or "no more of anything"

    n = best["n_electrodes"]
    return (
        f"**{_COUNTS[n].capitalize()} electrodes, {_places(best)}, read an ECG almost as well as all "
        f"nine: in 1,000 patients the network misses {more(n, ' (of {})')}.** "
        f"The three limb electrodes alone miss {more(3)}.\n"
    )


def how_sure(curve: pd.DataFrame) -> str:
    """Say on what the answer stands and how firm it is."""
    best = _row(curve)
    several = best["n_seeds"] > 1
    counted = (
        f"counts patients and {best['n_seeds']} trainings" if several
        else "counts patients alone, as there is one training"
    )  # fmt: skip
    chosen = round(best["share"] * best["n_networks"])
    text = (
        f"{best['n_records']:,} ECGs of {best['n_patients']:,} patients, each read by a network that "
        f"had never met the patient. Over five diagnostic classes the {_COUNTS[best['n_electrodes']]} electrodes' mean AUROC is "
        f"{value_with_interval(best, 'difference')} from that of nine; the 95% interval {counted}. "
        f"This set was chosen on other records than it was tested on, in {chosen} of "
        f"{best['n_networks']} folds"
    )
    return joined_sentence(text) + "\n"
