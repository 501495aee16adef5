"""Bounds: what curves say, and what they do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Bounds, Curve, Inconclusive
from tests.range.ended import cut

seeds = st.integers(0, 10_000)
fewer = settings(max_examples=settings.default.max_examples // 2)  # each makes two smoothers; `make fuzz` tries more


def ramp_losses(seed=0, *, noise=0.05, start=1e-3, end=0.3, steps=300, repeats=1, low=1e-6):
    """A fall around the rate `start`, a blow-up beyond `end`; each repeat with its own noise."""
    rates = np.geomspace(low, 10, steps)
    losses = 2.3 - 1.5 / (1 + (start / rates)) + (rates / end) ** 3
    return rates, losses + noise * np.random.default_rng(seed).normal(size=(repeats, steps))


def curve(seed=0, **how):
    rates, losses = ramp_losses(seed, **how)
    losses, stops = cut(losses)
    return Curve(rates, losses, stops=stops)


@fewer
@given(seeds, st.floats(0.02, 1), st.floats(0.01, 0.1))
def test_the_upper_bound_backs_off_from_where_the_loss_turns_up(seed, end, noise):
    bounds = curve(seed, end=end, start=end / 100, noise=noise).bounds()
    assert end / 10 < bounds.max_lr < end / 2
    assert bounds.base_lr <= bounds.max_lr / 2
    assert bounds.tuning_cost <= 300
    assert bounds.evidence


@fewer
@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
def test_scaling_and_shifting_the_loss_changes_nothing(seed, scale, shift):
    rates, losses = ramp_losses(seed)
    plain = Curve(rates, losses).bounds()
    moved = Curve(rates, scale * losses + shift).bounds()
    assert moved.max_lr == pytest.approx(plain.max_lr, rel=0.06)
    assert moved.base_lr == pytest.approx(plain.base_lr, rel=0.06)


@fewer
@given(seeds, st.floats(1e-3, 1e3))
def test_the_bounds_go_along_with_the_unit_of_the_rate(seed, unit):
    rates, losses = ramp_losses(seed)
    plain, scaled = Curve(rates, losses).bounds(), Curve(unit * rates, losses).bounds()
    assert scaled.max_lr == pytest.approx(unit * plain.max_lr, rel=0.06)  # a point of the ramp


@fewer
@given(seeds)
def test_a_metric_of_which_more_is_better_says_the_same_as_a_loss(seed):
    rates, losses = ramp_losses(seed)
    made = Curve(rates, losses, {"score": -losses}, maximize=frozenset({"score"}))
    assert made.bounds("score").max_lr == made.bounds().max_lr


def test_a_metric_measured_now_and_then_is_read_at_its_own_points():
    rates, losses = ramp_losses(noise=0.01)
    losses, _ = cut(losses)
    sparse = np.full_like(losses, np.nan)
    sparse[:, 14::15] = losses[:, 14::15]
    made = Curve(rates, losses, {"val_loss": sparse})
    assert made.bounds("val_loss").max_lr == pytest.approx(made.bounds().max_lr, rel=0.5)


@fewer
@given(seeds)
def test_the_interval_holds_the_upper_bound_and_grows_with_its_level(seed):
    made = curve(seed, repeats=3)
    narrow, wide = made.bounds(level=0.5), made.bounds(level=0.95)
    for bounds in (narrow, wide):
        assert bounds.max_interval[0] < bounds.max_lr < bounds.max_interval[1]
        assert bounds.base_interval[0] < bounds.base_lr < bounds.base_interval[1]
    assert wide.max_interval[0] < narrow.max_interval[0]
    assert wide.max_interval[1] > narrow.max_interval[1]


def test_the_interval_covers_the_answer_of_another_repeat():
    made = [curve(seed, noise=0.2).bounds() for seed in range(20)]
    covered = [a.max_repeat[0] <= b.max_lr <= a.max_repeat[1] for a in made for b in made if a is not b]
    assert np.mean(covered) > 0.8


def test_the_same_curve_gives_the_same_bounds():
    assert curve().bounds() == curve().bounds()


def refused(losses, rates=None):
    rates = np.geomspace(1e-6, 10, len(losses)) if rates is None else rates
    rows, stops = cut([losses])
    try:
        Curve(rates, rows, stops=stops).bounds()
    except Inconclusive:
        return True
    return False


BAD = {
    "noise": lambda rng, x: rng.normal(size=len(x)),
    "heavy-tailed noise": lambda rng, x: rng.standard_t(3, size=len(x)),
    "skewed noise": lambda rng, x: rng.exponential(size=len(x)),
    "flat, then up": lambda rng, x: 0.1 * rng.normal(size=len(x)) + np.exp(20 * (x - 0.9)),
    "rising": lambda rng, x: 0.1 * rng.normal(size=len(x)) + 3 * x,
    "constant": lambda rng, x: np.ones(len(x)),
    "rising without noise": lambda rng, x: 2 + x,
    "rising at last, without noise": lambda rng, x: np.exp(5 * x),
    "all but constant": lambda rng, x: 1 + 1e-9 * rng.normal(size=len(x)),
    "still falling": lambda rng, x: 0.05 * rng.normal(size=len(x)) - x,
    "one spike down": lambda rng, x: np.where(np.arange(len(x)) == len(x) // 2, -9, 1) + 0.1 * rng.normal(size=len(x)),
}


@pytest.mark.parametrize("steps", [60, 300])
@pytest.mark.parametrize("kind", BAD)
def test_a_curve_that_says_nothing_is_refused(kind, steps):
    x = np.linspace(0, 1, steps)
    answers = [refused(BAD[kind](np.random.default_rng(seed), x)) for seed in range(40)]
    assert np.mean(answers) >= 0.85  # 40 draws of what happens in 95 %


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5, 1.0])
def test_a_good_curve_is_not_refused(noise):
    answers = [refused(ramp_losses(seed, noise=noise)[1][0], ramp_losses()[0]) for seed in range(40)]
    assert np.mean(answers) < 0.1


@pytest.mark.parametrize("steps", [2, 5, 11])
def test_a_short_curve_is_refused(steps):
    with pytest.raises(Inconclusive, match="more steps"):
        Curve(np.geomspace(1e-5, 1, steps), np.linspace(2, 1, steps)).bounds()


@pytest.mark.parametrize("steps", [12, 40, 80, 300])
def test_a_loss_that_rises_from_its_first_step_is_refused(steps):
    with pytest.raises(Inconclusive, match="rising"):
        Curve(np.geomspace(1e-5, 10, steps), (2 + np.arange(steps) / 10)[None]).bounds()


def descent(curvatures, rates, start=1.0):
    """Losses of gradient descent on a paraboloid, without any noise."""
    place, losses = np.full(len(curvatures), start), np.full(len(rates), np.inf)
    for step, rate in enumerate(rates):
        losses[step] = np.sum(curvatures * place**2)
        if losses[step] > 1e9:
            break
        place = place * (1 - 2 * rate * curvatures)
    return losses


@settings(max_examples=settings.default.max_examples // 4)  # each has a length of its own, and so a smoother
@given(st.lists(st.floats(0.2, 1), min_size=1, max_size=8), st.floats(0.1, 100))
def test_without_noise_the_bounds_stay_below_the_largest_stable_rate(curvatures, unit):
    # A loss that is next to nothing grows unseen over many steps before it comes back.
    curvatures, rates = unit * np.array(curvatures), np.geomspace(1e-6, 1e3, 300)
    losses, stops = cut([descent(curvatures, rates)])
    assert Curve(rates, losses, stops=stops).bounds().max_lr < 1 / curvatures.max()


@settings(max_examples=settings.default.max_examples // 4)
@given(st.floats(-6, -2))
def test_how_deep_a_loss_falls_without_noise_changes_little(depth):
    # Near the bottom a rise counts by what it is, not by its share of all that was gained.
    rates, _ = ramp_losses()
    floor = 10**depth
    losses = 1 / (1 + (rates / 1e-3) ** 2) + floor * (1 + (rates / 0.1) ** 4)
    made = Curve(rates, cut([losses])[0]).bounds()
    assert 0.005 < made.max_lr < 0.2


def test_a_ramp_that_diverged_at_once_is_refused():
    losses = np.full(300, np.nan)
    losses[:5] = 2, 2, 1, 9, 99
    with pytest.raises(Inconclusive, match="start lower"):
        Curve(np.geomspace(1e-6, 10, 300), losses, stops=("diverged",)).bounds()


@fewer
@given(seeds)
def test_a_plateau_up_to_the_end_is_no_fall_wherever_its_lowest_point_is(seed):
    rates = np.geomspace(1e-6, 10, 300)
    losses = 2 - 1.5 / (1 + 1e-3 / rates) + 0.05 * np.random.default_rng(seed).normal(size=300)
    assert 0.05 < Curve(rates, losses - 0.01 * np.log(rates)).bounds().max_lr < 5


@settings(max_examples=settings.default.max_examples // 4)
@given(seeds, st.floats(0.05, 1))
def test_a_loss_that_falls_until_it_is_no_number_has_told_where_the_edge_is(seed, edge):
    rates, losses = ramp_losses(seed, end=100.0, start=edge)
    bounds = Curve(rates, np.where(rates < edge, losses, np.nan), stops=("non-finite",)).bounds()
    assert edge / 20 < bounds.max_lr < edge
    with pytest.raises(Inconclusive, match="goes higher"):
        Curve(rates[rates < edge], losses[:, rates < edge]).bounds()


def test_most_repeats_decide():
    rates, losses = ramp_losses(repeats=3)
    flat = np.random.default_rng(1).normal(size=losses.shape[1])
    one_bad, two_bad = losses.copy(), losses.copy()
    one_bad[0] = flat
    two_bad[:2] = flat
    assert "2 of 3" in Curve(rates, one_bad).bounds().evidence[0]
    with pytest.raises(Inconclusive, match="2 of 3"):
        Curve(rates, two_bad).bounds()


@pytest.mark.parametrize("level", [0, 1, -1, 2, float("nan")])
def test_the_level_must_be_a_probability(level):
    with pytest.raises(ValueError, match="level"):
        curve().bounds(level=level)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ((0.1, 0.01), ValueError, "swap"),
        ((0, 0.01), ValueError, "base_lr"),
        ((0.001, float("inf")), ValueError, "max_lr"),
        ((0.001, "0.01"), TypeError, "max_lr"),
        ((0.001, True), TypeError, "max_lr"),
        ((0.001, 0.01, (1, 2, 3)), ValueError, "pair"),
        ((0.001, 0.01, (2, 1)), ValueError, "swap"),
        ((0.001, 0.01, None, None, 1.5), ValueError, "level"),
        ((0.001, 0.01, None, None, 0.9, (), -1), ValueError, "tuning_cost"),
    ],
)
def test_wrong_bounds_are_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        Bounds(*arguments)


def test_bounds_are_values():
    bounds = Bounds(np.float64(0.001), np.float64(0.01))
    assert bounds == Bounds(0.001, 0.01)
    assert "np." not in repr(bounds)
    assert dataclasses.replace(bounds, max_lr=0.02).max_lr == 0.02


@fewer
@given(seeds)
def test_bounds_have_three_digits_and_evidence_of_a_metric_says_that_it_was_negated(seed):
    rates, losses = ramp_losses(seed)
    made = Curve(rates, losses, {"score": -losses}, maximize=frozenset({"score"})).bounds("score")
    for rate in (made.base_lr, made.max_lr, *made.base_interval, *made.max_interval):
        assert rate == float(f"{rate:.3g}")
    assert made.evidence[0].startswith("The negated score is lowest at")


# ---------------------------------------------------------------- from which weights


@pytest.mark.slow
@given(st.integers(0, 1000), st.floats(0.5, 2))
def test_the_answer_of_repeats_is_the_same_and_says_which_weights_they_began_from(seed, apart):
    rows = [ramp_losses(seed + number, end=0.3 * factor, start=0.003 * factor) for number, factor in
            enumerate((1 / apart, 1.0, apart))]  # fmt: skip
    rates, losses = rows[0][0], np.stack([np.minimum(np.ravel(row[1]), 40) for row in rows])
    same, anew = Curve(rates, losses).bounds(), Curve(rates, losses, anew=True).bounds()
    assert same.max_lr == anew.max_lr
    assert "same weights" in same.evidence[-1]
    assert anew.evidence[-1] == "Each of the 3 sweeps began from new weights."


def test_repeats_from_new_weights_that_differ_have_a_wider_interval_than_those_that_agree():
    rates = np.geomspace(1e-6, 10, 36)

    def width(*lost):
        values = np.stack([1 + np.clip((np.log(rates / at) + np.log(3)) / np.log(3), -1, None) ** 2 for at in lost])
        low, high = Curve(rates, values, reference=values, anew=True).bounds(budget=400).max_repeat
        return high / low

    assert width(0.1, 0.1, 0.1) < width(0.07, 0.1, 0.14) < width(0.05, 0.1, 0.2)
    with pytest.raises(Inconclusive, match="known only to within a factor of") as found:
        width(0.01, 0.1, 1.0)
    assert found.value.fallback == pytest.approx(0.015, rel=0.5)
