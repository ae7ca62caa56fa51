"""Malformed checkpoints, run folders, study files, parameters and arrays for a trained network.

Accepted is only what gives the same answer as what is undamaged; anything else must be refused.
"""

import datetime
import functools
import hashlib
import io
import json
import math
import struct
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from battery import Case, WrongError, mutate, rng
from damaged_sources import TEXTS
from evidence_fixtures import one_run, write_runs
from safetensors.torch import load, save

from leadmin.errors import LeadminError
from leadmin.leads import LEADS
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import ResNet1d
from leadmin.net.recipes import RECIPES
from leadmin.net.scaling import Scaling
from leadmin.study.run import load_run
from leadmin.study.settings import RunSettings, check_injected, load_study

torch.set_num_threads(1)
torch.manual_seed(0)
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
GOOD = EcgClassifier(
    ResNet1d(3).eval(), Scaling("factor", (0.0,) * 3, (200.0,) * 3),
    *(("I", "II", "V2"), 100, CLASSES, 250, 8, {"recipe": {}}),
)  # fmt: skip
X = np.random.default_rng(0).normal(size=(2, 3, 1000)).round(3)
"""Two records, in mV."""

EXPECTED = GOOD.predict(X, leads=GOOD.leads, sampling_rate=100)

with tempfile.TemporaryDirectory() as _folder:
    save_checkpoint(Path(_folder, "c"), GOOD, RECIPES["default"], "3-lead-I-II-V2", {"seed": 0})
    DESCRIPTION = json.loads(Path(_folder, "c.json").read_text())
    WEIGHTS = Path(_folder, "c.safetensors").read_bytes()
    write_runs({"12-lead": one_run(40)}, Path(_folder), "holdout")
    RUN_FILES = {file.name: file.read_bytes() for file in Path(_folder, "12-lead").iterdir()}

ODD = {
    "null": None, "text": "abc", "empty text": "", "true": True,
    "negative": -1, "zero": 0, "fraction": 1.5, "billion": 10**9, "beyond 64 bits": 10**30,
    "beyond a float": 10**400, "not a number": math.nan, "infinite": math.inf,
    "empty list": [], "list of text": ["a", "b", "c"], "list of lists": [[1], [2]],
    "huge list": [100_000] * 4, "mapping": {"a": 1},
}  # fmt: skip
"""What stands where something else should."""

ABSENT = object()


def changed(document, key, value):
    """A copy of a document with another value under a key such as ``a/b``, or `ABSENT`."""
    copy = json.loads(json.dumps(document))
    place = copy
    *above, last = key.split("/")
    for name in above:
        place = place[name]
    place[last] = value
    if value is ABSENT:
        del place[last]
    return copy


def keys(document, above=""):
    """Every key of a document, such as ``a/b``."""
    found = []
    for name, value in document.items():
        found.append(above + name)
        found += keys(value, f"{above}{name}/") if isinstance(value, dict) else []
    return found


def dumped(document):
    return json.dumps(document).encode()


# Below, a generator a family yields names of cases, and what the family's ``try_`` function takes
# besides the folder.


# --- checkpoints ----------------------------------------------------------------------------


def try_checkpoint(made, folder):
    """Load a description and weights, and compare what they say of two records."""
    for suffix, content in zip((".json", ".safetensors"), made, strict=True):
        (folder / "in" / f"c{suffix}").write_bytes(content)

    def call():
        classifier = load_checkpoint(folder / "in" / "c.json")
        found = classifier.predict(X, leads=GOOD.leads, sampling_rate=100)
        if found.shape != EXPECTED.shape or not np.allclose(found, EXPECTED, atol=1e-6):
            raise WrongError(f"other probabilities: {found.ravel()[:3]}, shape {found.shape}")

    return call


LARGE = {
    "recipe/architecture/channels": [[1] * 20_000, [4096] * 64, [0] * 4, [-1] * 4, [32.5] * 4],
    "recipe/architecture/strides": [[2] * 20_000, [0] * 4, [3] * 4, [2] * 3],
    "recipe/architecture/kernel": [4, 10_001, "three"],
    "recipe/architecture/stem_kernel": [16, 10**6 + 1],
    "recipe/architecture/stem_channels": [10**6],
    "n_windows": [10**4, 2**63],
    "window": [10**7, 2**63],
    "sampling_rate": [1e-300, 10**7],
    "leads": [["I", "II", "II"], ["I"] * 10_000, ["I", "II", 5], "I,II,V2", ["I", "II", "V7"]],
    "classes": [["a"] * 5, ["a"] * 10**5],
    "scaling/kind": ["lead", "none", "record"],
    "scaling/std": [[0.0] * 3, [1e-320] * 3, [math.nan] * 3, [math.inf] * 3, [-1.0] * 3, [1.0] * 2],
    "scaling/mean": [[math.nan] * 3, [math.inf] * 3, [1e308] * 3, [0.0] * 4, ["0"] * 3],
    "unit": ["mV", "volts"],
    "schema_version": ["1", 1.5, 2],
    "weights_sha256": ["0" * 64],
}
"""Values of the right kind that are no good."""


def described(key, value, weights=WEIGHTS):
    """The files of a checkpoint with another value in its description."""
    return dumped(changed(DESCRIPTION, key, value)), weights


def descriptions():
    for key in keys(DESCRIPTION):
        # Of a recipe only its network and its masks matter here, of the rest all but the words.
        rare = key.startswith("recipe/") and "architecture" not in key
        for name in ("mapping", "not a number") if rare else ODD:
            if key not in ("provenance", "config", "recipe/name"):
                yield f"{key} {name}", described(key, ODD[name])
        yield f"no {key}", described(key, ABSENT)
    for key, values in LARGE.items():
        for number, value in enumerate(values):
            yield f"{key} large {number}", described(key, value)
    for name, change in TEXTS.items():
        yield name, (change(dumped(DESCRIPTION)), WEIGHTS)


def weights():
    good = load(WEIGHTS)
    first = next(name for name, tensor in good.items() if tensor.ndim == 3)
    bias, spread = (next(n for n in good if n.endswith(end)) for end in ("3.bias", "running_var"))
    size = int.from_bytes(WEIGHTS[:8], "little")
    text, body = WEIGHTS[8 : 8 + size], WEIGHTS[8 + size :]
    header = json.loads(text)

    def tensors(name, value):
        return save({k: v for k, v in {**good, name: value}.items() if v is not None})

    def headed(text, size=None):
        return (len(text) if size is None else size).to_bytes(8, "little") + text + body

    def entry(**changes):
        return headed(dumped({**header, first: {**header[first], **changes}}))

    damaged = {
        "empty": b"",
        "eight bytes": bytes(8),
        "header of 2**63": headed(text, 2**63),
        "header of 1 GB": headed(text, 10**9),
        "header too short": headed(text, size - 1),
        "no header": headed(b"{}"),
        "header deep": headed(b"[" * 100_000),
        "cut": WEIGHTS[:-1],
        "one byte more": WEIGHTS + b"\0",
        "text": b"weights" * 1000,
        "a pickle": b"\x80\x04\x95" + WEIGHTS,
        "missing tensor": tensors(first, None),
        "tensor too many": tensors("more", torch.zeros(3)),
        "shape": tensors(first, torch.zeros(1, 2, 3)),
        "transposed": tensors(first, good[first].transpose(0, 2).contiguous()),
        "nan": tensors(bias, torch.full((5,), torch.nan)),
        "infinite": tensors(bias, torch.full((5,), torch.inf)),
        "nan in a norm": tensors(spread, good[spread] * torch.nan),
        "negative variance": tensors(spread, good[spread] - 9),
        "double": tensors(bias, good[bias].double()),
        "half": tensors(bias, good[bias].half()),
        "whole numbers": tensors(bias, good[bias].to(torch.int64)),
        "unknown type": entry(dtype="F128"),
        "offsets backward": entry(data_offsets=[10, 0]),
        "offsets beyond": entry(data_offsets=[0, 10**12]),
        "offsets negative": entry(data_offsets=[-8, 0]),
        "offsets overlap": entry(data_offsets=header[bias]["data_offsets"]),
        "shape negative": entry(shape=[-1]),
        "shape huge": entry(shape=[10**12, 10**12]),
        "shape text": entry(shape="abc"),
    }
    for seed in range(15):
        yield f"mutated {seed}", (dumped(DESCRIPTION), mutate(WEIGHTS, rng(11, seed)))
        damaged[f"mutated header {seed}"] = headed(mutate(dumped(header), rng(12, seed)))
    for name, content in damaged.items():  # with a checksum that is right
        yield name, described("weights_sha256", hashlib.sha256(content).hexdigest(), content)


# --- run folders ----------------------------------------------------------------------------

METRICS = json.loads(RUN_FILES["metrics.json"])
ARRAYS = dict(np.load(io.BytesIO(RUN_FILES["predictions.npz"])))


def try_run(files, folder):
    """Load a run with some files replaced; its checksums are right unless a file says its own."""
    contents = {**RUN_FILES, **{n: c() if callable(c) else c for n, c in files.items()}}
    if "metrics.json" not in files:
        sums = {n: hashlib.sha256(contents[n]).hexdigest() for n in METRICS["files"]}
        contents["metrics.json"] = dumped({**METRICS, "files": sums})
    target = folder / "in" / "12-lead"
    target.mkdir()
    for file, content in contents.items():
        (target / file).write_bytes(content)

    def call():
        run = load_run(target)
        for split in ("validation", "test"):
            part = getattr(run, split)
            found = {n: getattr(part, n) for n in ("record_id", "patient_id", "fold", "labels")}
            found |= {f"logits/{recipe}": logits for recipe, logits in part.logits.items()}
            for name, array in found.items():
                if not np.array_equal(array, ARRAYS[f"{split}/{name}"]):
                    raise WrongError(f"other {split} {name}")
        said = run.config, run.leads, run.recipes, run.seeds
        if said != ("12-lead", LEADS, ("default",), {"default": (0,)}):
            raise WrongError(f"another run: {said}")

    return call


def npz(name, new):
    """The predictions with another array or bytes under a name of the test records, or none."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for member, content in (ARRAYS | {f"test/{name}": new}).items():
            if isinstance(content, bytes):
                target.writestr(f"{member}.npy", content)
            elif content is not None:
                with target.open(f"{member}.npy", "w") as file:
                    np.save(file, content)
    return stream.getvalue()


def npy_of(text, body=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def predictions():
    logits, fold, labels, ids = (
        ARRAYS[f"test/{n}"] for n in ("logits/default", "fold", "labels", "record_id")
    )
    plain = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}\n"
    good = RUN_FILES["predictions.npz"]
    arrays = {
        "logits/default": {
            "objects": np.array([{"a": 1}], dtype=object),
            "missing": None,
            "nan": logits * np.nan,
            "infinite": logits + np.inf,
            "text": logits.astype(str),
            "complex": logits.astype(complex),
            "transposed": logits.T,
            "fewer records": logits[:, :-1],
            "four classes": logits[..., :4],
            "two seeds": np.concatenate([logits, logits]),
            "a scalar": np.float32(0),
        },
        "labels": {
            "of 7": labels + 7,
            "negative": labels.astype(np.int8) - 1,
            "fewer": labels[:-1],
            "text": labels.astype(str),
            "fractions": labels + 0.5,
        },
        "fold": {"0": fold * 0, "99": fold * 0 + 99, "nan": fold * np.nan, "fewer": fold[:-1]},
        "record_id": {"fractions": ids + 0.5, "text": ids.astype(str), "missing": None},
        "patient_id": {"two dimensions": labels},
    }
    for name, changes in arrays.items():
        for what, array in changes.items():
            yield f"{name} {what}", {"predictions.npz": npz(name, array)}
    contents = {
        "empty": b"",
        "text": b"not a zip",
        "only the magic": b"PK\3\4",
        "cut": good[: len(good) // 2],
        "bytes before": b"xx" + good,
        "one array": npy_of(plain % "(1,)", bytes(4)),
    }
    contents |= {f"mutated {seed}": mutate(good, rng(13, seed)) for seed in range(20)}
    members = {
        "npy of 10**12": npy_of(plain % "(1000000000000,)"),
        "npy of 10**30": npy_of(plain % "(10**30,)"),
        "npy negative": npy_of(plain % "(-1, 5)"),
        "npy deep": npy_of("(" * 20_000),
        "npy code": npy_of("__import__('os').abort()"),
        "npy empty": b"",
        "npy header cut": npy_of(plain % "(1, 40, 5)")[:-20],
        "npy short": npy_of(plain % "(1, 40, 5)", bytes(10)),
        "npy not one": b"abc" * 100,
        "npy version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    }
    contents |= {name: npz("logits/default", content) for name, content in members.items()}
    contents["a bomb"] = lambda: npz(
        "logits/default", npy_of(plain % "(1, 25000000, 5)", bytes(5 * 10**8))
    )
    for name, content in contents.items():
        yield name, {"predictions.npz": content}


def run_folders():
    tables = {
        "empty": b"",
        "binary": rng(0).bytes(5000),
        "zero bytes": bytes(1000),
        "latin-1": "recipe\né\n".encode("latin-1"),
        "ten million columns": b"," * 10_000_000,
        "open quote": b'recipe,"\n' * 10,
        "rows too long": b"recipe\n1,2,3\n1,2\n",
    }
    for name, content in tables.items():
        yield f"history {name}", {"history.csv": content}
    for key in keys(METRICS):
        for name, value in ODD.items():
            if not key.startswith(("settings", "provenance")):
                yield f"{key} {name}", {"metrics.json": dumped(changed(METRICS, key, value))}
    for named in ([], ["../../../etc/passwd"], ["/etc/passwd"], [""]):
        document = dumped({**METRICS, "files": dict.fromkeys(named, "0" * 64)})
        other = npz("fold", ARRAYS["test/fold"] * 0 + 1)
        yield f"names {named}", {"metrics.json": document, "predictions.npz": other}
    for name, change in TEXTS.items():
        yield name, {"metrics.json": change(RUN_FILES["metrics.json"])}


# --- studies and parameters -----------------------------------------------------------------

STUDY = {
    "name": "x", "title": "a study", "source": "data/sample/ptb-xl-sample.zip",
    "configurations": ["12-lead", "1-lead-I"], "protocol": "holdout", "label_policy": "any",
    "sampling_rate": 100, "recipe": "default", "compare_with": "original", "seeds": 1,
    "compare_seeds": 1, "epochs": 0, "tracking": "", "n_resamples": 2000,
}  # fmt: skip
VALID = {
    "name": ("abc",),
    **dict.fromkeys(("title", "source", "data", "out", "start_from"), (str,)),
    **dict.fromkeys(("compare_with", "tracking", "network"), ("",)),
    **dict.fromkeys(("epochs", "workers"), (0,)),
}
"""Values of `ODD` that are all right for a key of a study or a parameter: of a type, or these."""


def is_valid(key, value):
    return any(good is type(value) or good == value for good in VALID.get(key, ()))


def try_study(made, folder):
    """Load a study file, of text or of fields; it has the fields that are expected, or fails."""
    content, expected = made
    path = folder / "in" / "study.yml"
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())

    def call():
        study = load_study(path)
        [study.run_parameters(run) for run in study.networks]
        study.source_path  # noqa: B018
        # A mutated text may well be another study; it must be the one that it says.
        wanted = yaml.safe_load(path.read_text("utf-8")) if expected is MUTATED else expected
        if wanted is None:
            raise WrongError(f"accepted: {str(study)[:200]}")
        plain = study.plain()
        for key in wanted.keys() - {"configurations"}:
            if wanted[key] is not None and str(plain[key]) != str(wanted[key]):
                raise WrongError(f"{key} is {plain[key]!r}")

    return call


MUTATED = {}
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def studies():
    good = yaml.safe_dump(STUDY).encode()
    for key in STUDY:
        for name, value in ODD.items():
            if value is not None or key in ("name", "title", "source", "configurations"):
                ok = {key: value} if is_valid(key, value) else None
                yield f"{key} {name}", ({**STUDY, key: value}, ok)
    for name in (".", "a/b", "/a", "~", "$HOME"):
        yield f"name {name}", ({**STUDY, "name": name}, None)
    for more in ("12-lead", None):
        yield f"configurations with {more}", ({**STUDY, "configurations": ["12-lead", more]}, None)
    texts = {name: change(good) for name, change in TEXTS.items()}
    lines = {
        "python object": b"x: !!python/object/apply:os.system [true]",
        "billion laughs": LAUGHS.encode(),
        "tab": b"\tx: 1",
        "key twice": b"seeds: 5",
        "key is a list": b"? [a, b]\n: 1",
        "key is a number": b"5: 1",
        "two documents": b"---\na: 1",
        "unknown alias": b"x: *nothing",
        "overrides of text": b"overrides: {12-lead: {seeds: abc}}",
        "overrides of nothing": b"overrides: {12-lead: }",
        "variants number": b"variants: 5",
    }
    texts |= {name: good + line + b"\n" for name, line in lines.items()}
    texts |= {
        "billion laughs as title": LAUGHS.encode() + good.replace(b"a study", b"*i"),
        "itself": b"&a [*a]\n",
        "title of itself": good.replace(b"title: a study", b"title: &a [*a]"),
        "braces": good.replace(b"data/sample", b"/data/{x}/y"),
        "variable": good.replace(b"data/sample", b"${NO_SUCH_VARIABLE_}"),
        "date": good.replace(b"a study", b"2020-01-01"),
    }
    for name, text in texts.items():
        yield name, (text, None)
    for seed in range(20):
        yield f"mutated {seed}", (mutate(good, rng(14, seed)), MUTATED)


def try_parameter(made, folder):
    ask, value, ok = made

    def call():
        found = ask(value)
        if not ok or found != value:
            raise WrongError(f"accepted {found!r}"[:200])

    return call


def parameters():
    def asked(key):
        return lambda value: getattr(RunSettings(**{key: value}), key)

    def injected(text):
        check_injected(["", "config = 'x'\nseeds: int = 1\n", f"# Parameters\n{text}\n"])
        return text

    for key in (item.name for item in fields(RunSettings)):
        for name, value in ODD.items():
            yield f"{key} {name}", (asked(key), value, is_valid(key, value))
    for text in ("V2,I,V2", "I,,V2", "I;V2", "Ⅱ", ",", " ", "3-lead", "I" * 10_000, "I," * 9_999):
        yield f"config {text[:9]!r}", (asked("config"), text, False)
    for text, ok in (("sedes = 3", False), ("seeds = 3", True), ("seeds, x = 3, 4", False)):
        yield f"injected {text}", (injected, text, ok)


# --- arrays ---------------------------------------------------------------------------------


def try_array(made, folder):
    """Predict for an array; ``any`` where every finite answer of the right shape will do."""
    x, ok, options = made
    given = {"leads": GOOD.leads, "sampling_rate": 100, **options}

    def call():
        try:
            found = GOOD.predict(x, **given)
        except LeadminError as error:
            if "\n" in str(error):
                raise WrongError(f"said in several lines: {error}") from None
            raise
        if not np.isfinite(found).all():
            raise WrongError(f"not finite: {found.ravel()[:5]}")
        if not ok or found.shape != (np.shape(x)[0] if np.ndim(x) == 3 else 1, 5):
            raise WrongError(f"answered {found.shape}: {found.ravel()[:5]}")
        if ok is not any and not np.allclose(found, EXPECTED[: len(found)], atol=1e-5):
            raise WrongError("other probabilities")

    return call


NO_LEADS = ["-aVR", "MLII", "V", "V7", "", "D4", "aV", "II-", "VI", "X", "ECG", "V02", "1", "RA"]


def with_sample(value, place=5):
    """The records with something else in one lead of the second."""
    x = X.astype(object) if isinstance(place, int) else X.copy()
    x[1, 2, place] = value
    return x


def arrays():
    def case(name, x, ok=False, **options):
        return name, (x, ok, options)

    right = ("f4", "f8", ">f8", "longdouble", "O")
    kinds = (*right, "?", "U", "S", "c16", "M8[s]", "m8[s]", "V8")
    fills = (*({}, None, 10**400, "a", True, "2020-01-01"), datetime.date(2020, 1, 1), dict, [1.0])
    huge = (1e300, -1e300, 1e40, 3e38, 1e36, 1e20, 1e12, -5e4, -math.inf)
    two, shape = ["I", "II"], (2, 3, 1000)
    for kind in kinds:
        yield case(f"of type {kind}", X.astype(kind), kind in right)
    for kind in ("i1", "i8", "u2", "f2"):
        yield case(f"of type {kind}", np.abs(X).round().astype(kind), any)
        yield case(f"ones of type {kind}", np.ones(shape, kind))
    for number, fill in enumerate(fills):
        yield case(f"of objects {number}", np.full((2, 3000), fill, object))
        yield case(f"an object {number}", fill)
    for value in (None, "a", {}, [1.0], 1j):
        yield case(f"one sample {value}", with_sample(value))
    for number, place in enumerate((slice(None), slice(0, 55), slice(450, 520), slice(900, 1000))):
        for value in (0.0, 1.0, -3.2):
            yield case(f"at rest {number} at {value}", with_sample(value, place))
    for scale in (1e3, 1e6, 1e-3, 1e-6, 1e9):
        yield case(f"times {scale}", X * scale)
    for value in huge:
        yield case(f"of {value:g} mV", np.full(shape, value))
        yield case(f"one of {value:g} mV", np.where(X.max() == X, value, X))
    rates = (math.nan, "100", None, [100], -100, 0, math.inf, X, 50, 1e9, True, 1j, X[0, 0, :2])
    for number, rate in enumerate(rates):
        yield case(f"rate {number}", X, sampling_rate=rate)
    for name in NO_LEADS:
        yield case(f"lead {name!r}", X, leads=[*two, name])
    for form in ("Lead {}", " {} ", "MDC_ECG_LEAD_{}", "ecg {}", "lead_{}"):
        for names in (GOOD.leads, [lead.lower() for lead in GOOD.leads]):
            written = [form.format(name) for name in names]
            yield case(f"leads {written}", X, True, leads=written)
    for number, names in enumerate(
        (None, 5, "III", two, [*two, "II"], [*two, 5], [*two, None], [*two, ["V2"]], {*two, "X"})
    ):
        yield case(f"leads {number}", X, leads=names)
    yield from (
        case("no records", X[:0], any),
        case("no samples", X[..., :0]),
        case("no leads", X[:, :0]),
        case("no leads named", X[:, :0], leads=()),
        case("one record", X[0], True),
        case("lists", X.tolist(), True),
        case("reversed in memory", X[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1], True),
        case("other order in memory", np.asfortranarray(X), True),
        case("read only", np.frombuffer(X.tobytes()).reshape(X.shape), True),
        case("unsigned 64", np.full(shape, 2**64 - 1, np.uint64)),
        case("tensor", torch.from_numpy(X), True),
        case("tensor with gradient", torch.from_numpy(X).requires_grad_()),
        case("masked", np.ma.masked_greater(X, 1)),
        case("nothing masked", np.ma.array(X), True),
        case("a gain and a zero", np.rint(1000 * X).astype("i8") + 9, True, unit="1000(9)/mV"),
        case("turned", X.mT),
        case("a lead too few", X[:, :2]),
        case("a number", 5),
        case("ragged", [[[1.0] * 1000, [1.0] * 999, [1.0] * 1000]]),
        case("structured", np.zeros(shape, [("a", float), ("b", float)])),
        case("infinite", np.where(X > 2, np.inf, X)),
        case("four dimensions", X[None]),
        case("one dimension", X[0, 0]),
        case("raw bytes", X.tobytes()),
        case("a set", {1.0, 2.0}),
        case("a generator", (row for row in X)),
        case("a table", pd.DataFrame(X[0]), True),
        case("a table of text", pd.DataFrame(X[0].astype(str)), True),
        case("exactly a window", X[..., :250], any),
        case("volts", X, unit="volt"),
        case("1e35 V", np.full(shape, 1e35), unit="V"),
        case("rate 100.0", X, True, sampling_rate=100.0),
        case("leads in an array", X, True, leads=np.array(["I", "II", "V2"])),
        case("leads in a mapping", X, True, leads={"I": 0, "II": 1, "V2": 2}),
    )


NETWORK_CASES = [
    Case(family, name, functools.partial(attempt, made))
    for family, attempt, cases in (
        ("checkpoint JSON", try_checkpoint, descriptions()),
        ("safetensors", try_checkpoint, weights()),
        ("npz", try_run, predictions()),
        ("run folders", try_run, run_folders()),
        ("study YAML", try_study, studies()),
        ("parameters", try_parameter, parameters()),
        ("arrays", try_array, arrays()),
    )
    for name, made in cases
]
