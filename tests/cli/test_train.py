from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclr import Bounds, Curve, plan, policy
from cyclr.study._files import read_json
from cyclr.study._records import Run
from tests import forked
from tests.cli.conftest import GOOD, Shell

Write = Callable[[str, str], Path]


def test_a_policy_is_trained_from_given_bounds(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    run = cyclr("train", path, "--policy", "cosine", "--bounds", 0.01, 0.1, "--epochs", 6, "--seed", 2, "--json").json
    expected = policy("cosine", Bounds(0.01, 0.1), steps=60, steps_per_epoch=10)
    assert (run["schedule"], run["steps"], run["seed"], run["status"]) == (repr(expected), 60, 2, "finished")
    assert [point["step"] for point in run["points"]] == list(range(10, 61, 10))
    assert run["points"][-1]["loss"] < run["points"][0]["loss"] / 10
    assert run["points"][-1]["lr"] == pytest.approx(expected(59))


def test_auto_makes_a_range_test_and_a_plan_first(cyclr: Shell, task_file: Write) -> None:
    called = cyclr("train", task_file("plane.py", GOOD), "--epochs", 5, "--out", "out")
    assert called.code == 0
    assert all(word in called.out for word in ("Range test", "Plan", "snapshots", "val loss"))
    assert {path.name for path in Path("out").iterdir()} == {"settings.json", "curve.json", "run.json", "checkpoint.pt"}
    assert read_json("out/run.json", Run).policy == "auto"


def test_the_trained_weights_are_in_the_folder(cyclr: Shell, task_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from cyclr.torch import evaluate

    path = task_file("my_task.py", GOOD)
    assert cyclr("train", path, "--bounds", 0.01, 0.1, "--epochs", 3, "--out", "run-1").code == 0
    monkeypatch.syspath_prepend(str(Path(path).resolve().parent))
    page = (Path(__file__).parents[2] / "docs/guide.md").read_text()
    block = next(block for block in page.split("```python\n") if "checkpoint.pt" in block).partition("```")[0]
    names: dict[str, Any] = {}
    exec(block, names)
    made = names["task"](0)
    made.model.load_state_dict(names["model"].state_dict())
    found = evaluate(made.model, made.val_loader, made.loss_fn, {})["loss"]
    assert found == pytest.approx(read_json("run-1/run.json", Run).points[-1]["val_loss"])


@pytest.mark.parametrize("goal", ["ensemble", "average", "anytime"])
def test_a_goal_is_planned_and_judged(cyclr: Shell, task_file: Write, goal: str) -> None:
    command = ("train", task_file("plane.py", GOOD), "--bounds", 0.01, 0.1, "--epochs", 12, "--goal", goal)
    run = cyclr(*command, "--out", "out", "--json").json
    made = plan(Bounds(0.01, 0.1), epochs=12, steps_per_epoch=10, goal=goal)
    assert (run["schedule"], run["policy"]) == (repr(made.schedule), "auto")
    assert {point["step"] for point in run["points"]} >= set(made.snapshots)
    together = goal != "anytime"
    assert (f"{goal}_val_loss" in run["points"][-1]) == together
    saved = {int(path.stem.partition("-")[2]) for path in Path("out").glob("snapshots/*.safetensors")}
    assert saved == (set(made.snapshots) if together else set())
    assert cyclr(*command, "--out", "out", "--json").json == run
    complaint = cyclr(*command[:-1], "final", "--out", "out").complaint
    assert complaint == f"out was made with other settings (goal '{goal}', now 'final'); choose another folder"


def test_a_goal_that_cannot_be_is_one_line_before_any_work(cyclr: Shell, task_file: Write) -> None:
    path, own = (
        task_file("plane.py", GOOD),
        task_file(
            "own.py",
            GOOD.replace("torch.nn.functional.mse_loss", "lambda *given: torch.nn.functional.mse_loss(*given)"),
        ),
    )
    assert "did you mean 'ensemble'" in cyclr("train", path, "--goal", "ensembles", "--out", "out").complaint
    for option in (("--policy", "cosine"), ("--schedule", "Constant(0.1)")):
        assert "--goal must be left out with" in cyclr("train", path, "--goal", "average", *option).complaint
    assert "must say what its model returns" in cyclr("train", own, "--goal", "ensemble", "--out", "out").complaint
    assert not Path("out").exists()


def test_a_schedule_may_count_in_epochs(cyclr: Shell, task_file: Write) -> None:
    spec = "Linear(0, 0.1, steps=epoch) >> Constant(0.1)"
    run = cyclr("train", task_file("plane.py", GOOD), "--schedule", spec, "--epochs", 2, "--json").json
    assert run["schedule"] == "Linear(0.0, 0.1, steps=10) >> Constant(0.1)"


def test_a_schedule_may_use_budget_and_bounds(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    spec = "Linear(base_lr, max_lr, steps=epoch) >> Linear(max_lr, 0, steps=steps - epoch)"
    run = cyclr("train", path, "--schedule", spec, "--bounds", 0.01, 0.1, "--epochs", 3, "--json").json
    assert run["schedule"] == "Linear(0.01, 0.1, steps=10) >> Linear(0.1, 0.0, steps=20)"
    found = cyclr("train", path, "--schedule", "Linear(max_lr, 0, steps=steps)", "--epochs", 2, "--json", "--out", "o")
    peak = Curve.load("o/curve.json").bounds(budget=20).max_lr
    assert found.json["schedule"] == f"Linear({peak!r}, 0.0, steps=20)"


def test_a_policy_may_be_a_text(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    text = "Linear(base_lr, max_lr, steps=epoch) >> Linear(max_lr, 0, steps=steps - epoch)"
    run = cyclr("train", path, "--policy", text, "--bounds", 0.01, 0.1, "--epochs", 3, "--json").json
    expected = policy(text, Bounds(0.01, 0.1), steps=30, steps_per_epoch=10)
    assert (run["schedule"], run["policy"]) == (repr(expected), text)
    found = cyclr("train", path, "--policy", "Constant(0.05).take(steps)", "--epochs", 2, "--json", "--out", "o").json
    assert found["schedule"] == "Constant(0.05).take(20)"
    assert not Path("o/curve.json").exists(), "rates of its own need no range test"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--policy", "cosin"), "did you mean 'cosine'"),
        (("--policy", "Linear(max_rl, 0, steps=steps)"), "--policy may use the names base_lr, max_lr, steps, epoch"),
        (("--policy", "Linear(max_lr, 0, steps=epoch)"), "a policy must last the whole budget of 100 steps"),
        (
            ("--policy", "Constant(0.1).take(steps)", "--bounds", 0.01, 0.1),
            "left out with a --policy that uses neither",
        ),
        (("--schedule", "Constant(0.1)", "--bounds", 0.01, 0.1), "left out with a --schedule that uses neither"),
        (("--schedule", "Constant(0.1)", "--policy", "Constant(0.1).take(steps)"), "must not both be given"),
        (("--policy", "other.Knee(max_lr, 5, steps)"), "no schedule 'other.Knee' once the module of task plane.py is"),
    ],
)
def test_a_wrong_text_is_one_line_before_any_work(
    cyclr: Shell, task_file: Write, options: tuple[object, ...], says: str
) -> None:
    path = task_file("plane.py", GOOD)
    assert says in cyclr("train", path, *options, "--out", "out").complaint
    assert not Path("out").exists()


def test_a_finished_folder_is_not_trained_again_and_other_settings_are_refused(cyclr: Shell, task_file: Write) -> None:
    command = ("train", task_file("plane.py", GOOD), "--bounds", 0.01, 0.1, "--out", "out")
    first = cyclr(*command, "--epochs", 3, "--json").json
    before = Path("out/run.json").read_bytes()
    again = cyclr(*command, "--epochs", 3, "--json")
    assert again.json == first
    assert "is already finished" in again.err
    complaint = cyclr(*command, "--epochs", 4).complaint
    assert complaint == "out was made with other settings (epochs 3, now 4); choose another folder"
    assert Path("out/run.json").read_bytes() == before


def test_a_folder_of_other_things_is_left_alone(cyclr: Shell, task_file: Write) -> None:
    path = task_file("plane.py", GOOD)
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("")
    assert "thesis contains other files" in cyclr("train", path, "--bounds", 1, 2, "--out", "thesis").complaint
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize("file", ["settings.json", "curve.json", "run.json", "checkpoint.pt"])
def test_a_damaged_file_is_one_line_that_names_it(cyclr: Shell, task_file: Write, file: str) -> None:
    command = ("train", task_file("plane.py", GOOD), "--epochs", 3, "--out", "out")
    assert cyclr(*command, "--json").code == 0
    if file == "checkpoint.pt":
        Path("out/run.json").unlink()
    Path("out", file).write_bytes(b"{\x00")
    called = cyclr(*command, "--json")
    assert called.code == 2
    assert f"out/{file}" in called.err
    assert called.err.count("\n") == 1


def test_killed_in_mid_training_it_goes_on_and_ends_with_the_same_numbers(cyclr: Shell, task_file: Write) -> None:
    slow = "import time, os\n" + GOOD.replace(
        "return Task(model, optimizer, torch.nn.functional.mse_loss,",
        "def loss(a, b):\n"
        "        while 'STOP' in os.environ and os.path.exists('out/checkpoint.pt'):\n            time.sleep(0.01)\n"
        "        return torch.nn.functional.mse_loss(a, b)\n    return Task(model, optimizer, loss,",
    )
    path = task_file("plane.py", slow)
    command = ("train", str(path), "--bounds", "0.01", "0.1", "--epochs", "8", "--json")
    whole = cyclr(*command).json
    stop = {**os.environ, "STOP": "at the first checkpoint"}
    needs = (*forked.TORCH, "cyclr.study", "cyclr.tasks")
    process = forked.Program("-m", "cyclr", *command, "--out", "out", cwd=Path.cwd(), env=stop, needs=needs)
    end = time.monotonic() + 300
    while not Path("out/checkpoint.pt").exists():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not Path("out/run.json").exists()
    resumed = msgspec.json.decode(cyclr(*command, "--out", "out").out)
    assert resumed["points"] == whole["points"]


def test_a_task_without_a_length_has_no_epochs(cyclr: Shell, task_file: Write) -> None:
    endless = GOOD.replace("batches, batches[:2]", "Endless()").replace(
        "def task(seed):", "class Endless:\n    def __iter__(self):\n        yield from batches\n\ndef task(seed):"
    )
    assert "must have a length" in cyclr("train", task_file("plane.py", endless)).complaint
