from __future__ import annotations

import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds
from cyclr.study._files import RecordError, claim, load, read_json, write_bytes, write_json
from cyclr.study._records import Run, Setup, Study, check_paired

RUN = Run(
    task="fashion",
    policy="auto",
    schedule="Constant(0.1)",
    seed=3,
    steps=20,
    eval_every=10,
    steps_per_epoch=10,
    points=[{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25, "accuracy": 0.75}],
    seconds=1.5,
    versions={"torch": "2.13.0"},
)

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Setup,
        task=st.text(),
        policy=st.text(),
        schedule=st.text(),
        seed=st.integers(-(2**63), 2**63 - 1),
        steps=st.integers(1, 2**53),
        eval_every=st.integers(1, 2**53),
        options=st.dictionaries(st.text(), st.booleans() | finite | st.text()),
    )
)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, setup: Setup) -> None:
    path = tmp_path_factory.mktemp("record") / "setup.json"
    write_json(path, setup)
    assert read_json(path, Setup) == setup


def test_a_number_that_json_lacks_comes_back_as_nan(tmp_path: Path) -> None:
    run = msgspec.structs.replace(RUN, points=[{"step": 1, "loss": math.inf}, {"step": 2, "loss": 1.0}])
    write_json(tmp_path / "run.json", run)
    steps, values = read_json(tmp_path / "run.json", Run).series("loss")
    assert steps == [1, 2]
    assert math.isnan(values[0])
    assert values[1] == 1.0


def test_a_run_knows_its_setup_and_its_series() -> None:
    assert RUN.setup == Setup(task="fashion", policy="auto", schedule="Constant(0.1)", seed=3, steps=20, eval_every=10)
    assert RUN.series("accuracy") == ([20], [0.75])
    with pytest.raises(ValueError, match="has no 'f1', only accuracy, loss"):
        RUN.series("f1")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("\xff\xfe", "malformed"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `task`"),
        ('{"task": "t", "policy": "p", "schedule": "s", "seed": "one"}', "$.seed"),
        ('{"task": "t", "policy": "p", "schedule": "s", "seed": 1, "steps": 1.5}', "$.steps"),
    ],
)
def test_a_bad_record_is_one_line_that_names_file_and_field(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError) as caught:
        read_json(path, Run)
    message = str(caught.value)
    assert str(path) in message
    assert names in message
    assert "\n" not in message


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "run.json"
    write_bytes(path, b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    code = (
        "import resource, signal, sys; from cyclr.study._files import write_bytes;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_bytes(sys.argv[1], b'x' * 5000)"
    )
    full_disk = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert f"File too large: '{path}'" in full_disk.stderr
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limit


def test_a_reader_never_sees_half_a_file_while_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    code = (
        "import sys; from cyclr.study._files import write_bytes\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    for byte in b'ab': write_bytes(sys.argv[1], bytes([byte]) * 1_000_000)"
    )
    for delay in (0.01, 0.03, 0.05):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"go\n"
            while not path.exists():
                time.sleep(0.001)
            time.sleep(delay)
            writer.kill()
        assert path.read_bytes() in (b"a" * 1_000_000, b"b" * 1_000_000)


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_study_keeps_order_and_checks_its_pairs() -> None:
    runs = [msgspec.structs.replace(RUN, policy=p, seed=s) for p in ("one", "two") for s in (1, 0)]
    study = Study(task="t", runs=runs)
    assert study.policies == ("one", "two")
    assert list(study.of("two")) == [0, 1]
    assert check_paired(study, study.policies) == (0, 1)
    with pytest.raises(ValueError, match=r"'one' on \(0, 1\) and 'two' on \(0,\)"):
        check_paired(Study(task="t", runs=[r for r in runs if (r.policy, r.seed) != ("two", 1)]), study.policies)
    with pytest.raises(ValueError, match="no run of policy 'three', only of 'one', 'two'"):
        check_paired(study, ["three"])


def test_a_folder_belongs_to_its_settings(tmp_path: Path) -> None:
    settings = RUN.setup
    path = tmp_path / "study" / "settings.json"
    claim(path, settings)
    claim(path, settings)
    with pytest.raises(
        ValueError, match=r"study was made with other settings \(seed 3, now 4\); choose another folder"
    ):
        claim(path, msgspec.structs.replace(settings, seed=4))
    path.write_text("{")
    with pytest.raises(RecordError, match=r"settings\.json"):
        claim(path, settings)


def test_a_folder_of_other_things_is_not_taken_but_one_with_a_left_over_draft_is(tmp_path: Path) -> None:
    (tmp_path / ".settings.json.0a1b2c3d.tmp").write_text("{")
    claim(tmp_path / "settings.json", RUN.setup)
    (tmp_path / "settings.json").rename(tmp_path / "thesis.tex")
    with pytest.raises(ValueError, match=r"contains other files and no settings\.json; choose a new folder"):
        claim(tmp_path / "settings.json", RUN.setup)


def test_a_record_of_a_thousand_runs_loads_in_a_moment(tmp_path: Path) -> None:
    points = [{"step": 60 * k, "lr": 0.1, "loss": 0.5, "test_loss": 0.4, "test_accuracy": 0.8} for k in range(20)]
    runs = [msgspec.structs.replace(RUN, seed=seed, points=points) for seed in range(1000)]
    write_json(tmp_path / "study.json", Study(task="t", runs=runs))
    assert len(read_json(tmp_path / "study.json", Study).of("auto")) == 1000


def test_a_study_is_loaded_from_its_file_its_folder_and_single_runs(tmp_path: Path) -> None:
    runs = [msgspec.structs.replace(RUN, policy=p, seed=s) for p in ("one", "two") for s in (0, 1)]
    tried = msgspec.structs.replace(RUN, policy="tuning one 0.1", options={"tuning": True})
    for run in (*runs, tried):
        write_json(tmp_path / "runs" / f"{run.policy}-{run.seed}" / "run.json", run)
    made = load(tmp_path)
    assert sorted((run.policy, run.seed) for run in made.runs) == sorted((run.policy, run.seed) for run in runs)
    assert made.notes == ["1 tuning run is not shown; it took 20 steps."]
    assert load(tmp_path / "runs" / "two-1" / "run.json").runs == [runs[-1]]
    study = Study(task="fashion", runs=runs, tuning_cost={"one": 20}, bounds=Bounds(0.01, 0.1, evidence=("seen",)))
    write_json(tmp_path / "study.json", study)
    assert load(tmp_path) == load(tmp_path / "study.json") == study


def test_what_holds_no_study_is_one_line_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}: no study\.json and no run\.json in this folder"):
        load(tmp_path)
    (tmp_path / "curve.json").write_text('{"format": "other"}')
    with pytest.raises(RecordError, match=r"curve\.json: neither a study nor a run"):
        load(tmp_path / "curve.json")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "gone")


def test_the_tuning_cost_of_a_study_from_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    write_json(path, {"task": "fashion", "runs": [], "cost": {"auto": 300}, "rates": {"auto": 0.1}})
    assert load(path).tuning_cost == {"auto": 300}
    write_json(path, load(path))
    assert load(path).tuning_cost == {"auto": 300}


RECORDS = Path(__file__).parents[2] / "experiments/paper/records"


@pytest.mark.parametrize("group", sorted(path.name for path in RECORDS.iterdir() if path.is_dir()))
def test_the_committed_records_are_read(group: str) -> None:
    count = len(list((RECORDS / group).glob("*/*/run.json")))
    if count:
        study = load(RECORDS / group)
        assert len(study.runs) == count
        assert study.task in ("cifar10", "cifar100", "imagenet")
        assert group.startswith(study.task) or study.task == "cifar10"
        assert all(run.setup.steps == run.steps for run in study.runs)
