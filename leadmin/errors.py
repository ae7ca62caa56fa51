"""The error that a user can act on."""


class LeadminError(Exception):
    """Something the user gave cannot be used; the message names it and says what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
