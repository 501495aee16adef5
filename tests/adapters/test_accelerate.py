"""Accelerate's loops: steps are counted right however batches are shared, and checkpoints hold the schedule."""

import json

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
import cyclr  # noqa: E402 - needs the two above
from cyclr.torch import Scheduler  # noqa: E402
from tests import forked  # noqa: E402

SHARINGS = ("shard", "split", "dispatch", "split dispatch")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes saw."""
    folder = tmp_path_factory.mktemp("accelerate")
    forked.ranks("-m", "tests.adapters.accelerate_modes", folder, needs=forked.ACCELERATE)
    one, two = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == two
    return one


def updates(sharing, accumulate):
    """Updates in an epoch of 8 batches: with `split` each batch is halved, otherwise each process takes every other."""
    return (8 if "split" in sharing else 4) // accumulate


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_scheduler_of_ones_own_counts_updates(found, sharing, accumulate):
    assert found[f"own {sharing} {accumulate}"] == list(range(updates(sharing, accumulate)))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_prepared_scheduler_counts_the_steps_of_one_process_unless_batches_are_split(found, sharing, accumulate):
    stride = 1 if "split" in sharing else 2  # Accelerate steps it once for each process
    assert found[f"prepared {sharing} {accumulate}"] == [stride * n for n in range(updates(sharing, accumulate))]


def test_two_steps_of_a_prepared_scheduler_for_one_of_the_optimizer_are_not_warned_of(found):
    assert found["told"] == []


# ---------------------------------------------------------------- another schedule on a checkpoint

WAVE = cyclr.Triangular(1e-3, 1e-2, step_size=7)
OTHER = cyclr.Triangular(1e-4, 5e-3, step_size=9)
SHORT, LONG = cyclr.Linear(0.01, 0, steps=20), cyclr.Linear(0.01, 0, steps=40)


def run(folder, make, *, prepared, resume):
    """20 steps of a training, saved in the folder or gone on from there; the rates that they used."""
    accelerator = accelerate.Accelerator(cpu=True)
    network = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    scheduler = make(optimizer)
    network, optimizer = accelerator.prepare(network, optimizer)
    scheduler = accelerator.prepare(scheduler) if prepared else scheduler
    if not prepared:
        accelerator.register_for_checkpointing(scheduler)
    if resume:
        accelerator.load_state(str(folder))
    used = []
    for _ in range(20):
        used.append(optimizer.param_groups[0]["lr"])
        accelerator.backward(network(torch.ones(2, 3)).square().mean())
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    if not resume:
        accelerator.save_state(str(folder))
    return used


def cyclic(optimizer):
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 1e-2, step_size_up=3)


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)


@pytest.mark.filterwarnings("ignore:the training has made")
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize(
    ("before", "new", "keep", "follows"),
    [
        (lambda one: Scheduler(one, SHORT), LONG, "keep_new", LONG),
        (lambda one: Scheduler(one, SHORT), LONG, "keep_saved", SHORT),
        (lambda one: Scheduler(one, WAVE), OTHER, "keep_new", OTHER),
        (lambda one: Scheduler(one, WAVE), OTHER, "keep_saved", WAVE),
        (cyclic, OTHER, "keep_new", OTHER),
        (cosine, OTHER, "keep_new", OTHER),
    ],
)
def test_a_checkpoint_goes_on_with_the_schedule_that_is_asked_for(tmp_path, prepared, before, new, keep, follows):
    run(tmp_path, before, prepared=prepared, resume=False)
    used = run(tmp_path, lambda one: Scheduler(one, new, on_mismatch=keep), prepared=prepared, resume=True)
    assert used == pytest.approx([follows(step) for step in range(20, 40)])


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("before", [lambda one: Scheduler(one, WAVE), cyclic])
def test_a_checkpoint_of_another_schedule_is_an_error_otherwise(tmp_path, prepared, before):
    run(tmp_path, before, prepared=prepared, resume=False)
    with pytest.raises(ValueError, match="keep_new"):
        run(tmp_path, lambda one: Scheduler(one, OTHER), prepared=prepared, resume=True)
