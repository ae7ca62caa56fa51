"""A recipe, a fit, and the state that lets a killed fit go on where it was.

The whole data set is one integer tensor on the device. A batch is an index into it; scaling,
cropping, noise and mixup happen there too, so no data loader stands between the records and
the arithmetic. All randomness of an epoch follows from ``(seed, fold, epoch)``: a fit that is
resumed after any complete epoch draws the same numbers as one that was never stopped.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.labels import CLASSES
from leadmin.leads import Configuration, lead_indices
from leadmin.metrics import auroc
from leadmin.net.model import Architecture, ResNet1d


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, apart from the data and the seed.

    Parameters
    ----------
    name : str
        What reports call it.
    scaling : {"record", "lead", "factor"}
        ``record``: each lead of each record is z-scored, which removes the voltage.
        ``lead``: each lead is z-scored with the mean and standard deviation of that lead in
        the training records. ``factor``: every lead is divided by one number, the standard
        deviation of the training records, which keeps voltages and the limb-lead identities.
    train_labels : {"any", "likelihood50"}
        Which diagnostic statements count as labels in training. Evaluation always uses the
        study's policy, so that recipes are compared on the same records and labels.
    epochs : int
        Passes over the training records.
    patience : int
        Stop after this many epochs without a better validation AUROC and go back to the best
        weights; 0 keeps the last weights.
    batch_size : int
        Records per step.
    learning_rate, weight_decay : float
        Of AdamW; with ``one_cycle`` the peak rate.
    schedule : {"cosine", "one_cycle"}
        How the learning rate moves.
    label_smoothing : float
        Targets become ``y * (1 - s) + s / 2``.
    mixup : float
        Parameter of the Beta distribution that mixes pairs of records; 0 for none.
    crop_seconds : float
        Length of the random crop that one step sees; 0 for the whole record.
    test_windows : int
        Evenly spaced crops whose logits are averaged at evaluation.
    noise : float
        Standard deviation of added white noise, in scaled units.
    averaging : float
        Decay per step of the exponential moving average of the weights; 0 for none.
    lead_masking : bool
        Whether each record shows a random set of its leads, from one to all, the others zero:
        training of a network that reads any lead set.
    start : str
        Recipe of the 12-lead network whose weights training starts from; empty for random ones.
    architecture : Architecture
        The network's own options.
    """

    name: str
    scaling: Literal["record", "lead", "factor"] = "factor"
    train_labels: Literal["any", "likelihood50"] = "any"
    epochs: int = 30
    patience: int = 0
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    schedule: Literal["cosine", "one_cycle"] = "one_cycle"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    crop_seconds: float = 2.5
    test_windows: int = 8
    noise: float = 0.1
    averaging: float = 0.995
    lead_masking: bool = False
    start: str = ""
    architecture: Architecture = field(default_factory=Architecture)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="default", start="any-lead", epochs=15),
        Recipe(name="any-lead", lead_masking=True, epochs=120),
        Recipe(name="scratch"),
        Recipe(
            name="seed",
            scaling="record",
            train_labels="likelihood50",
            epochs=30,
            patience=7,
            learning_rate=1e-3,
            schedule="cosine",
            label_smoothing=0.1,
            mixup=0.2,
            crop_seconds=0.0,
            test_windows=1,
            noise=0.0,
            averaging=0.0,
        ),
    )
}

ABLATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scratch-record-scaling": (
        "scratch",
        "z-score of each lead and record",
        {"scaling": "record"},
    ),
    "scratch-lead-scaling": (
        "scratch",
        "z-score of each lead",
        {"scaling": "lead"},
    ),
    "scratch-likelihood50": (
        "scratch",
        "labels from 50% likelihood",
        {"train_labels": "likelihood50"},
    ),
    "scratch-smoothing": ("scratch", "label smoothing 0.1", {"label_smoothing": 0.1}),
    "scratch-mixup": ("scratch", "mixup 0.2", {"mixup": 0.2}),
    "scratch-whole-record": (
        "scratch",
        "ten seconds, no crops",
        {"crop_seconds": 0.0, "test_windows": 1},
    ),
    "scratch-no-noise": ("scratch", "no noise", {"noise": 0.0}),
    "scratch-no-averaging": ("scratch", "no averaged weights", {"averaging": 0.0}),
    "seed-factor-scaling": (
        "seed",
        "seed, with one scale factor",
        {"scaling": "factor"},
    ),
}
"""Recipes that differ from another one in one respect: name to origin, description, change."""

RECIPES |= {
    name: replace(RECIPES[origin], name=name, **change)
    for name, (origin, _, change) in ABLATIONS.items()
}


def recipe(name: str, epochs: int | None = None) -> Recipe:
    """Look up a recipe by name.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    epochs : int, optional
        Overrides the recipe's own number of epochs.

    Raises
    ------
    LeadminError
        If there is no such recipe, or ``epochs`` is not positive.
    """
    if name not in RECIPES:
        raise LeadminError(f"recipe {name!r} does not exist; valid: {', '.join(RECIPES)}")
    if epochs is None:
        return RECIPES[name]
    if epochs < 1:
        raise LeadminError(f"epochs must be at least 1, not {epochs}")
    return replace(RECIPES[name], epochs=epochs)


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device that is there.

    Raises
    ------
    LeadminError
        If the name is not known or the device is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LeadminError(
            f"device {name!r} cannot be used here; valid: auto, cpu, cuda, cuda:N ({error})"
        ) from error
    return device


PRECISIONS = ("auto", "float32", "bfloat16")
"""How training steps compute; ``auto`` is bfloat16 on an accelerator, float32 on a processor."""


def mixed_precision(precision: str, device: torch.device) -> bool:
    """Say whether training steps multiply in bfloat16; weights and sums stay in float32.

    A processor without bfloat16 instructions is slower with it, so it has to be asked for there.

    Raises
    ------
    LeadminError
        If ``precision`` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise LeadminError(f"parameter precision is {precision!r}; valid: {', '.join(PRECISIONS)}")
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


@dataclass(frozen=True)
class Scaling:
    """How microvolts become network input.

    Parameters
    ----------
    kind : {"record", "lead", "factor"}
        See `Recipe`.
    mean, std : tuple of float
        One number per lead in microvolts, from the training records; for ``factor`` the same
        number in every place; for ``record`` empty, since each record brings its own.
    """

    kind: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def select(self, positions: Sequence[int]) -> "Scaling":
        """Keep the constants of some leads, given by their positions."""
        if self.kind == "record":
            return self
        mean, std = (tuple(values[i] for i in positions) for values in (self.mean, self.std))
        return Scaling(self.kind, mean, std)

    def constants(self, microvolts: Tensor) -> tuple[Tensor, Tensor]:
        """Find what to subtract from records and what to divide them by.

        Parameters
        ----------
        microvolts : Tensor, shape (n_records, n_leads, n_samples)
            Whole records: a z-score belongs to the record, not to a window of it.

        Returns
        -------
        mean, std : Tensor of float32, shape (n_records or 1, n_leads, 1)
        """
        if self.kind == "record":
            pieces = [
                (piece.mean(-1, keepdim=True), piece.std(-1, keepdim=True, correction=0))
                for piece in (chunk.to(torch.float32) for chunk in microvolts.split(512))
            ]
            mean, std = (torch.cat(parts) for parts in zip(*pieces, strict=True))
            return mean, std.clamp_min(1.0)  # a flat lead stays flat: 1 microvolt floor
        shape, device = (1, len(self.mean), 1), microvolts.device
        mean = torch.tensor(self.mean, device=device).reshape(shape)
        return mean, torch.tensor(self.std, device=device).reshape(shape)

    def __call__(self, microvolts: Tensor) -> Tensor:
        """Scale ``(batch, n_leads, n_samples)`` microvolts of any number type to float32."""
        mean, std = self.constants(microvolts)
        return (microvolts.to(torch.float32) - mean) / std


def fit_scaling(kind: str, signals: NDArray[np.int16]) -> Scaling:
    """Find the scaling constants on training records.

    Parameters
    ----------
    kind : {"record", "lead", "factor"}
        See `Recipe`.
    signals : ndarray of int16, shape (n_records, n_leads, n_samples)
        Training records in microvolts, the leads that the network sees.
    """
    if kind == "record":
        return Scaling("record")
    n_leads = signals.shape[1]
    count = signals.shape[0] * signals.shape[2]
    total = signals.sum(axis=(0, 2), dtype=np.int64)
    squares = np.zeros(n_leads, dtype=np.float64)
    for start in range(0, len(signals), 512):  # in pieces: float64 of everything is 4x the data
        piece = signals[start : start + 512].astype(np.float64)
        squares += np.einsum("rls,rls->l", piece, piece)
    mean = total / count
    if kind == "lead":
        std = np.sqrt(squares / count - mean**2)
        std = np.maximum(std, 1.0)
        return Scaling("lead", tuple(mean.tolist()), tuple(std.tolist()))
    factor = math.sqrt(squares.sum() / (count * n_leads) - (total.sum() / (count * n_leads)) ** 2)
    return Scaling("factor", (0.0,) * n_leads, (max(factor, 1.0),) * n_leads)


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


def _epoch_generator(seed: int, fold: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, fold, epoch])


def _batches(
    n_records: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield shuffled batches of nearly equal size, so that no batch is left with one record."""
    order = rng.permutation(n_records)
    yield from np.array_split(order, math.ceil(n_records / batch_size))


def _shown_leads(n_records: int, n_leads: int, rng: np.random.Generator) -> Tensor:
    """Draw which leads each record shows, as ones and zeros ``(n_records, n_leads)``.

    One record in five shows all of them, the others any number from one up, each as often.
    """
    n_shown = rng.integers(1, n_leads + 1, (n_records, 1))
    n_shown[rng.random(n_records) < 0.2] = n_leads
    order = rng.random((n_records, n_leads)).argsort(1).argsort(1)
    return torch.from_numpy((order < n_shown).astype(np.float32))


class ResidentRecords:
    """Training records on the device, from which scaled windows are cut.

    Samples lie record after record, the leads of one moment beside each other. A window is then
    one piece of memory, and the network computes in this order anyway.

    Parameters
    ----------
    signals : Tensor of int16, shape (n_records, n_leads, n_samples)
        Microvolts.
    scaling : Scaling
        How they become input of the network.
    window : int
        Samples in a window.
    """

    def __init__(self, signals: Tensor, scaling: Scaling, window: int) -> None:
        self.n_leads, self.n_samples = signals.shape[1:]
        self.window = window
        self.mean, self.std = scaling.constants(signals)
        size = window * self.n_leads
        samples = signals.transpose(1, 2).flatten()
        self.windows = samples.unfold(0, size, self.n_leads)  # a view: (every start, size)

    def __call__(self, records: Tensor, starts: Tensor) -> Tensor:
        """Cut one window out of each of some records.

        Parameters
        ----------
        records, starts : Tensor of int64, shape (batch,)
            Which records, and the first sample of each window.

        Returns
        -------
        Tensor of float32, shape (batch, n_leads, window)
            Scaled.
        """
        pieces = self.windows.index_select(0, records * self.n_samples + starts)
        x = pieces.view(-1, self.window, self.n_leads).transpose(1, 2).to(torch.float32)
        own = len(self.mean) > 1
        mean, std = (c[records] if own else c for c in (self.mean, self.std))
        return x.sub_(mean).div_(std)


class NoiseBank:
    """White noise, drawn once: a batch gets a piece of it from a random place.

    Drawing it anew for each batch takes longer than scaling and cropping together.

    Parameters
    ----------
    size : int
        Numbers that one batch needs at most.
    rng : numpy Generator
        Draws the noise.
    device : torch.device
        Where it stays.
    """

    def __init__(self, size: int, rng: np.random.Generator, device: torch.device) -> None:
        values = rng.standard_normal(max(2**22, 4 * size), dtype=np.float32)
        self.values = torch.from_numpy(values).to(device)

    def add_to(self, x: Tensor, strength: float, rng: np.random.Generator) -> None:
        """Add noise of standard deviation ``strength`` to ``(batch, n_leads, window)`` in place."""
        start = int(rng.integers(0, len(self.values) - x.numel() + 1))
        # Laid out in memory like x, so that the sum is one pass.
        batch, n_leads, window = x.shape
        piece = self.values[start : start + x.numel()].view(batch, window, n_leads)
        x.add_(piece.transpose(1, 2), alpha=strength)


def _state_tensors(
    model: ResNet1d, average: ResNet1d, best: ResNet1d, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for role, network in (("model", model), ("average", average), ("best", best)):
        tensors |= {f"{role}.{name}": value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


class _Resume:
    """The state of an unfinished fit in one file: tensors, and JSON in the file's metadata."""

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = json.dumps(identity, sort_keys=True)

    def save(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        if self.path is None:
            return
        metadata = {"identity": self.identity, "progress": json.dumps(progress)}
        try:
            with atomic_path(self.path) as temporary:
                save_file(tensors, temporary, metadata)
        except (SafetensorError, OSError) as error:
            raise LeadminError(
                f"{self.path}: the training state cannot be written ({error}); free some space and "
                "start again: training goes on behind the last epoch that was saved"
            ) from error

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the state, or nothing if there is none or it belongs to another fit."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("identity") != self.identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise LeadminError(
                f"{self.path}: the saved training state cannot be read ({error}); "
                "delete the file to train from the start"
            ) from error
        return tensors, json.loads(metadata["progress"])


def _restore(
    tensors: dict[str, Tensor],
    networks: dict[str, ResNet1d],
    optimizer: torch.optim.Optimizer,
) -> None:
    for role, network in networks.items():
        prefix = f"{role}."
        network.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


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
    resume = _Resume(state_path, identity)
    saved = resume.load()
    if saved is not None:
        tensors, progress = saved
        _restore(tensors, {"model": model, "average": average, "best": best}, optimizer)
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
        rng = _epoch_generator(seed, fold, epoch)
        model.train()
        losses = torch.zeros((), device=device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(2**62)))
            for number, batch in enumerate(_batches(len(train), recipe.batch_size, rng)):
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
                    x.mul_(_shown_leads(len(x), len(leads), rng).to(device)[..., None])
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
        resume.save(_state_tensors(model, average, best, optimizer), progress)
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


def window_samples(recipe: Recipe, sampling_rate: int, n_samples: int) -> int:
    """Length in samples of what one step sees: the recipe's crop, or the whole record."""
    if not recipe.crop_seconds:
        return n_samples
    return min(round(recipe.crop_seconds * sampling_rate), n_samples)
