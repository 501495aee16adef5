from __future__ import annotations

import numpy as np
import pytest

from cyclr import Bounds, plan, report
from tests.report.made import a_plan, figure, numbers, soup


def test_a_plan_shows_its_rate_its_snapshots_and_its_reasons() -> None:
    made = a_plan()
    html = report.page(made)
    rate, closed = figure(html, "plan/schedule")["data"]
    assert numbers(rate["x"]) == pytest.approx(np.arange(301) / 10)
    assert numbers(rate["y"]) == pytest.approx(made.schedule(np.arange(301)))
    assert numbers(closed["x"]) == [step / 10 for step in made.snapshots]
    assert [item.text for item in soup(html).find("ul", "first")("li")] == list(made.reasons)
    facts = dict(zip((name.text for name in soup(html)("dt")), (value.text for value in soup(html)("dd")), strict=True))
    assert facts["schedule"] == repr(made.schedule)
    assert facts["budget"] == "300 steps: 30 epochs of 10"
    assert facts["bounds"] == "0.001 to 0.01"


def test_without_epochs_the_axis_counts_steps() -> None:
    assert (
        figure(report.page(plan(Bounds(0.1, 1), steps=100)), "plan/schedule")["layout"]["xaxis"]["title"]["text"]
        == "step"
    )
