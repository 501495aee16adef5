"""The directions of a Keras model's metrics: whether lower or higher values are better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from cyclr._check import choice, problem
from cyclr._metrics import Better, direction

_KERAS: dict[str, Better] = {"up": "max", "down": "min"}


def checked(better: Mapping[str, Better] | None) -> dict[str, Better]:
    """The directions that the user gave, checked.

    Raises:
        TypeError: If it is not a mapping of names.
        ValueError: If a direction is neither "min" nor "max".
    """
    if better is None:
        return {}
    if not isinstance(better, Mapping):
        raise TypeError(problem("better must be a mapping of names", better, "write better={'score': 'max'}"))
    for name, way in better.items():
        choice(f"better[{name!r}]", way, ("min", "max"))
    return dict(better)


def which_way(name: str, model: keras.Model, better: Mapping[str, Better]) -> Better:
    """The direction of a metric in Keras's logs: from the user, from its class, or from its name.

    Args:
        name: The name in the logs: prefixes `val_` and the name of an output are ignored.
        model: The model with the metrics.
        better: The directions that the user gave.

    Raises:
        ValueError: If none of these states it.
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
    """The direction of Keras's own metrics."""
    metrics = [metric for group in model.metrics for metric in getattr(group, "metrics", None) or [group]]
    ways = {metric.name: _KERAS.get(getattr(metric, "_direction", "")) for metric in metrics}
    return {name: way for name, way in ways.items() if way is not None}
