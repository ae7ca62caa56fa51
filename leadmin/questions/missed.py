"""How many patients does each set miss?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import UNKNOWN, Estimate, combine, interval_columns
from leadmin.evidence.nested import called
from leadmin.evidence.scores import REFERENCE, Evidence, Rows, Scored
from leadmin.labels import CLASS_NAMES
from leadmin.leads import resolve
from leadmin.questions import Question, diagnoses, each_recipe, of
from leadmin.questions.classes import by_class
from leadmin.show.words import headings, joined_sentence, number, reading_table, value_with_interval


def missed_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Count per 1,000 records those with a class that are not called at 90% specificity.

    Each network has the threshold that 90% of its own validation records without the class stay
    below. ``recipe, config, n_leads, class, n_positive``, ``present`` and ``missed`` per 1,000 test
    records, the latter with ``_low`` and ``_high``, its ``difference`` to the 12 leads likewise,
    ``specificity`` on the test records (which the threshold does not fix), ``n_records, n_patients,
    n_seeds``. Values are means over seeds.
    """
    weights = evidence.weights.T.astype(np.float64)
    total = weights.sum(axis=1)

    def counted(config: str) -> tuple[list[Estimate], NDArray[np.float64]]:
        calls, labels = called(evidence.runs[config], recipe).mean(axis=0), evidence.labels
        missed = 1000 * (labels * (1 - calls))
        each = [
            Estimate(float(of_class.mean()), weights @ of_class / total, np.empty(0))
            for of_class in missed.T
        ]
        quiet = (1 - calls) * (1 - labels)
        with np.errstate(invalid="ignore"):
            return each, quiet.sum(axis=0) / (1 - labels).sum(axis=0)

    full = counted(REFERENCE)[0] if (REFERENCE, recipe) in evidence.scored else None

    def rows(scored: Scored) -> Rows:
        each, specificity = counted(scored.config)
        for c, name in enumerate(evidence.classes):
            n_positive = int(evidence.labels[:, c].sum())
            row = {"class": name, "n_positive": n_positive}
            row |= {"present": 1000 * n_positive / evidence.n_records}
            row |= interval_columns("missed", each[c])
            lost = combine(np.subtract, each[c], full[c]) if full else UNKNOWN
            row |= interval_columns("difference", lost)
            yield row | {"specificity": float(specificity[c])}

    return evidence.table(evidence.under(recipe), rows)


def missed_reading(missed: pd.DataFrame, names: Mapping[str, str] = CLASS_NAMES) -> str:
    """Say for each diagnosis how many twelve leads miss, and the smaller set that misses fewest."""
    parts = []
    for name in diagnoses(names):
        rows, said = missed[missed["class"] == name], []
        ordered = rows.sort_values("missed", kind="stable")
        for row in ordered[ordered["config"] == REFERENCE].to_dict("records"):
            said.append(f"twelve leads miss {value_with_interval(row, 'missed', 0)}")
        for row in ordered[ordered["config"] != REFERENCE].head(1).to_dict("records"):
            leads = ", ".join(resolve(row["config"]).leads)
            said.append(f"the set {leads} misses {value_with_interval(row, 'missed', 0)}")
        present = number(float(rows["present"].iloc[0]), 0)
        parts.append(f"{present} have {names[name]}: {', '.join(said)}")
    return joined_sentence("of 1,000 records " + "; ".join(parts))


def missed_by_class(missed: pd.DataFrame) -> Styler:
    """Show what each set misses of each diagnosis."""
    rows = missed[missed["class"].isin(diagnoses(missed["class"].unique()))]
    present = rows["present"].round().astype(int).astype(str)
    return by_class(rows.assign(**{"class": rows["class"] + ", of " + present}), "missed", 0)


COLUMNS = headings("config", "class", "missed", "difference", "specificity")
COLUMNS |= {"missed": "missed in 1,000", "difference": "more than twelve leads"}

DIGITS = {"missed": 1, "difference": 1}

MISSED = Question(
    name="missed",
    title="How many patients does each set miss?",
    tables={"missed": each_recipe(missed_table)},
    reading=lambda tables: missed_reading(tables["missed"], tables.classes),
    shown={"Missed of 1,000 records": of("missed", missed_by_class)},
    folded={
        "Missed, and the difference to twelve leads": of("missed", reading_table, COLUMNS, DIGITS)
    },
    note="Per 1,000 records, at the threshold of 90% specificity on the network's own validation "
    "records.",
)
