"""Trouble: calls that are refused."""

import pytest

from leadmin.errors import LeadminError


def refused(words, call, *arguments, **options):
    """Give the error with which a call is refused; ``words`` is a pattern that it holds."""
    with pytest.raises(LeadminError, match=words) as caught:
        call(*arguments, **options)
    return caught.value
