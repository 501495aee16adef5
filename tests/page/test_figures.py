"""What a figure shows is decided once: matplotlib and Plotly draw the same lines, points and marks."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")
from cyclr import Curve, plot
from cyclr._page.blocks import Figure, Figures
from cyclr._page.registry import describe
from cyclr.report._plotly import draw
from tests.report.made import a_plan, curve, numbers, run, study

ENDS = {"fixed": (0.5, 0.5, 0.5, 0.5), "auto": (0.6, 0.61, 0.62, 0.61), "step": (0.5, 0.52, 0.49, 0.5)}
STUDY = study(runs=[run(policy, seed, 0.1, end) for policy, row in ENDS.items() for seed, end in enumerate(row)])
FIGURES = {
    figure.key: figure
    for thing in (STUDY, curve(), a_plan(), a_plan().schedule, run())
    for part in describe(thing).parts
    for block in part.blocks
    if isinstance(block, Figures)
    for figure in block.items
}


def test_there_is_a_figure_of_each_kind() -> None:
    assert {"study/differences", "study/metric", "study/schedule/auto", "range-test/loss", "plan/schedule",
            "schedule/rate", "run/loss"} <= set(FIGURES)  # fmt: skip


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_matplotlib_and_plotly_draw_the_same(figure: Figure) -> None:
    drawn = json.loads(draw(figure) or "")
    drawn["data"] = [trace for trace in drawn["data"] if trace.get("yaxis") != "y2"]  # of the figure below
    ax = plot._draw(figure, None)
    ax.figure.canvas.draw()
    theirs = [trace for trace in drawn["data"] if trace["mode"] == "lines" and trace.get("fill") is None]
    ours = ax.lines[: len(figure.lines)]
    for line, trace, mine in zip(figure.lines, theirs, ours, strict=True):
        assert numbers(trace["y"]) == pytest.approx(line.y, rel=1e-6, nan_ok=True)
        assert mine.get_ydata() == pytest.approx(line.y, nan_ok=True)
        assert np.asarray(mine.get_xdata()) == pytest.approx(numbers(trace["x"]))
    dots = [trace for trace in drawn["data"] if trace["mode"] == "markers"]
    marked = [line for line in ax.lines if line.get_marker() not in ("None", "none", None, "")]
    for points, trace, mine in zip(figure.points, dots, marked, strict=True):
        assert numbers(trace["x"]) == pytest.approx(points.x)
        assert np.asarray(mine.get_xdata()) == pytest.approx(points.x)
    upright = [shape["x0"] for shape in drawn["layout"].get("shapes", []) if shape["type"] == "line"]
    assert upright == [mark.at for mark in figure.marks]
    titled = drawn["layout"]["xaxis"].get("title", {}).get("text", "").replace("<br>", " ")
    assert titled == ax.get_xlabel() == figure.x.name
    if figure.x.range is not None:
        assert ax.get_xlim() == pytest.approx(figure.x.range)


def test_a_range_test_shows_the_lowest_loss_of_the_batches_set_aside() -> None:
    rates = np.geomspace(1e-6, 10, 18)
    losses = np.append(np.linspace(2.0, 1.9, 17), 50.0)
    steady = np.append(np.linspace(2.0, 0.5, 17), 80.0)
    (figure,) = [
        figure
        for part in describe(Curve(rates, losses, reference=steady)).parts
        for block in part.blocks
        if isinstance(block, Figures)
        for figure in block.items
        if figure.key == "range-test/loss"
    ]
    assert figure.y.range is not None
    low, high = figure.y.range
    assert low < 0.5
    assert 2.0 < high < 5.0  # a divergence does not flatten the rest
