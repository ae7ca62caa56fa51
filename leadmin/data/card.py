"""A prepared file described for others: a data card to read and Croissant metadata to parse.

References
----------
.. [1] Croissant Format Specification 1.0. MLCommons, 2024.
   http://mlcommons.org/croissant/1.0
.. [2] Pushkarna M, Zaldivar A, Kjartansson O. Data Cards. FAccT 2022.
   https://doi.org/10.1145/3531146.3533231
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leadmin.data import ptbxl, quality
from leadmin.data.dataset import EcgDataset, load_dataset
from leadmin.data.prepare import software
from leadmin.files import sha256, write_json, write_text
from leadmin.labels import CLASS_NAMES, CLASSES, LABEL_POLICIES
from leadmin.leads import LEADS

CROISSANT_VERSION = "http://mlcommons.org/croissant/1.0"

_CITATION = (
    "Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, Schaeffter T. "
    "PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 7:154, 2020. "
    f"https://doi.org/{ptbxl.PAPER_DOI}"
)
_AUTHORS = (
    "Patrick Wagner",
    "Nils Strodthoff",
    "Ralf-Dieter Bousseljot",
    "Wojciech Samek",
    "Tobias Schaeffter",
)
_CREATED = "2022-11-09"
"""When PhysioNet published PTB-XL 1.0.3."""

_BASE_COLUMNS: dict[str, tuple[str, str]] = {
    "record_id": ("sc:Integer", "ecg_id of PTB-XL"),
    "patient_id": ("sc:Integer", "patient_id of PTB-XL"),
    "fold": ("sc:Integer", "strat_fold of PTB-XL, 1 to 10; no patient is in two folds"),
    "age": ("sc:Float", "years; 300 means over 89; empty if unknown"),
    "sex": ("sc:Integer", "0 male, 1 female, -1 unknown"),
}
_TEXT_COLUMNS = frozenset({"device", "recording_date", "scp_codes"})
_FLOAT_COLUMNS = frozenset({"height", "weight"})

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class CardFiles:
    """What `write_card` wrote.

    Attributes
    ----------
    card, croissant, table : Path
        Data card (Markdown), Croissant metadata (JSON-LD), and the table of records (CSV) that
        the metadata describe.
    """

    card: Path
    croissant: Path
    table: Path


def write_card(prepared: Path, folder: Path | None = None) -> CardFiles:
    """Write the data card, the Croissant metadata and the table of records of a prepared file.

    Parameters
    ----------
    prepared : Path
        An HDF5 file that `leadmin.data.dataset.prepare` wrote.
    folder : Path, optional
        Where to write, by default beside the file. The metadata name the HDF5 file relative to
        themselves, so the default is what to publish.

    Returns
    -------
    CardFiles
    """
    dataset = load_dataset(prepared)
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
    """Describe a prepared file in the Croissant format, version 1.0 [1]_.

    Croissant has no way to point into an HDF5 file, so the signals are described as a file, and
    the record set is that of the table of records beside it.

    Parameters
    ----------
    dataset : EcgDataset
        As loaded; ``dataset.path`` is hashed.
    table : Path
        The CSV file of `record_table`, already written.

    Returns
    -------
    dict
        To be written as JSON.
    """
    rate, n_samples = dataset.sampling_rate, dataset.signals.shape[-1]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"ptb-xl-{rate}hz-{len(dataset)}-records",
        "description": (
            f"{len(dataset)} clinical 12-lead ECGs of {n_samples / rate:g} s at {rate} Hz from "
            f"PTB-XL {dataset.attributes['source_version']}, in microvolts, with five diagnostic "
            "superclasses and ten patient-wise folds."
        ),
        "conformsTo": CROISSANT_VERSION,
        "license": ptbxl.LICENSE_URL,
        "url": f"https://doi.org/{ptbxl.DOI}",
        "citeAs": _CITATION,
        "creator": [{"@type": "sc:Person", "name": name} for name in _AUTHORS],
        "datePublished": _CREATED,
        "version": _semantic_version(str(dataset.attributes["source_version"])),
        "isLiveDataset": False,
        "keywords": ["ECG", "electrocardiography", "12-lead", *CLASSES],
        "distribution": [
            _file_object(
                "signals",
                dataset.path,
                "application/x-hdf5",
                f"HDF5: dataset `signals`, int16, shape ({len(dataset)}, {len(LEADS)}, "
                f"{n_samples}), microvolts, leads {', '.join(LEADS)}; labels and demographics in "
                "the same order of records.",
            ),
            _file_object("records-table", table, "text/csv", "One row for each record."),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "description": "One row for each ECG, in the order of the signals.",
                "key": {"@id": "records/record_id"},
                "field": [
                    _field(name, kind, description)
                    for name, (kind, description) in _columns().items()
                ],
            }
        ],
    }


def _columns() -> dict[str, tuple[str, str]]:
    columns = dict(_BASE_COLUMNS)
    for policy, definition in LABEL_POLICIES.items():
        threshold = definition.least
        for name in CLASSES:
            said = "any likelihood" if threshold == 0 else f"a likelihood of at least {threshold:g}"
            columns[f"{policy}_{name}"] = (
                "sc:Integer",
                f"1 where a statement of {CLASS_NAMES[name]} has {said}",
            )
    for name, description in ptbxl.METADATA_COLUMNS.items():
        kind = "sc:Integer"
        kind = "sc:Text" if name in _TEXT_COLUMNS else kind
        kind = "sc:Float" if name in _FLOAT_COLUMNS else kind
        columns[name] = (kind, description)
    return columns


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": "records-table"}, "extract": {"column": name}},
    }


def _file_object(identifier: str, path: Path, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": path.name,
        "description": description,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": sha256(path),
    }


def _semantic_version(version: str) -> str:
    return version if version.count(".") == 2 else "0.0.0"


def data_card(dataset: EcgDataset, report: quality.QualityReport) -> str:
    """Write the data card of a prepared file as Markdown.

    Parameters
    ----------
    dataset : EcgDataset
        As loaded.
    report : QualityReport
        From `leadmin.data.quality.assess` on the same data.

    Returns
    -------
    str
        Every number in it is counted from ``dataset``.
    """
    rate = dataset.sampling_rate
    attributes = dataset.attributes
    known_age = dataset.age[np.isfinite(dataset.age)]
    over_89 = int((known_age == ptbxl.AGE_OVER_89).sum())
    plain_age = known_age[known_age != ptbxl.AGE_OVER_89]
    ages = (
        f"median {np.median(plain_age):.0f} years, quartiles "
        f"{np.percentile(plain_age, 25):.0f} to {np.percentile(plain_age, 75):.0f}"
        if plain_age.size
        else "unknown"
    )
    folds = [int(fold) for fold in np.unique(dataset.fold)]
    classes = _markdown(
        ["superclass", "meaning", *LABEL_POLICIES],
        [
            [name, CLASS_NAMES[name]]
            + [str(dataset.class_counts(policy)[name]) for policy in LABEL_POLICIES]
            for name in CLASSES
        ]
        + [
            ["(none)", "no superclass"]
            + [str(int((~dataset.has_superclass(policy)).sum())) for policy in LABEL_POLICIES]
        ],
    )
    by_fold = _markdown(
        ["fold", "records", "patients", *CLASSES],
        [
            [
                str(fold),
                str(int((dataset.fold == fold).sum())),
                str(len(np.unique(dataset.patient_id[dataset.fold == fold]))),
                *(str(n) for n in dataset.labels["any"][dataset.fold == fold].sum(axis=0)),
            ]
            for fold in folds
        ],
    )
    together = dataset.cooccurrence("any")
    cooccurrence = _markdown(
        ["", *CLASSES],
        [[name, *(str(together.loc[name, other]) for other in CLASSES)] for name in CLASSES],
    )
    rules = _markdown(
        ["rule", "what it says", "records"],
        [
            [f"`{name}`", text, str(report.by_fold.loc[name, "all"])]
            for name, text in quality.RULES.items()
        ],
    )
    columns = _markdown(
        ["column", "meaning"],
        [[f"`{name}`", description] for name, (_, description) in _columns().items()],
    )
    sexes = [int((dataset.sex == code).sum()) for code in (0, 1, -1)]
    crossing = len(report.crossing_patients)
    return f"""# Data card: {dataset.path.name}

| | |
|---|---|
| source | {attributes["source"]}, version {attributes["source_version"]} |
| licence | {ptbxl.LICENSE_NAME}, <{ptbxl.LICENSE_URL}> |
| cite | {_CITATION} Data: <https://doi.org/{ptbxl.DOI}> |
| records | {len(dataset):,} of {len(np.unique(dataset.patient_id)):,} patients; \
{attributes["n_failed"]} records of the source could not be used |
| signals | {len(LEADS)} leads ({", ".join(LEADS)}), {dataset.duration:g} s at {rate} Hz, int16 \
microvolts, as recorded |
| age | {ages}; {over_89} over 89; {len(dataset) - len(known_age)} unknown |
| sex | {sexes[0]:,} male, {sexes[1]:,} female, {sexes[2]:,} unknown |
| content | SHA-256 `{attributes["content_sha256"]}` |
| inputs | SHA-256 `{attributes["inputs_sha256"]}` |
| made by | {attributes["created_by"]}, schema version {attributes["schema_version"]}; card by \
{software()} |

## What it is for

Research on which leads a classifier of resting 12-lead ECGs needs. It is no basis for a medical
device: the labels come from reports, part of which no human validated, and the recordings from
devices of one maker between 1989 and 1996 (Wagner et al. 2020).

## Labels

Statements of the SCP-ECG standard with a likelihood, grouped into five superclasses. A record may
belong to several or to none. `any` counts every statement, `likelihood50` those of at least 50 per
cent.

{classes}

Records in two superclasses at once (`any`):

{cooccurrence}

## Folds

Ten folds, balanced by the publishers, each patient in one. {crossing} patients cross folds here.
The benchmark trains on 1 to 8, validates on 9 and tests on 10.

{by_fold}

## Technical quality

Found by rule; no record is left out for it. A rule is no diagnosis of the recording: noise and
drift agree only in part with the notes that PTB-XL's annotators made.

{rules}

## Columns

Of `{dataset.path.stem}.records.csv`; the HDF5 file holds the same as arrays.

{columns}
"""


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)])
