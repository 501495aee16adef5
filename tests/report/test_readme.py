from __future__ import annotations

from pathlib import Path

from scripts import readme


def test_the_results_in_the_readme_are_those_of_the_record() -> None:
    text = Path(readme.ROOT, "README.md").read_text()
    assert readme.BLOCK.search(text)
    assert readme.filled(text) == text, "run: python scripts/readme.py"
