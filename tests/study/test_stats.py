from __future__ import annotations

import math
from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from cyclr.study._stats import (
    Interval,
    area,
    difference,
    holm,
    interval,
    p_value,
    paired,
    steps_to_target,
    value_at,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=7)


@given(numbers)
def test_few_values_get_students_interval(values: list[float]) -> None:
    found = interval(values)
    n, spread = len(values), float(np.std(values, ddof=1))
    if np.ptp(values) <= 1e-6 * np.abs(values).max():
        assert (found.low, found.high) == (-math.inf, math.inf)
        return
    critical = [math.nan, math.nan, 12.7062047, 4.3026527, 3.1824463, 2.7764451, 2.5705818, 2.4469119][
        n
    ]  # from a table
    assert found.mean == pytest.approx(sum(values) / n, abs=1e-6)
    assert found.high - found.mean == pytest.approx(critical * spread / math.sqrt(n), rel=1e-5, abs=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean, abs=1e-6)


def test_many_values_get_the_widened_bootstrap_of_hesterberg() -> None:
    values = np.random.default_rng(1).exponential(size=12)
    found = interval(values)
    rng = np.random.default_rng(5)
    means = np.sort([rng.choice(values, 12).mean() for _ in range(40_000)])  # the definition, drawn one by one
    tail = scipy_stats.norm.cdf(-math.sqrt(12 / 11) * 2.2009852)
    low, high = np.quantile(means, [tail, 1 - tail])
    assert found.low == pytest.approx(low, abs=0.04)
    assert found.high == pytest.approx(high, abs=0.08)
    assert found == interval(values), "the same values give the same interval"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_95_percent_interval_covers_the_mean_in_95_percent_of_cases(n: int) -> None:
    rng = np.random.default_rng(n)
    covered = [interval(rng.normal(size=n)).contains(0) for _ in range(400)]
    assert 0.92 <= np.mean(covered) <= 0.985


def test_the_plain_bootstrap_is_too_narrow_at_five_values() -> None:
    """Why few values get Student's interval instead."""
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
def test_one_value_or_one_that_is_no_number_or_values_all_the_same_bound_nothing(values: list[float]) -> None:
    found = interval(values)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.contains(0)
    assert found.contains(1e300)


@given(numbers, st.floats(-1e3, 1e3))
@example([-999995.0, 1.0], 0.0)  # the second difference, 1, is rounding beside values of 1e6
def test_what_a_pair_shares_drops_out(values: list[float], shift: float) -> None:
    first = np.asarray(values)
    shared = np.linspace(-5, 5, first.size)
    if np.ptp(first) <= 1e-5 * np.abs(first + shift).max(initial=10):
        return
    alone, found = interval(first + shift), difference(first + shift + shared, shared)
    ends = (alone.mean, alone.low, alone.high)
    # A difference may be off by the millionth part of the largest value, and an end of two values' interval by
    # 12.7 / 2 times as much more.
    rounding = 7.4e-6 * np.abs(first + shift + shared).max(initial=5)
    assert (found.mean, found.low, found.high) == pytest.approx(ends, rel=1e-6, abs=1e-3 + rounding)


def test_runs_that_are_the_same_differ_by_nothing_and_roundings_are_no_differences() -> None:
    ends = np.array([0.71, 0.74, 0.73], dtype=np.float32)
    same = difference(ends.astype(float), [0.71, 0.74, 0.73])
    assert same == Interval(0, 0, 0)
    assert p_value(paired(ends, [0.71, 0.74, 0.73])) == 1
    steady = difference(ends + np.float32(0.01), ends)
    assert (steady.low, steady.high) == (-math.inf, math.inf), "0.01 on each seed, but for the last bits"
    assert steady.mean == pytest.approx(0.01, rel=1e-4)
    assert math.isnan(p_value(paired(ends + np.float32(0.01), ends)))


def test_a_coarse_metric_seldom_seems_to_differ_at_two_seeds() -> None:
    """50 pictures: both differences are the same number of pictures in a tenth of cases, which is no certainty."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(50, 0.9, size=(400, 2, 2))
    p_values = np.array([p_value(paired(*pair / 50)) for pair in counts])
    assert np.mean(np.isnan(p_values)) > 0.05, "the same on both, which Student would call certain"
    assert np.mean(p_values <= 0.05) < 0.08
    assert all((p <= 0.05) != difference(*pair / 50).contains(0) for p, pair in zip(p_values, counts, strict=True))


@given(numbers)
def test_the_p_value_of_few_values_is_that_of_students_test(values: list[float]) -> None:
    if np.ptp(values) < max(1e-3, 1e-5 * np.abs(values).max()):
        return
    assert p_value(values) == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("n", [4, 8, 15])
def test_zero_lies_outside_the_interval_just_when_the_p_value_is_small(n: int) -> None:
    rng = np.random.default_rng(n)
    both = set()
    for shift in np.linspace(0, 2.5, 60):
        values = rng.normal(shift, 1, size=n)
        p = p_value(values)
        if abs(p - 0.05) > 0.003:  # the resamples of the bootstrap are counted
            both.add(p < 0.05)
            assert interval(values).contains(0) == (p > 0.05)
    assert both == {True, False}


def test_values_that_say_nothing_have_no_p_value() -> None:
    assert math.isnan(p_value([1.0]))
    assert math.isnan(p_value([1.0, math.nan]))
    assert p_value([0.0, 0.0]) == 1
    assert math.isnan(p_value([1.0, 1.0]))


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@given(p_values)
def test_holms_steps_are_the_closure_of_bonferronis_test(values: list[float]) -> None:
    """The definition: a hypothesis falls when every set of hypotheses that holds it falls by Bonferroni."""
    indices = range(len(values))
    sets = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(values) + 1)))
    expected = [max(min(1, len(s) * min(values[i] for i in s)) for s in sets if index in s) for index in indices]
    assert holm(values) == pytest.approx(expected)


@given(p_values, st.randoms())
def test_the_order_of_the_comparisons_does_not_matter_and_no_correction_makes_one_surer(values, random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    corrected = holm(values)
    assert holm([values[index] for index in order]) == [corrected[index] for index in order]
    assert all(after >= before for before, after in zip(values, corrected, strict=True))
    unknown = holm([*values, math.nan])
    assert math.isnan(unknown[-1])
    assert all(more >= less for more, less in zip(unknown, corrected, strict=False)), "it still counts"


def test_six_policies_that_are_all_alike_seldom_seem_to_differ_once_corrected() -> None:
    rng = np.random.default_rng(3)
    plain = corrected = 0
    for _ in range(200):
        base, *others = rng.normal(size=(7, 5))
        found = [p_value(other - base) for other in others]
        plain += min(found) <= 0.05
        corrected += min(holm(found)) <= 0.05
    assert plain / 200 > 0.12, "without the correction false calls are common"
    assert corrected / 200 < 0.07


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.floats(-1, 1))
def test_the_area_lies_between_the_extremes_and_moves_with_the_curve(values: list[float], shift: float) -> None:
    steps = [10 * k**2 + 5 for k in range(len(values))]
    found = area(steps, values)
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert area(steps, [value + shift for value in values]) == pytest.approx(found + shift)
    between = sorted({*steps, *range(steps[0], steps[-1], 7)})
    assert area(between, list(np.interp(between, steps, values))) == pytest.approx(found), "more looks, the same curve"


def test_bad_values_are_errors() -> None:
    with pytest.raises(ValueError, match="a number for each seed"):
        interval([])
    with pytest.raises(ValueError, match="equal length, got 2 and 3"):
        difference([1, 2], [1, 2, 3])
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
