"""Files for archives say who made what, which version and when; they must say the same."""

import json
import runpy
import tomllib
from urllib.parse import unquote

import pytest
import yaml


@pytest.fixture(scope="module")
def citation(root):
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_platform(root, citation):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {citation["version"], citation["license"]} == {project["version"], project["license"]}
    book = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    assert book["author"] == ", ".join(one["name"] for one in citation["authors"])
    assert book["title"] == citation["title"].split(":")[0]
    entry = (root / "book" / "cite.md").read_text(encoding="utf-8")
    for said in (book["author"], citation["title"], project["version"], citation["date-released"]):
        assert f"{{{said}}}" in entry
    told = json.loads((root / "codemeta.json").read_text(encoding="utf-8"))
    assert told["runtimePlatform"] == f"Python {project['requires-python']}"


@pytest.mark.parametrize(
    ("file", "names", "people"),
    [
        ("codemeta.json", ("name", "datePublished"), "author"),
        (".zenodo.json", ("title", "publication_date"), "creators"),
    ],
)
def test_archives_are_told_what_the_citation_says(root, citation, file, names, people):
    told = json.loads((root / file).read_text(encoding="utf-8"))
    assert [told[name] for name in names] == [citation["title"], citation["date-released"]]
    assert told["version"] == citation["version"]
    assert told["license"].removeprefix("https://spdx.org/licenses/") == citation["license"]
    assert told["description"] == citation["abstract"].strip()
    assert told["keywords"] == citation["keywords"]
    assert [one["name"] for one in told[people]] == [one["name"] for one in citation["authors"]]
    (data,) = citation["references"]
    assert data["doi"] in json.dumps(told)


CRATE = "https://w3id.org/ro/crate/1.2"


def named(entity, keys=None):
    """Entities that one points at, by any property or by some."""
    for key, value in entity.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and (keys is None or key in keys):
                assert set(one) == {"@id"}, f"{key}: what an entity is stands at its own place"
                yield one["@id"]


def test_the_crate_describes_all_that_is_published(root, citation, tmp_path):
    (tmp_path / "published").symlink_to(root / "book" / "published")
    made = runpy.run_path(str(root / "book" / "_ext" / "crate.py"))["crate"](tmp_path, root)
    entities = {one["@id"]: one for one in made["@graph"]}
    assert (len(entities), made["@context"]) == (len(made["@graph"]), f"{CRATE}/context")
    assert {i for one in entities.values() for i in named(one)} <= entities.keys() | {CRATE}

    descriptor, whole = entities["ro-crate-metadata.json"], entities["./"]
    assert [descriptor["about"], descriptor["conformsTo"]] == [{"@id": "./"}, {"@id": CRATE}]
    assert [whole["name"], whole["datePublished"]] == [citation["title"], citation["date-released"]]
    assert whole["description"] == citation["abstract"].strip()
    people, (licence,), (data,) = (
        [entities[i] for i in named(whole, {key})] for key in ("author", "license", "isBasedOn")
    )
    assert [one["name"] for one in people] == [one["name"] for one in citation["authors"]]
    assert licence["name"].startswith("Creative Commons Attribution")
    assert data["@id"].endswith(citation["references"][0]["doi"])

    held, left = set(), {"./"}  # files and folders hang together from the root by hasPart
    while left:
        left = {i for one in left for i in named(entities[one], {"hasPart"})}
        held |= left
    files = {unquote(i): entities[i] for i in held if entities[i]["@type"] == "File"}
    there = [path for path in tmp_path.glob("published/[!.]*/**/*") if path.is_file()]
    assert set(files) == {path.relative_to(tmp_path).as_posix() for path in there}
    for seal in tmp_path.glob("published/*/all.sha256"):
        for row in seal.read_text(encoding="utf-8").splitlines():
            digest, _, name = row.partition("  ")
            assert files[f"published/{seal.parent.name}/{name}"]["sha256"] == digest
    folders = {i for i in held if entities[i]["@type"] == "Dataset"}
    assert all((tmp_path / unquote(i)).is_dir() and i.endswith("/") for i in folders)
    actions = [one for one in entities.values() if one["@type"] == "CreateAction"]
    results = [i for one in actions for i in named(one, {"result"})]
    assert sorted(results) == sorted(i for i in folders if i.count("/") > 2)  # each run is made
    for one in actions:
        assert {"#leadmin"} < set(named(one, {"instrument"})), one["name"]
        assert [*named(one, {"object"})], one["name"]
