from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

import cyclr
from cyclr import Ramp
from cyclr.tasks import BUILT_IN
from cyclr.torch import Task, range_test, train
from cyclr.torch._batches import in_order

HERE = [name for name in BUILT_IN if name in ("fashion", "fashion-resnet", "digits", "text")]  # need no files


def function(name: str) -> Callable[..., Task]:
    if name == "digits":
        pytest.importorskip("sklearn")
    module, _, function_name = BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), function_name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_name_leads_to_a_task_function(name: str) -> None:
    module, _, function = BUILT_IN[name].partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert next(iter(parameters)) == "seed"
    assert parameters["tuning"].default is False


def test_the_table_of_names_loads_no_framework() -> None:
    code = "import sys, cyclr.tasks; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("name", HERE)
def test_every_task_goes_from_range_test_to_a_short_training(name: str) -> None:
    task = function(name)(0, tuning=True)
    assert task.test_loader is None
    curve = range_test(task, ramp=Ramp(steps=60))
    plan = cyclr.plan(curve.bounds(), steps=30, steps_per_epoch=task.steps_per_epoch)
    (point,) = train(task, plan.schedule, steps=30, eval_every=30)
    assert point["val_loss"] < curve.losses[0, 0]
    assert 0 < point["val_accuracy"] < 1


@pytest.mark.parametrize("name", HERE)
def test_a_range_test_knows_that_the_order_is_random(name: str) -> None:
    assert not in_order(function(name)(0).train_loader, 3)


@pytest.mark.parametrize("name", HERE)
def test_two_builds_with_one_seed_train_alike_bit_by_bit(name: str) -> None:
    states = []
    for seed in (1, 1, 2):
        task = function(name)(seed)
        train(task, cyclr.Constant(0.001), steps=3, eval_every=3)
        states.append(torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_small_residual_network_has_the_pictures_of_the_small_task() -> None:
    resnet, mlp = function("fashion-resnet")(0), function("fashion")(0)
    assert sum(parameter.numel() for parameter in resnet.model.parameters()) == 19_074
    for one, other in zip(resnet.train_loader.dataset.tensors, mlp.train_loader.dataset.tensors, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"network must be one of 'mlp', 'resnet'.*did you mean 'resnet'"):
        function("fashion")(0, network="resnt")
