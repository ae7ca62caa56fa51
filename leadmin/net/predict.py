"""Logits of records: what validation, the test of a run, and a stranger's record all go through."""

from collections.abc import Sequence

import torch
from torch import Tensor

from leadmin.leads import lead_indices, span
from leadmin.net.own import Network
from leadmin.net.scaling import Scaling


@torch.no_grad()
def predict_logits(
    model: Network,
    scaling: Scaling,
    signals: Tensor,
    window: int = 0,
    n_windows: int = 1,
    shown: Sequence[str] | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Run ``model`` over records and average the logits of several windows.

    Parameters
    ----------
    model : Network
        The network; left in evaluation mode.
    scaling : Scaling
        How to scale the input.
    signals : Tensor, shape (n_records, n_leads, n_samples)
        Microvolts, on the device of ``model``.
    window : int
        Length of a window in samples; 0 for the whole record.
    n_windows : int
        Number of evenly spaced windows.
    shown : sequence of str, optional
        The leads that a network of all twelve is shown, with all that follow from them; the others
        are hidden from it.
    batch_size : int
        Windows per forward pass; does not change the result beyond rounding. All windows of a
        record go through at once, so that one record alone is one pass.

    Returns
    -------
    Tensor, shape (n_records, n_classes)
        Mean logits in float32.
    """
    model.eval()
    told = None
    if shown is not None:
        told = signals.new_zeros(model.n_leads, dtype=torch.float32)
        told[list(lead_indices(span(shown)))] = 1
    n_samples = signals.shape[-1]
    window = window or n_samples
    last = n_samples - window
    starts = [round(i * last / max(n_windows - 1, 1)) for i in range(n_windows if last else 1)]
    samples = (torch.tensor(starts)[:, None] + torch.arange(window)).flatten().to(signals.device)
    pieces = []
    for piece in signals.split(max(1, batch_size // len(starts))):
        # Scaling comes before the cut: a z-score belongs to the record, not to the window. Leads
        # lie innermost in memory, as the network's stem wants them.
        rows = scaling(piece.transpose(1, 2).contiguous().mT).mT
        x = rows.index_select(1, samples).reshape(-1, window, rows.shape[-1]).mT
        mask = None if told is None else told.expand(len(x), -1)
        pieces.append(model(x, mask).float().unflatten(0, (-1, len(starts))).mean(1))
    return torch.cat(pieces)
