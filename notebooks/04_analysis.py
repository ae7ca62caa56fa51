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

# %% tags=["remove-input"]
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import gather
from leadmin.publish.results import study_tables, write_publication_outputs
from leadmin.questions.answer import answer_reading, answer_sentence, plot_answer, seed_reading
from leadmin.questions.calibration import (
    decision_reading,
    plot_decision_curves,
    plot_recalibration,
    recalibration_reading,
    recalibration_table,
)
from leadmin.questions.classes import class_reading, delong_reading, plot_class_heatmap
from leadmin.questions.controls import fold_reading
from leadmin.questions.findings import findings_reading, findings_table
from leadmin.questions.lrs import lrs_reading, lrs_weights_reading, plot_lrs, plot_lrs_weights
from leadmin.questions.margins import MARGINS, margin_reading, margin_table, plot_differences
from leadmin.questions.pairs import pairs_reading, plot_pairwise, plot_ranks, rank_reading
from leadmin.questions.recipes import (
    across_reading,
    hypertrophy_reading,
    plot_recipe_comparison,
    recipe_reading,
)
from leadmin.questions.subgroups import plot_subgroups, record_groups, subgroup_reading
from leadmin.show.style import add_note, save_for_print, use_style
from leadmin.show.words import reading_table, rendered
from leadmin.study.run import load_runs
from leadmin.study.settings import check_injected
from leadmin.study.sources import located, open_dataset

# %% tags=["parameters"]
runs: str = "outputs/sample/runs"  # folder with the runs of one study
data: str = ""  # prepared HDF5 file that the runs were made from; empty: no subgroups
tables_out: str = ""  # folder that the tables are written to; empty: beside the runs
figures_out: str = ""  # folder that the figures are written to; empty: beside the runs
title: str = "Embedded sample of PTB-XL"  # what the study is called
study: str = "sample"  # the study's short name
configs: str = ""  # configurations separated by semicolons; empty: all that are finished
n_resamples: int = 2000  # bootstrap resamples

# %% tags=["hide-input"]
check_injected(In)
use_style()
folder = located(runs)
tables_folder = Path(tables_out or folder.parent / "tables")
figures_folder = Path(figures_out or folder.parent / "figures")
finished = load_runs(folder, [name for name in configs.split(";") if name])
first = next(iter(finished.values()))
result = gather(finished, n_resamples)
groups = record_groups(open_dataset(data), result) if data else {}
made = study_tables(result, groups)
primary, *others = result.recipes
shown = {
    name: table[table["recipe"] == primary].reset_index(drop=True) if "recipe" in table else table
    for name, table in made.items()
}
main, per_class = shown["main"], shown["per_class"]

# %% tags=["remove-input"]
settings, source = first.metrics["settings"], first.metrics["provenance"]["data"]
description = StudyDescription(
    name=study,
    title=title,
    data=f"{source['source']} {source['source_version']}, {source['n_records']:,} records",
    protocol=settings["protocol"],
    label_policy=settings["label_policy"],
)
basis = basis(result, description)
glue("basis", Markdown(basis), display=False)
glue("title", Markdown(title), display=False)
glue("n_test", result.n_records, display=False)
glue("n_test_patients", result.n_patients, display=False)
glue("n_total", source["n_records"], display=False)
glue("n_resamples", n_resamples, display=False)
glue("n_seeds", int(main["n_seeds"].min()), display=False)

# %% [markdown]
# ```{admonition} What this page stands on
# :class: note
# {glue:text}`n_total:,` records in all; {glue:text}`n_test:,` test records of
# {glue:text}`n_test_patients:,` patients; networks for each configuration that differ in nothing but
# their seed: {glue:text}`n_seeds`; {glue:text}`n_resamples:,` bootstrap resamples of patients.
# ```

# %% tags=["remove-input"]
Markdown(basis)

# %% [markdown]
# ## The answer

# %% tags=["remove-input"]
glue("answer", rendered(answer_sentence(main)))

# %% [markdown]
# The rule was fixed beforehand: the fewest leads whose *whole* interval of the paired difference to
# twelve leads lies above −0.01 macro AUROC. A set whose whole interval lies below it is shown to lose
# more than that; an interval on both sides of the margin shows neither: these data cannot tell.

# %% tags=["hide-input"]
tested = f"{result.n_records:,} test records, {result.n_patients:,} patients"
note = f"{tested}; 95% intervals"
answer_figure = plot_answer(made["main"], note=note)
save_for_print(answer_figure, figures_folder, "answer")
glue("answer_figure", answer_figure, display=False)
rendered(answer_reading(main))

# %% [markdown]
# ```{glue:figure} answer_figure
# :figwidth: 100%
#
# Macro AUROC against the number of leads, with 95% intervals. The band is the non-inferiority
# margin below twelve leads.
# ```
#
# One row per configuration. *Difference* is paired: each resample of patients is used for both sides,
# so that the luck of the draw cancels. *LRS* is the original study's Lead Robustness Score; the
# column beside it counts only what lies above a coin flip.

# %% tags=["remove-input"]
headings = {
    "config": "configuration",
    "auroc": "macro AUROC",
    "difference": "difference to 12 leads",
    "difference_p_holm": "p (Holm)",
    "f1": "F1",
    "brier": "Brier score",
    "lrs": "LRS",
    "retention_above_chance": "retention above chance",
}
brief = ("config", "auroc", "difference", "retention_above_chance")
glue("main_table", reading_table(main, {k: headings[k] for k in brief}), display=False)
reading_table(main, headings)

# %% [markdown]
# ## The original's four key findings, asked again
#
# Each finding was turned into questions with a threshold before any of these runs was seen. The
# verdict is *supported* or *not supported* only where the Holm-corrected test is clear; otherwise the
# data at hand do not decide. A question is *not asked* where a run that it needs was not made.

# %% tags=["remove-input"]
by_recipe = dict(list(made["key_findings"].groupby("recipe", sort=False)))
for findings in by_recipe.values():
    display(rendered(findings_reading(findings)))
findings_table(by_recipe[primary])

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the same questions under the other recipe"}
for recipe in others:
    display(Markdown(f"**Recipe {recipe}**"), findings_table(by_recipe[recipe]))

# %% [markdown]
# ## As good as twelve leads?
#
# A set is *non-inferior* where the whole interval of its difference lies above the margin, *inferior*
# where it lies below. The margin of 0.01 was fixed beforehand; 0.005 and 0.02 show how much hangs on
# it. *Resolvable* is the smallest true difference that the comparison would have found four times in
# five: where it is larger than the margin, "undecided" was to be expected.

# %% tags=["hide-input"]
margins = shown["non_inferiority"]
display(rendered(margin_reading(margins)))
if len(margins):
    bounds = {"low": "difference_low", "high": "difference_high"}
    forest = margins[margins["primary"]].rename(columns=bounds)
    differences = plot_differences(forest, note=note, other_margins=MARGINS[1:])
    save_for_print(differences, figures_folder, "differences")
    display(differences)

# %% [markdown]
# The lower end of the two-sided 95% interval is a one-sided 97.5% bound. The p values beside each
# margin are one-sided, of "worse by the margin or more", Holm-corrected over the sets, and to be
# compared with 0.025.

# %% tags=["remove-input"]
if len(margins):
    display(margin_table(margins))

# %% [markdown]
# ## Every pair
#
# Each configuration against each other one, corrected by Benjamini and Hochberg because nobody asked
# for these comparisons in particular: read them as hints.

# %% tags=["hide-input"]
pairwise = shown["pairwise"]
display(rendered(pairs_reading(pairwise)))
if len(pairwise):
    pairs = add_note(plot_pairwise(pairwise), tested)
    save_for_print(pairs, figures_folder, "pairs")
    display(pairs)

# %% [markdown]
# A "no difference" in the figure is worth as much as the last column of the table says.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the table of all pairs"}
if len(pairwise):
    names = {"first": "first", "second": "second", "difference": "first minus second", "p": "p"}
    names |= {"p_bh": "p (BH)", "smallest_resolvable": "smallest resolvable"}
    display(reading_table(pairwise, names))

# %% [markdown]
# How safe is the order itself? Each resample of patients ranks the configurations anew.

# %% tags=["hide-input"]
ranks = add_note(plot_ranks(shown["ranks"]), tested)
save_for_print(ranks, figures_folder, "ranks")
display(rendered(rank_reading(shown["ranks"])))
display(ranks)

# %% [markdown]
# ## Class by class
#
# Which diagnoses pay for missing leads? Left, the AUROC of each class; right, what is lost to twelve
# leads.

# %% tags=["hide-input"]
classes = add_note(plot_class_heatmap(per_class, macro=main), tested)
save_for_print(classes, figures_folder, "classes")
display(rendered(class_reading(per_class)))
display(classes)

# %% [markdown]
# F1 stands at the threshold that was best on the validation records, and once more at 0.5, where
# nothing was chosen. Sensitivity and specificity are each given where the other is held at 90% or 95%
# of the test records.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show every metric of every class, with intervals"}
every = pd.concat([per_class, main.assign(**{"class": "macro"})]).set_index("config")
every = every.loc[main["config"]].reset_index()
names = {"config": "configuration", "class": "class", "auroc": "AUROC"}
names |= {"average_precision": "average precision", "f1": "F1, validation threshold"}
names |= {"f1_half": "F1 at 0.5", "brier": "Brier score"}
for level in (90, 95):
    names[f"sensitivity_at_{level}_specificity"] = f"sensitivity at {level}% specificity"
    names[f"specificity_at_{level}_sensitivity"] = f"specificity at {level}% sensitivity"
reading_table(every, names)

# %% [markdown]
# A second opinion without resampling: DeLong's intervals, with the records of a patient taken
# together.

# %% tags=["remove-input"]
rendered(delong_reading(shown["delong"], per_class))

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show DeLong's intervals of every class"}
delong = {"config": "configuration", "class": "class", "n_positive": "positive records"}
delong |= {"auroc": "AUROC", "difference": "difference to 12 leads", "p": "p", "p_bh": "p (BH)"}
reading_table(shown["delong"], delong)

# %% [markdown]
# ## Do the probabilities mean what they say?
#
# A slope of 1 means that the logits spread as they should; below 1 they are too sure of themselves.
# Filled points are recalibrated: one slope and one intercept for each class, fitted on validation
# records.

# %% tags=["hide-input"]
calibrated = shown["calibration"]
recalibration = add_note(plot_recalibration(calibrated), tested)
save_for_print(recalibration, figures_folder, "recalibration")
display(rendered(recalibration_reading(calibrated)))
display(recalibration)

# %% [markdown]
# In numbers, before → after, as means over the classes. The Brier score is the miscalibration (what
# recalibration can gain) less the discrimination (what the ranking gains) plus the uncertainty (what
# the prevalence alone would score). *Intercept* is calibration in the large, with a slope held at one.
# *ECE* has bins of equal count; *smooth ECE* has none.

# %% tags=["remove-input"]
recalibration_table(calibrated[calibrated["class"] == "macro"])

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the calibration of every class"}
for config, rows in calibrated[calibrated["class"] != "macro"].groupby("config", sort=False):
    display(Markdown(f"**{config}**"))
    display(recalibration_table(rows, by="class"))

# %% [markdown]
# Is a prediction worth acting on? Net benefit counts the true positives, less the false ones at the
# exchange rate that the threshold implies; a network earns its place where its curve lies above both
# simple rules. Probabilities are recalibrated.

# %% tags=["hide-input"]
decisions = add_note(plot_decision_curves(shown["decision_curves"]), tested)
save_for_print(decisions, figures_folder, "decision_curves")
display(rendered(decision_reading(shown["decision_curves"])))
display(decisions)

# %% [markdown]
# ## Does the recipe matter more than the leads?
#
# The original recipe z-scores each lead of each record, which removes the voltage that hypertrophy is
# diagnosed from. Both recipes on the same records, the difference paired:

# %% tags=["hide-input"]
compared = made["recipe_comparison"]
if len(compared):
    recipes = add_note(plot_recipe_comparison(compared), tested)
    save_for_print(recipes, figures_folder, "recipes")
    display(rendered(recipe_reading(compared)), recipes)
else:
    display(Markdown("These runs hold one recipe, so there is nothing to compare."))

# %% [markdown]
# How many leads is the better recipe worth? Each set under the first recipe against *twelve* leads
# under the second:

# %% tags=["remove-input"]
if len(made["across_recipes"]):
    names = {"config": "configuration", "auroc": f"macro AUROC, {primary}"}
    names |= {"difference": f"minus 12 leads, {others[0]}", "p_holm": "p (Holm)"}
    glue("across", rendered(across_reading(made["across_recipes"])))
    display(reading_table(made["across_recipes"], names))

# %% [markdown]
# Is hypertrophy hard because of the leads, or because of the recipe? Both recipes also differ in more
# than the scaling, so this bounds its effect and does not isolate it.

# %% tags=["remove-input"]
if len(made["hypertrophy"]):
    names = {"effect_name": "", "first": primary, "second": others[0]}
    names |= {"difference": "difference", "p_holm": "p (Holm)"}
    bounds = {"low": "difference_low", "high": "difference_high"}
    glue("hypertrophy", rendered(hypertrophy_reading(made["hypertrophy"])))
    display(reading_table(made["hypertrophy"].rename(columns=bounds), names))

# %% [markdown]
# ## The Lead Robustness Score, and what it hides
#
# LRS divides the AUROC by that of twelve leads. Since a coin flip has an AUROC of 0.5, a useless set
# of leads still gets about two thirds of the points. Retention above chance,
# $(\mathrm{AUROC} - 0.5) / (\mathrm{AUROC}_{12} - 0.5)$, has no such floor.

# %% tags=["hide-input"]
scores = add_note(plot_lrs(main), note)
save_for_print(scores, figures_folder, "lrs")
display(rendered(lrs_reading(main)))
display(scores)

# %% [markdown]
# Its weights, 0.7 and 0.3, are a choice. Left, the ranks as the weight moves from the Brier term to the
# AUROC ratio: a coloured line changes its rank, and where it does the score says no more than the
# choice. Right, the same when the retention above chance joins them as a third term.

# %% tags=["hide-input"]
display(rendered(lrs_weights_reading(shown["lrs_weights"])))
if len(shown["lrs_weights"]):
    weights = add_note(plot_lrs_weights(shown["lrs_weights"]), tested)
    save_for_print(weights, figures_folder, "lrs_weights")
    display(weights)

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

# %% tags=["hide-input"]
subgroups = shown["subgroups"]
compared_set = "3-lead-I-II-V2"
if len(subgroups) and compared_set in set(subgroups["config"]):
    display(rendered(subgroup_reading(subgroups, compared_set)))
    by_group = add_note(plot_subgroups(subgroups, compared_set), tested)
    save_for_print(by_group, figures_folder, "subgroups")
    display(by_group)
else:
    reason = "no data file was given" if not data else f"the run `{compared_set}` is missing"
    display(Markdown(f"Subgroups are not shown here: {reason}."))

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the subgroups of other lead sets"}
if len(subgroups):
    names = {"subgroup": "records", "n_records": "n", "n_patients": "patients"}
    names |= {"fewest_positives": "rarest", "config": "configuration", "auroc": "macro AUROC"}
    names |= {"difference": "difference to 12 leads", "interaction": "minus that of the others"}
    display(reading_table(subgroups, names | {"interaction_p_holm": "p (Holm)"}))

# %% [markdown]
# ## Can one trust the comparison?
#
# **A control that must come out even.** The six limb leads are linear combinations of I and II: III =
# II − I, and so on. Whatever a network can learn from six it can learn from two. If the two came out
# clearly different, no difference in information could explain it: training or scaling would favour
# one of them, and differences of that size between other sets would mean nothing either. If the
# interval is wider than the margin, differences of its width elsewhere are not to be trusted on these
# data.

# %% tags=["remove-input"]
controls = shown["negative_controls"]
for statement in controls["statement"] if len(controls) else ["These runs hold no such pair."]:
    display(Markdown(statement))

# %% [markdown]
# **Do the intervals cover?** They were tried in a simulated world whose truth is known: [the research
# log](/research_log.md) has the shares that covered, and why BCa
# intervals serve single values and percentile intervals differences.
#
# **Seeds are not patients.** The spread over seeds is how much one training differs from the next on
# the same test patients. It is reported apart and, where there are several seeds, once added to the
# interval over patients.

# %% tags=["remove-input"]
display(rendered(seed_reading(main)))
names = {"config": "configuration", "n_seeds": "seeds", "auroc": "interval over patients"}
if main["auroc_seed_sd"].notna().any():
    with_seeds = {"auroc_low_with_seeds": "both_low", "auroc_high_with_seeds": "both_high"}
    seeds = main.rename(columns=with_seeds).assign(both=main["auroc"])
    names |= {"auroc_seed_sd": "SD over seeds", "both": "interval over patients and seeds"}
    display(reading_table(seeds, names, digits=4))

# %% [markdown]
# **Folds.** Where each fold was tested once by a network of its own, those networks share most of
# their training records and are no independent experiments; a table then repeats the comparison fold
# by fold with a correction for that. [Methods](/methods.md) has the reasons.

# %% tags=["remove-input"]
folds = shown["folds"]
if len(folds):
    display(rendered(fold_reading(folds)))
    bounds = {"low": "difference_low", "high": "difference_high"}
    names = {"config": "configuration", "difference": "mean difference to 12 leads", "p": "p"}
    names |= {"fold_sd": "SD over folds", "n_folds_better": "folds better"}
    names |= {"auroc": "AUROC, pooled", "auroc_within_fold": "AUROC, within folds"}
    folds = folds.rename(columns=bounds).merge(main[["config", "auroc", "auroc_within_fold"]])
    display(reading_table(folds, names))
else:
    display(
        Markdown("These runs test a single fold, so there is nothing to compare between folds.")
    )

# %% [markdown]
# ## How it was computed
#
# A configuration's value is the mean over its seeds of the metric of each seed. Intervals come from a
# bootstrap that draws patients, not records, with the same draws for every configuration; p values
# from the same draws, Holm-corrected where the question was asked beforehand. Thresholds and
# recalibration come from validation records. [Methods](/methods.md) has the rest. The code of each
# cell is in the notebook, which the button at the top of the page downloads.
#
# Everything on this page, for a paper, a spreadsheet or a program:

# %% tags=["remove-input"]
written = write_publication_outputs(result, tables_folder, description, made)
for path in [*written, *sorted(figures_folder.glob("*.pdf"))]:
    print(f"{path.name:24} {path.stat().st_size:>9,} bytes")

# %% [markdown]
# ```{admonition} Summary
# * The answer is the smallest lead set that was *shown* to stay within the margin; where none was,
#   the data are too few, and the page says so.
# * Differences are paired and intervals come from patients; "undecided" stands beside the smallest
#   difference that could have been found.
# * LRS flatters weak lead sets; read it beside the retention above chance.
# ```
