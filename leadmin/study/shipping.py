"""The networks that ship with the package: trained on every record, judged by cross-validation.

A network that has seen every record cannot be measured on any of them. What is known of it, and the
operating points that it is used with, come from networks of the same recipe that were trained on
nine parts in ten or less, each on records that it had not seen.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.labels import CLASSES
from leadmin.leads import resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.device import Computing
from leadmin.net.fit import FitJob, Start, fit
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import Recipe, recipe_identity, window_samples
from leadmin.study.identity import code_sha256
from leadmin.study.protocol import splits
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import Run

WATCHED = 256
"""Training records that are looked at after each epoch, to see that a fit goes well."""


def train_on_everything(
    dataset: EcgDataset,
    config: str,
    recipe: Recipe,
    stem: Path,
    start: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> EcgClassifier:
    """Train a network on every labelled record and leave its checkpoint.

    No record is left to validate on, so the recipe has to have a fixed length, as those have that
    this study settled on. Killed and called again, it goes on behind the last complete epoch; a
    checkpoint of the same data, recipe and code is only read.

    Parameters
    ----------
    dataset : EcgDataset
        The prepared records; those without a label for the recipe are left out.
    config : str
        A lead configuration, or a list of leads with commas.
    recipe : Recipe
        With ``patience`` 0.
    stem : Path
        The checkpoint, without suffix; the state of the fit stands beside it until it ends.
    start : Path, optional
        The checkpoint to start from, trained on every record too, if the recipe starts from one.
    on_epoch : callable, optional
        Called with each new entry of the history; its validation is on trained records.

    Raises
    ------
    LeadminError
        If the recipe stops by validation records, or for what `fit` and `load_checkpoint` raise.
    """
    if recipe.patience:
        raise LeadminError(
            f"recipe {recipe.name}: it stops by validation records (patience {recipe.patience}), "
            "and of all records none is left; valid: a recipe of fixed length; choose one"
        )
    configuration, device = resolve(config), torch.device("cpu")
    begun = None
    if start is not None:
        found = load_checkpoint(start, device)
        begun = Start(found.model, found.scaling, found.leads, found.metadata["weights_sha256"])
    identity: dict[str, Any] = {
        "leads": list(configuration.leads),
        "recipe": recipe_identity(recipe),
        "data_sha256": dataset.attributes["content_sha256"],
        "start": begun.checksum if begun else None,
        "code": code_sha256(),
    }
    try:
        if (done := load_checkpoint(stem)).metadata["provenance"].get("identity") == identity:
            return done
    except LeadminError:
        pass  # not trained yet
    train = np.flatnonzero(dataset.labels[recipe.train_labels].any(axis=1))
    provenance = describe_environment(device, torch.get_num_threads())
    provenance |= {"data": describe_data(dataset), "seed": 0, "identity": identity}
    provenance["trained_on"] = {
        "n_records": len(train),
        "n_patients": len(np.unique(dataset.patient_id[train])),
        "n_positive": dict(
            zip(CLASSES, dataset.labels[recipe.train_labels][train].sum(0).tolist(), strict=True)
        ),
    }
    state = stem.with_name(f"{stem.name}.state.safetensors")
    # `fit` wants records to watch. Without patience nothing follows from them.
    job = FitJob(configuration, recipe, train, train[:WATCHED])
    trained = fit(
        dataset,
        job,
        computing=Computing(device),
        state_path=state,
        on_epoch=on_epoch,
        start=begun,
    )
    classifier = EcgClassifier(
        trained.model,
        trained.scaling,
        configuration.leads,
        dataset.sampling_rate,
        CLASSES,
        window_samples(recipe, dataset.sampling_rate, dataset.signals.shape[-1]),
        recipe.test_windows,
        metadata={},
    )
    save_checkpoint(stem, classifier, recipe, configuration.name, provenance)
    state.unlink(missing_ok=True)
    return load_checkpoint(stem)


def tested_logits(
    run: Run, dataset: EcgDataset, sets: Mapping[str, Sequence[str]], folder: Path, workers: int = 1
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Let each network of a cross-validation answer the records that it was not trained on.

    Parameters
    ----------
    run : Run
        Cross-validated, of the any-lead recipe, with its checkpoints; the first seed is taken.
    dataset : EcgDataset
        The records that it stands on.
    sets : mapping of str to sequence of str
        Names of lead sets, and the leads that the network is shown.
    folder : Path
        Where the answers of each network are kept, so that a killed call goes on.
    workers : int
        Networks scored side by side, each by one thread.

    Returns
    -------
    records : ndarray of int, shape (n_records,)
        Positions in ``dataset`` of the tested records, fold after fold.
    logits : ndarray of float32, shape (n_sets, n_records, n_classes)
        Each record's from the one network that neither trained nor validated on it.
    """
    settings, names = run.metrics["settings"], list(sets)
    divisions = splits(dataset, settings["protocol"], settings["label_policy"])
    tested = np.concatenate([split.test for split in divisions])
    if settings["protocol"] != "crossval" or not run.reads_any_lead or not run.checkpoints:
        raise LeadminError(
            f"{run.folder}: no cross-validated run of the any-lead recipe with its checkpoints; "
            "train one"
        )
    if not np.array_equal(dataset.record_id[tested], run.test.record_id):
        raise LeadminError(f"{dataset.path}: other records than {run.folder} stands on")
    stems = [f"{run.recipes[0]}-seed0-fold{split.test_fold}" for split in divisions]
    pieces = joblib.Parallel(n_jobs=workers)(
        joblib.delayed(_answers)(
            run.folder / "checkpoints" / stem,
            dataset.signals[split.test],
            sets,
            folder / f"{stem}.safetensors",
            json.dumps([run.metrics["files"][f"checkpoints/{stem}.safetensors"], names]),
        )
        for stem, split in zip(stems, divisions, strict=True)
    )
    return tested, np.concatenate(pieces, axis=1)


def _answers(
    checkpoint: Path,
    signals: NDArray[np.int16],
    sets: Mapping[str, Sequence[str]],
    kept: Path,
    mark: str,
) -> NDArray[np.float32]:
    """Give logits, (n_sets, n_records, n_classes), of one network; ``mark`` says what was asked."""
    if kept.is_file():
        with safe_open(kept, "numpy") as file:
            if (file.metadata() or {}).get("mark") == mark:
                found: NDArray[np.float32] = file.get_tensor("logits")
                return found
    torch.set_num_threads(1)
    network, microvolts = load_checkpoint(checkpoint), torch.from_numpy(signals)
    how = (network.model, network.scaling, microvolts, network.window, network.n_windows)
    logits = np.stack([predict_logits(*how, shown=leads).numpy() for leads in sets.values()])
    with atomic_path(kept) as temporary:
        save_file({"logits": logits}, temporary, {"mark": mark})
    return logits
