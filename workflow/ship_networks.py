"""Train the networks that ship with the package on every record, and describe them.

    python workflow/ship_networks.py train --data FILE
    python workflow/ship_networks.py write --spaces outputs/map-spaces/map

``train`` leaves checkpoints in ``outputs/shipping``: the any-lead network, and from it one for each
configuration. ``write`` makes ``leadmin/networks`` of them, with what cross-validation knows of the
two recipes: of ``default`` from published runs, of ``any-lead`` from a published map of electrode
sets, and for the other signal spaces from a map of all, ``--spaces``. Killed and called again,
``train`` goes on where it was.
"""

import argparse
from pathlib import Path

import torch
from shipping import answers_of, ship, train_on_everything

from leadmin.data.dataset import load_dataset
from leadmin.leads import configurations, resolve
from leadmin.net.recipes import RECIPES
from leadmin.study.run import load_run, require_same_records

ANY_LEAD, DEFAULT = "any-lead", "default"

STARTS = (
    "These are the published runs of the recipe `default`. Each of their networks starts from the "
    "any-lead network of its own fold; these weights start from the one that ships."
)


def train(data: Path, scratch: Path, names: list[str]) -> None:
    """Train the any-lead network, and from it one for each configuration that is named."""
    dataset = load_dataset(data)
    start = scratch / "checkpoints" / ANY_LEAD

    def note(entry: dict[str, float]) -> None:
        print(f"{entry['epoch']:4.0f} {entry['train_loss']:.4f} {entry['seconds']:.1f} s")

    train_on_everything(dataset, "12-lead", RECIPES[ANY_LEAD], start, on_epoch=note)
    for name in names:
        print(name, flush=True)
        target = start.with_name(name)
        train_on_everything(dataset, name, RECIPES[DEFAULT], target, start, on_epoch=note)


def write_any_lead(chosen: argparse.Namespace) -> None:
    """Write the folder of the any-lead network."""
    mapped, spaces = load_run(chosen.map), load_run(chosen.spaces)
    require_same_records([mapped, spaces])
    answers, others = (
        {resolve(name).name: answers_of(one, name) for name in one.recipes}
        for one in (mapped, spaces)
    )
    told = [name for name in configurations(beyond=True) if name in answers]
    note = (
        f"All {len(mapped.test.fold):,} records were answered for every signal space, each by the "
        f"network that had not seen it: for the {len(answers)} sets that electrodes give by those "
        f"of the published map, for the other {len(others) - len(answers)} by networks of the "
        "same recipe that were trained once more. Sets that follow from each other, such as I, II "
        "and all six limb leads, are one signal space."
    )
    checkpoint = chosen.scratch / "checkpoints" / ANY_LEAD
    ship(chosen.to / ANY_LEAD, checkpoint, mapped, others | answers, told, note)


def write(chosen: argparse.Namespace) -> None:
    """Write the folders of the any-lead network and of the configurations that are named."""
    write_any_lead(chosen)
    for name in chosen.only:
        run = load_run(chosen.runs / name)
        checkpoint = chosen.scratch / "checkpoints" / name
        ship(chosen.to / name, checkpoint, run, {name: answers_of(run, DEFAULT)}, [name], STARTS)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["train", "write"])
    parser.add_argument("--data", type=Path, help="prepared HDF5 file, for train")
    parser.add_argument("--only", nargs="*", default=list(configurations()), help="configurations")
    parser.add_argument("--scratch", type=Path, default=Path("outputs/shipping"))
    parser.add_argument("--spaces", type=Path, default=Path("outputs/map-spaces/map"))
    parser.add_argument("--map", type=Path, default=Path("book/published/subset/map"))
    parser.add_argument("--runs", type=Path, default=Path("book/published/subset/runs"))
    parser.add_argument("--to", type=Path, default=Path("leadmin/networks"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step == "train":
        if chosen.data is None:
            parser.error("train needs --data, a prepared HDF5 file")
        train(chosen.data, chosen.scratch, chosen.only)
    else:
        write(chosen)


if __name__ == "__main__":
    main()
