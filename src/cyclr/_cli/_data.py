"""Plans and curves as plain data, for `--json` and files."""

from __future__ import annotations

from typing import Any

from cyclr._plan import Plan
from cyclr._range import Curve


def plan_data(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    return {
        "schedule": repr(plan.schedule),
        "steps": plan.steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "snapshots": plan.snapshots,
        "reasons": plan.reasons,
        "bounds": plan.bounds,
        "goal": plan.goal,
    }


def curve_data(curve: Curve) -> dict[str, Any]:
    """A curve as plain data."""
    return {
        "rates": curve.rates.tolist(),
        "losses": curve.losses.tolist(),
        "metrics": {name: values.tolist() for name, values in curve.metrics.items()},
        "scale": curve.scale,
        "stops": curve.stops,
        "reference": curve.reference.tolist(),
    }
