"""`cyclr demo`: the whole workflow on real data, from the range test to a comparison of policies."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cyclr import _check
from cyclr._cli import _console, _sections
from cyclr._cli._data import curve_data, plan_data, row_data
from cyclr._cli._progress import pieces
from cyclr._page.numbers import Unit, count
from cyclr._page.registry import describe
from cyclr._page.views import Comparison, Reading
from cyclr._plan import Plan, plan
from cyclr._range import Bounds, Curve
from cyclr.study import Engine, Study, summarize
from cyclr.study._command import command
from cyclr.study._compare import check_folder, curve_in, run_in
from cyclr.study._design import Arm, Design
from cyclr.study._files import SETTINGS, STUDY, claim, write_json
from cyclr.study._summary import verdict

PLACE = 7  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr demo",
    "cyclr demo --seeds 2 --epochs 2 --out quick-demo",
)

TASK = "fashion"
METRIC = "accuracy"
STEPS_PER_EPOCH = 120
POLICIES = ("auto", "triangular", "triangular2", "one_cycle", "cosine", "linear", "step")
FIXED_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
BASELINE = "best fixed"
PLAIN = "linear"  # the simplest schedule without a cycle: a gain over it is due to the cycle


class Settings(msgspec.Struct, frozen=True):
    """The settings that determine the table; kept with the records."""

    task: str
    seeds: int
    epochs: int
    fixed_rates: tuple[float, ...]


def demo(
    *, out: Path = Path("cyclr-demo"), seeds: int = 10, epochs: int = 10, workers: int = 2, json: bool = False
) -> None:
    """Find the bounds, plan a schedule, train with it and compare it with others: on real data, in about a minute.

    Trains a small network on Fashion-MNIST at 14x14. A range test finds the bounds; then seven policies with these
    bounds, and the best of five fixed rates, are trained with equal budgets and the same seeds. If interrupted, run the
    same command again to resume.

    Args:
        out: Folder for records and images.
        seeds: Number of seeds that each policy is trained with.
        epochs: Budget of each training, in epochs.
        workers: Maximum number of concurrent trainings.
        json: Print one JSON document instead of tables.
    """
    seeds, epochs = _check.count("--seeds", seeds), _check.count("--epochs", epochs)
    engine = Engine(workers=workers)
    check_folder(out)
    claim(out / SETTINGS, Settings(TASK, seeds, epochs, FIXED_RATES))
    with engine.apart() as apart, pieces() as progress:
        curve = curve_in(out, TASK, epochs * STEPS_PER_EPOCH, apart, progress)
    bounds = curve.bounds(budget=epochs * STEPS_PER_EPOCH)
    made = plan(bounds, epochs=epochs, steps_per_epoch=STEPS_PER_EPOCH)
    if not json:
        _tell_plan(curve, made)
    with pieces() as progress:
        found = run_in(out, _design(bounds, seeds=seeds, steps=made.steps), engine, progress)
    again = command("demo", options={"seeds": seeds, "epochs": epochs, "out": out})
    found = msgspec.structs.replace(found, baseline=BASELINE, bounds=bounds, command=again)
    found = msgspec.structs.replace(found, notes=[*found.notes, *_notes(found)])
    write_json(out / STUDY, found)
    comparison = Comparison.of(found)
    if json:
        _console.document({
            "curve": curve_data(curve), "plan": plan_data(made), "fixed_rate": found.rates[BASELINE],
            "rows": [row_data(row) for row in comparison.rows], "verdict": [*comparison.verdicts, *found.notes],
        })  # fmt: skip
    else:
        _sections.show(describe(comparison), title="3. Comparison: does it help? Equal budgets, the same seeds")
    _images(out, curve, made, found)
    _console.note(f"records and images are in {out}; run cyclr report {out} for an HTML report")


def _design(found: Bounds, *, seeds: int, steps: int) -> Design:
    """The best of the fixed rates, and all policies at the rate that the range test found."""
    fixed = Arm(BASELINE, "fixed", tuple(Bounds(rate, rate) for rate in FIXED_RATES), folder="fixed")
    others = [Arm(name, name, (found,)) for name in POLICIES]
    return Design(
        task=TASK, arms=(fixed, *others), seeds=seeds, steps=steps, steps_per_epoch=STEPS_PER_EPOCH, metric=METRIC,
        maximize=True, eval_every=STEPS_PER_EPOCH // 2,
    )  # fmt: skip


def _tell_plan(curve: Curve, made: Plan) -> None:
    _console.say(
        "Fashion-MNIST at 14x14: 6,000 training and 2,000 test images; a network with one hidden layer, SGD with "
        "momentum, batches of 50. Fixed rates are tuned on 1,000 held-out training images."
    )
    _sections.show(describe(Reading.of(curve, budget=made.steps)), title="1. Range test: which bounds?")
    _sections.show(describe(made), title=f"2. Plan: which schedule for {count(made.steps, 'step')}?")


def _notes(found: Study) -> list[str]:
    """Conclusions that the tables do not state."""
    rows = {row.policy: row for row in summarize(found, baseline=PLAIN)}
    early = max(rows.values(), key=lambda row: row.half.mean).policy
    best, auto = (Unit(percent=True).with_unit(rows[policy].half.mean) for policy in (early, "auto"))
    cycle = (
        f"Is the gain due to the cycle, or only to the tuned rate and annealing to zero? Compared with {PLAIN}, which "
        f"has both but no cycle: {verdict(rows['auto'], PLAIN, points=True)}"
    )
    return [cycle, f"If stopped at half the budget, {early} would be best with {best}; auto reaches {auto} by then."]


def _images(out: Path, curve: Curve, made: Plan, found: Study) -> None:
    from cyclr import plot
    from cyclr._schedules import parse

    try:
        figure, (ax,) = plot.figure()
    except ImportError as error:
        _console.note(f"no images: {error}")
        return
    plot.plot_curve(curve, made.bounds, ax).set_title("Range test: where learning starts and where it diverges")
    figure.savefig(out / "range_test.png")
    figure, axes = plot.figure(2, 4, size=(13, 6))
    for ax, policy in zip(axes, found.policies, strict=True):
        run = next(iter(found.of(policy).values()))
        plot.plot_schedule(parse(run.schedule), ax, epoch=STEPS_PER_EPOCH).set_title(policy)
        ax.set_ylim(0, 1.05 * made.bounds.max_lr)
    figure.savefig(out / "schedules.png")
    figure, (ax,) = plot.figure(size=(9, 5.5))
    plot.plot_runs(found, ax, epoch=STEPS_PER_EPOCH).set_title("Test accuracy during training")
    figure.savefig(out / "accuracy.png")
    figure, (ax,) = plot.figure()
    plot.plot_differences(found, ax).set_title(f"Test accuracy at the end, compared with {BASELINE}")
    figure.savefig(out / "comparison.png")
