"""Measure coverage and false-positive rate of the study's intervals and tests.

    python benchmarks/coverage.py [--studies 2000] [--resamples 1000] [--patients 420]

Prints the table of `leadmin.evidence.simulation.coverage`; some 0.12 s a study on one core.
"""

import argparse

import numpy as np

from leadmin.evidence.simulation import World, coverage


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--patients", type=int, default=420)
    options = parser.parse_args()
    world = World(n_patients=options.patients)
    table = coverage(world, options.studies, options.resamples, np.random.default_rng(0))
    columns = ["statistic", "method", "in_tables", "truth", "rate", "rate_low", "rate_high"]
    print(table[columns].to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
