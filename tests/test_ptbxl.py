"""Reading PTB-XL: tables, labels, records; the WFDB library is the reference for signals."""

import re

import numpy as np
import pytest
import wfdb
from archives import STATEMENTS, header, make_files, real, sign, write_folder, write_zip
from trouble import refused
from wfdb.io import _header

from leadmin.data import ptbxl
from leadmin.data.archive import FolderArchive, read_checksums
from leadmin.data.records import read_record
from leadmin.leads import LEADS

RECORD = "records100/00000/00001_lr"


@pytest.fixture
def folder(tmp_path):
    return FolderArchive(write_folder(tmp_path / "ptb", make_files(6, rates=(100, 500))))


def write_wfdb(folder, digital, fmt, gain=1000.0, baseline=0, unit="mV"):
    wfdb.wrsamp(
        "r", 100, [unit] * 12, list(LEADS), d_signal=digital, fmt=[fmt] * 12,
        adc_gain=[gain] * 12, baseline=[baseline] * 12, write_dir=str(folder),
    )  # fmt: skip


@pytest.mark.parametrize("fmt", ["16", "80", "212", "24", "32"])
def test_formats_agree_with_the_wfdb_library(tmp_path, fmt):
    """FLAC, format 516, is that of the embedded sample; see there."""
    digital = np.random.default_rng(5).integers(-100, 100, size=(1000, 12))
    write_wfdb(tmp_path, digital, fmt)
    expected = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal.T
    signal, _ = read_record(FolderArchive(tmp_path), "r", 100)
    np.testing.assert_array_equal(signal, expected)
    np.testing.assert_array_equal(signal, digital.T)


@pytest.mark.parametrize(
    ("gain", "baseline", "unit"), [(200.0, 0, "mV"), (1.0, 100, "uV"), (1000.0, -50, "mV")]
)
def test_other_gains_become_microvolts(tmp_path, gain, baseline, unit):
    digital = np.random.default_rng(6).integers(-2000, 2000, size=(1000, 12))
    write_wfdb(tmp_path, digital, "16", gain, baseline, unit)
    physical = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T * (1000 if unit == "mV" else 1)
    signal, _ = read_record(FolderArchive(tmp_path), "r", 100)
    np.testing.assert_allclose(signal, physical, atol=0.5000001)


@pytest.mark.parametrize("gain", [400.0, 2000.0])
def test_halves_of_microvolts_are_rounded_to_even(tmp_path, gain):
    digital = np.random.default_rng(6).integers(-2000, 2000, size=(1000, 12))
    write_wfdb(tmp_path, digital, "16", gain)
    signal, _ = read_record(FolderArchive(tmp_path), "r", 100)
    np.testing.assert_array_equal(signal, np.rint(digital.T * (1000 / gain)))


def test_wfdb_gets_its_tables_back(folder):
    """They are lent as dictionaries while a record is read, whether that works or not."""
    tables = _header.RECORD_SPECS, _header.SIGNAL_SPECS
    read_record(folder, RECORD, 100)
    text = folder.path / f"{RECORD}.hea"
    text.write_text(text.read_text().replace(".dat 16 ", ".dat 516 "))
    refused("cannot be read as WFDB", read_record, folder, RECORD, 100)
    assert _header.RECORD_SPECS is tables[0]
    assert _header.SIGNAL_SPECS is tables[1]


def test_leads_are_found_by_name(folder):
    """A record with its leads in another order is read right, not refused and not mixed up."""
    expected, digests = read_record(folder, RECORD, 100)
    assert [name for name, _ in digests] == [f"{RECORD}.hea", f"{RECORD}.dat"]
    order = np.random.default_rng(1).permutation(12)
    text = folder.path / f"{RECORD}.hea"
    lines = text.read_text().splitlines()
    text.write_text("\n".join([lines[0], *(lines[1 + k] for k in order)]))
    data = folder.path / f"{RECORD}.dat"
    samples = np.frombuffer(data.read_bytes(), "<i2").reshape(-1, 12)
    data.write_bytes(samples[:, order].tobytes())
    found, _ = read_record(folder, RECORD, 100)
    np.testing.assert_array_equal(found, expected)


def with_sample(data, place, value):
    """Header and samples of a record that has another value in a place, with right checksums."""
    samples = np.frombuffer(data, "<i2").reshape(-1, 12).T.copy()
    samples[place] = value
    return header("00001_lr", samples, 100), samples.T.tobytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text, data: (text, data[:-1]), "length"),
        (lambda text, data: (text, data + b"\0\0"), "length"),
        (lambda text, data: (text, b""), "length"),
        (lambda text, data: (text, data[:100] + b"\x55" + data[101:]), "checksum"),
        (lambda text, data: (text.replace(" 100 1000", " 250 1000"), data), "rate"),
        (lambda text, data: (text.replace(" 100 1000", " 100 999"), data), "length"),
        (lambda text, data: (text.replace(" V6", " V5"), data), "leads"),
        (lambda text, data: (text.replace(" V6", " X9"), data), "leads"),
        (lambda text, data: (text.replace("_lr 12", "_lr 11"), data), "header"),
        (lambda text, data: (text.rsplit("\n", 2)[0], data), "header"),
        (lambda text, data: (text.replace("/mV", "/mmHg"), data), "header"),
        (lambda text, data: (text.replace("1000.0(0)", "0(0)"), data), "header"),
        (lambda text, data: (text.replace(".dat 16 ", ".dat 16x2 "), data), "header"),
        (lambda text, data: (text.replace("00001_lr.dat", "../00001_lr.dat"), data), "header"),
        (lambda text, data: (text.replace("00001_lr 12", "00002_lr 12"), data), "header"),
        (lambda text, data: ("", data), "header"),
        (lambda text, data: (text.replace("00001_lr.dat", "absent.dat"), data), "missing"),
        (lambda text, data: (text.replace("1000.0(0)/mV", "1.0(0)/mV"), data), "range: .* mV"),
        (lambda text, data: with_sample(data, ..., 0), "empty: .*zero everywhere"),
        (lambda text, data: with_sample(data, (7, 500), -32768), "invalid: .*invalid in V2"),
    ],
)
def test_bad_records_say_why(folder, change, reason):
    text, data = folder.path / f"{RECORD}.hea", folder.path / f"{RECORD}.dat"
    changed = change(text.read_text(), data.read_bytes())
    text.write_text(changed[0])
    data.write_bytes(changed[1])
    error = refused("records100/00000/", read_record, folder, RECORD, 100)
    assert re.match(reason, f"{error.reason}: {error}")


def test_checksum_list_is_heeded_for_records_and_tables(folder):
    sums = read_checksums(folder)
    with (folder.path / f"{RECORD}.hea").open("a") as text:
        text.write("# a harmless comment\n")
    read_record(folder, RECORD, 100)
    refused("differs from its checksum", read_record, folder, RECORD, 100, sums)
    with (folder.path / ptbxl.DATABASE_FILE).open("a") as table:
        table.write("\n")
    refused(r"ptbxl_database\.csv differs from its checksum", ptbxl.check_tables, folder, sums)


def test_table_of_the_small_archive(folder):
    table = ptbxl.read_table(folder)
    assert table.record_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert table.patient_id.tolist() == [1000, 1001, 1001, 1002, 1002, 1003]
    assert np.isnan(table.age[2])
    assert table.age[0] == 31
    assert table.sex.tolist() == [1, 0, 1, 0, 1, 0]
    assert table.statements[0] == {"IMI": 35.0, "SR": 0.0}
    assert table.metadata["static_noise"].tolist() == [0, 0, 0, 0, 1, 0]
    assert table.metadata["validated_by_human"].tolist() == [0, 0, 1, 0, 0, 1]
    assert table.metadata["scp_codes"][0] == '{"IMI":35,"SR":0}'
    assert table.metadata["device"][0] == "CS-12   E"
    assert set(ptbxl.METADATA_COLUMNS) == set(table.metadata.columns)


def test_label_policies():
    superclasses = {"NORM": "NORM", "IMI": "MI", "NST_": "STTC", "LAFB": "CD", "LVH": "HYP"}
    statements = (
        {"NORM": 100.0, "SR": 0.0},
        {"IMI": 35.0},
        {"NST_": 50.0, "LVH": 49.9},
        {"LAFB": 0.0},
        {"SR": 0.0},
    )
    for policy, expected in (
        ("any", ["10000", "01000", "00101", "00010", "00000"]),
        ("likelihood50", ["10000", "00000", "00100", "00000", "00000"]),
    ):
        found = ptbxl.label_matrix(statements, superclasses, policy)
        assert ["".join(map(str, row)) for row in found.tolist()] == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n2,1001", "\n1,1001", "ecg_id 1 more than once"),
        ("\n2,1001", "\n,1001", "ecg_id is ''"),
        ("\n2,1001", "\n-2,1001", "ecg_id is '-2'"),
        ("\n2,1001", "\n99999999999,1001", "ecg_id is '99999999999'"),
        ("\n2,1001", "\n2.5,1001", "ecg_id is '2.5'"),
        ("1001.0,32.0", "nan,32.0", "patient_id is 'nan'"),
        ("1001.0,32.0", "1001.0,-5", "age is '-5'"),
        ("1001.0,32.0", "1001.0,1e400", "age is '1e400'"),
        ("1001.0,32.0,0", "1001.0,32.0,7", "sex is '7'"),
        ("'LVH': 50.0}", "'LVH': 500.0}", "likelihood from 0 to 100"),
        ("'LVH': 50.0}", "'LVH': '50'}", "likelihood from 0 to 100"),
        ("'LVH': 50.0}", "'LVH': __import__('os')}", "not a dictionary of codes"),
        ("'LVH': 50.0}", "'LVH': 50.0", "not a dictionary"),
        ("{'IMI': 35.0, 'SR': 0.0}", "[1, 2]", "not a dictionary"),
        ("{'IMI': 35.0, 'SR': 0.0}", "", "not a dictionary"),
        ("records100/00000/00002_lr", "../../etc/passwd", "not a relative path"),
        ("records100/00000/00002_lr", "/etc/passwd", "not a relative path"),
        (",strat_fold", ",stratum", "lacks the columns strat_fold"),
        ("ecg_id,patient_id", "ecg_id,ecg_id", "two columns|lacks"),
        (",2,records100", ",11,records100", "strat_fold is '11'"),
        (",2,records100/00000/00003_lr", ",3,records100/00000/00003_lr", "patient_id 1001"),
        ("diagnostic_class", "class", "lacks the columns diagnostic_class"),
        (",MI,IMI", ",HEART,IMI", "'HEART'; valid: NORM, MI"),
        ("1.0,,,HYP,LVH", ",,,HYP,LVH", "no code for the superclass HYP"),
        ("IMI,inferior", "NORM,inferior", "more than once"),
    ],
)
def test_bad_tables_name_column_and_record(tmp_path, old, new, message):
    statements = STATEMENTS.count(old) > 0
    name = ptbxl.STATEMENTS_FILE if statements else ptbxl.DATABASE_FILE
    files = make_files(6)
    text = files[name].decode()
    assert old in text
    changed = sign({**files, name: text.replace(old, new, 1).encode()})
    archive = FolderArchive(write_folder(tmp_path / "p", changed))
    read = ptbxl.read_superclasses if statements else ptbxl.read_table
    assert name in str(refused(message, read, archive))


def test_archive_is_found_at_the_top_or_one_below(tmp_path):
    files = make_files(1)
    folders = [write_folder(tmp_path / "flat", files), write_folder(tmp_path / "out" / "in", files)]
    zips = [write_zip(tmp_path / f"{n}.zip", files, n) for n in ("", ptbxl.TOP_FOLDER)]
    for path in (folders[0], folders[1].parent, *zips):
        assert len(ptbxl.read_table(ptbxl.open_ptbxl(path))) == 1


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (("a", "b"), "found: a, b"),
        (
            ("physionet.org/files/ptb-xl/1.0.1", "physionet.org/files/ptb-xl/1.0.3"),
            r"found: .*ptb-xl/1\.0\.1, .*ptb-xl/1\.0\.3; give",
        ),
    ],
)
def test_two_candidates_are_ambiguous(tmp_path, folders, found):
    for name in folders:
        write_folder(tmp_path / name, make_files(1))
    refused(found, ptbxl.open_ptbxl, tmp_path)


def test_official_counts_of_the_real_subset():
    archive = ptbxl.open_ptbxl(real("LEADMIN_PTBXL"))
    table = ptbxl.read_table(archive)
    counts = ptbxl.read_labels(archive, table)["any"]
    expected = {
        # from the notes that came with the subset
        4373: [2145, 940, 1037, 905, 506],
        ptbxl.N_RECORDS: list(ptbxl.OFFICIAL_COUNTS.values()),
    }
    assert counts.sum(axis=0).tolist() == expected[len(table)]
    first, _ = read_record(archive, table.files[100][0], 100)
    assert first[:3, 0].tolist() == [-119, -55, 64]
    for name in table.files[100][:: len(table) // 25]:
        found, _ = read_record(archive, name, 100)
        if isinstance(archive, FolderArchive):
            reference = wfdb.rdrecord(str(archive.path / name), physical=False).d_signal.T
            np.testing.assert_array_equal(found, reference)
