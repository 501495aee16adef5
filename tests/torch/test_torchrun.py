"""`cyclr train` in two processes that torchrun started: one model, one voice, one record."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data.distributed import DistributedSampler

from cyclr import Constant
from cyclr.torch import train
from tests import forked
from tests.torch.shared_task import KILL, of, parts

pytestmark = pytest.mark.slow

FILE = Path(__file__).with_name("shared_task.py")


ARGUMENTS = [f"{FILE}:task", "--epochs", "3", "--schedule", "Constant(0.1)", "--seed", "1", "--out", "out"]
COMMAND = ("-m", "cyclr", "train", *ARGUMENTS)
NEEDS = (*forked.TORCH, "torch.distributed.run", "cyclr._cli.train", "cyclr.study._command", "cyclr.tasks")


def torchrun(folder: Path) -> subprocess.CompletedProcess[str]:
    """By torchrun itself; it starts the processes, and ends them when one dies."""
    run = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return forked.run(*run, *COMMAND, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, needs=NEEDS)


def in_one_process() -> list[dict[str, Any]]:
    """The same training: each batch is what the two processes have between them."""
    model, data, held_out = parts(1)

    class Loader:
        """The two shards' batches, laid together."""

        epoch = -1

        def __len__(self) -> int:
            return 8

        def __iter__(self) -> Any:
            self.epoch += 1
            shards = [DistributedSampler(data, 2, rank, seed=1) for rank in range(2)]
            for shard in shards:
                shard.set_epoch(self.epoch)
            for begin in range(0, 32, 4):
                yield data[[index for shard in shards for index in list(shard)[begin : begin + 4]]]

    return train(of(model, Loader(), held_out), Constant(0.1), steps=24)


def test_killed_half_way_and_called_again_they_train_as_one_process_would(tmp_path: Path) -> None:
    (tmp_path / KILL).touch()
    killed = torchrun(tmp_path)
    assert killed.returncode != 0
    assert not (tmp_path / "out/run.json").exists()
    state = torch.load(tmp_path / "out/checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    again = "".join(forked.ranks(*COMMAND, cwd=tmp_path, needs=NEEDS))  # with what torchrun tells its processes
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert [point["step"] for point in run["points"]] == [8, 16, 24]
    for point, expected in zip(run["points"], in_one_process(), strict=True):
        assert point == pytest.approx(expected, rel=1e-4)
    assert again.count("24 steps: 3 epochs") == again.count(", seed 1\n") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"settings.json", "run.json", "checkpoint.pt"}
