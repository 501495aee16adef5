"""Checks that our published rules give the same suggestions as the tools that they come from.

    make peers    # creates a separate environment, then runs this: 5 minutes

Each curve is a list of losses. Each tool is run whole (Learner.lr_find, Tuner.lr_find, LRFinder.range_test,
FastaiLRFinder.attach) on a training whose losses are those of the list, so that its own ramp, smoothing, stop rule,
trimming and rule apply; ours reads the same losses at the rates of the tool's ramp. The curves are real range tests of
the tasks of bench/bounds, and random shapes: falls, rises, noise, spikes, negative losses, losses that end in NaN or
infinity, constants. Writes records/answers.csv and the table of docs/peers-checked.md.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclr import Curve, Inconclusive
from cyclr._range import RULES

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "peers-checked.md"
sys.path.insert(0, str(HERE.parent / "bounds"))
LOW, HIGH = 1e-7, 10.0
EQUAL = 1.0001  #: tools compute in float32
Answers = dict[str, float | None]


# ---------------------------------------------------------------- the tools, each run whole


def loss_of(value: float) -> torch.Tensor:
    """A loss of this value with a backward pass that changes nothing."""
    return torch.zeros((), requires_grad=True) + value


def dummies(steps: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(steps, 1), torch.zeros(steps, 1)))


def fastai(losses: list[float]) -> tuple[list[float], Answers]:
    from fastai.callback import schedule
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    values, answers = iter(losses), {}

    def guarded(rule: Callable[..., Any]) -> Callable[..., Any]:
        def suggest(*arguments: Any) -> Any:
            with contextlib.suppress(IndexError, RuntimeError, ValueError):  # as it fails on a short curve
                answers[rule.__name__] = float(rule(*arguments)[0])
            return math.nan, (math.nan, math.nan)

        suggest.__name__ = rule.__name__
        return suggest

    loader = dummies(len(losses) + 1)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(loader, loader, device="cpu"),
            torch.nn.Linear(1, 1),
            lambda *_: loss_of(next(values)),
            SGD,
            path=folder,
        )
        rules = tuple(guarded(getattr(schedule, name)) for name in ("valley", "slide", "steep", "minimum"))
        learner.lr_find(LOW, HIGH, len(losses), show_plot=False, suggest_funcs=rules)
    return learner.recorder.lrs, {name: answers.get(name) for name in ("valley", "slide", "steep", "minimum")}


def lightning(losses: list[float]) -> tuple[list[float], Answers]:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    values = iter(losses)

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, *_: Any) -> torch.Tensor:
            return loss_of(next(values))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(accelerator="cpu", default_root_dir=folder, **dict.fromkeys(quiet, False))
        finder = Tuner(trainer).lr_find(
            Net(), train_dataloaders=dummies(len(losses) + 1), min_lr=1e-8, max_lr=1, num_training=len(losses),
            update_attr=False,
        )  # fmt: skip
    return finder.results["lr"], {"lightning": finder.suggestion()}


def torch_lr_finder(losses: list[float]) -> tuple[list[float], Answers]:
    import matplotlib.pyplot as plt
    from torch_lr_finder import LRFinder

    values, answer = iter(losses), None
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LOW)
    finder = LRFinder(model, optimizer, lambda *_: loss_of(next(values)), device="cpu")
    finder.range_test(dummies(len(losses) + 1), end_lr=HIGH, num_iter=len(losses))
    figure, axes = plt.subplots()
    with contextlib.suppress(RuntimeError, ValueError):  # as it fails on a short curve
        answer = float(finder.plot(ax=axes)[1])
    plt.close(figure)
    return finder.history["lr"], {"torch-lr-finder": answer}


def ignite(losses: list[float]) -> tuple[list[float], Answers]:
    from ignite.engine import Engine
    from ignite.handlers import FastaiLRFinder

    values, answer = iter(losses), None
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LOW)
    finder = FastaiLRFinder()
    # It makes one step more than requested.
    steps = len(losses) - 1
    kept = {"model": model, "optimizer": optimizer}
    with finder.attach(Engine(lambda *_: next(values)), kept, num_iter=steps, start_lr=LOW, end_lr=HIGH) as trainer:
        trainer.run(range(steps + 1))
    with contextlib.suppress(RuntimeError):  # as it fails on a curve that only rises
        answer = float(finder.lr_suggestion())
    return finder.get_results()["lr"], {"ignite": answer}


TOOLS = {"fastai": fastai, "lightning": lightning, "torch-lr-finder": torch_lr_finder, "pytorch-ignite": ignite}


@cache
def rates_of(tool: str, steps: int) -> np.ndarray:
    """All the rates of a tool's ramp if nothing stops it."""
    return np.array(TOOLS[tool]([1.0] * steps)[0])


# ---------------------------------------------------------------- the curves


def walked(name: str, seed: int, steps: int) -> list[float]:
    """The losses of a real range test, including those after the first non-finite one."""
    from tasks import make

    problem, losses = make(name, seed), []
    for rate, (x, y) in zip(np.geomspace(LOW, HIGH, steps), problem.batches, strict=False):
        for group in problem.optimizer.param_groups:
            group["lr"] = float(rate)
        losses.append(float(problem.step(x, y)))
    return losses


def shape(seed: int) -> list[float]:
    """Losses drawn at random: a fall and a rise of any size at any place, or none, and all sorts of noise."""
    draw = np.random.default_rng(seed)
    steps = int(draw.choice([8, 20, 50, 100, 100, 100, 200, 300]))
    at = np.linspace(-7, 1, steps)
    fall, rise = sorted(draw.uniform(-6, 1, 2))
    losses = draw.choice([0.0, 1.0, 2.3, 10.0]) - draw.choice([0.0, 0.5, 2.0]) / (1 + np.exp(-3 * (at - fall)))
    losses += draw.choice([0.0, 0.0, 1.0, 3.0]) * np.exp(np.clip(draw.uniform(1, 6) * (at - rise), -50, 9))
    losses += draw.choice([0.0, 0.01, 0.1, 0.5]) * draw.standard_normal(steps)
    kind = draw.choice(["plain", "plain", "walk", "spike", "nan", "inf", "flat"])
    if kind == "walk":
        losses = 1 + 0.1 * draw.standard_normal(steps).cumsum()
    elif kind == "flat":
        losses = np.full(steps, losses[0])
    elif kind == "spike":
        losses[draw.integers(steps)] *= draw.choice([3.0, 30.0])
    elif kind != "plain":
        losses[draw.integers(1, steps) :] = math.nan if kind == "nan" else math.inf
    return losses.astype(np.float32).tolist()  # as in the tools


def curves() -> Iterator[tuple[str, list[float]]]:
    """Names and losses."""
    from tasks import TASKS

    for seed in range(4):
        for name in TASKS:
            steps = (100, 100, 300, 60)[seed]
            yield f"{name} {seed}", walked(name, seed, steps)
    for seed in range(200):
        yield f"shape {seed}", shape(seed)


# ---------------------------------------------------------------- the comparison


def ours(rule: str, rates: np.ndarray, losses: list[float]) -> float | None:
    """Our rule's suggestion; losses that end in infinity go to the rule directly, as a Curve converts them to NaN."""
    if np.isinf(losses).any():
        return RULES[rule](rates, np.array(losses))
    try:
        return Curve(rates, losses, stops=("non-finite" if np.isnan(losses).any() else "end",)).suggest(rule)
    except Inconclusive:
        return None


def kind_of(name: str, losses: list[float]) -> str:
    """Which row of the table a curve belongs to."""
    if not name.startswith("shape"):
        return "range tests"
    if np.isnan(losses).any() or np.isinf(losses).any():
        return "shapes, nan or inf"
    return "shapes" if np.ptp(losses) > 1e-4 * max(1.0, abs(losses[0])) else "shapes, constant"


def rows() -> Iterator[tuple[str, str, str, str, float | None, float | None]]:
    """Curve, kind, tool, rule, the tool's answer, ours."""
    for name, losses in curves():
        for tool, run in TOOLS.items():
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                rates, (_, answers) = rates_of(tool, len(losses)), run(losses)
            for rule, answer in answers.items():
                yield name, kind_of(name, losses), tool, rule, answer, ours(rule, rates, losses)


def ratio(one: float | None, other: float | None) -> float:
    """The factor between two suggestions; infinite if only one of them exists."""
    if one is None or other is None:
        return 1.0 if one is other else math.inf
    return max(one / other, other / one)


def table(found: list[tuple]) -> list[str]:
    """One line for each rule and kind of curve."""
    kinds = ("range tests", "shapes", "shapes, nan or inf", "shapes, constant")
    lines = ["| tool | rule | " + " | ".join(kinds) + " |", "|---" * (2 + len(kinds)) + "|"]
    for tool, rule in dict.fromkeys((row[2], row[3]) for row in found):
        cells = []
        for kind in kinds:
            apart = [ratio(*row[4:]) for row in found if row[1:4] == (kind, tool, rule)]
            equal = sum(one < EQUAL for one in apart)
            worst = max((one for one in apart if one < math.inf), default=1.0)
            cells.append(f"{equal} of {len(apart)}" + (f" (up to {worst:.3g} times)" if worst >= EQUAL else ""))
        lines.append(f"| {tool} {version(tool)} | {rule} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Write the record and the page's table; exit with 1 if a rule differs on a range test."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    found = list(rows())
    versions = ", ".join(f"{tool} {version(tool)}" for tool in (*TOOLS, "torch", "numpy"))
    with (HERE / "records" / "answers.csv").open("w") as file:
        file.write(f"# made by: make peers\n# {versions}\ncurve,kind,tool,rule,theirs,ours\n")
        for curve, kind, *names, theirs, mine in found:
            cells = ("" if one is None else f"{one:.6g}" for one in (theirs, mine))
            file.write(",".join([curve, kind.replace(",", ""), *names, *cells]) + "\n")
    page, (start, end) = PAGE.read_text(encoding="utf-8"), ("<!-- table -->", "<!-- end of table -->")
    lines = table(found)
    before, rest = page.split(start)
    PAGE.write_text(before + "\n".join([start, "", *lines, "", end]) + rest.split(end)[1], encoding="utf-8")
    print("\n".join(lines))
    if any(ratio(*row[4:]) >= EQUAL for row in found if row[1] == "range tests"):
        sys.exit("a rule differs from its tool on a range test: see bench/peers/records/answers.csv")


if __name__ == "__main__":
    main()
