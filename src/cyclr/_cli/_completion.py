"""`cyclr --install-completion`: completion of verbs and options in the shell."""

from __future__ import annotations

from typing import Literal

from cyclopts.completion.detect import ShellDetectionError

from cyclr._cli import _console, make_app


def install(*, shell: Literal["bash", "zsh", "fish", "powershell"] | None = None) -> None:
    """Install completion of verbs and options for a shell: a file, and a line in the shell's start file that loads it.

    Args:
        shell: The shell; by default the one that runs this command.
    """
    try:
        written = make_app().install_completion(shell=shell)
    except ShellDetectionError:
        raise ValueError("the shell could not be recognised; pass --shell bash, zsh, fish or powershell") from None
    _console.say(f"wrote {written}; completion works in shells that are started from now on")
