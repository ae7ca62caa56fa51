"""Recipes: everything that decides how a network is trained, apart from data and seed.

Macro AUROC with twelve leads, and its 95% interval over patients, on 4,303 test records of 4,119
patients: ten-fold cross-validation, one seed, so one network a fold.

========  =====  ==============
default   0.927  [0.922, 0.932]
any-lead  0.925  [0.920, 0.930]
scratch   0.921  [0.915, 0.926]
original  0.883  [0.876, 0.890]
========  =====  ==============

``original`` is the table of the study that this one carries further, to the letter. ``default`` is
the best that was found on validation folds under the same parameter budget. It trains in two steps:
first ``any-lead``, one network that reads all twelve leads with some of them hidden, and then, from
its weights, a network that reads the leads of one configuration alone. ``scratch`` is that second
step from random weights, with twice the epochs. All others are one of these with one thing changed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from leadmin.errors import LeadminError
from leadmin.net.model import Architecture
from leadmin.net.own import source_sha256

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, apart from the data and the seed."""

    name: str
    description: str = field(default="", compare=False)  # a short phrase for tables and figures
    origin: str = field(default="", compare=False)  # the recipe it is a variant of
    # One `factor` for all leads keeps voltages and the limb-lead identities. A z-score of each
    # `lead` over the training records, or of each lead of each `record`, removes them.
    scaling: Literal["record", "lead", "factor"] = "factor"
    train_labels: Literal["any", "likelihood50"] = (
        "any"  # in training and stopping; a study evaluates by its own
    )
    epochs: int = 30
    patience: int = 0  # epochs without a better validation AUROC; 0 keeps the last weights
    batch_size: int = 128
    learning_rate: float = 5e-3  # of AdamW; the peak of `one_cycle`
    weight_decay: float = 0.01
    schedule: Literal["cosine", "one_cycle"] = "one_cycle"
    label_smoothing: float = 0.0  # targets become y * (1 - s) + s / 2
    mixup: float = 0.0  # parameter of the Beta distribution that mixes pairs of records
    crop_seconds: float = 2.5  # of a record in one step, from a random place; 0 is all of it
    test_windows: int = 8  # evenly spaced; their logits are averaged
    noise: float = 0.1  # standard deviation of added white noise, in scaled units
    averaging: float = 0.995  # decay per step of the moving average of the weights; 0 is none
    # Of a network for any leads: how much of the target is in the end what the averaged network
    # says of all leads; the rest is the label. It rises over the first fifth of the steps.
    teaching: float = 0.0
    start: str = ""  # recipe of the network whose weights training starts from; random if empty
    architecture: Architecture = field(default_factory=Architecture)
    network: str = ""  # module:Class of a network in place of the study's, see leadmin.net.own


def _variant(origin: Recipe, name: str, description: str, **changes: Any) -> Recipe:
    """Give a recipe that differs from another one in one respect."""
    return replace(origin, name=name, description=description, origin=origin.name, **changes)


_SCRATCH = Recipe("scratch", "scratch: from random weights")
_ORIGINAL = Recipe(
    "original",
    "the original recipe",
    scaling="record",
    train_labels="likelihood50",
    epochs=30,
    patience=7,
    learning_rate=1e-3,
    schedule="cosine",
    label_smoothing=0.1,
    mixup=0.2,
    crop_seconds=0.0,
    test_windows=1,
    noise=0.0,
    averaging=0.0,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "any-lead",
            "the any-lead network",
            epochs=240,
            teaching=0.5,
            architecture=Architecture(any_leads=True),
        ),
        Recipe("default", "default, from any-lead", start="any-lead", epochs=15),
        _SCRATCH,
        _ORIGINAL,
        _variant(
            _SCRATCH, "scratch-record-scaling", "z-score of each lead and record", scaling="record"
        ),
        _variant(_SCRATCH, "scratch-lead-scaling", "z-score of each lead", scaling="lead"),
        _variant(
            _SCRATCH,
            "scratch-likelihood50",
            "labels from 50% likelihood",
            train_labels="likelihood50",
        ),
        _variant(_SCRATCH, "scratch-smoothing", "label smoothing 0.1", label_smoothing=0.1),
        _variant(_SCRATCH, "scratch-mixup", "mixup 0.2", mixup=0.2),
        _variant(
            _SCRATCH,
            "scratch-whole-record",
            "ten seconds, no crops",
            crop_seconds=0.0,
            test_windows=1,
        ),
        _variant(_SCRATCH, "scratch-no-noise", "no noise", noise=0.0),
        _variant(_SCRATCH, "scratch-no-averaging", "no averaged weights", averaging=0.0),
        _variant(
            _ORIGINAL,
            "original-wide",
            "original, with the 509,509 parameters of its code",
            architecture=Architecture(kernel=15, channels=(32, 64, 128), strides=(1, 2, 2)),
        ),
        _variant(
            _ORIGINAL,
            "original-factor-scaling",
            "original, with one scale factor",
            scaling="factor",
        ),
    )
}
"""Every recipe, by its name."""


OPTIONS = {
    "scaling": "Scaling",
    "train_labels": "Labels in training",
    "crop_seconds": "Seconds of a record per step",
    "test_windows": "Windows at test, logits averaged",
    "start": "Starts from",
    "epochs": "Epochs",
    "patience": "Patience, in epochs",
    "batch_size": "Records per step",
    "learning_rate": "Learning rate (AdamW)",
    "schedule": "Schedule",
    "weight_decay": "Weight decay",
    "label_smoothing": "Label smoothing",
    "mixup": "Mixup",
    "noise": "Added noise, in standard deviations",
    "averaging": "Averaged weights, decay",
    "teaching": "Taught by the full view, weight",
    "architecture.dropout": "Dropout",
    "architecture.spatial_dropout": "Spatial dropout",
    "architecture.stochastic_depth": "Stochastic depth",
}
"""Options that reports list, and what they call them."""

VALUES: dict[str, dict[str, str]] = {
    "scaling": {
        "factor": "one factor for all, voltage kept",
        "lead": "z-score per lead",
        "record": "z-score per lead and record, voltage lost",
    },
    "train_labels": {"any": "any likelihood", "likelihood50": "likelihood of at least 50%"},
    "crop_seconds": {"0": "the whole record"},
    "start": {
        "": "random weights",
        "any-lead": f"the any-lead network, {RECIPES['any-lead'].epochs} epochs",
    },
    "patience": {"0": "none: fixed length"},
    "schedule": {"one_cycle": "one cycle"},
    **{
        name: {"0": "none"}
        for name in ("label_smoothing", "mixup", "noise", "averaging", "teaching")
    },
}
"""Values of options that reports say in words."""


def recipe_identity(recipe: Recipe) -> dict[str, Any]:
    """Give the name of a recipe and everything that numbers depend on.

    A run and a checkpoint store it, and two fits of one recipe have it in common. Ready for JSON:
    it equals what is read back.
    """
    found = asdict(recipe)
    for words in ("description", "origin"):
        del found[words]
    if name := found.pop("network"):
        found["network"] = {"name": name, "sha256": source_sha256(name)}
    architecture = found["architecture"].items()
    found["architecture"] = {k: list(v) if isinstance(v, tuple) else v for k, v in architecture}
    return found


def recipe_table(*recipes: str | Mapping[str, Any]) -> "pd.DataFrame":
    """List the options of some recipes in words: rows are `OPTIONS`, columns recipes.

    A recipe is given by its name, or as a run has stored it, see `recipe_identity`. An unknown one,
    or a stored one that lacks an option, is refused.
    """
    columns = {}
    for one in recipes:
        stored = recipe_identity(recipe(one)) if isinstance(one, str) else one
        values = {}
        for option, title in OPTIONS.items():
            value: Any = stored
            for key in option.split("."):
                if key not in value:
                    raise LeadminError(
                        f"recipe {stored.get('name')}: a run stored it without {option}; train "
                        "that run again"
                    )
                value = value[key]
            text = f"{value:g}" if isinstance(value, float) else str(value)
            values[title] = VALUES.get(option, {}).get(text, text)
        columns[str(stored["name"])] = values
    import pandas as pd  # who only loads a network does not wait for it

    return pd.DataFrame(columns)


def recipe(name: str, epochs: int | None = None) -> Recipe:
    """Look up a recipe of `RECIPES`; ``epochs``, at least 1, overrides its own number of them."""
    if name not in RECIPES:
        raise LeadminError(f"recipe {name!r} does not exist; valid: {', '.join(RECIPES)}")
    if epochs is None:
        return RECIPES[name]
    if epochs < 1:
        raise LeadminError(f"recipe {name}: epochs is {epochs}; valid: whole numbers from 1")
    return replace(RECIPES[name], epochs=epochs)


def window_samples(recipe: Recipe, sampling_rate: int, n_samples: int) -> int:
    """Length in samples of what one step sees: the recipe's crop, or the whole record."""
    if not recipe.crop_seconds:
        return n_samples
    return min(round(recipe.crop_seconds * sampling_rate), n_samples)
