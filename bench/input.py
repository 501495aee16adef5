"""How fast photographs are decoded, and what of it the process that trains must do itself.

    python bench/input.py run                                      # pictures that it makes: a minute
    python bench/input.py run --folder FOLDER --name "20 photos"   # and those of a folder, at any depth
    python bench/input.py table                                    # writes the tables of docs/tasks.md from the record
    python bench/input.py check                                    # fails if those tables differ

For each network of the task `imagenet`, and each library that is installed: images that one process decodes and
augments in a second of processor time. Then what a batch costs the process that trains, in processor time, without a
worker and with one: the rest is done by the worker while the training's steps run. Other programs on the machine change
both little, as they would the time by the clock.
Made pictures have the spectrum of photographs (amplitude 1 / frequency) and a JPEG quality of 95.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cyclr.tasks._decoding import Loader, Looks
from cyclr.tasks._photos import ENDINGS, Files
from cyclr.tasks.imagenet import MEAN, NETWORKS

HERE = Path(__file__).parent
RATES, LEFT = HERE / "records" / "input.csv", HERE / "records" / "input_left.csv"
PAGE = HERE.parent / "docs" / "tasks.md"
BEGIN, END = "<!-- tables: made by bench/input.py -->\n", "<!-- end of tables -->\n"
MADE = {"500x375": 16, "2000x1500": 6}  # how many of each are made
BATCH, PASSES = 16, 3
BATCHES = 8  # of which the process that trains has what is left


def photograph(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    colours = []
    for _ in range(3):
        noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency, (height, width))
        colours.append(noise / noise.std())
    grey = colours[0]
    pixels = np.stack([118 + 50 * grey + 15 * colours[1], 116 + 50 * grey, 104 + 50 * grey + 15 * colours[2]], axis=2)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def folders(place: Path, given: Path | None, name: str) -> Iterator[tuple[str, Path]]:
    """The names of the kinds of pictures, each with its folder."""
    for kind, count in MADE.items():
        (place / kind).mkdir()
        width, height = map(int, kind.split("x"))
        for number in range(count):
            photograph(width, height, number).save(place / kind / f"{number}.jpg", quality=95)
        yield kind, place / kind
    if given is not None:
        yield name, given


def files(folder: Path) -> Files:
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    return Files(folder, names, [0] * len(names))


def loader(photos: Files, images: int, network: str, library: str, workers: int = 0) -> Loader:
    recipe, generator = NETWORKS[network], torch.Generator().manual_seed(0)
    looks, chosen = Looks("cpu", MEAN, recipe.spread), [number % len(photos.paths) for number in range(images)]
    return Loader(photos, chosen, BATCH, recipe.crop, looks, generator=generator, workers=workers, library=library)


def libraries() -> list[str]:
    try:
        from torchvision.transforms import v2  # noqa: F401
    except (ImportError, RuntimeError):
        return ["pillow"]
    return ["pillow", "torchvision"]


def rate(photos: Files, network: str, library: str) -> float:
    """Images in a second of processor time: the best of a few passes."""
    batches, best = loader(photos, 3 * BATCH, network, library), 0.0
    for _ in range(PASSES):
        began = time.process_time()
        for _ in batches:
            pass
        best = max(best, 3 * BATCH / (time.process_time() - began))
    return best


def left(photos: Files, workers: int) -> float:
    """Milliseconds of processor time that a batch costs the process that trains: its worker's time does not count."""
    batches = iter(loader(photos, BATCH * (1 + BATCHES), "alexnet", "pillow", workers))
    next(batches)  # starts the worker
    began = time.process_time()
    for _ in batches:
        pass
    return 1000 * (time.process_time() - began) / BATCHES


def run(given: Path | None, name: str) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made, RATES.open("w") as rates, LEFT.open("w") as own:
        for file in (rates, own):
            file.write("# made by: python bench/input.py run\n")
        rates.write("pictures,kilobytes,library,network,images a second\n")
        own.write("pictures,no worker,one worker\n")
        for kind, folder in folders(Path(made), given, name):
            photos = files(folder)
            size = np.mean([(folder / path).stat().st_size for path in photos.paths]) / 1e3
            for library in libraries():
                for network in NETWORKS:
                    rates.write(f"{kind},{size:.0f},{library},{network},{rate(photos, network, library):.0f}\n")
            own.write(f"{kind},{left(photos, 0):.1f},{left(photos, 1):.1f}\n")


# ---------------------------------------------------------------- tables


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def tables() -> str:
    rows = read(RATES)
    lines = ["**Images decoded and augmented in a second of one core**", ""]
    lines.append(f"| pictures | kB | library | {' | '.join(NETWORKS)} |")
    lines.append(f"| --- | ---: | --- |{' ---: |' * len(NETWORKS)}")
    for kind, size, library in dict.fromkeys((row["pictures"], row["kilobytes"], row["library"]) for row in rows):
        cells = [row["images a second"] for row in rows if (row["pictures"], row["library"]) == (kind, library)]
        lines.append(f"| {kind} | {size} | {library} | {' | '.join(cells)} |")
    title = f"**Milliseconds of the training's own process for a batch of {BATCH}: AlexNet, Pillow**"
    lines += ["", title, "", "| pictures | without a worker | with one |", "| --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row.values())} |" for row in read(LEFT)]
    return "\n".join([*lines, ""])


def page(*, check: bool) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    made = f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"
    if check and made != text:
        sys.exit(f"{PAGE} is not what the records say; run python bench/input.py table")
    if not check:
        PAGE.write_text(made, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table", "check"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--name", default="given")
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder, given.name)
    else:
        page(check=given.what == "check")


if __name__ == "__main__":
    main()
