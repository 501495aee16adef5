"""A schedule drives a skorch network by a callback of a few lines, in a Pipeline too."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
skorch = pytest.importorskip("skorch", reason="skorch is not installed")
from sklearn.base import clone  # noqa: E402 - needs the two above
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import cyclr  # noqa: E402
from cyclr.torch import Scheduler, range_test  # noqa: E402

PLAN = cyclr.plan(cyclr.Bounds(1e-3, 1e-2), epochs=2, steps_per_epoch=5)
RNG = np.random.default_rng(0)
X = RNG.normal(5, 100, size=(640, 8)).astype(np.float32)
Y = (X.sum(1, keepdims=True) / 100 + 0.1 * RNG.normal(size=(640, 1))).astype(np.float32)


class Drive(skorch.callbacks.Callback):
    """The callback of the page, which also notes the rates."""

    def __init__(self, schedule=None):
        self.schedule = schedule

    def on_train_begin(self, net, **_):
        done = sum(net.history[:, "train_batch_count"]) if net.history else 0
        self.scheduler_ = Scheduler(net.optimizer_, self.schedule, last_epoch=done - 1)
        self.used_ = [] if not done else self.used_

    def on_batch_end(self, net, training, **_):
        if training:
            self.used_.append(net.optimizer_.param_groups[0]["lr"])
            self.scheduler_.step()


def pipeline(schedule=None):
    options = {
        "train_split": None,
        "verbose": 0,
        "lr": 0.01,
        "max_epochs": 2,
        "callbacks": [("drive", Drive(schedule))],
    }
    return make_pipeline(StandardScaler(), skorch.NeuralNetRegressor(torch.nn.Linear(8, 1), **options))


def used(pipe):
    return dict(pipe[-1].callbacks_)["drive"].used_


def along(steps):
    return pytest.approx([PLAN.schedule(step) for step in range(steps)])


@pytest.mark.parametrize(
    "prepare",
    [
        lambda: pipeline(PLAN),
        lambda: pipeline().set_params(neuralnetregressor__callbacks__drive__schedule=PLAN),
        lambda: clone(pipeline(PLAN)),
        lambda: pipeline(PLAN).fit(X, Y),  # a second fit begins anew
    ],
    ids=["made with it", "set", "cloned", "fitted before"],
)
def test_a_pipeline_is_fitted_along_its_plan(prepare):
    assert used(prepare().fit(X, Y)) == along(PLAN.steps)


def test_a_network_goes_on_where_it_stopped():
    net = pipeline(PLAN)[-1].set_params(max_epochs=1)
    net.fit(X / 100, Y).partial_fit(X / 100, Y)
    assert dict(net.callbacks_)["drive"].used_ == along(PLAN.steps)


def test_a_grid_search_clones_the_plan():
    search = GridSearchCV(pipeline(PLAN), {"neuralnetregressor__optimizer__momentum": [0.0, 0.9]}, cv=2).fit(X, Y)
    assert used(search.best_estimator_) == along(PLAN.steps)


def test_the_range_test_sees_what_the_network_sees_and_leaves_it_as_it_was():
    torch.manual_seed(0)
    pipe = pipeline()
    net, scaled = pipe[-1].initialize(), pipe[:-1].fit_transform(X)
    before = [value.clone() for value in net.module_.state_dict().values()]
    loader = net.get_iterator(net.get_dataset(scaled, Y), training=True)
    curve = range_test(net.module_, net.optimizer_, loader, torch.nn.functional.mse_loss)
    assert 1e-3 < curve.bounds().max_lr < 1
    assert all(map(torch.equal, before, net.module_.state_dict().values()))
