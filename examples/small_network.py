"""A network of one's own: what `network: examples/small_network.py:SmallNetwork` trains.

The contract is in `leadmin/net/own.py`; book/your_data.md shows it at work.
"""

import itertools

import torch
from torch import Tensor, nn


class SmallNetwork(nn.Module):
    """Three strided convolutions, the mean and the maximum over time, and one linear layer."""

    def __init__(self, n_leads: int, n_classes: int) -> None:
        super().__init__()
        widths = (n_leads, 24, 32, 48)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [
                nn.Conv1d(n_in, n_out, 9, stride=3, padding=4, bias=False),
                nn.BatchNorm1d(n_out),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled signals ``(batch, n_leads, n_samples)`` to logits ``(batch, n_classes)``."""
        features = self.body(x)  # (batch, 48, n_samples / 27)
        pooled = torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=1)
        logits: Tensor = self.head(pooled)
        return logits
