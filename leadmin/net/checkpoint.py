"""A trained network on disk: weights as safetensors, everything else as JSON beside them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import Architecture, ResNet1d
from leadmin.net.recipes import Recipe, recipe_identity
from leadmin.net.scaling import Scaling

SCHEMA_VERSION = 1


def save_checkpoint(
    stem: Path,
    classifier: EcgClassifier,
    recipe: Recipe,
    config: str,
    provenance: dict[str, Any],
) -> None:
    """Write ``<stem>.safetensors`` and then ``<stem>.json``.

    Parameters
    ----------
    stem : Path
        Path without suffix.
    classifier : EcgClassifier
        What was trained, with the contract of its input and output. Its ``metadata`` is what is
        written here, so nothing is read from it.
    recipe : Recipe
        How it was trained.
    config : str
        Name of the lead configuration.
    provenance : dict
        Seed, fold, versions, data checksum and the like; stored as it is.
    """
    weights = stem.with_name(stem.name + ".safetensors")
    state = classifier.model.state_dict()
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    with atomic_path(weights) as temporary:
        save_file(tensors, temporary)
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "config": config,
        "leads": list(classifier.leads),
        "sampling_rate": classifier.sampling_rate,
        "unit": "uV",
        "window": classifier.window,
        "n_windows": classifier.n_windows,
        "classes": list(classifier.classes),
        "scaling": asdict(classifier.scaling),
        "recipe": recipe_identity(recipe),
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
