"""How fast records become one HDF5 file, against a plain loop over ``wfdb.rdrecord``.

    python benchmarks/prepare.py --from ARCHIVE

``ARCHIVE`` is PTB-XL, zip or unpacked folder. Both ways are timed on the same records, and it is
checked that they wrote the same signals; the plain loop reads an unpacked copy, since the WFDB
library reads no zip files. `workflow/repeat_archive.py` makes archives of other sizes, and
`workflow/measure_full_size.py` says how much memory one takes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import wfdb

from leadmin.data import ptbxl
from leadmin.data.archive import FolderArchive
from leadmin.data.dataset import load_dataset
from leadmin.data.fetch import fetch
from leadmin.labels import LABEL_POLICIES

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "ptb-xl-sample.zip"

_PREPARE = """
import sys, time
from pathlib import Path
from leadmin.data.prepare import prepare
start = time.perf_counter()
prepare(Path(sys.argv[1]), Path(sys.argv[2]), n_jobs=int(sys.argv[3]), quiet=True)
print(time.perf_counter() - start, time.process_time())
"""


def plain_loop(folder: Path, target: Path) -> tuple[float, float]:
    """Write the same arrays with nothing but the WFDB library and h5py; give wall and CPU time."""
    start, cpu = time.perf_counter(), time.process_time()
    table = ptbxl.read_table(FolderArchive(folder))
    superclasses = ptbxl.read_superclasses(FolderArchive(folder))
    names = table.files[100]
    signals = np.empty((len(names), 12, 1000), dtype=np.int16)
    for row, name in enumerate(names):
        record = wfdb.rdrecord(str(folder / name))
        signals[row] = np.rint(record.p_signal.T * 1000)
    with h5py.File(target, "w") as file:
        file["signals"] = signals
        for name in ("record_id", "patient_id", "fold", "age", "sex"):
            file[name] = getattr(table, name)
        for policy in LABEL_POLICIES:
            file[f"labels/{policy}"] = ptbxl.label_matrix(table.statements, superclasses, policy)
        for name, column in table.metadata.items():
            text = column.dtype.kind not in "if"
            file[f"metadata/{name}"] = column.to_numpy("S" if text else None)
    return time.perf_counter() - start, time.process_time() - cpu


def run_prepare(source: Path, target: Path, n_jobs: int) -> tuple[float, float]:
    """Prepare in a fresh process; give the wall time from the call on, and CPU time.

    That is the CPU time of the first process, imports included: with one job all there is, and
    steadier than wall time on a busy machine.
    """
    command = [sys.executable, "-c", _PREPARE, str(source), str(target), str(n_jobs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, cpu_seconds = map(float, done.stdout.split())
    return seconds, cpu_seconds


def compare(source: Path, scratch: Path, repeats: int) -> None:
    """Time both ways on the same records, alternating, and print the ratio of the medians."""
    folder = fetch(scratch / "unpacked", str(source), quiet=True).folder
    plain: list[tuple[float, float]] = []
    ours: dict[str, list[tuple[float, float]]] = {}
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for _ in range(repeats):
        plain.append(plain_loop(folder, scratch / "plain.h5"))
        for label, path, n_jobs in (
            ("folder, 1 process", folder, 1),
            ("zip, 1 process", source, 1),
            (f"folder, {jobs} processes", folder, jobs),
            (f"zip, {jobs} processes", source, jobs),
        ):
            if path.is_dir() and label.startswith("zip"):
                continue
            (scratch / "ours.h5").unlink(missing_ok=True)
            took = run_prepare(path, scratch / "ours.h5", n_jobs)
            ours.setdefault(label, []).append(took)
    data = load_dataset(scratch / "ours.h5")
    with h5py.File(scratch / "plain.h5") as file:
        same = np.array_equal(file["signals"][:], data.signals)
    if not same:
        raise SystemExit("the two files hold different signals")
    n = len(data)
    base, base_cpu = (float(value) for value in np.median(plain, axis=0))
    print(f"{n} records, medians of {repeats}; both files hold the same signals")
    print(f"{'':<28} {'wall s':>7} {'records/s':>10} {'ratio':>6} {'CPU s':>7} {'ratio':>6}")
    print(f"{'wfdb.rdrecord loop':<28} {base:7.2f} {n / base:10.0f} {1:6.1f} {base_cpu:7.2f}")
    for label, times in ours.items():
        wall, cpu = (float(value) for value in np.median(times, axis=0))
        alone = f" {cpu:7.2f} {base_cpu / cpu:6.1f}" if ", 1 process" in label else ""
        print(f"{'prepare, ' + label:<28} {wall:7.2f} {n / wall:10.0f} {base / wall:6.1f}{alone}")
    start = time.perf_counter()
    load_dataset(scratch / "ours.h5")
    print(f"{'load_dataset':<24} {time.perf_counter() - start:7.2f} s")
    before = psutil.Process().memory_info().rss
    again = load_dataset(scratch / "ours.h5")
    held = psutil.Process().memory_info().rss - before
    print(f"memory held {held / 1e6:.0f} MB for {again.signals.nbytes / 1e6:.0f} MB of signals")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, default=SAMPLE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        compare(options.source, Path(scratch), options.repeats)


if __name__ == "__main__":
    main()
