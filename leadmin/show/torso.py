"""Electrodes on a drawn torso."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path as DrawnPath
from numpy.typing import NDArray

from leadmin.leads import BIPOLAR, electrodes_needed, resolve
from leadmin.show.style import BLUE, DOTTED, FAINT, MUTED, panels

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
    "LL": (0.73, 0.11),
    "V1": (0.445, 0.58),
    "V2": (0.555, 0.58),
    "V3": (0.597, 0.517),
    "V4": (0.638, 0.455),
    "V5": (0.708, 0.443),
    "V6": (0.775, 0.443),
    "RL": (0.27, 0.11),
}
_LABEL_OFFSETS: dict[str, tuple[float, float]] = {
    "RA": (0.08, 0.05),
    "LA": (-0.08, 0.05),
    "RL": (0.095, 0.0),
    "LL": (-0.095, 0.0),
    "V3": (-0.075, -0.025),
    "V4": (-0.075, -0.04),
    "V5": (0.012, 0.062),
    "V6": (-0.02, -0.062),
}


def plot_electrodes(configs: Sequence[str]) -> Figure:
    """Draw where the electrodes of lead configurations sit on the chest, one torso each.

    Filled dots are the electrodes that the configuration needs, open ones are spared. Limb
    electrodes stand at the root of the limb that they are clipped to, the chest electrodes at
    their usual places from the fourth right intercostal space (V1) to the midaxillary line (V6).
    ``configs`` are registry names or comma lists of leads, up to four torsos a row.
    """
    columns = min(4, len(configs))
    rows = -(-len(configs) // columns)
    figure, axes = panels(2.3 * rows, rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, config in zip(axes.flat, configs, strict=False):
        leads = resolve(config).leads
        needed = electrodes_needed(leads)
        axis.set(xlim=(-0.08, 1.08), ylim=(-0.03, 1.07), aspect="equal")
        axis.set_title(f"{config}\n{len(needed)} electrodes and RL", fontsize=8.5, loc="center",
                       fontweight="normal")  # fmt: skip
        for outline in _outlines():
            axis.add_patch(PathPatch(outline, facecolor="none", edgecolor=MUTED, linewidth=1.1,
                                     capstyle="round"))  # fmt: skip
        axis.plot([0.5, 0.5], [0.45, 0.88], color=FAINT, linewidth=1.0, linestyle=DOTTED)
        for lead, poles in BIPOLAR.items():
            if lead in leads:
                minus, plus = (_ELECTRODES[pole] for pole in poles)
                axis.annotate("", plus, minus, arrowprops={
                    "arrowstyle": "-|>", "color": BLUE, "linewidth": 1.0, "alpha": 0.55,
                    "shrinkA": 5, "shrinkB": 5})  # fmt: skip
        for electrode, (x, y) in _ELECTRODES.items():
            used = electrode in (*needed, "RL")
            colour = MUTED if electrode == "RL" else BLUE
            radius = 0.026 if electrode.startswith("V") else 0.034
            axis.add_patch(Circle((x, y), radius, facecolor=colour if used else "white",
                                  edgecolor=colour if used else FAINT, linewidth=1.1,
                                  zorder=3))  # fmt: skip
            if used:
                dx, dy = _LABEL_OFFSETS.get(electrode, (0.0, 0.062))
                axis.text(x + dx, y + dy, electrode, fontsize=7, ha="center", va="center", zorder=4)
    return figure


def torso_paths() -> dict[str, Any]:
    """Give the drawing for a page: SVG paths of the ``outline``, ``electrodes`` and ``labels``.

    Electrodes and the middles of their labels are points ``[x, y]``. Coordinates are per cent of
    the unit square, downwards as on a screen.
    """
    paths = []
    for drawn in _outlines():
        points = [f"{100 * x:.1f} {100 * (1 - y):.1f}" for x, y in np.asarray(drawn.vertices)]
        paths.append(f"M{points[0]}C{' '.join(points[1:])}")
    places, labels = {}, {}
    for name, (x, y) in _ELECTRODES.items():
        dx, dy = _LABEL_OFFSETS.get(name, (0.0, 0.062))
        places[name] = [round(100 * x, 1), round(100 * (1 - y), 1)]
        labels[name] = [round(100 * (x + dx), 1), round(100 * (1 - y - dy), 1)]
    return {"outline": paths, "electrodes": places, "labels": labels}


def _outlines() -> Iterator[DrawnPath]:
    """Give both sides of the torso, and of the arms."""
    for outline in (_TORSO, _FLANK):
        for mirrored in (False, True):
            yield _smooth(np.array([(1 - x if mirrored else x, y) for x, y in outline]))


def _smooth(points: NDArray[np.floating[Any]]) -> DrawnPath:
    """Run a Catmull-Rom curve through the points, as cubic Bezier pieces."""
    padded = np.vstack([points[0], points, points[-1]])
    vertices, codes = [points[0]], [DrawnPath.MOVETO]
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        vertices += [start + (end - before) / 6, end - (after - start) / 6, end]
        codes += [DrawnPath.CURVE4] * 3
    return DrawnPath(np.array(vertices), codes)
