"""Train one configuration and leave a run folder."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.leads import resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.device import Computing, choose_device
from leadmin.net.fit import FitJob, fit
from leadmin.net.model import count_parameters
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import recipe_identity
from leadmin.study.identity import code_sha256, start_differences, start_sha256, trained_identity
from leadmin.study.protocol import Split, splits
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import (
    Predictions,
    Run,
    finished_run,
    joined_predictions,
    load_run,
    point_metrics,
    write_run,
)
from leadmin.study.settings import RunSettings
from leadmin.study.tracking import Tracking
from leadmin.study.validity import METRICS, held
from leadmin.workers import side_by_side

Logits = NDArray[np.float32]
OnEpoch = Callable[[dict[str, Any]], None]


def train_run(settings: RunSettings, dataset: EcgDataset, on_epoch: OnEpoch | None = None) -> Run:
    """Train one configuration and write its run folder, unless that was done before.

    Killed at any moment and started again with the same settings, it goes on behind the last
    complete epoch. ``dataset`` is what ``settings.data`` names; ``on_epoch`` is called with each
    new row of the history. The valid run of the same identity that is found in the folder is
    returned as it is, marked as ``kept``.

    Raises
    ------
    LeadminError
        Before anything is trained or taken back: if ``settings.start_from`` names a run that may
        not be started from, ``settings.tracking`` a tracker that is not installed, or the folder
        is being written by another process or cannot be written. Later what `fit` raises.
    """
    folder = settings.folder
    identity = _identity(settings, dataset)
    divisions = splits(dataset, settings.protocol, settings.label_policy)
    device = choose_device(settings.device)
    workers = settings.workers or torch.get_num_threads()
    provenance = describe_environment(device, 1 if workers > 1 else torch.get_num_threads())
    provenance["data"] = describe_data(dataset)
    jobs = [
        _Job(
            *(resolve(settings.config), recipe, split.train, split.validation),
            seed,
            split.test_fold,
            code_sha256(),
            test=split.test,
            settings=settings,
            provenance=provenance,
        )
        for recipe, n_seeds in settings.recipes()
        for seed in range(n_seeds)
        for split in divisions
    ]
    checkpoints = tuple(name for job in jobs for name in job.checkpoint_files)
    if found := finished_run(folder, identity, checkpoints):
        return found
    with (
        held(folder, "training"),
        Tracking(settings.tracking, folder, settings.config) as tracking,
    ):
        started = time.perf_counter()
        (folder / METRICS).unlink(missing_ok=True)
        for recipe, _ in settings.recipes():
            if recipe.start and not settings.start_from:
                train_run(_start_settings(settings, recipe.start), dataset, on_epoch)
        ledger = _Ledger(settings, dataset, divisions, tracking, on_epoch)
        for job, done in _finished_jobs(jobs, dataset, device, workers, ledger.begin):
            ledger.finish(job, done)
        return write_run(
            folder,
            resolve(settings.config),
            ledger.predictions({recipe.name: range(n) for recipe, n in settings.recipes()}),
            ledger.rows,
            checkpoints,
            classes=dataset.class_names,
            settings=settings.portable(),
            identity=identity,
            recipes={recipe.name: recipe_identity(recipe) for recipe, _ in settings.recipes()},
            n_parameters=done.n_parameters,
            seconds=time.perf_counter() - started,
            provenance=provenance,
        )


def _identity(settings: RunSettings, dataset: EcgDataset) -> dict[str, Any]:
    """Say what a run follows from, with the run to start from; one that does not fit is refused."""
    starts = {}
    for recipe in {recipe.start for recipe, _ in settings.recipes() if recipe.start}:
        start = _identity(_start_settings(settings, recipe), dataset)
        if settings.start_from:
            folder = Path(settings.start_from)
            found = load_run(folder).identity
            differs = ["it has no identity, as an earlier version trained it"]
            if found:
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
        network="",
        seeds=max(n for r, n in settings.recipes() if r.start == recipe),
        out=str(settings.folder / recipe),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Job(FitJob):
    """One fit of a run, and what its checkpoint says about it."""

    test: NDArray[np.intp]
    settings: RunSettings
    provenance: dict[str, Any]

    def named(self, recipe: str) -> str:
        """Name the fit of a recipe with its seed and fold; folds do not share files."""
        fold = f"-fold{self.fold}" if self.settings.protocol == "crossval" else ""
        return f"{recipe}-seed{self.seed}{fold}"

    @property
    def stem(self) -> str:
        """Name of its checkpoint, its state and its folder of curves."""
        return self.named(self.recipe.name)

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint, without a suffix."""
        return self.settings.folder / "checkpoints" / self.stem

    @property
    def checkpoint_files(self) -> list[str]:
        """Both files of its checkpoint, as seen from the run folder."""
        return [f"checkpoints/{self.stem}{end}" for end in (".safetensors", ".json")]

    def start(self, device: torch.device) -> EcgClassifier | None:
        """Read the network that its fit starts from."""
        recipe = self.recipe.start
        if not recipe:
            return None
        folder = Path(self.settings.start_from or self.settings.folder / recipe)
        return load_checkpoint(folder / "checkpoints" / self.named(recipe), device)

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
    logits: dict[str, Logits]
    n_parameters: int


@dataclass
class _Ledger:
    """Keeps what the fits of a run leave, and tells whoever listens."""

    settings: RunSettings
    dataset: EcgDataset
    divisions: list[Split]
    tracking: Tracking
    on_epoch: OnEpoch | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[tuple[str, int], list[dict[str, Logits]]] = field(default_factory=dict)

    def begin(self, job: _Job) -> Callable[[dict[str, float]], None]:
        """Open a fit; what is returned takes each of its epochs."""
        self.tracking.start(job.stem, job.described | {"test_fold": job.fold})
        labels = {"recipe": job.recipe.name, "seed": job.seed, "fold": job.fold}

        def note(entry: dict[str, float]) -> None:
            self.rows.append(labels | entry)
            self.tracking.epoch(entry)
            if self.on_epoch:
                self.on_epoch(self.rows[-1])

        return note

    def finish(self, job: _Job, done: _Done) -> None:
        """Keep the answers of a fit; tell the trackers once all folds of its seed are there."""
        self.tracking.checkpoint(job.checkpoint)
        self.answers.setdefault((job.recipe.name, job.seed), []).append(done.logits)
        if not self.tracking.chosen or job.fold != self.divisions[-1].test_fold:
            return
        if self.settings.protocol == "crossval":
            self.tracking.start(f"{job.recipe.name}-seed{job.seed}", job.described, job="test")
        pooled = self.predictions({job.recipe.name: [job.seed]})
        (measured,) = point_metrics(**pooled, classes=self.dataset.classes)[job.recipe.name]
        self.tracking.result(measured)

    def predictions(self, seeds: Mapping[str, Iterable[int]]) -> dict[str, Predictions]:
        """Give the answers of some seeds of recipes by split, with folds joined."""

        def of(part: str, recipe: str, seed: int) -> Logits:
            return np.concatenate([logits[part] for logits in self.answers[recipe, seed]])

        logits = {
            part: {name: np.stack([of(part, name, s) for s in own]) for name, own in seeds.items()}
            for part in ("validation", "test")
        }
        return joined_predictions(self.dataset, self.divisions, self.settings.label_policy, logits)


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
    processes = side_by_side(workers, return_as="generator", pre_dispatch=workers)
    results = processes(joblib.delayed(_train_alone)(job, dataset, device) for job in jobs)
    for job, done in zip(jobs, results, strict=True):
        note = begin(job)
        for entry in done.history:
            note(entry)
        yield job, done


def _train_alone(job: _Job, dataset: EcgDataset, device: torch.device) -> _Done:
    """Train one job on one thread of a worker."""
    torch.set_num_threads(1)
    return _train_job(job, dataset, device, lambda entry: None)


def _train_job(
    job: _Job,
    dataset: EcgDataset,
    device: torch.device,
    on_epoch: Callable[[dict[str, float]], None],
) -> _Done:
    """Train one network, write its checkpoint, and apply it to the records it has not seen."""
    trained = fit(
        dataset,
        job,
        computing=Computing(device, job.settings.precision),
        state_path=job.settings.folder / "state" / f"{job.stem}.safetensors",
        on_epoch=on_epoch,
        start=job.start(device),
    )
    provenance = job.provenance | {"seed": job.seed, "test_fold": job.fold}
    save_checkpoint(job.checkpoint, trained, job.recipe, job.configuration.name, provenance)
    logits = {}
    for part in ("validation", "test"):
        signals = torch.from_numpy(job.signals(dataset, getattr(job, part))).to(device)
        answers = predict_logits(
            trained.model, trained.scaling, signals, trained.window, trained.n_windows
        )
        logits[part] = answers.cpu().numpy()
    return _Done(trained.history, logits, count_parameters(trained.model))
