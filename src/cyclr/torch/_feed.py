"""Endless batches for `train`, with a position that can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cyclr import _rng as rng
from cyclr._check import problem
from cyclr.torch._batches import start_pass
from cyclr.torch._restore.snapshot import sources_of


class Feed:
    """Endless batches, and the position in them as plain data.

    To restore a position, the pass is started again from its initial random state and advanced to the position.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._sources = [*sources_of(loader), *rng.everywhere()]
        self._batches: Iterator[Any] = iter(())
        self._begin: list[Any] = []
        self._number = -1
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for batch in self._batches:
            self._taken += 1
            return batch
        if self._taken == 0 and self._number >= 0:
            raise ValueError(problem("train_loader must give at least one batch", "none", "is the dataset empty?"))
        self._start(self._number + 1)
        return next(self)

    def state(self) -> dict[str, Any]:
        """The position as plain data."""
        return {"number": self._number, "taken": self._taken, "begin": self._begin, "now": self._random()}

    def resume(self, state: dict[str, Any]) -> None:
        """Restore a position."""
        if len(state["now"]) != len(self._sources):
            raise ValueError("the checkpoint was written with other random number generators; choose another folder")
        if state["number"] >= 0:
            self._set(state["begin"])
            self._start(state["number"])
            skip = getattr(self._batches, "skip", None)
            if callable(skip):  # a pass that knows its own order need not load what was taken
                skip(state["taken"])
                self._taken = state["taken"]
            else:
                for _ in range(state["taken"]):
                    next(self)
        self._set(state["now"])

    def _start(self, number: int) -> None:
        self._number, self._taken, self._begin = number, 0, self._random()
        self._batches = start_pass(self._loader, number)

    def _random(self) -> list[Any]:
        return [rng.state(source) for source in self._sources]

    def _set(self, states: list[Any]) -> None:
        for source, state in zip(self._sources, states, strict=True):
            rng.set_state(source, state)
