"""The explorer's numbers: all that its script shows, read from the published map.

    python workflow/explorer.py

The script in ``book/explorer/explorer.js`` computes nothing that a table of the map could say. What
one network says of five example records is computed here, by the package's own ``predict``.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.evidence.nested import SPECIFICITY, targets
from leadmin.evidence.scores import MARGIN
from leadmin.files import write_text
from leadmin.labels import CLASS_NAMES, CLASSES
from leadmin.leads import (
    CHEST_LEADS,
    LEADS,
    LIMB_ELECTRODES,
    electrode_sets,
    lead_indices,
    representative,
)
from leadmin.metrics import probabilities
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.questions import diagnoses
from leadmin.questions.electrodes import electrodes_in_words, with_training
from leadmin.show.torso import torso_paths
from leadmin.study.mapping import ANY_LEAD
from leadmin.study.protocol import N_FOLDS, networks
from leadmin.study.run import load_run
from leadmin.study.sources import open_dataset

COMMAND = "python workflow/explorer.py"
"""Makes the data again; whoever finds them stale says so."""

SHOWN = Path("book/explorer/explorer-data.js")

EXAMPLES = {
    "NORM": ("NORM", "normal ECG", "I, II and V4 to V6: a narrow QRS, an upright T wave"),
    "MI": ("ASMI", "anteroseptal infarction", "V1 to V3: the first upward wave, R, is lost"),
    "STTC": ("ISCAL", "anterolateral ischaemia", "I, aVL and V4 to V6: ST segment and T wave"),
    "CD": ("CLBBB", "complete left bundle branch block", "V1, V6 and I: the wide QRS"),
    "HYP": ("LVH", "left ventricular hypertrophy", "V1, V2, V5 and V6: the height of the QRS"),
}
"""For each class the statement that its example carries, in words, and where to look."""

INDEPENDENT = representative(LEADS)
"""The leads that an example is kept in; the others follow."""

_NOTES = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems", "extra_beats"]


def map_part(published: Path) -> dict[str, Any]:
    """Read what the published map says of each set, rounded as the book rounds.

    ``published`` is ``book/published/subset``. Gives for each of the 67 sets, in the order of
    `leadmin.leads.electrode_sets`, its AUROC by target, what it misses in 1,000 and how many more
    that is than with all electrodes, each with its interval; its rank by the mean of the classes
    among all sets and among those of as many electrodes; and what each further electrode adds.
    The intervals are the widest that the map has: with training, where there are several seeds.
    """
    scores = pd.read_csv(published / "tables" / "map.csv")
    curve = pd.read_csv(published / "tables" / "curve.csv")
    diagnosed = diagnoses(CLASSES)
    whole = with_training(scores)
    by_set = {key: dict(rows.iloc[0]) for key, rows in whole.groupby(["electrodes", "target"])}
    value = scores.set_index(["electrodes", "target"])["auroc"]
    macro = {", ".join(s.electrodes): value[", ".join(s.electrodes), "macro"]
             for s in electrode_sets()}  # fmt: skip
    sets = []
    for space in electrode_sets():
        name, n = ", ".join(space.electrodes), len(space.electrodes)
        same = [one for one in macro if len(one.split(", ")) == n]
        sets.append(
            {
                "electrodes": list(space.electrodes),
                "auroc": [_bounds(by_set[name, target], "auroc", 3) for target in targets(CLASSES)],
                "missed": [_bounds(by_set[name, one], "missed", 0) for one in diagnosed],
                "more": [_bounds(by_set[name, one], "difference_missed", 0) for one in diagnosed],
                "rank": [1 + sum(bool(macro[other] > macro[name]) for other in group)
                         for group in (macro, same)],
                "of": [len(macro), len(same)],
                "adds": {one: [round(value[more, target] - value[name, target], 3) + 0.0
                               for target in targets(CLASSES)]
                         for one, more in _one_more(space.electrodes).items()},
            }
        )  # fmt: skip
    first = scores.iloc[0]
    seeds = int(first["n_seeds"])
    present = scores.groupby("target")["present"].first()
    return {
        "records": int(first["n_records"]),
        "patients": int(first["n_patients"]),
        "seeds": seeds,
        "counted": "patients and training" if seeds > 1 else "patients (one training)",
        "margin": MARGIN,
        "specificity": SPECIFICITY,
        "classes": dict(CLASS_NAMES),
        "present": [round(float(present[one])) for one in diagnosed],
        "electrodes": [*LIMB_ELECTRODES, *CHEST_LEADS],
        "sets": sets,
        "curve": {target: _curve(curve, target) for target in targets(CLASSES)},
    }


def _one_more(electrodes: tuple[str, ...]) -> dict[str, str]:
    """Name the sets that one more electrode makes, by that electrode."""
    result = {}
    for space in electrode_sets():
        added = set(space.electrodes) - set(electrodes)
        if len(added) == 1 and set(electrodes) < set(space.electrodes):
            result[added.pop()] = ", ".join(space.electrodes)
    return result


def _bounds(row: dict[Any, Any], name: str, digits: int) -> list[float]:
    """Give a value and its interval, rounded as they are shown."""
    each = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    # adding zero makes a rounded minus nought a plain one
    return [round(value, digits) + 0.0 if digits else round(value) for value in each]


def _curve(curve: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """Give the sets that validation chose for a target, by their number of electrodes."""
    rows = with_training(curve[curve["target"] == target])
    return [
        {
            "n": row["n_electrodes"],
            "auroc": _bounds(row, "auroc", 3),
            "difference": _bounds(row, "difference", 3),
            "within": bool(row["within"]),
            "chosen": electrodes_in_words(row["config"]).replace(" +", ""),
            "folds": [round(row["share"] * row["n_networks"]), row["n_networks"]],
        }
        for row in rows.to_dict("records")
    ]


def network_of_examples(published: Path) -> tuple[EcgClassifier, int]:
    """Load the published network that tested the last fold, and name its seed: the first."""
    folder = published / "runs" / ANY_LEAD / "checkpoints"
    found = sorted(folder.glob(f"{ANY_LEAD}-seed*-fold{N_FOLDS}.json"))
    if not found:
        raise LeadminError(f"{folder}: no network of fold {N_FOLDS}; publish the map again")
    network = load_checkpoint(found[0])
    return network, int(network.metadata["provenance"]["seed"])


def example_records(dataset: EcgDataset, network: EcgClassifier) -> dict[str, int]:
    """Choose one record a class by a rule, and give their positions in ``dataset``.

    Of the records of the last fold that carry the statement of `EXAMPLES` at 100% likelihood, those
    with the fewest other superclasses and, of these, the fewest remarks on noise, electrodes, extra
    beats or a pacemaker. Of these the median by the network's probability of the class with all
    leads (the lower of two): as many are easier for it as are harder.
    """
    remarks = (dataset.metadata[[*_NOTES, "pacemaker"]] != 0).sum(axis=1).to_numpy()
    n_labels = dataset.labels["any"].sum(axis=1)
    result = {}
    for name, (code, *_) in EXAMPLES.items():
        stated = [json.loads(text).get(code) == 100 for text in dataset.metadata["scp_codes"]]
        rows = np.flatnonzero((dataset.fold == N_FOLDS) & np.array(stated))
        if not rows.size:
            raise LeadminError(
                f"{dataset.path}: no record of fold {N_FOLDS} has {code} at 100%; valid: the "
                "embedded sample; give that"
            )
        for cost in (n_labels, remarks):
            rows = rows[cost[rows] == cost[rows].min()]
        said = network.predict(
            dataset.signals[rows], leads=LEADS, sampling_rate=dataset.sampling_rate, unit="uV"
        )[:, CLASSES.index(name)]
        result[name] = int(rows[np.argsort(said, kind="stable")[(len(rows) - 1) // 2]])
    return result


def example_part(published: Path, dataset: EcgDataset) -> dict[str, Any]:
    """Say what one network reads in five records of ``dataset`` under each of the 67 sets.

    Signals are the eight independent leads, in microvolts, as little-endian int16 in base64.
    Probabilities, ``[set][class]``, are those of `EcgClassifier.predict`, not calibrated; beside
    them the ``thresholds`` above which the network calls a class in the published table, which
    `SPECIFICITY` of its own validation records without the class stay below.
    """
    network, seed = network_of_examples(published)
    chosen = example_records(dataset, network)
    signals = dataset.signals[list(chosen.values())]
    said = np.array([
        network.predict(
            signals[:, lead_indices(space.leads)],
            leads=space.leads, sampling_rate=dataset.sampling_rate, unit="uV",
        )
        for space in electrode_sets()
    ]).round(4)  # sets, records, classes  # fmt: skip
    kept = signals[:, lead_indices(INDEPENDENT)].astype("<i2")
    examples = []
    for k, (name, row) in enumerate(chosen.items()):
        labels = dataset.labels["any"][row]
        examples.append(
            {
                "class": name,
                "record": int(dataset.record_id[row]),
                "statement": EXAMPLES[name][1],
                "look": EXAMPLES[name][2],
                "labels": [one for one, there in zip(CLASSES, labels, strict=True) if there],
                "signals": base64.b64encode(kept[k].tobytes()).decode("ascii"),
                "probabilities": said[:, k].tolist(),
            }
        )
    return {
        "rate": dataset.sampling_rate,
        "fold": N_FOLDS,
        "seed": seed,
        "leads": list(INDEPENDENT),
        "thresholds": thresholds(published, seed).round(4).tolist(),
        "examples": examples,
    }


def thresholds(published: Path, seed: int) -> NDArray[np.float64]:
    """Give the last fold's thresholds as probabilities, (n_sets, n_classes)."""
    run = load_run(published / "map")
    own = next(own for own, tested in networks(run.validation.fold, run.test.fold)
               if (run.test.fold[tested] == N_FOLDS).all())  # fmt: skip
    absent = run.validation.labels[own] == 0
    cuts = []
    for space in electrode_sets():
        logits = run.validation.logits[space.name][run.seeds[space.name].index(seed)][own]
        cuts.append([np.quantile(logits[absent[:, c], c].astype(float), SPECIFICITY,
                                 method="inverted_cdf") for c in range(len(CLASSES))])  # fmt: skip
    return probabilities(np.array(cuts))


def explorer_script(published: Path, dataset: EcgDataset) -> str:
    """Write the data as a script, which a page that is opened as a file may load, unlike JSON."""
    data = map_part(published) | example_part(published, dataset) | {"torso": torso_paths()}
    said = json.dumps(data, separators=(",", ":"), allow_nan=False)
    made = f"Made by `{COMMAND}` from book/published/subset. ECGs: PTB-XL 1.0.3, CC BY 4.0."
    return f"/* {made} */\nwindow.leadminExplorer = {said};\n"


def read_explorer(path: Path) -> dict[str, Any]:
    """Read the data that `explorer_script` wrote."""
    text = path.read_text(encoding="utf-8")
    return dict(json.loads(text[text.index("= {") + 2 :].rstrip().rstrip(";")))


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    script = explorer_script(root / "book" / "published" / "subset", open_dataset(""))
    write_text(root / SHOWN, script)
    print(f"{root / SHOWN}: {len(script):,} bytes")
