"""The battery of malformed inputs: a drawn tenth in `make test`, all in `make test-all`."""

import sys
from pathlib import Path

import battery
import pytest
from battery import FAULTS, Case, WrongError, run, tally

from leadmin.errors import LeadminError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits memory by what /proc says of it"
)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("seed", "least"), [(11, 60), pytest.param(None, 600, marks=pytest.mark.slow)]
)
def test_malformed_input_is_refused_clearly_or_does_not_matter(seed, least, capsys):
    results = run(seed)
    with capsys.disabled():
        print(f"\n{tally(results)}")
    assert len(results) >= least
    faults = [result for result in results if result.outcome in FAULTS]
    assert not faults, "\n".join(f"{f.family}: {f.name}: {f.outcome}: {f.detail}" for f in faults)


def _refuse():
    raise LeadminError("x.csv: age is 'abc'; valid: a number; change it")


def _mumble():
    raise LeadminError("bad")


def _answer_wrongly():
    raise WrongError("NaN")


def _never_end():
    while True:
        pass


def test_every_outcome_is_told_from_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(battery, "CPU_SECONDS", 0.2)
    calls = {
        battery.REFUSED: _refuse,
        battery.RIGHT: lambda: Path("out").write_text("x"),
        "no clear message": _mumble,
        battery.TRACEBACK: lambda: {}["x"],
        battery.HANG: _never_end,
        battery.OUT_OF_MEMORY: lambda: bytearray(2 * battery.MEMORY),
        battery.SILENT: _answer_wrongly,
        battery.OUTSIDE: lambda: Path("../x").write_text("x"),
    }
    cases = [Case("", name, lambda folder, call=call: call) for name, call in calls.items()]
    found = [outcome for outcome, _ in battery._fork(cases, str(tmp_path))]
    expected = [name if name != "no clear message" else battery.TRACEBACK for name in calls]
    assert found == expected
