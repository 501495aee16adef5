"""What people pass by habit or by mistake: an error that names it and says what to write, or it simply works."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import cyclr
from cyclr import Bounds, HeldOut, Inconclusive, Linear, Ramp, plan
from cyclr.torch import Scheduler, Task, Update, auto, evaluate, range_test
from tests.torch.digest import digest

mse_loss = nn.functional.mse_loss
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
LOADER = list(zip(X.split(8), Y.split(8), strict=True))
RAMP = Ramp(1e-4, 1.0, steps=40)


def made(**options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    return model, torch.optim.SGD(model.parameters(), **({"lr": 0.1} | options))


# ---- a rate that is none


def adafactor(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    library = pytest.importorskip("transformers.optimization", reason="transformers is not installed")
    return library.Adafactor(model.parameters(), **options)


def own_rate(model: nn.Module) -> torch.optim.Optimizer:
    return adafactor(model, scale_parameter=True, relative_step=True, warmup_init=True)


def own_rate_with_one_beside(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = own_rate(model)
    optimizer.param_groups[0]["lr"] = 0.1  # which it then ignores
    return optimizer


def none_in_one_group(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD([{"params": [part]} for part in model.parameters()], lr=0.1)
    optimizer.param_groups[1]["lr"] = None
    return optimizer


USES: dict[str, Callable[[Any, Any], Any]] = {
    "range_test": lambda model, optimizer: range_test(model, optimizer, LOADER, mse_loss),
    "auto": lambda model, optimizer: auto(model, optimizer, LOADER, mse_loss, epochs=3),
    "Scheduler": lambda model, optimizer: Scheduler(optimizer, Linear(0.1, 0, steps=10)),
    "Task": lambda model, optimizer: Task(model, optimizer, mse_loss, LOADER),
    "several": lambda model, optimizer: Scheduler([optimizer, made()[1]], Linear(0.1, 0, steps=10)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(("optimizer", "index"), [(own_rate, 0), (own_rate_with_one_beside, 0), (none_in_one_group, 1)])
def test_an_optimizer_that_chooses_its_rate_itself_is_refused(use: Any, optimizer: Any, index: int) -> None:
    model, _ = made()
    driver = optimizer(model)
    with pytest.raises(ValueError, match=rf"group {index} of optimizer must have a learning rate.*relative_step=False"):
        use(model, driver)


def test_adafactor_with_a_rate_works() -> None:
    model, _ = made()
    optimizer = adafactor(model, lr=1e-3, relative_step=False, scale_parameter=False)
    assert range_test(model, optimizer, LOADER, mse_loss, ramp=RAMP).tuning_cost > 0


@pytest.mark.parametrize("rate", ["1e-3", torch.ones(2), True, lambda step: 0.1])
def test_a_rate_that_is_no_number_is_refused(rate: Any) -> None:
    model, optimizer = made()
    optimizer.param_groups[0]["lr"] = rate
    for use in USES.values():
        with pytest.raises(TypeError, match="learning rate of group 0 of optimizer must be a number"):
            use(model, optimizer)


# ---- data that is no loader


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(TensorDataset(X, Y))


class Mapped(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


class OfHub:
    """As the datasets of Hugging Face: of no class of torch, but read by many rows at once."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]

    def __getitems__(self, indices: list[int]) -> Any:
        return [self[index] for index in indices]


DATA: dict[str, tuple[Any, str]] = {
    "tensors": (TensorDataset(X, Y), "not the examples of a dataset, got 'a TensorDataset'.*DataLoader"),
    "subset": (Subset(TensorDataset(X, Y), range(9)), "DataLoader"),
    "own": (Mapped(), "DataLoader"),
    "stream": (Stream(), "DataLoader.*batch_size=None"),
    "of a hub": (OfHub(), "DataLoader"),
    "tensor": (X, "not the rows of an array, got 'a Tensor'.*DataLoader"),
    "array": (X.numpy(), "not the rows of an array, got 'a ndarray'.*DataLoader"),
    "dict": ({"train": LOADER}, "must be a loader"),
    "path": ("data/train", "must be a loader"),
}


@pytest.mark.parametrize(("data", "words"), DATA.values(), ids=DATA)
def test_data_that_gives_examples_is_refused_everywhere(data: Any, words: str) -> None:
    model, optimizer = made()
    for use in (
        lambda: range_test(model, optimizer, data, mse_loss),
        lambda: auto(model, optimizer, data, mse_loss, epochs=3),
        lambda: Task(model, optimizer, mse_loss, data),
        lambda: Task(model, optimizer, mse_loss, LOADER, val_loader=data),
        lambda: range_test(model, optimizer, LOADER, mse_loss, held_out=HeldOut(data)),
        lambda: evaluate(model, data, mse_loss),
    ):
        with pytest.raises(TypeError, match=words) as caught:
            use()
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "loader",
    [
        LOADER,
        tuple(LOADER),
        DataLoader(Stream(), batch_size=8),
        DataLoader(Mapped(), batch_size=8),
        DataLoader(OfHub(), batch_size=8),  # pyrefly: ignore[bad-argument-type]
        DataLoader(LOADER, batch_size=None),  # pyrefly: ignore[bad-argument-type]
    ],
)
def test_loaders_of_every_kind_are_taken(loader: Any) -> None:
    model, optimizer = made()
    found = range_test(model, optimizer, loader, mse_loss, ramp=RAMP)
    expected = range_test(*made(), LOADER, mse_loss, ramp=RAMP)
    assert np.allclose(found.losses, expected.losses, equal_nan=True)


# ---- classes in place of objects


@pytest.mark.parametrize("given", [nn.MSELoss, nn.CrossEntropyLoss, nn.HuberLoss])
def test_a_loss_class_is_refused_with_the_parentheses_it_needs(given: Any) -> None:
    model, optimizer = made()
    for use in (
        lambda: range_test(model, optimizer, LOADER, given),
        lambda: auto(model, optimizer, LOADER, given, epochs=3),
        lambda: Task(model, optimizer, given, LOADER),
    ):
        with pytest.raises(TypeError, match=rf"loss_fn must be .*; write {given.__name__}\(\)"):
            use()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"update": Update}, r"update must be .*write Update\(\)"),
        ({"model": nn.Linear}, "model must be a torch.nn.Module"),
        ({"optimizer": torch.optim.SGD}, "optimizer must be a torch.optim.Optimizer"),
        ({"ramp": Ramp}, "ramp must be a cyclr.Ramp"),
        ({"held_out": HeldOut}, "held_out must be a cyclr.HeldOut"),
    ],
)
def test_other_classes_are_refused(change: Any, words: str) -> None:
    model, optimizer = made()
    given = {"model": model, "optimizer": optimizer, "loader": LOADER, "loss_fn": mse_loss}
    with pytest.raises(TypeError, match=words):
        range_test(**(given | change))


# ---- words that are no arguments


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda given: auto(*given, step=100),
            r"auto\(\) got an .* argument 'step'; did you mean steps\?",
        ),
        (lambda given: auto(*given, epoch=3), r"did you mean epochs\?"),
        (lambda given: auto(*given, accumulate_steps=4), r"did you mean update=Update\(accumulate=...\)\?"),
        (lambda given: range_test(*given, step=100), r"did you mean ramp=Ramp\(steps=...\)\?"),
        (lambda given: range_test(*given, accumulation=2), r"did you mean update=Update\(accumulate=...\)\?"),
        (lambda given: range_test(*given, metric={}), r"did you mean held_out=HeldOut\(metrics=...\)\?"),
        (lambda given: range_test(*given, hihg=1.0), r"did you mean ramp=Ramp\(high=...\)\?"),
        (lambda given: range_test(*given, step_func=len), r"did you mean update=...\?"),
        (
            lambda given: range_test(*given, zzz=1),
            r"unexpected keyword argument 'zzz'; it takes model, optimizer, loader",
        ),
        (
            lambda given: plan(Bounds(0.01, 0.1), step=100),
            r"plan\(\) got .* 'step'; did you mean steps\?",
        ),
        (lambda given: plan(Bounds(0.01, 0.1), epoch=3), r"did you mean epochs\?"),
        (lambda given: plan(Bounds(0.01, 0.1), epochs=3, step_per_epoch=3), r"did you mean steps_per_epoch\?"),
    ],
)
def test_an_unknown_word_is_an_error_that_names_the_nearest(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call((*made(), LOADER, mse_loss))


# ---- things to train that are no parameters of the model


def frozen() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).requires_grad_(False)


class Prompt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, 8))


def image() -> tuple[Any, Any, Any]:
    value = torch.zeros(1, 8, requires_grad=True)
    return value, [value], lambda model, batch: (model(value) - 0.3).square().mean()


def parameter_in_a_closure() -> tuple[Any, Any, Any]:
    value = nn.Parameter(torch.zeros(1, 8))
    return value, [value], lambda model, batch: (model(value + batch) - 0.3).square().mean()


def prompt() -> tuple[Any, Any, Any]:
    module = Prompt()
    return module.start, module.parameters(), lambda model, batch: (model(module.start) - 0.3).square().mean()


class Attack:
    """A loss that holds what is trained."""

    def __init__(self) -> None:
        self.noise = nn.Parameter(torch.zeros(1, 8))

    def __call__(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return (model(batch + self.noise) - 0.3).square().mean()


def attack() -> tuple[Any, Any, Any]:
    loss = Attack()
    return loss.noise, [loss.noise], loss


@pytest.mark.parametrize("case", [image, parameter_in_a_closure, prompt, attack])
def test_an_input_that_the_loss_refers_to_is_trained_and_restored(case: Any) -> None:
    model = frozen()
    value, parameters, loss_fn = case()
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    before = value.detach().clone()
    curve = range_test(model, optimizer, [torch.zeros(1, 8)], loss_fn, ramp=RAMP)
    assert np.nanmin(curve.losses) < 0.9 * curve.losses[0, 0]
    assert torch.equal(value, before)
    assert value.grad is None
    assert not optimizer.state


def in_the_batch() -> tuple[Any, Any, Any]:
    value = torch.zeros(1, 8, requires_grad=True)
    return value, [value], lambda model, batch: (model(batch) - 0.3).square().mean()


def test_an_input_that_is_the_batch_is_trained_and_restored() -> None:
    value, parameters, loss_fn = in_the_batch()
    curve = range_test(frozen(), torch.optim.Adam(parameters, lr=0.05), [value], loss_fn, ramp=RAMP)
    assert np.nanmin(curve.losses) < 0.9 * curve.losses[0, 0]
    assert torch.equal(value, torch.zeros(1, 8))


@pytest.mark.parametrize(
    "strange", [lambda: [nn.Parameter(torch.zeros(3))], lambda: nn.Linear(3, 3).parameters(), lambda: [torch.zeros(3)]]
)
def test_what_the_loss_does_not_depend_on_is_refused_and_the_step_function_is_named(strange: Any) -> None:
    model, _ = made()
    optimizer = torch.optim.SGD([one.requires_grad_() for one in strange()], lr=0.1)
    before = digest(model)
    with pytest.raises(ValueError, match=r"must have parameters of the model.*update= a step function"):
        range_test(model, optimizer, LOADER, mse_loss)
    assert digest(model) == before


# ---- schedulers


@pytest.mark.parametrize("value", [0.73, torch.tensor(0.73), np.float32(0.5), "3", True, torch.tensor(3), math.nan])
def test_a_metric_or_a_part_of_an_epoch_given_to_step_is_refused(value: Any) -> None:
    scheduler = Scheduler(made()[1], Linear(0.1, 0, steps=100))
    scheduler.optimizer.step()
    scheduler.step()
    state = scheduler.state_dict()
    with pytest.raises(TypeError, match="integer number of steps"):
        scheduler.step(value)
    assert scheduler.state_dict() == state
    assert scheduler.get_last_lr() == [0.099]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda step: 0.1 / (1 + step), "called with the group, not with the step"),
        (lambda step: 0.1, "must be a schedule"),
        (lambda step: [0.1][step], "must be a schedule"),
        ("Triangular(0.01, 0.1, step_size=5)", r"cyclr.parse\(text\)"),
        (0.1, r"Constant\(0.1\)"),
        (Bounds(0.01, 0.1), "a Plan"),
        ([0.1], "must be a schedule"),
        (Linear, "must be a schedule"),
        (None, "must be a schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(given: Any, words: str) -> None:
    _, optimizer = made()
    with pytest.raises(TypeError, match=words):
        Scheduler(optimizer, given)
    assert optimizer.param_groups[0] == made()[1].param_groups[0] | {"params": optimizer.param_groups[0]["params"]}


def test_a_plan_is_a_schedule() -> None:
    chosen = plan(Bounds(0.01, 0.1), steps=50)
    assert Scheduler(made()[1], chosen).get_last_lr() == [chosen.schedule(0)]


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (LOADER, "16 steps"),
        (8, "16 steps"),
        (np.int64(8), "16 steps"),
        (DataLoader(TensorDataset(X, Y), batch_size=10), "14 steps"),
        (DataLoader(TensorDataset(X, Y), batch_size=10, drop_last=True), "12 steps"),
    ],
)
def test_check_counts_the_steps_of_a_loader_or_of_a_number_of_batches(loader: Any, words: str) -> None:
    scheduler = Scheduler(made()[1], Linear(0.1, 0, steps=16))
    assert scheduler.check(loader, epochs=2).startswith(words)


@pytest.mark.parametrize("loader", [DataLoader(Stream(), batch_size=8), iter([1]), None, 3.0])
def test_check_refuses_what_has_no_length(loader: Any) -> None:
    scheduler = Scheduler(made()[1], Linear(0.1, 0, steps=16))
    with pytest.raises(TypeError, match="loader must have a length"):
        scheduler.check(loader, epochs=2)


def test_an_inconclusive_answer_keeps_the_curve() -> None:
    model, optimizer = made()
    curve = range_test(model, optimizer, LOADER, mse_loss, ramp=Ramp(1e-9, 1e-8))
    with pytest.raises(Inconclusive):
        curve.bounds()
    assert isinstance(curve, cyclr.Curve)
