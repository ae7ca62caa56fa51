"""Calibration measures against other libraries, and recalibration that never sees a test label."""

import math

import numpy as np
import pytest
from evidence_fixtures import gathered, one_run
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from trouble import refused

from leadmin import metrics
from leadmin.evidence import resampling
from leadmin.evidence.reliability import (
    benefit_of_records,
    brier_decomposition,
    calibration_line,
    fit_recalibration,
    recalibrated_logits,
    resampled_calibration,
    smooth_calibration_error,
)
from leadmin.evidence.scores import gather
from leadmin.questions.answer import main_table
from leadmin.questions.calibration import calibration_table, decision_curves


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(2)
    logits = rng.normal(-1, 1.5, 3000)
    return (rng.random(3000) < expit(logits)).astype(np.uint8), logits


@pytest.fixture(scope="module")
def evidence():
    return gathered({"12-lead": 2.0, "2-lead-I-II": 1.7}, 500, 100, n_seeds=2)


@pytest.mark.parametrize(("stretch", "shift"), [(1, 0), (2, 0.7), (0.5, 0), (3, -1), (1, 2)])
def test_slope_and_intercept_are_the_logistic_regressions(sample, stretch, shift):
    y, x = sample
    line = calibration_line(y, stretch * x + shift)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(stretch * x[:, None] + shift, y)
    assert line.slope == pytest.approx(model.coef_[0, 0], abs=1e-6)
    assert line.intercept == pytest.approx(model.intercept_[0], abs=1e-6)
    # calibration in the large: with this offset the mean probability is the prevalence
    assert expit(stretch * x + shift + line.offset).mean() == pytest.approx(y.mean(), abs=1e-9)
    if stretch == 1:  # the sample is calibrated
        assert (line.slope, line.offset) == pytest.approx((1, -shift), abs=0.1)


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        (np.ones(5), np.arange(5.0)),
        ([0, 1, 1, 1], np.zeros(4)),
        ([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0]),
        ([], []),
    ],
)
def test_undefined_calibration_is_nan(labels, logits):
    assert math.isnan(calibration_line(labels, logits).slope)
    assert calibration_line([0, 1, 1, 1], np.zeros(4)).offset == pytest.approx(math.log(3))


@pytest.mark.parametrize("stretch", [0.05, 0.3, 1.8, 6.0, 20.0])
def test_slope_is_found_however_wrong_the_logits_are(sample, stretch):
    y, x = sample
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.integers(0, 600, 600)
        line = calibration_line(y[rows], np.clip(stretch * x[rows], -29, 29))
        assert 0 < line.slope * stretch < 3


def test_expanded_replicates_are_close_to_refits(sample):
    y, x = sample[0][:600], 1.8 * sample[1][:600]
    weights = resampling.patient_weights(np.arange(600), 60, np.random.default_rng(0))
    line = calibration_line(y, x)
    quick = resampled_calibration(y, x, line, weights)
    drawn = (np.repeat(np.arange(600), times) for times in weights.T)
    refits = [calibration_line(y[rows], x[rows]) for rows in drawn]
    slopes, offsets = np.array([(one.slope, one.offset) for one in refits]).T
    assert np.std(quick["slope"] - slopes) < 0.08 * slopes.std()
    assert np.abs(quick["offset"] - offsets).max() < 0.05 * offsets.std()
    for q in (0.025, 0.975):
        short = np.quantile(quick["slope"], q) - np.quantile(slopes, q)
        assert abs(short) < 0.1 * slopes.std()


def test_brier_decomposition_adds_up_and_tells_ranking_from_calibration(sample):
    y, x = sample
    calibrated = brier_decomposition(y, expit(x))
    stretched = brier_decomposition(y, expit(3 * x + 1))
    for parts, p in ((calibrated, expit(x)), (stretched, expit(3 * x + 1))):
        total = parts["miscalibration"] - parts["discrimination"] + parts["uncertainty"]
        assert total == pytest.approx(metrics.brier(y[:, None], p[:, None])[0], abs=1e-12)
        assert parts["uncertainty"] == pytest.approx(y.mean() * (1 - y.mean()), abs=1e-12)
    # a monotone change leaves the ranking alone
    assert stretched["discrimination"] == pytest.approx(calibrated["discrimination"], abs=1e-12)
    assert stretched["miscalibration"] > 5 * calibrated["miscalibration"]


def test_smooth_error_sees_miscalibration_and_binned_error_agrees_roughly(sample):
    y, x = sample
    good = smooth_calibration_error(y, expit(x))
    bad = smooth_calibration_error(y, expit(x + 1.5))
    assert good < 0.03
    binned = metrics.calibration_error(y[:, None], expit(x + 1.5)[:, None])[0]
    assert bad == pytest.approx(binned, rel=0.2)


@pytest.mark.parametrize(
    ("seed", "n", "stretch", "shift", "expected"),
    [
        (0, 200, 1, 0, 0.0559793348836666),
        (1, 4300, 1, 0, 0.0222045539832119),
        (2, 4300, 0.5, 1, 0.2717584095077105),
        (3, 1000, 4, -1, 0.19861821148373188),
        (4, 37, 2, 0, 0.15275326254542762),
        (5, 2200, 20, 3, 0.239211116607528),
        (6, 1500, 0, -1, 0.06572524089298983),
        (7, 100_000, 1, 0.02, 0.006702533717729126),
    ],
)
def test_smooth_error_is_that_of_its_authors(seed, n, stretch, shift, expected):
    """What relplot 1.0.3, the package of the paper's authors, gives for the same records."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1, 1.5, n)
    y = rng.random(n) < expit(x)
    found = smooth_calibration_error(y, expit(stretch * x + shift))
    assert found == pytest.approx(expected, abs=1e-6)


def test_smooth_error_at_its_limits():
    y = np.repeat([0, 1], 500)
    assert smooth_calibration_error(y, y) == 0
    assert smooth_calibration_error(y, np.abs(y - 0.002)) == pytest.approx(0.002, abs=1e-6)
    assert smooth_calibration_error([1], [0.0]) == pytest.approx(1, abs=1e-6)


def test_recalibration_keeps_the_order_and_mends_the_probabilities(sample):
    y, x = sample
    distorted = np.column_stack([2.5 * x - 1, 0.4 * x + 2])
    labels = np.column_stack([y, y])
    recalibration = fit_recalibration(labels[:1500], distorted[:1500])
    mended = recalibration(distorted[1500:])
    for c in range(2):
        assert (np.argsort(mended[:, c]) == np.argsort(x[1500:])).all()
        line = calibration_line(y[1500:], mended[:, c])
        assert line.slope == pytest.approx(1, abs=0.2)
        assert line.offset == pytest.approx(0, abs=0.2)


def test_recalibration_leaves_alone_what_it_cannot_fit(sample):
    y, x = sample
    labels = np.column_stack([np.zeros_like(y), y])
    # no positive record; a ranking the wrong way round
    left = fit_recalibration(labels, np.column_stack([x, -x]))
    np.testing.assert_array_equal([left.slope, left.intercept], [[1, 1], [0, 0]])


def test_calibration_table_recalibrates_on_validation_only(evidence):
    table = calibration_table(evidence)
    assert len(table) == 2 * 2 * 6
    row = table.set_index(["config", "class", "recalibrated"]).loc[("12-lead", "MI", True)]
    run = evidence.runs["12-lead"]
    own, tested = (part.logits["default"] for part in (run.validation, run.test))
    mended = (
        fit_recalibration(run.validation.labels, x)(t) for x, t in zip(own, tested, strict=True)
    )
    expected = [metrics.brier(run.test.labels, expit(logits))[1] for logits in mended]
    assert row["brier"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_recalibration_is_fitted_fold_by_fold():
    run = one_run(1500, folds=range(1, 11))
    # the networks of odd folds claim too much, the others too little
    for part, tested in ((run.test, run.test.fold), (run.validation, run.validation.fold - 1)):
        part.logits["default"] *= np.where(tested % 2, 3.0, 0.5)[:, None].astype(np.float32)
    found = recalibrated_logits(run, "default")[0]
    for fold in range(1, 11):
        own, tested = run.validation.fold == fold % 10 + 1, run.test.fold == fold
        fitted = fit_recalibration(
            run.validation.labels[own], run.validation.logits["default"][0, own]
        )
        expected = fitted(run.test.logits["default"][0, tested])
        np.testing.assert_allclose(found[tested], expected, atol=1e-12)
    table = calibration_table(gather([run], n_resamples=20)).set_index(["class", "recalibrated"])
    line = calibration_line(run.test.labels[:, 1], found[:, 1])
    assert table.loc[("MI", True), "slope"] == pytest.approx(line.slope, abs=1e-9)


def test_calibration_table_is_consistent(evidence):
    table = calibration_table(evidence)
    total = table["miscalibration"] - table["discrimination"] + table["uncertainty"]
    np.testing.assert_allclose(total, table["brier"], atol=1e-12)
    classes = table[table["class"] != "macro"]
    assert (classes["slope_low"] < classes["slope"]).all()
    assert (classes["slope"] < classes["slope_high"]).all()
    macro = table[table["class"] == "macro"].set_index(["config", "recalibrated"])
    before = main_table(evidence).set_index("config")
    for config in evidence.configs:
        untouched, mended = macro.loc[(config, False)], macro.loc[(config, True)]
        for name in ("brier", "ece"):
            assert untouched[name] == pytest.approx(before.loc[config, name], abs=1e-12)
        assert mended["smooth_ece"] < untouched["smooth_ece"]
        assert mended["discrimination"] == pytest.approx(untouched["discrimination"], abs=1e-9)


def net_benefit(y, p, t):
    return benefit_of_records(np.array(y), np.array(p), np.array(t)).mean(axis=0)


def test_net_benefit_by_hand():
    labels, p = [1, 1, 0, 0, 0], [0.9, 0.3, 0.6, 0.1, 0.2]
    # at 0.5: one hit and one false alarm of five; at 0.25 two hits and one false alarm
    expected = [1 / 5 - 1 / 5, 2 / 5 - 1 / 5 / 3]
    np.testing.assert_allclose(net_benefit(labels, p, [0.5, 0.25]), expected)
    # a perfect test is worth the prevalence at every threshold
    np.testing.assert_allclose(net_benefit(labels, labels, [0.05, 0.5, 0.95]), 0.4)


def test_decision_curves_against_their_definition(evidence):
    table = decision_curves(evidence)
    assert set(table["config"]) == set(evidence.configs)
    table = table[table["config"] == "12-lead"]
    row = table[(table["class"] == "CD") & (table["threshold"] == 0.3)].iloc[0]
    run = evidence.runs["12-lead"]
    y = run.test.labels[:, 3]
    logits = recalibrated_logits(run, "default")[:, :, 3]
    per_seed = [net_benefit(y, expit(x), [0.3])[0] for x in logits]
    assert row["net_benefit"] == pytest.approx(np.mean(per_seed), abs=1e-12)
    prevalence = y.mean()
    assert row["treat_all"] == pytest.approx(prevalence - (1 - prevalence) * 3 / 7)
    assert row["low"] < row["net_benefit"] < row["high"]
    assert row["gain"] == pytest.approx(row["net_benefit"] - max(row["treat_all"], 0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibration_line([0, 1, 1], [0.1, np.inf, 0.3]),
        lambda: calibration_line([0, 1, 1], [0.1, 0.3]),
        lambda: fit_recalibration([0, 1, 1], [0.1, 0.2, 0.3]),
        lambda: fit_recalibration([[0], [1]], [[0.1], [np.nan]]),
        lambda: brier_decomposition([0, 1], [0.5, 1.5]),
        lambda: brier_decomposition([], []),
        lambda: smooth_calibration_error([0, 1], [0.5, np.nan]),
        lambda: smooth_calibration_error([], []),
        lambda: resampled_calibration(
            [0, 1], [0.5, 0.6], calibration_line([0, 1, 0, 1], [1.0, 2, 3, 4]), np.ones((3, 2))
        ),
    ],
)
def test_bad_input_is_refused(call):
    refused("valid: ", call)


def test_extreme_logits_do_not_overflow():
    y = np.array([0, 1, 0, 1, 1, 0])
    x = np.array([-1e4, 1e4, 1e4, -1e4, 5.0, -5.0])
    line = calibration_line(y, x)
    assert np.isfinite([line.slope, line.offset]).all()
