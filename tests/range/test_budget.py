"""The length of the training to come: what testing may cost, and what it does to the bounds."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Bounds, Curve, Inconclusive, Ramp, plan
from cyclr._range import Recorder
from cyclr._range.horizon import FEWEST, allowed, effort_for, extent
from cyclr._range.probe import candidates, ends
from cyclr._range.reading import MARGIN
from tests.range.test_bounds import ramp_losses
from tests.range.test_probe import bowl
from tests.range.test_recorder import answer, learning

LOSSES = {
    "learning": learning,
    "flat": lambda step, rate: 1.0,
    "falling": lambda step, rate: 2 - 0.1 * math.log(rate + 1e-9),
    "diverging": lambda step, rate: math.nan if rate > 1e-3 else 1.0,
    "noise": lambda step, rate: float(np.random.default_rng(step).normal()),
}


@settings(max_examples=settings.default.max_examples // 2)  # each walks a whole test
@given(
    st.integers(1, 30_000), st.sampled_from(["quick", "thorough"]), st.integers(1, 3), st.sampled_from(sorted(LOSSES))
)
def test_testing_costs_at_most_15_percent_of_the_training_or_30_steps_a_sweep(budget, effort, repeats, kind):
    recorder = Recorder(Ramp(), effort=effort, repeats=repeats, budget=budget)
    most = recorder.most_steps
    steps = len(answer(recorder, LOSSES[kind]))
    assert steps <= max(FEWEST * repeats, 0.15 * budget)
    assert steps <= most
    assert recorder.curve().tuning_cost <= steps


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_longer_training_is_never_tested_less(one, other):
    low, high = sorted((one, other))
    assert allowed(low) <= allowed(high)
    for effort in ("quick", "thorough"):
        first, second = (extent(Ramp(), effort, budget=budget) for budget in (low, high))
        assert first.cycles * first.cycle <= second.cycles * second.cycle
        assert first.cycles != second.cycles or first.ramp.steps <= second.ramp.steps <= 300
    assert (effort_for(low), effort_for(high)) != ("thorough", "quick")


def test_a_ramp_that_is_short_already_stays_as_it_is():
    ramp = Ramp(1e-4, 1.0, steps=40)
    assert extent(ramp, "quick", budget=10**6).ramp == extent(ramp, "quick").ramp == ramp


@settings(max_examples=settings.default.max_examples // 3)  # each is read seven times
@given(st.integers(0, 10_000), st.floats(0.02, 1))
def test_the_longer_the_training_the_lower_the_upper_bound(seed, end):
    rates, losses = ramp_losses(seed, end=end, start=end / 100)
    curve = Curve(rates, np.minimum(losses, 40))
    found = [curve.bounds(budget=budget).max_lr for budget in (60, 400, 2000, 10_000, 100_000, 10**7)]
    assert sorted(found, reverse=True) == found
    assert found[-1] < curve.bounds().max_lr < found[0]
    assert found[0] < 2.5 * curve.bounds().max_lr  # a correction, not another answer


@given(st.integers(0, 10_000), st.integers(1, 10**6))
def test_the_answer_keeps_away_from_where_the_loss_becomes_unstable_and_says_how_far(seed, budget):
    rates, losses = ramp_losses(seed)
    bounds = Curve(rates, np.minimum(losses, 40)).bounds(budget=budget)
    told = next(sentence for sentence in bounds.evidence if "becomes unstable at" in sentence)
    edge = float(told.split("becomes unstable at ")[1].split(",")[0])
    assert bounds.max_lr <= 1.06 * edge / MARGIN  # both have few digits
    assert float(told.split(", ")[1].split(" ")[0]) == pytest.approx(edge / bounds.max_lr, rel=0.1)
    assert bounds.budget == budget


@given(st.floats(1e-3, 3e-2), st.integers(0, 100))
def test_what_comes_after_a_loss_at_its_floor_proves_nothing(solved, seed):
    # From `solved` on there is nothing left to lose: also the rates at which training would break down do no harm.
    rates = np.geomspace(1e-6, 10, 300)
    noise = 0.03 * np.random.default_rng(seed).normal(size=300)
    losses = 0.7 / (1 + (rates / (solved / 30)) ** 4) * (1 + noise) + 1e-4 * np.abs(noise)
    bounds = Curve(rates, losses).bounds()
    assert bounds.max_lr < 4 * solved
    assert any("is at its floor from a rate of" in sentence for sentence in bounds.evidence)


def test_a_loss_that_may_fall_below_zero_has_no_floor():
    rates, losses = ramp_losses(noise=0.01)
    curve = Curve(rates, np.minimum(losses, 40) - 1.5)
    assert not any("floor" in sentence for sentence in curve.bounds().evidence)


def test_plan_says_when_the_bounds_were_found_for_another_length():
    bounds = Bounds(0.001, 0.01, budget=400)
    assert not any("were found for" in reason for reason in plan(bounds, steps=500).reasons)
    assert not any("were found for" in reason for reason in plan(replace(bounds, budget=None), steps=500).reasons)
    longer = next(reason for reason in plan(bounds, steps=10_000).reasons if "were found for" in reason)
    assert "400 steps of training, not 10000: they may be too high" in longer
    assert "curve.bounds(budget=10000)" in longer
    assert any("too low" in reason for reason in plan(bounds, steps=100).reasons)


@pytest.mark.parametrize("budget", [0, -1, 1.5, "400", True])
def test_a_wrong_budget_is_an_error_before_any_work(budget):
    rates, losses = ramp_losses()
    with pytest.raises((TypeError, ValueError), match="budget"):
        Curve(rates, losses).bounds(budget=budget)
    with pytest.raises((TypeError, ValueError), match="budget"):
        Recorder(Ramp(), budget=budget)


# ---------------------------------------------------------------- beyond the highest rate


def late(step, rate):
    """Falls up to a rate of 100, and rises beyond."""
    return 2.0 - 1.5 / (1 + (50 / max(rate, 1e-9)) ** 2) + (rate / 400) ** 4


def test_a_sweep_goes_on_while_the_loss_falls_at_its_highest_rate():
    recorder = Recorder(Ramp())
    steps = len(answer(recorder, late))
    curve = recorder.curve()
    assert 300 < steps == len(curve.rates) <= recorder.most_steps
    assert curve.rates[:300] == pytest.approx(Ramp().rates)
    assert 10 < curve.bounds().max_lr < 400


def test_a_sweep_that_is_told_to_ends_at_its_highest_rate():
    recorder = Recorder(Ramp(furthest=10.0))
    assert len(answer(recorder, late)) == 300 == recorder.most_steps
    with pytest.raises(Inconclusive, match="goes higher") as caught:
        recorder.curve().bounds()
    assert 1 < caught.value.fallback < 10
    with pytest.raises(ValueError, match="furthest"):
        Ramp(high=1.0, furthest=0.1)


def test_later_repeats_go_as_far_as_the_first():
    recorder = Recorder(Ramp(), repeats=2)
    answer(recorder, late)
    curve = recorder.curve()
    assert np.isfinite(curve.losses).all()
    assert curve.stops == ("end", "end")


# ---------------------------------------------------------------- networks that are trained already


def flat_then_up(seed=0):
    rates = np.geomspace(1e-6, 10, 300)
    losses = 50 + 0.2 * np.random.default_rng(seed).normal(size=300) + np.minimum((rates / 0.3) ** 3, 200)
    losses[rates > 1] = np.nan
    return Curve(rates, losses, stops=("diverged",))


def test_a_highest_rate_that_is_named_is_the_last():
    recorder = Recorder(Ramp(high=3.0))
    assert len(answer(recorder, late)) == 300


@given(st.integers(0, 100), st.floats(0.005, 0.05))
def test_where_a_sweep_is_flat_probe_cycles_decide(seed, centre):
    peaks = np.array(candidates(centre))
    bounds = replace(flat_then_up(seed), peaks=peaks, probes=bowl(centre, peaks) + 40).bounds()
    assert centre / 3 < bounds.max_lr < centre * 1.5
    assert "probe cycles" in bounds.evidence[0]
    assert bounds.max_interval[0] < bounds.max_lr < bounds.max_interval[1]


def test_where_no_cycle_learns_anything_the_test_is_inconclusive():
    peaks = np.array(candidates(0.01))
    curve = replace(flat_then_up(), peaks=peaks, probes=np.full((3, 180), 50.0))
    with pytest.raises(Inconclusive, match="no probe cycle with a peak of") as caught:
        curve.bounds()
    assert 0 < caught.value.fallback <= peaks[0] * 1.01


def test_a_thorough_test_probes_below_the_edge_where_the_sweep_is_flat():
    rng = np.random.default_rng(0)
    state = {"level": 1.0, "last": 0.0, "made": 0}

    def loss_of(step, rate):
        # Trained already: a sweep gains less than the noise, a cycle with a good peak gains clearly.
        state["made"] = step
        if rate > 0.5:
            return 1.0 + 10 * rate
        settled = step >= 300 and rate < 1e-4
        return (0.6 if settled else 1.0) + 0.05 * float(rng.normal())

    recorder = Recorder(Ramp(), effort="thorough", budget=20_000)
    answer(recorder, loss_of)
    curve = recorder.curve()
    assert len(curve.peaks) >= 3
    assert curve.peaks[0] < 0.5 / 10
    assert np.isfinite(ends(curve.probes)).any()


# ---------------------------------------------------------------- what an inconclusive test leaves


@given(st.integers(0, 100))  # noise alone looks like a fall for one seed in 200, which is above
def test_a_refusal_names_a_rate_that_is_not_proved(seed):
    with pytest.raises(Inconclusive, match="a rate to try, unproven: ") as caught:
        flat_then_up(seed).bounds()
    refusal = caught.value
    assert 1e-3 < refusal.fallback < 0.3
    assert refusal.curve is not None
    assert pickle.loads(pickle.dumps(refusal)).fallback == refusal.fallback


def test_a_curve_without_any_information_has_no_rate_to_try():
    with pytest.raises(Inconclusive) as caught:
        Curve(np.geomspace(1e-5, 1, 5), np.ones(5)).bounds()
    assert caught.value.fallback is None


def test_a_curve_of_few_points_names_a_rate_below_its_end():
    rates = np.geomspace(1e-5, 1, 9)
    with pytest.raises(Inconclusive, match="measured at only 9 rates") as caught:
        Curve(rates, 2 - rates).bounds()
    assert caught.value.fallback == 0.05


@pytest.mark.parametrize("high", [0.1, 10.0])
def test_a_higher_ramp_is_advised_where_the_users_own_ends_before_anything_happens(high):
    rates = np.geomspace(1e-6, high, 300)
    noise = np.random.default_rng(0).normal(size=300)
    with pytest.raises(Inconclusive, match="does not fall clearly") as caught:
        Curve(rates, 2 + noise).bounds()
    assert ("use a ramp that goes higher, such as Ramp(high=1)" in str(caught.value)) == (high < 10)
    assert ("start lower" in str(caught.value)) == (high == 10)
    falling = 2 - np.log(rates / 1e-6) + 0.01 * noise
    with pytest.raises(Inconclusive, match=r"still falling at the highest rate, .*such as Ramp\(high=1"):
        Curve(rates, falling).bounds()


def test_bounds_that_repeats_put_powers_of_ten_apart_are_no_answer():
    rates = ramp_losses()[0]
    rows = np.stack([np.minimum(ramp_losses(seed, end=end, start=end / 100)[1][0], 40)
                     for seed, end in enumerate((1e-3, 0.1, 5.0))])  # fmt: skip
    with pytest.raises(Inconclusive, match="known only to within a factor of") as caught:
        Curve(rates, rows).bounds()
    assert caught.value.fallback > 0


@given(st.integers(0, 1000))
def test_the_interval_is_wider_than_what_repeats_agree_on_where_they_agree(seed):
    rates, losses = ramp_losses(seed)
    bounds = Curve(rates, np.minimum(losses, 40)).bounds()
    for outer, inner in ((bounds.max_interval, bounds.max_repeat), (bounds.base_interval, bounds.base_repeat)):
        assert outer[0] < inner[0] < inner[1] < outer[1]
