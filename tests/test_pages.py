"""Tables as a page shows them, and sentences that say what the numbers beside them say."""

import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import gathered, with_groups

from leadmin.evidence.scores import MARGIN
from leadmin.labels import CLASSES
from leadmin.questions import read_tables, study_tables
from leadmin.questions.answer import answer_sentence, configurations_reading
from leadmin.questions.calibration import decision_reading, recalibration_table
from leadmin.questions.classes import class_reading, delong_reading
from leadmin.questions.controls import fold_reading, seed_reading
from leadmin.questions.findings import findings_reading, findings_table, key_findings
from leadmin.questions.lrs import lrs_reading, lrs_weights_reading
from leadmin.questions.margins import MARGINS, margin_reading, margin_table
from leadmin.questions.pairs import pairs_reading, rank_reading
from leadmin.questions.recipes import across_reading, hypertrophy_reading, recipe_reading
from leadmin.questions.subgroups import subgroup_reading, subgroup_table
from leadmin.show.words import p_value, reading_table, value_with_interval

NAMES = ("12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II", "1-lead-V2")


@pytest.fixture(scope="module")
def evidence():
    return gathered(NAMES, 500, 200, ("default", "original"), n_seeds=2)


@pytest.fixture(scope="module")
def tables(evidence):
    return read_tables(evidence, study_tables(evidence))


# --- tables -----------------------------------------------------------------------------------


def test_values_carry_intervals_signs_and_true_minus():
    row = {"auroc": 0.9, "auroc_low": 0.88, "auroc_high": 0.92, "brier": 0.1, "ece": np.nan}
    row |= {"difference": -0.02, "difference_low": -0.04, "difference_high": 0.001}
    written = [value_with_interval(row, name) for name in ("auroc", "brier", "ece", "difference")]
    assert written == ["0.900 [0.880, 0.920]", "0.100", "–", "−0.020 [−0.040, +0.001]"]


def test_the_smallest_p_of_the_resamples_is_a_bound():
    table = pd.DataFrame({"p": [0.002, 0.01], "p_holm": [0.004, 0.01]})
    shown = {"p_holm": "p"}
    assert list(reading_table(table, shown).data["p"]) == ["0.004", "0.010"]
    table.attrs["p_floor"] = 0.002
    assert list(reading_table(table, shown).data["p"]) == ["≤ 0.004", "0.010"]
    assert p_value(0.004, "p", floored=True) == "p ≤ 0.004"
    assert p_value(0.004, "p") == "p = 0.004"
    assert p_value(0.0004, floored=True) == "< 0.001"


def test_p_values_are_written_as_such_and_escaped_and_a_missing_column_is_named():
    table = pd.DataFrame({"config": ["a<b"], "p_holm": [0.0001], "difference_p": [0.25]})
    html = reading_table(table, {"config": "c", "p_holm": "p", "difference_p": "q"}).to_html()
    assert "&lt; 0.001" in html
    assert "a&lt;b" in html
    assert "0.250" in html
    assert p_value(float("nan")) == "–"


def test_margin_table_has_the_verdicts_of_each_margin(tables):
    table = tables["non_inferiority"]
    shown = margin_table(table).data
    assert shown["configuration"].tolist() == list(NAMES[1:])
    for margin in MARGINS:
        (heading,) = shown.filter(like=f"at {margin:g},")
        assert heading.endswith("primary") == (margin == MARGIN)
        verdicts = table[table["margin"] == margin]["verdict"].tolist()
        assert [cell.split(",")[0] for cell in shown[heading]] == verdicts


def test_recalibration_table_shows_both_states_of_a_row(tables):
    table = tables["calibration"]
    macro = table[table["class"] == "macro"]
    shown = recalibration_table(macro).data.set_index("configuration")
    slopes = macro.pivot(index="config", columns="recalibrated", values="slope")
    for config, before, after in slopes.itertuples():
        assert shown.loc[config, "slope"] == f"{before:.2f} → {after:.2f}"
    # the prevalence does not change, so one number says it
    assert not shown["uncertainty"].str.contains("→").any()
    classes = table[(table["config"] == "12-lead") & (table["class"] != "macro")]
    first = classes.iloc[0]
    cell = recalibration_table(classes).data["slope"].iloc[0]
    assert cell.startswith(f"{first['slope']:.2f} [{first['slope_low']:.2f}, ")
    assert recalibration_table(classes).data["class"].tolist() == list(CLASSES)


def test_a_question_that_was_not_asked_is_said_to_be():
    findings = key_findings(gathered(("12-lead", "1-lead-II"), 200, 50))
    shown = findings_table(findings).data
    first = shown.set_index("").loc["1a"]
    assert first["verdict"] == "not asked"
    assert "lacks a run" in first["here"]
    assert first["p (Holm)"] == "–"
    assert not shown.astype(str).apply(lambda column: column.str.contains("nan")).any(axis=None)
    assert "not asked" in findings_reading(findings)


# --- sentences --------------------------------------------------------------------------------


def test_answer_names_the_fewest_leads_that_were_proven():
    sets = {"config": ["12-lead", "3-lead-I-II-V2", "2-lead-I-II"], "n_leads": [12, 3, 2]}
    bounds = {"difference_low": [0, -0.006, -0.012], "difference_high": [0, 0.004, 0.002]}
    differences = {"auroc": [0.9, 0.9, 0.895], "difference": [0, -0.001, -0.005]}
    main = pd.DataFrame(sets | differences | bounds).assign(leads="some leads")
    assert answer_sentence(main).startswith("**3 leads**")
    main.loc[1, "difference_low"] = -0.02
    assert answer_sentence(main).startswith("**These records cannot decide it.**")
    assert "no comparison" in answer_sentence(main.iloc[:1])
    lost = main.assign(difference_low=-0.06, difference_high=-0.02)
    firm = lost[["config"]].iloc[1:].assign(firm=["inferior", "depends on the reading"])
    for answer in (answer_sentence(lost), answer_sentence(lost, firm)):
        assert answer.startswith("**None of these is enough.** Each of the 2 sets")
        assert "cannot decide" not in answer
    assert "holds for 1 of them; for some leads it depends on the reading." in answer
    mixed = lost.assign(difference_high=[-0.02, -0.02, 0.0])
    assert answer_sentence(mixed).startswith("**These records cannot decide it.**")


def test_sentences_say_what_the_tables_say(tables):
    main, margins, pairs = (tables[name] for name in ("main", "non_inferiority", "pairwise"))
    answer = configurations_reading(main)
    ordered = main[main["config"] != "12-lead"].sort_values("auroc")["config"].tolist()
    assert answer.index(ordered[-1]) < answer.index(ordered[0])

    primary = margins[margins["primary"]]
    counts, said = primary["verdict"].value_counts(), margin_reading(margins)
    for verdict, words in (("inferior", "shown to lose more"), ("undecided", "undecided at")):
        wanted = f"{counts.get(verdict)} {words}" if verdict in counts else words
        assert (wanted in said) == (verdict in counts)
    cells = margin_table(margins).data["at 0.01, p (Holm), primary"]
    assert all((cell == "inferior") or ", " in cell for cell in cells)
    assert pairs_reading(pairs).startswith(f"{(pairs['p_bh'] < 0.05).sum()} of 10 pairs")

    ranks, per_class = tables["ranks"], tables["per_class"]
    best = ranks.sort_values("share_best_reduced").dropna()["config"].iloc[-1]
    assert f"smaller sets is `{best}` in" in rank_reading(ranks)

    loss = per_class[per_class["config"] != "12-lead"].groupby("class")["difference"].mean()
    assert f"smaller sets {loss.idxmin()} changes most" in class_reading(per_class)

    lowest = main[main["config"] != "12-lead"].sort_values("lrs").iloc[0]
    reading = lrs_reading(main)
    assert f"`{lowest['config']}`" in reading
    assert f"{0.7 * 0.5 / main['auroc'].iloc[0] + 0.3:.2f}." in reading

    assert delong_reading(tables["delong"], per_class).startswith("The ends of the 45 intervals")
    assert f"{main['auroc_seed_sd'].max():.4f}" in seed_reading(main)
    once = main.assign(auroc_seed_sd=np.nan)
    assert "not known" in seed_reading(once)


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([(0.9, 0.9), (0.8, 0.8)], "`a` is first at every weight; 0 of 1 pairs"),
        ([(0.9, 0.8), (0.8, 0.9)], "`a` is first for weights of the AUROC ratio from 0.50 to 1.00"),
    ],
)
def test_weights_that_turn_the_order_round_are_named(scores, sentence):
    corners = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.7, 0.3, 0.0)]
    names = ["config", "weight_ratio", "weight_calibration", "weight_above_chance", "score"]
    rows = [
        (config, *w, w[0] * ratio + w[1] * brier)
        for w in corners
        for config, (ratio, brier) in zip("ab", scores, strict=True)
    ]
    table = pd.DataFrame(rows, columns=names)
    table["original"] = table["weight_ratio"] == 0.7
    assert lrs_weights_reading(table).startswith(sentence)


def test_thresholds_of_a_gain_are_those_whose_interval_is_above_zero():
    curves = {"class": ["NORM"] * 4 + ["MI"] * 4, "threshold": [0.1, 0.2, 0.3, 0.4] * 2}
    curves |= {"gain_low": [-0.1, 0.01, 0.02, *[-0.1] * 5]}
    curves = pd.DataFrame(curves).assign(config="3-lead-I-II-V2")
    assert decision_reading(curves).endswith("NORM 20% to 30%, MI nowhere.")
    curves.loc[0, "gain_low"] = 0.01
    curves.loc[1, "gain_low"] = -0.01
    assert decision_reading(curves).endswith("NORM parts of 10% to 30%, MI nowhere.")
    assert "`3-lead-I-II-V2`" in decision_reading(curves, "absent")


def test_subgroups_without_enough_records_are_counted(evidence):
    half = np.where(np.arange(evidence.n_records) < 250, "first", "second")
    few = np.where(np.arange(evidence.n_records) < 30, "few", "")
    one = subgroup_table(with_groups(evidence, half=half, few=few))
    reading = subgroup_reading(one)
    assert reading.startswith("2 of 3 subgroups")
    clear = int((one["interaction_p_holm"] < 0.05).sum())
    assert f"in {clear or 'none'} of 1 that can be tested is the loss" in reading
    none = subgroup_table(with_groups(evidence, few=few))
    assert subgroup_reading(none).startswith("0 of 1 subgroups")


def test_recipes_and_hypertrophy_are_counted(tables):
    compared = tables["recipe_comparison"]
    auroc = compared[compared["metric"] == "auroc"]
    clear = (auroc["difference_low"] > 0).sum()
    assert f"of 5 configurations, clear of zero in {clear};" in recipe_reading(compared)
    assert "the mean over 4 smaller sets" in hypertrophy_reading(tables["hypertrophy"])


def test_folds_are_counted_by_what_their_interval_shows():
    folds = pd.DataFrame(
        {"low": [-0.2, -0.04, 0.01], "high": [-0.1, -0.005, 0.02], "n_folds": [10, 10, 10]}
    )
    # against the margin: an interval that ends at -0.005 decides nothing
    assert fold_reading(folds).endswith(
        "1 of 3 sets are shown to lose more than 0.01 to twelve leads, 1 to lose less, and for 1 "
        "it stays open."
    )


def test_nothing_to_compare_is_said(tables):
    alone = tables["main"].query("config == '12-lead'")
    empty = pd.DataFrame()
    assert "no smaller set" in margin_reading(empty)
    assert "no pair" in pairs_reading(empty)
    assert "no smaller set" in lrs_weights_reading(empty)
    assert "no smaller set" in lrs_reading(alone)
    assert "All twelve leads" in configurations_reading(alone)


def test_a_set_that_holms_correction_does_not_let_through_is_not_called_clear():
    rows = {
        "config": ["12-lead", "a", "b", "c", "d"],
        "n_leads": [12, 3, 6, 2, 1],
        "reference": 0.887,
        "difference": [0.03, 0.02, 0.006, 0.001, -0.03],
        "difference_low": [0.02, 0.01, 0.001, -0.004, -0.04],
        "difference_high": [0.04, 0.03, 0.011, 0.006, -0.02],
        "p_holm": [0.01, 0.01, 0.144, 0.786, 0.01],
        "first_recipe": "default",
        "second_recipe": "original",
    }
    reading = across_reading(pd.DataFrame(rows))
    assert "clearly above: a; level: b, c; clearly below: d" in reading
