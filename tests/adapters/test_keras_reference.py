"""Reference batches in Keras: evaluated as trained, and without a trace; test_keras.py runs it on both backends."""

import numpy as np
import pytest

import cyclr
from cyclr import Ramp, Search

keras = pytest.importorskip("keras", reason="Keras is not installed")
from cyclr.keras import RangeTest, auto, use_schedule  # noqa: E402 - needs the one above

pytestmark = pytest.mark.usefixtures("quickly_compiled")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 3)).astype(np.float32)
Y = X.sum(1) + 0.1 * RNG.normal(size=160).astype(np.float32)


def network(drop=0.2, kind=keras.Sequential, **options):
    """With dropout, batch norm and a penalty: randomness and statistics that could be lost."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Dense(8, "relu", kernel_regularizer="l2"), layers.BatchNormalization(), layers.Dropout(drop)]
    model = kind([keras.Input((3,)), *parts, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], **options)
    return model


def sweep(model, *, sweeps=1, **how):
    with RangeTest(model, **how) as test:
        for _ in range(sweeps):
            model.fit(X, Y, batch_size=16, epochs=12, verbose=0, callbacks=[test])
    return test


def eager():
    """Small: JAX compiles each operation by itself."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    return model


@pytest.mark.parametrize(("make", "budget", "steps"), [(network, 400, 18), (eager, 200, 18)])
def test_the_same_batches_have_the_same_loss_as_long_as_the_weights_do(make, budget, steps):
    curve = sweep(make(), ramp=Ramp(high=10, furthest=10), budget=budget).curve
    assert curve.reference.shape == curve.losses.shape == (1, steps)
    early = curve.reference[0, :5]
    assert early == pytest.approx(early[0], rel=1e-3)  # the same dropout
    assert curve.losses[0, :5].std() > 10 * early.std()
    assert 1e-4 < curve.bounds(budget=budget).max_lr < 1
    assert 0 < curve.step_seconds < 1


@pytest.mark.parametrize(
    ("momentum", "scaled", "expected"), [(0.0, False, True), (0.0, True, True), (0.9, False, False)]
)
def test_a_curve_knows_whether_the_optimizer_is_sgd_without_momentum(momentum, scaled, expected):
    optimizer = keras.optimizers.SGD(0.01, momentum=momentum)
    model = network()
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    assert sweep(model, budget=200).curve.plain_sgd is expected


@pytest.mark.parametrize(
    ("make", "adaptive"),
    [
        (keras.optimizers.Adam, True),
        (keras.optimizers.AdamW, True),
        (keras.optimizers.RMSprop, True),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), True),
        (lambda: keras.optimizers.SGD(0.01, momentum=0.9), False),
        (keras.optimizers.Adadelta, False),
    ],
)
def test_a_curve_knows_how_many_weights_an_adaptive_optimizer_trains(make, adaptive):
    model = network()
    model.layers[-1].trainable = False
    trained = sum(int(np.prod(one.shape)) for one in model.trainable_variables)
    assert 0 < trained < model.count_params()
    model.compile(make(), "mse")
    assert sweep(model, budget=200).curve.weights == adaptive * trained


@pytest.mark.parametrize("frozen", [False, True])
def test_a_curve_knows_whether_a_single_layer_is_trained(frozen):
    model = network()
    for layer in model.layers[:-1]:
        layer.trainable = not frozen
    model.compile(keras.optimizers.Adam(), "mse")
    assert sweep(model, budget=200).curve.single_layer is frozen


def test_an_evaluation_is_the_loss_that_a_step_has_of_the_first_two_batches():
    model = network(drop=0.0)
    with RangeTest(model, budget=400) as test:
        model.fit(X[:32], Y[:32], batch_size=16, epochs=40, shuffle=False, verbose=0, callbacks=[test])
    # The first step after the two that are set aside takes the first batch again, and then the other one.
    assert test.curve.reference[0, 0] == pytest.approx(test.curve.losses[0, :2].mean(), rel=1e-4)


def test_a_training_after_the_test_is_the_training_without_it():
    def trained(prepare):
        model = network()
        model.fit(X[:4], Y[:4], verbose=0)  # built; to build it takes random numbers
        prepare(model)
        history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0).history
        return history, [value.tolist() for value in model.get_weights()]

    made = []
    assert trained(lambda model: made.append(sweep(model, budget=400, sweeps=2))) == trained(lambda _: None)
    assert made[0].curve.reference.shape[0] == 2
    assert made[0].curve.reference[1, 0] == pytest.approx(made[0].curve.reference[0, 0], rel=1e-5)


def test_the_losses_of_the_steps_are_those_without_an_evaluation():
    ramp, x, y = Ramp(1e-4, 0.1, steps=18), np.tile(X, (3, 1)), np.tile(Y, 3)
    model = network()
    with RangeTest(model, ramp=ramp, budget=400) as test:
        model.fit(x, y, batch_size=16, epochs=12, shuffle=False, verbose=0, callbacks=[test])
    rolled_x, rolled_y = np.roll(x, -32, 0), np.roll(y, -32, 0)  # two batches were set aside
    other = network()
    with RangeTest(other, ramp=ramp) as plain:
        other.fit(rolled_x, rolled_y, batch_size=16, epochs=12, shuffle=False, verbose=0, callbacks=[plain])
    assert test.curve.losses[0] == pytest.approx(plain.curve.losses[0], rel=1e-4)
    assert test.curve.metrics["mae"][0] == pytest.approx(plain.curve.metrics["mae"][0], rel=1e-4)


def test_auto_says_how_many_batches_it_needs_and_a_fit_that_is_too_short_is_told():
    with RangeTest(network(), budget=400, ramp=Ramp(furthest=10)) as test:
        assert test.most_steps == 18 + 2
        with pytest.raises(ValueError, match="fit must give a batch for each of the 20 steps"):
            test._tested.fit(X, Y, batch_size=16, epochs=1, verbose=0, callbacks=[test])


def test_a_train_step_of_ones_own_has_no_loss_without_a_step():
    class Own(keras.Sequential):
        def train_step(self, *arguments):
            return super().train_step(*arguments)

    assert not sweep(network(kind=Own), budget=400).curve.reference.size


def test_a_data_set_that_writes_all_batches_to_one_array():
    class Same(keras.utils.PyDataset):
        x, y = X[:16].copy(), Y[:16].copy()

        def __len__(self):
            return 10

        def __getitem__(self, index):
            self.x[:], self.y[:] = X[16 * index : 16 * (index + 1)], Y[16 * index : 16 * (index + 1)]
            return self.x, self.y

    model, other = network(), network()
    with RangeTest(model, budget=400) as test:
        model.fit(Same(), epochs=12, shuffle=False, verbose=0, callbacks=[test])
    with RangeTest(other, budget=400) as plain:
        other.fit(X, Y, batch_size=16, epochs=12, shuffle=False, verbose=0, callbacks=[plain])
    assert test.curve.reference[0] == pytest.approx(plain.curve.reference[0], rel=1e-3, nan_ok=True)


def test_reference_batches_answer_where_training_losses_show_nothing():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    y = (x.sum(1, keepdims=True) + 30 * rng.normal(size=(2000, 1))).astype(np.float32)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    tuned = auto(model, x, y, epochs=2, batch_size=2, search=Search(effort="quick", progress=False))
    assert tuned.curve.reference.size
    assert tuned.curve.tuning_cost <= 30
    assert tuned.curve.tuning_cost <= 300 + 100
    assert 1e-5 < tuned.bounds.max_lr < 0.1


def test_a_short_training_that_auto_prepares_costs_15_percent_of_testing():
    model = network()
    model.fit(X[:4], Y[:4], verbose=0)
    use_schedule(model, cyclr.Constant(0.01))
    tuned = auto(model, X, Y, epochs=40, batch_size=16, search=Search(progress=False))
    assert tuned.curve.reference.size
    assert tuned.curve.tuning_cost <= 60
