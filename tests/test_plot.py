from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure

from cyclr import Bounds, Constant, Curve, Linear, Triangular, WarmRestarts, plan, plot
from cyclr._page.figures import COLOURS
from cyclr._page.sampling import smoothed
from cyclr.study._records import Run, Study

RATES = np.geomspace(1e-5, 10, 80)
LOSSES = 2 - 1.5 / (1 + (1e-2 / RATES) ** 2) + (RATES / 0.5) ** 2
NOISE = np.random.default_rng(0).normal(scale=0.02, size=(3, 80))


@pytest.fixture(autouse=True)
def _nothing_global_changes() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def curve(**change: object) -> Curve:
    return Curve(**{"rates": RATES, "losses": LOSSES + NOISE, **change})


def study(*values: tuple[str, list[float]]) -> Study:
    runs = [
        Run(task="t", policy=policy, schedule="s", seed=seed, steps=40, eval_every=10, steps_per_epoch=10, seconds=0.0,
            points=[{"step": 10 * (k + 1), "test_accuracy": value + 0.01 * seed} for k, value in enumerate(row)],
            versions={})
        for policy, row in values
        for seed in (0, 1)
    ]  # fmt: skip
    return Study(task="t", runs=runs)


def test_the_line_is_the_schedule_at_every_step() -> None:
    schedule = Triangular(0.001, 0.006, step_size=7).take(40)
    (line,) = plot.plot_schedule(schedule).lines
    assert line.get_xdata().tolist() == list(range(41))
    assert line.get_ydata().tolist() == [schedule(step) for step in range(41)]


def test_epochs_are_counted_where_their_length_is_told() -> None:
    ax = plot.plot_schedule(Linear(0, 1, steps=100), epoch=20)
    assert ax.lines[0].get_xdata()[-1] == 5
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "learning rate")


def test_peaks_of_a_long_schedule_keep_their_height() -> None:
    drawn = plot.plot_schedule(Triangular(0, 1, step_size=12_345).take(10**6)).lines[0].get_ydata()
    assert drawn.max() > 0.999


def test_an_endless_schedule_needs_an_end() -> None:
    with pytest.raises(ValueError, match="steps must be given for an endless schedule"):
        plot.plot_schedule(Constant(0.1))
    assert plot.plot_schedule(WarmRestarts(0, 1, period=5), steps=20).get_xlim() == (0, 20)


def test_what_is_drawn_on_an_axes_of_ones_own_comes_back_on_it() -> None:
    ax = Figure().subplots()
    assert plot.plot_schedule(Linear(0, 1, steps=9), ax, label="a") is ax
    assert plot.plot_schedule(Linear(1, 0, steps=99), ax, label="b") is ax
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2
    assert ax.get_xlim() == (0, 99)


def test_a_curve_shows_every_repeat_and_both_bounds_with_their_intervals() -> None:
    bounds = Bounds(1e-3, 1e-2, (5e-4, 2e-3), (5e-3, 2e-2))
    ax = plot.plot_curve(curve(), bounds)
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning rate", "training loss")
    assert [line.get_ydata().tolist() for line in ax.lines[:3]] == (LOSSES + NOISE).tolist()
    assert {line.get_xdata()[0] for line in ax.lines[4:]} == {1e-3, 1e-2}
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["one repeat", "median, smoothed", "base_lr = 0.001", "max_lr = 0.01"]
    assert len(ax.patches) == 2


def test_a_curve_with_reference_batches_shows_their_loss_in_place_of_a_smoothed_one() -> None:
    shown = curve(reference=np.tile(LOSSES, (3, 1)))
    ax = plot.plot_curve(shown)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["one repeat", "two batches set aside"]
    assert [line.get_ydata().tolist() for line in ax.lines[3:6]] == shown.reference.tolist()


def test_a_loss_that_blows_up_does_not_flatten_the_rest() -> None:
    low, high = plot.plot_curve(curve(losses=LOSSES + NOISE + np.where(RATES > 5, 1e9, 0))).get_ylim()
    assert low == pytest.approx(LOSSES.min(), abs=0.3)
    assert high == pytest.approx(2.9, abs=0.3)


def test_the_smooth_line_follows_the_loss() -> None:
    rates, middle = smoothed(curve())
    below = rates < 0.2
    assert np.abs(middle[below] - LOSSES[: below.sum()]).max() < 0.1


@pytest.mark.parametrize(
    "losses",
    [
        np.where(np.arange(80) < 5, 2.0, np.nan),
        np.full(80, 2.0),
        np.full(80, np.nan),
        np.where(np.arange(80) < 60, -LOSSES, np.nan),
    ],
    ids=["five points", "flat", "nothing", "below zero"],
)
def test_poor_curves_are_drawn_too(losses: np.ndarray) -> None:
    ax = plot.plot_curve(Curve(RATES, losses))
    assert all(map(math.isfinite, ax.get_ylim()))
    ax.figure.canvas.draw()


def test_a_linear_ramp_and_a_metric_have_their_own_axes() -> None:
    accuracy = np.where(np.arange(80) % 4 == 0, 0.5, np.nan)
    seen = curve(rates=np.linspace(0, 1, 80), scale="linear", losses=LOSSES, metrics={"accuracy": accuracy})
    ax = plot.plot_curve(seen, signal="accuracy")
    assert (ax.get_xscale(), ax.get_ylabel()) == ("linear", "accuracy")
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        plot.plot_curve(seen, signal="acuracy")


def test_runs_are_means_with_all_that_lies_between_least_and_greatest() -> None:
    ax = plot.plot_runs(study(("one", [0.1, 0.5, 0.6, 0.7]), ("two", [0.2, 0.4, 0.5, 0.6])), epoch=10)
    assert [line.get_label() for line in ax.lines] == ["one", "two"]
    assert ax.lines[0].get_ydata() == pytest.approx([0.105, 0.505, 0.605, 0.705])
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "test accuracy, mean of 2 seeds")
    assert len({line.get_color() for line in ax.lines}) == 2


def test_the_top_of_a_metric_of_which_more_is_better_is_in_the_picture() -> None:
    accuracy = 0.1 + 0.8 / (1 + (1e-2 / RATES) ** 4) - 0.85 / (1 + (1.0 / RATES) ** 4)
    seen = curve(losses=LOSSES, metrics={"accuracy": accuracy}, maximize=frozenset({"accuracy"}))
    low, high = plot.plot_curve(seen, signal="accuracy").get_ylim()
    assert high > accuracy.max()
    assert low < 0.1


def test_a_metric_that_falls_apart_does_not_flatten_the_rest() -> None:
    score = 0.1 + 0.8 / (1 + (1e-2 / RATES) ** 4) - (RATES / 0.5) ** 4
    seen = curve(losses=LOSSES, metrics={"score": score}, maximize=frozenset({"score"}))
    ax = plot.plot_curve(seen, signal="score")
    assert -1 < ax.get_ylim()[0] < 0.1
    assert ax.lines[1].get_ydata().max() == pytest.approx(0.9, abs=0.05)


def test_losses_below_zero_are_smoothed_and_framed_as_others_are() -> None:
    above, below = (plot.plot_curve(curve(losses=LOSSES + NOISE + shift)) for shift in (0, -50))
    assert below.get_ylim() == pytest.approx(np.array(above.get_ylim()) - 50)
    assert below.lines[3].get_ydata() == pytest.approx(above.lines[3].get_ydata() - 50)


def looked_at(policy: str, seed: int, points: dict[int, float]) -> Run:
    rows = [{"step": step, "test_accuracy": value} for step, value in points.items()]
    return Run(task="t", policy=policy, schedule="s", seed=seed, steps=40, eval_every=10, steps_per_epoch=10,
               seconds=0.0, points=rows, versions={})  # fmt: skip


def test_runs_that_were_looked_at_at_different_steps_meet_on_lines_between_their_points() -> None:
    runs = [looked_at("one", 0, {10: 0.1, 20: 0.3, 40: 0.5}), looked_at("one", 1, {10: 0.3, 30: 0.7, 40: 0.7})]
    ax = plot.plot_runs(Study(task="t", runs=runs))
    assert ax.lines[0].get_xdata().tolist() == [10, 20, 30, 40]
    assert ax.lines[0].get_ydata() == pytest.approx([0.2, 0.4, 0.55, 0.6])


def test_a_mean_ends_with_the_first_of_its_runs_and_the_axes_with_the_last_of_all() -> None:
    runs = [looked_at("one", 0, {10: 0.1, 20: 0.3}), looked_at("one", 1, {10: 0.3, 20: 0.7, 30: 0.8}),
            looked_at("two", 0, {10: 0.2, 30: 0.4, 40: 0.4}), looked_at("three", 0, {10: 0.5})]  # fmt: skip
    ax = plot.plot_runs(Study(task="t", runs=runs))
    assert ax.lines[0].get_ydata() == pytest.approx([0.2, 0.5, math.nan], nan_ok=True)
    assert ax.get_xlim()[1] == 40
    assert ax.get_ylabel() == "test accuracy, mean of 1 to 2 seeds"
    ax.figure.canvas.draw()


def test_a_run_that_diverged_is_a_gap_and_a_study_without_runs_an_error() -> None:
    ax = plot.plot_runs(study(("one", [0.1, 0.5, math.nan, math.nan])))
    ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="a study must have runs"):
        plot.plot_runs(Study(task="t", runs=[]))
    with pytest.raises(ValueError, match="a study must have runs"):
        plot.plot_differences(Study(task="t", runs=[]))
    with pytest.raises(ValueError, match="These runs cannot be compared"):
        plot.plot_differences(Study(task="t", runs=[looked_at("one", 0, {1: 0.1}), looked_at("two", 1, {1: 0.1})]))
    with pytest.raises(ValueError, match="has no 'f1', only test_accuracy"):
        plot.plot_runs(study(("one", [0.1])), metric="f1")


def test_a_plan_shows_where_its_cycles_end() -> None:
    made = plan(Bounds(0.001, 0.01), epochs=30, steps_per_epoch=10, cycles=3)
    ax = plot.plot_plan(made)
    line, ends = ax.lines
    assert line.get_ydata() == pytest.approx(made.schedule(np.arange(301)))
    assert ends.get_xdata().tolist() == [step / 10 for step in made.snapshots]
    assert ax.get_xlabel() == "epoch"


def test_differences_that_are_not_significant_are_grey_and_hollow() -> None:
    made = study(("base", [0.5, 0.5]), ("same", [0.5, 0.5]), ("more", [0.5, 0.6]))
    made.runs[-1].points[-1]["test_accuracy"] += 0.001  # what is the same on each seed says nothing about chance
    ax = plot.plot_differences(msgspec.structs.replace(made, baseline="base"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["same", "more"]
    dots = {line.get_ydata()[0]: line for line in ax.lines if line.get_marker() == "o"}
    assert (dots[0].get_color(), dots[1].get_color()) == ("0.55", COLOURS[0])
    assert dots[0].get_markerfacecolor() == "white"
    assert dots[1].get_xdata()[0] == pytest.approx(10.05)


def test_importing_it_loads_no_matplotlib_and_drawing_loads_no_pyplot() -> None:
    code = (
        "import sys; from cyclr import Linear, plot; print('matplotlib' in sys.modules);"
        "plot.plot_schedule(Linear(0, 1, steps=9)).figure.canvas.draw(); print('matplotlib' in sys.modules);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True", "False"]


def test_without_matplotlib_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from cyclr import Linear, plot\n"
        "try: plot.plot_schedule(Linear(0, 1, steps=9))\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "matplotlib is not installed; pip install cyclr[plot]\n"
