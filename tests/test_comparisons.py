"""Margins, ranks, controls, folds, subgroups: right figures, verdicts that can go any way."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import (
    gathered,
    on_records,
    one_run,
    synthetic_runs,
    whole_study,
    with_groups,
    with_original_on,
)
from scipy import stats
from trouble import refused

from leadmin import metrics
from leadmin.data.quality import assess
from leadmin.evidence.scores import gather
from leadmin.questions import benjamini_hochberg
from leadmin.questions.answer import main_table
from leadmin.questions.classes import delong_table, per_class_table
from leadmin.questions.controls import fold_table, negative_controls
from leadmin.questions.lrs import lrs_ranks, lrs_weights
from leadmin.questions.margins import non_inferiority_table
from leadmin.questions.pairs import rank_table
from leadmin.questions.recipes import across_reading, across_recipes, hypertrophy_table
from leadmin.questions.subgroups import (
    MIN_POSITIVES,
    demographic_groups,
    know_records,
    record_groups,
    subgroup_table,
)

FOUR = ("12-lead", "3-lead-I-II-V2", "1-lead-II", "1-lead-V2")


@pytest.fixture(scope="module")
def evidence():
    return whole_study()


def test_verdicts_follow_the_interval_and_the_margin(evidence):
    table = non_inferiority_table(evidence)
    assert len(table) == 3 * 10
    above, below = table["low"] > -table["margin"], table["high"] < -table["margin"]
    expected = np.select([above, below], ["non-inferior", "inferior"], "undecided")
    assert table["verdict"].tolist() == expected.tolist()
    assert (table["p"][above] < 0.03).all()
    assert (table["p"][below] > 0.97).all()
    assert (table["p_holm"] >= table["p"]).all()
    assert above[table["holds_corrected"]].all()
    # a wider margin is easier
    wide = table.pivot(index="config", columns="margin", values="p")
    assert (wide[0.02] <= wide[0.01]).all()
    assert (wide[0.01] <= wide[0.005]).all()
    assert table[table["primary"]]["margin"].unique().tolist() == [0.01]
    main = main_table(evidence).set_index("config")
    primary = table[table["primary"]].set_index("config")
    assert (primary["low"] == main.loc[primary.index, "difference_low"]).all()
    assert ((primary["verdict"] == "non-inferior") == main.loc[primary.index, "non_inferior"]).all()


def test_all_three_verdicts_occur():
    strength = {"12-lead": 2.0, "3-lead-I-II-V2": 2.2, "1-lead-II": 1.93, "1-lead-V2": 1.0}
    table = non_inferiority_table(gathered(strength, 400, 400)).query("primary")
    expected = ["non-inferior", "undecided", "inferior"]
    assert table.set_index("config").loc[list(strength)[1:], "verdict"].tolist() == expected


def test_nothing_to_compare_with():
    without = gathered({"1-lead-II": 1.5, "1-lead-I": 1.4}, 200, 400)
    assert len(non_inferiority_table(without)) == 0
    assert len(lrs_weights(without)) == 0
    assert delong_table(without)["difference"].isna().all()
    assert len(rank_table(without)) == 2
    # nor with one fold, or one recipe
    for table in (fold_table, hypertrophy_table, across_recipes):
        assert table(without).empty


@pytest.mark.parametrize(
    ("limb", "n_records", "verdict"),
    [(1.75, 3000, "equivalent"), (1.2, 500, "not equivalent"), (1.72, 120, "undecided")],
)
def test_negative_control_can_fail(limb, n_records, verdict):
    strength = {"6-lead-limb": limb, "2-lead-I-II": 1.75}
    (row,) = negative_controls(gathered(strength, n_records, 400)).to_dict("records")
    assert row["verdict"] == verdict
    assert verdict in row["statement"]
    assert row["difference"] == pytest.approx((row["low"] + row["high"]) / 2, abs=0.01)


def test_ranks(evidence):
    table = rank_table(evidence).set_index("config")
    assert sorted(table["rank"]) == list(range(1, 12))
    order = table["auroc"].rank(ascending=False).astype(int)
    assert (order == table["rank"]).all()
    assert table["rank"].between(table["rank_low"], table["rank_high"]).all()
    assert table["share_best"].sum() == pytest.approx(1)
    for _, of_size in table.groupby("n_leads"):
        assert of_size["share_best_of_size"].sum() == pytest.approx(1)
    assert math.isnan(table.loc["12-lead", "share_best_reduced"])
    assert table["share_best_reduced"].sum() == pytest.approx(1)
    assert table.loc["1-lead-V2", ["rank", "rank_low"]].tolist() == [11, 11]


def test_equal_networks_share_the_ranks():
    equal = dict.fromkeys(("12-lead", "6-lead-limb", "2-lead-I-II"), 1.8)
    table = rank_table(gathered(equal, 150, 400))
    assert (table["rank_high"] > table["rank_low"]).all()
    assert table["share_best"].between(0.02, 0.98).all()


def test_delong_agrees_with_the_bootstrap(evidence):
    table = delong_table(evidence).set_index(["config", "class"])
    per_class = per_class_table(evidence).set_index(["config", "class"])
    assert len(table) == 55
    for key in (("1-lead-II", "MI"), ("3-lead-I-II-V2", "HYP")):
        mine, other = table.loc[key], per_class.loc[key]
        assert mine["auroc"] == pytest.approx(other["auroc"], abs=1e-12)
        assert mine["difference"] == pytest.approx(other["difference"], abs=1e-12)
        width = mine["difference_high"] - mine["difference_low"]
        assert width == pytest.approx(other["difference_high"] - other["difference_low"], rel=0.2)
    assert table.loc["12-lead"]["p"].isna().all()
    assert (table["p_bh"].dropna() >= table["p"].dropna() - 1e-12).all()


def test_delong_leaves_out_a_class_with_one_value():
    run = one_run(150)
    run.test.labels[:, 4] = 0
    table = delong_table(gather([run], n_resamples=30)).set_index("class")["auroc"]
    assert table.index[table.isna()].tolist() == ["HYP"]


def test_benjamini_hochberg_skips_what_could_not_be_tested():
    p = np.array([0.01, np.nan, 0.04, 0.03])
    expected = stats.false_discovery_control([0.01, 0.04, 0.03])
    np.testing.assert_allclose(benjamini_hochberg(p), [*expected[:1], np.nan, *expected[1:]])
    assert np.isnan(benjamini_hochberg([np.nan])).all()


def test_lrs_weights_cover_the_simplex_and_hold_the_original(evidence):
    table = lrs_weights(evidence)
    weights = table[["weight_ratio", "weight_calibration", "weight_above_chance"]]
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert len(table) == 66 * 10
    original = table[table["original"]].set_index("config")
    main = main_table(evidence).set_index("config")
    np.testing.assert_allclose(original["score"], main.loc[original.index, "lrs"], atol=1e-12)
    corner = table[table["weight_above_chance"] == 1].set_index("config")
    np.testing.assert_allclose(
        corner["score"], main.loc[corner.index, "retention_above_chance"], atol=1e-12
    )
    for _, one in table.groupby(["weight_ratio", "weight_calibration"]):
        assert sorted(one["rank"]) == list(range(1, 11))


def test_ranks_along_the_two_terms_are_those_of_the_grid(evidence):
    table = lrs_weights(evidence)
    weight, rank = lrs_ranks(table, steps=10)
    configs = list(dict.fromkeys(table["config"]))
    on_segment = table[table["weight_above_chance"] == 0]
    for w, ranks in zip(weight, rank, strict=True):
        rows = on_segment[np.isclose(on_segment["weight_ratio"], w)].set_index("config")
        assert ranks.tolist() == rows.loc[configs, "rank"].tolist()


def test_fold_table_is_the_corrected_t_test():
    made = gathered({"12-lead": 2.0, "1-lead-II": 1.6}, 700, 400, folds=range(1, 11))
    row = fold_table(made).iloc[0]

    def per_fold(config):
        (logits,) = made.runs[config].test.logits["default"]
        folds = (made.fold == fold for fold in range(1, 11))
        return np.array([metrics.macro(metrics.auroc(made.labels[f], logits[f])) for f in folds])

    d = per_fold("1-lead-II") - per_fold("12-lead")
    assert row["difference"] == pytest.approx(d.mean(), abs=1e-12)
    naive = stats.ttest_1samp(d, 0)
    # variance 1/10 + 1/8 instead of 1/10
    widened = naive.statistic / np.sqrt((1 / 10 + 1 / 8) / (1 / 10))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(widened), 9))
    assert row["p"] > naive.pvalue
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["n_folds_better"] == (d > 0).sum()


def test_hypertrophy_under_two_recipes():
    """A recipe that is blind to hypertrophy alone must show up in the gap and the AUROC of HYP."""
    runs = synthetic_runs(1500, 1, strength=FOUR[:3], hyp_factor=0.9)
    for run in runs.values():
        run.test.logits["original"][:, :, 4] -= (0.8 * run.test.labels[:, 4]).astype(np.float32)
    made = gather(runs, n_resamples=300)
    table = hypertrophy_table(made).set_index("effect_name")
    per_class = {r: per_class_table(made, r).set_index(["config", "class"]) for r in made.recipes}
    row = table.loc["AUROC of HYP, I-II-V2"]
    for side, recipe in (("first", "default"), ("second", "original")):
        assert row[side] == per_class[recipe].loc[("3-lead-I-II-V2", "HYP"), "auroc"]
    assert row["low"] > 0
    assert table.loc["Gap from HYP to the next hardest class, fewer leads", "high"] < 0
    loss = table.loc["AUROC that HYP loses with fewer leads", "first"]
    full, fewer = (
        table.loc[f"AUROC of HYP, {s}", "first"] for s in ("12 leads", "mean of fewer leads")
    )
    assert loss == pytest.approx(full - fewer, abs=1e-12)
    assert (table["p_holm"] >= table["p"]).all()


def test_hypertrophy_averages_the_same_sets_under_both_recipes():
    runs = synthetic_runs(400, 1, strength=FOUR)
    trained = ("12-lead", "3-lead-I-II-V2", "1-lead-V2")
    made = gather(with_original_on(runs, trained), n_resamples=100)
    row = hypertrophy_table(made).set_index("effect_name")
    row = row.loc["AUROC of HYP, mean of fewer leads"]
    assert row["n_reduced"] == 2
    for side, recipe in (("first", "default"), ("second", "original")):
        values = per_class_table(made, recipe).query("`class` == 'HYP'").set_index("config")
        assert row[side] == pytest.approx(values.loc[list(trained[1:]), "auroc"].mean())
    alone = gather(with_original_on(runs, ("12-lead",)), n_resamples=50)
    assert hypertrophy_table(alone)["effect_name"].tolist() == ["AUROC of HYP, 12 leads"]


def test_demographic_groups():
    groups = demographic_groups([15, 40, 59.9, 75, 300, np.nan], [0, 1, -1, 0, 1, 0])
    assert groups["sex"].tolist() == ["male", "female", "", "male", "female", "male"]
    ages = ["under 40", "40-60", "40-60", "75 and over", "75 and over", ""]
    assert groups["age"].tolist() == ages


def test_record_groups_are_matched_by_record(sample):
    """The runs hold other records in another order than the data."""
    rng = np.random.default_rng(3)
    n = 300
    chosen = rng.permutation(len(sample))[:n]
    run = on_records(one_run(n), sample.select(chosen))
    made = gather([run], n_resamples=20)
    groups = record_groups(sample, made)
    by_sex = {"male": 0, "female": 1, "": -1}
    assert [by_sex[name] for name in groups["sex"]] == sample.sex[chosen].tolist()
    site = sample.metadata["site"].to_numpy()[chosen]
    sizes = pd.Series(site).value_counts()
    for name, number in zip(groups["site"], site, strict=True):
        rare = sizes[number] < MIN_POSITIVES
        assert name == ("" if number < 0 else "other sites" if rare else f"site {number}")
    marked = assess(sample.select(chosen)).records["any_rule"]
    assert (groups["signal"] == "marked").tolist() == marked.tolist()
    assert set(groups["all"]) == {"all records"}

    lacking = sample.select(sample.record_id != made.record_id[7])
    moved = dataclasses.replace(sample, patient_id=sample.patient_id + 1)
    refused("1 of 300 test records", record_groups, lacking, made)
    refused("300 of 300", record_groups, moved, made)


def test_what_an_analysis_kept_of_the_records_stands_for_the_data(sample, tmp_path):
    labelled = np.flatnonzero(sample.labels["any"].any(axis=1))[:300]
    chosen = sample.select(labelled)
    run = on_records(one_run(300), chosen, labels=chosen.labels["any"])
    made, file = gather([run], n_resamples=20), tmp_path / "records.csv.gz"
    first = know_records(made, str(sample.path), tmp_path / "none", file)
    again = know_records(made, "", file, tmp_path / "none")
    pd.testing.assert_frame_equal(subgroup_table(first), subgroup_table(again))
    assert set(first.groups) == set(again.groups) >= {"sex", "age", "signal"}
    ours, theirs = (one.relabelled["likelihood50"] for one in (first, again))
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert know_records(made, "", tmp_path / "none", file) is made

    turned = labelled[::-1]
    other = gather([on_records(run, chosen, labels=sample.labels["any"][turned])], n_resamples=20)
    fewer = gathered(["12-lead"], 200, 20)
    for runs in (other, fewer):
        words = "give the file that the runs were made from"
        refused(words, know_records, runs, "", file, file)
    file.write_bytes(file.read_bytes()[:-40])
    words = r"records\.csv\.gz: not what an analysis writes"
    refused(words, know_records, made, "", file, file)


def test_subgroups_stand_in_a_readable_order(evidence):
    ordered = ["under 40", "40-60", "75 and over", "site 9", "site 10", "other sites"]
    mixed = np.resize([ordered[k] for k in (5, 2, 0, 4, 3, 1)], evidence.n_records)
    table = subgroup_table(with_groups(evidence, mixed=mixed), configs=("12-lead",))
    assert table["subgroup"].tolist() == ordered


def test_subgroup_values_are_those_of_its_records(evidence):
    rng = np.random.default_rng(0)
    sex = rng.choice(["male", "female", ""], evidence.n_records, p=[0.5, 0.45, 0.05])
    table = subgroup_table(with_groups(evidence, sex=sex), configs=("12-lead", "1-lead-II"))
    assert table["subgroup"].tolist() == ["female", "female", "male", "male"]
    row = table[(table["subgroup"] == "male") & (table["config"] == "1-lead-II")].iloc[0]
    mask, run = sex == "male", evidence.runs["1-lead-II"].test
    expected = [metrics.auroc(run.labels[mask], x[mask]) for x in run.logits["default"]]
    assert row["auroc"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert row["n_records"] == mask.sum()
    assert row["n_patients"] == len(np.unique(run.patient_id[mask]))
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    # nothing distinguishes the two here; of two subgroups one carries the test
    tested = table[table["interaction_p"].notna()]
    assert tested["subgroup"].tolist() == ["female"]
    assert tested["interaction_p"].iloc[0] > 0.01


def test_an_interaction_is_found_where_there_is_one():
    runs = synthetic_runs(1200, 1, ("default",), {"12-lead": 2.0, "1-lead-II": 1.9})
    half = np.arange(1200) % 2 == 0
    test = runs["1-lead-II"].test
    test.logits["default"][:, half] -= (1.2 * test.labels[half]).astype(np.float32)
    made = gather(runs, n_resamples=300)
    groups = {"site": np.where(half, "a", "b")}
    table = subgroup_table(with_groups(made, **groups), configs=("12-lead", "1-lead-II"))
    row = table[(table["subgroup"] == "a") & (table["config"] == "1-lead-II")].iloc[0]
    assert row["interaction_high"] < 0
    assert row["interaction_p_holm"] < 0.05


def test_small_subgroups_get_counts_and_no_claim(evidence):
    site = np.where(np.arange(evidence.n_records) < 60, "small", "large")
    table = subgroup_table(with_groups(evidence, site=site))
    small = table[table["subgroup"] == "small"]
    assert not small["enough"].any()
    assert small["fewest_positives"].iloc[0] == evidence.labels[:60].sum(axis=0).min()
    assert small[["auroc", "auroc_low", "difference", "interaction"]].isna().all(axis=None)
    large = table[table["subgroup"] == "large"]
    assert large["auroc"].notna().all()
    assert large["interaction"].isna().all()


def test_macro_of_a_subgroup_uses_the_same_resamples(evidence):
    """All records as one subgroup must give back the main table."""
    everyone = {"all": np.full(evidence.n_records, "yes")}
    row = subgroup_table(with_groups(evidence, **everyone), configs=("12-lead", "1-lead-I")).iloc[1]
    main = main_table(evidence).set_index("config").loc["1-lead-I"]
    for name in ("auroc", "auroc_low", "auroc_high", "difference", "difference_low"):
        assert row[name] == pytest.approx(main[name], abs=1e-12), name


def test_a_better_recipe_is_set_against_twelve_leads_of_the_other():
    made = gathered(FOUR, 600, 400, ("default", "original"))
    table = across_recipes(made).set_index("config")
    assert list(table.index) == list(made.configs)
    reference = made.get("12-lead", "original").macro("auroc").value
    for config, row in table.iterrows():
        value = made.get(config, "default").macro("auroc").value
        assert row["difference"] == pytest.approx(value - reference, abs=1e-12)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["p_holm"] >= row["p"]
    reading = across_reading(table.reset_index())
    weakest = table["difference_high"].idxmin()
    assert table.loc[weakest, "difference_high"] < 0
    assert table.loc[weakest, "p_holm"] < 0.05
    assert weakest in reading.split("clearly below")[1]
