"""What is said on a terminal while a range test goes on, and when it has found something."""

from __future__ import annotations

import shutil
import sys
import time

SECONDS = 0.1  #: between two writings of the line


class Terminal:
    """One line on the terminal that is rewritten as a range test goes on. It writes to the standard error stream.

    Where that is no terminal, such as a log file, only `say` writes.

    >>> terminal = Terminal("range test")
    >>> terminal(10, 300, 1e-5, 2.3)
    """

    def __init__(self, title: str) -> None:
        self.title, self._width, self._last = title, 0, 0.0
        self._began = time.monotonic()

    def __call__(self, done: int, total: int, rate: float, loss: float) -> None:
        """Rewrite the line; called as `progress` of a range test is."""
        now = time.monotonic()
        if now - self._last < SECONDS or not self._is_terminal():
            return
        self._last = now
        left = (now - self._began) / max(done, 1) * (total - done)
        place = f"step {done:,} of at most {total:,}, {left:.0f} s left"
        self._write(f"{self.title}: {place}, rate {rate:.2e}, loss {loss:.4g}")

    def say(self, text: str) -> None:
        """Write a line that stays in place of the one that was rewritten."""
        if sys.stderr is not None:  # as in a program without a console
            self.clear()
            print(text, file=sys.stderr, flush=True)  # noqa: T201 (this is what it is for)

    def clear(self) -> None:
        """Empty the line that was rewritten, if there is one."""
        if self._width:
            self._write("")
            sys.stderr.write("\r")
            self._width = 0

    def _write(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]  # one that wraps could not be rewritten
        sys.stderr.write(f"\r{line:<{self._width}}")
        sys.stderr.flush()
        self._width = len(line)

    @staticmethod
    def _is_terminal() -> bool:
        return sys.stderr is not None and sys.stderr.isatty()
