"""The data-quality rules: each finds what it says, and hardly anything else."""

import hashlib
import json
from dataclasses import replace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from archives import make_files, write_zip
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


def electrodes(data: EcgDataset) -> dict[str, np.ndarray]:
    """Potentials of the four limb electrodes, up to a common term, in microvolts."""
    one, two = data.signals[:, 0].astype(float), data.signals[:, 1].astype(float)
    # I = LA - RA, II = LL - RA; RL carries no lead and is taken to be like LL.
    return {"RA": 0 * one, "LA": one, "LL": two, "RL": two}


def recorded(data: EcgDataset, placed: dict[str, np.ndarray]) -> np.ndarray:
    """The twelve leads that the recorder shows with electrodes where ``placed`` says."""
    limb = np.stack([placed["LA"] - placed["RA"], placed["LL"] - placed["RA"]], axis=1)
    signals = data.signals.astype(float).copy()
    signals[:, :6] = derive(limb, ["I", "II"], LIMB_LEADS)
    # Chest leads are against the mean of RA, LA and LL, which a swap among them leaves alone.
    original = electrodes(data)
    terminal = {k: (p["RA"] + p["LA"] + p["LL"]) / 3 for k, p in (("o", original), ("p", placed))}
    signals[:, 6:] += (terminal["o"] - terminal["p"])[:, None]
    return np.rint(signals)


@pytest.mark.parametrize(
    ("rule", "swap", "least"),
    [
        ("arms_reversed", ("RA", "LA"), 0.7),
        ("arm_leg_reversed", ("RA", "LL"), 0.7),
        ("right_leg_misplaced", ("RA", "RL"), 0.9),
    ],
)
def test_swapped_electrodes_are_found(sample, rule, swap, least):
    """Real records with electrodes swapped by arithmetic; most must be found, few others."""
    some = sample.select(np.arange(0, len(sample), 5))
    assert (recorded(some, electrodes(some)) == some.signals)[:, :2].all()
    placed = electrodes(some)
    placed[swap[0]], placed[swap[1]] = placed[swap[1]], placed[swap[0]]
    found = flagged(some, recorded(some, placed), rule)
    assert found.mean() >= least
    assert flagged(some, some.signals, rule).mean() <= 0.01


def test_swapped_left_arm_and_leg_escapes(sample):
    """No rule claims to find it: it mostly looks like another axis."""
    some = sample.select(np.arange(0, len(sample), 5))
    placed = electrodes(some)
    placed["LA"], placed["LL"] = placed["LL"], placed["LA"]
    report = quality.assess(with_signals(some, recorded(some, placed)))
    rules = ["arms_reversed", "arm_leg_reversed", "right_leg_misplaced"]
    assert report.records[rules].any(axis=1).mean() < 0.1


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


def test_files_and_command(sample, tmp_path):
    runner = CliRunner()
    ask = ["quality", "--data", str(sample.path), "--to", str(tmp_path / "q")]
    result = runner.invoke(app, ask)
    assert result.exit_code == 0, result.output
    records = pd.read_csv(tmp_path / "q" / "quality_records.csv")
    assert records["record_id"].tolist() == sample.record_id.tolist()
    by_fold = pd.read_csv(tmp_path / "q" / "quality_by_fold.csv", index_col="rule")
    assert int(by_fold.loc["noisy", "all"]) == int(records["noisy"].sum())
    assert runner.invoke(app, ["quality", "--data", "no.h5", "--to", "x"]).exit_code == 2


# --- data card and Croissant ----------------------------------------------------------------


def _listed(kind: str, needed: str, least: int = 1, **properties: object) -> dict[str, object]:
    """Schema of a list of objects of one ``@type`` that have the ``needed`` fields."""
    known = {"@type": {"const": kind}, **properties}
    items = {"required": ["@type", "@id", "name", *needed.split()], "properties": known}
    return {"minItems": least, "items": items}


_SCHEMA = {
    "type": "object",
    "required": [
        "@context", "@type", "name", "description", "conformsTo", "license", "url", "citeAs",
        "creator", "datePublished", "version", "distribution", "recordSet",
    ],
    "properties": {
        "@type": {"const": "sc:Dataset"},
        "conformsTo": {"const": "http://mlcommons.org/croissant/1.0"},
        "version": {"pattern": r"^\d+\.\d+\.\d+$"},
        "datePublished": {"pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "distribution": _listed(
            "cr:FileObject", "contentUrl encodingFormat sha256", 2,
            sha256={"pattern": "^[0-9a-f]{64}$"},
        ),
        "recordSet": _listed(
            "cr:RecordSet", "field key",
            field=_listed(
                "cr:Field", "dataType source",
                dataType={"enum": ["sc:Integer", "sc:Float", "sc:Text"]},
            ),
        ),
    },
}  # fmt: skip


def test_croissant_metadata_describe_the_files(sample, written):
    files = written
    metadata = json.loads(files.croissant.read_text())
    jsonschema.validate(metadata, _SCHEMA)
    for entry in metadata["distribution"]:
        content = (files.croissant.parent / entry["contentUrl"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["contentSize"] == f"{len(content)} B"
    table = pd.read_csv(files.table)
    fields = metadata["recordSet"][0]["field"]
    assert [field["source"]["extract"]["column"] for field in fields] == list(table.columns)
    known = {entry["@id"] for entry in metadata["distribution"]}
    assert {field["source"]["fileObject"]["@id"] for field in fields} <= known
    kinds = {"sc:Integer": "i", "sc:Float": "f", "sc:Text": "O"}
    for field in fields:
        kind = table[field["name"]].dtype.kind
        assert kind in kinds[field["dataType"]] or (kind == "U" and field["dataType"] == "sc:Text")
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


def test_card_of_a_tiny_set_and_command(tmp_path):
    """Two records, one of unknown age: nothing divides by zero."""
    archive = write_zip(tmp_path / "a.zip", make_files(3))
    prepare(archive, tmp_path / "x.h5", quiet=True)
    result = CliRunner().invoke(app, ["card", "--data", str(tmp_path / "x.h5")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "x.card.md").is_file()
    assert (tmp_path / "x.croissant.json").is_file()
