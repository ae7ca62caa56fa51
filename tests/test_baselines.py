import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trouble import refused

from leadmin.study import baselines
from leadmin.study.protocol import splits
from leadmin.study.run import load_run


def _train_of_pulses(interval: float, rate: int = 100, n_samples: int = 1000) -> np.ndarray:
    """Two leads with a narrow pulse of 1 mV every ``interval`` seconds, from 0.5 s on."""
    t = np.arange(n_samples) / rate
    times = np.arange(0.5, n_samples / rate - 0.2, interval)
    wave = 1000 * np.exp(-0.5 * ((t[:, None] - times) / 0.02) ** 2).sum(1)
    return np.stack([wave, -0.5 * wave]).round().astype(np.int16)


@pytest.mark.parametrize("interval", [0.4, 0.6, 0.8, 1.0, 1.5])
def test_every_pulse_is_found_where_it_is(interval):
    signals = _train_of_pulses(interval)
    found = baselines.r_peaks(signals.astype(float), 100) / 100
    expected = np.arange(0.5, 9.8, interval)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_features_hold_the_rate_and_the_amplitude_of_a_known_signal():
    (features,) = baselines.waveform_features(_train_of_pulses(0.8)[None], 100)
    assert features.shape == (4 + 2 * 51,)
    assert features[0] == 12
    assert features[1] == pytest.approx(0.8, abs=0.005)
    assert features[2] < 0.01
    first, second = features[4:].reshape(2, 51)
    beat = first[10:]
    assert beat.max() == pytest.approx(1.0, abs=0.15)
    assert np.argmax(beat) == pytest.approx(15, abs=1)  # 0.3 s before the peak in steps of 20 ms
    np.testing.assert_allclose(second[10:], -0.5 * beat, atol=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0, 1, 40, 3000]), st.integers(1, 3))
def test_features_are_finite_whatever_the_record(seed, amplitude, n_leads):
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, (1, n_leads, 1000))
    features = baselines.waveform_features(noise.astype(np.int16), 100)
    assert features.shape == (1, 4 + 51 * n_leads)
    assert np.isfinite(features).all()


def test_most_records_have_a_plausible_heart_rate(sample):
    features = baselines.waveform_features(sample.signals[:200], 100)
    rate = 60 / features[:, 1]
    assert np.mean((rate > 40) & (rate < 150)) > 0.95


def test_random_features_depend_on_the_seed_only(small):
    train = np.arange(100)
    first, again, other = (
        baselines.random_network_features(small.signals[:, :2], train, 100, seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (len(small.record_id), 96)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_a_baseline_learns_and_leaves_a_run(sample, tmp_path, name):
    sample = sample.select(np.arange(0, len(sample), 2))
    run = baselines.train_baseline(name, sample, tmp_path / name, "1-lead-I")
    assert set(run.test.fold) == {10}
    assert run.recipes == (name,)
    assert load_run(tmp_path / name).metrics["test"][name][0]["auroc"] > 0.65
    (split,) = splits(sample, "holdout", "any")
    np.testing.assert_array_equal(run.test.record_id, sample.record_id[split.test])


def test_a_finished_baseline_is_kept_and_another_request_replaces_it(small, tmp_path):
    name = "random-network"
    first = baselines.train_baseline(name, small, tmp_path, "1-lead-I")
    again = baselines.train_baseline(name, small, tmp_path, "I")
    assert (first.kept, again.kept) == (False, True)
    assert again.metrics == first.metrics
    other = baselines.train_baseline(name, small, tmp_path, "1-lead-II")
    assert (other.config, other.kept) == ("1-lead-II", False)
    assert not baselines.train_baseline("logistic-regression", small, tmp_path, "1-lead-II").kept


def test_an_unknown_baseline_is_refused_and_an_absent_class_named(small, tmp_path):
    train = baselines.train_baseline
    refused("valid: logistic-regression", train, "forest", small, tmp_path)
    without = small.select(small.labels["any"][:, 4] == 0)
    refused("HYP", train, "logistic-regression", without, tmp_path)
