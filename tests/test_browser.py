"""The book as a reader's browser shows it: every page, wide and narrow, light and dark.

`make report` is built once, in a copy of the source tree. LEADMIN_HTML names the folder of a book
that is there already, such as outputs/sample/book/html, to be looked at instead.
"""

import functools
import importlib.util
import os
import re
import shutil
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from trees import Tree

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome"),
    pytest.mark.timeout(900),
]

WIDE, NARROW = 1400, 390
"""Widths in pixels, of a desk and of a phone."""
A4 = 718
"""Width in pixels of a printed page between its margins."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
LARGE = "published/subset/04_analysis.html"


@pytest.fixture(scope="module")
def html(root, tmp_path_factory) -> Path:
    """The folder of the built report."""
    if given := os.environ.get("LEADMIN_HTML"):
        return Path(given)
    tree = Tree(root, tmp_path_factory.mktemp("report"))
    result = tree.process(tree.command("report"), timeout=880)
    log = tree.folder / "outputs" / "report" / "workflow.log"
    assert result.returncode == 0, result.stderr + log.read_text(encoding="utf-8")[-8000:]
    index = Path(result.stdout.strip())
    assert index == tree.folder / "outputs" / "report" / "html" / "index.html"
    assert not list(tree.folder.glob("outputs/*/runs")), "a report trains nothing"
    return index.parent


@pytest.fixture(scope="module")
def pages(html) -> list[str]:
    found = [path.relative_to(html) for path in sorted(html.rglob("*.html"))]
    return [path.as_posix() for path in found if path.parts[0] != "_static"]


class Server(SimpleHTTPRequestHandler):
    """Serves the book as its host does: what is not there is answered by 404.html."""

    def log_message(self, *_):
        pass

    def send_error(self, code, message=None, explain=None):
        page = (Path(self.directory) / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


@pytest.fixture(scope="module")
def site(html):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, site):
    """Open a tab of a width and theme that writes down what goes wrong in it."""
    contexts = []

    def opened(width=WIDE, theme="light"):
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=theme, base_url=site))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # the machine may have other work
        page.wrong = []
        page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda asked: page.wrong.append(asked.url) if away(asked.url) else None)
        page.on("response", lambda r: page.wrong.append(r.url) if r.status >= 400 else None)
        return page

    def away(url):
        return not url.startswith((site, "data:", "blob:"))

    yield opened
    for context in contexts:
        context.close()


# --- every page -------------------------------------------------------------------------------

# Rows of a table are alike. Without most of them axe takes seconds for what takes it minutes.
SHORTEN = "document.querySelectorAll('tbody tr:nth-child(n+4)').forEach((row) => row.remove())"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize(
    ("width", "theme", "with_axe"),
    [
        (WIDE, "light", True),
        (NARROW, "dark", True),
        pytest.param(WIDE, "dark", False, marks=pytest.mark.slow),
        pytest.param(NARROW, "light", False, marks=pytest.mark.slow),
    ],
)
def test_every_page_is_sound(open_page, pages, width, theme, with_axe):
    """No error, no other host, nothing missing, no sideways scroll, and nothing serious for axe.

    A page that is open is shown at the other width too.
    """
    page, axe, wrong = open_page(width, theme), Axe(), {}
    for name in pages:
        page.wrong.clear()
        page.goto(name)
        assert page.evaluate("document.documentElement.dataset.theme") in (theme, None), name
        found = []
        for shown in (WIDE + NARROW - width, width):
            page.set_viewport_size({"width": shown, "height": 900})
            if (beyond := page.evaluate(SIDEWAYS)) > 0:
                found.append(f"{beyond} pixels wider than a screen of {shown}")
        found += page.wrong
        if with_axe:
            page.evaluate(SHORTEN)
            options = {"resultTypes": ["violations"], "runOnly": RULES}
            for violation in axe.run(page, options=options).response["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    first = violation["nodes"][0]
                    found.append(f"{violation['id']}: {first['html'][:200]} {first['any'][:1]}")
        if found:
            wrong[name] = found
    assert wrong == {}


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors, self.meta = [], {"", "top"}, {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given.get("id"), given.get("name")}
        if tag == "meta":
            self.meta[given.get("name") or given.get("property")] = given.get("content")
        self.targets += [given[key] for key in ("href", "src") if given.get(key)]


def test_no_link_is_broken(html, pages):
    read = {name: Links((html / name).read_text(encoding="utf-8")) for name in pages}
    broken = []
    for name, links in read.items():
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target) or name == "404.html":
                continue
            path, anchor = urldefrag(urljoin(f"/{name}", target.partition("?")[0]))
            path = unquote(path).strip("/") or "index.html"
            lost = not (html / path).is_file()
            if lost or (path in read and unquote(anchor) not in read[path].anchors):
                broken.append(f"{name}: {target}")
    assert broken == []


def test_every_page_says_what_it_is(html, pages):
    for name in set(pages) - {"404.html", "search.html"}:
        meta = Links((html / name).read_text(encoding="utf-8")).meta
        assert len(meta["og:title"]) > 3, name
        assert meta["description"] == meta["og:description"], name
        assert len(meta["description"].split()) > 3, name


def test_formulas_need_no_script(html, pages):
    text = (html / "methods.html").read_text(encoding="utf-8")
    assert "<mfrac>" in text
    assert "\\mathrm" not in text
    every = "".join((html / name).read_text(encoding="utf-8") for name in pages)
    assert not re.search("mathjax@|THEBE_JS_URL", every)


# --- what a reader does -----------------------------------------------------------------------


def test_the_landing_page_is_light(open_page):
    page, answers = open_page(), []
    page.on("response", lambda answer: answers.append(answer))
    page.goto("index.html", wait_until="networkidle")
    sizes = {answer.url: len(answer.body()) for answer in answers}
    assert sum(sizes.values()) < 1_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:8]


def test_icons_are_there(open_page):
    page = open_page()
    page.goto("index.html")
    icon = page.locator(".article-header-buttons .fa-expand")
    shown = icon.evaluate("icon => [getComputedStyle(icon, '::before').content, icon.offsetWidth]")
    assert shown[0].strip('"') == "\uf065"
    loaded = "document.fonts.load('900 16px \"Font Awesome 6 Free\"', '\\uf065')"
    assert page.evaluate(f"{loaded}.then((faces) => faces.length)") == 1
    assert shown[1] > 8


def test_a_wide_table_is_reached_by_keyboard_and_says_that_it_scrolls(open_page):
    page = open_page(NARROW)
    page.goto(LARGE)
    table = page.locator(".scrolls.overflows:visible").first
    assert "scrolls sideways" in table.evaluate("t => getComputedStyle(t, '::before').content")
    assert table.evaluate("t => getComputedStyle(t).maskImage").startswith("linear-gradient")
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.scrolls')"):
            break
    assert page.evaluate("document.activeElement.matches('.scrolls.overflows')")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_a_search_shows_text(open_page):
    page = open_page()
    page.goto("search.html?q=hypertrophies")
    page.wait_for_selector("#search-results li p.context")
    for excerpt in page.locator("#search-results li p.context").all_inner_texts():
        assert len(excerpt.split()) > 15, excerpt
        assert not re.search(r"\.ipynb|\.md|\.pdf|\s{3}", excerpt), excerpt
    assert page.wrong == []


def test_a_lost_reader_finds_home(open_page, site):
    page = open_page()
    assert page.goto("published/map/no-such-page.html").status == 404
    page.wait_for_function(f"document.getElementById('home').href === '{site}index.html'")
    page.get_by_role("link").click()
    assert "How few" in page.locator("h1").first.inner_text()


CUT = """() => [...document.querySelectorAll(".bd-article *:not(.visually-hidden)")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth
    && getComputedStyle(one).overflowX !== "visible")
  .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("name", ["index.html", "methods.html", "data.html", LARGE])
def test_nothing_is_cut_on_paper(open_page, name):
    page = open_page(A4)
    page.goto(name)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".bd-article details:not([open])").count() == 0
    assert page.evaluate(CUT) == []
    assert page.evaluate(SIDEWAYS) == 0


# --- where the book leads ---------------------------------------------------------------------


@pytest.fixture
def extension(root, monkeypatch):
    def loaded(repository):
        monkeypatch.setenv("LEADMIN_REPOSITORY", repository)
        spec = importlib.util.spec_from_file_location("page", root / "book" / "_ext" / "page.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


@pytest.mark.parametrize(
    ("page", "notebook"),
    [
        ("published/map/06_map", "06_map"),
        ("notebooks/02_resnet", "02_resnet"),
        ("runs/1-lead-I", "03_training"),
        ("methods", None),
    ],
)
def test_a_notebook_can_be_run_where_the_repository_is(root, extension, page, notebook):
    made = list(extension("https://github.com/someone/ecg/").elsewhere(page))
    assert made[0][0] == "https://github.com/someone/ecg"
    launched = [url.rpartition("/")[2] for url, *_ in made[1:]]
    assert launched == ([f"{notebook}.ipynb"] if notebook else [])
    assert all((root / "notebooks" / name).is_file() for name in launched)


def test_a_link_to_a_page_has_a_picture_where_the_address_is_known(extension, monkeypatch):
    app = SimpleNamespace(config=SimpleNamespace(project="Book", html_title="The book"))
    monkeypatch.setenv("LEADMIN_BOOK_URL", "https://someone.github.io/ecg/")
    context = {"title": "How <em>few</em>?", "header_buttons": []}
    extension("https://github.com/someone/ecg").describe(app, "methods", "", context, None)
    meta = Links(context["metatags"]).meta
    assert meta["og:title"] == "How few?"
    assert meta["og:url"] == "https://someone.github.io/ecg/methods.html"
    assert meta["og:image"] == "https://someone.github.io/ecg/_static/preview.png"
    assert [button["icon"] for button in context["header_buttons"]] == ["fab fa-github"]


def test_without_a_repository_no_button_leads_to_one(html, pages, extension):
    assert extension("").REPOSITORY == ""
    for name in pages:
        assert "mybinder" not in (html / name).read_text(encoding="utf-8"), name
    assert (html / "_static" / "preview.png").stat().st_size > 10_000
