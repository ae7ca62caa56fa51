"""What counts as the same run, and which code stands behind a page."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from leadmin.net.recipes import RECIPES
from leadmin.study import identity
from leadmin.study.identity import PACKAGE, bare_code, code_behind, module_file, start_sha256


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package whose code is hashed in place of the real one."""
    folder = tmp_path / "leadmin"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "PACKAGE", folder)
    return folder


fresh_hash = identity.code_sha256.__wrapped__
"""It reads the files again."""


def test_code_counts_and_a_comment_or_a_docstring_does_not(copied):
    before = fresh_hash()
    quiet = {
        "import torch\n": "import torch  # a comment\n",
        "\nimport torch\n": "\n# a line of its own\n\nimport torch\n",
        '"""Train one network.': '"""Train a single network.',
    }
    names = ("net/fit", "net/model", "data/dataset", "metrics", "study/run")
    for name, old, new, counts in (
        *(("net/fit", old, new, False) for old, new in quiet.items()),
        *((name, "", "ADDED = 1\n", True) for name in names),
    ):
        path = copied / f"{name}.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert (fresh_hash() != before) == counts, (name, new)
        path.write_text(text, encoding="utf-8")
    # a new module, too, but of the evidence
    (copied / "evidence" / "new.py").write_text("ADDED = 1\n")
    assert fresh_hash() == before
    (copied / "net" / "new.py").write_text("ADDED = 1\n")
    assert fresh_hash() != before


def test_only_strings_that_stand_alone_are_left_out():
    assert bare_code('"""a"""\nx = "b"\n') == bare_code("x = 'b'  # c\n")
    assert bare_code("x = 'b'\n") != bare_code("x = 'c'\n")
    nested = "def f():\n    if x:\n        '''why'''\n        y()\n    else:\n        z()\n"
    assert bare_code(nested) == bare_code(nested.replace("        '''why'''\n", ""))


def test_everything_that_counting_code_imports_counts_or_has_a_reason():
    counted = set(identity.hashed_files())
    excepted = {module_file(name) for name in identity.NOT_HASHED}
    for path in counted:
        stray = identity.imported_files(path) - counted - excepted
        assert not stray, f"{path} imports {stray}, which neither counts nor has a reason"
    assert {module_file("net/fit"), module_file("net/model"), module_file("leads")} <= counted
    for name, reason in identity.NOT_HASHED.items():
        assert module_file(name).is_file(), f"{name} is gone"
        assert len(reason) > 10
    assert all((PACKAGE / name).is_dir() or module_file(name).is_file() for name in identity.HASHED)


def test_the_code_behind_a_page_is_everything_that_it_imports(root):
    def names(notebook):
        found = code_behind(root / "notebooks" / f"{notebook}.py")
        return {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in found}

    assert {"net/model", "net/fit", "metrics", "show/style"} <= names("02_resnet")
    assert {"net/fit", "study/train", "evidence/scores", "show/words"} <= names("03_training")
    assert {"evidence/resampling", "questions/lrs", "publish/results"} <= names("04_analysis")
    assert not [name for name in names("03_training") if name.startswith(("cli", "publish"))]


def test_a_folder_that_is_imported_itself_counts_as_a_whole(tmp_path):
    for text in ("from leadmin.questions import questions", "import leadmin.questions"):
        (tmp_path / "page.py").write_text(text)
        assert set((PACKAGE / "questions").glob("*.py")) <= set(code_behind(tmp_path / "page.py"))
    (tmp_path / "page.py").write_text("from leadmin.questions import lrs")
    assert identity.imported_files(tmp_path / "page.py") == {
        PACKAGE / "questions" / "__init__.py",
        PACKAGE / "questions" / "lrs.py",
    }


def test_what_a_recipe_is_and_which_records_there_are_stands_in_the_identity(small):
    def of(recipe, dataset=small, seeds=1):
        return identity.trained_identity("1-lead-I", "holdout", "any", [(recipe, seeds)], dataset)

    recipe = RECIPES["scratch"]
    one = of(recipe)
    assert one == of(replace(recipe))
    assert one["recipes"]["scratch"]["window"] == 250
    for other in (
        of(replace(recipe, noise=0.2)),
        of(replace(recipe, architecture=replace(recipe.architecture, dropout=0.31))),
        of(recipe, small.select(np.arange(50))),
        of(recipe, replace(small, attributes=small.attributes | {"content_sha256": "0"})),
    ):
        assert other != one
        assert start_sha256(other) != start_sha256(one)
    more = of(recipe, seeds=2)
    assert more != one
    assert start_sha256(more) == start_sha256(one)  # its first network is the same
