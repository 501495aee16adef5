"""A loss that follows the order of the data is no curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive, Ramp
from cyclr._range.recorder import Recorder
from cyclr._range.walk import walk

STEPS = 300
AT = np.arange(STEPS) / STEPS
TRENDS = {
    "season": lambda phase: np.sin(2 * np.pi * (AT + phase)),
    "half a season": lambda phase: np.cos(np.pi * AT + phase / 3),
    "files of differing difficulty": lambda phase: np.round(3 * np.sin(7 * (AT + phase))) / 3,
    "trend": lambda phase: (1 + phase) * (0.5 - AT),
}
trends = st.builds(lambda name, phase: TRENDS[name](phase), st.sampled_from(sorted(TRENDS)), st.floats(0, 1))


class Ordered:
    """A training whose loss is that of its data, and a share that its rates take off."""

    def __init__(self, data, take):
        self.data, self.take, self.at, self.learned = data, take, 0, 0.0

    def step(self, rate):
        loss = self.data[self.at % len(self.data)] + self.take(self.learned)
        self.at, self.learned = self.at + 1, self.learned + rate
        return loss

    def read(self, losses):
        return losses

    def measure(self):
        return {}

    def rewind(self, *, data):
        self.learned = 0.0
        if data:
            self.at = 0


def made(trend, take, *, ramp, noise=0.05, seed=0, repeats=1, in_order=True, effort="quick"):
    data = 3 + np.resize(trend, 3 * STEPS) + noise * np.random.default_rng(seed).normal(size=3 * STEPS)
    recorder = Recorder(ramp, repeats=repeats, in_order=in_order, effort=effort)
    return walk(Ordered(data.tolist(), take), recorder)


def learns(learned):
    """Falls by two once the rates add up to 0.01, and breaks down beyond 10."""
    return -2 * learned / (learned + 0.01) + (learned / 10) ** 2


@given(trends, st.integers(0, 100), st.sampled_from([0.0, 0.02, 0.3]), st.sampled_from([1, 3]))
def test_where_nothing_is_learned_no_order_is_taken_for_a_curve(trend, seed, noise, repeats):
    curve = made(trend, learns, ramp=Ramp(1e-9, 1e-7, steps=STEPS), noise=noise, seed=seed, repeats=repeats)
    with pytest.raises(Inconclusive):
        curve.bounds()


@pytest.mark.parametrize("name", TRENDS)
def test_the_refusal_names_the_order(name):
    curve = made(TRENDS[name](0.25), learns, ramp=Ramp(1e-9, 1e-7, steps=STEPS))
    with pytest.raises(
        Inconclusive, match=r"the loss follows the order of the data: .* shuffle the data.* unproven: "
    ) as found:
        curve.bounds()
    assert found.value.fallback == pytest.approx(curve.rates[-1] / 20, rel=0.01)
    without = Curve(curve.rates, curve.losses, stops=curve.stops)
    assert curve.tuning_cost >= 2 * without.tuning_cost
    if name in ("season", "files of differing difficulty"):
        assert without.bounds().max_lr < 1e-7  # what the sweep alone would say


@settings(max_examples=settings.default.max_examples // 2)  # each is read twice
@given(st.sampled_from(["half a season", "trend"]), st.integers(0, 100))
def test_what_is_learned_in_ordered_data_has_the_bounds_of_shuffled_data(name, seed):
    # The ramp ends before training breaks down, so that the order is looked at.
    ramp = Ramp(1e-6, 1.0, steps=STEPS)
    ordered = made(TRENDS[name](0.0), learns, ramp=ramp, seed=seed, noise=0.01)
    plain = made(np.zeros(1), learns, ramp=ramp, seed=seed, noise=0.01, in_order=False).bounds()
    assert ordered.control.shape == ordered.losses.shape
    bounds = ordered.bounds()
    assert bounds.max_lr == pytest.approx(plain.max_lr, rel=0.5)
    assert any("at a rate of zero were subtracted" in sentence for sentence in bounds.evidence)


def test_a_sweep_that_breaks_down_costs_ten_steps_more_and_no_order_is_seen_in_shuffled_data():
    ramp = Ramp(1e-6, 1e3, steps=STEPS)
    checked = made(np.zeros(1), learns, ramp=ramp)
    assert checked.stops == ("diverged",)
    assert checked.control.size == 0
    plain = made(np.zeros(1), learns, ramp=ramp, in_order=False)
    assert checked.tuning_cost == plain.tuning_cost + 10
    assert checked.bounds().max_lr == plain.bounds().max_lr
    calm = made(np.zeros(1), learns, ramp=Ramp(1e-6, 1.0, steps=STEPS))
    assert calm.bounds().max_lr == Curve(calm.rates, calm.losses).bounds().max_lr


def test_it_is_saved_and_loaded_and_a_thorough_test_looks_at_both_sweeps(tmp_path):
    curve = made(TRENDS["trend"](0.0), learns, ramp=Ramp(1e-9, 1e-7, steps=STEPS), effort="thorough")
    assert curve.losses.shape == (1, 3 * STEPS)
    assert curve.earlier_steps == 2 * STEPS
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    assert loaded.control.tolist() == curve.control.tolist()
    with pytest.raises(Inconclusive, match="order of the data"):
        loaded.bounds()
    with pytest.raises(ValueError, match=r"control must have the shape of losses \(1, 2\), got \(2, 2\)"):
        Curve([1, 2], [1, 2], control=[[1, 2], [3, 4]])
