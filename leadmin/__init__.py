"""Lead-Minimal ECG: the package that computes a study of how few ECG leads are needed.

Examples
--------
>>> import leadmin
>>> classifier = leadmin.load("outputs/sample/runs/3-lead-I-II-V2")  # doctest: +SKIP
>>> classifier.leads  # doctest: +SKIP
('I', 'II', 'V2')
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leadmin.net.classifier import EcgClassifier
    from leadmin.net.own import MakeNetwork

__all__ = ["load"]


def load(
    name: str | Path,
    runs: str | Path = "outputs/sample/runs",
    network: "MakeNetwork | None" = None,
) -> "EcgClassifier":
    """Load a trained network, ready to use.

    Parameters
    ----------
    name : str or Path
        A configuration that was trained below ``runs``, ``any-lead`` for the network that reads
        any lead set, a run folder, or a checkpoint file. Of a run, the first seed of its primary
        recipe is taken.
    runs : str or Path
        The folder of runs.
    network : callable, optional
        The class of a network of one's own, where it is one: nothing in a checkpoint is imported.

    Returns
    -------
    EcgClassifier
        Its `predict` checks shape, unit, sampling rate and lead order.

    Raises
    ------
    LeadminError
        If there is no such checkpoint or it is damaged.
    """
    from leadmin.errors import LeadminError
    from leadmin.net.checkpoint import load_checkpoint
    from leadmin.study.run import load_run

    path = Path(name)
    if path.suffix in {".json", ".safetensors"}:
        return load_checkpoint(path, network=network)
    folder = path if path.is_dir() else Path(runs) / name
    run = load_run(folder)
    if not run.checkpoints:
        raise LeadminError(
            f"{folder}: this run names no checkpoint, as most published ones; valid: one below "
            "outputs, or book/published/map/runs/12-lead; train it"
        )
    return load_checkpoint(run.checkpoints[0], network=network)
