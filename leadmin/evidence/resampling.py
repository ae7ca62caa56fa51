"""The bootstrap over patients [1]_ [2]_: all metrics of all resamples at once.

A resample of patients with replacement gives every record a weight: how often its patient was
drawn. So the draw is made once, as an integer matrix ``(n_records, n_resamples)``, and serves every
configuration: comparisons are paired by construction. A metric of all resamples is then a weighted
metric with many weight columns: matrix products, or cumulative weights along the sorted scores. The
jackknife that the BCa interval needs is the same computation with other weights.

References
----------
.. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall, 1993.
.. [2] Field CA, Welsh AH. Bootstrapping clustered data. J. R. Statist. Soc. B 69, 369-390 (2007).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from leadmin import metrics
from leadmin.errors import LeadminError

Weights = NDArray[np.uint8]

RANK_METRICS = ("auroc", "average_precision", *metrics.OPERATING_POINTS)
"""What depends on the order of the scores alone."""

METRICS = (*RANK_METRICS[:2], "f1", "f1_half", "brier", "ece", *RANK_METRICS[2:])
"""What `resampled_metrics` computes for every class."""

_COLUMNS_AT_ONCE = 64
"""Weight columns handled together: 64 columns of some 4,000 records stay in the second-level cache,
which was measured to be twice as fast as all 2,000 at once."""

_PAIRS_AT_ONCE = 2**18
"""Up to so many pairs of a positive and a negative record, `weighted_auroc` compares each pair: a
matrix product, which for the 430 records of a fold is several times as fast as the ranks."""


def patient_weights(patient_id: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Weights:
    """Draw how often each record's patient comes up in each resample, (n_records, n_resamples)."""
    patient, n_patients = numbered_patients(patient_id)
    if n_resamples < 1:
        raise LeadminError(f"n_resamples: {n_resamples}; valid: 1 or more; 2000 is usual")
    times = np.empty((n_resamples, n_patients), dtype=np.uint8)
    for row in times:
        row[:] = np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
    return np.ascontiguousarray(times.T[patient])


def jackknife_weights(patient_id: ArrayLike, max_groups: int = 500) -> Weights:
    """Leave out one group of patients at a time: 0 where left out, else 1, (n_records, n_groups).

    A group is one patient, or more where there are more than ``max_groups``: the acceleration of
    the BCa interval is a ratio of sums over patients, which such grouping leaves unbiased.
    """
    patient, n_patients = numbered_patients(patient_id)
    n_groups = min(n_patients, max_groups)
    return (patient[:, None] % n_groups != np.arange(n_groups)).astype(np.uint8)


def all_weights(patient_id: ArrayLike, drawn: Weights) -> Weights:
    """Put side by side the columns that an `Estimate` needs: ones, ``drawn``, the jackknife."""
    ones = np.ones((len(drawn), 1), dtype=np.uint8)
    return np.hstack([ones, drawn, jackknife_weights(patient_id)])


def numbered_patients(patient_id: ArrayLike) -> tuple[NDArray[np.intp], int]:
    """Give each record the number of its patient, from 0, and the count of patients."""
    ids = np.asarray(patient_id)
    if ids.ndim != 1 or (ids != ids).any():
        raise LeadminError(
            f"patient_id: an array of shape {ids.shape}; valid: (n_records,) without NaN; give "
            "each record one patient"
        )
    found, patient = np.unique(ids, return_inverse=True)
    if len(found) < 2:
        raise LeadminError(
            f"patient_id: {len(found)} patients; valid: at least two patients, or there is nothing "
            "to resample; give more records"
        )
    return patient, len(found)


def _running_total(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of the first k rows for every k from 0 on, shape (n_rows + 1, n_columns)."""
    total = np.zeros((len(rows) + 1, rows.shape[1]), dtype=np.float32)
    np.cumsum(rows, axis=0, out=total[1:])
    return total


def _share(
    won: NDArray[np.float64], n_positive: NDArray[np.float32], n_negative: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Share of the pairs that are won; NaN without any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (n_positive.astype(np.float64) * n_negative))


def _checked(
    labels: ArrayLike, scores: ArrayLike, weights: Weights, ndim: int = 1, unit: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    y, s = metrics.checked(labels, scores, ndim, unit)
    if weights.ndim != 2 or len(weights) != len(y) or weights.dtype.kind not in "bu":
        raise LeadminError(
            f"weights: shape {weights.shape}, type {weights.dtype}; valid: ({len(y)}, "
            "n_resamples), unsigned whole numbers; draw them with `patient_weights`"
        )
    return y, s


def weighted_auroc(labels: ArrayLike, scores: ArrayLike, weights: Weights) -> NDArray[np.float64]:
    """AUROC of one class under many record weights; `rank_metrics` without the rest."""
    y, s = _checked(labels, scores, weights)
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if len(positive) * len(negative) <= _PAIRS_AT_ONCE:
        own, other = s[positive][:, None], s[negative]
        beats = (own > other) + np.float32(0.5) * (own == other)
        of_positives, of_negatives = (weights[i].astype(np.float32) for i in (positive, negative))
        won = np.multiply(of_positives, beats @ of_negatives).sum(axis=0, dtype=np.float64)
        return _share(won, of_positives.sum(axis=0), of_negatives.sum(axis=0))
    return rank_metrics(y, s, weights, auroc_alone=True)["auroc"]


def rank_metrics(
    labels: ArrayLike, scores: ArrayLike, weights: Weights, auroc_alone: bool = False
) -> dict[str, NDArray[np.float64]]:
    """`RANK_METRICS` of one class, each (n_resamples,), under many record weights.

    Labels and scores are (n_records,), weights (n_records, n_resamples); NaN in a resample that
    lacks a label value.
    """
    y, s = _checked(labels, scores, weights)
    order = np.argsort(s, kind="stable")
    positive, negative = order[y[order] == 1], order[y[order] == 0]
    own, other = s[positive], s[negative]
    # of each positive: how many negatives lie below it, and how many more are level with it
    below = np.searchsorted(other, own, side="left")
    up_to = np.searchsorted(other, own, side="right")
    first_level = np.searchsorted(own, own, side="left")
    names = ("auroc",) if auroc_alone else RANK_METRICS
    result = {name: np.empty(weights.shape[1]) for name in names}
    for columns, block in _blocks(weights):
        # counts stay below 2**24, so float32 holds them exactly, and its sums are twice as fast
        drawn = block[positive].astype(np.float32)  # a row per positive, by its score
        positives_to = _running_total(drawn)
        negatives_to = _running_total(block[negative].astype(np.float32))
        n_positive, n_negative = positives_to[-1], negatives_to[-1]
        beaten = negatives_below = negatives_to[below]
        if (up_to > below).any():
            beaten = (negatives_below + negatives_to[up_to]) / 2
        won = np.multiply(drawn, beaten).sum(axis=0, dtype=np.float64)
        result["auroc"][columns] = _share(won, n_positive, n_negative)
        if auroc_alone:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            true_calls = n_positive - positives_to[first_level]
            calls = true_calls + (n_negative - negatives_below)
            share = np.where(calls > 0, true_calls / calls, 0)
            precision = (drawn * share).sum(axis=0, dtype=np.float64) / n_positive
            result["average_precision"][columns] = precision
            for name, (fixed, level) in metrics.OPERATING_POINTS.items():
                # each positive record's score is tried as the threshold
                if fixed == "specificity":
                    allowed = negatives_below >= _at_least(level, n_negative)
                    value = (drawn * allowed).sum(axis=0, dtype=np.float64) / n_positive
                else:
                    allowed = true_calls >= _at_least(level, n_positive)
                    best = np.max(np.where(allowed, negatives_below, 0), axis=0, initial=0)
                    value = best.astype(np.float64) / n_negative
                defined = (n_positive > 0) & (n_negative > 0)
                result[name][columns] = np.where(defined, value, np.nan)
    return result


def _at_least(level: float, count: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smallest whole number of records that is ``level`` of ``count``."""
    return np.ceil(level * count.astype(np.float64)).astype(np.float32)


def within_fold_auroc(
    labels: ArrayLike, scores: ArrayLike, fold: ArrayLike, weights: Weights
) -> NDArray[np.float64]:
    """Mean over folds of the AUROC within each fold, (n_resamples,), under many record weights.

    Pooling the folds ranks a positive of one network against a negative of another, and what
    differs between the networks' scales counts as error; this compares only records that the same
    network scored [1]_. The mean is over the folds that have both label values.

    References
    ----------
    .. [1] Forman G, Scholz M. Apples-to-apples in cross-validation studies. SIGKDD Explorations
       12, 49-57 (2010).
    """
    (y, s), f = _checked(labels, scores, weights), np.asarray(fold)
    if f.shape != y.shape or not len(f):
        raise LeadminError(
            f"fold: shape {f.shape}; valid: {y.shape} with at least one record; give each record "
            "its fold"
        )
    of_folds = (f == k for k in np.unique(f))
    per_fold = [weighted_auroc(y[of], s[of], weights[of]) for of in of_folds]
    return metrics.macro(np.stack(per_fold), axis=0)


def resampled_metrics(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `METRICS`, each (n_resamples, n_classes), under many record weights.

    Labels and probabilities are (n_records, n_classes), thresholds for ``f1`` (n_classes,) or one
    row per record. With a single column of ones these are the metrics of `leadmin.metrics`. The
    bins of the calibration error are those of the records at hand in every resample.
    """
    y, p = _checked(labels, probabilities, weights, ndim=2, unit=True)
    n_resamples, n_classes = weights.shape[1], y.shape[1]
    result = {name: np.empty((n_resamples, n_classes)) for name in METRICS}
    for c in range(n_classes):
        for name, values in rank_metrics(y[:, c], p[:, c], weights).items():
            result[name][:, c] = values

    called, called_half, positive = (
        p >= metrics.thresholds_of(thresholds, y.shape),
        p >= 0.5,
        y == 1,
    )
    hit, hit_half = called & positive, called_half & positive
    counts = np.hstack([called, called_half, hit, hit_half, positive, np.ones((len(y), 1))])
    counts, squared, n_bins = counts.astype(np.float32), (p - y) ** 2, metrics.ECE_BINS
    gaps = np.zeros((len(y), n_classes * n_bins))
    for c in range(n_classes):
        in_bin = metrics.calibration_bins(p[:, c], n_bins)
        gaps[np.arange(len(y)), c * n_bins + in_bin] = p[:, c] - y[:, c]
    for columns, block in _blocks(weights, 256):
        transposed = np.ascontiguousarray(block.T)
        exact = (transposed.astype(np.float32) @ counts).astype(np.float64)
        calls, calls_half, hits, hits_half, positives, total = np.split(
            exact, np.arange(1, 6) * n_classes, axis=1
        )
        as_double = transposed.astype(np.float64)
        gap = np.abs((as_double @ gaps).reshape(-1, n_classes, n_bins)).sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            result["f1"][columns] = 2 * hits / (calls + positives)
            result["f1_half"][columns] = 2 * hits_half / (calls_half + positives)
            result["brier"][columns] = (as_double @ squared) / total
            result["ece"][columns] = gap / total
    return result


LEVEL = 0.95
"""Coverage that every interval aims at."""

_ENDS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])

_NO_INTERVAL = float("nan"), float("nan")


def percentile_interval(replicates: NDArray[np.float64]) -> tuple[float, float]:
    """Two-sided percentile interval of the replicates that are not NaN; NaN with less than half."""
    defined = _defined(replicates)
    if len(defined) < max(1, len(replicates) / 2):
        return _NO_INTERVAL
    low, high = np.quantile(defined, _ENDS)
    return float(low), float(high)


def normal_interval(estimate: float, replicates: NDArray[np.float64]) -> tuple[float, float]:
    """Two-sided interval of the estimate plus and minus normal quantiles of the bootstrap error.

    For statistics whose replicates are as far off centre as the estimate, such as a slope.
    """
    defined = _defined(replicates)
    if len(defined) < max(2, len(replicates) / 2):
        return _NO_INTERVAL
    reach = float(ndtri((1 + LEVEL) / 2)) * float(defined.std(ddof=1))
    return estimate - reach, estimate + reach


def bca_interval(
    estimate: float, replicates: NDArray[np.float64], jackknife: NDArray[np.float64]
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval [1]_.

    Falls back to the percentile interval where all replicates lie on one side of the estimate.

    References
    ----------
    .. [1] Efron B. Better bootstrap confidence intervals. J. Am. Statist. Assoc. 82, 171-185
       (1987).
    """
    defined, jackknife = _defined(replicates), _defined(jackknife)
    if len(defined) < max(1, len(replicates) / 2) or np.isnan(estimate):
        return _NO_INTERVAL
    # replicates equal to the estimate count half, as ties at a discrete statistic should
    below = np.mean(defined < estimate) + np.mean(defined == estimate) / 2
    if not 0 < below < 1:
        return percentile_interval(replicates)
    bias = ndtri(below)
    influence = (jackknife.mean() if len(jackknife) else 0.0) - jackknife
    spread = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * spread) if spread > 0 else 0.0
    z = bias + ndtri(_ENDS)
    low, high = np.quantile(defined, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def bootstrap_p(replicates: NDArray[np.float64]) -> float:
    """Two-sided p value of "the effect is 0", by inverting the percentile interval.

    So a table's interval and p value never disagree. Never zero: with 2,000 resamples the smallest
    value is 0.001.
    """
    defined = _defined(replicates)
    if not len(defined):
        return float("nan")
    fewer = min(np.sum(defined < 0), np.sum(defined > 0)) + np.sum(defined == 0) / 2
    return float(min(1.0, 2 * (fewer + 1) / (len(defined) + 1)))


def _defined(replicates: NDArray[np.float64]) -> NDArray[np.float64]:
    return replicates[~np.isnan(replicates)]


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for the family-wise error rate by Holm's step-down method [1]_.

    NaN (a test that could not be made) stays NaN and does not count.

    References
    ----------
    .. [1] Holm S. A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6,
       65-70 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise LeadminError(
            f"p_values: {p.tolist()}; valid: a list of numbers from 0 to 1, or NaN; check the tests"
        )
    adjusted = np.full(p.shape, np.nan)
    order = np.flatnonzero(~np.isnan(p))[np.argsort(p[~np.isnan(p)], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _blocks(weights: Weights, size: int = _COLUMNS_AT_ONCE) -> Iterator[tuple[slice, Weights]]:
    """Cut the weight columns into blocks that fit the processor's cache."""
    for start in range(0, weights.shape[1], size):
        columns = slice(start, start + size)
        yield columns, weights[:, columns]
