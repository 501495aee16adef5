"""What a range test does next, and what it has recorded: sweeps, and for a thorough test probe cycles."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from math import inf
from time import monotonic, perf_counter
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cyclr._check import choice, count, problem
from cyclr._range.clock import Clock
from cyclr._range.curve import Curve
from cyclr._range.fall import falls, rises
from cyclr._range.groups import Groups
from cyclr._range.horizon import Extent, extent
from cyclr._range.in_full import bounds_of
from cyclr._range.orders import Measure, Order, Orders, Rewind, Steps
from cyclr._range.probe import BELOW, candidates, cycle, further
from cyclr._range.ramp import Ramp
from cyclr._range.reading import still_falling
from cyclr._range.short import bad_one
from cyclr._range.short import still_falling as reference_falling
from cyclr._range.stop import DIVERGED, NON_FINITE
from cyclr._range.sweep import BLOCK, Sweep
from cyclr._range.turns import rounds

Array = NDArray[np.float64]
_log = logging.getLogger("cyclr")

EFFORTS = ("quick", "thorough")
SLOWER = 3  #: a thorough test repeats an inconclusive sweep this many times slower


class StepProgress(Protocol):
    """Called after each block of steps with those done, those in all, and the rate and the loss of the last one."""

    def __call__(self, done: int, total: int, rate: float, loss: float, /) -> object: ...


class Recorder:
    """Decides what a range test does next, and records the results.

    Args:
        ramp: The rates of a sweep.
        repeats: Number of sweeps. Each begins from the same weights, with the batches that come next.
        effort: "quick" (the sweeps alone), or "thorough": then three to five probe cycles around the answer of the
            sweeps, which are made again three times slower first if they are inconclusive. Where they show no fall even
            then, the cycles lie below the rate at which the loss rises.
        every: Steps between two measurements on held-out data, the first one after the first step; 0 for none.
        maximize: Names of the metrics of which higher values are better.
        progress: Called after each block of steps; None or False for nothing.
        block: Steps between two readings of the losses.
        budget: Steps of the training that the test prepares: it then costs at most 15 % of them, or 30 steps a sweep.
            Sweeps get shorter, and so do probe cycles, or there are none.
        in_order: Whether the batches come in an order of their own and, after `Rewind(data=True)`, again in the same
            one. A fall of the loss may then be due to that order: steps at a rate of zero tell.
        reference: Whether the training can evaluate reference batches, which short sweeps then need.
        in_turn: Whether the steps of a sweep can take the same batches in turn, as many as `extent.in_turn` then says;
            short sweeps need that where no batch can be evaluated without a step.
        measured: Whether metrics on held-out data will be measured.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        ramp: Ramp,
        *,
        repeats: int = 1,
        effort: str = "quick",
        budget: int | None = None,
        every: int = 0,
        maximize: Iterable[str] = (),
        progress: StepProgress | Literal[False] | None = None,
        block: int = BLOCK,
        in_order: bool = False,
        reference: bool = False,
        in_turn: bool = False,
        measured: bool = False,
    ) -> None:
        if not isinstance(ramp, Ramp):
            raise TypeError(problem("ramp must be a cyclr.Ramp", ramp, "write Ramp(low, high, steps=300)"))
        if progress is not None and progress is not False and not callable(progress):
            raise TypeError(
                problem("progress must be callable", progress, "pass a function of (step, total, rate, loss)")
            )
        self.effort, self.budget = (
            choice("effort", effort, EFFORTS),
            None if budget is None else count("budget", budget),
        )
        self._asked, self._how = ramp, {"reference": reference, "in_turn": in_turn and not reference}
        self._how |= {"measured": measured}
        self.set_repeats(repeats)
        self.every, self.maximize, self.progress, self.block = every, frozenset(maximize), progress or None, block
        self.in_order = in_order
        self.examples = 0  #: that a step takes, counted in the reference batches; 0 if unknown
        self.clock = Clock()
        self.plain_sgd = False  #: whether the optimizer is SGD without momentum
        self.weights = 0  #: as in `Curve.weights`
        self.single_layer = False  #: as in `Curve.single_layer`
        self.groups: Groups = ()  #: of the optimizer, as in `Curve.groups`
        self.seconds = inf  #: no further sweep is begun once so many have passed
        self.swept = False  #: whether the sweeps are complete: other steps may follow
        self._sweeps: list[Sweep] = []
        self._sweep: Sweep | None = None  # the current sweep, or the one that was made last
        self._probed: dict[float, Array] = {}
        self._earlier = 0

    def set_repeats(self, repeats: int) -> None:
        """Set the number of sweeps, before the test begins."""
        self.repeats = count("repeats", repeats)
        how = {"repeats": self.repeats, "budget": self.budget}
        self.extent: Extent = extent(self._asked, self.effort, **how, **self._how)
        self.ramp = self.extent.ramp
        self._spare = self.extent.in_turn  #: how often other batches may be taken because one is bad
        self._beyond = self._most_beyond  #: steps that the sweeps may still go on beyond the highest rate

    @property
    def most_steps(self) -> int:
        """Maximum steps of the whole test."""
        once = 2 if self.in_order else 1
        sweeps = self.repeats * (self.ramp.steps + self._most_beyond) * once
        slower = SLOWER * self.repeats * self.ramp.steps * once if self.effort == "thorough" else 0
        if self.extent.most is not None:
            slower = 0
        most = sweeps + slower + self.extent.cycles * self.extent.cycle
        if (slow := self.extent.slower(self.extent.spent)) is None:
            return most
        return max(most, sweeps + slow.repeats * slow.ramp.steps + slow.cycles * slow.cycle)

    def orders(self) -> Orders:
        """Yield all orders of the test; the generator's return value is the curve."""
        yield from self._all_sweeps()
        slow = self.extent.slower(self.extent.spent)
        if slow is not None and bounds_of(self.curve(), self.budget) is None:
            # One sweep goes on with new batches; several begin with the first weights again, and their batches.
            yield Rewind(data=self.repeats > 1)
            yield from self._again(slow.ramp)
            self.extent = slow
        if self.extent.cycles:
            # The peaks to try lie around what a short sweep says for this training; a long one says it for all lengths.
            bounds = bounds_of(self.curve(), self.budget if self.extent.short else None)
            if bounds is None and self.extent.most is None:
                yield Rewind(data=True)
                self.every *= SLOWER
                yield from self._again(self.ramp.slower(SLOWER))
                bounds = bounds_of(self.curve())
            if bounds is not None:
                yield from self._probes(bounds.max_lr)
            elif (edge := self._edge()) is not None:
                yield from self._probes(edge / BELOW)
        return self.curve()

    def _again(self, ramp: Ramp) -> Generator[Order, Any, None]:
        """Other sweeps in place of those that were made, whose cost is remembered."""
        self._earlier = self.curve().tuning_cost
        self.ramp, self._beyond = ramp, 0
        self._sweeps.clear()
        yield from self._all_sweeps()

    def note(self, metrics: Mapping[str, float]) -> None:
        """Record metrics that were measured after the last step of a sweep; those of other steps are dropped."""
        if self._sweep is not None and self._sweep.losses:
            self._sweep.note(metrics)

    def curve(self) -> Curve:
        """The curve so far: complete sweeps, and the probe cycles once all are done.

        Raises:
            ValueError: If no sweep is complete.
        """
        if not self._sweeps:
            raise ValueError("at least one complete sweep is needed, got none; run the range test first")
        names = list(dict.fromkeys(name for sweep in self._sweeps for name in sweep.metrics))
        losses = self._rows([dict(enumerate(sweep.losses)) for sweep in self._sweeps])
        metrics = {name: self._rows([sweep.metrics.get(name, {}) for sweep in self._sweeps]) for name in names}
        for rows in metrics.values():
            for row, sweep in zip(rows, self._sweeps, strict=True):
                row[sweep.known :] = np.nan  # what came after the end of a sweep, unseen, is no evidence
        peaks = sorted(self._probed)
        return Curve(
            self.ramp.rates,
            losses,
            metrics,
            self.ramp.scale,
            tuple(sweep.stop for sweep in self._sweeps),
            self.maximize & set(names),
            np.array(peaks),
            np.array([self._probed[peak] for peak in peaks]),
            self._earlier,
            self._beside("control"),
            self._beside("reference"),
            examples=self.examples,
            step_seconds=self.clock.step_seconds,
            in_turn=self.extent.in_turn,
            plain_sgd=self.plain_sgd,
            weights=self.weights,
            single_layer=self.single_layer,
            groups=self.groups,
        )

    def _all_sweeps(self) -> Generator[Order, Any, None]:
        self.swept, begun = False, monotonic()
        for repeat in range(self.repeats):
            if repeat and monotonic() - begun > self.seconds:
                self.repeats = repeat
                break
            if repeat:
                yield Rewind(data=False)
            self._sweep = Sweep(self.extent.in_turn)
            self._sweeps.append(self._sweep)
            try:
                yield from self._one_sweep(repeat, self._sweep)
            except BaseException:
                self._sweeps.pop()  # interrupted: its last step must not be taken for its end
                raise
        self.swept = True
        if self.extent.short:  # batches are the same at each rate, whatever the order of the data
            return
        if self.in_order and self._falls() and not (yield from self._rates_acted()):
            yield from self._at_rate_zero()

    def _falls(self) -> bool:
        return any(falls(np.array(sweep.losses), log=self.ramp.scale == "log") for sweep in self._sweeps)

    def _rates_acted(self) -> Generator[Order, Any, bool]:
        """Whether the last sweep ended because of its rates: the initial weights do well on the next batches."""
        sweep = self._sweeps[-1]
        if sweep.stop != DIVERGED:
            return sweep.stop == NON_FINITE
        yield Rewind(data=False)
        self._sweep = None  # not before: metrics of its last step may come late
        losses: list[float] = []
        while len(losses) < BLOCK:
            losses += yield Steps([0.0] * self.block)
        self._earlier += len(losses)
        return sweep.is_above(float(np.median(losses)))

    def _at_rate_zero(self) -> Generator[Order, Any, None]:
        """The losses of all sweeps' batches at a rate of zero."""
        yield Rewind(data=True, same=True)
        self._sweep = None
        todo = [sweep for sweep in self._sweeps if not sweep.control]
        for number, sweep in enumerate(todo):
            if number:
                yield Rewind(data=False)
            losses: list[float] = []
            while len(losses) < sweep.made:
                losses += yield Steps([0.0] * min(self.block, sweep.made - len(losses)))
            sweep.control = losses[: sweep.known]

    def _one_sweep(self, repeat: int, sweep: Sweep) -> Generator[Order, Any, None]:
        yield from self._steps_of(repeat, sweep, 0)
        while not repeat and self._beyond and sweep.going and self._still_falls(sweep):
            more, done = min(BLOCK, self._beyond), self.ramp.steps
            self._beyond -= more
            self.ramp = self.ramp.longer(more)
            yield from self._steps_of(repeat, sweep, done)

    def _still_falls(self, sweep: Sweep) -> bool:
        if self.extent.reference:
            return reference_falling(self.ramp.rates, np.array(sweep.reference))
        if self.extent.in_turn:
            rates, losses = rounds(self.ramp.rates, np.array([sweep.losses]), self.extent.in_turn)
            return reference_falling(rates, losses[0])
        return still_falling(self.ramp.rates, np.array(sweep.losses))

    @property
    def _most_beyond(self) -> int:
        """How many steps the first sweep may go on beyond the highest rate; later ones then go as far."""
        steps = self.extent.ramp.beyond
        if self.extent.left is None or self.extent.short:  # a short sweep has few such steps
            return steps
        return min(steps, self.extent.left // self.repeats)

    def _edge(self) -> float | None:
        """Where sweeps that showed no fall became unstable; None if their rates did nothing at all."""
        ended = [sweep.known for sweep in self._sweeps if sweep.stop != "end" or rises(np.array(sweep.losses))]
        return float(np.median(self.ramp.rates[np.array(ended) - 1])) if ended else None

    def _steps_of(self, repeat: int, sweep: Sweep, end: int) -> Generator[Order, Any, None]:
        """The steps of a sweep from the step `end` on."""
        rates = self.ramp.rates.tolist()
        while end < len(rates) and sweep.going:
            start, end = end, self._next_reading(end)
            began = perf_counter()
            answer = yield Steps(rates[start:end], self.extent.reference)
            self.clock.made(perf_counter() - began, end - start)
            sweep.add(*answer) if self.extent.reference else sweep.add(answer)
            if self.extent.in_turn and not start and self._spare and bad_one(sweep.losses) is not None:
                yield from self._other_batches(sweep)
                end = 0
                continue
            self._tell(repeat * len(rates) + end, self.repeats * len(rates), rates[end - 1], sweep.losses[-1])
            if sweep.going and self._measures_after(end):
                sweep.note((yield Measure()))

    def _other_batches(self, sweep: Sweep) -> Generator[Order, Any, None]:
        """Begin a sweep again with the next batches: one of those that it takes in turn is bad, and would decide."""
        _log.warning("one of the batches of a range test is bad, their losses are %s: others are taken",
                     ", ".join(f"{loss:.3g}" for loss in sweep.losses))  # fmt: skip
        self._spare -= 1
        self._earlier += sweep.made
        sweep.clear()
        yield Rewind(data=False)

    def _next_reading(self, start: int) -> int:
        """The step before which losses are read next: after a block, before an evaluation, at the end."""
        block = self.block if start or not self.extent.in_turn else self.extent.in_turn  # is one of them bad?
        stops = range(start + 1, min(start + block, self.ramp.steps) + 1)
        return next((stop for stop in stops if self._measures_after(stop)), stops[-1])

    def _measures_after(self, steps: int) -> bool:
        # On a linear ramp the second evaluation is late, so the first one shows the state before any training.
        return self.every > 0 and (steps == 1 or steps % self.every == 0)

    def _probes(self, max_lr: float) -> Generator[Order, Any, None]:
        """Peaks around `max_lr`, and the losses of a short cycle to each; NaN from the first non-finite loss on.

        All cycles have the same start, the same randomness and, if the data can be rewound, the same batches, so that
        they differ only in their peaks.
        """
        found: dict[float, Array] = {}
        todo: Sequence[float] = candidates(max_lr)
        while todo:
            for peak in todo:
                yield Rewind(data=True)
                self._sweep = None
                found[peak] = yield from self._one_probe(peak, len(found))
            peaks = np.array(sorted(found))
            peak = further(peaks, np.array([found[peak] for peak in peaks.tolist()]), self.extent.cycles)
            todo = () if peak is None else (peak,)
        self._probed = found

    def _one_probe(self, peak: float, number: int) -> Generator[Order, Any, Array]:
        """The losses of one cycle and of some steps more at its last rate, zero; a single non-finite one is a gap."""
        whole = self.extent.cycle
        rates = np.asarray(cycle(peak, whole)(np.arange(whole)), dtype=np.float64).tolist()
        losses: list[float] = []
        while len(losses) < len(rates):
            start = len(losses)
            losses += [float(loss) for loss in (yield Steps(rates[start : start + self.block]))]
            bad = ~np.isfinite(losses)
            if (ended := np.flatnonzero(bad[1:] & bad[:-1])).size:
                del losses[ended[0] :]
                break
            self._tell(number * whole + len(losses), self.extent.cycles * whole, rates[len(losses) - 1], losses[-1])
        return np.pad(losses, (0, len(rates) - len(losses)), constant_values=np.nan)

    def _beside(self, name: str) -> Array:
        rows = [dict(enumerate(getattr(sweep, name))) for sweep in self._sweeps]
        return self._rows(rows) if any(rows) else np.empty((0, 0))

    def _tell(self, done: int, total: int, rate: float, loss: float) -> None:
        if self.progress is not None:
            self.progress(done, total, rate, float(loss))

    def _rows(self, values: Sequence[Mapping[int, float]]) -> Array:
        """One row per sweep; NaN where there is no value."""
        rows = np.full((len(values), self.ramp.steps), np.nan)
        for row, there in zip(rows, values, strict=True):
            row[list(there)] = list(there.values())
        return rows
