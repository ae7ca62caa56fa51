"""A folder of pages, built with Sphinx as the book is: every warning is an error."""

from io import StringIO

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


def built_page(folder, **settings):
    """Build a folder; give the status, what was said, and the first page."""
    said, out = StringIO(), folder / "out"
    # Extensions add to the dictionary of suffixes: without one of its own they would add to
    # Sphinx's default, and one build would change the next.
    settings |= {"html_theme": "basic", "source_suffix": {".rst": "restructuredtext"}}
    with docutils_namespace():
        app = Sphinx(
            folder, None, out, folder / "trees", "html", settings,
            status=None, warning=said, warningiserror=True, keep_going=True,
        )  # fmt: skip
        app.build()
    return app.statuscode, said.getvalue(), (out / "index.html").read_text()
