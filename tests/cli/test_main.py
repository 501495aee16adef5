from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cyclr import __version__
from cyclr._cli import main
from tests import forked
from tests.cli.conftest import GOOD, Shell

VERBS = ("show", "find", "plan", "train", "demo")


def test_help_names_every_verb_and_says_where_to_begin(cyclr: Shell) -> None:
    called = cyclr("--help")
    assert called.code == 0
    assert all(f" {verb} " in called.out for verb in VERBS)
    assert "cyclr demo" in called.out
    assert cyclr().out == called.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_has_examples_and_explains_each_option(cyclr: Shell, verb: str) -> None:
    called = cyclr(verb, "--help")
    assert called.code == 0
    assert f" cyclr {verb}" in called.out
    options = [line.strip("│ ") for line in called.out.splitlines() if line.startswith("│")]
    assert options
    for line in options:
        assert len(line.split("  ")) > 1 or not line.startswith("--"), line


def test_the_version_is_that_of_the_package(cyclr: Shell) -> None:
    assert cyclr("--version").out == f"{__version__}\n"


def test_python_m_cyclr_is_cyclr() -> None:
    ran = subprocess.run([sys.executable, "-m", "cyclr", "--version"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, f"{__version__}\n")


HEAVY = {"torch", "matplotlib", "scipy", "joblib"}
NOT_FOR_HELP = {*HEAVY, "numpy", "msgspec", "markdown_it", "pygments", "cyclr._schedules", "cyclr._page", "cyclr.study"}


def loaded_after(*arguments: str) -> set[str]:
    code = f"import sys; from cyclr._cli import main; main({list(arguments)}); print('\\n', *sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_help_loads_only_what_it_prints_with(tmp_path: Path) -> None:
    assert loaded_after("--help") & NOT_FOR_HELP == set()
    assert loaded_after("show", "--help") & HEAVY == set()
    shown = loaded_after("show", "Constant(1)", "--steps", "3")
    assert shown & HEAVY == set()
    assert shown & NOT_FOR_HELP >= {"numpy", "cyclr._schedules", "cyclr._page"}
    assert loaded_after("show", "Constant(1)", "--steps", "3", "--png", str(tmp_path / "a.png")) >= {"matplotlib"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("shwo x", 'Unknown command "shwo". Did you mean "show"?'),
        ("show", "SPEC requires an argument; see cyclr show --help"),
        ("show Constant(1) --epohc 3", "Did you mean --epoch?; see cyclr show --help"),
        ("show Constant(1) --epoch x", 'unable to convert "x" into int'),
        ("show Constant(1) --epoch 0", "epoch must be a positive integer, got 0"),
        ("show Constant(1) --steps -1", "steps must be a positive integer, got -1"),
        ("show Constant(1) too much", "Unused Tokens: ['too', 'much']"),
        ("show Cosin(1)", "did you mean 'Cosine'?"),
        ("show Linear(0,1,steps=epoch)", "a name in a spec must be bound to a number (bound: none), got 'epoch'"),
        ("show Triangular(2,1,step_size=9)", "base_lr must not exceed max_lr"),
        ("show Constant(1) --png no/such/folder.png", "folder no/such does not exist; create it first"),
        ("show Constant(1) --png a.gif", "an image file must end in .png, .pdf, .svg"),
        ("plan --steps 100", "--bounds LOW HIGH or --curve FILE must be given"),
        ("plan --bounds 1 2 --curve c.json --steps 100", "must not both be given"),
        ("plan --bounds 2 1 --steps 100", "base_lr must not exceed max_lr"),
        ("plan --bounds 0 1 --steps 100", "base_lr must be positive, got 0.0"),
        ("plan --bounds nan 1 --steps 100", "base_lr must be finite, got nan"),
        ("plan --bounds 1", "--bounds requires 2 positional arguments"),
        ("plan --bounds 1 2", "the budget must be given as epochs or as steps, got neither"),
        ("plan --bounds 1 2 --epochs 3", "epochs need steps_per_epoch"),
        ("plan --bounds 1 2 --steps 5 --cycles 3", "3 cycles need at least 6 steps, got 5"),
        ("plan --curve no.json --steps 100", "no.json: No such file or directory"),
        ("find fashoin", "unknown task 'fashoin'; did you mean 'fashion'? use a built-in task (fashion"),
        ("find no.py", "no file no.py; TASK must be file.py:function, module:function or a built-in name"),
        ("find no_such_module:task", "no module 'no_such_module' for task 'no_such_module:task'"),
        ("find fashion --low 1 --high 0.1", "low must"),
        ("find fashion --steps 1", "steps must"),
        ("find fashion --seed -1", "seed must"),
        ("find fashion --signal f1", "--signal must be one of 'loss', 'val_loss', 'accuracy', got 'f1'"),
        ("find fashion --out no/folder/c.json", "folder no/folder does not exist; create it first"),
        ("train fashion --policy triangualr", "did you mean 'triangular'?"),
        ("train fashion --epochs 0", "--epochs must be a positive integer, got 0"),
        ("train fashion --schedule Constant(1) --bounds 1 2", "--bounds and --curve must be left out"),
        ("train fashion --schedule Constant(1) --policy step", "--schedule and --policy must not both be given"),
        ("train fashion --schedule Constant(min_lr)", "may use the names base_lr, max_lr, steps, epoch, got 'min_lr'"),
        ("train fashion --schedule Constnat(1)", "did you mean 'Constant'?"),
        ("demo --seeds 0", "--seeds must be a positive integer, got 0"),
        ("demo --workers 0", "workers must be a positive integer, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in cyclr(*arguments.split(" ")).complaint
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


def test_an_error_nobody_foresaw_is_one_line_and_its_traceback_can_be_asked_for(
    cyclr: Shell, task_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = task_file("wrong_shape.py", GOOD.replace("Linear(8, 1)", "Linear(7, 1)"))
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in cyclr("find", path).complaint
    monkeypatch.setenv("CYCLR_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["find", str(path)])


def test_what_comes_from_outside_cannot_command_the_terminal(cyclr: Shell) -> None:
    assert "\x1b" not in cyclr("find", "\x1b[31mred:x").complaint
    assert "[bold]" in cyclr("find", "[bold]x[/bold]").complaint


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m cyclr show 'Triangular(1,2,step_size=9)' --json | head -c 10"
    ran = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_ctrl_c_is_one_line_and_exit_130(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    waiting = "(seed):\n    import time; print('in', flush=True); time.sleep(600)"
    slow.write_text(GOOD.replace("(seed):", waiting))
    process = forked.Program("-m", "cyclr", "find", slow, needs=forked.TORCH)
    assert process.stdout.readline() == "in\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "cyclr: interrupted; finished work is kept\n")
    assert process.wait() == 130


@pytest.mark.parametrize(("module", "arguments", "extra"), [
    ("torch", "find fashion", "torch"),
    ("matplotlib", "show Constant(1) --png a.png", "plot"),
])  # fmt: skip
def test_a_missing_extra_says_what_to_install(tmp_path: Path, module: str, arguments: str, extra: str) -> None:
    without = f"import sys; sys.modules[{module!r}] = None"
    code = f"{without}; from cyclr._cli import main; sys.exit(main({arguments.split()!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"pip install cyclr[{extra}]" in ran.stderr
    assert ran.stderr.count("\n") == 1
