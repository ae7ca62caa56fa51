"""Do the original study's four key findings stand?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.scores import (
    MARGIN,
    REFERENCE,
    Estimate,
    Evidence,
    combine,
    compare,
    conjunction_test,
    named,
    reduced_sets,
    smallest_resolvable_difference,
)
from leadmin.labels import CLASSES
from leadmin.questions import Question, Tables, each_recipe
from leadmin.show.words import (
    latex_escape,
    latex_table,
    p_value,
    shown,
    styled_table,
)


def key_findings(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Ask the original study's four key findings again of these runs.

    Each part of a finding is a comparison and a threshold, fixed before any run was seen; where the
    claim is about several comparisons (best of all, worst of all) the weakest is shown. With a
    two-sided p value against the threshold, Holm-corrected over all parts under this recipe, it is
    *supported* where p < 0.05 on the claimed side, *not supported* where p < 0.05 on the other
    side, and *undecidable on these data* otherwise; *not asked* where the study lacks a run that
    the question needs. A finding of several parts is supported when all of them are, and not
    supported when one is not.

    Returns
    -------
    DataFrame
        One row per part, with the columns `FINDING_COLUMNS`: among them ``finding`` (1-4),
        ``effect`` with ``low`` and ``high``, ``threshold`` (in words), ``p``, ``p_holm``,
        ``verdict``, ``finding_verdict``, ``statement`` and ``original`` (what the original study
        reported).
    """
    parts = [_asked(evidence, question, recipe) for question in CLAIMS]
    table = pd.DataFrame(parts)
    table["p_holm"] = resampling.holm(table["p"])
    table["verdict"] = [
        _verdict(inside, p) for inside, p in zip(table["inside"], table["p_holm"], strict=True)
    ]
    table.loc[~table.pop("asked"), "verdict"] = VERDICTS[3]
    overall = {
        finding: _overall(list(rows["verdict"])) for finding, rows in table.groupby("finding")
    }
    table["finding_verdict"] = table["finding"].map(overall)
    table["statement"] = [
        _sentence(question, row)
        for question, (_, row) in zip(CLAIMS, table.iterrows(), strict=True)
    ]
    scored = [s for (_, r), s in evidence.scored.items() if r == recipe]
    table["n_records"] = evidence.n_records
    table["n_patients"] = evidence.n_patients
    table["n_seeds"] = min((s.n_seeds for s in scored), default=0)
    return table[list(FINDING_COLUMNS)]


FINDINGS = {
    1: "Leads I, II and V2 keep the AUROC of 12 leads",
    2: "One chest lead is worth more than further limb leads",
    3: "One lead keeps about 93%; II is the best one and V2 the worst",
    4: "Hypertrophy suffers most when leads are few",
}
"""The original study's key findings; each has one or more parts among `CLAIMS`."""


FINDING_COLUMNS = (
    "finding",
    "finding_name",
    "part",
    "recipe",
    "question",
    "effect_name",
    "effect",
    "low",
    "high",
    "threshold",
    "p",
    "p_holm",
    "verdict",
    "finding_verdict",
    "statement",
    "original",
    "shown_as",
    "smallest_resolvable",
    "n_records",
    "n_patients",
    "n_seeds",
)


VERDICTS = ("supported", "not supported", "undecidable on these data", "not asked")
"""The last one where the study lacks a run that the question needs."""


Comparisons = Callable[[Evidence, str], dict[str, Estimate]]


@dataclass(frozen=True)
class Claim:
    """One part of a key finding: what is compared, and where it must lie for the finding to hold.

    A claim such as "II is the best single lead" is one comparison with each of the others, and
    holds when all of them do.

    Attributes
    ----------
    finding : int
        1 to 4.
    part : str
        ``"1a"`` and so on.
    question : str
        What is asked, open to either answer.
    effect_name : str
        What the number is; ``{rival}`` stands for the name of the comparison, ``{reduced}`` for the
        number of configurations with fewer than 12 leads.
    comparisons : callable
        From an `Evidence` and a recipe to an `Estimate` per rival.
    bounds : (float, float)
        The claim is that every comparison lies strictly between these (one may be infinite).
    shown_as : str
        ``"difference"`` (three decimals with a sign) or ``"share"`` (per cent).
    original : str
        What the original study reported, from its published sweep of one seed.
    """

    finding: int
    part: str
    question: str
    effect_name: str
    comparisons: Comparisons
    bounds: tuple[float, float]
    shown_as: str
    original: str

    def inside(self, value: Any) -> Any:
        """How far the effect lies inside the bounds: positive where the claim holds."""
        return np.minimum(np.subtract(value, self.bounds[0]), np.subtract(self.bounds[1], value))

    @property
    def threshold(self) -> str:
        """The bounds in words."""
        low, high = (shown(bound, self.shown_as) for bound in self.bounds)
        if np.isinf(self.bounds[1]):
            return f"above {low}"
        return f"below {high}" if np.isinf(self.bounds[0]) else f"between {low} and {high}"


def _pair(first: str, second: str) -> Comparisons:
    """Macro AUROC of one configuration minus that of another."""
    return lambda evidence, recipe: {second: compare(evidence, first, second, recipe)}


def _retention_of(config: str) -> Comparisons:
    return lambda evidence, recipe: {
        REFERENCE: combine(
            metrics.retention,
            named(evidence.get(config, recipe), "auroc"),
            named(evidence.get(REFERENCE, recipe), "auroc"),
        )
    }


def _single_leads(lead: str, others: Sequence[str], sign: int) -> Comparisons:
    """Macro AUROC of a single lead minus (``sign`` 1) or below (-1) that of each other one."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        return {
            other: combine(
                lambda a: sign * a, compare(evidence, f"1-lead-{lead}", f"1-lead-{other}", recipe)
            )
            for other in others
        }

    return comparisons


def _reduced_mean(evidence: Evidence, recipe: str, metric: str) -> Estimate:
    """Mean of a metric over the configurations with fewer than 12 leads."""
    reduced = reduced_sets(evidence, recipe)
    if not reduced:
        raise LeadminError(
            f"recipe {recipe}: no configuration with fewer than 12 leads was trained; train one"
        )
    return combine(lambda *v: np.mean(v, axis=0), *(named(s, metric) for s in reduced))


def _hardest(name: str) -> Comparisons:
    """AUROC of each other class minus that of ``name``, with fewer leads."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        own = _reduced_mean(evidence, recipe, f"auroc_{name}")
        return {
            other: combine(np.subtract, _reduced_mean(evidence, recipe, f"auroc_{other}"), own)
            for other in CLASSES
            if other != name
        }

    return comparisons


def _loses_most(name: str) -> Comparisons:
    """AUROC that ``name`` loses with fewer leads minus what each other class loses."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        def loss(c: str) -> Estimate:
            full = named(evidence.get(REFERENCE, recipe), f"auroc_{c}")
            return combine(np.subtract, full, _reduced_mean(evidence, recipe, f"auroc_{c}"))

        own = loss(name)
        return {other: combine(np.subtract, own, loss(other)) for other in CLASSES if other != name}

    return comparisons


CLAIMS: tuple[Claim, ...] = (
    Claim(
        1,
        "1a",
        "Do leads I, II and V2 keep the 12-lead AUROC, to within 0.01?",
        "macro AUROC, I-II-V2 minus 12 leads",
        _pair("3-lead-I-II-V2", REFERENCE),
        (-MARGIN, np.inf),
        "difference",
        "99.1% of the 12-lead macro AUROC kept (0.905 of 0.913)",
    ),
    Claim(
        2,
        "2a",
        "Is one chest lead beside I and II worth more than all six limb leads?",
        "macro AUROC, I-II-V2 minus six limb leads",
        _pair("3-lead-I-II-V2", "6-lead-limb"),
        (0.0, np.inf),
        "difference",
        "0.905 with I-II-V2, 0.889 with six limb leads",
    ),
    Claim(
        2,
        "2b",
        "As the third lead beside I and II, is V2 worth more than III?",
        "macro AUROC, I-II-V2 minus I-II-III",
        _pair("3-lead-I-II-V2", "3-lead-I-II-III"),
        (0.0, np.inf),
        "difference",
        "0.905 with I-II-V2, 0.888 with I-II-III",
    ),
    Claim(
        3,
        "3a",
        "Does lead II alone keep about 93% of the 12-lead AUROC?",
        "macro AUROC of lead II as a share of 12 leads",
        _retention_of("1-lead-II"),
        (0.91, 0.95),
        "share",
        "93.7% with lead II, 93.2% with V5, 92.3% with I",
    ),
    Claim(
        3,
        "3b",
        "Is lead II the best single lead of I, II, V2 and V5?",
        "macro AUROC, II minus {rival}, the best other single lead",
        _single_leads("II", ("V5", "I", "V2"), 1),
        (0.0, np.inf),
        "difference",
        "0.856 with II; 0.851 with V5 as the next",
    ),
    Claim(
        3,
        "3c",
        "Is V2 the worst single lead of I, II, V2 and V5?",
        "macro AUROC, {rival} (the worst other single lead) minus V2",
        _single_leads("V2", ("II", "V5", "I"), -1),
        (0.0, np.inf),
        "difference",
        "0.793 with V2; 0.842 with I as the next",
    ),
    Claim(
        4,
        "4a",
        "Is hypertrophy the hardest class when leads are few?",
        "AUROC, mean of {reduced} smaller sets, {rival} (the next hardest class) minus HYP",
        _hardest("HYP"),
        (0.0, np.inf),
        "difference",
        "HYP lowest of the five classes in nine of the ten reduced configurations",
    ),
    Claim(
        4,
        "4b",
        "Does hypertrophy lose more than any other class when leads are taken away?",
        "AUROC lost, mean of {reduced} smaller sets, HYP minus {rival}, the next to lose most",
        _loses_most("HYP"),
        (0.0, np.inf),
        "difference",
        "not in its own table: HYP lost 0.033 on average, MI 0.060",
    ),
)
"""The four key findings of the original study, restated before any run of this study was seen."""


def _asked(evidence: Evidence, question: Claim, recipe: str) -> dict[str, Any]:
    """Effect, interval and p value of one question; NaN where a run is missing."""
    row: dict[str, Any] = {
        "finding": question.finding,
        "finding_name": FINDINGS[question.finding],
        "part": question.part,
        "recipe": recipe,
        "question": question.question,
        "threshold": question.threshold,
        "shown_as": question.shown_as,
        "original": question.original,
        "asked": True,
    }
    n_reduced = len(reduced_sets(evidence, recipe))
    try:
        comparisons = question.comparisons(evidence, recipe)
    except LeadminError:
        missing = ("effect", "low", "high", "p", "smallest_resolvable", "inside")
        name = question.effect_name.format(rival="any other", reduced=n_reduced)
        return row | {"effect_name": name, "asked": False} | dict.fromkeys(missing, float("nan"))
    inside = {rival: combine(question.inside, estimate) for rival, estimate in comparisons.items()}
    rival, p = conjunction_test(inside)
    effect = comparisons[rival]
    low, high = effect.interval()
    return row | {
        "effect_name": question.effect_name.format(rival=rival, reduced=n_reduced),
        "effect": effect.value,
        "low": low,
        "high": high,
        "p": p,
        "smallest_resolvable": smallest_resolvable_difference(effect),
        "inside": inside[rival].value,
    }


def _verdict(inside: float, p: float, alpha: float = 0.05) -> str:
    """Which way the data fall, if they do."""
    if np.isnan(p) or p >= alpha:
        return VERDICTS[2]
    return VERDICTS[0] if inside > 0 else VERDICTS[1]


def _overall(verdicts: Sequence[str]) -> str:
    """Verdict on a finding from those on its parts."""
    if VERDICTS[1] in verdicts:
        return VERDICTS[1]
    return verdicts[0] if len(set(verdicts)) == 1 else VERDICTS[2]


def _sentence(question: Claim, row: pd.Series) -> str:
    """One sentence that answers a question with its numbers."""
    if np.isnan(row["effect"]):
        return f"This study lacks a run that the question needs: {row['verdict']}."
    effect, low, high = (shown(row[key], question.shown_as) for key in ("effect", "low", "high"))
    p = p_value(row["p_holm"], "p")
    name = row["effect_name"][0].upper() + row["effect_name"][1:]
    return (
        f"{name}: {effect} (95% interval {low} to {high}; the claim needs a value "
        f"{question.threshold}, Holm-corrected {p}): {row['verdict']}."
    )


def findings_table(findings: pd.DataFrame) -> Styler:
    """Show the original study's key findings with what these runs say of them."""
    rows = findings.to_dict("records")
    table = {
        "": [row["part"] for row in rows],
        "question": [row["question"] for row in rows],
        "verdict": [row["verdict"] for row in rows],
        "here": [
            f"{row['effect_name']}: {effect_in_words(row, '{} [{}, {}]')}"
            if np.isfinite(row["effect"])
            else "this study lacks a run that the question needs"
            for row in rows
        ],
        "the claim needs": [row["threshold"] for row in rows],
        "p (Holm)": [p_value(row["p_holm"]) for row in rows],
        "the original": [row["original"] for row in rows],
    }
    if findings["recipe"].nunique() > 1:
        table["recipe"] = findings["recipe"].to_list()
    return styled_table(pd.DataFrame(table), "findings")


def findings_reading(findings: pd.DataFrame) -> str:
    """Give the verdict on each finding with all of its parts, recipe by recipe."""
    parts = []
    for recipe, rows in findings.drop_duplicates(["recipe", "finding"]).groupby(
        "recipe", sort=False
    ):
        verdicts = rows["finding_verdict"].value_counts()
        counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if name in verdicts)
        parts.append(f"Recipe `{recipe}`: of {verdicts.sum()} findings {counts}.")
        parts.append(
            "\n".join(
                f"{row['finding']}. {row['finding_name']}: **{row['finding_verdict']}**"
                for row in rows.to_dict("records")
            )
        )
    return "\n\n".join(parts)


def findings_latex(findings: pd.DataFrame, stands_on: str) -> str:
    """Typeset the key findings of all recipes and their verdicts."""
    rows = [
        (
            row["recipe"],
            row["part"],
            latex_escape(row["question"]),
            latex_escape(effect_in_words(row, "{} ({} to {})")),
            latex_escape(row["threshold"]),
            latex_escape(p_value(row["p_holm"])),
            latex_escape(row["verdict"]),
        )
        for row in findings.to_dict("records")
    ]
    heading = r" & Question & Effect (95\% interval) & Claim needs & $p$ (Holm) & Verdict"
    caption = (
        "The original study's key findings as questions with thresholds fixed beforehand. $p$: "
        "two-sided against the threshold, Holm-corrected within the recipe. "
        + latex_escape(stands_on)
    )
    ragged = r">{\raggedright\arraybackslash}"
    widths = ("p{0.29\\linewidth}", "p{0.2\\linewidth}", "p{0.12\\linewidth}")
    spec = f"l {' '.join(ragged + width for width in widths)} l {ragged}p{{0.14\\linewidth}}"
    return latex_table(spec, heading, rows, caption, "tab:findings")


def effect_in_words(row: Mapping[Any, Any], form: str) -> str:
    """Effect of a key finding with its interval; a dash where it could not be had."""
    value, *bounds = (shown(row[key], row["shown_as"]) for key in ("effect", "low", "high"))
    return form.format(value, *bounds) if np.isfinite(row["effect"]) else value


def _under_other_recipes(tables: Tables) -> Styler | None:
    findings = tables.whole["key_findings"]
    others = findings[findings["recipe"] != tables.recipe]
    return findings_table(others) if len(others) else None


FINDINGS_AGAIN = Question(
    name="findings",
    title="Do the original study's four key findings stand?",
    tables={"key_findings": each_recipe(key_findings)},
    reading=lambda tables: findings_reading(tables.whole["key_findings"]),
    shown={"Key findings": lambda tables: findings_table(tables["key_findings"])},
    folded={"Show the same questions under the other recipe": _under_other_recipes},
    latex={
        "table_findings.tex": lambda tables, basis: findings_latex(
            tables.whole["key_findings"], basis
        )
    },
    place=30,
)
