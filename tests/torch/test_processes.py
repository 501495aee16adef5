"""Two real processes train one model: one curve for both, and no trace in either."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import forked

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    written = forked.ranks("-m", "tests.torch.processes", needs=forked.TORCH)
    return [json.loads(out.splitlines()[-1]) for out in written]


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_every_process_is_as_it_was(found: list[dict[str, Any]], kind: str) -> None:
    assert found[0][kind]["kept"]
    assert found[1][kind]["kept"]


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_the_curve_is_the_mean_and_the_same_for_all(found: list[dict[str, Any]], kind: str) -> None:
    one, other = found[0][kind], found[1][kind]
    means = [(first + second) / 2 for first, second in zip(one["alone"], other["alone"], strict=True)]
    assert one["losses"] == other["losses"] == pytest.approx(means, rel=1e-5)
    assert one["accuracy"] == other["accuracy"]
    assert one["seconds"] == other["seconds"] > 0, "plans of different lengths would leave a process waiting"


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_all_stop_together_when_the_loss_of_one_is_no_number(found: list[dict[str, Any]], kind: str) -> None:
    one, other = found[0][kind], found[1][kind]
    assert one["stops"] == other["stops"] == ["end", "non-finite"]
    assert one["calls"] == other["calls"] == 50


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_no_process_judges_by_itself_what_is_minimised(found: list[dict[str, Any]], kind: str) -> None:
    assert [one[kind]["loss_kind"] for one in found] == ["", ""]


def test_memory_is_one_further_copy_of_the_share_of_a_process(found: list[dict[str, Any]]) -> None:
    for one in found:
        if one["memory"] is None:
            pytest.skip("reads Linux's account of memory")
        added, copied = one["memory"]
        assert 0.9 * copied < added < 1.1 * copied


UNEVEN = """
import json, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from cyclr import Constant, HeldOut, Ramp
from cyclr.torch import Task, evaluate, range_test, train
torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
model = DistributedDataParallel(inner)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(23, 3), torch.randint(2, (23,))
batches = [(x[8 * rank :][:8], y[8 * rank :][:8])] * 4
held = [(x[i : i + 5], y[i : i + 5]) for i in (0, 5, 10, 15)] if rank == 0 else [(x[20:], y[20:])]
accuracy = lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()
metrics = {"accuracy": (accuracy, "max")}
loss = nn.functional.cross_entropy
task = Task(model, optimizer, loss, batches, held, metrics)
(point,) = train(task, Constant(0.1), steps=3, eval_every=3)
with torch.no_grad():
    for buffer in inner.buffers():  # those of the first process are the model's
        distributed.broadcast(buffer, src=0)
whole = evaluate(inner, [(x, y)], loss, metrics)
curve = range_test(model, optimizer, batches, loss, ramp=Ramp(1e-9, 1e-8, steps=5), held_out=HeldOut(held, metrics))
measured = curve.metrics["accuracy"][0, -1]
print(json.dumps([point, whole, measured]))
distributed.destroy_process_group()
"""


def test_each_held_out_example_counts_once_however_many_each_process_has() -> None:
    written = forked.ranks("-c", UNEVEN, needs=forked.TORCH)
    (point, whole, measured), other = (json.loads(out.splitlines()[-1]) for out in written)
    assert other[0] == point
    for key in ("loss", "accuracy"):
        assert point[f"val_{key}"] == pytest.approx(whole[key], rel=1e-5)
    assert measured * 23 == pytest.approx(round(measured * 23), abs=1e-4), "a share of all 23"
