"""Variants of a recipe and baselines in one table; how they are trained is in test_workflow."""

import numpy as np
import pytest
from trouble import refused

from leadmin.questions.ablation import ablation_table, gather_variants, load_variants
from leadmin.study.ablation import merge
from leadmin.study.baselines import train_baseline
from leadmin.study.settings import RunSettings
from leadmin.study.train import train_run

NAMES = ("scratch", "scratch-mixup", "random-network")


def train(recipe, dataset, folder, **options):
    given = {"config": "2-lead-I-II", "epochs": 1, "seeds": 2} | options
    return train_run(RunSettings(out=str(folder), recipe=recipe, compare_with="", **given), dataset)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    for name in ("scratch", "scratch-mixup"):
        train(name, small, folder / name)
    train_baseline("random-network", small, folder / "random-network", "2-lead-I-II")
    return folder


def test_the_table_compares_every_variant_with_the_reference(folder):
    runs = load_variants(folder)
    table = ablation_table(gather_variants(runs, 200)).set_index("variant")
    assert list(table.index) == list(NAMES)
    for name in NAMES:
        expected = np.mean([one["auroc"] for one in runs[name].metrics["test"][name]])
        assert table.loc[name, "auroc"] == pytest.approx(expected, abs=1e-12)
    difference = table.loc["scratch-mixup", "auroc"] - table.loc["scratch", "auroc"]
    assert table.loc["scratch-mixup", "auroc_difference"] == pytest.approx(difference, abs=1e-12)
    assert np.isnan(table.loc["scratch", "auroc_difference"])
    assert table.loc["random-network", "kind"] == "baseline"
    assert list(table["n_seeds"]) == [2, 2, 1]
    for measure in ("auroc", "brier", "auroc_HYP"):
        assert (table[f"{measure}_low"] <= table[measure]).all()
        assert (table[measure] <= table[f"{measure}_high"]).all()


def test_runs_that_do_not_belong_together_are_refused(folder, small, tmp_path):
    runs = load_variants(folder)
    other = train("scratch", small, tmp_path / "x", config="1-lead-I", seeds=1)
    fewer = train("scratch", small.select(np.arange(190)), tmp_path / "y", seeds=1)
    for message, run, added in (
        ("another configuration, 1-lead-I; valid: 2-lead-I-II", runs["scratch-mixup"], other),
        ("stands on other records or labels", runs["scratch-mixup"], fewer),
        ("occurs in two", runs["scratch"], runs["scratch"]),
    ):
        refused(message, merge, [run, added])
    alone = gather_variants({"scratch-mixup": runs["scratch-mixup"]}, 100)
    refused("not among the", ablation_table, alone)
    refused("no finished variant", load_variants, tmp_path / "nothing")
