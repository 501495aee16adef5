from __future__ import annotations

import pytest
from scripts import readme


def test_the_results_in_the_pages_are_those_of_the_record() -> None:
    for page, text in readme.filled().items():
        assert readme.BLOCK.search(page.read_text()), page
        assert text == page.read_text(), "run: python scripts/readme.py"


def test_results_without_a_verdict_are_an_error_and_not_an_empty_readme() -> None:
    with pytest.raises(LookupError, match=r"no line that starts with .*auto"):
        readme.verdict("- Is the gain due to the cycle? No.\n- If stopped at half the budget, it is.\n")
