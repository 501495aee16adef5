"""How Sphinx makes the pages: Markdown and notebooks by MyST, docstrings by autodoc, the look by Furo."""

from __future__ import annotations

import os
import re
from typing import Any

import sphinx.util.logging
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

import cyclr
from cyclr._cli import make_app, verbs

os.environ.setdefault("KERAS_BACKEND", "jax")  # before cyclr.keras is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks; the notebooks' kernels inherit it

project = "cyclr"
author = "the cyclr developers"
copyright = "the cyclr developers, Apache-2.0"
version = release = cyclr.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",  # tabs
    "sphinx_copybutton",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["jupyter_execute", "_build", "conf.py"]

source_suffix = {".md": "myst-nb", ".py": "myst-nb"}
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}  # docs/notebooks: scripts that are notebooks
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # what a notebook writes is not wanted here
nb_execution_timeout = 120
nb_merge_streams = True
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor what is printed

smartquotes = False  # scale="log" is code
default_role = "code"  # docstrings are read in editors and terminals too: one backtick, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_custom_sections = ["Source", "Reference"]
napoleon_numpy_docstring = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["cyclr.css"]
html_js_files = ["cyclr.js"]
pygments_dark_style = "monokai"  # Furo's own underlines the names of modules, as if they were links
html_math_renderer = "mathml"  # below; Sphinx's own would load MathJax from the network
html_title = f"cyclr {release}"


def say_what_is_written(_app: Any, _what: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are prose, formulas and backticks: `2 * step` and `val_` mean what they say, no markup."""
    in_example = False
    for index, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            lines[index] = re.sub(r"(`[^`]*`)|(\*|\||_(?!\w))", lambda found: found[1] or "\\" + found[2], line)


def tell_the_verbs(_app: Any, page: str, source: list[str]) -> None:
    """Put what the parser of the command line says of each verb into its page, with the examples of `--help`."""
    if page != "cli":
        return
    told = make_app().generate_docs(output_format="markdown", heading_level=1)
    told = re.sub(r" -m \S+(?= \[OPTIONS\])", "", told)  # `python -m sphinx`: cyclopts takes it for a part of the name
    for name, verb in verbs().items():
        found = re.search(rf"^## cyclr {name}$(.*?)(?=^## |\Z)", told, re.MULTILINE | re.DOTALL)
        if found is None:
            raise LookupError(f"cyclopts no longer describes `cyclr {name}` under a heading of its own")
        examples = "\n".join(f"$ {line}" for line in verb.examples)
        source[0] += f"\n## cyclr {name}\n{found[1].rstrip()}\n\n**Examples**:\n\n```console\n{examples}\n```\n"


def write_formula(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers show without a script and screen readers read."""
    block = isinstance(node, nodes.math_block)
    try:
        made = tex2mathml(node.astext(), as_block=block)
        # the theme makes wide formulas scroll; without room at the top and bottom, narrow ones too
        translator.body.append(f'<div style="padding: 0.5em 0">{made}</div>' if block else made)
    except MathError as error:
        sphinx.util.logging.getLogger(__name__).warning("%s in the formula %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def find_strangers(app: Any, failed: Exception | None) -> None:
    """Scripts, styles, images and fonts come from these pages alone, so that they can be read without a network."""
    if failed is not None or app.builder.format != "html":
        return
    loads = re.compile(r"""<(?:script|link|img|iframe|source|video)\b[^>]*\b(?:src|href)=["']((?:https?:)?//[^"']+)""")
    for page in sorted(app.outdir.rglob("*.html")):
        for address in loads.findall(page.read_text("utf-8")):
            sphinx.util.logging.getLogger(__name__).warning("%s loads %s", page.relative_to(app.outdir), address)


def setup(app: Any) -> None:
    """Docstrings before napoleon, whose own markup must stay."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("build-finished", find_strangers)
    app.connect("autodoc-process-docstring", say_what_is_written, priority=100)
    app.connect("source-read", tell_the_verbs)
