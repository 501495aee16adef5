"""Plans for each goal: the exact budget in whole cycles that end low, or a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, Goal, Plan, parse, plan
from cyclr._goals import GOALS

SOME = Bounds(0.001, 0.01)
SEVERAL = ("ensemble", "average", "anytime")


def starts_and_ends(made: Plan) -> list[tuple[int, int]]:
    return list(zip((0, *made.snapshots[:-1]), made.snapshots, strict=True))


@given(
    goal=st.sampled_from(GOALS),
    epochs=st.integers(1, 200),
    steps_per_epoch=st.integers(2, 300),
    base=st.floats(1e-6, 1e-2),
)
def test_every_goal_uses_every_budget_exactly_in_whole_cycles_that_end_low(goal, epochs, steps_per_epoch, base):
    made = plan(Bounds(base, 0.01), epochs=epochs, steps_per_epoch=steps_per_epoch, goal=goal)
    assert made.steps == made.schedule.duration == made.snapshots[-1] == epochs * steps_per_epoch
    assert made.goal == goal
    assert made.schedule(made.steps) == 0
    assert made.snapshots == made.schedule.cycle_ends()
    assert parse(repr(made.schedule)) == made.schedule
    for start, end in starts_and_ends(made):
        rates = made.schedule(np.arange(start, end))
        top = int(rates.argmax())
        assert (np.diff(rates[: top + 1]) > 0).all()  # one rise and one decay: a whole cycle
        assert (np.diff(rates[top:]) < 0).all()
        # the decay is a straight line whose next step would be zero
        assert rates[-1] == pytest.approx(rates[top] / (end - start - top), rel=1e-6)


@given(goal=st.sampled_from(SEVERAL), epochs=st.integers(1, 200), steps_per_epoch=st.integers(2, 50))
def test_a_goal_that_the_budget_cannot_serve_is_said(goal, epochs, steps_per_epoch):
    made = plan(SOME, epochs=epochs, steps_per_epoch=steps_per_epoch, goal=goal)
    if len(made.snapshots) == 1:
        assert made.reasons[0].startswith(f"One cycle over all {made.steps} steps.")
        assert any(word in made.reasons[0] for word in ("too short", "below an epoch"))
    else:
        assert not made.reasons[0].startswith("One cycle")
    assert all(reason.endswith(".") for reason in made.reasons)


@given(goal=st.sampled_from(SEVERAL), total=st.integers(2, 5000))
def test_goals_need_no_epochs(goal, total):
    made = plan(SOME, steps=total, goal=goal)
    assert made.steps == made.schedule.duration == made.snapshots[-1] == total


@given(
    goal=st.sampled_from(SEVERAL),
    total=st.integers(2, 1500),
    count=st.integers(1, 8),
    epoch=st.none() | st.integers(1, 50),
)
def test_a_requested_number_of_snapshots_is_what_comes_out_or_an_error(goal, total, count, epoch):
    try:
        made = plan(SOME, steps=total, steps_per_epoch=epoch, goal=goal, cycles=count)
    except ValueError as error:
        needed = int(str(error).split("at least ")[1].split()[0])
        assert needed > total
        assert len(plan(SOME, steps=needed, goal=goal, cycles=count).snapshots) == count  # the advice holds
        return
    assert len(made.snapshots) == count


@given(epochs=st.integers(1, 300), steps_per_epoch=st.integers(2, 100))
def test_later_cycles_have_their_least_length(epochs, steps_per_epoch):
    for goal, least in (("ensemble", 2), ("average", 1), ("anytime", 1)):
        made = plan(SOME, epochs=epochs, steps_per_epoch=steps_per_epoch, goal=goal)
        if len(made.snapshots) > 1:
            assert all(end - start >= least * steps_per_epoch for start, end in starts_and_ends(made))


def test_an_ensemble_returns_to_the_peak_and_an_average_to_half_of_it():
    for goal, peak in (("ensemble", 0.01), ("average", 0.005)):
        made = plan(SOME, steps=10_000, goal=goal)
        assert len(made.snapshots) == 5
        for start, end in starts_and_ends(made)[1:]:
            assert made.schedule(np.arange(start, end)).max() == pytest.approx(peak)


def test_growing_cycles_double():
    assert plan(SOME, steps=3100, steps_per_epoch=100, goal="anytime").snapshots == (100, 300, 700, 1500, 3100)


@given(total=st.integers(2, 3000), count=st.none() | st.integers(1, 6))
def test_without_a_decay_an_average_stays_at_the_peak_and_says_why(total, count):
    if count is not None and total < 5 * count + 5:
        count = None
    made = plan(SOME, steps=total, goal="average", cycles=count, anneal=False)
    assert made.schedule.duration == made.snapshots[-1] == total
    assert made.schedule(total) == 0.01
    assert "not end low" in made.reasons[-1]
    assert "fine-tuning" in made.reasons[0]
    if count:
        assert len(made.snapshots) == count
        assert made.snapshots[0] >= 0.79 * total - 1


@given(
    goal=st.sampled_from(SEVERAL),
    total=st.integers(2, 3000),
    more=st.integers(2, 5000),
    share=st.floats(0, 1),
    average=st.booleans(),
)
def test_a_longer_plan_keeps_every_snapshot(goal, total, more, share, average):
    short = plan(SOME, steps=total, goal=goal, anneal=not (average and goal == "average"))
    longer = short.extend(more, done=round(share * total))
    assert longer.snapshots[: len(short.snapshots)] == short.snapshots
    assert longer.snapshots[-1] == longer.steps == longer.schedule.duration == total + more
    steps = np.arange(total)
    assert (longer.schedule(steps) == short.schedule(steps)).all()
    assert longer.schedule(total + more) == short.schedule(total)
    assert longer.goal == goal
    assert longer.schedule.highest <= 0.01
    assert longer.reasons[:-1] == short.reasons


def test_growing_cycles_go_on_growing():
    longer = plan(SOME, steps=700, goal="anytime", cycles=3).extend(800 + 1600)
    assert longer.snapshots == (100, 300, 700, 1500, 3100)
    assert longer.extend(100).snapshots[-1] == 3200  # too short for a longer one: one cycle all the same


@given(minutes=st.floats(0.1, 1000), each=st.floats(1e-3, 1), goal=st.sampled_from(GOALS))
def test_minutes_are_steps_of_the_measured_time(minutes, each, goal):
    made = plan(SOME, minutes=minutes, step_seconds=each, goal=goal)
    assert made.steps * each <= 60 * minutes * (1 + 1e-5)
    assert (made.steps + 1) * each >= 60 * minutes * (1 - 1e-5)
    assert made.reasons[0].startswith(f"{minutes:g} minutes are {made.steps} steps")
    assert made.schedule == plan(SOME, steps=made.steps, goal=goal).schedule


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"steps": 100, "goal": "ensembles"}, ValueError, "did you mean 'ensemble'"),
        ({"steps": 100, "goal": None}, TypeError, "goal must be a name or a cyclr.Goal, got None"),
        ({"steps": 100, "goal": Goal("average"), "cycles": 3}, ValueError, r"write Goal\('average', cycles=3\)"),
        (
            {"steps": 100, "goal": Goal(), "anneal": False},
            ValueError,
            "anneal must be left out beside a Goal, got False",
        ),
        ({"minutes": 3}, ValueError, "step_seconds"),
        ({"step_seconds": 3, "steps": 10}, ValueError, "needs minutes"),
        ({"minutes": 3, "step_seconds": 0.1, "steps": 10}, ValueError, "several"),
        ({"minutes": -3, "step_seconds": 0.1}, ValueError, "minutes must be positive"),
        ({"minutes": 1, "step_seconds": 50}, ValueError, "at least two steps"),
        (
            {"steps": 100, "goal": "ensemble", "anneal": False},
            ValueError,
            "anneal must be True for the goal 'ensemble'",
        ),
        ({"steps": 100, "goal": "average", "anneal": False, "cycles": 30}, ValueError, "at least 150 steps"),
        ({"steps": 100, "goal": "anytime", "cycles": 0}, ValueError, "cycles"),
    ],
)
def test_a_goal_that_cannot_be_is_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        plan(SOME, **arguments)


@given(
    name=st.sampled_from(GOALS),
    total=st.integers(100, 3000),
    cycles=st.integers(1, 4) | st.none(),
    anneal=st.booleans(),
)
def test_a_goal_holds_what_was_said_beside_its_name(name, total, cycles, anneal):
    anneal = anneal or name in ("ensemble", "anytime")
    made = plan(SOME, steps=total, goal=Goal(name, cycles, anneal))
    assert made == plan(SOME, steps=total, goal=name, cycles=cycles, anneal=anneal)
    assert made.goal == name


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("finale",), ValueError, "goal must be one of .* did you mean 'final'"),
        (("ensemble", 0), ValueError, "cycles must be"),
        (("ensemble", 2.5), TypeError, "cycles must be"),
        (("final", None, "no"), TypeError, "anneal must be True or False, got 'no'"),
        (("anytime", None, False), ValueError, "anneal must be True for the goal 'anytime'"),
        (("ensemble", None, True, 1.0), ValueError, "first must be a share of the budget below 1"),
        (("average", None, False, 0.5), ValueError, "first must be left out but for"),
        (("anytime", None, True, 0.5), ValueError, "first must be left out but for"),
        (("anytime", None, True, None, 0), ValueError, "growth must be"),
        (("ensemble", None, True, None, 2), ValueError, "growth must be left out but for the goal 'anytime'"),
    ],
)
def test_a_goal_is_checked_when_it_is_made(arguments, kind, says):
    with pytest.raises(kind, match=says):
        Goal(*arguments)


def test_a_goal_is_a_value():
    assert eval(repr(Goal("average", np.int64(3), False))) == Goal("average", 3, anneal=False)
    assert len({Goal("ensemble"), Goal("ensemble", None)}) == 1


@given(
    name=st.sampled_from(["ensemble", "average"]),
    total=st.integers(400, 5000),
    count=st.integers(2, 6),
    first=st.floats(0.1, 0.9),
)
def test_the_first_cycle_takes_the_share_that_is_asked_for(name, total, count, first):
    made = plan(SOME, steps=total, goal=Goal(name, count, first=first))
    assert made.steps == made.snapshots[-1] == made.schedule.duration == total
    assert made.snapshots == made.schedule.cycle_ends()
    assert len(made.snapshots) == count
    assert made.snapshots[0] / total == pytest.approx(first, abs=count / total)
    assert any("as requested" in reason for reason in made.reasons)


@given(total=st.integers(300, 5000), count=st.integers(2, 4), growth=st.integers(1, 4), more=st.integers(2, 30_000))
def test_cycles_grow_as_asked_for_and_go_on_to(total, count, growth, more):
    made = plan(SOME, steps=total, goal=Goal("anytime", count, growth=growth))
    ends = made.snapshots
    lengths = [end - start for start, end in starts_and_ends(made)]
    assert len(lengths) == count
    assert lengths[:-1] == [lengths[0] * growth**place for place in range(count - 1)]
    assert 0 <= lengths[-1] - lengths[0] * growth ** (count - 1) < sum(growth**place for place in range(count))
    longer = made.extend(more)
    assert longer.snapshots[:count] == ends
    added = [end - start for start, end in starts_and_ends(longer)][count:]
    assert added[:-1] == [lengths[-1] * growth ** (1 + place) for place in range(len(added) - 1)]


def test_a_share_too_large_for_the_cycles_says_how_many_steps_it_takes():
    with pytest.raises(ValueError, match=r"5 cycles for the goal 'ensemble' need at least 79[0-9][0-9] steps, got 100"):
        plan(SOME, steps=100, goal=Goal("ensemble", 5, first=0.999))
