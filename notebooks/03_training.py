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
# # One lead configuration on trial
#
# How well can a small network tell diagnoses apart when it sees only some of the leads? This notebook
# trains the network on **one** lead configuration and measures it on patients it has never met. It is
# a template: papermill runs it once for each configuration, with the parameters shown below, and each
# executed copy is a page of the book.
#
# ```{admonition} Audience and objectives
# For readers who want to look behind one row of the main table, and for those who want to train a
# configuration of their own. After this page you can
#
# * tell whether this network learned something, and when it stopped learning;
# * say how well it separates each class, and how sure that figure is;
# * judge whether its probabilities can be taken at their word;
# * find everything that the run wrote, and load the trained network.
# ```

# %%
import numpy as np
from IPython.display import Markdown

from leadmin import load
from leadmin.evidence.basis import absent_in_words
from leadmin.evidence.scores import gather
from leadmin.leads import resolve
from leadmin.metrics import probabilities
from leadmin.net.recipes import RECIPES
from leadmin.questions.answer import main_table
from leadmin.questions.classes import per_class_table
from leadmin.questions.recipes import recipe_comparison
from leadmin.show.style import metric_name, seeds_in_words, use_style
from leadmin.show.torso import plot_electrodes
from leadmin.show.training import plot_calibration, plot_learning_curves, plot_roc
from leadmin.show.words import (
    facts,
    headed,
    legend,
    print_epoch,
    reading_table,
    value_with_interval,
)
from leadmin.study.settings import RunSettings
from leadmin.study.sources import open_dataset
from leadmin.study.train import train_run
from leadmin.study.validity import foreign_files

# %% [markdown]
# ## Parameters
#
# `papermill notebooks/03_training.ipynb out.ipynb -p config "I,V2,V5" -p epochs 10` changes any of
# them; a name or a value that is not valid ends the run with a message that lists what is.

# %% tags=["parameters"]
config: str = "3-lead-I-II-V2"  # lead configuration: a name of the registry, or leads with commas
data: str = ""  # prepared HDF5 file, or archive or folder of PTB-XL; empty: the embedded sample
out: str = ""  # folder that the run writes; empty: outputs/adhoc/runs/<config>
recipe: str = "default"  # recipe to train: default, scratch, any-lead or original
compare_with: str = "original"  # second recipe, trained on the same records; empty for none
protocol: str = "holdout"  # holdout (folds 1-8, 9, 10) or crossval (each fold is tested once)
label_policy: str = "any"  # statements that count as labels: any likelihood, or likelihood50
seeds: int = 1  # networks that differ in nothing but the seed
compare_seeds: int = 1  # the same for the second recipe
epochs: int = 0  # passes over the training records; 0: the recipe's own number
device: str = "auto"  # auto, cpu, cuda or cuda:N
tracking: str = ""  # curves also for tensorboard, wandb, or both with a comma; empty for neither
precision: str = "auto"  # float32, bfloat16, or auto: bfloat16 on an accelerator only
start_from: str = ""  # finished run of the any-lead network to start from; empty: trained first
workers: int = 1  # fits side by side, each in a process of one thread; 0: one per thread
network: str = ""  # module:Class of your own network for recipe; empty: the study's

# %%
settings = RunSettings.of_notebook(globals(), In)
use_style(density=1.4)  # there are many of these pages

# %% [markdown]
# ## What the network gets to see
#
# The configuration decides which leads reach the network; records, labels and folds are the same
# for every configuration, so that two of these pages differ by their leads and by chance in training.

# %%
dataset = open_dataset(settings.data)
configuration = resolve(settings.config)
seen = f"{len(configuration.leads)} of 12 leads: {', '.join(configuration.leads)}"
if RECIPES[settings.recipe].architecture.any_leads:
    seen = "all leads, a random part of them hidden from it, and is told which"
Markdown(
    f"**{configuration.name}**, recipe `{settings.recipe}`, sees {seen}. {configuration.why}\n\n"
    f"Data: {dataset.attributes['source']}, {len(dataset.record_id):,} records of "
    f"{len(set(dataset.patient_id)):,} patients at {dataset.sampling_rate} Hz."
)

# %% [markdown]
# The electrodes that this needs:

# %%
display(
    plot_electrodes([configuration.name]),
    legend(
        "Electrodes that these leads need.",
        "A torso from the front: the electrodes that are needed are filled, the others empty; the "
        "limb leads are arrows between their electrodes.",
    ),
)

# %% [markdown]
# ## Training
#
# One row per epoch. The validation figures come from records that neither train nor test; the test
# records are read once, after the last epoch. A run that was finished before with the same settings,
# data and code is not trained again: the last row of each fit is shown as it was.

# %% tags=["hide-output"]
run = train_run(settings, dataset, on_epoch=print_epoch)
if run.kept:
    print("Finished before with the same settings, data and code; nothing is trained again.")
    last = run.history.groupby(["recipe", "seed", "fold"]).tail(1)
    named = {"train_loss": "train loss", "validation_loss": "validation loss"}
    named["validation_auroc"] = "validation AUROC"
    shown = last[["recipe", "seed", "fold", "epoch", *named]].rename(columns=named)
    print(shown.to_string(index=False, float_format="{:.4f}".format))

# %% [markdown]
# The curves say the same at a glance. A gap between training and validation loss is what the network
# knows of its training records alone; regularisation and averaged weights can make it wide or negative
# from the start. The marked epoch is the one whose weights are kept.

# %%
keeps_last = [name for name in run.recipes if not RECIPES[name].patience]
display(
    plot_learning_curves(run.history, keeps_last),
    legend(
        "Loss and AUROC over the epochs.",
        "Curves by epoch for each recipe: the loss on training and on validation records, and the "
        "validation AUROC; each is the mean of the fits within their range, and the epochs whose "
        "weights are kept are marked.",
    ),
)

# %% [markdown]
# ## How well it separates
#
# The area under the ROC curve (AUROC) is the probability that a record with the diagnosis gets a
# higher score than one without. Intervals are 95% BCa intervals from a bootstrap over
# patients: they show what another draw of as many test patients could have given.

# %%
result = gather({run.config: run})
overall = main_table(result, settings.recipe).iloc[0].to_dict()
facts(
    auroc=overall["auroc"],
    auroc_text=value_with_interval(overall, "auroc"),
    brier_text=value_with_interval(overall, "brier"),
    n_records=result.n_records,
    n_patients=result.n_patients,
    seeds=seeds_in_words(overall["n_seeds"]),
    recipe=settings.recipe,
)

# %% [markdown]
# On {eval}`f"{facts.n_records:,}"` test records of {eval}`f"{facts.n_patients:,}"` patients the recipe
# {eval}`facts.recipe` reaches a macro AUROC of {eval}`facts.auroc_text` and a Brier score of
# {eval}`facts.brier_text` (mean over {eval}`facts.seeds`). Class by class:

# %%
shown = {
    "class": "class",
    "n_positive": "records with it",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1",
    "brier": "Brier score",
}
table = reading_table(per_class_table(result, settings.recipe), shown)
display(headed("Each class on the test records", table))
Markdown(absent_in_words(result) or "Each fold has records with and without each class.")

# %% [markdown]
# F1 uses the threshold that was best on the validation records of the same network. Average
# precision and F1 depend on how common a class is; AUROC does not.

# %%
rng, classes = np.random.default_rng(0), run.classes
display(
    plot_roc(run.test.labels, run.test.logits, run.test.patient_id, rng, classes=classes),
    legend(
        "ROC curves of each class on the test records.",
        "One panel a class: sensitivity over the share of false alarms. Each recipe's curve runs "
        "within its band above the diagonal of a coin flip, and the AUROC stands beside it.",
    ),
)

# %% [markdown]
# ## Whether its probabilities can be believed
#
# A calibrated network that says 30% is right in 30% of such cases: its points lie on the diagonal.
# Points above it mean that the network is too modest, points below that it claims too much.

# %%
probability = {name: probabilities(logits) for name, logits in run.test.logits.items()}
display(
    plot_calibration(run.test.labels, probability, classes=classes),
    legend(
        "Calibration of each class on the test records.",
        "One panel a class: the share of records with the class over the probability that the "
        "network gave, as points beside the diagonal where both are equal.",
    ),
)

# %% [markdown]
# ## Against the original recipe
#
# Where a second recipe was trained, both are measured on the same test records, so that their
# difference is paired: it is free of the luck of the draw that both share.

# %%
if len(run.recipes) == 2:
    both = recipe_comparison(result, *run.recipes)
    both["metric"] = both["metric"].map(metric_name)
    headings = {"metric": "metric", "first": run.recipes[0], "second": run.recipes[1]}
    table = reading_table(both, headings | {"difference": "difference"})
    display(headed("Both recipes on the same test records", table))

# %% [markdown]
# ## What the run wrote
#
# `metrics.json` holds the figures above and where they come from, `predictions.npz` every logit of
# the validation and test records, `history.csv` the curves, and `checkpoints` the networks. Where
# `tracking` was on, `tensorboard` and `wandb` lie beside them and show the same once more.

# %%
sizes = {
    name: (run.folder / name).stat().st_size for name in ["metrics.json", *run.metrics["files"]]
}
inside = [size for name, size in sizes.items() if "/" in name]
for name, size in sizes.items():
    if "/" not in name:
        print(f"{name:45} {size:>10,} bytes")
print(f"{f'checkpoints: {len(inside)} files':45} {sum(inside):>10,} bytes")
for name in foreign_files(run.folder, run.metrics["files"]):
    print(f"{name:45} not a file of this run; left alone")

# %% [markdown]
# A checkpoint carries all that inference needs. Loaded and shown the first test record, it gives the
# probabilities that the run recorded:

# %%
classifier = load(run.folder, network=settings.own_network)
record = int(np.flatnonzero(dataset.record_id == run.test.record_id[0])[0])
signal = dataset.signals[record] / 1000  # microvolts to millivolts
leads, rate = dataset.attributes["leads"], dataset.sampling_rate
again = classifier.predict(signal, leads=leads, sampling_rate=rate)[0]
for name, probability in zip(classifier.classes, again, strict=True):
    print(f"{name:5} {probability:.3f}")

# %% [markdown]
# ```{admonition} Summary
# * This page is one run: one lead configuration; its test patients took no part in training.
# * Intervals come from resampled test patients; the spread over seeds is a different, smaller thing.
# * Whether fewer leads are enough is not answered here but in the analysis, where all runs are
#   compared on the same records.
# ```
