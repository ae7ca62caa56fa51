"""What the runs of a study show, all comparisons paired.

`gather` resamples the patients once and scores every configuration under every recipe with the same
resamples; every table is read off the result, an `Evidence`.

**Point estimates.** A configuration's value is the mean over its seeds of the metric of each seed's
predictions; thresholds for F1 come from the validation records of the same network. The spread
over seeds (``*_seed_sd``) is reported beside the interval, which carries the sampling of patients.

**Cross-validation.** Each test fold was scored by a network of its own, and the predictions of all
folds are pooled. The AUROC over the pooled records is the primary one, and conservative: a
difference in scale between two folds' networks counts as error. ``auroc_within_fold``, the mean of
the AUROCs within each fold, has no such penalty. Patients are resampled across the pooled folds:
the intervals are those of these trained networks on new patients. Another draw of *training*
patients would move all folds together; no unbiased estimate of that variance exists [1]_, and
`leadmin.questions.controls.fold_table` gives the usual correction for it as a second opinion.

**Rare classes.** A resample can lack the positive records of a class: with k positive patients
about one in exp(k) does. The AUROC of the class is undefined there, and the macro average of that
resample runs over the other classes. Comparisons stay paired, but the replicates mix averages over
different classes: where `Evidence.absent_resamples` counts more than a handful, do not trust the
interval of the macro average. A class absent from more than half of the resamples has none itself.

**The twelve-lead reference** is the run called `REFERENCE`. Where a study lacks it, everything that
is relative to it is NaN.

References
----------
.. [1] Bengio Y, Grandvalet Y. No unbiased estimator of the variance of k-fold cross-validation.
   J. Mach. Learn. Res. 5, 1089-1105 (2004).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin import metrics
from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.estimates import (
    UNKNOWN,
    Array,
    Estimate,
    FoldEstimate,
    JackknifeEstimate,
    combine,
    sd,
    variance_of_mean,
)
from leadmin.labels import CLASSES
from leadmin.leads import REFERENCE as REFERENCE  # the questions read it from here
from leadmin.study.run import Predictions, Run, fold_thresholds, require_same_records
from leadmin.workers import side_by_side

MARGIN = 0.01
"""Primary non-inferiority margin in macro AUROC, stated before any result was seen."""


FEW = 100
"""With fewer records of a label value than this, a claim must hold for few patients too."""


Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Iterator[Row]
"""Rows of a table, by column."""

ENDS = ("", "_low", "_high")
"""What follows the name of a value, and of the ends of its interval."""


@dataclass(frozen=True)
class Scored:
    """One configuration under one recipe; each metric by its name.

    ``per_seed`` is (n_seeds, n_classes); ``replicates`` (n_resamples, n_classes) and ``jackknife``
    (n_groups, n_classes) are means over seeds.
    """

    config: str
    recipe: str
    leads: tuple[str, ...]
    per_seed: Mapping[str, Array]
    replicates: Mapping[str, Array]
    jackknife: Mapping[str, Array]
    kind: Estimate = UNKNOWN
    classes: tuple[str, ...] = CLASSES

    @property
    def n_seeds(self) -> int:
        """Number of trainings behind each value."""
        return len(self.per_seed["auroc"])

    @property
    def head(self) -> dict[str, Any]:
        """The columns that a row of any table begins with."""
        return {"recipe": self.recipe, "config": self.config, "n_leads": len(self.leads)}

    def values(self, kind: str, metric: str, target: str) -> Array:
        """Give what it has ``per_seed`` or ``replicates`` or ``jackknife``, of a class or macro."""
        found = getattr(self, kind)[metric]
        return metrics.macro(found) if target == "macro" else found[:, self.classes.index(target)]

    def macro(self, metric: str) -> Estimate:
        """Macro average of ``metric``, in each resample over the classes that are defined there."""
        return self.of_class(metric, "macro")

    def of_class(self, metric: str, name: str) -> Estimate:
        """``metric`` of one class."""
        kinds = ("per_seed", "replicates", "jackknife")
        of_seeds, replicates, jackknife = (self.values(kind, metric, name) for kind in kinds)
        return self.kind.of(of_seeds.mean(), replicates, jackknife)

    def seed_sd(self, metric: str) -> float:
        """Give the standard deviation over seeds of the macro average; NaN with one seed."""
        return sd(metrics.macro(self.per_seed[metric]))

    def seed_variance(self, metric: str) -> tuple[float, int]:
        """Give the variance of the mean over seeds and its degrees of freedom."""
        return variance_of_mean(metrics.macro(self.per_seed[metric]))


@dataclass(frozen=True)
class Evidence:
    """Every configuration of a study, scored under the same resamples of patients.

    ``scored`` is by (config, recipe), both in the order of the runs. ``labels`` are (n_records,
    n_classes), the other arrays (n_records,), all of the test records; ``columns`` are those of
    `resampling.all_weights` under which all was scored. Empty without data: ``groups``, subgroups
    of the records by what divides them, and ``relabelled``, the AUROCs of the same runs under the
    label policies that are not their own.
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
    columns: resampling.Weights
    runs: Mapping[str, Run]
    groups: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    relabelled: Mapping[str, "Evidence"] = field(default_factory=dict)

    @property
    def class_names(self) -> dict[str, str]:
        """What the runs tell apart, and what a report calls it."""
        return self.runs[self.configs[0]].class_names

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return tuple(self.class_names)

    @property
    def label_policy(self) -> str:
        """The policy that the runs are stored with."""
        settings = self.runs[self.configs[0]].metrics.get("settings", {})
        return str(settings.get("label_policy", "any"))

    def estimated(self, kind: Estimate) -> "Evidence":
        """Estimate by another method."""
        scored = {key: replace(one, kind=kind) for key, one in self.scored.items()}
        return replace(self, scored=scored)

    @cached_property
    def folds(self) -> "Evidence":
        """The AUROCs within each fold, which tell of other training patients too."""
        within = self.fold[:, None] == np.unique(self.fold)
        columns, n = np.insert(within, 0, True, axis=1).astype(np.uint8), within.shape[1]
        scored = {key: _auroc(self.runs[key[0]], key[1], columns, n) for key in self.scored}
        return replace(self, scored=scored).estimated(FoldEstimate(**vars(UNKNOWN), freedom=n - 1))

    def views(self) -> Iterator[tuple[str, str, "Evidence"]]:
        """Give this evidence under each label policy by each kind of interval, which it names.

        Over ``patients``; ``few patients`` where a class has fewer than `FEW` records, and
        ``folds`` where there are several.
        """
        for policy, one in {self.label_policy: self, **self.relabelled}.items():
            yield policy, "patients", one
            if (kind := one.for_few) is not None:
                yield policy, "few patients", one.estimated(kind)
            if len(np.unique(self.fold)) > 1:
                yield policy, "folds", one.folds

    @property
    def for_few(self) -> Estimate | None:
        """The kind of estimate where a class has fewer than `FEW` records; else none."""
        positives = self.labels.sum(axis=0, dtype=np.int64)
        fewest = int(np.minimum(positives, len(self.labels) - positives).min())
        return (
            JackknifeEstimate(**vars(UNKNOWN), freedom=max(fewest - 1, 1)) if fewest < FEW else None
        )

    @property
    def n_records(self) -> int:
        """Number of test records."""
        return len(self.labels)

    @property
    def n_patients(self) -> int:
        """Number of test patients."""
        return len(np.unique(self.patient_id))

    @property
    def weights(self) -> resampling.Weights:
        """How often each record was drawn in each resample, (n_records, n_resamples)."""
        return self.columns[:, 1 : 1 + self.n_resamples]

    def absent_resamples(self) -> dict[str, int]:
        """Count the resamples without a positive, or a negative, record of each class."""
        absent = np.isnan(next(iter(self.scored.values())).replicates["auroc"]).sum(axis=0)
        return dict(zip(self.classes, absent.tolist(), strict=True))

    def get(self, config: str, recipe: str) -> Scored:
        """Give one configuration under one recipe; the error lists what the study has."""
        try:
            return self.scored[config, recipe]
        except KeyError:
            raise LeadminError(
                f"study: no run of {config!r} under the recipe {recipe!r}; valid: "
                f"{', '.join(self.configs)} under {', '.join(self.recipes)}; train it first"
            ) from None

    def under(self, recipe: str) -> list[Scored]:
        """List the configurations that were trained under a recipe."""
        return [one for (_, of), one in self.scored.items() if of == recipe]

    def reduced(self, recipe: str) -> list[Scored]:
        """List those with fewer than 12 leads."""
        return [one for one in self.under(recipe) if len(one.leads) < 12]

    def compared(self, recipe: str) -> list[Scored]:
        """List those with fewer than 12 leads; none without a 12-lead run to compare with."""
        return self.reduced(recipe) if (REFERENCE, recipe) in self.scored else []

    def table(self, sets: Iterable[Scored], rows: Callable[[Scored], "Rows"]) -> pd.DataFrame:
        """Make a table of the rows of each set, between its name and its counts."""
        return pd.DataFrame([s.head | row | self.counts(s) for s in sets for row in rows(s)])

    def counts(self, scored: Scored) -> dict[str, int]:
        """Say on how many records, patients and seeds a row stands."""
        return {
            "n_records": self.n_records,
            "n_patients": self.n_patients,
            "n_seeds": scored.n_seeds,
        }


def gather(
    runs: Mapping[str, Run] | Iterable[Run],
    n_resamples: int = 2000,
    seed: int = 0,
    auroc_alone: bool = False,
    workers: int = 1,
) -> Evidence:
    """Score all runs of a study under the same bootstrap resamples of patients.

    ``workers`` processes score side by side. The runs have the same test records in the same
    order; others, two of one configuration, and none are refused.
    """
    listed = list(runs.values() if isinstance(runs, Mapping) else runs)
    by_config = {run.config: run for run in listed}
    if not listed or len(by_config) < len(listed):
        raise LeadminError(
            f"runs: {', '.join(run.config for run in listed) or 'no finished runs'}; valid: one or "
            "more, each of another configuration; train one first, or keep one of each"
        )
    require_same_records(by_config.values())
    test = next(iter(by_config.values())).test
    drawn = resampling.patient_weights(test.patient_id, n_resamples, np.random.default_rng(seed))
    columns = resampling.all_weights(test.patient_id, drawn)
    columns.setflags(write=False)
    keys = [(config, recipe) for config, run in by_config.items() for recipe in run.recipes]
    score = joblib.delayed(_auroc if auroc_alone else _score)
    scored = side_by_side(workers)(
        score(by_config[config], recipe, columns, n_resamples) for config, recipe in keys
    )
    return Evidence(
        dict(zip(keys, scored, strict=True)),
        tuple(by_config),
        tuple(dict.fromkeys(recipe for _, recipe in keys)),
        np.asarray(test.labels, dtype=np.uint8),
        np.asarray(test.patient_id),
        np.asarray(test.record_id),
        np.asarray(test.fold),
        n_resamples,
        seed,
        columns,
        by_config,
    )


def matched(dataset: EcgDataset, evidence: Evidence) -> NDArray[np.intp]:
    """Find the test records of a study in its data; refused where they are not the same."""
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
    return np.asarray(place)


def under_other_labels(
    evidence: Evidence, labels: Mapping[str, NDArray[np.uint8]]
) -> dict[str, Evidence]:
    """Score the AUROCs again under other label policies, on the records that each labels.

    ``labels`` are (n_records, n_classes) by policy, in the order of ``evidence.record_id``.
    """
    found = {}
    for policy, under in labels.items():
        kept = np.asarray(under.any(axis=1))
        runs = [
            replace(run, test=of_rows(replace(run.test, labels=under), kept))
            for run in evidence.runs.values()
        ]
        found[policy] = gather(runs, evidence.n_resamples, evidence.seed, auroc_alone=True)
    return found


def of_rows(part: Predictions, rows: NDArray[Any]) -> Predictions:
    """Give what was said of some of the records."""
    records = (part.record_id[rows], part.patient_id[rows], part.fold[rows], part.labels[rows])
    return Predictions(*records, {name: logits[:, rows] for name, logits in part.logits.items()})


def relative_to_reference(evidence: Evidence, config: str, recipe: str) -> dict[str, Estimate]:
    """Score a configuration against the 12 leads under the same recipe.

    Gives ``lrs``, ``retention``, ``retention_above_chance`` and ``difference``, all of macro AUROC
    (and for LRS of the Brier score); NaN throughout where the study has no 12-lead run.
    """
    scored = evidence.get(config, recipe)
    auroc, brier = scored.macro("auroc"), scored.macro("brier")
    reference = evidence.scored.get((REFERENCE, recipe))
    if reference:
        auroc_12, brier_12 = reference.macro("auroc"), reference.macro("brier")
    else:
        auroc_12 = brier_12 = combine(lambda values: np.multiply(values, np.nan), auroc)
    return {
        "lrs": combine(metrics.lrs, auroc, brier, auroc_12, brier_12),
        "retention": combine(metrics.retention, auroc, auroc_12),
        "retention_above_chance": combine(metrics.chance_corrected_retention, auroc, auroc_12),
        "difference": combine(np.subtract, auroc, auroc_12),
    }


def compare(evidence: Evidence, first: str, second: str, recipe: str) -> Estimate:
    """Paired difference in macro AUROC of two configurations, first minus second."""
    a, b = (evidence.get(config, recipe).macro("auroc") for config in (first, second))
    return combine(np.subtract, a, b)


def seed_variances(evidence: Evidence, config: str, recipe: str) -> list[tuple[float, int]]:
    """Seed variance of both sides of a difference to the 12 leads."""
    sides = [] if config == REFERENCE else [config, REFERENCE]
    scored = (evidence.scored.get((side, recipe)) for side in sides)
    return [side.seed_variance("auroc") for side in scored if side]


def named(scored: Scored, name: str) -> Estimate:
    """``auroc`` is the macro average, ``auroc_HYP`` that class."""
    for of_class in scored.classes:
        metric = name.removesuffix(f"_{of_class}")
        if metric != name and metric in scored.per_seed:
            return scored.of_class(metric, of_class)
    return scored.macro(name)


def _auroc(run: Run, recipe: str, columns: resampling.Weights, n_resamples: int) -> Scored:
    """Score the AUROC alone."""
    of_seeds = [
        [
            resampling.weighted_auroc(y, x, columns)
            for y, x in zip(run.test.labels.T, logits.T, strict=True)
        ]
        for logits in run.test.logits[recipe]
    ]
    return _scored(run, recipe, {"auroc": np.array(of_seeds).swapaxes(1, 2)}, n_resamples)


def _score(run: Run, recipe: str, columns: resampling.Weights, n_resamples: int) -> Scored:
    """Score every metric."""
    labels, fold = np.asarray(run.test.labels, dtype=np.uint8), np.asarray(run.test.fold)
    of_seeds = []
    for seed, logits in enumerate(run.test.logits[recipe]):
        p = metrics.probabilities(logits)
        chosen = fold_thresholds(run.validation, run.test, recipe, seed)
        found = resampling.resampled_metrics(labels, p, chosen, columns)
        if len(np.unique(fold)) > 1:
            within = [
                resampling.within_fold_auroc(y, of_class, fold, columns)
                for y, of_class in zip(labels.T, p.T, strict=True)
            ]
            found["auroc_within_fold"] = np.stack(within, axis=1)
        of_seeds.append(found)
    values = {name: np.array([found[name] for found in of_seeds]) for name in of_seeds[0]}
    return _scored(run, recipe, values, n_resamples)


def _scored(run: Run, recipe: str, values: Mapping[str, Array], n_resamples: int) -> Scored:
    """Take metrics apart, (n_seeds, n_columns, n_classes) each; resampled they are means."""
    means, n = {name: of_seeds.mean(axis=0) for name, of_seeds in values.items()}, 1 + n_resamples
    return Scored(
        config=run.config,
        recipe=recipe,
        leads=tuple(run.leads),
        per_seed={name: of_seeds[:, 0] for name, of_seeds in values.items()},
        replicates={name: mean[1:n] for name, mean in means.items()},
        jackknife={name: mean[n:] for name, mean in means.items()},
        classes=run.classes,
    )
