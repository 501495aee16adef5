from __future__ import annotations

import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import forked
from tests.cli.conftest import Shell, called_in

FAST = ("--seeds", "2", "--epochs", "1")
# The width is said: on import readline tells children, but not os.environ, how wide a terminal is.
WIDE = {**os.environ, "COLUMNS": "100"}
NEEDS = (*forked.TORCH, "cyclr.study", "cyclr.tasks.fashion", "matplotlib.pyplot")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that nobody disturbed: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    called = called_in(folder, "demo", *FAST, columns=100)
    assert called.code == 0, called.err
    return folder / "cyclr-demo", called.out


def alone(folder: Path, *command: object) -> forked.Program:
    """A demo that makes all its runs itself, in a process of its own: what has loaded torch is forked."""
    return forked.Program(*command, cwd=folder, env=WIDE, needs=NEEDS)


@pytest.fixture
def copy(done: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(done[0], tmp_path / "demo"))


def verdict(out: str) -> str:
    """The tables and all that follows them, except for the seconds, which differ."""
    return re.sub(r"(\(\d of \d\)) +\S+", r"\1", out[out.index("3. Comparison") :])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def test_it_shows_the_whole_job(done: tuple[Path, str]) -> None:
    folder, out = done
    policies = ("best fixed", "auto", "triangular", "triangular2", "one_cycle", "cosine", "linear", "step")
    assert all(f"\n{policy} " in out for policy in policies)
    assert all(word in out for word in ("base_lr", "max_lr", "snapshots", "at half", "Tuning cost", "due to the cycle"))
    for image in ("range_test", "schedules", "accuracy", "comparison"):
        assert (folder / f"{image}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(folder.glob("runs/*/run.json"))) == 5 + 8 * 2


def test_the_numbers_are_those_of_the_records(done: tuple[Path, str], cyclr: Shell) -> None:
    folder, out = done
    found = cyclr("demo", *FAST, "--out", folder, "--json").json
    runs = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("runs/*/run.json")}
    final = {name: run["points"][-1].get("test_accuracy") for name, run in runs.items()}
    fixed = [final["fixed-0"], final["fixed-1"]]
    for row in found["rows"]:
        name = "fixed" if row["policy"] == "best fixed" else row["policy"]
        own = [final[f"{name}-0"], final[f"{name}-1"]]
        assert row["final"]["mean"] == pytest.approx(statistics.mean(own))
        half = statistics.stdev(own) / math.sqrt(2) * 12.7062047
        assert row["final"]["high"] - row["final"]["mean"] == pytest.approx(half, abs=1e-9)
        if name != "fixed":
            gains = [mine - other for mine, other in zip(own, fixed, strict=True)]
            assert row["difference"]["mean"] == pytest.approx(statistics.mean(gains))
            assert f"{100 * statistics.mean(gains):+.2f}" in out
        assert row["half"]["mean"] == pytest.approx(
            statistics.mean(runs[f"{name}-{seed}"]["points"][0]["test_accuracy"] for seed in (0, 1))
        )
        assert (
            row["cost"]
            == row["tuning_cost"]
            == (5 * 120 if name == "fixed" else found["plan"]["bounds"]["tuning_cost"])
        )
    tuned = {name: run["points"][-1] for name, run in runs.items() if name.startswith("tuning")}
    best = max(tuned, key=lambda name: tuned[name]["val_accuracy"])
    assert found["fixed_rate"] == float(best.removeprefix("tuning-fixed-"))


def test_the_fixed_rate_is_not_chosen_on_the_test_images(done: tuple[Path, str]) -> None:
    for path in done[0].glob("runs/tuning-*/run.json"):
        assert not any(key.startswith("test_") for point in json.loads(path.read_text())["points"] for key in point)


def test_budgets_are_equal_and_seeds_are_paired(done: tuple[Path, str]) -> None:
    runs = [json.loads(path.read_text()) for path in done[0].glob("runs/*/run.json")]
    assert {run["steps"] for run in runs} == {120}
    firsts = {run["seed"] for run in runs if not run["options"]}
    assert firsts == {0, 1}


def test_killed_again_and_again_it_goes_on_and_ends_with_the_same_table(done: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "cyclr-demo"
    folder.mkdir()
    for name in ("settings.json", "curve.json"):  # killed after its range test
        shutil.copy(done[0] / name, folder)
    command = ("-m", "cyclr", "demo", *FAST, "--workers", "1")
    for least in (1, 12):  # during the first runs, and during the last ones
        process = alone(tmp_path, *command)
        end = time.monotonic() + 600
        while len(list(folder.glob("runs/*/run.json"))) < least:
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.kill()
        process.communicate()
    before = dict(contents(folder).items())
    assert 12 <= sum(name.endswith("run.json") for name in before) < 21
    process = alone(tmp_path, *command)
    out, err = process.communicate()
    assert process.wait() == 0, err
    assert out.partition("3. Comparison")[0] == done[1].partition("3. Comparison")[0]
    assert verdict(out) == verdict(done[1])
    after = contents(folder)
    assert before == {name: after[name] for name in before}


def test_a_folder_of_other_settings_is_refused_and_left_alone(copy: Path, cyclr: Shell) -> None:
    before = contents(copy)
    complaint = cyclr("demo", "--seeds", 3, "--epochs", 1, "--out", copy).complaint
    assert complaint == f"{copy} was made with other settings (seeds 2, now 3); choose another folder"
    assert contents(copy) == before


@pytest.mark.parametrize("file", ["settings.json", "curve.json"])
def test_a_damaged_file_is_one_line_and_no_finished_run_is_lost(copy: Path, cyclr: Shell, file: str) -> None:
    (copy / file).write_text('{"seeds"')
    before = contents(copy)
    assert file in cyclr("demo", *FAST, "--out", copy).complaint
    assert contents(copy) == before


def test_a_damaged_run_is_told_kept_and_done_again(
    copy: Path,
    done: tuple[Path, str],
    cyclr: Shell,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", WIDE["COLUMNS"])
    broken = copy / "runs" / "cosine-1" / "run.json"
    broken.write_text('{"task": "fashion"}')
    called = cyclr("demo", *FAST, "--out", copy)
    assert called.code == 0
    assert verdict(called.out) == verdict(done[1])
    assert "cosine-1/run.json: Object missing required field `policy`" in caplog.text
    assert broken.with_name("run.json.broken").exists()
    lost = json.loads((done[0] / "runs/cosine-1/run.json").read_text())
    assert json.loads(broken.read_text())["points"] == lost["points"]


def test_without_matplotlib_there_are_no_images_and_all_the_rest(copy: Path, done: tuple[Path, str]) -> None:
    for image in copy.glob("*.png"):
        image.unlink()
    arguments = ["demo", *FAST, "--out", str(copy)]
    code = f"import sys; sys.modules['matplotlib'] = None; from cyclr._cli import main; sys.exit(main({arguments!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=WIDE)
    assert ran.returncode == 0
    assert verdict(ran.stdout) == verdict(done[1])
    assert "no images: matplotlib is not installed; pip install cyclr[plot]" in ran.stderr
    assert not list(copy.glob("*.png"))
