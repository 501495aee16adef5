"""The command line: one file per command, found by its name."""

from __future__ import annotations

import ast
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cyclopts import App, CycloptsError, Parameter

from cyclr import __version__
from cyclr._cli import _console
from cyclr._failure import explain


class Verb(NamedTuple):
    """What is known of a verb before its module is imported."""

    place: int  # among the verbs
    examples: tuple[str, ...]
    help: str  # what its function does, without the arguments


def verbs() -> dict[str, Verb]:
    """The verbs by name, in their order: each module of this package whose name has no underscore, with `PLACE` and
    `EXAMPLES` beside a function of that name.

    Their source is read and not imported: `cyclr --help` would otherwise load NumPy, the pages and the studies.
    """
    sources = Path(__file__).parent.glob("[!_]*.py")
    found = {source.stem: _verb(source.stem, ast.parse(source.read_text("utf-8"))) for source in sources}
    return dict(sorted(found.items(), key=lambda verb: verb[1].place))


def _verb(name: str, module: ast.Module) -> Verb:
    """The verb that a module defines."""
    constants: dict[str, Any] = {}
    told = None
    for node in module.body:
        match node:
            case ast.Assign([ast.Name("PLACE" | "EXAMPLES" as constant)], value):
                constants[constant] = ast.literal_eval(value)
            case ast.FunctionDef() if node.name == name:
                told = ast.get_docstring(node)
    return Verb(constants["PLACE"], constants["EXAMPLES"], (told or "").partition("\n\nArgs:")[0])


def make_app() -> App:
    """The parser."""
    app = App(
        name="cyclr",
        help="Cyclical learning rates: find the bounds with a learning-rate range test, plan a schedule, train with "
        "it, and compare it with other schedules.\n\n"
        "TASK is a built-in name (fashion, digits, …), file.py:function or module:function; the function takes a "
        "seed and returns a cyclr.torch.Task.",
        version=__version__,
        help_format="plaintext",  # Markdown takes 40 ms to import
        help_epilogue="New here? Run cyclr demo: all of these steps on real data, in about a minute.",
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,  # `main` says what happens to the work
    )
    app.command(
        f"{__name__}._completion:install", "--install-completion",
        help="Install completion for a shell: bash, zsh, fish or PowerShell.",
    )  # fmt: skip
    for name, verb in verbs().items():
        epilogue = "Examples:\n\n```\n" + "\n".join(verb.examples) + "\n```"
        app.command(
            f"{__name__}.{name}:{name}", name, help=verb.help, sort_key=verb.place, help_epilogue=epilogue,
            help_format="markdown",
        )  # fmt: skip
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: The command line; by default that of this process.

    Returns:
        0 on success, 2 on invalid input, 130 after Ctrl-C.
    """
    _console.prepare()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        make_app()(tokens, print_error=False, exit_on_error=False, result_action="return_value",
                   console=_console.help_console())  # fmt: skip
        sys.stdout.flush()
    except KeyboardInterrupt:
        _console.error("interrupted; finished work is kept")
        return 130
    except BrokenPipeError:  # `cyclr … | head`: the reader is gone
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CycloptsError as wrong:
        verb = f"{tokens[0]} " if tokens and tokens[0] in verbs() else ""
        _console.error(f"{str(wrong).rstrip('.')}; see cyclr {verb}--help")
        return 2
    except Exception as wrong:
        if os.environ.get("CYCLR_TRACEBACK"):
            raise
        _console.error(explain(wrong))
        return 2
    return 0
