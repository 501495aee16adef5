"""The command line: one file per command, imported when it is used."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from cyclr import __version__
from cyclr._cli import _console
from cyclr._cli.compare import compare
from cyclr._cli.demo import demo
from cyclr._cli.find import find
from cyclr._cli.plan import plan
from cyclr._cli.report import report
from cyclr._cli.show import show
from cyclr._cli.train import train
from cyclr._failure import explain

# The commands in the order in which they are used, with the examples at the end of their help.
_VERBS = {
    show: (
        'cyclr show "Triangular(1e-3, 6e-3, step_size=2000)"',
        'cyclr show "Linear(0, 0.01, steps=epoch) >> Cosine(0.01, 0, steps=9*epoch)" --epoch 390',
        'cyclr show "one_cycle(0.1, steps=1200)" --png one_cycle.png',
    ),
    find: (
        "cyclr find fashion",
        "cyclr find my_task.py:task --low 1e-5 --high 1 --out curve.json --png curve.png",
        "cyclr find my_package.tasks:task --linear --high 0.1 --steps 500",
    ),
    plan: (
        "cyclr plan --bounds 1e-3 1e-2 --epochs 30 --steps-per-epoch 390",
        "cyclr plan --curve curve.json --steps 12000 --cycles 3 --out plan.json --png plan.png",
    ),
    train: (
        "cyclr train fashion --epochs 10",
        "cyclr train my_task.py:task --epochs 30 --seed 1 --out run-1",
        'cyclr train my_task.py --schedule "Constant(0.01)" --epochs 30',
    ),
    report: (
        "cyclr report cyclr-demo",
        "cyclr report curve.json plan.json --out page.html",
    ),
    compare: (
        "cyclr compare fashion",
        "cyclr compare my_task.py:task --policies auto,linear,cosine --seeds 3 --rates found",
        "cyclr compare my_task.py:task --rates 0.01,0.03,0.1,0.3 --baseline linear --target 0.9 --out study",
        'cyclr compare my_task.py:task --policies auto,linear --policy "mine=Linear(max_lr, max_lr / 9, steps=steps)"',
    ),
    demo: ("cyclr demo", "cyclr demo --seeds 2 --epochs 2 --out quick-demo"),
}


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
    for place, (verb, examples) in enumerate(_VERBS.items()):
        epilogue = "Examples:\n\n```\n" + "\n".join(examples) + "\n```"
        app.command(verb, sort_key=place, help_epilogue=epilogue)
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
        verb = next((f"{verb.__name__} " for verb in _VERBS if verb.__name__ in tokens[:1]), "")
        _console.error(f"{str(wrong).rstrip('.')}; see cyclr {verb}--help")
        return 2
    except Exception as wrong:
        if os.environ.get("CYCLR_TRACEBACK"):
            raise
        _console.error(explain(wrong))
        return 2
    return 0
