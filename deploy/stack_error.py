"""The errors of the local stack."""

from __future__ import annotations


class StackError(Exception):
    """A part of the local stack cannot run; one sentence for people, its last log lines may follow."""


class StackStopped(BaseException):
    """Someone asked the stack to stop while it was still starting; like KeyboardInterrupt, not an error."""
