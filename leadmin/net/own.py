"""A network of one's own in place of the study's, through the same fit, evidence and pages.

**The contract.** A class, found as ``module:Class`` or ``file.py:Class``:

- ``Class(n_leads, n_classes)`` makes a `torch.nn.Module` with random weights;
- called with scaled signals ``(batch, n_leads, n_samples)`` it gives logits ``(batch, n_classes)``,
  for any batch and for windows of the recipe's length;
- its ``state_dict`` holds all that it has learned, and no more is kept.

Only a study file or a parameter names such a class. What a checkpoint says of one is words: nothing
is imported for it, and whoever loads it hands in the class.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from leadmin.errors import LeadminError
from leadmin.net.model import Architecture, ResNet1d

MakeNetwork = Callable[[int, int], nn.Module]
"""The class of a network, or any function of leads and classes that gives one."""

_TREE = Path(__file__).resolve().parents[2]


class OwnNetwork(nn.Module):
    """Puts a network of one's own where the study's stands.

    It reads the leads of one configuration, all of them shown.
    """

    architecture = Architecture()  # of which only `any_leads` is asked

    def __init__(self, n_leads: int, n_classes: int, make: MakeNetwork) -> None:
        super().__init__()
        self.n_leads = n_leads
        try:
            self.network = make(n_leads, n_classes)
        except Exception as error:  # whatever somebody else's code raises
            wrong = f"cannot be made of {n_leads} leads and {n_classes} classes"
            raise _broken(make, wrong, error) from error
        if not isinstance(self.network, nn.Module):
            raise _broken(make, f"gives {type(self.network).__name__}, no torch.nn.Module")

    def forward(self, x: Tensor, shown: Tensor | None = None) -> Tensor:
        """Map scaled signals ``(batch, n_leads, n_samples)`` to logits ``(batch, n_classes)``."""
        logits: Tensor = self.network(x)
        return logits


Network: TypeAlias = ResNet1d | OwnNetwork
"""What is fitted, applied and kept."""


def own_network(n_leads: int, n_classes: int, make: MakeNetwork, window: int) -> OwnNetwork:
    """Make a network of one's own and try it on silence, ``window`` samples long."""
    model = OwnNetwork(n_leads, n_classes, make)
    training = model.training
    model.eval()
    with torch.no_grad():
        try:
            logits = model(torch.zeros(2, n_leads, window))
        except Exception as error:
            wrong = f"fails on a batch of shape (2, {n_leads}, {window})"
            raise _broken(make, wrong, error) from error
    model.train(training)
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, n_classes) or not logits.is_floating_point() or not logits.isfinite().all():
        raise _broken(make, f"answers a batch of 2 with shape {shape} or with NaN")
    if not any(p.requires_grad for p in model.parameters()):
        raise _broken(make, "has nothing to train")
    return model


def _broken(make: Any, wrong: str, error: Exception | None = None) -> LeadminError:
    name = getattr(make, "__name__", str(make))
    reason = f" ({type(error).__name__}: {str(error)[:200]})" if error is not None else ""
    return LeadminError(
        f"network {name}: it {wrong}{reason}; valid: a class of leads and classes whose network "
        "maps (batch, n_leads, n_samples) to finite logits (batch, n_classes); correct it"
    )


def source_file(name: str) -> Path:
    """Find the file of ``module:Class`` or ``file.py:Class``, without running anything of it."""
    place, _, class_name = name.rpartition(":")
    valid = "valid: module:Class or file.py:Class, seen from here; change it"
    if not place or not class_name.isidentifier():
        raise LeadminError(f"network {name!r}: this names no class; {valid}")
    path = Path(place) if place.endswith(".py") else Path(*place.split(".")).with_suffix(".py")
    found = [file for file in (path, _TREE / path) if file.is_file()]
    if found:
        return found[0].resolve()
    if not place.endswith(".py") and all(part.isidentifier() for part in place.split(".")):
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            return Path(spec.origin)
    raise LeadminError(f"network {name!r}: there is no file {path}; {valid}")


def source_sha256(name: str) -> str:
    """Compute the SHA-256 of the file that a network of one's own stands in."""
    return hashlib.sha256(source_file(name).read_bytes()).hexdigest()


def find_network(name: str) -> MakeNetwork:
    """Run the file of ``module:Class`` and give the class.

    Never called with a name out of a checkpoint.
    """
    file, class_name = source_file(name), name.rpartition(":")[2]
    spec = importlib.util.spec_from_file_location(f"own_network_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise LeadminError(f"network {name!r}: {file} is no Python file; change it")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LeadminError(
            f"network {name!r}: {file} does not run ({type(error).__name__}: {str(error)[:200]}); "
            "correct it"
        ) from error
    make = getattr(module, class_name, None)
    if not callable(make):
        raise LeadminError(f"network {name!r}: {file} has no class {class_name}; change it")
    found: MakeNetwork = make
    return found
