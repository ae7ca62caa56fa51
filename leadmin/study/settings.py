"""The parameters of a run and of a study, checked."""

import ast
import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from leadmin.errors import LeadminError
from leadmin.files import read_yaml, write_text
from leadmin.labels import LABEL_POLICIES
from leadmin.leads import configurations, electrode_sets, resolve
from leadmin.net.device import PRECISIONS, choose_device
from leadmin.net.own import MakeNetwork, find_network, source_file
from leadmin.net.recipes import RECIPES, Recipe
from leadmin.net.recipes import recipe as find_recipe
from leadmin.study.protocol import PROTOCOLS
from leadmin.study.sources import SOURCE_TREE, home, prepared_path
from leadmin.study.tracking import tracker_names


def _wrong(problem: str, valid: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{problem}; valid: {valid}", locals())


def _checked_by(check: Callable[[str], object]) -> AfterValidator:
    """Make a validator of a function that raises what is wrong with a value."""

    def kept(value: str) -> str:
        check(value)
        return value

    return AfterValidator(kept)


def _one_of(choices: Iterable[str]) -> AfterValidator:
    def check(value: str) -> None:
        if value not in choices:
            raise _wrong("", ", ".join(choice or "'' (none)" for choice in choices))

    return _checked_by(check)


def _config_name(value: str) -> str:
    return resolve(value).name


def _config_names(value: Any) -> Any:
    """Give configurations their one name; a lead set that is listed twice is refused."""
    if value == "all":
        return tuple(configurations())
    if not isinstance(value, list | tuple):
        raise _wrong("", "'all' or a list of configurations")
    names = tuple(_config_name(str(name)) for name in value)
    if len(set(names)) < len(names):
        raise _wrong("names one configuration twice", "each once")
    return names


def _with_config_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return dict(zip(_config_names(list(value)), value.values(), strict=True))


def _listed(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else value


def _folder_name(value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value) or value in TAKEN:
        raise _wrong(
            f"is {value[:80]!r}",
            "1 to 64 letters, digits, '.', '_' and '-', the first of them a letter or a digit, and "
            f"none of {', '.join(TAKEN)}",
        )


TAKEN = ("adhoc", "data")
"""Folders below outputs that are no study's."""

ConfigNames = Annotated[tuple[str, ...], BeforeValidator(_config_names)]
RecipeName = Annotated[str, _one_of(RECIPES)]
OtherRecipe = Annotated[str, _one_of(["", *RECIPES])]
Protocol = Annotated[str, _one_of(PROTOCOLS)]
LabelPolicy = Annotated[str, _one_of(LABEL_POLICIES)]
OwnNetwork = Annotated[str, _checked_by(lambda name: name and source_file(name))]
Seeds = Annotated[int, Field(ge=1, le=100)]
Epochs = Annotated[int, Field(ge=0, le=10_000)]
Trackers = Annotated[str, _checked_by(tracker_names)]
Changes = dict[Literal["seeds", "compare_seeds", "epochs"], int]
Overrides = Annotated[dict[str, Changes], BeforeValidator(_with_config_names)]
STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=STRICT)
class _Checked:
    """Words what pydantic refuses as every message is: what is wrong, what is valid, what to do."""

    @model_validator(mode="wrap")
    @classmethod
    def _worded(cls, values: Any, fill: Any) -> Any:
        try:
            return fill(values)
        except ValidationError as error:
            where = "parameter " if issubclass(cls, RunSettings) else ""
            lines = (where + _in_words(one, cls) for one in error.errors())
            raise LeadminError("\n".join(lines)) from None


def _in_words(problem: ErrorDetails, model: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "unexpected_keyword_argument":
        keys = ", ".join(item.name for item in dataclasses.fields(model))
        return f"{key} is no key that there is; valid: {keys}; correct or remove it"
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    details = problem.get("ctx", {})
    field = model.__pydantic_fields__.get(str(problem["loc"][0])) if problem["loc"] else None
    bounds = {type(bound).__name__: bound for bound in field.metadata} if field else {}
    valid = details.get("valid") or problem["msg"].removeprefix("Input should be ")
    if field is not None and field.annotation is int:
        valid = "whole numbers"
        valid += f" from {bounds['Ge'].ge}" if "Ge" in bounds else ""
        valid += f" to {bounds['Le'].le}" if "Le" in bounds else ""
    elif problem["type"] == "string_type":
        valid = "text"
    wrong = details.get("problem") or f"is {problem['input']!r}"
    return f"{key} {wrong}; valid: {valid}; change it"


@dataclass(frozen=True, config=STRICT)
class RunSettings(_Checked):
    """The parameters of the training notebook, checked; each field says what it is.

    A value that is of the wrong type or not valid is refused; the message says what is.
    """

    config: Annotated[str, AfterValidator(_config_name)] = "3-lead-I-II-V2"
    """lead configuration: a name of the registry, or leads with commas"""
    data: str = ""
    """prepared HDF5 file, or archive or folder of PTB-XL; empty: the embedded sample"""
    out: str = ""
    """folder that the run writes; empty: outputs/adhoc/runs/<config>"""
    recipe: RecipeName = "default"
    """recipe to train: default, scratch, any-lead or original"""
    compare_with: OtherRecipe = "original"
    """second recipe, trained on the same records; empty for none"""
    protocol: Protocol = "holdout"
    """holdout (folds 1-8, 9, 10) or crossval (each fold is tested once)"""
    label_policy: LabelPolicy = "any"
    """statements that count as labels: any likelihood, or likelihood50"""
    seeds: Seeds = 1
    """networks that differ in nothing but the seed"""
    compare_seeds: Seeds = 1
    """the same for the second recipe"""
    epochs: Epochs = 0
    """passes over the training records; 0: the recipe's own number"""
    device: Annotated[str, _checked_by(choose_device)] = "auto"
    """auto, cpu, cuda or cuda:N"""
    tracking: Trackers = ""
    """curves also for tensorboard, wandb, or both with a comma; empty for neither"""
    precision: Annotated[str, _one_of(PRECISIONS)] = "auto"
    """float32, bfloat16, or auto: bfloat16 on an accelerator only"""
    start_from: str = ""
    """finished run of the any-lead network to start from; empty: trained first"""
    workers: Annotated[int, Field(ge=0, le=1024)] = 1
    """fits side by side, each in a process of one thread; 0: one per thread"""
    network: OwnNetwork = ""
    """module:Class of your own network for recipe; empty: the study's"""

    def __post_init__(self) -> None:
        if self.compare_with == self.recipe:
            raise LeadminError(
                f"parameter compare_with is the same recipe as recipe, {self.recipe!r}; valid: "
                "another one, or '' for none; change it"
            )

        found = RECIPES[self.recipe]
        if self.network and (found.start or found.architecture.any_leads):
            valid = [
                r.name for r in RECIPES.values() if not r.start and not r.architecture.any_leads
            ]
            raise LeadminError(
                f"parameter network needs a recipe from random weights, and recipe is "
                f"{self.recipe!r}; valid: {', '.join(valid)}; change it"
            )

    @classmethod
    def of_notebook(cls, names: Mapping[str, Any], cells: Sequence[str]) -> Self:
        """Read what a notebook has set: its ``globals()``, and ``In``, see `check_injected`."""
        check_injected(cells)
        return cls(**{item.name: names[item.name] for item in dataclasses.fields(cls)})

    @property
    def folder(self) -> Path:
        """The folder that the run writes, named by the configuration if none was given."""
        return Path(self.out) if self.out else home() / f"outputs/adhoc/runs/{self.config}"

    def recipes(self) -> list[tuple[Recipe, int]]:
        """List each recipe to train with its number of seeds, the primary one first."""
        pairs = [(self.recipe, self.seeds)]
        if self.compare_with:
            pairs.append((self.compare_with, self.compare_seeds))
        found = [(find_recipe(name, self.epochs or None), n) for name, n in pairs]
        own = dataclasses.replace(found[0][0], network=self.network)
        return [(own, self.seeds), *found[1:]]

    @property
    def own_network(self) -> MakeNetwork | None:
        """The class that ``network`` names; none where it names none."""
        return find_network(self.network) if self.network else None

    def portable(self) -> dict[str, Any]:
        """Give the parameters by name, without the folders of this machine."""
        kept = dataclasses.asdict(self) | {"out": self.folder}
        return kept | {name: Path(kept[name]).name for name in ("data", "out", "start_from")}


def check_injected(cells: Sequence[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have.

    papermill puts them into a cell of its own behind the cell of the defaults; of an unknown name
    it only warns, and the notebook would run with its defaults. ``cells`` are the sources of those
    executed so far, IPython's ``In``; the injected one may set what the one before it sets.
    """
    for before, injected in itertools.pairwise(cells):
        if injected.lstrip().startswith("# Parameters"):
            declared, given = _assigned_names(before), _assigned_names(injected)
            if unknown := [name for name in given if name not in declared]:
                raise LeadminError(
                    f"unknown parameter {', '.join(unknown)}; valid: {', '.join(declared)}; "
                    "correct or remove it"
                )


def _assigned_names(source: str) -> list[str]:
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


@dataclass(frozen=True, config=STRICT)
class Study(_Checked):
    """One YAML file: which data, which configurations, how trained, how tested.

    With ``variants`` it is an ablation: its one configuration is trained once for each of them. An
    unknown or missing key and a value that is not valid are refused; the message names the key.
    """

    name: Annotated[str, _checked_by(_folder_name)]
    """also the folder below outputs"""
    title: str
    """one line for the book"""
    source: str
    """archive or folder with the records; a relative path is looked for from here, beside the study
    file, then in the source tree; in a study file, ${NAME} stands for an environment variable"""
    configurations: Annotated[ConfigNames, Field(min_length=1)]
    """what to run; 'all' for the whole registry"""
    protocol: Protocol = "holdout"
    label_policy: LabelPolicy = "any"
    sampling_rate: Literal[100, 500] = 100
    """Hz"""
    recipe: RecipeName = "default"
    compare_with: OtherRecipe = "original"
    seeds: Seeds = 1
    compare_seeds: Seeds = 1
    epochs: Epochs = 0
    tracking: Trackers = ""
    compare_configurations: ConfigNames = ()
    """those on which compare_with is trained too; empty for all"""
    overrides: Overrides = dataclasses.field(default_factory=dict)
    """per configuration other values for seeds, compare_seeds or epochs"""
    variants: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """of an ablation, in place of recipe: recipes and baselines; 'all' for all"""
    map: Literal["", "electrodes", "spaces"] = ""
    """score the any-lead network on the 67 electrode sets, or on all 511 spaces; empty for none"""
    map_seeds: Annotated[int, Field(ge=0, le=100)] = 0
    """seeds of networks for each electrode set beside the configurations, to check the map by;
    the any-lead run has at least as many; 0 for none"""
    n_resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    """bootstrap resamples of the analysis"""
    table: str = ""
    """of records of one's own: the table (CSV) that says record, patient, statements and fold"""
    mapping: str = ""
    """of records of one's own: what columns and statements of the table mean (YAML)"""
    max_failures: Annotated[int, Field(ge=0)] = 0
    """how many records may be unusable"""
    network: OwnNetwork = ""
    """module:Class of your own network for recipe, seen from where the workflow runs"""

    def __post_init__(self) -> None:
        if bool(self.table) != bool(self.mapping):
            raise LeadminError(
                f"table is {self.table!r} and mapping {self.mapping!r}; valid: both, for your own "
                "records, or neither, for PTB-XL; change one of them"
            )
        if self.variants:
            self._check_variants()
        elif "12-lead" not in self.configurations:
            raise LeadminError(
                "configurations lacks 12-lead; valid: a list that must hold 12-lead, the "
                "reference of the rest; add it"
            )
        mapped = RECIPES[self.recipe].architecture.any_leads
        if mapped and (self.configurations != ("12-lead",) or not self.map or self.variants):
            raise LeadminError(
                f"recipe is {self.recipe}, which reads any leads; valid: with configurations: "
                "[12-lead] and map: electrodes or spaces, for a study that is a map; change it"
            )
        if self.map and not mapped and (self.variants or not self.start):
            raise LeadminError(
                f"map is {self.map}; valid: in a study whose networks start from any-lead, or with "
                "recipe: any-lead; leave it out"
            )
        if self.map_seeds and not self.map:
            raise LeadminError(
                f"map_seeds is {self.map_seeds}; valid: 0, but in a study with a map; change it"
            )
        compared = self.compare_configurations
        if compared and not {"12-lead"} <= set(compared) <= set(self.configurations):
            raise LeadminError(
                f"compare_configurations is {', '.join(compared)}; it must hold 12-lead and none "
                "that is not among the configurations; change it"
            )
        if unknown := ", ".join(set(self.overrides) - set(self.configurations)):
            raise LeadminError(
                f"overrides: {unknown} is not one of the configurations; valid: "
                f"{', '.join(self.configurations)}; change it"
            )
        for run in (*self.networks, *self.checks[:1]):
            try:
                RunSettings(**self.run_parameters(run))
            except LeadminError as error:
                raise LeadminError(f"{run}: {error}") from error

    def _check_variants(self) -> None:
        from leadmin.study.ablation import VARIANTS

        if self.network:
            raise LeadminError(
                f"network is {self.network!r}, and an ablation is about the study's own network; "
                "valid: in a study without variants; leave one of them out"
            )
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown or len(set(self.variants)) < len(self.variants):
            raise LeadminError(
                f"variants is {', '.join(self.variants)}; valid, each once: {', '.join(VARIANTS)}; "
                "change it"
            )
        if len(self.configurations) > 1:
            raise LeadminError(
                f"configurations is {', '.join(self.configurations)}; an ablation has one; keep one"
            )

    @property
    def source_path(self) -> Path:
        """The source, with its environment variables replaced; one that is not set is refused."""
        return self._path_of("source")

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Table and mapping of records of one's own; none of PTB-XL."""
        return tuple(self._path_of(name) for name in ("table", "mapping") if self.mapping)

    @property
    def prepared(self) -> Path:
        """The HDF5 file that the records are prepared into; the mapping names that of one's own."""
        named = self.source_path
        if self.mapping:  # the stem of which may be that of another
            mark = hashlib.sha256(repr((named, self.own_files)).encode()).hexdigest()[:8]
            named = Path(f"{self.own_files[1].stem}-{mark}")
        return prepared_path(named, self.sampling_rate)

    def _path_of(self, field: str) -> Path:
        text = str(getattr(self, field))
        if not Path(text).exists():  # a name that is there may hold a $
            text = os.path.expandvars(text)
            if "$" in text:
                raise LeadminError(
                    f"study {self.name}: {field} is {text}, but that environment variable is not "
                    "set; set it to the path that is meant"
                )
        if "{" in text or "}" in text:
            raise LeadminError(
                f"study {self.name}: {field} is {text}; valid: a path without braces, which mean "
                "something to the workflow; rename it or make a link to it"
            )
        return Path(text)

    @property
    def start(self) -> str:
        """The run whose network the others start from, by its recipe's name; empty for none."""
        if not self.variants:
            return RECIPES[self.recipe].start
        known = {RECIPES[name].start for name in self.variants if name in RECIPES}
        beside = [name for name in self.variants if name in known]
        # That network sees twelve leads. Elsewhere, whatever needs one trains its own.
        return beside[0] if beside and self.configurations == ("12-lead",) else ""

    @property
    def map_of(self) -> str:
        """The run whose network the map shows lead sets to; empty without a map."""
        return (self.start or self.configurations[0]) if self.map else ""

    @property
    def has_book(self) -> bool:
        """Whether it has an analysis of configurations, around which a book is built."""
        return self.has_analysis and not self.mapping

    @property
    def has_analysis(self) -> bool:
        """Whether it compares configurations."""
        return "04_analysis" in self.conclusions

    @property
    def conclusions(self) -> tuple[str, ...]:
        """The notebooks that bring the runs together, the main one first."""
        if self.variants:
            return ("05_ablation",)
        mapped = ("06_map",) if self.map else ()
        return mapped if self.map_of in self.configurations else ("04_analysis", *mapped)

    @property
    def networks(self) -> tuple[str, ...]:
        """The runs with a page in a book, all made by the training notebook, by folder."""
        if self.variants:
            return tuple(name for name in self.variants if name in RECIPES)
        return (self.start, *self.configurations) if self.start else self.configurations

    @property
    def checks(self) -> tuple[str, ...]:
        """Electrode sets beside the configurations, whose own networks the map is checked by."""
        sets = electrode_sets() if self.map_seeds else ()
        return tuple(one.name for one in sets if one.name not in self.configurations)

    @property
    def trained_for_sets(self) -> tuple[str, ...]:
        """The runs of networks for one set of leads each, that a map is compared with."""
        return (*(self.configurations if self.has_analysis else ()), *self.checks)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The runs of simpler methods, by the names of their folders."""
        return tuple(name for name in self.variants if name not in RECIPES)

    @property
    def runs(self) -> tuple[str, ...]:
        """All runs, networks first, by the names of their folders."""
        return (*self.networks, *self.checks, *self.baselines)

    def run_name(self, text: str) -> str:
        """Name the run folder of a configuration or variant; one that is unknown is refused."""
        if not self.variants:
            return self.start if self.start and text == self.start else resolve(text).name
        if text not in self.variants:
            raise LeadminError(
                f"variant {text!r} does not exist in the study {self.name}; valid: "
                f"{', '.join(self.variants)}; change it"
            )
        return text

    def page(self, run: str) -> str:
        """Name what is written last of a run, below the study's folder."""
        return f"runs/{run}/{'baseline.txt' if run in self.baselines else 'training.ipynb'}"

    def run_parameters(self, run: str) -> dict[str, Any]:
        """Give the training notebook's parameters, without data, folder and device.

        ``run`` is one of `networks`, or any other configuration; ``start_from`` names another run.
        """
        names = ("recipe", "compare_with", "protocol", "label_policy", "tracking", "network")
        numbers = ("seeds", "compare_seeds", "epochs")
        chosen = {name: getattr(self, name) for name in (*names, *numbers)}
        if self.variants:
            start = RECIPES[run].start
            chosen |= {"config": self.configurations[0], "recipe": run, "compare_with": ""}
            chosen |= {"start_from": start if start == self.start else ""}
            return chosen | self.overrides.get(self.configurations[0], {})
        if run in (self.start, self.map_of):  # the one that all wait for: a fit per thread
            chosen["workers"] = 0
        if run == self.start:
            # As many seeds as any that starts from it.
            seeds = [self.overrides.get(c, {}).get("seeds", self.seeds) for c in self.networks]
            chosen |= {"config": "12-lead", "recipe": run, "compare_with": ""}
            most = max(*seeds, self.map_seeds)
            return chosen | self.overrides.get("12-lead", {}) | {"seeds": most}
        if run in self.checks:  # from the one network, whichever run that is
            chosen |= {"config": run, "recipe": "default", "start_from": self.map_of}
            return chosen | {"compare_with": "", "seeds": self.map_seeds}
        chosen |= {"config": run, "start_from": self.start}
        if run == self.map_of:
            chosen["seeds"] = max(self.seeds, self.map_seeds)
        if self.compare_configurations and run not in self.compare_configurations:
            chosen["compare_with"] = ""
        return chosen | self.overrides.get(run, {})

    def starts_of(self, run: str) -> tuple[str, ...]:
        """List the runs of the study that must be there before ``run``: one or none."""
        start = "" if run in self.baselines else self.run_parameters(run).get("start_from")
        return (start,) if start else ()

    def plain(self) -> dict[str, Any]:
        """Give the fields as YAML and JSON hold them."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def load_study(path: Path) -> Study:
    """Read and check a study file; a `LeadminError` names the file and the key."""
    keys = ", ".join(item.name for item in dataclasses.fields(Study))
    raw = read_yaml(path, "study file", f"see workflow/studies; valid keys: {keys}")
    if raw.get("variants") == "all":
        from leadmin.study.ablation import VARIANTS

        raw["variants"] = list(VARIANTS)
    for name in ("source", "table", "mapping", "network"):
        if isinstance(text := raw.get(name), str) and text:
            file, *member = text.rsplit(":", 1) if name == "network" else [text]
            raw[name] = ":".join([_from_tree(file, path.parent), *member])
    try:
        return Study(**{str(key): value for key, value in raw.items() if value is not None})
    except LeadminError as error:
        lines = (f"{path}: {line}" for line in str(error).split("\n"))
        raise LeadminError("\n".join(lines)) from None


def _from_tree(named: str, folder: Path) -> str:
    """Name a path of a study file in ``folder`` from the source tree, where the workflow runs.

    It is looked for from where the caller stands, beside the study file, then in the source tree.
    """
    plain = named if Path(named).exists() else os.path.expandvars(named)
    for place in (Path(), folder, SOURCE_TREE):
        if (found := (place / plain).absolute()).exists():
            found = found.relative_to(SOURCE_TREE) if found.is_relative_to(SOURCE_TREE) else found
            return named if found == Path(plain) else str(found)
    return named


def derive_study(study: Study, root: Path) -> Path:
    """Write a study that was made from another one, unless it is there; give its relative path."""
    text = "# Made by `leadmin run`; edit the study that it comes from.\n"
    text += yaml.safe_dump(study.plain(), sort_keys=False)
    path = Path("outputs") / f"{study.name}.yml"
    if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text:
        write_text(root / path, text)
    return path
