"""The built pages need no network: formulas are MathML, and whatever a page would load from elsewhere is a warning."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "docs/conf.py"
PAGES = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("ours", {str(CONF)!r})
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
html_math_renderer = ours.html_math_renderer
extensions = ["myst_parser"]
myst_enable_extensions = ours.myst_enable_extensions


def setup(app):
    app.add_html_math_renderer("mathml", (ours.write_formula, None), (ours.write_formula, None))
    app.connect("build-finished", ours.find_strangers)
"""


def built(folder: Path, page: str) -> tuple[str, str]:
    """The HTML of a page, and the warnings of its build."""
    pytest.importorskip("sphinx")
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    source = folder / "source"
    source.mkdir()
    (source / "conf.py").write_text(PAGES)
    (source / "index.md").write_text(f"# A page\n\n{page}\n")
    warnings = io.StringIO()
    with docutils_namespace():
        Sphinx(source, source, folder / "html", folder / "trees", "html", status=None, warning=warnings).build()
    return (folder / "html/index.html").read_text(), re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())


def test_a_formula_is_mathml(tmp_path: Path) -> None:
    html, warnings = built(tmp_path, "Half of $x$ is\n\n$$\n\\frac{x}{2}\n$$")
    assert warnings == ""
    assert html.count("<math") == 2
    assert "<mfrac>" in html
    assert "MathJax" not in html


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("An unknown $\\word$.", r'Unknown LaTeX command "\word". in the formula \word'),
        ('<script src="https://example.org/a.js"></script>', "index.html loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "index.html loads //example.org/a.css"),
        ("![A picture](https://example.org/a.png)", "index.html loads https://example.org/a.png"),
    ],
)
def test_what_needs_a_network_is_a_warning(tmp_path: Path, page: str, warning: str) -> None:
    assert warning in built(tmp_path, page)[1]


def test_a_link_is_none(tmp_path: Path) -> None:
    assert built(tmp_path, "[A page](https://example.org)")[1] == ""
