from __future__ import annotations

import math
import statistics
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from cyclr.study._records import Run, Study
from cyclr.study._stats import Interval, detectable, many_to_one, seeds_to_detect
from cyclr.study._summary import Summary, is_fraction, summarize, verdict


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
    tuning_cost={"auto": 25},
)


def test_a_summary_holds_what_its_runs_say() -> None:
    fixed, auto, late = summarize(STUDY, "accuracy", "fixed")
    assert fixed.difference is None
    assert fixed.final.mean == pytest.approx(0.6)
    assert fixed.half.mean == pytest.approx(0.25)
    assert auto.difference is not None
    assert auto.difference.mean == pytest.approx(0.25)
    assert (auto.to_target, auto.reached, auto.tuning_cost, auto.seeds) == (25, 2, 25, 2)  # 20 and 30
    assert (late.to_target, late.reached, late.tuning_cost) == (math.inf, 0, 0)
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


@pytest.mark.parametrize(
    ("metric", "maximize", "ends"),
    [("accuracy", True, (0, 100)), ("val_f1", True, (0, 100)), ("top1_error", False, (0, 100)),
     ("error_rate", False, (0, 1)), ("share_pct", True, (0, 100)), ("correct (%)", True, (0, 100)),
     ("fpr", False, (0, 1)), ("wer", False, None), ("loss", False, None), ("mape_percent", False, None),
     ("hits", True, None), ("inverse_accuracy", True, None)],
)  # fmt: skip
def test_intervals_of_bounded_metrics_end_where_the_metric_does(metric, maximize, ends) -> None:
    most = 1 if ends == (0, 1) else 100
    runs = [run("fixed", seed, [most * value, most * (1 - value)]) for seed, value in enumerate((0.6, 0.01, 0.02))]
    runs = [
        msgspec.structs.replace(r, points=[{"step": p["step"], metric: p["accuracy"]} for p in r.points]) for r in runs
    ]
    study = Study(task="t", runs=runs, metric=metric, baseline="fixed", maximize=maximize)
    (row,) = summarize(study)
    if ends is None:
        assert row.final.high > most
    else:
        assert row.final.high == ends[1]
        assert row.half.low == ends[0]


@settings(max_examples=settings.default.max_examples // 5)
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
    alone = summarize(STUDY, "accuracy", "fixed")[1]
    assert rows[1].corrected == pytest.approx(alone.corrected + rows[1].p), "it counts in full"
    assert "diverged" in verdict(rows[3], "fixed")
    assert rows[3].reached == 0


def test_the_verdict_names_the_test_and_what_it_could_have_found() -> None:
    sure = replace(summary(0.01, 0.03), p=0.01, corrected=0.04, comparisons=4)
    assert verdict(sure, "best", points=True) == (
        "auto: significantly better than best (+2.00 points, higher is better; 95 % CI [1.00, 3.00]; "
        "adjusted p = 0.04, n = 5)."
    )
    chance = replace(summary(-0.5, 0.7), p=0.3, corrected=0.5, comparisons=1, detectable=0.8, worthwhile=0.02)
    assert verdict(replace(chance, seeds_needed=21), "best", maximize=False) == (
        "auto: no significant difference from best (+0.1, lower is better; 95 % CI [-0.5, 0.7]; p = 0.5, n = 5); "
        "these seeds detect 0.8 (80 % power), 16 more would detect 1 % of best's mean."
    )
    endless = verdict(replace(chance, seeds_needed=math.inf, worthwhile=0.01), "best", points=True)
    assert endless.endswith("these seeds detect 80.00 points (80 % power), more than 10,000 would detect 1 point.")
    assert "more" not in verdict(replace(chance, seeds_needed=5), "best"), "these seeds detect it already"
    assert "p = 0.0502" in verdict(replace(chance, corrected=0.0502), "best")


def test_a_verdict_warns_of_a_small_p_where_the_spreads_differ_and_seeds_are_few() -> None:
    steady, wild = [0.80, 0.81, 0.79, 0.80, 0.80], [0.88, 0.97, 0.84, 0.98, 0.83]
    runs = [run("fixed", seed, [0.1, value]) for seed, value in enumerate(steady)]
    runs += [run("wild", seed, [0.1, value]) for seed, value in enumerate(wild)]
    runs += [run("shifted", seed, [0.1, value + 0.05 + 0.001 * seed]) for seed, value in enumerate(steady)]
    _, unlike, alike = summarize(Study(task="t", runs=runs, metric="accuracy", baseline="fixed"))
    assert unlike.spread_ratio == pytest.approx(statistics.stdev(wild) / statistics.stdev(steady))
    assert 0.01 < unlike.corrected < 0.05
    said = verdict(unlike, "fixed", points=True)
    warning = "the spreads over seeds differ 10.0-fold, so p is too small if the metric is skewed: look at each seed"
    assert said.endswith(f"n = 5); {warning}.")
    assert "spreads" not in verdict(alike, "fixed", points=True)
    for row in (replace(unlike, seeds=20), replace(unlike, corrected=0.009), replace(unlike, spread_ratio=2.0)):
        assert "spreads" not in verdict(row, "fixed")
    assert "more than 1,000-fold" in verdict(replace(unlike, spread_ratio=math.inf), "fixed")


def test_a_summary_says_what_its_seeds_could_have_found() -> None:
    fixed, auto, late = summarize(STUDY, "accuracy", "fixed")
    assert math.isnan(fixed.detectable)
    assert auto.worthwhile == late.worthwhile == 0.01, "a fraction: one percentage point"
    changes = many_to_one([[0.8, 0.9], [0.5, 0.5]], [0.5, 0.7])
    assert auto.detectable == pytest.approx(detectable(changes[0]))
    assert auto.seeds_needed == seeds_to_detect(changes[0], 0.01)
    assert auto.seeds_needed > 100
    loss = summarize(STUDY, "accuracy", "fixed", maximize=False)[1]
    assert loss.worthwhile == pytest.approx(0.006), "no fraction: 1 % of the baseline's mean"


def summary(low: float, high: float, seeds: int = 5) -> Summary:
    unknown = Interval(0.5, 0.4, 0.6)
    return Summary("auto", unknown, Interval((low + high) / 2, low, high), unknown, 100.0, seeds, 0, seeds)


@pytest.mark.parametrize(
    ("low", "high", "words", "loss_words"),
    [
        (0.01, 0.03, "better than", "worse than"),
        (-0.03, -0.01, "worse than", "better than"),
        (-0.01, 0.03, "no significant difference from best", "no significant difference from best"),
        (math.nan, math.nan, "diverged", "diverged"),
    ],
)
def test_the_verdict_follows_the_interval(low: float, high: float, words: str, loss_words: str) -> None:
    assert words in verdict(summary(low, high), "best")
    assert loss_words in verdict(summary(low, high), "best", maximize=False)


def test_one_seed_gets_no_verdict() -> None:
    row = Summary("auto", Interval(1, 1, 1), Interval(1, -math.inf, math.inf), Interval(1, 1, 1), 1, 1, 0, 1)
    assert "the variation between seeds is unknown" in verdict(row, "best")


def test_the_interval_of_fractions_ends_where_they_do() -> None:
    runs = [run("fixed", seed, [value]) for seed, value in enumerate([0.9, 0.99, 1.0])]
    runs += [run("auto", seed, [value]) for seed, value in enumerate([0.0, 0.01, 0.1])]
    fixed, auto = summarize(Study(task="t", runs=runs), "accuracy", "fixed")
    assert (fixed.final.high, auto.final.low) == (1, 0)
    assert fixed.final.low < 0.9
    assert auto.difference is not None
    assert auto.difference.low < -1  # what the test says of the difference stays


def test_the_former_name_of_the_tuning_cost_warns() -> None:
    auto = summarize(STUDY, "accuracy", "fixed")[1]
    with pytest.warns(DeprecationWarning, match=r"Summary.cost is now Summary.tuning_cost") as said:
        assert auto.cost == auto.tuning_cost == 25
    assert said[0].filename == __file__
