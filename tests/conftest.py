"""Real records, a built book and a browser, for every test that needs some.

What takes long to import is imported where it is used: xdist's first process, which all workers
wait for, only hands out the tests.
"""

import os
import shutil
from pathlib import Path

# Before NumPy is there: its threads, in every process, would wait for the core of another worker.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent

FIRST = ("workflow", "notebooks", "study", "shipped", "training", "tables", "stranger", "browser")
"""The files that take longest; begun last, one of them would keep a worker busy alone. When it is
the browser's turn, another worker has built the book for the workflow's."""


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tree(root, tmp_path_factory):
    from trees import Tree

    return Tree(root, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Have a file or folder made that every worker reads: the first makes it, others wait."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def made(name, make) -> Path:
        with FileLock(folder / f"{name}.lock", is_singleton=True):
            if not (folder / name).exists():
                make(folder / name)
        return folder / name

    return made


@pytest.fixture(scope="session")
def built(tree, once):
    """The tree's study run as `make book` runs one; its book is there for other workers too."""
    results = []

    def build(book):
        results.append(tree.ran("--all"))
        shutil.copytree(tree.out / "book" / "html", book)

    once("book", build)
    return results[0] if results else tree.ran("--all")


@pytest.fixture(scope="session")
def sample_file(once) -> Path:
    from leadmin.data.prepare import prepare

    return once("sample.h5", lambda to: prepare(ROOT / "data/sample/ptb-xl-sample.zip", to))


@pytest.fixture(scope="session")
def sample(sample_file):
    from leadmin.data.dataset import load_dataset

    return load_dataset(sample_file)


@pytest.fixture(scope="session")
def small(sample):
    """Twenty labelled records of every fold, each class among them."""
    chosen = []
    for fold in range(1, 11):
        labelled = np.flatnonzero((sample.fold == fold) & sample.labels["likelihood50"].any(axis=1))
        n_findings = sample.labels["likelihood50"][labelled, 1:].sum(axis=1).astype(int)
        rare = labelled[np.argsort(-n_findings)]
        normal = labelled[sample.labels["any"][labelled, 0] == 1]
        chosen += [*rare[:12], *normal[:8]]
    return sample.select(np.unique(chosen))


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium or google-chrome")
    with sync.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_tab(browser):
    """Open tabs that write down what goes wrong in them, such as a request that is not ``own``."""
    contexts = []

    def opened(own, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # the machine may have other work
        page.wrong, near = [], (own, "data:", "blob:")
        page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda a: a.url.startswith(near) or page.wrong.append(a.url))
        page.on("response", lambda r: page.wrong.append(r.url) if r.status >= 400 else None)
        return page

    yield opened
    for context in contexts:
        context.close()
