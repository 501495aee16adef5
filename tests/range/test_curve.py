"""Curves: what they hold, refuse, write and read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve

finite = st.floats(-1e6, 1e6) | st.just(float("nan"))


@st.composite
def curves(draw):
    steps, repeats = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    rows = st.lists(st.lists(finite, min_size=steps, max_size=steps), min_size=repeats, max_size=repeats)
    start = draw(st.floats(1e-9, 1e-3))
    metrics = {name: draw(rows) for name in draw(st.sets(st.sampled_from(["accuracy", "val_loss"])))}
    return Curve(
        start * 2.0 ** np.arange(steps),
        draw(rows),
        metrics,
        scale=draw(st.sampled_from(["log", "linear"])),
        stops=tuple(draw(st.sampled_from(["end", "diverged", "non-finite"])) for _ in range(repeats)),
        maximize=frozenset(metrics) & {"accuracy"},
    )


def same(a, b):
    assert np.array_equal(a.rates, b.rates)
    assert np.array_equal(a.losses, b.losses, equal_nan=True)
    assert a.metrics.keys() == b.metrics.keys()
    assert all(np.array_equal(a.metrics[name], b.metrics[name], equal_nan=True) for name in a.metrics)
    assert (a.scale, a.stops, a.maximize) == (b.scale, b.stops, b.maximize)


@given(curve=curves())
def test_what_is_saved_is_loaded(tmp_path_factory, curve):
    path = tmp_path_factory.mktemp("curve") / "curve.json"
    curve.save(path)
    same(Curve.load(path), curve)
    assert [file.name for file in path.parent.iterdir()] == ["curve.json"]


def test_a_failed_save_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "curve.json"
    Curve([1, 2], [1, 2]).save(path)
    before = path.read_text()
    broken = Curve([1, 2], [3, 4])
    broken.rates[0] = np.nan  # JSON has no NaN
    with pytest.raises(ValueError, match="JSON"):
        broken.save(path)
    assert path.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rates", [3, 2, 1]),
        ("rates", "fast"),
        ("losses", [[1, 2]]),
        ("losses", None),
        ("metrics", [1]),
        ("metrics", {"accuracy": [[1]]}),
        ("scale", "exp"),
        ("stops", ["end", "end"]),
        ("stops", "end"),
        ("stops", [3]),
        ("maximize", ["speed"]),
        ("maximize", None),
    ],
)
def test_a_broken_file_is_named_with_its_field(tmp_path, field, value):
    path = tmp_path / "curve.json"
    Curve([1, 2, 3], [1, 2, 3]).save(path)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, field: value}))
    with pytest.raises(ValueError, match=field) as caught:
        Curve.load(path)
    assert str(path) in str(caught.value)
    del plain[field]
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=f"{field} is missing"):
        Curve.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}'])
def test_a_file_that_is_no_curve_is_refused(tmp_path, text):
    path = tmp_path / "curve.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"Curve\.save"):
        Curve.load(path)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (([1], [1]), ValueError, "at least two finite rates"),
        (([1, np.nan], [1, 2]), ValueError, "finite"),
        (([-1, 1], [1, 2]), ValueError, "rates"),
        (([0, 1], [1, 2]), ValueError, "log ramp"),
        (([2, 1], [1, 2]), ValueError, "increase"),
        ((["a", "b"], [1, 2]), TypeError, "numbers"),
        (([1, 2], [1, 2, 3]), ValueError, "losses"),
        (([1, 2], [[[1, 2]]]), ValueError, "losses"),
        (([1, 2], [1, 2], {"accuracy": [1]}), ValueError, "accuracy"),
        (([1, 2], [1, 2], {"accuracy": [[1, 2], [1, 2]]}), ValueError, "accuracy"),
        (([1, 2], [1, 2], {}, "exp"), ValueError, "scale"),
        (([1, 2], [1, 2], {}, "log", ("end", "end")), ValueError, "stops"),
        (([1, 2], [1, 2], {}, "log", ("done",)), ValueError, "stops"),
        (([1, 2], [1, 2], {}, "log", (), {"accuracy"}), ValueError, "maximize"),
    ],
)
def test_what_is_no_curve_is_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        Curve(*arguments)


def test_the_cost_counts_every_step_that_was_made():
    nan = float("nan")
    curve = Curve([1, 2, 3, 4], [[1, 2, 3, 4], [1, 2, nan, nan]], stops=("end", "non-finite"))
    assert curve.tuning_cost == 4 + 3


def test_an_unknown_signal_is_refused():
    curve = Curve([1, 2, 3], [1, 2, 3], {"accuracy": [1, 2, 3]})
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        curve.bounds("acuracy")
