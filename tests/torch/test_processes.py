"""Two real processes train one model: one curve for both, and no trace in either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    store = tmp_path_factory.mktemp("processes") / "store"
    command = [sys.executable, "-m", "tests.torch.processes", str(store)]
    # Otherwise glibc keeps some of what is given back, and the peak of memory says nothing.
    options: Any = {"cwd": ROOT, "env": os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}, "text": True}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen([*command, str(rank)], **options) for rank in range(2)]
    results = []
    for process in both:
        out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        results.append(json.loads(out.splitlines()[-1]))
    return results


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_every_process_is_as_it_was(found: list[dict[str, Any]], kind: str) -> None:
    assert found[0][kind]["kept"]
    assert found[1][kind]["kept"]


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_the_curve_is_the_mean_and_the_same_for_all(found: list[dict[str, Any]], kind: str) -> None:
    one, other = found[0][kind], found[1][kind]
    means = [(first + second) / 2 for first, second in zip(one["alone"], other["alone"], strict=True)]
    assert one["losses"] == other["losses"] == pytest.approx(means, rel=1e-5)
    assert one["accuracy"] == other["accuracy"]


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_all_stop_together_when_the_loss_of_one_is_no_number(found: list[dict[str, Any]], kind: str) -> None:
    one, other = found[0][kind], found[1][kind]
    assert one["stops"] == other["stops"] == ["end", "non-finite"]
    assert one["calls"] == other["calls"] == 50


def test_memory_is_one_further_copy_of_the_share_of_a_process(found: list[dict[str, Any]]) -> None:
    for one in found:
        if one["memory"] is None:
            pytest.skip("reads Linux's account of memory")
        added, copied = one["memory"]
        assert 0.9 * copied < added < 1.1 * copied
