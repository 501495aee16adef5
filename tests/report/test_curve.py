from __future__ import annotations

import math

import numpy as np
import pytest

from cyclr import Curve, Inconclusive, report
from cyclr._page.sampling import smoothed
from cyclr._range import RULES
from tests.report.made import LOSSES, NOISE, RATES, caption, curve, figure, figures, numbers, soup, table


def test_the_figure_holds_each_repeat_the_smooth_line_and_both_bounds() -> None:
    made = curve()
    bounds = made.bounds()
    shown = figure(report.page(made), "range-test/loss")
    *repeats, middle, rules = shown["data"]
    assert np.array([numbers(trace["y"]) for trace in repeats]) == pytest.approx(LOSSES + NOISE, rel=1e-6)
    assert numbers(repeats[0]["x"]) == pytest.approx(RATES)
    assert numbers(middle["y"]) == pytest.approx(smoothed(made)[1], rel=1e-6)
    assert rules["text"] == list(RULES)
    assert numbers(rules["x"]) == pytest.approx([made.suggest(rule) for rule in RULES])
    assert shown["layout"]["xaxis"]["type"] == "log"
    assert shown["layout"]["xaxis"]["range"] == pytest.approx([-5, 1])
    spans = [(shape["x0"], shape["x1"]) for shape in shown["layout"]["shapes"]]
    assert spans == [
        (bounds.base_lr, bounds.base_lr), bounds.base_interval, (bounds.max_lr, bounds.max_lr), bounds.max_interval
    ]  # fmt: skip


def test_the_evidence_and_the_bounds_are_told() -> None:
    made = curve()
    bounds = made.bounds()
    html = report.page(made)
    assert [item.text for item in soup(html).find("ul", "first")("li")] == list(bounds.evidence)
    low, high = bounds.max_interval
    assert table(html, "range-test/bounds")[2] == ["max_lr", f"{bounds.max_lr:.3g}", f"{low:.2g} – {high:.2g}"]
    assert [row[0] for row in table(html, "range-test/rules")[1:]] == list(RULES)


@pytest.mark.parametrize("losses", [
    np.full(80, 2.0),
    np.where(np.arange(80) < 5, 2.0, np.nan),
    np.full(80, np.nan),
], ids=["flat", "short", "nothing"])  # fmt: skip
def test_an_inconclusive_curve_says_why_in_full(losses: np.ndarray) -> None:
    made = Curve(RATES, losses)
    with pytest.raises(Inconclusive) as unclear:
        made.bounds()
    html = report.page(made)
    said = soup(html).find("p", "first")
    assert said.text == f"The range test is inconclusive: {unclear.value}."
    layout = figure(html, "range-test/loss")["layout"]
    assert not layout.get("shapes")
    assert all(map(math.isfinite, layout["yaxis"]["range"]))


def test_each_metric_has_a_part_of_its_own() -> None:
    accuracy = np.where(np.arange(80) % 4 == 0, 1 - LOSSES / 5, np.nan)
    made = curve(losses=LOSSES, metrics={"val_accuracy": accuracy}, maximize={"val_accuracy"})
    html = report.page(made)
    heads = [head.text for head in soup(html)("h2")]
    assert heads == [
        "What the training loss shows",
        "What the val accuracy shows",
        "How it was recorded",
        "Design a schedule",
    ]
    assert list(figures(html)) == ["range-test/loss", "range-test/val_accuracy"]
    assert figure(html, "range-test/val_accuracy")["layout"]["yaxis"]["title"]["text"] == "val accuracy"


def test_a_linear_ramp_has_a_linear_axis() -> None:
    made = Curve(np.linspace(0, 1, 80), LOSSES, scale="linear")
    axis = figure(report.page(made), "range-test/loss")["layout"]["xaxis"]
    assert (axis["type"], axis["range"]) == ("linear", [0, 1])


def test_probe_cycles_and_how_repeats_ended_are_told() -> None:
    probes = np.stack([np.append(np.linspace(2, 1, 8), np.full(20, 1.25)), np.full(28, np.nan)])
    html = report.page(curve(peaks=[0.01, 0.1], probes=probes, stops=("end", "diverged", "diverged")))
    assert table(html, "range-test/probes")[1:] == [["0.01", "1.25"], ["0.1", "diverged"]]
    facts = soup(html)("dd")
    assert facts[1].text == "3: 1 of 3 reached the highest rate, 2 of 3 stopped when the loss diverged"


def test_the_published_rules_are_told_apart_by_how_far_they_differ() -> None:
    made = curve()
    found = [made.suggest(rule) for rule in RULES]
    said = caption(report.page(made), "range-test/rules")
    assert float(said.partition("the highest rate is ")[2].partition(" times")[0]) == pytest.approx(
        max(found) / min(found), rel=0.05
    )
