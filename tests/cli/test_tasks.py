from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclr._failure import TaskError
from cyclr.tasks._find import build, load
from tests.cli.conftest import GOOD

Write = Callable[[str, str], Path]


def test_a_task_is_a_file_and_a_function_a_module_and_a_function_or_a_built_in_name(task_file: Write) -> None:
    task_file("mine.py", GOOD + "\nother = task\n")
    assert load("mine.py:task").__name__ == load("mine.py").__name__ == load("mine:other").__name__ == "task"
    assert build("mine.py", 3).steps_per_epoch == 10
    assert build("fashion", 0, tuning=True).steps_per_epoch == 100


def test_a_task_file_may_import_its_neighbours_and_be_named_like_a_module(task_file: Write) -> None:
    task_file("neighbour_of_task.py", "number = 7\n")
    task_file("json.py", "from neighbour_of_task import number\ndef task(seed): return number\n")
    assert load("json.py")(0) == 7
    assert sys.modules["json"].__name__ == "json"
    assert hasattr(sys.modules["json"], "dumps")


def test_a_file_is_read_once(task_file: Write) -> None:
    task_file("once.py", "print('read')\ndef task(seed): pass\n")
    assert load("once.py") is load("once.py:task")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def task(seed:\n", "bad.py, line 1: SyntaxError: '(' was never closed"),
        ("x = 1\ny = x / 0\n", "bad.py, line 2: ZeroDivisionError: division by zero"),
        ("import no_such_thing\n", "bad.py, line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import torch\ntorch.nn.Linear(1, -1)\n", "bad.py, line 2: "),
        ("raise SystemExit(3)\n", "the code exits while it is imported; put its main part under"),
        ("def tsak(seed): pass\n", "bad.py has no function 'task'; did you mean 'tsak'?"),
        ("task = 3\n", "bad.py has no function 'task'; write bad.py:FUNCTION"),
        ("def task(): pass\n", "TypeError: task() takes 0 positional arguments but 1 was given"),
        ("def task(seed):\n    return 3\n", "the function must return a cyclr.torch.Task, got int"),
        ("def task(seed):\n    raise KeyError('lr')\n", "bad.py, line 2: KeyError: 'lr'"),
        ("def task(seed):\n    raise ValueError('two\\nlines')\n", "bad.py, line 2: ValueError: two lines"),
        (GOOD.replace("batches, batches[:2]", "[]"), "train_loader must"),
        (GOOD.replace("torch.nn.Linear(8, 1)\n", "torch.nn.Linear\n"), "bad.py, line "),
    ],
)
def test_a_bad_task_file_is_one_line_that_says_where(task_file: Write, text: str, complaint: str) -> None:
    task_file("bad.py", text)
    with pytest.raises(TaskError) as caught:
        build("bad.py", 0)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_to_import_is_not_called_missing(task_file: Write) -> None:
    task_file("broken_task_module.py", "import gone_missing\n")
    with pytest.raises(TaskError, match=r"broken_task_module\.py, line 1: ModuleNotFoundError: No module named 'gone"):
        load("broken_task_module:task")
