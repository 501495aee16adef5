"""`cyclr design`: an HTML page on which a schedule is designed by hand."""

from __future__ import annotations

from pathlib import Path

from cyclr import _check
from cyclr._cli import _console
from cyclr._page.views import Draft, Reading
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve
from cyclr.study._command import command

PLACE = 3  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr design curve.json --steps 11700 --steps-per-epoch 390",
    "cyclr design plan.json --out design.html",
    "cyclr design --bounds 1e-3 1e-2 --steps 5000",
)


def design(
    path: Path | None = None,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    signal: str = "loss",
    steps: int | None = None,
    steps_per_epoch: int | None = None,
    out: Path | None = None,
) -> None:
    """Write an HTML page on which to drag the bounds and choose policy, cycles, budget, warm-up and final decay.

    The rate, the momentum and the ends of the cycles change at once; the page gives the schedule as text, or as code
    for PyTorch, Optax, Keras, Lightning and the Trainer. It is one file and needs no network: open it in a browser.

    Args:
        path: A range test (`cyclr find --out`) or a plan (`cyclr plan --out`); without it, and without --bounds, the
            bounds to begin with are 0.001 and 0.01.
        bounds: Lower and upper bound to begin with, in place of a file; by default 0.001 and 0.01.
        signal: The signal of the range test to show: loss or a recorded metric.
        steps: Budget to begin with, in optimizer steps; by default that of the plan, or 10,000.
        steps_per_epoch: Optimizer steps in an epoch; the page then also counts epochs. By default it counts steps only.
        out: The HTML file to write; by default design.html beside the file, or in the current folder.
    """
    from cyclr.report import write

    if path is not None and bounds is not None:
        raise ValueError("--bounds and a file must not both be given; leave one out")
    _console.check_target(out)
    target = out or (Path() if path is None else path.parent) / "design.html"
    if path is not None and target.exists() and target.samefile(path):
        raise ValueError(f"--out must not be the input file, got {target}; choose another file")
    if out is None:
        _console.check_ours(target)
    draft = Draft(
        Bounds(*(bounds or (1e-3, 1e-2))) if path is None else _source(path, signal),
        None if steps is None else _check.count("steps", steps, "some policies need that many", least=20),
        None if steps_per_epoch is None else _check.count("steps_per_epoch", steps_per_epoch),
    )
    source = [str(path)] if path is not None else ["--bounds", *map(str, bounds)] if bounds is not None else []
    given = {"signal": None if signal == "loss" else signal, "steps": steps, "steps_per_epoch": steps_per_epoch}
    again = command("design", *source, options={**given, "out": out})
    write(target, draft, command=again)
    _console.say(f"wrote {target}; open it in a browser")


def _source(path: Path, signal: str) -> Reading | Plan:
    """The range test or the plan in a file."""
    from cyclr.report import read

    (found, *more) = read(path)
    if isinstance(found, Plan) and not more:
        return found
    if isinstance(found, Curve) and not more:
        return Reading.of(found, _check.choice("--signal", signal, found.signals))
    raise ValueError(f"{path}: not one range test or plan; pass a curve.json or plan.json")
