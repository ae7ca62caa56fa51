"""The bootstrap over patients against plain loops, and its statistics against scipy."""

import math

import numpy as np
import pytest
from evidence_fixtures import DELONG_1988
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as sk

from leadmin import metrics
from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.delong import delong
from leadmin.labels import CLASSES


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(8)
    patient = np.repeat(np.arange(150), rng.integers(1, 4, 150))
    labels = (rng.random((len(patient), 5)) < [0.5, 0.3, 0.3, 0.2, 0.15]).astype(np.uint8)
    logits = np.round(rng.normal(size=labels.shape) + 1.5 * labels - 1, 1)
    return patient, labels, metrics.probabilities(logits)


def test_weights_are_patients_drawn_with_replacement(sample):
    patient = sample[0]
    weights = resampling.patient_weights(patient, 400, np.random.default_rng(0))
    assert weights.shape == (len(patient), 400)
    for p in np.unique(patient):
        assert (weights[patient == p] == weights[patient == p][0]).all()
    one_record_each = weights[np.unique(patient, return_index=True)[1]]
    assert (one_record_each.sum(axis=0) == 150).all()
    # multinomial: mean 1, variance 1 - 1/n
    assert one_record_each.var() == pytest.approx(1 - 1 / 150, rel=0.03)


def test_weights_depend_on_the_seed_and_nothing_else(sample):
    first, again, other, longer = (
        resampling.patient_weights(sample[0], n, np.random.default_rng(seed))
        for n, seed in ((20, 1), (20, 1), (20, 2), (30, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # more resamples extend the same series, so that 100 and 2,000 tell one story
    np.testing.assert_array_equal(longer[:, :20], first)


@pytest.mark.parametrize("patient_id", [[], [7, 7, 7]])
def test_resampling_needs_two_patients(patient_id):
    for weigh in (
        lambda ids: resampling.patient_weights(ids, 10, np.random.default_rng(0)),
        resampling.jackknife_weights,
    ):
        with pytest.raises(LeadminError, match=r"patient_id: .*; valid: "):
            weigh(patient_id)


def test_resampled_metrics_equal_metrics_of_the_resampled_records(sample):
    patient, labels, p = sample
    cut = np.array([0.5, 0.4, 0.3, 0.3, 0.2])
    weights = resampling.patient_weights(patient, 70, np.random.default_rng(0))
    found = resampling.resampled_metrics(labels, p, cut, weights)
    assert set(found) == set(resampling.METRICS)
    for b in (0, 1, 63, 64, 69):
        rows = np.repeat(np.arange(len(patient)), weights[:, b])
        y, s = labels[rows], p[rows]
        for c in range(5):
            expected = {
                "auroc": sk.roc_auc_score(y[:, c], s[:, c]),
                "average_precision": sk.average_precision_score(y[:, c], s[:, c]),
                "f1": sk.f1_score(y[:, c], s[:, c] >= cut[c]),
                "f1_half": sk.f1_score(y[:, c], s[:, c] >= 0.5, zero_division=0),
                "brier": sk.brier_score_loss(y[:, c], s[:, c]),
            }
            points = metrics.operating_points(y[:, [c]], s[:, [c]])
            expected |= {name: value[0] for name, value in points.items()}
            for name, value in expected.items():
                assert found[name][b, c] == pytest.approx(value, abs=2e-7), (b, c, name)


def test_weights_of_one_give_the_point_metrics(sample):
    _, labels, p = sample
    ones = np.ones((len(labels), 1), dtype=np.uint8)
    found = resampling.resampled_metrics(labels, p, np.full(5, 0.4), ones)
    expected = metrics.summary(labels, p, np.full(5, 0.4))["per_class"]
    for name, values in found.items():
        # average precision sums float32 shares; everything else is exact
        tolerance = 1e-6 if name == "average_precision" else 1e-12
        point = [expected[c][name] for c in CLASSES]
        np.testing.assert_allclose(values[0], point, atol=tolerance, err_msg=name)


@given(
    hnp.arrays(np.uint8, 40, elements=st.integers(0, 1)),
    hnp.arrays(np.int64, 40, elements=st.integers(0, 5)),
    hnp.arrays(np.uint8, (40, 3), elements=st.integers(0, 4)),
)
@settings(max_examples=150, deadline=None)
def test_weighted_auroc_is_the_auroc_of_repeated_records(labels, scores, weights):
    found = resampling.weighted_auroc(labels, scores, weights)
    for b in range(3):
        y, s = np.repeat(labels, weights[:, b]), np.repeat(scores, weights[:, b])
        if len(np.unique(y)) < 2:
            assert math.isnan(found[b])
        else:
            assert found[b] == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
    ranked = resampling.rank_metrics(labels, scores, weights)["auroc"]
    np.testing.assert_array_equal(found, ranked)


def test_auroc_by_pairs_and_by_ranks_are_equal(sample, monkeypatch):
    patient, labels, p = sample
    weights = resampling.patient_weights(patient, 100, np.random.default_rng(0))
    by_pairs = resampling.weighted_auroc(labels[:, 0], p[:, 0], weights)
    monkeypatch.setattr(resampling, "_PAIRS_AT_ONCE", 0)
    by_ranks = resampling.weighted_auroc(labels[:, 0], p[:, 0], weights)
    np.testing.assert_array_equal(by_pairs, by_ranks)


def test_a_resample_without_the_class_is_undefined():
    labels, scores = np.array([1, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3])
    weights = np.array([[0, 1], [1, 1], [2, 1], [1, 1]], dtype=np.uint8)
    for name, values in resampling.rank_metrics(labels, scores, weights).items():
        assert math.isnan(values[0]), name
        assert values[1] == 1, name


def test_within_fold_auroc_ignores_differences_of_scale_between_folds():
    rng = np.random.default_rng(0)
    fold = np.repeat([1, 2, 3], 200)
    labels = (rng.random(600) < 0.3).astype(np.uint8)
    scores = rng.normal(size=600) + 1.5 * labels
    ones = np.ones((600, 1), dtype=np.uint8)
    shifted = scores + np.array([0, 5, -5])[fold - 1]
    within = resampling.within_fold_auroc(labels, shifted, fold, ones)[0]
    expected = np.mean([sk.roc_auc_score(labels[fold == f], scores[fold == f]) for f in (1, 2, 3)])
    assert within == pytest.approx(expected, abs=1e-12)
    assert resampling.weighted_auroc(labels, shifted, ones)[0] < within - 0.1


def test_jackknife_leaves_out_whole_patients(sample):
    patient = sample[0]
    weights = resampling.jackknife_weights(patient)
    assert weights.shape[1] == 150
    assert (weights.sum(axis=0) == len(patient) - np.bincount(patient)).all()
    grouped = resampling.jackknife_weights(patient, max_groups=10)
    assert grouped.shape[1] == 10
    assert ((grouped == 0).sum(axis=1) == 1).all()
    assert all(len(np.unique(grouped[patient == p], axis=0)) == 1 for p in range(150))


def test_intervals_agree_with_scipys_bootstrap():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=80)
    weights = resampling.patient_weights(np.arange(80), 4000, rng).astype(float)
    replicates = values @ weights / weights.sum(axis=0)
    left_out = resampling.jackknife_weights(np.arange(80)).astype(float)
    jackknife = values @ left_out / left_out.sum(axis=0)
    for method, mine in (
        ("percentile", resampling.percentile_interval(replicates)),
        ("BCa", resampling.bca_interval(values.mean(), replicates, jackknife)),
    ):
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=4000, method=method, rng=np.random.default_rng(2)
        ).confidence_interval
        assert mine == pytest.approx(tuple(expected), abs=0.02), method
    # the exponential mean is skewed: BCa, the last one, reaches further up than the percentile
    assert mine[1] > resampling.percentile_interval(replicates)[1]


def test_acceleration_survives_grouping():
    rng = np.random.default_rng(5)
    values = rng.exponential(size=3000)
    replicates = rng.normal(values.mean(), values.std() / np.sqrt(3000), 4000)
    each, grouped = (
        resampling.jackknife_weights(np.arange(3000), groups).astype(float)
        for groups in (3000, 300)
    )
    bounds = (
        resampling.bca_interval(values.mean(), replicates, values @ w / w.sum(axis=0))
        for w in (each, grouped)
    )
    assert next(bounds) == pytest.approx(next(bounds), abs=5e-4)


def test_intervals_where_they_are_undefined_or_centred():
    drawn = np.random.default_rng(0).normal(3, 2, 20_000)
    low, high = resampling.normal_interval(2.5, drawn)
    assert (low + high) / 2 == pytest.approx(2.5)
    assert high - low == pytest.approx(2 * 1.96 * 2, rel=0.02)
    bca, percentile = resampling.bca_interval, resampling.percentile_interval
    replicates = np.linspace(1, 2, 101)
    assert bca(0.5, replicates, np.ones(10)) == percentile(replicates)
    assert bca(1.0, np.ones(50), np.ones(10)) == (1.0, 1.0)
    assert np.isnan(bca(math.nan, replicates, np.ones(3))).all()
    assert np.isnan(percentile(np.r_[np.full(60, np.nan), np.arange(40)])).all()
    rarely = percentile(np.r_[np.full(4, np.nan), np.arange(96)])
    assert rarely[0] == pytest.approx(np.quantile(np.arange(96), 0.025))


@given(st.floats(-3, 3))
@settings(max_examples=60)
def test_p_value_and_interval_agree(shift):
    replicates = np.random.default_rng(0).normal(shift, 1, 2000)
    low, high = resampling.percentile_interval(replicates)
    p = resampling.bootstrap_p(replicates)
    if abs(p - 0.05) > 0.002:
        assert (p < 0.05) == (low > 0 or high < 0)
    normal = 2 * stats.norm.sf(abs(replicates.mean() / replicates.std()))
    assert p == pytest.approx(normal, abs=0.04)


def test_p_value_is_never_zero_and_symmetric():
    replicates = np.random.default_rng(0).normal(50, 1, 2000)
    assert resampling.bootstrap_p(replicates) == pytest.approx(2 / 2001)
    assert resampling.bootstrap_p(-replicates) == resampling.bootstrap_p(replicates)
    assert resampling.bootstrap_p(np.zeros(100)) == 1
    assert math.isnan(resampling.bootstrap_p(np.array([np.nan])))


def test_holm_by_hand_and_against_its_definition():
    by_hand = resampling.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(by_hand, [0.03, 0.06, 0.06, 0.02], atol=1e-15)
    np.testing.assert_allclose(resampling.holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    p = np.array(p_values)
    order, rejected = np.argsort(p, kind="stable"), np.zeros(len(p), dtype=bool)
    for step, index in enumerate(order):
        if p[index] * (len(p) - step) > alpha:
            break
        rejected[index] = True
    np.testing.assert_array_equal(resampling.holm(p) <= alpha, rejected)


def test_delong_reproduces_the_example_of_delong_1988():
    labels, scores = DELONG_1988
    found = delong(labels, scores)
    # areas and standard errors as SAS prints them for the same data
    np.testing.assert_allclose(found.auroc, [0.7366, 0.7258, 0.6478], atol=5e-5)
    errors = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(errors, [0.0927, 0.1028, 0.1000], atol=5e-5)
    albumin, protein = found.contrast([1, -1, 0]), found.contrast([0, -1, 1])
    assert albumin["z"] ** 2 == pytest.approx(0.0127, abs=5e-5)
    for contrast, expected in (
        (albumin, {"estimate": 0.0108, "standard_error": 0.0953, "p": 0.9102}),
        (protein, {"low": -0.2830, "high": 0.1271, "p": 0.4561}),
    ):
        found_here = {name: contrast[name] for name in expected}
        assert found_here == pytest.approx(expected, abs=5e-5)


def test_fast_delong_equals_its_definition(sample):
    _, labels, p = sample
    y, s = labels[:, 0] == 1, np.stack([p[:, 0], p[:, 1]])
    of_positives, of_negatives = [], []
    for one in s:
        kernel = (one[y][:, None] > one[~y]) + 0.5 * (one[y][:, None] == one[~y])
        of_positives.append(kernel.mean(axis=1))
        of_negatives.append(kernel.mean(axis=0))
    expected = np.cov(of_positives) / y.sum() + np.cov(of_negatives) / (~y).sum()
    np.testing.assert_allclose(delong(y, s).covariance, expected, atol=1e-14)


def test_delong_with_patients_sees_repeated_records():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.4).astype(int)
    scores = rng.normal(size=200) + labels
    once = delong(labels, scores, np.arange(200))
    twice = delong(np.tile(labels, 2), np.tile(scores, 2), np.tile(np.arange(200), 2))
    naive = delong(np.tile(labels, 2), np.tile(scores, 2))
    assert twice.auroc == pytest.approx(once.auroc)
    # copying every record adds nothing, and only the clustered variance knows that
    assert twice.covariance[0, 0] == pytest.approx(once.covariance[0, 0], rel=0.02)
    assert naive.covariance[0, 0] == pytest.approx(once.covariance[0, 0] / 2, rel=0.02)


def test_delong_with_patients_sees_pairs_within_a_patient():
    """A positive and a negative record of one patient share an error, which narrows the spread."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(400), 2)
    labels = np.tile([1, 0], 400)
    scores = np.repeat(rng.normal(size=400), 2) + 0.3 * rng.normal(size=800) + labels
    weights = resampling.patient_weights(patient, 3000, rng)
    spread = resampling.weighted_auroc(labels, scores, weights).std()
    clustered, naive = (
        delong(labels, scores, ids).contrast([1])["standard_error"] for ids in (patient, None)
    )
    assert clustered == pytest.approx(spread, rel=0.06)
    assert naive > 1.5 * clustered


def test_scores_that_rank_alike_do_not_differ(sample):
    patient, labels, p = sample
    y, s = labels[:, 0], p[:, 0]
    for scores, coefficients in (
        (np.stack([s, s]), [1, -1]),
        (np.stack([s] * 6), [1 / 3, 1 / 3, 1 / 3, -1 / 3, -1 / 3, -1 / 3]),
        (np.stack([s, np.log(s)]), [1, -1]),
    ):
        found = delong(y, scores, patient).contrast(coefficients)
        assert (found["estimate"], found["standard_error"]) == (0, 0)
        assert (found["z"], found["p"], found["low"], found["high"]) == (0, 1, 0, 0)
    # a difference that no record could change has no normal test
    perfect = delong(y, np.stack([y, np.zeros(len(y))]), patient).contrast([1, -1])
    assert perfect["estimate"] == 0.5
    assert math.isnan(perfect["p"])
