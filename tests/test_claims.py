"""Claims and numbers of the book: guarded, checked before it is built, marked on other data."""

import re
from base64 import b64encode
from io import StringIO
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from claims import Claims
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace
from trouble import refused

from leadmin.show.words import facts

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = {
    "studies": {"mine": "mine"},
    "written_for": {"n_records": [100]},
    "tables": {
        "set": {"file": "mine/sets", "by": ["config", "target"]},
        "best": {"file": "mine/sets", "by": ["target"], "largest": "auroc"},
        "within": {"file": "mine/sets", "by": ["target"], "where": {"within": True}},
    },
    "claims": {
        "two leads lose little": ["set(I,II, macro).difference.low > -0.03"],
        "all leads are the best": ["best(macro).config is 12-lead", "within(macro).rows is 2"],
    },
}
ROWS = [
    ("12-lead", 0.92, 0.9, 0.94, 0.0, 0.0, 0.0, True),
    ("I,II", 0.9, 0.88, 0.92, -0.02, -0.025, -0.015, True),
    ("II", 0.85, 0.8, 0.9, -0.07, -0.08, -0.06, False),
]
FAILING = {"difference_low_with_seeds": -0.9, "difference_high_with_seeds": 0}


@pytest.fixture
def book(tmp_path):
    def make(n_records=100, index="", **more):
        ends = ("", "_low", "_high")
        bounds = [f"{name}{end}" for name in ("auroc", "difference") for end in ends]
        table = pd.DataFrame(ROWS, columns=["config", *bounds, "within"])
        table = table.assign(target="macro", n_records=n_records, **more)
        (tmp_path / "published/mine/tables").mkdir(parents=True, exist_ok=True)
        table.to_csv(tmp_path / "published/mine/tables/sets.csv", index=False)
        (tmp_path / "claims.yml").write_text(yaml.safe_dump(DOCUMENT, sort_keys=False))
        (tmp_path / "index.md").write_text(index)
        return Claims(tmp_path)

    return make


def test_a_reference_is_written_as_the_tables_write_it(book):
    claims = book()
    for reference, written in {
        "set(I,II, macro).difference": "−0.020",
        "set(12-lead, macro).difference": "0.000",
        "set(I,II, macro).auroc:.0%": "90%",
        "set(II, macro).n_records": "100",
        "within(macro).rows": "2",
        "set(II, macro).difference.counts": "patients alone",
    }.items():
        assert claims.written(reference) == written
    assert claims.written("-set(I,II, macro).difference", interval=True) == "0.020 [0.015, 0.025]"


def test_bounds_count_training_where_the_table_does(book):
    wide = {"difference_low_with_seeds": [0, -0.04, -0.1], "difference_high_with_seeds": [0, 0, 0]}
    claims = book(**wide)
    assert claims.written("set(II, macro).difference.counts") == "patients and training"
    assert claims.cell("set(II, macro).difference.low").value == -0.1
    assert claims.cell("-set(II, macro).difference.high").value == 0.1
    refused("'two leads lose little' does not hold", claims.require)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("curve(macro).auroc", "no table 'curve'; valid: set, best, within"),
        ("set(I,II).auroc", "asked by config, target"),
        ("set(I,II, macro).brier", "no such column"),
        ("set(V9, macro).auroc", "0 rows where one is needed"),
        ("set", "names no cell"),
    ],
)
def test_a_wrong_reference_says_what_is_valid(book, text, wrong):
    refused(re.escape(wrong), book().written, text)


def test_on_other_records_a_claim_that_fails_stops_nothing(book):
    claims = book(n_records=99, **FAILING)
    claims.require()
    assert claims.claim("two leads lose little").holds is False
    assert claims.claim("all leads are the best").holds is True
    assert claims.written("set(V9, macro).auroc") == "–"


def built_page(folder, **settings):
    """Build a folder, warnings being errors; give the status, what was said, and the first page."""
    said, out = StringIO(), folder / "out"
    # Extensions add to the dictionary of suffixes: without one of its own they would add to
    # Sphinx's default, and one build would change the next.
    settings |= {"html_theme": "basic", "source_suffix": {".rst": "restructuredtext"}}
    with docutils_namespace():
        app = Sphinx(
            folder, None, out, folder / "trees", "html", settings,
            status=None, warning=said, warningiserror=True, keep_going=True,
        )  # fmt: skip
        app.build()
    return app.statuscode, said.getvalue(), (out / "index.html").read_text()


def build(folder):
    extensions = ["myst_parser", "claims"]
    return built_page(folder, extensions=extensions, myst_enable_extensions=["deflist"])


PAGE = """# Page

Two leads lose {interval}`-set(I,II, macro).difference`.{claim}`two leads lose little` All leads are
best.{claim}`all leads are the best`

```{claims}
```
"""


def test_a_build_writes_the_numbers_and_lists_every_claim(book, tmp_path):
    book(index=PAGE)
    status, said, html = build(tmp_path)
    assert status == 0, said
    assert "Two leads lose 0.020 [0.015,\N{NO-BREAK SPACE}0.025]. All leads" in html
    listed = html[html.index("<dl") :]
    for name, guard in DOCUMENT["claims"].items():
        assert name[1:] in listed
        for comparison in guard:
            assert comparison.replace(">", "&gt;") in re.sub(r"</?span[^>]*>", "", listed)


def test_a_guard_that_fails_stops_the_build_and_marks_its_sentence_on_other_records(book, tmp_path):
    book(index=PAGE, **FAILING)
    stopped = r"'two leads lose little' does not hold: .*−0.020 \[−0.900, 0.000\]"
    with pytest.raises(ExtensionError, match=stopped):
        build(tmp_path)
    book(n_records=99, index=PAGE, **FAILING)
    status, said, html = build(tmp_path)
    assert status == 0, said
    marked = html[: html.index("<dl")]
    assert marked.count("does not hold on these data") == 1


def test_a_number_or_a_claim_that_is_not_there_stops_the_build(book, tmp_path):
    book(index="# Page\n\n{value}`set(V9, macro).auroc` {claim}`no such claim`\n")
    status, said, _ = build(tmp_path)
    assert status != 0
    assert "0 rows where one is needed" in said
    assert "no claim 'no such claim'" in said


# --- numbers and figures in the prose of a notebook --------------------------------------------

PROSE = """# Page

Of {eval}`f"{facts.n:,}"` records {eval}`f"{facts.share:.0%}"`, {eval}`facts.text`; {numref}`fig-a`.

```{figure}
:name: fig-a
Drawn from {eval}`facts.n`.

{eval}`facts.drawn`
```
"""
VALUES = {"n": 12345, "share": 0.7512, "text": "0.9 [0.8, 0.95]"}
DOT = b64encode(bytes.fromhex("89504e470d0a1a0a")).decode()  # as much of a picture as is looked at


def build_prose(folder, prose):
    """Build a page of an executed notebook with this prose."""
    data = {name: {"text/plain": repr(value)} for name, value in VALUES.items()}
    data["drawn"] = {"image/png": DOT, "text/plain": "<Figure>"}
    hidden = "application/papermill.record/"
    outputs = [
        new_output(
            "display_data",
            {hidden + kind: value for kind, value in bundle.items()},
            metadata={"scrapbook": {"name": name, "mime_prefix": hidden}},
        )
        for name, bundle in data.items()
    ]
    cells = [new_markdown_cell(prose), new_code_cell("facts()", outputs=outputs)]
    python = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    nbformat.write(new_notebook(cells=cells, metadata=python), folder / "index.ipynb")
    extensions = ["myst_nb", "prose"]
    return built_page(folder, extensions=extensions, numfig=True, nb_execution_mode="off")


def test_a_page_shows_the_numbers_and_the_figures_that_its_prose_names(tmp_path):
    status, said, html = build_prose(tmp_path, PROSE)
    assert status == 0, said
    text = html.replace('<span class="pasted-text">', "").replace("</span>", "")
    assert "Of 12,345 records 75%, 0.9 [0.8, 0.95]; " in text
    assert "Drawn from 12345." in text
    assert html.count("<img") == html.count("<figure") == 1
    assert '#fig-a"' in html, "the figure can be referred to"


@pytest.mark.parametrize(
    ("prose", "wrong"),
    [
        ("{eval}`facts.n + 1`", "eval 'facts.n + 1'; valid: facts.NAME"),
        ("{eval}`facts.m`", "No key 'm' found"),
        ("```{figure}\nNo name.\n```", "ends with {eval}`facts.NAME`"),
    ],
)
def test_what_no_cell_gave_stops_the_build(tmp_path, prose, wrong):
    status, said, _ = build_prose(tmp_path, f"# Page\n\n{prose}\n")
    assert status != 0
    assert wrong in said


def test_jupyterlab_finds_the_same_under_the_same_names():
    facts(**VALUES, drawn=Figure())
    shown = {name: eval(f"facts.{name}") for name in (*VALUES, "drawn")}
    assert {name: shown[name] for name in VALUES} == VALUES
    assert eval('f"{facts.share:.0%}"') == "75%"
    assert shown["drawn"]._repr_html_().startswith("<img ")


# --- the book ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published():
    return Claims(ROOT / "book")


def test_every_claim_of_the_book_holds_on_the_published_tables(published):
    assert published.binding
    assert len(published.guards) > 30
    published.require()


def test_every_claim_is_made_in_a_chapter_and_every_chapter_claims_what_is_guarded(published):
    pages = published.pages()
    assert list(pages) == list(published.guards)
    assert [name for name, found in pages.items() if not found] == []
    listed = "\n".join(published.appendix())
    assert all(f"{name[:1].upper()}{name[1:]}\n" in listed for name in published.guards)


def test_every_number_of_the_chapters_is_in_a_published_table(published):
    found = 0
    for page in (ROOT / "book").glob("*.md"):
        for role, text in re.findall(r"\{(value|interval)\}`([^`]+)`", page.read_text("utf-8")):
            assert published.written(text, role == "interval") != "–", f"{page.name}: {text}"
            found += 1
    assert found > 100
