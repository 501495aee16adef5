"""The fixtures of the tests that hold for every framework."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.frameworks import FRAMEWORKS


@pytest.fixture(scope="session", params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request):
    """Each framework in turn; skipped where it is not installed."""
    gone = [name for name in request.param.needs if importlib.util.find_spec(name) is None]
    if gone:
        pytest.skip(f"{', '.join(gone)} not installed")
    return request.param


@pytest.fixture(scope="session")
def record(framework, tmp_path_factory):
    """The folder with what the framework did: `rates.npy`, and trainings in `whole` and, in two processes, `halves`."""
    folder = tmp_path_factory.mktemp("record")
    for process in ("first", "second"):
        command = [sys.executable, "-m", "tests.adapters.frameworks", framework.name, str(folder), process]
        environment = os.environ | framework.environment
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder
