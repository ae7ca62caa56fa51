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
# # How few leads?
#
# The runs are finished; this chapter brings them together. First the answer, then the evidence for
# it, then how it was computed.
#
# ```{admonition} Audience and objectives
# For everybody who wants to use the result, and for the reviewer who doubts it. After this page you
# can
#
# * say which lead sets were shown to be as good as twelve leads, and which could not be;
# * tell a small difference from one that these data cannot see;
# * say which of the original study's four key findings stand;
# * find every number of this page in a file.
# ```

# %%
from pathlib import Path

from leadmin.evidence.scores import gather
from leadmin.publish.page import Answers, described
from leadmin.questions.subgroups import know_records
from leadmin.show.style import use_style
from leadmin.show.words import facts  # noqa: F401, the prose asks for it
from leadmin.study.run import load_runs
from leadmin.study.settings import check_injected
from leadmin.study.sources import to_read

# %% tags=["parameters"]
runs: str = ""  # folder with the runs of one study; empty: the sample's, or the published ones
data: str = ""  # prepared file that the runs were made from; empty: what an analysis kept of it
tables_out: str = ""  # folder that the tables are written to; empty: beside the runs
figures_out: str = ""  # folder that the figures are written to; empty: beside the runs
title: str = "Embedded sample of PTB-XL"  # what the study is called
study: str = "sample"  # the study's short name
configs: str = ""  # configurations separated by semicolons; empty: all that are finished
n_resamples: int = 2000  # bootstrap resamples

# %% [markdown]
# All runs are scored under the same resamples of patients, once; every question below reads from
# that evidence.

# %%
check_injected(In)
use_style()
folder, beside, published = to_read(runs, "sample/runs", "subset/runs")
finished = load_runs(folder, [name for name in configs.split(";") if name])
evidence = gather(finished, n_resamples)
kept, tables = folder.parent / "tables", Path(tables_out or beside / "tables")
evidence = know_records(evidence, data, *(at / "records.csv.gz" for at in (kept, tables)))
figures = Path(figures_out or beside / "figures")
words = described(evidence, published.get("name", study), published.get("title", title))
answers = Answers(evidence, figures, words)

# %% [markdown]
# All that follows stands on this:

# %%
answers.basis()

# %% [markdown]
# ## The answer

# %%
answers.show("answer")

# %% [markdown]
# The rule was fixed beforehand: the fewest leads whose *whole* interval of the paired difference to
# twelve leads lies above −0.01 macro AUROC. A set whose whole interval lies below it is shown to lose
# more than that; an interval on both sides of the margin shows neither: these data cannot tell. An
# interval over patients is that of *these* networks. What else would move the answer, another draw of
# training patients or the other way of reading the labels, is asked
# below the key findings.
#
# What a clinician asks first: of 1,000 records, how many with a diagnosis would pass unseen? Each
# network calls a record at the threshold below which 90% of its own validation records without the
# diagnosis lie.

# %%
answers.show("missed")

# %%
answers.show("configurations")

# %% [markdown]
# The figure draws macro AUROC against the number of leads, with 95% intervals. The band is the
# non-inferiority margin below twelve leads.
#
# One row per configuration. *Difference* is paired: each resample of patients is used for both sides,
# so that the luck of the draw cancels. *LRS* is the original study's Lead Robustness Score; the
# column beside it counts only what lies above a coin flip.
#
# ## The original's four key findings, asked again
#
# Each finding was turned into questions with a threshold before any of these runs was seen. The
# verdict is *supported* or *not supported* only where the Holm-corrected test is clear; otherwise the
# data at hand do not decide. A question is *not asked* where a run that it needs was not made.

# %%
answers.show("findings")

# %% [markdown]
# A verdict is *firm* only where every recipe, both label policies and both kinds of interval agree:
# over patients, which says how these networks would do on others, and over folds, which carries
# another draw of training patients.

# %%
answers.show("firm")

# %% [markdown]
# The label policy alone moves scores: the same networks, asked about both readings of the labels.

# %%
answers.show("policies")

# %% [markdown]
# ## As good as twelve leads?
#
# A set is *non-inferior* where the whole interval of its difference lies above the margin, *inferior*
# where it lies below. The margin of 0.01 was fixed beforehand; 0.005 and 0.02 show how much hangs on
# it. *Resolvable* is the smallest true difference that the comparison would have found four times in
# five: where it is larger than the margin, "undecided" was to be expected.

# %%
answers.show("margins")

# %% [markdown]
# The lower end of the two-sided 95% interval is a one-sided 97.5% bound. The p values beside each
# margin are one-sided, of "worse by the margin or more", Holm-corrected over the sets, and to be
# compared with 0.025.
#
# ## Every pair
#
# Each configuration against each other one, corrected by Benjamini and Hochberg because nobody asked
# for these comparisons in particular: read them as hints.

# %%
answers.show("pairs")

# %% [markdown]
# A "no difference" in the figure is worth as much as the last column of the table says.
#
# How safe is the order itself? Each resample of patients ranks the configurations anew.

# %%
answers.show("ranks")

# %% [markdown]
# ## Class by class
#
# Which diagnoses pay for missing leads? Left, the AUROC of each class; right, what is lost to twelve
# leads.

# %%
answers.show("classes")

# %% [markdown]
# F1 stands at the threshold that was best on the validation records, and once more at 0.5, where
# nothing was chosen. Sensitivity and specificity are each given where the other is held at 90% or 95%
# of the test records.
#
# A second opinion without resampling: DeLong's intervals, with the records of a patient taken
# together.

# %%
answers.show("delong")

# %% [markdown]
# ## Do the probabilities mean what they say?
#
# A slope of 1 means that the logits spread as they should; below 1 they are too sure of themselves.
# Filled points are recalibrated: one slope and one intercept for each class, fitted on validation
# records.

# %%
answers.show("calibration")

# %% [markdown]
# In numbers, before → after, as means over the classes. The Brier score is the miscalibration (what
# recalibration can gain) less the discrimination (what the ranking gains) plus the uncertainty (what
# the prevalence alone would score). *Intercept* is calibration in the large, with a slope held at one.
# *ECE* has bins of equal count; *smooth ECE* has none.
#
# Is a prediction worth acting on? Net benefit counts the true positives, less the false ones at the
# exchange rate that the threshold implies; a network earns its place where its curve lies above both
# simple rules. Probabilities are recalibrated. The table has every set.

# %%
answers.show("decisions")

# %% [markdown]
# ## Does the recipe matter more than the leads?
#
# The original recipe z-scores each lead of each record, which removes the voltage that hypertrophy is
# diagnosed from. Both recipes on the same records, the difference paired:

# %%
answers.show("recipes")

# %% [markdown]
# How many leads is the better recipe worth? Each set under the first recipe against *twelve* leads
# under the second:

# %%
answers.show("across")

# %% [markdown]
# Is hypertrophy hard because of the leads, or because of the recipe? Both recipes also differ in more
# than the scaling, so this bounds its effect and does not isolate it.

# %%
answers.show("hypertrophy")

# %% [markdown]
# ## The Lead Robustness Score, and what it hides
#
# LRS divides the AUROC by that of twelve leads. Since a coin flip has an AUROC of 0.5, a useless set
# of leads still gets about two thirds of the points. Retention above chance,
# $(\mathrm{AUROC} - 0.5) / (\mathrm{AUROC}_{12} - 0.5)$, has no such floor.

# %%
answers.show("lrs")

# %% [markdown]
# Its weights, 0.7 and 0.3, are a choice. Would others change the order? A figure follows where one does,
# with a coloured line for each set whose rank changes: there the score says no more than the choice.

# %%
answers.show("weights")

# %% [markdown]
# Three things to hold against the score. It has a floor that flatters. It adds a ratio to a difference,
# so that a point means something else in each term. And the Brier score already contains the ranking
# that the AUROC measures, so that the same loss is counted twice. We report it because the original
# did, and decide nothing by it.
#
# ## For whom does it hold?
#
# The difference between I, II, V2 and twelve leads within groups of records. *Rarest* is the count of
# the rarest class or of its complement; below 20 no value is given. The test asks whether the
# difference in a group is another than in the other records.

# %%
answers.show("subgroups")

# %% [markdown]
# ## Can one trust the comparison?
#
# **A control that must come out even.** The six limb leads are linear combinations of I and II: III =
# II − I, and so on. Whatever a network can learn from six it can learn from two. If the two came out
# clearly different, no difference in information could explain it: training or scaling would favour
# one of them, and differences of that size between other sets would mean nothing either. If the
# interval is wider than the margin, differences of its width elsewhere are not to be trusted on these
# data.

# %%
answers.show("controls")

# %% [markdown]
# **Do the intervals cover?** They were tried where the truth is known: in a simulated world, and on
# studies drawn from these very predictions. [Methods](/methods.md) has the shares that covered.
#
# **Seeds are not patients.** The spread over seeds is how much one training differs from the next on
# the same test patients. It is reported apart and, where there are several seeds, once added to the
# interval over patients.

# %%
answers.show("seeds")

# %% [markdown]
# **Folds.** Where each fold was tested once by a network of its own, those networks share most of
# their training records and are no independent experiments; a table then repeats the comparison fold
# by fold with a correction for that. [Methods](/methods.md) has the reasons.

# %%
answers.show("folds")

# %%
answers.show_rest()

# %% [markdown]
# ## How it was computed
#
# A configuration's value is the mean over its seeds of the metric of each seed. Intervals come from a
# bootstrap that draws patients, not records, with the same draws for every configuration; p values
# from the same draws, Holm-corrected where the question was asked beforehand. Thresholds and
# recalibration come from validation records. [Methods](/methods.md) has the rest. What a cell above
# calls is in `leadmin/questions`, one file a topic, with its tables, its figures and their reading side
# by side; the button at the top of the page downloads the notebook.
#
# Everything on this page, for a paper, a spreadsheet or a program:

# %%
written = answers.write(tables)
print(*sorted(path.name for path in [*written, *figures.glob("*.pdf")]), sep=", ")

# %% [markdown]
# ```{admonition} Summary
# * The answer is the smallest lead set that was *shown* to stay within the margin. Where none was, the
#   page says whether the sets were shown to be worse or the data are too few to tell.
# * Differences are paired and intervals come from patients; "undecided" stands beside the smallest
#   difference that could have been found.
# * LRS flatters weak lead sets; read it beside the retention above chance.
# ```
