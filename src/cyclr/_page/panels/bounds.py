"""Bounds on their own: what was found, and why."""

from __future__ import annotations

from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Facts, Figures, Part, Sentences
from cyclr._page.numbers import between, count, rate, share
from cyclr._page.registry import panel, read
from cyclr._range.bounds import Bounds


@read.register
def _(bounds: Bounds) -> tuple[str, Sequence[object]]:
    return "Bounds", (bounds,)


@panel(Bounds, place=0)
def found(bounds: Bounds) -> Part:
    """The two rates, their intervals and the evidence."""
    interval = f"{share(bounds.level)} interval"
    return Part("Bounds of the learning rate", (
        *((Sentences(bounds.evidence, first=True),) if bounds.evidence else ()),
        Figures((figures.bounds(bounds),)),
        Facts((
            ("base_lr", f"{rate(bounds.base_lr)} ({interval}: {between(bounds.base_interval)})"),
            ("max_lr", f"{rate(bounds.max_lr)} ({interval}: {between(bounds.max_interval)})"),
            *((("max_lr of a repeat", between(bounds.max_repeat)),) if bounds.max_repeat else ()),
            ("tuning cost", count(bounds.tuning_cost, "optimizer step")),
        )),
    ))  # fmt: skip
