"""Short range tests of a single layer, such as a new head on a frozen network, under SGD with momentum.

    python bench/bounds/heads.py run --data PATH    # all that is missing, an hour of one core; PATH as in finetune.py
    python bench/bounds/heads.py table              # the table of docs/bounds.md

With one layer the loss is convex: a rate that would ruin a deep network does no lasting harm, as the end of the cycle
makes up for it. Besides *resnet-frozen* and *resnet-head* of lengths.py: heads on features of four trained networks,
computed once, linear classifiers of digits and of text, and networks whose heads have ten times the rate of the rest.

Appends to records/heads.csv, with the columns of plain_sgd.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import finetune
import plain_sgd
import tasks
import torch
from data import fashion, friedman, ill_conditioned
from finetune import ResNet, Voice, features, images, sentences, words
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F

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


def voice_head(seed: int) -> Problem:
    model = Voice()
    problem = _classify(words(), model, _apart(model, model.head), seed)
    problem.clip = 1.0
    return problem


def resnet56_head(seed: int) -> Problem:
    model = nn.Sequential(ResNet(56), nn.Linear(64, 20))
    return _classify(images(), model, _apart(model, model[1]), seed)


APART: dict[str, Callable[[int], Problem]] = {
    "mlp-head": mlp_head, "voice-head": voice_head, "resnet56-head": resnet56_head,
}  # fmt: skip
TASKS = APART | {f"{name}-{made}": partial(layer, name, made) for made in MADE for name in LAYERS}


def make(name: str, seed: int) -> Problem:
    torch.manual_seed(seed)
    problem = TASKS[name](seed)
    problem.model.train()
    return problem


def run() -> None:
    """Where a step takes long, two lengths alone."""
    for made, powers in POWERS.items():
        plain_sgd.record(FILE, make, [f"{name}-{made}" for name in LAYERS], (60, 200, 1000), powers)
    plain_sgd.record(FILE, make, ["mlp-head"], (60, 200, 1000), POWERS["momentum"])
    plain_sgd.record(FILE, make, APART, (60, 200), POWERS["momentum"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, help="folder of pre-trained weights and data: see finetune.py")
    given = parser.parse_args()
    finetune.DATA = given.data
    torch.set_num_threads(1)
    run()


if __name__ == "__main__":
    main()
