"""The parameters of a run and of a study, checked."""

import ast
import dataclasses
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leadmin.errors import LeadminError
from leadmin.files import write_text
from leadmin.labels import LABEL_POLICIES
from leadmin.leads import configurations, resolve
from leadmin.net.device import PRECISIONS, choose_device
from leadmin.net.recipes import RECIPES, Recipe
from leadmin.net.recipes import recipe as find_recipe
from leadmin.study.protocol import PROTOCOLS
from leadmin.study.tracking import tracker_names


@dataclass(frozen=True)
class RunSettings:
    """The parameters of the training notebook, checked.

    Parameters
    ----------
    config : str
        A configuration of the registry, or leads separated by commas.
    data : str
        The prepared HDF5 file.
    out : str
        The folder that the run writes.
    recipe, compare_with : str
        Primary recipe, and a second one trained on the same records; empty for none.
    protocol : {"holdout", "crossval"}
        See `splits`.
    label_policy : {"any", "likelihood50"}
        Which diagnostic statements count as labels in evaluation.
    seeds, compare_seeds : int
        Number of networks per recipe that differ in nothing but the seed.
    epochs : int
        Overrides the recipes' own number of epochs; 0 keeps it.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    tracking : str
        Where the curves go besides ``history.csv``: ``tensorboard``, ``wandb``, both with a
        comma, or empty for nowhere. See `leadmin.study.tracking`.
    compiled : bool
        Whether the training step goes through ``torch.compile``; see `leadmin.net.fit.fit`.
    precision : {"auto", "float32", "bfloat16"}
        What training steps multiply in; see `leadmin.net.device.mixed_precision`.
    start_from : str
        Folder of a finished run of the recipe that ``recipe`` starts from, on these records and
        folds. Empty: it is trained first, into a folder of its own inside ``out``.
    workers : int
        Fits that are trained side by side, each in a process of its own with one thread; 0 for
        as many as there are threads. With 1 they follow each other in this process.

    Raises
    ------
    LeadminError
        If a value is of the wrong type or not valid; the message says what is.
    """

    config: str
    data: str
    out: str
    recipe: str = "default"
    compare_with: str = "original"
    protocol: str = "holdout"
    label_policy: str = "any"
    seeds: int = 1
    compare_seeds: int = 1
    epochs: int = 0
    device: str = "auto"
    tracking: str = ""
    compiled: bool = False
    precision: str = "auto"
    start_from: str = ""
    workers: int = 1

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if type(value) is not item.type:
                wanted = getattr(item.type, "__name__", item.type)
                raise LeadminError(f"parameter {item.name} must be of type {wanted}, not {value!r}")
        resolve(self.config)
        valid: dict[str, Iterable[str]] = {
            "recipe": RECIPES,
            "compare_with": ["", *RECIPES],
            "protocol": PROTOCOLS,
            "label_policy": LABEL_POLICIES,
            "precision": PRECISIONS,
        }
        for name, choices in valid.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(choice or "'' (none)" for choice in choices)
                raise LeadminError(f"parameter {name} is {getattr(self, name)!r}; valid: {listed}")
        for name, least in (("seeds", 1), ("compare_seeds", 1), ("epochs", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise LeadminError(
                    f"parameter {name} must be at least {least}, not {getattr(self, name)}"
                )
        if self.compare_with == self.recipe:
            raise LeadminError(
                f"parameter compare_with is the same recipe as recipe, {self.recipe!r}; "
                "give another one, or '' for none"
            )
        tracker_names(self.tracking)
        choose_device(self.device)

    def recipes(self) -> list[tuple[Recipe, int]]:
        """List each recipe to train with its number of seeds, the primary one first."""
        pairs = [(self.recipe, self.seeds)]
        if self.compare_with:
            pairs.append((self.compare_with, self.compare_seeds))
        return [(find_recipe(name, self.epochs or None), n) for name, n in pairs]


def check_injected(cells: list[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have.

    papermill puts the parameters into a cell of its own behind the cell tagged
    ``parameters``; of an unknown name it only warns, and the notebook would run with its
    defaults.

    Parameters
    ----------
    cells : list of str
        Source of the cells executed so far: IPython's ``In``.

    Raises
    ------
    LeadminError
        If the injected cell sets a name that the cell before it does not set.
    """
    for before, injected in itertools.pairwise(cells):
        if not injected.lstrip().startswith("# Parameters"):
            continue
        declared = _assigned_names(before)
        unknown = [name for name in _assigned_names(injected) if name not in declared]
        if unknown:
            raise LeadminError(
                f"unknown parameter {', '.join(unknown)}; valid: {', '.join(declared)}"
            )


def _assigned_names(source: str) -> list[str]:
    names = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


@dataclass(frozen=True)
class Study:
    """One YAML file: which data, which configurations, how trained, how tested.

    Parameters
    ----------
    name : str
        Also the folder below ``outputs``.
    title : str
        One line for the book.
    source : str
        Archive or folder with the records, relative to where the workflow runs. In a study
        file, ``${NAME}`` stands for an environment variable.
    protocol, label_policy, recipe, compare_with, seeds, compare_seeds, epochs, tracking
        See `RunSettings`.
    sampling_rate : int
        Hz, 100 or 500.
    configurations : tuple of str
        What to run.
    compare_configurations : tuple of str
        The configurations on which ``compare_with`` is trained too; all of them if empty.
    overrides : dict
        Per configuration, other values for ``seeds``, ``compare_seeds`` or ``epochs``.
    n_resamples : int
        Bootstrap resamples of the analysis.
    """

    name: str
    title: str
    source: str
    configurations: tuple[str, ...]
    protocol: str = "holdout"
    label_policy: str = "any"
    sampling_rate: int = 100
    recipe: str = "default"
    compare_with: str = "original"
    seeds: int = 1
    compare_seeds: int = 1
    epochs: int = 0
    tracking: str = ""
    compare_configurations: tuple[str, ...] = ()
    overrides: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    n_resamples: int = 2000

    @property
    def source_path(self) -> Path:
        """The source, with its environment variables replaced by their values.

        Raises
        ------
        LeadminError
            If a variable is not set.
        """
        text = os.path.expandvars(self.source)
        if "$" in text:
            raise LeadminError(
                f"study {self.name}: source is {self.source}, but that environment variable is not "
                "set; set it to the archive or folder with the records"
            )
        return Path(text)

    def run_parameters(self, config: str) -> dict[str, Any]:
        """Give the training notebook's parameters for ``config``, without folders and device."""
        names = ("recipe", "compare_with", "protocol", "label_policy", "tracking")
        numbers = ("seeds", "compare_seeds", "epochs")
        chosen = {name: getattr(self, name) for name in (*names, *numbers)}
        if self.compare_configurations and config not in self.compare_configurations:
            chosen["compare_with"] = ""
        return {"config": config} | chosen | self.overrides.get(config, {})


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    LeadminError
        If the file is missing or not YAML, a key is unknown or missing, or a value is not
        valid; the message names the file and the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LeadminError(f"{path}: no such study file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LeadminError(f"{path}: not a readable YAML file ({error})") from error
    fields = {item.name: item for item in dataclasses.fields(Study)}
    if not isinstance(raw, dict):
        raise LeadminError(f"{path}: must hold a mapping with the keys {', '.join(fields)}")
    unknown = [str(key) for key in raw if key not in fields]
    needed = [name for name in ("name", "title", "source", "configurations") if name not in raw]
    if unknown or needed:
        raise LeadminError(
            f"{path}: unknown keys: {', '.join(unknown) or 'none'}; missing keys: "
            f"{', '.join(needed) or 'none'}; valid: {', '.join(fields)}"
        )
    configs = raw["configurations"]
    if configs == "all":
        configs = list(configurations())
    overrides = raw.get("overrides") or {}
    if not isinstance(configs, list) or not configs or not isinstance(overrides, dict):
        raise LeadminError(
            f"{path}: configurations must be 'all' or a list of names; overrides a mapping"
        )
    compared = raw.get("compare_configurations") or []
    if not isinstance(compared, list):
        raise LeadminError(f"{path}: compare_configurations must be a list of names")
    lists = {"configurations": configs, "compare_configurations": compared}
    names = {key: tuple(map(str, listed)) for key, listed in lists.items()}
    study = Study(**(raw | names | {"overrides": overrides}))
    if len(set(study.configurations)) < len(study.configurations):
        raise LeadminError(f"{path}: configurations names one configuration twice")
    if "12-lead" not in study.configurations:
        raise LeadminError(f"{path}: configurations must hold 12-lead, the reference of the rest")
    stray = [name for name in study.compare_configurations if name not in study.configurations]
    if stray or (study.compare_configurations and "12-lead" not in study.compare_configurations):
        raise LeadminError(
            f"{path}: compare_configurations must hold 12-lead and none that is not among the "
            f"configurations, but has {', '.join(study.compare_configurations)}"
        )
    if study.sampling_rate not in (100, 500):
        raise LeadminError(f"{path}: sampling_rate must be 100 or 500, not {study.sampling_rate}")
    if not isinstance(study.name, str) or Path(study.name).name != study.name:
        raise LeadminError(f"{path}: name must be usable as a folder name, not {study.name!r}")
    if type(study.n_resamples) is not int or study.n_resamples < 100:
        raise LeadminError(f"{path}: n_resamples must be a whole number from 100")
    for config, changes in overrides.items():
        allowed = ("seeds", "compare_seeds", "epochs")
        if config not in study.configurations or not isinstance(changes, dict):
            raise LeadminError(f"{path}: overrides: {config!r} is not one of the configurations")
        wrong = [key for key in changes if key not in allowed]
        if wrong:
            raise LeadminError(
                f"{path}: overrides of {config}: unknown {', '.join(map(str, wrong))}; valid: "
                f"{', '.join(allowed)}"
            )
    for config in study.configurations:
        try:
            RunSettings(data="", out="", **study.run_parameters(config))
        except LeadminError as error:
            raise LeadminError(f"{path}: {config}: {error}") from error
    return study


def derive_study(study: Study, root: Path) -> Path:
    """Write a study that was made from another one to ``outputs/<name>.yml`` below ``root``.

    Returns
    -------
    Path
        The file, relative to ``root``. It is left alone where it says the same already.
    """
    lists = ("configurations", "compare_configurations")
    fields = dataclasses.asdict(study) | {name: list(getattr(study, name)) for name in lists}
    text = "# Made by `leadmin run`; edit the study that it comes from.\n"
    text += yaml.safe_dump(fields, sort_keys=False)
    path = Path("outputs") / f"{study.name}.yml"
    if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text:
        write_text(root / path, text)
    return path
