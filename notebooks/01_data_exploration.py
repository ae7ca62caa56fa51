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
# # The records themselves
#
# Before any network is trained, the data themselves say a good deal about how many leads are
# needed: which leads repeat each other, what each chest lead adds, and why the height of a wave
# must not be thrown away. This chapter looks at them, checks that they are what they claim
# to be, and ends with a first, linear answer to the book's question.
#
# ```{admonition} Audience and objectives
# For readers who have seen an ECG but have not worked with PTB-XL. After this page you can
#
# * read a record on ECG paper, and see what is lost when leads are dropped;
# * say why twelve leads are only eight signals, and what that means for lead reduction;
# * name the five superclasses, the two label policies, and how records are split;
# * explain why voltage must survive preprocessing if hypertrophy is to be found.
# ```

# %%
import json

import numpy as np
import pandas as pd
from scipy.signal import butter, sosfiltfilt
from sklearn.metrics import roc_auc_score

from leadmin.data.quality import RULES, assess, crossing_patients
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import LEADS, configurations, identity_residuals, resolve
from leadmin.show.ecg_paper import plot_ecg
from leadmin.show.records import (
    plot_age_sex,
    plot_amplitudes,
    plot_cooccurrence,
    plot_einthoven_residuals,
    plot_folds,
    plot_prevalence,
    plot_principal_spread,
    plot_quality,
    plot_sokolow_lyon,
    plot_variance_explained,
)
from leadmin.show.style import use_style
from leadmin.show.teaching import beats_of, marks_for, marks_in_words, teaching_records
from leadmin.show.torso import plot_electrodes
from leadmin.show.words import facts, statement_in_words
from leadmin.study.settings import check_injected
from leadmin.study.sources import open_dataset

# %% [markdown]
# ## Parameters
#
# The notebook runs in any working directory; `papermill notebooks/01_data_exploration.ipynb
# out.ipynb -p data PATH` points it at other records.

# %% tags=["parameters"]
data: str = ""  # prepared HDF5 file, archive or folder of PTB-XL; empty: the sample
config: str = "3-lead-I-II-V2"  # lead configuration that is drawn in black
label_policy: str = "any"  # statements that count: any likelihood, or likelihood50

# %%
check_injected(In)
use_style()
dataset = open_dataset(data)
configuration = resolve(config)
labels = {policy: array.astype(bool) for policy, array in dataset.labels.items()}
has = dict(zip(CLASSES, labels[label_policy].T, strict=True))
facts(
    **{name: dataset.attributes[name] for name in ("source", "source_version", "source_doi")},
    license=dataset.attributes["license"],
    checksum=dataset.attributes["content_sha256"][:12],
    n_records=len(dataset),
    n_patients=len(np.unique(dataset.patient_id)),
    n_labelled=int(dataset.has_superclass(label_policy).sum()),
    rate=dataset.sampling_rate,
)

# %% [markdown]
# ```{admonition} The data behind this page
# :class: note
# {eval}`f"{facts.n_records:,d}"` records of {eval}`f"{facts.n_patients:,d}"` patients, at
# {eval}`facts.rate` Hz, from {eval}`facts.source`, version {eval}`facts.source_version`, doi
# {eval}`facts.source_doi` ({eval}`facts.license`); {eval}`f"{facts.n_labelled:,d}"` of them carry
# at least one of the five superclasses. The checksum of the prepared file begins with
# {eval}`facts.checksum`. The sample that comes with this book is no random draw from PTB-XL:
# abnormal records are over-represented in it, and so are the earliest ones.
# ```

# %% [markdown]
# ## A record, as a cardiologist reads it
#
# A record is ten seconds of twelve simultaneous voltages. On paper a second takes 25 mm and a
# millivolt 10 mm, so that one small square is 0.04 s by 0.1 mV; the pulse before each row is a
# calibration of 1 mV for 0.2 s. To show one record of each superclass that teaches, and without
# choosing by hand, a rule chooses. The record was checked by a human and has no note about signal
# quality. It carries this superclass and no other under both label policies, by a statement that is
# certain (100%) and seen at a glance: infarction of the front wall, ischaemia, complete bundle branch
# block, hypertrophy of the left ventricle. Among the three with the largest finding, the one with the
# least noise is shown.

# %%
kinds = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
noted = dataset.metadata[kinds].to_numpy() != 0
checked = dataset.metadata["validated_by_human"].to_numpy() == 1
examples = teaching_records(dataset, checked & ~noted.any(axis=1))

# %% [markdown]
# Each is drawn on its own sheet, its rows as far apart as its waves are high. What to look at is
# shaded, where it was measured on the beat that is drawn: from the level at the start of the large
# deflection (QRS). The statements below are those of the physicians who read the record, with the
# likelihood that they gave.

# %%
for name, row in examples.items():
    statements = json.loads(dataset.metadata["scp_codes"][row])
    read = [
        statement_in_words(code) + (f" ({share:.0f}%)" if share else "")
        for code, share in statements.items()
    ]
    title = f"{name}, {CLASS_NAMES[name]}: record {dataset.record_id[row]}"
    beats = beats_of(dataset.signals[row], dataset.sampling_rate)
    marks = marks_for(name, beats) if beats else []
    signal = dataset.signals[row] / 1000  # microvolts to millivolts
    facts(**{f"ecg_{name}": plot_ecg(signal, dataset.sampling_rate, title=title, marks=marks)})
    facts(**{f"read_{name}": ", ".join(read), f"marks_{name}": marks_in_words(marks)})

# %% [markdown]
# ```{figure}
# :alt: Twelve leads on ECG paper. In lead II a small wave, a tall spike and a broad wave are shaded and named P, QRS and T; the beats come evenly.
# :name: fig-ecg-norm
# A normal record (NORM). Three rows show four leads each for 2.5 s, one after the other; the lowest
# row is lead II for all ten seconds, from which the rhythm is read. Shaded: P, the atria; QRS, the
# ventricles; T, their recovery.
# Read as: {eval}`facts.read_NORM`.
#
# {eval}`facts.ecg_NORM`
# ```
#
# {numref}`fig-ecg-norm` is the standard that the other four superclasses depart from.
#
# ```{figure}
# :alt: Twelve leads on ECG paper. In V2 and V3 a beat is shaded that has next to no upstroke and plunges at once.
# :name: fig-ecg-mi
# Myocardial infarction (MI): tissue that died no longer takes part in the depolarisation, which
# shows in the leads that face it, as a deep first downstroke (Q wave) or as a lost upstroke (R).
# Shaded, over the front wall: {eval}`facts.marks_MI`.
# Read as: {eval}`facts.read_MI`.
#
# {eval}`facts.ecg_MI`
# ```
#
# ```{figure}
# :alt: Twelve leads on ECG paper. In V4, V5 and V6 the stretch behind the spike is shaded: it lies below the level that the beat starts from.
# :name: fig-ecg-sttc
# ST/T change (STTC): the heart relaxes electrically in another way, and the segment and wave after
# each large deflection are shifted, flattened or turned over.
# Shaded, 0.06 s behind QRS: {eval}`facts.marks_STTC`.
# Read as: {eval}`facts.read_STTC`.
#
# {eval}`facts.ecg_STTC`
# ```
#
# ```{figure}
# :alt: Twelve leads on ECG paper. A beat in V1, downward, and one in V6, upward, are shaded over their whole width, which is far more than that of a normal spike.
# :name: fig-ecg-cd
# Conduction disturbance (CD): a detour of the excitation changes the width or the axis of the large
# deflection (QRS), or the pause before it; a normal QRS is over within 0.12 s.
# Shaded: {eval}`facts.marks_CD`.
# Read as: {eval}`facts.read_CD`.
#
# {eval}`facts.ecg_CD`
# ```
#
# ```{figure}
# :alt: Twelve leads on ECG paper, the rows far apart. A deep downward spike in V1 and a tall upward one in V5 or V6 are shaded from the base to the tip.
# :name: fig-ecg-hyp
# Hypertrophy (HYP): more muscle makes more voltage, or a longer way for it. On paper it is seen by
# height, which is why the same scale for all records matters.
# Shaded, away from the left ventricle and towards it: {eval}`facts.marks_HYP`.
# Read as: {eval}`facts.read_HYP`.
#
# {eval}`facts.ecg_HYP`
# ```

# %% [markdown]
# ## What is left when leads are dropped
#
# The infarction of {numref}`fig-ecg-mi` again, on the same paper. What a network of this
# configuration reads is black; the rest, grey here, it never sees.

# %%
row = examples["MI"]
reduced = plot_ecg(
    dataset.signals[row] / 1000,
    dataset.sampling_rate,
    configuration.leads,
    title=f"Record {dataset.record_id[row]}, seen through {configuration.name}",
)
facts(ecg_reduced=reduced, config=configuration.name)

# %% [markdown]
# ```{figure}
# :alt: The same infarction on ECG paper, most leads in grey: only the kept ones are black.
# :name: fig-ecg-reduced
# The record of {numref}`fig-ecg-mi` under the configuration {eval}`facts.config`: kept leads in
# black, dropped leads in grey.
#
# {eval}`facts.ecg_reduced`
# ```
#
# Fewer leads are worth having because they need fewer electrodes, and the two do not go in step:
# any chest lead is measured against the mean of three limb electrodes, so that a single chest lead
# needs more wires than two limb leads.

# %%
shown = ["12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-I"]
facts(electrodes=plot_electrodes(shown))

# %% [markdown]
# ```{figure}
# :alt: Four torsos from the front, one for each configuration: electrodes that it needs are filled, the others empty, and arrows between the limb electrodes are the leads I, II and III.
# :name: fig-electrodes
# Electrodes that four configurations need (filled), with the limb leads I, II and III as arrows
# from their negative to their positive pole. RL is the neutral electrode, which every recorder with
# wires has.
#
# {eval}`facts.electrodes`
# ```

# %% [markdown]
# ## Twelve leads, eight signals
#
# Six of the twelve leads come from three limb electrodes, hence from two independent voltages, here
# those of I and II:
#
# * III = II − I (Einthoven's law);
# * aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2 (Goldberger's augmented leads).
#
# If the data are what they claim to be, the recorded leads obey this to within the rounding to
# whole microvolts.

# %%
blocks = np.array_split(dataset.signals, len(dataset) // 500 + 1)  # bounds the memory
# halves of a microvolt are exact in half precision
residuals = np.concatenate([identity_residuals(b).astype(np.float16) for b in blocks])
claims = "III − (II − I)", "aVR + (I + II)/2", "aVL − (I − II/2)", "aVF − (II − I/2)"
by_claim = dict(zip(claims, np.moveaxis(residuals, 1, 0), strict=True))
size = np.abs(residuals)
n_off = int((size.max(axis=(1, 2)) > 2).sum())
facts(
    residuals=plot_einthoven_residuals(by_claim),
    residual_max=float(size.max()),
    residual_999=float(np.percentile(size, 99.9)),
    off={0: "no record has", 1: "one record has"}.get(n_off, f"{n_off:,} records have"),
)

# %% [markdown]
# ```{figure}
# :alt: Four histograms side by side, one for each identity: narrow peaks at zero that fall off within a few microvolts.
# :name: fig-residuals
# Residuals of the four identities over all samples of all records. The axis of shares is
# logarithmic: the outer bars are rare.
#
# {eval}`facts.residuals`
# ```
#
# They do ({numref}`fig-residuals`): 99.9% of all residuals are at most
# {eval}`f"{facts.residual_999:.1f}"` µV, and the largest of all is
# {eval}`f"{facts.residual_max:.1f}"` µV; {eval}`facts.off` a residual of more than 2 µV. One small
# square of the paper is 100 µV.
#
# The same can be asked without knowing the law: how many directions does the cloud of all samples
# extend in? Slow wander of the baseline, below 0.5 Hz, is filtered out first, here and further
# down.

# %%
band = butter(2, 0.5, "highpass", fs=dataset.sampling_rate, output="sos")
covariance = []
for block in blocks:
    steady = sosfiltfilt(band, block.astype(np.float32), axis=-1)  # microvolts
    covariance.append(np.einsum("nit,njt->nij", steady, steady) / steady.shape[-1])
covariance = np.concatenate(covariance)  # (n_records, 12, 12), one matrix a record
spread = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance.mean(axis=0)), 0))[::-1]
facts(
    spread=plot_principal_spread(spread),
    n_signals=int((spread > 2).sum()),
    least_signal=float(spread[spread > 2].min()),
    most_rounding=float(spread[spread <= 2].max()),
)

# %% [markdown]
# ```{figure}
# :alt: Twelve bars on a logarithmic axis, in falling order: those that carry signal stand far above the others, which stay near a dashed line, the level of rounding.
# :name: fig-spread
# Standard deviation along the twelve principal directions of all samples. Rounding to whole
# microvolts alone leaves 0.29 µV, the standard deviation of a uniform distribution of width one.
#
# {eval}`facts.spread`
# ```
#
# {eval}`facts.n_signals` directions carry signal, the least of them
# {eval}`f"{facts.least_signal:.0f}"` µV; the others, at most {eval}`f"{facts.most_rounding:.1f}"`
# µV, are rounding. It follows that six limb leads hold exactly what I and II hold: `6-lead-limb`
# against `2-lead-I-II` is a comparison whose true answer is known, and any difference that the
# analysis finds there comes from training, not from leads.

# %% [markdown]
# ## Five superclasses, two label policies
#
# Physicians described each record by SCP-ECG statements, each with a likelihood. The benchmark on
# PTB-XL counts a statement whatever its likelihood (`any`); the study that this one carries further
# counted it from 50% on (`likelihood50`). The statements then group into five superclasses.

# %%
loose, strict = labels["any"], labels["likelihood50"]
facts(
    prevalence=plot_prevalence(labels),
    n_lost_mi=int((loose & ~strict)[:, CLASSES.index("MI")].sum()),
    n_unlabelled_any=int((~loose.any(axis=1)).sum()),
    n_unlabelled_strict=int((~strict.any(axis=1)).sum()),
)

# %% [markdown]
# ```{figure}
# :alt: Five pairs of bars, one pair a superclass, each with the number of records and its share under the two label policies.
# :name: fig-prevalence
# Records of each superclass under both label policies.
#
# {eval}`facts.prevalence`
# ```
#
# The policies part company over infarction ({numref}`fig-prevalence`): {eval}`f"{facts.n_lost_mi:,}"`
# records lose that label when uncertain statements are left out. Without any superclass are
# {eval}`f"{facts.n_unlabelled_any:,}"` records under `any` and {eval}`f"{facts.n_unlabelled_strict:,}"`
# under `likelihood50`.

# %%
several = labels[label_policy].sum(axis=1) > 1
abnormal = labels[label_policy][:, 1:].any(axis=1)
facts(
    cooccurrence=plot_cooccurrence(labels),
    share_several=float(several.mean()),
    share_several_abnormal=float(several[abnormal].mean()),
)

# %% [markdown]
# ```{figure}
# :alt: Two squares of five by five cells, one for each label policy, darker the larger the share of the row's class that carries the column's class as well.
# :name: fig-cooccurrence
# Records that carry two superclasses; on the diagonal those with one alone. Shades give the share
# of the row's class.
#
# {eval}`facts.cooccurrence`
# ```
#
# Diagnoses come together: {eval}`f"{facts.share_several:.0%}"` of all records, and
# {eval}`f"{facts.share_several_abnormal:.0%}"` of the abnormal ones, carry more than one
# ({numref}`fig-cooccurrence`). So the task is five yes-or-no questions, not one choice among five,
# and a network may learn one class by another's signs.

# %% [markdown]
# ## Who the patients are
#
# Age and sex change the ECG even in health, and with them the shares of the superclasses.

# %%
facts(
    age_sex=plot_age_sex(dataset.age, dataset.sex),
    n_over_89=int((dataset.age > 89).sum()),
    share_old=float((dataset.age >= 60).mean()),  # an unknown age (NaN) does not count
)

# %% [markdown]
# ```{figure}
# :alt: Bars back to back in steps of five years of age, men to the left and women to the right, longest between 50 and 80.
# :name: fig-age-sex
# Age of the patient at each record, men to the left, women to the right.
#
# {eval}`facts.age_sex`
# ```
#
# The patients were seen for a reason and are no cross-section of the population:
# {eval}`f"{facts.share_old:.0%}"` of the records are of people of 60 or older
# ({numref}`fig-age-sex`). For privacy PTB-XL writes 300 for every age over 89
# ({eval}`f"{facts.n_over_89:,}"` records), so that a mean age would mislead.

# %% [markdown]
# ## Folds, and why patients must not cross them
#
# PTB-XL comes in ten folds. Folds 1-8 train, fold 9 chooses, fold 10 is read once for the report. A
# patient whose records stood on both sides could be recognised rather than diagnosed.

# %%
test = dataset.fold == 10
records_of_patient = pd.Series(dataset.patient_id).value_counts()
n_crossing = len(crossing_patients(dataset.patient_id, dataset.fold))
facts(
    folds=plot_folds(dataset.fold, dataset.patient_id, labels[label_policy]),
    crossing={0: "none has", 1: "one has"}.get(n_crossing, f"{n_crossing:,} have"),
    n_repeated=int((records_of_patient > 1).sum()),
    n_test=int(test.sum()),
    n_test_hyp=int((has["HYP"] & test).sum()),
)

# %% [markdown]
# ```{figure}
# :alt: Above, pairs of bars for records and patients in each of ten folds, of like height; below, five lines for the prevalence of each class over the folds.
# :name: fig-folds
# Records, patients and prevalence of each superclass in each fold.
#
# {eval}`facts.folds`
# ```
#
# Of {eval}`f"{facts.n_patients:,d}"` patients, {eval}`f"{facts.n_repeated:,}"` have more than one
# record, and {eval}`facts.crossing` records in more than one fold. The folds differ as folds of this
# size do ({numref}`fig-folds`), and fold 10 holds only {eval}`f"{facts.n_test:,}"` records,
# {eval}`f"{facts.n_test_hyp:,}"` of them with hypertrophy: every figure from it needs its interval.

# %% [markdown]
# ## Signal quality
#
# PTB-XL's annotators left notes on the quality of recordings. Beside them we set rules that anyone
# can check, each with its threshold, such as a flat lead, a baseline that wanders by more than 1.5
# mV, or arm electrodes that look swapped.

# %%
report = assess(dataset)
ruled = report.records[list(RULES)]
fired = ruled.loc[:, ruled.any()].add_prefix("rule: ")
marks = pd.DataFrame(noted, columns=kinds).add_prefix("note: ").join(fired)
facts(quality=plot_quality(marks, labels[label_policy]))

# %% [markdown]
# How far notes and rules agree, and whom they concern:

# %%
by_note, by_rule = noted.any(axis=1), ruled.any(axis=1).to_numpy()
silent = [name.replace("_", " ") for name in RULES if not ruled[name].any()]
facts(
    n_noted=int(by_note.sum()),
    share_noted=float(by_note.mean()),
    n_ruled=int(by_rule.sum()),
    n_both=int((by_note & by_rule).sum()),
    ruled_normal=float(by_rule[~abnormal & has["NORM"]].mean()),
    ruled_abnormal=float(by_rule[abnormal].mean()),
    silent=", ".join(silent) or "none",
)

# %% [markdown]
# ```{figure}
# :alt: A table of colours: notes and rules in rows, all records and each superclass in columns, each cell with a count and a share.
# :name: fig-quality
# Records marked by PTB-XL's notes and by our rules, in number and as a share of all records and of
# each superclass.
#
# {eval}`facts.quality`
# ```
#
# A note stands on {eval}`f"{facts.n_noted:,}"` records ({eval}`f"{facts.share_noted:.0%}"`), a rule
# marks {eval}`f"{facts.n_ruled:,}"`, both {eval}`f"{facts.n_both:,}"` ({numref}`fig-quality`). Rules that marked
# no record: {eval}`facts.silent`. None of the marked records is dropped: a network that is to be used will
# meet the like of them. But a rule marks {eval}`f"{facts.ruled_normal:.0%}"` of the records that
# are normal and nothing else, and {eval}`f"{facts.ruled_abnormal:.0%}"` of the others: perhaps the
# sick lie less still. Bad signal is itself a weak sign of disease, and a network may learn it.

# %% [markdown]
# ## Voltage is information
#
# Many pipelines scale each lead of each record to mean 0 and standard deviation 1 before they
# train. That makes records alike in height, and height is what hypertrophy is read by. We measure,
# on each lead, the distance from the lowest to the highest point of a 2.5 s window, and take the
# median over the record's four windows, so that no single artefact decides.

# %%
baseline = np.median(dataset.signals, axis=-1)
quarters = np.array_split(dataset.signals, 4, axis=-1)
top = np.median([part.max(axis=-1) for part in quarters], axis=0)
bottom = np.median([part.min(axis=-1) for part in quarters], axis=0)
height, depth = (top - baseline) / 1000, (bottom - baseline) / 1000  # millivolts
facts(amplitudes=plot_amplitudes(height - depth, labels[label_policy]))

# %% [markdown]
# ```{figure}
# :alt: A table of colours with the five classes in rows and the twelve leads in columns, in millivolts; the row of hypertrophy is the darkest.
# :name: fig-amplitudes
# Median peak-to-peak voltage of each lead in the records of each superclass.
#
# {eval}`facts.amplitudes`
# ```
#
# Hypertrophy stands out in every lead, and most in the chest leads ({numref}`fig-amplitudes`). The
# best-known criterion for it, that of Sokolow and Lyon (1949, doi 10.1016/0002-8703(49)90562-1),
# adds the depth of S in V1 to the height of R in V5 or V6, whichever is taller, and asks for 3.5 mV.
# We compute it from the distances just measured.

# %%
v1, left = LEADS.index("V1"), [LEADS.index("V5"), LEADS.index("V6")]
sokolow_lyon = height[:, left].max(axis=1) - depth[:, v1]
facts(sokolow_lyon=plot_sokolow_lyon(sokolow_lyon, labels[label_policy]))

# %% [markdown]
# ```{figure}
# :alt: Two overlapping histograms of millivolts, hypertrophy farther to the right than normal, and a dashed line at the criterion of 3.5 mV.
# :name: fig-sokolow-lyon
# The Sokolow-Lyon voltage in normal records and in records with hypertrophy.
#
# {eval}`facts.sokolow_lyon`
# ```
#
# {numref}`fig-sokolow-lyon` shows a shift and a large overlap. How well does the index tell the two
# apart?

# %%
either = has["NORM"] ^ has["HYP"]
called = sokolow_lyon >= 3.5
facts(
    auroc_voltage=float(roc_auc_score(has["HYP"][either], sokolow_lyon[either])),
    n_either=int(either.sum()),
    sensitivity=float(called[has["HYP"]].mean()),
    false_alarms=float(called[has["NORM"]].mean()),
)

# %% [markdown]
# At 3.5 mV the rule finds {eval}`f"{facts.sensitivity:.0%}"` of the records with hypertrophy and
# calls {eval}`f"{facts.false_alarms:.0%}"` of the normal ones. As a score it tells the two apart
# with an AUROC of {eval}`f"{facts.auroc_voltage:.2f}"`, where a coin flip has 0.5 (on
# {eval}`f"{facts.n_either:,d}"` records with one of the two labels). After scaling each lead of
# each record there are no millivolts to compare it with. A network is not this rule and finds other
# signs, but it cannot find what was divided out of its input. That is why the `default` recipe
# divides all leads of all records by one number and the `original` recipe, which scales each lead
# of each record, is kept beside it.

# %% [markdown]
# ## What three leads see of the other nine
#
# How much of a lead that was dropped can be computed from those that were kept? The simplest answer
# is a linear one: for each configuration, regress every lead on the kept ones over folds 1-8, one
# set of coefficients for all patients, and see what it explains of fold 10.

# %%
learn = covariance[dataset.fold <= 8].mean(axis=0)
check = covariance[dataset.fold == 10].mean(axis=0)
explained = {}
for name, member in list(configurations().items())[1:]:
    kept = [LEADS.index(lead) for lead in member.leads]
    block = np.ix_(kept, kept)
    weights = np.linalg.pinv(learn[block], rcond=1e-5, hermitian=True) @ learn[kept]
    fitted = 2 * np.sum(weights * check[kept], axis=0)
    fitted -= np.sum(weights * (check[block] @ weights), axis=0)
    explained[name] = fitted / np.diag(check)
explained = pd.DataFrame.from_dict(explained, orient="index", columns=LEADS)

# %% [markdown]
# {numref}`fig-explained` gives the share of each lead's variance that is explained on records of
# patients whom the regression has not met.

# %%
others = [lead for lead in LEADS[6:] if lead != "V2"]
limb, three = explained.loc["2-lead-I-II"], explained.loc["3-lead-I-II-V2"]
facts(
    explained=plot_variance_explained(explained),
    limb_v2=float(limb["V2"]),
    limb_others=float(limb[others].mean()),
    three_others=float(three[others].mean()),
    three_least=float(three[others].min()),
    three_least_lead=three[others].idxmin(),
)

# %% [markdown]
# ```{figure}
# :alt: A table of colours, configurations in rows and leads in columns: dark where the kept leads explain a lead, pale where they do not, with a dot on the kept ones.
# :name: fig-explained
# Variance of each lead in fold 10 that a linear regression on the kept leads explains; a dot marks
# a kept lead.
#
# {eval}`facts.explained`
# ```
#
# I and II explain all limb leads, as they must, but of V2 only {eval}`f"{facts.limb_v2:.0%}"`: the
# frontal plane is nearly blind to what points forward. Of the other five chest leads they explain
# {eval}`f"{facts.limb_others:.0%}"` on average; with V2 beside them it is
# {eval}`f"{facts.three_others:.0%}"`, and the least explained is {eval}`facts.three_least_lead`
# with {eval}`f"{facts.three_least:.0%}"`.
#
# Variance is not diagnosis: most of it is the height of QRS, and what matters may be small. But it
# says where to expect losses, and the trained networks will have to confirm it.

# %% [markdown]
# ```{admonition} Summary
# * The records are drawn as they are read, and their limb leads obey Einthoven's and Goldberger's
#   identities to within rounding: twelve leads are {eval}`facts.n_signals` signals.
# * Six limb leads hold what I and II hold. Their comparison is a negative control.
# * Diagnoses overlap, and the label policy decides over uncertain infarctions.
# * Of {eval}`f"{facts.n_patients:,d}"` patients {eval}`facts.crossing` records in more than one fold.
# * Voltage tells hypertrophy from normal; scaling each lead of each record throws part of it away.
# * I, II and V2 together explain {eval}`f"{facts.three_others:.0%}"` of the variance of the other chest
#   leads on average, I and II alone {eval}`f"{facts.limb_others:.0%}"`.
# ```
