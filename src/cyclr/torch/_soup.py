"""Averages of the weights of snapshots: of all of them, or of those that help."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from cyclr._check import problem
from cyclr._metrics import GivenMetric, as_metric
from cyclr._snapshots import name_of
from cyclr.torch._batches import check_callable, check_loader, device_of, is_pair, moved
from cyclr.torch._members import Member, Members, check_members, load_member, members_of, open_member, unwrapped
from cyclr.torch._task import check_model

_log = logging.getLogger("cyclr")


def average(model: torch.nn.Module, snapshots: Members, loader: Iterable[Any] | None = None) -> torch.nn.Module:
    """Average the weights of snapshots into one model, which predicts at the cost of one.

    Floating-point buffers are averaged as weights are; integers, such as counts of batches, are those of the last
    snapshot. The statistics of BatchNorm are made anew in one pass over `loader`, as an average of statistics is not
    that of the averaged weights. Weights are summed in float32 at least. The given model is not changed; one copy of it
    is made, whatever the number of snapshots.

    Args:
        model: The network; its weights are not used.
        snapshots: A `Snapshots`, its folder, or a list of files (safetensors, or state_dicts of `torch.save`) or of
            state_dicts.
        loader: Training batches: pairs (inputs, targets), inputs alone, or dicts of arguments. Needed if the model has
            BatchNorm with running statistics.

    Returns:
        A model of the same class, with the training flags of `model`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no snapshot, one belongs to another model, or the loader is missing or empty.

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> member = lambda value: {"weight": torch.tensor([[value]])}
    >>> average(model, [member(1.0), member(2.0), member(6.0)]).weight.item()
    3.0

    Reference:
        Izmailov et al. (2018), Averaging Weights Leads to Wider Optima. https://arxiv.org/abs/1803.05407
    """
    members = _checked(model, snapshots, loader)
    return _average(unwrapped(model), members, loader)


@dataclass(frozen=True, slots=True)
class Soup:
    """The average that `soup` chose.

    Args:
        model: The averaged model.
        members: The snapshots in it, best first.
        value: Its validation value.
        values: The validation value of each snapshot by itself, in the order in which they were given.
    """

    model: torch.nn.Module
    members: tuple[Member, ...]
    value: float
    values: tuple[float, ...]


def soup(model: torch.nn.Module, snapshots: Members, metric: GivenMetric, loader: Iterable[Any] | None = None) -> Soup:
    """Average those snapshots that help, by a validation metric: a greedy soup.

    The best snapshot comes first. Each further one, from the second best to the worst, is taken into the average if
    the metric does not get worse. The metric must be of validation data: the value that it ends with is the best of
    many tries, and tells too much. Judge the soup on other data.

    Args:
        model: As in `average`.
        snapshots: As in `average`.
        metric: Judges a model, such as `(lambda model: evaluate(model, loader, loss_fn)["loss"], "min")`.
        loader: As in `average`.

    Returns:
        The averaged model and what it is made of.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: As `average`, or if no snapshot has a finite value.

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> member = lambda value: {"weight": torch.tensor([[value]])}
    >>> distance = lambda model: abs(model.weight.item() - 1)  # to the best weight
    >>> chosen = soup(model, [member(9.0), member(0.5), member(1.75)], (distance, "min"))
    >>> chosen.model.weight.item(), chosen.values, len(chosen.members)
    (1.125, (8.0, 0.5, 0.75), 2)

    Reference:
        Wortsman et al. (2022), Model soups, section 2. https://arxiv.org/abs/2203.05482
    """
    members = _checked(model, snapshots, loader)
    judge = as_metric(name_of(metric), metric, "metric")
    check_callable("metric", judge.function, "pass a pair (function of the model, 'min')")
    inner, sign = unwrapped(model), 1 if judge.better == "max" else -1
    one = copy.deepcopy(inner)
    values = []
    for member in members:
        load_member(one, member)
        values.append(float(judge(one)))
    order = sorted(
        (place for place, value in enumerate(values) if math.isfinite(value)),
        key=lambda place: sign * values[place],
        reverse=True,
    )
    if not order:
        raise ValueError(problem("metric must be finite for at least one snapshot", values))
    del one
    chosen, best = [members[order[0]]], values[order[0]]
    for place in order[1:]:
        value = float(judge(_average(inner, [*chosen, members[place]], loader)))
        if math.isfinite(value) and sign * value >= sign * best:
            chosen, best = [*chosen, members[place]], value
    _log.info("%d of %d snapshots are averaged, which gives %.4g", len(chosen), len(members), best)
    return Soup(_average(inner, chosen, loader), tuple(chosen), best, tuple(values))


def _checked(model: torch.nn.Module, snapshots: Members, loader: Iterable[Any] | None) -> list[Member]:
    """The members, after all has been checked that can be before the first is loaded."""
    check_model("model", model)
    members = members_of(snapshots)
    check_members(members, unwrapped(model))
    if loader is not None:
        check_loader("loader", loader)
    elif _has_statistics(model):
        advice = "pass the training loader; one pass over it makes the statistics anew"
        raise ValueError(problem("loader must be given for a model with BatchNorm", None, advice))
    return members


def _average(model: torch.nn.Module, members: list[Member], loader: Iterable[Any] | None) -> torch.nn.Module:
    """The mean of the members, tensor by tensor: of the members' files no more than one tensor is in memory."""
    found = copy.deepcopy(model)
    state = found.state_dict()
    opened = [open_member(member, found) for member in members]
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue  # a state of the module's own that is no array: it stays as it is in the model
        if tensor.is_floating_point() or tensor.is_complex():
            # half precision has too few digits for a sum
            total = torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
            for weights in opened:
                total += weights[name].to(tensor.device)
            tensor.copy_(total / len(opened))
        else:
            tensor.copy_(opened[-1][name])
    found.load_state_dict(state)  # for modules whose state_dict gives copies
    if loader is not None:
        _renew_statistics(found, loader)
    return found


class _Called(torch.nn.Module):
    """A model that takes a whole batch: a dict as arguments, anything else as the inputs."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Any:
        return self.model(**batch) if isinstance(batch, Mapping) else self.model(batch)


def _renew_statistics(model: torch.nn.Module, loader: Iterable[Any]) -> None:
    """BatchNorm's statistics, from one pass; training flags and torch's random state are restored."""
    flags = [(module, module.training) for module in model.modules()]
    taken = 0

    def inputs() -> Iterator[Any]:
        nonlocal taken
        for batch in loader:
            taken += 1
            yield moved(batch[0] if is_pair(batch) else batch, device_of(model))

    with torch.random.fork_rng(devices=[]):
        update_bn(inputs(), _Called(model))
    for module, flag in flags:
        module.training = flag
    if not taken and _has_statistics(model):
        raise ValueError(problem("loader must give at least one batch", "none", "check that the dataset is not empty"))


def _has_statistics(model: torch.nn.Module) -> bool:
    return any(isinstance(part, _BatchNorm) and part.running_mean is not None for part in model.modules())
