"""A recording as a file holds it, in millivolts; what every form of file is checked against."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadmin.data.faults import RANGE_MILLIVOLTS
from leadmin.data.resample import RATES, checked_rate
from leadmin.errors import LeadminError
from leadmin.leads import canonical_lead, canonical_leads

MOST_BYTES = 2**29
"""Of a file; five days of one lead, an hour of twelve at 1000 Hz and more."""

MOST_VALUES = 2**26
"""Samples of all leads of a recording: whatever a header asks for, no more is made room for."""

SKIPPED = "-"
"""Stands in the option ``leads`` where a channel is left out."""

_VOLTAGES = {"nv": 1e-6, "uv": 1e-3, "microvolt": 1e-3, "microvolts": 1e-3, "mv": 1.0}
_VOLTAGES |= {"millivolt": 1.0, "millivolts": 1.0, "v": 1e3, "volt": 1e3, "volts": 1e3}
_VOLTAGES |= {"мкв": 1e-3}

_GAIN = re.compile(
    r"(?P<gain>\d{1,12}(?:\.\d{1,12})?(?:e[-+]?\d{1,2})?)"
    r"(?:\((?P<baseline>-?\d{1,12})\))?/(?P<unit>\w+)",
    re.ASCII | re.IGNORECASE,
)
"""ADC units as WFDB headers write them: ``200/mV``, ``200(1024)/mV``."""

UNITS = "mV, uV, µV, V, nV, or ADC units by their gain, as 200/mV or 200(1024)/mV"


@dataclass(frozen=True)
class Recording:
    """One ECG from a file.

    Parameters
    ----------
    signals : ndarray of float64, shape (n_leads, n_samples)
        Millivolts; NaN where the file says that there is no sample.
    leads : tuple of str
        In the spelling of `leadmin.leads.LEADS`, in the file's order.
    sampling_rate : float
        Hz.
    name : str
        What to call it.
    noticed : tuple of str
        Sentences on what was found in the file and is not in ``signals``.
    """

    signals: NDArray[np.float64]
    leads: tuple[str, ...]
    sampling_rate: float
    name: str
    noticed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        x, names = np.asarray(self.signals), tuple(self.leads)
        if x.ndim != 2 or x.dtype.kind not in "iuf" or len(x) != len(names):
            raise LeadminError(
                f"recording {str(self.name)[:80]!r}: signals of shape {x.shape} and type {x.dtype} "
                f"with {len(names)} leads; valid: numbers (n_leads, n_samples); name each row once"
            )
        canonical_leads(names)
        leads = tuple(map(canonical_lead, names))
        vars(self).update(signals=x.astype(np.float64, copy=False), leads=leads)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.signals.shape[-1] / self.sampling_rate


@dataclass(frozen=True)
class Options:
    """What a user says of files that do not say it themselves."""

    leads: tuple[str, ...] | Mapping[str, str] | None = None
    """one name for each channel, or `SKIPPED`; or other names for some of the file's"""
    sampling_rate: float | None = None  # Hz
    unit: str | None = None
    slowest: float = RATES[0]  # Hz

    def rate(self, found: float | None, where: str) -> float:
        """Choose between a file's own sampling rate, if it has one, and the option."""
        if found is None and self.sampling_rate is None:
            raise LeadminError(
                f"{where}: the sampling rate is missing; valid: a time column, or the option; give "
                "`--rate HZ` (in Python `sampling_rate`)"
            )
        rate = checked_rate(
            found if found is not None else self.sampling_rate,
            f"{where}: the sampling rate",
            self.slowest,
        )
        if self.sampling_rate is not None and abs(rate - self.sampling_rate) > 0.01 * rate:
            raise LeadminError(
                f"{where}: the sampling rate is {rate:g} Hz in the file and "
                f"{self.sampling_rate:g} Hz in the option; valid: one of them; drop the option"
            )
        return rate


class Channel(NamedTuple):
    """One signal of a file, before anything about it is believed."""

    name: str
    unit: str  # "" where the file does not say it
    values: NDArray[np.float64]
    wrong: str = ""  # why it cannot be used, if it is a lead


def millivolts(unit: Any, where: str = "unit") -> tuple[float, float]:
    """Say how numbers become millivolts: ``factor * (number - baseline)``.

    Parameters
    ----------
    unit : str
        A voltage in any case (``"uV"``, ``"µV"``, ``"mV"``, ``"V"``), or the gain of an ADC as WFDB
        headers write it: ``"200/mV"`` is 200 units a millivolt, ``"200(1024)/mV"`` with zero at
        1024.

    Returns
    -------
    factor, baseline : float
    """
    plain = unit.strip().replace("µ", "u").replace("μ", "u") if isinstance(unit, str) else ""
    if plain.casefold() in _VOLTAGES and plain != "MV":  # which would be a million volts
        return _VOLTAGES[plain.casefold()], 0.0
    adc = _GAIN.fullmatch(plain)
    if adc and float(adc["gain"]) > 0 and adc["unit"].casefold() in _VOLTAGES:
        factor = _VOLTAGES[adc["unit"].casefold()] / float(adc["gain"])
        return factor, float(adc["baseline"] or 0)
    raise LeadminError(f"{where} {str(unit)[:40]!r} is not known; valid: {UNITS}; name one of them")


def is_voltage(unit: str) -> bool:
    """Whether `millivolts` knows the unit."""
    try:
        millivolts(unit)
    except LeadminError:
        return False
    return True


def file_size(path: Path) -> int:
    """Give the size of a file in bytes; refuse one that is not regular, or above `MOST_BYTES`."""
    if not path.is_file():  # a pipe or a device would never end
        raise LeadminError(f"{path}: there is no such file; valid: a file or a folder; check it")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise LeadminError(
            f"{path}: it has {size} bytes; valid: up to {MOST_BYTES}; cut the recording"
        )
    return size


def read_bytes(path: Path) -> bytes:
    """Give a file's content, if `file_size` does not refuse it."""
    file_size(path)
    return path.read_bytes()


@contextmanager
def parsed_as(form: str, where: str) -> Iterator[None]:
    """Name the file where the library that reads a form is not there, or raises anything at all."""
    try:
        yield
    except LeadminError:
        raise
    except ImportError as error:
        raise LeadminError(
            f"{where}: {error.name} is not installed, which reads this form; install it with "
            '`pip install -e ".[files]"`'
        ) from error
    except Exception as error:  # a library raises whatever a damaged file leads it to
        said = (str(error) or type(error).__name__).splitlines()[0]
        said = re.sub(r"<\S+ object at \w+>", "it", said)[:200]
        raise LeadminError(
            f"{where}: it cannot be read as {form} ({said}); get the file again"
        ) from error


def check_size(n_channels: int, n_samples: int, where: str) -> None:
    """Refuse a recording that is empty or larger than `MOST_VALUES`, before it is read."""
    if not (n_channels > 0 and n_samples > 0 and n_channels * n_samples <= MOST_VALUES):
        raise LeadminError(
            f"{where}: it says that it holds {n_channels} channels of {n_samples} samples; valid: "
            f"at least one of each, and {MOST_VALUES} in all; cut the recording"
        )


def assemble(
    channels: Sequence[Channel],
    sampling_rate: float | None,
    options: Options,
    name: str,
    where: str,
    noticed: Iterable[str] = (),
) -> Recording:
    """Make a recording of a file's channels.

    A channel that is no voltage is left out, and that is noticed. Each other must be one of the
    twelve leads, once, or be named or left out by the user.
    """
    rate, said = options.rate(sampling_rate, where), list(noticed)
    names = [channel.name for channel in channels]
    if isinstance(options.leads, Mapping):
        names = [options.leads.get(name_, name_) for name_ in names]
    elif options.leads is not None:
        if len(options.leads) != len(channels):
            raise LeadminError(
                f"{where}: {len(options.leads)} leads are named for {len(channels)} channels "
                f"({', '.join(names)[:200]}); valid: a name for each, {SKIPPED} for one to leave "
                "out; change the option"
            )
        said.append("the leads are named by you, not by the file")
        names = list(options.leads)
    leads: list[str] = []
    rows: list[NDArray[np.float64]] = []
    units: set[str] = set()
    for number, (name_, channel) in enumerate(zip(names, channels, strict=True), start=1):
        place = f"{where}: channel {number} ({channel.name[:40]})"
        if name_.strip() == SKIPPED:
            said.append(f"channel {channel.name} is left out by you")
            continue
        unnamed = options.leads is None or isinstance(options.leads, Mapping)
        if unnamed and channel.unit and not is_voltage(channel.unit):
            said.append(f"channel {channel.name} in {channel.unit} is no lead and is left out")
            continue
        try:
            leads.append(canonical_lead(name_))
        except LeadminError as error:
            raise LeadminError(
                f"{where}: channel {number}: {error}, or name every channel with `--leads` "
                f"({SKIPPED} leaves one out)"
            ) from error
        if channel.wrong:
            raise LeadminError(f"{place}: {channel.wrong}")
        factor, baseline = _unit_of(channel, options, place)
        units.add(channel.unit or str(options.unit))
        with np.errstate(over="ignore", invalid="ignore"):
            rows.append((np.asarray(channel.values, dtype=np.float64) - baseline) * factor)
    if not rows:
        raise LeadminError(
            f"{where}: it holds no lead of an ECG ({'; '.join(said)[:300]}); valid: one or more, "
            f"in {UNITS}; correct their units"
        )
    repeated = sorted({lead for lead in leads if leads.count(lead) > 1})
    if repeated:
        raise LeadminError(
            f"{where}: {', '.join(repeated)} stands there more than once; valid: each lead once; "
            "leave one out with `--leads`"
        )
    if len({len(row) for row in rows}) > 1 or not len(rows[0]):
        raise LeadminError(
            f"{where}: its leads have {', '.join(str(len(row)) for row in rows)[:80]} samples; "
            "valid: one number for all, at least 1; get the file again"
        )
    check_size(len(rows), len(rows[0]), where)
    signals = np.stack(rows)
    if units != {"mV"}:
        _check_range(signals, ", ".join(sorted(units)), where)
    printable = name.encode("utf-8", "backslashreplace").decode()
    return Recording(signals, tuple(leads), rate, printable, tuple(said))


def _check_range(signals: NDArray[np.float64], unit: str, where: str) -> None:
    """Refuse a recording that is too small in all leads, here, where its unit is known."""
    low, high = RANGE_MILLIVOLTS
    with np.errstate(over="ignore", invalid="ignore"):
        ranges = np.fmax.reduce(signals, axis=-1) - np.fmin.reduce(signals, axis=-1)
    widest = np.fmax.reduce(ranges, initial=0.0)
    if 0 < widest < low:
        raise LeadminError(
            f"{where}: its widest lead spans {widest:.2g} mV if its unit is {unit}; valid: "
            f"{low:g} to {high:g} mV; the unit is probably a larger one: correct it"
        )


def _unit_of(channel: Channel, options: Options, place: str) -> tuple[float, float]:
    """Choose between a channel's own unit, if it has one, and the option."""
    if not channel.unit and options.unit is None:
        raise LeadminError(f"{place}: its unit is missing; valid: {UNITS}; give it with `--unit`")
    found = millivolts(channel.unit or options.unit, f"{place}: the unit")
    if options.unit is not None and millivolts(options.unit) != found:
        raise LeadminError(
            f"{place}: its unit is {channel.unit} in the file and {options.unit} in the option; "
            "valid: one of them; drop the option"
        )
    return found
