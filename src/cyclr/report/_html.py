"""Renders sections as one self-contained HTML page."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cyclr import __version__, _check
from cyclr._files import replacing
from cyclr._page.blocks import Designer, Figures, Section, clean
from cyclr._page.registry import describe
from cyclr._page.views import Comparison, Draft, Reading, Shown
from cyclr._plan import Plan
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._schedules import Schedule
from cyclr.report import _designer
from cyclr.report._plotly import draw
from cyclr.study._records import Run, Study

if TYPE_CHECKING:
    from jinja2 import Environment

Thing = Study | Run | Curve | Bounds | Plan | Schedule | Comparison | Reading | Shown | Draft

# Without Plotly's button that uploads the data.
_CONFIG = (
    "{responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ['select2d', 'lasso2d']}"
)

# The page's policy lets this script run by its hash, like any other of the page.
_UNPACK = """
async function unpacked(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
unpacked("plotly").then((code) => {
  const script = document.createElement("script");
  script.textContent = code;
  document.body.append(script);
  figures.forEach((figure, index) => figure
    && Plotly.newPlot("figure-" + (index + 1), figure.data, figure.layout, config));
}).catch(() => { document.getElementById("old").hidden = false; });
"""


def page(*things: Thing, title: str | None = None, names: Sequence[str] = (), command: str = "") -> str:
    """One HTML page on studies, runs, curves, plans and schedules: figures, tables and sentences, in the order given.

    The page is self-contained, including Plotly's script (2 MB, compressed), and its security policy forbids all
    network access. All text from records is escaped.

    Args:
        things: The objects to show. A `Reading` is one signal of a curve, a `Shown` a schedule up to some step.
        title: Title of the page; by default that of the object.
        names: A name for each object, such as its file, which follows the titles of sections that are equal.
        command: The command line that makes the page again, shown at its end.

    Returns:
        The HTML.

    Raises:
        TypeError: If one of the objects cannot be shown.
        ValueError: If there is nothing to show, a record contradicts itself, or there are fewer or more names.
        ImportError: If Jinja2 or Plotly is not installed.

    >>> from cyclr import Bounds, plan
    >>> html = page(plan(Bounds(0.001, 0.01), epochs=5, steps_per_epoch=100), title="Five epochs")
    >>> "<h1>Five epochs</h1>" in html, "Linear(0.001, 0.01, steps=150)" in html
    (True, True)
    """
    if not things:
        raise ValueError("a page must show at least one object, got none; pass a Study, Curve, Plan or Schedule")
    environment = _environment()
    sections = _told_apart([describe(thing) for thing in things], names)
    blocks = [block for section in sections for part in section.parts for block in part.blocks]
    with _needed():
        plots = [draw(figure) for block in blocks if isinstance(block, Figures) for figure in block.items]
    designed = any(isinstance(block, Designer) for block in blocks)
    scripts = [_script(plots)] * any(plots) + [_designer.script()] * designed
    html = environment.get_template("page.html").render(
        title=title or (sections[0].title if len(sections) == 1 else "cyclr report"),
        version=__version__,
        command=command,
        sections=sections,
        plots=plots,
        design=_marked(_designer.data) if designed else None,
        library=_safe(_library()[0] if any(plots) else ""),
        scripts=[_safe(script) for script in scripts],
        hashes=[_hash(script) for script in scripts] + [_library()[1]] * any(plots),
    )
    return html.encode("utf-8", "replace").decode()


def write(
    path: str | os.PathLike[str],
    *things: Thing,
    title: str | None = None,
    names: Sequence[str] = (),
    command: str = "",
) -> None:
    """Write the page on `things` to `path` atomically.

    Args:
        path: The file; its folder must exist. An existing file is replaced.
        things: The objects to show, as in `page`.
        title: Title of the page.
        names: A name for each object, as in `page`.
        command: As in `page`.

    Raises:
        TypeError: If one of them cannot be shown.
        ValueError: If there is nothing to show, or a record contradicts itself.
        ImportError: If Jinja2 or Plotly is not installed.
        OSError: If the file cannot be written.
    """
    text = page(*things, title=title, names=names, command=command)
    with replacing(path) as file:
        file.write(text.encode())


def _told_apart(sections: list[Section], names: Sequence[str]) -> list[Section]:
    """The sections, with their names after titles that occur twice."""
    if not names:
        return sections
    if len(names) != len(sections):
        raise ValueError(_check.problem(f"names must hold one for each of the {len(sections)} objects", names))
    titles = Counter(section.title for section in sections)
    return [
        replace(section, title=f"{section.title}: {name}") if titles[section.title] > 1 else section
        for section, name in zip(sections, names, strict=True)
    ]


@cache
def _environment() -> Environment:
    """Jinja's environment."""
    with _needed():
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

    def shown(value: Any) -> Any:
        return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=PackageLoader("cyclr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )


@cache
def _library() -> tuple[str, str]:
    """Plotly's script, compressed to two fifths of its size, and its hash."""
    with _needed():
        from plotly.offline import get_plotlyjs
    # Browsers convert line ends to \n before they compare a script with its hash.
    script = get_plotlyjs().replace("\r\n", "\n")
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode(), _hash(script)


@contextmanager
def _needed() -> Iterator[None]:
    """Say what to install if something is not."""
    try:
        yield
    except ImportError as error:
        gone = (error.name or "").partition(".")[0]
        raise ImportError(f"{gone} is not installed; pip install cyclr[report]") from error


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _marked(function: Callable[[Designer], str]) -> Callable[[Designer], Any]:
    return lambda designer: _safe(function(designer))


def _script(plots: list[str | None]) -> str:
    """A script that unpacks Plotly once the page is shown, and passes it each figure."""
    data = ",\n".join(plot or "null" for plot in plots)
    return f"const figures = [\n{data}\n];\nconst config = {_CONFIG};\n{_UNPACK}"


def _hash(script: str) -> str:
    """The hash by which the page's security policy allows a script; no other script can run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
