"""Numbers in prose, and claims that the build checks.

A chapter names a cell of a published table, and the build writes it there::

    they lose {interval}`-curve(macro, 5).difference` macro AUROC

The part before the dot selects a row, by the columns that ``book/claims.yml`` names for the table;
``.rows`` counts how many there are. A minus in front turns a difference into a loss, and ``:.0%``
behind is a format of Python. Bounds (``.low``, ``.high``, and ``.width`` between them) are those
that count training too, where the table has them; ``.counts`` says which in words.

A sentence that its numbers could outlive ends in ``{claim}`its name` ``. ``claims.yml`` gives every
claim a guard: comparisons such as ``curve(macro, 5).difference.low > -0.01`` that must all hold. On
the records that the prose was written for, a claim that fails stops the build. On others, such as
those of a reader who named a study of their own under ``studies:``, its sentence is marked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from leadmin.errors import LeadminError
from leadmin.show.words import MISSING

CELL = re.compile(r"(-?)(\w+)\(([^()]*)\)\.([\w ]+?)(?:\.(low|high|width|counts))?")
GUARD = re.compile(r"(.+?)(?: (<|>|is not|is) (.+))?")
SAID = re.compile(r"\{claim\}`([^`]+)`")
COUNTED = ("patients alone", "patients and training")


class AbsentError(LeadminError):
    """A table, or a row of it, that is not there."""


@dataclass(frozen=True)
class Cell:
    """A value of a published table, with its interval where it has one."""

    row: dict[str, Any]
    column: str
    end: str = ""
    negative: bool = False

    @cached_property
    def bounds(self) -> tuple[float, float, bool] | None:
        """Lower and upper end, and whether they count training."""
        names = [(f"{self.column}_{{}}_with_seeds", True), (f"{self.column}_{{}}", False)]
        if self.column in ("difference", "effect"):  # tables with one estimate a row
            names.append(("{}", False))
        for name, trained in names:
            low, high = (self.row.get(name.format(end)) for end in ("low", "high"))
            if pd.notna(low) and pd.notna(high):
                return (-high, -low, trained) if self.negative else (low, high, trained)
        return None

    @property
    def value(self) -> Any:
        """The value, or what was asked for of its interval."""
        if self.end == "counts":
            return COUNTED[bool(self.bounds and self.bounds[2])]
        if self.end:
            low, high, _ = self.bounds or (float("nan"), float("nan"), False)
            return {"low": low, "high": high, "width": high - low}[self.end]
        value = self.row[self.column]
        return -value if self.negative else value

    def written(self, interval: bool = False, spec: str = "") -> str:
        """Write it as the tables of the book do, or by ``spec``, with its interval if wanted."""
        if isinstance(self.value, str | bool):
            return str(self.value)
        if isinstance(self.value, int):
            return f"{self.value:{spec or ','}}"
        per_thousand = re.match("missed|difference_missed|spared|present", self.column)
        sign = "+" if self.column.startswith("difference") and not self.negative else ""
        spec = spec or f"{sign}.{0 if per_thousand else 3}f"

        def one(value: float) -> str:
            if pd.isna(value):
                return MISSING
            # what rounds to nothing has no sign
            return re.sub("^[-+](?=[0.%]+$)", "", f"{value:{spec}}").replace("-", "\N{MINUS SIGN}")

        if not interval or self.bounds is None:
            return one(self.value)
        return f"{one(self.value)} [{one(self.bounds[0])}, {one(self.bounds[1])}]"


@dataclass(frozen=True)
class Claim:
    """What a guard says of the tables at hand, comparison by comparison.

    ``holds`` is None where they lack a row.
    """

    name: str
    guard: list[str]
    values: list[str]
    holds: bool | None


class Claims:
    """The claims of a book, and the published tables that they stand on.

    ``folder`` holds ``claims.yml`` and, in ``published/<study>/tables``, the tables.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "claims.yml"
        document = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        self._studies: dict[str, str] = document["studies"]
        self._written_for: dict[str, list[int]] = document["written_for"]
        self._tables: dict[str, dict[str, Any]] = document["tables"]
        self.guards: dict[str, list[str]] = document["claims"]
        self._kept: dict[str, pd.DataFrame] = {}

    def table(self, name: str) -> pd.DataFrame:
        """Give the rows that ``claims.yml`` names a table."""
        if name not in self._tables:
            raise LeadminError(
                f"{self.file}: there is no table {name!r}; valid: {', '.join(self._tables)}; "
                "choose one of them, or add it there"
            )
        if name not in self._kept:
            entry = self._tables[name]
            study, _, file = entry["file"].partition("/")
            path = self.folder / study
            if file:
                path = self.folder / "published" / self._studies[study] / "tables" / f"{file}.csv"
            if not path.is_file():
                raise AbsentError(f"{path}: missing; publish the study again")
            rows = pd.read_csv(path)
            for column, value in entry.get("where", {}).items():
                rows = rows[rows[column] == value]
            for order in ("smallest", "largest"):
                if order in entry:
                    ranked = rows.sort_values(
                        entry[order], ascending=order == "smallest", kind="stable"
                    )
                    rows = ranked.drop_duplicates(entry["by"])
            self._kept[name] = rows
        return self._kept[name]

    @cached_property
    def binding(self) -> bool:
        """Whether every table stands on the records that the prose was written for."""
        for name in self._tables:
            try:
                rows = self.table(name)
            except AbsentError:
                continue
            for column, counts in self._written_for.items():
                # another label policy leaves other records, beside these
                if column in rows and not rows[column].isin(counts).any():
                    return False
        return True

    def cell(self, text: str) -> Cell:
        """Find the one cell that a reference names."""
        found = CELL.fullmatch(text.strip())
        if not found:
            raise LeadminError(
                f"claims: {text!r} names no cell; valid: `table(key, key).column`, with a minus in "
                "front or .low, .high, .width or .counts behind; change it"
            )
        minus, name, keys, column, end = found.groups()
        rows, by = self.table(name), self._tables[name]["by"]
        wanted = keys.split(", ", max(len(by) - 1, 0)) if keys else []
        if len(wanted) != len(by):
            raise LeadminError(f"claims: {text}: {name} is asked by {', '.join(by)}; name each")
        for key, one in zip(by, wanted, strict=True):
            rows = rows[rows[key].astype(str) == one]
        if column == "rows":
            return Cell({"rows": len(rows)}, "rows")
        if column not in rows:
            raise LeadminError(
                f"claims: {text}: no such column; valid: {', '.join(map(str, rows))}; choose one"
            )
        if len(rows) != 1:
            raise AbsentError(f"claims: {text}: {len(rows)} rows where one is needed; change it")
        row = {str(name): value for name, value in rows.to_dict("records")[0].items()}
        return Cell(row, column, end or "", bool(minus))

    def written(self, text: str, interval: bool = False) -> str:
        """Write the cell that a reference names, by the format behind its colon if it has one."""
        reference, _, spec = text.partition(":")
        try:
            return self.cell(reference).written(interval, spec)
        except AbsentError:
            if self.binding:
                raise
            return MISSING

    def _compared(self, guard: str) -> tuple[bool, list[Cell]]:
        """Evaluate one comparison."""
        left, relation, right = GUARD.fullmatch(guard).groups()  # type: ignore[union-attr]
        first = self.cell(left)
        if relation is None:
            return first.value is True, [first]
        if relation.startswith("is"):
            return (str(first.value) == right) == (relation == "is"), [first]
        cells, limit = [first], 0.0
        if re.fullmatch(r"[-+]?[\d.]+", right):
            limit = float(right)
        else:
            cells.append(self.cell(right))
            limit = cells[1].value
        return bool(first.value < limit if relation == "<" else first.value > limit), cells

    def claim(self, name: str) -> Claim:
        """Evaluate the guard of a claim."""
        if name not in self.guards:
            raise LeadminError(f"{self.file}: there is no claim {name!r}; write its guard there")
        guard, results, values = self.guards[name], [], []
        for comparison in guard:
            try:
                holds, cells = self._compared(comparison)
            except AbsentError:
                return Claim(name, guard, [MISSING] * len(guard), None)
            results.append(holds)
            written = [Cell(one.row, one.column).written(interval=True) for one in cells]
            values.append(" and ".join(written))
        return Claim(name, guard, values, all(results))

    def require(self) -> None:
        """Refuse claims that fail on the records that they were written for."""
        lines = [
            f"{self.file}: {claim.name!r} does not hold: {'; '.join(claim.guard)}; the values are "
            f"{'; '.join(claim.values)}; mend the sentence and its guard"
            for claim in map(self.claim, self.guards)
            if not claim.holds
        ]
        if lines and self.binding:
            raise LeadminError("\n".join(lines))

    def pages(self) -> dict[str, list[str]]:
        """Find the chapters in which each claim is made."""
        found: dict[str, list[str]] = {name: [] for name in self.guards}
        for path in sorted(self.folder.glob("*.md")):
            for name in dict.fromkeys(SAID.findall(path.read_text(encoding="utf-8"))):
                found.setdefault(name, []).append(path.stem)
        return found

    def appendix(self) -> Iterator[str]:
        """List all claims in Markdown, line by line: each with its guard, its values, its pages."""
        for name, pages in self.pages().items():
            claim = self.claim(name)
            holds = {True: "holds", False: "does **not** hold", None: "not asked"}[claim.holds]
            yield f"{name[:1].upper()}{name[1:]}"
            yield f": {holds}; said in {', '.join(f'[](/{page}.md)' for page in pages)}"
            for comparison, value in zip(claim.guard, claim.values, strict=True):
                yield f": `{comparison}`: {value}"
            yield ""


class _Role(SphinxRole):
    """A role that reads the claims; what is wrong with it is an error of the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            return self.said(self.env.app.claims), []  # type: ignore[attr-defined]
        except LeadminError as error:
            return [], [self.inliner.reporter.error(str(error), line=self.lineno)]

    def said(self, claims: Claims) -> list[nodes.Node]:
        interval = self.name == "interval"
        said = claims.written(self.text, interval=interval)
        return [nodes.Text(said.replace(", ", ",\N{NO-BREAK SPACE}") if interval else said)]


class _Mark(_Role):
    def said(self, claims: Claims) -> list[nodes.Node]:
        holds = claims.claim(self.text).holds
        words = "does not hold on these data" if holds is False else "not asked of these data"
        mark = nodes.strong(words, f"({words})", classes=["claim-fails"])
        return [] if holds else [nodes.Text(" "), mark]


class _Appendix(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        lines = self.env.app.claims.appendix()  # type: ignore[attr-defined]
        return self.parse_text_to_nodes("\n".join(lines))


def _open(app: Sphinx) -> None:
    """Read the claims before any page is, and stop a build whose prose would be untrue."""
    try:
        app.claims = Claims(Path(app.srcdir))  # type: ignore[attr-defined]
        app.claims.require()  # type: ignore[attr-defined]
    except LeadminError as error:
        raise ExtensionError(str(error)) from None


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the roles ``value``, ``interval`` and ``claim`` and the directive ``claims``."""
    app.connect("builder-inited", _open)
    app.add_role("value", _Role())
    app.add_role("interval", _Role())
    app.add_role("claim", _Mark())
    app.add_directive("claims", _Appendix)
    return {"parallel_read_safe": True}
