"""Defers Ctrl-C while a state is being restored."""

from __future__ import annotations

import signal
import threading
from types import CodeType, FrameType
from typing import Any


class Deferral:
    """While it is in place, an interrupt that arrives inside one of `codes` waits until `release`.

    An interrupt that arrives elsewhere goes to the handler that was there before. To look where it arrived leaves no
    gap: a flag would have to be set, and a signal may come between the last line of a block and the setting.
    Only the main thread receives signals; anywhere else this does nothing.

    The codes are those of methods of whoever owns it, and holds it as `deferral`; it does not hold the owner, a circle
    would keep all that the owner has alive.
    """

    def __init__(self, *codes: CodeType) -> None:
        self.codes = codes
        self.previous: Any = None
        self.waiting = False

    def install(self) -> None:
        """Stand in front of the present handler."""
        self.waiting = False
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # an ignored signal stays ignored, a handler of C's is left alone
                self.previous = previous
                signal.signal(signal.SIGINT, self)

    def release(self) -> None:
        """Put the old handler back, and let it have what has waited."""
        if self.previous is not None and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, self.previous)
        self.previous = None
        if self.waiting:
            self.waiting = False
            signal.raise_signal(signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        at = frame
        while at is not None:
            if at.f_code in self.codes and at.f_locals["self"].deferral is self:
                self.waiting = True
                return
            at = at.f_back
        self.previous(number, frame)
