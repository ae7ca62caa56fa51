"""Batches: windows cut from records that stay on the device, shuffling, noise, hidden leads."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadmin.leads import LEADS, LIMB_LEADS
from leadmin.net.recipes import Recipe
from leadmin.net.scaling import Scaling


def epoch_generator(seed: int, fold: int, epoch: int) -> np.random.Generator:
    """Give the generator from which all randomness of one epoch follows."""
    return np.random.default_rng([seed, fold, epoch])


def batches(
    n_records: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield shuffled batches of nearly equal size, so that no batch is left with one record."""
    order = rng.permutation(n_records)
    yield from np.array_split(order, math.ceil(n_records / batch_size))


def shown_leads(n_records: int, rng: np.random.Generator) -> Tensor:
    """Draw which of the twelve leads each record shows, as ones and zeros ``(n_records, 12)``.

    Three masks in five show a number of leads from one up, each number as often, and one in five of
    these shows all. The others are drawn as signal spaces lie: no limb lead, one or all six, and
    chest leads from none to most, so that few leads come up often. Two limb leads give all six.
    """
    n_limb, n_leads = len(LIMB_LEADS), len(LEADS)
    n_shown = rng.integers(1, n_leads + 1, (n_records, 1))
    n_shown[rng.random(n_records) < 0.2] = n_leads
    shown = _first(n_shown, n_leads, rng)
    limb = _first(rng.choice([0, 1, n_limb], (n_records, 1), p=[0.2, 0.3, 0.5]), n_limb, rng)
    density = rng.choice([0.0, 0.17, 0.35, 0.5, 0.8], (n_records, 1))
    chest = rng.random((n_records, n_leads - n_limb)) < density
    # What would show nothing shows one chest lead.
    empty = limb.sum(1, keepdims=True) + chest.sum(1, keepdims=True) == 0
    chest |= _first(empty, n_leads - n_limb, rng)
    spaced = rng.random(n_records) < 0.4
    shown[spaced] = np.hstack([limb, chest])[spaced]
    shown[shown[:, :n_limb].sum(1) > 1, :n_limb] = True
    return torch.from_numpy(shown.astype(np.float32))


def _first(n_shown: NDArray[Any], n_leads: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose ``n_shown`` ``(n_records, 1)`` of ``n_leads`` leads, all sets of a size as often."""
    return rng.random((len(n_shown), n_leads)).argsort(1).argsort(1) < n_shown


class ResidentRecords:
    """Training records on the device, from which scaled windows of ``window`` samples are cut.

    ``signals`` are int16 microvolts, (n_records, n_leads, n_samples). Samples lie record after
    record, the leads of one moment beside each other. A window is then one piece of memory, and the
    network computes in this order anyway.
    """

    def __init__(self, signals: Tensor, scaling: Scaling, window: int) -> None:
        self.n_leads, self.n_samples = signals.shape[1:]
        self.window = window
        self.mean, self.std = scaling.constants(signals)
        size = window * self.n_leads
        samples = signals.transpose(1, 2).flatten()
        self.windows = samples.unfold(0, size, self.n_leads)  # a view: (every start, size)

    def __call__(self, records: Tensor, starts: Tensor) -> Tensor:
        """Cut scaled windows, (batch, n_leads, window), out of records from their first samples."""
        pieces = self.windows.index_select(0, records * self.n_samples + starts)
        x = pieces.view(-1, self.window, self.n_leads).transpose(1, 2).to(torch.float32)
        own = len(self.mean) > 1
        mean, std = (c[records] if own else c for c in (self.mean, self.std))
        return x.sub_(mean).div_(std)


class NoiseBank:
    """White noise, drawn once; a batch of at most ``size`` numbers gets a piece of it at random.

    Drawing it anew for each batch takes longer than scaling and cropping together.
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


class TrainingBatches:
    """The batches of one fit: windows, noise, hidden leads, mixup and smoothed labels.

    ``signals`` are int16 microvolts, (n_records, n_leads, n_samples), and ``targets`` labels in
    float32, (n_records, n_classes), on one device; ``rng`` draws the noise.
    """

    def __init__(
        self,
        signals: Tensor,
        targets: Tensor,
        scaling: Scaling,
        recipe: Recipe,
        window: int,
        rng: np.random.Generator,
    ) -> None:
        self.targets, self.recipe = targets, recipe
        self.cut = ResidentRecords(signals, scaling, window)
        self.noise = None
        if recipe.noise:
            size = recipe.batch_size * self.cut.n_leads * window
            self.noise = NoiseBank(size, rng, signals.device)

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.targets) / self.recipe.batch_size)

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield what the steps see: signals, labels, and the leads that are shown.

        They are (batch, n_leads, window), (batch, n_classes) and (batch, n_leads); None shows all.
        """
        recipe, device = self.recipe, self.targets.device
        last = self.cut.n_samples - self.cut.window
        for batch in batches(len(self.targets), recipe.batch_size, rng):
            index = torch.from_numpy(batch).to(device)
            starts = torch.from_numpy(rng.integers(0, last + 1, len(batch))).to(device)
            x, y = self.cut(index, starts), self.targets[index]
            if self.noise:
                self.noise.add_to(x, recipe.noise, rng)
            shown = None
            if recipe.architecture.any_leads:
                shown = shown_leads(len(x), rng).to(device)
            if recipe.mixup:
                share = float(rng.beta(recipe.mixup, recipe.mixup))
                partner = torch.from_numpy(rng.permutation(len(batch))).to(device)
                x = share * x + (1 - share) * x[partner]
                y = share * y + (1 - share) * y[partner]
            if recipe.label_smoothing:
                y = y * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
            yield x, y, shown
