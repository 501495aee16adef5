"""`cyclr compare`: does it help on this network, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cyclr import _check
from cyclr._cli import _console, study
from cyclr._cli.apart import Apart
from cyclr._page.registry import describe
from cyclr._page.views import Comparison
from cyclr._policies import POLICIES
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds, Curve, Inconclusive
from cyclr.study._design import TUNING_SEED, Contest, entrants
from cyclr.study._engine import ENGINES, check_engine
from cyclr.study._records import claim, claimed, write_json
from cyclr.study._summary import target_of
from cyclr.tasks import _find as tasks
from cyclr.tasks._inspect import Facts

_UNPAIRED = (
    "Two trainings under one seed do not begin alike, so the runs of a seed are no pairs: the task should take its "
    "weights and the order of its data from the seed alone."
)
DEFAULT = "auto,fixed,step,cosine,linear,one_cycle,triangular2"
TUNED, FOUND = "tuned", "found"


class Settings(msgspec.Struct, frozen=True):
    """What decides the runs; kept in their folder. What they are read by (baseline, target) can change later."""

    task: str
    task_file: str
    policies: tuple[str, ...]
    seeds: int
    epochs: int
    metric: str | None
    rates: str | tuple[float, ...]
    curve: str | None
    facts: Facts | None = None

    @property
    def tuned(self) -> bool:
        """Whether rates are chosen by trying."""
        return self.rates == TUNED or (not isinstance(self.rates, str) and len(self.rates) > 1)


def compare(
    task: str,
    /,
    *,
    policies: str = DEFAULT,
    seeds: int = 5,
    epochs: int = 30,
    rates: str = TUNED,
    curve: Path | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    target: float | None = None,
    jobs: int | None = None,
    engine: str = "joblib",
    address: str | None = None,
    cpus_per_run: int = 1,
    gpus_per_run: float = 0,
    working_dir: Path | None = None,
    out: Path = Path("cyclr-compare"),
    json: bool = False,
) -> None:
    """Compare policies on a task: equal budgets, the same seeds, and a peak for each found in the same way.

    auto has the range test's answer. The peak of each other policy is the best of five around that answer, tried by
    whole trainings on validation data under a seed of its own; these count as its cost. So a task needs both
    validation and test data (val_loader and test_loader), or a function task(seed, tuning=False) that holds out part
    of the training data when it is asked to. Stopped at any moment, the same command goes on where it was.

    Args:
        task: A built-in name, file.py:function or module:function.
        policies: Names, with commas between them.
        seeds: How often each policy is trained.
        epochs: The budget of each training; every schedule is stretched to it.
        rates: Peaks to try, with commas between them (a single one is taken as it is); or tuned: five around the
            range test's answer; or found: the range test's answer for all, which needs no validation data.
        curve: A range test that `cyclr find --out` wrote, in place of the one that is made here: quick, and
            thorough for trainings of 8,000 steps or more.
        baseline: The policy that the others are compared with; by default fixed, if it is among them, or the first.
        metric: loss or a metric of the task, measured on held-out data; by default its first one.
        target: A value of the metric; how fast it is reached is told. By default what the baseline has at the end.
        jobs: Trainings at the same time; by default 2, and with Ray as many as the cluster has room for.
        engine: joblib, processes on this machine; or ray, a cluster. The range test is made on this machine.
        address: Of the Ray cluster, HOST:PORT or auto; by default one is started here.
        cpus_per_run: Cores, and so threads, of each training.
        gpus_per_run: GPUs of each training, for Ray.
        working_dir: A folder of code that Ray sends to its nodes.
        out: The folder for records.
        json: Print one JSON document instead.
    """
    names = _policies(policies)
    reference = _baseline(baseline, names)
    seeds, epochs, peaks = _seeds(seeds), _check.count("--epochs", epochs), _rates(rates)
    where = _where(engine, jobs, address, cpus_per_run, gpus_per_run, working_dir)
    if target is not None:
        target = _check.number("--target", target)
    study.check_folder(out)
    given, given_name = (None, None) if curve is None else (Curve.load(curve), str(curve))
    asked = Settings(task, tasks.fingerprint(task), names, seeds, epochs, metric, peaks, given_name)
    if not (out / study.STUDY).exists():  # else all is done, and no engine needed
        check_engine(**{name: value for name, value in where.items() if name != "workers"})
    with Apart(where["workers"] if engine == "joblib" else None, cpus_per_run) as apart:
        settled, facts = _settle(asked, out, apart)
        needed = isinstance(peaks, str) or "auto" in names
        steps = epochs * (facts.steps_per_epoch or 0)
        found = _bounds(task, steps, given, out, apart) if needed else None
    contest = _contest(settled, facts, found)
    made = study.run_contest(contest, out, **where)
    notes = made.notes if facts.paired else [*made.notes, _UNPAIRED]
    made = msgspec.structs.replace(made, baseline=reference, target=target, notes=notes)
    write_json(out / study.STUDY, made)
    if json:
        _console.document(_as_data(Comparison.of(made), found))
    else:
        _console.show(describe(made))
        _console.note(f"records are in {out}; cyclr report {out} makes a page of them")


def _settle(asked: Settings, out: Path, apart: Apart) -> tuple[Settings, Facts]:
    """The settings with what only the task itself can say; the folder is theirs from here on."""
    path = out / study.SETTINGS
    there = claimed(path, Settings) if path.exists() else None
    known = None if there is None else there.facts  # the study was begun here: no need to look again
    facts = known or apart.call("cyclr.tasks._inspect:look", asked.task, tuned=asked.tuned)
    settled = msgspec.structs.replace(asked, metric=asked.metric or facts.metrics[0], facts=facts)
    if known is not None:
        claim(path, settled)  # what differs is said before all else
    _check.choice("--metric", settled.metric, facts.metrics)
    _check_task(asked, facts)
    claim(path, settled)
    return settled, facts


def _check_task(asked: Settings, facts: Facts) -> None:
    """That the task has what the comparison needs."""
    if not facts.judge:
        raise ValueError(f"task {asked.task} has no held-out data to compare by; give it a test_loader")
    if facts.steps_per_epoch is None:
        raise ValueError(f"task {asked.task}: train_loader must have a length, so that an epoch has an end")
    if asked.tuned and not facts.tunable:
        missing = "no test_loader" if facts.judge == "val" else "no val_loader, and no argument `tuning`"
        raise ValueError(
            f"task {asked.task} has {missing}: rates must not be chosen on the data that judges; give it both a "
            f"val_loader and a test_loader, or pass --rates {FOUND} or a single rate, which choose nothing"
        )
    if asked.seeds > 1 and not facts.varies:
        raise ValueError(
            f"task {asked.task} begins alike under seeds 0 and 1, with the same weights and the same first batch: let "
            "its seed decide them, or pass --seeds 1"
        )
    steps = asked.epochs * facts.steps_per_epoch
    for name in asked.policies:
        make_schedule(name, Bounds(0.1, 1), steps=steps, steps_per_epoch=facts.steps_per_epoch)


def _contest(settled: Settings, facts: Facts, found: Bounds | None) -> Contest:
    rates = None if isinstance(settled.rates, str) else settled.rates
    per_epoch = facts.steps_per_epoch or 0
    return Contest(
        task=settled.task,
        entrants=entrants(settled.policies, found, rates, tuned=settled.tuned),
        seeds=settled.seeds,
        steps=settled.epochs * per_epoch,
        steps_per_epoch=per_epoch,
        metric=settled.metric or "",
        judge=facts.judge,
    )


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        _check.choice("--policies", name, POLICIES)
    if len(set(names)) < max(2, len(names)):
        raise ValueError(_check.problem("--policies must name two or more, each once", text, "such as auto,fixed"))
    return names


def _seeds(seeds: int) -> int:
    if _check.count("--seeds", seeds) > TUNING_SEED:
        raise ValueError(_check.problem(f"--seeds must be at most {TUNING_SEED}", seeds))
    return seeds


def _where(
    engine: str, jobs: int | None, address: str | None, cpus: int, gpus: float, working_dir: Path | None
) -> dict[str, Any]:
    """The arguments of `run_jobs` that say where the trainings run."""
    _check.choice("--engine", engine, ENGINES)
    if engine == "joblib" and (address is not None or gpus or working_dir is not None):
        raise ValueError("--address, --gpus-per-run and --working-dir are for a cluster; pass --engine ray, too")
    jobs = 2 if jobs is None and engine == "joblib" else jobs
    return {
        "workers": None if jobs is None else _check.count("--jobs", jobs),
        "engine": engine,
        "address": address,
        "cpus_per_run": _check.count("--cpus-per-run", cpus),
        "gpus_per_run": _check.non_negative("--gpus-per-run", gpus),
        "working_dir": working_dir,
    }


def _baseline(name: str | None, policies: Sequence[str]) -> str:
    if name is None:
        return "fixed" if "fixed" in policies else policies[0]
    return _check.choice("--baseline", name, policies)


def _rates(text: str) -> str | tuple[float, ...]:
    if text in (TUNED, FOUND):
        return text
    advice = f"such as 0.01,0.03,0.1; or {TUNED}, or {FOUND}"
    try:
        rates = tuple(_check.positive("--rates", float(part), advice) for part in text.split(","))
    except ValueError:
        raise ValueError(_check.problem("--rates must be positive numbers with commas", text, advice)) from None
    if len(set(rates)) < len(rates):
        raise ValueError(_check.problem("--rates must name each rate once", text))
    return tuple(sorted(rates))


def _bounds(task: str, steps: int, given: Curve | None, out: Path, apart: Apart) -> Bounds:
    """The range test's answer."""
    if given is not None and not (out / study.CURVE).exists():
        given.save(out / study.CURVE)
    try:
        return study.curve_in(out, task, steps, apart).bounds()
    except Inconclusive as error:
        raise Inconclusive(
            f"the range test has no answer: {error}. Make another with `cyclr find {task} --out curve.json` and pass "
            "--curve curve.json in another folder; or pass --rates and leave auto out"
        ) from None


def _as_data(comparison: Comparison, found: Bounds | None) -> dict[str, object]:
    made = comparison.study
    return {
        "task": made.task, "metric": made.metric, "baseline": made.baseline, "maximize": made.maximize,
        "target": target_of(made), "bounds": found, "rates": made.rates, "rows": comparison.rows,
        "verdict": comparison.verdicts, "notes": made.notes,
    }  # fmt: skip
