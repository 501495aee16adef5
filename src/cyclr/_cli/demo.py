"""`cyclr demo`: all of it on real data, from the range test to the question whether it helped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cyclr import _check
from cyclr._cli import curves, output, study
from cyclr._cli.plan import as_data, print_plan
from cyclr._cli.progress import pieces
from cyclr._plan import Plan, plan
from cyclr._range import Bounds, Curve
from cyclr.study import Engine, Study, Summary, summarize
from cyclr.study._compare import check_folder, curve_in, run_in
from cyclr.study._design import Arm, Design
from cyclr.study._files import SETTINGS, STUDY, claim, write_json
from cyclr.study._summary import verdict

TASK = "fashion"
METRIC = "accuracy"
STEPS_PER_EPOCH = 120
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
    *, out: Path = Path("cyclr-demo"), seeds: int = 5, epochs: int = 10, workers: int = 2, json: bool = False
) -> None:
    """Find the rates, plan the cycle, train with it and see whether it helped: on real data, in about a minute.

    Fashion-MNIST at 14x14 and a small network. A range test finds the bounds; then seven policies at the found rate
    and the best of five fixed rates are trained with equal budgets on the same seeds. If interrupted, run the same
    command again to resume.

    Args:
        out: The folder for records and images.
        seeds: How many seeds each policy is trained with.
        epochs: The budget of each training.
        workers: Most trainings at a time.
        json: Print one JSON document instead.
    """
    seeds, epochs = _check.count("--seeds", seeds), _check.count("--epochs", epochs)
    engine = Engine(workers=workers)
    check_folder(out)
    claim(out / SETTINGS, Settings(TASK, seeds, epochs, FIXED_RATES))
    with engine.apart() as apart, pieces() as progress:
        curve = curve_in(out, TASK, epochs * STEPS_PER_EPOCH, apart, progress)
    bounds = curve.bounds()
    made = plan(bounds, epochs=epochs, steps_per_epoch=STEPS_PER_EPOCH)
    if not json:
        _tell_plan(curve, bounds, made)
    with pieces() as progress:
        found = run_in(out, _design(bounds, seeds=seeds, steps=made.steps), engine, progress)
    found = msgspec.structs.replace(found, baseline=BASELINE, bounds=bounds)
    write_json(out / STUDY, found)
    rows = summarize(found)
    sentences = _verdicts(found, rows)
    if json:
        output.document({
            "curve": curves.as_data(curve), "plan": as_data(made), "fixed_rate": found.rates[BASELINE], "rows": rows,
            "verdict": sentences,
        })  # fmt: skip
    else:
        _tell_result(found, rows, sentences, steps=made.steps)
    _images(out, curve, made, found, rows)
    output.note(f"records and images are in {out}; cyclr report {out} makes a page of them")


def _design(found: Bounds, *, seeds: int, steps: int) -> Design:
    """The best of the fixed rates, and all policies at the rate that the range test found."""
    fixed = Arm(BASELINE, "fixed", tuple(Bounds(rate, rate) for rate in FIXED_RATES), folder="fixed")
    others = [Arm(name, name, (found,)) for name in POLICIES]
    return Design(
        task=TASK, arms=(fixed, *others), seeds=seeds, steps=steps, steps_per_epoch=STEPS_PER_EPOCH, metric=METRIC,
        maximize=True, eval_every=STEPS_PER_EPOCH // 2,
    )  # fmt: skip


def _tell_plan(curve: Curve, bounds: Bounds, made: Plan) -> None:
    output.say("Fashion-MNIST at 14x14: 6,000 training and 2,000 test images; a network of one hidden layer, "
               "SGD with momentum, batches of 50.")  # fmt: skip
    output.heading("1. Range test: between which rates?")
    curves.print_curve(curve, bounds)
    curves.print_bounds(bounds)
    output.heading(f"2. Plan: which schedule for {made.steps} steps?")
    print_plan(made)
    output.heading("3. Did it help? All policies, equal budgets, the same seeds")


def _tell_result(found: Study, rows: Sequence[Summary], sentences: Sequence[str], *, steps: int) -> None:
    study.print_ends(found, rows, percent=True)
    output.say(
        f"Mean of {rows[0].seeds} seeds and 95 % intervals; a corrected p of 0.05 or less is a difference even though "
        f"{len(rows) - 1} were looked for. {BASELINE}: the best of {', '.join(f'{rate:g}' for rate in FIXED_RATES)} "
        "on 1,000 held-out training images.",
        "dim",
    )
    output.heading("On the way")
    study.print_ways(found, rows, percent=True, seconds=False)
    output.say(
        f"Steps: median over seeds, until the accuracy that {BASELINE} has at the end is reached, and in how many "
        f"runs it is. Tuning cost: the steps spent to find the rates; each training takes {steps}.",
        "dim",
    )
    output.heading("In words")
    output.listed(sentences)


def _verdicts(found: Study, rows: Sequence[Summary]) -> list[str]:
    """What the table says, and what it does not."""
    sentences = [
        verdict(row, f"the {BASELINE} rate {found.rates[BASELINE]:g}", points=True)
        for row in rows
        if row.difference is not None
    ]
    beside = {row.policy: row for row in summarize(found, baseline=PLAIN)}
    sentences.append(
        f"Is it the cycle, or only the found rate and the decay to zero? Beside {PLAIN}, which has both and no cycle: "
        + verdict(beside["auto"], PLAIN, points=True)
    )
    early = max(rows, key=lambda row: row.half.mean)
    sentences.append(
        f"Stopped at half the budget, {early.policy} would be first with {early.half.mean:.1%}; "
        f"auto has {beside['auto'].half.mean:.1%} there."
    )
    costs = found.tuning_cost
    sentences.append(
        f"The range test took {costs['auto']} steps, trying {len(FIXED_RATES)} fixed rates {costs[BASELINE]}."
    )
    return sentences


def _images(out: Path, curve: Curve, made: Plan, found: Study, rows: Sequence[Summary]) -> None:
    from cyclr import plot
    from cyclr._schedules import parse

    try:
        figure, (ax,) = plot.figure()
    except ImportError as error:
        output.note(f"no images: {error}")
        return
    plot.plot_curve(curve, made.bounds, ax).set_title("Range test: where learning starts and where it goes wrong")
    figure.savefig(out / "range_test.png")
    figure, axes = plot.figure(2, 4, size=(13, 6))
    for ax, policy in zip(axes, found.policies, strict=True):
        run = next(iter(found.of(policy).values()))
        plot.plot_schedule(parse(run.schedule), ax, epoch=STEPS_PER_EPOCH).set_title(policy)
        ax.set_ylim(0, 1.05 * made.bounds.max_lr)
    figure.savefig(out / "schedules.png")
    figure, (ax,) = plot.figure(size=(9, 5.5))
    plot.plot_runs(found, ax, metric=found.metric, epoch=STEPS_PER_EPOCH).set_title("Test accuracy on the way")
    figure.savefig(out / "accuracy.png")
    figure, (ax,) = plot.figure()
    plot.plot_differences(rows, BASELINE, ax, unit="%").set_title(f"Test accuracy at the end, beside {BASELINE}")
    figure.savefig(out / "comparison.png")
