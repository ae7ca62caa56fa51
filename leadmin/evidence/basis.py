"""On what a table stands, in words."""

from dataclasses import dataclass

import numpy as np

from leadmin.errors import LeadminError
from leadmin.evidence.scores import Evidence
from leadmin.labels import LABEL_POLICIES, are_superclasses
from leadmin.study.protocol import PROTOCOL_WORDS


@dataclass(frozen=True)
class StudyDescription:
    """What a reader must know to place the numbers; ``name`` is that of the study file.

    ``data`` says which records these are: ``"PTB-XL 1.0.3, the 1,200 embedded records"``.
    """

    name: str
    title: str
    data: str
    protocol: str
    label_policy: str = "any"

    def __post_init__(self) -> None:
        for field, choices in (("protocol", PROTOCOL_WORDS), ("label_policy", LABEL_POLICIES)):
            if getattr(self, field) not in choices:
                raise LeadminError(
                    f"study: {field} is {getattr(self, field)!r}; valid: {', '.join(choices)}; "
                    "change it"
                )


def absent_in_words(evidence: Evidence) -> str:
    """Name the classes that folds lack, and say over which ones macro averages then run.

    Empty where every fold has records with and without each class.
    """
    folds, parts = np.unique(evidence.fold), []
    lacking, apart = [], {}
    for name, column in zip(evidence.classes, evidence.labels.T, strict=True):
        absent = [fold for fold in folds if np.ptp(column[evidence.fold == fold]) == 0]
        if np.ptp(column) == 0:
            lacking.append(name)
        elif absent:
            apart[name] = absent
    if lacking:
        rest = [name for name in evidence.classes if name not in lacking]
        over = f"the mean over {', '.join(rest)}" if rest else "undefined"
        parts.append(
            f"Test records with and without the class are not both there for {', '.join(lacking)}: "
            f"no AUROC of it exists, and every macro AUROC is {over}."
        )
    if apart:
        said = "; ".join(f"{name}: {', '.join(map(str, at))}" for name, at in apart.items())
        parts.append(
            f"Some test folds hold only one label of a class ({said}). It counts in everything "
            "that pools the records of all folds; an AUROC within folds is the mean over its other "
            "folds, and a macro average within such a fold the mean over the other classes."
        )
    validation = evidence.runs[evidence.configs[0]].validation
    unseen = [
        name
        for name, column in zip(evidence.classes, validation.labels.T, strict=True)
        if not all(column[validation.fold == fold].any() for fold in np.unique(validation.fold))
    ]
    if unseen:
        parts.append(
            f"Where no validation record has the class ({', '.join(unseen)}), the threshold of F1 "
            "is 0.5."
        )
    return " ".join(parts)


def basis(evidence: Evidence, study: StudyDescription) -> str:
    """Say in plain text on what a table stands."""
    seeds = sorted({scored.n_seeds for scored in evidence.scored.values()})
    if len(seeds) == 1:
        trained = f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''} per configuration and recipe"
    else:
        trained = f"{seeds[0]} to {seeds[-1]} seeds per configuration and recipe"
    for recipe in evidence.recipes:
        n_trained = sum((config, recipe) in evidence.scored for config in evidence.configs)
        if n_trained < len(evidence.configs):
            trained += f"; recipe {recipe} on {n_trained} of {len(evidence.configs)} configurations"
    labels = LABEL_POLICIES[study.label_policy].words
    if not are_superclasses(evidence.classes):
        labels = "the statements of its table"
    return (
        f"Data: {study.data}. Labels: {labels}. "
        f"Protocol: {PROTOCOL_WORDS[study.protocol]}. "
        f"{evidence.n_records:,} test records of {evidence.n_patients:,} patients; {trained}; "
        f"{evidence.n_resamples:,} bootstrap resamples of patients. {absent_in_words(evidence)}"
    ).rstrip()
