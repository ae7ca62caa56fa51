"""What a trained network says of one recording, and all that was noticed on the way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadmin.data.faults import USUAL_MEAN_MILLIVOLTS, USUAL_MILLIVOLTS, lead_faults, ranges_of
from leadmin.data.pacing import pacing_spikes
from leadmin.data.recordings.recording import Recording
from leadmin.data.resample import resample
from leadmin.labels import CLASS_NAMES
from leadmin.leads import LEADS, LIMB_LEADS, derive, span

SEGMENT_SECONDS = 10.0
"""What is longer is read in segments of this length: the networks learned from such records."""


Bounds = list[tuple[float, float]]
"""Beginning and end of each segment, in seconds."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a trained network says of one recording.

    Parameters
    ----------
    name : str
        Of the recording.
    classes : tuple of str
        They do not exclude each other.
    probabilities : ndarray of float64, shape (n_classes,)
        Of the whole recording: the mean of the logits of its segments, as a probability.
    recalibrated : bool
        Whether probabilities were recalibrated for the leads that were used.
    thresholds : mapping of str to ndarray of float64, shape (n_classes,)
        On ``probabilities``; empty where none are known.
    segments : ndarray of float64, shape (n_segments, n_classes)
        The same for each segment of ten seconds; NaN where one was left out.
    starts : ndarray of float64, shape (n_segments,)
        Seconds.
    used, seen : tuple of str
        Recorded leads that the answer stands on, and the leads that the network saw: these, and
        what follows from them.
    derived : tuple of str
        Those of ``seen`` that were not recorded, or recorded with a fault.
    dropped : mapping of str to str
        Lead to what is wrong with it.
    noticed : tuple of str
        Sentences.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    recalibrated: bool
    thresholds: Mapping[str, NDArray[np.float64]]
    segments: NDArray[np.float64]
    starts: NDArray[np.float64]
    used: tuple[str, ...]
    seen: tuple[str, ...]
    derived: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    noticed: tuple[str, ...] = ()

    def passed(self, class_name: str) -> tuple[str, ...]:
        """Name the thresholds that a class reaches."""
        k = self.classes.index(class_name)
        return tuple(n for n, t in self.thresholds.items() if self.probabilities[k] >= t[k])

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain values, ready for JSON; None stands for a segment left out."""
        found = [
            {
                "class": name,
                "meaning": CLASS_NAMES.get(name, ""),
                "probability": float(p),
                "thresholds": {n: float(t[k]) for n, t in self.thresholds.items()},
                "passed": list(self.passed(name)),
            }
            for k, (name, p) in enumerate(zip(self.classes, self.probabilities, strict=True))
        ]
        segments = [
            {"start": float(s), "probabilities": None if np.isnan(row).any() else row.tolist()}
            for s, row in zip(self.starts, self.segments, strict=True)
        ]
        return {
            "name": self.name,
            "classes": found,
            "recalibrated": self.recalibrated,
            "used": list(self.used),
            "seen": list(self.seen),
            "derived": list(self.derived),
            "dropped": dict(self.dropped),
            "noticed": list(self.noticed),
            "segments": segments,
        }


@dataclass(frozen=True, eq=False)
class Screened:
    """A recording whose leads were looked at, segment by segment."""

    good: tuple[str, ...]  # leads that most segments can be read from
    dropped: dict[str, str]
    faults: list[dict[str, str]]  # of each segment: lead to what is wrong with it
    bounds: Bounds

    def readable(self, used: Iterable[str]) -> list[int]:
        """Give the segments in which none of these leads is faulty."""
        leads = set(used)
        return [k for k, faults in enumerate(self.faults) if not leads & set(faults)]


def segment_bounds(n_samples: int, sampling_rate: float) -> Bounds:
    """Say where segments begin and end.

    Even steps from the beginning to the end: nothing is left out, and neighbours overlap where the
    length is not a whole number of segments. Up to half a second more than ten is one segment.
    """
    seconds = n_samples / sampling_rate
    count = max(1, int(np.ceil(seconds / SEGMENT_SECONDS - 0.05)))
    length = seconds if count == 1 else max(SEGMENT_SECONDS, seconds / count)
    starts = np.linspace(0, seconds - length, count)
    return [(float(start), float(start + length)) for start in starts]


def cut(signals: NDArray[Any], sampling_rate: float, bounds: Bounds) -> NDArray[Any]:
    """Cut ``(..., n_samples)`` into segments of one length, ``(..., n_segments, length)``."""
    length = min(round((bounds[0][1] - bounds[0][0]) * sampling_rate), signals.shape[-1])
    last = signals.shape[-1] - length
    starts = [min(round(start * sampling_rate), last) for start, _ in bounds]
    if len(starts) == 1:
        return signals[..., None, :]
    return np.stack([signals[..., start : start + length] for start in starts], axis=-2)


def screen(recording: Recording) -> Screened:
    """Look at each lead in each segment; a lead that is faulty in most of them is dropped."""
    x, rate = recording.signals, recording.sampling_rate
    bounds = segment_bounds(x.shape[-1], rate)
    pieces = cut(x, rate, bounds).swapaxes(0, 1)
    ranges = ranges_of(pieces, (1.0, 0.0), "mV") if len(bounds) == 1 else _ranges(pieces)
    faults: list[dict[str, str]] = [{} for _ in bounds]
    for (k, position), wrong in lead_faults(pieces, rate, ranges).items():
        faults[k][recording.leads[position]] = wrong
    dropped = {}
    for lead in recording.leads:
        found = [(k, one[lead]) for k, one in enumerate(faults) if lead in one]
        if 2 * len(found) > len(bounds):
            more = f" (in {len(found)} of {len(bounds)} segments)" if len(bounds) > 1 else ""
            dropped[lead] = found[0][1] + more
    good = tuple(lead for lead in recording.leads if lead not in dropped)
    return Screened(good, dropped, faults, bounds)


def _ranges(pieces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the ranges of long recordings: the unit is judged by the median over the segments."""
    with np.errstate(invalid="ignore"):
        ranges = np.ptp(pieces, axis=-1)
    ranges[~np.isfinite(ranges)] = np.nan
    present = np.isfinite(ranges).any(axis=0)
    typical = np.nanmedian(ranges[:, present], axis=0)
    ranges_of(np.stack([0 * typical, typical], axis=-1)[None], (1.0, 0.0), "mV")
    return ranges


def at_rate(signals: NDArray[np.float64], rate: float, wanted: float) -> NDArray[np.float64]:
    """Resample; a missing sample, which only segments left out may have, becomes the median."""
    missing = ~np.isfinite(signals)
    if missing.any():
        filled = np.where(missing, np.nan, signals)
        signals = np.where(missing, np.nanmedian(filled, axis=-1, keepdims=True), signals)
    return resample(signals, rate, wanted)


def pacing_notes(recording: Recording, found: Screened, readable: Sequence[int]) -> Iterator[str]:
    """Say whether a pacemaker's spikes stand in segments that are read."""
    pieces = cut(recording.signals, recording.sampling_rate, found.bounds)
    n = 0
    for k in readable:
        good = [recording.leads.index(lead) for lead in found.good if lead not in found.faults[k]]
        n += bool(len(pacing_spikes(pieces[good, k], recording.sampling_rate)))
    if n:
        where = f" (in {n} of {len(found.bounds)} segments)" if len(found.bounds) > 1 else ""
        yield "spikes as of a pacemaker: narrow, tall, in several leads at once, repeated" + where


def size_notes(signals: NDArray[np.float64], leads: Sequence[str]) -> Iterator[str]:
    """Say what is unlike the records that networks learned from; ``(n_leads, n_samples)``, mV."""
    means, widest = np.abs(signals.mean(axis=-1)), float(np.ptp(signals, axis=-1).max())
    off = ", ".join(np.array(leads)[means > USUAL_MEAN_MILLIVOLTS])
    if off:
        yield f"the mean of {off} is up to {means.max():.2g} mV from zero, which changes answers"
    if not USUAL_MILLIVOLTS[0] <= widest <= USUAL_MILLIVOLTS[1]:
        yield f"the widest lead has a range of {widest:.2g} mV, unusual for an ECG: check the unit"


def quality_notes(
    signals: NDArray[np.float64], leads: Sequence[str], bounds: Bounds, readable: Sequence[int]
) -> Iterator[str]:
    """Say which rules of `leadmin.data.quality` mark a recording, as far as they fit its leads.

    ``signals`` are mV at 100 Hz of good leads, ``(n_leads, n_samples)``.
    """
    from leadmin.data.quality import IDENTITY_MICROVOLTS, RULES, mark, measure  # pandas is slow

    read = 1000 * cut(signals, 100, bounds)[:, readable]
    limb = [k for k, lead in enumerate(leads) if lead in LIMB_LEADS]
    if len(limb) > 2:
        names = [leads[k] for k in limb]
        apart = derive(read[limb[:2]], names[:2], names, axis=0) - read[limb]
        if np.abs(apart).max() > IDENTITY_MICROVOLTS:
            yield f"{RULES['identities_broken']}: a name, a sign or an electrode is wrong"
    if len({row.tobytes() for row in read}) < len(read):
        yield RULES["copied_lead"]
    there = [lead for lead in LEADS if lead in span(leads)]
    pieces = derive(read, leads, there, axis=0).swapaxes(0, 1)
    whole = np.zeros((len(readable), len(LEADS), pieces.shape[-1]), dtype=np.int16)
    places = [LEADS.index(lead) for lead in there]
    whole[:, places] = np.rint(np.clip(pieces, -(2**15) + 1, 2**15 - 1))
    marks = mark(measure(whole, 100))
    fit = ["saturated", "clipped", "noisy", "drifting"]
    if set(LIMB_LEADS) <= set(there):
        fit += ["right_leg_misplaced"]
        fit += ["arms_reversed", "arm_leg_reversed"] if "V6" in there else []
    for rule in fit:
        n = int(marks[rule].sum())
        if n:
            where = f" (in {n} of {len(bounds)} segments)" if len(bounds) > 1 else ""
            yield RULES[rule] + where
