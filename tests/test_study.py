import json
import os
import shutil
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from archives import make_files, write_zip
from safetensors import safe_open
from trouble import flip, interrupted, refused

import leadmin
from leadmin.files import sha256
from leadmin.leads import configurations
from leadmin.study import sources, train
from leadmin.study.ablation import VARIANTS
from leadmin.study.baselines import train_baseline
from leadmin.study.protocol import splits
from leadmin.study.run import load_run, load_runs
from leadmin.study.settings import RunSettings, Study, check_injected, derive_study, load_study
from leadmin.study.sources import located, open_dataset, to_read
from leadmin.study.train import train_run
from leadmin.study.validity import foreign_files, held
from leadmin.workers import side_by_side


def settings_for(out, config="1-lead-I", **changes):
    """One network of one epoch that starts from nothing, unless told otherwise."""
    chosen = {"recipe": "scratch", "compare_with": "", "epochs": 1} | changes
    return RunSettings(config=config, out=str(out), **chosen)


@pytest.fixture(scope="module")
def any_lead_run(small, tmp_path_factory):
    """A finished run of the any-lead network, two seeds of one epoch."""
    folder = tmp_path_factory.mktemp("start") / "any-lead"
    return train_run(settings_for(folder, "12-lead", recipe="any-lead", seeds=2), small).folder


BOTH = {"recipe": "default", "compare_with": "original", "seeds": 2}


@pytest.fixture(scope="module")
def runs(small, any_lead_run, tmp_path_factory):
    """Two finished runs with both recipes, one epoch each."""
    folder = tmp_path_factory.mktemp("runs")
    for config in ("2-lead-I-II", "12-lead"):
        start = {"start_from": str(any_lead_run)}
        train_run(settings_for(folder / config, config, **BOTH, **start), small)
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    """A finished run that a test may damage."""
    return shutil.copytree(runs / "2-lead-I-II", tmp_path / "run")


def test_holdout_is_the_split_of_the_benchmark(sample):
    (split,) = splits(sample, "holdout", "any")
    assert set(sample.fold[split.train]) == set(range(1, 9))
    assert set(sample.fold[split.validation]) == {9}
    assert set(sample.fold[split.test]) == {10}
    refused("fold 9", splits, sample.select(sample.fold != 9), "holdout", "any")


@pytest.mark.parametrize("policy", ["any", "likelihood50"])
def test_crossval_tests_every_labelled_record_once(sample, policy):
    divisions = splits(sample, "crossval", policy)
    tested = np.concatenate([split.test for split in divisions])
    assert sorted(tested) == list(np.flatnonzero(sample.labels[policy].any(axis=1)))
    for split in divisions:
        patients = [set(sample.patient_id[part]) for part in (split.train, split.validation)]
        assert not patients[0] & patients[1]
        assert not (patients[0] | patients[1]) & set(sample.patient_id[split.test])


def test_a_run_can_be_read_back(runs, small):
    run = load_run(runs / "2-lead-I-II")
    assert (run.config, run.leads) == ("2-lead-I-II", ("I", "II"))
    assert run.recipes == ("default", "original")
    assert run.seeds == {"default": (0, 1), "original": (0,)}
    assert run.test.logits["default"].shape == (2, len(run.test.record_id), 5)
    assert set(run.test.fold) == {10}
    assert len(run.history) == 3
    for split in (run.validation, run.test):
        index = [int(np.flatnonzero(small.record_id == r)[0]) for r in split.record_id]
        np.testing.assert_array_equal(split.labels, small.labels["any"][index])
    assert not (runs / "2-lead-I-II" / "state").exists()
    aurocs = [seed["auroc"] for seed in run.metrics["test"]["default"]]
    assert len(set(aurocs)) == 2
    assert all(0 < value < 1 for value in aurocs)
    text = (runs / "2-lead-I-II" / "metrics.json").read_text()
    assert "/tmp" not in text, "no path of this machine"
    assert str(runs) not in text
    assert list(load_runs(runs)) == ["12-lead", "2-lead-I-II"], "in the order of the registry"


CHECKPOINT = "checkpoints/original-seed0"
FILES = ["predictions.npz", "history.csv", "metrics.json"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def foreign(path):
    path.write_bytes(b"\x80\x04not what it says")


@pytest.mark.parametrize("name", [*FILES, f"{CHECKPOINT}.json", f"{CHECKPOINT}.safetensors"])
@pytest.mark.parametrize("damage", [cut, Path.unlink, foreign, flip])
def test_a_damaged_run_is_refused(copied, name, damage):
    damage(copied / name)
    refused("metrics.json" if "metrics" in name else name, load_run, copied)
    refused(r"run it again|run the configuration again", leadmin.load, copied)


@pytest.mark.parametrize("wrong", ["../../notes.txt", "/etc/hostname", "", 5])
def test_files_outside_the_run_are_not_a_part_of_it(copied, wrong):
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["files"] |= {wrong: "0" * 64} if isinstance(wrong, str) else {"history.csv": wrong}
    (copied / "metrics.json").write_text(json.dumps(metrics))
    refused(r"metrics\.json: (files names|not a run's metrics)", load_run, copied)


@pytest.mark.parametrize("changed", [{"config": "13-lead"}, {"classes": {"A": "", "a": ""}}])
def test_a_run_that_cannot_be_is_named(copied, changed):
    metrics = json.loads((copied / "metrics.json").read_text())
    (copied / "metrics.json").write_text(json.dumps(metrics | changed))
    refused(rf"^{copied}: .*13-lead|^{copied}: .*twice in A, a", load_run, copied)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.npz", b"PK\x03\x04 and no directory"),
        ("history.csv", b""),
        ("metrics.json", b"[" * 10**5),
        ("metrics.json", b'{"schema_version": "1", "files": {}}'),
        ("metrics.json", b'{"schema_version": 1, "files": []}'),
    ],
)
def test_files_with_the_right_checksums_that_are_no_run_are_refused(copied, name, content):
    path = copied / "metrics.json"
    (copied / name).write_bytes(content)
    if name != "metrics.json":
        metrics = json.loads(path.read_text())
        metrics["files"][name] = sha256(copied / name)
        path.write_text(json.dumps(metrics))
    refused(r"metrics\.json.*again$", load_run, copied)


def test_starting_a_run_again_takes_back_that_it_was_finished(small, tmp_path):
    settings = settings_for(tmp_path)
    train_run(settings, small)
    interrupted(1, train_run, replace(settings, epochs=3), small)
    refused("not finished", load_run, tmp_path)


def test_runs_on_other_records_are_not_compared(small, tmp_path):
    for config, data in (("12-lead", small), ("1-lead-I", small.select(np.arange(190)))):
        train_run(settings_for(tmp_path / config, config), data)
    refused("other records", load_runs, tmp_path)
    refused("no finished run", load_runs, tmp_path / "nothing")


def test_crossval_pools_the_ten_test_folds_and_leaves_nothing_to_the_next_run(small, tmp_path):
    settings = settings_for(tmp_path, "1-lead-II", protocol="crossval")
    run = train_run(settings, small)
    labelled = small.record_id[small.labels["any"].any(axis=1)]
    assert sorted(run.test.record_id) == sorted(labelled)
    assert sorted(run.validation.record_id) == sorted(labelled)
    assert len(run.checkpoints) == 10
    assert leadmin.load(tmp_path).metadata["provenance"]["test_fold"] == 1
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine too")
    # A network of the first fold has seen what holdout tests, so it must not be found any more.
    run = train_run(replace(settings, protocol="holdout"), small)
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    notes = ["checkpoints/notes.txt", "notes.txt"]
    assert files == {"metrics.json", ".lock", *notes, *run.metrics["files"]}
    assert set(run.metrics["files"]) == {
        "predictions.npz", "history.csv",
        "checkpoints/scratch-seed0.json", "checkpoints/scratch-seed0.safetensors",
    }  # fmt: skip
    assert foreign_files(tmp_path, run.metrics["files"]) == notes
    assert leadmin.load(tmp_path).metadata["provenance"]["test_fold"] == 10


def test_fits_side_by_side_change_no_number_and_keep_their_order(small, tmp_path):
    seen, runs = ([], []), []
    for workers, rows in enumerate(seen, start=1):
        settings = settings_for(tmp_path / str(workers), epochs=2, seeds=2, workers=workers)
        runs.append(train_run(settings, small, on_epoch=rows.append))
    for part in ("validation", "test"):
        alone, beside = (getattr(run, part).logits["scratch"] for run in runs)
        assert np.array_equal(alone, beside)
    alone, beside = (pd.DataFrame(rows).drop(columns="seconds") for rows in seen)
    assert alone.equals(beside)
    assert [*zip(beside["seed"], beside["epoch"], strict=True)] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert runs[1].metrics["provenance"]["n_threads"] == 1
    assert not (tmp_path / "2" / "state").exists()
    for seed in (0, 1):
        name = f"checkpoints/scratch-seed{seed}.safetensors"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    # What goes wrong in a worker reaches the caller as it is.
    (tmp_path / "3" / "state" / "scratch-seed1.safetensors").mkdir(parents=True)
    broken = replace(settings, out=str(tmp_path / "3"))
    refused(r"scratch-seed1\.safetensors.*cannot be written", train_run, broken, small)
    refused("not finished", load_run, tmp_path / "3")


def test_a_run_trains_what_it_starts_from_once_and_gives_the_same_as_if_it_was_there(
    small, any_lead_run, tmp_path
):
    settings = settings_for(tmp_path / "a", "1-lead-V2", recipe="default")
    rows = []
    alone = train_run(settings, small, on_epoch=rows.append)
    assert [row["recipe"] for row in rows] == ["any-lead", "default"]
    assert set(alone.history["recipe"]) == {"default"}
    rows.clear()
    (alone.folder / "metrics.json").unlink()
    train_run(settings, small, on_epoch=rows.append)
    assert [row["recipe"] for row in rows] == ["default"]
    named = replace(settings, out=str(tmp_path / "b"), start_from=str(any_lead_run))
    beside = train_run(named, small)
    assert np.array_equal(alone.test.logits["default"], beside.test.logits["default"])
    assert beside.metrics["settings"]["start_from"] == "any-lead"
    assert not (tmp_path / "b" / "any-lead").exists()
    train_run(replace(named, out=str(tmp_path / "c"), epochs=2), small)


def test_a_start_that_may_have_seen_tested_records_or_has_another_recipe_is_refused(
    runs, small, any_lead_run, tmp_path
):
    settings = settings_for(tmp_path, recipe="default", start_from=str(any_lead_run))
    older = shutil.copytree(any_lead_run, tmp_path / "older")
    metrics = json.loads((older / "metrics.json").read_text())
    del metrics["identity"]
    (older / "metrics.json").write_text(json.dumps(metrics))
    assert load_run(older).identity == {}
    for message, change in (
        ("protocol is 'holdout', not 'crossval'", {"protocol": "crossval"}),
        ("label_policy is 'any', not 'likelihood50'", {"label_policy": "likelihood50"}),
        ("2 of 3 seeds", {"seeds": 3}),
        ("nowhere.*not finished", {"start_from": "nowhere"}),
        ("recipe is 'default', not 'any-lead'", {"start_from": str(runs / "12-lead")}),
        ("no identity, as an earlier version trained it", {"start_from": str(older)}),
    ):
        refused(message, train_run, replace(settings, **change), small)
    other = replace(small, attributes=small.attributes | {"content_sha256": "0"})
    refused("data_sha256", train_run, settings, other)


def test_a_finished_run_is_not_trained_again(copied, runs, any_lead_run, small):
    first = load_run(copied)
    settings = settings_for(copied, "II, i", **BOTH, start_from=str(any_lead_run))

    def never(row):
        raise AssertionError("trained")

    refused("nowhere", train_run, replace(settings, start_from="nowhere"), small)
    elsewhere = replace(settings, workers=2, data="other.h5", tracking="tensorboard")
    with held(copied, "training"):  # nothing is written, so it may be asked for all the same
        again = train_run(elsewhere, small, on_epoch=never)
    assert again.kept
    assert not first.kept
    assert again.metrics == first.metrics
    assert again.history.equals(first.history)
    fewer = small.select(np.arange(len(small)) != 3)
    changed = [{"epochs": 2}, {"seeds": 1}, {"compare_with": ""}, {"label_policy": "likelihood50"}]
    for change, data in [*((one, small) for one in changed), ({}, fewer)]:
        with pytest.raises(AssertionError, match="trained"):
            train_run(replace(settings, start_from="", **change), data, on_epoch=never)
        shutil.rmtree(copied)
        shutil.copytree(runs / "2-lead-I-II", copied)


@pytest.mark.parametrize("name", [f"{CHECKPOINT}.safetensors", "predictions.npz"])
def test_a_run_with_a_damaged_or_missing_file_is_trained_again(
    runs, copied, any_lead_run, small, name
):
    (copied / name).unlink() if name.startswith("check") else (copied / name).write_bytes(b"PK")
    rows = []
    settings = settings_for(copied, "2-lead-I-II", **BOTH, start_from=str(any_lead_run))
    again = train_run(settings, small, on_epoch=rows.append)
    assert len(rows) == 3
    assert not again.kept
    first = load_run(runs / "2-lead-I-II")
    assert np.array_equal(again.test.logits["original"], first.test.logits["original"])


def test_a_folder_has_one_writer_who_is_named_and_must_be_writable(copied, small):
    def content():
        return {p: p.read_bytes() for p in copied.rglob("*") if p.is_file() and p.name != ".lock"}

    before = content()
    holder = rf"another training is running here \(process {os.getpid()} on .* since 2"
    with held(copied, "training"):
        refused(holder, train_run, settings_for(copied, "12-lead"), small)
        refused(holder, train_baseline, "random-network", small, copied)
    assert content() == before
    with held(copied, "training"):
        pass  # whoever ended holds nothing
    rows = []
    below_a_file = settings_for(copied / "history.csv" / "run")
    message = r"history\.csv/run: this folder cannot be written"
    refused(message, train_run, below_a_file, small, on_epoch=rows.append)
    assert not rows


@pytest.mark.parametrize("same", [True, False])
def test_only_what_the_same_code_has_begun_is_continued(small, tmp_path, monkeypatch, same):
    settings = settings_for(tmp_path, epochs=3)
    first, _ = interrupted(2, train_run, settings, small)
    if not same:
        monkeypatch.setattr(train, "code_sha256", lambda: "other")
    again, _ = interrupted(2, train_run, settings, small)
    assert (first["seconds"] == again["seconds"]) is same


def killed_with_its_workers(process):
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.join()
    assert not psutil.wait_procs(workers, timeout=60)[1], "workers outlive the run"


def ask_and_wait(asked):
    list(side_by_side(2)(joblib.delayed(abs)(number) for number in (-1, -2)))
    asked.set()
    time.sleep(600)


def test_workers_without_a_call_end_with_whoever_asked_for_them():
    spawn = get_context("spawn")
    process = spawn.Process(target=ask_and_wait, args=(asked := spawn.Event(),))
    process.start()
    assert asked.wait(120)
    killed_with_its_workers(process)


@pytest.mark.slow
def test_killed_runs_leave_no_worker_behind_and_end_with_the_same_numbers(sample, tmp_path):
    """Kill -9 at random moments, of two fits side by side."""
    data = sample.select(np.arange(0, len(sample.record_id), 3))
    whole = train_run(settings_for(tmp_path / "whole", epochs=5, seeds=2), data)
    rng = np.random.default_rng(7)
    for number in range(10):
        out = tmp_path / f"killed-{number}"
        beside = settings_for(out, epochs=5, seeds=2, workers=2)
        process = get_context("spawn").Process(target=train_run, args=(beside, data))
        process.start()
        deadline = time.monotonic() + 120
        while len(list(out.glob("state/*.safetensors"))) < 2 and time.monotonic() < deadline:
            assert process.is_alive(), "it ended before it could be killed"
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        killed_with_its_workers(process)
        assert not (out / "metrics.json").exists()
        assert min(len(state_of(path)["history"]) for path in out.glob("state/*.safetensors")) > 0
        killed = train_run(settings_for(out, epochs=5, seeds=2), data)
        assert np.array_equal(killed.test.logits["scratch"], whole.test.logits["scratch"]), number
        for path in whole.folder.glob("checkpoints/*.safetensors"):
            assert (out / "checkpoints" / path.name).read_bytes() == path.read_bytes(), number


def state_of(path):
    """How far a fit had come when its state was saved."""
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["progress"])


NO_TRACKERS = ["mlflow", "wandb,mlflow", "tensorboard wandb", "wandb,", ","]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": "3-lead-I-II-V9"}, "12-lead"),
        ({"config": "I,V9"}, "V1, V2, V3"),
        ({"config": 12}, "parameter config is 12; valid: text; change it"),
        ({"recipe": "sead"}, "'sead'; valid: any-lead, default, scratch"),
        ({"compare_with": "default"}, "same recipe"),
        ({"protocol": "bootstrap"}, "holdout, crossval"),
        ({"label_policy": "all"}, "any, likelihood50"),
        ({"seeds": 0}, "seeds is 0; valid: whole numbers from 1 to 100; change it"),
        ({"seeds": 101}, "from 1 to 100"),
        ({"epochs": -1}, "whole numbers from 0"),
        ({"epochs": 2.5}, "epochs is 2.5; valid: whole numbers"),
        ({"epochs": True}, "epochs is True; valid: whole numbers"),
        ({"epoch": 1}, "epoch is no key that there is; valid: config, data, out"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"precision": "half"}, "auto, float32, bfloat16"),
        ({"workers": -1}, "whole numbers from 0"),
        ({"network": "examples/small_network.py:SmallNetwork"}, "recipe from random weights"),
        *(({"tracking": one}, "tracking is .* tensorboard, wandb, or both") for one in NO_TRACKERS),
    ],
)
def test_invalid_parameters_say_what_is_valid(change, message):
    good = {"config": "12-lead", "data": "", "out": "x"}
    RunSettings(**good)
    refused(message, RunSettings, **(good | change))


@pytest.mark.parametrize("config", ["v2, i", "I,V2", " V2,I "])
def test_one_lead_set_has_one_folder(config):
    settings = RunSettings(config=config)
    assert settings.config == "I,V2"
    assert settings.folder.as_posix() == "outputs/adhoc/runs/I,V2"
    assert settings.portable()["out"] == "I,V2"


def test_a_name_that_papermill_injected_must_exist():
    declared = "config: str = 'a'  # which\nepochs = 3"
    check_injected(["import x", declared, "# Parameters\nepochs = 5\n", "more"])
    check_injected(["import x", declared, "more"])
    wrong = ["import x", declared, "# Parameters\nepoch = 5\n"]
    refused("epoch; valid: config, epochs", check_injected, wrong)


def test_data_can_be_an_archive_or_what_was_prepared_from_it(monkeypatch, tmp_path):
    tree = tmp_path / "tree"
    archive = tree / "data" / "sample" / "ptb-xl-sample.zip"
    archive.parent.mkdir(parents=True)
    write_zip(archive, make_files())
    monkeypatch.setattr(sources, "SOURCE_TREE", tree)
    monkeypatch.chdir(tmp_path)
    named = open_dataset(str(archive))
    prepared = tmp_path / "outputs" / "data" / "ptb-xl-sample-100hz.h5"
    assert named.path.resolve() == prepared
    embedded = open_dataset("")
    assert embedded.path == tree / "outputs" / "data" / "ptb-xl-sample-100hz.h5"
    for dataset in (embedded, open_dataset(str(prepared))):
        np.testing.assert_array_equal(dataset.signals, named.signals)
    refused("nowhere", open_dataset, "nowhere")
    archive.unlink()
    refused("the embedded sample is not here", open_dataset, "")


NO_NAMES = ["..", "../up", "", " ", "{x}", "a\nb", "a\0", "x" * 300, "-rf", "data", ".hidden", "é"]


@pytest.mark.parametrize("name", ["sample", "subset", "full", "ablation"])
def test_the_studies_of_the_repository_are_valid(root, name):
    study = load_study(root / "workflow" / "studies" / f"{name}.yml")
    assert study.name == name
    if name == "ablation":
        published = {path.name for path in (root / "book/published/ablation/runs").iterdir()}
        assert study.configurations == ("12-lead",)
        assert set(study.variants) == published <= set(VARIANTS)
    else:
        assert study.configurations == tuple(configurations(beyond=name == "subset"))
        assert study.networks == ("any-lead", *study.configurations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seads": 2}, "seads is no key that there is; valid: name, title"),
        ({"title": None, "source": ...}, "source is missing; add it"),
        ({"configurations": ["12-lead", "V2,I", "I, V2"]}, "names one configuration twice"),
        ({"configurations": []}, "configurations"),
        ({"configurations": ["12-lead", "13-lead"]}, "13-lead"),
        ({"configurations": ["1-lead-I"]}, "must hold 12-lead"),
        ({"configurations": 3}, "'all' or a list"),
        ({"seeds": "two"}, "seeds is 'two'; valid: whole numbers from 1 to 100; change it"),
        ({"recipe": "sead"}, "recipe is 'sead'; valid: any-lead"),
        ({"variants": ["scratch", "magic"]}, "magic; valid, each once: any-lead, default"),
        ({"variants": ["scratch"]}, "an ablation has one"),
        ({"overrides": {"1-lead-V3": {"epochs": 3}}}, "1-lead-V3"),
        ({"overrides": {"12-lead": {"leads": 3}}}, "is 'leads'; valid: 'seeds', 'compare_seeds'"),
        ({"sampling_rate": 250}, "100 or 500"),
        ({"tracking": "mlflow"}, "mlflow.*tensorboard, wandb"),
        *(({"name": name}, "name is .*; valid: 1 to 64 letters, digits") for name in NO_NAMES),
        ({"overrides": {"1-lead-I": {"seeds": 2}, "I": {"seeds": 3}}}, "one configuration twice"),
        ({"overrides": {"12-lead": {"seeds": 10**11}}}, "seeds is 100000000000; valid: whole"),
        ({"source": 5}, "source is 5; valid: text"),
        ({"seeds": 10**11}, "whole numbers from 1 to 100"),
        ({"epochs": -3}, "epochs is -3; valid: whole numbers from 0 to 10000"),
        ({"n_resamples": 10**12}, "whole numbers from 100 to 1000000"),
        ({"n_resamples": 5}, "from 100"),
        ({"compare_configurations": "12-lead"}, "a list of configurations"),
        ({"compare_configurations": ["1-lead-I"]}, "must hold 12-lead"),
        ({"compare_configurations": ["12-lead", "1-lead-II"]}, "among the configurations"),
        *((b, "study.yml") for b in (b"a: [", b"\xff\xfe\x00", b"- a\n- b\n", b"", b"[" * 10**5)),
    ],
)
def test_a_wrong_study_file_says_which_key(tmp_path, change, message):
    path = tmp_path / "study.yml"
    if isinstance(change, bytes):  # no mapping at all
        path.write_bytes(change)
    else:
        fields = {"name": "x", "title": "X", "source": "s"}
        fields |= {"configurations": ["12-lead", "1-lead-I"]} | change
        path.write_text(yaml.safe_dump({k: v for k, v in fields.items() if v is not ...}))
    assert "study.yml" in str(refused(message, load_study, path))


def test_a_derived_study_is_written_once(tmp_path):
    study = Study("x", "X", "s", ("12-lead",), epochs=3)
    path = tmp_path / derive_study(study, tmp_path)
    stamp = path.stat().st_mtime_ns
    derive_study(study, tmp_path)
    assert path.stat().st_mtime_ns == stamp
    assert load_study(path) == study


def test_one_lead_set_has_one_name_in_a_study(tmp_path):
    fields = {"name": "x", "title": "X", "source": "s", "configurations": ["12-LEAD", "V2, I"]}
    fields |= {"overrides": {"v2,i": {"seeds": 4}}, "compare_configurations": ["12-lead", "I,V2"]}
    path = tmp_path / "study.yml"
    path.write_text(yaml.safe_dump(fields))
    study = load_study(path)
    assert study.configurations == study.compare_configurations == ("12-lead", "I,V2")
    assert study.run_parameters("I,V2")["seeds"] == 4
    assert (study.run_name("V2,I"), study.run_name("any-lead")) == ("I,V2", "any-lead")
    assert study.run_parameters("any-lead")["seeds"] == 4


def test_an_ablation_trains_its_variants_on_its_one_configuration():
    study = Study("x", "X", "s", ("12-lead",), variants=("any-lead", "default", "random-network"))
    assert (study.networks, study.baselines) == (("any-lead", "default"), ("random-network",))
    start, fit = (study.run_parameters(name) for name in study.networks)
    assert (start["recipe"], start["start_from"]) == ("any-lead", "")
    assert (fit["recipe"], fit["start_from"], fit["compare_with"]) == ("default", "any-lead", "")
    # Elsewhere the network to start from, which sees twelve leads, is trained inside the run.
    other = replace(study, configurations=("2-lead-I-II",))
    assert other.run_parameters("default")["start_from"] == ""
    assert other.run_parameters("default")["config"] == "2-lead-I-II"
    refused("'scratch' does not exist in the study x; valid: any", study.run_name, "scratch")


def test_overrides_and_the_second_recipe_can_be_kept_to_some_configurations():
    changes = {"overrides": {"1-lead-I": {"epochs": 7}}, "compare_configurations": ("12-lead",)}
    study = Study("x", "X", "s", ("12-lead", "1-lead-I"), **changes)
    twelve, one = (study.run_parameters(name) for name in study.configurations)
    assert (twelve["epochs"], one["epochs"]) == (0, 7)
    assert (twelve["compare_with"], one["compare_with"]) == ("original", "")
    json.dumps(twelve)


def test_a_source_may_come_from_the_environment(root, monkeypatch):
    study = load_study(root / "workflow" / "studies" / "subset.yml")
    monkeypatch.setenv("LEADMIN_PTBXL", "/somewhere/else.zip")
    assert study.source_path.as_posix() == "/somewhere/else.zip"
    monkeypatch.delenv("LEADMIN_PTBXL")
    refused(r"LEADMIN_PTBXL.*not set", lambda: study.source_path)


def test_runs_may_lack_the_second_recipe_but_not_the_first(runs, any_lead_run, small, tmp_path):
    shutil.copytree(runs / "12-lead", tmp_path / "12-lead")
    settings = settings_for(tmp_path / "1-lead-I", recipe="default", start_from=str(any_lead_run))
    train_run(settings, small)
    loaded = load_runs(tmp_path)
    assert [run.recipes for run in loaded.values()] == [("default", "original"), ("default",)]
    train_run(settings_for(tmp_path / "1-lead-I", recipe="original"), small)
    refused("first recipe is original; valid: default", load_runs, tmp_path)


def test_two_folders_of_one_configuration_are_refused_by_name(runs, tmp_path):
    one, other = (shutil.copytree(runs / "12-lead", tmp_path / name) for name in ("a", "b"))
    words = "{}: its configuration is 12-lead, as in {}; valid: one"
    refused(words.format(other, one), load_runs, tmp_path)
    refused(words.format(one, other), load_runs, tmp_path, ["b", "a"])
    assert load_runs(tmp_path, ["a", "a"])["12-lead"].folder == one, "named twice, it is one run"


def test_the_network_that_others_start_from_is_no_configuration_on_trial(
    runs, any_lead_run, tmp_path
):
    folder = shutil.copytree(runs, tmp_path / "runs")
    shutil.copytree(any_lead_run, folder / "any-lead")
    assert list(load_runs(folder)) == ["12-lead", "2-lead-I-II"]
    assert load_run(folder / "any-lead").reads_any_lead
    assert len(leadmin.load("any-lead", folder).leads) == 12
    assert leadmin.load("2-lead-I-II", folder).leads == ("I", "II")


def test_a_folder_is_found_from_here_or_from_the_source_tree(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert located("workflow/studies") == root / "workflow" / "studies"
    assert located("nowhere").name == "nowhere"
    (tmp_path / "workflow" / "studies").mkdir(parents=True)
    assert located("workflow/studies").resolve() == tmp_path / "workflow" / "studies"
    assert to_read("nowhere", "x", "subset/runs")[0].name == "nowhere", "it was swapped"
    path, beside, study = to_read("", "x/runs", "subset/runs")
    assert (path, study["name"]) == (root / "book" / "published" / "subset" / "runs", "subset")
    assert beside.as_posix() == "outputs/adhoc/subset", "nothing is written to what is published"
    monkeypatch.chdir(root / "notebooks")  # as JupyterLab starts it
    assert RunSettings(config="I,V2").folder == root / "outputs" / "adhoc" / "runs" / "I,V2"
