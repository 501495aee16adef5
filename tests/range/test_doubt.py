"""A doubtful quick answer names the thorough test that would tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cyclr import Bounds, Curve
from cyclr._range.horizon import allowed
from cyclr._range.probe import candidates

RATES = np.geomspace(1e-6, 10, 300)


def curve(kind: str) -> Curve:
    rng = np.random.default_rng(0)
    rates = RATES[::5] if kind == "few" else RATES
    losses = 2 - 1.5 / (1 + (1e-3 / rates) ** 2) + 0.01 * rng.normal(size=len(rates))
    if kind == "late":
        return Curve(rates, 2 - 1.5 / (1 + (0.3 / rates) ** 2) + 0.003 * rng.normal(size=len(rates)))
    if kind == "solved":
        falls = 1 / (1 + (rates / 1e-3) ** 3)
        return Curve(rates, np.abs(falls + 1e-4 * rng.normal(size=len(rates))) + np.where(rates > 5, rates, 0))
    noise = 0.6 if kind == "noisy" else 0.0
    return Curve(rates, losses + np.minimum(rates**2, 3) + noise * rng.normal(size=len(rates)))


def doubt(bounds: Bounds) -> list[str]:
    return [sentence for sentence in bounds.evidence if "The answer is doubtful" in sentence]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("late", "the loss had not risen when the sweep ended"),
        ("few", "the sweep has only 60 steps"),
        ("noisy", "noise leaves an interval over a factor of"),
        ("solved", "the data were solved during the sweep"),
    ],
)
def test_what_makes_a_quick_answer_doubtful_is_said(kind: str, why: str) -> None:
    (sentence,) = doubt(curve(kind).bounds())
    assert why in sentence
    cost = 60 + 900 if kind == "few" else 300 + 900
    assert f"Search(effort='thorough') or --effort thorough, of at most {cost:,} steps" in sentence


def test_a_clear_answer_is_not_called_doubtful() -> None:
    assert doubt(curve("clear").bounds()) == []


@pytest.mark.parametrize("budget", [60, 1999, 2000, 8000, 50_000])
def test_only_a_test_that_the_training_pays_for_is_named(budget: int) -> None:
    found = doubt(curve("late").bounds(budget=budget))
    assert len(found) == (budget >= 2000)
    if found:
        cost = int(found[0].rpartition("at most ")[2].removesuffix(" steps.").replace(",", ""))
        assert 100 < cost <= allowed(budget)


def test_a_thorough_test_has_told() -> None:
    peaks = np.array(candidates(0.01))
    probes = np.stack([np.linspace(2, 0.5 + 0.1 * at, 180) for at in (1, 0, 2)])
    assert doubt(replace(curve("late"), peaks=peaks, probes=probes).bounds()) == []
