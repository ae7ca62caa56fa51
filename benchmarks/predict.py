"""Time a trained network on strangers' records: one pass for each window, and ours.

    python benchmarks/predict.py [--network FOLDER] [--records 1000] [--threads 2] [--rounds 5]

* one record: ten seconds of twelve leads alone, as somebody waits for it.
* many records: all that `EcgClassifier.predict` does, from millivolts to probabilities.
* old way: the same network and input, its windows sent through one after the other.

Both sides take turns in one process, so that a machine that grows slower does so for both. Wall
and CPU seconds are medians of the rounds; on a machine with other work to do compare the latter.
"""

import argparse
import statistics
import time

import numpy as np
import torch

import leadmin
from leadmin.leads import LEADS, lead_indices, span


@torch.no_grad()
def one_pass_a_window(network, microvolts, batch_size=256):
    """Give mean logits as this package did before its windows went through together."""
    last = microvolts.shape[-1] - network.window
    starts = [round(i * last / (network.n_windows - 1)) for i in range(network.n_windows)]
    told = None
    if network.model.architecture.any_leads:
        told = torch.zeros(len(LEADS))
        told[list(lead_indices(span(LEADS)))] = 1
    answers = []
    for few in microvolts.split(batch_size):
        x = network.scaling(few.transpose(1, 2).contiguous().mT)
        mask = None if told is None else told.expand(len(x), -1)
        logits = [network.model(x[..., s : s + network.window], mask) for s in starts]
        answers.append(torch.stack(logits).mean(0))
    return torch.cat(answers)


def timed(sides, rounds):
    """Give the median wall and CPU seconds of each side, which take turns."""
    for call in sides.values():
        call()
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        n: [statistics.median(part) for part in zip(*s, strict=True)] for n, s in seconds.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="book/published/map/runs/12-lead")
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    begun = time.perf_counter()
    network = leadmin.load(given.network)
    print(f"load: {time.perf_counter() - begun:.2f} s, after numpy and torch")
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (given.records, len(network.leads), 1000)).astype(np.float32)
    for name, records in (("one record", x[:1]), (f"{given.records} records", x)):
        microvolts = torch.from_numpy(1000 * records)
        sides = {
            "old way, the network alone": lambda m=microvolts: one_pass_a_window(network, m),
            "ours, predict": lambda r=records: network.predict(
                r, leads=network.leads, sampling_rate=100
            ),
        }
        found = timed(sides, given.rounds * (10 if len(records) == 1 else 1))
        for side, (wall, cpu) in found.items():
            print(f"{name:14} {side:28} {1e3 * wall:9.2f} ms wall {1e3 * cpu:9.2f} ms CPU")
        (old, old_cpu), (ours, ours_cpu) = found.values()
        print(f"{name:14} old / ours: {old / ours:.2f} wall, {old_cpu / ours_cpu:.2f} CPU")


if __name__ == "__main__":
    main()
