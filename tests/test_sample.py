"""The embedded sample: what it promises, and that it can be cut again."""

import hashlib
import re
import runpy
import sys
import zipfile

import cut_sample as sample
import numpy as np
import pandas as pd
import pytest
import soundfile
import wfdb
from archives import SAMPLE, make_files, real, sign, write_zip
from trouble import refused

from leadmin.data import ptbxl
from leadmin.data.dataset import load_dataset
from leadmin.data.fetch import verify
from leadmin.data.records import read_record
from leadmin.labels import CLASSES

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def table():
    return ptbxl.read_table(ptbxl.open_ptbxl(SAMPLE))


@pytest.fixture(scope="module")
def labels(table):
    return ptbxl.read_labels(ptbxl.open_ptbxl(SAMPLE), table)["any"]


def test_size_and_number():
    folder = SAMPLE.parent
    assert {path.name for path in folder.iterdir()} == {SAMPLE.name, "records.csv", "README.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 19_500_000


def test_layout_is_the_official_archives(table):
    with zipfile.ZipFile(SAMPLE) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {ptbxl.TOP_FOLDER}
        inside = [name.partition("/")[2] for name in names]
        tops = [name for name in inside if "/" not in name]
        assert tops == [
            "LICENSE.txt", "RECORDS", "SHA256SUMS.txt", "ptbxl_database.csv", "scp_statements.csv",
        ]  # fmt: skip
        records = archive.read(f"{ptbxl.TOP_FOLDER}/RECORDS").decode().split()
        assert records == list(table.files[100])
        assert all(re.fullmatch(r"records100/\d{5}/\d{5}_lr", name) for name in records)
        # Nothing in the zip tells when, where or by whom it was made.
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr == 0o100644 << 16


def test_prepared_it_has_the_content_that_every_run_names(sample_file):
    expected = "ab3915beaff04c0c75d167cb03f5b6466552c25b5a8be1822d975896c67b9b49"
    assert load_dataset(sample_file).attributes["content_sha256"] == expected


def test_every_file_agrees_with_its_checksum_and_every_record_reads():
    report = verify(SAMPLE, quiet=True)
    assert report.problems == ()
    assert report.n_records >= 1000
    assert report.n_files == 3 * report.n_records + 4


def test_spread_over_folds_and_superclasses(table, labels):
    folds = np.bincount(table.fold, minlength=11)[1:]
    assert folds.min() >= 0.6 * folds.max()
    per_fold = np.stack([labels[table.fold == fold].sum(axis=0) for fold in range(1, 11)])
    assert per_fold.min() >= 10
    totals = labels.sum(axis=0)
    assert totals.min() >= 0.35 * totals.max()


def test_list_of_ids_and_readme(table, labels):
    listing = pd.read_csv(SAMPLE.parent / "records.csv", keep_default_na=False)
    assert listing["ecg_id"].tolist() == table.record_id.tolist()
    assert listing["patient_id"].tolist() == table.patient_id.tolist()
    assert listing["strat_fold"].tolist() == table.fold.tolist()
    words = [" ".join(np.array(CLASSES)[row == 1]) for row in labels]
    assert listing["superclasses"].tolist() == words
    text = (SAMPLE.parent / "README.md").read_text()
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() in text
    assert f"{len(table):,} records" in text
    for needed in ("CC BY 4.0", ptbxl.DOI, ptbxl.PAPER_DOI, "python workflow/cut_sample.py"):
        assert needed in text


def test_wfdb_library_reads_the_compressed_records(table, tmp_path):
    archive = ptbxl.open_ptbxl(SAMPLE)
    with zipfile.ZipFile(SAMPLE) as opened:
        opened.extractall(tmp_path)
        for name in table.files[100][::300]:
            reference = wfdb.rdrecord(str(tmp_path / ptbxl.TOP_FOLDER / name), physical=True)
            found, _ = read_record(archive, name, 100)
            np.testing.assert_allclose(reference.p_signal.T * 1000, found, atol=1e-6)
            assert reference.sig_name[3] == "AVR"


@pytest.fixture
def source(tmp_path):
    return write_zip(tmp_path / "source.zip", make_files(40))


def test_cut_is_lossless_and_the_same_every_time(source, tmp_path):
    one = sample.cut_sample(source, tmp_path / "one", normal_per_fold=0)
    sample.cut_sample(source, tmp_path / "two", normal_per_fold=0)
    for name in (sample.ARCHIVE_NAME, "records.csv", "README.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    before, after = ptbxl.open_ptbxl(source), ptbxl.open_ptbxl(one)
    table = ptbxl.read_table(after)
    listing = pd.read_csv(tmp_path / "one" / "records.csv")
    assert table.record_id.tolist() == listing["ecg_id"].tolist()
    for name in table.files[100]:
        original, _ = read_record(before, name, 100)
        again, _ = read_record(after, name, 100)
        np.testing.assert_array_equal(original, again)


def test_choice_keeps_pathology_and_whole_patients(source):
    archive = ptbxl.open_ptbxl(source)
    table = ptbxl.read_table(archive)
    labels = ptbxl.read_labels(archive, table)["any"]
    plain = (labels[:, 0] == 1) & (labels.sum(axis=1) == 1)
    assert 0 < plain.sum() < len(table)
    none, all_of_them = (sample.choose_records(table, labels, n) for n in (0, 1000))
    assert list(all_of_them) == list(range(len(table)))
    assert set(np.flatnonzero(~plain)) <= set(none)
    for chosen in (none, all_of_them):
        rows, kinds = list(chosen), np.array(list(chosen.values()))
        patients = np.unique(table.patient_id[rows])
        assert rows == np.flatnonzero(np.isin(table.patient_id, patients)).tolist()
        assert plain[rows][kinds == "normal"].all()
        assert not plain[rows][kinds == "pathology"].any()


def test_resampled_records_are_left_out(tmp_path):
    files = make_files(10)
    rows = "".join(f"{number},{number % 2}\n" for number in range(1, 11))
    files[ptbxl.PROVENANCE_FILE] = f"ecg_id,resampled_from_500_hz\n{rows}".encode()
    path = write_zip(tmp_path / "source.zip", sign(files))
    archive = sample.cut_sample(path, tmp_path / "out", normal_per_fold=100)
    ids = ptbxl.read_table(ptbxl.open_ptbxl(archive)).record_id.tolist()
    assert ids == [2, 4, 6, 8, 10]


def test_command_and_bad_source(source, tmp_path, monkeypatch, capsys):
    def run(source: object, target: str) -> None:
        words = ["cut_sample.py", "--from", str(source), "--to", str(tmp_path / target)]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(sample.__file__, run_name="__main__")

    run(source, "o")
    assert "40 records" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run("no.zip", "p")
    assert "no.zip does not exist" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    files = make_files(4)
    header = files["records100/00000/00002_lr.hea"].replace(b"1000.0(0)", b"500.0(0)")
    odd = write_zip(tmp_path / "odd.zip", sign({**files, "records100/00000/00002_lr.hea": header}))
    refused("cannot be cut", sample.cut_sample, odd, tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_the_embedded_sample_is_what_the_command_cuts(tmp_path):
    archive = sample.cut_sample(real("LEADMIN_PTBXL"), tmp_path)
    assert (tmp_path / "records.csv").read_text() == (SAMPLE.parent / "records.csv").read_text()
    with zipfile.ZipFile(SAMPLE) as old, zipfile.ZipFile(archive) as new:
        assert old.namelist() == new.namelist()
        for name in old.namelist():
            if name.endswith((".hea", ".csv", "RECORDS")):
                assert old.read(name) == new.read(name)
        flac = next(name for name in old.namelist() if name.endswith(".dat"))
        same_encoder = old.read(flac) == new.read(flac)
    if same_encoder:
        assert archive.read_bytes() == SAMPLE.read_bytes()
    else:
        print("another version of libFLAC:", soundfile.__libsndfile_version__)
