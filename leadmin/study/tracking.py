"""Curves for TensorBoard and Weights & Biases, beside the files that every run writes.

``history.csv`` and ``metrics.json`` are the results; what a tracker writes is a view of them.
Trackers are off unless a run asks for them, and they need packages of their own. Each fit of a
run has a folder of its own below the run folder::

    tensorboard/<recipe>-seed<k>[-fold<f>]/
    wandb/<recipe>-seed<k>[-fold<f>]/wandb/offline-run-<date>-<id>/

A tracker only listens: it draws no random number, and what goes wrong inside it ends the
tracking, not the training.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pandas as pd

from leadmin.errors import LeadminError

MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""What each tracker needs; its name is also that of the extra that installs it."""
PROJECT = "leadmin"
TEST_METRICS = ("auroc", "average_precision", "f1", "brier", "ece")
"""Of the test metrics, those that a tracker shows, each as macro value and per class."""


def tracker_names(tracking: str) -> tuple[str, ...]:
    """List the trackers that a parameter asks for.

    Parameters
    ----------
    tracking : str
        Names separated by commas; empty for none.

    Raises
    ------
    LeadminError
        If a name is not one of `MODULES`.
    """
    names = [part.strip() for part in tracking.split(",")] if tracking.strip() else []
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise LeadminError(
            f"parameter tracking is {tracking!r}; valid: '' (none), {', '.join(MODULES)}, or both "
            "with a comma"
        )
    return tuple(dict.fromkeys(names))


def study_name(folder: Path) -> str:
    """Name the study that a run folder ``outputs/<study>/runs/<config>`` belongs to.

    Of a run folder that lies elsewhere it is the name of the folder around it.
    """
    parent = folder.absolute().parent
    return parent.parent.name if parent.name == "runs" else parent.name


class _Writer(Protocol):
    """One tracker and one fit."""

    def epoch(self, entry: Mapping[str, float]) -> None: ...

    def checkpoint(self, files: list[Path]) -> None: ...

    def result(self, metrics: Mapping[str, float]) -> None: ...

    def close(self, failed: bool) -> None: ...


class Tracking:
    """Hands what happens in one run to the trackers that were chosen.

    Parameters
    ----------
    tracking : str
        See `tracker_names`.
    folder : Path
        The run folder. What the chosen trackers wrote there for an earlier training of the same
        run is taken away: a resumed fit tells its whole history again.
    config : str
        Name of the lead configuration.

    Raises
    ------
    LeadminError
        If a name is not valid or the package of a tracker is not installed.

    Notes
    -----
    Use it as a context manager, so that files are closed whatever happens. An error inside a
    tracker (a full disk, a service that does not answer) is shown once as a warning; that tracker
    is then left out for the rest of the run, with what it wrote so far, and the training goes on.
    """

    def __init__(self, tracking: str, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = config
        self._modules = {name: _module(name) for name in tracker_names(tracking)}
        self._writers: dict[str, _Writer] = {}
        for name in list(self._modules):
            try:
                for older in (folder / name).glob("*-seed*"):
                    shutil.rmtree(older)
            except OSError as error:
                self._give_up(name, error)

    @property
    def chosen(self) -> bool:
        """Whether any tracker listens."""
        return bool(self._modules)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what is open, marked as failed if an error ended the block."""
        self._close(failed=kind is not None)

    def start(self, stem: str, description: Mapping[str, Any], job: str = "train") -> None:
        """Begin a fit; the one before it ends.

        Parameters
        ----------
        stem : str
            ``<recipe>-seed<k>`` or ``<recipe>-seed<k>-fold<f>``.
        description : mapping
            Settings, recipe, data and the like, ready for JSON.
        job : {"train", "test"}
            ``test`` for what belongs to no single fit: the pooled folds of a cross-validation.
        """
        self._close(failed=False)
        for name, module in list(self._modules.items()):
            try:
                folder = self.folder / name / stem
                folder.mkdir(parents=True)
                writer: _Writer
                if name == "tensorboard":
                    writer = _TensorBoard(module, folder, self.folder, dict(description))
                else:
                    label = f"{self.config}-{stem}"
                    group = study_name(self.folder)
                    writer = _Wandb(module, folder, group, label, job, dict(description))
                self._writers[name] = writer
            except Exception as error:
                self._give_up(name, error)

    def epoch(self, entry: Mapping[str, float]) -> None:
        """Hand over one entry of a history, as `leadmin.net.fit.fit` gives it."""
        self._each("epoch", entry)

    def checkpoint(self, stem: Path) -> None:
        """Hand over a checkpoint, named without its suffix."""
        self._each("checkpoint", [stem.with_name(stem.name + s) for s in (".safetensors", ".json")])

    def result(self, metrics: Mapping[str, Any]) -> None:
        """Hand over the test metrics of one seed, as `leadmin.metrics.summary` gives them."""
        shown = {f"test_{name}": metrics[name] for name in TEST_METRICS}
        for label, values in metrics["per_class"].items():
            shown |= {f"test_{name}_{label}": values[name] for name in TEST_METRICS}
        self._each("result", {name: value for name, value in shown.items() if value is not None})

    def _each(self, event: str, *details: Any) -> None:
        for name, writer in list(self._writers.items()):
            try:
                getattr(writer, event)(*details)
            except Exception as error:
                self._give_up(name, error)

    def _close(self, failed: bool) -> None:
        self._each("close", failed)
        self._writers.clear()

    def _give_up(self, name: str, error: Exception) -> None:
        """Leave a tracker out from here on: the results of the run do not depend on it."""
        warnings.warn(
            f"{self.folder}: tracking with {name} stopped ({type(error).__name__}: {error}); the "
            "training goes on without it, and history.csv will hold the curves",
            stacklevel=2,
        )
        self._modules.pop(name, None)
        writer = self._writers.pop(name, None)
        if writer is not None:
            with suppress(Exception):  # it has been reported as broken
                writer.close(failed=True)


def _module(name: str) -> Any:
    try:
        return import_module(MODULES[name])
    except ImportError as error:
        raise LeadminError(
            f"parameter tracking asks for {name}, which is not installed ({error}); "
            f'pip install "leadmin[{name}]"'
        ) from error


class _TensorBoard:
    """Scalars per epoch; at the end hyperparameters with the test metrics."""

    def __init__(
        self, module: Any, folder: Path, run_folder: Path, description: dict[str, Any]
    ) -> None:
        self.description = description
        self.run_folder = run_folder
        self.writer = module.SummaryWriter(str(folder))
        self._text("configuration", json.dumps(description, indent=2))

    def epoch(self, entry: Mapping[str, float]) -> None:
        for name, value in entry.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, int(entry["epoch"]))
        self.writer.flush()

    def checkpoint(self, files: list[Path]) -> None:
        named = [path.relative_to(self.run_folder).as_posix() for path in files]
        self._text("checkpoint", "\n".join(named))

    def result(self, metrics: Mapping[str, float]) -> None:
        (flat,) = pd.json_normalize(self.description).to_dict("records")
        plain = {
            str(k): v if isinstance(v, bool | int | float) else str(v) for k, v in flat.items()
        }
        self.writer.add_hparams(plain, dict(metrics), run_name=".")

    def close(self, failed: bool) -> None:
        self.writer.close()

    def _text(self, tag: str, text: str) -> None:
        self.writer.add_text(tag, f"```\n{text}\n```")
        self.writer.flush()


class _Wandb:
    """A run of its own per fit, in one group per study; offline unless WANDB_MODE says otherwise.

    Nothing but what is handed over is recorded: no console, no code, no git, no machine. The
    model artifact refers to the checkpoint where it lies, without a copy of it.
    """

    def __init__(
        self,
        module: Any,
        folder: Path,
        group: str,
        label: str,
        job: str,
        description: dict[str, Any],
    ) -> None:
        self.module = module
        self.label = label
        settings = module.Settings(
            silent=True,
            console="off",
            host="",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        # Both are read when the package starts its service: without the first it reports how it
        # is used, even offline; the second keeps the log of the service in the run folder.
        quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(folder / "cache")}
        with _environment(quiet):
            self.run = module.init(
                project=PROJECT,
                group=group,
                name=label,
                job_type=job,
                config=description,
                dir=str(folder),
                mode=os.environ.get("WANDB_MODE") or "offline",
                reinit="create_new",
                settings=settings,
            )

    def epoch(self, entry: Mapping[str, float]) -> None:
        self.run.log(dict(entry), step=int(entry["epoch"]), commit=True)

    def checkpoint(self, files: list[Path]) -> None:
        artifact = self.module.Artifact(re.sub(r"[^\w.-]", "-", self.label), type="model")
        for path in files:
            artifact.add_file(str(path.absolute()), policy="immutable")
        self.run.log_artifact(artifact)

    def result(self, metrics: Mapping[str, float]) -> None:
        self.run.summary.update(dict(metrics))

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not set, for the length of a block."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
