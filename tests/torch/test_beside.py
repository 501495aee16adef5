"""Averages of weights that a training keeps in hooks, closures, variables and plain objects come back, too."""

from __future__ import annotations

import copy
import functools
import weakref
from collections import UserDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclr import Ramp
from cyclr.torch import preserved, range_test
from cyclr.torch._restore.reachable import Search

mse = nn.functional.mse_loss
Look = Callable[[], Any]
Update = Callable[[], None]
Situation = Callable[[nn.Module, torch.optim.Optimizer], tuple[Update | None, Look]]


class InPlace:
    """Shadow tensors that are written to, and a count that the decay depends on."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.shadow, self.updates = model, [p.detach().clone() for p in model.parameters()], 0

    @torch.no_grad()
    def update(self, *_: Any) -> None:
        self.updates += 1
        for shadow, parameter in zip(self.shadow, self.model.parameters(), strict=True):
            shadow.lerp_(parameter, 1 / self.updates)

    def look(self) -> Any:
        return self.updates, [one.tolist() for one in self.shadow], [id(one) for one in self.shadow]


class Replaced:
    """The one of many tutorials: a dict by name, whose tensors are new ones after each step."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.shadow = model, {name: p.data.clone() for name, p in model.named_parameters()}

    def update(self) -> None:
        for name, parameter in self.model.named_parameters():
            self.shadow[name] = (0.9 * self.shadow[name] + 0.1 * parameter.data).clone()

    def look(self) -> Any:
        return {name: (id(one), one.tolist()) for name, one in self.shadow.items()}


@dataclass(slots=True)
class Slotted:
    """With slots, and one flat vector of all weights."""

    model: nn.Module
    flat: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.flat = self.weights()

    def weights(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])

    def update(self) -> None:
        self.flat = 0.9 * self.flat + 0.1 * self.weights()

    def look(self) -> Any:
        return id(self.flat), self.flat.tolist()


def object_of_a_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = InPlace(model)
    return average.update, average.look


def object_in_an_object(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    class Run:
        def __init__(self) -> None:
            self.parts = {"averages": [SimpleNamespaceOf(Replaced(model))]}

        def after(self) -> None:
            self.parts["averages"][0].average.update()

    run = Run()
    return lambda: run.after(), run.parts["averages"][0].average.look


class SimpleNamespaceOf:
    def __init__(self, average: Any) -> None:
        self.average = average


def slots(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = Slotted(model)
    return partial(Slotted.update, average), average.look


def averaged_model_in_an_optimizer_hook(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Update | None, Look]:
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(model))
    return None, lambda: [one.tolist() for one in average.state_dict().values()]


def bound_method_in_an_optimizer_hook(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = InPlace(model)
    optimizer.register_step_post_hook(average.update)
    return None, average.look


def object_in_a_module_hook(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = InPlace(model)
    model[0].register_forward_hook(lambda *_: average.update())
    return None, average.look


def hook_of_a_parameter(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = InPlace(model)
    next(model.parameters()).register_post_accumulate_grad_hook(average.update)
    return None, average.look


def object_in_an_attribute_of_the_model(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Update | None, Look]:
    model.average = average = InPlace(model)
    return lambda: model.average.update(), average.look


def variable_of_a_closure(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    shadow = [p.detach().clone() for p in model.parameters()]

    def update() -> None:
        nonlocal shadow
        shadow = [0.9 * one + 0.1 * p.detach() for one, p in zip(shadow, model.parameters(), strict=True)]

    return update, lambda: [(id(one), one.tolist()) for one in shadow]


KEPT: dict[str, torch.Tensor] = {}


def global_variable(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    global KEPT
    KEPT = {name: p.detach().clone() for name, p in model.named_parameters()}

    def update() -> None:
        global KEPT
        KEPT = {name: 0.9 * KEPT[name] + 0.1 * p.detach() for name, p in model.named_parameters()}

    return update, lambda: {name: (id(one), one.tolist()) for name, one in KEPT.items()}


def last_weights_in_a_queue(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    last = deque([copy.deepcopy(model.state_dict())], maxlen=3)
    return lambda: last.append(copy.deepcopy(model.state_dict())), lambda: [
        {name: one.tolist() for name, one in state.items()} for state in last
    ]


def arrays(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    shadow = [p.detach().numpy().copy() for p in model.parameters()]

    def update() -> None:
        for one, p in zip(shadow, model.parameters(), strict=True):
            one += 0.1 * (p.detach().numpy() - one)

    return update, lambda: [one.tolist() for one in shadow]


def many_layers(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    for _ in range(50):
        model.append(nn.Linear(1, 1))
    return object_of_a_step(model, optimizer)


def called_by_a_decorated_function(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    shadow = next(model.parameters()).detach().clone()

    @torch.no_grad()
    def update() -> None:
        shadow.lerp_(next(model.parameters()), 0.5)

    return update, shadow.tolist


def attributes_of_a_class(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    class Base:
        shadow = tuple(p.detach().clone() for p in model.parameters())
        updates = 0

    class Average(Base):
        @classmethod
        def update(cls) -> None:
            Base.updates += 1
            for one, p in zip(cls.shadow, model.parameters(), strict=True):
                one.lerp_(p.detach(), 0.1)

    return lambda: Average.update(), lambda: (Base.updates, [one.tolist() for one in Base.shadow])


def attribute_of_a_class_that_is_replaced(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Update | None, Look]:
    class Average:
        shadow = next(model.parameters()).detach().clone()

        def update(self) -> None:
            type(self).shadow = 0.9 * self.shadow + 0.1 * next(model.parameters()).detach()
            type(self).last = self.shadow

    average = Average()
    return average.update, lambda: (id(Average.shadow), Average.shadow.tolist(), hasattr(Average, "last"))


class Counting(nn.Linear):
    """Layers that keep the mean of what they see in their class, in a variable and in a function with a gradient."""

    mean = torch.zeros(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.mean = 0.9 * Counting.mean + 0.1 * x.detach().mean(0)
        MEAN.lerp_(x.detach().mean(0), 0.1)
        return super().forward(Passed.apply(x))


class Passed(torch.autograd.Function):
    mean = torch.zeros(16)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        Passed.mean.lerp_(x.mean(0), 0.1)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        return slope


MEAN = torch.zeros(16)


def class_of_a_layer(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    model[2].__class__ = Counting
    return None, lambda: (Counting.mean.tolist(), MEAN.tolist(), Passed.mean.tolist())


def class_of_an_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    class Averaging(torch.optim.SGD):
        shadow = tuple(p.detach().clone() for p in model.parameters())

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            super().step(closure)
            for one, p in zip(self.shadow, model.parameters(), strict=True):
                one.lerp_(p, 0.1)

    optimizer.__class__ = Averaging
    return None, lambda: [one.tolist() for one in Averaging.shadow]


class Loop:
    """A method of it names a variable; only code that names the method tells."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def averaged(self) -> bool:
        MEAN.lerp_(self.model[2].weight.detach()[0], 0.1)
        return True

    def after(self) -> bool:
        return self.averaged


def variable_that_a_method_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    loop = Loop(model)
    return lambda: loop.after(), MEAN.tolist


def variables_of_a_generator(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    looks = []

    def averaging(shadow: list[torch.Tensor]) -> Any:
        looks.append(lambda: [one.tolist() for one in shadow])
        while True:
            yield
            for one, p in zip(shadow, model.parameters(), strict=True):
                one.data.lerp_(p.detach(), 0.1)

    def started() -> Any:
        yield from averaging([p.detach().clone() for p in model.parameters()])

    running = started()
    next(running)
    return lambda: next(running), looks[0]


def what_a_cache_holds(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    @functools.cache
    def shadow() -> torch.Tensor:
        return next(model.parameters()).detach().clone()

    shadow()
    return lambda: shadow().lerp_(next(model.parameters()).detach(), 0.1), lambda: shadow().tolist()


def weak_reference(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    average = InPlace(model)
    referred = weakref.ref(average)
    return lambda: referred().update(), average.look


class Named(dict[str, torch.Tensor]):
    """A dict with attributes."""


def container_with_attributes(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    shadow = Named()
    shadow.updates, shadow.of_first = 0, next(model.parameters()).detach().clone()

    def update() -> None:
        shadow.updates += 1
        shadow.of_first = 0.9 * shadow.of_first + 0.1 * next(model.parameters()).detach()

    return update, lambda: (shadow.updates, shadow.of_first.tolist())


def mapping_that_is_no_dict(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Update | None, Look]:
    shadow = UserDict({"w": next(model.parameters()).detach().clone()})

    def update() -> None:
        shadow["w"] = 0.9 * shadow["w"] + 0.1 * next(model.parameters()).detach()

    return update, lambda: (id(shadow["w"]), shadow["w"].tolist())


SITUATIONS = [object_of_a_step, object_in_an_object, slots, averaged_model_in_an_optimizer_hook,
              bound_method_in_an_optimizer_hook, object_in_a_module_hook, hook_of_a_parameter,
              object_in_an_attribute_of_the_model, variable_of_a_closure, global_variable, last_weights_in_a_queue,
              arrays, many_layers, called_by_a_decorated_function, attributes_of_a_class,
              attribute_of_a_class_that_is_replaced, class_of_a_layer, class_of_an_optimizer,
              variable_that_a_method_names, variables_of_a_generator, what_a_cache_holds, weak_reference,
              container_with_attributes, mapping_that_is_no_dict]  # fmt: skip


def made() -> tuple[nn.Sequential, torch.optim.Optimizer, list[Any]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.randn(40, 16, 8)
    return (
        model,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        [(one, one.sum(1, keepdim=True)) for one in x],
    )


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, update: Update | None) -> Callable[[Any], torch.Tensor]:
    def step(batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = mse(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        if update is not None:
            update()
        return loss

    return step


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.__name__)
def test_averages_come_back(situation: Situation) -> None:
    model, optimizer, batches = made()
    update, look = situation(model, optimizer)
    before = look()
    step = step_of(model, optimizer, update)
    for own in (True, False) if update is None else (True,):
        how: dict[str, Any] = {"update": step} if own else {}
        range_test(model, optimizer, batches, None if own else mse, ramp=Ramp(steps=30), repeats=2, **how)
        assert look() == before
    step(batches[0])
    assert look() != before  # the situation does what it says


def test_a_hook_of_all_modules_is_followed() -> None:
    model, optimizer, batches = made()
    average = InPlace(model)
    before = average.look()
    hook = nn.modules.module.register_module_forward_hook(lambda *_: average.update())
    try:
        range_test(model, optimizer, batches, mse, ramp=Ramp(steps=20))
    finally:
        hook.remove()
    assert average.look() == before


def test_variables_of_a_generator_come_back() -> None:
    """What it yields next is computed from the average as it was before the test."""
    model, optimizer, batches = made()

    def averaging() -> Any:
        shadow = next(model.parameters()).detach().clone()
        while True:
            yield shadow
            shadow = 0.9 * shadow + 0.1 * next(model.parameters()).detach()

    running = averaging()
    before = next(running).clone()
    range_test(model, optimizer, batches, update=step_of(model, optimizer, lambda: next(running)), ramp=Ramp(steps=20))
    expected = 0.9 * before + 0.1 * next(model.parameters()).detach()
    torch.testing.assert_close(next(running), expected, rtol=0, atol=0)


def test_a_generator_that_waits_elsewhere_is_named() -> None:
    model, optimizer, batches = made()

    def averaging() -> Any:
        shadow = next(model.parameters()).detach().clone()
        yield shadow
        while True:
            shadow = 0.9 * shadow + 0.1 * next(model.parameters()).detach()
            yield shadow

    running = averaging()
    next(running)
    with pytest.warns(
        RuntimeWarning, match=r"wrote to the position of .*running \(a generator\), which is not restored"
    ):
        range_test(
            model, optimizer, batches, update=step_of(model, optimizer, lambda: next(running)), ramp=Ramp(steps=20)
        )


def test_methods_that_no_code_names_are_not_followed() -> None:
    class Run:
        def evaluate(self) -> int:
            return len(UNUSED.rows)

    run = Run()
    found = Search(lambda value: False).reached([("step", lambda batch: run)])
    assert Run in (values := [one.value for one in found])
    assert UNUSED not in values


UNUSED = SimpleNamespace(rows=[])


def test_an_error_in_the_middle_changes_nothing_of_it() -> None:
    model, optimizer, batches = made()
    average = InPlace(model)
    before = average.look()
    with pytest.raises(ZeroDivisionError), preserved(model, optimizer, functions=[average.update]):
        step_of(model, optimizer, average.update)(batches[0])
        raise ZeroDivisionError
    assert average.look() == before


def test_each_repeat_begins_with_the_same_average() -> None:
    model, optimizer, batches = made()
    average, first = InPlace(model), []

    def step(batch: Any) -> torch.Tensor:
        if len(first) in (0, 20):
            first.append(average.look())
        else:
            first.append(None)
        return step_of(model, optimizer, average.update)(batch)

    range_test(model, optimizer, batches, update=step, ramp=Ramp(1e-5, 1e-2, steps=20), repeats=2)
    assert first[0] == first[20]


def test_what_does_not_look_like_weights_is_named_if_it_is_written_to() -> None:
    model, optimizer, batches = made()
    memory = SimpleNamespaceOf(torch.zeros(300, 100))

    def update() -> None:
        memory.average += 1

    with pytest.warns(RuntimeWarning, match=r"wrote to .*memory\.average \(a tensor of \[300, 100\]\), which is not"):
        range_test(model, optimizer, batches, update=step_of(model, optimizer, update), ramp=Ramp(steps=20))


def test_data_in_a_closure_is_neither_copied_nor_named() -> None:
    model, optimizer, _ = made()
    data, place = torch.randn(300, 1000), SimpleNamespaceOf(0)

    def step(batch: Any) -> torch.Tensor:
        place.average += 1
        rows = data[:16, :8]
        return step_of(model, optimizer, None)((rows, rows.sum(1, keepdim=True)))

    range_test(model, optimizer, [0], update=step, ramp=Ramp(1e-5, 1e-3, steps=20))
    assert place.average == 20


@pytest.mark.parametrize("layout", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr], ids=["coo", "csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_data_in_a_closure_is_no_obstacle(layout: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model, optimizer, _ = made()
    graph, x = layout(torch.eye(16)), torch.randn(16, 8)

    def step(batch: Any) -> torch.Tensor:
        rows = graph @ x
        return step_of(model, optimizer, None)((rows, rows.sum(1, keepdim=True)))

    assert range_test(model, optimizer, [0], update=step, ramp=Ramp(1e-5, 1e-3, steps=20)).stops == ("end",)


def test_a_web_of_objects_that_refer_to_one_another_is_followed_once() -> None:
    model, optimizer, batches = made()
    one, other = SimpleNamespaceOf(InPlace(model)), SimpleNamespaceOf(None)
    one.other, other.other, one.weak = other, one, weakref.ref(other)
    before = one.average.look()
    step = step_of(model, optimizer, lambda: other.other.average.update())
    range_test(model, optimizer, batches, update=step, ramp=Ramp(steps=20))
    assert one.average.look() == before


def test_a_namespace_is_an_object() -> None:
    model, optimizer, batches = made()
    run = SimpleNamespace(average=InPlace(model), arrays=np.zeros(3))
    before = run.average.look()
    step = step_of(model, optimizer, lambda: run.average.update())
    range_test(model, optimizer, batches, update=step, ramp=Ramp(steps=20))
    assert run.average.look() == before
