"""Train one network: prepare, one epoch after the other, evaluate each, keep the best, resume.

The whole data set is one integer tensor on the device. A batch is an index into it; scaling,
cropping, noise and mixup happen there too, so no data loader stands between the records and
the arithmetic. All randomness of an epoch follows from ``(seed, fold, epoch)``: a fit that is
resumed after any complete epoch draws the same numbers as one that was never stopped.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.leads import LEADS, Configuration, derive, lead_indices, span
from leadmin.metrics import auroc
from leadmin.net.batches import TrainingBatches, epoch_generator
from leadmin.net.classifier import EcgClassifier
from leadmin.net.device import Computing
from leadmin.net.model import ResNet1d, shown_factor
from leadmin.net.own import Network, find_network, own_network
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import Recipe, recipe_identity, window_samples
from leadmin.net.scaling import Scaling, fit_scaling
from leadmin.net.state import FitState, StateFile


@dataclass(frozen=True, eq=False)
class FitJob:
    """What is fitted to which records."""

    configuration: Configuration
    recipe: Recipe
    train: NDArray[np.intp]  # indices; those without a label for the recipe are left out
    validation: NDArray[np.intp]
    seed: int = 0  # decides initial weights, order, crops, noise and dropout
    fold: int = 0  # of the test, so that the ten fits of a cross-validation differ
    code: str = ""  # its checksum: what other code has begun is not gone on from

    def signals(self, dataset: EcgDataset, records: NDArray[np.intp]) -> NDArray[np.int16]:
        """Take the leads of some records: ``(n_records, n_leads, n_samples)``, microvolts."""
        leads = np.array(lead_indices(self.configuration.leads))
        return dataset.signals[np.ix_(records, leads)]


@dataclass(frozen=True, kw_only=True)
class Fit(EcgClassifier):
    """A trained network, in evaluation mode on the training device, and how it came about.

    Each entry of ``history`` holds ``epoch``, ``learning_rate``, ``train_loss``,
    ``validation_loss``, ``validation_auroc`` (macro, and one per class with its name behind),
    ``validation_brier`` and ``seconds``.
    """

    history: list[dict[str, float]]
    best_epoch: int  # whose weights the model holds, counted from 1


def of_leads(network: EcgClassifier, leads: Sequence[str]) -> tuple[dict[str, Tensor], Scaling]:
    """Give weights and scaling for a network that sees only ``leads`` and says the same.

    ``network`` reads any leads, or is refused. It is shown all that follow from ``leads``; the
    identities between limb leads, the magnified input and what it is told go into the weights of
    the stem.
    """
    model = network.model
    if (
        network.leads != LEADS
        or not isinstance(model, ResNet1d)
        or not model.architecture.any_leads
    ):
        raise LeadminError(
            f"network to start from: it reads {', '.join(network.leads)} and was not trained to "
            "do without some of them; train the recipe any-lead first"
        )
    weights, follow = model.state_dict(), list(lead_indices(span(leads)))
    kernel = weights["stem.conv.weight"]
    shown, mixing = kernel.new_zeros(len(LEADS)), kernel.new_zeros(len(LEADS), len(leads))
    shown[follow] = 1
    mixing[follow] = torch.from_numpy(derive(np.eye(len(leads)), leads, span(leads))).to(mixing)
    mixing *= shown_factor(shown)
    with torch.no_grad():
        gain, offset = model.stem.told_affine(shown)
    weights["stem.conv.weight"] = torch.einsum("olk,lm->omk", kernel, mixing)
    weights["stem.norm.weight"] = weights["stem.norm.weight"] * gain
    weights["stem.norm.bias"] = weights["stem.norm.bias"] * gain + offset
    for name in ("weight", "bias"):
        del weights[f"stem.told.{name}"]
    return weights, network.scaling.select(lead_indices(leads))


def check_classes(
    dataset: EcgDataset, train: NDArray[np.intp], label_policy: str, fold: int
) -> None:
    """Refuse training records (indices) among which a class never occurs under the policy."""
    counts = dataset.labels[label_policy][train].sum(0)
    absent = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if absent:
        raise LeadminError(
            f"{dataset.path}: no training record has the class {', '.join(absent)} "
            f"(test fold {fold}, label policy {label_policy}); use more records or fewer classes"
        )


def fit(
    dataset: EcgDataset,
    job: FitJob,
    *,
    computing: Computing | None = None,
    state_path: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    start: EcgClassifier | None = None,
) -> Fit:
    """Train one network.

    Parameters
    ----------
    dataset : EcgDataset
        The prepared records.
    job : FitJob
        What to fit.
    computing : Computing, optional
        Where and how; on the CPU by default.
    state_path : Path, optional
        Where to keep the state after every epoch. A state of the same fit found there is
        continued. It stays when the fit ends: whoever keeps the result removes it then.
    on_epoch : callable, optional
        Called with each new entry of the history.
    start : EcgClassifier, optional
        The network to start from, as it was loaded; needed if the recipe names one, and not used
        otherwise. The fit keeps its scaling, since weights fit to voltages.

    Returns
    -------
    Fit
        The network with its averaged, best or last weights, as the recipe says.

    Raises
    ------
    LeadminError
        If there is nothing to train or validate on, a class never occurs in the training
        records, the network to start from is missing, or the loss stops being a finite number.
    """
    computing = computing or Computing()
    start = start if job.recipe.start else None
    train, validation = (_labelled(dataset, job, part) for part in (job.train, job.validation))
    if len(train) == 0 or len(validation) == 0:
        raise LeadminError(
            f"{dataset.path}: {len(train)} training and {len(validation)} validation records; "
            "both need at least one; check the folds of the data"
        )
    check_classes(dataset, train, job.recipe.train_labels, job.fold)
    window = window_samples(job.recipe, dataset.sampling_rate, dataset.signals.shape[-1])
    model, scaling = _prepare_network(dataset, job, train, window, computing, start)
    rng = epoch_generator(job.seed, job.fold, 0)  # epochs count from 1
    records = _on_device(dataset, job, train, computing.device)
    batches = TrainingBatches(*records, scaling, job.recipe, window, rng)
    evaluate = _evaluation(dataset, job, validation, scaling, window, computing.device)
    state = FitState(model, job.recipe)
    file = StateFile(state_path, _identity(dataset, job, train, computing, start))
    file.restore(state)
    for entry in state.history:
        if on_epoch:
            on_epoch(entry)
    while not state.finished:
        started = time.perf_counter()
        entry = _train_epoch(job, batches, state, computing) | evaluate(state.judged)
        state.add(entry | {"seconds": time.perf_counter() - started})
        file.save(state)
        if on_epoch:
            on_epoch(state.history[-1])
    return Fit(
        *(state.best.eval(), scaling, job.configuration.leads, dataset.sampling_rate),
        *(dataset.classes, window, job.recipe.test_windows),
        metadata={},
        history=state.history,
        best_epoch=state.best_epoch,
    )


def _labelled(dataset: EcgDataset, job: FitJob, records: NDArray[np.intp]) -> NDArray[np.intp]:
    """Keep records that have a label for the recipe."""
    return records[dataset.labels[job.recipe.train_labels][records].any(axis=1)]


def _on_device(
    dataset: EcgDataset, job: FitJob, records: NDArray[np.intp], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Take signals and labels of records to the device."""
    signals = torch.from_numpy(job.signals(dataset, records)).to(device)
    labels = torch.from_numpy(dataset.labels[job.recipe.train_labels][records])
    return signals, labels.to(device, torch.float32)


def _prepare_network(
    dataset: EcgDataset,
    job: FitJob,
    train: NDArray[np.intp],
    window: int,
    computing: Computing,
    start: EcgClassifier | None,
) -> tuple[Network, Scaling]:
    """Give the network as training begins with it, and the scaling of its input."""
    recipe, leads, n_classes = job.recipe, job.configuration.leads, len(dataset.classes)
    if recipe.architecture.any_leads and leads != LEADS:
        raise LeadminError(
            f"configuration {job.configuration.name}: the recipe {recipe.name} trains a network "
            "for any leads; valid: 12-lead; choose it, or another recipe"
        )
    if recipe.start and start is None:
        raise LeadminError(
            f"recipe {recipe.name}: it starts from a network of the recipe {recipe.start}; train "
            "that first"
        )
    model: Network
    with computing.seeded(job.seed * 1000 + job.fold):
        if recipe.network:
            model = own_network(len(leads), n_classes, find_network(recipe.network), window)
        else:
            model = ResNet1d(len(leads), n_classes, recipe.architecture)
        model = model.to(computing.device)
    if start is None:
        return model, fit_scaling(recipe.scaling, job.signals(dataset, train))
    weights, scaling = of_leads(start, leads)
    model.load_state_dict(weights)
    return model, scaling


def _identity(
    dataset: EcgDataset,
    job: FitJob,
    train: NDArray[np.intp],
    computing: Computing,
    start: EcgClassifier | None,
) -> dict[str, Any]:
    """Everything that the numbers of a fit depend on: a saved state of it is gone on from."""
    return {
        "recipe": recipe_identity(job.recipe),
        "leads": job.configuration.leads,
        "seed": job.seed,
        "fold": job.fold,
        "code": job.code,
        "data": dataset.attributes["content_sha256"],
        "train": dataset.record_id[train].tolist(),
        "validation": dataset.record_id[job.validation].tolist(),
        "device": computing.device.type,
        "mixed": computing.mixed,
        "start": start.metadata["weights_sha256"] if start else None,
    }


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one step: a pure function, so that a resumed fit needs no scheduler state.

    ``cosine`` falls once per epoch from the full rate to zero; ``one_cycle`` climbs over the
    first 30 % of the steps from 1/25 of the peak and falls to 1/250,000 of it [Smith2018]_.

    .. [Smith2018] L. N. Smith, A disciplined approach to neural network hyper-parameters,
       arXiv:1803.09820.
    """
    peak, n_steps = recipe.learning_rate, steps_per_epoch * recipe.epochs
    if recipe.schedule == "cosine":
        epoch = step // steps_per_epoch
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    top = max(0.3 * n_steps - 1, 1.0)
    if step <= top:
        low, high, share = peak / 25, peak, step / top
    else:
        low, high, share = peak, peak / 250_000, (step - top) / max(n_steps - 1 - top, 1.0)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))


def _train_epoch(
    job: FitJob,
    batches: TrainingBatches,
    state: FitState,
    computing: Computing,
) -> dict[str, float]:
    """Take all steps of the next epoch."""
    recipe, epoch = job.recipe, len(state.history) + 1
    rng = epoch_generator(job.seed, job.fold, epoch)
    state.model.train()
    state.average.eval()  # it teaches
    losses = torch.zeros((), device=computing.device)
    with computing.seeded(int(rng.integers(2**62))):
        for number, (x, y, shown) in enumerate(batches.epoch(rng)):
            step = (epoch - 1) * len(batches) + number
            rate = learning_rate(recipe, step, len(batches))
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            if recipe.teaching:
                share = recipe.teaching * min(1.0, 5 * step / (len(batches) * recipe.epochs))
                with torch.no_grad(), computing.autocast():
                    y = torch.lerp(y, state.average(x).float().sigmoid(), share)
            with computing.autocast():
                logits = state.model(x, shown)
            loss = functional.binary_cross_entropy_with_logits(logits.float(), y)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            state.optimizer.step()
            losses += loss.detach() * len(x)
            if recipe.averaging:
                state.follow(step)
    train_loss = float(losses) / len(batches.targets)
    if not math.isfinite(train_loss):
        raise LeadminError(
            f"{job.configuration.name}, recipe {recipe.name}, seed {job.seed}, test fold "
            f"{job.fold}: the training loss became {train_loss} in epoch {epoch} at learning rate "
            f"{rate:.2g}; lower the learning rate or check the signals"
        )
    return {"epoch": epoch, "learning_rate": rate, "train_loss": train_loss}


def _evaluation(
    dataset: EcgDataset,
    job: FitJob,
    records: NDArray[np.intp],
    scaling: Scaling,
    window: int,
    device: torch.device,
) -> Callable[[Network], dict[str, float]]:
    """Take validation records to the device; what is returned measures a network on them."""
    signals, targets = _on_device(dataset, job, records, device)
    labels = dataset.labels[job.recipe.train_labels][records]
    # While training, windows that cover the record once are enough to watch.
    n_windows = min(job.recipe.test_windows, math.ceil(signals.shape[-1] / window))

    def evaluate(model: Network) -> dict[str, float]:
        logits = predict_logits(model, scaling, signals, window, n_windows)
        per_class = auroc(labels, logits.double().cpu().numpy())
        by_name = zip(dataset.classes, per_class, strict=True)
        return {
            "validation_loss": float(functional.binary_cross_entropy_with_logits(logits, targets)),
            "validation_auroc": float(np.nanmean(per_class)),
            **{f"validation_auroc_{name}": float(x) for name, x in by_name},
            "validation_brier": float(functional.mse_loss(logits.sigmoid(), targets)),
        }

    return evaluate
