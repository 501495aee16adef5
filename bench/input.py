"""How fast photographs are decoded, and whether that hides behind the steps: python bench/input.py FOLDER

FOLDER holds images at any depth, such as 500x375 JPEGs of ImageNet. For each network of the task `imagenet`: images
that one process decodes and augments in a second of processor time, and, with `--overlap`, the wall time of steps that
leave the processor free, as those of a GPU do (they sleep), of loading, and of both without and with one worker.

Last result: see docs/tasks.md, "The input path of ImageNet".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from cyclr.tasks._decoding import Loader, Looks
from cyclr.tasks._photos import ENDINGS, Files
from cyclr.tasks.imagenet import MEAN, NETWORKS

STEP = 0.06  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--library", default="auto", choices=("auto", "pillow", "torchvision"))
    parser.add_argument("--overlap", type=int, default=0, metavar="STEPS", help="also time so many steps")
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(p for p in given.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    names = [str(path.relative_to(given.folder)) for path in paths]
    size = sum(path.stat().st_size for path in paths) / len(paths)
    print(f"{len(paths)} images, {size / 1e3:.0f} kB on average")
    photos = Files(given.folder, names, [0] * len(names))
    for name, recipe in NETWORKS.items():
        chosen = [number % len(names) for number in range(given.images)]
        looks = Looks("cpu", MEAN, recipe.spread)
        loader = Loader(photos, chosen, 16, recipe.crop, looks, generator=torch.Generator(), library=given.library)
        for _ in zip(range(2), loader, strict=False):
            pass
        began = time.process_time()
        for _ in loader:
            pass
        print(f"{name}: {given.images / (time.process_time() - began):.0f} images a second of one core")
    if given.overlap:
        overlap(photos, len(names), given.overlap)


def overlap(photos: Files, count: int, steps: int) -> None:
    recipe = NETWORKS["alexnet"]
    looks = Looks("cpu", MEAN, recipe.spread)
    chosen = [number % count for number in range(16 * steps)]

    def loading(workers: int, step: float) -> float:
        loader = Loader(photos, chosen, 16, recipe.crop, looks, generator=torch.Generator(), workers=workers)
        began = time.perf_counter()
        for _ in loader:
            time.sleep(step)
        return time.perf_counter() - began

    print(f"{steps} steps of {STEP} s: {steps * STEP:.1f} s of wall time; as many batches of 16: {loading(0, 0):.1f} s")
    print(f"both, in one process: {loading(0, STEP):.1f} s; with one worker: {loading(1, STEP):.1f} s")


if __name__ == "__main__":
    main()
