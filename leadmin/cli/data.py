"""The command line's data commands: fetch, verify, prepare, quality, card."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from leadmin.errors import LeadminError


class Commands(TyperGroup):
    """Commands that print a user's error on stderr, without a traceback, and exit with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except LeadminError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:  # no rights, no space, no such folder
            print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        raise typer.Exit(2)


app = typer.Typer(
    cls=Commands,
    help="Get PTB-XL, check it, and turn it into the file that every run reads.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[
    Path, typer.Option("--from", metavar="PATH", help="PTB-XL: the zip archive or its folder.")
]
Rate = Annotated[int, typer.Option("--rate", metavar="HZ", help="100 or 500.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@app.command()
def prepare(
    source: Source,
    target: Annotated[Path, typer.Option("--to", metavar="FILE", help="The HDF5 file to write.")],
    rate: Rate = 100,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes for PTB-XL; default: one a CPU.")
    ] = None,
    max_failures: Annotated[
        int, typer.Option("--max-failures", min=0, help="How many records may be unusable.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Even if FILE is up to date.")] = False,
    quiet: Quiet = False,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="CSV", help="Of your own records: their table."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="YAML", help="What its columns and statements mean."),
    ] = None,
) -> None:
    """Convert PTB-XL, or your own records, to one HDF5 file: int16 microvolts, labels, folds.

    With --table and --mapping, --from is a folder of WFDB records, CSV or Parquet files.
    """
    from leadmin.data import prepare as preparing

    start = time.perf_counter()
    if table is None and mapping is None:
        report = preparing.prepare(source, target, rate, jobs, max_failures, force, quiet)
    elif table is None or mapping is None:
        raise LeadminError(
            f"--table is {table} and --mapping {mapping}; valid: both, for your own records, or "
            "neither, for PTB-XL; give the other one"
        )
    elif jobs is not None:
        raise LeadminError(
            f"--jobs is {jobs}; valid: for PTB-XL alone, your own records are read by one process; "
            "leave it out"
        )
    else:
        from leadmin.data.own import prepare_own

        report = prepare_own(source, target, table, mapping, rate, max_failures, force, quiet)
    for note in report.notes:
        print(note)
    counts = ", ".join(f"{name} {n}" for name, n in report.class_counts["any"].items())
    if report.up_to_date:
        print(f"{target} is up to date ({report.n_records} records: {counts}); nothing to do.")
        return
    print(f"{target}: {report.n_records} records in {time.perf_counter() - start:.1f} s ({counts})")
    print(f"content sha256 {report.content_sha256}")
    if report.n_failed:
        print(f"{report.n_failed} records left out: {preparing.failures_path(target)}")


@app.command()
def fetch(
    target: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to unpack it.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PATH|URL",
            help="A zip file, an unpacked folder, the address of a zip file, or the address of a "
            "folder of files, ending in /. Default: PhysioNet's archive.",
            show_default=False,
        ),
    ] = "",
    rate: Rate = 100,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the downloaded zip file.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Get PTB-XL 1.0.3 from PhysioNet (or PATH|URL), resuming, and check every file.

    PhysioNet's archive holds both sampling rates and is 1.8 GB; the same command goes on after a
    cut. To download only the files of one rate, give the address of the single files:
    --from https://physionet.org/files/ptb-xl/1.0.3/
    """
    from leadmin.data import fetch as fetching

    source = source or fetching.ARCHIVE_URL
    report = fetching.fetch(target, source, rate, keep_archive, quiet=quiet)
    state = "is there already" if report.up_to_date else "unpacked and checked"
    print(
        f"{report.folder}: {report.n_records} records at {rate} Hz, {report.n_files} files, "
        f"{report.n_bytes / 1e6:.0f} MB, {state}."
    )


@app.command()
def verify(
    source: Source,
    rate: Rate = 100,
    table: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write all problems as CSV.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check an archive or a folder: tables, checksums, and every record of one rate."""
    from dataclasses import asdict

    import pandas as pd

    from leadmin.data import fetch as fetching
    from leadmin.files import write_text

    if table is not None and source.resolve() in (table.resolve(), *table.resolve().parents):
        raise LeadminError(f"--report is {table}; valid: a file outside of {source}; change it")
    report = fetching.verify(source, rate, quiet)
    if table is not None:
        columns = ["file", "reason", "detail"]
        rows = pd.DataFrame([asdict(problem) for problem in report.problems], columns=columns)
        write_text(table, rows.to_csv(index=False, lineterminator="\n"))
    for policy, counts in report.class_counts.items():
        listed = ", ".join(f"{name} {n}" for name, n in counts.items())
        print(f"superclasses ({policy}): {listed}")
    print(f"{report.n_records} records at {rate} Hz, {report.n_files} files compared")
    if report.problems:
        shown = "\n".join(f"  {problem.detail}" for problem in report.problems[:10])
        more = len(report.problems) - 10
        rest = f"\n  ... and {more} more (--report FILE lists them)" if more > 0 else ""
        raise LeadminError(f"{source} has {len(report.problems)} problems:\n{shown}{rest}")
    print("no problems found")


Prepared = Annotated[
    Path, typer.Option("--data", metavar="FILE", help="An HDF5 file made by `prepare`.")
]


@app.command()
def quality(
    prepared: Prepared,
    target: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Where to write the CSV tables.")
    ],
) -> None:
    """Count flat, saturated, clipped, noisy, lead-swapped and duplicated records."""
    from leadmin.data import quality as assessing
    from leadmin.data.dataset import load_dataset

    report = assessing.assess(load_dataset(prepared))
    print(report.by_fold.to_string())
    print(f"\nby superclass (any likelihood):\n{report.by_class.to_string()}\n")
    print(f"patients in more than one fold: {len(report.crossing_patients)}")
    for path in report.write(target):
        print(path)


@app.command()
def card(
    prepared: Prepared,
    target: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Default: beside FILE.")
    ] = None,
) -> None:
    """Write a data card (Markdown) and Croissant metadata (JSON) for a prepared file."""
    from leadmin.data.card import write_card

    files = write_card(prepared, target)
    for path in (files.card, files.croissant, files.table):
        print(path)


if __name__ == "__main__":
    app()
