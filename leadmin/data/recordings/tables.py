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
from leadmin.data.resample import RATES
from leadmin.errors import LeadminError

_TIMES = {"time", "t", "times", "seconds", "sec", "elapsed time", "timestamp", "zeit", "temps"}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_COUNTERS = {"", "sample", "samples", "index", "#", "n", "unnamed: 0", "__index_level_0__"}
_UNIT_IN_NAME = re.compile(
    r"(?P<name>.*?)(?:\s*[\(\[]\s*(?P<unit>[^\)\]]*?)\s*[\)\]]|[_\s/](?P<tail>[mµμu]?v|m?s|us))\s*",
    re.IGNORECASE,
)
"""``I (mV)``, ``V1 [µV]``, ``II_uV``, ``V2/mV``, ``time (ms)``, ``time_s``."""

_NUMBER_AND_WORD = re.compile(r'"?\s*(\d{2,4}(?:[.,]\d{1,6})?)\s*[^\W\d]+\s*"?,?')
_LEAD_LINE = re.compile(
    r'"?\s*(?:[^\W\d]+\s+|[^\W\da-zA-Z]+)?(I|II|III|V[1-6])(?:\s+[^\W\d]+)?\s*"?,?'
)
_UNIT_LINE = re.compile(r'"?\s*([µμu]V|mV|мкВ)\s*"?,?')
_VALUE = re.compile(r'[ \t"]*([-+\u2212]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?)[ \t",;]*', re.IGNORECASE)
_VALUE_LINE = re.compile(f"^{_VALUE.pattern}$", re.IGNORECASE | re.MULTILINE)
_HEADER_LINES, _HEADER_SIZE = 40, 10_000
"""An Apple Watch writes about ten lines before its values."""


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
    separator = next((s for s in "\t;," if s in lines[0]), "\t")  # a comma elsewhere is decimal
    try:
        first = [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=separator))]
    except csv.Error as error:
        raise LeadminError(
            f"{where}: its first line is no table ({error}); save it as CSV"
        ) from error
    headed = not all(_is_number(cell, separator) for cell in first)
    names = first if headed else [f"column {n}" for n in range(1, len(first) + 1)]
    values = _numbers(lines[1 if headed else 0 :], names, separator, where)
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
    lines: Sequence[str], names: Sequence[str], separator: str, where: str
) -> NDArray[np.float64]:
    """Read rows of numbers; an empty cell is a missing sample, a comma may be a decimal one."""
    body, n_columns = "\n".join(lines).rstrip("\n"), len(names)
    if not body.strip():
        raise LeadminError(f"{where}: it has names of columns and no numbers; get the file again")
    unsure = separator != "," or '"' in body  # whether a comma parts columns or a number
    if separator != ",":
        body = body.replace(",", ".")
    elif unsure:
        body = re.sub(r'"([^",\n]*),([^",\n]*)"', r"\1.\2", body)
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
            "numbers); valid: as many numbers in each row as there are columns"
            f"{', no points between thousands' * (separator == ';')}; mend the file"
        ) from error
    if values.shape[1] != n_columns or not len(values):
        raise LeadminError(
            f"{where}: {n_columns} columns are named, the rows hold {values.shape[1]} numbers; "
            "valid: one for each; mend the file"
        )
    if unsure:
        _check_thousands(values, names, body.split("\n"), separator, where)
    return values


def _check_thousands(
    values: NDArray[np.float64], names: Sequence[str], rows: list[str], separator: str, where: str
) -> None:
    """Refuse a column in which 1.234 is more than 987: there a point or comma parts thousands."""
    for k, name in enumerate(names):
        size = np.abs(values[:, k])
        size = size[np.isfinite(size)]
        whole = size == np.rint(size)
        parted, largest = size[~whole], size[whole].max(initial=0.0)
        if not parted.size or parted.min() < 1 or largest < 10 * parted.max():
            continue
        cells = [cell for row in rows if "." in (cell := row.split(separator)[k].strip())]
        if all(re.fullmatch(r"[-+]?\d{1,3}\.\d{3}", cell) for cell in cells):
            raise LeadminError(
                f"{where}: column {name!r} holds {largest:g} beside {cells[0]}, as if thousands "
                "were parted; valid: numbers without such points or commas; take them out"
            )


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
            if not unit and not options.slowest <= rate <= RATES[1]:
                raise LeadminError(
                    f"{where}: column {full!r} gives {rate:g} Hz if it is in seconds; valid: "
                    f"{options.slowest:g} to {RATES[1]:g} Hz; write its unit into its name, as in "
                    "'time (ms)', or call it 'sample' if it counts the rows, and give `--rate HZ`"
                )
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

    Lines of ``key,value``, of which one has a rate (``512.844 hertz``; heart rates are slower),
    one a lead (``Lead I``) and one a unit (``µV``), with empty ones between them; then one value a
    line, in some languages with a decimal comma.
    """
    first = _VALUE_LINE.search(text, 0, _HEADER_SIZE)
    begin = first.start() if first else _HEADER_SIZE
    lines = [line for line in text[:begin].split("\n") if line.strip()]
    if not 3 <= len(lines) <= _HEADER_LINES:
        return None
    said = [re.split(r"[,;\t]", line, maxsplit=1)[-1] for line in lines]
    rates = [
        float(m[1].replace(",", ".")) for one in said if (m := _NUMBER_AND_WORD.fullmatch(one))
    ]
    rates = [rate for rate in rates if rate >= RATES[0]]
    leads = [m[1] for one in said if (m := _LEAD_LINE.fullmatch(one))]
    units = [m[1] for one in said if (m := _UNIT_LINE.fullmatch(one))]
    if not len(rates) == len(leads) == len(units) == 1:
        return None
    numbers: list[float] = []
    for line in (line for line in text[begin:].split("\n") if line.strip(' ,;"\t')):
        value = _VALUE.fullmatch(line)
        if value is None:
            raise LeadminError(
                f"{where}: sample {len(numbers) + 1} is {line[:40]!r}; valid: one number a line; "
                "export the recording again"
            )
        numbers.append(float(value[1].replace(",", ".").replace("\u2212", "-")))
    if numbers and (np.diff(np.floor(numbers)) == 1).all():  # a column that counts, and another
        return None
    channel = Channel(leads[0], units[0], np.array(numbers))
    return assemble([channel], rates[0], options, name, where)
