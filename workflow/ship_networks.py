"""Train the networks that ship with the package on every record, and describe them.

    python workflow/ship_networks.py train --data FILE
    python workflow/ship_networks.py write --data FILE --run outputs/map

``train`` leaves checkpoints in ``outputs/shipping``: the any-lead network, and from it one for each
configuration. ``write`` makes ``leadmin/networks`` of them. ``--run`` is an any-lead run in
cross-validation, with its checkpoints, on the same data: its networks answer the records that they
had not seen, on all 511 signal spaces. Killed and called again, both go on where they were.
"""

import argparse
from pathlib import Path

import torch

from leadmin.data.dataset import load_dataset
from leadmin.leads import configurations, resolve, signal_spaces
from leadmin.net.recipes import RECIPES
from leadmin.publish.shipping import (
    CrossValidation,
    ship,
    tested_logits,
    train_on_everything,
)
from leadmin.study.run import load_run

ANY_LEAD, DEFAULT = "any-lead", "default"

THESE_RUNS = (
    "The networks of this cross-validation answered all 511 signal spaces; the table has those of "
    "the named configurations. Sets that follow from each other, such as I, II and all six limb "
    "leads, are one signal space."
)
PUBLISHED_RUNS = (
    "These are the published runs of the recipe. Its networks start from an any-lead network, and "
    "theirs was trained by an earlier version of that recipe than the one that ships."
)


def train(data: Path, scratch: Path) -> None:
    """Train the any-lead network, and from it one for each configuration."""
    dataset = load_dataset(data)
    start = scratch / "checkpoints" / ANY_LEAD

    def note(entry: dict[str, float]) -> None:
        print(f"{entry['epoch']:4.0f} {entry['train_loss']:.4f} {entry['seconds']:.1f} s")

    train_on_everything(dataset, "12-lead", RECIPES[ANY_LEAD], start, on_epoch=note)
    for name in configurations(beyond=True):
        print(name, flush=True)
        target = start.with_name(name)
        train_on_everything(dataset, name, RECIPES[DEFAULT], target, start, on_epoch=note)


def write(data: Path, scratch: Path, run: Path, published: Path, target: Path) -> None:
    """Write the folders of all networks that are trained and whose cross-validation is there."""
    checkpoints, spaces = scratch / "checkpoints", signal_spaces()
    validated = load_run(run)
    sets = {space.name: space.leads for space in spaces}
    logits = tested_logits(validated, load_dataset(data), sets, scratch / "scored", workers=2)
    told = [space.name for space in spaces if not {",", " "} & set(space.name)]
    known = CrossValidation(
        validated, dict(zip(sets, logits, strict=True)), sorted(told, key=order), THESE_RUNS
    )
    print(ship(ANY_LEAD, checkpoints / ANY_LEAD, known, target))
    for name in configurations():
        one = load_run(published / name)
        answers = {name: one.test.logits[DEFAULT][0]}
        known = CrossValidation(one, answers, [name], PUBLISHED_RUNS)
        print(ship(name, checkpoints / name, known, target))


def order(name: str) -> int:
    """Give the place of a lead set in a table: the larger sets first."""
    return -len(resolve(name).leads)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["train", "write"])
    parser.add_argument("--data", type=Path, required=True, help="prepared HDF5 file")
    parser.add_argument("--scratch", type=Path, default=Path("outputs/shipping"))
    parser.add_argument("--run", type=Path, default=Path("outputs/map"))
    parser.add_argument("--published", type=Path, default=Path("book/published/subset/runs"))
    parser.add_argument("--to", type=Path, default=Path("leadmin/networks"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step == "train":
        train(chosen.data, chosen.scratch)
    else:
        write(chosen.data, chosen.scratch, chosen.run, chosen.published, chosen.to)


if __name__ == "__main__":
    main()
