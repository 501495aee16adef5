"""Hugging Face's Trainer: a range test by the Trainer's own steps, and a schedule from its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cyclr.torch
from cyclr._check import problem
from cyclr._range import Curve, HeldOut, Progress, Ramp
from cyclr._range.ramp import RAMP_0_1
from cyclr._renamed import renamed
from cyclr._schedules import parse
from cyclr.torch._batches import checked_loss, start_pass
from cyclr.torch._groups import Given
from cyclr.torch._range_test import recorder_of
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._scheduler import Scheduler

try:
    from accelerate.state import GradientState
    from transformers import Trainer
except ModuleNotFoundError as error:
    if error.name not in ("accelerate", "transformers"):
        raise
    what = f"cyclr.transformers needs {error.name}, which is not installed; run: pip install 'cyclr[transformers]'"
    raise ImportError(what) from error


@renamed(RAMP_0_1)
def range_test(
    trainer: Trainer,
    *,
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    held_out: HeldOut | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train by the Trainer's own steps while the learning rate rises, and record the loss at each rate.

    A step is what `Trainer.train` makes of it: its `training_step` and `compute_loss`, even those of a subclass, its
    batches, accumulation, precision, clipping, gradients averaged over the processes. Callbacks are left out, nothing
    is logged or written. Model, trainer and randomness are restored on success, on an exception and on Ctrl-C. If
    there are several processes, each of them calls this and gets the same curve, of the mean loss.

    Args:
        trainer: The Trainer, before or after a `train`.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough", as in `cyclr.torch.range_test`.
        held_out: Held-out batches with metrics, as in `cyclr.torch.range_test`; functions of (model, batch) if a
            batch is a dict.
        progress: Called after each block of steps with (steps done, total steps, rate, loss).

    Returns:
        The curve: rates (the largest of all groups) and losses, one row per repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the model is trained by DeepSpeed or FSDP.

    >>> import tempfile, torch, transformers
    >>> class Slope(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return {"loss": (super().forward(x) - x.sum(1, keepdim=True)).square().mean()}
    >>> data = [{"x": torch.randn(3)} for _ in range(32)]
    >>> quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = transformers.TrainingArguments(folder, **quiet)
    ...     curve = range_test(Trainer(Slope(3, 1), arguments, train_dataset=data), ramp=Ramp(steps=20))
    >>> curve.losses.shape
    (1, 20)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    owner = _check_trainer(trainer)
    how = {"repeats": repeats, "effort": effort, "progress": progress}
    recorder_of(ramp, held_out, None, **how)  # errors before any work
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ValueError("the model must not be sharded by DeepSpeed or FSDP; test it on one process, or under DDP")
    accelerator = trainer.accelerator
    also = [trainer, trainer.model, trainer.state, trainer.control, trainer.callback_handler, accelerator]
    with preserved([], trainer.optimizer, scheduler=trainer.lr_scheduler, also=[*also, GradientState()]):
        loader = trainer.get_train_dataloader()
        optimizer = owner.create_optimizer()
        model = owner._wrap_model(owner.model_wrapped)
        if model is owner.model:
            model, optimizer = accelerator.prepare(model, optimizer)
        else:  # DataParallel
            optimizer = accelerator.prepare(optimizer)
        owner.optimizer, owner.model_wrapped, owner.is_in_train = optimizer, model, True
        feed, step = _Feed(owner, loader), _Step(owner, model)
        return cyclr.torch.range_test(model, optimizer, feed, update=step, ramp=ramp, held_out=held_out, **how)


def use_schedule(
    trainer: Trainer,
    schedule: Given | str | None = None,
    momentum: Given | str | None = None,
    weight_decay: Given | str | None = None,
) -> None:
    """Drive the next training by schedules. Groups keep the ratios of their rates.

    A text may use two names: `epoch`, the number of steps in an epoch, and `steps`, that of the whole training. By
    default the texts are taken from the training arguments, so that they can be set in a file or on a command line:

        TrainingArguments(..., lr_scheduler_kwargs={"schedule": "Triangular2(1e-5, 1e-4, step_size=2*epoch)"})

    Checkpoints contain the step and the text; training resumes at that step, and another schedule is an error.

    Args:
        trainer: The Trainer, before `train`. It must not have its own scheduler (`optimizers=`).
        schedule: The learning rate: a schedule, its text, or one for each group as in `cyclr.torch.Scheduler`.
        momentum: Schedule of the momentum or the first beta.
        weight_decay: Schedule of the weight decay.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If no schedule is given, a text is not a schedule, or the trainer has a scheduler.
    """
    owner = _check_trainer(trainer)
    given: dict[str, Any] = {"schedule": schedule, "momentum": momentum, "weight_decay": weight_decay}
    written = owner.args.lr_scheduler_kwargs or {}
    given = {name: written.get(name) if value is None else value for name, value in given.items()}
    if given["schedule"] is None:
        advice = "pass one, or set TrainingArguments(lr_scheduler_kwargs={'schedule': 'Triangular(...)'})"
        raise ValueError(problem("a schedule must be given", None, advice))
    if trainer.lr_scheduler is not None and not trainer._created_lr_scheduler:
        advice = "pass Trainer(optimizers=(optimizer, None))"
        raise ValueError(problem("the trainer must not have a scheduler already", trainer.lr_scheduler, advice))
    for value in given.values():
        _read(value, owner)  # an error now, not when training begins

    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        """Takes the place of `Trainer.create_scheduler`."""
        if owner.lr_scheduler is None:
            drives = owner.optimizer if optimizer is None else optimizer
            read = {name: _read(value, owner) for name, value in given.items()}
            owner.lr_scheduler = Scheduler(drives, **read)
            owner._created_lr_scheduler = True
        return owner.lr_scheduler

    owner.create_scheduler = create_scheduler


def _read(value: Any, trainer: Trainer) -> Any:
    """A text as a schedule; anything else unchanged."""
    if not isinstance(value, str):
        return value
    with preserved([], also=[trainer.accelerator]):  # which keeps the loaders that it is shown
        numbers = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    return parse(value, epoch=numbers[1], steps=numbers[-1])


def _check_trainer(trainer: Any) -> Any:
    """The same trainer, without its declared types: much of it is None until the training begins."""
    if not isinstance(trainer, Trainer):
        raise TypeError(problem("trainer must be a transformers.Trainer", trainer, "pass the trainer itself"))
    return trainer


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of one update, and how many targets they hold together. No tuple: the Trainer moves them, not we."""

    batches: list[Any]
    targets: Any


class _Feed:
    """The Trainer's batches, those of one update at a time."""

    def __init__(self, trainer: Any, loader: Any) -> None:
        self.loader, self._passes = loader, 0
        # No attribute holds the trainer: what a loader holds is put back to the place where the test found it.
        args = trainer.args
        self._get, self._how = trainer.get_batch_samples, (args.gradient_accumulation_steps, args.device)

    def __iter__(self) -> Iterator[_Batches]:
        if callable(tell := getattr(self.loader, "set_epoch", None)):
            tell(self._passes)
        batches = start_pass(self.loader, self._passes)
        self._passes += 1
        while (found := self._get(batches, *self._how))[0]:
            yield _Batches(*found)


class _Step:
    """One update, as the Trainer makes it: the body of its training loop without callbacks."""

    def __init__(self, trainer: Any, model: Any) -> None:
        self.trainer, self.model = trainer, model
        self.scaler = trainer.accelerator.scaler  # found, and so restored, as part of the step function

    def __call__(self, update: _Batches) -> Any:
        """Make the update and return its loss."""
        trainer, accelerator = self.trainer, self.trainer.accelerator
        trainer.current_gradient_accumulation_steps = len(update.batches)
        total: Any = 0.0
        for number, batch in enumerate(update.batches, 1):
            last = number == len(update.batches)
            accelerator.gradient_state._set_sync_gradients(last)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                total = total + checked_loss(trainer.training_step(self.model, batch, update.targets))
        if trainer.args.max_grad_norm > 0:
            trainer._clip_grad_norm(self.model)
        trainer.optimizer.step()
        self.model.zero_grad()
        return total
