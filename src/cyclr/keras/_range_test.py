"""The range test as a callback: walk up through the learning rates, record what happens, leave no trace."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import keras
import numpy as np

from cyclr._check import choice, count, problem
from cyclr._range import Curve, StopRule
from cyclr._range import ramp as make_ramp
from cyclr._range.cut import cut
from cyclr._schedules import Schedule
from cyclr.keras._drive import LearningRate


class RangeTest(keras.callbacks.Callback):
    """Train while the learning rate rises, and record the loss at each rate. Afterwards all is as it was.

    Use it in a `with` statement, and give it to `fit` as a callback. Each `fit` inside is one ramp; each begins from
    the same weights and optimizer state, with the batches that come next. What `fit` is given beside it (epochs,
    validation data, other callbacks) is up to you: there must be batches enough for the ramp, which ends the training
    when it ends.

    Keras logs the mean of the losses so far; here the loss of each batch is recorded, and so are the model's metrics.
    Metrics on validation data are recorded at the step at which an epoch ends: many short epochs (`steps_per_epoch`)
    and `ramp="linear"` are the paper's protocol.

    A ramp ends at the first loss that is not finite, or when what was gained is lost again; what is beyond is NaN.
    After the `with` the model, its optimizer (rate, state, count of steps), the compiled training step, the history
    and the random states of Python, NumPy and torch are back, also after an exception or Ctrl-C.

    Args:
        model: A compiled model.
        low: First learning rate.
        high: Last learning rate.
        steps: Optimizer steps in a ramp.
        ramp: "log" or "linear".

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the model is not compiled, or it runs several steps at once.

    >>> import numpy as np
    >>> keras.utils.set_random_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(160, 3))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01), "mse")
    >>> with RangeTest(model) as test:
    ...     _ = model.fit(x, x.sum(1), batch_size=16, epochs=30, verbose=0, callbacks=[test])
    >>> test.curve.losses.shape, test.curve.stops
    ((1, 300), ('diverged',))

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        low: float = 1e-6,
        high: float = 10.0,
        steps: int = 300,
        ramp: str = "log",
    ) -> None:
        super().__init__()
        if not isinstance(model, keras.Model):
            raise TypeError(problem("model must be a keras.Model", model, "pass the model itself"))
        choice("ramp", ramp, ("log", "linear"))
        self._ramp, self._scale = make_ramp(low, high, steps=steps, scale=ramp), ramp
        self._rates = np.asarray(self._ramp(np.arange(count("steps", steps))))
        if not getattr(model, "compiled", False) or model.optimizer is None:
            raise ValueError(problem("model must be compiled with an optimizer", model.name, "call model.compile"))
        if model.steps_per_execution != 1:
            advice = "compile with steps_per_execution=1 for the test"
            raise ValueError(problem("each step must be seen", model.steps_per_execution, advice))
        if _innermost(model.optimizer).gradient_accumulation_steps:
            advice = "leave gradient_accumulation_steps out for the test, and take larger batches"
            raise ValueError(problem("each batch must make a step", model.optimizer.name, advice))
        self._tested = model
        self._loan: _Loan | None = None
        self._rows: list[_Row] = []
        self._higher: set[str] = set()

    @property
    def curve(self) -> Curve:
        """What was recorded, one row a `fit`."""
        if not self._rows:
            raise ValueError("there must be a ramp to read, got none; call fit with this callback inside `with`")
        losses, stops = cut(self._padded([row.losses for row in self._rows]))
        names = sorted({name for row in self._rows for name in row.metrics})
        metrics = {name: self._padded([row.metrics.get(name, []) for row in self._rows]) for name in names}
        for rows in metrics.values():
            rows[np.isnan(losses)] = np.nan
        return Curve(self._rates, losses, metrics, self._scale, stops, frozenset(names) & self._higher)

    def _padded(self, rows: list[list[float]]) -> Any:
        whole = np.full((len(rows), len(self._rates)), np.nan)
        for row, values in zip(whole, rows, strict=True):
            row[: len(values)] = values
        return whole

    def __enter__(self) -> RangeTest:
        self._loan = _Loan(self._tested)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loan, self._loan = self._loan, None
        if loan is not None:
            loan.give_back()

    # What Keras calls.

    def on_train_begin(self, logs: Any = None) -> None:
        """Take a copy of everything, once; then put the ramp in place of the learning rate."""
        if self._loan is None:
            what = "the callback must be used inside a `with` statement, so that all is put back whatever happens"
            raise RuntimeError(f"{what}; write `with RangeTest(model) as test: model.fit(..., callbacks=[test])`")
        if self.model is not self._tested:
            raise ValueError(problem("fit must train the model that is tested", self.model))
        self._loan.take(self._ramp)
        self._rule = StopRule()
        self._rows.append(_Row())

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Forget the batches before: Keras logs means over all since the last reset."""
        assert self.model is not None  # asking for it has JAX's state written back, to where it is reset
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Record, and end the ramp where it ends."""
        logs = logs or {}
        if "loss" not in logs:
            advice = "return it from train_step"
            raise ValueError(problem("the model must log its loss under the name 'loss'", sorted(logs), advice))
        row = self._rows[-1]
        index = row.record(logs)
        if self._rule.feed([(index, logs["loss"])]) != "go" or index + 1 == len(self._rates):
            self._tested.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record what was measured on validation data."""
        self._rows[-1].look({name: value for name, value in (logs or {}).items() if name.startswith("val_")})

    def on_train_end(self, logs: Any = None) -> None:
        """Back to the start for the next ramp."""
        done = len(self._rows[-1].losses)
        if self._rule.reason == "go" and done < len(self._rates):
            self._rows.pop()
            advice = "pass more epochs to fit; the ramp ends the training when it ends"
            raise ValueError(problem(f"fit must give a batch for each of the {len(self._rates)} steps", done, advice))
        self._higher |= _higher_is_better(self.model, self._rows[-1].metrics)
        if self._loan is not None:
            self._loan.rewind()


class _Row:
    """One ramp."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.metrics: dict[str, list[float]] = {}

    def record(self, logs: dict[str, float]) -> int:
        """Add a step; its index."""
        index = len(self.losses)
        self.losses.append(logs["loss"])
        for name, value in logs.items():
            if name != "loss":
                self._note(name, index, value)
        return index

    def look(self, logs: dict[str, float]) -> None:
        """Add what was measured after the last step."""
        for name, value in logs.items():
            self._note(name, len(self.losses) - 1, value)

    def _note(self, name: str, index: int, value: float) -> None:
        values = self.metrics.setdefault(name, [])
        values.extend([np.nan] * (index - len(values)))
        values.append(value)


class _Rising(keras.optimizers.schedules.LearningRateSchedule):
    """The ramp, counted from the step that the optimizer has reached."""

    def __init__(self, ramp: Schedule, start: int) -> None:
        self._rate, self._start = LearningRate(ramp), start

    def __call__(self, step: Any) -> Any:
        return self._rate(keras.ops.convert_to_tensor(step) - self._start)


class _Loan:
    """A model that is given back as it was."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._undo: list[Callable[[], Any]] = _random_states()
        self._kept: list[tuple[keras.Variable, Any]] = []
        self._keep(model, "history", "stop_training")  # `fit` changes them before it calls any callback

    def take(self, ramp: Schedule) -> None:
        """Copy everything, and let the optimizer go up the ramp. A second call changes nothing."""
        if self._kept:
            return
        model, optimizer = self._model, _innermost(self._model.optimizer)
        variables = {
            id(one): one for one in (*model.variables, *model.metrics_variables, *model.optimizer.variables)
        }.values()
        # copies: torch writes into its tensors, and a compiled step of JAX may overwrite what it is given
        self._kept = [(one, keras.ops.copy(keras.ops.stop_gradient(one.value))) for one in variables]
        self._keep(model, "train_function")
        self._keep(optimizer, "_learning_rate")
        if keras.config.backend() == "torch":
            self._undo.extend(_torch_extras(model))
        start = int(optimizer._iterations.value)
        optimizer._learning_rate = _Rising(ramp, start)
        _compile_anew(model)

    def rewind(self) -> None:
        """Every variable as it was."""
        for variable, value in self._kept:
            variable.assign(keras.ops.copy(value))

    def give_back(self) -> None:
        """Everything as it was."""
        self.rewind()
        for undo in reversed(self._undo):
            undo()

    def _keep(self, owner: Any, *names: str) -> None:
        for name in names:
            value = getattr(owner, name, None)
            self._undo.append(lambda owner=owner, name=name, value=value: setattr(owner, name, value))


def _random_states() -> list[Callable[[], Any]]:
    """What puts Python's and NumPy's randomness back: Keras shuffles with it."""
    plain, numpy_state = random.getstate(), np.random.get_state()
    return [lambda: random.setstate(plain), lambda: np.random.set_state(numpy_state)]


def _torch_extras(model: Any) -> list[Callable[[], Any]]:
    """What puts back that which only torch has: gradients, training flags, its random states."""
    import torch

    gradients = [(one, one.grad) for one in model.parameters()]
    flags = [(one, one.training) for one in model.modules()]
    state = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def undo() -> None:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, flag in flags:
            module.training = flag
        torch.set_rng_state(state)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return [undo]


def _compile_anew(model: Any) -> None:
    """Have the training step traced again: the one there is has the old rate compiled into it.

    JAX knows a step that it has compiled by its function, and all bound methods `model.train_step` are one to it.
    """
    step = model.train_step
    own = vars(model).get("train_step")  # where a user has replaced it
    object.__setattr__(model, "train_step", partial(step))
    try:
        model.make_train_function(force=True)
    finally:
        if own is None:
            object.__delattr__(model, "train_step")
        else:
            object.__setattr__(model, "train_step", own)


def _innermost(optimizer: Any) -> Any:
    """The optimizer that has the learning rate: others wrap it to scale losses or to drive its momentum."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _higher_is_better(model: Any, names: Any) -> set[str]:
    """Names of metrics of which more is better: Keras knows it of its own, the name says it of others."""
    lower = set()
    for group in model.metrics:
        for metric in getattr(group, "metrics", None) or [group]:
            if getattr(metric, "_direction", None) == "down":
                lower |= {metric.name, f"val_{metric.name}"}
    return {name for name in names if name not in lower and "loss" not in name and "error" not in name}
