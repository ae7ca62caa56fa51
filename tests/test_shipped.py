"""The networks that ship with the package: loading, operating points, cards, ONNX, making."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shipping
import torch
import yaml
from trouble import refused
from typer.testing import CliRunner

import leadmin
from leadmin.cli.main import app
from leadmin.errors import LeadminError
from leadmin.files import sha256
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, configurations, lead_indices, resolve, signal_spaces
from leadmin.metrics import auroc, f1, probabilities
from leadmin.net import export
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.operating import THRESHOLDS
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import RECIPES
from leadmin.net.shipped import load_shipped
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run

FOLDER = Path(leadmin.__file__).parent / "networks"


@pytest.fixture(scope="module")
def any_lead():
    return leadmin.load("any-lead")


def test_any_lead_and_the_eleven_configurations_ship():
    assert leadmin.networks()[0] == "any-lead"
    assert set(configurations()) < set(leadmin.networks())
    assert {path.name for path in FOLDER.iterdir()} == set(leadmin.networks())
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 6e6


def test_they_are_loaded_from_any_folder_without_what_only_a_study_needs(tmp_path):
    code = (
        "import sys, leadmin, numpy as np; network = leadmin.load('any-lead'); "
        "x = np.random.default_rng(0).normal(0, 0.3, (1, 2, 1000)); "
        "network.predict(x, leads=['I', 'II'], sampling_rate=100); print(network.classes, "
        "leadmin.load('3-lead-I-II-V2').leads, "
        "{'torch', 'scipy', 'pandas', 'h5py', 'leadmin.study.run'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{CLASSES} ('I', 'II', 'V2') set()"


@pytest.mark.parametrize("name", leadmin.networks())
def test_each_answers_records_of_the_sample(small, name):
    network = leadmin.load(name)
    shown = ("II", "V5") if name == "any-lead" else None
    leads = shown or network.leads
    given = small.signals[:, lead_indices(leads)]
    found = network.predict(given / 1000, leads=leads, sampling_rate=100)
    microvolts = np.zeros((len(small), len(network.leads), given.shape[2]), np.float32)
    microvolts[:, [network.leads.index(lead) for lead in leads]] = given
    logits = predict_logits(
        network.model, network.scaling, torch.from_numpy(microvolts), 250, 8, shown
    )
    np.testing.assert_allclose(found, probabilities(logits.double().numpy()), rtol=0, atol=1e-6)
    points = network.operating_points(leads)
    better = points.recalibrate(found)
    assert better.shape == (len(small), len(CLASSES))
    # It was trained on these records, so this only says that it is the network it claims to be.
    assert (auroc(small.labels["any"], better) > 0.7).all()
    assert points.n_records == 4303
    assert ((points.auroc > 0.6) & (points.auroc < 1)).all()


def test_every_signal_space_has_its_operating_points(any_lead):
    for space in signal_spaces():
        points = any_lead.operating_points(space.leads)
        assert (set(points.thresholds), points.n_records) == (set(THRESHOLDS), 4303)
        low, high = points.thresholds["specificity90"], points.thresholds["specificity95"]
        assert ((low > 0) & (low < high) & (high < 1)).all()
    same = (any_lead.operating_points(leads) for leads in (["I", "II"], ["aVF", "III", "Lead I"]))
    assert len(set(map(id, same))) == 1
    assert any_lead.operating_points(["V5"]) is not any_lead.operating_points(["V4"])
    fixed = leadmin.load("1-lead-V5")  # it has those of its own leads
    assert fixed.operating_points(LEADS) is fixed.operating_points(["V5"])


def test_operating_points_against_a_direct_computation():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 5)) < [0.5, 0.3, 0.2, 0.2, 0.1]).astype(np.uint8)
    logits = rng.normal(2.0 * labels - 1.0, 1.5)
    points = shipping.fit_operating_points(labels, logits)
    p = points.recalibrate(probabilities(logits))
    np.testing.assert_allclose(points.auroc, auroc(labels, logits))
    # A logistic regression: probabilities sum to the number of positives.
    np.testing.assert_allclose(p.sum(axis=0), labels.sum(axis=0), atol=1e-6)
    np.testing.assert_array_equal(points.n_positive, labels.sum(axis=0))
    for c, of_class in enumerate(p.T):
        without = of_class[labels[:, c] == 0]
        for name, level in (("specificity90", 0.90), ("specificity95", 0.95)):
            chosen = points.thresholds[name][c]
            least = min(t for t in (*of_class, 1.1) if np.mean(without < t) >= level - 1e-9)
            assert np.mean(without < chosen) >= level
            np.testing.assert_array_equal(of_class >= chosen, of_class >= least)
        best = max(f1(labels[:, [c]], of_class[:, None], min(t, 1.0))[0] for t in of_class)
        at = points.thresholds["best_f1"][c]
        assert f1(labels[:, [c]], of_class[:, None], at)[0] == best


def test_what_is_no_probability_is_not_recalibrated(any_lead):
    points = any_lead.operating_points(LEADS)
    assert ((points.recalibrate([0, 1, 0, 1, 0.5]) == [0, 1, 0, 1, 0.5])[:4]).all()
    for wrong in ([2.0] * 5, [np.nan] * 5, [0.5] * 4):
        refused("valid: numbers from 0 to 1", points.recalibrate, wrong)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("3-lead-I-II-V3", r"there is no '3-lead-I-II-V3'; valid: any-lead, 12-lead, .*folder"),
        ("no/such/folder", "there is no 'no/such/folder'; valid: any-lead"),
        (Path("12-lead"), "there is no '12-lead'"),
    ],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(message, leadmin.load, name)


@pytest.mark.parametrize("file", ["model.safetensors", "operating.npz"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_damaged_files_are_refused(tmp_path, file, how):
    folder = Path(shutil.copytree(FOLDER / "2-lead-I-II", tmp_path / "copied"))
    content = bytearray((folder / file).read_bytes())
    (folder / file).unlink()
    if how == "flipped":
        content[len(content) // 2] ^= 1
        (folder / file).write_bytes(content)
    for load in (leadmin.load, load_shipped):
        with pytest.raises(LeadminError, match=rf"{file}: .*(checksum|no such)"):
            load(folder).operating_points(["I", "II"])


@pytest.mark.parametrize("name", leadmin.networks())
def test_the_model_card_is_what_the_hub_reads_and_says_what_config_says(name):
    text = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert text == shipping.model_card(FOLDER / name)
    _, head, body = text.split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["license"] == "mit"
    assert head["library_name"] == "leadmin"
    (result,) = head["model-index"][0]["results"]
    config = json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8"))
    told = config["cross_validation"]
    value, low, high = told["auroc"][config["config"]]["macro"]
    assert abs(result["metrics"][0]["value"] - value) < 1e-4
    assert low < value < high
    assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in body
    assert f"{told['n_records']:,} records of {told['n_patients']:,} patients" in body
    assert "trained on every record" in body
    assert all(meaning in body for meaning in config["class_names"].values())
    assert max(map(len, body.split("## What is known")[0].splitlines())) < 180


def test_figures_of_a_card_are_those_of_the_operating_points(any_lead):
    for name, told in any_lead.metadata["cross_validation"]["auroc"].items():
        points = any_lead.operating_points(resolve(name).leads)
        of_classes = [told[c][0] for c in CLASSES]
        np.testing.assert_allclose(points.auroc, of_classes, atol=1e-6)
        np.testing.assert_allclose(np.mean(of_classes), told["macro"][0], atol=1e-6)


def test_the_wheel_holds_them(root, tmp_path):
    wheel = pytest.importorskip("flit_core.wheel")
    import zipfile

    made = wheel.make_wheel_in(root / "pyproject.toml", tmp_path)
    names = set(zipfile.ZipFile(made.file).namelist())
    for name in leadmin.networks():
        for file in ("model.safetensors", "config.json", "operating.npz", "README.md"):
            assert f"leadmin/networks/{name}/{file}" in names


# ---- ONNX


@pytest.fixture(
    scope="module",
    params=[
        ("any-lead", "V5,aVF,I"),
        pytest.param(("3-lead-I-II-V2", ""), marks=pytest.mark.slow),  # an export takes 6 s
    ],
)
def exported(request, tmp_path_factory):
    """A network, its leads, and its ONNX file as a session on one thread."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    name, leads = request.param
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    asked = ["--leads", leads] if leads else []
    done = CliRunner().invoke(app, ["export", "--onnx", str(path), "--network", name, *asked])
    assert done.exit_code == 0, done.output
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    onnx = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    network = leadmin.load(name)
    return network, tuple(leads.split(",")) if leads else network.leads, onnx


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("seconds", [2.5, 2.51, 10, 10.5, 10.51, 20.41, 30])
def test_the_onnx_file_gives_what_the_network_gives(exported, sample, batch, seconds):
    network, leads, onnx = exported
    long = np.concatenate(sample.signals[:21].reshape(7, 3, 12, -1).transpose(1, 0, 2, 3), axis=-1)
    x = long[:batch, lead_indices(leads), : round(100 * seconds)]
    (found,) = onnx.run(None, {"microvolts": x.astype(np.float32)})
    p = network.predict(x, leads=leads, sampling_rate=100, unit="uV")
    expected = network.operating_points(leads).recalibrate(p)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_onnx_file_says_what_goes_in_and_what_comes_out(exported):
    network, leads, onnx = exported
    about = onnx.get_modelmeta().custom_metadata_map
    read = {name: json.loads(about[name]) for name in about if name != "software"}
    assert read["leads"] == list(leads)
    assert read["classes"] == list(CLASSES)
    assert (read["unit"], read["sampling_rate"], read["least_samples"]) == ("uV", 100, 250)
    assert read["recalibrated"]
    points = network.operating_points(leads)
    for name, values in points.thresholds.items():
        np.testing.assert_allclose(read["thresholds"][name], values)
    with pytest.raises(Exception, match="index"):  # of a record that is too short
        onnx.run(None, {"microvolts": np.ones((1, len(leads), 249), dtype=np.float32)})


def test_leads_that_do_not_reach_are_not_exported(tmp_path, monkeypatch):
    network = leadmin.load("3-lead-I-II-V2")
    refused("needs V2 too", export.export_onnx, network, tmp_path / "x.onnx", ["I", "II"])
    with pytest.raises(LeadminError, match="I named more than once"):
        export.export_onnx(network, tmp_path / "x.onnx", ["I", "Lead I"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(LeadminError, match=r"onnxscript is not installed.*leadmin\[onnx\]"):
        export.export_onnx(network, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_that_scales_each_record_does_so_in_the_file_too():
    network = load_checkpoint(Path(leadmin.__file__).parent / "networks" / "2-lead-I-II")
    by_record = replace(network, scaling=replace(network.scaling, kind="record", mean=(), std=()))
    x = torch.randn(2, 2, 1000) * 200
    expected = predict_logits(by_record.model, by_record.scaling, x, 250, 8).sigmoid()
    found = export._Exported(by_record, ("I", "II"), None)(x)
    np.testing.assert_allclose(found.detach(), expected, atol=1e-5)


# ---- how they are made


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """An any-lead network and one that starts from it, of one epoch, with a cross-validation."""
    folder = tmp_path_factory.mktemp("made")
    short = {name: replace(RECIPES[name], epochs=1) for name in ("any-lead", "default")}
    start = folder / "any-lead"
    shipping.train_on_everything(small, "12-lead", short["any-lead"], start)
    shipping.train_on_everything(
        small, "2-lead-I-II", short["default"], folder / "2-lead-I-II", start
    )
    chosen = {"recipe": "any-lead", "compare_with": "", "protocol": "crossval", "epochs": 1}
    settings = RunSettings(config="12-lead", out=str(folder / "run"), **chosen)
    return folder, short, train_run(settings, small)


def test_training_on_everything_sees_every_labelled_record_and_happens_once(made, small):
    folder, short, _ = made
    about = load_checkpoint(folder / "2-lead-I-II").metadata["provenance"]
    labelled = small.labels["any"].any(axis=1)
    assert about["trained_on"]["n_records"] == labelled.sum()
    assert about["trained_on"]["n_positive"]["MI"] == small.labels["any"][:, 1].sum()
    assert about["identity"]["start"] == sha256(folder / "any-lead.safetensors")
    before = (folder / "any-lead.safetensors").stat().st_mtime_ns
    seen = []
    shipping.train_on_everything(
        small, "12-lead", short["any-lead"], folder / "any-lead", on_epoch=seen.append
    )
    assert not seen
    assert (folder / "any-lead.safetensors").stat().st_mtime_ns == before
    assert not list(folder.glob("*.state.safetensors"))
    with pytest.raises(LeadminError, match="recipe original: it stops by validation records"):
        shipping.train_on_everything(small, "12-lead", RECIPES["original"], folder / "x")


def test_a_folder_that_ships_is_written_and_loaded(made, small, tmp_path):
    folder, _, run = made
    answers = {"2-lead-I-II": shipping.answers_of(run, "any-lead")}
    target = tmp_path / "2-lead-I-II"
    shipping.ship(target, folder / "2-lead-I-II", run, answers, ["2-lead-I-II"], "A note.")
    network = leadmin.load(target)
    assert network.operating_points(["I", "II"]).n_records == len(run.test.record_id)
    assert "A note." in (target / "README.md").read_text(encoding="utf-8")
    assert leadmin.load(folder / "2-lead-I-II.json").operating_points(["I", "II"]) is None
