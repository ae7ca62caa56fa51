"""A trained network on disk: weights as safetensors, everything else as JSON beside them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator, with_config
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json
from leadmin.leads import LEADS
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import Architecture, ResNet1d, count_parameters
from leadmin.net.own import MakeNetwork, Network, own_network
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import Recipe, recipe_identity
from leadmin.net.scaling import Scaling

SCHEMA_VERSION = 1
MOST_PARAMETERS = 5_000_000
"""What a checkpoint may ask for: ten times the largest network of this study."""

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_Names = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(min_length=1, max_length=100),
]


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class _Architecture(Architecture):
    """The network's options, no others than this version knows, none larger than makes sense."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if len(numbers) > 64 or not all(0 <= number <= 1024 for number in numbers):
                raise ValueError(f"numbers from 0 to 1024, at most 64 of {name}")
            if isinstance(value, float) and value >= 1:
                raise ValueError(f"{name} below 1")


class _OwnNetwork(BaseModel):
    model_config = _STRICT
    name: Annotated[str, Field(max_length=200)]


class _Recipe(BaseModel):
    model_config = _STRICT
    architecture: _Architecture
    network: _OwnNetwork | None = None


class _Scaling(BaseModel):
    model_config = _STRICT
    kind: Literal["record", "lead", "factor"]
    mean: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...]
    std: tuple[Annotated[float, Field(ge=1e-3, le=1e6)], ...]


class _Description(BaseModel):
    """What has to be known of a checkpoint's JSON before a network is built from it."""

    model_config = _STRICT
    schema_version: Literal[1]
    leads: _Names
    sampling_rate: Annotated[int, Field(ge=1, le=100_000)]
    unit: Literal["uV"]
    window: Annotated[int, Field(ge=1, le=50_000)]
    n_windows: Annotated[int, Field(ge=1, le=1000)]
    classes: _Names
    scaling: _Scaling
    recipe: _Recipe
    weights_sha256: str

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("leads", "classes"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name}, each once")
        n_numbers = 0 if self.scaling.kind == "record" else len(self.leads)
        if not len(self.scaling.mean) == len(self.scaling.std) == n_numbers:
            raise ValueError(f"{n_numbers} numbers each for scaling.mean and scaling.std")
        if self.recipe.architecture.any_leads and self.leads != LEADS:
            raise ValueError("the twelve leads in their usual order, for a network for any leads")
        return self


def save_checkpoint(
    stem: Path,
    classifier: EcgClassifier,
    recipe: Recipe,
    config: str,
    provenance: dict[str, Any],
) -> None:
    """Write ``<stem>.safetensors`` and then ``<stem>.json``: what `load_checkpoint` gives back.

    Parameters
    ----------
    stem : Path
        Path without suffix.
    classifier : EcgClassifier
        The network and the contract of its input and output; its metadata are not used.
    recipe, config
        How and for which lead configuration it was trained.
    provenance : dict
        Seed, fold, versions, data checksum and the like; stored as it is.
    """
    weights = stem.with_name(stem.name + ".safetensors")
    network = classifier.model.state_dict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.items()}
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


def load_checkpoint(
    path: Path, device: torch.device | None = None, network: MakeNetwork | None = None
) -> EcgClassifier:
    """Read a checkpoint; nothing in it can run code.

    Parameters
    ----------
    path : Path
        The JSON file, the safetensors file, their common stem, or a folder in the form of the
        Hugging Face hub, with ``config.json`` and ``model.safetensors``.
    device : torch.device, optional
        Where to put the weights; the CPU by default.
    network : callable, optional
        The class of a network of one's own, see `leadmin.net.own`; the checkpoint of one needs it,
        and whatever name stands in it is not looked for.

    Raises
    ------
    LeadminError
        If a file is missing, damaged, of another schema version, holds what no network of this
        version has, or the two do not belong together.
    """
    stem = path.with_suffix("") if path.suffix in {".json", ".safetensors"} else path
    description = stem.with_name(stem.name + ".json")
    weights = stem.with_name(stem.name + ".safetensors")
    if path.is_dir():
        description, weights = path / "config.json", path / "model.safetensors"
    for file in (description, weights):
        if not file.is_file():
            raise LeadminError(f"{file}: no such checkpoint file; train the configuration first")
    text = description.read_bytes()
    try:
        stored = _Description.model_validate_json(text)
    except ValidationError as error:
        raise LeadminError(
            f"{description}: {_in_words(error)}; train again or use the version that wrote it"
        ) from error
    n_leads = len(stored.leads)
    model = _empty_network(stored, network, description)
    if sha256(weights) != stored.weights_sha256:
        raise LeadminError(
            f"{weights}: its checksum differs from weights_sha256 in {description.name}; the "
            "file is damaged or belongs to another checkpoint: train again"
        )
    scaling = Scaling(stored.scaling.kind, stored.scaling.mean, stored.scaling.std)
    model.load_state_dict(_read_weights(weights, model))
    tried = predict_logits(model, scaling, torch.zeros(1, n_leads, stored.window), stored.window)
    if not tried.isfinite().all():
        raise LeadminError(f"{weights}: the network answers NaN to silence; train again")
    metadata = json.loads(text)
    return EcgClassifier(
        model.to(device or torch.device("cpu")).eval(),
        scaling,
        stored.leads,
        stored.sampling_rate,
        stored.classes,
        stored.window,
        stored.n_windows,
        metadata,
        path / "operating.npz" if "operating_sha256" in metadata else None,
    )


def _empty_network(stored: _Description, network: MakeNetwork | None, description: Path) -> Network:
    """Make the network that a checkpoint describes, or of the class that was handed in for it."""
    n_leads, n_classes = len(stored.leads), len(stored.classes)
    own = stored.recipe.network
    if (own is None) != (network is None):
        raise LeadminError(
            f"{description}: a class was handed in, and this is a network of the study's; valid: "
            "without a class; leave it out"
            if own is None
            else f"{description}: this network is somebody's own, called {own.name!r}; valid: "
            "together with its class, as nothing in a checkpoint is imported; hand it in as network"
        )
    if network is not None:
        return own_network(n_leads, n_classes, network, stored.window)
    architecture = Architecture(**asdict(stored.recipe.architecture))
    try:
        with torch.device("meta"):  # counted before there is anything
            n_parameters = count_parameters(ResNet1d(n_leads, n_classes, architecture))
        if n_parameters > MOST_PARAMETERS:
            raise ValueError(f"{n_parameters} parameters; valid: up to {MOST_PARAMETERS}")
        return ResNet1d(n_leads, n_classes, architecture)
    except (ValueError, TypeError) as error:
        raise LeadminError(
            f"{description}: recipe.architecture: {error}; train again or use the version that "
            "wrote it"
        ) from error


def _read_weights(file: Path, model: Network) -> dict[str, torch.Tensor]:
    """Read weights that are those of ``model`` by name, shape and type, and finite."""
    try:
        found = load_file(file)
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise LeadminError(f"{file}: no safetensors file ({error}); train again") from error
    wanted = model.state_dict()
    for name in wanted | found:
        if name not in found or name not in wanted:
            wrong = "is missing" if name in wanted else "is none of the network's"
        elif (found[name].shape, found[name].dtype) != (wanted[name].shape, wanted[name].dtype):
            shapes = [f"{tuple(t.shape)} of {t.dtype}" for t in (found[name], wanted[name])]
            wrong = f"is {shapes[0]}; valid: {shapes[1]}"
        elif not found[name].isfinite().all():
            wrong = "holds a value that is not a finite number"
        else:
            continue
        raise LeadminError(f"{file}: the weight {name} {wrong}; train again")
    return found


def _in_words(error: ValidationError) -> str:
    """Say what is wrong with the first field that is not valid."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "the text"
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "json_invalid":
        return f"it is not JSON ({problem['ctx']['error']})"
    valid = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    kind = "the text " if isinstance(problem["input"], str) else ""
    return f"{field} is {kind}{repr(problem['input'])[:80]}; valid: {valid}"
