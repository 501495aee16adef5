"""Steps are counted right in Accelerate's loops, however the batches are shared between the processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")

ROOT = Path(__file__).parents[2]
SHARINGS = ("shard", "split", "dispatch", "split dispatch")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes saw."""
    folder = tmp_path_factory.mktemp("accelerate")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "tests.adapters.accelerate_modes", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == two
    return one


def updates(sharing, accumulate):
    """Updates in an epoch of 8 batches: with `split` each batch is halved, otherwise each process takes every other."""
    return (8 if "split" in sharing else 4) // accumulate


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_scheduler_of_ones_own_counts_updates(found, sharing, accumulate):
    assert found[f"own {sharing} {accumulate}"] == list(range(updates(sharing, accumulate)))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_prepared_scheduler_counts_the_steps_of_one_process_unless_batches_are_split(found, sharing, accumulate):
    stride = 1 if "split" in sharing else 2  # Accelerate steps it once for each process
    assert found[f"prepared {sharing} {accumulate}"] == [stride * n for n in range(updates(sharing, accumulate))]
