"""The bootstrap over patients against plain loops, and its statistics against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as sk
from trouble import refused

from leadmin import metrics
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
    first, other, longer = (
        resampling.patient_weights(sample[0], n, np.random.default_rng(seed))
        for n, seed in ((20, 1), (20, 2), (30, 1))
    )
    assert (first != other).any()
    # more resamples extend the same series, so that 100 and 2,000 tell one story
    np.testing.assert_array_equal(longer[:, :20], first)


@pytest.mark.parametrize("patient_id", [[], [7, 7, 7], [1, np.nan], [[1, 2], [3, 4]]])
def test_resampling_needs_two_patients(patient_id):
    words, rng = r"patient_id: .*; valid: ", np.random.default_rng(0)
    refused(words, resampling.patient_weights, patient_id, 10, rng)
    refused(words, resampling.jackknife_weights, patient_id)


Y, S, W = np.array([0, 1, 0, 1]), np.array([0.1, 0.8, 0.4, 0.3]), np.ones((4, 2), dtype=np.uint8)
RESAMPLED = {
    "weighted_auroc": resampling.weighted_auroc,
    "rank_metrics": resampling.rank_metrics,
    "within_fold_auroc": lambda y, s, w: resampling.within_fold_auroc(y, s, np.zeros(len(s)), w),
    "resampled_metrics": lambda y, s, w: resampling.resampled_metrics(
        np.asarray(y)[:, None], np.asarray(s)[:, None], 0.5, w
    ),
}


@pytest.mark.parametrize("function", RESAMPLED.values(), ids=RESAMPLED)
@pytest.mark.parametrize(
    ("labels", "scores", "weights"),
    [
        (Y, np.array([0.1, np.nan, 0.4, 0.3]), W),
        (Y, np.array([0.1, np.inf, 0.4, 0.3]), W),
        (Y, S[:3], W),
        (2 * Y, S, W),
        (Y, S, W[:3]),
        (Y, S, W[:, 0]),
        (Y, S, W.astype(float)),
        (Y, S, -W.astype(int)),
    ],
)
def test_bad_input_of_resampled_metrics_is_refused(function, labels, scores, weights):
    refused("valid: ", function, labels, scores, weights)


@pytest.mark.parametrize(
    "call",
    [
        lambda: resampling.patient_weights(np.arange(5), 0, np.random.default_rng(0)),
        lambda: resampling.within_fold_auroc(Y, S, [1, 2], W),
        lambda: resampling.resampled_metrics(Y[:, None], S[:, None] + 1, 0.5, W),
        lambda: resampling.resampled_metrics(Y[:, None], S[:, None], [0.5, 0.5], W),
        lambda: resampling.holm([0.1, 1.2]),
        lambda: delong(Y, S[:3]),
        lambda: delong(Y, np.array([0.1, np.nan, 0.4, 0.3])),
        lambda: delong(Y, S, [1, 2, 3]),
    ],
)
def test_bad_input_of_statistics_is_refused(call):
    refused("valid: ", call)


def test_resampled_metrics_equal_metrics_of_the_resampled_records(sample):
    patient, labels, p = sample
    cut = np.array([0.5, 0.4, 0.3, 0.3, 0.2])
    weights = resampling.patient_weights(patient, 70, np.random.default_rng(0))
    weights[:, 1] = 1  # every record once
    found = resampling.resampled_metrics(labels, p, cut, weights)
    assert set(found) == set(resampling.METRICS)
    for b in (0, 1, 63, 64, 69):
        rows = np.repeat(np.arange(len(patient)), weights[:, b])
        expected = metrics.summary(labels[rows], p[rows], cut)["per_class"]
        # in a resample the calibration error keeps the bins of all records
        for name in found if b == 1 else found.keys() - {"ece"}:
            # average precision sums float32 shares; everything else is exact
            tolerance = 2e-7 if name == "average_precision" else 1e-12
            point = [expected[c][name] for c in CLASSES]
            np.testing.assert_allclose(found[name][b], point, atol=tolerance, err_msg=name)


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
    with pytest.MonkeyPatch.context() as patch:  # as for more records: by ranks, not by pairs
        patch.setattr(resampling, "_PAIRS_AT_ONCE", 0)
        np.testing.assert_array_equal(found, resampling.weighted_auroc(labels, scores, weights))


def test_a_resample_without_the_class_is_undefined():
    weights = np.array([[0, 1], [1, 1], [2, 1], [1, 1]], dtype=np.uint8)
    found = resampling.rank_metrics([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], weights)
    for name, values in found.items():
        np.testing.assert_array_equal(values, [np.nan, 1], err_msg=name)


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


def left_out(values, groups):
    """The means without each group of records."""
    weights = resampling.jackknife_weights(np.arange(len(values)), groups).astype(float)
    return values @ weights / weights.sum(axis=0)


def test_intervals_agree_with_scipys_bootstrap():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=80)
    weights = resampling.patient_weights(np.arange(80), 4000, rng).astype(float)
    replicates = values @ weights / weights.sum(axis=0)
    for method, mine in (
        ("percentile", resampling.percentile_interval(replicates)),
        ("BCa", resampling.bca_interval(values.mean(), replicates, left_out(values, 80))),
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
        resampling.bca_interval(values.mean(), replicates, left_out(values, groups))
        for groups in (3000, 300)
    )
    assert each == pytest.approx(grouped, abs=5e-4)


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


# Ovarian cancer data of DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, 837-845: albumin,
# total protein, K-G score (lower is better) and the outcome of surgery, for the 43 patients with
# all three tests, as the SAS/STAT documentation of PROC LOGISTIC reprints them.
DELONG_1988 = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


def test_delong_reproduces_the_example_of_delong_1988():
    table = np.array(DELONG_1988.split(), dtype=float).reshape(-1, 4)
    labels, scores = table[:, 3], np.stack([table[:, 0], 10 - table[:, 2], table[:, 1]])
    refused("43 and 0", delong, np.ones(43), scores)
    found = delong(labels, scores)
    # areas and standard errors as SAS prints them for the same data
    np.testing.assert_allclose(found.auroc, [0.7366, 0.7258, 0.6478], atol=5e-5)
    errors = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(errors, [0.0927, 0.1028, 0.1000], atol=5e-5)
    albumin, protein = found.contrast([1, -1, 0]), found.contrast([0, -1, 1])
    assert albumin["z"] ** 2 == pytest.approx(0.0127, abs=5e-5)
    shown = [albumin[name] for name in ("estimate", "standard_error", "p")]
    assert shown == pytest.approx([0.0108, 0.0953, 0.9102], abs=5e-5)
    shown = [protein[name] for name in ("low", "high", "p")]
    assert shown == pytest.approx([-0.2830, 0.1271, 0.4561], abs=5e-5)


def test_delong_says_of_which_record_a_score_is_none():
    scores = np.stack([S, np.where(np.arange(4) == 2, np.nan, S)])
    refused("scores: 1 of 4 records hold .* the first at row 2", delong, Y, scores)


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
    once = labels, rng.normal(size=200) + labels, np.arange(200)
    again = [np.tile(values, 2) for values in once]
    once, twice, naive = delong(*once), delong(*again), delong(*again[:2])
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
