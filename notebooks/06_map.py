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
# # How few electrodes?
#
# Nobody buys leads: one places electrodes, and the leads follow. Two of RA, LA, LL (right arm, left
# arm, left leg) give one limb lead. All three give six, and only then does a chest electrode give its V
# lead, since that is measured against the mean of the three. So all the sets of electrodes that one can
# choose are **67**: three pairs, and RA, LA, LL with any of 64 choices of chest electrodes. Here one
# network reads them all. RL is the neutral electrode and is not counted.
#
# ```{admonition} Audience and objectives
# For those who decide where electrodes go, and for those who want to check them. After this page you can
#
# * name the fewest electrodes that were shown to lose less than 0.01 macro AUROC, and what they miss;
# * say which chest electrode to place first, for which diagnosis;
# * tell what was chosen on validation folds from what only looks best on the test records.
# ```

# %%
from pathlib import Path

from leadmin.evidence.nested import gather_map
from leadmin.publish.page import Answers, described
from leadmin.show.style import use_style
from leadmin.show.words import facts
from leadmin.study.mapping import lead_sets, map_run
from leadmin.study.run import load_run, load_runs
from leadmin.study.settings import check_injected
from leadmin.study.sources import located, open_dataset, to_read

# %% tags=["parameters"]
map_of: str = ""  # run of the any-lead network; empty: a map that is there is read again
runs: str = ""  # folder with runs of networks trained for some sets, to compare with; empty: none
configs: str = ""  # which of them, separated by semicolons; empty: all that are finished
data: str = ""  # the records that it was trained on; empty: the embedded sample
map_out: str = ""  # folder of the map; empty: the sample's, or the one that is published
tables_out: str = ""  # folder for the tables; empty: beside the map
figures_out: str = ""  # folder for the figures; empty: beside the map
title: str = "Embedded sample of PTB-XL"  # what the study is called
sets: str = "electrodes"  # electrodes (67 sets) or spaces (all 511 that leads can span)
n_resamples: int = 2000  # bootstrap resamples
workers: int = 2  # processes that score side by side

# %% [markdown]
# The network is shown the leads of one set after the other; nothing is trained. What it says is kept in
# the folder of the map, from which everything below can be computed again without the records. Where only
# pages are published, for their size, that folder is not.

# %%
check_injected(In)
use_style()
own = map_out or (map_of and "outputs/sample/map")
folder, beside, published = to_read(own, "sample/map", "subset/map")
if map_of:
    network = load_run(located(map_of))
    mapped = map_run(network, open_dataset(data), folder, lead_sets(sets), workers)
else:
    mapped = load_run(folder)
named = [name for name in configs.split(";") if name]
trained = load_runs(located(runs), named) if runs else {}
evidence = gather_map(mapped, n_resamples, trained, workers)
figures = Path(figures_out or beside / "figures")
words = described(evidence, "map", published.get("title", title))
answers = Answers(evidence, figures, words, about="map")

# %% tags=["hide-input"]
answers.basis()
facts(n_sets=len(mapped.recipes), n_parameters=mapped.metrics["n_parameters"])

# %% [markdown]
# One network of {eval}`f"{facts.n_parameters:,}"` parameters for each seed and fold reads all
# {eval}`facts.n_sets` sets.
#
# ## The fewest electrodes
#
# For each number of electrodes one set is chosen on validation records, fold by fold, and scored on the
# test records; the table names the set that was chosen most often. Below a diagnosis stands how many of
# 1,000 records have it and are not called, of how many that have it. The rule was written down before the
# networks were trained: the fewest electrodes whose whole interval, for patients and training together,
# lies above −0.01.

# %%
answers.show("electrodes")

# %% [markdown]
# ## What each set misses
#
# Missed is what lies below the threshold that leaves 90% of the validation records without the diagnosis
# uncalled. Sets are listed by number of electrodes, the best macro AUROC first. A set that leads a table of many is partly lucky; the
# curve above is free of that.

# %%
answers.show("map")

# %% [markdown]
# ## Is acting on fewer electrodes worth as much?
#
# A missed patient and a false call do not weigh the same. Net benefit puts both on one scale, at the rate
# of exchange that the threshold implies.

# %%
answers.show("benefit")

# %% [markdown]
# ## What each chest electrode is worth
#
# The six electrodes share what they gain. The fair share (Shapley's) is the mean gain from adding an
# electrode, over all orders in which the six can be placed.

# %%
answers.show("worth")

# %% [markdown]
# ## Which one next
#
# What one more electrode adds to the set that was chosen so far.

# %%
answers.show("next")

# %% [markdown]
# ## Does the map foretell what networks trained for one set reach?
#
# The map is one network shown less and less. A network that is trained for one set alone could read it
# better, and another set could then be the best.

# %%
answers.show("foretold")

# %% [markdown]
# ## If leads cost and electrodes do not
#
# Whoever pays for channels can leave out leads that the electrodes give. A map of all signal spaces tells
# what that costs; counted are leads that do not follow from others.

# %%
answers.show("spaces")

# %% [markdown]
# ## What this does not say
#
# The records are resting 12-lead ECGs: leads of an electrode that a device places elsewhere, or of a
# moving patient, are other signals.

# %% tags=["hide-input"]
answers.show_rest()

# %% [markdown]
# Everything on this page as files:

# %%
written = answers.write(Path(tables_out or beside / "tables"))
print(*sorted(path.name for path in [*written, *figures.glob("*.pdf")]), sep=", ")

# %% [markdown]
# ```{admonition} Summary
# * The answer is the fewest electrodes whose chosen sets were *shown* to lose less than 0.01 macro AUROC.
# * Sets were chosen on validation records; whatever leads a table of many sets is partly lucky.
# * One network reads all sets. The intervals count training as far as there are several seeds.
# ```
