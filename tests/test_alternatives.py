"""Figures are described in words, by what the page says of them."""

import pytest
from docutils import nodes

from leadmin.publish.alternatives import LONGEST, words_for


def page(*before, image=None):
    image = image or nodes.image(uri="x.png")
    cell = nodes.container("", *before, nodes.container("", image))
    nodes.section("", nodes.title("", "Title"), nodes.paragraph("", "Above."), cell)
    return image


READING = nodes.raw("", "<p>All <em>twelve</em>, together,\nreach 0.9.</p>", format="html")
TABLE = nodes.raw("", "<table><tr><td>0.9</td></tr></table>", format="html")
CODE = nodes.literal_block("", "answers.show('x')")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ([READING], "All twelve, together, reach 0.9."),
        ([READING, TABLE], "All twelve, together, reach 0.9."),
        ([CODE], "Above."),
        ([], "Above."),
    ],
)
def test_a_figure_is_described_by_what_is_said_last_before_it(before, words):
    assert words_for(page(*(node.deepcopy() for node in before))) == words


def test_a_caption_describes_best():
    image = nodes.image(uri="x.png")
    nodes.figure("", image, nodes.caption("", "What fewer electrodes lose."))
    assert words_for(image) == "What fewer electrodes lose."


def test_a_description_ends_with_a_sentence():
    sentence = "Ten words that fill a line as well as any. "
    words = words_for(page(nodes.paragraph("", sentence * 20)))
    assert words == (sentence * (LONGEST // len(sentence))).strip()
    assert words_for(page(nodes.paragraph("", "word " * 100))).endswith("word …")
    assert words_for(nodes.image(uri="x.png")) == ""
