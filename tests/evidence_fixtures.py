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
    seed_noise=0.1,
    own_noise=0.3,
):
    """Runs whose logits are ``strength * label + shared noise + own noise``, so correlated.

    The validation records lie in the folds that validate the networks of the test ``folds``.
    """
    rng = np.random.default_rng(seed)

    def split(n, first_id, fold):
        patient = np.sort(rng.integers(0, int(n * 0.9), n)) + first_id
        labels = (rng.random((n, 5)) < PREVALENCE).astype(np.uint8)
        shared = rng.normal(size=(n, 5))
        return np.arange(n) + first_id, patient, fold, labels, shared

    validating = (9,) if len(folds) == 1 else [fold % N_FOLDS + 1 for fold in folds]
    splits = [
        split(n_records, 0, np.resize(validating, n_records)),
        split(n_records, 100_000, np.resize(folds, n_records)),
    ]
    factor = np.array([1, 1, 1, 1, hyp_factor])
    runs = {}
    for config, power in strength.items():
        both = []
        for record_id, patient, fold, labels, shared in splits:
            logits = {}
            for k, recipe in enumerate(recipes):
                signal = (power - 0.2 * (k > 0)) * factor * labels - 1.5 + shared
                signal = signal + rng.normal(size=shared.shape) * own_noise
                noise = rng.normal(size=(n_seeds, *shared.shape)) * seed_noise
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


@functools.cache
def whole_study():
    """The evidence of all configurations under two recipes, gathered once; not to be changed."""
    return gather(synthetic_runs(500), n_resamples=400)


def one_run(n_records, n_seeds=1, **options):
    """The run of the 12 leads under the default recipe alone."""
    return synthetic_runs(n_records, n_seeds, ("default",), {"12-lead": 2.0}, **options)["12-lead"]


def on_records(run, chosen, **changed):
    """The same run, as if it had been tested on the records of a data set."""
    ids = {"record_id": chosen.record_id, "patient_id": chosen.patient_id}
    return dataclasses.replace(run, test=dataclasses.replace(run.test, **ids, **changed))


def with_recipe_on(runs, configs, recipe="original"):
    """The same runs, with ``recipe`` kept on some configurations only."""
    kept = {}
    for config, run in runs.items():
        recipes = tuple(r for r in run.recipes if r != recipe or config in configs)
        cut = {}
        for name in ("validation", "test"):
            part = getattr(run, name)
            logits = {recipe: part.logits[recipe] for recipe in recipes}
            cut[name] = dataclasses.replace(part, logits=logits)
        seeds = {r: run.seeds[r] for r in recipes}
        kept[config] = dataclasses.replace(run, recipes=recipes, seeds=seeds, **cut)
    return kept


def with_groups(evidence, **groups):
    """The same evidence, with its records in subgroups."""
    return dataclasses.replace(evidence, groups=groups)


def write_runs(runs, folder, protocol):
    """Put runs on disk as finished ones, for what reads them with `load_runs`."""
    for config, run in runs.items():
        target = folder / config
        target.mkdir(parents=True)
        parts = {"validation": run.validation, "test": run.test}
        _write_predictions(target, parts)
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


# Ovarian cancer data of DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, 837-845: albumin,
# total protein, K-G score (lower is better) and the outcome of surgery, for the 43 patients with
# all three tests, as the SAS/STAT documentation of PROC LOGISTIC reprints them.
_DELONG_ROWS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""
_table = np.array(_DELONG_ROWS.split(), dtype=float).reshape(-1, 4)
DELONG_1988 = (_table[:, 3].astype(int), np.stack([_table[:, 0], 10 - _table[:, 2], _table[:, 1]]))
