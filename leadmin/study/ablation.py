"""What each part of the recipe is worth, and what simpler methods reach on the same records.

Every variant and every baseline leaves a run folder of its own, as the training notebook does.
They are then scored together, under the same resamples of patients.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.evidence import scores as ev
from leadmin.evidence.calibration import calibration_table
from leadmin.evidence.resampling import holm
from leadmin.net.training import ABLATIONS, RECIPES
from leadmin.study.baselines import BASELINES, train_baseline
from leadmin.study.runs import (
    Predictions,
    Run,
    RunSettings,
    finished_run,
    load_run,
    same_records,
    train_run,
)

VARIANTS: dict[str, str] = {
    "any-lead": "the any-lead network",
    "default": "default, from any-lead",
    "scratch": "scratch: from random weights",
    "seed": "seed, the original",
    **{name: description for name, (_, description, _) in ABLATIONS.items()},
    **{name: baseline[0] for name, baseline in BASELINES.items()},
}
"""Everything that the table can hold: name to description."""

REFERENCE = "scratch"
"""What the others are compared with: most of them differ from it in one respect."""

MEASURES = ("auroc", "auroc_HYP", "brier")


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


def load_variants(folder: Path) -> dict[str, Run]:
    """Read the finished variants below ``folder``, in the order of `VARIANTS`.

    Raises
    ------
    LeadminError
        If there is none.
    """
    found = {name: folder / name for name in VARIANTS if (folder / name / "metrics.json").is_file()}
    if not found:
        raise LeadminError(f"{folder}: no finished variant; run `leadmin ablate` first")
    return {name: load_run(path) for name, path in found.items()}


def ablation_table(
    runs: Mapping[str, Run], reference: str = REFERENCE, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Score variants and baselines of one configuration on the same test records.

    Parameters
    ----------
    runs : mapping of str to Run
        From `load_variants`.
    reference : str
        What the others are compared with.
    n_resamples, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    DataFrame
        One row per variant: ``variant, description, kind`` (``recipe`` or ``baseline``); for each
        of ``auroc`` (macro), ``auroc_HYP`` and ``brier`` the value with ``_low`` and ``_high``, and
        ``<measure>_difference`` to the reference, paired, with ``_low``, ``_high``; ``p_holm`` of
        the difference in macro AUROC over all rows but the reference; ``slope`` and ``smooth_ece``,
        means over classes; ``n_records, n_patients, n_seeds``.

    Raises
    ------
    LeadminError
        If the reference is not among the runs, or they do not belong together.
    """
    if reference not in runs:
        raise LeadminError(
            f"the variant {reference!r}, which the others are compared with, is not among the "
            f"finished ones: {', '.join(runs)}"
        )
    merged = merge(runs.values())
    evidence = ev.gather([merged], n_resamples, seed)
    rows = []
    for name in runs:
        main = ev.main_table(evidence, name).iloc[0].to_dict()
        row: dict[str, Any] = {
            "variant": name,
            "description": VARIANTS[name],
            "kind": "baseline" if name in BASELINES else "recipe",
        }
        classes = _records(ev.per_class_table(evidence, name), "class")
        sources: list[dict[Any, Any]] = [main, classes["HYP"], main]
        for measure, source in zip(MEASURES, sources, strict=True):
            column = measure.removesuffix("_HYP")
            for end in ("", "_low", "_high"):
                row[measure + end] = source[column + end]
        if name == reference:
            for measure in MEASURES:
                for end in ("", "_low", "_high"):
                    row[f"{measure}_difference{end}"] = float("nan")
            row["p"] = float("nan")
        else:
            compared = _records(ev.recipe_comparison(evidence, name, reference), "metric")
            for measure in MEASURES:
                for end in ("", "_low", "_high"):
                    row[f"{measure}_difference{end}"] = compared[measure][f"difference{end}"]
            row["p"] = compared["auroc"]["p"]
        calibrated = calibration_table(evidence, name)
        macro = _records(calibrated[~calibrated["recalibrated"]], "class")["macro"]
        row |= {measure: macro[measure] for measure in ("slope", "smooth_ece")}
        row |= {count: int(main[count]) for count in ("n_records", "n_patients", "n_seeds")}
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(table.columns.tolist().index("p") + 1, "p_holm", holm(table["p"]))
    return table


def _records(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    """Rows of ``table`` by the value in ``key``."""
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return {str(row[key]): row for row in rows}


def long_differences(table: pd.DataFrame, measures: Iterable[str] = MEASURES) -> pd.DataFrame:
    """Reshape an ablation table for `leadmin.show.figures.plot_recipe_comparison`.

    Parameters
    ----------
    table : DataFrame
        From `ablation_table`, without the reference.
    measures : iterable of str
        Of `MEASURES`.

    Returns
    -------
    DataFrame
        Columns ``config`` (the variant in words), ``metric, difference, difference_low,
        difference_high``; one row per variant and measure.
    """
    pieces = [
        pd.DataFrame(
            {
                "config": table["description"],
                "metric": measure,
                **{
                    f"difference{end}": table[f"{measure}_difference{end}"]
                    for end in ("", "_low", "_high")
                },
            }
        )
        for measure in measures
    ]
    return pd.concat(pieces, ignore_index=True)
