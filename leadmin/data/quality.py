"""Which records are technically poor, by rules that are stated, counted and can be checked.

No record is dropped here. The rules describe; a study may use them to ask whether its answer
depends on poor records.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from leadmin.data.dataset import EcgDataset
from leadmin.data.faults import FLAT_SECONDS, longest_run
from leadmin.data.ptbxl import crossing_patients
from leadmin.files import write_text
from leadmin.leads import LEADS, identity_residuals, lead_indices

_BLOCK = 256
_ANALYSIS_RATE = 100
"""Hz. Faster signals are averaged down first, so that the rules mean the same at every rate."""

SATURATED_MICROVOLTS = 10_000.0
"""No heart reaches this at the skin."""
CLIPPED_SECONDS, CLIPPED_MICROVOLTS = 0.08, 500.0
"""How long a lead stays at its own extreme value, and how far that lies from its median."""
NOISY_MICROVOLTS = 40.0
"""Median absolute second difference at 100 Hz, which skips the QRS complexes."""
DRIFT_MICROVOLTS = 1_500.0
"""Range of the baseline, a moving average over 1 s taken twice."""
REVERSED_CORRELATION = -0.5
"""Without the baseline, lead I (arms) or II (right arm and left leg) mirrors V6 when electrodes are
swapped, while aVR goes along with V6."""
SILENT_RATIO = 0.1
"""Without the baseline, the range of lead II by that of III if both its electrodes are on legs."""
IDENTITY_MICROVOLTS = 5.0
"""How far a limb lead may be from what I and II say."""

RULES: Mapping[str, str] = MappingProxyType(
    {
        "flat": "a lead keeps one value for half a second or more",
        "saturated": "a lead goes beyond 10 mV",
        "clipped": "a lead rests at its extreme value",
        "noisy": "a lead carries strong high-frequency noise",
        "drifting": "the baseline of a lead wanders by more than 1.5 mV",
        "arms_reversed": "left and right arm electrodes look swapped",
        "arm_leg_reversed": "right arm and left leg electrodes look swapped",
        "right_leg_misplaced": "lead II is nearly silent: a leg electrode is on an arm",
        "identities_broken": "limb leads contradict Einthoven's law",
        "duplicated": "another record has exactly the same signals",
        "copied_lead": "two leads of the record are exactly the same",
    }
)
"""Rule to what it says."""


@dataclass(frozen=True)
class QualityReport:
    """What the rules found."""

    records: pd.DataFrame  # a row per record: ids, a Boolean column per rule, any_rule, measures
    by_fold: pd.DataFrame  # number of records, rules by fold; the first row holds all records
    by_class: pd.DataFrame  # the same by superclass, label policy `any`
    duplicates: tuple[tuple[int, ...], ...]  # groups of record ids with the same signals
    crossing_patients: tuple[int, ...]  # patients in more than one fold; should be empty

    def write(self, folder: Path) -> list[Path]:
        """Write ``quality_records.csv``, ``quality_by_fold.csv`` and ``quality_by_class.csv``."""
        paths = []
        for name in ("records", "by_fold", "by_class"):
            text = getattr(self, name).to_csv(
                index=name != "records", float_format="%.4g", lineterminator="\n"
            )
            paths.append(folder / f"quality_{name}.csv")
            write_text(paths[-1], text)
        return paths


def assess(dataset: EcgDataset) -> QualityReport:
    """Apply the rules to every record."""
    measures = pd.concat(
        [
            measure(dataset.signals[first : first + _BLOCK], dataset.sampling_rate)
            for first in range(0, len(dataset), _BLOCK)
        ],
        ignore_index=True,
    )
    groups = _duplicates(dataset)
    repeated = [number for group in groups for number in group]
    flags = mark(measures)
    flags.insert(len(flags.columns) - 1, "duplicated", np.isin(dataset.record_id, repeated))
    measures = measures.drop(columns="copied_lead")
    flags["any_rule"] = flags.any(axis=1)
    ids = {name: getattr(dataset, name) for name in ("record_id", "patient_id", "fold")}
    labels = dataset.labels["any"].astype(bool)
    by_fold = {f"fold {fold}": np.isin(dataset.fold, fold) for fold in np.unique(dataset.fold)}
    by_class = {name: labels[:, column] for column, name in enumerate(dataset.classes)}
    return QualityReport(
        records=pd.concat([pd.DataFrame(ids), flags, measures], axis=1),
        by_fold=_count(flags, by_fold),
        by_class=_count(flags, {**by_class, "none": labels.sum(axis=1) == 0}),
        duplicates=groups,
        crossing_patients=crossing_patients(dataset.patient_id, dataset.fold),
    )


def mark(measures: pd.DataFrame) -> pd.DataFrame:
    """Apply the rules that look at one record alone to what `measure` computes."""
    mirrored = measures["corr_aVR_V6"] > 0
    return pd.DataFrame(
        {
            "flat": measures["longest_constant_s"] >= FLAT_SECONDS,
            "saturated": measures["largest_uv"] > SATURATED_MICROVOLTS,
            "clipped": measures["longest_at_extreme_s"] >= CLIPPED_SECONDS,
            "noisy": measures["noise_uv"] > NOISY_MICROVOLTS,
            "drifting": measures["drift_uv"] > DRIFT_MICROVOLTS,
            "arms_reversed": (measures["corr_I_V6"] < REVERSED_CORRELATION) & mirrored,
            "arm_leg_reversed": (measures["corr_II_V6"] < REVERSED_CORRELATION) & mirrored,
            "right_leg_misplaced": measures["range_II_by_III"] < SILENT_RATIO,
            "identities_broken": measures["identity_uv"] > IDENTITY_MICROVOLTS,
            "copied_lead": measures["copied_lead"],
        }
    )


def _count(flags: pd.DataFrame, groups: Mapping[str, NDArray[np.bool_]]) -> pd.DataFrame:
    columns = {"all": np.ones(len(flags), dtype=bool), **groups}
    table = pd.DataFrame(
        {name: [int(mask.sum()), *flags[mask].sum().astype(int)] for name, mask in columns.items()},
        index=["records", *flags.columns],
    )
    table.index.name = "rule"
    return table


def _duplicates(dataset: EcgDataset) -> tuple[tuple[int, ...], ...]:
    by_digest: dict[bytes, list[int]] = {}
    for number, signal in zip(dataset.record_id.tolist(), dataset.signals, strict=True):
        by_digest.setdefault(hashlib.sha256(signal.tobytes()).digest(), []).append(number)
    return tuple(tuple(group) for group in by_digest.values() if len(group) > 1)


def measure(signals: NDArray[np.int16], rate: int) -> pd.DataFrame:
    """Compute what the rules compare: one row for each record of ``(n, 12, n_samples)``."""
    raw = signals.astype(np.float32)
    slow = raw
    if rate > _ANALYSIS_RATE and rate % _ANALYSIS_RATE == 0:
        factor = rate // _ANALYSIS_RATE
        slow = raw.reshape(*raw.shape[:-1], -1, factor).mean(axis=-1)
    median = np.median(raw, axis=-1, keepdims=True)
    low, high = raw.min(axis=-1, keepdims=True), raw.max(axis=-1, keepdims=True)
    at_extreme = np.maximum(
        longest_run(raw == high) * (high - median >= CLIPPED_MICROVOLTS)[..., 0],
        longest_run(raw == low) * (median - low >= CLIPPED_MICROVOLTS)[..., 0],
    )
    baseline = uniform_filter1d(slow, _ANALYSIS_RATE, axis=-1, mode="nearest")
    beats = slow - baseline
    baseline = uniform_filter1d(baseline, _ANALYSIS_RATE, axis=-1, mode="nearest")
    # The filter sees only half of its window at the ends; leave half a second out.
    inner = baseline[..., _ANALYSIS_RATE // 2 : -_ANALYSIS_RATE // 2]
    span = np.ptp(beats, axis=-1)
    one, two, three, avr, v6 = lead_indices(["I", "II", "III", "aVR", "V6"])
    return pd.DataFrame(
        {
            "longest_constant_s": (longest_run(np.diff(raw, axis=-1) == 0) + 1).max(axis=1) / rate,
            "largest_uv": np.abs(raw).max(axis=(1, 2)),
            "longest_at_extreme_s": at_extreme.max(axis=1) / rate,
            "noise_uv": np.median(np.abs(np.diff(slow, 2, axis=-1)), axis=-1).max(axis=1),
            "drift_uv": np.ptp(inner, axis=-1).max(axis=1),
            "corr_I_V6": _correlation(beats[:, one], beats[:, v6]),
            "corr_II_V6": _correlation(beats[:, two], beats[:, v6]),
            "corr_aVR_V6": _correlation(beats[:, avr], beats[:, v6]),
            "range_II_by_III": span[:, two] / np.maximum(span[:, three], 1.0),
            "identity_uv": np.abs(identity_residuals(signals)).max(axis=(1, 2)),
            "copied_lead": _has_copied_lead(signals),
        }
    )


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson correlation along the last axis; 0 where a signal is constant."""
    a = first.astype(np.float64) - first.mean(axis=-1, keepdims=True, dtype=np.float64)
    b = second.astype(np.float64) - second.mean(axis=-1, keepdims=True, dtype=np.float64)
    norm = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)


def _has_copied_lead(signals: NDArray[np.int16]) -> NDArray[np.bool_]:
    copied = np.zeros(len(signals), dtype=bool)
    for first, second in itertools.combinations(range(len(LEADS)), 2):
        # The first sample rules out nearly every pair before whole leads are compared.
        rows = np.flatnonzero(signals[:, first, 0] == signals[:, second, 0])
        copied[rows] |= (signals[rows, first] == signals[rows, second]).all(axis=-1)
    return copied
