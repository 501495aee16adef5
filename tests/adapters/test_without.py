"""Each framework is optional: what is said where one is not installed. To the import system a refused name is that."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFUSE = """
import importlib.util, sys
names = {names!r}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
plain = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in names else plain(name, *rest)
"""


def python(names, code):
    """Run code in an interpreter in which these packages are not installed."""
    command = [sys.executable, "-W", "error", "-c", REFUSE.format(names=names) + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


ABSENT = {
    "jax": ["jax", "jaxlib", "optax"],
    "keras": ["keras"],
    "lightning": ["lightning"],
    "transformers": ["transformers"],
}


@pytest.mark.parametrize(("room", "names"), ABSENT.items(), ids=ABSENT)
def test_importing_the_room_of_an_absent_framework_says_what_to_install(room, names):
    done = python(names, f"import cyclr.{room}")
    assert done.returncode == 1
    assert f"ImportError: cyclr.{room} needs" in done.stderr.splitlines()[-1]
    assert f"pip install 'cyclr[{room}]'" in done.stderr.splitlines()[-1]


def test_keras_without_its_backend_says_which_variable_to_set():
    pytest.importorskip("keras", reason="Keras is not installed")
    code = "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; import cyclr.keras"
    done = python(["tensorflow"], code)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ImportError: cyclr.keras needs Keras, which is set to a backend that is not installed (tensorflow" in last
    assert "KERAS_BACKEND" in last


def test_importing_cyclr_and_calling_schedules_needs_no_framework():
    code = "import cyclr, numpy; print(cyclr.Triangular(0.1, 0.5, step_size=4)(numpy.arange(5)).tolist())"
    done = python(["torch", "jax", "keras", "lightning", "transformers", "matplotlib"], code)
    assert done.stdout.strip() == "[0.1, 0.2, 0.3, 0.4, 0.5]", done.stderr


def test_the_tests_of_an_absent_framework_are_skipped_and_say_why():
    names = ["jax", "jaxlib", "optax", "keras"]
    files = ["test_jax.py", "test_keras.py", "test_agreement.py"]
    paths = [str(ROOT / "tests/adapters" / file) for file in files]
    options = ["-q", "-rs", "-p", "no:cacheprovider", "-k", "jax or keras or numpy", *paths]
    code = f"import pytest; sys.exit(pytest.main({options!r}))"
    done = python(names, code)
    assert done.returncode == 0, done.stdout + done.stderr
    for room in ("jax", "keras"):
        assert f"LEFT OUT cyclr.{room}:" in done.stdout
    assert "jax, optax not installed" in done.stdout
    assert "failed" not in done.stdout
