"""`cyclr compare`: compares policies on a task, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyclr import _check
from cyclr._cli import _console, _sections
from cyclr._cli._data import row_data
from cyclr._cli._progress import pieces
from cyclr._metrics import Better
from cyclr._page.registry import describe
from cyclr._page.views import Comparison
from cyclr.study import Engine, Target
from cyclr.study import compare as make_study
from cyclr.study._settings import DEFAULT, FOUND, TUNED, separated
from cyclr.study._summary import target_of

_Several = Annotated[tuple[str, ...], Parameter(show_default=False)]  # "()" says nothing to a reader of the help

PLACE = 6  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr compare fashion",
    "cyclr compare my_task.py:task --policies auto,linear,cosine --seeds 3 --rates found",
    "cyclr compare my_task.py:task --rates 0.01,0.03,0.1,0.3 --baseline linear --target 0.9 --out study",
    'cyclr compare my_task.py:task --policies auto,linear --policy "mine=Linear(max_lr, max_lr / 9, steps=steps)"',
)


def compare(
    task: str,
    /,
    *,
    policies: str = ",".join(DEFAULT),
    policy: _Several = (),
    seeds: int = 5,
    epochs: int = 30,
    rates: str = TUNED,
    curve: Path | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    minimize: str | None = None,
    maximize: str | None = None,
    target: float | None = None,
    finish: _Several = (),
    workers: int | None = None,
    engine: str = "joblib",
    address: str | None = None,
    cpus_per_run: int = 1,
    gpus_per_run: float = 0,
    working_dir: Path | None = None,
    out: Path = Path("cyclr-compare"),
    json: bool = False,
) -> None:
    """Compare policies on a task with equal budgets, the same seeds, and peak rates tuned in the same way.

    `auto` uses the max_lr found by the range test. For every other policy, five peaks around it are tried by full
    trainings under a separate seed, and the best on the validation data is used; these trainings count as its tuning
    cost. A task therefore needs validation and test data (val_loader and test_loader), or a function
    task(seed, tuning=False) that holds out part of the training data if tuning is true. If interrupted, run the same
    command again to resume.

    Args:
        task: A built-in task, file.py:function or module:function.
        policies: Names of built-in policies, separated by commas.
        policy: An additional policy as NAME="TEXT", such as mine="Linear(max_lr, 0, steps=steps)". TEXT is a schedule
            that may use the names base_lr, max_lr, steps (the budget) and epoch (steps in an epoch), and classes of
            your own that TASK's module defines or imports. Can be repeated; by default none.
        seeds: Number of seeds that each policy is trained with.
        epochs: Budget of each training, in epochs; every schedule is stretched to it.
        rates: Peak rates to try, separated by commas (a single one is used without tuning); or tuned: five peaks
            around the max_lr of the range test; or found: that max_lr for all, which needs no validation data.
        curve: A range test saved by `cyclr find --out`, to use instead of running one. By default a quick one is run,
            or a thorough one for trainings of 1,000 steps or more.
        baseline: The policy that the others are compared with; by default fixed if it is compared, else the first.
        metric: The metric to compare: loss or a metric of the task, measured on held-out data; by default the task's
            first metric.
        minimize: Like --metric, and states that lower is better; by default known from the metric.
        maximize: Like --metric, and states that higher is better; by default known from the metric.
        target: A value of the metric; the time to reach it is reported. By default the baseline's final mean.
        finish: What is judged at the end of a training: single (the model; the default), ensemble (of the snapshots at
            the ends of cycles), average (of their weights; without two cycles, of the last fifth of the training), ema
            (the moving average of the weights) or independent (three trainings of a third of the budget each, as an
            ensemble). For one policy as NAME=ensemble; can then be repeated.
            auto becomes the plan for that goal. What a prediction costs is reported.
        workers: Maximum number of concurrent trainings; by default 2, or with Ray as many as fit on the cluster.
        engine: joblib (processes on this machine) or ray (a cluster). The range test always runs on this machine.
        address: Address of the Ray cluster, HOST:PORT or auto; by default RAY_ADDRESS, else a local one is started.
        cpus_per_run: CPU cores, and thus threads, of each training.
        gpus_per_run: GPUs of each training; only with Ray.
        working_dir: A folder of code that Ray sends to its nodes, only with Ray; by default none.
        out: Folder for the records.
        json: Print one JSON document instead of tables.
    """
    with pieces() as progress:
        made = make_study(
            task,
            policies=_policies(policies, policy),
            seeds=seeds,
            epochs=epochs,
            rates=_rates(rates),
            curve=curve,
            baseline=baseline,
            metric=Target(_metric(metric, minimize, maximize), target),
            finish=_finish(finish),
            engine=Engine(engine, workers, address, cpus_per_run, gpus_per_run, working_dir),
            out=out,
            progress=progress,
        )
    if json:
        _console.document(_as_data(Comparison.of(made)))
    else:
        _sections.show(describe(made))
        _console.note(f"records are in {out}; run cyclr report {out} for an HTML report")


def _policies(listed: str, own: Sequence[str]) -> str | Mapping[str, str]:
    """The names, and the user's own policies with their texts, which may contain commas."""
    if not own:
        return listed
    names = separated(listed)
    texts = {}
    for given in own:
        name, sign, text = given.partition("=")
        if not sign or not name.isprintable():
            advice = 'write for example mine="Constant(max_lr)"'
            raise ValueError(_check.problem('--policy must be NAME="TEXT"', given, advice))
        if name.strip() in (*names, *texts):
            raise ValueError(_check.problem("each policy must have a unique name", name.strip()))
        texts[name.strip()] = text.strip()
    return {name: name for name in names} | texts


def _finish(given: Sequence[str]) -> str | dict[str, str]:
    """One for all policies, or those of policies by their names."""
    if not given:
        return "single"
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    found = {}
    for text in given:
        name, sign, finish = text.rpartition("=")
        if not sign or name.strip() in found:
            must = "--finish must be one for all policies, or NAME=FINISH once for each of some"
            raise ValueError(_check.problem(must, text, "write for example triangular2=ensemble"))
        found[name.strip()] = finish.strip()
    return found


def _rates(text: str) -> str | tuple[float, ...]:
    if text in (TUNED, FOUND):
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        advice = f"pass a list such as 0.01,0.03,0.1, or {TUNED}, or {FOUND}"
        raise ValueError(_check.problem("--rates must be positive numbers separated by commas", text, advice)) from None


def _metric(metric: str | None, minimize: str | None, maximize: str | None) -> str | tuple[str, Better] | None:
    if sum(name is not None for name in (metric, minimize, maximize)) > 1:
        raise ValueError("--metric, --minimize and --maximize each choose the metric; pass only one of them")
    if minimize is not None:
        return minimize, "min"
    return metric if maximize is None else (maximize, "max")


def _as_data(comparison: Comparison) -> dict[str, object]:
    made = comparison.study
    return {
        "task": made.task, "metric": made.metric, "baseline": made.baseline, "maximize": made.maximize,
        "target": target_of(made), "bounds": made.bounds, "rates": made.rates,
        "rows": [row_data(row) for row in comparison.rows], "verdict": comparison.verdicts, "notes": made.notes,
    }  # fmt: skip
