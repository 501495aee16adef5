"""The range test: what it records is true, when it ends is right, and it leaves no trace."""

from __future__ import annotations

import copy
import gc
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from cyclr import Ramp, Triangular
from cyclr.torch import Scheduler, _update, range_test
from tests import forked
from tests.torch.digest import digest
from tests.torch.networks import OPTIMIZERS, Net, Training, data, training
from tests.torch.short import grouped

cross_entropy = nn.functional.cross_entropy


def look(made: Training) -> str:
    return digest(made.model, made.optimizer, **made.parts())


def run(made: Training, **options: Any) -> Any:
    arguments = {"low": 1e-5, "high": 1.0, "steps": 12, "repeats": 2, **options}
    return range_test(made.model, made.optimizer, made.loader, made.loss_fn, **grouped(**arguments))


class Meter:
    """An optimizer's place, which notes the rates that it is stepped with."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.rates: list[list[float]] = []
        optimizer.register_step_pre_hook(
            lambda self_, *_: self.rates.append([float(group["lr"]) for group in self_.param_groups])
        )


# ---------------------------------------------------------------- what it records


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_the_losses_are_those_of_a_plain_loop_at_the_same_rates(scale: str) -> None:
    made = training("SGD", own_generator=False)
    twin = copy.deepcopy((made.model, made.optimizer))
    state = torch.get_rng_state()
    curve = run(made, repeats=1, scale=scale, high=0.5)
    expected, model, optimizer = [], *twin
    torch.set_rng_state(state)
    batches = (batch for _ in range(9) for batch in made.loader)
    for rate in curve.rates:
        for group, share in zip(optimizer.param_groups, (1.0, 0.4), strict=True):
            group["lr"] = rate * share
        x, y = next(batches)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert curve.losses[0].tolist() == expected
    assert curve.stops == ("end",)
    assert curve.scale == scale
    assert (curve.rates[0], curve.rates[-1]) == (1e-5, pytest.approx(0.5))


def test_groups_keep_the_ratios_of_their_rates_and_the_largest_is_recorded() -> None:
    made = training()
    meter = Meter(made.optimizer)
    curve = run(made, repeats=1)
    assert [max(rates) for rates in meter.rates] == curve.rates.tolist()
    assert all(other == pytest.approx(rate * 0.4) for rate, other in meter.rates)


def test_a_tensor_rate_is_filled_in_place() -> None:
    made = training()
    rate = made.optimizer.param_groups[0]["lr"] = torch.tensor(0.05)
    seen = []
    made.optimizer.register_step_pre_hook(lambda self, *_: seen.append(self.param_groups[0]["lr"] is rate))
    run(made, repeats=1)
    assert seen == [True] * 12
    assert made.optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.05)


def test_each_repeat_starts_from_the_same_weights_with_other_batches() -> None:
    made = training(own_generator=False)
    made.model.eval()
    starts, batches = [], []

    def step(batch: Any) -> torch.Tensor:
        if len(batches) % 5 == 0:
            starts.append(made.model.head.weight.detach().clone())
        batches.append(batch[0])
        with torch.no_grad():
            made.model.head.weight += 1
        return torch.tensor(1.0)

    run(made, steps=5, repeats=3, update=step)
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2])
    assert not torch.equal(batches[0], batches[5])


def test_it_is_the_same_again_from_the_same_random_state_and_another_from_another() -> None:
    made = training(own_generator=False)
    one, two = run(made), run(made)
    torch.rand(1)
    three = run(made)
    assert np.array_equal(one.losses, two.losses)
    assert not np.array_equal(one.losses, three.losses)
    assert not np.array_equal(one.losses[0], one.losses[1])


def test_held_out_data_is_looked_at_in_evaluation_mode_after_the_update() -> None:
    made = training(own_generator=False)
    held = DataLoader(data(30), batch_size=8)
    flags, grads = [], []

    def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        flags.append(made.model.training)
        grads.append(torch.is_grad_enabled())
        return (outputs.argmax(1) == targets).float().mean()

    def error_rate(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return 1 - accuracy(outputs, targets).item()

    metrics = {"accuracy": accuracy, "error_rate": error_rate}
    curve = run(made, val_loader=held, val_every=4, metrics=metrics, high=0.01)
    assert list(curve.metrics) == ["val_loss", "accuracy", "error_rate"]
    assert curve.maximize == {"accuracy"}
    assert not any(flags)
    assert not any(grads)
    for rows in curve.metrics.values():
        assert np.isfinite(rows).nonzero()[1].tolist() == [0, 3, 7, 11] * 2
    assert curve.metrics["accuracy"][:, 3] == pytest.approx(1 - curve.metrics["error_rate"][:, 3], abs=1e-6)
    # A look must not change what is trained.
    assert np.array_equal(curve.losses, run(made, high=0.01).losses)


def test_a_look_every_so_often_is_the_default() -> None:
    curve = run(training(), steps=40, repeats=1, val_loader=DataLoader(data(8), batch_size=8), high=1e-3)
    looks = np.flatnonzero(np.isfinite(curve.metrics["val_loss"][0])).tolist()
    assert looks == [0, *range(1, 40, 2)]  # the first one shows what there was before the training


def test_progress_is_told_after_each_block() -> None:
    told: list[tuple[int, int, float, float]] = []
    curve = run(training(), steps=25, high=1e-3, progress=lambda *values: told.append(values))
    assert [step for step, *_ in told] == [10, 20, 25, 35, 45, 50]
    assert {total for _, total, *_ in told} == {50}
    assert [rate for *_, rate, _ in told[:3]] == [curve.rates[9], curve.rates[19], curve.rates[24]]
    assert told[0][3] == curve.losses[0, 9]


# ---------------------------------------------------------------- what it leaves


def raising(
    error: type[BaseException] | None, at: int
) -> tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], Callable[[], bool]]:
    """A loss that raises when it has been called `at` times, with None never; and whether it got so far."""
    calls = 0

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if error is not None and calls > at:
            raise error("on purpose")
        return cross_entropy(outputs, targets)

    return loss_fn, lambda: calls > at


@settings(max_examples=settings.default.max_examples // 2)
@given(
    st.sampled_from(sorted(OPTIMIZERS)),
    st.sampled_from([RuntimeError, KeyboardInterrupt, None]),
    st.integers(0, 30),
    st.booleans(),
)
def test_no_trace_is_left_whatever_happens_at_whichever_step(
    optimizer: str, error: type[BaseException] | None, at: int, looks: bool
) -> None:
    made = training(optimizer)
    before = look(made)
    made.loss_fn, got_there = raising(error, at)
    options = {"val_loader": DataLoader(data(16), batch_size=8, shuffle=True), "val_every": 5} if looks else {}
    caught = None
    try:
        run(made, scaler=made.scaler, scheduler=made.scheduler, **options)
    except (RuntimeError, KeyboardInterrupt) as raised:
        caught = type(raised)
    assert caught is (error if got_there() else None)
    assert look(made) == before


def batches_of(kind: str) -> Any:
    """Few batches: pairs, dicts, a stream without length; all shorter than the ramp."""
    if kind == "stream":
        return DataLoader(Stream(), batch_size=2)
    pairs = list(DataLoader(data(24), batch_size=8))
    return pairs if kind == "pairs" else [{"x": x, "y": y} for x, y in pairs]


def own_step(made: Training, loss_fn: Callable[..., torch.Tensor], kind: str) -> Callable[[Any], torch.Tensor]:
    def step(batch: Any) -> torch.Tensor:
        made.optimizer.zero_grad()
        loss = loss_fn(made.model, batch) if kind == "dicts" else loss_fn(made.model(batch[0]), batch[1])
        made.scaler.scale(loss).backward()
        made.scaler.step(made.optimizer)
        made.scaler.update()
        return loss

    return step


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples // 2)
@given(
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    kind=st.sampled_from(["pairs", "dicts", "stream"]),
    below=st.sampled_from([0.0, 9.0]),
    own=st.booleans(),
    how=st.fixed_dictionaries(
        {
            "accumulate": st.integers(1, 3),
            "clip_norm": st.sampled_from([None, 0.1]),
            "autocast": st.sampled_from([None, torch.bfloat16]),
        }
    ),
    options=st.fixed_dictionaries(
        {
            "ramp": st.sampled_from(["log", "linear"]),
            "effort": st.sampled_from(["quick", "thorough"]),
            "high": st.sampled_from([1e-3, 10.0]),
        }
    ),
    looks=st.booleans(),
    error=st.sampled_from([RuntimeError, KeyboardInterrupt, None]),
    at=st.integers(0, 120),
)
def test_no_trace_is_left_in_any_combination_of_situations(
    optimizer: str, kind: str, below: float, own: bool, how: Any, options: Any, looks: bool, error: Any, at: int
) -> None:
    made = training(optimizer, warm=at % 2 == 0)  # with frozen and tied parameters, BatchNorm, two groups, a scheduler
    made.loader = batches_of(kind)
    calls = 0

    def loss_fn(*given: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if error is not None and calls > at:
            raise error("on purpose")
        outputs, targets = (given[0](given[1]["x"]), given[1]["y"]) if kind == "dicts" else given
        return cross_entropy(outputs, targets) - below

    made.loss_fn = loss_fn
    if looks:
        options |= {"val_loader": made.loader, "val_every": 10}
    options |= {"update": own_step(made, loss_fn, kind)} if own else {**how, "scaler": made.scaler}
    before, caught, curve = look(made), None, None
    try:
        curve = run(made, steps=30, repeats=1, scheduler=made.scheduler, **options)
    except (RuntimeError, KeyboardInterrupt) as raised:
        caught = type(raised)
    assert caught is (error if calls > at else None)
    assert curve is None or np.isfinite(curve.losses[0, 0])
    assert look(made) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_memory_is_one_further_copy_of_weights_and_optimizer_state() -> None:
    peaks = forked.run("-c", PEAKS, needs=forked.TORCH, check=True)
    bare, tested, copied = map(float, peaks.stdout.split())
    assert 0.9 * copied < tested - bare < 1.1 * copied


PEAKS = """
import ctypes
import torch
from cyclr import Ramp
from cyclr.torch import range_test

def peak():  # the highest of this program; getrusage would also count the process that started it
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

ctypes.CDLL(None).mallopt(-3, 1_000_000)  # M_MMAP_THRESHOLD: otherwise glibc keeps some of what is given back
torch.set_num_threads(1)
small = torch.nn.Linear(1, 1)
once = [(torch.ones(1, 1), torch.zeros(1, 1))]  # what is imported at the first test is no copy
loss_fn = torch.nn.functional.mse_loss
sgd = torch.optim.SGD(small.parameters(), lr=1.0, momentum=0.9)
range_test(small, sgd, once, loss_fn, ramp=Ramp(high=1e-5, steps=2))
model = torch.nn.Linear(2048, 2048, bias=False)  # 16 MB; with momentum 32 MB
optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
batches = [(torch.ones(1, 2048), torch.zeros(1, 2048))]
for x, y in 3 * batches:
    optimizer.zero_grad()
    loss_fn(model(x), y).backward()
    optimizer.step()
optimizer.zero_grad()
bare = peak()
range_test(model, optimizer, batches, loss_fn, ramp=Ramp(1e-9, 1e-8, steps=3), repeats=2)
print(bare, peak(), 32)
"""


def test_no_trace_is_left_after_a_loss_that_is_no_number() -> None:
    made = training()
    before = look(made)
    curve = run(made, steps=60, high=1e12)
    assert set(curve.stops) <= {"diverged", "non-finite"}
    assert look(made) == before


class Margin(nn.Module):
    """A loss with a buffer and a count of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.mean += outputs.detach().mean(0)
        return cross_entropy(outputs - 0.01 * self.mean, targets)


@pytest.mark.parametrize("bound", [False, True])
def test_a_loss_and_metrics_with_state_of_their_own_are_put_back(bound: bool) -> None:
    made, loss, metric = training(), Margin(), Margin()
    made.loss_fn = loss.forward if bound else loss
    run(made, val_loader=made.loader, metrics={"margin": (metric.forward if bound else metric, "max")})
    assert (loss.calls, metric.calls) == (0, 0)
    assert (loss.mean == 0).all()
    assert (metric.mean == 0).all()


def test_an_attached_scheduler_is_not_stepped() -> None:
    made = training()
    steps = made.scheduler.last_epoch
    seen = []

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(made.scheduler.last_epoch)
        return cross_entropy(outputs, targets)

    made.loss_fn = loss_fn
    run(made, scheduler=made.scheduler)
    assert set(seen) == {steps}


def test_flags_hold_during_the_test_but_a_model_that_only_evaluates_is_trained() -> None:
    made = training()
    flags = []

    def step(batch: Any) -> torch.Tensor:
        flags.append((made.model.training, made.model.fixed.training))
        return torch.tensor(1.0)

    run(made, update=step, repeats=1)
    made.model.eval()
    run(made, update=step, repeats=1)
    assert flags == [(True, False)] * 12 + [(True, True)] * 12
    assert not made.model.training


# ---------------------------------------------------------------- when it ends


def quadratic(rate: float = 1.0) -> Training:
    """A loss that falls, then explodes once the rate is above 2."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    batches = [(torch.ones(1, 1), torch.zeros(1, 1))]
    return Training(model, optimizer, batches, loss_fn=lambda output, target: (output - target).square().mean() / 2)


@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_a_ramp_ends_where_what_was_gained_is_lost(offset: float) -> None:
    made = quadratic()
    inner = made.loss_fn
    made.loss_fn = lambda output, target: inner(output, target) + offset
    curve = run(made, low=1e-3, high=1e3, steps=120, repeats=1)
    assert curve.stops == ("diverged",)
    known = np.isfinite(curve.losses[0])
    end = int(known.sum())
    assert known[:end].all()
    assert 2 < curve.rates[end - 1] < 50
    assert curve.tuning_cost == end


def test_two_losses_that_are_no_numbers_end_a_ramp_and_what_is_beyond_is_no_evidence() -> None:
    made, calls = quadratic(), 0

    def loss_fn(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return output.sum() * (math.nan if calls in (15, 16) else 1e-9)

    made.loss_fn = loss_fn
    curve = run(made, steps=40, repeats=1)
    assert curve.stops == ("non-finite",)
    assert np.isfinite(curve.losses[0]).nonzero()[0].tolist() == list(range(14))
    assert calls == 20  # the rest of its block ran on unseen; no further block did


@pytest.mark.parametrize("how", [{}, {"clip_norm": 0.5}, {"autocast": torch.bfloat16}, {"accumulate": 2}])
@pytest.mark.parametrize("bad", [3, 24])
def test_a_bad_batch_is_passed_over_and_its_gradient_is_not_used(bad: int, how: dict[str, Any]) -> None:
    made, calls = training("Adam"), 0
    loss_fn = made.loss_fn

    def sometimes_bad(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return loss_fn(output, target) * (math.nan if calls == bad * how.get("accumulate", 1) else 1)

    made.loss_fn = sometimes_bad
    before = look(made)
    curve = run(made, steps=40, repeats=1, high=1e-2, **how)
    assert curve.stops == ("end",)
    assert curve.passed_over == ((bad - 1,),)
    assert curve.tuning_cost == 40
    assert look(made) == before


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_at_the_first_step_is_an_error(value: float) -> None:
    made = quadratic()
    made.loss_fn = lambda output, target: output.sum() * value
    before = made.model.weight.detach().clone()
    with pytest.raises(ValueError, match="finite at the first step, before any update"):
        run(made)
    assert torch.equal(made.model.weight, before)


# ---------------------------------------------------------------- all kinds of batches, loaders and steps


class Stream(IterableDataset[Any]):
    def __init__(self, size: int = 6) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.ones(4), torch.tensor(0))] * self.size)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream(), batch_size=2),
        DataLoader(data(10), batch_size=4),
        [(torch.ones(2, 4), torch.tensor([0, 1]))],
    ],
    ids=["stream without length", "three batches", "list of one"],
)
def test_a_loader_shorter_than_the_ramp_is_started_again(loader: Any) -> None:
    made = training()
    made.loader = loader
    assert np.isfinite(run(made, high=1e-3).losses).all()


def test_a_sampler_of_one_process_of_several_is_told_of_each_pass_and_put_back() -> None:
    made = training()
    sampler = DistributedSampler(data(), num_replicas=2, rank=1)
    sampler.set_epoch(7)
    made.loader = DataLoader(data(), batch_size=10, sampler=sampler)
    told = []
    original = sampler.set_epoch
    sampler.set_epoch = lambda number: (told.append(number), original(number))
    run(made, repeats=1, steps=5)
    assert told == [7, 8, 9]
    assert sampler.epoch == 7


def test_batches_that_are_no_pairs_go_whole_to_the_loss() -> None:
    made = training()
    made.loader = [{"x": torch.ones(2, 4), "y": torch.tensor([0, 1]), "more": [("text", torch.ones(1))]}]

    def loss_fn(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        assert batch["more"][0][0] == "text"
        return cross_entropy(model(batch["x"]), batch["y"])

    made.loss_fn = loss_fn
    curve = run(
        made, high=1e-3, val_loader=made.loader, metrics={"size": (lambda model, batch: len(batch["x"]), "max")}
    )
    assert np.isfinite(curve.losses).all()
    assert curve.metrics["size"][0, -1] == 2


def test_accumulation_averages_and_makes_one_update_of_several_batches() -> None:
    whole, split = quadratic(), quadratic()
    x, y = torch.randn(8, 1), torch.randn(8, 1)
    whole.loader = [(x, y)]
    split.loader = list(zip(x.chunk(4), y.chunk(4), strict=True))
    meter = Meter(split.optimizer)
    one, two = run(whole, repeats=1, high=0.1), run(split, repeats=1, high=0.1, accumulate=4)
    assert two.losses == pytest.approx(one.losses, rel=1e-5)
    assert [rate for (rate,) in meter.rates if rate] == pytest.approx(one.rates)  # at zero for the order of the data


def test_the_gradient_is_clipped() -> None:
    made = quadratic()
    made.loss_fn = lambda output, target: 1e3 * output.sum()
    norms = []
    made.optimizer.register_step_pre_hook(lambda *_: norms.append(made.model.weight.grad.norm().item()))
    run(made, repeats=1, clip_norm=0.5)
    assert norms == pytest.approx([0.5] * 12, rel=1e-4)
    norms.clear()
    run(made, repeats=1, clip_norm=0.5, scaler=torch.amp.GradScaler("cpu", init_scale=8.0))
    assert norms == pytest.approx([0.5] * 12, rel=1e-4)


def test_a_scaler_scales_and_autocast_computes_in_the_given_type() -> None:
    made = training()
    types = []
    made.model.head.register_forward_hook(lambda module, arguments, output: types.append(output.dtype))
    curve = run(made, high=1e-3, repeats=1, scaler=made.scaler, autocast=torch.bfloat16)
    assert set(types) == {torch.bfloat16}
    assert np.isfinite(curve.losses).all()


def test_a_step_of_the_users_own_takes_the_place_of_ours() -> None:
    made = quadratic()

    def step(batch: Any) -> torch.Tensor:
        made.optimizer.zero_grad()
        loss = made.model(batch[0]).square().mean() / 2
        loss.backward()
        made.optimizer.step()
        return loss

    own = range_test(
        made.model, made.optimizer, made.loader, repeats=1, ramp=Ramp(low=1e-3, high=1, steps=30), update=step
    )
    ours = range_test(
        made.model, made.optimizer, made.loader, made.loss_fn, repeats=1, ramp=Ramp(low=1e-3, high=1, steps=30)
    )
    assert np.array_equal(own.losses, ours.losses)


def test_a_compiled_model_is_tested_without_being_compiled_for_each_rate() -> None:
    compiled = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    loader = DataLoader(data(), batch_size=8)
    curve = range_test(
        torch.compile(plain, backend=backend), optimizer, loader, cross_entropy, ramp=Ramp(high=1e-2, steps=30)
    )
    assert compiled == 1
    assert np.isfinite(curve.losses).all()


def test_no_trace_is_left_of_a_compiled_model_whatever_happens_at_whichever_step() -> None:
    made = training()
    made.model = torch.compile(
        plain := nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)), backend="eager"
    )
    made.optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01)
    made.scheduler = Scheduler(made.optimizer, Triangular(0.001, 0.02, step_size=4))
    made.epoch()

    @settings(max_examples=settings.default.max_examples // 5)
    @given(st.sampled_from([RuntimeError, KeyboardInterrupt, None]), st.integers(0, 30))
    def no_trace(error: type[BaseException] | None, at: int) -> None:
        before, caught = look(made), None
        made.loss_fn, got_there = raising(error, at)
        try:
            run(made, scheduler=made.scheduler, autocast=torch.bfloat16 if at % 2 else None)
        except (RuntimeError, KeyboardInterrupt) as raised:
            caught = type(raised)
        assert caught is (error if got_there() else None)
        assert look(made) == before

    no_trace()


class Reads(TorchDispatchMode):
    """Counts how often a number is read out of a tensor, for which a device would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("how", [{}, {"clip_norm": 0.5}, {"accumulate": 3}, {"autocast": torch.bfloat16}])
def test_no_step_reads_a_number_out_of_a_tensor(how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made, blocks = training("SGD", warm=False), []
    monkeypatch.setattr(_update, "AT_HAND", ())  # a CPU takes the way of the other devices, which must be waited for
    made.loader = batches_of("pairs")  # a sampler reads its order
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: (blocks.append(len(self)), tolist(self))[1])
    reads, counts = Reads(), []
    with reads:
        run(made, steps=40, repeats=1, high=1e-3, progress=lambda *_: counts.append(reads.count), **how)
    assert blocks == [10, 10, 10, 10]
    assert len(set(counts)) == 1  # of the transaction before the first step, none in between


@pytest.mark.parametrize("budget", [None, 200])
def test_the_time_of_a_step_is_that_of_a_step(budget: int | None) -> None:
    spent, x, model = [], torch.randn(400, 4), nn.Linear(4, 1)
    optimizer, batches = torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(TensorDataset(x, x.sum(1)), 8)

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        time.sleep(0.02)
        spent.append(time.perf_counter() - began)
        return nn.functional.mse_loss(outputs[:, 0], targets)

    curve = range_test(model, optimizer, batches, loss_fn, ramp=Ramp(1e-4, 1e-3, 30), budget=budget)
    assert len(spent) >= (54 if budget else 30), "two reference batches before each step"
    assert 0.5 < curve.step_seconds / np.median(spent) < 2.5, "with the evaluations it would be three times as long"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_batches_are_moved_and_the_device_is_waited_for_once_a_block() -> None:
    made = training(warm=False)
    made.model.cuda()
    waits = 0
    original = torch.Tensor.tolist

    def tolist(self: torch.Tensor) -> Any:
        nonlocal waits
        waits += self.is_cuda
        return original(self)

    torch.Tensor.tolist = tolist
    torch.cuda.set_sync_debug_mode("default")
    try:
        curve = run(made, steps=40, repeats=1, high=1e-3)
    finally:
        torch.Tensor.tolist = original
    assert waits == 4
    assert np.isfinite(curve.losses).all()


def set_in_the_group(made: Training) -> None:
    for group in made.optimizer.param_groups:
        group["lr"] = 0.01


def set_for_one_group(made: Training) -> None:
    made.optimizer.param_groups[-1]["lr"] *= 2


def set_by_a_scheduler(made: Training) -> None:
    torch.optim.lr_scheduler.LambdaLR(made.optimizer, lambda step: 0.5)


def set_in_a_tensor(made: Training) -> None:
    made.optimizer.param_groups[0]["lr"].fill_(0.01)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("setter", [set_in_the_group, set_for_one_group, set_by_a_scheduler, set_in_a_tensor])
@pytest.mark.parametrize("before", [True, False])
def test_a_step_function_that_sets_the_rate_is_an_error_unless_it_does_so_after_the_step(
    setter: Callable[[Training], None], before: bool
) -> None:
    made = training()
    if setter is set_in_a_tensor:
        for group in made.optimizer.param_groups:
            group["lr"] = torch.tensor(0.1)

    def step(batch: Any) -> torch.Tensor:
        made.optimizer.zero_grad()
        loss = cross_entropy(made.model(batch[0]), batch[1])
        loss.backward()
        if before:
            setter(made)
        made.optimizer.step()
        if not before:
            setter(made)
        return loss

    start, hooks = look(made), len(made.optimizer._optimizer_step_pre_hooks)
    how = {"update": step, "ramp": Ramp(1e-4, 1e-2, steps=12)}
    if before:
        with pytest.raises(ValueError, match="the step function must not set the learning rate"):
            range_test(made.model, made.optimizer, made.loader, **how)
    else:
        assert np.isfinite(range_test(made.model, made.optimizer, made.loader, **how).losses).all()
    assert look(made) == start
    assert len(made.optimizer._optimizer_step_pre_hooks) == hooks


def test_a_closure_that_sets_the_rate_is_an_error() -> None:
    made = training()

    def step(batch: Any) -> torch.Tensor:
        def closure() -> torch.Tensor:
            made.optimizer.zero_grad()
            loss = cross_entropy(made.model(batch[0]), batch[1])
            loss.backward()
            made.optimizer.param_groups[0]["lr"] = 0.01
            return loss

        return made.optimizer.step(closure)

    with pytest.raises(ValueError, match="the step function must not set the learning rate"):
        range_test(made.model, made.optimizer, made.loader, update=step, ramp=Ramp(1e-4, 1e-2, steps=12))


@pytest.mark.parametrize("whole", [True, False], ids=["list", "one group"])
def test_a_step_function_that_replaces_the_groups_is_an_error(whole: bool) -> None:
    made = training()

    def step(batch: Any) -> torch.Tensor:
        groups = [dict(group, lr=0.01) for group in made.optimizer.param_groups]
        if whole:
            made.optimizer.param_groups = groups
        else:
            made.optimizer.param_groups[0] = groups[0]
        made.optimizer.zero_grad()
        loss = cross_entropy(made.model(batch[0]), batch[1])
        loss.backward()
        made.optimizer.step()
        return loss

    start = look(made)
    with pytest.raises(ValueError, match="must keep the groups of the optimizer"):
        range_test(made.model, made.optimizer, made.loader, update=step, ramp=Ramp(1e-4, 1e-2, steps=12))
    assert look(made) == start


def test_a_step_function_that_moves_weights_by_new_data_is_an_error() -> None:
    made = training()

    def step(batch: Any) -> torch.Tensor:
        made.optimizer.zero_grad()
        loss = cross_entropy(made.model(batch[0]), batch[1])
        loss.backward()
        for parameter in made.model.parameters():
            if parameter.grad is not None:
                parameter.data = parameter.data - 0.01 * parameter.grad
        return loss

    with pytest.raises(ValueError, match="must step the optimizer"):
        range_test(made.model, made.optimizer, made.loader, update=step, ramp=Ramp(1e-4, 1e-2, steps=12))


# ---------------------------------------------------------------- bad input


def exhausted() -> Any:
    return iter([(torch.ones(2, 4), torch.tensor([0, 1]))])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": 3}, TypeError, "model must be"),
        ({"optimizer": 3}, TypeError, "optimizer must be"),
        ({"loader": []}, ValueError, "loader must hold at least one batch"),
        ({"loader": DataLoader(TensorDataset(torch.ones(0, 4)))}, ValueError, "loader must hold at least one batch"),
        ({"loader": exhausted()}, TypeError, "not an iterator"),
        ({"loader": 3}, TypeError, "loader must be"),
        ({"loss_fn": None}, TypeError, "loss_fn must be callable"),
        ({"low": 1.0, "high": 0.1}, ValueError, "low must not exceed high"),
        ({"low": 1.0, "high": 1.0}, ValueError, "must differ"),
        ({"low": 0}, ValueError, "low must be positive"),
        ({"low": -1}, ValueError, "low must be positive"),
        ({"low": math.nan}, ValueError, "low must be finite"),
        ({"high": math.inf}, ValueError, "high must be finite"),
        ({"high": True}, TypeError, "high must be a number"),
        ({"high": "1"}, TypeError, "high must be a number"),
        ({"steps": 1}, ValueError, "steps must be"),
        ({"steps": 10.0}, TypeError, "steps must be"),
        ({"repeats": 0}, ValueError, "repeats must be"),
        ({"scale": "exp"}, ValueError, "scale must be one of"),
        ({"ramp": 300}, TypeError, "ramp must be a cyclr.Ramp"),
        ({"held_out": [1]}, TypeError, "held_out must be a cyclr.HeldOut"),
        ({"accumulate": 0}, ValueError, "accumulate must be"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive"),
        ({"autocast": True}, TypeError, "autocast must be"),
        ({"val_loader": []}, ValueError, "loader must hold"),
        ({"val_loader": [1], "val_every": 0}, ValueError, "every must be"),
        ({"val_loader": [1], "metrics": {"score": cross_entropy}}, ValueError, "must say which way is better"),
        ({"val_loader": [1], "metrics": {"loss": cross_entropy}}, ValueError, "must not be called"),
        ({"val_loader": [1], "metrics": [cross_entropy]}, TypeError, "metrics must be a mapping"),
        ({"val_loader": [1], "metrics": {"a": 3}}, TypeError, "must be a function"),
        ({"val_loader": [1], "metrics": {"val_loss": cross_entropy}}, ValueError, "must not be called"),
        ({"update": 3}, TypeError, "update must be callable"),
        ({"progress": 3}, TypeError, "progress must be callable"),
        ({"scheduler": 3}, TypeError, "scheduler must be"),
        ({"scaler": 3}, TypeError, "scaler must be"),
        ({"optimizer": torch.optim.SGD(Net().parameters())}, ValueError, "have parameters of the model, got '12"),
    ],
)
def test_bad_input_is_refused_before_any_work(options: dict[str, Any], error: type[Exception], words: str) -> None:
    made = training()
    before, calls = look(made), []
    made.model.register_forward_pre_hook(lambda *_: calls.append(1))
    arguments: dict[str, Any] = {"model": made.model, "optimizer": made.optimizer, "loader": made.loader}
    with pytest.raises(error, match=words):
        range_test(**{**arguments, "loss_fn": cross_entropy, **grouped(**options)})
    assert not calls
    made.model._forward_pre_hooks.clear()
    assert look(made) == before


def test_an_optimizer_made_before_the_model_was_replaced_is_refused_and_one_of_the_loss_alone_is_not() -> None:
    made = training()
    with pytest.raises(ValueError, match="after wrapping or sharding"):
        range_test(copy.deepcopy(made.model), made.optimizer, made.loader, cross_entropy)
    loss = Margin()
    loss.scale = nn.Parameter(torch.ones(3))
    loss.register_forward_pre_hook(lambda module, given: (given[0] * module.scale, given[1]))
    made.model.requires_grad_(False)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    curve = range_test(made.model, optimizer, made.loader, loss, ramp=Ramp(high=0.1, steps=12))
    assert np.isfinite(curve.losses).all()
    assert (loss.scale == 1).all()


@pytest.mark.parametrize(
    ("loss_fn", "error", "words"),
    [
        (lambda output, target: 1.0, TypeError, "the loss must be a tensor"),
        (lambda output, target: output.sum(1), ValueError, "the loss must be one number"),
        (lambda output, target: output.detach().sum(), ValueError, "must depend on a parameter"),
    ],
)
def test_a_loss_of_the_wrong_kind_is_an_error(loss_fn: Callable[..., Any], error: type[Exception], words: str) -> None:
    made = training()
    before = look(made)
    made.loss_fn = loss_fn
    with pytest.raises(error, match=words):
        run(made)
    assert look(made) == before


def test_a_stream_that_gives_nothing_is_an_error() -> None:
    made = training()
    made.loader = DataLoader(Stream(0), batch_size=2)
    with pytest.raises(ValueError, match="must give at least one batch"):
        run(made)


def test_a_lazy_model_is_refused() -> None:
    model = nn.LazyLinear(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="run one batch through it first"):
        range_test(model, optimizer, [(torch.ones(2, 4), torch.tensor([0, 1]))], cross_entropy)


def test_it_may_be_made_in_the_middle_of_a_training() -> None:
    tested, plain = training("Adam"), training("Adam")

    def finish(made: Training, test: bool) -> list[torch.Tensor]:
        torch.manual_seed(5)
        scheduler = Scheduler(made.optimizer, Triangular(0.001, 0.01, step_size=2))
        for index, (x, y) in enumerate(made.loader):
            if test and index == 2:
                run(made, scheduler=scheduler)
            made.optimizer.zero_grad()
            cross_entropy(made.model(x), y).backward()
            made.optimizer.step()
            scheduler.step()
        return [parameter.detach() for parameter in made.model.parameters()]

    pairs = zip(finish(tested, True), finish(plain, False), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


# ---------------------------------------------------------------- the processes that its loader started


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"accumulate": 2}, {"effort": "thorough"}], ids=str)
def test_the_processes_of_a_loader_end_with_the_test(how: dict[str, Any]) -> None:
    made = training("SGD", own_generator=False)
    made.loader = DataLoader(made.loader.dataset, made.loader.batch_size, num_workers=1)
    others = multiprocessing.active_children()  # such as those of studies, in other tests
    gc.collect()
    gc.disable()  # left to the collector they end at any time later, each after five seconds that torch waits for it
    try:
        run(made, repeats=1, **how)
        assert [one for one in multiprocessing.active_children() if one not in others] == []
    finally:
        gc.enable()
