"""The time of a step: that of the steps alone, whatever is done beside them."""

from __future__ import annotations

import pytest

from cyclr import Curve, Ramp
from cyclr._range import Recorder, recorder, walk
from cyclr._range.clock import Clock


class Slow:
    """Steps that take 4 ms once the losses are read, as on a device: until then they are only queued."""

    def __init__(self, evaluation=0.0):
        self.evaluation, self.queued, self.first = evaluation, 0.0, 0.1
        self.walked, self.now = 0.0, 0.0

    def step(self, rate):
        self.queued += 0.004 + self.first  # which compiles
        self.first = 0.0
        before, self.walked = self.walked, self.walked + rate
        return 1 / (1 + before)

    def reference(self):
        self.queued += self.evaluation
        return 1 / (1 + self.walked)

    def read(self, losses):
        self.now += self.queued
        self.queued = 0.0
        return losses

    def measure(self):
        self.now += 0.05
        return {"accuracy": self.walked}

    def rewind(self, *, data):
        self.now += 0.05


@pytest.fixture
def walked(monkeypatch):
    """A function that walks by the training's own clock, which other processes of the machine do not slow down."""

    def walked(training, record):
        for module in (walk, recorder):
            monkeypatch.setattr(module, "perf_counter", lambda: training.now)
        return walk.walk(training, record)

    return walked


def test_evaluations_that_seem_to_take_longer_than_a_step_and_an_evaluation_are_not_taken_off():
    clock = Clock()
    for seconds in (9.0, 0.4, 0.5, 0.6):
        clock.evaluated(0.06)
        clock.made(seconds, 10)
    assert clock.step_seconds == 0.05


@pytest.mark.parametrize("evaluation", [0.0, 0.012])
def test_it_is_that_of_a_step_without_evaluations_validation_and_compilation(walked, evaluation):
    how = {"budget": 200, "reference": True} if evaluation else {"every": 5, "maximize": ["accuracy"], "repeats": 2}
    curve = walked(Slow(evaluation), Recorder(Ramp(1e-4, 1e-2, steps=30), **how))
    assert bool(curve.reference.size) == bool(evaluation)
    assert curve.step_seconds == pytest.approx(0.004)


def test_it_is_unknown_within_the_first_block(walked):
    assert walked(Slow(), Recorder(Ramp(1e-4, 1e-2, steps=10))).step_seconds is None


class Together(Slow):
    def agreed(self, seconds):
        assert seconds == pytest.approx(0.004)
        return 0.5


def test_all_processes_have_the_same(walked):
    assert walked(Together(), Recorder(Ramp(1e-4, 1e-2, steps=20))).step_seconds == 0.5


def test_it_is_saved_and_unknown_of_earlier_curves(tmp_path):
    curve = Curve([1, 2, 3], [3, 2, 1], step_seconds=0.25)
    curve.save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").step_seconds == 0.25
    text = (tmp_path / "curve.json").read_text()
    (tmp_path / "curve.json").write_text(text.replace(', "step_seconds": 0.25', ""))
    assert Curve.load(tmp_path / "curve.json").step_seconds is None
    with pytest.raises(ValueError, match="step_seconds must be positive, got 0"):
        Curve([1, 2, 3], [3, 2, 1], step_seconds=0)
