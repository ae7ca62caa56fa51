"""What notebooks show gets captions, numbers and words for those who do not see it."""

import pandas as pd
import pytest
from alternatives import NumberedTable, number_outputs
from docutils import nodes
from docutils.utils import new_document

from leadmin.questions import figure_words, questions
from leadmin.show.words import folded, headed, legend, reading_table

ABOUT = ("study", "ablation", "map", "elsewhere", "noise", "fallen")


@pytest.fixture
def table():
    return reading_table(pd.DataFrame({"lead": ["V2 < V5"]}), {"lead": "lead"})


def page(*shown):
    """Lay outputs out as the book's parser does: each in all its forms, within a cell."""
    document = new_document("page")
    cell = nodes.container()
    for node in shown:
        text = nodes.container("", nodes.literal_block("", "plain"), mime_type="text/plain")
        cell += nodes.container("", nodes.container("", node), text, nb_element="mime_bundle")
    document += cell
    return document


def raw(shown):
    return nodes.raw("", shown.data, format="html")


def test_a_figure_gets_its_caption_and_its_words():
    image = nodes.image(uri="x.png")
    words = legend('What "fewer" electrodes lose.', 'Dots & a line "up".')
    document = page(nodes.paragraph("", "A reading."), image, raw(words))
    number_outputs(document)
    (figure,) = document.findall(nodes.figure)
    assert figure["ids"] == ["shown-1"]
    assert [type(child) for child in figure] == [nodes.image, nodes.caption]
    assert figure[1].astext() == 'What "fewer" electrodes lose.'
    assert image["alt"] == 'Dots & a line "up".'
    assert not list(document.findall(nodes.raw))  # the legend stands in its place only


@pytest.mark.parametrize("show", [headed, folded])
def test_a_table_gets_its_heading_as_a_caption(show, table):
    document = page(raw(show("Missed", table)), raw(show("Missed more", table)))
    number_outputs(document)
    one, other = document.findall(NumberedTable)
    assert (one["ids"], other["ids"]) == (["shown-1"], ["shown-2"])
    assert other[0].astext() == "Missed more"
    assert "Missed" not in one[1].astext()
    assert "V2 &lt; V5" in one[1].astext()
    assert ("<details>" in one[1].astext()) == (show is folded)


def test_each_figure_of_a_question_has_words_that_say_more_than_its_caption():
    figures = {name for about in ABOUT for one in questions(about) for name in one.figures}
    assert figures == set(figure_words())
    for words in figure_words().values():
        assert words["caption"].endswith(".")
        assert len(words["alt"]) > len(words["caption"])
