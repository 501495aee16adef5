"""When to end a sweep: at two non-finite losses in a row, or when the loss exceeds its start by as much as it fell."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable

from cyclr._check import count, positive

GO, DIVERGED, NON_FINITE = "go", "diverged", "non-finite"


class StopRule:
    """Watches the losses of one sweep and decides when to end it.

    Two non-finite losses in a row end the sweep at the first of them; a single one is passed over, it comes of a bad
    batch. Of the finite losses the running median m of the last `window` is compared with its first value, in units of
    the fall so far:

        stop when  m > first + patience * max(first - lowest, noise)

    where `first` is the first running median, `lowest` the lowest, and `noise` is eight times the typical jump
    (median absolute difference) between neighbouring losses. Adding a constant to every loss or scaling them all
    changes nothing, so losses near and below zero are treated like any others, and a single spike does not end a sweep.
    Before four windows are full the noise is not known well enough, and only non-finite losses end the sweep.

    The losses may come in blocks of any size, with gaps between their indices.

    Args:
        patience: How far the loss may rise above its start, as a multiple of the fall.
        window: Number of losses in a running median.

    `least`, which may be set before the first loss, is a rise that never ends a sweep: losses of the same batches have
    no noise, and each little rise would.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If `patience` is not positive or `window` below 1.

    >>> rule = StopRule()
    >>> rule.feed(enumerate([2.0, 1.9, 1.6, 1.2, 1.0, 0.9, 0.9] + 20 * [0.8]))
    'go'
    >>> rule.feed([(27, 5.0), (28, 40.0), (29, 90.0), (30, float("nan"))])
    'diverged'
    >>> rule.index
    29
    >>> StopRule().feed(enumerate([2.0, float("nan"), 1.9, float("inf"), float("nan")]))
    'non-finite'
    """

    def __init__(self, *, patience: float = 1.0, window: int = 5) -> None:
        self.patience = positive("patience", patience)
        self.window = count("window", window)
        self.least = 0.0
        self.reason: str = GO
        self.index: int | None = None  #: the step at which the sweep ended; later losses are no evidence
        self._bad: int | None = None  # the last step, if its loss was not finite
        self._recent: deque[float] = deque(maxlen=self.window)
        self._jumps: list[float] = []  # kept sorted: sorting them anew at every step would slow long sweeps
        self._first = self._lowest = math.inf

    def feed(self, losses: Iterable[tuple[int, float]]) -> str:
        """Take a block of (step, loss) pairs and return "go", "diverged" or "non-finite".

        Once the sweep has ended, further losses change nothing.

        Args:
            losses: Pairs of the step in the sweep and the loss there, in order.

        Returns:
            "go", or the reason why the sweep ended; `index` is then the step at which it did.
        """
        for index, loss in losses:
            if self.reason != GO:
                break
            if math.isfinite(loss):
                self._bad, self.index = None, index
                self.reason = self._take(float(loss))
            elif self._bad is None:
                self._bad = index
            else:
                self.reason, self.index = NON_FINITE, self._bad
        self.index = None if self.reason == GO else self.index
        return self.reason

    def _take(self, loss: float) -> str:
        recent, jumps = self._recent, self._jumps
        if recent:
            insort(jumps, abs(loss - recent[-1]))
        recent.append(loss)
        if len(recent) < self.window:
            return GO
        middle = _median(sorted(recent))
        if self._first == math.inf:
            self._first = middle
        if middle < self._lowest:
            self._lowest = middle
        fallen = self._first - self._lowest
        if middle <= self._first + max(self.patience * fallen, self.least) or len(jumps) < 4 * self.window - 1:
            return GO  # whatever the noise, which is asked only where it decides
        noise = 8 * _median(jumps) if jumps else 0.0
        return DIVERGED if middle > self._first + self.patience * max(fallen, noise) else GO


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
