"""Every figure of the notebooks, the book and the paper, and the one place for their colours.

Call :func:`use_style` once at the top of a notebook or script; importing this module changes
nothing. Each ``plot_*`` function takes arrays or one tidy table and returns a
:class:`matplotlib.figure.Figure` that is registered nowhere: show it, glue it, or hand it to
:func:`save_figure`.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which stay apart under the
common kinds of colour blindness. No figure relies on colour alone: recipes also differ in marker
and line style, classes stand in panels or rows of their own, and both survive a grey printer.
Every figure has a white background of its own, so it reads the same on a light and a dark page.
"""

import io
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerBase
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch, Rectangle
from matplotlib.path import Path as DrawnPath
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from leadmin.errors import LeadminError
from leadmin.evidence.calibration import before_and_after
from leadmin.evidence.comparisons import lrs_ranks
from leadmin.evidence.resampling import patient_weights
from leadmin.files import atomic_path
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import LEADS, canonical_lead, resolve
from leadmin.metrics import auroc, chance_corrected_retention, lrs

OKABE_ITO: dict[str, str] = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}

INK = "#1b1b1b"
MUTED = "#5f6368"
FAINT = "#c9cdd2"

CLASS_COLOURS: dict[str, str] = {
    "NORM": OKABE_ITO["green"],
    "MI": OKABE_ITO["vermillion"],
    "STTC": OKABE_ITO["sky"],
    "CD": OKABE_ITO["purple"],
    "HYP": OKABE_ITO["blue"],
}
RECIPE_COLOURS: dict[str, str] = {"default": OKABE_ITO["blue"], "seed": OKABE_ITO["orange"]}
RECIPE_MARKERS: dict[str, str] = {"default": "o", "seed": "D"}
RECIPE_LINES: dict[str, str] = {"default": "-", "seed": (0, (4, 1.5))}  # type: ignore[dict-item]
VERDICT_COLOURS: dict[str, str] = {
    "non-inferior": OKABE_ITO["blue"],
    "undecided": MUTED,
    "inferior": OKABE_ITO["vermillion"],
}
VERDICT_MARKERS: dict[str, str] = {"non-inferior": "o", "undecided": "s", "inferior": "D"}

ECG_KEPT = "#000000"
ECG_DROPPED = "#8c8c8c"
ECG_PAPER = "#fffafa"
ECG_MINOR = "#fbdcdc"
ECG_MAJOR = "#f2a9a9"

MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0
ECG_LAYOUT: tuple[tuple[str, ...], ...] = (
    ("I", "aVR", "V1", "V4"),
    ("II", "aVL", "V2", "V5"),
    ("III", "aVF", "V3", "V6"),
)
ECG_SECONDS = 10.0
RHYTHM_LEAD = "II"

# Seven and a half inches is the text column of the book; at 100 dpi doubled for dense screens a
# figure comes to 1500 pixels and, being line art, to well under 300 KB.
WIDTH = 7.5
PRINT_WIDTH = 180 / 25.4
PRINT_DPI = 300
STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "lines.linewidth": 1.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "leadmin",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}

# White to the blue of the default recipe, and white to vermillion for what is lost: both fall
# steadily in lightness, so the order survives in grey.
GAIN_MAP = LinearSegmentedColormap.from_list("leadmin_gain", ["#f4f8fb", "#9cc8e3", "#0072B2"])
LOSS_MAP = LinearSegmentedColormap.from_list(
    "leadmin_loss", ["#0072B2", "#b5d5ea", "#ffffff", "#f3b789", "#D55E00"]
)


def use_style() -> None:
    """Make this module's style the default of the current session.

    Sets matplotlib's ``rcParams`` and, inside a notebook, asks for PNG output at twice the
    screen's resolution.
    """
    mpl.rcParams.update(STYLE)
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        shell = get_ipython()
        if shell is not None:
            select_figure_formats(shell, {"retina"}, bbox_inches=None)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG (twice its own resolution), PDF or SVG, all or nothing.

    Two calls with the same figure write the same bytes: no date is recorded.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : Path
        Ends in ``.png``, ``.pdf`` or ``.svg``.

    Raises
    ------
    LeadminError
        If the name has another ending.
    """
    undated: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None},
        ".svg": {"Date": None},
    }
    if path.suffix not in undated:
        raise LeadminError(f"{path}: a figure is written as .png, .pdf or .svg; rename it.")
    with mpl.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=2 * figure.dpi, metadata=undated[path.suffix])


def add_note(figure: Figure, note: str) -> Figure:
    """Write below a figure on what it stands, and give the figure back.

    Parameters
    ----------
    figure : Figure
    note : str
        Such as the number of records and patients.
    """
    label = figure.get_supxlabel()
    if label:
        figure.supxlabel(f"{label}\n{note}", fontsize=9)
    else:
        figure.supxlabel(note, fontsize=8, color=MUTED)
    return figure


def save_for_print(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as a journal wants it: ``<name>.pdf`` (vector) and ``<name>.png`` (300 dpi).

    Both are 180 mm wide, the double column of most journals; the figure itself stays as it is.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Made if it is missing.
    name : str
        Without an ending.
    """
    width, height = figure.get_size_inches()
    pixels = io.BytesIO()
    try:
        figure.set_size_inches(PRINT_WIDTH, height * PRINT_WIDTH / width)
        save_figure(figure, folder / f"{name}.pdf")
        figure.savefig(pixels, format="png", dpi=PRINT_DPI)
    finally:
        figure.set_size_inches(width, height)
    # Line art needs no more than 256 colours, which make the file a third as large.
    with Image.open(pixels) as image, atomic_path(folder / f"{name}.png") as temporary:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(temporary, format="PNG", dpi=(PRINT_DPI, PRINT_DPI), optimize=True)


# --------------------------------------------------------------------------------------------
# What the figures below share
# --------------------------------------------------------------------------------------------


def _figure(height: float, width: float = WIDTH, **options: Any) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def _require(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    columns = tuple(columns)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise LeadminError(
            f"{what}: the table lacks the column {', '.join(map(repr, missing))}; "
            f"it needs {', '.join(columns)} and has {', '.join(map(str, table.columns)) or 'none'}."
        )
    if table.empty:
        raise LeadminError(f"{what}: the table has no rows; hand in at least one.")


def _one_recipe(table: pd.DataFrame, what: str) -> None:
    if "recipe" in table.columns and table["recipe"].nunique() > 1:
        found = ", ".join(map(str, table["recipe"].unique()))
        raise LeadminError(f"{what}: shows one recipe at a time; select one of {found} first.")


def _recipe_order(recipes: Iterable[str]) -> list[str]:
    """Put ``default`` first and ``seed`` last: the first one is the answer, the rest compare."""
    found = list(dict.fromkeys(str(recipe) for recipe in recipes))
    return sorted(found, key=lambda recipe: (recipe != "default", recipe == "seed"))


def _recipe_look(recipes: Sequence[str]) -> dict[str, tuple[str, str, Any]]:
    """Give each recipe its colour, marker and line; unknown names take what is left."""
    spare = iter(
        zip(("green", "purple", "vermillion", "sky"), "s^vP", (":", "-.", "--", "-"), strict=True)
    )
    look: dict[str, tuple[str, str, Any]] = {}
    for recipe in recipes:
        if recipe in RECIPE_COLOURS:
            look[recipe] = (RECIPE_COLOURS[recipe], RECIPE_MARKERS[recipe], RECIPE_LINES[recipe])
        else:
            colour, marker, line = next(spare, ("black", "x", "-"))
            look[recipe] = (OKABE_ITO[colour], marker, line)
    return look


def _stacked_leads(config: str) -> str:
    """Write a configuration's leads one above the other; four and more in rows of two."""
    leads = resolve(config).leads
    if len(leads) == len(LEADS):
        return "all\ntwelve"
    if set(leads) == set(LEADS[:6]):
        return "six\nlimb\nleads"
    if len(leads) <= 3:
        return "\n".join(leads)
    return "\n".join(" ".join(leads[start : start + 2]) for start in range(0, len(leads), 2))


def _heatmap(axis: Axes, values: pd.DataFrame | NDArray[Any], **options: Any) -> None:
    """Draw seaborn's heat map, with each cell's text in whichever of ink and white reads better.

    Contrast is that of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio); seaborn's own
    rule turns to white on shades where dark text has four times the contrast.
    """
    style = {"linewidths": 1.5, "linecolor": "white", "annot_kws": {"fontsize": 8}, "fmt": ""}
    sns.heatmap(values, ax=axis, **(style | options))
    shades = axis.collections[0].get_facecolor()
    masked = np.ma.getmaskarray(np.ma.asarray(axis.collections[0].get_array())).ravel()
    # seaborn writes no text in a masked cell, so texts and unmasked cells run in step
    for text, shade in zip(axis.texts, np.asarray(shades)[~masked], strict=True):
        light = _luminance(shade) + 0.05
        on_ink = light / (_luminance(mpl.colors.to_rgb(INK)) + 0.05)
        text.set_color("white" if 1.05 / light > on_ink else INK)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)


def _luminance(colour: Sequence[float] | NDArray[Any]) -> float:
    """Relative luminance of an sRGB colour, 0 black to 1 white."""
    channel = np.asarray(colour[:3], dtype=float)
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _beside(axis: Axes, row: float | None, points: float, text: str, **style: Any) -> None:
    """Write text to the right of the axes, ``points`` from their edge; a heading without a row."""
    heading = row is None
    axis.annotate(
        text,
        (1, 1 if row is None else row),
        (points, 4 if heading else 0),
        xycoords="axes fraction" if heading else axis.get_yaxis_transform(),
        textcoords="offset points",
        **(
            {
                "fontsize": 8.5,
                "fontweight": "bold" if heading else "normal",
                "va": "bottom" if heading else "center",
                "annotation_clip": False,
            }
            | style
        ),
    )


def _rows_down(axis: Axes, names: Collection[str]) -> None:
    """Name the rows of a figure that is read line by line, the first one on top."""
    axis.set_yticks(range(len(names)), list(names))
    axis.set_ylim(len(names) - 0.4, -0.6)


def _read_across(axis: Axes) -> None:
    """Draw the grid of a figure whose rows are read along the x axis."""
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.tick_params(axis="y", length=0)


def _checked_labels(labels: ArrayLike, what: str) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] != len(CLASSES):
        raise LeadminError(
            f"{what}: labels have the shape {array.shape}; expected (n_records, {len(CLASSES)})."
        )
    return array


# --------------------------------------------------------------------------------------------
# One record on paper
# --------------------------------------------------------------------------------------------


def plot_ecg(
    signal: ArrayLike,
    sampling_rate: int,
    leads_kept: Sequence[str] = LEADS,
    title: str | None = None,
) -> Figure:
    """Draw ten seconds of a 12-lead ECG as a cardiologist expects it on paper.

    25 mm/s and 10 mm/mV true to scale (one data unit of the axes is one millimetre of the
    figure), a grid of 1 mm and 5 mm, a calibration pulse of 1 mV for 0.2 s before each row, three
    rows of four leads for 2.5 s each as they ran on, and lead II for ten seconds beneath. Each
    lead is centred on its median, as the paper's baseline; nothing else is filtered.

    Parameters
    ----------
    signal : array_like, shape (12, n_samples), mV
        Leads in the order of :data:`leadmin.leads.LEADS`; at least ten seconds.
    sampling_rate : int
        In Hz.
    leads_kept : sequence of str, default all twelve
        These are drawn in black, the others in grey.
    title : str, optional
        Stands above the paper.

    Returns
    -------
    Figure
        270 mm wide; its only axes measure millimetres.

    Raises
    ------
    LeadminError
        If the shape, the length or the unit cannot be right, or a lead's name is unknown.
    """
    millivolts = np.asarray(signal, dtype=float)
    if millivolts.ndim != 2 or millivolts.shape[0] != len(LEADS):
        raise LeadminError(
            f"plot_ecg: the signal has the shape {millivolts.shape}; expected "
            f"({len(LEADS)}, n_samples), leads in the order {' '.join(LEADS)}."
        )
    if millivolts.shape[1] < ECG_SECONDS * sampling_rate:
        raise LeadminError(
            f"plot_ecg: {millivolts.shape[1]} samples at {sampling_rate} Hz are less than the "
            f"{ECG_SECONDS:.0f} s that the paper shows."
        )
    if np.nanmax(np.abs(millivolts)) > 33:
        raise LeadminError(
            "plot_ecg: values beyond 33 mV, the range of the recorder; divide microvolts by 1000."
        )
    kept = {canonical_lead(lead) for lead in leads_kept}
    millivolts = millivolts - np.nanmedian(millivolts, axis=1, keepdims=True)

    row_height, head, foot, left, right = 30.0, 10.0, 10.0, 15.0, 5.0
    title_height = 10.0 if title else 0.0
    width = left + ECG_SECONDS * MM_PER_SECOND + right
    height = head + (len(ECG_LAYOUT) + 1) * row_height + foot
    # Three pixels a millimetre, and six at twice the resolution: every line of the grid then falls
    # on whole pixels and looks the same.
    figure = Figure(
        figsize=(width / 25.4, (height + title_height) / 25.4), dpi=3 * 25.4, facecolor="white"
    )
    FigureCanvasAgg(figure)
    paper = figure.add_axes((0.0, 0.0, 1.0, height / (height + title_height)))
    paper.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=ECG_PAPER)
    paper.grid(visible=False)
    for spine in paper.spines.values():
        spine.set_visible(False)
    for step, colour, line_width in ((1.0, ECG_MINOR, 0.45), (5.0, ECG_MAJOR, 0.7)):
        xs, ys = np.arange(0, width + 0.1, step), np.arange(0, height + 0.1, step)
        grid = [[(x, 0), (x, height)] for x in xs] + [[(0, y), (width, y)] for y in ys]
        paper.add_collection(LineCollection(grid, colors=colour, linewidths=line_width, zorder=1))

    column_seconds = ECG_SECONDS / len(ECG_LAYOUT[0])
    strips = [
        (lead, row, column * column_seconds, (column + 1) * column_seconds)
        for row, leads in enumerate(ECG_LAYOUT)
        for column, lead in enumerate(leads)
    ]
    strips.append((RHYTHM_LEAD, len(ECG_LAYOUT), 0.0, ECG_SECONDS))
    # Kept leads are drawn last: where tall waves meet, the one that counts stays in sight.
    for lead, row, start, stop in sorted(strips, key=lambda strip: strip[0] in kept):
        colour = ECG_KEPT if lead in kept else ECG_DROPPED
        baseline = height - head - (row + 0.5) * row_height
        samples = np.arange(
            round(start * sampling_rate),
            min(round(stop * sampling_rate) + 1, millivolts.shape[1]),
        )
        paper.plot(
            left + MM_PER_SECOND * samples / sampling_rate,
            baseline + MM_PER_MILLIVOLT * millivolts[LEADS.index(lead), samples],
            color=colour,
            linewidth=1.0 if lead in kept else 0.9,
            solid_joinstyle="round",
            zorder=4 if lead in kept else 3,
            gid=f"lead-{lead}" if row < len(ECG_LAYOUT) else f"rhythm-{lead}",
        )
        label_x = left + MM_PER_SECOND * start
        paper.text(
            label_x + 1.5,
            baseline + 9.5,
            lead,
            fontsize=13,
            fontweight="bold" if lead in kept else "normal",
            color=ECG_KEPT if lead in kept else "#6e6e6e",
            va="bottom",
            zorder=2,  # beneath the traces: a label must not hide a tall wave
            bbox={"facecolor": ECG_PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
        )
        if start > 0:
            paper.plot(
                [label_x] * 2, [baseline - 3, baseline + 3], color=ECG_KEPT, linewidth=0.8, zorder=2
            )
    for row in range(len(ECG_LAYOUT) + 1):
        baseline = height - head - (row + 0.5) * row_height
        pulse_width, pulse_height = 0.2 * MM_PER_SECOND, 1.0 * MM_PER_MILLIVOLT
        paper.plot(
            np.cumsum([left - 10, 2.5, 0, pulse_width, 0, 2.5]),
            baseline + np.array([0, 0, pulse_height, pulse_height, 0, 0]),
            color=ECG_KEPT,
            linewidth=1.0,
            solid_joinstyle="miter",
            zorder=4,
            gid=f"calibration-{row}",
        )
    dropped = [lead for lead in LEADS if lead not in kept]
    caption = "25 mm/s    10 mm/mV"
    if dropped:
        caption += "    black: leads kept, grey: leads dropped"
    paper.text(
        left,
        3.2,
        caption,
        fontsize=12,
        color=INK,
        va="bottom",
        zorder=5,
        bbox={"facecolor": ECG_PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )
    if title:
        figure.text(
            left / width,
            1 - 0.5 * title_height / (height + title_height),
            title,
            fontsize=14,
            fontweight="bold",
            va="center",
            color=INK,
        )
    return figure


# A torso in the unit square, front view: the viewer's left is the patient's right.
_TORSO: tuple[tuple[float, float], ...] = (
    (0.42, 1.04), (0.42, 0.97), (0.40, 0.93), (0.30, 0.905), (0.18, 0.885), (0.10, 0.86),
    (0.055, 0.79), (0.035, 0.70), (0.01, 0.58), (-0.02, 0.47), (-0.035, 0.40),
)  # fmt: skip
_FLANK: tuple[tuple[float, float], ...] = (
    (0.075, 0.40), (0.105, 0.50), (0.145, 0.60), (0.165, 0.67), (0.185, 0.58), (0.195, 0.46),
    (0.205, 0.34), (0.195, 0.22), (0.175, 0.12), (0.165, 0.03),
)  # fmt: skip
_ELECTRODES: dict[str, tuple[float, float]] = {
    "RA": (0.16, 0.775),
    "LA": (0.84, 0.775),
    "RL": (0.27, 0.11),
    "LL": (0.73, 0.11),
    "V1": (0.445, 0.58),
    "V2": (0.555, 0.58),
    "V3": (0.597, 0.517),
    "V4": (0.638, 0.455),
    "V5": (0.708, 0.443),
    "V6": (0.775, 0.443),
}
_LABEL_OFFSETS: dict[str, tuple[float, float]] = {
    "RL": (0.0, -0.068),
    "LL": (0.0, -0.068),
    "V3": (-0.055, -0.022),
    "V4": (-0.055, -0.03),
    "V5": (-0.008, -0.062),
    "V6": (0.012, -0.062),
}


def electrodes_needed(leads: Sequence[str]) -> tuple[str, ...]:
    """Name the electrodes that a set of leads is measured with, the neutral one (RL) last.

    A bipolar lead takes two limb electrodes; an augmented lead and, through Wilson's central
    terminal, each chest lead takes all three (Kligfield et al. 2007, doi
    10.1161/CIRCULATIONAHA.106.180200).

    Parameters
    ----------
    leads : sequence of str
        Names in any case.

    Returns
    -------
    tuple of str
        Some of RA, LA, LL, V1 to V6, and RL.
    """
    bipolar = {"I": {"RA", "LA"}, "II": {"RA", "LL"}, "III": {"LA", "LL"}}
    needed: set[str] = {"RL"}
    for lead in map(canonical_lead, leads):
        needed |= bipolar.get(lead, {"RA", "LA", "LL"})
        if lead.startswith("V"):
            needed.add(lead)
    order = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6", "RL")
    return tuple(electrode for electrode in order if electrode in needed)


def plot_electrodes(configs: Sequence[str]) -> Figure:
    """Draw where the electrodes of lead configurations sit on the chest, one torso each.

    Filled dots are the electrodes that the configuration needs, open ones are spared. Limb
    electrodes stand at the root of the limb that they are clipped to, the chest electrodes at
    their usual places from the fourth right intercostal space (V1) to the midaxillary line (V6).

    Parameters
    ----------
    configs : sequence of str
        Registry names or comma lists of leads.

    Returns
    -------
    Figure
        Up to four torsos a row.
    """
    columns = min(4, len(configs))
    rows = -(-len(configs) // columns)
    figure = _figure(2.3 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
        axis.grid(visible=False)
    for axis, config in zip(axes, configs, strict=False):
        configuration = resolve(config)
        needed = electrodes_needed(configuration.leads)
        axis.set(xlim=(-0.08, 1.08), ylim=(-0.03, 1.07), aspect="equal")
        for outline in (_TORSO, _FLANK):
            for mirrored in (False, True):
                points = np.array([(1 - x if mirrored else x, y) for x, y in outline])
                axis.add_patch(
                    PathPatch(
                        _smooth(points),
                        facecolor="none",
                        edgecolor=MUTED,
                        linewidth=1.1,
                        capstyle="round",
                    )
                )
        axis.plot([0.5, 0.5], [0.45, 0.88], color=FAINT, linewidth=1.0, linestyle=(0, (1, 2)))
        ends = {"I": ("RA", "LA"), "II": ("RA", "LL"), "III": ("LA", "LL")}
        for lead, (minus, plus) in ends.items():
            if lead in configuration.leads:
                (x0, y0), (x1, y1) = _ELECTRODES[minus], _ELECTRODES[plus]
                axis.annotate("", (x1, y1), (x0, y0), arrowprops={
                    "arrowstyle": "-|>", "color": OKABE_ITO["blue"], "linewidth": 1.0,
                    "alpha": 0.55, "shrinkA": 5, "shrinkB": 5})  # fmt: skip
        for electrode, (x, y) in _ELECTRODES.items():
            used = electrode in needed
            neutral = electrode == "RL"
            colour = MUTED if neutral else OKABE_ITO["blue"]
            axis.add_patch(
                Circle(
                    (x, y),
                    0.026 if electrode.startswith("V") else 0.034,
                    facecolor=colour if used else "white",
                    edgecolor=colour if used else FAINT,
                    linewidth=1.1,
                    zorder=3,
                )
            )
            if used:
                dx, dy = _LABEL_OFFSETS.get(electrode, (0.0, 0.062))
                axis.text(x + dx, y + dy, electrode, fontsize=7, ha="center", va="center", zorder=4)
        count = len(needed)
        axis.set_title(
            f"{config}\n{count} electrodes", fontsize=8.5, loc="center", fontweight="normal"
        )
    return figure


def _smooth(points: NDArray[np.floating[Any]]) -> DrawnPath:
    """Run a Catmull-Rom curve through the points, as cubic Bezier pieces."""
    padded = np.vstack([points[0], points, points[-1]])
    vertices, codes = [points[0]], [DrawnPath.MOVETO]
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        vertices += [start + (end - before) / 6, end - (after - start) / 6, end]
        codes += [DrawnPath.CURVE4] * 3
    return DrawnPath(np.array(vertices), codes)


# --------------------------------------------------------------------------------------------
# The data
# --------------------------------------------------------------------------------------------


def plot_prevalence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how many records carry each superclass, under each label policy.

    Parameters
    ----------
    labels : mapping of str to array_like, shape (n_records, 5)
        Label policy to 0/1 labels in the order of :data:`leadmin.labels.CLASSES`.

    Returns
    -------
    Figure
        Bars with the count and the share of all records.
    """
    figure = _figure(2.9)
    axis = figure.subplots()
    look = ((OKABE_ITO["blue"], ""), (OKABE_ITO["sky"], "////"), (FAINT, "...."))
    policies = list(labels)
    thickness = 0.8 / len(policies)
    n_records = 0
    for place, policy in enumerate(policies):
        array = _checked_labels(labels[policy], "plot_prevalence")
        n_records = len(array)
        counts = array.sum(axis=0)
        colour, hatch = look[place % len(look)]
        positions = np.arange(len(CLASSES)) + (place - (len(policies) - 1) / 2) * thickness
        bars = axis.barh(
            positions,
            counts,
            thickness * 0.92,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=policy,
        )
        axis.bar_label(
            bars,
            [f"{count:,} ({count / n_records:.0%})" for count in counts],
            padding=4,
            fontsize=8,
        )
    axis.set_yticks(range(len(CLASSES)), [f"{name}  {CLASS_NAMES[name]}" for name in CLASSES])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.margins(x=0.14)
    axis.set_xlabel(f"records (of {n_records:,}; a record may carry several classes)")
    axis.legend(title="label policy", loc="lower right", alignment="left")
    return figure


def plot_cooccurrence(labels: Mapping[str, ArrayLike]) -> Figure:
    """Draw how often superclasses occur together, one panel a label policy.

    Parameters
    ----------
    labels : mapping of str to array_like, shape (n_records, 5)
        Label policy to 0/1 labels in the order of :data:`leadmin.labels.CLASSES`.

    Returns
    -------
    Figure
        Each cell: the number of records with both classes, shaded by the share of the row's
        class; on the diagonal, those with this class alone.
    """
    figure = _figure(3.5)
    axes = np.atleast_1d(figure.subplots(1, len(labels), sharey=True))
    for axis, (policy, array) in zip(axes, labels.items(), strict=True):
        binary = _checked_labels(array, "plot_cooccurrence").astype(np.int64)
        counts = binary.T @ binary
        totals = np.maximum(np.diag(counts), 1)
        alone = binary[binary.sum(axis=1) == 1].sum(axis=0)
        shown = counts.copy()
        np.fill_diagonal(shown, alone)
        _heatmap(axis, shown / totals[:, None], cmap=GAIN_MAP, vmin=0, vmax=1, square=True,
                 annot=[[f"{value:,}" for value in row] for row in shown],
                 xticklabels=CLASSES, yticklabels=CLASSES, cbar=axis is axes[-1],
                 cbar_kws={"label": "share of the row's class", "shrink": 0.8,
                           "format": PercentFormatter(1, decimals=0)})  # fmt: skip
        axis.set_title(f"policy: {policy}")
    axes[0].set_ylabel("records with ...")
    figure.supxlabel("... that also carry (diagonal: no other class)", fontsize=9)
    return figure


def plot_age_sex(age: ArrayLike, sex: ArrayLike) -> Figure:
    """Draw the age of the records' patients, men and women back to back.

    Parameters
    ----------
    age : array_like, shape (n_records,), years
        NaN where unknown; PTB-XL writes 300 for everyone over 89.
    sex : array_like, shape (n_records,)
        0 male, 1 female, -1 unknown.

    Returns
    -------
    Figure
        A pyramid in steps of five years; the top step holds all ages over 89.
    """
    years, sexes = np.asarray(age, dtype=float), np.asarray(sex)
    edges = np.arange(0, 96, 5)
    centres = edges[:-1] + 2.5
    binned = np.where(years > 89, 92.0, years)
    figure = _figure(3.4)
    axis = figure.subplots()
    sides = (("men", 0, -1, OKABE_ITO["blue"], ""), ("women", 1, 1, OKABE_ITO["orange"], "////"))
    limit = 1.0
    for name, code, direction, colour, hatch in sides:
        mine = sexes == code
        counts, _ = np.histogram(binned[mine & np.isfinite(years)], edges)
        limit = max(limit, counts.max())
        axis.barh(
            centres,
            direction * counts,
            4.5,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
        )
        exact = years[mine & (years <= 89)]
        axis.text(0.02 if direction < 0 else 0.98, 0.97,
                  f"{name}: {mine.sum():,}\nmedian {np.median(years[mine & (years > 0)]):.0f} years"
                  if exact.size else f"{name}: {mine.sum():,}",
                  transform=axis.transAxes, va="top", ha="left" if direction < 0 else "right",
                  fontsize=9)  # fmt: skip
    axis.axvline(0, color="white", linewidth=1.2)
    axis.set_xlim(-1.08 * limit, 1.08 * limit)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
    axis.set_yticks([*range(0, 90, 10), 92.5], [*map(str, range(0, 90, 10)), "over 89"])
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.set(xlabel="records", ylabel="age (years)")
    unknown = int((~np.isfinite(years) | (sexes < 0)).sum())
    if unknown:
        axis.set_title(
            f"{unknown:,} records without age or sex are not drawn",
            fontsize=8.5,
            fontweight="normal",
        )
    return figure


def plot_folds(fold: ArrayLike, patient_id: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw what each fold holds: records, patients and the prevalence of each class.

    Parameters
    ----------
    fold : array_like, shape (n_records,)
        1 to 10.
    patient_id : array_like, shape (n_records,)
        Records of one patient share it.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        Records and patients as bars, prevalence as one line a class.
    """
    folds, patients = np.asarray(fold), np.asarray(patient_id)
    binary = _checked_labels(labels, "plot_folds")
    numbers = np.unique(folds)
    records = np.array([(folds == number).sum() for number in numbers])
    persons = np.array([np.unique(patients[folds == number]).size for number in numbers])
    figure = _figure(4.3)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.5))
    upper.bar(numbers - 0.2, records, 0.38, color=OKABE_ITO["blue"], label="records")
    upper.bar(
        numbers + 0.2,
        persons,
        0.38,
        color=OKABE_ITO["sky"],
        hatch="////",
        edgecolor="white",
        linewidth=0.5,
        label="patients",
    )
    upper.set_ylabel("count")
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    for column, (name, marker) in enumerate(zip(CLASSES, "osD^v", strict=True)):
        share = [binary[folds == number, column].mean() for number in numbers]
        lower.plot(
            numbers, share, color=CLASS_COLOURS[name], marker=marker, markersize=4.5, linewidth=1.3
        )
    _label_line_ends(
        lower,
        numbers[-1] + 0.15,
        [
            (binary[folds == numbers[-1], column].mean(), name, CLASS_COLOURS[name])
            for column, name in enumerate(CLASSES)
        ],
    )
    lower.set(xlabel="fold", ylabel="prevalence", xticks=numbers)
    lower.set_ylim(bottom=0)
    lower.set_xlim(numbers[0] - 0.6, numbers[-1] + 1.0)
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if set(numbers) == set(range(1, 11)):
        for axis in (upper, lower):
            axis.axvspan(8.5, 9.5, color="#f3f4f6", zorder=0)
            axis.axvspan(9.5, 10.5, color="#e7e9ed", zorder=0)
        for x, part in ((4.5, "train"), (9, "validate"), (10, "test")):
            upper.text(
                x,
                1.02,
                part,
                transform=upper.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=MUTED,
            )
    return figure


def _label_line_ends(
    axis: Axes, x: float, ends: Sequence[tuple[float, str, str]], gap: float = 0.085
) -> None:
    """Write each line's name at its end, pushed apart so that no two names meet."""
    low, high = axis.get_ylim()
    least = gap * (high - min(low, 0.0))
    placed = -np.inf
    for value, name, colour in sorted(ends):
        placed = max(value, placed + least)
        axis.text(
            x,
            placed,
            name,
            color=_darker(colour),
            fontsize=8.5,
            va="center",
            fontweight="bold",
            clip_on=False,
        )


def _darker(colour: str) -> tuple[float, float, float]:
    """Darken a fill colour until it is legible as text on white."""
    red, green, blue = mpl.colors.to_rgb(colour)
    return (0.68 * red, 0.68 * green, 0.68 * blue)


def plot_quality(flags: pd.DataFrame, labels: ArrayLike) -> Figure:
    """Draw how many records each quality rule or note marks, over all and in each superclass.

    Parameters
    ----------
    flags : DataFrame of bool, shape (n_records, n_rules)
        Column: the rule as it should be written; True: the record is marked.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        A heat map of shares with the counts written in, rules by all records and superclasses.

    Raises
    ------
    LeadminError
        If there is no rule, or the numbers of records differ.
    """
    binary = _checked_labels(labels, "plot_quality").astype(bool)
    if flags.shape[1] == 0 or len(flags) != len(binary):
        raise LeadminError(
            f"plot_quality: flags have the shape {flags.shape}; expected ({len(binary)}, n_rules), "
            "a row for each record of the labels."
        )
    groups = {"all": np.ones(len(binary), dtype=bool)} | dict(zip(CLASSES, binary.T, strict=True))
    marked = flags.to_numpy(dtype=bool)
    counts = np.array([marked[members].sum(axis=0) for members in groups.values()]).T
    sizes = np.array([members.sum() for members in groups.values()])
    shares = pd.DataFrame(
        counts / np.maximum(sizes, 1),
        index=[str(name).replace("_", " ") for name in flags.columns],
        columns=[f"{name}\n({size:,})" for name, size in zip(groups, sizes, strict=True)],
    )
    texts = [
        [f"{count:,} ({share:.0%})" if count else "0" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares.to_numpy(), strict=True)
    ]
    figure = _figure(0.34 * len(shares) + 1.0)
    axis = figure.subplots()
    _heatmap(
        axis,
        shares,
        cmap=GAIN_MAP,
        vmin=0,
        annot=texts,
        cbar_kws={"label": "share of records", "format": PercentFormatter(1, decimals=0)},
    )
    axis.set(xlabel="superclass (records)", ylabel="")
    return figure


def plot_einthoven_residuals(residuals: Mapping[str, ArrayLike]) -> Figure:
    """Draw how far the limb leads are from the identities that bind them.

    Parameters
    ----------
    residuals : mapping of str to array_like, microvolts
        The identity as it should be written, such as ``"III - (II - I)"``, to the residuals of
        all samples, of any shape.

    Returns
    -------
    Figure
        One panel an identity: the share of samples at each residual, on a logarithmic axis.
    """
    figure = _figure(2.9)
    axes = np.atleast_1d(figure.subplots(1, len(residuals), sharey=True, sharex=True))
    flat = {name: np.asarray(values).ravel() for name, values in residuals.items()}
    reach = max(2.0, float(np.ceil(max(np.abs(values).max() for values in flat.values()))))
    step = 0.5 if reach <= 12 else reach / 24
    edges = np.arange(-reach - step / 2, reach + step, step)
    for axis, (name, values) in zip(axes, flat.items(), strict=True):
        counts, _ = np.histogram(values, edges)
        axis.bar(edges[:-1] + step / 2, counts / values.size, step * 0.9, color=OKABE_ITO["blue"])
        axis.set_yscale("log")
        axis.set_title(name, fontsize=9, loc="center")
        largest = np.abs(values).max()
        axis.text(
            0.97,
            0.96,
            f"largest\n{largest:.1f} µV",
            transform=axis.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            color=MUTED,
        )
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("share of samples")
    figure.supxlabel("residual (µV)", fontsize=9)
    return figure


def plot_principal_spread(spread: ArrayLike) -> Figure:
    """Draw how far the samples of all leads extend in each principal direction.

    Parameters
    ----------
    spread : array_like, shape (n_leads,), microvolts
        Standard deviation along each direction, in falling order.

    Returns
    -------
    Figure
        Bars on a logarithmic axis, with the level that rounding to whole microvolts leaves: the
        standard deviation of a uniform distribution of width one, 1/sqrt(12).
    """
    values = np.asarray(spread, dtype=float)
    figure = _figure(2.8)
    axis = figure.subplots()
    numbers = np.arange(1, values.size + 1)
    signal = values > 2
    axis.bar(numbers[signal], values[signal], 0.72, color=OKABE_ITO["blue"], label="signal")
    axis.bar(
        numbers[~signal],
        values[~signal],
        0.72,
        color=OKABE_ITO["sky"],
        hatch="////",
        edgecolor="white",
        linewidth=0.5,
        label="rounding",
    )
    axis.axhline(
        1 / np.sqrt(12),
        color=INK,
        linewidth=1.0,
        linestyle=(0, (3, 2)),
        label="what rounding to 1 µV leaves",
    )
    axis.set_yscale("log")
    for number, value in zip(numbers, values, strict=True):
        text = f"{value:.0f}" if value > 2 else f"{value:.2f}"
        axis.annotate(
            text, (number, value), (0, 2), textcoords="offset points", ha="center", fontsize=8.5
        )
    axis.set(xlabel="principal direction", ylabel="standard deviation (µV)", xticks=numbers)
    axis.set_xlim(0.4, values.size + 0.6)
    axis.set_ylim(0.1, values.max() * 2)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="upper right")
    return figure


def plot_amplitudes(amplitude: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw each lead's typical amplitude for each class.

    Parameters
    ----------
    amplitude : array_like, shape (n_records, 12), mV
        One number a record and lead, such as the QRS peak-to-peak voltage.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.

    Returns
    -------
    Figure
        A heat map of medians, classes by leads.
    """
    values = np.asarray(amplitude, dtype=float)
    binary = _checked_labels(labels, "plot_amplitudes").astype(bool)
    medians = pd.DataFrame(
        [np.nanmedian(values[binary[:, column]], axis=0) for column in range(len(CLASSES))],
        index=CLASSES,
        columns=LEADS,
    )
    figure = _figure(2.6)
    axis = figure.subplots()
    _heatmap(axis, medians, cmap=GAIN_MAP, annot=True, fmt=".2f",
             cbar_kws={"label": "median (mV)"})  # fmt: skip
    axis.set(xlabel="lead", ylabel="")
    return figure


def plot_sokolow_lyon(index: ArrayLike, labels: ArrayLike, threshold: float = 3.5) -> Figure:
    """Draw the Sokolow-Lyon voltage of hypertrophy against that of normal records.

    Parameters
    ----------
    index : array_like, shape (n_records,), mV
        Depth of S in V1 plus height of R in V5.
    labels : array_like, shape (n_records, 5)
        0/1 labels under one policy.
    threshold : float, default 3.5 mV
        The criterion (Sokolow and Lyon 1949, doi 10.1016/0002-8703(49)90562-1).

    Returns
    -------
    Figure
        Two densities and the share of each beyond the criterion.
    """
    values = np.asarray(index, dtype=float)
    binary = _checked_labels(labels, "plot_sokolow_lyon").astype(bool)
    figure = _figure(3.1)
    axis = figure.subplots()
    # the last bar gathers the few records beyond, which are mostly artefacts
    top = np.ceil(4 * max(np.nanpercentile(values, 99.5), threshold)) / 4 + 0.25
    edges = np.arange(0, top + 0.25, 0.25)
    beyond = bool(np.nanmax(values) > top)
    values = np.clip(values, 0, top - 1e-6)
    for name, line in (("NORM", "-"), ("HYP", (0, (4, 1.5)))):
        mine = values[binary[:, CLASSES.index(name)]]
        density, _ = np.histogram(mine, edges)
        axis.stairs(
            density / max(mine.size, 1), edges, fill=True, alpha=0.22, color=CLASS_COLOURS[name]
        )
        axis.stairs(
            density / max(mine.size, 1),
            edges,
            color=CLASS_COLOURS[name],
            linewidth=1.7,
            linestyle=line,
            label=f"{name}: {mine.size:,} records, "
            f"{np.mean(mine >= threshold):.0%} at or beyond {threshold} mV",
        )
    axis.axvline(threshold, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
    axis.annotate(
        "criterion",
        (threshold, 0.97),
        (5, 0),
        xycoords=axis.get_xaxis_transform(),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=MUTED,
    )
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(
        xlabel="S in V1 + R in V5 (mV)"
        + (f"; last bar: {top - 0.25:g} and more" if beyond else ""),
        ylabel="share of the class per 0.25 mV",
        xlim=(0, edges[-1]),
    )
    axis.margins(y=0.12)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_variance_explained(explained: pd.DataFrame) -> Figure:
    """Draw how much of each lead's variance a set of leads explains.

    Parameters
    ----------
    explained : DataFrame, shape (n_configs, 12)
        Index: configuration; columns: the twelve leads; values: R squared.

    Returns
    -------
    Figure
        A heat map; a lead that the configuration itself holds is marked with a dot.
    """
    _require(explained, LEADS, "plot_variance_explained")
    figure = _figure(0.31 * len(explained) + 0.9)
    axis = figure.subplots()
    values = explained[list(LEADS)].clip(lower=0)
    texts = [
        ["•" if lead in resolve(str(config)).leads else f"{value:.2f}"
         for lead, value in zip(LEADS, row, strict=True)]
        for config, row in zip(values.index, values.to_numpy(), strict=True)
    ]  # fmt: skip
    _heatmap(axis, values, cmap=GAIN_MAP, vmin=0, vmax=1, annot=texts,
             cbar_kws={"label": "variance explained ($R^2$)"})  # fmt: skip
    axis.set(xlabel="lead to be explained", ylabel="")
    return figure


# --------------------------------------------------------------------------------------------
# One run
# --------------------------------------------------------------------------------------------


def plot_learning_curves(history: pd.DataFrame, keeps_last: Collection[str] = ()) -> Figure:
    """Draw the loss and the validation AUROC of every fit of a run.

    Parameters
    ----------
    history : DataFrame
        Columns ``recipe``, ``seed``, ``epoch``, ``train_loss``, ``validation_loss``,
        ``validation_auroc``, and optionally ``fold``: one row a fit and epoch.
    keeps_last : collection of str, default none
        Recipes that keep the weights of the last epoch; the others keep those of the best.

    Returns
    -------
    Figure
        A row a recipe. Left, training loss (broken) and validation loss (solid); right,
        validation AUROC with the epoch marked whose weights each fit keeps.

    Raises
    ------
    LeadminError
        If a column is missing or the table is empty.
    """
    columns = ("recipe", "seed", "epoch", "train_loss", "validation_loss", "validation_auroc")
    _require(history, columns, "plot_learning_curves")
    recipes = _recipe_order(history["recipe"])
    look = _recipe_look(recipes)
    by = ["seed", "fold"] if "fold" in history.columns else ["seed"]
    figure = _figure(0.4 + 2.1 * len(recipes))
    grid = figure.subplots(len(recipes), 2, squeeze=False)
    for (losses, scores), recipe in zip(grid, recipes, strict=True):
        mine = history[history["recipe"] == recipe]
        colour, marker, _ = look[recipe]
        fits = [fit.sort_values("epoch") for _, fit in mine.groupby(by)]
        strong = 0.9 if len(fits) <= 3 else max(0.25, 3 / len(fits))
        thin = 1.4 if len(fits) <= 3 else 0.9
        best = []
        for fit in fits:
            losses.plot(
                fit["epoch"],
                fit["train_loss"],
                color=MUTED,
                linewidth=thin,
                linestyle=(0, (3, 1.5)),
                alpha=strong,
            )
            losses.plot(
                fit["epoch"], fit["validation_loss"], color=colour, linewidth=thin, alpha=strong
            )
            scores.plot(
                fit["epoch"], fit["validation_auroc"], color=colour, linewidth=thin, alpha=strong
            )
            reached = fit["validation_auroc"].to_numpy(dtype=float)
            if np.isfinite(reached).any():
                kept = len(fit) - 1 if recipe in keeps_last else int(np.nanargmax(reached))
                best.append((float(fit["epoch"].iloc[kept]), float(reached[kept])))
                scores.plot(
                    *best[-1],
                    marker=marker,
                    markersize=6,
                    color=colour,
                    markeredgecolor="white",
                    markeredgewidth=0.8,
                    zorder=4,
                )
        for axis in (losses, scores):
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        count = f"{len(fits)} fit" + ("s" if len(fits) > 1 else "")
        losses.set_title(f"{recipe} recipe: loss ({count})")
        scores.set_title("validation AUROC, macro")
        losses.legend(
            [Line2D([], [], color=MUTED, linestyle=(0, (3, 1.5))), Line2D([], [], color=colour)],
            ["training (as augmented)", "validation"], loc="upper right")  # fmt: skip
        if best:
            mean = np.mean([score for _, score in best])
            scores.legend(
                [Line2D([], [], color=colour, marker=marker, markeredgecolor="white", markersize=6,
                        linestyle="none")],
                [f"{'last' if recipe in keeps_last else 'best'} epoch, kept: {mean:.3f}"
                 + (" (mean)" if len(best) > 1 else "")],
                loc="lower right")  # fmt: skip
        losses.set_ylabel("binary cross-entropy")
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
    return figure


def plot_roc(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    patient_id: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 300,
) -> Figure:
    """Draw the ROC curve of each class with a 95% band from a bootstrap over patients.

    The curve of a recipe is the mean over its seeds of the true-positive rate at each
    false-positive rate. The band is pointwise, from resampled patients; seeds are resampled with
    nothing, so it shows the error of the test set alone. AUROC is the mean over seeds.

    Parameters
    ----------
    labels : array_like, shape (n_records, 5)
        0/1 labels.
    scores : mapping of str to array_like, shape (n_seeds, n_records, 5) or (n_records, 5)
        Recipe to logits or probabilities: only their order matters.
    patient_id : array_like, shape (n_records,)
        Records of one patient are drawn together.
    rng : numpy.random.Generator
        Draws the resamples.
    n_resamples : int, default 300
        Enough for a band that is drawn, not for an interval that is quoted.

    Returns
    -------
    Figure
        One panel a class, and one for the legend.

    Raises
    ------
    LeadminError
        If shapes disagree.
    """
    binary = _checked_labels(labels, "plot_roc").astype(bool)
    stacks = _stacked_scores(scores, binary, "plot_roc")
    recipes = _recipe_order(stacks)
    look = _recipe_look(recipes)
    weights = patient_weights(patient_id, n_resamples, rng).T.astype(float)
    areas = {recipe: np.mean([auroc(binary, seed) for seed in stacks[recipe]], axis=0)
             for recipe in recipes}  # fmt: skip
    rates = np.linspace(0, 1, 201)
    figure = _figure(5.0)
    grid = figure.subplots(2, 3).ravel()
    for column, (axis, name) in enumerate(zip(grid, CLASSES, strict=False)):
        truth = binary[:, column]
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9)
        axis.set_title(f"{name}  ({truth.sum():,} of {truth.size:,})")
        axis.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
        axis.grid(axis="both", visible=True)
        if truth.all() or not truth.any():
            axis.text(
                0.5,
                0.5,
                "only one class\nin these records",
                ha="center",
                va="center",
                fontsize=8.5,
                color=MUTED,
            )
            continue
        for place, recipe in enumerate(recipes):
            colour, _, line = look[recipe]
            plain = np.ones((1, truth.size))
            curve, resampled = (
                np.mean(
                    [_roc(truth, seed[:, column], drawn, rates) for seed in stacks[recipe]], axis=0
                )
                for drawn in (plain, weights)
            )
            low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
            axis.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(rates, curve[0], color=colour, linestyle=line, linewidth=1.6)
            axis.text(
                0.97,
                0.05 + 0.11 * (len(recipes) - 1 - place),
                f"{recipe} {areas[recipe][column]:.3f}",
                ha="right",
                fontsize=8.5,
                color=_darker(colour),
                fontweight="bold",
            )
    for axis in grid[[0, 3]]:
        axis.set_ylabel("sensitivity")
    figure.supxlabel("1 − specificity", fontsize=9)
    legend = grid[-1]
    legend.set_axis_off()
    legend.legend(
        [Line2D([], [], color=look[recipe][0], linestyle=look[recipe][2]) for recipe in recipes]
        + [Patch(facecolor=MUTED, alpha=0.25)],
        [f"{recipe}, {_seeds(len(stacks[recipe]))}"
         for recipe in recipes] + ["95% band over patients\n(pointwise)"],
        loc="center left", bbox_to_anchor=(0.0, 0.55), title="recipe; numbers: AUROC",
        alignment="left")  # fmt: skip
    return figure


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _stacked_scores(
    scores: Mapping[str, ArrayLike], labels: NDArray[Any], what: str
) -> dict[str, NDArray[np.floating[Any]]]:
    stacks: dict[str, NDArray[np.floating[Any]]] = {}
    for recipe, values in scores.items():
        array = np.asarray(values, dtype=float)
        array = array[None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[1:] != labels.shape:
            raise LeadminError(
                f"{what}: scores of recipe {recipe!r} have the shape {array.shape}; expected "
                f"(n_seeds, {labels.shape[0]}, {labels.shape[1]}), as the labels have."
            )
        stacks[recipe] = array
    if not stacks:
        raise LeadminError(f"{what}: no recipe was given; hand in at least one.")
    return stacks


def _roc(
    truth: NDArray[np.bool_],
    score: NDArray[np.floating[Any]],
    weights: NDArray[np.float64],
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the sensitivity at each false-positive rate, (n_resamples, n_rates).

    ``weights`` is (n_resamples, n_records). NaN where a resample holds one class only. Tied scores
    make one sloping step, as in AUROC.
    """
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)
    sorted_weights = weights[:, order]
    hits = np.cumsum(sorted_weights * truth[order], axis=1)[:, last_of_tie]
    alarms = np.cumsum(sorted_weights * ~truth[order], axis=1)[:, last_of_tie]
    with np.errstate(invalid="ignore"):
        sensitivity = np.pad(hits / hits[:, -1:], ((0, 0), (1, 0)))
        false_rate = np.pad(alarms / alarms[:, -1:], ((0, 0), (1, 0)))
    curves = np.full((len(weights), rates.size), np.nan)
    for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
        curves[row] = np.interp(rates, false_rate[row], sensitivity[row])
    return curves


def plot_calibration(
    labels: ArrayLike, probabilities: Mapping[str, ArrayLike], n_bins: int = 8
) -> Figure:
    """Draw predicted against observed frequency, with how many records each point stands on.

    Predictions of all seeds of a recipe are pooled and cut into bins of equal count. A point
    stands at the mean prediction and the observed frequency of its bin; its bar is Wilson's 95%
    interval at the bin's number of records (of predictions divided by seeds), as though records
    were independent. Beneath, the distribution of the predictions.

    Parameters
    ----------
    labels : array_like, shape (n_records, 5)
        0/1 labels.
    probabilities : mapping of str to array_like, shape (n_seeds, n_records, 5) or (n_records, 5)
        Recipe to predicted probabilities.
    n_bins : int, default 8
        Bins of equal count.

    Returns
    -------
    Figure
        One panel a class, each with a histogram beneath, and one for the legend.

    Raises
    ------
    LeadminError
        If shapes disagree or a value is no probability.
    """
    binary = _checked_labels(labels, "plot_calibration").astype(float)
    stacks = _stacked_scores(probabilities, binary, "plot_calibration")
    for recipe, stack in stacks.items():
        if np.nanmin(stack) < 0 or np.nanmax(stack) > 1:
            raise LeadminError(
                f"plot_calibration: recipe {recipe!r} has values outside 0 to 1; hand in "
                "probabilities (the sigmoid of the logits)."
            )
    recipes = _recipe_order(stacks)
    look = _recipe_look(recipes)
    figure = _figure(6.2)
    panels = figure.subplots(4, 3, height_ratios=(3, 0.9, 3, 0.9), sharex=True)
    pairs = [
        (panels[row, column], panels[row + 1, column]) for row in (0, 2) for column in range(3)
    ]
    edges = np.linspace(0, 1, 21)
    for column, ((axis, strip), name) in enumerate(zip(pairs, CLASSES, strict=False)):
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0)
        tallest = 0.0
        for recipe in recipes:
            colour, marker, line = look[recipe]
            stack = stacks[recipe]
            predicted = stack[:, :, column].ravel()
            observed = np.tile(binary[:, column], len(stack))
            table = _reliability(predicted, observed, len(stack), n_bins)
            axis.errorbar(
                table["predicted"],
                table["observed"],
                [table["observed"] - table["low"], table["high"] - table["observed"]],
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=line,
                linewidth=1.1,
                elinewidth=0.9,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
            counts, _ = np.histogram(predicted, edges)
            counts = counts / len(stack)
            tallest = max(tallest, counts.max())
            strip.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.2)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), yticks=[0, 0.5, 1], xticks=[0, 0.5, 1])
        axis.grid(axis="both", visible=True)
        axis.set_title(name)
        strip.set(ylim=(0, 1.15 * tallest), yticks=[0, int(tallest)])
        strip.grid(visible=False)
        strip.tick_params(labelsize=7.5)
    panels[0, 0].set_ylabel("observed frequency")
    panels[2, 0].set_ylabel("observed frequency")
    panels[1, 0].set_ylabel("records")
    panels[3, 0].set_ylabel("records")
    for strip in panels[1]:
        strip.tick_params(labelbottom=True)
    figure.supxlabel("predicted probability", fontsize=9)
    for axis in panels[2:, 2]:
        axis.set_axis_off()
    panels[2, 2].legend(
        [Line2D([], [], color=look[recipe][0], marker=look[recipe][1], linestyle=look[recipe][2],
                markersize=5, markeredgecolor="white") for recipe in recipes]
        + [Line2D([], [], color=FAINT)],
        [f"{recipe}, {_seeds(len(stacks[recipe]))}"
         for recipe in recipes] + ["perfect calibration"],
        loc="center left", bbox_to_anchor=(0.0, 0.5), alignment="left",
        title=f"recipe; {len(binary):,} records,\n{n_bins} bins of equal count")  # fmt: skip
    return figure


def _reliability(
    predicted: NDArray[np.floating[Any]],
    observed: NDArray[np.floating[Any]],
    n_seeds: int,
    n_bins: int,
) -> dict[str, NDArray[np.float64]]:
    """Tabulate mean prediction and observed frequency with Wilson's interval, by equal counts."""
    bins = [part for part in np.array_split(np.argsort(predicted, kind="stable"), n_bins)
            if part.size]  # fmt: skip
    mean = np.array([predicted[part].mean() for part in bins])
    rate = np.array([observed[part].mean() for part in bins])
    records = np.array([part.size for part in bins]) / n_seeds
    z = 1.959964
    centre = (rate + z**2 / (2 * records)) / (1 + z**2 / records)
    spread = (z / (1 + z**2 / records)) * np.sqrt(
        rate * (1 - rate) / records + z**2 / (4 * records**2)
    )
    low, high = np.minimum(centre - spread, rate), np.maximum(centre + spread, rate)
    return {"predicted": mean, "observed": rate, "low": low, "high": high}


# --------------------------------------------------------------------------------------------
# The study
# --------------------------------------------------------------------------------------------


class _LineOverBand(HandlerBase):
    """Legend key of a band that hangs beneath its line."""

    def create_artists(
        self, legend: Any, orig_handle: Any, xdescent: float, ydescent: float, width: float,
        height: float, fontsize: float, trans: Any,
    ) -> list[Any]:  # fmt: skip
        band, line = orig_handle
        top = height - ydescent
        patch = Rectangle(
            (-xdescent, top - 0.8 * height),
            width,
            0.8 * height,
            facecolor=band.get_facecolor(),
            linewidth=0,
            transform=trans,
        )
        edge = Line2D(
            [-xdescent, width - xdescent],
            [top, top],
            color=line.get_color(),
            linewidth=line.get_linewidth(),
            transform=trans,
        )
        return [patch, edge]


def plot_answer(
    table: pd.DataFrame,
    reference: str = "12-lead",
    margin: float = 0.01,
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw macro AUROC against the number of leads: the study's answer in one figure.

    Each configuration has a column of its own, so no label and no interval meets another. The
    first recipe (``default`` where there is one) sets the reference line and the band of the
    non-inferiority margin beneath it; the best configuration at each number of leads is joined
    by a line. Whether an interval reaches the band is *not* the test: that one is paired, and
    where the table holds its lower bound a filled marker says that it lies above the margin.

    Parameters
    ----------
    table : DataFrame
        One row a configuration and recipe, with the columns ``config``, ``n_leads``, ``auroc``,
        ``auroc_low``, ``auroc_high``; optionally ``recipe``, and ``difference_low``, the lower 95%
        bound of the paired difference to the reference under the same recipe. Rows of
        :func:`leadmin.evidence.scores.main_table`, one call a recipe, have all but ``recipe``.
    reference : str, default "12-lead"
        The configuration that the line stands for; without its row there is no line.
    margin : float, default 0.01
        Of non-inferiority, in AUROC.
    title : str, optional
        Stands above the axes.
    note : str, optional
        Stands below them: on how many records, patients and seeds the figure stands.

    Returns
    -------
    Figure

    Raises
    ------
    LeadminError
        If a column is missing or the table is empty.
    """
    _require(table, ("config", "n_leads", "auroc", "auroc_low", "auroc_high"), "plot_answer")
    frame = table.copy()
    if "recipe" not in frame.columns:
        frame["recipe"] = "default"
    recipes = _recipe_order(frame["recipe"])
    look = _recipe_look(recipes)
    first = frame[frame["recipe"] == recipes[0]]
    order = first.sort_values(["n_leads", "auroc"])["config"].tolist()
    order += [config for config in frame["config"].unique() if config not in order]
    n_leads = frame.drop_duplicates("config").set_index("config")["n_leads"]
    order.sort(key=lambda config: n_leads[config])
    place: dict[str, float] = {}
    groups: dict[int, list[float]] = {}
    x = 0.0
    for config in order:
        count = int(n_leads[config])
        if groups and count not in groups:
            x += 0.55
        place[config] = x
        groups.setdefault(count, []).append(x)
        x += 1.0

    figure = _figure(4.5)
    axis = figure.subplots()
    low, high = float(frame["auroc_low"].min()), float(frame["auroc_high"].max())
    pad = 0.06 * (high - low)
    axis.set_ylim(low - pad, high + 1.9 * pad)
    tested = "difference_low" in frame.columns
    right_end = max(place.values()) + 0.75
    axis.set_xlim(-0.75, right_end)
    for position, members in enumerate(groups.values()):
        if position % 2 == 0:
            axis.axvspan(members[0] - 0.775, members[-1] + 0.775, color="#f5f6f8", zorder=0)
    for recipe in recipes:
        level = frame.loc[(frame["recipe"] == recipe) & (frame["config"] == reference), "auroc"]
        if level.empty:
            continue
        colour, _, line = look[recipe]
        axis.axhline(
            float(level.iloc[0]), color=colour, linewidth=1.0, linestyle=line, alpha=0.9, zorder=1
        )
        if recipe == recipes[0]:
            axis.axhspan(
                float(level.iloc[0]) - margin,
                float(level.iloc[0]),
                color=colour,
                alpha=0.13,
                linewidth=0,
                zorder=1,
            )
    dodge = 0.0 if len(recipes) == 1 else 0.36 / (len(recipes) - 1)
    for number, recipe in enumerate(recipes):
        mine = frame[frame["recipe"] == recipe].set_index("config")
        colour, marker, line = look[recipe]
        shift = (number - (len(recipes) - 1) / 2) * dodge
        leaders = mine.groupby("n_leads")["auroc"].idxmax()
        axis.plot(
            [place[config] + shift for config in leaders],
            mine.loc[leaders, "auroc"],
            color=colour,
            linewidth=1.3,
            alpha=0.45,
            linestyle=line,
            zorder=2,
        )
        for config, row in mine.to_dict("index").items():
            column = place[str(config)] + shift
            filled = not tested or config == reference or row["difference_low"] > -margin
            axis.plot(
                [column] * 2,
                [row["auroc_low"], row["auroc_high"]],
                color=colour,
                linewidth=1.5,
                solid_capstyle="butt",
                zorder=3,
            )
            axis.plot(
                column,
                row["auroc"],
                marker=marker,
                color=colour,
                markersize=6.5 if marker == "o" else 5.5,
                markeredgewidth=1.4,
                markeredgecolor=colour,
                markerfacecolor=colour if filled else "white",
                zorder=4,
            )
    for config in order:
        rows = frame[frame["config"] == config]
        shown = rows[rows["recipe"] == recipes[0]]
        if shown.empty:
            continue
        axis.annotate(
            f"{float(shown['auroc'].iloc[0]):.3f}",
            (place[config] - (len(recipes) - 1) / 2 * dodge, float(rows["auroc_high"].max())),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=_darker(look[recipes[0]][0]),
            fontweight="bold",
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6},
        )
    axis.set_xticks(list(place.values()), [_stacked_leads(config) for config in place])
    axis.tick_params(axis="x", length=0, labelsize=8.5, pad=3, rotation=0)
    deepest = max(_stacked_leads(config).count("\n") + 1 for config in place)
    for count, members in groups.items():
        axis.annotate(
            f"{count} lead" + ("s" if count > 1 else ""),
            (float(np.mean(members)), 0),
            (0, -(8 + 11.5 * deepest)),
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )
    axis.set_ylabel("macro AUROC (axis cut)")
    handles: list[Any] = [
        Line2D([], [], color=look[recipe][0], marker=look[recipe][1], linestyle="none",
               markersize=6) for recipe in recipes
    ]  # fmt: skip
    names = [f"{recipe} recipe" for recipe in recipes]
    if tested:
        handles.append(Line2D([], [], color=MUTED, marker="o", linestyle="none", markersize=6,
                              markerfacecolor="white", markeredgewidth=1.4))  # fmt: skip
        names.append("open: not shown non-inferior")
    if ((frame["recipe"] == recipes[0]) & (frame["config"] == reference)).any():
        handles.append((Patch(facecolor=look[recipes[0]][0], alpha=0.13),
                        Line2D([], [], color=look[recipes[0]][0], linewidth=1.0)))  # fmt: skip
        names.append(f"{reference}, margin {margin:g} beneath")
    axis.legend(
        handles,
        names,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(handles),
        columnspacing=1.3,
        handletextpad=0.4,
        borderaxespad=0.3,
        handler_map={tuple: _LineOverBand()},
    )
    if title:
        axis.set_title(title, fontsize=11.5, pad=24)
    if note:
        figure.supxlabel(note, fontsize=8, color=MUTED)
    return figure


def plot_class_heatmap(
    per_class: pd.DataFrame, reference: str = "12-lead", macro: pd.DataFrame | None = None
) -> Figure:
    """Draw the AUROC of each class under each configuration, and what is lost to all leads.

    Parameters
    ----------
    per_class : DataFrame
        One recipe. Columns ``config``, ``class`` (or ``class_name``), ``auroc``: one row a
        configuration and class, as :func:`leadmin.evidence.scores.per_class_table` gives.
    reference : str, default "12-lead"
        The configuration that losses are taken from.
    macro : DataFrame, optional
        Columns ``config``, ``auroc``: adds a column for the mean over classes.

    Returns
    -------
    Figure
        Left, AUROC; right, AUROC minus that of the reference.

    Raises
    ------
    LeadminError
        If a column or the reference is missing, or the table holds several recipes.
    """
    what = "plot_class_heatmap"
    per_class = per_class.rename(columns={"class_name": "class"})
    _require(per_class, ("config", "class", "auroc"), what)
    _one_recipe(per_class, what)
    configs = list(dict.fromkeys(per_class["config"]))
    if reference not in configs:
        raise LeadminError(f"{what}: no row of the reference {reference!r} is in the table.")
    values = per_class.pivot(index="config", columns="class", values="auroc")
    values = values.loc[configs, [name for name in CLASSES if name in values.columns]]
    if macro is not None:
        _require(macro, ("config", "auroc"), what)
        _one_recipe(macro, what)
        values["macro"] = macro.set_index("config")["auroc"].reindex(configs)
    losses = values - values.loc[reference]
    figure = _figure(0.30 * len(configs) + 1.0)
    left, right = figure.subplots(1, 2, sharey=True)
    bar = {"location": "top", "shrink": 0.7, "aspect": 30}
    _heatmap(
        left,
        values,
        cmap=GAIN_MAP,
        annot=True,
        fmt=".3f",
        cbar_kws={"label": "AUROC", "ticks": MaxNLocator(4), **bar},
    )
    reach = max(float(np.nanmax(np.abs(losses.to_numpy()))), 1e-3)
    texts = [["0" if config == reference else f"{value:+.3f}".replace("-", "−") for value in row]
             for config, row in zip(losses.index, losses.to_numpy(), strict=True)]  # fmt: skip
    _heatmap(right, losses, cmap=LOSS_MAP.reversed(), vmin=-reach, vmax=reach, annot=texts,
             cbar_kws={"label": f"AUROC minus that of {reference}", "ticks": MaxNLocator(4),
                       **bar})  # fmt: skip
    for axis in (left, right):
        axis.set(xlabel="", ylabel="")
        if macro is not None:
            axis.axvline(len(values.columns) - 1, color=INK, linewidth=1.0)
    return figure


def plot_differences(
    comparisons: pd.DataFrame,
    margin: float = 0.01,
    reference: str = "12-lead",
    note: str | None = None,
    other_margins: Sequence[float] = (),
) -> Figure:
    """Draw each paired difference to the reference with its interval: a forest plot.

    A configuration is *non-inferior* where the whole interval lies above the negative margin,
    *inferior* where it lies below it, otherwise *undecided*. A column ``verdict`` with these
    words overrides that reading, for verdicts that stand on one-sided or corrected bounds.

    Parameters
    ----------
    comparisons : DataFrame
        One recipe. Columns ``config``, ``difference``, ``difference_low``, ``difference_high``
        (configuration minus reference, so that a loss is negative), as
        :func:`leadmin.evidence.scores.main_table` gives; optionally ``verdict``, and
        ``smallest_resolvable``, which is then written beside the interval.
    margin : float, default 0.01
        Of non-inferiority.
    reference : str, default "12-lead"
        Its own row, if there is one, is left out.
    note : str, optional
        Stands below the axes.
    other_margins : sequence of float, optional
        Drawn as dotted lines, without a verdict.

    Returns
    -------
    Figure

    Raises
    ------
    LeadminError
        If a column is missing, the table is empty or holds several recipes.
    """
    what = "plot_differences"
    _require(comparisons, ("config", "difference", "difference_low", "difference_high"), what)
    _one_recipe(comparisons, what)
    rows = comparisons[comparisons["config"] != reference].reset_index(drop=True)
    if rows.empty:
        raise LeadminError(f"{what}: only {reference!r} is in the table; there is no difference.")
    if "verdict" in rows.columns:
        verdicts = rows["verdict"].astype(str)
    else:
        verdicts = pd.Series(
            np.select([rows["difference_low"] > -margin, rows["difference_high"] < -margin],
                      ["non-inferior", "inferior"], "undecided"))  # fmt: skip
    figure = _figure(0.31 * len(rows) + 1.35)
    axis = figure.subplots()
    axis.axvspan(-margin, 0, color=OKABE_ITO["blue"], alpha=0.11, linewidth=0, zorder=0)
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axis.axvline(-margin, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    for other in other_margins:
        axis.axvline(-other, color=MUTED, linewidth=0.9, linestyle=(0, (1, 1.6)), zorder=1)
    resolvable = "smallest_resolvable" in rows.columns
    bounds = rows[["difference", "difference_low", "difference_high"]].to_numpy(dtype=float)
    for position, ((value, low, high), verdict) in enumerate(zip(bounds, verdicts, strict=True)):
        colour = VERDICT_COLOURS.get(verdict, MUTED)
        axis.plot(
            [low, high],
            [position] * 2,
            color=colour,
            linewidth=1.7,
            solid_capstyle="butt",
            zorder=2,
        )
        axis.plot(
            value,
            position,
            marker=VERDICT_MARKERS.get(verdict, "s"),
            color=colour,
            markersize=6.5,
            markeredgewidth=1.4,
            zorder=3,
            markerfacecolor="white" if verdict == "undecided" else colour,
        )
        figures = f"{value:+.3f}  ({low:+.3f} to {high:+.3f})"
        _beside(axis, position, 8, figures.replace("-", "−"))
        if resolvable:
            _beside(axis, position, 196, f"{rows['smallest_resolvable'].iloc[position]:.3f}",
                    ha="right")  # fmt: skip
    _rows_down(axis, rows["config"])
    _read_across(axis)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(f"macro AUROC minus that of {reference}")
    if resolvable:
        _beside(axis, None, 196, "resolvable", ha="right")
    _beside(axis, None, 8, "difference (95% interval)")
    shown = [verdict for verdict in VERDICT_COLOURS if (verdicts == verdict).any()]
    figure.legend(
        [Line2D([], [], color=VERDICT_COLOURS[verdict], marker=VERDICT_MARKERS[verdict],
                markersize=6, markeredgewidth=1.4,
                markerfacecolor="white" if verdict == "undecided" else VERDICT_COLOURS[verdict])
         for verdict in shown] + [Patch(facecolor=OKABE_ITO["blue"], alpha=0.13)]
        + [Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (1, 1.6)))
           for _ in other_margins[:1]],
        [*shown, f"margin {margin:g}", *([" and ".join(f"{other:g}" for other in other_margins)]
                                         if len(other_margins) else [])],
        loc="outside upper center", ncols=5, columnspacing=1.4, handletextpad=0.5)  # fmt: skip
    if note:
        figure.supxlabel(note, fontsize=8, color=MUTED)
    return figure


def plot_recipe_comparison(
    comparison: pd.DataFrame, metrics: Sequence[str] = ("auroc", "auroc_HYP", "brier")
) -> Figure:
    """Draw what one recipe gains over another under each configuration, metric by metric.

    Parameters
    ----------
    comparison : DataFrame
        Columns ``config``, ``metric``, ``difference``, ``difference_low``, ``difference_high``, as
        :func:`leadmin.evidence.scores.recipe_comparison` gives; optionally ``first_recipe`` and
        ``second_recipe``, which then stand in the axis label.
    metrics : sequence of str, default ("auroc", "auroc_HYP", "brier")
        One panel each. For ``brier`` and ``ece`` less is better, so their axis runs the other way:
        the better side is always on the right.

    Returns
    -------
    Figure
        Filled where the interval is clear of zero.

    Raises
    ------
    LeadminError
        If a column or a metric is missing.
    """
    what = "plot_recipe_comparison"
    columns = ("config", "metric", "difference", "difference_low", "difference_high")
    _require(comparison, columns, what)
    absent = [metric for metric in metrics if metric not in set(comparison["metric"])]
    if absent:
        found = ", ".join(map(str, comparison["metric"].unique()))
        raise LeadminError(f"{what}: no rows of the metric {', '.join(absent)}; there is {found}.")
    configs = list(dict.fromkeys(comparison["config"]))
    figure = _figure(0.29 * len(configs) + 1.2)
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    for axis, metric in zip(panels, metrics, strict=True):
        mine = comparison[comparison["metric"] == metric].set_index("config")
        axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
        for place, config in enumerate(configs):
            if config not in mine.index:
                continue
            value, low, high = mine.loc[config, list(columns[2:])].to_numpy(dtype=float)
            clear = low > 0 or high < 0
            axis.plot(
                [low, high],
                [place] * 2,
                color=OKABE_ITO["blue"],
                linewidth=1.6,
                solid_capstyle="butt",
                zorder=2,
            )
            axis.plot(
                value,
                place,
                "o",
                color=OKABE_ITO["blue"],
                markersize=6,
                zorder=3,
                markeredgewidth=1.4,
                markerfacecolor=OKABE_ITO["blue"] if clear else "white",
            )
        if metric.split("_")[0] in ("brier", "ece"):
            axis.invert_xaxis()
        _read_across(axis)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.set_title(_metric_name(metric))
    _rows_down(panels[0], configs)
    label = "difference (95% interval)"
    if {"first_recipe", "second_recipe"} <= set(comparison.columns):
        label = (
            "{first_recipe} minus {second_recipe}".format(**comparison.iloc[0]) + " (95% interval)"
        )
    figure.supxlabel(f"{label}; better to the right, filled: interval clear of 0", fontsize=9)
    return figure


def _metric_name(metric: str) -> str:
    """Write a metric's name as prose does: ``auroc_HYP`` becomes "AUROC, HYP"."""
    name, _, of_class = metric.partition("_")
    known = {"auroc": "AUROC", "brier": "Brier score", "ece": "ECE", "f1": "F1"}
    return f"{known.get(name, name)}, {of_class or 'macro'}"


def plot_pairwise(matrix: pd.DataFrame, level: float = 0.05) -> Figure:
    """Draw every pair of configurations: the difference in macro AUROC, and whether it is clear.

    Parameters
    ----------
    matrix : DataFrame
        Columns ``first``, ``second``, ``difference`` (first minus second), ``p_bh``: one row an
        unordered pair, as :func:`leadmin.evidence.scores.pairwise_matrix` gives.
    level : float, default 0.05
        A pair whose corrected p lies below it is written in bold.

    Returns
    -------
    Figure
        A lower triangle: row minus column.

    Raises
    ------
    LeadminError
        If a column is missing or the table is empty.
    """
    _require(matrix, ("first", "second", "difference", "p_bh"), "plot_pairwise")
    configs = list(dict.fromkeys([*matrix["first"], *matrix["second"]]))
    values = pd.DataFrame(np.nan, index=configs[1:], columns=configs[:-1])
    clear = pd.DataFrame(False, index=values.index, columns=values.columns)
    for row in matrix.to_dict("records"):
        first, second = configs.index(row["first"]), configs.index(row["second"])
        later, earlier = configs[max(first, second)], configs[min(first, second)]
        sign = 1.0 if first > second else -1.0
        values.loc[later, earlier] = sign * float(row["difference"])
        clear.loc[later, earlier] = bool(row["p_bh"] < level)
    texts = values.map(lambda value: f"{value:+.3f}".replace("-", "−")).to_numpy()
    reach = max(float(np.nanmax(np.abs(values.to_numpy()))), 1e-3)
    figure = _figure(0.33 * len(values) + 1.5)
    axis = figure.subplots()
    missing = values.isna().to_numpy()
    _heatmap(axis, values, mask=missing, cmap=LOSS_MAP.reversed(), vmin=-reach, vmax=reach,
             annot=texts, cbar_kws={"label": "macro AUROC, row minus column"})  # fmt: skip
    for text, marked in zip(axis.texts, clear.to_numpy()[~missing], strict=True):
        text.set_fontweight("bold" if marked else "normal")
    axis.set(xlabel=f"bold: corrected p < {level:g}", ylabel="")
    axis.set_xticks(axis.get_xticks(), values.columns, rotation=35, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    return figure


def plot_lrs(table: pd.DataFrame, reference: str = "12-lead") -> Figure:
    """Draw the Lead Robustness Score: where its points are lost, and what it hides.

    LRS = 0.7 AUROC/AUROC_12 + 0.3 (1 - (Brier - Brier_12)/0.25). Left, the two ways to lose a
    point. Right, LRS beside the chance-corrected retention (AUROC - 0.5)/(AUROC_12 - 0.5), with
    the LRS that a coin flip of unchanged Brier score would get.

    Parameters
    ----------
    table : DataFrame
        One recipe. Columns ``config``, ``auroc``, ``brier``, with a row of the reference;
        optionally ``lrs_low``, ``lrs_high``, ``retention_above_chance_low`` and ``_high``, which
        are then drawn as intervals.
    reference : str, default "12-lead"
        The configuration that the score is relative to.

    Returns
    -------
    Figure

    Raises
    ------
    LeadminError
        If a column or the reference is missing, or the table holds several recipes.
    """
    what = "plot_lrs"
    _require(table, ("config", "auroc", "brier"), what)
    _one_recipe(table, what)
    values = table.set_index("config")[["auroc", "brier"]].astype(float)
    if reference not in values.index:
        raise LeadminError(f"{what}: no row of the reference {reference!r} is in the table.")
    all_leads = values.loc[reference].to_numpy(dtype=float).tolist()
    score = np.asarray(lrs(values["auroc"], values["brier"], *all_leads))
    lost_auroc = 1 - np.asarray(lrs(values["auroc"], all_leads[1], *all_leads))
    lost_brier = 1 - np.asarray(lrs(all_leads[0], values["brier"], *all_leads))
    retention = np.asarray(chance_corrected_retention(values["auroc"], all_leads[0]))
    coin = float(lrs(0.5, all_leads[1], *all_leads))
    positions = np.arange(len(values))
    figure = _figure(0.30 * len(values) + 1.35)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    # Gains stack to the left of zero and losses to the right, so that neither hides the other.
    starts = np.where(np.sign(lost_auroc) == np.sign(lost_brier), lost_auroc, 0.0)
    left.barh(
        positions,
        lost_auroc,
        0.62,
        color=OKABE_ITO["blue"],
        label="AUROC term",
        edgecolor="white",
        linewidth=0.5,
    )
    left.barh(
        positions,
        lost_brier,
        0.62,
        left=starts,
        color=OKABE_ITO["orange"],
        hatch="////",
        label="Brier term",
        edgecolor="white",
        linewidth=0.5,
    )
    left.axvline(0, color=INK, linewidth=0.9)
    left.set_yticks(positions, values.index)
    left.set_xlabel("LRS points lost to all leads")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, columnspacing=1.2
    )
    upper, lower = positions - 0.13, positions + 0.13
    for name, colour, place in (
        ("lrs", OKABE_ITO["blue"], upper),
        ("retention_above_chance", OKABE_ITO["vermillion"], lower),
    ):
        if {f"{name}_low", f"{name}_high"} <= set(table.columns):
            ends = table[[f"{name}_low", f"{name}_high"]].to_numpy(dtype=float).T
            right.hlines(place, *ends, color=colour, linewidth=1.4)
    right.plot(score, upper, "o", color=OKABE_ITO["blue"], markersize=6, label="LRS")
    right.plot(
        retention,
        lower,
        "D",
        color=OKABE_ITO["vermillion"],
        markersize=5.5,
        label="chance-corrected retention",
    )
    right.axvline(coin, color=MUTED, linewidth=1.0, linestyle=(0, (3, 2)))
    right.annotate(
        f"a coin flip's LRS: {coin:.2f}",
        (coin, 0.72),
        (-4, 0),
        xycoords=right.get_xaxis_transform(),
        textcoords="offset points",
        fontsize=8,
        color=MUTED,
        rotation=90,
        ha="right",
        va="center",
    )
    right.set_xlim(left=min(coin - 0.05, right.get_xlim()[0]))
    right.set_xlabel("share of all leads' score kept")
    right.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, columnspacing=1.2
    )
    for axis in (left, right):
        _read_across(axis)
    left.set_ylim(len(values) - 0.4, -0.6)
    return figure


def plot_lrs_weights(table: pd.DataFrame) -> Figure:
    """Draw how the order of the lead sets hangs on the weights of the Lead Robustness Score.

    The score has two terms, the AUROC ratio with weight w and the Brier term with 1 - w, so its
    weights fill the segment from 0 to 1: left, each set's rank along it, those that change rank in
    colour. Right, the triangle that opens when the retention above chance is admitted as a third
    term: how many pairs of sets stand in another order than under the original weights.

    Parameters
    ----------
    table : DataFrame
        One recipe. Columns ``config``, ``weight_ratio``, ``weight_calibration``,
        ``weight_above_chance``, ``score``, ``original``, with the corners of the triangle, as
        :func:`leadmin.evidence.comparisons.lrs_weights` gives.

    Returns
    -------
    Figure

    Raises
    ------
    LeadminError
        If a column or a corner is missing, or the table is empty or holds several recipes.
    """
    what = "plot_lrs_weights"
    weights = ["weight_ratio", "weight_calibration", "weight_above_chance"]
    _require(table, ("config", *weights, "score", "original"), what)
    _one_recipe(table, what)
    configs = list(dict.fromkeys(table["config"]))
    share, ranks = lrs_ranks(table)
    figure = _figure(max(0.27 * len(configs) + 1.2, 3.4))
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))

    colours = iter(
        [colour for name, colour in OKABE_ITO.items() if name not in ("black", "yellow")]
    )
    lines = iter(["-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), "-", (0, (4, 1.5))])
    for config, rank in zip(configs, ranks.T, strict=True):
        moves = np.ptp(rank) > 0
        colour, line = (next(colours, INK), next(lines, "-")) if moves else (FAINT, "-")
        left.plot(share, rank, color=colour, linestyle=line, linewidth=2.2 if moves else 1.6,
                  solid_joinstyle="round", zorder=2 + moves)  # fmt: skip
        left.annotate(config, (0, rank[0]), (-5, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=8,
                      color=_darker(colour) if moves else MUTED)  # fmt: skip
        left.annotate(f"{rank[-1]:.0f}", (1, rank[-1]), (5, 0), textcoords="offset points",
                      va="center", fontsize=8, color=MUTED)  # fmt: skip
    mark = table[table["original"]].iloc[0]
    left.plot([mark["weight_ratio"]] * 2, [0.6, len(configs) + 0.5], color=INK, linewidth=0.9,
              linestyle=(0, (3, 2)), zorder=1)  # fmt: skip
    left.text(mark["weight_ratio"], 0.5, "original", fontsize=8, ha="center", va="bottom")
    left.set(xlim=(0, 1), ylim=(len(configs) + 0.5, 0.3), yticks=[])
    left.set_xlabel("weight of the AUROC ratio (the Brier term has the rest)")
    left.set_title("rank among the smaller sets", pad=14)
    for spine in left.spines.values():
        spine.set_visible(False)

    points = table.pivot_table(index=weights, columns="config", values="score")[configs]
    scores = points.to_numpy()
    original = table[table["original"]].set_index("config").loc[configs, "score"].to_numpy()
    pairs = np.triu_indices(len(configs), 1)
    order = np.sign(original[pairs[0]] - original[pairs[1]])
    turned = (np.sign(scores[:, pairs[0]] - scores[:, pairs[1]]) != order).sum(axis=1)
    at = points.index.to_frame().to_numpy(dtype=float)
    x, y = at[:, 0] + 0.5 * at[:, 2], np.sqrt(3) / 2 * at[:, 2]
    shown = right.scatter(x, y, c=turned, cmap=GAIN_MAP, vmin=0, vmax=max(turned.max(), 1),
                          marker="h", s=200, linewidths=0)  # fmt: skip
    for px, py, count, shade in zip(x, y, turned, shown.to_rgba(turned), strict=True):
        dark = _luminance(shade) < 0.18
        right.text(px, py, str(count), ha="center", va="center", fontsize=7,
                   color="white" if dark else INK)  # fmt: skip
    right.plot(mark["weight_ratio"], 0, "h", markersize=15, markerfacecolor="none",
               markeredgecolor=INK, markeredgewidth=1.4)  # fmt: skip
    corners = (
        (-0.04, -0.11, "Brier term", "left"),
        (1.04, -0.11, "AUROC ratio", "right"),
        (0.5, np.sqrt(3) / 2 + 0.09, "retention above chance", "center"),
    )
    for px, py, name, side in corners:
        right.text(px, py, name, ha=side, va="center", fontsize=8.5)
    right.set(xlim=(-0.1, 1.1), ylim=(-0.18, 1.0), aspect="equal")
    right.set_axis_off()
    right.set_anchor("N")
    right.set_title(f"pairs turned round, of {len(pairs[0])}", pad=14)
    return figure


def plot_ranks(ranks: pd.DataFrame) -> Figure:
    """Draw the rank of each configuration over the resamples of patients.

    Parameters
    ----------
    ranks : DataFrame
        One recipe. Columns ``config``, ``rank``, ``rank_low``, ``rank_high``, ``share_best``,
        ``share_best_reduced``, ``share_best_of_size``, as
        :func:`leadmin.evidence.comparisons.rank_table` gives.

    Returns
    -------
    Figure
        Rank and 95% interval; beside them, in how many resamples it was the best.

    Raises
    ------
    LeadminError
        If a column is missing, or the table is empty or holds several recipes.
    """
    shares = {
        "share_best": "of all",
        "share_best_reduced": "of smaller sets",
        "share_best_of_size": "of its size",
    }
    _require(ranks, ("config", "rank", "rank_low", "rank_high", *shares), "plot_ranks")
    _one_recipe(ranks, "plot_ranks")
    figure = _figure(0.29 * len(ranks) + 1.2)
    axis, text = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    for place, row in enumerate(ranks.to_dict("records")):
        axis.plot([row["rank_low"], row["rank_high"]], [place] * 2, color=OKABE_ITO["blue"],
                  linewidth=1.7)  # fmt: skip
        axis.plot(row["rank"], place, "o", color=OKABE_ITO["blue"], markersize=6)
        for column, name in enumerate(shares):
            share = row[name]
            written = f"{share:.0%}" if np.isfinite(share) else "\N{EN DASH}"
            if 0 < share < 0.005:
                written = "< 1%"
            text.text(column + 0.5, place, written, ha="center", va="center", fontsize=8.5)
    _rows_down(axis, ranks["config"])
    axis.set_xlim(0.5, len(ranks) + 0.5)
    axis.set_xticks(range(1, len(ranks) + 1))
    _read_across(axis)
    axis.set_xlabel("rank by macro AUROC (1 is best), 95% interval")
    text.set_xlim(0, len(shares))
    text.set_axis_off()
    above = {"ha": "center", "va": "bottom", "fontsize": 8.5, "textcoords": "offset points",
             "xycoords": text.get_xaxis_transform()}  # fmt: skip
    for column, heading in enumerate(shares.values()):
        text.annotate(heading, (column + 0.5, 1), (0, 3), **above)
    text.annotate("best, share of resamples", (len(shares) / 2, 1), (0, 18), fontweight="bold",
                  **above)  # fmt: skip
    return figure


def plot_recalibration(calibration: pd.DataFrame) -> Figure:
    """Draw calibration before and after recalibration, configuration by configuration.

    Parameters
    ----------
    calibration : DataFrame
        One recipe. Columns ``config``, ``class``, ``recalibrated``, ``slope``, ``smooth_ece``,
        ``brier``, as `calibration_table` gives; the rows of the class
        ``macro`` are drawn.

    Returns
    -------
    Figure
        Open before, filled after.

    Raises
    ------
    LeadminError
        If a column or the macro rows are missing, or the table holds several recipes.
    """
    what = "plot_recalibration"
    panels = {
        "slope": "calibration slope",
        "smooth_ece": "smooth ECE",
        "brier": "Brier score",
    }
    _require(calibration, ("config", "class", "recalibrated", *panels), what)
    _one_recipe(calibration, what)
    rows = calibration[calibration["class"] == "macro"]
    _require(rows, (), f"{what}: rows of the class 'macro'")
    before, after = before_and_after(rows)
    configs = list(before.index)
    places = np.arange(len(configs))
    figure = _figure(0.29 * len(configs) + 1.3)
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        old, new = before[name].to_numpy(), after[name].to_numpy()
        axis.hlines(places, old, new, color=FAINT, linewidth=2.2)
        axis.plot(old, places, "o", color=OKABE_ITO["blue"], markersize=6, markerfacecolor="white",
                  markeredgewidth=1.4, label="as trained")  # fmt: skip
        axis.plot(new, places, "o", color=OKABE_ITO["blue"], markersize=6, label="recalibrated")
        if name == "slope":
            axis.axvline(1, color=INK, linewidth=0.9, zorder=1)
        if name == "smooth_ece":
            axis.set_xlim(0, 1.07 * max(old.max(), new.max()))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        _read_across(axis)
        axis.set_title(title)
    _rows_down(axes[0], configs)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def plot_decision_curves(curves: pd.DataFrame) -> Figure:
    """Draw the net benefit of acting on the network's word, class by class.

    Parameters
    ----------
    curves : DataFrame
        One recipe. Columns ``config``, ``class``, ``threshold``, ``net_benefit``, ``low``,
        ``high``, ``treat_all``, ``n_positive``, ``n_records``, as
        :func:`leadmin.evidence.calibration.decision_curves` gives.

    Returns
    -------
    Figure
        One panel a class, with the interval of the first configuration as a band.

    Raises
    ------
    LeadminError
        If a column is missing, or the table is empty or holds several recipes.
    """
    what = "plot_decision_curves"
    _require(curves, ("config", "class", "threshold", "net_benefit", "low", "high", "treat_all",
                      "n_positive", "n_records"), what)  # fmt: skip
    _one_recipe(curves, what)
    configs = list(dict.fromkeys(curves["config"]))
    looks: list[tuple[str, Any]] = [
        ("blue", "-"),
        ("vermillion", (0, (5, 1.5))),
        ("green", (0, (1.2, 1.2))),
        ("purple", (0, (6, 1, 1, 1))),
        ("orange", "-"),
        ("sky", (0, (5, 1.5))),
    ]
    figure = _figure(4.9)
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for axis, name in zip(panels, CLASSES, strict=False):
        mine = curves[curves["class"] == name]
        prevalence = float((mine["n_positive"] / mine["n_records"]).iloc[0])
        everyone = mine[mine["config"] == configs[0]]
        axis.plot(everyone["threshold"], everyone["treat_all"], color=MUTED, linewidth=1.0)
        axis.axhline(0, color=INK, linewidth=0.9)
        for place, config in enumerate(configs):
            rows = mine[mine["config"] == config]
            colour, line = looks[place % len(looks)]
            if place == 0:
                axis.fill_between(rows["threshold"], rows["low"], rows["high"],
                                  color=OKABE_ITO[colour], alpha=0.13, linewidth=0)  # fmt: skip
            axis.plot(rows["threshold"], rows["net_benefit"], color=OKABE_ITO[colour],
                      linestyle=line, linewidth=1.5)  # fmt: skip
        axis.set_ylim(-0.12 * prevalence, 1.15 * prevalence)
        axis.yaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_title(f"{name}, {prevalence:.0%} of records")
    for axis in panels[len(CLASSES) :]:
        axis.set_axis_off()
    panels[2].tick_params(labelbottom=True)
    handles: list[Any] = [
        Line2D(
            [], [], color=OKABE_ITO[looks[k % len(looks)][0]], linestyle=looks[k % len(looks)][1]
        )
        for k in range(len(configs))
    ]
    handles += [
        Patch(facecolor=OKABE_ITO["blue"], alpha=0.13),
        Line2D([], [], color=MUTED, linewidth=1.0),
        Line2D([], [], color=INK, linewidth=0.9),
    ]
    names = [*configs, f"95% interval of {configs[0]}", "call every record", "call no record"]
    panels[len(CLASSES)].legend(handles, names, loc="center left", bbox_to_anchor=(0.0, 0.5))
    figure.supxlabel("threshold probability", fontsize=9)
    figure.supylabel("net benefit per record", fontsize=9)
    return figure


def plot_subgroups(
    table: pd.DataFrame, config: str = "3-lead-I-II-V2", reference: str = "12-lead"
) -> Figure:
    """Draw the difference of one configuration to the reference in each subgroup of records.

    Parameters
    ----------
    table : DataFrame
        One recipe. Columns ``grouping``, ``subgroup``, ``config``, ``n_records``,
        ``fewest_positives``, ``enough``, ``auroc``, ``difference``, ``difference_low``,
        ``difference_high``, as :func:`leadmin.evidence.comparisons.subgroup_table` gives.
    config, reference : str
        What is compared.

    Returns
    -------
    Figure
        Where a class has too few records for a value, the count stands in its place.

    Raises
    ------
    LeadminError
        If a column or the configuration is missing, or the table holds several recipes.
    """
    what = "plot_subgroups"
    bounds = ["difference", "difference_low", "difference_high"]
    _require(table, ("grouping", "subgroup", "config", "n_records", "fewest_positives", "enough",
                     "auroc", *bounds), what)  # fmt: skip
    _one_recipe(table, what)
    rows = table[table["config"] == config].reset_index(drop=True)
    if rows.empty:
        raise LeadminError(f"{what}: no row of {config!r} is in the table.")
    figure = _figure(0.235 * len(rows) + 1.2)
    axis = figure.subplots()
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for place, row in enumerate(rows.to_dict("records")):
        if place and row["grouping"] != rows["grouping"].iloc[place - 1]:
            axis.axhline(place - 0.5, color=FAINT, linewidth=0.7)
        _beside(axis, place, 44, f"{row['n_records']:,}", ha="right")
        _beside(axis, place, 96, f"{row['fewest_positives']:,}", ha="right")
        value, low, high = (float(row[name]) for name in bounds)
        if not (row["enough"] and np.isfinite(value)):
            _beside(axis, place, 112, "too few for a value", color=MUTED)
            continue
        axis.plot([low, high], [place] * 2, color=OKABE_ITO["blue"], linewidth=1.6, zorder=2)
        axis.plot(value, place, "o", color=OKABE_ITO["blue"], markersize=5.5, zorder=3)
        written = f"{value:+.3f}  ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
        _beside(axis, place, 112, written)
    _beside(axis, None, 44, "records", ha="right")
    _beside(axis, None, 96, "rarest", ha="right")
    _beside(axis, None, 112, "difference (95% interval)")
    names = [
        level if repeated or grouping in ("all", "site") else f"{grouping}: {level}"
        for grouping, level, repeated in zip(
            rows["grouping"], rows["subgroup"], rows["grouping"].duplicated(), strict=True
        )
    ]
    _rows_down(axis, names)
    if not rows[bounds].notna().any(axis=None):
        axis.set_xlim(-0.1, 0.1)
    _read_across(axis)
    axis.set_xlabel(f"macro AUROC, {config} minus {reference}")
    return figure
