"""Missed diagnoses, and verdicts that hold under every reading."""

import dataclasses

import numpy as np
import pytest
from evidence_fixtures import on_records, one_run, synthetic_runs, whole_study
from scipy.stats import t

from leadmin.evidence.scores import compare, gather
from leadmin.labels import CLASSES
from leadmin.questions.answer import main_table
from leadmin.questions.controls import fold_table
from leadmin.questions.findings import firm_findings, firm_reading, key_findings
from leadmin.questions.margins import firm_losses
from leadmin.questions.missed import missed_reading, missed_table
from leadmin.questions.policies import policies_reading, policies_table
from leadmin.questions.recipes import across_recipes
from leadmin.questions.subgroups import describe_records, with_described


def test_missed_are_counted_at_the_threshold_of_the_networks_own_validation_fold():
    run = one_run(900, 2, folds=range(1, 11))
    # networks on scales of their own: one threshold for all would fit none
    shift = np.arange(10) * 0.7
    for part, tested in ((run.test, run.test.fold), (run.validation, run.validation.fold - 1)):
        part.logits["default"] += shift[tested % 10][:, None].astype(np.float32)
    row = missed_table(gather([run], n_resamples=100)).set_index("class").loc["MI"]
    missed, quiet = [], []
    for of_validation, of_test in zip(
        run.validation.logits["default"][:, :, 1], run.test.logits["default"][:, :, 1], strict=True
    ):
        called = np.zeros(900, dtype=bool)
        for fold in range(1, 11):
            own, tested = run.validation.fold == fold % 10 + 1, run.test.fold == fold
            negative = np.sort(of_validation[own & (run.validation.labels[:, 1] == 0)])
            # at least nine of ten stay at or below it
            called[tested] = of_test[tested] > negative[int(np.ceil(0.9 * len(negative))) - 1]
        missed.append(1000 * np.mean((run.test.labels[:, 1] == 1) & ~called))
        quiet.append(np.mean(~called[run.test.labels[:, 1] == 0]))
    assert row["missed"] == pytest.approx(np.mean(missed), abs=1e-9)
    assert row["specificity"] == pytest.approx(np.mean(quiet), abs=1e-9)
    assert row["specificity"] == pytest.approx(0.9, abs=0.03)
    assert row["present"] == pytest.approx(1000 * run.test.labels[:, 1].mean())
    assert row["missed_low"] < row["missed"] < row["missed_high"] < row["present"]


def test_missed_differences_are_paired_and_read_out():
    table = missed_table(whole_study()).set_index(["config", "class"])
    for name in CLASSES:
        weak, full = table.loc[("1-lead-V2", name)], table.loc[("12-lead", name)]
        assert weak["difference"] == pytest.approx(weak["missed"] - full["missed"])
        assert 0 < weak["difference_low"] < weak["difference"] < weak["difference_high"]
    reading = missed_reading(table.reset_index())
    assert f"twelve leads miss {table.loc[('12-lead', 'MI'), 'missed']:.0f} [" in reading
    assert "normal" not in reading


@pytest.fixture(scope="module")
def crossval(sample):
    """Three sets on real records, so that the data hold labels under both policies."""
    strength = {"12-lead": 2.0, "3-lead-I-II-V2": 1.9, "1-lead-V2": 0.8}
    chosen = sample.select(np.flatnonzero(sample.labels["any"].any(axis=1))[:700])
    runs = synthetic_runs(700, 1, ("default",), strength, folds=range(1, 11))
    rng, labels = np.random.default_rng(0), chosen.labels["any"]
    for config, run in runs.items():
        logits = strength[config] * labels - 1.5 + rng.normal(size=(1, *labels.shape))
        runs[config] = on_records(run, chosen, labels=labels, logits={"default": logits})
    evidence = gather(runs, n_resamples=300)
    return with_described(evidence, describe_records(sample, evidence)), sample


def test_other_labels_are_those_of_the_data_on_the_records_that_have_some(crossval):
    evidence, sample = crossval
    ((policy, other),) = evidence.relabelled.items()
    assert policy == "likelihood50"
    place = [int(np.flatnonzero(sample.record_id == one)[0]) for one in evidence.record_id]
    labels = sample.labels["likelihood50"][place]
    kept = labels.any(axis=1)
    assert 0 < (~kept).sum() < 200
    np.testing.assert_array_equal(other.labels, labels[kept])
    np.testing.assert_array_equal(other.record_id, evidence.record_id[kept])


def test_each_set_is_scored_under_both_label_policies(crossval):
    evidence, _ = crossval
    table = policies_table(evidence)
    assert len(table) == 2 * 3
    losses = firm_losses(evidence).query("intervals == 'patients'")
    for row in losses.to_dict("records"):
        at = (table["config"] == row["config"]) & (table["labels"] == row["labels"])
        assert table.loc[at, "difference"].item() == pytest.approx(row["difference"], abs=1e-12)
    assert policies_reading(table).count(" 0.") == 2
    assert policies_table(dataclasses.replace(evidence, relabelled={})).empty

    two = whole_study()
    across = across_recipes(two).set_index("config")
    both = policies_table(dataclasses.replace(two, relabelled={"likelihood50": two}))
    own = both[both["recipe"] == "default"]
    assert own["labels"].value_counts().to_dict() == dict.fromkeys(
        ("any", "likelihood50"), len(across)
    )
    for row in own.to_dict("records"):
        assert row["across_low"] == pytest.approx(across.loc[row["config"], "difference_low"])
        assert row["across_low_with_seeds"] < row["across"] < row["across_high_with_seeds"]


def test_a_loss_is_firm_where_label_policies_and_intervals_agree(crossval):
    evidence, _ = crossval
    table = firm_losses(evidence)
    assert len(table) == 2 * 2 * 3
    own = table[table["labels"] == "any"].set_index(["config", "intervals"])
    main, folds = (
        made(evidence).set_index("config").loc["1-lead-V2"] for made in (main_table, fold_table)
    )
    assert own.loc[("1-lead-V2", "patients"), "low"] == main["difference_low"]
    assert own.loc[("1-lead-V2", "folds"), "low"] == folds["low"]
    few = own.loc[("1-lead-V2", "few patients")]
    left_out = compare(evidence, "1-lead-V2", "12-lead", "default").jackknife
    error = np.sqrt((len(left_out) - 1) * left_out.var())
    fewest = evidence.labels.sum(axis=0).min()
    assert fewest < 100
    assert few["high"] - few["difference"] == pytest.approx(t.ppf(0.975, fewest - 1) * error)
    for config, rows in table.groupby("config"):
        verdicts = set(rows["verdict"])
        firm = verdicts if len(verdicts) == 1 else {"depends on the reading"}
        assert set(rows["firm"]) == firm, config
    assert set(table.loc[table["config"] == "1-lead-V2", "firm"]) == {"inferior"}


def test_a_finding_is_firm_where_every_reading_agrees(crossval):
    evidence, _ = crossval
    table = firm_findings(evidence)
    assert len(table) == 2 * 3 * 8
    own = table[(table["labels"] == "any") & (table["intervals"] == "patients")]
    assert own["verdict"].tolist() == key_findings(evidence)["verdict"].tolist()
    firm = table.drop_duplicates("part").set_index("part")["firm"]
    assert firm["2a"] == "not asked"
    for part, rows in table.groupby("part"):
        if firm[part] != "depends on the reading":
            assert set(rows["verdict"]) == {firm[part]}, part
    mixed = table.assign(firm=["supported"] + ["depends on the reading"] * (len(table) - 1))
    assert "Supported: 1a; depends on the reading: 2a, " in firm_reading(mixed)
    assert "over 6 readings" in firm_reading(table).lower()
