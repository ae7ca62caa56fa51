"""Signals of any sampling rate at the network's: low-pass filtered, so that nothing folds back.

The ratio of two rates is taken as one of whole numbers, which is off by 1 part in 10,000 at most:
a millisecond over ten seconds. 100 Hz from 512.844 Hz are 109 samples from 559.

References
----------
.. [1] Crochiere RE, Rabiner LR. Multirate digital signal processing. Prentice Hall, 1983: the
   polyphase filter of `scipy.signal.resample_poly`.
"""

from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadmin.errors import LeadminError

RATES = (95.0, 100_000.0)
"""Hz. What a slower recorder did not see cannot be brought back: the networks read 100 Hz."""

_LARGEST_TERM = 5000
"""Of the ratio; it bounds the length of the filter."""


def checked_rate(sampling_rate: Any, where: str = "sampling_rate", low: float = RATES[0]) -> float:
    """Give a sampling rate in Hz as a number; refuse what is none, or out of `RATES`."""
    high = RATES[1]
    is_number = isinstance(sampling_rate, Real) and not isinstance(sampling_rate, bool | np.bool_)
    if not is_number or not low <= float(sampling_rate) <= high:
        raise LeadminError(
            f"{where} is {str(sampling_rate)[:40]!r}; valid: a number from {low:g} to {high:g} Hz; "
            "give the rate of the recorder"
        )
    return float(sampling_rate)


def resample(signals: NDArray[Any], sampling_rate: float, wanted: float) -> NDArray[Any]:
    """Bring signals (..., n_samples), any unit, no NaN, to another sampling rate in Hz.

    Gives float64 (..., n_wanted), as many samples as fill the same time, rounded to the nearest;
    the first stands at the same moment. Beyond its ends the filter takes each signal to go on along
    the line between them. Where the rates are equal, the signals come back as they are.
    """
    ratio = Fraction(wanted / sampling_rate).limit_denominator(_LARGEST_TERM)
    if ratio == 1 or not signals.size:
        return signals
    x = np.asarray(signals, dtype=np.float64)
    from scipy.signal import resample_poly  # 0.3 s to import

    resampled = resample_poly(x, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    n_wanted = max(1, round(x.shape[-1] * wanted / sampling_rate))
    return np.ascontiguousarray(resampled[..., :n_wanted])
