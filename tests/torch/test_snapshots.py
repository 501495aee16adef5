"""Snapshots at cycle ends: when, which are kept, what is refused, and what a full disk and kill -9 leave behind."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, load_model, save_model

import cyclr
from cyclr import Constant, Linear, Triangular, one_cycle, warm_up
from cyclr.torch import Scheduler, Snapshots
from cyclr.torch._snapshots import Saving
from tests import forked

BOUNDS = cyclr.Bounds(0.01, 0.1)


def plan_of(*lengths: int) -> cyclr.Schedule:
    """Cycles of these lengths."""
    first, *rest = (one_cycle(0.1, steps=length, base_lr=0.01, shape="linear") for length in lengths)
    for part in rest:
        first = first >> part
    return first


class Training:
    """A model whose weight is the number of steps done."""

    def __init__(self, schedule, *, width: int = 1) -> None:
        self.model = torch.nn.Linear(width, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scheduler = Scheduler(self.optimizer, schedule)

    def step(self) -> None:
        self.optimizer.step()
        self.scheduler.step()
        torch.nn.init.constant_(self.model.weight, self.scheduler.last_epoch)

    def run(self, snapshots: Snapshots, steps: int) -> None:
        for _ in range(steps):
            self.step()
            snapshots.step()


def weight_in(path: Path) -> float:
    return load_file(path)["weight"][0, 0].item()


# ---------------------------------------------------------------- when, and which

LENGTHS = st.lists(st.integers(2, 12), min_size=1, max_size=6)


@given(LENGTHS)
def test_the_weights_of_every_cycle_end_are_saved_and_no_others(lengths):
    training = Training(plan_of(*lengths))
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Snapshots(folder, training.model, training.scheduler)
        training.run(snapshots, sum(lengths))
        ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
        assert [one.step for one in snapshots] == ends == list(snapshots.ends)
        assert [weight_in(one.path) for one in snapshots] == ends
        assert sorted(Path(folder).iterdir()) == sorted(snapshots.paths)  # nothing else, no draft


@given(LENGTHS, st.integers(1, 4))
def test_the_last_ones_are_kept(lengths, keep):
    training = Training(plan_of(*lengths))
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Snapshots(folder, training.model, training.scheduler, keep=keep)
        training.run(snapshots, sum(lengths))
        assert [one.step for one in snapshots] == list(snapshots.ends)[-keep:]
        assert sorted(Path(folder).iterdir()) == sorted(snapshots.paths)


@given(st.lists(st.floats() | st.just(0.5), min_size=1, max_size=6), st.integers(1, 3), st.sampled_from(["min", "max"]))
def test_the_best_ones_are_kept_in_the_direction_of_the_metric(values, keep, better):
    training = Training(plan_of(*[3] * len(values)))
    given_values = iter(values)
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Snapshots(
            folder, training.model, training.scheduler, keep=keep, metric=(lambda model: next(given_values), better)
        )
        training.run(snapshots, 3 * len(values))
        kept = {one.step // 3 - 1 for one in snapshots}
        assert repr(list(snapshots.values.values())) == repr(values)  # all were judged, nan equals nan
        assert len(kept) == min(keep, len(values))
        finite = [value for value in values if abs(value) < float("inf")]
        best = sorted(finite, reverse=better == "max")[:keep]
        assert sorted(values[place] for place in kept if values[place] in finite) == sorted(best)
        assert sorted(Path(folder).iterdir()) == sorted([*snapshots.paths, Path(folder, "values.json")])


def test_the_steps_are_those_of_the_plan_also_where_the_rate_does_not_fall(tmp_path):
    plan = cyclr.plan(BOUNDS, steps=100, goal="average", anneal=False)
    training = Training(plan)
    snapshots = Snapshots(tmp_path, training.model, training.scheduler)
    training.run(snapshots, 100)
    assert tuple(one.step for one in snapshots) == plan.snapshots == (84, 88, 92, 96, 100)


def test_one_call_for_an_epoch_is_enough_where_cycles_end_with_epochs(tmp_path):
    training = Training(plan_of(10, 20))
    snapshots = Snapshots(tmp_path, training.model, training.scheduler)
    for _ in range(6):
        for _ in range(5):
            training.step()
        snapshots.step()
    assert [one.step for one in snapshots] == [10, 30]


def test_calls_between_two_steps_change_nothing(tmp_path):
    training = Training(plan_of(4, 4))
    snapshots = Snapshots(tmp_path, training.model, training.scheduler)
    saved = 0
    for _ in range(8):
        training.step()
        for _ in range(3):  # batches whose gradients are accumulated
            saved += snapshots.step() is not None
    assert saved == 2


def test_a_cycle_end_that_was_passed_is_told_once_and_not_saved_late(tmp_path):
    training = Training(plan_of(12, 8))
    snapshots = Snapshots(tmp_path, training.model, training.scheduler)
    for _ in range(10):
        training.step()
    snapshots.step()
    for _ in range(5):
        training.step()
    with pytest.warns(UserWarning, match="no snapshot was saved at step 12"):
        assert snapshots.step() is None
    for _ in range(5):
        training.step()
    assert snapshots.step().name == "snapshot-20.safetensors"


def test_steps_may_be_counted_by_the_caller(tmp_path):
    training = Training(Constant(0.1))
    snapshots = Snapshots(tmp_path, training.model, plan=plan_of(4, 4))
    assert [snapshots.step(done) is not None for done in range(1, 9)] == [False, False, False, True] * 2
    with pytest.raises(ValueError, match="done must be given without a scheduler"):
        snapshots.step()


# ---------------------------------------------------------------- what the file is


def test_a_file_is_one_that_safetensors_and_transformers_know(tmp_path):
    training = Training(plan_of(4))
    snapshots = Snapshots(tmp_path, training.model, training.scheduler)
    training.run(snapshots, 4)
    other = torch.nn.Linear(1, 1)
    load_model(other, snapshots.paths[0])
    torch.testing.assert_close(other.state_dict(), training.model.state_dict(), rtol=0, atol=0)


class Tied(torch.nn.Module):
    """Shared weights under two names, a transposed view of them as a buffer, and a slice of a larger tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("part", torch.arange(8.0)[2:5])
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("short", torch.ones(2, dtype=torch.bfloat16))


def test_shared_weights_and_views_come_back(tmp_path):
    model, other = Tied(), Tied()
    snapshots = Snapshots(tmp_path, model, plan=plan_of(2))
    snapshots.step(2)
    weights, _ = cyclr.torch._members.read_member(snapshots.paths[0])
    torch.testing.assert_close(weights, dict(model.state_dict()), rtol=0, atol=0)
    cyclr.torch._members.load_member(other, snapshots.paths[0])
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert other.one.weight is other.other.weight
    assert Snapshots(tmp_path, Tied(), plan=plan_of(2)).paths == snapshots.paths
    del model.part
    save_model(model, tmp_path / "theirs.safetensors")  # safetensors' own does not take a slice
    del other.part
    cyclr.torch._members.check_members([tmp_path / "theirs.safetensors"], other)
    cyclr.torch._members.load_member(other, tmp_path / "theirs.safetensors")


def test_a_compiled_model_is_saved_under_its_own_names(tmp_path):
    model = torch.nn.Linear(2, 1)
    snapshots = Snapshots(tmp_path, torch.compile(model, backend="eager"), plan=plan_of(2))
    snapshots.step(2)
    assert set(load_file(snapshots.paths[0])) == {"weight", "bias"}


# ---------------------------------------------------------------- resuming, and what is refused


def test_a_resumed_training_continues_with_what_is_there(tmp_path):
    schedule = plan_of(5, 5, 5)
    first = Training(schedule)
    snapshots = Snapshots(tmp_path, first.model, first.scheduler)
    first.run(snapshots, 12)
    again = Training(schedule)
    later = Snapshots(tmp_path, again.model, again.scheduler)
    again.scheduler.load_state_dict(first.scheduler.state_dict())
    assert later.paths == snapshots.paths
    again.run(later, 3)
    assert [one.step for one in later] == [5, 10, 15]


def test_best_values_are_remembered(tmp_path):
    schedule = plan_of(5, 5, 5)
    values = iter([0.9, 0.2, 0.5])
    judge = (lambda model: next(values), "max")
    first = Training(schedule)
    first.run(Snapshots(tmp_path, first.model, first.scheduler, keep=1, metric=judge), 12)
    again = Training(schedule)
    again.scheduler.load_state_dict(first.scheduler.state_dict())
    later = Snapshots(tmp_path, again.model, again.scheduler, keep=1, metric=judge)
    again.run(later, 3)
    assert [(one.step, one.value) for one in later] == [(5, 0.9)]


def test_a_new_training_does_not_mix_with_an_earlier_one(tmp_path):
    for _ in range(2):
        training = Training(plan_of(5, 5))
        snapshots = Snapshots(tmp_path, training.model, training.scheduler)
        if not snapshots.paths:
            training.run(snapshots, 10)
    training.step()
    with pytest.raises(ValueError, match=r"must be empty for a training that starts .* steps 5, 10; choose another"):
        snapshots.step()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_new_training_is_known_by_its_scheduler_however_seldom_it_asks(tmp_path):
    first = Training(plan_of(10, 10))
    first.run(Snapshots(tmp_path, first.model, first.scheduler), 20)
    second = Training(plan_of(10, 10))
    snapshots = Snapshots(tmp_path, second.model, second.scheduler)
    for _ in range(5):
        second.step()
    with pytest.raises(ValueError, match="must be empty for a training that starts at its first step"):
        snapshots.step()
    assert weight_in(tmp_path / "snapshot-10.safetensors") == 10


def test_a_training_resumed_within_its_first_epoch_goes_on(tmp_path):
    plan = cyclr.plan(BOUNDS, epochs=7, steps_per_epoch=100, goal="anytime")
    first = Training(plan)
    snapshots = Snapshots(tmp_path, first.model, first.scheduler)
    first.run(snapshots, 90)
    state = first.scheduler.state_dict()
    first.run(snapshots, 30)
    again = Training(plan)
    again.scheduler.load_state_dict(state)
    later = Snapshots(tmp_path, again.model, again.scheduler)
    again.run(later, 210)
    assert [one.step for one in later] == [100, 300]


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is a folder where nobody can write, root included")
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_folder_that_cannot_be_written_to_is_told_before_the_training(on_error):
    training = Training(plan_of(3, 3))

    def made() -> Snapshots:
        return Snapshots("/sys/cyclr", training.model, training.scheduler, on_error=on_error)

    if on_error == "raise":
        with pytest.raises(OSError, match=r"snapshots cannot be saved .*'/sys/cyclr'"):
            made()
        return
    with pytest.warns(UserWarning, match="/sys/cyclr: snapshots cannot be saved .*; the training goes on") as told:
        training.run(made(), 6)
    assert len(told) == 1


def test_a_file_of_the_users_own_stays(tmp_path):
    (tmp_path / "probe").write_text("mine")
    training = Training(plan_of(3))
    training.run(Snapshots(tmp_path, training.model, training.scheduler), 3)
    assert (tmp_path / "probe").read_text() == "mine"


@pytest.mark.parametrize("killed", range(1, 16))
@pytest.mark.parametrize("keep", [1, 2, None])
def test_patience_goes_on_where_the_training_was_killed_whatever_was_kept(tmp_path, killed, keep):
    values = dict(zip((2, 4, 6, 8, 10, 12, 14), (0.9, 0.5, math.nan, 0.95, 0.3, 0.2, 0.1), strict=True))
    plan, at = plan_of(*[2] * 7), 0

    def saving():
        judge = (lambda model: values[at], "max")
        return Saving(tmp_path, None, keep=keep, metric=judge, patience=3, on_error="raise")

    training, own = Training(plan), saving()
    own.begin(training.model, training.scheduler, 0)
    for at in range(1, killed + 1):
        training.step()
        if own.step(at):
            break
    stopped = at
    if at == killed and killed < 14:
        state = training.scheduler.state_dict()
        training, own = Training(plan), saving()
        training.scheduler.load_state_dict(state)
        own.begin(training.model, training.scheduler, killed)
        for stopped in range(killed + 1, 15):
            at = stopped
            training.step()
            if own.step(at):
                break
    assert stopped == 14  # 0.95 at step 8, and three worse ones


def test_values_that_were_left_behind_do_not_count(tmp_path):
    def saving(*given):
        coming = iter(given)
        return Saving(
            tmp_path, None, keep=None, metric=(lambda model: next(coming), "max"), patience=2, on_error="raise"
        )

    training, own = Training(plan_of(2, 2, 2)), saving(0.9, 0.5)
    own.begin(training.model, training.scheduler, 0)
    for step in range(1, 5):
        training.step()
        assert not own.step(step)
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    training, own = Training(plan_of(2, 2, 2)), saving(0.1, 0.05, 0.2)
    own.begin(training.model, training.scheduler, 0)
    for step in range(1, 7):
        training.step()
        assert not own.step(step)


def test_an_extended_plan_goes_on_and_another_plan_is_refused(tmp_path):
    plan = cyclr.plan(BOUNDS, steps=40, goal="ensemble")
    training = Training(plan)
    training.run(Snapshots(tmp_path, training.model, training.scheduler), 40)
    longer = plan.extend(10)
    assert len(Snapshots(tmp_path, training.model, plan=longer)) == 5
    other = cyclr.plan(cyclr.Bounds(0.01, 0.2), steps=40, goal="ensemble")
    with pytest.raises(ValueError, match=r"snapshot-20.safetensors must be a snapshot of the same plan"):
        Snapshots(tmp_path, training.model, plan=other)
    with pytest.raises(ValueError, match="must be a snapshot of the same plan"):  # the same rates, other steps
        Snapshots(tmp_path, training.model, plan=plan.schedule.take(21))


def test_another_model_another_metric_and_a_damaged_file_are_refused(tmp_path):
    training = Training(plan_of(5, 5))
    training.run(Snapshots(tmp_path, training.model, training.scheduler), 10)
    with pytest.raises(ValueError, match=r"same model: weight is of shape \[1, 1\] in the file and of shape \[1, 2\]"):
        Snapshots(tmp_path, torch.nn.Linear(2, 1), plan=plan_of(5, 5))
    with pytest.raises(ValueError, match=r"same model: 0.bias is missing in the file"):
        Snapshots(tmp_path, torch.nn.Sequential(torch.nn.Linear(1, 1)), plan=plan_of(5, 5))
    with pytest.raises(ValueError, match="judged by accuracy, max, got 'no metric'"):
        accuracy = lambda model: 0.5
        accuracy.__name__ = "accuracy"
        Snapshots(tmp_path, training.model, plan=plan_of(5, 5), keep=1, metric=accuracy)
    (tmp_path / "snapshot-5.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"snapshot-5.safetensors: the snapshot is damaged"):
        Snapshots(tmp_path, training.model, plan=plan_of(5, 5))


class Extra(torch.nn.Linear):
    def get_extra_state(self):
        return {"epoch": 3}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"model": torch.nn.Linear}, TypeError, "model must be a torch.nn.Module"),
        ({"model": Extra(1, 1)}, TypeError, "_extra_state in the model's state_dict must be a tensor"),
        ({"plan": None}, ValueError, "plan must be given without a cyclr.torch.Scheduler"),
        ({"plan": Triangular(0.1, 0.2, step_size=3)}, ValueError, "the schedule must end, to know where to save"),
        ({"plan": "final"}, TypeError, "plan must be a Plan or a Schedule"),
        ({"keep": 0}, ValueError, "keep must be a positive integer"),
        ({"keep": 1, "metric": lambda model: 1}, ValueError, "must say which way is better"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of 'raise', 'warn'"),
        ({"scheduler": 3}, TypeError, "scheduler must be a learning-rate scheduler"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, options, error, match):
    given = {"model": torch.nn.Linear(1, 1), "plan": plan_of(3)} | options
    with pytest.raises(error, match=match):
        Snapshots(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_schedule_without_a_cycle_end_is_refused(tmp_path):
    assert Linear(0.1, 0.2, steps=5).cycle_ends() == ()
    with pytest.raises(ValueError, match="the schedule must have a cycle that ends"):
        Snapshots(tmp_path, torch.nn.Linear(1, 1), plan=Linear(0.1, 0.2, steps=5))


# ---------------------------------------------------------------- without an end

STABLE = warm_up(Constant(0.1), steps=5)


@given(every=st.integers(1, 9), steps=st.integers(0, 40), keep=st.integers(1, 4) | st.none())
def test_an_endless_training_is_saved_every_so_often(every, steps, keep):
    with tempfile.TemporaryDirectory() as folder:
        made = Training(STABLE)
        snapshots = Snapshots(folder, made.model, made.scheduler, every=every, keep=keep)
        made.run(snapshots, steps)
        due = list(range(every, steps + 1, every))
        assert [one.step for one in snapshots] == (due[-keep:] if keep else due)
        assert [weight_in(path) for path in snapshots.paths] == [one.step for one in snapshots]


def test_it_keeps_the_best_stops_and_goes_on_also_every_other_so_often(tmp_path):
    values = iter([0.3, 0.9, 0.5, 0.8, 0.7])
    judge = (lambda model: next(values), "max")
    first = Training(STABLE)
    saving = Saving(tmp_path, None, every=3, keep=2, metric=judge, patience=4, on_error="raise")
    saving.begin(first.model, first.scheduler, 0)
    for done in range(1, 11):
        first.step()
        assert not saving.step(done)
    assert [(one.step, one.value) for one in saving.snapshots] == [(6, 0.9), (9, 0.5)]
    assert saving.snapshots.needed == 8
    assert str(saving.snapshots.cost()) == "At step 10 the rate is 0.1, 100% of its peak; no further cycle ends."
    again = Training(STABLE)
    again.scheduler.load_state_dict(first.scheduler.state_dict())
    later = Snapshots(tmp_path, again.model, again.scheduler, every=4, keep=2, metric=judge)
    again.run(later, 6)
    assert [(one.step, one.value) for one in later] == [(6, 0.9), (12, 0.8)]
    with pytest.raises(ValueError, match="must be empty for a training that starts at its first step"):
        Training(STABLE).run(Snapshots(tmp_path, again.model, Training(STABLE).scheduler, every=4, metric=judge), 1)
    with pytest.raises(ValueError, match="must be a snapshot of the same plan"):
        Snapshots(tmp_path, again.model, Training(Constant(0.2)).scheduler, every=4, metric=judge)


def test_patience_counts_saves_of_an_endless_training(tmp_path):
    values, made = iter([0.3, 0.2, 0.1]), Training(STABLE)
    judge = (lambda model: next(values), "max")
    saving = Saving(tmp_path, None, every=3, keep=None, metric=judge, patience=2, on_error="raise")
    saving.begin(made.model, made.scheduler, 0)
    stops = []
    for done in range(1, 10):
        made.step()
        stops.append(saving.step(done))
    assert stops == [False] * 8 + [True]


@pytest.mark.parametrize("plan", [plan_of(5, 5), Triangular(0.1, 0.2, step_size=4).take(16)])
def test_every_so_often_is_refused_where_cycles_end(tmp_path, plan):
    with pytest.raises(ValueError, match="every must be left out where the schedule ends: snapshots are taken where"):
        Snapshots(tmp_path / "new", torch.nn.Linear(1, 1), plan=plan, every=5)
    with pytest.raises(ValueError, match=r"the schedule must end, to know where to save, .* pass every=steps"):
        Snapshots(tmp_path / "new", torch.nn.Linear(1, 1), plan=STABLE)
    with pytest.raises(ValueError, match="every must be"):
        Snapshots(tmp_path / "new", torch.nn.Linear(1, 1), plan=STABLE, every=0)
    assert not (tmp_path / "new").exists()


def test_a_save_that_was_passed_is_told(tmp_path):
    made = Training(STABLE)
    snapshots = Snapshots(tmp_path, made.model, made.scheduler, every=4)
    for _ in range(6):
        made.step()
    with pytest.warns(UserWarning, match="no snapshot was saved at step 4, as every 4 steps"):
        snapshots.step()


# ---------------------------------------------------------------- disks


def test_the_disk_that_is_needed_is_told_and_checked(tmp_path, caplog):
    model = torch.nn.Linear(1000, 1000, bias=False)  # 4 MB
    with caplog.at_level("INFO", "cyclr"):
        every = Snapshots(tmp_path, model, plan=plan_of(3, 3, 3, 3))
    assert every.needed == 16_000_000
    assert "16 MB for snapshots of 4 MB each" in caplog.text
    assert Snapshots(tmp_path, model, plan=plan_of(3, 3, 3, 3), keep=2).needed == 12_000_000
    every.step(3)
    assert every.needed == 12_000_000
    assert every.paths[0].stat().st_size == pytest.approx(4_000_000, rel=0.01)
    with pytest.raises(OSError, match=r"snapshots cannot be saved \(needs 4.* GB for snapshots of .* are free\)"):
        Snapshots(tmp_path / "new", Vast(), plan=plan_of(*[3] * 1000))
    with pytest.warns(UserWarning, match="the training goes on"):
        Snapshots(tmp_path / "other", Vast(), plan=plan_of(*[3] * 1000), on_error="warn")


class Vast(torch.nn.Module):
    """4 TB, none of them in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1).expand(1_000_000, 1_000))


def test_a_file_in_place_of_the_folder_stops_at_once_or_only_warns(tmp_path):
    (tmp_path / "taken").write_text("mine")
    training = Training(plan_of(3, 3))
    with pytest.raises(OSError, match=r"snapshots cannot be saved \(Not a directory\).*taken"):
        Snapshots(tmp_path / "taken", training.model, training.scheduler)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        snapshots = Snapshots(tmp_path / "taken", training.model, training.scheduler, on_error="warn")
        training.run(snapshots, 6)
    (only,) = said
    assert re.search(r"taken: snapshots cannot be saved .*; the training goes on", str(only.message))
    assert len(snapshots) == 0
    assert (tmp_path / "taken").read_text() == "mine"


FULL = """
import resource, sys, torch, warnings
from cyclr import one_cycle
from cyclr.torch import Snapshots

model = torch.nn.Linear(1000, 100)
cycle = one_cycle(0.1, steps=2, base_lr=0.01)
snapshots = Snapshots(sys.argv[1], model, plan=cycle >> cycle >> cycle >> cycle, keep=2, on_error=sys.argv[2])
for step in range(1, 9):
    if step == 5:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may be larger: a write fails half way
    snapshots.step(step)
print("went on")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_full_disk_leaves_the_last_good_snapshots(tmp_path, on_error):
    done = forked.run("-c", FULL, tmp_path, on_error, needs=forked.TORCH)
    said = "the snapshot at step 6 was not saved (File too large); the 2 saved before are complete"
    last = done.stderr.strip().splitlines()
    if on_error == "raise":
        assert done.returncode == 1
        assert last[-1] == f"OSError: [Errno 27] {said}: '{tmp_path}'"
    else:
        assert (done.returncode, done.stdout) == (0, "went on\n")
        assert sum("UserWarning" in line for line in last) == 1
        assert f"{tmp_path}: {said}; the training goes on" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot-2.safetensors", "snapshot-4.safetensors"]
    assert all(load_file(path)["weight"].shape == (100, 1000) for path in tmp_path.iterdir())


KILLED = """
import sys, torch
from cyclr import one_cycle
from cyclr.torch import Snapshots

model = torch.nn.Linear(1500, 1000)  # 6 MB
cycle = one_cycle(0.1, steps=2, base_lr=0.01)
schedule = cycle.repeat(1000)
snapshots = Snapshots(sys.argv[1], model, plan=schedule, keep=2)
begin = max((one.step for one in snapshots), default=0)
print(begin, flush=True)
for step in range(begin + 1, 2001):
    torch.nn.init.constant_(model.weight, step)
    snapshots.step(step)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kill_9_never_leaves_half_a_file_and_the_same_command_goes_on(tmp_path):
    moments, reached = random.Random(3), 0
    for _ in range(4):
        process = forked.Program("-c", KILLED, tmp_path, needs=forked.TORCH)
        began = int(process.stdout.readline())
        assert began >= reached
        time.sleep(moments.uniform(0.1, 0.5))
        process.kill()
        process.communicate(timeout=60)
        files = {int(path.stem.split("-")[1]): path for path in tmp_path.glob("snapshot-*.safetensors")}
        assert files
        for step, path in files.items():
            assert (load_file(path)["weight"] == step).all()
        reached = max(files)
    assert reached > 8
    with warnings.catch_warnings():
        Snapshots(tmp_path, torch.nn.Linear(1500, 1000), plan=one_cycle(0.1, steps=2, base_lr=0.01).repeat(1000))
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}  # drafts are gone


# ---------------------------------------------------------------- several processes

TWO = """
import json, os, sys, torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
from cyclr import one_cycle
from cyclr.torch import Snapshots

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
if sys.argv[2] == "sharded":
    model = fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
else:
    model = nn.parallel.DistributedDataParallel(model)
cycle = one_cycle(0.1, steps=2, base_lr=0.01)
values = iter([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]])
judge = (lambda model: next(values)[rank], "max")
snapshots = Snapshots(sys.argv[1], model, plan=cycle.repeat(3), keep=2, metric=judge)
wrote = [snapshots.step(step) is not None for step in range(1, 7)]
print(json.dumps([wrote, [one.step for one in snapshots]]))
distributed.barrier()
distributed.destroy_process_group()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="gloo")
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_of_several_processes_the_first_writes_the_whole_model(tmp_path, kind):
    said = forked.ranks("-c", TWO, tmp_path / "snapshots", kind, needs=forked.TORCH)
    assert json.loads(said[0]) == json.loads(said[1]) == [[False, True] * 3, [4, 6]]
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    for path in (tmp_path / "snapshots").glob("*.safetensors"):
        torch.testing.assert_close(load_file(path), dict(model.state_dict()), rtol=0, atol=0)
