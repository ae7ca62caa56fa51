"""Train the networks that ship with the package, on every record of the published study.

    python workflow/ship_networks.py train --data outputs/data/ptb-xl-subset-100hz.h5

Killed and called again it goes on where it was. See `leadmin.study.shipping`.
"""

import argparse
from pathlib import Path

import torch

from leadmin.data.dataset import load_dataset
from leadmin.leads import configurations, signal_spaces
from leadmin.net.recipes import RECIPES
from leadmin.study.run import load_run
from leadmin.study.shipping import tested_logits, train_on_everything

SCRATCH = Path("outputs/shipping")


def train(data: Path, scratch: Path) -> None:
    """Train the any-lead network, and from it one for each configuration."""
    dataset = load_dataset(data)
    checkpoints = scratch / "checkpoints"
    start = checkpoints / "any-lead"

    def note(entry: dict[str, float]) -> None:
        print(f"{entry['epoch']:4.0f} {entry['train_loss']:.4f} {entry['seconds']:.1f} s")

    train_on_everything(dataset, "12-lead", RECIPES["any-lead"], start, on_epoch=note)
    for name in configurations(beyond=True):
        print(name, flush=True)
        train_on_everything(dataset, name, RECIPES["default"], checkpoints / name, start, note)


def score(data: Path, run: Path, scratch: Path, workers: int) -> None:
    """Score the networks of a cross-validated any-lead run on all 511 signal spaces."""
    sets = {space.name: space.leads for space in signal_spaces()}
    tested_logits(load_run(run), load_dataset(data), sets, scratch / "scored", workers)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["train", "score"])
    parser.add_argument("--data", type=Path, required=True, help="prepared HDF5 file")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="folder of what is between")
    parser.add_argument("--run", type=Path, help="cross-validated run of the recipe any-lead")
    parser.add_argument("--workers", type=int, default=1, help="networks scored side by side")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step == "train":
        train(chosen.data, chosen.scratch)
    else:
        score(chosen.data, chosen.run, chosen.scratch, chosen.workers)


if __name__ == "__main__":
    main()
