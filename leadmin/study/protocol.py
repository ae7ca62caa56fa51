"""Which folds train, validate and test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError

N_FOLDS = 10


PROTOCOLS = ("holdout", "crossval")


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


PROTOCOL_WORDS = {
    "holdout": "holdout (folds 1-8 train, 9 validates, 10 tests)",
    "crossval": "ten-fold cross-validation over patient folds, predictions pooled",
}
