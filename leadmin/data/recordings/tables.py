"""Tables: CSV, TSV and Parquet with a column for each lead, and the export of an Apple Watch."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadmin.data.recordings.recording import (
    MOST_BYTES,
    Channel,
    Options,
    Recording,
    assemble,
    check_size,
    parsed_as,
    read_bytes,
)
from leadmin.errors import LeadminError

_TIMES = {"time", "t", "times", "seconds", "sec", "elapsed time", "timestamp", "zeit", "temps"}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_COUNTERS = {"", "sample", "samples", "index", "#", "n", "unnamed: 0", "__index_level_0__"}
_UNIT_IN_NAME = re.compile(
    r"(?P<name>.*?)(?:\s*[\(\[]\s*(?P<unit>[^\)\]]*?)\s*[\)\]]|[_\s](?P<tail>[mµμu]?v|m?s|us))\s*",
    re.IGNORECASE,
)
"""``I (mV)``, ``V1 [µV]``, ``II_uV``, ``time (ms)``, ``time_s``."""

_NUMBER_AND_WORD = re.compile(r'"?\s*(\d{2,4}(?:[.,]\d{1,6})?)\s*([^\W\d]+)\s*"?,?')
_LEAD_LINE = re.compile(r'"?\s*(?:[^\W\d]+\s+)?(I|II|III|V[1-6])(?:\s+[^\W\d]+)?\s*"?,?')
_UNIT_LINE = re.compile(r'"?\s*([µμu]V|mV)\s*"?,?')
_HEADER_LINES = 40
"""An Apple Watch writes about ten before the empty line."""


def read_text_table(path: Path, options: Options, name: str) -> list[Recording]:
    """Read a CSV or TSV file; an Apple Watch export is told by its form."""
    content, where = read_bytes(path), str(path)
    try:
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
    except UnicodeDecodeError as error:
        raise LeadminError(
            f"{where}: it is not UTF-8 text (byte {error.start}); valid: a table; save it as CSV"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    watch = _read_watch(text, options, name, where)
    if watch is not None:
        return [watch]
    lines = text.split("\n")
    while lines and (not lines[0].strip() or lines[0].startswith("#")):
        del lines[0]
    if not lines:
        raise LeadminError(f"{where}: it is empty; valid: a table with a column for each lead")
    separator = next((s for s in "\t;," if s in lines[0]), "\t" if path.suffix == ".tsv" else ",")
    try:
        first = [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=separator))]
    except csv.Error as error:
        raise LeadminError(
            f"{where}: its first line is no table ({error}); save it as CSV"
        ) from error
    headed = not all(_is_number(cell, separator) for cell in first)
    names = first if headed else [f"column {n}" for n in range(1, len(first) + 1)]
    values = _numbers(lines[1 if headed else 0 :], len(names), separator, where)
    return [_recording(names, values.T, options, name, where)]


def read_parquet(path: Path, options: Options, name: str) -> list[Recording]:
    """Read a Parquet file with a column of numbers for each lead."""
    where, content = str(path), read_bytes(path)
    with parsed_as("Parquet", where):
        import pyarrow as pa
        from pyarrow import parquet

        file = parquet.ParquetFile(io.BytesIO(content))
        described = file.metadata
        groups = [described.row_group(n) for n in range(described.num_row_groups)]
        n_bytes = sum(group.total_byte_size for group in groups)
        check_size(max(1, described.num_columns), described.num_rows, where)
        if n_bytes > MOST_BYTES:
            raise LeadminError(
                f"{where}: unpacked it has {n_bytes} bytes; valid: up to {MOST_BYTES}; cut it"
            )
        kinds = {field.name: field.type for field in file.schema_arrow}
        wrong = [n for n, k in kinds.items() if not pa.types.is_floating(k)
                 and not pa.types.is_integer(k)]  # fmt: skip
        if wrong or len(kinds) != len(file.schema_arrow):
            raise LeadminError(
                f"{where}: column {(wrong or ['twice the same name'])[0][:40]!r} does not hold "
                "numbers; valid: one column of numbers for each lead; leave it out"
            )
        table = file.read()
        columns = [
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            for column in table.columns
        ]
    return [_recording(table.column_names, columns, options, name, where)]


def _is_number(cell: str, separator: str) -> bool:
    try:
        float(cell.replace(",", ".") if separator != "," else cell)
    except ValueError:
        return not cell
    return True


def _numbers(
    lines: Sequence[str], n_columns: int, separator: str, where: str
) -> NDArray[np.float64]:
    """Read rows of numbers; an empty cell is a missing sample, a comma may be a decimal one."""
    body = "\n".join(lines).rstrip("\n")
    if separator != ",":
        body = body.replace(",", ".")
    body = body.replace('"', "")
    if n_columns > 1:
        empty = rf"(?m)(?:^|(?<={separator}))[^\S\n\t]*(?={separator}|$)"
        body = re.sub(empty, "nan", body)
    check_size(n_columns, body.count("\n") + 1, where)
    try:
        values = np.loadtxt(io.StringIO(body), delimiter=separator, comments=None, ndmin=2)
    except (ValueError, OverflowError) as error:
        wrong = str(error).partition(";")[0][:200]
        raise LeadminError(
            f"{where}: its rows are not all numbers ({wrong}, counted from the first row of "
            "numbers); valid: as many numbers in each row as there are columns; mend the file"
        ) from error
    if values.shape[1] != n_columns or not len(values):
        raise LeadminError(
            f"{where}: {n_columns} columns are named, the rows hold {values.shape[1]} numbers; "
            "valid: one for each; mend the file"
        )
    return values


def _recording(
    names: Sequence[str], columns: Any, options: Options, name: str, where: str
) -> Recording:
    """Tell time, counters and leads apart."""
    rate, noticed, channels = None, [], []
    for full, values in zip(names, columns, strict=True):
        match = _UNIT_IN_NAME.fullmatch(full)
        unit = (match["unit"] or match["tail"] or "") if match else ""
        plain = match["name"] if match and unit else full
        plain = plain.strip().strip("'\"")
        if plain.casefold() in _TIMES and unit.casefold() in _SECONDS:
            if rate is not None:
                raise LeadminError(f"{where}: it has two columns of time; valid: one; drop one")
            seconds = np.asarray(values, dtype=np.float64) * _SECONDS[unit.casefold()]
            rate = _rate_of(seconds, full, where)
        elif plain.casefold() in _COUNTERS and (np.diff(values) == 1).all():
            noticed.append(f"column {full!r} counts the rows and is left out")
        else:
            channels.append(Channel(plain, unit, values))
    return assemble(channels, rate, options, name, where, noticed)


def _rate_of(seconds: NDArray[np.float64], column: str, where: str) -> float:
    """Give the sampling rate that an even column of time has."""
    steps = np.diff(seconds)
    if not len(steps) or not np.isfinite(steps).all() or np.median(steps) <= 0:
        raise LeadminError(
            f"{where}: column {column!r} does not grow; valid: seconds, or its unit in the name as "
            "in 'time (ms)'; mend it, or leave it out and give `--rate HZ`"
        )
    step = float(seconds[-1] - seconds[0]) / len(steps)
    odd = np.flatnonzero((steps > 1.6 * np.median(steps)) | (steps < 0))
    drift = np.abs(seconds - (seconds[0] + step * np.arange(len(seconds)))).max()
    if len(odd) or drift > 1.5 * step:
        row = int(odd[0]) + 1 if len(odd) else int(len(seconds) / 2)
        raise LeadminError(
            f"{where}: column {column!r} is not even (near row {row}); valid: one step between all "
            "rows; cut the recording at its gaps"
        )
    rate = 1 / step
    # Written with three digits, 1/500 s comes back as 500.0004 Hz.
    return float(round(rate)) if abs(rate - round(rate)) < 1e-3 * rate / 5 else rate


def _read_watch(text: str, options: Options, name: str, where: str) -> Recording | None:
    """Read the export of an Apple Watch, whose words depend on the language; None if it is none.

    Lines of ``key,value``, of which one has a rate (``512.844 hertz``), one a lead (``Lead I``)
    and one a unit (``µV``); an empty line; one value a line, in some languages with a decimal
    comma.
    """
    head, gap, body = text.lstrip("\n").partition("\n\n")
    lines = head.split("\n")
    if not gap or not 3 <= len(lines) <= _HEADER_LINES:
        return None
    values = [
        re.split(r"[,;\t]", line, maxsplit=1)[-1] for line in lines if re.search("[,;\t]", line)
    ]
    rates = [m for value in values if (m := _NUMBER_AND_WORD.fullmatch(value))]
    leads = [m[1] for value in values if (m := _LEAD_LINE.fullmatch(value))]
    units = [m[1] for value in values if (m := _UNIT_LINE.fullmatch(value))]
    below = [line for line in body.split("\n") if line.strip(' ,;"\t')]
    below_units = [m[1] for line in below[:3] if (m := _UNIT_LINE.fullmatch(line.split(",")[-1]))]
    if not len(rates) == len(leads) == 1 or len(units + below_units) != 1:
        return None
    numbers = []
    for line in below:
        cell = line.strip(' "\t').rstrip(",;").strip('" ')
        if re.fullmatch(r"[-+\u2212]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?", cell, re.IGNORECASE):
            numbers.append(float(cell.replace(",", ".").replace("\u2212", "-")))
        elif numbers:
            raise LeadminError(
                f"{where}: sample {len(numbers) + 1} is {line[:40]!r}; valid: one number a line; "
                "export the recording again"
            )
    channel = Channel(leads[0], (units + below_units)[0], np.array(numbers))
    return assemble([channel], float(rates[0][1].replace(",", ".")), options, name, where)
