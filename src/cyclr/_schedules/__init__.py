"""Schedules, their combinations, and their representation as text."""

from cyclr._schedules.base import Repeat as Repeat
from cyclr._schedules.base import Scaled as Scaled
from cyclr._schedules.base import Schedule as Schedule
from cyclr._schedules.base import Sequential as Sequential
from cyclr._schedules.base import Take as Take
from cyclr._schedules.opposed import Opposed as Opposed
from cyclr._schedules.pieces import Constant as Constant
from cyclr._schedules.pieces import Cosine as Cosine
from cyclr._schedules.pieces import Exponential as Exponential
from cyclr._schedules.pieces import InverseSqrt as InverseSqrt
from cyclr._schedules.pieces import Linear as Linear
from cyclr._schedules.pieces import Power as Power
from cyclr._schedules.pieces import Rex as Rex
from cyclr._schedules.pieces import Sqrt as Sqrt
from cyclr._schedules.recipes import one_cycle as one_cycle
from cyclr._schedules.recipes import slanted_triangular as slanted_triangular
from cyclr._schedules.recipes import step_decay as step_decay
from cyclr._schedules.recipes import warm_up as warm_up
from cyclr._schedules.recipes import wsd as wsd
from cyclr._schedules.spec import parse as parse
from cyclr._schedules.waves import ExpRange as ExpRange
from cyclr._schedules.waves import Hann as Hann
from cyclr._schedules.waves import Triangular as Triangular
from cyclr._schedules.waves import Triangular2 as Triangular2
from cyclr._schedules.waves import WarmRestarts as WarmRestarts
from cyclr._schedules.waves import Welch as Welch
