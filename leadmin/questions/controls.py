"""Can one trust the comparison?"""

import numpy as np
import pandas as pd
from scipy.stats import t

from leadmin import metrics
from leadmin.evidence.scores import (
    LEVEL,
    MARGIN,
    REFERENCE,
    Evidence,
    compare,
    configs_under,
    count_columns,
    smaller_sets,
    smallest_resolvable_difference,
)
from leadmin.show.words import joined_sentence, signed

NEGATIVE_CONTROLS = (("6-lead-limb", "2-lead-I-II"), ("3-lead-I-II-III", "2-lead-I-II"))
"""Pairs that carry the same information, since every limb lead is a combination of I and II."""


TRAIN_FOLDS = 8
"""Of ten patient folds one tests, one validates and these train."""


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
                **count_columns(evidence, evidence.get(first, recipe)),
            }
        )
    return pd.DataFrame(rows)


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
        for config in configs_under(evidence, recipe)
    }
    rows = []
    for scored in smaller_sets(evidence, recipe):
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
                **count_columns(evidence, scored),
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


def fold_reading(folds: pd.DataFrame) -> str:
    """Say what is left of the differences when the folds' shared training records are allowed for.

    Parameters
    ----------
    folds : DataFrame
        `leadmin.questions.controls.fold_table` of one recipe.
    """
    worse, better = int((folds["high"] < 0).sum()), int((folds["low"] > 0).sum())
    return joined_sentence(
        f"Over {folds['n_folds'].iloc[0]} folds, with the correction for shared training records, "
        f"{worse} of {len(folds)} sets are below twelve leads, {better} above, and "
        f"{len(folds) - worse - better} cannot be told apart from them"
    )


def markdown_controls(table: pd.DataFrame) -> list[str]:
    """Write the negative controls of `RESULTS.md`."""
    if not len(table):
        return []
    lines = [f"- Recipe `{r['recipe']}`: {r['statement']}" for r in table.to_dict("records")]
    return ["## Negative controls: lead sets that carry the same information", "\n".join(lines)]
