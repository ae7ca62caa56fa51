"""Records to learn from: one of each superclass that shows it well, with marks on what to look at.

Chosen by a rule and marked by what is measured on the very beat that is drawn: of other data
another record is chosen, and the marks lie where its own waves are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.labels import CLASSES
from leadmin.leads import LEADS
from leadmin.show.ecg_paper import ECG_LAYOUT, ECG_SECONDS, Mark
from leadmin.show.words import number
from leadmin.study.baselines import r_peaks

CERTAIN, STRONGEST = 100, 3
"""Per cent from which a statement is certain; how many of the largest findings are looked at."""
CLEAR: Mapping[str, tuple[str, ...]] = {
    "NORM": ("NORM",),
    "MI": ("ASMI", "AMI", "ALMI"),
    "STTC": ("ISC_", "ISCAL", "ISCAN", "ISCAS", "ISCIL", "ISCIN", "ISCLA"),
    "CD": ("CLBBB", "CRBBB"),
    "HYP": ("LVH",),
}
"""Statements that are seen at a glance: infarction of the front wall, ischaemia, complete bundle
branch block, hypertrophy of the left ventricle."""


class Beats(NamedTuple):
    """A record (12, n_samples) above its medians in mV, its R peaks, and QRS around a peak (s).

    ``noise`` is how far beats are from their median, as a share of the median's own spread.
    """

    signal: NDArray[np.float64]
    peaks: NDArray[np.intp]
    onset: float
    offset: float
    noise: float
    rate: int

    def wave(self, lead: str, first: float, last: float) -> tuple[float, NDArray[np.float64]]:
        """Cut a part out of the beat that is nearest to the middle of a lead's strip on paper.

        ``first`` and ``last`` are seconds from the R peak on. Gives the time of that peak in the
        record (s), and millivolts above the level at the onset of QRS.
        """
        column = next(row.index(lead) for row in ECG_LAYOUT if lead in row)
        middle = (column + 0.5) * ECG_SECONDS / len(ECG_LAYOUT[0])
        peak = int(self.peaks[np.abs(self.peaks / self.rate - middle).argmin()])
        onset, low, high = (peak + round(at * self.rate) for at in (self.onset, first, last))
        of_lead = self.signal[LEADS.index(lead)]
        return peak / self.rate, of_lead[low : high + 1] - of_lead[onset]

    def mark(self, lead: str, first: float, last: float, text: str) -> Mark:
        """Mark that part, on the side of the level at the onset of QRS where it reaches farther."""
        peak, wave = self.wave(lead, first, last)
        below = -wave.min() > wave.max()
        level = self.signal[LEADS.index(lead), round((peak + self.onset) * self.rate)]
        low, high = sorted((level, level + (wave.min() if below else wave.max())))
        return Mark(lead, peak + first, peak + last, float(low), float(high), text, bool(below))

    def qrs(self, lead: str) -> tuple[float, float]:
        """Give depth and height of QRS in that beat (mV)."""
        _, wave = self.wave(lead, self.onset, self.offset)
        return float(-wave.min()), float(wave.max())

    @property
    def taller(self) -> str:
        """Name the lead of V5 and V6 with the taller R."""
        return max(("V5", "V6"), key=lambda lead: self.qrs(lead)[1])


def beats_of(microvolts: ArrayLike, rate: int) -> Beats | None:
    """Find the beats of a record, (12, n_samples); nothing where fewer than three are whole."""
    signal = np.asarray(microvolts, dtype=float) / 1000
    signal -= np.median(signal, axis=-1, keepdims=True)
    around = np.arange(-round(0.3 * rate), round(0.5 * rate))
    peaks = r_peaks(signal, rate)
    peaks = peaks[(peaks + around[0] >= 0) & (peaks + around[-1] < signal.shape[1])]
    if len(peaks) < 3:
        return None
    each = signal[:, peaks[:, None] + around]
    median = np.median(each, axis=1)
    # QRS is where the leads together move fast, around the peak.
    speed = np.linalg.norm(np.diff(median), axis=0) * (np.abs(around[1:] / rate - 0.01) < 0.13)
    fast = around[np.flatnonzero(speed > 0.15 * speed.max())] / rate
    noise = (each - each.mean(2, keepdims=True) - (median - median.mean(1)[:, None])[:, None]).std()
    return Beats(signal, peaks, fast[0], fast[-1] + 1 / rate, float(noise / median.std()), rate)


FINDINGS: Mapping[str, Callable[[Beats], float]] = {
    "MI": lambda beats: sum(down - 4 * up for down, up in map(beats.qrs, ("V2", "V3"))),
    "STTC": lambda beats: -sum(_st(beats, lead) for lead in ("V4", "V5", "V6")),
    "CD": lambda beats: beats.offset - beats.onset,
    "HYP": lambda beats: beats.qrs("V1")[0] + beats.qrs(beats.taller)[1],
}
"""How large a finding is: R lost in V2 and V3 (depth less four times the height), ST depression in
V4 to V6, the width of QRS, S in V1 plus R in V5 or V6."""


def _st(beats: Beats, lead: str) -> float:
    return float(beats.wave(lead, beats.offset + 0.06, beats.offset + 0.06)[1][0])


def marks_for(name: str, beats: Beats) -> list[Mark]:
    """Mark what a record of a superclass shows, in the beats that are drawn."""
    qrs = beats.onset, beats.offset
    if name == "MI":
        texts = dict.fromkeys(("V2", "V3"), "R {1:.1f} mV, then {0:.1f} mV down")
    elif name == "STTC":
        part = beats.offset, beats.offset + 0.25
        st = {lead: f"ST {number(_st(beats, lead), 2)} mV" for lead in ("V4", "V5", "V6")}
        return [beats.mark(lead, *part, text) for lead, text in st.items()]
    elif name == "CD":
        texts = dict.fromkeys(("V1", "V6"), f"QRS {qrs[1] - qrs[0]:.2f} s")
    elif name == "HYP":
        texts = {"V1": "S {0:.1f} mV", beats.taller: "R {1:.1f} mV"}
    else:
        windows = {"P": (qrs[0] - 0.2, qrs[0] - 0.03), "T": (qrs[1] + 0.1, 0.42)}
        tops = {
            wave: at[0] + beats.wave("II", *at)[1].argmax() / beats.rate
            for wave, at in windows.items()
        }
        waves = [beats.mark("II", at - 0.05, at + 0.05, wave) for wave, at in tops.items()]
        return [*waves, beats.mark("II", *qrs, "QRS")]
    return [beats.mark(lead, *qrs, text.format(*beats.qrs(lead))) for lead, text in texts.items()]


def marks_in_words(marks: Sequence[Mark]) -> str:
    """List what is marked, lead by lead."""
    return "; ".join(f"{mark.lead}: {mark.text}" for mark in marks) or "nothing, for want of beats"


def teaching_records(dataset: EcgDataset, presentable: NDArray[np.bool_]) -> dict[str, int]:
    """Choose a record of each superclass that shows it well, by its row.

    Of the records that carry this superclass and no other under both label policies, that are
    ``presentable``, (n_records,), and of which a statement of `CLEAR` is certain, the three with
    the largest finding, and of these the one with the least noise. Where no record meets all
    conditions, they are dropped from the last one on.
    """
    labels = [np.asarray(array, dtype=bool) for array in dataset.labels.values()]
    alone = np.all([array.sum(axis=1) == 1 for array in labels], axis=0)
    codes = [json.loads(text) for text in dataset.metadata["scp_codes"]]
    chosen = {}
    for column, name in enumerate(CLASSES):
        clear = [any(said.get(code, 0) >= CERTAIN for code in CLEAR[name]) for said in codes]
        wanted = np.array([labels[0][:, column], alone, presentable, clear])
        while not (rows := np.flatnonzero(wanted.all(axis=0))).size:
            wanted = wanted[:-1]
        found = {int(row): beats_of(dataset.signals[row], dataset.sampling_rate) for row in rows}
        good = {row: beats for row, beats in found.items() if beats is not None}
        if name in FINDINGS:
            largest = sorted(good, key=lambda row: -FINDINGS[name](good[row]))[:STRONGEST]
            good = {row: good[row] for row in largest}
        chosen[name] = min(good, key=lambda row: good[row].noise, default=int(rows[0]))
    return chosen
