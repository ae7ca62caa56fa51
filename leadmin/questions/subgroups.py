"""For whom does it hold?"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from pandas.io.formats.style import Styler

from leadmin import metrics
from leadmin.data.dataset import EcgDataset
from leadmin.data.quality import assess
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.estimates import UNKNOWN, Estimate, combine, interval_columns, of_columns
from leadmin.evidence.scores import REFERENCE, Evidence, Row, Rows, matched, under_other_labels
from leadmin.files import atomic_path
from leadmin.labels import LABEL_POLICIES
from leadmin.questions import FOLLOWED, Question, corrected, each_recipe, of
from leadmin.show import style
from leadmin.show.words import headings, joined_sentence, reading_table, signed
from leadmin.study.sources import open_dataset

COMPARED = "3-lead-I-II-V2"
"""The configuration whose difference to twelve leads is followed through the subgroups."""


MIN_POSITIVES = 20
"""Fewer positive or negative test records of a class than this in a subgroup: no claim is made."""


AGE_BANDS = {"under 40": (0, 40), "40-60": (40, 60), "60-75": (60, 75), "75 and over": (75, 400)}
"""Years, lower bound included. PTB-XL codes ages above 89 as 300."""


def demographic_groups(age: ArrayLike, sex: ArrayLike) -> dict[str, NDArray[np.str_]]:
    """Sort records into ``sex`` and ``age``; the empty string where unknown.

    Age in years, NaN where unknown, and sex as in `leadmin.data.dataset.EcgDataset`.
    """
    years, code = np.asarray(age, dtype=np.float64), np.asarray(sex)
    bands = [(low <= years) & (years < high) for low, high in AGE_BANDS.values()]
    return {
        "sex": np.select([code == 0, code == 1], ["male", "female"], ""),
        "age": np.select(bands, list(AGE_BANDS), ""),
    }


def record_groups(dataset: EcgDataset, evidence: Evidence) -> dict[str, NDArray[np.str_]]:
    """Sort the test records of a study into the subgroups that its data describe.

    For `subgroup_table`, in the order of ``evidence.record_id``: ``all`` (every record), ``sex``,
    ``age``, ``device`` and ``site`` as PTB-XL names them (those with fewer than `MIN_POSITIVES`
    test records taken together), and ``signal`` (``no mark`` or ``marked`` by a rule of
    `leadmin.data.quality`); the empty string where unknown. It is refused if a test record is
    missing from the data or belongs to another patient there; other records are ignored.
    """
    tested = dataset.select(matched(dataset, evidence))
    marked = assess(tested).records["any_rule"].to_numpy(dtype=bool)
    device = tested.metadata["device"].fillna("").astype(str).str.split().str.join(" ")
    site = tested.metadata["site"]
    return {
        "all": np.full(len(marked), "all records"),
        **demographic_groups(tested.age, tested.sex),
        "device": _with_rare_as(device.to_numpy(), "other devices"),
        "site": _with_rare_as(np.where(site < 0, "", "site " + site.astype(str)), "other sites"),
        "signal": np.where(marked, "marked", "no mark"),
    }


def _with_rare_as(names: NDArray[Any], other: str) -> NDArray[np.str_]:
    """Take names with too few records for any claim together."""
    values = pd.Series(names.astype(str))
    count = values.map(values.value_counts())
    return values.mask((values != "") & (count < MIN_POSITIVES), other).to_numpy(dtype=np.str_)


def describe_records(dataset: EcgDataset, evidence: Evidence) -> pd.DataFrame:
    """Say of each test record what an analysis asks beside its predictions.

    ``record_id``; the subgroups of `record_groups`; and under each label policy that the data know
    the classes that it has, parted by semicolons.
    """
    place = matched(dataset, evidence)
    table = pd.DataFrame({"record_id": evidence.record_id, **record_groups(dataset, evidence)})
    for policy in dataset.policies:
        marked, names = dataset.labels[policy][place].astype(bool), np.array(dataset.classes)
        table[policy] = [";".join(names[row]) for row in marked]
    return table.astype(str)


def with_described(evidence: Evidence, table: pd.DataFrame) -> Evidence:
    """Add the subgroups and other label policies of a table that `describe_records` made."""
    policies = [name for name in LABEL_POLICIES if name in table]
    marked = {name: table[name].str.get_dummies(";") for name in policies}
    labels = {
        name: one.reindex(columns=list(evidence.classes), fill_value=0).to_numpy(dtype=np.uint8)
        for name, one in marked.items()
    }
    own = labels.pop(evidence.label_policy, None)
    same = np.array_equal(table["record_id"], evidence.record_id.astype(str))
    if own is None or not same or not np.array_equal(own, evidence.labels):
        raise LeadminError(
            f"records: they or their labels are not the {evidence.n_records} of these runs; valid: "
            "what was written of the same data; give the file that the runs were made from as data"
        )
    groups = table.drop(columns=["record_id", *policies])
    return replace(
        evidence,
        groups={str(name): groups[name].to_numpy(dtype=np.str_) for name in groups},
        relabelled=under_other_labels(evidence, labels),
    )


def know_records(evidence: Evidence, data: str, kept: Path, target: Path) -> Evidence:
    """Add what is known of the test records: from prepared data, or as an analysis has kept it.

    With ``data`` it is left in the file ``target``; else it comes from the file ``kept``, if that
    is there; one that is damaged or of other records is refused.
    """
    if data:
        table = describe_records(open_dataset(data), evidence)
        with atomic_path(target) as temporary:
            table.to_csv(temporary, index=False, compression={"method": "gzip", "mtime": 1})
        return with_described(evidence, table)
    if not kept.is_file():
        return evidence
    try:
        return with_described(evidence, pd.read_csv(kept, dtype=str, keep_default_na=False))
    except LeadminError:
        raise
    except Exception as error:  # pandas raises whatever a damaged file leads it to
        raise LeadminError(
            f"{kept}: not what an analysis writes ({type(error).__name__}: {str(error)[:200]}); "
            "valid: the file beside its tables; give the prepared records as data"
        ) from error


def subgroup_table(
    evidence: Evidence,
    recipe: str = "default",
    configs: Sequence[str] = FOLLOWED,
) -> pd.DataFrame:
    """Macro AUROC within subgroups, and whether the loss of leads differs between them.

    The subgroups are those of ``evidence.groups``, as `record_groups` gives them; an empty string
    is left out. A subgroup with fewer than `MIN_POSITIVES` positive or negative records of any
    class is listed with its counts and no value. The test of interaction asks whether the
    difference to the 12 leads in the subgroup is another than in all other records of known
    subgroup; of two subgroups only the first has it, since the second's would be the same.

    ``recipe, grouping, subgroup, config, n_leads, n_records, n_patients, fewest_positives, enough``
    (bool), ``auroc, difference, interaction``, each with ``_low`` and ``_high``, ``interaction_p,
    interaction_p_holm`` (over all subgroups and configurations), ``n_seeds``.
    """
    rows: list[Row] = []
    for grouping, values in evidence.groups.items():
        subgroup = np.asarray(values).astype(str)
        levels = sorted(set(subgroup) - {""}, key=_level_order)
        for level in levels:
            inside = subgroup == level
            rest = (subgroup != "") & ~inside
            if len(levels) == 2 and level == levels[1]:
                rest = np.zeros_like(inside)  # the test against the other level is made already
            head = {"recipe": recipe, "grouping": grouping, "subgroup": level}
            rows += _subgroup_rows(evidence, head, configs, inside, rest)
    return corrected(pd.DataFrame(rows), "interaction_p")


def _level_order(level: str) -> tuple[bool, bool, list[str | int]]:
    """By the numbers in the name; "under ..." comes first and "other ..." last."""
    pieces = re.split(r"(\d+)", level)
    parts: list[str | int] = [int(p) if p.isdigit() else p for p in pieces]
    return level.startswith("other"), not level.startswith("under "), parts


def _subgroup_rows(
    evidence: Evidence,
    head: Row,
    configs: Sequence[str],
    inside: NDArray[np.bool_],
    rest: NDArray[np.bool_],
) -> Rows:
    """One row per configuration for one subgroup, of those inside and those to set against them."""
    recipe, fewest = head["recipe"], _fewest(evidence, inside)
    enough, enough_rest = fewest >= MIN_POSITIVES, _fewest(evidence, rest) >= MIN_POSITIVES
    size = {"n_records": int(inside.sum())}
    size |= {"n_patients": len(np.unique(evidence.patient_id[inside])), "fewest_positives": fewest}

    @cache
    def score(config: str, is_inside: bool) -> Estimate:
        return _subset_auroc(evidence, config, recipe, inside if is_inside else rest)

    for config in configs:
        if (config, recipe) not in evidence.scored:
            continue
        scored = evidence.get(config, recipe)
        found = dict.fromkeys(("auroc", "difference", "interaction"), UNKNOWN)
        if enough:
            found["auroc"] = score(config, True)
        if enough and config != REFERENCE and (REFERENCE, recipe) in evidence.scored:
            sides = (True, False) if enough_rest else (True,)
            lost = [combine(np.subtract, score(config, of), score(REFERENCE, of)) for of in sides]
            found["difference"] = lost[0]
            found["interaction"] = combine(np.subtract, *lost) if enough_rest else UNKNOWN
        row = head | {"config": config, "n_leads": len(scored.leads), **size, "enough": enough}
        for name, estimate in found.items():
            row |= interval_columns(name, estimate)
        yield row | {"interaction_p": found["interaction"].p(), "n_seeds": scored.n_seeds}


def _fewest(evidence: Evidence, mask: NDArray[np.bool_]) -> int:
    """Fewest records of either label value over all classes."""
    positives = evidence.labels[mask].sum(axis=0, dtype=np.int64)
    return int(np.minimum(positives, mask.sum() - positives).min())


def _subset_auroc(
    evidence: Evidence, config: str, recipe: str, mask: NDArray[np.bool_]
) -> Estimate:
    """Macro AUROC of some of the records, mean over seeds."""
    columns, labels = evidence.columns[mask], evidence.labels[mask]

    def macro(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        pairs = zip(labels.T, logits.T, strict=True)
        return metrics.macro([resampling.weighted_auroc(y, x, columns) for y, x in pairs], axis=0)

    of_seeds = evidence.runs[config].test.logits[recipe][:, mask]
    values = np.mean([macro(logits) for logits in of_seeds], axis=0)
    return of_columns(values, evidence.n_resamples)


def subgroup_reading(subgroups: pd.DataFrame) -> str:
    """Say in how many subgroups anything can be said, and whether the loss differs between them."""
    if subgroups.empty:
        return "Subgroups are not shown here: no data file was given."
    if COMPARED not in set(subgroups["config"]):
        return f"Subgroups are not shown here: the run `{COMPARED}` is missing."
    rows = subgroups[(subgroups["config"] == COMPARED) & (subgroups["grouping"] != "all")]
    enough = rows[rows["enough"] & rows["difference"].notna()]
    text = f"{len(enough)} of {len(rows)} subgroups hold enough records of every class for a value"
    if len(enough):
        ends = list(dict.fromkeys(signed(end) for end in enough["difference"].agg(["min", "max"])))
        text += f"; there `{COMPARED}` differs from twelve leads by {' to '.join(ends)}"
        p = enough["interaction_p_holm"].dropna()
        text += (
            f"; in {(p < 0.05).sum() or 'none'} of {len(p)} that can be tested is the loss shown "
            "to be another than in the other records, Holm's correction included"
            if len(p)
            else ", and no group can be tested against the other records"
        )
    return joined_sentence(text)


COLUMNS = {"subgroup": "records", "config": "configuration", "n_records": "n"}
COLUMNS |= headings("n_patients", fewest_positives="rarest", auroc="macro AUROC")
COLUMNS |= headings("difference", interaction="minus that of the others")
COLUMNS |= {"interaction_p_holm": "p (Holm)"}


def _report(rows: pd.DataFrame) -> Styler:
    """One line says that a subgroup is too small, whatever the leads."""
    rows = rows[rows["enough"] | ~rows.duplicated(["grouping", "subgroup"])]
    rows = rows.assign(
        subgroup=rows["grouping"] + ": " + rows["subgroup"],
        config=rows["config"].where(rows["enough"], "any (too few)"),
    )
    return reading_table(rows, COLUMNS)


def plot_subgroups(table: pd.DataFrame) -> Figure | None:
    """Draw the difference of `COMPARED` to twelve leads in each subgroup of records.

    Of a `subgroup_table` of one recipe. Where a class has too few records for a value, this is said
    in its place.
    """
    rows = table[table["config"] == COMPARED].reset_index(drop=True)
    if rows.empty:
        return None
    grouping, repeated = rows["grouping"], rows["grouping"].duplicated()
    alone = repeated | grouping.isin(["all", "site"])
    names = rows["subgroup"].where(alone, grouping + ": " + rows["subgroup"])
    figure, (axis,) = style.row_figure(names, row=0.235, head=1.2)
    axis.axvline(0, **style.ZERO)
    for place in rows.index[~repeated][1:]:
        axis.axhline(place - 0.5, color=style.FAINT, linewidth=0.7)
    values = style.bounds(rows, "difference").where(rows["enough"].astype(bool), axis=0)
    style.forest(axis, values, "difference")
    for points, heading, name in ((44, "records", "n_records"), (96, "rarest", "fewest_positives")):
        style.beside(axis, points, heading, rows[name].map("{:,}".format).to_dict(), ha="right")
    found = values.dropna(subset="difference")
    style.beside(axis, 112, "difference (95% interval)", style.in_words(found, "difference"))
    few = rows.index.difference(found.index)
    style.beside(axis, 112, None, dict.fromkeys(few, "too few for a value"), color=style.MUTED)
    if found.empty:
        axis.set_xlim(-0.1, 0.1)
    axis.set_xlabel(f"macro AUROC, {COMPARED} minus {REFERENCE}")
    return figure


SUBGROUPS = Question(
    name="subgroups",
    title="For whom does it hold?",
    tables={"subgroups": each_recipe(subgroup_table)},
    reading=lambda tables: subgroup_reading(tables["subgroups"]),
    figures={"subgroups": of("subgroups", plot_subgroups)},
    folded={"The subgroups of other lead sets": of("subgroups", reading_table, COLUMNS)},
    report=of("subgroups", _report),
    note=f"A subgroup in which a class has fewer than {MIN_POSITIVES} positive or negative records "
    "(*rarest*) is listed with its counts and without a value.",
)
