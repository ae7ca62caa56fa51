"""Coverage is proved, not assumed: intervals and tests in a world whose truth is known."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from leadmin import metrics
from leadmin.study.run import load_run

# a benchmark, not a part of the package; the name `coverage` belongs to another one
SOURCE = Path(__file__).resolve().parent.parent / "benchmarks" / "coverage.py"
spec = importlib.util.spec_from_file_location("coverage_benchmark", SOURCE)
simulation = importlib.util.module_from_spec(spec)
spec.loader.exec_module(simulation)
World, coverage = simulation.World, simulation.coverage


def test_the_truth_of_the_world_is_what_many_records_show():
    world = World(n_patients=150_000)
    _, labels, logits = world.draw(np.random.default_rng(0))
    auroc, brier = world.true_auroc(), world.true_brier()
    for k in range(3):
        np.testing.assert_allclose(metrics.auroc(labels, logits[k]), auroc[k], atol=0.004)
        p = metrics.probabilities(logits[k])
        np.testing.assert_allclose(metrics.brier(labels, p), brier[k], atol=0.002)
    truth = simulation.truth(world)
    assert truth["macro AUROC"] == pytest.approx(np.mean(world.auroc))
    assert truth["difference, worse by the margin"] == pytest.approx(-0.01)
    assert truth["LRS"] < 1


def test_patients_have_repeated_records_with_the_same_labels():
    patient, labels, logits = World(n_patients=500, repeated=0.5).draw(np.random.default_rng(1))
    again = np.flatnonzero(np.bincount(patient) == 2)
    assert 200 < len(again) < 300
    for p in again[:20]:
        first, second = np.flatnonzero(patient == p)
        np.testing.assert_array_equal(labels[first], labels[second])
        assert (logits[0, first] != logits[0, second]).all()


def test_intervals_cover_and_tests_stay_quiet():
    """The quick form: 80 small studies, with the tolerance that their number calls for."""
    table = coverage(World(n_patients=200), 80, 200, np.random.default_rng(0))
    used = table["in_tables"] | (table["method"] == "jackknife t")
    covered = table[(table["what"] == "coverage") & used]
    # four standard errors of a proportion of 0.95 over 80 studies
    slack = 4 * math.sqrt(0.95 * 0.05 / 80)
    assert (covered["rate"] > 0.95 - slack).all(), covered
    assert (covered["rate"] < 1).all(), covered
    alarms = table[table["what"] == "false positives"].set_index("statistic")["rate"]
    assert (alarms < 0.05 + slack).all()
    # a test that never alarms would be as wrong as one that always does
    assert alarms["bootstrap, no difference"] > 0
    assert alarms["DeLong, no difference"] > 0


def test_studies_are_drawn_from_real_patients_with_all_their_records(root):
    population = simulation.Population(root / "book/published/subset/runs", 300)
    patient, labels, logits = population.draw(np.random.default_rng(0))
    assert len(np.unique(patient)) == 300 < len(patient)
    assert logits.shape == (3, *labels.shape)
    rows = {row.tobytes() for row in population.logits[0]}
    assert {row.tobytes() for row in logits[0]} <= rows
    truth = simulation.truth(population)
    test = load_run(root / "book/published/subset/runs/3-lead-I-II-V2").test
    own = metrics.macro(metrics.auroc(test.labels, test.logits["default"][0]))
    assert truth["difference, 3-lead-I-II-V2"] == pytest.approx(own - truth["macro AUROC"])


def test_ignoring_patients_would_be_noticed():
    """Repeated records make the naive bootstrap over records overconfident; ours is not."""
    world = World(n_patients=150, repeated=1.0)
    rng = np.random.default_rng(3)
    truth = simulation.truth(world)["macro AUROC"]
    widths, inside = {"patients": 0.0, "records": 0.0}, {"patients": 0, "records": 0}
    for _ in range(30):
        patient, labels, logits = world.draw(rng)
        for unit, ids in (("patients", patient), ("records", np.arange(len(patient)))):
            found = simulation._analyse(world, ids, labels, logits, 100, rng)["macro AUROC"]
            low, high = np.quantile(found.replicates, [0.025, 0.975])
            widths[unit] += high - low
            inside[unit] += low <= truth <= high
    assert widths["patients"] > 1.15 * widths["records"]
    assert inside["patients"] > inside["records"]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("world", [World(), World(n_patients=1500, repeated=0.3)])
def test_95_percent_intervals_cover_93_to_97_percent(world):
    table = coverage(world, 1500, 1000, np.random.default_rng(1))
    covered = table[(table["what"] == "coverage") & table["in_tables"]]
    assert len(covered) == len(simulation.truth(world))
    assert covered["rate"].between(0.93, 0.97).all(), covered
    alarms = table[table["what"] == "false positives"].set_index("statistic")
    # 5.5% allows for the number of simulated studies: the interval of the rate must reach it
    assert (alarms["rate_low"] <= 0.05).all(), alarms
    assert (alarms["rate"] <= 0.055).all(), alarms
    assert (alarms.loc["non-inferiority", "rate"] <= 0.0325).all()
