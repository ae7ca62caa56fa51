"""What the figures promise: true scale, the right leads in black, clear errors, no side effects."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import synthetic_runs, with_groups, with_recipe_on
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from leadmin.errors import LeadminError
from leadmin.evidence.scores import gather
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, configurations, resolve
from leadmin.questions.answer import main_table, plot_answer
from leadmin.questions.calibration import (
    calibration_table,
    decision_curves,
    plot_decision_curves,
    plot_recalibration,
)
from leadmin.questions.classes import per_class_table, plot_class_heatmap
from leadmin.questions.lrs import lrs_ranks, lrs_weights, plot_lrs, plot_lrs_weights
from leadmin.questions.margins import non_inferiority_table, plot_differences
from leadmin.questions.pairs import pairwise_matrix, plot_pairwise, plot_ranks, rank_table
from leadmin.questions.recipes import plot_recipe_comparison, recipe_comparison
from leadmin.questions.subgroups import plot_subgroups, subgroup_table
from leadmin.show import records as data_figures
from leadmin.show import style
from leadmin.show.ecg_paper import ECG_DROPPED, ECG_MINOR, plot_ecg
from leadmin.show.torso import plot_electrodes
from leadmin.show.training import (
    _reliability,
    _roc,
    plot_calibration,
    plot_learning_curves,
    plot_roc,
)

RATE = 100
INCH = 25.4


@pytest.fixture(scope="module", autouse=True)
def _style():
    with mpl.rc_context():
        style.use_style()
        yield


def waves(n_samples: int = 1000) -> np.ndarray:
    """Twelve leads that differ in amplitude: lead k is a square wave of 0.1 (k + 1) mV."""
    square = np.where(np.arange(n_samples) // 20 % 5 == 0, 1.0, 0.0)
    return 0.1 * np.arange(1, 13)[:, None] * square


@pytest.fixture(scope="module")
def sheet() -> Figure:
    return plot_ecg(waves(), RATE)


def traces(figure: Figure) -> dict[str, object]:
    return {line.get_gid(): line for line in figure.axes[0].lines if line.get_gid()}


def millimetres(figure: Figure, points: np.ndarray) -> np.ndarray:
    """Where points of the paper come to lie on the printed figure."""
    return figure.axes[0].transData.transform(points) / figure.dpi * INCH


def points_of(axis) -> list:
    """The markers that a figure of rows draws, one line a row."""
    return [line for line in axis.lines if line.get_marker() not in ("None", "")]


def ticks_of(axis) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def texts_of(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def is_open(line) -> bool:
    return to_hex(line.get_markerfacecolor()) == "#ffffff"


# --- no side effects ------------------------------------------------------------------------


def test_import_changes_nothing_and_opens_no_window():
    code = (
        "import matplotlib as m; before = dict(m.rcParams); "
        "import leadmin.show.style, leadmin.questions.answer, sys; after = dict(m.rcParams); "
        "print(sorted(k for k in before if before[k] != after[k])); "
        "import matplotlib.pyplot as p; print(p.get_fignums())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_use_style_is_what_sets_the_style():
    with mpl.rc_context():
        mpl.rcdefaults()
        assert mpl.rcParams["axes.spines.top"]
        style.use_style()
        assert not mpl.rcParams["axes.spines.top"]
        assert mpl.rcParams["savefig.facecolor"] == "white"


# --- ECG paper ------------------------------------------------------------------------------


def test_one_second_is_25_mm_and_one_millivolt_10_mm_on_paper():
    signal = np.zeros((12, 1000))
    signal[LEADS.index("II"), 300] = 1.0  # at 3.00 s, 1 mV over the baseline
    figure = plot_ecg(signal, RATE)
    rhythm = millimetres(figure, traces(figure)["rhythm-II"].get_xydata())
    assert rhythm[300, 0] - rhythm[100, 0] == pytest.approx(2 * 25.0)
    assert rhythm[300, 1] - rhythm[100, 1] == pytest.approx(10.0)
    assert rhythm[-1, 0] - rhythm[0, 0] == pytest.approx(250.0, abs=0.5)


def test_scale_survives_the_way_to_the_file(sheet, tmp_path):
    (tmp_path / "ecg.png").write_bytes(style.few_colours(sheet, 2 * sheet.dpi))
    with Image.open(tmp_path / "ecg.png") as image:
        assert image.width / image.info["dpi"][0] * INCH == pytest.approx(270, abs=0.2)
    assert (tmp_path / "ecg.png").stat().st_size < 300_000


def test_calibration_pulse_is_1_mv_for_0_2_s_before_every_row(sheet):
    pulses = [line for gid, line in traces(sheet).items() if gid.startswith("calibration")]
    assert len(pulses) == 4
    for pulse in pulses:
        points = millimetres(sheet, pulse.get_xydata())
        top = points[points[:, 1] > points[:, 1].min() + 5]
        assert np.ptp(points[:, 1]) == pytest.approx(10.0)
        assert np.ptp(top[:, 0]) == pytest.approx(5.0)
        assert points[:, 0].max() <= millimetres(sheet, np.array([[15.0, 0.0]]))[0, 0] + 1e-6


def test_grid_lines_lie_1_mm_and_5_mm_apart(sheet):
    for grid, step in zip(sheet.axes[0].collections, (1, 5), strict=True):
        segments = np.array(grid.get_segments())
        upright = segments[segments[:, 0, 0] == segments[:, 1, 0]]
        x = np.sort(millimetres(sheet, upright[:, 0])[:, 0])
        np.testing.assert_allclose(np.diff(x), step, atol=1e-6)


def test_three_by_four_layout_runs_on_in_time(sheet):
    drawn = {gid: millimetres(sheet, line.get_xydata()) for gid, line in traces(sheet).items()}
    for row in (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")):
        starts = [drawn[f"lead-{lead}"][0, 0] for lead in row]
        assert np.diff(starts) == pytest.approx([62.5] * 3)
    for number, lead in enumerate(LEADS, start=1):  # 0.1 mV a lead is 1 mm
        assert np.ptp(drawn[f"lead-{lead}"][:, 1]) == pytest.approx(number, abs=1e-6)


def test_no_wave_reaches_the_name_of_its_lead(sheet):
    drawn = traces(sheet)
    for lead in LEADS:
        at = [text.get_position() for text in sheet.axes[0].texts if text.get_text() == lead]
        x, y = max(at, key=lambda place: place[1])  # II is named once more beneath
        times, heights = drawn[f"lead-{lead}"].get_xydata().T
        assert heights[times < x + 10].max() < y, lead


def test_kept_leads_are_black_and_dropped_leads_grey():
    figure = plot_ecg(waves(), RATE, leads_kept=["i", "V2"])
    colours = {gid: to_hex(line.get_color()) for gid, line in traces(figure).items()}
    for lead in LEADS:
        expected = "#000000" if lead in ("I", "V2") else ECG_DROPPED
        assert colours[f"lead-{lead}"] == expected
    assert colours["rhythm-II"] == ECG_DROPPED
    (caption,) = [text for text in texts_of(figure.axes[0]) if "mm" in text]
    assert re.search("25 mm/s +10 mm/mV.*grey: leads dropped", caption)
    # grey differs from black and from the grid without colour too
    grey = style.luminance(mpl.colors.to_rgb(ECG_DROPPED))
    minor = style.luminance(mpl.colors.to_rgb(ECG_MINOR))
    assert (grey + 0.05) / 0.05 > 3
    assert (minor + 0.05) / (grey + 0.05) > 2


@pytest.mark.parametrize(
    ("signal", "leads", "message"),
    [
        (np.zeros((3, 1000)), LEADS, r"\(3, 1000\)"),
        (np.zeros((12, 900)), LEADS, r"\(12, 900\).*1000 samples or more"),
        (np.full((12, 1000), 500.0), LEADS, "microvolts"),
        (np.zeros((12, 1000)), ["V7"], "V7"),
    ],
)
def test_ecg_that_cannot_be_drawn_is_refused(signal, leads, message):
    with pytest.raises(LeadminError, match=message):
        plot_ecg(signal, RATE, leads)


# --- figures of a study ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def main_rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for recipe, level in (("original", 0.85), ("default", 0.88)):
        for config, configuration in configurations().items():
            n_leads = len(configuration.leads)
            score = level - 0.1 / n_leads + rng.normal(0, 0.005)
            row = {"recipe": recipe, "config": config, "n_leads": n_leads, "auroc": score}
            row |= {"auroc_low": score - 0.02, "auroc_high": score + 0.02}
            row |= {"brier": 0.1 + 0.02 / n_leads, "difference": score - level}
            row |= {"difference_low": score - level - 0.01, "difference_high": score - level + 0.01}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def per_class(main_rows) -> pd.DataFrame:
    one = main_rows[main_rows["recipe"] == "default"]
    return pd.concat(
        [one.assign(**{"class": name}, auroc=one["auroc"] - 0.01 * k)
         for k, name in enumerate(CLASSES)]
    )  # fmt: skip


def default_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["recipe"] == "default"]


def drawn_texts(figure: Figure):
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found = []
    for axis in figure.axes:
        for text in (*axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()):
            if text.get_visible() and text.get_text().strip():
                found.append((text.get_text(), text.get_window_extent(renderer)))
    return found


def assert_apart(figure: Figure, least: int = 11 * 2) -> None:
    labels = drawn_texts(figure)
    assert len(labels) > least
    for position, (first, box) in enumerate(labels):
        for second, other in labels[position + 1 :]:
            assert not (
                min(box.x1, other.x1) - max(box.x0, other.x0) > 0.5
                and min(box.y1, other.y1) - max(box.y0, other.y0) > 0.5
            ), f"{first!r} meets {second!r}"


def test_answer_figure_marks_what_the_paired_bound_shows_and_no_two_labels_meet(main_rows):
    assert_apart(plot_answer(main_rows))
    table = default_rows(main_rows).copy()
    table["difference_low"] = np.where(table["config"] == "3-lead-I-II-V2", -0.005, -0.05)
    axis = plot_answer(table).axes[0]
    scores = table.set_index("config")["auroc"]
    filled = {}
    for line in points_of(axis):
        filled[(scores - line.get_ydata()[0]).abs().idxmin()] = not is_open(line)
    assert len(filled) == 11
    assert {config for config, full in filled.items() if full} == {"12-lead", "3-lead-I-II-V2"}


def test_answer_figure_takes_any_lead_set_and_one_recipe_without_reference():
    table = pd.DataFrame(
        {"recipe": "mine", "config": ["I,V2,V5", "I,II,V1,V5"], "n_leads": [3, 4],
         "auroc": [0.8, 0.82], "auroc_low": [0.78, 0.8], "auroc_high": [0.82, 0.84],
         "difference_low": np.nan}
    )  # fmt: skip
    ticks = [label.get_text() for label in plot_answer(table).axes[0].get_xticklabels()]
    assert ticks == ["I\nV2\nV5", "I II\nV1 V5"]


def test_forest_shows_each_verdict_in_its_colour():
    verdicts = ("non-inferior", "undecided", "inferior")
    table = pd.DataFrame(
        [("a", -0.002, -0.008, 0.004), ("b", -0.01, -0.02, 0.0), ("c", -0.05, -0.06, -0.04)],
        columns=["config", "difference", "low", "high"],
    ).assign(verdict=verdicts, smallest_resolvable=0.01, primary=True)
    axis = plot_differences(table).axes[0]
    points = [to_hex(line.get_color()) for line in points_of(axis)]
    assert ticks_of(axis) == ["a", "b", "c"]
    assert points == [to_hex(style.VERDICT_LOOKS[verdict].colour) for verdict in verdicts]


def test_class_heatmap_shows_values_and_losses_in_legible_colours(per_class, main_rows):
    left, right = plot_class_heatmap(per_class, default_rows(main_rows)).axes[:2]
    mi = per_class[per_class["class"] == "MI"].set_index("config")["auroc"]
    assert f"{mi['1-lead-I']:.3f}" in texts_of(left)
    assert f"{mi['1-lead-I'] - mi['12-lead']:+.3f}".replace("-", "−") in texts_of(right)
    ink = style.luminance(mpl.colors.to_rgb(style.INK)) + 0.05
    for text, shade in zip(left.texts, left.collections[0].get_facecolor(), strict=True):
        light = style.luminance(shade) + 0.05
        assert text.get_color() == ("white" if 1.05 / light > light / ink else style.INK)
        assert max(1.05 / light, light / ink) > 3.5


def test_lrs_bars_add_up_to_what_the_score_lost(main_rows):
    table = default_rows(main_rows)
    left, right = plot_lrs(table).axes
    reference = table.set_index("config").loc["12-lead"]
    lost = np.sum([[bar.get_width() for bar in bars] for bars in left.containers], axis=0)
    expected = (
        0.7 * (1 - table["auroc"] / reference["auroc"])
        + 0.3 * (table["brier"] - reference["brier"]) / 0.25
    )
    np.testing.assert_allclose(lost, expected, atol=1e-12)
    score = [line.get_xdata()[0] for line in points_of(right) if line.get_marker() == "o"]
    np.testing.assert_allclose(score, 1 - expected, atol=1e-12)


def test_recipe_comparison_fills_what_is_clear_of_zero():
    rows = [
        {"config": config, "metric": metric, "difference": gain, "difference_low": gain - 0.02,
         "difference_high": gain + 0.02, "first_recipe": "default", "second_recipe": "original"}
        for config, gain in (("12-lead", 0.03), ("1-lead-I", 0.01))
        for metric in ("auroc", "brier")
    ]  # fmt: skip
    comparison = pd.DataFrame(rows)
    auroc, brier = plot_recipe_comparison(comparison, ["auroc", "brier"]).axes
    assert [is_open(line) for line in points_of(auroc)] == [False, True]
    assert auroc.get_xlim()[0] < auroc.get_xlim()[1]
    assert brier.get_xlim()[0] > brier.get_xlim()[1]  # less is better, better is right
    assert len(plot_recipe_comparison(comparison).axes) == 2  # hypertrophy is no class of all data


def test_pairs_are_row_minus_column_and_bold_where_clear():
    matrix = pd.DataFrame(
        {"first": ["a", "a", "b"], "second": ["b", "c", "c"], "difference": [0.01, 0.03, 0.02],
         "p_bh": [0.2, 0.001, 0.2]}
    )  # fmt: skip
    axis = plot_pairwise(matrix).axes[0]
    written = [(text.get_text(), text.get_fontweight()) for text in axis.texts]
    assert written == [("−0.010", "normal"), ("−0.030", "bold"), ("−0.020", "normal")]
    pairs = combinations([f"5-lead-I-II-V1-V2-{place}" for place in "abcdefghijklm"], 2)
    many = pd.DataFrame(pairs, columns=["first", "second"]).assign(difference=0.1, p_bh=0)
    figure = plot_pairwise(many)
    figure.axes[0].set_xticks([])  # slanted: their boxes meet, they do not
    assert_apart(figure)


@pytest.fixture(scope="module")
def gathered():
    return gather(synthetic_runs(n_records=400, n_seeds=1), n_resamples=60)


def test_tables_of_the_evidence_can_be_drawn_as_they_are(gathered):
    tables = {recipe: main_table(gathered, recipe) for recipe in gathered.recipes}
    main = tables["default"]
    plot_class_heatmap(per_class_table(gathered), macro=main).draw_without_rendering()
    plot_pairwise(pairwise_matrix(gathered)).draw_without_rendering()
    assert_apart(plot_answer(pd.concat(tables.values())))
    score = [line for line in plot_lrs(main).axes[1].lines if line.get_marker() == "o"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in score], main["lrs"], atol=1e-12)


def test_a_note_stands_below_what_was_there_already(gathered):
    ranks = rank_table(gathered)
    assert style.add_note(plot_ranks(ranks), "9 records").get_supxlabel() == "9 records"
    compared = plot_recipe_comparison(recipe_comparison(gathered))
    before = compared.get_supxlabel()
    assert style.add_note(compared, "9 records").get_supxlabel() == f"{before}\n9 records"


def test_a_recipe_on_some_configurations_only_can_be_drawn():
    runs = with_recipe_on(synthetic_runs(n_records=174, n_seeds=1), ("12-lead", "2-lead-I-II"))
    partial = gather(runs, n_resamples=40)
    both = pd.concat([main_table(partial, recipe) for recipe in partial.recipes])
    assert_apart(plot_answer(both))
    compared = plot_recipe_comparison(recipe_comparison(partial))
    assert ticks_of(compared.axes[0]) == ["12-lead", "2-lead-I-II"]


def test_forest_writes_other_margins_and_what_was_resolvable(gathered):
    table = non_inferiority_table(gathered)
    figure = plot_differences(table)
    axis = figure.axes[0]
    assert_apart(figure)
    upright = {line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1}
    assert {0, -0.01, -0.005, -0.02} <= upright
    for value in table.loc[table["primary"], "smallest_resolvable"]:
        assert f"{value:.3f}" in texts_of(axis)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "0.005 and 0.02"


def test_ranks_and_shares_are_those_of_the_table(gathered):
    table = rank_table(gathered)
    axis, shares = plot_ranks(table).axes
    assert [line.get_xdata()[0] for line in points_of(axis)] == table["rank"].tolist()
    spans = [line.get_xdata() for line in axis.lines if line not in points_of(axis)]
    np.testing.assert_array_equal(spans, table[["rank_low", "rank_high"]])
    best, of_size = (f"{table[name].iloc[0]:.0%}" for name in ("share_best", "share_best_of_size"))
    assert texts_of(shares)[:3] == [best, "\N{EN DASH}", of_size]
    assert_apart(plot_ranks(table))


def test_weights_show_who_changes_rank(gathered):
    table = lrs_weights(gathered)
    assert plot_lrs_weights(table) is None  # nobody does
    table.loc[table["weight_calibration"] == 1, "score"] *= -1
    (axis,) = plot_lrs_weights(table).axes
    _, ranks = lrs_ranks(table)
    moving = int((np.ptp(ranks, axis=0) > 0).sum())
    lines = [line for line in axis.lines if len(line.get_xdata()) == len(ranks)]
    assert len(lines) == 10
    faint = [line for line in lines if to_hex(line.get_color()) == style.FAINT]
    assert len(faint) == 10 - moving < 10


def test_recalibration_is_open_before_and_filled_after(gathered):
    table = calibration_table(gathered)
    macro = table[table["class"] == "macro"]
    axes = plot_recalibration(table).axes
    for axis, name in zip(axes, ("slope", "smooth_ece", "brier"), strict=True):
        old, new = points_of(axis)
        assert (is_open(old), is_open(new)) == (True, False)
        for line, state in ((old, False), (new, True)):
            expected = macro[macro["recalibrated"] == state][name]
            np.testing.assert_array_equal(line.get_xdata(), expected)


def test_decision_curves_draw_both_simple_rules_in_every_panel(gathered):
    curves = decision_curves(gathered)
    figure = plot_decision_curves(curves)
    for axis, name in zip(figure.axes, CLASSES, strict=False):
        mine = curves[curves["class"] == name]
        drawn = [np.asarray(line.get_ydata(), dtype=float) for line in axis.lines]
        for config, rows in mine.groupby("config"):
            assert any(np.array_equal(y, rows["net_benefit"]) for y in drawn), config
        assert any(np.array_equal(y, rows["treat_all"]) for y in drawn)
        assert any(np.array_equal(y, [0, 0]) for y in drawn)
        assert axis.get_title(loc="left").startswith(name)


def test_subgroups_too_small_are_listed_without_a_value(gathered):
    groups = {
        "all": np.full(gathered.n_records, "all records"),
        "age": np.where(np.arange(gathered.n_records) < 25, "under 40", "40-60"),
    }
    table = subgroup_table(with_groups(gathered, **groups))
    figure = plot_subgroups(table)
    axis = figure.axes[0]
    assert ticks_of(axis) == ["all records", "age: under 40", "40-60"]
    rows = table[(table["config"] == "3-lead-I-II-V2") & table["enough"]]
    assert [line.get_xdata()[0] for line in points_of(axis)] == rows["difference"].tolist()
    assert texts_of(axis).count("too few for a value") == 1
    assert "25" in texts_of(axis)
    axis.set_xlim(-0.042, 0.002)
    assert_apart(figure, 12)


# --- figures of a run -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(2)
    labels = (rng.random((120, 5)) < [0.45, 0.3, 0.3, 0.3, 0.2]).astype(np.uint8)
    logits = {name: rng.normal(2 * labels, 1.5, (2, 120, 5)) for name in ("original", "default")}
    return labels, logits, rng.integers(0, 90, 120)


def history() -> pd.DataFrame:
    rows = []
    for recipe in ("default", "original"):
        for seed in range(2):
            for epoch in range(1, 6):
                reached = 0.8 - 0.01 * (epoch - 3 - seed) ** 2
                rows.append((recipe, seed, 10, epoch, 1 / epoch, 1.1 / epoch, reached))
    columns = "recipe seed fold epoch train_loss validation_loss validation_auroc"
    return pd.DataFrame(rows, columns=columns.split())


def test_learning_curves_mark_the_epoch_whose_weights_are_kept_and_draw_every_fit():
    axes = plot_learning_curves(history(), keeps_last=["default"]).axes
    marked = [[line.get_xdata()[0] for line in points_of(axis)] for axis in axes]
    assert marked == [[], [5, 5], [], [3, 4]]


def test_learning_curves_of_many_fits_are_their_mean_within_their_range():
    many = pd.concat([history().assign(fold=fold) for fold in range(1, 4)])
    many["train_loss"] += many["fold"]
    axis = plot_learning_curves(many).axes[0]
    by_epoch = many[many["recipe"] == "default"].groupby("epoch")["train_loss"]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), by_epoch.mean())
    (band,) = axis.collections[0].get_paths()
    heights = band.vertices[:, 1]
    assert (heights.min(), heights.max()) == (by_epoch.min().min(), by_epoch.max().max())


def test_roc_curves_carry_the_area_of_the_library(predictions):
    from sklearn.metrics import roc_auc_score

    labels, logits, patients = predictions
    figure = plot_roc(labels, logits, patients, np.random.default_rng(0), n_resamples=20)
    for column, axis in enumerate(figure.axes[:5]):
        for recipe, stack in logits.items():
            area = np.mean([roc_auc_score(labels[:, column], seed[:, column]) for seed in stack])
            assert f"{recipe} {area:.3f}" in texts_of(axis)


def test_weighted_roc_agrees_with_the_library_on_ties():
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(3)
    truth = rng.random(80) < 0.4
    score = rng.integers(0, 6, 80).astype(float)
    weights = rng.integers(0, 3, (4, 80)).astype(float)
    rates = np.linspace(0, 1, 31)
    curves = _roc(truth, score, weights, rates)
    for row, drawn in zip(curves, weights, strict=True):
        false_rate, sensitivity, _ = roc_curve(
            truth, score, sample_weight=drawn, drop_intermediate=False
        )
        np.testing.assert_allclose(row, np.interp(rates, false_rate, sensitivity), atol=1e-12)


def test_a_class_that_never_occurs_is_said_and_not_drawn(predictions):
    labels, logits, patients = predictions
    labels = labels.copy()
    labels[:, CLASSES.index("HYP")] = 0
    figure = plot_roc(labels, logits, patients, np.random.default_rng(0), n_resamples=5)
    assert "only one class\nin these records" in texts_of(figure.axes[CLASSES.index("HYP")])


def test_reliability_points_are_means_of_equally_filled_bins():
    rng = np.random.default_rng(4)
    p = rng.random(800)
    y = (rng.random(800) < p).astype(float)
    table = _reliability(p, y, n_seeds=2, n_bins=8)
    np.testing.assert_allclose(table["observed"].mean(), y.mean())
    np.testing.assert_allclose(table["predicted"].mean(), p.mean())
    assert (np.diff(table["predicted"]) > 0).all()
    from scipy.stats import binomtest

    # Wilson's interval at the number of records, half the number of predictions of two seeds
    hits = round(table["observed"][3] * 50)
    exact = binomtest(hits, 50).proportion_ci(0.95, method="wilson")
    half = np.repeat([1.0, 0.0], [2 * hits, 100 - 2 * hits])
    even = _reliability(np.full(100, 0.3), half, n_seeds=2, n_bins=1)
    assert (even["low"][0], even["high"][0]) == pytest.approx((exact.low, exact.high), abs=1e-6)


def test_calibration_takes_probabilities_only(predictions):
    labels, logits, _ = predictions
    with pytest.raises(LeadminError, match="probabilities"):
        plot_calibration(labels, logits)
    probabilities = {name: 1 / (1 + np.exp(-values)) for name, values in logits.items()}
    assert len(plot_calibration(labels, probabilities).axes) == 12


# --- figures of the data --------------------------------------------------------------------


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(5)
    labels = (rng.random((400, 5)) < [0.4, 0.2, 0.2, 0.2, 0.1]).astype(np.uint8)
    fold = rng.integers(1, 11, 400).astype(np.int8)
    age = rng.uniform(18, 95, 400).astype(np.float32)
    age[age > 89], age[:5] = 300, np.nan
    sex = rng.integers(-1, 2, 400).astype(np.int8)
    return labels, fold, age, sex


def test_prevalence_bars_are_the_counts_and_cooccurrence_those_of_pairs_and_alone(records):
    labels = records[0].astype(int)
    axis = data_figures.plot_prevalence({"any": labels, "likelihood50": labels * 0}).axes[0]
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    assert widths == [labels.sum(axis=0).tolist(), [0] * 5]
    axis = data_figures.plot_cooccurrence({"any": labels}).axes[0]
    written = np.array(texts_of(axis)).reshape(5, 5)
    assert written[1, 2] == str((labels[:, 1] & labels[:, 2]).sum())
    assert written[4, 4] == str(((labels.sum(axis=1) == 1) & (labels[:, 4] == 1)).sum())


def test_age_pyramid_counts_every_known_record_once(records):
    _, _, age, sex = records
    axis = data_figures.plot_age_sex(age, sex).axes[0]
    total = sum(abs(bar.get_width()) for bars in axis.containers for bar in bars)
    known = np.isfinite(age) & (sex >= 0)
    assert total == known.sum()
    over = [abs(bars[-1].get_width()) for bars in axis.containers]
    assert over == [((age > 89) & (sex == code)).sum() for code in (0, 1)]
    assert f"{(~known).sum()} records" in axis.get_title(loc="left")


def test_folds_count_patients_apart_from_records(records):
    labels, fold, _, _ = records
    patients = np.arange(400) // 2
    axis = data_figures.plot_folds(fold, patients, labels).axes[0]
    shown = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert shown[0] == [(fold == number).sum() for number in range(1, 11)]
    assert shown[1] == [np.unique(patients[fold == number]).size for number in range(1, 11)]


def test_quality_cells_count_marked_records(records):
    labels = records[0]
    flags = pd.DataFrame({"a_rule": np.arange(400) < 100, "never": np.zeros(400, dtype=bool)})
    axis = data_figures.plot_quality(flags, labels).axes[0]
    assert texts_of(axis)[0] == "100 (25%)"
    assert texts_of(axis)[6:] == ["0"] * 6


def test_every_data_figure_draws(records):
    labels = records[0]
    rng = np.random.default_rng(6)
    shares = pd.DataFrame(
        rng.uniform(-0.1, 1, (2, 12)), index=["2-lead-I-II", "I,V2"], columns=LEADS
    )
    for figure in (
        data_figures.plot_einthoven_residuals({"III": rng.integers(-2, 3, (10, 50))}),
        data_figures.plot_principal_spread(np.geomspace(500, 0.3, 12)),
        data_figures.plot_amplitudes(rng.random((400, 12)), labels),
        data_figures.plot_sokolow_lyon(rng.gamma(9, 0.3, 400), labels),
        data_figures.plot_variance_explained(shares),
    ):
        figure.draw_without_rendering()
        assert to_hex(figure.get_facecolor()) == "#ffffff"


# --- files ----------------------------------------------------------------------------------


def bars() -> Figure:
    """A figure with the blue of the default recipe."""
    return data_figures.plot_principal_spread(np.geomspace(500, 0.3, 12))


def test_print_files_are_as_wide_as_a_journal_and_leave_the_figure_alone(tmp_path):
    for name in "ab":
        figure = bars()
        size = tuple(figure.get_size_inches())
        style.save_for_print(figure, tmp_path, name)
        assert sorted(path.stem for path in tmp_path.iterdir())[-2:] == [name, name]
        assert tuple(figure.get_size_inches()) == size
    for ending in ("pdf", "png"):
        assert len({(tmp_path / f"{name}.{ending}").read_bytes() for name in "ab"}) == 1
    page = re.search(rb"/MediaBox \[ *([\d. ]+)\]", (tmp_path / "a.pdf").read_bytes())
    assert float(page[1].split()[2]) / 72 * INCH == pytest.approx(180, abs=0.1)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width / image.info["dpi"][0] * INCH == pytest.approx(180, abs=0.2)
        drawn = np.asarray(image.convert("RGB"))
    assert (tmp_path / "a.png").stat().st_size < 300_000
    assert (drawn == 255).all(axis=2).mean() > 0.4  # white stays white
    blue = [round(255 * part) for part in mpl.colors.to_rgb(style.RECIPE_LOOKS["default"].colour)]
    assert (drawn == blue).all(axis=2).any()  # an area keeps its colour exactly


def test_colours_stay_apart_for_colour_blind_readers_and_in_grey():
    """Recipes by lightness; classes in the three simulated kinds of colour blindness.

    Matrices: Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1.0, on
    linear RGB.
    """
    kinds = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                   [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
    }  # fmt: skip

    def linear(colour: str) -> np.ndarray:
        channel = np.array(mpl.colors.to_rgb(colour))
        return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)

    light = [
        style.luminance(mpl.colors.to_rgb(look.colour)) for look in style.RECIPE_LOOKS.values()
    ]
    assert (max(light) + 0.05) / (min(light) + 0.05) > 2
    for matrix in kinds.values():
        seen = [np.clip(np.array(matrix) @ linear(c), 0, 1) ** (1 / 2.2)
                for c in style.CLASS_COLOURS.values()]  # fmt: skip
        for first in range(5):
            for second in range(first):
                assert np.linalg.norm(seen[first] - seen[second]) > 0.1


def test_every_configuration_has_a_short_label():
    for name in configurations():
        label = style.stacked_leads(name)
        assert max(map(len, label.split("\n"))) <= 6
        assert len(resolve(name).leads) == 12 or label.count("\n") <= 2


def test_electrodes_need_no_display_and_no_font_of_the_system(tmp_path: Path):
    figure = plot_electrodes(["12-lead", "I,V5"])
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "a.svg")
    assert "<text" not in (tmp_path / "a.svg").read_text(encoding="utf-8")
