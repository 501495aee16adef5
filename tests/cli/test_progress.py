from __future__ import annotations

import pytest

from cyclr._cli import _progress as module
from cyclr._cli._progress import progress


def test_without_a_terminal_it_is_now_and_then_a_line_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.0)
    with progress("training", 0, "runs", done=2) as update:
        update(3, "loss 0.5", 4)
        update(4)
    lines = capsys.readouterr()
    assert lines.out == ""
    assert lines.err == "training: 3/4 runs  loss 0.5  0:00:00 left\ntraining: 4/4 runs  0:00:00 left\n"


def test_what_takes_a_moment_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 10) as update:
        for step in range(10):
            update(step + 1)
    assert capsys.readouterr() == ("", "")
