"""Errors that end a command.

DeltaproofError      protocol.errors: expected in normal operation, printed without a traceback
└── UsageError       the command was given something it cannot work with
"""

from protocol.errors import DeltaproofError

__all__ = ["UsageError"]


class UsageError(DeltaproofError):
    """The command was given something it cannot work with; the message says what to do."""
