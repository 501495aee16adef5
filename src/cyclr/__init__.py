"""Cyclical learning rates: schedules as values, range tests, bounds and plans.

`import cyclr` loads no framework, and NumPy only once bounds or plans are asked for. The adapters are separate
modules: `cyclr.torch`, ….
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from cyclr import study as study
    from cyclr._goals import Goal as Goal
    from cyclr._metrics import Metric as Metric
    from cyclr._plan import Plan as Plan
    from cyclr._plan import plan as plan
    from cyclr._policies import policy as policy
    from cyclr._range import Bounds as Bounds
    from cyclr._range import Curve as Curve
    from cyclr._range import HeldOut as HeldOut
    from cyclr._range import Inconclusive as Inconclusive
    from cyclr._range import Ramp as Ramp
    from cyclr._range import Search as Search
    from cyclr._range import rule as rule
    from cyclr._schedules import Constant as Constant
    from cyclr._schedules import Cosine as Cosine
    from cyclr._schedules import Exponential as Exponential
    from cyclr._schedules import ExpRange as ExpRange
    from cyclr._schedules import Hann as Hann
    from cyclr._schedules import InverseSqrt as InverseSqrt
    from cyclr._schedules import Linear as Linear
    from cyclr._schedules import Opposed as Opposed
    from cyclr._schedules import Power as Power
    from cyclr._schedules import Repeat as Repeat
    from cyclr._schedules import Rex as Rex
    from cyclr._schedules import Scaled as Scaled
    from cyclr._schedules import Schedule as Schedule
    from cyclr._schedules import Sequential as Sequential
    from cyclr._schedules import Sqrt as Sqrt
    from cyclr._schedules import Take as Take
    from cyclr._schedules import Triangular as Triangular
    from cyclr._schedules import Triangular2 as Triangular2
    from cyclr._schedules import WarmRestarts as WarmRestarts
    from cyclr._schedules import Welch as Welch
    from cyclr._schedules import cool_down as cool_down
    from cyclr._schedules import one_cycle as one_cycle
    from cyclr._schedules import parse as parse
    from cyclr._schedules import slanted_triangular as slanted_triangular
    from cyclr._schedules import step_decay as step_decay
    from cyclr._schedules import warm_up as warm_up
    from cyclr._schedules import wsd as wsd
    from cyclr._stopping import EarlyStopping as EarlyStopping
    from cyclr._stopping import Interruption as Interruption
    from cyclr._tuned import Tuned as Tuned

__version__ = "0.2.0"

# fmt: off
_SCHEDULES = (
    "Constant", "Cosine", "Exponential", "ExpRange", "Hann", "InverseSqrt", "Linear", "Opposed", "Power", "Repeat",
    "Rex", "Scaled", "Schedule", "Sequential", "Sqrt", "Take", "Triangular", "Triangular2", "WarmRestarts", "Welch",
    "cool_down", "one_cycle", "parse", "slanted_triangular", "step_decay", "warm_up", "wsd",
)
# fmt: on
_LATER = dict.fromkeys(_SCHEDULES, "cyclr._schedules") | {
    "Bounds": "cyclr._range",
    "Curve": "cyclr._range",
    "EarlyStopping": "cyclr._stopping",
    "Goal": "cyclr._goals",
    "HeldOut": "cyclr._range",
    "Inconclusive": "cyclr._range",
    "Interruption": "cyclr._stopping",
    "Metric": "cyclr._metrics",
    "Plan": "cyclr._plan",
    "plan": "cyclr._plan",
    "Ramp": "cyclr._range",
    "Search": "cyclr._range",
    "Tuned": "cyclr._tuned",
    "policy": "cyclr._policies",
    "rule": "cyclr._range",
}
# `from cyclr import *` must not bring the module cyclr.torch in place of torch
__all__ = sorted([name for name in globals() if not name.startswith("_")] + list(_LATER))


def __getattr__(name: str) -> _Any:
    if name == "study":
        return _import_module("cyclr.study")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(_import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name[0] != "_" or name.startswith("__")} | {*_LATER, "study"})
