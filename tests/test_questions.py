"""A question has one home: a file is all it takes, and what is wrong with one is said."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from evidence_fixtures import gathered, synthetic_runs, with_groups, with_original_on, write_runs
from matplotlib.figure import Figure
from trouble import refused

import leadmin.questions
from leadmin.evidence.scores import gather
from leadmin.publish import page
from leadmin.publish.page import Answers, described
from leadmin.questions import questions, read_tables, study_tables
from leadmin.study.run import load_runs

TOY = '''
"""How many records have no finding at all?"""

import pandas as pd

from leadmin.questions import Question, each_recipe
from leadmin.show.style import panels
from leadmin.show.words import reading_table


def unlabelled(evidence, recipe):
    count = int((evidence.labels.sum(axis=1) == 0).sum())
    return pd.DataFrame([{"recipe": recipe, "n_unlabelled": count}])


def bar(tables):
    figure, axis = panels(1)
    axis.bar(0, tables["unlabelled"]["n_unlabelled"])
    return figure


TOY = Question(
    name="toy",
    title="How many records have no finding at all?",
    tables={"unlabelled": each_recipe(unlabelled)},
    reading=lambda tables: f"They are *{tables['unlabelled']['n_unlabelled'].iloc[0]}*.",
    figures={"toy_figure": bar},
    shown={
        "Unlabelled": lambda tables: reading_table(
            tables["unlabelled"], {"n_unlabelled": "without any finding"}
        )
    },
)
'''


@pytest.fixture
def added(monkeypatch, tmp_path):
    """A folder that is searched for questions too."""
    paths = [*leadmin.questions.__path__, str(tmp_path)]
    monkeypatch.setattr(leadmin.questions, "__path__", paths)
    questions.cache_clear()
    yield tmp_path
    questions.cache_clear()
    sys.modules.pop("leadmin.questions.toy", None)


def test_a_question_is_added_by_adding_its_file(root, added, tmp_path_factory, monkeypatch):
    """In the tables on disk, the report, the document and the page, and no other file knows it."""
    (added / "toy.py").write_text(TOY)
    folder, shown = tmp_path_factory.mktemp("toy"), []
    runs = synthetic_runs(200, 1, ("default",), ("12-lead", "2-lead-I-II"))
    write_runs(runs, folder / "runs", "holdout")
    count = int((runs["12-lead"].test.labels.sum(axis=1) == 0).sum())
    evidence = gather(load_runs(folder / "runs"), n_resamples=40)
    answers = Answers(evidence, folder / "figures", described(evidence, "toy", "Toy"))

    answers.write(folder)
    assert pd.read_csv(folder / "unlabelled.csv")["n_unlabelled"].tolist() == [count]
    document = json.loads((folder / "results_final.json").read_text(encoding="utf-8"))
    assert document["tables"]["unlabelled"] == [{"recipe": "default", "n_unlabelled": count}]
    report = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert f"## How many records have no finding at all?\n\nThey are *{count}*.\n\n|" in report

    cells = (root / "notebooks" / "04_analysis.py").read_text(encoding="utf-8")
    assert "\nanswers.show_rest()\n" in cells
    answers._shown |= set(re.findall(r'answers\.show\("(\w+)"\)', cells))
    monkeypatch.setattr(page, "display", lambda *outputs: shown.extend(outputs))
    monkeypatch.setattr(page, "glue", lambda _, reading: shown.append(reading))
    answers.show_rest()
    heading, title, reading, figure, words, table = shown
    assert heading._repr_html_().startswith("<p>What else is asked")
    assert "How many records have no finding at all?" in words.data
    assert "<strong>How many records have no finding at all?</strong>" in title._repr_html_()
    assert f"<em>{count}</em>" in reading._repr_html_()
    assert isinstance(figure, Figure)
    assert "without any finding" in table._repr_html_()
    assert (folder / "figures" / "toy_figure.pdf").is_file()
    answers.show_rest()
    assert len(shown) == 6, "of nothing else nothing is said"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name="toy"', 'name="margins"', r"toy\.py: there is a question 'margins' already"),
        ('"unlabelled": each', '"main": each', "table 'main' already, in .* 'configurations'"),
    ],
)
def test_two_questions_of_one_name_or_table_are_refused(added, old, new, message):
    (added / "toy.py").write_text(TOY.replace(old, new))
    refused(message, questions)


NAMES = ("12-lead", "6-lead-limb", "3-lead-I-II-V2", "2-lead-I-II", "1-lead-II")


def _evidence(case):
    if case == "a single run":
        return gathered(["1-lead-II"], 150, 30)
    if case == "no twelve leads":
        return gathered(["1-lead-II", "1-lead-I"], 150, 30, ("default", "original"))
    runs = with_original_on(synthetic_runs(300, 1, strength=NAMES, folds=(9, 10)), NAMES[:1])
    half = np.where(np.arange(300) < 200, "first", "second")
    return with_groups(gather(runs, n_resamples=30), half=half)


@pytest.mark.parametrize("case", ["a single run", "no twelve leads", "a recipe on one run"])
def test_every_question_is_answered_or_says_why_not(case):
    """Under every recipe there is a sentence, and no figure, table or number that means nothing."""
    evidence = _evidence(case)
    primary = read_tables(evidence, study_tables(evidence))
    for recipe in evidence.recipes:
        tables = primary.under(recipe)
        for question in questions():
            reading = question.reading(tables)
            assert reading.endswith((".", "**")), question.name
            assert "nan" not in reading, question.name
            made = (*question.shown.values(), *question.folded.values(), question.report)
            for table in (make(tables) for make in made if make is not None):
                if table is not None:
                    assert len(table.data), question.name
                    assert not table.data.isin(["nan"]).any(axis=None), question.name
    for question in questions():
        for make in question.figures.values():
            if (figure := make(primary)) is not None:
                figure.draw_without_rendering()


def test_a_question_that_is_not_asked_is_named_with_those_that_are(tmp_path):
    answers = Answers(_evidence("a single run"), tmp_path)
    refused("question 'margin': it is not asked; valid: answer, ", answers.show, "margin")
    refused("give a description", answers.basis)
