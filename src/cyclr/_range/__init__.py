"""The range test, independent of any framework: its loop, its record, and how bounds are estimated from that."""

from cyclr._range.bounds import Bounds as Bounds
from cyclr._range.bounds import Inconclusive as Inconclusive
from cyclr._range.curve import Curve as Curve
from cyclr._range.held_out import HeldOut as HeldOut
from cyclr._range.horizon import effort_for as effort_for
from cyclr._range.horizon import fits as fits
from cyclr._range.in_full import Answer as Answer
from cyclr._range.in_full import Kind as Kind
from cyclr._range.in_full import Size as Size
from cyclr._range.in_full import bounds_of as bounds_of
from cyclr._range.in_full import enough as enough
from cyclr._range.in_full import joined as joined
from cyclr._range.in_full import size_of as size_of
from cyclr._range.in_full import tests_of as tests_of
from cyclr._range.orders import Walker as Walker
from cyclr._range.ramp import Ramp as Ramp
from cyclr._range.recorder import Recorder as Recorder
from cyclr._range.recorder import StepProgress as StepProgress
from cyclr._range.rules import RULES as RULES
from cyclr._range.rules import rule as rule
from cyclr._range.search import Search as Search
from cyclr._range.stop import StopRule as StopRule
from cyclr._range.terminal import Terminal as Terminal
