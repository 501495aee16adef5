"""Keras 3: learning rates, momentum and the range test, on the backend of this process and then on the other."""

import copy
import importlib.util
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import cyclr
from tests import forked
from tests.schedules.strategies import EXAMPLES

keras = pytest.importorskip("keras", reason="Keras is not installed")
from cyclr.keras import LearningRate, RangeTest, WithMomentum  # noqa: E402 - needs the one above

pytestmark = pytest.mark.usefixtures("quickly_compiled")
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
    others = ("test_keras_auto.py", "test_keras_in_turn.py", "test_keras_reference.py")
    files = [__file__, *(str(Path(__file__).with_name(name)) for name in others)]
    environment = os.environ | {"KERAS_BACKEND": other, "CYCLR_OTHER_BACKEND": "1"}
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not any_backend", *files]
    result = forked.run(*command, needs=forked.KERAS, env=environment)
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
        (lambda: WithMomentum(keras.optimizers.Adam(0.1), 10 * WAVE), ValueError, "at least 0 and below 1"),
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
        pytest.raises(ValueError, match="a batch for each of the 25 steps, got 12; pass more epochs"),
        RangeTest(model, ramp=cyclr.Ramp(steps=20)) as test,
    ):
        model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[test])
    with pytest.raises(ValueError, match="at least one complete sweep is needed"):
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
        (lambda: RangeTest(linear(), ramp=3), TypeError, "ramp must be a cyclr.Ramp"),
        (lambda: RangeTest(linear(), effort="some"), ValueError, "effort must be one of"),
        (lambda: RangeTest(linear(), progress=3), TypeError, "progress must be callable"),
        (lambda: RangeTest(linear(), better="min"), TypeError, "better must be a mapping"),
        (lambda: RangeTest(linear(), better={"score": "mix"}), ValueError, "did you mean 'min'"),
        (lambda: RangeTest(linear(steps_per_execution=4)), ValueError, "steps_per_execution must be 1"),
        (
            lambda: RangeTest(linear(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))),
            ValueError,
            "must make a step for each batch",
        ),
    ],
)
def test_bad_input_is_told_what_must_hold(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


# ---------------------------------------------------------------- thorough, directions, progress


NOISE = np.random.default_rng(3).normal(size=96).astype(np.float32)


@pytest.mark.parametrize("rate", [0.01, LearningRate(0.01 * WAVE)], ids=["fixed", "schedule"])
def test_a_thorough_test_adds_probe_cycles_in_the_same_fit(rate):
    model = linear(keras.optimizers.SGD(rate))
    model.fit(X, Y + NOISE, batch_size=16, verbose=0)
    before, seen = digest(model), []
    with RangeTest(
        model, ramp=cyclr.Ramp(1e-4, 10.0, steps=100), effort="thorough", progress=lambda *now: seen.append(now)
    ) as test:
        model.fit(X, Y + NOISE, batch_size=16, epochs=500, shuffle=False, verbose=0, callbacks=[test])
    np.testing.assert_equal(digest(model), before)
    curve, start = test.curve, before["variables"][0][:, 0].astype(np.float64)
    assert curve.losses.shape == (1, 100)
    assert 3 <= len(curve.peaks) <= 5
    assert curve.bounds().max_lr > 0
    assert len(seen) <= curve.tuning_cost <= test._recorder.most_steps
    assert curve.losses[0][:20] == pytest.approx(descent(start, 0, curve.rates[:20]), rel=1e-3)
    # the lowest peak but one was the first: it began where the sweep had ended, with the batches that came next
    first = int(np.argmin(abs(np.log(curve.peaks / cyclr.Curve(curve.rates, curve.losses).bounds().max_lr) + 1.151)))
    cycle = cyclr.one_cycle(curve.peaks[first], steps=160, base_lr=curve.peaks[first] / 10, shape="linear")
    made = np.isfinite(curve.losses[0]).sum()
    expected = descent(start, made, [cycle(step) for step in range(60)])
    assert curve.probes[first][:60] == pytest.approx(expected, rel=1e-2)


def descent(w, offset, rates):
    """Plain gradient descent from `w`, on the batches from the `offset`-th on."""
    w, losses, targets = np.array(w), [], Y + NOISE
    for step, rate in enumerate(rates, offset):
        batch = slice(step % 6 * 16, step % 6 * 16 + 16)
        error = X[batch] @ w - targets[batch]
        losses.append((error**2).mean())
        w = w - rate * 2 * X[batch].T @ error / 16
    return losses


def test_a_thorough_test_that_is_inconclusive_sweeps_again_more_slowly():
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-9, 1e-8, steps=10), effort="thorough") as test:
        model.fit(X, Y, batch_size=16, epochs=100, verbose=0, validation_data=(X, Y), callbacks=[test])
    assert test.curve.losses.shape == (1, 30)
    assert test.curve.tuning_cost == 10 + 30
    # the second sweep began after step 10, in the middle of an epoch of six
    assert np.flatnonzero(np.isfinite(test.curve.metrics["val_loss"])[0]).tolist() == [1, 7, 13, 19, 25, 29]


def test_a_thorough_test_is_one_fit_with_steps_enough():
    model = linear()
    with (
        pytest.raises(ValueError, match="a batch for each of up to 1022 steps, got 12; pass more epochs"),
        RangeTest(model, ramp=cyclr.Ramp(steps=10), effort="thorough") as test,
    ):
        model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[test])
    with (
        pytest.raises(RuntimeError, match="must be a single call of fit, got a second"),
        RangeTest(model, ramp=cyclr.Ramp(1e-9, 1e-8, steps=10), effort="thorough") as test,
    ):
        for _ in range(2):
            model.fit(X, Y, batch_size=16, epochs=100, verbose=0, callbacks=[test])


@pytest.mark.any_backend
def test_metrics_of_probe_cycles_are_not_those_of_the_sweep():
    def curve_of(effort):
        model = linear(metrics=["mae"])
        with RangeTest(model, ramp=cyclr.Ramp(1e-4, 10.0, steps=100), effort=effort) as test:
            model.fit(
                X,
                Y + NOISE,
                batch_size=16,
                epochs=500,
                shuffle=False,
                verbose=0,
                validation_freq=3,
                validation_data=(X, Y),
                callbacks=[test],
            )
        return test.curve

    quick, thorough = curve_of("quick"), curve_of("thorough")
    assert len(thorough.peaks)
    assert thorough.losses.shape == quick.losses.shape
    for name in ("mae", "val_mae", "val_loss"):
        last = np.isfinite(quick.losses).sum() - 1  # there the first test ended its epoch, and the other went on
        np.testing.assert_allclose(thorough.metrics[name][0, :last], quick.metrics[name][0, :last], rtol=1e-4)


@keras.saving.register_keras_serializable("tests")
def skill(y_true, y_pred):
    return -keras.ops.mean(keras.ops.abs(y_true - y_pred))


def test_a_metric_that_nobody_knows_must_say_which_way_is_better():
    model = linear(metrics=[skill])
    with (
        pytest.raises(ValueError, match=r"'skill' must say which way is better.*better=\{'skill': 'min'\}"),
        RangeTest(model, ramp=cyclr.Ramp(steps=10)) as test,
    ):
        model.fit(X, Y, verbose=0, callbacks=[test])
    with RangeTest(model, ramp=cyclr.Ramp(steps=10), better={"skill": "max"}) as test:
        model.fit(X, Y, batch_size=16, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[test])
    assert test.curve.maximize == {"skill", "val_skill"}


@pytest.mark.parametrize(
    ("metric", "better", "way"),
    [
        ("mae", {}, "min"),
        ("mape", {}, "min"),
        ("cosine_similarity", {}, "max"),
        (lambda: keras.metrics.R2Score(name="q"), {}, "max"),
        (lambda: keras.metrics.MeanSquaredError(name="q"), {}, "min"),
        (lambda: keras.metrics.R2Score(name="q"), {"q": "min"}, "min"),
        (lambda: keras.metrics.MeanMetricWrapper(skill, name="perplexity"), {}, "min"),
        (lambda: keras.metrics.MeanMetricWrapper(skill, name="top5"), {}, "max"),
        (lambda: keras.metrics.MeanMetricWrapper(skill, name="q"), {"val_q": "max", "q": "max"}, "max"),
    ],
)
def test_which_way_a_metric_is_better_is_said_by_the_user_its_class_or_its_name(metric, better, way):
    made = metric() if callable(metric) else metric
    model = linear(metrics=[made])
    with RangeTest(model, ramp=cyclr.Ramp(steps=2), better=better) as test:
        model.fit(X, Y[:, None], batch_size=16, verbose=0, callbacks=[test])
    assert (test.curve.maximize == set(test.curve.metrics)) == (way == "max")
    assert len(test.curve.metrics) == 1


def test_each_output_of_a_model_has_its_metrics():
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    quality = {name: [keras.metrics.R2Score(name="q")] for name in outputs}
    model.compile("sgd", dict.fromkeys(outputs, "mse"), metrics=quality)
    with RangeTest(model, ramp=cyclr.Ramp(steps=4)) as test:
        model.fit(X, {"a": Y[:, None], "b": Y[:, None]}, batch_size=16, verbose=0, callbacks=[test])
    assert test.curve.maximize == {"a_q", "b_q"}
    assert set(test.curve.metrics) == {"a_q", "b_q", "a_loss", "b_loss"}


# ---------------------------------------------------------------- beside other callbacks


def early():
    return keras.callbacks.EarlyStopping(monitor="loss", patience=0, restore_best_weights=True)


OTHERS = {
    "early stopping": lambda folder: early(),
    "plateau": lambda folder: keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_lr=0.5),
    "schedule": lambda folder: keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.5),
    "checkpoint": lambda folder: keras.callbacks.ModelCheckpoint(folder / "best.keras", monitor="loss"),
    "each step": lambda folder: keras.callbacks.ModelCheckpoint(folder / "best.keras", save_freq=1),
    "weights": lambda folder: keras.callbacks.ModelCheckpoint(folder / "a.weights.h5", save_weights_only=True),
    "backup": lambda folder: keras.callbacks.BackupAndRestore(folder / "backup"),
    "csv": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
    "nan": lambda folder: keras.callbacks.TerminateOnNaN(),
    "history": lambda folder: keras.callbacks.History(),
    "own kind of early stopping": lambda folder: type("Mine", (keras.callbacks.EarlyStopping,), {})("loss", patience=0),
    "swap": lambda folder: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
    "several": lambda folder: [early(), [keras.callbacks.CSVLogger(folder / "log.csv")]],
    "in a list of keras's": lambda folder: keras.callbacks.CallbackList([early()]),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("schedule", [False, True], ids=["fixed", "schedule"])
def test_kerass_own_callbacks_are_left_out_of_the_test(make, schedule, tmp_path):
    model = linear(keras.optimizers.SGD(LearningRate(0.01 * WAVE) if schedule else 0.01, use_ema=True))
    other = make(tmp_path)
    before = repr(vars(other)) if isinstance(other, keras.callbacks.Callback) else None
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        if isinstance(other, keras.callbacks.CallbackList):
            other.callbacks.append(test)
            before = repr(vars(other))
        callbacks = other if isinstance(other, keras.callbacks.CallbackList) else [other, test]
        model.fit(X, Y, batch_size=16, epochs=20, steps_per_epoch=3, shuffle=False, verbose=0, callbacks=callbacks)
    assert test.curve.losses[0] == pytest.approx(by_hand(X, Y, 16, test.curve.rates), rel=1e-3)
    assert not list(tmp_path.iterdir())
    if before is not None:
        assert repr(vars(other)) == before
    assert "fit" not in vars(model)


def test_callbacks_of_the_users_own_are_called():
    seen = []
    mine = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        model.fit(X, Y, 16, 9, 0, [mine, test], shuffle=False)  # by position
    assert seen[:20] == pytest.approx(test.curve.losses[0].tolist())  # then the same batches at a rate of zero


class Stops(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch >= 3


class Sets(keras.callbacks.Callback):
    """Sets the rate where it is told to."""

    def __init__(self, where):
        super().__init__()
        setattr(self, where, lambda *_, **__: setattr(self.model.optimizer, "learning_rate", 0.5))


def test_a_callback_that_stops_the_training_is_named():
    model = linear()
    with (
        pytest.raises(ValueError, match=r"got 4; leave out the callback that stopped .*\(besides the test: Stops\)"),
        RangeTest(model, ramp=cyclr.Ramp(steps=20)) as test,
    ):
        model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[test, Stops()])


def test_a_callback_that_sets_the_rate_before_the_step_is_named():
    model = linear()
    with (
        pytest.raises(ValueError, match=r"step 0 must be made at the test's rate 1e-06, got 0.5; leave out .*Sets"),
        RangeTest(model, ramp=cyclr.Ramp(steps=20)) as test,
    ):
        model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[Sets("on_train_batch_begin"), test])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("where", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end"])
def test_a_rate_set_elsewhere_is_overruled(where):
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        model.fit(X, Y, batch_size=16, epochs=9, shuffle=False, verbose=0, callbacks=[test, Sets(where)])
    assert test.curve.losses[0] == pytest.approx(by_hand(X, Y, 16, test.curve.rates), rel=1e-3)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


# ---------------------------------------------------------------- Ctrl-C and random states


class Pressed(keras.callbacks.Callback):
    """Ctrl-C at a moment of the training, and again while the model is restored."""

    def __init__(self, moment):
        super().__init__()
        setattr(self, moment, self.press)

    def press(self, batch=0, logs=None):
        if batch >= (3 if logs is not None else 0):
            signal.raise_signal(signal.SIGINT)


def press_in_restore(monkeypatch, model, times):
    """Have Ctrl-C pressed when a variable is put back at the end; the list grows by one at each press."""
    variable = type(model.trainable_variables[0])
    assign, running, pressed = variable.assign, RangeTest.__exit__.__code__, []

    def pressing(self, value):
        frame = sys._getframe()
        while frame is not None and frame.f_code is not running:
            frame = frame.f_back
        if frame is not None and len(pressed) < times:
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)
        return assign(self, value)

    monkeypatch.setattr(variable, "assign", pressing)
    return pressed


@pytest.mark.parametrize(
    ("moment", "again"), [("on_train_begin", 1), ("on_train_batch_end", 5), ("on_epoch_end", 20), ("on_train_end", 2)]
)
def test_a_second_ctrl_c_waits_for_the_restore(moment, again, monkeypatch):
    model, before = warm()
    pressed, handler = press_in_restore(monkeypatch, model, again), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), RangeTest(model, ramp=cyclr.Ramp(1e-2, 1.0, steps=20)) as test:
        model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[test, Pressed(moment)])
    assert len(pressed) == again
    monkeypatch.undo()
    np.testing.assert_equal(digest(model), before)
    assert signal.getsignal(signal.SIGINT) is handler


def test_one_ctrl_c_in_the_restore_of_a_test_that_went_well_is_not_lost(monkeypatch):
    model, before = warm()
    pressed = press_in_restore(monkeypatch, model, 1)
    with pytest.raises(KeyboardInterrupt), RangeTest(model, ramp=cyclr.Ramp(1e-2, 1.0, steps=20)) as test:
        model.fit(X, Y, batch_size=16, epochs=9, verbose=0, callbacks=[test])
    assert pressed
    monkeypatch.undo()
    assert test.curve.stops == ("end",)
    np.testing.assert_equal(digest(model), before)


def torch_loader(torch, kind):
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    if kind == "shuffled":
        return torch.utils.data.DataLoader(data, 16, shuffle=True)
    if kind == "generator":
        return torch.utils.data.DataLoader(data, 16, shuffle=True, generator=torch.Generator().manual_seed(3))
    if kind == "sampler":
        sampler = torch.utils.data.RandomSampler(data, generator=torch.Generator().manual_seed(4))
        return torch.utils.data.DataLoader(data, 16, sampler=sampler)

    class Augmented(torch.utils.data.Dataset):
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            noise = self.rng.normal() if kind == "own numpy" else random.random() + torch.rand(()).item()
            return torch.tensor(X[index] + np.float32(0.01 * noise)), torch.tensor(Y[index])

    return torch.utils.data.DataLoader(Augmented(), 16)


@pytest.mark.parametrize("kind", ["shuffled", "generator", "sampler", "own numpy", "augmented"])
def test_random_states_that_torchs_loaders_draw_from_are_back_on_either_backend(kind):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    loader = torch_loader(torch, kind)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()

    def batches():
        state = torch.get_rng_state(), random.getstate()
        copy_of = copy.deepcopy(loader)
        found = [x.numpy() for x, _ in copy_of]
        torch.set_rng_state(state[0])
        random.setstate(state[1])
        return found

    first = batches()
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        for _ in range(2):
            model.fit(loader, epochs=9, shuffle=False, verbose=0, validation_data=loader, callbacks=[test])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    np.testing.assert_array_equal(first, batches())


def test_a_keras_data_set_with_a_generator_of_its_own_is_back():
    class Noisy(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(5)

        def __len__(self):
            return 6

        def __getitem__(self, index):
            return X[:16] + self.rng.normal(size=(16, 3)).astype(np.float32), Y[:16]

    data, model = Noisy(), linear()
    before = repr(data.rng.bit_generator.state)
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 0.1, steps=20)) as test:
        model.fit(data, epochs=9, verbose=0, callbacks=[test])
    assert repr(data.rng.bit_generator.state) == before


# ---------------------------------------------------------------- data that are not shuffled

LONG = np.random.default_rng(4).normal(size=(640, 3)).astype(np.float32)


def test_a_season_is_not_taken_for_a_curve():
    y = LONG.sum(1) * np.linspace(3, 1, 640, dtype=np.float32)
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-9, 1e-7, steps=40)) as test:
        model.fit(LONG, y, batch_size=16, epochs=9, shuffle=False, verbose=0, callbacks=[test])
    assert test.curve.control == pytest.approx(test.curve.losses, rel=1e-4)  # the very same batches
    with pytest.raises(cyclr.Inconclusive, match="the loss follows the order of the data"):
        test.curve.bounds()


def test_a_fit_that_ends_before_the_order_is_known_says_so(caplog):
    model = linear()
    with RangeTest(model, ramp=cyclr.Ramp(1e-3, 1e-1, steps=60)) as test:
        model.fit(LONG, LONG.sum(1), batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[test])
    assert "pass more epochs to fit, or shuffle=True" in caplog.text
    assert test.curve.losses.shape == (1, 60)
    assert not test.curve.control.size
