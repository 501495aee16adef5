"""A schedule drives a Keras optimizer: its learning rate, and its momentum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from cyclr._check import problem
from cyclr._plan import Plan
from cyclr._schedules import Schedule, parse

MOMENTA = ("momentum", "beta_1")  #: what Keras's optimizers call it


@keras.saving.register_keras_serializable(package="cyclr")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as Keras takes one: `keras.optimizers.SGD(LearningRate(schedule))`.

    It is saved and loaded with the model, as the text of the schedule, and knows nothing but the optimizer's own
    count of steps: a loaded model goes on where it stopped.

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
        whole = schedule.schedule if isinstance(schedule, Plan) else schedule
        self.schedule = _schedule("schedule", whole)

    def __call__(self, step: Any) -> Any:
        """The rate at `step`, as a tensor of the backend."""
        return self.schedule(keras.ops.convert_to_tensor(step))

    def __repr__(self) -> str:
        return f"LearningRate({self.schedule!r})"

    def get_config(self) -> dict[str, str]:
        """What `from_config` makes an equal one from."""
        return {"schedule": repr(self.schedule)}


@keras.saving.register_keras_serializable(package="cyclr")
class WithMomentum(keras.optimizers.Optimizer):
    """An optimizer whose momentum follows a schedule.

    Drives `momentum` (SGD, RMSprop, …) or `beta_1` (Adam and its kin) of the optimizer it wraps, never `beta_2`. Like
    the learning rate it is a function of the optimizer's count of steps, so it is saved and loaded with the model.

    Args:
        inner_optimizer: What to drive; one with `momentum` must have been made with some, so that it keeps a velocity.
        momentum: The momentum at each step, or its text.
        name: As for every Keras optimizer.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the optimizer has no momentum, or the schedule does not stay from 0 up to below 1.

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
            raise ValueError(problem("momentum must stay from 0 up to below 1", schedule))
        driven = next((key for key in MOMENTA if getattr(inner_optimizer, key, 0)), "")
        if not driven:
            advice = "make it with momentum=0.9, or leave WithMomentum out"
            raise ValueError(problem("inner_optimizer must have momentum to drive", inner_optimizer.name, advice))
        super().__init__(learning_rate=0.0, name=name)  # not used: the inner one has the rate
        self.inner_optimizer = inner_optimizer
        self._driven = driven
        self._present = _Present(schedule, inner_optimizer)

    @contextmanager
    def _driving(self) -> Iterator[keras.optimizers.Optimizer]:
        """The inner optimizer, with a momentum that is looked up; outside it has its plain number, fit to be saved."""
        inner = self.inner_optimizer
        plain = getattr(inner, self._driven)
        # past the optimizer's __setattr__, which would take a variable for state of its own
        object.__setattr__(inner, self._driven, self._present)
        try:
            yield inner
        finally:
            object.__setattr__(inner, self._driven, plain)

    # What follows hands everything on, as Keras's own wrapper for scaled losses does.

    @property
    def variables(self) -> list[keras.Variable]:
        """The state of the inner optimizer."""
        return self.inner_optimizer.variables

    @property
    def learning_rate(self) -> Any:
        """Of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """Of the inner optimizer."""
        return self.inner_optimizer.iterations

    def build(self, variables: Sequence[keras.Variable]) -> None:  # pyrefly: ignore[bad-override]
        """Make the state for these variables."""
        self.inner_optimizer.build(variables)
        super().build(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """Make one update."""
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        with self._driving() as inner:
            inner.apply(grads, trainable_variables)

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> tuple[Any, Any]:
        """Make one update of values that are passed in and returned."""
        with self._driving() as inner:
            return inner.stateless_apply(optimizer_variables, grads, trainable_variables)

    def scale_loss(self, loss: Any) -> Any:
        """By the factor of the inner optimizer."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """As the inner optimizer does at the end of a training."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes an equal one from."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "momentum": repr(self._present.schedule), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> WithMomentum:
        """An optimizer as `get_config` described it."""
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "inner_optimizer": inner})


class _Present(keras.Variable):
    """The momentum at the optimizer's present step. A variable, because Keras takes one wherever it takes a number."""

    def __init__(self, schedule: Schedule, optimizer: keras.optimizers.Optimizer) -> None:
        self.schedule, self._clock = schedule, optimizer
        super().__init__(float(schedule(0)), trainable=False, name="momentum")

    @property
    def value(self) -> Any:
        """Looked up anew, also in a traced step."""
        return self.schedule(
            keras.ops.convert_to_tensor(self._clock._iterations)
        )  # the count by which the rate goes, too

    # `if momentum != 0` asks whether there is any at all, which cannot be asked of a traced value. There is.

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
