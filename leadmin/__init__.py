"""Lead-Minimal ECG: the package that computes a study of how few ECG leads are needed.

Examples
--------
>>> import leadmin
>>> classifier = leadmin.load("3-lead-I-II-V2")
>>> classifier.leads
('I', 'II', 'V2')
"""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leadmin.net.classifier import EcgClassifier
    from leadmin.net.own import MakeNetwork

__all__ = ["load", "networks"]


def networks() -> tuple[str, ...]:
    """Name the trained networks that come with the package, ``any-lead`` first."""
    from leadmin.leads import configurations

    shipped = resources.files("leadmin") / "networks"
    names = ("any-lead", *configurations(beyond=True))
    return tuple(name for name in names if (shipped / name / "config.json").is_file())


def load(
    name: str | Path,
    runs: str | Path | None = None,
    network: "MakeNetwork | None" = None,
) -> "EcgClassifier":
    """Load a trained network, ready to use.

    Parameters
    ----------
    name : str or Path
        One of `networks`, from wherever you are: trained on every record at hand, so that none of
        them can test it; its model card has the figures of its recipe's cross-validation. Or the
        folder of a run of yours, such as ``outputs/sample/runs/3-lead-I-II-V2``, whose first seed
        and fold is taken; or a checkpoint file. A text that is the name of a network is never read
        as a folder; a Path always is.
    runs : str or Path, optional
        A folder of runs. If it is given, ``name`` is looked up there and nowhere else.
    network : callable, optional
        The class of a network of one's own, where it is one: nothing in a checkpoint is imported.

    Returns
    -------
    EcgClassifier
        Its `predict` checks shape, unit, sampling rate and leads.

    Raises
    ------
    LeadminError
        If there is no such network or it is damaged.
    """
    from leadmin.errors import LeadminError

    if runs is None and isinstance(name, str) and name in networks():
        from leadmin.net.shipped import load_shipped

        return load_shipped(Path(str(resources.files("leadmin") / "networks" / name)))
    from leadmin.net.checkpoint import load_checkpoint

    if not isinstance(name, str | Path):
        raise LeadminError(f"network is {str(name)[:80]!r}; valid: a name or a path; give one")
    path = Path(name) if runs is None else Path(runs, name)
    if path.suffix in {".json", ".safetensors"} or (path / "config.json").is_file():
        return load_checkpoint(path, network=network)
    of_a_run = ("metrics.json", "predictions.npz", "checkpoints", "state")
    if runs is None and not any((path / part).exists() for part in of_a_run):
        raise LeadminError(
            f"network: there is no {str(name)[:80]!r}; valid: {', '.join(networks())}, or the "
            "folder of a finished run such as outputs/sample/runs/3-lead-I-II-V2; choose one"
        )
    from leadmin.study.run import load_run

    run = load_run(path)
    if not run.checkpoints:
        raise LeadminError(
            f"{path}: this run names no checkpoint, as most published ones; valid: "
            f"{', '.join(networks())}, or a run below outputs; load one of them"
        )
    return load_checkpoint(run.checkpoints[0], network=network)
