"""What a study is asked: one file a topic, with its tables, its figures and their reading.

Every `Question` at the top level of a file of this folder is asked. Nothing else has to be told
about it: the tables on disk, the report, the page and the LaTeX tables loop over `questions`. Its
place in the argument of a notebook is a call of `leadmin.publish.page.Answers.show`; one that no
notebook names is shown at the end of the page.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.io.formats.style import Styler
from scipy.stats import false_discovery_control

from leadmin.errors import LeadminError
from leadmin.evidence import resampling
from leadmin.evidence.estimates import Estimate, combine
from leadmin.files import read_yaml
from leadmin.labels import CLASS_NAMES, CLASSES, are_superclasses
from leadmin.show.words import P_FLOOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from leadmin.evidence.scores import Evidence

T = TypeVar("T")

ORDER = (
    *("answer", "missed", "configurations", "findings", "firm", "policies", "margins", "pairs"),
    *("ranks", "classes", "delong", "calibration", "decisions", "recipes", "across"),
    *("hypertrophy", "lrs", "weights", "subgroups", "controls", "seeds", "folds"),
    *("parts", "believed", "simpler"),
    *("electrodes", "map", "benefit", "worth", "next", "foretold", "spaces"),
    *("transport", "shipped", "order", "trust", "efficiency", "noise", "taught"),
)
"""Names of questions, in the order of a report; others come behind them."""


@dataclass(frozen=True)
class Tables:
    """The tables of *all* questions, by the name of their file, read under one recipe.

    ``whole`` holds every recipe, ``tables[name]`` the rows of ``recipe`` only; the first of
    ``recipes`` is the primary one. ``tested`` says on how many records and patients all stands,
    ``classes`` what each class is called.
    """

    whole: Mapping[str, pd.DataFrame]
    recipes: tuple[str, ...]
    recipe: str
    tested: str
    classes: Mapping[str, str] = field(default_factory=lambda: CLASS_NAMES)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Give a table, cut down to the recipe where the table tells recipes apart."""
        table = self.whole[name]
        if "recipe" not in table:
            return table
        return table[table["recipe"] == self.recipe].reset_index(drop=True)

    def under(self, recipe: str) -> "Tables":
        """Read the same tables under another recipe."""
        return replace(self, recipe=recipe)


Folded: TypeAlias = Mapping[str, Callable[[Tables], Styler | None]]


@dataclass(frozen=True)
class Question:
    """One question, and everything that answers it.

    Attributes
    ----------
    name, title : str
        One word, what a notebook calls it by; and the question itself, a heading.
    reading : callable
        From `Tables` to Markdown: what to take from them, or why the study cannot answer.
    tables : dict of str to callable
        Name on disk to a function of the evidence that gives the whole table (see `each_recipe`);
        without rows where the study cannot answer.
    figures : dict of str to callable
        Name on disk to a function of `Tables`; nothing where there is nothing to draw. What stands
        below, and what it shows in words, is in ``figures.yml``; the title where that lacks it.
    shown, folded : dict of str to callable
        Heading, the table's caption, to a function of `Tables` that gives a table for a page, or
        nothing: in the open, or folded away. Where headings name classes, ``folded`` is a function
        of `Tables` that gives such a mapping.
    report, note : callable, str
        The table of ``RESULTS.md``, by default the first of ``shown``, and how it is read.
    latex : dict of str to callable
        File name to a function of `Tables` and of the sentence on what they stand.
    elsewhere : dict of str to callable
        What other pages of the book show, by the name under which they find it.
    only_csv : tuple of str
        Tables with many rows that exist to be drawn: in no JSON document.
    about : {"study", "ablation", "map", "elsewhere", "noise", "fallen"}
        What kind of evidence it is asked of.
    """

    name: str
    title: str
    reading: Callable[[Tables], str]
    tables: Mapping[str, Callable[[Any], pd.DataFrame]] = field(default_factory=dict)
    figures: Mapping[str, Callable[[Tables], "Figure | None"]] = field(default_factory=dict)
    shown: Mapping[str, Callable[[Tables], Styler | None]] = field(default_factory=dict)
    folded: Folded | Callable[[Tables], Folded] = field(default_factory=dict)
    report: Callable[[Tables], Styler | None] | None = None
    note: str = ""
    latex: Mapping[str, Callable[[Tables, str], str]] = field(default_factory=dict)
    elsewhere: Mapping[str, Callable[[Tables], "Styler | Figure"]] = field(default_factory=dict)
    only_csv: tuple[str, ...] = ()
    about: str = "study"


@cache
def questions(about: str = "study") -> tuple[Question, ...]:
    """Find the questions that are asked of a study, or of an ablation, in their order.

    Two questions of one name, or that write one table, are refused.
    """
    found: dict[tuple[str, str], Question] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if not isinstance(value, Question) or value.about != about:
                continue
            for what in (("question", value.name), *(("table", name) for name in value.tables)):
                home = found.setdefault(what, value)
                if home is not value:
                    raise LeadminError(
                        f"questions/{module.name}.py: there is a {what[0]} {what[1]!r} already, in "
                        f"the question {home.name!r}; valid: a name of its own; rename it"
                    )
    asked = {name: question for (what, name), question in found.items() if what == "question"}
    listed = [asked.pop(name) for name in ORDER if name in asked]
    return (*listed, *(asked[name] for name in sorted(asked)))


@cache
def figure_words() -> dict[str, dict[str, str]]:
    """Read what is said of each figure, by its name on disk.

    Its ``caption``, what it shows (``alt``), and what its ``note`` adds to the number of records.
    """
    path = Path(__file__).with_name("figures.yml")
    return read_yaml(path, "words of figures", "the file that comes with the package")


def study_tables(evidence: "Evidence", about: str = "study") -> dict[str, pd.DataFrame]:
    """Compute every table of a study or an ablation, the recipes one below the other."""
    return {
        name: table(evidence)
        for question in questions(about)
        for name, table in question.tables.items()
    }


def read_tables(evidence: "Evidence", tables: Mapping[str, pd.DataFrame]) -> Tables:
    """Read the tables of a study under its primary recipe."""
    tested = f"{evidence.n_records:,} test records, {evidence.n_patients:,} patients"
    for table in tables.values():
        table.attrs[P_FLOOR] = 2 / (evidence.n_resamples + 1)  # two-sided
    recipe = evidence.recipes[0]
    return Tables(tables, evidence.recipes, recipe, tested, evidence.class_names)


def of(name: str, make: Callable[..., T], *arguments: Any) -> Callable[[Tables], T | None]:
    """Make something of one table; nothing where that has no rows."""

    def made(tables: Tables) -> T | None:
        return make(tables[name], *arguments) if len(tables[name]) else None

    return made


def diagnoses(classes: Iterable[str]) -> tuple[str, ...]:
    """List what can be missed: of the superclasses all but the first, which is the normal ECG."""
    names = tuple(classes)
    return names[1:] if are_superclasses(names) else names


FOLLOWED = ("12-lead", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II")
"""The configurations that are looked into where all of them would be too many."""


def mean_of(estimates: Iterable[Estimate]) -> Estimate:
    """Average estimates of the same resamples."""
    return combine(lambda *each: np.mean(each, axis=0), *estimates)


def smaller_sets(count: int) -> str:
    """Write a number of sets with fewer leads."""
    return "one smaller set" if count == 1 else f"{count} smaller sets"


OTHER_CLASSES = (
    f"Not asked: this is about the five superclasses of PTB-XL ({', '.join(CLASSES)}), and these "
    "runs tell other classes apart."
)
"""What a question says that the original study's classes are in."""


def about_superclasses(
    table: Callable[["Evidence"], pd.DataFrame],
) -> Callable[["Evidence"], pd.DataFrame]:
    """Make a table only of runs that tell the five superclasses apart; without rows of others."""
    return lambda evidence: (
        table(evidence) if are_superclasses(evidence.classes) else pd.DataFrame()
    )


def read_of_superclasses(reading: Callable[[Tables], str]) -> Callable[[Tables], str]:
    """Read something only of runs that tell the five superclasses apart; else say why not."""
    return lambda tables: reading(tables) if are_superclasses(tables.classes) else OTHER_CLASSES


def each_recipe(
    table: Callable[["Evidence", str], pd.DataFrame],
) -> Callable[["Evidence"], pd.DataFrame]:
    """Make a table of all recipes, one below the other, of a table of one."""

    def stacked(evidence: "Evidence") -> pd.DataFrame:
        made = [table(evidence, recipe) for recipe in evidence.recipes]
        with_rows = [one for one in made if len(one)]
        return pd.concat(with_rows, ignore_index=True) if with_rows else pd.DataFrame()

    return stacked


def first_two_recipes(
    table: Callable[["Evidence", str, str], pd.DataFrame],
) -> Callable[["Evidence"], pd.DataFrame]:
    """Make a table of a table that sets two recipes against each other; empty with one recipe."""
    return lambda evidence: (
        table(evidence, *evidence.recipes[:2]) if len(evidence.recipes) > 1 else pd.DataFrame()
    )


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for the false discovery rate; NaN stays NaN and does not count."""
    p = np.array(p_values, dtype=np.float64)
    defined = ~np.isnan(p)
    if defined.any():
        p[defined] = false_discovery_control(p[defined], method="bh")
    return p


CORRECTIONS = {"holm": resampling.holm, "bh": benjamini_hochberg}


def corrected(
    table: pd.DataFrame, p: str = "p", by: str | None = None, method: str = "holm"
) -> pd.DataFrame:
    """Put corrected p values, ``<p>_<method>``, behind a column of p values.

    By one of `CORRECTIONS`, over all rows or over those that share their value of ``by``.
    """
    if len(table):
        groups = table[p].groupby(table[by] if by else np.zeros(len(table)))
        adjusted = groups.transform(lambda values: CORRECTIONS[method](values))
        table.insert(table.columns.tolist().index(p) + 1, f"{p}_{method}", adjusted)
    return table


def with_firm(table: pd.DataFrame, by: str, not_asked: str = "") -> pd.DataFrame:
    """Add ``firm``: the verdict that all asked rows of one ``by`` share, or `DEPENDS`."""
    if table.empty:
        return table
    each = table["verdict"].replace(not_asked, np.nan).groupby(table[by])
    firm = each.transform("first").where(each.transform("nunique") < 2, DEPENDS)
    return table.assign(firm=firm.fillna(not_asked))


DEPENDS = "depends on the reading"
"""Where label policies or kinds of interval lead to different verdicts."""


def bounds_named(table: pd.DataFrame) -> pd.DataFrame:
    """Call ``low`` and ``high`` by the difference that they are the interval of."""
    return table.rename(columns={"low": "difference_low", "high": "difference_high"})
