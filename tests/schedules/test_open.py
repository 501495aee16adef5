"""A user's own schedule works wherever a built-in one does, and what is wrong with it is said at once."""

import copy
import dataclasses
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import cyclr
from tests.schedules.knee import Knee
from tests.schedules.strategies import steps

KNEE = Knee(0.4, 60, 100)
TEXT = "tests.schedules.knee.Knee(0.4, 60, 100)"
WAVE = cyclr.Triangular(0.1, 0.5, step_size=4)
COMBINED = (
    KNEE,
    0.5 * KNEE,
    KNEE.take(80),
    KNEE.repeat(3),
    KNEE >> WAVE,
    cyclr.Linear(0, 0.4, steps=10) >> KNEE >> KNEE,
    cyclr.Opposed(KNEE, 0.8, 0.9),
    (0.5 * (WAVE.take(16) >> KNEE)).repeat(2),
)


def by_hand(step):
    return 0.4 if step < 60 else 0.4 * max(0.0, (100 - step) / 40)


def test_a_schedule_of_a_user_is_called_like_any_other():
    assert [KNEE(step) for step in range(200)] == [by_hand(step) for step in range(200)]
    assert KNEE(np.arange(200)).tolist() == [by_hand(step) for step in range(200)]
    assert KNEE.cycle_ends() == (100,)
    with pytest.raises(ValueError, match="step must be a finite number of at least 0, got -1"):
        KNEE(-1)


def test_its_text_names_the_module_and_is_read_back():
    assert repr(KNEE) == TEXT
    assert cyclr.parse(TEXT) == KNEE
    assert cyclr.parse(f"{TEXT}.take(20) >> 2 * {TEXT}") == KNEE.take(20) >> 2 * KNEE
    assert repr(Knee(np.float64(0.4), np.int64(60), 100)) == TEXT


@pytest.mark.parametrize("schedule", COMBINED, ids=repr)
def test_it_combines_and_is_copied_like_any_other(schedule):
    schedule(3)  # what was compiled is not copied
    assert cyclr.parse(repr(schedule)) == schedule
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), dataclasses.replace(schedule)):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert twin(70) == schedule(70)
    several = np.arange(400)
    assert schedule(several) == pytest.approx([schedule(step) for step in several], rel=1e-12)


@given(steps)
def test_a_sequence_with_it_has_the_values_of_its_parts(step):
    assert (KNEE >> WAVE)(step) == (by_hand(step) if step < 100 else WAVE(step - 100))
    assert (0.5 * KNEE)(step) == 0.5 * KNEE(step)


@pytest.mark.parametrize("schedule", COMBINED, ids=repr)
def test_it_works_under_jit_and_vmap(schedule):
    jax = pytest.importorskip("jax")
    several = np.arange(300)
    for transformed in (jax.jit(schedule), jax.vmap(schedule), jax.jit(jax.vmap(schedule))):
        assert np.asarray(transformed(several)) == pytest.approx(schedule(several), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("schedule", COMBINED, ids=repr)
def test_torch_compiles_it_in_one_graph(schedule):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    compiled = torch.compile(lambda step: schedule(step), fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.arange(300)), schedule(torch.arange(300)))


def test_a_scheduler_saves_and_loads_its_text(tmp_path):
    torch = pytest.importorskip("torch")
    import cyclr.torch

    def made():
        optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
        return optimizer, cyclr.torch.Scheduler(optimizer, 0.5 * KNEE)

    optimizer, scheduler = made()
    for _ in range(70):
        optimizer.step()
        scheduler.step()
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["schedule"] == f"0.5 * {TEXT}"
    optimizer, scheduler = made()
    scheduler.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5 * by_hand(70)


def test_keras_saves_and_loads_it():
    keras = pytest.importorskip("keras")
    from cyclr.keras import LearningRate

    rate = LearningRate(KNEE)
    saved = keras.optimizers.schedules.serialize(rate)
    loaded = keras.optimizers.schedules.deserialize(saved)
    assert loaded.schedule == KNEE
    assert float(loaded(70)) == pytest.approx(by_hand(70))


def test_another_process_reads_the_text_once_it_has_imported_the_module():
    code = f"import cyclr; print(cyclr.parse({TEXT!r})(70))"
    root = Path(__file__).parents[2]

    def run(code):
        return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)

    alone = run(code)
    assert "ValueError: a spec must call a known schedule, got 'tests.schedules.knee.Knee'" in alone.stderr
    assert "import tests.schedules.knee first" in alone.stderr
    assert float(run("import tests.schedules.knee;" + code).stdout) == by_hand(70)


@dataclass(frozen=True)
class Constant(Knee):
    """Named like one of ours."""


def test_a_name_of_ours_stays_ours():
    mine = Constant(0.4, 60, 100)
    assert cyclr.parse("Constant(0.1)") == cyclr.Constant(0.1)
    assert cyclr.parse(repr(mine)) == mine != KNEE


# ---------------------------------------------------------------- what is wrong with a class


def made(qualname="Mine", /, frozen=True, **members):
    """A class as the body of a module would make it."""
    complete = {
        "__annotations__": {"rate": float},
        "duration": property(lambda self: math.inf),
        "lowest": property(lambda self: 0.0),
        "highest": property(lambda self: self.rate),
        "value": lambda self, step, xp: self.rate + 0.0 * step,
        "ends": lambda self, until: (),
    }
    body = {key: member for key, member in (complete | members).items() if member is not None}
    new = type(cyclr.Schedule)("Mine", (cyclr.Schedule,), body | {"__module__": __name__, "__qualname__": qualname})
    return new if frozen is None else dataclass(frozen=frozen)(new)


def test_the_class_of_the_next_tests_is_right_where_nothing_is_changed():
    assert made()(0.1)(7) == 0.1
    assert made()(0.1)(np.arange(3)).tolist() == [0.1] * 3


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"value": lambda self, step: 0.1}, r"value must be def value\(self, step, xp\), got def value\(self, step\)"),
        ({"ends": lambda self: ()}, r"ends must be def ends\(self, until\), got def ends\(self\)"),
        ({"value": 0.1}, r"value must be a method, got 0.1; write def value\(self, step, xp\)"),
        ({"value": None, "__annotations__": {"value": float}}, "value must be a method"),
        ({"duration": lambda self: 3}, "duration must be a property, .* write @property above it"),
    ],
)
def test_a_hook_of_the_wrong_kind_is_an_error_when_the_class_is_made(members, message):
    with pytest.raises(TypeError, match=message):
        made(**members)


def test_a_class_whose_name_no_text_can_hold_is_refused():
    with pytest.raises(TypeError, match=r"must have a name that can be used in texts, got .*<locals>.*; move it"):

        class Inner(cyclr.Schedule):
            pass


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"value": None}, r"Mine must define value, got duration, lowest, highest, ends; define"),
        ({"value": None, "values": lambda self, step, xp: 0.1}, "must define value, got .*; rename values to value"),
        ({"ends": None, "end": lambda self, until: ()}, "must define ends, got .*; rename end to ends"),
        ({"lowest": None, "highest": None}, "must define highest, lowest, got"),
        ({"frozen": False}, r"must be a frozen dataclass, got a mutable dataclass; write @dataclass\(froz"),
        ({"frozen": None}, "must be a frozen dataclass, got a plain class"),
    ],
)
def test_what_is_missing_is_an_error_when_the_first_schedule_is_made(members, message):
    cls = made(**members)
    with pytest.raises(TypeError, match=message):
        cls(0.1)


@pytest.mark.parametrize("value", [None, "0.1", 1j])
def test_a_formula_that_gives_no_number_is_an_error_when_it_is_called(value):
    schedule = made(value=lambda self, step, xp: value)(0.1)
    with pytest.raises(
        TypeError, match=r"the value of .*Mine must be a number, got .*; return one from value\(step, xp"
    ):
        schedule(3)


def test_a_formula_that_forgets_the_shape_of_the_step_is_an_error():
    schedule = made(value=lambda self, step, xp: self.rate)(0.1)
    assert schedule(3) == 0.1
    for wrong in (schedule, 0.5 * schedule):
        with pytest.raises(TypeError, match=r"must have the shape of the step, \(3,\), got .*; add 0.0 \* step"):
            wrong(np.arange(3))


def test_a_class_that_is_made_again_replaces_the_one_before():
    first = made()
    second = made()
    assert type(cyclr.parse(repr(first(0.1)))) is second
