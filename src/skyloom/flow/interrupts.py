"""An interrupt that nobody swallows."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["Interrupts"]


class Interrupts:
    """While entered, Ctrl-C raises KeyboardInterrupt, and `check` raises it again if it was lost.

    Python drops an exception that a signal raises inside a finaliser or a callback of the garbage
    collector.  In other threads than the main one, or where the program has a handler of its own,
    nothing is changed.
    """

    def __init__(self) -> None:
        self._is_pending = False
        self._is_ours = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if one is on record."""
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_pending = True
        raise KeyboardInterrupt
