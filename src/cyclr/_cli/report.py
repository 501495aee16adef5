"""`cyclr report`: an HTML report from records."""

from __future__ import annotations

from pathlib import Path

from cyclr._cli import _console
from cyclr.study._command import command

PLACE = 5  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr report cyclr-demo",
    "cyclr report curve.json plan.json --out page.html",
)


def report(*paths: Path, out: Path | None = None, title: str | None = None) -> None:
    """Write an HTML report on studies, range tests and plans: figures, tables, and the results in words.

    The report is one file and needs no network.

    Args:
        paths: Folders of studies, or single files: a study, a run, a curve (`find --out`) or a plan (`plan --out`).
        out: The HTML file to write; by default report.html in the first folder, or next to the first file.
        title: Title of the report; by default it names what is in it.
    """
    from cyclr.report import read, write

    if not paths:
        raise ValueError("PATH must be given; pass a study's folder or a study.json, run.json, curve.json or plan.json")
    first = paths[0]
    target = out or (first if first.is_dir() else first.parent) / "report.html"
    _console.check_target(out)
    if any(target.exists() and target.samefile(path) for path in paths if path.exists()):
        raise ValueError(f"--out must not be one of the input files, got {target}; choose another file")
    if out is None:
        _console.check_ours(target)
    found = [(str(path), thing) for path in paths for thing in read(path)]
    again = command("report", *map(str, paths), options={"out": out, "title": title})
    write(target, *(thing for _, thing in found), title=title, names=[name for name, _ in found], command=again)
    _console.say(f"wrote {target}")
