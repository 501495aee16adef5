"""What a reader sees without colours, in 40 columns, through a pipe, and where the encoding is not UTF-8."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from cyclr._cli import _console, _progress, _sections, main, make_app, verbs
from cyclr._page.blocks import Table
from tests.cli.conftest import GOOD, Shell, in_a_terminal

SHOW = ("show", "Triangular(1e-3, 6e-3, step_size=2000)")
PLAN = ("plan", "--bounds", "1e-3", "1e-2", "--epochs", "30", "--steps-per-epoch", "390")
HELP = [("--help",), *((verb, "--help") for verb in verbs())]
COLOUR = re.compile(r"\x1b\[[\d;]*\b(3[0-7]|9[0-7]|38;[\d;]*)m")


@pytest.fixture(autouse=True)
def fresh_consoles() -> Iterator[None]:
    """The consoles look at the environment once."""
    _console.stdout.cache_clear()
    _console.stderr.cache_clear()
    yield
    _console.stdout.cache_clear()
    _console.stderr.cache_clear()


@contextmanager
def output(encoding: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """Standard output with this encoding, as a pipe has it."""
    raw = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        yield raw


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("verb", verbs())
def test_every_option_says_its_default(verb: str) -> None:
    silent = [
        argument.name
        for argument in make_app()[verb].assemble_argument_collection(parse_docstring=True)
        if argument.field_info.is_keyword and not argument.field_info.is_positional
        if not (argument.required or argument.show_default or "default" in (argument.parameter.help or ""))
    ]
    assert silent == []


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_help_can_be_written_in_every_encoding(
    arguments: tuple[str, ...], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with output(encoding, monkeypatch) as raw:
        assert main(arguments) == 0
        text = raw.getvalue().decode(encoding)
    assert "Usage: cyclr" in text
    assert "\\u" not in text, "each character that we write has a stand-in"
    assert encoding == "utf-8" or "…" not in text


def test_help_where_the_locale_is_c() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    done = subprocess.run([sys.executable, "-m", "cyclr", "--help"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "digits, ...)" in done.stdout.decode("ascii")


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_fits_40_columns(cyclr: Shell, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = cyclr(*arguments).out
    assert max(map(len, out.splitlines())) <= 40
    assert "…" not in out.replace("digits, …", "").replace("triangular2, …", ""), "nothing is cut"


def test_no_color_is_heeded() -> None:
    assert COLOUR.search(in_a_terminal("--help"))
    assert not COLOUR.search(in_a_terminal("--help", NO_COLOR="1"))


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("arguments", [SHOW, PLAN], ids=["show", "plan"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_results_outside_utf_8_are_plain_ascii(
    arguments: tuple[str, ...], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with output(encoding, monkeypatch) as raw:
        assert main(arguments) == 0
        text = raw.getvalue().decode("ascii")
    assert "\\u" not in text
    assert "\x1b" not in text, "a pipe gets no codes"
    assert " | " in text or "|*" in text, "the chart is there"


@pytest.mark.parametrize("arguments", [SHOW, PLAN], ids=["show", "plan"])
def test_results_fit_40_columns(cyclr: Shell, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = cyclr(*arguments).out.splitlines()
    long = [line for line in lines if len(line) > 40]
    assert all(re.match(r"[a-z ]+  ", line) for line in long), "facts are left whole, to be copied"
    assert len(long) < len(lines)


TABLE = Table(
    "some/table", "The caption.", ("policy", "peak learning rate", "test accuracy at the end"),
    (("warm_restarts", "0.223", "0.8106 [0.7953, 0.8260]"), ("auto", "0.0589", "0.8200 [0.8100, 0.8300]")),
    short=("policy", "peak rate", "accuracy"),
)  # fmt: skip


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 100])
def test_a_table_loses_no_word_however_narrow(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _sections._table(TABLE)
    out = capsys.readouterr().out
    words = out.split()
    assert all(word in words for row in TABLE.rows for cell in row for word in cell.split())
    assert max(map(len, out.splitlines())) <= max(columns, len("test accuracy at the end  0.8200 [0.8100, 0.8300]"))
    side_by_side = any(line.startswith("auto ") and "0.0589" in line for line in out.splitlines())
    assert side_by_side == (columns >= 40), "where the longest words fit beside one another"


def test_json_is_json_whatever_the_encoding(
    task_file, tmp_path: Path, cyclr: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_file("über.py", GOOD)
    in_utf_8 = cyclr("find", "über.py", "--steps", 20, "--json")
    with output("ascii", monkeypatch) as raw:
        code = main(["find", "über.py", "--steps", "20", "--json"])
        sys.stdout.flush()
        document = json.loads(raw.getvalue())
    assert (code, document["task"]) == (in_utf_8.code, "über.py")
    assert in_utf_8.json["curve"] == document["curve"]


def test_bytes_that_are_no_text_are_one_line(cyclr: Shell) -> None:
    assert "a spec must be a Python expression" in cyclr("show", "Constant(\udcff)").complaint


# ---------------------------------------------------------------- progress


def written(width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last state of a progress line on a terminal so wide."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None, _environ={})
    monkeypatch.setattr(_console, "stderr", lambda: console)
    with _progress.progress("range test on my_package.my_tasks:task", 300) as update:
        update(120, "rate 0.000208  loss 0.6931")
    lines = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", file.getvalue()).replace("\r", "\n").splitlines()
    return [line for line in lines if "120/300" in line]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_progress_shows_the_amount_and_the_time_left(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (*_, line) = written(width, monkeypatch)
    assert len(line) <= width
    assert re.search(r"120/300 steps .*(\d+:\d\d|-:--) left", line)
    assert ("loss 0.6931" in line) == (width >= 80)
    assert ("my_tasks:task" in line) == (width >= 200)


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(stderr=True, force_terminal=True, _environ={"TERM": "dumb"})
    monkeypatch.setattr(_console, "stderr", lambda: console)
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    monkeypatch.setattr(_progress, "_SHARE", 0.0)
    with _progress.progress("training", 10) as update:
        update(5)
    assert capsys.readouterr().err == "training: 5/10 steps  0:00:00 left\n"


def test_the_log_of_a_long_training_stays_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now)
    with _progress.progress("training", 36_000) as update:
        for step in range(36_000):
            now = 0.1 * (step + 1)
            update(step + 1)
    lines = capsys.readouterr().err.splitlines()
    assert 30 < len(lines) < 200, "an hour"
    assert lines[0] == "training: 20/36000 steps  0:59:58 left"


# ---------------------------------------------------------------- completion


def test_the_shell_completes_verbs_options_and_choices(
    cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    called = cyclr("--install-completion", "--shell", "bash")
    assert called.code == 0
    script = tmp_path / ".local/share/bash-completion/completions/cyclr"
    assert str(script) in called.out.replace("\n", "")
    ask = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cyclr; echo "${COMPREPLY[@]}"'

    def completed(*words: str) -> list[str]:
        done = subprocess.run(["bash", "-c", ask, script, "cyclr", *words], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert completed("com") == ["compare"]
    assert completed("find", "--eff") == ["--effort"]
    assert completed("find", "--effort", "") == ["quick", "thorough"]


def test_an_unknown_shell_is_one_line(cyclr: Shell) -> None:
    assert "--shell" in cyclr("--install-completion", "--shell", "tcsh").complaint
