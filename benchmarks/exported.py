"""Time one ECG through the ONNX file and through torch, on one core, side by side.

    python benchmarks/exported.py [--network 3-lead-I-II-V2] [--leads I,V5] [--seconds 10]
                                  [--rounds 200]

* onnxruntime: the file that ``leadmin export --onnx`` writes, with recalibration.
* torch: `predict_logits` on what the file takes in: scaling, windows, network; no checks.
* predict: `EcgClassifier.predict` and `recalibrate`, with all checks of the input.

The three take turns. Medians of processor time are printed, which other work on the machine
lengthens less than the wall clock, and the ratio of torch to onnxruntime. The same for a batch of
64.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import leadmin
from leadmin.net.export import export_onnx
from leadmin.net.predict import predict_logits


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="3-lead-I-II-V2")
    parser.add_argument("--leads", default="")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = leadmin.load(options.network)
    leads = options.leads.split(",") if options.leads else list(network.leads)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        export_onnx(network, file, leads)
        size = file.stat().st_size
        one_thread = onnxruntime.SessionOptions()
        one_thread.intra_op_num_threads = one_thread.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, one_thread, providers=["CPUExecutionProvider"])
    print(f"{options.network}, leads {','.join(leads)}: {size / 1e6:.2f} MB")
    points = network.operating_points(leads)
    rng = np.random.default_rng(0)
    n_samples = round(options.seconds * network.sampling_rate)
    shown = leads if network.model.architecture.any_leads else None
    for batch in (1, 64):
        x = rng.normal(0, 300, (batch, len(leads), n_samples)).astype(np.float32)
        places = torch.zeros(batch, len(network.leads), n_samples)

        def torch_alone(places=places):
            how = (network.scaling, places, network.window, network.n_windows)
            return predict_logits(network.model, *how, shown=shown).sigmoid()

        def predict(x=x):
            p = network.predict(x, leads=leads, sampling_rate=network.sampling_rate, unit="uV")
            return points.recalibrate(p)

        sides = {
            "onnxruntime": lambda x=x: session.run(None, {"microvolts": x}),
            "torch": torch_alone,
            "predict": predict,
        }
        taken = {name: [] for name in sides}
        for _ in range(max(3, options.rounds // batch)):
            for name, side in sides.items():
                began = time.process_time()
                side()
                taken[name].append(time.process_time() - began)
        median = {name: 1000 * statistics.median(times) / batch for name, times in taken.items()}
        told = ", ".join(f"{name} {value:.2f} ms" for name, value in median.items())
        ratio = median["torch"] / median["onnxruntime"]
        print(f"batch of {batch:2}, an ECG: {told}; torch takes {ratio:.1f} times onnxruntime")


if __name__ == "__main__":
    main()
