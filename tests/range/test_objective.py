"""Losses that are not what the optimizer minimises are named as what they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive
from cyclr._range.objective import kind_of

SEEDS = st.integers(0, 10_000)
RATES = np.geomspace(1e-6, 10, 100)


def falling(seed, steps=80, noise=0.1):
    """The losses of a sweep that falls and rises again."""
    at = np.linspace(0, 1, steps)
    return 2 - np.sin(np.pi * at) + noise * np.random.default_rng(seed).normal(size=steps)


@given(SEEDS, st.floats(1e-3, 1e3), st.floats(0, 2))
def test_a_loss_is_what_is_minimised_whatever_its_factor_and_the_noise(seed, factor, noise):
    losses = falling(seed, noise=noise)
    assert kind_of(losses, (factor * losses)[:, None], optimizers=1) == ""


@given(SEEDS)
def test_a_loss_without_its_penalty_or_as_a_running_mean_goes_with_what_is_minimised(seed):
    losses = falling(seed)
    penalised = losses + np.linspace(0.1, 0.3, len(losses))
    smooth = [losses[0]]
    for loss in losses[1:]:
        smooth.append(0.8 * smooth[-1] + 0.2 * loss)
    assert kind_of(losses, penalised[:, None], optimizers=1) == ""
    assert kind_of(smooth, losses[:, None], optimizers=1) == ""


@given(SEEDS, st.integers(2, 6))
def test_the_sum_of_all_or_one_of_several_batches_of_a_step_is_minimised(seed, several):
    parts = np.stack([falling(seed + 20_000 * number) for number in range(several)], 1)
    for reported in (parts.sum(1), parts.mean(1), parts[:, 0], parts[:, -1]):
        assert kind_of(reported, parts, optimizers=1) == ""


@given(SEEDS)
def test_a_value_that_changes_by_itself_or_against_what_is_minimised_is_something_else(seed):
    losses, reward = falling(seed), falling(seed + 20_000, noise=0.3)
    assert kind_of(losses, -losses[:, None], optimizers=1) == "other"
    assert kind_of(reward, np.random.default_rng(seed).normal(size=(80, 1)), optimizers=1) == "other"
    assert kind_of(reward, (losses - 2 * reward)[:, None], optimizers=1) == "other"  # both may fall and rise once


@given(SEEDS)
def test_one_of_two_losses_that_work_against_each_other_is_one_side(seed):
    critic = falling(seed)
    generator = 3 - critic + 0.05 * np.random.default_rng(seed).normal(size=80)
    both = np.stack([critic, generator], 1)
    assert kind_of(critic, both, optimizers=2) == "one side"
    assert kind_of(critic + generator, both, optimizers=2) == ""
    assert kind_of(critic, both, optimizers=1) == ""
    student = np.stack([critic, critic + 0.01], 1)
    assert kind_of(critic, student, optimizers=2) == ""  # it goes with the other


@pytest.mark.parametrize(
    ("reported", "differentiated"),
    [
        ([1.0, 2.0], [[3.0], [1.0]]),
        ([], []),
        (np.arange(50.0), [[]] * 50),
        (np.ones(50), np.random.default_rng(0).normal(size=(50, 1))),
        (np.full(50, np.nan), np.ones((50, 1))),
    ],
)
def test_where_too_little_is_known_nothing_is_said(reported, differentiated):
    assert kind_of(reported, differentiated, optimizers=1) == ""


def curve(kind):
    return Curve(RATES, 2 - 1.5 / (1 + (1e-3 / RATES) ** 2) + RATES**2, loss_kind=kind)


def test_a_value_that_is_not_minimised_is_no_answer_but_names_a_rate():
    plain = curve("").bounds()
    with pytest.raises(Inconclusive, match="does not minimise, such as a reward") as found:
        curve("other").bounds()
    assert found.value.fallback == plain.max_lr
    assert "bounds('reward')" in str(found.value)


def test_one_side_has_bounds_without_an_interval_which_are_named():
    plain, side = curve("").bounds(), curve("one side").bounds()
    assert (side.base_lr, side.max_lr, side.max_repeat) == (plain.base_lr, plain.max_lr, plain.max_repeat)
    assert side.max_interval is side.base_interval is None
    assert "one side of a GAN" in side.evidence[-1]


def test_a_metric_beside_such_a_loss_is_read_as_ever():
    values = 2 - 1.5 / (1 + (1e-3 / RATES) ** 2) + RATES**2
    beside = Curve(RATES, np.ones(100), {"reward": -values[None]}, maximize={"reward"}, loss_kind="other")
    assert beside.bounds("reward").max_lr == Curve(RATES, values).bounds().max_lr


def test_the_kind_is_saved_and_a_curve_of_an_earlier_version_has_none(tmp_path):
    curve("other").save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").loss_kind == "other"
    text = (tmp_path / "curve.json").read_text().replace(', "loss_kind": "other"', "")
    (tmp_path / "curve.json").write_text(text)
    assert Curve.load(tmp_path / "curve.json").loss_kind == ""
    with pytest.raises(ValueError, match="loss_kind must be one of"):
        curve("reward")
