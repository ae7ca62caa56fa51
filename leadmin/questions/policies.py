"""What does each set reach where statements below 50% do not count?"""

from functools import partial

import pandas as pd
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import combine, interval_columns, with_seeds
from leadmin.evidence.scores import REFERENCE, Evidence, Row, Rows, Scored, compare, seed_variances
from leadmin.questions import Question, of
from leadmin.questions.margins import LABELS
from leadmin.show.words import headings, joined_sentence, number, reading_table


def policies_table(evidence: Evidence) -> pd.DataFrame:
    """Score each set under each label policy, trained as it was: a row for each recipe and policy.

    ``recipe, config, n_leads, labels``; macro ``auroc``, its ``difference`` to the 12 leads of the
    recipe and ``across``, that to the 12 leads of the second recipe, each with its interval over
    patients and, as ``_low_with_seeds`` and ``_high_with_seeds``, over patients and training;
    ``n_records, n_patients, n_seeds``. Without rows where the data know one policy.
    """
    if not evidence.relabelled:
        return pd.DataFrame()
    views = {evidence.label_policy: evidence} | dict(evidence.relabelled)
    tables = [view.table(view.scored.values(), partial(_rows, view)) for view in views.values()]
    return pd.concat(
        [table.assign(labels=labels) for labels, table in zip(views, tables, strict=True)],
        ignore_index=True,
    )


def _rows(view: Evidence, scored: Scored) -> Rows:
    row: Row = {}
    auroc, own = scored.macro("auroc"), scored.seed_variance("auroc")
    row |= interval_columns("auroc", auroc) | with_seeds("auroc", auroc, [own])
    if (REFERENCE, scored.recipe) in view.scored:
        lost = compare(view, scored.config, REFERENCE, scored.recipe)
        row |= interval_columns("difference", lost)
        seeds = seed_variances(view, scored.config, scored.recipe)
        row |= with_seeds("difference", lost, seeds)
    other = view.scored.get((REFERENCE, view.recipes[-1]))
    if other and other.recipe != scored.recipe:
        across = combine(lambda a, b: a - b, auroc, other.macro("auroc"))
        row |= interval_columns("across", across)
        row |= with_seeds("across", across, [own, other.seed_variance("auroc")])
    yield row


def policies_reading(table: pd.DataFrame) -> str:
    """Say what twelve leads reach under each policy, recipe by recipe."""
    if table.empty:
        return "These records know one reading of their labels."
    parts = [
        f"`{recipe}` {' and '.join(number(value) for value in rows['auroc'])}"
        for recipe, rows in table[table["config"] == REFERENCE].groupby("recipe", sort=False)
    ]
    policies = " and on ".join(LABELS[name] for name in table["labels"].unique())
    return joined_sentence(f"twelve leads reach, on {policies}, {'; '.join(parts)}")


def _shown(table: pd.DataFrame) -> Styler:
    columns = headings("config", "labels", "auroc", "difference")
    if "across" in table:
        columns |= {"across": "minus 12 leads of the second recipe"}
    return reading_table(table.replace({"labels": LABELS}), columns)


POLICIES = Question(
    name="policies",
    title="What does each set reach where unlikely statements do not count?",
    tables={"label_policies": policies_table},
    reading=lambda tables: policies_reading(tables.whole["label_policies"]),
    folded={"Each set under both label policies": of("label_policies", _shown)},
    note="The networks are the same. Records without a statement from 50% are left out there.",
)
