"""What lengths.py and ramps.py found: where the best peak lies at each length, and what each rule's answers lose there.

    python bench/bounds/lengths_table.py    # from the records, no training: prints the tables of docs/bounds.md anew

A training loses (best mean - its score) / (best mean - untrained), at most 1. A peak between two is looked up on a
straight line in the logarithm, one outside counts as the nearest, a refusal loses 1.
"""

from __future__ import annotations

import lengths
from finetune import FINETUNE
from lengths_lands import places, slopes
from lengths_limit import limit
from lengths_rules import tables
from lengths_summary import summary
from page import put


def main() -> None:
    own, trained = ([name for name in lengths.CENTRES if (name in FINETUNE) == kind] for kind in (False, True))
    made = tables()
    made |= {"places": places(own), "slopes": slopes(own), "trained places": places(trained)}
    made |= {"lengths summary": summary(own), "limit": limit(own), "trained limit": limit(trained)}
    for name, lines in made.items():
        print("\n".join([f"## {name}", "", *lines, ""]))
    put(made)


if __name__ == "__main__":
    main()
