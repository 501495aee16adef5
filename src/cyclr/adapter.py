"""What an adapter of another framework needs: the loop of a range test, and what it asks of a training.

`walk` makes a whole range test with a `Walker`, a class of four methods that translates to the framework. A framework
that owns its training loop carries out the orders of `Recorder.orders` itself: `Steps`, `Measure` and `Rewind`.
"""

from cyclr._displayed import public as _public
from cyclr._range.orders import Measure as Measure
from cyclr._range.orders import Rewind as Rewind
from cyclr._range.orders import Steps as Steps
from cyclr._range.orders import Walker as Walker
from cyclr._range.recorder import Recorder as Recorder
from cyclr._range.recorder import StepProgress as StepProgress
from cyclr._range.walk import walk as walk


def __dir__() -> list[str]:
    return _public(globals())
