"""Tasks, and what is done with a batch."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import Ramp
from cyclr.torch import Task, auto, range_test
from cyclr.torch._batches import moved, size_of
from tests.torch.networks import data, training

LOADER = DataLoader(data(10), batch_size=4)


def parts(**changes: Any) -> dict[str, Any]:
    made = training(warm=False)
    given = {"model": made.model, "optimizer": made.optimizer, "loss_fn": made.loss_fn, "train_loader": LOADER}
    return {**given, **changes}


def test_an_epoch_has_as_many_steps_as_the_loader_has_batches() -> None:
    assert Task(**parts()).steps_per_epoch == 3


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": nn.Linear}, TypeError, "model must be"),
        ({"optimizer": "SGD"}, TypeError, "optimizer must be"),
        ({"loss_fn": 3}, TypeError, "loss_fn must be callable"),
        ({"train_loader": iter(LOADER)}, TypeError, "train_loader must be .* not an iterator"),
        ({"train_loader": None}, TypeError, "train_loader must be a loader"),
        ({"train_loader": []}, ValueError, "train_loader must hold at least one batch"),
        ({"train_loader": DataLoader(TensorDataset(torch.ones(3)), 4, drop_last=True)}, ValueError, "smaller than one"),
        ({"val_loader": []}, ValueError, "val_loader must hold"),
        ({"test_loader": iter(LOADER)}, TypeError, "test_loader must be"),
        ({"metrics": [len]}, TypeError, "metrics must be a mapping"),
        ({"metrics": {"accuracy": 0.5}}, TypeError, "metrics\\['accuracy'\\] must be a function"),
        ({"metrics": {3: len}}, TypeError, "a name in metrics"),
    ],
)
def test_a_task_checks_its_parts(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Task(**parts(**changes))


def test_an_optimizer_without_a_rate_is_refused() -> None:
    given = parts()
    del given["optimizer"].param_groups[0]["lr"]
    with pytest.raises(ValueError, match="group 0 of optimizer must have a learning rate"):
        Task(**given)


Pair = namedtuple("Pair", "x y")


class Tokens(dict[str, Any]):
    """As the batches of tokenizers: a mapping that moves itself."""

    def to(self, device: torch.device) -> Tokens:
        return Tokens({key: value.to(device) for key, value in self.items()})


def test_every_tensor_of_a_batch_is_moved_and_containers_keep_their_kind() -> None:
    meta, one = torch.device("meta"), torch.ones(2)
    batch = {"a": [one, (one, "text")], "b": Pair(one, 3), "c": Tokens(d=one), "e": None}
    there = moved(batch, meta)
    tensors = [there["a"][0], there["a"][1][0], there["b"].x, there["c"]["d"]]
    assert all(tensor.device == meta for tensor in tensors)
    assert [type(part) for part in (there["a"], there["a"][1], there["b"])] == [list, tuple, Pair]
    assert (there["a"][1][1], there["b"].y, there["e"]) == ("text", 3, None)
    assert one.device.type == "cpu"


def test_a_batch_that_is_there_already_is_not_copied() -> None:
    one = torch.ones(2)
    assert moved((one, one), torch.device("cpu"))[0] is one
    assert moved((one, one), None)[0] is one


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        ((torch.ones(3, 2), torch.ones(3)), 3),
        ({"x": torch.ones(5, 2), "y": torch.ones(5)}, 5),
        (torch.ones(4), 4),
        ([torch.ones(2), "text"], 2),
        (torch.tensor(1.0), 1),
        ("text", 1),
    ],
)
def test_the_size_of_a_batch_is_that_of_its_tensors(batch: Any, size: int) -> None:
    assert size_of(batch) == size


def test_a_range_test_and_auto_take_a_task_in_place_of_its_parts() -> None:
    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    batches = list(zip(x.split(16), x.sum(1, keepdim=True).split(16), strict=True))

    def made() -> Task:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        return Task(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.functional.mse_loss, batches, batches)

    one, other = made(), made()
    parts = (other.model, other.optimizer, other.train_loader, other.loss_fn)
    ramp = Ramp(1e-4, steps=60)
    assert np.array_equal(range_test(one, ramp=ramp).losses, range_test(*parts, ramp=ramp).losses, equal_nan=True)
    assert auto(one, epochs=10).plan == auto(*parts, epochs=10).plan
    with pytest.raises(TypeError, match="optimizer must be left out if a task is given"):
        range_test(one, one.optimizer)
    with pytest.raises(TypeError, match="loss_fn must be left out if a task is given"):
        auto(one, loss_fn=one.loss_fn, epochs=1)
