import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leadmin.model import Architecture, HalvingMean, ResNet1d, count_parameters, describe


@pytest.mark.parametrize("n_leads", range(1, 13))
def test_parameter_budget_holds_at_every_lead_count(n_leads):
    assert 80_000 <= count_parameters(ResNet1d(n_leads)) <= 120_000


@settings(max_examples=20, deadline=None)
@given(
    n_leads=st.integers(1, 12),
    n_samples=st.integers(64, 1100),
    batch=st.integers(1, 3),
)
def test_any_lead_count_and_length_gives_five_logits_per_record(n_leads, n_samples, batch):
    model = ResNet1d(n_leads).eval()
    logits = model(torch.randn(batch, n_leads, n_samples))
    assert logits.shape == (batch, 5)
    assert torch.isfinite(logits).all()


def test_receptive_field_is_what_the_gradient_reaches():
    model = ResNet1d(2).eval()
    for block in range(len(model.blocks)):
        x = torch.randn(1, 2, 4000, requires_grad=True)
        y = model.blocks[: block + 1](model.stem(x))
        y[0, :, y.shape[-1] // 2].sum().backward()
        touched = np.flatnonzero(x.grad[0].abs().sum(0).numpy())
        assert touched[-1] - touched[0] + 1 <= describe(model, 4000)[block + 1].receptive_field
    assert touched[-1] - touched[0] + 1 >= 0.9 * describe(model, 4000)[-2].receptive_field


def test_description_counts_every_parameter_once():
    model = ResNet1d(3)
    views = describe(model, 1000)
    assert sum(view.parameters for view in views) == count_parameters(model)
    assert views[-1].shape == (5,)
    assert model.training, "describing a model must not change its mode"


def test_stochastic_depth_and_dropout_act_in_training_only():
    torch.manual_seed(0)
    model = ResNet1d(1)
    x = torch.randn(4, 1, 500)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_a_batch_of_one_record_trains():
    model = ResNet1d(1)
    model(torch.randn(1, 1, 250)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_leads": 0}, "n_leads"),
        ({"n_leads": 1, "n_classes": 0}, "n_classes"),
        ({"n_leads": 1, "architecture": Architecture(kernel=4)}, "odd"),
        ({"n_leads": 1, "architecture": Architecture(strides=(1, 2))}, "strides"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet1d(**arguments)


@given(length=st.integers(1, 50))
def test_halving_mean_is_average_pooling(length):
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length))
    expected = torch.nn.functional.avg_pool1d(x, 2, ceil_mode=True)
    assert torch.allclose(HalvingMean()(x), expected)
