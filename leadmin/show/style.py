"""Colours, sizes and the pieces that figures share.

Who wants another colour, marker or size changes one line here. Importing changes nothing: a
notebook calls `use_style`. A figure function takes arrays or a tidy table and gives one matplotlib
figure.
"""

import base64
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.core.getipython import get_ipython
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerBase
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from PIL import Image

from leadmin.files import atomic_path
from leadmin.leads import LEADS, resolve
from leadmin.show.words import signed

# Okabe and Ito's colours, which colour-blind readers tell apart
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED, FAINT = "#1b1b1b", "#5f6368", "#c9cdd2"

CLASS_COLOURS = {"NORM": GREEN, "MI": VERMILLION, "STTC": SKY, "CD": PURPLE, "HYP": BLUE}


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """Give each class its colour; those of other data take turns."""
    turns = itertools.cycle([*CLASS_COLOURS.values(), ORANGE])
    return {name: CLASS_COLOURS.get(name) or next(turns) for name in classes}


class Look(NamedTuple):
    """How one thing is drawn: a colour, and a marker and a line as second signs."""

    colour: str
    marker: str = "o"
    line: Any = "-"


DASHED, DOTTED, DASH_DOTTED = (0, (4, 1.5)), (0, (1, 1.6)), (0, (6, 1, 1, 1))
PLAIN = Look(BLUE)
RECIPE_LOOKS = {"default": Look(BLUE, "o", "-"), "original": Look(ORANGE, "D", DASHED)}
OTHER_RECIPES = (
    Look(GREEN, "s", ":"),
    Look(PURPLE, "^", "-."),
    Look(VERMILLION, "v", "--"),
    Look(SKY, "P", "-"),
)
VERDICT_LOOKS = {
    "non-inferior": Look(BLUE, "o"),
    "undecided": Look(MUTED, "s"),
    "inferior": Look(VERMILLION, "D"),
}
SERIES = (
    Look(BLUE, line="-"),
    Look(VERMILLION, line=DASHED),
    Look(GREEN, line=DOTTED),
    Look(PURPLE, line=DASH_DOTTED),
    Look(ORANGE, line="-"),
    Look(SKY, line=DASHED),
)
"""Lines of configurations that are drawn over each other, in their order."""
_EDGE: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5}
BARS: tuple[dict[str, Any], ...] = (
    {"color": BLUE} | _EDGE,
    {"color": SKY, "hatch": "////"} | _EDGE,
    {"color": FAINT, "hatch": "...."} | _EDGE,
)
"""Bars side by side differ in hatching too."""
ZERO: dict[str, Any] = {"color": INK, "linewidth": 0.9, "zorder": 1}
CRITERION: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (3, 2)), "zorder": 1}
WHITE_EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.7}
PER_CENT = PercentFormatter(1, decimals=0)

# White to the blue of the default recipe, and white to vermillion for what is lost: both fall
# steadily in lightness, so the order survives in grey.
GAIN_MAP = LinearSegmentedColormap.from_list("leadmin_gain", ["#f4f8fb", "#9cc8e3", BLUE])
LOSS_MAP = LinearSegmentedColormap.from_list(
    "leadmin_loss", [VERMILLION, "#f3b789", "#ffffff", "#b5d5ea", BLUE]
)

# Seven and a half inches is the text column of the book; at 100 dpi doubled for dense screens a
# figure comes to 1500 pixels and, being line art, to well under 300 KB.
WIDTH = 7.5
PRINT_WIDTH = 180 / 25.4
PRINT_DPI = 300
_WHITE = ("figure.facecolor", "savefig.facecolor", "axes.facecolor")
_INK = ("axes.labelcolor", "text.color", "xtick.color", "ytick.color")
STYLE: dict[Any, Any] = {
    **dict.fromkeys(_WHITE, "white"),
    **dict.fromkeys(_INK, INK),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.5),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.8),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("pdf.fonttype", "ps.fonttype"), 42),
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 9,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
}


def use_style(density: float = 2.0) -> None:
    """Make this module's style the session's; a notebook shows ``density`` dots for one."""
    mpl.rcParams.update(STYLE)
    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["image/png"].for_type(
            Figure, partial(picture, density=density)
        )


# --- files ----------------------------------------------------------------------------------


def picture(figure: Figure, density: float = 2.0) -> tuple[str, dict[str, int]]:
    """Give what a notebook shows of a figure, at ``density`` times the screen's dots.

    A PNG in base64, and the width and height in pixels at which it is to be shown.
    """
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    png = base64.b64encode(few_colours(figure, density * figure.dpi)).decode("ascii")
    return png, {"width": width, "height": height}


def few_colours(figure: Figure, dpi: float) -> bytes:
    """Draw a figure as PNG of 256 colours, all that line art needs, at a third of the weight."""
    pixels, written = io.BytesIO(), io.BytesIO()
    figure.savefig(pixels, format="png", dpi=dpi)
    with Image.open(pixels) as image:
        full = image.convert("RGB")
    few = full.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    # Each stands for its commonest shade, so that every area keeps its colour exactly.
    shades = np.asarray(full, dtype=np.int64) @ [1, 2**8, 2**16]
    found, counts = np.unique(np.asarray(few, dtype=np.int64) * 2**24 + shades, return_counts=True)
    palette = dict(zip(*divmod(found[counts.argsort(kind="stable")], 2**24), strict=True))
    few.putpalette(b"".join(int(palette.get(i, 0)).to_bytes(3, "little") for i in range(256)))
    few.save(written, format="PNG", dpi=(dpi, dpi), optimize=True)
    return written.getvalue()


def save_for_print(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as a journal wants it: ``<name>.pdf`` (vector) and ``<name>.png`` (300 dpi).

    Both are 180 mm wide, the double column of most journals, and undated; the figure itself stays
    as it is.
    """
    width, height = figure.get_size_inches()
    try:
        figure.set_size_inches(PRINT_WIDTH, height * PRINT_WIDTH / width)
        with atomic_path(folder / f"{name}.pdf") as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None})
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(few_colours(figure, PRINT_DPI))
    finally:
        figure.set_size_inches(width, height)


# --- looks ----------------------------------------------------------------------------------


def recipe_looks(recipes: Iterable[object]) -> dict[str, Look]:
    """Give each recipe its look, ``default`` first and ``original`` last: the first is the answer.

    Other recipes take what looks are left, by their order.
    """
    found = list(dict.fromkeys(map(str, recipes)))
    found.sort(key=lambda recipe: (recipe != "default", recipe == "original"))
    spare = iter(OTHER_RECIPES)
    return {
        recipe: RECIPE_LOOKS.get(recipe) or next(spare, Look(BLACK, "x", "-")) for recipe in found
    }


def key(look: Look, filled: bool = True, line: bool = False) -> Line2D:
    """Make a legend's key of a marker, with its line if ``line``."""
    face = look.colour if filled else "white"
    return Line2D([], [], color=look.colour, linestyle=look.line if line else "none", markersize=6,
                  marker=look.marker, markeredgewidth=1.4, markerfacecolor=face)  # fmt: skip


def legend(place: Axes | Figure, keys: Mapping[str, Any], **options: Any) -> None:
    """Draw a legend of names and their keys; a (band, line) pair is a band beneath its line."""
    place.legend(list(keys.values()), list(keys), handler_map={tuple: _LineOverBand()}, **options)


class _LineOverBand(HandlerBase):
    def create_artists(self, legend: Any, orig_handle: Any, *box: Any) -> list[Any]:
        xdescent, ydescent, width, height, _, trans = box
        band, line = orig_handle
        top, left, right = height - ydescent, -xdescent, width - xdescent
        patch = Rectangle((left, top - 0.8 * height), width, 0.8 * height, transform=trans,
                          facecolor=band.get_facecolor(), linewidth=0)  # fmt: skip
        edge = Line2D([left, right], [top, top], color=line.get_color(), transform=trans,
                      linewidth=line.get_linewidth())  # fmt: skip
        return [patch, edge]


def luminance(colour: Sequence[float] | NDArray[Any]) -> float:
    """Relative luminance of an sRGB colour, 0 black to 1 white."""
    channel = np.asarray(colour[:3], dtype=float)
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def text_colour(shade: Sequence[float] | NDArray[Any]) -> str:
    """Choose ink or white, whichever has the better contrast on a shade.

    Contrast is that of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio); seaborn's own
    rule turns to white on shades where dark text has four times the contrast.
    """
    light = luminance(shade) + 0.05
    return "white" if 1.05 / light > light / (luminance(mpl.colors.to_rgb(INK)) + 0.05) else INK


def darker(colour: str) -> tuple[float, float, float]:
    """Darken a fill colour until it is legible as text on white."""
    red, green, blue = mpl.colors.to_rgb(colour)
    return (0.68 * red, 0.68 * green, 0.68 * blue)


# --- words ----------------------------------------------------------------------------------


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


def seeds_in_words(count: int) -> str:
    """Write a number of seeds."""
    return "1 seed" if count == 1 else f"{count} seeds"


def metric_name(metric: str) -> str:
    """Write a metric's name as prose does: ``auroc_HYP`` becomes "AUROC, HYP"."""
    name, _, of_class = metric.partition("_")
    known = {"auroc": "AUROC", "brier": "Brier score", "ece": "ECE", "f1": "F1"}
    return f"{known.get(name, name)}, {of_class or 'macro'}"


def in_words(table: pd.DataFrame, name: str) -> dict[Any, str]:
    """Write the differences of a column with their intervals, by their row."""
    return {row: f"{signed(value)}  ({signed(low)} to {signed(high)})"
            for row, value, low, high in bounds(table, name).itertuples()}  # fmt: skip


def bounds(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Give a column and those of the ends of its interval."""
    return table[[name, f"{name}_low", f"{name}_high"]].astype(float)


# --- pieces ---------------------------------------------------------------------------------


def panels(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Start a figure of the page's width with its axes, one or an array; it has no window."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def class_panels(n_classes: int, row: float, **options: Any) -> tuple[Figure, NDArray[Any]]:
    """Start a figure with a panel for each class, three a row of ``row`` inches, and one more.

    That one, and what is left of its row, is switched off: a place for the legend.
    """
    n_rows = n_classes // 3 + 1
    figure, axes = panels(row * n_rows, n_rows, 3, squeeze=False, **options)
    for axis in axes.flat[n_classes:]:
        axis.set_axis_off()
    return figure, axes.ravel()


def add_note(figure: Figure, note: str) -> Figure:
    """Write below a figure on how many records, patients and seeds it stands; give it back."""
    label = figure.get_supxlabel()
    if label:
        figure.supxlabel(f"{label}\n{note}", fontsize=9)
    else:
        figure.supxlabel(note, fontsize=8, color=MUTED)
    return figure


def row_figure(
    names: Iterable[object], columns: int = 1, head: float = 1.25, row: float = 0.29, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Start a figure that is read line by line: named rows, the first on top, panels side by side.

    ``row`` and ``head`` are inches: the height of a row and of all that stands around the rows.
    """
    rows = [str(name) for name in names]
    figure, (axes,) = panels(
        row * len(rows) + head, 1, columns, sharey=True, squeeze=False, **options
    )
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for axis in axes:
        read_across(axis)
    return figure, list(axes)


def read_across(axis: Axes) -> None:
    """Draw the grid of a figure whose rows are read along the x axis."""
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    axis.locator_params(axis="x", nbins=4)
    axis.tick_params(axis="y", length=0)


def forest(
    axis: Axes,
    table: pd.DataFrame,
    name: str,
    looks: Look | Sequence[Look] = PLAIN,
    filled: Iterable[bool] | None = None,
    places: Iterable[float] | None = None,
    upright: bool = False,
) -> None:
    """Draw a column's values on their intervals, one below the other; ``upright``, side by side.

    A row without a value is left out. ``looks`` is of all rows or of each; by default all markers
    are ``filled``, and rows stand at the ``places`` 0, 1, ...
    """
    n = len(table)
    each = zip(
        bounds(table, name).to_numpy(),
        [looks] * n if isinstance(looks, Look) else looks,
        [True] * n if filled is None else filled,
        range(n) if places is None else places,
        strict=True,
    )
    for (value, low, high), look, full, place in each:
        if np.isnan(value):
            continue
        line = {"linewidth": 1.6, "solid_capstyle": "butt", "zorder": 2}
        point = {"marker": look.marker, "markersize": 6 if look.marker == "o" else 5.5, "zorder": 3,
                 "markeredgewidth": 1.4,
                 "markerfacecolor": look.colour if full else "white"}  # fmt: skip
        for values, style in (([low, high], line), ([value], point)):
            ends = ([place] * len(values), values)
            axis.plot(*(ends if upright else ends[::-1]), color=look.colour, **style)


def beside(
    axis: Axes, points: float, heading: str | None, texts: Mapping[Any, str], **style: Any
) -> None:
    """Write a column of texts to the right of the axes, ``points`` from their edge.

    ``texts`` is by the place of the row; the heading is bold.
    """
    style = {"fontsize": 8.5, "textcoords": "offset points", "annotation_clip": False, **style}
    if heading:
        axis.annotate(heading, (1, 1), (points, 4), xycoords="axes fraction", va="bottom",
                      fontweight="bold", **style)  # fmt: skip
    for place, text in texts.items():
        axis.annotate(text, (1, place), (points, 0), xycoords=axis.get_yaxis_transform(),
                      va="center", **style)  # fmt: skip


def heatmap(axis: Axes, values: pd.DataFrame | NDArray[Any], **options: Any) -> None:
    """Draw seaborn's heat map, each cell's text in `text_colour`."""
    style = {"linewidths": 1.5, "linecolor": "white", "annot_kws": {"fontsize": 8}, "fmt": "",
             "cmap": GAIN_MAP}  # fmt: skip
    sns.heatmap(values, ax=axis, **(style | options))
    mesh = axis.collections[0]
    masked = np.ma.getmaskarray(np.ma.asarray(mesh.get_array())).ravel()
    # seaborn writes no text in a masked cell, so texts and unmasked cells run in step
    for text, shade in zip(axis.texts, np.asarray(mesh.get_facecolor())[~masked], strict=True):
        text.set_color(text_colour(shade))
    axis.set(xlabel="", ylabel="")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)


def difference_heatmap(
    axis: Axes, values: pd.DataFrame, label: str, zero: str | None = None, **options: Any
) -> None:
    """Draw signed differences: losses in vermillion, gains in blue; the row ``zero`` is 0."""
    reach = max(float(np.nanmax(np.abs(values.to_numpy()))), 1e-3)
    texts = values.map(signed)
    if zero is not None:
        texts.loc[zero] = "0"
    options["cbar_kws"] = {"label": label} | options.get("cbar_kws", {})
    heatmap(axis, values, cmap=LOSS_MAP, vmin=-reach, vmax=reach, annot=texts.to_numpy(),
            **options)  # fmt: skip


def grouped_bars(axis: Axes, table: pd.DataFrame, horizontal: bool = False) -> None:
    """Draw the columns of a table as bars side by side, at the places that its index names."""
    thick = 0.8 / table.shape[1]
    draw = axis.barh if horizontal else axis.bar
    for number, (name, values) in enumerate(table.items()):
        places = np.asarray(table.index) + (number - (table.shape[1] - 1) / 2) * thick
        draw(places, values, 0.93 * thick, label=name, **BARS[number % len(BARS)])


def label_line_ends(axis: Axes, x: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write each line's name at its end (value, colour), pushed apart so that no names meet."""
    low, high = axis.get_ylim()
    least = 0.085 * (high - min(low, 0.0))
    placed = -np.inf
    for name, (value, colour) in sorted(ends.items(), key=lambda end: end[1]):
        placed = max(value, placed + least)
        axis.text(x, placed, name, color=darker(colour), va="center", fontweight="bold",
                  fontsize=8.5, clip_on=False)  # fmt: skip
