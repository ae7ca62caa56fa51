"""How few leads are enough, whatever electrodes they take?"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas.io.formats.style import Styler

from leadmin.evidence.nested import contrast, difference
from leadmin.evidence.scores import MARGIN, REFERENCE, Evidence, Row
from leadmin.leads import electrode_sets, representative, resolve, signal_spaces
from leadmin.questions import Question, Tables, diagnoses, of
from leadmin.questions.electrodes import chosen_table, compared, with_training
from leadmin.show import style
from leadmin.show.words import joined_sentence, number, reading_table, value_with_interval
from leadmin.study.mapping import ANY_LEAD

LACKING = "This map is of the sets that electrodes give, and lacks those of fewer leads."


def _leads_in_words(config: str) -> str:
    return " ".join(representative(resolve(config).leads))


def _with_widest(
    evidence: Evidence, sets: Mapping[str, float], metric: str, target: str, name: str
) -> dict[str, float]:
    """Give a value with one interval: over patients and training, with one seed over patients."""
    found = contrast(evidence, sets, metric, target)
    columns = found.columns(name)
    ends = [f"{name}_{end}" + "_with_seeds" * (found.seeds[1] > 0) for end in ("low", "high")]
    return {key: columns[key] for key in (name, *ends)}


def spaces_table(evidence: Evidence) -> pd.DataFrame:
    """Score every signal space: what leads span, so that those which follow are no other set.

    ``config, leads`` (the fewest that span it), ``n_leads, electrodes, n_electrodes``; macro
    ``auroc`` and its ``difference`` to all leads, each with the intervals of
    `leadmin.questions.electrodes.map_table`; ``thrown_away``, the AUROC of all that its electrodes
    give less its own; ``brier``, ``auroc_MI`` and ``difference_MI`` and their like of each class,
    ``missed_MI`` and ``difference_missed_MI`` and theirs, per 1,000 records, of each diagnosis, all
    but ``auroc_MI`` with the intervals of `_with_widest`; ``n_records, n_patients, n_seeds``. Empty
    for a map of electrode sets alone.
    """
    given = {space.electrodes: space.name for space in electrode_sets()}
    rows, scored = [], set(evidence.configs)
    beyond = not scored <= set(given.values())
    for space in (one for one in signal_spaces() if beyond and one.name in scored):
        own, to_all = {space.name: 1.0}, difference(space.name, REFERENCE)
        row: Row = {"config": space.name, "leads": " ".join(space.representative)}
        row |= {"n_leads": space.rank, "electrodes": ", ".join(space.electrodes)}
        row["n_electrodes"] = len(space.electrodes)
        row |= compared(evidence, space.name, REFERENCE, "macro", ())
        whole = difference(given[space.electrodes], space.name)
        row["thrown_away"] = contrast(evidence, whole, "auroc", "macro").estimate.value
        row |= _with_widest(evidence, own, "brier", "macro", "brier")
        for name in evidence.classes:
            row[f"auroc_{name}"] = contrast(evidence, own, "auroc", name).estimate.value
            row |= _with_widest(evidence, to_all, "auroc", name, f"difference_{name}")
        for name in diagnoses(evidence.classes):
            row |= _with_widest(evidence, own, "missed", name, f"missed_{name}")
            row |= _with_widest(evidence, to_all, "missed", name, f"difference_missed_{name}")
        rows.append(row | evidence.counts(evidence.get(space.name, ANY_LEAD)))
    return pd.DataFrame(rows)


def fewest_table(evidence: Evidence) -> pd.DataFrame:
    """Score the leads that validation chose for the mean of the classes, by their number.

    The columns of `leadmin.questions.electrodes.curve_table`, with ``n_leads``: those that do not
    follow from others, at most eight. Empty for a map of electrode sets alone.
    """
    return chosen_table(evidence, "macro", "leads", _leads_in_words)


def spaces_reading(spaces: pd.DataFrame, fewest: pd.DataFrame) -> str:
    """Name the fewest leads that are enough, and what throwing leads away costs."""
    if spaces.empty:
        return LACKING
    rows = with_training(fewest).to_dict("records")
    enough = next(row for row in rows if row["within"])
    share = f"{round(enough['share'] * enough['n_networks'])} of {enough['n_networks']} networks"
    most = f"{_leads_in_words(enough['config'])}, by {share}"
    thrown = spaces[spaces["thrown_away"] != 0]
    worst = max(thrown.to_dict("records"), key=lambda row: row["thrown_away"])
    return joined_sentence(
        f"of leads that do not follow from others, {enough['n_leads']} are the fewest shown to "
        f"stay within {MARGIN:g} of all (chosen on validation records, most often {most}): "
        f"{value_with_interval(enough, 'difference')}; {len(thrown)} of the {len(spaces)} signal "
        "spaces leave out a lead that their electrodes record anyway, which costs "
        f"{number(thrown['thrown_away'].mean(), 3)} macro AUROC on average and "
        f"{number(worst['thrown_away'], 3)} at most ({worst['leads']})"
    )


def plot_spaces(tables: Tables) -> Figure | None:
    """Draw all signal spaces by number of leads, and the line of those that validation chose."""
    spaces, fewest = tables["spaces"], tables["fewest_leads"]
    if spaces.empty:
        return None
    figure, axis = style.panels(3.2)
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(spaces))
    colours = np.where(spaces["thrown_away"] == 0, style.INK, style.FAINT)
    axis.scatter(spaces["n_leads"] + spread, spaces["auroc"], 5, colours)
    line = with_training(fewest)
    axis.plot(line["n_leads"], line["auroc"], color=style.BLUE, linewidth=1.2)
    filled, places = line["within"], line["n_leads"]
    style.forest(axis, line, "auroc", filled=filled, places=places, upright=True)
    axis.set(xlabel="leads that do not follow from others", ylabel="macro AUROC")
    dot: dict[str, Any] = {"linestyle": "none", "marker": "."}
    keys = {
        "chosen on validation folds": style.key(style.PLAIN, line=True),
        "all that some electrodes give": Line2D([], [], color=style.INK, **dot),
        "leaves out leads that they give": Line2D([], [], color=style.FAINT, **dot),
    }
    style.legend(figure, keys, loc="outside upper center", ncols=3, fontsize=8)
    return figure


FEWEST = {"n_leads": "leads", "chosen": "chosen (of networks)", "auroc": "AUROC"}
FEWEST |= {"difference": "difference to all", "within": f"within {MARGIN:g}"}


def _few(spaces: pd.DataFrame) -> Styler:
    """Show the spaces of one lead and of two, the best first."""
    rows = spaces[spaces["n_leads"] < 3].sort_values(["n_leads", "auroc"], ascending=[True, False])
    columns = {"n_leads": "leads", "leads": "which", "n_electrodes": "electrodes"}
    counted = [str(name) for name in rows if re.fullmatch("missed_[^_]+", str(name))]
    missed = {name: f"{name[7:]} missed in 1,000" for name in counted}
    columns |= missed | {"auroc": "macro AUROC"}
    return reading_table(with_training(rows), columns, dict.fromkeys(missed, 0))


SPACES = Question(
    name="spaces",
    title="How few leads, if electrodes do not count?",
    tables={"spaces": spaces_table, "fewest_leads": fewest_table},
    reading=lambda tables: spaces_reading(tables["spaces"], tables["fewest_leads"]),
    figures={"spaces": plot_spaces},
    shown={
        "The best leads for each number": of(
            "fewest_leads",
            lambda rows: reading_table(with_training(rows), FEWEST),
        )
    },
    folded={"All signal spaces of up to two leads": of("spaces", _few)},
    about="map",
)
