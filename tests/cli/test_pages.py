"""The commands in README and docs, run as they stand there. (The Python blocks are run by Sybil.)"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TASK = """
import torch
import cyclr.torch


def task(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(700, 4, generator=generator)
    y = (x.sum(1) + torch.randn(700, generator=generator) > 0).long()
    data = torch.utils.data.TensorDataset(x, y)
    train, val, test = torch.utils.data.random_split(data, [500, 100, 100], generator)
    loader = torch.utils.data.DataLoader(train, batch_size=50, shuffle=True, generator=generator)
    held = [torch.utils.data.DataLoader(part, batch_size=100) for part in (val, test)]
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return cyclr.torch.Task(model, optimizer, torch.nn.functional.cross_entropy, loader, held[0], test_loader=held[1])
"""


def commands(page: Path) -> list[list[str]]:
    """What stands after `$ cyclr` in the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line[8:], comments=True) for line in lines if line.startswith("$ cyclr ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_as_they_stand_there(
    page: Path, task_file: Callable[..., Path], cyclr: Shell
) -> None:
    own = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page.read_text(), re.DOTALL))
    for name, text in ({"my_task.py": TASK} | own).items():
        task_file(name, text)
    for command in commands(page):
        called = cyclr(*command)
        assert called.code == 0, (command, called.err)


def test_there_are_commands_to_run() -> None:
    assert len(commands(ROOT / "README.md")) >= 3
