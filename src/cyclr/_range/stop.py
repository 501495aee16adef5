"""When to end a ramp: at the first loss that is no number, and when what was gained is lost again."""

from __future__ import annotations

import math
import statistics
from bisect import insort
from collections import deque
from collections.abc import Iterable

from cyclr._check import count, positive

GO, DIVERGED, NON_FINITE = "go", "diverged", "non-finite"


class StopRule:
    """Watches the losses of one ramp and says when to end it.

    A loss that is not finite ends the ramp at once. Otherwise the running median m of the last
    `window` losses is compared with where the ramp began, in units of what it has gained so far:

        stop when  m > first + patience * max(first - lowest, noise)

    where `first` is the first running median, `lowest` the lowest, and `noise` is eight times the typical jump
    (median absolute difference) between neighbouring losses. Adding a constant to every loss or scaling them all
    changes nothing, so losses near and below zero are treated like any others, and a single spike does not stop a ramp.
    Before four windows are full the jumps say too little about the noise, and only a loss that is no number stops.

    The losses may come in blocks of any size, with gaps between their indices.

    Args:
        patience: How many times the gain a loss may rise above the beginning.
        window: Number of losses in a running median.

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
    """

    def __init__(self, *, patience: float = 1.0, window: int = 5) -> None:
        self.patience = positive("patience", patience)
        self.window = count("window", window)
        self.reason: str = GO
        self.index: int | None = None  #: the step at which the ramp ended; what comes after it is no evidence
        self._recent: deque[float] = deque(maxlen=self.window)
        self._jumps: list[float] = []  # kept in order: to sort them anew at every step would slow long ramps
        self._first = self._lowest = math.inf

    def feed(self, losses: Iterable[tuple[int, float]]) -> str:
        """Take a block of (step, loss) pairs and say "go", "diverged" or "non-finite".

        Once the rule has spoken, further losses change nothing.

        Args:
            losses: Pairs of the step in the ramp and the loss there, in order.

        Returns:
            "go", or the reason why the ramp ended; `index` is then the step at which it did.
        """
        for index, loss in losses:
            if self.reason != GO:
                break
            self.reason = self._take(float(loss))
            if self.reason != GO:
                self.index = index
        return self.reason

    def _take(self, loss: float) -> str:
        if not math.isfinite(loss):
            return NON_FINITE
        if self._recent:
            insort(self._jumps, abs(loss - self._recent[-1]))
        self._recent.append(loss)
        if len(self._recent) < self.window:
            return GO
        middle = statistics.median(self._recent)
        if self._first == math.inf:
            self._first = middle
        self._lowest = min(self._lowest, middle)
        noise = 8 * statistics.median(self._jumps) if self._jumps else 0.0
        allowed = self._first + self.patience * max(self._first - self._lowest, noise)
        return DIVERGED if middle > allowed and len(self._jumps) >= 4 * self.window - 1 else GO
