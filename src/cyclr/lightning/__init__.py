"""Lightning: a range test by the Trainer's own steps, `auto`, and callbacks. A schedule needs no adapter.

`configure_optimizers` returns a `cyclr.torch.Scheduler` with `"interval": "step"`, and the Trainer drives it; or
`use_schedule` adds it.
"""

from cyclr._displayed import public as _public

try:
    import lightning.pytorch as _lightning  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("lightning", "lightning.pytorch"):
        raise
    what = "cyclr.lightning needs Lightning, which is not installed; run: pip install 'cyclr[lightning]'"
    raise ImportError(what) from error

from cyclr.lightning._auto import auto as auto
from cyclr.lightning._auto import use_schedule as use_schedule
from cyclr.lightning._callbacks import Snapshots as Snapshots
from cyclr.lightning._callbacks import StopWhenFinished as StopWhenFinished
from cyclr.lightning._range_test import RangeTest as RangeTest
from cyclr.lightning._range_test import range_test as range_test


def __dir__() -> list[str]:
    return _public(globals())
