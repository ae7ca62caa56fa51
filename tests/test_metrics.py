"""Point metrics against scikit-learn, their edge cases, and LRS against the original's table."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk
from trouble import refused

from leadmin import metrics
from leadmin.files import write_json
from leadmin.labels import CLASSES

GOLDEN = Path(__file__).parent / "golden" / "seed_sweep_single_seed.csv"


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    labels = (rng.random((700, 5)) < [0.45, 0.22, 0.24, 0.21, 0.12]).astype(np.uint8)
    logits = rng.normal(size=(700, 5)) + 1.7 * labels - 1
    # rounding makes ties, as networks with few distinct outputs do
    return labels, metrics.probabilities(np.round(logits, 1))


@st.composite
def labelled_scores(draw):
    n = draw(st.integers(4, 60))
    labels = draw(hnp.arrays(np.uint8, (n, 1), elements=st.integers(0, 1)))
    # few distinct values, so that ties are common
    scores = draw(hnp.arrays(np.int64, (n, 1), elements=st.integers(-4, 4)))
    return labels, scores / 4.0


@given(labelled_scores())
@settings(max_examples=200, deadline=None)
def test_auroc_is_scikit_learns(case):
    labels, scores = case
    value = metrics.auroc(labels, scores)[0]
    if len(np.unique(labels)) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(sk.roc_auc_score(labels[:, 0], scores[:, 0]), abs=1e-12)


def test_every_metric_agrees_with_scikit_learn(sample):
    labels, p = sample
    cut = metrics.thresholds(labels, p)
    found = metrics.summary(labels, p, cut)
    for c, name in enumerate(CLASSES):
        y, s, mine = labels[:, c], p[:, c], found["per_class"][name]
        expected = {
            "auroc": sk.roc_auc_score(y, s),
            "average_precision": sk.average_precision_score(y, s),
            "f1": sk.f1_score(y, s >= cut[c]),
            "f1_half": sk.f1_score(y, s >= 0.5),
            "brier": sk.brier_score_loss(y, s),
        }
        for metric, value in expected.items():
            assert mine[metric] == pytest.approx(value, abs=1e-12), (name, metric)
        assert mine["n_positive"] == y.sum()
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-12)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, p >= cut, average="macro"), abs=1e-12)
    assert found["brier"] == pytest.approx(np.mean((p - labels) ** 2), abs=1e-12)


def test_operating_points_are_the_best_on_the_roc_curve(sample):
    labels, p = sample
    found = metrics.operating_points(labels, p)
    for c in range(5):
        positive, negative = p[labels[:, c] == 1, c], p[labels[:, c] == 0, c]
        candidates = np.append(np.unique(p[:, c]), np.inf)
        pairs = [(np.mean(positive >= t), np.mean(negative < t)) for t in candidates]
        assert found["sensitivity_at_90_specificity"][c] == max(s for s, e in pairs if e >= 0.9)
        assert found["sensitivity_at_95_specificity"][c] == max(s for s, e in pairs if e >= 0.95)
        best = max(e for s, e in pairs if s >= 0.9)
        assert found["specificity_at_90_sensitivity"][c] == pytest.approx(best, abs=1e-12)


def test_a_specificity_met_exactly_counts():
    labels = np.array([0] * 10 + [1] * 10)[:, None]
    scores = np.array([*range(10), *[8.5] * 10], dtype=float)[:, None]
    # above 8.5 lies one of ten negatives: 90%, no more and no less
    assert metrics.operating_points(labels, scores)["sensitivity_at_90_specificity"][0] == 1.0


@given(labelled_scores())
@settings(max_examples=200, deadline=None)
def test_threshold_has_the_best_f1_of_all(case):
    labels, scores = case
    p = (scores + 2) / 4
    chosen = metrics.thresholds(labels, p)
    if not labels.any():
        assert chosen[0] == 0.5
        return
    candidates = [metrics.f1(labels, p, t)[0] for t in np.unique(p)]
    assert metrics.f1(labels, p, chosen)[0] == pytest.approx(max(candidates), abs=1e-12)
    between = metrics.thresholds([[0], [0], [1], [1]], [[0.1], [0.2], [0.6], [0.9]])
    assert between[0] == pytest.approx(0.4)


def test_one_label_value_is_undefined_and_left_out_of_the_macro_average(sample, tmp_path):
    labels, p = sample
    labels = labels.copy()
    labels[:, 4] = 0
    value = metrics.auroc(labels, p)
    assert math.isnan(value[4])
    assert metrics.macro(value) == pytest.approx(value[:4].mean(), abs=1e-12)
    assert math.isnan(metrics.average_precision(labels, p)[4])
    found = metrics.summary(labels, p)
    assert found["per_class"]["HYP"]["auroc"] is None
    labels[:, 1] = 1
    write_json(tmp_path / "metrics.json", metrics.summary(labels, p))
    assert math.isnan(metrics.macro([np.nan, np.nan]))


def test_constant_scores_are_a_coin_flip(sample):
    labels, _ = sample
    constant = np.full(labels.shape, 0.3)
    np.testing.assert_array_equal(metrics.auroc(labels, constant), 0.5)
    prevalence = labels.mean(axis=0)
    np.testing.assert_allclose(metrics.average_precision(labels, constant), prevalence)
    np.testing.assert_allclose(
        metrics.calibration_error(labels, constant), np.abs(prevalence - 0.3), atol=1e-12
    )


def test_calibration_error_by_hand():
    labels = np.array([[0], [0], [1], [1], [0], [1]])
    p = np.array([[0.1], [0.2], [0.3], [0.7], [0.8], [0.9]])
    # three bins of two records: mean 0.15 against 0, 0.5 against 1, 0.85 against 0.5
    expected = (2 * 0.15 + 2 * 0.5 + 2 * 0.35) / 6
    # whatever the order of the records
    for order in (np.arange(6), np.array([4, 0, 5, 2, 1, 3])):
        found = metrics.calibration_error(labels[order], p[order], n_bins=3)
        assert found[0] == pytest.approx(expected, abs=1e-12)


ON_PROBABILITIES = (
    metrics.brier,
    metrics.calibration_error,
    metrics.thresholds,
    metrics.summary,
    lambda labels, p: metrics.f1(labels, p, 0.5),
)
ON_SCORES = (metrics.auroc, metrics.average_precision, metrics.operating_points, *ON_PROBABILITIES)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -0.01])
def test_what_is_no_score_or_no_probability_is_refused_and_located(sample, value):
    labels, p = sample
    broken = p.copy()
    broken[17, 2] = value
    message, functions = "scores: 1 of 700 records .* row 17; valid: finite", ON_SCORES
    if np.isfinite(value):
        message, functions = f"probabilities: .*{value}.* row 17; valid: 0 to 1", ON_PROBABILITIES
        assert np.isfinite(metrics.auroc(labels, broken)).all()
    for function in functions:
        refused(message, function, labels, broken)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.zeros((3, 5)), np.zeros((4, 5)), "shapes"),
        (np.zeros(3), np.zeros(3), "shapes"),
        (np.full((3, 2), 2), np.zeros((3, 2)), "labels: 3 of 3 .* 2, .* row 0; valid: 0 and 1"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "labels: 3 of 3"),
        (np.full((3, 2), "MI"), np.zeros((3, 2)), "labels: 3 of 3"),
        (np.zeros((3, 2)), np.full((3, 2), "high"), "scores: not an array of numbers"),
        (np.zeros((2, 2)), [[0.1, 0.2], [0.3]], "scores: not an array of numbers"),
    ],
)
def test_shapes_types_and_labels_are_checked(labels, scores, message):
    refused(message, metrics.auroc, labels, scores)


@pytest.mark.parametrize(
    "call",
    [
        lambda y, p: metrics.f1(y, p, np.full(4, 0.5)),
        lambda y, p: metrics.f1(y, p, np.nan),
        lambda y, p: metrics.summary(y[:, :4], p[:, :4]),
        lambda y, p: metrics.calibration_error(y, p, n_bins=0),
        lambda y, p: metrics.calibration_bins(p[:0, 0]),
        lambda y, p: metrics.lrs(1.2, 0.1, 0.9, 0.1),
        lambda y, p: metrics.retention(0.9, np.inf),
        lambda y, p: metrics.chance_corrected_retention([0.9, 91.2], 0.93),
    ],
)
def test_other_bad_input_is_refused(sample, call):
    refused("valid: ", call, *sample)


def test_relative_to_nothing_and_of_no_records_is_undefined():
    empty = np.zeros((0, 5))
    for function in (*ON_SCORES[:2], metrics.brier, metrics.calibration_error):
        assert np.isnan(function(empty, empty)).all()
    assert math.isnan(metrics.chance_corrected_retention(0.9, 0.5))
    assert math.isnan(metrics.retention(0.9, 0.0))
    np.testing.assert_array_equal(metrics.retention([0.5, 0.5], [1.0, np.nan]), [0.5, np.nan])


def test_thresholds_can_differ_from_record_to_record(sample):
    labels, p = sample
    cut = np.where(np.arange(700)[:, None] < 350, 0.3, 0.6) * np.ones(5)
    np.testing.assert_array_equal(
        metrics.f1(labels, p, cut), metrics.f1(labels, (p >= cut).astype(float), 0.5)
    )
    assert metrics.summary(labels, p, cut)["per_class"]["MI"]["threshold"] == pytest.approx(0.45)


def test_lrs_reproduces_the_original_studys_table():
    table = pd.read_csv(GOLDEN, comment="#").set_index("Config")
    assert len(table) == 11
    full = table.loc["12-lead"]
    for config, row in table.iterrows():
        mine = metrics.lrs(row["AUROC"], row["Brier"], full["AUROC"], full["Brier"])
        assert mine == pytest.approx(row["LRS"], abs=1e-9), config
        kept = metrics.retention(row["AUROC"], full["AUROC"])
        assert round(100 * kept, 1) == row["Retention"], config


@given(st.floats(0.5, 1), st.floats(0, 0.5))
def test_lrs_of_the_twelve_leads_is_one(auroc, brier):
    assert metrics.lrs(auroc, brier, auroc, brier) == pytest.approx(1)


def test_lrs_flatters_a_coin_flip_and_retention_above_chance_does_not():
    assert metrics.lrs(0.5, 0.0836, 0.913, 0.0836) == pytest.approx(0.683, abs=5e-4)
    assert metrics.chance_corrected_retention(0.5, 0.913) == 0
    assert metrics.chance_corrected_retention(0.913, 0.913) == 1
