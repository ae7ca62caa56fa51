"""Whole files: a half-written one never carries the final name, a checksum tells a damaged one."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from leadmin.errors import LeadminError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    It has the same suffix and does not exist yet; missing parent folders are made. If the block
    raises, whatever was written there is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary = scratch / path.name
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, all or nothing; what is no text is escaped."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, all or nothing.

    A NaN or an infinity, which JSON has no word for, is a ValueError.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without aliases, which a few lines can make endless, and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias; write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.MarkedYAMLError(problem="one key twice")
        return mapping


def read_yaml(path: Path, what: str, valid: str) -> dict[Any, Any]:
    """Read a YAML file that holds a mapping; a `LeadminError` names the file.

    ``what`` says what the file is, ``valid`` where a good one is found or what may stand in it.
    """
    try:
        if path.is_file() and path.stat().st_size > 2**20:
            raise LeadminError(f"{path}: more than 1 MB is no {what}; {valid}")
        raw = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)  # a safe one
    except FileNotFoundError as error:
        raise LeadminError(f"{path}: no such {what}; {valid}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise LeadminError(
            f"{path}: not a readable YAML file ({' '.join(str(error).split())[:200]}); correct it"
        ) from error
    if not isinstance(raw, dict):
        raise LeadminError(f"{path}: no mapping; {valid}; write it so")
    return raw


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
