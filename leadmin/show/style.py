"""Colours, sizes and the pieces that figures share."""

import io
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerBase
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, resolve

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


RECIPE_COLOURS: dict[str, str] = {"default": OKABE_ITO["blue"], "original": OKABE_ITO["orange"]}


RECIPE_MARKERS: dict[str, str] = {"default": "o", "original": "D"}


RECIPE_LINES: dict[str, str] = {"default": "-", "original": (0, (4, 1.5))}  # type: ignore[dict-item]


VERDICT_COLOURS: dict[str, str] = {
    "non-inferior": OKABE_ITO["blue"],
    "undecided": MUTED,
    "inferior": OKABE_ITO["vermillion"],
}


VERDICT_MARKERS: dict[str, str] = {"non-inferior": "o", "undecided": "s", "inferior": "D"}


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


def blank_figure(height: float, width: float = WIDTH, **options: Any) -> Figure:
    """Start a figure of the page's width; it belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def require_columns(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks columns which a figure needs."""
    columns = tuple(columns)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise LeadminError(
            f"{what}: the table lacks the column {', '.join(map(repr, missing))}; "
            f"it needs {', '.join(columns)} and has {', '.join(map(str, table.columns)) or 'none'}."
        )
    if table.empty:
        raise LeadminError(f"{what}: the table has no rows; hand in at least one.")


def require_one_recipe(table: pd.DataFrame, what: str) -> None:
    """Refuse a table of several recipes where a figure shows one."""
    if "recipe" in table.columns and table["recipe"].nunique() > 1:
        found = ", ".join(map(str, table["recipe"].unique()))
        raise LeadminError(f"{what}: shows one recipe at a time; select one of {found} first.")


def recipe_order(recipes: Iterable[str]) -> list[str]:
    """Put ``default`` first and ``original`` last: the first one is the answer."""
    found = list(dict.fromkeys(str(recipe) for recipe in recipes))
    return sorted(found, key=lambda recipe: (recipe != "default", recipe == "original"))


def recipe_look(recipes: Sequence[str]) -> dict[str, tuple[str, str, Any]]:
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


def stacked_leads(config: str) -> str:
    """Write a configuration's leads one above the other; four and more in rows of two."""
    leads = resolve(config).leads
    if len(leads) == len(LEADS):
        return "all\ntwelve"
    if set(leads) == set(LEADS[:6]):
        return "six\nlimb\nleads"
    if len(leads) <= 3:
        return "\n".join(leads)
    return "\n".join(" ".join(leads[start : start + 2]) for start in range(0, len(leads), 2))


def heatmap(axis: Axes, values: pd.DataFrame | NDArray[Any], **options: Any) -> None:
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
        light = luminance(shade) + 0.05
        on_ink = light / (luminance(mpl.colors.to_rgb(INK)) + 0.05)
        text.set_color("white" if 1.05 / light > on_ink else INK)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)


def luminance(colour: Sequence[float] | NDArray[Any]) -> float:
    """Relative luminance of an sRGB colour, 0 black to 1 white."""
    channel = np.asarray(colour[:3], dtype=float)
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def beside(axis: Axes, row: float | None, points: float, text: str, **style: Any) -> None:
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


def rows_down(axis: Axes, names: Collection[str]) -> None:
    """Name the rows of a figure that is read line by line, the first one on top."""
    axis.set_yticks(range(len(names)), list(names))
    axis.set_ylim(len(names) - 0.4, -0.6)


def read_across(axis: Axes) -> None:
    """Draw the grid of a figure whose rows are read along the x axis."""
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.tick_params(axis="y", length=0)


def checked_labels(labels: ArrayLike, what: str) -> NDArray[Any]:
    """Give labels as an array ``(n_records, n_classes)``, or refuse them."""
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] != len(CLASSES):
        raise LeadminError(
            f"{what}: labels have the shape {array.shape}; expected (n_records, {len(CLASSES)})."
        )
    return array


def label_line_ends(
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
            color=darker(colour),
            fontsize=8.5,
            va="center",
            fontweight="bold",
            clip_on=False,
        )


def darker(colour: str) -> tuple[float, float, float]:
    """Darken a fill colour until it is legible as text on white."""
    red, green, blue = mpl.colors.to_rgb(colour)
    return (0.68 * red, 0.68 * green, 0.68 * blue)


def seeds_in_words(count: int) -> str:
    """Write a number of seeds."""
    return "1 seed" if count == 1 else f"{count} seeds"


class LineOverBand(HandlerBase):
    """Legend key of a band that hangs beneath its line."""

    def create_artists(
        self, legend: Any, orig_handle: Any, xdescent: float, ydescent: float, width: float,
        height: float, fontsize: float, trans: Any,
    ) -> list[Any]:  # fmt: skip
        """Draw the key."""
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


def metric_name(metric: str) -> str:
    """Write a metric's name as prose does: ``auroc_HYP`` becomes "AUROC, HYP"."""
    name, _, of_class = metric.partition("_")
    known = {"auroc": "AUROC", "brier": "Brier score", "ece": "ECE", "f1": "F1"}
    return f"{known.get(name, name)}, {of_class or 'macro'}"
