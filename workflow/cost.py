"""What a network costs: parameters, arithmetic, time on one core, size on disk.

None of it depends on the values of the weights, so a network that was never trained says the same
as a trained one of its kind.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from leadmin.labels import CLASSES
from leadmin.leads import LEADS, configurations
from leadmin.net.model import ResNet1d, count_parameters
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import RECIPES, window_samples
from leadmin.net.scaling import Scaling
from leadmin.study.mapping import ANY_LEAD

SAMPLING_RATE, SECONDS = 100, 10
BATCH = 128
"""Records at once, where many are read."""


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-adds of one forward pass, layer by layer as it runs.

    Convolutions and linear layers count; normalisation, which folds into them, and sums do not.
    """
    total = 0

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * weight[0].numel()

    layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, layers)]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def fastest(function: Callable[[], Any], repeats: int) -> float:
    """Give the processor time of a call in milliseconds: the least of some repeats.

    It does not count while others have the processor.
    """
    function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(1000 * (time.process_time() - started))
    return min(times)


def costs(repeats: int = 20) -> list[dict[str, Any]]:
    """Measure the network for any leads and the network of each configuration, on one core.

    Rows with ``network, n_leads, n_parameters``; ``mflop`` for an ECG of 10 s, a multiply-add being
    two operations; ``ms_alone`` and ``ms_of_many``, milliseconds of processor time for an ECG, one
    at a time and `BATCH` at once; ``kilobytes`` as safetensors.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        kinds = {ANY_LEAD: (ANY_LEAD, len(LEADS))}
        kinds |= {name: ("default", len(one.leads)) for name, one in configurations().items()}
        return [{"network": name} | _cost(*kind, repeats) for name, kind in kinds.items()]
    finally:
        torch.set_num_threads(threads)


def _cost(recipe_name: str, n_leads: int, repeats: int) -> dict[str, Any]:
    recipe, n_samples = RECIPES[recipe_name], SAMPLING_RATE * SECONDS
    model = ResNet1d(n_leads, len(CLASSES), recipe.architecture).eval()
    window = window_samples(recipe, SAMPLING_RATE, n_samples)
    n_windows = recipe.test_windows if window < n_samples else 1
    scaling = Scaling("factor", (0.0,) * n_leads, (1.0,) * n_leads)
    shown = LEADS if recipe.architecture.any_leads else None

    def milliseconds(n_records: int) -> float:
        signals = torch.zeros(n_records, n_leads, n_samples)
        call = (model, scaling, signals, window, n_windows, shown, BATCH)
        return fastest(lambda: predict_logits(*call), repeats) / n_records

    return {
        "n_leads": n_leads,
        "n_parameters": count_parameters(model),
        "mflop": 2e-6 * n_windows * multiply_adds(model, torch.zeros(1, n_leads, window)),
        "ms_alone": milliseconds(1),
        "ms_of_many": milliseconds(BATCH),
        "kilobytes": len(save(model.state_dict())) / 1000,
    }
