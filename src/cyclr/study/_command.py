"""The command line that makes a study again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path


def command(verb: str, *given: str, options: Mapping[str, object | Iterable[str] | None]) -> str:
    """A command line as a shell reads it; options without a value are left out.

    >>> command("compare", "my task.py:task", options={"seeds": 3, "target": None, "policy": ("a=Constant(1)",)})
    "cyclr compare 'my task.py:task' --seeds 3 --policy 'a=Constant(1)'"
    """
    words = ["cyclr", verb, *given]
    for name, value in options.items():
        values = [] if value is None else list(value) if isinstance(value, tuple) else [value]
        for each in values:
            words += [f"--{name.replace('_', '-')}", str(each)]
    return shlex.join(words)


def of_compare(
    task: str,
    chosen: Mapping[str, str],
    *,
    seeds: int,
    epochs: int,
    rates: str | tuple[float, ...],
    metric: tuple[str | None, str | None],
    curve: str | None,
    finish: Mapping[str, str],
    baseline: str,
    target: float | None,
    out: Path,
) -> str:
    """The command `cyclr compare` with its settings; those of a folder's own are left out.

    >>> of_compare("fashion", {"auto": "auto", "linear": "linear"}, seeds=2, epochs=5, rates=(0.1, 0.3),
    ...            metric=("mae", "min"), curve=None, finish={"auto": "average"}, baseline="auto", target=None,
    ...            out=Path("study"))
    'cyclr compare fashion --policies auto,linear --seeds 2 ... --minimize mae --finish auto=average ...'
    """
    built_in = [name for name, text in chosen.items() if text == name]
    name, better = metric
    options: dict[str, object] = {
        "policies": ",".join(built_in) or None,
        "policy": tuple(f"{name}={text}" for name, text in chosen.items() if text != name),
        "seeds": seeds,
        "epochs": epochs,
        "rates": rates if isinstance(rates, str) else ",".join(f"{rate:g}" for rate in rates),
        {"min": "minimize", "max": "maximize"}.get(better or "", "metric"): name,
        "curve": curve,
        "finish": tuple(f"{policy}={finish}" for policy, finish in finish.items()),
        "baseline": baseline,
        "target": target,
        "out": out,
    }
    return command("compare", task, options=options)
