"""The command line: one file per command, found by its name."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from cyclopts import App, CycloptsError, Parameter

from cyclr import __version__
from cyclr._cli import _console
from cyclr._failure import explain


def verbs() -> dict[str, ModuleType]:
    """The verbs by name, in their order: each module of this package whose name has no underscore, with `PLACE` and
    `EXAMPLES` beside a function of that name.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(found.items(), key=lambda verb: verb[1].PLACE))


def make_app() -> App:
    """The parser."""
    app = App(
        name="cyclr",
        help="Cyclical learning rates: find the bounds with a learning-rate range test, plan a schedule, train with "
        "it, and compare it with other schedules.\n\n"
        "TASK is a built-in name (fashion, digits, …), `file.py:function` or `module:function`; the function takes a "
        "seed and returns a `cyclr.torch.Task`.",
        version=__version__,
        help_format="markdown",
        help_epilogue="New here? Run `cyclr demo`: all of these steps on real data, in about a minute.",
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,  # `main` says what happens to the work
    )
    for name, module in verbs().items():
        epilogue = "Examples:\n\n```\n" + "\n".join(module.EXAMPLES) + "\n```"
        app.command(getattr(module, name), sort_key=module.PLACE, help_epilogue=epilogue)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: The command line; by default that of this process.

    Returns:
        0 on success, 2 on invalid input, 130 after Ctrl-C.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
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
