"""Train the networks that ship with the package, on every record of the published study.

    python workflow/ship_networks.py train --data outputs/data/ptb-xl-subset-100hz.h5

Killed and called again it goes on where it was. See `leadmin.study.shipping`.
"""

import argparse
from pathlib import Path

import torch

from leadmin.data.dataset import load_dataset
from leadmin.leads import configurations
from leadmin.net.recipes import RECIPES
from leadmin.study.shipping import train_on_everything

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


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["train"])
    parser.add_argument("--data", type=Path, required=True, help="prepared HDF5 file")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="folder of what is between")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    train(chosen.data, chosen.scratch)


if __name__ == "__main__":
    main()
