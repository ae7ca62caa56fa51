"""What a notebook measured, in its prose: spelled once, for JupyterLab and for the book.

A local Sphinx extension. In JupyterLab ``jupyterlab-myst`` asks the kernel for what stands in
``{eval}`facts.n_records` `` or, with a format, in ``{eval}`f"{facts.share:.0%}"` ``. No kernel runs
when the book is built: it looks up what the executed notebook kept under that name. A figure
without a file that ends with such a role shows the figure of that name::

    ```{figure}
    :name: fig-folds
    The caption.

    {eval}`facts.folds`
    ```
"""

import re
from typing import Any

from docutils import nodes
from myst_nb.ext.glue.directives import PasteFigureDirective
from myst_nb.ext.glue.roles import PasteTextRole
from myst_nb.ext.glue.utils import glue_warning
from sphinx.application import Sphinx
from sphinx.directives.patches import Figure

FACT = re.compile(r'facts\.(\w+)|f"\{facts\.(\w+)(:[^{}:"]+)\}"')
SHOWN = re.compile(r"\{eval\}`facts\.(\w+)`")


class Fact(PasteTextRole):
    """A value by its name, with a format if one is given."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look the value up; anything but a name and a format is refused."""
        found = FACT.fullmatch(self.text)
        if not found:
            wrong = f'eval {self.text!r}; valid: facts.NAME or f"{{facts.NAME:FORMAT}}"; change it'
            return [], [glue_warning(wrong, self.document, self.line)]
        self.text = found[1] or found[2] + found[3]
        return super().run()


class FactFigure(Figure):
    """A figure from a file, as ever, or from the notebook where no file is named."""

    required_arguments, optional_arguments = 0, 1

    def run(self) -> list[nodes.Node]:
        """Show the file, or what the last line of the content names."""
        if self.arguments:
            return super().run()
        found = SHOWN.fullmatch(self.content[-1].strip()) if self.content else None
        if not found:
            raise self.error("a figure names a file, or ends with {eval}`facts.NAME`")
        shown = PasteFigureDirective(
            self.name, [found[1]], self.options, self.content[:-1], self.lineno,
            self.content_offset, self.block_text, self.state, self.state_machine,
        )  # fmt: skip
        return shown.run()


def setup(app: Sphinx) -> dict[str, Any]:
    """Put both in the place of those that need a running kernel or a file."""
    app.setup_extension("myst_nb")
    app.add_role("eval", Fact(), override=True)
    app.add_directive("figure", FactFigure, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
