from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cyclr._cli.find import find
from cyclr._range import Curve, Ramp
from cyclr.torch import range_test
from tests import forked
from tests.cli.conftest import GOOD, Shell, in_a_terminal

Write = Callable[[str, str], Path]
FAST = ("--low", "1e-4", "--high", "10", "--steps", "60", "--repeats", "2")


def test_it_is_the_librarys_range_test_and_what_it_says(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    found = cyclr("find", path, *FAST, "--seed", 3, "--json", "--out", "curve.json").json
    made: dict[str, object] = {}
    exec(GOOD, made)
    task: Any = made["task"]
    curve = range_test(lambda repeat: task(3 + repeat), ramp=Ramp(1e-4, 10, steps=60), repeats=2)
    assert np.allclose(found["curve"]["rates"], curve.rates, rtol=1e-12)
    losses = [[np.nan if value is None else value for value in row] for row in found["curve"]["losses"]]
    assert np.allclose(losses, curve.losses, rtol=1e-5, equal_nan=True)
    assert found["steps"] == curve.tuning_cost
    assert found["bounds"]["max_lr"] == pytest.approx(curve.bounds().max_lr, rel=1e-3)
    assert found["rules"]["minimum"] == pytest.approx(curve.suggest("minimum"), rel=1e-3)
    assert np.array_equal(Curve.load("curve.json").rates, found["curve"]["rates"])


def test_it_prints_the_curve_the_bounds_their_evidence_and_the_rules(cyclr: Shell, task_file: Write) -> None:
    called = cyclr("find", task_file("plane.py", GOOD), *FAST, "--png", "curve.png")
    assert called.code == 0
    assert all(
        word in called.out for word in ("base_lr", "max_lr", "90 % interval", "learning rate", "valley", "found in")
    )
    assert called.out.isascii()
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_thorough_test_tries_peaks_in_whole_cycles(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    quick, thorough = (cyclr("find", path, *FAST, "--json", *how).json for how in ((), ("--effort", "thorough")))
    assert thorough["steps"] >= quick["steps"] + 3 * 180
    assert any("probe cycles" in sentence for sentence in thorough["bounds"]["evidence"])


def test_an_inconclusive_curve_is_shown_kept_and_one_line(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    called = cyclr("find", path, "--low", 1e-9, "--high", 1e-8, "--steps", 30, "--out", "curve.json")
    assert called.code == 2
    assert "learning rate" in called.out
    assert called.err.count("\n") == 1
    assert called.err.startswith("cyclr: ")
    assert Curve.load("curve.json").rates[-1] == pytest.approx(1e-8)
    called = cyclr("find", path, "--low", 1e-9, "--high", 1e-8, "--steps", 30, "--json")
    assert called.code == 2
    assert called.json["bounds"] is None
    assert called.json["inconclusive"] in called.err


def test_the_papers_protocol_reads_a_held_out_metric_on_a_linear_ramp(cyclr: Shell) -> None:
    flags = (
        "--scale",
        "linear",
        "--low",
        0,
        "--high",
        0.5,
        "--steps",
        60,
        "--repeats",
        1,
        "--signal",
        "accuracy",
        "--json",
    )
    called = cyclr("find", "fashion", *flags)
    curve = called.json["curve"]
    assert curve["scale"] == "linear"
    assert sum(value is not None for value in curve["metrics"]["accuracy"][0]) >= 5
    assert np.allclose(np.diff(curve["rates"]), 0.5 / 59)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("mse_loss,", "nll_loss,"), "RuntimeError: "),
        (("batches, batches[:2]", "batches"), "has no val_loader; add one, or leave it out"),
        (("torch.randn(200, 8", "float('nan') * torch.randn(200, 8"), "the loss must be finite at the first step"),
    ],
)
def test_a_task_that_cannot_be_tested_is_one_line(
    cyclr: Shell, task_file: Write, change: tuple[str, str], complaint: str
) -> None:
    path = task_file("plane.py", GOOD.replace(*change))
    signal = ("--signal", "val_loss") if "val_loader" in complaint else ()
    assert complaint in cyclr("find", path, *FAST, *signal).complaint


def test_progress_is_a_bar_in_a_terminal() -> None:
    needs = (*forked.TORCH, "cyclr.tasks.fashion")
    out = in_a_terminal("find", "fashion", "--steps", "60", "--repeats", "1", columns=100, needs=needs)
    assert "range test on fashion" in out
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", out)
    assert re.search(r"\d+/60 steps rate \d\S*  loss \d\S* \d\d:\d\d left", plain)


@pytest.mark.parametrize(("budget", "sweeps"), [(None, 3), (2000, 1), (6000, 1), (12_000, 3)])
def test_three_sweeps_from_new_weights_are_made_where_the_budget_has_room(
    cyclr: Shell, task_file: Write, budget: int | None, sweeps: int
) -> None:
    how = () if budget is None else ("--budget", budget)
    found = cyclr("find", task_file("plane.py", GOOD), "--json", *how).json
    assert len(found["curve"]["losses"]) == sweeps
    told = [one for one in found["bounds"]["evidence"] if "began from new weights" in one]
    assert len(told) == (sweeps > 1)
    assert budget is None or found["steps"] <= 0.15 * budget


def test_no_further_sweep_is_begun_where_the_first_took_long(
    cyclr: Shell, task_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclr.tasks._run.CHEAP", 0.0)
    path = task_file("plane.py", GOOD)
    found = cyclr("find", path, "--json").json
    assert found["curve"]["losses"] == cyclr("find", path, "--json", "--repeats", 1).json["curve"]["losses"]
    assert len(cyclr("find", path, "--json", "--repeats", 2).json["curve"]["losses"]) == 2


def test_its_defaults_are_the_librarys() -> None:
    shell, library = (inspect.signature(function).parameters for function in (find, range_test))
    assert library["ramp"].default == Ramp(*(shell[name].default for name in ("low", "high", "steps")))
