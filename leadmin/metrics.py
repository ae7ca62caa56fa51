"""Point metrics of multi-label predictions, and the scores that compare lead sets.

Every function takes labels ``(n_records, n_classes)`` of zeros and ones and probabilities of the
same shape; per-class results come back as ``(n_classes,)`` in the order of the labels.

**What is undefined.** A class for which the records at hand hold only one label value has no AUROC,
and one without a positive has no average precision; the value is NaN, never 0.5 or 0. The macro
average is the mean over the classes that have a value (`macro`): two sets of records, such as two
resamples, need not average over the same ones (see `leadmin.evidence.scores`).

What is no label, no finite score or no probability is refused with a `LeadminError` (`checked`):
NaN is a failed training, not a bad prediction.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_curve

from leadmin.errors import LeadminError
from leadmin.labels import CLASSES

ECE_BINS = 15
"""Bins of `calibration_error`, each with the same number of records."""

OPERATING_POINTS = {
    f"{measured}_at_{level:.0f}_{fixed}": (fixed, level / 100)
    for measured, fixed in (("sensitivity", "specificity"), ("specificity", "sensitivity"))
    for level in (90, 95)
}
"""Name of each operating point: which side is fixed, and at what value at least."""

LRS_BRIER_SCALE = 0.25
"""Brier score of a constant probability of one half: the unit of the calibration term of `lrs`."""

LRS_WEIGHT = 0.7
"""That of the AUROC ratio in `lrs`."""


def probabilities(logits: ArrayLike) -> NDArray[np.float64]:
    """Turn logits of any shape into probabilities, in double precision so that ranks survive."""
    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def macro(per_class: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Average over the classes on ``axis`` that are not NaN; NaN where there is none."""
    values = np.asarray(per_class, dtype=np.float64)
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return _ratio(total, count)


def auroc(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Area under the ROC curve of each class, by the rank formula.

    With ranks r of the scores among m positives and n negatives, ties sharing their mean rank,
    ``(sum of r over the positives - m (m + 1) / 2) / (m n)``: the probability that a positive
    record outscores a negative one, ties counting half [1]_.

    References
    ----------
    .. [1] Hanley JA, McNeil BJ. The meaning and use of the area under a receiver operating
       characteristic (ROC) curve. Radiology 143, 29-36 (1982).
    """
    y, s = checked(labels, scores)
    positives = y.sum(axis=0, dtype=np.int64)
    negatives = len(y) - positives
    ranks = rankdata(s, axis=0) if len(y) else np.zeros(s.shape)
    above = np.where(y, ranks, 0.0).sum(axis=0) - positives * (positives + 1) / 2
    return _ratio(above, positives * negatives)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each class, as scikit-learn defines it; NaN without a positive."""
    y, s = checked(labels, scores)
    columns = zip(y.T, s.T, strict=True)
    return np.array([average_precision_score(c, of) if c.any() else np.nan for c, of in columns])


def operating_points(labels: ArrayLike, scores: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """`OPERATING_POINTS` of each class: the best value among all thresholds that reach the other.

    Read off the ROC curve without interpolation; NaN for a class with one label value.
    """
    y, s = checked(labels, scores)
    result = {name: np.full(y.shape[1], np.nan) for name in OPERATING_POINTS}
    for c in range(y.shape[1]):
        if len(np.unique(y[:, c])) < 2:
            continue
        false_rate, sensitivity, _ = roc_curve(y[:, c], s[:, c], drop_intermediate=False)
        rates = {"sensitivity": sensitivity, "specificity": 1 - false_rate}
        for name, (fixed, level) in OPERATING_POINTS.items():
            # 1 - rate rounds, and 0.9 must count as 90%
            reached = rates[fixed] >= level - 1e-9
            result[name][c] = rates[name.partition("_")[0]][reached].max()
    return result


def thresholds(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """Choose the threshold of each class that maximises F1. Give it validation records only.

    The threshold lies halfway between two neighbouring probabilities; among equal F1 values the
    higher threshold wins. It is 0.5 for a class without a positive.
    """
    y, p = checked(labels, probabilities, unit=True)
    chosen = np.full(y.shape[1], 0.5)
    for c in range(y.shape[1]):
        if not y[:, c].any():
            continue
        order = np.argsort(-p[:, c], kind="stable")
        descending, hits = p[order, c], np.cumsum(y[order, c])
        last_of_tie = np.flatnonzero(np.append(np.diff(descending) != 0, True))
        f1_at = 2 * hits[last_of_tie] / (last_of_tie + 1 + hits[-1])
        best = int(np.argmax(f1_at))
        value = descending[last_of_tie[best]]
        below = descending[last_of_tie[best + 1]] if best + 1 < len(last_of_tie) else value
        middle = (value + below) / 2
        chosen[c] = middle if middle > below else value
    return chosen


def f1(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """F1 score of each class at given thresholds.

    Thresholds are a scalar, (n_classes,) or (n_records, n_classes); a record is called positive
    when its probability is at least the threshold. F1 is 0 for a class that has positives or calls
    but no hit, NaN for one that has neither.
    """
    y, p = checked(labels, probabilities, unit=True)
    called = p >= thresholds_of(thresholds, y.shape)
    hits = (called & (y == 1)).sum(axis=0)
    return _ratio(2.0 * hits, called.sum(axis=0) + y.sum(axis=0, dtype=np.int64))


def brier(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """Brier score of each class: the mean squared distance of probability and label."""
    y, p = checked(labels, probabilities, unit=True)
    return _ratio(((p - y) ** 2).sum(axis=0), len(y))


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, n_bins: int = ECE_BINS
) -> NDArray[np.float64]:
    """Compute the expected calibration error of each class over adaptive bins.

    The bins hold equally many records each; records with equal probability share a bin. The error
    is the mean over records of the distance, in the record's bin, between mean probability and
    share of positives [1]_.

    References
    ----------
    .. [1] Nixon J et al. Measuring calibration in deep learning. CVPR Workshops (2019).
    """
    y, p = checked(labels, probabilities, unit=True)
    if not len(y):
        return np.full(y.shape[1], np.nan)
    gaps = (
        np.bincount(calibration_bins(q, n_bins), q - of) for q, of in zip(p.T, y.T, strict=True)
    )
    return np.array([np.abs(gap).sum() for gap in gaps]) / len(y)


def calibration_bins(values: NDArray[np.float64], n_bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Sort each of (n_records,) probabilities into its equal-count bin, 0 to ``n_bins - 1``.

    Ties never span two bins, so a bin can be empty.
    """
    if n_bins < 1 or not len(values):
        raise LeadminError(
            f"calibration bins: {n_bins} bins of {len(values)} records; valid: one or more of "
            "both; give records"
        )
    edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(edges, values, side="right")


def lrs(auroc: ArrayLike, brier: ArrayLike, auroc_12: ArrayLike, brier_12: ArrayLike) -> Any:
    """Lead robustness score of a lead set, as the original study defines it.

    ``0.7 * auroc / auroc_12 + 0.3 * (1 - (brier - brier_12) / 0.25)`` of macro averages: 1 for the
    12 leads themselves, and some 0.68 for a coin flip with an unchanged Brier score, since it
    divides the AUROC and not its excess over chance. Hence `chance_corrected_retention` stands
    beside it.
    """
    _check_shares(auroc=auroc, brier=brier, auroc_12=auroc_12, brier_12=brier_12)
    calibration = 1 - (np.asarray(brier) - np.asarray(brier_12)) / LRS_BRIER_SCALE
    return LRS_WEIGHT * _ratio(auroc, auroc_12) + (1 - LRS_WEIGHT) * calibration


def retention(auroc: ArrayLike, auroc_12: ArrayLike) -> Any:
    """Share of the 12-lead AUROC that a lead set keeps, ``auroc / auroc_12``."""
    _check_shares(auroc=auroc, auroc_12=auroc_12)
    return _ratio(auroc, auroc_12)


def chance_corrected_retention(auroc: ArrayLike, auroc_12: ArrayLike) -> Any:
    """Share of the 12-lead *discrimination* kept, ``(auroc - 0.5) / (auroc_12 - 0.5)``.

    0 for a coin flip and 1 for the 12 leads, which `retention` and `lrs` are not; NaN where the 12
    leads are a coin flip themselves.
    """
    _check_shares(auroc=auroc, auroc_12=auroc_12)
    return _ratio(np.asarray(auroc) - 0.5, np.asarray(auroc_12) - 0.5)


def summary(
    labels: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike | None = None,
    classes: Sequence[str] = CLASSES,
) -> dict[str, Any]:
    """Give every point metric of one set of predictions, ready for JSON.

    The thresholds, (n_classes,) or (n_records, n_classes), are chosen on validation records by
    `thresholds`; without them ``f1`` is that at 0.5. Gives ``n_records`` and the macro values
    ``auroc, average_precision, f1, f1_half`` (at 0.5), ``brier, ece`` and `OPERATING_POINTS`; and
    ``per_class``, by class the same keys plus ``threshold`` (mean over networks) and
    ``n_positive``. Undefined values are None.
    """
    y, p = checked(labels, probabilities, unit=True)
    if y.shape[1] != len(classes):
        raise LeadminError(
            f"labels: they have {y.shape[1]} classes; valid: {', '.join(classes)}; give one "
            "column each"
        )
    cut = thresholds_of(0.5 if thresholds is None else thresholds, y.shape)
    # the records of a network share their thresholds
    each = np.unique(cut, axis=0)
    per_metric = {
        "auroc": auroc(y, p),
        "average_precision": average_precision(y, p),
        "f1": f1(y, p, cut),
        "f1_half": f1(y, p, 0.5),
        "brier": brier(y, p),
        "ece": calibration_error(y, p),
        **operating_points(y, p),
    }
    result: dict[str, Any] = {"n_records": len(y)}
    result |= {name: _plain(macro(values)) for name, values in per_metric.items()}
    result["per_class"] = {
        name: {metric: _plain(values[c]) for metric, values in per_metric.items()}
        | {
            "threshold": _plain(each[:, c].mean() if len(each) else np.nan),
            "n_positive": int(y[:, c].sum()),
        }
        for c, name in enumerate(classes)
    }
    return result


def _plain(value: Any) -> float | None:
    """JSON has no NaN: an undefined value becomes null."""
    return None if np.isnan(value) else float(value)


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Divide, giving NaN where the denominator is zero."""
    below = np.asarray(denominator, dtype=np.float64)
    return np.asarray(numerator / np.where(below == 0, np.nan, below))[()]


def _check_shares(**named: ArrayLike) -> None:
    """Refuse an AUROC or Brier score that is not between 0 and 1, or NaN where undefined."""
    for name, values in named.items():
        outside = np.asarray(values)[(np.asarray(values) < 0) | (np.asarray(values) > 1)]
        if outside.size:
            raise LeadminError(
                f"{name}: {outside.flat[0]:g} found; valid: 0 to 1, or NaN where undefined; check "
                "what it was computed from"
            )


def checked(
    labels: ArrayLike, scores: ArrayLike, ndim: int = 2, unit: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Check zeros and ones and as many finite scores once, at the door of every metric.

    Both are (n_records,) or (n_records, n_classes) by ``ndim``; with ``unit`` the scores must be
    probabilities. The error names what is wrong, and the first row where it is.
    """
    y = np.asarray(labels)
    try:
        s = np.asarray(scores, dtype=np.float64)
    except ValueError as error:
        raise LeadminError(
            f"scores: not an array of numbers ({error}); valid: numbers of one shape; convert them"
        ) from error
    if y.ndim != ndim or y.shape != s.shape:
        raise LeadminError(
            f"labels and scores: their shapes are {y.shape} and {s.shape}; valid: both "
            f"{('(n_records,)', '(n_records, n_classes)')[ndim - 1]}; give each label one score"
        )
    # NaN is neither 0 nor 1, neither above nor below
    for what, wrong, valid in (
        ("labels", ~((y == 0) | (y == 1)), "0 and 1; choose a label policy"),
        ("scores", ~np.isfinite(s), "finite numbers; the training has failed, run it again"),
        ("probabilities", unit & ~((s >= 0) & (s <= 1)), "0 to 1; turn logits into probabilities"),
    ):
        if np.any(wrong):
            values = y if what == "labels" else s
            rows = np.flatnonzero(wrong.reshape(len(y), -1).any(axis=1))
            raise LeadminError(
                f"{what}: {len(rows)} of {len(y)} records hold a value such as "
                f"{values[wrong].flat[0]}, the first at row {rows[0]}; valid: {valid}"
            )
    return y.astype(np.uint8, copy=False), s


def thresholds_of(thresholds: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Spread thresholds over records of the given shape, one of the three forms of `f1`."""
    given = np.asarray(thresholds, dtype=np.float64)
    if np.isnan(given).any() or given.shape not in ((), shape[1:], shape):
        raise LeadminError(
            f"thresholds: the shape is {given.shape} and {int(np.isnan(given).sum())} are NaN; "
            f"valid: one number, or numbers of shape {shape[1:]} or {shape}; choose them with "
            "`thresholds`"
        )
    return np.broadcast_to(given, shape)
