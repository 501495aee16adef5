"""Text to schedule: what is read, and what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cyclr
from cyclr import Constant, Linear, Triangular, Triangular2


def test_names_may_be_bound_to_numbers():
    text = "Linear(0, 1e-2, steps=epoch) >> Triangular2(1e-3, 1e-2, step_size=2*epoch)"
    assert cyclr.parse(text, epoch=390) == Linear(0, 1e-2, steps=390) >> Triangular2(1e-3, 1e-2, step_size=780)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0.5 * (Linear(0, 1, steps=3) >> Constant(1))", 0.5 * (Linear(0, 1, steps=3) >> Constant(1))),
        ("Constant(1) * 0.5", 0.5 * Constant(1)),
        ("2 * 3 * Constant(1)", 6 * Constant(1)),
        ("(0.5 * Constant(1)).take(3)", (0.5 * Constant(1)).take(3)),
        ("Linear(1/2, 7 - 3, steps=9 // 2).repeat()", Linear(0.5, 4, steps=4).repeat()),
        ("  one_cycle(0.1, steps=100)\n", cyclr.one_cycle(0.1, steps=100)),
        ("step_decay(0.1, milestones=(6, 8))", cyclr.step_decay(0.1, milestones=(6, 8))),
        ("Opposed(Triangular(1, 2, step_size=3), 0.8, 0.9)", cyclr.Opposed(Triangular(1, 2, step_size=3), 0.8, 0.9)),
        ("Triangular(1, 2, step_size=3, step_size_down=None)", Triangular(1, 2, step_size=3)),
    ],
)
def test_a_spec_is_the_expression_that_makes_the_schedule(text, schedule):
    assert cyclr.parse(text) == schedule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a Python expression"),
        ("Constant(1", "must be a Python expression"),
        ("Constant(1); Constant(2)", "must be a Python expression"),
        ("0.1", r"must describe a schedule, got '0.1'; .* Constant\(rate\)"),
        ("Triangluar(1, 2)", "got 'Triangluar'; did you mean 'Triangular'"),
        ("Triangular", r"write Triangular\(...\)"),
        ("Triangular(1)", r"cannot make Triangular\(1\): .*max_lr"),
        ("Triangular(1, 2, step_size=0)", "step_size must be a positive integer, got 0"),
        ("Triangular(1, 2, step_sise=5)", "step_sise"),
        ("Constant(1).tkae(3)", "got 'tkae'; did you mean 'take'"),
        ("Constant(epochs)", "bound: epoch.*got 'epochs'; did you mean 'epoch'"),
        ("Constant(2**9)", r"may use \+ - "),
        ("Constant(1) + Constant(2)", "arithmetic in a spec must be between numbers"),
        ("Constant(-True)", "arithmetic in a spec must be between numbers"),
        ("Constant(1/0)", "division by zero"),
        ("Constant(**{'value': 1})", r"must not use \*\*"),
        ("Constant(*[1])", "a spec may contain"),
        ("0.1 >> Constant(1)", "both sides of >> must be schedules, got '0.1'"),
        ("Constant(1) >> Constant(2)", "only the last part of a sequence may be endless"),
        ("(1).take(3)", r".take\(\) must be called on a schedule"),
        ("Constant(1) if 1 else Constant(2)", "a spec may contain"),
        ("Constant(1)[0]", "a spec may contain"),
        ("Constant(1).__class__", "a spec may contain"),
        ("Constant.__init__(1)", "a spec must call a known schedule"),
        ("__import__('os').system('true')", "a spec must call a known schedule"),
        ("(lambda: 1)()", "a spec must call a known schedule"),
        ("Constant(1)\x00", "must be a Python expression|null byte"),
        ("Constant(" * 3000 + "1" + ")" * 3000, "at most|nested"),
        ("(" * 900 + "Constant(1)" + ")" * 900, "nested|must be a Python expression"),
        (" >> ".join(["Constant(1).take(2)"] * 600), "at most"),
    ],
)
def test_anything_else_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        cyclr.parse(text, epoch=390)
    assert "\n" not in str(caught.value)


def test_only_strings_and_numbers_are_taken():
    with pytest.raises(TypeError, match="a spec must be a string, got 3"):
        cyclr.parse(3)
    with pytest.raises(TypeError, match="epoch must be a number"):
        cyclr.parse("Constant(epoch)", epoch="390")


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(cyclr.parse(text), cyclr.Schedule)
