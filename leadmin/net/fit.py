"""A recipe, a fit, and the state that lets a killed fit go on where it was.

The whole data set is one integer tensor on the device. A batch is an index into it; scaling,
cropping, noise and mixup happen there too, so no data loader stands between the records and
the arithmetic. All randomness of an epoch follows from ``(seed, fold, epoch)``: a fit that is
resumed after any complete epoch draws the same numbers as one that was never stopped.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.labels import CLASSES
from leadmin.leads import Configuration, lead_indices
from leadmin.metrics import auroc
from leadmin.net.batches import NoiseBank, ResidentRecords, batches, epoch_generator, shown_leads
from leadmin.net.device import mixed_precision
from leadmin.net.model import ResNet1d
from leadmin.net.recipes import Recipe, window_samples
from leadmin.net.scaling import Scaling, fit_scaling
from leadmin.net.state import Resume, restore, state_tensors


@dataclass(frozen=True)
class Start:
    """A trained network whose weights another fit starts from.

    Parameters
    ----------
    model : ResNet1d
        The network.
    scaling : Scaling
        The constants it was trained with; the new fit keeps them, since weights fit to voltages.
    leads : tuple of str
        Its input leads, in order.
    checksum : str
        SHA-256 of its weights.
    """

    model: ResNet1d
    scaling: Scaling
    leads: tuple[str, ...]
    checksum: str

    def of_leads(self, leads: Sequence[str]) -> tuple[dict[str, Tensor], Scaling]:
        """Give weights and scaling for a network that sees only ``leads``.

        The weights are all there but for the stem's, which lack the other leads.

        Raises
        ------
        LeadminError
            If the network was not trained on one of them.
        """
        missing = [lead for lead in leads if lead not in self.leads]
        if missing:
            raise LeadminError(
                f"lead {', '.join(missing)} is not among those of the network to start from: "
                f"{', '.join(self.leads)}"
            )
        positions = [self.leads.index(lead) for lead in leads]
        weights = dict(self.model.state_dict())
        weights["stem.0.weight"] = weights["stem.0.weight"][:, positions]
        return weights, self.scaling.select(positions)


@dataclass(frozen=True)
class Fit:
    """A trained network and how it came about.

    Parameters
    ----------
    model : ResNet1d
        In evaluation mode, on the training device.
    scaling : Scaling
        Constants from the training records.
    history : list of dict
        One entry per epoch: ``epoch``, ``learning_rate``, ``train_loss``,
        ``validation_loss``, ``validation_auroc`` (macro, and one per class with its name
        behind), ``validation_brier``, ``seconds``.
    best_epoch : int
        The epoch whose weights ``model`` holds, counted from 1.
    compile_seconds : float
        What compiling took; 0 if nothing was compiled.
    """

    model: ResNet1d
    scaling: Scaling
    history: list[dict[str, float]]
    best_epoch: int
    compile_seconds: float = 0.0


@torch.no_grad()
def predict_logits(
    model: ResNet1d,
    scaling: Scaling,
    signals: Tensor,
    window: int = 0,
    n_windows: int = 1,
    batch_size: int = 256,
) -> Tensor:
    """Run ``model`` over records and average the logits of several windows.

    Parameters
    ----------
    model : ResNet1d
        The network; left in evaluation mode.
    scaling : Scaling
        How to scale the input.
    signals : Tensor, shape (n_records, n_leads, n_samples)
        Microvolts, on the device of ``model``.
    window : int
        Length of a window in samples; 0 for the whole record.
    n_windows : int
        Number of evenly spaced windows.
    batch_size : int
        Records per forward pass; does not change the result beyond rounding.

    Returns
    -------
    Tensor, shape (n_records, n_classes)
        Mean logits in float32.
    """
    model.eval()
    n_samples = signals.shape[-1]
    window = window or n_samples
    last = n_samples - window
    starts = [round(i * last / max(n_windows - 1, 1)) for i in range(n_windows if last else 1)]
    pieces = []
    for first in range(0, len(signals), batch_size):
        # Scaling comes before the cut: a z-score belongs to the record, not to the window.
        x = scaling(signals[first : first + batch_size].transpose(1, 2).contiguous().mT)
        logits = [model(x[..., start : start + window]) for start in starts]
        pieces.append(torch.stack(logits).mean(0).float())
    return torch.cat(pieces)


def _learning_rate(recipe: Recipe, step: int, n_steps: int, steps_per_epoch: int) -> float:
    """Learning rate of one step: a pure function, so that a resumed fit needs no scheduler state.

    ``cosine`` falls once per epoch from the full rate to zero; ``one_cycle`` climbs over the
    first 30 % of the steps from 1/25 of the peak and falls to 1/250,000 of it [Smith2018]_.

    .. [Smith2018] L. N. Smith, A disciplined approach to neural network hyper-parameters,
       arXiv:1803.09820.
    """
    peak = recipe.learning_rate
    if recipe.schedule == "cosine":
        epoch = step // steps_per_epoch
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    top = max(0.3 * n_steps - 1, 1.0)
    if step <= top:
        low, high, share = peak / 25, peak, step / top
    else:
        low, high, share = peak, peak / 250_000, (step - top) / max(n_steps - 1 - top, 1.0)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))


def check_classes(
    dataset: EcgDataset, train: NDArray[np.intp], label_policy: str, fold: int
) -> None:
    """Refuse training records among which a class never occurs.

    Parameters
    ----------
    dataset : EcgDataset
        The prepared records.
    train : ndarray of int
        Indices of those to train on.
    label_policy : str
        Policy of their labels.
    fold : int
        Number of the test fold, for the message.

    Raises
    ------
    LeadminError
        Naming the classes.
    """
    counts = dataset.labels[label_policy][train].sum(0)
    absent = [name for name, count in zip(CLASSES, counts, strict=True) if not count]
    if absent:
        raise LeadminError(
            f"{dataset.path}: no training record has the class {', '.join(absent)} "
            f"(test fold {fold}, label policy {label_policy}); use more records or fewer classes"
        )


def fit(
    dataset: EcgDataset,
    configuration: Configuration,
    recipe: Recipe,
    train: NDArray[np.intp],
    validation: NDArray[np.intp],
    *,
    seed: int = 0,
    fold: int = 0,
    label_policy: str = "any",
    device: torch.device | None = None,
    state_path: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    compiled: bool = False,
    precision: str = "auto",
    start: Start | None = None,
) -> Fit:
    """Train one network.

    Parameters
    ----------
    dataset : EcgDataset
        The prepared records.
    configuration : Configuration
        Which leads the network sees, in this order.
    recipe : Recipe
        How to train.
    train, validation : ndarray of int, shape (n,)
        Indices into ``dataset``. Records without a label under ``recipe.train_labels`` are
        left out of training.
    seed : int
        Decides initial weights, order, crops, noise and dropout.
    fold : int
        Number of the test fold, so that the ten fits of a cross-validation differ.
    label_policy : str
        Policy of the validation labels.
    device : torch.device, optional
        Where to train; the CPU by default.
    state_path : Path, optional
        Where to keep the state after every epoch. A state of the same fit found there is
        continued. It stays when the fit ends: whoever keeps the result removes it then.
    on_epoch : callable, optional
        Called with each new entry of the history.
    compiled : bool
        Whether the training step goes through ``torch.compile``, on an accelerator with CUDA
        graphs. It draws other random numbers for dropout, so the weights differ from those of a
        fit that is not compiled as those of another seed would.
    precision : {"auto", "float32", "bfloat16"}
        What training steps multiply in; see `mixed_precision`. Evaluation is always in float32.
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
    device = device or torch.device("cpu")
    policy = recipe.train_labels
    train = train[dataset.labels[policy][train].any(axis=1)]
    if len(train) == 0 or len(validation) == 0:
        raise LeadminError(
            f"{dataset.path}: {len(train)} training and {len(validation)} validation records; "
            "both need at least one: check the folds of the data"
        )
    check_classes(dataset, train, policy, fold)
    mixed = mixed_precision(precision, device)
    leads = np.array(lead_indices(configuration.leads))
    if not recipe.start:
        start, scaling = None, fit_scaling(recipe.scaling, dataset.signals[np.ix_(train, leads)])
    elif start is not None:
        weights, scaling = start.of_leads(configuration.leads)
    else:
        raise LeadminError(
            f"recipe {recipe.name} starts from a network of the recipe {recipe.start}; train that "
            "first"
        )
    signals = torch.from_numpy(dataset.signals[np.ix_(train, leads)]).to(device)
    targets = torch.from_numpy(dataset.labels[policy][train]).to(device, torch.float32)
    validation_signals = torch.from_numpy(dataset.signals[np.ix_(validation, leads)]).to(device)
    validation_labels = dataset.labels[label_policy][validation]
    validation_targets = torch.from_numpy(validation_labels).to(device, torch.float32)
    crop = window_samples(recipe, dataset.sampling_rate, signals.shape[-1])

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * 1000 + fold)
        model = ResNet1d(len(leads), len(CLASSES), recipe.architecture).to(device)
    if start is not None:
        model.load_state_dict(weights)
    average, best = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    steps_per_epoch = math.ceil(len(train) / recipe.batch_size)
    n_steps = steps_per_epoch * recipe.epochs

    history: list[dict[str, float]] = []
    best_score, best_epoch, first_epoch = -math.inf, 0, 1
    identity = {
        "recipe": asdict(recipe),
        "leads": configuration.leads,
        "seed": seed,
        "fold": fold,
        "label_policy": label_policy,
        "data": dataset.attributes["content_sha256"],
        "train": dataset.record_id[train].tolist(),
        "validation": dataset.record_id[validation].tolist(),
        "device": device.type,
        "mixed": mixed,
        "start": start.checksum if start is not None else None,
        **({"compiled": True} if compiled else {}),
    }
    resume = Resume(state_path, identity)
    saved = resume.load()
    if saved is not None:
        tensors, progress = saved
        restore(tensors, {"model": model, "average": average, "best": best}, optimizer)
        history = progress["history"]
        best_score, best_epoch = progress["best_score"], progress["best_epoch"]
        first_epoch = len(history) + 1
        for entry in history:
            if on_epoch:
                on_epoch(entry)

    network: Callable[[Tensor], Tensor] = model
    compile_seconds = 0.0
    if compiled:
        batch_sizes = {len(train) // steps_per_epoch, math.ceil(len(train) / steps_per_epoch)}
        shapes = [(size, len(leads), crop) for size in sorted(batch_sizes)]
        network, compile_seconds = _compile(model, shapes, device, mixed)
    cut = ResidentRecords(signals, scaling, crop)
    noise = None
    if recipe.noise:
        rng = np.random.default_rng([seed, fold, 0])  # epochs count from 1
        noise = NoiseBank(recipe.batch_size * len(leads) * crop, rng, device)
    parameters: list[Tensor] = list(model.parameters())
    buffers = _float_buffers(model)
    averaged: list[Tensor] = list(average.parameters())
    averaged_buffers = _float_buffers(average)
    for epoch in range(first_epoch, recipe.epochs + 1):
        if recipe.patience and history and epoch - 1 - best_epoch >= recipe.patience:
            break
        started = time.perf_counter()
        rng = epoch_generator(seed, fold, epoch)
        model.train()
        losses = torch.zeros((), device=device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(2**62)))
            for number, batch in enumerate(batches(len(train), recipe.batch_size, rng)):
                step = (epoch - 1) * steps_per_epoch + number
                rate = _learning_rate(recipe, step, n_steps, steps_per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                index = torch.from_numpy(batch).to(device)
                last = signals.shape[-1] - crop
                starts = torch.from_numpy(rng.integers(0, last + 1, len(batch))).to(device)
                x, y = cut(index, starts), targets[index]
                if noise:
                    noise.add_to(x, recipe.noise, rng)
                if recipe.lead_masking:
                    x.mul_(shown_leads(len(x), len(leads), rng).to(device)[..., None])
                if recipe.mixup:
                    share = float(rng.beta(recipe.mixup, recipe.mixup))
                    partner = torch.from_numpy(rng.permutation(len(batch))).to(device)
                    x = share * x + (1 - share) * x[partner]
                    y = share * y + (1 - share) * y[partner]
                if recipe.label_smoothing:
                    y = y * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
                with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                    logits = network(x)
                loss = functional.binary_cross_entropy_with_logits(logits.float(), y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                losses += loss.detach() * len(batch)
                if recipe.averaging:
                    # The average starts short-sighted, so that the random start is forgotten.
                    weight = 1 - min(recipe.averaging, (step + 2) / (step + 11))
                    with torch.no_grad():
                        torch._foreach_lerp_(averaged, parameters, weight)
                        torch._foreach_lerp_(averaged_buffers, buffers, weight)
        train_loss = float(losses) / len(train)
        if not math.isfinite(train_loss):
            raise LeadminError(
                f"{configuration.name}, recipe {recipe.name}, seed {seed}, test fold {fold}: the "
                f"training loss became {train_loss} in epoch {epoch} at learning rate {rate:.2g}; "
                "lower the learning rate or check the signals"
            )
        current = average if recipe.averaging else model
        # While training, windows that cover the record once are enough to watch.
        n_windows = min(recipe.test_windows, math.ceil(signals.shape[-1] / crop))
        logits = predict_logits(current, scaling, validation_signals, crop, n_windows)
        validation_loss = functional.binary_cross_entropy_with_logits(logits, validation_targets)
        per_class = auroc(validation_labels, logits.double().cpu().numpy())
        score = float(np.nanmean(per_class))
        brier = float(functional.mse_loss(logits.sigmoid(), validation_targets))
        entry = {
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": train_loss,
            "validation_loss": float(validation_loss),
            "validation_auroc": score,
            **{f"validation_auroc_{c}": float(v) for c, v in zip(CLASSES, per_class, strict=True)},
            "validation_brier": brier,
            "seconds": time.perf_counter() - started,
        }
        history.append(entry)
        if not recipe.patience or score > best_score:
            best_score, best_epoch = score, epoch
            best.load_state_dict(current.state_dict())
        progress = {"history": history, "best_score": best_score, "best_epoch": best_epoch}
        resume.save(state_tensors(model, average, best, optimizer), progress)
        if on_epoch:
            on_epoch(entry)
    best.eval()
    return Fit(best, scaling, history, best_epoch, compile_seconds)


def _compile(
    model: ResNet1d, shapes: list[tuple[int, int, int]], device: torch.device, mixed: bool
) -> tuple[Callable[[Tensor], Tensor], float]:
    """Compile forward and backward pass for all batch shapes; ``model`` comes out as it went in."""
    started = time.perf_counter()
    before = copy.deepcopy(model.state_dict())
    mode = "reduce-overhead" if device.type == "cuda" else None
    network = torch.compile(model, mode=mode, dynamic=False)
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for shape in shapes:
            # Laid out in memory as training batches are, or it would be compiled once more.
            batch, n_leads, window = shape
            x = torch.zeros((batch, window, n_leads), device=device).transpose(1, 2)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = network(x)
            logits.float().sum().backward()
    model.zero_grad(set_to_none=True)
    model.load_state_dict(before)
    return network, time.perf_counter() - started


def _float_buffers(model: ResNet1d) -> list[Tensor]:
    """List the running means and variances of ``model``, without the step counters."""
    return [b for b in model.buffers() if b.dtype.is_floating_point]
