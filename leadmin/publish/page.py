"""The answers of a study on the page of a notebook, question by question."""

from pathlib import Path

from IPython.display import Markdown, display
from myst_nb import glue

from leadmin.errors import LeadminError
from leadmin.evidence.basis import StudyDescription, basis
from leadmin.evidence.scores import Evidence
from leadmin.publish.results import write_publication_outputs, write_tables
from leadmin.questions import figure_words, questions, read_tables, study_tables
from leadmin.show.style import add_note, save_for_print
from leadmin.show.words import facts, folded, headed, legend, rendered


def described(evidence: Evidence, name: str, title: str) -> StudyDescription:
    """Describe a study by what its runs recorded of their data and settings."""
    recorded = evidence.runs[evidence.configs[0]].metrics
    settings, source = recorded["settings"], recorded["provenance"]["data"]
    return StudyDescription(
        name=name,
        title=title,
        data=f"{source['source']} {source['source_version']}, {source['n_records']:,} records",
        protocol=settings["protocol"],
        label_policy=settings["label_policy"],
    )


def resamples_in_words(evidence: Evidence) -> str:
    """Say in how many resamples a class was absent, so that macro averages lack it there."""
    often = [f"{name} in {count:,}" for name, count in evidence.absent_resamples().items() if count]
    if not often:
        return "Each class has records with and without it in every resample."
    return (
        "A resample may hold no record with a class, or none without it, and the macro average "
        f"then runs over the others: {', '.join(often)} of {evidence.n_resamples:,}."
    )


class Answers:
    """The answers to all questions that are asked of some evidence, computed once.

    Figures are saved for print in ``figures_folder``. ``description`` is what a reader must know to
    place the numbers of a study. The questions ``about`` study, ablation, map, elsewhere, noise or
    fallen are asked; their `tables` are read under the primary recipe.
    """

    def __init__(
        self,
        evidence: Evidence,
        figures_folder: Path,
        description: StudyDescription | None = None,
        about: str = "study",
    ) -> None:
        self.evidence = evidence
        self.tables = read_tables(evidence, study_tables(evidence, about))
        self._figures_folder = figures_folder
        self._description, self._about = description, about
        self._questions = {question.name: question for question in questions(about)}
        self._shown: set[str] = set()

    def basis(self) -> None:
        """Say on what the page stands."""
        if self._description is None:
            raise LeadminError("answers: nothing describes the study; give a description")
        words = basis(self.evidence, self._description)
        display(Markdown(f"{words} {resamples_in_words(self.evidence)}"))

    def show(self, name: str) -> None:
        """Show what answers a question: its reading, its figures, its tables.

        Figures are saved for print on the way. The reading gets the question's name, by which the
        prose of any page finds it.
        """
        if name not in self._questions:
            raise LeadminError(
                f"question {name!r}: it is not asked; valid: {', '.join(self._questions)}; choose "
                "one of them, or write its file in leadmin/questions"
            )
        self._shown.add(name)
        question = self._questions[name]
        glue(name, rendered(question.reading(self.tables)))
        unwritten = {"caption": question.title, "alt": f"A figure. {question.title}"}
        for file, draw in question.figures.items():
            if (figure := draw(self.tables)) is not None:
                words = figure_words().get(file, unwritten)
                notes = filter(None, [self.tables.tested, words.get("note")])
                save_for_print(add_note(figure, "; ".join(notes)), self._figures_folder, file)
                display(figure, legend(words["caption"], words["alt"]))
        for heading, make in question.shown.items():
            if (table := make(self.tables)) is not None:
                display(headed(heading, table))
        away = question.folded(self.tables) if callable(question.folded) else question.folded
        for heading, make in away.items():
            if (table := make(self.tables)) is not None:
                display(folded(heading, table))
        facts(**{key: give(self.tables) for key, give in question.elsewhere.items()})

    def show_rest(self) -> None:
        """Show the questions that the page has not shown so far, and say that it does."""
        rest = [name for name in self._questions if name not in self._shown]
        if rest:
            display(rendered("What else is asked, without a discussion here:"))
        for name in rest:
            display(rendered(f"**{self._questions[name].title}**"))
            self.show(name)

    def write(self, folder: Path) -> list[Path]:
        """Write the tables of a study as `write_publication_outputs` does, others as CSV."""
        if self._description is None or self._about != "study":
            return write_tables(self.tables.whole, folder)
        return write_publication_outputs(
            self.evidence, folder, self._description, self.tables.whole
        )
