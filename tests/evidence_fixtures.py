"""Synthetic runs with known properties, for the tests of the evidence layer."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd

from leadmin.evidence.scores import gather
from leadmin.files import sha256, write_json
from leadmin.leads import configurations
from leadmin.study.protocol import N_FOLDS
from leadmin.study.run import Predictions, Run, _write_predictions
from leadmin.study.validity import SCHEMA_VERSION

PREVALENCE = np.array([0.45, 0.22, 0.24, 0.21, 0.12])
STRENGTH = {
    "12-lead": 2.0, "6-lead-limb": 1.75, "3-lead-I-II-V2": 1.97, "3-lead-I-II-III": 1.75,
    "3-lead-II-V2-V5": 1.85, "2-lead-I-II": 1.75, "2-lead-II-V2": 1.65, "1-lead-II": 1.5,
    "1-lead-V5": 1.4, "1-lead-I": 1.35, "1-lead-V2": 1.0,
}  # fmt: skip


def synthetic_runs(
    n_records=600,
    n_seeds=2,
    recipes=("default", "original"),
    strength=STRENGTH,
    seed=0,
    folds=(10,),
    hyp_factor=0.6,
):
    """Runs whose logits are ``strength * label + shared noise + own noise``, so correlated.

    ``strength`` is given by configuration, or names configurations of the usual strength. The
    validation records lie in the folds that validate the networks of the test ``folds``.
    """
    rng = np.random.default_rng(seed)

    def split(first_id, folds):
        patient = np.sort(rng.integers(0, int(n_records * 0.9), n_records)) + first_id
        labels = (rng.random((n_records, 5)) < PREVALENCE).astype(np.uint8)
        shared, fold = rng.normal(size=(n_records, 5)), np.resize(folds, n_records)
        return np.arange(n_records) + first_id, patient, fold, labels, shared

    validating = (9,) if len(folds) == 1 else [fold % N_FOLDS + 1 for fold in folds]
    splits = split(0, validating), split(100_000, folds)
    factor = np.array([1, 1, 1, 1, hyp_factor])
    runs = {}
    for config in strength:
        power = (strength if isinstance(strength, dict) else STRENGTH)[config]
        both = []
        for record_id, patient, fold, labels, shared in splits:
            logits = {}
            for k, recipe in enumerate(recipes):
                signal = (power - 0.2 * (k > 0)) * factor * labels - 1.5 + shared
                signal = signal + rng.normal(size=shared.shape) * 0.3
                noise = rng.normal(size=(n_seeds, *shared.shape)) * 0.1
                logits[recipe] = (signal + noise).astype(np.float32)
            both.append(Predictions(record_id, patient, fold, labels, logits))
        runs[config] = Run(
            config,
            configurations()[config].leads,
            tuple(recipes),
            dict.fromkeys(recipes, tuple(range(n_seeds))),
            *both,
            metrics={},
            history=pd.DataFrame(),
            folder=Path(config),
        )
    return runs


def gathered(strength, n_records, n_resamples, recipes=("default",), n_seeds=1, **options):
    """The evidence of synthetic runs."""
    runs = synthetic_runs(n_records, n_seeds, recipes, strength, **options)
    return gather(runs, n_resamples=n_resamples)


@functools.cache
def whole_study():
    """The evidence of all configurations under two recipes, gathered once; not to be changed."""
    return gather(synthetic_runs(500), n_resamples=400)


def one_run(n_records, n_seeds=1, **options):
    """The run of the 12 leads under the default recipe alone."""
    return synthetic_runs(n_records, n_seeds, ("default",), {"12-lead": 2.0}, **options)["12-lead"]


def retested(run, **changed):
    """The same run, with other test predictions."""
    return dataclasses.replace(run, test=dataclasses.replace(run.test, **changed))


def on_records(run, chosen, **changed):
    """The same run, as if it had been tested on the records of a data set."""
    return retested(run, record_id=chosen.record_id, patient_id=chosen.patient_id, **changed)


def with_logits(run, logits_of):
    """The same run, with the logits, by recipe, that a function makes of its predictions."""
    validation, test = (
        dataclasses.replace(part, logits=logits_of(part)) for part in (run.validation, run.test)
    )
    seeds = {recipe: tuple(range(len(each))) for recipe, each in test.logits.items()}
    return dataclasses.replace(
        run, recipes=tuple(seeds), seeds=seeds, validation=validation, test=test
    )


def with_original_on(runs, configs):
    """The same runs, with the recipe ``original`` kept on some configurations only."""
    kept = dict(runs)
    for config in runs.keys() - set(configs):
        kept[config] = with_logits(runs[config], lambda part: {"default": part.logits["default"]})
    return kept


def with_groups(evidence, **groups):
    """The same evidence, with its records in subgroups."""
    return dataclasses.replace(evidence, groups=groups)


def write_runs(runs, folder, protocol):
    """Put runs on disk as finished ones, for what reads them with `load_runs`."""
    for config, run in runs.items():
        target = folder / config
        target.mkdir(parents=True)
        _write_predictions(target, {"validation": run.validation, "test": run.test})
        (target / "history.csv").write_text("recipe\n")
        source = {"source": "synthetic ECGs", "source_version": "1", "n_records": 2000}
        document = {
            "schema_version": SCHEMA_VERSION,
            "config": config,
            "leads": list(run.leads),
            "recipes": {recipe: {} for recipe in run.recipes},
            "seeds": {recipe: list(seeds) for recipe, seeds in run.seeds.items()},
            "settings": {"protocol": protocol, "label_policy": "any"},
            "provenance": {"data": source},
            "files": {n: sha256(target / n) for n in ("predictions.npz", "history.csv")},
        }
        write_json(target / "metrics.json", document)
