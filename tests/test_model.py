import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from leadmin.net.model import Architecture, ResNet1d, count_parameters, describe


@pytest.mark.parametrize("n_leads", range(1, 13))
def test_parameter_budget_holds_at_every_lead_count(n_leads):
    assert 80_000 <= count_parameters(ResNet1d(n_leads)) <= 120_000


def test_receptive_field_is_what_the_gradient_reaches():
    model = ResNet1d(2).eval()
    for block in range(len(model.blocks)):
        x = torch.randn(1, 2, 4000, requires_grad=True)
        y = model.blocks[: block + 1](model.stem(x))
        y[0, :, 0, y.shape[-1] // 2].sum().backward()
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


def plainly(model, x):
    """The forward pass as the textbook writes it, on (batch, channels, length), in float64."""
    w = {name: value.double() for name, value in model.state_dict().items()}

    def norm(x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(w[f"{name}.{part}"] for part in parts))

    x = functional.conv1d(x.double(), w["stem.conv.weight"], stride=2, padding=7)
    x = functional.max_pool1d(functional.relu(norm(x, "stem.norm")), 2)
    for number, stride in enumerate(model.architecture.strides):
        name = f"blocks.{number}"
        y = functional.conv1d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = functional.relu(norm(y, f"{name}.norm1"))
        y = norm(functional.conv1d(y, w[f"{name}.conv2.weight"], padding=1), f"{name}.norm2")
        if f"{name}.shortcut.1.weight" in w:
            if stride == 2:
                x = functional.avg_pool1d(x, 2, ceil_mode=True)
            x = functional.conv1d(x, w[f"{name}.shortcut.1.weight"])
            x = norm(x, f"{name}.shortcut.2")
        x = functional.relu(x + y)
    return functional.linear(x.mean(-1), w["head.3.weight"], w["head.3.bias"])


@settings(max_examples=25, deadline=None)
@given(
    n_leads=st.integers(1, 12),
    batch=st.integers(1, 5),
    n_samples=st.integers(60, 1100),
    strides=st.sampled_from([(2, 2, 2, 2), (1, 2, 1, 2)]),
    widths=st.sampled_from([(40, 56, 72, 88), (32, 32, 40, 40)]),
)
def test_five_logits_a_record_are_those_of_the_textbook_whatever_the_layout_in_memory(
    n_leads, batch, n_samples, strides, widths
):
    torch.manual_seed(0)
    model = ResNet1d(n_leads, 5, Architecture(strides=strides, channels=widths))
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = torch.randn(batch, n_leads, n_samples)
    model.eval()
    with torch.no_grad():
        expected = plainly(model, x)
        scale = expected.abs().max()
        for given_as in (x, x.transpose(1, 2).contiguous().transpose(1, 2), x[..., :]):
            logits = model(given_as)
            assert logits.shape == (batch, 5)
            assert (logits - expected).abs().max() < 1e-4 * scale


def test_a_record_keeps_a_correction_scaled_up_or_has_none():
    torch.manual_seed(1)
    block = ResNet1d(2).blocks[3].eval()
    block.dropout.p = 0.0
    x = torch.randn(1, block.conv1.in_channels, 1, 8)
    with torch.no_grad():
        shortcut = block.shortcut(x)
        correction = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(x)))))
        block.training, block.skip_probability = True, 0.25
        drawn = block(x.expand(4000, -1, -1, -1))
    skipped = (drawn - torch.relu(shortcut)).abs().amax((1, 2, 3)) < 1e-5
    kept = (drawn - torch.relu(shortcut + correction / 0.75)).abs().amax((1, 2, 3)) < 1e-5
    assert (skipped ^ kept).all()
    assert abs(float(kept.float().mean()) - 0.75) < 0.03
