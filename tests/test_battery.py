"""The battery of malformed inputs: a drawn tenth in `make test`, all in `make test-all`."""

import sys
from pathlib import Path

import battery
import pandas as pd
import pytest
from battery import FAULTS, Case, WrongError

from leadmin.errors import LeadminError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits memory by what /proc says of it"
)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("seed", "least"), [(11, 60), pytest.param(None, 600, marks=pytest.mark.slow)]
)
def test_malformed_input_is_refused_clearly_or_does_not_matter(seed, least, capsys):
    results = battery.run(seed)
    table = pd.DataFrame(results)
    with capsys.disabled():
        print(f"\n{pd.crosstab(table['family'], table['outcome'], margins=True)}")
    assert len(results) >= least
    faults = [result for result in results if result.outcome in FAULTS]
    assert not faults, "\n".join(f"{f.family}: {f.name}: {f.outcome}: {f.detail}" for f in faults)


def give_up(error):
    raise error


def test_every_outcome_is_told_from_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(battery, "CPU_SECONDS", 0.2)
    calls = [
        (battery.REFUSED, lambda: give_up(LeadminError("x.csv: age is 'abc'; valid: a number"))),
        (battery.RIGHT, lambda: Path("out").write_text("x")),
        (battery.TRACEBACK, lambda: give_up(LeadminError("bad"))),  # no clear message
        (battery.TRACEBACK, lambda: {}["x"]),
        (battery.HANG, lambda: max(iter(int, 1))),  # for ever, and never in Python's own hands
        (battery.OUT_OF_MEMORY, lambda: bytearray(2 * battery.MEMORY)),
        (battery.SILENT, lambda: give_up(WrongError("NaN"))),
        (battery.OUTSIDE, lambda: Path("../x").write_text("x")),
    ]
    cases = [Case("", "", lambda folder, call=call: call) for _, call in calls]
    answers = []
    while len(answers) < len(cases):  # one that ends the process leaves the others to another one
        answers += battery.fork(cases[len(answers) :], str(tmp_path))
    assert [outcome for outcome, _ in answers] == [outcome for outcome, _ in calls]
