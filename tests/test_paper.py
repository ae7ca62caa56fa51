"""The paper: no typed results, nothing that the study lacks, and a PDF that shows its numbers."""

import dataclasses
import json
import re
import shutil
import subprocess
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from trouble import refused
from typer.testing import CliRunner

from leadmin.cli.main import app
from leadmin.labels import CLASSES
from leadmin.publish import paper, published, typesetting
from leadmin.study.validity import seal

needs_tex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("bibtex")), reason="pdflatex is not installed"
)

TYPED = {
    "parts of findings": r"\([1-4][a-c]\)",
    "dates of recording": r"October 1989|June 1996",
    "licence": r"CC BY 4\.0",
    "lead names": r"\bV[1-6]\b",
    "a measure's name": r"\bF1\b",
    "a half, the AUROC of a coin": r"\\frac12",
}
"""The digits that the text of the paper may hold; each is a definition or a citation's fact."""


def prose(text: str) -> str:
    """The words that a reader sees: no comments, commands' arguments, keys or lengths."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    text = text[text.index(r"\begin{document}") :]
    silent = r"VAR|BLOCK|ref|label|cite\w*|includegraphics|input|setlength|bibliography\w*"
    return re.sub(rf"\\(?:{silent})(?:\[[^]]*\])?\{{[^}}]*\}}(?:\{{[^}}]*\}})?", " ", text)


def typed_numbers(text: str) -> list[str]:
    text = prose(text)
    for allowed in TYPED.values():
        text = re.sub(allowed, " ", text)
    return re.findall(r"[^\s]*\d[^\s]*", text)


@cache
def study(folder):
    return published.read_published(folder)


@cache
def values(folder):
    return paper.paper_values(study(folder))


def as_one_training(document):
    """Another study: one recipe, trained once."""
    document["study"]["recipes"] = ["default"]
    for rows in document["tables"].values():
        rows[:] = [row for row in rows if row.get("recipe") == "default"]
        for row in rows:
            row |= {"n_seeds": 1} if "n_seeds" in row else {}


def changed(source, target, change):
    """A copy of published results in which ``change`` has edited the document."""
    shutil.copytree(source, target)
    path = target / "tables" / "results_final.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return target


@pytest.fixture(scope="module")
def holdout(root):
    """What `leadmin publish` leaves of a study, as far as a paper reads it."""
    return root / "tests" / "results"


@pytest.fixture(scope="module")
def results(root, holdout, tmp_path_factory):
    once = changed(holdout, tmp_path_factory.mktemp("results") / "once", as_one_training)
    return {"holdout": holdout, "crossval": root / "book/published/subset", "once": once}


@pytest.fixture
def tree(root, tmp_path):
    """A source tree of its own, whose text a test may change."""
    shutil.copytree(root / "paper", tmp_path / "tree" / "paper")
    shutil.copyfile(root / "CITATION.cff", tmp_path / "tree" / "CITATION.cff")
    return tmp_path / "tree"


def test_no_result_is_typed_in_the_paper_and_one_would_be_found(root):
    text = (root / "paper" / "main.tex").read_text(encoding="utf-8")
    assert typed_numbers(text) == []
    for typed in ("an AUROC of 0.912", r"93.7\%", "1,513 records", "$-0.006$"):
        with_it = text.replace(r"\section{Results}", rf"\section{{Results}} {typed}")
        assert typed_numbers(with_it), typed


def test_every_value_that_the_paper_asks_for_is_there_in_some_study(results, tree):
    """Each place of a value is marked; every mark is reached under some study."""
    marks = set()
    for name in ("main.tex", "supplement.tex", "preamble.tex"):
        path, parts = tree / "paper" / name, []
        for i, part in enumerate(re.split(r"(\\VAR\{[^}]*\})", path.read_text(encoding="utf-8"))):
            parts.append(f"{part}@{name}-{i}@" if i % 2 else part)
            marks |= {f"@{name}-{i}@"} if i % 2 else set()
        path.write_text("".join(parts), encoding="utf-8")
    assert len(marks) > 100
    for folder in results.values():
        text = "".join(paper.filled_documents(study(folder), tree).values())
        assert r"\VAR" not in re.sub(r"(?<!\\)%.*", "", text)
        marks = {mark for mark in marks if mark not in text}
    assert marks == set()


def value(folder, *asked):
    """What the paper would write for some expressions."""
    return [paper.filled(rf"\VAR{{{one}}}", values(folder)) for one in asked]


def test_numbers_are_those_of_the_results(holdout):
    document = json.loads((holdout / "tables" / "results_final.json").read_text())
    asked, expected = [], []
    for row in document["tables"]["main"]:
        role = "primary" if row["recipe"] == "default" else "other"
        name = f'{role}.main["{row["config"]}"]'
        asked += [f"{name}.auroc", f'{name}|interval("auroc")']
        expected += [f"{row['auroc']:.3f}", f"{row['auroc_low']:.3f} to {row['auroc_high']:.3f}"]
        if row["config"] == "1-lead-V2":
            asked.append(f"{name}.difference|signed")
            expected.append(f"{row['difference']:+.3f}".replace("-", "$-$"))
    for name in ("n_records", "n_resamples"):
        asked.append(f"study.{name}")
        expected.append(f"{document['study'][name]:,}")
    positives = {r["class"]: r["n_positive"] for r in document["tables"]["per_class"]}
    asked += [f"positives.{name}" for name in CLASSES]
    expected += [f"{positives[name]:,}" for name in CLASSES]
    assert value(holdout, *asked) == expected


def test_what_is_null_has_no_number(results):
    metric = 'compare["12-lead"].{}|interval("difference")'
    assert all(value(results["crossval"], metric.format("auroc")))
    for asked in ("twelve.difference_p_holm", metric.format("ece")):
        refused("null in the study's results", value, results["crossval"], asked)


def test_wordings_follow_the_study(results):
    holdout, crossval, once = map(values, results.values())
    assert not holdout["crossval"]
    assert crossval["crossval"]
    assert crossval["primary"]["within"]
    assert not holdout["primary"]["within"]
    assert holdout["other"]
    assert not once["other"]
    assert once["seeds"] == "one seed under recipe default"


@pytest.mark.parametrize("sealed", ["all", "notebooks/04_analysis.ipynb"])
def test_a_table_of_other_results_is_refused(holdout, tmp_path, sealed):
    folder = tmp_path / "mixed"
    shutil.copytree(holdout, folder)
    (folder / sealed).parent.mkdir(exist_ok=True)
    seal(folder / f"{sealed}.sha256", (folder / "tables").iterdir())
    published.read_published(folder)
    (folder / "tables" / "table_main.tex").write_text("of another study")
    refused(r"table_main\.tex: missing or not the file", published.read_published, folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "tables" / "table_main.tex").unlink(), r"table_main\.tex: missing"),
        (lambda f: (f / "tables" / "results_final.json").write_text("{"), "not a JSON file"),
        (lambda f: (f / "tables/results_final.json").write_text('{"a": 1}'), "does not fit"),
        (lambda f: (f / "runs" / "12-lead" / "metrics.json").unlink(), r"metrics\.json: missing"),
        (lambda f: (f / "runs" / "1-lead-I" / "metrics.json").write_text("{}"), "no n_parameters"),
    ],
)
def test_unfit_results_are_named(holdout, tmp_path, spoil, message):
    shutil.copytree(holdout, tmp_path / "results")
    spoil(tmp_path / "results")
    refused(message, published.read_published, tmp_path / "results")


def test_the_larger_published_study_is_the_default(holdout, tmp_path):
    refused("STUDY_RESULTS", published.default_results, tmp_path)
    for name in ("sample", "subset"):
        folder = shutil.copytree(holdout, tmp_path / "book" / "published" / name)
        assert published.default_results(tmp_path) == folder


def test_without_tex_the_command_says_what_to_install(tmp_path):
    done = CliRunner().invoke(app, ["paper"], env={"PATH": str(tmp_path)})
    assert done.exit_code == 2
    assert re.search("pdflatex.*texlive-science", done.stderr)
    assert "Traceback" not in done.stderr


ITEMS = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 "
    "16 17 18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
)


def test_the_checklist_has_every_item_of_tripod_ai_in_order(root):
    text = (root / "paper" / "supplement.tex").read_text(encoding="utf-8")
    lists = text.split(r"\begin{longtable}")[1:]
    rows = [re.findall(r"^(\d+[a-g]?) & ", one, re.M) for one in lists]
    assert rows[0] == ITEMS.split()
    assert rows[1] == [str(n) for n in range(1, 14)]
    states = re.findall(
        r"^\d+[a-g]? & [DE;]+ & .*? & \\(yes|partly|no|na) & (.+) \\\\$", text, re.M
    )
    assert len(states) == len(ITEMS.split())


@pytest.fixture(scope="module")
def build(root, results, tmp_path_factory):
    """Typesets a study once for all tests."""
    out = tmp_path_factory.mktemp("build")
    return cache(lambda name: paper.build_paper(results[name], root, out / name))


def page_text(path) -> str:
    done = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True)
    return re.sub(r"\s+", " ", done.stdout)


@needs_tex
@pytest.mark.parametrize(
    "name", ["holdout", *(pytest.param(n, marks=pytest.mark.slow) for n in ("crossval", "once"))]
)
def test_paper_is_typeset_from_any_study(build, results, name):
    made = build(name)
    assert [path.name for path in made] == ["main.pdf", "supplement.pdf"]
    for document in paper.DOCUMENTS:
        log = (made[0].parent / "tex" / f"{document}.log").read_text(errors="replace")
        boxes = re.findall(r"Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\).*", log)
        assert [points for points in boxes if float(points) > 2] == []
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext is not installed; the PDFs were made, their text was not read")
    text = page_text(made[0])
    reference = next(row for row in study(results[name]).rows("main") if row["n_leads"] == 12)
    assert f"macro AUROC of {reference['auroc']:.3f}" in text
    assert f"{reference['auroc_low']:.3f} to {reference['auroc_high']:.3f}" in text
    assert "??" not in text + page_text(made[1])
    assert ("Ten-fold cross-validation" in text) == (name == "crossval")
    assert ("chosen on validation folds" in text) == (name == "crossval")
    assert ("this project’s network" in text) == (name != "once")
    assert ("These records cannot decide it" in text) == (name != "crossval")


@pytest.mark.slow
@needs_tex
def test_same_results_same_bytes(build, root, holdout, tmp_path):
    again = paper.build_paper(holdout, root, tmp_path)
    assert [path.read_bytes() for path in again] == [p.read_bytes() for p in build("holdout")]


def typeset(folder, text):
    """The PDF of a document that says one thing."""
    folder.mkdir(exist_ok=True)
    (folder / "references.bib").write_text("@misc{somebody, title={A}, author={B}, year={1}}")
    body = rf"{text} \cite{{somebody}} \bibliographystyle{{plainnat}} \bibliography{{references}}"
    (folder / "a.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{natbib}}\begin{{document}}{body}\end{{document}}"
    )
    typesetting.typeset(folder, "a", date(2026, 1, 31))
    return (folder / "a.pdf").read_bytes()


@needs_tex
def test_a_document_typeset_twice_is_the_same_file(tmp_path):
    pdf = typeset(tmp_path / "a", "text")
    assert b"/CreationDate (D:20260131000000Z)" in pdf
    assert typeset(tmp_path / "b", "text") == pdf


@needs_tex
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (r"Section~\ref{sec:nowhere}", "sec:nowhere"),
        (r"\cite{nobody}", "nobody"),
        (r"\undefinedcommand", "Undefined control sequence"),
        (r"\label{a}\label{a}", "defined twice"),
    ],
)
def test_what_leads_nowhere_is_not_typeset(tmp_path, typed, message):
    refused(message, typeset, tmp_path, typed)


@needs_tex
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (r'\VAR{primary.main["13-lead"].auroc}', r"main\.tex, line \d+: .*no '13-lead'; valid: 12"),
        (r"\VAR{twelve.difference_p_holm}", r"null .* it reads: .*twelve\.difference_p_holm"),
        (r"\BLOCK{if sunny}a\BLOCK{endif}", "no 'sunny'"),
        (r"\BLOCK{if crossval}a", r"main\.tex, line \d+: .*end of template"),
    ],
)
def test_what_leads_nowhere_stops_the_build(tree, holdout, tmp_path, typed, message):
    source = tree / "paper" / "main.tex"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace(r"\section{Results}", rf"\section{{Results}} {typed}"))
    refused(message, paper.build_paper, holdout, tree, tmp_path / "build")
    assert not (tmp_path / "build" / "main.pdf").exists()


def test_a_figure_that_the_paper_lacks_goes_to_the_supplement(root, results):
    made = study(results["crossval"])
    made = dataclasses.replace(made, figures=(*made.figures, Path("my_own_idea.pdf")))
    drawn, made = {path.stem for path in made.figures}, paper.filled_documents(made, root)
    text, shown = (
        re.findall(r"\{figure-([\w-]+)\}", made[f"{name}.tex"]) for name in paper.DOCUMENTS
    )
    assert {"my_own_idea", "subgroups"} <= set(shown)
    assert text
    assert sorted(shown) == sorted(drawn - set(text))
    assert "my own idea" in made["supplement.tex"]
