"""What a type checker makes of a call: a number for a number, an array of the same library for an array."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = """
from typing import assert_type
import numpy as np
from numpy.typing import NDArray
import cyclr

class Array:  # what an array of any library has
    dtype: object
    shape: tuple[int, ...]

def calls(schedule: cyclr.Schedule, whole: NDArray[np.int64], short: NDArray[np.float32], array: Array) -> None:
    assert_type(schedule(3), float)
    assert_type(schedule(3.5), float)
    assert_type(schedule(np.int64(3)), float)
    assert_type(schedule(whole), NDArray[np.float64])
    assert_type(schedule(short), NDArray[np.float32])
    assert_type(schedule(array), Array)
"""


def errors(folder, code):
    """What pyrefly says about `code`."""
    (folder / "calls.py").write_text(code)
    (folder / "pyrefly.toml").write_text(f'preset = "strict"\nsearch-path = ["{ROOT / "src"}"]\n')
    command = [
        sys.executable,
        "-m",
        "pyrefly",
        "check",
        "--no-progress-bar",
        "--python-interpreter-path",
        sys.executable,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "Checking project" in done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "ERROR" in line]


def test_calls_are_typed(tmp_path):
    pytest.importorskip("pyrefly")
    assert errors(tmp_path, CALLS) == []


def test_a_wrong_call_is_found(tmp_path):
    pytest.importorskip("pyrefly")
    (found,) = errors(tmp_path, CALLS + '    schedule("3")\n')
    assert "No matching overload" in found
