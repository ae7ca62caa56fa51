"""On which data, with what, and on which machine a result was made."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from leadmin.data.dataset import EcgDataset
from leadmin.study.sources import SOURCE_TREE


def describe_data(dataset: EcgDataset) -> dict[str, Any]:
    """Say which data a result stands on: name, version, checksum, number of records."""
    keys = ("source", "source_version", "inputs_sha256", "content_sha256", "sampling_rate")
    described = {key: dataset.attributes[key] for key in keys}
    described["n_records"] = len(dataset.record_id)
    described["n_patients"] = len(np.unique(dataset.patient_id))
    return described


def describe_environment(
    device: torch.device | None = None, n_threads: int | None = None
) -> dict[str, Any]:
    """Say on what a result was made: machine, versions, state of the source code.

    Networks were trained on ``device`` (default: the processor), each fit on ``n_threads``
    (default: those of this process).
    """
    packages = ("torch", "numpy", "h5py", "wfdb", "scikit-learn", "papermill", "snakemake")
    on_gpu = device is not None and device.type == "cuda"
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "n_cores": os.cpu_count(),
        "n_threads": n_threads or torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(device) if on_gpu else None,
        "versions": {"leadmin": version("leadmin")} | {name: version(name) for name in packages},
        "git_commit": git_commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def git_commit() -> str | None:
    """Give the commit of the source tree, with ``+`` behind it if files were changed since."""
    if not (SOURCE_TREE / ".git").exists():
        return None
    command = ["git", "-C", str(SOURCE_TREE), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() or None
