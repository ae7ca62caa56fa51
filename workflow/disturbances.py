"""What goes wrong with an ECG in real life: noise, a lost electrode, two that are swapped.

Signals are (n_records, 12, n_samples) in microvolts, leads in the order of `LEADS`, and keep the
laws between the leads wherever a real recorder would.

**Noise** is that of the MIT-BIH Noise Stress Test Database [1]_, recorded on the limbs of
volunteers, where their ECG is not visible: electrode motion, muscle, baseline wander. The eight
independent leads (I, II, V1 to V6) get segments of their own, equally strong, and the other limb
leads follow from I and II. The signal-to-noise ratio is that of a record: mean power of the eight
leads over mean power of what is added to them, both without their means.

**Electrodes** have potentials: with Wilson's terminal as zero, RA is ``-(I + II) / 3``, LA is
``(2 I - II) / 3``, LL is ``(2 II - I) / 3``, and that of a chest electrode is its lead. A lost
electrode either leaves every lead that needs it flat, as monitors show it, or picks up noise, from
which the leads then follow: a lost limb electrode moves Wilson's terminal and all chest leads too.

References
----------
.. [1] Moody GB, Muldrow WE, Mark RG. A noise stress test for arrhythmia detectors. Computers in
   Cardiology 11, 381-384 (1984). https://doi.org/10.13026/C2HS3T
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadmin.data.resample import resample
from leadmin.errors import LeadminError
from leadmin.leads import CHEST_LEADS, LEADS, LIMB_ELECTRODES, derive, electrodes_needed
from leadmin.questions.noise import NOISES

INDEPENDENT = ("I", "II", *CHEST_LEADS)
ELECTRODES = (*LIMB_ELECTRODES, *CHEST_LEADS)

_PLACES = [LEADS.index(lead) for lead in INDEPENDENT]
_THIRD = 1 / 3

Signals = NDArray[np.float32]


def read_noise(folder: Path, kind: str, sampling_rate: int = 100) -> Signals:
    """Read a noise record as (n_channels, n_samples) at a rate, in a unit of its own."""
    import wfdb  # takes a second, and most commands do without

    stem = folder / kind
    try:
        found = wfdb.rdrecord(str(stem), physical=False)
    except Exception as error:  # the library raises whatever its parsing runs into
        raise LeadminError(
            f"{stem}: not a record of the Noise Stress Test Database ({error}); valid: a folder "
            f"with {', '.join(NOISES)} as .hea and .dat; name that"
        ) from error
    return resample(found.d_signal.T.astype(np.float64), found.fs, sampling_rate).astype(np.float32)


def segments(
    noise: Signals, n_records: int, n_leads: int, n_samples: int, rng: np.random.Generator
) -> Signals:
    """Cut segments at random, (n_records, n_leads, n_samples), with mean 0 and power 1 each."""
    channel = rng.integers(len(noise), size=(n_records, n_leads))
    start = rng.integers(noise.shape[1] - n_samples + 1, size=(n_records, n_leads))
    cut = noise[channel[..., None], start[..., None] + np.arange(n_samples)]
    cut = cut - cut.mean(axis=-1, keepdims=True)
    return np.asarray(cut / cut.std(axis=-1, keepdims=True), dtype=np.float32)


def power(independent: Signals) -> NDArray[np.float64]:
    """Mean power of leads without their means, (n_records,), in the square of their unit."""
    return np.asarray(independent.astype(np.float64).var(axis=-1).mean(axis=-1))


def with_noise(signals: Signals, added: Signals, decibels: float) -> Signals:
    """Add noise at a signal-to-noise ratio; ``added`` is (n_records, 8, n_samples)."""
    clean = signals[:, _PLACES]
    factor = np.sqrt(power(clean) / power(added) / 10 ** (decibels / 10))
    return _all_leads(clean + factor[:, None, None].astype(np.float32) * added)


def leads_without(electrode: str) -> tuple[str, ...]:
    """List the leads that need a lost electrode for nothing, not even for Wilson's terminal."""
    return tuple(lead for lead in LEADS if electrode not in electrodes_needed((lead,)))


def flat_without(signals: Signals, electrode: str) -> Signals:
    """Lose an electrode on a recorder that shows each lead which needs it as flat."""
    there = np.isin(LEADS, leads_without(electrode))
    return np.asarray(signals * there[:, None].astype(np.float32))


def noisy_without(signals: Signals, electrode: str, added: Signals, decibels: float) -> Signals:
    """Lose an electrode, which picks up noise instead; ``added`` is (n_records, n_samples).

    Its power is that of the record's leads at ``decibels`` of signal-to-noise ratio.
    """
    one, two = signals[:, 0], signals[:, 1]
    limb = (-(one + two) * _THIRD, (2 * one - two) * _THIRD, (2 * two - one) * _THIRD)
    chest = (signals[:, LEADS.index(lead)] for lead in CHEST_LEADS)
    potential = dict(zip(ELECTRODES, (*limb, *chest), strict=True))
    clean = signals[:, _PLACES]
    factor = np.sqrt(power(clean) / power(added[:, None]) / 10 ** (decibels / 10))
    potential[electrode] = factor[:, None].astype(np.float32) * added
    right, left, leg = (potential[name] for name in LIMB_ELECTRODES)
    terminal = (right + left + leg) * _THIRD
    leads = [left - right, leg - right, *(potential[name] - terminal for name in CHEST_LEADS)]
    return _all_leads(np.stack(leads, axis=1))


def arms_swapped(signals: Signals) -> Signals:
    """Swap RA and LA: I turns over, II and III change places; Wilson's terminal stays."""
    changed = signals[:, _PLACES]
    changed[:, 0] = -signals[:, 0]
    changed[:, 1] = signals[:, LEADS.index("III")]
    return _all_leads(changed)


def _all_leads(independent: Signals) -> Signals:
    return derive(independent, INDEPENDENT, LEADS)
