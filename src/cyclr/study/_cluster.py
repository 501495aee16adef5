"""Runs on a Ray cluster: a run whose worker or node dies is resumed elsewhere from its last checkpoint.

The nodes need not share a file system: results are sent back as data, and the driver writes all records.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from cyclr import _check
from cyclr.study import _worker as worker
from cyclr.study._records import Run, Setup
from cyclr.study._worker import RunError

RETRIES = 3  #: how often a run is retried if its worker or node died
PATIENCE = 5  #: seconds to wait for an answer from the cluster, and between two checks of its nodes
LOCAL = "local"


class Cluster:
    """A Ray cluster that makes runs.

    Args:
        address: `HOST:PORT` or `auto`; None means RAY_ADDRESS, or else a temporary cluster on this machine.
        cpus: CPU cores of each run.
        gpus: GPUs of each run.
        working_dir: A folder of code that is sent to the nodes.
    """

    def __init__(self, address: str | None, cpus: int, gpus: float, working_dir: str | Path | None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self.cpus, self.gpus, self.working_dir = cpus, gpus, working_dir

    def check(self) -> None:
        """Check that the cluster exists and that a run fits on a node. A local one always fits one CPU."""
        if self.address == LOCAL and self.cpus == 1 and not self.gpus:
            _ray()
        else:
            with self._connected() as ray:
                self._check_room(ray)

    def make(
        self, function: str, setups: Mapping[str, Setup], folder: Path, most: int | None
    ) -> Generator[tuple[str, Run]]:
        """Yield runs as they end, at most `most` concurrently; closing the generator stops the active ones."""
        with self._connected() as ray:
            self._check_room(ray)
            place = self._place(folder)
            make = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES)(_on_node)
            waiting = iter(setups.items())
            under_way: dict[Any, str] = {}
            try:
                while True:
                    for name, setup in islice(waiting, None if most is None else most - len(under_way)):
                        under_way[make.remote(function, name, setup, place)] = name
                    if not under_way:
                        break
                    ended, _ = ray.wait(list(under_way), timeout=PATIENCE)
                    if not ended:
                        self._check_room(ray)  # the nodes that the run fits on may be gone
                    for result in ended:
                        name = under_way.pop(result)
                        run, node, kept = _get(ray, result, name)
                        yield name, run  # resumes when the record is written
                        if kept is not None:
                            _forget(ray, node, kept)
            finally:
                for result in under_way:
                    ray.cancel(result, force=True)

    def _place(self, folder: Path) -> dict[str, Any]:
        """What a worker needs to know about the driver."""
        return {
            "host": socket.gethostname(),
            "folder": str(folder),
            "mark": folder.stat().st_ino,
            "here": None if self.working_dir is not None else str(Path.cwd()),
            "path": sys.path,
            "variables": {name: value for name, value in os.environ.items() if name.startswith("CYCLR_")},
        }

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, connected during the runs; an existing connection of the caller is used and left open."""
        ray = _ray()
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"include_dashboard": False} if self.address == LOCAL else {}
        if self.working_dir is not None:
            options["runtime_env"] = {"working_dir": str(self.working_dir)}
        _probe(self.address)
        try:
            ray.init(self.address, log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, RuntimeError, ImportError) as error:
            raise ConnectionError(f"no Ray cluster at {self.address}: {error}") from None
        try:
            yield ray
        finally:
            ray.shutdown()

    def _check_room(self, ray: Any) -> None:
        """Check that a run fits on some node, now or once others have ended; Ray would otherwise wait forever.

        Raises:
            ValueError: If it fits on none.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= self.cpus and node.get("GPU", 0) >= self.gpus for node in nodes):
            there = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise ValueError(
                f"a run needs {self.cpus} CPUs and {self.gpus:g} GPUs of one node, got nodes with "
                f"{there or 'nothing: all are gone'}; request less for each run, or add a node"
            )


def _on_node(function: str, name: str, setup: Setup, place: dict[str, Any]) -> tuple[Run, str, str | None]:
    """Make one run on a node: returns the run, the node, and the checkpoints there if the driver cannot reach them."""
    import ray

    os.environ.update(place["variables"])
    if place["here"] is not None:
        sys.path.extend(path for path in place["path"] if path not in sys.path)
        with suppress(OSError):  # not on this node
            os.chdir(place["here"])
    folder, shared = Path(place["folder"]), False
    with suppress(OSError):
        shared = folder.stat().st_ino == place["mark"]
    if not shared:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cyclr", place["host"])
        folder = cache.joinpath(*folder.parts[1:])
    kept = worker.checkpoint_folder(folder, name, setup)
    run = worker.make_run(function, name, setup, kept)
    return run, ray.get_runtime_context().get_node_id(), None if shared else str(kept)


def _ray() -> Any:
    """Ray with its output silenced: it reports each dead worker on stdout, even with logging off."""
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise it warns
    try:
        import ray
    except ImportError:
        raise ImportError("engine 'ray' needs Ray, which is not installed; pip install cyclr[ray]") from None
    return ray


def _get(ray: Any, result: Any, name: str) -> tuple[Run, str, str | None]:
    """What a worker returned; raises with one line if it failed."""
    try:
        return ray.get(result)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RunError):
            raise error.cause from None
        raise RunError(f"run {name} failed on the cluster: {error.cause!r}") from None
    except ray.exceptions.RayError as error:  # WorkerCrashedError, NodeDiedError, OutOfMemoryError, ...
        said = str(error).partition("\n")[0]
        raise RunError(f"run {name} failed {RETRIES + 1} times: {type(error).__name__}: {said}") from None


def _forget(ray: Any, node: str, kept: str) -> None:
    """Remove the checkpoints on their nodes. Those on nodes that are gone are ignored."""
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    forget = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(worker.forget)
    ray.wait([forget.remote(Path(kept))], timeout=PATIENCE)


def _probe(address: str) -> None:
    """Check that a gRPC server, such as Ray's, answers at `address`; Ray itself would wait for it forever.

    Raises:
        ValueError: If it is not an address.
        ConnectionError: If there is no answer.
    """
    if address in (LOCAL, "auto"):
        return
    parts = re.fullmatch(r"(?:ray://)?\[?([^\]/]+?)\]?:(\d{1,5})", address)
    if parts is None:
        raise ValueError(_check.problem("address must be HOST:PORT or auto", address, "Ray's default port is 6379"))
    try:
        with socket.create_connection((parts[1], int(parts[2])), timeout=PATIENCE) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            frame = connection.recv(9)  # a gRPC server first sends its settings, a frame of type 4
            why = None if frame[3:4] == b"\x04" else "the server there is not Ray"
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
    if why is not None:
        raise ConnectionError(
            f"no Ray cluster at {address}: {why}; is it running, and is its port open to this machine?"
        )
