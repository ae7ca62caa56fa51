"""Write ``requirements.lock`` and ``environment.yml`` from the packages of this environment.

The lock pins everything that is installed; ``environment.yml`` pins the packages that
``pyproject.toml`` asks for, to the same versions, inside a conda environment.
"""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK_HEAD = """\
# Exact versions that the study was developed and tested with; made by `make lock`.
# torch: a CPU or CUDA build, whichever the package index serves for this machine.
"""
ENVIRONMENT_HEAD = """\
# For conda users: `conda env create -f environment.yml`, then `pip install --no-deps -e .`
# The same versions as requirements.lock; made by `make lock`.
name: leadmin
channels: [conda-forge]
dependencies:
  - python >=3.11
  - git
  - make
  - pip
  - pip:
"""


def normal(name: str) -> str:
    """Spell a package name as the package index does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Map the installed packages to their versions, without local version labels."""
    pins = {normal(d.metadata["Name"]): d.version.partition("+")[0] for d in distributions()}
    # nvidia-*, cuda-* and triton belong to the CUDA build of torch, which asks for them itself.
    ours = ("leadmin", "pip", "triton")
    return {
        name: pins[name]
        for name in sorted(pins)
        if name not in ours and not name.startswith(("nvidia-", "cuda-"))
    }


def direct() -> list[str]:
    """List the packages that ``pyproject.toml`` asks for, extras for development included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    for extra in ("dev", "slurm", "files", "onnx"):
        wanted += extras[extra]
    return sorted({normal(re.match(r"[\w.-]+", item)[0]) for item in wanted})


def main() -> None:
    """Write both files."""
    pins = installed()
    lock = LOCK_HEAD + "".join(f"{name}=={version}\n" for name, version in pins.items())
    (ROOT / "requirements.lock").write_text(lock, encoding="utf-8")
    lines = "".join(f"      - {name}=={pins[name]}\n" for name in direct())
    (ROOT / "environment.yml").write_text(ENVIRONMENT_HEAD + lines, encoding="utf-8")


if __name__ == "__main__":
    main()
