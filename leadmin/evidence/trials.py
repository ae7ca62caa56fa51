"""Trials of the any-lead networks as evidence: other hospitals, noise, lost electrodes.

A trial of the study's own records (`gather_own`) becomes an `Evidence` whose configurations are the
trial's conditions and, beside them on the same records, the undisturbed sets of the map. Thresholds
stay those of undisturbed validation records: whoever uses a network has no others.

The records of other hospitals (`gather_hospitals`) have no validation records. A hospital is a
``fold``. Its statements are its own: a class counts there only if enough of its records have it and
enough have not (`Hospitals.asked`), so that one that is never stated is not taken for one that is
never there.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.estimates import Array, Estimate, combine, of_columns
from leadmin.evidence.nested import with_missed
from leadmin.evidence.reliability import calibration_line, fit_recalibration
from leadmin.evidence.scores import Evidence, gather, of_rows
from leadmin.labels import CLASSES
from leadmin.study.mapping import ANY_LEAD, sets_of_map
from leadmin.study.run import Predictions, Run

LEAST = 20
"""Records with a class, and without it, that a hospital must have for the class to count there."""

TOGETHER = "all"
"""All hospitals that state a class."""

SEED = 0
"""Of the map: that of the networks on trial."""


def gather_own(trial: Run, mapped: Run, n_resamples: int = 2000, workers: int = 1) -> Evidence:
    """Score the conditions of a trial on the study's records, beside the sets that they are of.

    ``mapped`` is the map of the networks on trial, as its first seed.
    """
    conditions, sets = trial.metrics["conditions"], sets_of_map(mapped)
    undisturbed = (c[key] for c in conditions.values() for key in ("set", "told") if key in c)
    place = {record: row for row, record in enumerate(mapped.test.record_id.tolist())}
    try:
        rows = np.array([place[record] for record in trial.test.record_id.tolist()])
        clean = {name: _first_seed(sets[name], rows) for name in dict.fromkeys(undisturbed)}
    except KeyError as error:
        raise LeadminError(
            f"{trial.folder}: the map {mapped.folder} lacks {error.args[0]}; valid: the map of "
            "the networks on trial; name that"
        ) from None
    runs = {
        name: replace(
            clean[said["set"]],
            config=name,
            metrics=trial.metrics,
            test=_under(trial.test, name),
        )
        for name, said in conditions.items()
    }
    return with_missed(gather(runs | clean, n_resamples, auroc_alone=True, workers=workers))


def gather_hospitals(trial: Run, n_resamples: int = 2000, workers: int = 1) -> "Hospitals":
    """Score the lead sets of a trial on the records of other hospitals."""
    runs = {
        name: replace(
            trial,
            config=name,
            recipes=(ANY_LEAD,),
            seeds={ANY_LEAD: (SEED,)},
            validation=_under(trial.validation, name),
            test=_under(trial.test, name),
        )
        for name in trial.metrics["conditions"]
    }
    return Hospitals(**vars(gather(runs, n_resamples, auroc_alone=True, workers=workers)))


def _under(part: Predictions, condition: str) -> Predictions:
    """Give what the networks say under a condition, in their own name."""
    return replace(part, logits={ANY_LEAD: part.logits[condition]})


def _first_seed(run: Run, rows: NDArray[np.intp]) -> Run:
    validation, test = (
        replace(part, logits={ANY_LEAD: part.logits[ANY_LEAD][SEED : SEED + 1]})
        for part in (run.validation, run.test)
    )
    return replace(run, seeds={ANY_LEAD: (SEED,)}, validation=validation, test=of_rows(test, rows))


# --- other hospitals ------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A class that counts at a hospital, and the ``rows`` of its records."""

    hospital: str
    name: str
    rows: NDArray[np.intp]

    @property
    def place(self) -> int:
        """Position of the class."""
        return CLASSES.index(self.name)


def trial_of(evidence: Evidence) -> Mapping[str, Any]:
    """Give what the trial recorded of itself."""
    return evidence.runs[evidence.configs[0]].metrics


def logits_of(evidence: Evidence, config: str, one: Asked) -> tuple[NDArray[Any], Array]:
    """Give labels and logits, (n_records,) each, of a class at a hospital."""
    logits = evidence.runs[config].test.logits[ANY_LEAD][0, one.rows, one.place]
    return evidence.labels[one.rows, one.place], logits.astype(np.float64)


@dataclass(frozen=True)
class Hospitals(Evidence):
    """Lead sets on the records of other hospitals."""

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """The classes with at least `LEAST` records on either side, hospital by hospital.

        Last come all hospitals together, for each class those that state it.
        """
        hospitals = trial_of(self)["hospitals"]
        found = []
        for hospital in (*hospitals, TOGETHER):
            for place, name in enumerate(CLASSES):
                stated = [
                    number
                    for number, one in enumerate(hospitals, start=1)
                    if self.labels[self.fold == number, place].any() and hospital in (one, TOGETHER)
                ]
                rows = np.flatnonzero(np.isin(self.fold, stated))
                positive = int(self.labels[rows, place].sum())
                if min(positive, len(rows) - positive) >= LEAST:
                    found.append(Asked(hospital, name, rows))
        return tuple(found)

    @cached_property
    def there(self) -> dict[tuple[str, str, str], Estimate]:
        """Each set's AUROC by set, hospital and class, under the resamples of all patients."""
        found = {}
        for config, one in itertools.product(self.configs, self.asked):
            y, x = logits_of(self, config, one)
            values = resampling.weighted_auroc(y, x, self.columns[one.rows])
            found[config, one.hospital, one.name] = of_columns(values, self.n_resamples)
        return found

    def classes_there(self) -> dict[str, tuple[str, ...]]:
        """Name the classes that count at each hospital, and at all together."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self.asked:
            found[one.hospital] = (*found.get(one.hospital, ()), one.name)
        return found

    def mean(self, config: str, hospital: str) -> Estimate:
        """Average a set's AUROCs of the classes that count at a hospital."""
        each = [self.there[config, hospital, name] for name in self.classes_there()[hospital]]
        return combine(lambda *values: metrics.macro(np.stack(values), axis=0), *each)


def rank_correlation(home: Array, there: Array) -> Array:
    """Spearman's correlation of (n_sets,) with each column of (n_sets, n_columns)."""
    a, b = rankdata(home), rankdata(there, axis=0)
    a, b = a - a.mean(), b - b.mean(axis=0)
    return np.asarray(a @ b / np.sqrt((a @ a) * (b * b).sum(axis=0)))


def recalibrated(
    y: NDArray[Any], x: Array, n_local: int, n_splits: int, rng: np.random.Generator
) -> dict[str, float]:
    """Say what a recalibration on a few local records mends, on the others, as means over splits.

    Labels and logits are (n_records,). Gives ``gap`` (mean probability less prevalence, without its
    sign), ``brier`` and ``ece`` of the probabilities as they are, and with ``_shift`` and
    ``_platt`` behind those of an offset, and of offset and slope, that were fitted on ``n_local``
    records drawn at random. The offset is that at which they have the right mean. A draw with one
    label value only mends nothing.
    """
    total: dict[str, list[float]] = {}
    for _ in range(n_splits):
        order = rng.permutation(len(y))
        local, rest = order[:n_local], order[n_local:]
        offset = np.nan_to_num(calibration_line(y[local], x[local]).offset)
        versions = {"": x, "_shift": x + offset}
        fitted = fit_recalibration(y[local, None], x[local, None])
        versions["_platt"] = fitted(x[:, None])[:, 0]
        for ending, logits in versions.items():
            p, truth = metrics.probabilities(logits[rest])[:, None], y[rest, None]
            values = {"gap": abs(float(p.mean() - truth.mean()))}
            values["brier"] = float(metrics.brier(truth, p)[0])
            values["ece"] = float(metrics.calibration_error(truth, p)[0])
            for name, value in values.items():
                total.setdefault(name + ending, []).append(value)
    return {name: float(np.mean(values)) for name, values in total.items()}
