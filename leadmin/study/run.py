"""A study, its runs, and what a run leaves on disk.

One run trains one lead configuration under one or two recipes and writes a folder::

    metrics.json         point metrics, provenance; written last: a folder without it is unfinished
    predictions.npz      record ids, folds, labels and logits of validation and test records
    history.csv          one row per recipe, seed, fold and epoch
    checkpoints/         weights and description of every trained network
    state/               the state of an unfinished fit; gone when the run is finished
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json
from leadmin.leads import Configuration, configurations
from leadmin.metrics import probabilities, summary, thresholds
from leadmin.study.protocol import Split, networks

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Predictions:
    """What the networks of one run say about one split.

    Parameters
    ----------
    record_id, patient_id, fold : ndarray of int, shape (n_records,)
        Which records these are.
    labels : ndarray of uint8, shape (n_records, 5)
        Labels under the study's policy.
    logits : dict of str to ndarray of float32, shape (n_seeds, n_records, 5)
        Per recipe.
    """

    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    labels: NDArray[np.uint8]
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Run:
    """A finished run as it was read from its folder.

    Parameters
    ----------
    config : str
        Name of the lead configuration.
    leads : tuple of str
        Its leads.
    recipes : tuple of str
        Trained recipes; the first is the primary one.
    seeds : dict of str to tuple of int
        Seeds per recipe.
    validation, test : Predictions
        Predictions of the two splits that were not trained on.
    metrics : dict
        The whole ``metrics.json``.
    history : DataFrame
        The whole ``history.csv``.
    folder : Path
        Where it was read.
    kept : bool
        Whether it was found finished when it was asked for, so that nothing was trained.
    """

    config: str
    leads: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    validation: Predictions
    test: Predictions
    metrics: dict[str, Any]
    history: pd.DataFrame
    folder: Path
    kept: bool = False

    @property
    def identity(self) -> dict[str, Any] | None:
        """What it follows from, see `leadmin.study.identity`; runs of earlier versions lack it."""
        return self.metrics.get("identity")

    @property
    def reads_any_lead(self) -> bool:
        """Whether its network reads any lead set, so that it is no configuration on trial."""
        described = self.metrics.get("recipes", {}).get(self.recipes[0], {})
        return bool(described.get("lead_masking"))


@dataclass(frozen=True)
class Trained:
    """What was trained and how, before it is a run on disk.

    Parameters
    ----------
    configuration : Configuration
        The leads that were seen.
    dataset : EcgDataset
        The records.
    divisions : list of Split
        In the order in which the predictions of their records follow each other.
    settings : dict
        How it was called, without folders of this machine; holds ``label_policy``, the labels of
        the evaluation.
    identity : dict
        See `leadmin.study.identity`.
    recipes : dict of str to dict
        Name to description of what was trained.
    logits : dict of str to dict of str to ndarray, shape (n_seeds, n_records, n_classes)
        By ``validation`` and ``test``, then by recipe.
    seconds, compile_seconds : float
        What it took, and how much of that went into compiling.
    provenance : dict
        See `leadmin.study.provenance`.
    history : list of dict
        Rows of ``history.csv``.
    n_parameters : int, optional
        Trainable numbers of one network.
    """

    configuration: Configuration
    dataset: EcgDataset
    divisions: list[Split]
    settings: dict[str, Any]
    identity: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    logits: dict[str, dict[str, NDArray[np.float32]]]
    seconds: float
    provenance: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    n_parameters: int | None = None
    compile_seconds: float = 0.0


def write_run(folder: Path, trained: Trained) -> Run:
    """Write the run folder of something that was trained; ``metrics.json`` comes last.

    Returns
    -------
    Run
        As read back from the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions = joined_predictions(
        trained.dataset, trained.divisions, trained.settings["label_policy"], trained.logits
    )
    _write_predictions(folder / "predictions.npz", predictions)
    rows = pd.DataFrame(trained.history, columns=None if trained.history else ["recipe"])
    with atomic_path(folder / "history.csv") as temporary:
        rows.to_csv(temporary, index=False)
    n_seeds = {name: len(layers) for name, layers in trained.logits["test"].items()}
    metrics = {
        "schema_version": SCHEMA_VERSION,
        "config": trained.configuration.name,
        "leads": list(trained.configuration.leads),
        "settings": trained.settings,
        "identity": trained.identity,
        "recipes": trained.recipes,
        "seeds": {name: list(range(number)) for name, number in n_seeds.items()},
        "n_parameters": trained.n_parameters,
        "n_records": {name: len(p.record_id) for name, p in predictions.items()},
        "n_patients": {name: len(np.unique(p.patient_id)) for name, p in predictions.items()},
        "test": point_metrics(predictions["validation"], predictions["test"]),
        "seconds": trained.seconds,
        "compile_seconds": trained.compile_seconds,
        "provenance": trained.provenance,
        "files": {name: sha256(folder / name) for name in ("predictions.npz", "history.csv")},
    }
    write_json(folder / "metrics.json", metrics)
    return load_run(folder)


def point_metrics(validation: Predictions, test: Predictions) -> dict[str, list[dict[str, Any]]]:
    """Compute the metrics of each recipe and seed on the test records.

    Thresholds are those of `fold_thresholds`.
    """
    result: dict[str, list[dict[str, Any]]] = {}
    for recipe, logits in test.logits.items():
        result[recipe] = []
        for seed in range(len(logits)):
            chosen = fold_thresholds(validation, test, recipe, seed)
            probability = probabilities(logits[seed])
            result[recipe].append(summary(test.labels, probability, chosen))
    return result


def fold_thresholds(
    validation: Predictions, test: Predictions, recipe: str, seed: int
) -> NDArray[np.float64]:
    """Give each test record the thresholds that its own network's validation records choose.

    Returns
    -------
    ndarray, shape (n_test_records, n_classes)
        Best F1 on the validation records of the network that tested the record; see
        `leadmin.study.protocol.networks`.
    """
    chosen = np.empty(test.labels.shape)
    p = probabilities(validation.logits[recipe][seed])
    for own, tested in networks(validation.fold, test.fold):
        chosen[tested] = thresholds(validation.labels[own], p[own])
    return chosen


def joined_predictions(
    dataset: EcgDataset,
    divisions: list[Split],
    label_policy: str,
    logits: dict[str, dict[str, NDArray[np.float32]]],
) -> dict[str, Predictions]:
    """Join the logits of ``validation`` and ``test`` with the records that they belong to."""
    joined = {}
    for name, by_recipe in logits.items():
        index = np.concatenate([getattr(split, name) for split in divisions])
        joined[name] = Predictions(
            dataset.record_id[index],
            dataset.patient_id[index],
            dataset.fold[index],
            dataset.labels[label_policy][index],
            by_recipe,
        )
    return joined


def _write_predictions(path: Path, predictions: dict[str, Predictions]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for split, p in predictions.items():
        for name in ("record_id", "patient_id", "fold", "labels"):
            arrays[f"{split}/{name}"] = getattr(p, name)
        for recipe, logits in p.logits.items():
            arrays[f"{split}/logits/{recipe}"] = logits
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def finished_run(folder: Path) -> Run | None:
    """Read a run folder, or give nothing if no finished run can be read there."""
    try:
        return load_run(folder)
    except LeadminError:
        return None


def load_run(folder: Path) -> Run:
    """Read a finished run.

    Raises
    ------
    LeadminError
        If the run is unfinished, damaged, or of another schema version.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise LeadminError(f"{folder}: no metrics.json, so this run is not finished; run it again")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if metrics["schema_version"] != SCHEMA_VERSION:
            raise LeadminError(
                f"{path}: schema_version is {metrics['schema_version']}, this software reads "
                f"{SCHEMA_VERSION}; run the configuration again"
            )
        for name, expected in metrics["files"].items():
            if not (folder / name).is_file() or sha256(folder / name) != expected:
                raise LeadminError(
                    f"{folder / name}: missing or not the file that metrics.json was written "
                    "for; run the configuration again"
                )
        recipes = tuple(metrics["recipes"])
        with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
            validation, test = (
                Predictions(
                    record_id=arrays[f"{split}/record_id"],
                    patient_id=arrays[f"{split}/patient_id"],
                    fold=arrays[f"{split}/fold"],
                    labels=arrays[f"{split}/labels"],
                    logits={name: arrays[f"{split}/logits/{name}"] for name in recipes},
                )
                for split in ("validation", "test")
            )
        return Run(
            metrics["config"],
            tuple(metrics["leads"]),
            recipes,
            {name: tuple(seeds) for name, seeds in metrics["seeds"].items()},
            validation,
            test,
            metrics,
            pd.read_csv(folder / "history.csv"),
            folder,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LeadminError(f"{path}: not a run's metrics ({error!r}); run it again") from error


def load_runs(folder: Path, configs: Iterable[str] = ()) -> dict[str, Run]:
    """Read finished runs below ``folder``, in the order of the registry.

    Parameters
    ----------
    folder : Path
        Holds one folder per configuration.
    configs : iterable of str, optional
        Which of them; by default all that are finished, but for a network of any lead set, from
        which the others start.

    Returns
    -------
    dict of str to Run
        Keyed by configuration.

    Raises
    ------
    LeadminError
        If there is none, one that was asked for is unfinished, or the runs do not stand on
        the same records, labels and primary recipe, so that a paired comparison would be false.

    Notes
    -----
    A second recipe may be missing from some of the runs: see ``Study.compare_configurations``.
    """
    runs = [load_run(folder / name) for name in configs]
    if not runs:
        found = [load_run(path.parent) for path in sorted(folder.glob("*/metrics.json"))]
        runs = [run for run in found if not run.reads_any_lead]
    if not runs:
        raise LeadminError(f"{folder}: no finished run; train at least one configuration first")
    order = list(configurations())
    runs.sort(key=lambda run: order.index(run.config) if run.config in order else len(order))
    require_same_records(runs)
    for run in runs[1:]:
        if run.recipes[0] != runs[0].recipes[0]:
            raise LeadminError(
                f"{run.folder}: its first recipe is {run.recipes[0]}; valid: "
                f"{runs[0].recipes[0]}, as in {runs[0].folder}; run one of them again"
            )
    return {run.config: run for run in runs}


def require_same_records(runs: Iterable[Run]) -> None:
    """Refuse runs that were not validated and tested on the same records with the same labels.

    Raises
    ------
    LeadminError
        Naming the first that differs: a paired comparison with it would be false.
    """
    first, *others = runs
    for run in others:
        for part, name in itertools.product(
            ("validation", "test"), ("record_id", "patient_id", "fold", "labels")
        ):
            ours, theirs = (getattr(getattr(one, part), name) for one in (first, run))
            if not np.array_equal(ours, theirs):
                raise LeadminError(
                    f"{run.folder}: {part} stands on other records or labels than in "
                    f"{first.folder} ({name}); valid: the same ones, so that the comparison is "
                    "paired; run one of them again"
                )
