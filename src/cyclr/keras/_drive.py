"""Drives a Keras optimizer by a schedule: its learning rate and its momentum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from cyclr._check import problem
from cyclr._plan import Plan
from cyclr._schedules import Schedule, parse

MOMENTA = ("momentum", "beta_1")  #: the name of momentum in Keras's optimizers


@keras.saving.register_keras_serializable(package="cyclr")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule for Keras: `keras.optimizers.SGD(LearningRate(schedule))`.

    It is saved and loaded with the model, as the text of the schedule, and depends only on the optimizer's step count:
    a loaded model continues where it stopped.

    Args:
        schedule: The learning rate at each step: a schedule, a `Plan`, or the text of a schedule, as `repr` writes it.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the text describes no schedule, or Keras runs on another backend than JAX or torch.

    >>> from cyclr import Triangular
    >>> rate = LearningRate(Triangular(0.1, 0.5, step_size=4))
    >>> optimizer = keras.optimizers.SGD(rate)
    >>> round(float(rate(3)), 4), rate.get_config()
    (0.4, {'schedule': 'Triangular(0.1, 0.5, step_size=4)'})
    """

    def __init__(self, schedule: Schedule | Plan | str) -> None:
        if keras.config.backend() not in ("jax", "torch"):
            advice = "set the environment variable KERAS_BACKEND"
            raise ValueError(problem("Keras must run on jax or torch", keras.config.backend(), advice))
        #: The plan of the schedule, if one was given; a loaded model has the schedule alone.
        self.plan = schedule if isinstance(schedule, Plan) else None
        self.schedule = _schedule("schedule", schedule.schedule if isinstance(schedule, Plan) else schedule)

    def __call__(self, step: Any) -> Any:
        """The rate at `step`, as a tensor of the backend."""
        return self.schedule(keras.ops.convert_to_tensor(step))

    def __repr__(self) -> str:
        return f"LearningRate({self.schedule!r})"

    def get_config(self) -> dict[str, str]:
        """The configuration for `from_config`."""
        return {"schedule": repr(self.schedule)}


@keras.saving.register_keras_serializable(package="cyclr")
class WithMomentum(keras.optimizers.Optimizer):
    """An optimizer whose momentum follows a schedule.

    Drives `momentum` (SGD, RMSprop, …) or `beta_1` (Adam and its variants) of the optimizer it wraps, never `beta_2`.
    Like the learning rate it is a function of the optimizer's count of steps, so it is saved and loaded with the model.

    Args:
        inner_optimizer: The optimizer to drive; if it has `momentum`, this must not be zero, so that it keeps a
            velocity.
        momentum: The momentum at each step, or its text.
        name: As for every Keras optimizer.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the optimizer has no momentum, or a value of the schedule is below 0 or not below 1.

    >>> from cyclr import Opposed, Triangular
    >>> wave = Triangular(0.1, 0.5, step_size=4)
    >>> inner = keras.optimizers.SGD(LearningRate(wave), momentum=0.95)
    >>> optimizer = WithMomentum(inner, Opposed(wave, 0.85, 0.95))
    """

    def __init__(
        self, inner_optimizer: keras.optimizers.Optimizer, momentum: Schedule | str, name: str | None = None
    ) -> None:
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise TypeError(problem("inner_optimizer must be a Keras optimizer", inner_optimizer))
        schedule = _schedule("momentum", momentum)
        if schedule.lowest < 0 or schedule.highest >= 1:
            raise ValueError(problem("momentum must be at least 0 and below 1", schedule))
        driven = next((key for key in MOMENTA if getattr(inner_optimizer, key, 0)), "")
        if not driven:
            advice = "create it with momentum=0.9, or leave out WithMomentum"
            raise ValueError(problem("inner_optimizer must have momentum to drive", inner_optimizer.name, advice))
        super().__init__(learning_rate=0.0, name=name)  # unused: the inner optimizer has the rate
        self.inner_optimizer = inner_optimizer
        self._driven = driven
        self._present = _Present(schedule, inner_optimizer)

    @contextmanager
    def _driving(self) -> Iterator[keras.optimizers.Optimizer]:
        """The inner optimizer with the scheduled momentum; otherwise it keeps a plain number, which can be saved."""
        inner = self.inner_optimizer
        plain = getattr(inner, self._driven)
        # bypasses the optimizer's __setattr__, which would track a variable as its state
        object.__setattr__(inner, self._driven, self._present)
        try:
            yield inner
        finally:
            object.__setattr__(inner, self._driven, plain)

    # The following methods delegate to the inner optimizer, as Keras's own wrapper for scaled losses does.

    @property
    def variables(self) -> list[keras.Variable]:
        """The state of the inner optimizer."""
        return self.inner_optimizer.variables

    @property
    def learning_rate(self) -> Any:
        """The attribute of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """The attribute of the inner optimizer."""
        return self.inner_optimizer.iterations

    def build(self, variables: Sequence[keras.Variable]) -> None:  # pyrefly: ignore[bad-override]
        """Create the state for these variables."""
        self.inner_optimizer.build(variables)
        super().build(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """Make one update."""
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        with self._driving() as inner:
            inner.apply(grads, trainable_variables)

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> tuple[Any, Any]:
        """Make one update as a pure function of values."""
        with self._driving() as inner:
            return inner.stateless_apply(optimizer_variables, grads, trainable_variables)

    def scale_loss(self, loss: Any) -> Any:
        """Scale by the factor of the inner optimizer."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Finalize the variables as the inner optimizer does."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The configuration for `from_config`."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "momentum": repr(self._present.schedule), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> WithMomentum:
        """Create an optimizer from the result of `get_config`."""
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "inner_optimizer": inner})


class _Present(keras.Variable):
    """The momentum at the optimizer's current step; a variable, which Keras accepts in place of a number."""

    def __init__(self, schedule: Schedule, optimizer: keras.optimizers.Optimizer) -> None:
        self.schedule, self._clock = schedule, optimizer
        super().__init__(float(schedule(0)), trainable=False, name="momentum")

    @property
    def value(self) -> Any:
        """The current value, even in a traced step."""
        return self.schedule(
            keras.ops.convert_to_tensor(self._clock._iterations)
        )  # the same count as for the learning rate

    # `if momentum != 0` cannot be evaluated for a traced value; momentum is never zero throughout.

    def __ne__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return True

    __hash__ = keras.Variable.__hash__


def _schedule(name: str, given: Schedule | str) -> Schedule:
    if isinstance(given, str):
        return parse(given)
    if not isinstance(given, Schedule):
        raise TypeError(
            problem(f"{name} must be a schedule or its text", given, "for a constant write Constant(value)")
        )
    return given
