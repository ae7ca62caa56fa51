"""Score one any-lead network a fold on every lead set: the map.

A map is a run folder of its own. It is trained by nobody: its numbers follow from the networks of a
run of the any-lead recipe, each of which is shown the leads of one set after the other. Where the
folder of a run names a recipe, that of a map names a set.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.leads import SignalSpace, electrode_sets, resolve, signal_spaces
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.device import choose_device
from leadmin.net.predict import predict_logits
from leadmin.study.identity import code_sha256
from leadmin.study.protocol import Split, splits
from leadmin.study.run import Run, Trained, finished_run, write_run
from leadmin.study.validity import held

ANY_LEAD = "any-lead"
"""What a set of a map is read by: the recipe of the one network."""

PARTS = ("validation", "test")

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
    device: str = "auto",
    on_network: Callable[[str], None] | None = None,
) -> Run:
    """Score the networks of a run on lead sets and write the folder of the map.

    Killed and called again it goes on behind the last network that was scored. A map of the same
    networks, sets and code that lies in ``out`` is returned as it is.

    The ``run`` is of a recipe for any leads, with its checkpoints, and stands on these records;
    another one is refused. ``workers`` networks are scored side by side, each by one thread; on an
    accelerator (``device`` is ``auto``, ``cpu``, ``cuda`` or ``cuda:N``) one at a time.
    ``on_network`` is called with the name of each network that is scored.
    """
    names = {space.name: space.leads for space in spaces}
    if not run.reads_any_lead or not run.checkpoints:
        raise LeadminError(
            f"{run.folder}: recipe {run.recipes[0]}, {len(run.checkpoints)} checkpoints; a map "
            f"needs a run of the recipe {ANY_LEAD} with its checkpoints; train it first"
        )
    (recipe,) = run.recipes
    settings = run.metrics["settings"]
    divisions = splits(dataset, settings["protocol"], settings["label_policy"])
    tested = np.concatenate([dataset.record_id[split.test] for split in divisions])
    if run.identity is None or (
        run.identity["data_sha256"] != dataset.attributes["content_sha256"]
        or not np.array_equal(tested, run.test.record_id)
    ):
        raise LeadminError(
            f"{dataset.path}: other records than the run {run.folder} stands on; give the data "
            "that it was trained on"
        )
    identity: dict[str, object] = {
        "map_of": {path: run.metrics["files"][path] for path in sorted(run.metrics["files"])},
        "sets": list(names),
        "code": code_sha256(("study/mapping",)),
    }
    if found := finished_run(out, identity):
        return found
    where = choose_device(device)
    tasks = []
    for seed in run.seeds[recipe]:
        for split in divisions:
            fold = f"-fold{split.test_fold}" if settings["protocol"] == "crossval" else ""
            stem = f"{recipe}-seed{seed}{fold}"
            state = out / "state" / f"map-seed{seed}{fold}.safetensors"
            weights = run.metrics["files"][f"checkpoints/{stem}.safetensors"]
            mark = json.dumps([weights, list(names), identity["code"]])
            checkpoint = run.folder / "checkpoints" / stem
            tasks.append(_Task(checkpoint, split, names, state, mark, where))
    started = time.perf_counter()
    with held(out, "scoring"):
        workers = workers if where.type == "cpu" else 1
        side_by_side = joblib.Parallel(n_jobs=workers, return_as="generator")
        scored = []
        for task, one in zip(
            tasks,
            side_by_side(joblib.delayed(_score)(task, dataset) for task in tasks),
            strict=True,
        ):
            scored.append(one)
            if on_network:
                on_network(task.checkpoint.name)
        logits = {}
        for part in PARTS:
            each = [one[part] for one in scored]
            by_seed = [each[i : i + len(divisions)] for i in range(0, len(each), len(divisions))]
            stacked = np.stack([np.concatenate(folds, axis=1) for folds in by_seed], axis=1)
            logits[part] = dict(zip(names, stacked, strict=True))
        return write_run(
            out,
            Trained(
                resolve(run.config),
                dataset,
                divisions,
                settings,
                identity,
                dict.fromkeys(names, run.metrics["recipes"][recipe]),
                logits,
                time.perf_counter() - started,
                run.metrics["provenance"],
                n_parameters=run.metrics["n_parameters"],
            ),
        )


STEPS = np.float16(128)
"""Parts of a logit that a map tells apart: another training moves logits by much more, and packed
the map takes a fifth less."""


@dataclass(frozen=True)
class _Task:
    """One network to score on sets ``names``, name to leads.

    ``state`` keeps what it says, with the ``mark`` of weights, sets and code.
    """

    checkpoint: Path
    split: Split
    names: dict[str, tuple[str, ...]]
    state: Path
    mark: str
    device: torch.device


def _score(task: _Task, dataset: EcgDataset) -> dict[str, NDArray[np.float16]]:
    """Give the logits of one network by part, each (n_sets, n_records, n_classes)."""
    try:
        with safe_open(task.state, "numpy") as file:
            if (file.metadata() or {}).get("mark") == task.mark:
                return {part: file.get_tensor(part) for part in PARTS}
    except (FileNotFoundError, SafetensorError):
        pass  # not scored before
    torch.set_num_threads(1)
    network = load_checkpoint(task.checkpoint, task.device)
    logits = {}
    for part in PARTS:
        signals = torch.from_numpy(dataset.signals[getattr(task.split, part)]).to(task.device)
        answers = [
            predict_logits(
                *(network.model, network.scaling, signals, network.window, network.n_windows),
                shown=leads,
                batch_size=128,
            )
            for leads in task.names.values()
        ]
        logits[part] = (torch.stack(answers).half().cpu().numpy() * STEPS).round() / STEPS
    task.state.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(task.state) as temporary:
        save_file(logits, temporary, {"mark": task.mark})
    return logits


def sets_of_map(run: Run) -> dict[str, Run]:
    """Give each set of a map as a run of its own, under the recipe `ANY_LEAD`."""
    if "map_of" not in (run.identity or {}):
        raise LeadminError(
            f"{run.folder}: a run of {run.config}, not a map; valid: the folder that "
            "notebooks/06_map.ipynb writes; name that"
        )

    def of(name: str) -> Run:
        parts = {
            part: dataclasses.replace(
                getattr(run, part),
                logits={ANY_LEAD: getattr(run, part).logits[name].astype(np.float32)},
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
