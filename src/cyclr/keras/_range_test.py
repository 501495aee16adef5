"""The range test as a callback: a sweep through the learning rates, after which the model is restored."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import ceil
from typing import Any, cast

import keras
import numpy as np

from cyclr._check import problem
from cyclr._interrupt import Restored, Undo
from cyclr._metrics import Better
from cyclr._range import Curve, Ramp, Recorder, StepProgress
from cyclr._range.fall import neighbours
from cyclr._range.horizon import REFERENCE
from cyclr._range.orders import Order, Orders, Rewind, Steps
from cyclr._range.ramp import RAMP_0_1
from cyclr._range.short import is_single_layer
from cyclr._renamed import renamed
from cyclr.keras._directions import checked, which_way
from cyclr.keras._in_turn import BatchesInTurn
from cyclr.keras._loan import Loan, adaptive_weights, innermost, is_plain_sgd
from cyclr.keras._reference import ReferenceBatches, can_evaluate

BATCH = 32  #: what Keras takes where no batch_size is given
_log = logging.getLogger("cyclr")


class RangeTest(Restored, keras.callbacks.Callback):
    """Train while the learning rate rises, and record the loss at each rate. The model is restored afterwards.

    Use it in a `with` statement, and pass it to `fit` as a callback. Each `fit` inside is one sweep; each begins from
    the same weights and optimizer state and takes the next batches. Pass enough epochs for all steps: the test ends
    the training when it is done. A thorough test is one `fit`, in which the probe cycles follow the sweep.

    Keras's own callbacks that change the training or write files (early stopping, checkpoints, schedules, logs) are
    left out of `fit` inside the `with`; the progress bar and callbacks of your own are called.

    Keras logs the mean of the losses so far; here the loss of each batch is recorded, and so are the model's metrics.
    Metrics on validation data are recorded at the step at which an epoch ends: many short epochs (`steps_per_epoch`)
    and `Ramp(scale="linear")` are the paper's protocol.

    A sweep ends at two non-finite losses in a row, or when the loss exceeds its starting value by as much as it had
    fallen; what comes after is NaN. After the `with` the model, its optimizer (rate, state, count of steps), the
    compiled training step, the history and the random states of Python, NumPy, torch and the loaders are restored, even
    after an exception or Ctrl-C.

    Args:
        model: A compiled model.
        ramp: The rates of a sweep.
        effort: "quick" (sweeps alone) or "thorough": also short probe cycles around the max_lr that the sweep
            suggests, and a sweep three times as slow first if it is inconclusive.
        budget: Steps of the training that the test prepares. Each sweep then costs at most 15 % of them (but 30 steps),
            and so does a thorough test: sweeps have 18 steps, and probe cycles are shorter, or there are none. The
            first two batches are set aside and evaluated before each step of a sweep; their loss, which has no noise,
            decides. A `train_step` of your own gives no loss without a step: below 2,000 steps, all steps take the same
            three batches in turn, unless metrics on validation data are recorded. From 2,000 steps on, sweeps beside
            such metrics are as long as without a budget.
        better: "min" or "max" for each metric whose direction follows neither from Keras nor from its name.
        progress: Called after each step with (steps done, total steps, rate, loss).

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

    @renamed(RAMP_0_1)
    def __init__(
        self,
        model: keras.Model,
        *,
        ramp: Ramp = Ramp(),
        effort: str = "quick",
        budget: int | None = None,
        better: Mapping[str, Better] | None = None,
        progress: StepProgress | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, keras.Model):
            raise TypeError(problem("model must be a keras.Model", model, "pass the model itself"))
        how: dict[str, Any] = {"block": 1, "effort": effort, "budget": budget, "progress": progress}
        self._record: Callable[..., Recorder] = partial(Recorder, ramp, **how)
        self._recorder = self._record(reference=can_evaluate(model), in_turn=not can_evaluate(model))
        self._better = checked(better)
        if not getattr(model, "compiled", False) or model.optimizer is None:
            raise ValueError(problem("model must be compiled with an optimizer", model.name, "call model.compile"))
        if model.steps_per_execution != 1:
            advice = "compile with steps_per_execution=1 for the test"
            raise ValueError(problem("steps_per_execution must be 1", model.steps_per_execution, advice))
        if innermost(model.optimizer).gradient_accumulation_steps:
            advice = "leave out gradient_accumulation_steps for the test, and use larger batches"
            raise ValueError(problem("the optimizer must make a step for each batch", model.optimizer.name, advice))
        self._tested = model
        self._loan: Loan | None = None
        self._orders: Orders | None = None
        self._order: Order | None = None
        self._steps = 0
        self._losses: list[float] = []  #: of the present order, so far
        self._reference = ReferenceBatches(model, self._evaluates)
        self._in_turn = BatchesInTurn(model, self._recorder.extent.in_turn)
        self._ways: dict[str, Better] = {}
        self._others: list[str] = []

    @property
    def curve(self) -> Curve:
        """The recorded curve, one row per sweep.

        Raises:
            ValueError: If no sweep is complete.
        """
        self._recorder.examples = self._reference.examples or self._in_turn.examples
        self._recorder.plain_sgd = is_plain_sgd(self._tested.optimizer)
        self._recorder.weights = adaptive_weights(self._tested)
        self._recorder.single_layer = is_single_layer(weight.shape for weight in self._tested.trainable_variables)
        return self._recorder.curve()

    @property
    def most_steps(self) -> int:
        """For how many steps one `fit` must give batches at most, those that are set aside included."""
        return self._recorder.most_steps + REFERENCE * self._recorder.extent.reference

    def _remember(self) -> None:
        self._loan = Loan(self._tested)
        self._loan.replace(self._tested, "fit", self._fit_of(self._tested))

    def _undo(self) -> list[Undo]:
        loan, self._loan = self._loan, None
        closing = [] if self._orders is None else [self._orders.close]
        return [*closing, *([] if loan is None else loan.undo())]

    def _fit_of(self, model: Any) -> Any:
        """The model's `fit` without callbacks that would change the test or record it."""
        fit = model.fit
        names = list(inspect.signature(fit).parameters)
        place = names.index("callbacks") if "callbacks" in names else len(names)

        @functools.wraps(fit)
        def tested(*args: object, **kwargs: object) -> object:
            by_position = len(args) > place
            given = args[place] if by_position else kwargs.get("callbacks")
            callbacks = keras.tree.flatten(_listed(given))
            if self._loan is None or not any(one is self for one in callbacks):
                return fit(*args, **kwargs)
            self._loan.keep_sources([one for one in (*args, *kwargs.values()) if one is not given])
            told = inspect.signature(fit).bind_partial(*args, **kwargs).arguments
            self._recorder.in_order = in_order(told, self._recorder.ramp.steps)
            if self._orders is None and (told.get("validation_data") is not None or told.get("validation_split")):
                self._with_metrics()
            others = [one for one in callbacks if one is not self and not isinstance(one, LEFT_OUT)]
            self._others = [type(one).__name__ for one in others]
            # The test comes first: so it sees a rate that another one sets at the beginning of a batch.
            if by_position:
                return fit(*args[:place], [self, *others], *args[place + 1 :], **kwargs)
            return fit(*args, **{**kwargs, "callbacks": [self, *others]})

        return tested

    # What Keras calls.

    def on_train_begin(self, logs: Any = None) -> None:
        """Copy everything, once; then replace the learning rate by a variable."""
        if self._loan is None:
            what = "the callback must be used inside a `with` statement, so that the model is restored whatever happens"
            raise RuntimeError(f"{what}; write `with RangeTest(model) as test: model.fit(..., callbacks=[test])`")
        if self.model is not self._tested:
            raise ValueError(problem("fit must train the model that is tested", self.model))
        if self._recorder.effort == "thorough" and self._orders is not None:
            what = "a thorough test must be a single call of fit, got a second one"
            raise RuntimeError(f"{what}; make another RangeTest for it, or use effort='quick'")
        if self._loan.take() and self._recorder.extent.short:
            source = self._reference if self._recorder.extent.reference else self._in_turn
            function: Any = self._tested.train_function
            self._tested.train_function = source.around(function)
        self._in_turn.renew()
        self._orders, self._steps, self._losses = self._recorder.orders(), 0, list[float]()
        self._order = next(self._orders)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this step; forget the batches before: Keras logs means over all since the last reset."""
        assert self.model is not None  # asking for it has JAX's state written back, to where it is reset
        assert self._loan is not None
        while isinstance(self._order, Rewind) and not (self._order.same and batch):  # those begin with an epoch
            self._loan.rewind()
            self._in_turn.renew()
            self._answer(None)
        self.model.reset_metrics()
        self._loan.rate.assign(self._order.rates[len(self._losses)] if isinstance(self._order, Steps) else 0.0)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Record, and end the training when the test is done."""
        if not isinstance(self._order, Steps) or (self._order.reference and self._reference.loss is None):
            return  # the batch was taken aside
        logs = dict(logs or {})
        if "loss" not in logs:
            advice = "return it from train_step"
            raise ValueError(problem("the model must log its loss under the name 'loss'", sorted(logs), advice))
        self._check_rate(self._order.rates[len(self._losses)])
        self._steps += 1
        self._losses.append(logs.pop("loss"))
        if len(self._losses) == len(self._order.rates):
            losses, self._losses = self._losses, list[float]()
            if self._order.reference:
                self._recorder.clock.evaluated(self._reference.seconds)
            self._answer((losses, [self._reference.loss]) if self._order.reference else losses)
        self._note(logs)
        if self._order is None:
            self._tested.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record the metrics on validation data."""
        self._note({name: value for name, value in (logs or {}).items() if name.startswith("val_")})

    def on_train_end(self, logs: Any = None) -> None:
        """Return to the start for the next sweep."""
        if self._order is not None and self._orders is not None:
            self._orders.close()
            if self._recorder.effort == "quick" and self._recorder.swept:
                _log.warning(
                    "fit ended before the range test could repeat its batches at a rate of zero: as the data are not "
                    "shuffled, the loss may have followed their order; pass more epochs to fit, or shuffle=True"
                )
                if self._loan is not None:
                    self._loan.rewind()
                return
            most = self.most_steps
            steps = f"each of the {most}" if self._recorder.effort == "quick" else f"each of up to {most}"
            advice = "pass more epochs to fit; the test ends the training when it is done"
            if self._tested.stop_training:
                advice = f"leave out the callback that stopped the training (besides the test: {self._named_others()})"
            raise ValueError(problem(f"fit must give a batch for {steps} steps", self._steps, advice))
        if self._loan is not None:
            self._loan.rewind()

    def _with_metrics(self) -> None:
        """Take new batches at each step: metrics on validation data say little of a model that sees three of them."""
        how = {"reference": can_evaluate(self._tested), "in_order": self._recorder.in_order}
        self._recorder = self._record(measured=True, **how)

    def _evaluates(self) -> bool:
        return isinstance(self._order, Steps) and self._order.reference

    def _answer(self, answer: Any) -> None:
        """Answer the current order and return the next one, or None when the test is done."""
        assert self._orders is not None
        try:
            self._order = self._orders.send(answer)
        except StopIteration:
            self._order = None

    def _check_rate(self, put: float) -> None:
        assert self.model is not None  # asking for it has JAX's state written back
        assert self._loan is not None
        used = self._loan.rate_used()
        if used != np.dtype(self._loan.rate.dtype).type(put):
            what = "what sets the rate, train_step or a callback"
            advice = f"leave out {what} (besides the test: {self._named_others()})"
            raise ValueError(problem(f"step {self._steps} must be made at the test's rate {put:.3g}", used, advice))

    def _note(self, metrics: Mapping[str, float]) -> None:
        for name in metrics:
            if name not in self._ways:
                self._ways[name] = which_way(name, self._tested, self._better)
        self._recorder.maximize = frozenset(name for name, way in self._ways.items() if way == "max")
        self._recorder.note(metrics)

    def _named_others(self) -> str:
        return ", ".join(self._others) or "none"


def in_order(told: Mapping[str, Any], steps: int) -> bool:
    """Whether the order of the batches that `fit` is to make may show in a sweep of `steps`.

    An iterator gives them once only, and so few that their order repeats all the time are averaged out.
    """
    x = told.get("x")
    if isinstance(x, Iterator):
        return False
    arrays = keras.tree.flatten(x)
    if hasattr(arrays[0], "shape"):
        batches: int | None = ceil(arrays[0].shape[0] / (told.get("batch_size") or BATCH))
    else:
        try:
            batches = len(cast("Any", x))
        except (TypeError, NotImplementedError):
            batches = None
    if batches is not None and batches <= neighbours(steps):
        return False
    sampler = getattr(getattr(x, "batch_sampler", None), "sampler", None)  # of torch's loaders
    return "Random" not in type(sampler).__name__ if sampler is not None else not told.get("shuffle", True)


def _callbacks_of_keras() -> tuple[type, ...]:
    """Keras's callbacks and their subclasses, except those that only call a function or show progress."""
    kept = ("Callback", "CallbackList", "LambdaCallback", "ProgbarLogger")
    found = [value for name, value in vars(keras.callbacks).items() if isinstance(value, type) and name not in kept]
    return tuple(value for value in found if issubclass(value, keras.callbacks.Callback))


#: They stop the training, set its rate or its weights, or write files: they would spoil the test or saved files.
LEFT_OUT = _callbacks_of_keras()


def _listed(callbacks: Any) -> Any:
    """The callbacks of a `CallbackList`, which Keras takes too."""
    return callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
