from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain, combinations, product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from cyclr._study.record import Run, Study
from cyclr._study.stats import (
    Interval,
    Summary,
    area,
    difference,
    holm,
    interval,
    is_fraction,
    p_value,
    steps_to_target,
    summarize,
    value_at,
    verdict,
)

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


@given(numbers)
def test_the_p_value_of_few_values_is_that_of_students_test(values: list[float]) -> None:
    if np.ptp(values) < 1e-3:
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
    assert p_value([1.0, 1.0]) == 0


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


def run(policy: str, seed: int, values: list[float], schedule: str = "s", seconds: float = 8.0) -> Run:
    points = [{"step": 10 * (k + 1), "accuracy": value} for k, value in enumerate(values)]
    return Run(
        task="t", policy=policy, schedule=schedule, seed=seed, steps=40, eval_every=10, steps_per_epoch=10,
        points=points, seconds=seconds, versions={}, status="finished" if math.isfinite(values[-1]) else "diverged",
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


def test_a_summary_says_how_it_went_on_the_way() -> None:
    wave = "Triangular(0.1, 0.5, step_size=5)"
    runs = [
        run("fixed", 0, [0.1, 0.2, 0.3, 0.5]),
        run("fixed", 1, [0.1, 0.3, 0.3, 0.7]),
        run("cycles", 0, [0.1, 0.6, 0.5, 0.4], wave, seconds=4.0),
        run("cycles", 1, [0.1, 0.5, 0.9, 0.8], wave.replace("5)", "10)")),
    ]
    study = Study(task="t", runs=runs, metric="accuracy", baseline="fixed", target=0.5)
    fixed, cycles = summarize(study)
    assert (fixed.to_target, fixed.seconds) == (40, 8)
    assert (cycles.to_target, cycles.seconds) == (20, 3), "2 s and 4 s: half of each run"
    assert cycles.best.mean == pytest.approx((0.6 + 0.8) / 2), "0.9 was not at the end of a cycle"
    assert fixed.best == fixed.final
    assert cycles.area.mean == pytest.approx(((0.35 + 0.55 + 0.45) / 3 + (0.3 + 0.7 + 0.85) / 3) / 2)
    assert cycles.p == cycles.corrected == pytest.approx(scipy_stats.ttest_1samp([-0.1, 0.1], 0).pvalue)
    assert (fixed.comparisons, fixed.diverged) == (1, 0)
    assert is_fraction(study)
    assert not is_fraction(msgspec.structs.replace(study, maximize=False))


@settings(max_examples=10)
@given(st.permutations(STUDY.runs))
def test_the_order_of_the_runs_does_not_matter(runs: list[Run]) -> None:
    expected = {row.policy: row for row in summarize(STUDY, "accuracy", "fixed")}
    found = summarize(msgspec.structs.replace(STUDY, runs=runs), "accuracy", "fixed")
    assert {row.policy: row for row in found} == expected


def test_a_loss_is_read_upside_down() -> None:
    mirrored = [
        msgspec.structs.replace(r, points=[p | {"accuracy": -p["accuracy"]} for p in r.points]) for r in STUDY.runs
    ]
    for row, own in zip(
        summarize(msgspec.structs.replace(STUDY, runs=mirrored), "accuracy", "fixed", maximize=False),
        summarize(STUDY, "accuracy", "fixed"),
        strict=True,
    ):
        assert (row.to_target, row.reached, row.p) == (own.to_target, own.reached, pytest.approx(own.p, nan_ok=True))
        assert (row.best.mean, row.area.mean) == pytest.approx((-own.best.mean, -own.area.mean))


def test_a_run_that_diverged_is_told_and_counts_as_a_comparison() -> None:
    lost = [run("lost", seed, [0.1, 0.2, math.nan, math.nan]) for seed in (0, 1)]
    rows = summarize(msgspec.structs.replace(STUDY, runs=[*STUDY.runs, *lost]), "accuracy", "fixed")
    assert [row.diverged for row in rows] == [0, 0, 0, 2]
    assert rows[0].comparisons == 3
    assert rows[1].corrected == pytest.approx(3 * rows[1].p)
    assert "diverged" in verdict(rows[3], "fixed")
    assert rows[3].reached == 0


def test_the_verdict_counts_how_many_were_compared() -> None:
    row = summary(0.01, 0.03)
    sure = replace(row, p=0.01, corrected=0.04, comparisons=4)
    chance = replace(row, p=0.02, corrected=0.08, comparisons=4)
    assert "better than best at 5 seeds" in verdict(sure, "best")
    told = verdict(chance, "best")
    assert "no difference from best found at 5 seeds" in told
    assert "4 policies were compared" in told
    assert "corrected p 0.08" in told


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
