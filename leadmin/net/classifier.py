"""A trained network, ready for somebody else's record."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leadmin.data.dataset import MICROVOLTS_PER
from leadmin.errors import LeadminError
from leadmin.leads import LEADS, derive, representative, span
from leadmin.net.model import ResNet1d
from leadmin.net.predict import predict_logits
from leadmin.net.scaling import Scaling


@dataclass(frozen=True)
class EcgClassifier:
    """A trained network with all that is needed to use it on somebody else's record.

    Parameters
    ----------
    model : ResNet1d
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
    """

    model: ResNet1d
    scaling: Scaling
    leads: tuple[str, ...]
    sampling_rate: int
    classes: tuple[str, ...]
    window: int
    n_windows: int
    metadata: dict[str, Any]

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
            Which leads ``signals`` holds. More than the network needs is fine; order is free. Limb
            leads that are missing are derived from any two others. A network for any leads needs
            only one.
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
            If shape, unit, rate or leads do not fit, or a value is not finite.
        """
        x = np.asarray(signals)
        if x.ndim == 2:
            x = x[None]
        if x.ndim != 3 or x.shape[1] != len(leads):
            raise LeadminError(
                f"signals must have the shape (n_records, {len(leads)}, n_samples) for the leads "
                f"{', '.join(leads)}; they have {np.shape(signals)}"
            )
        if unit not in MICROVOLTS_PER:
            raise LeadminError(f"unit {unit!r} is not known; valid: {', '.join(MICROVOLTS_PER)}")
        if sampling_rate != self.sampling_rate:
            raise LeadminError(
                f"signals are sampled at {sampling_rate} Hz, the network at {self.sampling_rate} "
                "Hz; resample them first, for instance with scipy.signal.resample_poly"
            )
        known = [lead for lead in leads if lead in LEADS]
        spanned = span(known) if known else ()
        missing = [lead for lead in self.leads if lead not in spanned]
        any_leads = self.metadata["recipe"].get("lead_masking", False)
        if missing and not (any_leads and known):
            raise LeadminError(f"the network needs lead {', '.join(missing)}, given: {leads}")
        if x.shape[-1] < self.window:
            raise LeadminError(
                f"records are {x.shape[-1]} samples long; the network needs {self.window}"
            )
        if not np.isfinite(x).all():
            raise LeadminError("signals hold a value that is not a finite number")
        recorded = x[:, [list(leads).index(lead) for lead in known]].astype(np.float64)
        # What equivalent sets of leads have in common, from which all other leads follow.
        basis = representative(known)
        recorded = derive(recorded * MICROVOLTS_PER[unit], known, basis)
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
            shown=known if any_leads else None,
        )
        return torch.sigmoid(logits.double()).cpu().numpy()
