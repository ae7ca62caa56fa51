"""The state that lets a killed fit go on where it was."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.net.model import ResNet1d


def state_tensors(
    model: ResNet1d, average: ResNet1d, best: ResNet1d, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Gather all tensors that a fit needs to go on."""
    tensors: dict[str, Tensor] = {}
    for role, network in (("model", model), ("average", average), ("best", best)):
        tensors |= {f"{role}.{name}": value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


class Resume:
    """The state of an unfinished fit in one file: tensors, and JSON in the file's metadata."""

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = json.dumps(identity, sort_keys=True)

    def save(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Write the state; the old one stays until the new one stands."""
        if self.path is None:
            return
        metadata = {"identity": self.identity, "progress": json.dumps(progress)}
        try:
            with atomic_path(self.path) as temporary:
                save_file(tensors, temporary, metadata)
        except (SafetensorError, OSError) as error:
            raise LeadminError(
                f"{self.path}: the training state cannot be written ({error}); free some space and "
                "start again: training goes on behind the last epoch that was saved"
            ) from error

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the state, or nothing if there is none or it belongs to another fit."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("identity") != self.identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise LeadminError(
                f"{self.path}: the saved training state cannot be read ({error}); "
                "delete the file to train from the start"
            ) from error
        return tensors, json.loads(metadata["progress"])


def restore(
    tensors: dict[str, Tensor],
    networks: dict[str, ResNet1d],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put a saved state back into networks and optimizer."""
    for role, network in networks.items():
        prefix = f"{role}."
        network.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
