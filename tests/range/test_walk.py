"""The one loop of every range test, by a training that is a formula: what it asks for and what it records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Inconclusive, Ramp
from cyclr._range import Recorder
from cyclr._range.orders import Measure, Rewind, Steps
from cyclr._range.probe import LENGTH, MOST, TAIL
from cyclr._range.walk import walk


class Training:
    """A loss that falls with the sum of rates and explodes beyond `edge`; notes all that it is asked."""

    def __init__(self, edge=1.0, flat=False, bad=()):
        self.edge, self.flat, self.bad = edge, flat, bad
        self.asked, self.rates, self.walked, self.batch, self.reads = [], [], 0.0, 0, []
        self.noise = np.random.default_rng(0).normal(size=5000)

    def step(self, rate):
        self.rates.append(rate)
        before = self.walked
        self.walked += min(rate, 10 * self.edge)
        self.batch += 1
        self.asked.append("step")
        if len(self.rates) in self.bad:
            return float("nan")
        exploded = 1e3 * (rate / self.edge) if rate > self.edge else 0.0
        fall = 0.0 if self.flat else 1 / (1 + 3 * before / self.edge)
        return fall + exploded + 0.01 * self.noise[self.batch % 5000]

    def read(self, losses):
        self.reads.append(len(losses))
        return losses

    def measure(self):
        self.asked.append("measure")
        return {"accuracy": 1 - 1 / (1 + self.walked), "gap": self.walked}

    def rewind(self, *, data):
        self.asked.append(f"rewind {data}")
        self.walked = 0.0
        if data:
            self.batch = 0


@given(steps=st.integers(2, 80), repeats=st.integers(1, 3), block=st.integers(1, 12), every=st.integers(0, 9))
def test_each_sweep_makes_each_rate_once_and_reads_losses_in_blocks(steps, repeats, block, every):
    training = Training(edge=100)
    ramp = Ramp(1e-3, 1.0, steps=steps)
    curve = walk(training, Recorder(ramp, repeats=repeats, block=block, every=every, maximize=["accuracy"]))
    assert training.rates == pytest.approx(np.tile(ramp.rates, repeats))
    assert max(training.reads) <= block
    assert training.asked.count("rewind False") == repeats - 1
    assert curve.losses.shape == (repeats, steps)
    assert np.isfinite(curve.losses).all()
    assert curve.stops == ("end",) * repeats
    assert curve.tuning_cost == steps * repeats
    if every:
        measured = [step for step in range(1, steps + 1) if step == 1 or step % every == 0]
        assert (np.isfinite(curve.metrics["gap"]).nonzero()[1].reshape(repeats, -1) == np.array(measured) - 1).all()
        assert curve.maximize == {"accuracy"}
    else:
        assert not curve.metrics


def test_a_sweep_ends_where_the_loss_explodes_and_later_values_are_no_evidence():
    training = Training(edge=0.1)
    curve = walk(training, Recorder(Ramp(1e-4, 10, steps=100), every=5))
    ended = int(np.isfinite(curve.losses[0]).sum())
    assert curve.stops == ("diverged",)
    assert ended < 80
    assert np.isnan(curve.losses[0, ended:]).all()
    assert np.isnan(curve.metrics["gap"][0, ended:]).all()
    assert len(training.rates) - ended < 10  # unread losses of one block


@pytest.mark.parametrize("bad", [2, 10, 11, 37])
def test_two_losses_in_a_row_that_are_not_finite_end_the_sweep(bad):
    curve = walk(Training(edge=100, bad=(bad, bad + 1)), Recorder(Ramp(1e-3, 1.0, steps=50)))
    assert curve.stops == ("non-finite",)
    assert np.isfinite(curve.losses[0, : bad - 1]).all()
    assert np.isnan(curve.losses[0, bad - 1 :]).all()
    assert curve.tuning_cost == bad


@pytest.mark.parametrize("bad", [2, 10, 11, 37, 49])
def test_a_single_loss_that_is_not_finite_is_passed_over_and_told(bad):
    whole = walk(Training(edge=0.1), Recorder(Ramp(1e-4, 10, steps=100), every=5))
    holed = walk(Training(edge=0.1, bad=(bad,)), Recorder(Ramp(1e-4, 10, steps=100), every=5))
    assert holed.stops == whole.stops == ("diverged",)
    assert holed.passed_over == ((bad - 1,),)
    assert holed.tuning_cost == whole.tuning_cost
    np.testing.assert_array_equal(holed.metrics["gap"], whole.metrics["gap"])
    assert np.log(holed.bounds().max_lr / whole.bounds().max_lr) == pytest.approx(0, abs=0.15)
    told = f"is not finite at step {bad - 1} \\(rate .*check that batch"
    assert any(re.search(told, sentence) for sentence in holed.bounds().evidence)
    assert whole.passed_over == ((),)


def test_a_single_loss_at_the_end_of_a_ramp_that_is_not_finite_is_its_end():
    curve = walk(Training(edge=100, bad=(50,)), Recorder(Ramp(1e-3, 1.0, steps=50)))
    assert curve.stops == ("non-finite",)
    assert curve.passed_over == ((),)
    assert curve.tuning_cost == 50


@pytest.mark.parametrize("bad", [102, 110, 280, 279])
def test_a_bad_batch_does_not_end_a_probe_cycle(bad):
    ramp = Ramp(1e-4, 10, steps=100)
    whole = walk(Training(), Recorder(ramp, effort="thorough"))
    made = int(np.isfinite(whole.losses).sum())
    holed = walk(Training(bad=(made + bad,)), Recorder(ramp, effort="thorough"))
    assert np.isnan(holed.probes).sum() - np.isnan(whole.probes).sum() <= 1
    assert holed.bounds().max_lr == pytest.approx(whole.bounds().max_lr, rel=0.2)
    assert holed.tuning_cost == whole.tuning_cost


def test_a_first_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="must be finite at the first step, before any update, got nan"):
        walk(Training(bad=(1,)), Recorder(Ramp(steps=30)))


def test_a_thorough_test_probes_around_the_answer_from_one_start_with_the_same_batches():
    training, told = Training(), []
    recorder = Recorder(Ramp(1e-4, 10, steps=100), effort="thorough", progress=lambda *what: told.append(what))
    curve = walk(training, recorder)
    probes = len(curve.peaks)
    assert 3 <= probes <= MOST
    assert training.asked.count("rewind True") == probes
    assert len(set(curve.probes[:, 0])) == 1  # from the same start, with the same batch
    made = training.rates[len(training.rates) - LENGTH - TAIL :]
    assert max(made) in curve.peaks
    assert made[-TAIL:] == [0.0] * TAIL
    assert all(0 < done <= total for done, total, _, _ in told)
    assert told[0][:2] == (10, 100)


def test_an_inconclusive_sweep_is_made_again_slower_before_it_is_given_up():
    training = Training(edge=1e9, flat=True)
    curve = walk(training, Recorder(Ramp(1e-4, 1e-2, steps=30), effort="thorough", every=6))
    assert training.asked.count("rewind True") == 1
    assert (len(curve.rates), len(curve.peaks), curve.earlier_steps, curve.tuning_cost) == (90, 0, 30, 120)
    assert np.isfinite(curve.metrics["gap"]).sum() == 1 + 90 // 18
    with pytest.raises(Inconclusive):
        curve.bounds()


def test_whoever_owns_the_loop_answers_the_same_orders():
    ramp = Ramp(1e-3, 1.0, steps=25)
    pushed, pulled = Training(edge=100), Training(edge=100)
    recorder = Recorder(ramp, repeats=2, every=5, block=1)
    orders, answer, seen = recorder.orders(), None, []
    while True:
        try:
            order = orders.send(answer)
        except StopIteration as done:
            curve = done.value
            break
        seen.append(type(order))
        match order:
            case Steps(rates):
                answer = [pushed.step(rate) for rate in rates]
            case Measure():
                answer = pushed.measure()
            case Rewind(data):
                answer = pushed.rewind(data=data)
    expected = walk(pulled, Recorder(ramp, repeats=2, every=5))
    assert np.array_equal(curve.losses, expected.losses)
    assert np.array_equal(curve.metrics["gap"], expected.metrics["gap"], equal_nan=True)
    assert (seen.count(Steps), seen.count(Measure), seen.count(Rewind)) == (50, 12, 1)


def test_what_is_noted_belongs_to_the_last_step():
    recorder = Recorder(Ramp(1e-3, 1.0, steps=5), block=1)
    orders = recorder.orders()
    next(orders)
    orders.send([1.0])
    recorder.note({"accuracy": 0.5})
    orders.send([0.9])
    assert recorder.curve().metrics["accuracy"][0].tolist()[:2] == pytest.approx([0.5, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"ramp": "log"}, TypeError, "ramp must be a cyclr.Ramp"),
        ({"repeats": 0}, ValueError, "repeats must be"),
        ({"repeats": 1.0}, TypeError, "repeats must be"),
        ({"effort": "thorogh"}, ValueError, "did you mean 'thorough'"),
        ({"progress": 3}, TypeError, "progress must be callable"),
    ],
)
def test_bad_input_is_refused(how, error, words):
    with pytest.raises(error, match=words):
        Recorder(**{"ramp": Ramp(), **how})


def test_nothing_recorded_is_no_curve():
    with pytest.raises(ValueError, match="at least one complete sweep is needed"):
        Recorder(Ramp()).curve()
