r"""Try the any-lead networks on other hospitals, noise and lost electrodes, and publish the page.

    python workflow/measure_elsewhere.py --networks outputs/subset/runs/any-lead --data PTBXL.h5 \
        --map book/published/subset/map --hospitals external-12-lead.zip --nstdb nstdb --publish

Three trials (`workflow/trials.py`), each a folder below ``--to`` that is kept where it is
there already; then the notebook is executed. With ``--publish`` the page and what it is computed
from replace ``book/published/elsewhere``. ``--readers`` names other networks for the hospitals,
such as one that was trained on everything; by default those of the run. The step ``shipped`` asks
the networks that ship for the same records, one at a time through `predict`. The step
``taught``, which has to be asked for, trains networks with noise (`workflow/taught.py`) where
``--taught`` lacks them, and sets them beside the others.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import torch
from cost import costs
from disturbances import read_noise
from hospitals import read_hospitals
from taught import compare, teach
from trials import (
    load_networks,
    loss_conditions,
    noise_conditions,
    through_the_door,
    try_hospitals,
    try_own,
)

from leadmin.data.dataset import load_dataset
from leadmin.errors import LeadminError
from leadmin.evidence.trials import LEAST
from leadmin.files import sha256
from leadmin.net.device import choose_device
from leadmin.publish.publishing import publish_trials
from leadmin.questions.noise import NOISES
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import Run, load_run
from leadmin.study.validity import finish_run, read_metrics

ROOT = Path(__file__).resolve().parent.parent
TRIALS = ("hospitals", "noise", "fallen")
STEPS = (*TRIALS, "shipped", "costs")
TAUGHT = "taught"


def measure(chosen: argparse.Namespace) -> None:
    """Run the trials that are not there."""
    run, mapped = load_run(chosen.networks), load_run(chosen.map)
    dataset = load_dataset(chosen.data)
    runs = chosen.to / "runs"

    def said(*sources: Path) -> dict[str, Any]:
        return {
            "provenance": describe_environment() | {"data": describe_data(dataset)},
            "identity": {"networks": run.identity, "sources": [sha256(one) for one in sources]},
        }

    def tried(name: str, make: Callable[[Path], Run]) -> None:
        out, started = runs / name, time.perf_counter()
        if name in chosen.trials and not (out / "metrics.json").is_file():
            make(out)
            print(f"{name}: {time.perf_counter() - started:.0f} s")

    def add(name: str, **more: Any) -> None:
        found = read_metrics(runs / name)
        finish_run(runs / name, found | more, found["files"])

    noises = {kind: read_noise(chosen.nstdb, kind) for kind in NOISES}
    recorded = [chosen.nstdb / f"{kind}.dat" for kind in NOISES]
    tried(
        "hospitals",
        lambda out: try_hospitals(
            load_networks(chosen.readers or chosen.networks),
            read_hospitals(chosen.hospitals),
            dataset,
            mapped,
            out,
            said(chosen.hospitals),
        ),
    )
    if "shipped" in chosen.trials:
        records = read_hospitals(chosen.hospitals)
        add("hospitals", shipped=through_the_door(records, load_run(runs / "hospitals"), LEAST))
    if "costs" in chosen.trials:  # of the machine at hand, so they are measured each time
        add("hospitals", costs=costs())
    n, noise, loss = chosen.records, noise_conditions(noises), loss_conditions(noises["em"])
    tried("noise", lambda out: try_own(run, dataset, noise, n, out, said(*recorded)))
    if TAUGHT in chosen.trials:
        teach(run, dataset, noises, chosen.taught, choose_device())
        add("noise", taught=compare(run, chosen.taught, dataset, noises, n))
    fixed = load_run(chosen.fixed) if chosen.fixed else None
    tried("fallen", lambda out: try_own(run, dataset, loss, n, out, said(recorded[0]), fixed))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    paths = {"networks": "run of the recipe any-lead", "data": "prepared data that it stands on"}
    paths |= {"map": "its map", "hospitals": "zip file or folder with a folder for each hospital"}
    paths |= {"nstdb": "folder of the MIT-BIH Noise Stress Test Database"}
    for name, words in paths.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    parser.add_argument("--fixed", type=Path, help="run of twelve leads that loses electrodes, too")
    parser.add_argument("--readers", type=Path, help="networks for the hospitals")
    parser.add_argument("--records", type=int, default=60, help="of each fold")
    parser.add_argument("--taught", type=Path, default=ROOT / "outputs" / "elsewhere" / TAUGHT)
    parser.add_argument("--to", type=Path, default=ROOT / "outputs" / "elsewhere")
    parser.add_argument(
        "--trials",
        nargs="*",
        default=STEPS,
        choices=(*STEPS, TAUGHT),
        help="only these steps; costs are measured each time",
    )
    parser.add_argument("--publish", action="store_true", help="replace what is published")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    try:
        measure(chosen)
        if not all((chosen.to / "runs" / name / "metrics.json").is_file() for name in TRIALS):
            return
        page = chosen.to / "notebooks" / "07_elsewhere.ipynb"
        page.parent.mkdir(exist_ok=True)
        papermill.execute_notebook(
            str(ROOT / "notebooks" / page.name),
            str(page),
            {"trials": str(chosen.to / "runs"), "mapped": str(chosen.map)},
            progress_bar=False,
        )
        if chosen.publish:
            print(publish_trials(chosen.to, page, ROOT))
    except LeadminError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
