"""Any-lead networks that were trained with noise, beside those that were not, under noise.

The first half of each recording of noise is for training and the second for the trial, so that no
network has met the noise that it is tried with.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from disturbances import INDEPENDENT, Signals, segments, with_noise
from numpy.typing import NDArray
from shipping import aurocs, resampled
from trials import drawn, logits_of, main_sets, noise_conditions

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.evidence.estimates import Estimate, of_columns, with_seeds
from leadmin.leads import resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.device import Computing
from leadmin.net.fit import FitJob, fit
from leadmin.net.recipes import RECIPES
from leadmin.study.identity import code_sha256, start_sha256
from leadmin.study.protocol import Split, splits
from leadmin.study.run import Run

N_COPIES = 3
"""Noisy copies of each training record, beside itself."""

WEAKEST, STRONGEST = 24.0, -6.0
"""Between these signal-to-noise ratios, in decibels, that of a copy is drawn."""

N_RESAMPLES = 2000

_Condition: TypeAlias = tuple[str, str, float | None]


def halves(noises: Mapping[str, Signals]) -> tuple[dict[str, Signals], dict[str, Signals]]:
    """Part each recording of noise in time: for training, and for the trial."""
    middle = {kind: noise.shape[1] // 2 for kind, noise in noises.items()}
    first = {kind: noise[:, : middle[kind]] for kind, noise in noises.items()}
    return first, {kind: noise[:, middle[kind] :] for kind, noise in noises.items()}


def with_noisy_copies(
    dataset: EcgDataset, split: Split, noises: Mapping[str, Signals], seed: int
) -> tuple[EcgDataset, Split]:
    """Put `N_COPIES` noisy copies of each training record behind the records of a dataset.

    The kind of noise of each copy and its ratio are drawn at random.
    """
    rng = np.random.default_rng([seed, split.test_fold, 77])
    clean = dataset.signals[split.train].astype(np.float32)
    kinds, copies = sorted(noises), []
    for _ in range(N_COPIES):
        kind = rng.integers(len(kinds), size=len(clean))
        factor = 10 ** (-rng.uniform(STRONGEST, WEAKEST, size=len(clean)) / 20)
        noisy = np.empty_like(clean)
        for number, name in enumerate(kinds):
            rows = np.flatnonzero(kind == number)
            base = clean[rows]
            added = segments(noises[name], len(rows), len(INDEPENDENT), clean.shape[-1], rng)
            at_zero = with_noise(base, added, 0.0) - base
            noisy[rows] = base + at_zero * factor[rows, None, None].astype(np.float32)
        copies.append(noisy.round().clip(-32768, 32767).astype(np.int16))
    n_records = len(dataset)
    index = np.concatenate([np.arange(n_records), np.tile(split.train, N_COPIES)])
    names = ("record_id", "patient_id", "fold", "age", "sex")
    larger = replace(
        dataset,
        signals=np.concatenate([dataset.signals, *copies]),
        labels={policy: labels[index] for policy, labels in dataset.labels.items()},
        **{name: getattr(dataset, name)[index] for name in names},
    )
    train = np.concatenate([split.train, np.arange(n_records, len(index))])
    return larger, replace(split, train=train)


def _networks(run: Run, dataset: EcgDataset) -> Iterator[tuple[Split, int, str]]:
    """Yield the split and the seed of each network of a run, and the name of its checkpoint."""
    settings = run.metrics["settings"]
    divisions = splits(dataset, settings["protocol"], settings["label_policy"])
    (seeds,) = run.seeds.values()
    each = ((split, seed) for seed in seeds for split in divisions)
    for (split, seed), path in zip(each, run.checkpoints, strict=True):
        yield split, seed, path.stem


def teach(
    run: Run, dataset: EcgDataset, noises: Mapping[str, Signals], out: Path, device: torch.device
) -> None:
    """Train the networks of a run of the recipe ``any-lead`` once more, with noise.

    Each takes as many steps as it took. Those that lie in ``out`` are not trained; what lies there
    under the name of one and was trained otherwise is refused.
    """
    recipe = RECIPES["any-lead"]
    epochs = run.metrics["settings"]["epochs"] or recipe.epochs
    recipe = replace(recipe, epochs=max(1, epochs // (1 + N_COPIES)))
    configuration, (first, _) = resolve(run.config), halves(noises)
    of_all = {
        "networks": start_sha256(run.identity),
        "noise": {kind: hashlib.sha256(x.tobytes()).hexdigest() for kind, x in first.items()},
        "copies": [N_COPIES, WEAKEST, STRONGEST],
        "code": code_sha256(),
    }
    for split, seed, stem in _networks(run, dataset):
        identity = of_all | {"seed": seed, "test_fold": split.test_fold}
        if (path := out / f"{stem}.json").is_file():
            found = load_checkpoint(path).metadata["provenance"].get("identity", {})
            differ = [name for name, value in identity.items() if found.get(name) != value]
            if differ:
                raise LeadminError(
                    f"{path}: provenance.identity differs in {', '.join(differ)}; valid: networks "
                    "that were trained with noise as they would be now; name another folder"
                )
            continue
        larger, own = with_noisy_copies(dataset, split, first, seed)
        job = FitJob(configuration, recipe, own.train, own.validation, seed, own.test_fold)
        fitted = fit(larger, job, computing=Computing(device, "float32"))
        save_checkpoint(out / stem, fitted, recipe, configuration.name, {"identity": identity})


def compare(
    run: Run,
    taught: Path,
    dataset: EcgDataset,
    noises: Mapping[str, Signals],
    n_records: int,
) -> list[dict[str, Any]]:
    """Score the networks of a run and those in ``taught`` on noisy records of their test folds.

    ``n_records`` of each fold are drawn as in `trials.try_own`; of ``noises`` the second halves are
    added. Gives a row for each set of `trials.main_sets` without noise (``noise`` is empty) and
    with each noise at each ratio: ``config, noise, decibels``, the macro AUROC ``plain`` and
    ``taught`` as means over seeds, and their ``difference`` with what `with_seeds` gives.
    """
    _, second = halves(noises)
    logits: dict[_Condition, NDArray[np.float64]] = {}
    rows: list[NDArray[np.intp]] = []
    stems: dict[int, tuple[Split, list[str]]] = {}
    for split, _, stem in _networks(run, dataset):
        stems.setdefault(split.test_fold, (split, []))[1].append(stem)
    for split, named in stems.values():
        chosen, rng = drawn(split, n_records)
        rows.append(chosen)
        folders = (run.folder / "checkpoints", taught)
        both = [[load_checkpoint(folder / stem) for stem in named] for folder in folders]
        signals = dataset.signals[chosen].astype(np.float32)
        for key, leads, x in _conditions(signals, second, rng):
            said = np.array([[logits_of(one, x, leads) for one in side] for side in both])
            before = logits.get(key)
            logits[key] = said if before is None else np.concatenate([before, said], axis=2)
        print(f"fold {split.test_fold}: {len(chosen)} records", flush=True)
    index = np.concatenate(rows)
    policy = run.metrics["settings"]["label_policy"]
    labels, patients = dataset.labels[policy][index], dataset.patient_id[index]
    weights = resampled(patients, N_RESAMPLES)
    found = []
    for (config, noise, decibels), said in logits.items():
        each = [[aurocs(labels, x, weights).mean(axis=0) for x in side] for side in said]
        columns = np.array(each)
        plain, other = (of_columns(side.mean(axis=0), N_RESAMPLES) for side in columns)
        row: dict[str, Any] = {"config": config, "noise": noise, "decibels": decibels}
        row |= {"plain": plain.value, "taught": other.value} | _difference(columns)
        row |= {"n_records": len(labels), "n_patients": len(np.unique(patients))}
        found.append(row | {"n_seeds": len(named)})
    return found


def _conditions(
    signals: Signals, noises: Mapping[str, Signals], rng: np.random.Generator
) -> Iterator[tuple[_Condition, Sequence[str], Signals]]:
    """Yield the key of each condition, the leads that are shown, and the records under it."""
    for name in main_sets():
        yield (name, "", None), resolve(name).leads, signals
    for _, said, leads, noisy in noise_conditions(noises)(signals, rng):
        yield (said["set"], said["noise"], said["decibels"]), leads, noisy


def _difference(columns: NDArray[np.float64]) -> dict[str, float]:
    """Give taught less plain, of (2, n_seeds, n_columns), with its intervals as far as known."""
    plain, taught = columns
    apart: Estimate = of_columns(taught.mean(axis=0) - plain.mean(axis=0), N_RESAMPLES)
    low, high = apart.interval()
    n = len(plain)
    row = {"difference": apart.value, "difference_low": low, "difference_high": high}
    if n > 1:
        seeds = [(float(side[:, 0].var(ddof=1)) / n, n - 1) for side in columns]
        row |= with_seeds("difference", apart, seeds)
    return row
