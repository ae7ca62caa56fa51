"""Train one configuration and leave a run folder."""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.labels import CLASSES
from leadmin.leads import Configuration, lead_indices, resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.device import Computing, choose_device
from leadmin.net.fit import FitJob, Start, fit
from leadmin.net.model import count_parameters
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import Recipe, recipe_identity, window_samples
from leadmin.study.protocol import Split, splits
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import (
    Run,
    finished_run,
    joined_predictions,
    load_run,
    point_metrics,
    portable_settings,
    write_run,
)
from leadmin.study.settings import RunSettings
from leadmin.study.tracking import Tracking


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
        trained; and what `leadmin.net.fit.fit` raises.

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
            pooled = joined_predictions(dataset, divisions, settings.label_policy, latest)
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
        portable_settings(settings),
        recipes={r.name: recipe_identity(r) for r, _ in settings.recipes()},
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
    pairs |= {
        f"{recipe.name}.{option}": (
            found.metrics["recipes"].get(recipe.name, {}).get(option),
            value,
        )
        for option, value in recipe_identity(recipe).items()
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
            "settings": portable_settings(self.settings),
            "recipe": recipe_identity(self.recipe),
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
        FitJob(
            configuration,
            recipe,
            job.split.train,
            job.split.validation,
            job.seed,
            job.split.test_fold,
            settings.label_policy,
        ),
        computing=Computing(device, settings.precision, settings.compiled),
        state_path=folder / "state" / f"{job.stem}.safetensors",
        on_epoch=on_epoch,
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
