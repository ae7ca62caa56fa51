"""Print a built book as one PDF, typeset the paper beside it, and link both from the book.

Chromium prints what readers see, the formulas, tables and figures of the pages themselves, so that
no second layout has to be kept in step with the first, as with LaTeX. All pages become one
document: links between chapters lead to pages of the PDF, and headings are its bookmarks. It is
printed twice, since only the first print tells on which page a chapter begins.
"""

import argparse
import html
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, write_text
from leadmin.publish.paper import build_paper
from leadmin.publish.published import default_results

ROOT = Path(__file__).resolve().parent.parent
LAYOUT = Path(__file__).with_suffix(".css")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 658
"""Pixels between the margins of a page in `LAYOUT`, where tables are measured."""

PRINTED = {
    "lead-minimal-ecg.pdf": "the whole book",
    "paper.pdf": "the paper",
    "supplement.pdf": "its supplement, with the TRIPOD+AI checklist",
}
"""What is linked where it was made, and what it is called there."""
PLACE = re.compile("<!-- printed -->.*?<!-- /printed -->", re.DOTALL)
"""Where the links go, in `LINKS_ON`."""
LINKS_ON = "cite.html"

TAKEN = """([prefix, pages, root]) => {
  dispatchEvent(new Event("beforeprint"));
  const article = document.querySelector("article.bd-article");
  article.querySelectorAll("details").forEach((one) => (one.open = true));
  const unwanted = ".headerlink, script, noscript, link, button, .toctree-wrapper, .explorer-curve";
  article.querySelectorAll(unwanted).forEach((one) => one.remove());
  article.querySelectorAll(".explorer").forEach((one) => {
    one.outerHTML = "<p>On paper nothing can be switched: the explorer is in the book's pages.</p>";
  });
  article.querySelectorAll("img").forEach((one) => {
    one.loading = "eager";
    one.src = one.src;
  });
  const ids = new Set([...article.querySelectorAll("[id]")].map((one) => one.id));
  const own = (id) => (ids.has(id) ? `${prefix}--${id}` : id);
  for (const style of article.querySelectorAll("style"))
    style.textContent = style.textContent.replace(/#([\\w-]+)/g, (_, id) => "#" + own(id));
  for (const one of article.querySelectorAll("*")) {
    for (const name of ["id", "for", "headers", "aria-labelledby", "aria-describedby"])
      if (one.hasAttribute(name))
        one.setAttribute(name, one.getAttribute(name).split(" ").map(own).join(" "));
    for (const { name, value } of [...one.attributes])
      if (value.includes("url(#"))
        one.setAttribute(name, value.replace(/url\\(#([^)]+)\\)/g, (_, id) => `url(#${own(id)})`));
  }
  for (const link of article.querySelectorAll("a[href]")) {
    const url = new URL(link.href);
    if (url.protocol !== "file:") continue;
    const target = pages[decodeURIComponent(url.pathname).slice(root.length)];
    const anchor = decodeURIComponent(url.hash.slice(1));
    if (target === undefined) link.replaceWith(...link.childNodes);
    else link.setAttribute("href", `#${target}${anchor && "--" + anchor}`);
  }
  for (const one of article.querySelectorAll("use"))
    one.setAttribute("href", "#" + own((one.getAttribute("href") || "#").slice(1)));
  return [article.querySelector("h1").textContent.trim(), article.innerHTML];
}"""
"""Takes the text of a page for a document that holds all of them: everything folded is open, ids
are told apart by the chapter, and links within the book lead into the document."""

FITTED = """(width) => {
  const tables = [...document.querySelectorAll("article table")];
  const zooms = () =>
    tables.map((one) => (one.parentElement.clientWidth || width) / one.scrollWidth);
  const numbers = ".dataframe, .reading, .narrow-numbers table";
  tables.forEach((one) => one.classList.toggle("unbroken", one.matches(numbers)));
  zooms().forEach((zoom, n) => zoom < 0.6 && tables[n].classList.remove("unbroken"));
  zooms().forEach((zoom, n) => zoom < 1 && (tables[n].style.zoom = zoom));
}"""
"""Keeps numbers on one line and makes tables that are too wide for that smaller; where it would not
be legible, their cells break first, as those of words do. Everything is measured before anything is
changed, so that the document is laid out three times and not a hundred."""


def print_book(folder: Path, source: Path) -> Path:
    """Print the book in ``folder``, whose contents and citation lie in ``source``; give the PDF."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise LeadminError(
            f"the PDF of the book needs one of {', '.join(BROWSERS)}, not found; on Debian or "
            "Ubuntu: `apt install chromium fonts-dejavu-core`; elsewhere: install Chrome"
        )
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        raise LeadminError(
            "the PDF of the book needs playwright, not found; `pip install -e '.[dev]'`"
        ) from None
    target = folder / next(iter(PRINTED))
    try:
        with sync_playwright() as playwright, atomic_path(target) as scratch:
            opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = opened.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
            page.set_default_timeout(300_000)  # the machine may have other work
            page.emulate_media(media="print")
            page.set_content(_document(page, folder, source), wait_until="load")
            page.evaluate(FITTED, WIDTH)
            first = _printed(page)
            numbers = chapter_pages(first)
            page.evaluate(
                "(found) => Object.entries(found).forEach(([id, page]) =>"
                " (document.querySelector(`[data-of='${id}']`).textContent = page))",
                numbers,
            )
            last = _printed(page)
            if chapter_pages(last) != numbers:
                raise LeadminError(f"{target}: chapters moved between two prints; print it again")
            scratch.write_bytes(last)
            opened.close()
    except Error as error:
        raise LeadminError(f"{browser}: {str(error).splitlines()[0]}; print it again") from None
    return target


def _printed(page: Any) -> bytes:
    """Print what a browser shows."""
    return bytes(
        page.pdf(prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    )


def chapters(source: Path) -> list[tuple[str, list[str]]]:
    """List the parts of a book, each with its pages in their order."""
    contents = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))

    def below(entries: Sequence[Mapping[str, Any]]) -> list[str]:
        return [page for one in entries for page in (one["file"], *below(one.get("sections", ())))]

    parts = [("", [contents["root"]])]
    return parts + [(part["caption"], below(part["chapters"])) for part in contents["parts"]]


def _document(page: Any, folder: Path, source: Path) -> str:
    """Bring all pages together: cover, contents, and one section for each page."""
    parts = chapters(source)
    names = [name for _, inside in parts for name in inside]
    anchors = {f"{name}.html": f"chapter-{n}" for n, name in enumerate(names, 1)}
    root = f"{folder.resolve().as_posix()}/"
    titles: dict[str, str] = {}
    texts: list[str] = []
    for name, anchor in anchors.items():
        page.goto(f"file://{quote(root + name)}")
        titles[name], text = page.evaluate(TAKEN, [anchor, anchors, root])
        texts.append(f'<section class="chapter" id="{anchor}">{text}</section>')
    page.goto(f"file://{quote(root)}index.html")  # what addresses are relative to
    styles = page.evaluate(
        "[...document.querySelectorAll('head link[rel=stylesheet], head style')]"
        ".map((one) => one.outerHTML).join('')"
    )
    rows = []
    for caption, inside in parts:
        rows.append(f'<p class="part">{html.escape(caption)}</p>' if caption else "")
        for name in inside:
            anchor, named = anchors[f"{name}.html"], html.escape(titles[f"{name}.html"])
            rows.append(f'<a href="#{anchor}"><span>{named}</span><b data-of="{anchor}"></b></a>')
    citation = yaml.safe_load((source / "CITATION.cff").read_text(encoding="utf-8"))
    authors = ", ".join(
        one.get("name") or f"{one['given-names']} {one['family-names']}"
        for one in citation["authors"]
    )
    said = f"Version {citation['version']}, {citation['date-released']}"
    title = html.escape(citation["title"])
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{title}</title>{styles}
<style>{LAYOUT.read_text(encoding="utf-8")}</style></head><body>
<section class="cover"><img src="_static/logo.svg" alt=""><p class="title">{title}</p>
<p>{html.escape(authors)}</p><p>{said}</p>
<p class="licence">Text and code: {citation["license"]}. ECG records, and everything computed from
them: CC BY 4.0 (PTB-XL). Research results, no medical device.</p></section>
<nav class="of-book"><p class="title">Contents</p>{"".join(rows)}</nav>
<main class="bd-content"><article class="bd-article">{"".join(texts)}</article></main>
</body></html>"""


def chapter_pages(pdf: bytes) -> dict[str, int]:
    """Say on which page of a PDF that Chromium printed each chapter begins."""
    objects = dict(re.findall(rb"\n(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL))
    (tree,) = (number for number, text in objects.items() if b"/Type /Catalog" in text)

    def leaves(number: bytes) -> list[bytes]:
        kids = re.search(rb"/Kids \[(.*?)\]", objects[number], re.DOTALL)
        if kids is None:
            return [number]
        return [leaf for kid in re.findall(rb"(\d+) 0 R", kids[1]) for leaf in leaves(kid)]

    def named(key: bytes) -> bytes:
        found = re.search(rb"/%s (\d+) 0 R" % key, objects[tree])
        return found[1] if found else b""

    order = {leaf: n for n, leaf in enumerate(leaves(named(b"Pages")), 1)}
    places = re.findall(rb"/(chapter-\d+) \[(\d+) 0 R", objects.get(named(b"Dests"), b""))
    return {name.decode(): order[leaf] for name, leaf in places}


def link(folder: Path) -> None:
    """Name in the book which PDFs lie beside its pages."""
    page = folder / LINKS_ON
    text = page.read_text(encoding="utf-8")
    if not PLACE.search(text):
        raise LeadminError(f"{page}: no place for links to the PDFs; build the book again")
    items = [
        f'<li><a href="{name}">{words[0].upper()}{words[1:]}</a> (PDF, '
        f"{max(1, round((folder / name).stat().st_size / 1e6))} MB)</li>"
        for name, words in PRINTED.items()
        if (folder / name).is_file()
    ]
    rows = f"<p>Made from this copy:</p><ul>{''.join(items)}</ul>" if items else ""
    write_text(page, PLACE.sub(f"<!-- printed -->{rows}<!-- /printed -->", text))


def main() -> None:
    """Print a book that was built, and typeset the paper."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", nargs="?", type=Path, default=ROOT / "outputs/report/html")
    folder = parser.parse_args().html
    try:
        if not (folder / "index.html").is_file():
            raise LeadminError(f"{folder}: no book here; build one with `leadmin report`")
        print(print_book(folder, folder.with_name("source")))
        link(folder)
        made = build_paper(default_results(ROOT), ROOT, ROOT / "paper" / "build")
        for path, name in zip(made, list(PRINTED)[1:], strict=True):
            with atomic_path(folder / name) as scratch:
                shutil.copyfile(path, scratch)
            print(folder / name)
        link(folder)
    except LeadminError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
