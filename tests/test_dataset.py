"""Preparing and loading: right, repeatable, resumable, and never half-written."""

import json
import os
import resource
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pandas as pd
import pytest
from archives import make_files, real, sign, signal_of, write_folder, write_zip
from click.testing import Result
from trouble import command_refused, flip, refused
from typer.testing import CliRunner

from leadmin.cli.data import app
from leadmin.data import prepare as preparing
from leadmin.data import ptbxl
from leadmin.data.dataset import EcgDataset, load_dataset
from leadmin.data.prepare import prepare
from leadmin.leads import LEADS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def files():
    return make_files(20, rates=(100, 500))


@pytest.fixture
def archive(files, tmp_path):
    return write_zip(tmp_path / "ptb.zip", files)


def assert_signals(data: EcgDataset, files: dict[str, bytes], name: str) -> None:
    expected = [signal_of(files, name.format(number)) for number in data.record_id]
    np.testing.assert_array_equal(data.signals, expected)


@pytest.fixture
def prepared(archive, tmp_path):
    prepare(archive, tmp_path / "x.h5")
    return tmp_path / "x.h5"


@pytest.mark.parametrize(("rate", "suffix"), [(100, "lr"), (500, "hr")])
def test_prepared_file_holds_the_archive(archive, files, tmp_path, rate, suffix):
    report = prepare(archive, tmp_path / "x.h5", sampling_rate=rate)
    data = load_dataset(tmp_path / "x.h5")
    assert data.signals.shape == (20, 12, 10 * rate)
    assert data.signals.dtype == np.int16
    assert data.duration == 10
    assert_signals(data, files, f"records{rate}/00000/{{:05d}}_{suffix}")
    table = ptbxl.read_table(ptbxl.open_ptbxl(archive))
    for name in ("record_id", "patient_id", "fold", "age", "sex"):
        np.testing.assert_array_equal(getattr(data, name), getattr(table, name))
    pd.testing.assert_frame_equal(data.metadata, table.metadata)
    assert data.labels["any"].shape == data.labels["likelihood50"].shape == (20, 5)
    assert data.class_counts("any").to_dict() == report.class_counts["any"]
    assert (report.n_records, report.n_failed, report.up_to_date) == (20, 0, False)
    expected = {
        "leads": list(LEADS),
        "unit": "uV",
        "source_version": "1.0.3",
        "content_sha256": report.content_sha256,
        "inputs_sha256": report.inputs_sha256,
    }
    assert expected.items() <= data.attributes.items()
    assert data.attributes["created_by"].startswith("leadmin ")


def test_same_bytes_from_zip_and_folder_in_one_process_or_several(
    archive, files, tmp_path, monkeypatch
):
    folder = write_folder(tmp_path / "a" / ptbxl.TOP_FOLDER, files)
    monkeypatch.setattr(preparing, "_BLOCK_BYTES", 100_000)  # several blocks
    prepare(archive, tmp_path / "zip.h5", n_jobs=1)
    prepare(folder, tmp_path / "folder.h5", n_jobs=1)
    monkeypatch.setattr(preparing, "_SMALL", 0)
    prepare(archive, tmp_path / "parallel.h5", n_jobs=2)
    first = (tmp_path / "zip.h5").read_bytes()
    assert (tmp_path / "folder.h5").read_bytes() == first
    assert (tmp_path / "parallel.h5").read_bytes() == first


def test_order_of_rows_does_not_matter(files, tmp_path):
    head, *rows = files[ptbxl.DATABASE_FILE].decode().splitlines()
    shuffled = "\n".join([head, *reversed(rows)]).encode()
    one = prepare(write_zip(tmp_path / "a.zip", files), tmp_path / "a.h5")
    changed = sign({**files, ptbxl.DATABASE_FILE: shuffled})
    two = prepare(write_zip(tmp_path / "b.zip", changed), tmp_path / "b.h5")
    assert one.content_sha256 == two.content_sha256
    assert one.inputs_sha256 != two.inputs_sha256


def test_second_call_does_nothing_unless_forced_or_a_file_was_touched(files, tmp_path):
    folder, target = write_folder(tmp_path / "p", files), tmp_path / "x.h5"
    first = prepare(folder, target)
    stamp = target.stat().st_mtime_ns
    again = prepare(folder, target)
    assert again.up_to_date
    assert target.stat().st_mtime_ns == stamp
    assert again.content_sha256 == first.content_sha256
    os.utime(folder / "records100/00000/00002_lr.dat", ns=(1, 1))
    assert not prepare(folder, target).up_to_date
    assert not prepare(folder, target, force=True).up_to_date


def _changed_source(archive: Path, target: Path) -> None:
    files = make_files(20, rates=(100, 500))
    text = files[ptbxl.DATABASE_FILE].replace(b",31.0,", b",32.0,")
    write_zip(archive, sign({**files, ptbxl.DATABASE_FILE: text}))


@pytest.mark.parametrize(
    ("change", "rate"),
    [
        (_changed_source, 100),
        (lambda *_: None, 500),
        (lambda _, target: target.write_bytes(b"other"), 100),
        (lambda _, target: target.with_suffix(".json").write_text("[]"), 100),
        (lambda _, target: target.unlink(), 100),
        (lambda _, target: flip(target), 100),
    ],
    ids=["source", "rate", "hdf5", "receipt", "hdf5 gone", "damage"],
)
def test_second_call_works_if_something_changed(archive, prepared, change, rate):
    change(archive, prepared)
    assert not prepare(archive, prepared, sampling_rate=rate).up_to_date
    assert load_dataset(prepared).sampling_rate == rate
    assert prepare(archive, prepared, sampling_rate=rate).up_to_date


def test_bad_records_are_listed_and_counted(files, tmp_path):
    changed = dict(files)
    for name in ("00003_lr.hea", "00011_lr.dat"):
        del changed[f"records100/00000/{name}"]
    changed["records100/00000/00007_lr.dat"] = changed["records100/00000/00007_lr.dat"][:-10]
    source, target = write_zip(tmp_path / "p.zip", changed), tmp_path / "x.h5"
    error = refused(r"3 of 20 records .*\(0 allowed\)", prepare, source, target)
    assert "00003_lr.hea is missing" in str(error)
    assert not target.exists()
    refused(r"\(2 allowed\)", prepare, source, target, max_failures=2)
    report = prepare(source, target, max_failures=3)
    table = pd.read_csv(preparing.failures_path(target), index_col="record_id")
    assert table["reason"].to_dict() == {3: "missing", 7: "checksum", 11: "missing"}
    assert [f.record_id for f in report.failures] == [3, 7, 11]
    data = load_dataset(target)
    assert set(range(1, 21)) - set(data.record_id.tolist()) == {3, 7, 11}
    assert data.attributes["n_failed"] == 3
    assert_signals(data, files, "records100/00000/{:05d}_lr")
    assert prepare(source, target, max_failures=3).up_to_date
    # The file that is there had three failures; a stricter call must not accept it, nor harm it.
    before = target.read_bytes()
    refused(r"\(0 allowed\)", prepare, source, target)
    assert target.read_bytes() == before


def test_all_records_failing_is_an_error_whatever_is_allowed(files, tmp_path):
    bare = {name: c for name, c in files.items() if not name.endswith("_lr.dat")}
    source, target = write_zip(tmp_path / "p.zip", bare), tmp_path / "x.h5"
    refused("20 of 20", prepare, source, target, max_failures=100)
    assert not target.exists()


def test_missing_and_foreign_files(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["signals"] = np.zeros(3)
    for name, message in (
        ("no.h5", r"no\.h5: it does not exist"),
        ("", "does not exist or is no file"),
        ("text.h5", "cannot be read as HDF5"),
        ("foreign.h5", r"foreign\.h5: it is HDF5, but was not written by"),
    ):
        refused(message, load_dataset, tmp_path / name)


def _set(name: str, value: object):
    return lambda file: file.attrs.__setitem__(name, value)


def _replace(name: str, value: object):
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def _unstored(n_records: int):
    def change(file: h5py.File) -> None:
        del file["signals"]
        file.create_dataset("signals", (n_records, 12, 1000), "<i2", chunks=(1, 12, 1000))
        file.attrs["n_records"] = n_records

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema_version", 0), "schema_version is 0; valid: 1"),
        (_set("schema_version", 2), "schema_version is 2"),
        (_set("schema_version", "1"), "schema_version is the text '1'; valid: 1"),
        (lambda f: f.attrs.__delitem__("schema_version"), "schema_version is None"),
        (_set("format", "other"), "not written by"),
        (_set("leads", [*LEADS[1:], "I"]), "leads is"),
        (_set("classes", ["NORM"]), "classes is"),
        (_set("unit", "mV"), "unit is the text 'mV'; valid: 'uV'"),
        (_set("sampling_rate", 250), "sampling_rate is 250; valid: 100 or 500"),
        (_set("sampling_rate", np.nan), "sampling_rate is nan"),
        (_set("sampling_rate", 500), "field signals has shape"),
        (_set("n_records", 21), "field signals has shape"),
        (_set("n_records", -1), "n_records is -1"),
        (_set("content_sha256", "0" * 64), "does not agree with its checksum"),
        (lambda f: f.__delitem__("signals"), "field signals is missing"),
        (lambda f: f.__delitem__("labels"), "field labels/any is missing"),
        (lambda f: f.__delitem__("metadata/site"), "field metadata/site is missing"),
        (_replace("fold", np.zeros(19, np.int8)), "field fold has shape"),
        (_replace("fold", np.zeros(20, np.int64)), "field fold has shape .* int64"),
        (_replace("fold", np.ones(20, np.int8)), "does not agree with its checksum"),
        (_replace("signals", np.zeros((20, 12, 1000), "<f4")), "field signals .* float32"),
        (_replace("signals", np.ones((20, 12, 1000), "<i2")), "does not agree"),
        (_replace("labels/any", np.ones((20, 5), np.uint8)), "does not agree"),
        (lambda f: f["signals"].__setitem__((3, 4, 5), 77), "does not agree"),
        (_replace("fold", h5py.ExternalLink("/etc/passwd", "/fold")), "field fold is missing"),
        (_replace("fold", h5py.SoftLink("/sex")), "field fold is missing"),
        (_unstored(20), "not stored completely"),
        (_unstored(10**9), "not stored completely"),
    ],
)
def test_changed_files_are_refused(prepared, change, message):
    with h5py.File(prepared, "r+") as file:
        change(file)
    error = str(refused(message, load_dataset, prepared))
    assert str(prepared) in error
    assert "leadmin data prepare" in error


def test_select_label_policies_and_cooccurrence(prepared):
    data = load_dataset(prepared)
    some = data.select(data.fold == 3)
    assert (some.fold == 3).all()
    assert len(some) == (data.fold == 3).sum() == len(some.metadata)
    back = data.select(np.arange(len(data))[::-1])
    np.testing.assert_array_equal(back.signals, data.signals[::-1])
    np.testing.assert_array_equal(back.labels["any"], data.labels["any"][::-1])
    assert back.metadata["scp_codes"].tolist() == data.metadata["scp_codes"].tolist()[::-1]
    assert len(data.select([])) == 0
    for bad in (np.ones(3, bool), [0.5, 1.0]):
        refused("a mask|by a mask", data.select, bad)
    none = ~data.labels["any"].any(axis=1)
    assert 0 < none.sum() < len(data)
    assert (data.has_superclass("any") == ~none).all()
    assert data.has_superclass("likelihood50").sum() < data.has_superclass("any").sum()
    refused("any, likelihood50", data.has_superclass, "all")
    table = data.cooccurrence("any")
    assert (np.diag(table) == data.class_counts("any")).all()
    both = (data.labels["any"][:, 1] & data.labels["any"][:, 4]).sum()
    assert table.loc["MI", "HYP"] == table.loc["HYP", "MI"] == both > 0


def test_killed_at_any_moment_leaves_nothing_that_passes_for_finished(tmp_path):
    source = write_zip(tmp_path / "in.zip", make_files(300))
    target = tmp_path / "out" / "x.h5"
    killed = 0
    for delay in (0.0, 0.2):
        process = get_context("spawn").Process(target=prepare, args=(source, target))
        process.start()
        started = set(target.parent.glob(".x.h5*"))
        while process.is_alive() and set(target.parent.glob(".x.h5*")) <= started:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if target.exists():
            assert len(load_dataset(target)) == 300
            break
    assert killed
    assert len(load_dataset(prepare(source, target).target)) == 300


def prepare_with_room_for(n_bytes: int, *paths: Path) -> None:
    """A limit on file size fails like a full disk: in the middle of a write, in HDF5's hands."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
    prepare(*paths, n_jobs=1)


def test_full_disk_is_a_clear_error_and_leaves_nothing(archive, tmp_path, capfd):
    target, message = tmp_path / "out" / "x.h5", "cannot be written: File too large"
    with ProcessPoolExecutor(1, get_context("spawn")) as worker:
        for n_bytes in (1, 5000, 200_000, 480_000):
            started = worker.submit(prepare_with_room_for, n_bytes, archive, target)
            refused(message, started.result)
    assert "Traceback" not in capfd.readouterr().err
    assert not target.exists()
    assert not list(target.parent.glob(".x.h5*"))


def test_unwritable_targets(archive, tmp_path, monkeypatch):
    for target in ("/proc/x.h5", "/dev/null/x.h5"):
        refused("cannot be written", prepare, archive, Path(target))
    # A read-only folder is simulated, since tests may run as root, whom no mode keeps out.
    refuse = Mock(side_effect=PermissionError(13, "Permission denied", str(tmp_path)))
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    refused("cannot be written: Permission denied", prepare, archive, tmp_path / "x.h5")


def test_command(archive, tmp_path):
    def run(*options: str) -> Result:
        words = ["prepare", "--from", str(archive), "--to", str(tmp_path / "x.h5"), *options]
        return CliRunner().invoke(app, words)

    result = run()
    assert result.exit_code == 0, result.output
    assert "20 records" in result.output
    assert "nothing to do" in run().output
    command_refused("is 250 Hz; valid: 100 and 500 Hz", run("--rate", "250"))
    refused("max_failures is -1", prepare, archive, tmp_path / "x.h5", max_failures=-1)
    receipt = json.loads((tmp_path / "x.json").read_text())
    assert receipt["n_records"] == 20


def test_the_real_subset(tmp_path):
    report = prepare(real("LEADMIN_PTBXL"), tmp_path / "x.h5")
    start = time.perf_counter()
    data = load_dataset(tmp_path / "x.h5")
    seconds = time.perf_counter() - start
    assert report.n_failed == 0
    assert seconds < 2 * len(data) / 4373
    assert data.class_counts("any").tolist() in (
        [2145, 940, 1037, 905, 506],
        [9514, 5469, 5235, 4898, 2649],
    )
