import re
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trouble import flip, refused

import leadmin
from leadmin.leads import LEADS
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.predict import predict_logits
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "3-lead-I-II-V2"
    settings = RunSettings(config=folder.name, out=str(folder), compare_with="", epochs=1)
    return train_run(settings, small)


@pytest.fixture(scope="module")
def classifier(run):
    return leadmin.load(run.folder)


@pytest.fixture
def copied(run, tmp_path):
    folder = shutil.copytree(run.folder / "checkpoints", tmp_path / "checkpoints")
    return folder / "default-seed0.json"


def test_a_loaded_network_repeats_what_the_run_recorded(run, classifier, small):
    chosen = [int(np.flatnonzero(small.record_id == r)[0]) for r in run.test.record_id]
    found = classifier.predict(small.signals[chosen] / 1000, leads=LEADS, sampling_rate=100)
    recorded = 1 / (1 + np.exp(-run.test.logits["default"][0].astype(float)))
    np.testing.assert_allclose(found, recorded, atol=1e-4)


def test_it_is_found_by_the_name_of_its_configuration(run):
    classifier = leadmin.load("3-lead-I-II-V2", runs=run.folder.parent)
    assert classifier.leads == ("I", "II", "V2")
    assert classifier.metadata["provenance"]["versions"]["torch"]
    refused("1-lead-I", leadmin.load, "1-lead-I", runs=run.folder.parent)


def test_the_any_lead_network_reads_what_leads_there_are(run, classifier, small):
    c = leadmin.load("any-lead", runs=run.folder)
    assert c.leads == LEADS
    x = small.signals[:4] / 1000
    hidden = np.zeros_like(small.signals[:4])
    hidden[:, [10, 0]] = small.signals[:4, [10, 0]]
    logits = predict_logits(
        *(c.model, c.scaling, torch.from_numpy(hidden), c.window, c.n_windows), shown=("I", "V5")
    )
    found = c.predict(x[:, [10, 0]], leads=["V5", "I"], sampling_rate=100)
    np.testing.assert_allclose(found, logits.sigmoid().numpy(), atol=1e-6)
    whole = c.predict(x, leads=LEADS, sampling_rate=100)
    assert np.abs(found - whole).max() > 1e-4
    refused("no 'X'", c.predict, x[:, :2], leads=["I", "X"], sampling_rate=100)
    refused("needs II, V2 too", classifier.predict, x[:, :1], leads=["I"], sampling_rate=100)


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(LEADS),
    unit=st.sampled_from(["uV", "mV", "V"]),
    form=st.sampled_from(["{}", "Lead {}", "MDC_ECG_LEAD_{}", "{} "]),
)
def test_order_and_form_of_the_names_and_unit_do_not_matter(classifier, small, order, unit, form):
    microvolts = small.signals[:2].astype(np.float64)
    expected = classifier.predict(microvolts, leads=LEADS, sampling_rate=100, unit="uV")
    divisor = {"uV": 1, "mV": 1e3, "V": 1e6}[unit]
    shuffled = microvolts[:, [LEADS.index(lead) for lead in order]] / divisor
    names = [form.format(lead) for lead in order]
    found = classifier.predict(shuffled, leads=names, sampling_rate=100, unit=unit)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    none = classifier.predict(shuffled[:0], leads=names, sampling_rate=100, unit=unit)
    assert none.shape == (0, 5)


ECG = np.random.default_rng(0).normal(size=(3, 1000)) * [[0.2], [0.3], [0.4]]
"""About as large as an ECG, in mV."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling_rate": 500}, "500 Hz"),
        ({"unit": "mmHg"}, "valid: mV, uV, µV, V"),
        ({"leads": ("I", "II", "V3")}, "needs V2 too"),
        ({"leads": ("I", "II")}, "shape.*name the leads"),
        ({"signals": np.zeros((1, 3, 100))}, "100 samples"),
        ({"signals": np.full((1, 3, 1000), np.nan)}, "finite"),
        ({"signals": np.full((1, 3, 1000), 1e300)}, "reach 1e\\+297 V; valid: up to 1 V"),
        ({"signals": np.zeros((1, 3, 1000), complex)}, "of type complex128; valid: real"),
        ({"signals": [[[1.0], [1.0, 2.0]]]}, "no array of numbers"),
        ({"leads": ("I", "II", "II")}, "II named more than once"),
        ({"leads": "I"}, "valid: a list of names"),
        ({"signals": np.zeros((3, 1, 2, 1000))}, "shape"),
        ({"signals": ECG.T[None]}, r"shape \(1, 1000, 3\).*; transpose them"),
        ({"signals": 500 * ECG}, "range of .*; valid: 0.05 to 100 mV; the unit is probably uV"),
        ({"signals": ECG, "unit": "uV"}, "the unit is probably mV"),
        ({"signals": ECG / 1000}, "the unit is probably V"),
        ({"signals": ECG * [[1], [0], [1]]}, "lead II of record 0 is flat.*leave it out"),
        ({"signals": np.zeros((1, 3, 1000))}, "lead I of record 0 is flat"),
        ({"signals": ECG, "leads": ("I", "AVR", "V7")}, "no 'V7'"),
        ({"signals": ECG, "leads": ("I", "-aVR", "V2")}, "turn the sign"),
        ({"signals": ECG, "leads": ("I", "Lead I", "V2")}, "I named more than once"),
    ],
)
def test_input_that_does_not_fit_is_refused(classifier, change, message):
    good = {"signals": ECG, "leads": ("I", "II", "V2"), "sampling_rate": 100}
    refused(message, classifier.predict, **(good | change))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights, _: flip(weights), "its checksum"),
        (lambda weights, other: shutil.copy(other, weights), "its checksum"),
        (lambda weights, _: weights.unlink(), "no such"),
    ],
)
def test_damaged_other_or_missing_weights_are_refused(run, copied, damage, message):
    other = run.folder / "any-lead" / "checkpoints" / "any-lead-seed0.safetensors"
    damage(copied.with_suffix(".safetensors"), other)
    refused(rf"default-seed0\.safetensors: {message}", load_checkpoint, copied)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"(?s)^(.{300}).*", r"\1", "it is not JSON"),
        (r"(?s).*", "[]", "the text is"),
        ('"scaling"', '"scalings"', "scaling is missing"),
        ('"kernel": 3', '"kernel": "x"', "recipe.architecture.kernel is the text 'x'; valid: a"),
        ('"schema_version": 1', '"schema_version": 99', "schema_version is 99; valid: 1"),
        ('_version": 1', '_version": "1"', "schema_version is the text '1'; valid: 1"),
        (r'"n_windows": \d+', '"n_windows": 1000000000', "n_windows is 1000000000; valid: less"),
        ('"unit": "uV"', '"unit": "mV"', "unit is the text 'mV'; valid: 'uV'"),
        (r'"std": \[\s+[\d.]+', '"std": [0', "scaling.std.0 is 0; valid: greater"),
    ],
)
def test_a_damaged_description_is_refused(copied, old, new, message):
    text, count = re.subn(old, new, copied.read_text(), count=1)
    assert count
    copied.write_text(text)
    refused(rf"default-seed0\.json: {re.escape(message)}", load_checkpoint, copied)
