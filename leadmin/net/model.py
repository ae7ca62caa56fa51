r"""The network: a small one-dimensional residual network for any set of leads.

An ECG is a few signals sampled in time, so the convolutions run along time and mix the leads.
The body is a residual network [He2016]_ in its one-dimensional form: each block learns a
correction :math:`F(x)` to its input,

.. math:: y = \mathrm{ReLU}\bigl(F(x) + S(x)\bigr),

where :math:`S` is the identity, or a pooled 1x1 convolution where length or width change.
Only the stem depends on the number of leads, so the parameter count moves by 480 per lead:
from about 99 thousand for one lead to 105 thousand for twelve. Widths are multiples of 16, which
is what a processor's vector instructions take at a time.

A network for any leads has a place for each of the twelve and is told which of them are shown.
Hidden places are zeros, and the shown ones are multiplied by :math:`\sqrt{12 / n}`, so that the
stem's sums keep their size whatever their number :math:`n`. A zero alone would be ambiguous: the
lead may be hidden, or flat. So each set of shown leads also moves gain and offset of the stem's
channels, by one linear layer that starts at zero.

Inside, a batch is laid out as ``(batch, channels, 1, length)`` with the channels of one moment
beside each other in memory (``torch.channels_last``). The numbers are those of `nn.Conv1d` on
``(batch, channels, length)``; a training step takes about two thirds of the time on a processor,
since no layer has to rearrange its input first.

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
    """What the network looks like, apart from its number of leads."""

    stem_channels: int = 32
    stem_kernel: int = 15  # samples, odd, as is `kernel` of the blocks
    kernel: int = 3
    channels: tuple[int, ...] = (32, 48, 64, 96)  # of each block
    strides: tuple[int, ...] = (2, 2, 2, 2)
    dropout: float = 0.3  # in front of the classifier
    spatial_dropout: float = 0.1  # of whole channels inside a block [Tompson2015]_
    stochastic_depth: float = 0.1  # of the last block, earlier ones less [Huang2016]_
    any_leads: bool = False  # whether the network is told which leads are shown


class TimeConvolution(nn.Conv1d):
    """A convolution along time, without bias, for the layout that this network computes in.

    `nn.Conv1d` with the same weights gives the same numbers from ``(batch, channels, length)``.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, n_in, 1, length)`` to ``(batch, n_out, 1, ceil(length / stride))``."""
        padding = self.kernel_size[0] // 2
        return functional.conv2d(
            x, self.weight[:, :, None], None, (1, self.stride[0]), (0, padding)
        )


class Stem(nn.Module):
    """The first convolution and a maximum over each two samples; lays the signals out anew."""

    def __init__(self, n_leads: int, n_out: int, kernel: int, any_leads: bool) -> None:
        super().__init__()
        self.conv = TimeConvolution(n_leads, n_out, kernel, stride=2)
        self.norm = nn.BatchNorm2d(n_out)
        self.told = nn.Linear(n_leads, 2 * n_out) if any_leads else None
        if self.told is not None:
            nn.init.zeros_(self.told.weight)
            nn.init.zeros_(self.told.bias)

    def told_affine(self, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset of the channels, each ``(batch, n_out)``, for leads shown as ones."""
        assert self.told is not None
        gain, offset = self.told(shown).chunk(2, dim=-1)
        return 1 + gain, offset

    def forward(self, x: Tensor, shown: Tensor | None = None) -> Tensor:
        """Map ``(batch, n_leads, n_samples)`` to ``(batch, n_out, 1, n_samples / 4)``."""
        if self.told is not None and shown is None:
            shown = x.new_ones(x.shape[:2])
        if shown is not None:
            factor = shown_factor(shown) if self.told is not None else 1
            x = x * (shown * factor)[..., None]
        # `contiguous` would not do: with one row or one lead it takes any layout for this one.
        rows = x.transpose(1, 2).contiguous()  # (batch, n_samples, n_leads), leads innermost
        x = self.norm(self.conv(rows.transpose(1, 2)[:, :, None]))
        if self.told is not None and shown is not None:
            gain, offset = (a.to(x.dtype)[..., None, None] for a in self.told_affine(shown))
            x = torch.addcmul(offset, x, gain)
        # The maximum first: ReLU after it gives the same and has half as much to do.
        return functional.relu(functional.max_pool2d(x, (1, 2)), inplace=True)


def shown_factor(shown: Tensor) -> Tensor:
    """By how much shown leads are magnified, so that the stem's sums keep their size."""
    return (shown.shape[-1] / shown.sum(-1, keepdim=True)).sqrt()


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input.

    ``skip_probability`` is this block's own share of stochastic depth.
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
        self.conv1 = TimeConvolution(n_in, n_out, kernel, stride)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.dropout = nn.Dropout2d(spatial_dropout)
        self.conv2 = TimeConvolution(n_out, n_out, kernel)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.skip_probability = skip_probability
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            # Averaging before the 1x1 convolution keeps every sample in play; a strided 1x1
            # convolution would look at one sample in two.
            pool = nn.AvgPool2d((1, stride), ceil_mode=True) if stride > 1 else nn.Identity()
            projection = TimeConvolution(n_in, n_out, 1)
            self.shortcut = nn.Sequential(pool, projection, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, n_in, 1, length)`` to ``(batch, n_out, 1, ceil(length / stride))``."""
        correction = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        correction = self.norm2(self.conv2(self.dropout(correction)))
        shortcut = self.shortcut(x)
        if self.training and self.skip_probability > 0:
            keep = 1 - self.skip_probability
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) < keep
            # One pass over memory: shortcut + correction * kept / keep.
            total = torch.addcmul(shortcut, correction, kept.to(x.dtype), value=1 / keep)
        else:
            total = shortcut + correction
        return functional.relu(total, inplace=True)


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
        self.stem = Stem(n_leads, a.stem_channels, a.stem_kernel, a.any_leads)
        blocks, n_in = [], a.stem_channels
        for number, (n_out, stride) in enumerate(zip(a.channels, a.strides, strict=True), start=1):
            skip = a.stochastic_depth * number / len(a.channels)
            blocks.append(ResidualBlock(n_in, n_out, a.kernel, stride, a.spatial_dropout, skip))
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(a.dropout), nn.Linear(n_in, n_classes)
        )

    def forward(self, x: Tensor, shown: Tensor | None = None) -> Tensor:
        """Map scaled signals ``(batch, n_leads, n_samples)`` to logits ``(batch, n_classes)``.

        ``shown`` ``(batch, n_leads)`` has ones where a lead is shown and zeros where it is hidden;
        all are shown by default.
        """
        x = self.stem(x, shown)  # (batch, 32, 1, n_samples / 4)
        x = self.blocks(x)  # (batch, 96, 1, n_samples / 64)
        return self.head(x)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable numbers of ``model``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True)
class LayerView:
    """What one stage of the network sees and makes."""

    stage: str  # `stem`, `block 1`, ... `head`
    shape: tuple[int, ...]  # of one record: (channels, length), or (n_classes,)
    parameters: int
    receptive_field: int  # input samples that one output sample can depend on
    step: int  # input samples between neighbouring outputs


def describe(model: ResNet1d, n_samples: int) -> list[LayerView]:
    """List the stages of ``model`` for an input of ``n_samples``.

    Shapes are measured by a forward pass; receptive fields follow from ``r += (kernel - 1) * step;
    step *= stride`` along the convolutions of the deepest path.
    """
    a = model.architecture
    # Each with its layers as (kernel, stride); the stem's pool looks at two neighbours.
    stages: dict[str, tuple[nn.Module, list[tuple[int, int]]]] = {
        "stem": (model.stem, [(a.stem_kernel, 2), (2, 2)])
    }
    for number, (block, stride) in enumerate(zip(model.blocks, a.strides, strict=True), start=1):
        stages[f"block {number}"] = block, [(a.kernel, stride), (a.kernel, 1)]
    views, field, step = [], 1, 1
    was_training = model.training
    model.eval()
    with torch.no_grad():
        x = torch.zeros(1, model.n_leads, n_samples)
        for stage, (module, layers) in stages.items():
            x = module(x)
            for kernel, stride in layers:
                field += (kernel - 1) * step
                step *= stride
            shape = (x.shape[1], x.shape[3])
            views.append(LayerView(stage, shape, count_parameters(module), field, step))
        shape = tuple(model.head(x).shape[1:])
    model.train(was_training)
    n_parameters = count_parameters(model.head)
    return [*views, LayerView("head", shape, n_parameters, n_samples, n_samples)]
