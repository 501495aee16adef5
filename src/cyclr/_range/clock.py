"""The time of a step, as a range test measures it."""

from __future__ import annotations

import statistics


class Clock:
    """Times of the steps of sweeps, from one reading of their losses to the next, which waits for the device.

    What comes first is left out: it includes compilation, and reference batches are set aside then.
    """

    def __init__(self) -> None:
        self._blocks: list[float] = []
        self._evaluations: list[float] = []

    def made(self, seconds: float, steps: int) -> None:
        """Steps of a sweep were made, with evaluations of the reference batches, if any."""
        self._blocks.append(seconds / steps)

    def evaluated(self, seconds: float) -> None:
        """The reference batches were evaluated once, as before each of the steps that are noted next."""
        self._evaluations.append(seconds)

    @property
    def step_seconds(self) -> float | None:
        """The median time of a step, without evaluations unless they seem to take all of it; None if it is not known.

        >>> clock = Clock()
        >>> for seconds in (9.0, 0.4, 0.5, 0.6):
        ...     clock.evaluated(0.01)
        ...     clock.made(seconds, 10)
        >>> clock.step_seconds
        0.04
        """
        if len(self._blocks) < 2 or len(self._evaluations) == 1:
            return None
        evaluation = statistics.median(self._evaluations[1:]) if self._evaluations else 0.0
        seconds = statistics.median(self._blocks[1:])
        return seconds - evaluation if seconds > evaluation else seconds
