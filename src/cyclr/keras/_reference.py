"""The loss of batches that stay the same while a Keras model is trained on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import keras
import numpy as np

from cyclr._range.horizon import REFERENCE
from cyclr._range.short import examples_in
from cyclr.keras._seeds import same_draws, seed_places


def can_evaluate(model: Any) -> bool:
    """Whether the loss of a batch is known without a step: a `train_step` of the user's own has none."""
    return getattr(getattr(model, "train_step", None), "__func__", None) is keras.Model.train_step


class ReferenceBatches:
    """Takes the first batches of `fit` aside, and evaluates their mean loss as Keras trains on it: with dropout.

    An evaluation changes neither variables, such as the statistics of batch normalisation and of metrics, nor random
    states; all draw the same random numbers, so that their losses differ for no other reason than the weights.

    Args:
        model: The compiled model.
        wanted: Says whether the loss is to be evaluated before the step to come.
    """

    def __init__(self, model: Any, wanted: Callable[[], bool]) -> None:
        self._model, self._wanted = model, wanted
        self._batches = list[Any]()
        self._of: Any = _Jax(model) if keras.config.backend() == "jax" else _Torch(model)
        self.seconds = 0.0  #: that the last evaluation took
        self.loss: float | None = None  #: before the last step; None if that was none, but a batch taken aside

    def around(self, function: Any) -> Any:
        """The model's training function, which evaluates first; it makes no step with a batch that is taken aside."""

        def on_jax(state: Any, iterator: Iterator[Any]) -> tuple[Any, Any]:
            if not self._wanted():
                return function(state, iterator)
            batch = next(iterator)
            if self._aside(batch):
                return {}, state
            self._evaluate(state)
            return function(state, iter([batch]))

        def on_torch(data: Sequence[Any]) -> Any:
            if not self._wanted():
                return function(data)
            if self._aside(data[0]):
                return dict[str, float]()
            self._evaluate()
            return function(data)

        return on_jax if keras.config.backend() == "jax" else on_torch

    @property
    def examples(self) -> int:
        """Examples that a step takes, or labels where each has several; 0 before the first evaluation."""
        return sum(map(examples_of, self._batches)) // REFERENCE

    def _evaluate(self, *state: Any) -> None:
        began = perf_counter()
        self.loss = float(self._of(self._batches, *state))
        self.seconds = perf_counter() - began

    def _aside(self, batch: Any) -> bool:
        """Whether the batch is kept, and not trained on."""
        self.loss = None
        if len(self._batches) == REFERENCE:
            return False
        self._batches.append(keras.tree.map_structure(kept, batch))
        return True


class _Jax:
    """The mean loss as a compiled function of the state."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._function: Any = None
        self._seeds: dict[int, Any] = {}

    def __call__(self, batches: list[Any], state: Any) -> Any:
        import jax

        if self._function is None:
            # copies: the step to come may overwrite its arguments
            self._seeds = {at: np.array(state[1][at]) for at in seed_places(self._model)}
            compiled = self._model.jit_compile and not self._model.run_eagerly
            self._function = jax.jit(self._mean) if compiled else self._mean
        with same_draws():
            return self._function(batches, state, self._seeds)

    def _mean(self, batches: list[Any], state: Any, seeds: dict[int, Any]) -> Any:
        trainable, others, optimizer, metrics = state
        others = [seeds.get(at, value) for at, value in enumerate(others)]
        losses = []
        for batch in batches:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            how = {"training": True, "optimizer_variables": optimizer}
            _, (loss, *_) = self._model.compute_loss_and_updates(trainable, others, metrics, x, y, weight, **how)
            losses.append(loss)
        return keras.ops.mean(keras.ops.stack(losses))


class _Torch:
    """The mean loss of the model as it is, which is as before afterwards."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._seeds: list[tuple[keras.Variable, Any]] = []

    def __call__(self, batches: list[Any]) -> Any:
        import torch

        model = self._model
        variables = [*model.non_trainable_variables, *model.metrics_variables]
        before = [(one, one.value.detach().clone()) for one in variables]
        buffers = [(one, one.clone()) for one in model.buffers()]
        if not self._seeds:
            self._seeds = [before[at] for at in seed_places(model)]
        try:
            with same_draws(self._seeds):
                # With gradients, as a loss may need them.
                losses = [self._loss(batch).detach() for batch in batches]
        finally:
            for one, value in before:
                one.assign(value)
            with torch.no_grad():
                for one, value in buffers:
                    one.copy_(value)
        return torch.stack(losses).mean()

    def _loss(self, batch: Any) -> Any:
        model = self._model
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        outputs = model(x, training=True) if model._call_has_training_arg else model(x)
        return model._compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight, training=True)


def examples_of(batch: object) -> int:
    """Examples in a batch, or labels where each has several; 0 if unknown."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return examples_in([*keras.tree.flatten(x), *keras.tree.flatten(y)])


def kept(array: object) -> object:
    """A copy of what a data set may write the next batch to, or a step its results."""
    if isinstance(array, np.ndarray):
        return array.copy()
    clone = getattr(array, "clone", None)  # torch's; JAX's arrays are never written to
    return clone() if callable(clone) else array
