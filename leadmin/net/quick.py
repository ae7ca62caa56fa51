"""A trained network as matrix products in numpy, for a stranger's record on a processor.

The numbers are those of `leadmin.net.predict.predict_logits` to rounding: what stays the same from
record to record is multiplied out once. Batch norms go into the convolutions before them, and into
the first one also its scaling, which leads are shown, and how they follow from those recorded. The
rest is two matrix products a block, the first of them with the shortcut in it. torch is not needed,
which takes longer to import than a thousand records to answer.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]

_WINDOWS = 32
"""How many go through together: more would not stay in a processor's cache."""


class QuickNetwork:
    """A `leadmin.net.model.ResNet1d` in evaluation mode, with kernels of three taps or more.

    Parameters
    ----------
    state : mapping of str to ndarray
        Its state dict.
    strides : sequence of int
        Of the blocks.
    std : sequence of float
        What each lead in microvolts is divided by; nothing is subtracted.
    window, n_windows : int
        As of `predict_logits`.
    """

    def __init__(
        self,
        state: Mapping[str, NDArray[np.float32]],
        strides: Sequence[int],
        std: Sequence[float],
        window: int,
        n_windows: int,
    ) -> None:
        self._state = {name: np.asarray(value, np.float64) for name, value in state.items()}
        self.window, self.n_windows = window, n_windows
        self._std, self.n_leads = np.array(std, dtype=np.float64), len(std)
        self._stem = lru_cache(maxsize=64)(self._make_stem)
        self._blocks = [self._block(f"blocks.{n}.", s) for n, s in enumerate(strides)]
        self._head = [self._state[f"head.3.{name}"].astype(np.float32) for name in _AFFINE]

    def logits(
        self, signals: Array, mixing: NDArray[np.float64], shown: tuple[int, ...] | None
    ) -> NDArray[np.float64]:
        """Give the mean logits of each record, ``(n_records, n_classes)``.

        ``mixing @ signals`` are the network's leads in microvolts, ``(n_records, n_leads,
        n_samples)``; ``shown`` says which of them a network for any leads is shown.
        """
        stem, bias = self._stem(mixing.astype(np.float64).tobytes(), mixing.shape, shown)
        n_samples = signals.shape[-1]
        last, steps = n_samples - self.window, max(self.n_windows - 1, 1)
        starts = [round(i * last / steps) for i in range(self.n_windows if last else 1)]
        n_taps = len(stem) // signals.shape[1]
        edge, few = n_taps // 2, max(1, _WINDOWS // len(starts))
        answers = [np.empty((0, len(self._head[1])))]
        for first in range(0, len(signals), few):
            rows = signals[first : first + few].swapaxes(1, 2)
            x = np.zeros((len(rows), len(starts), self.window + 2 * edge, rows.shape[2]), "f4")
            for number, start in enumerate(starts):
                x[:, number, edge:-edge] = rows[:, start : start + self.window]
            x = x.reshape(-1, *x.shape[2:])
            y = (_taps(x, n_taps, 2) @ stem).reshape(len(x), -1, len(bias))
            half = y.shape[1] // 2
            y = np.maximum(y[:, : 2 * half : 2], y[:, 1 : 2 * half : 2]) + bias
            y = self._body(np.maximum(y, 0, out=y)).mean(axis=1)
            found = y @ self._head[0].T + self._head[1]
            answers.append(found.reshape(len(rows), len(starts), -1).mean(axis=1))
        return np.concatenate(answers)

    def _body(self, y: Array) -> Array:
        for first, second, bias, stride in self._blocks:
            n, length, n_in = y.shape
            n_out, n_taps, short = second.shape[1], len(first) // n_in, -(-length // stride)
            edge = n_taps // 2
            x = np.zeros((n, length + 2 * edge, n_in), dtype=np.float32)
            x[:, edge:-edge] = y
            h = (_taps(x, n_taps, stride) @ first).reshape(n, short, 2 * n_out)
            beside = h[..., n_out:]
            if length % stride:  # the last sample is alone, and is its own mean
                beside[:, -1] *= 2
            h += bias
            x = np.zeros((n, short + 2 * edge, n_out), dtype=np.float32)
            np.maximum(h[..., :n_out], 0, out=x[:, edge:-edge])
            y = (_taps(x, n_taps, 1) @ second).reshape(n, short, n_out)
            y += beside
            np.maximum(y, 0, out=y)
        return y

    def _folded(self, conv: str, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Put a batch norm into the convolution before it."""
        weight, bias, mean, var = (self._state[f"{norm}.{name}"] for name in _NORM)
        gain = weight / np.sqrt(var + 1e-5)
        return self._state[f"{conv}.weight"] * gain[:, None, None], bias - mean * gain

    def _block(self, name: str, stride: int) -> tuple[Array, Array, Array, int]:
        """Give two matrices and the bias of a block, whose shortcut is in the first of them.

        The mean of each two samples, which the shortcut sees, are two taps of the convolution.
        """
        first, first_bias = self._folded(f"{name}conv1", f"{name}norm1")
        second, bias = self._folded(f"{name}conv2", f"{name}norm2")
        (n_out, n_in, n_taps), shortcut = first.shape, np.eye(first.shape[1])[..., None]
        if f"{name}shortcut.1.weight" in self._state:
            shortcut, more = self._folded(f"{name}shortcut.1", f"{name}shortcut.2")
            bias = bias + more
        beside = np.zeros((n_out, n_in, n_taps))
        beside[..., n_taps // 2 : n_taps // 2 + stride] = shortcut / stride
        biases = np.concatenate([first_bias, bias]).astype(np.float32)
        return _matrix(np.concatenate([first, beside])), _matrix(second), biases, stride

    def _make_stem(
        self, mixing: bytes, shape: tuple[int, int], shown: tuple[int, ...] | None
    ) -> tuple[Array, Array]:
        weight, bias = self._folded("stem.conv", "stem.norm")
        mix = np.frombuffer(mixing).reshape(shape) / self._std[:, None]
        if shown is not None:
            told = np.zeros(self.n_leads)
            told[list(shown)] = 1
            mix = mix * (told * np.sqrt(self.n_leads / told.sum()))[:, None]
            moved = self._state["stem.told.weight"] @ told + self._state["stem.told.bias"]
            gain, offset = np.split(moved, 2)
            weight, bias = weight * (1 + gain)[:, None, None], bias * (1 + gain) + offset
        mixed = np.einsum("olk,lu->ouk", weight, mix)
        return _matrix(mixed), bias.astype(np.float32)


_AFFINE = ("weight", "bias")
_NORM = (*_AFFINE, "running_mean", "running_var")


def _matrix(weight: NDArray[np.float64]) -> Array:
    """Lay ``(n_out, n_in, n_taps)`` out for a product from the right, taps before channels."""
    matrix = weight.transpose(2, 1, 0).reshape(-1, len(weight))
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _taps(x: Array, n_taps: int, stride: int) -> Array:
    """Put the samples that each output sees beside each other, a row for each output."""
    n, length, channels = x.shape
    shape = (n, (length - n_taps) // stride + 1, n_taps * channels)
    by_record, by_sample, by_channel = x.strides
    seen = as_strided(x, shape, (by_record, stride * by_sample, by_channel), writeable=False)
    return seen.reshape(-1, shape[2])
