"""A trained network as one ONNX file that takes microvolts and gives probabilities.

The file computes what `EcgClassifier.predict` computes for records that are right: derived leads,
scaling, the windows of segments of ten seconds, the network, the mean of the logits, and the
recalibration of its operating points where it has some. (A network that scales each record by
itself does so over the whole length here, and not over each segment.) It checks nothing: unit,
rate, order of leads and flat leads are the caller's affair. Their names, rate and unit, the classes
and the thresholds stand in the file's metadata.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from leadmin.errors import LeadminError
from leadmin.files import atomic_path
from leadmin.leads import canonical_lead, canonical_leads, derive, representative, span
from leadmin.net.classifier import EcgClassifier
from leadmin.net.fit import of_leads
from leadmin.net.model import ResNet1d
from leadmin.net.operating import OperatingPoints
from leadmin.net.reading import SEGMENT_SECONDS


def export_onnx(
    classifier: EcgClassifier, path: Path, leads: Sequence[str] | None = None
) -> dict[str, str]:
    """Write a network as an ONNX file.

    Its input ``microvolts`` is float32 ``(batch, n_leads, n_samples)`` at the network's sampling
    rate, its output ``probabilities`` float32 ``(batch, n_classes)``. Batch and length are free; a
    record shorter than the network's window is an error of the runtime. A longer one is read in
    segments of ten seconds, as `EcgClassifier.predict` does.

    Parameters
    ----------
    classifier : EcgClassifier
        The network.
    path : Path
        The file to write.
    leads : sequence of str, optional
        Which leads the file takes, in this order; by default those of the network. A network for
        any leads is told that the others are hidden.

    Returns
    -------
    dict of str to str
        The metadata in the file.

    Raises
    ------
    LeadminError
        If onnx or onnxscript is not installed, or the network needs other leads.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise LeadminError(
            f"ONNX: {error.name} is not installed; install it with `pip install 'leadmin[onnx]'`"
        ) from error
    taken = tuple(map(canonical_lead, leads if leads is not None else classifier.leads))
    points = classifier.operating_points(taken)
    network = _Exported(classifier, taken, points).eval()
    example = torch.zeros(2, len(taken), 4 * classifier.window)
    free = {
        0: torch.export.Dim("batch", min=1),
        2: torch.export.Dim("n_samples", min=classifier.window),
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not needed
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["microvolts"],
            output_names=["probabilities"],
            dynamic_shapes=(free,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    metadata = _metadata(classifier, taken, points)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)
    return metadata


def _metadata(
    classifier: EcgClassifier, leads: tuple[str, ...], points: OperatingPoints | None
) -> dict[str, str]:
    """Say what goes in and out of the file; every value is text, lists and more are JSON."""
    described = {
        "leads": list(leads),
        "classes": list(classifier.classes),
        "unit": "uV",
        "sampling_rate": classifier.sampling_rate,
        "least_samples": classifier.window,
        "recalibrated": points is not None,
        "weights_sha256": classifier.metadata["weights_sha256"],
    }
    if points is not None:
        described["thresholds"] = {name: t.tolist() for name, t in points.thresholds.items()}
    written = {name: json.dumps(value) for name, value in described.items()}
    return written | {"software": f"leadmin {version('leadmin')}"}


class _Exported(nn.Module):
    """What the file computes."""

    mixing: Tensor | None
    mean: Tensor
    std: Tensor

    def __init__(
        self, classifier: EcgClassifier, leads: tuple[str, ...], points: OperatingPoints | None
    ) -> None:
        super().__init__()
        canonical_leads(leads)
        basis, self.network, scaling = classifier.leads, classifier.model, classifier.scaling
        if classifier.model.architecture.any_leads:
            basis = representative(leads)
            weights, scaling = of_leads(classifier, basis)
            told = replace(classifier.model.architecture, any_leads=False)
            self.network = ResNet1d(len(basis), len(classifier.classes), told)
            self.network.load_state_dict(weights)
        elif missing := [lead for lead in basis if lead not in span(leads)]:
            raise LeadminError(
                f"leads: {', '.join(leads)}; the network needs {', '.join(missing)} too; give "
                "them, or export the network for any leads"
            )
        self.window, self.n_windows = classifier.window, classifier.n_windows
        self.sampling_rate = classifier.sampling_rate
        self.by_record = scaling.kind == "record"
        mixing = derive(np.eye(len(leads)), leads, basis)
        slope, offset = (points.slope, points.offset) if points else (1.0, 0.0)
        for name, values in {
            "mixing": None if leads == basis else mixing,
            "mean": np.array(scaling.mean or [0.0])[:, None],
            "std": np.array(scaling.std or [1.0])[:, None],
            "slope": slope,
            "offset": offset,
        }.items():
            kept = None if values is None else torch.as_tensor(values, dtype=torch.float32)
            self.register_buffer(name, kept)

    def forward(self, microvolts: Tensor) -> Tensor:
        """Map ``(batch, n_leads, n_samples)`` to probabilities ``(batch, n_classes)``."""
        x = microvolts if self.mixing is None else self.mixing @ microvolts
        mean, std = self.mean, self.std
        if self.by_record:
            mean = x.mean(-1, keepdim=True)
            std = x.std(-1, keepdim=True, correction=0).clamp_min(1.0)
        x = (x - mean) / std
        # Segments and their windows begin where `segment_bounds` and `predict_logits` say.
        usual = round(SEGMENT_SECONDS * self.sampling_rate)
        count = (x.shape[-1] - self.sampling_rate // 2 + usual - 1) // usual
        segments = torch.arange(count, dtype=torch.float64)
        whole = torch.ones_like(segments) * x.shape[-1]
        length = torch.minimum((whole / count).clamp_min(usual), whole)
        last = (whole - length) / (torch.ones_like(segments) * count - 1).clamp_min(1)
        length = torch.round(length)
        starts = torch.minimum(torch.round(segments * last), whole - length)
        steps = torch.arange(self.n_windows, dtype=torch.float64) / max(self.n_windows - 1, 1)
        starts = starts[:, None] + torch.round(steps * (length - self.window)[:, None])
        places = starts.flatten().long()[:, None] + torch.arange(self.window)
        windows = x[:, :, places].transpose(1, 2).flatten(0, 1)
        logits = self.network(windows).unflatten(0, (-1, places.shape[0])).mean(1)
        return torch.sigmoid(self.offset + self.slope * logits)
