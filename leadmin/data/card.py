"""A prepared file described for others: a data card to read and Croissant metadata to parse.

The texts are templates beside this module; here is only what they count.

References
----------
.. [1] Croissant Format Specification 1.0. MLCommons, 2024.
   http://mlcommons.org/croissant/1.0
.. [2] Pushkarna M, Zaldivar A, Kjartansson O. Data Cards. FAccT 2022.
   https://doi.org/10.1145/3531146.3533231
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from leadmin.data import ptbxl, quality
from leadmin.data.dataset import EcgDataset, load_dataset
from leadmin.data.prepare import software
from leadmin.errors import LeadminError
from leadmin.files import sha256, write_json, write_text
from leadmin.labels import CLASS_NAMES, CLASSES, LABEL_POLICIES
from leadmin.leads import LEADS

_CITATION = (
    "Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, Schaeffter T. "
    "PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 7:154, 2020. "
    f"https://doi.org/{ptbxl.PAPER_DOI}"
)
_BASE_COLUMNS: dict[str, tuple[str, str]] = {
    "record_id": ("Integer", "ecg_id of PTB-XL"),
    "patient_id": ("Integer", "patient_id of PTB-XL"),
    "fold": ("Integer", "strat_fold of PTB-XL, 1 to 10; no patient is in two folds"),
    "age": ("Float", "years; 300 means over 89; empty if unknown"),
    "sex": ("Integer", "0 male, 1 female, -1 unknown"),
}


@dataclass(frozen=True)
class CardFiles:
    """What `write_card` wrote: Markdown, JSON-LD, and the table (CSV) that the latter describes."""

    card: Path
    croissant: Path
    table: Path


def write_card(prepared: Path, folder: Path | None = None) -> CardFiles:
    """Write the data card, the Croissant metadata and the table of records of a prepared file.

    They go into ``folder``, by default beside the file. The metadata name the HDF5 file relative
    to themselves, so the default is what to publish.
    """
    dataset = load_dataset(prepared)
    if "policies" in dataset.attributes:
        raise LeadminError(
            f"{prepared}: a data card tells what is known of PTB-XL, and these records are "
            f"{dataset.attributes['source']!r}; valid: a file prepared from PTB-XL; write your own"
        )
    folder = prepared.parent if folder is None else folder
    files = CardFiles(
        card=folder / f"{prepared.stem}.card.md",
        croissant=folder / f"{prepared.stem}.croissant.json",
        table=folder / f"{prepared.stem}.records.csv",
    )
    write_text(files.table, record_table(dataset).to_csv(index=False, lineterminator="\n"))
    write_json(files.croissant, croissant(dataset, files.table))
    write_text(files.card, data_card(dataset, quality.assess(dataset)))
    return files


def record_table(dataset: EcgDataset) -> pd.DataFrame:
    """Give everything but the signals as one table, a row for each record.

    Labels have the columns ``<policy>_<superclass>``, 0 or 1.
    """
    base = pd.DataFrame({name: getattr(dataset, name) for name in _BASE_COLUMNS})
    labels = pd.DataFrame(
        {
            f"{policy}_{name}": dataset.labels[policy][:, column]
            for policy in LABEL_POLICIES
            for column, name in enumerate(CLASSES)
        }
    )
    return pd.concat([base, labels, dataset.metadata], axis=1)


def croissant(dataset: EcgDataset, table: Path) -> dict[str, Any]:
    """Describe a prepared file and ``table``, its `record_table`, in the Croissant format [1]_.

    It has no way to point into an HDF5 file, so the signals are described as a file, and the
    record set is that of the table beside it. Both files are hashed.
    """
    signals = (
        f"HDF5: dataset `signals`, int16, shape {dataset.signals.shape}, microvolts, leads "
        f"{', '.join(LEADS)}; labels and demographics in the same order of records."
    )
    files = [
        ("signals", dataset.path, "application/x-hdf5", signals),
        ("records-table", table, "text/csv", "One row for each record."),
    ]
    version = str(dataset.attributes["source_version"])
    text = _rendered(
        "croissant.json.jinja",
        data=dataset,
        version=version if version.count(".") == 2 else "0.0.0",
        keywords=["ECG", "electrocardiography", "12-lead", *CLASSES],
        files=[
            {"id": name, "path": path, "kind": kind, "description": said, "sha256": sha256(path)}
            for name, path, kind, said in files
        ],
        columns=_columns(),
    )
    described: dict[str, Any] = json.loads(text)
    return described


def _rendered(template: str, **values: Any) -> str:
    templates = Environment(
        loader=PackageLoader("leadmin.data", ""),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return templates.get_template(template).render(ptbxl=ptbxl, citation=_CITATION, **values)


def _columns() -> dict[str, tuple[str, str]]:
    columns = dict(_BASE_COLUMNS)
    for policy, definition in LABEL_POLICIES.items():
        least = definition.least
        likely = f"a likelihood of at least {least:g}" if least else "any likelihood"
        for name in CLASSES:
            said = f"1 where a statement of {CLASS_NAMES[name]} has {likely}"
            columns[f"{policy}_{name}"] = ("Integer", said)
    for name, (kind, description) in ptbxl.METADATA_COLUMNS.items():
        said = "Text" if kind is None else "Float" if kind is np.float32 else "Integer"
        columns[name] = (said, description)
    return columns


def data_card(dataset: EcgDataset, report: quality.QualityReport) -> str:
    """Write the data card [2]_ of a prepared file as Markdown, every number counted from it."""
    labels, together = dataset.labels["any"], dataset.cooccurrence("any")
    counts = [dataset.class_counts(policy) for policy in LABEL_POLICIES]
    unlabelled = [int((~dataset.has_superclass(policy)).sum()) for policy in LABEL_POLICIES]
    in_fold = {int(fold): dataset.fold == fold for fold in np.unique(dataset.fold)}
    return _rendered(
        "card.md.jinja",
        data=dataset,
        about=dataset.attributes,
        software=software(),
        leads=LEADS,
        policies=list(LABEL_POLICIES),
        class_names=list(CLASSES),
        n_patients=len(np.unique(dataset.patient_id)),
        n_crossing=len(report.crossing_patients),
        ages=_ages(dataset.age),
        sexes=[int((dataset.sex == code).sum()) for code in (0, 1, -1)],
        classes=[
            *([name, CLASS_NAMES[name], *(count[name] for count in counts)] for name in CLASSES),
            ["(none)", "no superclass", *unlabelled],
        ],
        together=[[name, *together.loc[name]] for name in CLASSES],
        by_fold=[
            [fold, rows.sum(), len(np.unique(dataset.patient_id[rows])), *labels[rows].sum(axis=0)]
            for fold, rows in in_fold.items()
        ],
        rules=[
            [f"`{name}`", text, report.by_fold.loc[name, "all"]]
            for name, text in quality.RULES.items()
        ],
        columns=[[f"`{name}`", description] for name, (_, description) in _columns().items()],
    )


def _ages(age: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    known = age[np.isfinite(age)]
    plain = known[known != ptbxl.AGE_OVER_89]
    over, unknown = len(known) - len(plain), len(age) - len(known)
    middle = "unknown"
    if plain.size:
        low, median, high = np.percentile(plain, [25, 50, 75])
        middle = f"median {median:.0f} years, quartiles {low:.0f} to {high:.0f}"
    return f"{middle}; {over} over 89; {unknown} unknown"
