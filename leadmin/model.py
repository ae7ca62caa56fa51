r"""The network: a small one-dimensional residual network for any set of leads.

An ECG is a few signals sampled in time, so the convolutions run along time and mix the leads.
The body is a residual network [He2016]_ in its one-dimensional form: each block learns a
correction :math:`F(x)` to its input,

.. math:: y = \mathrm{ReLU}\bigl(F(x) + S(x)\bigr),

where :math:`S` is the identity, or a pooled 1x1 convolution where length or width change.
Only the stem depends on the number of leads, so the parameter count moves by 480 per lead:
from about 111 thousand for one lead to 116 thousand for twelve.

References
----------
.. [He2016] K. He et al., Deep residual learning for image recognition, CVPR 2016.
.. [Huang2016] G. Huang et al., Deep networks with stochastic depth, ECCV 2016.
.. [Tompson2015] J. Tompson et al., Efficient object localization using convolutional
   networks, CVPR 2015 (spatial dropout).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Architecture:
    """What the network looks like, apart from its number of leads.

    Parameters
    ----------
    stem_channels : int
        Output channels of the stem.
    stem_kernel, kernel : int
        Kernel lengths in samples, odd, of the stem and of the blocks.
    channels, strides : tuple of int
        Output channels and stride of each block.
    dropout : float
        Probability of dropping a feature in front of the classifier.
    spatial_dropout : float
        Probability of dropping a whole channel inside a block [Tompson2015]_.
    stochastic_depth : float
        Probability of skipping the last block in training; earlier blocks are skipped
        proportionally less [Huang2016]_.
    """

    stem_channels: int = 32
    stem_kernel: int = 15
    kernel: int = 3
    channels: tuple[int, ...] = (40, 56, 72, 88)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    dropout: float = 0.3
    spatial_dropout: float = 0.1
    stochastic_depth: float = 0.1


class HalvingMean(nn.Module):
    """Mean of each two neighbouring samples; a last odd one stands for itself.

    What ``AvgPool1d(2, ceil_mode=True)`` computes, in slices, which take half its time on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, length)`` to ``(batch, channels, ceil(length / 2))``."""
        if x.shape[-1] % 2:
            x = functional.pad(x, (0, 1), mode="replicate")
        return (x[..., ::2] + x[..., 1::2]) * 0.5


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input.

    Parameters
    ----------
    n_in, n_out : int
        Channels of input and output.
    kernel, stride : int
        Kernel length and stride in samples.
    spatial_dropout, skip_probability : float
        See `Architecture`; ``skip_probability`` is this block's own share of stochastic depth.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int,
        spatial_dropout: float,
        skip_probability: float,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv1 = nn.Conv1d(n_in, n_out, kernel, stride, padding, bias=False)
        self.norm1 = nn.BatchNorm1d(n_out)
        self.dropout = nn.Dropout1d(spatial_dropout)
        self.conv2 = nn.Conv1d(n_out, n_out, kernel, 1, padding, bias=False)
        self.norm2 = nn.BatchNorm1d(n_out)
        self.skip_probability = skip_probability
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            # Averaging before the 1x1 convolution keeps every sample in play; a strided 1x1
            # convolution would look at one sample in two.
            pool = HalvingMean() if stride == 2 else nn.Identity()
            projection = nn.Conv1d(n_in, n_out, 1, bias=False)
            self.shortcut = nn.Sequential(pool, projection, nn.BatchNorm1d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, n_in, length)`` to ``(batch, n_out, ceil(length / stride))``."""
        correction = functional.relu(self.norm1(self.conv1(x)))
        correction = self.norm2(self.conv2(self.dropout(correction)))
        if self.training and self.skip_probability > 0:
            keep = 1 - self.skip_probability
            kept = torch.rand(len(x), 1, 1, device=x.device) < keep
            correction = correction * kept / keep
        return functional.relu(correction + self.shortcut(x))


class ResNet1d(nn.Module):
    """Classify an ECG of any lead set into ``n_classes`` labels, each on its own.

    Parameters
    ----------
    n_leads : int
        Number of input leads.
    n_classes : int
        Number of labels, 5 diagnostic superclasses in this study.
    architecture : Architecture
        The rest.

    Raises
    ------
    ValueError
        If ``n_leads`` or ``n_classes`` is not positive, or a kernel is even.
    """

    def __init__(
        self, n_leads: int, n_classes: int = 5, architecture: Architecture | None = None
    ) -> None:
        super().__init__()
        a = architecture or Architecture()
        if n_leads < 1 or n_classes < 1:
            raise ValueError(f"n_leads and n_classes must be positive: {n_leads}, {n_classes}")
        if a.kernel % 2 == 0 or a.stem_kernel % 2 == 0:
            raise ValueError(f"kernels must be odd: {a.kernel}, {a.stem_kernel}")
        if len(a.channels) != len(a.strides) or not set(a.strides) <= {1, 2}:
            raise ValueError(f"strides must be 1 or 2, one per block: {a.channels}, {a.strides}")
        self.n_leads, self.architecture = n_leads, a
        self.stem = nn.Sequential(
            nn.Conv1d(n_leads, a.stem_channels, a.stem_kernel, 2, a.stem_kernel // 2, bias=False),
            nn.BatchNorm1d(a.stem_channels),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )
        blocks, n_in = [], a.stem_channels
        for number, (n_out, stride) in enumerate(zip(a.channels, a.strides, strict=True), start=1):
            skip = a.stochastic_depth * number / len(a.channels)
            blocks.append(ResidualBlock(n_in, n_out, a.kernel, stride, a.spatial_dropout, skip))
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(a.dropout), nn.Linear(n_in, n_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled signals ``(batch, n_leads, n_samples)`` to logits ``(batch, n_classes)``."""
        x = self.stem(x)  # (batch, 32, n_samples / 4)
        x = self.blocks(x)  # (batch, 88, n_samples / 64)
        return self.head(x)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable numbers of ``model``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True)
class LayerView:
    """What one stage of the network sees and makes.

    Parameters
    ----------
    stage : str
        ``stem``, ``block 1``, ... ``head``.
    shape : tuple of int
        Output shape of one record: ``(channels, length)``, or ``(n_classes,)``.
    parameters : int
        Trainable numbers in the stage.
    receptive_field : int
        Input samples that one output sample can depend on, along the deepest path.
    step : int
        Input samples between neighbouring outputs.
    """

    stage: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: int
    step: int


def describe(model: ResNet1d, n_samples: int) -> list[LayerView]:
    """List the stages of ``model`` with shapes, parameter counts and receptive fields.

    Parameters
    ----------
    model : ResNet1d
        The network.
    n_samples : int
        Length of the input in samples.

    Returns
    -------
    list of LayerView
        Stem, blocks, head. Shapes are measured by a forward pass; receptive fields follow
        from ``r += (kernel - 1) * step; step *= stride`` along the convolutions.
    """
    a = model.architecture
    views: list[LayerView] = []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        x = model.stem(torch.zeros(1, model.n_leads, n_samples))
        field = 1 + (a.stem_kernel - 1) + 2  # the stem's pool looks at two strided outputs
        step = 4
        views.append(
            LayerView("stem", tuple(x.shape[1:]), count_parameters(model.stem), field, step)
        )
        for number, (block, stride) in enumerate(
            zip(model.blocks, a.strides, strict=True), start=1
        ):
            x = block(x)
            field += (a.kernel - 1) * step
            step *= stride
            field += (a.kernel - 1) * step
            stage = f"block {number}"
            views.append(LayerView(stage, tuple(x.shape[1:]), count_parameters(block), field, step))
        x = model.head(x)
        views.append(
            LayerView(
                "head", tuple(x.shape[1:]), count_parameters(model.head), n_samples, n_samples
            )
        )
    model.train(was_training)
    return views
