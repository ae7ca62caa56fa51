"""Trials of trained networks on records that they were not made for.

A trial is a run folder, like a map: nobody trains it, and where the folder of a run names a recipe,
that of a trial names a condition. Its ``metrics.json`` describes them: ``conditions`` by name, each
with the lead ``set`` that the network is shown and what was done to the records.

Records of other hospitals are read by all networks that are given, whose logits are averaged. Of
the study's own records each network reads those that neither trained nor stopped it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from disturbances import (
    ELECTRODES,
    INDEPENDENT,
    arms_swapped,
    flat_without,
    leads_without,
    noisy_without,
    segments,
    with_noise,
)
from hospitals import HospitalRecord, LeftOut, same_as
from numpy.typing import NDArray
from shipping import auroc_with_intervals

import leadmin
from leadmin import metrics
from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.labels import CLASSES
from leadmin.leads import (
    LEADS,
    REFERENCE,
    configurations,
    lead_indices,
    representative,
    resolve,
    signal_spaces,
    span,
)
from leadmin.net.checkpoint import load_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.predict import predict_logits
from leadmin.questions.fallen import FIXED, WHOLE
from leadmin.study.mapping import ANY_LEAD, sets_of_map
from leadmin.study.protocol import Split, splits
from leadmin.study.run import RECORDS, Predictions, Run, load_run, require_same_records
from leadmin.study.validity import finish_run

DECIBELS = (24, 18, 12, 6, 0, -6)
"""Signal-to-noise ratios, those of the Noise Stress Test Database."""

LOST_DECIBELS = -6
"""Of what a lost electrode picks up: four times the power of the ECG."""

SAME = 0.95
"""A record that correlates so with one of the study is taken for the same ECG; see `same_as`."""


def main_sets() -> tuple[str, ...]:
    """Name the sets that noise is tried on: two limb electrodes, three, and these with V leads."""
    few = ("I", "I,II", "I,II,V2", "I,II,V5", "I,II,V2,V5", "I,II,V1,V2,V5")
    return (*(resolve(leads).name for leads in few), REFERENCE)


def sets_elsewhere() -> dict[str, tuple[str, ...]]:
    """Give the electrode sets and the spaces of the named configurations: name to leads."""
    named = {span(one.leads) for one in configurations(beyond=True).values()}
    return {
        space.name: space.leads
        for space in signal_spaces()
        if space.is_electrode_set or space.leads in named
    }


def load_networks(path: Path) -> list[EcgClassifier]:
    """Load the networks for any leads of a run folder, or the one of a checkpoint."""
    stems = load_run(path).checkpoints if path.is_dir() else [path]
    networks = [load_checkpoint(stem) for stem in stems]
    if not networks or not all(one.model.architecture.any_leads for one in networks):
        raise LeadminError(
            f"{path}: {len(networks)} networks, and not all read any lead; valid: a run of the "
            "recipe any-lead with its checkpoints, or a checkpoint of it; name that"
        )
    return networks


def logits_of(
    network: EcgClassifier, signals: NDArray[np.float32], shown: Sequence[str]
) -> NDArray[np.float32]:
    """Give the logits (n_records, 5) of records (n_records, 12, n_samples) in microvolts."""
    answer = predict_logits(
        *(network.model, network.scaling, torch.from_numpy(signals), network.window),
        *(network.n_windows, shown),
        batch_size=512,
    )
    return answer.numpy()


# --- other hospitals ------------------------------------------------------------------------


def try_hospitals(
    networks: Sequence[EcgClassifier],
    records: Iterable[HospitalRecord | LeftOut],
    dataset: EcgDataset,
    mapped: Run,
    out: Path,
    extra: Mapping[str, Any],
) -> Run:
    """Score records of other hospitals on the sets of `sets_elsewhere`.

    The logits of the networks are averaged. Each record counts as a patient; those that are also in
    ``dataset``, all records of the study, are left out. The AUROCs at home are those of the test
    records of the map, ``mapped``. ``extra`` is what else ``metrics.json`` says, such as the
    checksums of what was read.
    """
    listed = list(records)
    kept = [one for one in listed if isinstance(one, HospitalRecord)]
    left = [(one.hospital, one.reason) for one in listed if isinstance(one, LeftOut)]
    by_length: dict[int, list[int]] = {}
    for number, record in enumerate(kept):
        by_length.setdefault(record.signal.shape[1], []).append(number)
    alike = np.zeros(len(kept))
    for numbers in by_length.values():
        alike[numbers] = same_as(np.stack([kept[i].signal for i in numbers]), dataset.signals)
    left += [(one.hospital, "a record of the study") for one in np.array(kept)[alike >= SAME]]
    fresh = np.flatnonzero(alike < SAME)
    names = sorted({one.hospital for one in listed})
    conditions, logits = {}, {}
    for name, leads in sets_elsewhere().items():
        conditions[name] = {"set": name}
        scored = np.empty((len(kept), len(CLASSES)))
        for numbers in by_length.values():
            signals = np.stack([kept[i].signal for i in numbers])
            each = [logits_of(network, signals, leads) for network in networks]
            scored[numbers] = np.mean(each, axis=0)
        logits[name] = scored[fresh]
        print(f"{name}: {len(fresh)} records")
    chosen = [kept[i] for i in fresh]
    test = Predictions(
        np.arange(len(chosen), dtype=np.int32),
        np.arange(len(chosen), dtype=np.int32),
        np.array([1 + names.index(one.hospital) for one in chosen], dtype=np.int8),
        np.array([one.labels for one in chosen], dtype=np.uint8),
        {},
    )
    counts = sorted({row: left.count(row) for row in left}.items())
    described = {
        "hospitals": names,
        "records": [one.name for one in chosen],
        "left_out": [{"hospital": h, "reason": r, "n_records": n} for (h, r), n in counts],
        "most_alike": float(alike.max(initial=0)),
        "n_networks": len(networks),
        "home": _at_home(mapped),
    }
    return _write_trial(out, conditions, test, logits, described | dict(extra))


def _at_home(mapped: Run) -> dict[str, list[float]]:
    """Give each set's AUROCs on the test records of the map, by class, as means over seeds."""
    result = {}
    for name, run in sets_of_map(mapped).items():
        (stack,) = run.test.logits.values()
        each = [metrics.auroc(run.test.labels, logits) for logits in stack]
        result[name] = np.mean(each, axis=0).tolist()
    return result


def through_the_door(
    records: Iterable[HospitalRecord | LeftOut], trial: Run, least: int
) -> list[dict[str, Any]]:
    """Score the networks that ship on the records of a trial of hospitals, as strangers' are read.

    Each record goes alone through `EcgClassifier.predict`, with no other leads than those of the
    set: through the any-lead network for each of `main_sets`, and through each other one. One that
    is refused, as a lead is faulty, is counted and does not count. ``records`` are those that
    ``trial`` was made of, or more.

    Returns
    -------
    list of dict
        For each network, set and hospital, and each class with ``least`` answered records with it
        and without it: ``network, config, hospital, class, n_records, n_refused``, ``auroc`` with
        ``_low`` and ``_high``, and ``mean_probability``.
    """
    hospitals, names = trial.metrics["hospitals"], trial.metrics["records"]
    given = {(r.hospital, r.name): r for r in records if isinstance(r, HospitalRecord)}
    keys = [(hospitals[f - 1], n) for f, n in zip(trial.test.fold, names, strict=True)]
    if missing := [key for key in keys if key not in given]:
        raise LeadminError(
            f"{'/'.join(missing[0])}: the trial {trial.folder} has this record and what was given "
            "does not; give the hospitals that it was made of"
        )
    asked = [(ANY_LEAD, config) for config in main_sets()]
    asked += [(name, name) for name in leadmin.networks() if name != ANY_LEAD]
    rows = []
    for name, config in asked:
        network, leads = leadmin.load(name), resolve(config).leads
        places, p = list(lead_indices(leads)), np.full((len(keys), len(CLASSES)), np.nan)
        for k, key in enumerate(keys):
            with suppress(LeadminError):
                x = given[key].signal[places]
                p[k] = network.predict(x, leads=leads, sampling_rate=100, unit="uV")[0]
        answered = np.isfinite(p).all(axis=1)
        for number, hospital in enumerate(hospitals, start=1):
            there = trial.test.fold == number
            y, said = trial.test.labels[there & answered], p[there & answered]
            counts = {"n_records": len(y), "n_refused": int((there & ~answered).sum())}
            aurocs = auroc_with_intervals(y, said, np.arange(len(y)))  # a record for a patient
            for c in np.flatnonzero((y.sum(0) >= least) & ((1 - y).sum(0) >= least)):
                row: dict[str, Any] = {"network": name, "config": config, "hospital": hospital}
                row |= {"class": CLASSES[c]} | counts
                row |= zip(("auroc", "auroc_low", "auroc_high"), aurocs[CLASSES[c]], strict=True)
                rows.append(row | {"mean_probability": float(said[:, c].mean())})
    return rows


# --- the study's own records, disturbed -----------------------------------------------------


Signals: TypeAlias = NDArray[np.float32]
Conditions: TypeAlias = Callable[
    [Signals, np.random.Generator], Iterator[tuple[str, dict[str, Any], tuple[str, ...], Signals]]
]
"""Of records: a name, what is said of it, the leads that a network is shown, and what became of
them."""


def noise_conditions(noises: Mapping[str, Signals]) -> Conditions:
    """Add noise to test records at `DECIBELS`, for the sets of `main_sets`.

    One draw of noise serves all ratios and sets. ``noises`` are those of
    `disturbances.read_noise`.
    """
    shown = {name: resolve(name).leads for name in main_sets()}

    def conditions(signals: Signals, rng: np.random.Generator) -> Iterator[Any]:
        for kind, noise in noises.items():
            added = segments(noise, len(signals), len(INDEPENDENT), signals.shape[-1], rng)
            for decibels in DECIBELS:
                noisy = with_noise(signals, added, decibels)
                for name, leads in shown.items():
                    said = {"set": name, "noise": kind, "decibels": decibels}
                    yield f"{kind} {decibels} dB, {name}", said, leads, noisy

    return conditions


def loss_conditions(noise: Signals) -> Conditions:
    """Lose each electrode in turn, and swap the arms, and show the network all twelve leads.

    A network that is told of the loss is shown `leads_without` it, which the loss leaves as they
    were: that is a set of the map.
    """

    def conditions(signals: Signals, rng: np.random.Generator) -> Iterator[Any]:
        for electrode in ELECTRODES:
            said = {"set": REFERENCE, "electrode": electrode}
            said["told"] = resolve(",".join(representative(leads_without(electrode)))).name
            flat = flat_without(signals, electrode)
            yield f"{electrode} flat", said | {"fault": "flat"}, LEADS, flat
            added = segments(noise, len(signals), 1, signals.shape[-1], rng)[:, 0]
            noisy = noisy_without(signals, electrode, added, LOST_DECIBELS)
            yield f"{electrode} noisy", said | {"fault": "noisy"}, LEADS, noisy
        swapped = {"set": REFERENCE, "electrode": "RA, LA", "fault": "swapped"}
        yield "RA, LA swapped", swapped, LEADS, arms_swapped(signals)

    return conditions


def drawn(split: Split, n_records: int) -> tuple[NDArray[np.intp], np.random.Generator]:
    """Draw test records, all with 0, and give what draws on."""
    rng = np.random.default_rng([split.test_fold])
    if 0 < n_records < len(split.test):
        return np.sort(rng.choice(split.test, n_records, replace=False)), rng
    return split.test, rng


def try_own(
    run: Run,
    dataset: EcgDataset,
    make: Conditions,
    n_records: int,
    out: Path,
    extra: Mapping[str, Any],
    fixed: Run | None = None,
) -> Run:
    """Score each network of a run's first seed on the records of its own test fold.

    ``n_records`` of each fold are drawn at random, the same for all conditions; all with 0. Beside
    it a network of twelve leads of the run ``fixed``, which can be told nothing, is asked the same,
    and about undisturbed records.
    """
    settings = run.metrics["settings"]
    divisions = splits(dataset, settings["protocol"], settings["label_policy"])
    tested = np.concatenate([dataset.record_id[split.test] for split in divisions])
    if not np.array_equal(tested, run.test.record_id) or len(run.checkpoints) < len(divisions):
        raise LeadminError(
            f"{dataset.path}: other test records than the run {run.folder} stands on, or a network "
            "of it is missing; give the data that it was trained on"
        )
    if fixed is not None:
        require_same_records([run, fixed])
    conditions: dict[str, dict[str, Any]] = {}
    logits: dict[str, list[Signals]] = {}
    rows = []

    def ask(
        name: str,
        said: dict[str, Any],
        reader: EcgClassifier,
        x: Signals,
        shown: Sequence[str] = LEADS,
    ) -> None:
        conditions[name] = said
        logits.setdefault(name, []).append(logits_of(reader, x, shown))

    for split, checkpoint in zip(divisions, run.checkpoints, strict=False):
        chosen, rng = drawn(split, n_records)
        rows.append(chosen)
        network = load_checkpoint(checkpoint)
        signals = dataset.signals[chosen].astype(np.float32)
        other = load_checkpoint(fixed.checkpoints[len(rows) - 1]) if fixed else None
        if other is not None:
            ask(WHOLE, {"set": REFERENCE, "electrode": "", "fault": f"none{FIXED}"}, other, signals)
        for name, said, shown, changed in make(signals, rng):
            ask(name, said, network, changed, shown)
            if other is not None:
                untold = {"set": REFERENCE, "electrode": said["electrode"]}
                ask(name + FIXED, untold | {"fault": said["fault"] + FIXED}, other, changed)
        print(f"fold {split.test_fold}: {len(chosen)} records, {len(conditions)} conditions")
    index = np.concatenate(rows)
    ids = (dataset.record_id[index], dataset.patient_id[index], dataset.fold[index])
    test = Predictions(*ids, dataset.labels[settings["label_policy"]][index], {})
    joined = {name: np.concatenate(each) for name, each in logits.items()}
    return _write_trial(out, conditions, test, joined, dict(extra))


def _write_trial(
    folder: Path,
    conditions: Mapping[str, Mapping[str, Any]],
    test: Predictions,
    logits: Mapping[str, NDArray[Any]],
    extra: Mapping[str, Any],
) -> Run:
    """Write the folder of a trial as a run without validation records, and read it back."""
    arrays = {f"test/{name}": getattr(test, name) for name in RECORDS}
    arrays |= {f"validation/{name}": getattr(test, name)[:0] for name in RECORDS}
    for name, answers in logits.items():
        arrays[f"test/logits/{name}"] = answers[None].astype(np.float16)
        arrays[f"validation/logits/{name}"] = answers[None, :0].astype(np.float16)
    file = "predictions.npz"
    with atomic_path(folder / file) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    (folder / "history.csv").write_text("recipe\n", encoding="utf-8")
    described = {
        "config": REFERENCE,
        "leads": list(LEADS),
        "recipes": {name: {} for name in conditions},
        "seeds": {name: [0] for name in conditions},
        "conditions": {name: dict(said) for name, said in conditions.items()},
    }
    finish_run(folder, described | dict(extra), (file, "history.csv"))
    return load_run(folder)
