r"""From the published results of a study to the PDF of a paper.

The text in ``paper/`` holds no result. It asks for each one by its key, ``\res{KEY}``, and takes
one of two wordings by a flag, ``\whether{FLAG}{one}{other}``; both are written here, from the
study's files. A key or flag that the study lacks stops the build.

A study's results are a folder as ``leadmin publish`` writes it::

    tables/      results_final.json, summary.json and the LaTeX tables
    figures/     PDFs; those that the text does not show are put in the supplement
    runs/        <configuration>/metrics.json: recipes, sizes, versions
"""

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from leadmin.data import ptbxl
from leadmin.errors import LeadminError
from leadmin.evidence.scores import LEVEL, MARGIN, REFERENCE
from leadmin.files import write_text
from leadmin.labels import CLASSES, LABEL_POLICIES
from leadmin.net.recipes import RECIPES
from leadmin.publish.results import check_document
from leadmin.questions.answer import answer_sentence
from leadmin.questions.findings import VERDICTS
from leadmin.questions.margins import MARGINS
from leadmin.show.words import latex_escape, number, shown, signed

DOCUMENTS = ("main", "supplement")
"""What is typeset, in this order: the supplement refers to sections of the paper."""

LATEX_TABLES = ("table_main.tex", "table_perclass.tex", "table_findings.tex")

TEX_FILES = {
    "geometry.sty": "texlive-latex-base",
    "hyperref.sty": "texlive-latex-base",
    "natbib.sty": "texlive-latex-base",
    "booktabs.sty": "texlive-latex-recommended",
    "caption.sty": "texlive-latex-recommended",
    "microtype.sty": "texlive-latex-recommended",
    "lmodern.sty": "lmodern",
    "siunitx.sty": "texlive-science",
    "translations.sty": "texlive-latex-extra",
}
"""LaTeX packages that the paper loads, and the Debian package that each one comes with."""

RECIPE_ROWS = {
    "scaling": "Scaling",
    "train_labels": "Labels in training",
    "crop_seconds": "Seconds of a record per step",
    "test_windows": "Windows at test, logits averaged",
    "start": "Starts from",
    "epochs": "Epochs",
    "patience": "Patience, in epochs",
    "batch_size": "Records per step",
    "learning_rate": "Learning rate (AdamW)",
    "schedule": "Schedule",
    "weight_decay": "Weight decay",
    "label_smoothing": "Label smoothing",
    "mixup": "Mixup",
    "noise": "Added noise, in standard deviations",
    "averaging": "Averaged weights, decay",
    "architecture.dropout": "Dropout",
    "architecture.spatial_dropout": "Spatial dropout",
    "architecture.stochastic_depth": "Stochastic depth",
}
"""Settings of a recipe that the paper lists, and what it calls them."""

_NONE = {"0": "none"}
RECIPE_WORDS: dict[str, dict[str, str]] = {
    "scaling": {
        "factor": "one factor for all, voltage kept",
        "record": "z-score per lead and record, voltage lost",
    },
    "train_labels": {"any": "any likelihood", "likelihood50": "likelihood of at least 50%"},
    "crop_seconds": {"0": "the whole record"},
    "start": {
        "": "random weights",
        "any-lead": f"the any-lead network, {RECIPES['any-lead'].epochs} epochs",
    },
    "patience": {"0": "none: fixed length"},
    "schedule": {"one_cycle": "one cycle"},
    "label_smoothing": _NONE,
    "mixup": _NONE,
    "noise": _NONE,
    "averaging": _NONE,
}
"""Values that the paper says in words."""

FIGURE_CAPTIONS = {
    "differences": "Macro AUROC minus that of twelve leads, paired over patients, with intervals",
    "pairs": "All pairs of configurations: paired differences in macro AUROC",
    "ranks": "Ranks of the configurations over the resamples of patients",
    "classes": "AUROC of each superclass, and what is lost to twelve leads",
    "decision_curves": "Net benefit against the probability threshold, after recalibration",
    "lrs": "The lead robustness score beside the retention above chance",
    "lrs_weights": "How the ranking by the lead robustness score depends on its weights",
    "subgroups": "Macro AUROC by subgroup",
    "recalibration": "Calibration before and after Platt scaling on validation records",
    "recipes": "The two recipes compared, paired over patients",
}
"""What the supplement writes under a figure that the paper does not show."""

_SIGNED = ("difference", "offset")
_PER_CENT = ("retention", "share")
_COUNT_WORDS = (
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)
_MAX_PASSES = 5


@dataclass(frozen=True)
class PublishedStudy:
    """What a study left behind, read and checked.

    Attributes
    ----------
    folder : Path
    results : dict
        ``results_final.json``.
    runs : dict of str to dict
        Configuration to its ``metrics.json``.
    figures : tuple of Path
        The PDFs, sorted by name.
    """

    folder: Path
    results: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    figures: tuple[Path, ...]

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes, the primary one first."""
        return list(self.results["study"]["recipes"])

    def rows(self, table: str, recipe: str | None = None) -> list[dict[str, Any]]:
        """Rows of a table, of one recipe if it is named."""
        rows = self.results["tables"][table]
        return [row for row in rows if recipe is None or row["recipe"] == recipe]


@dataclass
class Numbers:
    """What the text can ask for.

    Attributes
    ----------
    values : dict of str to str
        Key to LaTeX.
    flags : dict of str to bool
    undefined : set of str
        Keys whose value is null in the results: they exist, but have no number.
    """

    values: dict[str, str] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    undefined: set[str] = field(default_factory=set)

    def put(self, key: str, value: Any, write: Callable[[Any], str] | None = None) -> None:
        """Take up one value, written by ``write``; text is escaped, null is noted as undefined."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            self.undefined.add(key)
        elif write is not None:
            self.values[key] = write(value)
        elif isinstance(value, str):
            self.values[key] = latex_escape(value)
        else:
            self.values[key] = f"{value:,}"

    def latex(self) -> str:
        """Write the definitions that ``preamble.tex`` looks up."""
        lines = ["% Written by leadmin paper; do not edit.", r"\makeatletter"]
        lines += [rf"\@namedef{{res@{key}}}{{{text}}}" for key, text in sorted(self.values.items())]
        lines += [
            rf"\@namedef{{flag@{key}}}{{{int(state)}}}" for key, state in sorted(self.flags.items())
        ]
        return "\n".join([*lines, r"\makeatother"]) + "\n"


def default_results(root: Path) -> Path:
    """Choose among the results that come with the source tree: the larger study if it is there.

    Raises
    ------
    LeadminError
        If there are none.
    """
    published = root / "book" / "published"
    for name in ("subset", "sample"):
        if (published / name / "tables" / "results_final.json").is_file():
            return published / name
    raise LeadminError(
        f"{published}: no published study here; name one's folder with --results "
        "(make paper STUDY_RESULTS=FOLDER), or run `make book publish`"
    )


def read_published(folder: Path) -> PublishedStudy:
    """Read a study's results and check that they belong together.

    Parameters
    ----------
    folder : Path
        ``book/published/<study>`` or ``outputs/<study>``.

    Raises
    ------
    LeadminError
        If a file is missing, does not fit the schema, or stems from other results.
    """
    at = folder / "tables"
    results = _read_checked(at / "results_final.json", "results")
    summary = _read_checked(at / "summary.json", "summary")
    if results["study"] != summary["study"]:
        raise LeadminError(
            f"{at}: results_final.json and summary.json describe different studies; write both "
            "again with `leadmin run --all`"
        )
    for row in results["tables"]["main"]:
        short = summary["recipes"].get(row["recipe"], {}).get(row["config"], {})
        if short.get("auroc") != row["auroc"]:
            raise LeadminError(
                f"{at}: the AUROC of {row['config']}, recipe {row['recipe']}, differs between "
                "results_final.json and summary.json; write both again with `leadmin run --all`"
            )
    for name in LATEX_TABLES:
        if not (at / name).is_file():
            raise LeadminError(f"{at / name}: missing; write it with `leadmin run --all`")
    configurations = results["study"]["configurations"]
    if REFERENCE not in configurations:
        raise LeadminError(
            f"{at / 'results_final.json'}: study.configurations lacks {REFERENCE}, which every "
            "comparison of the paper needs"
        )
    runs = {name: _read_run(folder / "runs" / name / "metrics.json") for name in configurations}
    figures = tuple(sorted((folder / "figures").glob("*.pdf")))
    return PublishedStudy(folder, results, runs, figures)


def paper_numbers(study: PublishedStudy) -> Numbers:
    """Collect every value and flag that the text may ask for.

    Keys of results begin with ``primary`` or ``other``, the recipe's place in the study, so that
    the text does not depend on names: ``primary.12-lead.auroc`` and, with its interval,
    ``primary.12-lead.auroc.interval``, ``primary.1-lead-I.HYP.auroc``, ``primary.1a.effect``,
    ``compare.12-lead.auroc.difference``.
    """
    numbers = Numbers()
    _put_study(numbers, study)
    _put_method(numbers, study)
    for role, recipe in zip(("primary", "other"), study.recipes, strict=False):
        _put_main(numbers, study, role, recipe)
        _put_findings(numbers, study, role, recipe)
        _put_checks(numbers, study, role, recipe)
    _put_comparison(numbers, study)
    return numbers


def recipes_latex(study: PublishedStudy) -> str:
    """Typeset the training settings of the recipes side by side; needs booktabs.

    Raises
    ------
    LeadminError
        If the twelve-lead run does not say how it was trained.
    """
    where = f"{study.folder / 'runs' / REFERENCE / 'metrics.json'}"
    settings = [
        _flattened(_need(study.runs[REFERENCE], "recipes", recipe, where=where))
        for recipe in study.recipes
    ]
    lines = []
    for name, heading in RECIPE_ROWS.items():
        missing = [r for r, one in zip(study.recipes, settings, strict=True) if name not in one]
        if missing:
            raise LeadminError(f"{where}: recipes.{missing[0]} has no {name}; publish again")
        cells = [RECIPE_WORDS.get(name, {}).get(one[name], one[name]) for one in settings]
        lines.append(" & ".join(latex_escape(cell) for cell in [heading, *cells]) + r" \\")
    headings = " & ".join(["", *(rf"\emph{{{latex_escape(name)}}}" for name in study.recipes)])
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering",
            r"\small",
            r"\caption{How the networks were trained, read from the twelve-lead run.}",
            r"\label{tab:recipes}",
            r"\medskip",
            rf"\begin{{tabular}}{{{'l' * (1 + len(study.recipes))}}}",
            r"\toprule",
            headings + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def further_figures_latex(study: PublishedStudy, text: str) -> str:
    """Typeset, for the supplement, the figures of a study that the paper's text does not show.

    Parameters
    ----------
    study : PublishedStudy
    text : str
        ``main.tex``.
    """
    used = set(re.findall(r"figure-([\w-]+)", text))
    blocks = [
        "\n".join(
            [
                r"\begin{figure}[htbp]",
                r"\centering",
                r"\includegraphics[width=0.9\linewidth, height=0.85\textheight, keepaspectratio]"
                rf"{{figure-{path.stem}}}",
                rf"\caption{{{latex_escape(_caption(path.stem))}.}}",
                r"\end{figure}",
            ]
        )
        for path in study.figures
        if path.stem not in used
    ]
    return "\n\n".join(blocks) + "\n"


def build_paper(results: Path, root: Path, target: Path) -> list[Path]:
    """Typeset the paper and its supplement from the results of a study.

    Parameters
    ----------
    results : Path
        See `read_published`.
    root : Path
        The source tree: ``paper/*.tex``, ``book/references.bib`` and ``CITATION.cff``.
    target : Path
        Folder for the PDFs; made if it is missing. What is typeset lies in ``tex`` below it,
        which is kept when the build fails.

    Returns
    -------
    list of Path
        ``main.pdf`` and ``supplement.pdf``. The same results give the same bytes.

    Raises
    ------
    LeadminError
        If TeX or one of its packages is missing, if the results are unfit, if the text asks for
        something that they lack, or if a reference leads nowhere.
    """
    check_tex()
    study = read_published(results)
    numbers = paper_numbers(study)
    _put_citation(numbers, root / "CITATION.cff")
    work = target / "tex"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_text(work / "numbers.tex", numbers.latex())
    text = _read_text(root / "paper" / "main.tex")
    write_text(work / "table_recipes.tex", recipes_latex(study))
    write_text(work / "further_figures.tex", further_figures_latex(study, text))
    for source in sorted((root / "paper").glob("*.tex")):
        shutil.copyfile(source, work / source.name)
    shutil.copyfile(root / "book" / "references.bib", work / "references.bib")
    for name in LATEX_TABLES:
        shutil.copyfile(results / "tables" / name, work / name)
    for figure in study.figures:
        shutil.copyfile(figure, work / f"figure-{figure.name}")
    for document in DOCUMENTS:
        _typeset(work, document, _run_date(study), numbers)
    made = []
    for document in DOCUMENTS:
        path = target / f"{document}.pdf"
        (work / f"{document}.pdf").replace(path)
        made.append(path)
    return made


def check_tex() -> None:
    """Make sure that TeX is there with all that the paper loads.

    Raises
    ------
    LeadminError
        Naming what is missing and the packages to install.
    """
    programs = [name for name in ("pdflatex", "bibtex", "kpsewhich") if not shutil.which(name)]
    debian = " ".join(sorted({"texlive-binaries", *TEX_FILES.values()}))
    advice = (
        f"install TeX Live, on Debian or Ubuntu: apt install {debian}; elsewhere: the scheme "
        "'medium' of TeX Live, or MacTeX"
    )
    if programs:
        raise LeadminError(f"the paper needs {', '.join(programs)}, not found on PATH; {advice}")
    missing = []
    for name in TEX_FILES:
        found = subprocess.run(["kpsewhich", name], capture_output=True, text=True, check=False)
        if not found.stdout.strip():
            missing.append(name)
    if missing:
        raise LeadminError(f"the paper needs {', '.join(missing)}, unknown to TeX; {advice}")


def overfull(log: str) -> list[tuple[float, str]]:
    """List what sticks out of its column, from the log of a document.

    Returns
    -------
    list of (float, str)
        By how many points, and TeX's message.
    """
    found = re.findall(r"(Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\).*)", log)
    return [(float(points), message) for message, points in found]


# --- reading ----------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LeadminError(f"{path}: missing; the paper is built in a clone's root") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LeadminError(
            f"{path}: missing; --results wants a study's folder with tables/, figures/ and runs/, "
            "as `leadmin publish` writes it"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LeadminError(f"{path}: not a JSON file ({error})") from None


def _read_checked(path: Path, kind: str) -> dict[str, Any]:
    document = _read_json(path)
    check_document(document, kind, f"{path}:")
    return dict(document)


def _read_run(path: Path) -> dict[str, Any]:
    run = _read_json(path)
    needed = {"recipes", "seeds", "n_parameters", "n_records", "provenance"}
    missing = needed - set(run if isinstance(run, dict) else ())
    if missing:
        raise LeadminError(f"{path}: no {', '.join(sorted(missing))}; publish the study again")
    return dict(run)


def _need(document: Mapping[str, Any], *path: str, where: str) -> Any:
    for i, name in enumerate(path):
        if not isinstance(document, Mapping) or name not in document:
            raise LeadminError(f"{where}: no {'.'.join(path[: i + 1])}; publish the study again")
        document = document[name]
    return document


# --- values and flags ---------------------------------------------------------------------------


def _put_study(numbers: Numbers, study: PublishedStudy) -> None:
    about = study.results["study"]
    for name in ("name", "title", "data"):
        numbers.put(f"study.{name}", about[name])
    numbers.put("labels", LABEL_POLICIES[about["label_policy"]].words)
    for key, name in (("test", "n_records"), ("test.patients", "n_patients")):
        numbers.put(f"n.{key}", about[name])
    numbers.put("n.resamples", about["n_resamples"])
    run = study.runs[REFERENCE]
    where = f"{study.folder / 'runs' / REFERENCE / 'metrics.json'}"
    data = _need(run, "provenance", "data", where=where)
    for key, name in (("total", "n_records"), ("total.patients", "n_patients")):
        numbers.put(f"n.{key}", _need(data, name, where=where))
    total = int(_need(data, "n_records", where=where))
    numbers.put("n.ptbxl", ptbxl.N_RECORDS)
    numbers.put("share.ptbxl", 100 * total / ptbxl.N_RECORDS, lambda v: rf"{v:.0f}\%")
    numbers.put("n.unlabelled", total - about["n_records"])
    numbers.put("rate", _need(data, "sampling_rate", where=where))
    numbers.put("version.data", _need(data, "source_version", where=where))
    numbers.put("checksum.data", _need(data, "content_sha256", where=where)[:12])
    names = list(about["configurations"])
    numbers.put("n.configurations", _in_words(len(names)))
    numbers.put("n.reduced", _in_words(len(names) - 1))
    positives = {row["class"]: row["n_positive"] for row in study.rows("per_class")}
    for name in CLASSES:
        numbers.put(f"n.{name}", positives.get(name))
    rarest = min(positives, key=lambda name: positives[name])
    numbers.put("class.rarest", rarest)
    numbers.put("n.rarest", positives[rarest])
    numbers.flags |= {
        "crossval": about["protocol"] == "crossval",
        "partial": total < ptbxl.N_RECORDS,
        "sample": about["name"] == "sample",
        "unlabelled": about["protocol"] == "crossval" and total > about["n_records"],
    }


def _put_citation(numbers: Numbers, path: Path) -> None:
    try:
        citation = yaml.safe_load(path.read_text(encoding="utf-8"))
        authors = [
            one.get("name") or f"{one['given-names']} {one['family-names']}"
            for one in citation["authors"]
        ]
        numbers.put("license", str(citation["license"]))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise LeadminError(
            f"{path}: gives no authors and licence for the paper ({error!r}); it is a Citation "
            "File Format file with `authors` and `license`"
        ) from None
    numbers.put("authors", _listed(authors))


def _put_method(numbers: Numbers, study: PublishedStudy) -> None:
    numbers.put("margin", f"{MARGIN:g}")
    numbers.put("margins.others", " and ".join(f"{m:g}" for m in sorted(MARGINS) if m != MARGIN))
    numbers.put("level", f"{100 * LEVEL:g}%")
    run = study.runs[REFERENCE]
    sizes = [int(one["n_parameters"]) for one in study.runs.values()]
    numbers.put("parameters.least", min(sizes))
    numbers.put("parameters.most", max(sizes))
    where = f"{study.folder / 'runs' / REFERENCE / 'metrics.json'}"
    for role, recipe in zip(("primary", "other"), study.recipes, strict=False):
        numbers.put(f"{role}.recipe", recipe)
        settings = _need(run, "recipes", recipe, where=where)
        for key, value in _flattened(settings).items():
            numbers.put(f"{role}.recipe.{key}", value)
        rows = study.rows("main", recipe)
        numbers.put(f"{role}.configurations", _in_words(len(rows)))
        numbers.flags[f"{role}.several-seeds"] = max(row["n_seeds"] for row in rows) > 1
    numbers.flags["tworecipes"] = len(study.recipes) > 1
    numbers.flags["defaultrecipe"] = study.recipes[0] == "default"
    numbers.flags["originalrecipe"] = study.recipes[1:2] == ["original"]
    numbers.put("seeds", _seeds_in_words(study))
    environment = run["provenance"]
    versions = _need(environment, "versions", where=where)
    for name in ("torch", "numpy", "leadmin"):
        numbers.put(f"version.{name}", str(_need(versions, name, where=where)).split("+")[0])
    numbers.put("version.python", _need(environment, "python", where=where))
    commits = sorted({str(one["provenance"].get("git_commit"))[:10] for one in study.runs.values()})
    numbers.put("commits", ", ".join(commits))
    day = _run_date(study)
    numbers.put("date", f"{day.day} {day:%B %Y}")
    numbers.flags |= {f"figure.{path.stem}": True for path in study.figures}


def _seeds_in_words(study: PublishedStudy) -> str:
    parts = []
    for recipe in study.recipes:
        trained = sorted({row["n_seeds"] for row in study.rows("main", recipe)})
        words = " to ".join(_in_words(n) for n in sorted({trained[0], trained[-1]}))
        parts.append(f"{words} seed{'s' if trained[-1] > 1 else ''} under recipe {recipe}")
    return _listed(parts)


def _put_main(numbers: Numbers, study: PublishedStudy, role: str, recipe: str) -> None:
    rows = study.rows("main", recipe)
    for row in rows:
        _put_row(numbers, f"{role}.{row['config']}", row)
    for row in study.rows("per_class", recipe):
        _put_row(numbers, f"{role}.{row['config']}.{row['class']}", row)
    frame = pd.DataFrame(rows)
    numbers.values[f"{role}.answer"] = _markdown_to_latex(answer_sentence(frame))
    reduced = [row for row in rows if row["config"] != REFERENCE and row["difference"] is not None]
    within = [row for row in reduced if row["non_inferior"]]
    worse = [row for row in reduced if row["difference_high"] < -MARGIN]
    numbers.flags[f"{role}.decided"] = bool(within)
    numbers.flags[f"{role}.all-worse"] = len(worse) == len(reduced) > 0
    numbers.put(f"{role}.within.count", _in_words(len(within)))
    numbers.put(f"{role}.worse.count", _in_words(len(worse)))
    numbers.put(f"{role}.undecided.count", _in_words(len(reduced) - len(within) - len(worse)))
    numbers.put(f"{role}.reduced.count", _in_words(len(reduced)))
    for name, several in (("within", within), ("worse", worse)):
        leads = _listed([row["leads"] for row in several], separator="; ")
        numbers.put(f"{role}.{name}.list", leads or "none")
        numbers.flags[f"{role}.{name}.any"] = bool(several)
    best = max(reduced, key=lambda row: row["auroc"], default=None)
    smallest = min(within, key=lambda row: (row["n_leads"], -row["auroc"]), default=None)
    for name, chosen in (("best", best), ("smallest-within", smallest)):
        if chosen is not None:
            numbers.put(f"{role}.{name}.leads", chosen["leads"])
            _put_row(numbers, f"{role}.{name}", chosen)
    singles = [row for row in reduced if row["n_leads"] == 1]
    numbers.flags[f"{role}.singles"] = len(singles) > 1
    for name, choose in (("best-single", max), ("worst-single", min)):
        if singles:
            row = choose(singles, key=lambda one: one["auroc"])
            numbers.put(f"{role}.{name}.leads", row["leads"])
            _put_row(numbers, f"{role}.{name}", row)
    spreads = [row["auroc_seed_sd"] for row in rows if row["auroc_seed_sd"] is not None]
    numbers.put(f"{role}.seed-sd.largest", max(spreads, default=None), lambda v: f"{v:.4f}")
    halves = [(row["difference_high"] - row["difference_low"]) / 2 for row in reduced]
    for name, choose in (("narrowest", min), ("widest", max)):
        numbers.put(f"{role}.half-width.{name}", choose(halves, default=None), _writer("auroc"))


def _put_findings(numbers: Numbers, study: PublishedStudy, role: str, recipe: str) -> None:
    rows = study.rows("key_findings", recipe)
    for row in rows:
        key = f"{role}.{row['part']}"
        for name in ("question", "verdict", "threshold", "statement", "effect_name", "original"):
            numbers.put(f"{key}.{name}", row[name])
        numbers.put(f"{key}.p", row["p_holm"], _p)
        numbers.flags[f"{key}.asked"] = row["effect"] is not None
        if row["effect"] is not None:
            value, low, high = (
                latex_escape(shown(row[name], row["shown_as"]))
                for name in ("effect", "low", "high")
            )
            numbers.values[f"{key}.effect"] = value
            numbers.values[f"{key}.interval"] = f"{low} to {high}"
    overall = {row["finding"]: row for row in rows}
    for finding, row in overall.items():
        numbers.put(f"{role}.finding{finding}.verdict", row["finding_verdict"])
        numbers.put(f"{role}.finding{finding}.name", row["finding_name"])
    by_verdict = {
        verdict: [n for n, row in sorted(overall.items()) if row["finding_verdict"] == verdict]
        for verdict in VERDICTS
    }
    told = [
        f"{_in_words(len(found))} {'was' if len(found) == 1 else 'were'} {verdict}"
        f" ({_listed([str(n) for n in found])})"
        for verdict, found in by_verdict.items()
        if found
    ]
    numbers.put(f"{role}.findings.count", _in_words(len(overall)))
    numbers.put(f"{role}.findings.told", _listed(told))
    for verdict, name in zip(VERDICTS, ("supported", "refuted", "open"), strict=False):
        numbers.flags[f"{role}.findings.any-{name}"] = bool(by_verdict[verdict])


def _put_checks(numbers: Numbers, study: PublishedStudy, role: str, recipe: str) -> None:
    rows = study.rows("non_inferiority", recipe)
    for row in rows:
        key = f"{role}.{row['config']}.margin-{row['margin']:g}"
        numbers.put(f"{key}.verdict", row["verdict"])
    primary = [row for row in rows if row["primary"]]
    resolvable = [
        row["smallest_resolvable"] for row in primary if row["smallest_resolvable"] is not None
    ]
    for name, choose in (("best", min), ("worst", max)):
        numbers.put(f"{role}.smallest.{name}", choose(resolvable, default=None), _writer("auroc"))
    corrected = [row for row in primary if row["holds_corrected"]]
    numbers.put(f"{role}.within-corrected.count", _in_words(len(corrected)))
    told = []
    for margin in sorted({row["margin"] for row in rows} - {MARGIN}):
        passed = sum(r["verdict"] == "non-inferior" for r in rows if r["margin"] == margin)
        told.append(f"{_in_words(passed)} at a margin of {margin:g}")
    numbers.put(f"{role}.margins.told", _listed(told) or None)
    controls = study.rows("negative_controls", recipe)
    numbers.flags[f"{role}.controls"] = bool(controls)
    sentences = [
        f"{row['first']} minus {row['second']}: {signed(row['difference'])} "
        f"({signed(row['low'])} to {signed(row['high'])}), {row['verdict']}"
        for row in controls
        if row["difference"] is not None
    ]
    numbers.put(f"{role}.controls.told", "; ".join(sentences) or None)
    for row in study.rows("calibration", recipe):
        if row["class"] == "macro":
            state = "after" if row["recalibrated"] else "before"
            _put_row(numbers, f"{role}.{row['config']}.calibration-{state}", row)
    folds = study.rows("folds", recipe)
    numbers.flags[f"{role}.folds"] = bool(folds)
    for row in folds:
        key = f"{role}.{row['config']}.folds"
        numbers.put(f"{key}.difference", row["difference"], _writer("difference"))
        if row["low"] is not None and row["high"] is not None:
            low, high = (_writer("difference")(row[name]) for name in ("low", "high"))
            numbers.values[f"{key}.interval"] = f"{low} to {high}"
        numbers.put(f"{key}.better", row["n_folds_better"])
        numbers.put(f"{key}.count", row["n_folds"])
    agreeing = [row for row in folds if row["low"] is not None and row["low"] > -MARGIN]
    numbers.put(f"{role}.folds.within.list", _listed([r["config"] for r in agreeing]) or "none")
    groups = {row["grouping"] for row in study.rows("subgroups", recipe) if row["enough"]}
    numbers.flags[f"{role}.subgroups"] = bool(groups)
    numbers.put(f"{role}.subgroups.list", _listed(sorted(groups)) or None)


def _put_comparison(numbers: Numbers, study: PublishedStudy) -> None:
    rows = study.rows("recipe_comparison")
    for row in rows:
        _put_row(numbers, f"compare.{row['config']}.{row['metric']}", row)
    hypertrophy = study.rows("hypertrophy")
    numbers.flags["hypertrophy"] = bool(hypertrophy)
    told = [
        f"{row['effect_name']}: {number(row['first'])} with {row['first_recipe']} against "
        f"{number(row['second'])} with {row['second_recipe']} (difference "
        f"{signed(row['difference'])}, {signed(row['low'])} to {signed(row['high'])})"
        for row in hypertrophy
        if None not in (row["first"], row["second"], row["difference"], row["low"], row["high"])
    ]
    numbers.put("hypertrophy.told", "; ".join(told) or None)


def _put_row(numbers: Numbers, prefix: str, row: Mapping[str, Any]) -> None:
    """Take up the numbers of a row, each with its interval where the row has one."""
    for name, value in row.items():
        if isinstance(value, bool | str) or re.search(r"_(low|high)(_|$)", name):
            continue
        key = f"{prefix}.{name}"
        if value is not None and (name.startswith("n_") or isinstance(value, int)):
            numbers.put(key, value)
            continue
        write = _p if re.match(r"(difference_)?p(_|$)", name) else _writer(name)
        numbers.put(key, value, write)
        bounds = [row.get(f"{name}_{end}", "absent") for end in ("low", "high")]
        if "absent" in bounds:
            continue
        if None in (*bounds, value):
            numbers.undefined.add(f"{key}.interval")
        else:
            numbers.values[f"{key}.interval"] = " to ".join(write(bound) for bound in bounds)


def _writer(name: str) -> Callable[[float], str]:
    """Say how a column is written in the text."""
    if name.startswith(_PER_CENT):
        return lambda value: rf"{100 * value:.1f}\%"
    if name.startswith(_SIGNED):
        return lambda value: latex_escape(signed(value))
    return lambda value: latex_escape(number(value))


def _p(value: float) -> str:
    return "$<$0.001" if value < 0.001 else f"{value:.3f}"


def _caption(name: str) -> str:
    return FIGURE_CAPTIONS.get(name) or f"From the study: {re.sub(r'[_-]+', ' ', name)}"


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            flat[prefix + name] = _listed([f"{v:g}" for v in value])
        else:
            flat[prefix + name] = f"{value:g}" if isinstance(value, float) else str(value)
    return flat


def _in_words(count: int) -> str:
    return _COUNT_WORDS[count] if count < len(_COUNT_WORDS) else f"{count:,}"


def _listed(items: Sequence[str], separator: str = ", ") -> str:
    if len(items) < 2:
        return "".join(items)
    last = "; and " if separator == "; " else " and "
    return separator.join(items[:-1]) + last + items[-1]


def _markdown_to_latex(text: str) -> str:
    """Escape a sentence whose only markup is ``**bold**``."""
    parts = [latex_escape(part) for part in text.split("**")]
    return "".join(rf"\textbf{{{part}}}" if i % 2 else part for i, part in enumerate(parts))


def _run_date(study: PublishedStudy) -> date:
    days = [str(run["provenance"].get("date", "")) for run in study.runs.values()]
    try:
        return max(date.fromisoformat(day) for day in days)
    except ValueError:
        raise LeadminError(
            f"{study.folder / 'runs'}: a metrics.json has no date in its provenance (such as "
            "2026-01-31); publish the study again"
        ) from None


# --- typesetting --------------------------------------------------------------------------------


def _typeset(work: Path, document: str, day: date, numbers: Numbers) -> None:
    """Run pdflatex and bibtex until references are settled."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": str(int(moment.timestamp())),
        "FORCE_SOURCE_DATE": "1",
        "TZ": "UTC",
        "max_print_line": "10000",
        "openout_any": "p",
    }
    latex = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
    latex += ["-file-line-error", f"{document}.tex"]

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def log() -> str:
        path = work / f"{document}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    for passes in range(_MAX_PASSES):
        done = run(latex)
        if done.returncode:
            raise LeadminError(_latex_problem(work, document, log() or done.stdout, numbers))
        if passes == 0 and r"\bibdata" in (work / f"{document}.aux").read_text(encoding="utf-8"):
            cited = run(["bibtex", document])
            complaints = re.findall(r"^(?:Warning--|I couldn't|I found no).*", cited.stdout, re.M)
            if cited.returncode or complaints:
                raise LeadminError(
                    f"{work / document}.tex: bibtex: {'; '.join(complaints) or cited.stdout[-500:]}"
                )
            continue
        if passes and not re.search(r"Rerun to get|Label\(s\) may have changed", log()):
            break
    dangling = re.findall(r"(?:Reference|Citation) `[^']*'[^\n]*undefined", log())
    if dangling:
        raise LeadminError(
            f"{work / document}.tex: {'; '.join(sorted(set(dangling)))}; correct the name in paper/"
        )
    if re.search(r"There were undefined|multiply-defined|Rerun to get cross", log()):
        raise LeadminError(f"{work / document}.log: labels are undefined or defined twice")


def _latex_problem(work: Path, document: str, log: str, numbers: Numbers) -> str:
    where = f"{work / document}.tex"
    asked = re.search(r"leadmin Error: No (result|flag) '([^']*)'", log)
    if asked:
        kind, key = asked.groups()
        if key in numbers.undefined:
            return f"{where}: the {kind} {key!r} is null in the study's results; reword the text"
        known = numbers.flags if kind == "flag" else numbers.values
        near = [name for name in sorted(known) if name.split(".")[:2] == key.split(".")[:2]][:5]
        hint = f"; near it: {', '.join(near)}" if near else ""
        return f"{where}: the study has no {kind} {key!r}{hint}"
    lines = re.findall(r"^(?:!|[^\s:]+:\d+:).*(?:\n.*){0,3}", log, re.M)
    shown_lines = "\n".join(lines[:3]) or log[-1500:]
    return f"{where}: LaTeX stopped (all of it in {where[:-4]}.log)\n{shown_lines}"
