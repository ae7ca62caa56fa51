"""The explorer: its data are the published tables, and it works by mouse, touch and keyboard."""

import base64
import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from explorer import (
    COMMAND,
    EXAMPLES,
    INDEPENDENT,
    SHOWN,
    example_records,
    map_part,
    network_of_examples,
    read_explorer,
    thresholds,
)

from leadmin.evidence.nested import targets
from leadmin.labels import CLASSES
from leadmin.leads import CHEST_LEADS, LEADS, LIMB_ELECTRODES, electrode_sets, lead_indices
from leadmin.questions import diagnoses

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "book" / "published" / "subset"
STALE = f"the explorer's data are not those of book/published/subset; make them again: `{COMMAND}`"
ALL = LIMB_ELECTRODES + CHEST_LEADS


@pytest.fixture(scope="module")
def data():
    return read_explorer(ROOT / SHOWN)


@pytest.fixture(scope="module")
def tables():
    return {name: pd.read_csv(PUBLISHED / "tables" / f"{name}.csv") for name in ("map", "curve")}


# --- the data ---------------------------------------------------------------------------------


def test_the_data_are_made_from_what_is_published_now(data):
    made = map_part(PUBLISHED)
    assert {name: data[name] for name in made} == made, STALE
    _, seed = network_of_examples(PUBLISHED)
    assert data["seed"] == seed, STALE
    np.testing.assert_allclose(
        data["thresholds"], thresholds(PUBLISHED, seed), atol=6e-5, err_msg=STALE
    )


def test_every_number_is_that_of_the_published_table(data, tables):
    rows = tables["map"].set_index(["electrodes", "target"])
    assert len(data["sets"]) == 67
    rank = rows["auroc"].xs("macro", level="target").rank(ascending=False)
    for one in data["sets"]:
        here = rows.loc[", ".join(one["electrodes"])]
        auroc = [bounds[0] for bounds in one["auroc"]]
        assert auroc == pytest.approx(here["auroc"][list(targets(CLASSES))], abs=5.1e-4)
        here = here.loc[list(diagnoses(CLASSES))]
        low = here["missed_low_with_seeds"].fillna(here["missed_low"])
        assert [missed[0] for missed in one["missed"]] == here["missed"].round().tolist()
        assert [missed[1] for missed in one["missed"]] == low.round().tolist()
        assert [more[0] for more in one["more"]] == here["difference_missed"].round().tolist()
        assert one["rank"][0] == rank[", ".join(one["electrodes"])]


def test_what_an_electrode_adds_is_the_set_with_it_less_the_set_without(data, tables):
    auroc = tables["map"].set_index(["electrodes", "target"])["auroc"]
    by_set = {tuple(one["electrodes"]): one["adds"] for one in data["sets"]}
    assert set(by_set["RA", "LA", "LL"]) == set(CHEST_LEADS)
    assert set(by_set["RA", "LL"]) == {"LA"}
    assert by_set[ALL] == {}
    added = by_set["RA", "LA", "LL", "V2"]["V5"]
    gain = auroc["RA, LA, LL, V2, V5"] - auroc["RA, LA, LL, V2"]
    assert added == [pytest.approx(gain[target], abs=5.1e-4) for target in targets(CLASSES)]


def test_the_network_says_of_the_examples_what_is_shown(data, sample):
    network, _ = network_of_examples(PUBLISHED)
    chosen = example_records(sample, network)
    found = {one["class"]: one["record"] for one in data["examples"]}
    assert found == {name: sample.record_id[row] for name, row in chosen.items()}, STALE
    rows = list(chosen.values())
    assert (sample.fold[rows] == 10).all(), "its network has met the other folds"
    for number in (0, 3, 12, 66):
        leads = electrode_sets()[number].leads
        said = network.predict(
            sample.signals[rows][:, lead_indices(leads)], leads=leads, sampling_rate=100, unit="uV"
        )
        shown = [one["probabilities"][number] for one in data["examples"]]
        np.testing.assert_allclose(shown, said, atol=1e-4, err_msg=STALE)
    for one, row in zip(data["examples"], rows, strict=True):
        kept = np.frombuffer(base64.b64decode(one["signals"]), "<i2").reshape(8, -1)
        assert np.array_equal(kept, sample.signals[row][list(lead_indices(INDEPENDENT))])
        assert one["class"] in one["labels"]


def test_an_example_is_the_median_of_those_that_could_be(sample):
    network, _ = network_of_examples(PUBLISHED)
    row = example_records(sample, network)["CD"]
    alone = sample.labels["any"].sum(axis=1) == 1
    notes = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
    plain = (sample.metadata[[*notes, "extra_beats", "pacemaker"]] == 0).all(axis=1)
    stated = sample.metadata["scp_codes"].str.contains(f'"{EXAMPLES["CD"][0]}":100')
    rows = np.flatnonzero(alone & plain & stated & (sample.fold == 10))
    said = network.predict(sample.signals[rows], leads=LEADS, sampling_rate=100, unit="uV")[:, 3]
    assert len(rows) >= 2
    mine = said[list(rows).index(row)]
    assert (said < mine).sum() <= (said > mine).sum() <= (said < mine).sum() + 1


def test_the_explorer_is_small_and_asks_no_other_host():
    text = "".join(f.read_text(encoding="utf-8") for f in (ROOT / SHOWN).parent.iterdir())
    assert len(text.encode()) < 500_000
    # the name of SVG is all that looks like an address
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}


def test_the_pages_that_show_it_find_its_files():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    folder = (ROOT / SHOWN).parent
    assert folder.name in settings["sphinx"]["config"]["html_extra_path"], "so they lie beside"
    for name in ("index", "explorer"):
        page = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
        asked = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert set(asked) == {file.name for file in folder.iterdir()}


# --- in a browser -----------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<title>explorer</title><link rel="stylesheet" href="explorer.css">
<style>html {{ --pst-color-text-base: #222; --pst-color-background: #fff;
--pst-color-border: #ccc; --pst-color-surface: #eee }}
html[data-theme=dark] {{ --pst-color-text-base: #eee; --pst-color-background: #121212; color: #eee;
background: #121212; --pst-color-surface: #222 }} body {{ margin: 16px }}</style></head>
<body><main class="bd-article"><h1>Explorer</h1><div class="explorer"></div>
<table id="still"><tr><th>table</th></tr></table></main>
<script src="paper.js"></script>
<script src="explorer-data.js"></script><script src="explorer.js"></script></body></html>"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copytree((ROOT / SHOWN).parent, folder, dirs_exist_ok=True)
    (folder / "explorer.html").write_text(PAGE.format(), encoding="utf-8")
    return (folder / "explorer.html").as_uri()


@pytest.fixture
def opened(open_tab, address):
    """Open the page, with what stands behind its ``#``, at a width; nothing may go wrong on it."""
    pages = []

    def open_page(state="", width=1200, **options):
        page = open_tab("file:", viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        page.goto(address + state)
        page.wait_for_selector(".lx-summary")
        return page

    yield open_page
    assert [one for page in pages for one in page.wrong] == []


def summary(page):
    return page.locator(".lx-summary").inner_text()


def on(page):
    return {one for one in ALL if page.locator(f"input[value={one}]").is_checked()}


LIMBS = "#electrodes=RA,LA,LL&by=macro&ecg=MI"


def test_it_starts_with_the_answer(opened, data):
    page = opened()
    assert on(page) == {*LIMB_ELECTRODES, "V2", "V5"}
    (pair,) = (one for one in data["sets"] if set(one["electrodes"]) == on(page))
    (row,) = (row for row in data["curve"]["macro"] if row["n"] == len(pair["electrodes"]))
    assert row["within"]
    assert pair["rank"][1] == 1, "no other pair is ahead of the one that the page names"


def test_a_mouse_switches_electrodes_on_the_drawing_and_the_address_keeps_it(opened):
    page = opened(LIMBS)
    page.locator("[data-electrode=V2] circle").click()
    page.locator("[data-electrode=V6] circle").click()
    assert on(page) == {*LIMB_ELECTRODES, "V2", "V6"}
    assert "electrodes=RA,LA,LL,V2,V6" in page.url
    page.locator("[data-electrode=V2] circle").click()
    assert on(page) == {*LIMB_ELECTRODES, "V6"}
    again = opened(page.url[page.url.index("#") :])
    assert on(again) == {*LIMB_ELECTRODES, "V6"}
    assert summary(again) == summary(page)


def test_a_keyboard_reaches_everything(opened):
    page = opened(LIMBS)
    page.keyboard.press("Tab")
    reached = []
    for _ in range(40):
        reached.append(page.evaluate("document.activeElement.value || "
                                     "document.activeElement.textContent"))  # fmt: skip
        if reached[-1] == "V5" and reached.count("V5") == 1:
            page.keyboard.press("Space")
        page.keyboard.press("Tab")
    assert [one for one in reached if one in ALL][:9] == list(ALL)
    assert {"macro", "MI", "limbs only"} <= set(reached)
    assert on(page) == {*LIMB_ELECTRODES, "V5"}
    page.locator("input[value=MI][name^=lx-ecg]").focus()
    page.keyboard.press("ArrowRight")
    assert "ecg=STTC" in page.url
    page.locator(".lx-next button").first.focus()
    page.keyboard.press("Enter")
    assert len(on(page)) == 5
    assert page.evaluate("document.activeElement.tagName") == "BUTTON", "the focus stays there"


def test_a_finger_finds_what_it_wants(opened):
    page = opened(LIMBS, 390, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for one in page.locator(".explorer input, .explorer button").all():
        box = one.bounding_box()
        assert min(box["width"], box["height"]) >= 44
    circle = page.locator("[data-electrode=V5] circle").bounding_box()
    page.touchscreen.tap(circle["x"] + circle["width"] / 2, circle["y"] - 4)  # not quite hit
    assert on(page) == {*LIMB_ELECTRODES, "V5"}


def test_it_shows_the_published_numbers(opened, tables):
    page = opened("#electrodes=RA,LA,LL,V1,V4&by=HYP&ecg=CD")
    rows = tables["map"][tables["map"]["electrodes"] == "RA, LA, LL, V1, V4"].set_index("target")
    shown = page.locator(".lx-values tbody tr").all_inner_texts()
    for target, text in zip(targets(CLASSES), shown, strict=True):
        assert f"{rows.loc[target, 'auroc']:.3f}" in text
        if target in diagnoses(CLASSES):
            count, present = (round(rows.loc[target, name]) for name in ("missed", "present"))
            assert f"{count} of {present}" in text
    assert f"{rows.loc['macro', 'auroc']:.3f}" in summary(page)
    kept = page.locator(".lx-leads .lx-kept").all_inner_texts()
    assert [one.split()[0] for one in kept] == [*LEADS[:6], "V1", "V4"]
    assert page.locator(".lx-paper text.lx-kept").all_text_contents().count("V1") == 1
    assert sorted(page.locator(".lx-paper text.lx-lost").all_text_contents()) == [
        "V2", "V3", "V5", "V6"]  # fmt: skip


def test_it_says_the_probabilities_of_exactly_these_leads(opened, data):
    page = opened("#electrodes=RA,LA,LL,V1,V4&by=macro&ecg=CD")
    number = [one["electrodes"] for one in data["sets"]].index(["RA", "LA", "LL", "V1", "V4"])
    example = data["examples"][CLASSES.index("CD")]
    for c, text in enumerate(page.locator(".lx-reading tbody tr").all_inner_texts()):
        said = example["probabilities"][number][c]
        assert f"{said:.2f}" in text
        above = said > data["thresholds"][number][c]
        labelled = CLASSES[c] in example["labels"]
        words = [["not called", "false alarm"], ["has it, missed", "has it, found"]]
        assert words[labelled][above] in text


def test_every_position_of_the_switches_is_a_set_or_says_what_is_missing(opened, data):
    page = opened()
    auroc = {tuple(one["electrodes"]): one["auroc"][0][0] for one in data["sets"]}
    for limbs in itertools.product((True, False), repeat=3):
        for chest in ((), ("V2",), CHEST_LEADS):
            there = [one for one, yes in zip(LIMB_ELECTRODES, limbs, strict=True) if yes]
            page.evaluate("state => { location.hash = state }",
                          f"electrodes={','.join([*there, *chest])}&by=macro&ecg=MI")  # fmt: skip
            page.wait_for_function("n => document.querySelectorAll("
                                   "'.lx-switches input:checked').length === n",
                                   arg=len(there) + len(chest))  # fmt: skip
            said = summary(page)
            assert ("No lead yet" in said) == (len(there) < 2)
            assert ("nothing yet" in said) == (len(there) < 3 and bool(chest))
            if len(there) >= 2:
                used = (*there, *chest) if len(there) == 3 else tuple(there)
                assert f"Mean AUROC {auroc[used]:.3f}" in said


def test_a_state_that_nobody_could_have_made_is_read_as_far_as_it_goes(opened):
    page = opened("#electrodes=RA,LA,V9,<b>&by=nothing&ecg=")
    assert on(page) == {"RA", "LA"}
    assert page.locator("input[value=macro]").first.is_checked()


def test_a_screen_reader_is_told_what_changes(opened):
    page = opened(LIMBS)
    assert page.locator(".lx-summary").get_attribute("aria-live") == "polite"
    assert "left edge of the breastbone" in page.locator("label:has([value=V2])").text_content()
    assert "Lost, grey: V1, V2" in page.locator(".lx-paper").get_attribute("aria-label")
    drawn = page.locator(".lx-curve").get_attribute("aria-label")
    assert "5 electrodes: 0." in drawn


def test_on_paper_and_without_script_there_is_the_table(opened, open_tab, address):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator(".explorer").is_visible()
    assert page.locator("#still").is_visible()
    plain = open_tab("file:", java_script_enabled=False)
    plain.goto(address)
    assert plain.locator("#still").is_visible()
