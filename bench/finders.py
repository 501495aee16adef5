"""Range tests: ours, a bare loop, and the finders of the peers. Measured by speed.py."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTHS = {"0.3 ms": (64, 64), "1 ms": (256, 128), "30 ms": (1024, 512)}


def training(size: str) -> tuple[Any, Any, list[Any]]:
    """A network of which an update takes about so long on one core."""
    import torch

    width, batch = WIDTHS[size]
    torch.manual_seed(0)
    layers = [torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))
    batches = [(torch.randn(batch, width), torch.randint(10, (batch,))) for _ in range(20)]
    return model, torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9), batches


def bare(size: str, steps: int) -> None:
    import torch

    model, optimizer, batches = training(size)
    for step in range(steps):
        x, y = batches[step % len(batches)]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def ours_in(size: str, steps: int) -> None:
    import torch

    from cyclr import Ramp
    from cyclr.torch import range_test

    # a ramp so low that nothing ends it
    range_test(*training(size), torch.nn.functional.cross_entropy, ramp=Ramp(1e-6, 1e-3, steps))


def lr_finder_in(size: str, steps: int) -> None:
    import torch
    from torch_lr_finder import LRFinder

    model, optimizer, batches = training(size)
    finder = LRFinder(model, optimizer, torch.nn.CrossEntropyLoss(), device="cpu")
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    finder.range_test(loader, start_lr=1e-6, end_lr=1e-3, num_iter=steps)
    finder.reset()


def ignite_in(size: str, steps: int) -> None:
    import torch
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    model, optimizer, batches = training(size)
    trainer = create_supervised_trainer(model, optimizer, torch.nn.CrossEntropyLoss())
    finder = FastaiLRFinder()
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, start_lr=1e-6, end_lr=1e-3, num_iter=steps) as attached:
        attached.run(batches, max_epochs=math.ceil(steps / len(batches)))


def fastai_in(size: str, steps: int) -> None:
    import torch
    from fastai.callback import schedule  # noqa: F401 (gives learners lr_find)
    from fastai.callback.progress import ProgressCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    model, _, batches = training(size)
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(DataLoaders(loader, loader), model, torch.nn.CrossEntropyLoss(), SGD, path=folder)
        learner.remove_cb(ProgressCallback)
        learner.lr_find(start_lr=1e-6, end_lr=1e-3, num_it=steps, show_plot=False, suggest_funcs=())


def lightning_in(size: str, steps: int) -> None:
    import lightning
    import torch
    from lightning.pytorch.tuner import Tuner

    model, _, batches = training(size)

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = model, 1e-6

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=10**6, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder,
        )  # fmt: skip
        loader = torch.utils.data.DataLoader(batches, batch_size=None)
        Tuner(trainer).lr_find(Net(), loader, min_lr=1e-6, max_lr=1e-3, num_training=steps)


FINDERS = {
    "a bare loop": ("torch", bare),
    "torch-lr-finder": ("torch_lr_finder", lr_finder_in),
    "Ignite FastaiLRFinder": ("ignite", ignite_in),
    "fastai lr_find": ("fastai", fastai_in),
    "Lightning Tuner": ("lightning", lightning_in),
}


def peak(function: str, size: str, steps: int) -> float:
    """Peak memory in MiB of a process that makes a range test, above one that makes a training of the same size."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import finders, warnings; warnings.simplefilter('ignore')\n"
        f"finders.quiet(); finders.{function}({size!r}, {steps})\n"
        "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(ran.stdout.split()[-1]) / 1024


def quiet() -> None:
    """No lines of the peers' loggers; one thread."""
    import logging

    import torch

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
