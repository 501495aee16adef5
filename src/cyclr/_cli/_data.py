"""Plans and curves as plain data, for `--json` and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclr._plan import Plan
from cyclr._range import Curve

if TYPE_CHECKING:
    from cyclr.study import Summary


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
        "in_turn": curve.in_turn,
        "groups": curve.groups,
    }


def row_data(row: Summary) -> dict[str, Any]:
    """A policy's row as plain data; `cost` is the name of `tuning_cost` in version 0.1, to be removed in 0.3."""
    return {**asdict(row), "cost": row.tuning_cost}
