"""A study: what was compared, how the rates were found, the schedules, each run, and the settings."""

from __future__ import annotations

import math

from cyclr._page import figures
from cyclr._page.blocks import Block, Facts, Figure, Figures, Part, Sentences, Table
from cyclr._page.numbers import NONE, budget, count, in_words, listed, number, rate, seconds, whole
from cyclr._page.registry import panel
from cyclr._page.views import Comparison
from cyclr._schedules import Schedule
from cyclr.study._records import Run, Study

_MANY = 12  # more rows are folded; with more seeds the table by seed is left out
_SEEDS = 20  # maximum number listed individually


@panel(Comparison, place=20)
def compared(comparison: Comparison) -> Part:
    """Task, policies, seeds, budgets and versions."""
    study, seeds = comparison.study, comparison.seeds
    versions = sorted({f"{name} {version}" for run in study.runs for name, version in run.versions.items()})
    budgets = sorted({(run.steps, run.steps_per_epoch) for run in study.runs})
    time = seconds(sum(run.seconds for run in study.runs))
    facts = Facts((
        ("task", study.task),
        ("policies", ", ".join(study.policies)),
        ("seeds", f"{len(seeds)}: {listed(seeds, _SEEDS)}"),
        ("budget", "; ".join(budget(steps, epoch) for steps, epoch in budgets)),
        ("metric", f"{in_words(study.metric)} at the end, {comparison.better} is better"),
        ("baseline", study.baseline),
        ("training time", f"{time} seconds for all {count(len(study.runs), 'run')}"),
        ("versions", ", ".join(versions) or "not recorded"),
        *((("make it again", study.command),) if study.command else ()),
    ))  # fmt: skip
    return Part("What was compared", (facts,), brief=False)


@panel(Comparison, place=30)
def notes(comparison: Comparison) -> Part | None:
    """How the rates were found, and caveats."""
    study = comparison.study
    blocks: list[Block] = [Sentences(tuple(study.notes))] if study.notes else []
    if not comparison.rows and (study.rates or study.tuning_cost):  # otherwise the table of results contains them
        rows = tuple(
            (
                policy,
                rate(study.rates.get(policy)),
                whole(study.tuning_cost[policy]) if policy in study.tuning_cost else NONE,
            )
            for policy in study.policies
        )
        columns = ("policy", "peak learning rate", "tuning cost (steps)")
        blocks.append(Table("study/rates", "The tuning cost of each peak rate.", columns, rows))
    return Part("Notes", tuple(blocks)) if blocks else None


@panel(Comparison, place=40)
def schedules(comparison: Comparison) -> Part:
    """The first schedule of each policy, scaled to equal height; a text that cannot be parsed is shown verbatim."""
    study = comparison.study
    specs = {policy: next(iter(found.items())) for policy, found in _specs(study).items()}
    parsed = {policy: figures.parsed(spec) for policy, (spec, _) in specs.items()}
    heights = [schedule.highest for schedule in parsed.values() if schedule is not None]
    highest = max((height for height in heights if math.isfinite(height)), default=1.0) or 1.0
    shown = []
    for policy, (spec, run) in specs.items():
        schedules = len(_specs(study)[policy])
        caption = policy + (f" (one of {schedules})" if schedules > 1 else "")
        shown.append(_drawn(f"study/schedule/{policy}", caption, spec, parsed[policy], run.steps, highest))
    return Part("Schedules", (Figures(tuple(shown), small=True),), brief=False)


@panel(Comparison, place=50)
def runs(comparison: Comparison) -> Part:
    """Every run."""
    return Part("Run by run", (*_by_seed(comparison), _runs(comparison)), brief=False)


@panel(Comparison, place=60)
def settings(comparison: Comparison) -> Part:
    """Each policy as recorded."""
    study = comparison.study
    rows: list[tuple[str, ...]] = []
    for policy, found in _specs(study).items():
        for spec, run in found.items():
            seeds = [str(other.seed) for other in study.of(policy).values() if other.schedule == spec]
            options = ", ".join(f"{name}={value!r}" for name, value in run.options.items())
            rows.append((policy, ", ".join(seeds), spec, options, whole(run.steps), whole(run.eval_every)))
    columns = ("policy", "seeds", "schedule", "options of the task", "steps", "evaluation interval (steps)")
    table = Table("study/settings", "Each policy, as recorded.", columns, tuple(rows), words=4, folded=True)
    return Part("Settings", (table,), brief=False)


def _specs(study: Study) -> dict[str, dict[str, Run]]:
    """The distinct schedules of each policy, each with the first run that used it."""
    found: dict[str, dict[str, Run]] = {policy: {} for policy in study.policies}
    for run in study.runs:
        found[run.policy].setdefault(run.schedule, run)
    return found


def _drawn(key: str, caption: str, spec: str, schedule: Schedule | None, steps: int, highest: float) -> Figure:
    try:
        return figures.small_schedule(key, caption, spec, schedule, steps, highest)
    except (ValueError, ArithmeticError, RecursionError):
        return figures.small_schedule(key, caption, spec, None, steps, highest)


def _by_seed(comparison: Comparison) -> tuple[Table, ...]:
    """A row for each policy and a column for each seed: paired values are in the same column."""
    study, seeds, unit = comparison.study, comparison.seeds, comparison.unit
    if not 1 < len(seeds) <= _MANY:
        return ()
    rows = []
    for policy in study.policies:
        own = study.of(policy)
        rows.append((policy, *(_end(comparison, own[seed]) if seed in own else "not run" for seed in seeds)))
    caption = f"{unit.of(f'The {in_words(study.metric)} at the end')}, by seed."
    return (Table("study/by-seed", caption, ("policy", *(f"seed {seed}" for seed in seeds)), tuple(rows)),)


def _end(comparison: Comparison, run: Run) -> str:
    value = run.final(comparison.study.metric) if run.points and comparison.study.metric in run.points[-1] else None
    return comparison.unit.value(value) + (" diverged" if run.status == "diverged" else "")


def _runs(comparison: Comparison) -> Table:
    study, unit = comparison.study, comparison.unit
    best = max if study.maximize else min
    rows = []
    for run in study.runs:
        known = [value for point in run.points if (value := point.get(study.metric)) is not None]
        rows.append((
            run.policy,
            str(run.seed),
            _end(comparison, run),
            unit.value(best(known, default=None)),
            number(run.points[-1].get("loss") if run.points else None),
            seconds(run.seconds),
        ))  # fmt: skip
    columns = ("policy", "seed", unit.of(f"{in_words(study.metric)} at the end"), unit.of("best during training"),
               "training loss at the end", "seconds")  # fmt: skip
    caption = f"All {count(len(rows), 'run')}."
    return Table("study/runs", caption, columns, tuple(rows), folded=len(rows) > _MANY)
