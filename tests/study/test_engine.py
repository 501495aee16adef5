from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cyclr.study._engine import Engine, RunError, make_runs
from cyclr.study._files import read_json
from cyclr.study._records import Run
from tests.study.setups import setup

ROOT = Path(__file__).parents[2]
MAKE, GO_ON = "tests.study.setups:make", "tests.study.setups:go_on"


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_setup_becomes_a_run_in_their_order(tmp_path: Path, workers: int) -> None:
    setups = {f"p-{seed}": setup(seed, log=str(tmp_path / "log")) for seed in (2, 0, 1)}
    seen = []
    runs = make_runs(
        MAKE,
        setups,
        tmp_path,
        engine=Engine(workers=workers),
        on_run=lambda name, _: seen.append(name),
    )
    assert list(runs) == list(setups)
    assert sorted(seen) == sorted(setups)
    assert {name: run.setup for name, run in runs.items()} == setups
    assert runs == {name: read_json(tmp_path / name / "run.json", Run) for name in setups}
    here = {line.split()[1] == str(os.getpid()) for line in (tmp_path / "log").read_text().splitlines()}
    assert here == {workers == 1}


def test_workers_are_told_to_use_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    make_runs(
        MAKE,
        {f"p-{s}": setup(s, log=str(tmp_path / "log")) for s in (0, 1)},
        tmp_path,
        engine=Engine(workers=2),
    )
    assert {line.split()[2] for line in (tmp_path / "log").read_text().splitlines()} == {"1"}


def test_finished_runs_are_not_done_again(tmp_path: Path) -> None:
    setups = {f"p-{seed}": setup(seed, log=str(tmp_path / "log")) for seed in range(3)}
    make_runs(MAKE, {"p-1": setups["p-1"]}, tmp_path)
    seen = []
    runs = make_runs(MAKE, setups, tmp_path, on_run=lambda name, _: seen.append(name))
    assert seen == ["p-0", "p-2"]
    assert len(runs) == 3
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == ["1", "0", "2"]


def test_a_broken_record_is_kept_and_its_run_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setups = {"p-0": setup(0), "p-1": setup(1)}
    make_runs(MAKE, setups, tmp_path)
    (tmp_path / "p-0" / "run.json").write_text('{"task": 1}')
    with caplog.at_level(logging.WARNING, "cyclr"):
        runs = make_runs(MAKE, setups, tmp_path)
    assert "p-0/run.json" in caplog.text
    assert "$.task" in caplog.text
    assert (tmp_path / "p-0" / "run.json.broken").read_text() == '{"task": 1}'
    assert runs["p-0"] == read_json(tmp_path / "p-0" / "run.json", Run)


def test_a_record_of_other_settings_stops_all_before_any_work(tmp_path: Path) -> None:
    make_runs(MAKE, {"p-1": setup(1)}, tmp_path)
    with pytest.raises(
        ValueError, match=r"p-1/run.json was made with other settings \(seed 1, now 2\); choose another folder"
    ):
        make_runs(MAKE, {"p-0": setup(0), "p-1": setup(2)}, tmp_path)
    assert not (tmp_path / "p-0").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_run_is_named_and_the_finished_ones_stay(tmp_path: Path, workers: int) -> None:
    setups = {"good": setup(0), "bad": setup(1, fail=True, gate=str(tmp_path / "good/run.json"))}
    with pytest.raises(RunError, match="run bad failed: ValueError: boom"):
        make_runs(MAKE, setups, tmp_path, engine=Engine(workers=workers))
    assert [path.parent.name for path in tmp_path.glob("*/run.json")] == ["good"]


def test_a_dead_worker_is_one_line_and_its_run_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    setups = {
        "good": setup(0, log=log),
        "bad": setup(1, log=log, die="at the gate", gate=str(tmp_path / "out/good/run.json")),
    }
    with pytest.raises(RunError, match="a worker process died, perhaps out of memory; finished runs are kept"):
        make_runs(GO_ON, setups, tmp_path / "out", engine=Engine(workers=2))
    assert [path.parent.name for path in tmp_path.glob("out/*/run.json")] == ["good"]
    make_runs(GO_ON, setups, tmp_path / "out", engine=Engine(workers=2))
    begun = [line.split() for line in Path(log).read_text().splitlines()]
    assert sorted((line[0], line[3]) for line in begun) == [("0", "0"), ("1", "0"), ("1", "2")]
    assert {path.name for path in (tmp_path / "out").glob("*/*")} == {"run.json"}


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with pytest.raises(RunError, match="run p failed: ValueError: boom"):
        make_runs(GO_ON, {"p": setup(1, fail=True)}, tmp_path)
    assert [file.name for file in tmp_path.glob("p/checkpoint-*/*")] == ["steps"]
    make_runs(GO_ON, {"p": setup(3, log=log)}, tmp_path)
    assert Path(log).read_text().split()[3] == "0"


FULL = """
import resource
from cyclr.study._engine import Engine, make_runs
from tests.study.setups import setup
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # bytes in a file
try:
    setups = {"good": setup(0), "bad": setup(1), "more": setup(2, gate="/nowhere")}
    make_runs("tests.study.setups:make", setups, "FOLDER", engine=Engine(workers=WORKERS))
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_named_and_loses_no_finished_run(tmp_path: Path, workers: int) -> None:
    make_runs(MAKE, {"good": setup(0)}, tmp_path)
    before = (tmp_path / "good" / "run.json").read_bytes()
    code = FULL.replace("FOLDER", str(tmp_path)).replace("WORKERS", str(workers))
    full = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (full.stdout, full.stderr) == (f"[Errno 27] File too large: '{tmp_path}/bad/run.json'\n", "")
    assert list((tmp_path / "bad").iterdir()) == []
    assert (tmp_path / "good" / "run.json").read_bytes() == before
    assert list(make_runs(MAKE, {"good": setup(0), "bad": setup(1)}, tmp_path)) == ["good", "bad"]


def test_a_second_call_in_the_folder_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    refused = []

    def second(name: str, run: Run) -> None:
        with pytest.raises(RunError, match=f"^another process is using {tmp_path}; wait until it ends, or choose"):
            make_runs(MAKE, {"q": setup(1)}, tmp_path)
        refused.append(name)
        assert make_runs(MAKE, {name: run.setup}, tmp_path) == {name: run}  # nothing to do: no lock

    make_runs(MAKE, {"p": setup(0)}, tmp_path, on_run=second)
    assert refused == ["p"]
    assert list(make_runs(MAKE, {"q": setup(1)}, tmp_path)) == ["q"]


@pytest.mark.parametrize("workers", [1, 2])
def test_folders_may_be_relative_and_names_long_nested_and_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("x" * 255, "a/b c/d", "ü$(x)'\"%\n{}", "-f", ".hidden")
    runs = make_runs(GO_ON, {name: setup(0) for name in names}, "out/put", engine=Engine(workers=workers))
    assert {name: read_json(tmp_path / "out/put" / name / "run.json", Run) for name in names} == runs


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/x", "a\0b", "x" * 256, "a/" + "ü" * 128])
def test_a_name_that_is_no_path_inside_the_folder_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="the name of a run must be a path inside the folder, each part at most 255"):
        make_runs(MAKE, {"good": setup(0), name: setup(1)}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (Path("/proc/nowhere"), tmp_path / "file" / "out"):
        with pytest.raises(OSError, match=str(folder)):
            make_runs(MAKE, {"p": setup(0, log=str(tmp_path / "log"))}, folder)
    assert not (tmp_path / "log").exists()


def test_what_only_a_cluster_has_is_refused_on_one_machine() -> None:
    for extra in ({"address": "host:1"}, {"gpus_per_run": 1}, {"working_dir": "."}):
        with pytest.raises(ValueError, match="need engine 'ray', got 'joblib'; choose 'ray', or leave them out"):
            Engine(**extra)
    with pytest.raises(ValueError, match=r"engine must be one of 'joblib', 'ray', got 'Ray'; did you mean 'ray'\?"):
        Engine("Ray")


def test_the_number_of_workers_must_be_a_positive_integer() -> None:
    for bad in (0, -1, 1.0, True):
        with pytest.raises((ValueError, TypeError), match="workers must be a positive integer"):
            Engine(workers=bad)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment_it_goes_on_and_leaves_no_process_behind(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "tests.study.setups", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as driver:
        until(lambda: len(list(folder.glob("*/run.json"))) >= 2)
        os.killpg(driver.pid, how) if how == signal.SIGINT else driver.kill()  # Ctrl-C reaches the whole group
    until(lambda: not any(alive(pid) for pid in workers_of(folder)))
    before = {path: path.read_bytes() for path in folder.glob("*/run.json")}
    assert 2 <= len(before) < 6
    (folder / "gate").touch()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    left = {f"p-{seed}" for seed in range(6)} - {path.parent.name for path in before}
    assert sorted(again.stdout.split()) == sorted(left)
    assert {path: path.read_bytes() for path in before} == before


def workers_of(folder: Path) -> set[int]:
    return {int(line.split()[1]) for line in (folder / "log").read_text().splitlines()}
