"""The battery of malformed inputs: a drawn tenth in `make test`, all in `make test-all`."""

import sys

import pytest
from battery import FAULTS, run, tally


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by what /proc says")
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
