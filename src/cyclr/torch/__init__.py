"""PyTorch: tasks, the scheduler, range tests, `auto`, a training loop, and `preserved`."""

from cyclr._displayed import public as _public
from cyclr.torch._auto import auto as auto
from cyclr.torch._average import averaged_model as averaged_model
from cyclr.torch._average import trailing_average as trailing_average
from cyclr.torch._batches import own_loss as own_loss
from cyclr.torch._batches import with_model as with_model
from cyclr.torch._ensemble import Ensemble as Ensemble
from cyclr.torch._ensemble import ensemble as ensemble
from cyclr.torch._loop import AutoLoop as AutoLoop
from cyclr.torch._measure import measure_cycles as measure_cycles
from cyclr.torch._range_test import Restore as Restore
from cyclr.torch._range_test import range_test as range_test
from cyclr.torch._restore import Transaction as Transaction
from cyclr.torch._restore import preserved as preserved
from cyclr.torch._scheduler import Scheduler as Scheduler
from cyclr.torch._snapshots import Snapshots as Snapshots
from cyclr.torch._soup import Soup as Soup
from cyclr.torch._soup import average as average
from cyclr.torch._soup import soup as soup
from cyclr.torch._task import Task as Task
from cyclr.torch._timed import TimedScheduler as TimedScheduler
from cyclr.torch._timm import TimmScheduler as TimmScheduler
from cyclr.torch._train import Checkpoint as Checkpoint
from cyclr.torch._train import train as train
from cyclr.torch._trainer import Chosen as Chosen
from cyclr.torch._update import Update as Update
from cyclr.torch._update import evaluate as evaluate


def __dir__() -> list[str]:
    return _public(globals())
