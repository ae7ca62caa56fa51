"""The map as evidence: every set, and for each number of electrodes the set that validation chose.

The best of many sets on the test records is partly luck. So a set is chosen for each network apart,
by the AUROC on that network's own validation records, and its answers to that network's test
records are taken; joined over the networks they are scored like any other set. In the same way for
each class.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t

from leadmin import metrics
from leadmin.evidence.estimates import UNKNOWN, Estimate, seeds_error, variance_of_mean, with_seeds
from leadmin.evidence.reliability import (
    BENEFIT_THRESHOLD,
    benefit_of_records,
    recalibrated_logits,
)
from leadmin.evidence.scores import Evidence, Scored, gather
from leadmin.leads import electrode_sets, signal_spaces
from leadmin.study.ablation import merge
from leadmin.study.mapping import ANY_LEAD, PARTS, sets_of_map
from leadmin.study.protocol import networks
from leadmin.study.run import Run

SPECIFICITY = 0.9
"""Of the validation records without a class, this share must stay uncalled."""


def targets(classes: Iterable[str]) -> tuple[str, ...]:
    """By what a set is chosen and judged: ``macro``, the mean of the classes, and each of them."""
    return ("macro", *classes)


def best_of(number: int, target: str, counted: str = "electrodes") -> str:
    """Name what the sets of so many electrodes, or leads, that validation chose score together."""
    return f"best of {number} {counted} for {target}"


def chosen_sets(
    evidence: Evidence, number: int, target: str, counted: str = "electrodes"
) -> dict[str, int]:
    """Count for how many networks each set was chosen, the most frequent first."""
    chosen = evidence.runs[best_of(number, target, counted)].metrics["chosen"]
    return dict(Counter(chosen).most_common())


def numbers_of_electrodes() -> tuple[int, ...]:
    """List the numbers of electrodes that some set has, 2 to 9."""
    return tuple(sorted({len(space.electrodes) for space in electrode_sets()}))


def offered_sets(names: Iterable[str]) -> dict[tuple[str, int], list[str]]:
    """Sort sets by what is counted and its number: electrodes, and of all spaces leads, too.

    Leads count that do not follow from others. Of sets that electrodes give they are not counted.
    """
    offered: dict[tuple[str, int], list[str]] = {}
    spaces = [space for space in signal_spaces() if space.name in names]
    beyond = not all(space.is_electrode_set for space in spaces)
    for space in spaces:
        if space.is_electrode_set:
            offered.setdefault(("electrodes", len(space.electrodes)), []).append(space.name)
        if beyond:
            offered.setdefault(("leads", space.rank), []).append(space.name)
    return dict(sorted(offered.items()))


def gather_map(
    run: Run,
    n_resamples: int = 2000,
    trained: Mapping[str, Run] = MappingProxyType({}),
    workers: int = 1,
) -> Evidence:
    """Score all sets of a map, and the chosen ones, under the same resamples of patients.

    ``trained`` holds runs of networks that were trained for some of the sets, by their names; their
    primary recipe counts.

    Where a class has few records, intervals are those for few patients (`Evidence.for_few`).
    ``workers`` processes score side by side. Each set has what `with_missed` adds.
    """
    runs = sets_of_map(run)
    sets = tuple(runs)
    for (counted, number), names in offered_sets(sets).items():
        runs |= _chosen({name: runs[name] for name in names}, number, counted)
    for name in trained.keys() & runs.keys():
        first = replace(trained[name], recipes=trained[name].recipes[:1])
        runs[name] = merge([runs[name], first])
    evidence = gather(runs, n_resamples, auroc_alone=True, workers=workers)
    evidence = with_missed(evidence, benefit=True)
    return replace(evidence, configs=sets)


def with_missed(evidence: Evidence, benefit: bool = False) -> Evidence:
    """Add metrics that are means over records to all that any-lead networks say.

    These are ``brier``; per 1,000 records at `SPECIFICITY`, ``missed`` (with a class and not
    called) and ``in_vain`` (called without it); and if ``benefit`` is asked for, ``benefit``, per
    1,000 records the net benefit of calling at `BENEFIT_THRESHOLD`, recalibrated. Intervals are for
    few records where those are few.
    """
    weights = evidence.columns.T.astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    scored = {
        key: _with_means(one, evidence.runs[key[0]], weights, evidence.n_resamples, benefit)
        if key[1] == ANY_LEAD
        else one
        for key, one in evidence.scored.items()
    }
    return replace(evidence, scored=scored).estimated(evidence.for_few or UNKNOWN)


def _chosen(offered: Mapping[str, Run], number: int, counted: str) -> dict[str, Run]:
    """Give for each target the run that is made of the sets which validation chose.

    Where leads are counted, for the mean of the classes alone.
    """
    first = next(iter(offered.values()))
    divided = list(networks(first.validation.fold, first.test.fold))
    reached = np.array(
        [[_validation_auroc(run, own) for run in offered.values()] for own, _ in divided]
    )  # networks, sets, targets
    result = {}
    asked = targets(first.classes) if counted == "electrodes" else targets(())
    for place, target in enumerate(asked):
        scores = np.nan_to_num(reached[:, :, place], nan=-1.0)
        names = [list(offered)[best] for best in scores.argmax(axis=1)]
        logits = {part: getattr(first, part).logits[ANY_LEAD].copy() for part in PARTS}
        for name, masks in zip(names, divided, strict=True):
            for part, mask in zip(PARTS, masks, strict=True):
                logits[part][:, mask] = getattr(offered[name], part).logits[ANY_LEAD][:, mask]
        config = best_of(number, target, counted)
        result[config] = replace(
            first,
            config=config,
            metrics=first.metrics | {"chosen": names},
            validation=replace(first.validation, logits={ANY_LEAD: logits["validation"]}),
            test=replace(first.test, logits={ANY_LEAD: logits["test"]}),
        )
    return result


def _validation_auroc(run: Run, own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over seeds of the AUROC of each target on some validation records."""
    labels, logits = run.validation.labels[own], run.validation.logits[ANY_LEAD][:, own]
    of_classes = np.array([metrics.auroc(labels, of_seed) for of_seed in logits])
    return np.hstack([metrics.macro(of_classes)[:, None], of_classes]).mean(axis=0)


def called(run: Run, recipe: str) -> NDArray[np.bool_]:
    """Which seed calls which test record and class, (n_seeds, n_records, n_classes).

    Each network has the threshold that `SPECIFICITY` of its own validation records without the
    class stay below.
    """
    validation, test = run.validation.logits[recipe], run.test.logits[recipe]
    result = np.zeros(test.shape, dtype=bool)
    for own, tested in networks(run.validation.fold, run.test.fold):
        negative = run.validation.labels[own] == 0
        for c in range(test.shape[-1]):
            others = validation[:, own, c][:, negative[:, c]]
            if others.size:  # without a negative record nothing is called
                cut = np.quantile(others, SPECIFICITY, axis=1, method="inverted_cdf")
                result[:, tested, c] = test[:, tested, c] > cut[:, None]
    return result


def _with_means(
    scored: Scored, run: Run, weights: NDArray[np.float64], n_resamples: int, benefit: bool
) -> Scored:
    """Add the metrics that are means over records."""
    labels, calls = run.test.labels, called(run, ANY_LEAD)
    values = {
        "missed": 1000.0 * (labels * ~calls),
        "in_vain": 1000.0 * ((1 - labels) * calls),
        "brier": (expit(run.test.logits[ANY_LEAD].astype(np.float64)) - labels) ** 2,
    }
    if benefit:
        p, at = expit(recalibrated_logits(run, ANY_LEAD)), np.array([BENEFIT_THRESHOLD])
        values["benefit"] = 1000.0 * benefit_of_records(labels.astype(np.float64), p, at)[..., 0]
    means, n = {name: weights @ v.mean(axis=0) for name, v in values.items()}, 1 + n_resamples
    return replace(
        scored,
        per_seed={**scored.per_seed, **{name: v.mean(axis=1) for name, v in values.items()}},
        replicates={**scored.replicates, **{name: mean[1:n] for name, mean in means.items()}},
        jackknife={**scored.jackknife, **{name: mean[n:] for name, mean in means.items()}},
    )


@dataclass(frozen=True)
class Contrast:
    """A sum of several sets' values with weights: a difference, a Shapley value.

    All sets are read by the same networks, so it has a value for each seed, and the variance over
    seeds of these is that of the contrast.
    """

    estimate: Estimate
    seeds: tuple[float, int]

    def columns(self, name: str) -> dict[str, float]:
        """Value and interval for patients, and for patients and training together."""
        low, high = self.estimate.interval()
        value = {name: self.estimate.value, f"{name}_low": low, f"{name}_high": high}
        return value | with_seeds(name, self.estimate, [self.seeds])

    def p_above(self, bound: float) -> float:
        """One-sided p value of "it is at most ``bound``", over patients and training.

        Over patients alone with one seed; NaN without any spread.
        """
        seeds = [self.seeds] if self.seeds[1] else []
        error, freedom = seeds_error(self.estimate, seeds)
        if not error > 0:
            return float("nan")
        return float(t.sf((self.estimate.value - bound) / error, freedom))


def difference(config: str, reference: str) -> dict[str, float]:
    """Weights of a `contrast`: one set less another; of a set less itself, nothing."""
    return {config: 1.0, reference: -1.0} if config != reference else {config: 0.0}


def contrast(
    evidence: Evidence, weights: Mapping[str, float], metric: str, target: str
) -> Contrast:
    """Add up a metric of sets, ``weights`` by their names, for the macro average or a class."""
    sides = [evidence.get(config, ANY_LEAD) for config in weights]
    w = np.array(list(weights.values()))

    def total(kind: str) -> NDArray[np.float64]:
        return np.asarray(w @ np.array([side.values(kind, metric, target) for side in sides]))

    per_seed = total("per_seed")
    estimate = sides[0].kind.of(per_seed.mean(), total("replicates"), total("jackknife"))
    return Contrast(estimate, variance_of_mean(per_seed))
