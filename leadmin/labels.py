"""Classes: PTB-XL's five superclasses, and the policies that turn its statements into labels.

A record of PTB-XL carries SCP statements, each with a likelihood in per cent; each diagnostic
statement belongs to one superclass [1]_. Which statements count as labels is a choice, the *label
policy*; a new policy is one more entry of `LABEL_POLICIES`.

Other data have other classes. A prepared file says which, and so does every run and network that
stands on it; what says nothing has the five.

References
----------
.. [1] Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Sci. Data 7,
   154 (2020).
.. [2] Strodthoff N et al. Deep learning for ECG analysis: benchmarks and insights from PTB-XL.
   IEEE J. Biomed. Health Inform. 25, 1519-1528 (2021).
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from leadmin.errors import LeadminError

CLASSES: tuple[str, ...] = ("NORM", "MI", "STTC", "CD", "HYP")
CLASS_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "NORM": "normal ECG",
        "MI": "myocardial infarction",
        "STTC": "ST/T change",
        "CD": "conduction disturbance",
        "HYP": "hypertrophy",
    }
)


MOST_CLASSES = 100
CLASS_NAME = re.compile(r"(?!(?i:macro|none|all)$)\w[\w .+/()-]{0,39}")
"""What a class may be called: it stands in tables, figures, files and LaTeX."""


def check_class_names(classes: Any, where: str) -> None:
    """Refuse what is no list of 1 to 100 class names, each once; ``where`` begins the message."""
    rule = (
        f"valid: 1 to {MOST_CLASSES} names, each once, of 1 to 40 letters, digits, spaces and "
        "._+-/(), and not macro, all or none"
    )
    if not isinstance(classes, list) or not 0 < len(classes) <= MOST_CLASSES:
        raise LeadminError(f"{where} is {repr(classes)[:80]}; {rule}")
    for name in classes:
        if not isinstance(name, str) or not CLASS_NAME.fullmatch(name) or name != name.strip():
            raise LeadminError(f"{where}: {str(name)[:60]!r} is no name of a class; {rule}")
    if len({name.casefold() for name in classes}) < len(classes):
        raise LeadminError(f"{where}: a name occurs twice in {', '.join(classes)[:80]}; {rule}")


def are_superclasses(classes: Iterable[str]) -> bool:
    """Tell whether classes are the five of PTB-XL, about which the original study's claims are."""
    return tuple(classes) == CLASSES


def classes_in_words(classes: Iterable[str]) -> str:
    """Say how many classes there are: "five superclasses", or "3 classes" of other data."""
    names = tuple(classes)
    if are_superclasses(names):
        return "five superclasses"
    return f"{len(names)} classes" if len(names) > 1 else "one class"


class LabelPolicy(NamedTuple):
    """Which diagnostic statements count as labels."""

    least: float  # smallest likelihood, in per cent, at which a statement counts
    words: str  # what a report calls it


LABEL_POLICIES: Mapping[str, LabelPolicy] = MappingProxyType(
    {
        "any": LabelPolicy(0.0, "diagnostic statements of any likelihood"),
        "likelihood50": LabelPolicy(50.0, "diagnostic statements of at least 50% likelihood"),
    }
)
"""``any`` is the benchmark's reading [2]_: every statement counts, also one whose likelihood is
given as 0, which PTB-XL uses for "unknown". ``likelihood50`` is the original study's."""
