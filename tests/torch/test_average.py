"""Averages of the weights: the recursion, its window, buffers, and a training that is looked at through one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclr import Constant
from cyclr.torch import Task, averaged_model, trailing_average, train

SHARES = st.floats(0.01, 1.0)


def one_weight() -> torch.nn.Module:
    return torch.nn.Linear(1, 1, bias=False).double()


def follow(values: list[float], share: float) -> float:
    """The average after the weight has taken on each of `values`."""
    model = one_weight()
    average = AveragedModel(model, multi_avg_fn=trailing_average(share))
    for value in values:
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    return average.module.weight.item()


@given(SHARES, st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_the_average_is_the_printed_recursion(share, values):
    expected = values[0]
    for step, value in enumerate(values[1:], start=2):
        expected += (value - expected) * min(1.0, 1 / (share * step))
    assert follow(values, share) == pytest.approx(expected, abs=1e-6)  # its weight is a float32


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_with_a_share_of_one_it_is_the_plain_mean(values):
    assert follow(values, 1.0) == pytest.approx(sum(values) / len(values), abs=1e-5)


@given(SHARES, st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_it_lies_between_the_least_and_the_greatest_weight(share, values):
    assert min(values) - 1e-6 <= follow(values, share) <= max(values) + 1e-6


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("steps", [400, 2000])
def test_the_window_is_the_same_share_of_a_short_and_of_a_long_training(share, steps):
    # a weight of 0 that becomes 1: after n steps more, a share of 1 - ((steps - n) / steps) ** (1 / share) is in
    late = round(share * steps)
    found = follow([0.0] * (steps - late) + [1.0] * late, share)
    assert found == pytest.approx(1 - (1 - late / steps) ** (1 / share), abs=0.02)
    assert found > 1 - math.exp(-1)


def test_buffers_are_averaged_and_counts_are_copied():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    average = averaged_model(model, 1.0)
    means = []
    for _ in range(4):
        model(torch.randn(8, 3))
        average.update_parameters(model)
        means.append(model[1].running_mean.clone())
    norm = average.module[1]
    assert norm.num_batches_tracked == model[1].num_batches_tracked == 4
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))


@pytest.mark.parametrize("share", [0, -1, 1.5, math.nan])
def test_a_share_outside_of_its_range_is_refused(share):
    with pytest.raises(ValueError, match="share must be"):
        trailing_average(share)


def noisy_task() -> Task:
    """A line through noise, at a rate at which the weight never comes to rest."""
    torch.manual_seed(3)
    x = torch.randn(400, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + torch.randn(400, 1)
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 200, 4)]
    model = torch.nn.Linear(4, 1)
    return Task(model, torch.optim.SGD(model.parameters()), torch.nn.functional.mse_loss, batches, [(x[200:], y[200:])])


def test_the_points_show_the_average_too_and_at_a_high_rate_it_is_the_better_one():
    task = noisy_task()
    average = averaged_model(task.model, 0.2)
    points = train(task, Constant(0.1), steps=200, eval_every=100, average=average)
    assert {"val_loss", "averaged_val_loss"} <= points[-1].keys()
    assert all(point["averaged_val_loss"] < point["val_loss"] for point in points)
    x, y = task.val_loader[0]
    with torch.no_grad():
        assert points[-1]["averaged_val_loss"] == pytest.approx(torch.nn.functional.mse_loss(average(x), y).item())


def test_an_average_leaves_the_training_as_it_is():
    plain, followed = noisy_task(), noisy_task()
    train(plain, Constant(0.1), steps=60)
    train(followed, Constant(0.1), steps=60, average=averaged_model(followed.model))
    torch.testing.assert_close(plain.model.state_dict(), followed.model.state_dict(), rtol=0, atol=0)


class StoppedError(RuntimeError):
    """What stops a training in these tests."""


def test_a_training_that_was_stopped_goes_on_with_its_average(tmp_path):
    whole = noisy_task()
    expected = averaged_model(whole.model)
    points = train(whole, Constant(0.1), steps=90, eval_every=30, average=expected)

    def stop(step: int, *_: object) -> None:
        if step == 40:
            raise StoppedError

    halves = noisy_task()
    with pytest.raises(StoppedError):
        train(halves, Constant(0.1), steps=90, eval_every=30, checkpoint=tmp_path, progress=stop,
              average=averaged_model(halves.model))  # fmt: skip
    halves = noisy_task()
    found = averaged_model(halves.model)
    again = train(halves, Constant(0.1), steps=90, eval_every=30, checkpoint=tmp_path, average=found)
    assert again == points
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match="written with an average"):
        train(noisy_task(), Constant(0.1), steps=90, eval_every=30, checkpoint=tmp_path)


def test_any_averaged_model_of_torch_will_do_and_nothing_else():
    task = noisy_task()
    points = train(
        task, Constant(0.1), steps=50, average=AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    )
    assert math.isfinite(points[-1]["averaged_val_loss"])
    with pytest.raises(TypeError, match="average must be an AveragedModel"):
        train(task, Constant(0.1), steps=50, average=task.model)
