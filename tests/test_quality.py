"""The data-quality rules: each finds what it says, and hardly anything else."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from archives import make_files, sign, write_zip
from typer.testing import CliRunner

from leadmin.cli.data import app
from leadmin.data import quality
from leadmin.data.card import write_card
from leadmin.data.dataset import EcgDataset
from leadmin.data.prepare import prepare
from leadmin.leads import LEADS, LIMB_LEADS, derive, lead_indices

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def report(sample):
    return quality.assess(sample)


@pytest.fixture(scope="module")
def clean(sample, report):
    """Sixty real records that break no rule."""
    rows = np.flatnonzero(~report.records["any_rule"].to_numpy())
    return sample.select(rows[:: len(rows) // 60][:60])


@pytest.fixture(scope="module")
def written(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    (folder / sample.path.name).symlink_to(sample.path)
    return write_card(sample.path, folder)


def with_signals(data: EcgDataset, signals: np.ndarray) -> EcgDataset:
    return replace(data, signals=signals.astype(np.int16))


def flagged(data: EcgDataset, signals: np.ndarray, rule: str) -> np.ndarray:
    return quality.assess(with_signals(data, signals)).records[rule].to_numpy()


def test_clean_records_stay_clean_and_rules_of_single_leads_find_theirs(clean):
    """V3 holds a value for 0.6 s, aVR jumps to -12 mV, two leads are one, aVF is off by 20 uV."""
    assert not quality.assess(clean).records["any_rule"].any()
    assert len(clean) == 60
    signals = clean.signals.copy()
    v1, v2, avf = lead_indices(["V1", "V2", "aVF"])
    signals[::2, 8, 300:360] = signals[::2, 8, 300:301]
    signals[5, 3, 100] = -12_000
    signals[3, v2] = signals[3, v1]
    signals[7, avf] += 20
    records = quality.assess(with_signals(clean, signals)).records
    found = {rule: np.flatnonzero(records[rule]).tolist() for rule in quality.RULES}
    assert found["flat"] == list(range(0, 60, 2))
    assert found["saturated"] == [5]
    assert found["copied_lead"] == [3]
    assert found["identities_broken"] == [5, 7]


@pytest.mark.parametrize("sign", [1, -1])
def test_clipped(clean, sign):
    """V4 rests at the end of the recorder's range for 0.1 s; for 0.05 s could be a tall wave."""
    signals = clean.signals.astype(np.int32).copy()
    v4 = LEADS.index("V4")
    signals[:, v4] = np.clip(signals[:, v4], -1_400, 1_400)
    for samples, expected in ((10, True), (5, False)):
        held = signals.copy()
        held[:, v4, 500 : 500 + samples] = sign * 1_500
        assert (flagged(clean, held, "clipped") == expected).all()


def test_noisy_and_drifting(clean):
    rng = np.random.default_rng(8)
    weak, strong = (rng.normal(0, amplitude, clean.signals.shape) for amplitude in (5, 60))
    assert flagged(clean, clean.signals + weak, "noisy").mean() < 0.05
    assert flagged(clean, clean.signals + strong, "noisy").all()
    wander = np.sin(2 * np.pi * 0.15 * np.arange(1000) / 100)
    for amplitude, expected in ((50, 0.0), (1200, 1.0)):
        signals = clean.signals + amplitude * wander
        assert flagged(clean, signals, "drifting").mean() == expected


def recorded(data: EcgDataset, **placed: str) -> np.ndarray:
    """The twelve leads that the recorder shows with some electrodes in the place of others.

    RL carries no lead and is taken to be like LL.
    """
    one, two = data.signals[:, :2].astype(float).swapaxes(0, 1)  # LA - RA and LL - RA
    potential = {"RA": 0 * one, "LA": one, "LL": two, "RL": two}
    ra, la, ll = (potential[placed.get(name, name)] for name in ("RA", "LA", "LL"))
    limb = derive(np.stack([la - ra, ll - ra], axis=1), ["I", "II"], LIMB_LEADS)
    # Chest leads are against the mean of RA, LA and LL, which a swap among them leaves alone.
    chest = data.signals[:, 6:] + ((one + two - ra - la - ll) / 3)[:, None]
    return np.rint(np.concatenate([limb, chest], axis=1))


@pytest.mark.parametrize(
    ("rule", "placed", "least"),
    [
        ("arms_reversed", {"RA": "LA", "LA": "RA"}, 0.7),
        ("arm_leg_reversed", {"RA": "LL", "LL": "RA"}, 0.7),
        ("right_leg_misplaced", {"RA": "RL"}, 0.9),
        ("", {"LA": "LL", "LL": "LA"}, 0),  # it mostly looks like another axis
    ],
)
def test_swapped_electrodes_are_found(sample, rule, placed, least):
    """Real records with electrodes swapped by arithmetic; most must be found, few others."""
    some = sample.select(np.arange(0, len(sample), 5))
    assert (recorded(some) == some.signals)[:, :2].all()
    found = quality.assess(with_signals(some, recorded(some, **placed))).records
    if rule:
        assert found[rule].mean() >= least
        assert flagged(some, some.signals, rule).mean() <= 0.01
    else:
        rules = ["arms_reversed", "arm_leg_reversed", "right_leg_misplaced"]
        assert found[rules].any(axis=1).mean() < 0.1


def test_duplicates_across_records(clean):
    signals = clean.signals.copy()
    signals[10] = signals[20]
    report = quality.assess(with_signals(clean, signals))
    first, second = int(clean.record_id[10]), int(clean.record_id[20])
    assert report.duplicates == ((first, second),)
    assert np.flatnonzero(report.records["duplicated"]).tolist() == [10, 20]


def test_patients_that_cross_folds():
    patients = np.array([1, 1, 2, 2, 3])
    assert quality.crossing_patients(patients, np.array([1, 1, 2, 2, 1])) == ()
    assert quality.crossing_patients(patients, np.array([1, 4, 2, 2, 1])) == (1,)


def test_rules_mean_the_same_at_500_hz(clean):
    """A record held for five samples each, at 500 Hz, breaks the same voltage rules."""
    rng = np.random.default_rng(9)
    signals = np.rint(clean.signals + rng.normal(0, 60, clean.signals.shape)).astype(np.int16)
    slow = quality.assess(with_signals(clean, signals)).records
    fast = replace(clean, signals=np.repeat(signals, 5, axis=-1), sampling_rate=500)
    found = quality.assess(fast).records
    for measure in ("noise_uv", "drift_uv", "largest_uv", "corr_I_V6", "range_II_by_III"):
        np.testing.assert_allclose(found[measure], slow[measure], rtol=1e-3)
    np.testing.assert_allclose(found["longest_constant_s"], slow["longest_constant_s"], atol=0.0101)


def test_counts_add_up(sample, report):
    by_fold, by_class = report.by_fold, report.by_class
    assert by_fold.loc["records", "all"] == len(sample)
    folds = [name for name in by_fold.columns if name != "all"]
    assert len(folds) == 10
    assert (by_fold[folds].sum(axis=1) == by_fold["all"]).all()
    assert (by_fold["all"] == by_class["all"]).all()
    assert by_class.loc["records", "MI"] == sample.class_counts("any")["MI"]
    assert list(by_fold.index) == ["records", *quality.RULES, "any_rule"]
    assert report.crossing_patients == ()
    assert report.duplicates == ()


def test_rules_agree_with_the_annotators_notes(sample, report):
    """Records with a note on noise or drift break that rule far more often than others."""
    for rule, note in (("noisy", "static_noise"), ("drifting", "baseline_drift")):
        noted = sample.metadata[note].to_numpy() == 1
        found = report.records[rule].to_numpy()
        assert noted.sum() > 50
        assert found[noted].mean() > 3 * found[~noted].mean()


# --- data card and Croissant ----------------------------------------------------------------


def test_croissant_metadata_describe_the_files(sample, written):
    files = written
    metadata = json.loads(files.croissant.read_text())
    assert metadata["@type"] == "sc:Dataset"
    assert metadata["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", metadata["datePublished"])
    (records,), entries = metadata["recordSet"], metadata["distribution"]
    fields, own = records["field"], "@type @id name"
    for kind, described, wanted in (
        ("sc:Dataset", [metadata], "@context @type name description license url citeAs creator"),
        ("cr:FileObject", entries, f"{own} contentUrl encodingFormat sha256"),
        ("cr:RecordSet", [records], f"{own} field key"),
        ("cr:Field", fields, f"{own} dataType source"),
    ):
        for one in described:
            assert one["@type"] == kind
            assert one.keys() >= set(wanted.split())
    assert len(entries) >= 2
    for entry in entries:
        content = (files.croissant.parent / entry["contentUrl"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["contentSize"] == f"{len(content)} B"
    table = pd.read_csv(files.table)
    assert [field["source"]["extract"]["column"] for field in fields] == list(table.columns)
    known = {entry["@id"] for entry in entries}
    assert {field["source"]["fileObject"]["@id"] for field in fields} <= known
    kinds = {"sc:Integer": "i", "sc:Float": "f", "sc:Text": "OU"}
    for field in fields:
        assert table[field["name"]].dtype.kind in kinds[field["dataType"]]
    assert table["any_HYP"].sum() == sample.class_counts("any")["HYP"]


def test_croissant_is_valid_to_its_own_library(sample, written):
    croissant = pytest.importorskip("mlcroissant")
    data = croissant.Dataset(jsonld=written.croissant)
    first = next(iter(data.records("records")))
    assert int(first["records/record_id"]) == sample.record_id[0]


def test_data_card_counts(sample, report, written):
    text = written.card.read_text()
    counts = {policy: sample.class_counts(policy) for policy in sample.labels}
    of_mi = [str(counts[policy]["MI"]) for policy in ("any", "likelihood50")]
    assert f"| MI | myocardial infarction | {' | '.join(of_mi)} |" in text
    assert f"| {report.by_fold.loc['noisy', 'all']} |" in text
    assert sample.attributes["content_sha256"] in text
    assert "CC BY 4.0" in text
    assert "nan" not in text.casefold().replace("nan unknown", "")


def test_commands_write_files_of_a_tiny_set(tmp_path):
    """Three records, two of one signal and one of unknown age: nothing divides by zero."""

    def done(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output

    data, out, files = tmp_path / "x.h5", tmp_path / "q", make_files(3)
    for name in ("records100/00000/00001_lr.hea", "records100/00000/00001_lr.dat"):
        files[name.replace("00001", "00002")] = files[name].replace(b"00001", b"00002")
    prepare(write_zip(tmp_path / "a.zip", sign(files)), data, quiet=True)
    done("card", "--data", data)
    assert (tmp_path / "x.card.md").is_file()
    assert (tmp_path / "x.croissant.json").is_file()
    done("quality", "--data", data, "--to", out)
    records = pd.read_csv(out / "quality_records.csv")
    assert records["record_id"].tolist() == [1, 2, 3]
    by_fold = pd.read_csv(out / "quality_by_fold.csv", index_col="rule")
    for rule in quality.RULES:
        assert by_fold.loc[rule, "all"] == records[rule].sum() == 2 * (rule == "duplicated")
    refused = CliRunner().invoke(app, ["quality", "--data", "no.h5", "--to", str(out)])
    assert refused.exit_code == 2
