"""A study: which policy did better and how sure that is, how the runs went, and what they were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from cyclr import _check
from cyclr._page.blocks import Block, Facts, Figure, Figures, Section, Sentences, Table, count, number
from cyclr._schedules import Schedule, parse
from cyclr._view import by_step, in_words
from cyclr.report import figures
from cyclr.study._records import Run, Study
from cyclr.study._stats import Interval
from cyclr.study._summary import Summary, is_fraction, summarize, target_of, verdict

_MANY = 12  # rows, or seeds side by side, from which on a table is folded, or left out
_OURS = ("step", "lr", "loss")  # of a point; all else in it is a metric


def section(study: Study) -> Section:
    """All about `study`.

    Raises:
        ValueError: If the steps of a run's points do not rise.
    """
    title = f"Study of {study.task}"
    if not study.runs:
        return Section(title, (("What came out", (Sentences(("This study holds no run yet.",), first=True),)),))
    _check_steps(study.runs)
    study = _judged(study)
    measured = [run for run in study.runs if any(study.metric in point for point in run.points)]
    points = is_fraction(msgspec.structs.replace(study, runs=measured))
    try:
        rows, why = summarize(study), ""
    except ValueError as error:  # unfinished, or not made to be compared: its runs are shown all the same
        rows, why = (), f"These runs cannot be compared: {error}."
    parts: list[tuple[str, tuple[Block, ...]]] = [("What came out", _outcome(study, rows, why, points=points))]
    if measured:
        way = _way(study, measured, points=points)
        parts.append(("On the way", (way, _speeds(study, rows, points=points)) if rows else (way,)))
    parts += [
        ("What was compared", (_facts(study),)),
        ("How the rates were found", _rates(study)),
        ("Schedules", (_schedules(study),)),
        ("Run by run", (*_by_seed(study, points=points), _runs(study, points=points))),
        ("Settings", (_settings(study),)),
    ]
    return Section(title, tuple(parts))


def _check_steps(runs: Iterable[Run]) -> None:
    for run in runs:
        which = f"policy {run.policy!r}, seed {run.seed}"
        _check.count(f"the steps of {which}", run.steps)
        steps = [point.get("step") or 0 for point in run.points]
        if not all(before < after for before, after in pairwise([0, *steps])):
            raise ValueError(f"the points of {which} must have steps that rise from 1, got {steps[:5]}")


def _judged(study: Study) -> Study:
    """The study, told by what it is judged and against what where it does not say so itself."""
    changes: dict[str, str | bool] = {}
    names = dict.fromkeys(name for run in study.runs for point in run.points for name in point)
    if study.metric not in names:
        metric = next((name for name in reversed(names) if name not in _OURS), "loss")
        changes |= {"metric": metric, "maximize": not any(word in metric for word in ("loss", "error"))}
    if not study.baseline:
        fixed = [policy for policy in study.policies if "fixed" in policy]
        changes["baseline"] = (fixed or study.policies)[0]
    return msgspec.structs.replace(study, **changes)


# ---------------------------------------------------------------- the comparison


def _outcome(study: Study, rows: Sequence[Summary], why: str, *, points: bool) -> tuple[Block, ...]:
    if not rows:
        return (Sentences((_subject(study), why, *_diverged(study)), first=True),)
    said = [
        verdict(row, study.baseline, points=points, maximize=study.maximize)
        for row in rows
        if row.difference is not None
    ]
    found: list[Block] = [
        Sentences((_subject(study), *said, *_diverged(study)), first=True),
        _ends(study, rows, points=points),
    ]
    if said:
        shown = f"How far each policy ends from {study.baseline}: the mean of paired differences and its 95 % interval."
        plot = figures.differences(rows, study.baseline, points=points)
        found.append(Figures((Figure(plot, shown, height=120 + 34 * len(said)),)))
    return tuple(found)


def _subject(study: Study) -> str:
    steps = sorted({run.steps for run in study.runs})
    budget = " to ".join(dict.fromkeys(f"{end:,}" for end in (steps[0], steps[-1])))
    return (
        f"{len(study.policies)} {'policies' if len(study.policies) > 1 else 'policy'} on {study.task}, "
        f"{count(len(_seeds(study)), 'seed')}, {budget} steps each; judged by the {in_words(study.metric)} at the end, "
        f"of which {'more' if study.maximize else 'less'} is better."
    )


def _diverged(study: Study) -> tuple[str, ...]:
    lost = [f"{run.policy} with seed {run.seed}" for run in study.runs if run.status == "diverged"]
    if not lost:
        return ()
    some = ", ".join(lost[:10]) + (f" and {len(lost) - 10} more" if len(lost) > 10 else "")
    return (f"{len(lost)} of {count(len(study.runs), 'run')} diverged: {some}.",)


def _ends(study: Study, rows: Sequence[Summary], *, points: bool) -> Table:
    """How good at the end of the budget, and how sure."""
    scale, percent = (100, " %") if points else (1, "")
    columns = (
        "policy",
        f"{in_words(study.metric)} at the end{percent}",
        f"difference from {study.baseline}{' in points' if points else ''}",
        "corrected p",
        "steps spent on rates",
    )
    cells = tuple(
        (
            row.policy,
            _span(row.final, scale),
            "" if row.difference is None else _span(row.difference, scale, sign="+"),
            "" if math.isnan(row.corrected) else f"{row.corrected:.2g}",
            f"{study.tuning_cost[row.policy]:,}" if row.policy in study.tuning_cost else "not recorded",
        )
        for row in rows
    )
    caption = f"At the end of the budget: means of {count(rows[0].seeds, 'seed')} with 95 % intervals."
    if len(rows) > 2:
        caption += f" p is corrected for {len(rows) - 1} comparisons (Holm): 0.05 or less is a difference found."
    return Table(caption, columns, cells)


def _speeds(study: Study, rows: Sequence[Summary], *, points: bool) -> Table:
    """How fast on the way."""
    scale, percent = (100, " %") if points else (1, "")
    reach = _value(target_of(study), scale) + percent
    columns = (
        "policy",
        f"best at a cycle's end{percent}",
        f"at half the budget{percent}",
        f"mean on the way{percent}",
        f"steps to {reach}",
        f"seconds to {reach}",
    )
    cells = tuple(
        (
            row.policy,
            _span(row.best, scale),
            _mean(row.half, scale),
            _mean(row.area, scale),
            f"{_time(row.to_target)} ({row.reached} of {row.seeds})",
            _time(row.seconds),
        )
        for row in rows
    )
    origin = f", the mean of {study.baseline} at the end" if study.target is None else ""
    caption = (
        f"How fast. Steps and seconds to {reach}{origin}: medians over the seeds, and in how many runs it is "
        "reached. Which of its cycles ends best is known only afterwards."
    )
    return Table(caption, columns, cells)


def _span(interval: Interval, scale: int, sign: str = "") -> str:
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return _mean(interval, scale, sign)
    low, high = (_value(end, scale, sign) for end in (interval.low, interval.high))
    return f"{_mean(interval, scale, sign)} ({low} to {high})"


def _mean(interval: Interval, scale: int, sign: str = "") -> str:
    return _value(interval.mean, scale, sign)


def _value(value: float, scale: int, sign: str = "") -> str:
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:{sign}.2f}" if scale == 100 else f"{value:{sign}.4g}"


def _time(value: float) -> str:
    return f"{value:,.4g}" if math.isfinite(value) else "never"


# ---------------------------------------------------------------- the runs


def _way(study: Study, measured: Iterable[Run], *, points: bool) -> Figures:
    series: dict[str, list[Run]] = {}
    for run in measured:
        series.setdefault(run.policy, []).append(run)
    epochs = {run.steps_per_epoch for run in study.runs}
    plot = figures.runs(
        {policy: by_step(runs, study.metric) for policy, runs in series.items()},
        study.metric,
        fraction=points,
        epoch=epochs.pop() if len(epochs) == 1 else 0,
    )
    shown = f"The {in_words(study.metric)}: the mean over the seeds, shaded from the least to the greatest."
    return Figures((Figure(plot, shown, height=480),))


def _by_seed(study: Study, *, points: bool) -> tuple[Table, ...]:
    """A row for each policy, a column for each seed: what was paired stands in one column."""
    seeds, scale = _seeds(study), 100 if points else 1
    if not 1 < len(seeds) <= _MANY:
        return ()
    rows = []
    for policy in study.policies:
        runs = study.of(policy)
        cells = (_end(runs[seed], study.metric, scale) if seed in runs else "not run" for seed in seeds)
        rows.append((policy, *cells))
    caption = f"The {in_words(study.metric)} at the end{' in %' if points else ''}, seed by seed."
    return (Table(caption, ("policy", *(f"seed {seed}" for seed in seeds)), tuple(rows)),)


def _end(run: Run, metric: str, scale: int) -> str:
    value = run.points[-1].get(metric) if run.points else None
    return _value(math.nan if value is None else value, scale) + (" diverged" if run.status == "diverged" else "")


def _runs(study: Study, *, points: bool) -> Table:
    scale, percent = (100, " %") if points else (1, "")
    best = max if study.maximize else min
    rows = []
    for run in study.runs:
        known = [value for point in run.points if (value := point.get(study.metric)) is not None]
        loss = run.points[-1].get("loss") if run.points else None
        rows.append((
            run.policy,
            str(run.seed),
            _end(run, study.metric, scale),
            _value(best(known, default=math.nan), scale),
            number(math.nan if loss is None else loss),
            f"{run.seconds:.3g}",
        ))  # fmt: skip
    columns = ("policy", "seed", f"{in_words(study.metric)} at the end{percent}", f"best on the way{percent}",
               "training loss at the end", "seconds")  # fmt: skip
    return Table(f"All {count(len(rows), 'run')}.", columns, tuple(rows), folded=len(rows) > _MANY)


def _facts(study: Study) -> Facts:
    seeds = _seeds(study)
    listed = ", ".join(map(str, seeds[:20])) + (f", … {seeds[-1]}" if len(seeds) > 20 else "")
    versions = sorted({f"{name} {version}" for run in study.runs for name, version in run.versions.items()})
    budgets = sorted({(run.steps, run.steps_per_epoch) for run in study.runs})
    seconds = sum(run.seconds for run in study.runs)
    return Facts((
        ("task", study.task),
        ("policies", ", ".join(study.policies)),
        ("seeds", f"{len(seeds)}: {listed}"),
        ("budget", "; ".join(_budget(steps, epoch) for steps, epoch in budgets)),
        ("judged by", f"{in_words(study.metric)} at the end, {'more' if study.maximize else 'less'} is better"),
        ("compared with", study.baseline),
        ("training time", f"{seconds:,.3g} seconds for all {count(len(study.runs), 'run')}"),
        ("versions", ", ".join(versions) or "not recorded"),
    ))  # fmt: skip


def _budget(steps: int, epoch: int) -> str:
    return count(steps, "step") + (f": {steps / epoch:.4g} epochs of {epoch:,}" if epoch else "")


def _seeds(study: Study) -> list[int]:
    return sorted({run.seed for run in study.runs})


# ---------------------------------------------------------------- what they were made from


def _rates(study: Study) -> tuple[Block, ...]:
    said = (Sentences(tuple(study.notes)),) if study.notes else ()
    if not (study.rates or study.tuning_cost):
        return said or (Sentences(("The records do not say.",)),)
    rows = []
    for policy in study.policies:
        rate = study.rates.get(policy)
        cost = study.tuning_cost.get(policy)
        rows.append((policy, "" if rate is None else f"{rate:.4g}", "not recorded" if cost is None else f"{cost:,}"))
    return (*said, Table("What finding each rate cost.", ("policy", "highest rate", "steps"), tuple(rows)))


def _specs(study: Study) -> dict[str, dict[str, Run]]:
    """For each policy its different schedules, each with the first run that followed it."""
    found: dict[str, dict[str, Run]] = {policy: {} for policy in study.policies}
    for run in study.runs:
        found[run.policy].setdefault(run.schedule, run)
    return found


def _schedules(study: Study) -> Figures:
    """The first schedule of each policy, all to one height; what cannot be understood is shown as text."""
    specs = {policy: next(iter(found.items())) for policy, found in _specs(study).items()}
    parsed = {policy: _parsed(spec) for policy, (spec, _) in specs.items()}
    heights = [schedule.highest for schedule in parsed.values() if schedule is not None]
    highest = max((height for height in heights if math.isfinite(height)), default=1.0) or 1.0
    shown = []
    for policy, (spec, run) in specs.items():
        schedule = parsed[policy]
        plot = None if schedule is None else _drawn(schedule, run.steps, highest)
        more = len(_specs(study)[policy]) - 1
        caption = policy + (f" (one of {more + 1})" if more else "")
        shown.append(Figure(plot, caption, spec, height=170))
    return Figures(tuple(shown), small=True)


def _parsed(spec: str) -> Schedule | None:
    try:
        return parse(spec)
    except (ValueError, ArithmeticError, RecursionError):  # a record may hold any text
        return None


def _drawn(schedule: Schedule, steps: int, highest: float) -> str | None:
    try:
        with np.errstate(all="ignore"):
            return figures.schedules(schedule, steps, highest=highest)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _settings(study: Study) -> Table:
    rows = []
    for policy, found in _specs(study).items():
        for spec, run in found.items():
            seeds = [str(other.seed) for other in study.of(policy).values() if other.schedule == spec]
            options = ", ".join(f"{name}={value!r}" for name, value in run.options.items())
            rows.append((policy, ", ".join(seeds), spec, options, f"{run.steps:,}", f"{run.eval_every:,}"))
    columns = ("policy", "seeds", "schedule", "options of the task", "steps", "steps between looks")
    return Table("What each policy was, as recorded.", columns, tuple(rows), words=4, folded=True)
