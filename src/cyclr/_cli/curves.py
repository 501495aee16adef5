"""A range test's curve, its bounds and the published rules, in the terminal."""

from __future__ import annotations

from typing import Any

from cyclr import plot
from cyclr._cli import draw, output
from cyclr._range import RULES, Bounds, Curve, Inconclusive


def print_curve(curve: Curve, bounds: Bounds | None, signal: str = "loss") -> None:
    """The smoothed median with the bounds."""
    rates, middle = plot.smoothed(curve, signal)
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    marks: list[tuple[float, str]] = [] if bounds is None else [(bounds.base_lr, "b"), (bounds.max_lr, "M")]
    name = "training loss" if signal == "loss" else signal.replace("_", " ")
    which = "" if len(values) == 1 else f" median of {len(values)} repeats"
    output.say(f"{name}, smoothed{which}" + (", b = base_lr, M = max_lr" if marks else ""), "dim")
    shown = plot.window(middle, middle, rising=signal in curve.maximize)
    draw.chart(rates, middle, x_label="learning rate", y_range=shown, log=curve.scale == "log", marks=marks)


def print_bounds(bounds: Bounds) -> None:
    """Both bounds with their intervals, what they cost and what they rest on."""
    output.say()
    rows = []
    for name in ("base", "max"):
        interval = getattr(bounds, f"{name}_interval")
        spread = "unknown" if interval is None else f"{interval[0]:.2g} – {interval[1]:.2g}"
        rows.append((f"{name}_lr", f"{getattr(bounds, f'{name}_lr'):.3g}", spread))
    output.table(("bound", "rate", f"{bounds.level:.0%} interval"), rows)
    for sentence in bounds.evidence:
        output.say(f"- {sentence}")
    output.say(f"- found in {bounds.tuning_cost} steps")


def print_rules(curve: Curve, signal: str = "loss") -> None:
    """What the published rules say of the same curve."""
    output.table(
        ("published rule", "its rate"),
        [(name, "no answer" if rate is None else f"{rate:.3g}") for name, rate in rules(curve, signal).items()],
    )


def rules(curve: Curve, signal: str = "loss") -> dict[str, float | None]:
    """The rate of each published rule; None where it has no answer."""
    found: dict[str, float | None] = {}
    for name in RULES:
        try:
            found[name] = curve.suggest(name, signal)
        except Inconclusive:
            found[name] = None
    return found


def as_data(curve: Curve) -> dict[str, Any]:
    """A curve as plain data."""
    return {
        "rates": curve.rates.tolist(),
        "losses": curve.losses.tolist(),
        "metrics": {name: values.tolist() for name, values in curve.metrics.items()},
        "scale": curve.scale,
        "stops": curve.stops,
    }
