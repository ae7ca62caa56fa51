"""The networks that ship with the package: trained on every record, judged by cross-validation.

A network that has seen every record cannot be measured on any of them. What is known of it, and the
operating points that it is used with, come from networks of the same recipe that were trained on
nine parts in ten or less, each on records that it had not seen.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from leadmin import metrics
from leadmin.data import ptbxl
from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.evidence.estimates import of_columns
from leadmin.evidence.reliability import fit_recalibration
from leadmin.evidence.resampling import Weights, all_weights, patient_weights, weighted_auroc
from leadmin.files import atomic_path, sha256, write_json, write_text
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import electrodes_needed, resolve
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.device import Computing
from leadmin.net.fit import FitJob, fit
from leadmin.net.model import count_parameters
from leadmin.net.operating import OperatingPoints, space_name, write_operating_points
from leadmin.net.recipes import Recipe, recipe_identity
from leadmin.study.identity import code_sha256
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import Run

LICENSE = "mit"
"""Of the weights, as of the code; the records that they come from are CC BY 4.0."""

N_RESAMPLES = 2000
"""Of patients, for the intervals of a model card."""

WATCHED = 256
"""Training records that are looked at after each epoch, to see that a fit goes well."""


def train_on_everything(
    dataset: EcgDataset,
    config: str,
    recipe: Recipe,
    stem: Path,
    start: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> EcgClassifier:
    """Train a network on every labelled record and leave its checkpoint.

    No record is left to validate on, so the recipe has to have a fixed length, as those have that
    this study settled on. Killed and called again, it goes on behind the last complete epoch; a
    checkpoint of the same data, recipe and code is only read.

    ``stem`` is that checkpoint without suffix, beside which the state of the fit stands until it
    ends; ``start`` the one to start from, trained on every record too, if the recipe starts from
    one. ``on_epoch`` is called with each new entry of the history, whose validation is on trained
    records. A recipe that stops by validation records is refused; its ``patience`` has to be 0.
    """
    if recipe.patience:
        raise LeadminError(
            f"recipe {recipe.name}: it stops by validation records (patience {recipe.patience}), "
            "and of all records none is left; valid: a recipe of fixed length; choose one"
        )
    configuration, device = resolve(config), torch.device("cpu")
    begun = load_checkpoint(start, device) if start is not None else None
    identity: dict[str, Any] = {
        "leads": list(configuration.leads),
        "recipe": recipe_identity(recipe),
        "data_sha256": dataset.attributes["content_sha256"],
        "start": begun.metadata["weights_sha256"] if begun else None,
        "code": code_sha256(),
    }
    try:
        if (done := load_checkpoint(stem)).metadata["provenance"].get("identity") == identity:
            return done
    except LeadminError:
        pass  # not trained yet
    train = np.flatnonzero(dataset.labels[recipe.train_labels].any(axis=1))
    provenance = describe_environment(device, torch.get_num_threads())
    provenance |= {"data": describe_data(dataset), "seed": 0, "identity": identity}
    provenance["trained_on"] = {
        "n_records": len(train),
        "n_patients": len(np.unique(dataset.patient_id[train])),
        "n_positive": dict(
            zip(CLASSES, dataset.labels[recipe.train_labels][train].sum(0).tolist(), strict=True)
        ),
    }
    state = stem.with_name(f"{stem.name}.state.safetensors")
    # `fit` wants records to watch. Without patience nothing follows from them.
    job = FitJob(configuration, recipe, train, train[:WATCHED], code=identity["code"])
    trained = fit(
        dataset,
        job,
        computing=Computing(device),
        state_path=state,
        on_epoch=on_epoch,
        start=begun,
    )
    save_checkpoint(stem, trained, recipe, configuration.name, provenance)
    state.unlink(missing_ok=True)
    return load_checkpoint(stem)


def answers_of(run: Run, recipe: str) -> NDArray[np.float32]:
    """Give the test logits, (n_records, n_classes), of the first seed of a run.

    Of a map, ``recipe`` names a set.
    """
    return run.test.logits[recipe][0]


def fit_operating_points(labels: NDArray[Any], logits: NDArray[Any]) -> OperatingPoints:
    """Find recalibration and thresholds on records that the networks had not seen.

    Labels, of which each class has both, and logits of one or several networks of a recipe are
    (n_records, n_classes). A threshold lies halfway between the neighbouring probabilities that it
    parts.
    """
    fitted = fit_recalibration(labels, logits)
    p = metrics.probabilities(fitted(logits))
    return OperatingPoints(
        fitted.slope,
        fitted.intercept,
        {
            "specificity90": _at_specificity(labels, p, 0.90),
            "specificity95": _at_specificity(labels, p, 0.95),
            "best_f1": metrics.thresholds(labels, p),
        },
        metrics.auroc(labels, logits),
        len(labels),
        np.asarray(labels).sum(axis=0, dtype=np.int64),
    )


def _at_specificity(labels: NDArray[Any], p: NDArray[np.float64], level: float) -> Any:
    """Give the lowest threshold per class below which ``level`` of the negatives stay."""
    chosen = np.empty(p.shape[1])
    for c in range(p.shape[1]):
        below = np.sort(p[labels[:, c] == 0, c])
        last = below[int(np.ceil(level * len(below) - 1e-9)) - 1]  # has to stay below
        above = p[p[:, c] > last, c].min(initial=1.0)
        chosen[c] = (last + above) / 2
    return chosen


def resampled(patient_id: NDArray[Any], n_resamples: int) -> Weights:
    """Weigh records as they are, in resamples of patients, and without some of these."""
    drawn = patient_weights(patient_id, n_resamples, np.random.default_rng(0))
    return all_weights(patient_id, drawn)


def aurocs(labels: NDArray[Any], logits: NDArray[Any], weights: Weights) -> NDArray[np.float64]:
    """AUROC of each class under each column of weights, (n_classes, n_columns)."""
    by_class = zip(labels.T, logits.T, strict=True)
    return np.stack([weighted_auroc(y, x, weights) for y, x in by_class])


def auroc_with_intervals(
    labels: NDArray[Any], logits: NDArray[Any], patient_id: NDArray[Any]
) -> dict[str, list[float]]:
    """Give AUROC and its 95% interval over patients, three numbers, per class and for the mean."""
    values = aurocs(labels, logits, resampled(patient_id, N_RESAMPLES))
    columns = dict(zip(("macro", *CLASSES), (values.mean(axis=0), *values), strict=True))
    found = {name: of_columns(x, N_RESAMPLES) for name, x in columns.items()}
    return {name: [one.value, *one.bca()] for name, one in found.items()}


def ship(
    folder: Path,
    checkpoint: Path,
    run: Run,
    answers: Mapping[str, NDArray[np.float32]],
    told: Sequence[str],
    note: str,
) -> None:
    """Write the folder of a network that ships, in the form of the Hugging Face hub.

    These are ``model.safetensors``, ``config.json``, ``operating.npz`` and the card.
    ``checkpoint`` is what `train_on_everything` left. ``run`` says how its like did on records that
    they had not seen: their ``answers`` on its test records go by the name of a lead set; ``told``
    are the sets whose AUROC the card tells; ``note`` says in sentences what differs.
    """
    classifier, test = load_checkpoint(checkpoint), run.test
    with atomic_path(folder / "model.safetensors") as temporary:
        shutil.copyfile(checkpoint.with_name(f"{checkpoint.name}.safetensors"), temporary)
    points = {
        space_name(resolve(one).leads): fit_operating_points(test.labels, logits)
        for one, logits in answers.items()
    }
    write_operating_points(folder / "operating.npz", points)
    recipe = classifier.metadata["recipe"]["name"]
    config = classifier.metadata | {
        "class_names": {name: CLASS_NAMES[name] for name in classifier.classes},
        "license": LICENSE,
        "operating_sha256": sha256(folder / "operating.npz"),
        "cross_validation": {
            "recipe": recipe,
            "n_records": len(test.record_id),
            "n_patients": len(np.unique(test.patient_id)),
            "n_networks": len(np.unique(test.fold)),
            "auroc": {
                one: auroc_with_intervals(test.labels, answers[one], test.patient_id)
                for one in told
            },
            "git_commit": run.metrics["provenance"]["git_commit"],
            "note": note,
        },
    }
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", model_card(folder))
    print(folder)


def model_card(folder: Path) -> str:
    """Write the model card of a folder that ships, from its ``config.json``."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True
    )
    classifier = load_checkpoint(folder)
    about = classifier.metadata
    points = classifier.operating_points(classifier.leads)
    return templates.get_template("network.md.jinja").render(
        name=folder.name,
        about=about,
        any_leads=classifier.model.architecture.any_leads,
        validated=about["cross_validation"],
        data=about["provenance"]["data"],
        trained_on=about["provenance"]["trained_on"],
        sets={
            one: (resolve(one).leads, electrodes_needed(resolve(one).leads))
            for one in about["cross_validation"]["auroc"]
        },
        points=points,
        n_parameters=count_parameters(classifier.model),
        duration=classifier.window / classifier.sampling_rate,
        ptbxl=ptbxl,
    )
