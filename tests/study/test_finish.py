"""How a policy ends: as a single model, an ensemble or an average, at the same budget; and what a prediction costs."""

from __future__ import annotations

import copy
import hashlib
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
from cyclr import Bounds, parse, plan  # noqa: E402 - needs the one above
from cyclr._goals import last_snapshots  # noqa: E402
from cyclr.study import Run, Setup, Study, compare, load, summarize  # noqa: E402
from cyclr.study._compare import _check_task  # noqa: E402
from cyclr.study._design import Design, arms  # noqa: E402
from cyclr.study._engine import Engine  # noqa: E402
from cyclr.study._records import Facts  # noqa: E402
from cyclr.study._settings import asked_for  # noqa: E402
from cyclr.study._worker import checkpoint_folder  # noqa: E402
from cyclr.tasks._find import build  # noqa: E402
from cyclr.tasks._finish import parts_of  # noqa: E402
from cyclr.tasks._run import make_run  # noqa: E402
from cyclr.torch import Snapshots, Task, average, averaged_model, ensemble, evaluate, train  # noqa: E402
from cyclr.torch._ensemble import outputs_of  # noqa: E402

BOUNDS = Bounds(0.01, 0.1)
POLICIES = {"auto": "auto", "linear": "linear", "warm_restarts": "warm_restarts"}


def design(finish: dict, *, steps: int = 400, policies: dict | None = None, tuned: bool = False) -> Design:
    made = arms(policies or POLICIES, BOUNDS, tuned=tuned, finish=finish)
    return Design(task="t", arms=made, seeds=2, steps=steps, steps_per_epoch=20, metric="accuracy", maximize=True)


def setups(made: Design) -> dict[str, Setup]:
    """One set-up of each policy."""
    found = made.compared({arm.name: BOUNDS for arm in made.arms})
    return {setup.policy: setup for setup in found.values()}


# ---------------------------------------------------------------- the design


@given(st.sampled_from(["ensemble", "average"]), st.integers(60, 2000))
def test_whatever_the_finish_the_budget_is_the_same_and_the_last_member_is_its_end(finish, steps):
    made = setups(design(dict.fromkeys(POLICIES, finish), steps=steps))
    for setup in made.values():
        assert setup.steps == steps
        assert parse(setup.schedule).duration == steps
        assert setup.finish == ("single" if len(setup.members) < 2 else finish)
        assert not setup.members or setup.members[-1] == steps
    goal = plan(BOUNDS, steps=steps, steps_per_epoch=20, goal=finish)
    assert made["auto"].schedule == repr(goal.schedule)
    assert made["auto"].members == (goal.snapshots if len(goal.snapshots) > 1 else ())
    assert made["linear"].members == (() if finish == "ensemble" else last_snapshots(steps))
    assert len(made["warm_restarts"].members) == 3


@given(st.integers(25, 2000))
def test_an_average_without_cycles_is_of_the_last_fifth(steps):
    members = setups(design({"linear": "average"}, steps=steps))["linear"].members
    assert len(members) == 5
    assert members[-1] == steps
    assert members[0] >= 0.8 * steps - 3
    assert len(set(np.diff(members))) == 1


def test_a_moving_average_needs_no_snapshots_and_auto_plans_one_model():
    made = setups(design(dict.fromkeys(POLICIES, "ema")))
    assert {(setup.finish, setup.members, setup.prediction_cost) for setup in made.values()} == {("ema", (), 1)}
    assert made["auto"].schedule == setups(design({}))["auto"].schedule


@given(st.integers(60, 2000))
def test_independent_trainings_share_the_budget_and_each_has_the_policy_for_its_length(steps):
    made = setups(design(dict.fromkeys(POLICIES, "independent"), steps=steps))
    for setup in made.values():
        lengths = np.diff((0, *setup.members))
        assert setup.steps == sum(lengths) == steps
        assert lengths.max() - lengths.min() <= 1
        assert (setup.finish, len(lengths), setup.prediction_cost) == ("independent", 3, 3)
        parts = parts_of(setup)
        assert [part.setup.steps for part in parts] == list(lengths)
        assert [part.begin for part in parts] == [0, *np.cumsum(lengths)[:-1]]
        assert len({part.setup.seed for part in parts}) == 3
        assert parts[0].setup.seed == setup.seed
    alone = setups(design({}, steps=int(lengths.max())))
    for policy, setup in made.items():
        whole, expected = parse(setup.schedule), parse(alone[policy].schedule)
        for part in parts_of(setup):
            own = parse(part.setup.schedule)
            for step in range(0, part.setup.steps, 7):
                assert own(step) == pytest.approx(expected(step))
        # What is recorded is what is trained, to a step or two where the budget is no multiple of three.
        assert whole.duration == 3 * lengths.max()
        assert whole(setup.members[0] + 5) == pytest.approx(expected(5))


def test_policies_may_end_in_different_ways_and_auto_twice():
    made = setups(design({"many": "ensemble"}, policies={"auto": "auto", "many": "auto"}))
    assert made["auto"].finish == "single"
    assert made["many"].members == (200, 250, 300, 350, 400)
    assert made["many"].prediction_cost == 5
    assert made["auto"].prediction_cost == 1


def test_rates_are_tuned_for_the_finish():
    made = design({"warm_restarts": "ensemble"}, tuned=True)
    runs = {}
    for name, setup in made.tuning().items():
        single, finished = (0.9, 0.1) if setup.policy.endswith(" 0.1") else (0.1, 0.5)
        points = [{"step": 400, "loss": 1.0, "val_accuracy": single, "ensemble_val_accuracy": finished}]
        runs[name] = Run(**msgspec.structs.asdict(setup), steps_per_epoch=20, points=points, seconds=1.0, versions={})
    chosen = made.choose(runs)
    assert chosen["warm_restarts"].max_lr != 0.1
    assert chosen["linear"].max_lr == 0.1


# ---------------------------------------------------------------- records


def run(policy: str, seed: int, value: float, **changes: object) -> Run:
    points = [{"step": 100, "loss": 1.0, "test_accuracy": value}]
    return Run(task="t", policy=policy, schedule="Constant(0.1)", seed=seed, steps=100, eval_every=100,
               steps_per_epoch=10, points=points, seconds=1.0, versions={}, **changes)  # fmt: skip


def test_the_value_at_the_end_is_that_of_what_the_policy_ends_as():
    one = run("p", 0, 0.5, finish="ensemble", members=(50, 100))
    one.points[-1]["ensemble_test_accuracy"] = 0.7
    assert one.final("test_accuracy") == 0.7
    assert one.series("test_accuracy")[1] == [0.5]  # during the training it is the model's
    one.points[-1]["ensemble_test_accuracy"] = None
    assert math.isnan(one.final("test_accuracy"))
    assert run("p", 0, 0.5).final("test_accuracy") == 0.5


def test_the_comparison_is_of_the_finished_models_and_tells_what_predictions_cost():
    ours = [run("auto", seed, 0.5, finish="ensemble", members=(50, 75, 100)) for seed in range(3)]
    for number, one in enumerate(ours):
        one.points[-1]["ensemble_test_accuracy"] = 0.7 + 0.01 * number
    rivals = [run("linear", seed, 0.6 + 0.001 * seed) for seed in range(3)]
    study = Study(task="t", runs=[*ours, *rivals], baseline="linear")
    rows = {row.policy: row for row in summarize(study)}
    assert rows["auto"].final.mean == pytest.approx(0.71)
    assert rows["auto"].difference.mean == pytest.approx(0.71 - 0.601)
    assert (rows["auto"].prediction, rows["linear"].prediction) == (3, 1)
    from cyclr.report import markdown

    text = markdown(study)
    assert "prediction cost" in text
    assert "3x" in text
    assert "prediction cost" not in markdown(Study(task="t", runs=rivals, baseline="linear"))


OLD = """{"task":"t","policy":"p","schedule":"Constant(0.1)","seed":0,"steps":10,"eval_every":5,"eval_at":[],
"options":{},"steps_per_epoch":5,"points":[{"step":10,"lr":0.1,"loss":1.0,"test_accuracy":0.5}],"seconds":1.0,"versions":{},
"status":"finished"}"""


def test_records_from_before_are_read_and_what_is_under_way_is_resumed():
    old = msgspec.json.decode(OLD, type=Run)
    assert (old.finish, old.members, old.final("test_accuracy")) == ("single", (), 0.5)
    fields = [name for name in Setup.__struct_fields__ if name not in ("finish", "members")]
    text = msgspec.json.encode({name: getattr(old, name) for name in fields})
    digest = hashlib.sha256(text).hexdigest()[:12]
    assert checkpoint_folder("f", "r", old.setup).name == f"checkpoint-{digest}"
    other = msgspec.structs.replace(old.setup, finish="ensemble", members=(5, 10))
    assert checkpoint_folder("f", "r", other) != checkpoint_folder("f", "r", old.setup)


# ---------------------------------------------------------------- runs

TASK = """
import torch
from cyclr.torch import Task

def task(seed):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(300, 6, generator=generator)
    y = (x.sum(1) + 0.5 * torch.randn(300, generator=generator) > 0).long()
    cut = lambda a, b: [(x[k:k+10], y[k:k+10]) for k in range(a, b, 10)]
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    accuracy = lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()
    return Task(model, optimizer, torch.nn.functional.cross_entropy, cut(0, 200), cut(200, 250),
                {"accuracy": accuracy}, cut(250, 300))
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(TASK)
    return f"{path}:task"


def toy(text: str) -> Task:
    from cyclr.tasks import _find as tasks

    return tasks.build(text, 0)


@pytest.mark.parametrize("finish", ["ensemble", "average"])
def test_a_run_ends_as_what_was_asked_for(text, tmp_path, finish):
    goal = plan(BOUNDS, steps=100, goal=finish)
    setup = Setup(task=text, policy="auto", schedule=repr(goal.schedule), seed=0, steps=100, eval_every=50,
                  finish=finish, members=goal.snapshots)  # fmt: skip
    found = make_run(setup)
    task = toy(text)
    snapshots = Snapshots(tmp_path / "own", task.model, plan=goal)
    train(task, goal.schedule, steps=100, snapshots=snapshots)
    loader = copy.deepcopy(task.train_loader)
    model = (
        ensemble(task.model, snapshots, "logits") if finish == "ensemble" else average(task.model, snapshots, loader)
    )
    expected = evaluate(model, task.test_loader, task.loss_fn, task.metrics)
    for name, value in expected.items():
        assert found.final(f"test_{name}") == pytest.approx(value, abs=1e-6)
        assert found.points[-1][f"{finish}_test_{name}"] == found.final(f"test_{name}")
    assert found.final("val_loss") != found.series("val_loss")[1][-1]


def test_a_run_may_end_as_the_moving_average_of_its_weights(text, tmp_path):
    setup = Setup(task=text, policy="linear", schedule="Linear(0.1, 0, steps=100)", seed=0, steps=100, eval_every=50,
                  finish="ema")  # fmt: skip
    found = make_run(setup)
    task = toy(text)
    own = averaged_model(task.model)
    train(task, parse(setup.schedule), steps=100, average=own)
    expected = evaluate(own.module, task.test_loader, task.loss_fn, task.metrics)
    for name, value in expected.items():
        assert found.final(f"test_{name}") == pytest.approx(value, abs=1e-6)
    assert found.final("test_loss") != found.series("test_loss")[1][-1]  # during the training it is the model's

    def stop(step: int, *_: object) -> None:
        if step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_run(setup, folder=tmp_path / "run", progress=stop)
    assert make_run(setup, folder=tmp_path / "run").points == found.points


def test_a_run_may_be_several_independent_trainings(text, tmp_path):
    schedule = "Linear(0.1, 0, steps=34).repeat(3)"
    setup = Setup(task=text, policy="linear", schedule=schedule, seed=5, steps=100, eval_every=20, finish="independent",
                  members=(34, 67, 100))  # fmt: skip
    steps = []
    found = make_run(setup, progress=lambda step, of, *_: steps.append((step, of)))
    assert [point["step"] for point in found.points] == [20, 34, 54, 67, 87, 100]
    assert steps == sorted(steps)
    assert {of for _, of in steps} == {100}
    tasks_of = [build(text, seed) for seed in (5, 1_000_005, 2_000_005)]
    for task, length in zip(tasks_of, (34, 33, 33), strict=True):
        train(task, parse("Linear(0.1, 0, steps=34)"), steps=length)
    task = tasks_of[-1]
    several = ensemble(task.model, [one.model.state_dict() for one in tasks_of], "logits")
    for name, value in evaluate(several, task.test_loader, task.loss_fn, task.metrics).items():
        assert found.final(f"test_{name}") == pytest.approx(value, abs=1e-6)
    assert found.series("test_loss")[1][-1] == pytest.approx(
        evaluate(task.model, task.test_loader, task.loss_fn, task.metrics)["loss"]
    )
    for when in (10, 50, 90):  # before the first checkpoint, and with one and two trainings done

        def stop(step: int, *_: object, when: int = when) -> None:
            if step >= when:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_run(setup, folder=tmp_path / "run", progress=stop)
    assert make_run(setup, folder=tmp_path / "run").points == found.points


def test_independent_trainings_end_where_one_diverges(text):
    setup = Setup(task=text, policy="p", schedule="Constant(1e30).take(10).repeat(3)", seed=0, steps=30, eval_every=10,
                  finish="independent", members=(10, 20, 30))  # fmt: skip
    found = make_run(setup)
    assert found.status == "diverged"
    assert "independent_test_loss" not in found.points[-1]


def test_a_run_that_was_stopped_ends_alike(text, tmp_path):
    goal = plan(BOUNDS, steps=100, goal="ensemble")
    setup = Setup(task=text, policy="auto", schedule=repr(goal.schedule), seed=0, steps=100, eval_every=25,
                  finish="ensemble", members=goal.snapshots)  # fmt: skip
    expected = make_run(setup)

    class StoppedError(RuntimeError):
        pass

    for when in (10, 60, 90):  # before the first checkpoint, and with one and several snapshots

        def stop(step: int, *_: object, when: int = when) -> None:
            if step == when:
                raise StoppedError

        with pytest.raises(StoppedError):
            make_run(setup, folder=tmp_path / "run", progress=stop)
    again = make_run(setup, folder=tmp_path / "run")
    assert again.points == expected.points


def test_a_run_that_diverges_is_not_finished(text):
    setup = Setup(task=text, policy="p", schedule="Constant(1e30).take(20)", seed=0, steps=20, eval_every=20,
                  finish="ensemble", members=(10, 20))  # fmt: skip
    found = make_run(setup)
    assert found.status == "diverged"
    assert "ensemble_test_loss" not in found.points[-1]


def test_a_study_is_made_is_resumed_and_says_what_it_is(text, tmp_path):
    asked = {
        "policies": {"many": "warm_restarts", "linear": "linear", "apart": "linear"},
        "finish": {"many": "ensemble", "apart": "independent"},
        "rates": 0.1,
        "seeds": 2,
        "epochs": 5,
        "engine": Engine(workers=1),
        "curve": None,
        "out": tmp_path / "study",
    }
    made = compare(text, **asked)
    assert {run.policy: run.finish for run in made.runs} == {
        "many": "ensemble",
        "linear": "single",
        "apart": "independent",
    }
    assert compare(text, **asked) == made
    assert load(tmp_path / "study") == made
    assert not list((tmp_path / "study").rglob("*.safetensors"))  # gone with the checkpoints
    assert any("many: finishes as an ensemble of 3 snapshots" in note for note in made.notes)
    assert any("apart: finishes as an ensemble of 3 independent trainings of about 34" in note for note in made.notes)
    assert "same 100 steps" in made.notes[-1]
    with pytest.raises(ValueError, match=r"made with other settings \(finish"):
        compare(text, **{**asked, "finish": "average"})


@pytest.mark.parametrize(
    ("finish", "match"),
    [
        ("both", "finish must be one of 'single', 'average', 'ensemble'"),
        ({"auto": "ensembel"}, "did you mean 'ensemble'"),
        ({"other": "ensemble"}, "a name in finish must be one of"),
    ],
)
def test_a_bad_finish_is_named_before_any_work(finish, match):
    with pytest.raises(ValueError, match=match):
        compare("fashion", finish=finish)


@pytest.mark.parametrize("finish", ["ensemble", "independent"])
def test_a_task_whose_outputs_are_unknown_is_asked_for_them(finish):
    asked = asked_for("fashion", "auto,linear", 1, 5, "found", None, None, finish)
    facts = Facts(steps_per_epoch=10, metrics=("accuracy", "loss"), judge="test", tunable=True)
    with pytest.raises(ValueError, match="must say what its model returns for an ensemble"):
        _check_task(asked, facts)
    _check_task(asked, msgspec.structs.replace(facts, outputs="logits"))


def test_outputs_are_known_from_torchs_losses_or_as_the_task_says(text):
    task = toy(text)
    assert outputs_of(task) == "logits"
    for loss, kind in ((torch.nn.MSELoss(), "values"), (torch.nn.BCEWithLogitsLoss(), "binary_logits")):
        assert outputs_of(Task(task.model, task.optimizer, loss, task.train_loader)) == kind
    own = lambda outputs, targets: outputs.sum()
    assert outputs_of(Task(task.model, task.optimizer, own, task.train_loader)) is None
    assert outputs_of(Task(task.model, task.optimizer, own, task.train_loader, outputs="values")) == "values"
    with pytest.raises(ValueError, match="outputs must be one of"):
        Task(task.model, task.optimizer, own, task.train_loader, outputs="chances")


@pytest.mark.parametrize(
    ("given", "expected"),
    [((), "single"), (("average",), "average"), (("a=ensemble", "b = average"), {"a": "ensemble", "b": "average"})],
)
def test_the_shell_takes_one_finish_or_one_for_each_policy(given, expected):
    from cyclr._cli.compare import _finish

    assert _finish(given) == expected
    for wrong in (("average", "ensemble"), ("a=average", "a=ensemble")):
        with pytest.raises(ValueError, match="--finish must be one for all policies"):
            _finish(wrong)
