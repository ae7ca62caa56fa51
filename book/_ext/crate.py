"""What is published, described for machines: an RO-Crate of the book's own folder.

A local Sphinx extension. The book carries every published study below ``published/``, file for
file. When its pages are written, ``ro-crate-metadata.json`` is written beside them, from what lies
there, so that it cannot be older than what it describes. The form is that of
https://w3id.org/ro/crate/1.2.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from sphinx.application import Sphinx

NAME = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/crate/1.2"
NETWORKS = "published/subset/runs/any-lead"
CC_BY = "https://creativecommons.org/licenses/by/4.0/"
MEDIA = {
    ".csv": "text/csv",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".sha256": "text/plain",
    ".tex": "text/x-tex",
}
"""Media types of what is published; of the others (arrays, weights) none is registered."""

Entity = dict[str, Any]


def to(*entities: Entity) -> list[Entity]:
    """Point at entities by their names."""
    return [{"@id": one["@id"]} for one in entities]


def described(path: Path, root: Path) -> Entity:
    """Describe a file: name, type, size in bytes, checksum."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@id": quote(path.relative_to(root).as_posix()),
        "@type": "File",
        "name": path.name,
        "encodingFormat": MEDIA.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": digest,
    }


def folder(path: Path, root: Path, name: str, parts: list[Entity]) -> Entity:
    """Describe a folder by a name and what is in it."""
    place = quote(path.relative_to(root).as_posix()) + "/"
    return {"@id": place, "@type": "Dataset", "name": name, "hasPart": to(*parts)}


def cited(root: Path) -> dict[str, Entity]:
    """Take authors, software and data from ``CITATION.cff``, and both licences."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    (data,) = citation["references"]
    authors = [
        {"@id": f"#author-{n}", "@type": "Organization", "name": one["name"]}
        if "name" in one
        else {"@id": one.get("orcid", f"#author-{n}"), "@type": "Person"}
        | {"name": f"{one['given-names']} {one['family-names']}"}
        for n, one in enumerate(citation["authors"], 1)
    ]
    mit = f"https://spdx.org/licenses/{citation['license']}"
    made = {
        "licence": {
            "@id": CC_BY,
            "@type": "CreativeWork",
            "name": "Creative Commons Attribution 4.0 International",
            "description": "Free to share and adapt, with credit to PTB-XL and to this study.",
        },
        "licence of the code": {"@id": mit, "@type": "CreativeWork"}
        | {"name": citation["license"], "description": "The licence of text and code."},
        "software": {
            "@id": "#leadmin",
            "@type": "SoftwareSourceCode",
            "name": citation["title"],
            "version": citation["version"],
            "programmingLanguage": "Python",
            "license": {"@id": mit},
            "author": to(*authors),
        },
        "data": {
            "@id": f"https://doi.org/{data['doi']}",
            "@type": "Dataset",
            "name": data["title"],
            "version": data["version"],
            "license": {"@id": CC_BY},
        },
    }
    if address := os.environ.get("LEADMIN_REPOSITORY", "").rstrip("/"):
        made["software"]["codeRepository"] = address
    made |= {one["@id"]: one for one in authors}
    root_entity: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": citation["title"],
        "description": " ".join(citation["abstract"].split()),
        "datePublished": citation["date-released"],
        "version": citation["version"],
        "keywords": citation["keywords"],
        "license": {"@id": CC_BY},
        "author": to(*authors),
        "isBasedOn": to(made["data"]),
    }
    return {"root": root_entity, **made}


def run(path: Path, root: Path, study: str, known: dict[str, Entity]) -> Iterator[Entity]:
    """Describe a run: its folder first, then its files, and how it was made of what.

    The programs that it names are added to ``known``.
    """
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    recorded = metrics["provenance"]
    files = [described(file, root) for file in sorted(path.rglob("*")) if file.is_file()]
    whole = folder(path, root, f"Run {path.name} of the study {study}", files)
    programs = []
    for name, version in {"Python": recorded["python"], **recorded["versions"]}.items():
        one = {"@id": f"#{name}-{quote(version)}", "@type": "SoftwareApplication"}
        one |= {"name": name, "version": version}
        programs.append(known.setdefault(one["@id"], one))
    # What trained nothing of its own has asked the networks of the map.
    trained = "settings" in metrics
    networks = [f"{quote(at.relative_to(root).as_posix())}/" for at in root.glob(NETWORKS)]
    objects = [known["data"]] if trained else [{"@id": one} for one in sorted(networks)]
    made = {
        "@id": f"#made-{quote(study)}-{quote(path.name)}",
        "@type": "CreateAction",
        "name": f"{'Training and testing' if trained else 'Testing'}: {whole['name']}",
        "description": f"Source code at commit {recorded['git_commit']}; {recorded['system']}.",
        "endTime": recorded["date"],
        "agent": known["root"]["author"],
        "instrument": to(known["software"], *programs),
        "object": to(*objects),
        "result": to(whole),
    }
    yield from (whole, *files, made)


def crate(root: Path, source: Path) -> dict[str, Any]:
    """Describe all that lies in ``published`` below ``root``, the folder of the finished book.

    ``source`` holds ``CITATION.cff``.
    """
    known = cited(source)
    below: list[Entity] = []
    studies: list[Entity] = []
    actions: list[Entity] = []
    for at in sorted(path.parent for path in root.glob("published/*/study.json")):
        about = json.loads((at / "study.json").read_text(encoding="utf-8"))
        runs = sorted(path.parent for path in at.rglob("metrics.json"))
        parts = []
        for path in runs:
            whole, *files, action = run(path, root, about["name"], known)
            parts.append(whole)
            below += files
            actions.append(action)
        inside = [path for path in sorted(at.rglob("*")) if path.is_file()]
        parts += [
            described(path, root)
            for path in inside
            if not any(path.is_relative_to(folder) for folder in runs)
        ]
        studies.append(folder(at, root, f"{about['name']}: {about['title']}", parts))
        below += parts
    known["root"] |= {"hasPart": to(*studies), "mentions": to(*actions)}
    descriptor = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    graph = [descriptor, *known.values(), *studies, *below, *actions]
    return {"@context": f"{PROFILE}/context", "@graph": graph}


def write(app: Sphinx, failed: Exception | None) -> None:
    """Write the crate beside the finished pages."""
    if not failed and app.builder.name == "html":
        out = Path(app.outdir)
        text = json.dumps(crate(out, Path(app.srcdir)), indent=1, ensure_ascii=False)
        (out / NAME).write_text(text + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
