"""How Sphinx makes the pages: Markdown by MyST, docstrings by autodoc, the look by Furo."""

from __future__ import annotations

import os
import re
from typing import Any

import cyclr

os.environ.setdefault("KERAS_BACKEND", "jax")  # before cyclr.keras is imported

project = "cyclr"
author = "the cyclr developers"
copyright = "the cyclr developers, Apache-2.0"
version = release = cyclr.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

smartquotes = False  # scale="log" is code
default_role = "code"  # docstrings are read in editors and terminals too: one backtick, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_custom_sections = ["Source", "Reference"]
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"cyclr {release}"


def say_what_is_written(_app: Any, _what: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are prose, formulas and backticks: `2 * step` and `val_` mean what they say, no markup."""
    in_example = False
    for index, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            lines[index] = re.sub(r"(`[^`]*`)|(\*|\||_(?!\w))", lambda found: found[1] or "\\" + found[2], line)


def setup(app: Any) -> None:
    """Before napoleon, whose own markup must stay."""
    app.connect("autodoc-process-docstring", say_what_is_written, priority=100)
