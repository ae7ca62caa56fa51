"""What the runs of a study show: tidy tables with uncertainty, all comparisons paired.

`gather` resamples the patients once and scores every configuration under every recipe with the same
resamples; everything else reads tables off the result, an `Evidence`.

**Point estimates.** A configuration's value is the mean over its seeds of the metric of each seed's
predictions; thresholds for F1 come from the validation predictions of the same seed. The spread
over seeds (``*_seed_sd``) is reported beside the interval, which carries the sampling of patients.

**Cross-validation.** Each test fold was scored by a network of its own, and the predictions of all
folds are pooled. The AUROC over the pooled records is the primary one: it is what one number per
record gives, and it is conservative, because a difference in scale between two folds' networks
counts as error. ``auroc_within_fold``, the mean of the AUROCs within each fold, has no such
penalty and stands beside it. Patients are resampled across the pooled folds, with all their
records: the intervals are those of these trained networks on new patients. What they leave out is
that the folds' networks share most of their training records, so that another draw of *training*
patients would move all folds together; no unbiased estimate of that variance exists [1]_, and
`leadmin.evidence.comparisons.fold_table` gives the usual correction for it as a second opinion.

**The twelve-lead reference** is the run called `REFERENCE`. Where a study lacks it, everything that
is relative to it is NaN.

References
----------
.. [1] Bengio Y, Grandvalet Y. No unbiased estimator of the variance of k-fold cross-validation.
   J. Mach. Learn. Res. 5, 1089-1105 (2004).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import false_discovery_control, t

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.labels import CLASSES

if TYPE_CHECKING:
    from leadmin.study.runs import Run

REFERENCE = "12-lead"
"""The configuration that every other one is compared with."""

MARGIN = 0.01
"""Primary non-inferiority margin in macro AUROC, stated before any result was seen."""

LEVEL = 0.95
"""Coverage that every interval aims at."""

BCA_METRICS = ("auroc", "average_precision", "brier", "auroc_within_fold")
"""Metrics of one configuration whose interval is the BCa one.

Near 1 the distribution of an AUROC is skewed. In a simulation with 18
positive records the percentile interval of a class covered 92.2% and BCa 94.0% (1,500 studies);
for differences the percentile interval was the better one, 94.3-95.1% against 93.5-94.0%. Metrics
with a threshold in them are steps, for which the jackknife of BCa is not valid.
"""

Array = NDArray[np.float64]

Runs: TypeAlias = "Mapping[str, Run] | Iterable[Run]"


@dataclass(frozen=True)
class Estimate:
    """A statistic with what its interval is computed from.

    Attributes
    ----------
    value : float
        On the records at hand.
    replicates : ndarray, shape (n_resamples,)
    jackknife : ndarray, shape (n_groups,)
    """

    value: float
    replicates: Array
    jackknife: Array

    def interval(self, level: float = LEVEL, method: str = "percentile") -> tuple[float, float]:
        """Two-sided interval.

        Parameters
        ----------
        level : float
        method : {"percentile", "bca"}
            Percentile intervals agree with `p` by construction and serve every comparison. See
            `BCA_METRICS` for where the tables use the other.
        """
        if method == "percentile":
            return resampling.percentile_interval(self.replicates, level)
        if method == "bca":
            return resampling.bca_interval(self.value, self.replicates, self.jackknife, level)
        raise LeadminError(f"There is no interval method {method!r}; use 'percentile' or 'bca'.")

    def p(self, null: float = 0.0) -> float:
        """Two-sided bootstrap p value of "the statistic equals ``null``"."""
        return resampling.bootstrap_p(self.replicates, null)

    @property
    def standard_error(self) -> float:
        """Standard deviation of the replicates; NaN without any."""
        defined = self.replicates[~np.isnan(self.replicates)]
        return float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")


@dataclass(frozen=True)
class Scored:
    """One configuration under one recipe.

    Attributes
    ----------
    config : str
    recipe : str
    leads : tuple of str
    per_seed : dict of str to ndarray, shape (n_seeds, n_classes)
        Metric to its value per seed and class on the records at hand.
    replicates : dict of str to ndarray, shape (n_resamples, n_classes)
        Mean over seeds, per bootstrap resample.
    jackknife : dict of str to ndarray, shape (n_groups, n_classes)
        Mean over seeds, per group of patients left out.
    """

    config: str
    recipe: str
    leads: tuple[str, ...]
    per_seed: Mapping[str, Array]
    replicates: Mapping[str, Array]
    jackknife: Mapping[str, Array]

    @property
    def n_seeds(self) -> int:
        """Number of trainings behind each value."""
        return len(self.per_seed["auroc"])

    def macro(self, metric: str) -> Estimate:
        """Macro average of ``metric``."""
        return Estimate(
            float(metrics.macro(self.per_seed[metric]).mean()),
            metrics.macro(self.replicates[metric]),
            metrics.macro(self.jackknife[metric]),
        )

    def of_class(self, metric: str, name: str) -> Estimate:
        """``metric`` of one class."""
        c = CLASSES.index(name)
        return Estimate(
            float(self.per_seed[metric][:, c].mean()),
            self.replicates[metric][:, c],
            self.jackknife[metric][:, c],
        )

    def seed_sd(self, metric: str) -> float:
        """Give the standard deviation over seeds of the macro average; NaN with one seed."""
        values = metrics.macro(self.per_seed[metric])
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    def seed_variance(self, metric: str) -> tuple[float, int]:
        """Give the variance of the mean over seeds and its degrees of freedom."""
        values = metrics.macro(self.per_seed[metric])
        if len(values) < 2:
            return float("nan"), 0
        return float(values.var(ddof=1)) / len(values), len(values) - 1


@dataclass(frozen=True)
class Evidence:
    """Every configuration of a study, scored under the same resamples of patients.

    Attributes
    ----------
    scored : dict of (config, recipe) to Scored
    configs, recipes : tuple of str
        In the order of the runs.
    labels : ndarray, shape (n_records, n_classes)
    patient_id, record_id, fold : ndarray, shape (n_records,)
        Of the test records.
    n_resamples, seed : int
        How the patients were resampled.
    runs : dict of str to Run
        What was scored.
    """

    scored: Mapping[tuple[str, str], Scored]
    configs: tuple[str, ...]
    recipes: tuple[str, ...]
    labels: NDArray[np.uint8]
    patient_id: NDArray[Any]
    record_id: NDArray[Any]
    fold: NDArray[Any]
    n_resamples: int
    seed: int
    runs: Mapping[str, "Run"]

    @property
    def n_records(self) -> int:
        """Number of test records."""
        return len(self.labels)

    @property
    def n_patients(self) -> int:
        """Number of test patients."""
        return len(np.unique(self.patient_id))

    def weights(self) -> resampling.Weights:
        """Draw the bootstrap weights again, (n_records, n_resamples), the same as in `gather`."""
        generator = np.random.default_rng(self.seed)
        return resampling.patient_weights(self.patient_id, self.n_resamples, generator)

    def get(self, config: str, recipe: str) -> Scored:
        """Give one configuration under one recipe.

        Raises
        ------
        LeadminError
            If the study has no such run; the message lists what it has.
        """
        try:
            return self.scored[config, recipe]
        except KeyError:
            raise LeadminError(
                f"The study has no run of {config!r} under the recipe {recipe!r}. "
                f"Configurations: {', '.join(self.configs)}. Recipes: {', '.join(self.recipes)}."
            ) from None


def gather(runs: Runs, n_resamples: int = 2000, seed: int = 0) -> Evidence:
    """Score all runs of a study under the same bootstrap resamples of patients.

    Parameters
    ----------
    runs : mapping of config to Run, or iterable of Run
        All with the same test records in the same order.
    n_resamples : int
        Bootstrap resamples.
    seed : int
        Of the resampling.

    Returns
    -------
    Evidence

    Raises
    ------
    LeadminError
        If there is no run, or two runs were tested on different records or labels.
    """
    by_config = _by_config(runs)
    first = next(iter(by_config.values()))
    for run in by_config.values():
        _check_same_records(first, run)
    patient_id = np.asarray(first.test.patient_id)
    drawn = resampling.patient_weights(patient_id, n_resamples, np.random.default_rng(seed))
    left_out = resampling.jackknife_weights(patient_id)
    weights = np.hstack([drawn, left_out])
    recipes = tuple(dict.fromkeys(r for run in by_config.values() for r in run.recipes))
    scored = {
        (config, recipe): _score(run, recipe, weights, n_resamples)
        for config, run in by_config.items()
        for recipe in run.recipes
    }
    return Evidence(
        scored=scored,
        configs=tuple(by_config),
        recipes=recipes,
        labels=np.asarray(first.test.labels, dtype=np.uint8),
        patient_id=patient_id,
        record_id=np.asarray(first.test.record_id),
        fold=np.asarray(first.test.fold),
        n_resamples=n_resamples,
        seed=seed,
        runs=by_config,
    )


def main_table(
    runs: "Runs | Evidence", recipe: str = "default", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row per configuration: the study's main table.

    Parameters
    ----------
    runs : runs of a study, or Evidence
        From an `Evidence` nothing is resampled again, and the last two arguments are not used.
    recipe : str

    Returns
    -------
    DataFrame
        Columns ``recipe, config, leads, n_leads``; for each of ``auroc, average_precision, f1,
        f1_half, brier, ece``, the operating points (such as ``sensitivity_at_90_specificity``),
        ``auroc_within_fold`` (only where several folds are pooled), ``lrs, retention,
        retention_above_chance``: the value and ``_low``, ``_high`` of its 95% interval (none for
        ``ece``, see `leadmin.evidence.calibration.calibration_table`);
        ``auroc_seed_sd``; ``difference`` (macro AUROC minus that of the 12 leads, paired) with
        ``_low``, ``_high``, ``difference_p`` and ``difference_p_holm`` (Holm over the
        configurations other than the 12 leads), and ``non_inferior`` (the interval of the
        difference lies above ``-MARGIN``); for ``auroc`` and ``difference`` also
        ``_low_with_seeds``, ``_high_with_seeds``; ``n_records, n_patients, n_seeds``.
    """
    evidence = _gathered(runs, n_resamples, seed)
    rows = []
    for config in evidence.configs:
        if (config, recipe) not in evidence.scored:
            continue
        scored = evidence.get(config, recipe)
        row: dict[str, Any] = {
            "recipe": recipe,
            "config": config,
            "leads": ", ".join(scored.leads),
            "n_leads": len(scored.leads),
        }
        for metric in scored.per_seed:
            row |= interval_columns(metric, scored.macro(metric))
        row |= _with_seeds("auroc", scored.macro("auroc"), [scored.seed_variance("auroc")])
        row["auroc_seed_sd"] = scored.seed_sd("auroc")
        for name, estimate in relative_to_reference(evidence, config, recipe).items():
            row |= interval_columns(name, estimate)
            if name == "difference":
                row["difference_p"] = estimate.p() if config != REFERENCE else float("nan")
                row |= _with_seeds(name, estimate, _seed_variances(evidence, config, recipe))
                row["non_inferior"] = bool(row["difference_low"] > -MARGIN)
        row |= {
            "n_records": evidence.n_records,
            "n_patients": evidence.n_patients,
            "n_seeds": scored.n_seeds,
        }
        rows.append(row)
    if not rows:
        raise LeadminError(
            f"No run of this study has the recipe {recipe!r}; it has {', '.join(evidence.recipes)}."
        )
    table = pd.DataFrame(rows)
    place = table.columns.tolist().index("difference_p") + 1
    table.insert(place, "difference_p_holm", resampling.holm(table["difference_p"]))
    return table


def relative_to_reference(evidence: Evidence, config: str, recipe: str) -> dict[str, Estimate]:
    """Score a configuration against the 12 leads under the same recipe.

    Returns
    -------
    dict of str to Estimate
        ``lrs``, ``retention``, ``retention_above_chance`` and ``difference``, all of macro AUROC
        (and for LRS of the Brier score); NaN throughout where the study has no 12-lead run.
    """
    scored = evidence.get(config, recipe)
    auroc, brier = scored.macro("auroc"), scored.macro("brier")
    if (REFERENCE, recipe) in evidence.scored:
        reference = evidence.get(REFERENCE, recipe)
        auroc_12, brier_12 = reference.macro("auroc"), reference.macro("brier")
    else:
        auroc_12 = brier_12 = Estimate(
            float("nan"),
            np.full_like(auroc.replicates, np.nan),
            np.full_like(auroc.jackknife, np.nan),
        )
    return {
        "lrs": combine(metrics.lrs, auroc, brier, auroc_12, brier_12),
        "retention": combine(metrics.retention, auroc, auroc_12),
        "retention_above_chance": combine(metrics.chance_corrected_retention, auroc, auroc_12),
        "difference": combine(np.subtract, auroc, auroc_12),
    }


def per_class_table(
    runs: "Runs | Evidence", recipe: str = "default", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row per configuration and class.

    Returns
    -------
    DataFrame
        Columns ``recipe, config, n_leads, class, n_positive``; for each metric of `main_table`
        that a class has, the value with ``_low`` and ``_high``; ``auroc_seed_sd``; ``difference``
        to the 12 leads in AUROC with ``_low``, ``_high``, ``difference_p``; ``n_records,
        n_patients, n_seeds``.
    """
    evidence = _gathered(runs, n_resamples, seed)
    rows = []
    for config in evidence.configs:
        if (config, recipe) not in evidence.scored:
            continue
        scored = evidence.get(config, recipe)
        for c, name in enumerate(CLASSES):
            row: dict[str, Any] = {
                "recipe": recipe,
                "config": config,
                "n_leads": len(scored.leads),
                "class": name,
                "n_positive": int(evidence.labels[:, c].sum()),
            }
            for metric in scored.per_seed:
                row |= interval_columns(metric, scored.of_class(metric, name))
            seeds = scored.per_seed["auroc"][:, c]
            row["auroc_seed_sd"] = float(seeds.std(ddof=1)) if len(seeds) > 1 else float("nan")
            if (REFERENCE, recipe) in evidence.scored:
                reference = evidence.get(REFERENCE, recipe).of_class("auroc", name)
                difference = combine(np.subtract, scored.of_class("auroc", name), reference)
                row |= interval_columns("difference", difference)
                row["difference_p"] = difference.p() if config != REFERENCE else float("nan")
            rows.append(
                row
                | {
                    "n_records": evidence.n_records,
                    "n_patients": evidence.n_patients,
                    "n_seeds": scored.n_seeds,
                }
            )
    return pd.DataFrame(rows)


def recipe_comparison(
    runs: "Runs | Evidence",
    first: str = "default",
    second: str = "seed",
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Two recipes on the same records, configuration by configuration.

    Returns
    -------
    DataFrame
        One row per configuration and metric: ``config, n_leads, metric, first, second`` (values),
        ``difference`` (first minus second, paired) with ``_low``, ``_high``, ``p``, and ``p_holm``
        over the configurations within the metric; ``first_recipe, second_recipe, n_records,
        n_patients, n_seeds``. Metrics are ``auroc, auroc_<class>, brier, f1`` and, without interval
        and p value, ``ece``. Empty where no configuration was trained under both.
    """
    evidence = _gathered(runs, n_resamples, seed)
    names = ["auroc", *(f"auroc_{name}" for name in CLASSES), "brier", "ece", "f1"]
    rows = []
    for config in evidence.configs:
        if any((config, recipe) not in evidence.scored for recipe in (first, second)):
            continue
        for name in names:
            a, b = (_named(evidence.get(config, recipe), name) for recipe in (first, second))
            difference = combine(np.subtract, a, b)
            rows.append(
                {
                    "config": config,
                    "n_leads": len(evidence.get(config, first).leads),
                    "metric": name,
                    "first": a.value,
                    "second": b.value,
                    **interval_columns("difference", difference),
                    "p": difference.p(),
                    **(_NO_INTERVAL if name == "ece" else {}),
                    "first_recipe": first,
                    "second_recipe": second,
                    "n_records": evidence.n_records,
                    "n_patients": evidence.n_patients,
                    "n_seeds": evidence.get(config, first).n_seeds,
                }
            )
    table = pd.DataFrame(rows)
    if len(table):
        adjusted = table.groupby("metric")["p"].transform(lambda p: resampling.holm(p))
        table.insert(table.columns.tolist().index("p") + 1, "p_holm", adjusted)
    return table


_NO_INTERVAL = dict.fromkeys(("difference_low", "difference_high", "p"), float("nan"))
"""For the calibration error, see `interval_columns`."""


def pairwise_matrix(
    runs: "Runs | Evidence", recipe: str = "default", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Every pair of configurations, paired, in macro AUROC.

    Returns
    -------
    DataFrame
        One row per unordered pair: ``recipe, first, second, difference`` (first minus second) with
        ``_low``, ``_high``, ``p``, ``p_bh`` (Benjamini-Hochberg over all pairs),
        ``smallest_resolvable`` (see `smallest_resolvable_difference`).
    """
    evidence = _gathered(runs, n_resamples, seed)
    present = [c for c in evidence.configs if (c, recipe) in evidence.scored]
    rows = []
    for i, a in enumerate(present):
        for b in present[i + 1 :]:
            difference = compare(evidence, a, b, recipe)
            rows.append(
                {
                    "recipe": recipe,
                    "first": a,
                    "second": b,
                    **interval_columns("difference", difference),
                    "p": difference.p(),
                    "smallest_resolvable": smallest_resolvable_difference(difference),
                }
            )
    table = pd.DataFrame(rows)
    if len(table):
        table.insert(7, "p_bh", false_discovery_control(table["p"], method="bh"))
    return table


def compare(
    evidence: Evidence, first: str, second: str, recipe: str, metric: str = "auroc"
) -> Estimate:
    """Paired difference of two configurations under one recipe, first minus second."""
    a, b = (_named(evidence.get(config, recipe), metric) for config in (first, second))
    return combine(np.subtract, a, b)


def smallest_resolvable_difference(
    difference: Estimate, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true difference that this comparison would have detected.

    ``(z[1 - alpha/2] + z[power]) * standard error``: what a two-sided test at ``alpha`` finds with
    probability ``power``. It stands beside each "no difference", since that verdict means little
    where the smallest resolvable difference is large.
    """
    return float((ndtri(1 - alpha / 2) + ndtri(power)) * difference.standard_error)


# --- the original study's key findings, as questions ------------------------------------------


def key_findings(
    runs: "Runs | Evidence", recipe: str = "default", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Ask the original study's four key findings again of these runs.

    Each part of a finding is a comparison and a threshold, fixed before any run was seen; where the
    claim is about several comparisons (best of all, worst of all) the weakest is shown. With a
    two-sided p value against the threshold, Holm-corrected over all parts under this recipe, it is
    *supported* where p < 0.05 on the claimed side, *not supported* where p < 0.05 on the other
    side, and *undecidable on these data* otherwise; *not asked* where the study lacks a run that
    the question needs. A finding of several parts is supported when all of them are, and not
    supported when one is not.

    Returns
    -------
    DataFrame
        One row per part, with the columns `FINDING_COLUMNS`: among them ``finding`` (1-4),
        ``effect`` with ``low`` and ``high``, ``threshold`` (in words), ``p``, ``p_holm``,
        ``verdict``, ``finding_verdict``, ``statement`` and ``original`` (what the original study
        reported).
    """
    evidence = _gathered(runs, n_resamples, seed)
    parts = [_asked(evidence, question, recipe) for question in QUESTIONS]
    table = pd.DataFrame(parts)
    table["p_holm"] = resampling.holm(table["p"])
    table["verdict"] = [
        _verdict(inside, p) for inside, p in zip(table["inside"], table["p_holm"], strict=True)
    ]
    table.loc[~table.pop("asked"), "verdict"] = VERDICTS[3]
    overall = {
        finding: _overall(list(rows["verdict"])) for finding, rows in table.groupby("finding")
    }
    table["finding_verdict"] = table["finding"].map(overall)
    table["statement"] = [
        _sentence(question, row)
        for question, (_, row) in zip(QUESTIONS, table.iterrows(), strict=True)
    ]
    scored = [s for (_, r), s in evidence.scored.items() if r == recipe]
    table["n_records"] = evidence.n_records
    table["n_patients"] = evidence.n_patients
    table["n_seeds"] = min((s.n_seeds for s in scored), default=0)
    return table[list(FINDING_COLUMNS)]


FINDINGS = {
    1: "Leads I, II and V2 keep the AUROC of 12 leads",
    2: "One chest lead is worth more than further limb leads",
    3: "One lead keeps about 93%; II is the best one and V2 the worst",
    4: "Hypertrophy suffers most when leads are few",
}
"""The original study's key findings; each has one or more parts among `QUESTIONS`."""

FINDING_COLUMNS = (
    "finding",
    "finding_name",
    "part",
    "recipe",
    "question",
    "effect_name",
    "effect",
    "low",
    "high",
    "threshold",
    "p",
    "p_holm",
    "verdict",
    "finding_verdict",
    "statement",
    "original",
    "shown_as",
    "smallest_resolvable",
    "n_records",
    "n_patients",
    "n_seeds",
)

VERDICTS = ("supported", "not supported", "undecidable on these data", "not asked")
"""The last one where the study lacks a run that the question needs."""

Comparisons = Callable[[Evidence, str], dict[str, Estimate]]


@dataclass(frozen=True)
class Question:
    """One part of a key finding: what is compared, and where it must lie for the finding to hold.

    A claim such as "II is the best single lead" is one comparison with each of the others, and
    holds when all of them do.

    Attributes
    ----------
    finding : int
        1 to 4.
    part : str
        ``"1a"`` and so on.
    question : str
        What is asked, open to either answer.
    effect_name : str
        What the number is; ``{rival}`` stands for the name of the comparison, ``{reduced}`` for the
        number of configurations with fewer than 12 leads.
    comparisons : callable
        From an `Evidence` and a recipe to an `Estimate` per rival.
    bounds : (float, float)
        The claim is that every comparison lies strictly between these (one may be infinite).
    shown_as : str
        ``"difference"`` (three decimals with a sign) or ``"share"`` (per cent).
    original : str
        What the original study reported, from its published sweep of one seed.
    """

    finding: int
    part: str
    question: str
    effect_name: str
    comparisons: Comparisons
    bounds: tuple[float, float]
    shown_as: str
    original: str

    def inside(self, value: Any) -> Any:
        """How far the effect lies inside the bounds: positive where the claim holds."""
        return np.minimum(np.subtract(value, self.bounds[0]), np.subtract(self.bounds[1], value))

    @property
    def threshold(self) -> str:
        """The bounds in words."""
        low, high = (shown(bound, self.shown_as) for bound in self.bounds)
        if np.isinf(self.bounds[1]):
            return f"above {low}"
        return f"below {high}" if np.isinf(self.bounds[0]) else f"between {low} and {high}"


def _pair(first: str, second: str) -> Comparisons:
    """Macro AUROC of one configuration minus that of another."""
    return lambda evidence, recipe: {second: compare(evidence, first, second, recipe)}


def _retention_of(config: str) -> Comparisons:
    return lambda evidence, recipe: {
        REFERENCE: combine(
            metrics.retention,
            _named(evidence.get(config, recipe), "auroc"),
            _named(evidence.get(REFERENCE, recipe), "auroc"),
        )
    }


def _single_leads(lead: str, others: Sequence[str], sign: int) -> Comparisons:
    """Macro AUROC of a single lead minus (``sign`` 1) or below (-1) that of each other one."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        return {
            other: combine(
                lambda a: sign * a, compare(evidence, f"1-lead-{lead}", f"1-lead-{other}", recipe)
            )
            for other in others
        }

    return comparisons


def reduced_sets(evidence: Evidence, recipe: str) -> list[Scored]:
    """List the configurations with fewer than 12 leads that were trained under a recipe."""
    return [
        scored
        for (_, of_recipe), scored in evidence.scored.items()
        if of_recipe == recipe and len(scored.leads) < 12
    ]


def _reduced_mean(evidence: Evidence, recipe: str, metric: str) -> Estimate:
    """Mean of a metric over the configurations with fewer than 12 leads."""
    reduced = reduced_sets(evidence, recipe)
    if not reduced:
        raise LeadminError(f"The study has no run with fewer than 12 leads under {recipe!r}.")
    return combine(lambda *v: np.mean(v, axis=0), *(_named(s, metric) for s in reduced))


def _hardest(name: str) -> Comparisons:
    """AUROC of each other class minus that of ``name``, with fewer leads."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        own = _reduced_mean(evidence, recipe, f"auroc_{name}")
        return {
            other: combine(np.subtract, _reduced_mean(evidence, recipe, f"auroc_{other}"), own)
            for other in CLASSES
            if other != name
        }

    return comparisons


def _loses_most(name: str) -> Comparisons:
    """AUROC that ``name`` loses with fewer leads minus what each other class loses."""

    def comparisons(evidence: Evidence, recipe: str) -> dict[str, Estimate]:
        def loss(c: str) -> Estimate:
            full = _named(evidence.get(REFERENCE, recipe), f"auroc_{c}")
            return combine(np.subtract, full, _reduced_mean(evidence, recipe, f"auroc_{c}"))

        own = loss(name)
        return {other: combine(np.subtract, own, loss(other)) for other in CLASSES if other != name}

    return comparisons


QUESTIONS: tuple[Question, ...] = (
    Question(
        1,
        "1a",
        "Do leads I, II and V2 keep the 12-lead AUROC, to within 0.01?",
        "macro AUROC, I-II-V2 minus 12 leads",
        _pair("3-lead-I-II-V2", REFERENCE),
        (-MARGIN, np.inf),
        "difference",
        "99.1% of the 12-lead macro AUROC kept (0.905 of 0.913)",
    ),
    Question(
        2,
        "2a",
        "Is one chest lead beside I and II worth more than all six limb leads?",
        "macro AUROC, I-II-V2 minus six limb leads",
        _pair("3-lead-I-II-V2", "6-lead-limb"),
        (0.0, np.inf),
        "difference",
        "0.905 with I-II-V2, 0.889 with six limb leads",
    ),
    Question(
        2,
        "2b",
        "As the third lead beside I and II, is V2 worth more than III?",
        "macro AUROC, I-II-V2 minus I-II-III",
        _pair("3-lead-I-II-V2", "3-lead-I-II-III"),
        (0.0, np.inf),
        "difference",
        "0.905 with I-II-V2, 0.888 with I-II-III",
    ),
    Question(
        3,
        "3a",
        "Does lead II alone keep about 93% of the 12-lead AUROC?",
        "macro AUROC of lead II as a share of 12 leads",
        _retention_of("1-lead-II"),
        (0.91, 0.95),
        "share",
        "93.7% with lead II, 93.2% with V5, 92.3% with I",
    ),
    Question(
        3,
        "3b",
        "Is lead II the best single lead of I, II, V2 and V5?",
        "macro AUROC, II minus {rival}, the best other single lead",
        _single_leads("II", ("V5", "I", "V2"), 1),
        (0.0, np.inf),
        "difference",
        "0.856 with II; 0.851 with V5 as the next",
    ),
    Question(
        3,
        "3c",
        "Is V2 the worst single lead of I, II, V2 and V5?",
        "macro AUROC, {rival} (the worst other single lead) minus V2",
        _single_leads("V2", ("II", "V5", "I"), -1),
        (0.0, np.inf),
        "difference",
        "0.793 with V2; 0.842 with I as the next",
    ),
    Question(
        4,
        "4a",
        "Is hypertrophy the hardest class when leads are few?",
        "AUROC, mean of {reduced} smaller sets, {rival} (the next hardest class) minus HYP",
        _hardest("HYP"),
        (0.0, np.inf),
        "difference",
        "HYP lowest of the five classes in nine of the ten reduced configurations",
    ),
    Question(
        4,
        "4b",
        "Does hypertrophy lose more than any other class when leads are taken away?",
        "AUROC lost, mean of {reduced} smaller sets, HYP minus {rival}, the next to lose most",
        _loses_most("HYP"),
        (0.0, np.inf),
        "difference",
        "not in its own table: HYP lost 0.033 on average, MI 0.060",
    ),
)
"""The four key findings of the original study, restated before any run of this study was seen."""


def _asked(evidence: Evidence, question: Question, recipe: str) -> dict[str, Any]:
    """Effect, interval and p value of one question; NaN where a run is missing."""
    row: dict[str, Any] = {
        "finding": question.finding,
        "finding_name": FINDINGS[question.finding],
        "part": question.part,
        "recipe": recipe,
        "question": question.question,
        "threshold": question.threshold,
        "shown_as": question.shown_as,
        "original": question.original,
        "asked": True,
    }
    n_reduced = len(reduced_sets(evidence, recipe))
    try:
        comparisons = question.comparisons(evidence, recipe)
    except LeadminError:
        missing = ("effect", "low", "high", "p", "smallest_resolvable", "inside")
        name = question.effect_name.format(rival="any other", reduced=n_reduced)
        return row | {"effect_name": name, "asked": False} | dict.fromkeys(missing, float("nan"))
    inside = {rival: combine(question.inside, estimate) for rival, estimate in comparisons.items()}
    rival, p = conjunction_test(inside)
    effect = comparisons[rival]
    low, high = effect.interval()
    return row | {
        "effect_name": question.effect_name.format(rival=rival, reduced=n_reduced),
        "effect": effect.value,
        "low": low,
        "high": high,
        "p": p,
        "smallest_resolvable": smallest_resolvable_difference(effect),
        "inside": inside[rival].value,
    }


def conjunction_test(effects: Mapping[str, Estimate]) -> tuple[str, float]:
    """Test the claim that all of several effects are above zero.

    Where the smallest effect is above zero, the claim is tested by the largest p value
    (intersection-union, which needs no correction). Where it is not, the claim falls with any of
    the effects below zero, and Bonferroni's correction pays for having looked at all of them.

    Returns
    -------
    tuple of str and float
        Name of the smallest effect; two-sided p value of the side on which it lies.
    """
    weakest = min(effects, key=lambda name: effects[name].value)
    if effects[weakest].value > 0:
        return weakest, max(effect.p() for effect in effects.values())
    below = min(effect.p() for effect in effects.values() if effect.value <= 0)
    return weakest, min(1.0, len(effects) * below)


def _verdict(inside: float, p: float, alpha: float = 0.05) -> str:
    """Which way the data fall, if they do."""
    if np.isnan(p) or p >= alpha:
        return VERDICTS[2]
    return VERDICTS[0] if inside > 0 else VERDICTS[1]


def _overall(verdicts: Sequence[str]) -> str:
    """Verdict on a finding from those on its parts."""
    if VERDICTS[1] in verdicts:
        return VERDICTS[1]
    return verdicts[0] if len(set(verdicts)) == 1 else VERDICTS[2]


def _sentence(question: Question, row: pd.Series) -> str:
    """One sentence that answers a question with its numbers."""
    if np.isnan(row["effect"]):
        return f"This study lacks a run that the question needs: {row['verdict']}."
    effect, low, high = (shown(row[key], question.shown_as) for key in ("effect", "low", "high"))
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    name = row["effect_name"][0].upper() + row["effect_name"][1:]
    return (
        f"{name}: {effect} (95% interval {low} to {high}; the claim needs a value "
        f"{question.threshold}, Holm-corrected {p}): {row['verdict']}."
    )


def shown(value: float, shown_as: str) -> str:
    """Write an effect as its question shows it: a signed difference or a share in per cent."""
    if np.isnan(value):
        return "\N{EN DASH}"
    if shown_as == "share":
        return f"{100 * value:.1f}%"
    return signed(value) if value else "0"


def number(value: float, digits: int = 3, sign: str = "") -> str:
    """Write a number with a real minus; a dash where there is none."""
    if not np.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """Write a difference as `number` does, with its sign."""
    return number(value, sign="+")


def p_value(p: float) -> str:
    """Write a p value with three decimals; a dash where there is none."""
    return "< 0.001" if p < 0.001 else number(p)


# --- shared pieces ------------------------------------------------------------------------------


def interval_columns(name: str, estimate: Estimate) -> dict[str, float]:
    """Value and interval, but no interval for the binned calibration error.

    Sampling noise can only enlarge a mean absolute gap. Its bootstrap distribution lies above the
    estimate, which lies above the truth, and where the network is well calibrated no bootstrap
    interval covers. Slope and offset of `leadmin.evidence.calibration` have intervals that do.
    """
    if name == "ece":
        return {name: estimate.value}
    low, high = estimate.interval(method="bca" if name in BCA_METRICS else "percentile")
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}


def _seed_variances(evidence: Evidence, config: str, recipe: str) -> list[tuple[float, int]]:
    """Seed variance of both sides of a difference to the 12 leads."""
    sides = [] if config == REFERENCE else [config, REFERENCE]
    return [
        evidence.get(side, recipe).seed_variance("auroc")
        for side in sides
        if (side, recipe) in evidence.scored
    ]


def _with_seeds(
    name: str, estimate: Estimate, seeds: Sequence[tuple[float, int]]
) -> dict[str, float]:
    """Interval that carries the choice of seeds besides the sampling of patients.

    A value is a mean over few trainings. The variance of such a mean adds to the bootstrap
    variance, with Satterthwaite's degrees of freedom because it is itself estimated from few
    trainings. In simulation the 95% interval covers 94% or more as long as the seeds spread no
    wider than the sampling error; with two seeds that spread four times as wide it covers 88%, so
    with two seeds take it as a warning rather than a bound. NaN where a side has a single seed.

    Parameters
    ----------
    seeds : sequence of (variance of the mean over seeds, degrees of freedom)
        One entry per configuration that the estimate rests on.
    """
    low = high = float("nan")
    total = estimate.standard_error**2 + sum(variance for variance, _ in seeds)
    if np.isfinite(total) and total > 0:
        uncertain = sum(variance**2 / freedom for variance, freedom in seeds)
        freedom = total**2 / uncertain if uncertain > 0 else np.inf
        reach = float(t.ppf((1 + LEVEL) / 2, freedom)) * float(np.sqrt(total))
        low, high = estimate.value - reach, estimate.value + reach
    return {f"{name}_low_with_seeds": low, f"{name}_high_with_seeds": high}


def _named(scored: Scored, name: str) -> Estimate:
    """``auroc`` is the macro average, ``auroc_HYP`` that class."""
    metric, _, of_class = name.rpartition("_")
    if of_class in CLASSES:
        return scored.of_class(metric, of_class)
    return scored.macro(name)


def combine(function: Callable[..., Any], *estimates: Estimate) -> Estimate:
    """Apply a function to estimates from the same resamples: the result is paired."""
    return Estimate(
        float(function(*(e.value for e in estimates))),
        np.asarray(function(*(e.replicates for e in estimates))),
        np.asarray(function(*(e.jackknife for e in estimates))),
    )


def _gathered(runs: "Runs | Evidence", n_resamples: int, seed: int) -> Evidence:
    return runs if isinstance(runs, Evidence) else gather(runs, n_resamples, seed)


def _by_config(runs: Runs) -> dict[str, "Run"]:
    listed = list(runs.values()) if isinstance(runs, Mapping) else list(runs)
    if not listed:
        raise LeadminError("There are no finished runs to report on; train at least one first.")
    by_config = {run.config: run for run in listed}
    if len(by_config) < len(listed):
        names = [run.config for run in listed]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise LeadminError(f"Two runs of the same configuration: {', '.join(twice)}; keep one.")
    return by_config


def _check_same_records(first: "Run", run: "Run") -> None:
    """Comparisons are paired, so all runs must have been tested on the same records."""
    for field in ("record_id", "patient_id", "labels", "fold"):
        a, b = np.asarray(getattr(first.test, field)), np.asarray(getattr(run.test, field))
        if a.shape != b.shape or not np.array_equal(a, b):
            raise LeadminError(
                f"The runs {first.config!r} and {run.config!r} were tested on different records "
                f"(their {field} differ), so they cannot be compared; run both again from the "
                "same data and study file."
            )
    for recipe in run.recipes:
        for name, split in (("validation", run.validation), ("test", run.test)):
            found, expected = np.shape(split.logits.get(recipe, ())), np.shape(split.labels)
            if len(found) != 3 or not found[0] or found[1:] != expected:
                raise LeadminError(
                    f"Run {run.config!r}, recipe {recipe!r}: {name} logits have the shape {found} "
                    f"and the labels {expected}; expected (seeds, records, classes) and (records, "
                    "classes). Run it again."
                )
            if np.isnan(split.logits[recipe]).any():
                raise LeadminError(
                    f"Run {run.config!r}, recipe {recipe!r}: some {name} logits are NaN, so its "
                    "training has failed. Run it again."
                )


def _score(run: "Run", recipe: str, weights: resampling.Weights, n_resamples: int) -> Scored:
    """Point values per seed, and resampled values averaged over seeds."""
    labels = np.asarray(run.test.labels, dtype=np.uint8)
    fold = np.asarray(run.test.fold)
    pooled = len(np.unique(fold)) > 1
    per_seed: dict[str, list[Array]] = {}
    totals: dict[str, Array] = {}
    all_weights = np.hstack([np.ones((len(labels), 1), dtype=np.uint8), weights])
    n_seeds = len(run.test.logits[recipe])
    for index in range(n_seeds):
        p = metrics.probabilities(run.test.logits[recipe][index])
        chosen = metrics.thresholds(
            run.validation.labels, metrics.probabilities(run.validation.logits[recipe][index])
        )
        resampled = resampling.resampled_metrics(labels, p, chosen, all_weights)
        if pooled:
            resampled["auroc_within_fold"] = np.stack(
                [
                    resampling.within_fold_auroc(labels[:, c], p[:, c], fold, all_weights)
                    for c in range(labels.shape[1])
                ],
                axis=1,
            )
        for name, values in resampled.items():
            per_seed.setdefault(name, []).append(values[0])
            totals[name] = totals.get(name, 0.0) + values[1:] / n_seeds
    return Scored(
        config=run.config,
        recipe=recipe,
        leads=tuple(run.leads),
        per_seed={name: np.array(values) for name, values in per_seed.items()},
        replicates={name: values[:n_resamples] for name, values in totals.items()},
        jackknife={name: values[n_resamples:] for name, values in totals.items()},
    )
