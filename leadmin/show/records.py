"""Figures of the records themselves.

``labels`` are 0/1 under one label policy, ``(n_records, 5)`` in the order of
`leadmin.labels.CLASSES`. Where a figure compares policies, it takes a mapping of policy to labels.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import LEADS, resolve
from leadmin.show.style import (
    BARS,
    CLASS_COLOURS,
    CRITERION,
    DASHED,
    MUTED,
    ORANGE,
    PER_CENT,
    grouped_bars,
    heatmap,
    label_line_ends,
    panels,
    read_across,
)


def plot_prevalence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how many records carry each superclass, under each label policy."""
    n_records = len(np.asarray(next(iter(labels.values()))))
    counts = pd.DataFrame({policy: np.sum(array, axis=0) for policy, array in labels.items()})
    figure, axis = panels(2.9)
    grouped_bars(axis, counts, horizontal=True)
    for bars, policy in zip(axis.containers, counts, strict=True):
        texts = [f"{count:,} ({count / n_records:.0%})" for count in counts[policy]]
        axis.bar_label(bars, texts, padding=4, fontsize=8)
    axis.set_yticks(range(len(CLASSES)), [f"{name}  {CLASS_NAMES[name]}" for name in CLASSES])
    axis.invert_yaxis()
    read_across(axis)
    axis.margins(x=0.14)
    axis.set_xlabel(f"records (of {n_records:,}; a record may carry several classes)")
    axis.legend(title="label policy", loc="lower right", alignment="left")
    return figure


def plot_cooccurrence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how often superclasses occur together, one panel a label policy.

    A cell counts the records with both classes, shaded by the share of the row's class; on the
    diagonal, those with this class alone.
    """
    figure, (axes,) = panels(3.5, 1, len(labels), sharey=True, squeeze=False)
    bar = {"label": "share of the row's class", "shrink": 0.8, "format": PER_CENT}
    for axis, (policy, array) in zip(axes, labels.items(), strict=True):
        binary = np.asarray(array, dtype=np.int64)
        counts = binary.T @ binary
        totals = np.maximum(np.diag(counts), 1)
        np.fill_diagonal(counts, binary[binary.sum(axis=1) == 1].sum(axis=0))
        shares = pd.DataFrame(counts / totals[:, None], index=CLASSES, columns=CLASSES)
        texts = [[f"{value:,}" for value in row] for row in counts]
        heatmap(axis, shares, vmin=0, vmax=1, square=True, annot=texts, cbar=axis is axes[-1],
                cbar_kws=bar)  # fmt: skip
        axis.set_title(f"policy: {policy}")
    axes[0].set_ylabel("records with ...")
    figure.supxlabel("... that also carry (diagonal: no other class)", fontsize=9)
    return figure


def plot_age_sex(age: ArrayLike, sex: ArrayLike) -> Figure:
    """Draw the age of the records' patients in steps of five years, men and women back to back.

    ``age`` and ``sex`` are (n_records,): years, NaN where unknown, of which PTB-XL writes 300 for
    everyone over 89, who share the top step; and 0 male, 1 female, -1 unknown.
    """
    years, sexes = np.asarray(age, dtype=float), np.asarray(sex)
    known = np.isfinite(years)
    edges = np.arange(0, 96, 5)
    figure, axis = panels(3.4)
    sides = (("men", 0, -1, BARS[0], 0.02), ("women", 1, 1, BARS[1] | {"color": ORANGE}, 0.98))
    for name, code, direction, look, x in sides:
        mine = sexes == code
        counts, _ = np.histogram(np.where(years > 89, 92.0, years)[mine & known], edges)
        axis.barh(edges[:-1] + 2.5, direction * counts, 4.5, **look)
        text = f"{name}: {mine.sum():,}"
        if (mine & (years <= 89)).any():
            text += f"\nmedian {np.median(years[mine & (years > 0)]):.0f} years"
        axis.text(x, 0.97, text, transform=axis.transAxes, va="top", fontsize=9,
                  ha="left" if direction < 0 else "right")  # fmt: skip
    axis.axvline(0, color="white", linewidth=1.2)
    reach = max(1.0, *np.abs(axis.dataLim.intervalx))
    axis.set_xlim(-1.08 * reach, 1.08 * reach)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
    axis.set_yticks([*range(0, 90, 10), 92.5], [*map(str, range(0, 90, 10)), "over 89"])
    read_across(axis)
    axis.set(xlabel="records", ylabel="age (years)")
    unknown = int((~known | (sexes < 0)).sum())
    if unknown:
        axis.set_title(f"{unknown:,} records without age or sex are not drawn", fontsize=8.5,
                       fontweight="normal")  # fmt: skip
    return figure


def plot_folds(fold: ArrayLike, patient_id: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw what each fold holds: records and patients as bars, the prevalence of each class.

    ``fold`` and ``patient_id`` are (n_records,).
    """
    binary = pd.DataFrame(np.asarray(labels), columns=CLASSES)
    by_fold = pd.DataFrame({"patient": patient_id, "fold": fold}).groupby("fold")["patient"]
    counts = by_fold.agg(["size", "nunique"])
    counts.columns = ["records", "patients"]
    prevalence = binary.groupby(np.asarray(fold)).mean()
    first, last = counts.index[[0, -1]]
    figure, (upper, lower) = panels(4.3, 2, 1, sharex=True, height_ratios=(1, 1.5))
    grouped_bars(upper, counts)
    upper.set_ylabel("count")
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    sns.lineplot(prevalence, palette=CLASS_COLOURS, markers=list("osD^v"), dashes=False,
                 markersize=5.5, linewidth=1.3, legend=False, ax=lower)  # fmt: skip
    lower.set(xlabel="fold", ylabel="prevalence", xticks=counts.index)
    lower.set_ylim(bottom=0)
    lower.set_xlim(first - 0.6, last + 1.0)
    lower.yaxis.set_major_formatter(PER_CENT)
    label_line_ends(lower, last + 0.15, {name: (prevalence.loc[last, name], CLASS_COLOURS[name])
                                         for name in CLASSES})  # fmt: skip
    if set(counts.index) == set(range(1, 11)):
        for axis in (upper, lower):
            axis.axvspan(8.5, 9.5, color="#f3f4f6", zorder=0)
            axis.axvspan(9.5, 10.5, color="#e7e9ed", zorder=0)
        for x, part in ((4.5, "train"), (9, "validate"), (10, "test")):
            upper.text(x, 1.02, part, transform=upper.get_xaxis_transform(), ha="center",
                       va="bottom", fontsize=8.5, color=MUTED)  # fmt: skip
    return figure


def plot_quality(flags: pd.DataFrame, labels: ArrayLike) -> Figure:
    """Draw how many records each quality rule or note marks, over all and in each superclass.

    ``flags``, bool (n_records, n_rules), says which records are marked; its columns are the rules
    as they should be written.
    """
    members = np.insert(np.asarray(labels, dtype=bool), 0, True, axis=1)
    counts = flags.to_numpy(dtype=np.int64).T @ members
    sizes = members.sum(axis=0)
    shares = pd.DataFrame(
        counts / np.maximum(sizes, 1),
        index=[str(name).replace("_", " ") for name in flags.columns],
        columns=[f"{name}\n({n:,})" for name, n in zip(("all", *CLASSES), sizes, strict=True)],
    )
    texts = [
        [f"{count:,} ({share:.0%})" if count else "0" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares.to_numpy(), strict=True)
    ]
    figure, axis = panels(0.34 * len(shares) + 1.0)
    bar = {"label": "share of records", "format": PER_CENT}
    heatmap(axis, shares, vmin=0, annot=texts, cbar_kws=bar)
    axis.set_xlabel("superclass (records)")
    return figure


def plot_einthoven_residuals(residuals: Mapping[str, ArrayLike]) -> Figure:
    """Draw how far the limb leads are from the identities that bind them, one panel an identity.

    ``residuals``, by the identity as it should be written, such as ``"III - (II - I)"``, are those
    of all samples in microvolts, of any shape.
    """
    flat = {name: np.asarray(values).ravel() for name, values in residuals.items()}
    largest = {name: float(np.abs(values).max()) for name, values in flat.items()}
    reach = max(2.0, *np.ceil(list(largest.values())))
    step = 0.5 if reach <= 12 else reach / 24
    edges = np.arange(-reach - step / 2, reach + step, step)
    figure, (axes,) = panels(2.9, 1, len(flat), sharey=True, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes, flat.items(), strict=True):
        counts, _ = np.histogram(values, edges)
        axis.bar(edges[:-1] + step / 2, counts / values.size, 0.9 * step, **BARS[0])
        axis.set_yscale("log")
        axis.set_title(name, fontsize=9, loc="center")
        axis.text(0.97, 0.96, f"largest\n{largest[name]:.1f} µV", transform=axis.transAxes,
                  ha="right", va="top", fontsize=8, color=MUTED)  # fmt: skip
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("share of samples")
    figure.supxlabel("residual (µV)", fontsize=9)
    return figure


def plot_principal_spread(spread: ArrayLike) -> Figure:
    """Draw how far the samples of all leads extend in each principal direction.

    The broken line is what rounding to whole microvolts leaves: the standard deviation of a uniform
    distribution of width one, 1/sqrt(12). ``spread``, (n_leads,), is the standard deviation along
    each direction in microvolts, in falling order.
    """
    values = np.asarray(spread, dtype=float)
    numbers = np.arange(1, values.size + 1)
    figure, axis = panels(2.8)
    for name, mine, look in (("signal", values > 2, BARS[0]), ("rounding", values <= 2, BARS[1])):
        bars = axis.bar(numbers[mine], values[mine], 0.72, label=name, **look)
        axis.bar_label(bars, fmt="%.0f" if name == "signal" else "%.2f", padding=2, fontsize=8.5)
    axis.axhline(1 / np.sqrt(12), label="what rounding to 1 µV leaves", **CRITERION)
    axis.set(xlabel="principal direction", ylabel="standard deviation (µV)", xticks=numbers,
             yscale="log", xlim=(0.4, values.size + 0.6), ylim=(0.1, 2 * values.max()))  # fmt: skip
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="upper right")
    return figure


def plot_amplitudes(amplitude: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw each lead's median amplitude in the records of each class.

    ``amplitude``, (n_records, 12) in mV, is such as the QRS peak-to-peak voltage.
    """
    values = np.asarray(amplitude, dtype=float)
    medians = [np.nanmedian(values[of], axis=0) for of in np.asarray(labels, dtype=bool).T]
    figure, axis = panels(2.6)
    heatmap(axis, pd.DataFrame(medians, index=CLASSES, columns=LEADS), annot=True, fmt=".2f",
            cbar_kws={"label": "median (mV)"})  # fmt: skip
    axis.set_xlabel("lead")
    return figure


SOKOLOW_LYON = 3.5
"""The criterion, in mV (Sokolow and Lyon 1949, doi 10.1016/0002-8703(49)90562-1)."""


def plot_sokolow_lyon(index: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw the Sokolow-Lyon voltage of hypertrophy against that of normal records.

    ``index``, (n_records,) in mV, is the depth of S in V1 plus the height of R in V5 or V6,
    whichever is taller.
    """
    values = np.asarray(index, dtype=float)
    binary = np.asarray(labels, dtype=bool)
    # the last bar gathers the few records beyond, which are mostly artefacts
    top = np.ceil(4 * max(np.nanpercentile(values, 99.5), SOKOLOW_LYON)) / 4 + 0.25
    edges = np.arange(0, top + 0.25, 0.25)
    figure, axis = panels(3.1)
    for name, line in (("NORM", "-"), ("HYP", DASHED)):
        mine = np.clip(values[binary[:, CLASSES.index(name)]], 0, top - 1e-6)
        shares = np.histogram(mine, edges)[0] / max(mine.size, 1)
        axis.stairs(shares, edges, fill=True, alpha=0.22, color=CLASS_COLOURS[name])
        axis.stairs(shares, edges, color=CLASS_COLOURS[name], linewidth=1.7, linestyle=line,
                    label=f"{name}: {mine.size:,} records, {np.mean(mine >= SOKOLOW_LYON):.0%} "
                    f"at or beyond {SOKOLOW_LYON} mV")  # fmt: skip
    axis.axvline(SOKOLOW_LYON, **CRITERION)
    axis.annotate("criterion", (SOKOLOW_LYON, 0.97), (5, 0), xycoords=axis.get_xaxis_transform(),
                  textcoords="offset points", va="top", fontsize=8.5, color=MUTED)  # fmt: skip
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PER_CENT)
    beyond = f"; last bar: {top - 0.25:g} and more" if np.nanmax(values) > top else ""
    axis.set(xlabel=f"S in V1 + R in V5 or V6 (mV){beyond}", xlim=(0, edges[-1]),
             ylabel="share of the class per 0.25 mV")  # fmt: skip
    axis.margins(y=0.12)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_variance_explained(explained: pd.DataFrame) -> Figure:
    """Draw how much of each lead's variance a set of leads explains; a dot where the set holds it.

    ``explained``, (n_configs, 12), has R squared by configuration and lead.
    """
    values = explained[list(LEADS)].clip(lower=0)
    texts = values.map("{:.2f}".format)
    for config in values.index:
        texts.loc[config, list(resolve(str(config)).leads)] = "•"
    figure, axis = panels(0.31 * len(explained) + 0.9)
    heatmap(axis, values, vmin=0, vmax=1, annot=texts.to_numpy(),
            cbar_kws={"label": "variance explained ($R^2$)"})  # fmt: skip
    axis.set_xlabel("lead to be explained")
    return figure
