"""A range test by the Trainer's own steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from accelerate.state import GradientState
from transformers import Trainer

import cyclr.torch
from cyclr._check import problem
from cyclr._range import Curve, HeldOut, Ramp, StepProgress
from cyclr._range.ramp import RAMP_0_1
from cyclr._renamed import renamed
from cyclr.torch._batches import checked_loss, start_pass
from cyclr.torch._reference import Evaluates, examples_of
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._training import recorder_of


@renamed(RAMP_0_1)
def range_test(
    trainer: Trainer,
    *,
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    held_out: HeldOut | None = None,
    progress: StepProgress | None = None,
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
        budget: Steps of the training that the test prepares: it then costs at most 15 % of them, as there.
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
    check_trainer(trainer)
    how = {"ramp": ramp, "repeats": repeats, "held_out": held_out, "progress": progress}
    how["budget"] = budget
    recorder_of(effort=effort, loss_fn=None, **how)  # errors before any work
    return run(trainer, {**how, "effort": effort})


def run(trainer: Any, how: dict[str, Any], begin: Callable[[Any], object] = bool) -> Curve:
    """A range test. `begin` is called with the optimizer before it."""
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ValueError("the model must not be sharded by DeepSpeed or FSDP; test it on one process, or under DDP")
    accelerator = trainer.accelerator
    also = [trainer, trainer.model, trainer.state, trainer.control, trainer.callback_handler, accelerator]
    with preserved([], trainer.optimizer, scheduler=trainer.lr_scheduler, also=[*also, GradientState()]):
        loader = trainer.get_train_dataloader()
        optimizer = trainer.create_optimizer()
        begin(optimizer)
        model = trainer._wrap_model(trainer.model_wrapped)
        if model is trainer.model:
            model, optimizer = accelerator.prepare(model, optimizer)
        else:  # DataParallel
            optimizer = accelerator.prepare(optimizer)
        trainer.optimizer, trainer.model_wrapped, trainer.is_in_train = optimizer, model, True
        feed, step = _Feed(trainer, loader), _Step(trainer, model)
        return cyclr.torch.range_test(model, optimizer, feed, update=step, **how)


def check_trainer(trainer: Any) -> Any:
    """The same trainer, without its declared types: much of it is None until the training begins."""
    if not isinstance(trainer, Trainer):
        raise TypeError(problem("trainer must be a transformers.Trainer", trainer, "pass the trainer itself"))
    return trainer


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of one update, and how many targets they hold together. No tuple: the Trainer moves them, not we."""

    batches: list[Any]
    targets: Any

    @property
    def examples(self) -> int:
        """Examples of the update, or labels where each has several."""
        return sum(map(examples_of, self.batches))


class _Feed:
    """The Trainer's batches, those of one update at a time."""

    def __init__(self, trainer: Any, loader: Any) -> None:
        self.loader, self._passes = loader, 0
        # No attribute holds the trainer: what a loader holds is put back to the place where the test found it.
        args = trainer.args
        self._get, self._how = trainer.get_batch_samples, (args.gradient_accumulation_steps, args.device)

    @property
    def loaders(self) -> list[Any]:
        """Where the batches come from."""
        return [self.loader]

    def __iter__(self) -> Iterator[_Batches]:
        if callable(tell := getattr(self.loader, "set_epoch", None)):
            tell(self._passes)
        batches = start_pass(self.loader, self._passes)
        self._passes += 1
        while (found := self._get(batches, *self._how))[0]:
            yield _Batches(*found)


class _Step(Evaluates):
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

    def evaluated(self, update: _Batches, /) -> Any:
        """The loss of an update's batches, without the update."""
        losses = []
        for batch in update.batches:
            inputs = self.trainer._prepare_inputs(batch)
            with self.trainer.compute_loss_context_manager():
                losses.append(self.trainer.compute_loss(self.model, inputs, num_items_in_batch=update.targets).mean())
        return checked_loss(sum(losses[1:], losses[0]))
