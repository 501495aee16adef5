"""A torch training for the loop of a range test: its steps, its losses, and how it is rewound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._range import HeldOut, Ramp, Recorder, StepProgress
from cyclr._rng import same_draws
from cyclr.torch._batches import check_callable, check_loader, checked_loss, device_of, endless, moved
from cyclr.torch._distributed import averaged, group_of, once, place_in
from cyclr.torch._groups import adaptive_weights, is_plain_sgd, named_ratios, put, ratios, trains_single_layer
from cyclr.torch._parts import NOTHING
from cyclr.torch._reference import Evaluates, ReferenceBatches, TakenInTurn
from cyclr.torch._restore import Transaction
from cyclr.torch._update import Step, StepFunction, Update, at_hand, evaluate_together
from cyclr.torch._watch import Watch

Measured = Callable[[], Mapping[str, float]]


class Training:
    """The operations on a torch training for the loop of a range test, but for the steps."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loader: Iterable[Any],
        measure: Measured,
        transaction: Transaction,
        watch: Watch | None,
    ) -> None:
        self._groups = list(zip(optimizer.param_groups, ratios(optimizer), strict=True))
        #: Name and rate ratio of each, where they differ.
        self.groups = named_ratios(optimizer)
        self.plain_sgd, self.weights = is_plain_sgd(optimizer), adaptive_weights(optimizer)
        self.single_layer = trains_single_layer(optimizer)
        self._loader = loader
        self.begin()
        self._measure, self._transaction = measure, transaction
        self._together = group_of(model)
        self._watch = watch

    def begin(self, in_turn: int = 0) -> None:
        """Begin the data; `in_turn` is how many batches are given again and again, 0 for new ones."""
        self.in_turn, self._given = in_turn, endless(self._loader)
        self._take()

    def _take(self) -> None:
        self.batches = TakenInTurn(self._given, self.in_turn) if self.in_turn else self._given

    def put(self, rate: float) -> None:
        """Set the rate of the step to come."""
        for group, ratio in self._groups:
            put(group, "lr", rate * ratio)
        if self._watch is not None:
            self._watch.before([group for group, _ in self._groups])

    def stepped(self, loss: torch.Tensor) -> torch.Tensor:
        """Note that the step was made."""
        if self._watch is not None:
            self._watch.after([group for group, _ in self._groups], loss)
        return loss

    def read(self, losses: Sequence[torch.Tensor]) -> list[float]:
        if self._together is None and at_hand(losses[-1]):
            return [loss.item() for loss in losses]  # a few numbers: quicker than to put them together first
        return averaged(torch.stack(list(losses)), self._together).tolist()

    def reference(self) -> torch.Tensor:
        raise NotImplementedError("only where a function of a batch gives its loss")

    def agreed(self, seconds: float | None) -> float | None:
        """What the first process has measured, in all of them."""
        return once(lambda: seconds, self._together)

    def measure(self) -> dict[str, float]:
        return dict(self._measure())

    def rewind(self, *, data: bool) -> None:
        self._transaction.rewind(everything=data)
        if data:
            self.begin(self.in_turn)
        self._take()


class Stepped(Training):
    """A training whose steps a function makes."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loader: Iterable[Any],
        measure: Measured,
        transaction: Transaction,
        watch: Watch | None,
        step: Callable[[Iterator[Any]], torch.Tensor],
    ) -> None:
        super().__init__(model, optimizer, loader, measure, transaction, watch)
        self._make_step = step
        loss = loss_of_batch(step)
        accumulate = step.how.accumulate if isinstance(step, Step) else 1
        self._reference = None if loss is None else ReferenceBatches(model, loss, accumulate)

    def step(self, rate: float) -> torch.Tensor:
        self.put(rate)
        if not self.in_turn:
            return self.stepped(self._make_step(self.batches))
        batch = next(self.batches)
        with same_draws():
            return self.stepped(self._make_step(iter([batch])))

    @property
    def examples(self) -> int:
        """Examples that a step takes in all processes; 0 if unknown."""
        source = self.batches if isinstance(self.batches, TakenInTurn) else self._reference
        return 0 if source is None else source.examples * place_in(self._together)[1]

    def reference(self) -> torch.Tensor:
        return super().reference() if self._reference is None else self._reference(self.batches)


def besides(
    loader: Iterable[Any], loss_fn: object, update: Update | StepFunction | None, held_out: HeldOut | None
) -> dict[str, Any]:
    """What `preserved` restores besides the network and its optimizer."""
    data, functions = [loader], [loss_fn, update]
    if held_out is not None:
        data.append(held_out.loader)
        functions.extend(held_out.functions.values())
    scaler = update.scaler if isinstance(update, Update) else None
    return {"scaler": scaler, "loader": data, "functions": functions}


def loss_of_batch(step: Callable[..., torch.Tensor]) -> Callable[[Any], torch.Tensor] | None:
    """The function that gives the loss of a batch, if the step has one: a user's step function has none."""
    if isinstance(step, Step):
        return step.loss
    own = getattr(step, "own", None)
    return own.evaluated if isinstance(own, Evaluates) and own.can_evaluate else None


def recorder_of(
    ramp: Ramp,
    held_out: HeldOut | None,
    loss_fn: object,
    *,
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    progress: StepProgress | None = None,
    reference: bool = False,
    in_turn: bool = False,
) -> Recorder:
    """The recorder of a test with these held-out data, which say little of a network that sees a few batches only."""
    how = {"repeats": repeats, "effort": effort, "budget": budget, "progress": progress}
    measured = held_out is not None
    recorder = Recorder(ramp, reference=reference, in_turn=in_turn and not measured, measured=measured, **how)
    if held_out is not None:
        check_held_out(held_out, loss_fn)
        recorder.every, recorder.maximize = held_out.steps_between(recorder.ramp.steps), held_out.maximize
    return recorder


def check_held_out(held_out: HeldOut, loss_fn: object) -> None:
    """Check that a torch range test can use the held-out data."""
    if not isinstance(held_out, HeldOut):
        raise TypeError(problem("held_out must be a cyclr.HeldOut", held_out, "write HeldOut(loader, metrics)"))
    check_loader("held_out.loader", held_out.loader)
    if loss_fn is not None and "val_loss" in held_out.metrics:
        raise ValueError(
            "a metric must not be called 'val_loss', the name of the loss on held-out data; give it another name"
        )


def measured(
    model: torch.nn.Module,
    held_out: HeldOut | None,
    loss_fn: Callable[..., torch.Tensor] | None,
    update: Update | StepFunction | None,
) -> Measured:
    """A function that measures loss and metrics on held-out data."""
    if held_out is None:
        return dict
    device = update.device if isinstance(update, Update) else None

    def measure() -> dict[str, float]:
        found = evaluate_together(model, held_out.loader, loss_fn, held_out.functions, group_of(model), device=device)
        return {"val_loss" if name == "loss" else name: value for name, value in found.items()}

    return measure


def step_of(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., torch.Tensor] | None,
    update: Update | StepFunction | None,
) -> Callable[[Iterator[Any]], torch.Tensor]:
    """A function that makes one step with the next batches, by an `Update` or the user's step function."""
    if update is None or isinstance(update, Update):
        advice = (
            "pass a function of (outputs, targets), cyclr.torch.own_loss if the model returns its loss, or a step "
            "function as update="
        )
        check_callable("loss_fn", loss_fn, advice)
        assert loss_fn is not None
        # Several processes would have to agree on which losses are not finite, and to wait for that at each step.
        return (update or Update()).of(model, optimizer, loss_fn, skip_non_finite=group_of(model) is None)
    return _OwnStep(update, device_of(model))


class _OwnStep:
    """A step that the user's function makes."""

    def __init__(self, own: StepFunction, device: torch.device | None) -> None:
        self.own, self._device = own, device

    def __call__(self, batches: Iterator[Any]) -> torch.Tensor:
        batch = next(batches)
        return checked_loss(self.own() if batch is NOTHING else self.own(moved(batch, self._device))).detach()
