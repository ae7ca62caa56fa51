"""Time and memory of each step of the study at full size, as a table.

    python workflow/measure_full_size.py --from outputs/full-size/ptb-xl.zip

The steps: fetch from a server of this machine, prepare, and under both protocols one epoch of all
configurations, the analysis, the map of electrode sets, the book. Each appends its row to a CSV as
soon as it is done, so that steps may be measured apart; the memory is the largest sum over all
processes of a step, sampled five times a second. Run it on a machine that does nothing else.
"""

import argparse
import functools
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import psutil
import yaml

from leadmin.data import ptbxl
from leadmin.files import write_text
from leadmin.study.sources import prepared_path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "book" / "full_size.csv"
COLUMNS = (
    *("records", "step", "protocol", "seconds", "CPU seconds"),
    *("peak memory, MB", "written, MB", "date"),
)
MAP = "outputs/{}/notebooks/06_map.ipynb.sha256"
PROTOCOLS = ("holdout", "crossval")
STAGES = {"one epoch of all": "runs", "analysis": "tables", "map": MAP, "book": "all"}
"""Step to target of the workflow; each makes what the ones before have not."""


def served(folder: Path) -> str:
    """Serve a folder until the end of this process, and give its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def measured(command: list[str]) -> dict[str, str]:
    """Run a command to its end, and say how long it took and how much memory it held at once."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    before, started, peak = os.times(), time.perf_counter(), 0
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            held = 0
            for one in (root, *root.children(recursive=True)):
                try:
                    held += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, held)
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    after = os.times()
    return {
        "seconds": f"{time.perf_counter() - started:.0f}",
        "CPU seconds": f"{after[2] + after[3] - before[2] - before[3]:.0f}",
        "peak memory, MB": f"{peak / 1e6:.0f}",
    }


def n_bytes(folder: Path) -> int:
    """Add up the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def steps(archive: Path, folder: Path) -> dict[tuple[str, str], list[str]]:
    """Give the command of each step, by its name and protocol."""
    leadmin = [sys.executable, "-c", "from leadmin.cli.main import main; main()"]
    source = folder / f"ptb-xl-{folder.name}"
    address = f"{served(archive.parent)}/{archive.name}"
    found = {
        ("fetch", ""): [*leadmin, "data", "fetch", "--to", str(source), "--from", address],
        ("prepare", ""): [
            *(*leadmin, "data", "prepare", "--from", str(source)),
            *("--to", str(ROOT / prepared_path(source, 100))),
        ],
    }
    for protocol in PROTOCOLS:
        name = f"full-size-{folder.name}-{protocol}"
        study = {"name": name, "title": "Full size by repetition, one epoch", "source": str(source)}
        study |= {"protocol": protocol, "configurations": "all", "compare_with": ""}
        study |= {"map": "electrodes"}
        file = folder / f"{name}.yml"
        write_text(file, yaml.safe_dump(study | {"epochs": 1}))
        engine = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--quiet"]
        engine += ["--profile", "workflow/profiles/local", "--config", f"study={file}", "--"]
        found |= {
            (step, protocol): [*engine, target.format(name)] for step, target in STAGES.items()
        }
    return found


def main() -> None:
    """Measure the steps that the command line names, all by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="archive", type=Path, required=True, help="zip file")
    parser.add_argument(
        "--steps", nargs="+", choices=("fetch", "prepare", *STAGES), help="only these"
    )
    parser.add_argument("--to", type=Path, default=TABLE, help="CSV, where rows are added")
    chosen = parser.parse_args()
    archive = chosen.archive.resolve()
    outputs = ROOT / "outputs"
    with zipfile.ZipFile(archive) as zipped:
        n_records = len(zipped.read(f"{ptbxl.TOP_FOLDER}/{ptbxl.RECORDS_FILE}").split())
    folder = outputs / "full-size" / str(n_records)
    for (step, protocol), command in steps(archive, folder).items():
        if chosen.steps and step not in chosen.steps:
            continue
        before = n_bytes(outputs)
        row = {"records": str(n_records), "step": step, "protocol": protocol} | measured(command)
        row["written, MB"] = f"{(n_bytes(outputs) - before) / 1e6:.0f}"
        row["date"] = date.today().isoformat()
        table = pd.DataFrame([row], columns=COLUMNS)
        table.to_csv(chosen.to, mode="a", header=not chosen.to.exists(), index=False)


if __name__ == "__main__":
    main()
