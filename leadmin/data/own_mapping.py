"""What columns and statements of a table of one's own records mean: a YAML file, read and checked.

It says which column is which, and which statements make which class::

    title: Rhythms of three hospitals
    columns: {record: file, patient: patient, labels: statements}
    classes:
      AF: {meaning: atrial fibrillation, statements: [AF, 164889003]}
      SR: {meaning: sinus rhythm, statements: [Normal, 426783006]}
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leadmin.data.recordings.recording import millivolts
from leadmin.errors import LeadminError
from leadmin.files import read_yaml
from leadmin.labels import check_class_names
from leadmin.leads import canonical_lead

SLOWEST = 20.0
"""Hz. Records from slower recorders are refused."""

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
_Word = Annotated[str, Field(min_length=1, max_length=200)]
_Code = Annotated[str | int, Field(union_mode="left_to_right")]


class _Columns(BaseModel):
    model_config = _STRICT
    record: _Word
    patient: _Word
    labels: _Word | list[_Word]
    fold: str = ""
    age: str = ""
    sex: str = ""


class _Class(BaseModel):
    model_config = _STRICT
    meaning: str = ""
    statements: list[_Code]


class Signals(BaseModel):
    """What tables of signals do not say themselves."""

    model_config = _STRICT
    unit: str = ""
    rate: Annotated[float, Field(ge=SLOWEST, le=100_000, strict=False)] | None = None
    leads: dict[str, str] = {}


class Mapping(BaseModel):
    """What a mapping file may say; the module's text has an example."""

    model_config = _STRICT
    title: _Word
    version: str = "1"
    license: str = "not stated"
    doi: str = ""
    columns: _Columns
    separator: Annotated[str, Field(min_length=1, max_length=5)] = ","
    """what stands between the statements of one record"""
    classes: dict[str, _Class]
    signals: Signals = Signals()
    """unit, rate (Hz) and names of leads of tables, which say none; WFDB headers say all three"""
    seconds: Annotated[float, Field(ge=2.5, le=60, strict=False)] = 10
    """how much of each record is taken, from its beginning; a shorter one cannot be used"""
    fold_seed: Annotated[int, Field(ge=0)] = 0
    """of the folds that are made where the table has none"""


def read_mapping(path: Path) -> Mapping:
    """Read and check a mapping file; a `LeadminError` names the file and the field."""
    keys = ", ".join(Mapping.model_fields)
    raw = read_yaml(path, "mapping file", f"valid keys: {keys}")
    for field in _empty(raw):
        raise LeadminError(
            f"{path}: {field} is empty; valid: one entry or more; fill it or remove it"
        )
    try:
        mapping = Mapping.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        kinds = re.compile(r"list\[.*|(constrained-)?(str|int)")  # of which none is a key
        parts = [part for part in map(str, problem["loc"]) if not kinds.fullmatch(part)]
        field = ".".join(parts[:-2] if "[key]" in parts else parts)
        given = problem["input"]
        wrong = f"{field} is {repr(given)[:80]}; valid: {problem['msg']}; change it"
        if problem["type"] == "string_type" and not isinstance(given, list | dict | None):
            wrong = f"{field} is {given!r}, as YAML reads it; valid: text; put it in quotes"
        elif problem["type"] == "missing":
            wrong = f"{field} is missing; valid keys: {keys}; add it"
        elif problem["type"] == "extra_forbidden":
            wrong = f"{field} is no key that there is; valid: {keys}; correct or remove it"
        raise LeadminError(f"{path}: {wrong}") from error
    check_class_names(list(mapping.classes), f"{path}: classes")
    homes: dict[str, str] = {}
    for name, one in mapping.classes.items():
        for statement in map(str, one.statements):
            if homes.setdefault(statement, name) == name:
                continue
            raise LeadminError(
                f"{path}: classes: the statement {statement!r} is in {homes[statement]} and in "
                f"{name}; valid: each in one class; take it out of one"
            )
    if mapping.signals.unit:
        millivolts(mapping.signals.unit, f"{path}: signals.unit")
    for lead in mapping.signals.leads.values():
        try:
            canonical_lead(lead)
        except LeadminError as error:
            raise LeadminError(f"{path}: signals.leads: {error}") from error
    return mapping


def _empty(value: Any, field: str = "") -> Iterator[str]:
    """Name the fields that hold an empty list or mapping."""
    if value in ([], {}):
        yield field
    for key, one in value.items() if isinstance(value, dict) else ():
        yield from _empty(one, f"{field}.{key}".lstrip("."))
