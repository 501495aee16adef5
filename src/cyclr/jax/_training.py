"""The operations on a JAX training for the loop of the range test, for batches as arrays and for a loader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cyclr._check import problem
from cyclr._metrics import as_metrics
from cyclr._range import HeldOut
from cyclr._range.horizon import REFERENCE
from cyclr._range.short import examples_in, is_single_layer
from cyclr.jax._step import Arrays, PureStep, first_axis, is_array

Random = dict[int, jax.Array]  #: random state among the arrays of a state, by its places
#: The paths of moments in the states of Flax's nnx.
IN_DICTS = {name: re.compile(rf"\['opt_state'\].*\['{name}'\]") for name in ("nu", "trace")}
BLOCK = 10  #: losses are read from the device in blocks, as waiting for each one would slow every step


class Training:
    """Base class for both forms of batches: the state, its start, and the metrics on held-out data."""

    def __init__(self, pure: PureStep, arrays: Arrays, stacked: bool, held_out: Evaluation | None) -> None:
        self._pure, self._start, self._stacked, self._held_out = pure, arrays, stacked, held_out
        self._repeat = 0
        self._now: Arrays = self._first()
        self._random = random_in(self._now)
        self._aside: list[Any] = []  #: the reference batches

    @property
    def examples(self) -> int:
        """Examples that a step takes, or labels where each has several; 0 if unknown."""
        return sum(examples_in(jax.tree.leaves(batch)) for batch in self._aside) // REFERENCE

    @property
    def weights(self) -> int:
        """How many are trained, if the state has their second moments, named nu as in Optax's Adam; 0 if not."""
        return sum(array.size for array in moments(self._pure.state(self._first()), "nu"))

    @property
    def single_layer(self) -> bool:
        """Whether a single layer is trained, as far as the moments of Optax's Adam or momentum show it."""
        state = self._pure.state(self._first())
        return is_single_layer(array.shape for array in moments(state, "nu") or moments(state, "trace"))

    def measure(self) -> Mapping[str, float]:
        """The metrics on held-out data."""
        return {} if self._held_out is None else self._held_out.of(self._now)

    def rewind(self, *, data: bool) -> None:
        """Return to the start; if the data continue, with the next of several states."""
        self._repeat = 0 if data else self._repeat + 1
        self._now = self._first()
        self._random = random_in(self._now)

    def _first(self) -> Arrays:
        if not self._stacked:
            return self._start
        return [array[min(self._repeat, len(array) - 1)] for array in self._start]


class AtHand(Training):
    """All batches are arrays on the device: a block of steps is one run of one compiled program."""

    def __init__(
        self,
        pure: PureStep,
        arrays: Arrays,
        batches: Any,
        *,
        starts: int,
        stacked: bool,
        held_out: Evaluation | None,
    ) -> None:
        super().__init__(pure, arrays, stacked, held_out)
        self._batches = jax.tree.map(jnp.asarray, batches)
        self._number = number = len(jax.tree.leaves(batches)[0])
        self._starts, self._next = starts, 0
        self._float = jnp.asarray(0.0).dtype
        self._rates: list[float] = []
        self._reference = False
        self._beside: list[float] = []
        Losses = tuple[Arrays, jax.Array, jax.Array]
        aside = [jax.tree.map(itemgetter(-1 - index), self._batches) for index in range(min(REFERENCE, number))]

        def block(
            arrays: Arrays, batches: Any, aside: list[Any], random: Random, first: int, rates: jax.Array, count: int
        ) -> tuple[Arrays, jax.Array, jax.Array]:
            def body(index: jax.Array, now: Losses) -> Losses:
                batch = jax.tree.map(itemgetter((first + index) % number), batches)
                arrays, loss = pure.guarded(now[0], batch, rates[index])
                beside = mean_loss(pure, now[0], random, aside) if aside else 0.0
                return arrays, now[1].at[index].set(loss), now[2].at[index].set(beside)

            # the number of steps is an argument, so that blocks of all lengths share one program
            return jax.lax.fori_loop(0, count, body, (arrays, *jnp.zeros((2, BLOCK), self._float)))

        self._block, self._aside = jax.jit(block), aside

    def step(self, rate: float) -> None:
        """Queue a step, to be made with the others of its block."""
        self._rates.append(rate)

    def reference(self) -> None:
        """Queue an evaluation of the reference batches."""
        self._reference = True

    def read(self, losses: Sequence[None]) -> Sequence[float]:
        """Make the queued steps, and return their losses; if there are none, those of the reference batches there."""
        if not self._rates:
            return self._beside
        count = len(losses)
        rates = np.zeros(BLOCK, self._float)
        rates[:count] = self._rates
        aside = self._aside if self._reference else []
        self._rates.clear()
        self._reference = False
        self._now, *values = self._block(self._now, self._batches, aside, self._random, self._next, rates, count)
        self._next = (self._next + count) % self._number
        found, self._beside = (np.asarray(one, dtype=np.float64)[:count].tolist() for one in values)
        return found

    def rewind(self, *, data: bool) -> None:
        """Return to the start; each sweep begins at a different batch, and what follows the last goes on from there."""
        super().rewind(data=data)
        if self._repeat < self._starts:
            self._next = self._repeat * self._number // self._starts


class OneByOne(Training):
    """Batches from a loader: each one is one call of the compiled step."""

    def __init__(
        self, pure: PureStep, arrays: Arrays, feed: Feed, *, stacked: bool, held_out: Evaluation | None
    ) -> None:
        super().__init__(pure, arrays, stacked, held_out)
        self._feed, self._step = feed, jax.jit(pure.guarded)
        self._mean_loss = jax.jit(partial(mean_loss, pure))
        self._float = jnp.asarray(0.0).dtype

    def step(self, rate: float) -> jax.Array:
        """One step."""
        self._now, loss = self._step(self._now, next(self._feed), np.asarray(rate, self._float))
        return loss

    def reference(self) -> jax.Array:
        """The loss of the first batches, which are set aside."""
        if not self._aside:
            self._aside = [next(self._feed) for _ in range(REFERENCE)]
        return self._mean_loss(self._now, self._random, self._aside)

    def read(self, losses: Sequence[jax.Array]) -> Sequence[float]:
        """Wait for the losses."""
        return [float(loss) for loss in jax.device_get(list(losses))]

    def rewind(self, *, data: bool) -> None:
        """Return to the start."""
        super().rewind(data=data)
        if data:
            self._feed.restart()


def mean_loss(pure: PureStep, arrays: Arrays, random: Random, batches: Sequence[Any]) -> jax.Array:
    """The mean loss of batches; the state after the steps is not used, so the compiler leaves it out.

    `random` takes the place of the random state: dropout then leaves out the same at all weights, whose losses differ
    for no other reason.
    """
    rate, now = jnp.zeros((), jnp.asarray(0.0).dtype), [random.get(place, one) for place, one in enumerate(arrays)]
    return jnp.stack([pure(now, batch, rate)[1] for batch in batches]).mean()


def random_in(arrays: Arrays) -> Random:
    """The keys of random numbers among the arrays of a state, raw ones and counters of Flax too, by their places."""
    return {
        place: one
        for place, one in enumerate(arrays)
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) or one.dtype == jnp.uint32
    }


class Feed(Iterator[Any]):
    """Batches of a loader, which is started again when it ends, or of an iterator, which cannot be restarted.

    Args:
        batches: The loader or iterator.
        put_back: Restores the random states from before the first batch was taken.

    Raises:
        ValueError: If there are no batches.
    """

    def __init__(self, batches: Iterable[Any], put_back: Callable[[], None]) -> None:
        self._batches, self._put_back, self.once = batches, put_back, isinstance(batches, Iterator)
        self._used = 0
        self.taken = 1  #: batches consumed from an iterator: the first one is inspected before any step
        self._source = iter(batches)
        try:
            self.first = next(self._source)
        except StopIteration:
            raise ValueError(
                problem("batches must hold at least one batch", batches, "check that the data set is not empty")
            ) from None
        if self.once:
            self._source = chain([self.first], self._source)
        else:
            self.restart()

    def __next__(self) -> Any:
        batch = next(self._source, None)
        if batch is None and not self.once:
            self._source = iter(self._batches)
            batch = next(self._source, None)
        if batch is None:
            advice = "pass a list or a loader, which can be started again, or an endless iterator"
            raise ValueError(problem("batches must last for the whole range test", f"{self._used} batches", advice))
        self._used += 1
        self.taken = max(self.taken, self._used)
        return batch

    def restart(self) -> None:
        """Start again from the first batch, in the same order; an iterator continues where it is."""
        self._put_back()
        if not self.once:
            self._source = iter(self._batches)


class Evaluation:
    """Metrics on held-out data, as means over its batches, weighted by the number of examples in each.

    Args:
        held_out: The user's held-out data.
        pure: The step, which has the form of the state.
        arrays: The arrays of one state.

    Raises:
        TypeError: If the data are of the wrong kind.
        ValueError: If there are no metrics or no data, or a metric is not a number.
    """

    def __init__(self, held_out: HeldOut, pure: PureStep, arrays: Arrays) -> None:
        metrics = as_metrics(held_out.metrics)
        if not metrics:
            advice = "pass functions of (state, batch), such as {'val_loss': loss}"
            raise ValueError(problem("held_out.metrics must hold at least one metric", metrics, advice))
        self._loader, self._number = held_out.loader, number_of(held_out.loader, "held_out.loader")
        if isinstance(self._loader, Iterator):
            advice = "it is read at each evaluation; pass a list or a loader"
            raise TypeError(problem("held_out.loader must not be an iterator", self._loader, advice))

        def measured(arrays: Arrays, batch: Any) -> dict[str, jax.Array]:
            return {name: metric(pure.state(arrays), batch) for name, metric in metrics.items()}

        first = next(self._batches(), None)
        if first is None:
            raise ValueError(problem("held_out.loader must hold at least one batch", self._loader))
        for name, value in jax.eval_shape(measured, arrays, first).items():
            if getattr(value, "shape", None) != () or jnp.issubdtype(value.dtype, jnp.complexfloating):
                given = f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else type(value).__name__
                must = f"held_out.metrics[{name!r}] must return one real number"
                raise ValueError(f"{must} for a batch, got {given}; reduce it, as with jnp.mean")
        self._measured = jax.jit(measured)

    def of(self, arrays: Arrays) -> dict[str, float]:
        """The metrics of a state."""
        measured = [(_examples(batch), self._measured(arrays, batch)) for batch in self._batches()]
        sizes, values = zip(
            *jax.device_get(measured), strict=True
        )  # read together, as waiting for each one would be slow
        return {name: float(np.average([float(value[name]) for value in values], weights=sizes)) for name in values[0]}

    def _batches(self) -> Iterator[Any]:
        if self._number is None:
            yield from self._loader
        else:
            for index in range(self._number):
                yield jax.tree.map(itemgetter(index), self._loader)


def number_of(batches: Any, name: str = "batches") -> int | None:
    """The number of batches in arrays; None if batches come one by one."""
    one_by_one = isinstance(batches, Iterable) and not (isinstance(batches, (tuple, Mapping, str)) or is_array(batches))
    if one_by_one:
        return None
    leaves = jax.tree.leaves(batches)
    if leaves and all(is_array(leaf) and leaf.ndim for leaf in leaves):
        return first_axis(name, leaves, None)
    advice = "pass a list for one batch after the other"
    raise TypeError(problem(f"{name} must be arrays that share their first axis, or a list", batches, advice))


def moments(state: Any, name: str) -> list[Any]:
    """The arrays of Optax's second moments (nu) or momentum (trace) in a state; a weight of that name is none."""

    def holds(node: Any) -> bool:
        return isinstance(node, tuple) and hasattr(node, name)

    found = [getattr(node, name) for node in jax.tree.leaves(state, is_leaf=holds) if holds(node)]
    named, _ = jax.tree_util.tree_flatten_with_path(state)
    found += [leaf for path, leaf in named if IN_DICTS[name].search(jax.tree_util.keystr(path))]
    return [leaf for leaf in jax.tree.leaves(found) if is_array(leaf)]


def _examples(batch: Any) -> int:
    """The number of examples in a batch: the length of its first axis."""
    shape = np.shape(jax.tree.leaves(batch)[0])
    return shape[0] if shape else 1
