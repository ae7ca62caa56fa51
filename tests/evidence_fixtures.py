"""Synthetic runs with known properties, for the tests of the evidence layer."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    record_id: np.ndarray
    patient_id: np.ndarray
    fold: np.ndarray
    labels: np.ndarray
    logits: dict


@dataclass(frozen=True)
class Run:
    config: str
    leads: tuple
    recipes: tuple
    seeds: tuple
    validation: Predictions
    test: Predictions


CONFIGURATIONS = {
    "12-lead": ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"),
    "6-lead-limb": ("I", "II", "III", "aVR", "aVL", "aVF"),
    "3-lead-I-II-V2": ("I", "II", "V2"),
    "3-lead-I-II-III": ("I", "II", "III"),
    "3-lead-II-V2-V5": ("II", "V2", "V5"),
    "2-lead-I-II": ("I", "II"),
    "2-lead-II-V2": ("II", "V2"),
    "1-lead-II": ("II",),
    "1-lead-V5": ("V5",),
    "1-lead-I": ("I",),
    "1-lead-V2": ("V2",),
}
PREVALENCE = np.array([0.45, 0.22, 0.24, 0.21, 0.12])
STRENGTH = {
    "12-lead": 2.0,
    "6-lead-limb": 1.75,
    "3-lead-I-II-V2": 1.97,
    "3-lead-I-II-III": 1.75,
    "3-lead-II-V2-V5": 1.85,
    "2-lead-I-II": 1.75,
    "2-lead-II-V2": 1.65,
    "1-lead-II": 1.5,
    "1-lead-V5": 1.4,
    "1-lead-I": 1.35,
    "1-lead-V2": 1.0,
}


def synthetic_runs(
    n_records=600,
    n_seeds=2,
    recipes=("default", "seed"),
    strength=STRENGTH,
    seed=0,
    folds=(10,),
    hyp_factor=0.6,
    seed_noise=0.1,
    own_noise=0.3,
):
    """Runs whose logits are ``strength * label + shared noise + own noise``.

    The noise that all configurations share makes them correlated, as real ones are.
    """
    rng = np.random.default_rng(seed)

    def split(n, first_id, fold):
        patient = np.sort(rng.integers(0, int(n * 0.9), n)) + first_id
        labels = (rng.random((n, 5)) < PREVALENCE).astype(np.uint8)
        shared = rng.normal(size=(n, 5))
        return np.arange(n) + first_id, patient, fold, labels, shared

    splits = [
        split(n_records, 0, np.full(n_records, 9)),
        split(n_records, 100_000, np.resize(folds, n_records)),
    ]
    factor = np.array([1, 1, 1, 1, hyp_factor])
    runs = {}
    for config, power in strength.items():
        both = []
        for record_id, patient, fold, labels, shared in splits:
            logits = {}
            for k, recipe in enumerate(recipes):
                bonus = 0.0 if k == 0 else -0.2
                own = rng.normal(size=shared.shape) * own_noise
                logits[recipe] = np.stack(
                    [
                        (power + bonus) * factor * labels
                        - 1.5
                        + shared
                        + own
                        + rng.normal(size=shared.shape) * seed_noise
                        for _ in range(n_seeds)
                    ]
                ).astype(np.float32)
            both.append(Predictions(record_id, patient, fold, labels, logits))
        runs[config] = Run(
            config, CONFIGURATIONS[config], recipes, tuple(range(n_seeds)), both[0], both[1]
        )
    return runs
