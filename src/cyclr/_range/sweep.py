"""One sweep as it is made: its losses, and when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cyclr._check import problem
from cyclr._range.curve import known
from cyclr._range.short import LITTLE
from cyclr._range.stop import GO, NON_FINITE, StopRule
from cyclr._range.turns import ended_rounds

BLOCK = 10  #: losses are read from the device in blocks, as waiting for each one would slow every step


class Sweep:
    """One sweep: its losses, its metrics by step, and when it ends.

    Args:
        in_turn: How many batches its steps take in turn; 0 for new ones.
    """

    def __init__(self, in_turn: int = 0) -> None:
        self._in_turn = in_turn
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.losses: list[float] = []
        self.metrics: dict[str, dict[int, float]] = {}
        self.control: list[float] = []  #: losses of the same batches at a rate of zero
        self.reference: list[float] = []  #: losses of the reference batches before each step
        self.made = 0  #: steps, those after the end included
        self._rule = StopRule()

    @property
    def going(self) -> bool:
        return self._rule.reason == GO

    @property
    def known(self) -> int:
        """The number of steps up to the last finite loss."""
        return known(np.array(self.losses))

    @property
    def stop(self) -> str:
        """Why it ended."""
        if self.going:
            return "end" if np.isfinite(self.losses[-1:]).all() else NON_FINITE
        return self._rule.reason

    def add(self, losses: Iterable[float], reference: Iterable[float] = ()) -> None:
        """Losses of the next steps; those after the end of the sweep are no evidence, and dropped.

        Where the loss of the reference batches was evaluated before each of them, it decides when the sweep ends; so
        does the mean over batches that are taken in turn.
        """
        values = [float(loss) for loss in losses]
        steady = [float(loss) for loss in reference]
        if not self.losses and not np.isfinite(values[:1]).all():
            what = "the loss must be finite at the first step, before any update"
            raise ValueError(problem(what, values[0], "check the data, the loss and the weights"))
        if not self.losses and (steady or self._in_turn):
            spread = float(np.std([value for value in values if np.isfinite(value)]))
            self._rule.least = max(spread, LITTLE * abs((steady or values)[0]))
        if self._in_turn:
            self._rule.feed(ended_rounds(self.losses, values, self._in_turn))
        else:
            self._rule.feed(enumerate(steady or values, len(self.losses)))
        self.made += len(values)
        self.losses += values
        self.reference += steady
        if self._rule.index is not None:
            del self.losses[self._rule.index + 1 :], self.reference[self._rule.index + 1 :]

    def is_above(self, loss: float) -> bool:
        """Whether the loss at its end is nearer to the level at which it was stopped than to `loss`."""
        finite = np.array(self.losses)[np.isfinite(self.losses)]
        return loss < (np.median(finite[:BLOCK]) + np.median(finite[-5:])) / 2

    def note(self, metrics: Mapping[str, float]) -> None:
        """Metrics measured after the last step."""
        for name, value in metrics.items():
            self.metrics.setdefault(name, {})[len(self.losses) - 1] = float(value)
