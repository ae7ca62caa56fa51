import json
import math
import re
import resource
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from trouble import interrupted, refused

from leadmin.leads import LEADS, LIMB_LEADS, derive, lead_indices, resolve, span
from leadmin.metrics import auroc
from leadmin.net import recipes
from leadmin.net.batches import NoiseBank, ResidentRecords, batches, shown_leads
from leadmin.net.device import Computing, choose_device
from leadmin.net.fit import FitJob, fit, learning_rate, of_leads
from leadmin.net.model import ResNet1d, count_parameters
from leadmin.net.predict import predict_logits
from leadmin.net.recipes import RECIPES, recipe, recipe_identity, recipe_table, window_samples
from leadmin.net.scaling import Scaling, fit_scaling

QUICK = replace(RECIPES["scratch"], epochs=3, test_windows=2, batch_size=64)
MIXED = Computing(precision="bfloat16")


def parts(dataset):
    folds = dataset.fold
    return np.flatnonzero(folds <= 8), np.flatnonzero(folds == 9)


def job(dataset, config, chosen, **changes):
    """Give a job on folds 1 to 8, validated on fold 9."""
    train, validation = parts(dataset)
    return FitJob(resolve(config), chosen, **{"train": train, "validation": validation} | changes)


def same(first, second):
    """Whether two fits ended with the same weights, bit for bit."""
    first, second = (fitted.model.state_dict() for fitted in (first, second))
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def quick(small):
    """The arguments of a quick fit, and what it ends with."""
    arguments = small, job(small, "1-lead-I", QUICK)
    return arguments, fit(*arguments)


def test_the_seed_recipe_is_the_original_table():
    seed = RECIPES["original"]
    stated = {
        "learning_rate": 1e-3, "weight_decay": 0.01, "batch_size": 128, "epochs": 30,
        "patience": 7, "schedule": "cosine", "label_smoothing": 0.1, "mixup": 0.2,
        "scaling": "record", "train_labels": "likelihood50", "crop_seconds": 0.0,
    }  # fmt: skip
    assert {name: getattr(seed, name) for name in stated} == stated
    assert (seed.architecture.dropout, seed.architecture.stochastic_depth) == (0.3, 0.1)
    wide = ResNet1d(12, 5, RECIPES["original-wide"].architecture)
    assert count_parameters(wide) == 509_509, "as its code counts"


def test_each_variant_differs_from_its_origin_in_what_it_says():
    wording = {"name", "description", "origin"}
    differing = {
        variant.name: {k for k, v in vars(RECIPES[variant.origin]).items() if vars(variant)[k] != v}
        for variant in RECIPES.values()
        if variant.origin
    }
    assert {name: found - wording for name, found in differing.items()} == {
        "scratch-record-scaling": {"scaling"},
        "scratch-lead-scaling": {"scaling"},
        "scratch-likelihood50": {"train_labels"},
        "scratch-smoothing": {"label_smoothing"},
        "scratch-mixup": {"mixup"},
        "scratch-whole-record": {"crop_seconds", "test_windows"},
        "scratch-no-noise": {"noise"},
        "scratch-no-averaging": {"averaging"},
        "original-factor-scaling": {"scaling"},
        "original-wide": {"architecture"},
    }
    descriptions = [one.description for one in RECIPES.values()]
    assert all(descriptions)
    assert len(set(descriptions)) == len(RECIPES)


def test_published_runs_hold_the_recipes_of_today_whatever_they_are_called(root):
    for path in (root / "book" / "published").glob("*/runs/*/metrics.json"):
        for name, stored in json.loads(path.read_text())["recipes"].items():
            stored.pop("lead_masking", None)  # of versions in which it stood beside any_leads
            if name == "any-lead" and stored["epochs"] == 120:
                continue  # the network before the one of today, as the methods say
            if name in RECIPES:
                reworded = replace(RECIPES[name], description="other words", origin="elsewhere")
                assert stored == recipe_identity(reworded), path


def test_a_recipe_table_has_words_for_names_and_for_what_a_run_stored(root):
    run = root / "book" / "published" / "subset" / "runs" / "12-lead" / "metrics.json"
    stored = json.loads(run.read_text())["recipes"]
    table = recipe_table("default", "original")
    assert table.equals(recipe_table(stored["default"], stored["original"]))
    kept, lost = "one factor for all, voltage kept", "z-score per lead and record, voltage lost"
    for option, default, original in (
        ("Scaling", kept, lost),
        ("Starts from", "the any-lead network, 240 epochs", "random weights"),
        ("Patience, in epochs", "none: fixed length", "7"),
        ("Learning rate (AdamW)", "0.005", "0.001"),
        ("Mixup", "none", "0.2"),
        ("Stochastic depth", "0.1", "0.1"),
    ):
        assert list(table.loc[option]) == [default, original]
    del stored["default"]["architecture"]["dropout"]
    refused(r"recipe default.*without architecture\.dropout", recipe_table, stored["default"])


def test_what_the_recipes_score_is_what_was_published(root):
    path = root / "book" / "published" / "ablation" / "tables" / "ablation.csv"
    table = pd.read_csv(path, index_col="variant")
    lines = re.findall(r"^(\S+) +(0\.\d+)  \[(0\.\d+), (0\.\d+)\]$", recipes.__doc__, re.M)
    assert len(lines) == 4
    for name, *figures in lines:
        row = table.loc[name, ["auroc", "auroc_low", "auroc_high"]]
        assert figures == [f"{value:.3f}" for value in row]


def test_it_learns_a_few_records_by_heart(small):
    train, _ = parts(small)
    by_heart = train[::5]
    plain = replace(QUICK, epochs=25, noise=0.0, crop_seconds=0.0, averaging=0.0, batch_size=32)
    result = fit(small, job(small, "I,II,V2", plain, train=by_heart, validation=by_heart))
    assert result.history[-1]["validation_auroc"] > 0.95
    assert result.history[-1]["train_loss"] < 0.6 * result.history[0]["train_loss"]


def resumed(arguments, state, epochs=(2,), **options):
    """Stop a fit behind some epochs, one after the other, and let it end."""
    for last in epochs:
        interrupted(last, fit, *arguments, state_path=state, **options)
    return fit(*arguments, state_path=state, **options)


@pytest.mark.parametrize("name", ["scratch", "any-lead", "original"])
def test_weights_follow_from_the_seed_alone_whether_a_fit_was_stopped_or_not(small, tmp_path, name):
    chosen = replace(recipe(name, epochs=4), batch_size=64)
    config = "12-lead" if name == "any-lead" else "1-lead-I"
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = ((small, job(small, config, chosen, seed=seed)) for seed in (3, 4))
    whole, found = fit(*one), resumed(one, tmp_path / "state.safetensors", (1, 2, 3))
    assert same(whole, found)
    assert not same(whole, fit(*other))
    assert torch.equal(torch.rand(3), expected), "the global random state is left alone"
    for entry, again in zip(whole.history, found.history, strict=True):
        assert math.isfinite(entry["train_loss"])
        for name in ("epoch", "train_loss", "validation_auroc"):
            assert entry[name] == again[name]


def test_a_state_of_another_fit_is_not_continued(small, tmp_path):
    state = tmp_path / "state.safetensors"
    first, second = (job(small, "1-lead-I", replace(QUICK, epochs=1), seed=n) for n in (0, 1))
    fit(small, first, state_path=state)
    assert same(fit(small, second), fit(small, second, state_path=state))


@pytest.mark.parametrize("how", ["bit", "progress", "cut", "foreign"])
def test_a_damaged_state_is_said_and_the_fit_starts_again(quick, tmp_path, how):
    state, (arguments, whole) = tmp_path / "state.safetensors", quick
    interrupted(2, fit, *arguments, state_path=state)
    content = bytearray(state.read_bytes())
    if how == "bit":
        content[-1000] ^= 0x40
    elif how == "progress":
        content = content.replace(b'best_epoch\\": 2', b'best_epoch\\": 1')
    other = {"cut": content[:-5], "foreign": b"\x10\0\0\0\0\0\0\0 not safetensors"}
    state.write_bytes(other.get(how, content))
    seen = []
    with pytest.warns(UserWarning, match=r"state\.safetensors: .*is damaged.*starts again"):
        again = fit(*arguments, state_path=state, on_epoch=seen.append)
    assert [entry["epoch"] for entry in seen] == [1, 2, 3]
    assert same(whole, again)


def test_a_full_disk_is_an_error_and_the_last_saved_epoch_survives(quick, tmp_path):
    state, (arguments, whole) = tmp_path / "state.safetensors", quick
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(entry):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    message = r"state\.safetensors.*free some space"
    try:
        refused(message, fit, *arguments, state_path=state, on_epoch=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [state]
    assert same(whole, fit(*arguments, state_path=state))


@pytest.mark.parametrize("n_records", [1, 2, 65])
def test_batches_of_one_record_can_be_trained_on(small, n_records):
    train, _ = parts(small)
    labels = small.labels["any"][train]
    needed = [int(np.flatnonzero(labels[:, c])[0]) for c in range(labels.shape[1])]
    chosen = np.unique(np.concatenate([needed, np.arange(n_records)]))
    quick = replace(QUICK, batch_size=1 if n_records < 65 else 64, epochs=1)
    result = fit(small, job(small, "1-lead-I", quick, train=train[chosen]))
    assert math.isfinite(result.history[0]["train_loss"])
    assert all(torch.isfinite(value).all() for value in result.model.state_dict().values())


def test_what_cannot_be_trained_is_named(small):
    train, _ = parts(small)
    wild = replace(QUICK, learning_rate=1e30, schedule="cosine")
    for message, chosen, records in (
        ("training loss became", wild, {}),
        ("HYP", QUICK, {"train": train[small.labels["any"][train, 4] == 0]}),
        ("0 validation", QUICK, {"validation": np.array([], dtype=int)}),
        (r"I,V2.*valid: 12-lead.*choose", recipe("any-lead"), {}),  # it needs all of them
    ):
        refused(message, fit, small, job(small, "I,V2", chosen, **records))


def test_early_stopping_keeps_the_best_epoch(small):
    _, validation = parts(small)
    wild = {"epochs": 12, "patience": 1, "learning_rate": 0.05, "schedule": "one_cycle"}
    result = fit(small, job(small, "1-lead-V2", replace(RECIPES["original"], **wild)))
    scores = [entry["validation_auroc"] for entry in result.history]
    assert len(scores) < 12, "never stopped; the test needs a wilder recipe"
    assert result.best_epoch == 1 + int(np.argmax(scores))
    signals = torch.from_numpy(small.signals[np.ix_(validation, [7])])
    logits = predict_logits(result.model, result.scaling, signals).double().numpy()
    again = auroc(small.labels["any"][validation], logits)
    assert np.nanmean(again) == pytest.approx(max(scores), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["record", "lead", "factor"]),
    n_leads=st.integers(1, 12),
    n_samples=st.integers(20, 60),
    data=st.data(),
)
def test_windows_cut_from_the_resident_records_are_the_scaled_records(
    kind, n_leads, n_samples, data
):
    rng = np.random.default_rng(n_samples)
    signals = rng.integers(-2000, 2000, (7, n_leads, n_samples)).astype(np.int16)
    scaling = fit_scaling(kind, signals)
    window = data.draw(st.integers(1, n_samples))
    records = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=9))
    last = st.integers(0, n_samples - window)
    starts = data.draw(st.lists(last, min_size=len(records), max_size=len(records)))
    resident = ResidentRecords(torch.from_numpy(signals), scaling, window)
    x = resident(torch.tensor(records), torch.tensor(starts))
    whole = scaling(torch.from_numpy(signals))
    for row, record, start in zip(x, records, starts, strict=True):
        assert torch.equal(row, whole[record, :, start : start + window])
    assert x.shape == (len(records), n_leads, window)


def test_noise_is_white_of_unit_strength_and_another_one_each_time():
    rng = np.random.default_rng(0)
    noise = NoiseBank(64 * 3 * 250, rng, torch.device("cpu"))
    drawn = torch.zeros(2, 64, 3, 250)
    for x in drawn:
        noise.add_to(x, 0.5, rng)
        assert abs(float(x.std()) - 0.5) < 0.01
        assert abs(float(x.mean())) < 0.01
        for neighbour in (x[..., 1:] * x[..., :-1], x[:, 1:] * x[:, :-1], x[1:] * x[:-1]):
            assert abs(float(neighbour.mean())) < 0.01
    assert abs(float((drawn[0] * drawn[1]).mean())) < 0.01


def test_bfloat16_trains_another_network_that_is_as_good_and_resumes(quick, tmp_path):
    state, (arguments, plain) = tmp_path / "state.safetensors", quick
    mixed = fit(*arguments, computing=MIXED)
    assert not same(plain, mixed)
    assert all(value.dtype != torch.bfloat16 for value in mixed.model.state_dict().values())
    for one, other in zip(plain.history, mixed.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=0.05)
    assert same(resumed(arguments, state, computing=MIXED), mixed)
    in_float32 = fit(*arguments, state_path=state)
    assert same(in_float32, plain), "a state of the other precision was used"


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.5, 4), offset=st.integers(-500, 500))
def test_scaling_by_record_forgets_the_voltage_and_by_factor_keeps_it(gain, offset):
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 300, (3, 2, 400))
    record = Scaling("record")
    x, changed = torch.from_numpy(signals), torch.from_numpy(signals * gain + offset)
    assert torch.allclose(record(x), record(changed), atol=1e-4)
    factor = fit_scaling("factor", signals.astype(np.int16))
    assert torch.allclose(factor(x * gain), factor(x) * gain, rtol=1e-4, atol=1e-5)


def test_einthovens_law_survives_one_factor_only(sample):
    signals = sample.signals[:50, :3]
    for kind, holds in (("factor", True), ("record", False), ("lead", False)):
        x = fit_scaling(kind, signals)(torch.from_numpy(signals))
        residual = (x[:, 1] - x[:, 0] - x[:, 2]).abs().max()
        assert (residual < 0.05) == holds, kind


def test_scaling_constants_are_those_of_numpy_and_a_flat_lead_does_not_become_infinite(sample):
    signals = sample.signals[:700, :2]
    floats = signals.astype(np.float64)
    assert fit_scaling("factor", signals).std[0] == pytest.approx(floats.std(), rel=1e-9)
    lead = fit_scaling("lead", signals)
    assert lead.mean == pytest.approx(floats.mean(axis=(0, 2)), rel=1e-9)
    assert lead.std == pytest.approx(floats.std(axis=(0, 2)), rel=1e-9)
    flat = torch.zeros(2, 1, 100, dtype=torch.int16)
    for kind in ("record", "lead", "factor"):
        assert torch.isfinite(fit_scaling(kind, flat.numpy())(flat)).all()


@given(n=st.integers(1, 700), size=st.integers(1, 200), seed=st.integers(0, 9))
def test_batches_hold_every_record_once_and_none_is_oversized(n, size, seed):
    drawn = list(batches(n, size, np.random.default_rng(seed)))
    assert sorted(np.concatenate(drawn)) == list(range(n))
    assert max(map(len, drawn)) <= size
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1


@pytest.mark.parametrize("kind", ["one cycle", "cosine"])
def test_a_schedule_is_that_of_pytorch(kind):
    chosen = replace(RECIPES["scratch"], epochs=7) if kind == "one cycle" else RECIPES["original"]
    rate, n = chosen.learning_rate, chosen.epochs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    if kind == "one cycle":
        scheduler = lr_scheduler.OneCycleLR(optimizer, rate, 11 * n, cycle_momentum=False)
        steps = [(step, 11) for step in range(11 * n)]
    else:  # epoch by epoch
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, n)
        steps = [(epoch * 5 + 2, 5) for epoch in range(n)]
    for step, in_epoch in steps:
        (expected,) = scheduler.get_last_lr()
        assert learning_rate(chosen, step, in_epoch) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        if step < steps[-1][0]:
            scheduler.step()


def test_a_crop_is_as_long_as_the_recipe_says():
    assert window_samples(RECIPES["default"], 100, 1000) == 250
    assert window_samples(RECIPES["default"], 500, 5000) == 1250
    assert window_samples(RECIPES["original"], 100, 1000) == 1000
    assert window_samples(RECIPES["default"], 100, 200) == 200


def test_unknown_recipes_devices_and_epochs_say_what_is_valid():
    refused("any-lead, default, scratch", recipe, "defualt")
    refused("recipe default: epochs is 0; valid", recipe, "default", epochs=0)
    refused("valid: auto, cpu", choose_device, "gpu")
    refused("float32, bfloat16", Computing, precision="float16")


@pytest.mark.parametrize("name", ["mps", "mps:0", "meta"])
def test_a_device_that_trains_wrongly_is_refused_where_it_is_there(name, monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)  # as on a machine that has one
    reason = "188371.*134580.*valid: auto, cpu, cuda, cuda:N" if "mps" in name else "valid: auto"
    refused(f"device '{name}'.*{reason}", choose_device, name)


@pytest.fixture(scope="module")
def any_lead(small):
    """A network for any leads that was trained for an epoch, to start others from."""
    fitted = fit(small, job(small, "12-lead", replace(RECIPES["any-lead"], epochs=1)))
    return replace(fitted, metadata={"weights_sha256": "0" * 64})


@pytest.mark.parametrize(
    "name", ["1-lead-V5", "2-lead-I-II", "3-lead-I-II-V2", "V6,aVR", "aVR,aVF", "6-lead-limb"]
)
def test_a_network_of_fewer_leads_starts_as_the_other_one_that_sees_nothing_hidden(
    name, small, any_lead
):
    x = torch.from_numpy(small.signals[:6]).double()
    x[:, :6] = torch.from_numpy(derive(x[:, :2].numpy(), ["I", "II"], LIMB_LEADS, axis=1))
    leads = resolve(name).leads
    weights_of_few, scaling = of_leads(any_lead, leads)
    few = ResNet1d(len(leads))
    few.load_state_dict(weights_of_few)
    expected = predict_logits(any_lead.model, any_lead.scaling, x, shown=leads)
    positions = list(lead_indices(leads))
    assert torch.allclose(predict_logits(few, scaling, x[:, positions]), expected, atol=1e-4)
    x[:, list(lead_indices(set(LEADS) - set(span(leads))))] = 1e6
    assert torch.equal(predict_logits(any_lead.model, any_lead.scaling, x, shown=leads), expected)


def test_training_goes_on_from_the_start_and_leaves_it_as_it_was(small, any_lead, tmp_path):
    before = {name: value.clone() for name, value in any_lead.model.state_dict().items()}
    default = replace(RECIPES["default"], epochs=1)
    still = replace(default, learning_rate=1e-12, averaging=0.0)
    arguments = small, job(small, "I,V2", still)
    fitted = fit(*arguments, start=any_lead)
    begun, scaling = of_leads(any_lead, ("I", "V2"))
    assert fitted.scaling == scaling
    for name, value in fitted.model.named_parameters():
        assert torch.allclose(value, begun[name], atol=1e-5), name
    fit(small, job(small, "I,V2", default), start=any_lead)
    assert all(torch.equal(before[n], v) for n, v in any_lead.model.state_dict().items())
    state = tmp_path / "state.safetensors"
    first = fit(*arguments, start=any_lead, state_path=state)
    other = replace(any_lead, metadata={"weights_sha256": "1" * 64})
    again = fit(*arguments, start=other, state_path=state)
    assert again.history[0]["seconds"] != first.history[0]["seconds"], "it went on from another"
    refused("recipe any-lead; train that first", fit, *arguments)
    fixed = replace(any_lead, leads=("I", "II"))
    refused("was not trained to do without some", fit, *arguments, start=fixed)


@given(seed=st.integers(0, 99))
def test_masks_show_a_lead_and_all_that_follow_and_few_leads_often(seed):
    rng = np.random.default_rng(seed)
    shown = shown_leads(2000, rng).numpy()
    assert shown.shape == (2000, 12)
    assert set(np.unique(shown)) == {0.0, 1.0}
    n_limb, n_chest = shown[:, :6].sum(1), shown[:, 6:].sum(1)
    assert (n_limb + n_chest).min() == 1
    assert set(n_limb) == {0, 1, 6}, "two limb leads give all six"
    assert set(n_chest) == set(range(7))
    for often, at_least in ((n_limb + n_chest == 12, 0.12), (n_limb + n_chest == 1, 0.05)):
        assert often.mean() > at_least
    for leads in (shown[:, :6], shown[:, 6:]):
        assert np.ptp(leads.mean(0)) < 0.1, "a lead is shown more often than another"


def test_what_is_hidden_is_taught_by_the_view_of_all_leads(small):
    recipe = replace(RECIPES["any-lead"], epochs=1)
    taught, alone = (
        fit(small, job(small, "12-lead", replace(recipe, teaching=share))) for share in (0.5, 0.0)
    )
    assert taught.history[0]["train_loss"] != alone.history[0]["train_loss"]
    assert not torch.equal(taught.model.head[3].weight, alone.model.head[3].weight)
