"""Ensembles: the averaged predictions of several sets of weights of one model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import logsigmoid

from cyclr._check import choice, non_negative, problem
from cyclr.torch._batches import is_pair, moved
from cyclr.torch._members import Member, Members, check_members, load_member, members_of, unwrapped
from cyclr.torch._task import OUTPUTS, Task, check_model

BLOCK = 256 << 20  #: bytes of batches and predictions that are held while one member after another is loaded


def ensemble(
    model: torch.nn.Module,
    snapshots: Members,
    outputs: str,
    *,
    weights: Sequence[float] | None = None,
    dim: int = -1,
    in_memory: bool = False,
) -> Ensemble:
    """Average the predictions of several sets of weights of one model.

    One copy of the model is made, into which one member after another is loaded, so that memory does not grow with
    their number; time does. `evaluate` takes the ensemble in place of a model, and loads each member once for many
    batches. The given model is not changed.

    Args:
        model: The network; its weights are not used.
        snapshots: A `Snapshots`, its folder, or a list of files (safetensors, or state_dicts of `torch.save`) or of
            state_dicts.
        outputs: What the model returns, as a tensor or as `logits` of an object. "logits" of classes: probabilities are
            averaged. "binary_logits", each of a probability of its own: likewise. "values": the mean is taken.
        weights: One weight for each member; by default all count the same.
        dim: The dimension of the classes; 1 for images whose pixels are classified.
        in_memory: Whether to hold all members in memory, which is faster where they fit.

    Returns:
        A module that is called as the model is. For logits, it returns logarithms of the averaged probabilities, which
        are logits, too: losses and metrics of logits apply to them unchanged.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no member, one belongs to another model, or a value is out of range.

    >>> import torch
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> member = lambda a, b: {"weight": torch.tensor([[a], [b]])}
    >>> both = ensemble(model, [member(0.0, 0.0), member(0.0, 1.0)], "logits")
    >>> [round(chance, 3) for chance in both(torch.ones(1, 1)).softmax(-1)[0].tolist()]  # of 0.5, 0.5 and 0.27, 0.73
    [0.384, 0.616]

    Reference:
        Huang et al. (2017), Snapshot Ensembles. https://arxiv.org/abs/1704.00109
    """
    check_model("model", model)
    choice("outputs", outputs, OUTPUTS)
    members = members_of(snapshots)
    shares = _shares(weights, len(members))
    model = unwrapped(model)
    check_members(members, model)
    return Ensemble(model, members, shares, outputs, dim=dim, in_memory=in_memory)


def outputs_of(task: Task) -> str | None:
    """What the task's model returns: as it says, or as its loss implies; None if that is unknown."""
    kinds = {
        "logits": (functional.cross_entropy, nn.CrossEntropyLoss),
        "binary_logits": (functional.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
        "values": (functional.mse_loss, nn.MSELoss, functional.l1_loss, nn.L1Loss, functional.smooth_l1_loss,
                   nn.SmoothL1Loss, functional.huber_loss, nn.HuberLoss),
    }  # fmt: skip
    known = [name for name, losses in kinds.items() if task.loss_fn in losses or type(task.loss_fn) in losses]
    return task.outputs or next(iter(known), None)


def ensemble_of(task: Task, snapshots: Members, outputs: str | None = None) -> Ensemble:
    """The ensemble of a task's snapshots; the outputs are those of the task unless they are given."""
    per_class = task.loss_fn is functional.cross_entropy or isinstance(task.loss_fn, nn.CrossEntropyLoss)
    return ensemble(task.model, snapshots, outputs or outputs_of(task) or "", dim=1 if per_class else -1)


class Ensemble(torch.nn.Module):
    """The averaged predictions of several sets of weights; made by `ensemble`. It stays in evaluation mode."""

    def __init__(
        self,
        model: torch.nn.Module,
        members: Sequence[Member],
        shares: Sequence[float],
        outputs: str,
        *,
        dim: int = -1,
        in_memory: bool = False,
    ) -> None:
        super().__init__()
        self.members, self.shares, self.outputs, self.dim = list(members), list(shares), outputs, dim
        self.models = torch.nn.ModuleList(copy.deepcopy(model) for _ in range(len(members) if in_memory else 1))
        self.in_memory = in_memory
        if in_memory:
            for one, member in zip(self.models, members, strict=True):
                load_member(one, member)
        self.train()

    def train(self, mode: bool = True) -> Ensemble:
        """Stays in evaluation mode."""
        return super().train(False)

    def __len__(self) -> int:
        return len(self.members)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: torch.Tensor) -> Any:
        """The averaged prediction. Each call loads every member once, unless they are in memory.

        Returns:
            A tensor, or an object of the model's type with nothing but its `logits`.
        """
        total, output = None, None
        for model, share in self._loaded():
            output = model(*args, **kwargs)
            total = self._added(total, output, share)
        return self._finished(total, output)

    @torch.no_grad()
    def over(self, batches: Iterable[Any], device: torch.device | None = None) -> Iterator[tuple[Any, Any]]:
        """Batches with their averaged predictions. Each member is loaded once for as many batches as fit into memory.

        Args:
            batches: Pairs (inputs, targets), or inputs alone.
            device: Where batches are moved.

        Yields:
            The batch, on the device, and the prediction for it.
        """
        source = iter(batches)
        while True:
            block: list[tuple[Any, Any]] = []  # batch and output of the first member
            totals: list[torch.Tensor] = []
            for number, (model, share) in enumerate(self._loaded()):
                if number == 0:
                    block = list(self._begun(model, source, device))
                    totals = [self._added(None, output, share) for _, output in block]
                else:
                    for place, (batch, _) in enumerate(block):
                        totals[place] = self._added(totals[place], model(_inputs(batch)), share)
            if not block:
                return
            for (batch, output), total in zip(block, totals, strict=True):
                yield batch, self._finished(total, output)

    def _begun(
        self, model: torch.nn.Module, source: Iterator[Any], device: torch.device | None
    ) -> Iterator[tuple[Any, Any]]:
        """As many batches as fit into memory, with the outputs of the first member."""
        room = BLOCK
        for batch in source:
            there = moved(batch, device)
            output = model(_inputs(there))
            yield there, output
            parts = [*(there if isinstance(there, (tuple, list)) else [there]), _tensor(output)]
            room -= sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
            if room <= 0:
                return

    def _loaded(self) -> Iterator[tuple[torch.nn.Module, float]]:
        """Each member as a model, with its share. The next one may take the place of the one before."""
        for number, (member, share) in enumerate(zip(self.members, self.shares, strict=True)):
            if not self.in_memory:
                load_member(self.models[0], member)
            yield self.models[number if self.in_memory else 0], share

    def _added(self, total: torch.Tensor | None, output: Any, share: float) -> torch.Tensor:
        """The sum over members so far; of probabilities as a logarithm, as small ones would vanish."""
        found = _tensor(output)
        if not found.is_floating_point():
            raise TypeError(problem("the model's outputs must be floats", found.dtype, "return logits or values"))
        if self.outputs == "values":
            return share * found if total is None else total + share * found
        wide = found.to(torch.promote_types(found.dtype, torch.float32))
        if self.outputs == "logits":
            chance = wide.log_softmax(self.dim)
        else:
            chance = torch.stack([logsigmoid(wide), logsigmoid(-wide)])
        chance = chance + math.log(share)
        return chance if total is None else torch.logaddexp(total, chance)

    def _finished(self, total: torch.Tensor | None, output: Any) -> Any:
        assert total is not None
        mean = total[0] - total[1] if self.outputs == "binary_logits" else total
        return mean if isinstance(output, torch.Tensor) else type(output)(logits=mean)


def _inputs(batch: Any) -> Any:
    return batch[0] if is_pair(batch) else batch


def _tensor(output: Any) -> torch.Tensor:
    """The prediction in what a model returns: a tensor, or `logits` as Transformers' models have them."""
    found = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(found, torch.Tensor):
        advice = "wrap the model in a module that returns the prediction"
        raise TypeError(problem("the model must return a tensor, or an object with logits", type(output), advice))
    return found


def _shares(weights: Sequence[float] | None, members: int) -> list[float]:
    """Weights that sum to one."""
    if weights is None:
        return [1 / members] * members
    given = [non_negative("a weight", weight) for weight in weights]
    if len(given) != members or not all(given):
        must = f"weights must be one positive number for each of the {members} members"
        raise ValueError(problem(must, list(weights), "leave out members that should not count"))
    return [weight / sum(given) for weight in given]
