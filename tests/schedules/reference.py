"""Slow, obvious statements of the formulas, in exact fractions or straight from the papers. Nothing of src is used."""

import math
from fractions import Fraction


def triangular(t, base, top, up, down=None):
    """Walk along the wave in exact arithmetic."""
    down = down or up
    phase = Fraction(t) - (t // (up + down)) * (up + down)
    height = phase / up if phase <= up else 1 - (phase - up) / down
    return float(Fraction(base) + (Fraction(top) - Fraction(base)) * height)


def paper(t, base, top, s, amplitude=lambda cycle, t: 1.0):
    """Section 3.1 of the paper, in its own words (cycle counted from 1)."""
    cycle = math.floor(1 + t / (2 * s))
    x = abs(t / s - 2 * cycle + 1)
    return base + (top - base) * max(0.0, 1 - x) * amplitude(cycle, t)


def triangular2(t, base, top, s):
    return paper(t, base, top, s, lambda cycle, t: 1 / 2 ** (cycle - 1))


def exp_range_amplitude(t, base, top, s, gamma):
    return paper(t, base, top, s, lambda cycle, t: gamma**t)


def exp_range_bounds(t, base, top, s, gamma):
    return gamma**t * paper(t, base, top, s)


def window(t, base, top, s, shape):
    """Welch and Hann windows on a support of 2s."""
    u = 2 * (t % (2 * s)) / (2 * s) - 1
    height = 1 - u**2 if shape == "welch" else 0.5 * (1 + math.cos(math.pi * u))
    return base + (top - base) * height


def warm_restarts(t, low, high, period, growth):
    """Count the cycles off, one by one."""
    while t >= period:
        t -= period
        period *= growth
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * t / period))


def piece(name, t, start, end, steps, power=2.0):
    u = min(t, steps) / steps
    return {
        "Linear": lambda: start + (end - start) * u,
        "Cosine": lambda: end + (start - end) * (1 + math.cos(math.pi * u)) / 2,
        "Exponential": lambda: math.exp(math.log(start) + (math.log(end) - math.log(start)) * u),
        "Power": lambda: end + (start - end) * (1 - u) ** power,
        "Rex": lambda: end + (start - end) * (1 - u) / (0.5 + 0.5 * (1 - u)),
        "Sqrt": lambda: end + (start - end) * (1 - math.sqrt(u)),
    }[name]()
