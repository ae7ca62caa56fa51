"""The twelve leads: their names, the lead configurations, and the linear algebra between them.

A standard 12-lead ECG has nine electrodes that matter and eight independent signals: the six limb
leads are linear combinations of any two of them, and each chest lead stands alone. Everything that
follows from this (deriving leads, the span of a lead set, which sets carry the same information)
is decided here and nowhere else.

References
----------
.. [1] Malmivuo J, Plonsey R. Bioelectromagnetism, chapter 15: 12-lead ECG system. Oxford
   University Press, 1995.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from leadmin.errors import LeadminError

LIMB_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
LEADS: tuple[str, ...] = LIMB_LEADS + CHEST_LEADS

REFERENCE = "12-lead"
"""The configuration that every other one is compared with."""

_HALF = Fraction(1, 2)

LIMB_IDENTITIES: Mapping[str, tuple[Fraction, Fraction]] = {
    "I": (Fraction(1), Fraction(0)),
    "II": (Fraction(0), Fraction(1)),
    "III": (Fraction(-1), Fraction(1)),
    "aVR": (-_HALF, -_HALF),
    "aVL": (Fraction(1), -_HALF),
    "aVF": (-_HALF, Fraction(1)),
}
"""Each limb lead as ``a * I + b * II`` (Einthoven's law and Goldberger's definitions)."""

BIPOLAR = {"I": ("RA", "LA"), "II": ("RA", "LL"), "III": ("LA", "LL")}
"""Negative and positive pole."""

LIMB_ELECTRODES = ("RA", "LA", "LL")

_BY_FOLDED_NAME = {lead.casefold(): lead for lead in LEADS}

_DECORATION = re.compile(r"(?P<lead>mdc ecg lead|(?:e[ck]g )?lead|d(?=i|[123]$))|e[ck]g")
"""What files put before the name of a lead: ``MDC_ECG_LEAD_AVR``, ``Lead I``, ``DII``, ``D1``."""

_ROMAN = {"1": "i", "2": "ii", "3": "iii"}
"""Behind ``Lead`` or ``D``; ``ECG1`` is the first channel, whatever its lead."""

_NUMBERED = re.compile(r"(?:e[ck]g|ch|channel)? ?\d+")


@dataclass(frozen=True)
class Configuration:
    """A named set of leads, in the order of `LEADS`, and in one sentence what it stands for.

    A set that is not in the registry is called by its leads, joined by commas, and says no ``why``.
    """

    name: str
    leads: tuple[str, ...]
    why: str = ""
    beyond: bool = False  # named, but none of the eleven that a study runs by default


@dataclass(frozen=True)
class SignalSpace:
    """All lead sets that carry the same information, as the leads that lie in one linear space."""

    leads: tuple[str, ...]

    @property
    def representative(self) -> tuple[str, ...]:
        """The smallest set that spans it."""
        return representative(self.leads)

    @property
    def rank(self) -> int:
        """Number of independent signals in the space."""
        return len(self.representative)

    @property
    def name(self) -> str:
        """The configuration of its smallest set; of the whole space, the twelve leads."""
        leads = self.leads if self.leads == LEADS else self.representative
        return resolve(",".join(leads)).name

    @property
    def electrodes(self) -> tuple[str, ...]:
        """What it is recorded with, without the neutral one (RL)."""
        return electrodes_needed(self.leads)

    @property
    def is_electrode_set(self) -> bool:
        """Whether it is all that its electrodes give, so that no lead is thrown away."""
        return set(LIMB_LEADS) <= set(self.leads) or self.leads in {(lead,) for lead in BIPOLAR}


def canonical_lead(name: str) -> str:
    """Give the lead's name as `LEADS` spells it.

    Case, spaces and underscores do not count: ``"AVR"``, ``"avr"`` and ``" aVR "`` are aVR. Nor
    does what files put before it, as in ``"Lead I"``, ``"MDC_ECG_LEAD_AVR"``, ``"DII"`` and
    ``"D1"``. Another name is refused, without a guess: a lead that is nearly called so is another
    signal, and the number of a channel, as in ``"ECG1"``, says no lead.
    """
    plain = re.sub(r"[\s_]+", " ", str(name)).strip().casefold()
    bare = plain.removeprefix(found[0] if (found := _DECORATION.match(plain)) else "").strip()
    bare = _ROMAN.get(bare, bare) if found and found["lead"] else bare
    lead = _BY_FOLDED_NAME.get(re.sub(r"(?<=v) (?=[1-6]$)", "", bare))
    if lead is None:
        inverted = bare.startswith("-") and bare[1:].strip() in _BY_FOLDED_NAME
        hint = "turn the sign of its signal" if inverted else "give its name"
        why = " (the number of a channel says no lead)" if _NUMBERED.fullmatch(plain) else ""
        why = " (what stands in brackets may make it another signal)" if "(" in plain else why
        raise LeadminError(
            f"lead: there is no {str(name)[:40]!r}{why}; valid: {', '.join(LEADS)}; {hint}"
        )
    return lead


def canonical_leads(names: Iterable[str]) -> tuple[str, ...]:
    """Give a lead set in canonical spelling and in the order of `LEADS`.

    An empty set, an unknown lead and one that is named twice are refused.
    """
    leads = [canonical_lead(name) for name in names]
    if not leads:
        raise LeadminError(f"leads: none; valid: one or more of {', '.join(LEADS)}; name one")
    repeated = sorted({lead for lead in leads if leads.count(lead) > 1}, key=LEADS.index)
    if repeated:
        raise LeadminError(
            f"leads: {', '.join(repeated)} named more than once; valid: each lead once; drop one"
        )
    return tuple(sorted(leads, key=LEADS.index))


def lead_indices(leads: Iterable[str]) -> tuple[int, ...]:
    """Positions of ``leads`` on the lead axis of an array in the order of `LEADS`."""
    return tuple(LEADS.index(canonical_lead(lead)) for lead in leads)


def configurations(beyond: bool = False) -> dict[str, Configuration]:
    """Give the eleven of the registry, ``configurations.yml``, in the order of every table.

    With those ``beyond`` them, what the map of electrodes recommends is there too.
    """
    return {name: one for name, one in _registry().items() if beyond or not one.beyond}


def resolve(config: str) -> Configuration:
    """Find a configuration by its name in the registry or by a comma list of leads.

    Such as ``"3-lead-I-II-V2"`` or ``"I,V2,V5"``. A comma list that equals a named set gives the
    named configuration, so that one lead set has one name. What is neither is refused with a list
    of the names and the leads that are valid.
    """
    registry = _registry()
    text = str(config).strip()
    by_folded_name = {name.casefold(): name for name in registry}
    if text.casefold() in by_folded_name:
        return registry[by_folded_name[text.casefold()]]
    valid = (
        f"valid: {', '.join(registry)}, or a comma list out of {', '.join(LEADS)} such as I,V2,V5"
    )
    parts = text.split(",")
    if len(parts) == 1 and text.casefold() not in _BY_FOLDED_NAME:
        close = difflib.get_close_matches(text[:60].casefold(), by_folded_name, n=1, cutoff=0.5)
        hint = f"did you mean {by_folded_name[close[0]]!r}?" if close else "choose one of them"
        raise LeadminError(f"configuration: there is no {text[:60]!r}; {valid}; {hint}")
    try:
        leads = canonical_leads(parts)
    except LeadminError as error:
        wrong = str(error).partition("; valid:")[0]
        raise LeadminError(
            f"configuration: {text[:60]!r} is no list of leads ({wrong}); {valid}; change it"
        ) from error
    same = (named for named in registry.values() if named.leads == leads)
    return next(same, Configuration(name=",".join(leads), leads=leads))


def read_registry(text: str, name: str) -> dict[str, Configuration]:
    """Read and check a registry: a YAML list of mappings with ``name``, ``leads`` and ``why``.

    An entry may be ``beyond: true``. ``name`` is what error messages call the text. A text that is
    no such list is refused, and so is an entry that is incomplete or repeated, or names unknown
    leads.
    """
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LeadminError(f"{name}: not YAML ({error}); valid: a list; mend it") from error
    if not isinstance(entries, list) or not entries:
        raise LeadminError(
            f"{name}: no list of configurations; valid: entries of name, leads and why; mend it"
        )
    registry: dict[str, Configuration] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{name}, entry {number}"
        configuration = _read_entry(entry, where)
        for other in registry.values():
            if other.name == configuration.name or other.leads == configuration.leads:
                raise LeadminError(
                    f"{where}: {configuration.name!r} has the name or the leads of {other.name!r}; "
                    "valid: one name for each lead set; leave one out"
                )
        registry[configuration.name] = configuration
    return registry


_ENTRY = {
    "name": "text without commas or slashes that is not the name of a lead",
    "leads": "a list of lead names",
    "why": "one sentence of text",
}


def _read_entry(entry: Any, where: str) -> Configuration:
    if not isinstance(entry, dict) or set(entry) - {"beyond"} != set(_ENTRY):
        raise LeadminError(f"{where}: other keys than valid; valid: {', '.join(_ENTRY)}; mend it")
    name, leads, why = (entry[field] for field in _ENTRY)
    fits = {field: isinstance(entry[field], str) and entry[field].strip() for field in _ENTRY}
    fits["name"] = fits["name"] and not (
        {",", "/"} & set(name) or name.casefold() in _BY_FOLDED_NAME
    )
    fits["leads"] = isinstance(leads, list) and all(isinstance(lead, str) for lead in leads)
    fits["beyond"] = isinstance(entry.get("beyond", False), bool)
    for field, valid in (_ENTRY | {"beyond": "true or false"}).items():
        if not fits[field]:
            raise LeadminError(f"{where}: {field} is {entry[field]!r}; valid: {valid}; change it")
    try:
        beyond = entry.get("beyond", False)
        return Configuration(name, canonical_leads(leads), why.strip(), beyond)
    except LeadminError as error:
        raise LeadminError(f"{where}: {error}") from error


@cache
def _registry() -> dict[str, Configuration]:
    text = files("leadmin").joinpath("configurations.yml").read_text(encoding="utf-8")
    return read_registry(text, "configurations.yml")


def coefficients(wanted: str, available: Sequence[str]) -> dict[str, Fraction]:
    """Express one lead as a linear combination of others.

    Gives exact weights: the lead itself with weight 1 where it was recorded, otherwise two limb
    leads. Of several pairs the one with the smallest sum of absolute weights is taken, since that
    sum bounds how far rounding errors of the inputs are amplified. A lead outside the `span` is
    refused.
    """
    wanted = canonical_lead(wanted)
    recorded = canonical_leads(available)
    if wanted in recorded:
        return {wanted: Fraction(1)}
    limb = [lead for lead in recorded if lead in LIMB_LEADS]
    if wanted in CHEST_LEADS or len(limb) < 2:
        need = f"{wanted} itself" + (" or any two limb leads" if wanted in LIMB_LEADS else "")
        raise LeadminError(
            f"lead {wanted}: it cannot be derived from {', '.join(recorded)}; valid: {need}; "
            "give the recorded leads"
        )
    candidates = (_solve(wanted, *pair) for pair in itertools.combinations(limb, 2))
    return min(candidates, key=lambda weights: sum(map(abs, weights.values())))


def _solve(wanted: str, first: str, second: str) -> dict[str, Fraction]:
    """Solve ``wanted = x * first + y * second`` by Cramer's rule in the basis (I, II)."""
    (a, b), (c, d), (e, f) = (LIMB_IDENTITIES[lead] for lead in (first, second, wanted))
    determinant = a * d - b * c  # never zero: no two of the six limb leads are parallel
    return {first: (e * d - f * c) / determinant, second: (a * f - b * e) / determinant}


def derive(
    signals: NDArray[Any], available: Sequence[str], wanted: Sequence[str], axis: int = -2
) -> NDArray[Any]:
    """Compute leads from recorded ones by the limb-lead identities.

    ``signals`` are voltages in any unit, integers or floats, with the leads ``available`` on
    ``axis``, for instance ``(n_records, n_leads, n_samples)``. Gives the leads ``wanted`` there,
    in the same type and unit; integers are rounded to the nearest unit (ties to even). A lead that
    cannot be derived, and a value that does not fit the integer type, is refused.
    """
    signals = np.asarray(signals)
    recorded = [canonical_lead(lead) for lead in available]
    canonical_leads(recorded)  # refuses an empty or repeating set
    if signals.ndim == 0 or signals.shape[axis] != len(recorded):
        raise LeadminError(
            f"signals: axis {axis} of the shape {signals.shape} does not hold the "
            f"{len(recorded)} leads {', '.join(recorded)}; valid: one row per lead; name the leads"
        )
    if signals.dtype.kind not in "iuf":
        raise LeadminError(
            f"signals: their type is {signals.dtype}; valid: integers or floats; convert them"
        )
    by_lead = np.moveaxis(signals, axis, 0)
    result = np.empty((len(wanted), *by_lead.shape[1:]), dtype=signals.dtype)
    for position, lead in enumerate(wanted):
        weights = coefficients(lead, recorded)
        if list(weights.values()) == [1]:
            result[position] = by_lead[recorded.index(canonical_lead(lead))]
            continue
        total = np.zeros(by_lead.shape[1:], dtype=np.result_type(signals.dtype, np.float64))
        for source, weight in weights.items():
            # Multiply before dividing: 2/3 * 3 must be 2, not 1.9999999999999998.
            total += by_lead[recorded.index(source)] * float(weight.numerator) / weight.denominator
        if np.issubdtype(signals.dtype, np.integer):
            total = np.rint(total)
            limits = np.iinfo(signals.dtype)
            if total.size and (total.min() < limits.min or total.max() > limits.max):
                raise LeadminError(
                    f"lead {lead}: derived from {', '.join(weights)} it does not fit "
                    f"{signals.dtype}; valid: {limits.min} to {limits.max}; give floats"
                )
        result[position] = total
    return np.moveaxis(result, 0, axis)


def identity_residuals(signals: NDArray[Any]) -> NDArray[np.float64]:
    """How far the limb leads of a 12-lead record are from the identities that bind them.

    Of ``(..., 12, n_samples)`` in the order of `LEADS`, any unit, gives ``(..., 4, n_samples)`` in
    the same: recorded minus computed from I and II, for III, aVR, aVL and aVF. On error-free
    integer data rounding explains at most one unit and a half.
    """
    signals = np.asarray(signals)
    if signals.ndim < 2 or signals.shape[-2] != len(LEADS):
        raise LeadminError(
            f"signals: shape {signals.shape}; valid: (..., 12, n_samples); give all twelve leads"
        )
    one, two = (signals[..., k, :].astype(np.float64) for k in range(2))
    residuals = np.empty((*signals.shape[:-2], 4, signals.shape[-1]))
    for position, lead in enumerate(("III", "aVR", "aVL", "aVF")):
        a, b = LIMB_IDENTITIES[lead]
        recorded = signals[..., LEADS.index(lead), :]
        residuals[..., position, :] = recorded - (float(a) * one + float(b) * two)
    return residuals


def span(leads: Iterable[str]) -> tuple[str, ...]:
    """Give every lead that can be computed from ``leads``; equal spans carry equal information."""
    return _spanned(leads, LIMB_LEADS)


def representative(leads: Iterable[str]) -> tuple[str, ...]:
    """Give the canonical smallest lead set with the same span: I and II for complete limb leads."""
    return _spanned(leads, ("I", "II"))


def _spanned(leads: Iterable[str], frontal: tuple[str, ...]) -> tuple[str, ...]:
    recorded = canonical_leads(leads)
    limb = tuple(lead for lead in recorded if lead in LIMB_LEADS)
    return (frontal if len(limb) >= 2 else limb) + recorded[len(limb) :]


@cache
def signal_spaces() -> tuple[SignalSpace, ...]:
    """Enumerate the 511 signal spaces of the 4,095 non-empty lead sets, by rank, then `LEADS`."""
    sizes = range(1, len(LEADS) + 1)
    subsets = itertools.chain(*(itertools.combinations(LEADS, size) for size in sizes))
    spaces = map(SignalSpace, set(map(span, subsets)))
    return tuple(sorted(spaces, key=lambda s: (s.rank, lead_indices(s.representative))))


def electrodes_needed(leads: Iterable[str]) -> tuple[str, ...]:
    """Name the electrodes that a set of leads is recorded with, without the neutral one (RL).

    A bipolar lead takes two limb electrodes; an augmented lead and, through Wilson's central
    terminal, each chest lead takes all three (Kligfield et al. 2007, doi
    10.1161/CIRCULATIONAHA.106.180200).
    """
    recorded = canonical_leads(leads)
    limb = {pole for lead in recorded for pole in BIPOLAR.get(lead, LIMB_ELECTRODES)}
    chest = tuple(lead for lead in recorded if lead in CHEST_LEADS)
    return tuple(electrode for electrode in LIMB_ELECTRODES if electrode in limb) + chest


@cache
def electrode_sets() -> tuple[SignalSpace, ...]:
    """List the 67 signal spaces that electrodes give, by the number of electrodes, then `LEADS`.

    Each pair of limb electrodes gives one lead; all three give six, and whatever chest electrodes
    stand beside them. Of every other space some lead is thrown away that the same electrodes give.
    """
    spaces = [space for space in signal_spaces() if space.is_electrode_set]
    return tuple(sorted(spaces, key=lambda s: (len(s.electrodes), lead_indices(s.leads))))
