"""Where Keras draws random numbers from: seeds of layers, which are variables, and a generator for all else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import keras
from keras.src.backend.common import global_state

from cyclr import _rng
from cyclr._interrupt import Undo

GENERATOR = "global_seed_generator"  #: Keras's name for what `keras.random` draws from where no seed is given


def seed_places(model: keras.Model) -> list[int]:
    """The variables from which layers draw random numbers, by their places among those that are not trained."""
    seeds = {id(one.state) for layer in model._flatten_layers() for one in getattr(layer, "_seed_generators", ())}
    return [at for at, one in enumerate(model.non_trainable_variables) if id(one) in seeds]


def kept_generator() -> list[Undo]:
    """What puts Keras's generator back as it is now, or removes it if it does not exist yet."""
    there = global_state.get_global_attribute(GENERATOR)
    undo: list[Undo] = [partial(global_state.set_global_attribute, GENERATOR, there)]
    if there is not None:
        undo.append(partial(there.state.assign, keras.ops.copy(there.state.value)))
    return undo


@contextmanager
def same_draws(seeds: Sequence[tuple[keras.Variable, object]] = ()) -> Iterator[None]:
    """The same random numbers in each such block: of Keras's generator and the global ones, which are restored.

    Args:
        seeds: Seeds of layers, and what to draw from; they are not restored.
    """
    there = global_state.get_global_attribute(GENERATOR)
    global_state.set_global_attribute(GENERATOR, keras.random.SeedGenerator(0))
    try:
        with _rng.same_draws():
            for one, value in seeds:
                one.assign(keras.ops.copy(value))
            yield
    finally:
        global_state.set_global_attribute(GENERATOR, there)
