"""Which lead sets differ from each other, and in which order do they come?"""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from leadmin.evidence.estimates import LEVEL, interval_columns, smallest_resolvable_difference
from leadmin.evidence.scores import Evidence, Row, Rows, Scored, compare
from leadmin.questions import Question, corrected, each_recipe, of
from leadmin.show import style
from leadmin.show.words import headings, joined_sentence, range_in_words, reading_table

FALSE_DISCOVERIES = 0.05
"""Share of false discoveries among the pairs that is accepted."""


def pairwise_matrix(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Every unordered pair of configurations, paired, in macro AUROC.

    ``recipe, first, second, difference`` (first minus second) with ``_low``, ``_high``, ``p``,
    ``p_bh`` (Benjamini-Hochberg over all pairs) and ``smallest_resolvable``.
    """
    rows = []
    for first, second in itertools.combinations([one.config for one in evidence.under(recipe)], 2):
        difference = compare(evidence, first, second, recipe)
        row: Row = {"recipe": recipe, "first": first, "second": second}
        row |= interval_columns("difference", difference) | {"p": difference.p()}
        row["smallest_resolvable"] = smallest_resolvable_difference(difference)
        rows.append(row)
    return corrected(pd.DataFrame(rows), method="bh")


def rank_table(evidence: Evidence, recipe: str = "default") -> pd.DataFrame:
    """Rank the configurations by macro AUROC in each resample.

    ``recipe, config, n_leads, auroc, rank`` (1 is best), ``rank_low, rank_high`` (95% interval over
    resamples), ``share_best`` (of resamples in which it is the best of all),
    ``share_best_of_size`` (the best of those with as many leads), ``share_best_reduced`` (the best
    of those with fewer than 12; NaN for the 12 leads), ``n_records, n_patients, n_seeds``.
    """
    sets = evidence.under(recipe)
    configs = [scored.config for scored in sets]
    values = np.array([scored.macro("auroc").value for scored in sets])
    replicates = np.array([scored.macro("auroc").replicates for scored in sets])
    sizes = np.array([len(scored.leads) for scored in sets])
    ranks = 1 + (replicates[None] > replicates[:, None]).sum(axis=1)
    low, high = np.quantile(ranks, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1, method="nearest")

    def rows(scored: Scored) -> Rows:
        i, size = configs.index(scored.config), len(scored.leads)

        def share_best(among: NDArray[np.bool_]) -> float:
            return float(np.mean(replicates[i] >= replicates[among].max(axis=0)))

        yield {
            "auroc": float(values[i]),
            "rank": int(1 + (values > values[i]).sum()),
            "rank_low": int(low[i]),
            "rank_high": int(high[i]),
            "share_best": share_best(sizes > 0),
            "share_best_of_size": share_best(sizes == size),
            "share_best_reduced": share_best(sizes < 12) if size < 12 else float("nan"),
        }

    return evidence.table(sets, rows)


def pairs_reading(pairwise: pd.DataFrame) -> str:
    """Count the pairs that differ, and say what the others could have shown."""
    if pairwise.empty or pairwise["p"].isna().all():
        return "There is no pair to compare."
    clear = pairwise["p_bh"] < FALSE_DISCOVERIES
    share = f"{FALSE_DISCOVERIES:.0%}"
    text = f"{clear.sum()} of {len(pairwise)} pairs differ at a false discovery rate of {share}"
    if not clear.all():
        least = range_in_words(pairwise.loc[~clear, "smallest_resolvable"])
        text += f"; in the others the smallest resolvable difference is {least}"
    return joined_sentence(text)


def rank_reading(ranks: pd.DataFrame) -> str:
    """Say which smaller set is most often the best, and how wide its rank is."""
    reduced = ranks.dropna(subset=["share_best_reduced", "auroc"])
    if reduced.empty:
        return "There is no smaller set to rank."
    ordered = reduced.sort_values("share_best_reduced", ascending=False)
    first = ordered.head(2).to_dict("records")
    said = ", ".join(f"`{row['config']}` in {row['share_best_reduced']:.0%}" for row in first)
    text = f"the best of the smaller sets is {said} of the resamples"
    certain = int((ranks["rank_low"] == ranks["rank_high"]).sum())
    return joined_sentence(f"{text}; {certain} of {len(ranks)} sets keep one rank in 95%")


def plot_pairwise(matrix: pd.DataFrame) -> Figure:
    """Draw every pair of a `pairwise_matrix`: the difference in macro AUROC, row minus column."""
    turned = matrix.assign(difference=-matrix["difference"])
    below, beside = matrix["second"].unique(), matrix["first"].unique()
    values, p = (
        turned.pivot(index="second", columns="first", values=name).loc[below, beside]
        for name in ("difference", "p_bh")
    )
    figure, axis = style.panels(0.33 * len(values) + 1.5)
    shown = values.notna().to_numpy()
    style.difference_heatmap(axis, values, "macro AUROC, row minus column", mask=~shown)
    for text, clear in zip(axis.texts, p.to_numpy()[shown] < FALSE_DISCOVERIES, strict=True):
        text.set(fontweight="bold" if clear else "normal", fontsize=min(8, 80 / len(values)))
    axis.set_xlabel(f"bold: corrected p < {FALSE_DISCOVERIES:g}")
    axis.set_xticks(axis.get_xticks(), values.columns, rotation=35, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    return figure


def plot_ranks(ranks: pd.DataFrame) -> Figure:
    """Draw a `rank_table` of one recipe: ranks over the resamples, and how often each is best."""
    shares = {"share_best": "of all", "share_best_reduced": "of smaller sets",
              "share_best_of_size": "of its size"}  # fmt: skip
    figure, (axis, text) = style.row_figure(ranks["config"], 2, head=1.2, width_ratios=(1.25, 1))
    style.forest(axis, ranks, "rank")
    axis.set(xlim=(0.5, len(ranks) + 0.5), xticks=range(1, len(ranks) + 1),
             xlabel="rank by macro AUROC (1 is best), 95% interval")  # fmt: skip
    text.set_xlim(0, len(shares))
    text.set_axis_off()
    for place, row in enumerate(ranks[list(shares)].to_numpy(dtype=float)):
        for column, share in enumerate(row):
            written = "< 1%" if 0 < share < 0.005 else f"{share:.0%}".replace("nan%", "–")
            text.text(column + 0.5, place, written, ha="center", va="center", fontsize=8.5)
    above: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5}
    at = {"textcoords": "offset points", "xycoords": text.get_xaxis_transform()}
    for column, heading in enumerate(shares.values()):
        text.annotate(heading, (column + 0.5, 1), (0, 3), **above | at)
    text.annotate("best, share of resamples", (len(shares) / 2, 1), (0, 18), fontweight="bold",
                  **above | at)  # fmt: skip
    return figure


PAIR_COLUMNS = headings("first", "second", "difference", "p", "p_bh", "smallest_resolvable")
PAIR_COLUMNS |= {"difference": "first minus second"}

PAIRS = Question(
    name="pairs",
    title="Which sets of leads differ from each other?",
    tables={"pairwise": each_recipe(pairwise_matrix)},
    reading=lambda tables: pairs_reading(tables["pairwise"]),
    figures={"pairs": of("pairwise", plot_pairwise)},
    folded={"All pairs of sets": of("pairwise", reading_table, PAIR_COLUMNS)},
)

RANKS = Question(
    name="ranks",
    title="How safe is their order?",
    tables={"ranks": each_recipe(rank_table)},
    reading=lambda tables: rank_reading(tables["ranks"]),
    figures={"ranks": of("ranks", plot_ranks)},
)
