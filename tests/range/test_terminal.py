"""What is said while a range test goes on: a line that is rewritten on a terminal, and nothing in a log."""

from __future__ import annotations

import io
import sys

import pytest

from cyclr._range import terminal as module
from cyclr._range.terminal import Terminal


class Screen(io.StringIO):
    """A terminal that keeps what is visible in the end."""

    def isatty(self) -> bool:
        return True

    @property
    def visible(self) -> list[str]:
        lines = []
        for line in self.getvalue().split("\n"):
            shown: list[str] = []
            for part in line.split("\r"):
                shown[: len(part)] = part
            lines.append("".join(shown).rstrip())
        return lines


def a_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Not a fixture: pytest sets the stream anew between a fixture and its test."""
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(module, "SECONDS", 0)
    return made


def test_the_line_is_rewritten_and_its_place_is_taken_by_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    terminal = Terminal("range test")
    for done in (100, 200, 10):  # a shorter line leaves nothing of a longer one
        terminal(done, 300, 1e-3, 123.456 if done > 10 else 1.0)
    assert screen.visible == ["range test: step 10 of at most 300, 0 s left, rate 1.00e-03, loss 1"]
    terminal.say("found 0.1")
    assert screen.visible == ["found 0.1", ""]


def test_the_time_left_is_that_of_the_steps_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    terminal = Terminal("range test")
    terminal._began -= 60  # a minute ago
    terminal(100, 300, 1e-3, 1.0)
    assert "step 100 of at most 300, 120 s left" in screen.visible[0]


def test_an_error_finds_an_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    terminal = Terminal("range test")
    terminal(10, 300, 1e-3, 1.0)
    terminal.clear()
    assert screen.visible == [""]
    terminal.clear()
    assert screen.getvalue().endswith("\r")


def test_a_narrow_terminal_gets_a_line_that_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal("range test")
    terminal(10, 300, 1e-3, 1.0)
    terminal(20, 300, 1e-3, 1.0)
    assert max(map(len, screen.visible)) < 30


def test_it_is_not_rewritten_more_often_than_one_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    monkeypatch.setattr(module, "SECONDS", 60)
    terminal = Terminal("range test")
    for done in range(1, 100):
        terminal(done, 300, 1e-3, 1.0)
    assert screen.getvalue().count("step") == 1


def test_where_there_is_no_terminal_only_the_result_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal("range test")
    terminal(10, 300, 1e-3, 1.0)
    terminal.clear()
    assert capsys.readouterr() == ("", "")
    terminal.say("found 0.1")
    assert capsys.readouterr() == ("", "found 0.1\n")


def test_a_program_without_a_console_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    terminal = Terminal("range test")
    terminal(10, 300, 1e-3, 1.0)
    terminal.say("found 0.1")
    terminal.clear()
    assert sys.stderr is None  # and nothing was raised
