from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cyclr import Bounds, plan, report
from cyclr._cli._data import plan_data
from cyclr.study._files import RecordError, write_json
from tests.report.made import a_plan, curve, run, study


@pytest.mark.parametrize("made", [a_plan(), plan(Bounds(0.1, 1, (0.05, 0.2), (0.5, 2), evidence=("x",)), steps=40)])
def test_a_plan_comes_back_from_what_the_shell_prints(tmp_path: Path, made: object) -> None:
    path = tmp_path / "anything.json"
    path.write_bytes(msgspec.json.encode(plan_data(made)))
    assert report.read(path) == (made,)


def test_a_study_a_run_and_a_curve_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", study())
    write_json(tmp_path / "b.json", run("auto", 3))
    curve().save(tmp_path / "c.json")
    assert report.read(tmp_path / "a.json") == (study(),)
    (one,) = report.read(str(tmp_path / "b.json"))
    assert one == run("auto", 3)
    (seen,) = report.read(tmp_path / "c.json")
    assert seen.losses.tolist() == curve().losses.tolist()


def test_a_folder_gives_its_study_its_curve_and_its_plan(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", study())
    write_json(tmp_path / "runs/tuning-0/run.json", run("other"))
    curve().save(tmp_path / "curve.json")
    write_json(tmp_path / "plan.json", plan_data(a_plan()))
    assert [type(thing).__name__ for thing in report.read(tmp_path)] == ["Study", "Curve", "Plan"]
    assert report.read(tmp_path)[0] == study()


def test_a_folder_of_runs_is_a_study_without_those_that_tuned_rates(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_json(tmp_path / f"runs/auto-{seed}/run.json", run("auto", seed))
    write_json(tmp_path / "runs/tuning-0.1/run.json", run("fixed 0.1", 0, options={"tuning": True}))
    (made,) = report.read(tmp_path)
    assert made.runs == [run("auto", 0), run("auto", 1)]
    assert made.notes == ["1 tuning run is not shown; it took 40 steps."]


def test_runs_of_two_tasks_are_no_study(tmp_path: Path) -> None:
    write_json(tmp_path / "a/run.json", run("a", task="one"))
    write_json(tmp_path / "b/run.json", run("a", task="two"))
    with pytest.raises(ValueError, match="runs must be of one task to be compared, got \\['one', 'two'\\]"):
        report.read(tmp_path)


@pytest.mark.parametrize("text", [
    "", "null", "[]", "{}", "[1, 2]", '"study"', '{"runs": 3}', '{"runs": [{}], "task": "t"}', '{"points": []}', "{",
    '{"format": "cyclr.curve.1"}', '{"format": "cyclr.curve.2"}', '{"reasons": []}', "\xff\xfe", "<!doctype html>",
    '{"reasons": [], "schedule": "os.abort()", "steps": 3, "snapshots": [3], "bounds": {"base_lr": 1, "max_lr": 2}}',
    '{"reasons": [], "schedule": "Constant(1)", "steps": 3, "snapshots": [3], "bounds": {"base_lr": 2, "max_lr": 1}}',
    '{"reasons": [], "schedule": 3, "steps": 3, "snapshots": [3], "bounds": {"base_lr": 1, "max_lr": 2}}',
])  # fmt: skip
def test_a_file_that_is_none_of_ours_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"odd\.json: ") as found:
        report.read(path)
    assert "\n" not in str(found.value)


def test_a_damaged_record_in_a_folder_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "runs/auto-0/run.json", run("auto"))
    (tmp_path / "runs/auto-1").mkdir()
    (tmp_path / "runs/auto-1/run.json").write_text('{"task": "digits"')
    with pytest.raises(RecordError, match=r"auto-1/run\.json"):
        report.read(tmp_path)


def test_a_folder_without_records_and_a_path_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in this folder"):
        report.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        report.read(tmp_path / "gone.json")
