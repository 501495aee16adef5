"""What a range test orders, and what it asks of a training."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from cyclr._range.curve import Curve

L = TypeVar("L")
Read = TypeVar("Read")


class Reader(Protocol[Read]):
    """What a range test asks of a training besides its steps; `Read` is a loss that may still be on the device."""

    def read(self, losses: Sequence[Read], /) -> Sequence[float]:
        """The losses as numbers; with several processes, their mean, identical in all of them."""
        ...

    def reference(self) -> Read:
        """The mean loss of the reference batches at the present weights, without waiting for it.

        These are `REFERENCE` training batches that stay the same throughout the test and are not trained on.
        Only called if the recorder's `reference` is set. A reader may have further attributes: `examples`, how many of
        these a step takes, `plain_sgd`, `weights` and `single_layer`, as in `Curve`. With several processes it may have
        a method `agreed`: from the seconds of a step that were measured in each, or None, the same in all.
        """
        ...

    def measure(self) -> Mapping[str, float]:
        """The metrics on held-out data, by name. Only called if metrics are to be measured."""
        ...

    def rewind(self, *, data: bool) -> None:
        """Restore the training to its state before the test.

        Args:
            data: Whether to restore batches and randomness, too; otherwise they continue from where they are.
        """
        ...


class Walker(Reader[L], Protocol[L]):
    """The operations on a training that an adapter provides; `L` is a loss that may still be on the device."""

    def step(self, rate: float, /) -> L:
        """Make one optimizer step at `rate` and return its loss without waiting for it."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """Order: make a step at each of these rates and answer with their losses.

    With `reference`, answer with their losses and those of the reference batches before each of them.
    """

    rates: Sequence[float]
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """Order: measure the metrics on held-out data and answer with a mapping."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """Order: restore the training to its start; with `data`, batches and randomness, too.

    `same` if the steps that follow are compared with earlier ones of the very same batches.
    """

    data: bool
    same: bool = False


Order: TypeAlias = Steps | Measure | Rewind
Orders: TypeAlias = Generator[Order, Any, Curve]
