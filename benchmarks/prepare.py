"""How fast records become one HDF5 file, against a plain loop over ``wfdb.rdrecord``.

Run it with an archive of PTB-XL, zip or unpacked folder:

    python benchmarks/prepare.py --from ARCHIVE
    python benchmarks/prepare.py --from ARCHIVE --scale 5450,10900,21799

The first form times both on the same records, checks that they wrote the same signals, and prints
the ratio; the plain loop reads an unpacked copy, since the WFDB library reads no zip files. The
second makes archives of the given sizes by repeating records under new ids, and prints how time
and memory grow.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
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

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample" / "ptb-xl-sample.zip"
REPEAT = ROOT / "workflow" / "repeat_archive.py"

_PREPARE = """
import os, sys, time
from pathlib import Path
from leadmin.data.prepare import prepare
start = time.perf_counter()
report = prepare(Path(sys.argv[1]), Path(sys.argv[2]), n_jobs=int(sys.argv[3]), quiet=True)
print(report.n_records, time.perf_counter() - start, time.process_time())
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


def run_prepare(source: Path, target: Path, n_jobs: int) -> dict[str, float]:
    """Prepare in a fresh process; give records, seconds and the peak memory of all processes.

    ``seconds`` starts with the call. ``cpu_seconds`` is the CPU time of the first process, imports
    included: with one job all there is, and steadier than wall time on a busy machine.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _PREPARE, str(source), str(target), str(n_jobs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        while not stop.is_set():
            try:
                family = [tree, *tree.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    stop.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"prepare failed with exit code {process.returncode}")
    n_records, seconds, cpu_seconds = output.split()
    return {
        "records": int(n_records),
        "seconds": float(seconds),
        "cpu_seconds": float(cpu_seconds),
        "peak_mb": peak / 1e6,
    }


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
            run = run_prepare(path, scratch / "ours.h5", n_jobs)
            ours.setdefault(label, []).append((run["seconds"], run["cpu_seconds"]))
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


def scale(source: Path, scratch: Path, sizes: list[int], n_jobs: int) -> None:
    """Print time and peak memory for archives of growing size."""
    print(f"{'records':>8} {'seconds':>8} {'ms/record':>10} {'peak MB':>8} {'load s':>7}")
    for n_records in sizes:
        archive = scratch / f"{n_records}.zip"
        repeated = [REPEAT, "--from", source, "--to", archive, "--records", str(n_records)]
        subprocess.run([sys.executable, *repeated], check=True)
        run = run_prepare(archive, scratch / "scale.h5", n_jobs)
        start = time.perf_counter()
        data = load_dataset(scratch / "scale.h5")
        seconds = time.perf_counter() - start
        assert len(data) == n_records
        del data
        archive.unlink()
        print(
            f"{n_records:>8} {run['seconds']:>8.2f} {1e3 * run['seconds'] / n_records:>10.3f} "
            f"{run['peak_mb']:>8.0f} {seconds:>7.2f}",
            flush=True,
        )
        print(json.dumps(run), file=sys.stderr)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, default=SAMPLE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scale", help="comma list of archive sizes")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        if options.scale:
            sizes = [int(size) for size in options.scale.split(",")]
            scale(options.source, Path(scratch), sizes, options.jobs)
        else:
            compare(options.source, Path(scratch), options.repeats)


if __name__ == "__main__":
    main()
