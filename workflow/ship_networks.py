"""Train the networks that ship with the package on every record, and describe them.

    python workflow/ship_networks.py train --data FILE
    python workflow/ship_networks.py write --data FILE --run outputs/subset/runs/any-lead

``train`` leaves checkpoints in ``outputs/shipping``: the any-lead network, and from it one for each
configuration. ``write`` makes ``leadmin/networks`` of them, with what cross-validation knows of the
two recipes: of ``default`` from published runs, of ``any-lead`` from a published map of electrode
sets, and for the other signal spaces from the networks of that map, ``--run``, which answer the
records that they had not seen. Killed and called again, both go on where they were.
"""

import argparse
from pathlib import Path

import torch
from shipping import (
    CrossValidation,
    answers_of,
    score,
    ship,
    train_on_everything,
)

from leadmin.data.dataset import load_dataset
from leadmin.leads import configurations, resolve, signal_spaces
from leadmin.net.recipes import RECIPES
from leadmin.study.run import load_run

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
    run, mapped = load_run(chosen.run), load_run(chosen.map)
    answers = {resolve(name).name: answers_of(mapped, name) for name in mapped.recipes}
    told = [name for name in configurations(beyond=True) if name in answers]
    rest = {s.name: s.leads for s in signal_spaces() if s.name not in answers}
    scored = chosen.scratch / "scored"
    answers |= score(run, load_dataset(chosen.data), rest, scored, chosen.folds, chosen.workers)
    rows = answers[next(iter(rest))].rows
    n_folds = len(set(run.test.fold[rows].tolist()))
    note = (
        f"All {len(run.test.fold):,} records were answered for the {len(mapped.recipes)} sets that "
        f"electrodes give; for the other {len(rest)} signal spaces it was {len(rows):,}, of "
        f"{n_folds} of the ten folds. Sets that follow from each other, such as I, II and all six "
        "limb leads, are one signal space."
    )
    known = CrossValidation(mapped, answers, told, note)
    print(ship(ANY_LEAD, chosen.scratch / "checkpoints" / ANY_LEAD, known, chosen.to))


def write(chosen: argparse.Namespace) -> None:
    """Write the folders of the any-lead network and of the configurations that are named."""
    write_any_lead(chosen)
    for name in chosen.only:
        run = load_run(chosen.runs / name)
        known = CrossValidation(run, {name: answers_of(run, DEFAULT)}, [name], STARTS)
        print(ship(name, chosen.scratch / "checkpoints" / name, known, chosen.to))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["train", "write"])
    parser.add_argument("--data", type=Path, required=True, help="prepared HDF5 file")
    parser.add_argument("--only", nargs="*", default=list(configurations()), help="configurations")
    parser.add_argument("--scratch", type=Path, default=Path("outputs/shipping"))
    parser.add_argument("--run", type=Path, default=Path("outputs/subset/runs/any-lead"))
    parser.add_argument("--folds", type=int, nargs="*", default=[], help="of --run; default: all")
    parser.add_argument("--workers", type=int, default=1, help="networks that answer side by side")
    parser.add_argument("--map", type=Path, default=Path("book/published/subset/map"))
    parser.add_argument("--runs", type=Path, default=Path("book/published/subset/runs"))
    parser.add_argument("--to", type=Path, default=Path("leadmin/networks"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step == "train":
        train(chosen.data, chosen.scratch, chosen.only)
    else:
        write(chosen)


if __name__ == "__main__":
    main()
