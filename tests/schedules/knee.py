"""A schedule as a user writes one, in a module of their own."""

from dataclasses import dataclass

import cyclr


@dataclass(frozen=True)
class Knee(cyclr.Schedule):
    peak: float
    explore: int
    steps: int

    duration = property(lambda self: self.steps)
    lowest = property(lambda self: 0.0)
    highest = property(lambda self: self.peak)

    def value(self, step, xp):
        left = (self.steps - step) / (self.steps - self.explore)
        return self.peak * xp.where(left > 1, 1.0, xp.where(left < 0, 0.0, left))

    def ends(self, until):
        return [self.steps] if self.steps <= until else []
