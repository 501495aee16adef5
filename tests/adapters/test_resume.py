"""50 steps, a save, a new process, 50 steps more: what 100 steps in a row give."""

import numpy as np
import pytest

from tests.adapters.frameworks import HALF, WAVE


def test_a_training_goes_on_in_a_new_process_as_if_nothing_had_been(record):
    whole = np.load(record / "whole" / f"0-{2 * HALF}.npz")
    first = np.load(record / "halves" / f"0-{HALF}.npz")
    second = np.load(record / "halves" / f"{HALF}-{2 * HALF}.npz")
    assert np.concatenate([first["rates"], second["rates"]]).tolist() == whole["rates"].tolist()
    assert second["weights"].tolist() == whole["weights"].tolist()  # to the last bit
    assert whole["rates"] == pytest.approx(WAVE(np.arange(2 * HALF)), rel=1e-6)
    assert whole["weights"] == pytest.approx([1, 1, 1], abs=0.05)  # it did learn
