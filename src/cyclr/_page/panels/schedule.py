"""A schedule: its rates and its key facts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Facts, Figures, Part
from cyclr._page.numbers import budget, listed, precise, whole
from cyclr._page.registry import panel, read
from cyclr._page.views import Shown
from cyclr._schedules import Schedule

_MOST = 8  # cycle ends per line


@read.register
def _(schedule: Schedule) -> tuple[str, Sequence[object]]:
    return read(Shown.of(schedule))


@read.register
def _(shown: Shown) -> tuple[str, Sequence[object]]:
    return "Schedule", (shown,)


@panel(Shown, place=0)
def rates(shown: Shown) -> Part:
    """The plotted rates and the key facts."""
    schedule, last = shown.schedule, shown.steps
    endless = schedule.duration == math.inf
    ends = schedule.cycle_ends(until=last)
    return Part("Learning rates", (
        Figures((figures.schedule(schedule, last, epoch=shown.epoch),)),
        Facts((
            ("schedule", repr(schedule)),
            ("duration", "endless" if endless else budget(int(schedule.duration), shown.epoch)),
            ("lowest", precise(schedule.lowest)),
            ("highest", precise(schedule.highest)),
            ("cycle ends", f"at step {listed(ends, _MOST)}" if ends else f"none up to step {whole(last)}"),
        )),
    ))  # fmt: skip
