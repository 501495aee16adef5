"""Studies: policies compared on a task with equal budgets and paired seeds, recorded run by run.

`compare` makes a study, `load` reads one, `summarize` gives a row for each policy. Only the
processes that make the runs import a framework.
"""

from cyclr._displayed import public as _public
from cyclr.study._compare import Progress as Progress
from cyclr.study._compare import compare as compare
from cyclr.study._cycles import MeasuredCycles as MeasuredCycles
from cyclr.study._cycles import Trial as Trial
from cyclr.study._engine import Engine as Engine
from cyclr.study._files import RecordError as RecordError
from cyclr.study._files import load as load
from cyclr.study._records import Run as Run
from cyclr.study._records import Setup as Setup
from cyclr.study._records import Study as Study
from cyclr.study._settings import Target as Target
from cyclr.study._summary import Summary as Summary
from cyclr.study._summary import summarize as summarize
from cyclr.study._worker import RunError as RunError


def __dir__() -> list[str]:
    return _public(globals())
