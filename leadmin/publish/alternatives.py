"""Words in place of figures, for those who hear a page or whose images do not load.

A figure with a caption is described by it. One that a notebook shows is described by what is said
last before it: the reading of the same cell, which tells what the figure shows, or the prose above
the cell. A text that somebody wrote beside an image stays.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 300
"""Characters of a description; it ends with the last whole sentence before."""


def _said(node: nodes.Node) -> str:
    """Give the last words in a part of a page that are prose: no code, no table."""
    for one in reversed(list(node.findall())):
        text = ""
        if isinstance(one, nodes.paragraph | nodes.title):
            text = one.astext()
        elif isinstance(one, nodes.raw) and "<table" not in one.astext():
            text = re.sub(r"<style.*?</style>|<[^>]*>", " ", one.astext(), flags=re.DOTALL)
        if text.strip():
            return text
    return ""


def words_for(image: nodes.image) -> str:
    """Describe an image by its caption, or by what is said before it; empty where nothing is."""
    found, node = "", image
    if isinstance(image.parent, nodes.figure):
        found = next((one.astext() for one in image.parent.findall(nodes.caption)), "")
    while not found and node.parent is not None:
        before = node.parent.children[: node.parent.index(node)]
        found = next(filter(None, map(_said, reversed(before))), "")
        node = node.parent
    text = re.sub(r" ([,.;:)])", r"\1", " ".join(found.split()))  # where a tag stood
    if len(text) > LONGEST:
        text = text[:LONGEST]
        text = text[: text.rfind(". ") + 1] or f"{text.rsplit(' ', 1)[0]} \N{HORIZONTAL ELLIPSIS}"
    return text


def _describe(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Give each image of a page that has no description one."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            image["alt"] = words_for(image)


def setup(app: Sphinx) -> dict[str, bool]:
    """Describe images when a page is whole, with what other pages lend it."""
    app.connect("doctree-resolved", _describe)
    return {"parallel_read_safe": True}
