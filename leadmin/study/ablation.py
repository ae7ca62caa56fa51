"""What each part of the recipe is worth, and what simpler methods reach on the same records.

Every variant and every baseline leaves a run folder of its own, as the training notebook does.
They are then scored together, under the same resamples of patients.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.net.recipes import RECIPES
from leadmin.study.baselines import BASELINES, train_baseline
from leadmin.study.run import Predictions, Run, finished_run, same_records
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run

VARIANTS: dict[str, str] = {
    **{recipe.name: recipe.description for recipe in RECIPES.values()},
    **{name: baseline[0] for name, baseline in BASELINES.items()},
}
"""Everything that the table can hold: name to description."""


def train_variant(
    name: str,
    dataset: EcgDataset,
    out: Path,
    config: str = "12-lead",
    protocol: str = "holdout",
    label_policy: str = "any",
    seeds: int = 1,
    epochs: int = 0,
    device: str = "auto",
    workers: int = 1,
) -> Run:
    """Train one variant, unless its run folder is finished already.

    Parameters
    ----------
    name : str
        A key of `VARIANTS`.
    dataset : EcgDataset
        The prepared records.
    out : Path
        The run folder. A finished run found there is read if it was made from these records with
        these settings, and replaced if not. An unfinished one is continued. At 12 leads, a network
        to start from is looked for beside it.
    config, protocol, label_policy, epochs, device, workers : str or int
        See `RunSettings`.
    seeds : int
        Networks per variant; a baseline is trained once.

    Returns
    -------
    Run
        With one recipe, ``name``.
    """
    if name not in VARIANTS:
        raise LeadminError(f"variant {name!r} does not exist; valid: {', '.join(VARIANTS)}")
    wanted: dict[str, Any] = {"config": config, "protocol": protocol, "label_policy": label_policy}
    if name not in BASELINES:
        wanted |= {"seeds": seeds, "epochs": epochs}
    finished = finished_run(out)
    if finished is not None:
        settings, data = finished.metrics["settings"], finished.metrics["provenance"]["data"]
        same = all(settings.get(key) == value for key, value in wanted.items())
        checksum = dataset.attributes["content_sha256"]
        if same and finished.recipes == (name,) and data["content_sha256"] == checksum:
            return finished
    if name in BASELINES:
        return train_baseline(name, dataset, out, config, protocol, label_policy)
    beside = out.parent / (RECIPES[name].start or "none")
    found = config == "12-lead" and (beside / "metrics.json").is_file()
    run_settings = RunSettings(
        data=str(dataset.path),
        out=str(out),
        recipe=name,
        compare_with="",
        device=device,
        workers=workers,
        start_from=str(beside) if found else "",
        **wanted,
    )
    return train_run(run_settings, dataset)


def merge(runs: Iterable[Run]) -> Run:
    """Put runs of one configuration under different recipes into one.

    Parameters
    ----------
    runs : iterable of Run
        All of the same configuration, on the same records.

    Returns
    -------
    Run
        With the recipes of all of them; folder, metrics and history are those of the first.

    Raises
    ------
    LeadminError
        If there is none, two have a recipe in common, or records or configuration differ.
    """
    listed = list(runs)
    if not listed:
        raise LeadminError("no runs to put together; train at least one variant first")
    first = listed[0]
    for run in listed[1:]:
        if run.config != first.config or not same_records(first, run):
            raise LeadminError(
                f"{run.folder}: another configuration or other records than {first.folder}; train "
                "both on the same ones"
            )
    names = [name for run in listed for name in run.recipes]
    if len(set(names)) < len(names):
        raise LeadminError(f"a recipe occurs in two of the runs: {', '.join(names)}")

    def together(part: str) -> Predictions:
        logits = {n: x for run in listed for n, x in getattr(run, part).logits.items()}
        return dataclasses.replace(getattr(first, part), logits=logits)

    return dataclasses.replace(
        first,
        recipes=tuple(names),
        seeds={name: seeds for run in listed for name, seeds in run.seeds.items()},
        validation=together("validation"),
        test=together("test"),
    )
