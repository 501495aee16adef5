"""Random schedules of every kind, and one plain example of each."""

from hypothesis import strategies as st

import cyclr

rates = st.floats(1e-8, 10.0)
sizes = st.integers(1, 5_000)
scales = st.sampled_from(["linear", "log"])


@st.composite
def bounds(draw):
    return tuple(sorted((draw(rates), draw(rates))))


@st.composite
def wave_arguments(draw):
    base_lr, max_lr = draw(bounds())
    return {
        "base_lr": base_lr,
        "max_lr": max_lr,
        "step_size": draw(sizes),
        "step_size_down": draw(st.none() | sizes),
        "scale": draw(scales),
    }


@st.composite
def waves(draw):
    arguments = draw(wave_arguments())
    kind = draw(st.sampled_from([cyclr.Triangular, cyclr.Triangular2, cyclr.Welch, cyclr.Hann, cyclr.ExpRange]))
    if kind is cyclr.ExpRange:
        arguments |= {
            "gamma": draw(st.floats(0.9, 1.0)),
            "decay": draw(st.sampled_from(["amplitude", "bounds"])),
        }
    return kind(**arguments)


@st.composite
def restarts(draw):
    low, high = draw(bounds())
    return cyclr.WarmRestarts(low, high, period=draw(sizes), growth=draw(st.integers(1, 4)))


@st.composite
def pieces(draw):
    kind = draw(st.sampled_from([cyclr.Linear, cyclr.Cosine, cyclr.Exponential, cyclr.Power, cyclr.Rex, cyclr.Sqrt]))
    return kind(draw(rates), draw(rates), steps=draw(sizes))


endless_leaves = (
    waves() | restarts() | st.builds(cyclr.Constant, rates) | st.builds(cyclr.InverseSqrt, rates, timescale=sizes)
)
leaves = endless_leaves | pieces()


def _combine(children):
    finite = children.map(lambda child: child if child.duration < float("inf") else child.take(700))
    return (
        st.builds(lambda a, b: a >> b, finite, children)
        | st.builds(lambda factor, a: factor * a, st.floats(1e-3, 10.0), children)
        | st.builds(lambda a, n: a.take(n), children, sizes)
        | st.builds(lambda a, n: a.repeat(n), finite, st.none() | st.integers(1, 50))
        | st.builds(lambda a: cyclr.Opposed(a, 0.8, 0.95), waves().filter(lambda a: a.base_lr < a.max_lr))
    )


schedules = st.recursive(leaves, _combine, max_leaves=4)
finite_or_taken = schedules.map(lambda schedule: schedule if schedule.duration < float("inf") else schedule.take(700))
steps = st.integers(0, 30_000) | st.integers(0, 2**53 - 1)

EXAMPLES = (
    cyclr.Triangular(0.001, 0.006, step_size=2000),
    cyclr.Triangular(0.001, 0.006, step_size=3, step_size_down=41, scale="log"),
    cyclr.Triangular2(0.001, 0.006, step_size=200),
    cyclr.ExpRange(0.001, 0.006, step_size=200, gamma=0.99994),
    cyclr.ExpRange(0.001, 0.006, step_size=200, gamma=0.99994, decay="bounds"),
    cyclr.Welch(0.001, 0.006, step_size=200),
    cyclr.Hann(0.001, 0.006, step_size=200),
    cyclr.WarmRestarts(0.001, 0.006, period=300),
    cyclr.WarmRestarts(0.001, 0.006, period=30, growth=3),
    cyclr.Constant(0.1),
    cyclr.Linear(0, 0.1, steps=1000),
    cyclr.Cosine(0.1, 0, steps=1000),
    cyclr.Exponential(1e-5, 0.1, steps=1000),
    cyclr.Power(0.1, 0, steps=1000, power=3),
    cyclr.Rex(0.1, 0, steps=1000),
    cyclr.Sqrt(0.1, 0, steps=1000),
    cyclr.InverseSqrt(0.1, timescale=100),
    cyclr.Linear(0, 0.1, steps=100) >> cyclr.Triangular(0.1, 0.5, step_size=40),
    0.1 * cyclr.Triangular(0.1, 0.5, step_size=40),
    cyclr.WarmRestarts(0.001, 0.006, period=300).take(900),
    cyclr.Cosine(0.1, 0, steps=100).repeat(5),
    cyclr.Cosine(0.1, 0, steps=100).repeat(),
    cyclr.Opposed(cyclr.Triangular(0.1, 0.5, step_size=40), 0.85, 0.95),
    cyclr.one_cycle(0.1, steps=1000),
    cyclr.step_decay(0.1, milestones=(600, 800)),
    cyclr.wsd(0.1, steps=1000),
    cyclr.cool_down(cyclr.warm_up(cyclr.Constant(0.1), steps=100), start=700, steps=300),
)
