"""A verb is one file, and the page on extending says so."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cyclr._cli import verbs
from tests import forked

ROOT = Path(__file__).parents[2]


def page_block(name: str) -> str:
    """The block of docs/extending.md that begins with the name of its file."""
    return re.search(rf"```python\n# {re.escape(name)}\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)[
        1
    ]


def test_the_verb_of_the_page_is_one_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src/cyclr", tmp_path / "cyclr", ignore=shutil.ignore_patterns("__pycache__", "data"))
    (tmp_path / "cyclr/_cli/rate.py").write_text(page_block("src/cyclr/_cli/rate.py"))

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "cyclr", *arguments]
        environment = {"PYTHONPATH": str(tmp_path), "PATH": "", "COLUMNS": "100"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert call("rate", "Linear(0.1, 0, steps=100)", "50") == "0.05\n"
    assert "Print the rate of a schedule at one step." in call("--help")
    assert 'cyclr rate "Linear(0.1, 0, steps=100)" 50' in call("rate", "--help")


def test_every_verb_has_examples_of_itself_and_a_place_of_its_own() -> None:
    found = verbs()
    assert list(found) == ["show", "find", "plan", "design", "train", "report", "compare", "demo"]
    for name, verb in found.items():
        assert verb.examples
        assert all(example.startswith(f"cyclr {name}") for example in verb.examples)
    assert len({verb.place for verb in found.values()}) == len(found)


def test_what_is_read_of_a_verb_is_what_its_module_says() -> None:
    for name, verb in verbs().items():
        module = importlib.import_module(f"cyclr._cli.{name}")
        told = inspect.getdoc(getattr(module, name)).partition("\n\nArgs:")[0]
        assert verb == (module.PLACE, module.EXAMPLES, told)


def test_the_adapter_of_the_page_is_short_and_needs_public_names_only() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (adapter,) = [block for block in blocks if "walk(" in block]
    assert "class Training" in adapter
    assert len(adapter.splitlines()) <= 60
    assert "from cyclr.adapter import" in adapter
    assert not re.search(r"cyclr\S*\._", adapter)


@pytest.mark.parametrize("name", ["knee.py", "my_task.py"])
def test_the_other_files_of_the_page_stand_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(page_block(name))
    code = f"import warnings; warnings.simplefilter('error'); import {name[:-3]}"
    assert forked.run("-c", code, cwd=tmp_path, needs=forked.TORCH).returncode == 0
