"""What a comparison is asked for: its arguments, checked, and kept as the settings that determine the runs."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import msgspec

from cyclr import _check
from cyclr._metrics import Better
from cyclr._policies import POLICIES, check_policy
from cyclr._schedules import own_classes
from cyclr.study._design import FINISHES, TUNING_SEED, Finish
from cyclr.study._records import Facts
from cyclr.study._task import name_of

DEFAULT = ("auto", "fixed", "step", "cosine", "linear", "one_cycle", "triangular2")
TUNED, FOUND = "tuned", "found"
_FINGERPRINT = "cyclr.tasks._find:fingerprint"  # by name: it is above this module


@dataclass(frozen=True, slots=True)
class Target:
    """The metric of a comparison, and a value of it: the steps and seconds to reach that are reported.

    Args:
        metric: As in `compare`: a name, or a pair of it and "min" or "max"; None for the task's first metric.
        value: The value to reach; None for the baseline's final mean.

    Raises:
        TypeError: If the value is not a number.
        ValueError: If it is not finite.

    >>> Target("accuracy", 0.9)
    Target(metric='accuracy', value=0.9)
    """

    metric: str | tuple[str, Better] | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", _check.number("target", self.value))


class Settings(msgspec.Struct, frozen=True):
    """The settings that determine the runs, kept in their folder. Baseline and target may change later."""

    task: str
    task_file: str
    policies: tuple[str, ...]
    seeds: int
    epochs: int
    metric: str | None
    rates: str | tuple[float, ...]
    curve: str | None
    facts: Facts | None = None
    texts: dict[str, str] = {}  # texts of the policies that are not built in
    better: Better | None = None  # direction of the metric, if given
    finish: dict[str, Finish] = {}  # of the policies that do not end as a single model

    @property
    def tuned(self) -> bool:
        """Whether rates are tuned."""
        return self.rates == TUNED or (not isinstance(self.rates, str) and len(self.rates) > 1)

    @property
    def rules(self) -> dict[str, str]:
        """The policies as `cyclr.policy` takes them, by name."""
        return {name: self.texts.get(name, name) for name in self.policies}

    @property
    def classes(self) -> tuple[str, ...]:
        """The user's own classes of schedules that the policies use."""
        return tuple(sorted({name for text in self.texts.values() for name in own_classes(text)}))


def asked_for(
    task: str | Callable[..., Any],
    policies: str | Iterable[str] | Mapping[str, str],
    seeds: int,
    epochs: int,
    rates: str | float | Iterable[float],
    curve: str | os.PathLike[str] | None,
    metric: str | tuple[str, Better] | None,
    finish: str | Mapping[str, str] = "single",
) -> Settings:
    """The arguments that determine the runs, checked as far as possible without the task."""
    text = name_of(task)
    rules = _rules(policies)
    if _check.count("seeds", seeds) > TUNING_SEED:
        raise ValueError(_check.problem(f"seeds must be at most {TUNING_SEED}", seeds))
    name, better = metric if isinstance(metric, tuple) else (metric, None)
    if better is not None:
        _check.choice("the direction of metric", better, get_args(Better))
    return Settings(
        task=text,
        task_file=pkgutil.resolve_name(_FINGERPRINT)(text),
        policies=tuple(rules),
        seeds=int(seeds),
        epochs=_check.count("epochs", epochs),
        metric=name,
        rates=_rates(rates),
        curve=None if curve is None else os.fspath(curve),
        texts={name: rule for name, rule in rules.items() if rule != name},
        better=better,
        finish=_finishes(finish, tuple(rules)),
    )


def _finishes(given: str | Mapping[str, str], names: Sequence[str]) -> dict[str, Finish]:
    """How each policy ends, where it is not as a single model."""
    every = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, finish in every.items():
        _check.choice("a name in finish", name, names)
        _check.choice("finish", finish, FINISHES)
    return {name: cast("Finish", finish) for name, finish in every.items() if finish != "single"}


def _rules(policies: str | Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Built-in policies or texts, by name."""
    if isinstance(policies, Mapping):
        rules = dict(cast("Mapping[str, str]", policies))
        for name, rule in rules.items():
            _check_name(name, rule)
            check_policy(f"policy {name!r}", rule)
        if len(rules) < 2:
            advice = f"add what to compare with, such as {{'fixed': 'fixed', **{rules!r}}}"
            raise ValueError(f"policies must name two or more policies, got {', '.join(rules) or 'none'}; {advice}")
        return rules
    names = separated(policies) if isinstance(policies, str) else list(policies)
    for name in names:
        if isinstance(name, str) and not name.isidentifier() and "(" in name:
            advice = f"pass a mapping such as {{'mine': {name!r}}}, or --policy mine=..."
            raise ValueError(f"policies must be names of built-in ones, got a text; {advice}")
        _check.choice("policies", name, POLICIES)
    if len(set(names)) < max(2, len(names)):
        must = "policies must name two or more policies, each once"
        raise ValueError(_check.problem(must, names, "pass for example auto,fixed"))
    return {name: name for name in names}


def separated(policies: str) -> list[str]:
    """What stands between commas that are outside of brackets.

    >>> separated("auto, Linear(max_lr, 0, steps=steps)")
    ['auto', 'Linear(max_lr, 0, steps=steps)']
    """
    parts, depth = [""], 0
    for char in policies:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _check_name(name: str, rule: str) -> None:
    """Check that the name works as a folder and in a list, and that no other built-in policy has it."""
    if not isinstance(name, str) or not name or not all(char.isalnum() or char in " ._-+" for char in name):
        must = "the name of a policy must consist of letters, digits, spaces and . _ - +"
        raise ValueError(_check.problem(must, name, "choose a name such as mine"))
    if name in POLICIES and rule != name:
        must = "the name of a policy must not be that of a built-in one"
        raise ValueError(f"{must}, got {name!r} for {rule!r}; choose another name")


def baseline_of(name: str | None, policies: Sequence[str]) -> str:
    if name is None:
        return "fixed" if "fixed" in policies else policies[0]
    return _check.choice("baseline", name, policies)


def _rates(rates: str | float | Iterable[float]) -> str | tuple[float, ...]:
    if isinstance(rates, str):
        return _check.choice("rates", rates, (TUNED, FOUND))
    found = tuple(rates) if isinstance(rates, Iterable) else (rates,)
    advice = f"pass a rate such as 0.01, or {TUNED!r}, or {FOUND!r}"
    found = tuple(_check.positive("rates", rate, advice) for rate in found)
    if not found:
        raise ValueError("rates must contain at least one rate, got none; pass a rate such as 0.01")
    if len(set(found)) < len(found):
        raise ValueError(_check.problem("rates must contain each rate once", found))
    return tuple(sorted(found))
