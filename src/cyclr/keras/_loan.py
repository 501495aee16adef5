"""A Keras model that is lent to a range test and given back as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from cyclr import _rng
from cyclr._interrupt import Undo, put_back


class Loan:
    """What a range test changes in a model, and how all of it is put back.

    Args:
        model: The model that is lent, from now on: random states are remembered here, the rest in `take`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._undo: list[Undo] = _rng.kept()  # Keras shuffles with these
        self._kept: list[tuple[keras.Variable, Any]] = []
        self._taken = False
        self.rate: Any = None  #: a variable, in place of the optimizer's learning rate once it is taken
        for name in ("history", "stop_training"):  # `fit` changes them before it calls any callback
            self._keep(model, name)

    def keep_sources(self, data: Any) -> None:
        """Remember the random states of loaders in `data`."""
        self._undo.extend(_rng.kept(data))

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Give an attribute another value; past `__setattr__`, by which Keras takes variables for its own."""
        own, old = name in vars(owner), vars(owner).get(name)
        undo = partial(object.__setattr__, owner, name, old) if own else partial(_drop, owner, name)
        self._undo.append(undo)
        object.__setattr__(owner, name, value)

    def take(self) -> None:
        """Copy everything, and put a variable in place of the learning rate. A second call changes nothing."""
        if self._taken:
            return
        model, optimizer = self._model, innermost(self._model.optimizer)
        variables = {
            id(one): one for one in (*model.variables, *model.metrics_variables, *model.optimizer.variables)
        }.values()
        # copies: torch writes into its tensors, and a compiled step of JAX may overwrite what it is given
        self._kept = [(one, keras.ops.copy(keras.ops.stop_gradient(one.value))) for one in variables]
        if keras.config.backend() == "torch":
            self._undo.extend(_torch_extras(model))
        self._keep(model, "train_function")
        # One of the optimizer's variables: a compiled step takes these as arguments, so that it sees each new rate.
        self.rate = keras.Variable(0.0, trainable=False, dtype=keras.config.floatx(), name="range_test_rate")
        self._undo.append(partial(optimizer._tracker.untrack, self.rate))
        optimizer._track_variable(self.rate)
        self.replace(optimizer, "_learning_rate", self.rate)
        self._compile_anew()
        self._taken = True

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

    def _keep(self, owner: Any, name: str) -> None:
        self._undo.append(partial(setattr, owner, name, getattr(owner, name, None)))

    def _compile_anew(self) -> None:
        """Have the training step traced again: the one there is may have the old rate compiled into it.

        JAX knows a step that it has compiled by its function, and all bound methods `model.train_step` are one to it.
        """
        model: Any = self._model
        self.replace(model, "train_step", partial(model.train_step))
        try:
            model.make_train_function(force=True)
        finally:
            self._undo[-1]()


def innermost(optimizer: Any) -> Any:
    """The optimizer that has the learning rate: others wrap it to scale losses or to drive its momentum."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


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
