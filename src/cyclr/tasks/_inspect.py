"""Inspects a task before policies are compared on it: its held-out data, and whether its seed controls the training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from cyclr._metrics import Metric
from cyclr.study._records import Facts
from cyclr.tasks import _find as tasks

if TYPE_CHECKING:
    from cyclr.torch import Task


def inspect_task(text: str, tuned: bool, classes: Sequence[str] = ()) -> Facts:
    """Make the task and evaluate one batch, so that errors are reported before any work.

    Args:
        text: The task.
        tuned: Whether rates will be tuned.
        classes: The user's own classes of schedules, which a process that trains the task must know.
    """
    from cyclr.torch._ensemble import outputs_of
    from cyclr.torch._update import evaluate

    tasks.check_classes(text, classes)
    final = tasks.build(text, 0)
    first = _beginning(final)
    choosing = tasks.build(text, 0, tuning=True) if tuned else None
    judge = "test" if final.test_loader is not None else "val" if final.val_loader is not None else ""
    for task in filter(None, (final, choosing)):
        for loader in filter(None, (task.val_loader, task.test_loader)):
            evaluate(task.model, list(islice(loader, 1)), task.loss_fn, task.metrics)
    again, other = (_beginning(tasks.build(text, seed)) for seed in (0, 1))
    return Facts(
        steps_per_epoch=final.steps_per_epoch,
        metrics=(*final.metrics, "loss"),
        judge=judge,
        tunable=judge == "test" and choosing is not None and choosing.val_loader is not None,
        paired=first == again,
        varies=first != other,
        directions={name: metric.better for name, metric in final.metrics.items() if isinstance(metric, Metric)},
        outputs=outputs_of(final) or "",
    )


def _beginning(task: Task) -> str:
    """The initial state of a training: the weights, torch's random state, the first batch."""
    import torch

    digest = hashlib.sha256()
    random = torch.get_rng_state()
    for part in _data((task.model.state_dict(), random, islice(task.train_loader, 1))):
        digest.update(part)
    return digest.hexdigest()


def _data(value: Any) -> Iterator[bytes]:
    """The tensors, arrays, numbers and strings in `value`; its other contents cannot be compared."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided and not value.is_quantized and not value.is_meta:
            yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield value.tobytes()
    elif isinstance(value, (str, bytes, bool, int, float)):
        yield repr(value).encode("utf-8", "replace")
    elif isinstance(value, Mapping):
        yield from _data(value.items())
    elif isinstance(value, Iterable):
        for part in value:
            yield from _data(part)
