"""A trained network that ships with the package, ready in a moment: torch is left for later."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from leadmin.files import sha256
from leadmin.net.classifier import EcgClassifier
from leadmin.net.quick import QuickNetwork


class ShippedClassifier(EcgClassifier):
    """A classifier whose `model` and `scaling` are read when somebody asks for them.

    It answers by `QuickNetwork`, from a folder as ``workflow/ship_networks.py`` writes it; an error
    of any kind means that the folder is no longer what was shipped.
    """

    def __init__(self, folder: Path) -> None:
        said, weights = json.loads((folder / "config.json").read_bytes()), "model.safetensors"
        looks, scaling = said["recipe"]["architecture"], said["scaling"]
        own = {name: said[name] for name in ("sampling_rate", "window", "n_windows")}
        own |= {name: tuple(said[name]) for name in ("leads", "classes")}
        state, rest = load_file(folder / weights), (own["window"], own["n_windows"])
        own["quick"] = QuickNetwork(state, looks["strides"], scaling["std"], *rest)
        own |= {"any_leads": looks["any_leads"], "metadata": said, "folder": folder}
        own["operating"] = folder / "operating.npz" if "operating_sha256" in said else None
        vars(self).update(own)
        fits = scaling["kind"] != "record" and not any(scaling["mean"])
        silence = np.zeros((1, len(self.leads), self.window), dtype=np.float32)
        tried = self._logits(silence, np.eye(len(self.leads)), self.leads)
        fits = fits and np.isfinite(tried).all() and tried.shape == (1, len(self.classes))
        if not fits or sha256(folder / weights) != said["weights_sha256"]:
            raise ValueError(folder)

    def __getattr__(self, name: str) -> Any:
        """Read the checkpoint into torch when the network or its scaling is asked for."""
        if name not in {"model", "scaling"}:
            raise AttributeError(name)
        whole = _whole(vars(self)["folder"])
        vars(self).update(model=whole.model, scaling=whole.scaling)
        return vars(self)[name]


def load_shipped(folder: Path) -> EcgClassifier:
    """Load a network that ships; where anything is amiss, `load_checkpoint` says what it is."""
    try:
        return ShippedClassifier(folder)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, SafetensorError):
        return _whole(folder)


def _whole(folder: Path) -> EcgClassifier:
    from leadmin.net.checkpoint import load_checkpoint

    return load_checkpoint(folder)
