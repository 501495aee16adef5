"""One optimizer step, as Lightning makes it, and the batches for it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer import call

from cyclr._check import problem
from cyclr.torch._batches import checked_loss
from cyclr.torch._reference import Evaluates, examples_of

Group: TypeAlias = list[tuple[Any, int]]


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one step, each with its index in the epoch. No tuple, so that Lightning moves it, not we.

    Args:
        group: The batches.
        epoch: The pass over the data that they are of.
        more: The epoch and batches of the steps that follow, for the case that these are skipped.
    """

    group: Group
    epoch: int
    more: Iterator[tuple[int, Group]]

    @property
    def examples(self) -> int:
        """Examples of the step, or labels where each has several."""
        return sum(examples_of(batch) for batch, _ in self.group)


class Feed:
    """The training data as Lightning has prepared it, one step's batches at a time, started again without end."""

    def __init__(self, combined: Any, accumulate: int, epoch: int) -> None:
        self.combined = copy.copy(combined)  # with an iterator of its own: the training's has begun
        self.accumulate, self.epoch = accumulate, epoch

    @property
    def loaders(self) -> list[Any]:
        """Where the batches come from."""
        return list(self.combined.flattened)

    def __iter__(self) -> Iterator[Batches]:
        groups = self._endless()
        for epoch, group in groups:
            yield Batches(group, epoch, groups)

    def _endless(self) -> Iterator[tuple[int, Group]]:
        given = True
        while given:
            given, epoch = False, self.epoch
            self.epoch += 1
            for group in self._groups(epoch):
                given = True
                yield epoch, group

    def _groups(self, epoch: int) -> Iterator[Group]:
        for loader in self.combined.flattened:
            for sampler in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
                if callable(tell := getattr(sampler, "set_epoch", None)):
                    tell(epoch)
        group: Group = []
        for batch, index, _ in iter(self.combined):
            group.append((batch, index))
            if len(group) == self.accumulate:
                yield group
                group = []
        if group:  # Lightning steps at the end of an epoch, too
            yield group


class Step(Evaluates):
    """One optimizer step: the body of Lightning's training loop without callbacks."""

    def __init__(self, trainer: Trainer, module: LightningModule, loss: str) -> None:
        self.trainer, self.module, self.loss = trainer, module, loss
        self.loop = trainer.fit_loop.epoch_loop
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)  # restored as part of the step function
        self.can_evaluate = module.automatic_optimization  # with manual optimization, training_step makes the steps

    def __call__(self, batches: Batches) -> Any:
        """Make the step and return its mean loss. Where all its batches are skipped, the next ones make it."""
        epoch, group = batches.epoch, batches.group
        while (loss := self._step(group)) is None:
            epoch, group = next(batches.more)
            if epoch > batches.epoch + 1:
                raise self._no_loss(["None for every batch of an epoch"])
        return loss

    def _step(self, group: Group) -> Any:
        """The mean loss of the batches that are not skipped, None if all are."""
        last = len(group) - 1
        found = [self._batch(batch, index, at == last) for at, (batch, index) in enumerate(group)]
        losses = [loss for loss in found if loss is not None]
        return sum(losses[1:], losses[0]) / len(losses) if losses else None

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
        steps = loop.global_step
        if module.automatic_optimization:
            output = loop.automatic_optimization.run(trainer.optimizers[0], index, kwargs)
            scale = trainer.accumulate_grad_batches  # Lightning hands back the loss divided by it
        else:
            output = loop.manual_optimization.run(kwargs)
            scale = 1
        call._call_lightning_module_hook(trainer, "on_train_batch_end", output, batch, index)
        trainer._logger_connector.on_batch_end()
        # None skips the batch; with manual optimization only if no step was made, whose loss would be unknown.
        if not output and (module.automatic_optimization or loop.global_step == steps):
            return None
        if output.get(self.loss) is None:
            raise self._no_loss(sorted(output))
        return checked_loss(output[self.loss]).detach() * (scale if self.loss == "loss" else 1)

    def evaluated(self, batches: Batches, /) -> Any:
        """The mean loss of a step's batches, without the step; not a number if all are skipped."""
        trainer = self.trainer
        losses: list[Any] = []
        for batch, index in batches.group:
            moved = self.module._on_before_batch_transfer(
                trainer.precision_plugin.convert_input(batch), dataloader_idx=0
            )
            moved = call._call_strategy_hook(trainer, "batch_to_device", moved, dataloader_idx=0)
            trainer._logger_connector.on_batch_start(moved)
            kwargs = self.loop._build_kwargs(OrderedDict(), moved, index)
            output = self.loop.automatic_optimization._training_step(kwargs).asdict()
            trainer._logger_connector.on_batch_end()
            if output.get(self.loss) is not None:
                losses.append(checked_loss(output[self.loss]))
        return sum(losses[1:], losses[0]) / len(losses) if losses else torch.tensor(float("nan"))

    def _no_loss(self, given: list[str]) -> ValueError:
        advice = "return the loss, or a dict and its name there as loss=..."
        return ValueError(problem(f"training_step must return {self.loss!r}", given, advice))
