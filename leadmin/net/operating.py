"""What probabilities of a trained network mean, and where to draw the line.

A network's probabilities are too bold or too timid, and 0.5 is nobody's threshold. Both are mended
with numbers from records that the network, or its like, had not seen: two per class recalibrate
the probability, three per class are thresholds on the recalibrated one. They hold for the share of
each class among those records; where it differs, thresholds at a specificity hold better than
probabilities do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadmin.errors import LeadminError
from leadmin.files import atomic_path, sha256
from leadmin.leads import representative

THRESHOLDS: Mapping[str, str] = MappingProxyType(
    {
        "specificity90": "90% of the records without the class stay below it",
        "specificity95": "95% of the records without the class stay below it",
        "best_f1": "it gives the best F1",
    }
)
"""Each threshold and what it stands for; a probability that equals it is above."""


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Recalibration and thresholds of a network for one signal space.

    Parameters
    ----------
    slope, offset : ndarray of float64, shape (n_classes,)
        Platt scaling: a logit ``x`` becomes ``offset + slope * x``.
    thresholds : dict of str to ndarray of float64, shape (n_classes,)
        `THRESHOLDS`, on recalibrated probabilities.
    auroc : ndarray of float64, shape (n_classes,)
        Of the records that all this stands on.
    n_records : int
        How many these are.
    n_positive : ndarray of int, shape (n_classes,)
        How many of them have the class.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    thresholds: dict[str, NDArray[np.float64]]
    auroc: NDArray[np.float64]
    n_records: int
    n_positive: NDArray[np.int64]

    def recalibrate(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        """Turn the network's probabilities, ``(..., n_classes)``, into recalibrated ones.

        The order of records within a class stays. What is no probability is refused.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if p.shape[-1:] != self.slope.shape or not ((p >= 0) & (p <= 1)).all():
            raise LeadminError(
                f"probabilities: shape {p.shape}; valid: numbers from 0 to 1, "
                f"(..., {len(self.slope)}); give what `predict` gives"
            )
        from scipy.special import expit, logit  # 0.3 s to import

        return np.asarray(expit(self.offset + self.slope * logit(p)))


def space_name(leads: Sequence[str]) -> str:
    """Name the signal space that ``leads`` span; equal spaces share operating points."""
    return ",".join(representative(leads))


def write_operating_points(path: Path, found: Mapping[str, OperatingPoints]) -> None:
    """Write operating points by `space_name`, as arrays with a row for each space."""
    values = list(found.values())
    arrays: dict[str, NDArray[np.generic]] = {
        "spaces": np.array(list(found)),
        "n_records": np.array([one.n_records for one in values]),
        "n_positive": np.stack([one.n_positive for one in values]),
    }
    for name in ("slope", "offset", "auroc"):
        arrays[name] = np.stack([getattr(one, name) for one in values]).astype(np.float32)
    for name in THRESHOLDS:
        rows = np.stack([one.thresholds[name] for one in values])
        arrays[f"thresholds/{name}"] = rows.astype(np.float32)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


@lru_cache(maxsize=16)
def read_operating_points(path: Path, checksum: str) -> Mapping[str, OperatingPoints]:
    """Read what `write_operating_points` wrote; a file of another SHA-256 is refused."""
    if not path.is_file() or sha256(path) != checksum:
        raise LeadminError(
            f"{path}: missing, or its checksum differs from operating_sha256 in config.json; "
            "install the package again"
        )
    with np.load(path, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    return MappingProxyType(
        {
            str(space): OperatingPoints(
                table["slope"][row].astype(np.float64),
                table["offset"][row].astype(np.float64),
                {name: table[f"thresholds/{name}"][row].astype(np.float64) for name in THRESHOLDS},
                table["auroc"][row].astype(np.float64),
                int(table["n_records"][row]),
                table["n_positive"][row],
            )
            for row, space in enumerate(table["spaces"])
        }
    )
