import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from leadmin.cli.main import app
from leadmin.errors import LeadminError
from leadmin.publish.book import published_pages
from leadmin.publish.publishing import publish_ablation
from leadmin.questions.ablation import VARIANTS, ablation_table, load_variants
from leadmin.study.ablation import merge, train_variant

NAMES = ("scratch", "scratch-mixup", "random-network")


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    for name in NAMES:
        train_variant(name, small, folder / name, config="2-lead-I-II", epochs=1, seeds=2)
    return folder


def test_a_finished_variant_is_kept_and_another_request_replaces_it(folder, small, tmp_path):
    settings = {"config": "2-lead-I-II", "epochs": 1}
    path = tmp_path / "scratch"
    train_variant("scratch", small, path, **settings)
    stamp = (path / "metrics.json").stat().st_mtime_ns
    train_variant("scratch", small, path, **settings)
    assert (path / "metrics.json").stat().st_mtime_ns == stamp
    run = train_variant("scratch", small, path, seeds=2, **settings)
    assert run.seeds == {"scratch": (0, 1)}


def test_the_table_compares_every_variant_with_the_reference(folder):
    runs = load_variants(folder)
    table = ablation_table(runs, n_resamples=200).set_index("variant")
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


def test_what_starts_from_another_variant_finds_it_beside(small, tmp_path):
    for name in ("any-lead", "default"):
        run = train_variant(name, small, tmp_path / name, epochs=1)
    assert run.metrics["settings"]["start_from"] == "any-lead"
    assert not (tmp_path / "default" / "any-lead").exists()


def test_runs_that_do_not_belong_together_are_refused(folder, small, tmp_path):
    runs = load_variants(folder)
    other = train_variant("scratch", small, tmp_path / "x", config="1-lead-I", epochs=1)
    with pytest.raises(LeadminError, match="another configuration"):
        merge([runs["scratch-mixup"], other])
    with pytest.raises(LeadminError, match="occurs in two"):
        merge([runs["scratch"], runs["scratch"]])
    with pytest.raises(LeadminError, match="not among the"):
        ablation_table({"scratch-mixup": runs["scratch-mixup"]})
    with pytest.raises(LeadminError, match="no finished variant"):
        load_variants(tmp_path / "nothing")


def test_the_command_trains_what_it_is_asked_for(sample_file, tmp_path):
    command = ["ablate", "--data", str(sample_file), "--out", str(tmp_path), "--config", "1-lead-I"]
    chosen = ["--variant", "scratch", "--variant", "random-network", "--epochs", "1"]
    result = CliRunner().invoke(app, command + chosen)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "ablation.csv")
    assert list(table["variant"]) == ["scratch", "random-network"]
    assert set(table["description"]) <= set(VARIANTS.values())


def test_publishing_executes_the_chapter_and_keeps_what_it_stands_on(folder, root, tmp_path):
    source = tmp_path / "outputs"
    shutil.copytree(folder, source / "runs")
    (tmp_path / "notebooks").mkdir()
    shutil.copy(root / "notebooks" / "05_ablation.ipynb", tmp_path / "notebooks")
    published = publish_ablation(source, tmp_path)
    assert published == tmp_path / "book" / "published" / "ablation"
    assert list(published_pages(tmp_path)) == ["published/ablation/05_ablation"]
    table = pd.read_csv(published / "ablation.csv").set_index("variant")
    assert list(table.index) == list(NAMES)
    page = (published / "notebooks" / "05_ablation.ipynb").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert f"{table.loc['scratch-mixup', 'auroc_difference']:+.3f}" in page
    assert (published / "figures" / "ablation.pdf").is_file()
    again = ablation_table(load_variants(published / "runs"))
    np.testing.assert_allclose(again["auroc"], table["auroc"], atol=1e-12)


def test_publishing_nothing_leaves_what_was_published(root, tmp_path):
    kept = tmp_path / "book" / "published" / "ablation" / "ablation.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept")
    with pytest.raises(LeadminError, match="no finished variant"):
        publish_ablation(tmp_path / "nothing", tmp_path)
    assert kept.read_text() == "kept"


def test_the_command_refuses_an_unknown_variant(tmp_path):
    result = CliRunner().invoke(app, ["ablate", "--variant", "magic", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "magic" in result.output
    assert not list(tmp_path.iterdir())
