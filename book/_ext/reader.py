"""What the page that reads a file needs of the package: the any-lead network, as a script.

A local Sphinx extension. It writes ``any-lead.js`` beside the pages when the book is built, so that
the weights lie in the sources once. A script and not data, since a page that was opened as a file
may load one and not the other. The weights are the shipped safetensors file in base64; operating
points, words and limits are the package's, so that ``book/reader/network.js`` repeats none of them.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from sphinx.application import Sphinx

import leadmin
from leadmin.data import faults, quality
from leadmin.labels import CLASS_NAMES
from leadmin.net.operating import THRESHOLDS, read_operating_points
from leadmin.net.reading import SEGMENT_SECONDS

NETWORK = Path(leadmin.__file__).parent / "networks" / "any-lead"

LIMITS = {
    "segmentSeconds": SEGMENT_SECONDS,
    "flatSeconds": faults.FLAT_SECONDS,
    "flatMillivolts": faults.FLAT_MILLIVOLTS,
    "rangeMillivolts": faults.RANGE_MILLIVOLTS,
    "largestVolts": faults.LARGEST_VOLTS,
    "meanMillivolts": faults.LARGEST_MEAN_MILLIVOLTS,
    "usualMeanMillivolts": faults.USUAL_MEAN_MILLIVOLTS,
    "usualMillivolts": faults.USUAL_MILLIVOLTS,
    "identityMicrovolts": quality.IDENTITY_MICROVOLTS,
    "saturatedMicrovolts": quality.SATURATED_MICROVOLTS,
    "clippedSeconds": quality.CLIPPED_SECONDS,
    "clippedMicrovolts": quality.CLIPPED_MICROVOLTS,
    "noisyMicrovolts": quality.NOISY_MICROVOLTS,
    "driftMicrovolts": quality.DRIFT_MICROVOLTS,
    "reversedCorrelation": quality.REVERSED_CORRELATION,
    "silentRatio": quality.SILENT_RATIO,
}
"""Where the rules of the package draw their lines."""


def network_script(folder: Path = NETWORK) -> str:
    """Write a shipped network for any leads, with all that a reading needs, as a script."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture, scaling = config["recipe"]["architecture"], config["scaling"]
    assert architecture["any_leads"], "network.js tells the stem which leads are shown"
    assert scaling["mean"], "network.js scales by constants, not record by record"
    points = read_operating_points(folder / "operating.npz", config["operating_sha256"])
    numbers = [
        [one.slope, one.offset, *(one.thresholds[name] for name in THRESHOLDS)]
        for one in points.values()
    ]
    given = {
        "name": folder.name,
        "leads": config["leads"],
        "rate": config["sampling_rate"],
        "window": config["window"],
        "nWindows": config["n_windows"],
        "mean": scaling["mean"],
        "std": scaling["std"],
        "strides": architecture["strides"],
        "classes": config["classes"],
        "meanings": [CLASS_NAMES.get(name, "") for name in config["classes"]],
        "thresholds": dict(THRESHOLDS),
        "rules": dict(quality.RULES),
        "limits": LIMITS,
        "operating": {
            "spaces": list(points),
            "records": [one.n_records for one in points.values()],
            "numbers": _base64(np.array(numbers, dtype="<f4").tobytes()),
        },
        "weights": _base64((folder / "model.safetensors").read_bytes()),
    }
    said = json.dumps(given, separators=(",", ":"), allow_nan=False)
    return f"/* {folder.name}, made from leadmin/networks. */\nwindow.leadminNetwork = {said};\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def finish(app: Sphinx, failed: Exception | None) -> None:
    """Lay the network beside the pages."""
    if not failed and app.builder.name == "html":
        (Path(app.outdir) / "any-lead.js").write_text(network_script(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it."""
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
