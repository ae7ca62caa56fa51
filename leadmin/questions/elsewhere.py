"""Other hospitals: do the networks see the same, in the same order, and can they be believed?"""

from importlib.resources import files

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import combine, interval_columns
from leadmin.evidence.resampling import percentile_interval
from leadmin.evidence.scores import ENDS, REFERENCE, Row
from leadmin.evidence.trials import (
    LEAST,
    TOGETHER,
    Hospitals,
    logits_of,
    rank_correlation,
    recalibrated,
    trial_of,
)
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import CHEST_LEADS, electrode_sets, electrodes_needed, resolve
from leadmin.metrics import probabilities
from leadmin.questions import Question, Tables, of
from leadmin.questions.calibration import LINE, class_calibration
from leadmin.questions.electrodes import electrodes_in_words
from leadmin.show import style
from leadmin.show.words import (
    headings,
    number,
    reading_table,
    value_with_interval,
    wide_table,
    with_intervals,
)


def statement_table() -> pd.DataFrame:
    """Read ``statements.csv``: ``vocabulary, statement, meaning, superclass, reason``, all text."""
    with files("leadmin.data").joinpath("statements.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


PAIR = "4-lead-I-II-V2-V5"
"""Five electrodes: the set that validation chose most often at home."""

SHOWN = ("2-lead-I-II", "3-lead-I-II-V2", "I,II,V5", PAIR, "5-lead-I-II-V1-V2-V5", REFERENCE)

N_LOCAL = (25, 50, 100)
"""Local records on which a recalibration is fitted."""

N_SPLITS = 200


def named(hospital: str) -> str:
    """Write a hospital's name as its data set does."""
    known = {"cpsc2018": "CPSC2018", "georgia": "Georgia", "ludb": "LUDB", TOGETHER: "together"}
    return known.get(hospital, hospital)


# --- what is there --------------------------------------------------------------------------


def hospitals_table(evidence: Hospitals) -> pd.DataFrame:
    """Count records: ``hospital, n_records, n_left_out``, and with each class."""
    left, rows = left_out_table(evidence), []
    for fold, hospital in enumerate(map(named, trial_of(evidence)["hospitals"]), start=1):
        labels = evidence.labels[evidence.fold == fold]
        row: Row = {"hospital": hospital, "n_records": len(labels)}
        row["n_left_out"] = left.loc[left["hospital"] == hospital, "n_records"].sum()
        rows.append(row | dict(zip(CLASSES, labels.sum(axis=0, dtype=int), strict=True)))
    return pd.DataFrame(rows)


def left_out_table(evidence: Hospitals) -> pd.DataFrame:
    """List why records do not count: ``hospital, reason, n_records``."""
    rows = pd.DataFrame(trial_of(evidence)["left_out"], columns=list(LEFT_OUT))
    return rows.assign(hospital=rows["hospital"].map(named))


def transport_table(evidence: Hospitals) -> pd.DataFrame:
    """Score every set for each class that counts at a hospital.

    ``hospital, class, n_records, n_positive``; ``config, electrodes, n_electrodes``; ``auroc`` and
    its ``difference`` to the twelve leads, each with ``_low`` and ``_high`` over records; ``home``,
    the set's AUROC on the study's own test records.
    """
    home, rows = trial_of(evidence)["home"], []
    for one in evidence.asked:
        full = evidence.there[REFERENCE, one.hospital, one.name]
        for config in evidence.configs:
            there = evidence.there[config, one.hospital, one.name]
            electrodes = electrodes_needed(resolve(config).leads)
            row: Row = {"hospital": named(one.hospital), "class": one.name}
            row["n_records"] = len(one.rows)
            row["n_positive"] = int(evidence.labels[one.rows, one.place].sum())
            row |= {"config": config, "electrodes": ", ".join(electrodes)}
            row |= {"n_electrodes": len(electrodes)} | interval_columns("auroc", there)
            row |= interval_columns("difference", combine(np.subtract, there, full))
            row["home"] = home[config][one.place] if config in home else float("nan")
            rows.append(row)
    return pd.DataFrame(rows)


def transport_reading(table: pd.DataFrame) -> str:
    """Say what all electrodes reach elsewhere and at home."""
    if table.empty:
        return f"No hospital has {LEAST} records with and without any class."
    parts = [
        f"* {row['hospital']}, {CLASS_NAMES[row['class']]} ({row['n_positive']} of "
        f"{row['n_records']}): {value_with_interval(row, 'auroc')}, at home {number(row['home'])}"
        for row in table[table["config"] == REFERENCE].to_dict("records")
    ]
    return "\n".join(["With nine electrodes the AUROC is:\n", *parts])


def plot_transport(table: pd.DataFrame) -> Figure:
    """Draw the main sets' AUROC for each class that counts at a hospital, with that at home."""
    keys = list(dict.fromkeys(zip(table["hospital"], table["class"], strict=True)))
    keys = [key for key in keys if key[0] != named(TOGETHER)] or keys
    sets = [name for name in SHOWN if name in set(table["config"])]
    figure, axes = style.row_figure(
        map(electrodes_in_words, sets), len(keys), row=0.32, sharex=True
    )
    for axis, (hospital, name) in zip(axes, keys, strict=True):
        rows = table[(table["hospital"] == hospital) & (table["class"] == name)]
        rows = rows.set_index("config").loc[sets]
        look = style.Look(style.CLASS_COLOURS[name])
        style.forest(axis, rows, "auroc", look)
        axis.plot(rows["home"], range(len(sets)), "|", color=style.MUTED, markersize=9)
        axis.set_title(f"{hospital}\n{name}", fontsize=8.5)
        axis.set_xticks([0.5, 0.75, 1.0])
        axis.tick_params(axis="x", labelsize=7)
    axes[0].set_xlim(0.45, 1.02)
    figure.supxlabel("AUROC elsewhere, and at home (grey line)", fontsize=9)
    return figure


def wide_transport(table: pd.DataFrame) -> Styler:
    """Show the main sets' AUROC, a column for each hospital and class."""
    rows = pd.concat([table[table["config"] == config] for config in SHOWN])
    rows = rows.assign(electrodes=rows["config"].map(electrodes_in_words))
    rows = rows.assign(where=rows["hospital"] + ", " + rows["class"])
    return wide_table(rows, {"electrodes": "electrodes"}, "where", with_intervals(rows, "auroc"))


# --- the order ------------------------------------------------------------------------------


def order_table(evidence: Hospitals) -> pd.DataFrame:
    """Compare the order of the electrode sets elsewhere with that at home.

    For each hospital and ``TOGETHER``, over the mean AUROC of the ``classes`` that count there:
    ``n_sets``; ``correlation`` of ranks (Spearman), with ``_low`` and ``_high`` over the records
    elsewhere; what V2 and V5 lose against all nine, ``difference``, and ``home_difference``; their
    ``rank`` among the ``n_pairs`` of two chest electrodes, ``home_rank``, ``best_pair``, and the
    ``share`` of resamples in which no pair is better.
    """
    home, rows = trial_of(evidence)["home"], []
    spaces = [one for one in electrode_sets() if one.name in evidence.runs and one.name in home]
    configs = [one.name for one in spaces]
    ours, all_nine = configs.index(PAIR), configs.index(REFERENCE)
    pairs = [k for k, one in enumerate(spaces) if len(set(one.leads) & set(CHEST_LEADS)) == 2]
    for hospital, classes in evidence.classes_there().items():
        places = [CLASSES.index(name) for name in classes]
        at_home = np.array([np.mean([home[name][k] for k in places]) for name in configs])
        means = [evidence.mean(name, hospital) for name in configs]
        value = np.array([mean.value for mean in means])
        replicates = np.array([mean.replicates for mean in means])
        low, high = percentile_interval(rank_correlation(at_home, replicates))
        row: Row = {"hospital": named(hospital), "classes": ", ".join(classes)}
        row["n_sets"] = len(configs)
        row["correlation"] = float(rank_correlation(at_home, value[:, None])[0])
        row |= {"correlation_low": low, "correlation_high": high}
        lost = combine(np.subtract, means[ours], means[all_nine])
        row |= interval_columns("difference", lost)
        row["home_difference"] = float(at_home[ours] - at_home[all_nine])
        row["n_pairs"] = len(pairs)
        for name, one in (("rank", value), ("home_rank", at_home)):
            row[name] = 1 + int(np.sum(one[pairs] > one[ours]))
        best = pairs[int(np.argmax(value[pairs]))]
        row["best_pair"] = electrodes_in_words(configs[best])
        lost = combine(np.subtract, means[ours], means[best])
        row |= interval_columns("difference_to_best", lost)
        row["share"] = float(np.mean(replicates[ours] >= replicates[pairs].max(axis=0)))
        rows.append(row)
    return pd.DataFrame(rows)


def order_reading(table: pd.DataFrame) -> str:
    """Say whether the order of the sets holds elsewhere."""
    if table.empty:
        return f"No hospital has {LEAST} records with and without any class."
    row = table.to_dict("records")[-1]
    return (
        f"{row['hospital'].capitalize()}, the rank correlation of {row['n_sets']} electrode sets "
        f"with the map at home is {value_with_interval(row, 'correlation', 2)}. V2 + V5 are number "
        f"{row['rank']} of {row['n_pairs']} pairs there (at home number {row['home_rank']})."
    )


def plot_order(tables: Tables) -> Figure | None:
    """Draw the mean AUROC of each electrode set elsewhere against that at home."""
    table, order = tables["transport"], tables["order"]
    if table.empty:
        return None
    figure, (axes,) = style.panels(3.1, 1, len(order), squeeze=False)
    spaces = {space.name for space in electrode_sets()}
    table = table[table["config"].isin(spaces)].dropna(subset="home")
    for axis, row in zip(axes, order.to_dict("records"), strict=True):
        rows = table[table["hospital"] == row["hospital"]]
        means = rows.groupby("config")[["home", "auroc", "n_electrodes"]].mean()
        few = means["n_electrodes"] < 4  # limb electrodes alone
        axis.plot(means["home"][~few], means["auroc"][~few], "o", color=style.SKY, markersize=3.5)
        axis.plot(means["home"][few], means["auroc"][few], "s", color=style.MUTED, markersize=4)
        axis.plot(*means.loc[PAIR, ["home", "auroc"]], "D", color=style.VERMILLION, markersize=6)
        correlation = number(row["correlation"], 2)
        axis.set_title(f"{row['hospital']}: {correlation}\n{row['classes']}", fontsize=8.5)
        axis.locator_params(axis="x", nbins=4)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("mean AUROC elsewhere")
    figure.supxlabel("mean AUROC of the same classes at home", fontsize=9)
    keys = {
        "with chest electrodes": style.key(style.Look(style.SKY)),
        "limb electrodes alone": style.key(style.Look(style.MUTED, "s")),
        "V2 + V5": style.key(style.Look(style.VERMILLION, "D")),
    }
    style.legend(figure, keys, loc="outside upper center", ncols=3, fontsize=8)
    return figure


# --- the probabilities ----------------------------------------------------------------------


def trust_table(evidence: Hospitals) -> pd.DataFrame:
    """Say how well probabilities fit elsewhere: ``hospital, class, config, electrodes``.

    ``prevalence`` and ``mean_probability``; ``slope`` and ``offset`` of the calibration line with
    ``_low`` and ``_high``; ``ece``.
    """
    rows = []
    for one in evidence.asked:
        weights = evidence.weights[one.rows]
        for config in ("2-lead-I-II", PAIR, REFERENCE):
            y, x = logits_of(evidence, config, one)
            row: Row = {"hospital": named(one.hospital), "class": one.name}
            row |= {"config": config, "electrodes": electrodes_in_words(config)}
            row |= {"prevalence": y.mean(), "mean_probability": probabilities(x).mean()}
            found = class_calibration(y, [x], weights)
            row |= {f"{name}{end}": found[f"{name}{end}"] for name in LINE for end in ENDS}
            rows.append(row | {"ece": found["ece"]})
    return pd.DataFrame(rows)


def mended_table(evidence: Hospitals) -> pd.DataFrame:
    """Say what a recalibration on a few local records mends, for all nine electrodes.

    ``hospital, class, n_local``, and the means over seeded splits of
    `leadmin.evidence.trials.recalibrated`; of single hospitals, where they have twice as many.
    """
    rows = []
    for one in evidence.asked:
        for n_local in N_LOCAL:
            if one.hospital == TOGETHER or len(one.rows) < 2 * n_local - 10:
                continue
            rng = np.random.default_rng([evidence.seed, n_local, one.place])
            y, x = logits_of(evidence, REFERENCE, one)
            row = {"hospital": named(one.hospital), "class": one.name, "n_local": n_local}
            rows.append(row | recalibrated(y, x, n_local, N_SPLITS, rng))
    return pd.DataFrame(rows)


def trust_reading(trust: pd.DataFrame, mended: pd.DataFrame) -> str:
    """Say how far the mean probability is off, and what local records mend."""
    single = trust[(trust["config"] == REFERENCE) & (trust["hospital"] != named(TOGETHER))]
    parts = [
        f"* {row['hospital']}, {CLASS_NAMES[row['class']]}: mean probability "
        f"{number(row['mean_probability'], 2)}, prevalence {number(row['prevalence'], 2)}, "
        f"slope {value_with_interval(row, 'slope', 2)}"
        for row in single.to_dict("records")
    ]
    said = "\n".join(["With nine electrodes:\n", *parts])
    fifty = mended[mended["n_local"] == 50] if len(mended) else mended
    if len(fifty):
        means = fifty[["ece", "ece_shift", "ece_platt"]].mean()
        said += (
            "\n\nOn average over these, 50 local records bring the expected calibration error on "
            f"the others from {number(means['ece'])} to {number(means['ece_shift'])} by an "
            f"offset, and to {number(means['ece_platt'])} by offset and slope."
        )
    return said


HOSPITALS = headings("hospital", "n_records", "n_left_out", *CLASSES)
LEFT_OUT = headings("hospital", "reason", "n_records")

TRANSPORT = Question(
    name="transport",
    title="Do other hospitals' records say the same?",
    tables={
        "hospitals": hospitals_table,
        "left_out": left_out_table,
        "transport": transport_table,
    },
    reading=lambda tables: transport_reading(tables["transport"]),
    figures={"transport": of("transport", plot_transport)},
    shown={"Records of each hospital": of("hospitals", reading_table, HOSPITALS)},
    folded={
        "AUROC of the main sets": of("transport", wide_transport),
        "Why records were left out": of("left_out", reading_table, LEFT_OUT),
    },
    about="elsewhere",
)

IN_ORDER = headings("hospital", "classes", correlation="rank correlation")
IN_ORDER |= headings(difference="V2 + V5 less nine", rank="V2 + V5 among pairs")
IN_ORDER |= headings(best_pair="best pair there", difference_to_best="V2 + V5 less it")

ORDER = Question(
    name="order",
    title="Does the order of electrode sets hold elsewhere?",
    tables={"order": order_table},
    reading=lambda tables: order_reading(tables["order"]),
    figures={"order": plot_order},
    shown={
        "How far the order of electrode sets holds": of(
            "order", reading_table, IN_ORDER, {"correlation": 2}
        )
    },
    about="elsewhere",
)

CALIBRATED = headings("hospital", "class", "electrodes", "prevalence", "mean_probability")
CALIBRATED |= headings(*LINE, "ece")
MENDED = headings("hospital", "class", n_local="local records")
MENDED |= headings("gap", gap_shift="by offset", gap_platt="by both")
MENDED |= headings(brier="Brier", brier_shift="Brier, offset", brier_platt="Brier, both")

TRUST = Question(
    name="trust",
    title="Can the probabilities be believed elsewhere?",
    tables={"trust": trust_table, "mended": mended_table},
    reading=lambda tables: trust_reading(tables["trust"], tables["mended"]),
    shown={"Calibration at each hospital": of("trust", reading_table, CALIBRATED, 2)},
    folded={"What local records mend": of("mended", reading_table, MENDED)},
    about="elsewhere",
)
