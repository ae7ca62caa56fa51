"""Measure coverage and false-positive rate of the study's intervals and tests.

    python benchmarks/coverage.py [--studies 2000] [--resamples 1000] [--patients 420]

A world with known truth: patients have one or a few records. Every class is a pair of normal
distributions of the logit, so that AUROC and Brier score are known exactly; three networks read the
same records with correlated errors: a reference, one that is exactly as good, and one that is worse
by exactly the non-inferiority margin. `coverage` draws many such studies, analyses each as a real
one is analysed, and counts how often the truth lies inside the interval; some 0.12 s a study on one
core.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import binomtest

from leadmin import metrics
from leadmin.evidence import resampling
from leadmin.evidence.delong import delong
from leadmin.evidence.reliability import calibration_line, resampled_calibration
from leadmin.evidence.scores import LEVEL, MARGIN

NETWORKS = ("reference", "equal", "worse by the margin")

METHODS = ("percentile", "bca", "normal")

METHOD_IN_TABLES = {
    "macro AUROC": "bca",
    "AUROC of the rarest class": "bca",
    "Brier score": "bca",
    "calibration slope": "normal",
    "difference, equal": "percentile",
    "difference, worse by the margin": "percentile",
    "retention above chance": "percentile",
    "LRS": "percentile",
}
"""Which interval the tables of a study use for each statistic."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Where simulated studies come from.

    Attributes
    ----------
    n_patients : int
        Of one study. The defaults resemble a tenth of the records that the study was built on.
    prevalence : tuple of float
        Of each class.
    auroc : tuple of float
        True AUROC of the reference in each class.
    margin : float
        By how much the worse network's macro AUROC is lower.
    shared : float
        Share of the error variance that the networks have in common, which makes comparisons
        paired in earnest.
    repeated : float
        Share of patients with a second record, that has the same labels and half of its error in
        common with the first.
    """

    n_patients: int = 420
    prevalence: tuple[float, ...] = (0.45, 0.22, 0.24, 0.21, 0.12)
    auroc: tuple[float, ...] = (0.93, 0.89, 0.90, 0.88, 0.85)
    margin: float = MARGIN
    shared: float = 0.85
    repeated: float = 0.05

    def true_auroc(self) -> Array:
        """Give the true AUROC, shape (3 networks, n_classes)."""
        reference = np.array(self.auroc)
        return np.stack([reference, reference, reference - self.margin])

    def separation(self) -> Array:
        """Distance of the two normal distributions in standard deviations, same shape."""
        return np.asarray(np.sqrt(2) * ndtri(self.true_auroc()))

    def true_brier(self) -> Array:
        """Give the true Brier score, same shape, by Gauss-Hermite quadrature."""
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(80)
        node_weights = node_weights / node_weights.sum()
        centre = self.separation()[..., None]
        shift = self._shift()[..., None]
        of_positive = (
            (1 - expit(self._scale() * (nodes + centre / 2) + shift)) ** 2
        ) @ node_weights
        of_negative = (expit(self._scale() * (nodes - centre / 2) + shift) ** 2) @ node_weights
        share = np.array(self.prevalence)
        return np.asarray(share * of_positive + (1 - share) * of_negative)

    def truth(self) -> dict[str, float]:
        """Give the true value of every statistic that `coverage` estimates."""
        auroc, brier = self.true_auroc(), self.true_brier()
        macro, mean_brier = auroc.mean(axis=1), brier.mean(axis=1)
        return {
            "macro AUROC": float(macro[0]),
            "AUROC of the rarest class": float(auroc[0, int(np.argmin(self.prevalence))]),
            "Brier score": float(mean_brier[0]),
            # two normal distributions of one spread make the log odds linear in the logit
            "calibration slope": float(self.separation()[0, 0] / self._scale()),
            "difference, equal": 0.0,
            "difference, worse by the margin": float(macro[2] - macro[0]),
            "retention above chance": float(metrics.chance_corrected_retention(macro[2], macro[0])),
            "LRS": float(metrics.lrs(macro[2], mean_brier[2], macro[0], mean_brier[0])),
        }

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.uint8], Array]:
        """Draw one study.

        Returns
        -------
        patient_id : ndarray, shape (n_records,)
        labels : ndarray of uint8, shape (n_records, n_classes)
        logits : ndarray, shape (3 networks, n_records, n_classes)
        """
        again = np.flatnonzero(rng.random(self.n_patients) < self.repeated)
        patient = np.concatenate([np.arange(self.n_patients), again])
        n, k = len(patient), len(self.prevalence)
        labels = (rng.random((self.n_patients, k)) < self.prevalence).astype(np.uint8)[patient]
        own_and_patient = [
            np.sqrt(0.5) * rng.normal(size=(self.n_patients, k))[patient]
            + np.sqrt(0.5) * rng.normal(size=(n, k))
            for _ in range(1 + len(NETWORKS))
        ]
        common = own_and_patient[0]
        errors = np.stack(
            [
                np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own
                for own in own_and_patient[1:]
            ]
        )
        centre = (labels - 0.5) * self.separation()[:, None]
        return patient, labels, self._scale() * (errors + centre) + self._shift()[:, None]

    def _scale(self) -> float:
        return 1.5

    def _shift(self) -> Array:
        """Move the logits so that the prevalence is roughly met."""
        prevalence = np.array(self.prevalence)
        return np.broadcast_to(
            np.log(prevalence / (1 - prevalence)), (len(NETWORKS), len(prevalence))
        )


def coverage(
    world: World, n_studies: int, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Count how often intervals hold the truth, and how often tests cry wolf.

    Parameters
    ----------
    world : World
    n_studies, n_resamples : int
        Simulated studies, and bootstrap resamples of the patients of each.
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
        Columns ``what`` (``coverage`` or ``false positives``), ``statistic, method, in_tables``
        (bool: the interval that the tables use), ``truth, rate``, ``rate_low, rate_high`` (exact
        95% interval of the rate, for the number of studies), ``mean_width`` (of the intervals),
        ``n_studies, n_resamples, n_patients``. The false positives are those of the two-sided test
        of no difference between equal networks at 0.05, by bootstrap and (first class alone) by
        DeLong, and those of non-inferiority where the network is worse by exactly the margin, which
        should be 0.025.
    """
    truth = world.truth()
    inside = {(name, method): 0 for name in truth for method in METHODS}
    width = dict.fromkeys(inside, 0.0)
    alarms = {"bootstrap, no difference": 0, "DeLong, no difference": 0, "non-inferiority": 0}
    for _ in range(n_studies):
        patient, labels, logits = world.draw(rng)
        found = _analyse(world, patient, labels, logits, n_resamples, rng)
        for name, (value, replicates, jackknife) in found.items():
            for method, (low, high) in {
                "percentile": resampling.percentile_interval(replicates, LEVEL),
                "bca": resampling.bca_interval(value, replicates, jackknife, LEVEL),
                "normal": resampling.normal_interval(value, replicates, LEVEL),
            }.items():
                inside[name, method] += low <= truth[name] <= high
                width[name, method] += (high - low) / n_studies
        equal, worse = (found[f"difference, {name}"][1] for name in NETWORKS[1:])
        alarms["bootstrap, no difference"] += resampling.bootstrap_p(equal) < 1 - LEVEL
        low, _ = resampling.percentile_interval(worse, LEVEL)
        alarms["non-inferiority"] += low > -world.margin
        second = delong(labels[:, 0], logits[:2, :, 0], patient).contrast([1, -1])
        alarms["DeLong, no difference"] += second["p"] < 1 - LEVEL
    nan = float("nan")
    sizes = {
        "n_studies": n_studies,
        "n_resamples": n_resamples,
        "n_patients": world.n_patients,
    }
    rows = [
        ("coverage", name, method, METHOD_IN_TABLES[name] == method, truth[name], count, mean_width)
        for ((name, method), count), mean_width in zip(inside.items(), width.values(), strict=True)
    ]
    rows += [("false positives", name, "test", True, nan, n, nan) for name, n in alarms.items()]
    table = pd.DataFrame(
        rows, columns=["what", "statistic", "method", "in_tables", "truth", "count", "mean_width"]
    )
    rates = pd.DataFrame([_rate(count, n_studies) for count in table.pop("count")])
    return table.join(rates).assign(**sizes)


def _rate(count: int, n: int) -> dict[str, float]:
    interval = binomtest(int(count), n).proportion_ci(LEVEL, method="exact")
    return {"rate": count / n, "rate_low": interval.low, "rate_high": interval.high}


def _analyse(
    world: World,
    patient: NDArray[np.int64],
    labels: NDArray[np.uint8],
    logits: Array,
    n_resamples: int,
    rng: np.random.Generator,
) -> dict[str, tuple[float, Array, Array]]:
    """Estimate, replicates and jackknife values of every statistic, as `evidence.gather` does."""
    weights = np.hstack(
        [
            np.ones((len(labels), 1), dtype=np.uint8),
            resampling.patient_weights(patient, n_resamples, rng),
            resampling.jackknife_weights(patient, max_groups=200),
        ]
    )
    n_classes = labels.shape[1]
    auroc = np.array(
        [
            [resampling.weighted_auroc(labels[:, c], one[:, c], weights) for c in range(n_classes)]
            for one in logits
        ]
    )
    total = weights.sum(axis=0, dtype=np.float64)
    squared = ((expit(logits) - labels) ** 2).mean(axis=2)
    brier = squared @ weights.astype(np.float64) / total
    macro = metrics.macro(auroc, axis=1)
    statistics = {
        "macro AUROC": macro[0],
        "AUROC of the rarest class": auroc[0, int(np.argmin(world.prevalence))],
        "Brier score": brier[0],
        "calibration slope": _slopes(labels[:, 0], logits[0, :, 0], weights),
        "difference, equal": macro[1] - macro[0],
        "difference, worse by the margin": macro[2] - macro[0],
        "retention above chance": metrics.chance_corrected_retention(macro[2], macro[0]),
        "LRS": metrics.lrs(macro[2], brier[2], macro[0], brier[0]),
    }
    return {
        name: (float(values[0]), values[1 : 1 + n_resamples], values[1 + n_resamples :])
        for name, values in statistics.items()
    }


def _slopes(y: NDArray[np.uint8], x: Array, weights: resampling.Weights) -> Array:
    line = calibration_line(y, x)
    return resampled_calibration(y, x, line, weights)["slope"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--patients", type=int, default=420)
    options = parser.parse_args()
    world = World(n_patients=options.patients)
    table = coverage(world, options.studies, options.resamples, np.random.default_rng(0))
    columns = ["statistic", "method", "in_tables", "truth", "rate", "rate_low", "rate_high"]
    print(table[columns].to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
