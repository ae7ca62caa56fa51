"""Where a fit computes, and in which precision."""

import torch

from leadmin.errors import LeadminError


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device that is there.

    Raises
    ------
    LeadminError
        If the name is not known or the device is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LeadminError(
            f"device {name!r} cannot be used here; valid: auto, cpu, cuda, cuda:N ({error})"
        ) from error
    return device


PRECISIONS = ("auto", "float32", "bfloat16")
"""How training steps compute; ``auto`` is bfloat16 on an accelerator, float32 on a processor."""


def mixed_precision(precision: str, device: torch.device) -> bool:
    """Say whether training steps multiply in bfloat16; weights and sums stay in float32.

    A processor without bfloat16 instructions is slower with it, so it has to be asked for there.

    Raises
    ------
    LeadminError
        If ``precision`` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise LeadminError(f"parameter precision is {precision!r}; valid: {', '.join(PRECISIONS)}")
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
