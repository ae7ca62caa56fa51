"""The command line and the engine behind it, which a script plays that logs what it is told to."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from trees import CLI, TINY, Tree
from trouble import command_refused, flip
from typer.testing import CliRunner

from leadmin.cli import engine
from leadmin.study.validity import held

STUDY = ["--study", "workflow/studies/sample.yml"]
BEGUN = """Job stats:
job      count
-----  -------
book         1
train        3
total        4

localrule prepare:
    jobid: 3
Finished jobid: 3 (Rule: prepare)
1 of 5 steps (20%) done
rule train:
    input: a, b
    jobid: 2
    wildcards: run=any-lead
rule explanation:
    jobid: 7
"""
DIED = "Error in rule train:\n    message: killed\n    jobid: 2\n"


@pytest.fixture
def clone(root, tmp_path, monkeypatch):
    """A source tree whose engine prints ``log.txt``, then the words that it was called with."""
    shutil.copytree(root / "workflow" / "profiles", tmp_path / "workflow" / "profiles")
    shutil.copytree(root / "workflow" / "studies", tmp_path / "workflow" / "studies")
    (tmp_path / "data").symlink_to(root / "data")
    files = ("leadmin/net/fit.py", "notebooks/a.py", "book/intro.md", "_config.yml", "_toc.yml")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    (tmp_path / "log.txt").write_text(BEGUN)
    (tmp_path / "snakemake.py").write_text(
        "import sys, pathlib; print(pathlib.Path('log.txt').read_text(), *sys.argv, flush=True)\n"
        "while pathlib.Path('wait').exists(): pass\n"
    )
    monkeypatch.setattr(CLI, "source_tree", lambda: tmp_path)
    return tmp_path


def leadmin(*words, **environment):
    return CliRunner().invoke(CLI.app, words, prog_name="leadmin", env=environment)


def seen(*texts):
    """How far a workflow is after lines of its log, one second a text."""
    now = iter(range(100))
    out = io.StringIO()
    progress = engine.Progress(out, lambda: next(now) * 60.0)
    for text in texts:
        for line in text.splitlines():
            progress.feed(line)
    return progress.words(), out.getvalue()


def test_one_line_says_how_far_the_runs_are():
    words, _ = seen(BEGUN)
    assert words == "runs: 0 of 3 done, 1 running, 0 failed; explanation"
    words, shown = seen(BEGUN, "Finished jobid: 2 (Rule: train)", "Finished jobid: 7 (Rule: x)")
    assert words.startswith("runs: 1 of 3 done, 0 running, 0 failed; about ")
    assert words.endswith(" min left")
    assert len(shown.splitlines()) == 2  # where it is no terminal, one line a run that ended
    pages = "localrule book:\n    jobid: 1\n"
    assert seen(pages) == ("nothing to train; book", "nothing to train; book\n")


def test_a_run_that_died_has_failed_until_it_is_tried_again():
    assert seen(BEGUN, DIED)[0] == "runs: 0 of 3 done, 0 running, 1 failed; explanation"
    again = "Trying to restart job 2.\nrule train:\n    jobid: 2\n"
    assert seen(BEGUN, DIED, again)[0] == seen(BEGUN)[0]


def test_the_log_is_kept_and_shown_on_demand(clone):
    result = leadmin("run", "--all", *STUDY)
    assert result.exit_code == 0
    assert result.stderr.startswith("runs: 0 of 3 done")
    assert "rule train" not in result.output
    log = clone / "outputs" / "sample" / "logs" / "workflow.log"
    assert log.read_text().startswith(BEGUN)
    assert "--set-resources" not in log.read_text()
    (clone / "snakemake.py").write_text("print('error: x is y:\\n  z'); raise SystemExit(1)")
    log.touch()
    result = leadmin("run", "--all", *STUDY)
    command_refused("the workflow failed: x is y:\n  z; notebooks", result)
    assert "the engine's log, workflow.log" in result.stderr


def test_paths_of_a_study_are_found_from_here_or_beside_it(clone, monkeypatch):
    here, mine = clone / "here", clone / "mine"
    here.mkdir()
    shutil.copytree(clone / "data" / "sample", mine)
    study = {"name": "own", "title": "T", "source": "ptb-xl-sample.zip"}
    study["configurations"] = ["12-lead", "1-lead-II"]
    (mine / "study.yml").write_text(yaml.safe_dump(study))
    monkeypatch.chdir(here)
    for source in (mine / "ptb-xl-sample.zip", here / "ptb-xl-sample.zip"):
        assert leadmin("run", "--all", "--study", "../mine/study.yml").exit_code == 0
        words = (clone / "outputs" / "own" / "logs" / "workflow.log").read_text()
        assert "study=outputs/own.yml" in words
        assert yaml.safe_load((clone / "outputs" / "own.yml").read_text())["source"] == str(source)
        shutil.copy(mine / "ptb-xl-sample.zip", here)
    (mine / "study.yml").write_text(yaml.safe_dump(study | {"source": "nowhere"}))
    message = f"source: nowhere does not exist in {here}, {mine} or {clone}; get"
    command_refused(message, leadmin("run", "--all", "--study", "../mine/study.yml"))


def test_records_that_no_study_can_be_made_of_are_refused_before_training(clone):
    (clone / "t.csv").write_text("r,p,l\na,1,x\nb,2,y\n")
    (clone / "m.yml").write_text(
        "title: T\ncolumns: {record: r, patient: p, labels: l}\n"
        "classes: {x: {statements: [x]}, y: {statements: [y]}}\n"
    )
    study = {"name": "own", "title": "T", "source": str(clone), "recipe": "scratch"}
    study |= {"table": str(clone / "t.csv"), "mapping": str(clone / "m.yml")}
    (clone / "s.yml").write_text(yaml.safe_dump(study | {"configurations": ["12-lead"]}))
    result = leadmin("run", "--all", "--study", str(clone / "s.yml"))
    command_refused(r"t\.csv: no record with a class is in fold 3, 4", result)
    assert not (clone / "outputs" / "own").exists()


@pytest.mark.parametrize(
    "words", [("predict", ""), ("predict", "x.csv", "--network="), ("export", "")]
)
def test_an_empty_word_is_no_name_of_the_current_folder(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["leadmin", *words])
    with pytest.raises(SystemExit, match="2"):
        CLI.main()
    assert "says nothing; fill it, or leave it out" in capsys.readouterr().err


def test_the_engine_is_started_unless_all_is_as_it_left_it(clone):
    made, data = "outputs/sample/notebooks/04_analysis.ipynb", "outputs/data/sample-100hz.h5"
    log, study = clone / "outputs/sample/logs/workflow.log", clone / STUDY[1]
    shutil.copy(clone / "data" / "sample" / "ptb-xl-sample.zip", clone / "sample.zip")
    study.write_text(study.read_text().replace("data/sample/ptb-xl-sample", "sample"))
    for name in (made, data):
        (clone / name).parent.mkdir(parents=True)
        (clone / name).write_text("as it was")

    def starts(*words):
        before = log.stat().st_mtime_ns if log.exists() else 0
        result = leadmin("run", "--all", *words, "--study", str(study))
        assert result.stdout.endswith("outputs/sample/book/html/index.html\n"), result.output
        started = log.stat().st_mtime_ns != before
        assert started != ("Nothing to be done: everything is up to date." in result.stdout)
        return started

    assert [starts(), starts(), starts("--force"), starts()] == [True, False, True, False]
    for name, change in (
        ("leadmin/net/fit.py", flip),
        ("leadmin/net/new.py", Path.touch),
        ("notebooks/a.py", Path.touch),
        ("book/intro.md", flip),
        ("book/intro.md", Path.unlink),
        ("_toc.yml", flip),
        (STUDY[1], Path.touch),
        ("sample.zip", Path.touch),
        (made, flip),
        (made, Path.unlink),
        (data, Path.unlink),
    ):
        change(clone / name)
        assert [starts(), starts()] == [True, False], name


def test_what_was_edited_while_the_engine_ran_or_failed_is_looked_at_again(clone):
    engine = clone / "snakemake.py"
    script = "import pathlib; print('Nothing to be done'); {}"
    for line in ("pathlib.Path('book/intro.md').write_text('new')", "raise SystemExit(1)"):
        engine.write_text(script.format(line))
        leadmin("run", "--all", *STUDY)
        engine.write_text(script.format("pathlib.Path('started').touch()"))
        assert leadmin("run", "--all", *STUDY).exit_code == 0
        (clone / "started").unlink()
        leadmin("run", "--all", *STUDY)
        assert not (clone / "started").exists()
        (clone / "_toc.yml").touch()


def test_a_dry_run_looks_on_while_another_workflow_runs(clone):
    with held(clone / "outputs", "workflow"):
        assert leadmin("run", "--all", "--dry-run", *STUDY).exit_code == 0
        result = leadmin("run", "--all", *STUDY)
    command_refused(rf"another workflow is running here \(process {os.getpid()} on", result)


def test_ctrl_c_says_what_is_kept(clone):
    (clone / "wait").touch()
    code = (
        "import pathlib; from leadmin.cli import engine; import typer, sys\n"
        "try: engine.run_engine(pathlib.Path(), pathlib.Path('s'), [], [], pathlib.Path('log'))\n"
        "except typer.Exit as end: sys.exit(end.exit_code)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=clone,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background job, such as `nohup make test &`, is deaf to it, and its children too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr.readline().startswith("runs: 0 of 3")
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    assert re.search(r"kept: .*complete epochs; the same command goes on", process.stderr.read())
    assert process.wait() == 130


def test_an_option_says_how_many_accelerators_a_training_job_asks_for(clone):
    leadmin("run", "--all", "--profile", "kubernetes", "--gpus", "2", *STUDY)
    words = (clone / "outputs" / "sample" / "logs" / "workflow.log").read_text()
    assert "--set-resources train:gpu=2 --" in words
    profile = clone / "workflow" / "profiles" / "slurm" / "config.yaml"
    profile.write_text("set-resources: ['train:gpu=1', 'book:mem_mb=9']\n")
    options = engine.profile_options(clone, "slurm", 0)
    assert options[-3:] == ["--set-resources", "book:mem_mb=9", "train:gpu=0"]


@pytest.mark.parametrize("account", ["none", "None", "null", "''"])
def test_an_account_that_is_none_is_refused(clone, account):
    profile = clone / "workflow" / "profiles" / "slurm" / "config.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("  mem_mb", f"  slurm_account: {account}\n  mem_mb"))
    result = leadmin("run", "--all", "--profile", "slurm", *STUDY)
    command_refused(r"config\.yaml: slurm_account is '.*'; valid: an account", result)


def test_every_cluster_profile_asks_for_a_gpu_and_tries_again(root):
    for name in ("slurm", "kubernetes"):
        text = (root / "workflow" / "profiles" / name / "config.yaml").read_text(encoding="utf-8")
        profile = yaml.safe_load(text)
        assert profile["set-resources"]["train"]["gpu"] == 1
        assert profile["default-resources"].get("gpu", 0) == 0
        assert profile["retries"] >= 1


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Write a script in place of a command of this machine."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def write(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return write


@pytest.mark.slow
def test_every_training_job_and_no_other_asks_for_a_gpu(root, tmp_path, commands):
    """Whatever this machine has; of the SLURM commands only ``squeue`` is asked for."""
    tree = Tree(root, tmp_path)
    commands("squeue", "")
    snakefile = tmp_path / "workflow" / "Snakefile"
    text = snakefile.read_text(encoding="utf-8")
    assert text.count("torch.cuda.is_available()") == 1
    snakefile.write_text(text.replace("torch.cuda.is_available()", "3"))
    jobs = re.findall(r"rule (\w+):.*?resources: ([^\n]*)", tree.dry_run(TINY, "slurm"), re.S)
    assert [("gpu=1" in asked) for _, asked in jobs] == [rule == "train" for rule, _ in jobs]
    assert [rule for rule, _ in jobs].count("train") == 3  # the any-lead network too
    for _, asked in jobs:
        assert re.search(r"mem_mb=\d+.*runtime=\d+|runtime=\d+.*mem_mb=\d+", asked)


def test_a_job_is_handed_to_kubernetes_and_asked_after(root, tmp_path, commands):
    commands("kubectl", '[ $1 = create ] && cat > created && echo job/x || echo "$STATE"')

    def jobs(*words, **more):
        command = [sys.executable, str(root / "workflow/profiles/kubernetes/jobs.py"), *words]
        done = subprocess.check_output(command, cwd=tmp_path, env=os.environ | more, text=True)
        return done.strip()

    asked = ["--image", "i", "--claim", "c", "--mounted", "/m", "--cpus", "2"]
    asked += ["--memory", "6000", "--minutes", "480"]
    for gpus, wanted in (("1", {"nvidia.com/gpu": "1"}), ("0", {})):
        assert jobs("submit", *asked, "--gpus", gpus, "job.sh") == "job/x"
        job = json.loads((tmp_path / "created").read_text())["spec"]
        (container,) = job["template"]["spec"]["containers"]
        assert container["command"] == ["/bin/sh", "job.sh"]
        assert container["workingDir"] == str(tmp_path)
        assert container["resources"]["limits"] == {"cpu": "2", "memory": "6000M"} | wanted
        assert job["activeDeadlineSeconds"] == 480 * 60
    for state, said in ((",", "running"), ("1,", "success"), (",1", "failed")):
        assert jobs("status", "job/x", STATE=state) == said


def test_the_version_is_said():
    assert re.fullmatch(r"leadmin \d+\.\d+\.\d+\n", leadmin("--version").output)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("leadmin pub", "publish"),
        ("leadmin run --profile s", "slurm"),
        ("leadmin run --config 3-lead-I-II-V", "3-lead-I-II-V2"),
    ],
)
def test_the_shell_completes(words, offered):
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    assert leadmin(_LEADMIN_COMPLETE="complete_bash", **asked).output.split() == [offered]
