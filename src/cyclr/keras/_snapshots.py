"""A callback that saves the weights where cycles end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import load_file, save_file

from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr._snapshot_files import check_shapes, header_of
from cyclr._snapshots import Course, Folder, Snapshot, judge_of
from cyclr._stopping import Patience, tell_interruption
from cyclr.keras._drive import LearningRate
from cyclr.keras._loan import innermost


class Snapshots(keras.callbacks.Callback):
    """Saves a model's weights where cycles end: `model.fit(..., callbacks=[Snapshots("folder")])`.

    Each snapshot is a safetensors file with the arrays of `model.get_weights()`, numbered; `load_snapshot` puts them
    into a model. A file is complete or absent. Steps are the optimizer's, so that a model that was loaded continues
    with the snapshots that are there.

    Args:
        folder: Where to save; created if it does not exist.
        plan: A `Plan` or a `Schedule`; by default that of the optimizer's `LearningRate`.
        every: Save after every so many steps: for an endless schedule, such as `warm_up(Constant(0.01), steps=500)`,
            which has no cycles that end.
        keep: Number of snapshots to keep: the last ones, or the best ones by `metric`. None keeps all.
        metric: Judges the model at the end of each cycle, on validation data, such as
            `(lambda model: model.evaluate(x, y, verbose=0), "min")`.
        patience: Stop the training after this number of cycle ends in a row without a better metric.
        on_error: "raise", or "warn" once and go on without, when the disk is full or the folder cannot be written to.

    Raises:
        TypeError: At the start of `fit`, if an argument is of the wrong kind.
        ValueError: At the start of `fit`, if a value is out of range, or the folder holds snapshots of another plan or
            of another model.
        OSError: Likewise, if the folder cannot be written to or the disk has too little room, unless `on_error` is
            "warn".

    >>> import tempfile
    >>> from cyclr import Triangular
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(LearningRate(Triangular(0.01, 0.1, step_size=4).take(16))), "mse")
    >>> saving = Snapshots(tempfile.mkdtemp())
    >>> x = np.ones((64, 3), np.float32)
    >>> _ = model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[saving])
    >>> [snapshot.step for snapshot in saving.snapshots]
    [8, 16]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: Plan | Schedule | None = None,
        *,
        every: int | None = None,
        keep: int | None = None,
        metric: GivenMetric | None = None,
        patience: int | None = None,
        on_error: str = "raise",
    ) -> None:
        super().__init__()
        self.plan, self.every, self._patience = plan, every, Patience(patience, judged=metric is not None)
        self.metric, judged, self._better = judge_of(metric)
        self._given: dict[str, Any] = {
            "path": folder, "keep": keep, "on_error": on_error, "judged": judged, "better": self._better
        }  # fmt: skip
        self._folder: Folder | None = None
        self._first = self._before = self._batches = 0

    @property
    def _trained(self) -> Any:
        return self.model

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """What was saved, in the order of steps, each with `step`, `path` and `value`."""
        return () if self._folder is None else self._folder.kept

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Look at what is there."""
        optimizer = innermost(self._trained.optimizer)
        rate = optimizer._learning_rate
        own = rate.plan or rate.schedule if isinstance(rate, LearningRate) else None
        course = Course.of(own if self.plan is None else self.plan, self.every)
        arrays = _named(self._trained.get_weights())
        size = sum(array.nbytes for array in arrays.values())
        self._folder = folder = Folder(course=course, shapes=_shapes(arrays), size=size, **self._given)
        self._first, self._batches = int(optimizer.iterations), 0
        folder.begin(self._first)
        self._patience.begin(course, self._better, folder.values)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count from here: batches are numbered within an epoch."""
        self._before = self._batches

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save where a cycle ends."""
        folder, self._batches = self._folder, self._before + batch + 1
        assert folder is not None
        done = self._done()
        if not folder.due(done):
            return
        if callable(sync := getattr(self._trained, "jax_state_sync", None)):
            sync()  # on JAX the variables have their values of the epoch's start until they are asked for
        value = None if self.metric is None else self._judged()
        arrays = _named(self._trained.get_weights())
        folder.save(done, lambda path, said: save_file(arrays, path, metadata=said), value)
        if self._patience.exhausted(done, value):
            self._trained.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Say where the training was stopped."""
        if self._folder is not None:
            tell_interruption(self._folder.course, self._done())

    def _done(self) -> int:
        """Optimizer steps; to read the optimizer's own count would wait for the device."""
        accumulated = innermost(self._trained.optimizer).gradient_accumulation_steps or 1
        return self._first + self._batches // accumulated

    def _judged(self) -> float:
        """The metric; the running metrics of the training, which `evaluate` resets, are restored."""
        before = [keras.ops.convert_to_numpy(variable) for variable in self._trained.metrics_variables]
        assert self.metric is not None
        value = float(self.metric(self._trained))
        for variable, array in zip(self._trained.metrics_variables, before, strict=True):
            variable.assign(array)
        return value


def load_snapshot(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Put the weights of a snapshot into a model.

    Raises:
        ValueError: If the file is damaged or of another model.
    """
    arrays = _named(model.get_weights())
    check_shapes(Path(path), header_of(Path(path))[1], _shapes(arrays))
    found = load_file(path)
    model.set_weights([found[name] for name in arrays])


def _named(arrays: list[Any]) -> dict[str, Any]:
    """Arrays by their numbers: the names of Keras's variables count the layers of a whole process."""
    return {f"{number:05}": np.ascontiguousarray(array) for number, array in enumerate(arrays)}


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}
