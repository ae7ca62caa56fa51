"""What TensorBoard and Weights & Biases are given, read back from the files that they wrote."""

import contextlib
import json
import os
import struct
import time
import tomllib
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from trouble import interrupted, refused

from leadmin.labels import CLASSES
from leadmin.study import tracking
from leadmin.study import train as study
from leadmin.study.protocol import splits
from leadmin.study.run import load_run
from leadmin.study.settings import RunSettings, Study
from leadmin.study.tracking import Tracking, study_name, tracker_names
from leadmin.study.train import train_run

SHOWN = ("auroc", "average_precision", "f1", "brier", "ece")


def settings_for(folder, **changes):
    chosen = {"recipe": "scratch", "epochs": 2, "compare_with": ""} | changes
    return RunSettings(config="2-lead-I-II", out=str(folder), **chosen)


def scalars(folder):
    """Map each tag of a TensorBoard folder to its list of (step, value)."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {t: [(e.step, e.value) for e in events.Scalars(t)] for t in events.Tags()["scalars"]}
    return found, events


def wandb_records(path):
    """Read a transaction log of Weights & Biases.

    It is a log of LevelDB: after seven bytes that name the format, per record a checksum, a length
    and a type, which is 1 where a record is whole, as all are within one block of 32 KiB.
    """
    proto = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    content, place = path.read_bytes(), 7
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        length, kind = struct.unpack_from("<HB", content, place + 4)
        assert kind == 1
        yield proto.Record.FromString(content[place + 7 : place + 7 + length])
        place += 7 + length


def wandb_run(folder):
    """Read the only run of a fit: its run record, history, summary and artifacts.

    The service closes the file some milliseconds after the run was finished; until then it has no
    exit record.
    """
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    records, deadline = defaultdict(list), time.monotonic() + 20
    while not records["exit"]:
        assert time.monotonic() < deadline, f"{path} was never finished"
        records.clear()
        for record in wandb_records(path):
            kind = record.WhichOneof("record_type")
            records[kind].append(getattr(record, kind))

    def decoded(items):
        return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}

    return SimpleNamespace(
        record=records["run"][0],
        config=decoded(records["run"][0].config.update),
        history=[decoded(record.item) for record in records["history"]],
        summary=decoded(item for record in records["summary"] for item in record.update),
        artifacts=records["artifact"],
        exit=records["exit"][0].exit_code,
    )


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A machine without an account, with an empty home, which is what it yields."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(home))
        wandb.teardown()
        yield home
        wandb.teardown()


def wandb_services():
    """List the processes that Weights & Biases started for this one."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith("wandb")]


@pytest.fixture(scope="module")
def pair(offline, small, tmp_path_factory):
    """The same run without and with both trackers."""
    root = tmp_path_factory.mktemp("outputs")
    found = {}
    for name, trackers in (("plain", ""), ("tracked", "tensorboard,wandb")):
        folder = root / name / "runs" / "2-lead-I-II"
        settings = settings_for(folder, tracking=trackers, compare_with="original")
        found[name] = train_run(settings, small)
    # The package tells its children where its service is; nothing else may stay behind.
    assert {name for name in os.environ if name.startswith("WANDB_")} <= {"WANDB_SERVICE"}
    (service,) = wandb_services()
    return SimpleNamespace(
        **found,
        home=offline,
        service=service.cmdline(),
        connections=service.net_connections("inet"),
    )


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_before_anything_is_touched(name, small, tmp_path, monkeypatch):
    monkeypatch.setitem(tracking.MODULES, name, "leadmin_without_this_package")
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / name / "scratch-seed0").mkdir(parents=True)
    settings = settings_for(tmp_path, tracking=name)
    refused(rf'pip install "leadmin\[{name}\]"', train_run, settings, small)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", name, ".lock"}
    assert (tmp_path / name / "scratch-seed0").is_dir()


def test_extras_are_named_after_the_trackers(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for name in tracking.MODULES:
        assert set(extras[name]) <= set(extras["dev"])
    assert extras["tracking"] == [f"leadmin[{','.join(tracking.MODULES)}]"]


def test_names_are_spaced_at_will_and_a_study_hands_them_to_every_run():
    assert tracker_names("") == tracker_names("  ") == ()
    assert tracker_names("wandb, tensorboard,wandb") == ("wandb", "tensorboard")
    asked = "wandb, tensorboard"
    made = Study("x", "X", "s", ("12-lead", "1-lead-I"), tracking=asked)
    assert {made.run_parameters(c)["tracking"] for c in made.configurations} == {asked}


def test_the_study_is_known_from_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("outputs/full/runs/12-lead", "full/12-lead"):
        assert study_name(tmp_path / folder) == "full"
    assert study_name(tmp_path.relative_to(tmp_path) / "x") == tmp_path.name


def test_without_trackers_nothing_is_loaded_or_written(pair):
    assert not Tracking("", pair.plain.folder, "12-lead").chosen
    names = {path.name for path in pair.plain.folder.iterdir()}
    assert names == {"metrics.json", "predictions.npz", "history.csv", "checkpoints", ".lock"}


def test_tracking_changes_no_trained_number(pair):
    for split in ("validation", "test"):
        plain, tracked = (getattr(run, split).logits for run in (pair.plain, pair.tracked))
        for recipe in pair.plain.recipes:
            np.testing.assert_array_equal(tracked[recipe], plain[recipe])
    for path in (pair.plain.folder / "checkpoints").glob("*.safetensors"):
        twin = pair.tracked.folder / "checkpoints" / path.name
        assert twin.read_bytes() == path.read_bytes()
    columns = [c for c in pair.plain.history if c != "seconds"]
    pd.testing.assert_frame_equal(pair.tracked.history[columns], pair.plain.history[columns])
    assert pair.tracked.metrics["test"] == pair.plain.metrics["test"]


@pytest.mark.parametrize("recipe", ["scratch", "original"])
def test_each_tracker_has_each_epoch_once(pair, recipe):
    curves, _ = scalars(pair.tracked.folder / "tensorboard" / f"{recipe}-seed0")
    sent = pd.DataFrame(wandb_run(pair.tracked.folder / "wandb" / f"{recipe}-seed0").history)
    assert list(sent["_step"]) == list(sent["epoch"]) == [1, 2]
    history = pair.tracked.history.query("recipe == @recipe")
    names = [c for c in history if c not in ("recipe", "seed", "fold", "epoch")]
    assert {f"validation_auroc_{c}" for c in CLASSES} < set(names)
    for name in names:
        steps, values = zip(*curves[name], strict=True)
        assert steps == (1, 2)
        np.testing.assert_allclose(values, history[name], rtol=1e-6)
        # a history keeps seven digits
        np.testing.assert_allclose(sent[name].astype(float), history[name], rtol=5e-7)


def expected_test_metrics(run, recipe):
    (measured,) = run.metrics["test"][recipe]
    wanted = {f"test_{name}": measured[name] for name in SHOWN}
    for c in CLASSES:
        wanted |= {f"test_{name}_{c}": measured["per_class"][c][name] for name in SHOWN}
    return wanted


def test_tensorboard_has_settings_test_metrics_and_checkpoint(pair):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    found, events = scalars(pair.tracked.folder / "tensorboard" / "scratch-seed0")
    for name, value in expected_test_metrics(pair.tracked, "scratch").items():
        ((_, shown),) = found[name]
        assert shown == pytest.approx(value, rel=1e-6)
    start = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(start).hparams
    assert hparams["recipe.learning_rate"].number_value == 5e-3
    assert hparams["settings.config"].string_value == "2-lead-I-II"
    texts = {
        tag: events.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()
        for tag in ("configuration", "checkpoint")
    }
    described = json.loads(texts["configuration"].strip("`\n"))
    assert described["recipe"] == pair.tracked.metrics["recipes"]["scratch"]
    assert described["settings"] == pair.tracked.metrics["settings"]
    for name in texts["checkpoint"].strip("`\n").splitlines():
        assert (pair.tracked.folder / name).is_file()
    # It finds every fit below the outputs.
    found = EventMultiplexer().AddRunsFromDirectory(str(pair.tracked.folder.parents[1])).Runs()
    stems = ("scratch-seed0", "original-seed0")
    assert set(found) == {f"runs/2-lead-I-II/tensorboard/{stem}" for stem in stems}


def test_wandb_has_group_name_settings_test_metrics_and_model(pair):
    run = wandb_run(pair.tracked.folder / "wandb" / "scratch-seed0")
    record = run.record
    assert (record.project, record.run_group) == ("leadmin", "tracked")
    assert (record.display_name, record.job_type) == ("2-lead-I-II-scratch-seed0", "train")
    assert run.exit == 0
    assert run.config["recipe"] == pair.tracked.metrics["recipes"]["scratch"]
    assert run.config["settings"] == pair.tracked.metrics["settings"]
    wanted = expected_test_metrics(pair.tracked, "scratch")
    assert {name: run.summary[name] for name in wanted} == wanted
    (artifact,) = run.artifacts
    assert (artifact.name, artifact.type) == ("2-lead-I-II-scratch-seed0", "model")
    checkpoints = pair.tracked.folder / "checkpoints"
    listed = {entry.path: entry for entry in artifact.manifest.contents}
    assert set(listed) == {"scratch-seed0.safetensors", "scratch-seed0.json"}
    for name, entry in listed.items():
        assert entry.local_path == str(checkpoints / name)
        assert entry.size == (checkpoints / name).stat().st_size


def test_wandb_stays_in_the_run_folder_and_calls_nobody(pair):
    assert "--no-observability" in pair.service  # or it reports its use when it ends
    assert pair.connections == []
    assert list(pair.home.iterdir()) == []
    written = [p.name for p in (pair.tracked.folder / "wandb").rglob("*") if p.is_file()]
    assert not [name for name in written if name.endswith((".py", ".ipynb", ".patch", ".diff"))]
    assert not {"wandb-metadata.json", "requirements.txt", "output.log"} & set(written)
    record = wandb_run(pair.tracked.folder / "wandb" / "scratch-seed0").record
    assert not record.HasField("git")
    assert record.host == ""


def test_wandb_mode_of_the_user_is_kept(offline, small, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = train_run(settings_for(tmp_path, epochs=1, tracking="wandb"), small)
    assert list(run.history["epoch"]) == [1]
    assert not list(tmp_path.rglob("*.wandb"))


def test_a_resumed_fit_and_a_repeated_run_show_each_epoch_once(offline, small, tmp_path):
    settings = settings_for(tmp_path, epochs=3, tracking="tensorboard,wandb")
    other = tmp_path / "wandb" / "mine"
    other.mkdir(parents=True)

    def steps():
        found, _ = scalars(tmp_path / "tensorboard" / "scratch-seed0")
        run = wandb_run(tmp_path / "wandb" / "scratch-seed0")
        return [s for s, _ in found["train_loss"]], [row["_step"] for row in run.history], run.exit

    interrupted(2, train_run, settings, small)
    assert steps() == ([1, 2], [1, 2], 1)
    assert not (tmp_path / "metrics.json").exists()
    train_run(settings, small)
    assert steps() == ([1, 2, 3], [1, 2, 3], 0)
    (tmp_path / "tensorboard" / "scratch-seed1").mkdir()
    train_run(replace(settings, epochs=1), small)
    assert steps() == ([1], [1], 0)
    assert not (tmp_path / "tensorboard" / "scratch-seed1").exists()
    assert other.is_dir()


def test_crossval_has_a_folder_per_fold_and_one_for_the_pooled_test(
    offline, small, tmp_path, monkeypatch
):
    both = splits(small, "crossval", "any")[:2]
    monkeypatch.setattr(study, "splits", lambda *_: both)
    settings = settings_for(tmp_path, epochs=1, protocol="crossval", tracking="tensorboard,wandb")
    run = train_run(settings, small)
    stems = {"scratch-seed0", "scratch-seed0-fold1", "scratch-seed0-fold2"}
    for name in tracking.MODULES:
        assert {path.name for path in (tmp_path / name).iterdir()} == stems
    wanted = expected_test_metrics(run, "scratch")["test_auroc"]
    pooled, _ = scalars(tmp_path / "tensorboard" / "scratch-seed0")
    assert pooled["test_auroc"] == [(0, pytest.approx(wanted, rel=1e-6))]
    assert "train_loss" not in pooled
    fold, _ = scalars(tmp_path / "tensorboard" / "scratch-seed0-fold2")
    assert len(fold["train_loss"]) == 1
    assert "test_auroc" not in fold
    whole = wandb_run(tmp_path / "wandb" / "scratch-seed0")
    assert (whole.record.job_type, whole.summary["test_auroc"]) == ("test", wanted)
    assert wandb_run(tmp_path / "wandb" / "scratch-seed0-fold1").config["test_fold"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_the_tracking_and_not_the_training(offline, small, tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    write, written = RecordWriter.write, []

    def until_full(self, data):
        written.append(data)
        if len(written) > 10:
            raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", until_full)
    settings = settings_for(tmp_path, seeds=2, tracking="tensorboard")
    with pytest.warns(UserWarning, match="tracking with tensorboard stopped.*No space") as caught:
        run = train_run(settings, small)
    ours = [str(w.message) for w in caught if "tracking with" in str(w.message)]
    assert len(ours) == 1
    assert list(run.history["epoch"]) == [1, 2, 1, 2]
    assert load_run(tmp_path).metrics["files"] == run.metrics["files"]
    assert not (tmp_path / "tensorboard" / "scratch-seed1").exists()


def test_one_tracker_that_cannot_start_leaves_the_other_alone(offline, small, tmp_path):
    (tmp_path / "wandb").write_text("a file where a folder should be")
    settings = settings_for(tmp_path, tracking="wandb,tensorboard")
    with pytest.warns(UserWarning, match="tracking with wandb stopped"):
        run = train_run(settings, small)
    found, _ = scalars(tmp_path / "tensorboard" / "scratch-seed0")
    assert [step for step, _ in found["train_loss"]] == list(run.history["epoch"])


def test_a_killed_service_ends_the_tracking_and_not_the_training(offline, small, tmp_path):
    import wandb

    wandb.teardown()

    def kill(row):
        for service in wandb_services():
            service.kill()
            service.wait(10)

    settings = settings_for(tmp_path, tracking="wandb")
    with pytest.warns(UserWarning, match="tracking with wandb stopped"):
        run = train_run(settings, small, on_epoch=kill)
    with contextlib.suppress(ConnectionError):  # the service that it would end is gone
        wandb.teardown()
    assert list(run.history["epoch"]) == [1, 2]
