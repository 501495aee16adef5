"""Hugging Face's Trainer: a range test by the Trainer's own steps, a schedule from its arguments, `auto`, callbacks."""

from cyclr._displayed import public as _public

try:
    import accelerate as _accelerate  # noqa: F401
    import transformers as _transformers  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("accelerate", "transformers"):
        raise
    what = f"cyclr.transformers needs {error.name}, which is not installed; run: pip install 'cyclr[transformers]'"
    raise ImportError(what) from error

from cyclr.transformers._auto import auto as auto
from cyclr.transformers._auto import use_schedule as use_schedule
from cyclr.transformers._callbacks import Snapshots as Snapshots
from cyclr.transformers._callbacks import StopWhenFinished as StopWhenFinished
from cyclr.transformers._range_test import range_test as range_test


def __dir__() -> list[str]:
    return _public(globals())
