"""Areas under the ROC curve, their covariance and tests, by DeLong's formula."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence import resampling

_ROUNDING = 1e-12
"""Share of its terms below which a sum counts as 0."""


@dataclass(frozen=True)
class DeLong:
    """AUROCs (n_scores,) of several scores on the same records, with their covariance."""

    auroc: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def contrast(self, coefficients: ArrayLike) -> dict[str, float]:
        """Estimate and test a linear combination of the AUROCs, two-sided and normal.

        ``[1, -1]`` is a difference; several seeds of one configuration share ``1 / n_seeds``.
        Scores that order the records alike differ by 0 without any variance: then ``z`` is 0 and
        ``p`` 1. Another difference without variance has no normal test: both are NaN.
        """
        c = np.asarray(coefficients, dtype=np.float64)
        estimate, variance = float(c @ self.auroc), float(c @ self.covariance @ c)
        # what is left of terms that cancel is rounding
        if abs(estimate) <= _ROUNDING * float(np.abs(c) @ self.auroc):
            estimate = 0.0
        if variance <= _ROUNDING * float(np.abs(c) @ np.abs(self.covariance) @ np.abs(c)):
            variance = 0.0
        error = math.sqrt(max(variance, 0.0))
        undefined = 0.0 if estimate == 0 else float("nan")
        z = estimate / error if error else undefined
        reach = float(ndtri((1 + resampling.LEVEL) / 2)) * error
        return {
            "estimate": estimate,
            "standard_error": error,
            "low": estimate - reach,
            "high": estimate + reach,
            "z": z,
            "p": 2 * float(ndtr(-math.fabs(z))),
        }


def delong(labels: ArrayLike, scores: ArrayLike, patient_id: ArrayLike | None = None) -> DeLong:
    """AUROC of one class and its covariance over several scores, without resampling.

    DeLong's covariance of placement values [1]_, by mid-ranks [2]_, so that the cost is that of a
    sort. With patients who have several records it is Obuchowski's extension [3]_: placement values
    are summed over each patient first. With one record a patient both are the same.

    Labels are (n_records,), 0 and 1; both must occur, and where one occurs in a single patient the
    covariance is NaN. Scores are (n_scores, n_records). Without ``patient_id``, (n_records,), every
    record counts as a patient.

    References
    ----------
    .. [1] DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more
       correlated receiver operating characteristic curves. Biometrics 44, 837-845 (1988).
    .. [2] Sun X, Xu W. Fast implementation of DeLong's algorithm. IEEE Signal Process. Lett. 21,
       1389-1393 (2014).
    .. [3] Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 53,
       567-578 (1997).
    """
    s = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    each = np.broadcast_to(labels, s.shape[:1] + np.shape(labels))
    y = metrics.checked(each.T, s.T)[0][:, 0] == 1
    m, n = int(y.sum()), int((~y).sum())
    if not m or not n:
        raise LeadminError(
            f"labels: {m} and {n} positive and negative records; valid: at least one of each, or "
            "there is no AUROC; give more records"
        )
    ranks = rankdata(s, axis=1)
    of_positives = (ranks[:, y] - rankdata(s[:, y], axis=1)) / n
    of_negatives = 1 - (ranks[:, ~y] - rankdata(s[:, ~y], axis=1)) / m
    area = of_positives.mean(axis=1)

    ids = np.arange(len(y)) if patient_id is None else patient_id
    patient, n_patients = resampling.numbered_patients(ids)
    if len(patient) != len(y):
        raise LeadminError(
            f"patient_id: {len(patient)} patients of {len(y)} records; valid: one per record; "
            "give both of the same records"
        )
    positive, negative = (
        np.stack([np.bincount(patient[of], row, n_patients) for row in placed - area[:, None]])
        for of, placed in ((y, of_positives), (~y, of_negatives))
    )
    with_positive, with_negative = len(np.unique(patient[y])), len(np.unique(patient[~y]))
    with np.errstate(invalid="ignore", divide="ignore"):
        s10 = positive @ positive.T * with_positive / (with_positive - 1) / m
        s01 = negative @ negative.T * with_negative / (with_negative - 1) / n
        s11 = positive @ negative.T * n_patients / (n_patients - 1)
    covariance = s10 / m + s01 / n + (s11 + s11.T) / (m * n)
    return DeLong(area, covariance)
