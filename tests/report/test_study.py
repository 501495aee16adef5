from __future__ import annotations

import math

import numpy as np
import pytest

from cyclr import parse, report
from cyclr.study._records import Run, Study
from cyclr.study._summary import summarize, verdict
from tests.report.made import caption, figure, figures, numbers, run, soup, study, table


def first_words(html: str) -> list[str]:
    """The sentences of the first list."""
    return [item.text for item in soup(html).find("ul", ["first", "sentences"])("li")]


def headline_of(html: str) -> str:
    """The sentence that stands before everything else."""
    return str(soup(html).find("p", "first").text)


def test_the_verdicts_come_first_and_are_the_librarys() -> None:
    made = study()
    said = [verdict(row, "fixed", points=True) for row in summarize(made) if row.difference is not None]
    html = report.page(made)
    subject, *rest = first_words(html)
    assert headline_of(html) == "Significantly better than fixed at the end: auto (+10.33 points)."
    sentence = (
        "auto: significantly better than fixed (+10.33 points, higher is better; 95 % CI [9.30, 11.37]; "
        "p = 0.00054, n = 3)."
    )
    assert rest == said == [sentence]
    assert subject == (
        "2 policies on digits, 3 seeds, 40 steps per run; compared by the test accuracy at the end (higher is better)."
    )


def test_the_table_holds_the_summary() -> None:
    made = study()
    html, summary = report.page(made), summarize(made)[1]
    assert caption(html, "study/ends").startswith("At the end of the budget: mean over 3 seeds [95 % CI].")
    head, fixed, auto = table(html, "study/ends")
    row = dict(zip(head, auto, strict=True))
    assert row["test accuracy at the end (%)"].startswith("92.00 [")
    assert row["difference from fixed (percentage points)"] == "+10.33 [9.30, 11.37]"
    assert row["adjusted p"] == f"{summary.corrected:.2g}"
    assert row["tuning cost (steps)"] == "266"
    assert dict(zip(head, fixed, strict=True))["difference from fixed (percentage points)"] == ""
    head, _, auto = table(html, "study/speed")
    row = dict(zip(head, auto, strict=True))
    assert row["steps to 81.67 %"] == f"{summary.to_target:.4g} (3 of 3)"
    assert row["seconds to 81.67 %"] == f"{summary.seconds:.3g}"
    assert row["best end of a cycle (%)"].startswith("92.00 [")
    assert row["at half the budget (%)"] == "70.00"
    assert row["mean over the budget (%)"] == f"{100 * summary.area.mean:.2f}"


def test_the_tuning_cost_is_left_open_where_it_was_not_recorded() -> None:
    rows = table(report.page(study(tuning_cost={"auto": 0})), "study/ends")
    assert [row[-1] for row in rows[1:]] == ["–", "0"]


def test_the_forest_holds_the_differences_and_their_intervals() -> None:
    ends = {"fixed": (0.5, 0.5, 0.5, 0.5), "auto": (0.6, 0.61, 0.62, 0.61), "step": (0.5, 0.52, 0.49, 0.5)}
    made = study(runs=[run(policy, seed, 0.1, end) for policy, row in ends.items() for seed, end in enumerate(row)])
    rows = {row.policy: row for row in summarize(made)}
    better, same = figure(report.page(made), "study/differences")["data"]
    for trace, policy, place in ((better, "auto", 0), (same, "step", 1)):
        change = rows[policy].difference
        assert numbers(trace["x"]) == pytest.approx([100 * change.mean])
        assert numbers(trace["y"]) == [place]
        assert trace["text"] == [policy]
        assert numbers(trace["error_x"]["array"]) == pytest.approx([100 * (change.high - change.mean)])
        assert np.ravel(numbers(trace["customdata"])) == pytest.approx([100 * change.low, 100 * change.high])
    assert (better["name"], same["name"]) == ("significant", "not significant")


def test_one_seed_has_no_interval_to_draw() -> None:
    html = report.page(study(runs=[run("fixed"), run("auto", 0, 0.1, 0.9)]))
    (trace,) = figure(html, "study/differences")["data"]
    assert numbers(trace["error_x"]["array"]) == [0]
    assert trace["name"] == "not significant"


def test_the_metric_is_drawn_as_mean_and_range_over_the_seeds() -> None:
    made = study()
    band, line, *_ = figure(report.page(made), "study/metric")["data"]
    rows = np.array([run.series("test_accuracy")[1] for run in made.of("fixed").values()])
    assert line["name"] == "fixed"
    assert numbers(line["x"]) == [10, 20, 30, 40]
    assert numbers(line["y"]) == pytest.approx(rows.mean(axis=0))
    assert np.array(numbers(line["customdata"])) == pytest.approx(np.column_stack([rows.min(axis=0), rows.max(axis=0)]))
    assert numbers(band["y"]) == pytest.approx([*rows.max(axis=0), *rows.min(axis=0)[::-1]])


def test_a_diverged_run_is_said_in_words_and_a_gap_in_the_mean() -> None:
    lost = run("auto", 1, 0.6, None, status="diverged")
    html = report.page(study(runs=[run("fixed", 0), run("fixed", 1), run("auto", 0), lost]))
    assert first_words(html)[-1] == "1 of 4 runs diverged: auto with seed 1."
    assert table(html, "study/by-seed")[2] == ["auto", "80.00", "– diverged"]
    mean = numbers(figure(html, "study/metric")["data"][3]["y"])
    assert [math.isnan(value) for value in mean] == [False, True, True, True]


def test_a_run_that_was_never_measured_is_listed() -> None:
    lost = run("auto", 1, status="diverged", points=[])
    html = report.page(study(runs=[run("fixed", 0), run("fixed", 1), run("auto", 0), lost]))
    assert any(words.startswith("These runs cannot be compared: ") for words in first_words(html))
    assert table(html, "study/runs")[4][:4] == ["auto", "1", "– diverged", "–"]


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([run("a", 0), run("a", 1), run("b", 0)], "policies must share their seeds"),
        ([run("a", 0), run("b", 0, steps=50)], "all runs must have the same budget"),
    ],
    ids=["unpaired", "unequal"],
)
def test_runs_that_cannot_be_compared_are_shown_with_the_reason(runs: list[Run], why: str) -> None:
    html = report.page(study(runs=runs, baseline=""))
    assert why in " ".join(first_words(html))
    names = [trace["name"] for trace in figure(html, "study/metric")["data"] if trace.get("showlegend")]
    assert names == list(dict.fromkeys(run.policy for run in runs))
    assert len(table(html, "study/runs")) == len(runs) + 1


def test_an_empty_study_says_so() -> None:
    assert headline_of(report.page(study(runs=[]))) == "This study contains no run yet."


def test_a_metric_nobody_measured_gives_way_to_one_that_was() -> None:
    html = report.page(study(runs=[run("a", 0, 3.0, 2.0, metric="val_loss")], baseline=""))
    assert "compared by the val loss at the end (lower is better)" in first_words(html)[0]
    assert table(html, "study/runs")[1][2:4] == ["2", "2"]


def test_each_policy_shows_its_schedule_as_it_was_trained() -> None:
    html = report.page(study())
    assert [key for key in figures(html) if "schedule" in key] == ["study/schedule/fixed", "study/schedule/auto"]
    (line,) = figure(html, "study/schedule/fixed")["data"]
    schedule = parse("Linear(0.1, 0.0, steps=40)")
    assert numbers(line["x"]) == list(range(41))
    assert numbers(line["y"]) == pytest.approx(schedule(np.arange(41)))


@pytest.mark.parametrize(
    "spec",
    ["__import__('os').system('touch harm')", "", "see the paper", "Constant(0.1", "0.1*" * 2000 + "Constant(1)",
     "Linear(0, 1e308, steps=2) >> 10.0 * Constant(1e308)", "(" * 300 + "Constant(1)" + ")" * 300],
    ids=["code", "nothing", "words", "half", "deep", "huge", "brackets"],
)  # fmt: skip
def test_a_schedule_that_cannot_be_understood_is_text_and_no_figure(spec: str) -> None:
    html = report.page(study(runs=[run("a", 0, schedule=spec), run("b", 0)], baseline="a"))
    assert spec in {code.text for code in soup(html)("code")} | {""}
    assert figures(html)["study/schedule/a"] is None or "Constant" in spec
    assert figures(html)["study/schedule/b"] is not None


def test_many_schedules_of_one_policy_are_all_in_the_settings() -> None:
    runs = [run("auto", seed, schedule=f"Constant(0.{seed + 1})") for seed in range(3)]
    html = report.page(study(runs=runs, baseline=""))
    assert [row[1:3] for row in table(html, "study/settings")[1:]] == [
        [str(seed), f"Constant(0.{seed + 1})"] for seed in range(3)
    ]
    assert "auto (one of 3)" in " ".join(caption.text for caption in soup(html)("figcaption"))


def test_how_the_rates_were_found_is_told() -> None:
    html = report.page(study(notes=["By a range test of 266 steps."], rates={"auto": 0.0589}))
    assert [item.text for item in soup(html)("ul", "sentences")[-1]("li")] == ["By a range test of 266 steps."]
    head, *rows = table(html, "study/ends")
    found = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["peak learning rate"], row["tuning cost (steps)"]) for row in found] == [
        ("–", "6,000"), ("0.0589", "266")
    ]  # fmt: skip


def test_how_the_rates_were_found_is_told_where_nothing_can_be_compared() -> None:
    html = report.page(study(runs=[run("fixed", 0), run("auto", 1)], rates={"auto": 0.0589}))
    assert table(html, "study/rates")[1:] == [["fixed", "–", "6,000"], ["auto", "0.0589", "266"]]


@pytest.mark.parametrize("points", [
    [{"loss": 1.0}],
    [{"step": 20, "loss": 1.0}, {"step": 10, "loss": 1.0}],
    [{"step": 10, "loss": 1.0}, {"step": 10, "loss": 1.0}],
])  # fmt: skip
def test_points_without_steps_that_rise_are_an_error(points: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="the points of policy 'a', seed 0 must have increasing steps from 1 on"):
        report.page(study(runs=[run("a", points=points)]))


def test_a_metric_that_is_no_fraction_is_shown_as_it_is() -> None:
    ends = {"a": (3.0, 3.1), "b": (2.0, 2.2)}
    runs = [
        run(policy, seed, 5.0, end, metric="test_loss") for policy, row in ends.items() for seed, end in enumerate(row)
    ]
    html = report.page(Study(task="t", runs=runs, metric="test_loss", maximize=False, baseline="a"))
    said = "b: significantly better than a (-0.95, lower is better; 95 % CI [-1.59, -0.315]; p = 0.033, n = 2)."
    assert said in first_words(html)
    head, _, second = table(html, "study/ends")
    assert head[2:4] == ["test loss at the end", "difference from a"]
    assert second[2].startswith("2.1 [")
