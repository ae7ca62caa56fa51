"""The book as a reader's browser shows it: every page, wide and narrow, light and dark.

It is the one that the workflow's tests build. LEADMIN_HTML names the folder of another, such as
outputs/sample/book/html, to be looked at instead.
"""

import functools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from test_recordings import WATCH, write_watch

import leadmin
from leadmin.data.recordings import read_recordings
from leadmin.data.resample import resample
from leadmin.leads import LEADS, lead_indices, span

pytestmark = [pytest.mark.usefixtures("browser"), pytest.mark.timeout(900)]

WIDE, NARROW = 1400, 390
"""Widths in pixels, of a desk and of a phone."""
A4 = 718
"""Width in pixels of a printed page between its margins."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
SEEN = ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]
"""The rules that width and theme decide; the others are asked of the first look alone."""
LARGE = "published/subset/04_analysis.html"


@pytest.fixture(scope="module")
def html(request, once) -> Path:
    """The folder of the built book."""
    if given := os.environ.get("LEADMIN_HTML"):
        return Path(given).resolve()
    return once("book", lambda _: request.getfixturevalue("built"))


@pytest.fixture(scope="module")
def pages(html) -> list[str]:
    found = sorted(path.relative_to(html).as_posix() for path in html.rglob("*.html"))
    return [name for name in found if not name.startswith("_static/")]


@pytest.fixture(scope="module")
def site(html):
    """Serves the book as its host does: what is not there is answered by 404.html."""

    class Server(SimpleHTTPRequestHandler):
        error_message_format = (html / "404.html").read_text("utf-8").replace("%", "%%")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def open_page(open_tab, site):
    """Open a tab of a width and theme."""

    def opened(width=WIDE, theme="light"):
        size = {"width": width, "height": 900}
        return open_tab(site, viewport=size, color_scheme=theme, base_url=site)

    return opened


# --- every page -------------------------------------------------------------------------------


def serious(page, rules) -> list[str]:
    """What axe finds in a page that is serious."""
    options = {"resultTypes": ["violations"], "runOnly": rules}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['any'][:1]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


# Rows of a table are alike, and so are links or guards of a list and words of code in one colour.
# Without most of them axe takes seconds for what takes it minutes.
SHORTEN = """() => {
  const code = document.querySelectorAll("pre span, dd code span");
  const words = [...code].filter((word) => word.offsetWidth);
  const met = new Set(), alike = words.filter((word) => met.size === met.add(word.className).size);
  const more = "tbody tr:nth-child(n+4), nav li:nth-child(n+4):not(.current)";
  const guards = document.querySelectorAll("dl:not(.glossary) > :nth-child(n+9)");
  [...alike, ...guards, ...document.querySelectorAll(more)].forEach((one) => one.remove());
}"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ALIKE = re.compile("(published/subset/)?runs/(?!12-lead[./])|notebooks/0[46]_")
"""Pages of a template that another page shows to axe."""
THEME = "(theme) => [theme, undefined].includes(document.documentElement.dataset.theme)"


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [WIDE, pytest.param(NARROW, marks=pytest.mark.slow)])
def test_every_page_is_sound(open_page, pages, width, theme):
    """No error, no other host, nothing missing, no sideways scroll, and nothing serious for axe.

    A page that is open is shown at the other width and in the other theme too.
    """
    page, wrong = open_page(), {}
    looks = (width, theme), (WIDE + NARROW - width, "dark" if theme == "light" else "light")

    def show(width, theme):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(THEME, arg=theme)

    for name in pages:
        show(*looks[0])
        page.wrong.clear()
        page.goto(name)
        page.add_style_tag(content="* { transition: none !important }")
        found = []
        for look in looks:
            show(*look)
            if (beyond := page.evaluate(SIDEWAYS)) > 0:
                found.append(f"{beyond} pixels wider than a screen of {look[0]}")
        found += page.wrong
        page.evaluate(SHORTEN)
        if not ALIKE.match(name):
            found += serious(page, RULES if name == "index.html" else SEEN)
            show(*looks[0])
            found += serious(page, RULES)
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


def test_no_link_is_broken_and_every_page_says_what_it_is(html, pages):
    read, broken = {name: Links((html / name).read_text(encoding="utf-8")) for name in pages}, []
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
    for name in set(pages) - {"404.html", "search.html"}:
        meta = read[name].meta
        assert len(meta["og:title"]) > 3, name
        assert meta["description"] == meta["og:description"], name
        assert len(meta["description"].split()) > 3, name


# --- what a reader does -----------------------------------------------------------------------


def test_the_landing_page_is_light_and_shows_its_icons(open_page):
    page, answers = open_page(), []
    page.on("response", lambda answer: answers.append(answer))
    page.goto("index.html", wait_until="networkidle")
    sizes = {answer.url: len(answer.body()) for answer in answers}
    assert sum(sizes.values()) < 1_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:8]
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
    assert page.goto("published/subset/no-such-page.html").status == 404
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


# --- the printed book ---------------------------------------------------------------------------

SHEET = """<title>{0}</title><article class="bd-article"><h1>{0}</h1><h2 id="part">Part</h2>
<p><a href="{1}.html#part">there</a> and <a href="table.csv">a file</a></p>
<details><summary>More</summary><p>unfolded {0}</p></details>
<div><table class="reading"><tr>{2}</tr></table></div></article>"""


def test_all_chapters_are_printed_as_one(root, tmp_path, monkeypatch, capsys):
    html, source = tmp_path / "html", tmp_path / "source"
    names, cells = {"index": "Front", "a": "First", "b": "Second"}, range(100, 125)
    html.mkdir()
    source.mkdir()
    row = "".join(f"<td>cell{n}</td>" for n in cells)
    for (name, title), other in zip(names.items(), ("a", "b", "index"), strict=True):
        (html / f"{name}.html").write_text(SHEET.format(title, other, row))
    part = {"caption": "Part One", "chapters": [{"file": "a", "sections": [{"file": "b"}]}]}
    (source / "_toc.yml").write_text(json.dumps({"root": "index", "parts": [part]}))
    shutil.copyfile(root / "CITATION.cff", source / "CITATION.cff")
    script = root / "workflow" / "print_book.py"
    # in a process of its own: this one has a browser already
    code = "from print_book import *; print(print_book(*map(Path, sys.argv[1:])))"
    command = [sys.executable, "-c", code, html, source]
    pdf = Path(subprocess.check_output(command, cwd=script.parent, text=True).strip())
    tool = runpy.run_path(str(script))
    data = pdf.read_bytes()
    assert tool["chapter_pages"](data) == {f"chapter-{n}": n + 2 for n in (1, 2, 3)}
    linked = set(re.findall(rb"/Dest /(chapter-\d--part)", data))
    assert linked == {b"chapter-1--part", b"chapter-2--part", b"chapter-3--part"}
    (html / "cite.html").write_text("<p><!-- printed --><!-- /printed --></p>")
    for _ in range(2):  # what was linked before is not linked twice
        tool["link"](html)
        assert Links((html / "cite.html").read_text()).targets == [pdf.name]
    if shutil.which("pdftotext"):
        text = subprocess.check_output(["pdftotext", "-layout", pdf, "-"], text=True)
        _, contents, *pages = text.split("\f")
        assert re.search(r"Front +3\s+Part One\s+First +4\s+Second +5", contents)
        for page, title in zip(pages, names.values(), strict=False):
            assert all(f"cell{n}" in page for n in cells), "a wide table is cut"
            assert f"unfolded {title}" in page
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["print_book.py", str(html)])
    with pytest.raises(SystemExit, match="2"):
        tool["main"]()
    assert re.search("needs one of chromium.*apt install chromium", capsys.readouterr().err)


def test_tables_and_notebooks_can_be_downloaded(root, html):
    linked = Links((html / "provenance.html").read_text(encoding="utf-8")).targets
    for pattern in ("tables/*.csv", "notebooks/*.ipynb"):
        for file in root.glob(f"book/published/[!.]*/{pattern}"):
            name = file.relative_to(root / "book").as_posix()
            assert name in linked
            assert (html / name).read_bytes() == file.read_bytes()
    built = ("01_data_exploration", "02_resnet")
    assert {f"_sources/notebooks/{name}.ipynb" for name in built} < set(linked)
    assert (html / "ro-crate-metadata.json").is_file()


# --- an ECG that is read in the page ----------------------------------------------------------

FILE = ".ecg-reader input[type=file]"
SAID = "document.querySelector('.er-status').textContent.match(/^(?!Reading).+/)"


@pytest.fixture
def reader(open_page, tmp_path):
    """The page that reads a file, and what it and the package answer to a table of voltages."""
    page, network = open_page(NARROW, "dark"), leadmin.load("any-lead")
    page.goto("your_ecg.html")

    def read(signals, heads, rate=100, sep=","):
        rows = [sep.join(f"{x:.4f}" for x in (t / rate, *row)) for t, row in enumerate(signals.T)]
        text = "\n".join([sep.join(["time (s)", *heads]), *rows])
        # A browser notices no second file of the same name. With semicolons, commas are decimal.
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        path.write_text(text.replace(".", ",") if sep == ";" else text)
        return read_file(path)

    def read_file(path):
        page.evaluate("document.querySelector('.er-status').textContent = ''")
        page.set_input_files(FILE, path)
        said = page.wait_for_function(SAID).json_value()[0]
        saved = page.locator(".er-answer [download]")
        if not saved.count():
            return said, page.locator(".er-answer").inner_html()
        told = json.loads(unquote(saved.get_attribute("href").partition(",")[2]))
        expected = network.read(*read_recordings(path)).as_dict()
        return flat(told), pytest.approx(flat(expected), abs=1e-4)

    read.file = read_file
    return page, read


def flat(value, path=""):
    """Every value of a nested answer, by where it stands."""
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(inside, dict):
        return {path: value}
    return {k: v for name, one in inside.items() for k, v in flat(one, f"{path}/{name}").items()}


def test_a_file_is_read_in_the_page_as_in_python(reader, sample):
    network, (page, read) = leadmin.load("any-lead"), reader
    forms = [(LEADS, 100, ","), (["I", "II", "V2"], 100, "\t"), (["V5"], 100, ",")]
    for leads, rate, sep in (*forms, (LEADS[3:7], 360, ";")):
        for row in (3, 40, 99):
            signals = resample(sample.signals[row, lead_indices(leads)], 100, rate)
            told, expected = read(signals, [f"{lead} (uV)" for lead in leads], rate, sep)
            assert told == expected
            p = network.predict(signals, leads=leads, sampling_rate=rate, unit="uV")[0]
            for k, one in enumerate(network.operating_points(leads).recalibrate(p)):
                assert told[f"/classes/{k}/probability"] == pytest.approx(one, abs=1e-4)
                assert f"{one:.1%}" in page.locator(".er-answer tbody tr").nth(k).inner_text()
            kept = page.locator(".er-answer text.lx-kept").all_text_contents()
            assert {*kept} == {*span(leads)}
        assert page.wrong == []
        assert serious(page, RULES) == [], leads
        page.wrong.clear()  # axe looks for style sheets where there are none


def test_what_is_noticed_in_a_file_is_what_python_notices(reader, sample):
    signals = np.concatenate(sample.signals[:4], axis=1)[:, :3570].astype(float)
    signals[1] += 2500 * np.sin(np.arange(3570) / 40)
    signals[6], signals[7, 100:1200], signals[8, 2000:2100] = 0, np.nan, np.nan
    signals[9] = np.clip(signals[9] + np.random.default_rng(0).normal(0, 90, 3570), -700, 700)
    odd = sample.signals[0].astype(float) * 0.1 + 400
    odd[8], odd[3], odd[9] = odd[7], -odd[3], odd[9] + 2500
    for given in (signals, odd):
        told, expected = reader[1](given, [f"{lead} [uV]" for lead in LEADS])
        assert told == expected
        assert "/noticed/4" in told


@pytest.mark.parametrize("language", WATCH)
def test_an_apple_watch_is_read_in_the_page_as_in_python(reader, tmp_path, language):
    told, expected = reader[1].file(write_watch(tmp_path / "ecg.csv", language))
    assert told == expected


def test_what_cannot_be_read_gets_a_sentence_and_no_number(reader, sample, tmp_path):
    parted = tmp_path / "parted.csv"
    parted.write_text("time (s);I (uV)\n0;987\n0,01;1.234\n")
    (page, read), wave = reader, sample.signals[3, :2].astype(float)
    for sentence, said in {
        "no lead \u201cMLII\u201d": read(wave, ["I (uV)", "MLII (uV)"]),
        "the number of a channel says no lead": read(wave, ["I (uV)", "ECG2 (uV)"]),
        "as if thousands were": read.file(parted),
        "is probably µV": read(wave, ["I (mV)", "II (mV)"]),
        "2.40 s long": read(wave[:, :240], ["I (uV)", "II (uV)"]),
        "more than once": read(wave, ["I (uV)", "Lead I (uV)"]),
        "can be read: lead I is flat": read(0 * wave, ["I (uV)", "aVF (uV)"]),
        "needs 2 numbers, one for each column.": read(wave, ["I (uV)"]),
        "needs one number.": read(wave, []),
        "from 95 to 100000 Hz": read(wave, ["I (uV)", "II (uV)"], rate=50),
        "unit of lead II is missing": read(wave, ["I (uV)", "II"]),
    }.items():
        assert sentence in said[0]
        assert said[1] == ""
    page.get_by_label("Unit of the numbers").select_option("µV")  # what the last file does not say
    page.wait_for_selector(".er-answer table")
    assert page.wrong == []


def test_the_reader_works_by_keyboard_opened_as_a_file_and_loads_its_network_late(open_tab, html):
    page, network = open_tab("file:"), "document.querySelectorAll('[src=\"any-lead.js\"]').length"
    page.goto((html / "your_ecg.html").as_uri())
    page.locator(FILE).focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate(network) == 0
    page.keyboard.press("Enter")  # the example
    page.wait_for_selector(".er-answer table")
    assert page.evaluate(network) == 1
    assert "infarction" in page.locator("[role=status]").inner_text()


# --- where the book leads ---------------------------------------------------------------------


@pytest.fixture
def extension(root, monkeypatch):
    def loaded(repository):
        monkeypatch.setenv("LEADMIN_REPOSITORY", repository)
        return SimpleNamespace(**runpy.run_path(str(root / "book" / "_ext" / "page.py")))

    return loaded


def test_a_notebook_can_be_run_where_the_repository_is(root, extension):
    elsewhere = extension("https://github.com/someone/ecg/").elsewhere
    for page, notebook in {
        "published/subset/06_map": "06_map",
        "notebooks/02_resnet": "02_resnet",
        "runs/1-lead-I": "03_training",
        "methods": None,
    }.items():
        (repository, *_), *others = elsewhere(page)
        assert repository == "https://github.com/someone/ecg"
        launched = [url.rpartition("/")[2] for url, *_ in others]
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


def test_no_page_needs_a_script_for_formulas_or_leads_to_a_repository(html, pages, extension):
    assert extension("").REPOSITORY == ""
    text = {name: (html / name).read_text(encoding="utf-8") for name in pages}
    unwanted = 'mathjax@|THEBE_JS_URL|mybinder|class="[^"]*github'
    assert [n for n in pages if re.search(unwanted, text[n])] == []
    assert "<mfrac>" in text["methods.html"]
    assert "\\mathrm" not in text["methods.html"]
    assert (html / "_static" / "preview.png").stat().st_size > 10_000
