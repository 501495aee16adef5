"""Two real processes train one model: one curve for both, and no trace in either."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import forked

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    written = forked.ranks("-m", "tests.torch.processes", needs=forked.TORCH)
    return [json.loads(out.splitlines()[-1]) for out in written]


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
    assert one["seconds"] == other["seconds"] > 0, "plans of different lengths would leave a process waiting"


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_all_stop_together_when_the_loss_of_one_is_no_number(found: list[dict[str, Any]], kind: str) -> None:
    one, other = found[0][kind], found[1][kind]
    assert one["stops"] == other["stops"] == ["end", "non-finite"]
    assert one["calls"] == other["calls"] == 50


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_no_process_judges_by_itself_what_is_minimised(found: list[dict[str, Any]], kind: str) -> None:
    assert [one[kind]["loss_kind"] for one in found] == ["", ""]


def test_memory_is_one_further_copy_of_the_share_of_a_process(found: list[dict[str, Any]]) -> None:
    for one in found:
        if one["memory"] is None:
            pytest.skip("reads Linux's account of memory")
        added, copied = one["memory"]
        assert 0.9 * copied < added < 1.1 * copied
