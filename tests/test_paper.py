"""The paper: no typed results, nothing that the study lacks, and a PDF that shows its numbers."""

import json
import re
import shutil
import subprocess
from datetime import date
from functools import cache

import pytest
from typer.testing import CliRunner

from leadmin.cli.main import app
from leadmin.errors import LeadminError
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


@pytest.fixture(scope="module")
def sample_results(root, tmp_path_factory):
    """What `leadmin publish` leaves of a study, as far as a paper reads it."""
    folder = tmp_path_factory.mktemp("published") / "sample"
    shutil.copytree(root / "tests" / "results", folder)
    for name in ("recipes", "recalibration", "subgroups", "classes", "ranks"):
        shutil.copyfile(folder / "figures" / "answer.pdf", folder / "figures" / f"{name}.pdf")
    return folder


def changed(source, target, change):
    """A copy of published results in which ``change`` has edited the document."""
    shutil.copytree(source, target)
    path = target / "tables" / "results_final.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return target


def as_cross_validation(document):
    """Another study: pooled folds, one seed, a decided answer, the second recipe on four sets."""
    document["study"] |= {"protocol": "crossval", "name": "subset", "title": "50% & #1_$~^\\"}
    few = ("12-lead", "6-lead-limb", "3-lead-I-II-V2", "2-lead-I-II")
    made = document["tables"]
    for name, rows in made.items():
        made[name] = [
            r for r in rows if r.get("recipe") != "original" or r.get("config", few[0]) in few
        ]
    made["recipe_comparison"] = [r for r in made["recipe_comparison"] if r["config"] in few]
    for row in made["main"]:
        row["n_seeds"] = 1
        if row["config"] == "3-lead-I-II-V2":
            row |= {"difference_low": -0.009, "non_inferior": True}
    for row in made["key_findings"]:
        if row["recipe"] == "original" and row["finding"] == 3:
            row |= dict.fromkeys(("effect", "low", "high", "p", "p_holm"))
    row = {"recipe": "default", "config": "3-lead-I-II-V2", "difference": -0.004, "low": -0.008}
    made["folds"] = [row | {"high": 0.001, "n_folds": 10, "n_folds_better": 4}]
    row = made["main"][0]
    group = {"grouping": "sex", "subgroup": "female", "enough": True, "fewest_positives": 30}
    made["subgroups"] = [row | group]


def as_one_recipe(document):
    document["study"]["recipes"] = ["default"]
    for rows in document["tables"].values():
        rows[:] = [row for row in rows if row.get("recipe") == "default"]


@pytest.fixture(scope="module")
def results(sample_results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    crossval = changed(sample_results, folder / "crossval", as_cross_validation)
    figures = crossval / "figures"
    shutil.copyfile(figures / "answer.pdf", figures / "my_own_idea.pdf")
    return {
        "holdout": sample_results,
        "crossval": crossval,
        "one recipe": changed(sample_results, folder / "one", as_one_recipe),
    }


@pytest.fixture
def tree(root, tmp_path):
    """A source tree of its own, whose text a test may change."""
    target = tmp_path / "tree"
    (target / "paper").mkdir(parents=True)
    (target / "book").mkdir()
    for name in ("main.tex", "supplement.tex", "preamble.tex"):
        shutil.copyfile(root / "paper" / name, target / "paper" / name)
    shutil.copyfile(root / "book" / "references.bib", target / "book" / "references.bib")
    shutil.copyfile(root / "CITATION.cff", target / "CITATION.cff")
    return target


def test_no_result_is_typed_in_the_paper_and_one_would_be_found(root):
    text = (root / "paper" / "main.tex").read_text(encoding="utf-8")
    assert typed_numbers(text) == []
    for typed in ("an AUROC of 0.912", r"93.7\%", "1,513 records", "$-0.006$"):
        with_it = text.replace(r"\section{Results}", rf"\section{{Results}} {typed}")
        assert typed_numbers(with_it), typed


def test_every_value_that_the_paper_asks_for_is_there_in_some_study(root, results, tree):
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


def test_numbers_are_those_of_the_results(sample_results):
    document = json.loads((sample_results / "tables" / "results_final.json").read_text())
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
    assert value(sample_results, *asked) == expected


def test_what_is_null_has_no_number(results):
    asked = ('findings["3a"].effect', 'findings["3a"]|interval("effect")')
    assert all(value(results["holdout"], *(f"other.{one}" for one in asked)))
    for one in ("twelve.difference_p_holm", *(f"other.{one}" for one in asked)):
        with pytest.raises(LeadminError, match="null in the study's results"):
            value(results["crossval"], one)


def test_wordings_follow_the_study(results):
    holdout, crossval, one = (values(results[n]) for n in ("holdout", "crossval", "one recipe"))
    assert not holdout["crossval"]
    assert crossval["crossval"]
    assert crossval["primary"]["within"]
    assert not holdout["primary"]["within"]
    assert holdout["other"]
    assert not one["other"]


@pytest.mark.parametrize("sealed", ["all", "notebooks/04_analysis.ipynb"])
def test_a_table_of_other_results_is_refused(sample_results, tmp_path, sealed):
    folder = tmp_path / "mixed"
    shutil.copytree(sample_results, folder)
    (folder / sealed).parent.mkdir(exist_ok=True)
    seal(folder / f"{sealed}.sha256", (folder / "tables").iterdir())
    published.read_published(folder)
    (folder / "tables" / "table_main.tex").write_text("of another study")
    with pytest.raises(LeadminError, match=r"table_main\.tex: missing or not the file"):
        published.read_published(folder)


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
def test_unfit_results_are_named(sample_results, tmp_path, spoil, message):
    folder = tmp_path / "results"
    shutil.copytree(sample_results, folder)
    spoil(folder)
    with pytest.raises(LeadminError, match=message):
        published.read_published(folder)


def test_the_larger_published_study_is_the_default(sample_results, tmp_path):
    folder = tmp_path / "book" / "published"
    with pytest.raises(LeadminError, match="STUDY_RESULTS"):
        published.default_results(tmp_path)
    shutil.copytree(sample_results, folder / "sample")
    assert published.default_results(tmp_path) == folder / "sample"
    shutil.copytree(sample_results, folder / "subset")
    assert published.default_results(tmp_path) == folder / "subset"


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
    return cache(
        lambda name: paper.build_paper(results[name], root, tmp_path_factory.mktemp("build"))
    )


def page_text(path) -> str:
    done = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True)
    return re.sub(r"\s+", " ", done.stdout)


@needs_tex
@pytest.mark.parametrize(
    "name",
    ["holdout", *(pytest.param(n, marks=pytest.mark.slow) for n in ("crossval", "one recipe"))],
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
    assert ("this project’s network" in text) == (name != "one recipe")
    assert ("These records cannot decide it" in text) == (name != "crossval")


@pytest.mark.slow
@needs_tex
def test_same_results_same_bytes(build, root, sample_results, tmp_path):
    again = paper.build_paper(sample_results, root, tmp_path)
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
    with pytest.raises(LeadminError, match=message):
        typeset(tmp_path, typed)


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
def test_what_leads_nowhere_stops_the_build(tree, sample_results, tmp_path, typed, message):
    source = tree / "paper" / "main.tex"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace(r"\section{Results}", rf"\section{{Results}} {typed}"))
    with pytest.raises(LeadminError, match=message):
        paper.build_paper(sample_results, tree, tmp_path / "build")
    assert not (tmp_path / "build" / "main.pdf").exists()


def test_a_figure_that_the_paper_lacks_goes_to_the_supplement(root, results):
    made = paper.filled_documents(study(results["crossval"]), root)
    text, shown = (
        re.findall(r"\{figure-([\w-]+)\}", made[f"{name}.tex"]) for name in paper.DOCUMENTS
    )
    drawn = {path.stem for path in (results["crossval"] / "figures").glob("*.pdf")}
    assert {"my_own_idea", "subgroups"} <= set(shown)
    assert text
    assert sorted(shown) == sorted(drawn - set(text))
    assert "my own idea" in made["supplement.tex"]
