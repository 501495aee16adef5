"""JAX: a range test. Schedules need no adapter: Optax accepts them directly.

>>> import optax
>>> from cyclr import Triangular
>>> optimizer = optax.sgd(learning_rate=Triangular(0.001, 0.006, step_size=2000))
"""

from cyclr._displayed import public as _public

try:
    import jax as _jax  # noqa: F401 - asked for here, so that what is missing is said
except ModuleNotFoundError as error:
    raise ImportError("cyclr.jax needs JAX, which is not installed; run: pip install 'cyclr[jax]'") from error

from cyclr.jax._range_test import range_test as range_test
from cyclr.jax._snapshots import Snapshots as Snapshots
from cyclr.jax._snapshots import load_snapshot as load_snapshot


def __dir__() -> list[str]:
    return _public(globals())
