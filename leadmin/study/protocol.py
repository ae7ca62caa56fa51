"""Which folds train, validate and test."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError

N_FOLDS = 10
PROTOCOL_WORDS = {
    "holdout": "holdout (folds 1-8 train, 9 validates, 10 tests)",
    "crossval": "ten-fold cross-validation over patient folds, predictions pooled",
}
PROTOCOLS = tuple(PROTOCOL_WORDS)


@dataclass(frozen=True)
class Split:
    """Which records train, validate and test, as indices; ``test_fold`` counts from 1."""

    test_fold: int
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def splits(dataset: EcgDataset, protocol: str, label_policy: str) -> list[Split]:
    """Divide a dataset by its patient folds.

    ``holdout``: folds 1-8 train, 9 validates, 10 tests, as the PTB-XL benchmark does
    [Strodthoff2021]_. ``crossval``: each of the ten folds is tested once, the fold behind it
    validates, the other eight train.

    Records without a label under ``label_policy`` are left out; a fold without any is refused.

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
        validation = N_FOLDS - 1 if protocol == "holdout" else _fold_behind(test)
        trained = ~np.isin(dataset.fold, (test, validation))
        parts = (trained, dataset.fold == validation, dataset.fold == test)
        result.append(Split(test, *(np.flatnonzero(part & labelled) for part in parts)))
    return result


def networks(
    validation_fold: NDArray[Any], test_fold: NDArray[Any]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Tell which validation and which test records belong to the same network.

    Under cross-validation every record is validated by one network and tested by another. A
    threshold or a recalibration is fitted on the validation records of the network that it serves;
    fitted on all of them, it would have seen every test label.

    Of the folds of both parts, (n_records,) each, yields masks of the validation and the test
    records of one network after the other; with one test fold, of all. A network without a
    validation record is refused.
    """
    tested = np.unique(test_fold)
    for fold in tested:
        own = np.ones(len(validation_fold), dtype=bool)
        if len(tested) > 1:
            own = np.asarray(validation_fold) == _fold_behind(int(fold))
        if not own.any():
            raise LeadminError(
                f"predictions: the network that tests fold {fold} has no validation record; valid: "
                f"those of fold {_fold_behind(int(fold))}; run the configuration again"
            )
        yield own, np.asarray(test_fold) == fold


def _fold_behind(test_fold: int) -> int:
    """Give the fold that validates under cross-validation."""
    return test_fold % N_FOLDS + 1
