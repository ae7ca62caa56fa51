"""Measure coverage and false-positive rate of the study's intervals and tests.

    python benchmarks/coverage.py [--studies 2000] [--resamples 1000] [--patients 420]
    python benchmarks/coverage.py --runs book/published/subset/runs --csv book/coverage.csv

Two worlds with a known truth. In the first every class is a pair of normal distributions of the
logit, so that AUROC and Brier score are known exactly; three networks read the same records with
correlated errors: a reference, one that is exactly as good, and one that is worse by exactly the
non-inferiority margin. In the second, ``--runs``, the predictions of a study are the population and
patients are drawn from it: classes go together as they really do, and their scores are no normal
distributions. `coverage` draws many such studies, analyses each as a real one is analysed, and
counts how often the truth lies inside the interval; some 0.12 s a study on one core.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri
from scipy.stats import binomtest, t

from leadmin import metrics
from leadmin.evidence import resampling
from leadmin.evidence.delong import delong
from leadmin.evidence.estimates import LEVEL, Estimate
from leadmin.evidence.reliability import calibration_line, resampled_calibration
from leadmin.evidence.scores import MARGIN, REFERENCE
from leadmin.study.run import load_runs

METHODS = ("percentile", "bca", "normal", "jackknife t", "studentised")

METHOD_IN_TABLES = {
    "macro AUROC": "bca",
    "AUROC of the rarest class": "bca",
    "Brier score": "bca",
    "calibration slope": "normal",
}
"""Which interval the tables of a study use for each statistic; percentile for the others."""

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

    networks: ClassVar = ("reference", "equal", "worse by the margin")
    scale: ClassVar = 1.5

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
        of_positive = (1 - expit(self.scale * (nodes + centre / 2) + shift)) ** 2 @ node_weights
        of_negative = expit(self.scale * (nodes - centre / 2) + shift) ** 2 @ node_weights
        share = np.array(self.prevalence)
        return np.asarray(share * of_positive + (1 - share) * of_negative)

    def true_slope(self) -> float:
        """Two normal distributions of one spread make the log odds linear in the logit."""
        return float(self.separation()[0, 0] / self.scale)

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.uint8], Array]:
        """Draw one study: patients (n_records,), labels (n_records, n_classes) and logits.

        The logits are (3 networks, n_records, n_classes).
        """
        again = np.flatnonzero(rng.random(self.n_patients) < self.repeated)
        patient = np.concatenate([np.arange(self.n_patients), again])
        n, k = len(patient), len(self.prevalence)
        labels = (rng.random((self.n_patients, k)) < self.prevalence).astype(np.uint8)[patient]
        common, *each = (
            np.sqrt(0.5) * rng.normal(size=(self.n_patients, k))[patient]
            + np.sqrt(0.5) * rng.normal(size=(n, k))
            for _ in range(1 + len(self.networks))
        )
        errors = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * np.stack(each)
        centre = (labels - 0.5) * self.separation()[:, None]
        return patient, labels, self.scale * (errors + centre) + self._shift()[:, None]

    def _shift(self) -> Array:
        """Move the logits so that the prevalence is roughly met."""
        prevalence = np.array(self.prevalence)
        return np.tile(np.log(prevalence / (1 - prevalence)), (len(self.networks), 1))


class Population:
    """The patients of a study as the population: one seed of three configurations."""

    networks = (REFERENCE, "3-lead-I-II-V2", "3-lead-II-V2-V5")

    def __init__(self, runs: Path, n_patients: int) -> None:
        found = load_runs(runs, self.networks)
        tested = [found[name].test for name in self.networks]
        self.n_patients, self.labels = n_patients, tested[0].labels
        self.logits = np.stack([test.logits["default"][0] for test in tested]).astype(np.float64)
        order = np.argsort(tested[0].patient_id, kind="stable")
        _, first = np.unique(tested[0].patient_id[order], return_index=True)
        self._records = np.split(order, first[1:])
        self.prevalence = tuple(self.labels.mean(axis=0))

    def true_auroc(self) -> Array:
        """Give the AUROC in the population, (3 networks, n_classes)."""
        return np.stack([metrics.auroc(self.labels, one) for one in self.logits])

    def true_brier(self) -> Array:
        """Give the Brier score in the population, same shape."""
        return np.stack([metrics.brier(self.labels, expit(one)) for one in self.logits])

    def true_slope(self) -> float:
        """Give the calibration slope in the population."""
        return calibration_line(self.labels[:, 0], self.logits[0, :, 0]).slope

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.uint8], Array]:
        """Draw one study as `World.draw` does, patients with all their records."""
        drawn = [self._records[i] for i in rng.integers(len(self._records), size=self.n_patients)]
        rows = np.concatenate(drawn)
        patient = np.repeat(np.arange(self.n_patients), [len(one) for one in drawn])
        return patient, self.labels[rows], self.logits[:, rows]


def truth(world: World | Population) -> dict[str, float]:
    """Give the true value of every statistic that `coverage` estimates."""
    auroc, brier = world.true_auroc(), world.true_brier()
    return _statistics(world, auroc.T, brier.mean(axis=1), world.true_slope())


def _statistics(
    world: World | Population, auroc: Array, brier: Array, slope: Any
) -> dict[str, Any]:
    """Every statistic of AUROCs (n_classes, 3 networks, ...), Brier scores (3, ...) and a slope."""
    macro, rarest = metrics.macro(auroc, axis=0), auroc[int(np.argmin(world.prevalence))]
    differences = {f"difference, {n}": macro[k] - macro[0] for k, n in enumerate(world.networks)}
    return {
        "macro AUROC": macro[0],
        "AUROC of the rarest class": rarest[0],
        "Brier score": brier[0],
        "calibration slope": slope,
        **dict(list(differences.items())[1:]),
        "difference of the rarest class": rarest[2] - rarest[0],
        "retention above chance": metrics.chance_corrected_retention(macro[2], macro[0]),
        "LRS": metrics.lrs(macro[2], brier[2], macro[0], brier[0]),
    }


def coverage(
    world: World | Population, n_studies: int, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Count how often intervals hold the truth, and how often tests cry wolf.

    ``what`` (``coverage`` or ``false positives``), ``statistic, method, in_tables`` (bool: the
    interval that the tables use), ``truth, rate``, ``rate_low, rate_high`` (exact 95% interval of
    the rate, for the number of studies), ``mean_width`` (of the intervals), ``n_studies,
    n_resamples, n_patients``. The false positives are those of the two-sided test of the true
    difference to the second network at 0.05, by bootstrap and (first class alone) by DeLong, and
    those of non-inferiority at a margin that the third network misses by nothing, which should be
    0.025, by two kinds of interval.
    """
    true = truth(world)
    inside: Counter[tuple[str, str]] = Counter()
    width: Counter[tuple[str, str]] = Counter()
    alarms: Counter[tuple[str, str]] = Counter()
    second, third = (f"difference, {name}" for name in world.networks[1:])
    apart = float(np.diff(world.true_auroc()[:2, 0])[0])
    for _ in range(n_studies):
        patient, labels, logits = world.draw(rng)
        found = _analyse(world, patient, labels, logits, n_resamples, rng)
        fewest = int(np.minimum(labels.sum(axis=0), (1 - labels).sum(axis=0)).min())
        intervals = {name: _intervals(estimate, fewest) for name, estimate in found.items()}
        for name, by_method in intervals.items():
            for method, (low, high) in by_method.items():
                inside[name, method] += low <= true[name] <= high
                width[name, method] += (high - low) / n_studies
        equal = found[second].replicates - true[second]
        alarms["bootstrap, no difference", "test"] += resampling.bootstrap_p(equal) < 0.05
        by_formula = delong(labels[:, 0], logits[:2, :, 0], patient).contrast([-1, 1])
        missed = not by_formula["low"] <= apart <= by_formula["high"]
        alarms["DeLong, no difference", "test"] += missed
        for method in ("percentile", "jackknife t"):
            alarms["non-inferiority", method] += intervals[third][method][0] > true[third]
    rows = []
    for what, counts in (("coverage", inside), ("false positives", alarms)):
        for (name, method), count in counts.items():
            used = METHOD_IN_TABLES.get(name, "percentile") == method
            row = {"what": what, "statistic": name, "method": method}
            row["in_tables"] = used if what == "coverage" else method != "jackknife t"
            row |= {"truth": true.get(name), "mean_width": width.get((name, method), np.nan)}
            low, high = binomtest(int(count), n_studies).proportion_ci(LEVEL, method="exact")
            row |= {"rate": count / n_studies, "rate_low": low, "rate_high": high}
            row |= {"n_studies": n_studies, "n_resamples": n_resamples}
            rows.append(row | {"n_patients": world.n_patients})
    table = pd.DataFrame(rows)
    return table[table["mean_width"].notna() | (table["what"] != "coverage")]


@dataclass(frozen=True)
class Sampled(Estimate):
    """An estimate with the standard errors of itself and its replicates where they are known."""

    errors: Array | None = None
    bounded: bool = False


def _intervals(estimate: Sampled, fewest: int) -> dict[str, tuple[float, float]]:
    """Each of `METHODS`; ``fewest`` records of a label value are the t's degrees of freedom.

    The last two are made on the logit's scale where the statistic lies between 0 and 1.
    """
    value, replicates, left_out = estimate.value, estimate.replicates, estimate.jackknife
    to, back, slope = (lambda x: x), (lambda x: x), 1.0
    if estimate.bounded:
        to, back, slope = (lambda x: logit(np.clip(x, 1e-3, 1 - 1e-3))), expit, value * (1 - value)
    error = float(np.sqrt((len(left_out) - 1) * np.nanvar(left_out))) / slope
    reach = float(t.ppf((1 + LEVEL) / 2, max(fewest - 1, 1))) * error
    studentised = (float("nan"),) * 2
    if estimate.errors is not None:
        rates = replicates * (1 - replicates) if estimate.bounded else 1.0
        with np.errstate(invalid="ignore", divide="ignore"):
            pivots = (to(replicates) - to(value)) / (estimate.errors[1:] / rates)
        high, low = np.nanquantile(pivots, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
        own = float(estimate.errors[0]) / slope
        studentised = float(back(to(value) - high * own)), float(back(to(value) - low * own))
    return {
        "percentile": resampling.percentile_interval(replicates),
        "bca": resampling.bca_interval(value, replicates, left_out),
        "normal": resampling.normal_interval(value, replicates),
        "jackknife t": (float(back(to(value) - reach)), float(back(to(value) + reach))),
        "studentised": studentised,
    }


def _analyse(
    world: World | Population,
    patient: NDArray[np.int64],
    labels: NDArray[np.uint8],
    logits: Array,
    n_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Sampled]:
    """Estimate every statistic as `evidence.gather` does."""
    weights = np.hstack(
        [
            np.ones((len(labels), 1), dtype=np.uint8),
            resampling.patient_weights(patient, n_resamples, rng),
            resampling.jackknife_weights(patient, max_groups=200),
        ]
    )
    auroc, influence = [], []
    with_errors = weights[:, : 1 + n_resamples].astype(np.float32)
    for y, scores in zip(labels.T, logits.transpose(2, 0, 1), strict=True):
        auroc.append([resampling.weighted_auroc(y, one, weights) for one in scores])
        influence.append([_influence(y, one, with_errors) for one in scores])
    total = weights.sum(axis=0, dtype=np.float64)
    squared = ((expit(logits) - labels) ** 2).mean(axis=2)
    brier = squared @ weights.astype(np.float64) / total
    slopes = _slopes(labels[:, 0], logits[0, :, 0], weights)
    of_class = np.array(influence)
    macro, rarest = of_class.mean(axis=0), of_class[int(np.argmin(world.prevalence))]
    terms = {"macro AUROC": macro[0], "AUROC of the rarest class": rarest[0]}
    terms |= {f"difference, {n}": macro[k] - macro[0] for k, n in enumerate(world.networks) if k}
    terms["difference of the rarest class"] = rarest[2] - rarest[0]
    first = np.unique(patient, return_index=True)[1]
    return {
        name: Sampled(
            float(values[0]),
            values[1 : 1 + n_resamples],
            values[1 + n_resamples :],
            _errors(terms[name], patient, with_errors[first]) if name in terms else None,
            name in METHOD_IN_TABLES and name != "calibration slope",
        )
        for name, values in _statistics(world, np.array(auroc), brier, slopes).items()
    }


def _influence(y: NDArray[np.uint8], scores: Array, weights: NDArray[np.float32]) -> Array:
    """Give what each record adds to the AUROC's error under each weighting, by placement values."""
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    own, other = scores[positive][:, None], scores[negative]
    beats = (own > other) + np.float32(0.5) * (own == other)
    m, n = weights[positive].sum(axis=0), weights[negative].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_positives = beats @ weights[negative] / n
        of_negatives = beats.T @ weights[positive] / m
        area = (weights[positive] * of_positives).sum(axis=0) / m
        result = np.empty(weights.shape, dtype=np.float32)
        result[positive] = (of_positives - area) / m
        result[negative] = (of_negatives - area) / n
    return result


def _errors(influence: Array, patient: NDArray[np.int64], times: Array) -> Array:
    """Give the standard error under each weighting; ``times`` each patient was drawn."""
    order = np.argsort(patient, kind="stable")
    first = np.unique(patient[order], return_index=True)[1]
    of_patients = np.add.reduceat(influence[order], first, axis=0)
    return np.sqrt((times * of_patients**2).sum(axis=0))


def _slopes(y: NDArray[np.uint8], x: Array, weights: resampling.Weights) -> Array:
    line = calibration_line(y, x)
    return resampled_calibration(y, x, line, weights)["slope"]


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Cut a table down to what a page shows: rates in per cent, a column a number of patients."""
    rows = table[table["in_tables"] | (table["method"] == "jackknife t")]
    cells = [f"{100 * r:.1f} ({100 * a:.1f}–{100 * b:.1f})" for r, a, b in
             rows[["rate", "rate_low", "rate_high"]].to_numpy()]  # fmt: skip
    method = rows["method"].replace("bca", "BCa")
    rows = rows.assign(
        share=cells, interval=method, of=rows["n_patients"].map("{} patients".format)
    )
    order = rows.drop_duplicates(["statistic", "interval"])[["statistic", "interval"]]
    wide = rows.pivot(index=["statistic", "interval"], columns="of", values="share")
    return wide.loc[list(order.itertuples(index=False, name=None)), rows["of"].unique()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[420])
    parser.add_argument("--runs", type=Path, help="a study's runs, which become the population")
    parser.add_argument("--csv", type=Path, help="where the table is written to")
    options = parser.parse_args()
    tables = []
    for n in options.patients:
        world = Population(options.runs, n) if options.runs else World(n_patients=n)
        rng = np.random.default_rng(0)
        tables.append(coverage(world, options.studies, options.resamples, rng))
    table = pd.concat(tables, ignore_index=True)
    if options.csv:
        shown(table).to_csv(options.csv, lineterminator="\n")
    columns = ["n_patients", "statistic", "method", "in_tables", "truth", "rate", "rate_low"]
    columns += ["rate_high", "mean_width"]
    print(table[columns].to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
