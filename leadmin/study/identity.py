"""What makes two runs the same: settings, data, and the code that trained numbers follow from.

A run keeps its identity in ``metrics.json``. Whoever asks whether something has to be trained, may
be started from or may be continued compares identities, and asks nothing else. Where a run is
written, on which device, with how many workers and what is tracked are no part of it.

The code counts without comments, docstrings and layout: what they change, they change for people.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from leadmin.data.dataset import EcgDataset
from leadmin.leads import resolve
from leadmin.net.recipes import Recipe, recipe_identity, window_samples

PACKAGE = Path(__file__).resolve().parents[1]

HASHED = ("labels", "leads", "metrics", "data", "net", "study")
"""Modules, and whole folders of them, whose code trained numbers follow from."""

_REASONS = {
    "only finds a trained network": "__init__",
    "words for people": "errors",
    "writes files whole, makes calls side by side; what and which is given to it": "files workers",
    "what it decides stands in the prepared file, whose checksum is in the identity": (
        "data/archive data/card data/download data/fetch data/own data/own_mapping data/prepare "
        "data/ptbxl data/quality data/records data/recordings/wfdb"
    ),
    "brings other people's records to a trained network": (
        "data/faults data/pacing data/recordings data/recordings/devices data/recordings/recording "
        "data/recordings/tables data/resample net/classifier net/reading"
    ),
    "what it decides stands in the identity itself": (
        "net/own net/recipes study/identity study/settings"
    ),
    "a trained network in another form, for other people's records": "net/quick",
    "reads a trained network": "net/shipped",
    "writes a trained network in another form": "net/export",
    "says what a trained network's answers mean": "net/operating",
    "names variants and puts finished runs together": "study/ablation",
    "trains no network; the identity of a baseline counts it": "study/baselines",
    "trains no network; the identity of a map counts it": "study/mapping",
    "describes machine and data, for people": "study/provenance",
    "finds the prepared file, whose checksum is in the identity": "study/sources",
    "only listens": "study/tracking",
    "says whether files are whole and whose they are": "study/validity",
}
NOT_HASHED = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""What lies in those folders, or is imported from there, and does not count; with the reason."""


def module_file(name: str) -> Path:
    """Give the file of a module: ``net/fit``, or ``net`` for the folder's own."""
    path = PACKAGE / name
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported_files(path: Path) -> set[Path]:
    """Find the files of this package that a Python file imports, anywhere in it.

    Of a folder that is imported itself all modules count: it may look for them when it runs.
    """
    return _imported_by(path.read_text(encoding="utf-8"))


@cache  # the workflow asks for each page, and most pages stand on the same code
def _imported_by(source: str) -> set[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, member in named:
            root, *parts = module.split(".")
            if root == PACKAGE.name:
                found |= _files_of(PACKAGE.joinpath(*parts), member)
    return found


def _files_of(target: Path, member: str) -> set[Path]:
    """List the files behind ``from target import member``; ``member`` is empty for ``import``."""
    if not target.is_dir():
        return {target.with_suffix(".py"), target.parent / "__init__.py"}
    module = (target / member).with_suffix(".py")
    if member and module.is_file():
        return {module, target / "__init__.py"}
    return {target / "__init__.py"} if target == PACKAGE else set(target.glob("*.py"))


def code_behind(*files: Path) -> list[Path]:
    """List every file of this package behind scripts, notebooks (``.py``) or modules, sorted."""
    waiting, seen = [path.resolve() for path in files], set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imported_files(path)
    return sorted(path for path in seen if path.is_relative_to(PACKAGE))


def hashed_files(also: Iterable[str] = ()) -> Iterator[Path]:
    """List the files whose code counts: `HASHED` without `NOT_HASHED`, and the modules ``also``."""
    files = set()
    for name in HASHED:
        files |= {module_file(name), *(PACKAGE / name).rglob("*.py")}
    files -= {module_file(name) for name in NOT_HASHED}
    return iter(sorted(files | {module_file(name) for name in also}))


@cache
def code_sha256(also: tuple[str, ...] = ()) -> str:
    """Compute the SHA-256 of the code that counts, without comments, docstrings and layout."""
    total = hashlib.sha256()
    for path in hashed_files(also):
        name = path.relative_to(PACKAGE).as_posix()
        total.update(f"{name}\n{bare_code(path.read_text(encoding='utf-8'))}\n".encode())
    return total.hexdigest()


def bare_code(source: str) -> str:
    """Write code without comments, layout and strings that stand alone, as docstrings do."""

    def counts(line: ast.stmt) -> bool:
        value = line.value if isinstance(line, ast.Expr) else None
        return not (isinstance(value, ast.Constant) and isinstance(value.value, str))

    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = filter(counts, body)
    return ast.dump(tree)


def trained_identity(
    config: str,
    protocol: str,
    label_policy: str,
    recipes: Iterable[tuple[Recipe, int]],
    dataset: EcgDataset,
    **more: Any,
) -> dict[str, Any]:
    """Put the identity of a run together, ready for JSON.

    ``recipes`` come with their numbers of seeds; ``dataset`` may hold some of the records that its
    checksum stands for; ``more`` is what else numbers depend on, or ``code`` of its own.
    """
    n_samples = dataset.signals.shape[-1]
    described, seeds = {}, {}
    for recipe, n_seeds in recipes:
        described[recipe.name] = recipe_identity(recipe)
        described[recipe.name]["window"] = window_samples(recipe, dataset.sampling_rate, n_samples)
        seeds[recipe.name] = n_seeds
    identity = {
        "config": config,
        "leads": resolve(config).leads,
        "protocol": protocol,
        "label_policy": label_policy,
        "recipes": described,
        "seeds": seeds,
        "data_sha256": dataset.attributes["content_sha256"],
        "records_sha256": hashlib.sha256(dataset.record_id.tobytes()).hexdigest(),
        "code": code_sha256(),
    }
    read_back: dict[str, Any] = json.loads(json.dumps(identity | more))  # a tuple is a list there
    return read_back


def start_sha256(identity: Mapping[str, Any]) -> str:
    """Name an identity that another run starts from; more seeds of it change nothing there."""
    kept = {name: value for name, value in identity.items() if name != "seeds"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def start_differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], recipe: str
) -> list[str]:
    """Say why a run's networks may not be started from, as they may have seen tested records.

    How many epochs they were trained and with which code is the choice of whoever names them.
    """

    def view(identity: Mapping[str, Any]) -> dict[str, Any]:
        names = ("config", "protocol", "label_policy", "data_sha256", "records_sha256")
        options = identity["recipes"].get(recipe, {})
        return {
            "recipe": recipe if options else next(iter(identity["recipes"])),
            **{name: identity[name] for name in names},
            **{f"{recipe}.{k}": v for k, v in options.items() if k != "epochs"},
        }

    ours, theirs = view(wanted), view(found)
    differs = [
        f"{name} is {theirs[name]!r}, not {value!r}"
        for name, value in ours.items()
        if name in theirs and theirs[name] != value
    ]
    n_found, n_wanted = (identity["seeds"].get(recipe, 0) for identity in (found, wanted))
    return differs + ([f"it has {n_found} of {n_wanted} seeds"] if n_found < n_wanted else [])
