"""Put the results of the demo into its page and its verdict into README.md, from docs/demo.json, the recorded study."""

from __future__ import annotations

import re
from pathlib import Path

from cyclr import report

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- demo: .*? -->\n).*?(<!-- /demo -->)", re.DOTALL)
#: How the three lines of the README begin: what was gained, what the cycle itself gives, where it depends.
VERDICT = ("- auto: ", "- Is the gain due to the cycle", "- If stopped at half the budget")


def main() -> None:
    """Update README.md and docs/demo.md."""
    for page, text in filled().items():
        page.write_text(text)


def filled() -> dict[Path, str]:
    """The text of each page with the results inserted."""
    _, _, results = report.markdown(*report.read(ROOT / "docs/demo.json"), level=1).partition("\n\n")  # its own title
    inserted = {ROOT / "docs/demo.md": results, ROOT / "README.md": "\n".join(verdict(results)) + "\n"}
    return {page: _between(page.read_text(), new) for page, new in inserted.items()}


def verdict(results: str) -> list[str]:
    """The three lines of the results that decide.

    Raises:
        LookupError: If the results no longer have such a line.
    """
    found = {start: line for line in results.splitlines() for start in VERDICT if line.startswith(start)}
    if missing := set(VERDICT) - set(found):
        raise LookupError(f"the results of the demo have no line that starts with {sorted(missing)}")
    return [found[start] for start in VERDICT]


def _between(text: str, new: str) -> str:
    return BLOCK.sub(lambda match: f"{match[1]}{new}{match[2]}", text)


if __name__ == "__main__":
    main()
