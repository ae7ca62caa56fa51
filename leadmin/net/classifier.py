"""A trained network, ready for somebody else's record."""

import os
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from leadmin.data.faults import lead_faults, ranges_of
from leadmin.data.recordings.recording import Recording, millivolts
from leadmin.data.resample import checked_rate, resample
from leadmin.errors import LeadminError
from leadmin.leads import (
    canonical_lead,
    canonical_leads,
    derive,
    lead_indices,
    representative,
    span,
)
from leadmin.net.operating import OperatingPoints, read_operating_points, space_name
from leadmin.net.quick import QuickNetwork
from leadmin.net.reading import (
    Reading,
    at_rate,
    cut,
    pacing_notes,
    quality_notes,
    screen,
    segment_bounds,
    size_notes,
)

if TYPE_CHECKING:  # torch takes longer to import than a network to answer
    from leadmin.net.own import Network
    from leadmin.net.scaling import Scaling

_TOGETHER = 32
"""Records that are brought to the network's input at once, so that they stay in the cache."""


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

    model: "Network"
    scaling: "Scaling"
    leads: tuple[str, ...]
    sampling_rate: int
    classes: tuple[str, ...]
    window: int
    n_windows: int
    metadata: dict[str, Any]
    operating: Path | None = None

    @cached_property
    def any_leads(self) -> bool:
        """Whether the network is told which leads are shown, so that one is enough."""
        return self.model.architecture.any_leads

    @cached_property
    def quick(self) -> QuickNetwork | None:
        """The same network without torch, which it is ready for on a processor.

        None for a network of one's own, on an accelerator, or that subtracts something first.
        """
        state, looks = self.model.state_dict(), self.model.architecture
        fits = hasattr(self.model, "blocks") and min(looks.kernel, looks.stem_kernel) >= 3
        fits &= self.scaling.kind != "record" and not any(self.scaling.mean)
        if not fits or any(value.device.type != "cpu" for value in state.values()):
            return None
        arrays = {name: value.numpy() for name, value in state.items()}
        return QuickNetwork(arrays, looks.strides, self.scaling.std, self.window, self.n_windows)

    def operating_points(self, leads: Sequence[str]) -> OperatingPoints | None:
        """Give recalibration and thresholds for records with these leads.

        Those of a network for any leads depend on what ``leads`` span. Another one answers from
        its own leads, whatever else is given. None where the network has none.
        """
        if self.operating is None:
            return None
        shown = _names(leads) if self.any_leads else self.leads
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
            Voltages in ``unit``, leads in the order of ``leads``; at least as long as the network's
            window. Of records longer than ten seconds the answer is the mean of the logits of
            segments of ten seconds.
        leads : sequence of str
            Which leads ``signals`` holds, by the names that `leadmin.leads.canonical_lead` knows.
            More than the network needs is fine; order is free. Limb leads that are missing are
            derived from any two others. A network for any leads needs only one.
        sampling_rate : float
            Of ``signals``, in Hz; they are resampled to the network's.
        unit : str
            Of ``signals``: ``"mV"``, ``"uV"``, ``"µV"``, ``"V"``, or ADC units by their gain as
            WFDB headers write it, ``"200/mV"`` or ``"200(1024)/mV"``.

        Returns
        -------
        ndarray of float64, shape (n_records, n_classes)
            Probabilities as the network gives them; the classes do not exclude each other.

        Raises
        ------
        LeadminError
            If shape, unit, rate or leads do not fit, a value is no voltage of an ECG, or a lead
            that the answer stands on is flat, at rest, far from zero or has missing samples. `read`
            leaves such a lead out where it can, and says so, and what else it noticed.
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
        scale, rate = millivolts(unit), checked_rate(sampling_rate)
        used, weights = _weights(self.leads, self.any_leads, leads)
        self._check_length(x.shape[-1], rate)
        ranges = ranges_of(x, scale, unit)
        rows = [leads.index(lead) for lead in used]

        def some(first: int) -> NDArray[np.float64]:
            few = slice(first, first + _TOGETHER)
            piece = x[few, rows] if len(rows) < len(leads) else x[few][:, rows]
            faults = lead_faults(piece, rate, ranges[few][:, rows], scale)
            if faults:
                (record, lead), why = next(iter(faults.items()))
                raise LeadminError(
                    f"signals: lead {used[lead]} of record {record + first} {why}; valid: a lead "
                    "that is connected; leave it out where the network can do without it, as "
                    "`read` does"
                )
            return self._answers(piece, rate, scale, weights, used).mean(axis=1)

        firsts = range(0, len(x), _TOGETHER)
        with _blas().limit(limits=1), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            answers = list((map if len(firsts) < 2 else threads.map)(some, firsts))
        return _sigmoid(np.concatenate([np.empty((0, len(self.classes))), *answers]))

    def read(self, recording: Recording) -> Reading:
        """Read one recording, such as `leadmin.data.recordings.read_recordings` gives.

        A lead that is faulty in most segments is left out, where the network can do without it, and
        a segment in which another one is faulty; the reading says both. With operating points for
        the leads that are used, probabilities are recalibrated and have thresholds.

        Raises
        ------
        LeadminError
            With the recording's name, if it is too short, its unit cannot be right, or the leads
            and segments that are left are not enough.
        """
        try:
            return self._read(recording)
        except LeadminError as error:
            raise LeadminError(f"{recording.name}: {error}") from error

    def _read(self, recording: Recording) -> Reading:
        rate = checked_rate(recording.sampling_rate)
        self._check_length(recording.signals.shape[-1], rate)
        found = screen(recording)
        why = "; ".join(f"lead {lead} {wrong}" for lead, wrong in list(found.dropped.items())[:2])
        why += f"; and so on, {len(found.dropped)} leads in all" * (len(found.dropped) > 2)
        try:
            used, weights = _weights(self.leads, self.any_leads, found.good)
        except LeadminError as error:
            raise LeadminError(f"{why}: {error}" if why else str(error)) from error
        readable = found.readable(used)
        if not readable:
            raise LeadminError(f"no segment in which all of {', '.join(used)} can be read")
        noticed = list(recording.noticed)
        noticed += [f"lead {lead} {wrong}: left out" for lead, wrong in found.dropped.items()]
        for k in sorted(set(range(len(found.bounds))) - set(readable)):
            lead, wrong = next((n, w) for n, w in found.faults[k].items() if n in used)
            start = found.bounds[k][0]
            noticed.append(f"the segment from {start:.1f} s is left out: lead {lead} {wrong}")
        rows = [recording.leads.index(lead) for lead in found.good]
        good = at_rate(recording.signals[rows], rate, 100)
        noticed += size_notes(good, found.good)
        noticed += quality_notes(good, found.good, found.bounds, readable)
        noticed += pacing_notes(recording, found, readable)
        rows = [recording.leads.index(lead) for lead in used]
        filled = at_rate(recording.signals[rows], rate, self.sampling_rate)
        logits = self._answers(filled[None], self.sampling_rate, (1.0, 0.0), weights, used)[0]
        points = self.operating_points(used)
        summed, each = _sigmoid(logits[readable].mean(axis=0)), _sigmoid(logits)
        if points is None:
            noticed.append("no thresholds are known for this network")
        else:
            summed, each = points.recalibrate(summed), points.recalibrate(each)
        each[[k for k in range(len(each)) if k not in readable]] = np.nan
        seen = self.leads if not self.any_leads else span(used)
        return Reading(
            name=recording.name,
            classes=self.classes,
            probabilities=summed,
            recalibrated=points is not None,
            thresholds={} if points is None else points.thresholds,
            segments=each,
            starts=np.array([start for start, _ in found.bounds]),
            used=used,
            seen=seen,
            derived=tuple(lead for lead in seen if lead not in found.good),
            dropped=found.dropped,
            noticed=tuple(noticed),
        )

    def _check_length(self, n_samples: int, rate: float) -> None:
        if round(n_samples * self.sampling_rate / rate) < self.window:
            raise LeadminError(
                f"records are {n_samples / rate:.2f} s long ({n_samples} samples at {rate:g} Hz); "
                f"valid: at least {self.window / self.sampling_rate:g} s; give longer ones"
            )

    def _answers(
        self,
        x: NDArray[Any],
        rate: float,
        scale: tuple[float, float],
        weights: NDArray[np.float64],
        used: Sequence[str],
    ) -> NDArray[np.float64]:
        """Give the logits of each segment, (n_records, n_segments, n_classes)."""
        factor, baseline = scale
        recorded: NDArray[Any] = x.astype(np.float32 if rate == self.sampling_rate else np.float64)
        if baseline:
            recorded -= recorded.dtype.type(baseline)
        recorded = resample(recorded, rate, self.sampling_rate)
        bounds = segment_bounds(x.shape[-1], rate)
        pieces = cut(recorded, self.sampling_rate, bounds).swapaxes(1, 2)
        flat = pieces.reshape(-1, *pieces.shape[2:]).astype(np.float32, copy=False)
        logits = self._logits(flat, 1000 * factor * weights, used)
        if not np.isfinite(logits).all():
            raise LeadminError("the network's answer is not a finite number; check the signals")
        return logits.reshape(len(x), len(bounds), -1)

    def _logits(
        self, recorded: NDArray[np.float32], mixing: NDArray[np.float64], used: Sequence[str]
    ) -> NDArray[np.float64]:
        if self.quick is not None:
            shown = _places(tuple(used)) if self.any_leads else None
            return self.quick.logits(recorded, mixing, shown)
        import torch

        from leadmin.net.predict import predict_logits

        microvolts = torch.from_numpy(mixing.astype(np.float32) @ recorded)
        logits = predict_logits(
            self.model,
            self.scaling,
            microvolts.to(next(self.model.parameters()).device),
            self.window,
            self.n_windows,
            shown=used if self.any_leads else None,
        )
        return logits.double().cpu().numpy()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Hold the libraries that multiply; their own threads wait for each other on a busy machine."""
    return ThreadpoolController()


@lru_cache(maxsize=1024)
def _places(leads: tuple[str, ...]) -> tuple[int, ...]:
    return lead_indices(span(leads))


@lru_cache(maxsize=1024)
def _weights(
    wanted: tuple[str, ...], any_leads: bool, leads: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Say from which recorded leads the input ``wanted`` of a network follows, and how.

    Gives the leads that count and weights of shape (wanted, these leads); what does not follow
    from them has zeros.
    """
    spanned = span(leads) if leads else ()
    missing = [lead for lead in wanted if lead not in spanned]
    if not leads or (missing and not any_leads):
        raise LeadminError(
            f"leads: {', '.join(leads) or 'none'}; the network needs "
            f"{', '.join(missing) if not any_leads else 'one'} too; give them, or load the "
            "network for any leads"
        )
    # A network for any leads sees what equal sets have in common, and what follows.
    basis = representative(leads) if any_leads else leads
    follow = [row for row, lead in enumerate(wanted) if lead in spanned]
    weights = np.zeros((len(wanted), len(basis)))
    weights[follow] = derive(np.eye(len(basis)), basis, [wanted[row] for row in follow])
    weights = weights @ derive(np.eye(len(leads)), leads, basis)
    rows = np.flatnonzero(weights.any(axis=0)).tolist()
    kept = weights[:, rows]
    kept.setflags(write=False)
    return tuple(leads[row] for row in rows), kept


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(logits))  # scipy's takes 0.3 s to import
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


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
    return _canonical(names)


@lru_cache(maxsize=1024)
def _canonical(names: tuple[str, ...]) -> tuple[str, ...]:
    canonical_leads(names)
    return tuple(map(canonical_lead, names))
