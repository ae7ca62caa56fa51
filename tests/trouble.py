"""Trouble: calls that are refused or stopped in the middle, and files that are damaged."""

import os
import re

import pytest

from leadmin.errors import LeadminError


def refused(words, call, *arguments, **options):
    """Give the error with which a call is refused; ``words`` is a pattern that it holds."""
    with pytest.raises(LeadminError, match=words) as caught:
        call(*arguments, **options)
    return caught.value


def interrupted(epoch, train, *arguments, **options):
    """Have Ctrl-C pressed behind an epoch of a training; give the rows of what was done."""
    rows = []

    def stop(row):
        rows.append(row)
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*arguments, on_epoch=stop, **options)
    return rows


def flip(path):
    """Turn a bit in the middle of a file, so that it is no text, and leave its time as it was."""
    content, stamp = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def command_refused(words, result):
    """Assert that a command ended as one that was refused, with words for its user."""
    assert result.exit_code == 2, result.output
    assert re.search(words, result.stderr), result.stderr
