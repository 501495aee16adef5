"""What holds for every test and every example: README, docs and docstrings are run by Sybil."""

from __future__ import annotations

import compileall
import doctest
import gc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser as MystCodeBlockParser
from sybil.parsers.myst import SkipParser as MystSkipParser
from sybil.parsers.rest import DocTestParser, SkipParser

from tests import forked

os.environ["MPLBACKEND"] = "Agg"  # no test opens a window
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers of two threads each only get in each other's way
# Keras asks for TensorFlow where nothing is said.
os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

# XLA compiles each program once for all tests and processes: networks made anew are the same programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# XLA's older way to write out loops is compiled in half the time; the records of tests/adapters do without it.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

# No deadline: a busy machine is not a failure. The same examples in every run; `make fuzz` asks for random ones.
settings.register_profile(
    "fixed", deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", settings.get_profile("fixed"), derandomize=False, max_examples=1000, print_blob=True)
settings.load_profile("fixed")

FRAMEWORKS = {
    "torch": ("torch",),
    "jax": ("jax", "optax"),
    "keras": ("keras",),
    "plot": ("matplotlib",),
    "report": ("jinja2", "plotly"),
    "lightning": ("torch", "lightning"),
    "transformers": ("torch", "transformers"),
    "tasks": ("torch",),
    "cluster": ("ray",),
}
"""What a room needs. Where it is not installed, the room's tests and examples are left out and the summary says so."""


def missing(room: str) -> list[str]:
    """The packages that `room` needs and that are not installed."""
    return [name for name in (FRAMEWORKS | EXAMPLES).get(room, ()) if importlib.util.find_spec(name) is None]


EXAMPLES = {name: ("torch", name) for name in ("accelerate", "ignite", "skorch", "timm", "fastai")}
"""Frameworks that have no room, but a page of examples: docs/frameworks/NAME.md, left out likewise."""

LEFT_OUT = {room: gone for room in FRAMEWORKS | EXAMPLES if (gone := missing(room))}


#: Test files that import every adapter by its name.
IMPORT_ALL = ("test_house.py", "test_renamed.py")


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[Any]:
    """One server of forked programs for this session and xdist's workers.

    And byte code of all sources, also where PYTHONDONTWRITEBYTECODE says that none is kept: a hundred processes would
    each compile what they import.
    """
    if forked.ADDRESS in os.environ:
        return (yield)
    compileall.compile_dir(Path(__file__).parent / "src", quiet=2)
    with forked.serving():
        return (yield)


@cache
def runs_jax(path: Path) -> bool:
    """Whether the tests or examples in there bring JAX in."""
    brings_jax = r"""\b((import|from) (cyclr\.)?(jax|optax|keras)|importorskip\("(jax|keras)")"""
    return path.name in IMPORT_ALL or re.search(brings_jax, path.read_text()) is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs JAX goes last: its threads forbid the forks that data loaders make, and it warns of each."""
    if jax_runs():
        pytest.exit("a test file starts JAX while it is imported: make its arrays inside the tests", returncode=1)
    items.sort(key=lambda item: runs_jax(item.path))  # stable: all else stays as it was


def jax_runs() -> bool:
    """Whether JAX has started its threads in this process."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge._at_fork_handler_installed


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """No search for unreachable objects while frameworks are imported, nor later among what is there by then.

    Byte code is kept, as that of the sources: to rewrite the assertions of all tests takes seconds.
    """
    gc.disable()
    keep_none, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = keep_none
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that starts JAX before its time is named at once, and not those after it that fork."""
    started = jax_runs()
    result = yield
    if jax_runs() and not started and not runs_jax(item.path):
        pytest.exit(f"{item.nodeid} started JAX; conftest.py's runs_jax must know its file", returncode=1)
    return result


STUDIES = (
    "tests/cli/test_compare_refused.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_pages.py",
    "tests/study/test_pool.py",
)
SHARED = {"tests/adapters/test_resume.py": "tests/adapters/test_agreement.py"} | dict.fromkeys(
    STUDIES, "tests/cli/test_compare.py"
)
"""Files that use the same session fixture, or the same processes of joblib, each of which must first load torch: one
worker runs them all, in turn, so that there is one set-up."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file goes to the next free worker, in the order above, so that its fixtures are set up once."""
    from xdist.scheduler import LoadScopeScheduling

    class FileByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return SHARED.get(file, file)

    config.option.loadscopereorder = False  # by default xdist starts with the files that have the most tests
    return FileByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which rooms are left out, and why; at the end, where it is read also with `-q`."""
    for room, gone in LEFT_OUT.items():
        what = f"cyclr.{room}" if room in FRAMEWORKS else f"docs/frameworks/{room}.md"
        terminalreporter.write_line(f"LEFT OUT {what}: {', '.join(gone)} not installed")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what belongs to a room that cannot be imported: src/cyclr/ROOM, tests/…/test_ROOM.py, its page."""
    root = Path(__file__).parent
    for folder in (root / "src/cyclr", root / "tests", root / "docs/frameworks"):
        if collection_path.is_relative_to(folder):
            parts = collection_path.relative_to(folder).parts
            if LEFT_OUT.keys() & {part.split(".")[0].removeprefix("test_") for part in parts}:
                return True
    return None


@pytest.fixture(autouse=True, scope="session")
def _brisk_torch() -> None:
    """Torch on one thread, what small networks are fastest on; no fight between the workers, and no long waits.

    An iterator of a loader that raised is held by its error, and left to the collector. Torch then waits five seconds
    for each process of the loader, in the middle of any later test.
    """
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
        torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5


def in_scratch_folder(namespace: dict[str, object]) -> None:
    """Examples that write files write them into a folder of their own."""
    scratch = tempfile.TemporaryDirectory()
    namespace["_scratch"], namespace["_home"] = scratch, Path.cwd()
    os.chdir(scratch.name)


def back_home(namespace: dict[str, object]) -> None:
    """Undo `in_scratch_folder`."""
    os.chdir(namespace["_home"])
    namespace["_scratch"].cleanup()


FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
docstrings = Sybil(parsers=[DocTestParser(FLAGS), SkipParser()], path="src", patterns=["*.py"])
pages = Sybil(
    parsers=[DocTestParser(FLAGS), MystCodeBlockParser(), MystSkipParser()],
    patterns=["*.md"],
    setup=in_scratch_folder,
    teardown=back_home,
)
pytest_collect_file = (docstrings + pages).pytest()
