"""Short tests of a Keras model with a `train_step` of its own; test_keras.py runs them on both backends."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from cyclr import Curve, Inconclusive, Ramp, Search

keras = pytest.importorskip("keras", reason="Keras is not installed")
from cyclr.keras import RangeTest, auto  # noqa: E402 - needs the one above

pytestmark = pytest.mark.usefixtures("quickly_compiled")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True) + 0.1 * RNG.normal(size=(160, 1)).astype(np.float32)


class Own(keras.Sequential):
    """A step as users write it, here by way of Keras's own."""

    def train_step(self, *arguments):
        return super().train_step(*arguments)


def network(kind=Own, drop=0.2, optimizer=None):
    """With dropout, batch norm and a penalty: randomness and statistics that could be lost."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Dense(8, "relu", kernel_regularizer="l2"), layers.BatchNormalization(), layers.Dropout(drop)]
    model = kind([keras.Input((3,)), *parts, layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse")
    return model


def sweep(model, *, x=X, y=Y, sweeps=1, fit=None, **how):
    with RangeTest(model, **how) as test:
        for _ in range(sweeps):
            model.fit(x, y, batch_size=16, epochs=12, verbose=0, callbacks=[test], **(fit or {}))
    return test


@pytest.mark.parametrize(("budget", "steps"), [(60, 30), (400, 60)])
def test_its_steps_take_the_same_three_batches_with_the_same_dropout(budget, steps):
    curve = sweep(network(), budget=budget).curve
    assert (curve.in_turn, curve.examples, curve.reference.size) == (3, 16, 0)
    assert curve.losses.shape == (1, steps)
    assert steps - 5 < curve.tuning_cost <= max(30, 0.15 * budget)
    first = curve.losses[0, :12].reshape(4, 3)
    assert np.ptp(first, axis=0) == pytest.approx([0, 0, 0], abs=0.05)
    assert np.ptp(first, axis=1).min() > 0.1
    bounds = curve.bounds(budget=budget)
    assert "The loss of 3 batches that the steps took in turn" in bounds.evidence[0]


@pytest.mark.any_backend
def test_its_answer_is_about_that_of_batches_that_are_evaluated():
    evaluated = sweep(network(keras.Sequential), budget=400).curve.bounds(budget=400)
    own = sweep(network(), budget=400).curve.bounds(budget=400)
    assert evaluated.max_lr / 3 < own.max_lr < evaluated.max_lr * 3


@pytest.mark.any_backend
def test_auto_gets_an_answer_where_training_losses_alone_show_nothing():
    x = RNG.normal(size=(2000, 8)).astype(np.float32)
    y = x.sum(1, keepdims=True) + 3 * RNG.normal(size=(2000, 1)).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = Own([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    tuned = auto(model, x, y, epochs=1, batch_size=10, search=Search(progress=False))
    assert tuned.curve.tuning_cost <= 30
    alone = Curve(tuned.curve.rates, tuned.curve.losses, stops=tuned.curve.stops)
    with pytest.raises(Inconclusive):
        alone.bounds(budget=200)
    assert 1e-3 < tuned.bounds.max_lr < 0.3


@pytest.mark.parametrize("kind", [Own, keras.Sequential])
def test_a_training_after_the_test_is_the_training_without_it(kind):
    class Noisy(kind):
        """Draws from the generator that Keras has for all models; on JAX from its own, as it must."""

        def call(self, inputs, training=None, mask=None):
            noise = keras.random.normal((16, 3), seed=self.source) if len(inputs) == 16 else 0.0
            return super().call(inputs + noise, training=training, mask=mask)

    def trained(prepare):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        model = Noisy([keras.Input((3,)), *layers])
        model.source = keras.random.SeedGenerator(1) if keras.config.backend() == "jax" else None
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(X[:4], Y[:4], verbose=0)  # built; to build it takes random numbers
        prepare(model)
        model.fit(X[:32], Y[:32], batch_size=16, epochs=1, verbose=0)
        return [value.tolist() for value in model.get_weights()]

    tests = []
    assert trained(lambda model: tests.append(sweep(model, budget=60, sweeps=2))) == trained(lambda _: None)
    curve = tests[0].curve
    if curve.in_turn:
        assert curve.losses[0, :3] == pytest.approx(curve.losses[0, 3:6], abs=0.01)
    else:
        assert np.ptp(curve.reference[0, :4]) == pytest.approx(0, abs=0.02)


@pytest.mark.any_backend
@pytest.mark.parametrize("value", [1e4, float("nan")])
@pytest.mark.parametrize("place", [1, 2])
def test_a_bad_batch_is_not_one_of_them(value, place, caplog):
    def max_lr(bad):
        y = Y.copy()
        if bad:
            y[16 * place + 3] = value
        curve = sweep(network(), y=y, fit={"shuffle": False}, budget=200).curve
        assert curve.earlier_steps == 3 * bad
        return curve.bounds(budget=200).max_lr

    usual = max_lr(False)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "cyclr"):
        assert max_lr(True) == pytest.approx(usual, rel=0.6)
    assert "others are taken" in caplog.text


@pytest.mark.any_backend
def test_each_sweep_takes_other_batches():
    losses = sweep(network(drop=0.0), budget=1000, sweeps=2).curve.losses
    assert not set(losses[0, :3]) & set(losses[1, :3])


@pytest.mark.any_backend
@pytest.mark.parametrize("fit", [{"validation_data": (X[:16], Y[:16])}, {"validation_split": 0.1}])
def test_metrics_on_validation_data_are_those_of_a_model_that_sees_new_batches(fit):
    test = sweep(network(), budget=400, fit=fit)
    assert test.curve.in_turn == 0
    assert np.isfinite(test.curve.metrics["val_loss"]).any()


@pytest.mark.any_backend
def test_longer_trainings_take_new_batches():
    assert sweep(network(), ramp=Ramp(steps=60), budget=4000).curve.in_turn == 0


def test_a_step_may_write_to_its_batch():
    class Writes(Own):
        def train_step(self, *arguments):
            for one in keras.tree.flatten(arguments[-1]):
                if keras.config.backend() == "torch" or isinstance(one, np.ndarray):
                    one *= 2
            return super().train_step(*arguments)

    losses = sweep(network(Writes, drop=0.0), budget=200).curve.losses
    assert losses[0, :3] == pytest.approx(losses[0, 3:6], rel=0.01)
