from __future__ import annotations

import base64
import io
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib import image

from cyclr import Bounds, Curve, Linear, Triangular, plan, plot
from cyclr.study._records import Run, Study

RATES = np.geomspace(1e-5, 10, 80)
CURVE = Curve(RATES, 2 - 1.5 / (1 + (1e-2 / RATES) ** 2) + (RATES / 0.5) ** 2)
PLAN = plan(Bounds(0.001, 0.01), epochs=5, steps_per_epoch=100)
EVIL = "<script>alert(1)</script>"
RUN = Run(task=EVIL, policy=EVIL, schedule=EVIL, seed=0, steps=40, eval_every=10, steps_per_epoch=10, seconds=0.0,
          points=[{"step": step, "test_accuracy": 0.5} for step in (20, 40)], versions={})  # fmt: skip
STUDY = Study(task=EVIL, runs=[RUN], baseline=EVIL)
THINGS = (Triangular(0.001, 0.006, step_size=4), Linear(0, 1, steps=10), CURVE, Bounds(0.001, 0.01), PLAN, STUDY)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_a_notebook_shows_a_picture_and_words_without_a_script(thing: object) -> None:
    html = thing._repr_html_()
    page = BeautifulSoup(html, "html.parser")
    assert page.img["src"].startswith("data:image/png;base64,")
    assert len(page.get_text()) > 40
    assert page.find("script") is None
    assert not [tag for tag in page.find_all() if any(name.startswith("on") for name in tag.attrs)]


def test_a_study_without_a_run_has_words_only() -> None:
    html = Study(task="digits", runs=[])._repr_html_()
    assert "<img" not in html
    assert "no run yet" in html


def test_importing_loads_neither_plots_nor_pages_and_words_need_no_matplotlib() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; import cyclr; "
        "assert not {'cyclr.plot', 'cyclr._page', 'cyclr.report'} & set(sys.modules); "
        "html = cyclr.Linear(0, 1, steps=9)._repr_html_(); assert '<img' not in html; assert 'Linear(0.0, 1.0' in html"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_schedules_on_one_axes_differ_in_colour_and_are_named() -> None:
    first, second = Linear(0, 1, steps=10), Linear(1, 0, steps=30)
    ax = second.plot(first.plot())
    assert len({line.get_color() for line in ax.lines}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [repr(first), repr(second)]
    assert ax.get_xlim() == (0, 30)


def test_nothing_on_one_axes_has_the_colour_of_another() -> None:
    ax = Triangular(0.001, 0.006, step_size=50).plot()
    for thing in (Linear(0.006, 0, steps=300), PLAN, Bounds(0.001, 0.006)):
        thing.plot(ax)
    colours = [line.get_color() for line in ax.lines]
    assert len(set(colours)) == len(colours) == 6
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "plan for 500 steps" in names
    assert "learning rate" not in names
    assert ax.get_ylim()[1] > PLAN.schedule.highest, "all of it is in sight"


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_a_picture_suits_a_light_and_a_dark_page(thing: object) -> None:
    page = BeautifulSoup(thing._repr_html_(), "html.parser")
    pixels = image.imread(io.BytesIO(base64.b64decode(page.img["src"].partition(",")[2])))
    assert pixels[0, 0, 3] == 0, "no background"
    opaque = pixels[pixels[..., 3] > 0.9][:, :3]
    light = opaque @ [0.2126, 0.7152, 0.0722]
    assert light.min() > 0.1
    assert light.max() < 0.9


def test_the_repr_of_a_study_is_one_line() -> None:
    runs = [msgspec.structs.replace(RUN, task="digits", policy="auto", seed=seed) for seed in range(100)]
    shown = repr(Study(task="digits", runs=runs))
    assert shown == "<Study of digits: 100 runs, policies auto; test_accuracy, higher is better>"


def test_a_plan_counts_the_steps_of_the_axes_that_it_shares() -> None:
    ax = PLAN.plot(PLAN.schedule.plot())
    assert ax.lines[0].get_xdata()[-1] == ax.lines[1].get_xdata()[-1] == 500


def test_bounds_stand_upright_on_a_curve_and_lie_across_a_schedule() -> None:
    bounds = Bounds(0.001, 0.01)
    ax = CURVE.plot()
    label, window = ax.get_ylabel(), ax.get_ylim()
    bounds.plot(ax)
    assert [list(line.get_xdata()) for line in ax.lines[-2:]] == [[0.001] * 2, [0.01] * 2]
    assert (ax.get_ylabel(), ax.get_ylim()) == (label, window)
    ax = bounds.plot(PLAN.plot())
    assert [list(line.get_ydata()) for line in ax.lines[-2:]] == [[0.001] * 2, [0.01] * 2]


def test_other_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="horizontal axis must be 'learning rate', got Axes that show 'step'"):
        CURVE.plot(Linear(0, 1, steps=9).plot())


def test_a_curve_is_told_in_one_line() -> None:
    assert repr(CURVE) == "<Curve: 80 rates from 1e-05 to 10 (log), 1 repeat of loss>"


def test_the_image_is_still_made_by_its_former_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"cyclr.plot.picture is now cyclr.plot.image") as said:
        assert plot.picture(PLAN).startswith("<img")
    assert said[0].filename == __file__
