"""Cyclical learning rates: schedules as values, range tests, bounds and plans.

`import cyclr` loads no framework. The adapters are modules of their own: `cyclr.torch`, ….
"""

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
from cyclr._schedules import one_cycle as one_cycle
from cyclr._schedules import parse as parse
from cyclr._schedules import slanted_triangular as slanted_triangular
from cyclr._schedules import step_decay as step_decay
from cyclr._schedules import warm_up as warm_up
from cyclr._schedules import wsd as wsd

__version__ = "0.1.0"
