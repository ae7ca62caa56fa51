"""Train one configuration and leave a run folder."""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import write_text
from leadmin.labels import CLASSES
from leadmin.leads import Configuration, lead_indices, resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.device import Computing, choose_device
from leadmin.net.fit import FitJob, Start, fit
from leadmin.net.model import count_parameters
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import Recipe, recipe_identity, window_samples
from leadmin.study.identity import code_sha256, start_differences, start_sha256, trained_identity
from leadmin.study.protocol import Split, splits
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import (
    Run,
    Trained,
    finished_run,
    joined_predictions,
    load_run,
    point_metrics,
    write_run,
)
from leadmin.study.settings import RunSettings
from leadmin.study.tracking import Tracking

OnEpoch = Callable[[dict[str, Any]], None]


def train_run(settings: RunSettings, dataset: EcgDataset, on_epoch: OnEpoch | None = None) -> Run:
    """Train one configuration and write its run folder, unless that was done before.

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
        As read back from the folder. A finished run of the same identity that is found there is
        returned as it is, marked as ``kept``.

    Raises
    ------
    LeadminError
        If ``settings.start_from`` names a run that may not be started from, or
        ``settings.tracking`` a tracker that is not installed, before anything is trained or
        taken back; and what `leadmin.net.fit.fit` raises.

    Notes
    -----
    Killed at any moment and started again with the same settings, it goes on behind the last
    complete epoch.
    """
    folder = settings.folder
    identity = _identity(settings, dataset)
    divisions = splits(dataset, settings.protocol, settings.label_policy)
    device = choose_device(settings.device)
    workers = settings.workers or torch.get_num_threads()
    provenance = describe_environment(device, 1 if workers > 1 else torch.get_num_threads())
    provenance["data"] = describe_data(dataset)
    jobs = [
        _Job(resolve(settings.config), recipe, seed, split, settings, provenance)
        for recipe, n_seeds in settings.recipes()
        for seed in range(n_seeds)
        for split in divisions
    ]
    found = finished_run(folder)
    if found and found.identity == identity and all(job.has_checkpoint for job in jobs):
        return dataclasses.replace(found, kept=True)
    with Tracking(settings.tracking, folder, settings.config) as tracking:
        started = time.perf_counter()
        (folder / "metrics.json").unlink(missing_ok=True)
        for recipe, _ in settings.recipes():
            if recipe.start and not settings.start_from:
                train_run(_start_settings(settings, recipe.start), dataset, on_epoch)
        _drop_state_of_other_code(folder / "state")
        ledger = _Ledger(settings, dataset, divisions, tracking, on_epoch)
        for job, done in _finished_jobs(jobs, dataset, device, workers, ledger.begin):
            ledger.finish(job, done)
        run = write_run(
            folder,
            Trained(
                resolve(settings.config),
                dataset,
                divisions,
                settings.portable(),
                identity,
                {recipe.name: recipe_identity(recipe) for recipe, _ in settings.recipes()},
                ledger.logits,
                time.perf_counter() - started,
                provenance,
                ledger.rows,
                ledger.n_parameters,
                ledger.compile_seconds,
            ),
        )
    shutil.rmtree(folder / "state", ignore_errors=True)
    return run


def _identity(settings: RunSettings, dataset: EcgDataset) -> dict[str, Any]:
    """Say what a run of these settings follows from, with the run that it starts from.

    Raises
    ------
    LeadminError
        If a run to start from is named and does not fit.
    """
    starts = {}
    for recipe in {recipe.start for recipe, _ in settings.recipes() if recipe.start}:
        start = _identity(_start_settings(settings, recipe), dataset)
        if settings.start_from:
            folder = Path(settings.start_from)
            found = load_run(folder).identity
            differs = ["it has no identity, as an earlier version trained it"]
            if found is not None:
                differs, start = start_differences(found, start, recipe), found
            if differs:
                raise LeadminError(
                    f"{folder}: this run cannot be started from: {'; '.join(differs)}; valid: the "
                    f"recipe {recipe} on 12-lead, trained with the same settings; train it, or "
                    "leave start_from empty"
                )
        starts[recipe] = start_sha256(start)
    return trained_identity(
        settings.config,
        settings.protocol,
        settings.label_policy,
        settings.recipes(),
        dataset,
        start=starts,
        compiled=settings.compiled,
        precision=settings.precision,
    )


def _start_settings(settings: RunSettings, recipe: str) -> RunSettings:
    """Give the settings of the run whose networks other fits start from, if none is named."""
    return dataclasses.replace(
        settings,
        config="12-lead",
        recipe=recipe,
        compare_with="",
        start_from="",
        seeds=max(n for r, n in settings.recipes() if r.start == recipe),
        out=str(settings.folder / recipe),
    )


def _drop_state_of_other_code(folder: Path) -> None:
    """Take away what other code has begun: a fit checks its settings itself, but not the code."""
    mark = folder / "code"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != code_sha256():
        shutil.rmtree(folder, ignore_errors=True)
        write_text(mark, code_sha256())


@dataclass(frozen=True)
class _Job:
    """One fit of a run, and what its checkpoint says about it."""

    configuration: Configuration
    recipe: Recipe
    seed: int
    split: Split
    settings: RunSettings
    provenance: dict[str, Any]

    @property
    def fold(self) -> str:
        """What is behind the names of its files, so that folds do not share them."""
        return f"-fold{self.split.test_fold}" if self.settings.protocol == "crossval" else ""

    @property
    def stem(self) -> str:
        """Name of its checkpoint, its state and its folder of curves."""
        return f"{self.recipe.name}-seed{self.seed}{self.fold}"

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint, without a suffix."""
        return self.settings.folder / "checkpoints" / self.stem

    @property
    def has_checkpoint(self) -> bool:
        """Whether both files of its checkpoint are there."""
        path = self.checkpoint
        return all(path.with_name(path.name + end).is_file() for end in (".json", ".safetensors"))

    def start(self, device: torch.device) -> Start | None:
        """Read the network that its fit starts from."""
        recipe = self.recipe.start
        if not recipe:
            return None
        folder = Path(self.settings.start_from or self.settings.folder / recipe)
        stem = f"{recipe}-seed{self.seed}{self.fold}"
        found = load_checkpoint(folder / "checkpoints" / stem, device)
        return Start(found.model, found.scaling, found.leads, found.metadata["weights_sha256"])

    @property
    def described(self) -> dict[str, Any]:
        """What a tracker shows as its configuration."""
        return {
            "config": self.configuration.name,
            "leads": list(self.configuration.leads),
            "seed": self.seed,
            "settings": self.settings.portable(),
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


@dataclass
class _Ledger:
    """Keeps what the fits of a run leave, and tells whoever listens."""

    settings: RunSettings
    dataset: EcgDataset
    divisions: list[Split]
    tracking: Tracking
    on_epoch: OnEpoch | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    pieces: dict[str, list[list[dict[str, NDArray[np.float32]]]]] = field(default_factory=dict)
    n_parameters: int = 0
    compile_seconds: float = 0.0

    def begin(self, job: _Job) -> Callable[[dict[str, float]], None]:
        """Open a fit; what is returned takes each of its epochs."""
        self.tracking.start(job.stem, job.described | {"test_fold": job.split.test_fold})
        labels = {"recipe": job.recipe.name, "seed": job.seed, "fold": job.split.test_fold}

        def note(entry: dict[str, float]) -> None:
            self.rows.append(labels | entry)
            self.tracking.epoch(entry)
            if self.on_epoch:
                self.on_epoch(self.rows[-1])

        return note

    def finish(self, job: _Job, done: _Done) -> None:
        """Keep the answers of a fit; tell the trackers once all folds of its seed are there."""
        self.tracking.checkpoint(job.checkpoint)
        self.n_parameters = done.n_parameters
        self.compile_seconds += done.compile_seconds
        of_recipe = self.pieces.setdefault(job.recipe.name, [])
        if job.seed == len(of_recipe):
            of_recipe.append([])
        of_recipe[job.seed].append(done.logits)
        if not self.tracking.chosen or len(of_recipe[job.seed]) < len(self.divisions):
            return
        if self.settings.protocol == "crossval":
            self.tracking.start(f"{job.recipe.name}-seed{job.seed}", job.described, job="test")
        latest = {
            part: {job.recipe.name: logits[np.newaxis]}
            for part, logits in _joined(of_recipe[job.seed]).items()
        }
        pooled = joined_predictions(
            self.dataset, self.divisions, self.settings.label_policy, latest
        )
        (measured,) = point_metrics(**pooled)[job.recipe.name]
        self.tracking.result(measured)

    @property
    def logits(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        """The answers by split and recipe, (n_seeds, n_records, n_classes)."""
        joined = {name: [_joined(seed) for seed in seeds] for name, seeds in self.pieces.items()}
        return {
            part: {name: np.stack([one[part] for one in seeds]) for name, seeds in joined.items()}
            for part in ("validation", "test")
        }


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
        state_path=settings.folder / "state" / f"{job.stem}.safetensors",
        on_epoch=on_epoch,
        start=job.start(device),
    )
    save_checkpoint(
        job.checkpoint,
        EcgClassifier(
            trained.model,
            trained.scaling,
            configuration.leads,
            dataset.sampling_rate,
            CLASSES,
            window,
            recipe.test_windows,
            metadata={},
        ),
        recipe,
        configuration.name,
        job.provenance | {"seed": job.seed, "test_fold": job.split.test_fold},
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
