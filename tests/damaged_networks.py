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
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from battery import Case, WrongError
from damaged_sources import mutate
from evidence_fixtures import one_run, write_runs
from safetensors.torch import load, save

from leadmin.leads import LEADS
from leadmin.net.checkpoint import load_checkpoint, save_checkpoint
from leadmin.net.classifier import EcgClassifier
from leadmin.net.model import ResNet1d
from leadmin.net.recipes import RECIPES
from leadmin.net.scaling import Scaling
from leadmin.study.run import load_run
from leadmin.study.settings import RunSettings, check_injected, load_study

Change = Callable[[Any], Any]

torch.set_num_threads(1)
torch.manual_seed(0)
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
GOOD = EcgClassifier(
    ResNet1d(3).eval(),
    Scaling("factor", (0.0,) * 3, (200.0,) * 3),
    ("I", "II", "V2"),
    100,
    CLASSES,
    250,
    8,
    {"recipe": {}},
)
X = np.random.default_rng(0).normal(size=(2, 3, 1000)).round(3)
"""Two records, in mV."""

EXPECTED = GOOD.predict(X, leads=GOOD.leads, sampling_rate=100)

with tempfile.TemporaryDirectory() as _folder:
    save_checkpoint(Path(_folder, "c"), GOOD, RECIPES["default"], "3-lead-I-II-V2", {"seed": 0})
    DESCRIPTION: dict[str, Any] = json.loads(Path(_folder, "c.json").read_text())
    WEIGHTS = Path(_folder, "c.safetensors").read_bytes()
    write_runs({"12-lead": one_run(40)}, Path(_folder), "holdout")
    RUN_FILES = {file.name: file.read_bytes() for file in Path(_folder, "12-lead").iterdir()}

ODD: dict[str, Any] = {
    "null": None,
    "text": "abc",
    "empty text": "",
    "negative": -1,
    "zero": 0,
    "fraction": 1.5,
    "billion": 10**9,
    "beyond 64 bits": 10**30,
    "beyond a float": 10**400,
    "true": True,
    "not a number": math.nan,
    "infinite": math.inf,
    "empty list": [],
    "list of text": ["a", "b", "c"],
    "list of lists": [[1], [2]],
    "huge list": [100_000] * 4,
    "mapping": {"a": 1},
}
"""What stands where something else should."""

TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda c: b"",
    "half": lambda c: c[: len(c) // 2],
    "nothing but null": lambda c: b"null",
    "a number": lambda c: b"5",
    "a list": lambda c: b"[1, 2]",
    "deep": lambda c: b"[" * 100_000,
    "deep and closed": lambda c: b"[" * 50_000 + b"]" * 50_000,
    "deep mapping": lambda c: b'{"a":' * 50_000,
    "latin-1": lambda c: c + "é".encode("latin-1"),
    "utf-16": lambda c: c.decode().encode("utf-16"),
    "zero bytes": lambda c: c[:20] + bytes(20) + c[20:],
    "only zero bytes": lambda c: bytes(1000),
    "random": lambda c: np.random.default_rng(0).bytes(5000),
    "long": lambda c: b"9" * 5_000_000,
}
"""What is done to a whole text file."""


def changed(document: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of a document with another value under a key such as ``a/b``."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    place = copy
    *above, last = key.split("/")
    for name in above:
        place = place[name]
    place[last] = value
    return copy


def keys(document: Mapping[str, Any], above: str = "") -> list[str]:
    """Every key of a document, such as ``a/b``."""
    found = []
    for name, value in document.items():
        found.append(above + name)
        found += keys(value, f"{above}{name}/") if isinstance(value, dict) else []
    return found


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    copy = changed(document, key, None)
    place = functools.reduce(lambda d, name: d[name], key.split("/")[:-1], copy)
    del place[key.split("/")[-1]]
    return copy


def dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


# --- checkpoints ----------------------------------------------------------------------------


def same_answer(classifier: EcgClassifier, signals: Any = X, expected: Any = EXPECTED) -> None:
    found = classifier.predict(signals, leads=GOOD.leads, sampling_rate=100)
    if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-6):
        raise WrongError(f"other probabilities: {found.ravel()[:3]}, shape {found.shape}")


def checkpoint(family: str, name: str, text: Callable[[], bytes], weights: bytes = WEIGHTS) -> Case:
    def build(folder: Path) -> Callable[[], None]:
        (folder / "in" / "c.json").write_bytes(text())
        (folder / "in" / "c.safetensors").write_bytes(weights)
        return lambda: same_answer(load_checkpoint(folder / "in" / "c.json"))

    return Case(family, name, build)


_FREE = ("provenance", "config", "recipe/name", "recipe/description")
_LARGE = {
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


def _descriptions() -> list[Case]:
    family, cases = "checkpoint JSON", []
    for key in keys(DESCRIPTION):
        for name, value in ODD.items() if key not in _FREE else ():
            text = functools.partial(lambda k, v: dumped(changed(DESCRIPTION, k, v)), key, value)
            if key.startswith("recipe/") and "architecture" not in key and name not in _RARE:
                continue  # of a recipe only its network and its masks matter here
            cases.append(checkpoint(family, f"{key} {name}", text))
        text = functools.partial(lambda k: dumped(without(DESCRIPTION, k)), key)
        cases.append(checkpoint(family, f"no {key}", text))
    for key, values in _LARGE.items():
        for n, value in enumerate(values):
            text = functools.partial(lambda k, v: dumped(changed(DESCRIPTION, k, v)), key, value)
            cases.append(checkpoint(family, f"{key} large {n}", text))
    for name, change in TEXTS.items():
        text = functools.partial(lambda c: c(dumped(DESCRIPTION)), change)
        cases.append(checkpoint(family, name, text))
    return cases


_RARE = ("mapping", "not a number")


def signed(weights: bytes) -> Callable[[], bytes]:
    """The description of some weights, whose checksum is right."""
    document = {**DESCRIPTION, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    return lambda: dumped(document)


def _weights() -> list[Case]:
    good, cases = load(WEIGHTS), []
    first = next(name for name, tensor in good.items() if tensor.ndim == 3)
    bias, spread = (next(n for n in good if n.endswith(end)) for end in ("3.bias", "running_var"))
    header_size = struct.unpack("<Q", WEIGHTS[:8])[0]
    header = json.loads(WEIGHTS[8 : 8 + header_size])
    body = WEIGHTS[8 + header_size :]

    def tensors(changes: dict[str, Any]) -> bytes:
        return save({k: v for k, v in {**good, **changes}.items() if v is not None})

    def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
        copy = json.loads(json.dumps(header))
        change(copy)
        text = dumped(copy)
        return struct.pack("<Q", len(text)) + text + body

    def entry(**changes: Any) -> bytes:
        return with_header(lambda h: h[first].update(changes))

    damaged = {
        "empty": b"",
        "eight bytes": bytes(8),
        "header of 2**63": struct.pack("<Q", 2**63) + WEIGHTS[8:],
        "header of 1 GB": struct.pack("<Q", 10**9) + WEIGHTS[8:],
        "header too short": struct.pack("<Q", header_size - 1) + WEIGHTS[8:],
        "no header": struct.pack("<Q", 2) + b"{}" + body,
        "header deep": struct.pack("<Q", 100_000) + b"[" * 100_000 + body,
        "cut": WEIGHTS[:-1],
        "one byte more": WEIGHTS + b"\0",
        "text": b"weights" * 1000,
        "a pickle": b"\x80\x04\x95" + WEIGHTS,
        "missing tensor": tensors({first: None}),
        "tensor too many": tensors({"more": torch.zeros(3)}),
        "shape": tensors({first: torch.zeros(1, 2, 3)}),
        "transposed": tensors({first: good[first].transpose(0, 2).contiguous()}),
        "nan": tensors({bias: torch.full((5,), torch.nan)}),
        "infinite": tensors({bias: torch.full((5,), torch.inf)}),
        "nan in a norm": tensors({spread: good[spread] * torch.nan}),
        "negative variance": tensors({spread: good[spread] - 9}),
        "double": tensors({bias: good[bias].double()}),
        "half": tensors({bias: good[bias].half()}),
        "whole numbers": tensors({bias: good[bias].to(torch.int64)}),
        "unknown type": entry(dtype="F128"),
        "offsets backward": entry(data_offsets=[10, 0]),
        "offsets beyond": entry(data_offsets=[0, 10**12]),
        "offsets negative": entry(data_offsets=[-8, 0]),
        "offsets overlap": entry(data_offsets=header[bias]["data_offsets"]),
        "shape negative": entry(shape=[-1]),
        "shape huge": entry(shape=[10**12, 10**12]),
        "shape text": entry(shape="abc"),
    }
    for name, content in damaged.items():
        cases.append(checkpoint("safetensors", name, signed(content), content))
    for seed in range(15):
        content = mutate(WEIGHTS, np.random.default_rng([11, seed]))
        text = functools.partial(dumped, DESCRIPTION)
        cases.append(checkpoint("safetensors", f"mutated {seed}", text, content))
    for seed in range(15):  # the header alone, with the checksum made right
        text = mutate(dumped(header), np.random.default_rng([12, seed]))
        content = struct.pack("<Q", len(text)) + text + body
        cases.append(checkpoint("safetensors", f"mutated header {seed}", signed(content), content))
    return cases


# --- run folders ----------------------------------------------------------------------------

METRICS = json.loads(RUN_FILES["metrics.json"])
ARRAYS = dict(np.load(io.BytesIO(RUN_FILES["predictions.npz"])))


def run_case(family: str, name: str, files: Mapping[str, Any], signed: bool = True) -> Case:
    """A run with some files replaced; where ``signed``, its checksums are made right."""

    def build(folder: Path) -> Callable[[], None]:
        contents = {**RUN_FILES, **{n: c() if callable(c) else c for n, c in files.items()}}
        if signed and "metrics.json" not in files:
            sums = {n: hashlib.sha256(contents[n]).hexdigest() for n in METRICS["files"]}
            contents["metrics.json"] = dumped({**METRICS, "files": METRICS["files"] | sums})
        target = folder / "in" / "12-lead"
        target.mkdir()
        for file, content in contents.items():
            (target / file).write_bytes(content)
        return lambda: _same_run(target)

    return Case(family, name, build)


def _same_run(folder: Path) -> None:
    run = load_run(folder)
    for split in ("validation", "test"):
        part = getattr(run, split)
        for name in ("record_id", "patient_id", "fold", "labels"):
            if not np.array_equal(getattr(part, name), ARRAYS[f"{split}/{name}"]):
                raise WrongError(f"other {split} {name}")
        for recipe, logits in part.logits.items():
            if not np.array_equal(logits, ARRAYS[f"{split}/logits/{recipe}"]):
                raise WrongError(f"other logits of {split}")
    found = run.config, run.leads, run.recipes, run.seeds
    if found != ("12-lead", LEADS, ("default",), {"default": (0,)}):
        raise WrongError(f"another run: {found}")


def _npz(changes: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{k: v for k, v in {**ARRAYS, **changes}.items() if v is not None})
    return stream.getvalue()


def _npz_with(member: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    old = zipfile.ZipFile(io.BytesIO(RUN_FILES["predictions.npz"]))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return stream.getvalue()


def _npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def _runs() -> list[Case]:
    cases, member = [], "test/logits/default.npy"
    logits, fold, labels = (ARRAYS[f"test/{n}"] for n in ("logits/default", "fold", "labels"))
    plain = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}\n"
    good = RUN_FILES["predictions.npz"]
    archives = {
        "empty": b"",
        "text": b"not a zip",
        "only the magic": b"PK\3\4",
        "cut": good[: len(good) // 2],
        "one array": io.BytesIO(),
        "bytes before": b"xx" + good,
        "object array": _npz({"test/logits/default": np.array([{"a": 1}], dtype=object)}),
        "no test": _npz({f"test/{n}": None for n in ("record_id", "fold")}),
        "no logits": _npz({"test/logits/default": None}),
        "nan": _npz({"test/logits/default": logits * np.nan}),
        "infinite": _npz({"test/logits/default": logits + np.inf}),
        "text logits": _npz({"test/logits/default": logits.astype(str)}),
        "complex": _npz({"test/logits/default": logits.astype(complex)}),
        "transposed": _npz({"test/logits/default": logits.T}),
        "fewer records": _npz({"test/logits/default": logits[:, :-1]}),
        "four classes": _npz({"test/logits/default": logits[..., :4]}),
        "two seeds": _npz({"test/logits/default": np.concatenate([logits, logits])}),
        "a scalar": _npz({"test/logits/default": np.float32(0)}),
        "labels of 7": _npz({"test/labels": labels + 7}),
        "labels negative": _npz({"test/labels": labels.astype(np.int8) - 1}),
        "labels fewer": _npz({"test/labels": labels[:-1]}),
        "labels text": _npz({"test/labels": labels.astype(str)}),
        "labels fractions": _npz({"test/labels": labels + 0.5}),
        "fold 0": _npz({"test/fold": fold * 0}),
        "fold 99": _npz({"test/fold": fold * 0 + 99}),
        "fold nan": _npz({"test/fold": fold * np.nan}),
        "fold fewer": _npz({"test/fold": fold[:-1]}),
        "ids fractions": _npz({"test/record_id": ARRAYS["test/record_id"] + 0.5}),
        "ids text": _npz({"test/record_id": ARRAYS["test/record_id"].astype(str)}),
        "patients of two dimensions": _npz({"test/patient_id": labels}),
        "npy of 10**12": _npz_with(member, _npy(plain % "(1000000000000,)")),
        "npy of 10**30": _npz_with(member, _npy(plain % "(10**30,)")),
        "npy negative": _npz_with(member, _npy(plain % "(-1, 5)")),
        "npy deep": _npz_with(member, _npy("(" * 20_000)),
        "npy code": _npz_with(member, _npy("__import__('os').abort()")),
        "npy empty": _npz_with(member, b""),
        "npy header cut": _npz_with(member, _npy(plain % "(1, 40, 5)")[:-20]),
        "npy short": _npz_with(member, _npy(plain % "(1, 40, 5)", bytes(10))),
        "npy not one": _npz_with(member, b"abc" * 100),
        "npy version 9": _npz_with(member, b"\x93NUMPY\x09\x00" + bytes(100)),
        "a bomb": lambda: _npz_with(member, _npy(plain % "(1, 25000000, 5)", bytes(5 * 10**8))),
    }
    stream = io.BytesIO()
    np.save(stream, logits)
    archives["one array"] = stream.getvalue()
    for name, content in archives.items():
        cases.append(run_case("npz", name, {"predictions.npz": content}))
    for seed in range(20):
        content = mutate(good, np.random.default_rng([13, seed]))
        # Made right for the damage half of the time; numpy checks the sum of a member only then.
        cases.append(
            run_case("npz", f"mutated {seed}", {"predictions.npz": content}, seed % 2 == 0)
        )
    tables = {
        "empty": b"",
        "binary": np.random.default_rng(0).bytes(5000),
        "zero bytes": bytes(1000),
        "latin-1": "recipe\né\n".encode("latin-1"),
        "ten million columns": b"," * 10_000_000,
        "open quote": b'recipe,"\n' * 10,
        "rows too long": b"recipe\n1,2,3\n1,2\n",
    }
    for name, content in tables.items():
        cases.append(run_case("run folders", f"history {name}", {"history.csv": content}))
    for key in keys(METRICS):
        for name, value in (
            ODD.items() if key.split("/")[0] not in ("settings", "provenance") else ()
        ):
            document = dumped(changed(METRICS, key, value))
            cases.append(run_case("run folders", f"{key} {name}", {"metrics.json": document}))
    for files in ({}, {"../../../etc/passwd": "0" * 64}, {"/etc/passwd": "0" * 64}, {"": "0" * 64}):
        document = dumped({**METRICS, "files": files})
        name = f"names {list(files)}"
        damaged = {"metrics.json": document, "predictions.npz": _npz({"test/fold": fold * 0 + 1})}
        cases.append(run_case("run folders", name, damaged))
    for name, change in TEXTS.items():
        content = change(RUN_FILES["metrics.json"])
        cases.append(run_case("run folders", name, {"metrics.json": content}))
    return cases


# --- studies and parameters -----------------------------------------------------------------

STUDY = {
    "name": "x",
    "title": "a study",
    "source": "data/sample/ptb-xl-sample.zip",
    "configurations": ["12-lead", "1-lead-I"],
    "protocol": "holdout",
    "label_policy": "any",
    "sampling_rate": 100,
    "recipe": "default",
    "compare_with": "original",
    "seeds": 1,
    "compare_seeds": 1,
    "epochs": 0,
    "tracking": "",
    "n_resamples": 2000,
}
_VALID = {
    "name": ("abc",),
    "title": (str,),
    "source": (str,),
    "compare_with": ("",),
    "epochs": (0,),
    "tracking": ("",),
}
"""Values of `ODD` that are all right for a key: of a type, or these."""


def _is_valid(key: str, value: Any, valid: Mapping[str, tuple[Any, ...]]) -> bool:
    return any(good is type(value) or good == value for good in valid.get(key, ()))


def study_case(name: str, content: bytes, expected: Mapping[str, Any] | None) -> Case:
    """A study file; ``expected`` are the fields it must have if it is accepted, None if never."""

    def build(folder: Path) -> Callable[[], None]:
        path = folder / "in" / "study.yml"
        path.write_bytes(content)

        def call() -> None:
            study = load_study(path)
            [study.run_parameters(run) for run in study.networks]
            study.source_path  # noqa: B018
            if expected is None:
                raise WrongError(f"accepted: {str(study)[:200]}")
            plain = study.plain()
            if any(plain[key] != value for key, value in expected.items()):
                raise WrongError(f"other values: {plain}")

        return call

    return Case("study YAML", name, build)


def _studies() -> list[Case]:
    good = yaml.safe_dump(STUDY).encode()
    cases = []
    for key in STUDY:
        for name, value in ODD.items():
            if value is None and key not in ("name", "title", "source", "configurations"):
                continue  # an empty key has its default
            ok = _is_valid(key, value, _VALID)
            content = yaml.safe_dump({**STUDY, key: value}).encode()
            cases.append(study_case(f"{key} {name}", content, {key: value} if ok else None))
    for name in (
        "..",
        ".",
        "a/b",
        "/a",
        "{x}",
        "a\nb",
        "a\0b",
        "a" * 300,
        "-rf",
        "~",
        "$HOME",
        " ",
    ):
        content = yaml.safe_dump({**STUDY, "name": name}).encode()
        cases.append(study_case(f"name {name[:9]!r}", content, None))
    for names in (
        ["12-lead", "12-lead"],
        ["12-lead", "V2,I", "I,V2"],
        ["12-lead", "X"],
        ["12-lead", None],
    ):
        content = yaml.safe_dump({**STUDY, "configurations": names}).encode()
        cases.append(study_case(f"configurations {names}", content, None))
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    whole = {
        **TEXTS,
        "python object": lambda c: c + b"x: !!python/object/apply:os.system [true]\n",
        "billion laughs": lambda c: c + laughs.encode(),
        "billion laughs as title": lambda c: laughs.encode() + c.replace(b"a study", b"*i"),
        "tab": lambda c: c + b"\tx: 1\n",
        "key twice": lambda c: c + b"seeds: 5\n",
        "unknown key": lambda c: c + b"seed: 5\n",
        "key is a list": lambda c: c + b"? [a, b]\n: 1\n",
        "key is a number": lambda c: c + b"5: 1\n",
        "two documents": lambda c: c + b"---\na: 1\n",
        "unknown alias": lambda c: c + b"x: *nothing\n",
        "itself": lambda c: b"&a [*a]\n",
        "source of itself": lambda c: c.replace(b"title: a study", b"title: &a [*a]"),
        "variable": lambda c: c.replace(
            b"data/sample/ptb-xl-sample.zip", b"${NO_SUCH_VARIABLE_}/x"
        ),
        "date": lambda c: c.replace(b"a study", b"2020-01-01"),
        "overrides of another": lambda c: c + b"overrides: {1-lead-V2: {seeds: 2}}\n",
        "overrides of text": lambda c: c + b"overrides: {12-lead: {seeds: abc}}\n",
        "overrides of nothing": lambda c: c + b"overrides: {12-lead: }\n",
        "overrides beyond": lambda c: c + b"overrides: {12-lead: {seeds: 100000000}}\n",
        "variants unknown": lambda c: c + b"variants: [nonsense]\n",
        "variants number": lambda c: c + b"variants: 5\n",
        "compare unknown": lambda c: c + b"compare_configurations: [1-lead-V2]\n",
    }
    cases += [study_case(name, change(good), None) for name, change in whole.items()]
    for seed in range(20):
        content = mutate(good, np.random.default_rng([14, seed]))
        cases.append(Case("study YAML", f"mutated {seed}", functools.partial(_mutated, content)))
    return cases


def _mutated(content: bytes, folder: Path) -> Callable[[], None]:
    """A mutated text may well be another study; it must be one that says what its file says."""
    path = folder / "in" / "study.yml"
    path.write_bytes(content)

    def call() -> None:
        study = load_study(path)
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        if any(
            v is not None and str(getattr(study, k)) != str(v)
            for k, v in said.items()
            if k != "configurations"
        ):
            raise WrongError(str(study))

    return call


_VALID_PARAMETERS = {
    "data": (str,),
    "out": (str,),
    "start_from": (str,),
    "compare_with": ("",),
    "epochs": (0,),
    "workers": (0,),
    "tracking": ("",),
    "compiled": (True,),
}


def _parameters() -> list[Case]:
    def build(key: str, value: Any, ok: bool, folder: Path) -> Callable[[], None]:
        def call() -> None:
            settings = RunSettings(**{key: value})
            if not ok or getattr(settings, key) != value:
                raise WrongError(f"accepted {getattr(settings, key)!r}"[:200])

        return call

    def cells(text: str, ok: bool, folder: Path) -> Callable[[], None]:
        def call() -> None:
            check_injected(["", "config = 'x'\nseeds: int = 1\n", text])
            if not ok:
                raise WrongError("accepted")

        return call

    cases = []
    for key in (item.name for item in fields(RunSettings)):
        for name, value in ODD.items():
            ok = _is_valid(key, value, _VALID_PARAMETERS)
            cases.append(
                Case("parameters", f"{key} {name}", functools.partial(build, key, value, ok))
            )
    texts = (
        "V2,I,V2",
        "I,,V2",
        "I;V2",
        "Ⅱ",
        ",",
        " ",
        "3-lead",
        "I" * 10_000,
        "I," * 10_000,
        "aVR\0",
    )
    for text in texts:
        cases.append(
            Case(
                "parameters",
                f"config {text[:9]!r}",
                functools.partial(build, "config", text, False),
            )
        )
    injected = {
        "# Parameters\nsedes = 3\n": False,
        "# Parameters\nseeds = 3\n": True,
        "# Parameters\nseeds, x = 3, 4\n": False,
        "# Parameters\nimport os; seeds = os\n": True,
    }
    for n, (text, ok) in enumerate(injected.items()):
        cases.append(Case("parameters", f"injected {n}", functools.partial(cells, text, ok)))
    return cases


# --- arrays ---------------------------------------------------------------------------------


def _arrays() -> list[Case]:
    def case(name: str, make: Callable[[], Any], ok: bool = False, **options: Any) -> Case:
        def build(folder: Path) -> Callable[[], None]:
            x = make()
            given = {"leads": GOOD.leads, "sampling_rate": 100, **options}

            def call() -> None:
                found = GOOD.predict(x, **given)
                shape = (np.shape(x)[0] if np.ndim(x) == 3 else 1, 5)
                if not np.isfinite(found).all():
                    raise WrongError(f"not finite: {found.ravel()[:5]}")
                if not ok or found.shape != shape:
                    raise WrongError(f"answered {found.shape}: {found.ravel()[:5]}")
                if ok is not any and not np.allclose(found, EXPECTED[: len(found)], atol=1e-5):
                    raise WrongError("other probabilities")

            return call

        return Case("arrays", name, build)

    record = np.dtype([("a", float), ("b", float)])
    two = ["I", "II"]
    names = (
        *(None, 5, "I", "III", two, [*two, "II"], [*two, 5], [*two, None], [*two, ["V2"]]),
        {*two, "X"},
    )
    huge = {f"{v:g}": v for v in (1e300, -1e300, 1e40, 3e38, 1e36, 1e20, 1e12)}
    return [
        case("no records", lambda: X[:0], any),
        case("no samples", lambda: X[..., :0]),
        case("no leads", lambda: X[:, :0]),
        case("no leads named", lambda: X[:, :0], leads=()),
        case("one record", lambda: X[0], True),
        case("lists", lambda: X.tolist(), True),
        case("reversed in memory", lambda: X[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1], True),
        case("other order in memory", lambda: np.asfortranarray(X), True),
        case("read only", lambda: np.frombuffer(X.tobytes()).reshape(X.shape), True),
        case("big-endian", lambda: X.astype(">f8"), True),
        case("long double", lambda: X.astype(np.longdouble), True),
        case("single", lambda: X.astype(np.float32), True),
        case("half", lambda: (X * 8).round().astype(np.float16), any),
        case("bytes", lambda: np.ones((2, 3, 1000), np.int8), any),
        case("whole numbers", lambda: np.ones((2, 3, 1000), int), any),
        case("unsigned 64", lambda: np.full((2, 3, 1000), 2**64 - 1, np.uint64)),
        case("booleans", lambda: X > 0),
        case("tensor", lambda: torch.from_numpy(X), True),
        case("tensor with gradient", lambda: torch.from_numpy(X).requires_grad_()),
        case("masked", lambda: np.ma.masked_greater(X, 1)),
        case("numbers as objects", lambda: X.astype(object), True),
        case("objects", lambda: np.full((2, 3, 1000), {}, dtype=object)),
        case("None as objects", lambda: np.full((2, 3, 1000), None)),
        case("huge objects", lambda: np.full((2, 3, 1000), 10**400, dtype=object)),
        case("text", lambda: X.astype(str)),
        case("text of no numbers", lambda: np.full((2, 3, 1000), "a")),
        case("bytes of text", lambda: X.astype("S")),
        case("ragged", lambda: [[[1.0] * 1000, [1.0] * 999, [1.0] * 1000]]),
        case("structured", lambda: np.zeros((2, 3, 1000), record)),
        case("complex", lambda: X + 1j),
        case("complex without imaginary part", lambda: X.astype(complex)),
        case("dates", lambda: np.full((2, 3, 1000), np.datetime64("2020-01-01"))),
        case("durations", lambda: np.full((2, 3, 1000), np.timedelta64(5, "s"))),
        case("void", lambda: np.zeros((2, 3, 1000), "V4")),
        case("nan", lambda: np.where(X > 2, np.nan, X)),
        case("infinite", lambda: np.where(X > 2, np.inf, X)),
        case("four dimensions", lambda: X[None]),
        case("one dimension", lambda: X[0, 0]),
        case("a number", lambda: 5.0),
        case("None", lambda: None),
        case("a word", lambda: "abc"),
        case("raw bytes", lambda: X.tobytes()),
        case("a dictionary", lambda: {"I": X[0, 0]}),
        case("a set", lambda: {1.0, 2.0}),
        case("a generator", lambda: (row for row in X)),
        case("a table", lambda: pd.DataFrame(X[0]), True),
        case("a table of text", lambda: pd.DataFrame(X[0].astype(str)), True),
        case("a date", lambda: datetime.date(2020, 1, 1)),
        case("a class", lambda: dict),
        case("short", lambda: X[..., :249]),
        case("exactly a window", lambda: X[..., :250], any),
        *(case(f"of {name} mV", lambda v=v: np.full((2, 3, 1000), v)) for name, v in huge.items()),
        *(
            case(f"one of {name} mV", lambda v=v: np.where(X.max() == X, v, X))
            for name, v in huge.items()
        ),
        case("1e35 V", lambda: np.full((2, 3, 1000), 1e35), unit="V"),
        *(
            case(f"rate {str(r)[:9]!r}", lambda: X, sampling_rate=r)
            for r in (math.nan, "100", None, [100], -100, 0, 1e400, X)
        ),
        case("rate 100.0", lambda: X, True, sampling_rate=100.0),
        *(case(f"unit {u!r}", lambda: X, unit=u) for u in (None, "", "mv", "volt", ["mV"], {}, 5)),
        *(case(f"leads {i}", lambda: X, leads=n) for i, n in enumerate(names)),
        case("leads in another spelling", lambda: X, True, leads=["i", "ii", "v2"]),
        case("leads in an array", lambda: X, True, leads=np.array(["I", "II", "V2"])),
        case("leads in a mapping", lambda: X, True, leads={"I": 0, "II": 1, "V2": 2}),
    ]


NETWORK_CASES = [*_descriptions(), *_weights(), *_runs(), *_studies(), *_parameters(), *_arrays()]
