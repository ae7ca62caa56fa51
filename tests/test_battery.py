"""The battery of malformed inputs: a drawn tenth in `make test`, all in `make test-all`."""

import pytest
from battery import FAULTS, Case, a_tenth, all_cases, run, tally

SEED = 11


def try_out(cases: list[Case], capsys: pytest.CaptureFixture[str]) -> None:
    results = run(cases)
    with capsys.disabled():
        print(f"\n{tally(results)}")
    assert len(results) == len(cases)
    faults = [result for result in results if result.outcome in FAULTS]
    assert not faults, "\n".join(f"{f.family}: {f.name}: {f.outcome}: {f.detail}" for f in faults)


@pytest.mark.timeout(120)
def test_a_tenth_of_the_battery(capsys: pytest.CaptureFixture[str]) -> None:
    cases = all_cases()
    assert len({(case.family, case.name) for case in cases}) == len(cases) >= 600
    try_out(a_tenth(cases, SEED), capsys)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_battery(capsys: pytest.CaptureFixture[str]) -> None:
    try_out(all_cases(), capsys)
