"""How Sphinx makes the pages: Markdown by MyST, docstrings by autodoc, the look by Furo."""

from __future__ import annotations

import cyclr

project = "cyclr"
author = "the cyclr developers"
copyright = "the cyclr developers, Apache-2.0"
version = release = cyclr.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = False

default_role = "code"  # docstrings are read in editors and terminals too: one backtick, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Source", "returns_style"), ("Reference", "returns_style")]
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"cyclr {release}"
