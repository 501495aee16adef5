"""The language knows every public schedule, and nothing has to be entered in a list for it."""

import inspect

import pytest

import cyclr
from cyclr import parse, policy
from cyclr._schedules import hooks, spec
from tests.schedules.strategies import EXAMPLES


def public(kind):
    return {name: value for name, value in inspect.getmembers(cyclr, kind) if not name.startswith("_")}


def is_schedule_class(value):
    return inspect.isclass(value) and issubclass(value, cyclr.Schedule) and value is not cyclr.Schedule


def is_recipe(value):
    """A function that makes a schedule of numbers: `parse` reads a text, `policy` asks for bounds."""
    if not inspect.isfunction(value) or value in (parse, policy):
        return False
    return inspect.signature(value).return_annotation in {"Schedule", *public(is_schedule_class)}


def concrete(cls):
    """The classes below `cls` that have instances."""
    below = set().union(*(concrete(sub) for sub in cls.__subclasses__()))
    return below if inspect.isabstract(cls) else below | {cls}


def test_every_public_schedule_is_in_the_language_and_the_other_way_round():
    ours = {name: maker for name, maker in spec.makers().items() if maker.__module__.startswith("cyclr.")}
    assert ours == public(is_schedule_class) | public(is_recipe)
    assert len(ours) > 20


def test_every_class_of_ours_is_public():
    ours = {cls for cls in concrete(cyclr.Schedule) if hooks.is_built_in(cls)}
    live = {cls for cls in ours if hooks.CLASSES[cls.__name__] is cls}  # @dataclass(slots=True) makes a class anew
    assert live == set(public(is_schedule_class).values())


def test_every_class_of_ours_has_an_example_that_is_read_back():
    def within(schedule):
        yield type(schedule)
        for part in getattr(schedule, "parts", [getattr(schedule, "schedule", None)]):
            if part is not None:
                yield from within(part)

    assert {cls for example in EXAMPLES for cls in within(example)} == set(public(is_schedule_class).values())
    for example in EXAMPLES:
        assert cyclr.parse(repr(example)) == example


@pytest.mark.parametrize("left_out", ["Triangular", "one_cycle"])
def test_one_that_is_left_out_is_found(monkeypatch, left_out):
    monkeypatch.delitem(hooks.CLASSES if left_out in hooks.CLASSES else spec._RECIPES, left_out)
    with pytest.raises(AssertionError):
        test_every_public_schedule_is_in_the_language_and_the_other_way_round()
