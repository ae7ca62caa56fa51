"""Numbers and captions for what notebooks show, and words in place of figures.

A notebook shows a figure and then its legend (`leadmin.show.words.legend`), or a table with a
heading; the words stand beside what they are about, in ``leadmin/questions``. Here they become
figures and tables of the book, which Sphinx numbers through all pages. Nothing gets a label, so
that copies of a page do not quarrel; the anchor of a figure counts within its page.

Each image is described to those who hear a page or whose images do not load: by its ``:alt:``, or
the words of its legend. An image that nobody described is a fault of the book.
"""

import html
import itertools
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LEGEND = re.compile(r'<p class="caption" data-alt="([^"]*)">(.*)</p>', re.DOTALL)
HEADED = re.compile(r"(<table[^>]*>)<caption>(.*?)</caption>(.*)", re.DOTALL)
FOLDED = re.compile(r"<details>()<summary>(.*?)</summary>(.*</table>.*</details>)", re.DOTALL)
PUBLISHED = re.compile(r"(published/\w+)/figures/\w+\.png")

log = logging.getLogger(__name__)


class NumberedTable(nodes.General, nodes.Element):
    """A caption, and a table in HTML."""


def number_outputs(document: nodes.document) -> None:
    """Make numbered figures and tables of what a notebook shows with a legend or a heading."""
    ids = (f"shown-{count}" for count in itertools.count(1))
    for raw in list(document.findall(nodes.raw)):
        text = raw.astext().strip()
        if found := LEGEND.fullmatch(text):
            output = raw.parent.parent  # with its other forms, such as plain text
            cell = output.parent
            before = reversed(cell.children[: cell.index(output)])
            image = next(image for shown in before for image in shown.findall(nodes.image))
            image["alt"] = html.unescape(found[1])
            figure = nodes.figure("", ids=[next(ids)])
            image.replace_self(figure)
            figure += [image, _caption(found[2])]
            cell.remove(output)
        elif found := HEADED.fullmatch(text) or FOLDED.fullmatch(text):
            opened = "<details><summary>Show the table</summary>" if found.re is FOLDED else ""
            table = nodes.raw("", opened + found[1] + found[3], format="html")
            whole = NumberedTable("", _caption(found[2]), table, ids=[next(ids)])
            raw.replace_self(whole)


def _caption(text: str) -> nodes.caption:
    return nodes.caption("", html.unescape(re.sub("<[^>]*>", "", text)))


def _finish(app: Sphinx, document: nodes.document, page: str) -> None:
    """Ask for words for each image, and name the notebook behind a published figure."""
    for image in document.findall(nodes.image):
        caption = next(image.parent.findall(nodes.caption), None)
        if not image.get("alt"):
            log.warning("an image that no words describe; give it an :alt:", location=image)
        study = PUBLISHED.search(image["uri"])
        behind = [name for name in app.env.found_docs if study and name.startswith(f"{study[1]}/")]
        if behind and caption is not None and not page.startswith("published/"):
            link = nodes.reference("", "The notebook behind this figure", internal=True)
            link["refuri"] = app.builder.get_relative_uri(page, behind[0])
            caption += [nodes.Text(" "), link, nodes.Text(".")]


def _open(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="numbered-table"))


def _close(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    translator.body.append("</div>\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Hand outputs to `number_outputs` when a page is read, and images on when it is whole."""
    app.add_enumerable_node(NumberedTable, "table", html=(_open, _close))
    app.connect("doctree-read", lambda _, document: number_outputs(document))
    app.connect("doctree-resolved", _finish)
    return {"parallel_read_safe": True}
