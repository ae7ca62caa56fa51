"""Data and models of others: PTB-XL as it is downloaded elsewhere, own records, own networks."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from archives import make_files, real, write_folder, write_zip
from evidence_fixtures import one_run, synthetic_runs
from test_recordings import write_wfdb
from trouble import refused
from typer.testing import CliRunner

import leadmin
from leadmin import labels
from leadmin.cli.data import app
from leadmin.data import ptbxl
from leadmin.data.card import write_card
from leadmin.data.dataset import load_dataset
from leadmin.data.own import made_folds, prepare_own, unfit
from leadmin.data.own_mapping import read_mapping
from leadmin.data.pacing import pacing_spikes
from leadmin.data.prepare import prepare
from leadmin.data.recordings import read_recordings
from leadmin.errors import LeadminError
from leadmin.evidence.basis import StudyDescription, absent_in_words, basis
from leadmin.evidence.scores import gather
from leadmin.leads import LEADS
from leadmin.metrics import probabilities
from leadmin.net.own import find_network, own_network, source_sha256
from leadmin.net.recipes import recipe_identity
from leadmin.publish.book import build_book
from leadmin.publish.page import Answers, described
from leadmin.questions import questions
from leadmin.questions.pairs import pairs_reading, pairwise_matrix, rank_reading, rank_table
from leadmin.show import style
from leadmin.show.training import plot_calibration, plot_roc
from leadmin.study.run import load_run, load_runs, require_same_records
from leadmin.study.settings import RunSettings, load_study
from leadmin.study.train import train_run

# --- PTB-XL as others have it ---------------------------------------------------------------


def test_the_folders_that_wget_makes_are_found(tmp_path):
    inner = tmp_path / "physionet.org" / "files" / "ptb-xl" / "1.0.3"
    write_folder(inner, make_files(1))
    (inner.parents[2] / "robots.txt").write_text("User-agent: *\n")
    for path in (tmp_path, *inner.parents[:3], inner):
        archive = ptbxl.open_ptbxl(path)
        assert (archive.path, ptbxl.source_version(archive)) == (inner, "1.0.3")
    prepare(tmp_path, tmp_path / "x.h5", quiet=True)


@pytest.mark.parametrize("version", ["1.0.1", "1.0.2"])
def test_earlier_versions_are_refused_with_the_reason(tmp_path, version):
    files, name = make_files(1), ptbxl.TOP_FOLDER.replace("1.0.3", version)
    write_folder(tmp_path / "wget" / "ptb-xl" / version, files)
    for source in (tmp_path / "wget" / "ptb-xl", write_zip(tmp_path / "a.zip", files, top=name)):
        with pytest.raises(LeadminError, match=rf"PTB-XL {version}, .*21,837.*valid: 1\.0\.3"):
            prepare(source, tmp_path / "x.h5", quiet=True)
    assert not (tmp_path / "x.h5").exists()


def test_an_earlier_version_under_another_name_is_told_by_its_length(tmp_path, monkeypatch):
    monkeypatch.setattr(ptbxl, "N_RECORDS", 5)
    write_folder(tmp_path, make_files(6))
    refused(r"a version before 1\.0\.3", ptbxl.read_table, ptbxl.open_ptbxl(tmp_path))


# --- records of one's own -------------------------------------------------------------------

RATE = 50
LIMBLESS = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
CLASSES = ("fast", "tall (R)")

MAPPING = {
    "title": "Made-up rhythms",
    "columns": {"record": "file", "patient": "who", "labels": "said"},
    "separator": ";",
    "signals": {"unit": "mV", "rate": RATE},
    "seconds": 3,
    "classes": {
        "fast": {"meaning": "fast rhythm", "statements": ["tachy", 17]},
        "tall (R)": {"statements": ["LVH"]},
    },
}


def beats(rng: np.random.Generator, fast: bool, tall: bool) -> np.ndarray:
    """Millivolts of I, II and V1-V6, (8, 3.2 s): humps, more often or higher."""
    t = np.arange(int(3.2 * RATE)) / RATE
    beat = np.exp(-(((t * (2.5 if fast else 1.0) + rng.random()) % 1 - 0.5) ** 2) / 0.002)
    size = rng.uniform(0.6, 1.4, (8, 1)) * (2.5 if tall else 1.0)
    return size * beat + rng.normal(0, 0.05, (8, len(t)))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder of CSV, Parquet and WFDB records, two a patient, and their table."""
    folder, rng, rows = tmp_path_factory.mktemp("own"), np.random.default_rng(5), []
    for number in range(60):
        fast, tall = number % 3 == 0, number % 4 == 0
        frame = pd.DataFrame(beats(rng, fast, tall).T.round(4), columns=LIMBLESS)
        name = f"r{number}"
        if number % 3 == 0:
            frame.to_csv(folder / f"{name}.csv", index=False)
        elif number % 3 == 1:
            frame.to_parquet(folder / f"{name}.parquet")
        else:
            write_wfdb(folder / f"{name}.hea", LIMBLESS, frame.to_numpy().T, RATE)
        said = ["tachy"] * fast + ["LVH"] * tall + ["something else"] * (number % 5 == 1)
        fold = str(number // 2 % 10 + 1)
        rows.append([name, f"p{number // 2}", ";".join(said) or "nothing", fold])
    return folder, pd.DataFrame(rows, columns=["file", "who", "said", "fold"])


def written(table, place, mapping=MAPPING):
    """Write a table and a mapping, or the text of one."""
    place.mkdir(exist_ok=True)
    table.to_csv(place / "table.csv", index=False)
    text = mapping if isinstance(mapping, str) else yaml.safe_dump(mapping, sort_keys=False)
    (place / "mapping.yml").write_text(text)
    return place / "table.csv", place / "mapping.yml"


def prepared(folder, table, place, mapping=MAPPING, **options):
    """Prepare the records of a table; gives the report and the data."""
    files = written(table, place, mapping)
    report = prepare_own(folder, place / "own.h5", *files, quiet=True, **options)
    return report, load_dataset(place / "own.h5")


@pytest.fixture(scope="module")
def own(records, tmp_path_factory):
    return prepared(*records, tmp_path_factory.mktemp("prepared"))[1]


def test_own_records_become_twelve_leads_with_their_classes(records, own):
    folder, table = records
    assert own.classes == CLASSES
    assert own.class_names == {"fast": "fast rhythm", "tall (R)": "tall (R)"}
    assert (own.policies, own.sampling_rate, own.duration) == (("any",), 100, 3)
    assert own.labels["likelihood50"] is own.labels["any"]
    expected = [["tachy" in said, "LVH" in said] for said in table["said"]]
    np.testing.assert_array_equal(own.labels["any"], expected)
    assert own.metadata["record"].tolist() == table["file"].tolist()
    first = pd.read_csv(folder / "r0.csv").to_numpy().T * 1000
    # twice the rate: every second sample is one that was recorded
    kept = own.signals[0, [0, 1, 6], 20:-20:2].ravel()
    recorded = first[:3, 10:140].ravel()
    assert np.corrcoef(kept, recorded)[0, 1] > 0.99
    assert kept.std() == pytest.approx(recorded.std(), rel=0.05)
    one, two, three = own.signals[:, :3].astype(int).transpose(1, 0, 2)
    assert np.abs(three - (two - one)).max() <= 1
    for stored in own.signals[[1, 2]]:
        assert 300 < np.ptp(stored[0]) < 8000  # Parquet and WFDB in microvolts too


def test_made_folds_keep_patients_and_spread_classes(own):
    assert set(own.fold) == set(range(1, 11))
    frame = pd.DataFrame({"patient": own.patient_id, "fold": own.fold})
    assert (frame.groupby("patient")["fold"].nunique() == 1).all()
    assert np.ptp(np.bincount(own.fold, minlength=11)[1:]) <= 4
    assert np.bincount(own.fold, own.labels["any"][:, 0], 11)[1:].min() >= 1
    again = made_folds(own.patient_id, own.labels["any"], 0)
    np.testing.assert_array_equal(again, own.fold)
    assert (made_folds(own.patient_id, own.labels["any"], 1) != own.fold).any()


def test_what_is_in_no_class_is_counted(records, tmp_path):
    report, data = prepared(*records, tmp_path)
    assert report.notes[0].startswith(f"{int((data.labels['any'].sum(1) == 0).sum())} records")
    assert "nothing (" in report.notes[1]
    again, _ = prepared(*records, tmp_path)
    assert again.up_to_date
    assert again.notes == report.notes


def test_other_meanings_are_other_data(records, own, tmp_path):
    renamed = MAPPING | {"classes": {"slow": MAPPING["classes"]["fast"],
                                     "tall (R)": MAPPING["classes"]["tall (R)"]}}  # fmt: skip
    _, other = prepared(*records, tmp_path, renamed)
    assert other.attributes["content_sha256"] != own.attributes["content_sha256"]
    with h5py.File(tmp_path / "own.h5", "r+") as file:
        file.attrs["classes"] = np.array([b"fast", b"tall (R)"])
    refused("content_sha256", load_dataset, tmp_path / "own.h5")


def test_columns_of_zeros_and_ones_folds_age_and_sex(records, tmp_path):
    folder, table = records
    said = {name: table["said"].str.contains(name).astype(int) for name in ("tachy", "LVH")}
    table = table.assign(**said, age="", sex="F")
    columns = {"record": "file", "patient": "who", "labels": ["tachy", "LVH"], "fold": "fold",
               "age": "age", "sex": "sex"}  # fmt: skip
    _, data = prepared(folder, table, tmp_path, MAPPING | {"columns": columns})
    assert data.fold.tolist() == table["fold"].astype(int).tolist()
    assert data.labels["any"][:, 1].tolist() == table["LVH"].tolist()
    assert set(data.sex) == {1}
    assert np.isnan(data.age).all()


def test_the_command_prepares_own_records_and_says_what_it_left_out(records, tmp_path):
    folder, table = records
    table, mapping = written(table[:12], tmp_path)

    def prepare_with(*options):
        ask = ["prepare", "--from", folder, "--to", tmp_path / "x.h5", "--table", table, "--quiet"]
        return CliRunner().invoke(app, [str(word) for word in (*ask, *options)])

    for options, words in (
        ([], "--mapping None; valid: both"),
        (["--mapping", mapping, "--jobs", "2"], "leave it out"),
        (["--mapping", mapping, "--rate", "2"], "is 2 Hz; valid: 100 and 500"),
    ):
        result = prepare_with(*options)
        assert result.exit_code == 2
        assert words in result.output
    done = prepare_with("--mapping", mapping)
    assert done.exit_code == 0, done.output
    assert "statements are in no class, most often nothing (" in done.output
    assert "12 records in" in done.output
    refused("a data card tells what is known of PTB-XL", write_card, tmp_path / "x.h5")


def cell(row, column, value):
    return lambda table: table.assign(**{column: table[column].mask(table.index == row, value)})


def classes(**statements):
    return MAPPING | {"classes": {name: {"statements": said} for name, said in statements.items()}}


FOLDED = MAPPING | {"columns": MAPPING["columns"] | {"fold": "fold"}}
BAD_TABLES = {
    "no column": (lambda t: t.drop(columns="who"), r"no column 'who'; valid: file, said"),
    "no rows": (lambda t: t[:0], "it has no rows"),
    "a record twice": (cell(1, "file", "r0"), "row 2 and row 3 both name"),
    "a file twice": (cell(3, "file", "r0.csv"), "calls it 'r0' and 'r0.csv'; va"),
    "a record without file": (cell(4, "file", "x"), "5: missing: .*no such file"),
    "a way out": (cell(0, "file", "../x"), "not a relative path"),
    "NaN labels": (cell(0, "said", "NaN"), r"row 2: said is 'NaN'; valid"),
    "no labels": (cell(3, "said", ""), "row 5: said is ''; valid: some text"),
    "no patient": (cell(3, "who", " "), "row 5: who is ''; valid: some text"),
    "an empty class": (lambda t: t.replace("LVH", "-", regex=True), "no record has one of its st"),
    "one label only": (lambda t: t.assign(said=t["said"] + ";LVH"),
                       r"class tall \(R\): every record has it"),
    "a fold too many": (cell(0, "fold", "11"), "fold is '11'; valid: a whole number from 1 to 10"),
    "a word for a fold": (cell(0, "fold", "x"), "fold is 'x'"),
    "no fold": (cell(0, "fold", ""), "fold is ''"),
    "a patient in two": (cell(0, "fold", "3"), "1 patients are in more than one fold.* of .* 'p0'"),
}  # fmt: skip
BAD_MAPPINGS = {
    "no mapping": ("- a\n- b\n", "mapping.yml: no mapping; valid keys: title"),
    "no YAML": ("a: [", "not a readable YAML file"),
    "a key twice": ("title: a\ntitle: b\n", "one key twice"),
    "an alias": ("a: &x [1]\nb: *x\n", "an alias"),
    "no title": ({k: v for k, v in MAPPING.items() if k != "title"}, "title is missing"),
    "an unknown key": (MAPPING | {"colour": "red"}, "colour is no key"),
    "no classes": (classes(), "classes is empty; valid: one entry or more"),
    "no statements": (classes(a=[]), "classes.a.statements is empty"),
    "no columns of labels": (MAPPING | {"columns": MAPPING["columns"] | {"labels": []}},
                             "columns.labels is empty"),
    "a class named no": (MAPPING | {"classes": {False: {"statements": ["a"]}}},
                         "classes is False.*quotes"),
    "a class named 1": (MAPPING | {"classes": {1: {"statements": ["a"]}}},
                        "classes is 1, as.* quotes"),
    "a finding no": (classes(a=[False]), r"s\.0 is False, .* in quotes"),
    "a class named macro": (classes(Macro=["a"]), "'Macro' is no name"),
    "markup": (classes(**{"<b>": ["a"]}), "'<b>' is no name"),
    "two homes": (classes(a=["x"], b=["x"]), "the statement 'x' is in a and in b"),
    "a lead of no column": (MAPPING | {"signals": MAPPING["signals"] | {"leads": {"foo": "I"}}},
                            "has a column 'foo'; valid"),
    "an unknown unit": (MAPPING | {"signals": {"unit": "inch", "rate": 50}},
                        "signals.unit 'inch' is not"),
    "an unknown lead": (MAPPING | {"signals": {"leads": {"a": "V7"}}}, "there is no 'V7'"),
    "a rate of 0": (MAPPING | {"signals": {"unit": "mV", "rate": 0}}, "signals.rate is 0"),
    "too short": (MAPPING | {"seconds": 1}, "seconds is 1; valid"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*BAD_TABLES, *BAD_MAPPINGS])
def test_a_bad_table_or_mapping_is_one_clear_error(records, tmp_path, kind):
    folder, table = records
    mapping, message = BAD_MAPPINGS.get(kind, (FOLDED, ""))
    if kind in BAD_TABLES:
        change, message = BAD_TABLES[kind]
        table = change(table)
    refused(message, prepared, folder, table, tmp_path, mapping)
    assert not (tmp_path / "own.h5").exists()


BAD_SIGNALS = {
    "unit": (lambda f: f * 1000, {}, "range: .*check the unit"),
    "tiny": (lambda f: f / 1000, {}, "range: .*check the unit"),
    "NaN": (lambda f: f.assign(V1=f["V1"].where(f.index != 7)), {}, "invalid: .*no finite number"),
    "text": (lambda f: f.assign(I="x"), {}, "unreadable: .*not all numbers"),
    "length": (lambda f: f.iloc[:90], {}, "length: .*1.8 s, not 3 s"),
    "lead": (lambda f: f.rename(columns={"V6": "V7"}), {}, "unreadable: .*'V7'"),
    "flat": (lambda f: f * (f.columns == "I"), {}, "range: .*middle lead spans"),
    "too few leads": (lambda f: f.drop(columns="V6"), {}, "leads: .*V6"),
    "no rate": (lambda f: f, {"signals": {"unit": "mV"}}, "unreadable: .*rate is missing.*s.rate"),
    "rate": (lambda f: f, {"signals": {"unit": "mV", "rate": 500}}, "length: .*0.32 s"),
}


def altered(folder, place, changes):
    """A copy of the signals, with some of the CSV files changed."""
    copy = Path(shutil.copytree(folder, place / "signals"))
    for name, change in changes.items():
        file = copy / f"{name}.csv"
        change(pd.read_csv(file)).to_csv(file, index=False)
    return copy


@pytest.mark.parametrize("kind", BAD_SIGNALS)
def test_a_bad_signal_is_named_and_can_be_left_out(records, tmp_path, kind):
    folder, table = records
    change, options, message = BAD_SIGNALS[kind]
    few = table[:24:3]
    bad = altered(folder, tmp_path, {"r0": change})
    mapping = classes(tall=["LVH"]) | options
    refused(f"1: {message}", prepared, bad, few, tmp_path, mapping)
    if not options:
        report, data = prepared(bad, few, tmp_path, mapping, max_failures=1)
        assert (report.n_failed, len(data)) == (1, 7)


def test_what_is_odd_about_a_record_is_counted_and_named(records, tmp_path):
    changes = {
        "r0": (lambda f: f.assign(V1=0), "a lead keeps one value for half a second or more"),
        "r3": (lambda f: f / 6, "no lead spans 500 microvolts, check the unit"),
        "r6": (lambda f: f + 20, "a lead goes beyond 10 mV"),
        "r9": (lambda f: f.assign(aVF=f["V1"]), "limb leads contradict Einthoven's law"),
        "r12": (lambda f: f.assign(**{"resp (l)": 1}), "channel resp in l is no lead"),
    }
    folder = altered(records[0], tmp_path, {name: change for name, (change, _) in changes.items()})
    shutil.copy(folder / "r15.csv", folder / "r18.csv")
    for _ in range(2):
        said = "\n".join(prepared(folder, records[1], tmp_path)[0].notes)
        for name, (_, words) in changes.items():
            assert re.search(rf"of 60 records: {words}.*\(.*\b{name}\b.*\)", said), name
        assert re.search("another record has exactly the same signals .r18 as r15", said)


@pytest.mark.parametrize(
    ("to", "message"),
    [("t.csv", r"t\.csv; valid: a name that ends in \.h5 or"), ("x.h5", r"x\.json is there, which"),
     ("t.h5", r"t\.failures\.csv is there"), ("other.h5", r"other\.h5 is there")],
)  # fmt: skip
def test_nothing_is_written_over_that_was_not_prepared(records, tmp_path, to, message):
    table, mapping = written(records[1], tmp_path)
    files = [tmp_path / name for name in ("t.csv", "t.failures.csv", "x.json", "other.h5")]
    for file in files:
        shutil.copy(table, file)
    for table in files[:2]:
        refused(message, prepare_own, records[0], tmp_path / to, table, mapping, quiet=True)
    assert len({file.read_text() for file in files}) == 1
    assert len(list(tmp_path.iterdir())) == 6
    with pytest.raises(LeadminError, match="cannot be written: "):
        prepare_own(records[0], Path("/proc/x.h5"), table, mapping, quiet=True)


@pytest.mark.parametrize(
    ("labels", "protocol", "why"),
    [([1, 2] * 10, "holdout", ""), ([1] * 20, "crossval", "20 records .* none can be scored"),
     ([1, 2] * 9 + [1, 1], "holdout", r"2 records .*\(holdout\)"),
     ([1, 2] * 9 + [1, 1], "crossval", ""),
     ([1, 2] * 9 + [0, 0], "crossval", "no record with a class is in fold 10; valid")],
)  # fmt: skip
def test_records_that_no_study_can_be_made_of_are_told(labels, protocol, why):
    each = np.array(labels)[:, None] == [1, 2]
    found = unfit(each.astype(np.uint8), np.repeat(np.arange(1, 11), 2), protocol)
    assert re.search(why, found) if why else not found


def test_old_files_and_published_runs_have_the_five_classes(sample, root):
    assert sample.classes == labels.CLASSES
    assert sample.policies == tuple(labels.LABEL_POLICIES)
    run = load_run(root / "book/published/ablation/runs/default")
    assert "classes" not in run.metrics
    assert run.classes == labels.CLASSES


# --- training and evidence of other classes -------------------------------------------------


@pytest.fixture(scope="module")
def runs(own, tmp_path_factory):
    """Two configurations of one's own network and of the original recipe, trained briefly."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        config: train_run(
            RunSettings(config=config, data=str(own.path), out=str(folder / config), epochs=1,
                        recipe="scratch", compare_with="original", network=NETWORK),
            own,
        )
        for config in ("12-lead", "1-lead-II")
    }  # fmt: skip


def test_a_run_of_other_classes_says_which(runs, own):
    run = runs["12-lead"]
    assert run.class_names == own.class_names
    assert set(run.metrics["test"]["scratch"][0]["per_class"]) == set(CLASSES)
    assert "validation_auroc_tall (R)" in run.history
    other = replace(run, metrics=run.metrics | {"classes": {"a": "a", "b": "b"}})
    refused("its classes are a, b; valid: fast, tall", require_same_records, [run, other])


def test_a_whole_analysis_of_other_classes(runs, tmp_path):
    evidence = gather(load_runs(runs["12-lead"].folder.parent), n_resamples=100)
    answers = Answers(evidence, tmp_path / "figures", described(evidence, "own", "Own"))
    tables = answers.tables
    assert tables["per_class"]["class"].unique().tolist() == list(CLASSES)
    for question in questions():
        reading = question.reading(tables)
        assert reading.strip()
        asked = question.name not in ("findings", "firm", "hypertrophy")
        assert ("Not asked: this is about the five superclasses" in reading) != asked
        for draw in question.figures.values():
            draw(tables)
        for make in (*question.shown.values(), *question.folded.values()):
            make(tables)
    written = {path.name: path for path in answers.write(tmp_path)}
    assert "five superclasses" not in written["table_main.tex"].read_text()
    assert "tall (R)" in written["RESULTS.md"].read_text()
    assert "2 classes" in written["table_main.tex"].read_text()


@pytest.mark.parametrize("n_classes", [1, 2, 7])
def test_figures_have_room_for_any_number_of_classes(n_classes):
    rng, names = np.random.default_rng(0), [f"c{k}" for k in range(n_classes)]
    y = rng.integers(0, 2, (40, n_classes))
    p = {"default": rng.random((40, n_classes))}
    for figure in (
        plot_roc(y, p, np.arange(40), rng, 10, classes=names),
        plot_calibration(y, p, classes=names),
    ):
        found = (axis.get_title(loc="left") or axis.get_title() for axis in figure.axes)
        titles = [title.split("  ")[0] for title in found]
        assert [title for title in titles if title] == names
        figure.draw_without_rendering()
    colours = style.class_colours([*labels.CLASSES, *names])
    assert {k: colours[k] for k in labels.CLASSES} == style.CLASS_COLOURS


# --- a class that a fold lacks --------------------------------------------------------------


def without(run, name, folds):
    """The same run, as if no test record of some folds had a class."""
    changed = run.test.labels.copy()
    changed[np.isin(run.test.fold, folds), labels.CLASSES.index(name)] = 0
    return replace(run, test=replace(run.test, labels=changed))


def test_a_class_that_no_test_record_has_is_named_with_the_mean_that_is_taken():
    run = without(one_run(150), "HYP", [10])
    evidence = gather([run], n_resamples=100)
    said = absent_in_words(evidence)
    assert "not both there for HYP" in said
    assert "every macro AUROC is the mean over NORM, MI, STTC, CD." in said
    scored = evidence.get("12-lead", "default")
    mean = np.mean([scored.of_class("auroc", n).value for n in labels.CLASSES if n != "HYP"])
    assert scored.macro("auroc").value == pytest.approx(mean)
    assert said in basis(evidence, StudyDescription("s", "S", "d", "holdout"))
    assert absent_in_words(gather([one_run(150)], n_resamples=100)) == ""


def test_where_no_class_can_be_scored_there_is_no_pair_to_compare():
    runs = synthetic_runs(150, 1, strength={"12-lead": 2.0, "1-lead-II": 1.5}).values()
    unlabelled = [replace(run, test=replace(run.test, labels=0 * run.test.labels)) for run in runs]
    evidence = gather(unlabelled, n_resamples=100)
    assert pairs_reading(pairwise_matrix(evidence)) == "There is no pair to compare."
    assert rank_reading(rank_table(evidence)) == "There is no smaller set to rank."


def test_a_class_that_some_folds_lack_is_named_with_its_folds():
    run = without(one_run(300, folds=tuple(range(1, 11))), "CD", [3, 7])
    evidence = gather([run], n_resamples=100)
    said = absent_in_words(evidence)
    assert "CD: 3, 7" in said
    assert "mean over its other folds" in said
    assert np.isfinite(evidence.get("12-lead", "default").of_class("auroc", "CD").value)


# --- a network of one's own -----------------------------------------------------------------

NETWORK = "examples/small_network.py:SmallNetwork"


def test_a_network_of_ones_own_is_trained_kept_and_read_with_its_class(runs, own):
    run = runs["12-lead"]
    network = run.identity["recipes"]["scratch"]["network"]
    assert network == {"name": NETWORK, "sha256": source_sha256(NETWORK)}
    assert "network" not in run.identity["recipes"]["original"]
    classifier = leadmin.load(run.folder, network=find_network(NETWORK))
    record = int(np.flatnonzero(own.record_id == run.test.record_id[0])[0])
    found = classifier.predict(own.signals[record], leads=LEADS, sampling_rate=100, unit="uV")
    expected = probabilities(run.test.logits["scratch"][0, 0])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert classifier.classes == CLASSES


def test_a_checkpoint_imports_nothing(runs, tmp_path):
    stem = runs["12-lead"].folder / "checkpoints" / "scratch-seed0"
    with pytest.raises(LeadminError, match=r"somebody's own, called 'examples.*hand it in"):
        leadmin.load(stem.with_suffix(".json"))
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass\n")
    document = json.loads(stem.with_suffix(".json").read_text())
    document["recipe"]["network"]["name"] = f"{trap}:Trap"
    (tmp_path / "x.json").write_text(json.dumps(document))
    shutil.copy(stem.with_suffix(".safetensors"), tmp_path / "x.safetensors")
    refused("nothing in a checkpoint is imported", leadmin.load, tmp_path / "x.json")
    leadmin.load(tmp_path / "x.json", network=find_network(NETWORK))
    assert not (tmp_path / "sprung").exists()
    plain = runs["12-lead"].folder / "checkpoints" / "original-seed0.json"
    with pytest.raises(LeadminError, match="a network of the study's"):
        leadmin.load(plain, network=find_network(NETWORK))


def test_another_text_of_the_network_is_another_run(monkeypatch):
    settings = RunSettings(recipe="scratch", compare_with="", network=NETWORK, epochs=1)
    (recipe, _), *_ = settings.recipes()
    before = recipe_identity(recipe)
    monkeypatch.setattr("leadmin.net.recipes.source_sha256", lambda _: "0" * 64)
    assert recipe_identity(recipe) != before
    plain = RunSettings(recipe="scratch", compare_with="").recipes()[0][0]
    assert "network" not in recipe_identity(plain)


BAD_NETWORKS = {
    "raises": ("def __init__(s, a, b): raise KeyError('x')", r"cannot be made of .*KeyError"),
    "no module": ("def __new__(s, a, b): return 3", "gives int, no torch.nn.Module"),
    "shape": ("def forward(s, x): return x.mean(-1)", "with shape"),
    "fails": ("def forward(s, x): return x @ x", "fails on a batch"),
    "NaN": ("def forward(s, x): return s.l(x[:, :1, :1]).squeeze(1) * float('nan')", "with NaN"),
    "frozen": ("def forward(s, x): return torch.zeros(2, 3)", "has nothing to train"),
}


@pytest.mark.parametrize("kind", BAD_NETWORKS)
def test_a_network_that_breaks_the_contract_is_one_clear_error(tmp_path, kind):
    body, message = BAD_NETWORKS[kind]
    layer = "" if kind == "frozen" else "self.l = nn.Linear(1, b)"
    init = "" if "__init__" in body else (
        f"    def __init__(self, a, b):\n        super().__init__()\n        {layer}\n"
    )  # fmt: skip
    text = f"import torch\nfrom torch import nn\nclass N(nn.Module):\n{init}    {body}\n"
    (tmp_path / "n.py").write_text(text)
    with pytest.raises(LeadminError, match=message):
        own_network(4, 3, find_network(f"{tmp_path / 'n.py'}:N"), 100)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.py:N", "no file nowhere.py"), ("N", "names no class"), ("os.path:", "names no"),
     ("no_such_module:N", "there is no file"), ("examples/small_network.py:None_", "has no class")],
)  # fmt: skip
def test_a_network_that_is_not_there_is_said(name, message):
    refused(message, find_network, name)


def test_the_example_study_is_valid(root, monkeypatch):
    monkeypatch.chdir(root)
    study = load_study(root / "examples" / "other_hospitals" / "study.yml")
    assert re.fullmatch(r"rhythms-\w{8}-100hz\.h5", study.prepared.name)
    assert replace(study, mapping="mine/rhythms.yml").prepared != study.prepared
    assert study.run_parameters("12-lead")["network"] == study.network == NETWORK
    assert not study.has_book
    refused("its records are your own", build_book, study, root)
    assert read_mapping(root / study.mapping).classes["AF"].meaning == "atrial fibrillation"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"mapping": ""}, "table is 'outputs/external/table.csv' and mapping ''; valid: both"),
     ({"variants": ("scratch",), "configurations": ("12-lead",)}, "an ablation is about the study"),
     ({"network": "nowhere.py:N"}, "network .*no file nowhere.py"),
     ({"recipe": "default"}, "needs a recipe from random weights")],
)  # fmt: skip
def test_what_a_study_cannot_mean_is_refused(root, monkeypatch, changes, message):
    monkeypatch.chdir(root)
    study = load_study(root / "examples" / "other_hospitals" / "study.yml")
    refused(message, replace, study, **changes)


def test_the_chapter_shows_the_files_of_the_example(root):
    chapter = (root / "book" / "your_data.md").read_text()
    for name, start in (
        ("examples/small_network.py", "import itertools"),
        ("examples/other_hospitals/rhythms.yml", "title:"),
        ("examples/other_hospitals/study.yml", "name:"),
    ):
        text = (root / name).read_text()
        assert text[text.index(start) :].strip() in chapter, name


# --- a whole study --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_of_own_records_and_an_own_network_runs_to_its_page(records, tmp_path, tree, root):
    table, mapping = written(records[1], tmp_path)
    study = {
        "source": str(records[0]), "table": str(table), "mapping": str(mapping),
        "configurations": ["12-lead", "1-lead-II"], "recipe": "scratch", "n_resamples": 100,
        "compare_with": "original", "network": f"{root}/{NETWORK}",
    }  # fmt: skip
    tree.write_study(study, "own")
    tree.ran("--all", study="workflow/studies/own.yml")
    out = tree.folder / "outputs" / "own"
    page = (out / "notebooks" / "04_analysis.ipynb").read_text()
    assert "Not asked: this is about the five superclasses" in page
    summary = json.loads((out / "tables" / "summary.json").read_text())
    assert summary["study"]["data"].startswith("Made-up rhythms")


# --- the real records of other hospitals, where they are at hand ----------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The folder with all records of three other hospitals."""
    path = real("LEADMIN_EXTERNAL")
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "signals")
    return folder / "signals"


@pytest.mark.slow
def test_pacemakers_of_three_hospitals_are_noticed_and_hardly_anything_else(elsewhere):
    found = {True: [], False: []}
    for header in elsewhere.rglob("*.hea"):
        (recording,) = read_recordings(header)
        paced = re.search("pacing|P-synchrony", header.read_text()) is not None
        x = recording.signals[:, : round(10 * recording.sampling_rate)]
        found[paced].append(len(pacing_spikes(x, recording.sampling_rate)) > 0)
    assert (len(found[True]), sum(found[True])) == (10, 9)
    assert (len(found[False]), sum(found[False])) == (418, 3)


@pytest.mark.slow
def test_rhythms_of_three_hospitals(tmp_path, root, elsewhere):
    example = root / "examples" / "other_hospitals"
    make = [sys.executable, str(example / "make_table.py"), str(elsewhere)]
    subprocess.run([*make, str(tmp_path / "table.csv")], check=True)
    report = prepare_own(elsewhere, tmp_path / "x.h5", tmp_path / "table.csv",
                         example / "rhythms.yml", quiet=True)  # fmt: skip
    counts = {"SR": 182, "AF": 46, "brady": 40, "1st AVB": 20, "RBBB": 74, "LBBB": 19,
              "PAC_PVC": 40}  # fmt: skip
    assert (report.n_records, report.class_counts["any"]) == (428, counts)
    data = load_dataset(tmp_path / "x.h5")
    settings = RunSettings(config="12-lead", out=str(tmp_path / "run"), recipe="scratch",
                           compare_with="", protocol="crossval", epochs=3)  # fmt: skip
    run = train_run(settings, data)
    assert run.classes == tuple(counts)
    assert len(run.test.record_id) == 361
