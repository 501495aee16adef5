"""A range test: its bounds and their evidence, the suggestions of published rules, and how it was recorded."""

from __future__ import annotations

from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Block, Facts, Figures, Part, Sentences, Table
from cyclr._page.numbers import between, count, in_words, number, rate, ratio, share
from cyclr._page.registry import panel, read
from cyclr._page.views import Reading
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._range.probe import ends

_STOPS = {
    "end": "reached the highest rate",
    "diverged": "stopped when the loss diverged",
    "non-finite": "stopped at a non-finite loss",
}


@read.register
def _(curve: Curve) -> tuple[str, Sequence[object]]:
    return "Range test", (*(Reading.of(curve, signal) for signal in curve.signals), curve)


@read.register
def _(reading: Reading) -> tuple[str, Sequence[object]]:
    return "Range test", (reading, reading.curve)


@panel(Reading, place=0)
def bounds(reading: Reading) -> Part:
    """The bounds from one signal, or why there are none."""
    curve, found = reading.curve, reading.bounds
    figure = figures.range_test(curve, reading.signal, found, reading.rules)
    said: tuple[Block, ...]
    if found is None:
        said = (Sentences((f"The range test is inconclusive: {reading.why}.",), first=True),)
    else:
        said = (Sentences(found.evidence, first=True), _bounds(found))
    return Part(f"What the {in_words(reading.signal)} shows", (*said, Figures((figure,)), _rules(reading)))


@panel(Curve, place=0)
def recorded(curve: Curve) -> Part:
    """How the curve was recorded."""
    repeats = len(curve.losses)
    stops = [f"{curve.stops.count(stop)} of {repeats} {words}" for stop, words in _STOPS.items() if stop in curve.stops]
    spaced = "equal factors" if curve.scale == "log" else "equal differences"
    facts = Facts((
        ("rates", f"{len(curve.rates)} from {rate(curve.rates[0])} to {rate(curve.rates[-1])}, in {spaced}"),
        ("repeats", f"{repeats}: {', '.join(stops)}"),
        ("tuning cost", count(curve.tuning_cost, "optimizer step")),
    ))  # fmt: skip
    return Part("How it was recorded", (facts, _probes(curve)) if len(curve.peaks) else (facts,))


def _bounds(bounds: Bounds) -> Table:
    rows = (
        ("base_lr", rate(bounds.base_lr), between(bounds.base_interval)),
        ("max_lr", rate(bounds.max_lr), between(bounds.max_interval)),
    )
    columns = ("bound", "rate", f"{share(bounds.level)} interval")
    length = "" if bounds.budget is None else f" for a training of {count(bounds.budget, 'step')}"
    caption = f"Bounds{length}, found in {count(bounds.tuning_cost, 'step')}"
    if bounds.max_repeat is not None:
        caption += f"; the max_lr of another range test is expected at {between(bounds.max_repeat)}"
    return Table("range-test/bounds", f"{caption}.", columns, rows)


def _rules(reading: Reading) -> Table:
    rows = tuple((name, *_beside(value, reading.bounds)) for name, value in reading.rules.items())
    caption = "What published rules suggest for the same curve"
    if found := [value for value in reading.rules.values() if value is not None]:
        caption += f": the highest rate is {ratio(max(found) / min(found))} times the lowest"
    return Table("range-test/rules", f"{caption}.", ("published rule", "suggested rate", "relative to max_lr"), rows)


def _beside(value: float | None, bounds: Bounds | None) -> tuple[str, str]:
    if value is None:
        return "no suggestion", ""
    return rate(value), "" if bounds is None else ratio(value / bounds.max_lr)


def _probes(curve: Curve) -> Table:
    """Probe cycles, compared by their last steps, at a rate of zero."""
    rows = tuple(
        (rate(peak), "diverged" if (shown := number(float(end))) == number(None) else shown)
        for peak, end in zip(curve.peaks, ends(curve.probes), strict=True)
    )
    return Table(
        "range-test/probes", "Probe cycles: short whole cycles, one for each peak.", ("peak", "loss at the end"), rows
    )
