"""One training in several processes started by `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cyclr._failure import TaskError

if TYPE_CHECKING:
    from cyclr.torch import Task

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """A process group in which only the first process prints; nothing if not started by `torchrun`."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group()
    if distributed.get_rank() == 0:
        yield
    else:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    distributed.destroy_process_group()  # after an error the other processes may be waiting; torchrun stops them


def once(do: Callable[[], T]) -> T:
    """The result of `do`, which only the first process calls, or the error that it raises, in all processes."""
    group = _all()
    if group is None:
        return do()
    from cyclr.torch import _distributed as together

    return together.once(do, group)


def check_shared(text: str, task: Task) -> None:
    """Check that several processes train one model, not one each.

    Raises:
        TaskError: If the model is not wrapped.
    """
    from cyclr.torch._distributed import group_of

    if _all() is not None and group_of(task.model) is None:
        raise TaskError(f"task {text}: several processes train one model only if it is wrapped in "
                        "torch.nn.parallel.DistributedDataParallel; wrap it, or start one process")  # fmt: skip


def are_several() -> bool:
    """Whether one training runs in several processes."""
    return _all() is not None and int(os.environ["WORLD_SIZE"]) > 1


def _all() -> Any:
    """The group of all processes; None if there is only one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    from torch import distributed

    return distributed.group.WORLD
