"""What `gather` makes of runs: thresholds fold by fold, rare classes, and bad input."""

import numpy as np
import pytest
from evidence_fixtures import one_run, whole_study
from trouble import refused

from leadmin import metrics
from leadmin.evidence import resampling
from leadmin.evidence.reliability import recalibrated_logits
from leadmin.evidence.scores import gather
from leadmin.labels import CLASSES
from leadmin.publish.page import resamples_in_words
from leadmin.study.run import fold_thresholds, point_metrics


@pytest.fixture(scope="module")
def evidence():
    return whole_study()


def test_f1_thresholds_come_from_the_network_that_tested_the_record():
    """Networks on scales of their own: a threshold pooled over them fits none of them."""
    run = one_run(1500, 2, folds=range(1, 11))
    shift = np.arange(1, 11) / 2
    for part, tested in ((run.test, run.test.fold), (run.validation, run.validation.fold - 1)):
        part.logits["default"] += shift[tested % 10][:, None].astype(np.float32)
    calls = np.zeros(run.test.labels.shape, dtype=bool)
    expected = []
    for k in range(2):
        of_validation, of_test = (
            metrics.probabilities(part.logits["default"][k]) for part in (run.validation, run.test)
        )
        for fold in range(1, 11):
            own, tested = run.validation.fold == fold % 10 + 1, run.test.fold == fold
            cut = metrics.thresholds(run.validation.labels[own], of_validation[own])
            calls[tested] = of_test[tested] >= cut
        expected.append(metrics.f1(run.test.labels, calls, 0.5))
    found = gather([run], n_resamples=20).get("12-lead", "default").per_seed["f1"]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    summaries = point_metrics(run.validation, run.test)["default"]
    np.testing.assert_allclose([one["f1"] for one in summaries], metrics.macro(expected))


def test_a_record_has_no_say_in_the_threshold_and_scaling_it_is_scored_with():
    """Cross-validation validates on the records that it tests, each with another network."""
    run = one_run(600, folds=range(1, 11))

    def fitted():
        chosen = fold_thresholds(run.validation, run.test, "default", 0)
        return chosen, recalibrated_logits(run, "default")[0]

    before = fitted()
    run.validation.labels[run.validation.fold == 3] ^= 1
    for old, new in zip(before, fitted(), strict=True):
        changed = run.test.fold[(old != new).any(axis=1)]
        np.testing.assert_array_equal(np.unique(changed), [2])


def test_a_network_without_validation_records_is_named():
    run = one_run(100, folds=(1, 2))
    run.validation.fold[:] = 2
    refused(r"fold 2 has no validation record; .* fold 3", gather, [run])


def test_resamples_that_lack_a_class_are_counted(evidence):
    assert evidence.absent_resamples() == dict.fromkeys(CLASSES, 0)
    run = one_run(200)
    run.test.labels[:, 4] = 0
    run.test.labels[:2, 4] = 1  # two patients, or one
    run.test.labels[:, 3] = 0
    rare = gather([run], n_resamples=500)
    lacking = rare.weights[:2].sum(axis=0) == 0
    assert 50 < lacking.sum() < 250
    expected = {"NORM": 0, "MI": 0, "STTC": 0, "CD": 500, "HYP": lacking.sum()}
    assert rare.absent_resamples() == expected
    assert f"CD in 500, HYP in {lacking.sum()} of 500" in resamples_in_words(rare)
    assert "every resample" in resamples_in_words(evidence)
    # in those resamples the macro average runs over the three classes that are left
    scored = rare.get("12-lead", "default")
    of_classes = scored.replicates["auroc"][lacking, :3]
    np.testing.assert_allclose(scored.macro("auroc").replicates[lacking], of_classes.mean(axis=1))


def test_weights_are_drawn_once_and_kept(evidence):
    again = resampling.patient_weights(evidence.patient_id, 400, np.random.default_rng(0))
    np.testing.assert_array_equal(evidence.weights, again)
    with pytest.raises(ValueError, match="read-only"):
        evidence.weights[0, 0] = 1


def test_failed_training_is_named():
    run = one_run(60)
    run.test.logits["default"][0, 5, 1] = np.nan
    refused("the training has failed, run it again", gather, [run])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.get("12-lead", "best"), "valid: 12-lead, .* under default, original"),
        (lambda e: gather(e.runs, n_resamples=0), "n_resamples: 0"),
    ],
)
def test_bad_arguments_are_refused(evidence, call, message):
    refused(message, call, evidence)
