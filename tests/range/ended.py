"""Sweeps that were computed whole, ended where the stop rule ends them."""

import numpy as np

from cyclr._range import StopRule


def cut(losses):
    """Losses with NaN beyond the end of each sweep, and why it ended."""
    rows, stops = np.array(losses, dtype=np.float64), []
    for row in rows:
        rule = StopRule()
        rule.feed(enumerate(row))
        if rule.index is not None:
            row[rule.index + 1 :] = np.nan
        stops.append("end" if rule.index is None else rule.reason)
    return rows, tuple(stops)
