"""A finished run: what was trained, on disk and read back.

One run trains one lead configuration under one or two recipes and writes a folder::

    metrics.json         point metrics, provenance, checksums of the rest; written last
    predictions.npz      record ids, folds, labels and logits of validation and test records
    history.csv          one row per recipe, seed, fold and epoch
    checkpoints/         weights and description of every trained network
    state/               the state of an unfinished fit; gone when the run is finished

What makes one valid is said in `leadmin.study.validity`.
"""

import dataclasses
import itertools
import math
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.labels import CLASS_NAMES, CLASSES, check_class_names
from leadmin.leads import Configuration, configurations, resolve
from leadmin.metrics import probabilities, summary, thresholds
from leadmin.study.protocol import N_FOLDS, Split, networks
from leadmin.study.validity import METRICS, finish_run, valid_metrics

RECORDS = ("record_id", "patient_id", "fold", "labels")
"""What says on which records, with which labels, predictions stand."""

_MOST_TOGETHER = 8
"""Recipes, or sets of a map, in one file of predictions."""

_MOST_BYTES, _MOST_HEADER = 2**28, 100_000
"""Of an array, and of the first line of a table."""


@dataclass(frozen=True)
class Predictions:
    """What the networks of one run say about one split.

    The first three say which records these are, (n_records,) each. ``labels``, (n_records,
    n_classes), are those under the study's policy; ``logits`` are (n_seeds, n_records, n_classes)
    by recipe.
    """

    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    labels: NDArray[np.uint8]
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Run:
    """A finished run as it was read from its folder.

    The first of its ``recipes`` is the primary one. ``validation`` and ``test`` are the records
    that were not trained on; ``metrics`` is the whole ``metrics.json``, ``history`` the whole
    ``history.csv``. It is ``kept`` if it was found finished when it was asked for, so that nothing
    was trained.
    """

    config: str
    leads: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    validation: Predictions
    test: Predictions
    metrics: dict[str, Any]
    history: pd.DataFrame
    folder: Path
    kept: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """What it follows from, see `leadmin.study.identity`; empty in runs of earlier versions."""
        return self.metrics.get("identity") or {}

    @property
    def class_names(self) -> dict[str, str]:
        """What it tells apart, and what a report calls it: the five superclasses if it says not."""
        return dict(self.metrics.get("classes", CLASS_NAMES))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of labels and logits."""
        return tuple(self.class_names)

    @property
    def reads_any_lead(self) -> bool:
        """Whether its network reads any lead set, so that it is no configuration on trial."""
        described = self.metrics.get("recipes", {}).get(self.recipes[0], {})
        return bool(described.get("architecture", {}).get("any_leads"))

    @property
    def checkpoints(self) -> list[Path]:
        """The descriptions of its networks, by seed and fold; a published run has none."""
        named = [name for name in self.metrics["files"] if name.endswith(".json")]
        named.sort(key=lambda name: [*map(int, re.findall(r"-(?:seed|fold)(\d+)", name))])
        return [self.folder / name for name in named]


def write_run(
    folder: Path,
    configuration: Configuration,
    predictions: dict[str, Predictions],
    history: Sequence[dict[str, Any]] = (),
    checkpoints: Iterable[str] = (),
    **described: Any,
) -> Run:
    """Write the run folder of something that was trained, and read it back.

    ``predictions`` are those of `joined_predictions`, ``history`` the rows of ``history.csv``,
    ``checkpoints`` names of files below the folder, which are there. ``metrics.json`` says besides
    what is ``described``: the names of ``classes``, the ``settings`` without folders of this
    machine, ``identity``, ``recipes`` by name, ``n_parameters``, ``seconds`` and ``provenance``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _write_predictions(folder, predictions)
    rows = pd.DataFrame(history, columns=None if history else ["recipe"])
    with atomic_path(folder / "history.csv") as temporary:
        rows.to_csv(temporary, index=False, float_format="%.7g")  # as much as float32 holds
    logits = predictions["test"].logits
    metrics = {
        "config": configuration.name,
        "leads": list(configuration.leads),
        **described,
        "seeds": {name: list(range(len(layers))) for name, layers in logits.items()},
        "n_records": {name: len(p.record_id) for name, p in predictions.items()},
        "n_patients": {name: len(np.unique(p.patient_id)) for name, p in predictions.items()},
        "test": point_metrics(**predictions, classes=tuple(described["classes"])),
    }
    finish_run(folder, metrics, (*files, "history.csv", *checkpoints))
    return load_run(folder)


def point_metrics(
    validation: Predictions, test: Predictions, classes: Sequence[str] = CLASSES
) -> dict[str, list[dict[str, Any]]]:
    """Compute each recipe's and seed's metrics on the test records; see `fold_thresholds`."""
    result: dict[str, list[dict[str, Any]]] = {}
    for recipe, logits in test.logits.items():
        result[recipe] = []
        for seed in range(len(logits)):
            chosen = fold_thresholds(validation, test, recipe, seed)
            probability = probabilities(logits[seed])
            result[recipe].append(summary(test.labels, probability, chosen, classes))
    return result


def fold_thresholds(
    validation: Predictions, test: Predictions, recipe: str, seed: int
) -> NDArray[np.float64]:
    """Give each test record the thresholds, (n_records, n_classes), that its own network chooses.

    They have the best F1 on the validation records of that network; see
    `leadmin.study.protocol.networks`.
    """
    chosen = np.empty(test.labels.shape)
    p = probabilities(validation.logits[recipe][seed])
    for own, tested in networks(validation.fold, test.fold):
        chosen[tested] = thresholds(validation.labels[own], p[own])
    return chosen


def joined_predictions(
    dataset: EcgDataset,
    divisions: list[Split],
    label_policy: str,
    logits: dict[str, dict[str, NDArray[np.float32]]],
) -> dict[str, Predictions]:
    """Join the logits of ``validation`` and ``test`` with the records that they belong to."""
    joined = {}
    for name, by_recipe in logits.items():
        index = np.concatenate([getattr(split, name) for split in divisions])
        joined[name] = Predictions(
            dataset.record_id[index],
            dataset.patient_id[index],
            dataset.fold[index],
            dataset.labels[label_policy][index],
            by_recipe,
        )
    return joined


def _write_predictions(folder: Path, predictions: dict[str, Predictions]) -> list[str]:
    """Write ``predictions.npz``; of a map, whose sets are many, a file for each part. Name them."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    for split, p in predictions.items():
        file = f"predictions-{split}.npz" if len(p.logits) > _MOST_TOGETHER else "predictions.npz"
        found = arrays.setdefault(file, {})
        found |= {f"{split}/{name}": getattr(p, name) for name in RECORDS}
        found |= {f"{split}/logits/{recipe}": logits for recipe, logits in p.logits.items()}
    for file, content in arrays.items():
        with atomic_path(folder / file) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **content)
    return list(arrays)


def prediction_files(metrics: dict[str, Any]) -> list[str]:
    """List the files of a run that hold its predictions."""
    return [name for name in metrics["files"] if re.fullmatch(r"predictions[^/]*\.npz", name)]


def finished_run(
    folder: Path, identity: dict[str, Any], checkpoints: Iterable[str] = ()
) -> Run | None:
    """Read a run folder if the valid run of this identity lies there, with these checkpoints."""
    try:
        run = load_run(folder)
    except LeadminError:
        return None
    fits = run.identity == identity and set(checkpoints) <= set(run.metrics["files"])
    return dataclasses.replace(run, kept=True) if fits else None


def load_run(folder: Path) -> Run:
    """Read a finished run; one that is unfinished, damaged or of another version is refused."""
    metrics = valid_metrics(folder)
    try:
        if not prediction_files(metrics) or "history.csv" not in metrics["files"]:
            raise ValueError("files names no predictions.npz or no history.csv")
        recipes = tuple(metrics["recipes"])
        arrays: dict[str, NDArray[Any]] = {}
        for name in prediction_files(metrics):
            arrays |= _read_arrays(folder / name)
        validation, test = (
            Predictions(
                **{name: arrays[f"{split}/{name}"] for name in RECORDS},
                logits={name: _single(arrays[f"{split}/logits/{name}"]) for name in recipes},
            )
            for split in ("validation", "test")
        )
        with (folder / "history.csv").open("rb") as file:
            if not file.readline(_MOST_HEADER).endswith(b"\n"):
                raise ValueError(f"the first line of history.csv is over {_MOST_HEADER} bytes")
        run = Run(
            metrics["config"],
            tuple(metrics["leads"]),
            recipes,
            {name: tuple(seeds) for name, seeds in metrics["seeds"].items()},
            validation,
            test,
            metrics,
            pd.read_csv(folder / "history.csv"),
            folder,
        )
        _check_parts(run)
        return run
    except Exception as error:  # NumPy, pandas and zipfile raise whatever a damaged file leads to
        raise LeadminError(
            f"{folder}: {METRICS}, predictions.npz or history.csv is not what a run writes "
            f"({type(error).__name__}: {str(error)[:500]}); run it again"
        ) from error


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an archive of arrays, each of which is as large as its header says, and no giant."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                try:
                    major, _ = np.lib.format.read_magic(member)
                    read = getattr(np.lib.format, f"read_array_header_{major}_0")
                    shape, _, dtype = read(member)
                except (ValueError, AttributeError):
                    raise ValueError(f"{info.filename} has no header of an array") from None
                size = member.tell() + math.prod(shape) * dtype.itemsize
            if size != info.file_size or size > _MOST_BYTES:
                raise ValueError(
                    f"{info.filename} is not as large as its header says, or too large"
                )
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _single(logits: NDArray[Any]) -> NDArray[Any]:
    """Give logits of half precision, as maps, trials and published runs keep them, in float32."""
    return logits.astype(np.float32) if logits.dtype == np.float16 else logits


def _check_parts(run: Run) -> None:
    """Raise ValueError if the parts of a run do not fit together, as those that are written do."""
    named = run.metrics.get("classes", dict(CLASS_NAMES))
    if not isinstance(named, dict) or not all(isinstance(word, str) for word in named.values()):
        raise ValueError(f"classes is {named!r}, and not what each class is called")
    check_class_names(list(named), "classes")
    n_classes = len(named)
    if not isinstance(run.config, str) or resolve(run.config).leads != run.leads:
        raise ValueError(f"config {run.config!r} has other leads than {run.leads}")
    if not run.recipes or set(run.seeds) != set(run.recipes):
        raise ValueError(f"seeds of {', '.join(run.seeds)}, recipes {', '.join(run.recipes)}")
    for split in ("validation", "test"):
        part = getattr(run, split)
        n_records = len(part.record_id)
        for name, most, shape in (
            ("record_id", 2**31, (n_records,)),
            ("patient_id", 2**31, (n_records,)),
            ("fold", N_FOLDS, (n_records,)),
            ("labels", 1, (n_records, n_classes)),
        ):
            array = getattr(part, name)
            least = 1 if name == "fold" else 0
            whole = array.dtype.kind in "iub" and array.shape == shape
            if not whole or array.min(initial=least) < least or array.max(initial=0) > most:
                raise ValueError(f"{split}/{name} is not {shape} numbers from {least} to {most}")
        for recipe, logits in part.logits.items():
            seeds = run.seeds[recipe]
            if seeds != tuple(range(len(seeds))):
                raise ValueError(f"seeds of {recipe} are {seeds}")
            wanted = (len(seeds), n_records, n_classes)
            finite = logits.dtype.kind == "f" and np.isfinite(logits).all()
            if not finite or logits.shape != wanted:
                raise ValueError(f"{split}/logits/{recipe} is not {wanted} finite numbers")


def load_runs(folder: Path, configs: Iterable[str] = ()) -> dict[str, Run]:
    """Read finished runs below ``folder`` by configuration, in the order of the registry.

    By default all that are finished, but for a network of any lead set, from which the others
    start. A second recipe may be missing from some: see ``Study.compare_configurations``. It is
    refused if there is none, one that was asked for is unfinished, two have one configuration, or
    the runs do not stand on the same records, labels and primary recipe, so that a paired
    comparison would be false.
    """
    runs = [load_run(folder / name) for name in dict.fromkeys(configs)]
    if not runs:
        found = [load_run(path.parent) for path in sorted(folder.glob("*/metrics.json"))]
        runs = [run for run in found if not run.reads_any_lead]
    if not runs:
        raise LeadminError(f"{folder}: no finished run; train at least one configuration first")
    order = list(configurations(beyond=True))
    runs.sort(key=lambda run: order.index(run.config) if run.config in order else len(order))
    by_config: dict[str, Run] = {}
    for run in runs:
        if (other := by_config.setdefault(run.config, run)) is not run:
            raise LeadminError(
                f"{run.folder}: its configuration is {run.config}, as in {other.folder}; valid: "
                "one run of each; move or remove one of them"
            )
    require_same_records(runs)
    for run in runs[1:]:
        if run.recipes[0] != runs[0].recipes[0]:
            raise LeadminError(
                f"{run.folder}: its first recipe is {run.recipes[0]}; valid: "
                f"{runs[0].recipes[0]}, as in {runs[0].folder}; run one of them again"
            )
    return by_config


def require_same_records(runs: Iterable[Run]) -> None:
    """Refuse runs on other records or labels: a paired comparison with them would be false."""
    first, *others = runs
    for run in others:
        if run.classes != first.classes:
            raise LeadminError(
                f"{run.folder}: its classes are {', '.join(run.classes)}; valid: "
                f"{', '.join(first.classes)}, as in {first.folder}; run one of them again"
            )
        for part, name in itertools.product(("validation", "test"), RECORDS):
            ours, theirs = (getattr(getattr(one, part), name) for one in (first, run))
            if not np.array_equal(ours, theirs):
                raise LeadminError(
                    f"{run.folder}: {part} stands on other records or labels than in "
                    f"{first.folder} ({name}); valid: the same ones, so that the comparison is "
                    "paired; run one of them again"
                )
