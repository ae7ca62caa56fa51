"""A study, its runs, and what a run leaves on disk.

One run trains one lead configuration under one or two recipes and writes a folder::

    metrics.json         point metrics, provenance; written last: a folder without it is unfinished
    predictions.npz      record ids, folds, labels and logits of validation and test records
    history.csv          one row per recipe, seed, fold and epoch
    checkpoints/         weights and description of every trained network
    state/               the state of an unfinished fit; gone when the run is finished
"""

import ast
import dataclasses
import itertools
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset, load_dataset, prepare
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256, write_json, write_text
from leadmin.labels import CLASSES, LABEL_POLICIES
from leadmin.leads import Configuration, configurations, lead_indices, resolve
from leadmin.metrics import probabilities, summary, thresholds
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.model import count_parameters
from leadmin.net.training import (
    PRECISIONS,
    RECIPES,
    Recipe,
    Start,
    choose_device,
    fit,
    predict_logits,
    window_samples,
)
from leadmin.net.training import (
    recipe as find_recipe,
)
from leadmin.study.tracking import Tracking, tracker_names

SCHEMA_VERSION = 1
N_FOLDS = 10
PROTOCOLS = ("holdout", "crossval")
SOURCE_TREE = Path(__file__).resolve().parents[2]
"""Where this package lies; the clone, if it was installed from one."""


@dataclass(frozen=True)
class Predictions:
    """What the networks of one run say about one split.

    Parameters
    ----------
    record_id, patient_id, fold : ndarray of int, shape (n_records,)
        Which records these are.
    labels : ndarray of uint8, shape (n_records, 5)
        Labels under the study's policy.
    logits : dict of str to ndarray of float32, shape (n_seeds, n_records, 5)
        Per recipe.
    """

    record_id: NDArray[np.int32]
    patient_id: NDArray[np.int32]
    fold: NDArray[np.int8]
    labels: NDArray[np.uint8]
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Run:
    """A finished run as it was read from its folder.

    Parameters
    ----------
    config : str
        Name of the lead configuration.
    leads : tuple of str
        Its leads.
    recipes : tuple of str
        Trained recipes; the first is the primary one.
    seeds : dict of str to tuple of int
        Seeds per recipe.
    validation, test : Predictions
        Predictions of the two splits that were not trained on.
    metrics : dict
        The whole ``metrics.json``.
    history : DataFrame
        The whole ``history.csv``.
    folder : Path
        Where it was read.
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


@dataclass(frozen=True)
class RunSettings:
    """The parameters of the training notebook, checked.

    Parameters
    ----------
    config : str
        A configuration of the registry, or leads separated by commas.
    data : str
        The prepared HDF5 file.
    out : str
        The folder that the run writes.
    recipe, compare_with : str
        Primary recipe, and a second one trained on the same records; empty for none.
    protocol : {"holdout", "crossval"}
        See `splits`.
    label_policy : {"any", "likelihood50"}
        Which diagnostic statements count as labels in evaluation.
    seeds, compare_seeds : int
        Number of networks per recipe that differ in nothing but the seed.
    epochs : int
        Overrides the recipes' own number of epochs; 0 keeps it.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    tracking : str
        Where the curves go besides ``history.csv``: ``tensorboard``, ``wandb``, both with a
        comma, or empty for nowhere. See `leadmin.study.tracking`.
    compiled : bool
        Whether the training step goes through ``torch.compile``; see `leadmin.net.training.fit`.
    precision : {"auto", "float32", "bfloat16"}
        What training steps multiply in; see `leadmin.net.training.mixed_precision`.
    start_from : str
        Folder of a finished run of the recipe that ``recipe`` starts from, on these records and
        folds. Empty: it is trained first, into a folder of its own inside ``out``.
    workers : int
        Fits that are trained side by side, each in a process of its own with one thread; 0 for
        as many as there are threads. With 1 they follow each other in this process.

    Raises
    ------
    LeadminError
        If a value is of the wrong type or not valid; the message says what is.
    """

    config: str
    data: str
    out: str
    recipe: str = "default"
    compare_with: str = "seed"
    protocol: str = "holdout"
    label_policy: str = "any"
    seeds: int = 1
    compare_seeds: int = 1
    epochs: int = 0
    device: str = "auto"
    tracking: str = ""
    compiled: bool = False
    precision: str = "auto"
    start_from: str = ""
    workers: int = 1

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if type(value) is not item.type:
                wanted = getattr(item.type, "__name__", item.type)
                raise LeadminError(f"parameter {item.name} must be of type {wanted}, not {value!r}")
        resolve(self.config)
        valid: dict[str, Iterable[str]] = {
            "recipe": RECIPES,
            "compare_with": ["", *RECIPES],
            "protocol": PROTOCOLS,
            "label_policy": LABEL_POLICIES,
            "precision": PRECISIONS,
        }
        for name, choices in valid.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(choice or "'' (none)" for choice in choices)
                raise LeadminError(f"parameter {name} is {getattr(self, name)!r}; valid: {listed}")
        for name, least in (("seeds", 1), ("compare_seeds", 1), ("epochs", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise LeadminError(
                    f"parameter {name} must be at least {least}, not {getattr(self, name)}"
                )
        if self.compare_with == self.recipe:
            raise LeadminError(
                f"parameter compare_with is the same recipe as recipe, {self.recipe!r}; "
                "give another one, or '' for none"
            )
        tracker_names(self.tracking)
        choose_device(self.device)

    def recipes(self) -> list[tuple[Recipe, int]]:
        """List each recipe to train with its number of seeds, the primary one first."""
        pairs = [(self.recipe, self.seeds)]
        if self.compare_with:
            pairs.append((self.compare_with, self.compare_seeds))
        return [(find_recipe(name, self.epochs or None), n) for name, n in pairs]


def check_injected(cells: list[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have.

    papermill puts the parameters into a cell of its own behind the cell tagged
    ``parameters``; of an unknown name it only warns, and the notebook would run with its
    defaults.

    Parameters
    ----------
    cells : list of str
        Source of the cells executed so far: IPython's ``In``.

    Raises
    ------
    LeadminError
        If the injected cell sets a name that the cell before it does not set.
    """
    for before, injected in itertools.pairwise(cells):
        if not injected.lstrip().startswith("# Parameters"):
            continue
        declared = _assigned_names(before)
        unknown = [name for name in _assigned_names(injected) if name not in declared]
        if unknown:
            raise LeadminError(
                f"unknown parameter {', '.join(unknown)}; valid: {', '.join(declared)}"
            )


def _assigned_names(source: str) -> list[str]:
    names = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


@dataclass(frozen=True)
class Split:
    """Which records train, validate and test; indices into a dataset.

    Parameters
    ----------
    test_fold : int
        The fold under test, 1 to 10.
    train, validation, test : ndarray of int
        Indices.
    """

    test_fold: int
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def embedded_sample() -> Path:
    """Find the archive with real records that comes with the source tree.

    Raises
    ------
    LeadminError
        If the package was installed without its source tree.
    """
    archive = SOURCE_TREE / "data" / "sample" / "ptb-xl-sample.zip"
    if not archive.is_file():
        raise LeadminError(
            f"{archive}: the embedded sample is not here; work in a clone of the repository, or "
            "give the path of PTB-XL as parameter data"
        )
    return archive


def located(folder: str) -> Path:
    """Find a folder from where the caller stands, or else from the source tree.

    JupyterLab starts a notebook in the notebook's own folder, papermill and the workflow in the
    one that they are called from.
    """
    path = Path(folder)
    elsewhere = SOURCE_TREE / path
    return elsewhere if not path.exists() and elsewhere.exists() else path


def prepared_path(source: Path, sampling_rate: int, folder: Path = Path("outputs/data")) -> Path:
    """Name the HDF5 file that a source is prepared into."""
    return folder / f"{source.name.removesuffix('.zip')}-{sampling_rate}hz.h5"


def open_dataset(data: str, sampling_rate: int = 100) -> EcgDataset:
    """Open what the parameter ``data`` of a notebook names.

    Parameters
    ----------
    data : str
        A prepared HDF5 file; or an archive or folder of PTB-XL, which is prepared first, once,
        into ``outputs/data``; or empty for the embedded sample, wherever the caller stands.
    sampling_rate : int
        Hz, for what has to be prepared.

    Raises
    ------
    LeadminError
        If nothing is there or it cannot be used.
    """
    path = Path(data) if data else embedded_sample()
    if path.suffix in {".h5", ".hdf5"}:
        return load_dataset(path)
    target = prepared_path(path, sampling_rate)
    if not data:  # the sample lies in the source tree, and what is made of it belongs there too
        target = SOURCE_TREE / target
    prepare(path, target, sampling_rate)
    return load_dataset(target)


def splits(dataset: EcgDataset, protocol: str, label_policy: str) -> list[Split]:
    """Divide a dataset by its patient folds.

    ``holdout``: folds 1-8 train, 9 validates, 10 tests, as the PTB-XL benchmark does
    [Strodthoff2021]_. ``crossval``: each of the ten folds is tested once, the fold behind it
    validates, the other eight train.

    Parameters
    ----------
    dataset : EcgDataset
        With folds 1 to 10.
    protocol : {"holdout", "crossval"}
        Which of the two.
    label_policy : str
        Records without a label under this policy are left out.

    Raises
    ------
    LeadminError
        If a fold has no labelled record.

    References
    ----------
    .. [Strodthoff2021] N. Strodthoff et al., Deep learning for ECG analysis: benchmarks and
       insights from PTB-XL, IEEE JBHI 2021.
    """
    labelled = dataset.labels[label_policy].any(axis=1)
    for fold in range(1, N_FOLDS + 1):
        if not (labelled & (dataset.fold == fold)).any():
            raise LeadminError(
                f"{dataset.path}: fold {fold} has no labelled record under the label policy "
                f"{label_policy}; the protocol {protocol} needs all of the folds 1 to {N_FOLDS}"
            )
    result = []
    for test in [N_FOLDS] if protocol == "holdout" else range(1, N_FOLDS + 1):
        validation = N_FOLDS - 1 if protocol == "holdout" else test % N_FOLDS + 1
        trained = ~np.isin(dataset.fold, (test, validation))
        parts = (trained, dataset.fold == validation, dataset.fold == test)
        result.append(Split(test, *(np.flatnonzero(part & labelled) for part in parts)))
    return result


def train_run(
    settings: RunSettings,
    dataset: EcgDataset,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Run:
    """Train one configuration and write its run folder.

    Parameters
    ----------
    settings : RunSettings
        What to train.
    dataset : EcgDataset
        The data that ``settings.data`` names.
    on_epoch : callable, optional
        Called with each new row of the history.

    Returns
    -------
    Run
        As read back from the folder.

    Raises
    ------
    LeadminError
        If ``settings.tracking`` names a tracker that is not installed, before anything is
        trained; and what `leadmin.net.training.fit` raises.

    Notes
    -----
    Killed at any moment and started again with the same settings, it goes on behind the last
    complete epoch.
    """
    configuration = resolve(settings.config)
    with Tracking(settings.tracking, Path(settings.out), configuration.name) as tracking:
        return _train_run(settings, configuration, dataset, on_epoch, tracking)


def _train_run(
    settings: RunSettings,
    configuration: Configuration,
    dataset: EcgDataset,
    on_epoch: Callable[[dict[str, Any]], None] | None,
    tracking: Tracking,
) -> Run:
    started = time.perf_counter()
    folder = Path(settings.out)

    def find_starts() -> dict[str, Path]:
        return {
            recipe.start: _start_folder(settings, recipe.start, dataset, on_epoch)
            for recipe, _ in settings.recipes()
            if recipe.start
        }

    # A start that is named is checked while an earlier result still counts as finished; one that
    # has to be trained belongs to what is begun here.
    starts = find_starts() if settings.start_from else {}
    (folder / "metrics.json").unlink(missing_ok=True)
    starts = starts or find_starts()
    device = choose_device(settings.device)
    divisions = splits(dataset, settings.protocol, settings.label_policy)
    n_threads, workers = torch.get_num_threads(), settings.workers or torch.get_num_threads()
    provenance = describe_environment(device, 1 if workers > 1 else n_threads)
    provenance["data"] = describe_data(dataset)
    jobs = [
        _Job(configuration, recipe, seed, split, settings, provenance, starts.get(recipe.start))
        for recipe, n_seeds in settings.recipes()
        for seed in range(n_seeds)
        for split in divisions
    ]
    pieces: dict[tuple[str, int], list[dict[str, NDArray[np.float32]]]] = {}
    rows: list[dict[str, Any]] = []
    n_parameters, compile_seconds = 0, 0.0

    def begin(job: _Job) -> Callable[[dict[str, float]], None]:
        tracking.start(job.stem, job.described | {"test_fold": job.split.test_fold})
        labels = {"recipe": job.recipe.name, "seed": job.seed, "fold": job.split.test_fold}

        def note(entry: dict[str, float]) -> None:
            rows.append(labels | entry)
            tracking.epoch(entry)
            if on_epoch:
                on_epoch(rows[-1])

        return note

    for job, done in _finished_jobs(jobs, dataset, device, workers, begin):
        tracking.checkpoint(folder / "checkpoints" / job.stem)
        n_parameters, compile_seconds = done.n_parameters, compile_seconds + done.compile_seconds
        of_seed = pieces.setdefault((job.recipe.name, job.seed), [])
        of_seed.append(done.logits)
        if tracking.chosen and len(of_seed) == len(divisions):
            if settings.protocol == "crossval":
                tracking.start(f"{job.recipe.name}-seed{job.seed}", job.described, job="test")
            latest = {
                part: {job.recipe.name: logits[np.newaxis]}
                for part, logits in _joined(of_seed).items()
            }
            pooled = _predictions(dataset, divisions, settings.label_policy, latest)
            (measured,) = point_metrics(**pooled)[job.recipe.name]
            tracking.result(measured)
    stacked: dict[str, dict[str, NDArray[np.float32]]] = {"validation": {}, "test": {}}
    for recipe, n_seeds in settings.recipes():
        per_seed = [_joined(pieces[recipe.name, seed]) for seed in range(n_seeds)]
        for part, by_recipe in stacked.items():
            by_recipe[recipe.name] = np.stack([logits[part] for logits in per_seed])

    run = write_run(
        folder,
        configuration,
        dataset,
        divisions,
        settings.label_policy,
        _portable(settings),
        recipes={r.name: dataclasses.asdict(r) for r, _ in settings.recipes()},
        logits=stacked,
        history=rows,
        seconds=time.perf_counter() - started,
        provenance=provenance,
        n_parameters=n_parameters,
        compile_seconds=compile_seconds,
    )
    shutil.rmtree(folder / "state", ignore_errors=True)
    return run


def _start_folder(
    settings: RunSettings,
    recipe: str,
    dataset: EcgDataset,
    on_epoch: Callable[[dict[str, Any]], None] | None,
) -> Path:
    """Find the run whose networks other fits start from, or train it if none is named.

    Raises
    ------
    LeadminError
        If a run is named and does not fit: its networks must not have seen records that are
        tested here.
    """
    wanted = dataclasses.replace(
        settings,
        config="12-lead",
        recipe=recipe,
        compare_with="",
        start_from="",
        seeds=max(n for r, n in settings.recipes() if r.start == recipe),
        out=settings.start_from or str(Path(settings.out) / recipe),
    )
    folder, named = Path(wanted.out), bool(settings.start_from)
    found = load_run(folder) if named else finished_run(folder)
    differs = _differences(found, wanted, dataset, named) if found else ["it is not finished"]
    if differs and named:
        raise LeadminError(
            f"{folder}: this run cannot be started from: {'; '.join(differs)}; train the recipe "
            f"{recipe} on 12-lead with the same settings, or leave start_from empty"
        )
    if differs:
        train_run(wanted, dataset, on_epoch)
    return folder


def _differences(found: Run, wanted: RunSettings, dataset: EcgDataset, named: bool) -> list[str]:
    """Say in what a finished run differs from what ``wanted`` would train."""
    pairs = {
        name: (found.metrics["settings"].get(name), getattr(wanted, name))
        for name in ("config", "recipe", "protocol", "label_policy")
    }
    data = found.metrics["provenance"]["data"]
    pairs["checksum of the data"] = (data["content_sha256"], dataset.attributes["content_sha256"])
    ((recipe, n_seeds),) = wanted.recipes()
    # Through JSON, where a tuple is a list.
    mine = json.loads(json.dumps(dataclasses.asdict(recipe)))
    pairs |= {
        f"{recipe.name}.{option}": (
            found.metrics["recipes"].get(recipe.name, {}).get(option),
            value,
        )
        for option, value in mine.items()
        # Whoever names a run to start from may want fewer epochs of the fit alone.
        if not (named and option == "epochs")
    }
    differs = [f"{name} is {a!r}, not {b!r}" for name, (a, b) in pairs.items() if a != b]
    n_found = len(found.seeds.get(recipe.name, ()))
    if n_found < n_seeds:
        differs.append(f"it has {n_found} of {n_seeds} seeds")
    return differs


@dataclass(frozen=True)
class _Job:
    """One fit of a run, and what its checkpoint says about it."""

    configuration: Configuration
    recipe: Recipe
    seed: int
    split: Split
    settings: RunSettings
    provenance: dict[str, Any]
    start_folder: Path | None

    @property
    def fold(self) -> str:
        """What is behind the names of its files, so that folds do not share them."""
        return f"-fold{self.split.test_fold}" if self.settings.protocol == "crossval" else ""

    @property
    def stem(self) -> str:
        """Name of its checkpoint, its state and its folder of curves."""
        return f"{self.recipe.name}-seed{self.seed}{self.fold}"

    def start(self, device: torch.device) -> Start | None:
        """Read the network that its fit starts from."""
        if self.start_folder is None:
            return None
        stem = f"{self.recipe.start}-seed{self.seed}{self.fold}"
        found = load_checkpoint(self.start_folder / "checkpoints" / stem, device)
        return Start(found.model, found.scaling, found.leads, found.metadata["weights_sha256"])

    @property
    def described(self) -> dict[str, Any]:
        """What a tracker shows as its configuration."""
        return {
            "config": self.configuration.name,
            "leads": list(self.configuration.leads),
            "seed": self.seed,
            "settings": _portable(self.settings),
            "recipe": dataclasses.asdict(self.recipe),
            "data": self.provenance["data"],
        }


@dataclass(frozen=True)
class _Done:
    """What is left of a fit once its checkpoint is written."""

    history: list[dict[str, float]]
    logits: dict[str, NDArray[np.float32]]
    n_parameters: int
    compile_seconds: float


def _finished_jobs(
    jobs: list[_Job],
    dataset: EcgDataset,
    device: torch.device,
    workers: int,
    begin: Callable[[_Job], Callable[[dict[str, float]], None]],
) -> Iterator[tuple[_Job, _Done]]:
    """Train jobs, several at once if asked to, and yield them in their order."""
    if workers == 1 or len(jobs) == 1:
        for job in jobs:
            yield job, _train_job(job, dataset, device, begin(job))
        return
    side_by_side = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers)
    results = side_by_side(
        joblib.delayed(_train_alone)(job, dataset, device, os.getpid()) for job in jobs
    )
    for job, done in zip(jobs, results, strict=True):
        note = begin(job)
        for entry in done.history:
            note(entry)
        yield job, done


def _train_alone(job: _Job, dataset: EcgDataset, device: torch.device, parent: int) -> _Done:
    """Train one job on one thread of a worker, and end when whoever asked for it is gone."""
    torch.set_num_threads(1)

    def end_if_orphaned(_: dict[str, float]) -> None:
        if os.getppid() != parent:
            os._exit(1)  # its state is saved, and somebody else may go on with it

    return _train_job(job, dataset, device, end_if_orphaned)


def _train_job(
    job: _Job,
    dataset: EcgDataset,
    device: torch.device,
    on_epoch: Callable[[dict[str, float]], None],
) -> _Done:
    """Train one network, write its checkpoint, and apply it to the records it has not seen."""
    settings, configuration, recipe = job.settings, job.configuration, job.recipe
    folder = Path(settings.out)
    window = window_samples(recipe, dataset.sampling_rate, dataset.signals.shape[-1])
    trained = fit(
        dataset,
        configuration,
        recipe,
        job.split.train,
        job.split.validation,
        seed=job.seed,
        fold=job.split.test_fold,
        label_policy=settings.label_policy,
        device=device,
        state_path=folder / "state" / f"{job.stem}.safetensors",
        on_epoch=on_epoch,
        compiled=settings.compiled,
        precision=settings.precision,
        start=job.start(device),
    )
    save_checkpoint(
        folder / "checkpoints" / job.stem,
        trained.model,
        trained.scaling,
        recipe,
        config=configuration.name,
        leads=configuration.leads,
        classes=CLASSES,
        sampling_rate=dataset.sampling_rate,
        window=window,
        provenance=job.provenance | {"seed": job.seed, "test_fold": job.split.test_fold},
    )
    leads = np.array(lead_indices(configuration.leads))
    logits = {}
    for part in ("validation", "test"):
        index = getattr(job.split, part)
        signals = torch.from_numpy(dataset.signals[np.ix_(index, leads)]).to(device)
        answers = predict_logits(
            trained.model, trained.scaling, signals, window, recipe.test_windows
        )
        logits[part] = answers.cpu().numpy()
    return _Done(trained.history, logits, count_parameters(trained.model), trained.compile_seconds)


def _joined(pieces: list[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """Put the logits of the folds behind each other."""
    return {part: np.concatenate([piece[part] for piece in pieces]) for part in pieces[0]}


def write_run(
    folder: Path,
    configuration: Configuration,
    dataset: EcgDataset,
    divisions: list[Split],
    label_policy: str,
    settings: dict[str, Any],
    *,
    recipes: dict[str, dict[str, Any]],
    logits: dict[str, dict[str, NDArray[np.float32]]],
    history: list[dict[str, Any]],
    seconds: float,
    provenance: dict[str, Any] | None = None,
    n_parameters: int | None = None,
    compile_seconds: float = 0.0,
) -> Run:
    """Write the run folder of something that was trained; ``metrics.json`` comes last.

    Parameters
    ----------
    folder : Path
        The run folder.
    configuration : Configuration
        The leads that were seen.
    dataset : EcgDataset
        The records.
    divisions : list of Split
        In the order in which the predictions of their records follow each other.
    label_policy : str
        Labels of the evaluation.
    settings : dict
        How it was called, without folders of this machine.
    recipes : dict of str to dict
        Name to description of what was trained.
    logits : dict of str to dict of str to ndarray, shape (n_seeds, n_records, n_classes)
        By ``validation`` and ``test``, then by recipe.
    history : list of dict
        Rows of ``history.csv``; may be empty.
    seconds : float
        What it took.
    provenance : dict, optional
        See `describe_environment`; found out if not given.
    n_parameters : int, optional
        Trainable numbers of one network.
    compile_seconds : float
        How much of ``seconds`` went into compiling.

    Returns
    -------
    Run
        As read back from the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions = _predictions(dataset, divisions, label_policy, logits)
    _write_predictions(folder / "predictions.npz", predictions)
    with atomic_path(folder / "history.csv") as temporary:
        pd.DataFrame(history, columns=None if history else ["recipe"]).to_csv(
            temporary, index=False
        )
    metrics = {
        "schema_version": SCHEMA_VERSION,
        "config": configuration.name,
        "leads": list(configuration.leads),
        "settings": settings,
        "recipes": recipes,
        "seeds": {name: list(range(len(layers))) for name, layers in logits["test"].items()},
        "n_parameters": n_parameters,
        "n_records": {name: len(p.record_id) for name, p in predictions.items()},
        "n_patients": {name: len(np.unique(p.patient_id)) for name, p in predictions.items()},
        "test": point_metrics(predictions["validation"], predictions["test"]),
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "provenance": provenance or describe_environment() | {"data": describe_data(dataset)},
        "files": {name: sha256(folder / name) for name in ("predictions.npz", "history.csv")},
    }
    write_json(folder / "metrics.json", metrics)
    return load_run(folder)


def point_metrics(validation: Predictions, test: Predictions) -> dict[str, list[dict[str, Any]]]:
    """Compute the metrics of each recipe and seed on the test records.

    Thresholds are chosen on the validation predictions of the same network.
    """
    result: dict[str, list[dict[str, Any]]] = {}
    for recipe, logits in test.logits.items():
        result[recipe] = []
        for seed in range(len(logits)):
            chosen = thresholds(validation.labels, probabilities(validation.logits[recipe][seed]))
            probability = probabilities(logits[seed])
            result[recipe].append(summary(test.labels, probability, chosen))
    return result


def _portable(settings: RunSettings) -> dict[str, Any]:
    """Keep the settings, without the folders of this machine."""
    kept = dataclasses.asdict(settings)
    for name in ("data", "out", "start_from"):
        kept[name] = Path(kept[name]).name
    return kept


def _predictions(
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


def _write_predictions(path: Path, predictions: dict[str, Predictions]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for split, p in predictions.items():
        for name in ("record_id", "patient_id", "fold", "labels"):
            arrays[f"{split}/{name}"] = getattr(p, name)
        for recipe, logits in p.logits.items():
            arrays[f"{split}/logits/{recipe}"] = logits
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def finished_run(folder: Path) -> Run | None:
    """Read a run folder, or give nothing if no finished run can be read there."""
    try:
        return load_run(folder)
    except LeadminError:
        return None


def load_run(folder: Path) -> Run:
    """Read a finished run.

    Raises
    ------
    LeadminError
        If the run is unfinished, damaged, or of another schema version.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise LeadminError(f"{folder}: no metrics.json, so this run is not finished; run it again")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if metrics["schema_version"] != SCHEMA_VERSION:
            raise LeadminError(
                f"{path}: schema_version is {metrics['schema_version']}, this software reads "
                f"{SCHEMA_VERSION}; run the configuration again"
            )
        for name, expected in metrics["files"].items():
            if not (folder / name).is_file() or sha256(folder / name) != expected:
                raise LeadminError(
                    f"{folder / name}: missing or not the file that metrics.json was written "
                    "for; run the configuration again"
                )
        recipes = tuple(metrics["recipes"])
        with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
            validation, test = (
                Predictions(
                    record_id=arrays[f"{split}/record_id"],
                    patient_id=arrays[f"{split}/patient_id"],
                    fold=arrays[f"{split}/fold"],
                    labels=arrays[f"{split}/labels"],
                    logits={name: arrays[f"{split}/logits/{name}"] for name in recipes},
                )
                for split in ("validation", "test")
            )
        return Run(
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
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LeadminError(f"{path}: not a run's metrics ({error!r}); run it again") from error


def load_runs(folder: Path, configs: Iterable[str] = ()) -> dict[str, Run]:
    """Read finished runs below ``folder``, in the order of the registry.

    Parameters
    ----------
    folder : Path
        Holds one folder per configuration.
    configs : iterable of str, optional
        Which of them; all that are finished by default.

    Returns
    -------
    dict of str to Run
        Keyed by configuration.

    Raises
    ------
    LeadminError
        If there is none, one that was asked for is unfinished, or the runs do not stand on
        the same records, labels and primary recipe, so that a paired comparison would be false.

    Notes
    -----
    A second recipe may be missing from some of the runs: see ``Study.compare_configurations``.
    """
    folders = [folder / name for name in configs]
    runs = [load_run(f) for f in folders or sorted(p.parent for p in folder.glob("*/metrics.json"))]
    if not runs:
        raise LeadminError(f"{folder}: no finished run; train at least one configuration first")
    order = list(configurations())
    runs.sort(key=lambda run: order.index(run.config) if run.config in order else len(order))
    first = runs[0]
    for run in runs[1:]:
        if not same_records(first, run) or run.recipes[0] != first.recipes[0]:
            raise LeadminError(
                f"{run.folder}: made from other records, labels or recipes than {first.folder}; "
                "run one of them again so that the comparison is paired"
            )
    return {run.config: run for run in runs}


def same_records(first: Run, second: Run) -> bool:
    """Tell whether two runs were validated and tested on the same records and labels."""
    return all(
        np.array_equal(getattr(getattr(first, part), name), getattr(getattr(second, part), name))
        for part in ("validation", "test")
        for name in ("record_id", "patient_id", "labels")
    )


def describe_data(dataset: EcgDataset) -> dict[str, Any]:
    """Say which data a result stands on: name, version, checksum, number of records."""
    keys = ("source", "source_version", "inputs_sha256", "content_sha256", "sampling_rate")
    described = {key: dataset.attributes[key] for key in keys}
    described["n_records"] = len(dataset.record_id)
    described["n_patients"] = len(np.unique(dataset.patient_id))
    return described


def describe_environment(
    device: torch.device | None = None, n_threads: int | None = None
) -> dict[str, Any]:
    """Say on what a result was made: machine, versions, state of the source code.

    Parameters
    ----------
    device : torch.device, optional
        Where networks were trained; the processor by default.
    n_threads : int, optional
        Threads of one fit; those of this process by default.
    """
    packages = ("torch", "numpy", "h5py", "wfdb", "scikit-learn", "papermill", "snakemake")
    on_gpu = device is not None and device.type == "cuda"
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "n_cores": os.cpu_count(),
        "n_threads": n_threads or torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(device) if on_gpu else None,
        "versions": {"leadmin": version("leadmin")} | {name: version(name) for name in packages},
        "git_commit": git_commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def git_commit() -> str | None:
    """Give the commit of the source tree, with ``+`` behind it if files were changed since."""
    if not (SOURCE_TREE / ".git").exists():
        return None
    command = ["git", "-C", str(SOURCE_TREE), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() or None


@dataclass(frozen=True)
class Study:
    """One YAML file: which data, which configurations, how trained, how tested.

    Parameters
    ----------
    name : str
        Also the folder below ``outputs``.
    title : str
        One line for the book.
    source : str
        Archive or folder with the records, relative to where the workflow runs. In a study
        file, ``${NAME}`` stands for an environment variable.
    protocol, label_policy, recipe, compare_with, seeds, compare_seeds, epochs, tracking
        See `RunSettings`.
    sampling_rate : int
        Hz, 100 or 500.
    configurations : tuple of str
        What to run.
    compare_configurations : tuple of str
        The configurations on which ``compare_with`` is trained too; all of them if empty.
    overrides : dict
        Per configuration, other values for ``seeds``, ``compare_seeds`` or ``epochs``.
    n_resamples : int
        Bootstrap resamples of the analysis.
    """

    name: str
    title: str
    source: str
    configurations: tuple[str, ...]
    protocol: str = "holdout"
    label_policy: str = "any"
    sampling_rate: int = 100
    recipe: str = "default"
    compare_with: str = "seed"
    seeds: int = 1
    compare_seeds: int = 1
    epochs: int = 0
    tracking: str = ""
    compare_configurations: tuple[str, ...] = ()
    overrides: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    n_resamples: int = 2000

    @property
    def source_path(self) -> Path:
        """The source, with its environment variables replaced by their values.

        Raises
        ------
        LeadminError
            If a variable is not set.
        """
        text = os.path.expandvars(self.source)
        if "$" in text:
            raise LeadminError(
                f"study {self.name}: source is {self.source}, but that environment variable is not "
                "set; set it to the archive or folder with the records"
            )
        return Path(text)

    def run_parameters(self, config: str) -> dict[str, Any]:
        """Give the training notebook's parameters for ``config``, without folders and device."""
        names = ("recipe", "compare_with", "protocol", "label_policy", "tracking")
        numbers = ("seeds", "compare_seeds", "epochs")
        chosen = {name: getattr(self, name) for name in (*names, *numbers)}
        if self.compare_configurations and config not in self.compare_configurations:
            chosen["compare_with"] = ""
        return {"config": config} | chosen | self.overrides.get(config, {})


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    LeadminError
        If the file is missing or not YAML, a key is unknown or missing, or a value is not
        valid; the message names the file and the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LeadminError(f"{path}: no such study file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LeadminError(f"{path}: not a readable YAML file ({error})") from error
    fields = {item.name: item for item in dataclasses.fields(Study)}
    if not isinstance(raw, dict):
        raise LeadminError(f"{path}: must hold a mapping with the keys {', '.join(fields)}")
    unknown = [str(key) for key in raw if key not in fields]
    needed = [name for name in ("name", "title", "source", "configurations") if name not in raw]
    if unknown or needed:
        raise LeadminError(
            f"{path}: unknown keys: {', '.join(unknown) or 'none'}; missing keys: "
            f"{', '.join(needed) or 'none'}; valid: {', '.join(fields)}"
        )
    configs = raw["configurations"]
    if configs == "all":
        configs = list(configurations())
    overrides = raw.get("overrides") or {}
    if not isinstance(configs, list) or not configs or not isinstance(overrides, dict):
        raise LeadminError(
            f"{path}: configurations must be 'all' or a list of names; overrides a mapping"
        )
    compared = raw.get("compare_configurations") or []
    if not isinstance(compared, list):
        raise LeadminError(f"{path}: compare_configurations must be a list of names")
    lists = {"configurations": configs, "compare_configurations": compared}
    names = {key: tuple(map(str, listed)) for key, listed in lists.items()}
    study = Study(**(raw | names | {"overrides": overrides}))
    if len(set(study.configurations)) < len(study.configurations):
        raise LeadminError(f"{path}: configurations names one configuration twice")
    if "12-lead" not in study.configurations:
        raise LeadminError(f"{path}: configurations must hold 12-lead, the reference of the rest")
    stray = [name for name in study.compare_configurations if name not in study.configurations]
    if stray or (study.compare_configurations and "12-lead" not in study.compare_configurations):
        raise LeadminError(
            f"{path}: compare_configurations must hold 12-lead and none that is not among the "
            f"configurations, but has {', '.join(study.compare_configurations)}"
        )
    if study.sampling_rate not in (100, 500):
        raise LeadminError(f"{path}: sampling_rate must be 100 or 500, not {study.sampling_rate}")
    if not isinstance(study.name, str) or Path(study.name).name != study.name:
        raise LeadminError(f"{path}: name must be usable as a folder name, not {study.name!r}")
    if type(study.n_resamples) is not int or study.n_resamples < 100:
        raise LeadminError(f"{path}: n_resamples must be a whole number from 100")
    for config, changes in overrides.items():
        allowed = ("seeds", "compare_seeds", "epochs")
        if config not in study.configurations or not isinstance(changes, dict):
            raise LeadminError(f"{path}: overrides: {config!r} is not one of the configurations")
        wrong = [key for key in changes if key not in allowed]
        if wrong:
            raise LeadminError(
                f"{path}: overrides of {config}: unknown {', '.join(map(str, wrong))}; valid: "
                f"{', '.join(allowed)}"
            )
    for config in study.configurations:
        try:
            RunSettings(data="", out="", **study.run_parameters(config))
        except LeadminError as error:
            raise LeadminError(f"{path}: {config}: {error}") from error
    return study


def derive_study(study: Study, root: Path) -> Path:
    """Write a study that was made from another one to ``outputs/<name>.yml`` below ``root``.

    Returns
    -------
    Path
        The file, relative to ``root``. It is left alone where it says the same already.
    """
    lists = ("configurations", "compare_configurations")
    fields = dataclasses.asdict(study) | {name: list(getattr(study, name)) for name in lists}
    text = "# Made by `leadmin run`; edit the study that it comes from.\n"
    text += yaml.safe_dump(fields, sort_keys=False)
    path = Path("outputs") / f"{study.name}.yml"
    if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text:
        write_text(root / path, text)
    return path
