"""A stranger's ECG through a trained network: what is read, what is refused, and what is said."""

import numpy as np
import pytest
import torch

import leadmin
from leadmin.leads import LEADS, lead_indices, span
from leadmin.net.predict import predict_logits


@pytest.fixture(scope="session")
def network(root):
    """The any-lead network of one fold, as it is published."""
    return leadmin.load(root / "book" / "published" / "map" / "runs" / "12-lead")


@torch.no_grad()
def one_pass_a_window(network, signals, shown=None):
    """What `predict_logits` computes, written as a loop."""
    x = network.scaling(signals)
    told = torch.zeros(len(signals), len(LEADS))
    told[:, list(lead_indices(span(shown or LEADS)))] = 1
    last = signals.shape[-1] - network.window
    starts = [round(i * last / (network.n_windows - 1)) for i in range(network.n_windows)]
    logits = [network.model(x[..., s : s + network.window], told) for s in starts]
    return torch.stack(logits).mean(0)


@pytest.mark.parametrize("shown", [None, ("I", "V5")])
@pytest.mark.parametrize("n_records", [1, 3, 70])
def test_all_windows_at_once_are_the_windows_one_by_one(network, n_records, shown):
    rng = np.random.default_rng(n_records)
    microvolts = torch.from_numpy(300 * rng.standard_normal((n_records, 12, 1000), np.float32))
    found = predict_logits(
        network.model, network.scaling, microvolts, network.window, network.n_windows, shown
    )
    expected = one_pass_a_window(network, microvolts, shown)
    assert torch.allclose(found, expected, atol=1e-5)
