"""Time one epoch of training against a DataLoader and against a bare loop, side by side.

    python benchmarks/training.py [--data FILE] [--records N] [--epochs 5] [--threads 2]
                                  [--config 12-lead] [--device cpu] [--rounds 3]
                                  [--precision float32]

Equal architecture, records, batches, crops and threads; an epoch is the training steps and one
look at the validation records. Each side runs in a process of its own, in turn, so that peak memory
is its own and a machine that grows slower does so for all.

* ours: `fit` with everything on: scaling, random crops, noise, averaged weights,
  a saved state after each epoch.
* ours, folds at once: as many fits side by side as there are threads, one thread each, which is
  what ``workers`` and the workflow do with folds, seeds and configurations. Seconds are wall time
  for one epoch of one fit: what an epoch takes, divided by the number of fits.
* loader: the same network as `torch.nn.Conv1d` writes it, a `Dataset` of float32 arrays in memory
  with scaling, crop and noise in numpy, one record at a time, behind a `DataLoader`; without
  workers and with one per thread, the faster counts.
* bare: our network and one scaled float32 tensor, an index, a crop, forward, backward, step; no
  noise, no averaged weights, no state.

`--records N` repeats the records up to N, for timings only. The arithmetic limit is the time that
the step's floating-point operations would take at the speed of a large matrix product.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from leadmin.leads import lead_indices, resolve
from leadmin.net.device import PRECISIONS, Computing, choose_device
from leadmin.net.fit import FitJob, fit
from leadmin.net.model import ResNet1d
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import RECIPES
from leadmin.net.scaling import fit_scaling
from leadmin.study.protocol import splits
from leadmin.study.sources import open_dataset

RECIPE = RECIPES["scratch"]
CROP = 250
SIDES = ("ours", "ours, folds at once", "bare", "loader", "loader, workers")


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


class PlainBlock(nn.Module):
    """`leadmin.net.model.ResidualBlock` in the layers of the textbook."""

    def __init__(self, n_in, n_out, stride, a, skip_probability):
        super().__init__()
        padding = a.kernel // 2
        self.conv1 = nn.Conv1d(n_in, n_out, a.kernel, stride, padding, bias=False)
        self.norm1 = nn.BatchNorm1d(n_out)
        self.dropout = nn.Dropout1d(a.spatial_dropout)
        self.conv2 = nn.Conv1d(n_out, n_out, a.kernel, 1, padding, bias=False)
        self.norm2 = nn.BatchNorm1d(n_out)
        self.skip_probability = skip_probability
        pool = nn.AvgPool1d(stride, ceil_mode=True)
        projection = nn.Conv1d(n_in, n_out, 1, bias=False)
        self.shortcut = nn.Sequential(pool, projection, nn.BatchNorm1d(n_out))

    def forward(self, x):  # noqa: D102
        correction = functional.relu(self.norm1(self.conv1(x)))
        correction = self.norm2(self.conv2(self.dropout(correction)))
        if self.training:
            keep = 1 - self.skip_probability
            kept = torch.rand(len(x), 1, 1, device=x.device) < keep
            correction = correction * kept / keep
        return functional.relu(correction + self.shortcut(x))


class PlainNetwork(nn.Sequential):
    """`leadmin.net.model.ResNet1d` in the layers of the textbook; takes the same weights."""

    def __init__(self, n_leads):
        a = RECIPE.architecture
        conv = nn.Conv1d(n_leads, a.stem_channels, a.stem_kernel, 2, a.stem_kernel // 2, bias=False)
        norm = nn.BatchNorm1d(a.stem_channels)
        widths, n = (a.stem_channels, *a.channels), len(a.channels)
        blocks = [
            PlainBlock(widths[i], widths[i + 1], a.strides[i], a, a.stochastic_depth * (i + 1) / n)
            for i in range(n)
        ]
        super().__init__()
        stem = OrderedDict(conv=conv, norm=norm, relu=nn.ReLU(), pool=nn.MaxPool1d(2))
        self.stem = nn.Sequential(stem)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(a.dropout), nn.Linear(widths[-1], 5)
        )

    def forward(self, x, shown=None):  # noqa: D102
        return super().forward(x)


def check_equal_architecture(n_leads):
    """Refuse to compare networks that differ: same weights, same logits, or an error."""
    ours, plain = ResNet1d(n_leads, 5, RECIPE.architecture).eval(), PlainNetwork(n_leads).eval()
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(8, n_leads, CROP)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-3, atol=1e-4)


def prepared(options):
    """Give the records, the configuration and the split of the benchmark."""
    dataset = open_dataset(options.data)
    if options.records:
        index = np.arange(options.records) % len(dataset.record_id)
        dataset = dataset.select(index)
    configuration = resolve(options.config)
    (split,) = splits(dataset, "holdout", "any")
    return dataset, configuration, split


def step(model, optimizer, x, y, device):
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(x)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def run_ours(options, seed=0):
    """Train one fit and give the seconds of each epoch."""
    dataset, configuration, split = prepared(options)
    recipe = replace(RECIPE, epochs=options.epochs)
    computing = Computing(choose_device(options.device), options.precision)
    with tempfile.TemporaryDirectory() as folder:
        done = fit(
            dataset,
            FitJob(configuration, recipe, split.train, split.validation, seed),
            computing=computing,
            state_path=Path(folder) / "state.safetensors",
        )
    return [entry["seconds"] for entry in done.history]


def one_of_several(options, seed):
    torch.set_num_threads(1)
    return run_ours(options, seed), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run_at_once(options):
    """Train one fit per thread side by side; seconds are those of one epoch of one fit."""
    n = options.threads
    with multiprocessing.get_context("spawn").Pool(n) as pool:
        done = pool.starmap(one_of_several, [(options, seed) for seed in range(n)], chunksize=1)
    seconds = [statistics.mean(times) / n for times in zip(*(d[0] for d in done), strict=True)]
    return seconds, sum(d[1] for d in done)


def run_others(options, workers):
    """Train with the loader if ``workers`` is a number, or else with the bare loop."""
    dataset, configuration, split = prepared(options)
    device = torch.device(options.device)
    leads = list(lead_indices(configuration.leads))
    signals = dataset.signals[:, leads]
    scaling = fit_scaling("factor", signals[split.train])
    validation = torch.from_numpy(signals[split.validation]).to(device)
    labels = dataset.labels["any"]
    if workers is None:
        model = ResNet1d(len(leads), 5, RECIPE.architecture).to(device)
        x_all = scaling(torch.from_numpy(signals[split.train])).to(device)
        y_all = torch.from_numpy(labels[split.train]).float().to(device)
        n_records, n_leads, n_samples = x_all.shape
        windows = x_all.transpose(1, 2).flatten().unfold(0, CROP * n_leads, n_leads)

        def batches():
            for batch in torch.randperm(n_records).tensor_split(-(-n_records // RECIPE.batch_size)):
                starts = torch.randint(0, n_samples - CROP + 1, (len(batch),))
                first = (batch * n_samples + starts).to(device)
                x = windows[first].view(-1, CROP, n_leads).transpose(1, 2)
                yield x, y_all[batch.to(device)]

    else:
        model = PlainNetwork(len(leads)).to(device)
        records = Records(signals[split.train], labels[split.train], scaling.std[0])
        loader = DataLoader(
            records,
            RECIPE.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        batches = loader.__iter__
    optimizer = torch.optim.AdamW(
        model.parameters(), RECIPE.learning_rate, weight_decay=RECIPE.weight_decay
    )
    times = []
    for _ in range(options.epochs):
        started = time.perf_counter()
        model.train()
        for x, y in batches():
            step(model, optimizer, x.to(device), y.to(device), device)
        predict_logits(model, scaling, validation, CROP, 4).cpu()
        times.append(time.perf_counter() - started)
    return times


def child(options):
    """Run one side and print its times and its peak memory."""
    torch.set_num_threads(options.threads)
    if options.side == "ours, folds at once":
        seconds, peak = run_at_once(options)
    else:
        workers = {"bare": None, "loader": 0, "loader, workers": options.threads}
        ours = options.side == "ours"
        seconds = run_ours(options) if ours else run_others(options, workers[options.side])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    answer = {"seconds": seconds[1:], "peak_mb": peak / 1024}
    print(json.dumps(answer))


def arithmetic_limit(n_leads, threads):
    """Operations of one step, and the speed of a large matrix product, in units of 1e9."""
    torch.set_num_threads(threads)
    model = ResNet1d(n_leads, 5, RECIPE.architecture)
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
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--side", choices=SIDES)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first one is a warm-up and not counted")
    if options.side:
        child(options)
        return
    _, configuration, split = prepared(options)
    check_equal_architecture(len(configuration.leads))
    n_steps = -(-len(split.train) // RECIPE.batch_size)
    print(
        f"{configuration.name}, {len(split.train):,} training and {len(split.validation):,} "
        f"validation records, {n_steps} steps an epoch, {options.threads} threads, "
        f"{options.device}; ours in precision {options.precision}"
    )
    sides: dict[str, dict] = {}
    for _ in range(options.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(answer.stdout.splitlines()[-1])
            kept = sides.setdefault(side, {"seconds": [], "peak_mb": 0.0})
            kept["seconds"] += result["seconds"]
            kept["peak_mb"] = max(kept["peak_mb"], result["peak_mb"])
    medians = {side: statistics.median(kept["seconds"]) for side, kept in sides.items()}
    for side, kept in sides.items():
        low, high = min(kept["seconds"]), max(kept["seconds"])
        print(
            f"{side:20} {medians[side]:7.3f} s an epoch [{low:.3f}, {high:.3f}]  peak "
            f"{kept['peak_mb']:6.0f} MB"
        )
    loader = min(medians["loader"], medians["loader, workers"])
    print(f"loader / ours, folds at once  {loader / medians['ours, folds at once']:.2f}")
    print(f"loader / ours                 {loader / medians['ours']:.2f}")
    print(f"ours / bare                   {medians['ours'] / medians['bare']:.2f}")
    if options.device == "cpu":
        work, speed = arithmetic_limit(len(configuration.leads), options.threads)
        for side in ("ours", "ours, folds at once"):
            per_step = medians[side] / n_steps
            print(
                f"arithmetic: {work:.2f} GFLOP a step at {speed:.0f} GFLOP/s would take "
                f"{1000 * work / speed:.1f} ms; {side}: {1000 * per_step:.1f} ms with its share "
                f"of validation, {100 * work / speed / per_step:.0f}% of the limit"
            )


if __name__ == "__main__":
    main()
