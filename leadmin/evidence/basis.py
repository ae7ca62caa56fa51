"""On what a table stands, in words."""

from dataclasses import dataclass

from leadmin.errors import LeadminError
from leadmin.evidence.scores import Evidence
from leadmin.labels import LABEL_POLICIES
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
    return (
        f"Data: {study.data}. Labels: {LABEL_POLICIES[study.label_policy].words}. "
        f"Protocol: {PROTOCOL_WORDS[study.protocol]}. "
        f"{evidence.n_records:,} test records of {evidence.n_patients:,} patients; {trained}; "
        f"{evidence.n_resamples:,} bootstrap resamples of patients."
    )
