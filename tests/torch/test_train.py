"""The plain loop: equal to one written by hand, honest in its points, and resumed bit by bit."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from cyclr import Bounds, Constant, Opposed, Triangular, plan
from cyclr.torch import Checkpoint, Snapshots, Task, evaluate, train
from tests import forked
from tests.torch import trained
from tests.torch.networks import Net, data
from tests.torch.trained import WAVE, task


def weights(made: Task) -> list[Any]:
    return [tensor.tolist() for tensor in made.model.state_dict().values()]


# ---------------------------------------------------------------- what it does


def test_it_is_the_loop_that_one_writes_by_hand() -> None:
    made = task(0)
    points = train(made, WAVE, steps=23, eval_every=6)
    twin = task(0)  # seeds the randomness again
    losses: list[float] = []
    batches = (batch for _ in range(9) for batch in twin.train_loader)
    for step in range(23):
        for group, share in zip(twin.optimizer.param_groups, (1.0, 0.4), strict=True):
            group["lr"] = WAVE(step) if share == 1 else share * WAVE(step)
        x, y = next(batches)
        twin.optimizer.zero_grad()
        loss = twin.loss_fn(twin.model(x), y)
        loss.backward()
        twin.optimizer.step()
        losses.append(loss.item())
    assert weights(made) == weights(twin)
    assert [point["step"] for point in points] == [6, 12, 18, 23]
    assert [point["lr"] for point in points] == [WAVE(5), WAVE(11), WAVE(17), WAVE(22)]
    assert points[0]["loss"] == pytest.approx(sum(losses[:6]) / 6)
    assert points[-1]["loss"] == pytest.approx(sum(losses[18:]) / 5)
    final = evaluate(made.model, made.val_loader, made.loss_fn, made.metrics)
    assert {name: points[-1][f"val_{name}"] for name in final} == final
    assert set(points[0]) == {"step", "lr", "loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"}


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [({}, [10, 20, 25]), ({"eval_every": 100}, [25]), ({"eval_at": (7, 20, 99)}, [7, 10, 20, 25])],
)
def test_there_is_a_point_after_every_epoch_by_default_and_one_at_the_end(
    arguments: dict[str, int], steps: list[int]
) -> None:
    assert [point["step"] for point in train(task(0), WAVE, steps=25, **arguments)] == steps


def test_to_look_more_often_does_not_change_the_training() -> None:
    often = task(0)
    first = train(often, WAVE, steps=12, eval_every=1)
    seldom = task(0)
    last = train(seldom, WAVE, steps=12, eval_every=12)
    assert weights(often) == weights(seldom)
    assert first[-1]["val_loss"] == last[-1]["val_loss"]


def test_parts_in_evaluation_mode_stay_there_but_a_model_that_only_evaluates_is_trained() -> None:
    partly, wholly = task(0), task(0)
    wholly.model.eval()
    for made in (partly, wholly):
        train(made, WAVE, steps=1)
    assert (partly.model.training, partly.model.fixed.training) == (True, False)
    assert (wholly.model.training, wholly.model.fixed.training) == (True, True)


def test_momentum_and_weight_decay_can_be_driven() -> None:
    made = task(0)
    train(made, WAVE, steps=3, momentum=Opposed(WAVE, 0.8, 0.9), weight_decay=Constant(0.25))
    group = made.optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (Opposed(WAVE, 0.8, 0.9)(3), 0.25)


def test_progress_is_told_every_ten_steps_and_at_the_end() -> None:
    told: list[tuple[int, int, float, float]] = []
    train(task(0), WAVE, steps=25, progress=lambda *values: told.append(values))
    assert [values[:3] for values in told] == [(10, 25, WAVE(9)), (20, 25, WAVE(19)), (25, 25, WAVE(24))]
    assert all(math.isfinite(loss) for *_, loss in told)


def test_evaluation_leaves_flags_and_randomness_as_they_were() -> None:
    model = Net()
    flags, state = [module.training for module in model.modules()], torch.get_rng_state()
    modes = []
    model.head.register_forward_hook(lambda module, *_: modes.append(module.training))
    evaluate(model, DataLoader(data(), batch_size=8, shuffle=True), nn.functional.cross_entropy)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(modes)


def test_evaluation_counts_batches_by_their_size() -> None:
    model = nn.Identity()
    batches = [(torch.zeros(3, 1), torch.zeros(3, 1)), (torch.ones(1, 1), torch.zeros(1, 1))]
    found = evaluate(model, batches, nn.functional.mse_loss, {"mean": lambda outputs, targets: outputs.mean()})
    assert found == {"loss": 0.25, "mean": 0.25}


# ---------------------------------------------------------------- checkpoints


def test_a_training_killed_and_resumed_in_a_new_process_is_the_same_bit_by_bit(tmp_path: Path) -> None:
    expected = {}
    for kind in trained.LOADERS:
        made = task(0, kind)
        expected[kind] = train(made, WAVE, steps=37, eval_every=8), weights(made)
    # Killed in the middle of a pass over the data, between two points.
    program = "-m", "tests.torch.trained", tmp_path
    process = forked.Program(*program, "slowly", needs=forked.TORCH)
    assert process.stdout.readline().strip() == "all have begun"
    process.kill()
    process.communicate()
    forked.run(*program, needs=forked.TORCH, check=True)
    for kind in trained.LOADERS:
        points, end = torch.load(tmp_path / f"{kind}.pt", weights_only=True)
        assert points == expected[kind][0]
        assert end == expected[kind][1]


def test_a_finished_training_is_read_and_not_made_again(tmp_path: Path) -> None:
    made = task(0)
    points = train(made, WAVE, steps=12, checkpoint=tmp_path / "new" / "folder")
    again = task(0)
    again.model.register_forward_pre_hook(lambda *_: pytest.fail("trained again"))
    assert train(again, WAVE, steps=12, checkpoint=tmp_path / "new" / "folder") == points
    assert weights(again) == weights(made)
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["checkpoint.pt"]


def test_an_interrupted_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole = task(0)
    expected = train(whole, WAVE, steps=20, eval_every=10)
    seen = []

    def stop(step: int, *_: Any) -> None:
        seen.append(step)
        if step == 20 and len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task(0), WAVE, steps=20, eval_every=10, checkpoint=Checkpoint(tmp_path, every=7), progress=stop)
    made = task(0)
    points = train(made, WAVE, steps=20, eval_every=10, checkpoint=Checkpoint(tmp_path, every=7), progress=stop)
    assert seen == [10, 20, 20]  # it went on after step 14
    assert points == expected
    assert weights(made) == weights(whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(task(0), WAVE, steps=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"saved schedule must be .* got Triangular"):
        train(task(0), Triangular(0.5, 0.6, step_size=4), steps=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint.pt: steps must be that of the checkpoint, 4, got 5"):
        train(task(0), WAVE, steps=5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"eval_every must be that of the checkpoint"):
        train(task(0), WAVE, steps=4, eval_every=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"eval_at must be that of the checkpoint, \[\], got \[3\]"):
        train(task(0), WAVE, steps=4, eval_at=(3,), checkpoint=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_told_of_by_name(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    if content is None:
        train(task(0), WAVE, steps=4, checkpoint=tmp_path)
        file.write_bytes(file.read_bytes()[:-2000])
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint.pt: the checkpoint is damaged .* delete it to start again"):
        train(task(0), WAVE, steps=4, checkpoint=tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"model": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"must be a checkpoint of train"):
        train(task(0), WAVE, steps=4, checkpoint=tmp_path)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"task": task}, TypeError, "task must be"),
        ({"schedule": 0.1}, TypeError, "schedule must be a schedule"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"steps": 1.0}, TypeError, "steps must be"),
        ({"eval_every": 0}, ValueError, "eval_every must be"),
        ({"eval_at": (0, 5)}, ValueError, "eval_at must be"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder or a Checkpoint, got 3"),
        ({"progress": 3}, TypeError, "progress must be"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    made = task(0)
    before = weights(made)
    with pytest.raises(error, match=words):
        train(**{"task": made, "schedule": WAVE, "steps": 4, **arguments})
    assert weights(made) == before


def test_a_loader_without_length_and_batches_is_an_error() -> None:
    class Nothing(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    made = task(0)
    empty = Task(made.model, made.optimizer, made.loss_fn, DataLoader(Nothing()))
    assert empty.steps_per_epoch is None
    with pytest.raises(ValueError, match="must give at least one batch"):
        train(empty, WAVE, steps=3)
    with pytest.raises(ValueError, match="must give at least one batch"):
        evaluate(made.model, DataLoader(Nothing()), made.loss_fn)


def test_a_short_training_leaves_no_checkpoint_where_only_long_ones_are_worth_one(tmp_path: Path) -> None:
    expected = train(task(0), WAVE, steps=12, eval_every=2)
    assert train(task(0), WAVE, steps=12, eval_every=2, checkpoint=Checkpoint(tmp_path, seconds=1000)) == expected
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="seconds must not be negative"):
        Checkpoint(tmp_path, seconds=-1)
    with pytest.raises(ValueError, match="every must be"):
        Checkpoint(tmp_path, every=0)


def test_a_training_resumed_in_its_first_epoch_goes_on_with_the_snapshots_that_are_there(tmp_path):
    goal = plan(Bounds(0.01, 0.1), epochs=7, steps_per_epoch=10, goal="anytime")

    def made():
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        batches = [(torch.ones(4, 2), torch.ones(4, 1))] * 10
        return Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.mse_loss, batches)

    def stop(step, *_):
        if step == 10:
            raise KeyboardInterrupt

    for progress in (stop, None):
        task = made()
        snapshots = Snapshots(tmp_path / "snapshots", task.model, plan=goal)
        with contextlib.suppress(KeyboardInterrupt):
            train(task, goal.schedule, steps=70, snapshots=snapshots, progress=progress,
                  checkpoint=Checkpoint(tmp_path / "run", every=8))  # fmt: skip
        if progress is not None:  # the snapshot of step 10 is there, the checkpoint is of step 8
            assert [one.step for one in snapshots] == [10]
            kept = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
            assert kept["step"] == 8
    assert [one.step for one in snapshots] == [10, 30, 70]
    with pytest.raises(ValueError, match="must be empty for a training that starts at its first step"):
        task = made()
        train(
            task,
            goal.schedule,
            steps=70,
            snapshots=Snapshots(tmp_path / "snapshots", task.model, plan=goal),
        )
