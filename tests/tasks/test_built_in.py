from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from cyclr.tasks import BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_name_leads_to_a_task_function(name: str) -> None:
    module, _, function = BUILT_IN[name].partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert next(iter(parameters)) == "seed"
    assert parameters["tuning"].default is False


def test_the_table_of_names_loads_no_framework() -> None:
    code = "import sys, cyclr.tasks; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
