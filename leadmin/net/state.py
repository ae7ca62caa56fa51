"""All that changes while a network is fitted, and the file that lets a killed fit go on."""

import copy
import hashlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.net.own import Network
from leadmin.net.recipes import Recipe


class FitState(nn.Module):
    """All that changes while ``model``, as it is before its first step, is fitted.

    ``model`` is what the optimizer moves, ``average`` follows it, ``best`` holds the weights to
    keep so far, those of ``best_epoch``. ``history`` is described at `leadmin.net.fit.Fit`.
    """

    def __init__(self, model: Network, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.model = recipe, model
        self.average, self.best = copy.deepcopy(model), copy.deepcopy(model)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.history: list[dict[str, float]] = []
        self.best_score, self.best_epoch = -math.inf, 0
        self._followed, self._following = _moving(model), _moving(self.average)

    @property
    def judged(self) -> Network:
        """The network that is evaluated: the average, where the recipe keeps one."""
        return self.average if self.recipe.averaging else self.model

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or patience is at its end."""
        done, patience = len(self.history), self.recipe.patience
        return done >= self.recipe.epochs or bool(
            patience and done and done - self.best_epoch >= patience
        )

    def follow(self, step: int) -> None:
        """Move the average towards the model, behind a step counted from 0."""
        # The average starts short-sighted, so that the random start is forgotten.
        weight = 1 - min(self.recipe.averaging, (step + 2) / (step + 11))
        with torch.no_grad():
            for average, current in zip(self._following, self._followed, strict=True):
                torch._foreach_lerp_(average, current, weight)

    def add(self, entry: dict[str, float]) -> None:
        """Add an epoch to the history and keep its weights if they are the best, or the last."""
        self.history.append(entry)
        score = entry["validation_auroc"]
        if not self.recipe.patience or score > self.best_score:
            self.best_score, self.best_epoch = score, int(entry["epoch"])
            self.best.load_state_dict(self.judged.state_dict())


def _moving(model: Network) -> tuple[list[Tensor], list[Tensor]]:
    """List what an average follows: parameters; means and variances without step counters."""
    return list(model.parameters()), [b for b in model.buffers() if b.dtype.is_floating_point]


def _checksum(tensors: dict[str, Tensor], progress: str) -> str:
    """Compute the SHA-256 of a state; the identity stands for itself, as it is compared."""
    total = hashlib.sha256(progress.encode())
    for name, value in sorted(tensors.items()):
        total.update(name.encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


class StateFile:
    """The state of an unfinished fit on disk: tensors, and JSON in the file's metadata.

    Parameters
    ----------
    path : Path, optional
        The file; without one nothing is kept.
    identity : dict
        What the numbers of the fit depend on, ready for JSON.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = json.dumps(identity, sort_keys=True)

    def save(self, state: FitState) -> None:
        """Write the state; the old one stays until the new one stands."""
        if self.path is None:
            return
        tensors = dict(state.state_dict())
        for number, moments in state.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        names = ("history", "best_score", "best_epoch")
        progress = json.dumps({name: getattr(state, name) for name in names})
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        metadata = {"identity": self.identity, "progress": progress}
        metadata["checksum"] = _checksum(tensors, progress)
        try:
            with atomic_path(self.path) as temporary:
                save_file(tensors, temporary, metadata)
        except (SafetensorError, OSError) as error:
            raise LeadminError(
                f"{self.path}: the training state cannot be written ({error}); free some space and "
                "start again: training goes on behind the last epoch that was saved"
            ) from error

    def restore(self, state: FitState) -> None:
        """Put what was saved into ``state``, unless there is nothing or it is of another fit.

        A damaged state is not gone on from: it is said, and the fit starts from the beginning.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _checksum(tensors, metadata["progress"]) != metadata["checksum"]:
                raise ValueError("its checksum differs")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            problem = f"the saved training state is damaged ({error}); the fit starts again"
            warnings.warn(f"{self.path}: {problem}", stacklevel=3)
            return
        if metadata.get("identity") != self.identity:
            return
        moments: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            _, number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensors.pop(name)
        state.load_state_dict(tensors)
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        for name, value in json.loads(metadata["progress"]).items():
            setattr(state, name, value)
