from __future__ import annotations

import math

import numpy as np
import pytest

from cyclr import Curve, Inconclusive, report
from cyclr._range import RULES
from cyclr._view import smoothed
from tests.report.made import LOSSES, NOISE, RATES, curve, figures, numbers, soup, table


def test_the_figure_holds_each_repeat_the_smooth_line_and_both_bounds() -> None:
    made = curve()
    bounds = made.bounds()
    (figure,) = figures(report.page(made))
    *repeats, middle, rules = figure["data"]
    assert np.array([numbers(trace["y"]) for trace in repeats]) == pytest.approx(LOSSES + NOISE, rel=1e-6)
    assert numbers(repeats[0]["x"]) == pytest.approx(RATES)
    assert numbers(middle["y"]) == pytest.approx(smoothed(made)[1], rel=1e-6)
    assert rules["text"] == list(RULES)
    assert numbers(rules["x"]) == pytest.approx([made.suggest(rule) for rule in RULES])
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["range"] == pytest.approx([-5, 1])
    spans = [(shape["x0"], shape["x1"]) for shape in figure["layout"]["shapes"]]
    assert spans == [
        (bounds.base_lr, bounds.base_lr), bounds.base_interval, (bounds.max_lr, bounds.max_lr), bounds.max_interval
    ]  # fmt: skip


def test_the_evidence_and_the_bounds_are_told() -> None:
    made = curve()
    bounds = made.bounds()
    html = report.page(made)
    assert [item.text for item in soup(html).find("ul", "first")("li")] == list(bounds.evidence)
    low, high = bounds.max_interval
    assert table(html, "Both bounds")[2] == ["max_lr", f"{bounds.max_lr:.3g}", f"{low:.2g} – {high:.2g}"]
    assert [row[0] for row in table(html, "What the published rules")[1:]] == list(RULES)


@pytest.mark.parametrize("losses", [
    np.full(80, 2.0),
    np.where(np.arange(80) < 5, 2.0, np.nan),
    np.full(80, np.nan),
], ids=["flat", "short", "nothing"])  # fmt: skip
def test_a_curve_that_does_not_say_says_why_in_full(losses: np.ndarray) -> None:
    made = Curve(RATES, losses)
    with pytest.raises(Inconclusive) as unclear:
        made.bounds()
    html = report.page(made)
    (said,) = soup(html).find("ul", "first")("li")
    assert said.text == f"No bounds: {unclear.value}."
    (figure,) = figures(html)
    assert not figure["layout"].get("shapes")
    assert all(map(math.isfinite, figure["layout"]["yaxis"]["range"]))


def test_each_metric_has_a_part_of_its_own() -> None:
    accuracy = np.where(np.arange(80) % 4 == 0, 1 - LOSSES / 5, np.nan)
    made = curve(losses=LOSSES, metrics={"val_accuracy": accuracy}, maximize={"val_accuracy"})
    html = report.page(made)
    heads = [head.text for head in soup(html)("h2")]
    assert heads == ["What the training loss says", "What the val accuracy says", "How it was recorded"]
    assert figures(html)[1]["layout"]["yaxis"]["title"]["text"] == "val accuracy"


def test_a_linear_ramp_has_a_linear_axis() -> None:
    made = Curve(np.linspace(0, 1, 80), LOSSES, scale="linear")
    axis = figures(report.page(made))[0]["layout"]["xaxis"]
    assert (axis["type"], axis["range"]) == ("linear", [0, 1])


def test_probe_cycles_and_how_repeats_ended_are_told() -> None:
    probes = np.stack([np.append(np.linspace(2, 1, 8), np.full(20, 1.25)), np.full(28, np.nan)])
    html = report.page(curve(peaks=[0.01, 0.1], probes=probes, stops=("end", "diverged", "diverged")))
    assert table(html, "Probe cycles")[1:] == [["0.01", "1.25"], ["0.1", "diverged"]]
    facts = soup(html)("dd")
    assert facts[1].text == "3: 1 of 3 went to the highest rate, 2 of 3 ended when the loss blew up"
