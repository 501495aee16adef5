"""What is found out about a task before it is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from cyclr._failure import explain
from cyclr.study._records import Setup
from cyclr.tasks import _find as tasks
from cyclr.tasks import _run as work
from cyclr.tasks._inspect import inspect_task
from tests.cli.conftest import GOOD, SIDES, WITHOUT_TEST

Write = Callable[[str, str], Path]


def facts(text: str, *, tuned: bool = True) -> tuple[object, ...]:
    found = inspect_task(text, tuned)
    return found.steps_per_epoch, found.metrics, found.judge, found.tunable


def test_a_task_is_asked_what_it_holds_out(task_file: Write) -> None:
    task_file("sides.py", SIDES)
    assert facts("sides.py") == (10, ("accuracy", "loss"), "test", True)
    task_file("only_val.py", WITHOUT_TEST)
    assert facts("only_val.py")[2:4] == ("val", False)
    task_file("nothing.py", GOOD.replace(", batches[:2])", ")"))
    assert facts("nothing.py")[2:4] == ("", False)
    assert facts("fashion") == (120, ("accuracy", "loss"), "test", True)
    assert facts("fashion", tuned=False)[2:] == ("test", False)
    held = tasks.build("fashion", 0, tuning=True)
    assert held.test_loader is None


# Takes nothing from its seed by itself: weights, order and dropout come from the sources that all share.
SLOPPY = SIDES.replace("    torch.manual_seed(seed)\n", "").replace("torch.nn.ReLU()", "torch.nn.Dropout()").replace(
    "cut(0, 200)", "torch.utils.data.DataLoader(cut(0, 200), batch_size=None, shuffle=True)"
)  # fmt: skip


def test_what_a_task_leaves_to_chance_is_decided_by_the_seed(task_file: Write) -> None:
    task_file("sloppy.py", SLOPPY)
    found = inspect_task("sloppy.py", tuned=False)
    assert (found.paired, found.varies) == (True, True)
    setup = Setup(task="sloppy.py", policy="p", schedule="Constant(0.1)", seed=3, steps=20, eval_every=10)
    torch.manual_seed(7)
    first = work.make_run(setup).points
    np.random.random()  # whatever this process has done before
    assert work.make_run(setup).points == first
    assert work.make_run(msgspec.structs.replace(setup, seed=4)).points != first


def test_runs_that_are_no_pairs_are_known(task_file: Write) -> None:
    task_file("chance.py", SIDES.replace("manual_seed(seed)", "seed()"))
    found = inspect_task("chance.py", tuned=False)
    assert (found.paired, found.varies) == (False, True)


def test_a_metric_that_fails_is_found_before_any_work(task_file: Write) -> None:
    task_file("sides.py", SIDES.replace("argmax(1)", "argmax(9)"))
    with pytest.raises(IndexError) as caught:
        facts("sides.py")
    assert "sides.py, line " in explain(caught.value)
