"""Pacing spikes: what a pacemaker leaves in an ECG, which no heart does.

A pulse lasts 0.2 to 2 ms, so that a recorder of 500 Hz or more shows it as a few samples that stand
out: narrow, tall, in several leads at once, again and again. At 100 Hz, as the networks read, it is
filtered away or one sample among others: such a rule, of one sample and two, marks 84% of 43 paced
records of PTB-XL and 45% of 481 others, so that nothing is said there. Nor are pulses seen that a
recorder takes out, or of two electrodes close together in the heart, which hardly reach the skin.

Measured at 500 Hz: in 9 of 10 records with a pacemaker of LUDB, and falsely in 3 of 478 others of
LUDB, CPSC2018, Georgia and PTB-XL. Pulses of 1 ms added to 60 of these were found in all where the
highest lead had 1 mV, and in 57 with 0.5 mV.
"""

import numpy as np
from numpy.typing import NDArray

SLOWEST = 500.0
"""Hz. Slower recordings are not looked at."""

REACH_SECONDS = (0.002, 0.004, 0.010)
"""On either side: half of a spike is over, all of it, and a QRS complex has only begun to be."""

TALL_MILLIVOLTS = 0.15
"""Least height above both sides; and `TALL_NOISES` times the median of all such heights."""
TALL_NOISES = 12.0

NARROW_SHARES = (0.45, 0.75)
"""Of the height over the next reach that a spike has over the first, and over the second: the top
of a round wave has a quarter, and a sixth."""

LEAST_SHARE = 1 / 3
"""Of the leads, and at least two, in which a spike stands at the same moment."""

LEAST_SPIKES = 4
"""In ten seconds, of one height to a factor of two: 24 a minute."""


def pacing_spikes(signals: NDArray[np.float64], sampling_rate: float) -> NDArray[np.float64]:
    """Find pacing spikes in millivolts ``(n_leads, n_samples)`` without gaps; gives seconds.

    There are none, or at least `LEAST_SPIKES` for every ten seconds.
    """
    n_leads, n_samples = signals.shape
    half, near, far = (round(s * sampling_rate) for s in REACH_SECONDS)
    if sampling_rate < SLOWEST or n_leads < 2 or n_samples < 4 * far:
        return np.empty(0)

    def height(reach: int) -> NDArray[np.float64]:
        sides = (signals[:, : -2 * reach] + signals[:, 2 * reach :]) / 2
        above = np.zeros(signals.shape)
        above[:, reach:-reach] = np.abs(signals[:, reach:-reach] - sides)
        return above

    tall = height(near)
    least = np.maximum(TALL_MILLIVOLTS, TALL_NOISES * np.median(tall, axis=1, keepdims=True))
    first, second = NARROW_SHARES
    marks = (height(half) >= first * tall) & (tall >= np.maximum(least, second * height(far)))
    beside = np.pad(marks, ((0, 0), (near, near)))
    spread = np.lib.stride_tricks.sliding_window_view(beside, 2 * near + 1, axis=1).any(axis=-1)
    at_once = spread.sum(axis=0) >= max(2, LEAST_SHARE * n_leads)
    edges = np.flatnonzero(np.diff(np.pad(at_once, 1).astype(np.int8)))
    found = []
    for begin, end in edges.reshape(-1, 2):
        total = tall[:, begin:end].sum(axis=0)
        found.append((begin + int(total.argmax()), float(total.max())))
    if not found:
        return np.empty(0)
    places, heights = np.array(found).T
    alike = np.abs(np.log2(heights / np.median(heights))) <= 1
    enough = alike.sum() >= LEAST_SPIKES * max(1.0, n_samples / sampling_rate / 10)
    return places[alike] / sampling_rate if enough else np.empty(0)
