"""Time the training of all eleven configurations at the size of the full PTB-XL.

    python benchmarks/configurations.py [--data FILE] [--records 21799] [--device auto] [--epochs N]

The records are repeated up to the size asked for, so that the figures are about speed alone. What
is timed is `fit` with everything on, for the any-lead network and then, from its weights, for each
configuration, one after the other on one device. Taking the records to the device is part of each
fit. With `--epochs` a shorter training is timed, and the time of the whole recipe extrapolated from
its median epoch; the output says so.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from leadmin.leads import configurations, resolve
from leadmin.net.device import Computing, choose_device
from leadmin.net.fit import FitJob, fit
from leadmin.net.recipes import RECIPES
from leadmin.study.protocol import splits
from leadmin.study.sources import open_dataset


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="")
    parser.add_argument("--records", type=int, default=21_799)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=0)
    options = parser.parse_args()
    device = choose_device(options.device)
    dataset = open_dataset(options.data)
    dataset = dataset.select(np.arange(options.records) % len(dataset))
    (split,) = splits(dataset, "holdout", "any")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"{name}: {len(split.train):,} training and {len(split.validation):,} validation records")
    total, start = 0.0, None
    plan = [("any-lead", "12-lead"), *(("default", config) for config in configurations())]
    for recipe_name, config in plan:
        recipe = RECIPES[recipe_name]
        asked = replace(recipe, epochs=min(options.epochs or recipe.epochs, recipe.epochs))
        began = time.perf_counter()
        done = fit(
            dataset,
            FitJob(resolve(config), asked, split.train, split.validation),
            computing=Computing(device),
            start=start,
        )
        seconds = time.perf_counter() - began
        epoch = statistics.median(entry["seconds"] for entry in done.history)
        whole = seconds + epoch * (recipe.epochs - asked.epochs)
        total += whole
        if recipe_name == "any-lead":
            start = replace(done, metadata={"weights_sha256": "benchmark"})
        what = config if recipe_name == "default" else recipe_name
        print(f"{what:16} {recipe.epochs:4} epochs {whole:8.1f} s {1000 * epoch:8.1f} ms an epoch")
    note = " (extrapolated)" if options.epochs else ""
    print(f"all together{note} {total:.1f} s")


if __name__ == "__main__":
    main()
