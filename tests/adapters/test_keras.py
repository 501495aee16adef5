"""Keras 3: learning rates, momentum and the range test, on the backend of this process and then on the other."""

import importlib.util
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import cyclr
from tests.schedules.strategies import EXAMPLES

keras = pytest.importorskip("keras", reason="Keras is not installed")
from cyclr.keras import LearningRate, RangeTest, WithMomentum  # noqa: E402 - needs the one above

BACKEND = keras.config.backend()

WAVE = cyclr.Triangular(0.1, 0.5, step_size=4)
MOMENTUM = cyclr.Opposed(WAVE, 0.5, 0.9)
ONE = np.ones((1, 1), np.float32)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 3)).astype(np.float32)
Y = X.sum(1)


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor))


def test_the_other_backend_holds_to_all_of_this_too():
    other = {"jax": "torch", "torch": "jax"}[BACKEND]
    if os.environ.get("CYCLR_OTHER_BACKEND"):
        pytest.skip("this is the other backend")
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"KERAS_BACKEND": other, "CYCLR_OTHER_BACKEND": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


# ---------------------------------------------------------------- the learning rate


def scalar_model(optimizer):
    """One weight, whose gradient is always one."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer, loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    return model


def weights_of(model, steps):
    """The weight after each of so many updates."""
    seen = []
    for _ in range(steps):
        model.train_on_batch(ONE, ONE)
        seen.append(float(model.get_weights()[0][0, 0]))
    return np.array(seen)


def test_the_optimizer_uses_the_rate_of_each_step():
    moved = -np.diff(weights_of(scalar_model(keras.optimizers.SGD(LearningRate(WAVE))), 20), prepend=0)
    assert moved == pytest.approx([WAVE(step) for step in range(20)], abs=1e-6)


def test_a_model_is_saved_and_loaded_with_its_schedules_and_goes_on_where_it_stopped(tmp_path):
    def fresh():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(WithMomentum(keras.optimizers.SGD(LearningRate(0.1 * WAVE), momentum=0.9), MOMENTUM), "mse")
        return model

    def train(model, first, last):
        for step in range(first, last):
            model.train_on_batch(X[step : step + 8], Y[step : step + 8])
        return model

    whole = train(fresh(), 0, 20)
    train(fresh(), 0, 11).save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert resumed.optimizer.inner_optimizer._learning_rate.schedule == 0.1 * WAVE
    assert resumed.optimizer.get_config()["momentum"] == repr(MOMENTUM)
    assert int(resumed.optimizer.iterations) == 11
    train(resumed, 11, 20)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_every_schedule_survives_kerass_serialisation(schedule):
    saved = keras.optimizers.schedules.serialize(LearningRate(schedule))
    assert keras.optimizers.schedules.deserialize(saved).schedule == schedule


def test_turning_points_stay_exact_where_float32_steps_would_not_be():
    optimizer = keras.optimizers.SGD(LearningRate(cyclr.WarmRestarts(0.0, 1.0, period=10)))
    optimizer.build([keras.Variable(0.0)])
    for step in (2**24 + 4, 2**24 + 5, 2**31 - 8, 2**31 - 7):
        optimizer.iterations.assign(step)
        expected = cyclr.WarmRestarts(0.0, 1.0, period=10)(step)
        assert float(optimizer.learning_rate) == pytest.approx(expected, abs=1e-6)


def test_with_gradient_accumulation_keras_counts_batches():
    optimizer = keras.optimizers.SGD(LearningRate(WAVE), gradient_accumulation_steps=2)
    moved = -np.diff(weights_of(scalar_model(optimizer), 8), prepend=0)
    assert moved[1::2] == pytest.approx([WAVE(step) for step in (1, 3, 5, 7)], abs=1e-6)
    assert moved[::2] == pytest.approx(0, abs=1e-7)


def test_a_wrong_rate_is_refused():
    with pytest.raises(TypeError, match="schedule must be a schedule or its text"):
        LearningRate(0.1)
    with pytest.raises(ValueError, match="did you mean 'Triangular'"):
        LearningRate("Triangle(0.1, 0.5, step_size=4)")


# ---------------------------------------------------------------- the numbers of Keras's own tests


def restarts(step, decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0):
    """Restart after restart, counted off."""
    factor = 1.0
    while step >= decay_steps:
        step, decay_steps, factor = step - decay_steps, decay_steps * t_mul, factor * m_mul
    return (1 - alpha) * factor * 0.5 * (1 + np.cos(np.pi * step / decay_steps)) + alpha


@pytest.mark.parametrize(
    ("options", "schedule"),
    [
        ({}, cyclr.WarmRestarts(0, 1, period=1000, growth=2)),
        ({"t_mul": 1.0}, cyclr.WarmRestarts(0, 1, period=1000)),
        ({"alpha": 0.1}, cyclr.WarmRestarts(0.1, 1, period=1000, growth=2)),
        ({"m_mul": 0.9}, cyclr.Cosine(1, 0, steps=1000) >> cyclr.Cosine(0.9, 0, steps=2000)),
    ],
    ids=str,
)
def test_number_sequences_of_kerass_restarts(options, schedule):
    steps = range(0, 3000, 250)
    ours = array(LearningRate(schedule)(np.array(steps)))
    assert ours == pytest.approx([restarts(step, 1000, **options) for step in steps], abs=1e-6)


def test_number_sequence_of_kerass_cosine_decay_with_warm_up():
    schedule = cyclr.Linear(0, 10, steps=2000) >> cyclr.Cosine(10, 0, steps=1000)
    ours = array(LearningRate(schedule)(np.arange(0, 3500, 250)))
    rise = [step / 2000 * 10 for step in range(0, 2000, 250)]
    fall = [5 * (1 + np.cos(np.pi * step / 1000)) for step in range(0, 1001, 250)]
    assert ours == pytest.approx([*rise, *fall, 0.0], abs=1e-5)


# ---------------------------------------------------------------- momentum


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_schedule(nesterov):
    inner = keras.optimizers.SGD(LearningRate(WAVE), momentum=0.9, nesterov=nesterov)
    weights = weights_of(scalar_model(WithMomentum(inner, MOMENTUM)), 20)
    weight, velocity, expected = 0.0, 0.0, []
    for step in range(20):
        rate, momentum = WAVE(step), MOMENTUM(step)
        velocity = momentum * velocity - rate
        weight += momentum * velocity - rate if nesterov else velocity
        expected.append(weight)
    assert weights == pytest.approx(expected, rel=1e-5)
    assert inner.momentum == 0.9  # outside a step the optimizer has its plain number


@pytest.mark.parametrize("kind", ["Adam", "Nadam", "Lion"])
def test_beta_1_follows_its_schedule_and_beta_2_is_left_alone(kind):
    inner = getattr(keras.optimizers, kind)(LearningRate(0.01 * WAVE), beta_1=0.9)
    beta_2 = inner.beta_2
    model = scalar_model(WithMomentum(inner, MOMENTUM))
    weights_of(model, 20)
    first = next(variable for variable in inner.variables if variable.path.endswith(("momentum", "_m")))
    expected = 0.0
    for step in range(20):  # the gradient is one; Lion averages with beta_2
        beta = beta_2 if kind == "Lion" else MOMENTUM(step)
        expected = beta * expected + (1 - beta)
    assert array(first.value).item() == pytest.approx(expected, rel=1e-5)
    assert (inner.beta_1, inner.beta_2) == (0.9, beta_2)


def test_momentum_goes_on_beneath_kerass_wrapper_for_scaled_losses():
    inner = WithMomentum(keras.optimizers.SGD(LearningRate(WAVE), momentum=0.9), MOMENTUM)
    scaled = weights_of(scalar_model(keras.optimizers.LossScaleOptimizer(inner)), 12)
    plain = weights_of(scalar_model(WithMomentum(keras.optimizers.SGD(LearningRate(WAVE), momentum=0.9), MOMENTUM)), 12)
    assert scaled == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: WithMomentum("sgd", MOMENTUM), TypeError, "must be a Keras optimizer"),
        (lambda: WithMomentum(keras.optimizers.SGD(0.1), MOMENTUM), ValueError, "must have momentum to drive"),
        (lambda: WithMomentum(keras.optimizers.Adagrad(0.1), MOMENTUM), ValueError, "must have momentum to drive"),
        (lambda: WithMomentum(keras.optimizers.Adam(0.1), 0.9), TypeError, "momentum must be a schedule"),
        (lambda: WithMomentum(keras.optimizers.Adam(0.1), 10 * WAVE), ValueError, "up to below 1"),
    ],
)
def test_momentum_that_cannot_be_is_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


# ---------------------------------------------------------------- the range test


def network(optimizer=None, metrics=()):
    """With dropout and batch norm: randomness and statistics that could be lost."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *parts])
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", metrics=list(metrics))
    return model


def linear(optimizer=None, **options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", **options)
    return model


def by_hand(x, y, size, rates):
    """Plain gradient descent in NumPy: the loss of each batch before its update."""
    w, losses = np.zeros(3), []
    for step, rate in enumerate(rates):
        batch = slice(step * size % len(x), step * size % len(x) + size)
        error = x[batch] @ w - y[batch]
        losses.append((error**2).mean())
        w = w - rate * 2 * x[batch].T @ error / size
    return losses


def digest(model):
    """Everything that a range test could spoil, so that it can be compared."""
    optimizer = model.optimizer
    state = {
        "variables": [np.array(value) for value in model.get_weights()],
        "optimizer": [array(variable.value) for variable in optimizer.variables],
        "seeds": [array(variable.value) for variable in model.non_trainable_variables],
        "rate": id(getattr(optimizer, "inner_optimizer", optimizer)._learning_rate),
        "history": id(model.history),
        "random": random.getstate(),
        "numpy": [np.array(part) for part in np.random.get_state()[1:]],
        "function": id(model.train_function),
    }
    if BACKEND == "torch":
        import torch

        state["torch"] = torch.get_rng_state().numpy()
        # Keras makes its containers of parameters anew, now and then
        modules = [module for module in model.modules() if not isinstance(module, torch.nn.ParameterDict)]
        state["flags"] = [module.training for module in modules]
        state["gradients"] = [None if p.grad is None else p.grad.clone().numpy() for p in model.parameters()]
    return state


def warm(optimizer=None):
    """A model that has been trained a little, with its digest."""
    model = network(optimizer)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    return model, digest(model)


def test_the_losses_are_those_of_each_batch_and_the_rates_those_of_the_ramp():
    model = linear(keras.optimizers.SGD(0.0), metrics=["mae"])
    model.fit(X, Y, batch_size=16, verbose=0)  # the rate of 0 is compiled into a step now
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        model.fit(X, Y, batch_size=16, epochs=9, shuffle=False, verbose=0, callbacks=[test])
    curve = test.curve
    assert curve.rates == pytest.approx(np.geomspace(1e-3, 0.1, 20))
    assert curve.losses[0] == pytest.approx(by_hand(X, Y, 16, curve.rates), rel=1e-3)
    assert curve.stops == ("end",)
    assert curve.metrics["mae"].shape == (1, 20)
    assert (curve.metrics["mae"] ** 2 <= curve.losses * 1.001).all()
    assert curve.maximize == set()


def test_the_ramp_counts_from_where_the_optimizer_is():
    model = linear(keras.optimizers.SGD(LearningRate(WAVE)))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(1000)
    with RangeTest(model, ramp=cyclr.Ramp(0.0, 0.1, steps=12, scale="linear")) as test:
        for _ in range(2):
            model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[test])
    for losses in test.curve.losses:  # each ramp begins from the same weights
        assert losses == pytest.approx(by_hand(X, Y, 16, np.linspace(0, 0.1, 12)), rel=1e-3)
    assert int(model.optimizer.iterations) == 1000
    assert model.optimizer._learning_rate.schedule == WAVE


def test_metrics_on_validation_data_are_recorded_where_an_epoch_ends():
    model = linear(metrics=["mae", keras.metrics.R2Score(name="score")])
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=9)) as test:
        model.fit(
            X,
            Y[:, None],
            batch_size=8,
            epochs=9,
            steps_per_epoch=3,
            verbose=0,
            callbacks=[test],
            validation_data=(X, Y),
        )
    measured = np.isfinite(test.curve.metrics["val_loss"])[0]
    assert np.flatnonzero(measured).tolist() == [2, 5, 8]
    assert test.curve.metrics["val_loss"][0, 8] < test.curve.metrics["val_loss"][0, 2]
    assert test.curve.maximize == {"score", "val_score"}


@pytest.mark.parametrize("rate", [0.01, LearningRate(0.01 * WAVE)], ids=["fixed", "schedule"])
def test_everything_is_back_after_the_test_and_training_goes_on_as_if_it_had_not_been(rate):
    def optimizer():
        return WithMomentum(keras.optimizers.SGD(rate, momentum=0.9), MOMENTUM)

    model, before = warm(optimizer())
    with RangeTest(model, ramp=cyclr.Ramp(1e-4, 1e3, steps=40)) as test:
        for _ in range(2):
            model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[test])
    assert test.curve.losses.shape == (2, 40)
    np.testing.assert_equal(digest(model), before)

    untested, _ = warm(optimizer())
    for one in (model, untested):
        keras.utils.set_random_seed(7)  # the order of the data
        one.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    for ours, plain in zip(model.get_weights(), untested.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, plain)


class Trouble(keras.callbacks.Callback):
    """Raises in the middle of a ramp."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 3:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=repr)
def test_everything_is_back_after_an_exception(error):
    model, before = warm()
    with pytest.raises(type(error)), RangeTest(model, ramp=cyclr.Ramp(1e-2, 1.0, steps=20)) as test:
        model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[test, Trouble(error)])
    np.testing.assert_equal(digest(model), before)


def test_everything_is_back_after_the_data_fail():
    class Broken(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            if index == 3:
                raise OSError("disk")
            return X[:16], Y[:16]

    model, before = warm()
    with pytest.raises(OSError, match="disk"), RangeTest(model, ramp=cyclr.Ramp(1e-2, 1.0, steps=20)) as test:
        model.fit(Broken(), epochs=9, shuffle=False, verbose=0, callbacks=[test])
    np.testing.assert_equal(digest(model), before)


def test_a_loss_that_is_not_finite_ends_the_ramp():
    model = linear()
    targets = Y.copy()
    targets[16 * 4] = np.nan
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=12)) as test:
        model.fit(X, targets, batch_size=16, epochs=9, shuffle=False, verbose=0, callbacks=[test])
    assert test.curve.stops == ("non-finite",)
    assert np.isfinite(test.curve.losses).sum() == 4
    assert model.get_weights()[0].tolist() == [[0], [0], [0]]


def test_a_model_that_is_not_built_is_back_at_its_first_weights():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=6)) as test:
        model.fit(X, Y, batch_size=16, verbose=0, callbacks=[test])
    assert model.get_weights()[0].tolist() == [[0], [0], [0]]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert int(model.optimizer.iterations) == 0


def test_too_few_batches_for_the_ramp_are_an_error_that_says_so():
    model = linear()
    with (
        pytest.raises(ValueError, match="a batch for each of the 20 steps, got 12; pass more epochs"),
        RangeTest(model, ramp=cyclr.Ramp(steps=20)) as test,
    ):
        model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[test])
    with pytest.raises(ValueError, match="there must be a sweep to read"):
        test.curve


def test_outside_of_with_the_callback_refuses_to_run():
    model = linear()
    with pytest.raises(RuntimeError, match="inside a `with` statement"):
        model.fit(X, Y, verbose=0, callbacks=[RangeTest(model)])


def test_another_model_than_the_one_tested_is_refused():
    model, other = linear(), linear()
    with pytest.raises(ValueError, match="the model that is tested"), RangeTest(model) as test:
        other.fit(X, Y, verbose=0, callbacks=[test])


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: RangeTest("model"), TypeError, "must be a keras.Model"),
        (lambda: RangeTest(keras.Sequential([keras.layers.Dense(1)])), ValueError, "must be compiled"),
        (lambda: RangeTest(linear(), ramp="log"), TypeError, "ramp must be a cyclr.Ramp"),
        (lambda: RangeTest(linear(), effort="some"), ValueError, "effort must be one of"),
        (lambda: RangeTest(linear(), progress=3), TypeError, "progress must be callable"),
        (lambda: RangeTest(linear(), better="min"), TypeError, "better must be a mapping"),
        (lambda: RangeTest(linear(), better={"score": "mix"}), ValueError, "did you mean 'min'"),
        (lambda: RangeTest(linear(steps_per_execution=4)), ValueError, "each step must be seen"),
        (
            lambda: RangeTest(linear(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))),
            ValueError,
            "each batch must make a step",
        ),
    ],
)
def test_bad_input_is_told_what_must_hold(make, kind, words):
    with pytest.raises(kind, match=words):
        make()
