"""The runner of experiments/paper: real processes on random images in the official layout."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from cyclr import parse
from cyclr.study._files import write_json
from cyclr.study._records import Run

pytest.importorskip("torch")
from tests import forked
from tests.tasks.test_cifar10 import write_binary

PAPER = Path(__file__).parents[2] / "experiments/paper"
NEEDS = (*forked.TORCH, "cyclr.study", "cyclr.tasks.cifar10")
TABLE = """
[[group]]
name = "small"
title = "Small runs"
about = "Of random images."
baseline = "fixed"
seeds = [1, 2]
steps = 12
eval_every = 4
task = { images = 100, precision = "float32" }

[[group.row]]
name = "fixed"
schedule = "Constant(0.001)"
paper = 81.4
[[group.row]]
name = "waves | of 4"
schedule = "Triangular(0.001, 0.006, step_size=2)"
"""

RAMPS = """
[[group]]
name = "ramps"
title = "Ramps"
about = "Made up."
seeds = [1]
ramp = true
steps = 4000

[[group.row]]
name = "falls"
schedule = "Linear(0, 0.02, steps=4000)"
[[group.row]]
name = "flat"
schedule = "Linear(0, 0.02, steps=4000)"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_binary(tmp_path / "data", train=20, test=20)
    (tmp_path / "rows.toml").write_text(TABLE)
    return tmp_path


def command(folder: Path, program: str, *arguments: str) -> forked.Program:
    where = ["--table", str(folder / "rows.toml"), "--records", str(folder / "records")]
    env = {**os.environ, "CYCLR_PAPER_WORK": str(folder / "work")}
    return forked.Program(PAPER / program, *where, *arguments, needs=NEEDS, env=env, stderr=subprocess.STDOUT)


def call(folder: Path, program: str, *arguments: str) -> tuple[int, str]:
    process = command(folder, program, *arguments)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def records(folder: Path) -> dict[str, dict]:
    paths = sorted((folder / "records").rglob("run.json"))
    return {str(path.parent.relative_to(folder / "records")): json.loads(path.read_text()) for path in paths}


def without_clock(runs: dict[str, dict]) -> dict[str, dict]:
    return {name: {key: value for key, value in run.items() if key != "seconds"} for name, run in runs.items()}


def test_a_killed_runner_goes_on_from_its_checkpoint_and_ends_with_the_same_records(folder: Path) -> None:
    data = ["--data", str(folder / "data"), "--seeds", "1"]
    process = command(folder, "run.py", *data)
    deadline = time.monotonic() + 600
    while not list((folder / "work").rglob("checkpoint.pt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.kill()
    process.communicate()
    finished = len(records(folder))
    assert finished < 2

    code, output = call(folder, "run.py", *data)
    assert code == 0, output
    assert f"{2 - finished} of 2 runs to do" in output
    killed = records(folder)
    assert list(killed) == ["small/fixed/seed-1", "small/waves-of-4/seed-1"]
    assert not list((folder / "work").rglob("checkpoint.pt"))

    (folder / "records").rename(folder / "first")
    code, output = call(folder, "run.py", *data)
    assert code == 0, output
    assert without_clock(records(folder)) == without_clock(killed)
    points = killed["small/waves-of-4/seed-1"]["points"]
    assert [point["step"] for point in points] == [4, 8, 12]
    assert [point["lr"] for point in points] == [pytest.approx(0.0035)] * 3  # of the weights, at steps 3, 7, 11
    assert str(folder) not in (folder / "records/small/fixed/seed-1/run.json").read_text()


OTHERS = """
[[group]]
name = "photos"
title = "Photographs"
about = "With dropout, augmentation and a worker."
on = "imagenet"
seeds = [1]
steps = 16
eval_every = 4
task = { network = "alexnet", size = 51, width = 0.05, batch = 4, workers = 1, precision = "float32" }

[[group.row]]
name = "cycles"
schedule = "Triangular(0.001, 0.006, step_size=4)"
"""


def test_a_row_on_photographs_goes_on_after_a_kill_and_ends_with_the_same_record(folder: Path) -> None:
    pytest.importorskip("PIL")
    from tests.tasks.test_imagenet import write_folders

    (folder / "rows.toml").write_text(OTHERS)
    data = ["--data", str(write_folders(folder / "photos"))]
    process = command(folder, "run.py", *data)
    deadline = time.monotonic() + 600
    while not list((folder / "work").rglob("checkpoint.pt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not records(folder)
    code, output = call(folder, "run.py", *data)
    assert code == 0, output
    killed = records(folder)
    (folder / "records").rename(folder / "first")
    code, output = call(folder, "run.py", *data)
    assert code == 0, output
    assert list(killed) == ["photos/cycles/seed-1"]
    assert without_clock(records(folder)) == without_clock(killed)


def test_what_is_finished_is_not_done_again_and_the_tables_show_it(folder: Path) -> None:
    data = ["--data", str(folder / "data")]
    code, output = call(folder, "run.py", *data, "--rows", "small/fixed", "waves*", "--seeds", "2")
    assert code == 0, output
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "records").rglob("*")}
    code, output = call(folder, "run.py", *data, "--seeds", "2")
    assert (code, output) == (0, "")
    assert stamps == {path: path.stat().st_mtime_ns for path in (folder / "records").rglob("*")}

    code, output = call(folder, "run.py", "--list")
    assert code == 0
    assert [line.split("done")[1].strip() for line in output.splitlines()] == ["[2]", "[2]"]

    page = folder / "page.md"
    page.write_text("before\n<!-- tables: made by table.py -->\nold\n<!-- end of tables -->\nafter\n")
    assert call(folder, "table.py", "--page", str(page), "--check")[0] == 1
    assert call(folder, "table.py", "--page", str(page)) == (0, "")
    assert call(folder, "table.py", "--page", str(page), "--check") == (0, "")
    text = page.read_text()
    runs = records(folder)
    fixed, waves = (100 * run["points"][-1]["test_accuracy"] for run in runs.values())
    averages = [100 * run["points"][-1]["averaged_test_accuracy"] for run in runs.values()]
    assert f"| fixed | 12 | 1 | {fixed:.2f} | {averages[0]:.2f} |  | 81.4 |" in text
    assert f"| waves \\| of 4 | 12 | 1 | {waves:.2f} | {averages[1]:.2f} | {waves - fixed:+.2f} |  |" in text
    assert "Against *fixed* one seed tells nothing." in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def write_ramp(folder: Path, name: str, fall: float) -> None:
    """The record of a range test whose loss falls so much."""
    points = [
        {"step": step, "lr": rate, "loss": 2.3 - fall * hump(rate), "test_accuracy": 0.1 + fall / 4 * hump(rate)}
        for step, rate in ((100 * k, 0.0005 * k) for k in range(1, 41))
    ]
    run = Run(task="cifar10", policy=name, schedule="Linear(0, 0.02, steps=4000)", seed=1, steps=4000,
              eval_every=100, options={}, steps_per_epoch=500, points=points, seconds=1.0, versions={})  # fmt: skip
    path = folder / f"records/ramps/{name}/seed-1/run.json"
    path.parent.mkdir(parents=True)
    write_json(path, run)


def claims_of(folder: Path) -> list[str]:
    """The lines of the table of claims."""
    code = (
        "from pathlib import Path; from rows import read_groups; from claims import claims_table\n"
        f"print(claims_table(read_groups(Path({str(folder / 'rows.toml')!r})), Path({str(folder / 'records')!r}), "
        f"Path({str(folder / 'claims.toml')!r})))"
    )
    done = forked.run("-c", code, cwd=PAPER, needs=NEEDS)
    assert not done.stderr
    return done.stdout.splitlines()[2:]


def test_a_ramp_is_shown_by_its_rates_and_the_bounds_in_them(folder: Path) -> None:
    (folder / "rows.toml").write_text(RAMPS)
    for name, fall in (("falls", 60), ("flat", 0)):
        write_ramp(folder, name, fall)
    page = folder / "page.md"
    page.write_text("<!-- tables: made by table.py -->\n<!-- end of tables -->\n")
    assert call(folder, "table.py", "--page", str(page)) == (0, "")
    text = page.read_text()
    assert "| rate | 0.002 | 0.004 | 0.006 | 0.008 | 0.010 | 0.012 | 0.014 | 0.016 | 0.018 | 0.020 |" in text
    assert f"| test accuracy, % | {100 * (0.1 + 15 * hump(0.002)):.1f} |" in text
    assert "| training loss | 2.30 | 2.30 |" in text
    found, flat = re.findall("in these 40 points: (.*) in the test accuracy; (.*) in the training loss", text)
    assert all(0.001 < float(part.split()[2]) < 0.01 for part in found)
    assert flat == ("none", "none")


def test_a_claim_about_bounds_is_compared_with_the_intervals_of_ours(folder: Path) -> None:
    (folder / "rows.toml").write_text(RAMPS)
    claim = '[[claim]]\nsays = "Bounds of {0}"\nwhere = "Figure 9"\nrow = "ramps/{0}"\npaper = [0.001, {1}]\n'
    (folder / "claims.toml").write_text(
        "".join(claim.format(*one) for one in (("falls", 0.006), ("falls", 0.5), ("flat", 0.006)))
    )
    for when in ("before", "after"):
        if when == "after":
            for name, fall in (("falls", 60), ("flat", 0)):
                write_ramp(folder, name, fall)
        lines = claims_of(folder)
        verdicts = [line.split(" | ")[-1].removesuffix(" |") for line in lines]
        if when == "before":
            assert verdicts == ["not measured here"] * 3
    assert verdicts == [
        "holds: the paper's upper bound is in both intervals of ours",
        *["open: the paper's upper bound is in no interval of ours"] * 2,
    ]
    assert lines[0].startswith("| Bounds of falls (Figure 9) | rates of 0.001 to 0.006 | ")
    assert "| none in the test accuracy; none in the training loss |" in lines[2]


def hump(rate: float) -> float:
    """What is learnt at a rate: most at 0.01."""
    return rate * math.exp(-rate / 0.01)


def test_auto_writes_down_what_it_found_before_it_trains_with_it(folder: Path) -> None:
    row = '[[group.row]]\nname = "auto"\nschedule = "auto"\ntask = { images = 20 }\n'
    (folder / "rows.toml").write_text(TABLE + row)
    code, output = call(folder, "run.py", "--data", str(folder / "data"), "--rows", "auto", "--seeds", "1")
    assert code == 0, output
    place = folder / "records/small/auto/seed-1"
    found, run = (json.loads((place / name).read_text()) for name in ("found.json", "run.json"))
    schedule = parse(found["schedule"])
    assert (run["schedule"], run["steps"], schedule.duration) == (found["schedule"], 12, 12)
    # All of it in rates of the weights: the range test's own are those of the biases, 1e-6 to 10.
    assert (found["rates"][0], found["rates"][-1]) == (pytest.approx(0.5e-6), pytest.approx(5.0))
    assert schedule.highest == pytest.approx(found["max_lr"])
    assert 0 < found["cost"] <= 300


def test_rows_that_no_two_processes_can_share_are_refused_before_any_work(folder: Path) -> None:
    where = ["--table", folder / "rows.toml", "--records", folder / "records", "--data", folder / "data"]
    with forked.started_ranks(PAPER / "run.py", *where, needs=NEEDS) as programs:
        errors = [program.communicate()[1] for program in programs]
    assert [program.wait() for program in programs] == [1, 1]
    assert errors[1] == ""
    assert errors[0] == (
        "small must be run by one process, as cifar10 does not divide its batches, got 2; leave torchrun out; "
        "--workers makes several runs at a time\n"
    )
    assert not (folder / "records").exists()


TINY = """
[[group]]
name = "quick"
title = "Quick"
about = "Of Tiny-ImageNet."
on = "imagenet"
data = "tiny-imagenet"
seeds = [1]
steps = 2
eval_every = 2
task = { network = "alexnet", size = 51, width = 0.05, batch = 2, classes = 3, precision = "float32" }

[[group.row]]
name = "fixed"
schedule = "Constant(0.001)"
"""


def equal_photographs(folder: Path) -> Path:
    """Two hundred classes of one image each, and always the same image."""
    from tests.tasks.test_imagenet import COLOURS, encoded

    image = encoded(COLOURS["n01"], 0)
    for half in ("train", "val"):
        for number in range(200):
            place = folder / f"tiny-imagenet-200/{half}/n{number:03}"
            place.mkdir(parents=True)
            (place / "a.JPEG").write_bytes(image)
    return folder


def test_a_refusal_of_the_range_test_is_recorded_and_shown(folder: Path) -> None:
    pytest.importorskip("PIL")
    table = TINY.replace("classes = 3", "classes = 1").replace("batch = 2", "batch = 1")  # nothing to tell apart
    (folder / "rows.toml").write_text(table + '[[group.row]]\nname = "auto"\nschedule = "auto"\nsteps = 12\n')
    data = ["--data", str(equal_photographs(folder / "photos")), "--rows", "auto", "--seeds", "1"]
    code, output = call(folder, "run.py", *data)
    assert code == 0, output
    place = folder / "records/quick/auto/seed-1"
    assert [path.name for path in place.iterdir()] == ["found.json"]
    found = json.loads((place / "found.json").read_text())
    assert found["refused"] in output
    assert "fallback" in found
    assert found["versions"]["cyclr"] == version("cyclr")
    stamp = (place / "found.json").stat().st_mtime_ns
    code, output = call(folder, "run.py", *data)
    assert "no run, for no bounds were found" in output
    assert stamp == (place / "found.json").stat().st_mtime_ns
    assert call(folder, "run.py", "--list", "--rows", "auto")[1].endswith("done []  refused [1]\n")
    page = folder / "page.md"
    page.write_text("<!-- tables: made by table.py -->\n<!-- end of tables -->\n")
    assert call(folder, "table.py", "--page", str(page)) == (0, "")
    assert "| auto | 12 | - | refused |" in page.read_text()


def test_a_row_is_trained_on_the_photographs_that_it_names_and_its_record_counts_them(folder: Path) -> None:
    pytest.importorskip("PIL")
    from tests.tasks.test_imagenet import write_folders

    (folder / "rows.toml").write_text(TINY)
    write_folders(folder / "photos/imagenet")
    code, output = call(folder, "run.py", "--data", str(folder / "photos"))
    assert code == 1
    assert "photos must hold the 200 classes of tiny-imagenet, got 3; --data must be that data set" in output
    assert not records(folder)
    equal_photographs(folder / "photos")
    code, output = call(folder, "run.py", "--data", str(folder / "photos"))
    assert code == 0, output
    (run,) = records(folder).values()
    assert run["versions"]["data"] == "3 classes, 3 training and 3 test images"
    assert "pillow" in run["versions"]
    assert run["options"] == {"network": "alexnet", "size": 51, "width": 0.05, "batch": 2, "classes": 3,
                              "precision": "float32"}  # fmt: skip
    assert (run["steps_per_epoch"], run["points"][0]["step"]) == (2, 2)
    (folder / "rows.toml").write_text(TINY.replace('"tiny-imagenet"', '"imagenet"').replace('"quick"', '"full"'))
    code, output = call(folder, "run.py", "--data", str(folder / "photos/tiny-imagenet-200"))
    assert code == 1
    assert "tiny-imagenet-200 must hold the 1000 classes of imagenet, got 200" in output


CLAIMS = """
[[claim]]
says = "Waves are better"
where = "Table 9"
row = "small/waves | of 4"
than = "small/fixed"
paper = [82.0, 81.0]
[[claim]]
says = "Waves are as good"
where = ""
row = "small/waves | of 4"
than = "small/fixed"
as_good = true
"""


@pytest.mark.parametrize(
    ("gains", "verdicts"),
    [
        ((), ("not measured here", "not measured here")),
        ((2.0,), ("open: one seed, in the direction of the claim", "open: one seed, within one point")),
        ((-2.0,), ("open: one seed, against the claim", "open: one seed, more than a point below")),
        ((2.0, 2.1, 1.9), ("holds", "holds")),
        ((-0.5, -0.6, -0.4), ("does not hold: worse", "holds within one point, but lower")),
        ((-2.0, -2.1, -1.9), ("does not hold: worse", "does not hold")),
        ((0.0, 0.0, 0.0), ("open: no difference on any seed", "holds")),
        (
            (2.0, 2.0, 2.0),
            (
                "open: equal differences on all seeds say nothing of their variation, in the direction of the claim",
                "open: equal differences on all seeds say nothing of their variation, within one point",
            ),
        ),
        ((1.0, -2.0, 3.0), ("open: no significant difference; these seeds would show", "open, within one point")),
    ],
)
def test_a_claim_gets_the_verdict_that_its_records_allow(
    folder: Path, gains: tuple[float, ...], verdicts: tuple[str, str]
) -> None:
    (folder / "rows.toml").write_text(TABLE.replace("seeds = [1, 2]", "seeds = [1, 2, 3]"))
    (folder / "claims.toml").write_text(CLAIMS)
    for seed, gain in enumerate(gains, 1):
        for name, accuracy in (("fixed", 70 + seed), ("waves-of-4", 70 + seed + gain)):
            points = [{"step": 12, "lr": 0.001, "loss": 1.0, "test_accuracy": accuracy / 100}]
            run = Run(task="cifar10", policy=name, schedule="Constant(0.001)", seed=seed, steps=12, eval_every=4,
                      options={}, steps_per_epoch=5, points=points, seconds=1.0, versions={})  # fmt: skip
            path = folder / f"records/small/{name}/seed-{seed}/run.json"
            path.parent.mkdir(parents=True)
            write_json(path, run)
    lines = claims_of(folder)
    assert len(lines) == 2
    for line, verdict in zip(lines, verdicts, strict=True):
        assert line.split(" | ")[-1].removesuffix(" |").startswith(verdict)
    assert lines[0].startswith("| Waves are better (Table 9) | 82.0 against 81.0 |")
    assert not re.search("nan|inf", "".join(lines))
    if len(gains) == 3:
        assert f"| {sum(gains) / 3:+.1f}{', 3 seeds' if len(set(gains)) == 1 else ' ('}" in lines[0]


def test_equal_differences_and_numbers_of_the_full_length_are_said_in_the_table(folder: Path) -> None:
    (folder / "rows.toml").write_text(
        TABLE + '[[group.row]]\nname = "same"\nschedule = "Constant(0.001)"\nfull = 80.0\n'
        '[[group.row]]\nname = "more"\nschedule = "Constant(0.001)"\n'
    )
    for name, gain in (("fixed", 0.0), ("waves-of-4", 0.02), ("same", 0.0), ("more", 0.0)):
        for seed in (1, 2):
            accuracy = 0.7 + gain + (0.01 * seed if name == "more" else 0)
            points = [{"step": 12, "lr": 0.001, "loss": 1.0, "test_accuracy": accuracy}]
            run = Run(task="cifar10", policy=name, schedule="Constant(0.001)", seed=seed, steps=12, eval_every=4,
                      options={}, steps_per_epoch=5, points=points, seconds=1.0, versions={})  # fmt: skip
            path = folder / f"records/small/{name}/seed-{seed}/run.json"
            path.parent.mkdir(parents=True)
            write_json(path, run)
    page = folder / "page.md"
    page.write_text("<!-- tables: made by table.py -->\n<!-- end of tables -->\n")
    assert call(folder, "table.py", "--page", str(page)) == (0, "")
    text = page.read_text()
    assert "nan" not in text
    assert "say nothing of the variation: *waves | of 4*, *same*." in text
    assert "| same | 12 | 2 | 70.00 ± 0.00 | +0.00 (+0.00 to +0.00) | 80.0 † |" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "nothing"], "no row is called nothing"),
        (["--data", "/nowhere"], "pass data=PATH or set CYCLR_DATA"),
    ],
)
def test_wrong_arguments_are_one_line(folder: Path, arguments: list[str], words: str) -> None:
    code, output = call(folder, "run.py", *arguments)
    assert code != 0
    assert words in output.splitlines()[-1]
    assert "Traceback" not in output


def test_the_rows_of_the_paper_are_schedules_that_fit_their_steps() -> None:
    code = """
import cyclr
from rows import read_groups, run_name
names = set()
for group in read_groups():
    for row in group.filled():
        names.add(run_name(group, row, 1))
        if not row.schedule.startswith("auto"):
            schedule = cyclr.parse(row.schedule)
            assert schedule.duration >= row.steps, row
            assert schedule(row.steps - 1) <= 0.1, row
    assert group.baseline is None or group.baseline in [row.name for row in group.row]
print(len(names) == sum(len(group.row) for group in read_groups()) > 40)
"""
    done = forked.run("-c", code, cwd=PAPER, needs=NEEDS)
    assert (done.stdout, done.stderr) == ("True\n", "")
