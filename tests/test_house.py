"""The rules of the house: what `import cyclr` loads, which way imports go, what is documented, what is packed."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src/cyclr"
LONGEST_FILE, LONGEST_FUNCTION = 400, 50  # lines; of a function without its docstring
HEAVY = {
    "torch", "jax", "keras", "tensorflow", "lightning", "transformers", "scipy", "matplotlib", "plotly", "jinja2",
    "joblib", "ray",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


def test_import_cyclr_loads_no_framework_no_scipy_and_no_plotting() -> None:
    assert loaded_by("import cyclr") == set()


@pytest.mark.parametrize("heavy", ["scipy", "matplotlib", "torch", "plotly", "jinja2", "ray"])
def test_the_import_test_can_fail(heavy: str) -> None:
    pytest.importorskip(heavy)
    assert heavy in loaded_by(f"import cyclr, {heavy}")


# ---------------------------------------------------------------- floors


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says about the package in `folder`/src, by the contracts of `folder`/pyproject.toml."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}  # before the installed package
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_imports_go_down_only() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_the_architecture_page_has_a_line_for_each_module() -> None:
    listed = re.findall(r"^\| `([\w/]+\.py)` \| \S", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(
        path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if path != SRC / "__init__.py"
    )


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("_schedules/base.py", "import cyclr._range", "cyclr._schedules is not allowed to import cyclr._range"),
        ("_range/curve.py", "import torch", "cyclr._range is not allowed to import torch"),
        ("torch/task.py", "import cyclr.plot", "cyclr.torch is not allowed to import cyclr.plot"),
        ("_check.py", "import cyclr._schedules", "cyclr._check is not allowed to import cyclr._schedules"),
        ("novelty.py", "", "novelty"),
    ],
)
def test_an_import_that_goes_up_or_aside_is_found(tmp_path: Path, file: str, line: str, complaint: str) -> None:
    shutil.copytree(SRC, tmp_path / "src/cyclr", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src/cyclr/plot.py").touch()
    with (tmp_path / "src/cyclr" / file).open("a") as source:
        source.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert complaint in " ".join(done.stdout.split())


def imports(code: str, module: str, modules: set[str]) -> set[str]:
    """Those of `modules` that `code`, which is `module`, imports at any place but for type checkers."""
    found, left = set(), [ast.parse(code)]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {known(alias.name, modules) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*start, *filter(None, [node.module])])
            found |= {known(f"{origin}.{alias.name}", modules) or known(origin, modules) for alias in node.names}
    return found - {module, None}


def known(name: str, modules: set[str]) -> str | None:
    """The module of this name, which may be a package; None for one from elsewhere."""
    return next((module for module in (name, f"{name}.__init__") if module in modules), None)


def circles(sources: dict[str, str]) -> list[list[str]]:
    """Groups of modules that import one another; `sources` holds the code of each."""
    graph = {name: imports(code, name, set(sources)) for name, code in sources.items()}
    reach = {}
    for name in graph:
        seen, left = set(), [name]
        while left:
            new = graph[left.pop()] - seen
            seen |= new
            left += new
        reach[name] = seen
    groups = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def modules_in(folder: Path) -> dict[str, str]:
    """Every module below a folder, by its name there, with its code; a package's own ends in `__init__`."""
    return {".".join(path.relative_to(folder).with_suffix("").parts): path.read_text() for path in folder.rglob("*.py")}


@pytest.mark.parametrize("folder", [SRC.parent, *sorted({path.parent for path in (ROOT / "bench").rglob("*.py")})])
def test_no_modules_import_one_another(folder: Path) -> None:
    assert circles(modules_in(folder)) == []


def test_a_circle_is_found_wherever_its_imports_are() -> None:
    later = "def f():\n    from p import c"
    checker = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.a"
    sources = {"p.__init__": "from .a import x", "p.a": "from p import b", "p.b": later, "p.c": "import p.a"}
    assert circles(sources | {"p.d": checker}) == [["p.a", "p.b", "p.c"]]
    assert circles(sources | {"p.d": checker, "p.c": "import p.d"}) == []
    assert circles(sources | {"p.c": "from p import x"}) == [["p.__init__", "p.a", "p.b", "p.c"]]


# ---------------------------------------------------------------- names, docstrings, files


def public_modules() -> list[str]:
    """Every module without an underscore anywhere in its path."""
    paths = (path.relative_to(SRC.parent).with_suffix("") for path in SRC.rglob("*.py"))
    parts = (path.parts[:-1] if path.name == "__init__" else path.parts for path in paths)
    return sorted(".".join(names) for names in parts if not any(name.startswith("_") for name in names))


def undocumented(module: ModuleType) -> list[str]:
    """The public names of `module`, and the public methods of its classes, that have no docstring of their own."""
    found = [] if module.__doc__ else [module.__name__]
    for name, value in vars(module).items():
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if value.__module__.partition(".")[0] != "cyclr":
            continue
        if not value.__doc__ or value.__doc__.startswith(f"{name}("):  # what dataclass writes where nobody did
            found.append(f"{module.__name__}.{name}")
        if inspect.isclass(value):
            members = {key: getattr(member, "fget", member) for key, member in vars(value).items() if key[0] != "_"}
            found += [
                f"{module.__name__}.{name}.{key}"
                for key, member in members.items()
                if inspect.isfunction(member) and not inspect.getdoc(getattr(value, key))
            ]
    return found


@pytest.mark.parametrize("name", public_modules())
def test_every_public_name_is_documented(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if error.name in HEAVY or "pip install 'cyclr[" in str(error):  # a room whose framework is not here
            pytest.skip(str(error))
        raise
    assert undocumented(module) == []


def test_a_name_without_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("cyclr.sketch", "A sketch.")
    monkeypatch.setitem(sys.modules, "cyclr.sketch", module)  # dataclasses look their module up
    exec(
        "import dataclasses\n"
        "def said():\n    'What it does.'\n"
        "def silent(): pass\n"
        "def _inside(): pass\n"
        "@dataclasses.dataclass\nclass Bare:\n    size: int\n    def grow(self): pass\n",
        vars(module),
    )
    assert undocumented(module) == ["cyclr.sketch.silent", "cyclr.sketch.Bare", "cyclr.sketch.Bare.grow"]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    paths = [*SRC.rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    found = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert found
    assert {path: length for path, length in found.items() if length > LONGEST_FILE} == {}


def lengths(code: str) -> dict[str, int]:
    """The lines of each function without its docstring, by its name and where it begins."""
    found = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.body[0] if ast.get_docstring(node) is not None else None
            lines = node.end_lineno - node.lineno + 1 - (said.end_lineno - said.lineno + 1 if said else 0)
            found[f"{node.name}, line {node.lineno}"] = lines
    return found


def test_no_function_is_longer_than_a_reader_can_hold() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}": length
        for folder in (SRC, ROOT / "bench")
        for path in folder.rglob("*.py")
        for name, length in lengths(path.read_text()).items()
    }
    assert found
    assert {name: length for name, length in found.items() if length > LONGEST_FUNCTION} == {}


def test_a_docstring_does_not_count() -> None:
    assert lengths('def f(\n    x,\n):\n    """Says.\n\n    More.\n    """\n    return x') == {"f, line 1": 4}


# ---------------------------------------------------------------- hints

#: The most hints that may contain `Any`, as a share of all in a room, a little above what it is: docs/decisions.md says
#: why. A room that is not here has none.
MOST_ANY = {
    "_rng": 0.72, "transformers": 0.42, "keras": 0.33, "jax": 0.3, "lightning": 0.24, "torch": 0.24, "_metrics": 0.15,
    "report": 0.09, "_schedules": 0.06, "_range": 0.05, "study": 0.05, "_cli": 0.04, "tasks": 0.04, "_page": 0.02,
}  # fmt: skip


def hints(source: str) -> Iterator[ast.expr]:
    """The annotations of arguments, results and variables."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg(annotation=hint) | ast.AnnAssign(annotation=hint):
                found = hint
            case ast.FunctionDef(returns=hint) | ast.AsyncFunctionDef(returns=hint):
                found = hint
            case _:
                found = None
        if found is not None:
            yield found


def share_of_any(sources: Iterable[str]) -> float:
    """How many of the hints contain `Any`, as a share."""
    found = [hint for source in sources for hint in hints(source)]
    names = ({getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(hint)} for hint in found)
    return sum("Any" in inside for inside in names) / max(1, len(found))


def test_few_hints_say_any() -> None:
    rooms: dict[str, list[str]] = {}
    for path in SRC.rglob("*.py"):
        rooms.setdefault(path.relative_to(SRC).parts[0].removesuffix(".py"), []).append(path.read_text())
    shares = {room: share_of_any(sources) for room, sources in rooms.items()}
    assert {room: share for room, share in shares.items() if share > MOST_ANY.get(room, 0)} == {}
    loose = {room: share for room, share in shares.items() if share < MOST_ANY.get(room, 0) - 0.04}
    assert loose == {}, "lower the cap"


def test_hints_that_say_any_are_counted() -> None:
    source = (
        "def f(a: Any, *b: dict[str, typing.Any], c: int) -> str: ...\nasync def g(): ...\nx: list[Any] = []\ny = 1"
    )
    assert share_of_any([source]) == 3 / 5


# ---------------------------------------------------------------- what users get


@pytest.mark.parametrize("verb", ["demo", "test", "test-core"])
def test_make_without_a_fitting_python_says_so_in_one_line(tmp_path: Path, verb: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    make = ["make", "--no-print-directory", verb, "PYTHON=no-such-python"]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "make: cyclr needs Python 3.11 or newer, found no no-such-python; make PYTHON=/path/to/python3 names another"
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_star_import_brings_the_public_names_and_no_module():
    code = "import torch, cyclr.torch; was = torch; from cyclr import *; assert torch is was; Triangular, plan, Bounds"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- public names

ADAPTERS = {  # where range_test or its like is, and what it needs
    "cyclr.torch": ("torch",),
    "cyclr.jax": ("jax",),
    "cyclr.keras": ("keras",),
    "cyclr.lightning": ("lightning",),
    "cyclr.transformers": ("transformers",),
}
MOST_ARGUMENTS = 12
#: Records, which the library fills and a user reads: a field for each thing that is known.
RECORDS = {"Curve", "Run", "Summary"}


def adapter(name: str) -> ModuleType:
    for needed in ADAPTERS.get(name, ()):
        pytest.importorskip(needed)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_range_test_and_auto_have_arguments_that_are_all_written_out(name: str) -> None:
    module = adapter(name)
    found = [getattr(module, job) for job in ("range_test", "auto", "RangeTest") if hasattr(module, job)]
    assert found
    for job in found:
        parameters = inspect.signature(job).parameters.values()
        assert not [one for one in parameters if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        assert not [one for one in parameters if one.annotation is one.empty]


def arguments_of(module: ModuleType) -> dict[str, int]:
    """How many arguments each public function, class and public method of a module takes."""
    found: dict[str, Callable[..., object]] = {}
    for name in dir(module):
        value = getattr(module, name)
        if name[0] == "_" or not callable(value) or not (getattr(value, "__module__", None) or "").startswith("cyclr"):
            continue
        if inspect.isclass(value):
            members = {key: getattr(value, key) for key in dir(value) if key[0] != "_" and key in vars(value)}
            found |= {f"{name}.{key}": member for key, member in members.items() if inspect.isroutine(member)}
        if name not in RECORDS and not (inspect.isclass(value) and issubclass(value, BaseException)):
            found[name] = value
    return {name: len(set(inspect.signature(made).parameters) - {"self"}) for name, made in found.items()}


@pytest.mark.parametrize("name", public_modules())
def test_no_public_callable_takes_more_than_a_reader_can_hold(name: str) -> None:
    if name == "cyclr.__main__":
        pytest.skip("runs the command line")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(str(error))
    assert {made: count for made, count in arguments_of(module).items() if count > MOST_ARGUMENTS} == {}


def test_a_callable_of_many_arguments_is_found() -> None:
    module = ModuleType("cyclr.sketch")
    words = ", ".join(f"x{number}" for number in range(13))
    exec(f"def f({words}): ...\nclass C:\n    def m(self, {words}): ...\nclass Run:\n    __init__ = f", vars(module))
    assert arguments_of(module) == {"f": 13, "C": 0, "C.m": 13}


@pytest.mark.parametrize(
    "name", [*ADAPTERS, "cyclr", "cyclr.adapter", "cyclr.study", "cyclr.report", "cyclr.plot", "cyclr.tasks"]
)
def test_what_a_reader_of_dir_finds_is_public(name: str) -> None:
    assert strangers_in(adapter(name)) == []


def strangers_in(module: ModuleType) -> list[str]:
    """What `dir` shows besides public names of ours and dunders."""
    found = []
    for shown in dir(module):
        value = getattr(module, shown)
        foreign = inspect.ismodule(value) and not value.__name__.startswith("cyclr.")
        ours = (getattr(value, "__module__", None) or "cyclr").startswith("cyclr")
        if not (shown.startswith("__") or (shown[0] != "_" and ours and not foreign)):
            found.append(shown)
    return found


def test_a_stranger_in_dir_is_found() -> None:
    module = ModuleType("cyclr.sketch")
    exec("import os, ast as _ast\nfrom ast import parse\nfrom cyclr import plan\n_size = 1", vars(module))
    assert strangers_in(module) == ["_ast", "_size", "os", "parse"]


def test_no_name_is_both_a_module_and_something_else() -> None:
    for path in SRC.rglob("*.py"):
        if path.name == "__init__.py":
            modules = {one.stem for one in path.parent.glob("*.py")}
            modules |= {one.parent.name for one in path.parent.glob("*/__init__.py")}
            given = re.findall(r"^\s*from (\S+) import \w+ as (\w+)$", path.read_text(), re.MULTILINE)
            assert not modules & {name for origin, name in given if origin != "cyclr"}, path


def test_no_function_takes_whatever_comes() -> None:
    found = []
    for path in [*SRC.rglob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None:
                hint = node.args.kwarg.annotation
                if "Any" in ast.unparse(hint) if hint is not None else path.is_relative_to(SRC):
                    found.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert found == []
