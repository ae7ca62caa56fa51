"""The five diagnostic superclasses, their names, and the policies that turn statements into labels.

A record of PTB-XL carries SCP statements, each with a likelihood in per cent; each diagnostic
statement belongs to one superclass [1]_. Which statements count as labels is a choice, the *label
policy*; a new policy is one more entry of `LABEL_POLICIES`.

References
----------
.. [1] Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Sci. Data 7,
   154 (2020).
.. [2] Strodthoff N et al. Deep learning for ECG analysis: benchmarks and insights from PTB-XL.
   IEEE J. Biomed. Health Inform. 25, 1519-1528 (2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


@dataclass(frozen=True)
class LabelPolicy:
    """Which diagnostic statements count as labels.

    Attributes
    ----------
    least : float
        Smallest likelihood, in per cent, at which a statement counts.
    words : str
        What a report calls it.
    """

    least: float
    words: str


LABEL_POLICIES: Mapping[str, LabelPolicy] = MappingProxyType(
    {
        "any": LabelPolicy(0.0, "diagnostic statements of any likelihood"),
        "likelihood50": LabelPolicy(50.0, "diagnostic statements of at least 50% likelihood"),
    }
)
"""``any`` is the benchmark's reading [2]_: every statement counts, also one whose likelihood is
given as 0, which PTB-XL uses for "unknown". ``likelihood50`` is the original study's."""
