"""A network for any leads answers by what its leads say, not by what they are called."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from trouble import refused

import leadmin
from leadmin.labels import CLASSES
from leadmin.leads import LEADS, LIMB_LEADS, derive, signal_spaces, span
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import Architecture, ResNet1d
from leadmin.net.scaling import Scaling

N_SAMPLES = 250


@pytest.fixture(scope="module")
def classifier():
    """One whose weights, and what it does with what it is told, are random."""
    torch.manual_seed(1)
    model = ResNet1d(12, 5, Architecture(any_leads=True)).eval()
    for value in model.stem.told.parameters():
        torch.nn.init.normal_(value, std=0.3)
    scaling = Scaling("factor", (0.0,) * 12, (200.0,) * 12)
    return EcgClassifier(model, scaling, LEADS, 100, CLASSES, N_SAMPLES, 1, {})


@pytest.fixture(scope="module")
def ecgs(small):
    """Three real records, their limb leads computed from I and II without rounding."""
    x = small.signals[:3, :, :N_SAMPLES].astype(np.float64)
    x[:, :6] = derive(x[:, :2], ["I", "II"], LIMB_LEADS)
    return x


def answers(classifier, ecgs, leads):
    rows = [LEADS.index(lead) for lead in leads]
    return classifier.predict(ecgs[:, rows], leads=leads, sampling_rate=100, unit="uV")


@pytest.mark.parametrize("most", [2, pytest.param(4095, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shipped", [False, True])
def test_every_lead_set_is_read_as_the_others_of_its_signal_space(classifier, ecgs, most, shipped):
    classifier = leadmin.load("any-lead") if shipped else classifier
    rng = np.random.default_rng(0)
    by_space = {}
    subsets = [s for size in range(1, 13) for s in itertools.combinations(LEADS, size)]
    for number in rng.permutation(len(subsets)):
        found = by_space.setdefault(span(subsets[number]), [])
        if len(found) < most:
            found.append(answers(classifier, ecgs, rng.permutation(subsets[number]).tolist()))
    assert len(by_space) == len(signal_spaces()) == 511
    for space, found in by_space.items():
        assert np.ptp(found, axis=0).max() < 1e-4, space
    different = np.array([found[0] for found in by_space.values()])
    assert len(np.unique(different.round(6), axis=0)) == 511, "two spaces are read alike"


def test_a_flat_lead_is_not_a_hidden_one(classifier, ecgs):
    flat = ecgs.copy()
    flat[:, 6] = flat[:, 6] / 1000 + [0, 20] * (N_SAMPLES // 2)  # a rest of 20 microvolts
    shown, hidden = (
        answers(classifier, flat, leads) for leads in (LEADS, (*LIMB_LEADS, *LEADS[7:]))
    )
    assert abs(shown - hidden).max() > 1e-3


def test_a_network_of_fixed_leads_takes_what_its_leads_follow_from(classifier, ecgs):
    torch.manual_seed(2)
    model = ResNet1d(12, 5).eval()
    fixed = replace(classifier, model=model, metadata={"recipe": {}})
    eight = ("II", "III", *LEADS[6:])
    assert abs(answers(fixed, ecgs, eight) - answers(fixed, ecgs, LEADS)).max() < 1e-4
    refused("needs II, III, aVR, aVL, aVF too", answers, fixed, ecgs, ("I", *LEADS[6:]))
