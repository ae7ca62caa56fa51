"""The study's tables: right values, paired, and verdicts that can fall either way."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import (
    STRENGTH,
    gathered,
    retested,
    synthetic_runs,
    whole_study,
    with_original_on,
)
from trouble import refused

from leadmin import metrics
from leadmin.evidence.estimates import Estimate, FoldEstimate, conjunction_test, with_seeds
from leadmin.evidence.scores import gather
from leadmin.labels import CLASSES
from leadmin.leads import configurations
from leadmin.questions.answer import main_table
from leadmin.questions.classes import per_class_table
from leadmin.questions.findings import CLAIMS, key_findings
from leadmin.questions.pairs import pairwise_matrix
from leadmin.questions.recipes import recipe_comparison
from leadmin.show.words import shown

GOLDEN = Path(__file__).parent / "golden" / "seed_sweep_single_seed.csv"


@pytest.fixture(scope="module")
def evidence():
    return whole_study()


@pytest.fixture(scope="module")
def runs(evidence):
    return evidence.runs


def subset(runs, *configs):
    return {config: runs[config] for config in configs}


def test_main_table_holds_the_mean_over_seeds_of_the_metrics(runs, evidence):
    table = main_table(evidence).set_index("config")
    assert list(table.index) == list(configurations())
    for config in ("12-lead", "1-lead-V2"):
        run, row = runs[config], table.loc[config]
        per_seed = []
        for k in range(2):
            cut = metrics.thresholds(
                run.validation.labels, metrics.probabilities(run.validation.logits["default"][k])
            )
            p = metrics.probabilities(run.test.logits["default"][k])
            per_seed.append(metrics.summary(run.test.labels, p, cut))
        for name in ("auroc", "f1", "f1_half", "brier", "ece", "specificity_at_95_sensitivity"):
            expected = np.mean([one[name] for one in per_seed])
            assert row[name] == pytest.approx(expected, abs=1e-9), (config, name)
        seeds = [one["auroc"] for one in per_seed]
        assert row["auroc_seed_sd"] == pytest.approx(np.std(seeds, ddof=1))
        assert (row["n_records"], row["n_seeds"]) == (500, 2)
        assert row["n_patients"] == len(np.unique(run.test.patient_id)) < 500
        assert row["n_leads"] == len(run.leads)


def test_every_interval_holds_its_value(evidence):
    table = main_table(evidence)
    names = [c.removesuffix("_low") for c in table.columns if c.endswith("_low")]
    assert {"auroc", "f1", "brier", "lrs", "retention", "difference"} <= set(names)
    for name in names:
        shown = table[table[f"{name}_low"].notna()]
        assert len(shown) >= 10
        assert (shown[f"{name}_low"] <= shown[name] + 1e-12).all(), name
        assert (shown[name] <= shown[f"{name}_high"] + 1e-12).all(), name
        reduced = table[table["config"] != "12-lead"]
        assert (reduced[f"{name}_low"] < reduced[f"{name}_high"]).all(), name
    estimate = evidence.get("3-lead-I-II-V2", "default").macro("auroc")
    percentile, bca = estimate.interval(), estimate.bca()
    assert percentile == pytest.approx(bca, abs=estimate.standard_error)
    assert percentile != bca


def test_what_is_relative_to_twelve_leads_is_paired(evidence):
    table = main_table(evidence).set_index("config")
    full, width = table.loc["12-lead"], table["auroc_high"] - table["auroc_low"]
    assert (full["lrs"], full["retention"], full["difference"]) == (1, 1, 0)
    assert full["lrs_low"] == full["lrs_high"] == 1
    assert math.isnan(full["difference_p"])
    for _, row in table.iloc[1:].iterrows():
        assert row["difference"] == pytest.approx(row["auroc"] - full["auroc"], abs=1e-12)
        assert row["lrs"] == pytest.approx(
            metrics.lrs(row["auroc"], row["brier"], full["auroc"], full["brier"])
        )
        assert row["difference_p_holm"] >= row["difference_p"]
        assert row["non_inferior"] == (row["difference_low"] > -0.01)
    # errors that both sides share cancel, so the paired interval is the narrower one
    row, unpaired = table.loc["3-lead-I-II-V2"], math.hypot(*width[["3-lead-I-II-V2", "12-lead"]])
    assert row["difference_high"] - row["difference_low"] < 0.6 * unpaired


def test_same_seed_same_tables_other_seed_other_intervals(runs):
    few = subset(runs, "12-lead", "1-lead-II")
    # as a list of runs the second time
    first, again, other = (
        main_table(gather(given, 100, s)) for given, s in ((few, 1), (few.values(), 1), (few, 2))
    )
    pd.testing.assert_frame_equal(first, again)
    assert (first["auroc"] == other["auroc"]).all()
    assert (first["auroc_low"] != other["auroc_low"]).all()


def test_a_configuration_does_not_depend_on_its_company(runs, evidence):
    alone = main_table(gather(subset(runs, "1-lead-II"), n_resamples=400)).iloc[0]
    among = main_table(evidence).set_index("config").loc["1-lead-II"]
    assert alone["auroc_low"] == among["auroc_low"]
    assert math.isnan(alone["lrs"])
    assert math.isnan(alone["difference_p_holm"])


def test_per_class_table(runs, evidence):
    table = per_class_table(evidence, "original")
    assert len(table) == 55
    assert set(table["recipe"]) == {"original"}
    test = runs["2-lead-I-II"].test
    rows = table[table["config"] == "2-lead-I-II"].set_index("class")
    assert list(rows.index) == list(CLASSES)
    expected = [metrics.auroc(test.labels, x) for x in test.logits["original"]]
    np.testing.assert_allclose(rows["auroc"], np.mean(expected, axis=0), atol=1e-12)
    np.testing.assert_array_equal(rows["n_positive"], test.labels.sum(axis=0))
    macro = main_table(evidence, "original").set_index("config").loc["2-lead-I-II", "auroc"]
    assert rows["auroc"].mean() == pytest.approx(macro, abs=1e-12)


def test_recipe_comparison_is_paired_and_signed(evidence):
    table = recipe_comparison(evidence)
    assert len(table) == 11 * 9
    rows = table[table["metric"] == "auroc"].set_index("config")
    default, original = (
        main_table(evidence, recipe).set_index("config")["auroc"] for recipe in evidence.recipes
    )
    np.testing.assert_allclose(rows["difference"], default - original, atol=1e-12)
    # the fixture makes the second recipe weaker throughout
    assert (rows["difference"] > 0).all()
    swapped = recipe_comparison(evidence, "original", "default")
    rows_swapped = swapped[swapped["metric"] == "auroc"].set_index("config")
    np.testing.assert_allclose(rows_swapped["difference"], -rows["difference"], atol=1e-12)
    np.testing.assert_allclose(rows_swapped["difference_low"], -rows["difference_high"], atol=1e-12)
    # a binned calibration error has a value and a difference, but no valid interval
    of_ece = table["metric"] == "ece"
    assert table.loc[of_ece, "difference"].notna().all()
    assert table.loc[of_ece, ["difference_low", "p", "p_holm"]].isna().all(axis=None)
    assert table.loc[~of_ece, ["difference_low", "p", "p_holm"]].notna().all(axis=None)
    hyp = table[(table["metric"] == "auroc_HYP") & (table["config"] == "12-lead")].iloc[0]
    per_class = per_class_table(evidence).set_index(["config", "class"])
    assert hyp["first"] == per_class.loc[("12-lead", "HYP"), "auroc"]


def test_pairwise_matrix_has_every_pair_once(evidence):
    table = pairwise_matrix(evidence)
    assert len({frozenset(pair) for pair in table[["first", "second"]].to_numpy()}) == 55
    assert len(table) == 55
    assert (table["p_bh"] >= table["p"] - 1e-12).all()
    assert (table["smallest_resolvable"] > 0).all()
    row = table.set_index(["first", "second"]).loc[("6-lead-limb", "1-lead-V2")]
    assert row["difference"] > 0
    assert row["p"] < 0.01


@pytest.mark.parametrize(("n_seeds", "between"), [(3, 0.009), (2, 0.006)])
def test_intervals_with_seeds_are_wider_and_cover(n_seeds, between):
    """Estimate and seeds drawn from a known world: 95% must mean 95%, also with few seeds."""
    rng = np.random.default_rng(0)
    covered = covered_without = 0
    n, sampling = 800, 0.006
    for _ in range(n):
        centre = rng.normal(0, sampling)
        seeds = centre + rng.normal(0, between, n_seeds)
        estimate = Estimate(seeds.mean(), seeds.mean() + rng.normal(0, sampling, 200), np.empty(0))
        variance = (seeds.var(ddof=1) / n_seeds, n_seeds - 1)
        found = with_seeds("x", estimate, [variance])
        covered += found["x_low_with_seeds"] <= 0 <= found["x_high_with_seeds"]
        low, high = estimate.interval()
        covered_without += low <= 0 <= high
    assert 0.93 <= covered / n <= 0.97
    assert covered_without / n < 0.90


def test_pooled_folds_bring_the_within_fold_auroc():
    pooled = synthetic_runs(400, 1, ("default",), {"12-lead": 2.0}, folds=range(1, 11))
    for run in pooled.values():
        # networks of different folds on different scales
        run.test.logits["default"] += (run.test.fold[:, None] % 2 * 3).astype(np.float32)
    row = main_table(gather(pooled, n_resamples=200)).iloc[0]
    assert row["auroc_within_fold"] > row["auroc"] + 0.02
    assert row["auroc_within_fold_low"] < row["auroc_within_fold"] < row["auroc_within_fold_high"]
    assert "auroc_within_fold" not in main_table(gathered({"12-lead": 2.0}, 400, 50))


ASKED = ("12-lead", "3-lead-I-II-V2", "6-lead-limb", "3-lead-I-II-III")
ASKED += tuple(f"1-lead-{lead}" for lead in ("II", "V5", "I", "V2"))


def findings(strength, n_records=900, hyp_factor=0.6):
    strength = {config: STRENGTH[config] for config in ASKED} | strength
    made = gathered(strength, n_records, 500, seed=4, hyp_factor=hyp_factor)
    return key_findings(made).set_index("part")


def test_effects_are_those_of_the_tables(evidence):
    effect = key_findings(evidence).set_index("part")["effect"]
    auroc = main_table(evidence).set_index("config")["auroc"]
    assert effect["1a"] == pytest.approx(auroc["3-lead-I-II-V2"] - auroc["12-lead"])
    assert effect["2a"] == pytest.approx(auroc["3-lead-I-II-V2"] - auroc["6-lead-limb"])
    assert effect["2b"] == pytest.approx(auroc["3-lead-I-II-V2"] - auroc["3-lead-I-II-III"])
    assert effect["3a"] == pytest.approx(auroc["1-lead-II"] / auroc["12-lead"])
    singles = auroc[["1-lead-I", "1-lead-II", "1-lead-V2", "1-lead-V5"]]
    assert effect["3b"] == pytest.approx(singles["1-lead-II"] - singles.drop("1-lead-II").max())
    assert effect["3c"] == pytest.approx(singles.drop("1-lead-V2").min() - singles["1-lead-V2"])
    of_class = per_class_table(evidence).pivot(index="config", columns="class", values="auroc")
    reduced = of_class.drop("12-lead").mean()
    assert effect["4a"] == pytest.approx(reduced.drop("HYP").min() - reduced["HYP"])
    loss = of_class.loc["12-lead"] - reduced
    assert effect["4b"] == pytest.approx(loss["HYP"] - loss.drop("HYP").max())


@pytest.mark.parametrize(
    ("triple", "ii", "v2", "n_records", "hyp_factor", "verdict"),
    [(2.05, 1.5, 0.8, 3000, 0.45, "supported"), (1.4, 0.6, 1.6, 900, 1.4, "not supported")],
)
def test_key_findings_can_all_fall_either_way(triple, ii, v2, n_records, hyp_factor, verdict):
    strength = {"3-lead-I-II-V2": triple, "1-lead-II": ii, "1-lead-V2": v2}
    table = findings(strength, n_records, hyp_factor)
    for part in ("1a", "2a", "2b", "3a", "3b", "3c", "4a"):
        assert table.loc[part, "verdict"] == verdict, table.loc[part, "statement"]
    assert (table.loc[["2a", "2b"], "finding_verdict"] == verdict).all()


def test_key_findings_can_stay_open():
    table = findings({"3-lead-I-II-V2": 1.93}, n_records=90)
    assert table.loc["1a", "verdict"] == "undecidable on these data"
    assert table.loc["1a", "smallest_resolvable"] > 0.01
    assert "undecidable" in table.loc["1a", "statement"]


def test_statement_carries_the_numbers_of_its_row(evidence):
    for _, row in key_findings(evidence).iterrows():
        assert shown(row["effect"], row["shown_as"]) in row["statement"]
        assert shown(row["low"], row["shown_as"]) in row["statement"]
        assert row["statement"].endswith(f"{row['verdict']}.")


@pytest.mark.parametrize("n_rivals", [1, 3])
def test_a_conjunction_is_neither_supported_nor_refuted_by_chance(n_rivals):
    """All effects are truly zero: the claim is at the edge, and neither side may win often."""
    rng = np.random.default_rng(0)
    n, supported, refuted = 1500, 0, 0
    for _ in range(n):
        observed = rng.normal(size=1 + n_rivals)
        replicates = observed[:, None] + rng.normal(size=(1 + n_rivals, 400))
        effects = {
            str(k): Estimate(observed[0] - observed[k], replicates[0] - replicates[k], np.empty(0))
            for k in range(1, 1 + n_rivals)
        }
        weakest, p = conjunction_test(effects)
        assert effects[weakest].value == min(effect.value for effect in effects.values())
        supported += p < 0.05 and effects[weakest].value > 0
        refuted += p < 0.05 and effects[weakest].value < 0
    assert supported / n < 0.04
    assert refuted / n < 0.045
    if n_rivals == 1:
        assert supported / n > 0.015
        assert refuted / n > 0.015


def test_a_conjunction_falls_with_one_of_its_parts():
    rng = np.random.default_rng(1)

    def effect(value):
        return Estimate(value, rng.normal(value, 1, 2000), np.empty(0))

    name, p = conjunction_test({"a": effect(8), "b": effect(-8), "c": effect(5)})
    assert (name, p < 0.01) == ("b", True)
    name, p = conjunction_test({"a": effect(8), "b": effect(0.5), "c": effect(5)})
    assert (name, p > 0.3) == ("b", True)


def test_missing_runs_leave_a_finding_open(runs):
    table = key_findings(gather(subset(runs, "12-lead", "6-lead-limb"), n_resamples=60))
    table = table.set_index("part")
    lacking, asked = table.loc["1a"], table.loc["4a"]
    assert math.isnan(lacking["effect"])
    assert lacking["verdict"] == "not asked"
    assert "lacks a run" in lacking["statement"]
    assert table.loc["3a", "finding_verdict"] == "not asked"
    assert asked["verdict"] != "not asked"
    assert "mean of one smaller set" in asked["effect_name"]
    assert not math.isnan(asked["effect"])
    # only two questions could be asked, so Holm corrects for two
    assert asked["p_holm"] <= 2 * asked["p"] + 1e-12


def test_a_finding_asked_in_part_is_undecided_unless_a_part_falls(runs):
    """Of finding 2, 2a can be asked without I-II-III, and 2b cannot."""
    kept = subset(runs, "12-lead", "6-lead-limb", "3-lead-I-II-V2")
    table = key_findings(gather(kept, n_resamples=200)).set_index("part")
    assert table.loc["2a", "verdict"] == "supported"
    assert table.loc["2b", "verdict"] == "not asked"
    assert table.loc["2a", "finding_verdict"] == "undecidable on these data"


def test_a_recipe_on_some_configurations_only(runs):
    """Nothing changes for what is there, and what is missing is left out or not asked."""
    trained = ("12-lead", "6-lead-limb", "3-lead-I-II-V2")
    few = subset(runs, *trained, "1-lead-II")
    everywhere, partial = (
        gather(given, n_resamples=60) for given in (few, with_original_on(few, trained))
    )
    assert partial.recipes == everywhere.recipes
    for made in (main_table, per_class_table):
        pd.testing.assert_frame_equal(made(partial), made(everywhere))
    part, whole = (main_table(e, "original") for e in (partial, everywhere))
    assert tuple(part["config"]) == trained
    same = ["auroc", "auroc_low", "difference", "difference_low", "lrs"]
    pd.testing.assert_frame_equal(part[same], whole[same].iloc[:3])
    assert len(pairwise_matrix(partial, "original")) == 3
    compared = recipe_comparison(partial)
    assert tuple(dict.fromkeys(compared["config"])) == trained
    findings = key_findings(partial, "original").set_index("part")
    assert set(findings.index[findings["verdict"] == "not asked"]) == {"2b", "3a", "3b", "3c"}
    assert findings.loc[["3a", "3b", "3c"], "finding_verdict"].eq("not asked").all()


def test_retention_close_to_93_percent_is_an_equivalence_question():
    question = next(q for q in CLAIMS if q.part == "3a")
    values = np.array([0.90, 0.91, 0.93, 0.96])
    inside = question.inside(Estimate(0.93, values, values))(values)
    np.testing.assert_allclose(inside, [-0.01, 0, 0.02, -0.01])
    # fold by fold the spread must not count against it: the nearer bound is asked for
    inside = question.inside(FoldEstimate(0.94, values, values))(values)
    np.testing.assert_allclose(inside, [0.05, 0.04, 0.02, -0.01])
    assert question.threshold == "between 91.0% and 95.0%"


def test_what_the_original_reported_is_what_its_table_says():
    """The figures quoted beside each question, recomputed from the published sweep."""
    sweep = pd.read_csv(GOLDEN, comment="#").set_index("Config")
    auroc = {config: f"{value:.3f}" for config, value in sweep["AUROC"].items()}
    kept = {config: f"{value}%" for config, value in sweep["Retention"].items()}
    reduced = sweep.drop("12-lead")[list(CLASSES)]
    assert (reduced.idxmin(axis=1) == "HYP").sum() == 9
    loss = (sweep.loc["12-lead", list(CLASSES)].astype(float) - reduced).mean()
    assert loss.idxmax() == "MI"
    expected = {
        "1a": [auroc["3-lead-I-II-V2"], auroc["12-lead"], kept["3-lead-I-II-V2"]],
        "2a": [auroc["3-lead-I-II-V2"], auroc["6-lead-limb"]],
        "2b": [auroc["3-lead-I-II-III"]],
        "3a": [kept["1-lead-II"], kept["1-lead-V5"], kept["1-lead-I"]],
        "3b": [auroc["1-lead-II"], auroc["1-lead-V5"]],
        "3c": [auroc["1-lead-V2"], auroc["1-lead-I"]],
        "4a": ["nine of the ten"],
        "4b": [f"HYP lost {loss['HYP']:.3f}", f"MI {loss['MI']:.3f}"],
    }
    quoted = {question.part: question.original for question in CLAIMS}
    assert all(words in quoted[part] for part, all_words in expected.items() for words in all_words)


def test_runs_that_do_not_go_together_and_an_unknown_recipe_are_refused(runs, evidence):
    full, one = runs["12-lead"], runs["1-lead-II"]
    refused("no finished runs", gather, [])
    refused("runs: 1-lead-II, 1-lead-II; valid", gather, [one, one])
    for field in ("record_id", "patient_id", "labels", "fold"):
        changed = getattr(one.test, field).copy()
        changed.flat[3] = 1 - changed.flat[3]
        other = retested(one, **{field: changed})
        refused(f"other records or labels .*{field}", gather, [full, other])
    words = "'orginal'; valid for these runs: default, original"
    refused(words, main_table, evidence, "orginal")
