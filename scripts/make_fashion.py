"""Make the embedded data: Fashion-MNIST's first 6,000 training and 2,000 test images at 14x14.

    python scripts/make_fashion.py [FOLDER] [--out FILE]

FOLDER contains the four idx files, plain or gzipped, in the official order; by default that of Debian's
package `dataset-fashion-mnist`. Each pixel is the mean of 2x2, rounded half up. The same input gives
the same bytes: NumPy writes the members of an `.npz` without timestamps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cyclr.tasks._idx import read_folder

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
EMBEDDED = Path(__file__).parents[1] / "src/cyclr/tasks/data/fashion14.npz"
TRAIN, TEST = 6_000, 2_000


def halved(images: np.ndarray) -> np.ndarray:
    """Images at half the size: means of 2x2 pixels, in integers so that all platforms round alike."""
    count, height, width = images.shape
    sums = images.reshape(count, height // 2, 2, width // 2, 2).sum(axis=(2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def make(folder: Path) -> dict[str, np.ndarray]:
    """The four arrays of the embedded file."""
    whole = read_folder(folder, advice="install Debian's package dataset-fashion-mnist or name the folder")
    return {
        "train_images": halved(whole["train_images"][:TRAIN]),
        "train_labels": whole["train_labels"][:TRAIN],
        "test_images": halved(whole["test_images"][:TEST]),
        "test_labels": whole["test_labels"][:TEST],
    }


def main() -> None:
    """Read the idx files, write the `.npz`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEBIAN, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=EMBEDDED, metavar="FILE")
    arguments = parser.parse_args()
    np.savez_compressed(arguments.out, **make(arguments.folder))
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
