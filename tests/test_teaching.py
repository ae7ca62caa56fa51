"""Teaching ECGs: chosen by rule, and marked by what is measured."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from leadmin.labels import CLASSES
from leadmin.leads import LEADS
from leadmin.show.ecg_paper import Mark, plot_ecg
from leadmin.show.teaching import beats_of, marks_for, marks_in_words, teaching_records

RATE = 100


def record(width=0.08, noise=0.0, **heights):
    """Ten beats in all leads: a spike of ``width`` seconds, of a height in mV (1 by default)."""
    times = np.arange(10 * RATE) / RATE
    beat = np.clip(1 - np.abs(times % 1 - 0.5) / (width / 2), 0, None)
    height = np.array([heights.get(lead, 1.0) for lead in LEADS])
    rough = noise * np.random.default_rng(0).standard_normal((len(LEADS), len(times)))
    return (1000 * (height[:, None] * beat + rough)).astype(np.int16)


def test_marks_lie_on_the_beat_that_they_measure():
    signal = record(V1=-2.0, V5=2.5, V6=1.5)
    beats = beats_of(signal, RATE)
    deep, tall = marks_for("HYP", beats)
    assert (deep.lead, deep.text, deep.below) == ("V1", "S 2.0 mV", True)
    assert (tall.lead, tall.text, tall.below) == ("V5", "R 2.5 mV", False)
    assert tall.high == pytest.approx(2.5, abs=0.01)
    assert tall.start < np.floor(tall.start) + 0.5 < tall.stop  # where the spike is
    assert 7.5 <= tall.start < tall.stop <= 10  # in its own strip
    assert marks_in_words([deep]) == "V1: S 2.0 mV"


def test_a_wide_complex_is_measured_wide_and_a_flat_record_has_no_beats():
    narrow, wide = (marks_for("CD", beats_of(record(w), RATE))[0] for w in (0.08, 0.16))
    assert wide.stop - wide.start == pytest.approx(0.16, abs=0.021)
    assert narrow.stop - narrow.start == pytest.approx(0.08, abs=0.021)
    assert beats_of(np.zeros((12, 1000)), RATE) is None


def test_the_certain_clear_and_clean_record_is_chosen():
    said = [{"LVH": 100}, {"LVH": 100}, {"LVH": 50}, {"SEHYP": 100}, {"LVH": 100}]
    signals = [record(V1=-2, noise=0.05), record(V1=-2), record(V1=-4), record(V1=-4), record()]
    others = [{name: 100} for name in ("NORM", "ASMI", "ISC_", "CLBBB")]
    labels = np.eye(5, dtype=int)[[0, 1, 2, 3, 4, 4, 4, 4, 4]]
    dataset = SimpleNamespace(
        labels={"any": labels, "likelihood50": labels},
        metadata=pd.DataFrame({"scp_codes": [json.dumps(one) for one in (*others, *said)]}),
        signals=np.array([record() for _ in others] + signals),
        sampling_rate=RATE,
    )
    quiet = np.ones(9, dtype=bool)
    assert teaching_records(dataset, quiet) == dict(zip(CLASSES, (0, 1, 2, 3, 5), strict=True))
    quiet[[4, 5, 8]] = False  # none is presentable: then no certain one is, either
    assert teaching_records(dataset, quiet)["HYP"] in (6, 7)


def test_rows_lie_as_far_apart_as_their_waves_are_high():
    signal = record(V1=-3.0, V2=3.0) / 1000
    figure = plot_ecg(signal, RATE, marks=[Mark("V1", 6.4, 6.6, -3.0, 0.0, "S", True)])
    lines = {line.get_gid(): line.get_ydata() for line in figure.axes[0].lines}
    assert lines["lead-V1"].min() > lines["lead-V2"].max()
    (band,) = [patch for patch in figure.axes[0].patches if patch.get_gid() == "mark-V1"]
    assert band.get_y() == pytest.approx(lines["lead-V1"].min(), abs=0.1)
    assert band.get_width() == pytest.approx(0.2 * 25)
