"""What the rows on ImageNet cost: python bench/cost.py [--images 16]

For each network of the task `imagenet`: floating-point operations of a training step per image (counted by torch), time
of a step per image on one core (measured here), and from both what a row of experiments/paper/rows.toml takes: images,
bytes read (138 GB for 1,281,167 images), hours of this core, and GPU hours if a GPU sustains 100 TFLOP/s, about a third
of the peak of an A100 in bfloat16. No GPU was measured.

Last result: the table in docs/tasks.md, "What the rows on ImageNet cost".
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from cyclr.tasks._imagenet_networks import loss
from cyclr.tasks.imagenet import NETWORKS

STEPS = {"alexnet": (300_000, 400_000, 460_000), "googlenet": (240_000, 420_000), "resnet50": (450_450,)}
BYTES = 138e9 / 1_281_167  # of an image
SUSTAINED = 100e12  # operations a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16, help="of the batch that is measured")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | steps | images | read | GFLOP per image | ms per image here | core hours here | GPU hours |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, recipe in NETWORKS.items():
        model = recipe.network(classes=1000, size=recipe.crop.size, precision=getattr(torch, given.precision))
        model.to(memory_format=torch.channels_last)
        inputs = torch.randn(given.images, 3, recipe.crop.size, recipe.crop.size)
        inputs, labels = inputs.to(memory_format=torch.channels_last), torch.randint(1000, (given.images,))
        with FlopCounterMode(display=False) as counter:
            loss(model(inputs), labels).backward()
        each = counter.get_total_flops() / given.images
        began = time.process_time()
        for _ in range(2):
            loss(model(inputs), labels).backward()
        here = (time.process_time() - began) / 2 / given.images
        for steps in STEPS[name]:
            images = steps * recipe.batch
            seen = f"{images / 1e6:.0f} million | {images * BYTES / 1e12:.1f} TB"
            hours = f"{images * here / 3600:,.0f} | {images * each / SUSTAINED / 3600:.1f}"
            print(f"| {name} | {steps:,} | {seen} | {each / 1e9:.1f} | {1e3 * here:.0f} | {hours} |")


if __name__ == "__main__":
    main()
