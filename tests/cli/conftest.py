"""A shell for the tests: in this process where it can be, in one of its own where that matters."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclr._cli import _console, main
from tests import forked


@dataclass
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return msgspec.json.decode(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr of a command that refused its input."""
        assert (self.code, self.out) == (2, ""), (self.code, self.out, self.err)
        assert self.err.startswith("cyclr: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("cyclr: ").rstrip("\n")


Shell = Callable[..., Called]


def called_in(folder: Path, *arguments: object, columns: int) -> Called:
    """A command in this process, in that folder and at that width, for fixtures of a module.

    Its runs are made by the worker processes that all tests of studies share: each of them loads torch once.
    """
    consoles = (_console.stdout, _console.stderr)  # they keep the width that they began with
    with contextlib.ExitStack() as stack:
        for console in consoles:
            console.cache_clear()
            stack.callback(console.cache_clear)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(folder)
        patch.setenv("COLUMNS", str(columns))
        out, err = stack.enter_context(StringIO()), stack.enter_context(StringIO())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        return Called(main([str(argument) for argument in arguments]), out.getvalue(), err.getvalue())


@pytest.fixture
def cyclr(capsys: pytest.CaptureFixture[str]) -> Shell:
    def call(*arguments: object) -> Called:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Called(code, *capsys.readouterr())

    return call


@pytest.fixture
def task_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a task file of its own name, as the user's current folder would have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    names = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path.relative_to(tmp_path)

    yield write
    for name in set(sys.modules) - names:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


# A task that learns in a moment: a plane through noisy points.
GOOD = """
import torch
from cyclr.torch import Task

def task(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 8, generator=generator)
    y = x @ torch.arange(8.0) + 0.1 * torch.randn(200, generator=generator)
    batches = [(x[k:k+20], y[k:k+20, None]) for k in range(0, 200, 20)]
    torch.manual_seed(seed)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(model, optimizer, torch.nn.functional.mse_loss, batches, batches[:2])
"""

# Which side of a plane a point is on: learnt in a moment, with both kinds of held-out data.
SIDES = """
import os, time
from pathlib import Path
import torch
from cyclr.torch import Task

print("this must not get into the document")

def task(seed):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(500, 6, generator=generator)
    y = (x.sum(1) + 0.5 * torch.randn(500, generator=generator) > 0).long()
    cut = lambda a, b: [(x[k:k+20], y[k:k+20]) for k in range(a, b, 20)]
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    def loss(outputs, targets):
        while len(list(Path("cyclr-compare").glob("runs/*/run.json"))) >= int(os.environ.get("RECORDS", 99)):
            time.sleep(0.01)  # until this process is killed
        return torch.nn.functional.cross_entropy(outputs, targets)
    accuracy = lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Task(model, optimizer, loss, cut(0, 200), cut(200, 300), {"accuracy": accuracy}, cut(300, 500))
"""
WITHOUT_TEST = SIDES.replace(", cut(300, 500))", ")")


def in_a_terminal(*arguments: str, columns: int = 80, needs: Sequence[str] = (), **environment: str) -> str:
    """What `cyclr` prints on a terminal of its own; forked if it needs what takes long to import."""
    parent, child = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment}
    command = ["-m", "cyclr", *arguments]
    process: forked.Program | subprocess.Popen[bytes]
    if needs:
        process = forked.Program(*command, env=env, needs=needs, terminal=child)
    else:
        process = subprocess.Popen([sys.executable, *command], stdout=child, stderr=child, env=env)
    os.close(child)
    chunks = []
    try:
        while chunk := os.read(parent, 65536):
            chunks.append(chunk)
    except OSError:  # Linux says so when the child is gone
        pass
    os.close(parent)
    process.communicate()
    assert process.wait() == 0
    return b"".join(chunks).decode()
