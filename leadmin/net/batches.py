"""Batches: windows cut from records that stay on the device, shuffling, noise, hidden leads."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def shown_leads(n_records: int, n_leads: int, rng: np.random.Generator) -> Tensor:
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


class TrainingBatches:
    """The batches of one fit: windows, noise, hidden leads, mixup and smoothed labels.

    Parameters
    ----------
    signals : Tensor of int16, shape (n_records, n_leads, n_samples)
        Training records in microvolts, on the device.
    targets : Tensor of float32, shape (n_records, n_classes)
        Their labels, on the same device.
    scaling : Scaling
        How they become input of the network.
    recipe : Recipe
        What is done to them.
    window : int
        Samples that one step sees of a record.
    rng : numpy Generator
        Draws the noise.
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

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shapes ``(batch, n_leads, window)`` that occur."""
        n_records = len(self.targets)
        sizes = {n_records // len(self), math.ceil(n_records / len(self))}
        return [(size, self.cut.n_leads, self.cut.window) for size in sorted(sizes)]

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield input ``(batch, n_leads, window)`` and targets ``(batch, n_classes)`` of steps."""
        recipe, device = self.recipe, self.targets.device
        last = self.cut.n_samples - self.cut.window
        for batch in batches(len(self.targets), recipe.batch_size, rng):
            index = torch.from_numpy(batch).to(device)
            starts = torch.from_numpy(rng.integers(0, last + 1, len(batch))).to(device)
            x, y = self.cut(index, starts), self.targets[index]
            if self.noise:
                self.noise.add_to(x, recipe.noise, rng)
            if recipe.lead_masking:
                x.mul_(shown_leads(len(x), self.cut.n_leads, rng).to(device)[..., None])
            if recipe.mixup:
                share = float(rng.beta(recipe.mixup, recipe.mixup))
                partner = torch.from_numpy(rng.permutation(len(batch))).to(device)
                x = share * x + (1 - share) * x[partner]
                y = share * y + (1 - share) * y[partner]
            if recipe.label_smoothing:
                y = y * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
            yield x, y
