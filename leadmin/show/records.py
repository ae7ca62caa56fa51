"""Figures of the records themselves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from leadmin.errors import LeadminError
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import LEADS, resolve
from leadmin.show.style import (
    CLASS_COLOURS,
    FAINT,
    GAIN_MAP,
    INK,
    MUTED,
    OKABE_ITO,
    blank_figure,
    checked_labels,
    heatmap,
    label_line_ends,
    require_columns,
)


def plot_prevalence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how many records carry each superclass, under each label policy.

    Parameters
    ----------
    labels : mapping of str to array_like, shape (n_records, 5)
        Label policy to 0/1 labels in the order of :data:`leadmin.labels.CLASSES`.

    Returns
    -------
    Figure
        Bars with the count and the share of all records.
    """
    figure = blank_figure(2.9)
    axis = figure.subplots()
    look = ((OKABE_ITO["blue"], ""), (OKABE_ITO["sky"], "////"), (FAINT, "...."))
    policies = list(labels)
    thickness = 0.8 / len(policies)
    n_records = 0
    for place, policy in enumerate(policies):
        array = checked_labels(labels[policy], "plot_prevalence")
        n_records = len(array)
        counts = array.sum(axis=0)
        colour, hatch = look[place % len(look)]
        positions = np.arange(len(CLASSES)) + (place - (len(policies) - 1) / 2) * thickness
        bars = axis.barh(
            positions,
            counts,
            thickness * 0.92,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=policy,
        )
        axis.bar_label(
            bars,
            [f"{count:,} ({count / n_records:.0%})" for count in counts],
            padding=4,
            fontsize=8,
        )
    axis.set_yticks(range(len(CLASSES)), [f"{name}  {CLASS_NAMES[name]}" for name in CLASSES])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.margins(x=0.14)
    axis.set_xlabel(f"records (of {n_records:,}; a record may carry several classes)")
    axis.legend(title="label policy", loc="lower right", alignment="left")
    return figure


def plot_cooccurrence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how often superclasses occur together, one panel a label policy.

    Parameters
    ----------
    labels : mapping of str to array_like, shape (n_records, 5)
        Label policy to 0/1 labels in the order of :data:`leadmin.labels.CLASSES`.

    Returns
    -------
    Figure
        Each cell: the number of records with both classes, shaded by the share of the row's
        class; on the diagonal, those with this class alone.
    """
    figure = blank_figure(3.5)
    axes = np.atleast_1d(figure.subplots(1, len(labels), sharey=True))
    for axis, (policy, array) in zip(axes, labels.items(), strict=True):
        binary = checked_labels(array, "plot_cooccurrence").astype(np.int64)
        counts = binary.T @ binary
        totals = np.maximum(np.diag(counts), 1)
        alone = binary[binary.sum(axis=1) == 1].sum(axis=0)
        shown = counts.copy()
        np.fill_diagonal(shown, alone)
        heatmap(axis, shown / totals[:, None], cmap=GAIN_MAP, vmin=0, vmax=1, square=True,
                 annot=[[f"{value:,}" for value in row] for row in shown],
                 xticklabels=CLASSES, yticklabels=CLASSES, cbar=axis is axes[-1],
                 cbar_kws={"label": "share of the row's class", "shrink": 0.8,
                           "format": PercentFormatter(1, decimals=0)})  # fmt: skip
        axis.set_title(f"policy: {policy}")
    axes[0].set_ylabel("records with ...")
    figure.supxlabel("... that also carry (diagonal: no other class)", fontsize=9)
    return figure


def plot_age_sex(age: ArrayLike, sex: ArrayLike) -> Figure:
    """Draw the age of the records' patients, men and women back to back.

    Parameters
    ----------
    age : array_like, shape (n_records,), years
        NaN where unknown; PTB-XL writes 300 for everyone over 89.
    sex : array_like, shape (n_records,)
        0 male, 1 female, -1 unknown.

    Returns
    -------
    Figure
        A pyramid in steps of five years; the top step holds all ages over 89.
    """
    years, sexes = np.asarray(age, dtype=float), np.asarray(sex)
    edges = np.arange(0, 96, 5)
    centres = edges[:-1] + 2.5
    binned = np.where(years > 89, 92.0, years)
    figure = blank_figure(3.4)
    axis = figure.subplots()
    sides = (("men", 0, -1, OKABE_ITO["blue"], ""), ("women", 1, 1, OKABE_ITO["orange"], "////"))
    limit = 1.0
    for name, code, direction, colour, hatch in sides:
        mine = sexes == code
        counts, _ = np.histogram(binned[mine & np.isfinite(years)], edges)
        limit = max(limit, counts.max())
        axis.barh(
            centres,
            direction * counts,
            4.5,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
        )
        exact = years[mine & (years <= 89)]
        axis.text(0.02 if direction < 0 else 0.98, 0.97,
                  f"{name}: {mine.sum():,}\nmedian {np.median(years[mine & (years > 0)]):.0f} years"
                  if exact.size else f"{name}: {mine.sum():,}",
                  transform=axis.transAxes, va="top", ha="left" if direction < 0 else "right",
                  fontsize=9)  # fmt: skip
    axis.axvline(0, color="white", linewidth=1.2)
    axis.set_xlim(-1.08 * limit, 1.08 * limit)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
    axis.set_yticks([*range(0, 90, 10), 92.5], [*map(str, range(0, 90, 10)), "over 89"])
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.set(xlabel="records", ylabel="age (years)")
    unknown = int((~np.isfinite(years) | (sexes < 0)).sum())
    if unknown:
        axis.set_title(
            f"{unknown:,} records without age or sex are not drawn",
            fontsize=8.5,
            fontweight="normal",
        )
    return figure


def plot_folds(fold: ArrayLike, patient_id: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw what each fold holds: records, patients and the prevalence of each class.

    Parameters
    ----------
    fold : array_like, shape (n_records,)
        1 to 10.
    patient_id : array_like, shape (n_records,)
        Records of one patient share it.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        Records and patients as bars, prevalence as one line a class.
    """
    folds, patients = np.asarray(fold), np.asarray(patient_id)
    binary = checked_labels(labels, "plot_folds")
    numbers = np.unique(folds)
    records = np.array([(folds == number).sum() for number in numbers])
    persons = np.array([np.unique(patients[folds == number]).size for number in numbers])
    figure = blank_figure(4.3)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.5))
    upper.bar(numbers - 0.2, records, 0.38, color=OKABE_ITO["blue"], label="records")
    upper.bar(
        numbers + 0.2,
        persons,
        0.38,
        color=OKABE_ITO["sky"],
        hatch="////",
        edgecolor="white",
        linewidth=0.5,
        label="patients",
    )
    upper.set_ylabel("count")
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    for column, (name, marker) in enumerate(zip(CLASSES, "osD^v", strict=True)):
        share = [binary[folds == number, column].mean() for number in numbers]
        lower.plot(
            numbers, share, color=CLASS_COLOURS[name], marker=marker, markersize=4.5, linewidth=1.3
        )
    label_line_ends(
        lower,
        numbers[-1] + 0.15,
        [
            (binary[folds == numbers[-1], column].mean(), name, CLASS_COLOURS[name])
            for column, name in enumerate(CLASSES)
        ],
    )
    lower.set(xlabel="fold", ylabel="prevalence", xticks=numbers)
    lower.set_ylim(bottom=0)
    lower.set_xlim(numbers[0] - 0.6, numbers[-1] + 1.0)
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if set(numbers) == set(range(1, 11)):
        for axis in (upper, lower):
            axis.axvspan(8.5, 9.5, color="#f3f4f6", zorder=0)
            axis.axvspan(9.5, 10.5, color="#e7e9ed", zorder=0)
        for x, part in ((4.5, "train"), (9, "validate"), (10, "test")):
            upper.text(
                x,
                1.02,
                part,
                transform=upper.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=MUTED,
            )
    return figure


def plot_quality(flags: pd.DataFrame, labels: ArrayLike) -> Figure:
    """Draw how many records each quality rule or note marks, over all and in each superclass.

    Parameters
    ----------
    flags : DataFrame of bool, shape (n_records, n_rules)
        Column: the rule as it should be written; True: the record is marked.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        A heat map of shares with the counts written in, rules by all records and superclasses.

    Raises
    ------
    LeadminError
        If there is no rule, or the numbers of records differ.
    """
    binary = checked_labels(labels, "plot_quality").astype(bool)
    if flags.shape[1] == 0 or len(flags) != len(binary):
        raise LeadminError(
            f"plot_quality: flags have the shape {flags.shape}; expected ({len(binary)}, n_rules), "
            "a row for each record of the labels."
        )
    groups = {"all": np.ones(len(binary), dtype=bool)} | dict(zip(CLASSES, binary.T, strict=True))
    marked = flags.to_numpy(dtype=bool)
    counts = np.array([marked[members].sum(axis=0) for members in groups.values()]).T
    sizes = np.array([members.sum() for members in groups.values()])
    shares = pd.DataFrame(
        counts / np.maximum(sizes, 1),
        index=[str(name).replace("_", " ") for name in flags.columns],
        columns=[f"{name}\n({size:,})" for name, size in zip(groups, sizes, strict=True)],
    )
    texts = [
        [f"{count:,} ({share:.0%})" if count else "0" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares.to_numpy(), strict=True)
    ]
    figure = blank_figure(0.34 * len(shares) + 1.0)
    axis = figure.subplots()
    heatmap(
        axis,
        shares,
        cmap=GAIN_MAP,
        vmin=0,
        annot=texts,
        cbar_kws={"label": "share of records", "format": PercentFormatter(1, decimals=0)},
    )
    axis.set(xlabel="superclass (records)", ylabel="")
    return figure


def plot_einthoven_residuals(residuals: Mapping[str, ArrayLike]) -> Figure:
    """Draw how far the limb leads are from the identities that bind them.

    Parameters
    ----------
    residuals : mapping of str to array_like, microvolts
        The identity as it should be written, such as ``"III - (II - I)"``, to the residuals of
        all samples, of any shape.

    Returns
    -------
    Figure
        One panel an identity: the share of samples at each residual, on a logarithmic axis.
    """
    figure = blank_figure(2.9)
    axes = np.atleast_1d(figure.subplots(1, len(residuals), sharey=True, sharex=True))
    flat = {name: np.asarray(values).ravel() for name, values in residuals.items()}
    reach = max(2.0, float(np.ceil(max(np.abs(values).max() for values in flat.values()))))
    step = 0.5 if reach <= 12 else reach / 24
    edges = np.arange(-reach - step / 2, reach + step, step)
    for axis, (name, values) in zip(axes, flat.items(), strict=True):
        counts, _ = np.histogram(values, edges)
        axis.bar(edges[:-1] + step / 2, counts / values.size, step * 0.9, color=OKABE_ITO["blue"])
        axis.set_yscale("log")
        axis.set_title(name, fontsize=9, loc="center")
        largest = np.abs(values).max()
        axis.text(
            0.97,
            0.96,
            f"largest\n{largest:.1f} µV",
            transform=axis.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            color=MUTED,
        )
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("share of samples")
    figure.supxlabel("residual (µV)", fontsize=9)
    return figure


def plot_principal_spread(spread: ArrayLike) -> Figure:
    """Draw how far the samples of all leads extend in each principal direction.

    Parameters
    ----------
    spread : array_like, shape (n_leads,), microvolts
        Standard deviation along each direction, in falling order.

    Returns
    -------
    Figure
        Bars on a logarithmic axis, with the level that rounding to whole microvolts leaves: the
        standard deviation of a uniform distribution of width one, 1/sqrt(12).
    """
    values = np.asarray(spread, dtype=float)
    figure = blank_figure(2.8)
    axis = figure.subplots()
    numbers = np.arange(1, values.size + 1)
    signal = values > 2
    axis.bar(numbers[signal], values[signal], 0.72, color=OKABE_ITO["blue"], label="signal")
    axis.bar(
        numbers[~signal],
        values[~signal],
        0.72,
        color=OKABE_ITO["sky"],
        hatch="////",
        edgecolor="white",
        linewidth=0.5,
        label="rounding",
    )
    axis.axhline(
        1 / np.sqrt(12),
        color=INK,
        linewidth=1.0,
        linestyle=(0, (3, 2)),
        label="what rounding to 1 µV leaves",
    )
    axis.set_yscale("log")
    for number, value in zip(numbers, values, strict=True):
        text = f"{value:.0f}" if value > 2 else f"{value:.2f}"
        axis.annotate(
            text, (number, value), (0, 2), textcoords="offset points", ha="center", fontsize=8.5
        )
    axis.set(xlabel="principal direction", ylabel="standard deviation (µV)", xticks=numbers)
    axis.set_xlim(0.4, values.size + 0.6)
    axis.set_ylim(0.1, values.max() * 2)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="upper right")
    return figure


def plot_amplitudes(amplitude: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw each lead's typical amplitude for each class.

    Parameters
    ----------
    amplitude : array_like, shape (n_records, 12), mV
        One number a record and lead, such as the QRS peak-to-peak voltage.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        A heat map of medians, classes by leads.
    """
    values = np.asarray(amplitude, dtype=float)
    binary = checked_labels(labels, "plot_amplitudes").astype(bool)
    medians = pd.DataFrame(
        [np.nanmedian(values[binary[:, column]], axis=0) for column in range(len(CLASSES))],
        index=CLASSES,
        columns=LEADS,
    )
    figure = blank_figure(2.6)
    axis = figure.subplots()
    heatmap(axis, medians, cmap=GAIN_MAP, annot=True, fmt=".2f",
             cbar_kws={"label": "median (mV)"})  # fmt: skip
    axis.set(xlabel="lead", ylabel="")
    return figure


def plot_sokolow_lyon(index: ArrayLike, labels: ArrayLike, threshold: float = 3.5) -> Figure:
    """Draw the Sokolow-Lyon voltage of hypertrophy against that of normal records.

    Parameters
    ----------
    index : array_like, shape (n_records,), mV
        Depth of S in V1 plus height of R in V5.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.
    threshold : float, default 3.5 mV
        The criterion (Sokolow and Lyon 1949, doi 10.1016/0002-8703(49)90562-1).

    Returns
    -------
    Figure
        Two densities and the share of each beyond the criterion.
    """
    values = np.asarray(index, dtype=float)
    binary = checked_labels(labels, "plot_sokolow_lyon").astype(bool)
    figure = blank_figure(3.1)
    axis = figure.subplots()
    # the last bar gathers the few records beyond, which are mostly artefacts
    top = np.ceil(4 * max(np.nanpercentile(values, 99.5), threshold)) / 4 + 0.25
    edges = np.arange(0, top + 0.25, 0.25)
    beyond = bool(np.nanmax(values) > top)
    values = np.clip(values, 0, top - 1e-6)
    for name, line in (("NORM", "-"), ("HYP", (0, (4, 1.5)))):
        mine = values[binary[:, CLASSES.index(name)]]
        density, _ = np.histogram(mine, edges)
        axis.stairs(
            density / max(mine.size, 1), edges, fill=True, alpha=0.22, color=CLASS_COLOURS[name]
        )
        axis.stairs(
            density / max(mine.size, 1),
            edges,
            color=CLASS_COLOURS[name],
            linewidth=1.7,
            linestyle=line,
            label=f"{name}: {mine.size:,} records, "
            f"{np.mean(mine >= threshold):.0%} at or beyond {threshold} mV",
        )
    axis.axvline(threshold, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
    axis.annotate(
        "criterion",
        (threshold, 0.97),
        (5, 0),
        xycoords=axis.get_xaxis_transform(),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=MUTED,
    )
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(
        xlabel="S in V1 + R in V5 (mV)"
        + (f"; last bar: {top - 0.25:g} and more" if beyond else ""),
        ylabel="share of the class per 0.25 mV",
        xlim=(0, edges[-1]),
    )
    axis.margins(y=0.12)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_variance_explained(explained: pd.DataFrame) -> Figure:
    """Draw how much of each lead's variance a set of leads explains.

    Parameters
    ----------
    explained : DataFrame, shape (n_configs, 12)
        Index: configuration; columns: the twelve leads; values: R squared.

    Returns
    -------
    Figure
        A heat map; a lead that the configuration itself holds is marked with a dot.
    """
    require_columns(explained, LEADS, "plot_variance_explained")
    figure = blank_figure(0.31 * len(explained) + 0.9)
    axis = figure.subplots()
    values = explained[list(LEADS)].clip(lower=0)
    texts = [
        ["•" if lead in resolve(str(config)).leads else f"{value:.2f}"
         for lead, value in zip(LEADS, row, strict=True)]
        for config, row in zip(values.index, values.to_numpy(), strict=True)
    ]  # fmt: skip
    heatmap(axis, values, cmap=GAIN_MAP, vmin=0, vmax=1, annot=texts,
             cbar_kws={"label": "variance explained ($R^2$)"})  # fmt: skip
    axis.set(xlabel="lead to be explained", ylabel="")
    return figure
