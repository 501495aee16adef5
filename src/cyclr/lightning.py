"""Lightning: a range test by the Trainer's own steps. A schedule needs no adapter.

`configure_optimizers` returns a `cyclr.torch.Scheduler` with `"interval": "step"`, and the Trainer drives it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import signal
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cyclr.torch
from cyclr._check import problem
from cyclr._interrupt import Restored, Undo
from cyclr._range import Curve, HeldOut, Progress, Ramp
from cyclr._range.ramp import RAMP_0_1
from cyclr._renamed import renamed
from cyclr.torch._batches import checked_loss
from cyclr.torch._range_test import recorder_of
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._trainer import Chosen

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers.logger import DummyLogger
    from lightning.pytorch.profilers import PassThroughProfiler
    from lightning.pytorch.trainer import call
    from lightning.pytorch.utilities.exceptions import _TunerExitException
except ModuleNotFoundError as error:
    if error.name not in ("lightning", "lightning.pytorch"):
        raise
    what = "cyclr.lightning needs Lightning, which is not installed; run: pip install 'cyclr[lightning]'"
    raise ImportError(what) from error

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
    held_out: HeldOut | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train by the Trainer's own steps while the learning rate rises, and record the loss at each rate.

    A step is what the Trainer makes of it: precision, accumulation, clipping, `training_step`, manual optimization,
    gradients averaged over the processes. Callbacks and loggers are left out, and nothing is written. Module, trainer,
    data and randomness are restored on success, on an exception and on Ctrl-C: the trainer can go on to `fit` as if
    there had been no test. Under DDP every process calls this and gets the same curve, of the mean loss.

    Args:
        trainer: The Trainer, before or after a `fit`.
        module: The LightningModule.
        train_dataloaders: Training data, as for `Trainer.fit`.
        datamodule: A LightningDataModule in place of `train_dataloaders`.
        optimizer: Where there are several, the index of the one whose rates move; by default all, keeping their ratios.
        loss: The key of the loss, where `training_step` returns a dict.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough", as in `cyclr.torch.range_test`.
        held_out: Held-out batches with metrics, as in `cyclr.torch.range_test`; functions of (outputs, targets) or
            (module, batch).
        progress: Called after each block of steps with (steps done, steps in all, rate, loss).

    Returns:
        The curve: rates (the largest of all groups) and losses, one row a repeat.

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
    if not isinstance(trainer, Trainer):
        raise TypeError(problem("trainer must be a lightning.pytorch.Trainer", trainer, "pass the trainer itself"))
    if not isinstance(module, LightningModule):
        raise TypeError(problem("module must be a LightningModule", module, "pass the module itself"))
    _check_strategy(trainer)
    how = {"ramp": ramp, "repeats": repeats, "effort": effort, "held_out": held_out, "progress": progress}
    test = _Only(optimizer=optimizer, loss=loss, **how)
    data = [one for one in (train_dataloaders, datamodule) if one is not None]
    with _Handlers(), preserved(module, loader=data, also=_parts(trainer)), _no_exit():
        _mute(trainer, test)
        trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps = -1, -1  # also after a finished training
        trainer.num_sanity_val_steps, trainer.limit_val_batches = 0, 0
        trainer.fit(module, train_dataloaders, datamodule=datamodule)
        if test.error is not None:
            raise test.error
    if test.curve is None:
        raise ValueError("there must be training batches: the training ended before its first step")
    return test.curve


class RangeTest(Callback):
    """A range test at the start of `Trainer.fit`; the training then goes on as if there had been no test.

    Args:
        optimizer: As in `range_test`, like all that follows.
        loss: The key of the loss, where `training_step` returns a dict.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough".
        held_out: Held-out batches with metrics.
        progress: Called after each block of steps.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.

    Attributes:
        curve: What was recorded; None before, and where a training was resumed from a checkpoint.
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
        held_out: HeldOut | None = None,
        progress: Progress | None = None,
    ) -> None:
        recorder_of(ramp, held_out, None, repeats=repeats, effort=effort, progress=progress)  # errors before any work
        self.optimizer, self.loss = optimizer, loss
        self.curve: Curve | None = None
        self._how = {"ramp": ramp, "repeats": repeats, "effort": effort, "held_out": held_out, "progress": progress}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the test, unless steps have been made already."""
        if trainer.global_step == 0:
            _check_strategy(trainer)
            self.curve = _test(trainer, pl_module, self.optimizer, self.loss, self._how)


class _Only(RangeTest):
    """Makes the test and ends the training there."""

    error: BaseException | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning answers an exception with "failed" in every logger and Ctrl-C with the end of the process. So it
        # hears of neither; but the other processes wait for this one, and must be told in Lightning's own way.
        try:
            self.curve = _test(trainer, pl_module, self.optimizer, self.loss, self._how)
        except BaseException as error:
            if trainer.world_size > 1:
                raise
            self.error = error
        raise _TunerExitException


def _test(trainer: Trainer, module: LightningModule, which: int | None, loss: str, how: dict[str, Any]) -> Curve:
    """A range test inside a training that has begun."""
    optimizers = trainer.optimizers
    if which is not None and not (isinstance(which, int) and 0 <= which < len(optimizers)):
        raise ValueError(problem(f"optimizer must be None or an index below {len(optimizers)}", which))
    step = _Step(trainer, module, loss)
    network: Any = trainer.strategy.model  # under DDP its wrapper, from which the test knows the other processes
    with preserved([], also=_parts(trainer)):
        _mute(trainer)
        return cyclr.torch.range_test(
            network,
            Chosen(optimizers, which),
            _Feed(trainer.fit_loop._combined_loader, trainer.accumulate_grad_batches, trainer.current_epoch),
            update=step,
            scheduler=[config.scheduler for config in trainer.lr_scheduler_configs],
            **how,
        )


def _mute(trainer: Any, *callbacks: Callback) -> None:
    """No callbacks but these, no logger that writes, no profile."""
    trainer.callbacks, trainer.profiler = list(callbacks), PassThroughProfiler()
    trainer.loggers = [DummyLogger() for _ in trainer.loggers]


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of one update, each with its index in the epoch. No tuple, so that Lightning moves it, not we."""

    batches: list[tuple[Any, int]]


class _Feed:
    """The training data as Lightning has prepared it, one update's batches at a time."""

    def __init__(self, combined: Any, accumulate: int, epoch: int) -> None:
        self.combined = copy.copy(combined)  # with an iterator of its own: the training's has begun
        self.accumulate, self.epoch = accumulate, epoch

    def __iter__(self) -> Iterator[_Batches]:
        for loader in self.combined.flattened:
            for sampler in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
                if callable(tell := getattr(sampler, "set_epoch", None)):
                    tell(self.epoch)
        self.epoch += 1
        group: list[tuple[Any, int]] = []
        for batch, index, _ in iter(self.combined):
            group.append((batch, index))
            if len(group) == self.accumulate:
                yield _Batches(group)
                group = []
        if group:  # Lightning steps at the end of an epoch, too
            yield _Batches(group)


class _Step:
    """One update, as Lightning makes it: the body of its training loop without callbacks."""

    def __init__(self, trainer: Trainer, module: LightningModule, loss: str) -> None:
        self.trainer, self.module, self.loss = trainer, module, loss
        self.loop = trainer.fit_loop.epoch_loop
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)  # restored as part of the step function

    def __call__(self, update: _Batches) -> Any:
        """Make the update and return its mean loss over the batches."""
        last = len(update.batches) - 1
        losses = [self._batch(batch, index, at == last) for at, (batch, index) in enumerate(update.batches)]
        return sum(losses[1:], losses[0]) / len(losses)

    def _batch(self, batch: Any, index: int, last: bool) -> Any:
        trainer, module, loop = self.trainer, self.module, self.loop
        batch = trainer.precision_plugin.convert_input(batch)
        batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
        batch = call._call_strategy_hook(trainer, "batch_to_device", batch, dataloader_idx=0)
        loop.batch_progress.current.ready, loop.batch_progress.is_last_batch = index + 1, last
        trainer._logger_connector.on_batch_start(batch)
        call._call_lightning_module_hook(trainer, "on_train_batch_start", batch, index)
        call._call_strategy_hook(trainer, "on_train_batch_start", batch, index)
        kwargs = loop._build_kwargs(OrderedDict(), batch, index)
        if module.automatic_optimization:
            output = loop.automatic_optimization.run(trainer.optimizers[0], index, kwargs)
            scale = trainer.accumulate_grad_batches  # Lightning hands back the loss divided by it
        else:
            output = loop.manual_optimization.run(kwargs)
            scale = 1
        call._call_lightning_module_hook(trainer, "on_train_batch_end", output, batch, index)
        trainer._logger_connector.on_batch_end()
        if output.get(self.loss) is None:
            advice = "return the loss, or a dict and its name there as loss=..."
            raise ValueError(problem(f"training_step must return {self.loss!r}", sorted(output), advice))
        return checked_loss(output[self.loss]).detach() * (scale if self.loss == "loss" else 1)


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
    """Some strategies run the training elsewhere, or step in a way of their own."""
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
