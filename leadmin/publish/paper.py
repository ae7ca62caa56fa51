r"""From the published results of a study to the PDF of a paper.

The documents in ``paper/`` are jinja2 templates and hold no result. ``\VAR{twelve.auroc}`` writes a
value of the study's files, ``\BLOCK{if crossval} ... \BLOCK{else} ... \BLOCK{endif}`` takes one of
two wordings. What a value looks like is decided in `filled`; what the study lacks stops the build.
"""

import math
import re
import shutil
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, Undefined

from leadmin.data import ptbxl
from leadmin.errors import LeadminError
from leadmin.evidence.estimates import LEVEL
from leadmin.evidence.scores import MARGIN, REFERENCE
from leadmin.files import write_text
from leadmin.labels import CLASSES, LABEL_POLICIES
from leadmin.net.recipes import recipe_table
from leadmin.publish.published import LATEX_TABLES, PublishedStudy, read_published, run_date
from leadmin.publish.typesetting import check_tex, typeset
from leadmin.questions.answer import answer_sentence
from leadmin.questions.findings import VERDICTS
from leadmin.questions.margins import MARGINS
from leadmin.show.words import COUNTS, latex_escape, listed, number, shown, signed

DOCUMENTS = ("main", "supplement")
"""What is typeset, in this order: the supplement refers to sections of the paper."""


def paper_values(study: PublishedStudy) -> dict[str, Any]:
    """Collect what the text may ask for.

    Rows of the published tables are found by what they are about: ``primary.main["12-lead"]``,
    ``primary.classes["12-lead"].HYP``, ``primary.findings["1a"]``, ``compare["12-lead"].auroc``.
    The recipes are called ``primary`` and ``other`` by their place in the study, so that the text
    does not depend on names; ``other`` is empty if there is one only.
    """
    about, run = study.results["study"], study.runs[REFERENCE]
    positives = {row["class"]: row["n_positive"] for row in study.rows("per_class")}
    sizes = [run["n_parameters"] for run in study.runs.values()]
    total = run["provenance"]["data"]["n_records"]
    commits = sorted({str(one["provenance"].get("git_commit"))[:10] for one in study.runs.values()})
    stored = [run["recipes"][name] for name in study.recipes]
    day = run_date(study)
    values = {
        "study": about,
        "run": run,
        "data": run["provenance"]["data"],
        "versions": {n: v.split("+")[0] for n, v in run["provenance"]["versions"].items()},
        "labels": LABEL_POLICIES[about["label_policy"]].words,
        "n_ptbxl": ptbxl.N_RECORDS,
        "partial": total < ptbxl.N_RECORDS,
        "share_ptbxl": f"{100 * total / ptbxl.N_RECORDS:.0f}%",
        "positives": {name: positives.get(name) for name in CLASSES},
        "rarest": min(positives, key=lambda name: positives[name]),
        "margin": f"{MARGIN:g}",
        "other_margins": " and ".join(f"{m:g}" for m in sorted(MARGINS) if m != MARGIN),
        "level": f"{100 * LEVEL:g}%",
        "parameters": {"least": min(sizes), "most": max(sizes)},
        "seeds": _seeds_in_words(study),
        "commits": ", ".join(commits),
        "date": f"{day.day} {day:%B %Y}",
        "figures": [path.stem for path in study.figures],
        "primary": recipe_values(study, study.recipes[0]),
        "other": recipe_values(study, study.recipes[1]) if study.recipes[1:] else {},
        "compare": _by("config", study.rows("recipe_comparison"), "metric"),
        "hypertrophy": [row for row in study.rows("hypertrophy") if None not in row.values()],
        "recipe_rows": list(recipe_table(*stored).itertuples(name=None)),
        "crossval": about["protocol"] == "crossval",
    }
    return values | {"twelve": values["primary"]["main"][REFERENCE]}


def recipe_values(study: PublishedStudy, recipe: str) -> dict[str, Any]:
    """Collect what the text may ask for about one recipe; see `paper_values`."""
    main = study.rows("main", recipe)
    reduced = [row for row in main if row["config"] != REFERENCE and row["difference"] is not None]
    within = [row for row in reduced if row["non_inferior"]]
    worse = [row for row in reduced if row["difference_high"] < -MARGIN]
    calibrated = [row for row in study.rows("calibration", recipe) if row["class"] == "macro"]
    margins = study.rows("non_inferiority", recipe)
    primary = [row for row in margins if row["primary"]]
    passed = Counter(row["margin"] for row in margins if row["verdict"] == "non-inferior")
    parts = study.rows("key_findings", recipe)
    overall = {row["finding"]: row["finding_verdict"] for row in parts}
    verdicts = {v: [n for n in sorted(overall) if overall[n] == v] for v in VERDICTS}
    folds = study.rows("folds", recipe)
    losses = pd.DataFrame(study.rows("firm_losses", recipe))
    halves = [(row["difference_high"] - row["difference_low"]) / 2 for row in reduced]
    resolvable = [row["smallest_resolvable"] for row in primary]
    return {
        "name": recipe,
        "settings": study.runs[REFERENCE]["recipes"][recipe],
        "several_seeds": max(row["n_seeds"] for row in main) > 1,
        "largest_seed_sd": _extreme(max, [row["auroc_seed_sd"] for row in main]),
        "main": _by("config", main),
        "classes": _by("config", study.rows("per_class", recipe), "class"),
        "answer": _latex_of_markdown(answer_sentence(pd.DataFrame(main), losses)),
        "reduced": reduced,
        "within": within,
        "worse": worse,
        "all_worse": len(worse) == len(reduced) > 0,
        "undecided": [row for row in reduced if row not in within and row not in worse],
        "best": max(reduced, key=lambda row: row["auroc"], default=None),
        "smallest_within": min(within, key=lambda row: (row["n_leads"], -row["auroc"]), default={}),
        "singles": sorted((r for r in reduced if r["n_leads"] == 1), key=lambda r: r["auroc"]),
        "half_width": {"least": _extreme(min, halves), "most": _extreme(max, halves)},
        "resolvable": {"least": _extreme(min, resolvable), "most": _extreme(max, resolvable)},
        "within_corrected": [row for row in primary if row["holds_corrected"]],
        "within_other_margins": [
            f"{_in_words(passed[margin])} at a margin of {margin:g}"
            for margin in sorted({row["margin"] for row in margins} - {MARGIN})
        ],
        "findings": _by("part", parts),
        "n_findings": len(overall),
        "verdicts": verdicts,
        "told": _listed([_told(*one) for one in verdicts.items() if one[1]]),
        "controls": [
            row for row in study.rows("negative_controls", recipe) if row["difference"] is not None
        ],
        "calibration": {
            "before": _by("config", [row for row in calibrated if not row["recalibrated"]]),
            "after": _by("config", [row for row in calibrated if row["recalibrated"]]),
        },
        "folds": folds,
        "folds_within": [r for r in folds if r["low"] is not None and r["low"] > -MARGIN],
        "folds_lost": [r for r in folds if r["high"] is not None and r["high"] < -MARGIN],
        "groupings": sorted(
            {r["grouping"] for r in study.rows("subgroups", recipe) if r["enough"]}
        ),
    }


def _by(name: str, rows: Sequence[dict[str, Any]], second: str = "") -> dict[str, Any]:
    """Find each row by a column, or by two."""
    if not second:
        return {row[name]: row for row in rows}
    found = dict.fromkeys(row[name] for row in rows)
    return {one: _by(second, [row for row in rows if row[name] == one]) for one in found}


def _told(verdict: str, found: Sequence[str]) -> str:
    return f"{_in_words(found)} {'was' if len(found) == 1 else 'were'} {verdict} ({_listed(found)})"


def build_paper(results: Path, root: Path, target: Path) -> list[Path]:
    """Typeset the paper and its supplement; the same results give the same bytes.

    ``results`` is what `read_published` reads, ``root`` the source tree with ``paper/*.tex``,
    ``book/references.bib`` and ``CITATION.cff``. The PDFs go into ``target``; what is typeset is
    kept in ``tex`` below it, also when that fails. Missing TeX, unfit results, a text that asks for
    what they lack, and a reference that leads nowhere are refused.
    """
    check_tex()
    study = read_published(results)
    documents = filled_documents(study, root)
    work = target / "tex"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, text in documents.items():
        write_text(work / name, text)
    shutil.copyfile(root / "book" / "references.bib", work / "references.bib")
    for name in LATEX_TABLES:
        shutil.copyfile(results / "tables" / name, work / name)
    for figure in study.figures:
        shutil.copyfile(figure, work / f"figure-{figure.name}")
    for document in DOCUMENTS:
        typeset(work, document, run_date(study))
    return [(work / f"{name}.pdf").replace(target / f"{name}.pdf") for name in DOCUMENTS]


# --- filling the templates ----------------------------------------------------------------------


class Latex(str):
    """Text that is LaTeX already."""


class _Missing(StrictUndefined):
    @property
    def _undefined_message(self) -> str:
        known = self._undefined_obj
        valid = f"; valid: {', '.join(map(str, known))}" if isinstance(known, Mapping) else ""
        return f"the study has no {self._undefined_name!r}{valid}"


def filled(source: str, values: Mapping[str, Any], where: str = "text") -> str:
    r"""Fill in a template.

    Whole numbers are written with commas, others with three decimals; text is escaped. Filters
    for another form: ``signed``, ``shown``, ``in_words``, ``listed``, and
    ``row|interval("auroc")`` for the bounds beside a value. A value that the study lacks, or that
    is null there, is refused with its line.
    """
    try:
        return _TEMPLATES.from_string(source).render(values)
    except TemplateSyntaxError as error:
        raise LeadminError(f"{where}, line {error.lineno}: {error.message}; correct it") from None
    except (TemplateError, LeadminError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next(f.lineno for f in reversed(frames) if f.filename == "<template>") or 1
        quoted = source.splitlines()[line - 1].strip()
        raise LeadminError(f"{where}, line {line}: {error}; it reads: {quoted}") from None


def filled_documents(study: PublishedStudy, root: Path) -> dict[str, str]:
    """Fill in everything in ``paper/`` of the source tree: file name to LaTeX."""
    values = paper_values(study) | _citation(root / "CITATION.cff")
    made: dict[str, str] = {}
    for name in ("preamble.tex", *(f"{document}.tex" for document in DOCUMENTS)):
        path = root / "paper" / name
        in_text = re.findall(r"\{figure-([\w-]+)\}", made.get("main.tex", ""))
        values["further_figures"] = [one for one in values["figures"] if one not in in_text]
        try:
            source = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LeadminError(f"{path}: missing; the paper is built in a clone's root") from None
        made[name] = filled(source, values, str(path))
    return made


def _latex(value: Any) -> Any:
    """Write a value as the text shows it."""
    if isinstance(value, Latex | Undefined):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise LeadminError("a value is null in the study's results; reword the text")
    if isinstance(value, float):
        value = number(value)
    return latex_escape(value) if isinstance(value, str) else f"{value:,}"


def _interval(row: Mapping[str, Any], name: str) -> str:
    """Write the bounds of a value, which are called as it is, or have no name."""
    low, high = (row.get(f"{name}_{end}", row.get(end)) for end in ("low", "high"))
    if low is None or high is None:
        raise LeadminError(f"the interval of {name!r} is null in the study's results; reword it")
    if "shown_as" in row:
        return " to ".join(shown(bound, row["shown_as"]) for bound in (low, high))
    write = signed if name.startswith(("difference", "offset")) else number
    return f"{write(low)} to {write(high)}"


def _in_words(count: int | Sequence[Any]) -> str:
    count = count if isinstance(count, int) else len(count)
    return ("none", *COUNTS[1:])[count] if count < len(COUNTS) else f"{count:,}"


def _listed(items: Sequence[Any], attribute: str = "", separator: str = ", ") -> str:
    words = [str(item[attribute] if attribute else item) for item in items]
    return listed(words, separator, "; and " if separator == "; " else " and ") or "none"


_TEMPLATES = Environment(
    block_start_string=r"\BLOCK{",
    block_end_string="}",
    variable_start_string=r"\VAR{",
    variable_end_string="}",
    comment_start_string=r"\NOTE{",
    comment_end_string="}",
    undefined=_Missing,
    finalize=_latex,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)
_TEMPLATES.filters |= {
    "as_is": Latex,
    "signed": signed,
    "shown": shown,
    "interval": _interval,
    "in_words": _in_words,
    "listed": _listed,
}


def _seeds_in_words(study: PublishedStudy) -> str:
    parts = []
    for recipe in study.recipes:
        trained = sorted({row["n_seeds"] for row in study.rows("main", recipe)})
        words = " to ".join(_in_words(n) for n in sorted({trained[0], trained[-1]}))
        parts.append(f"{words} seed{'s' if trained[-1] > 1 else ''} under recipe {recipe}")
    return _listed(parts)


def _extreme(choose: Any, values: Sequence[float | None]) -> float | None:
    """Choose among what is known."""
    return choose((value for value in values if value is not None), default=None)


def _latex_of_markdown(text: str) -> Latex:
    """Escape a sentence whose only markup is ``**bold**``."""
    parts = [latex_escape(part) for part in text.split("**")]
    return Latex("".join(rf"\textbf{{{part}}}" if i % 2 else part for i, part in enumerate(parts)))


def _citation(path: Path) -> dict[str, str]:
    try:
        citation = yaml.safe_load(path.read_text(encoding="utf-8"))
        authors = [
            one.get("name") or f"{one['given-names']} {one['family-names']}"
            for one in citation["authors"]
        ]
        return {"authors": _listed(authors), "license": str(citation["license"])}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise LeadminError(
            f"{path}: gives no authors and licence for the paper ({error!r}); valid: a Citation "
            "File Format file with `authors` and `license`; correct it"
        ) from None
