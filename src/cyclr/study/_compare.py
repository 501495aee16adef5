"""Compares policies on a task: from the arguments to a study, in a folder from which it can be resumed."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import msgspec

from cyclr import _check
from cyclr._metrics import Better, direction, in_words
from cyclr._policies import policy as make_schedule
from cyclr._policies import uses_bounds
from cyclr._range import Bounds, Curve, Inconclusive, effort_for
from cyclr._renamed import renamed
from cyclr.study._command import of_compare
from cyclr.study._design import ENSEMBLES, Design, arms, finished, run_design
from cyclr.study._engine import Engine
from cyclr.study._files import CURVE, RUNS, SETTINGS, STUDY, claim, claimed, write_json
from cyclr.study._pool import Apart
from cyclr.study._records import Facts, Run, Study, outputs_unknown
from cyclr.study._settings import DEFAULT, FOUND, TUNED, Settings, Target, asked_for, baseline_of

_UNPAIRED = (
    "Two trainings with the same seed start differently, so the runs of a seed are not paired: initial weights and "
    "data order should depend on the seed alone."
)
# Passed by name: they need a framework and are imported by the workers.
_CHECK_CLASSES = "cyclr.tasks._find:check_classes"
_INSPECT = "cyclr.tasks._inspect:inspect_task"
_MAKE_CURVE = "cyclr.tasks._run:save_curve"
_MAKE_RUN = "cyclr.tasks._run:make_study_run"


class Progress(Protocol):
    """Called as a study progresses, with the stage, the amount done and a text to show beside it."""

    def __call__(self, title: str, done: int, total: int, unit: str, beside: str = "") -> None: ...


@renamed(("metric", Target, {"target": "value"}))
def compare(
    task: str | Callable[..., Any],
    *,
    policies: str | Iterable[str] | Mapping[str, str] = DEFAULT,
    seeds: int = 5,
    epochs: int = 30,
    rates: str | float | Iterable[float] = TUNED,
    curve: str | os.PathLike[str] | None = None,
    baseline: str | None = None,
    metric: str | tuple[str, Better] | Target | None = None,
    finish: str | Mapping[str, str] = "single",
    engine: Engine | None = None,
    out: str | os.PathLike[str] = "cyclr-compare",
    progress: Progress | None = None,
) -> Study:
    """Compare policies on a task with equal budgets, the same seeds, and peak rates tuned in the same way.

    `auto` uses the max_lr found by the range test. For every other policy, five peaks around it are tried by full
    trainings under a separate seed, and the best on the validation data is used; these trainings count as its tuning
    cost. A task therefore needs validation and test data (`val_loader` and `test_loader`), or a function
    `task(seed, tuning=False)` that holds out part of the training data if `tuning` is true. If interrupted, the same
    call resumes.

    Args:
        task: A function of a seed that returns a `cyclr.torch.Task` and that other processes can import; or its name,
            `file.py:function` or `module:function`; or the name of a built-in task.
        policies: Names of built-in policies, in a list or separated by commas. Policies with texts of your own need
            names: a mapping from the name of each policy to a built-in one or to a text with the free names of
            `cyclr.policy`. A text may use your own classes of schedules, as `my_task.Knee(max_lr, 60, steps)`, which
            the task's module must define or import.
        seeds: Number of seeds that each policy is trained with.
        epochs: Budget of each training, in epochs; every schedule is stretched to it.
        rates: Peak rates to try (a single one is used without tuning); or "tuned": five peaks around the max_lr of the
            range test; or "found": that max_lr for all, which needs no validation data.
        curve: The file of a range test (`Curve.save`) to use instead of running one. By default a quick one is run, or
            a thorough one for trainings of 1,000 steps or more.
        baseline: The policy that the others are compared with; by default `fixed` if it is compared, else the first.
        metric: "loss" or a metric of the task, measured on held-out data; by default the task's first metric. A pair
            (name, "min") or (name, "max") states whether lower or higher is better. The steps and seconds to reach the
            baseline's final mean are reported, or with a `Target` those to reach its value.
        finish: What is judged at the end of a training: the "single" model, an "ensemble" of the snapshots at the ends
            of its cycles, or their "average", or the moving average of the weights ("ema", as `averaged_model` makes
            it), or the ensemble of three "independent" trainings, each of a third of the budget. One for all policies,
            or a mapping from their names. Without two cycles, an average is that of five snapshots in the last fifth of
            the training (at a constant rate: SWA), and an ensemble is a single model. `auto` is the plan for an average
            or an ensemble. The budget stays the same for all; what a prediction costs is reported.
        engine: Where the runs are executed; by default two processes on this machine.
        out: Folder for the records.
        progress: Called as the work progresses.

    Returns:
        The study, which is also written to `out`/study.json.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument or the task is unsuitable, or `out` holds another study's records; `TaskError` is a
            subclass.
        Inconclusive: If the range test is inconclusive.
        ConnectionError: If there is no cluster at the engine's address.
        RunError: If a run fails; finished runs are kept.

    For example, `compare("fashion", policies="auto,fixed,linear", seeds=3, epochs=5)`. An invalid argument raises
    before any work is done:

    >>> compare("fashion", policies={"auto": "auto", "mine": "Linear(max_rl, 0, steps=steps)"})
    Traceback (most recent call last):
    ValueError: policy 'mine' may use the names base_lr, max_lr, steps, epoch, got 'max_rl' in ...
    """
    judged = metric if isinstance(metric, Target) else Target(metric)
    asked = asked_for(task, policies, seeds, epochs, rates, curve, judged.metric, finish)
    baseline = baseline_of(baseline, asked.policies)
    if not isinstance(engine := engine or Engine(), Engine):
        raise TypeError(_check.problem("engine must be an Engine", engine, "pass cyclr.study.Engine(workers=2)"))
    out = Path(out)
    check_folder(out)
    if asked.classes:
        pkgutil.resolve_name(_CHECK_CLASSES)(asked.task, asked.classes)
    given = None if curve is None else Curve.load(curve)
    if not (out / STUDY).exists():  # otherwise everything is done, and no engine is needed
        engine.check()
    with engine.apart() as apart:
        settled = _settle(asked, out, apart)
        design, found = _design(settled, given, out, apart, progress)
    study = run_in(out, design, engine, progress)
    notes = study.notes if settled.facts is None or settled.facts.paired else [*study.notes, _UNPAIRED]
    again = of_compare(
        asked.task, asked.rules, seeds=asked.seeds, epochs=asked.epochs, rates=asked.rates, curve=asked.curve,
        metric=(asked.metric, asked.better), finish=asked.finish, baseline=baseline, target=judged.value, out=out,
    )  # fmt: skip
    said = {"baseline": baseline, "target": judged.value, "notes": notes, "command": again}
    study = msgspec.structs.replace(study, bounds=found, **said)
    write_json(out / STUDY, study)
    return study


def check_folder(out: Path) -> None:
    """Check, before any work, that records can be written to the folder."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"out must be a folder, got the file {there}; choose another path")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{there} is not writable; choose another folder as out")


def curve_in(out: Path, task: str, steps: int, apart: Apart, progress: Progress | None = None) -> Curve:
    """The range test for trainings of `steps` steps, run once."""
    path = out / CURVE
    if not path.exists():
        title = f"range test on {task}"

        def tell(step: int, total: int, rate: float, loss: float) -> None:
            if progress is not None:
                progress(title, step, total, "steps", f"rate {rate:.3g}  loss {loss:.3g}")

        apart.call(_MAKE_CURVE, task, effort_for(steps), steps, path, tell=tell)
    return Curve.load(path)


def run_in(out: Path, design: Design, engine: Engine, progress: Progress | None = None) -> Study:
    """Make all runs of a design that are not finished, in the folder of a study."""
    done, total = finished(design, out / RUNS), design.total

    def count(name: str, run: Run) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            judge = "val" if run.options.get("tuning") else design.judge
            value = run.final(f"{judge}_{design.metric}")
            progress("training", done, total, "runs", f"{name} {design.metric} {value:.3g}")

    if progress is not None:
        progress("training", done, total, "runs")
    return run_design(design, out / RUNS, _MAKE_RUN, engine=engine, on_run=count)


# ---------------------------------------------------------------- what depends on the task


def _settle(asked: Settings, out: Path, apart: Apart) -> Settings:
    """The settings, completed from the task, and written to the folder."""
    path = out / SETTINGS
    there = claimed(path, Settings) if path.exists() else None
    known = None if there is None else there.facts  # the study was started here: no need to inspect the task again
    facts = known or apart.call(_INSPECT, asked.task, asked.tuned, asked.classes)
    settled = msgspec.structs.replace(asked, metric=asked.metric or facts.metrics[0], facts=facts)
    if known is not None:
        claim(path, settled)  # report a difference in settings before anything else
    _check.choice("metric", settled.metric, facts.metrics)
    _maximize(settled, facts)
    _check_task(asked, facts)
    _check_policies(asked, facts)
    claim(path, settled)
    return settled


def _maximize(settings: Settings, facts: Facts) -> bool:
    """Whether higher values of the metric are better: as given, as the task states, or by its unambiguous name."""
    name = settings.metric or ""
    said, own = settings.better, facts.directions.get(name)
    if said is not None and own is not None and said != own:
        must = f"metric {name!r} must have the direction that the task states, {own!r} ({in_words(own)})"
        raise ValueError(f"{must}, got {said!r}; leave it out")
    better = said or own or direction(name)
    if better is None:
        raise ValueError(
            f"metric {name!r} must say which way is better, which its name does not; pass metric=({name!r}, 'min') or "
            f"(…, 'max'), --minimize {name} or --maximize {name}, or give the task cyclr.Metric(function, 'min')"
        )
    return better == "max"


def _check_task(asked: Settings, facts: Facts) -> None:
    """Check that the task provides what the comparison needs."""
    if not facts.judge:
        raise ValueError(f"task {asked.task} must have held-out data to compare on, got none; give it a test_loader")
    if facts.steps_per_epoch is None:
        raise ValueError(f"task {asked.task}: train_loader must have a length, which defines an epoch; add __len__")
    if not facts.outputs and any(finish in ENSEMBLES for finish in asked.finish.values()):
        raise outputs_unknown(asked.task)
    if asked.tuned and not facts.tunable:
        missing = "no test_loader" if facts.judge == "val" else "no val_loader, and no argument `tuning`"
        raise ValueError(
            f"task {asked.task} has {missing}: rates must not be tuned on the data of the comparison; give it both a "
            f"val_loader and a test_loader, or pass rates={FOUND!r} (--rates {FOUND}) or a single rate, which tune "
            "nothing"
        )
    if asked.seeds > 1 and not facts.varies:
        raise ValueError(
            f"task {asked.task} must depend on its seed, got the same weights and the same first batch for seeds 0 and "
            "1; use the seed for them, or compare with 1 seed"
        )


def _check_policies(asked: Settings, facts: Facts) -> None:
    """Check that each policy makes a schedule for the budget."""
    per_epoch = facts.steps_per_epoch or 0
    for name, rule in asked.rules.items():
        try:
            make_schedule(rule, Bounds(0.1, 1), steps=asked.epochs * per_epoch, steps_per_epoch=per_epoch)
        except ValueError as error:
            raise ValueError(f"policy {name!r}: {error}") from None


def _design(
    settled: Settings, given: Curve | None, out: Path, apart: Apart, progress: Progress | None
) -> tuple[Design, Bounds | None]:
    """The runs, and the bounds from the range test if they are needed."""
    facts = cast("Facts", settled.facts)
    per_epoch = facts.steps_per_epoch or 0
    steps = settled.epochs * per_epoch
    asks = [rule == "auto" or (isinstance(settled.rates, str) and uses_bounds(rule)) for rule in settled.rules.values()]
    found = _bounds(settled.task, steps, given, out, apart, progress) if any(asks) else None
    rates = None if isinstance(settled.rates, str) else settled.rates
    design = Design(
        task=settled.task,
        arms=arms(settled.rules, found, rates, tuned=settled.tuned, finish=settled.finish),
        seeds=settled.seeds,
        steps=steps,
        steps_per_epoch=per_epoch,
        metric=settled.metric or "",
        maximize=_maximize(settled, facts),
        judge=cast("Literal['test', 'val']", facts.judge),
    )
    return design, found


def _bounds(task: str, steps: int, given: Curve | None, out: Path, apart: Apart, progress: Progress | None) -> Bounds:
    """The bounds from the range test."""
    if given is not None and not (out / CURVE).exists():
        given.save(out / CURVE)
    try:
        return curve_in(out, task, steps, apart, progress).bounds(budget=steps)
    except Inconclusive as error:
        raise Inconclusive(
            f"the range test is inconclusive: {error}. Run another with `cyclr find {task} --out curve.json` and pass "
            "it (--curve curve.json) with another folder; or pass rates (--rates) and leave out auto"
        ) from None
