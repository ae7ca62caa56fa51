"""Do the original study's four key findings stand?"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence.estimates import (
    UNKNOWN,
    Estimate,
    FoldEstimate,
    combine,
    conjunction_test,
    smallest_resolvable_difference,
)
from leadmin.evidence.scores import MARGIN, REFERENCE, Evidence, Row, compare, named
from leadmin.labels import CLASSES
from leadmin.questions import (
    DEPENDS,
    OTHER_CLASSES,
    Question,
    Tables,
    about_superclasses,
    corrected,
    each_recipe,
    mean_of,
    of,
    read_of_superclasses,
    smaller_sets,
    with_firm,
)
from leadmin.questions.margins import views_table
from leadmin.show.words import (
    MISSING,
    P_FLOOR,
    headings,
    joined_sentence,
    latex_escape,
    latex_table,
    p_of_row,
    reading_table,
    shown,
)


def key_findings(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Ask the original study's four key findings again of these runs.

    Each part of a finding is a comparison and a threshold, fixed before any run was seen; where the
    claim is about several comparisons (best of all, worst of all) the weakest is shown. With a
    two-sided p value against the threshold, Holm-corrected over all parts under this recipe, it is
    *supported* where p < 0.05 on the claimed side, *not supported* where p < 0.05 on the other
    side, and *undecidable on these data* otherwise; *not asked* where the study lacks a run that
    the question needs. A finding of several parts is supported when all of them are, and not
    supported when one is not. One row per part.
    """
    table = corrected(pd.DataFrame([_asked(evidence, claim, recipe) for claim in CLAIMS]))
    decided, side = table["p_holm"] < 0.05, np.where(table.pop("inside") > 0, *VERDICTS[:2])
    table["verdict"] = np.where(decided, side, VERDICTS[2])
    table.loc[~table.pop("asked"), "verdict"] = VERDICTS[3]
    table["finding_verdict"] = table.groupby("finding")["verdict"].transform(_overall)
    floor = 2 / (evidence.n_resamples + 1)
    table["statement"] = [_sentence(row, floor) for row in table.to_dict("records")]
    return table


FINDINGS = {
    1: "Leads I, II and V2 keep the AUROC of 12 leads",
    2: "One chest lead is worth more than further limb leads",
    3: "One lead keeps about 93%; II is the best one and V2 the worst",
    4: "Hypertrophy suffers most when leads are few",
}
"""The original study's key findings; each has one or more parts among `CLAIMS`."""


VERDICTS = ("supported", "not supported", "undecidable on these data", "not asked")
"""The last one where the study lacks a run that the question needs."""


Comparisons = Callable[[Evidence, str], dict[str, Estimate]]


@dataclass(frozen=True)
class Claim:
    """One part of a key finding: what is compared, and where it must lie for the finding to hold.

    A claim such as "II is the best single lead" is one comparison with each of the others, and
    holds when all of them do: when each lies strictly between the ``bounds``.
    """

    part: str  # the number of the finding, and a letter
    question: str  # what is asked, open to either answer
    effect_name: str  # {rival} is the name of the comparison, {reduced} says how many sets are
    comparisons: Comparisons  # from an evidence and a recipe to an estimate per rival
    original: str  # what the original study reported, from its published sweep of one seed
    bounds: tuple[float, float] = (0.0, np.inf)
    shown_as: str = "difference"  # three decimals with a sign; or "share", in per cent

    def inside(self, estimate: Estimate) -> Callable[[Any], Any]:
        """How far an effect lies inside the bounds: positive where the claim holds."""
        low, high = self.bounds
        if isinstance(estimate, FoldEstimate):  # the mean of minima lies below the means
            nearer = estimate.value - low < high - estimate.value
            return lambda value: np.subtract(value, low) if nearer else np.subtract(high, value)
        return lambda value: np.minimum(np.subtract(value, low), np.subtract(high, value))

    @property
    def threshold(self) -> str:
        """The bounds in words."""
        low, high = (shown(bound, self.shown_as) for bound in self.bounds)
        if np.isinf(self.bounds[1]):
            return f"above {low}"
        return f"below {high}" if np.isinf(self.bounds[0]) else f"between {low} and {high}"


def _above(first: str, *rivals: str, turned: bool = False) -> Comparisons:
    """Macro AUROC of one configuration minus that of each of its rivals; ``turned``, of them."""
    pairs = {rival.removeprefix("1-lead-"): (first, rival) for rival in rivals}
    return lambda evidence, recipe: {
        name: compare(evidence, *(pair[::-1] if turned else pair), recipe)
        for name, pair in pairs.items()
    }


def _share_of_lead_ii(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
    sides = (named(evidence.get(name, recipe), "auroc") for name in ("1-lead-II", REFERENCE))
    return {REFERENCE: combine(metrics.retention, *sides)}


def _reduced_mean(evidence: Evidence, recipe: str, name: str) -> Estimate:
    """Mean AUROC of a class over the configurations with fewer than 12 leads."""
    reduced = evidence.reduced(recipe)
    if not reduced:
        raise LeadminError(
            f"recipe {recipe}: no configuration with fewer than 12 leads was trained; train one"
        )
    return mean_of(one.of_class("auroc", name) for one in reduced)


def _hardest(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
    """AUROC of each other class minus that of HYP, with fewer leads."""
    mean = {name: _reduced_mean(evidence, recipe, name) for name in CLASSES}
    own = mean.pop("HYP")
    return {name: combine(np.subtract, other, own) for name, other in mean.items()}


def _loses_most(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
    """AUROC that HYP loses with fewer leads minus what each other class loses."""
    full = evidence.get(REFERENCE, recipe)
    loss = {}
    for name in CLASSES:
        mean = _reduced_mean(evidence, recipe, name)
        loss[name] = combine(np.subtract, full.of_class("auroc", name), mean)
    own = loss.pop("HYP")
    return {name: combine(np.subtract, own, other) for name, other in loss.items()}


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "1a",
        "Do leads I, II and V2 keep the 12-lead AUROC, to within 0.01?",
        "macro AUROC, I-II-V2 minus 12 leads",
        _above("3-lead-I-II-V2", REFERENCE),
        "99.1% of the 12-lead macro AUROC kept (0.905 of 0.913)",
        (-MARGIN, np.inf),
    ),
    Claim(
        "2a",
        "Is one chest lead beside I and II worth more than all six limb leads?",
        "macro AUROC, I-II-V2 minus six limb leads",
        _above("3-lead-I-II-V2", "6-lead-limb"),
        "0.905 with I-II-V2, 0.889 with six limb leads",
    ),
    Claim(
        "2b",
        "As the third lead beside I and II, is V2 worth more than III?",
        "macro AUROC, I-II-V2 minus I-II-III",
        _above("3-lead-I-II-V2", "3-lead-I-II-III"),
        "0.905 with I-II-V2, 0.888 with I-II-III",
    ),
    Claim(
        "3a",
        "Does lead II alone keep about 93% of the 12-lead AUROC?",
        "macro AUROC of lead II as a share of 12 leads",
        _share_of_lead_ii,
        "93.7% with lead II, 93.2% with V5, 92.3% with I",
        (0.91, 0.95),
        "share",
    ),
    Claim(
        "3b",
        "Is lead II the best single lead of I, II, V2 and V5?",
        "macro AUROC, II minus {rival}, the best other single lead",
        _above("1-lead-II", "1-lead-V5", "1-lead-I", "1-lead-V2"),
        "0.856 with II; 0.851 with V5 as the next",
    ),
    Claim(
        "3c",
        "Is V2 the worst single lead of I, II, V2 and V5?",
        "macro AUROC, {rival} (the worst other single lead) minus V2",
        _above("1-lead-V2", "1-lead-II", "1-lead-V5", "1-lead-I", turned=True),
        "0.793 with V2; 0.842 with I as the next",
    ),
    Claim(
        "4a",
        "Is hypertrophy the hardest class when leads are few?",
        "AUROC, mean of {reduced}, {rival} (the next hardest class) minus HYP",
        _hardest,
        "HYP lowest of the five classes in nine of the ten reduced configurations",
    ),
    Claim(
        "4b",
        "Does hypertrophy lose more than any other class when leads are taken away?",
        "AUROC lost, mean of {reduced}, HYP minus {rival}, the next to lose most",
        _loses_most,
        "not in its own table: HYP lost 0.033 on average, MI 0.060",
    ),
)
"""The four key findings of the original study, restated before any run of this study was seen."""


def _asked(evidence: Evidence, claim: Claim, recipe: str) -> Row:
    """Effect, interval and p value of one question; NaN where a run is missing."""
    comparisons = {"any other": UNKNOWN}
    with contextlib.suppress(LeadminError):
        comparisons = claim.comparisons(evidence, recipe)
    inside = {rival: combine(claim.inside(one), one) for rival, one in comparisons.items()}
    rival, p = conjunction_test(inside)
    effect, asked = comparisons[rival], "any other" not in comparisons
    low, high = effect.interval()
    reduced, finding = smaller_sets(len(evidence.reduced(recipe))), int(claim.part[0])
    row: Row = {"finding": finding, "finding_name": FINDINGS[finding]}
    row |= {"part": claim.part, "recipe": recipe, "question": claim.question}
    row["effect_name"] = claim.effect_name.format(rival=rival, reduced=reduced)
    row |= {"effect": effect.value, "low": low, "high": high, "threshold": claim.threshold}
    row["p"] = p if asked else float("nan")
    row |= dict.fromkeys(("verdict", "finding_verdict", "statement"), "")
    row |= {"original": claim.original, "shown_as": claim.shown_as}
    row["smallest_resolvable"] = smallest_resolvable_difference(effect)
    row |= {"n_records": evidence.n_records, "n_patients": evidence.n_patients}
    row["n_seeds"] = min((one.n_seeds for one in evidence.under(recipe)), default=0)
    return row | {"inside": inside[rival].value, "asked": asked}


def firm_findings(evidence: Evidence) -> pd.DataFrame:
    """Ask the findings under each recipe, label policy and kind of interval.

    ``finding, part, recipe, effect, low, high, p, p_holm, verdict`` as in `key_findings`,
    ``labels``, ``intervals`` (over ``patients``, or over ``folds``), and ``firm``: the verdict that
    all of them share in which the part could be asked.
    """
    kept = ["finding", "part", "recipe", "effect", "low", "high", "p", "p_holm", "verdict"]
    tables = [
        key_findings(view, recipe)[kept].assign(labels=labels, intervals=intervals)
        for recipe in evidence.recipes
        for labels, intervals, view in evidence.views()
    ]
    return with_firm(pd.concat(tables, ignore_index=True), "part", VERDICTS[3])


def firm_reading(firm: pd.DataFrame) -> str:
    """Say which verdicts all recipes, label policies and kinds of interval share."""
    parts = firm.drop_duplicates("part").groupby("firm", sort=False)["part"].agg(", ".join)
    n_views = len(firm.drop_duplicates(["recipe", "labels", "intervals"]))
    said = "; ".join(f"{verdict}: {names}" for verdict, names in parts.items())
    return joined_sentence(f"{said} (over {n_views} readings, where a part could be asked)")


def _overall(verdicts: Iterable[str]) -> str:
    """Verdict on a finding from those on its parts."""
    found = set(verdicts)
    if VERDICTS[1] in found:
        return VERDICTS[1]
    return found.pop() if len(found) == 1 else VERDICTS[2]


def _sentence(row: dict[Any, Any], floor: float) -> str:
    """One sentence that answers a question with its numbers."""
    if np.isnan(row["effect"]):
        return f"This study lacks a run that the question needs: {row['verdict']}."
    name = row["effect_name"][0].upper() + row["effect_name"][1:]
    effect = effect_in_words(row, "{} (95% interval {} to {}; the claim needs a value ")
    p = p_of_row(row, "p_holm", floor, "p")
    return f"{name}: {effect}{row['threshold']}, Holm-corrected {p}): {row['verdict']}."


def findings_table(findings: pd.DataFrame) -> Styler:
    """Show the original study's key findings with what these runs say of them."""
    here = [
        f"{row['effect_name']}: {effect_in_words(row, '{} [{}, {}]')}"
        if np.isfinite(row["effect"])
        else "this study lacks a run that the question needs"
        for row in findings.to_dict("records")
    ]
    columns = {"part": ""} | headings("question", "verdict", "here", threshold="the claim needs")
    columns |= headings("p_holm", original="the original")
    columns |= headings("recipe") if findings["recipe"].nunique() > 1 else {}
    return reading_table(findings.assign(here=here), columns, kind="findings")


def findings_reading(findings: pd.DataFrame) -> str:
    """Give the verdict on each finding with all of its parts, recipe by recipe."""
    parts, whole = [], findings.drop_duplicates(["recipe", "finding"])
    for recipe, rows in whole.groupby("recipe", sort=False):
        verdicts = rows["finding_verdict"].value_counts()
        counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if name in verdicts)
        said = rows.agg("{0[finding]}. {0[finding_name]}: **{0[finding_verdict]}**".format, axis=1)
        parts += [f"Recipe `{recipe}`: of {verdicts.sum()} findings {counts}.", "\n".join(said)]
    return "\n\n".join(parts)


def findings_latex(findings: pd.DataFrame, stands_on: str) -> str:
    """Typeset the key findings of all recipes and their verdicts."""
    if findings.empty:
        return f"% {OTHER_CLASSES}\n"
    rows = []
    for row in findings.to_dict("records"):
        p = p_of_row(row, "p_holm", findings.attrs.get(P_FLOOR, 0))
        effect = effect_in_words(row, "{} ({} to {})")
        cells = (row["question"], effect, row["threshold"], p, row["verdict"])
        rows.append((row["recipe"], row["part"], *map(latex_escape, cells)))
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
    others = findings.query("recipe != @tables.recipe") if len(findings) else findings
    return findings_table(others) if len(others) else None


def _verdicts(tables: Tables) -> Styler | None:
    firm = tables.whole["firm_findings"]
    short = ("holds", "falls", "open", MISSING, "no")
    said = firm.replace(dict(zip((*VERDICTS, DEPENDS), short, strict=True)))
    return views_table(said, "part") if len(firm) else None


FINDINGS_AGAIN = Question(
    name="findings",
    title="Do the original study's four key findings stand?",
    tables={"key_findings": about_superclasses(each_recipe(key_findings))},
    reading=read_of_superclasses(lambda t: findings_reading(t.whole["key_findings"])),
    shown={"The four key findings, asked again": of("key_findings", findings_table)},
    folded={"The same questions under the other recipe": _under_other_recipes},
    latex={"table_findings.tex": lambda t, basis: findings_latex(t.whole["key_findings"], basis)},
)

FIRM = Question(
    name="firm",
    title="Which of these verdicts are firm?",
    tables={"firm_findings": about_superclasses(firm_findings)},
    reading=read_of_superclasses(lambda t: firm_reading(t.whole["firm_findings"])),
    shown={"Verdicts under every reading": _verdicts},
)
