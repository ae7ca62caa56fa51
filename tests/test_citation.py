"""Four files say who made what, which version and when; they must say the same."""

import json
import tomllib

import pytest
import yaml


@pytest.fixture(scope="module")
def citation(root):
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version(root, citation):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {citation["version"], citation["license"]} == {project["version"], project["license"]}


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


def test_codemeta_runs_on_what_the_project_runs_on(root):
    told = json.loads((root / "codemeta.json").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told["runtimePlatform"] == f"Python {project['requires-python']}"
