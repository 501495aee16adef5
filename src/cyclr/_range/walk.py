"""The loop of every range test: sweeps and probe cycles, built on four operations that a framework provides.

The loop is a generator of orders (`Recorder.orders`), because some frameworks are called and others call us: `walk`
carries the orders out with an adapter's `Walker`; Keras, which owns its training loop, answers them from callbacks.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from time import perf_counter
from typing import Any

from cyclr._range.curve import Curve
from cyclr._range.orders import Measure, Reader, Rewind, Steps, Walker
from cyclr._range.recorder import Recorder

FACTS = ("groups", "plain_sgd", "weights", "single_layer")  #: what readers may know, as in `Curve`


def walk(walker: Walker[Any], recorder: Recorder) -> Curve:
    """Run a whole range test: carry out all orders through an adapter.

    Args:
        walker: The training.
        recorder: Gives the orders and records the results. A recorder can be used once.

    Returns:
        The curve.

    Raises:
        ValueError: If the loss is not finite at the first step.
    """
    steps = walking(walker, recorder)
    loss = None
    while True:
        try:
            rate = steps.send(loss)
        except StopIteration as done:
            return done.value
        loss = walker.step(rate)


def walking(reader: Reader[Any], recorder: Recorder) -> Generator[float, Any, Curve]:
    """A whole range test whose steps are made elsewhere: yields the rate of each, and is sent its loss."""
    orders, answer = recorder.orders(), None
    for name in FACTS:
        setattr(recorder, name, getattr(reader, name, getattr(recorder, name)))
    while True:
        try:
            order = orders.send(answer)
        except StopIteration as done:
            return _agreed(reader, done.value)
        match order:
            case Steps(rates, reference):
                losses: list[Any] = []
                beside: list[Any] = []
                for rate in rates:
                    if reference:
                        beside.append(_evaluated(reader, recorder, first=not beside))
                    losses.append((yield rate))
                answer = (reader.read(losses), reader.read(beside)) if reference else reader.read(losses)
                if recorder.extent.short:
                    recorder.examples = getattr(reader, "examples", 0)
            case Measure():
                answer = reader.measure()
            case Rewind(data=data):
                answer = reader.rewind(data=data)


def _evaluated(reader: Reader[Any], recorder: Recorder, *, first: bool) -> Any:
    """The loss of the reference batches; the first time in a block it is waited for, to know how long that takes."""
    began = perf_counter()
    loss = reader.reference()
    if first:
        reader.read([loss])
        recorder.clock.evaluated(perf_counter() - began)
    return loss


def _agreed(reader: Reader[Any], curve: Curve) -> Curve:
    """The curve with one time of a step in all processes."""
    agreed = getattr(reader, "agreed", None)
    return curve if agreed is None else replace(curve, step_seconds=agreed(curve.step_seconds))
