"""Whole training programs of different kinds, as people write them, converted by changing at most five lines.

A line that ends in `# added` was put in; one that ends in `# was: ...` replaced what stands there. Without them the
program is the one that its author had.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def run(source: str, file: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": file.stem}
    exec(compile(source, str(file), "exec"), names)
    return names


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_a_program_is_converted_by_five_lines_at_most(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    converted = file.read_text()
    lines = converted.splitlines()
    assert 3 <= sum("  # added" in line or "  # was: " in line for line in lines) <= 5
    original = "\n".join(re.sub(r"\S.*  # was: ", "", line) for line in lines if not line.endswith("  # added"))
    assert "cyclr" not in original
    run(original, file)
    capfd.readouterr()
    made = run(converted, file)
    scheduler = made["scheduler"]
    assert scheduler.last_epoch == scheduler.plan.steps
    assert scheduler.get_last_lr() == [0.0] * sum(len(one.param_groups) for one in made["optimizers"])
    assert all(torch.isfinite(value).all() for model in made["models"] for value in model.parameters())
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert re.match(r"auto: max_lr \S+ by [\d,]+ steps of range test; planned [\d,]+ steps, Linear", said[0])
