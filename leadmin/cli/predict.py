"""The command line's door to a trained network: what it says of a file."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leadmin.errors import LeadminError

if TYPE_CHECKING:
    from leadmin.data.recordings import Recording
    from leadmin.net.reading import Reading

app = typer.Typer()

_WARNING = "A research result, no medical device: it diagnoses nobody."


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Files, folders or zip files of ECGs.")],
    network: Annotated[
        str, typer.Option(help="Name of a network, or the folder of a run.")
    ] = "any-lead",
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each class, as CSV.")] = False,
    page: Annotated[
        Path | None,
        typer.Option(help="Draw the ECG on paper: a .png, or an .html with the answer beside it."),
    ] = None,
    leads: Annotated[
        str, typer.Option(help="A name for each channel, such as I,II,-; - leaves one out.")
    ] = "",
    rate: Annotated[float | None, typer.Option(help="Hz, where a file does not say it.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Of the voltages, where a file does not say it.")
    ] = None,
) -> None:
    """Say what a trained network reads in ECG files: WFDB, CSV, Parquet, EDF, DICOM, aECG, Watch.

    A file that cannot be read is an error line; the others are still answered, and the command
    ends with code 2. Research results, not a medical device.
    """
    import leadmin
    from leadmin.data.recordings import iter_recordings

    if page is not None and page.suffix.lower() not in {".png", ".html"}:
        raise LeadminError(f"--page is {page}; valid: a name that ends in .png or .html; change it")
    if as_json and as_csv:
        raise LeadminError("--json and --csv: both are given; valid: one of them; drop one")
    classifier = leadmin.load(network)
    names = [name.strip() for name in leads.split(",")] if leads else None
    found, n_failed = [], 0
    for file in files:
        for one in iter_recordings(file, leads=names, sampling_rate=rate, unit=unit):
            try:
                if isinstance(one, LeadminError):
                    raise one
                reading = classifier.read(one)
            except LeadminError as error:
                said = str(error) if isinstance(one, LeadminError) else f"{file}: {error}"
                print(f"error: {said}", file=sys.stderr)
                n_failed += 1
                continue
            found.append((file, one, reading))
            if not as_json and not as_csv:
                print(_in_words(one, reading), flush=True)
    if as_json:
        print(json.dumps([{"file": str(f)} | r.as_dict() for f, _, r in found], indent=2))
    elif as_csv:
        print(_table([(file, reading) for file, _, reading in found]), end="")
    elif found:
        print(_WARNING)
    if page is not None and found:
        from leadmin.show.reading import write_page

        write_page(page, [(recording, reading) for _, recording, reading in found])
    if n_failed:
        raise typer.Exit(2)


def _in_words(recording: "Recording", reading: "Reading") -> str:
    """Write one reading for people."""
    from leadmin.labels import CLASS_NAMES

    segments = f", {len(reading.segments)} segments" if len(reading.segments) > 1 else ""
    derived = f" (derived: {', '.join(reading.derived)})" if reading.derived else ""
    lines = [
        f"{reading.name}: {recording.seconds:.1f} s at {recording.sampling_rate:g} Hz{segments}; "
        f"read from {', '.join(reading.used)}{derived}"
    ]
    for name, probability in zip(reading.classes, reading.probabilities, strict=True):
        passed = reading.passed(name)
        above = f"  above {', '.join(passed)}" if passed else ""
        lines.append(f"  {name:5} {CLASS_NAMES.get(name, ''):24} {probability:6.1%}{above}")
    kind = "recalibrated" if reading.recalibrated else "as the network gives them"
    lines.append(f"  probabilities are {kind}; classes do not exclude each other")
    lines += [f"  noticed: {sentence}" for sentence in reading.noticed]
    return "\n".join(lines)


def _table(found: "list[tuple[Path, Reading]]") -> str:
    """Write a row for each recording and class."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "name", "class", "probability", "passed", "used", "noticed"])
    for file, one in found:
        for name, probability in zip(one.classes, one.probabilities, strict=True):
            told = (" ".join(one.passed(name)), " ".join(one.used), "; ".join(one.noticed))
            rows.writerow([file, one.name, name, f"{probability:.6f}", *told])
    return text.getvalue()
