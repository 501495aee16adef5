"""Keras 3, on JAX or torch: learning rates, momentum, the range test, `auto`, and snapshots."""

from cyclr._displayed import public as _public

try:
    import keras as _keras  # noqa: F401 (whether it can be imported)
except ModuleNotFoundError as error:
    if error.name == "keras":
        raise ImportError("cyclr.keras needs Keras, which is not installed; run: pip install 'cyclr[keras]'") from error
    raise ImportError(
        f"cyclr.keras needs Keras, which is set to a backend that is not installed ({error.name}); "
        "set the environment variable KERAS_BACKEND to jax or torch"
    ) from error

from cyclr.keras._auto import auto as auto
from cyclr.keras._auto import use_schedule as use_schedule
from cyclr.keras._drive import LearningRate as LearningRate
from cyclr.keras._drive import WithMomentum as WithMomentum
from cyclr.keras._range_test import RangeTest as RangeTest
from cyclr.keras._snapshots import Snapshots as Snapshots
from cyclr.keras._snapshots import load_snapshot as load_snapshot


def __dir__() -> list[str]:
    return _public(globals())
