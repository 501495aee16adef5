"""What is refused, and in which words."""

import math

import numpy as np
import pytest

import cyclr

NOT_NUMBERS = (True, "0.1", None, [0.1], 1j)
NOT_FINITE = (math.nan, math.inf, -math.inf)
WAVES = (
    cyclr.Triangular,
    cyclr.Triangular2,
    cyclr.Welch,
    cyclr.Hann,
    lambda *bounds, **words: cyclr.ExpRange(*bounds, **({"gamma": 0.9} | words)),
)
PIECES = (cyclr.Linear, cyclr.Cosine, cyclr.Exponential, cyclr.Power, cyclr.Rex, cyclr.Sqrt)


@pytest.mark.parametrize("wave", WAVES)
def test_waves_refuse_bad_bounds(wave):
    for bad in NOT_NUMBERS:
        with pytest.raises(TypeError, match="base_lr must be a number, got"):
            wave(bad, 1, step_size=5)
        with pytest.raises(TypeError, match="max_lr must be a number, got"):
            wave(0.1, bad, step_size=5)
    for bad in NOT_FINITE:
        with pytest.raises(ValueError, match="must be finite, got"):
            wave(bad, 1, step_size=5)
        with pytest.raises(ValueError, match="must be finite, got"):
            wave(0.1, bad, step_size=5)
    with pytest.raises(ValueError, match=r"base_lr must not be negative, got -0\.1"):
        wave(-0.1, 1, step_size=5)
    with pytest.raises(ValueError, match="max_lr must be positive, got 0"):
        wave(0, 0, step_size=5)
    with pytest.raises(ValueError, match=r"base_lr must not exceed max_lr, got base_lr=1\.0 and max_lr=0\.1; swap"):
        wave(1, 0.1, step_size=5)
    with pytest.raises(ValueError, match="base_lr must be positive, got 0; a logarithmic wave cannot reach 0"):
        wave(0, 0.1, step_size=5, scale="log")
    with pytest.raises(ValueError, match="scale must be one of 'linear', 'log', got 'logg'; did you mean 'log'"):
        wave(0.1, 1, step_size=5, scale="logg")


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("name", ["step_size", "step_size_down"])
def test_waves_refuse_bad_sizes(wave, name):
    for bad in (2.0, True, "5", math.nan):
        with pytest.raises(TypeError, match=f"{name} must be a positive integer, got"):
            wave(0.1, 1, **({"step_size": 5} | {name: bad}))
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer, got {bad}"):
            wave(0.1, 1, **({"step_size": 5} | {name: bad}))


def test_exp_range_refuses_a_gamma_that_does_not_decay():
    for bad in (0, -0.5, 1.01, math.nan):
        with pytest.raises(ValueError, match="gamma must"):
            cyclr.ExpRange(0.1, 1, step_size=5, gamma=bad)
    with pytest.raises(ValueError, match="decay must be one of 'amplitude', 'bounds', got 'bound'; did you mean"):
        cyclr.ExpRange(0.1, 1, step_size=5, gamma=0.9, decay="bound")


@pytest.mark.parametrize("piece", PIECES)
def test_pieces_refuse_bad_values(piece):
    for bad in NOT_NUMBERS:
        with pytest.raises(TypeError, match="must be a number, got"):
            piece(bad, 1, steps=5)
    for bad in (*NOT_FINITE, -1):
        with pytest.raises(ValueError, match="end must"):
            piece(1, bad, steps=5)
    for bad in (0, -3):
        with pytest.raises(ValueError, match="steps must be a positive integer"):
            piece(1, 0.5, steps=bad)
    for bad in (1.5, True, None):
        with pytest.raises(TypeError, match="steps must be a positive integer"):
            piece(1, 0.5, steps=bad)


def test_the_other_formulas_refuse_bad_values():
    with pytest.raises(ValueError, match=r"end must be positive, got 0\.0; an exponential never reaches 0"):
        cyclr.Exponential(1, 0, steps=5)
    with pytest.raises(ValueError, match="power must be positive"):
        cyclr.Power(1, 0, steps=5, power=0)
    with pytest.raises(ValueError, match="level must not be negative"):
        cyclr.Constant(-1)
    with pytest.raises(ValueError, match="start must be positive"):
        cyclr.InverseSqrt(0, timescale=5)
    with pytest.raises(TypeError, match="growth must be a positive integer"):
        cyclr.WarmRestarts(0, 1, period=5, growth=1.5)
    with pytest.raises(ValueError, match="min_lr must not exceed max_lr"):
        cyclr.WarmRestarts(2, 1, period=5)


def test_operators_refuse_what_cannot_be_combined():
    endless, finite = cyclr.Constant(1), cyclr.Linear(1, 0, steps=5)
    with pytest.raises(
        ValueError, match=r"only the last part .* may be endless, got Constant\(1.0\); bound it with .take"
    ):
        _ = endless >> finite
    with pytest.raises(TypeError):
        _ = finite >> 0.1
    with pytest.raises(TypeError, match=r"a part of a sequence must be a schedule, got 0.1; .* Constant\(rate\)"):
        cyclr.Sequential(finite, 0.1)
    with pytest.raises(ValueError, match="at least two parts"):
        cyclr.Sequential(finite)
    with pytest.raises(ValueError, match="must have an end"):
        endless.repeat(2)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="must be a positive integer"):
            finite.take(bad)
        with pytest.raises(ValueError, match="must be a positive integer"):
            finite.repeat(bad)
        with pytest.raises(ValueError, match="factor must be positive"):
            _ = bad * finite
    with pytest.raises(TypeError, match="factor must be a number"):
        _ = True * finite
    with pytest.raises(TypeError):
        _ = finite * finite
    with pytest.raises(ValueError, match="the schedule to oppose must not be constant"):
        cyclr.Opposed(endless, 0.8, 0.9)
    with pytest.raises(ValueError, match="low must not exceed high"):
        cyclr.Opposed(finite, 0.9, 0.8)


def test_numpy_scalars_become_plain_numbers():
    schedule = cyclr.Triangular(np.float64(0.1), np.float32(0.5), step_size=np.int64(4))
    assert repr(schedule) == "Triangular(0.1, 0.5, step_size=4)"
    assert type(schedule.base_lr) is float
    assert type(schedule.step_size) is int


def test_equal_halves_are_the_same_schedule_however_they_are_written():
    assert cyclr.Triangular(0.1, 1, step_size=4, step_size_down=4) == cyclr.Triangular(0.1, 1, step_size=4)
