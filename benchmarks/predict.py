"""Time a trained network on strangers' records beside torch: loading, one record, many.

    python benchmarks/predict.py [--network any-lead] [--records 1000] [--threads 2] [--rounds 5]

* loading: `import leadmin` and `load` in a new process, numpy's import included. Ours leaves torch
  for whoever asks for the network itself: its answers need none, so nothing is put off to the first
  of them, which is timed too. The reference reads the same files into torch.
* one record: ten seconds of twelve leads alone, as somebody waits for it.
* many records: all that `EcgClassifier.predict` does, from millivolts to probabilities.
* a pass a window: the same network and input in torch, its windows one after the other, and none
  of the checks. It is the reference.
* windows together: torch with all windows of a record at once, as in training.
* onnxruntime: the file that ``leadmin export --onnx`` writes, without checks.

The sides take turns, so that a machine that grows slower does so for all. Wall and CPU seconds are
medians of the rounds; on a machine with other work to do compare the latter.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_OURS = "import leadmin; network = leadmin.load({name!r})"
_REFERENCE = (
    "from pathlib import Path; import leadmin; from leadmin.net.checkpoint import load_checkpoint; "
    "network = load_checkpoint(Path(leadmin.__file__).parent / 'networks' / {name!r})"
)
_FIRST = (
    "; import numpy as np; network.predict(np.random.default_rng(0).normal(0, 0.3, "
    "(1, len(network.leads), 1000)), leads=network.leads, sampling_rate=100)"
)


def new_process(code):
    """Run Python code in a new process."""
    subprocess.run([sys.executable, "-c", code], check=True)


def one_pass_a_window(network, microvolts, batch_size=256):
    """Give mean logits as this package did before its windows went through together."""
    import torch

    from leadmin.leads import LEADS, lead_indices, span

    last = microvolts.shape[-1] - network.window
    starts = [round(i * last / (network.n_windows - 1)) for i in range(network.n_windows)]
    told = None
    if network.model.architecture.any_leads:
        told = torch.zeros(len(LEADS))
        told[list(lead_indices(span(LEADS)))] = 1
    answers = []
    with torch.no_grad():
        for few in microvolts.split(batch_size):
            x = network.scaling(few.transpose(1, 2).contiguous().mT)
            mask = None if told is None else told.expand(len(x), -1)
            logits = [network.model(x[..., s : s + network.window], mask) for s in starts]
            answers.append(torch.stack(logits).mean(0))
    return torch.cat(answers)


def cpu_seconds():
    """Processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def report(what, sides, rounds, calls=1):
    """Print each side's milliseconds, and how many times as long as ours, the last, it takes."""
    seconds = {name: [] for name in sides}
    for call in sides.values():
        call()
    for _ in range(rounds):
        for name, call in sides.items():
            wall, cpu = time.perf_counter(), cpu_seconds()
            for _ in range(calls):
                call()
            seconds[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    found = {side: [*map(statistics.median, zip(*s, strict=True))] for side, s in seconds.items()}
    ours, ours_cpu = list(found.values())[-1]
    for side, (wall, cpu) in found.items():
        print(
            f"{what:14} {side:32} {1e3 * wall / calls:9.2f} ms wall {1e3 * cpu / calls:9.2f} ms "
            f"CPU   {wall / ours:5.2f} {cpu / ours_cpu:5.2f} times ours",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="any-lead", help="name of a network that ships")
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL"):  # before any of them is imported
        os.environ[f"{library}_NUM_THREADS"] = str(given.threads)
    for what, more in (("loading", ""), ("and first answer", _FIRST)):
        codes = {"reference, torch": _REFERENCE, "ours": _OURS}
        codes = {name: code.format(name=given.network) + more for name, code in codes.items()}
        sides = {name: (lambda code=code: new_process(code)) for name, code in codes.items()}
        report(what, sides, given.rounds)

    import numpy as np
    import onnxruntime
    import torch

    import leadmin
    from leadmin.net.export import export_onnx
    from leadmin.net.predict import predict_logits

    torch.set_num_threads(given.threads)
    network = leadmin.load(given.network)
    shown = network.leads if network.any_leads else None
    how = (network.scaling, network.window, network.n_windows)
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = given.threads
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, file := Path(folder, "network.onnx"))
        session = onnxruntime.InferenceSession(file, threads, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (given.records, len(network.leads), 1000)).astype(np.float32)
    for what, records, calls in (("one record", x[:1], 20), (f"{given.records} records", x, 1)):
        microvolts = torch.from_numpy(1000 * records)
        sides = {
            "reference, a pass a window": lambda m=microvolts: one_pass_a_window(network, m),
            "torch, windows together": lambda m=microvolts: predict_logits(
                network.model, how[0], m, *how[1:], shown
            ),
            "onnxruntime, exported file": lambda m=microvolts: session.run(
                None, {"microvolts": m.numpy()}
            ),
            "ours, predict": lambda r=records: network.predict(
                r, leads=network.leads, sampling_rate=100
            ),
        }
        report(what, sides, given.rounds, calls)


if __name__ == "__main__":
    main()
