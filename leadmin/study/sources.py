"""Where records come from: the embedded sample, an archive, a prepared file."""

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


def prepared_path(source: Path, sampling_rate: int, folder: Path = Path("outputs/data")) -> Path:
    """Name the HDF5 file that a source is prepared into, without what means something in a rule."""
    stem = re.sub(r"[^\w.-]", "-", source.name.removesuffix(".zip"))
    return folder / f"{stem}-{sampling_rate}hz.h5"


def open_dataset(data: str, sampling_rate: int = 100) -> EcgDataset:
    """Open what the parameter ``data`` of a notebook names.

    That is a prepared HDF5 file; or an archive or folder of PTB-XL, which is prepared first, once,
    into ``outputs/data`` at ``sampling_rate`` Hz; or empty for the embedded sample, wherever the
    caller stands.
    """
    path = Path(data) if data else embedded_sample()
    if path.suffix in {".h5", ".hdf5"}:
        return load_dataset(path)
    target = prepared_path(path, sampling_rate)
    if not data:  # the sample lies in the source tree, and what is made of it belongs there too
        target = SOURCE_TREE / target
    prepare(path, target, sampling_rate)
    return load_dataset(target)
