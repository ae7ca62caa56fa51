"""The three places that name packages must say the same."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(lines):
    found = (line.split("#")[0].strip().partition("==") for line in lines)
    return {canonicalize_name(name): version for name, _, version in found if name}


def test_lock_environment_and_project_agree_and_name_no_place_and_no_local_build(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (project["optional-dependencies"][name] for name in ("dev", "slurm", "files", "onnx"))
    wanted = [Requirement(item) for item in sum(extras, project["dependencies"])]
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    locked = pins(text.splitlines())
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    (by_pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    named = {canonicalize_name(one.name): locked[canonicalize_name(one.name)] for one in wanted}
    assert named == pins(by_pip)
    for one in wanted:
        version = named[canonicalize_name(one.name)]
        assert one.specifier.contains(version, prereleases=True), one
    assert f"python {project['requires-python']}" in environment["dependencies"]
    assert "torch==2.13.0\n" in text
    assert not re.search(r"https?://|file:|\+cpu|\+cu|--", text)


def test_continuous_integration_installs_what_the_paper_and_the_pages_need(root):
    from leadmin.publish.typesetting import TEX_FILES

    command = (root / ".ci" / "run").read_text(encoding="utf-8")
    named = re.search(r"packages=\(([^)]*)\)", command)[1].split()
    assert {*TEX_FILES.values(), "poppler-utils"} <= set(named)
    assert "chromium" in re.search(r"browser=\(([^)]*)\)", command)[1].split()
    assert 'missing+=("${browser[@]}")' in command


def test_actions_are_pinned_and_run_what_everyone_runs(root):
    texts = {p.stem: p.read_text(encoding="utf-8") for p in root.glob(".github/workflows/*.yml")}
    used = [one for text in texts.values() for one in re.findall(r"uses: (\S+)", text)]
    assert len(used) >= 4
    assert all(re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", one) for one in used)
    steps = [s for j in yaml.safe_load(texts["test"])["jobs"].values() for s in j["steps"]]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert "run: make book" in texts["book"]
