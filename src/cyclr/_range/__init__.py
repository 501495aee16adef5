"""What a range test walks through, what it saw, and what that means. No framework in here."""

from cyclr._range.bounds import Bounds as Bounds
from cyclr._range.bounds import Inconclusive as Inconclusive
from cyclr._range.curve import Curve as Curve
from cyclr._range.curve import more_is_better as more_is_better
from cyclr._range.probe import candidates as candidates
from cyclr._range.probe import cycle as cycle
from cyclr._range.probe import effort_for as effort_for
from cyclr._range.probe import further as further
from cyclr._range.ramp import ramp as ramp
from cyclr._range.rules import RULES as RULES
from cyclr._range.stop import StopRule as StopRule
