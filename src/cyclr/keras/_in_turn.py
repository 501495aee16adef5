"""Steps of a Keras model that take the same few batches in turn, where a `train_step` of the user's own makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from cyclr.keras._reference import examples_of, kept
from cyclr.keras._seeds import same_draws, seed_places

R = TypeVar("R")  # what a training function returns


class BatchesInTurn:
    """Gives a training function the next few batches of `fit` again and again, and each step the same random numbers.

    Args:
        model: The compiled model.
        number: How many batches.
    """

    def __init__(self, model: keras.Model, number: int) -> None:
        self._model, self._number = model, number
        self._kept, self._given = list[object](), 0
        self._seeds: dict[int, object] | None = None

    @property
    def examples(self) -> int:
        """Examples that a step takes, or labels where each has several; 0 before the first step."""
        return sum(map(examples_of, self._kept)) // max(1, len(self._kept))

    def renew(self) -> None:
        """Take others from now on."""
        self._kept.clear()
        self._given = 0

    def around(self, function: Callable[..., R]) -> Callable[..., R]:
        """The model's training function, which is given the batch whose turn it is."""

        def on_jax(state: Sequence[Any], iterator: Iterator[object]) -> R:
            batch = self._next(next(iterator))  # not below: to shuffle draws random numbers
            trainable, others, optimizer, metrics = state
            seeds = self._first([np.array(one) for one in others])
            others = [keras.ops.convert_to_tensor(seeds[at]) if at in seeds else one for at, one in enumerate(others)]
            with same_draws():
                return function((trainable, others, optimizer, metrics), iter([batch]))

        def on_torch(data: Sequence[object]) -> R:
            variables = self._model.non_trainable_variables
            seeds = self._first([one.value.detach().clone() for one in variables])
            with same_draws([(variables[at], value) for at, value in seeds.items()]):
                return function([self._next(data[0])])

        return on_jax if keras.config.backend() == "jax" else on_torch

    def _first(self, values: Sequence[object]) -> dict[int, object]:
        """The seeds at the first step of all, by the place of their variable among those that are not trained."""
        if self._seeds is None:
            self._seeds = {at: values[at] for at in seed_places(self._model)}
        return self._seeds

    def _next(self, batch: object) -> object:
        if len(self._kept) < self._number:
            self._kept.append(keras.tree.map_structure(kept, batch))
        turn = self._kept[self._given % len(self._kept)]
        self._given += 1
        return keras.tree.map_structure(kept, turn)  # a step may write to its batch
