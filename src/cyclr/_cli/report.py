"""`cyclr report`: records to one HTML page."""

from __future__ import annotations

from pathlib import Path

from cyclr._cli import output


def report(*paths: Path, out: Path | None = None, title: str | None = None) -> None:
    """Make one HTML page of studies, range tests and plans: figures, tables, and in words what came out.

    The page needs no network and no other file.

    Args:
        paths: Folders of studies, or single files: a study, a run, a curve of `find --out`, a plan of `plan --out`.
        out: The page; by default report.html in the folder, or beside the file, that was named first.
        title: Of the page.
    """
    from cyclr.report import read, write

    if not paths:
        raise ValueError("PATH must be given: a study's folder, or a study.json, run.json, curve.json or plan.json")
    first = paths[0]
    target = out or (first if first.is_dir() else first.parent) / "report.html"
    output.check_target(out)
    if any(target.exists() and target.samefile(path) for path in paths if path.exists()):
        raise ValueError(f"{target} is what is to be shown; name another file with --out")
    if out is None and target.exists() and not _made_by_us(target):
        raise ValueError(f"{target} was not made by cyclr; name another file, or this one, with --out")
    write(target, *(thing for path in paths for thing in read(path)), title=title)
    output.say(f"wrote {target}")


def _made_by_us(path: Path) -> bool:
    """Whether a file says so in its head, as our pages do."""
    with path.open("rb") as file:
        return b'<meta name="generator" content="cyclr ' in file.read(1000)
