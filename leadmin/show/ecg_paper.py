"""An ECG on paper, as a cardiologist expects it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from leadmin.errors import LeadminError
from leadmin.leads import LEADS, canonical_lead
from leadmin.show.style import INK

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
