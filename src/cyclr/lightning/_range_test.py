"""A range test by the Trainer's own steps, as a function and as a callback."""

from __future__ import annotations

import contextlib
import copy
import functools
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.utilities import _parse_loop_limits
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.exceptions import _TunerExitException

import cyclr.torch
from cyclr._check import problem
from cyclr._interrupt import Restored, Undo
from cyclr._range import Curve, HeldOut, Ramp, Size, StepProgress
from cyclr._range.ramp import RAMP_0_1
from cyclr._renamed import renamed
from cyclr.lightning._step import Feed, Step
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._trainer import Chosen
from cyclr.torch._training import recorder_of

#: Where the classes of those objects live that a training writes to.
_WRITTEN = ("lightning.pytorch.loops", "lightning.pytorch.trainer", "lightning.pytorch.core.optimizer")


@renamed(RAMP_0_1)
def range_test(
    trainer: Trainer,
    module: LightningModule,
    train_dataloaders: Any = None,
    *,
    datamodule: Any = None,
    optimizer: int | None = None,
    loss: str = "loss",
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    held_out: HeldOut | None = None,
    progress: StepProgress | None = None,
) -> Curve:
    """Train by the Trainer's own steps while the learning rate rises, and record the loss at each rate.

    A step is what the Trainer makes of it: precision, accumulation, clipping, `training_step`, manual optimization,
    gradients averaged over the processes. Callbacks and loggers are left out, and nothing is written. Module, trainer,
    data and randomness are restored on success, on an exception and on Ctrl-C: the trainer can go on to `fit` as if
    there had been no test. During the test the module sees the trainer's own limits (`max_epochs`, `max_steps`,
    `estimated_stepping_batches`). A `training_step` that returns None skips its batch, as in a training. Under DDP
    every process calls this and gets the same curve, of the mean loss.

    Args:
        trainer: The Trainer, before or after a `fit`.
        module: The LightningModule.
        train_dataloaders: Training data, as for `Trainer.fit`.
        datamodule: A LightningDataModule instead of `train_dataloaders`.
        optimizer: If there are several, the index of the one whose rates change; by default all, keeping their ratios.
        loss: The key of the loss, if `training_step` returns a dict.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough", as in `cyclr.torch.range_test`.
        budget: Steps of the training that the test prepares: it then costs at most 15 % of them, as there.
        held_out: Held-out batches with metrics, as in `cyclr.torch.range_test`; functions of (outputs, targets) or
            (module, batch).
        progress: Called after each block of steps with (steps done, total steps, rate, loss).

    Returns:
        The curve: rates (the largest of all groups) and losses, one row per repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, `training_step` returns no loss, or the strategy starts processes that
            cannot hand back a curve.

    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    >>> trainer = Trainer(max_epochs=1, accelerator="cpu", **quiet)
    >>> range_test(trainer, BoringModel(), ramp=Ramp(steps=20)).losses.shape
    (1, 20)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    check_parts(trainer, module)
    how = {"ramp": ramp, "repeats": repeats, "effort": effort, "held_out": held_out, "progress": progress}
    return run(
        Only(optimizer=optimizer, loss=loss, budget=budget, **how), trainer, module, train_dataloaders, datamodule
    )


class RangeTest(Callback):
    """A range test at the start of `Trainer.fit`; the training then continues as if there had been no test.

    Args:
        optimizer: As in `range_test`, like all that follows.
        loss: The key of the loss, if `training_step` returns a dict.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough".
        budget: Steps of the training that the test prepares.
        held_out: Held-out batches with metrics.
        progress: Called after each block of steps.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.

    Attributes:
        curve: The recorded curve; None before the test, and if a training was resumed from a checkpoint.
    """

    @renamed(RAMP_0_1)
    def __init__(
        self,
        *,
        optimizer: int | None = None,
        loss: str = "loss",
        ramp: Ramp = Ramp(),
        repeats: int = 1,
        effort: str = "quick",
        budget: int | None = None,
        held_out: HeldOut | None = None,
        progress: StepProgress | None = None,
    ) -> None:
        how = {"repeats": repeats, "effort": effort, "budget": budget, "progress": progress}
        recorder_of(ramp, held_out, None, **how)  # errors before any work
        self.optimizer, self.loss = optimizer, loss
        self.curve: Curve | None = None
        self._how = {"ramp": ramp, "held_out": held_out, **how}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the test, unless steps have been made already."""
        if trainer.global_step == 0:
            _check_strategy(trainer)
            self.curve = _test(trainer, pl_module, self.optimizer, self.loss, self._how)


class Only(RangeTest):
    """Makes the test and ends the training there."""

    error: BaseException | None = None
    #: Called with the trainer before the test, for what is known only now; says the size of the test.
    size_in: Callable[[Trainer], Size] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning answers an exception with "failed" in every logger and Ctrl-C with the end of the process. So it
        # hears of neither; but the other processes wait for this one, and must be told in Lightning's own way.
        try:
            if self.size_in is not None:
                self._how |= self.size_in(trainer)._asdict()
            self.curve = _test(trainer, pl_module, self.optimizer, self.loss, self._how)
        except BaseException as error:
            if trainer.world_size > 1:
                raise
            self.error = error
        raise _TunerExitException


def check_parts(trainer: Trainer, module: LightningModule) -> None:
    """A Trainer that a test can use, and a LightningModule."""
    if not isinstance(trainer, Trainer):
        raise TypeError(problem("trainer must be a lightning.pytorch.Trainer", trainer, "pass the trainer itself"))
    if not isinstance(module, LightningModule):
        raise TypeError(problem("module must be a LightningModule", module, "pass the module itself"))
    _check_strategy(trainer)


def run(test: Only, trainer: Trainer, module: LightningModule, train_dataloaders: Any, datamodule: Any) -> Curve:
    """Begin a training that ends with the test, and restore everything."""
    data = [one for one in (train_dataloaders, datamodule) if one is not None]
    with _Handlers(), preserved(module, loader=data, also=_parts(trainer)), _no_exit():
        _set_endless(trainer)
        _mute(trainer, test)
        trainer.fit(module, train_dataloaders, datamodule=datamodule)
        if test.error is not None:
            raise test.error
    if test.curve is None:
        raise ValueError("there must be training batches: the training ended before its first step")
    return test.curve


def _is_empty(loop: Any) -> bool:
    return loop.max_batches == 0


def _set_endless(trainer: Any) -> None:
    """Let `fit` begin even where the training is over, and without validation, whatever the trainer's limits say.

    The limits themselves stay: the module may ask for them. What is changed here is restored with the trainer.
    """
    loop = copy.copy(trainer.fit_loop)
    kind = type(loop)
    names = {"done": property(_is_empty), "__module__": kind.__module__}
    loop.__class__ = type(kind.__name__, (kind,), names)
    with warnings.catch_warnings(action="ignore"):  # `fit` fills limits in that were not given; it will say so itself
        loop.min_epochs, loop.max_epochs = _parse_loop_limits(
            loop.min_steps, loop.max_steps, loop.min_epochs, loop.max_epochs, trainer
        )
    trainer.fit_loop, trainer._run_sanity_check = loop, lambda: None


def _test(trainer: Trainer, module: LightningModule, which: int | None, loss: str, how: dict[str, Any]) -> Curve:
    """A range test inside a running training."""
    optimizers = trainer.optimizers
    if which is not None and not (isinstance(which, int) and 0 <= which < len(optimizers)):
        raise ValueError(problem(f"optimizer must be None or an index below {len(optimizers)}", which))
    step = Step(trainer, module, loss)
    network: Any = trainer.strategy.model  # under DDP its wrapper, from which the test knows the other processes
    with preserved([], also=_parts(trainer)):
        _mute(trainer)
        return cyclr.torch.range_test(
            network,
            Chosen(optimizers, which),
            Feed(trainer.fit_loop._combined_loader, trainer.accumulate_grad_batches, trainer.current_epoch),
            update=step,
            restore=cyclr.torch.Restore([config.scheduler for config in trainer.lr_scheduler_configs]),
            **how,
        )


def _mute(trainer: Any, *callbacks: Callback) -> None:
    """Only these callbacks, no writing logger, no profiler."""
    trainer.callbacks, trainer.profiler = list(callbacks), PassThroughProfiler()
    trainer.loggers = [DummyLogger() for _ in trainer.loggers]


def _parts(trainer: Trainer) -> list[Any]:
    """The trainer and what a training writes to: loops, progress, connectors, results, the strategy itself."""
    found: dict[int, Any] = {}
    todo: list[Any] = [trainer]
    while todo:
        part = todo.pop()
        if isinstance(part, (list, tuple)):
            todo.extend(part)
        elif id(part) not in found and (type(part).__module__.startswith(_WRITTEN) or part is trainer.strategy):
            found[id(part)] = part  # of the strategy itself only: its launcher keeps the processes that it has started
            todo.extend(vars(part).values() if hasattr(part, "__dict__") else [])
    return [part for part in found.values() if hasattr(part, "__dict__")]


def _check_strategy(trainer: Trainer) -> None:
    """Refuse strategies that run the training in other processes, or make steps in their own way."""
    name = type(trainer.strategy).__name__
    if getattr(trainer.strategy.launcher, "_start_method", None) is not None:
        advice = "use strategy='ddp' or start the script with torchrun"
        raise ValueError(problem("the strategy must not run the training in processes that end with it", name, advice))
    if trainer.strategy.handles_gradient_accumulation:
        raise ValueError(problem("the strategy must leave accumulation to Lightning", name, "use DDP for the test"))


class _Handlers(Restored):
    """The handlers of signals, put back: Lightning sets others, ignores Ctrl-C after the first, and may not get to the
    end of its own clean-up.
    """

    _before: dict[int, Any]

    def _remember(self) -> None:
        self._before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def _undo(self) -> list[Undo]:
        if threading.current_thread() is not threading.main_thread():
            return []
        changed = [number for number, handler in self._before.items() if signal.getsignal(number) is not handler]
        # torch's for dying workers stays, as after any use of a loader.
        changed = [
            number
            for number in changed
            if number != getattr(signal, "SIGCHLD", None) and self._before[number] is not None
        ]
        return [functools.partial(signal.signal, number, self._before[number]) for number in changed]


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Ctrl-C outside the ramp stays an exception: Lightning would leave the process."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
