"""LaTeX from the outside: whether it is there, and how a document is typeset with it."""

import os
import re
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

from leadmin.errors import LeadminError

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

MAX_PASSES = 5


def check_tex() -> None:
    """Make sure that TeX is there with all that the paper loads, or say what to install."""
    missing = [name for name in ("pdflatex", "bibtex", "kpsewhich") if not shutil.which(name)]
    if not missing:
        found = subprocess.run(["kpsewhich", *TEX_FILES], capture_output=True, text=True).stdout
        missing = [name for name in TEX_FILES if f"/{name}" not in found]
    if missing:
        debian = " ".join(sorted({"texlive-binaries", *TEX_FILES.values()}))
        raise LeadminError(
            f"the paper needs {', '.join(missing)}, not found; install TeX Live, on Debian or "
            f"Ubuntu: apt install {debian}; elsewhere: the scheme 'medium' of TeX Live, or MacTeX"
        )


def typeset(work: Path, document: str, day: date) -> None:
    """Run pdflatex and bibtex until references are settled; what leads nowhere is refused.

    ``work`` holds all that is typeset, and the PDF and TeX's own files are left there; ``document``
    has no suffix; ``day`` is what the PDF says of its making, so that the same text gives the same
    bytes.
    """
    where = work / f"{document}.tex"
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": str(int(moment.timestamp())),
        "FORCE_SOURCE_DATE": "1",
        "TZ": "UTC",
        "max_print_line": "10000",
        "openout_any": "p",
    }
    latex = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
    latex += ["-file-line-error", where.name]

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, errors="replace"
        )

    log = ""
    for passes in range(MAX_PASSES):
        done, path = run(latex), where.with_suffix(".log")
        log = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else done.stdout
        if done.returncode:
            lines = re.findall(r"^(?:!|[^\s:]+:\d+:).*(?:\n.*){0,3}", log, re.M)
            raise LeadminError(
                f"{where}: LaTeX stopped (all of it in {path})\n"
                + ("\n".join(lines[:3]) or log[-1500:])
            )
        if passes == 0 and r"\bibdata" in where.with_suffix(".aux").read_text(encoding="utf-8"):
            cited = run(["bibtex", document])
            complaints = re.findall(r"^(?:Warning--|I couldn't|I found no).*", cited.stdout, re.M)
            if cited.returncode or complaints:
                raise LeadminError(
                    f"{where}: bibtex: {'; '.join(complaints) or cited.stdout[-500:]}"
                )
        elif passes and not re.search(r"Rerun to get|Label\(s\) may have changed", log):
            break
    dangling = re.findall(r"(?:Reference|Citation) `[^']*'[^\n]*undefined", log)
    if dangling:
        raise LeadminError(f"{where}: {'; '.join(sorted(set(dangling)))}; correct it in paper/")
    if re.search(r"There were undefined|multiply-defined|Rerun to get cross", log):
        raise LeadminError(f"{where}: labels are undefined or defined twice; see its .log")
