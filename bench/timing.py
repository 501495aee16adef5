"""What takes how long: ours and the other by turns, so that both see the same machine."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

Timed = Callable[[], float]


def cpu(function: Callable[[], object], calls: int = 1) -> Timed:
    """CPU seconds of one call; other programs on a busy machine have less influence on them than on the clock."""

    def timed() -> float:
        begun = time.process_time()
        for _ in range(calls):
            function()
        return (time.process_time() - begun) / calls

    return timed


def by_turns(ours: Timed, other: Timed, rounds: int) -> dict[str, Any]:
    """Quartiles of ours / other, and the median seconds of both."""
    ours(), other()
    # each is first in half of the rounds: what comes second finds another cache and another heap
    found = [(ours(), other()) if number % 2 else (other(), ours())[::-1] for number in range(rounds)]
    low, middle, high = statistics.quantiles([one / two for one, two in found], n=4)
    seconds = [statistics.median(pair[place] for pair in found) for place in (0, 1)]
    return {"ratio": middle, "low": low, "high": high, "ours": seconds[0], "other": seconds[1], "rounds": rounds}


def clock(command: list[str]) -> Timed:
    """Seconds of a program by the clock."""

    def timed() -> float:
        begun = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - begun

    return timed


def processor(command: list[str]) -> Timed:
    """CPU seconds of a program: what the clock would show on a free core, if it does not wait for the disk."""

    def timed() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return timed
