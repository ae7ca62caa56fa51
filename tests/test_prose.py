"""Numbers and figures in a notebook's prose, as a build of the book shows them."""

from base64 import b64encode

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pages import built_page

from leadmin.show.words import facts

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


@pytest.fixture
def build(root, tmp_path, monkeypatch):
    """Build a page of an executed notebook with this prose, warnings being errors."""

    def run(prose):
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
        nbformat.write(new_notebook(cells=cells, metadata=python), tmp_path / "index.ipynb")
        monkeypatch.syspath_prepend(str(root / "book" / "_ext"))
        extensions = ["myst_nb", "prose"]
        return built_page(tmp_path, extensions=extensions, numfig=True, nb_execution_mode="off")

    return run


def test_a_page_shows_the_numbers_and_the_figures_that_its_prose_names(build):
    status, said, html = build(PROSE)
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
def test_what_no_cell_gave_stops_the_build(build, prose, wrong):
    status, said, _ = build(f"# Page\n\n{prose}\n")
    assert status != 0
    assert wrong in said


def test_jupyterlab_finds_the_same_under_the_same_names():
    facts(**VALUES, drawn=Figure())
    shown = {name: eval(f"facts.{name}") for name in (*VALUES, "drawn")}
    assert {name: shown[name] for name in VALUES} == VALUES
    assert eval('f"{facts.share:.0%}"') == "75%"
    assert shown["drawn"]._repr_html_().startswith("<img ")
