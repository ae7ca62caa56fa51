"""What is written: complete, valid, the same bytes each time, and fit for LaTeX."""

import json
import re
import shutil
import subprocess

import jsonschema
import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import gathered, synthetic_runs, with_groups, with_original_on
from hypothesis import given
from hypothesis import strategies as st
from trouble import refused

from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import gather
from leadmin.publish.results import schema, write_publication_outputs
from leadmin.questions import questions, study_tables
from leadmin.questions.answer import main_table
from leadmin.questions.findings import CLAIMS
from leadmin.show.words import LATEX_SPECIAL, latex_escape

BOTH = ("default", "original")
TEXTS = {"RESULTS.md", "summary.json", "results_final.json"}
TEXTS |= {f"table_{name}.tex" for name in ("main", "perclass", "findings")}


@pytest.fixture(scope="module")
def study():
    words = ("sample", "How few leads? 50% & 3_leads", "synthetic ECGs #1", "holdout")
    return StudyDescription(*words)


@pytest.fixture(scope="module")
def evidence():
    names = ["12-lead", "6-lead-limb", "3-lead-I-II-V2", "2-lead-I-II", "2-lead-II-V2"]
    return gathered([*names, "1-lead-V5", "1-lead-I"], 300, 60, BOTH, n_seeds=2)


@pytest.fixture(scope="module")
def made(evidence):
    rng = np.random.default_rng(0)
    sex = rng.choice(["male", "female"], evidence.n_records)
    return study_tables(with_groups(evidence, sex=sex))


@pytest.fixture(scope="module")
def folder(evidence, study, made, tmp_path_factory):
    target = tmp_path_factory.mktemp("tables")
    written = write_publication_outputs(evidence, target, study, made)
    assert {path.name for path in written} == {path.name for path in target.iterdir()}
    return target


def test_every_output_is_there(folder):
    # one fold is tested, under one label policy
    tables = {f"{table}.csv" for question in questions() for table in question.tables}
    assert {"main.csv", "missed.csv", "folds.csv"} < tables
    without = {"folds.csv", "label_policies.csv"}
    assert {path.name for path in folder.iterdir()} == TEXTS | tables - without


def test_the_same_evidence_gives_the_same_bytes(study, tmp_path):
    for name in "ab":
        evidence = gathered(("12-lead", "2-lead-I-II"), 200, 40, BOTH, n_seeds=2)
        halves = with_groups(evidence, half=np.where(np.arange(200) < 100, "first", "second"))
        write_publication_outputs(halves, tmp_path / name, study, study_tables(halves))
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes(), path.name


def test_json_holds_the_tables(evidence, folder):
    results = json.loads((folder / "results_final.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema())
    for document in (results, summary):
        jsonschema.validate(document, schema())
    main = main_table(evidence, "original").set_index("config")
    rows = {(row["config"], row["recipe"]): row for row in results["tables"]["main"]}
    assert rows["1-lead-V5", "original"]["auroc"] == float(f"{main.loc['1-lead-V5', 'auroc']:.6g}")
    short = summary["recipes"]["original"]["1-lead-V5"]
    assert short["lrs"] == float(f"{main.loc['1-lead-V5', 'lrs']:.6g}")
    assert summary["study"]["n_patients"] == evidence.n_patients
    assert len(summary["key_findings"]) == 2 * len(CLAIMS)
    assert results["tables"]["main"][0]["difference_p"] is None
    assert set(results["tables"]).isdisjoint({"decision_curves", "lrs_weights"})


def test_csv_reads_back(made, folder):
    for name in ("main", "calibration", "subgroups"):
        back = pd.read_csv(folder / f"{name}.csv")
        assert list(back.columns) == list(made[name].columns)
        numbers = made[name].select_dtypes("number").columns
        kept = made[name][numbers].astype(float).map(lambda x: float(f"{x:.6g}"))
        np.testing.assert_array_equal(back[numbers].to_numpy(float), kept.to_numpy())


@pytest.mark.parametrize(
    ("where", "value"),
    [("auroc", 1.2), ("n_seeds", 0), ("config", None), ("difference_p_holm", -0.1)],
)
def test_what_does_not_fit_the_schema_is_not_written(evidence, study, made, tmp_path, where, value):
    broken = dict(made)
    broken["main"] = made["main"].astype(object).copy()
    broken["main"].loc[2, where] = value
    # the summary holds some of the columns, and is checked first
    place = r"\$\.(tables\.main\[2\]|recipes\.default\['3-lead-I-II-V2'\])"
    words = rf"results_schema\.json at {place}"
    refused(words, write_publication_outputs, evidence, tmp_path, study, broken)
    assert not list(tmp_path.iterdir())


def test_every_table_says_what_it_stands_on(evidence, folder):
    patients = f"{evidence.n_patients} patients"
    for name in ("table_main.tex", "table_perclass.tex", "table_findings.tex", "RESULTS.md"):
        text = (folder / name).read_text()
        for needed in ("synthetic ECGs", "300 test records", patients, "2 seeds", "holdout"):
            assert needed in text, (name, needed)


def test_seeds_that_differ_are_said_to_differ(study):
    runs = synthetic_runs(120, 1, ("default",), {"12-lead": 2.0})
    runs |= synthetic_runs(120, 3, ("default",), {"1-lead-II": 1.5})
    assert "1 to 3 seeds" in basis(gather(runs, n_resamples=20), study)


def test_report_shows_the_numbers_of_the_main_table(evidence, folder):
    report = (folder / "RESULTS.md").read_text()
    row = main_table(evidence).set_index("config").loc["2-lead-II-V2"]
    shown = f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]"
    assert re.search(rf"\| 2-lead-II-V2 +\| 2 +\| {re.escape(shown)} +\|", report)
    # the reference is not compared with itself
    reference = next(line for line in report.splitlines() if re.match(r"\| 12-lead +\| 12 ", line))
    assert reference.split("|")[4].strip() == "\N{EN DASH}"
    for question in CLAIMS:
        assert report.count(question.question) == 2


def test_latex_numbers_are_those_of_the_main_table(evidence, folder):
    text = (folder / "table_main.tex").read_text()
    row = main_table(evidence, "original").set_index("config").loc["1-lead-I"]
    block = text[text.index("Recipe: original") :]
    line = next(line for line in block.splitlines() if line.startswith("1-lead-I &"))
    cells = [cell.strip() for cell in line.removesuffix(r"\\").split("&")]
    assert cells[2] == f"{row['auroc']:.3f}"
    assert cells[4] == f"{row['difference']:.3f}"
    assert cells[8] == f"{row['lrs']:.3f}"


def test_a_study_of_one_recipe_and_one_run_can_be_written(study, tmp_path):
    alone = gathered(["1-lead-II"], 120, 30)
    write_publication_outputs(alone, tmp_path, study, study_tables(alone))
    assert "undecidable" in (tmp_path / "RESULTS.md").read_text()
    assert not (tmp_path / "recipe_comparison.csv").exists()
    assert "{--}" in (tmp_path / "table_main.tex").read_text()


@pytest.mark.parametrize(
    "trained", [("12-lead",), ("12-lead", "3-lead-I-II-V2")], ids=["reference", "two"]
)
def test_a_recipe_on_some_configurations_only(study, tmp_path, trained):
    names = ("12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II")
    runs = with_original_on(synthetic_runs(240, 1, strength=names), trained)
    partial = with_groups(gather(runs, n_resamples=60), all=["all"] * 240)
    made = study_tables(partial)
    for name in ("main", "ranks", "calibration", "delong", "decision_curves", "subgroups"):
        assert set(made[name].query("recipe == 'original'")["config"]) == set(trained), name
    assert set(made["recipe_comparison"]["config"]) == set(trained)
    write_publication_outputs(partial, tmp_path, study, made)
    report = (tmp_path / "RESULTS.md").read_text()
    assert f"recipe original on {len(trained)} of 4 configurations" in report
    assert "not asked" in report
    assert "nan" not in report.lower().replace("provenance", "")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["recipes"]["original"]) == set(trained)


@pytest.mark.parametrize(("field", "value"), [("protocol", "hold-out"), ("label_policy", "all")])
def test_unknown_protocol_or_policy_is_refused(field, value):
    words = {"name": "a", "title": "b", "data": "c", "protocol": "holdout", field: value}
    refused(f"{field} is '{value}'; valid", StudyDescription, **words)


@given(st.text())
def test_escaped_text_has_no_live_latex_left(text):
    escaped = latex_escape(text)
    for known in sorted(LATEX_SPECIAL.values(), key=len, reverse=True):
        escaped = escaped.replace(known, "")
    assert not set(escaped) & set("\\&%$#_{}~^<>\n\r\t\0")


LATEX = shutil.which("pdflatex")


@pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed")
def test_latex_compiles(evidence, made, tmp_path):
    nasty = StudyDescription(
        "x", r"50% of $1 & #2_{x}^~\end", r"PTB-XL <1.0.3> & 50% \of {all} ~ 3_4^5 − 6", "crossval"
    )
    write_publication_outputs(evidence, tmp_path, nasty, made)
    names = sorted(path.stem for path in tmp_path.glob("*.tex"))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{siunitx}\n"
        "\\begin{document}\n"
        + "".join(f"\\input{{{name}}}\n" for name in names)
        + "See \\ref{tab:main}, \\ref{tab:perclass}, \\ref{tab:findings}.\n\\end{document}\n"
    )
    command = [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert "undefined" not in log
    assert "Missing character" not in log
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
