from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cyclr import parse
from cyclr._plan import plan
from cyclr._range import Bounds, Curve
from cyclr.report import read
from tests.cli.conftest import Shell


def test_it_is_the_librarys_plan(cyclr: Shell) -> None:
    expected = plan(Bounds(1e-3, 1e-2), epochs=30, steps_per_epoch=390)
    called = cyclr("plan", "--bounds", 1e-3, 1e-2, "--epochs", 30, "--steps-per-epoch", 390)
    assert called.code == 0
    assert repr(expected.schedule) in called.out
    flowing = " ".join(called.out.split())
    assert all(" ".join(reason.split()) in flowing for reason in expected.reasons)
    found = cyclr("plan", "--bounds", 1e-3, 1e-2, "--epochs", 30, "--steps-per-epoch", 390, "--json").json
    assert parse(found["schedule"]) == expected.schedule
    assert tuple(found["snapshots"]) == expected.snapshots
    assert found["bounds"]["max_lr"] == 1e-2


@pytest.mark.parametrize(("flags", "wanted"), [
    (["--cycles", "4"], {"cycles": 4}),
    (["--no-anneal"], {"anneal": False}),
    (["--goal", "ensemble"], {"goal": "ensemble"}),
])  # fmt: skip
def test_options_reach_the_plan(cyclr: Shell, flags: list[str], wanted: dict[str, int]) -> None:
    found = cyclr("plan", "--bounds", 1e-3, 1e-2, "--steps", 999, *flags, "--json").json
    assert parse(found["schedule"]) == plan(Bounds(1e-3, 1e-2), steps=999, **wanted).schedule


def test_a_written_plan_is_what_a_page_shows_and_what_is_printed_as_json(cyclr: Shell, tmp_path: Path) -> None:
    budget = ("--bounds", 1e-3, 1e-2, "--epochs", 30, "--steps-per-epoch", 390)
    files = ("--out", tmp_path / "plan.json", "--png", tmp_path / "plan.png")
    assert "One cycle" in cyclr("plan", *budget, *files).out
    assert json.loads((tmp_path / "plan.json").read_text()) == cyclr("plan", *budget, "--json").json
    assert read(tmp_path / "plan.json") == (plan(Bounds(1e-3, 1e-2), epochs=30, steps_per_epoch=390),)
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--out", "--png"])
def test_where_nothing_can_be_written_is_said_before_the_work(cyclr: Shell, tmp_path: Path, option: str) -> None:
    called = cyclr("plan", "--bounds", 1e-3, 1e-2, "--steps", 100, option, tmp_path / "no" / "plan.png")
    assert "does not exist; create it first" in called.complaint
    assert not called.out


def test_the_time_of_a_step_comes_from_a_saved_curve(cyclr: Shell, tmp_path: Path) -> None:
    rates = np.geomspace(1e-5, 10, 100)
    losses = 2 - 1.5 / (1 + (1e-2 / rates) ** 2) + (rates / 0.5) ** 2
    Curve(rates, losses, step_seconds=0.5).save(tmp_path / "new.json")
    Curve(rates, losses).save(tmp_path / "old.json")
    budget = ("--minutes", 2, "--json")
    assert cyclr("plan", "--curve", tmp_path / "new.json", *budget).json["steps"] == 240
    assert cyclr("plan", "--curve", tmp_path / "new.json", "--step-seconds", 1, *budget).json["steps"] == 120
    assert "minutes need step_seconds" in cyclr("plan", "--curve", tmp_path / "old.json", *budget).complaint


def test_bounds_come_from_a_saved_curve(cyclr: Shell, tmp_path: Path) -> None:
    rates = np.geomspace(1e-5, 10, 100)
    noise = np.random.default_rng(0).normal(scale=0.01, size=(3, 100))
    curve = Curve(rates, 2 - 1.5 / (1 + (1e-2 / rates) ** 2) + (rates / 0.5) ** 2 + noise)
    curve.save(tmp_path / "curve.json")
    found = cyclr("plan", "--curve", tmp_path / "curve.json", "--steps", 100, "--json").json
    assert found["bounds"]["max_lr"] == curve.bounds(budget=100).max_lr


@pytest.mark.parametrize("text", ["", "[]", '{"format": "cyclr.curve.1"}'])
def test_a_file_that_is_no_curve_is_one_line(cyclr: Shell, tmp_path: Path, text: str) -> None:
    (tmp_path / "curve.json").write_text(text)
    assert "curve.json" in cyclr("plan", "--curve", tmp_path / "curve.json", "--steps", 100).complaint


def test_numbers_of_cycles_are_measured_on_a_task(cyclr: Shell, tmp_path: Path) -> None:
    given = ("--measure", "--bounds", 0.02, 0.2, "--steps", 1280, "--goal", "final", "--seeds", 2)
    called = cyclr("plan", "digits", *given, "--out", tmp_path / "plan.json")
    assert called.code == 0
    assert "Measured numbers of cycles" in called.out
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert " ".join(saved["reasons"][0].split()[:5]) in " ".join(called.out.split())
    assert saved["steps"] == 1280


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("digits",), "TASK and --measure must be given together"),
        (("--measure",), "TASK and --measure must be given together"),
        (("digits", "--measure", "--cycles", 3), "leave out --cycles"),
    ],
)
def test_a_measurement_needs_a_task_and_chooses_the_cycles(
    cyclr: Shell, arguments: tuple[object, ...], complaint: str
) -> None:
    assert complaint in cyclr("plan", "--bounds", 0.02, 0.2, "--steps", 1280, *arguments).complaint
