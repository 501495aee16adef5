from __future__ import annotations

import math
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from cyclr._study.record import Run, Study
from cyclr._study.stats import Interval, Summary, difference, interval, steps_to_target, summarize, value_at, verdict

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=7)


@given(numbers)
def test_few_values_get_students_interval(values: list[float]) -> None:
    found = interval(values)
    n, spread = len(values), float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        assert found.low == found.mean == found.high
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


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [math.inf, 1.0, 2.0]])
def test_one_value_or_one_that_is_no_number_bounds_nothing(values: list[float]) -> None:
    found = interval(values)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.contains(0)
    assert found.contains(1e300)


@given(numbers, st.floats(-1e3, 1e3))
def test_what_a_pair_shares_drops_out(values: list[float], shift: float) -> None:
    first = np.asarray(values)
    shared = np.linspace(-5, 5, first.size)
    alone, paired = interval(first + shift), difference(first + shift + shared, shared)
    ends = (alone.mean, alone.low, alone.high)
    assert (paired.mean, paired.low, paired.high) == pytest.approx(ends, rel=1e-6, abs=1e-3)


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


def run(policy: str, seed: int, values: list[float]) -> Run:
    points = [{"step": 10 * (k + 1), "accuracy": value} for k, value in enumerate(values)]
    return Run(
        task="t", policy=policy, schedule="s", seed=seed, steps=40, eval_every=10, steps_per_epoch=10, points=points,
        seconds=0.0, versions={},
    )  # fmt: skip


STUDY = Study(
    task="t",
    runs=[
        run("fixed", 0, [0.1, 0.2, 0.3, 0.5]),
        run("fixed", 1, [0.1, 0.3, 0.3, 0.7]),
        run("auto", 1, [0.1, 0.5, 0.6, 0.9]),
        run("auto", 0, [0.1, 0.6, 0.5, 0.8]),
        run("late", 0, [0.1, 0.1, 0.1, 0.5]),
        run("late", 1, [0.1, 0.1, 0.1, 0.5]),
    ],
    cost={"auto": 25},
)


def test_a_summary_holds_what_its_runs_say() -> None:
    fixed, auto, late = summarize(STUDY, "accuracy", "fixed")
    assert fixed.difference is None
    assert fixed.final.mean == pytest.approx(0.6)
    assert fixed.half.mean == pytest.approx(0.25)
    assert auto.difference is not None
    assert auto.difference.mean == pytest.approx(0.25)
    assert (auto.to_target, auto.reached, auto.cost, auto.seeds) == (25, 2, 25, 2)  # 20 and 30
    assert (late.to_target, late.reached, late.cost) == (math.inf, 0, 0)
    with pytest.raises(ValueError, match="did you mean 'fixed'"):
        summarize(STUDY, "accuracy", "fixde")
    longer = msgspec.structs.replace(STUDY.runs[0], steps=80)
    with pytest.raises(ValueError, match=r"same budget, got \[40, 80\]"):
        summarize(Study(task="t", runs=[longer, *STUDY.runs[1:]]), "accuracy", "fixed")
    with pytest.raises(ValueError, match="share their seeds"):
        summarize(Study(task="t", runs=STUDY.runs[:3]), "accuracy", "fixed")


def summary(low: float, high: float, seeds: int = 5) -> Summary:
    unknown = Interval(0.5, 0.4, 0.6)
    return Summary("auto", unknown, Interval((low + high) / 2, low, high), unknown, 100.0, seeds, 0, seeds)


@pytest.mark.parametrize(
    ("low", "high", "words", "loss_words"),
    [
        (0.01, 0.03, "better than", "worse than"),
        (-0.03, -0.01, "worse than", "better than"),
        (-0.01, 0.03, "no difference from best found at 5 seeds", "no difference from best found at 5 seeds"),
        (math.nan, math.nan, "diverged", "diverged"),
    ],
)
def test_the_verdict_follows_the_interval(low: float, high: float, words: str, loss_words: str) -> None:
    assert words in verdict(summary(low, high), "best")
    assert loss_words in verdict(summary(low, high), "best", maximize=False)


def test_one_seed_gets_no_verdict() -> None:
    row = Summary("auto", Interval(1, 1, 1), Interval(1, -math.inf, math.inf), Interval(1, 1, 1), 1, 1, 0, 1)
    assert "says nothing about chance" in verdict(row, "best")
