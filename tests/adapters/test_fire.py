"""Signals at random moments, a few for each framework; `make fire` sends 1,000."""

import csv
import importlib.util
import os

import pytest

from tests import forked

FRAMEWORKS = {"torch": "torch", "lightning": "lightning", "transformers": "transformers", "jax": "jax",
              "keras:torch": "keras", "keras:jax": "keras"}  # fmt: skip
NEEDS = {"lightning": forked.LIGHTNING, "transformers": forked.TRAINER, "jax": (), "keras": forked.KERAS}


@pytest.mark.parametrize("one", FRAMEWORKS)
def test_everything_is_restored_whatever_signal_arrives(one):
    name, _, backend = one.partition(":")
    if any(importlib.util.find_spec(need) is None for need in (FRAMEWORKS[one], backend or "torch")):
        pytest.skip(f"{one} not installed")
    environment = os.environ | ({"KERAS_BACKEND": backend} if backend else {})
    command = ["-m", "tests.adapters.fire", name, "4", "1"]  # one signal of each kind
    done = forked.run(*command, needs=NEEDS.get(name, forked.TORCH), env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not restored: 0" in done.stdout


def test_the_page_says_what_the_record_holds():
    rows = list(csv.DictReader((forked.ROOT / "bench/records/fire.csv").read_text().splitlines()))
    sums = {name: sum(int(row[name]) for row in rows) for name in rows[0] if name != "framework"}
    assert len(rows) == len(FRAMEWORKS)
    assert all(int(row["in_the_restore"]) > 0 for row in rows)
    said = (
        f"of {sums['sent']:,} signals (Ctrl-C once and twice, a termination whose handler raises, a killed worker), "
        f"{sums['in_the_test']} arrived in a test, {sums['in_the_restore']} in its restore and {sums['while_noting']} "
        f"while it noted the state; everything was restored after all of them"
    )
    assert sums["not_restored"] == 0
    assert said in (forked.ROOT / "docs/frameworks/torch.md").read_text()
