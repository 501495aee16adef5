"""A real Ray cluster of two nodes on this machine, whose nodes, workers and drivers are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclr.study import _cluster as cluster
from cyclr.study._engine import Engine, RunError, make_runs
from cyclr.study._files import read_json
from cyclr.study._records import Run
from tests.study.setups import setup
from tests.study.test_engine import GO_ON, MAKE, ROOT, alive, until


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each."""
    cluster._ray()  # quiet
    from ray import cluster_utils

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    yield made
    made.shutdown()


def noted(log: Path) -> list[list[str]]:
    """What runs have noted as they began: seed, process, its parent (the node), steps done before."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def steps_done(folder: Path, name: str) -> int:
    return max((len(file.read_text()) for file in folder.glob(f"{name}/checkpoint-*/steps")), default=0)


def test_a_failed_run_is_named_and_the_connection_closed(nodes: Any, tmp_path: Path) -> None:
    import ray

    with pytest.raises(RunError, match=r"^run bad failed: ValueError: boom$"):
        make_runs(
            MAKE,
            {"bad": setup(1, fail=True)},
            tmp_path,
            engine=Engine("ray", address=nodes.address),
        )
    assert not ray.is_initialized()


def test_more_than_any_node_has_is_an_error_at_once(nodes: Any, tmp_path: Path) -> None:
    needs = r"a run needs 1 CPUs and 1 GPUs of one node, got nodes with 1 CPUs and 0 GPUs, 1 CPUs and 0"
    with pytest.raises(ValueError, match=needs):
        make_runs(GO_ON, {"p": setup(0)}, tmp_path, engine=Engine("ray", address=nodes.address, gpus_per_run=1))
    with pytest.raises(ValueError, match="a run needs 2 CPUs"):
        Engine("ray", address=nodes.address, cpus_per_run=2).check()
    Engine("ray", address=nodes.address).check()


def test_a_killed_driver_leaves_no_worker_and_goes_on_when_called_again(nodes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "tests.study.setups", str(folder), nodes.address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        until(lambda: len(list(folder.glob("*/run.json"))) >= 2)
        driver.kill()
    until(lambda: not any(alive(int(line[1])) for line in noted(folder / "log")))
    before = {path: path.read_bytes() for path in folder.glob("*/run.json")}
    assert 2 <= len(before) < 6
    (folder / "gate").touch()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.stderr == ""
    assert sorted(again.stdout.split()) == sorted({f"p-{n}" for n in range(6)} - {path.parent.name for path in before})
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_node_and_a_killed_worker_lose_no_run_and_no_step(
    nodes: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log, folder, gate = tmp_path / "log", tmp_path / "ray", tmp_path / "gate"
    setups = {f"p-{seed}": setup(seed, log=str(log), gate=str(gate), die=seed == 0) for seed in (2, 0, 1, 3)}
    (node,) = nodes.worker_nodes
    raylet = node.all_processes["raylet"][0].process.pid
    seen: list[str] = []

    def kill() -> None:
        """The second node with all its processes, when a run on it has done three steps of ten."""

        def there() -> list[int]:
            runs = [(line[0], int(line[1])) for line in noted(log) if line[2] == str(raylet)]
            return [pid for seed, pid in runs if alive(pid) and steps_done(folder, f"p-{seed}") == 3]

        until(there)
        for pid in (raylet, *there()):
            os.kill(pid, signal.SIGKILL)
        gate.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    engine = Engine("ray", address=nodes.address)
    runs = make_runs(GO_ON, setups, folder, engine=engine, on_run=lambda name, _: seen.append(name))
    killer.join()
    nodes.remove_node(node)
    assert capfd.readouterr() == ("", "")
    assert sorted(seen) == sorted(setups)
    assert sorted(int(line[3]) for line in noted(log)) == [0, 0, 0, 0, 2, 3]
    assert list(runs) == list(setups)
    assert runs == make_runs(GO_ON, setups, folder) == {n: read_json(folder / n / "run.json", Run) for n in setups}
    assert not list(folder.glob("*/checkpoint-*"))
    plain = {name: setup(made.seed) for name, made in setups.items()}
    alone = make_runs(GO_ON, plain, tmp_path / "alone")
    assert [(run.seed, run.points) for run in runs.values()] == [(run.seed, run.points) for run in alone.values()]


def test_no_cluster_at_the_address_is_one_line_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        other = f"127.0.0.1:{silent.getsockname()[1]}"
        for address, why in (("127.0.0.1:1", "Connection refused"), (other, "timed out")):
            with pytest.raises(ConnectionError, match=f"^no Ray cluster at {address}: {why}; is it running"):
                make_runs(GO_ON, {"p": setup(0)}, tmp_path, engine=Engine("ray", address=address))
            with pytest.raises(ConnectionError):
                Engine("ray", address=address).check()
    assert not list(tmp_path.glob("p*"))


def test_an_address_has_a_host_and_a_port() -> None:
    for address in ("here", "host:", ":6379", "http://host:1", "host:1234567"):
        with pytest.raises(ValueError, match=f"address must be HOST:PORT or auto, got {address!r}"):
            Engine("ray", address=address).check()


def test_the_code_that_is_sent_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="working_dir must be a folder, got"):
        Engine("ray", working_dir=tmp_path / "none").check()


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install cyclr\[ray\]"):
        Engine("ray").check()
