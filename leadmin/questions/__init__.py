"""What a study is asked: one file a question, with its tables, its figures and their reading.

A file of this folder that ends in ``QUESTION = Question(...)`` is a question. Nothing else has to
be told about it: the tables on disk, the report, the page and the paper loop over `questions`. Its
place in the argument of a notebook is a call of `leadmin.publish.page.Answers.show`; one that no
notebook names is shown at the end of the page.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from leadmin.evidence.scores import Evidence

Tables: TypeAlias = Mapping[str, pd.DataFrame]
"""Tables by the name of their file, without suffix."""


@dataclass(frozen=True)
class Question:
    """One question, and everything that answers it.

    Attributes
    ----------
    name : str
        One word, as in the name of its file.
    title : str
        The question itself, a heading.
    tables : dict of str to callable
        Name on disk to a function of the evidence that gives the whole table, the recipes one below
        the other (see `each_recipe`); without rows where the study cannot answer.
    reading : callable
        From the tables of *all* questions, cut down to the primary recipe, to Markdown: what a
        reader should take from them. Says so where the study cannot answer.
    figures : dict of str to callable
        Name on disk to a function of the same tables; gives nothing where there is nothing to draw.
    shown : dict of str to callable
        Heading to a function of the same tables that gives what a page shows as a table (a pandas
        Styler), or nothing. The first is the main one, the others are folded away.
    latex : dict of str to callable
        File name to a function of the complete tables and of the sentence on what they stand
        that gives a LaTeX table.
    place : int
        Order among the questions.
    about : {"study", "ablation"}
        What kind of evidence it is asked of.
    """

    name: str
    title: str
    tables: Mapping[str, Callable[["Evidence"], pd.DataFrame]]
    reading: Callable[[Tables], str]
    figures: Mapping[str, Callable[[Tables], "Figure | None"]] = field(default_factory=dict)
    shown: Mapping[str, Callable[[Tables], Any]] = field(default_factory=dict)
    latex: Mapping[str, Callable[[Tables, str], str]] = field(default_factory=dict)
    place: int = 100
    about: str = "study"


def each_recipe(
    table: Callable[["Evidence", str], pd.DataFrame],
) -> Callable[["Evidence"], pd.DataFrame]:
    """Make a table of all recipes, one below the other, of a table of one."""

    def stacked(evidence: "Evidence") -> pd.DataFrame:
        made = [table(evidence, recipe) for recipe in evidence.recipes]
        with_rows = [one for one in made if len(one)]
        return pd.concat(with_rows, ignore_index=True) if with_rows else pd.DataFrame()

    return stacked


@cache
def questions(about: str = "study") -> tuple[Question, ...]:
    """Find the questions that are asked of a study, or of an ablation, in their order."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    found = [module.QUESTION for module in modules if hasattr(module, "QUESTION")]
    return tuple(sorted((q for q in found if q.about == about), key=lambda q: (q.place, q.name)))


def primary(tables: Tables) -> dict[str, pd.DataFrame]:
    """Keep of each table the rows of the recipe that comes first."""
    return {
        name: table[table["recipe"] == table["recipe"].iloc[0]].reset_index(drop=True)
        if len(table) and "recipe" in table
        else table
        for name, table in tables.items()
    }
