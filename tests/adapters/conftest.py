"""The fixtures of the tests that hold for every framework."""

import importlib.util
import os

import pytest

from tests import forked
from tests.adapters.frameworks import FRAMEWORKS


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

    Each has two processes; only Keras, on each of its backends, needs them for itself.
    """
    folder = tmp_path_factory.mktemp("records")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = [one for one in FRAMEWORKS if not missing(one) and any(one is param.get("framework") for param in params)]
    for group in dict.fromkeys(one.group for one in asked):
        names = [one.name for one in asked if one.group == group]
        environment = os.environ | {"KERAS_BACKEND": group[1], "XLA_FLAGS": ""}  # XLA as users have it
        needs = [module for one in asked if one.group == group for module in one.imports]
        for process in ("first", "second"):
            command = ["-m", "tests.adapters.frameworks", folder, process, *names]
            forked.run(*command, needs=needs, env=environment, check=True)
    return folder


@pytest.fixture(scope="session")
def record(framework, records):
    """The folder with what the framework did: `rates.npy`, and trainings in `whole` and, in two processes, `halves`."""
    folder = records / framework.name
    failed = folder / "failed"
    assert not failed.exists(), failed.read_text()
    return folder


@pytest.fixture(scope="module")
def quickly_compiled():
    """XLA leaves out most optimizations: what is compiled here, training steps above all, runs for a moment.

    That schedules give the same numbers with all of them is what the records are for.
    """
    if os.environ["KERAS_BACKEND"] != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
