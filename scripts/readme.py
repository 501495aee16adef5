"""Put the results of the demo into README.md, from docs/demo.json, the study that `cyclr demo` recorded."""

from __future__ import annotations

import re
from pathlib import Path

from cyclr import report

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- demo: .*? -->\n).*?(<!-- /demo -->)", re.DOTALL)


def main() -> None:
    """Update README.md."""
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))


def filled(text: str) -> str:
    """The text of README.md with the results inserted."""
    _, _, results = report.markdown(*report.read(ROOT / "docs/demo.json"), level=2).partition("\n\n")  # its own title
    return BLOCK.sub(lambda match: f"{match[1]}{results}{match[2]}", text)


if __name__ == "__main__":
    main()
