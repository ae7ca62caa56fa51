"""What each part of the recipe is worth, and what simpler methods reach on the same records.

Every variant and every baseline leaves a run folder of its own, as the training notebook does.
They are then scored together, under the same resamples of patients.
"""

import dataclasses
from collections.abc import Iterable

from leadmin.errors import LeadminError
from leadmin.net.recipes import RECIPES
from leadmin.study.baselines import BASELINES
from leadmin.study.run import Predictions, Run, require_same_records

VARIANTS: dict[str, str] = {
    **{recipe.name: recipe.description for recipe in RECIPES.values()},
    **{name: baseline[0] for name, baseline in BASELINES.items()},
}
"""Everything that the table can hold: name to description."""


def merge(runs: Iterable[Run]) -> Run:
    """Put runs of one configuration under different recipes into one.

    Folder, metrics and history are those of the first. None at all, a recipe that two have in
    common, other records or another configuration are refused.
    """
    listed = list(runs)
    if not listed:
        raise LeadminError("no runs to put together; train at least one variant first")
    first = listed[0]
    for run in listed[1:]:
        if run.config != first.config:
            raise LeadminError(
                f"{run.folder}: another configuration, {run.config}; valid: {first.config}, as in "
                f"{first.folder}; train both on the same one"
            )
    require_same_records(listed)
    names = [name for run in listed for name in run.recipes]
    if len(set(names)) < len(names):
        raise LeadminError(
            f"a recipe occurs in two of the runs: {', '.join(names)}; valid: each in one; leave "
            "one of them out"
        )

    def together(part: str) -> Predictions:
        logits = {n: x for run in listed for n, x in getattr(run, part).logits.items()}
        return dataclasses.replace(getattr(first, part), logits=logits)

    return dataclasses.replace(
        first,
        recipes=tuple(names),
        seeds={name: seeds for run in listed for name, seeds in run.seeds.items()},
        validation=together("validation"),
        test=together("test"),
    )
