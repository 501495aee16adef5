"""The scheduler: right rates for every group, stateless but for the step, safe to save, copy and drop."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import ChainedScheduler, CyclicLR, ExponentialLR, LinearLR, LRScheduler, SequentialLR

from cyclr import Constant, Linear, Opposed, Schedule, Triangular, Triangular2, WarmRestarts
from cyclr.torch import Scheduler
from tests import forked
from tests.torch import resumed

WAVE = Triangular(0.01, 0.05, step_size=4)
MOMENTUM = Opposed(WAVE, 0.85, 0.95)


def sgd(*, groups: int = 1, lr: Any = 0.1, **options: Any) -> torch.optim.SGD:
    parameters = [{"params": [nn.Parameter(torch.ones(2))]} for _ in range(groups)]
    return torch.optim.SGD(parameters, lr=lr, **{"momentum": 0.9, **options})


def rates(optimizer: torch.optim.Optimizer, key: str = "lr") -> list[float]:
    return [float(group[key]) for group in optimizer.param_groups]


def go(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = 1) -> list[list[float]]:
    seen = []
    for _ in range(steps):
        seen.append(rates(optimizer))
        optimizer.step()
        scheduler.step()
    return seen


def test_it_is_a_scheduler_of_torch() -> None:
    assert isinstance(Scheduler(sgd(), WAVE), LRScheduler)


@given(st.integers(1, 9), st.integers(0, 40))
def test_the_rate_is_the_schedule_at_the_step(step_size: int, steps: int) -> None:
    wave, optimizer = Triangular(0.01, 0.05, step_size=step_size), sgd(groups=2)
    scheduler = Scheduler(optimizer, wave)
    assert go(optimizer, scheduler, steps) == [[wave(step)] * 2 for step in range(steps)]
    assert scheduler.get_last_lr() == [wave(steps)] * 2


def test_it_equals_the_cyclic_scheduler_of_torch() -> None:
    ours, theirs = sgd(), sgd()
    own = go(ours, Scheduler(ours, WAVE), 100)
    other = go(theirs, CyclicLR(theirs, 0.01, 0.05, 4, cycle_momentum=False), 100)
    assert [rate for (rate,) in own] == pytest.approx([rate for (rate,) in other], rel=1e-12)


def test_a_wave_that_is_halved_1100_times_does_not_overflow() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, Triangular2(0.01, 0.05, step_size=1), last_epoch=2199)
    go(optimizer, scheduler, 3)
    assert scheduler.last_epoch == 2203
    assert rates(optimizer) == [pytest.approx(0.01)]


def test_a_list_gives_each_group_its_own_schedule() -> None:
    optimizer = sgd(groups=2)
    Scheduler(optimizer, [WAVE, 0.1 * WAVE], [Constant(0.5), MOMENTUM], [Constant(0.1), Constant(0.0)])
    assert rates(optimizer) == [WAVE(0), 0.1 * WAVE(0)]
    assert rates(optimizer, "momentum") == [0.5, MOMENTUM(0)]
    assert rates(optimizer, "weight_decay") == [0.1, 0.0]


def test_a_function_of_the_group_gives_each_group_its_schedule() -> None:
    optimizer = sgd(groups=2)
    optimizer.param_groups[1]["lr"] = 0.01
    Scheduler(optimizer, lambda group: group["initial_lr"] / 0.1 * WAVE)
    assert rates(optimizer) == pytest.approx([WAVE(0), 0.1 * WAVE(0)])
    Scheduler(
        optimizer, lambda group: group["initial_lr"] / 0.1 * WAVE
    )  # again: the initial rate is not the present one
    assert rates(optimizer) == pytest.approx([WAVE(0), 0.1 * WAVE(0)])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam])
def test_momentum_drives_the_first_beta_and_never_the_second(kind: Any) -> None:
    optimizer = kind([nn.Parameter(torch.ones(2))], lr=0.1, betas=(0.8, 0.98))
    scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM)
    for step in range(6):
        assert optimizer.param_groups[0]["betas"] == (MOMENTUM(step), 0.98)
        go(optimizer, scheduler)


def test_momentum_and_weight_decay_are_left_alone_unless_asked() -> None:
    optimizer = sgd(momentum=0.3, weight_decay=0.7)
    go(optimizer, Scheduler(optimizer, WAVE), 3)
    assert (rates(optimizer, "momentum"), rates(optimizer, "weight_decay")) == ([0.3], [0.7])


def test_the_betas_keep_their_kind_and_a_list_that_groups_share_is_not_written_to() -> None:
    shared = [0.9, 0.99]
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["betas"] = shared
    Scheduler(optimizer, WAVE, MOMENTUM)
    assert shared == [0.9, 0.99]
    assert optimizer.param_groups[0]["betas"] == [MOMENTUM(0), 0.99]


def test_tensors_are_filled_in_place() -> None:
    optimizer = torch.optim.Adam(
        [nn.Parameter(torch.ones(2))],
        lr=torch.tensor(0.1),
        betas=(torch.tensor(0.9), torch.tensor(0.99)),
        capturable=False,
        foreach=False,
    )
    group = optimizer.param_groups[0]
    group["weight_decay"] = torch.tensor(0.0)
    before = group["lr"], *group["betas"], group["weight_decay"]
    scheduler = Scheduler(optimizer, WAVE, MOMENTUM, Constant(0.5))
    scheduler.last_epoch = 2
    scheduler.load_state_dict(scheduler.state_dict())
    after = group["lr"], *group["betas"], group["weight_decay"]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert [float(value) for value in after] == pytest.approx([WAVE(2), MOMENTUM(2), 0.99, 0.5])


def test_groups_that_share_a_tensor_rate_still_get_rates_of_their_own() -> None:
    rate = torch.tensor(0.1)
    optimizer = sgd(groups=3, lr=rate)
    scheduler = Scheduler(optimizer, [WAVE, 0.5 * WAVE, WAVE])
    go(optimizer, scheduler, 2)
    assert rates(optimizer) == pytest.approx([WAVE(2), 0.5 * WAVE(2), WAVE(2)])
    assert optimizer.param_groups[0]["lr"] is rate


def test_the_rates_that_are_given_out_are_copies() -> None:
    optimizer = sgd(lr=torch.tensor(0.1))
    scheduler = Scheduler(optimizer, WAVE)
    scheduler.get_last_lr()[0].fill_(5)
    assert rates(optimizer) == pytest.approx([WAVE(0)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch has deprecated
def test_a_compiled_step_is_not_compiled_again_while_tensors_cycle() -> None:
    compiled = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    torch.compiler.reset()
    parameter = nn.Parameter(torch.ones(4))
    parameter.grad = torch.ones(4)
    betas = (torch.tensor(0.9), torch.tensor(0.99))
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1), betas=betas)
    optimizer.param_groups[0]["weight_decay"] = torch.tensor(0.01)
    scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM, weight_decay=0.1 * WAVE)
    step = torch.compile(optimizer.step, backend=backend)
    for _ in range(2):
        step()
        scheduler.step()
    first, values = compiled, set()
    for _ in range(200):
        step()
        scheduler.step()
        values.add(rates(optimizer)[0])
    assert first > 0
    assert len(values) == 5
    assert compiled == first


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_replayed_cuda_graph_uses_the_new_rate() -> None:
    parameter = nn.Parameter(torch.zeros(1, device="cuda"))
    parameter.grad = torch.ones(1, device="cuda")
    optimizer = torch.optim.SGD([parameter], lr=torch.tensor(0.1, device="cuda"))
    scheduler = Scheduler(optimizer, Linear(1.0, 0.0, steps=4))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    with torch.no_grad():
        parameter.zero_()
    for _ in range(4):
        graph.replay()
        scheduler.step()
    assert parameter.item() == pytest.approx(-(1 + 0.75 + 0.5 + 0.25))


# ---------------------------------------------------------------- saving


def test_the_state_is_plain_data_with_the_schedules_as_text(tmp_path: Path) -> None:
    optimizer = sgd(groups=2)
    scheduler = Scheduler(optimizer, [WAVE, 0.1 * WAVE], MOMENTUM)
    go(optimizer, scheduler, 3)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {
        "last_epoch": 3,
        "schedule": [repr(WAVE), repr(0.1 * WAVE)],
        "momentum": repr(MOMENTUM),
    }


@given(st.integers(0, 30), st.booleans())
def test_loading_sets_the_rates_at_once_and_leaves_the_dict_alone(steps: int, tensor: bool) -> None:
    first = sgd()
    scheduler = Scheduler(first, WAVE, MOMENTUM)
    go(first, scheduler, steps)
    state = scheduler.state_dict()
    kept = copy.deepcopy(state)
    second = sgd(lr=torch.tensor(0.1) if tensor else 0.1)
    resumed = Scheduler(second, WAVE, MOMENTUM)
    for _ in range(2):
        resumed.load_state_dict(state)
        assert state == kept
        assert rates(second) == [pytest.approx(WAVE(steps))]
        assert rates(second, "momentum") == [MOMENTUM(steps)]
        assert resumed.get_last_lr() == [pytest.approx(WAVE(steps))]
    assert go(second, resumed, 9) == [pytest.approx(rate) for rate in go(first, scheduler, 9)]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"last_epoch": 3, "schedule": "Constant(0.5)"}, r"got Constant\(0.5\) saved and Triangular\("),
        (
            {"last_epoch": 3, "schedule": ["Constant(0.5)"]},
            "the current one.*at the saved step, 3,",
        ),
        ({"last_epoch": 3, "schedule": repr(WAVE), "momentum": repr(MOMENTUM)}, "the saved momentum must be"),
        ({"last_epoch": 3}, "must be of a cyclr.torch.Scheduler"),
        ({}, "must be of a cyclr.torch.Scheduler"),
        ({"last_epoch": -9, "schedule": repr(WAVE)}, "last_epoch must be"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state: dict[str, Any], words: str) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE)
    go(optimizer, scheduler, 2)
    with pytest.raises(ValueError, match=words):
        scheduler.load_state_dict(state)
    assert (scheduler.last_epoch, rates(optimizer)) == (2, [WAVE(2)])
    assert go(optimizer, scheduler, 2) == [[WAVE(2)], [WAVE(3)]]


def test_a_training_resumed_in_a_new_process_is_the_same_bit_by_bit(tmp_path: Path) -> None:
    whole = {}
    for kind in resumed.KINDS:
        whole[kind] = resumed.run(kind, 0, 14)
        torch.save(resumed.run(kind, 0, 7), tmp_path / f"{kind}.pt")
    forked.run("-m", "tests.torch.resumed", tmp_path, needs=forked.TORCH, check=True)
    for number, (kind, _) in enumerate(resumed.JOBS):
        assert plain(torch.load(tmp_path / f"{number}.pt", weights_only=True)) == plain(whole[kind])


def plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def test_last_epoch_starts_at_the_step_after_it_as_in_torch() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE, last_epoch=9)
    assert (scheduler.last_epoch, rates(optimizer)) == (10, [WAVE(10)])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_copy_goes_on_with_its_own_optimizer(copied: Any, steps: int) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE, MOMENTUM)
    go(optimizer, scheduler, steps)
    other, twin = copied((optimizer, scheduler))
    assert twin.optimizer is other
    assert go(other, twin, 5) == go(optimizer, scheduler, 5)
    other.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    assert rates(other) == [WAVE(steps + 5)] * 2
    assert len(rates(optimizer)) == 1


# ---------------------------------------------------------------- groups that come later


@pytest.mark.parametrize(
    ("given_as", "options"),
    [(WAVE, {"same_rate": True}), (lambda group: WAVE, {})],
    ids=["one rate", "function"],
)
@pytest.mark.parametrize("tensor", [False, True])
def test_a_group_that_is_added_is_driven_from_its_first_step_on(given_as: Any, options: Any, tensor: bool) -> None:
    optimizer = sgd(lr=torch.tensor(0.1) if tensor else 0.1)
    scheduler = Scheduler(optimizer, given_as, momentum=MOMENTUM, **options)
    go(optimizer, scheduler, 2)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 5.0, "momentum": 0.1})
    assert rates(optimizer) == pytest.approx([WAVE(2)] * 2)
    assert rates(optimizer, "momentum") == [MOMENTUM(2)] * 2
    assert len(scheduler.get_last_lr()) == len(scheduler.base_lrs) == 2
    go(optimizer, scheduler, 1)
    assert rates(optimizer) == pytest.approx([WAVE(3)] * 2)
    again = sgd(groups=2)
    Scheduler(again, given_as, momentum=MOMENTUM, **options).load_state_dict(scheduler.state_dict())
    assert rates(again) == pytest.approx([WAVE(3)] * 2)


def test_a_group_put_into_the_list_by_hand_is_driven_from_the_next_step_on() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE)
    optimizer.param_groups.append({**optimizer.param_groups[0], "params": [nn.Parameter(torch.ones(1))]})
    go(optimizer, scheduler, 1)
    assert rates(optimizer) == [WAVE(1)] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schedule": [WAVE]}, "give a function of the group"),
        ({"schedule": WAVE, "momentum": [MOMENTUM]}, "give a function of the group"),
        ({"schedule": lambda group: WAVE if group["lr"] == 0.1 else None}, "schedule must be a schedule"),
    ],
)
def test_a_group_without_a_schedule_is_refused_and_not_added(arguments: dict[str, Any], words: str) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, **arguments)
    with pytest.raises((TypeError, ValueError), match=words):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 5.0})
    assert len(optimizer.param_groups) == 1
    go(optimizer, scheduler, 3)
    assert rates(optimizer) == [WAVE(3)]


def test_a_scheduler_that_is_gone_no_longer_minds_new_groups() -> None:
    optimizer = sgd()
    Scheduler(optimizer, [WAVE])
    gc.collect()
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    assert len(optimizer.param_groups) == 2


def test_in_a_sequence_a_new_group_gets_the_rate_of_the_scheduler_whose_turn_it_is() -> None:
    optimizer = sgd()
    parts = [Scheduler(optimizer, Linear(0.2, 0.3, steps=5)), Scheduler(optimizer, WAVE)]
    scheduler = SequentialLR(optimizer, parts, [5])
    go(optimizer, scheduler, 2)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    assert rates(optimizer) == [pytest.approx(0.24)] * 2
    go(optimizer, scheduler, 4)
    assert rates(optimizer) == [WAVE(1)] * 2


# ---------------------------------------------------------------- among torch's own


def test_it_takes_its_turn_in_a_sequence_and_resumes_there() -> None:
    def build() -> tuple[Any, Any]:
        optimizer = sgd()
        parts = [LinearLR(optimizer, 0.1, total_iters=3), Scheduler(optimizer, WAVE), Scheduler(optimizer, Constant(1))]
        return optimizer, SequentialLR(optimizer, parts, [3, 8])

    optimizer, scheduler = build()
    whole = [rate for (rate,) in go(optimizer, scheduler, 12)]
    assert whole[3:8] == [WAVE(step) for step in range(5)]
    assert whole[8:] == [1.0] * 4
    for at in range(12):
        optimizer, scheduler = build()
        go(optimizer, scheduler, at)
        states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
        other, resumed = build()
        resumed.load_state_dict(states[1])
        other.load_state_dict(states[0])
        assert [rate for (rate,) in go(other, resumed, 12 - at)] == whole[at:]


def test_it_may_be_the_first_of_a_chain() -> None:
    optimizer = sgd()
    chain = ChainedScheduler([Scheduler(optimizer, WAVE), ExponentialLR(optimizer, 1.0)])
    assert go(optimizer, chain, 6) == [[WAVE(step)] for step in range(6)]


def test_a_second_scheduler_on_the_optimizer_takes_over() -> None:
    optimizer = sgd()
    Scheduler(optimizer, WAVE)
    scheduler = Scheduler(optimizer, Constant(0.3))
    assert go(optimizer, scheduler, 2) == [[0.3], [0.3]]


def test_the_deprecated_epoch_argument_still_goes_to_a_step() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE)
    optimizer.step()
    with pytest.warns(UserWarning, match="epoch"):
        scheduler.step(3)
    assert rates(optimizer) == [WAVE(3)]


def test_a_step_before_the_optimizers_is_warned_of_as_in_torch() -> None:
    scheduler = Scheduler(sgd(), WAVE)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_nothing_keeps_scheduler_or_optimizer_alive() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, lambda group: WAVE, MOMENTUM)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    go(optimizer, scheduler, 2)
    gc.collect()
    gc.disable()
    try:
        watch, watched = weakref.ref(scheduler), weakref.ref(optimizer)
        del scheduler
        assert watch() is None
        del optimizer
        assert watched() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- bad input


@dataclass(frozen=True)
class Below(Schedule):
    """A user's schedule that goes below zero."""

    duration, lowest, highest = math.inf, -1.0, 1.0

    def value(self, step: float, xp: Any) -> float:
        return -1.0 + 0.0 * step

    def ends(self, until: int) -> tuple[int, ...]:
        return ()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"schedule": 0.1}, TypeError, "schedule must be a schedule"),
        ({"schedule": "Constant(0.1)"}, TypeError, "schedule must be a schedule"),
        ({"schedule": None}, TypeError, "schedule must be a schedule"),
        ({"schedule": []}, ValueError, "one schedule for each of the 2 groups"),
        ({"schedule": [WAVE]}, ValueError, "one schedule for each of the 2 groups"),
        ({"schedule": [WAVE] * 3}, ValueError, "one schedule for each of the 2 groups"),
        ({"schedule": [WAVE, 0.1]}, TypeError, "schedule must be a schedule"),
        ({"schedule": lambda group: 0.1}, TypeError, "schedule must be a schedule"),
        ({"schedule": Below()}, ValueError, "must not be negative"),
        ({"schedule": WAVE, "momentum": 0.9}, TypeError, "momentum must be a schedule"),
        ({"schedule": WAVE, "momentum": Constant(1.0)}, ValueError, "momentum must stay below 1"),
        ({"schedule": WAVE, "weight_decay": [WAVE]}, ValueError, "weight_decay must have one schedule"),
        ({"schedule": WAVE, "last_epoch": -2}, ValueError, "last_epoch must be"),
        ({"schedule": WAVE, "last_epoch": True}, TypeError, "last_epoch must be"),
        ({"schedule": WAVE, "last_epoch": 1.5}, TypeError, "last_epoch must be"),
    ],
)
def test_bad_input_is_refused_before_any_group_is_changed(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    optimizer = sgd(groups=2)
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(error, match=words):
        Scheduler(optimizer, **arguments)
    assert [dict(group) for group in optimizer.param_groups] == before
    assert "step" not in vars(optimizer)


def test_momentum_for_an_optimizer_without_any_is_refused_before_any_group_is_changed() -> None:
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="the optimizer must have momentum to drive"):
        Scheduler(optimizer, WAVE, MOMENTUM)
    assert rates(optimizer) == [0.1]


@pytest.mark.parametrize("optimizer", [None, 3, nn.Linear(1, 1), torch.optim.SGD])
def test_what_is_no_optimizer_is_refused(optimizer: Any) -> None:
    with pytest.raises(TypeError, match="optimizer must be"):
        Scheduler(optimizer, WAVE)


@given(st.integers(0, 2**53 - 1))
def test_any_step_can_be_resumed_at(step: int) -> None:
    optimizer = sgd()
    restarts = WarmRestarts(0.01, 0.1, period=7, growth=2)
    scheduler = Scheduler(optimizer, restarts)
    scheduler.load_state_dict({"last_epoch": step, "schedule": repr(restarts)})
    assert rates(optimizer) == [restarts(step)]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"factors": [1.0, 1.0]}, ValueError, "one for each of the 1 groups"),
        ({"factors": [math.nan]}, ValueError, "finite numbers of at least 0"),
        ({"factors": [-1.0]}, ValueError, "finite numbers of at least 0"),
        ({"factors": 0.5}, ValueError, "one for each of the 1 groups"),
        ({"last_epoch": 2.5}, TypeError, "last_epoch must be an integer"),
        ({"last_epoch": True}, TypeError, "last_epoch must be an integer"),
        (None, TypeError, "the state must be of a cyclr.torch.Scheduler"),
        ([], TypeError, "the state must be of a cyclr.torch.Scheduler"),
    ],
)
def test_a_state_that_is_damaged_is_an_error_that_changes_nothing(change: Any, error: type[Exception], words: str):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = Scheduler(optimizer, Linear(0.1, 0.0, steps=10))
    state = scheduler.state_dict() | {"last_epoch": 5}
    with pytest.raises(error, match=words):
        scheduler.load_state_dict(state | change if isinstance(change, dict) else change)
    assert (scheduler.last_epoch, optimizer.param_groups[0]["lr"]) == (0, 0.1)


def test_the_state_of_a_scheduler_that_counts_evaluations_is_not_taken_for_steps():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    plateau.step(1.0)
    scheduler = Scheduler(optimizer, Linear(0.1, 0.0, steps=10), on_mismatch="keep_new")
    with pytest.raises(ValueError, match="must count steps, got \"a ReduceLROnPlateau's"):
        scheduler.load_state_dict(plateau.state_dict())
