"""Time one epoch of training against a DataLoader and against a bare loop, side by side.

    python benchmarks/training.py [--data FILE] [--records N] [--epochs 5] [--threads 2]
                                  [--config 12-lead] [--device cpu] [--rounds 3]

Equal architecture, records, batches, crops and threads; an epoch is the training steps and one
look at the validation records. Each side runs in a process of its own, in turn, so that peak memory
is its own and a machine that grows slower does so for all.

* ours: `leadmin.training.fit` with everything on: scaling, random crops, noise, averaged weights,
  a saved state after each epoch.
* loader: a PyTorch `Dataset` of float32 arrays in memory with scaling, crop and noise in numpy,
  one record at a time, behind a `DataLoader`; without workers and with one per thread, the faster
  counts.
* bare: one scaled float32 tensor, an index, a crop, forward, backward, step; no noise, no averaged
  weights, no state.

`--records N` repeats the records up to N, for timings only. The arithmetic limit is the time that
the step's floating-point operations would take at the speed of a large matrix product.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from leadmin.leads import lead_indices, resolve
from leadmin.model import ResNet1d
from leadmin.study import open_dataset, splits
from leadmin.training import RECIPES, fit, fit_scaling, predict_logits

RECIPE = RECIPES["default"]
CROP = 250


class Records(Dataset):
    """What most published code does: one record at a time, augmented in numpy."""

    def __init__(self, signals, labels, factor):
        self.signals = [record.astype(np.float32) for record in signals]
        self.labels, self.factor = labels.astype(np.float32), factor
        self.rng = np.random.default_rng()

    def __len__(self):
        return len(self.signals)

    def __getitem__(self, index):
        x = self.signals[index] / self.factor
        start = self.rng.integers(0, x.shape[-1] - CROP + 1)
        x = x[:, start : start + CROP]
        x = x + RECIPE.noise * self.rng.standard_normal(x.shape, dtype=np.float32)
        return torch.from_numpy(x), torch.from_numpy(self.labels[index])


def prepared(options):
    """Give the records, the configuration and the split of the benchmark."""
    dataset = open_dataset(options.data)
    if options.records:
        index = np.arange(options.records) % len(dataset.record_id)
        dataset = dataset.select(index)
    configuration = resolve(options.config)
    (split,) = splits(dataset, "holdout", "any")
    return dataset, configuration, split


def new_network(n_leads, device):
    model = ResNet1d(n_leads, 5, RECIPE.architecture).to(device)
    return model, torch.optim.AdamW(
        model.parameters(), RECIPE.learning_rate, weight_decay=RECIPE.weight_decay
    )


def step(model, optimizer, x, y, device):
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(x)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def run_ours(dataset, configuration, split, epochs, device):
    with tempfile.TemporaryDirectory() as folder:
        done = fit(
            dataset,
            configuration,
            replace(RECIPE, epochs=epochs),
            split.train,
            split.validation,
            device=device,
            state_path=Path(folder) / "state.safetensors",
        )
    return [entry["seconds"] for entry in done.history]


def run_others(dataset, configuration, split, epochs, device, workers):
    """Train with the loader if ``workers`` is a number, or else with the bare loop."""
    leads = list(lead_indices(configuration.leads))
    signals = dataset.signals[:, leads]
    scaling = fit_scaling("factor", signals[split.train])
    validation = torch.from_numpy(signals[split.validation]).to(device)
    labels = dataset.labels["any"]
    model, optimizer = new_network(len(leads), device)
    if workers is None:
        x_all = scaling(torch.from_numpy(signals[split.train])).to(device)
        y_all = torch.from_numpy(labels[split.train]).float().to(device)
    else:
        records = Records(signals[split.train], labels[split.train], scaling.std[0])
        loader = DataLoader(
            records,
            RECIPE.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
    times = []
    for _ in range(epochs):
        started = time.perf_counter()
        model.train()
        if workers is None:
            for batch in torch.randperm(len(x_all)).split(RECIPE.batch_size):
                index = batch.to(device)
                starts = torch.randint(0, x_all.shape[-1] - CROP + 1, (len(batch),), device=device)
                windows = x_all[index].unfold(-1, CROP, 1)
                x = windows[torch.arange(len(batch), device=device), :, starts]
                step(model, optimizer, x, y_all[index], device)
        else:
            for x, y in loader:
                step(model, optimizer, x.to(device), y.to(device), device)
        predict_logits(model, scaling, validation, CROP, 4).cpu()
        times.append(time.perf_counter() - started)
    return times


def child(options):
    """Run one side and print its times and its peak memory."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    dataset, configuration, split = prepared(options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    arguments = (dataset, configuration, split, options.epochs, device)
    if options.side == "ours":
        seconds = run_ours(*arguments)
    else:
        workers = {"bare": None, "loader": 0, "loader-workers": options.threads}[options.side]
        seconds = run_others(*arguments, workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"seconds": seconds[1:], "peak_mb": peak / 1024, "before_mb": before / 1024}))


def arithmetic_limit(n_leads, threads):
    """Operations of one step, and the speed of a large matrix product, in units of 1e9."""
    torch.set_num_threads(threads)
    model, _ = new_network(n_leads, torch.device("cpu"))
    x, y = torch.randn(RECIPE.batch_size, n_leads, CROP), torch.zeros(RECIPE.batch_size, 5)
    with FlopCounterMode(display=False) as counter:
        functional.binary_cross_entropy_with_logits(model(x), y).backward()
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    speeds = []
    for _ in range(7):
        started = time.perf_counter()
        a @ b
        speeds.append(2 * 2048**3 / (time.perf_counter() - started))
    return counter.get_total_flops() / 1e9, statistics.median(speeds) / 1e9


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="")
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--config", default="12-lead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", choices=["ours", "bare", "loader", "loader-workers"])
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first one is a warm-up and not counted")
    if options.side:
        child(options)
        return
    _, configuration, split = prepared(options)
    n_steps = -(-len(split.train) // RECIPE.batch_size)
    print(
        f"{configuration.name}, {len(split.train):,} training and {len(split.validation):,} "
        f"validation records, {n_steps} steps an epoch, {options.threads} threads, {options.device}"
    )
    sides: dict[str, dict] = {}
    for _ in range(options.rounds):
        for side in ("ours", "bare", "loader", "loader-workers"):
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            result = json.loads(answer.stdout.splitlines()[-1])
            kept = sides.setdefault(side, {"seconds": [], "peak_mb": 0.0})
            kept["seconds"] += result["seconds"]
            kept["peak_mb"] = max(kept["peak_mb"], result["peak_mb"])
    medians = {side: statistics.median(kept["seconds"]) for side, kept in sides.items()}
    for side, kept in sides.items():
        low, high = min(kept["seconds"]), max(kept["seconds"])
        print(
            f"{side:15} {medians[side]:7.3f} s an epoch [{low:.3f}, {high:.3f}]  peak "
            f"{kept['peak_mb']:6.0f} MB"
        )
    loader = min(medians["loader"], medians["loader-workers"])
    print(f"loader / ours   {loader / medians['ours']:.2f}")
    print(f"ours / bare     {medians['ours'] / medians['bare']:.2f}")
    if options.device == "cpu":
        work, speed = arithmetic_limit(len(configuration.leads), options.threads)
        per_step = medians["ours"] / n_steps
        print(
            f"arithmetic: {work:.2f} GFLOP a step at {speed:.0f} GFLOP/s would take "
            f"{1000 * work / speed:.1f} ms; ours takes {1000 * per_step:.1f} ms with its share of "
            f"validation: {100 * work / speed / per_step:.0f}% of the limit"
        )


if __name__ == "__main__":
    main()
