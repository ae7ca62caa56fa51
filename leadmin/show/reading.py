"""A reading on a page: the ECG on paper, leads that the network saw in black, others in grey."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from leadmin.data.recordings import Recording
from leadmin.errors import LeadminError
from leadmin.files import atomic_path, write_text
from leadmin.labels import CLASS_NAMES
from leadmin.leads import LEADS, derive, span
from leadmin.net.reading import Reading, at_rate
from leadmin.show.ecg_paper import ECG_SECONDS, LARGEST_MILLIVOLTS, plot_ecg
from leadmin.show.style import picture

_STYLE = """
body { font-family: sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: 0.3rem 0.8rem; text-align: left; border-bottom: 1px solid #bbb; }
"""


def plot_reading(recording: Recording, reading: Reading) -> Figure:
    """Draw the first ten seconds that were read, as far as the recording has leads.

    Black: leads that the network saw, recorded or derived. Grey: what it did not see.
    """
    read = np.flatnonzero(~np.isnan(reading.segments).any(axis=1))
    first = round(reading.starts[read[0]] * recording.sampling_rate)
    n_samples = round((ECG_SECONDS + 0.1) * recording.sampling_rate)
    rate = min(1000, round(recording.sampling_rate))
    good = [lead for lead in recording.leads if lead not in reading.dropped]
    rows = [recording.leads.index(lead) for lead in good]
    piece = recording.signals[rows, first : first + n_samples]
    piece = at_rate(piece, recording.sampling_rate, rate)
    piece = piece - np.median(piece, axis=-1, keepdims=True)
    there = [lead for lead in LEADS if lead in span(good)]
    drawn = np.full((len(LEADS), max(piece.shape[-1], round(ECG_SECONDS * rate))), np.nan)
    for lead, row in zip(there, derive(piece, good, there), strict=True):
        drawn[LEADS.index(lead), : len(row)] = np.clip(row, -LARGEST_MILLIVOLTS, LARGEST_MILLIVOLTS)
    start = f", from {reading.starts[read[0]]:.0f} s" if read[0] else ""
    return plot_ecg(drawn, rate, reading.seen, f"{reading.name[:60]}{start}")


def write_page(path: Path, readings: Sequence[tuple[Recording, Reading]]) -> None:
    """Write a picture (``.png``, of one recording) or a page (``.html``, of any number)."""
    if path.suffix.lower() == ".png":
        if len(readings) != 1:
            raise LeadminError(
                f"{path}: a picture for {len(readings)} recordings; valid: one; name an .html"
            )
        with atomic_path(path) as temporary:
            plot_reading(*readings[0]).savefig(temporary)
        return
    sections = "".join(_section(recording, reading) for recording, reading in readings)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>ECG readings</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>ECG readings</h1>"
        "<p>Research results, not a medical device: they diagnose nobody.</p>"
        f"{sections}</main></body></html>\n",
    )


def _section(recording: Recording, reading: Reading) -> str:
    data, _ = picture(plot_reading(recording, reading))
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{html.escape(CLASS_NAMES.get(name, ''))}"
        f"</td><td>{p:.1%}</td><td>{html.escape(', '.join(reading.passed(name)))}</td></tr>"
        for name, p in zip(reading.classes, reading.probabilities, strict=True)
    )
    noticed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in reading.noticed)
    used = ", ".join(reading.used)
    return (
        f"<section><h2>{html.escape(reading.name)}</h2>"
        f'<img alt="Ten seconds of the ECG; read from {used}" src="data:image/png;base64,{data}">'
        f"<p>Read from {used}. Black: leads that the network saw; grey: those it did not.</p>"
        "<table><thead><tr><th scope=col>class</th><th scope=col>meaning</th><th scope=col>"
        f"probability</th><th scope=col>above</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<ul>{noticed}</ul></section>"
    )
