"""A Keras model during a range test, which is restored afterwards."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import keras

from cyclr import _rng
from cyclr._interrupt import Undo, put_back
from cyclr.keras._seeds import kept_generator

#: Whose steps are about as large as the rate.
ADAPTIVE = (keras.optimizers.Adam, keras.optimizers.Adamax, keras.optimizers.Nadam, keras.optimizers.RMSprop,
            keras.optimizers.Lion)  # fmt: skip


class Loan:
    """Everything that a range test changes in a model, and how it is restored.

    Args:
        model: The model. Random states are saved on creation, everything else in `take`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._undo: list[Undo] = [*kept_generator(), *_rng.kept()]  # Keras shuffles with Python's, NumPy's, torch's
        self._kept: list[tuple[keras.Variable, Any]] = []
        self._taken = False
        self.rate: Any = None  #: a variable that replaces the optimizer's learning rate after `take`
        for name in ("history", "stop_training"):  # `fit` changes them before it calls a callback
            self._keep(model, name)

    def keep_sources(self, data: Any) -> None:
        """Remember the random states of loaders in `data`."""
        self._undo.extend(_rng.kept(data))

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute, bypassing `__setattr__`, by which Keras tracks variables."""
        own, old = name in vars(owner), vars(owner).get(name)
        undo = partial(object.__setattr__, owner, name, old) if own else partial(_drop, owner, name)
        self._undo.append(undo)
        object.__setattr__(owner, name, value)

    def take(self) -> bool:
        """Copy everything, and replace the learning rate by a variable. A second call does nothing, and says so."""
        if self._taken:
            return False
        model, optimizer = self._model, innermost(self._model.optimizer)
        variables = {
            id(one): one for one in (*model.variables, *model.metrics_variables, *model.optimizer.variables)
        }.values()
        # copies: torch modifies its tensors in place, and a compiled step of JAX may overwrite its arguments
        self._kept = [(one, keras.ops.copy(keras.ops.stop_gradient(one.value))) for one in variables]
        if keras.config.backend() == "torch":
            self._undo.extend(_torch_extras(model))
        self._keep(model, "train_function")
        # One of the optimizer's variables: these are arguments of a compiled step, so that it gets each new rate.
        self.rate = keras.Variable(0.0, trainable=False, dtype=keras.config.floatx(), name="range_test_rate")
        self._undo.append(partial(optimizer._tracker.untrack, self.rate))
        optimizer._track_variable(self.rate)
        self.replace(optimizer, "_learning_rate", self.rate)
        self.compile_anew()
        self._taken = True
        return True

    def rewind(self) -> None:
        """Every variable as it was."""
        put_back(self._variables())

    def undo(self) -> list[Undo]:
        """What makes everything as it was, in order."""
        return [*self._variables(), *reversed(self._undo)]

    def _variables(self) -> list[Undo]:
        return [partial(_assign, variable, value) for variable, value in self._kept]

    def rate_used(self) -> float:
        """The rate of the last step, whoever set it."""
        present = innermost(self._model.optimizer)._learning_rate
        if present is not self.rate:
            return float("nan")
        return float(keras.ops.convert_to_numpy(self.rate.value))

    def compile_anew(self) -> None:
        """Have the training step traced again: the one there is may have the old rate compiled into it.

        JAX identifies a compiled step by its function, and all bound methods `model.train_step` are equal.
        """
        model: Any = self._model
        self.replace(model, "train_step", partial(model.train_step))
        try:
            model.make_train_function(force=True)
        finally:
            self._undo[-1]()

    def _keep(self, owner: Any, name: str) -> None:
        self._undo.append(partial(setattr, owner, name, getattr(owner, name, None)))


def innermost(optimizer: Any) -> Any:
    """The optimizer that has the learning rate: others wrap it to scale losses or to drive its momentum."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def is_plain_sgd(optimizer: Any) -> bool:
    """Whether it is SGD without momentum, whatever wraps it."""
    inner = innermost(optimizer)
    return isinstance(inner, keras.optimizers.SGD) and float(inner.momentum) == 0


def adaptive_weights(model: Any) -> int:
    """How many weights are trained, if steps are about as large as the rate, as those of Adam or RMSprop; else 0."""
    if not isinstance(innermost(model.optimizer), ADAPTIVE):
        return 0
    return sum(prod(weight.shape) for weight in model.trainable_variables)


def _assign(variable: keras.Variable, value: Any) -> None:
    variable.assign(keras.ops.copy(value))


def _drop(owner: Any, name: str) -> None:
    """Remove an attribute, if it is there."""
    if name in vars(owner):
        object.__delattr__(owner, name)


def _torch_extras(model: Any) -> list[Undo]:
    """What puts back that which only torch has: gradients and training flags."""
    gradients = [partial(setattr, one, "grad", one.grad) for one in model.parameters()]
    return [*gradients, *(partial(setattr, one, "training", one.training) for one in model.modules())]
