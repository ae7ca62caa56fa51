"""What no lead of an ECG looks like: samples missing, at rest, or of another unit."""

import numpy as np
from numpy.typing import NDArray

from leadmin.errors import LeadminError

FLAT_SECONDS = 0.5
"""The recorders of PTB-XL resolve about 5 microvolts; ordinary records hold a value for 0.35 s."""

LARGEST_VOLTS = 1.0
"""Electrodes add some 0.3 V to an ECG at most; whatever is larger has another unit."""

RANGE_MILLIVOLTS = (0.05, 100.0)
"""Of a lead. In 4,373 records of PTB-XL the widest of each has 0.8 to 32 mV, so that another unit,
a thousand times larger or smaller, lies outside."""

FLAT_MILLIVOLTS = 0.01
"""A lead with a smaller range is not connected. The narrowest of those records has 0.13 mV."""

LARGEST_MEAN_MILLIVOLTS = 2.0
"""Of a lead. In those records it is below 0.02 mV in 99 of 100, and one is above; a network takes
what lies elsewhere for another ECG."""

USUAL_MILLIVOLTS = (0.5, 35.0)
"""Range of the widest lead; in 4,373 records of PTB-XL it is 0.8 to 32 mV."""

USUAL_MEAN_MILLIVOLTS = 0.3
"""Largest mean of a lead, with its sign left out; one in 1,000 of those records is above."""

_POINTS = 8
"""A lead at rest for `FLAT_SECONDS` shows as many equal values at even distances, or one less."""


def longest_run(marks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Length of the longest run of True along the last axis."""
    positions = np.arange(1, marks.shape[-1] + 1)
    last_false = np.maximum.accumulate(np.where(marks, 0, positions), axis=-1)
    longest: NDArray[np.intp] = (positions - last_false).max(axis=-1)
    return longest


def ranges_of(
    signals: NDArray[np.number], unit: tuple[float, float], named: str
) -> NDArray[np.float64]:
    """Give the range of each lead in mV, NaN where a sample is missing; refuse another unit.

    Of signals (n_records, n_leads, n_samples); ``unit`` is (factor, baseline), so that ``factor *
    (signals - baseline)`` are millivolts, and ``named`` what the user called it.
    """
    factor, baseline = unit
    if not signals.size:
        return np.zeros(signals.shape[:2])
    low, high = (end(axis=-1).astype(np.float64) for end in (signals.min, signals.max))
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = ((end - baseline) * factor for end in (low, high))
        ranges = high - low
    ranges[~np.isfinite(ranges)] = np.nan
    largest = np.fmax(np.abs(low), np.abs(high)) / 1e3
    largest = np.fmax.reduce(largest, axis=None, initial=0.0)
    if LARGEST_VOLTS < largest < np.inf:
        raise LeadminError(
            f"signals reach {largest:.3g} V; valid: up to {LARGEST_VOLTS:g} V; check that their "
            f"unit is {named}"
        )
    _check_unit(ranges, named, factor)
    return ranges


def _check_unit(ranges: NDArray[np.float64], named: str, factor: float) -> None:
    """Refuse records of which no lead is as large, or most are larger, than one of an ECG."""
    low, high = RANGE_MILLIVOLTS
    present = np.where(ranges >= 0, ranges, -np.inf)
    widest = present.max(axis=1, initial=0.0)
    wrong = (widest > 0) & (widest < low)
    for record in np.flatnonzero(widest > high):
        wrong[record] = np.nanmedian(ranges[record]) > high
    for record in np.flatnonzero(wrong):
        fits = (u for u, size in (("uV", 1e-3), ("mV", 1.0), ("V", 1e3))
                if low <= widest[record] * size / factor <= high)  # fmt: skip
        raise LeadminError(
            f"signals: record {record} has a range of {widest[record]:.3g} mV if their unit is "
            f"{named}; valid: {low:g} to {high:g} mV; the unit is probably {next(fits, 'another')}"
        )


def lead_faults(
    signals: NDArray[np.number],
    sampling_rate: float,
    ranges: NDArray[np.float64],
    unit: tuple[float, float] = (1.0, 0.0),
) -> dict[tuple[int, int], str]:
    """Say by record and position of the lead which cannot be read.

    ``ranges`` as of `ranges_of`, and ``unit`` as there; by default signals are millivolts.
    """
    faults: dict[tuple[int, int], str] = {}
    resting, (factor, baseline) = _at_rest(signals, sampling_rate), unit
    with np.errstate(over="ignore", invalid="ignore"):
        means = factor * (signals.mean(axis=-1, dtype=np.float64) - baseline)
    usual = (ranges >= FLAT_MILLIVOLTS) & (ranges <= RANGE_MILLIVOLTS[1])
    usual &= ~(np.abs(means) > LARGEST_MEAN_MILLIVOLTS)
    for record, lead in np.argwhere(~usual | (resting > 0)):
        here, rest = ranges[record, lead], resting[record, lead] / sampling_rate
        if np.isnan(here):
            missing = int(np.sum(~np.isfinite(signals[record, lead])))
            wrong = f"holds no finite number in {missing:,} of {signals.shape[-1]:,} samples"
        elif here < FLAT_MILLIVOLTS:
            wrong = f"is flat: its range is {1000 * here:.2g} µV"
        elif here > RANGE_MILLIVOLTS[1]:
            wrong = f"has a range of {here:.3g} mV"
        elif abs(means[record, lead]) > LARGEST_MEAN_MILLIVOLTS:
            wrong = (
                f"has a mean of {means[record, lead]:.3g} mV and not of zero (an ADC's baseline "
                "goes into the unit, as in 200(2048)/mV)"
            )
        else:
            wrong = f"is at rest for {rest:.2g} s"
        faults[int(record), int(lead)] = wrong
    return faults


def _at_rest(signals: NDArray[np.number], sampling_rate: float) -> NDArray[np.intp]:
    """Count the samples of the longest rest of each lead that lasts `FLAT_SECONDS`; else 0."""
    least = max(3, round(FLAT_SECONDS * sampling_rate))
    step = max(1, least // _POINTS)
    sparse = signals[..., ::step]
    equal = sparse[..., 1:] == sparse[..., :-1]
    n_equal, found = max(1, least // step - 1), np.zeros(signals.shape[:2], dtype=np.intp)
    if equal.shape[-1] < n_equal:
        return found
    together = equal[..., n_equal - 1 :].copy()  # whether this one and all before it are equal
    for back in range(1, n_equal):
        together &= equal[..., n_equal - 1 - back : equal.shape[-1] - back]
    for record, lead in np.argwhere(together.any(axis=-1)):
        row = signals[record, lead]
        longest = int(longest_run(row[1:] == row[:-1])) + 1
        found[record, lead] = longest if longest >= least else 0
    return found
