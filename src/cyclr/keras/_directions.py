"""Which way the metrics of a Keras model are better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from cyclr._check import choice, problem
from cyclr._metrics import Better, direction

_KERAS: dict[str, Better] = {"up": "max", "down": "min"}


def checked(better: Mapping[str, Better] | None) -> dict[str, Better]:
    """What the user said, by name.

    Raises:
        TypeError: If it is no mapping of names to "min" or "max".
        ValueError: If it is another word.
    """
    if better is None:
        return {}
    if not isinstance(better, Mapping):
        raise TypeError(problem("better must be a mapping of names", better, "write better={'score': 'max'}"))
    for name, way in better.items():
        choice(f"better[{name!r}]", way, ("min", "max"))
    return dict(better)


def which_way(name: str, model: keras.Model, better: Mapping[str, Better]) -> Better:
    """Which way a metric in Keras's logs is better: as the user says, as its class says, or as its name says.

    Args:
        name: The name in the logs: `val_` before it counts as the same metric, and an output's name may be too.
        model: The model that has the metrics.
        better: What the user said.

    Raises:
        ValueError: If none of these says it.
    """
    bare = name.removeprefix("val_")
    for known in (better, _of_classes(model)):
        for named, way in known.items():
            if named in (name, bare):
                return way
    for named, way in _of_classes(model).items():
        if bare.endswith(f"_{named}"):
            return way
    way = direction(bare)
    if way is None:
        raise ValueError(
            f"the metric {name!r} must say which way is better, which neither its class nor its name does; "
            f"pass RangeTest(..., better={{{bare!r}: 'min'}}) if lower is better, or 'max' if higher is"
        )
    return way


def _of_classes(model: Any) -> dict[str, Better]:
    """What Keras knows of its own metrics."""
    metrics = [metric for group in model.metrics for metric in getattr(group, "metrics", None) or [group]]
    ways = {metric.name: _KERAS.get(getattr(metric, "_direction", "")) for metric in metrics}
    return {name: way for name, way in ways.items() if way is not None}
