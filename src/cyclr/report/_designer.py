"""The numbers and the script of a designer."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np

from cyclr._page.blocks import Array, Designer, Line, clean

_SCRIPTS = ("schedules.js", "policies.js", "code.js", "charts.js", "designer.js")  # formulas first
_CALLED = ("POLICIES", "SHAPES", "FRAMEWORKS", "designed", "code", "cyclesFor", "significant", "rounded")
_MOST = 600  # points of a line: more than the pixels of its chart's half


@cache
def script() -> str:
    """The designer's script, in a scope of its own; `window.cyclr` has what the tests call."""
    folder = resources.files("cyclr.report") / "templates/designer"
    code = "\n".join((folder / name).read_text() for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{code}\nwindow.cyclr = {{ {", ".join(_CALLED)} }};\n}})();'


def data(designer: Designer) -> str:
    """What the script is given: JSON that cannot end its element."""
    figure = designer.figure
    low, high = figure.x.range or (designer.base_lr / 100, designer.max_lr * 100)
    value = {
        "base_lr": designer.base_lr,
        "max_lr": designer.max_lr,
        "curve": {
            "name": clean(figure.y.name),
            "range": [low, high],
            "log": figure.x.scale == "log",
            "window": figure.y.range or (0, 1),
            "intervals": [mark.interval for mark in figure.marks if mark.interval is not None],
            "lines": [_line(line) | {"kind": "repeat" if line.colour is None else "main"} for line in figure.lines],
        },
        "plan": None if designer.plan is None else _line(designer.plan),
    }
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _line(line: Line) -> dict[str, list[float]]:
    """At most `_MOST` of its points, in five digits; gaps are left out."""
    known = np.isfinite(line.x) & np.isfinite(line.y)
    x, y = line.x[known], line.y[known]
    chosen = np.unique(np.linspace(0, max(len(x) - 1, 0), min(len(x), _MOST)).astype(int))
    return {"x": _short(x[chosen]), "y": _short(y[chosen])}


def _short(values: Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
