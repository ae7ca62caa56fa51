"""Other hospitals, noise and lost electrodes: what is done to records, and what is made of it."""

import dataclasses
import zipfile
from collections import Counter

import cost
import numpy as np
import pytest
import torch
import trials
import wfdb
from archives import real
from cost import multiply_adds
from disturbances import (
    ELECTRODES,
    INDEPENDENT,
    arms_swapped,
    flat_without,
    leads_without,
    noisy_without,
    power,
    read_noise,
    segments,
    with_noise,
)
from hospitals import (
    HospitalRecord,
    LeftOut,
    read_hospitals,
    same_as,
    statements,
    superclasses,
)
from taught import compare, teach, with_noisy_copies
from test_recordings import write_wfdb
from torch import nn
from trouble import refused

import leadmin
from leadmin.errors import LeadminError
from leadmin.evidence import trials as evidence_of_trials
from leadmin.evidence.trials import TOGETHER, gather_hospitals, gather_own, rank_correlation
from leadmin.evidence.trials import recalibrated as mend
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, configurations, identity_residuals, representative, resolve, span
from leadmin.metrics import auroc
from leadmin.net.checkpoint import load_checkpoint
from leadmin.questions import questions, read_tables, study_tables
from leadmin.questions.elsewhere import statement_table
from leadmin.questions.fallen import FIXED
from leadmin.questions.noise import NOISES
from leadmin.study.mapping import lead_sets, map_run
from leadmin.study.protocol import splits
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run

RNG = np.random.default_rng(0)


def noise(channels=2, n_samples=9000):
    return RNG.normal(size=(channels, n_samples)).astype(np.float32)


def added_to(n_records):
    """A segment of noise for each record."""
    return segments(noise(1, 5000), n_records, 1, 1000, RNG)[:, 0]


PLACES = [LEADS.index(lead) for lead in INDEPENDENT]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("Dx: RBBB", {"CD"}),
        ("Dx: AF", set()),
        ("Dx: Normal", {"NORM"}),
        ("Dx: 164873001,164934002", {"HYP", "STTC"}),
        ("Dx: 426783006", set()),  # sinus rhythm is not said to be normal
        ("Dx: 425623009, 270492004", {"STTC", "CD"}),
        ("Diagnoses: Rhythm: Sinus rhythm. | STEMI: septal.", {"MI"}),
        ("Diagnoses: Left atrial overload. | I degree AV block.", {"HYP", "CD"}),
        ("Diagnoses: Ventricular extrasystole, type: couplet. | Ischemia: apical.", {"STTC"}),
    ],
)
def test_statements_of_each_hospital_mean_what_the_table_says(comment, expected):
    labels = superclasses(statements(["Age: 65", comment, "Sex: Male"]))
    assert {name for name, said in zip(CLASSES, labels, strict=True) if said} == expected


@pytest.mark.parametrize(
    ("comment", "why"),
    [
        ("Dx: 999", "unknown statement: 999"),
        ("Dx: RBBB,Something", "unknown statement: Something"),
        ("Dx: STE", "unsure statement: STE"),
        ("Diagnoses: Undefined ischemia/scar/supp.NSTEMI: apical.", "unsure statement: Undefined"),
        ("Diagnoses: Dextrocardia.", "unknown statement: Dextrocardia"),
        ("Dx: ", "no statement"),
        ("Age: 65", "no statement"),
    ],
)
def test_what_is_unknown_or_unsure_is_refused_and_named(comment, why):
    with pytest.raises(LeadminError, match=why):
        superclasses(statements([comment]))


def test_the_table_of_statements_is_complete():
    table = statement_table()
    assert set(table["superclass"]) == {"", "?", *CLASSES}
    assert (table["reason"].str.len() > 5).all()
    assert not table[["vocabulary", "statement"]].map(str.casefold).duplicated().any()


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two hospitals in a zip file: what counts, what is left out, and what is damaged."""
    folder = tmp_path_factory.mktemp("hospitals")
    rng = np.random.default_rng(1)
    names = [lead if lead != "aVR" else "AVR" for lead in LEADS]  # as the Challenge's files say it
    said = ["Dx: RBBB", "Dx: Normal", "Dx: STE", "Dx: 123456", "Dx: 164873001"]
    records = {f"a/A{number}": (comment, 6000) for number, comment in enumerate(said)}
    records["a/A9"] = ("Dx: Normal", 1000)
    records |= dict.fromkeys(("b/B1", "b/B2"), ("Diagnoses: STEMI: septal.", 5000))
    with zipfile.ZipFile(folder / "all.zip", "w") as zipped:
        for name, (comment, n_samples) in records.items():
            header = folder / f"{name}.hea"
            header.parent.mkdir(exist_ok=True)
            signal = np.cumsum(rng.normal(0, 0.02, (n_samples, 12)), axis=0).T
            data = write_wfdb(header, names, signal, comments=[comment]).with_suffix(".dat")
            if name == "b/B2":
                data.write_bytes(b"\1\0" + data.read_bytes()[2:])
            for file in (header, data):
                zipped.write(file, file.relative_to(folder))
    return folder / "all.zip"


def test_hospitals_are_read_and_what_does_not_count_is_counted(hospitals):
    found = list(read_hospitals(hospitals))
    kept = {one.name: one for one in found if isinstance(one, HospitalRecord)}
    left = {(one.hospital, one.name): one.reason for one in found if isinstance(one, LeftOut)}
    assert set(kept) == {"A0", "A1", "A4", "B1"}
    assert kept["A0"].signal.shape == (12, 1000), "ten seconds at 100 Hz"
    assert kept["B1"].labels.tolist() == [0, 1, 0, 0, 0]
    assert "its samples add up to" in left.pop(("b", "B2"))
    assert left == {
        ("a", "A2"): "unsure statement: STE",
        ("a", "A3"): "unknown statement: 123456",
        ("a", "A9"): "shorter than 2.5 s",
    }
    recorded = wfdb.rdrecord(str(hospitals.parent / "a" / "A0")).p_signal.T[:, :5000:5]
    assert np.corrcoef(recorded[1], kept["A0"].signal[1])[0, 1] > 0.99
    assert np.ptp(kept["A0"].signal[1]) == pytest.approx(1000 * np.ptp(recorded[1]), rel=0.2)


def test_a_folder_without_records_or_noise_is_refused(tmp_path):
    refused("no WFDB headers", list, read_hospitals(tmp_path))
    (tmp_path / "not.zip").write_text("no")
    refused(r"not\.zip: no zip file", list, read_hospitals(tmp_path / "not.zip"))
    refused("not a record of the Noise Stress Test Database", read_noise, tmp_path, "em")


def test_the_same_ecg_is_found_whatever_its_gain(small):
    given = small.signals[:5].astype(np.float32) * 1.7 + 30
    assert (same_as(given, small.signals) > 0.999).all()
    assert (same_as(given, small.signals[5:]) < 0.9).all()


# --- disturbances ---------------------------------------------------------------------------


@pytest.mark.parametrize("decibels", [24, 6, -6])
def test_the_ratio_of_signal_to_noise_is_what_it_says(small, decibels):
    clean = small.signals[:20].astype(np.float32)
    added = segments(noise() * 7 + 100, 20, 8, 1000, RNG)
    noisy = with_noise(clean, added, decibels)
    difference = (noisy - clean)[:, PLACES]
    ratio = 10 * np.log10(power(clean[:, PLACES]) / power(difference))
    assert np.allclose(ratio, decibels, atol=1e-3)
    assert np.abs(difference.mean(axis=-1)).max() < 0.05, "noise moves no mean"
    assert np.abs(identity_residuals(noisy)).max() < 0.1, "limb leads keep their laws"
    strengths = difference.std(axis=-1)
    assert np.allclose(strengths, strengths[:, :1], rtol=1e-3), "equally strong in each lead"


def test_segments_are_independent():
    cut = segments(noise(n_samples=90_000), 50, 8, 1000, RNG)
    assert np.allclose(cut.std(axis=-1), 1, atol=1e-4)
    between = np.corrcoef(cut.reshape(-1, 1000)) - np.eye(400)
    assert np.mean(np.abs(between) > 0.5) < 0.01


def test_leads_without_an_electrode_follow_from_their_definition():
    rest = tuple(lead for lead in LEADS if lead != "V3")
    for electrode, leads in {"RA": ("III",), "LA": ("II",), "LL": ("I",), "V3": rest}.items():
        assert leads_without(electrode) == leads


@pytest.mark.parametrize("electrode", ELECTRODES)
def test_a_lost_electrode_leaves_the_others_alone(small, electrode):
    clean = small.signals[:10].astype(np.float32)
    there = np.isin(LEADS, leads_without(electrode))
    flat = flat_without(clean, electrode)
    assert np.array_equal(flat[:, there], clean[:, there])
    assert not flat[:, ~there].any()
    noisy = noisy_without(clean, electrode, added_to(10), 0)
    assert np.allclose(noisy[:, there], clean[:, there], atol=2), "rounding of the records alone"
    moved = np.abs(noisy - clean).max(axis=(0, 2))
    assert (moved[~there] > 20).all()
    assert np.abs(identity_residuals(noisy)).max() < 0.1


def test_swapped_arms_turn_lead_one_over(small):
    clean = small.signals[:5].astype(np.float32)
    swapped = arms_swapped(clean)
    at = {lead: LEADS.index(lead) for lead in LEADS}
    assert np.array_equal(swapped[:, at["I"]], -clean[:, at["I"]])
    for lead, other in {"II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR", "aVF": "aVF"}.items():
        assert np.allclose(swapped[:, at[lead]], clean[:, at[other]], atol=3), lead
    assert np.array_equal(swapped[:, 6:], clean[:, 6:])


# --- trials ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def any_lead(small, sample_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("any-lead") / "any-lead"
    settings = RunSettings(*("12-lead", str(sample_file), str(out), "any-lead", ""), epochs=1)
    return train_run(settings, small)


TOLD = {resolve(",".join(representative(leads_without(e)))).name for e in ELECTRODES}
PAIRS = {resolve(name).name for name in ("I,II,V1,V2", "I,II,V3,V4")}
SOME = {*trials.main_sets(), *TOLD, *PAIRS}


@pytest.fixture(scope="module")
def mapped(any_lead, small):
    sets = [space for space in lead_sets("electrodes") if space.name in SOME]
    assert len(sets) == len(SOME), "every main set and every loss is a set of electrodes"
    return map_run(any_lead, small, any_lead.folder.parent / "map", sets)


def test_a_network_that_is_told_scores_the_smaller_set(any_lead, small):
    network = load_checkpoint(any_lead.checkpoints[0])
    clean, added = small.signals[:8].astype(np.float32), added_to(8)
    for electrode in ELECTRODES:
        leads = leads_without(electrode)
        smaller = trials.logits_of(network, clean, representative(leads))
        told = trials.logits_of(network, flat_without(clean, electrode), leads)
        assert np.allclose(told, smaller, atol=1e-5), electrode
        told = trials.logits_of(network, noisy_without(clean, electrode, added, -6), leads)
        assert np.allclose(told, smaller, atol=2e-2), electrode
        not_told = trials.logits_of(network, flat_without(clean, electrode), LEADS)
        assert np.abs(not_told - smaller).max() > 1e-4, electrode


def test_noise_and_losses_are_tried_and_read(any_lead, mapped, small, tmp_path):
    conditions = trials.noise_conditions({"em": noise()})
    run = trials.try_own(any_lead, small, conditions, 12, tmp_path / "noise", {})
    assert len(run.test.record_id) == 12
    assert set(run.test.record_id) <= set(any_lead.test.record_id)
    evidence = gather_own(run, mapped, 50)
    assert not any("benefit" in one.per_seed for one in evidence.scored.values()), "nobody reads it"
    tables = read_tables(evidence, study_tables(evidence, "noise"))
    question, taught = questions("noise")
    assert taught.reading(tables) == "No network was trained with noise."
    table = tables["noise"]
    assert set(table["config"]) == set(trials.main_sets())
    assert set(table["decibels"].dropna()) == {24, 18, 12, 6, 0, -6}
    unmoved = table[table["noise"] == ""]
    assert (unmoved["difference"] == 0).all()
    moved = Counter()  # few records have the AUROC of chance; logits move with the noise
    for name, said in run.metrics["conditions"].items():
        noisy, clean = (evidence.runs[one].test.logits["any-lead"] for one in (name, said["set"]))
        moved[said["decibels"]] += float(np.abs(noisy - clean).mean())
    assert moved[24] < moved[12] < moved[-6]
    assert "electrode motion at 6 dB" in question.reading(tables)
    assert question.figures["noise"](tables) is not None

    conditions = trials.loss_conditions(noise())
    run = trials.try_own(any_lead, small, conditions, 0, tmp_path / "fallen", {}, any_lead)
    for name in ("V2 flat", "RA, LA swapped"):  # here the same network stands for the other one
        twin = run.test.logits[name + FIXED]
        np.testing.assert_array_equal(run.test.logits[name], twin)
    assert len(run.test.record_id) == len(any_lead.test.record_id)
    evidence = gather_own(run, mapped, 50)
    tables = read_tables(evidence, study_tables(evidence, "fallen"))
    (question,) = questions("fallen")
    counts = Counter(tables["fallen"][tables["fallen"]["target"] == "macro"]["fault"])
    own = {"none": 1, "flat": 9, "noisy": 9, "swapped": 1}
    assert counts == own | {"told": 9} | {f"{fault}{FIXED}": n for fault, n in own.items()}
    assert "arms swapped, 12-lead network" in question.reading(tables)
    for show in (*question.shown.values(), *question.folded.values()):
        assert len(show(tables).data) == 10


def test_networks_are_trained_with_noise(any_lead, mapped, small, tmp_path, monkeypatch):
    monkeypatch.setattr("taught.N_RESAMPLES", 50)
    noises = {"em": noise()}
    (split,) = splits(small, "holdout", "any")
    larger, own = with_noisy_copies(small, split, noises, 0)
    assert np.array_equal(larger.signals[: len(small)], small.signals)
    added = np.setdiff1d(own.train, split.train)
    assert len(added) == 3 * len(split.train)
    assert np.array_equal(larger.record_id[added], np.tile(small.record_id[split.train], 3))
    first, second = (larger.signals[added[k * len(split.train)]].astype(int) for k in (0, 1))
    assert (first != second).any(), "each copy has noise of its own"

    teach(any_lead, small, noises, tmp_path, torch.device("cpu"))
    taught = {path: path.read_bytes() for path in tmp_path.iterdir()}
    teach(any_lead, small, noises, tmp_path, torch.device("cpu"))
    assert taught == {path: path.read_bytes() for path in tmp_path.iterdir()}
    louder = {"em": 2 * noises["em"]}
    for where, other in ((tmp_path, louder), (any_lead.folder / "checkpoints", noises)):
        with pytest.raises(LeadminError, match=r"json: provenance.identity differs in .*noise"):
            teach(any_lead, small, other, where, torch.device("cpu"))
    rows = compare(any_lead, tmp_path, small, noises, 30)
    level = compare(any_lead, any_lead.folder / "checkpoints", small, noises, 30)
    assert len(rows) == len(trials.main_sets()) * (1 + len(trials.DECIBELS))
    assert any(row["difference"] for row in rows)
    assert all(row["plain"] == row["taught"] and row["difference"] == 0 for row in level)
    conditions = trials.noise_conditions(noises)
    run = trials.try_own(any_lead, small, conditions, 12, tmp_path / "x", {"taught": rows})
    evidence = gather_own(run, mapped, 50)
    tables = read_tables(evidence, study_tables(evidence, "noise"))
    _, question = questions("noise")
    assert "of nine electrodes from" in question.reading(tables)
    assert len(question.folded["At every ratio"](tables).data) == len(rows)


def test_all_electrode_sets_and_named_configurations_are_tried_elsewhere():
    found = trials.sets_elsewhere()
    assert {space.name for space in lead_sets("electrodes")} < set(found)
    assert {span(one.leads) for one in configurations().values()} <= set(found.values())
    assert len(found) == 71


@pytest.fixture(scope="module")
def abroad(any_lead, mapped, small, tmp_path_factory):
    """The study's own records as two hospitals' (shifted in time), one of them all normal or MI."""
    records = []
    for number in range(0, len(small), 2):
        signal = np.roll(small.signals[number].astype(np.float32), 137, axis=-1)
        labels = small.labels["any"][number].copy()
        hospital = "a" if number % 4 else "b"
        if hospital == "a":
            labels[2:] = 0
        records.append(HospitalRecord(hospital, str(number), signal, labels))
    copy = HospitalRecord("b", "copy", small.signals[0].astype(np.float32), labels)
    records += [copy, LeftOut("b", "x", "unknown statement: y"), LeftOut("b", "z", "no statement")]
    networks, out = trials.load_networks(any_lead.folder), tmp_path_factory.mktemp("abroad")
    cost = {"network": "any-lead", "n_leads": 12, "n_parameters": 100_000, "mflop": 20.0,
            "ms_alone": 2.0, "ms_torch": 3.0, "ms_onnx": 1.0, "ms_of_many": 1.0,
            "kilobytes": 400.0}  # fmt: skip
    shipped = {"network": "any-lead", "config": "12-lead", "hospital": "b", "class": "MI",
               "n_records": 40, "n_refused": 1, "auroc": 0.8, "auroc_low": 0.7, "auroc_high": 0.9,
               "mean_probability": 0.2}  # fmt: skip
    extra = {"costs": [cost], "shipped": [shipped]}
    with pytest.MonkeyPatch.context() as patched:
        few = {name: leads for name, leads in trials.sets_elsewhere().items() if name in SOME}
        patched.setattr(trials, "sets_elsewhere", lambda: few)
        return trials.try_hospitals(networks, records, small, mapped, out, extra)


def test_other_hospitals_are_tried_and_read(abroad, small, monkeypatch):
    assert len(abroad.test.record_id) == len(small) // 2
    assert {"hospital": "b", "reason": "a record of the study", "n_records": 1} in (
        abroad.metrics["left_out"]
    )
    monkeypatch.setattr(evidence_of_trials, "LEAST", 6)
    evidence = gather_hospitals(abroad, 60)
    classes = evidence.classes_there()
    assert set(classes["a"]) <= {"NORM", "MI"}, "what a hospital never states is not asked there"
    assert set(classes) == {"a", "b", TOGETHER}
    stated_by_one = next(name for name in classes["b"] if name not in {"NORM", "MI"})
    both = (TOGETHER, stated_by_one)
    one = next(one for one in evidence.asked if (one.hospital, one.name) == both)
    assert set(evidence.fold[one.rows]) == {2}
    tables = read_tables(evidence, study_tables(evidence, "elsewhere"))
    assert tables["hospitals"]["n_left_out"].tolist() == [0, 3]
    assert len(tables["transport"]) == len(evidence.asked) * len(SOME)
    order = tables["order"].set_index("hospital")
    assert (order["n_sets"] == len(SOME)).all()
    assert order["correlation"].between(-1, 1).all()
    assert order["rank"].between(1, 3).all()
    for question in questions("elsewhere"):
        assert question.reading(tables)
        for draw in question.figures.values():
            assert draw(tables) is not None
        for show in (*question.shown.values(), *question.folded.values()):
            assert show(tables) is not None


def test_the_network_that_ships_reads_them_as_a_strangers(abroad, small, monkeypatch):
    monkeypatch.setattr(trials, "main_sets", lambda: ("2-lead-I-II",))
    monkeypatch.setattr(leadmin, "networks", lambda: ("any-lead", "1-lead-V5"))
    names, folds = abroad.metrics["records"], abroad.test.fold
    records = [
        HospitalRecord("ab"[fold - 1], name, small.signals[int(name)].astype(np.float32), None)
        for name, fold in zip(names, folds, strict=True)
    ]
    flat = next(r for r in records if r.hospital == "b")
    records[records.index(flat)] = dataclasses.replace(flat, signal=0 * flat.signal)
    network = leadmin.load("any-lead")
    rows = trials.through_the_door([*records, LeftOut("b", "x", "y")], abroad, 6)
    wanted = ("any-lead", "2-lead-I-II", "b", "NORM")
    row = next(r for r in rows if tuple(r.values())[:4] == wanted)
    assert {r["network"] for r in rows} == {"any-lead", "1-lead-V5"}
    chosen = [n for n, f in zip(names, folds, strict=True) if f == 2 and n != flat.name]
    x = small.signals[[int(n) for n in chosen]][:, :2]
    p = network.predict(x, leads=["I", "II"], sampling_rate=100, unit="uV")
    y = abroad.test.labels[[names.index(n) for n in chosen]]
    assert (row["n_records"], row["n_refused"]) == (len(chosen), 1)
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["auroc"] == pytest.approx(auroc(y, p)[0], abs=1e-6)
    assert row["mean_probability"] == pytest.approx(p[:, 0].mean(), abs=1e-6)
    assert {r["class"] for r in rows if r["hospital"] == "a"} <= {"NORM", "MI"}
    with pytest.raises(LeadminError, match="give the hospitals that it was made of"):
        trials.through_the_door(records[1:], abroad, 6)


def test_a_map_that_lacks_the_set_is_refused(any_lead, mapped, small, tmp_path):
    other = dataclasses.replace(
        mapped, test=dataclasses.replace(mapped.test, record_id=mapped.test.record_id + 1)
    )
    conditions = trials.loss_conditions(noise())
    run = trials.try_own(any_lead, small, conditions, 4, tmp_path / "fallen", {})
    refused("the map of the networks on trial", gather_own, run, other, 10)


def test_ranks_are_compared_as_spearman_does():
    home = np.array([0.1, 0.3, 0.2, 0.9])
    there = np.stack([home**2, -home, [1, 1, 1, 2]], axis=1)
    found = rank_correlation(home, there)
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx(-1)
    assert found[2] == pytest.approx(0.7745966692)


def test_local_records_mend_a_shift():
    rng = np.random.default_rng(3)
    x = rng.normal(size=4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-x))).astype(np.uint8)
    mended = mend(y, x + 2, 100, 20, rng)
    assert mended["gap"] > 0.3
    assert mended["gap_shift"] < 0.06
    assert mended["brier_shift"] < mended["brier"] - 0.05


def test_operations_are_counted_by_hand(monkeypatch):
    convolution = nn.Conv1d(3, 4, 5, padding=2)
    assert multiply_adds(convolution, torch.zeros(2, 3, 10)) == 2 * 4 * 10 * 3 * 5
    layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 2))
    assert multiply_adds(layers, torch.zeros(1, 3, 4)) == 12 * 7 + 7 * 2
    monkeypatch.setattr(cost, "BATCH", 2)
    monkeypatch.setattr(leadmin, "networks", lambda: ("any-lead", "12-lead", "1-lead-I"))
    rows = {row["network"]: row for row in cost.costs(repeats=1)}
    assert rows["any-lead"]["n_parameters"] > rows["1-lead-I"]["n_parameters"]
    # eleven places more in the stem: 11 leads x 32 channels x 15 taps x 125 places x 8 windows x 2
    more = rows["12-lead"]["mflop"] - rows["1-lead-I"]["mflop"]
    assert more == pytest.approx(11 * 32 * 15 * 125 * 8 * 2 / 1e6)


# --- the real ones --------------------------------------------------------------------------


def test_real_hospitals_are_read():
    found = list(read_hospitals(real("LEADMIN_EXTERNAL")))
    kept = Counter(one.hospital for one in found if isinstance(one, HospitalRecord))
    assert kept == {"cpsc2018": 141, "georgia": 72, "ludb": 159}
    reasons = {one.reason.split(":")[0] for one in found if isinstance(one, LeftOut)}
    assert reasons == {"unsure statement"}
    widest = [np.ptp(one.signal, axis=1).max() for one in found if isinstance(one, HospitalRecord)]
    assert 1000 < np.median(widest) < 5000, "microvolts"


@pytest.mark.parametrize("kind", NOISES)
def test_real_noise_is_read(kind):
    recorded = read_noise(real("LEADMIN_NSTDB"), kind)
    assert recorded.shape == (2, 180_556)
    cut = segments(recorded, 3, 8, 1000, RNG)
    assert np.allclose(cut.std(axis=-1), 1, atol=1e-3)
