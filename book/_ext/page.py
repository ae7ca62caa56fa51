"""What the book adds to its theme: formulas, weight, keyboard, previews, a page for lost readers.

A local Sphinx extension. Nothing of a page may come from another host, every page has to be usable
by keyboard and screen reader, and the landing page stays light. Most of the markup is the theme's,
so much of this mends finished pages; ``tests/test_browser.py`` says what each mend is for.
"""

import html
import os
import re
from collections.abc import Iterable
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

REPOSITORY = os.environ.get("LEADMIN_REPOSITORY", "").rstrip("/")
"""Where this source is on GitHub. Unset, a page has no button that leads there."""
BOOK_URL = os.environ.get("LEADMIN_BOOK_URL", "").rstrip("/")
"""Where the built book will be. Previews elsewhere need it to find their picture."""

PREVIEW = "published/subset/figures/curve.png"
"""What is shown beside a link to the book, in the book's sources."""

SEARCH = ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
ICON = re.compile(r'((?:\.fa-[\w-]+:(?:before|after),?)+)\{content:"(\\[0-9a-f]+|.)"\}')
FACES = {"fa-solid-900": "fa-solid fas", "fa-regular-400": "fa-regular far"}
FACES["fa-brands-400"] = "fa-brands fab"
"""The theme's icon fonts, and the classes that ask for each."""

log = logging.getLogger(__name__)


def mathml(translator: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers and screen readers read without any script."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        log.warning("formula %s: %s; valid: what docutils can write as MathML", node, error)
        raise nodes.SkipNode from error
    if block:
        translator.body.append(translator.starttag(node, "div", CLASS="math"))
        if node.get("number"):
            number = get_node_equation_number(translator, node)
            translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append(formula + "</div>\n" * block)
    raise nodes.SkipNode


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Say in a page's head what it is, and beside a notebook where it can be run."""
    title = re.sub("<[^>]*>", "", context.get("title") or app.config.project)
    said = {"og:type": "article", "og:title": html.unescape(title)}
    said["og:site_name"] = app.config.html_title
    text = first_paragraph(tree) or f"{said['og:title']}: a page of {app.config.html_title}"
    said |= {"description": text, "og:description": text}
    if BOOK_URL:
        said["og:url"] = f"{BOOK_URL}/{page}.html"
        said |= {"og:image": f"{BOOK_URL}/_static/preview.png"}
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<meta {"property" if name[:3] == "og:" else "name"}="{name}" '
        f'content="{html.escape(value)}" />\n'
        for name, value in said.items()
    )
    if REPOSITORY and "header_buttons" in context:
        context["header_buttons"] += [
            {"type": "link", "url": url, "tooltip": tooltip, "icon": icon, "label": label}
            for url, tooltip, icon, label in elsewhere(page)
        ]


def first_paragraph(tree: nodes.document | None) -> str:
    """Give the text of a page's first paragraph, cut behind a word."""
    for paragraph in tree.findall(nodes.paragraph) if tree else ():
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and text:
            return text if len(text) <= 200 else text[:200].rsplit(" ", 1)[0] + " ..."
    return ""


def elsewhere(page: str) -> Iterable[tuple[str, str, str, str]]:
    """Name where the source of this book is, and where the notebook behind a page can be run."""
    yield REPOSITORY, "Source of this book", "fab fa-github", "source"
    name = "03_training" if page.startswith("runs/") else page.rpartition("/")[2]
    on_github = REPOSITORY.removeprefix("https://github.com/")
    if page.startswith(("published/", "notebooks/", "runs/")) and on_github != REPOSITORY:
        on_binder = f"https://mybinder.org/v2/gh/{on_github}/HEAD"
        tooltip = "Run this notebook on Binder; it starts in some minutes"
        lab = f"{on_binder}?urlpath=lab/tree/notebooks/{name}.ipynb"
        yield lab, tooltip, "fas fa-rocket", "run"


def finish(app: Sphinx, failed: Exception | None) -> None:
    """Mend the pages when all are written, then leave out what none of them needs."""
    if failed or app.builder.name != "html":
        return
    out = Path(app.outdir)
    pages = [path for path in out.rglob("*.html") if "_static" not in path.parts]
    used: set[str] = set()
    for path in pages:
        text = mended(path.read_text(encoding="utf-8"), path.relative_to(out).as_posix())
        path.write_text(text, encoding="utf-8")
        used |= set(re.findall(r"\bfa[bsr]?(?:-[a-z0-9-]+)?\b", text))
    static = out / "_static"
    for script in static.glob("scripts/*.js"):  # what they add to a page later
        if script.stem != "fontawesome":
            used |= set(re.findall(r"\bfa-[a-z-]+", script.read_text(encoding="utf-8")))
    lighten(static, used)
    preview = Path(app.srcdir) / PREVIEW
    if preview.is_file():
        (static / "preview.png").write_bytes(preview.read_bytes())
    (out / "404.html").write_text(NOT_FOUND, encoding="utf-8")


TABLE = re.compile(r'(<div class="pst-scrollable-table-container">)?\s*(<table\b.*?</table>)', re.S)
REGION = '<div class="scrolls" tabindex="0" role="group" aria-label="Table, scrolls sideways">'

DARK = '(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")'
REPLACED = {
    # The theme asks for no mode, calls that an error, and is dark only after a flash of light.
    'data-default-mode=""': 'data-default-mode="auto"',
    'localStorage.getItem("mode") || ""': 'localStorage.getItem("mode") || "auto"',
    'localStorage.getItem("theme") || ""': f'localStorage.getItem("theme") || {DARK}',
    # A name that a button is called by has to be what it shows.
    '<summary aria-label="Toggle hidden content">': "<summary>",
    '<summary><span class="toctree-toggle"': (
        '<summary aria-label="Pages below this one"><span class="toctree-toggle"'
    ),
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}


def mended(text: str, name: str) -> str:
    """Mend the theme's markup of a page."""
    # Scripts that ask another host, are declared twice, or weigh more than the page.
    text = re.sub(r"\s*<script[^>]*>(?:const THEBE|window\.MathJax)[^<]*</script>", "", text)
    unwanted = ["sphinx-thebe", "fontawesome.js", *(SEARCH if name != "search.html" else ())]
    if 'class="sd-' not in text:
        unwanted += ["sphinx-design", "design-tabs"]
    for script in unwanted:
        pattern = rf'\s*<(script|link)[^>]*(?:src|href)="[^"]*{re.escape(script)}[^>]*>(</script>)?'
        text = re.sub(pattern, "", text)
    text = re.sub(r'\s*<script type="text/x-thebe-config">.*?</script>', "", text, flags=re.S)
    for theirs, ours in REPLACED.items():
        text = text.replace(theirs, ours)
    text = re.sub(r'(<button class="btn search-button-field[^>]*) aria-label="Search"', r"\1", text)
    # A column without a heading is read out as one, and seen as before.
    hidden = r'\1<span class="visually-hidden">entry</span></th>'
    text = re.sub(r"(<th\b[^>]*>)(?:\s|&nbsp;|<p></p>)*</th>", hidden, text)

    def reachable(found: re.Match[str]) -> str:
        return REGION + found[2] + ("" if found[1] else "</div>")

    head, article, rest = text.partition('<article class="bd-article">')
    text = head + article + TABLE.sub(reachable, rest)
    return re.sub(r'<(pre|div class="math[^"]*")(?=[ >])', r'<\1 tabindex="0"', text)


def lighten(static: Path, used: set[str]) -> None:
    """Keep of the icons those that the pages show, a few hundred bytes of two megabytes."""
    css = static / "styles" / "pydata-sphinx-theme.css"
    text = ICON.sub(
        lambda rule: rule[0] if used & set(re.findall(r"\.(fa-[\w-]+):", rule[1])) else "",
        css.read_text(encoding="utf-8"),
    )
    everywhere = "".join(
        path.read_text(encoding="utf-8") for path in static.rglob("*.css") if path != css
    )
    shown = {int(code, 16) for code in re.findall(r"\\(e[0-9a-f]{3}|f[0-8][0-9a-f]{2})", text)}
    shown |= {int(code, 16) for code in re.findall(r"\\(f[0-9a-f]{3})", everywhere)}
    shown |= {ord(char) for char in text + everywhere if "\ue000" <= char <= "\uf8ff"}
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    getLogger("fontTools").setLevel(WARNING)  # or what stops a build is lost among glyphs
    for face, classes in FACES.items():
        full = fonts / f"{face}.ttf"
        font = TTFont(full)
        chooser = subset.Subsetter(subset.Options(layout_features=[], notdef_outline=True))
        wanted = shown if used & set(classes.split()) or face == "fa-solid-900" else set()
        chooser.populate(unicodes=wanted)
        chooser.subset(font)
        font.flavor = "woff"
        font.save(fonts / f"{face}.woff")
        text = re.sub(rf'url\([^)]*{face}\.woff2\) format\("woff2"\),', "", text)
        text = re.sub(rf'{face}\.ttf\) format\("truetype"\)', f'{face}.woff) format("woff")', text)
        full.unlink()
        (fonts / f"{face}.woff2").unlink()
    css.write_text(text, encoding="utf-8")
    for pattern in ("**/*.map", "scripts/fontawesome.*", "sphinx-thebe.*"):
        for left in static.glob(pattern):
            left.unlink()


NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<link rel="icon" href="data:," />
<title>This page does not exist &#8212; Lead-Minimal ECG</title>
<style>
:root { background: Canvas; color: CanvasText; color-scheme: light dark; }
body { font: 1.1rem/1.6 system-ui, sans-serif; margin: 15vh auto; max-width: 34rem; padding: 1rem; }
</style>
</head>
<body>
<main>
<h1>This page does not exist</h1>
<p>It may have moved: the book was put into another order. Its front page names every chapter:
<a id="home" href="index.html">How few ECG leads do you really need?</a></p>
</main>
<script>
// A server shows this page for any address, so where the book begins has to be found.
(async () => {
  const parts = location.pathname.split("/");
  while (parts.pop() !== undefined && parts.length) {
    const root = parts.join("/") + "/";
    const answer = await fetch(root + "objects.inv", { method: "HEAD" });
    if (answer.ok) {
      document.getElementById("home").href = root + "index.html";
      return;
    }
  }
})();
</script>
</body>
</html>
"""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    renderers = (mathml, None)
    app.add_html_math_renderer("mathml", renderers, renderers)
    app.connect("html-page-context", describe, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
