"""The fixtures of the tests that hold for every framework."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[2]


def missing(framework):
    """The packages that it needs and that are not installed."""
    return [name for name in framework.needs if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="session", params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request):
    """Each framework in turn; skipped where it is not installed."""
    if gone := missing(request.param):
        pytest.skip(f"{', '.join(gone)} not installed")
    return request.param


@pytest.fixture(scope="session")
def records(request, tmp_path_factory):
    """The records of all frameworks whose tests were collected, a folder for each.

    Frameworks with the same environment share two processes: most of the time goes into imports.
    """
    folder = tmp_path_factory.mktemp("records")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = [one for one in FRAMEWORKS if not missing(one) and any(one is param.get("framework") for param in params)]
    for environment in {repr(one.environment): one.environment for one in asked}.values():
        names = [one.name for one in asked if one.environment == environment]
        for process in ("first", "second"):
            command = [sys.executable, "-m", "tests.adapters.frameworks", str(folder), process, *names]
            done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def record(framework, records):
    """The folder with what the framework did: `rates.npy`, and trainings in `whole` and, in two processes, `halves`."""
    folder = records / framework.name
    failed = folder / "failed"
    assert not failed.exists(), failed.read_text()
    return folder
