"""Writes the values of schedules into the groups of an optimizer, as fast as code that is written by hand.

For three groups, the last one at a tenth of the others' rate, and momentum, this function is generated:

    def value(step, groups, before, changed):
        v0 = (step) % (4000)
        …
        v21 = (0.1) * (v11)
        b0, b1, = before
        for g in groups[0:2]:
            if g['lr'] is not b0: changed.append((g, g['lr'], b0))
            g['lr'] = v11
            g['momentum'] = v20
        g, = groups[2:3]
        if g['lr'] is not b1: changed.append((g, g['lr'], b1))
        g['lr'] = v21
        g['momentum'] = v20
        return [v11, v21]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch

from cyclr._schedules import Schedule
from cyclr._schedules.compiled import Recorder
from cyclr.torch._groups import Group, copied, key_of, put

#: A rate that something else has changed since it was written: its group, the rate, what was written.
Changed = tuple[Group, Any, float]


class _Rate(NamedTuple):
    """A rate that is a tensor, as it was after it was filled."""

    place: int
    tensor: torch.Tensor
    version: int


class Driver:
    """What the groups of an optimizer get at a step: each distinct schedule is evaluated once, then all are written.

    Equal schedules and multiples of the same schedule (`0.1 * a` and `a`) are evaluated together. Numbers are compared
    with what was written before as they are replaced, so that changes made by something else are noticed. Tensors are
    filled on their devices and are not read.

    Args:
        groups: The optimizer's groups.
        schedules: For each driven option the schedule of each group; "schedule" is the rate.
        factors: The factor of each group's rate.
        written: The step whose values the groups have.
    """

    def __init__(
        self, groups: list[Group], schedules: dict[str, list[Schedule]], factors: Sequence[float], written: int
    ) -> None:
        self.groups, self.size = groups, len(groups)
        self.owners = frozenset(map(id, groups))
        self._tensors: dict[torch.device, list[torch.Tensor]] = {}
        self._marks: list[_Rate] = []
        self._recorder, self._symbols = Recorder(), dict[torch.device, list[float]]()
        values = [self._rate(factor, one) for factor, one in zip(factors, schedules["schedule"], strict=True)]
        symbols = {repr(value): value for value in values}  # each distinct rate once
        index = {name: place for place, name in enumerate(symbols)}
        self._index = [index[repr(value)] for value in values]
        lines = [self._statements(place, value, schedules) for place, value in enumerate(values)]
        statements = list(self._loops(lines))
        if self._symbols:
            statements.append(f"{self._recorder.named(self._fill)}({[*self._symbols.values()]!r}, before, changed)")
        self._write = self._recorder.function(list(symbols.values()), "step, groups, before, changed", statements)
        del self._recorder, self._symbols
        before = {
            place: factor * schedule(written)
            for place, factor, schedule in zip(self._index, factors, schedules["schedule"], strict=True)
        }
        self._before = [before[place] for place in range(len(before))]

    @property
    def rates(self) -> list[float]:
        """The rate of each group at the last step that was written, as a number."""
        return [self._before[place] for place in self._index]

    def write(self, step: int) -> list[Changed]:
        """Set all driven options to their values at `step`.

        Returns:
            The rates that were no longer those of the last call, if any. They are overwritten, too.
        """
        changed: list[Changed] = []
        self._before = self._write(step, self.groups, self._before, changed)
        return changed

    def serves(self, groups: list[Group]) -> bool:
        """Whether these are the same groups in another list; then it is this list that is driven from now on."""
        if len(groups) != self.size or any(one is not other for one, other in zip(groups, self.groups, strict=True)):
            return False
        self.groups = groups
        return True

    def _fill(self, values: list[list[float]], before: Sequence[float], changed: list[Changed]) -> None:
        """Fill all tensors; one is read later only if something else has changed it."""
        for place, tensor, version in self._marks:
            rate = self.groups[place]["lr"]
            if rate is not tensor or tensor._version != version:
                changed.append((self.groups[place], copied(rate), before[self._index[place]]))
        for tensors, own in zip(self._tensors.values(), values, strict=True):
            # torch has no _foreach_fill_: two calls for all tensors of a device, however many there are
            torch._foreach_zero_(tensors)
            torch._foreach_add_(tensors, own)
        self._marks = [_Rate(place, tensor, tensor._version) for place, tensor, _ in self._marks]

    def _rate(self, factor: float, schedule: Schedule) -> float:
        """The rate of a group as a symbol."""
        value = self._value(schedule)
        return value if factor == 1 else factor * value

    def _value(self, schedule: Schedule) -> float:
        return schedule._at(self._recorder.step, self._recorder)

    def _statements(self, place: int, value: float, schedules: dict[str, list[Schedule]]) -> tuple[str, ...]:
        """The lines that set the options of a group, named {g} in there; what is a tensor is noted to be filled."""
        group = self.groups[place]
        before, lines = f"b{self._index[place]}", list[str]()
        if isinstance(group["lr"], torch.Tensor):
            self._note(group["lr"], value)
            self._marks.append(_Rate(place, group["lr"], group["lr"]._version))
        else:
            lines += [
                f"if {{g}}['lr'] is not {before}: changed.append(({{g}}, {{g}}['lr'], {before}))",
                f"{{g}}['lr'] = {value!r}",
            ]
        for name, own in schedules.items():
            if name != "schedule":
                lines += self._option(group, key_of(name, group), self._value(own[place]))
        return tuple(lines)

    def _option(self, group: Group, key: str, value: float) -> list[str]:
        """The line that sets another option, if it is not a tensor."""
        old = group[key][0] if key == "betas" else group[key]
        if isinstance(old, torch.Tensor):
            self._note(old, value)
            return []
        if key != "betas":
            return [f"{{g}}[{key!r}] = {value!r}"]
        if type(group[key]) is tuple and len(group[key]) == 2:
            return [f"{{g}}['betas'] = {value!r}, {{g}}['betas'][1]"]
        return [f"{self._recorder.named(put)}({{g}}, 'betas', {value!r})"]

    def _loops(self, lines: list[tuple[str, ...]]) -> Iterator[str]:
        """One loop for each run of groups with the same lines; groups that stand alone are unpacked together."""
        yield f"{', '.join(f'b{place}' for place in range(max(self._index) + 1))}, = before"
        runs = [(own, len(list(run))) for own, run in groupby(lines)]
        start = 0
        for alone, several in groupby(runs, lambda run: run[1] == 1):
            found = list(several)
            end = start + sum(length for _, length in found)
            if alone:
                yield f"{', '.join(f'g{place}' for place in range(start, end))}, = {self._part(start, end)}"
                for place, (own, _) in enumerate(found, start):
                    yield from (line.format(g=f"g{place}") for line in own)
                start = end
            else:
                for own, length in found:
                    if own:
                        yield f"for g in {self._part(start, start + length)}:"
                        yield from (f"    {line.format(g='g')}" for line in own)
                    start += length

    def _part(self, start: int, end: int) -> str:
        return "groups" if end - start == self.size else f"groups[{start}:{end}]"

    def _note(self, tensor: torch.Tensor, value: float) -> None:
        """Note a tensor to be filled: once, even if several groups share it."""
        tensors = self._tensors.setdefault(tensor.device, [])
        if all(one is not tensor for one in tensors):
            tensors.append(tensor)
            self._symbols.setdefault(tensor.device, []).append(value)
