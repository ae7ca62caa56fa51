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

# %% tags=["remove-input"]
from pathlib import Path

from IPython.display import Markdown

from leadmin.files import write_text
from leadmin.questions.ablation import (
    BASE,
    ablation_reading,
    ablation_table,
    load_variants,
    long_differences,
)
from leadmin.questions.recipes import plot_recipe_comparison
from leadmin.show.style import save_for_print, use_style
from leadmin.show.words import reading_table, rendered
from leadmin.study.baselines import BASELINES
from leadmin.study.settings import check_injected
from leadmin.study.sources import located

# %% tags=["parameters"]
runs: str = "outputs/ablation/runs"  # folder with the finished variants of the study
tables_out: str = ""  # folder that the table is written to; empty: beside the runs
figures_out: str = ""  # folder that the figure is written to; empty: beside the runs
n_resamples: int = 2000  # bootstrap resamples

# %% tags=["hide-input"]
check_injected(In)
use_style()
folder = located(runs)
finished = load_variants(folder)
table = ablation_table(finished, n_resamples=n_resamples)
write_text(Path(tables_out or folder.parent) / "ablation.csv", table.to_csv(index=False))
first = next(iter(finished.values()))
data, settings = first.metrics["provenance"]["data"], first.metrics["settings"]
row = table.iloc[0]
Markdown(
    f"**What this page stands on.** {data['source']} {data['source_version']}, "
    f"{data['n_records']:,} records; configuration {first.config}, protocol "
    f"{settings['protocol']}; {row['n_records']:,} test records of {row['n_patients']:,} patients; "
    f"seeds of each network: {table['n_seeds'].max()}; {n_resamples:,} resamples of patients."
)

# %% [markdown]
# ## One change at a time
#
# Each row is a recipe that differs from its origin in one respect, or a baseline. Differences are to
# the recipe `scratch`, paired on the same patients.

# %% tags=["remove-input"]
columns = {"description": "what", "auroc": "macro AUROC", "auroc_difference": "difference"}
reading_table(table, columns | {"auroc_HYP": "AUROC of HYP"})

# %% [markdown]
# And whether the probabilities can be believed. A calibration slope of 1 is ideal; below 1 the network
# claims too much, above 1 too little.

# %% tags=["remove-input"]
columns = {"description": "what", "brier": "Brier score", "brier_difference": "difference"}
reading_table(table, columns | {"slope": "slope", "smooth_ece": "smooth ECE"})

# %% [markdown]
# What is to the left of the line was worse than `scratch`. Filled points have an interval clear of
# zero.

# %% tags=["hide-input"]
measures = ("auroc", "auroc_HYP", "brier")
long = long_differences(table[table["variant"] != BASE], measures)
figure = plot_recipe_comparison(long, measures)
save_for_print(figure, Path(figures_out or folder.parent / "figures"), "ablation")
figure

# %% tags=["remove-input"]
rendered(ablation_reading(table, BASE))

# %% [markdown]
# ## Against simpler methods
#
# Boosted trees and logistic regression know what to look for: they see the rhythm, and for each lead
# amplitudes, spectrum and the median beat. The network has to find such things in a few thousand
# records. Differences are to `default`.

# %% tags=["remove-input"]
baselines = [name for name in finished if name in BASELINES]
if "default" in finished and baselines:
    rivals = {name: finished[name] for name in ("default", *baselines)}
    against = ablation_table(rivals, "default", n_resamples=n_resamples)
    write_text(Path(tables_out or folder.parent) / "baselines.csv", against.to_csv(index=False))
    columns = {"description": "what", "auroc": "macro AUROC", "auroc_difference": "difference"}
    display(reading_table(against, columns | {"brier": "Brier score"}))
    display(rendered(ablation_reading(against, "default")))

# %% [markdown]
# ## How it was done
#
# `leadmin run --all --study workflow/studies/ablation.yml` makes everything on this page and may be
# stopped and called again. Boosted trees and logistic regression see the same features and the same folds.
# Settings of the trees were fixed beforehand, the strength of the logistic regression was chosen on
# validation folds. The test folds took no part in any choice; the ablation was run after `default` had
# been chosen.
