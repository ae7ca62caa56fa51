"""Curves for TensorBoard and Weights & Biases, beside the files that every run writes.

``history.csv`` and ``metrics.json`` are the results; what a tracker writes is a view of them.
Trackers are off unless a run asks for them, and they need packages of their own. Each fit of a
run has a folder of its own below the run folder::

    tensorboard/<recipe>-seed<k>[-fold<f>]/
    wandb/<recipe>-seed<k>[-fold<f>]/wandb/offline-run-<date>-<id>/

A tracker only listens: it draws no random number, and what goes wrong inside it ends the
tracking, not the training. Each is told on its own: W&B's ``sync_tensorboard`` (wandb 0.31) gave
each epoch twice, rounded to float32, without its step.
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
from typing import Any, Self

import pandas as pd

from leadmin.errors import LeadminError

MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""What each tracker needs; its name is also that of the extra that installs it."""
PROJECT = "leadmin"
Described = dict[str, Any]
TEST_METRICS = ("auroc", "average_precision", "f1", "brier", "ece")
"""Of the test metrics, those that a tracker shows, each as macro value and per class."""


def tracker_names(tracking: str) -> tuple[str, ...]:
    """List the trackers that a parameter names with commas; one not in `MODULES` is refused."""
    names = [part.strip() for part in tracking.split(",")] if tracking.strip() else []
    if not set(names) <= set(MODULES):
        raise LeadminError(
            f"parameter tracking is {tracking!r}; valid: '' (none), {', '.join(MODULES)}, or both "
            "with a comma"
        )
    return tuple(dict.fromkeys(names))


def study_name(folder: Path) -> str:
    """Name the study of ``outputs/<study>/runs/<config>``; elsewhere, the folder around it."""
    parent = folder.absolute().parent
    return parent.parent.name if parent.name == "runs" else parent.name


class Tracking:
    """Hands what happens in one run to the trackers that were chosen; a context manager.

    ``tracking`` is what `tracker_names` reads; a package that is not installed is refused. What
    trackers wrote into the run folder for an earlier training is taken away: a resumed fit tells
    its whole history again.

    An error inside a tracker (a full disk, a service that does not answer) is shown once as a
    warning; that tracker is then left out for the rest of the run, with what it wrote so far.
    """

    def __init__(self, tracking: str, folder: Path, config: str) -> None:
        self.folder, self.config = folder, config
        self._modules = {name: _module(name) for name in tracker_names(tracking)}
        self._writers: dict[str, _TensorBoard | _Wandb] = {}
        for name in MODULES:
            with self._survived(name):
                for older in (folder / name).glob("*-seed*"):
                    shutil.rmtree(older)

    @property
    def chosen(self) -> bool:
        """Whether any tracker listens."""
        return bool(self._modules)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close what is open, marked as failed if an error ended the block."""
        self._close(failed=kind is not None)

    def start(self, stem: str, description: Mapping[str, Any], job: str = "train") -> None:
        """Begin a fit, ``<recipe>-seed<k>[-fold<f>]``; the one before it ends.

        ``description`` is ready for JSON. The job ``test`` is what belongs to no single fit: the
        pooled folds of a cross-validation.
        """
        self._close(failed=False)
        for name, module in list(self._modules.items()):
            with self._survived(name):
                folder = self.folder / name / stem
                folder.mkdir(parents=True)
                labels = {"name": f"{self.config}-{stem}", "job_type": job}
                writer = _TensorBoard if name == "tensorboard" else _Wandb
                self._writers[name] = writer(module, folder, self.folder, labels, dict(description))

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

    def _each(self, event: str, detail: Any) -> None:
        for name, writer in list(self._writers.items()):
            with self._survived(name):
                getattr(writer, event)(detail)

    def _close(self, failed: bool) -> None:
        self._each("close", failed)
        self._writers.clear()

    @contextmanager
    def _survived(self, name: str) -> Iterator[None]:
        """Leave a tracker out from an error on: the results of the run do not depend on it."""
        try:
            yield
        except Exception as error:
            warnings.warn(
                f"{self.folder}: tracking with {name} stopped ({type(error).__name__}: {error}); "
                "the training goes on without it, and history.csv will hold the curves",
                stacklevel=4,
            )
            self._modules.pop(name, None)
            with suppress(Exception):  # it has been reported as broken
                if writer := self._writers.pop(name, None):
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

    def __init__(self, module: Any, folder: Path, run: Path, _: Described, told: Described) -> None:
        self.description, self.run_folder = told, run
        self.writer = module.SummaryWriter(str(folder))
        self._text("configuration", json.dumps(self.description, indent=2))

    def epoch(self, entry: Mapping[str, float]) -> None:
        for name in entry.keys() - {"epoch"}:
            self.writer.add_scalar(name, entry[name], int(entry["epoch"]))
        self.writer.flush()

    def checkpoint(self, files: list[Path]) -> None:
        named = (path.relative_to(self.run_folder).as_posix() for path in files)
        self._text("checkpoint", "\n".join(named))

    def result(self, metrics: Mapping[str, float]) -> None:
        (flat,) = pd.json_normalize(self.description).to_dict("records")
        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in flat.items()}
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
        self, module: Any, folder: Path, run: Path, labels: Described, told: Described
    ) -> None:
        self.module, self.name = module, labels["name"]
        silent = {"silent": True, "console": "off", "host": "", "x_save_requirements": False}
        off = ("disable_code", "disable_git", "x_disable_meta", "x_disable_stats")
        # Both are read when the package starts its service: without the first it reports how it
        # is used, even offline; the second keeps the log of the service in the run folder.
        quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(folder / "cache")}
        with _environment(quiet):
            self.run = module.init(
                project=PROJECT,
                group=study_name(run),
                config=told,
                dir=str(folder),
                mode=os.environ.get("WANDB_MODE") or "offline",
                reinit="create_new",
                settings=module.Settings(**silent, **dict.fromkeys(off, True)),
                **labels,
            )

    def epoch(self, entry: Mapping[str, float]) -> None:
        self.run.log(dict(entry), step=int(entry["epoch"]), commit=True)

    def checkpoint(self, files: list[Path]) -> None:
        artifact = self.module.Artifact(re.sub(r"[^\w.-]", "-", self.name), type="model")
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
