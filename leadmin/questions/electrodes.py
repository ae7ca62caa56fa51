"""Which electrodes are enough?"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas.io.formats.style import Styler

from leadmin.evidence.estimates import LEVEL
from leadmin.evidence.nested import (
    best_of,
    chosen_sets,
    contrast,
    difference,
    numbers_of_electrodes,
    offered_sets,
    targets,
)
from leadmin.evidence.scores import ENDS, MARGIN, REFERENCE, Evidence, Row
from leadmin.labels import CLASS_NAMES, are_superclasses, classes_in_words
from leadmin.leads import CHEST_LEADS, LIMB_ELECTRODES, electrodes_needed, resolve, signal_spaces
from leadmin.questions import Question, Tables, corrected, diagnoses, of
from leadmin.show import style
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval
from leadmin.study.mapping import ANY_LEAD

N_ALL = len(electrodes_needed(resolve(REFERENCE).leads))


def target_in_words(target: str, names: Mapping[str, str]) -> str:
    """Name a class, or the mean of all of them."""
    n_classes = "five" if are_superclasses(names) else str(len(names))
    return names.get(target, f"mean of the {n_classes} classes")


def electrodes_in_words(config: str) -> str:
    """Name the chest electrodes of a set, ``V2 + V5``; of one without, its limb electrodes."""
    needed = electrodes_needed(resolve(config).leads)
    chest = [one for one in needed if one in CHEST_LEADS]
    return " + ".join(chest or needed)


def choice_in_words(row: Mapping[Any, Any]) -> str:
    """Say what validation chose for one number of electrodes, from a row of `curve_table`.

    ``V2 + V5`` where all folds agree; else what was most frequent, ``V1 or V2 (4 of 10 each)``.
    """
    choices = dict(re.findall(r"(.+?) \((\d+)\)(?:, )?", row["chosen"]))
    if not choices:
        return str(row["chosen"])
    often = next(iter(choices.values()))
    first = [one for one, count in choices.items() if count == often]
    each = " each" * (len(first) > 1)
    return f"{' or '.join(first)} ({often} of {row['n_networks']}{each})"


def compared(
    evidence: Evidence, config: str, other: str, target: str, of_diagnoses: Iterable[str]
) -> Row:
    """Score a set and what it differs by from another, for one class or the mean of all.

    ``auroc`` and ``difference``; of a diagnosis the metrics ``of_diagnoses`` too, such as
    ``missed`` and ``difference_missed``; with the intervals of a `Contrast`.
    """
    row: Row = {}
    more = of_diagnoses if target in diagnoses(evidence.classes) else ()
    for metric in ("auroc", *more):
        name = "difference" if metric == "auroc" else f"difference_{metric}"
        row |= contrast(evidence, {config: 1.0}, metric, target).columns(metric)
        row |= contrast(evidence, difference(config, other), metric, target).columns(name)
    return row


def _judged(evidence: Evidence, config: str, target: str) -> Row:
    """Give what a row of either table says of one set and one class, or their mean."""
    row = compared(evidence, config, REFERENCE, target, ("missed", "benefit"))
    row |= contrast(evidence, {config: 1.0}, "brier", target).columns("brier")
    return row | evidence.counts(evidence.get(config, ANY_LEAD))


def map_table(evidence: Evidence) -> pd.DataFrame:
    """Score every electrode set of the map: a row for the macro average and one for each class.

    ``config, electrodes, n_electrodes, leads`` (all that they give), ``target`` (``macro`` or a
    class) and how many in
    1,000 records have it, ``present``; ``auroc`` and its ``difference`` to all electrodes,
    ``missed`` in 1,000 records (of the diagnoses) with ``difference_missed``, their net ``benefit``
    in 1,000 records with ``difference_benefit``, and ``brier``, each with ``_low`` and ``_high``
    over patients and ``_low_with_seeds`` and ``_high_with_seeds`` over patients and training;
    ``n_records, n_patients, n_seeds``.
    """
    rows = []
    share = (1000 * evidence.labels.mean(axis=0)).tolist()
    present = dict(zip(targets(evidence.classes), (float("nan"), *share), strict=True))
    for space in signal_spaces():
        if space.name not in evidence.runs or not space.is_electrode_set:
            continue
        head: Row = {"config": space.name, "electrodes": ", ".join(space.electrodes)}
        head |= {"n_electrodes": len(space.electrodes), "leads": ", ".join(space.leads)}
        for target, count in present.items():
            row = head | {"target": target, "present": count}
            rows.append(row | _judged(evidence, space.name, target))
    return pd.DataFrame(rows)


def curve_table(evidence: Evidence) -> pd.DataFrame:
    """Score the sets that validation chose, by number of electrodes, for each class and the mean.

    ``target, n_electrodes``; ``chosen``, in words; ``config``, the most frequent, and ``share``,
    that of the ``n_networks`` for which it was chosen; the values of `map_table`; ``p`` of "it
    loses ``MARGIN`` or more", one-sided over patients and training, and ``p_holm`` over the numbers
    below nine; ``within``: the whole interval lies above ``-MARGIN``, Holm's correction included;
    true of nine themselves. Of the mean also ``missed_MI``, ``benefit_MI`` and
    ``difference_benefit_MI``, and theirs of each diagnosis.
    """
    tables = [chosen_table(evidence, target) for target in targets(evidence.classes)]
    return pd.concat(tables, ignore_index=True)


def chosen_table(
    evidence: Evidence,
    target: str,
    counted: str = "electrodes",
    in_words: Callable[[str], str] = electrodes_in_words,
) -> pd.DataFrame:
    """Give `curve_table` for one target, by the number of electrodes or of leads."""
    rows = []
    for n in [n for what, n in offered_sets(evidence.configs) if what == counted]:
        chosen = chosen_sets(evidence, n, target, counted)
        n_networks = sum(chosen.values())
        said = ", ".join(f"{in_words(name)} ({often})" for name, often in chosen.items())
        first, config = next(iter(chosen)), best_of(n, target, counted)
        row = {"target": target, f"n_{counted}": n, "config": first}
        row["chosen"] = said if len(chosen) > 1 else in_words(first)
        row |= {"share": chosen[first] / n_networks, "n_networks": n_networks}
        row |= _judged(evidence, config, target)
        to_nine = difference(config, REFERENCE)
        for name in diagnoses(evidence.classes) if target == "macro" else ():
            for metric in ("missed", "benefit"):
                own = contrast(evidence, {config: 1.0}, metric, name)
                row |= own.columns(f"{metric}_{name}")
            lost = contrast(evidence, to_nine, "benefit", name)
            row |= lost.columns(f"difference_benefit_{name}")
        to_all = contrast(evidence, to_nine, "auroc", target)
        row["p"] = to_all.p_above(-MARGIN) if first != REFERENCE else float("nan")
        rows.append(row)
    table = corrected(pd.DataFrame(rows))
    if rows:
        table["within"] = (table["p_holm"] < (1 - LEVEL) / 2) | (table["config"] == REFERENCE)
    return table


def with_training(table: pd.DataFrame) -> pd.DataFrame:
    """Put the intervals that carry training too, where there are some, in place of the others."""
    changed = table.copy()
    for name, whole in table.filter(like="_with_seeds").items():
        column = str(name).removesuffix("_with_seeds")
        changed[column] = whole.fillna(table.get(column, whole))
    return changed


def answer_reading(curve: pd.DataFrame, names: Mapping[str, str] = CLASS_NAMES) -> str:
    """Answer with the fewest electrodes shown to stay within the margin, class by class."""
    curve = with_training(curve)
    rows = curve[curve["target"] == "macro"].to_dict("records")
    nine = rows[-1]
    within = [row for row in rows[:-1] if row["within"]]
    counted = "patients and training" if nine["n_seeds"] > 1 else "patients alone (one training)"
    if not within:
        best = rows[-2]
        return (
            f"**These records cannot decide it.** No smaller number of electrodes could be shown "
            f"to stay within {MARGIN} of the macro AUROC of all nine; {best['n_electrodes']} "
            f"differ by {value_with_interval(best, 'difference')} (intervals for {counted})."
        )
    best = within[0]
    limb = f"{', '.join(LIMB_ELECTRODES)} and " * (best["n_electrodes"] > len(LIMB_ELECTRODES))
    said = (
        f"**{best['n_electrodes']} electrodes.** {limb}{choice_in_words(best)}, chosen on "
        f"validation records fold by fold, read the {classes_in_words(names)} within {MARGIN} of "
        f"the macro AUROC of all nine: {number(best['auroc'])} against {number(nine['auroc'])}, "
        f"difference {value_with_interval(best, 'difference')}; the interval counts {counted}. "
    )
    apart = []
    for name, called in names.items():
        first = curve[(curve["target"] == name) & curve["within"]].iloc[0].to_dict()
        few = f"{first['n_electrodes']}, {choice_in_words(first)}"
        apart.append(f"{called} {few if first['n_electrodes'] < N_ALL else 'all nine'}")
    return said + joined_sentence("for each class alone, by the same rule: " + "; ".join(apart))


def plot_curve(tables: Tables) -> Figure:
    """Draw the loss against nine electrodes by their number, the cloud of all sets behind it."""
    sets, curve = tables["map"], with_training(tables["curve"])
    figure, axes = style.class_panels(len(tables.classes), 2.8, sharex=True, sharey=True)
    colours = style.class_colours(tables.classes)
    for axis, target in zip(axes, targets(tables.classes), strict=False):
        axis.set_axis_on()
        colour = colours.get(target, style.INK)
        cloud = sets[sets["target"] == target]
        line = curve[curve["target"] == target]
        axis.axhspan(-MARGIN, 0, color=style.BLUE, alpha=0.1, linewidth=0)
        axis.axhline(0, **style.ZERO)
        shift = (cloud.groupby("n_electrodes").cumcount() % 5 - 2) * 0.07
        axis.plot(cloud["n_electrodes"] + shift, cloud["difference"], ".", color=style.FAINT,
                  markersize=4, zorder=1)  # fmt: skip
        axis.plot(line["n_electrodes"], line["difference"], color=colour, linewidth=1.2, zorder=2)
        style.forest(axis, line, "difference", style.Look(colour), line["within"],
                     line["n_electrodes"], upright=True)  # fmt: skip
        axis.set_title(target_in_words(target, tables.classes), fontsize=9)
        axis.set_xticks(list(numbers_of_electrodes()))
    for axis in axes[max(0, len(tables.classes) - 2) : len(tables.classes) + 1]:
        axis.tick_params(labelbottom=True)  # also where nothing stands below
    low = curve.loc[curve["n_electrodes"] > 2, "difference_low"].min()
    axes[0].set_ylim(min(low, -2 * MARGIN) * 1.1, 2.5 * MARGIN)
    figure.supylabel("AUROC minus that of nine electrodes", fontsize=9)
    figure.supxlabel("recording electrodes", fontsize=9)
    keys = {
        "chosen on validation folds": style.key(style.Look(style.INK)),
        "not shown within the margin": style.key(style.Look(style.INK), filled=False),
        "every electrode set": Line2D([], [], color=style.FAINT, marker=".", linestyle="none"),
        f"margin {MARGIN:g}": Patch(facecolor=style.BLUE, alpha=0.1),
    }
    style.legend(figure, keys, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def shown_curve(target: str) -> Callable[[Tables], Styler]:
    """Show the chosen sets of one target; what is missed only where that can be."""

    def table(tables: Tables) -> Styler:
        curve, missed = tables["curve"], missed_headings(tables["map"])
        rows = curve[curve["target"] == target].dropna(axis=1, how="all")
        rows = rows.assign(chosen=[choice_in_words(row) for row in rows.to_dict("records")])
        own = missed.get(f"missed_{target}", "").replace(target, "missed in 1,000", 1)
        every = {"n_electrodes": "electrodes", "chosen": "chosen (of folds)", **missed}
        every |= {"missed": own, "auroc": "AUROC", "difference": "difference to nine"}
        every |= {"p_holm": "p (Holm)", "within": f"within {MARGIN:g}"}
        columns = {name: heading for name, heading in every.items() if name in rows}
        digits = dict.fromkeys(("missed", *missed), 0)
        return reading_table(with_training(rows), columns, digits)

    return table


def missed_headings(scores: pd.DataFrame) -> dict[str, str]:
    """Head a column of what is missed of each diagnosis, with how many of 1,000 records have it."""
    present = scores.groupby("target")["present"].first()
    named = diagnoses(scores["target"].unique()[1:])
    return {f"missed_{name}": f"{name}, of {number(present[name], 0)}" for name in named}


def short_curve(curve: pd.DataFrame, scores: pd.DataFrame) -> Styler:
    """Show the sets chosen for the mean of the classes in as little width as a page has."""
    missed = missed_headings(scores)
    rows = with_training(curve[curve["target"] == "macro"])
    where = [choice_in_words(row).replace(" + ", " ") for row in rows.to_dict("records")]
    columns = {"n_electrodes": "electrodes", "where": "which", **missed}
    columns |= {"difference": "AUROC vs nine"}
    return reading_table(rows.assign(where=where), columns, dict.fromkeys(missed, 0))


def missed_reading(table: pd.DataFrame, names: Mapping[str, str] = CLASS_NAMES) -> str:
    """Say how many of 1,000 nine electrodes miss and which set of at most five misses fewest."""
    parts = []
    for name in diagnoses(names):
        rows = table[table["target"] == name]
        nine = rows[rows["config"] == REFERENCE].iloc[0]
        few = rows[rows["n_electrodes"] <= 5].sort_values("missed", kind="stable").iloc[0]
        parts.append(
            f"{names[name]}: nine electrodes miss {number(nine['missed'], 0)}, "
            f"{electrodes_in_words(few['config'])} {number(few['missed'], 0)}"
        )
    return joined_sentence(
        "of 1,000 records, at 90% specificity and with at most two chest electrodes, the fewest "
        "are missed as follows, the set picked on the same test records and so flattered: "
        + "; ".join(parts)
    )


def wide_missed(table: pd.DataFrame, most_electrodes: int = N_ALL) -> Styler:
    """Show what each electrode set misses of each diagnosis, with its macro AUROC."""
    rows = table[table["n_electrodes"] <= most_electrodes]
    counted = with_training(rows)
    macro, missed = counted[counted["target"] == "macro"].copy(), missed_headings(table)
    for column in missed:
        of_class = counted[counted["target"] == column.removeprefix("missed_")].set_index("config")
        for end in ENDS:
            macro[f"{column}{end}"] = macro["config"].map(of_class[f"missed{end}"])
    columns = {"n_electrodes": "electrodes", "electrodes": "which", **missed}
    macro = macro.sort_values(["n_electrodes", "auroc"], ascending=[True, False])
    return reading_table(macro, columns | {"auroc": "macro AUROC"}, dict.fromkeys(missed, 0))


ELECTRODES = Question(
    name="electrodes",
    title="How few electrodes are enough?",
    tables={"curve": curve_table},
    reading=lambda tables: answer_reading(tables["curve"], tables.classes),
    figures={"curve": plot_curve},
    shown={"The best set for each number of electrodes": shown_curve("macro")},
    folded=lambda tables: {
        f"Chosen for {called} alone": shown_curve(name) for name, called in tables.classes.items()
    },
    about="map",
)

MAP = Question(
    name="map",
    title="What does each electrode set miss?",
    tables={"map": map_table},
    reading=lambda tables: missed_reading(tables["map"], tables.classes),
    shown={"Missed in 1,000 records, up to two chest electrodes": of("map", wide_missed, 5)},
    folded={"Missed in 1,000 records, all electrode sets": of("map", wide_missed)},
    about="map",
)
