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
# # Other hospitals, noise, a lost electrode
#
# Everything so far comes from one archive, recorded at rest with all electrodes in place. Here the
# networks meet what they were not made for: records and opinions of other hospitals, noise, and
# electrodes that fall off. None of it was used to train or to choose anything.
#
# ```{admonition} Audience and objectives
# For those who mean to use few electrodes outside PTB-XL. After this page you can
#
# * say whether the order of electrode sets is the same at other hospitals, and how surely;
# * tell why probabilities have to be fitted again where they are used;
# * name what noise and a lost electrode cost, and what it helps to know of the loss.
# ```

# %% tags=["hide-input"]
from pathlib import Path

from leadmin.evidence.trials import gather_hospitals, gather_own
from leadmin.publish.page import Answers
from leadmin.questions.elsewhere import statement_table
from leadmin.show.style import use_style
from leadmin.show.words import facts, folded, reading_table
from leadmin.study.run import load_run
from leadmin.study.settings import check_injected
from leadmin.study.sources import located, to_read

# %% tags=["parameters"]
trials: str = "book/published/elsewhere/runs"  # folder with the trials hospitals, noise, fallen
mapped: str = "book/published/subset/map"  # the map of the networks on trial
tables_out: str = ""  # folder for the tables; empty: beside the trials
figures_out: str = ""  # folder for the figures; empty: beside the trials
n_resamples: int = 1000  # bootstrap resamples
workers: int = 1  # processes that score side by side

# %% [markdown]
# What the networks said was kept when they were tried (`workflow/measure_elsewhere.py`); all below is
# computed from that.

# %% tags=["hide-input"]
check_injected(In)
use_style()
folder, beside, _ = to_read(trials, "", "")
home = load_run(located(mapped))
figures = Path(figures_out or beside / "figures")
abroad = load_run(folder / "hospitals")
hospitals = Answers(gather_hospitals(abroad, n_resamples, workers), figures, about="elsewhere")

# %% tags=["hide-input"]
facts(
    n_abroad=hospitals.evidence.n_records,
    n_networks=abroad.metrics["n_networks"],
    n_statements=len(statement_table()),
    most_alike=abroad.metrics["most_alike"],
)

# %% [markdown]
# ## Other hospitals
#
# Three public sets with twelve leads: CPSC2018 from China, Georgia from the United States, LUDB
# from Russia. Each states its diagnoses in its own words. A table of {eval}`facts.n_statements`
# statements says what each means for the five superclasses, and why; a record counts only if all
# its statements are in that table and none of them is open to doubt. A class counts at a hospital
# that has 20 records with it and 20 without: one that a hospital never states is not taken for
# absent. Nobody states *normal* for LUDB and Georgia, and sinus rhythm alone is not taken for it.
#
# {eval}`facts.n_abroad` records remain, each of them a patient, as far as one can know. None is a
# record of PTB-XL: the largest correlation of any with any of PTB-XL's is
# {eval}`f"{facts.most_alike:.2f}"`. The signals are resampled to 100 Hz, and the logits of
# {eval}`facts.n_networks` networks are averaged.

# %% tags=["hide-input"]
hospitals.show("transport")

# %% tags=["hide-input"]
columns = {name: name for name in statement_table().columns}
folded("What each statement means", reading_table(statement_table(), columns))

# %% [markdown]
# The labels are other people's opinions by other rules, so that a lower AUROC is not the network's
# fault alone. What matters here is whether the sets keep their order.
#
# ## The order of electrode sets
#
# Each of the 67 electrode sets has a mean AUROC at home and one elsewhere, over the same classes. The
# rank correlation is 1 if the order is the same. With few records the order elsewhere is blurred by
# chance, which lowers the correlation: read it with its interval.

# %% tags=["hide-input"]
hospitals.show("order")

# %% [markdown]
# Bundle branch blocks are common in these records, and infarction could not be scored: no hospital has
# 20 records with it. So V1 is worth more than at home. It is what V2 and V5 lack: with V1 beside them
# their loss in conduction disturbance is gone, as the table of the main sets above says.
#
# ## Probabilities do not travel
#
# A probability carries the prevalence and the habits of the place that it was learned in. The offset
# says how far the logits are off on the whole, and the slope whether their spread is right. Below,
# folded away: what a few dozen local records mend, over 200 random choices of them.

# %% tags=["hide-input"]
hospitals.show("trust")

# %% [markdown]
# ## Noise
#
# The noise is that of the MIT-BIH Noise Stress Test Database, recorded on moving people: electrode
# motion, muscle, and baseline wander. Each of the eight independent leads gets a segment of its own,
# and the other limb leads follow. The ratio is that of the mean power of these leads in a record.
# Every network reads records of its own test fold, a random part that is the same for all conditions,
# at the thresholds of records without noise. The networks were not trained with such noise. A set is
# called by its chest electrodes; RA, LA and LL belong to it.

# %% tags=["hide-input"]
noise = Answers(
    gather_own(load_run(folder / "noise"), home, n_resamples, workers), figures, about="noise"
)
noise.show("noise")

# %% [markdown]
# ## Training with noise
#
# The same recipe, with three copies of each training record beside it, to which noise of a random kind
# was added at a random ratio between 24 and −6 dB. Their noise comes from the first half of each
# recording and that of this trial from the second, so that no network has met it. Intervals are for
# patients and training together.

# %% tags=["hide-input"]
noise.show("taught")

# %% [markdown]
# ## An electrode falls off
#
# Without one of RA, LA, LL only one limb lead remains, since Wilson's terminal is gone as well. A
# network for any leads can be *told*: it is shown what remains. Not told, it gets flat leads, as a
# monitor shows them, or what the loose electrode picks up: electrode motion of four times the ECG's
# power, which moves every lead that needs that electrode. A network of twelve leads, ten of which were
# trained beside these, can be told nothing. Swapped arm electrodes turn lead I over, and nobody is told.
# Beside what is missed stands what is falsely called: a network that calls everybody misses no one.

# %% tags=["hide-input"]
fallen = Answers(
    gather_own(load_run(folder / "fallen"), home, n_resamples, workers), figures, about="fallen"
)
fallen.show("fallen")

# %% [markdown]
# Leads that fall flat without a word are the worst: the network has never seen such a thing, and calls
# nearly everybody. Told of the loss it keeps its false alarms, and misses what the remaining leads do
# not show. A loose limb electrode that still picks something up leaves the chest leads two thirds
# right. The network that is told of it throws them away with the rest, so that by AUROC it gains little.

# %% [markdown]
# ## What an answer costs
#
# Counted in the networks as they run, a multiply-add being two operations; milliseconds are processor
# time of one core. For larger networks the figures are their authors'.

# %% tags=["hide-input"]
hospitals.show("efficiency")

# %% tags=["hide-input"]
hospitals.show_rest()

# %% [markdown]
# Everything on this page as files:

# %% tags=["hide-cell"]
for answers in (hospitals, noise, fallen):
    print(*(path.name for path in answers.write(Path(tables_out or beside / "tables"))), sep=", ")

# %% [markdown]
# ```{admonition} Summary
# * Elsewhere electrode sets come in much the same order, but not in the same: V2 and V5 are not the best
#   pair there, since V1 tells more of the conduction disturbances that these hospitals state.
# * Diagnoses by other rules (LUDB's hypertrophy, ST/T change) are found less well with any electrodes.
# * Probabilities have to be fitted again on records of the place where they are used.
# * With more electrodes a set bears more noise.
# * A network that is told of a lost electrode keeps its false alarms; one that is not told calls nearly
#   everybody if leads fall flat. Flat leads should be found and named before a network reads them.
# ```
