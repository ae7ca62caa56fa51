"""The tools that take the study to full size: an archive by repetition, and what measures steps."""

import sys

import numpy as np
import pandas as pd
import pytest
from archives import SAMPLE, make_files, write_zip
from fresh_folds import fresh_folds
from measure_full_size import measured
from repeat_archive import repeat_archive

from leadmin.data import fetch, ptbxl
from leadmin.data.dataset import load_dataset
from leadmin.data.prepare import prepare


def test_a_repeated_archive_is_one_of_more_records_and_patients(tmp_path):
    source = write_zip(tmp_path / "small.zip", make_files(40))
    repeat_archive(source, tmp_path / "large.zip", 100)
    assert fetch.verify(tmp_path / "large.zip").problems == ()
    found = []
    for name in ("small", "large"):
        prepare(tmp_path / f"{name}.zip", tmp_path / f"{name}.h5")
        found.append(load_dataset(tmp_path / f"{name}.h5"))
    small, large = found
    assert large.record_id.tolist() == list(range(1, 101))
    for copy in range(3):
        rows = np.arange(40 * copy, min(40 * copy + 40, 100))
        np.testing.assert_array_equal(large.signals[rows], small.signals[: len(rows)])
        np.testing.assert_array_equal(large.labels["any"][rows], small.labels["any"][: len(rows)])
        np.testing.assert_array_equal(large.fold[rows], small.fold[: len(rows)])
    by_patient = pd.Series(large.fold).groupby(large.patient_id)
    assert (by_patient.nunique() == 1).all()
    assert set(large.patient_id[:40]).isdisjoint(large.patient_id[40:])


def test_records_of_two_signal_files_are_repeated_too(tmp_path):
    repeat_archive(SAMPLE, tmp_path / "a.zip", 30)
    assert fetch.verify(tmp_path / "a.zip").problems == ()


def test_time_and_memory_are_those_of_all_processes(tmp_path):
    holds = "import time; kept = b'x' * 200_000_000; time.sleep(1)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holds!r}]); {holds}"
    row = measured([sys.executable, "-c", f"kept = b'x' * 10_000_000; {both}"])
    assert float(row["seconds"]) >= 2
    assert 200 < float(row["peak memory, MB"]) < 420
    with pytest.raises(SystemExit, match="ended with 3"):
        measured([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_a_fresh_division_keeps_patients_together_and_balances_labels(tmp_path):
    target = tmp_path / "fresh.zip"
    fresh_folds(SAMPLE, target, 1)
    assert fetch.verify(target).problems == ()
    old, new = (ptbxl.read_table(ptbxl.open_ptbxl(path)) for path in (SAMPLE, target))
    labels = ptbxl.read_labels(ptbxl.open_ptbxl(target), new)["any"]
    np.testing.assert_array_equal(old.record_id, new.record_id)
    fold = pd.Series(new.fold)
    assert (fold != old.fold).mean() > 0.8
    assert (fold.groupby(new.patient_id).nunique() == 1).all()
    shares = pd.DataFrame(labels).groupby(new.fold).mean()
    assert set(shares.index) == set(range(1, 11))
    assert (shares - labels.mean(axis=0)).abs().to_numpy().max() < 0.06
    again = tmp_path / "again.zip"
    fresh_folds(SAMPLE, again, 1)
    assert (ptbxl.read_table(ptbxl.open_ptbxl(again)).fold == new.fold).all()
