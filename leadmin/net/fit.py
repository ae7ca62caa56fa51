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
from leadmin.leads import LEADS, Configuration, coefficients, lead_indices, span
from leadmin.metrics import auroc
from leadmin.net.batches import TrainingBatches, epoch_generator
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

    def signals(self, dataset: EcgDataset, records: NDArray[np.intp]) -> NDArray[np.int16]:
        """Take the leads of some records: ``(n_records, n_leads, n_samples)``, microvolts."""
        leads = np.array(lead_indices(self.configuration.leads))
        return dataset.signals[np.ix_(records, leads)]


@dataclass(frozen=True)
class Start:
    """A trained network whose weights another fit starts from.

    The new fit keeps its scaling, since weights fit to voltages.
    """

    model: Network
    scaling: Scaling
    leads: tuple[str, ...]
    checksum: str  # SHA-256 of its weights

    def of_leads(self, leads: Sequence[str]) -> tuple[dict[str, Tensor], Scaling]:
        """Give weights and scaling for a network that sees only ``leads`` and says the same.

        It is shown all that follow from ``leads``; the identities between limb leads, the magnified
        input and what it is told go into the weights of the stem.

        Raises
        ------
        LeadminError
            If the network was not trained for any leads.
        """
        if (
            self.leads != LEADS
            or not isinstance(self.model, ResNet1d)
            or not self.model.architecture.any_leads
        ):
            raise LeadminError(
                f"network to start from: it reads {', '.join(self.leads)} and was not trained to "
                "do without some of them; train the recipe any-lead first"
            )
        weights, positions = self.model.state_dict(), lead_indices(leads)
        scaling = self.scaling.select(positions)
        shown = weights["stem.conv.weight"].new_zeros(len(LEADS))
        mixing = shown.new_zeros(len(LEADS), len(leads))
        for lead in span(leads):
            shown[LEADS.index(lead)] = 1
            for source, weight in coefficients(lead, leads).items():
                mixing[LEADS.index(lead), leads.index(source)] = float(weight)
        mixing *= shown_factor(shown)
        with torch.no_grad():
            gain, offset = self.model.stem.told_affine(shown)
        weights["stem.conv.weight"] = torch.einsum(
            "olk,lm->omk", weights["stem.conv.weight"], mixing
        )
        weights["stem.norm.weight"] = weights["stem.norm.weight"] * gain
        weights["stem.norm.bias"] = weights["stem.norm.bias"] * gain + offset
        for name in ("weight", "bias"):
            del weights[f"stem.told.{name}"]
        return weights, scaling


@dataclass(frozen=True)
class Fit:
    """A trained network, in evaluation mode on the training device, and how it came about.

    Each entry of ``history`` holds ``epoch``, ``learning_rate``, ``train_loss``,
    ``validation_loss``, ``validation_auroc`` (macro, and one per class with its name behind),
    ``validation_brier`` and ``seconds``.
    """

    model: Network
    scaling: Scaling
    history: list[dict[str, float]]
    best_epoch: int  # whose weights the model holds, counted from 1


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
    start: Start | None = None,
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
    start : Start, optional
        The network to start from; needed if the recipe names one, and not used otherwise.

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
    train = _training_records(dataset, job)
    model, scaling = _prepare_network(dataset, job, train, computing, start)
    batches = _prepare_batches(dataset, job, train, scaling, computing.device)
    validation = _prepare_validation(dataset, job, computing.device)
    state = FitState(model, job.recipe)
    file = StateFile(state_path, _identity(dataset, job, train, computing, start))
    file.restore(state)
    for entry in state.history:
        if on_epoch:
            on_epoch(entry)
    while not state.finished:
        started = time.perf_counter()
        trained = _train_epoch(job, batches, state, computing)
        measured = _evaluate(state.judged, scaling, validation)
        entry = trained | measured | {"seconds": time.perf_counter() - started}
        state.add(entry)
        file.save(state)
        if on_epoch:
            on_epoch(entry)
    return Fit(state.best.eval(), scaling, state.history, state.best_epoch)


def _training_records(dataset: EcgDataset, job: FitJob) -> NDArray[np.intp]:
    """Keep the training records that have a label, if there are enough of them."""
    train, validation = (_labelled(dataset, job, part)[0] for part in (job.train, job.validation))
    if len(train) == 0 or len(validation) == 0:
        raise LeadminError(
            f"{dataset.path}: {len(train)} training and {len(validation)} validation records; "
            "both need at least one; check the folds of the data"
        )
    check_classes(dataset, train, job.recipe.train_labels, job.fold)
    return train


def _labelled(
    dataset: EcgDataset, job: FitJob, records: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Keep records that have a label for the recipe, and give these labels."""
    labels = dataset.labels[job.recipe.train_labels][records]
    some = labels.any(axis=1)
    return records[some], labels[some]


def _prepare_network(
    dataset: EcgDataset,
    job: FitJob,
    train: NDArray[np.intp],
    computing: Computing,
    start: Start | None,
) -> tuple[Network, Scaling]:
    """Give the network as training begins with it, and the scaling of its input."""
    recipe, leads = job.recipe, job.configuration.leads
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
    with computing.seeded(job.seed * 1000 + job.fold):
        if recipe.network:
            window = window_samples(recipe, dataset.sampling_rate, dataset.signals.shape[-1])
            make, n_classes = find_network(recipe.network), len(dataset.classes)
            model: Network = own_network(len(leads), n_classes, make, window)
        else:
            model = ResNet1d(len(leads), len(dataset.classes), recipe.architecture)
        model = model.to(computing.device)
    if start is None:
        return model, fit_scaling(recipe.scaling, job.signals(dataset, train))
    weights, scaling = start.of_leads(leads)
    model.load_state_dict(weights)
    return model, scaling


def _prepare_batches(
    dataset: EcgDataset,
    job: FitJob,
    train: NDArray[np.intp],
    scaling: Scaling,
    device: torch.device,
) -> TrainingBatches:
    """Take the training records to the device."""
    signals = torch.from_numpy(job.signals(dataset, train)).to(device)
    labels = dataset.labels[job.recipe.train_labels][train]
    targets = torch.from_numpy(labels).to(device, torch.float32)
    window = window_samples(job.recipe, dataset.sampling_rate, signals.shape[-1])
    rng = epoch_generator(job.seed, job.fold, 0)  # epochs count from 1
    return TrainingBatches(signals, targets, scaling, job.recipe, window, rng)


def _identity(
    dataset: EcgDataset,
    job: FitJob,
    train: NDArray[np.intp],
    computing: Computing,
    start: Start | None,
) -> dict[str, Any]:
    """Everything that the numbers of a fit depend on: a saved state of it is gone on from."""
    return {
        "recipe": recipe_identity(job.recipe),
        "leads": job.configuration.leads,
        "seed": job.seed,
        "fold": job.fold,
        "data": dataset.attributes["content_sha256"],
        "train": dataset.record_id[train].tolist(),
        "validation": dataset.record_id[job.validation].tolist(),
        "device": computing.device.type,
        "mixed": computing.mixed,
        "start": start.checksum if start is not None else None,
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


@dataclass(frozen=True, eq=False)
class _Validation:
    """Validation records on the device, their labels there and here, and what is seen of them."""

    signals: Tensor
    targets: Tensor
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    window: int
    n_windows: int


def _prepare_validation(dataset: EcgDataset, job: FitJob, device: torch.device) -> _Validation:
    """Take the validation records to the device."""
    records, labels = _labelled(dataset, job, job.validation)
    signals = torch.from_numpy(job.signals(dataset, records)).to(device)
    n_samples = signals.shape[-1]
    window = window_samples(job.recipe, dataset.sampling_rate, n_samples)
    # While training, windows that cover the record once are enough to watch.
    n_windows = min(job.recipe.test_windows, math.ceil(n_samples / window))
    targets = torch.from_numpy(labels).to(device, torch.float32)
    return _Validation(signals, targets, labels, dataset.classes, window, n_windows)


def _evaluate(model: Network, scaling: Scaling, validation: _Validation) -> dict[str, float]:
    """Measure a network on the validation records."""
    v = validation
    logits = predict_logits(model, scaling, v.signals, v.window, v.n_windows)
    per_class = auroc(v.labels, logits.double().cpu().numpy())
    return {
        "validation_loss": float(functional.binary_cross_entropy_with_logits(logits, v.targets)),
        "validation_auroc": float(np.nanmean(per_class)),
        **{f"validation_auroc_{c}": float(x) for c, x in zip(v.classes, per_class, strict=True)},
        "validation_brier": float(functional.mse_loss(logits.sigmoid(), v.targets)),
    }
