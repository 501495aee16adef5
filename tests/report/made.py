"""What the tests of reports make pages of, and how they read them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from bs4 import BeautifulSoup
from plotly.offline import get_plotlyjs

from cyclr import Bounds, Curve, Plan, plan
from cyclr.study._records import Run, Study

RATES = np.geomspace(1e-5, 10, 80)
LOSSES = 2 - 1.5 / (1 + (1e-2 / RATES) ** 2) + (RATES / 0.5) ** 2
NOISE = np.random.default_rng(0).normal(scale=0.02, size=(3, 80))


def run(
    policy: str = "auto", seed: int = 0, *values: float | None, metric: str = "test_accuracy", **change: Any
) -> Run:
    """A run that was evaluated every 10 steps."""
    values = values or (0.5, 0.6, 0.7 + 0.01 * seed, 0.8 + 0.01 * seed**2)
    points = [{"step": 10 * (k + 1), "lr": 0.1, "loss": 0.5, metric: value} for k, value in enumerate(values)]
    settings = {
        "task": "digits", "schedule": "Linear(0.1, 0.0, steps=40)", "steps": 40, "eval_every": 10,
        "steps_per_epoch": 20, "points": points, "seconds": 1.5, "versions": {"torch": "2.13.0"},
    }  # fmt: skip
    return Run(policy=policy, seed=seed, **(settings | change))


def study(**change: Any) -> Study:
    """Two policies on three seeds; the second is better by 0.1, 0.102 and 0.108."""
    runs = [run("fixed", seed) for seed in range(3)]
    runs += [run("auto", seed, 0.6, 0.7, 0.8, 0.9 + 0.012 * seed**2) for seed in range(3)]
    settings = {"task": "digits", "runs": runs, "baseline": "fixed", "tuning_cost": {"auto": 266, "fixed": 6000}}
    return Study(**(settings | change))


def curve(**change: Any) -> Curve:
    """A range test of three repeats that has an answer."""
    return Curve(**{"rates": RATES, "losses": LOSSES + NOISE, **change})


def a_plan() -> Plan:
    """Three cycles."""
    return plan(Bounds(0.001, 0.01), epochs=30, steps_per_epoch=10)


def soup(html: str) -> BeautifulSoup:
    """The page without Plotly's own script, which takes long to read."""
    return BeautifulSoup(html.replace(get_plotlyjs(), ""), "html.parser")


def figures(html: str) -> dict[str, dict[str, Any] | None]:
    """What the page hands to Plotly, by key; None where there is nothing to draw."""
    (found,) = re.findall(r"const figures = (\[.*?\n\]);\n", html.replace(get_plotlyjs(), ""), re.DOTALL)
    keys = [tag["data-key"] for tag in soup(html)("figure")]
    return dict(zip(keys, json.loads(found), strict=True))


def figure(html: str, key: str) -> dict[str, Any]:
    """What the page hands to Plotly for one figure."""
    found = figures(html)[key]
    assert found is not None
    return found


def table(html: str, key: str) -> list[list[str]]:
    """The cells of a table, its head first."""
    (found,) = soup(html)(attrs={"class": "scroll", "data-key": key})
    return [[cell.text for cell in row(["th", "td"])] for row in found("tr")]


def caption(html: str, key: str) -> str:
    """The caption of a table."""
    (found,) = soup(html)(attrs={"class": "scroll", "data-key": key})
    return str(found.caption.text)


def numbers(packed: Any) -> list[float]:
    """The numbers of a trace as Plotly packs them, or as a plain list."""
    if isinstance(packed, list):
        return packed
    import base64

    flat = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"]))
    shape = [int(size) for size in str(packed.get("shape", flat.size)).split(",")]
    return flat.reshape(shape).tolist()
