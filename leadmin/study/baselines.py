"""Baselines that a network has to beat: classifiers on waveform features, and a random network.

Each is trained and tested on the same records as the networks of a study and writes the same run
folder, so that it can stand in one table with them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal, stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leadmin.data.dataset import EcgDataset
from leadmin.errors import LeadminError
from leadmin.leads import lead_indices, resolve
from leadmin.metrics import auroc
from leadmin.net.fit import check_classes
from leadmin.net.model import ResNet1d
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import RECIPES, window_samples
from leadmin.net.scaling import fit_scaling
from leadmin.study.identity import code_sha256, trained_identity
from leadmin.study.protocol import Split, splits
from leadmin.study.provenance import describe_data, describe_environment
from leadmin.study.run import Run, finished_run, joined_predictions, write_run
from leadmin.study.validity import held

Array = NDArray[np.float64]

BEFORE_R, AFTER_R, BEAT_STEP = 0.30, 0.50, 0.02
"""The part of a beat that is looked at around its R peak, and the step, in seconds."""

BANDS = ((0.5, 3.0), (3.0, 8.0), (8.0, 15.0), (15.0, 40.0))
"""Frequency bands in Hz whose power is a feature."""

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisation strengths tried for logistic regression, chosen on validation records."""


def r_peaks(microvolts: Array, sampling_rate: int) -> NDArray[np.intp]:
    """Find the QRS complexes of one record.

    The energy of all leads between 5 and 15 Hz, averaged over 0.1 s, has one hill per complex: the
    idea of Pan and Tompkins [1]_ with fixed instead of adaptive thresholds. ``microvolts`` are
    (n_leads, n_samples), the rate is in Hz; gives the samples of the peaks, none where nothing
    sticks out.

    References
    ----------
    .. [1] J. Pan, W. J. Tompkins, A real-time QRS detection algorithm, IEEE TBME 1985.
    """
    sos = signal.butter(2, (5.0, 15.0), "bandpass", fs=sampling_rate, output="sos")
    energy = (signal.sosfiltfilt(sos, microvolts, axis=-1) ** 2).sum(axis=0)
    width = max(round(0.1 * sampling_rate), 1)
    hills = np.convolve(energy, np.ones(width) / width, mode="same")
    top = np.percentile(hills, 98)
    if top <= 0:
        return np.empty(0, dtype=np.intp)
    peaks, _ = signal.find_peaks(hills, height=0.3 * top, distance=round(0.3 * sampling_rate))
    # A hill is flat on top; the beat is aligned to the steepest part of the complex instead.
    reach = round(0.06 * sampling_rate)
    near = np.clip(peaks[:, None] + np.arange(-reach, reach + 1), 0, len(energy) - 1)
    fine = np.convolve(energy, np.ones(3) / 3, mode="same")
    return np.unique(near[np.arange(len(peaks)), fine[near].argmax(axis=1)])


def waveform_features(signals: NDArray[np.int16], sampling_rate: int) -> Array:
    """Describe each record by rhythm, amplitudes, spectrum and its median beat.

    Of signals (n_records, n_leads, n_samples) in microvolts and their rate in Hz gives (n_records,
    4 + n_leads * 51): number of beats, mean, SD and root mean square successive difference of the
    RR intervals in s; then for each lead the SD, the 1st and 99th percentile, skewness, kurtosis
    and mean absolute step (mV), the logarithm of the power in four bands, and the median beat from
    0.3 s before to 0.5 s behind the R peak in steps of 20 ms (mV). Finite for any record: what
    cannot be computed, such as RR intervals of a record without beats, is 0.
    """
    n_leads, n_samples = signals.shape[1:]
    offsets = np.arange(round(-BEFORE_R / BEAT_STEP), round(AFTER_R / BEAT_STEP) + 1)
    offsets = np.round(offsets * BEAT_STEP * sampling_rate).astype(int)
    frequency = np.fft.rfftfreq(n_samples, 1 / sampling_rate)
    rows = []
    for record in signals:
        mv = record.astype(np.float64) / 1000
        mv -= np.median(mv, axis=-1, keepdims=True)
        peaks = r_peaks(mv, sampling_rate)
        whole = peaks[(peaks + offsets[0] >= 0) & (peaks + offsets[-1] < n_samples)]
        rr = np.diff(peaks) / sampling_rate
        known = (rr.mean(), rr.std()) if len(rr) else (0.0, 0.0)
        rmssd = np.sqrt(np.mean(np.diff(rr) ** 2)) if len(rr) > 1 else 0.0
        rhythm = [len(peaks), *known, rmssd]
        beat = np.zeros((n_leads, len(offsets)))
        if len(whole):
            beat = np.median(mv[:, whole[:, None] + offsets], axis=1)
        power = np.abs(np.fft.rfft(mv, axis=-1)) ** 2 / n_samples
        bands = [
            np.log(power[:, (frequency >= low) & (frequency < high)].sum(-1) + 1e-6)
            for low, high in BANDS
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            shape = [stats.skew(mv, axis=-1), stats.kurtosis(mv, axis=-1)]
        per_lead = np.column_stack(
            [
                mv.std(-1),
                *np.percentile(mv, (1, 99), axis=-1),
                *(np.nan_to_num(one, nan=0.0) for one in shape),
                np.abs(np.diff(mv, axis=-1)).mean(-1),
                *bands,
                beat,
            ]
        )
        rows.append(np.concatenate([rhythm, per_lead.ravel()]))
    return np.array(rows)


def random_network_features(
    signals: NDArray[np.int16], train: NDArray[np.intp], sampling_rate: int, seed: int
) -> Array:
    """Give what an untrained network of the `default` recipe hands to its classifier.

    The signals are those of `waveform_features`; scaling constants and batch-norm statistics come
    from the records ``train``, the random weights from ``seed``. Gives (n_records, 96), means over
    the windows of the recipe.
    """
    recipe = RECIPES["default"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet1d(signals.shape[1], architecture=recipe.architecture)
    scaling = fit_scaling(recipe.scaling, signals[train])
    window = window_samples(recipe, sampling_rate, signals.shape[-1])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average over the batches below
            module.train()
        else:
            module.training = False
    with torch.no_grad():
        start = (signals.shape[-1] - window) // 2
        for first in range(0, len(train), 512):
            x = torch.from_numpy(signals[train[first : first + 512], :, start : start + window])
            model(scaling(x))
    # The classifier takes no part: the pooled features go through in its place.
    model.head = torch.nn.Sequential(*list(model.head)[:2])
    return predict_logits(
        model, scaling, torch.from_numpy(signals), window, recipe.test_windows
    ).numpy()


def _logistic(x: Array, y: NDArray[np.uint8], split: Split, _: int) -> Array:
    """Fit one logistic regression per class; the strength is chosen on validation records."""
    tried = [
        _decisions(
            make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)),
            x,
            y,
            split.train,
        )
        for strength in STRENGTHS
    ]
    own = split.validation
    return max(tried, key=lambda logits: np.nanmean(auroc(y[own], logits[own])))


def _boosted(x: Array, y: NDArray[np.uint8], split: Split, seed: int) -> Array:
    """Boosted trees per class; their settings were fixed beforehand."""
    model = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=150,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        max_features=0.2,
        early_stopping=False,
        random_state=seed,
    )
    return _decisions(model, x, y, split.train)


def _decisions(model: Any, x: Array, y: NDArray[np.uint8], train: NDArray[np.intp]) -> Array:
    """Fit the model to each class in turn, and give its logits of all records."""
    return np.column_stack([model.fit(x[train], of[train]).decision_function(x) for of in y.T])


BASELINES: dict[str, tuple[str, bool, Callable[[Array, NDArray[np.uint8], Split, int], Array]]] = {
    "logistic-regression": ("logistic regression", True, _logistic),
    "gradient-boosting": ("boosted trees", True, _boosted),
    "random-network": ("random network", False, _logistic),
}
"""Name to description, whether it reads waveform features, and how it is fitted."""


def train_baseline(
    name: str,
    dataset: EcgDataset,
    out: Path,
    config: str = "12-lead",
    protocol: str = "holdout",
    label_policy: str = "any",
) -> Run:
    """Train one of `BASELINES` and write its run folder ``out``, unless that was done before.

    See `leadmin.study.settings.RunSettings` for ``config`` and the rest. An unknown name, a
    training fold without a class, and a folder that another process writes are refused.
    """
    if name not in BASELINES:
        raise LeadminError(f"baseline: no {name!r}; valid: {', '.join(BASELINES)}; change it")
    started = time.perf_counter()
    description, on_waveforms, fitted = BASELINES[name]
    configuration = resolve(config)
    how = {"config": configuration.name, "protocol": protocol, "label_policy": label_policy}
    network = [(RECIPES["default"], 0)]  # whose options the random network has
    code = code_sha256(("study/baselines",))
    identity = trained_identity(**how, recipes=network, dataset=dataset, baseline=name, code=code)
    if found := finished_run(out, identity):
        return found
    with held(out, "training"):
        signals = dataset.signals[:, list(lead_indices(configuration.leads))]
        labels = dataset.labels[label_policy]
        divisions = splits(dataset, protocol, label_policy)
        features = waveform_features(signals, dataset.sampling_rate) if on_waveforms else None
        logits: dict[str, list[NDArray[np.float32]]] = {"validation": [], "test": []}
        for split in divisions:
            check_classes(dataset, split.train, label_policy, split.test_fold)
            x = features
            if x is None:
                x = random_network_features(signals, split.train, dataset.sampling_rate, 0)
            scores = fitted(x, labels, split, 0).astype(np.float32)
            for part in ("validation", "test"):
                logits[part].append(scores[getattr(split, part)])
        joined = {part: {name: np.concatenate(x)[None]} for part, x in logits.items()}
        return write_run(
            out,
            configuration,
            joined_predictions(dataset, divisions, label_policy, joined),
            classes=dataset.class_names,
            settings=how | {"recipe": name},
            identity=identity,
            recipes={name: {"name": name, "description": description}},
            n_parameters=None,
            seconds=time.perf_counter() - started,
            provenance=describe_environment() | {"data": describe_data(dataset)},
        )
