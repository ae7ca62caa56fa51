"""What a network costs: parameters, arithmetic, time on one core, size on disk.

Of the networks that ship.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

import leadmin
from leadmin.net.export import export_onnx
from leadmin.net.model import count_parameters
from leadmin.net.predict import predict_logits

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
    two operations; milliseconds of processor time for an ECG: ``ms_alone`` and ``ms_of_many``
    through `EcgClassifier.predict`, one at a time and `BATCH` at once, ``ms_torch`` and ``ms_onnx``
    one at a time through the network in torch and through its ONNX file; ``kilobytes`` as
    safetensors.
    """
    torch.set_num_threads(1)
    return [{"network": name} | _cost(name, repeats) for name in leadmin.networks()]


def _cost(name: str, repeats: int) -> dict[str, Any]:
    network = leadmin.load(name)
    leads, model = network.leads, network.model
    x = np.random.default_rng(0).normal(0, 300, (BATCH, len(leads), 1000)).astype(np.float32)

    def predicted(few: NDArray[np.float32]) -> float:
        def predict() -> Any:
            return network.predict(few, leads=leads, sampling_rate=100, unit="uV")

        return fastest(predict, repeats) / len(few)

    alone = torch.from_numpy(x[:1])
    shown = leads if network.any_leads else None
    call = (model, network.scaling, alone, network.window, network.n_windows, shown)
    with TemporaryDirectory() as folder:
        export_onnx(network, file := Path(folder, "network.onnx"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return {
        "n_leads": len(leads),
        "n_parameters": count_parameters(model),
        "mflop": 2e-6 * network.n_windows * multiply_adds(model, alone[..., : network.window]),
        "ms_alone": predicted(x[:1]),
        "ms_torch": fastest(lambda: predict_logits(*call), repeats),
        "ms_onnx": fastest(lambda: session.run(None, {"microvolts": x[:1]}), repeats),
        "ms_of_many": predicted(x),
        "kilobytes": len(save(model.state_dict())) / 1000,
    }
