"""Printing: results on stdout, progress and errors on stderr.

Markup and emoji are off: text from the user, such as a task's name, must not be interpreted.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cyclr._failure import one_line

_IMAGES = (".png", ".pdf", ".svg")
PLAIN_WIDTH = 100  # of a line if there is no terminal
_COARSE = {"±": "+/-", "–": "-", "…": "...", "×": "x"}


def prepare() -> None:
    """Make the streams of this process take every text: what their encoding lacks is written in ASCII.

    Otherwise an ellipsis in a help text, or a name of the user's, is a `UnicodeEncodeError` where the locale is C.
    """
    codecs.register_error("cyclr.coarse", _coarse)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="cyclr.coarse")


def _coarse(error: UnicodeError) -> tuple[str, int]:
    """What stands in for characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_COARSE.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lost), error.end


@cache
def stdout() -> Console:
    """For results."""
    return _console(stderr=False)


@cache
def stderr() -> Console:
    """For progress and errors."""
    return _console(stderr=True)


def help_console() -> Console:
    """For help, which may contain markup."""
    return Console(width=_width(terminal=sys.stdout.isatty()))


def fancy(console: Console) -> bool:
    """Whether it is a terminal whose encoding shows more than ASCII."""
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")


def say(text: str = "", style: str = "") -> None:
    """Print a line of results, in ASCII if the output cannot show more."""
    stdout().print(Text(plain(text), style=style))


def listed(sentences: Iterable[str]) -> None:
    """Print a list of sentences, one per line, with a hanging indent."""
    for sentence in sentences:
        lines = textwrap.fill(
            one_line(plain(sentence)), stdout().width, initial_indent="- ", subsequent_indent="  ",
            break_on_hyphens=False,
        )  # fmt: skip
        stdout().print(Text(lines), soft_wrap=True)


def note(text: str) -> None:
    """Print a progress message."""
    stderr().print(Text(text), soft_wrap=True)


def error(text: str) -> None:
    """Print a one-line error message."""
    line = Text.assemble(("cyclr: ", "bold red"), one_line(text))
    stderr().print(line, soft_wrap=True)


def heading(text: str) -> None:
    """Print a section title."""
    say()
    say(text, "bold")


def document(value: Any) -> None:
    """Print the JSON document of `--json`; NaN and infinity become null.

    Whatever the encoding of the output, it is JSON: other characters than ASCII are escaped.
    """
    import json  # these here, because `cyclr --help` need not wait for them

    import msgspec

    plain_data = msgspec.json.decode(msgspec.json.encode(value))
    sys.stdout.write(json.dumps(plain_data, indent=2) + "\n")


def check_target(path: Path | None, *, image: bool = False) -> None:
    """Check before any work that `path` can be written.

    Raises:
        ValueError: If its folder does not exist, or its extension is not that of an image.
        ImportError: If matplotlib is needed for an image and not installed.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise ValueError(f"{path}: folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if image:
        from cyclr.plot import figure

        figure()
        if path.suffix.lower() not in _IMAGES:
            raise ValueError(f"{path}: an image file must end in {', '.join(_IMAGES)}")


def check_ours(path: Path) -> None:
    """Check that a page of a default name may be written: there is none, or its header says that cyclr made it.

    Raises:
        ValueError: If there is another file.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        if b'<meta name="generator" content="cyclr ' not in file.read(1000):
            raise ValueError(
                f"{path} exists and was not made by cyclr; pass --out with another file, or with this one to "
                "overwrite it"
            )


def plain(text: str) -> str:
    """`text`, in ASCII if the output cannot show more."""
    if fancy(stdout()):
        return text
    return text.translate(str.maketrans(_COARSE))


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_width(terminal=stream.isatty()))


def _width(*, terminal: bool) -> int | None:
    """Width in characters; None lets rich ask the terminal."""
    return None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
