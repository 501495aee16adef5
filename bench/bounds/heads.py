"""Short range tests of a single layer, such as a new head on a frozen network.

    python bench/bounds/heads.py run --data PATH    # all that is missing, an hour of one core; PATH as in finetune.py
    python bench/bounds/heads.py table              # the tables of docs/bounds.md

With one layer the loss is convex: a rate that would ruin a deep network does little lasting harm, as the end of a cycle
makes up for it. Heads on the features of four trained networks, computed once, a linear classifier of clothes, and
three linear regressions, each with SGD, with momentum and with Adam; and a network from scratch whose last layer has
ten times the rate of the rest, which is none.

Appends to records/heads.csv, with the columns of plain_sgd.py.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from math import inf
from pathlib import Path
from statistics import fmean

import finetune
import numpy as np
import plain_sgd
import tasks
import torch
from data import fashion, friedman, ill_conditioned
from finetune import ResNet, Voice, features, images, sentences, words
from page import put
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F
from wide import Case, recorded

from cyclr._range import short
from cyclr._range.short import StepFacts

FILE = Path(__file__).parent / "records" / "heads.csv"
Data = tuple[Tensor, Tensor, Tensor, Tensor]


resnet56 = partial(ResNet, 56)


def _classify(data: Data, model: nn.Module, made: torch.optim.Optimizer, seed: int, batch: int = 16) -> Problem:
    x, y, vx, vy = data
    return Problem(model, made, F.cross_entropy, Batches(x, y, batch, seed), (vx, vy), accuracy, True)


def _judged_by_head(body: Callable[[], nn.Module]) -> nn.Module:
    model = body().eval()
    model.head = nn.Identity()
    return model


@cache
def _seen(body: Callable[[], nn.Module], data: Callable[[], Data]) -> Data:
    """What a frozen body makes of the data."""
    x, y, vx, vy = data()
    model = _judged_by_head(body)
    with torch.no_grad():
        made = [torch.cat([model(part) for part in of.split(100)]) for of in (x, vx)]
    return made[0], y, made[1], vy


def some_sentences() -> Data:
    x, y, vx, vy = sentences(32)
    return x[: finetune.TRAIN], y[: finetune.TRAIN], vx, vy


def fine() -> Data:
    """A hundred classes."""
    x, _, vx, _ = features(finetune.resnet20, 32)
    return x, finetune.fine("train"), vx, finetune.fine("test")


def brightness() -> Data:
    """How bright a picture is, in what ResNet-56 makes of it."""
    x, _, vx, _ = features(resnet56, 32)
    seen, _, held, _ = images(32)
    y, vy = (of.mean((1, 2, 3))[:, None] for of in (seen, held))
    return x, (y - y.mean()) / y.std(), vx, (vy - y.mean()) / y.std()


#: Data of a single layer, and the size of its batches.
LAYERS: dict[str, tuple[Callable[[], Data], int]] = {
    "resnet56": (partial(features, resnet56, 32), 16),
    "resnet-fine": (fine, 64),
    "efficientnet": (partial(features, finetune.efficientnet, 64), 16),
    "minilm": (partial(_seen, finetune.Sentiment, some_sentences), 16),
    "voice": (partial(_seen, Voice, words), 16),
    "clothes": (fashion, 50),
    "friedman": (partial(friedman, 0.5), 32),
    "brightness": (brightness, 16),
    "ill-conditioned": (ill_conditioned, 32),
}
REGRESSIONS = ("friedman", "brightness", "ill-conditioned")  #: with squared errors
MADE: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "momentum": sgd, "adam": torch.optim.Adam, "sgd": partial(sgd, momentum=0.0),
}  # fmt: skip
LENGTHS = (60, 200, 1000)
SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2)
POWERS = {"momentum": range(1, 15), "adam": range(-4, 10), "sgd": range(3, 17)}


def layer(name: str, made: str, seed: int) -> Problem:
    """A new head alone."""
    data, batch = LAYERS[name]
    found = data()
    if name in REGRESSIONS:
        model = nn.Linear(found[0].shape[1], 1)
        return tasks.regression(found, model, seed, MADE[made](model.parameters()), batch)
    model = nn.Linear(found[0].shape[1], int(found[1].max()) + 1)
    return _classify(found, model, MADE[made](model.parameters()), seed, batch)


def _apart(model: nn.Module, head: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, and ten times the rate for the head."""
    own = {id(weight) for weight in head.parameters()}
    body = [weight for weight in model.parameters() if id(weight) not in own]
    return sgd([{"params": body, "lr": 0.01}, {"params": head.parameters(), "lr": 0.1}], weight_decay=1e-4)


def mlp_head(seed: int) -> Problem:
    """Trained from scratch."""
    model = tasks.mlp(196, 64, 64, 10)
    return tasks.images(model, seed, lambda _: _apart(model, list(model.modules())[-1]))


TASKS = {"mlp-head": mlp_head} | {f"{name}-{made}": partial(layer, name, made) for made in MADE for name in LAYERS}


def make(name: str, seed: int) -> Problem:
    torch.manual_seed(seed)
    problem = TASKS[name](seed)
    problem.model.train()
    return problem


def run() -> None:
    for made, powers in POWERS.items():
        plain_sgd.record(FILE, make, [f"{name}-{made}" for name in LAYERS], LENGTHS, powers)
    plain_sgd.record(FILE, make, ["mlp-head"], LENGTHS, POWERS["momentum"])


def kind_of(name: str, weights: int) -> tuple[str, StepFacts]:
    """The optimizer, and what a range test knows."""
    made = name.rpartition("-")[2]
    known = StepFacts(weights=weights if made == "adam" else 0, plain_sgd=made == "sgd", single_layer=made != "head")
    return made, known


def by_task(cases: list[Case], made: str) -> Iterator[str]:
    """The rule for any network, that for a single layer, and other shares of the lost rate, with one task left out."""
    cases = [case for case in cases if case.kind == made]
    names = list(dict.fromkeys(case.name for case in cases))
    found = {"any": {case: case.regrets(replace(case.facts, single_layer=False)) for case in cases}}
    for share in SHARES:
        with plain_sgd.law("SINGLE_LAYER", replace(short.SINGLE_LAYER, share=share)):
            found[share] = {case: case.regrets(case.facts) for case in cases}

    def mean(column: object, names: list[str]) -> float:
        return mean_of(lambda case: found[column][case].mean(), [case for case in cases if case.name in names])

    outside = {}
    for name in names:
        others = [other for other in names if other != name]
        outside[name] = min(SHARES, key=partial(mean, names=others))
    yield "| layer | the rule for any network | a third of the lost rate | a share chosen on the other layers |"
    yield "|---|---|---|---|"
    for name in names:
        own = [case for case in cases if case.name == name]
        columns = ("any", short.SINGLE_LAYER.share, outside[name])
        cells = (f"{mean(one, [name]):.3f} ({max(found[one][case].max() for case in own):.2f})" for one in columns)
        yield f"| {name.rpartition('-')[0]} | " + " | ".join(cells) + " |"
    left_out = fmean(mean(outside[name], [name]) for name in names)
    yield f"| *mean* | {mean('any', names):.3f} | {mean(short.SINGLE_LAYER.share, names):.3f} | {left_out:.3f} |"


def mean_of(value: Callable[[Case], float], cases: list[Case]) -> float:
    """The mean over tasks of their mean over lengths."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        by_name[case.name].append(float(value(case)))
    return fmean(fmean(values) for values in by_name.values())


def without_momentum(cases: list[Case]) -> Iterator[str]:
    """Plain SGD, with and without what an explosion shows."""
    yield "| layer | without | below a third of the stable rates |"
    yield "|---|---|---|"
    cases = [case for case in cases if case.kind == "sgd"]
    blind = {case: replace(case, seen=[replace(one, stable=inf) for one in case.seen]) for case in cases}
    for name in dict.fromkeys(case.name for case in cases):
        own = [case for case in cases if case.name == name]
        before = [blind[case].regrets(case.facts) for case in own]
        now = [case.regrets(case.facts) for case in own]
        cells = (f"{np.mean(one):.3f} ({np.max(one):.2f})" for one in (before, now))
        yield f"| {name.rpartition('-')[0]} | " + " | ".join(cells) + " |"


def write() -> None:
    """Put the tables into the page."""
    cases = recorded(FILE, kind_of)
    put(
        {f"heads {made}": by_task(cases, made) for made in ("momentum", "adam")}
        | {"heads sgd": without_momentum(cases)}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, help="folder of pre-trained weights and data: see finetune.py")
    given = parser.parse_args()
    finetune.DATA = given.data
    torch.set_num_threads(1)
    run() if given.what == "run" else write()


if __name__ == "__main__":
    main()
