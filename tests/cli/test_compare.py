from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclr.study import load
from cyclr.study._files import read_json
from cyclr.study._records import Study
from cyclr.study._summary import summarize
from tests import forked
from tests.cli.conftest import SIDES, Shell, called_in

Write = Callable[[str, str], Path]

ARGUMENTS = ("sides.py", "--policies", "auto,fixed,linear", "--seeds", "2", "--epochs", "3", "--rates", "0.01,0.1,3")
NAMES = {f"{policy}-{seed}" for policy in ("auto", "fixed", "linear") for seed in (0, 1)} | {
    f"tuning-{policy}-{rate}" for policy in ("fixed", "linear") for rate in (0.01, 0.1, 3.0)
}
# The driver, and at its end what it needed: VmHWM is the most memory that was resident.
DRIVER = """
import re, sys
from pathlib import Path
from cyclr._cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], "torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""
COMMAND = ("compare", *ARGUMENTS)


def driver(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A study in a process of its own, in that folder, with workers of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *COMMAND],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alone(folder: Path, **environment: str) -> forked.Program:
    """The study in a process that makes the runs itself: what has loaded torch is forked."""
    command = ("-m", "cyclr", *COMMAND, "--workers", "1")
    env = {**os.environ, "COLUMNS": "80", **environment}
    return forked.Program(*command, cwd=folder, env=env, needs=(*forked.TORCH, "cyclr.study", "cyclr.tasks"))


def needed_little(err: str) -> bool:
    """Whether a driver says at its end that it has used less than 300 MB, and no torch."""
    kibibytes, torch_is_there = err.split()[-2:]
    return torch_is_there == "False" and int(kibibytes) / 1024 < 300


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A study that nobody disturbed: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "sides.py").write_text(SIDES)
    called = called_in(folder, *COMMAND, columns=80)
    assert called.code == 0, called.err
    return folder, called.out, called.err


@pytest.fixture
def here(done: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that study's folder, as the current one."""
    folder = Path(shutil.copytree(done[0], tmp_path / "copy"))
    monkeypatch.chdir(folder)
    return folder


def records(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("cyclr-compare/runs/*/run.json")}


def test_a_study_is_told_in_tables_that_fit_80_columns_and_in_words(done: tuple[Path, str, str]) -> None:
    folder, out, err = done
    assert max(map(len, out.splitlines())) <= 80
    words = ("at the end", "difference", "adjusted", "best cycle", "steps to", "seconds", "Tuning cost", "Notes")
    for word in (*words, "higher is better"):
        assert word in out
    assert all(out.count(f"\n{policy} ") == 2 for policy in ("auto", "fixed", "linear"))
    assert "this must not" not in out
    assert "cyclr report cyclr-compare" in err
    assert set(records(folder)) == NAMES


def test_to_read_a_study_and_tell_it_needs_little_memory_and_no_torch(here: Path, done: tuple[Path, str, str]) -> None:
    process = driver(here)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, done[1])
    assert needed_little(err), err


def test_the_document_holds_what_the_records_say_and_nothing_is_done_again(here: Path, cyclr: Shell) -> None:
    before = records(here)
    found = cyclr("compare", *ARGUMENTS, "--json").json
    assert records(here) == before
    study = read_json("cyclr-compare/study.json", Study)
    assert (study.baseline, study.metric, study.task) == ("fixed", "test_accuracy", "sides.py")
    rows = summarize(study)
    assert [row["policy"] for row in found["rows"]] == [row.policy for row in rows] == ["auto", "fixed", "linear"]
    ends = [json.loads(before[f"auto-{seed}"])["points"][-1]["test_accuracy"] for seed in (0, 1)]
    assert found["rows"][0]["final"]["mean"] == pytest.approx(sum(ends) / 2)
    assert found["rates"] == study.rates
    tuned = {rate: json.loads(before[f"tuning-fixed-{rate}"])["points"][-1] for rate in (0.01, 0.1, 3.0)}
    assert tuned[found["rates"]["fixed"]]["val_accuracy"] == max(point["val_accuracy"] for point in tuned.values())
    assert not any(key.startswith("test") for point in tuned.values() for key in point), "no test data in there"
    assert found["rows"][1]["cost"] == found["rows"][1]["tuning_cost"] == 3 * 30
    assert found["rows"][0]["cost"] == found["bounds"]["tuning_cost"]


def test_the_same_runs_can_be_read_by_another_baseline_and_target(here: Path, cyclr: Shell) -> None:
    before = records(here)
    found = cyclr("compare", *ARGUMENTS, "--baseline", "linear", "--target", 0.5, "--json").json
    assert records(here) == before
    assert (found["baseline"], found["target"]) == ("linear", 0.5)
    assert [row["difference"] is None for row in found["rows"]] == [False, False, True]
    assert all(row["reached"] == 2 for row in found["rows"])


def test_other_settings_and_another_task_of_the_same_name_are_not_mixed_in(here: Path, cyclr: Shell) -> None:
    assert "(metric 'accuracy', now 'loss')" in cyclr("compare", *ARGUMENTS, "--metric", "loss").complaint
    (here / "sides.py").write_text(SIDES.replace("0.5 *", "0.4 *"))
    before = records(here)
    complaint = cyclr("compare", *ARGUMENTS).complaint
    assert "cyclr-compare was made with other settings (task_file " in complaint
    assert records(here) == before


def runs_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a driver."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and "LokyProcess" in (path / "cmdline").read_text():
                found.append(int(path.name))
        except OSError:  # gone
            continue
    return found


def until(process: subprocess.Popen[str] | forked.Program, folder: Path, count: int) -> None:
    """Wait until there are at least `count` records."""
    end = time.monotonic() + 600
    while len(records(folder)) < count:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_worker_and_driver_are_killed_and_the_same_command_ends_with_the_same_tables(
    done: tuple[Path, str, str], tmp_path: Path
) -> None:
    (tmp_path / "sides.py").write_text(SIDES)
    process = driver(tmp_path, RECORDS="2")
    until(process, tmp_path, 2)
    os.kill(runs_of(process)[0], signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, ""), "nothing that a task prints in a worker"
    (complaint,) = (line for line in err.splitlines() if line.startswith("cyclr: "))
    assert complaint.startswith("cyclr: a worker process died, perhaps out of memory; finished runs are kept")
    assert "Traceback" not in err
    assert needed_little(err), err
    first = records(tmp_path)
    assert 2 <= len(first) < 6, "it was tuning"
    single = alone(tmp_path, RECORDS="9")
    until(single, tmp_path, 9)
    single.kill()
    single.communicate()
    second = records(tmp_path)
    assert 9 <= len(second) < 12, "it was comparing"
    single = alone(tmp_path)
    out, err = single.communicate()
    assert single.wait() == 0, err
    after = records(tmp_path)
    assert set(after) == NAMES
    for before in (first, second):
        assert before == {name: after[name] for name in before}, "what was finished is kept as it was"
    expected = records(done[0])
    for name, text in after.items():
        assert json.loads(text)["points"] == json.loads(expected[name])["points"]
    upper = out[: out.index("During training")]  # seconds differ
    assert upper == done[1][: done[1].index("During training")]


NOWHERE = ["--engine", "ray", "--address", "127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policies", "auto,cosin"], "did you mean 'cosine'?"),
        (["--policies", "auto"], "policies must name two or more"),
        (["--policies", "auto,auto"], "each once"),
        (["--policy", "mine"], '--policy must be NAME="TEXT", got \'mine\'; write for example mine="Constant(max_lr)"'),
        (["--policy", "mine=Linear(max_rl, 0, steps=steps)"], "policy 'mine' may use the names base_lr, max_lr, steps"),
        (["--policy", "fixed=Constant(max_lr)"], "each policy must have a unique name, got 'fixed'"),
        (["--policies", "cosin", "--policy", "mine=linear"], "did you mean 'cosine'?"),
        (["--metric", "loss", "--minimize", "mae"], "--metric, --minimize and --maximize each choose the metric; pass"),
        (["--baseline", "fixd"], "did you mean 'fixed'?"),
        (
            ["--rates", "0.1,x"],
            "--rates must be positive numbers separated by commas, got '0.1,x'; pass a list such as 0.01,0.03,0.1",
        ),
        (["--rates", "0,0.1"], "rates must be positive"),
        (["--rates", "0.1,0.1"], "each rate once"),
        (["--seeds", "0"], "seeds must be a positive integer"),
        (["--epochs", "0"], "epochs must be a positive integer"),
        (["--workers", "0"], "workers must be a positive integer"),
        (["--target", "nan"], "target must be finite"),
        (["--engine", "jobib"], "did you mean 'joblib'?"),
        (["--gpus-per-run", "1"], "choose 'ray', or leave them out"),
        (["--curve", "none.json"], "none.json: No such file"),
        (["--polices", "auto"], "Unknown option"),
        (NOWHERE, "no Ray cluster at 127.0.0.1:1: Connection refused; is it running"),
        (
            [*NOWHERE[:2], "--address", "head"],
            "address must be HOST:PORT or auto, got 'head'; Ray's default port is 6379",
        ),
        ([*NOWHERE, "--working-dir", "gone"], "working_dir must be a folder, got 'gone'"),
        (["--out", "sides.py"], "out must be a folder, got the file sides.py"),
        (["--out", "sides.py/deeper"], "sides.py; choose another path"),
        (["--out", "/proc/1/study"], "/proc/1 is not writable; choose another folder as out"),
    ],
)
def test_a_bad_argument_is_one_line_before_the_task_is_read(
    cyclr: Shell, task_file: Write, arguments: list[str], complaint: str
) -> None:
    if "ray" in arguments and importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")  # importing it here would be before it is told to be quiet
    task_file("sides.py", "raise AssertionError")
    assert complaint in cyclr("compare", "sides.py", *arguments).complaint
    assert not Path("cyclr-compare").exists()


def test_a_policy_of_the_users_own_is_entered_as_a_text(cyclr: Shell, task_file: Write) -> None:
    task_file("sides.py", SIDES)
    text = "Linear(base_lr, max_lr, steps=epoch) >> Linear(max_lr, 0, steps=steps - epoch)"
    own = ("--policies", "fixed", "--policy", f"mine={text}", "--policy", "also mine=linear")
    options = ("--rates", 0.1, "--seeds", 1, "--epochs", 3, "--minimize", "loss", "--json")
    found = cyclr("compare", "sides.py", *own, *options).json
    assert (found["metric"], found["maximize"], found["baseline"]) == ("test_loss", False, "fixed")
    assert [row["policy"] for row in found["rows"]] == ["fixed", "mine", "also mine"]
    schedules = {run.policy: run.schedule for run in load("cyclr-compare").runs}
    assert schedules["mine"] == "Linear(0.025, 0.1, steps=10) >> Linear(0.1, 0.0, steps=20)"
    assert schedules["also mine"] == "Linear(0.1, 0.0, steps=30)"
    again = cyclr("compare", "sides.py", *own[:3], "mine=linear", *own[4:], *options).complaint
    assert "was made with other settings (texts {" in again


# One metric under a name that says nothing; its direction is said here.
DISTANCE = (
    SIDES.replace("import torch", "import cyclr, torch")
    .replace('{"accuracy": accuracy}', '{"distance": cyclr.Metric(wrong, "min")}')
    .replace(
        "    accuracy = lambda", "    wrong = lambda o, t: (o.argmax(1) != t).float().mean()\n    accuracy = lambda"
    )
)


def test_which_way_a_metric_is_better_is_what_the_task_says(cyclr: Shell, task_file: Write) -> None:
    task_file("says.py", DISTANCE)
    options = ("--policies", "fixed,linear", "--rates", "0.001,0.1", "--seeds", 1, "--epochs", 3)
    complaint = cyclr("compare", "says.py", *options, "--maximize", "distance").complaint
    must = "metric 'distance' must have the direction that the task states, 'min' (lower is better), got 'max'"
    assert complaint.startswith(f"{must}; leave it out")
    assert not Path("cyclr-compare").exists()
    called = cyclr("compare", "says.py", *options, "--minimize", "distance")
    assert "compared by the test distance at the end (lower is better)" in " ".join(called.out.split())
    assert load("cyclr-compare").rates == {"fixed": 0.1, "linear": 0.1}, "0.001 learns nothing in three epochs"


EXTENDING = (Path(__file__).parents[2] / "docs/extending.md").read_text()


@pytest.fixture(params=["bent"])
def knees(task_file: Write, request: pytest.FixtureRequest) -> dict[str, str]:
    """How docs/extending.md uses its schedule, and the page's files under names that no process knows yet."""
    names = {name: f"{name}_{request.param}" for name in ("my_task", "knee", "knee_task")}

    def renamed(text: str) -> str:
        return re.sub(r"\bmy_task\b|\bknee_task\b|\bknee(?=\.)|(?<=import )knee\b", lambda found: names[found[0]], text)

    blocks = re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)
    for name, file in names.items():
        task_file(f"{file}.py", renamed(next(block for block in blocks if block.startswith(f"# {name}.py\n"))))
    compare, train = (line for line in EXTENDING.splitlines() if line.startswith("$") and "knee.Knee(max_lr" in line)
    python = next(block for block in blocks if "knee.Knee(max_lr" in block)
    return {"compare": renamed(compare[8:]), "train": renamed(train[8:]), "python": renamed(python)}


def test_a_schedule_of_the_users_own_is_compared_and_trained_with(cyclr: Shell, knees: dict[str, str]) -> None:
    called = cyclr(*shlex.split(knees["compare"]))
    assert called.code == 0, called.err
    made = {run.policy: run.schedule for run in load("knees").runs}
    assert made == {"linear": "Linear(0.1, 0.0, steps=20)", "knee": "knee_bent.Knee(0.1, 10, 20)"}
    again = cyclr(*shlex.split(knees["compare"]), "--json")
    assert again.code == 0, again.err
    assert cyclr(*shlex.split(knees["train"]), "--json").json["schedule"] == made["knee"]
    exec(knees["python"], {"cyclr": importlib.import_module("cyclr")})
    assert {run.policy: run.schedule for run in load("knees-again").runs} == made


@pytest.mark.parametrize("knees", ["absent"], indirect=True)
def test_a_schedule_that_the_task_does_not_bring_is_refused_before_any_run(cyclr: Shell, knees: dict[str, str]) -> None:
    Path("knee_task_absent.py").write_text("from my_task_absent import task\n")
    says = (
        "no schedule 'knee_absent.Knee' once the module of task knee_task_absent.py:task is imported; define it there"
    )
    assert cyclr(*shlex.split(knees["compare"])).complaint.startswith(says)
    sys.path.insert(0, "")
    importlib.import_module("knee_absent")  # this process then knows the class, and the workers would not
    assert cyclr(*shlex.split(knees["compare"])).complaint.startswith(says)
    assert not Path("knees").exists()


@pytest.mark.parametrize("knees", ["typo"], indirect=True)
def test_a_wrong_name_of_a_schedule_is_told_the_nearest(cyclr: Shell, knees: dict[str, str]) -> None:
    wrong = knees["compare"].replace("Knee(", "Kne(")
    says = "no schedule 'knee_typo.Kne' once the module of task knee_task_typo.py:task is imported; did you mean"
    assert cyclr(*shlex.split(wrong)).complaint.startswith(f"{says} 'knee_typo.Knee'?")
