"""Well-known schedules, as functions that only combine the basic ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cyclr import _check
from cyclr._schedules.base import Schedule, Sequential, expect_schedule
from cyclr._schedules.pieces import Constant, Cosine, Linear, Piece, Sqrt

_SHAPES: dict[str, type[Piece]] = {"linear": Linear, "cosine": Cosine, "sqrt": Sqrt}


def warm_up(schedule: Schedule, *, steps: int, start: float = 0.0) -> Sequential:
    """A linear warm-up to the first value of `schedule`, then the schedule.

    Args:
        schedule: The schedule that follows; it counts steps from the end of the warm-up.
        steps: Length of the warm-up in optimizer steps.
        start: The value at step 0.

    Raises:
        TypeError: If `schedule` is not a schedule.
        ValueError: If `start` or `steps` is out of range, as in `Linear`.

    >>> from cyclr import Cosine
    >>> warm_up(Cosine(0.1, 0, steps=90), steps=10)
    Linear(0.0, 0.1, steps=10) >> Cosine(0.1, 0.0, steps=90)
    """
    return Linear(start, expect_schedule("schedule", schedule)(0), steps=steps) >> schedule


def one_cycle(
    max_lr: float,
    *,
    steps: int,
    base_lr: float | None = None,
    end_lr: float = 0.0,
    rise: float = 0.3,
    tail: float = 0.0,
    shape: str = "cosine",
) -> Sequential:
    """One cycle over the whole training: warm-up to the peak, then decay to about zero.

    Args:
        max_lr: The peak.
        steps: Length of the training in optimizer steps.
        base_lr: Start of the warm-up; by default max_lr / 25.
        end_lr: Final value.
        rise: Length of the warm-up as a fraction of the steps.
        tail: Length of a final linear decay from base_lr to end_lr, as a fraction of the steps; the decay from the
            peak then ends at base_lr. The original cycle is shape="linear", rise=0.45, tail=0.1.
        shape: "cosine" or "linear".

    Raises:
        TypeError: If a rate is not a number or `steps` not an integer.
        ValueError: If a rate is out of order, a fraction leaves no step for a part, or the shape is unknown.

    >>> one_cycle(0.1, steps=100, shape="linear")
    Linear(0.004, 0.1, steps=30) >> Linear(0.1, 0.0, steps=70)

    Reference:
        Smith & Topin (2018), Super-convergence. https://arxiv.org/abs/1708.07120
    """
    max_lr = _check.positive("max_lr", max_lr)
    base_lr = max_lr / 25 if base_lr is None else _check.non_negative("base_lr", base_lr)
    _check.ordered("base_lr", base_lr, "max_lr", max_lr)
    end_lr = _check.non_negative("end_lr", end_lr)
    _check.ordered("end_lr", end_lr, "max_lr", max_lr)
    piece = _SHAPES[_check.choice("shape", shape, ("cosine", "linear"))]
    up, last = _fraction_of("rise", rise, steps), _fraction_of("tail", tail, steps)
    down = steps - up - last
    if min(up, down) < 1:
        must = f"rise and tail must leave at least one of the {steps} steps for each part"
        raise ValueError(_check.problem(must, (rise, tail), "change them, or take more steps"))
    if not last:
        return piece(base_lr, max_lr, steps=up) >> piece(max_lr, end_lr, steps=down)
    return piece(base_lr, max_lr, steps=up) >> piece(max_lr, base_lr, steps=down) >> Linear(base_lr, end_lr, steps=last)


def slanted_triangular(max_lr: float, *, steps: int, rise: float = 0.1, ratio: float = 32.0) -> Sequential:
    """A short linear warm-up and a long linear decay, for fine-tuning.

    Args:
        max_lr: The peak.
        steps: Length of the training in optimizer steps.
        rise: Length of the warm-up as a fraction of the steps.
        ratio: Ratio of the peak to the first and last value.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is not positive, or `rise` leaves no step for a part.

    >>> slanted_triangular(0.32, steps=100)
    Linear(0.01, 0.32, steps=10) >> Linear(0.32, 0.01, steps=90)

    Reference:
        Howard & Ruder (2018), ULMFiT, section 3.2. https://arxiv.org/abs/1801.06146
    """
    low = _check.positive("max_lr", max_lr) / _check.positive("ratio", ratio)
    return one_cycle(max_lr, steps=steps, base_lr=low, end_lr=low, rise=rise, shape="linear")


def step_decay(start: float, *, milestones: Sequence[int], factor: float = 0.1) -> Sequential:
    """Constant stages, each `factor` times the previous one.

    Args:
        start: The value of the first stage.
        milestones: The steps at which a new stage begins, increasing. The last stage is endless.
        factor: Ratio of a stage to the previous one, above zero.

    Raises:
        TypeError: If a value is not a number or a milestone not an integer.
        ValueError: If there is no milestone, they do not increase, or a value is not positive.

    >>> step_decay(0.1, milestones=(60, 80))
    Constant(0.1).take(60) >> Constant(0.01).take(20) >> Constant(0.001)
    """
    start, factor = _check.positive("start", start), _check.positive("factor", factor)
    if isinstance(milestones, str) or not isinstance(milestones, Sequence) or not milestones:
        raise ValueError(
            _check.problem("milestones must be a sequence of steps", milestones, "for example milestones=(60, 80)")
        )
    edges = [0, *(_check.count("a milestone", milestone) for milestone in milestones)]
    if any(later <= earlier for earlier, later in pairwise(edges)):
        raise ValueError(_check.problem("milestones must increase", milestones, "sort them"))
    values = [float(f"{start * factor**stage:.12g}") for stage in range(len(edges))]
    stages = [Constant(value).take(end - begin) for value, (begin, end) in zip(values, pairwise(edges), strict=False)]
    return Sequential(*stages, Constant(values[-1]))


def wsd(
    max_lr: float,
    *,
    steps: int,
    warm_up: float = 0.05,
    cool_down: float = 0.2,
    end_lr: float = 0.0,
    shape: str = "sqrt",
) -> Sequential:
    """Warm-up, stable, decay: a linear warm-up, a plateau, and a decay at the end (also called trapezoid).

    Args:
        max_lr: Value of the plateau.
        steps: Length of the training in optimizer steps.
        warm_up: Length of the warm-up from 0 as a fraction of the steps.
        cool_down: Length of the decay as a fraction of the steps.
        end_lr: Final value.
        shape: Shape of the decay: "sqrt", "linear" or "cosine".

    Raises:
        TypeError: If a rate is not a number or `steps` not an integer.
        ValueError: If a rate is out of order, a fraction leaves no step for a part, or the shape is unknown.

    >>> wsd(0.1, steps=100, shape="linear")
    Linear(0.0, 0.1, steps=5) >> Constant(0.1).take(75) >> Linear(0.1, 0.0, steps=20)

    Reference:
        Hägele et al. (2024), Scaling laws beyond fixed training durations. https://arxiv.org/abs/2405.18392
    """
    max_lr, end_lr = _check.positive("max_lr", max_lr), _check.non_negative("end_lr", end_lr)
    _check.ordered("end_lr", end_lr, "max_lr", max_lr)
    fall = _SHAPES[_check.choice("shape", shape, _SHAPES)]
    up, down = _fraction_of("warm_up", warm_up, steps), _fraction_of("cool_down", cool_down, steps)
    if min(up, down, steps - up - down) < 1:
        raise ValueError(
            _check.problem(
                f"warm_up and cool_down must leave at least one of the {steps} steps for each part",
                (warm_up, cool_down),
                "change them, or take more steps",
            )
        )
    plateau = Constant(max_lr).take(steps - up - down)
    return Linear(0.0, max_lr, steps=up) >> plateau >> fall(max_lr, end_lr, steps=down)


def cool_down(schedule: Schedule, *, start: int, steps: int, end_lr: float = 0.0, shape: str = "sqrt") -> Sequential:
    """`schedule` up to step `start`, then a decay from its value there: for a training whose end was not planned.

    A warm-up and a constant rate, `warm_up(Constant(max_lr), steps=...)`, need no length. Whenever a final model is
    wanted, a decay branches off from a checkpoint, and the training at the constant rate can go on from the same
    checkpoint. To decay there, load it into `Scheduler(optimizer, cool_down(...), on_mismatch="keep_new")`.

    Args:
        schedule: The schedule of the training so far.
        start: Steps done when the decay begins.
        steps: Length of the decay; 10 to 20 % of `start` where it decays from a constant rate.
        end_lr: Final value.
        shape: Shape of the decay: "sqrt", "linear" or "cosine".

    Raises:
        TypeError: If `schedule` is not a schedule, a rate not a number, or a count not an integer.
        ValueError: If `end_lr` exceeds the value at `start`, a count is below 1, or the shape is unknown.

    >>> stable = warm_up(Constant(0.1), steps=500)
    >>> cool_down(stable, start=10_000, steps=2_000)
    (Linear(0.0, 0.1, steps=500) >> Constant(0.1)).take(10000) >> Sqrt(0.1, 0.0, steps=2000)

    Reference:
        Hägele et al. (2024), Scaling laws beyond fixed training durations. https://arxiv.org/abs/2405.18392
    """
    expect_schedule("schedule", schedule)
    start = _check.count("start", start, "pass the number of steps done")
    fall = _SHAPES[_check.choice("shape", shape, _SHAPES)]
    top, end_lr = schedule(start), _check.non_negative("end_lr", end_lr)
    _check.ordered("end_lr", end_lr, f"the value of the schedule at step {start}", top)
    return schedule.take(start) >> fall(top, end_lr, steps=steps)


def _fraction_of(name: str, fraction: float, steps: int) -> int:
    return round(_check.fraction(name, fraction) * _check.count("steps", steps))
