"""Models that take inputs and targets and return a loss, and losses of (model, batch) for pairs."""

from __future__ import annotations

import functools
import pickle
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cyclr import HeldOut, Ramp
from cyclr.torch import Task, Update, auto, evaluate, own_loss, range_test, train, with_model
from cyclr.torch._batches import loss_of
from tests.torch.digest import digest

mse_loss = nn.functional.mse_loss
X = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
PAIRS = list(zip(X.split(16), Y.split(16), strict=True))
DICTS = [{"inputs": x, "targets": y} for x, y in PAIRS]
TRIPLES = [(x, y, torch.ones(len(x), 1)) for x, y in PAIRS]
RAMP = Ramp(1e-4, 1.0, steps=40)
Named = namedtuple("Named", "logits loss")


@dataclass
class Result:
    """An output of one's own."""

    logits: torch.Tensor
    loss: torch.Tensor | None


def pack_tuple(logits: Any, loss: Any) -> Any:
    return logits, loss


def of_transformers(**outputs: Any) -> Any:
    """An output as models of transformers return them; imported here, as the core is tested without it, too."""
    named = pytest.importorskip("transformers.modeling_outputs", reason="transformers is not installed")
    return named.SequenceClassifierOutput(**outputs)


class Returning(nn.Module):
    """A network that computes its loss where it is given targets; `pack` is how it returns both."""

    def __init__(self, pack: Callable[[Any, Any], Any] = pack_tuple) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.pack = nn.Linear(4, 1), pack

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor | None = None, weights: Any = 1.0) -> Any:
        logits = self.linear(inputs)
        loss = None if targets is None else (weights * (logits - targets).square()).mean()
        return self.pack(logits, loss)


PACKS: dict[str, Callable[[Any, Any], Any]] = {
    "logits, loss": pack_tuple,
    "loss, logits": lambda logits, loss: (loss, logits),
    "list": lambda logits, loss: [logits, loss],
    "loss alone": lambda logits, loss: loss,
    "named tuple": Named,
    "dataclass": Result,
    "dict": lambda logits, loss: {"logits": logits, "loss": loss},
    "of transformers": lambda logits, loss: of_transformers(loss=loss, logits=logits),
    "of transformers, as a tuple": lambda logits, loss: of_transformers(loss=loss, logits=logits).to_tuple(),
}


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def expected() -> Any:
    model = Returning(lambda logits, loss: logits)
    return range_test(model, sgd(model), PAIRS, mse_loss, ramp=RAMP).losses


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("loader", [PAIRS, DICTS, TRIPLES], ids=["pairs", "dicts", "triples"])
def test_the_models_own_loss_is_the_same_as_one_computed_outside(pack: Any, loader: Any) -> None:
    model = Returning(pack)
    curve = range_test(model, sgd(model), loader, own_loss, ramp=RAMP)
    assert np.allclose(curve.losses, expected(), equal_nan=True)


def test_a_marked_loss_gets_model_and_batch_for_pairs_too() -> None:
    model = Returning()
    marked = with_model(lambda model, batch: model(*batch)[1])
    assert np.allclose(range_test(model, sgd(model), PAIRS, marked, ramp=RAMP).losses, expected(), equal_nan=True)


def test_metrics_may_be_marked_beside_those_of_outputs_and_targets() -> None:
    model = Returning(lambda logits, loss: logits if loss is None else loss)
    metrics = {
        "mae": lambda outputs, targets: (outputs - targets).abs().mean(),
        "mse": (with_model(lambda model, batch: model(*batch)), "min"),
    }
    found = evaluate(model, PAIRS, own_loss, metrics)
    with torch.no_grad():
        outputs = model.linear(X)
    assert found["loss"] == pytest.approx(found["mse"]) == pytest.approx(mse_loss(outputs, Y).item())
    assert found["mae"] == pytest.approx((outputs - Y).abs().mean().item())
    held_out = HeldOut(PAIRS, metrics, every=10)
    curve = range_test(model, sgd(model), PAIRS, own_loss, ramp=RAMP, held_out=held_out)
    assert set(curve.metrics) == {"val_loss", "mae", "mse"}


def test_tasks_training_and_auto_take_it_too() -> None:
    model = Returning()
    task = Task(model, sgd(model), own_loss, PAIRS, PAIRS)
    scheduler = auto(task, epochs=4, update=Update(accumulate=2))
    points = train(Task(model, sgd(model), own_loss, PAIRS, PAIRS), scheduler.plan.schedule, steps=20)
    assert points[-1]["val_loss"] < 0.1 * points[0]["loss"]


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (lambda logits, loss: logits, "0 in 'a Tensor'|0 in a Tensor"),
        (lambda logits, loss: (logits, None), "0 in a tuple"),
        (lambda logits, loss: (loss, 2 * loss), "2 in a tuple"),  # a loss and an accuracy: which is it?
        (lambda logits, loss: {"logits": logits}, r"0 in \['logits'\]"),
        (lambda logits, loss: {"loss_box": loss, "loss_class": loss}, r"0 in \['loss_box', 'loss_class'\]"),
        (lambda logits, loss: of_transformers(logits=logits), r"0 in \['logits'\]"),
        (lambda logits, loss: Result(logits, None), "0 in a Result"),
    ],
)
def test_an_output_that_does_not_hold_one_loss_is_an_error(pack: Any, words: str) -> None:
    model = Returning(pack)
    with pytest.raises(ValueError, match=f"exactly one loss, got .*({words})"):
        range_test(model, sgd(model), PAIRS, own_loss, ramp=RAMP)


@pytest.mark.parametrize("loss", [lambda loss: loss.item(), lambda loss: loss * torch.ones(2)])
def test_a_loss_by_name_that_is_no_scalar_tensor_is_an_error(loss: Any) -> None:
    model = Returning(lambda logits, value: {"loss": loss(value)})
    with pytest.raises((TypeError, ValueError), match="the loss must be"):
        loss_of(model, own_loss, PAIRS[0])


class Needing(Returning):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> Any:  # ty: ignore
        return super().forward(inputs, targets)


@pytest.mark.parametrize(
    ("model", "loss_fn", "name"),
    [
        (Returning(), None, "own_loss"),
        (Returning(), lambda outputs, targets: outputs[1], "own_loss"),  # the loss without targets is None
        (Returning(), lambda model, batch: model(*batch)[1], "with_model"),  # outputs are no function
        (Needing(), lambda outputs, targets: outputs[1], "own_loss"),  # forward() is missing an argument
        (Returning(), lambda model, inputs, targets: None, "with_model"),
    ],
)
def test_errors_of_the_usual_call_name_the_other_ways(model: nn.Module, loss_fn: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"cyclr.torch.{name}"):
        range_test(model, sgd(model), PAIRS, loss_fn, ramp=RAMP)


def test_what_a_marked_loss_refers_to_is_restored_as_that_of_any_other() -> None:
    model, teacher = Returning(), nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1))
    average = torch.optim.swa_utils.AveragedModel(model)

    @with_model
    def loss(model: Any, batch: Any) -> torch.Tensor:
        average.update_parameters(model)
        return (model.linear(batch[0]) - teacher(batch[0]).detach() - batch[1]).square().mean()

    before = [digest(teacher), digest(average)]
    range_test(model, sgd(model), PAIRS, loss, ramp=RAMP)
    assert [digest(teacher), digest(average)] == before


def test_marking_may_be_combined_and_pickled() -> None:
    marked = with_model(functools.partial(distance, 2.0))
    again = pickle.loads(pickle.dumps(with_model(marked)))
    assert isinstance(again, with_model)
    assert again(nn.Identity(), (torch.ones(3), torch.zeros(3))) == 2
    assert "distance" in repr(marked)


def distance(factor: float, model: Any, batch: Any) -> torch.Tensor:
    return factor * (model(batch[0]) - model(batch[1])).square().mean()


def test_only_a_function_can_be_marked() -> None:
    for given in (3, None, "loss", nn.CrossEntropyLoss):
        with pytest.raises(TypeError, match="function must be"):
            with_model(given)  # pyrefly: ignore[bad-argument-type]
