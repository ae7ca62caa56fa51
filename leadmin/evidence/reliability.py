"""Whether probabilities can be believed: calibration, recalibration, net benefit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.signal import fftconvolve
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from leadmin.errors import LeadminError
from leadmin.metrics import checked
from leadmin.study.protocol import networks
from leadmin.study.run import Run

LOGIT_LIMIT = 30.0
"""Logits are cut here: beyond it a probability is 0 or 1 in double precision for any purpose."""

STEEPEST = 100.0
"""A calibration slope beyond this means that the classes are separated; it is reported as NaN."""

_UNDEFINED = float("nan"), float("nan")

_CONVERGED = 1e-10
"""A step smaller than this, in standard deviations of the logit, ends the fit."""

_NARROWEST = 0.001
"""Kernels narrower than this are not tried: the error would then be the mean absolute residual."""


@dataclass(frozen=True)
class CalibrationLine:
    """Logistic regression of a label on the network's logit.

    The slope is 1 where the logits have the right spread; below 1 they are too extreme. The offset
    is the intercept when the slope is held at 1, "calibration in the large": above 0 where the
    probabilities are too low on the whole.
    """

    slope: float
    intercept: float
    offset: float


def calibration_line(labels: ArrayLike, logits: ArrayLike) -> CalibrationLine:
    """Fit calibration slope, intercept and calibration in the large of one class [1]_.

    Labels and logits are (n_records,). NaN where the labels have one value, the logits are
    constant, or the logits separate the labels, since the regression has no finite solution then.

    References
    ----------
    .. [1] Cox DR. Two further applications of a model for binary regression. Biometrika 45,
       562-565 (1958).
    """
    y, x = _clipped(*checked(labels, logits, ndim=1))
    if len(np.unique(y)) < 2:
        return CalibrationLine(*_UNDEFINED, np.nan)
    # the mean probability grows with the offset, so the root is bracketed
    offset = float(brentq(lambda o: float(np.mean(expit(x + o) - y)), -100, 100, xtol=1e-12))
    return CalibrationLine(*_slope_and_intercept(y, x), offset)


def _slope_and_intercept(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[float, float]:
    """Fit the logistic regression by Newton's method; NaN where there is no finite solution."""
    own, other = x[y == 1], x[y == 0]
    if not len(own) or not len(other) or own.min() >= other.max() or own.max() <= other.min():
        return _UNDEFINED  # one threshold tells them apart: no finite slope fits
    # scikit-learn's gives the same numbers and takes twenty times as long
    centre, spread = x.mean(), x.std()
    design = np.stack([(x - centre) / spread, np.ones_like(x)])
    fitted, step, loss = np.zeros(2), np.zeros(2), np.inf
    for _ in range(200):
        linear = (fitted + step) @ design
        trial = float(np.logaddexp(0, linear).sum() - y @ linear)
        if trial > loss:  # a Newton step can overshoot; half of it may not
            if np.abs(step).max() < _CONVERGED:
                break
            step /= 2
            continue
        fitted, loss = fitted + step, trial
        p = expit(linear)
        step = np.linalg.solve((design * (p * (1 - p))) @ design.T, design @ (y - p))
        if np.abs(step).max() < _CONVERGED:
            break
    slope = float(fitted[0] / spread)
    if not np.isfinite(slope) or abs(slope) > STEEPEST:
        return _UNDEFINED
    return slope, float(fitted[1] - slope * centre)


def resampled_calibration(
    labels: ArrayLike, logits: ArrayLike, line: CalibrationLine, weights: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Calibration ``slope`` and ``offset``, (n_resamples,), under many weights, without refitting.

    The weighted score equations are expanded to second order at the estimate, ``line``, and solved
    for all resamples by one matrix product. What the expansion leaves out is small beside the
    sampling error. Labels and logits are (n_records,), weights (n_records, n_resamples).
    """
    y, x = _clipped(*checked(labels, logits, ndim=1))
    if weights.ndim != 2 or len(weights) != len(y):
        raise LeadminError(
            f"weights: shape {weights.shape}; valid: ({len(y)}, n_resamples); draw them with "
            "`patient_weights`"
        )
    p = expit(line.intercept + line.slope * x)
    shifted = expit(line.offset + x)
    # derivatives of the log-likelihood: first, second and third, times powers of x
    second, third = p * (1 - p), p * (1 - p) * (1 - 2 * p)
    second_shifted = shifted * (1 - shifted)
    terms = np.column_stack(
        [
            *((y - p) * x**k for k in range(2)),
            *(second * x**k for k in range(3)),
            *(third * x**k for k in range(4)),
            y - shifted,
            second_shifted,
            second_shifted * (1 - 2 * shifted),
        ]
    )
    g0, g1, h0, h1, h2, k0, k1, k2, k3, g, h, k = (
        weights.T.astype(np.float64, copy=False) @ terms
    ).T
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = h0 * h2 - h1**2
        a = (h2 * g0 - h1 * g1) / determinant
        b = (h0 * g1 - h1 * g0) / determinant
        # what the curvature's change along the step (a, b) leaves of the score
        r0 = a * a * k0 + 2 * a * b * k1 + b * b * k2
        r1 = a * a * k1 + 2 * a * b * k2 + b * b * k3
        slope = line.slope + b - (h0 * r1 - h1 * r0) / (2 * determinant)
        step = g / h
        offset = line.offset + step - k * step**2 / (2 * h)
    return {"slope": slope, "offset": offset}


def brier_decomposition(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Split the Brier score of one class into what calibration and what ranking contribute.

    ``brier = miscalibration - discrimination + uncertainty``, exactly and without bins: the
    recalibrated forecast is the isotonic regression of the labels on the probabilities [1]_. So
    miscalibration is what recalibration would gain, discrimination what the ranking gains over the
    prevalence, and uncertainty the Brier score of the prevalence. Both arrays are (n_records,).

    References
    ----------
    .. [1] Dimitriadis T, Gneiting T, Jordan AI. Stable reliability diagrams for probabilistic
       classifiers. PNAS 118, e2016191118 (2021).
    """
    y, p = _checked_probabilities(labels, probabilities)
    recalibrated = IsotonicRegression(y_min=0, y_max=1).fit_transform(p, y)
    at_best = float(np.mean((recalibrated - y) ** 2))
    uncertainty = float(np.mean((y.mean() - y) ** 2))
    return {
        "miscalibration": float(np.mean((p - y) ** 2)) - at_best,
        "discrimination": uncertainty - at_best,
        "uncertainty": uncertainty,
    }


def smooth_calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Smooth calibration error of one class [1]_.

    The residuals, smoothed over the probability by a Gaussian kernel, in absolute value and
    averaged. The kernel is as wide as the error itself, found by bisection: the error falls as the
    kernel widens. Labels and probabilities are (n_records,).

    References
    ----------
    .. [1] Blasiok J, Nakkiran P. Smooth ECE: principled reliability diagrams via kernel smoothing.
       ICLR (2024).
    """
    y, p = _checked_probabilities(labels, probabilities)
    wide, narrow = 1.0, 0.0
    for _ in range(10):
        width = (wide + narrow) / 2
        if width < _NARROWEST or width < _smoothed_error(y, p, width):
            narrow = width
        else:
            wide = width
    return _smoothed_error(y, p, wide)


def _smoothed_error(y: NDArray[np.float64], p: NDArray[np.float64], width: float) -> float:
    """Mean absolute residual, smoothed on a grid by a Gaussian kernel reflected at 0 and 1."""
    n_grid = max(2000, round(20 / width)) // 2 + 1
    kernel = np.exp(-((np.linspace(-0.5, 0.5, n_grid) / width) ** 2) / 2)
    place = p * (n_grid - 1)
    left = np.minimum(place.astype(np.intp), n_grid - 2)
    mesh = np.linspace(0, 1, max(200, round(10 / width)))
    sums = []
    for values in (p - y, np.ones_like(p)):
        on_grid = np.bincount(left, values * (left + 1 - place), n_grid)
        on_grid += np.bincount(left + 1, values * (place - left), n_grid)
        reflected = np.concatenate([on_grid[:0:-1], on_grid, on_grid[-2::-1]])
        smooth = fftconvolve(reflected, kernel, mode="valid")[n_grid // 2 :][:n_grid]
        sums.append(np.abs(np.interp(mesh, np.linspace(0, 1, n_grid), smooth)).sum())
    return float(sums[0] / sums[1])


BENEFIT_THRESHOLD = 0.2
"""Where net benefit is told in one number: a missed record weighs as four false calls do."""


@dataclass(frozen=True)
class Recalibration:
    """Platt scaling of each class, fitted on other records than those it is applied to.

    Slope and intercept are (n_classes,); 1 and 0 where the class could not be fitted or its slope
    was not positive, because a recalibration must not turn the ranking round.
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def __call__(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Recalibrate logits of shape (n_records, n_classes); the order within a class stays."""
        return self.intercept + self.slope * np.asarray(logits, dtype=np.float64)


def fit_recalibration(labels: ArrayLike, logits: ArrayLike) -> Recalibration:
    """Fit Platt scaling [1]_ per class. Give it validation records only, (n_records, n_classes).

    References
    ----------
    .. [1] Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin
       Classifiers, 61-74 (1999).
    """
    y, x = checked(labels, logits)
    slope, intercept = np.ones(y.shape[1]), np.zeros(y.shape[1])
    for c in range(y.shape[1]):
        found = _slope_and_intercept(*_clipped(y[:, c], x[:, c]))
        if found[0] > 0:
            slope[c], intercept[c] = found
    return Recalibration(slope, intercept)


def recalibrated_logits(run: Run, recipe: str) -> NDArray[np.float64]:
    """Test logits (n_seeds, n_records, n_classes), each network recalibrated on its own fold."""
    logits = np.array(run.test.logits[recipe], dtype=np.float64)
    for own, tested in networks(run.validation.fold, run.test.fold):
        for of_seed, validation in zip(logits, run.validation.logits[recipe], strict=True):
            fitted = fit_recalibration(run.validation.labels[own], validation[own])
            of_seed[tested] = fitted(of_seed[tested])
    return logits


def _checked_probabilities(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = checked(labels, probabilities, ndim=1, unit=True)
    if not len(p):
        raise LeadminError("probabilities: no records; valid: one or more; give records")
    return y.astype(np.float64), p


def _clipped(
    labels: NDArray[np.uint8], logits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return labels.astype(np.float64), np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)


def benefit_of_records(
    y: NDArray[np.float64], p: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Net benefit [1]_ of each record, (..., n_thresholds), of acting from a threshold on.

    1 for a true positive, less a false one at the exchange rate that the threshold implies,
    ``t / (1 - t)``; a resample's net benefit is a weighted mean of them.

    References
    ----------
    .. [1] Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction
       models. Med. Decis. Making 26, 565-574 (2006).
    """
    y, p = y[..., None], p[..., None]
    return np.asarray((p >= t) * (y - (1 - y) * t / (1 - t)))
