"""An ECG on paper, as a cardiologist expects it: 25 mm/s, 10 mm/mV, three rows of four leads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from leadmin.errors import LeadminError
from leadmin.leads import LEADS, canonical_lead
from leadmin.show.style import BLUE, INK, darker

ECG_KEPT, ECG_DROPPED, ECG_DROPPED_TEXT = "#000000", "#8c8c8c", "#6e6e6e"
ECG_PAPER, ECG_MINOR, ECG_MAJOR = "#fffafa", "#fbdcdc", "#f2a9a9"
MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0
ECG_LAYOUT: tuple[tuple[str, ...], ...] = (
    ("I", "aVR", "V1", "V4"),
    ("II", "aVL", "V2", "V5"),
    ("III", "aVF", "V3", "V6"),
)
ECG_SECONDS = 10.0
RHYTHM_LEAD = "II"
LARGEST_MILLIVOLTS = 33.0
"""The range of the recorder, 16 bits of a microvolt."""
_ROW, _MARGIN, _LEFT, _RIGHT, _TITLE = 30.0, 10.0, 15.0, 5.0, 10.0  # mm


class Mark(NamedTuple):
    """What to look at: a part of a lead in time (s) and voltage (mV over its median).

    The words stand above it, or ``below``.
    """

    lead: str
    start: float
    stop: float
    low: float
    high: float
    text: str
    below: bool = False


def plot_ecg(
    signal: ArrayLike,
    sampling_rate: int,
    leads_kept: Sequence[str] = LEADS,
    title: str | None = None,
    marks: Sequence[Mark] = (),
) -> Figure:
    """Draw ten seconds of a 12-lead ECG as a cardiologist expects it on paper.

    True to scale: one data unit of the axes is one millimetre of the figure, which is 270 mm wide.
    A grid of 1 mm and 5 mm, a calibration pulse of 1 mV for 0.2 s before each row, three rows of
    four leads for 2.5 s each as they ran on, and lead II for ten seconds beneath. Each lead is
    centred on its median, as the paper's baseline; nothing else is filtered. Rows lie as far apart
    as their waves are high.

    Parameters
    ----------
    signal : array_like, shape (12, n_samples), mV
        Leads in the order of :data:`leadmin.leads.LEADS`; at least ten seconds; NaN where there
        is nothing to draw.
    sampling_rate : int
        In Hz.
    leads_kept : sequence of str, default all twelve
        These are drawn in black, the others in grey.
    title : str, optional
        Stands above the paper.
    marks : sequence of Mark
        Shaded in the lead's own strip, with their words.
    """
    millivolts = np.array(signal, dtype=float)
    least = round(ECG_SECONDS * sampling_rate)
    if millivolts.ndim != 2 or len(millivolts) != len(LEADS) or millivolts.shape[1] < least:
        raise LeadminError(
            f"plot_ecg: the signal has the shape {millivolts.shape}; valid: ({len(LEADS)}, "
            f"{least} samples or more), the ten seconds that the paper shows; order the leads as "
            f"{' '.join(LEADS)}"
        )
    if np.nanmax(np.abs(millivolts)) > LARGEST_MILLIVOLTS:
        raise LeadminError(
            f"plot_ecg: values lie beyond {LARGEST_MILLIVOLTS:.0f}; valid: millivolts, within the "
            "range of the recorder; divide microvolts by 1000"
        )
    kept = {canonical_lead(lead) for lead in leads_kept}
    recorded = np.isfinite(millivolts).any(axis=1)  # of the others only the name is drawn
    medians = np.nanmedian(millivolts[recorded], axis=1, keepdims=True)
    millivolts[recorded] = millivolts[recorded] - medians
    seconds = ECG_SECONDS / len(ECG_LAYOUT[0])
    strips = [(lead, row, column * seconds, seconds)
              for row, leads in enumerate(ECG_LAYOUT)
              for column, lead in enumerate(leads)]  # fmt: skip
    strips.append((RHYTHM_LEAD, len(ECG_LAYOUT), 0.0, ECG_SECONDS))
    drawn = {}
    reach = np.full((len(ECG_LAYOUT) + 1, 2), _ROW / 2)  # mm below and above each baseline
    for lead, row, start, length in strips:
        stop = round((start + length) * sampling_rate) + 1
        x = np.arange(round(start * sampling_rate), min(stop, millivolts.shape[1]))
        wave = MM_PER_MILLIVOLT * millivolts[LEADS.index(lead), x]
        # The name stands above what is drawn below it, in the first half of a second.
        named = float(np.fmax(9.5, 1 + np.fmax.reduce(wave[: sampling_rate // 2])))
        drawn[lead, row] = _LEFT + MM_PER_SECOND * x / sampling_rate, wave, named
        above = max(2 + np.fmax.reduce(wave), named + 5)
        reach[row] = np.fmax(reach[row], [2 - np.fmin.reduce(wave), above])
    row_of = {lead: row for row, leads in enumerate(ECG_LAYOUT) for lead in leads}
    for mark in marks:
        side, end = (0, -mark.low) if mark.below else (1, mark.high)
        place = row_of[mark.lead], side
        reach[place] = max(reach[place], MM_PER_MILLIVOLT * end + 7)
    figure, baselines = _paper(title, 5 * np.ceil(reach / 5))
    paper = figure.axes[0]
    # Kept leads are drawn last: where tall waves meet, the one that counts stays in sight.
    for lead, row, start, _ in sorted(strips, key=lambda strip: strip[0] in kept):
        mine, y, left = lead in kept, baselines[row], _LEFT + MM_PER_SECOND * start
        times, voltages, named = drawn[lead, row]
        paper.plot(
            times,
            y + voltages,
            color=ECG_KEPT if mine else ECG_DROPPED,
            linewidth=1.0 if mine else 0.9,
            solid_joinstyle="round",
            zorder=4 if mine else 3,
            gid=f"lead-{lead}" if row < len(ECG_LAYOUT) else f"rhythm-{lead}",
        )
        # beneath the traces: a label must not hide a tall wave
        paper.text(left + 1.5, y + named, lead, fontsize=13, va="bottom", zorder=2,
                   fontweight="bold" if mine else "normal", bbox=_ground(0.75),
                   color=ECG_KEPT if mine else ECG_DROPPED_TEXT)  # fmt: skip
        if start > 0:
            paper.plot([left, left], [y - 3, y + 3], color=ECG_KEPT, linewidth=0.8, zorder=2)
    for mark in marks:
        _draw(paper, mark, baselines[row_of[mark.lead]])
    pulse_x = np.cumsum([_LEFT - 10, 2.5, 0, 0.2 * MM_PER_SECOND, 0, 2.5])
    pulse_y = MM_PER_MILLIVOLT * np.array([0, 0, 1, 1, 0, 0])
    for row, y in enumerate(baselines):
        paper.plot(pulse_x, y + pulse_y, color=ECG_KEPT, linewidth=1.0, solid_joinstyle="miter",
                   zorder=4, gid=f"calibration-{row}")  # fmt: skip
    caption = "25 mm/s    10 mm/mV"
    if kept < set(LEADS):
        caption += "    black: leads kept, grey: leads dropped"
    paper.text(_LEFT, 3.2, caption, fontsize=12, color=INK, va="bottom", zorder=5,
               bbox=_ground(0.85))  # fmt: skip
    return figure


def _draw(paper: Axes, mark: Mark, baseline: float) -> None:
    """Shade a mark on the row of its lead, and write its words beside it."""
    left, right = (_LEFT + MM_PER_SECOND * time for time in (mark.start, mark.stop))
    low, high = (baseline + MM_PER_MILLIVOLT * level for level in (mark.low, mark.high))
    band = Rectangle((left, low), right - left, high - low, facecolor=BLUE, alpha=0.22, zorder=2.5,
                     gid=f"mark-{mark.lead}")  # fmt: skip
    paper.add_patch(band)
    paper.text((left + right) / 2, low - 1.2 if mark.below else high + 1.2, mark.text,
               ha="center", va="top" if mark.below else "bottom", fontsize=13, fontweight="bold",
               color=darker(BLUE), zorder=6, bbox=_ground(0.8))  # fmt: skip


def _paper(title: str | None, reach: NDArray[np.float64]) -> tuple[Figure, list[float]]:
    """Start a sheet with its grid, and say at what height the baseline of each row lies (mm).

    ``reach``, (n_rows, 2), is how far each row goes below and above its baseline, in mm.
    """
    width = _LEFT + ECG_SECONDS * MM_PER_SECOND + _RIGHT
    height = _MARGIN + float(reach.sum()) + _MARGIN
    whole = height + (_TITLE if title else 0.0)
    # Three pixels a millimetre, and six at twice the resolution: every line of the grid then falls
    # on whole pixels and looks the same.
    figure = Figure(figsize=(width / 25.4, whole / 25.4), dpi=3 * 25.4, facecolor="white")
    FigureCanvasAgg(figure)
    paper = figure.add_axes((0.0, 0.0, 1.0, height / whole))
    paper.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=ECG_PAPER)
    paper.grid(visible=False)
    paper.spines[:].set_visible(False)
    for step, colour, line_width in ((1.0, ECG_MINOR, 0.45), (5.0, ECG_MAJOR, 0.7)):
        xs, ys = np.arange(0, width + 0.1, step), np.arange(0, height + 0.1, step)
        grid = [[(x, 0), (x, height)] for x in xs] + [[(0, y), (width, y)] for y in ys]
        paper.add_collection(LineCollection(grid, colors=colour, linewidths=line_width, zorder=1))
    if title:
        figure.text(_LEFT / width, 1 - 0.5 * _TITLE / whole, title, fontsize=14, color=INK,
                    fontweight="bold", va="center")  # fmt: skip
    above = np.cumsum(reach[:, 1]) + np.cumsum([0, *reach[:-1, 0]])
    return figure, list(height - _MARGIN - above)


def _ground(alpha: float) -> dict[str, object]:
    """Let a text stand on a patch of paper."""
    return {"facecolor": ECG_PAPER, "edgecolor": "none", "alpha": alpha, "pad": 1.0}
