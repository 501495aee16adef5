"""`cyclr.study.compare` from Python, in processes of its own: what it makes, what it imports, what it refuses."""

from __future__ import annotations

import functools
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import cyclr
from cyclr import parse
from cyclr.study import Engine, Study, Target, compare, load, summarize
from cyclr.study._compare import _check_policies, _maximize, _settle
from cyclr.study._pool import Apart
from cyclr.study._records import Facts
from cyclr.study._settings import DEFAULT, Settings, asked_for
from cyclr.study._task import name_of
from tests.cli.conftest import SIDES
from tests.study.learners import shell_after

Write = Callable[[str, str], Path]
ROOT = Path(__file__).parents[2]
FACTS = Facts(steps_per_epoch=10, metrics=("accuracy", "loss"), judge="test", tunable=True)

# A task in a module; each process that makes it notes what it holds of the shell.
TASK = """
import os
from pathlib import Path
import torch
from cyclr import Metric
from cyclr.torch import Task
from tests.study.learners import shell_after

def task(seed):
    Path(__file__).with_name(f"held-{os.getpid()}").write_text(" ".join(shell_after()))
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(500, 6, generator=generator)
    y = (x.sum(1) + 0.5 * torch.randn(500, generator=generator) > 0).long()
    cut = lambda a, b: [(x[k:k+20], y[k:k+20]) for k in range(a, b, 20)]
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrong = lambda outputs, targets: (outputs.argmax(1) != targets).float().mean()
    metrics = {"wrong": Metric(wrong, "min")}
    return Task(model, optimizer, torch.nn.functional.cross_entropy, cut(0, 200), cut(200, 300), metrics, cut(300, 500))
"""
OWN = {
    "auto": "auto",
    "linear": "linear",
    "mine": "Linear(base_lr, max_lr, steps=epoch) >> Linear(max_lr, 0, steps=steps - epoch)",
    "written": "Constant(0.05).take(steps)",
}
DRIVER = f"""
import json
import my_sides
from cyclr import study
from tests.study.learners import shell_after

told = []
made = study.compare(my_sides.task, policies={OWN!r}, seeds=2, epochs=3, rates=[0.01, 0.1], baseline="linear",
                     engine=study.Engine(workers=2), out="out", progress=lambda *piece: told.append(piece))
assert made == study.load("out") == study.load("out/study.json")
print(json.dumps({{"held": shell_after(), "told": told}}))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A study that was made from Python: its folder, and what its driver says."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("python")
    (folder / "my_sides.py").write_text(TASK)
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads(ran.stdout)


def test_workers_and_driver_import_no_shell(done: tuple[Path, dict]) -> None:
    folder, said = done
    notes = [file.read_text() for file in folder.glob("held-*")]
    assert len(notes) == 2, "two workers"
    assert set(notes) == {""}
    assert said["held"] == []


def test_a_shell_in_a_worker_would_be_found() -> None:
    with Apart() as apart:
        assert apart.call("tests.study.learners:shell_after") == []
        assert apart.call("tests.study.learners:shell_after", "rich") == ["rich"]
    assert "cyclr._cli" in shell_after("cyclr._cli")


def test_a_function_is_compared_under_policies_of_the_users_own(done: tuple[Path, dict]) -> None:
    study = load(done[0] / "out")
    assert isinstance(study, Study)
    assert study.task == "my_sides:task"
    assert study.policies == tuple(OWN)
    schedules = {run.policy: run.schedule for run in study.runs}
    peak, base = study.rates["mine"], 0.1
    assert study.bounds is not None
    base = study.bounds.base_lr / study.bounds.max_lr * peak
    expected = parse(f"Linear({base!r}, {peak!r}, steps=10) >> Linear({peak!r}, 0, steps=20)")
    assert parse(schedules["mine"])(7) == pytest.approx(expected(7))
    assert parse(schedules["mine"])(17) == pytest.approx(expected(17))
    assert parse(schedules["written"]) == parse("Constant(0.05).take(30)")
    assert study.rates["written"] == 0.05
    assert study.tuning_cost["mine"] == study.tuning_cost["linear"] == 2 * 30
    assert study.tuning_cost["written"] == 0, "a text without max_lr has nothing to tune"
    assert "written: the rates are those in its text." in study.notes
    rows = {row.policy: row for row in summarize(study)}
    assert rows["linear"].difference is None
    assert {row.seeds for row in rows.values()} == {2}


def test_the_direction_is_the_one_that_the_task_says(done: tuple[Path, dict]) -> None:
    study = load(done[0] / "out")
    assert (study.metric, study.maximize) == ("test_wrong", False)
    tuned = {}
    for path in done[0].glob("out/runs/tuning-linear-*/run.json"):
        tuned[float(path.parent.name.removeprefix("tuning-linear-"))] = load(path).runs[0].points[-1]["val_wrong"]
    assert len(tuned) == 2
    assert tuned[study.rates["linear"]] == min(tuned.values())


def test_progress_is_told_piece_by_piece(done: tuple[Path, dict]) -> None:
    told = done[1]["told"]
    assert [title for title, *_ in told if title != "training"] == ["range test on my_sides:task"] * sum(
        title != "training" for title, *_ in told
    )
    assert any(title != "training" for title, *_ in told)
    runs = [(done, total) for title, done, total, *_ in told if title == "training"]
    assert runs == [(n, 12) for n in range(13)]


def asked(policies: object = DEFAULT, **changes: object) -> Settings:
    given = {"seeds": 2, "epochs": 3, "rates": 0.1, "curve": None, "metric": None} | changes
    return asked_for("t.py", policies, **given)  # type: ignore[arg-type]


def test_policies_are_exactly_those_that_are_given() -> None:
    assert asked().policies == DEFAULT
    text = "Linear(max_lr, 0, steps=steps)"
    assert asked({"auto": "auto", "mine": text}).rules == {"auto": "auto", "mine": text}
    assert asked({"a": "linear", "b": "cosine"}).rules == {"a": "linear", "b": "cosine"}
    assert asked("auto, fixed").policies == asked(["auto", "fixed"]).policies == ("auto", "fixed")


@pytest.mark.parametrize(
    ("policies", "kind", "says"),
    [
        (
            {"mine": "Linear(max_rl, 0, steps=steps)"},
            ValueError,
            "policy 'mine' may use the names base_lr, max_lr, steps, epoch, got 'max_rl' in 'Linear(max_rl, 0, steps=",
        ),
        (
            {"mine": "Linear(max_lr, 0"},
            ValueError,
            "policy 'mine' must be a Python expression, got 'Linear(max_lr, 0'; '(' was never closed",
        ),
        ({"mine": "cosin"}, ValueError, "policy 'mine' must be one of"),
        ({"mine": ""}, ValueError, "policy 'mine' must be one of"),
        ({"mine": 0.1}, TypeError, "policy 'mine' must be one of"),
        (
            {"a/b": "linear"},
            ValueError,
            "the name of a policy must consist of letters, digits, spaces and . _ - +, got",
        ),
        ({"": "linear"}, ValueError, "the name of a policy must consist of letters"),
        (
            {"fixed": "Constant(max_lr)"},
            ValueError,
            "must not be that of a built-in one, got 'fixed' for 'Constant(max_lr)'; choose another name",
        ),
        ("auto", ValueError, "policies must name two or more policies, each once"),
        (
            {"mine": "Linear(max_lr, 0, steps=steps)"},
            ValueError,
            "policies must name two or more policies, got mine; add what to compare with, such as {'fixed': 'fixed',",
        ),
        ({}, ValueError, "policies must name two or more policies, got none"),
        (
            "auto,Linear(max_lr, 0, steps=steps)",
            ValueError,
            "policies must be names of built-in ones, got a text; pass a mapping such as {'mine': 'Linear(",
        ),
        (
            ["auto", "Linear(max_lr, 0, steps=steps)"],
            ValueError,
            "got a text; pass a mapping such as {'mine': 'Linear(",
        ),
        ("auto,cosin", ValueError, "did you mean 'cosine'?"),
    ],
)
def test_a_bad_policy_is_named_before_any_work(tmp_path: Path, policies: object, kind: type, says: str) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        compare("no_such_file.py", policies=policies, out=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "Linear(max_lr, 0, steps=steps // 2)",
            "policy 'mine': a policy must last the whole budget of 30 steps, got 'Linear(max_lr, 0, steps=steps",
        ),
        (
            "Triangular2(base_lr, max_lr, step_size=epoch)",
            "which lasts endlessly; use the name steps for its length, or end it with .take(steps)",
        ),
        ("Linaer(max_lr, 0, steps=steps)", "'mine': a spec must call a known schedule, got 'Linaer'; did you mean"),
        ("Linear(max_lr, -1, steps=steps)", "policy 'mine': cannot make Linear(max_lr, -1, steps=steps)"),
        ("max_lr * 2", "policy 'mine': a spec must describe a schedule"),
    ],
)
def test_a_text_that_does_not_fit_the_budget_is_named_before_any_training(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        _check_policies(asked({"auto": "auto", "mine": text}), FACTS)


@pytest.mark.parametrize(
    ("metric", "directions", "maximize"),
    [
        ("accuracy", {}, True),
        ("loss", {}, False),
        ("mae", {}, False),
        ("score", {"score": "min"}, False),
        (("score", "max"), {}, True),
        (("score", "min"), {"score": "min"}, False),
    ],
)
def test_the_direction_of_a_metric_is_said_or_known(metric: object, directions: dict, maximize: bool) -> None:
    facts = msgspec.structs.replace(FACTS, directions=directions)
    assert _maximize(asked(metric=metric), facts) is maximize


def test_a_direction_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"metric 'score' must say which way .* --minimize score or --maximize score"):
        _maximize(asked(metric="score"), FACTS)
    with pytest.raises(ValueError, match=r"metric 'score' must have the direction that the task states, 'min' \(lower"):
        _maximize(asked(metric=("score", "max")), msgspec.structs.replace(FACTS, directions={"score": "min"}))
    with pytest.raises(ValueError, match="the direction of metric must be one of 'min', 'max', got 'up'"):
        asked(metric=("score", "up"))


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"rates": "tund"}, ValueError, "did you mean 'tuned'?"),
        ({"rates": []}, ValueError, "rates must contain at least one rate, got none"),
        ({"rates": [0.1, 0.1]}, ValueError, "rates must contain each rate once"),
        ({"rates": [0.1, -1]}, ValueError, "rates must be positive, got -1"),
        ({"seeds": 10_001}, ValueError, "seeds must be at most 10000"),
        ({"engine": "ray"}, TypeError, "engine must be an Engine, got 'ray'; pass cyclr.study.Engine(workers=2)"),
        ({"baseline": "fixd"}, ValueError, "did you mean 'fixed'?"),
        ({"curve": "none.json"}, OSError, "none.json"),
        ({"metric": Target("score")}, ValueError, "no file no_such_file.py"),
    ],
)
def test_a_bad_argument_is_said_before_any_work(tmp_path: Path, changes: dict, kind: type, says: str) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        compare("no_such_file.py", out=tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_a_value_to_reach_belongs_to_its_metric(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="target must be a number, got 'high'"):
        Target("accuracy", "high")  # type: ignore[arg-type]
    for metric in ("accuracy", ("score", "max")):
        with (
            pytest.warns(DeprecationWarning, match=r"target: pass metric=Target\(metric=.*, value=0.9\) instead"),
            pytest.raises(ValueError, match=r"no file no_such_file\.py"),
        ):
            compare("no_such_file.py", metric=metric, target=0.9, out=tmp_path / "out")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="target must be left out if metric is given"):
        compare("no_such_file.py", metric=Target("accuracy"), target=0.9)  # type: ignore[call-arg]


def test_a_function_that_other_processes_cannot_import_is_refused() -> None:
    def inside(seed: int) -> None: ...

    main = functools.partial(inside)
    for task in (lambda seed: None, inside, main):
        with pytest.raises(ValueError, match="task must be a function that other processes can import, got"):
            name_of(task)
    with pytest.raises(TypeError, match="task must be a string or a function of a seed"):
        name_of(3)  # type: ignore[arg-type]
    code = "import cyclr\ndef mine(seed): ...\ncyclr.study.compare(mine)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "got 'mine' of the running script or notebook; move it to a file and pass 'file.py:mine'" in ran.stderr


def test_import_cyclr_offers_studies_when_they_are_asked_for() -> None:
    assert cyclr.study.compare is compare
    code = "import sys, cyclr; print('cyclr.study' in sys.modules, cyclr.study.load.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False load\n"


def test_the_settings_of_a_study_from_before_are_read() -> None:
    old = {
        "task": "fashion", "task_file": "", "policies": ["auto", "fixed"], "seeds": 5, "epochs": 30,
        "metric": "accuracy", "rates": "tuned", "curve": None,
        "facts": {"steps_per_epoch": 120, "metrics": ["accuracy", "loss"], "judge": "test", "tunable": True,
                  "paired": True, "varies": True},
    }  # fmt: skip
    made = asked_for("fashion", "auto,fixed", 5, 30, "tuned", None, None)
    facts = Facts(steps_per_epoch=120, metrics=("accuracy", "loss"), judge="test", tunable=True)
    assert msgspec.convert(old, Settings) == msgspec.structs.replace(made, metric="accuracy", facts=facts)


def test_an_engine_of_one_worker_makes_all_in_this_process() -> None:
    assert Engine(workers=1).cluster is None
    assert Engine("ray", workers=3).cluster is not None


class Here:
    """In this process what else is done in one apart, which takes seconds to start."""

    def call(self, function: str, *arguments: object) -> object:
        return pkgutil.resolve_name(function)(*arguments)


@pytest.mark.parametrize(
    ("text", "changes", "complaint"),
    [
        (SIDES, {"metric": "accurcy"}, "metric must be one of 'accuracy', 'loss', got 'accurcy'; did you mean"),
        (SIDES, {"epochs": 1}, "policy 'auto': steps must be an integer of at least 20, got 10"),
        (SIDES.replace("seed(seed)", "seed(0)"), {}, "must depend on its seed, got the same weights and the"),
        (SIDES.replace("cut(200, 300)", "[]"), {}, "val_loader must hold at least one batch"),
        (SIDES.replace("cut(0, 200)", "(b for b in ())"), {}, "train_loader must be a loader that can be started"),
    ],
)
def test_what_is_wrong_with_a_task_is_said_before_the_folder_is_made(
    task_file: Write, text: str, changes: dict[str, object], complaint: str
) -> None:
    task_file("sides.py", text)
    asked = Settings("sides.py", "", ("auto", "fixed"), 5, 30, None, "tuned", None)
    with pytest.raises((ValueError, TypeError), match=re.escape(complaint)):
        _settle(msgspec.structs.replace(asked, **changes), Path("out"), Here())
    assert not Path("out").exists()
