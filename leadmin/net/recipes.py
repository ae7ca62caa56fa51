"""Recipes: everything that decides how a network is trained, apart from data and seed."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from leadmin.errors import LeadminError
from leadmin.net.model import Architecture


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, apart from the data and the seed.

    Parameters
    ----------
    name : str
        What reports call it.
    scaling : {"record", "lead", "factor"}
        ``record``: each lead of each record is z-scored, which removes the voltage.
        ``lead``: each lead is z-scored with the mean and standard deviation of that lead in
        the training records. ``factor``: every lead is divided by one number, the standard
        deviation of the training records, which keeps voltages and the limb-lead identities.
    train_labels : {"any", "likelihood50"}
        Which diagnostic statements count as labels in training. Evaluation always uses the
        study's policy, so that recipes are compared on the same records and labels.
    epochs : int
        Passes over the training records.
    patience : int
        Stop after this many epochs without a better validation AUROC and go back to the best
        weights; 0 keeps the last weights.
    batch_size : int
        Records per step.
    learning_rate, weight_decay : float
        Of AdamW; with ``one_cycle`` the peak rate.
    schedule : {"cosine", "one_cycle"}
        How the learning rate moves.
    label_smoothing : float
        Targets become ``y * (1 - s) + s / 2``.
    mixup : float
        Parameter of the Beta distribution that mixes pairs of records; 0 for none.
    crop_seconds : float
        Length of the random crop that one step sees; 0 for the whole record.
    test_windows : int
        Evenly spaced crops whose logits are averaged at evaluation.
    noise : float
        Standard deviation of added white noise, in scaled units.
    averaging : float
        Decay per step of the exponential moving average of the weights; 0 for none.
    lead_masking : bool
        Whether each record shows a random set of its leads, from one to all, the others zero:
        training of a network that reads any lead set.
    start : str
        Recipe of the 12-lead network whose weights training starts from; empty for random ones.
    architecture : Architecture
        The network's own options.
    """

    name: str
    scaling: Literal["record", "lead", "factor"] = "factor"
    train_labels: Literal["any", "likelihood50"] = "any"
    epochs: int = 30
    patience: int = 0
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    schedule: Literal["cosine", "one_cycle"] = "one_cycle"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    crop_seconds: float = 2.5
    test_windows: int = 8
    noise: float = 0.1
    averaging: float = 0.995
    lead_masking: bool = False
    start: str = ""
    architecture: Architecture = field(default_factory=Architecture)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="default", start="any-lead", epochs=15),
        Recipe(name="any-lead", lead_masking=True, epochs=120),
        Recipe(name="scratch"),
        Recipe(
            name="original",
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
        ),
    )
}


ABLATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scratch-record-scaling": (
        "scratch",
        "z-score of each lead and record",
        {"scaling": "record"},
    ),
    "scratch-lead-scaling": (
        "scratch",
        "z-score of each lead",
        {"scaling": "lead"},
    ),
    "scratch-likelihood50": (
        "scratch",
        "labels from 50% likelihood",
        {"train_labels": "likelihood50"},
    ),
    "scratch-smoothing": ("scratch", "label smoothing 0.1", {"label_smoothing": 0.1}),
    "scratch-mixup": ("scratch", "mixup 0.2", {"mixup": 0.2}),
    "scratch-whole-record": (
        "scratch",
        "ten seconds, no crops",
        {"crop_seconds": 0.0, "test_windows": 1},
    ),
    "scratch-no-noise": ("scratch", "no noise", {"noise": 0.0}),
    "scratch-no-averaging": ("scratch", "no averaged weights", {"averaging": 0.0}),
    "original-factor-scaling": (
        "original",
        "original, with one scale factor",
        {"scaling": "factor"},
    ),
}
"""Recipes that differ from another one in one respect: name to origin, description, change."""


RECIPES |= {
    name: replace(RECIPES[origin], name=name, **change)
    for name, (origin, _, change) in ABLATIONS.items()
}


def recipe(name: str, epochs: int | None = None) -> Recipe:
    """Look up a recipe by name.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    epochs : int, optional
        Overrides the recipe's own number of epochs.

    Raises
    ------
    LeadminError
        If there is no such recipe, or ``epochs`` is not positive.
    """
    if name not in RECIPES:
        raise LeadminError(f"recipe {name!r} does not exist; valid: {', '.join(RECIPES)}")
    if epochs is None:
        return RECIPES[name]
    if epochs < 1:
        raise LeadminError(f"epochs must be at least 1, not {epochs}")
    return replace(RECIPES[name], epochs=epochs)


def window_samples(recipe: Recipe, sampling_rate: int, n_samples: int) -> int:
    """Length in samples of what one step sees: the recipe's crop, or the whole record."""
    if not recipe.crop_seconds:
        return n_samples
    return min(round(recipe.crop_seconds * sampling_rate), n_samples)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one step: a pure function, so that a resumed fit needs no scheduler state.

    ``cosine`` falls once per epoch from the full rate to zero; ``one_cycle`` climbs over the
    first 30 % of the steps from 1/25 of the peak and falls to 1/250,000 of it [Smith2018]_.

    .. [Smith2018] L. N. Smith, A disciplined approach to neural network hyper-parameters,
       arXiv:1803.09820.
    """
    peak, n_steps = recipe.learning_rate, steps_per_epoch * recipe.epochs
    if recipe.schedule == "cosine":
        epoch = step // steps_per_epoch
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    top = max(0.3 * n_steps - 1, 1.0)
    if step <= top:
        low, high, share = peak / 25, peak, step / top
    else:
        low, high, share = peak, peak / 250_000, (step - top) / max(n_steps - 1 - top, 1.0)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))
