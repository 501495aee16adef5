"""`cyclr demo`: the whole job on real data, from the range test to the question whether it helped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cyclr import _check
from cyclr._cli import curves, output
from cyclr._cli.plan import as_data, print_plan
from cyclr._cli.progress import progress
from cyclr._plan import Plan, plan
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds, Curve
from cyclr._schedules import Constant
from cyclr._study.engine import finished_runs, run_jobs
from cyclr._study.record import Job, Run, Study, claim
from cyclr._study.stats import Summary, summarize, verdict

TASK = "fashion"
METRIC = "test_accuracy"
_MAKE_RUN = "cyclr._cli.work:make_run"  # by name: it needs torch, and the engine imports it where it runs
POLICIES = ("auto", "triangular", "triangular2", "one_cycle", "cosine", "linear", "step")
FIXED_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
BASELINE = "best fixed"
PLAIN = "linear"  # the simplest schedule without a cycle: what is left of a gain beside it is due to the cycle


class Settings(msgspec.Struct, frozen=True):
    """What decides the table; kept beside the records."""

    task: str
    seeds: int
    epochs: int
    fixed_rates: tuple[float, ...]


def demo(
    *, out: Path = Path("cyclr-demo"), seeds: int = 5, epochs: int = 10, jobs: int = 2, json: bool = False
) -> None:
    """Find the rates, plan the cycle, train with it and see whether it helped: on real data, in about a minute.

    Fashion-MNIST at 14x14 and a small network. A range test finds the bounds; then seven policies at the found rate
    and the best of five fixed rates are trained with equal budgets on the same seeds. Stopped at any moment, the
    same command goes on where it was.

    Args:
        out: The folder for records and pictures.
        seeds: How often each policy is trained.
        epochs: The budget of each training.
        jobs: Trainings at the same time.
        json: Print one JSON document instead.
    """
    seeds, epochs = _check.count("--seeds", seeds), _check.count("--epochs", epochs)
    jobs = _check.count("--jobs", jobs)
    claim(out / "settings.json", Settings(TASK, seeds, epochs, FIXED_RATES))
    curve, per_epoch = _curve(out / "curve.json")
    bounds = curve.bounds()
    made = plan(bounds, epochs=epochs, steps_per_epoch=per_epoch)
    if not json:
        _tell_plan(curve, bounds, made)
    study, rate = _study(out / "runs", made, seeds=seeds, workers=jobs)
    rows = summarize(study, METRIC, BASELINE)
    sentences = _verdicts(study, rows, rate)
    if json:
        output.document({
            "curve": curves.as_data(curve), "plan": as_data(made), "fixed_rate": rate, "rows": rows,
            "verdict": sentences,
        })  # fmt: skip
    else:
        _tell_result(rows, sentences, rate, steps=made.steps)
    _pictures(out, curve, made, study, rows, per_epoch)
    output.note(f"records and pictures are in {out}")


def _curve(path: Path) -> tuple[Curve, int]:
    """The range test, made once, and the steps in an epoch."""
    import torch

    from cyclr._cli import tasks, work

    torch.set_num_threads(1)  # more of them slow so small a network down; and the numbers are those of the workers
    task = tasks.build(TASK, 0)
    if path.exists():
        curve = Curve.load(path)
    else:
        curve = work.find_curve(task, TASK, {})
        curve.save(path)
    return curve, task.steps_per_epoch or 0


def _study(folder: Path, made: Plan, *, seeds: int, workers: int) -> tuple[Study, float]:
    """All runs, and which fixed rate was the best one."""
    tuning = {
        f"tuning-{rate:g}": _job(f"fixed {rate:g}", Constant(rate).take(made.steps), 0, made, tuning=True)
        for rate in FIXED_RATES
    }
    schedules = {
        name: make_schedule(name, made.bounds, steps=made.steps, steps_per_epoch=made.steps_per_epoch)
        for name in POLICIES
    } | {"auto": made.schedule}
    compared = {f"{name}-{seed}": _job(name, schedules[name], seed, made) for name in POLICIES for seed in range(seeds)}
    total = len(tuning) + len(compared) + seeds
    before = len(finished_runs(folder, tuning | compared))
    done = before
    with progress("training", total, "runs", done=before) as update:

        def tell(name: str, run: Run) -> None:
            nonlocal done
            done += 1
            update(done, f"{name} {_last(run):.1%}")

        runs = run_jobs(_MAKE_RUN, tuning | compared, folder, workers=workers, on_run=tell)
        rate = max(FIXED_RATES, key=lambda rate: _rank(runs[f"tuning-{rate:g}"]))
        fixed = {f"fixed-{seed}": _job(BASELINE, Constant(rate).take(made.steps), seed, made) for seed in range(seeds)}
        done = len(runs) + len(finished_runs(folder, fixed))
        baseline = run_jobs(_MAKE_RUN, fixed, folder, workers=workers, on_run=tell)
    kept = [*baseline.values(), *(runs[name] for name in compared)]
    cost = dict.fromkeys(POLICIES, made.bounds.steps) | {BASELINE: len(FIXED_RATES) * made.steps}
    return Study(task=TASK, runs=kept, cost=cost), rate


def _job(policy: str, schedule: object, seed: int, made: Plan, *, tuning: bool = False) -> Job:
    half = max(1, (made.steps_per_epoch or made.steps) // 2)
    return Job(
        task=TASK,
        policy=policy,
        schedule=repr(schedule),
        seed=seed,
        steps=made.steps,
        eval_every=half,
        options={"tuning": True} if tuning else {},
    )


def _last(run: Run) -> float:
    """The accuracy at the end, on what the run holds out."""
    return run.series("val_accuracy" if run.options.get("tuning") else METRIC)[1][-1]


def _rank(run: Run) -> float:
    """What the fixed rate is chosen by: never the test pictures; a diverged run comes last."""
    accuracy = _last(run)
    return accuracy if math.isfinite(accuracy) else -math.inf


def _tell_plan(curve: Curve, bounds: Bounds, made: Plan) -> None:
    output.say("Fashion-MNIST at 14x14: 6,000 training and 2,000 test pictures; a network of one hidden layer, "
               "SGD with momentum, batches of 50.")  # fmt: skip
    output.heading("1. Range test: between which rates?")
    curves.print_curve(curve, bounds)
    curves.print_bounds(bounds)
    output.heading(f"2. Plan: which schedule for {made.steps} steps?")
    print_plan(made)
    output.heading("3. Did it help? All policies, equal budgets, the same seeds")


def _tell_result(rows: Sequence[Summary], sentences: Sequence[str], rate: float, *, steps: int) -> None:
    output.table(
        (
            "policy",
            "test accuracy %",
            f"gain on {BASELINE}",
            "at half\nbudget",
            "steps to\nits end",
            "cost of\nrates",
        ),
        [_row(row) for row in rows],
    )
    output.say(
        f"Mean of {rows[0].seeds} seeds and 95 % intervals, not corrected for {len(rows) - 1} comparisons. "
        f"{BASELINE}: {rate:g}, the best of {', '.join(f'{r:g}' for r in FIXED_RATES)} on 1,000 held-out training "
        f"pictures. Steps to its end: median over seeds, until the accuracy that {BASELINE} has at the end is reached, "
        f"and in how many runs it is. Cost of rates: the steps that finding them took; each training takes {steps}.",
        "dim",
    )
    output.heading("In words")
    for sentence in sentences:
        output.say(f"- {sentence}")


def _row(row: Summary) -> tuple[str, ...]:
    change = "" if row.difference is None else _span(row.difference.mean, row.difference.low, row.difference.high, "+")
    reached = "never" if math.isinf(row.to_target) else f"{row.to_target:.0f}"
    return (
        row.policy,
        _span(row.final.mean, row.final.low, row.final.high),
        change,
        f"{100 * row.half.mean:.1f}",
        f"{reached} ({row.reached}/{row.seeds})",
        f"{row.cost}",
    )


def _span(mean: float, low: float, high: float, sign: str = "") -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{100 * mean:{sign}.1f}"
    between = " to " if sign else "–"
    return f"{100 * mean:{sign}.1f} ({100 * low:{sign}.1f}{between}{100 * high:{sign}.1f})"


def _verdicts(study: Study, rows: Sequence[Summary], rate: float) -> list[str]:
    """What the table says, and what it does not."""
    sentences = [
        verdict(row, f"the {BASELINE} rate {rate:g}", points=True) for row in rows if row.difference is not None
    ]
    beside = {row.policy: row for row in summarize(study, METRIC, PLAIN)}
    sentences.append(
        f"Is it the cycle, or only the found rate and the fall to zero? Beside {PLAIN}, which has both and no cycle: "
        + verdict(beside["auto"], PLAIN, points=True)
    )
    early = max(rows, key=lambda row: row.half.mean)
    sentences.append(
        f"Stopped at half the budget, {early.policy} would be first with {early.half.mean:.1%}; "
        f"auto has {beside['auto'].half.mean:.1%} there."
    )
    costs = study.cost
    sentences.append(
        f"The range test took {costs['auto']} steps, trying {len(FIXED_RATES)} fixed rates {costs[BASELINE]}."
    )
    return sentences


def _pictures(out: Path, curve: Curve, made: Plan, study: Study, rows: Sequence[Summary], per_epoch: int) -> None:
    from cyclr import plot
    from cyclr._schedules import parse

    try:
        figure, (ax,) = plot.figure()
    except ImportError as error:
        output.note(f"no pictures: {error}")
        return
    plot.plot_curve(curve, made.bounds, ax).set_title("Range test: where learning starts and where it goes wrong")
    figure.savefig(out / "range_test.png")
    figure, axes = plot.figure(2, 4, size=(13, 6))
    for ax, policy in zip(axes, study.policies, strict=True):
        run = next(iter(study.of(policy).values()))
        plot.plot_schedule(parse(run.schedule), ax, epoch=per_epoch).set_title(policy)
        ax.set_ylim(0, 1.05 * made.bounds.max_lr)
    figure.savefig(out / "schedules.png")
    figure, (ax,) = plot.figure(size=(9, 5.5))
    plot.plot_runs(study, ax, metric=METRIC, epoch=per_epoch).set_title("Test accuracy on the way")
    figure.savefig(out / "accuracy.png")
    figure, (ax,) = plot.figure()
    plot.plot_differences(rows, BASELINE, ax, unit="%").set_title(f"Test accuracy at the end, beside {BASELINE}")
    figure.savefig(out / "comparison.png")
