"""What a study says, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cyclr.study._summary import Summary, shown

_NAMED = 4  # policies that the sentence names; the others it counts


def headline(rows: Sequence[Summary], baseline: str, *, points: bool = False, maximize: bool = True) -> str:
    """What a study says, in one sentence: which policies differ significantly from the baseline, and by how much.

    Args:
        rows: From `summarize`.
        baseline: Name of the baseline.
        points: Whether the metric is a fraction, shown in percentage points.
        maximize: Whether higher values are better.

    >>> from cyclr.study._stats import Interval
    >>> row = Summary("auto", Interval(.8, .7, .9), Interval(.02, .01, .03), Interval(.7, .6, .8), 600.0, 5, 0, 5,
    ...     p=0.01, corrected=0.02)
    >>> headline([row], "fixed", points=True)
    'Significantly better than fixed at the end: auto (+2.00 points).'
    """
    compared = [row for row in rows if row.difference is not None and math.isfinite(row.difference.mean)]
    if not compared:
        return f"There is no other policy to compare with {baseline}."
    compared.sort(key=lambda row: _gain(row, maximize), reverse=True)
    differ = [row for row in compared if row.differs]
    if differ:
        groups = {
            "better": [row for row in differ if _gain(row, maximize) > 0],
            "worse": [row for row in differ if _gain(row, maximize) < 0],
        }
        said = [
            f"significantly {word} than {baseline} at the end: {_with_changes(found, points)}"
            for word, found in groups.items()
            if found
        ]
        if rest := len(compared) - len(differ):
            said.append(f"no significant difference for {'another one' if rest == 1 else f'{rest} others'}")
        return _sentence(said)
    largest = max(compared, key=lambda row: abs(_gain(row, maximize)))
    named = _with_changes([largest], points)
    if largest.seeds == 1:
        return f"One seed is no evidence of a difference from {baseline}; the largest at the end is {named}."
    if len(compared) == 1:
        return f"No significant difference from {baseline} at the end: {named}."
    return f"No policy differs significantly from {baseline} at the end; the largest difference is {named}."


def _gain(row: Summary, maximize: bool) -> float:
    assert row.difference is not None
    return row.difference.mean if maximize else -row.difference.mean


def _with_changes(rows: Sequence[Summary], points: bool) -> str:
    changes = [
        f"{row.policy} ({shown(row.difference.mean, points, sign='+')}{' points' if points else ''})"
        for row in rows
        if row.difference is not None
    ]
    return ", ".join(changes[:_NAMED]) + (f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else "")


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."
