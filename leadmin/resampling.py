"""The bootstrap over patients: all metrics of all resamples at once.

A resample of patients with replacement gives every record a weight: how often its patient was
drawn. So the draw is made once, as an integer matrix ``(n_records, n_resamples)``, and serves every
configuration: comparisons are paired by construction. A metric of all resamples is then a weighted
metric with many weight columns. Brier, calibration error and F1 are matrix products; the rank
metrics (AUROC, average precision, sensitivity at a specificity) come from the cumulative weights of
positives and negatives in the order of the scores, sorted once for all resamples.

The jackknife that the BCa interval needs is the same computation with other weights.

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

METRICS = ("auroc", "average_precision", "f1", "f1_half", "brier", "ece")
"""What `resampled_metrics` computes for every class."""

_COLUMNS_AT_ONCE = 64
"""Weight columns handled together: 64 columns of some 4,000 records stay in the second-level cache,
which was measured to be twice as fast as all 2,000 at once."""


def patient_weights(patient_id: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Weights:
    """Draw bootstrap resamples of patients.

    Parameters
    ----------
    patient_id : array_like of int, shape (n_records,)
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape (n_records, n_resamples)
        How often the record's patient was drawn; all records of a patient agree.
    """
    _, patient = np.unique(np.asarray(patient_id), return_inverse=True)
    n_patients = int(patient.max()) + 1 if len(patient) else 0
    if n_patients < 2:
        raise LeadminError(
            f"A bootstrap needs at least two patients; these records have {n_patients}."
        )
    times = np.empty((n_resamples, n_patients), dtype=np.uint8)
    for row in times:
        row[:] = np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
    return np.ascontiguousarray(times.T[patient])


def jackknife_weights(patient_id: ArrayLike, max_groups: int = 500) -> Weights:
    """Leave out one patient, or one group of patients, at a time.

    Parameters
    ----------
    patient_id : array_like of int, shape (n_records,)
    max_groups : int
        With more patients than this they are dealt into that many groups. The acceleration of the
        BCa interval is a ratio of sums over patients which such grouping leaves unbiased.

    Returns
    -------
    ndarray of uint8, shape (n_records, n_groups)
        0 where the record's patient is left out, else 1.
    """
    _, patient = np.unique(np.asarray(patient_id), return_inverse=True)
    n_groups = min(int(patient.max()) + 1, max_groups)
    group = patient % n_groups
    return (group[:, None] != np.arange(n_groups)).astype(np.uint8)


def rank_metrics(
    labels: NDArray[np.uint8], scores: NDArray[np.float64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """AUROC and average precision of one class under many record weights.

    Parameters
    ----------
    labels : ndarray of 0 and 1, shape (n_records,)
    scores : ndarray, shape (n_records,)
    weights : ndarray of non-negative integers, shape (n_records, n_resamples)

    Returns
    -------
    dict of str to ndarray, shape (n_resamples,)
        ``auroc`` and ``average_precision``; NaN in a resample that lacks a class value.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    positive = labels[order] == 1
    # of each positive: the first and one past the last record that has the same score
    first = np.searchsorted(ordered, ordered[positive], side="left")
    past = np.searchsorted(ordered, ordered[positive], side="right")
    tied = bool((past - first > 1).any())
    sign = positive[:, None].astype(np.float32)

    n_resamples = weights.shape[1]
    area = np.empty(n_resamples)
    precision = np.empty(n_resamples)
    for columns, block in _blocks(weights):
        w = block[order].astype(np.float32)
        # counts stay below 2**24, so float32 holds them exactly, and its sums are twice as fast
        positives_to = np.zeros((len(w) + 1, w.shape[1]), dtype=np.float32)
        all_to = np.zeros_like(positives_to)
        np.cumsum(w * sign, axis=0, out=positives_to[1:])
        np.cumsum(w, axis=0, out=all_to[1:])
        n_all, n_positive = all_to[-1], positives_to[-1]
        own = w[positive]
        all_below, positives_below = all_to[first], positives_to[first]
        negatives_beaten = all_below - positives_below
        if tied:
            negatives_beaten = (negatives_beaten + all_to[past] - positives_to[past]) / 2
        won = np.multiply(own, negatives_beaten).sum(axis=0, dtype=np.float64)
        pairs = n_positive.astype(np.float64) * (n_all - n_positive)
        with np.errstate(invalid="ignore", divide="ignore"):
            area[columns] = won / pairs
            called = n_all - all_below
            share = np.where(called > 0, (n_positive - positives_below) / called, 0)
            precision[columns] = (own * share).sum(axis=0, dtype=np.float64) / n_positive
    return {"auroc": area, "average_precision": precision}


def resampled_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike,
    weights: Weights,
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `METRICS` for every class under many record weights.

    With a single column of ones these are the metrics of `leadmin.metrics`. The bins of the
    calibration error are those of the records at hand in every resample.

    Parameters
    ----------
    labels, probabilities : array_like, shape (n_records, n_classes)
    thresholds : array_like, shape (n_classes,)
        For ``f1``.
    weights : ndarray of uint8, shape (n_records, n_resamples)

    Returns
    -------
    dict of str to ndarray, shape (n_resamples, n_classes)
    """
    y = np.asarray(labels, dtype=np.uint8)
    p = np.asarray(probabilities, dtype=np.float64)
    cut = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (y.shape[1],))
    n_resamples, n_classes = weights.shape[1], y.shape[1]
    result = {name: np.full((n_resamples, n_classes), np.nan) for name in METRICS}
    for c in range(n_classes):
        for name, values in rank_metrics(y[:, c], p[:, c], weights).items():
            result[name][:, c] = values

    called, called_half = p >= cut, p >= 0.5
    hit, hit_half = called & (y == 1), called_half & (y == 1)
    counts = np.hstack([called, called_half, hit, hit_half, y == 1, np.ones((len(y), 1))])
    counts = counts.astype(np.float32)
    squared = (p - y) ** 2
    n_bins = metrics.ECE_BINS
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


def percentile_interval(
    replicates: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Two-sided percentile interval of bootstrap replicates.

    Parameters
    ----------
    replicates : ndarray, shape (n_resamples,)
        NaN replicates (a resample without the class) are left out.
    level : float
        Coverage aimed at.

    Returns
    -------
    tuple of float
        Lower and upper bound; NaN where fewer than half of the replicates are defined.
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < max(1, len(replicates) / 2):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(
    estimate: float,
    replicates: NDArray[np.float64],
    jackknife: NDArray[np.float64],
    level: float = 0.95,
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval [1]_.

    Parameters
    ----------
    estimate : float
        The statistic of the records at hand.
    replicates : ndarray, shape (n_resamples,)
        The statistic under `patient_weights`.
    jackknife : ndarray, shape (n_groups,)
        The statistic under `jackknife_weights`.
    level : float
        Coverage aimed at.

    Returns
    -------
    tuple of float
        Falls back to the percentile interval where all replicates lie on one side of the estimate.

    References
    ----------
    .. [1] Efron B. Better bootstrap confidence intervals. J. Am. Statist. Assoc. 82, 171-185
       (1987).
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < max(1, len(replicates) / 2) or np.isnan(estimate):
        return float("nan"), float("nan")
    # replicates equal to the estimate count half, as ties at a discrete statistic should
    below = np.mean(defined < estimate) + np.mean(defined == estimate) / 2
    if not 0 < below < 1:
        return percentile_interval(replicates, level)
    bias = ndtri(below)
    influence = np.nanmean(jackknife) - jackknife[~np.isnan(jackknife)]
    spread = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * spread) if spread > 0 else 0.0
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(defined, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def bootstrap_p(replicates: NDArray[np.float64], null: float = 0.0) -> float:
    """Two-sided p value of "the effect equals ``null``", by inverting the percentile interval.

    It is below 0.05 exactly when the 95% percentile interval excludes ``null`` (up to one
    replicate), so that a table's interval and p value never disagree. Never zero: with 2,000
    resamples the smallest value is 0.001.

    Parameters
    ----------
    replicates : ndarray, shape (n_resamples,)
        Of the effect.
    """
    defined = replicates[~np.isnan(replicates)]
    if not len(defined):
        return float("nan")
    below = (np.sum(defined < null) + np.sum(defined == null) / 2 + 1) / (len(defined) + 1)
    above = (np.sum(defined > null) + np.sum(defined == null) / 2 + 1) / (len(defined) + 1)
    return float(min(1.0, 2 * min(below, above)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for the family-wise error rate by Holm's step-down method [1]_.

    Parameters
    ----------
    p_values : array_like, shape (n_tests,)
        NaN (a test that could not be made) stays NaN and does not count.

    References
    ----------
    .. [1] Holm S. A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6,
       65-70 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.flatnonzero(~np.isnan(p))[np.argsort(p[~np.isnan(p)], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _blocks(weights: Weights, size: int = _COLUMNS_AT_ONCE) -> Iterator[tuple[slice, Weights]]:
    """Cut the weight columns into blocks that fit the processor's cache."""
    for start in range(0, weights.shape[1], size):
        columns = slice(start, min(start + size, weights.shape[1]))
        yield columns, weights[:, columns]
