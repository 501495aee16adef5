from __future__ import annotations

from pathlib import Path

import pytest

from cyclr import parse
from tests.cli.conftest import Shell, in_a_terminal

SPEC = "Linear(0, 1e-2, steps=epoch) >> Triangular2(1e-3, 1e-2, step_size=2*epoch)"


def test_the_key_facts_are_those_of_the_schedule(cyclr: Shell) -> None:
    called = cyclr("show", SPEC, "--epoch", 390)
    assert (called.code, called.err) == (0, "")
    facts = dict(line.split("  ", 1) for line in called.out.splitlines()[-5:])
    assert {name: value.strip() for name, value in facts.items()} == {
        "schedule": "Linear(0.0, 0.01, steps=390) >> Triangular2(0.001, 0.01, step_size=780)",
        "duration": "endless",
        "lowest": "0",
        "highest": "0.01",
        "cycle ends": "at step 1,950, 3,510, 5,070",
    }


@pytest.mark.parametrize(
    ("spec", "duration", "ends"),
    [
        ("Triangular(1, 2, step_size=5).take(45)", "45 steps", "at step 10, 20, 30, 40"),
        (
            "Triangular(1, 2, step_size=5).take(200)",
            "200 steps",
            "10, 20, 30, 40, 50, 60, 70, 80, … 200".replace("…", "..."),
        ),
        ("Constant(0.1)", "endless", "none up to step 1,000"),
    ],
)
def test_durations_and_cycle_ends_are_told(cyclr: Shell, spec: str, duration: str, ends: str) -> None:
    out = cyclr("show", spec).out
    assert duration in out
    assert ends in out


def test_without_a_terminal_it_is_plain_ascii(cyclr: Shell) -> None:
    called = cyclr("show", SPEC, "--epoch", 390)
    assert called.out.isascii()
    assert called.out.count("*") > 50


def test_in_a_terminal_it_is_braille_as_wide_as_the_terminal() -> None:
    for columns in (60, 100):
        out = in_a_terminal("show", SPEC, "--epoch", "390", columns=columns)
        lines = out.replace("\r", "").splitlines()
        assert any("\u2801" <= char <= "\u28ff" for char in out)
        assert columns - 3 <= max(len(line) for line in lines if "┤" in line or "└" in line) <= columns


def test_a_terminal_without_such_letters_gets_ascii() -> None:
    assert in_a_terminal("show", SPEC, "--epoch", "390", PYTHONIOENCODING="ascii").isascii()


def test_json_is_one_document_with_the_schedule_and_its_values(cyclr: Shell) -> None:
    found = cyclr("show", SPEC, "--epoch", 390, "--steps", 1000, "--json").json
    schedule = parse(SPEC, epoch=390)
    assert parse(found["schedule"]) == schedule
    assert found["duration"] is None
    assert found["cycle_ends"] == []
    assert found["steps"] == list(range(1001))
    assert found["rates"] == [schedule(step) for step in range(1001)]


def test_a_plot_is_written_and_named(cyclr: Shell, tmp_path: Path) -> None:
    called = cyclr("show", SPEC, "--epoch", 390, "--png", tmp_path / "a.png")
    assert (called.code, called.err) == (0, f"wrote {tmp_path / 'a.png'}\n")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
