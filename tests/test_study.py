import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
import yaml

import leadmin
from leadmin.errors import LeadminError
from leadmin.leads import configurations
from leadmin.study.ablation import VARIANTS
from leadmin.study.identity import code_sha256
from leadmin.study.protocol import splits
from leadmin.study.run import load_run, load_runs
from leadmin.study.settings import RunSettings, Study, check_injected, derive_study, load_study
from leadmin.study.sources import located, open_dataset
from leadmin.study.train import train_run


@pytest.fixture(scope="module")
def runs(small, tmp_path_factory):
    """Two finished runs with both recipes, one epoch each."""
    folder = tmp_path_factory.mktemp("runs")
    for config in ("2-lead-I-II", "12-lead"):
        settings = RunSettings(config=config, data="", out=str(folder / config), epochs=1, seeds=2)
        train_run(settings, small)
    return folder


def test_holdout_is_the_split_of_the_benchmark(sample):
    (split,) = splits(sample, "holdout", "any")
    assert set(sample.fold[split.train]) == set(range(1, 9))
    assert set(sample.fold[split.validation]) == {9}
    assert set(sample.fold[split.test]) == {10}


@pytest.mark.parametrize("policy", ["any", "likelihood50"])
def test_crossval_tests_every_labelled_record_once(sample, policy):
    divisions = splits(sample, "crossval", policy)
    tested = np.concatenate([split.test for split in divisions])
    assert sorted(tested) == list(np.flatnonzero(sample.labels[policy].any(axis=1)))
    for split in divisions:
        patients = [set(sample.patient_id[part]) for part in (split.train, split.validation)]
        assert not patients[0] & patients[1]
        assert not (patients[0] | patients[1]) & set(sample.patient_id[split.test])


def test_a_missing_fold_is_named(sample):
    with pytest.raises(LeadminError, match="fold 9"):
        splits(sample.select(sample.fold != 9), "holdout", "any")


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


def test_metrics_hold_no_path_of_this_machine(runs):
    text = (runs / "2-lead-I-II" / "metrics.json").read_text()
    assert str(runs) not in text
    assert "/tmp" not in text


def test_runs_come_in_the_order_of_the_registry(runs):
    assert list(load_runs(runs)) == ["12-lead", "2-lead-I-II"]


def test_a_run_without_metrics_is_unfinished(runs, tmp_path):
    for name in ("predictions.npz", "history.csv"):
        (tmp_path / name).write_bytes((runs / "12-lead" / name).read_bytes())
    with pytest.raises(LeadminError, match="not finished"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["predictions.npz", "history.csv", "metrics.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "foreign"])
def test_a_damaged_run_is_refused(runs, tmp_path, name, how):
    for path in (runs / "12-lead").glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    victim = tmp_path / name
    if how == "cut":
        victim.write_bytes(victim.read_bytes()[:-40])
    elif how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(b"\x80\x04not what it says")
    with pytest.raises(LeadminError, match=name if how != "gone" else "run it again|run the conf"):
        load_run(tmp_path)


def test_starting_a_run_again_takes_back_that_it_was_finished(runs, small, tmp_path):
    settings = RunSettings(config="1-lead-I", data="", out=str(tmp_path), epochs=2, compare_with="")
    train_run(settings, small)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(replace(settings, epochs=3), small, on_epoch=stop)
    with pytest.raises(LeadminError, match="not finished"):
        load_run(tmp_path)


def test_runs_on_other_records_are_not_compared(runs, small, tmp_path):
    for config, data in (("12-lead", small), ("1-lead-I", small.select(np.arange(190)))):
        settings = RunSettings(
            config=config, data="", out=str(tmp_path / config), epochs=1, compare_with=""
        )
        train_run(settings, data)
    with pytest.raises(LeadminError, match="other records"):
        load_runs(tmp_path)


def test_no_runs_at_all(tmp_path):
    with pytest.raises(LeadminError, match="no finished run"):
        load_runs(tmp_path)


def test_crossval_pools_the_ten_test_folds(small, tmp_path):
    settings = RunSettings(
        config="1-lead-II",
        data="",
        out=str(tmp_path),
        epochs=1,
        compare_with="",
        protocol="crossval",
    )
    run = train_run(settings, small)
    labelled = small.record_id[small.labels["any"].any(axis=1)]
    assert sorted(run.test.record_id) == sorted(labelled)
    assert sorted(run.validation.record_id) == sorted(labelled)
    assert len(list((tmp_path / "checkpoints").glob("*.json"))) == 10


def test_fits_side_by_side_change_no_number_and_keep_their_order(small, tmp_path):
    seen, runs = {1: [], 2: []}, {}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for workers, rows in seen.items():
            settings = RunSettings(
                config="1-lead-II", data="", out=str(tmp_path / str(workers)), epochs=2, seeds=2
            )
            settings = replace(settings, workers=workers, compare_with="", recipe="scratch")
            runs[workers] = train_run(settings, small, on_epoch=rows.append)
    finally:
        torch.set_num_threads(threads)
    alone, beside = runs[1], runs[2]
    for part in ("validation", "test"):
        one, other = (getattr(run, part).logits["scratch"] for run in (alone, beside))
        assert np.array_equal(one, other)
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows] for rows in seen.values()
    ]
    assert timeless[0] == timeless[1]
    assert [(row["seed"], row["epoch"]) for row in seen[2]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert beside.metrics["provenance"]["n_threads"] == 1
    assert not (tmp_path / "2" / "state").exists()
    for seed in (0, 1):
        name = f"checkpoints/scratch-seed{seed}.safetensors"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.fixture(scope="module")
def any_lead_run(small, tmp_path_factory):
    """A finished run of the any-lead network, one epoch."""
    out = str(tmp_path_factory.mktemp("start") / "any-lead")
    settings = RunSettings(config="12-lead", data="", out=out, recipe="any-lead", epochs=1)
    return train_run(replace(settings, compare_with=""), small).folder


def test_a_run_trains_what_it_starts_from_once_and_gives_the_same_as_if_it_was_there(
    small, any_lead_run, tmp_path
):
    settings = RunSettings(config="1-lead-V2", data="", out=str(tmp_path / "a"), epochs=1)
    settings = replace(settings, compare_with="")
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "crossval"}, "protocol is 'holdout', not 'crossval'"),
        ({"label_policy": "likelihood50"}, "label_policy is 'any', not 'likelihood50'"),
        ({"seeds": 2}, "1 of 2 seeds"),
        ({"start_from": "nowhere"}, "nowhere.*not finished"),
    ],
)
def test_a_start_that_may_have_seen_tested_records_is_refused(
    small, any_lead_run, tmp_path, change, message
):
    settings = RunSettings(
        config="1-lead-V2", data="", out=str(tmp_path), epochs=1, start_from=str(any_lead_run)
    )
    with pytest.raises(LeadminError, match=message):
        train_run(replace(settings, **change), small)


def test_a_start_on_other_records_or_of_another_recipe_is_refused(
    runs, small, any_lead_run, tmp_path
):
    settings = RunSettings(
        config="1-lead-V2", data="", out=str(tmp_path), epochs=1, start_from=str(any_lead_run)
    )
    with pytest.raises(LeadminError, match="data_sha256"):
        train_run(settings, replace(small, attributes=small.attributes | {"content_sha256": "0"}))
    with pytest.raises(LeadminError, match="recipe is 'default', not 'any-lead'"):
        train_run(replace(settings, start_from=str(runs / "12-lead")), small)
    shutil.copytree(any_lead_run, tmp_path / "older")
    metrics = json.loads((any_lead_run / "metrics.json").read_text())
    del metrics["identity"]
    (tmp_path / "older" / "metrics.json").write_text(json.dumps(metrics))
    assert load_run(tmp_path / "older").identity is None
    with pytest.raises(LeadminError, match="no identity, as an earlier version trained it"):
        train_run(replace(settings, start_from=str(tmp_path / "older")), small)


def test_a_finished_run_is_not_trained_again(runs, small, tmp_path):
    folder = shutil.copytree(runs / "2-lead-I-II", tmp_path / "run")
    first = load_run(folder)
    settings = RunSettings(config="II, i", data="", out=str(folder), epochs=1, seeds=2)

    def never(row):
        raise AssertionError("trained")

    with pytest.raises(LeadminError, match="nowhere"):
        train_run(replace(settings, start_from="nowhere"), small)
    elsewhere = replace(settings, workers=2, data="other.h5", tracking="tensorboard")
    again = train_run(elsewhere, small, on_epoch=never)
    assert again.kept
    assert not first.kept
    assert again.metrics == first.metrics
    assert again.history.equals(first.history)
    changed = {"epochs": 2, "seeds": 1, "compare_with": "", "label_policy": "likelihood50"}
    for name, value in changed.items():
        with pytest.raises(AssertionError, match="trained"):
            train_run(replace(settings, **{name: value}), small, on_epoch=never)
        shutil.rmtree(folder)
        shutil.copytree(runs / "2-lead-I-II", folder)
    fewer = small.select(np.arange(len(small)) != 3)
    with pytest.raises(AssertionError, match="trained"):
        train_run(settings, fewer, on_epoch=never)


def test_a_run_whose_checkpoint_is_gone_is_trained_again(runs, small, tmp_path):
    folder = shutil.copytree(runs / "2-lead-I-II", tmp_path / "run")
    (folder / "checkpoints" / "original-seed0.safetensors").unlink()
    rows = []
    settings = RunSettings(config="2-lead-I-II", data="", out=str(folder), epochs=1, seeds=2)
    again = train_run(settings, small, on_epoch=rows.append)
    assert len(rows) == 3
    assert not again.kept
    first = load_run(runs / "2-lead-I-II")
    assert np.array_equal(again.test.logits["original"], first.test.logits["original"])


@pytest.mark.parametrize("same", [True, False])
def test_only_what_the_same_code_has_begun_is_continued(small, tmp_path, same):
    settings = RunSettings(
        config="1-lead-I", data="", out=str(tmp_path), epochs=3, recipe="scratch"
    )
    rows = []

    def stop(row):
        rows.append(row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_run(replace(settings, compare_with=""), small, on_epoch=stop)
        if not same:
            (tmp_path / "state" / "code").write_text("other")
    first, _, again, _ = rows
    assert (first["seconds"] == again["seconds"]) is same


def test_an_error_in_a_worker_reaches_the_caller_as_it_is(small, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "code").write_text(code_sha256())
    (tmp_path / "state" / "scratch-seed1.safetensors").write_bytes(b"no tensors")
    settings = RunSettings(
        config="1-lead-II", data="", out=str(tmp_path), epochs=1, seeds=2, workers=2
    )
    settings = replace(settings, recipe="scratch")
    with pytest.raises(LeadminError, match=r"scratch-seed1\.safetensors.*delete the file"):
        train_run(replace(settings, compare_with=""), small)
    with pytest.raises(LeadminError, match="not finished"):
        load_run(tmp_path)


KILLED = """
import sys
from pathlib import Path
import torch
from leadmin.data.dataset import load_dataset
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run
torch.set_num_threads(1)
data = load_dataset(Path(sys.argv[1]))
settings = RunSettings(
    config="1-lead-II", data="", out=sys.argv[2], epochs=5, seeds=2, compare_with="",
    workers=int(sys.argv[3]),
)
train_run(settings, data)
"""


def test_a_killed_run_leaves_no_worker_behind_and_ends_with_the_same_numbers(sample_file, tmp_path):
    def started(out, workers):
        command = [sys.executable, "-c", KILLED, str(sample_file), str(out), str(workers)]
        return subprocess.Popen(command, start_new_session=True)

    process = started(tmp_path / "killed", 2)
    state = tmp_path / "killed" / "state"
    deadline = time.monotonic() + 120
    while len(list(state.glob("*.safetensors"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    workers = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
    assert workers
    process.kill()
    process.wait()
    gone = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < gone:
        time.sleep(0.1)
    assert not [pid for pid in workers if psutil.pid_exists(pid)], "workers outlive the run"
    assert not (tmp_path / "killed" / "metrics.json").exists()
    assert started(tmp_path / "killed", 2).wait() == 0
    assert started(tmp_path / "whole", 1).wait() == 0
    killed, whole = load_run(tmp_path / "killed"), load_run(tmp_path / "whole")
    assert np.array_equal(killed.test.logits["default"], whole.test.logits["default"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": "3-lead-I-II-V9"}, "12-lead"),
        ({"config": "I,V9"}, "V1, V2, V3"),
        ({"config": 12}, "parameter config is 12; valid: text; change it"),
        ({"recipe": "sead"}, "'sead'; valid: any-lead, any-lead-taught, default, scratch"),
        ({"compare_with": "default"}, "same recipe"),
        ({"protocol": "bootstrap"}, "holdout, crossval"),
        ({"label_policy": "all"}, "any, likelihood50"),
        ({"seeds": 0}, "seeds is 0; valid: whole numbers from 1 to 100; change it"),
        ({"seeds": 101}, "from 1 to 100"),
        ({"epochs": -1}, "whole numbers from 0"),
        ({"epochs": 2.5}, "epochs is 2.5; valid: whole numbers"),
        ({"epochs": True}, "epochs is True; valid: whole numbers"),
        ({"compiled": 1}, "compiled is 1; valid: a valid boolean"),
        ({"epoch": 1}, "epoch is no key that there is; valid: config, data, out"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"precision": "half"}, "auto, float32, bfloat16"),
        ({"workers": -1}, "whole numbers from 0"),
    ],
)
def test_invalid_parameters_say_what_is_valid(change, message):
    good = {"config": "12-lead", "data": "", "out": "x"}
    RunSettings(**good)
    with pytest.raises(LeadminError, match=message):
        RunSettings(**(good | change))


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
    with pytest.raises(LeadminError, match=r"epoch; valid: config, epochs"):
        check_injected(["import x", declared, "# Parameters\nepoch = 5\n"])


def test_data_can_be_an_archive_or_what_was_prepared_from_it(
    root, sample_file, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    prepared = open_dataset(str(sample_file))
    embedded = open_dataset("")
    named = open_dataset(str(root / "data" / "sample" / "ptb-xl-sample.zip"))
    for dataset in (embedded, named):
        np.testing.assert_array_equal(dataset.signals, prepared.signals)
    assert (tmp_path / "outputs" / "data" / "ptb-xl-sample-100hz.h5").is_file()
    with pytest.raises(LeadminError, match="nowhere"):
        open_dataset("nowhere")


@pytest.mark.parametrize("name", ["sample", "subset", "full", "ablation"])
def test_the_studies_of_the_repository_are_valid(root, name):
    study = load_study(root / "workflow" / "studies" / f"{name}.yml")
    assert study.name == name
    if name == "ablation":
        published = {path.name for path in (root / "book/published/ablation/runs").iterdir()}
        assert study.configurations == ("12-lead",)
        assert set(study.variants) == published <= set(VARIANTS)
    else:
        assert study.configurations == tuple(configurations())
        assert study.networks == ("any-lead", *configurations())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seads": 2}, "seads is no key that there is; valid: name, title"),
        ({"title": None, "source": ...}, "source is missing; add it"),
        ({"configurations": ["12-lead", "V2,I", "I, V2"]}, "names one configuration twice"),
        ({"configurations": []}, "configurations"),
        ({"configurations": ["12-lead", "13-lead"]}, "13-lead"),
        ({"configurations": ["1-lead-I"]}, "must hold 12-lead"),
        ({"configurations": ["12-lead", "12-lead"]}, "twice"),
        ({"configurations": 3}, "'all' or a list"),
        ({"seeds": "two"}, "seeds is 'two'; valid: whole numbers from 1 to 100; change it"),
        ({"recipe": "sead"}, "recipe is 'sead'; valid: any-lead"),
        (
            {"variants": ["scratch", "magic"]},
            "magic; valid, each once: any-lead, any-lead-taught, default",
        ),
        ({"variants": ["scratch"]}, "an ablation has one"),
        ({"overrides": {"1-lead-V3": {"epochs": 3}}}, "1-lead-V3"),
        ({"overrides": {"12-lead": {"leads": 3}}}, "unknown leads"),
        ({"sampling_rate": 250}, "100 or 500"),
        ({"name": "../up"}, "folder name"),
        ({"name": ".."}, "folder name"),
        ({"n_resamples": 5}, "from 100"),
        ({"compare_configurations": "12-lead"}, "a list of configurations"),
        ({"compare_configurations": ["1-lead-I"]}, "must hold 12-lead"),
        ({"compare_configurations": ["12-lead", "1-lead-II"]}, "among the configurations"),
    ],
)
def test_a_wrong_study_file_says_which_key(tmp_path, change, message):
    fields = {"name": "x", "title": "X", "source": "s", "configurations": ["12-lead", "1-lead-I"]}
    fields = {key: value for key, value in (fields | change).items() if value is not ...}
    path = tmp_path / "study.yml"
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(LeadminError, match=message) as caught:
        load_study(path)
    assert "study.yml" in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"- a\n- b\n", b""])
def test_a_study_file_that_is_no_mapping_is_refused(tmp_path, content):
    path = tmp_path / "study.yml"
    path.write_bytes(content)
    with pytest.raises(LeadminError, match=r"study\.yml"):
        load_study(path)


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
    with pytest.raises(LeadminError, match="'scratch' does not exist in the study x; valid: any"):
        study.run_name("scratch")


def test_overrides_reach_one_configuration_only():
    study = Study("x", "X", "s", ("12-lead", "1-lead-I"), overrides={"1-lead-I": {"epochs": 7}})
    assert study.run_parameters("1-lead-I")["epochs"] == 7
    assert study.run_parameters("12-lead")["epochs"] == 0
    json.dumps(study.run_parameters("12-lead"))


def test_the_second_recipe_can_be_kept_to_some_configurations():
    study = Study("x", "X", "s", ("12-lead", "1-lead-I"), compare_configurations=("12-lead",))
    assert study.run_parameters("12-lead")["compare_with"] == "original"
    assert study.run_parameters("1-lead-I")["compare_with"] == ""


def test_a_source_may_come_from_the_environment(root, monkeypatch):
    study = load_study(root / "workflow" / "studies" / "subset.yml")
    monkeypatch.setenv("LEADMIN_PTBXL", "/somewhere/else.zip")
    assert study.source_path.as_posix() == "/somewhere/else.zip"
    monkeypatch.delenv("LEADMIN_PTBXL")
    with pytest.raises(LeadminError, match=r"LEADMIN_PTBXL.*not set"):
        _ = study.source_path


def test_runs_may_lack_the_second_recipe_but_not_the_first(runs, small, tmp_path):
    shutil.copytree(runs / "12-lead", tmp_path / "12-lead")
    fast = {"data": "", "epochs": 1, "seeds": 2}
    out = str(tmp_path / "1-lead-I")
    train_run(RunSettings(config="1-lead-I", out=out, compare_with="", **fast), small)
    loaded = load_runs(tmp_path)
    assert [run.recipes for run in loaded.values()] == [("default", "original"), ("default",)]
    settings = RunSettings(config="1-lead-I", out=out, recipe="original", compare_with="", **fast)
    train_run(settings, small)
    with pytest.raises(LeadminError, match=r"first recipe is original; valid: default"):
        load_runs(tmp_path)


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
