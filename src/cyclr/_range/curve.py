"""The record of a range test: rates, losses, metrics, repeats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._check import choice, count, positive, problem
from cyclr._displayed import Displayed
from cyclr._files import replacing
from cyclr._range.arrays import beside, increasing, plain_of, probes_of, rows_of
from cyclr._range.bounds import Bounds, Inconclusive, probability
from cyclr._range.find import find
from cyclr._range.groups import Groups, groups_of, told
from cyclr._range.horizon import EVALUATION, REFERENCE
from cyclr._range.objective import KINDS, judged
from cyclr._range.ramp import SCALES
from cyclr._range.rules import RULES
from cyclr._range.short import StepFacts
from cyclr._range.turns import rounds
from cyclr._renamed import has_new_name

Array = NDArray[np.float64]
STOPS = ("end", "diverged", "non-finite")
FORMAT = "cyclr.curve.1"
SIDE = 3  #: losses on each side that a loss is compared with
ABSURD = 1000.0  #: times the typical deviation in there: such a loss is reported


@dataclass(frozen=True, slots=True, eq=False)
class Curve(Displayed):
    """The record of a range test: one or more sweeps through a ramp of rates.

    Args:
        rates: The learning rate of each step of a sweep, increasing; shape (steps,).
        losses: Training loss of each step, one row a repeat; shape (repeats, steps). NaN after the end of a
            repeat, and before it for a bad batch, which is passed over; a single row may be given flat.
        metrics: Further signals by name, each of the shape of `losses`, NaN where not measured.
        scale: "log" or "linear": how the rates rise.
        stops: Why each repeat ended: "end", "diverged" or "non-finite".
        maximize: Names of the metrics of which higher values are better; all others, and the loss, are better lower.
        peaks: The peak rates of probe cycles, if any were made, increasing; shape (probes,).
        probes: Training losses of each probe cycle, one row a peak, NaN beyond the end of one that diverged and for a
            bad batch.
        earlier_steps: Further steps that the test made: sweeps before these that were inconclusive, and a few steps at
            a rate of zero after a sweep that ended early.
        control: Losses of the same batches at a rate of zero, of the shape of `losses`, if they were measured: data in
            a fixed order may make the loss fall by themselves.
        reference: Losses before each step of two batches that stay the same and are not trained on, of the shape of
            `losses`, if they were evaluated: short sweeps need them.
        loss_kind: "" if the loss is what the optimizer minimises, as far as is known; "one side" if it is one of
            several losses, as of a GAN; "other" if it is not minimised, such as a reward.
        anew: Whether each repeat began from new weights, not from the same.
        examples: Examples that a step takes, counted in the reference batches (or labels, where each has several); 0 if
            unknown. With few of them training is unstable at lower rates than a short sweep shows.
        step_seconds: Median time of a step of the sweeps in seconds, the loading of its batches included, evaluations
            and compilation left out; None if unknown. Measured between two readings of losses, which wait for the
            device.
        in_turn: How many batches the steps of each sweep took in turn, as in short tests with a step function; 0 for
            new ones at each step.
        plain_sgd: Whether the optimizer is SGD without momentum, whose best rates lie nearer to those at which a short
            sweep loses what it has gained.
        weights: How many weights the optimizer trains, where its steps are about as large as the rate, as Adam's are:
            the more, the lower the best rates. 0 for other optimizers, or if unknown.
        single_layer: Whether a matrix and its bias, such as those of a new head on a frozen network, are all that is
            trained.
        groups: Name ("" if it has none) and rate of each parameter group, whose ratios are kept, if there are several:
            `rates` are those of the group with the largest.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If shapes do not fit together, rates do not increase, or a name is unknown.

    >>> import numpy as np
    >>> rates = np.geomspace(1e-5, 1, 100)
    >>> losses = 2 - 1.5 / (1 + (1e-3 / rates) ** 2) + rates**2
    >>> curve = Curve(rates, losses)
    >>> curve.tuning_cost
    100
    """

    rates: Array
    losses: Array
    metrics: Mapping[str, Array] = field(default_factory=dict)
    scale: str = "log"
    stops: tuple[str, ...] = ()
    maximize: frozenset[str] = frozenset()
    peaks: Array = field(default_factory=lambda: np.empty(0))
    probes: Array = field(default_factory=lambda: np.empty((0, 0)))
    earlier_steps: int = 0
    control: Array = field(default_factory=lambda: np.empty((0, 0)))
    reference: Array = field(default_factory=lambda: np.empty((0, 0)))
    loss_kind: str = ""
    anew: bool = False
    examples: int = 0
    step_seconds: float | None = None
    in_turn: int = 0
    plain_sgd: bool = False
    weights: int = 0
    single_layer: bool = False
    groups: Groups = ()

    def __post_init__(self) -> None:
        choice("scale", self.scale, SCALES)
        choice("loss_kind", self.loss_kind, KINDS)
        rates = increasing(self.rates, self.scale)
        losses = rows_of("losses", self.losses, len(rates))
        metrics = {str(name): rows_of(f"metrics[{name!r}]", rows, len(rates)) for name, rows in self.metrics.items()}
        for name, rows in metrics.items():
            if rows.shape != losses.shape:
                raise ValueError(problem(f"metrics[{name!r}] must have the shape of losses {losses.shape}", rows.shape))
        stops = tuple(self.stops) or ("end",) * len(losses)
        if len(stops) != len(losses):
            raise ValueError(problem(f"stops must hold one reason per repeat ({len(losses)})", stops))
        for stop in stops:
            choice("stops", stop, STOPS)
        for name in self.maximize:
            choice("maximize", name, metrics)
        control, reference = beside("control", self.control, losses), beside("reference", self.reference, losses)
        peaks, probes = probes_of(self.peaks, self.probes)
        earlier = count("earlier_steps", self.earlier_steps, least=0)
        for name, number in (("examples", self.examples), ("in_turn", self.in_turn), ("weights", self.weights)):
            count(name, number, least=0)
        seconds = None if self.step_seconds is None else positive("step_seconds", self.step_seconds)
        values = {"rates": rates, "losses": losses, "metrics": metrics, "stops": stops, "peaks": peaks}
        values |= {"maximize": frozenset(self.maximize), "probes": probes, "earlier_steps": earlier}
        values |= {"control": control, "reference": reference, "groups": groups_of(self.groups)}
        for name, value in (values | {"step_seconds": seconds}).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        repeats = f"{len(self.losses)} repeat{'s' * (len(self.losses) > 1)}"
        rates = f"{len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"<Curve: {rates} ({self.scale}), {repeats} of {', '.join(self.signals)}>"

    @property
    def tuning_cost(self) -> int:
        """Optimizer steps that were made: sweeps and probe cycles, non-finite last steps included, and earlier ones.

        The evaluation of a reference batch counts as a third of a step.
        """
        ended = self.stops.count("non-finite") + sum(known(row) < len(row) for row in self.probes)
        rows = (*self.losses, *self.probes, *self.control)
        evaluated = ceil(REFERENCE * EVALUATION * sum(known(row) for row in self.reference))
        return sum(known(row) for row in rows) + ended + evaluated + self.earlier_steps

    @property
    def passed_over(self) -> tuple[tuple[int, ...], ...]:
        """For each repeat, the steps before its end whose loss was not finite: bad batches, which are passed over."""
        ends = [known(row) for row in self.losses]
        gaps = [np.flatnonzero(np.isnan(row[:end])) for row, end in zip(self.losses, ends, strict=True)]
        return tuple(tuple(gap.tolist()) for gap in gaps)

    @property
    def cost(self) -> int:
        """The name of `tuning_cost` in version 0.1."""
        has_new_name("Curve.cost", "Curve.tuning_cost")
        return self.tuning_cost

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the recorded signals: "loss" and the metrics."""
        return ("loss", *self.metrics)

    def bounds(self, signal: str = "loss", *, level: float = 0.9, budget: int | None = None) -> Bounds:
        """Lower and upper bound of the learning rate, with intervals and evidence.

        Args:
            signal: "loss" (training loss) or the name of a metric.
            level: Nominal coverage of the intervals.
            budget: Steps of the training to come: the best peak falls with its length. By default the answer is for
                about 3,000 steps, and a little low for fewer.

        Returns:
            The bounds.

        Raises:
            Inconclusive: If the curve is too short, flat, rising from its start, or dominated by noise, if the
                signal was never a number, if the interval would span more than a power of ten, or if the loss is not
                what is minimised. Its attribute `curve` is this curve, and `fallback` a rate that is not proved.
            TypeError: If `budget` is not an integer.
            ValueError: If there is no such signal, `level` is not a probability, or `budget` is below 1.

        Reference:
            Bjorck et al. (2024), Scaling Optimal LR Across Token Horizons. https://arxiv.org/abs/2409.19913
        """
        probability("level", level)
        budget = None if budget is None else count("budget", budget)
        read = f"negated {signal}" if signal in self.maximize else signal
        probes = (self.peaks, self.probes) if signal == "loss" and len(self.peaks) else None
        control = self.control if signal == "loss" and self.control.size else None
        steady = self.reference if signal == "loss" and self.reference.size else None
        made: dict[str, Any] = {"steps": len(self.rates), "tuning_cost": self.tuning_cost, "reference": steady}
        made |= {"log": self.scale == "log", "budget": budget, "anew": self.anew}
        made["made_by"] = self._steps
        with self._carried(self._ends()):
            rates, values = self._points(signal)
            if signal == "loss" and self.in_turn:
                rates, made["reference"] = rounds(rates, values, self.in_turn)
            bounds = find(rates, values, control=control, probes=probes, level=level, signal=read, **made)
            bounds = judged(bounds, self.loss_kind) if signal == "loss" else bounds
        return replace(bounds, evidence=(*bounds.evidence, *told(self.groups), *self._bad_batches(bounds.max_lr)))

    def suggest(self, rule: str, signal: str = "loss") -> float:
        """The rate that a published rule suggests for this curve: the median over repeats, in log rate.

        Args:
            rule: "valley", "slide", "steep", "minimum", "lightning", "torch-lr-finder" or "ignite".
            signal: "loss" or the name of a metric.

        Returns:
            One learning rate. The rules differ by a factor of 5 to 20 on the same curve; prefer `bounds`.

        Raises:
            Inconclusive: If the rule has no suggestion because the curve is too short.
            ValueError: If there is no such rule or signal.
        """
        read = RULES[choice("rule", rule, RULES)]
        with self._carried():
            rates, values = self._points(signal)
            answers = [read(*_shown(rates, row, stop)) for row, stop in zip(values, self.stops, strict=True)]
            found = [answer for answer in answers if answer is not None and answer > 0]
            if not found:
                steps = self.tuning_cost
                raise Inconclusive(f"{rule!r} has no answer: the sweeps end after {steps} steps; record more")
        return float(np.exp(np.median(np.log(found))))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as JSON, atomically: a reader never sees a partial file.

        Args:
            path: The file; its folder must exist.
        """
        plain = {
            "format": FORMAT,
            "scale": self.scale,
            "stops": list(self.stops),
            "maximize": sorted(self.maximize),
            "rates": self.rates.tolist(),
            "losses": plain_of(self.losses),
            "metrics": {name: plain_of(rows) for name, rows in self.metrics.items()},
            "peaks": self.peaks.tolist(),
            "probes": plain_of(self.probes),
            "earlier_steps": self.earlier_steps,
            "control": plain_of(self.control),
            "reference": plain_of(self.reference),
            "loss_kind": self.loss_kind,
            "anew": self.anew,
            "examples": self.examples,
            "step_seconds": self.step_seconds,
            "in_turn": self.in_turn,
            "plain_sgd": self.plain_sgd,
            "weights": self.weights,
            "single_layer": self.single_layer,
            "groups": self.groups,
        }
        text = json.dumps(plain, allow_nan=False)
        with replacing(path) as file:
            file.write(text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Curve:
        """Read a curve that `save` wrote.

        Args:
            path: The file.

        Returns:
            The same curve.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a curve; the message names the file and the field.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON ({error}); was it written by Curve.save?") from None
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise ValueError(f"{path}: format must be {FORMAT!r}; was it written by Curve.save?")
        fields = ("rates", "losses", "metrics", "scale", "stops", "maximize", "peaks", "probes")
        later: dict[str, Any] = {"control": [], "reference": [], "loss_kind": "", "anew": False, "examples": 0}
        later |= {"step_seconds": None, "in_turn": 0, "plain_sgd": False, "weights": 0, "groups": []}
        later["single_layer"] = False
        fields = (*fields, "earlier_steps", *later)
        plain.setdefault("earlier_steps", plain.get("spent", 0))  # version 0.1 calls it "spent" or lacks it
        plain = later | plain
        for name in fields:
            if name not in plain:
                raise ValueError(f"{path}: {name} is missing; was it written by Curve.save?")
        for name, kind in {"metrics": dict, "stops": list, "maximize": list}.items():
            if not isinstance(plain[name], kind):
                what = problem(f"{name} must be a {kind.__name__}", plain[name])
                raise ValueError(f"{path}: {what}")
        try:
            return cls(**{name: plain[name] for name in fields})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    @property
    def _steps(self) -> StepFacts:
        return StepFacts(self.examples, self.in_turn, self.plain_sgd, self.weights, self.single_layer)

    def _points(self, signal: str) -> tuple[Array, Array]:
        """Rates at which the signal was measured, and its values there, with the sign such that lower is better."""
        choice("signal", signal, self.signals)
        values = self.losses if signal == "loss" else self.metrics[signal]
        measured = slice(None) if signal == "loss" else np.isfinite(values).any(axis=0)
        if signal != "loss" and not np.isfinite(values).any():
            raise Inconclusive(f"{signal} was not a number at any evaluation; check its function and the held-out data")
        sign = -1.0 if signal in self.maximize else 1.0
        return self.rates[measured], sign * values[:, measured]

    @contextmanager
    def _carried(self, more: str = "") -> Iterator[None]:
        """A refusal carries the curve, which was paid for."""
        try:
            yield
        except Inconclusive as refusal:
            unproven = "" if refusal.fallback is None else f"; a rate to try, unproven: {refusal.fallback}"
            refusal.args = (f"{refusal}{more}{unproven}",)
            refusal.curve = self
            raise

    def _ends(self) -> str:
        """Where sweeps ended at a loss that is not finite: bad data may be the reason why there is nothing to read."""
        ends = [known(row) for row, stop in zip(self.losses, self.stops, strict=True) if stop == "non-finite"]
        if not ends:
            return ""
        rate = self.rates[min(ends[0], len(self.rates) - 1)]
        return f" (the sweep ended at step {ends[0]}, a rate of {rate:.2g}, at a non-finite loss: check the data there)"

    def _bad_batches(self, max_lr: float) -> Iterator[str]:
        """A sentence for each repeat with bad batches. An absurd loss at a rate that is too high is no news."""
        for repeat, (row, gaps) in enumerate(zip(self.losses, self.passed_over, strict=True)):
            of = f" of repeat {repeat}" if len(self.losses) > 1 else ""
            absurd = tuple(step for step in _absurd(row) if self.rates[step] < max_lr)
            bad = (gaps, "is not finite", "missing"), (absurd, "is far from its neighbours", "an outlier")
            for steps, what, taken in bad:
                if steps:
                    named = ", ".join(f"{step} (rate {self.rates[step]:.2g})" for step in steps[:5])
                    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
                    yield f"The loss {what} at step {named}{more}{of}: taken as {taken}; check that batch."


def known(row: Array) -> int:
    """Length of the row up to its last finite value."""
    there = np.flatnonzero(np.isfinite(row))
    return int(there[-1]) + 1 if len(there) else 0


def _shown(rates: Array, row: Array, stop: str) -> tuple[Array, Array]:
    """What a published rule sees of a row: no gaps, and a non-finite end, whose treatment is up to each rule."""
    there = np.isfinite(row)
    if stop == "non-finite" and known(row) < len(row):
        there[known(row)] = True
    return rates[there], row[there]


def _absurd(row: Array) -> tuple[int, ...]:
    """Steps whose loss alone is absurd: far from those on both sides, which agree with one another."""
    at = np.flatnonzero(np.isfinite(row))
    if len(at) < 2 * SIDE + 1:
        return ()
    windows = np.lib.stride_tricks.sliding_window_view(row[at], 2 * SIDE + 1)
    middle = np.median(windows, axis=1)
    spread = np.median(np.abs(windows - middle[:, None]), axis=1)
    off = np.abs(windows[:, SIDE] - middle)
    return tuple(at[SIDE:-SIDE][off > ABSURD * np.maximum(spread, np.median(spread))].tolist())
