"""A schedule inside JAX's transformations and Optax's optimizers, and the range test."""

import functools
import itertools
import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

import cyclr
from cyclr import _rng

jax = pytest.importorskip("jax", reason="JAX is not installed")
optax = pytest.importorskip("optax", reason="Optax is not installed")
jnp = jax.numpy
from cyclr.jax import range_test  # noqa: E402 - needs the two above
from cyclr.jax._training import moments  # noqa: E402

pytestmark = pytest.mark.usefixtures("quickly_compiled")

WAVE = cyclr.Triangular(0.001, 0.006, step_size=7)
SLOW = cyclr.WarmRestarts(0.0, 0.01, period=5, growth=2)
STEPS = 60


def rates_that(optimizer, names=("w",)):
    """The rates at which parameters move when their gradient is one: what the optimizer really used."""

    def body(carry, _):
        parameters, state = carry
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, parameters), state, parameters)
        return (optax.apply_updates(parameters, updates), state), updates

    parameters = {name: jnp.zeros(()) for name in names}
    _, updates = jax.lax.scan(body, (parameters, optimizer.init(parameters)), length=STEPS)
    return {name: -np.asarray(value) for name, value in updates.items()}


def expected(schedule):
    return pytest.approx([schedule(step) for step in range(STEPS)], rel=1e-5)


@pytest.mark.parametrize("schedule", [WAVE, SLOW, cyclr.one_cycle(0.1, steps=50)], ids=repr)
def test_a_schedule_goes_straight_into_an_optimizer_inside_scan(schedule):
    assert rates_that(optax.sgd(learning_rate=schedule))["w"] == expected(schedule)


def test_a_schedule_drives_an_optimizer_under_jit():
    optimizer = optax.sgd(learning_rate=WAVE)
    parameter = jnp.zeros(())
    state, update = optimizer.init(parameter), jax.jit(optimizer.update)
    used = []
    for _ in range(STEPS):
        change, state = update(jnp.ones(()), state)
        used.append(-float(change))
    assert used == expected(WAVE)
    assert update._cache_size() == 1  # compiled once for all steps


def test_schedules_drive_any_hyperparameter_through_inject_hyperparams():
    momentum = cyclr.Opposed(WAVE, 0.85, 0.95)
    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=WAVE, b1=momentum, weight_decay=SLOW)
    parameter = jnp.zeros(())
    state, update = optimizer.init(parameter), jax.jit(optimizer.update)
    used = []
    for _ in range(STEPS):
        _, state = update(jnp.ones(()), state, parameter)
        used.append([float(state.hyperparams[name]) for name in ("learning_rate", "b1", "weight_decay")])
    for column, schedule in zip(zip(*used, strict=True), (WAVE, momentum, SLOW), strict=True):
        assert list(column) == expected(schedule)


def test_each_group_of_a_multi_transform_has_its_own_schedule():
    optimizer = optax.multi_transform(
        {"body": optax.sgd(0.1 * WAVE), "head": optax.sgd(SLOW)}, {"w": "body", "v": "head"}
    )
    used = rates_that(optimizer, ("w", "v"))
    assert used["w"] == expected(0.1 * WAVE)
    assert used["v"] == expected(SLOW)


def test_a_schedule_can_be_mapped_over_steps():
    assert np.asarray(jax.jit(jax.vmap(SLOW))(jnp.arange(STEPS))) == expected(SLOW)


def test_the_rate_can_be_differentiated_at_real_steps():
    slope = jax.grad(lambda step: WAVE(step))(2.5)
    assert float(slope) == pytest.approx(0.005 / 7, rel=1e-5)


@pytest.mark.parametrize(
    "of_cycles",
    [
        lambda n: cyclr.Triangular(0.001, 0.006, step_size=50).take(100 * n),
        lambda n: cyclr.Triangular2(0.001, 0.006, step_size=50).take(100 * n),
        lambda n: cyclr.Linear(1.0, 0.1, steps=100).repeat(n),
        lambda n: (cyclr.Linear(0.0, 1.0, steps=10) >> cyclr.Cosine(1.0, 0.1, steps=90)).repeat(n),
        lambda n: cyclr.WarmRestarts(0.0, 1.0, period=100).take(100 * n),
    ],
    ids=["triangular", "triangular2", "repeat", "repeated sequence", "restarts"],
)
def test_the_traced_program_does_not_grow_with_the_number_of_cycles(of_cycles):
    few, many = of_cycles(3), of_cycles(3_000_000)
    programs = [jax.jit(schedule).lower(jnp.int32(0)).as_text() for schedule in (few, many)]
    assert programs[0].count("\n") == programs[1].count("\n") < 200
    equations = [len(jax.make_jaxpr(schedule)(jnp.int32(0)).eqns) for schedule in (few, many)]
    assert equations[0] == equations[1]
    assert float(jax.jit(many)(jnp.int32(250_000_070))) == pytest.approx(many(250_000_070), rel=1e-5)


ON_TWO_DEVICES = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import cyclr
from cyclr.jax import range_test

schedule = cyclr.parse(sys.argv[1])
devices = jax.devices()
assert len(devices) == 2, devices
steps = np.arange(60)
mesh = Mesh(np.array(devices), ("d",))
with_pmap = jax.pmap(jax.vmap(schedule))(steps.reshape(2, 30)).reshape(-1)
with_shard_map = jax.jit(jax.shard_map(schedule, mesh=mesh, in_specs=P("d"), out_specs=P("d")))(jnp.asarray(steps))

def parallel_sgd(x):  # data parallel: each device has its examples, the gradient is their mean
    optimizer = optax.sgd(schedule)
    def step(carry, _):
        w, state = carry
        gradient = jax.lax.pmean(jnp.mean(x), "d")
        change, state = optimizer.update(gradient, state)
        return (w + change, state), -change
    return jax.lax.scan(step, (jnp.zeros(()), optimizer.init(jnp.zeros(()))), length=60)[1]

used = jax.pmap(parallel_sgd, axis_name="d")(np.array([[0.5, 0.5], [1.5, 1.5]]))

def step(w, batch, lr):
    loss, slope = jax.value_and_grad(lambda w: jnp.mean((batch @ w - batch.sum(1)) ** 2))(w)
    return w - lr * slope, loss
batches = np.random.default_rng(0).normal(size=(20, 8, 3)).astype(np.float32)
shared = jax.device_put(batches, NamedSharding(mesh, P(None, "d")))  # the examples of each batch on both devices
curves = [range_test(step, jnp.zeros(3), one, ramp=cyclr.Ramp(low=1e-4, steps=40)).losses for one in (batches, shared)]
np.testing.assert_allclose(*curves, rtol=1e-4)
print(json.dumps([with_pmap.tolist(), with_shard_map.tolist(), used[0].tolist(), used[1].tolist()]))
"""


def test_two_devices_use_the_same_rates_under_pmap_and_shard_map():
    command = [sys.executable, "-W", "error", "-c", ON_TWO_DEVICES, repr(SLOW)]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for rates in json.loads(result.stdout):
        assert rates == expected(SLOW)


# ---------------------------------------------------------------- the numbers of Optax's own tests


def linear_one_cycle():
    return cyclr.one_cycle(1000, steps=10, base_lr=100, end_lr=1, rise=0.3, tail=0.3, shape="linear")


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (linear_one_cycle(), [100, 400, 700, 1000, 775, 550, 325, 100, 67, 34, 1, 1]),
        (cyclr.one_cycle(1000, steps=5, base_lr=100, end_lr=1, rise=0.4), [100, 550, 1000, 750.25, 250.75, 1, 1]),
        (
            cyclr.Linear(200, 300, steps=5) >> cyclr.Linear(300, 75, steps=5),
            [200, 220, 240, 260, 280, 300, 255, 210, 165, 120, 75, 75, 75],
        ),
        (
            cyclr.Cosine(400, 240, steps=3) >> cyclr.Cosine(240, 288, steps=2) >> cyclr.Constant(288),
            [400, 360, 280, 240, 264, 288, 288, 288, 288],
        ),
    ],
    ids=["linear one-cycle", "cosine one-cycle", "linear pieces", "cosine pieces"],
)
def test_number_sequences_of_optax_schedules(schedule, values):
    assert [float(jax.jit(schedule)(step)) for step in range(len(values))] == pytest.approx(values, abs=1e-3)


@pytest.mark.parametrize("peaks", [(1.6, 0.8, 0.4), (1.6, 1.6, 1.6)], ids=["with step decay", "without"])
def test_optax_restarts_with_warm_up_have_their_peaks_where_optax_has_them(peaks):
    cycles = [
        cyclr.warm_up(cyclr.Cosine(peak, 0, steps=length - 500), steps=500)
        for peak, length in zip(peaks, (2000, 3000, 5000), strict=True)
    ]
    schedule = jax.jit(cycles[0] >> cycles[1] >> cycles[2])
    assert [float(schedule(step)) for step in (500, 2500, 5500)] == pytest.approx(peaks)


def test_optax_functions_give_the_same_curves():
    steps = jnp.arange(1500)
    pairs = [
        (optax.cosine_decay_schedule(0.1, 1000), cyclr.Cosine(0.1, 0, steps=1000)),
        (optax.polynomial_schedule(0.1, 0.01, 3, 1000), cyclr.Power(0.1, 0.01, steps=1000, power=3)),
        (optax.linear_schedule(0.1, 0.01, 1000), cyclr.Linear(0.1, 0.01, steps=1000)),
        (optax.linear_onecycle_schedule(1000, 1000, 0.3, 0.7, 10, 100),
         cyclr.one_cycle(1000, steps=1000, base_lr=100, end_lr=1, rise=0.3, tail=0.3, shape="linear")),
    ]  # fmt: skip
    for theirs, ours in pairs:
        reference = np.asarray(jax.vmap(theirs)(steps))
        np.testing.assert_allclose(ours(np.arange(1500)), reference, atol=2e-6 * reference.max())


# ---------------------------------------------------------------- the range test

BATCHES = np.random.default_rng(0).normal(size=(30, 8, 3)).astype(np.float32)


def squares(w, x):
    return jnp.mean((x @ w - x.sum(1)) ** 2)


def sgd(w, x, lr):
    loss, slope = jax.value_and_grad(squares)(w, x)
    return w - lr * slope, loss


def by_hand(w, batches, rates):
    """The same test in NumPy, with the gradient written out."""
    losses = []
    for x, lr in zip(batches, rates, strict=False):
        error = x @ w - x.sum(1)
        losses.append((error**2).mean())
        w = w - lr * 2 * x.T @ error / len(x)
    return losses


def test_the_losses_are_those_of_plain_gradient_descent():
    curve = range_test(sgd, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=25), repeats=1)
    assert curve.rates == pytest.approx(np.geomspace(1e-3, 0.1, 25))
    assert curve.losses[0] == pytest.approx(by_hand(np.zeros(3), BATCHES, curve.rates), rel=1e-4)
    assert curve.stops == ("end",)


def test_a_linear_ramp_raises_the_rate_evenly():
    curve = range_test(sgd, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(0, 0.1, steps=25, scale="linear"), repeats=1)
    assert curve.rates == pytest.approx(np.linspace(0, 0.1, 25))
    assert curve.losses[0] == pytest.approx(by_hand(np.zeros(3), BATCHES, curve.rates), rel=1e-4)


def test_each_repeat_begins_elsewhere_in_the_batches_and_uses_them_over_again():
    curve = range_test(sgd, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=50), repeats=3)
    for start, losses in zip((0, 10, 20), curve.losses, strict=True):
        batches = np.roll(np.concatenate([BATCHES] * 3), -start, axis=0)
        assert losses == pytest.approx(by_hand(np.zeros(3), batches, curve.rates), rel=1e-3, abs=1e-5)


def test_a_list_of_batches_gives_what_one_compiled_ramp_gives():
    options = {"ramp": cyclr.Ramp(1e-4, 10.0, steps=80), "repeats": 1}
    at_once = range_test(sgd, jnp.zeros(3), BATCHES, **options)
    one_by_one = range_test(sgd, jnp.zeros(3), list(BATCHES), **options)
    np.testing.assert_allclose(one_by_one.losses, at_once.losses, rtol=1e-4)
    assert one_by_one.stops == at_once.stops == ("diverged",)


def test_batches_may_be_a_pytree_and_a_loader_may_have_a_short_last_batch():
    def step(w, batch, lr):
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((batch["x"] @ w - batch["y"]) ** 2))(w)
        return w - lr * slope, loss

    whole = {"x": BATCHES, "y": BATCHES.sum(2)}
    curve = range_test(step, jnp.zeros(3), whole, ramp=cyclr.Ramp(1e-3, 0.1, steps=25), repeats=1)
    np.testing.assert_allclose(curve.losses[0], by_hand(np.zeros(3), BATCHES, curve.rates), rtol=1e-4)

    class Loader:
        def __iter__(self):
            yield {"x": BATCHES[0], "y": BATCHES[0].sum(1)}
            yield {"x": BATCHES[1, :5], "y": BATCHES[1, :5].sum(1)}

    curve = range_test(step, jnp.zeros(3), Loader(), ramp=cyclr.Ramp(1e-3, 0.1, steps=9), repeats=2)
    batches = [BATCHES[0], BATCHES[1, :5]] * 10
    assert curve.losses[0] == pytest.approx(by_hand(np.zeros(3), batches, curve.rates), rel=1e-4)
    assert curve.losses[1] == pytest.approx(by_hand(np.zeros(3), batches[9:], curve.rates), rel=1e-4)


def test_stacked_states_are_several_seeds_at_once():
    states = jax.vmap(lambda key: jax.random.normal(key, (3,)))(jax.random.split(jax.random.key(1), 3))
    same = np.stack([BATCHES[0]])  # one batch: what differs is the seed
    options = {"ramp": cyclr.Ramp(1e-4, 1.0, steps=30)}
    together = range_test(sgd, states, same, **options, repeats=3, stacked=True)
    in_turn = range_test(sgd, states, list(same), **options, repeats=3, stacked=True)
    for repeat, state in enumerate(states):
        alone = range_test(sgd, state, same, **options, repeats=1)
        np.testing.assert_allclose(together.losses[repeat], alone.losses[0], rtol=1e-4)
        np.testing.assert_allclose(in_turn.losses[repeat], alone.losses[0], rtol=1e-4)
    assert len(set(together.losses[:, 0].tolist())) == 3


def test_a_ramp_ends_where_it_diverges_and_beyond_is_no_evidence():
    curve = range_test(sgd, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-4, 1e4, steps=100))
    assert set(curve.stops) <= {"diverged", "non-finite"}
    for row in curve.losses:
        end = np.isfinite(row).sum()
        assert end < 100
        assert np.isnan(row[end:]).all()
    bounds = curve.bounds()
    assert 1e-4 < bounds.base_lr < bounds.max_lr < 1.5  # plain descent on squares diverges a little above 1


def test_the_state_is_as_it_was():
    state = {"w": jnp.zeros(3), "key": jax.random.key(0), "step": np.zeros((), np.int32)}

    def step(state, x, lr):
        w, loss = sgd(state["w"], x, lr)
        return {"w": w, "key": jax.random.split(state["key"])[0], "step": state["step"] + 1}, loss

    for batches in (BATCHES, list(BATCHES)):
        range_test(step, state, batches, ramp=cyclr.Ramp(1e-3, 0.1, steps=12), repeats=2)
        assert state["w"].tolist() == [0, 0, 0]
        assert state["step"] == 0
        assert jax.random.key_data(state["key"]).tolist() == [0, 0]


def test_an_optax_state_takes_the_rate_as_an_injected_hyperparameter():
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)

    def step(state, x, lr):
        w, inner = state
        loss, slope = jax.value_and_grad(squares)(w, x)
        inner.hyperparams["learning_rate"] = lr
        change, inner = optimizer.update(slope, inner, w)
        return (optax.apply_updates(w, change), inner), loss

    w = jnp.zeros(3)
    curve = range_test(step, (w, optimizer.init(w)), BATCHES, ramp=cyclr.Ramp(1e-5, 10, steps=100))
    best = curve.rates[np.nanargmin(curve.losses, axis=1)]
    assert ((best > 1e-2) & (best < 2)).all()


def test_an_equinox_model_is_a_state():
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=0.9)

    def step(state, x, lr):
        model, inner = state
        loss, slope = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x)[:, 0] - x.sum(1)) ** 2))(model)
        inner.hyperparams["learning_rate"] = lr
        change, inner = optimizer.update(slope, inner, eqx.filter(model, eqx.is_array))
        return (eqx.apply_updates(model, change), inner), loss

    def init(key):
        model = eqx.nn.MLP(3, 1, width_size=8, depth=1, key=key)  # holds its activation function, which is no array
        return model, optimizer.init(eqx.filter(model, eqx.is_array))

    states = eqx.filter_vmap(init)(jax.random.split(jax.random.key(0), 3))
    curve = range_test(step, states, BATCHES, ramp=cyclr.Ramp(1e-4, 10, steps=60), stacked=True)
    assert curve.anew
    assert curve.losses.shape == (3, 60)
    assert len(set(curve.losses[:, 0].tolist())) == 3
    assert (np.nanmin(curve.losses, axis=1) < curve.losses[:, 0]).all()
    alone = range_test(
        step, init(jax.random.split(jax.random.key(0), 3)[0]), BATCHES, ramp=cyclr.Ramp(low=1e-4, steps=60), repeats=1
    )
    np.testing.assert_allclose(alone.losses[0, :20], curve.losses[0, :20], rtol=1e-3)


def test_a_flax_model_with_dropout_and_batch_norm_is_a_state():
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(3, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.drop, self.last = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))[:, 0]

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.inject_hyperparams(optax.sgd)(learning_rate=0.0), wrt=nnx.Param)
    form, state = nnx.split((model, optimizer))
    before = [str(leaf) for leaf in jax.tree.leaves(state)]  # parameters, statistics, momentum, keys

    def step(state, x, lr):
        model, optimizer = nnx.merge(form, state)
        optimizer.opt_state.hyperparams["learning_rate"][...] = lr
        loss, slope = nnx.value_and_grad(lambda m: jnp.mean((m(x) - x.sum(1)) ** 2))(model)
        optimizer.update(model, slope)
        return nnx.state((model, optimizer)), loss

    curve = range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-4, 100, steps=80))
    assert (np.nanmin(curve.losses, axis=1) < curve.losses[:, 0]).all()
    assert [str(leaf) for leaf in jax.tree.leaves(nnx.state((model, optimizer)))] == before


MEAN = {"mse": squares}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"step": 3}, TypeError, "step must be callable"),
        ({"step": lambda state, x, lr: state}, TypeError, "step must return a pair"),
        (
            {"step": lambda state, x, lr: ((state, state), 0.0)},
            ValueError,
            "a state of the structure that it was given",
        ),
        ({"step": lambda state, x, lr: (state.astype(jnp.bfloat16), x.mean())}, ValueError, "keep shapes and types"),
        ({"step": lambda state, x, lr: (state, x)}, ValueError, "the loss must be one real number"),
        ({"step": lambda state, x, lr: (state - lr, state.sum() / 0)}, ValueError, "finite at the first step"),
        (
            {"step": lambda state, x, lr: (state, (x.mean(), {}))},
            ValueError,
            "one real number, got .*tuple.*further outputs",
        ),
        ({"batches": iter([BATCHES[0]])}, ValueError, "last for the whole range test, got '1 batches'"),
        ({"batches": iter([])}, ValueError, "at least one batch"),
        ({"batches": (BATCHES, BATCHES[:3])}, ValueError, "same first axis"),
        ({"batches": (BATCHES, "words")}, TypeError, "share their first axis"),
        ({"batches": 3}, TypeError, "share their first axis"),
        ({"batches": []}, ValueError, "at least one batch"),
        ({"batches": BATCHES[:0]}, ValueError, "same first axis"),
        ({"stacked": True}, ValueError, "first axis of 2"),
        ({"repeats": 0}, ValueError, "repeats must be"),
        ({"ramp": 3}, TypeError, "ramp must be a cyclr.Ramp"),
        ({"effort": "some"}, ValueError, "effort must be one of"),
        ({"progress": 3}, TypeError, "progress must be callable"),
        ({"held_out": BATCHES}, TypeError, "held_out must be a cyclr.HeldOut"),
        ({"held_out": cyclr.HeldOut(BATCHES)}, ValueError, "at least one metric"),
        ({"held_out": cyclr.HeldOut([], MEAN)}, ValueError, "at least one batch"),
        ({"held_out": cyclr.HeldOut(iter(BATCHES), MEAN)}, TypeError, "must not be an iterator"),
        (
            {"held_out": cyclr.HeldOut(BATCHES, {"mse": lambda w, x: x @ w})},
            ValueError,
            r"'mse'\] must return one real",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_told_what_must_hold(change, kind, words):
    arguments = {
        "step": sgd,
        "state": jnp.zeros(3),
        "batches": BATCHES,
        "ramp": cyclr.Ramp(steps=10),
        "repeats": 2,
    } | change
    with pytest.raises(kind, match=words):
        range_test(**arguments)


def test_what_changes_in_the_state_must_be_an_array():
    def step(state, x, lr):
        return {"w": state["w"], "name": state["name"] + "s"}, x.mean()

    with pytest.raises(ValueError, match=r"state\['name'\], which step changes, must be an array, got 'a'; make it"):
        range_test(step, {"w": jnp.zeros(3), "name": "a"}, BATCHES)


# ---------------------------------------------------------------- thorough, held-out data, progress


HELD = np.random.default_rng(1).normal(size=(4, 8, 3)).astype(np.float32)


def noisy(w, batch):
    """Loss and gradient step of least squares with noise that cannot be learned: a curve with a clear answer."""
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


def noisy_step(w, batch, lr):
    loss, slope = jax.value_and_grad(noisy)(w, batch)
    return w - lr * slope, loss


NOISY = (BATCHES, (BATCHES.sum(2) + np.random.default_rng(2).normal(size=(30, 8))).astype(np.float32))
AS_LIST = list(zip(*NOISY, strict=True))


def test_a_thorough_test_adds_the_same_probe_cycles_to_arrays_and_to_a_list():
    ramp = cyclr.Ramp(1e-4, 10.0, steps=150)
    curves = [
        range_test(noisy_step, jnp.zeros(3), batches, ramp=ramp, effort="thorough") for batches in (NOISY, AS_LIST)
    ]
    quick = range_test(noisy_step, jnp.zeros(3), NOISY, ramp=ramp)
    for curve in curves:
        np.testing.assert_allclose(curve.losses, quick.losses, rtol=1e-4)
        assert 3 <= len(curve.peaks) <= 5
        assert curve.bounds().max_lr > 0
    np.testing.assert_allclose(curves[0].peaks, curves[1].peaks, rtol=1e-6)
    np.testing.assert_allclose(curves[0].probes, curves[1].probes, rtol=1e-3)
    for peak, losses in zip(curves[0].peaks, curves[0].probes, strict=True):  # each from the start, on the same batches
        w, expected = np.zeros(3), []
        cycle = cyclr.one_cycle(peak, steps=160, base_lr=peak / 10, shape="linear")
        for step, (x, y) in enumerate([*AS_LIST * 7][: len(losses)]):
            error = x @ w - y
            expected.append((error**2).mean())
            w = w - cycle(step) * 2 * x.T @ error / len(x)
        known = np.isfinite(losses)
        np.testing.assert_allclose(losses[known][:60], np.array(expected)[known][:60], rtol=1e-2)


def test_an_inconclusive_thorough_test_sweeps_again_more_slowly():
    ramp = cyclr.Ramp(1e-9, 1e-8, steps=20)  # far too low to show anything
    curve = range_test(noisy_step, jnp.zeros(3), NOISY, ramp=ramp, effort="thorough")
    assert curve.losses.shape == (1, 60)
    assert curve.tuning_cost == 20 + 60
    assert not len(curve.peaks)


@pytest.mark.parametrize("stacked", [False, True], ids=["one state", "stacked"])
@pytest.mark.parametrize("form", [np.asarray, list], ids=["arrays", "list"])
def test_metrics_on_held_out_data_are_those_of_the_state_after_the_step(form, stacked):
    state = jnp.stack([jnp.zeros(3), jnp.ones(3) / 2]) if stacked else jnp.zeros(3)
    held_out = cyclr.HeldOut(form(HELD), {"mse": squares, "score": (lambda w, x: -squares(w, x), "max")}, every=4)
    ramp = cyclr.Ramp(1e-3, 0.1, steps=12)
    curve = range_test(sgd, state, form(BATCHES), ramp=ramp, held_out=held_out, stacked=stacked)
    measured = np.isfinite(curve.metrics["mse"])
    assert np.flatnonzero(measured[0]).tolist() == [0, 3, 7, 11]
    assert curve.maximize == {"score"}
    np.testing.assert_allclose(curve.metrics["score"], -curve.metrics["mse"])
    w = np.zeros(3)
    for step, (x, lr) in enumerate(zip(BATCHES, curve.rates, strict=False)):
        w = w - lr * 2 * x.T @ (x @ w - x.sum(1)) / len(x)
        if measured[0, step]:
            expected = np.mean([(batch @ w - batch.sum(1)) ** 2 for batch in HELD])
            assert curve.metrics["mse"][0, step] == pytest.approx(expected, rel=1e-4)


def test_held_out_means_count_every_example_alike():
    loader = [HELD[0], HELD[1, :3], HELD[2, :1]]
    held_out = cyclr.HeldOut(loader, {"mse": squares}, every=1)
    curve = range_test(sgd, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-9, 1e-8, steps=3), held_out=held_out)
    every_one = np.concatenate(loader)
    assert curve.metrics["mse"][0, 0] == pytest.approx((every_one.sum(1) ** 2).mean(), rel=1e-5)


def test_a_held_out_metric_gets_the_whole_state_with_what_is_no_array():
    def step(state, x, lr):
        w, loss = sgd(state["w"], x, lr)
        return {"w": w, "name": state["name"]}, loss

    def mse(state, x):
        assert state["name"] == "least squares"
        return squares(state["w"], x)

    state = {"w": jnp.zeros(3), "name": "least squares"}
    held_out = cyclr.HeldOut(HELD, {"mse": mse})
    curve = range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=20), held_out=held_out)
    assert np.isfinite(curve.metrics["mse"]).all()  # by default a twentieth of a sweep: every step here


def test_blocks_of_any_length_are_one_compiled_program():
    traced = []

    def step(w, x, lr):
        traced.append(1)
        return sgd(w, x, lr)

    for steps, every in ((23, 7), (47, 3)):
        counts = []
        traced.clear()
        range_test(step, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=steps), repeats=2)
        counts.append(len(traced))
        traced.clear()
        held_out = cyclr.HeldOut(HELD, {"mse": squares}, every=every)
        range_test(step, jnp.zeros(3), BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=steps), held_out=held_out)
        counts.append(len(traced))
        assert counts[0] == counts[1] <= 4  # checks, and one program


def test_progress_is_told_after_each_block():
    seen = []
    range_test(
        sgd,
        jnp.zeros(3),
        BATCHES,
        ramp=cyclr.Ramp(1e-3, 0.1, steps=25),
        repeats=2,
        progress=lambda *now: seen.append(now[:2]),
    )
    assert seen == [(done, 50) for done in (10, 20, 25, 35, 45, 50)]


# ---------------------------------------------------------------- a step that does not train at the rate it is given


def ignores(w, x, lr):
    return sgd(w, x, 0.01)


def logs_it(w, x, lr):
    w, loss = sgd(w, x, 0.01)
    return w, loss + 0 * lr


def keeps_it(state, x, lr):
    w, loss = sgd(state["w"], x, 0.01)
    return {"w": w, "lr": lr}, loss


def has_its_own_schedule(state, x, lr):
    w, loss = sgd(state["w"], x, 0.1 / (1 + state["count"]))
    return {"w": w, "count": state["count"] + 1}, loss


def in_a_loop(w, x, lr):
    return jax.lax.fori_loop(0, 3, lambda _, now: (sgd(now[0], x, 0.01)[0], lr), (w, lr))[0], squares(w, x)


def adam(hyper):
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.1) if hyper else optax.adam(0.1)

    def step(state, x, lr):
        w, inner = state
        loss, slope = jax.value_and_grad(squares)(w, x)
        change, inner = optimizer.update(slope, inner)
        if hyper:  # too late, and the next update sets its own again
            inner = inner._replace(hyperparams=inner.hyperparams | {"learning_rate": jnp.full_like(lr, 0.1)})
        return (optax.apply_updates(w, change), inner), loss

    return step, (jnp.zeros(3), optimizer.init(jnp.zeros(3)))


@pytest.mark.parametrize(
    "given",
    [
        lambda: (ignores, jnp.zeros(3)),
        lambda: (jax.jit(ignores), jnp.zeros(3)),
        lambda: (jax.checkpoint(ignores), jnp.zeros(3)),
        lambda: (logs_it, jnp.zeros(3)),
        lambda: (keeps_it, {"w": jnp.zeros(3), "lr": jnp.zeros(())}),
        lambda: (jax.jit(keeps_it), {"w": jnp.zeros(3), "lr": jnp.zeros(())}),
        lambda: (has_its_own_schedule, {"w": jnp.zeros(3), "count": 0}),
        lambda: (in_a_loop, jnp.zeros(3)),
        lambda: adam(hyper=False),
        lambda: adam(hyper=True),
    ],
    ids=["plain", "jit", "checkpoint", "in the loss", "kept", "kept, jit", "schedule", "loop", "optax", "overwritten"],
)
def test_a_step_that_ignores_its_rate_is_refused_before_any_work(given):
    step, state = given()  # made here: arrays made while the file is imported would start JAX before other tests fork
    with pytest.raises(ValueError, match="step must train at the given rate, but no later loss depends on it"):
        range_test(step, state, BATCHES, ramp=cyclr.Ramp(steps=10))


def through_optax(change):
    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.1)

    def step(state, x, lr):
        w, inner = state
        inner = inner._replace(hyperparams=inner.hyperparams | {"learning_rate": change(lr)})
        loss, slope = jax.value_and_grad(squares)(w, x)
        steps, inner = optimizer.update(slope, inner, w)
        return (optax.apply_updates(w, steps), inner), loss

    return step, (jnp.zeros(3), optimizer.init(jnp.zeros(3)))


def plainly(change):
    return lambda w, x, lr: sgd(w, x, change(lr)), jnp.zeros(3)


def compiled(change):
    return jax.jit(lambda w, x, lr: jax.jit(sgd)(w, x, jax.jit(change)(lr))), jnp.zeros(3)


def for_each_weight(change):
    return lambda w, x, lr: sgd(w, x, change(jnp.full(3, lr))), jnp.zeros(3)


@pytest.mark.parametrize("made", [plainly, compiled, through_optax, for_each_weight])
@pytest.mark.parametrize(
    ("change", "low"),
    [
        (lambda lr: jnp.minimum(lr, 0.01), 0.01),
        (lambda lr: jnp.maximum(lr, 0.01), 1e-4),
        (lambda lr: jnp.clip(lr, 1e-3, 0.5), 1e-4),
        (lambda lr: 10.0 ** jnp.round(jnp.log10(lr)), 1e-4),
        (lambda lr: jnp.where(lr > 0.1, 0.1, lr), 0.1),
        (lambda lr: jnp.float32(0.1) * (lr > 0.1), 1e-4),
    ],
    ids=["minimum", "maximum", "clip", "rounded", "where", "switched"],
)
def test_a_step_that_clips_its_rate_is_refused(made, change, low):
    step, state = made(change)
    with pytest.raises(ValueError, match=r"it does the same at (\S+) and at (\S+); do not clip") as caught:
        range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-4, 1.0, steps=60))
    first, second = (float(word.rstrip(";")) for word in str(caught.value).split() if word[0].isdigit())
    assert low * 0.999 <= first < second <= 1.0


@pytest.mark.parametrize("made", [plainly, compiled, through_optax, for_each_weight])
@pytest.mark.parametrize(
    "change",
    [lambda lr: 0.1 * lr, jnp.sqrt, lambda lr: jnp.minimum(lr, 2.0), lambda lr: lr.astype(jnp.bfloat16)],
    ids=["scaled", "root", "not reached", "half"],
)
def test_a_step_that_only_transforms_its_rate_is_accepted(made, change):
    step, state = made(lambda lr: change(lr).astype(jnp.float32))
    curve = range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-4, 1.0, steps=60))
    assert np.isfinite(curve.losses[0, :5]).all()


def test_a_rate_that_acts_a_step_later_or_through_an_accumulator_is_accepted():
    def later(state, x, lr):
        w, loss = sgd(state["w"], x, state["lr"])
        return {"w": w, "lr": lr}, loss

    range_test(later, {"w": jnp.zeros(3), "lr": jnp.zeros(())}, BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=10))

    optimizer = optax.MultiSteps(optax.inject_hyperparams(optax.sgd)(learning_rate=0.0), every_k_schedule=4)

    def accumulated(state, x, lr):
        w, inner = state
        inner.inner_opt_state.hyperparams["learning_rate"] = lr
        loss, slope = jax.value_and_grad(squares)(w, x)
        change, inner = optimizer.update(slope, inner, w)
        return (optax.apply_updates(w, change), inner), loss

    state = (jnp.zeros(3), optimizer.init(jnp.zeros(3)))
    assert range_test(accumulated, state, BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=12)).stops == ("end",)


# ---------------------------------------------------------------- numbers in the state


def counting(state, x, lr):
    w, loss = sgd(state["w"], x, lr)
    return {"w": w, "count": state["count"] + 1, "decay": 0.9 * state["decay"], "on": not state["on"]}, loss


def test_plain_numbers_that_change_are_taken_as_arrays():
    def step(state, x, lr):
        new, loss = counting({**state, "on": False}, x, lr * jnp.where(state["count"] < 2, 1.0, 0.0))
        return {**new, "on": jnp.logical_not(state["on"])}, loss

    state = {"w": jnp.zeros(3), "count": 0, "decay": 1.0, "on": True}
    curves = [
        range_test(step, state, batches, ramp=cyclr.Ramp(1e-2, 0.1, steps=8)) for batches in (BATCHES, list(BATCHES))
    ]
    for curve in curves:  # the rate is zero from the third step: the count is no constant in the program
        expected = by_hand(np.zeros(3), BATCHES[:8], [*curve.rates[:2], *[0] * 6])
        assert curve.losses[0] == pytest.approx(expected, rel=1e-4)
    assert state == {"w": state["w"], "count": 0, "decay": 1.0, "on": True}


def test_a_number_is_shared_by_stacked_states():
    def step(state, x, lr):
        w, loss = sgd(state["w"], x, lr)
        return {"w": w, "count": state["count"] + 1}, loss

    state = {"w": jnp.zeros((3, 3)), "count": 0}
    assert range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-3, steps=20), stacked=True).losses.shape == (3, 20)


def test_a_number_that_stays_is_no_tracer():
    def step(state, x, lr):
        w, loss = sgd(state["w"], x, lr) if state["training"] else (state["w"], jnp.zeros(()))
        return {**state, "w": w}, loss

    state = {"w": jnp.zeros(3), "training": True, "width": 3}
    assert range_test(step, state, BATCHES, ramp=cyclr.Ramp(1e-3, 0.1, steps=10)).stops == ("end",)


def test_a_flax_train_state_just_works():
    train_state = pytest.importorskip("flax.training.train_state", reason="Flax is not installed")
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
    state = train_state.TrainState.create(apply_fn=lambda p, x: x @ p["w"], params={"w": jnp.zeros(3)}, tx=optimizer)

    def step(state, x, lr):
        loss, slope = jax.value_and_grad(lambda p: jnp.mean((state.apply_fn(p, x) - x.sum(1)) ** 2))(state.params)
        hyperparams = {**state.opt_state.hyperparams, "learning_rate": lr}
        state = state.replace(opt_state=state.opt_state._replace(hyperparams=hyperparams))
        return state.apply_gradients(grads=slope), loss

    for batches in (BATCHES, list(BATCHES)):
        curve = range_test(step, state, batches, ramp=cyclr.Ramp(1e-3, 0.1, steps=25))
        assert curve.losses[0] == pytest.approx(by_hand(np.zeros(3), BATCHES, curve.rates), rel=1e-4)
    assert state.step == 0


def test_a_leaf_that_changes_its_type_is_named():
    def step(state, x, lr):
        w, loss = sgd(state["net"]["w"], x, lr)
        return {"net": {"w": w.astype(jnp.bfloat16)}}, loss

    with pytest.raises(ValueError, match=r"bfloat16\[3\] for float32\[3\] in state\['net'\]\['w'\]"):
        range_test(step, {"net": {"w": jnp.zeros(3)}}, BATCHES)


# ---------------------------------------------------------------- iterators and loaders


def forever():
    while True:
        yield from BATCHES


@pytest.mark.parametrize(
    "make",
    [forever, lambda: itertools.cycle(BATCHES), lambda: map(np.asarray, forever()), lambda: iter(list(BATCHES) * 9)],
    ids=["generator", "cycle", "map", "long enough"],
)
@pytest.mark.parametrize("effort", ["quick", "thorough"])
def test_an_iterator_is_used_up_and_that_is_said(make, effort, caplog):
    source, ramp = make(), cyclr.Ramp(1e-3, 0.1, steps=25)
    curve = range_test(sgd, jnp.zeros(3), source, ramp=ramp)
    assert curve.losses[0] == pytest.approx(by_hand(np.zeros(3), BATCHES, curve.rates), rel=1e-4)
    assert "batches is an iterator, which cannot be rewound: the range test consumed 25 batches" in caplog.text
    np.testing.assert_array_equal(next(source), BATCHES[25])
    if effort == "thorough" and make is forever:
        curve = range_test(noisy_step, jnp.zeros(3), itertools.cycle(AS_LIST), effort="thorough")
        assert len(curve.peaks) >= 3


def test_a_loader_that_cannot_be_started_again_ends_with_an_error_and_does_not_hang():
    class Once:
        def __init__(self):
            self.batches = iter(BATCHES)

        def __iter__(self):
            return self.batches

    with pytest.raises(ValueError, match="last for the whole range test"):
        range_test(sgd, jnp.zeros(3), Once(), ramp=cyclr.Ramp(1e-3, 0.1, steps=100))


@pytest.mark.parametrize("source", ["numpy", "random", "torch", "own"])
def test_random_states_that_a_loader_draws_from_are_back(source):
    torch = pytest.importorskip("torch", reason="torch is not installed") if source == "torch" else None
    own = np.random.default_rng(0)

    def draw():
        draws = {"numpy": np.random.random, "random": random.random, "own": own.random}
        return torch.rand(()).item() if torch else draws[source]()

    class Loader:
        rng = None

        def __init__(self):
            self.own = own

        def __iter__(self):
            yield from (BATCHES[int(draw() * 30)] for _ in range(7))

    before = rng_digest(own)
    curves = [
        range_test(
            sgd,
            jnp.zeros(3),
            Loader(),
            ramp=cyclr.Ramp(1e-3, 0.1, steps=20),
            held_out=cyclr.HeldOut(Loader(), {"mse": squares}),
            effort="thorough",
        )
        for _ in range(2)
    ]
    assert rng_digest(own) == before
    np.testing.assert_array_equal(*(curve.losses for curve in curves))


def test_a_second_ctrl_c_waits_until_random_states_are_back(monkeypatch):
    pressed = []
    own = np.random.default_rng(0)

    class Loader:
        def __init__(self):
            self.own = own

        def __iter__(self):
            for batch in BATCHES:
                own.random(), random.random()
                yield batch

    put = _rng.set_state

    def pressing(source, state):
        if own.bit_generator.state != before[1] and not pressed:  # in the restore: ours is the last
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)
        put(source, state)

    def interrupted(done, *_):
        monkeypatch.setattr(_rng, "set_state", pressing)
        signal.raise_signal(signal.SIGINT)

    loader, before = Loader(), (rng_digest(own), own.bit_generator.state)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        range_test(sgd, jnp.zeros(3), loader, ramp=cyclr.Ramp(1e-3, 0.1, steps=20), progress=interrupted)
    assert pressed
    assert rng_digest(own) == before[0]
    assert signal.getsignal(signal.SIGINT) is handler


def rng_digest(own):
    torch = sys.modules.get("torch")
    return [
        repr(random.getstate()),
        repr(np.random.get_state()[1].tolist()),
        repr(own.bit_generator.state),
        torch and torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("listed", [False, True])
def test_a_bad_batch_is_passed_over_and_the_state_stays_as_it_was(listed):
    x = np.random.default_rng(0).normal(size=(60, 8, 3)).astype(np.float32)
    x[7] = np.nan
    curve = range_test(sgd, jnp.zeros(3), list(x) if listed else jnp.asarray(x), ramp=cyclr.Ramp(1e-4, 1e-2, steps=40))
    assert curve.stops == ("end",)
    assert curve.passed_over == ((7,),)
    assert curve.tuning_cost == 40


@pytest.mark.parametrize("listed", [False, True])
def test_a_loss_that_follows_the_order_of_the_data_is_not_taken_for_a_curve(listed):
    x = np.random.default_rng(0).normal(size=(100, 8, 3)).astype(np.float32)
    x *= np.linspace(2, 1, 100, dtype=np.float32)[:, None, None]
    batches = list(x) if listed else jnp.asarray(x)
    curve = range_test(sgd, jnp.zeros(3), batches, ramp=cyclr.Ramp(1e-9, 1e-7, steps=100))
    assert curve.control == pytest.approx(curve.losses, rel=1e-4)
    with pytest.raises(cyclr.Inconclusive, match="the loss follows the order of the data"):
        curve.bounds()


@pytest.mark.parametrize("kind", [int, np.int32, np.int64, float])
@pytest.mark.parametrize(
    "part",
    [
        WAVE,
        cyclr.one_cycle(0.1, steps=20),
        cyclr.Opposed(WAVE, 0.85, 0.95),
        cyclr.Linear(0, 1, steps=3) >> SLOW.take(4),
    ],
    ids=["triangles", "one cycle", "momentum", "a join"],
)
def test_optax_may_join_schedules_and_ask_them_before_their_turn(part, kind):
    joined = optax.join_schedules([optax.linear_schedule(0.0, 0.01, 3), part, part], [3, 9])
    nested = optax.join_schedules([optax.constant_schedule(0.5), joined], [2])
    for schedule in (joined, nested):
        traced = jax.jit(schedule)
        for step in range(20):
            assert float(schedule(kind(step))) == pytest.approx(float(traced(jnp.int32(step))), rel=1e-5)
    with pytest.raises(ValueError, match="step must be a finite number of at least 0"):
        part(kind(-3))


class Doubled:
    """A wrapper of a schedule, as people write them."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, step):
        return 2 * self.schedule(step)


def logged(schedule):
    @functools.wraps(schedule)
    def inner(*args):
        return schedule(*args)

    return inner


@pytest.mark.parametrize(
    "part",
    [lambda step: WAVE(step), Doubled(WAVE), functools.partial(lambda by, step: by * WAVE(step), 0.5),
     logged(logged(Doubled(WAVE))), lambda step: jnp.minimum(WAVE(step), SLOW(step)),
     lambda step: max(schedule(step) for schedule in (WAVE, SLOW)) if isinstance(step, int) else WAVE(step)],
    ids=["lambda", "object", "partial", "wrapped twice", "two", "comprehension"],
)  # fmt: skip
def test_optax_may_join_a_users_function_around_a_schedule(part):
    joined = optax.join_schedules([optax.linear_schedule(0.0, 0.01, 3), part], [3])
    assert [float(joined(step)) for step in range(3)] == pytest.approx([0, 0.01 / 3, 0.02 / 3])
    assert float(joined(9)) == pytest.approx(float(part(6)))
    with pytest.raises(ValueError, match="step must be a finite number of at least 0"):
        part(-1)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("at_hand", [False, True])
def test_reference_batches_have_the_same_dropout_at_all_weights(raw, at_hand):
    x = jax.random.normal(jax.random.key(0), (40, 32, 8))
    y = x.sum(-1, keepdims=True)
    key = jax.random.PRNGKey(3) if raw else jax.random.key(3)

    def step(state, batch, lr):
        weights, key = state
        key, here = jax.random.split(key)

        def loss_of(weights):
            hidden = jax.nn.relu(batch[0] @ weights["a"])
            kept = jax.random.bernoulli(here, 0.5, hidden.shape)
            return jnp.mean((2 * hidden * kept @ weights["b"] - batch[1]) ** 2)

        loss, slope = jax.value_and_grad(loss_of)(weights)
        return (jax.tree.map(lambda weight, down: weight - lr * down, weights, slope), key), loss

    first, second = jax.random.split(jax.random.key(1))
    weights = {"a": jax.random.normal(first, (8, 64)) / 3, "b": jax.random.normal(second, (64, 1)) / 8}
    batches = (x, y) if at_hand else [(x[i], y[i]) for i in range(40)]
    curve = range_test(step, (weights, key), batches, budget=400)
    early = curve.reference[0, :5]
    assert early == pytest.approx(early[0], rel=1e-3)
    assert curve.losses[0, :5].std() > 10 * early.std()
    assert 1e-3 < curve.bounds(budget=400).max_lr < 0.3
    assert curve.step_seconds is None if at_hand else 0 < curve.step_seconds < 1


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("at_hand", [False, True])
@pytest.mark.parametrize(
    ("make", "adaptive"),
    [
        (optax.adam, True),
        (lambda learning_rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(learning_rate)), True),
        (lambda learning_rate: optax.sgd(learning_rate, momentum=0.9), False),
    ],
)
def test_a_curve_knows_how_many_weights_an_adaptive_optimizer_trains(make, adaptive, at_hand, stacked):
    x = jax.random.normal(jax.random.key(0), (40, 32, 8))
    optimizer = optax.inject_hyperparams(make)(learning_rate=0.1)

    def step(state, batch, lr):
        weights, moments = state
        moments = moments._replace(hyperparams=moments.hyperparams | {"learning_rate": lr})
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((batch[0] @ w["a"] @ w["b"] - batch[1]) ** 2))(weights)
        updates, moments = optimizer.update(slope, moments, weights)
        return (optax.apply_updates(weights, updates), moments), loss

    def init(key):
        first, second = jax.random.split(key)
        weights = {"a": jax.random.normal(first, (8, 16)) / 3, "b": jax.random.normal(second, (16, 1)) / 4}
        return weights, optimizer.init(weights)

    state = jax.vmap(init)(jax.random.split(jax.random.key(1))) if stacked else init(jax.random.key(1))
    batches = (x, x.sum(-1, keepdims=True))
    batches = batches if at_hand else [(batches[0][i], batches[1][i]) for i in range(40)]
    curve = range_test(step, state, batches, budget=400, stacked=stacked)
    assert curve.weights == adaptive * (8 * 16 + 16)


@pytest.mark.parametrize(
    ("make", "known"), [(optax.adam, True), (functools.partial(optax.sgd, momentum=0.9), True), (optax.sgd, False)]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_curve_knows_whether_a_single_layer_is_trained(make, known, layers):
    x = jax.random.normal(jax.random.key(0), (40, 32, 8))
    optimizer = optax.inject_hyperparams(make)(learning_rate=0.1)

    def step(state, batch, lr):
        weights, moments = state
        moments = moments._replace(hyperparams=moments.hyperparams | {"learning_rate": lr})

        def loss_of(weights):
            out = batch[0] if layers == 1 else batch[0] @ weights["first"]
            return jnp.mean((out @ weights["kernel"] + weights["bias"] - batch[1]) ** 2)

        loss, slope = jax.value_and_grad(loss_of)(weights)
        updates, moments = optimizer.update(slope, moments, weights)
        return (optax.apply_updates(weights, updates), moments), loss

    weights = {"kernel": jnp.ones((8, 1)) / 8, "bias": jnp.zeros(1)} | ({"first": jnp.eye(8)} if layers == 2 else {})
    curve = range_test(step, (weights, optimizer.init(weights)), (x, x.sum(-1, keepdims=True)), budget=400)
    assert curve.single_layer is (known and layers == 1)


def test_moments_are_those_of_optax_alone():
    weights = {"kernel": jnp.ones((3, 4)), "nu": jnp.ones(5)}  # a weight of that name
    assert moments((weights, optax.sgd(0.1, momentum=0.9).init(weights)), "nu") == []
    chained = optax.chain(optax.clip(1.0), optax.adam(0.1)).init(weights)
    assert [leaf.shape for leaf in moments((weights, chained), "nu")] == [(3, 4), (5,)]
    frozen = optax.multi_transform({"on": optax.adam(0.1), "off": optax.set_to_zero()}, {"kernel": "on", "nu": "off"})
    assert [leaf.shape for leaf in moments(frozen.init(weights), "nu")] == [(3, 4)]


def test_moments_are_found_in_the_states_of_flax():
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    for make, shapes in ((optax.adam(0.1), [(4,), (3, 4)]), (optax.sgd(0.1, momentum=0.9), [])):
        _, state = nnx.split((model, nnx.Optimizer(model, make, wrt=nnx.Param)))
        assert [leaf.shape for leaf in moments(state, "nu")] == shapes
