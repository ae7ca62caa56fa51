"""What a paper or a page shows in numbers: LaTeX, Markdown, CSV and JSON from one `Evidence`.

Every table states on which data, protocol, records, patients and seeds it stands. The same evidence
gives the same bytes: nothing here reads a clock, a machine or a random number.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leadmin.errors import LeadminError
from leadmin.evidence import calibration, comparisons
from leadmin.evidence import scores as ev
from leadmin.evidence.scores import Evidence
from leadmin.files import write_json, write_text
from leadmin.labels import CLASSES, LABEL_POLICIES

SCHEMA_VERSION = 1

PROTOCOLS = {
    "holdout": "holdout (folds 1-8 train, 9 validates, 10 tests)",
    "crossval": "ten-fold cross-validation over patient folds, predictions pooled",
}


CURVES = ("decision_curves", "lrs_weights")
"""Tables with many rows that exist to be drawn: they are written as CSV only."""

SUMMARY_COLUMNS = (
    "leads",
    "n_leads",
    "auroc",
    "auroc_low",
    "auroc_high",
    "auroc_seed_sd",
    "f1",
    "brier",
    "ece",
    "lrs",
    "retention",
    "retention_above_chance",
    "difference",
    "difference_low",
    "difference_high",
    "non_inferior",
    "n_seeds",
)
"""What ``summary.json`` says of each configuration."""


@dataclass(frozen=True)
class StudyDescription:
    """What a reader must know to place the numbers.

    Attributes
    ----------
    name : str
        Of the study file.
    title : str
        One line.
    data : str
        Which records these are, as a phrase: ``"PTB-XL 1.0.3, the 1,200 embedded records"``.
    protocol : str
        ``"holdout"`` or ``"crossval"``.
    label_policy : str
        ``"any"`` or ``"likelihood50"``.
    """

    name: str
    title: str
    data: str
    protocol: str
    label_policy: str = "any"

    def __post_init__(self) -> None:
        for field, choices in (("protocol", PROTOCOLS), ("label_policy", LABEL_POLICIES)):
            if getattr(self, field) not in choices:
                raise LeadminError(
                    f"The study's {field} is {getattr(self, field)!r}; valid: {', '.join(choices)}."
                )


def study_tables(
    evidence: Evidence, groups: Mapping[str, ArrayLike] | None = None
) -> dict[str, pd.DataFrame]:
    """Compute every table of a study.

    Parameters
    ----------
    evidence : Evidence
    groups : mapping of str to array_like of str, optional
        Subgroups of the test records, see `leadmin.evidence.comparisons.subgroup_table`.

    Returns
    -------
    dict of str to DataFrame
        ``main, per_class, key_findings, pairwise, non_inferiority, negative_controls, ranks,
        delong, calibration, decision_curves, lrs_weights, folds, subgroups``, each with the recipes
        one below the other, and ``recipe_comparison, hypertrophy, across_recipes`` of the first two
        recipes. A table without rows (``folds`` with a single fold, ``subgroups`` without groups,
        ...) is empty.
    """

    def each(table: Callable[[Evidence, str], pd.DataFrame]) -> pd.DataFrame:
        made = [table(evidence, recipe) for recipe in evidence.recipes]
        with_rows = [one for one in made if len(one)]
        return pd.concat(with_rows, ignore_index=True) if with_rows else pd.DataFrame()

    tables = {
        "main": each(ev.main_table),
        "per_class": each(ev.per_class_table),
        "key_findings": each(ev.key_findings),
        "pairwise": each(ev.pairwise_matrix),
        "recipe_comparison": pd.DataFrame(),
        "hypertrophy": pd.DataFrame(),
        "across_recipes": pd.DataFrame(),
        "non_inferiority": each(comparisons.non_inferiority_table),
        "negative_controls": each(comparisons.negative_controls),
        "ranks": each(comparisons.rank_table),
        "delong": each(comparisons.delong_table),
        "folds": each(comparisons.fold_table),
        "calibration": each(calibration.calibration_table),
        "decision_curves": each(calibration.decision_curves),
        "lrs_weights": each(comparisons.lrs_weights),
        "subgroups": each(lambda e, recipe: comparisons.subgroup_table(e, groups or {}, recipe)),
    }
    if len(evidence.recipes) > 1:
        first, second = evidence.recipes[:2]
        tables["recipe_comparison"] = ev.recipe_comparison(evidence, first, second)
        tables["hypertrophy"] = comparisons.hypertrophy_table(evidence, first, second)
        tables["across_recipes"] = comparisons.across_recipes(evidence, first, second)
    return tables


def write_publication_outputs(
    evidence: Evidence,
    folder: Path,
    study: StudyDescription,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> list[Path]:
    """Write the tables of a study as a paper, a page and a program want them.

    Parameters
    ----------
    evidence : Evidence
    folder : Path
        Made if it is missing; files in it are replaced one by one, each all or nothing.
    study : StudyDescription
    tables : mapping of str to DataFrame, optional
        Of `study_tables`, where they are at hand already.

    Returns
    -------
    list of Path
        ``table_main.tex``, ``table_perclass.tex``, ``table_findings.tex``, ``RESULTS.md``,
        ``summary.json``,
        ``results_final.json`` (every table but those of `CURVES`) and one CSV per table that has
        rows.

    Raises
    ------
    LeadminError
        If what would be written does not fit ``results_schema.json``.
    """
    made = dict(study_tables(evidence) if tables is None else tables)
    results = results_document(evidence, study, made)
    summary = summary_document(evidence, study, made)
    check_document(results, "results", "The results document")
    check_document(summary, "summary", "The summary document")
    texts = {
        "table_main.tex": main_latex(evidence, study, made["main"]),
        "table_perclass.tex": per_class_latex(evidence, study, made["per_class"]),
        "table_findings.tex": findings_latex(evidence, study, made["key_findings"]),
        "RESULTS.md": results_markdown(evidence, study, made),
    }
    texts |= {
        f"{name}.csv": table.to_csv(index=False, lineterminator="\n", float_format="%.10g")
        for name, table in made.items()
        if len(table)
    }
    written = []
    for name, text in texts.items():
        write_text(folder / name, text)
        written.append(folder / name)
    for name, document in (("summary.json", summary), ("results_final.json", results)):
        write_json(folder / name, document)
        written.append(folder / name)
    return written


def results_document(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Give everything as one document, the content of ``results_final.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study": _study_document(evidence, study),
        "tables": {name: _rows(table) for name, table in tables.items() if name not in CURVES},
    }


def summary_document(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Give what most readers look for, the content of ``summary.json``."""
    main, findings = tables["main"], tables["key_findings"]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": _study_document(evidence, study),
        "recipes": {
            recipe: {
                row["config"]: {key: row[key] for key in SUMMARY_COLUMNS}
                for row in _rows(main[main["recipe"] == recipe])
            }
            for recipe in evidence.recipes
        },
        "key_findings": [
            {key: row[key] for key in ("finding", "part", "recipe", "verdict", "statement")}
            for row in _rows(findings)
        ],
    }


def main_latex(evidence: Evidence, study: StudyDescription, main: pd.DataFrame) -> str:
    """Typeset the main table; the document needs booktabs and siunitx."""
    several = len(evidence.recipes) > 1
    lines: list[str] = []
    for recipe in evidence.recipes:
        block = main[main["recipe"] == recipe]
        if several:
            lines += [*([r"\midrule"] if lines else []), _recipe_heading(recipe, 10)]
        for row in block.to_dict("records"):
            difference = "{--}" if row["config"] == ev.REFERENCE else _number(row["difference"])
            lines.append(
                " & ".join(
                    [
                        latex_escape(row["config"]),
                        str(row["n_leads"]),
                        _number(row["auroc"]),
                        _interval(row["auroc_low"], row["auroc_high"]),
                        difference,
                        "{--}"
                        if row["config"] == ev.REFERENCE
                        else _interval(row["difference_low"], row["difference_high"]),
                        _number(row["f1"]),
                        _number(row["brier"]),
                        _number(row["lrs"]),
                        _number(row["retention_above_chance"]),
                    ]
                )
                + r" \\"
            )
    heading = [
        "Configuration & {Leads} & {AUROC} & {95\\% interval} & {$\\Delta$ to 12 leads} & "
        "{95\\% interval} & {F1} & {Brier} & {LRS} & {Kept} \\\\"
    ]
    caption = (
        "Lead configurations in macro averages over five superclasses. "
        "$\\Delta$: macro AUROC minus that of the 12 leads, paired over patients. "
        "LRS: lead robustness score. Kept: share of the discrimination above chance, "
        "$(\\mathrm{AUROC} - 0.5) / (\\mathrm{AUROC}_{12} - 0.5)$. "
        + latex_escape(basis(evidence, study))
    )
    spec = (
        "l S[table-format=2.0] S[table-format=1.3] c S[table-format=+1.3] c "
        "*{4}{S[table-format=1.3]}"
    )
    return _table(spec, heading, lines, caption, "tab:main")


def per_class_latex(evidence: Evidence, study: StudyDescription, per_class: pd.DataFrame) -> str:
    """Typeset AUROC per class; the document needs booktabs and siunitx."""
    several = len(evidence.recipes) > 1
    lines: list[str] = []
    for recipe in evidence.recipes:
        block = per_class[per_class["recipe"] == recipe]
        if several:
            lines += [
                *([r"\midrule"] if lines else []),
                _recipe_heading(recipe, 1 + len(CLASSES)),
            ]
        for config, rows in block.groupby("config", sort=False):
            cells = [latex_escape(str(config))]
            by_class = rows.set_index("class")
            for name in CLASSES:
                row: Any = by_class.loc[name]
                cells.append(
                    f"{_number(row['auroc'])} ({_interval(row['auroc_low'], row['auroc_high'])})"
                )
            lines.append(" & ".join(cells) + r" \\")
    positives = per_class.drop_duplicates("class").set_index("class")["n_positive"]
    heading = [
        " & ".join(["Configuration", *(f"{name} ($n = {positives[name]}$)" for name in CLASSES)])
        + r" \\"
    ]
    caption = (
        "AUROC of each superclass with 95\\% interval; $n$: positive test records. "
        + latex_escape(basis(evidence, study))
    )
    return _table("l *{5}{c}", heading, lines, caption, "tab:perclass")


def findings_latex(evidence: Evidence, study: StudyDescription, findings: pd.DataFrame) -> str:
    """Typeset the key findings and their verdicts; the document needs booktabs and siunitx."""
    several = len(evidence.recipes) > 1
    lines: list[str] = []
    for recipe in evidence.recipes:
        if several:
            lines += [*([r"\midrule"] if lines else []), _recipe_heading(recipe, 6)]
        for row in findings[findings["recipe"] == recipe].to_dict("records"):
            cells = [
                row["part"],
                latex_escape(row["question"]),
                latex_escape(_effect(row)),
                latex_escape(row["threshold"]),
                latex_escape(ev.p_value(row["p_holm"])),
                latex_escape(row["verdict"]),
            ]
            lines.append(" & ".join(cells) + r" \\")
    heading = [r" & Question & Effect (95\% interval) & Claim needs & $p$ (Holm) & Verdict \\"]
    caption = (
        "The original study's key findings as questions with thresholds fixed beforehand. $p$: "
        "two-sided against the threshold, Holm-corrected within the recipe. "
        + latex_escape(basis(evidence, study))
    )
    ragged = r">{\raggedright\arraybackslash}"
    widths = ("p{0.29\\linewidth}", "p{0.2\\linewidth}", "p{0.12\\linewidth}")
    spec = f"l {' '.join(ragged + width for width in widths)} l {ragged}p{{0.14\\linewidth}}"
    return _table(spec, heading, lines, caption, "tab:findings")


def results_markdown(
    evidence: Evidence, study: StudyDescription, tables: Mapping[str, pd.DataFrame]
) -> str:
    """Write the report that one reads in a terminal or on a code host."""
    findings, main, per_class = tables["key_findings"], tables["main"], tables["per_class"]
    parts = [f"# {study.title}", basis(evidence, study)]
    parts.append("## The original study's key findings, asked again")
    for recipe in evidence.recipes:
        rows = findings[findings["recipe"] == recipe]
        shown = pd.DataFrame(
            {
                "": rows["part"],
                "Question": rows["question"],
                "Effect": [_effect(row) for row in rows.to_dict("records")],
                "Claim needs": rows["threshold"],
                "p (Holm)": [ev.p_value(value) for value in rows["p_holm"]],
                "Verdict": rows["verdict"],
                "Original": rows["original"],
            }
        )
        verdicts = rows.drop_duplicates("finding")
        listed = "\n".join(
            f"{row['finding']}. {row['finding_name']}: **{row['finding_verdict']}**"
            for row in verdicts.to_dict("records")
        )
        parts += [f"### Recipe `{recipe}`", listed, _markdown(shown)]
    parts.append("## Configurations")
    for recipe in evidence.recipes:
        rows = main[main["recipe"] == recipe]
        shown = pd.DataFrame(
            {
                "Configuration": rows["config"],
                "Leads": rows["n_leads"],
                "AUROC": _with_interval(rows, "auroc"),
                "Seed SD": [ev.number(value, 4) for value in rows["auroc_seed_sd"]],
                "Minus 12 leads": _with_interval(
                    rows.mask(rows["config"] == ev.REFERENCE), "difference", sign=True
                ),
                "p (Holm)": [ev.p_value(value) for value in rows["difference_p_holm"]],
                "F1": _with_interval(rows, "f1"),
                "Brier": _with_interval(rows, "brier"),
                "ECE": [ev.number(value) for value in rows["ece"]],
                "LRS": _with_interval(rows, "lrs"),
                "Retention": [_per_cent(value) for value in rows["retention"]],
                "Kept above chance": [_per_cent(value) for value in rows["retention_above_chance"]],
                "Seeds": rows["n_seeds"],
            }
        )
        parts += [f"### Recipe `{recipe}`", _markdown(shown)]
    parts.append("## AUROC per class")
    for recipe in evidence.recipes:
        rows = per_class[per_class["recipe"] == recipe].copy()
        rows["shown"] = _with_interval(rows, "auroc")
        wide = rows.pivot(index="config", columns="class", values="shown")
        wide = wide.loc[list(dict.fromkeys(rows["config"])), list(CLASSES)]
        parts += [f"### Recipe `{recipe}`", _markdown(wide.reset_index(names="Configuration"))]
    compared = tables["recipe_comparison"]
    if len(compared):
        first, second = compared["first_recipe"].iloc[0], compared["second_recipe"].iloc[0]
        rows = compared[compared["metric"] == "auroc"]
        shown = pd.DataFrame(
            {
                "Configuration": rows["config"],
                f"`{first}`": [ev.number(value) for value in rows["first"]],
                f"`{second}`": [ev.number(value) for value in rows["second"]],
                "Difference": _with_interval(rows, "difference", sign=True),
                "p (Holm)": [ev.p_value(value) for value in rows["p_holm"]],
            }
        )
        parts += [f"## Macro AUROC, `{first}` minus `{second}`", _markdown(shown)]
    parts += _markdown_hypertrophy(tables["hypertrophy"])
    parts += _markdown_non_inferiority(evidence, tables["non_inferiority"])
    parts += _markdown_controls(tables["negative_controls"])
    parts += _markdown_calibration(evidence, tables["calibration"])
    parts += _markdown_subgroups(evidence, tables["subgroups"])
    parts += [
        "## How to read this",
        "Intervals are 95% intervals of a bootstrap over patients, BCa for AUROC, average "
        "precision and Brier score, percentile for everything else. The same resamples serve "
        "every configuration, so differences are paired. Intervals carry the sampling of patients; "
        "the spread over seeds stands in a column of its own. The lead robustness score (LRS) "
        "divides AUROC by AUROC, so that a coin flip at unchanged Brier score would still "
        "score about 0.7; *kept above chance* is 0 for a coin flip. With "
        f"{evidence.n_resamples:,} resamples no p value can fall below "
        f"{2 / (evidence.n_resamples + 1):.1g} before it is corrected.",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_non_inferiority(evidence: Evidence, table: pd.DataFrame) -> list[str]:
    parts = ["## Non-inferiority to the 12 leads in macro AUROC"] if len(table) else []
    for recipe in evidence.recipes if len(table) else ():
        rows = table[table["recipe"] == recipe]
        primary = rows[rows["primary"]]
        if primary.empty:  # only the 12 leads were trained under this recipe
            continue
        shown = {
            "Configuration": primary["config"].tolist(),
            "Difference": [
                f"{ev.signed(r['difference'])} ({ev.signed(r['low'])} to {ev.signed(r['high'])})"
                for r in primary.to_dict("records")
            ],
        }
        for margin, of_margin in rows.groupby("margin", sort=False):
            shown[f"margin {margin:g}"] = of_margin["verdict"].tolist()
        shown["Holds after Holm"] = [
            "yes" if holds else "no" for holds in primary["holds_corrected"]
        ]
        shown["Smallest resolvable"] = [ev.number(v) for v in primary["smallest_resolvable"]]
        parts += [f"### Recipe `{recipe}`", _markdown(pd.DataFrame(shown))]
    if parts:
        parts.append(
            f"The primary margin is {ev.MARGIN:g}, the others test how much hangs on it. A verdict "
            "reads the 95% interval, whose lower end is a one-sided 97.5% bound. *Smallest "
            "resolvable*: the true difference that would have been found four times in five."
        )
    return parts


def _markdown_hypertrophy(table: pd.DataFrame) -> list[str]:
    if not len(table):
        return []
    first, second = table["first_recipe"].iloc[0], table["second_recipe"].iloc[0]
    shown = pd.DataFrame(
        {
            "": table["effect_name"],
            f"`{first}`": [ev.number(value) for value in table["first"]],
            f"`{second}`": [ev.number(value) for value in table["second"]],
            "Difference": [
                f"{ev.signed(r['difference'])} ({ev.signed(r['low'])} to {ev.signed(r['high'])})"
                for r in table.to_dict("records")
            ],
            "p (Holm)": [ev.p_value(value) for value in table["p_holm"]],
        }
    )
    meaning = (
        f'"Fewer leads" is the mean of the {table["n_reduced"].iloc[0]} configurations with fewer '
        "than 12 leads that both recipes trained."
    )
    return ["## Hypertrophy under both recipes", _markdown(shown), meaning]


def _markdown_controls(table: pd.DataFrame) -> list[str]:
    if not len(table):
        return []
    lines = [f"- Recipe `{r['recipe']}`: {r['statement']}" for r in table.to_dict("records")]
    return ["## Negative controls: lead sets that carry the same information", "\n".join(lines)]


def _markdown_calibration(evidence: Evidence, table: pd.DataFrame) -> list[str]:
    parts = ["## Calibration, mean over classes, before and after recalibration"]
    for recipe in evidence.recipes:
        rows = table[(table["recipe"] == recipe) & (table["class"] == "macro")]
        before, after = (rows[rows["recalibrated"] == state] for state in (False, True))
        shown = {"Configuration": before["config"].tolist()}
        for name, heading in (
            ("brier", "Brier"),
            ("miscalibration", "Miscalibration"),
            ("discrimination", "Discrimination"),
            ("slope", "Slope"),
            ("ece", "ECE"),
            ("smooth_ece", "Smooth ECE"),
        ):
            shown[heading] = [
                ev.number(a) if name == "discrimination" else f"{ev.number(a)} → {ev.number(b)}"
                for a, b in zip(before[name], after[name], strict=True)
            ]
        parts += [f"### Recipe `{recipe}`", _markdown(pd.DataFrame(shown))]
    parts.append(
        "Recalibration is Platt scaling per class, fitted on validation records. Brier = "
        "miscalibration − discrimination + uncertainty of the labels."
    )
    return parts


def _markdown_subgroups(evidence: Evidence, table: pd.DataFrame) -> list[str]:
    parts = ["## Subgroups, macro AUROC"] if len(table) else []
    for recipe in evidence.recipes if len(table) else ():
        rows = table[table["recipe"] == recipe]
        # one line says that a subgroup is too small, whatever the leads
        first_of_subgroup = ~rows.duplicated(["grouping", "subgroup"])
        rows = rows[rows["enough"] | first_of_subgroup]
        shown = pd.DataFrame(
            {
                "Subgroup": rows["grouping"] + ": " + rows["subgroup"],
                "Configuration": rows["config"].where(rows["enough"], "any (too few)"),
                "Records": rows["n_records"],
                "Patients": rows["n_patients"],
                "Fewest positives": rows["fewest_positives"],
                "AUROC": _with_interval(rows, "auroc"),
                "Minus 12 leads": _with_interval(rows, "difference", sign=True),
                "Interaction, p (Holm)": [
                    ev.p_value(value) for value in rows["interaction_p_holm"]
                ],
            }
        )
        parts += [f"### Recipe `{recipe}`", _markdown(shown)]
    if parts:
        parts.append(
            f"A subgroup in which a class has fewer than {comparisons.MIN_POSITIVES} positive or "
            "negative records is listed with its counts and without a value."
        )
    return parts


def basis(evidence: Evidence, study: StudyDescription) -> str:
    """Say in plain text on what a table stands."""
    seeds = sorted({scored.n_seeds for scored in evidence.scored.values()})
    if len(seeds) == 1:
        trained = f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''} per configuration and recipe"
    else:
        trained = f"{seeds[0]} to {seeds[-1]} seeds per configuration and recipe"
    for recipe in evidence.recipes:
        n_trained = sum((config, recipe) in evidence.scored for config in evidence.configs)
        if n_trained < len(evidence.configs):
            trained += f"; recipe {recipe} on {n_trained} of {len(evidence.configs)} configurations"
    return (
        f"Data: {study.data}. Labels: {LABEL_POLICIES[study.label_policy].words}. "
        f"Protocol: {PROTOCOLS[study.protocol]}. "
        f"{evidence.n_records:,} test records of {evidence.n_patients:,} patients; {trained}; "
        f"{evidence.n_resamples:,} bootstrap resamples of patients."
    )


LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": r"$-$",
    "\N{EN DASH}": "--",
}


def latex_escape(text: str) -> str:
    """Make plain text safe in LaTeX; line breaks become spaces, other control characters go."""
    joined = re.sub(r"\s+", " ", text)
    kept = "".join(c for c in joined if c.isprintable())
    return "".join(LATEX_SPECIAL.get(character, character) for character in kept)


def schema() -> dict[str, Any]:
    """Give the JSON schema of ``results_final.json`` and ``summary.json``."""
    text = files("leadmin.publish").joinpath("results_schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def check_document(document: Any, kind: str, where: str) -> None:
    """Hold a document against ``results_schema.json``.

    Parameters
    ----------
    document : object
        As JSON has it.
    kind : {"results", "summary"}
        Which of the two documents it should be.
    where : str
        What the message calls it, such as its path.

    Raises
    ------
    LeadminError
        Naming the place in the document and what is wrong there.
    """
    validator = jsonschema.Draft202012Validator({**schema(), "$ref": f"#/$defs/{kind}"})
    problem = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if problem is not None:
        raise LeadminError(
            f"{where} does not fit results_schema.json at {problem.json_path}: "
            f"{problem.message[:300]}"
        )


def _study_document(evidence: Evidence, study: StudyDescription) -> dict[str, Any]:
    return asdict(study) | {
        "n_records": evidence.n_records,
        "n_patients": evidence.n_patients,
        "n_resamples": evidence.n_resamples,
        "resampling_seed": evidence.seed,
        "configurations": list(evidence.configs),
        "recipes": list(evidence.recipes),
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values; NaN and infinity, which JSON lacks, become null."""
    return [
        {str(key): _json_value(value) for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _json_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _table(
    spec: str, heading: Sequence[str], lines: Sequence[str], caption: str, label: str
) -> str:
    body = [
        "% Needs \\usepackage{booktabs} and \\usepackage{siunitx}, which loads array.",
        "\\begin{table}[tbp]",
        "\\centering",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        "\\medskip",
        f"\\begin{{tabular}}{{{spec}}}",
        "\\toprule",
        *heading,
        "\\midrule",
        *lines,
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(body) + "\n"


def _recipe_heading(recipe: str, width: int) -> str:
    return f"\\multicolumn{{{width}}}{{l}}{{\\emph{{Recipe: {latex_escape(recipe)}}}}} \\\\"


def _number(value: float, digits: int = 3) -> str:
    """For an S column: a dash in braces where there is no value."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "{--}"


def _interval(low: float, high: float, digits: int = 3) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "{--}"
    if low < 0:
        return f"${low:.{digits}f}$ to ${high:.{digits}f}$"
    return f"{low:.{digits}f}--{high:.{digits}f}"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f}%" if math.isfinite(value) else "\N{EN DASH}"


def _effect(row: Mapping[Any, Any]) -> str:
    """Effect of a key finding with its interval; a dash where it could not be had."""
    value, low, high = (ev.shown(row[key], row["shown_as"]) for key in ("effect", "low", "high"))
    return f"{value} ({low} to {high})" if math.isfinite(row["effect"]) else value


def _with_interval(rows: pd.DataFrame, name: str, sign: bool = False) -> list[str]:
    write = ev.signed if sign else ev.number
    return [
        f"{write(value)} ({write(low)} to {write(high)})" if math.isfinite(low) else write(value)
        for value, low, high in zip(
            rows[name], rows[f"{name}_low"], rows[f"{name}_high"], strict=True
        )
    ]


def _markdown(table: pd.DataFrame) -> str:
    """Write a pipe table; bars in the text are escaped."""
    cells = [[str(c) for c in table.columns], ["---"] * table.shape[1]]
    cells += [[str(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)
