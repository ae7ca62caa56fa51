"""Time the bootstrap over patients against a loop of scikit-learn calls.

    python benchmarks/resampling.py [--records 4300] [--resamples 2000] [--loop 10]

Both sides compute, for 11 configurations and five classes, AUROC, average precision, F1 at two
thresholds, Brier score, sensitivity and specificity at four operating points and, on our side, the
calibration error too. The loop is timed on a few resamples of one configuration and extrapolated.
Below, the same for AUROC alone, against a loop over the rank formula, which is the fastest way to
write it without weights. Two threads on both sides.
"""

import argparse
import time
from functools import partial

import numpy as np
from scipy.stats import rankdata
from sklearn import metrics as sk
from threadpoolctl import threadpool_limits

from leadmin import metrics
from leadmin.evidence import resampling

N_CONFIGURATIONS = 11
PREVALENCE = (0.49, 0.21, 0.24, 0.21, 0.12)


def make_predictions(n_records, rng):
    """Labels and 11 sets of probabilities that resemble those of the study."""
    labels = (rng.random((n_records, 5)) < PREVALENCE).astype(np.uint8)
    shared = rng.normal(size=labels.shape)
    made = []
    for strength in np.linspace(2.0, 1.0, N_CONFIGURATIONS):
        noise = shared + 0.4 * rng.normal(size=labels.shape)
        logits = (strength * labels - 1.5 + noise).astype(np.float32)
        made.append(metrics.probabilities(logits))
    return labels, made


def one_resample_with_scikit_learn(labels, p, cut, rows):
    """Do what a published analysis script does for each resample."""
    for c in range(labels.shape[1]):
        y, s = labels[rows, c], p[rows, c]
        sk.roc_auc_score(y, s)
        sk.average_precision_score(y, s)
        sk.f1_score(y, s >= cut[c])
        sk.f1_score(y, s >= 0.5)
        sk.brier_score_loss(y, s)
        false_rate, sensitivity, _ = sk.roc_curve(y, s)
        for level in (0.90, 0.95):
            sensitivity[1 - false_rate >= level].max()
            (1 - false_rate)[sensitivity >= level].max()


def auroc_by_ranks(y, s):
    """Compute the AUROC of one class from mean ranks."""
    ranks, positive = rankdata(s), int(y.sum())
    above = ranks[y == 1].sum() - positive * (positive + 1) / 2
    return above / (positive * (len(y) - positive))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=4300)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=10, help="resamples timed with scikit-learn")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    labels, predictions = make_predictions(options.records, rng)
    patient = np.sort(rng.integers(0, int(0.95 * options.records), options.records))
    cut = np.full(5, 0.4)

    def looped(score):
        """Extrapolate from some resamples of one configuration."""
        started = time.perf_counter()
        for b in range(options.loop):
            score(np.repeat(np.arange(options.records), weights[:, b]))
        taken = (time.perf_counter() - started) / options.loop
        return taken * options.resamples * N_CONFIGURATIONS

    def ranked(rows):
        for c in range(5):
            auroc_by_ranks(labels[rows, c], predictions[0][rows, c])

    with threadpool_limits(2):
        started = time.perf_counter()
        weights = resampling.patient_weights(patient, options.resamples, rng)
        for p in predictions:
            resampling.resampled_metrics(labels, p, cut, weights)
        ours = time.perf_counter() - started

        loop = looped(partial(one_resample_with_scikit_learn, labels, predictions[0], cut))

        started = time.perf_counter()
        for c in range(5):
            resampling.weighted_auroc(labels[:, c], predictions[0][:, c], weights)
        ours_auroc = (time.perf_counter() - started) * N_CONFIGURATIONS

        loop_auroc = looped(ranked)

    print(f"{options.records:,} records, {options.resamples:,} resamples, 11 configurations")
    print(f"{'':30}{'at once':>10}{'loop':>10}{'ratio':>8}")
    for name, mine, theirs in (
        ("all metrics, scikit-learn", ours, loop),
        ("AUROC alone, rank formula", ours_auroc, loop_auroc),
    ):
        print(f"{name:30}{mine:8.1f} s{theirs:8.1f} s{theirs / mine:8.1f}")


if __name__ == "__main__":
    main()
