"""Short sweeps, which evaluate reference batches: when their loss is back at its start, and what follows from that."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive, Ramp
from cyclr._range import Recorder, short
from cyclr._range.horizon import EVALUATION, REFERENCE, allowed, extent
from cyclr._range.walk import walk


def losses(rates, lost, start=2.0):
    """A loss that falls until a third of `lost`, and is back at its start there: a parabola in the log of the rate."""
    where = np.log(rates / lost) + np.log(3)
    return start - 1 + np.clip(where / np.log(3), -1, None) ** 2


@given(
    lost=st.floats(1e-3, 1.0),
    steps=st.integers(18, 60),
    start=st.floats(-50, 50),
    scale=st.floats(1e-3, 1e3),
)
def test_the_rate_at_which_the_gain_is_lost_is_found_whatever_the_scale_of_the_loss(lost, steps, start, scale):
    rates = np.geomspace(1e-6, 10, steps)
    seen = short.read(rates, scale * losses(rates, lost, start), ended=False)
    step = math.log(rates[1] / rates[0])
    assert seen.back
    assert seen.lost == pytest.approx(math.log(lost), abs=step)
    assert seen.lowest == pytest.approx(math.log(lost / 3), abs=step)
    assert seen.lowest <= seen.lost


@given(steps=st.integers(18, 60), seed=st.integers(0, 10**6), fall=st.floats(0, 8))
def test_a_fall_of_a_few_times_the_jitter_is_none(steps, seed, fall):
    rates = np.geomspace(1e-6, 10, steps)
    jitter = np.random.default_rng(seed).normal(size=steps)
    drift = fall * np.interp(np.arange(steps), [0, steps // 3, steps // 2, steps], [0, 0, -1, 50])
    with pytest.raises(Inconclusive, match="does not fall at any rate"):
        short.read(rates, 3 + 1e-5 * (jitter + drift), ended=False)


def test_a_network_that_hardly_learns_in_reduced_precision_gets_no_rate():
    # AlexNet on 20 classes in bfloat16, where 0.0002 was answered.
    values = np.array([
        3.002803, 3.002803, 3.002807, 3.002811, 3.002805, 3.002805, 3.002816, 3.002801, 3.00281, 3.002795, 3.002806,
        3.002808, 3.002829, 3.002819, 3.002809, 3.002818, 3.002832, 3.002794, 3.002769, 3.002801, 3.002757, 3.002768,
        3.002761, 3.00282, 3.002922, 3.002994, 3.003158, 3.003304, 3.003534, 3.003437, 3.003505, 3.003538, 3.003563,
        3.003259, 3.003381, 3.003344, 3.004094, 3.004925, 3.005172, 3.006285, 3.009988, 3.01358, 3.019894, 3.027605,
        3.031698, 3.034541, 3.029233, 3.056833, 3.08496,
    ])  # fmt: skip
    with pytest.raises(Inconclusive, match="does not fall at any rate"):
        short.read(np.geomspace(1e-6, 10, 60)[: len(values)], values, ended=True)


@given(
    steps=st.integers(36, 60),
    level=st.floats(1e-4, 1e-3),
    wide=st.floats(2000, 5000),
    start=st.floats(2, 10),
    seed=st.integers(0, 10**6),
)
def test_a_loss_that_stays_at_one_level_whatever_the_rate_proves_nothing_there(steps, level, wide, start, seed):
    """As where a network from bad initial weights comes to give the same answer to everything."""
    rates = np.geomspace(1e-6, 10, steps)
    jitter = 0.02 * np.random.default_rng(seed).uniform(size=steps)
    falls = np.interp(np.log(rates), np.log([level / 30, level]), [1, 0])
    values = 1 + start * (falls + np.where(falls > 0, 0, jitter) + np.where(rates > level * wide, 2, 0))
    seen = short.read(rates, values, ended=False)
    apart = math.log(rates[1] / rates[0])
    assert math.log(level) - 1 - apart < seen.floor < math.log(level) + apart
    assert short.best(seen, steps / math.log(1e7), 2000) <= seen.floor


@given(steps=st.integers(18, 60), budget=st.integers(200, 1999), longer=st.floats(1.1, 3), lost=st.floats(0.1, 1.0))
def test_the_best_peak_falls_with_the_training_and_rises_with_the_lost_rate_and_a_slower_sweep(
    steps, budget, longer, lost
):
    def best(lost, density, budget):
        return short.best(short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf), density, budget)

    density = steps / math.log(1e7)
    here = best(lost, density, budget)
    assert best(lost, density, round(longer * budget) + 1) < here
    assert best(lost, density * longer, budget) > here
    assert here < best(lost * longer, density, budget) <= here + math.log(longer) + 1e-9
    assert best(1e3, density, budget) - best(1e2, density, budget) == pytest.approx(math.log(10))  # unusual: no pull


@given(st.floats(1e-6, 1e3), st.floats(0.5, 20), st.integers(1, 10**6))
def test_an_answer_stays_below_half_the_rate_at_which_the_gain_is_lost(lost, density, budget):
    seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)
    assert short.best(seen, density, budget) <= math.log(lost / 2) + 1e-12


@given(lost=st.floats(0.1, 1.0), density=st.floats(0.5, 2), examples=st.integers(0, 100))
def test_sgd_without_momentum_has_higher_peaks_that_do_not_fall_below_400_steps(lost, density, examples):
    seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)

    def best(budget, *, plain_sgd):
        return short.best(seen, density, budget, short.StepFacts(examples, plain_sgd=plain_sgd))

    assert best(60, plain_sgd=True) == best(400, plain_sgd=True)
    cap = math.log(lost / 2)
    for budget in (400, 700, 1999):
        four_times = min(cap, best(budget, plain_sgd=False) + math.log(4))
        assert best(budget, plain_sgd=True) == pytest.approx(four_times)


@given(lost=st.floats(3, 1e3), further=st.floats(1, 3))
def test_the_lost_rates_of_sgd_without_momentum_reach_further(lost, further):
    """Beyond a factor of 20 (40) of the usual one, an answer is the same share of the lost rate whatever that is."""

    def best(lost, *, plain_sgd):
        seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)
        return short.best(seen, 0.5, 400, short.StepFacts(plain_sgd=plain_sgd)) - math.log(lost)

    assert best(further * lost, plain_sgd=False) == pytest.approx(best(lost, plain_sgd=False))
    if lost > 40 * 0.135:
        assert best(further * lost, plain_sgd=True) == pytest.approx(best(lost, plain_sgd=True))
    else:
        assert best(further * lost, plain_sgd=True) <= best(lost, plain_sgd=True)


@given(
    lost=st.floats(1e-4, 10), weights=st.integers(1_000, 10**7), times=st.integers(2, 1_000), density=st.floats(0.5, 5)
)
def test_under_adam_rates_fall_as_the_root_of_the_number_of_weights(lost, weights, times, density):
    """Adam's step is as long as the rate times that root: where lost rates fall with it, so do the answers."""

    def best(lost, weights):
        seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)
        return short.best(seen, density, 400, short.StepFacts(weights=weights))

    root = math.sqrt(times)
    assert best(lost / root, times * weights) == pytest.approx(best(lost, weights) - math.log(root))
    assert best(lost, times * weights) <= best(lost, weights)


@pytest.mark.parametrize("lost", [0.0034, 0.0082, 0.0032])  # those of MiniLM, with 22.7 million weights
def test_a_large_network_under_adam_gets_no_rate_at_which_it_collapses(lost):
    seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)
    peak = math.exp(short.best(seen, 17 / math.log(1e7), 60, short.StepFacts(16, weights=22_713_986)))
    assert 1e-4 < peak < 8e-4  # the best is 2.5e-4; most trainings at 1e-3 and all at 2e-3 learn nothing


def test_evidence_says_how_many_weights_adam_moves(tmp_path):
    rates = np.geomspace(1e-6, 10, 36)
    values = 2 / (1 + rates / 0.01) + np.where(rates > 0.6, 5 * rates, 0)
    of = {weights: Curve(rates, values, reference=values, weights=weights) for weights in (0, 20_000, 2_000_000)}
    answers = {weights: curve.bounds(budget=400) for weights, curve in of.items()}
    assert answers[2_000_000].max_lr < answers[20_000].max_lr
    assert any("each of 2,000,000 weights" in sentence for sentence in answers[2_000_000].evidence)
    assert not any("weights by about" in sentence for sentence in answers[0].evidence)
    of[20_000].save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").weights == 20_000
    text = (tmp_path / "curve.json").read_text().replace(', "weights": 20000', "")
    (tmp_path / "curve.json").write_text(text)  # as it was before
    assert Curve.load(tmp_path / "curve.json").weights == 0


def test_evidence_says_that_the_optimizer_is_plain_sgd(tmp_path):
    rates = np.geomspace(1e-6, 10, 36)
    values = 2 / (1 + rates / 0.01) + np.where(rates > 0.6, 5 * rates, 0)
    of = {plain_sgd: Curve(rates, values, reference=values, plain_sgd=plain_sgd) for plain_sgd in (True, False)}
    plain, other = of[True].bounds(budget=400), of[False].bounds(budget=400)
    assert other.max_lr < plain.max_lr <= 4.01 * other.max_lr
    assert any("SGD without momentum" in sentence for sentence in plain.evidence)
    assert not any("SGD without momentum" in sentence for sentence in other.evidence)
    of[True].save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").plain_sgd
    text = (tmp_path / "curve.json").read_text().replace(', "plain_sgd": true', "")
    (tmp_path / "curve.json").write_text(text)  # as it was before
    assert not Curve.load(tmp_path / "curve.json").plain_sgd


def test_an_answer_never_exceeds_the_rate_at_which_the_loss_is_at_its_floor():
    seen = short.ShortReading(0.0, True, False, 0.0, 0.0, math.log(1e-4))
    assert short.best(seen, 2.0, 400) == math.log(1e-4)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0])
def test_a_loss_that_falls_at_no_rate_is_no_answer_but_names_a_rate(noise):
    rates = np.geomspace(1e-6, 10, 30)
    values = 2 + noise * np.random.default_rng(0).normal(size=30) + np.where(rates > 0.1, 100 * rates, 0)
    with pytest.raises(Inconclusive, match="does not fall at any rate") as found:
        Curve(rates, values, reference=values).bounds(budget=200)
    assert 1e-3 < found.value.fallback < 0.1
    assert found.value.curve is not None


@pytest.mark.parametrize("seed", range(20))
def test_the_rate_to_try_does_not_come_from_noise_at_low_rates(seed):
    # A network of reduced precision that does not learn: its loss is a little higher, now and then, where weights move.
    rates, rng = np.geomspace(1e-6, 10, 60), np.random.default_rng(seed)
    values = 3 + 1e-5 * rng.normal(size=60) + np.where(rates > 1e-4, 5e-4, 0) * abs(rng.normal(size=60)) + 0.2 * rates
    with pytest.raises(Inconclusive, match="does not fall at any rate") as found:
        Curve(rates, values, reference=values).bounds(budget=1000)
    assert 1e-3 < found.value.fallback < 0.1


@pytest.mark.parametrize("high", [0.01, 10.0])
def test_a_higher_ramp_is_advised_where_the_users_own_is_flat_up_to_its_end(high):
    rates = np.geomspace(1e-6, high, 30)
    values = np.full(30, 2.0)
    with pytest.raises(Inconclusive, match="does not fall at any rate") as found:
        Curve(rates, values, reference=values).bounds(budget=200)
    assert ("Ramp(high=0.1)" in str(found.value)) == (high < 10)


def test_a_short_test_of_few_evaluations_names_a_rate():
    rates = np.geomspace(1e-6, 10, 18)[:9]
    values = 2 - 1e3 * rates
    with pytest.raises(Inconclusive, match="evaluated only 9 times") as found:
        Curve(rates, values, reference=values).bounds(budget=200)
    assert found.value.fallback == pytest.approx(rates[-1] / 20, rel=0.01)


def test_a_loss_that_is_not_back_at_its_start_says_so():
    rates = np.geomspace(1e-6, 10, 36)
    values = 2 - 1 / (1 + (0.01 / rates) ** 2)
    bounds = Curve(rates, values, reference=values).bounds(budget=400)
    assert "not back at its start when the sweep ends, at 10" in bounds.evidence[0]


def test_a_range_that_ends_too_low_is_told():
    rates = np.geomspace(1e-9, 1e-8, 30)
    with pytest.raises(Inconclusive, match="still falling at the highest rate, 1e-08") as found:
        Curve(rates, losses(rates, 0.5), reference=2 - 1e3 * rates).bounds(budget=200)
    assert found.value.fallback < 1e-8


def test_too_few_evaluations_are_told():
    rates = np.geomspace(1e-3, 1, 8)
    with pytest.raises(Inconclusive, match="evaluated only 8 times, 12 are needed"):
        Curve(rates, losses(rates, 0.5), reference=losses(rates, 0.5)).bounds(budget=60)


def test_repeats_are_read_one_by_one_and_half_of_them_must_fall():
    rates = np.geomspace(1e-6, 10, 36)
    rows = np.stack([losses(rates, lost) for lost in (0.05, 0.1, 0.2)])
    single = Curve(rates, rows[1], reference=rows[1]).bounds(budget=400)
    together = Curve(rates, rows, reference=rows).bounds(budget=400)
    assert together.max_lr == single.max_lr
    low, high = together.max_interval
    assert low < single.max_interval[0] < single.max_interval[1] < high  # repeats differ by more than usual
    flat = np.full(36, 2.0)
    mostly = np.stack([rows[1], rows[1], flat])
    assert Curve(rates, mostly, reference=mostly).bounds(budget=400).max_lr == single.max_lr
    hardly = np.stack([rows[1], flat, flat])
    with pytest.raises(Inconclusive):
        Curve(rates, hardly, reference=hardly).bounds(budget=400)


@pytest.mark.parametrize(("budget", "steps"), [(1, 18), (60, 18), (999, 18), (1999, 18), (50_000, 18)])
def test_a_short_sweep_costs_what_a_short_training_allows(budget, steps):
    short_test = extent(Ramp(), "quick", budget=budget, reference=True)
    assert (short_test.reference, short_test.ramp.steps) == (True, steps)
    assert steps * (1 + REFERENCE * EVALUATION) <= allowed(budget)
    thorough = extent(Ramp(), "thorough", budget=budget, reference=True)
    assert replace(thorough, cycles=0, cycle=short_test.cycle) == short_test
    assert (thorough.cycles > 0) is (budget >= 1000)


@given(budget=st.integers(1000, 100_000), repeats=st.integers(1, 3))
def test_probe_cycles_follow_a_short_sweep_within_what_a_training_allows(budget, repeats):
    made = extent(Ramp(), "thorough", budget=budget, repeats=repeats, reference=True)
    assert made.cost <= allowed(budget)
    if made.cycles:
        assert 3 <= made.cycles <= 5
        assert 40 <= made.cycle <= 180
    else:
        assert allowed(budget) - 30 * repeats < 3 * 40


@pytest.mark.parametrize(
    "how",
    [{"budget": None}, {"budget": 2000, "measured": True}, {"budget": 400, "ramp": Ramp(scale="linear")}],
)
def test_other_tests_have_no_reference(how):
    how = {"ramp": Ramp()} | how
    assert not extent(effort="quick", reference=True, **how).reference


class Training:
    """Losses with much noise; the reference has none, as it is of the same batches."""

    def __init__(self, edge):
        self.edge, self.walked, self.noise, self.asked = edge, 0.0, np.random.default_rng(0), 0

    def value(self):
        return 2 - min(self.walked / self.edge, 1) + max(0.0, self.walked / self.edge - 2)

    def step(self, rate):
        now = self.value() + self.noise.normal()
        self.walked += rate
        return now

    def reference(self):
        self.asked += 1
        return self.value()

    def read(self, losses):
        return losses

    def measure(self):
        return {}

    def rewind(self, *, data):
        self.walked = 0.0


@given(edge=st.floats(0.01, 1.0), repeats=st.integers(1, 3))
def test_a_sweep_evaluates_before_each_step_and_ends_once_the_gain_is_lost(edge, repeats):
    training = Training(edge)
    curve = walk(training, Recorder(Ramp(), budget=400 * repeats, repeats=repeats, reference=True, in_order=True))
    assert curve.reference.shape == curve.losses.shape == (repeats, 18)
    assert (np.isfinite(curve.reference) == np.isfinite(curve.losses)).all()
    assert curve.reference[:, 0] == pytest.approx(2.0)
    assert not curve.control.size  # the order of the data moves nothing that is the same at each step
    made = int(np.isfinite(curve.losses).sum())
    assert training.asked >= made
    assert curve.tuning_cost == made + math.ceil(REFERENCE * EVALUATION * made)
    bounds = curve.bounds(budget=400)
    assert edge / 60 < bounds.max_lr < edge


def test_a_sweep_whose_reference_still_falls_goes_on():
    curve = walk(Training(30.0), Recorder(Ramp(), budget=200, reference=True))
    assert curve.rates[-1] > 30
    assert walk(Training(30.0), Recorder(Ramp(high=10, furthest=10), budget=200, reference=True)).rates[-1] == 10


def test_a_curve_with_reference_is_saved_whole(tmp_path):
    curve = walk(Training(0.3), Recorder(Ramp(), budget=400, reference=True))
    curve.save(tmp_path / "curve.json")
    again = Curve.load(tmp_path / "curve.json")
    np.testing.assert_array_equal(again.reference, curve.reference)
    assert again.bounds(budget=400) == curve.bounds(budget=400)
    assert again.tuning_cost == curve.tuning_cost
    with pytest.raises(ValueError, match="reference must have shape"):
        Curve(curve.rates, curve.losses, reference=curve.reference[:, :-1])


def test_a_loss_that_is_almost_nothing_and_then_no_number_was_solved():
    rates = np.geomspace(1e-6, 10, 36)
    values = 0.7 / (1 + (rates / 1e-3) ** 2) + 1e-3  # as of a logarithm of a probability that becomes zero
    values[rates > 0.1] = np.nan
    bounds = Curve(rates, values, stops=("non-finite",), reference=values).bounds(budget=400)
    first = rates[values <= 0.07][0]
    assert bounds.max_lr <= float(f"{first:.3g}")
    assert "no number beyond" in bounds.evidence[0]
    assert any("is at its floor from" in sentence for sentence in bounds.evidence)


@given(st.integers(1, 60))
def test_nothing_is_concluded_from_trainings_shorter_than_those_measured(steps):
    seen = short.ShortReading(math.log(0.1), True, False, 0.0, 0.0, math.inf)
    assert short.best(seen, 1.5, steps) == short.best(seen, 1.5, 60)


def test_a_late_start_says_where_the_lower_bound_is():
    rates = np.geomspace(1e-6, 10, 36)
    values = np.where(rates < 0.05, 3.0, 2.0) + np.where(rates > 0.6, 5 * rates, 0)
    values[:3] += 1e-4
    bounds = Curve(rates, values, reference=values).bounds(budget=400)
    assert bounds.base_lr == pytest.approx(bounds.max_lr / 2, rel=0.01)
    assert "the lower bound is half of the upper bound" in bounds.evidence[-1]


def test_a_sweep_that_learns_above_the_answer_alone_says_so():
    rates = np.geomspace(1e-6, 10, 36)
    values = np.where(rates < 0.05, 3.0, 2.0) + np.where(rates > 0.6, 5 * rates, 0)
    values[:3] += 1e-4
    bounds = Curve(rates, values, reference=values, weights=10**7).bounds(budget=400)
    assert bounds.max_lr < 0.05
    assert bounds.base_lr == pytest.approx(bounds.max_lr / 2, rel=0.01)
    assert "learns from 0.063 on, above max_lr" in bounds.evidence[-1]


@given(place=st.integers(0, 2), early=st.floats(3, 20), lost=st.floats(0.05, 1.0))
def test_one_of_three_sweeps_that_loses_its_gain_early_does_not_make_the_others_inconclusive(place, early, lost):
    rates = np.geomspace(1e-6, 10, 18)
    rows = np.array([2 - np.exp(-((np.log(rates / lost) + 4) ** 2) / 6) + rates / lost for _ in range(3)])
    shifted = round(math.log(early) / math.log(rates[1] / rates[0]))
    rows[place] = np.append(rows[place][shifted:], np.full(shifted, rows[place][-1]))
    alone, together = (Curve(rates, some, reference=some).bounds(budget=400) for some in (rows[place - 1], rows))
    assert together.max_lr == pytest.approx(alone.max_lr, rel=0.01)
    assert together.max_interval[1] / together.max_interval[0] < 10


@given(
    lost=st.floats(1e-3, 10),
    density=st.floats(0.5, 20),
    budget=st.integers(1, 10**6),
    weights=st.integers(0, 10**8),
)
def test_the_best_peak_of_a_single_layer_follows_from_the_lost_rate_alone(lost, density, budget, weights):
    seen = short.ShortReading(math.log(lost), True, False, 0.0, 0.0, math.inf)
    facts = short.StepFacts(weights=weights, single_layer=True)
    assert short.best(seen, density, budget, facts) == pytest.approx(math.log(lost / 3))
    plain = replace(facts, plain_sgd=True)  # breaks down at once, which a sweep shows late: as that of any network
    assert short.best(seen, density, budget, plain) == short.best(
        seen, density, budget, replace(plain, single_layer=False)
    )


@given(
    curvatures=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    sharpest=st.floats(20, 1000),
    seed=st.integers(0, 10**6),
)
def test_an_exploding_parabola_shows_up_to_where_gradient_descent_is_stable(curvatures, sharpest, seed):
    """Gradient descent itself, on a parabola of known curvatures."""
    curved = np.append(curvatures, 1) * sharpest
    place = np.random.default_rng(seed).uniform(1, 2, len(curved))
    rates, values = np.geomspace(1e-6, 10, 18), []
    for rate in rates:
        values.append(float(curved @ place**2) / 2)
        place = place - rate * curved * place
    found = math.exp(short.stable_up_to(rates, np.array(values), values[0]))
    assert 0.9 < found / (2 / sharpest) < short.STABLE


def test_plain_sgd_stays_below_a_third_of_the_rate_up_to_which_it_is_stable():
    seen = short.ShortReading(0.0, True, False, 0.0, 0.0, math.inf, stable=math.log(0.01))
    facts = short.StepFacts(plain_sgd=True)
    assert short.best(seen, 1.0, 400, facts) == pytest.approx(math.log(0.01 / 3))
    assert short.best(seen, 1.0, 400) == short.best(replace(seen, stable=math.inf), 1.0, 400)  # momentum: not so


class Annealed(Training):
    """A cycle ends lowest, at zero, if its peak is `best`, whatever the sweep says."""

    def __init__(self, edge, best):
        super().__init__(edge)
        self.best, self.highest = best, 0.0

    def step(self, rate):
        self.highest = max(self.highest, rate)
        now = 2 - math.exp(-abs(math.log(self.highest / self.best))) if rate == 0 else 2.0
        self.walked += rate
        return now

    def rewind(self, *, data):
        super().rewind(data=data)
        self.highest = 0.0


@given(edge=st.floats(0.03, 1.0), above=st.floats(0.3, 10), budget=st.sampled_from([1000, 2000, 10_000]))
def test_probe_cycles_move_the_answer_of_a_short_sweep_towards_the_peak_that_ends_lowest(edge, above, budget):
    alone = walk(Annealed(edge, 1.0), Recorder(Ramp(), budget=budget, reference=True)).bounds(budget=budget)
    best = above * alone.max_lr
    how = {"effort": "thorough", "budget": budget, "reference": True}
    curve = walk(Annealed(edge, best), Recorder(Ramp(), **how))
    assert len(curve.peaks) >= 3
    assert curve.tuning_cost <= allowed(budget) + curve.stops.count("non-finite")
    found = curve.bounds(budget=budget)
    assert abs(math.log(found.max_lr / best)) <= abs(math.log(above)) + 0.9
    assert (found.max_lr > alone.max_lr) or above < 3
    assert any("sweep and probe cycles together" in one for one in found.evidence)
    assert any("the first peak to try follows" in one for one in found.evidence)


def test_repeats_that_disagree_by_more_than_a_decade_are_no_answer():
    rates = np.geomspace(1e-6, 10, 18)
    rows = np.array([losses(rates, lost) for lost in (3e-4, 1.0)])
    with pytest.raises(Inconclusive, match="known only to within a factor of") as found:
        Curve(rates, rows, reference=rows).bounds(budget=400)
    assert 1e-5 < found.value.fallback < 0.1


class Late(Training):
    """A loss that only falls once so many steps are made."""

    def __init__(self, edge, late):
        super().__init__(edge)
        self.late, self.made, self.restored = late, 0, []

    def step(self, rate):
        self.made += 1
        return super().step(rate if self.made > self.late else 0.0)

    def rewind(self, *, data):
        super().rewind(data=data)
        self.restored.append(data)


@pytest.mark.parametrize(("repeats", "restored"), [(1, [False]), (2, [False, True, False])])
def test_slower_sweeps_begin_with_the_first_weights_again(repeats, restored):
    training = Late(0.1, late=18 * repeats)
    curve = walk(training, Recorder(Ramp(furthest=10), repeats=repeats, budget=5000, reference=True))
    assert curve.losses.shape == (repeats, 60)
    assert training.restored == restored


@pytest.mark.parametrize(("budget", "steps"), [(866, 18), (867, 60), (5000, 60)])
@pytest.mark.parametrize("effort", ["quick", "thorough"])
def test_a_slower_sweep_follows_one_that_shows_nothing_if_the_training_pays_for_it(budget, steps, effort):
    training = Late(0.1, late=18)
    recorder = Recorder(Ramp(furthest=10), effort=effort, budget=budget, reference=True)
    curve = walk(training, recorder)
    assert len(curve.rates) == steps
    assert curve.tuning_cost <= allowed(budget)
    if steps == 18:
        with pytest.raises(Inconclusive, match="does not fall"):
            curve.bounds(budget=budget)
    else:
        assert curve.earlier_steps == 30
        assert 0.1 / 100 < curve.bounds(budget=budget).max_lr < 1
    assert bool(len(curve.peaks)) == (effort == "thorough" and budget >= 1000)
