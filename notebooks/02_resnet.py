# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The network
#
# Every lead configuration gets the same small network; only its first layer knows how many leads
# there are. If two configurations differ in their results, the number of weights is not the reason.
# This chapter shows the network in its own source, sends an ECG through it before it is trained, and
# counts what it costs.
#
# ```{admonition} Audience and objectives
# For readers who know what a convolution is and want to know what exactly was trained. After this
# page you can
#
# * draw the network from its source, stage by stage, with the shape after each;
# * say how many numbers it learns for each lead configuration;
# * say how many seconds of ECG one of its features can depend on;
# * run a real ECG through it.
# ```

# %%
import inspect

import numpy as np
import pandas as pd
import torch
from IPython.display import Code

from leadmin.labels import CLASSES
from leadmin.leads import configurations, lead_indices
from leadmin.net.model import Architecture, ResidualBlock, ResNet1d, count_parameters, describe
from leadmin.net.predict import predict_logits
from leadmin.net.scaling import fit_scaling
from leadmin.show.style import use_style
from leadmin.show.words import facts, headed
from leadmin.study.settings import check_injected
from leadmin.study.sources import open_dataset

# %% tags=["parameters"]
data: str = ""  # prepared HDF5 file, or archive or folder of PTB-XL; empty: the embedded sample

# %%
check_injected(In)
use_style()
dataset = open_dataset(data)

# %% [markdown]
# ## Why this shape
#
# A diagnosis hides in short shapes (a wide QRS complex, a raised ST segment), in how they repeat, and
# in how they differ between leads. So the network
#
# 1. looks at short pieces of all its leads at once: **convolutions along time**;
# 2. shortens time step by step, so that later layers see more than one heartbeat: **strides**;
# 3. adds small corrections instead of replacing what it has: **residual blocks**
#    {cite}`he2016resnet`, which train well at this depth;
# 4. averages over time at the end: **global pooling**, because a diagnosis does not depend on when
#    the recording began.
#
# It is small on purpose, between 80,000 and 120,000 numbers: a wearable can run it, a laptop can
# train it, and a study of many lead sets can afford it several times.
#
# ## One residual block
#
# The source is the package's own.

# %%
Code(inspect.getsource(ResidualBlock.forward), language="python")

# %% [markdown]
# The two convolutions compute a correction; the shortcut passes the input on. Two things happen only
# in training. **Spatial dropout** {cite}`tompson2015spatial` silences whole channels, since
# neighbouring samples of one channel would otherwise give away what was dropped. **Stochastic depth**
# {cite}`huang2016stochastic` skips the correction of some records altogether.
#
# ## The whole network

# %%
Code(
    inspect.getsource(ResNet1d.__init__) + "\n" + inspect.getsource(ResNet1d.forward),
    language="python",
)

# %% [markdown]
# ## Shapes and receptive fields
#
# For one record of 12 leads and ten seconds, stage by stage. The *receptive field* is the stretch of
# ECG that one feature can depend on; the *step* is the time between neighbouring features. (In the
# source a signal is an image one row high, `(batch, channels, 1, length)`: in that layout the
# processor's library for convolutions is fastest. The row is left out below.)

# %%
model = ResNet1d(12)
stages = pd.DataFrame(describe(model, dataset.signals.shape[-1]))
stages["shape"] = [" x ".join(map(str, shape)) for shape in stages["shape"]]
stages[["receptive_field", "step"]] /= dataset.sampling_rate
stages.columns = ["stage", "output shape", "parameters", "receptive field", "step"]
formats = {"parameters": "{:,}", "receptive field": "{:.2f} s", "step": "{:.2f} s"}
headed("The stages of the network", stages.style.format(formats).hide(axis="index"))

# %%
field = float(stages["receptive field"].iloc[-2])
facts(receptive_field=field, beats=field * 70 / 60)
facts(n_1=count_parameters(ResNet1d(1)), n_12=count_parameters(model))

# %% [markdown]
# A feature in front of the pooling sees {eval}`f"{facts.receptive_field:.1f}"` seconds, which is
# {eval}`f"{facts.beats:.1f}"` heartbeats at 70 beats a minute: a beat and its neighbours, not a
# rhythm over ten seconds. What the rhythm has to say must come through the average.
#
# Measured rather than derived: the gradient of one central feature with respect to the input is zero
# outside the receptive field.

# %%
model.eval()
probe = torch.randn(1, 12, dataset.signals.shape[-1], requires_grad=True)
features = model.blocks(model.stem(probe))
features[0, :, 0, features.shape[-1] // 2].sum().backward()
touched = np.flatnonzero(probe.grad[0].abs().sum(0).numpy())
facts(measured_field=float(touched[-1] - touched[0] + 1) / dataset.sampling_rate)

# %% [markdown]
# The gradient reaches over {eval}`f"{facts.measured_field:.2f}"` seconds.
#
# ## What it costs, for each lead configuration
#
# Only the stem grows with the number of leads, so the parameter count hardly moves: a better result
# with more leads is not the result of a larger network.

# %%
sizes = pd.DataFrame(
    {
        "configuration": name,
        "leads": len(configuration.leads),
        "parameters": count_parameters(ResNet1d(len(configuration.leads))),
    }
    for name, configuration in configurations().items()
)
table = sizes.style.format({"parameters": "{:,}"}).hide(axis="index")
headed("Parameters of the network for each configuration", table)

# %% [markdown]
# From {eval}`f"{facts.n_1:,}"` parameters for one lead to {eval}`f"{facts.n_12:,}"` for twelve.
#
# ## A forward pass
#
# One real record through an untrained network: microvolts are scaled, the shape changes as announced,
# and five logits come out. Untrained, they mean nothing; the sigmoid of a logit near 0 is near one
# half.

# %%
torch.manual_seed(0)
small = ResNet1d(3)
microvolts = dataset.signals[:1, list(lead_indices(("I", "II", "V2")))]
scaling = fit_scaling("factor", microvolts)
x = scaling(torch.from_numpy(microvolts))
print("input ", tuple(x.shape), f"standard deviation {x.std():.2f}")

# %%
logits = predict_logits(small, scaling, torch.from_numpy(microvolts))
print("output", tuple(logits.shape))
for name, probability in zip(CLASSES, torch.sigmoid(logits)[0].tolist(), strict=True):
    print(f"{name:5} {probability:.2f}")

# %% [markdown]
# The five outputs are judged one by one (a sigmoid each, not a softmax over all), because a heart can
# have an infarction and a conduction disturbance at once.
#
# ## The recipe's options
#
# Everything that can be changed about the network is in one place:

# %%
Code(inspect.getsource(Architecture), language="python")

# %% [markdown]
# ```{admonition} Summary
# * One network for all lead configurations; only the stem's first convolution differs.
# * It stays between 80,000 and 120,000 parameters at every lead count.
# * A feature sees a few heartbeats; the rest is averaging.
# * Five independent sigmoid outputs, since diagnoses do not exclude each other.
# ```
