"""The map: electrode sets, one network scored on all of them, and what is read off it."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import one_run, with_logits
from scipy.special import expit
from trouble import refused

from leadmin.evidence.nested import best_of, contrast, gather_map
from leadmin.evidence.reliability import BENEFIT_THRESHOLD, recalibrated_logits
from leadmin.evidence.scores import MARGIN
from leadmin.labels import CLASSES
from leadmin.leads import (
    BIPOLAR,
    CHEST_LEADS,
    LEADS,
    LIMB_ELECTRODES,
    LIMB_LEADS,
    electrode_sets,
    electrodes_needed,
    lead_indices,
    resolve,
    signal_spaces,
    span,
)
from leadmin.net.checkpoint import load_checkpoint
from leadmin.questions import questions, read_tables, study_tables
from leadmin.questions.electrodes import answer_reading
from leadmin.questions.foretold import foretold_reading
from leadmin.questions.worth import shapley_weights
from leadmin.study.mapping import ANY_LEAD, lead_sets, map_run, sets_of_map
from leadmin.study.settings import RunSettings, Study
from leadmin.study.train import train_run


def leads_of(electrodes):
    """What electrodes give, by the definition of the leads."""
    if set(LIMB_ELECTRODES) <= set(electrodes):
        return LIMB_LEADS + tuple(v for v in CHEST_LEADS if v in electrodes)
    return tuple(lead for lead, poles in BIPOLAR.items() if set(poles) <= set(electrodes))


def test_electrodes_give_67_of_the_511_spaces_and_leads_need_electrodes():
    all_electrodes = LIMB_ELECTRODES + CHEST_LEADS
    found = {
        leads_of(chosen)
        for size in range(1, 10)
        for chosen in itertools.combinations(all_electrodes, size)
    } - {()}
    assert {space.leads for space in electrode_sets()} == found
    assert (len(electrode_sets()), len(signal_spaces())) == (67, 511)
    for space in electrode_sets():
        assert leads_of(space.electrodes) == space.leads
        assert span(resolve(space.name).leads) == space.leads
    assert electrode_sets()[-1].name == "12-lead"
    assert len({space.name for space in signal_spaces()}) == 511
    assert electrodes_needed(["I"]) == ("RA", "LA")
    assert electrodes_needed(["ii"]) == ("RA", "LL")
    assert electrodes_needed(["V2"]) == electrodes_needed(["I", "V2"]) == ("RA", "LA", "LL", "V2")
    assert len(electrodes_needed(LEADS)) == 9


SOME = [electrode_sets()[k] for k in (0, 3, 14, 66)]


@pytest.fixture(scope="module")
def any_lead(small, sample_file, tmp_path_factory):
    """Two networks for any leads, trained for an epoch."""
    out = tmp_path_factory.mktemp("any-lead") / "any-lead"
    given = ("12-lead", str(sample_file), str(out), "any-lead", "")
    return train_run(RunSettings(*given, seeds=2, epochs=1), small)


@pytest.fixture(scope="module")
def mapped(any_lead, small):
    return map_run(any_lead, small, any_lead.folder.parent / "map", SOME)


def test_a_map_says_what_the_network_says_of_each_set(mapped, any_lead, small):
    sets = sets_of_map(mapped)
    assert list(sets) == [space.name for space in SOME]
    tested = small.signals[np.isin(small.record_id, mapped.test.record_id)]
    for seed in range(2):
        network = load_checkpoint(any_lead.folder / "checkpoints" / f"any-lead-seed{seed}")
        for name in sets:
            leads = resolve(name).leads
            shown = tested[:, lead_indices(leads)]
            said = network.predict(shown, leads=leads, unit="uV", sampling_rate=100)
            logits = sets[name].test.logits[ANY_LEAD][seed].astype(float)
            # float16 keeps three digits, and derived leads are rounded to a microvolt
            assert np.allclose(expit(logits), said, atol=3e-3)


def test_a_map_is_kept_goes_on_and_follows_its_networks(mapped, any_lead, small, tmp_path):
    again = map_run(any_lead, small, mapped.folder, SOME)
    assert again.kept
    out, scored = tmp_path / "map", []
    with pytest.raises(KeyboardInterrupt):
        map_run(any_lead, small, out, SOME, on_network=_interrupt)
    assert not (out / "metrics.json").exists()
    first = out / "state" / "any-lead-seed0.safetensors"
    assert first.exists(), "what was scored is kept"
    files = dict(reversed(any_lead.metrics["files"].items()))  # in another order, the same ones
    other = dataclasses.replace(any_lead, metrics=any_lead.metrics | {"files": files})
    run = map_run(other, small, out, SOME, on_network=scored.append)
    assert scored == ["any-lead-seed0", "any-lead-seed1"]
    assert not run.kept
    assert not (out / "state").exists(), "a finished map leaves no state"
    for name in run.recipes:
        assert np.array_equal(run.test.logits[name], mapped.test.logits[name])


def _interrupt(_):
    raise KeyboardInterrupt


def test_what_is_no_such_network_or_other_records_is_refused(any_lead, small, mapped, tmp_path):
    few, two = small.select(np.arange(150)), electrode_sets()[:2]
    words = r"other records.*give the data that it was trained on"
    refused(words, map_run, any_lead, few, tmp_path, two)
    for lacking in (
        {"recipes": {"any-lead": {}}},
        {"files": {"checkpoints/any-lead-seed1.json": ""}},
    ):
        other = dataclasses.replace(any_lead, metrics=any_lead.metrics | lacking)
        refused("a map needs a run of the recipe any-lead", map_run, other, small, tmp_path, two)
    refused("not a map", sets_of_map, any_lead)
    refused("sets: there is no 'all'; valid: electrodes, spaces", lead_sets, "all")
    assert not list(tmp_path.iterdir())


# --- what is read off it ----------------------------------------------------------------------


LESS = {"2-lead-II-V2": "3-lead-I-II-V2"}
LESS |= dict.fromkeys(("1-lead-V5", "I,V5", "II,V5"), "I,II,V5")
"""Signal spaces that leave out a lead which their electrodes give."""


@pytest.fixture(scope="module")
def synthetic():
    """A map in which V2 carries MI and V5 hypertrophy, over ten folds and two seeds."""
    strengths = {}
    for space in electrode_sets():
        chest = set(space.leads) & set(CHEST_LEADS)
        normal = 1.6 + 0.1 * ("I" in space.leads) + 0.05 * len(chest)
        mi, cd, hyp = 1 + 0.8 * ("V2" in chest), 1.2 + 0.5 * ("V1" in chest), 0.8 + ("V5" in chest)
        strengths[space.name] = np.array([normal, mi, 1.5, cd, hyp])
    rng = np.random.default_rng(5)

    def logits_of(part):
        shared = rng.normal(size=(2, *part.labels.shape))
        logits = {
            name: shared + power * part.labels + 0.05 * rng.normal(size=shared.shape)
            for name, power in strengths.items()
        }
        return logits | {less: logits[of].round() for less, of in LESS.items()}

    metrics = {"identity": {"map_of": {}}, "settings": {"label_policy": "any"}}
    run = dataclasses.replace(one_run(900, folds=range(1, 11)), metrics=metrics)
    return with_logits(run, logits_of)


@pytest.fixture(scope="module")
def evidence(synthetic):
    """With networks trained for two sets, which are as good as those of the map."""
    sets = sets_of_map(synthetic)
    trained = {
        name: with_logits(sets[name], lambda part: {"default": part.logits[ANY_LEAD][:1]})
        for name in ("12-lead", "2-lead-I-II")
    }
    return gather_map(synthetic, 100, trained)


@pytest.fixture(scope="module")
def tables(evidence):
    return read_tables(evidence, study_tables(evidence, "map"))


ASKED = {question.name: question for question in questions("map")}


def test_the_curve_finds_what_each_class_needs(tables):
    curve = tables["curve"].set_index(["target", "n_electrodes"])
    assert curve.loc[("MI", 4), "chosen"] == "V2"
    assert curve.loc[("HYP", 4), "chosen"] == "V5"
    assert curve.loc[("CD", 4), "chosen"] == "V1"
    assert set(resolve(curve.loc[("macro", 6), "config"]).leads) >= {"V1", "V2", "V5"}
    nine = curve.loc[("macro", 9)]
    assert nine["difference"] == nine["difference_low"] == nine["difference_high"] == 0
    assert np.isnan(nine["p_holm"])
    few = curve.loc[("macro", 3)]
    assert few["difference_high"] < -MARGIN
    assert not few["within"]
    enough = curve.loc[("macro", 6)]
    assert enough["within"]
    assert enough["difference_low_with_seeds"] > -MARGIN
    said = answer_reading(curve.reset_index())
    assert "**6 electrodes.** RA, LA, LL and V1 + V2 + V5, chosen" in said
    assert "myocardial infarction 4, V2;" in said


def test_net_benefit_counts_the_found_less_the_false_calls(evidence, tables):
    row = tables["curve"].query("target == 'macro'").set_index("n_electrodes").loc[4]
    run = evidence.runs[best_of(4, "macro")]
    for name in ("MI", "HYP"):
        y, each = run.test.labels[:, CLASSES.index(name)], []
        for seed in range(len(run.seeds[ANY_LEAD])):
            logits = recalibrated_logits(run, ANY_LEAD)[seed, :, CLASSES.index(name)]
            called = logits >= math.log(BENEFIT_THRESHOLD / (1 - BENEFIT_THRESHOLD))
            each.append(1000 * np.mean(called * (y - (1 - y) / 4)))
        assert row[f"benefit_{name}"] == pytest.approx(np.mean(each))
    assert row["difference_benefit_HYP"] < 0
    asked = ASKED["benefit"]
    assert "hypertrophy" in asked.reading(tables)
    assert "V5" in next(iter(asked.shown.values()))(tables).to_string()


def test_training_widens_intervals(evidence):
    row = contrast(evidence, {"4-lead-I-II-V2-V5": 1.0, "12-lead": -1.0}, "auroc", "macro")
    columns = row.columns("d")
    pair, full = (
        evidence.get(name, ANY_LEAD).per_seed["auroc"].mean(axis=1)
        for name in ("4-lead-I-II-V2-V5", "12-lead")
    )
    per_seed = pair - full
    assert columns["d"] == pytest.approx(per_seed.mean())
    assert row.seeds == (pytest.approx(per_seed.var(ddof=1) / 2), 1)
    whole = columns["d_high_with_seeds"] - columns["d_low_with_seeds"]
    assert whole > 0.95 * (columns["d_high"] - columns["d_low"])
    assert 0 < row.p_above(-1.0) < 0.05 < row.p_above(1.0)


def test_labels_of_the_test_records_take_no_part_in_the_choice(synthetic, evidence):
    rng = np.random.default_rng(3)
    test = synthetic.test
    other = dataclasses.replace(test, labels=rng.permutation(test.labels))
    four = tuple(s.name for s in electrode_sets() if len(s.electrodes) == 4)
    few = dataclasses.replace(synthetic, test=other, recipes=(*four, "12-lead"))
    for config, run in gather_map(few, 1).runs.items():
        assert run.metrics.get("chosen") == evidence.runs[config].metrics.get("chosen")
    assert len(set(evidence.runs[best_of(4, "macro")].metrics["chosen"])) > 1


def test_a_chosen_run_is_made_of_the_sets_that_were_chosen(evidence):
    run = evidence.runs[best_of(4, "HYP")]
    for fold, name in enumerate(run.metrics["chosen"], start=1):
        for part, own in (("test", fold), ("validation", fold % 10 + 1)):
            mine, source = (getattr(one, part) for one in (run, evidence.runs[name]))
            here = mine.fold == own
            assert np.array_equal(mine.logits[ANY_LEAD][:, here], source.logits[ANY_LEAD][:, here])


def test_shapley_values_are_fair(evidence, tables):
    worth = tables["worth"]
    names = {frozenset(s.leads) & frozenset(CHEST_LEADS): s.name for s in electrode_sets()[3:]}
    for target in ("macro", *CLASSES):
        rows = worth[worth["target"] == target].set_index("electrode")
        whole = contrast(
            evidence, {"12-lead": 1.0, names[frozenset()]: -1.0}, "auroc", target
        ).estimate
        assert rows["gain"].sum() == pytest.approx(whole.value), "they add up to all six"
    by_electrode = worth.pivot(index="electrode", columns="target")
    assert by_electrode["gain", "HYP"].idxmax() == "V5"
    assert by_electrode["gain", "MI"].idxmax() == by_electrode["spared", "MI"].idxmax() == "V2"
    # by its definition: the mean gain over all 720 orders
    value = {
        chest: evidence.get(name, ANY_LEAD).of_class("auroc", "MI").value
        for chest, name in names.items()
    }
    gains = []
    for order in itertools.permutations(CHEST_LEADS):
        before = frozenset(order[: order.index("V2")])
        gains.append(value[before | {"V2"}] - value[before])
    assert len(gains) == math.factorial(6)
    found = worth[(worth["target"] == "MI") & (worth["electrode"] == "V2")]["gain"].item()
    assert found == pytest.approx(np.mean(gains))
    assert sum(shapley_weights("V1").values()) == pytest.approx(0, abs=1e-12)


def test_the_map_is_compared_with_networks_of_their_own(evidence, tables):
    table = tables["foretold"].set_index(["config", "target"])
    assert set(table.index.get_level_values("config")) == {"12-lead", "2-lead-I-II", "mean"}
    for config in ("12-lead", "2-lead-I-II"):
        first, both = (evidence.get(config, ANY_LEAD).per_seed["auroc"][:k] for k in (1, 2))
        row = table.loc[(config, "macro")]
        assert row["trained"] == pytest.approx(first.mean())
        assert row["difference"] == pytest.approx(first.mean() - both.mean())
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    for target in ("macro", "MI"):
        rows = table.xs(target, level="target")
        assert rows["difference"]["mean"] == pytest.approx(rows["difference"][:2].mean())
        assert rows["n_sets"].tolist() == [1, 1, 2]
    assert "no network" not in foretold_reading(table.reset_index()).lower()
    assert foretold_reading(pd.DataFrame()).startswith("No networks were trained")


def test_every_question_of_a_map_is_read_and_drawn(tables):
    assert len(tables["map"]) == 67 * 6
    for question in ASKED.values():
        assert question.reading(tables).strip()
        assert all(draw(tables) is not None for draw in question.figures.values())
        folded = question.folded
        folded = folded(tables) if callable(folded) else folded
        for make in [*question.shown.values(), *folded.values()]:
            assert make(tables) is not None


def test_a_map_without_all_sets_says_so(synthetic):
    some = dataclasses.replace(
        synthetic, recipes=(*(s.name for s in electrode_sets()[3:5]), "12-lead")
    )
    few = gather_map(some, 20)
    tables = read_tables(few, study_tables(few, "map"))
    assert tables["worth"].empty
    assert tables["next"].empty
    assert "lacks some of the 64" in ASKED["worth"].reading(tables)
    assert "lacks those of fewer leads" in ASKED["spaces"].reading(tables)


def test_leads_are_counted_where_a_map_holds_more_than_electrodes_give(tables):
    spaces = tables["spaces"].set_index("config")
    assert len(spaces) == 67 + len(LESS)
    assert spaces.loc["I,V5", ["n_leads", "n_electrodes"]].tolist() == [2, 4]
    lost = spaces.loc[list(LESS.values()), "auroc"].to_numpy() - spaces.loc[list(LESS), "auroc"]
    assert spaces.loc[list(LESS), "thrown_away"].to_numpy() == pytest.approx(lost.to_numpy())
    assert (lost > 0).all()
    assert (spaces["thrown_away"].drop(list(LESS)) == 0).all()
    fewest = tables["fewest_leads"].set_index("n_leads")
    assert fewest.index.tolist() == list(range(1, 9))
    assert fewest.loc[8, ["config", "within"]].tolist() == ["12-lead", True]
    reading = ASKED["spaces"].reading(tables)
    assert f"4 of the {len(spaces)} signal spaces leave out a lead" in reading


def a_study(configurations=("12-lead",), **fields):
    return Study(name="x", title="X", source="s", configurations=configurations, **fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "any-lead"}, "for a study that is a map"),
        ({"recipe": "any-lead", "map": "electrodes", "configurations": ("12-lead", "1-lead-I")},
         "for a study that is a map"),
        ({"recipe": "scratch", "map": "electrodes"}, "whose networks start from any-lead"),
        ({"variants": ("scratch",), "map": "electrodes"}, "whose networks start from any-lead"),
        ({"map": "all"}, "map"),
        ({"map_seeds": 1}, "map_seeds is 1; valid: 0, but in a study with a map"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_have_a_map_is_refused(changes, message):
    refused(message, a_study, **changes)


def test_a_study_knows_what_is_mapped():
    study = a_study(map="electrodes")
    assert (study.map_of, study.conclusions) == ("any-lead", ("04_analysis", "06_map"))
    alone = a_study(map="spaces", recipe="any-lead", compare_with="")
    assert (alone.map_of, alone.conclusions) == ("12-lead", ("06_map",))
    assert alone.run_parameters("12-lead")["workers"] == 0, "nothing else runs beside it"
    checked = dataclasses.replace(alone, map_seeds=2)
    assert (len(checked.checks), checked.trained_for_sets) == (66, checked.checks)
    assert checked.run_parameters("12-lead")["seeds"] == 2, "each check has one to start from"
    own = checked.run_parameters("1-lead-I")
    assert (own["recipe"], own["start_from"], own["seeds"]) == ("default", "12-lead", 2)
    assert a_study().conclusions == ("04_analysis",)
    assert (study.checks, study.runs) == ((), study.networks)


def test_a_study_checks_its_map_by_networks_of_their_own():
    two = ("12-lead", "1-lead-I")
    study = a_study(two, map="electrodes", map_seeds=2, compare_configurations=two[:1])
    assert {*study.checks, *study.configurations} == {one.name for one in electrode_sets()}
    assert (len(study.checks), study.runs) == (65, (*study.networks, *study.checks))
    own = study.run_parameters("I,II,V5")
    assert (own["seeds"], own["compare_with"], own["start_from"]) == (2, "", "any-lead")
    assert study.run_parameters("any-lead")["seeds"] == 2, "each needs a network to start from"
    assert study.run_parameters("12-lead")["seeds"] == 1
