"""The command line: a thin face over everything else."""

from leadmin.cli.main import main

__all__ = ["main"]
