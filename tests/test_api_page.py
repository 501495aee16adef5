"""The API reference names everything public."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["cyclr", *(f"cyclr.{name}" for name in ("torch", "jax", "keras", "study", "report"))]
MODULES = [f"cyclr.{name}" for name in ("lightning", "transformers", "plot", "adapter")]


def public(module: str) -> set[str]:
    """What a package exports (`import X as X`), or what a module defines under a public name."""
    path = ROOT / "src" / module.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    exported = {name.asname for node in nodes if "._" in f"{node.module}" for name in node.names}
    return {name for name in exported if name and name[0] != "_"} | own


@pytest.mark.parametrize("module", PACKAGES + MODULES)
def test_the_api_reference_names_everything_public(module: str) -> None:
    page = (ROOT / "docs/api.md").read_text()
    named = set(re.findall(rf"auto(?:class|function|exception):: {re.escape(module)}\.(\w+)$", page, re.MULTILINE))
    assert named == public(module)
    assert named
