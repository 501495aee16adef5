from __future__ import annotations

import importlib
import math
from itertools import pairwise, product
from pathlib import Path

import bench.power
import numpy as np
import pytest
from bench.power import METRICS, Setting, max_t, t_test
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from cyclr.study._stats import (
    Comparison,
    Interval,
    area,
    detectable,
    interval,
    many_to_one,
    seeds_to_detect,
    steps_to_target,
    value_at,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9)
shapes = st.tuples(st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))  # seeds, policies, random seed


def study(seeds: int, policies: int, seed: int, effect: float = 0.0) -> np.ndarray:
    """Values of a baseline, in the first row, and of policies that end better by `effect`, spreads unequal."""
    rng = np.random.default_rng(seed)
    spreads = np.exp(rng.normal(size=(policies + 1, 1)))
    values = spreads * rng.normal(size=(policies + 1, seeds)) + 3 * rng.normal(size=seeds)
    values[1:] += effect
    return values


def compared(values: np.ndarray) -> list[Comparison]:
    return many_to_one(list(values[1:]), values[0])


# ---------------------------------------------------------------- intervals of a mean


@given(st.integers(2, 30), st.floats(0.1, 10), st.integers(0, 1000))
def test_values_without_skewness_get_students_interval(half: int, spread: float, seed: int) -> None:
    side = spread * np.random.default_rng(seed).normal(size=half)
    values = np.concatenate([side, -side]) + 5
    low, high = scipy_stats.t.interval(0.95, values.size - 1, loc=5, scale=scipy_stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((5, low, high), rel=1e-5)


@given(numbers)
@example([0.0, 5e-286])
def test_an_interval_is_students_with_the_end_on_the_skewed_side_moved_out(values: list[float]) -> None:
    found, sample = interval(values), np.asarray(values)
    if np.ptp(values) <= 1e-6 * np.abs(values).max() or sample.std() == 0:
        assert (found.low, found.high) == (-math.inf, math.inf)
        return
    low, high = scipy_stats.t.interval(0.95, sample.size - 1, loc=sample.mean(), scale=scipy_stats.sem(sample))
    slack = 1e-9 * np.abs(values).max()
    assert found.low <= low + slack
    assert found.high >= high - slack
    g = scipy_stats.skew(sample, bias=False) if sample.size > 2 else 0.0
    for end, student in ((found.low, low), (found.high, high)):  # Hall's transformation of each end, as printed
        u = (sample.mean() - end) / sample.std(ddof=1)
        hall = math.sqrt(sample.size) * (u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * sample.size))
        t = scipy_stats.t.ppf(0.975, sample.size - 1)
        assert end == pytest.approx(student, abs=10 * slack) or abs(hall) == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_a_95_percent_interval_covers_the_mean_in_95_percent_of_cases(n: int) -> None:
    rng = np.random.default_rng(n)
    covered = [interval(rng.normal(size=n)).contains(0) for _ in range(400)]
    assert 0.925 <= np.mean(covered) <= 0.985


def test_skewed_values_are_covered_more_often_than_by_students_interval() -> None:
    draws = METRICS["very skewed"](np.random.default_rng(0), (400, 10))
    half = scipy_stats.t.ppf(0.975, 9) * scipy_stats.sem(draws, axis=1)
    student = np.mean(np.abs(draws.mean(1)) <= half)
    ours = np.mean([interval(values).contains(0) for values in draws])
    assert student < 0.87
    assert ours > student + 0.04


def test_the_plain_bootstrap_is_too_narrow_at_five_values() -> None:
    """Why no interval is a bootstrap of a few seeds."""
    every = np.array(list(product(range(5), repeat=5)))  # all resamples: no chance in it
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        low, high = np.quantile(rng.normal(size=5)[every].mean(axis=1), [0.025, 0.975])
        covered += low <= 0 <= high
    assert covered / 400 < 0.9


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, math.nan], [math.inf, 1.0, 2.0], [0.7, 0.7, 0.7], [0.7] * 9, [0.7, np.float32(0.7)]]
)
def test_one_value_or_one_that_is_not_finite_or_values_all_the_same_have_no_interval(values: list[float]) -> None:
    found = interval(values)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.contains(0)
    assert found.contains(1e300)


# ---------------------------------------------------------------- comparisons


@given(numbers, st.floats(-1e3, 1e3))
@example([-999995.0, 1.0], 0.0)  # the second difference, 1, is rounding beside values of 1e6
@example([0.0, 0.0, 1.0], 1e3)
def test_what_a_pair_shares_drops_out(values: list[float], shift: float) -> None:
    first = np.asarray(values) + shift
    shared = np.linspace(-5, 5, first.size)
    sizes = np.abs([first, first + shared, shared]).max()
    if np.ptp(first) <= 1e-3 * sizes:  # else what is equal but for rounding decides
        return
    first = np.where(np.abs(first) <= 1e-5 * sizes, 0, first)
    (alone,), (found,) = many_to_one([first], 0 * first), many_to_one([first + shared], shared)
    wide = max(1.0, alone.difference.high - alone.difference.low)
    for name in ("mean", "low", "high"):
        assert getattr(found.difference, name) == pytest.approx(getattr(alone.difference, name), abs=1e-4 * wide)


def test_runs_that_are_the_same_differ_by_nothing_and_roundings_are_no_differences() -> None:
    ends = np.array([0.71, 0.74, 0.73], dtype=np.float32)
    same, steady = many_to_one([ends.astype(float), ends + np.float32(0.01)], [0.71, 0.74, 0.73])
    assert same.difference == Interval(0, 0, 0)
    assert (same.p, same.adjusted) == (1, 1)
    assert (steady.difference.low, steady.difference.high) == (-math.inf, math.inf), "0.01 on each seed, but for bits"
    assert steady.difference.mean == pytest.approx(0.01, rel=1e-4)
    assert math.isnan(steady.p)
    assert math.isnan(steady.adjusted)
    assert math.isnan(detectable(steady))
    assert math.isnan(seeds_to_detect(same, 0.01))


@settings(max_examples=40)
@given(shapes, st.floats(0, 5))
def test_the_p_value_is_that_of_the_paired_t_test(shape: tuple[int, int, int], effect: float) -> None:
    values = study(*shape, effect)
    for own, found in zip(values[1:], compared(values), strict=True):
        assert found.p == pytest.approx(scipy_stats.ttest_rel(own, values[0]).pvalue, rel=1e-6)
        assert found.difference.mean == pytest.approx((own - values[0]).mean())


@settings(max_examples=40)
@given(shapes, st.floats(0, 8))
def test_an_interval_excludes_zero_exactly_where_the_adjusted_p_is_small(shape, effect: float) -> None:
    for found in compared(study(*shape, effect)):
        assert found.difference.contains(0) == (found.adjusted > 0.05)
        assert (found.p <= found.level) == (found.adjusted <= 0.05)
        assert found.difference.low < found.difference.mean < found.difference.high


@settings(max_examples=40)
@given(shapes, st.floats(0, 8))
def test_the_adjustment_lies_between_none_and_holms(shape: tuple[int, int, int], effect: float) -> None:
    found = sorted(compared(study(*shape, effect)), key=lambda one: one.p)
    holm = 0.0
    for place, one in enumerate(found):
        holm = max(holm, min(1.0, (len(found) - place) * one.p))
        assert one.p * (1 - 1e-9) <= one.adjusted <= holm * (1 + 1e-9)
    assert [one.adjusted for one in found] == sorted(one.adjusted for one in found)
    if len(found) == 1:
        assert found[0].adjusted == pytest.approx(found[0].p)


@settings(max_examples=20)
@given(shapes, st.randoms(), st.floats(0.01, 100))
def test_the_order_of_policies_the_unit_and_the_direction_do_not_matter(shape, random, unit: float) -> None:
    values = study(*shape, 1.0)
    order = list(range(1, len(values)))
    random.shuffle(order)
    found = compared(values)
    again = compared(-unit * values[[0, *order]])
    for index, one in zip(order, again, strict=True):
        assert one.adjusted == pytest.approx(found[index - 1].adjusted, rel=1e-6)
        assert one.difference.low == pytest.approx(-unit * found[index - 1].difference.high, rel=1e-6, abs=1e-9)


def test_a_copy_of_a_policy_costs_nothing_and_one_that_diverged_counts() -> None:
    values = study(6, 3, 1, 1.0)
    found = [one.adjusted for one in compared(values)]
    copied = [one.adjusted for one in compared(np.vstack([values, values[1:2]]))]
    assert copied[:3] == pytest.approx(found, rel=1e-6)
    lost = [one.adjusted for one in compared(np.vstack([values, np.full(6, np.nan)]))]
    assert math.isnan(lost[3])
    first = min(range(3), key=lambda index: found[index])
    assert lost[first] == pytest.approx(found[first] + compared(values)[first].p, rel=1e-6)
    assert all(more > less for more, less in zip(lost, found, strict=False))


@pytest.mark.parametrize(("seeds", "policies"), [(3, 2), (5, 7), (12, 4)])
def test_the_adjusted_p_values_are_those_of_counted_rotations(seeds: int, policies: int) -> None:
    """The definition: the largest |t| of those left, under random directions in the place of (1, ..., 1)."""
    values = study(seeds, policies, 3, 0.8)
    changes = (values[1:] - values[0]).T
    u = np.random.default_rng(1).normal(size=(40_000, seeds))
    u *= math.sqrt(seeds) / np.linalg.norm(u, axis=1, keepdims=True)
    means = u @ changes / seeds
    spreads = np.sqrt(((changes**2).mean(0) - means**2) * seeds / (seeds - 1))
    rotated = np.abs(means / spreads) * math.sqrt(seeds)
    t = np.abs(scipy_stats.ttest_1samp(changes, 0).statistic)
    found, least = compared(values), 0.0
    left = list(np.argsort(-t))
    while left:
        least = max(least, float((rotated[:, left].max(axis=1) >= t[left[0]]).mean()))
        assert found[left.pop(0)].adjusted == pytest.approx(least, rel=0.06, abs=0.01)


@settings(max_examples=30)
@given(shapes, st.floats(0.1, 3))
def test_p_falls_without_a_floor_as_a_difference_grows(shape: tuple[int, int, int], first: float) -> None:
    values = study(*shape)
    if np.ptp(values[1] - values[0]) < 0.1:  # beside the largest effect such a spread is lost in rounding
        return
    ps = []
    for effect in (first, 10 * first, 100 * first, 1e4 * first):
        values[1] = values[1] - values[1].mean() + values[0].mean() + effect
        ps.append(compared(values)[0].adjusted)
    assert all(after <= before + 0.05 for before, after in pairwise(ps)), "far from 0.05 others may move it a little"
    assert ps[-1] < 0.02 * ps[-2], "it falls as the difference grows a hundred times, at least in proportion"


@pytest.mark.parametrize("seeds", [5, 7, 8, 10, 12, 20])
def test_a_difference_of_a_hundred_deviations_is_found_at_any_number_of_seeds(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=(8, seeds))
    values[1:] += 100
    assert max(one.adjusted for one in compared(values)) < 1e-6


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0, 3.0, 100.0])
def test_p_never_rises_with_seeds_at_the_same_effect(effect: float) -> None:
    """Each number of seeds sees the same mean, spread and correlations."""
    rng = np.random.default_rng(0)
    last = 1.0
    for seeds in range(7, 21):
        noise = rng.normal(size=(7, seeds))
        noise -= noise.mean(axis=1, keepdims=True)
        noise = np.linalg.qr(noise.T)[0].T[:6] * math.sqrt(seeds - 1)  # uncorrelated, with a spread of 1
        noise[1:] += 0.7 * noise[0] + effect
        found = max(one.adjusted for one in many_to_one(list(noise[1:]), 0 * noise[0]))
        assert found <= last + 0.01, "the share of rotations is computed to a hundredth"
        last = found


@pytest.mark.parametrize("metric", ["normal", "heavy-tailed", "200 examples"])
@pytest.mark.parametrize("noisier", ["none", "one policy", "baseline"])
@pytest.mark.parametrize("seeds", [2, 5, 12])
def test_seven_policies_that_are_all_alike_seldom_seem_to_differ(seeds: int, metric: str, noisier: str) -> None:
    changes = Setting(seeds, 7, metric, noisier, "none").draw(np.random.default_rng(3), studies=1000)
    assert max_t(changes).any(axis=1).mean() < 0.071, "three standard errors above 5 %"
    plain = (t_test(changes) <= 0.05).any(axis=1).mean()
    assert noisier == "baseline" or metric != "normal" or plain > 0.12, "without the adjustment false ones are common"


def test_a_coarse_metric_seldom_seems_to_differ_at_two_seeds() -> None:
    """50 images: both differences are the same number of images in a tenth of cases, which is no certainty."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(50, 0.9, size=(400, 2, 2))
    found = [many_to_one([pair[0] / 50], pair[1] / 50)[0] for pair in counts]
    p_values = np.array([one.p for one in found])
    assert np.mean(np.isnan(p_values)) > 0.05, "the same on both, which Student would call certain"
    assert np.mean(p_values <= 0.05) < 0.08
    assert all((one.p <= 0.05) != one.difference.contains(0) for one in found)


def test_values_that_say_nothing_have_no_p_value() -> None:
    assert math.isnan(many_to_one([[1.0]], [0.5])[0].p)
    unknown, same, alike = many_to_one([[1.0, math.nan], [0.0, 1.0], [1.0, 2.0]], [0.0, 1.0])
    assert math.isnan(unknown.p)
    assert same.p == 1
    assert math.isnan(alike.p)
    assert many_to_one([], [0.0, 1.0]) == []


def test_the_benchs_rotations_find_what_the_library_finds() -> None:
    same = 0
    for seed in range(60):
        values = study(6, 4, seed, 1.5)
        called = max_t((values[1:] - values[0]).T[None])[0]
        same += sum(called == [one.adjusted <= 0.05 for one in compared(values)])
    assert same >= 236, "of 240: both count by chance, so what lies at 0.05 may differ"


def test_the_bench_compares_with_holms_method_on_welchs_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(bench.power.__file__).parent)
    seeds = importlib.import_module("seeds")
    values = np.stack([study(5, 4, seed, 10.0).T for seed in range(50)])
    called = seeds.welch(values, 0)
    assert 0.2 < called.mean() < 0.9
    for own, found in zip(values, called, strict=True):
        p = scipy_stats.ttest_ind(own[:, 1:], own[:, :1], equal_var=False).pvalue
        order = np.argsort(p)
        first = next((k for k, index in enumerate(order) if p[index] > 0.05 / (4 - k)), 4)
        assert sorted(order[:first]) == list(np.flatnonzero(found))


# ---------------------------------------------------------------- power


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_detectable_difference_is_found_in_four_of_five_studies(seeds: int) -> None:
    noise = np.random.default_rng(seeds).normal(size=(2000, seeds))
    like = Comparison(Interval(0, -1, 1), 0.5, 0.5, 0.01, 2.0, seeds)
    p = scipy_stats.ttest_1samp(2 * noise + detectable(like), 0, axis=1).pvalue
    assert np.mean(p <= 0.01) == pytest.approx(0.8, abs=0.03)
    assert seeds_to_detect(like, detectable(like) * 1.001) == seeds
    assert seeds_to_detect(like, detectable(like) * 0.999) == seeds + 1


@settings(max_examples=15)
@given(st.floats(0.02, 50), st.integers(2, 30), st.floats(0.001, 0.05))
def test_smaller_differences_take_more_seeds(spread: float, seeds: int, level: float) -> None:
    like = Comparison(Interval(0, -1, 1), 0.5, 0.5, level, spread, seeds)
    needed = [seeds_to_detect(like, wanted) for wanted in (1, 0.5, 0.1)]
    assert needed == sorted(needed)
    assert needed[0] >= 2
    more = Comparison(like.difference, 0.5, 0.5, level, spread, seeds + 1)
    assert detectable(more) < detectable(like)


def test_more_than_ten_thousand_seeds_are_no_number() -> None:
    like = Comparison(Interval(0, -1, 1), 0.5, 0.5, 0.05, 1.0, 5)
    assert seeds_to_detect(like, 0.02) == math.inf
    assert 7_000 < seeds_to_detect(like, 0.033) < 10_000


# ---------------------------------------------------------------- the way


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.floats(-1, 1))
def test_the_area_lies_between_the_extremes_and_moves_with_the_curve(values: list[float], shift: float) -> None:
    steps = [10 * k**2 + 5 for k in range(len(values))]
    found = area(steps, values)
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert area(steps, [value + shift for value in values]) == pytest.approx(found + shift)
    between = sorted({*steps, *range(steps[0], steps[-1], 7)})
    assert area(between, list(np.interp(between, steps, values))) == pytest.approx(found), "more points"


def test_bad_values_are_errors() -> None:
    with pytest.raises(ValueError, match="a number for each seed"):
        interval([])
    with pytest.raises(ValueError, match="equal length, got 2 and 3"):
        many_to_one([[1, 2]], [1, 2, 3])
    with pytest.raises(ValueError, match="baseline must hold a number for each seed"):
        many_to_one([[]], [])
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        interval([1, 2], level=95)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_no_step_before_the_target_reaches_it(values: list[float], target: float) -> None:
    steps = list(range(10, 10 * len(values) + 1, 10))
    at = steps_to_target(steps, values, target)
    if math.isinf(at):
        assert max(values) < target
    else:
        index = steps.index(int(at))
        assert values[index] >= target
        assert all(value < target for value in values[:index])
    mirrored = steps_to_target(steps, [-value for value in values], -target, maximize=False)
    assert mirrored == at


def test_the_value_at_a_step_is_the_last_one_before_it() -> None:
    assert value_at([10, 20, 30], [1, 2, 3], 20) == 2
    assert value_at([10, 20, 30], [1, 2, 3], 29.5) == 2
    assert math.isnan(value_at([10, 20], [1, 2], 5))
