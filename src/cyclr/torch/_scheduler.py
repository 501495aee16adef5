"""Drives an optimizer by a schedule, as a learning-rate scheduler that works with every trainer."""

from __future__ import annotations

import logging
import numbers
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cyclr._check import choice, count, problem
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve
from cyclr._schedules import Schedule, parse
from cyclr.torch._added import watch
from cyclr.torch._driver import Changed, Driver
from cyclr.torch._groups import Given, Group, copied, initial, plain, resolve, unshare
from cyclr.torch._length import Changes, Length
from cyclr.torch._pace import Pace
from cyclr.torch._parts import one_optimizer
from cyclr.torch._saved import read_state
from cyclr.torch._task import check_optimizer

_log = logging.getLogger("cyclr")
#: The options that a schedule may drive, the learning rate first.
DRIVEN = ("schedule", "momentum", "weight_decay")
MISMATCH = ("error", "keep_saved", "keep_new")


class Scheduler(LRScheduler):
    """Sets the learning rate of every group, and optionally momentum and weight decay, by schedules.

    Call `scheduler.step()` after each `optimizer.step()`. The only state is the number of steps done, so resuming
    means evaluating the schedule there. With a single schedule, groups keep the ratios of the optimizer's initial
    rates: the largest one follows the schedule. A group that is added later keeps its ratio to them, too.

    A rate that is a tensor is filled in place, so that CUDA graphs and compiled steps see it. If
    something else changes a rate by a factor between two steps, such as `ReduceLROnPlateau`, the factor is kept.

    Args:
        optimizer: The optimizer to drive, or a list of several, whose rates keep their ratios.
        schedule: The learning rate at each step: a schedule or a `Plan`; a list with one schedule for each group; or a
            function of the group (the optimizer's dict, with `initial_lr` in it) that returns a schedule.
        momentum: Drives `momentum` or the first of the `betas`, given in the same ways; None leaves them unchanged.
        weight_decay: Drives `weight_decay`, given in the same ways; None leaves it unchanged.
        last_epoch: The last completed step; -1 for a new training. As in torch, `last_epoch=9` continues at step 10.
        same_rate: Whether all groups get the same rate instead of keeping their ratios.
        on_mismatch: What `load_state_dict` does with the state of another schedule: "error"; "keep_saved", continue
            with the saved schedule; or "keep_new", continue at the saved step with this one.

    Raises:
        TypeError: If `optimizer` is not an optimizer, or a schedule is of the wrong type.
        ValueError: If a list does not have one schedule for each group, a group lacks the option to drive, or the
            values of a schedule are out of range. No group is changed then.

    >>> import torch
    >>> from cyclr import Opposed, Triangular
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)
    >>> wave = Triangular(0.1, 0.5, step_size=4)
    >>> scheduler = Scheduler(optimizer, wave, momentum=Opposed(wave, 0.85, 0.95))
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), round(optimizer.param_groups[0]["momentum"], 3)
    ([0.5], 0.85)
    """

    #: The results of `auto`; None otherwise.
    curve: Curve | None = None
    bounds: Bounds | None = None
    #: The plan of the schedule, if one was given.
    plan: Plan | None = None

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer],
        schedule: Given | Plan,
        momentum: Given | None = None,
        weight_decay: Given | None = None,
        last_epoch: int = -1,
        *,
        same_rate: bool = False,
        on_mismatch: str = "error",
    ) -> None:
        driven = one_optimizer(optimizer)
        check_optimizer("optimizer", driven)
        if isinstance(last_epoch, bool) or last_epoch != -1:
            last_epoch = count("last_epoch", last_epoch, "pass -1 to start", least=0)
        self.on_mismatch = choice("on_mismatch", on_mismatch, MISMATCH)
        if isinstance(schedule, Plan):
            self.plan, schedule = schedule, schedule.schedule
        given = dict(zip(DRIVEN, (schedule, momentum, weight_decay), strict=True))
        self.given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None or name == "schedule"
        }
        # Ratios are to the largest rate that the optimizer was made with, for groups that are added later, too.
        self.largest = None if same_rate else max(map(initial, driven.param_groups))
        self.schedules = {name: self._resolved(name, driven.param_groups) for name in self.given}
        unshare(driven, self.schedules)
        for group in driven.param_groups:
            group.setdefault("initial_lr", copied(group["lr"]))  # torch wants it where last_epoch is given
        self._factors = [1.0] * len(driven.param_groups)
        self._changes = Changes()
        self._driver: Driver | None = None
        self._owners: frozenset[int] | None = None  #: identities of the groups at that step; None if not known
        self._length, self._look_at = Length(self.plan, self.schedules["schedule"]), sys.maxsize
        super().__init__(driven, last_epoch)
        watch(driven, self)
        self._length.pace, self._look_at = Pace(driven, self._length.epoch), 0
        #: Completed steps where the training begins in this process: 0 if it is a new one.
        self.begun_at = max(0, self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Set all driven options to their values at the next step. Call it after each `optimizer.step()`.

        Args:
            epoch: A step to jump to; deprecated in torch.

        Raises:
            TypeError: If `epoch` is not an integer: schedules take no metric.

        Warns:
            UserWarning: Once, if the first steps of a `Plan` are steadily not one per optimizer step, or if the
                training goes on after its schedule has ended at a rate near zero.
        """
        driver = self._driver
        if epoch is None and self._step_count > 1 and driver is not None:
            groups = self.optimizer.param_groups
            self._step_count += 1
            self.last_epoch = step = self.last_epoch + 1
            if driver.groups is not groups or driver.size != len(groups):
                self._drive(pick_up=True)
            elif changed := driver.write(step):
                self._mend(changed, pick_up=True)
            if step >= self._look_at:
                self._look_at = self._length.look(step)
        elif epoch is None:  # torch's own has checks for the first two steps
            super().step()
            self._look_at = self._length.look(self.last_epoch)
        elif isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral):
            advice = "call step() without arguments: a schedule takes no metric and no fraction of an epoch"
            raise TypeError(problem("the argument of step() must be an integer number of steps", epoch, advice))
        else:
            super().step(int(epoch))

    def get_lr(self) -> list[Any]:
        """The rate of each group at the current step, as numbers."""
        self._take_in()
        step = max(self.last_epoch, 0)  # SequentialLR rewinds a scheduler before it starts it
        rates = zip(self.schedules["schedule"], self._factors, strict=True)
        return [factor * schedule(step) for schedule, factor in rates]

    def get_last_lr(self) -> list[Any]:
        """The rates that were set last; as tensors, which are copies, where the groups have tensors."""
        rates = (self._driver or self._renewed(self.optimizer.param_groups, self.last_epoch)).rates
        pairs = zip(self.optimizer.param_groups, rates, strict=False)
        return [
            torch.full_like(group["lr"], rate) if isinstance(group["lr"], torch.Tensor) else rate
            for group, rate in pairs
        ]

    @property
    def _last_lr(self) -> list[Any]:  # type: ignore[override]
        """Read by trainers that know torch's schedulers."""
        return self.get_last_lr()

    def check(self, loader: Any, *, epochs: int, accumulate: int = 1) -> str:
        """Compare, before a training, the length of the schedule with that of the training.

        Args:
            loader: The training's loader, or the number of its batches.
            epochs: Passes over it.
            accumulate: Batches per optimizer step; an incomplete group at the end of a pass makes a step, too.

        Returns:
            One sentence with the numbers.

        Raises:
            TypeError: If the loader has no length.

        Warns:
            UserWarning: If the schedule would end more than an epoch too early or too late.

        >>> import torch
        >>> from cyclr import Linear
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
        >>> Scheduler(optimizer, Linear(0.1, 0, steps=100)).check(25, epochs=4)
        '100 steps (4 epochs of 25); the schedule takes 100 and ends at a rate of 0.'
        """
        return self._length.check_training(loader, epochs=epochs, accumulate=accumulate)

    def state_dict(self) -> dict[str, Any]:
        """The step and the text of every schedule, as plain data for `torch.load(weights_only=True)`.

        Returns:
            `last_epoch`; for each driven option one text, or a list with one text for each group; and `factors`, if
            something else has changed rates.
        """
        changed = {"factors": list(self._factors)} if any(factor != 1 for factor in self._factors) else {}
        return {"last_epoch": self.last_epoch, **self._texts(), **changed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the step of `state_dict`; the rates are set at once. The dict is not changed.

        Args:
            state_dict: From `state_dict()`, of this process or another. With `on_mismatch="keep_new"`, also the state
                of any scheduler of torch that counts its steps as `last_epoch`.

        Raises:
            TypeError: If a value in `state_dict` is of the wrong kind.
            ValueError: If it is not the state of a `Scheduler`, or it is that of other schedules and `on_mismatch` is
                "error"; nothing is changed then.
        """
        keep = self.on_mismatch
        step, factors = read_state(state_dict, len(self.optimizer.param_groups), others=keep == "keep_new")
        self._take_in()
        for name in DRIVEN:
            saved = state_dict.get(name)
            if keep == "keep_new" or self._same(name, saved):
                continue
            if keep == "error":
                again = "" if self.curve is None else "; after auto, pass auto(..., resume=state)"
                raise ValueError(
                    f"the saved {name} must be the current one, got {saved} saved and {self._texts().get(name)} now; "
                    f"to continue at the saved step, {step}, pass Scheduler(..., on_mismatch='keep_saved') for "
                    f"the saved schedule, or 'keep_new' for the present one{again}"
                )
            self._adopt(name, saved)
        self._driver = None
        self._factors = factors
        self.last_epoch, self._step_count = step, step + 1
        self.begun_at = max(0, step)
        if step >= 0:  # else a part of a SequentialLR that has not begun; it sets no rate
            self._drive()
        self._length, self._look_at = Length(self.plan, self.schedules["schedule"], self._length.pace), 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_driver": None, "_owners": None}  # what is made anew for the groups of a copy

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copied optimizer has lost the hooks that torch and this scheduler had added.
        self._step_count = max(self._step_count, 2)
        self.begun_at = max(0, self.last_epoch)
        watch(self.optimizer, self)

    def _resolved(self, name: str, groups: Iterable[Group]) -> list[Schedule]:
        return resolve(name, self.given[name], list(groups), self.largest if name == "schedule" else None)

    def _texts(self) -> dict[str, Any]:
        """The schedules of each driven option as text: one for all groups, or a list."""
        return {
            name: repr(value) if isinstance(value, Schedule) else [repr(schedule) for schedule in self.schedules[name]]
            for name, value in self.given.items()
        }

    def _same(self, name: str, saved: Any) -> bool:
        """Whether the saved text or texts match the current schedules."""
        if isinstance(saved, (list, tuple)) and name in self.given:
            return list(saved) == [repr(schedule) for schedule in self.schedules[name]]
        return saved == self._texts().get(name)

    def _adopt(self, name: str, saved: Any) -> None:
        """Use the saved schedules from now on."""
        if saved is None:
            del self.given[name], self.schedules[name]
            return
        read = parse(saved) if isinstance(saved, str) else tuple(parse(text) for text in saved)
        before = self.given.get(name)
        self.given[name] = read
        try:
            self.schedules[name] = self._resolved(name, self.optimizer.param_groups)
        except (TypeError, ValueError):
            self.given[name] = before
            raise
        if name == "schedule":
            self.plan = None

    def _update_lr(self, epoch: int | None = None) -> None:
        """Go to the next step, or to `epoch`, and set the driven options; called by torch, too."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        # SequentialLR starts its parts from the rates of others
        self._drive(pick_up=epoch is None and not self._is_initial)

    def _drive(self, *, pick_up: bool = False) -> None:
        """Set the driven options to their values at the current step.

        Args:
            pick_up: Whether to keep the factors by which something else has changed rates since they were set.
        """
        groups, driver = self.optimizer.param_groups, self._driver
        if driver is None or driver.groups is not groups or driver.size != len(groups):
            driver = self._renewed(groups, self.last_epoch - 1 if pick_up else self.last_epoch)
        if changed := driver.write(max(0, self.last_epoch)):  # SequentialLR begins below 0
            self._mend(changed, pick_up=pick_up)
        else:
            self._owners = driver.owners

    def _mend(self, changed: list[Changed], *, pick_up: bool) -> None:
        """Write again, after rates were found that something else had set."""
        if pick_up:
            self._pick_up(changed)
            self._changes.note(self.last_epoch)
        for group, found, _ in changed:
            if isinstance(found, torch.Tensor) and not isinstance(group["lr"], torch.Tensor):
                group["lr"] = found  # the driver took it for a number
        step = max(0, self.last_epoch)
        self._driver = Driver(self.optimizer.param_groups, self.schedules, self._factors, step)
        self._driver.write(step)
        self._owners = self._driver.owners

    def _renewed(self, groups: list[Group], written: int) -> Driver:
        """A driver for the present groups; still the same one if they are the same in another list.

        Args:
            groups: The optimizer's groups.
            written: The step whose rates they have.
        """
        self._take_in()
        known = self._driver
        if known is None or not known.serves(groups):
            self._driver = known = Driver(groups, self.schedules, self._factors, max(0, written))
        return known

    def _pick_up(self, changed: Iterable[Changed]) -> None:
        """Record the factors by which something else has changed rates since they were set."""
        places = {id(group): place for place, group in enumerate(self.optimizer.param_groups)}
        for group, found, expected in changed:
            # Another dict means that a state was loaded into the optimizer, with rates of another step.
            if self._owners is not None and id(group) not in self._owners:
                continue
            rate, before = float(plain(found)), expected
            if isinstance(found, torch.Tensor):
                before = float(torch.tensor(expected, dtype=found.dtype))
            index = places[id(group)]
            if self._factors[index] == 0:  # something else had set the rate to zero, and sets it again
                own = self.schedules["schedule"][index](max(0, self.last_epoch - 1))
                self._factors[index] = rate / own if own > 0 else 0.0
                continue
            if rate == before or before <= 0:
                continue
            if self._factors[index] == 1:
                _log.warning(
                    "the rate of group %d was changed from %.3g to %.3g between two steps; the schedule is multiplied "
                    "by %.3g from now on (set rates through a schedule to avoid this)",
                    index,
                    before,
                    rate,
                    rate / before,
                )
            self._factors[index] *= rate / before

    def _take_in(self) -> None:
        """Give added groups a schedule, all of them or none."""
        new = self.optimizer.param_groups[len(self.schedules["schedule"]) :]
        if not new:
            return
        found = {name: self._for_later(name, new) for name in self.given}
        for name, schedules in found.items():
            self.schedules[name].extend(schedules)
        for group in new:
            self.base_lrs.append(copied(group.setdefault("initial_lr", copied(group["lr"]))))
        self._factors.extend([1.0] * len(new))
        unshare(self.optimizer, self.schedules)

    def _for_later(self, name: str, groups: list[Group]) -> list[Schedule]:
        """The schedules of added groups."""
        given = self.given[name]
        if isinstance(given, tuple):
            raise ValueError(
                f"a group was added to the optimizer, but {name} was given as a list of {len(given)}, one for each "
                "group; add groups before the scheduler is made, or give a function of the group"
            )
        return self._resolved(name, groups)

    def _forget(self, first: int) -> None:
        """Remove the groups from `first` on."""
        self._driver = None
        del self.base_lrs[first:], self._factors[first:]
        for schedules in self.schedules.values():
            del schedules[first:]

    def _in_force(self) -> bool:
        """Whether the groups have the rates of this scheduler: in a SequentialLR, another scheduler may be active."""
        last = self.get_last_lr()
        present = (group["lr"] for group in self.optimizer.param_groups[: len(last)])
        return list(map(plain, present)) == list(map(plain, last))
