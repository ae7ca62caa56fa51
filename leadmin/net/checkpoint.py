"""A trained network on disk: weights as safetensors, everything else as JSON beside them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json
from leadmin.net.model import Architecture, ResNet1d
from leadmin.net.training import Recipe, Scaling, predict_logits

SCHEMA_VERSION = 1

MICROVOLTS_PER = {"uV": 1.0, "mV": 1000.0, "V": 1e6}


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
            Which leads ``signals`` holds. More than the network needs is fine; order is free. A
            network that was trained with hidden leads needs only one of its own.
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
        missing = [lead for lead in self.leads if lead not in leads]
        masked = self.metadata["recipe"].get("lead_masking", False)
        if missing and not (masked and len(missing) < len(self.leads)):
            raise LeadminError(f"the network needs lead {', '.join(missing)}, given: {leads}")
        if x.shape[-1] < self.window:
            raise LeadminError(
                f"records are {x.shape[-1]} samples long; the network needs {self.window}"
            )
        if not np.isfinite(x).all():
            raise LeadminError("signals hold a value that is not a finite number")
        # A lead that is not there is one that scaling turns into zeros.
        absent = self.scaling.mean or (0.0,) * len(self.leads)
        microvolts = np.empty((len(x), len(self.leads), x.shape[-1]), dtype=np.float32)
        for position, lead in enumerate(self.leads):
            if lead in missing:
                microvolts[:, position] = absent[position]
            else:
                volts = x[:, list(leads).index(lead)].astype(np.float32)
                microvolts[:, position] = volts * np.float32(MICROVOLTS_PER[unit])
        device = next(self.model.parameters()).device
        logits = predict_logits(
            self.model,
            self.scaling,
            torch.from_numpy(microvolts).to(device),
            self.window,
            self.n_windows,
        )
        return torch.sigmoid(logits.double()).cpu().numpy()


def save_checkpoint(
    stem: Path,
    model: ResNet1d,
    scaling: Scaling,
    recipe: Recipe,
    *,
    config: str,
    leads: tuple[str, ...],
    classes: tuple[str, ...],
    sampling_rate: int,
    window: int,
    provenance: dict[str, Any],
) -> None:
    """Write ``<stem>.safetensors`` and then ``<stem>.json``.

    Parameters
    ----------
    stem : Path
        Path without suffix.
    model, scaling, recipe
        What was trained.
    config, leads, classes, sampling_rate, window
        The contract of its input and output; see `EcgClassifier`.
    provenance : dict
        Seed, fold, versions, data checksum and the like; stored as it is.
    """
    weights = stem.with_name(stem.name + ".safetensors")
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with atomic_path(weights) as temporary:
        save_file(tensors, temporary)
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "config": config,
        "leads": list(leads),
        "sampling_rate": sampling_rate,
        "unit": "uV",
        "window": window,
        "n_windows": recipe.test_windows,
        "classes": list(classes),
        "scaling": asdict(scaling),
        "recipe": asdict(recipe),
        "weights_sha256": sha256(weights),
        "provenance": provenance,
    }
    write_json(stem.with_name(stem.name + ".json"), metadata)


def load_checkpoint(path: Path, device: torch.device | None = None) -> EcgClassifier:
    """Read a checkpoint; nothing in it can run code.

    Parameters
    ----------
    path : Path
        The JSON file, the safetensors file, or their common stem.
    device : torch.device, optional
        Where to put the weights; the CPU by default.

    Raises
    ------
    LeadminError
        If a file is missing, damaged, of another schema version, or the two do not belong
        together.
    """
    stem = path.with_suffix("") if path.suffix in {".json", ".safetensors"} else path
    description = stem.with_name(stem.name + ".json")
    weights = stem.with_name(stem.name + ".safetensors")
    for file in (description, weights):
        if not file.is_file():
            raise LeadminError(f"{file}: no such checkpoint file; train the configuration first")
    try:
        metadata = json.loads(description.read_text(encoding="utf-8"))
        version = metadata["schema_version"]
        if version != SCHEMA_VERSION:
            raise LeadminError(
                f"{description}: schema_version is {version}, this software reads "
                f"{SCHEMA_VERSION}; train again or use the version that wrote it"
            )
        options: dict[str, Any] = metadata["recipe"]["architecture"]
        lists = {name: tuple(options[name]) for name in ("channels", "strides")}
        architecture = Architecture(**{**options, **lists})
        model = ResNet1d(len(metadata["leads"]), len(metadata["classes"]), architecture)
        scaling = Scaling(
            metadata["scaling"]["kind"],
            tuple(metadata["scaling"]["mean"]),
            tuple(metadata["scaling"]["std"]),
        )
        classifier = EcgClassifier(
            model,
            scaling,
            tuple(metadata["leads"]),
            metadata["sampling_rate"],
            tuple(metadata["classes"]),
            metadata["window"],
            metadata["n_windows"],
            metadata,
        )
        expected = metadata["weights_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LeadminError(
            f"{description}: not a checkpoint description ({error!r}); train again"
        ) from error
    if sha256(weights) != expected:
        raise LeadminError(
            f"{weights}: its checksum differs from weights_sha256 in {description.name}; the "
            "file is damaged or belongs to another checkpoint: train again"
        )
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise LeadminError(f"{weights}: the weights do not fit the network ({error})") from error
    model.to(device or torch.device("cpu")).eval()
    return classifier
