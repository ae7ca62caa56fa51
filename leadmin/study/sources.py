"""Where records come from: the embedded sample, an archive, a prepared file."""

import json
import re
from pathlib import Path

from leadmin.data.dataset import EcgDataset, load_dataset
from leadmin.data.prepare import prepare
from leadmin.errors import LeadminError

SOURCE_TREE = Path(__file__).resolve().parents[2]
"""Where this package lies; the clone, if it was installed from one."""


def embedded_sample() -> Path:
    """Find the archive with real records that comes with the source tree, or say it is missing."""
    archive = SOURCE_TREE / "data" / "sample" / "ptb-xl-sample.zip"
    if not archive.is_file():
        raise LeadminError(
            f"{archive}: the embedded sample is not here; work in a clone of the repository, or "
            "give the path of PTB-XL as parameter data"
        )
    return archive


def located(folder: str) -> Path:
    """Find a folder from where the caller stands, or else from the source tree.

    JupyterLab starts a notebook in the notebook's own folder, papermill and the workflow in the
    one that they are called from.
    """
    path = Path(folder)
    elsewhere = SOURCE_TREE / path
    return elsewhere if not path.exists() and elsewhere.exists() else path


def home() -> Path:
    """Name the folder that ``outputs`` lies in: here, or the clone if here is its ``notebooks``."""
    return SOURCE_TREE if Path.cwd() == SOURCE_TREE / "notebooks" else Path()


def to_read(folder: str, own: str, published: str) -> tuple[Path, Path, dict[str, str]]:
    """Find what a notebook reads, where it writes, and how a published study is called.

    It reads the ``folder`` that its parameter names; without a name ``own`` in ``outputs``; where
    that is not there, ``published`` in ``book/published``, and says so. What is published stays as
    it is: tables and figures of it are written below ``outputs/adhoc``.
    """
    path, shipped = located(folder or f"outputs/{own}"), SOURCE_TREE / "book" / "published"
    if not folder and not path.exists() and (shipped / published).exists():
        path, study = shipped / published, own.partition("/")[0]
        print(
            f"outputs/{own} is not here, so this page shows what the book publishes. To make your "
            f"own, run `leadmin run --all --study workflow/studies/{study}.yml` first."
        )
    if shipped not in path.resolve().parents:
        return path, path.parent, {}
    described = json.loads((path.parent / "study.json").read_text(encoding="utf-8"))
    return path, home() / "outputs" / "adhoc" / path.resolve().parent.name, described


def prepared_path(source: Path, sampling_rate: int) -> Path:
    """Name the HDF5 file that a source is prepared into, without what means something in a rule."""
    stem = re.sub(r"[^\w.-]", "-", source.name.removesuffix(".zip"))
    return Path("outputs/data") / f"{stem}-{sampling_rate}hz.h5"


def open_dataset(data: str, sampling_rate: int = 100) -> EcgDataset:
    """Open what the parameter ``data`` of a notebook names.

    That is a prepared HDF5 file; or an archive or folder of PTB-XL, which is prepared first, once,
    into ``outputs/data`` at ``sampling_rate`` Hz; or empty for the embedded sample, wherever the
    caller stands.
    """
    path = Path(data) if data else embedded_sample()
    if path.suffix in {".h5", ".hdf5"}:
        return load_dataset(path)
    # the sample lies in the source tree, and what is made of it belongs there too
    target = (home() if data else SOURCE_TREE) / prepared_path(path, sampling_rate)
    prepare(path, target, sampling_rate)
    return load_dataset(target)
