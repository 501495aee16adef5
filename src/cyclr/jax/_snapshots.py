"""Saves parameters where cycles end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from safetensors.flax import load_file, save_file

from cyclr._check import count, problem
from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr._snapshot_files import check_shapes, header_of
from cyclr._snapshots import Course, Folder, Snapshot, judge_of
from cyclr._stopping import Interruption, interruption


class Snapshots:
    """Saves a pytree of arrays where cycles end. Call `step(params, done)` after each update.

    Each snapshot is a safetensors file, in which arrays are named by their paths in the tree; `load_snapshot` reads
    one. A file is complete or absent. A training that is resumed continues with the snapshots that are there. To stop
    early, give `values` to a `cyclr.EarlyStopping`.

    Args:
        folder: Where to save; created if it does not exist.
        params: The parameters, or any pytree of arrays, whose structure and shapes all snapshots have.
        plan: A `Plan`, or a `Schedule` whose cycles end.
        every: Save after every so many steps: for an endless schedule, such as `warm_up(Constant(0.01), steps=500)`,
            which has no cycles that end.
        keep: Number of snapshots to keep: the last ones, or the best ones by `metric`. None keeps all.
        metric: Judges the parameters at the end of each cycle, on validation data: a function of them, as a pair with
            "min" or "max".
        on_error: "raise", or "warn" once and go on without, when the disk is full or the folder cannot be written to.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the folder holds snapshots of another plan or of other parameters.
        OSError: If the folder cannot be written to or the disk has too little room, unless `on_error` is "warn".

    >>> import tempfile, jax.numpy as jnp
    >>> from cyclr import Triangular
    >>> params = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    >>> snapshots = Snapshots(tempfile.mkdtemp(), params, Triangular(0.01, 0.1, step_size=4).take(16))
    >>> for done in range(1, 17):
    ...     params = jax.tree.map(lambda leaf: leaf + 1, params)
    ...     _ = snapshots.step(params, done)
    >>> [load_snapshot(path, params)["b"].item() for path in snapshots.paths]
    [8.0, 16.0]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        params: Any,
        plan: Plan | Schedule,
        *,
        every: int | None = None,
        keep: int | None = None,
        metric: GivenMetric | None = None,
        on_error: str = "raise",
    ) -> None:
        self.metric, judged, better = judge_of(metric)
        named = _named(params)
        self._folder = Folder(
            folder,
            Course.of(plan, every),
            {name: tuple(leaf.shape) for name, leaf in named.items()},
            sum(leaf.nbytes for leaf in named.values()),
            keep=keep,
            judged=judged,
            better=better,
            on_error=on_error,
        )
        #: The value of the metric at each cycle end that was judged, before an interruption, too.
        self.values: dict[int, float] = dict(self._folder.values)

    def step(self, params: Any, done: int) -> Path | None:
        """Save if a cycle ends here.

        Args:
            params: The parameters now.
            done: Completed updates.

        Returns:
            The file that was written, if any.

        Raises:
            ValueError: If a new training would mix its snapshots with those of an earlier one.
            OSError: If the file cannot be written, unless `on_error` is "warn".
        """
        done = count("done", done, least=0)
        if not self._folder.due(done):
            return None
        value = None if self.metric is None else float(self.metric(params))
        if value is not None:
            self.values[done] = value
        named = _named(params)
        return self._folder.save(done, lambda path, said: save_file(named, path, metadata=said), value)

    def cost(self, done: int) -> Interruption:
        """What it costs to stop after `done` updates, in the middle of a cycle or at its end; `str` is a sentence."""
        return interruption(self._folder.course, count("done", done))

    @property
    def needed(self) -> int:
        """The most bytes of disk that the training will still take; of an endless one without `keep`, the next."""
        return self._folder.needed

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of their steps."""
        return tuple(snapshot.path for snapshot in self)

    def __iter__(self) -> Iterator[Snapshot]:
        """The snapshots, in the order of their steps, each with `step`, `path` and `value`."""
        return iter(self._folder.kept)

    def __len__(self) -> int:
        return len(self._folder.kept)


def load_snapshot(path: str | os.PathLike[str], params: Any) -> Any:
    """The arrays of a snapshot, as a tree like `params`.

    Raises:
        ValueError: If the file is damaged or has other arrays.
    """
    named = _named(params)
    check_shapes(Path(path), header_of(Path(path))[1], {name: tuple(leaf.shape) for name, leaf in named.items()})
    found = load_file(path)
    return jax.tree.unflatten(jax.tree.structure(params), [found[name] for name in named])


def _named(params: Any) -> dict[str, jax.Array]:
    """The arrays by their paths in the tree."""
    found = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for name, leaf in found.items():
        if not hasattr(leaf, "dtype"):
            raise TypeError(problem(f"params{name} must be an array", leaf, "leave out what is not trained"))
    if not found:
        raise ValueError(problem("params must hold at least one array", params))
    return {name: jax.numpy.asarray(leaf) for name, leaf in found.items()}
