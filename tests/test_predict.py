"""A stranger's ECG through a trained network: what is read, what is refused, and what is said."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import test_recordings as forms
import torch
from archives import real
from battery import mutate
from disturbances import arms_swapped
from test_recordings import ecg
from trouble import refused
from typer.testing import CliRunner

import leadmin
from leadmin.cli.main import app
from leadmin.data import ptbxl
from leadmin.data.pacing import pacing_spikes
from leadmin.data.recordings import Recording, iter_recordings
from leadmin.data.records import read_record
from leadmin.data.resample import RATES, resample
from leadmin.errors import LeadminError
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, lead_indices, span
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import ResNet1d
from leadmin.net.predict import predict_logits
from leadmin.net.scaling import Scaling

NETWORK = "book/published/subset/runs/any-lead"
THREE = ("I", "II", "V2")


@pytest.fixture(scope="session")
def network(root):
    """The any-lead network of one fold, as it is published."""
    return leadmin.load(root / NETWORK)


@pytest.fixture(scope="session")
def fixed():
    """A network for three leads that has learned nothing."""
    torch.manual_seed(0)
    scaling = Scaling("factor", (0.0,) * 3, (200.0,) * 3)
    return EcgClassifier(ResNet1d(3).eval(), scaling, THREE, 100, CLASSES, 250, 8, {})


@torch.no_grad()
def one_pass_a_window(network, signals, shown=None):
    """What `predict_logits` computes, written as a loop."""
    x = network.scaling(signals)
    told = torch.zeros(len(signals), len(LEADS))
    told[:, list(lead_indices(span(shown or LEADS)))] = 1
    last = signals.shape[-1] - network.window
    starts = [round(i * last / (network.n_windows - 1)) for i in range(network.n_windows)]
    logits = [network.model(x[..., s : s + network.window], told) for s in starts]
    return torch.stack(logits).mean(0)


@pytest.mark.parametrize("shown", [None, ("I", "V5")])
@pytest.mark.parametrize("n_records", [1, 3, 70])
def test_all_windows_at_once_are_the_windows_one_by_one(network, n_records, shown):
    rng = np.random.default_rng(n_records)
    microvolts = torch.from_numpy(300 * rng.standard_normal((n_records, 12, 1000), np.float32))
    found = predict_logits(
        network.model, network.scaling, microvolts, network.window, network.n_windows, shown
    )
    expected = one_pass_a_window(network, microvolts, shown)
    assert torch.allclose(found, expected, atol=1e-5)


# --- rates, lengths, units ----------------------------------------------------------------------


@pytest.mark.parametrize("rate", [250, 257, 360, 500, 512.844, 1000])
def test_a_rate_is_brought_down_without_what_the_network_cannot_see(rate):
    def signal(at):
        time = np.arange(round(10 * at)) / at
        return np.sin(2 * np.pi * 5 * time) + 0.5 * np.cos(2 * np.pi * 17 * time)

    time = np.arange(round(10 * rate)) / rate
    above = [np.sin(2 * np.pi * hertz * time) for hertz in (80, 90)]  # would come back as 20, 10
    found = resample(np.stack([signal(rate), *above]), rate, 100)
    assert found.shape == (3, 1000)
    np.testing.assert_allclose(found[0, 20:-20], signal(100)[20:-20], atol=0.02)
    assert (np.abs(found[1:, 20:-20]).max(axis=1) < [0.05, 0.02]).all()


def test_any_rate_is_a_ratio_that_keeps_time():
    rng = random.Random(0)
    for rate in [round(rng.uniform(RATES[0], 4000), rng.choice([0, 1, 3])) for _ in range(40)]:
        n = round(10 * rate)
        ramp = resample(np.arange(n) / rate, rate, 100)
        assert abs(len(ramp) - 1000) <= 1
        assert abs(ramp[500] - 5) < 2e-3, rate


@pytest.mark.parametrize("rate", [100, 360, 512.844, 1000])
def test_the_answer_hardly_depends_on_the_rate(network, rate):
    at = network.predict(ecg(rate=2000), leads=LEADS, sampling_rate=2000)
    found = network.predict(ecg(rate=rate), leads=LEADS, sampling_rate=rate)
    np.testing.assert_allclose(found, at, atol=0.05)


def test_ptb_xl_itself_at_500_hz_reads_as_at_100(network):
    archive = ptbxl.open_ptbxl(real("LEADMIN_PTBXL"))
    names = ptbxl.read_table(archive).files
    fast, slow = (
        np.stack([read_record(archive, name, rate)[0] for name in names[rate][:60]])
        for rate in (500, 100)
    )
    found, own = (x.reshape(-1, 1000) for x in (resample(fast, 500, 100), slow))
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(found, own, strict=True)]
    assert np.median(correlations) > 0.99
    answers = [network.predict(x, leads=LEADS, sampling_rate=rate, unit="uV")
               for x, rate in ((fast, 500), (slow, 100))]  # fmt: skip
    difference = np.abs(answers[0] - answers[1])
    assert difference.max() < 0.06
    assert difference.mean() < 0.003


SIZES = {"mV": (1, 0), "V": (1e-3, 0), "200/mV": (200, 0), "200(1024)/mV": (200, 1024)}
SIZES |= dict.fromkeys(("uV", "µV", "μV", "MICROVOLT", "1000.0(0)/mV"), (1000, 0))
SIZES |= {"mv": (1, 0), "2(1024)/uV": (2000, 1024)}


@pytest.mark.parametrize("unit", SIZES)
def test_units_and_gains_give_one_answer(fixed, unit):
    x = ecg(THREE, rate=100)
    expected = fixed.predict(x, leads=THREE, sampling_rate=100)
    factor, zero = SIZES[unit]
    found = fixed.predict(x * factor + zero, leads=THREE, sampling_rate=100, unit=unit)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_long_records_are_read_in_segments(fixed):
    x = ecg(THREE, seconds=36, rate=100)
    whole = fixed.predict(x, leads=THREE, sampling_rate=100)[0]
    starts = [0, 867, 1733, 2600]
    parts = [fixed.predict(x[:, s : s + 1000], leads=THREE, sampling_rate=100)[0] for s in starts]
    logits = np.log(parts) - np.log1p(-np.array(parts))
    np.testing.assert_allclose(whole, 1 / (1 + np.exp(-logits.mean(axis=0))), atol=1e-6)
    reading = fixed.read(Recording(x, THREE, 100.0, "long"))
    np.testing.assert_allclose(reading.segments, parts, atol=1e-6)
    np.testing.assert_allclose(reading.probabilities, whole, atol=1e-6)
    assert reading.starts.tolist() == pytest.approx([0, 26 / 3, 52 / 3, 26])
    with pytest.raises(LeadminError, match=r"2.40 s long .* at least 2.5 s"):
        fixed.predict(x[:, :240], leads=THREE, sampling_rate=100)


def test_twelve_leads_follow_from_eight(network):
    x, independent = ecg(rate=100), [LEADS.index(n) for n in ("I", "II", *LEADS[6:])]
    names = [LEADS[i] for i in independent]
    expected = network.predict(x, leads=LEADS, sampling_rate=100)
    found = network.predict(x[independent], leads=names, sampling_rate=100)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    reading = network.read(Recording(x[independent], tuple(names), 100.0, "eight"))
    assert reading.derived == LEADS[2:6]
    assert reading.seen == LEADS


# --- bad leads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [(slice(None), 0.3, "is flat"), (slice(400, 405), np.nan, "no finite number"),
     (slice(300, 360), 5.0, "at rest for 0.6 s"), (500, 500.0, "a range of 50"),
     (slice(None), ecg(["V2"], rate=100) + 2.5, "a mean of 2.5")],
)  # fmt: skip
def test_a_bad_lead_is_left_out_where_the_network_can_do_without_it(
    network, fixed, place, value, words
):
    x = ecg(rate=100)
    x[LEADS.index("V2"), place] = value
    rest = [lead for lead in LEADS if lead != "V2"]
    expected = network.predict(np.delete(x, 7, axis=0), leads=rest, sampling_rate=100)[0]
    reading = network.read(Recording(x, LEADS, 100.0, "a"))
    np.testing.assert_allclose(reading.probabilities, expected, atol=1e-6)
    assert words in reading.dropped["V2"]
    assert "V2" not in reading.seen
    assert any("V2" in sentence and "left out" in sentence for sentence in reading.noticed)
    refused(f"lead V2 of record 0 .*{words}", network.predict, x, leads=LEADS, sampling_rate=100)
    refused(f"a: lead V2 .*{words}.*needs V2 too", fixed.read, Recording(x, LEADS, 100.0, "a"))


def test_a_bad_limb_lead_is_derived_and_one_that_nobody_needs_does_not_matter(fixed):
    flat, unneeded = ecg(rate=100), ecg(rate=100)
    flat[LEADS.index("II")] = 0.3
    unneeded[LEADS.index("V5"), 400] = np.nan
    reading = fixed.read(Recording(flat, LEADS, 100.0, "a"))
    good = fixed.predict(ecg(rate=100), leads=LEADS, sampling_rate=100)[0]
    np.testing.assert_allclose(reading.probabilities, good, atol=0.01)
    assert reading.derived == ("II",)
    found = fixed.predict(unneeded, leads=LEADS, sampling_rate=100)[0]
    np.testing.assert_allclose(found, good, atol=1e-9)


def test_a_bad_stretch_costs_its_segment_alone(fixed):
    x = ecg(THREE, seconds=30, rate=100)
    x[1, 1200:1300] = 0.0
    reading = fixed.read(Recording(x, THREE, 100.0, "a"))
    assert np.isnan(reading.segments).any(axis=1).tolist() == [False, True, False]
    assert any("from 10.0 s is left out: lead II is at rest" in said for said in reading.noticed)
    assert reading.as_dict()["segments"][1]["probabilities"] is None


def at_rest(x):
    x[LEADS.index("V2"), 300:320] = 3.0
    return x


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x * ((np.arange(12) != 3) * 2 - 1)[:, None], "contradict Einthoven's law"),
        (lambda x: x[[0, 2, 1, *range(3, 12)]], "contradict Einthoven's law"),
        (lambda x: x[[*range(11), 10]], "two leads of the record are exactly the same"),
        (lambda x: arms_swapped(x[None])[0], "arm electrodes look swapped"),
        (at_rest, "rests at its extreme value"),
        (lambda x: x + 0.5, "V6 is up to 0.51 mV from zero"),
        (lambda x: x * 0.3 / np.ptp(x, axis=1).max(), "range of 0.3 mV, unusual"),
        (lambda x: x * 50 / np.ptp(x, axis=1).max(), "range of 50 mV, unusual"),
        (lambda x: x, ""),
    ],
)
def test_what_no_ecg_looks_like_is_noticed(network, sample, change, said):
    x = change(sample.signals[0] / 1000)
    noticed = network.read(Recording(x, LEADS, 100.0, "a")).noticed
    others = [one for one in noticed if "thresholds are known" not in one]
    assert len(others) < len(noticed), "what is not known of a network of one's own is said"
    assert any(said in one for one in others) if said else not others, others


def test_the_baseline_of_an_adc_is_asked_for(network):
    counts = np.rint(200 * ecg(rate=100) + 2048).astype(np.uint16)
    known = {"leads": LEADS, "sampling_rate": 100}
    good = network.predict(ecg(rate=100), **known)
    np.testing.assert_allclose(
        network.predict(counts, **known, unit="200(2048)/mV"), good, atol=0.02
    )
    with pytest.raises(LeadminError, match=r"lead I of record 0 has a mean of 10.* 200\(2048\)/mV"):
        network.predict(counts, **known, unit="200/mV")


@pytest.mark.parametrize(
    ("signals", "leads", "message"),
    [
        (np.zeros((1, 2, 300)), THREE[:2], "shape \\(1, 2, 300\\)"),
        (np.zeros(300), ("I",), "shape \\(300,\\)"),
        (np.zeros((12, 300)), LEADS[:5], "with 5 leads"),
        (np.zeros((2, 300)), ("I", "Lead I"), "I named more than once"),
        (np.full((1, 3), "x"), ("I",), "type <U1"),
    ],
)
def test_a_recording_is_rows_with_a_name_each(signals, leads, message):
    refused(message, Recording, signals, leads, 100.0, "a")


def with_spikes(millivolts, rate, height, rng):
    """Add pulses of 1 ms, 70 a minute, as a recorder that sees up to 150 Hz keeps them."""
    x, gains = millivolts.copy(), rng.normal(size=(len(millivolts), 1))
    for start in np.arange(0.4, x.shape[1] / rate - 0.2, 60 / 70):
        place, times = round(start * rate), (np.arange(-8, 9) - rng.uniform(-0.5, 0.5)) / rate
        shape = np.sinc(300 * times) * np.hamming(17)
        x[:, place : place + 17] += height * gains / np.abs(gains).max() * shape
    return x


@pytest.mark.parametrize(("height", "least"), [(2.0, 0.95), (1.0, 0.9), (0.0, 0.0)])
def test_spikes_of_a_pacemaker_are_found_on_real_records(sample, height, least):
    rng = np.random.default_rng(0)
    slow = sample.signals[::40] / 1000
    paced = [with_spikes(x, 500, height, rng) for x in resample(slow, 100, 500)]
    found = np.mean([len(pacing_spikes(x, 500)) > 0 for x in paced])
    assert found >= least
    assert found == 0 or height
    assert not len(pacing_spikes(with_spikes(slow[0], 100, 2.0, rng), 100)), "too slow to tell"


def test_spikes_of_a_pacemaker_are_told_with_the_segments_that_have_them(fixed):
    rng = np.random.default_rng(1)
    x = np.concatenate([ecg(rate=500), with_spikes(ecg(rate=500), 500, 2.0, rng)], axis=1)
    told = [n for n in fixed.read(Recording(x, LEADS, 500.0, "a")).noticed if "pacemaker" in n]
    assert told == [told[0]]
    assert told[0].endswith("at once, repeated (in 1 of 2 segments)")
    without = fixed.read(Recording(ecg(rate=500), LEADS, 500.0, "a")).noticed
    assert not any("pacemaker" in n for n in without)


def test_operating_points_recalibrate_and_draw_the_line(fixed, monkeypatch):
    asked = []

    def points(self, leads):
        asked.append(leads)
        lines = {
            "specificity90": np.array([0.0, 1, 1, 1, 1]),
            "best_f1": np.array([0.0, 0, 1, 1, 1]),
        }
        return SimpleNamespace(thresholds=lines, recalibrate=lambda p: p / 2)

    plain = fixed.read(Recording(ecg(THREE, rate=100), THREE, 100.0, "a"))
    monkeypatch.setattr(EcgClassifier, "operating_points", points, raising=False)
    reading = fixed.read(Recording(ecg(THREE, rate=100), THREE, 100.0, "a"))
    np.testing.assert_allclose(reading.probabilities, plain.probabilities / 2)
    assert asked == [THREE]
    assert reading.recalibrated
    assert reading.passed("NORM") == ("specificity90", "best_f1")
    assert reading.passed(CLASSES[1]) == ("best_f1",)
    assert not any("no thresholds" in sentence for sentence in reading.noticed)


# --- malformed files; test_battery tries malformed arrays -----------------------------------------


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A small file of each form in a folder of its own: the one to read, and the one to damage."""
    found = []
    for write, name, suffix in (
        (forms.write_wfdb, "a.hea", ".hea"), (forms.write_wfdb, "a.hea", ".dat"),
        (forms.write_cinc, "c.hea", ".hea"), (forms.write_table, "t.csv", ".csv"),
        (forms.write_parquet, "p.parquet", ".parquet"), (forms.write_edf, "e.edf", ".edf"),
        (forms.write_dicom, "d.dcm", ".dcm"), (forms.write_aecg, "x.xml", ".xml"),
    ):  # fmt: skip
        path = write(tmp_path_factory.mktemp("form") / name, leads=THREE)
        found.append((path, path.with_suffix(suffix)))
    watch = forms.write_watch(tmp_path_factory.mktemp("form") / "ecg_w.csv")
    packed = tmp_path_factory.mktemp("form") / "z.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(watch, "in/ecg_w.csv")
    return [*found, (watch, watch), (packed, packed)]


@pytest.mark.parametrize("seed", range(4))
def test_malformed_files_give_recordings_that_can_be_or_clear_errors(
    fixed, originals, tmp_path, seed
):
    rng = np.random.default_rng(seed)
    for number in range(60):
        path, at_risk = originals[number % len(originals)]
        folder = shutil.copytree(path.parent, tmp_path / str(number))
        content = at_risk.read_bytes()
        begin = rng.choice([400, 2000, len(content)])  # what a file says of itself comes first
        (folder / at_risk.name).write_bytes(mutate(content[:begin], rng) + content[begin:])
        for one in iter_recordings(folder / path.name):
            if isinstance(one, LeadminError):
                assert str(folder) in str(one)
                assert "\n" not in str(one)
                continue
            assert one.signals.shape[0] == len(set(one.leads)) > 0
            assert set(one.leads) <= set(LEADS)
            assert RATES[0] <= one.sampling_rate <= RATES[1]
            with contextlib.suppress(LeadminError):
                assert np.isfinite(fixed.read(one).probabilities).all()


# --- the command ----------------------------------------------------------------------------------


def predict(*words):
    return CliRunner().invoke(app, ["predict", *map(str, words)])


def test_the_command_answers_what_it_can_and_says_what_it_cannot(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = forms.write_edf(tmp_path / "limb.edf", LEADS[:6])
    (tmp_path / "bad.csv").write_text("I\n1\n")
    ask = [good, "--network", root / NETWORK]
    said = predict("bad.csv", *ask, "--json", "--page", "page.html")
    assert said.exit_code == 2
    assert "error: " in said.stderr
    assert "bad.csv" in said.stderr
    (found,) = json.loads(said.stdout)
    assert found["name"] == "limb"
    assert [one["class"] for one in found["classes"]] == list(CLASSES)
    assert found["seen"] == list(LEADS[:6])
    page = (tmp_path / "page.html").read_text()
    assert "data:image/png;base64," in page
    assert "Read from I, II." in page
    plain = predict(*ask, "--page", "p.png")
    assert plain.exit_code == 0
    assert "myocardial infarction" in plain.stdout
    assert "no thresholds are known" in plain.stdout
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    table = predict(*ask, "--csv").stdout.splitlines()
    assert table[0].startswith("file,name,class,probability")
    assert len(table) == 6


def test_a_name_that_is_no_text_is_escaped_and_costs_no_other_file(root, tmp_path):
    for name in (b"xa\xff.edf", b"xb.edf"):
        forms.write_edf(tmp_path / os.fsdecode(name))
    ask = [tmp_path, "--network", root / NETWORK, "--page", tmp_path / "p.html"]
    done = subprocess.run(
        [sys.executable, "-c", "from leadmin.cli import main; main()", "predict", *ask],
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert r"xa\udcff: 10.0 s" in done.stdout
    assert r"<h2>xa\udcff</h2>" in (tmp_path / "p.html").read_text()
    assert "<h2>xb</h2>" in (tmp_path / "p.html").read_text()
    ask = [next(tmp_path.glob("xa*")), *ask[1:-1], tmp_path / "p.png"]
    assert r"xa\udcff: 10.0 s" in predict(*ask).output
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--page", "a.pdf"], "ends in .png or .html"), (["--json", "--csv"], "both are given")],
)
def test_the_command_refuses_options_that_do_not_fit(options, message):
    said = predict("x.edf", *options)
    assert said.exit_code == 2
    assert message in said.stderr


def test_hidden_leads_are_grey_on_the_page(network, fixed):
    from leadmin.show.ecg_paper import ECG_DROPPED, ECG_KEPT
    from leadmin.show.reading import plot_reading

    recording = Recording(ecg(), LEADS, 500.0, "a")
    lines = {line.get_gid(): line.get_color()
             for line in plot_reading(recording, fixed.read(recording)).axes[0].lines}  # fmt: skip
    assert lines["lead-V2"] == lines["lead-I"] == ECG_KEPT
    assert lines["lead-V3"] == lines["lead-aVR"] == ECG_DROPPED
