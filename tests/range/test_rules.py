"""The published rules, each against a plain transcription of its authors' code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive
from cyclr._range import RULES


def curve_like(seed, steps=100, noise=0.1):
    rng = np.random.default_rng(seed)
    rates = np.geomspace(1e-7, 10, steps)
    losses = 2.3 - 1.8 / (1 + (10 ** rng.uniform(-4, -1) / rates) ** 0.8) + (rates / 0.5) ** 2
    return rates, losses + noise * rng.normal(size=steps)


def fastai_points(rates, losses):
    smooth, best, value = [], np.inf, 0.0
    for i, loss in enumerate(losses):
        value = value * 0.98 + loss * 0.02
        smooth.append(value / (1 - 0.98 ** (i + 1)))
        if smooth[-1] > 4 * best:
            break
        best = min(best, smooth[-1])
    return list(rates[: len(smooth)])[len(rates) // 10 : -5], smooth[len(rates) // 10 : -5]


def valley_by_hand(rates, losses):
    lrs, losses = fastai_points(rates, losses)
    n, max_start, max_end = len(losses), 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return lrs[max_start + int(sections) + int(sections / 2)]


def slide_by_hand(rates, losses):
    lrs, losses = fastai_points(rates, losses)
    slope, r, left = np.gradient(losses), -1, -16
    found = lrs[left]
    while left >= -len(losses) and abs(slope[r] - slope[left]) > 0.005:
        found, r, left = lrs[left], r - 1, left - 1
    return found


def minimum_by_hand(rates, losses):
    lrs, losses = fastai_points(rates, losses)
    return lrs[losses.index(min(losses))] / 10


def steep_by_hand(rates, losses):
    lrs, losses = fastai_points(rates, losses)
    slopes = [(losses[i + 1] - losses[i]) / np.log(lrs[i + 1] / lrs[i]) for i in range(len(lrs) - 1)]
    return lrs[slopes.index(min(slopes))]


def first_weighted(losses):
    history = [losses[0]]
    best = losses[0]
    for loss in losses[1:]:
        history.append(0.05 * loss + 0.95 * history[-1])
        if history[-1] > 5 * best:
            break
        best = min(best, history[-1])
    return history


def torch_lr_finder_by_hand(rates, losses):
    history = first_weighted(losses)
    return rates[10 : len(history) - 5][np.gradient(np.array(history[10:-5])).argmin()]


def ignite_by_hand(rates, losses):
    history = first_weighted(losses)
    history = history[: history.index(min(history)) + 1]
    slopes = [0.5 * (history[i + 1] - history[i - 1]) for i in range(1, len(history) - 1)]
    return rates[1 + slopes.index(min(slopes))]


def lightning_by_hand(rates, losses):
    average, best, kept = 0.0, 0.0, []
    for step, loss in enumerate(losses, 1):
        average = 0.98 * average + 0.02 * loss
        smoothed = average / (1 - 0.98 ** (step + 1))
        kept.append(smoothed)
        if step > 1 and smoothed > 4 * best:
            break
        if smoothed < best or step == 1:
            best = smoothed
    kept, lrs = np.array(kept)[10:-1], rates[10 : len(kept) - 1]
    return lrs[np.gradient(kept, lrs).argmin()]


BY_HAND = {
    "valley": valley_by_hand,
    "slide": slide_by_hand,
    "minimum": minimum_by_hand,
    "steep": steep_by_hand,
    "torch-lr-finder": torch_lr_finder_by_hand,
    "ignite": ignite_by_hand,
    "lightning": lightning_by_hand,
}


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10_000), steps=st.sampled_from([60, 100, 300]), noise=st.sampled_from([0.0, 0.05, 0.3]))
def test_a_rule_gives_what_its_authors_code_gives(rule, seed, steps, noise):
    rates, losses = curve_like(seed, steps, noise)
    try:
        expected = BY_HAND[rule](rates, losses)
    except ValueError:  # nothing is left of the curve
        with pytest.raises(Inconclusive):
            Curve(rates, losses).suggest(rule)
    else:
        assert Curve(rates, losses).suggest(rule) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_over_repeats_is_the_median_in_log_rate(rule):
    ramps = [curve_like(seed) for seed in range(3)]
    rates, losses = ramps[0][0], np.stack([losses for _, losses in ramps])
    alone = [Curve(rates, row).suggest(rule) for row in losses]
    assert Curve(rates, losses).suggest(rule) == pytest.approx(np.median(alone))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_without_an_answer_says_so(rule):
    with pytest.raises(Inconclusive, match="record more"):
        Curve(np.geomspace(1e-5, 1, 20), np.full(20, np.nan)).suggest(rule)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="did you mean 'valley'"):
        Curve([1, 2, 3], [1, 2, 3]).suggest("vally")
