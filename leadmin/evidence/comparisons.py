"""Is one lead set as good as another? Margins, ranks, controls, subgroups and second opinions.

Everything here reads the paired resamples of an `Evidence`. A verdict is one of three: what was
claimed holds, its opposite holds, or these data cannot tell; and beside each difference stands the
smallest one that the data could have shown.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control, t

from leadmin import metrics
from leadmin.data.dataset import EcgDataset
from leadmin.data.quality import assess
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.scores import (
    LEVEL,
    MARGIN,
    REFERENCE,
    Estimate,
    Evidence,
    Scored,
    combine,
    compare,
    interval_columns,
    reduced_sets,
    relative_to_reference,
    signed,
    smallest_resolvable_difference,
)
from leadmin.labels import CLASSES

MARGINS = (MARGIN, 0.005, 0.02)
"""Non-inferiority margins in macro AUROC: the primary one, then two for sensitivity."""

NEGATIVE_CONTROLS = (("6-lead-limb", "2-lead-I-II"), ("3-lead-I-II-III", "2-lead-I-II"))
"""Pairs that carry the same information, since every limb lead is a combination of I and II."""

MIN_POSITIVES = 20
"""Fewer positive or negative test records of a class than this in a subgroup: no claim is made."""

TRAIN_FOLDS = 8
"""Of ten patient folds one tests, one validates and these train."""

AGE_BANDS = ((0, 40), (40, 60), (60, 75), (75, 400))
"""Years, lower bound included. PTB-XL codes ages above 89 as 300."""


def non_inferiority_table(
    evidence: Evidence, recipe: str = "default", margins: Sequence[float] = MARGINS
) -> pd.DataFrame:
    """Test each configuration for non-inferiority to the 12 leads in macro AUROC.

    Non-inferior at a margin means: the lower end of the two-sided 95% interval of the paired
    difference, which is a one-sided 97.5% bound, lies above minus the margin. It is inferior where
    the whole interval lies below minus the margin, and undecided otherwise.

    Returns
    -------
    DataFrame
        One row per margin and configuration: ``recipe, config, n_leads, margin, primary`` (bool),
        ``difference, low, high, p`` (one-sided, of "inferior by the margin or more"; compare with
        0.025), ``p_holm`` (over the configurations, within the margin), ``verdict`` (by the
        interval: ``non-inferior``, ``inferior`` or ``undecided``), ``holds_corrected`` (bool:
        non-inferior after Holm's correction too), ``smallest_resolvable, n_records, n_patients,
        n_seeds``. Empty without a 12-lead run.
    """
    rows = []
    for margin in margins:
        of_margin: list[dict[str, Any]] = []
        for scored in _others(evidence, recipe):
            difference = compare(evidence, scored.config, REFERENCE, recipe)
            low, high = difference.interval()
            reached = np.sum(difference.replicates <= -margin)
            of_margin.append(
                {
                    "recipe": recipe,
                    "config": scored.config,
                    "n_leads": len(scored.leads),
                    "margin": margin,
                    "primary": margin == margins[0],
                    "difference": difference.value,
                    "low": low,
                    "high": high,
                    "p": float((reached + 1) / (len(difference.replicates) + 1)),
                    "verdict": _margin_verdict(low, high, margin),
                    "smallest_resolvable": smallest_resolvable_difference(difference),
                    **_counts(evidence, scored),
                }
            )
        if of_margin:
            adjusted = resampling.holm([row["p"] for row in of_margin])
            for row, p in zip(of_margin, adjusted, strict=True):
                row["p_holm"] = float(p)
                row["holds_corrected"] = bool(p < (1 - LEVEL) / 2)
        rows += of_margin
    order = [
        "recipe",
        "config",
        "n_leads",
        "margin",
        "primary",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "verdict",
        "holds_corrected",
        "smallest_resolvable",
        "n_records",
        "n_patients",
        "n_seeds",
    ]
    return pd.DataFrame(rows, columns=order)


def _margin_verdict(low: float, high: float, margin: float) -> str:
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "undecided"


def negative_controls(
    evidence: Evidence, recipe: str = "default", margin: float = MARGIN
) -> pd.DataFrame:
    """Compare lead sets that carry the same information: they must come out equivalent.

    Two one-sided tests at the margin: equivalent where the 95% interval of the difference lies
    within it on both sides, not equivalent where it lies outside, undecided otherwise.

    Returns
    -------
    DataFrame
        One row per pair of `NEGATIVE_CONTROLS` that the study has: ``recipe, first, second,
        difference`` (first minus second), ``low, high, margin, p`` (of "they differ by the margin
        or more", the larger of the two one-sided ones), ``verdict, smallest_resolvable, statement,
        n_records, n_patients, n_seeds``.
    """
    rows = []
    for first, second in NEGATIVE_CONTROLS:
        if any((config, recipe) not in evidence.scored for config in (first, second)):
            continue
        difference = compare(evidence, first, second, recipe)
        low, high = difference.interval()
        resolvable = smallest_resolvable_difference(difference)
        replicates = difference.replicates
        outside = max(np.sum(replicates <= -margin), np.sum(replicates >= margin))
        if -margin < low and high < margin:
            verdict = "equivalent"
        elif high < -margin or low > margin:
            verdict = "not equivalent"
        else:
            verdict = "undecided"
        rows.append(
            {
                "recipe": recipe,
                "first": first,
                "second": second,
                "difference": difference.value,
                "low": low,
                "high": high,
                "margin": margin,
                "p": float((outside + 1) / (len(replicates) + 1)),
                "verdict": verdict,
                "smallest_resolvable": resolvable,
                "statement": _control_sentence(
                    first, second, verdict, (low, high), margin, resolvable
                ),
                **_counts(evidence, evidence.get(first, recipe)),
            }
        )
    return pd.DataFrame(rows)


def across_recipes(
    evidence: Evidence, first: str = "default", second: str = "seed"
) -> pd.DataFrame:
    """Set each lead set under one recipe against the 12 leads under another.

    Does a better recipe make up for missing leads? Paired: the same test records on both sides.

    Parameters
    ----------
    evidence : Evidence
    first : str
        Recipe of the lead sets.
    second : str
        Recipe of the 12 leads that they are compared with.

    Returns
    -------
    DataFrame
        One row per configuration: ``config, n_leads, auroc`` (under ``first``), ``reference`` (the
        12 leads under ``second``), ``difference`` with ``_low``, ``_high``, ``p`` and ``p_holm``
        over the rows, ``first_recipe, second_recipe, n_records, n_patients, n_seeds``. Empty where
        the 12 leads were not trained under ``second``.
    """
    if (REFERENCE, second) not in evidence.scored:
        return pd.DataFrame()
    reference = evidence.get(REFERENCE, second).macro("auroc")
    rows = []
    for config in _present(evidence, first):
        scored = evidence.get(config, first)
        difference = combine(np.subtract, scored.macro("auroc"), reference)
        rows.append(
            {
                "config": config,
                "n_leads": len(scored.leads),
                "auroc": scored.macro("auroc").value,
                "reference": reference.value,
                **interval_columns("difference", difference),
                "p": difference.p(),
                "first_recipe": first,
                "second_recipe": second,
                **_counts(evidence, scored),
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table.insert(table.columns.tolist().index("p") + 1, "p_holm", resampling.holm(table["p"]))
    return table


def _control_sentence(
    first: str,
    second: str,
    verdict: str,
    bounds: tuple[float, float],
    margin: float,
    resolvable: float,
) -> str:
    interval = " to ".join(signed(bound) for bound in bounds)
    meaning = {
        "equivalent": "as they must, since the one set is computed from the other",
        "not equivalent": (
            "which no difference in information can explain: the training or the scaling favours "
            "one of them, and differences of this size between other lead sets mean nothing either"
        ),
        "undecided": (
            "too wide to tell; differences of this size between other lead sets are not to be "
            "trusted on these data"
        ),
    }[verdict]
    return (
        f"{first} minus {second}, 95% interval {interval} against a margin of {margin:g}: "
        f"{verdict}, {meaning}. Smallest resolvable difference: {resolvable:.3f}."
    )


def rank_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Rank the configurations by macro AUROC in each resample.

    Returns
    -------
    DataFrame
        One row per configuration: ``recipe, config, n_leads, auroc, rank`` (1 is best), ``rank_low,
        rank_high`` (95% interval over resamples), ``share_best`` (of resamples in which it is the
        best of all), ``share_best_of_size`` (the best of those with as many leads),
        ``share_best_reduced`` (the best of those with fewer than 12; NaN for the 12 leads),
        ``n_records, n_patients, n_seeds``.
    """
    present = [evidence.get(c, recipe) for c in _present(evidence, recipe)]
    values = np.array([scored.macro("auroc").value for scored in present])
    replicates = np.array([scored.macro("auroc").replicates for scored in present])
    sizes = np.array([len(scored.leads) for scored in present])
    ranks = 1 + (replicates[None] > replicates[:, None]).sum(axis=1)
    rows = []
    for i, scored in enumerate(present):
        low, high = np.quantile(ranks[i], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
        reduced = sizes < 12
        rows.append(
            {
                "recipe": recipe,
                "config": scored.config,
                "n_leads": int(sizes[i]),
                "auroc": float(values[i]),
                "rank": int(1 + (values > values[i]).sum()),
                "rank_low": int(low),
                "rank_high": int(high),
                "share_best": _share_best(replicates, i, np.ones(len(present), dtype=bool)),
                "share_best_of_size": _share_best(replicates, i, sizes == sizes[i]),
                "share_best_reduced": _share_best(replicates, i, reduced)
                if reduced[i]
                else float("nan"),
                **_counts(evidence, scored),
            }
        )
    return pd.DataFrame(rows)


def _share_best(replicates: NDArray[Any], i: int, among: NDArray[np.bool_]) -> float:
    return float(np.mean(replicates[i] >= replicates[among].max(axis=0)))


def delong_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """AUROC per class and its difference to the 12 leads without resampling, a second opinion.

    DeLong's method, with the records of a patient taken together (see `resampling.delong`). A
    configuration's AUROC is the mean over its seeds, as everywhere.

    Returns
    -------
    DataFrame
        One row per configuration and class: ``recipe, config, n_leads, class, n_positive, auroc,
        auroc_low, auroc_high, difference, difference_low, difference_high, p, p_bh``
        (Benjamini-Hochberg over all rows); NaN where the class has one label value or the study no
        12-lead run; ``n_records, n_patients, n_seeds``.
    """
    rows = []
    for config in _present(evidence, recipe):
        scored = evidence.get(config, recipe)
        with_reference = config != REFERENCE and (REFERENCE, recipe) in evidence.scored
        sides = [config, REFERENCE] if with_reference else [config]
        stacks = [np.asarray(evidence.runs[side].test.logits[recipe]) for side in sides]
        own = np.concatenate([np.full(len(s), 1 - i) / len(s) for i, s in enumerate(stacks)])
        against = np.concatenate(
            [np.full(len(s), 1 - 2 * i) / len(s) for i, s in enumerate(stacks)]
        )
        for c, name in enumerate(CLASSES):
            y = evidence.labels[:, c]
            row: dict[str, Any] = {
                "recipe": recipe,
                "config": config,
                "n_leads": len(scored.leads),
                "class": name,
                "n_positive": int(y.sum()),
            }
            row |= dict.fromkeys(_DELONG_COLUMNS, float("nan"))
            if 0 < y.sum() < len(y):
                scores = np.concatenate([stack[:, :, c] for stack in stacks])
                found = resampling.delong(y, scores, evidence.patient_id)
                alone = found.contrast(own)
                row |= {
                    "auroc": alone["estimate"],
                    "auroc_low": alone["low"],
                    "auroc_high": alone["high"],
                }
                if with_reference:
                    difference = found.contrast(against)
                    row |= {
                        "difference": difference["estimate"],
                        "difference_low": difference["low"],
                        "difference_high": difference["high"],
                        "p": difference["p"],
                    }
            rows.append(row | _counts(evidence, scored))
    table = pd.DataFrame(rows)
    table.insert(table.columns.tolist().index("p") + 1, "p_bh", benjamini_hochberg(table["p"]))
    return table


_DELONG_COLUMNS = (
    "auroc",
    "auroc_low",
    "auroc_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for the false discovery rate; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    defined = ~np.isnan(p)
    if defined.any():
        adjusted[defined] = false_discovery_control(p[defined], method="bh")
    return adjusted


def lrs_weights(evidence: Evidence, recipe: str = "default", steps: int = 10) -> pd.DataFrame:
    """Score the lead sets under other LRS weights, to see whether the ranking hangs on them.

    Three terms share the weight, on a regular grid over the simplex: the AUROC ratio and the
    calibration term, which are the original's, and retention above chance, which it lacks.

    Parameters
    ----------
    steps : int
        Steps from 0 to 1 on each edge.

    Returns
    -------
    DataFrame
        One row per weighting and configuration with fewer than 12 leads: ``recipe, config, n_leads,
        weight_ratio, weight_calibration, weight_above_chance`` (they sum to 1), ``score, rank``
        (1 is best), ``original`` (bool: the original's weights, 0.7 and 0.3, which are added to
        the grid where it misses them). Empty without a 12-lead run.
    """
    reduced = [s for s in _others(evidence, recipe) if len(s.leads) < 12]
    if not reduced:
        return pd.DataFrame()
    terms = []
    for scored in reduced:
        relative = relative_to_reference(evidence, scored.config, recipe)
        full = evidence.get(REFERENCE, recipe).macro("brier").value
        calibration = 1 - (scored.macro("brier").value - full) / metrics.LRS_BRIER_SCALE
        terms.append(
            [relative["retention"].value, calibration, relative["retention_above_chance"].value]
        )
    grid = [
        (i / steps, j / steps, (steps - i - j) / steps)
        for i, j in itertools.product(range(steps + 1), repeat=2)
        if i + j <= steps
    ]
    original = (0.7, 0.3, 0.0)
    if not any(np.allclose(point, original) for point in grid):
        grid.append(original)
    rows = []
    for weights in grid:
        scores = np.array(terms) @ np.array(weights)
        for scored, score in zip(reduced, scores, strict=True):
            rows.append(
                {
                    "recipe": recipe,
                    "config": scored.config,
                    "n_leads": len(scored.leads),
                    "weight_ratio": weights[0],
                    "weight_calibration": weights[1],
                    "weight_above_chance": weights[2],
                    "score": float(score),
                    "rank": int(1 + (scores > score).sum()),
                    "original": bool(np.allclose(weights, original)),
                }
            )
    return pd.DataFrame(rows)


def lrs_ranks(
    table: pd.DataFrame, steps: int = 1000
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Rank the lead sets along the weights of the two terms of the Lead Robustness Score.

    Parameters
    ----------
    table : DataFrame
        Of `lrs_weights`, one recipe. The score is linear in its weights, so two
        corners say all.
    steps : int
        From weight 0 to weight 1.

    Returns
    -------
    weight : ndarray, shape (steps + 1,)
        Of the AUROC ratio.
    rank : ndarray of int, shape (steps + 1, n_configs)
        1 is best; columns in the order of the table.

    Raises
    ------
    LeadminError
        If a corner is missing.
    """
    configs = list(dict.fromkeys(table["config"]))
    corners = []
    for name in ("weight_calibration", "weight_ratio"):
        corner = table[np.isclose(table[name], 1)].set_index("config")["score"]
        if set(corner.index) != set(configs):
            raise LeadminError(f"lrs_ranks: the table lacks a row of each set with {name} 1.")
        corners.append(corner.loc[configs].to_numpy(dtype=float))
    weight = np.linspace(0, 1, steps + 1)
    score = np.outer(1 - weight, corners[0]) + np.outer(weight, corners[1])
    rank = 1 + (score[:, None, :] > score[:, :, None]).sum(axis=2)
    return weight, rank


def fold_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Compare each configuration with the 12 leads fold by fold, allowing for shared training data.

    The networks of ten folds are no ten independent experiments: any two of them share most of
    their training records. The corrected resampled t test [1]_ widens the variance of the mean
    difference from ``1/k`` to ``1/k + n_test/n_train`` of the variance between folds. It is a
    coarser instrument than the bootstrap over patients, but it also sees another draw of training
    patients.

    Returns
    -------
    DataFrame
        One row per configuration but the 12 leads: ``recipe, config, n_leads, difference`` (mean
        over folds of the difference in macro AUROC within the fold), ``fold_sd, low, high, p,
        n_folds, n_folds_better`` (in how many folds it beat the 12 leads). Empty with one fold or
        without a 12-lead run.

    References
    ----------
    .. [1] Nadeau C, Bengio Y. Inference for the generalization error. Mach. Learn. 52, 239-281
       (2003).
    """
    folds = np.unique(evidence.fold)
    if len(folds) < 2 or (REFERENCE, recipe) not in evidence.scored:
        return pd.DataFrame()
    per_fold = {
        config: np.array([_fold_auroc(evidence, config, recipe, fold) for fold in folds])
        for config in _present(evidence, recipe)
    }
    rows = []
    for scored in _others(evidence, recipe):
        difference = per_fold[scored.config] - per_fold[REFERENCE]
        k, sd = len(folds), float(difference.std(ddof=1))
        error = sd * float(np.sqrt(1 / k + 1 / TRAIN_FOLDS))
        mean = float(difference.mean())
        reach = float(t.ppf((1 + LEVEL) / 2, k - 1)) * error
        rows.append(
            {
                "recipe": recipe,
                "config": scored.config,
                "n_leads": len(scored.leads),
                "difference": mean,
                "fold_sd": sd,
                "low": mean - reach,
                "high": mean + reach,
                "p": float(2 * t.sf(abs(mean) / error, k - 1)) if error > 0 else float("nan"),
                "n_folds": k,
                "n_folds_better": int((difference > 0).sum()),
                **_counts(evidence, scored),
            }
        )
    return pd.DataFrame(rows)


def _fold_auroc(evidence: Evidence, config: str, recipe: str, fold: int) -> float:
    rows = evidence.fold == fold
    return float(
        np.mean(
            [
                metrics.macro(metrics.auroc(evidence.labels[rows], logits[rows]))
                for logits in evidence.runs[config].test.logits[recipe]
            ]
        )
    )


def hypertrophy_table(
    evidence: Evidence, first: str = "default", second: str = "seed"
) -> pd.DataFrame:
    """Ask whether hypertrophy is hard because of the leads or because of the recipe.

    Voltage is the criterion for hypertrophy, and z-scoring each lead of each record, as the
    ``seed`` recipe does, removes it. All effects are differences between two recipes on the same
    records. They bound what the scaling does and do not isolate it where the recipes differ in more
    than the scaling; the ablation of the training chapter does that.

    Returns
    -------
    DataFrame
        Columns ``effect_name, first, second`` (values under each recipe), ``difference`` (first
        minus second, paired) with ``low, high, p, p_holm``; ``first_recipe, second_recipe,
        n_reduced, n_records, n_patients``. The effects: AUROC of HYP with 12 leads, with I-II-V2,
        and as mean of the ``n_reduced`` configurations with fewer than 12 leads that both recipes
        trained; the gap between HYP and the next hardest class with fewer leads; the AUROC that HYP
        loses with fewer leads. Effects whose runs are missing are left out.
    """
    trained_by_both = [
        scored.config
        for scored in reduced_sets(evidence, first)
        if (scored.config, second) in evidence.scored
    ]

    def reduced(recipe: str, name: str) -> Estimate:
        if not trained_by_both:
            raise LeadminError(
                f"No run with fewer than 12 leads was trained under both {first!r} and {second!r}."
            )
        return combine(
            lambda *v: np.mean(v, axis=0),
            *(evidence.get(config, recipe).of_class("auroc", name) for config in trained_by_both),
        )

    def of_config(config: str) -> Callable[[str], Estimate]:
        return lambda recipe: evidence.get(config, recipe).of_class("auroc", "HYP")

    def gap(recipe: str) -> Estimate:
        others = [reduced(recipe, name) for name in CLASSES if name != "HYP"]
        return combine(lambda a, *b: np.min(b, axis=0) - a, reduced(recipe, "HYP"), *others)

    def loss(recipe: str) -> Estimate:
        return combine(np.subtract, of_config(REFERENCE)(recipe), reduced(recipe, "HYP"))

    effects: dict[str, Callable[[str], Estimate]] = {
        "AUROC of HYP, 12 leads": of_config(REFERENCE),
        "AUROC of HYP, I-II-V2": of_config("3-lead-I-II-V2"),
        "AUROC of HYP, mean of fewer leads": lambda recipe: reduced(recipe, "HYP"),
        "Gap from HYP to the next hardest class, fewer leads": gap,
        "AUROC that HYP loses with fewer leads": loss,
    }
    rows = []
    for name, effect in effects.items():
        try:
            a, b = effect(first), effect(second)
        except LeadminError:
            continue
        difference = combine(np.subtract, a, b)
        low, high = difference.interval()
        rows.append(
            {
                "effect_name": name,
                "first": a.value,
                "second": b.value,
                "difference": difference.value,
                "low": low,
                "high": high,
                "p": difference.p(),
                "first_recipe": first,
                "second_recipe": second,
                "n_reduced": len(trained_by_both),
                "n_records": evidence.n_records,
                "n_patients": evidence.n_patients,
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table.insert(table.columns.tolist().index("p") + 1, "p_holm", resampling.holm(table["p"]))
    return table


# --- subgroups ----------------------------------------------------------------------------------


def demographic_groups(age: ArrayLike, sex: ArrayLike) -> dict[str, NDArray[np.str_]]:
    """Sort records into the subgroups that age and sex give.

    Parameters
    ----------
    age : array_like of float, shape (n_records,)
        Years; NaN where unknown.
    sex : array_like of int, shape (n_records,)
        0 male, 1 female, -1 unknown, as in `leadmin.data.dataset.EcgDataset`.

    Returns
    -------
    dict of str to ndarray of str, shape (n_records,)
        ``sex`` and ``age``; the empty string where unknown.
    """
    years, code = np.asarray(age, dtype=np.float64), np.asarray(sex)
    bands = np.full(len(years), "", dtype="<U16")
    for low, high in AGE_BANDS:
        name = f"under {high}" if low == 0 else f"{low} and over" if high > 120 else f"{low}-{high}"
        bands[(years >= low) & (years < high)] = name
    return {"sex": np.select([code == 0, code == 1], ["male", "female"], ""), "age": bands}


def record_groups(dataset: EcgDataset, evidence: Evidence) -> dict[str, NDArray[np.str_]]:
    """Sort the test records of a study into the subgroups that its data describe.

    Parameters
    ----------
    dataset : EcgDataset
        Holds every test record; others are ignored.
    evidence : Evidence

    Returns
    -------
    dict of str to ndarray of str, shape (n_records,)
        For `subgroup_table`, in the order of ``evidence.record_id``: ``all`` (every record),
        ``sex``, ``age``, ``device`` and ``site`` as PTB-XL names them (those with fewer than
        `MIN_POSITIVES` test records taken together), and ``signal`` (``no mark`` or
        ``marked`` by a rule of `leadmin.data.quality`); the empty string where unknown.

    Raises
    ------
    LeadminError
        If a test record is missing from the data or belongs to another patient there.
    """
    order = np.argsort(dataset.record_id)
    place = np.searchsorted(dataset.record_id, evidence.record_id, sorter=order)
    place = order[np.minimum(place, len(order) - 1)]
    same = dataset.record_id[place] == evidence.record_id
    same &= dataset.patient_id[place] == evidence.patient_id
    if not same.all():
        raise LeadminError(
            f"{dataset.path}: {(~same).sum()} of {len(same)} test records of the runs are missing "
            "or belong to other patients here; give the data that the runs were made from"
        )
    tested = dataset.select(place)
    marked = assess(tested).records["any_rule"].to_numpy(dtype=bool)
    device = tested.metadata["device"].fillna("").astype(str).str.split().str.join(" ")
    site = tested.metadata["site"]
    return {
        "all": np.full(len(same), "all records"),
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


def subgroup_table(
    evidence: Evidence,
    groups: Mapping[str, ArrayLike],
    recipe: str = "default",
    configs: Sequence[str] = ("12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II"),
) -> pd.DataFrame:
    """Macro AUROC within subgroups, and whether the loss of leads differs between them.

    A subgroup with fewer than `MIN_POSITIVES` positive or negative records of any class is listed
    with its counts and no value. The test of interaction asks whether the difference to the 12
    leads in the subgroup is another than in all other records of known subgroup; of two subgroups
    only the first has that test, since the second's would be the same.

    Parameters
    ----------
    groups : mapping of str to array_like of str, shape (n_records,)
        Name of the grouping (``"sex"``, ``"age"``, ...) to each test record's subgroup, in the
        order of ``evidence.record_id``, as `record_groups` gives; an empty string is left out.

    Returns
    -------
    DataFrame
        Columns ``recipe, grouping, subgroup, config, n_leads, n_records, n_patients,
        fewest_positives, enough`` (bool), ``auroc, auroc_low, auroc_high, difference,
        difference_low, difference_high, interaction, interaction_low, interaction_high,
        interaction_p, interaction_p_holm`` (over all subgroups and configurations), ``n_seeds``.
    """
    weights = evidence.weights()
    rows = []
    for grouping, values in groups.items():
        subgroup = np.asarray(values).astype(str)
        if subgroup.shape != evidence.record_id.shape:
            raise LeadminError(
                f"Subgroups {grouping!r}: {subgroup.shape[0]} entries for {evidence.n_records} "
                "test records; give one for each, in the order of the records."
            )
        levels = sorted(set(subgroup) - {""}, key=_level_order)
        for level in levels:
            inside = subgroup == level
            rest = (subgroup != "") & ~inside
            if len(levels) == 2 and level == levels[1]:
                rest = np.zeros_like(inside)  # the test against the other level is made already
            rows += [
                {"recipe": recipe, "grouping": grouping, "subgroup": level, **row}
                for row in _subgroup_rows(evidence, recipe, configs, inside, rest, weights)
            ]
    table = pd.DataFrame(rows)
    if len(table):
        place = table.columns.tolist().index("interaction_p") + 1
        table.insert(place, "interaction_p_holm", resampling.holm(table["interaction_p"]))
    return table


def _level_order(level: str) -> tuple[bool, bool, list[str | int]]:
    """By the numbers in the name; "under ..." comes first and "other ..." last."""
    pieces = re.split(r"(\d+)", level)
    parts: list[str | int] = [int(p) if p.isdigit() else p for p in pieces]
    return level.startswith("other"), not level.startswith("under "), parts


def _subgroup_rows(
    evidence: Evidence,
    recipe: str,
    configs: Sequence[str],
    inside: NDArray[np.bool_],
    rest: NDArray[np.bool_],
    weights: resampling.Weights,
) -> list[dict[str, Any]]:
    """One row per configuration for one subgroup."""
    nan = float("nan")
    present = [config for config in configs if (config, recipe) in evidence.scored]
    enough, enough_rest = (_fewest(evidence, part) >= MIN_POSITIVES for part in (inside, rest))
    scores = {
        (config, part): _subset_auroc(evidence, config, recipe, mask, weights)
        for config in present
        for part, mask, use in (("in", inside, enough), ("rest", rest, enough and enough_rest))
        if use
    }
    rows = []
    for config in present:
        scored = evidence.get(config, recipe)
        row: dict[str, Any] = {
            "config": config,
            "n_leads": len(scored.leads),
            "n_records": int(inside.sum()),
            "n_patients": len(np.unique(evidence.patient_id[inside])),
            "fewest_positives": _fewest(evidence, inside),
            "enough": enough,
        }
        for name in ("auroc", "difference", "interaction"):
            row |= {name: nan, f"{name}_low": nan, f"{name}_high": nan}
        row["interaction_p"] = nan
        if enough:
            row |= interval_columns("auroc", scores[config, "in"])
        if enough and config != REFERENCE and REFERENCE in present:
            loss = combine(np.subtract, scores[config, "in"], scores[REFERENCE, "in"])
            row |= interval_columns("difference", loss)
            if enough_rest:
                other = combine(np.subtract, scores[config, "rest"], scores[REFERENCE, "rest"])
                interaction = combine(np.subtract, loss, other)
                row |= interval_columns("interaction", interaction)
                row["interaction_p"] = interaction.p()
        rows.append(row | {"n_seeds": scored.n_seeds})
    return rows


def _fewest(evidence: Evidence, mask: NDArray[np.bool_]) -> int:
    """Fewest records of either label value over all classes."""
    positives = evidence.labels[mask].sum(axis=0, dtype=np.int64)
    return int(np.minimum(positives, mask.sum() - positives).min())


def _subset_auroc(
    evidence: Evidence,
    config: str,
    recipe: str,
    mask: NDArray[np.bool_],
    weights: resampling.Weights,
) -> Estimate:
    """Macro AUROC of some of the records, mean over seeds."""
    ones = np.ones((int(mask.sum()), 1), dtype=np.uint8)
    left_out = resampling.jackknife_weights(evidence.patient_id)[mask]
    chosen = np.hstack([ones, weights[mask], left_out])
    labels = evidence.labels[mask]
    values = np.mean(
        [
            metrics.macro(
                [
                    resampling.weighted_auroc(labels[:, c], logits[mask, c], chosen)
                    for c in range(len(CLASSES))
                ],
                axis=0,
            )
            for logits in evidence.runs[config].test.logits[recipe]
        ],
        axis=0,
    )
    replicates, jackknife = np.split(values[1:], [weights.shape[1]])
    return Estimate(float(values[0]), replicates, jackknife)


def _present(evidence: Evidence, recipe: str) -> list[str]:
    return [config for config in evidence.configs if (config, recipe) in evidence.scored]


def _others(evidence: Evidence, recipe: str) -> list[Scored]:
    """All but the 12 leads; none where there is no 12-lead run to compare with."""
    if (REFERENCE, recipe) not in evidence.scored:
        return []
    return [evidence.get(c, recipe) for c in _present(evidence, recipe) if c != REFERENCE]


def _counts(evidence: Evidence, scored: Scored) -> dict[str, int]:
    return {
        "n_records": evidence.n_records,
        "n_patients": evidence.n_patients,
        "n_seeds": scored.n_seeds,
    }
