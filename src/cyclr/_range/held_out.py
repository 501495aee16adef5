"""Metrics on held-out data during a range test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cyclr._check import count
from cyclr._metrics import GivenMetric, as_metrics, functions_of

EVALUATIONS = 20  #: per sweep by default


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out data, the metrics to measure on it, and how often.

    Args:
        loader: Held-out batches, in the same form as the training batches of the framework's range test.
        metrics: Metrics by name: a function if the name is unambiguous ("accuracy", "mae"), else a pair
            (function, "min" or "max") or a `cyclr.Metric`.
        every: Steps between two evaluations; the first one is after the first step. By default a twentieth of a sweep.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the direction of a metric is unknown, or `every` is below 1.

    >>> held_out = HeldOut([], {"accuracy": len, "gap": (len, "min")})
    >>> held_out.metrics["accuracy"].better, held_out.metrics["gap"].better
    ('max', 'min')
    """

    loader: Iterable[Any]
    metrics: Mapping[str, GivenMetric] = field(default_factory=dict)
    every: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", as_metrics(self.metrics))
        if self.every is not None:
            count("every", self.every)
        if "loss" in self.metrics:
            raise ValueError("a metric must not be called 'loss', the name of the training loss; give it another name")

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The metrics' functions by name."""
        return functions_of(self.metrics)

    @property
    def maximize(self) -> frozenset[str]:
        """Names of the metrics for which higher is better."""
        return frozenset(name for name, metric in as_metrics(self.metrics).items() if metric.better == "max")

    def steps_between(self, sweep: int) -> int:
        """Steps between two evaluations in a sweep of `sweep` steps."""
        return max(1, sweep // EVALUATIONS) if self.every is None else min(self.every, sweep)
