"""The transaction: a digest of everything is the same before and after, whatever happened in between."""

from __future__ import annotations

import contextlib
import copy
import gc
import random
import warnings
import weakref
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import is_fake
from torch.nn.parameter import is_lazy

from cyclr import Triangular
from cyclr.torch import Scheduler, preserved
from tests.torch.digest import digest
from tests.torch.networks import OPTIMIZERS, Net, Training, training


def look(made: Training) -> str:
    return digest(made.model, made.optimizer, **made.parts())


@given(
    st.sampled_from(sorted(OPTIMIZERS)),
    st.booleans(),
    st.sampled_from([None, RuntimeError, KeyboardInterrupt, SystemExit]),
    st.integers(0, 4),
    st.integers(0, 2),
)
def test_everything_is_as_it_was_whatever_happened_at_whichever_step(
    optimizer: str, warm: bool, error: type[BaseException] | None, step: int, rewinds: int
) -> None:
    made = training(optimizer, warm=warm)
    before = look(made)
    caught: type[BaseException] | None = None
    try:
        with preserved(made.model, made.optimizer, **made.parts()) as transaction:
            for _ in range(rewinds):
                made.epoch()
                random.random(), np.random.rand()
                transaction.rewind()
            made.epoch(fail_at=step if error else None, error=error or RuntimeError)
    except BaseException as raised:  # noqa: BLE001 (KeyboardInterrupt and SystemExit too)
        caught = type(raised)
    assert caught is error
    assert look(made) == before


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_as_if_nothing_had_been(optimizer: str) -> None:
    with_test, without = training(optimizer), training(optimizer)
    state = torch.get_rng_state()
    without.epoch()
    expected = [parameter.clone() for parameter in without.model.parameters()]
    torch.set_rng_state(state)
    with preserved(with_test.model, with_test.optimizer, **with_test.parts()):
        with_test.epoch()
        with_test.epoch()
    with_test.epoch()
    assert all(torch.equal(*pair) for pair in zip(with_test.model.parameters(), expected, strict=True))


def replace_parameter(made: Training) -> None:
    made.model.head.weight = nn.Parameter(torch.zeros(6, 6))


def untie(made: Training) -> None:
    made.model.twin.weight = nn.Parameter(made.model.head.weight.detach().clone())


def drop_submodule(made: Training) -> None:
    del made.model.fixed


def insert_submodule(made: Training) -> None:
    made.model.body.insert(0, nn.Identity())


def reorder_submodules(made: Training) -> None:
    made.model._modules["body"] = made.model._modules.pop("body")


def change_type(made: Training) -> None:
    made.model.double()


def swap_data(made: Training) -> None:
    for parameter in made.model.parameters():
        parameter.data = parameter.data.t().contiguous() if parameter.ndim == 2 else parameter.data + 1


def write_through_data(made: Training) -> None:
    for tensor in (*made.model.parameters(), *made.model.buffers()):
        if not any(stride == 0 for stride in tensor.stride()):
            tensor.data.zero_()


def gradients_gone(made: Training) -> None:
    made.optimizer.zero_grad(set_to_none=True)


def gradients_zeroed(made: Training) -> None:
    made.optimizer.zero_grad(set_to_none=False)


def thaw(made: Training) -> None:
    made.model.requires_grad_(False)
    made.model.frozen.requires_grad_(True).grad = torch.ones(6)


def flip_flags(made: Training) -> None:
    made.model.eval()
    made.model.fixed.train()


def attributes(made: Training) -> None:
    made.model.history.append(1.0)
    made.model.seen = -1
    made.model.head.note = "new"
    made.model.head.weight.note = "new"


def hooks(made: Training) -> None:
    made.model.register_forward_hook(lambda *_: None)
    made.model.head.weight.register_hook(lambda gradient: gradient)
    made.model.head.bias.register_post_accumulate_grad_hook(lambda parameter: None)
    made.optimizer.register_step_pre_hook(lambda *_: None)
    made.optimizer.register_step_post_hook(lambda *_: None)


def parametrize(made: Training) -> None:
    nn.utils.parametrizations.orthogonal(made.model.head)


def buffers(made: Training) -> None:
    made.model.register_buffer("calls", torch.ones(2), persistent=True)
    made.model.register_buffer("more", torch.ones(2))


def more_groups(made: Training) -> None:
    made.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


def another_scheduler(made: Training) -> None:
    torch.optim.lr_scheduler.ConstantLR(made.optimizer, 0.5)


def wrap_step(made: Training) -> None:
    made.optimizer.step = lambda: None


def optimizer_loads(made: Training) -> None:
    made.optimizer.load_state_dict(copy.deepcopy(made.optimizer.state_dict()))
    made.epoch()


def optimizer_is_emptied(made: Training) -> None:
    made.optimizer.state.clear()
    made.optimizer.param_groups.clear()


def optimizer_attributes(made: Training) -> None:
    made.optimizer.defaults["lr"] = 5.0
    made.optimizer.extra = 5


@pytest.mark.parametrize(
    "meddle",
    [
        replace_parameter, untie, drop_submodule, insert_submodule, reorder_submodules, change_type, swap_data,
        write_through_data, gradients_gone, gradients_zeroed, thaw, flip_flags, attributes, hooks, parametrize, buffers,
        more_groups, another_scheduler, wrap_step, optimizer_loads, optimizer_is_emptied, optimizer_attributes,
    ],
)  # fmt: skip
def test_meddling_is_undone(meddle: Any) -> None:
    made = training("AdamW")
    before = look(made)
    with preserved(made.model, made.optimizer, **made.parts()):
        meddle(made)
        assert look(made) != before  # the digest sees it
    assert look(made) == before
    made.epoch()


def test_gradients_that_were_none_are_none_again() -> None:
    made = training(warm=False)
    with preserved(made.model, made.optimizer, **made.parts()):
        made.epoch()
        assert made.model.head.weight.grad is not None
    assert all(parameter.grad is None for parameter in made.model.parameters())
    assert not made.optimizer.state


def test_the_first_scheduler_leaves_the_optimizer_unwrapped() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with preserved(model, optimizer):
        Scheduler(optimizer, Triangular(0.1, 0.2, step_size=2))
        assert "step" in vars(optimizer)
    assert "step" not in vars(optimizer)
    assert "add_param_group" not in vars(optimizer)
    assert "initial_lr" not in optimizer.param_groups[0]


def schedulers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    lr = torch.optim.lr_scheduler
    return {
        "CyclicLR": lr.CyclicLR(optimizer, 0.01, 0.1, 3, cycle_momentum=False),
        "OneCycleLR": lr.OneCycleLR(optimizer, 0.1, 50, cycle_momentum=False),
        "SequentialLR": lr.SequentialLR(
            optimizer, [lr.LinearLR(optimizer, total_iters=3), lr.CosineAnnealingLR(optimizer, 20)], [3]
        ),
        "ChainedScheduler": lr.ChainedScheduler([lr.LinearLR(optimizer), lr.ExponentialLR(optimizer, 0.9)]),
        "ReduceLROnPlateau": lr.ReduceLROnPlateau(optimizer, patience=0),
    }


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR", "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"])
def test_a_scheduler_of_any_kind_is_put_back(name: str) -> None:
    made = training("AdamW")
    scheduler = schedulers(made.optimizer)[name]
    arguments = (1.0,) if name == "ReduceLROnPlateau" else ()
    for _ in range(2):
        made.optimizer.step()
        scheduler.step(*arguments)
    before = copy.deepcopy(scheduler.state_dict())
    with preserved(made.model, made.optimizer, scheduler=scheduler):
        for _ in range(7):
            made.optimizer.step()
            scheduler.step(*arguments)
        assert str(scheduler.state_dict()) != str(before)
    assert str(scheduler.state_dict()) == str(before)


class Memory(torch.optim.SGD):
    """As third parties write optimizers: state in objects, nested lists and plain attributes."""

    class Box:
        def __init__(self) -> None:
            self.tensor, self.parts = torch.ones(3), [torch.zeros(2), {"deep": torch.zeros(2)}]

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.rounds, self.box, self.base = 0, Memory.Box(), torch.optim.Adam([nn.Parameter(torch.ones(2))])
        self.array = np.zeros(3)

    def step(self, closure: Any = None) -> Any:
        self.rounds += 1
        self.array += 1
        self.box.tensor += 1
        self.box.parts[1]["deep"] += 1
        self.box.parts.append("more")
        parameter = self.base.param_groups[0]["params"][0]
        parameter.grad = torch.ones(2)
        self.base.step()
        return super().step(closure)


def test_an_optimizer_with_objects_in_it_is_put_back() -> None:
    model = nn.Linear(2, 1)
    optimizer = Memory(model.parameters())
    box, deep = optimizer.box, optimizer.box.parts[1]["deep"]
    with preserved(model, optimizer):
        optimizer.step()
        optimizer.step()
    assert optimizer.rounds == 0
    assert optimizer.box is box
    assert optimizer.box.parts[1]["deep"] is deep
    assert (deep == 0).all()
    assert len(box.parts) == 2
    assert (box.tensor == 1).all()
    assert (optimizer.array == 0).all()
    assert (optimizer.base.param_groups[0]["params"][0] == 1).all()
    assert not optimizer.base.state


def test_several_models_and_optimizers_are_put_back() -> None:
    one, other = training("SGD"), training("Adam", seed=1)
    before = look(one), look(other)
    models, optimizers = {"one": one.model, "other": other.model}, [one.optimizer, other.optimizer]
    parts = {name: [one.parts()[name], other.parts()[name]] for name in one.parts()}
    with preserved(models, optimizers, **parts):
        one.epoch()
        other.epoch()
    assert (look(one), look(other)) == before


def test_what_could_not_be_put_back_is_told_and_the_rest_is_put_back() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator()

    model = nn.ModuleList([Stubborn(), nn.Linear(2, 2)])
    weight = model[1].weight.detach().clone()
    bad = random.Random()
    model[0].source = bad
    with pytest.raises(TypeError, match="state"), preserved(model):
        nn.init.zeros_(model[1].weight)
        bad.setstate = lambda state: (_ for _ in ()).throw(TypeError("no state"))
    assert torch.equal(model[1].weight, weight)


def test_an_exception_comes_through_unchanged() -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught, preserved(nn.Linear(1, 1)):
        raise error
    assert caught.value is error


def test_it_may_be_nested() -> None:
    made = training()
    before = look(made)
    with preserved(made.model, made.optimizer, **made.parts()):
        made.epoch()
        middle = look(made)
        with preserved(made.model, made.optimizer, **made.parts()):
            made.epoch()
        assert look(made) == middle
    assert look(made) == before


def test_all_that_was_held_is_let_go_at_the_end_of_the_block() -> None:
    made = training("Adam")
    gc.collect()
    gc.disable()  # what goes now goes because nothing holds it, not because a circle was found
    try:
        with preserved(made.model, made.optimizer, **made.parts()):
            made.epoch()
        watch = [weakref.ref(made.model), weakref.ref(made.optimizer), weakref.ref(made.loader)]
        del made
        assert [thing() for thing in watch] == [None, None, None]
    finally:
        gc.enable()


def test_memory_is_one_further_copy_and_is_given_back() -> None:
    model = nn.Linear(500, 500, bias=False)
    model.alias, model.view = model.weight, model.weight.detach()[:250]  # the same bytes three times
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.weight.grad = torch.ones(500, 500)
    optimizer.step()
    size = model.weight.nbytes
    gc.collect()
    before = alive()
    with preserved(model, optimizer) as transaction:
        assert size * 3 <= alive() - before <= size * 3 + 50_000  # weight, gradient, momentum
        watch = weakref.ref(transaction)
    del transaction
    gc.collect()
    assert watch() is None
    assert alive() <= before + 50_000


def alive() -> int:
    """Bytes in all tensors' memory. The copies live in closures: walk into these too."""
    storages = {}
    things = gc.get_objects()
    with warnings.catch_warnings(action="ignore"):  # some modules warn when they are looked at
        for function in [thing for thing in things if isinstance(thing, FunctionType)]:
            for cell in function.__closure__ or ():
                with contextlib.suppress(ValueError):
                    things.append(cell.cell_contents)
        for thing in things:
            # compiled tests before this one leave fake tensors behind, which have no memory
            if isinstance(thing, torch.Tensor) and not is_lazy(thing) and not is_fake(thing):
                storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


def test_a_compiled_model_is_put_back_and_is_not_compiled_again() -> None:
    compiled = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    made = training()
    plain = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.1), nn.Linear(6, 3))
    made.model = torch.compile(plain, backend=backend)
    made.optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    made.scheduler = Scheduler(made.optimizer, Triangular(0.001, 0.02, step_size=4))
    made.epoch()
    before, compilations = look(made), compiled
    with preserved(made.model, made.optimizer, **made.parts()):
        made.epoch()
    assert look(made) == before
    made.epoch()
    assert compiled == compilations


def test_memory_that_is_mapped_read_only_is_not_written_to(tmp_path: Any) -> None:
    np.save(tmp_path / "table.npy", np.ones(1000, np.float32))
    model = nn.Linear(1, 1)
    with pytest.warns(UserWarning, match="writable"):
        table = torch.from_numpy(np.load(tmp_path / "table.npy", mmap_mode="r"))
    model.register_buffer("table", table)
    with preserved(model):  # to write to it would end the process
        nn.init.zeros_(model.weight)
    assert (model.table == 1).all()


def test_sparse_gradients_are_put_back() -> None:
    model = nn.Embedding(5, 2, sparse=True)
    model(torch.tensor([1, 2])).sum().backward()
    gradient, dense = model.weight.grad, model.weight.grad.to_dense()
    with preserved(model):
        model(torch.tensor([3])).sum().backward()
    assert model.weight.grad is gradient
    assert torch.equal(model.weight.grad.to_dense(), dense)


def test_a_scripted_model_is_put_back() -> None:
    with pytest.warns(DeprecationWarning, match="trace"):  # deprecated, and still in use
        model = torch.jit.trace(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).eval(), torch.ones(1, 2))
    weight = next(iter(model.parameters()))
    before = weight.detach().clone()
    with preserved(model):
        model.train()
        nn.init.zeros_(weight)
    assert not model.training
    assert torch.equal(weight, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_training_on_a_cuda_device_is_put_back() -> None:
    made = training("AdamW", warm=False)
    made.model.cuda()
    made.scaler = torch.amp.GradScaler("cuda")
    made.loader = [(x.cuda(), y.cuda()) for x, y in made.loader]
    made.epoch()
    before = look(made)
    with pytest.raises(RuntimeError, match="on purpose"), preserved(made.model, made.optimizer, **made.parts()):
        torch.rand(3, device="cuda")
        made.epoch()
        made.epoch(fail_at=3)
    assert look(made) == before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": 3}, TypeError, "model must be"),
        ({"model": nn.Linear}, TypeError, "model must be"),
        ({"model": None}, TypeError, "model must be"),
        ({"model": [nn.Linear(1, 1), "x"]}, TypeError, "model must be"),
        ({"model": nn.LazyLinear(3)}, ValueError, "run one batch through it first"),
        ({"model": nn.Linear(1, 1), "optimizer": torch.optim.SGD}, TypeError, "optimizer must be"),
        ({"model": nn.Linear(1, 1), "scheduler": 3}, TypeError, "scheduler must be"),
        ({"model": nn.Linear(1, 1), "scaler": 3}, TypeError, "scaler must be"),
        ({"model": nn.Linear(1, 1), "loader": iter([1])}, TypeError, "not an iterator"),
        ({"model": nn.Linear(1, 1), "loader": [[1], iter([1])]}, TypeError, "not an iterator"),
    ],
)
def test_bad_input_is_refused_before_the_block(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        preserved(**arguments)


def test_rewinding_outside_the_block_is_refused() -> None:
    transaction = preserved(Net())
    with pytest.raises(RuntimeError, match="inside its block"):
        transaction.rewind()


# ---------------------------------------------------------------- modes of the thread


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
@pytest.mark.parametrize("before", [True, False])
def test_gradients_and_autocast_are_as_they_were(error: type[BaseException] | None, before: bool) -> None:
    model = nn.Linear(2, 1)
    with torch.set_grad_enabled(before), torch.autocast("cpu", torch.bfloat16, enabled=not before):
        caught = contextlib.suppress(*filter(None, [error]))
        with caught, preserved(model):
            torch.set_grad_enabled(not before)  # as an interrupted `with torch.no_grad()` leaves them
            torch.set_autocast_enabled("cpu", before)
            if error is not None:
                raise error
        assert torch.is_grad_enabled() == before
        assert torch.is_autocast_enabled("cpu") != before
