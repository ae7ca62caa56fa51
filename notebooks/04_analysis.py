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

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown
from myst_nb import glue

from leadmin import evidence, figures, pages, tables
from leadmin.study import check_injected, load_runs, located

# %% tags=["parameters"]
runs: str = "outputs/sample/runs"  # folder with the runs of one study
tables_out: str = ""  # folder that the tables are written to; empty: beside the runs
figures_out: str = ""  # folder that the figures are written to; empty: beside the runs
title: str = "Embedded sample of PTB-XL"  # what the study is called
study: str = "sample"  # the study's short name
configs: str = ""  # configurations separated by semicolons; empty: all that are finished
n_resamples: int = 2000  # bootstrap resamples

# %% tags=["hide-input"]
check_injected(In)
figures.use_style()
folder = located(runs)
tables_folder = Path(tables_out or folder.parent / "tables")
figures_folder = Path(figures_out or folder.parent / "figures")
finished = load_runs(folder, [name for name in configs.split(";") if name])
first = next(iter(finished.values()))
result = evidence.gather(finished, n_resamples)
primary, *others = result.recipes
made = tables.study_tables(result)
main, per_class = (
    made[name][made[name]["recipe"] == primary].reset_index(drop=True)
    for name in ("main", "per_class")
)

# %% tags=["hide-input"]
settings, data = first.metrics["settings"], first.metrics["provenance"]["data"]
description = tables.StudyDescription(
    name=study,
    title=title,
    data=f"{data['source']} {data['source_version']}, {data['n_records']:,} records",
    protocol=settings["protocol"],
    label_policy=settings["label_policy"],
)
basis = tables.basis(result, description)
glue("basis", Markdown(basis), display=False)
glue("title", Markdown(title), display=False)
glue("n_test", result.n_records, display=False)
glue("n_test_patients", result.n_patients, display=False)
glue("n_total", data["n_records"], display=False)
glue("n_resamples", n_resamples, display=False)
glue("n_seeds", int(main["n_seeds"].min()), display=False)

# %% [markdown]
# ```{admonition} What this page stands on
# :class: note
# {glue:text}`n_total:,` records in all; {glue:text}`n_test:,` test records of
# {glue:text}`n_test_patients:,` patients; {glue:text}`n_seeds` seeds of each network;
# {glue:text}`n_resamples:,` bootstrap resamples of patients.
# ```

# %%
Markdown(basis)

# %% [markdown]
# ## The answer

# %%
glue("answer", pages.rendered(pages.answer_sentence(main)))

# %% [markdown]
# The rule was fixed beforehand: the fewest leads whose *whole* interval of the paired difference to
# twelve leads lies above −0.01 macro AUROC. An interval that reaches below the margin does not show
# that the leads are worse; it shows that these data cannot tell.

# %%
note = f"{result.n_records:,} test records, {result.n_patients:,} patients; 95% intervals"
answer_figure = figures.plot_answer(made["main"], note=note)
glue("answer_figure", answer_figure, display=False)
figures.save_figure(answer_figure, figures_folder / "answer.png")
figures.save_figure(answer_figure, figures_folder / "answer.pdf")

# %% [markdown]
# ```{glue:figure} answer_figure
# :name: fig-answer
# :figwidth: 100%
#
# Macro AUROC against the number of leads, with 95% intervals. The band is the non-inferiority
# margin below twelve leads.
# ```
#
# ## The main table
#
# One row per configuration. *Difference* is paired: each resample of patients is used for both sides,
# so that the luck of the draw cancels. *LRS* is the original study's Lead Robustness Score; the
# column beside it counts only what lies above a coin flip.

# %%
shown = {
    "config": "configuration",
    "auroc": "macro AUROC",
    "difference": "difference to 12 leads",
    "f1": "F1",
    "brier": "Brier score",
    "lrs": "LRS",
    "retention_above_chance": "retention above chance",
}
brief = {name: shown[name] for name in ("config", "auroc", "difference", "retention_above_chance")}
glue("main_table", pages.reading_table(main, brief), display=False)
pages.reading_table(main, shown)

# %% [markdown]
# The difference and its interval, configuration by configuration:

# %%
figures.plot_differences(main, note=note)

# %% [markdown]
# ## The original's four key findings, asked again
#
# Each finding was turned into questions with a threshold before any of these runs was seen. The
# verdict is *supported* or *not supported* only where the Holm-corrected test is clear; otherwise the
# data at hand do not decide.

# %%
for recipe, findings in made["key_findings"].groupby("recipe", sort=False):
    display(Markdown(f"**Recipe {recipe}**"))
    display(pages.findings_table(findings))

# %% [markdown]
# ## Class by class
#
# Which diagnoses pay for missing leads? Left, the AUROC of each class; right, what is lost to twelve
# leads.

# %%
figures.plot_class_heatmap(per_class, macro=main)

# %%
wide = per_class.assign(
    shown=[pages.value_with_interval(row, "auroc") for row in per_class.to_dict("records")]
)
wide = wide.pivot(index="config", columns="class", values="shown").loc[main["config"]]
wide[per_class["class"].unique()].rename_axis(index="configuration", columns=None)

# %% [markdown]
# ## Does the recipe matter more than the leads?
#
# The original recipe z-scores each lead of each record, which removes the voltage that hypertrophy is
# diagnosed from. Both recipes on the same records, the difference paired:

# %%
if others:
    comparison = made["recipe_comparison"]
    display(figures.plot_recipe_comparison(comparison))
    twelve = comparison[comparison["config"] == evidence.REFERENCE]
    headings = {"metric": "metric, 12 leads", "first": primary, "second": others[0]}
    display(pages.reading_table(twelve, headings | {"difference": "difference"}))

# %% [markdown]
# ## The Lead Robustness Score, and what it hides
#
# LRS divides the AUROC by that of twelve leads. Since a coin flip has an AUROC of 0.5, a useless set
# of leads still gets about two thirds of the points. Retention above chance,
# $(\mathrm{AUROC} - 0.5) / (\mathrm{AUROC}_{12} - 0.5)$, has no such floor.

# %%
figures.plot_lrs(main)

# %% [markdown]
# ## A control that must come out even
#
# The six limb leads are linear combinations of I and II: III = II − I, and so on. Whatever a network
# can learn from six it can learn from two. A clear difference between the two configurations would
# therefore be a warning about the method, not a finding about leads.

# %%
bounds = {"low": "difference_low", "high": "difference_high"}
controls = made["negative_controls"].rename(columns=bounds)
controls = controls[controls["recipe"] == primary] if len(controls) else controls
if len(controls):
    headings = {"first": "first", "second": "second", "difference": "first minus second"}
    headings |= {"smallest_resolvable": "smallest resolvable", "verdict": "within ±0.01?"}
    display(pages.reading_table(controls, headings))

# %% [markdown]
# *Smallest resolvable* is the difference that the comparison would have found four times in five. Where
# it is larger than the margin, "undecided" was to be expected.
#
# ## How it was computed
#
# A configuration's value is the mean over its seeds of the metric of each seed. Intervals come from a
# bootstrap that draws patients, not records, with the same draws for every configuration; p values
# from the same draws, Holm-corrected. The spread over seeds is reported apart, because it is a
# different thing: how much one training differs from the next on the same test patients.

# %%
seeds = main[["config", "auroc", "auroc_seed_sd", "n_seeds"]].rename(columns={"auroc": "value"})
pages.reading_table(
    seeds,
    {
        "config": "configuration",
        "value": "macro AUROC",
        "auroc_seed_sd": "SD over seeds",
        "n_seeds": "seeds",
    },
    digits=4,
)

# %% [markdown]
# ## Files
#
# Everything on this page, for a paper, a spreadsheet or a program:

# %%
written = tables.write_publication_outputs(result, tables_folder, description, made)
for path in written:
    print(f"{path.name:24} {path.stat().st_size:>9,} bytes")

# %% [markdown]
# ```{admonition} Summary
# * The answer is the smallest lead set that was *shown* to stay within the margin; where none was,
#   the data are too few, and the page says so.
# * Differences are paired and intervals come from patients.
# * LRS flatters weak lead sets; read it beside the retention above chance.
# ```
