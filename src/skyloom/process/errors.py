"""What can go wrong with one file, and how a hook says that there is nothing to do."""

from __future__ import annotations

from skyloom.errors import InputError, Unprocessable

__all__ = [
    "Bailed",
    "CannotComputeHeader",
    "FITSError",
    "NotFoundError",
    "SkipThis",
    "TimeLimitExceeded",
    "WorkerDied",
]


class SkipThis(Exception):  # noqa: N818 - it is no error
    """Raise it in a hook for a file that has to be left out: it is counted nowhere."""


class Bailed(Unprocessable):
    """The run ended at the first failure, as ``--bail`` asks; its traceback has been printed."""


class CannotComputeHeader(Unprocessable):
    """A header cannot be computed: input is missing or makes no sense."""


class FITSError(Unprocessable, ValueError):
    """A file is not FITS, or what would be written would not be."""


class NotFoundError(InputError, KeyError):
    """A name that nothing is registered under."""


class TimeLimitExceeded(Unprocessable, TimeoutError):  # noqa: N818 - as its base
    """A file took longer than ``--time-limit`` allows."""


class WorkerDied(Unprocessable):
    """The worker process that was at this file ended: killed, out of memory, or crashed."""
