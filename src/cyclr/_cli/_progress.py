"""Progress of long tasks on stderr: a bar in a terminal, otherwise an occasional line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from cyclr._cli import _console
from cyclr._page.numbers import number
from cyclr._page.numbers import rate as lr_text


class Update(Protocol):
    """Called with the amount done, a text to show beside it, and the total."""

    def __call__(self, done: int, beside: str = "", total: int | None = None) -> None: ...


_EVERY = 2.0  # seconds between the first lines if there is no terminal
_SHARE = 0.05  # of the time so far: later lines are further apart, so that a log of a long training stays short
_WIDE, _NARROW = 120, 70  # columns: from here on with a bar; below with neither a bar nor what stands beside it


@contextmanager
def progress(title: str, total: int, unit: str = "steps", *, done: int = 0) -> Iterator[Update]:
    """A context manager whose value is called with the amount done and a text to show beside it.

    Args:
        title: Name of the work.
        total: Total amount.
        unit: The unit of the amounts.
        done: The amount done earlier; it is left out when the remaining time is estimated.
    """
    if _console.stderr().is_interactive:
        with _bar(title, total, unit, done) as update:
            yield update
    else:
        yield _lines(title, total, unit, done)


@contextmanager
def steps_of(title: str, total: int = 0) -> Iterator[Callable[[int, int, float, float], None]]:
    """A context manager whose value is called with step, steps, rate and loss of a training or a range test."""
    with progress(title, total) as update:
        yield lambda step, steps, rate, loss: update(step, f"rate {lr_text(rate)}  loss {number(loss)}", steps)


@contextmanager
def pieces() -> Iterator[Callable[..., None]]:
    """A context manager whose value is called as a study progresses: one bar for each stage."""
    with ExitStack() as stack:
        update, shown = None, ""

        def tell(title: str, done: int, total: int, unit: str, beside: str = "") -> None:
            nonlocal update, shown
            if update is None or title != shown:
                stack.close()
                update, shown = stack.enter_context(progress(title, total, unit, done=done)), title
            update(done, beside, total)

        yield tell


@contextmanager
def _bar(title: str, total: int, unit: str, done: int) -> Iterator[Update]:
    out = _console.stderr()
    with Progress(*_columns(out.width), console=out, transient=False, expand=out.width < _WIDE) as bar:
        task = bar.add_task(title, total=total, completed=done, beside="", unit=unit)
        yield lambda done, beside="", total=None: bar.update(task, completed=done, beside=beside, total=total)


def _columns(width: int) -> list[ProgressColumn]:
    """What there is room for. The amount and the time left are never cut, a long title is."""
    short = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    title = TextColumn("{task.description}", markup=False, table_column=None if width >= _WIDE else short)
    amount = [MofNCompleteColumn(), TextColumn("{task.fields[unit]}", markup=False)]
    beside = [TextColumn("{task.fields[beside]}", markup=False, style="cyan")] if width >= _NARROW else []
    left = [TimeRemainingColumn(compact=True), TextColumn("left")]
    if width < _WIDE:
        return [title, *amount, *beside, *left]
    return [title, BarColumn(bar_width=24), *amount, *beside, *left]


def _lines(title: str, total: int, unit: str, start: int) -> Update:
    started = last = time.monotonic()
    whole = total

    def update(done: int, beside: str = "", total: int | None = None) -> None:
        nonlocal last, whole
        whole = whole if total is None else total
        now = time.monotonic()
        if now - last < max(_EVERY, _SHARE * (now - started)) or done <= start:
            return
        last = now
        left = timedelta(seconds=round((now - started) / (done - start) * (whole - done)))
        _console.note("  ".join(filter(None, (f"{title}: {done}/{whole} {unit}", beside, f"{left} left"))))

    return update
