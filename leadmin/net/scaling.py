"""How microvolts become network input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
