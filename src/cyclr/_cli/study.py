"""The tables of a study in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cyclr._cli import output
from cyclr.study._records import Study
from cyclr.study._stats import Interval
from cyclr.study._summary import Summary, target_of


def print_ends(study: Study, rows: Sequence[Summary], *, percent: bool) -> None:
    """How good at the end of the budget, and how sure."""
    name = study.metric.replace("_", " ") + (" %" if percent else "")
    output.table(
        ("policy", "peak\nrate", f"{name}\nat the end", f"difference\nfrom {study.baseline}", "corrected\np"),
        [
            (
                row.policy,
                output.number(study.rates.get(row.policy, math.nan)),
                span(row.final, percent=percent),
                "" if row.difference is None else span(row.difference, percent=percent, sign="+"),
                "" if math.isnan(row.corrected) else f"{row.corrected:.2g}",
            )
            for row in rows
        ],
    )


def print_ways(study: Study, rows: Sequence[Summary], *, percent: bool, seconds: bool = True) -> None:
    """How fast on the way, and at what cost."""

    def shown(value: float) -> str:
        return _shown(value, percent=percent)

    reach = shown(target_of(study))
    columns = [
        "policy",
        "best cycle\nend",
        "at half\nbudget",
        "mean on\nthe way",
        f"steps to\n{reach}",
        "tuning\ncost",
    ]
    if seconds:
        columns.insert(5, f"seconds\nto {reach}")
    table = []
    for row in rows:
        to = "never" if math.isinf(row.to_target) else f"{row.to_target:.0f}"
        cells = [row.policy, shown(row.best.mean), shown(row.half.mean), shown(row.area.mean)]
        cells.append(f"{to} ({row.reached}/{row.seeds})")
        if seconds:
            cells.append("never" if math.isinf(row.seconds) else f"{row.seconds:.3g}")
        table.append((*cells, f"{row.cost}"))
    output.table(columns, table)


def told_target(study: Study, *, percent: bool) -> str:
    """The target, and where it comes from if nobody gave it."""
    value = _shown(target_of(study), percent=percent)
    return value if study.target is not None else f"{value}, what {study.baseline} has at the end"


def _shown(value: float, *, percent: bool) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3g}"


def span(found: Interval, *, percent: bool, sign: str = "") -> str:
    """A mean with its interval, in points of a hundred for a fraction."""
    scale, form = (100, f"{sign}.1f") if percent else (1, f"{sign}.3g")
    if not math.isfinite(found.mean):
        return "diverged"
    mean = f"{scale * found.mean:{form}}"
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return mean
    between = " to " if sign or min(found.low, found.high) < 0 else "–"
    return f"{mean} ({scale * found.low:{form}}{between}{scale * found.high:{form}})"
