"""The command line: a thin face over the workflow, the data layer and the book."""

import importlib.util
import io
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import leadmin
from leadmin.cli.data import Commands
from leadmin.cli.data import app as data_app
from leadmin.cli.engine import UP_TO_DATE, Standing, profile_options, profiles, run_engine
from leadmin.cli.predict import app as predict_app
from leadmin.errors import LeadminError
from leadmin.files import read_yaml
from leadmin.leads import configurations

if TYPE_CHECKING:
    from leadmin.study.settings import Study

app = typer.Typer(
    cls=Commands,
    help="How few ECG leads do you really need? Prepare data, run the study, build the book.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(data_app, name="data")
app.add_typer(predict_app)

SAMPLE_STUDY = Path("workflow/studies/sample.yml")
REPORT = Path("outputs/report/html/index.html")

StudyOption = Annotated[
    Path,
    typer.Option(
        "--study",
        help="Study file (YAML).",
        autocompletion=lambda: sorted(map(str, Path().glob("workflow/studies/*.yml"))),
    ),
]


def source_tree() -> Path:
    """Find the clone that this package was installed from; one that stands alone is refused."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "workflow" / "Snakefile").is_file():
        raise LeadminError(
            f"{root}: no workflow/Snakefile here; install from a clone with `pip install -e .`"
        )
    return root


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"leadmin {version('leadmin')}")
        raise typer.Exit


@app.callback()
def supported(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which this is."),
    ] = False,
) -> None:
    """Refuse systems without what the workflow's lock and its shell commands need."""
    if importlib.util.find_spec("fcntl") is None:
        raise LeadminError(
            f"{sys.platform}: this system is not supported; valid: Linux, macOS, and Windows by "
            "WSL; start leadmin there"
        )


def _relative(path: Path, root: Path) -> Path:
    """Name ``path`` as seen from ``root``, so that a study is the same wherever it is called."""
    candidate = path if path.exists() or path.is_absolute() else root / path
    resolved = candidate.resolve()
    return resolved.relative_to(root) if resolved.is_relative_to(root) else resolved


@app.command()
def run(
    all_configurations: Annotated[
        bool, typer.Option("--all", help="All of the study, with its tables and its book or page.")
    ] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="One configuration, or leads separated by commas; of an ablation one variant. May "
            "be repeated.",
            autocompletion=lambda: list(configurations(beyond=True)),
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Three epochs and one seed, to see that everything works.")
    ] = False,
    epochs: Annotated[
        int, typer.Option(help="Other number of epochs for every recipe; 0 keeps the recipe's.")
    ] = 0,
    study: StudyOption = SAMPLE_STUDY,
    cores: Annotated[int, typer.Option(help="Processor cores; 0 for all.")] = 0,
    profile: Annotated[
        str,
        typer.Option(
            help="Where it runs: a folder of workflow/profiles.",
            autocompletion=lambda: profiles(source_tree()),
        ),
    ] = "local",
    gpus: Annotated[
        int | None,
        typer.Option(
            min=0, help="Accelerators that each training job asks for; default: the profile's."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would run, and why.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is finished.")] = False,
    verbose: Annotated[bool, typer.Option(help="The engine's log instead of one line.")] = False,
) -> None:
    """Run the study through papermill, as far as it is not up to date.

    ``--quick`` and ``--epochs`` make a study of their own, whose results stand beside those of
    the study they come from and never replace them. What is damaged is said and made again.
    """
    from leadmin.study.validity import METRICS, SEAL, held

    if all_configurations == bool(config):
        raise LeadminError("give either --all or --config NAME; `leadmin run --help` explains them")
    root = source_tree()
    options = profile_options(root, profile, gpus)
    wanted, file = _wanted(study, root, quick, epochs)
    names = [wanted.run_name(name) for name in config or []]
    out = f"outputs/{wanted.name}"
    targets = [f"{out}/{wanted.page(name)}" for name in names]
    options += ["--cores", str(cores)] if cores else []
    options += ["--dry-run"] if dry_run else []
    log = None if verbose or dry_run else root / out / "logs" / "workflow.log"
    # A dry run writes nothing, so that it may look on while another workflow runs.
    with nullcontext() if dry_run else held(root / "outputs", "workflow"):
        repeated = _damaged(wanted, root / out, names)
        if force:
            forced = names or wanted.runs
            repeated |= {f"{out}/{wanted.page(name)}{SEAL}" for name in forced}
            for name in forced if not dry_run else ():
                (root / out / "runs" / name / METRICS).unlink(missing_ok=True)
        options += ["--forcerun", *sorted(repeated)] if repeated else []
        sealed = [target + SEAL for target in targets]
        standing = Standing(root, wanted, file)
        whole = not (dry_run or targets)
        if whole and not repeated and standing.holds():
            typer.echo(UP_TO_DATE)
            code = 0
        else:
            code = run_engine(root, file, sealed or ["all"], options, log)
            if whole and not code:
                standing.keep()
    if code:
        said = _last_error(log)
        logs = f"{root / out / 'logs'}" + (f", and the engine's log, {log.name}" if log else "")
        raise LeadminError(f"the workflow failed{said}; notebooks with tracebacks are in {logs}")
    if dry_run:
        return
    page = "book/html/index.html" if wanted.has_book else f"notebooks/{wanted.conclusions[0]}.ipynb"
    results = [root / target for target in targets or [f"{out}/{page}"]]
    typer.echo("\n".join(map(str, results)))


def _last_error(log: Path | None) -> str:
    """Quote the last error message that a step of the workflow left in the log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else ""
    said = re.findall(r"^(?:error|(?:\w+\.)*LeadminError): (.+(?:\n  \S.*)*)", text, re.MULTILINE)
    return f": {said[-1]}" if said else ""


def _wanted(study: Path, root: Path, quick: bool, epochs: int) -> tuple["Study", Path]:
    """Read a study, or derive the shorter one that is wanted, and name its file."""
    from leadmin.study.settings import derive_study, load_study

    file = _relative(study, root)
    wanted = load_study(root / file)
    found = (wanted.source_path, *wanted.own_files)
    paths = dict(zip(("source", "table", "mapping"), found, strict=False))
    for name, path in paths.items():
        if not (root / path).exists():
            looked = f" in {Path.cwd()}, {(root / file).parent} or {root}"
            looked *= not path.is_absolute()
            raise LeadminError(
                f"{file}: {name}: {path} does not exist{looked}; get the records first, or name "
                "another archive, folder or table"
            )
    if wanted.mapping:
        from leadmin.data.own import read_own_table, unfit
        from leadmin.data.own_mapping import read_mapping

        rows = read_own_table(root / paths["table"], read_mapping(root / paths["mapping"]))
        if why := unfit(rows.labels, rows.fold, wanted.protocol):
            raise LeadminError(f"{paths['table']}: {why}")
    if not quick and not epochs:
        raw = read_yaml(root / file, "study file", "")
        moved = any((raw.get(k) or "") != getattr(wanted, k) for k in (*paths, "network"))
        return wanted, derive_study(wanted, root) if moved else file
    suffix = "quick" if quick else f"{epochs}-epochs"
    changed: dict[str, Any] = {"epochs": epochs or 3} | (
        {"seeds": 1, "compare_seeds": 1, "map_seeds": 0} if quick else {}
    )
    wanted = replace(wanted, name=f"{wanted.name}-{suffix}", overrides={}, **changed)
    return wanted, derive_study(wanted, root)


def _damaged(study: "Study", out: Path, names: list[str]) -> set[str]:
    """Say which finished pieces of a study are damaged, and name the seals to make again."""
    from leadmin.study.validity import SEAL, study_problems

    starts = (start for name in names for start in study.starts_of(name))
    wanted = [*names, *starts] or study.runs
    seals = {out / "runs" / name: out / f"{study.page(name)}{SEAL}" for name in wanted}
    seals[out / "map"] = out / f"notebooks/06_map.ipynb{SEAL}"
    found = set()
    for place, problems in study_problems(out, wanted, pages=not names).items():
        seal = seals.get(place, place)
        if seal.exists():  # or it is unfinished, which the engine sees itself
            typer.echo(
                "\n".join(f"damaged, made again: {problem}" for problem in problems), err=True
            )
            found.add(seal.relative_to(out.parents[1]).as_posix())
    return found


@app.command()
def verify(
    study: Annotated[Path, typer.Argument(help="Study file, or a study's folder of results.")],
) -> None:
    """Compare every file of a study with its checksum; name those that are damaged."""
    from leadmin.study.settings import load_study
    from leadmin.study.validity import foreign_files, read_metrics, study_problems

    root = source_tree()
    names: tuple[str, ...] = ()
    folder = root / _relative(study, root)
    if not folder.is_dir():
        wanted = load_study(folder)
        names, folder = wanted.runs, root / "outputs" / wanted.name
    if not names and not (folder / "runs").is_dir():
        raise LeadminError(f"{folder}: no runs here; valid: a study file, or a folder with runs/")
    problems = study_problems(folder, names)
    for run in sorted(folder.glob("runs/*/metrics.json")):
        if run.parent not in problems:
            for name in foreign_files(run.parent, read_metrics(run.parent)["files"]):
                typer.echo(f"{run.parent / name}: not a file of this run; left alone")
    for problem in (line for lines in problems.values() for line in lines):
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{folder}: no problems found")


@app.command()
def book(
    study: StudyOption = SAMPLE_STUDY,
    runs: Annotated[
        bool, typer.Option(help="With what the study produced here as an appendix, or without.")
    ] = True,
) -> None:
    """Assemble published and executed notebooks and build the HTML book."""
    from leadmin.publish.book import build_book
    from leadmin.study.settings import load_study

    root = source_tree()
    index = build_book(load_study(root / _relative(study, root)), root, with_runs=runs)
    typer.echo(str(index))


@app.command()
def report() -> None:
    """Build the book from what is published, as far as it is not up to date; nothing is trained."""
    from leadmin.study.validity import held

    root = source_tree()
    log = root / REPORT.parents[1] / "workflow.log"
    with held(root / "outputs", "workflow"):
        options = profile_options(root, "local", None)
        if run_engine(root, SAMPLE_STUDY, [REPORT.as_posix()], options, log):
            raise LeadminError(f"the report was not built; what stopped it is at the end of {log}")
    typer.echo(str(root / REPORT))


@app.command()
def publish(
    study: StudyOption = SAMPLE_STUDY,
    keep: Annotated[
        Literal["all", "pages", "tables"],
        typer.Option(help="Without predictions (pages) nothing can be computed again."),
    ] = "all",
) -> None:
    """Copy a study's pages, tables, figures and predictions to book/published, to be committed."""
    from leadmin.publish.publishing import publish_study
    from leadmin.study.settings import load_study

    root = source_tree()
    typer.echo(str(publish_study(load_study(root / _relative(study, root)), root, keep)))


@app.command()
def baseline(
    name: Annotated[str, typer.Argument(help="Which method.")],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    data: Annotated[
        str,
        typer.Option(help="Prepared HDF5 file, or archive or folder of PTB-XL; default: sample."),
    ] = "",
    config: Annotated[str, typer.Option(help="Lead configuration.")] = "12-lead",
    protocol: Annotated[str, typer.Option(help="holdout or crossval.")] = "holdout",
    label_policy: Annotated[str, typer.Option(help="any or likelihood50.")] = "any",
) -> None:
    """Train a method that is no network, on the records of the networks."""
    from leadmin.study.baselines import train_baseline
    from leadmin.study.sources import open_dataset

    run = train_baseline(name, open_dataset(data), out, config, protocol, label_policy)
    kept = "; finished before, nothing was trained" if run.kept else ""
    typer.echo(f"{name}: macro AUROC {run.metrics['test'][name][0]['auroc']:.4f}{kept}")


@app.command()
def paper(
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of a study's results; default: the largest published one."),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--to", help="Folder for the PDFs; default: paper/build.")
    ] = None,
) -> None:
    """Typeset the paper and its supplement from a study's results; needs TeX."""
    from leadmin.publish.paper import build_paper
    from leadmin.publish.published import default_results

    root = source_tree()
    made = build_paper(results or default_results(root), root, target or root / "paper" / "build")
    typer.echo("\n".join(map(str, made)))


@app.command()
def export(
    onnx: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    network: Annotated[
        str,
        typer.Option(
            help="One that ships, or the folder of a run.",
            autocompletion=lambda: list(leadmin.networks()),
        ),
    ] = "any-lead",
    leads: Annotated[
        str, typer.Option(help="What the file takes, such as I,V5; default: the network's leads.")
    ] = "",
) -> None:
    """Write a trained network as one ONNX file: microvolts in, probabilities out."""
    from leadmin.net.export import export_onnx

    written = export_onnx(leadmin.load(network), onnx, leads.split(",") if leads else None)
    typer.echo(f"{onnx}: " + ", ".join(f"{name} {value}" for name, value in written.items()))


@app.command()
def configs() -> None:
    """List the lead configurations."""
    for configuration in configurations(beyond=True).values():
        typer.echo(f"{configuration.name:20} {', '.join(configuration.leads)}")


def main() -> None:
    """Run the command line; an error that the user can act on is one message, exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # which may be unable to write a name or a µ
            stream.reconfigure(errors="backslashreplace")
    for word in sys.argv[1:]:
        if re.fullmatch(r"(--[\w-]+=)?", word):  # an empty path would mean the current folder
            print(f"error: {word!r} says nothing; fill it, or leave it out", file=sys.stderr)
            sys.exit(2)
    app()
