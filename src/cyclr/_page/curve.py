"""A range test: what was seen, what follows from it, and what the published rules say."""

from __future__ import annotations

import numpy as np

from cyclr._page.blocks import Block, Facts, Figure, Figures, Section, Sentences, Table, count, number
from cyclr._range.bounds import Bounds, Inconclusive
from cyclr._range.curve import Curve
from cyclr._range.probe import ends
from cyclr._range.rules import RULES
from cyclr._view import in_words
from cyclr.report import figures

_STOPS = {
    "end": "went to the highest rate",
    "diverged": "ended when the loss blew up",
    "non-finite": "ended in a loss that is no number",
}


def section(curve: Curve) -> Section:
    """All about `curve`: a part for each signal, and how it was recorded."""
    signals = tuple((f"What the {in_words(signal)} says", _signal(curve, signal)) for signal in curve.signals)
    return Section("Range test", (*signals, ("How it was recorded", _recorded(curve))))


def _signal(curve: Curve, signal: str) -> tuple[Block, ...]:
    rules = {rule: _suggested(curve, rule, signal) for rule in RULES}
    bounds, found = None, tuple[Block, ...]()
    try:
        bounds = curve.bounds(signal)
    except Inconclusive as unclear:
        found = (Sentences((f"No bounds: {unclear}.",), first=True),)
    else:
        found = (Sentences(bounds.evidence, first=True), _bounds(bounds))
    repeats = count(len(curve.losses), "repeat")
    shown = f"The {in_words(signal)} over the learning rate, {repeats}; bounds dashed, their intervals shaded."
    picture = Figure(figures.range_test(curve, signal, bounds, rules), shown)
    return (*found, Figures((picture,)), _rules(rules, bounds))


def _bounds(bounds: Bounds) -> Table:
    rows = tuple(
        (name, f"{rate:.3g}", "unknown" if span is None else f"{span[0]:.2g} – {span[1]:.2g}")
        for name, rate, span in (
            ("base_lr", bounds.base_lr, bounds.base_interval),
            ("max_lr", bounds.max_lr, bounds.max_interval),
        )
    )
    caption = f"Both bounds, found in {count(bounds.tuning_cost, 'step')}."
    return Table(caption, ("bound", "rate", f"{bounds.level:.0%} interval of one more repeat"), rows)


def _rules(rules: dict[str, float | None], bounds: Bounds | None) -> Table:
    rows = tuple((name, *_beside(rate, bounds)) for name, rate in rules.items())
    caption = "What the published rules read off the same curve, for comparison"
    if found := [rate for rate in rules.values() if rate is not None]:
        caption += f": the highest is {max(found) / min(found):,.1f} times the lowest"
    return Table(f"{caption}.", ("published rule", "its rate", "times max_lr"), rows)


def _beside(rate: float | None, bounds: Bounds | None) -> tuple[str, str]:
    if rate is None:
        return "no answer", ""
    return f"{rate:.3g}", "" if bounds is None else f"{rate / bounds.max_lr:.2g}"


def _suggested(curve: Curve, rule: str, signal: str) -> float | None:
    try:
        return curve.suggest(rule, signal)
    except Inconclusive:
        return None


def _recorded(curve: Curve) -> tuple[Block, ...]:
    repeats = len(curve.losses)
    stops = [f"{curve.stops.count(stop)} of {repeats} {words}" for stop, words in _STOPS.items() if stop in curve.stops]
    spaced = "even factors" if curve.scale == "log" else "even differences"
    facts = Facts((
        ("rates", f"{len(curve.rates)} from {curve.rates[0]:.3g} to {curve.rates[-1]:.3g}, in {spaced}"),
        ("repeats", f"{repeats}: " + ", ".join(stops)),
        ("cost", count(curve.tuning_cost, "optimizer step")),
    ))  # fmt: skip
    return (facts, _probes(curve)) if len(curve.peaks) else (facts,)


def _probes(curve: Curve) -> Table:
    """Probe cycles, judged by their last steps, at a rate of zero."""
    rows = [
        (f"{peak:.3g}", number(float(end)) if np.isfinite(end) else "diverged")
        for peak, end in zip(curve.peaks, ends(curve.probes), strict=True)
    ]
    return Table("Probe cycles: short whole cycles to each peak.", ("peak", "loss at its end"), tuple(rows))
