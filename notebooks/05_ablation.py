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
# # What each part of the recipe is worth
#
# Two recipes that differ in many things do not tell which of them matters. Here one thing at a time
# is changed, everything else is kept, and methods that need no deep network stand beside.
#
# The recipe `default` trains in two steps: one network that reads any lead set, then, from its
# weights, one for each set. Its second step from random weights, with twice the epochs, is the recipe
# `scratch`. The parts of training are taken away from `scratch`, whose fits are cheap.
#
# ```{admonition} Audience and objectives
# For those who want to change the recipe, and for those who doubt that a network is needed. After
# this page you can
#
# * say what keeping the voltage does, for hypertrophy above all;
# * tell which habits of training help and which only look busy;
# * judge the network against logistic regression and boosted trees on the same records.
# ```

# %% tags=["hide-input"]
from pathlib import Path

from leadmin.publish.page import Answers
from leadmin.questions.ablation import gather_variants, load_variants
from leadmin.show.style import use_style
from leadmin.show.words import facts
from leadmin.study.settings import check_injected
from leadmin.study.sources import to_read

# %% tags=["parameters"]
runs: str = ""  # folder with the finished variants; empty: yours, or those that are published
tables_out: str = ""  # folder that the table is written to; empty: beside the runs
figures_out: str = ""  # folder that the figure is written to; empty: beside the runs
n_resamples: int = 2000  # bootstrap resamples

# %% [markdown]
# Everything that was trained for one configuration is scored under the same resamples of patients.

# %% tags=["hide-input"]
check_injected(In)
use_style()
folder, beside, _ = to_read(runs, "ablation/runs", "ablation/runs")
finished = load_variants(folder)
evidence = gather_variants(finished, n_resamples)
figures = Path(figures_out or beside / "figures")
answers = Answers(evidence, figures, about="ablation")
written = answers.write(Path(tables_out or beside))

# %% tags=["hide-input"]
first = next(iter(finished.values()))
data = first.metrics["provenance"]["data"]
facts(
    source=data["source"],
    source_version=data["source_version"],
    n_total=data["n_records"],
    config=first.config,
    protocol=first.metrics["settings"]["protocol"],
    n_test=evidence.n_records,
    n_test_patients=evidence.n_patients,
    n_seeds=max(scored.n_seeds for scored in evidence.scored.values()),
    n_resamples=n_resamples,
)

# %% [markdown]
# **What this page stands on.** {eval}`facts.source` {eval}`facts.source_version`,
# {eval}`f"{facts.n_total:,}"` records; configuration {eval}`facts.config`, protocol
# {eval}`facts.protocol`; {eval}`f"{facts.n_test:,}"` test records of
# {eval}`f"{facts.n_test_patients:,}"` patients; seeds of each network: {eval}`facts.n_seeds`;
# {eval}`f"{facts.n_resamples:,}"` resamples of patients.
#
# ## One change at a time
#
# Each row is a recipe that differs from its origin in one respect, or a baseline. Differences are to
# the recipe `scratch`, paired on the same patients. What is to the left of the line was worse than
# `scratch`; filled points have an interval clear of zero.

# %% tags=["hide-input"]
answers.show("parts")

# %% [markdown]
# And whether the probabilities can be believed. A calibration slope of 1 is ideal; below 1 the network
# claims too much, above 1 too little.

# %% tags=["hide-input"]
answers.show("believed")

# %% [markdown]
# ## Against simpler methods
#
# Boosted trees and logistic regression know what to look for: they see the rhythm, and for each lead
# amplitudes, spectrum and the median beat. The network has to find such things in a few thousand
# records. Differences are to `default`.

# %% tags=["hide-input"]
answers.show("simpler")

# %% tags=["hide-input"]
answers.show_rest()

# %% [markdown]
# ## How it was done
#
# `leadmin run --all --study workflow/studies/ablation.yml` makes everything on this page and may be
# stopped and called again. Boosted trees and logistic regression see the same features and the same folds.
# Settings of the trees were fixed beforehand, the strength of the logistic regression was chosen on
# validation folds. The test folds took no part in any choice; the ablation was run after `default` had
# been chosen.
