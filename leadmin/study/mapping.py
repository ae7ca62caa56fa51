"""Score one any-lead network a fold on every lead set: the map.

A map is a run folder of its own. It is trained by nobody: its numbers follow from the networks of a
run of the any-lead recipe, each of which is shown the leads of one set after the other. Where the
folder of a run names a recipe, that of a map names a set.
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256
from leadmin.leads import SignalSpace, electrode_sets, resolve, signal_spaces
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.device import choose_device
from leadmin.net.predict import predict_logits
from leadmin.study.identity import code_sha256
from leadmin.study.protocol import Split, splits
from leadmin.study.run import Run, finished_run, joined_predictions, write_run
from leadmin.study.validity import held
from leadmin.workers import side_by_side

ANY_LEAD = "any-lead"
"""What a set of a map is read by: the recipe of the one network."""

PARTS = ("validation", "test")

CODE = ("study/mapping",)
"""What its numbers depend on besides the code of its networks."""

SETS = {"electrodes": electrode_sets, "spaces": signal_spaces}


def lead_sets(name: str) -> tuple[SignalSpace, ...]:
    """List the lead sets that a map is made of; an unknown name is refused."""
    if name not in SETS:
        raise LeadminError(f"sets: there is no {name!r}; valid: {', '.join(SETS)}; change it")
    return SETS[name]()


def map_run(
    run: Run,
    dataset: EcgDataset,
    out: Path,
    spaces: Iterable[SignalSpace],
    workers: int = 1,
    on_network: Callable[[str], None] | None = None,
) -> Run:
    """Score the networks of a run on lead sets and write the folder of the map.

    Killed and called again it goes on behind the last network that was scored. A map of the same
    networks, sets and code that lies in ``out`` is returned as it is.

    The ``run`` is of a recipe for any leads, with its checkpoints, and stands on these records;
    another one is refused. ``workers`` networks are scored side by side, each by one thread; on an
    accelerator, if there is one, one at a time. ``on_network`` is called with the name of each
    network that is scored.
    """
    started, names = time.perf_counter(), {space.name: space.leads for space in spaces}
    settings, recipe = run.metrics["settings"], run.recipes[0]
    divisions = splits(dataset, settings["protocol"], settings["label_policy"])
    n_networks = len(divisions) * len(run.seeds[recipe])
    if not run.reads_any_lead or len(run.checkpoints) != n_networks:
        raise LeadminError(
            f"{run.folder}: recipe {recipe}, {len(run.checkpoints)} checkpoints; a map needs a run "
            f"of the recipe {ANY_LEAD} with its {n_networks} checkpoints; train it first"
        )
    tested = np.concatenate([dataset.record_id[split.test] for split in divisions])
    same = run.identity.get("data_sha256") == dataset.attributes["content_sha256"]
    if not same or not np.array_equal(tested, run.test.record_id):
        raise LeadminError(
            f"{dataset.path}: other records than the run {run.folder} stands on; give the data "
            "that it was trained on"
        )
    identity: dict[str, object] = {
        "map_of": dict(sorted(run.metrics["files"].items())),
        "sets": list(names),
        "code": code_sha256(CODE),
    }
    if found := finished_run(out, identity):
        return found
    device = choose_device()
    with held(out, "scoring"):
        processes = side_by_side(workers if device.type == "cpu" else 1, return_as="generator")
        results = processes(
            joblib.delayed(_score)(path, split, dataset, names, out / "state", device)
            for path, split in zip(run.checkpoints, itertools.cycle(divisions), strict=False)
        )
        scored = []
        for path, one in zip(run.checkpoints, results, strict=True):
            scored.append(one)
            if on_network:
                on_network(path.stem)
        logits = {}
        for part in PARTS:
            each, n = [one[part] for one in scored], len(divisions)
            seeds = [np.concatenate(each[i : i + n], axis=1) for i in range(0, len(each), n)]
            logits[part] = dict(zip(names, np.stack(seeds, axis=1), strict=True))
        return write_run(
            out,
            resolve(run.config),
            joined_predictions(dataset, divisions, settings["label_policy"], logits),
            classes=dataset.class_names,
            settings=settings,
            identity=identity,
            recipes=dict.fromkeys(names, run.metrics["recipes"][recipe]),
            n_parameters=run.metrics["n_parameters"],
            seconds=time.perf_counter() - started,
            provenance=run.metrics["provenance"],
        )


STEPS = np.float16(128)
"""Parts of a logit that a map tells apart: another training moves logits by much more, and packed
the map takes a fifth less."""


def _score(
    checkpoint: Path,
    split: Split,
    dataset: EcgDataset,
    names: dict[str, tuple[str, ...]],
    states: Path,
    device: torch.device,
) -> dict[str, NDArray[np.float16]]:
    """Give the logits of a network on sets, name to leads, by part: (n_sets, n_records, n_classes).

    The folder ``states`` keeps what it says, with a mark of weights, sets and code.
    """
    weights = sha256(checkpoint.with_suffix(".safetensors"))
    mark = json.dumps([weights, list(names), code_sha256(CODE)])
    state = states / f"{checkpoint.stem}.safetensors"
    try:
        with safe_open(state, "numpy") as file:
            if (file.metadata() or {}).get("mark") == mark:
                return {part: file.get_tensor(part) for part in PARTS}
    except (FileNotFoundError, SafetensorError):
        pass  # not scored before
    torch.set_num_threads(1)
    network = load_checkpoint(checkpoint, device)
    logits = {}
    for part in PARTS:
        signals = torch.from_numpy(dataset.signals[getattr(split, part)]).to(device)
        answers = [
            predict_logits(
                *(network.model, network.scaling, signals, network.window, network.n_windows),
                shown=leads,
                batch_size=128,
            )
            for leads in names.values()
        ]
        logits[part] = (torch.stack(answers).half().cpu().numpy() * STEPS).round() / STEPS
    with atomic_path(state) as temporary:
        save_file(logits, temporary, {"mark": mark})
    return logits


def sets_of_map(run: Run) -> dict[str, Run]:
    """Give each set of a map as a run of its own, under the recipe `ANY_LEAD`."""
    if "map_of" not in run.identity:
        raise LeadminError(
            f"{run.folder}: a run of {run.config}, not a map; valid: the folder that "
            "notebooks/06_map.ipynb writes; name that"
        )

    def of(name: str) -> Run:
        parts = {
            part: dataclasses.replace(
                getattr(run, part),
                logits={ANY_LEAD: getattr(run, part).logits[name]},
            )
            for part in PARTS
        }
        return dataclasses.replace(
            run,
            config=resolve(name).name,
            leads=resolve(name).leads,
            recipes=(ANY_LEAD,),
            seeds={ANY_LEAD: run.seeds[name]},
            **parts,
        )

    # By the names that sets have today: one may have become a named configuration since.
    return {resolve(name).name: of(name) for name in run.recipes}
