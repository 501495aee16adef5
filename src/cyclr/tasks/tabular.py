"""Tables: any CSV file with a column to predict."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from cyclr import _check
from cyclr.torch import Task

from ._classify import Examples, classification

MISSING = ("", "na", "nan", "null", "none", "?")
MOST_VALUES = 100  # of a column of words
BATCH, WIDTH, SHARE = 128, 128, 5  # a fifth of the rows is for testing
GET = (
    "pass data=FILE and target=COLUMN, such as diamonds.csv from https://github.com/mwaskom/seaborn-data and "
    "target=price"
)


def tabular(
    seed: int,
    *,
    data: str | Path | None = None,
    target: str | None = None,
    classes: bool | None = None,
    tuning: bool = False,
) -> Task:
    """Predict a column of a CSV file from the others: a network with two hidden layers of 128, AdamW.

    Columns of numbers are standardised by the training rows; a number that is missing becomes the mean, and a further
    column says so. Columns of words become one column for each value. Columns with more than 100 values that are words
    are an error. A fifth of the rows, always the same ones, is for testing. Batches of 128, rate 1e-3, weight decay
    0.01.

    A target of numbers is predicted as such: the loss is the squared error of the standardised target, and the metric
    "mae" is the mean absolute error in the target's own unit. With `classes`, the metric is the accuracy.

    Args:
        seed: Random seed for the weights and the order of the batches.
        data: The file, with the names of the columns on its first line, separated by commas; it may be gzipped.
        target: The name of the column to predict.
        classes: Whether each value of the target is a class; by default if it holds words.
        tuning: Hold out the last tenth of the training rows as `val_loader`, for tuning rates; there is then no test
            data.

    Returns:
        The task.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If there is no such file.
        ValueError: If the file has no such column, a row has another number of columns, a target is missing, a number
            is infinite, or a column has too many values.
    """
    if data is None:
        raise FileNotFoundError(_check.problem("the task tabular needs the path of its data", None, GET))
    if not isinstance(data, (str, Path)):
        raise TypeError(_check.problem("data must be a path", data, GET))
    if target is not None and not isinstance(target, str):
        raise TypeError(_check.problem("target must be the name of a column", target, GET))
    train, test, outputs, spread = _read(Path(data), target, classes)
    held_out = max(1, len(train) // 10) if tuning else 0
    network = partial(_network, train.inputs.shape[1], max(1, outputs))
    task = classification(train, test, network, _adamw, seed=seed, batch=BATCH, held_out=held_out)
    if outputs:
        return task
    return replace(task, loss_fn=_squared, metrics={"mae": _absolute(spread)}, outputs="values")


def _network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))
    )


def _adamw(model: nn.Module) -> Optimizer:
    return AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs.squeeze(1), targets)


def _absolute(spread: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, targets: spread * (outputs.squeeze(1) - targets).abs().mean()


# Read once per process: a study makes the task anew for each run. These tensors are never modified.
@lru_cache(maxsize=1)
def _read(path: Path, target: str | None, classes: bool | None) -> tuple[Examples, Examples, int, float]:
    """Training and test rows, the number of classes or 0, and the spread of a target of numbers."""
    columns = _columns(path)
    if target not in columns:
        near = _check.did_you_mean(target, columns)
        must = f"target must be a column of {path} ({', '.join(columns)})"
        raise ValueError(_check.problem(must, target, near or GET))
    own = columns.pop(target)
    if any(value.lower() in MISSING for value in own):
        must = f"every row of {path} must have a {target}"
        raise ValueError(_check.problem(must, "one without", "remove those rows"))
    order = np.random.default_rng(0).permutation(len(own))
    fitted = np.zeros(len(own), bool)
    fitted[order[: len(own) - len(own) // SHARE]] = True
    inputs = np.concatenate([_encoded(path, name, values, fitted) for name, values in columns.items()], axis=1)
    numbers = _numbers(own)
    if numbers is not None and not classes:
        _check_finite(path, target, numbers)
    if numbers is None or classes:
        if classes is False:
            raise ValueError(_check.problem(f"the column {target} must be numbers for classes=False", own[0]))
        values = sorted(set(own))
        if len(values) > MOST_VALUES:
            raise ValueError(_check.problem(f"{target} must have at most {MOST_VALUES} classes", len(values)))
        places = {value: place for place, value in enumerate(values)}
        labels, outputs, spread = np.array([places[value] for value in own]), len(values), 1.0
    else:
        spread = float(numbers[fitted].std()) or 1.0
        labels, outputs = ((numbers - numbers[fitted].mean()) / spread).astype(np.float32), 0
    rows = [order[fitted[order]], order[~fitted[order]]]
    train, test = (Examples(torch.tensor(inputs[part]), torch.tensor(labels[part])) for part in rows)
    return train, test, outputs, spread


def _columns(path: Path) -> dict[str, list[str]]:
    """The columns by name, as text."""
    if not path.is_file():
        raise FileNotFoundError(_check.problem("data must be an existing CSV file", str(path), GET))
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as stream
        ):
            head, *rows = [row for row in csv.reader(stream) if row] or [[]]
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        raise ValueError(_check.problem(f"{path} must be a CSV file in UTF-8", str(error), "save it as such")) from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise ValueError(_check.problem(f"row {number} of {path} must have {len(head)} columns", len(row)))
    if len(rows) < SHARE * 2 or len(head) < 2 or len(set(head)) < len(head):
        must = f"{path} must have at least {SHARE * 2} rows, and 2 columns with different names"
        raise ValueError(_check.problem(must, f"{len(rows)} rows, {head}"))
    return {name.strip(): [row[place].strip() for row in rows] for place, name in enumerate(head)}


def _encoded(path: Path, name: str, column: list[str], fitted: np.ndarray) -> np.ndarray:
    """One column of the file as one or more of numbers."""
    numbers = _numbers(column)
    if numbers is not None:
        missing = np.isnan(numbers)
        _check_finite(path, name, numbers[~missing])
        known = numbers[fitted & ~missing]
        mean, spread = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
        scaled = np.where(missing, 0.0, (numbers - mean) / spread)
        return np.stack([scaled, missing] if missing.any() else [scaled], axis=1).astype(np.float32)
    values = sorted(set(column))
    if len(values) > MOST_VALUES:
        must = f"the column {name} of {path} must be numbers or have at most {MOST_VALUES} values"
        raise ValueError(_check.problem(must, len(values), "remove it from the file"))
    return np.array([[value == own for own in values] for value in column], np.float32)


def _numbers(column: list[str]) -> np.ndarray | None:
    """The values as numbers, missing ones as nan; None if one is a word."""
    try:
        return np.array([np.nan if value.lower() in MISSING else float(value) for value in column])
    except ValueError:
        return None


def _check_finite(path: Path, name: str, numbers: np.ndarray) -> None:
    if (wrong := numbers[~np.isfinite(numbers)]).size:
        must = f"the column {name} of {path} must have finite numbers"
        raise ValueError(_check.problem(must, str(wrong[0]), "leave the field empty, or remove the row"))
