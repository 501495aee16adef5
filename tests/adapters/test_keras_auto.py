"""A schedule that a Keras model is given, finds by itself, or goes on with after loading; test_keras.py runs it
on both backends."""

import numpy as np
import pytest

import cyclr
from cyclr import Constant, Ramp, Search

keras = pytest.importorskip("keras", reason="Keras is not installed")
from cyclr.keras import LearningRate, WithMomentum, auto, use_schedule  # noqa: E402 - needs the one above

pytestmark = pytest.mark.usefixtures("quickly_compiled")
WAVE = cyclr.Triangular(0.01, 0.05, step_size=4)
OTHER = cyclr.Triangular(0.001, 0.02, step_size=3)
SEARCH = Search(Ramp(1e-4, 3.0, steps=80))
ONE = np.ones((1, 1), np.float32)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 3)).astype(np.float32)
Y = X.sum(1) + 0.1 * RNG.normal(size=160).astype(np.float32)


def scalar_model(optimizer):
    """One weight, whose gradient is always one: each step moves it by the rate."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer, loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    return model


def used(model, steps):
    """The rates of the next steps, as `fit` takes them."""
    seen = [float(model.get_weights()[0][0, 0])]
    for _ in range(steps):
        model.fit(ONE, ONE, batch_size=1, verbose=0)
        seen.append(float(model.get_weights()[0][0, 0]))
    return -np.diff(seen)


def along(schedule, steps):
    return pytest.approx([schedule(step) for step in steps], abs=1e-6)


# ---------------------------------------------------------------- given


@pytest.mark.parametrize("before", [0.3, lambda: 0.3, WAVE], ids=["number", "function", "schedule"])
@pytest.mark.parametrize("trained", [False, True])
def test_a_schedule_takes_over_at_the_optimizers_step(before, trained):
    rate = LearningRate(before) if before is WAVE else before
    model = scalar_model(keras.optimizers.SGD(rate))
    done = 5 if trained else 0
    used(model, done)  # the old rate is compiled into a step now
    use_schedule(model, OTHER)
    assert used(model, 6) == along(OTHER, range(done, done + 6))
    use_schedule(model, repr(WAVE))
    assert used(model, 6) == along(WAVE, range(done + 6, done + 12))


@pytest.mark.parametrize("wrap", [lambda one: WithMomentum(one, Constant(0.5)), keras.optimizers.LossScaleOptimizer])
def test_a_schedule_reaches_an_optimizer_that_is_wrapped(wrap):
    model = scalar_model(wrap(keras.optimizers.SGD(0.3, momentum=0.5)))
    use_schedule(model, OTHER)
    used(model, 2)
    assert float(model.optimizer.learning_rate) == pytest.approx(OTHER(2))


def test_a_plan_is_taken_wherever_a_schedule_is():
    plan = cyclr.plan(cyclr.Bounds(0.001, 0.01), steps=20)
    assert LearningRate(plan).schedule == plan.schedule
    model = scalar_model(keras.optimizers.SGD(LearningRate(plan)))
    assert used(model, 5) == along(plan.schedule, range(5))
    model = scalar_model(keras.optimizers.SGD(0.1))
    use_schedule(model, plan)
    assert used(model, 5) == along(plan.schedule, range(5))


@pytest.mark.parametrize(
    ("model", "schedule", "kind", "words"),
    [
        (lambda: 3, WAVE, TypeError, "model must be a keras.Model, got 3"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), WAVE, ValueError, "model must be compiled with an optimi"),
        (lambda: scalar_model("sgd"), 0.1, TypeError, "schedule must be a schedule or its text, got 0.1"),
        (lambda: scalar_model("sgd"), "Triangle(1, 2)", ValueError, "Triangular"),
    ],
)
def test_what_cannot_drive_a_model_is_refused(model, schedule, kind, words):
    with pytest.raises(kind, match=words):
        use_schedule(model(), schedule)


# ---------------------------------------------------------------- another schedule on a saved model


SHORT, LONG = cyclr.Linear(0.01, 0, steps=10), cyclr.Linear(0.01, 0, steps=20)


@pytest.mark.parametrize(
    ("rate", "new"),
    [
        (LearningRate(SHORT), LONG),
        (LearningRate(WAVE), OTHER),
        (keras.optimizers.schedules.CosineDecay(0.1, 10), OTHER),
        (0.05, OTHER),
    ],
    ids=["longer", "other", "cosine", "number"],
)
def test_a_loaded_model_goes_on_with_the_schedule_that_is_asked_for(rate, new, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(X[:7], Y[:7], batch_size=1, verbose=0)
    model.save(tmp_path / "model.keras")
    kept, changed = (keras.models.load_model(tmp_path / "model.keras") for _ in range(2))
    use_schedule(changed, new)
    for model, follows in ((changed, new), (kept, getattr(rate, "schedule", rate))):
        for step in range(7, 12):
            expected = follows if isinstance(follows, float) else float(follows(step))
            assert float(model.optimizer.learning_rate) == pytest.approx(expected, abs=1e-6)
            model.fit(X[:1], Y[:1], verbose=0)


# ---------------------------------------------------------------- found


def network(optimizer=None):
    """With dropout and batch norm: randomness and statistics that could be lost."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *parts])
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", metrics=["mae"])
    return model


def trained(prepare, data, **options):
    """All that a training gives, after `prepare` has had its model."""
    model = network()
    model.fit(X[:4], Y[:4], verbose=0)  # built; to build it takes random numbers
    model.optimizer.iterations.assign(0)
    prepare(model)
    history = model.fit(*data, epochs=3, verbose=0, **options).history
    return history, [value.tolist() for value in model.get_weights()], int(model.optimizer.iterations)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[32 * index : 32 * (index + 1)], Y[32 * index : 32 * (index + 1)]


DATA = {
    "default size": ((X, Y), {}),
    "a rest, with weights": ((X[:150], Y[:150]), {"batch_size": 32, "sample_weight": np.linspace(0.5, 1.5, 150)}),
    "short epochs": ((X, Y), {"batch_size": 16, "steps_per_epoch": 5}),
    "data set": ((Batches(),), {}),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", DATA)
def test_auto_plans_the_steps_that_fit_makes(kind, capsys):
    data, options = DATA[kind]
    model = network()
    assert auto(model, *data, epochs=3, search=SEARCH, **options).plan.steps == 15
    model.fit(*data, epochs=3, verbose=0, **options)
    assert int(model.optimizer.iterations) == 15
    assert "auto: max_lr " in capsys.readouterr().err


def test_auto_changes_nothing_but_the_rate():
    data, options = DATA["a rest, with weights"]
    found = []
    itself = trained(
        lambda model: found.append(auto(model, *data, epochs=3, search=SEARCH, **options)), data, **options
    )
    assert itself == trained(lambda model: use_schedule(model, found[0].plan), data, **options)


def test_auto_on_a_trained_model_begins_its_plan_at_the_present_step_and_again():
    model = network(keras.optimizers.SGD(0.01, momentum=0.9))
    start = model.get_weights()
    for done in (0, 30):
        model.set_weights(start)
        tuned = auto(model, X, Y, epochs=80, batch_size=16, search=Search(SEARCH.ramp, repeats=2))
        assert len(tuned.curve.losses) == 2
        assert int(model.optimizer.iterations) == done
        for epoch in range(3):
            assert float(model.optimizer.learning_rate) == pytest.approx(tuned.plan.schedule(10 * epoch), rel=1e-5)
            model.fit(X, Y, batch_size=16, verbose=0)


@pytest.mark.any_backend
@pytest.mark.parametrize("steps", [400, 2000, 4000])
def test_repeats_share_what_the_training_pays_for(steps):
    tuned = auto(network(), X, Y, epochs=steps // 5, batch_size=32, search=Search(repeats=3, progress=False))
    assert tuned.curve.tuning_cost <= 0.15 * steps
    assert len(tuned.curve.losses) == (2 if steps == 400 else 3)


@pytest.mark.any_backend
def test_auto_may_be_thorough():
    tuned = auto(network(), X, Y, epochs=3, batch_size=16, search=Search(SEARCH.ramp, effort="thorough"))
    assert len(tuned.curve.peaks) >= 3


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: auto(3, X, Y, epochs=3), TypeError, "model must be a keras.Model, got 3"),
        (lambda: auto(network(), X, Y, epochs=3, search=3), TypeError, r"search must be a cyclr\.Search, got 3"),
        (lambda: auto(network(), X, Y, epochs=0), ValueError, "epochs must be"),
        (lambda: auto(network(), iter([(X, Y)]), epochs=3), TypeError, "started again, not a generator"),
        (
            lambda: auto(network(), X, Y, epochs=1, goal=cyclr.Goal(cycles=9)),
            ValueError,
            "9 cycles need at least 18 steps, got 5",
        ),
        (
            lambda: auto(network(), X, Y, epochs=3, search=Search(held_out=cyclr.HeldOut([(X, Y)]))),
            ValueError,
            "held_out must be None in Keras, .* use RangeTest",
        ),
        (
            lambda: auto(network(), X, Y, epochs=3, search=Search(repeats=2, effort="thorough")),
            ValueError,
            "repeats must be 1 in Keras where effort is 'thorough'",
        ),
    ],
)
def test_auto_says_what_is_wrong_before_any_step(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def test_auto_without_an_answer_changes_nothing():
    model = network()
    rate = model.optimizer._learning_rate
    with pytest.raises(cyclr.Inconclusive):
        auto(model, X, Y, epochs=3, batch_size=16, search=Search(Ramp(1e-9, 1e-8, steps=80), effort="quick"))
    assert model.optimizer._learning_rate is rate
