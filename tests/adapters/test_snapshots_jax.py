"""Snapshots where cycles end, in Keras and in a loop of JAX."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from cyclr import Bounds, Constant, Goal, Ramp, Search, one_cycle, plan

SCHEDULE = one_cycle(0.01, steps=4, base_lr=0.001).repeat(4)  # 16 steps
X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


def values(*given):
    """A metric that takes on these values."""
    coming = iter(given)
    return lambda model: next(coming), "max"


# ---------------------------------------------------------------- Keras


def network(schedule=SCHEDULE, *, accumulate=None, together=1):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    import cyclr.keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(),
                              keras.layers.Dense(1)])  # fmt: skip
    rate = 0.01 if schedule is None else cyclr.keras.LearningRate(schedule)
    optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=accumulate)
    model.compile(optimizer, "mse", metrics=["mae"], steps_per_execution=together)
    return model


def fit(model, saving, **options):
    return model.fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=[saving], **options)


class Watch:
    """Notes the weights after each batch, on any backend."""

    def __new__(cls):
        import keras

        class Watching(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.seen = []

            def on_train_batch_end(self, batch, logs=None):
                if hasattr(self.model, "jax_state_sync"):
                    self.model.jax_state_sync()
                self.seen.append([np.array(array) for array in self.model.get_weights()])

        return Watching()


def test_keras_saves_the_weights_of_the_very_step_where_a_cycle_ends(tmp_path):
    model = network()
    import cyclr.keras

    saving, watch = cyclr.keras.Snapshots(tmp_path), Watch()
    model.fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=[saving, watch])
    assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]
    other = network()
    for one in saving.snapshots:
        cyclr.keras.load_snapshot(other, one.path)
        for found, expected in zip(other.get_weights(), watch.seen[one.step - 1], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_keras_saving_and_judging_leave_the_training_as_it_is(tmp_path):
    import cyclr.keras

    alone, watched = network(), network()
    judge = (lambda model: model.evaluate(X[:8], Y[:8], verbose=0)[0], "min")
    expected = alone.fit(X, Y, batch_size=4, verbose=0, shuffle=False, epochs=2)
    found = fit(watched, cyclr.keras.Snapshots(tmp_path, keep=2, metric=judge), epochs=2)
    assert found.history == expected.history
    for one, other in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_keras_counts_steps_not_batches_also_over_epochs(tmp_path):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    import cyclr.keras

    saving = cyclr.keras.Snapshots(tmp_path)
    fit(network(accumulate=2), saving, epochs=2)
    assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]
    if keras.config.backend() == "jax":  # on torch, steps_per_execution must be 1
        saving = cyclr.keras.Snapshots(tmp_path / "together")
        fit(network(together=2), saving)
        assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]


def test_keras_stops_at_a_cycle_end_and_a_loaded_model_goes_on(tmp_path, caplog):
    import keras

    import cyclr.keras

    model = network()
    fit(model, cyclr.keras.Snapshots(tmp_path / "saved", metric=values(0.5, 0.4), patience=1))
    assert int(model.optimizer.iterations) == 8
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    saving = cyclr.keras.Snapshots(tmp_path / "saved", metric=values(0.6, 0.7), patience=9)
    with caplog.at_level(logging.WARNING, "cyclr"):
        again.fit(X[:24], Y[:24], batch_size=4, verbose=0, callbacks=[saving])
    assert [(one.step, one.value) for one in saving.snapshots] == [(4, 0.5), (8, 0.4), (12, 0.6)]
    assert "stopped in the middle of a cycle. At step 14" in caplog.text


def test_keras_saves_an_endless_training_every_so_often(tmp_path):
    import cyclr.keras

    saving = cyclr.keras.Snapshots(tmp_path, every=5)
    fit(network(Constant(0.01)), saving)
    assert [one.step for one in saving.snapshots] == [5, 10, 15]


def test_jax_saves_an_endless_training_every_so_often(tmp_path):
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")
    import cyclr.jax

    snapshots = cyclr.jax.Snapshots(tmp_path, {"w": jnp.ones(3)}, Constant(0.01), every=5, keep=2)
    for done in range(1, 18):
        snapshots.step({"w": jnp.ones(3)}, done)
    assert [one.step for one in snapshots] == [10, 15]


@pytest.mark.parametrize("goal", ["ensemble", Goal("average", anneal=False)])
def test_keras_saves_for_the_goal_of_auto_in_a_second_training_too(tmp_path, goal):
    import cyclr.keras

    model = network(None)
    for begun in (0, 80):
        saving = cyclr.keras.Snapshots(tmp_path / str(begun))
        search = Search(Ramp(1e-4, 3.0, steps=80), progress=False)
        tuned = cyclr.keras.auto(model, X, Y, epochs=5, batch_size=4, goal=goal, search=search)
        assert int(model.optimizer.iterations) == begun
        assert len(tuned.plan.snapshots) == (2 if goal == "ensemble" else 5)
        fit(model, saving, epochs=5)
        assert tuple(one.step - begun for one in saving.snapshots) == tuned.plan.snapshots


def test_keras_goes_by_a_given_plan_and_needs_one_without_our_rate(tmp_path):
    import cyclr.keras

    made = plan(Bounds(0.001, 0.01), steps=16, goal="average")
    saving = cyclr.keras.Snapshots(tmp_path, made)
    fit(network(None), saving)
    assert tuple(one.step for one in saving.snapshots) == made.snapshots
    with pytest.raises(TypeError, match="plan must be a Plan or a Schedule, got None"):
        fit(network(None), cyclr.keras.Snapshots(tmp_path))
    with pytest.raises(ValueError, match="patience needs a metric"):
        cyclr.keras.Snapshots(tmp_path, patience=1)
    other = network(None)
    other.pop()
    with pytest.raises(ValueError, match="must hold weights of the same model"):
        cyclr.keras.load_snapshot(other, saving.snapshots[0].path)


# ---------------------------------------------------------------- JAX


def test_jax_saves_a_tree_where_cycles_end_and_gives_it_back(tmp_path):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    import jax.numpy as jnp
    import optax

    import cyclr.jax

    params = {"layers": [{"w": jnp.ones((3, 1)), "b": jnp.zeros(1)}], "scale": jnp.ones((), jnp.bfloat16)}
    optimizer = optax.sgd(SCHEDULE)
    state = optimizer.init(params)

    @jax.jit
    def update(params, state):
        def loss(params):
            layer = params["layers"][0]
            return jnp.mean((X @ layer["w"] * params["scale"] + layer["b"] - 2 * Y) ** 2)

        change, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, change), state

    snapshots, seen = cyclr.jax.Snapshots(tmp_path, params, SCHEDULE, metric=values(1, 2, 3, 4), keep=2), {}
    for done in range(1, 17):
        params, state = update(params, state)
        snapshots.step(params, done)
        seen[done] = params
    assert [(one.step, one.value) for one in snapshots] == [(12, 3.0), (16, 4.0)]
    assert snapshots.values == {4: 1.0, 8: 2.0, 12: 3.0, 16: 4.0}
    for one in snapshots:
        found = cyclr.jax.load_snapshot(one.path, params)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(seen[one.step]), strict=True):
            assert leaf.dtype == expected.dtype
            np.testing.assert_array_equal(leaf, expected)
    again = cyclr.jax.Snapshots(tmp_path, params, SCHEDULE, metric=values(1), keep=2)
    assert again.paths == snapshots.paths
    assert again.values == snapshots.values  # also of those that were not kept
    assert "the cycle ends in 3 steps" in str(again.cost(13))
    with pytest.raises(ValueError, match="must be empty for a training that starts at its first step"):
        again.step(params, 1)


def test_jax_refuses_other_trees(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    import jax.numpy as jnp

    import cyclr.jax

    snapshots = cyclr.jax.Snapshots(tmp_path, {"w": jnp.ones(3)}, SCHEDULE)
    snapshots.step({"w": jnp.ones(3)}, 4)
    for params in ({"w": jnp.ones(4)}, {"v": jnp.ones(3)}):
        with pytest.raises(ValueError, match="must hold weights of the same model"):
            cyclr.jax.Snapshots(tmp_path, params, SCHEDULE)
        with pytest.raises(ValueError, match="must hold weights of the same model"):
            cyclr.jax.load_snapshot(snapshots.paths[0], params)
    with pytest.raises(TypeError, match=r"params\['w'\] must be an array"):
        cyclr.jax.Snapshots(tmp_path / "new", {"w": "text"}, SCHEDULE)
    with pytest.raises(ValueError, match="params must hold at least one array"):
        cyclr.jax.Snapshots(tmp_path / "new", {}, SCHEDULE)
