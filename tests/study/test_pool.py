"""What is done in a process beside the driver of a study."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclr import Bounds
from cyclr._failure import TaskError
from cyclr.study._compare import curve_in
from cyclr.study._pool import Apart
from tests.cli.conftest import SIDES

Write = Callable[[str, str], Path]


def test_long_trainings_are_prepared_thoroughly(task_file: Write, tmp_path: Path) -> None:
    task_file("sides.py", SIDES)
    curves = []
    with Apart(2) as apart:  # in the processes of the studies before; all tests below end theirs
        for steps in (999, 1_000):
            folder = tmp_path / str(steps)
            folder.mkdir()
            curves.append(curve_in(folder, "sides.py", steps, apart))
    quick, thorough = curves
    assert len(quick.peaks) == 0
    assert len(thorough.peaks) >= 3
    assert thorough.bounds().tuning_cost > quick.bounds().tuning_cost


def test_what_dies_apart_is_one_line() -> None:
    with Apart() as apart, pytest.raises(TaskError, match="the process that ran the task died"):
        apart.call("os:_exit", 3)


def test_what_goes_wrong_apart_is_one_line_and_the_process_goes_on() -> None:
    with Apart() as apart:
        with pytest.raises(TaskError, match="ZeroDivisionError: integer division"):
            apart.call("operator:floordiv", 1, 0)
        assert apart.call("operator:floordiv", 7, 2) == 3
        assert apart.call("cyclr:Bounds", 0.1, 0.2) == Bounds(0.1, 0.2)


def test_what_a_worker_reports_reaches_the_driver() -> None:
    told = []
    with Apart() as apart:
        apart.call("tests.study.learners:report_steps", 6, tell=lambda *numbers: told.append(numbers))
    steps = [step for step, *_ in told]
    assert steps == sorted(steps)
    assert len(steps) >= 2
    assert told[-1][:2] == (6, 6)
    assert math.isnan(told[-1][3])
