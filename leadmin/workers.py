"""Processes that work side by side, and end with the one that asked for them."""

import os
import threading
import time
from typing import Any

import joblib


def side_by_side(n_jobs: int, **options: Any) -> joblib.Parallel:
    """Make calls in ``n_jobs`` processes, with joblib's ``options``; with 1, in this one.

    They end with this process even if it is killed: of itself, a worker that has no call to make
    waits for minutes.
    """
    return joblib.Parallel(n_jobs, initializer=_watch, initargs=(os.getpid(),), **options)


def _watch(parent: int) -> None:
    def end_when_orphaned() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)  # what it has saved is whole, and somebody else may go on with it

    threading.Thread(target=end_when_orphaned, daemon=True).start()
