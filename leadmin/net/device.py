"""Where a fit computes, and in which precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch

from leadmin.errors import LeadminError

PRECISIONS = ("auto", "float32", "bfloat16")
"""How training steps compute; ``auto`` is bfloat16 on an accelerator, float32 on a processor."""


MPS = (
    "batch norm in the layout that this network computes in crashes or errs on it, see pytorch "
    "issues 188371 and 134580"
)


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device that is there.

    Raises
    ------
    LeadminError
        If the name is not known, the device is absent, or training on it is not to be trusted.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in {"cpu", "cuda"}:
            raise RuntimeError(MPS if device.type == "mps" else "the network was never tried on it")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LeadminError(
            f"device {name!r}: it cannot be used here ({error}); valid: auto, cpu, cuda, cuda:N; "
            "choose one of them"
        ) from error
    return device


@dataclass(frozen=True)
class Computing:
    """Where and how training steps compute.

    Steps multiply in ``precision``; weights, sums and evaluation are always in float32. A processor
    without bfloat16 instructions is slower with it, so it has to be asked for there.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise LeadminError(
                f"parameter precision is {self.precision!r}; valid: {', '.join(PRECISIONS)}"
            )

    @property
    def mixed(self) -> bool:
        """Whether training steps multiply in bfloat16."""
        on_accelerator = self.device.type == "cuda"
        return self.precision == "bfloat16" or (self.precision == "auto" and on_accelerator)

    def autocast(self) -> AbstractContextManager[None]:
        """Multiply as `precision` says, for the length of a block."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Let torch draw from ``seed`` for the length of a block, and then as before."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
