"""A block after which everything is restored, whatever arrives meanwhile: Ctrl-C, a termination, a dying worker."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enums that `signal` makes at each call, 100 times slower
import signal
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Self

Undo = Callable[[], object]
Handler = Callable[[int, FrameType | None], object]
_NUMBERS = [int(number) for number in signal.valid_signals()]


class Deferral:
    """While it is in place, a signal that arrives while `owner` begins or ends waits until `release`.

    A signal that arrives elsewhere goes to the handler that was there before. To look where it arrived leaves no gap: a
    flag would have to be set, and a signal may come between the last line of a block and the setting. All signals wait
    that a Python function handles: any such function may raise. Only the main thread receives signals; anywhere else
    this does nothing.
    """

    def __init__(self) -> None:
        self._fronts: list[_Front] = []
        self._waiting: list[_Front] = []

    def install(self) -> None:
        """Stand in front of all present handlers. Called again, in front of those that are new, too."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _NUMBERS:
            present = _signal.getsignal(number)
            # An ignored signal stays ignored, a handler of C's is left alone.
            if callable(present) and not (isinstance(present, _Front) and present.deferral is self):
                front = _Front(self, number, present)
                self._fronts.append(front)
                signal.signal(number, front)

    def release(self) -> None:
        """Put the old handlers back, and let them have what has waited."""
        if self._fronts:
            front = self._fronts[-1]
            try:
                if signal.getsignal(front.number) is front:
                    signal.signal(front.number, front.previous)
                self._fronts.pop()
            finally:  # the first handlers that are back may raise already
                self.release()
        else:
            self.deliver()

    def deliver(self) -> None:
        """Let the handlers have what has waited: each of them, even if one raises."""
        if self._waiting:
            front = self._waiting.pop(0)
            try:
                front.previous(front.number, sys._getframe())
            finally:
                self.deliver()

    def wait(self, front: _Front) -> None:
        """Keep a signal for later, once however often it comes."""
        if front not in self._waiting:
            self._waiting.append(front)


class _Front:
    """A handler that stands in front of another one. It goes on passing signals to it if a third took it for its own.

    It does not hold the block, which a circle would keep alive with all that the block has.
    """

    def __init__(self, deferral: Deferral, number: int, previous: Handler) -> None:
        self.deferral, self.number, self.previous = deferral, number, previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        at = frame
        while at is not None:
            if at.f_code in _CODES and at.f_locals["self"].deferral is self.deferral:
                self.deferral.wait(self)
                return
            at = at.f_back
        self.previous(number, frame)


class Restored:
    """A context manager that notes how things are, and puts them back: after success, an error, or a signal.

    What arrives while it notes or puts back waits until that is done. What fails to be put back is tried once more
    after all the rest, which may have freed the memory that was missing.
    """

    deferral: Deferral = Deferral()

    @abstractmethod
    def _remember(self) -> None:
        """Note how things are."""

    @abstractmethod
    def _undo(self) -> Iterable[Undo]:
        """What puts back what was noted so far, each by itself, in order; nothing if nothing was. Called once."""

    def __enter__(self) -> Self:
        self.deferral = Deferral()
        self.deferral.install()
        try:
            self._remember()
            self.deferral.deliver()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.deferral.install()  # handlers that were set in the block
        try:
            put_back(self._undo())
        finally:
            self.deferral.release()


_CODES = frozenset({Restored.__enter__.__code__, Restored.__exit__.__code__})


def put_back(undo: Iterable[Undo]) -> None:
    """Call each of these, whatever fails on the way, and what failed once more at the end.

    Raises:
        BaseException: What failed at first, once all is done; several as a group.

    >>> done, failing = [], [MemoryError()]
    >>> def fails_once():
    ...     if failing:
    ...         raise failing.pop()
    ...     done.append(1)
    >>> put_back([fails_once, lambda: done.append(2)])
    Traceback (most recent call last):
        ...
    MemoryError
    >>> done
    [2, 1]
    """
    failed = _failed(undo)
    _failed(one for one, _ in failed)
    errors = [error for _, error in failed]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("not everything could be restored at once", errors)


def _failed(undo: Iterable[Undo]) -> list[tuple[Undo, BaseException]]:
    failed = []
    for one in undo:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 (the rest must still be put back)
            failed.append((one, error))
    return failed
