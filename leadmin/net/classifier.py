"""A trained network, ready for somebody else's record."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leadmin.data.dataset import MICROVOLTS_PER
from leadmin.errors import LeadminError
from leadmin.leads import canonical_lead, canonical_leads, derive, representative, span
from leadmin.net.own import Network
from leadmin.net.operating import OperatingPoints, read_operating_points, space_name
from leadmin.net.predict import predict_logits
from leadmin.net.scaling import Scaling

LARGEST_VOLTS = 1.0
"""Electrodes add some 0.3 V to an ECG at most; whatever is larger has another unit."""

RANGE_MILLIVOLTS = (0.05, 100.0)
"""Of a record's widest lead. In 4,373 records of PTB-XL it is 0.8 to 32 mV, so that another unit,
a thousand times larger or smaller, lies outside."""

FLAT_MILLIVOLTS = 0.01
"""A lead with a smaller range is not connected. The narrowest of those records has 0.13 mV."""


@dataclass(frozen=True)
class EcgClassifier:
    """A trained network with all that is needed to use it on somebody else's record.

    Parameters
    ----------
    model : Network
        The network, in evaluation mode.
    scaling : Scaling
        How microvolts become its input.
    leads : tuple of str
        Names of the input leads, in order.
    sampling_rate : int
        Hz.
    classes : tuple of str
        Names of the outputs, in order.
    window : int
        Samples that the network sees at once.
    n_windows : int
        Windows over which logits are averaged.
    metadata : dict
        The whole JSON file.
    operating : Path, optional
        The file of its operating points.
    """

    model: Network
    scaling: Scaling
    leads: tuple[str, ...]
    sampling_rate: int
    classes: tuple[str, ...]
    window: int
    n_windows: int
    metadata: dict[str, Any]
    operating: Path | None = None

    def operating_points(self, leads: Sequence[str]) -> OperatingPoints | None:
        """Give recalibration and thresholds for records with these leads.

        Those of a network for any leads depend on what ``leads`` span. Another one answers from
        its own leads, whatever else is given. None where the network has none.
        """
        if self.operating is None:
            return None
        shown = _names(leads) if self.model.architecture.any_leads else self.leads
        table = read_operating_points(self.operating, self.metadata["operating_sha256"])
        return table[space_name(shown)]

    def predict(
        self,
        signals: NDArray[Any],
        *,
        leads: tuple[str, ...] | list[str],
        sampling_rate: float,
        unit: str = "mV",
    ) -> NDArray[np.float64]:
        """Give the probability of each class for each record.

        Parameters
        ----------
        signals : ndarray, shape (n_records, n_leads, n_samples) or (n_leads, n_samples)
            Voltages in ``unit``, leads in the order of ``leads``.
        leads : sequence of str
            Which leads ``signals`` holds, by the names that `leadmin.leads.canonical_lead` knows.
            More than the network needs is fine; order is free. Limb leads that are missing are
            derived from any two others. A network for any leads needs only one.
        sampling_rate : float
            Of ``signals``, in Hz; must be the network's.
        unit : {"mV", "uV", "V"}
            Unit of ``signals``.

        Returns
        -------
        ndarray of float64, shape (n_records, n_classes)
            Probabilities; the classes do not exclude each other.

        Raises
        ------
        LeadminError
            If shape, unit, rate or leads do not fit, a value is no voltage of an ECG, or a lead is
            flat.
        """
        x, leads = _real_numbers(signals), _names(leads)
        if x.ndim == 2:
            x = x[None]
        if x.ndim != 3 or x.shape[1] != len(leads):
            turned = x.ndim == 3 and x.shape[2] == len(leads)
            raise LeadminError(
                f"signals: shape {np.shape(signals)}; valid: (n_records, {len(leads)}, n_samples) "
                f"for the leads {', '.join(leads)}; "
                + ("transpose them" if turned else "name the leads that they hold")
            )
        if not isinstance(unit, str) or unit not in MICROVOLTS_PER:
            raise LeadminError(f"unit {unit!r} is not known; valid: {', '.join(MICROVOLTS_PER)}")
        if not isinstance(sampling_rate, Real) or sampling_rate != self.sampling_rate:
            raise LeadminError(
                f"signals are sampled at {sampling_rate} Hz, the network at {self.sampling_rate} "
                "Hz; resample them first, for instance with scipy.signal.resample_poly"
            )
        spanned = span(leads)
        missing = [lead for lead in self.leads if lead not in spanned]
        any_leads = self.model.architecture.any_leads
        if missing and not any_leads:
            raise LeadminError(
                f"leads: {', '.join(leads)}; the network needs {', '.join(missing)} too; give "
                "them, or load the network for any leads"
            )
        if x.shape[-1] < self.window:
            raise LeadminError(
                f"records are {x.shape[-1]} samples long; the network needs {self.window}"
            )
        _check_voltages(x, unit, leads)
        if not len(x):
            return np.empty((0, len(self.classes)))
        recorded = x.astype(np.float64)
        recorded *= MICROVOLTS_PER[unit]
        basis = leads
        if any_leads:  # it sees what equal sets have in common, and what follows
            basis = representative(leads)
            recorded = derive(recorded, leads, basis)
        there = [position for position, lead in enumerate(self.leads) if lead in spanned]
        microvolts = np.zeros((len(x), len(self.leads), x.shape[-1]), dtype=np.float32)
        microvolts[:, there] = derive(recorded, basis, [self.leads[i] for i in there])
        device = next(self.model.parameters()).device
        logits = predict_logits(
            self.model,
            self.scaling,
            torch.from_numpy(microvolts).to(device),
            self.window,
            self.n_windows,
            shown=leads if any_leads else None,
        )
        if not logits.isfinite().all():
            raise LeadminError("the network's answer is not a finite number; check the signals")
        return torch.sigmoid(logits.double()).cpu().numpy()


def _real_numbers(signals: Any) -> NDArray[Any]:
    """Give ``signals`` as an array of real numbers; refuse what is something else."""
    try:
        x = np.asarray(signals)
        if x.dtype == object:
            x = x.astype(np.float64)
    except Exception as error:  # whatever an object's own conversion raises
        raise LeadminError(
            f"signals are no array of numbers ({str(error)[:200]}); give a numpy array"
        ) from error
    masked = isinstance(signals, np.ma.MaskedArray) and signals.mask.any()
    if masked or x.dtype.kind not in "iuf":
        kind = "an array with masked values" if masked else f"of type {x.dtype}"
        raise LeadminError(f"signals are {kind}; valid: real numbers, none missing; convert them")
    return x


def _names(leads: Any) -> tuple[str, ...]:
    """Give ``leads`` as different names of leads; refuse what is something else."""
    names = () if isinstance(leads, str) or not isinstance(leads, Iterable) else tuple(leads)
    if not names or not all(isinstance(name, str) for name in names) or isinstance(leads, Set):
        raise LeadminError(f"leads is {str(leads)[:80]!r}; valid: a list of names such as ['I']")
    canonical_leads(names)
    return tuple(map(canonical_lead, names))


def _check_voltages(x: NDArray[Any], unit: str, leads: tuple[str, ...]) -> None:
    """Refuse what no electrode at the skin gives, lead by lead to save memory.

    That is NaN and infinity, voltages and ranges of another unit, and a lead that rests.
    """
    ranges = np.empty(x.shape[:2])  # mV
    for position in range(x.shape[1]):
        with np.errstate(over="ignore"):
            volts = x[:, position].astype(np.float64) * (MICROVOLTS_PER[unit] / 1e6)
        if not np.isfinite(volts).all():
            raise LeadminError("signals hold a value that is not a finite number")
        largest = np.abs(volts).max(initial=0.0)
        if largest > LARGEST_VOLTS:
            raise LeadminError(
                f"signals reach {largest:.3g} V; valid: up to {LARGEST_VOLTS:g} V; check that "
                f"their unit is {unit}"
            )
        ranges[:, position] = 1e3 * np.ptp(volts, axis=1)
    low, high = RANGE_MILLIVOLTS
    widest = ranges.max(axis=1, initial=0.0)
    for record in np.flatnonzero((widest > 0) & ((widest < low) | (widest > high))):
        fits = (u for u, size in MICROVOLTS_PER.items()
                if low <= widest[record] * size / MICROVOLTS_PER[unit] <= high)  # fmt: skip
        raise LeadminError(
            f"signals: record {record} has a range of {widest[record]:.3g} mV if their unit is "
            f"{unit}; valid: {low:g} to {high:g} mV; the unit is probably {next(fits, 'another')}"
        )
    for record, position in np.argwhere(ranges < FLAT_MILLIVOLTS):
        raise LeadminError(
            f"signals: lead {leads[position]} of record {record} is flat; valid: a lead that is "
            "connected; leave it out where the network can do without it"
        )
