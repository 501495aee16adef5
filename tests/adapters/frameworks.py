"""One case list: each framework that schedules drive, as its users drive it. To add one, add an entry.

Run as a program it is one of the two processes that a training takes: `python -m tests.adapters.frameworks NAME FOLDER
first|second`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import cyclr
from tests.schedules.strategies import EXAMPLES

# What every framework trains in the resume test: least squares, with a rate that cycles and a momentum against it.
WAVE = cyclr.Triangular(0.001, 0.02, step_size=7)
MOMENTUM = cyclr.Opposed(WAVE, 0.8, 0.95)
X = np.random.default_rng(0).normal(size=(100, 8, 3)).astype(np.float32)
Y = X.sum(2, keepdims=True)
HALF = len(X) // 2


@dataclass(frozen=True)
class Framework:
    """How to ask a framework for its rates, and how to train with it.

    `rates(schedule, steps)`: what the framework makes of the schedule at these steps (an int64 array).
    `train(folder, first, last)`: a fresh model with fixed weights; from what it saved in the folder if `first` is not
    0; updates first .. last - 1 on the batches of `X` and `Y`; saved in the folder. Returns the rates that the
    optimizer used and the weights.
    """

    name: str
    needs: tuple[str, ...]
    rates: Callable
    train: Callable
    precision: float = float(np.finfo(np.float32).eps)
    last: int = 2**31 - 1  # the largest step it counts to
    environment: dict[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- NumPy


def numpy_rates(schedule, steps):
    return schedule(steps)


def numpy_train(folder, first, last):
    state = {"w": np.zeros((3, 1)), "v": np.zeros((3, 1)), "schedule": repr(WAVE), "momentum": repr(MOMENTUM)}
    if first:
        state = dict(np.load(folder / "state.npz"))
    w, v = state["w"], state["v"]
    schedule, momentum = cyclr.parse(str(state["schedule"])), cyclr.parse(str(state["momentum"]))
    used = []
    for step in range(first, last):
        slope = 2 * X[step].T @ (X[step] @ w - Y[step]) / len(X[step])
        used.append(schedule(step))
        v = momentum(step) * v - used[-1] * slope
        w = w + v
    np.savez(folder / "state.npz", **state | {"w": w, "v": v})
    return used, w


# ---------------------------------------------------------------- torch


def torch_rates(schedule, steps):
    import torch

    return schedule(torch.from_numpy(steps)).numpy()


def torch_train(folder, first, last):
    import torch

    import cyclr.torch

    model = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = cyclr.torch.Scheduler(optimizer, WAVE, momentum=MOMENTUM)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    if first:
        for name, state in torch.load(folder / "state.pt", weights_only=True).items():
            parts[name].load_state_dict(state)
    used = []
    for step in range(first, last):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(torch.from_numpy(X[step])), torch.from_numpy(Y[step])).backward()
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    torch.save({name: part.state_dict() for name, part in parts.items()}, folder / "state.pt")
    return used, model.weight.detach().numpy()


# ---------------------------------------------------------------- JAX and Optax


def jax_rates(schedule, steps):
    import jax

    return jax.jit(jax.vmap(schedule))(steps.astype(np.int32))


def jax_train(folder, first, last):
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=WAVE, momentum=MOMENTUM)
    state = jnp.zeros((3, 1)), optimizer.init(jnp.zeros((3, 1)))
    leaves, form = jax.tree.flatten(state)
    if first:
        saved = np.load(folder / "state.npz")
        state = jax.tree.unflatten(form, [jnp.asarray(saved[f"arr_{i}"]) for i in range(len(leaves))])

    @jax.jit
    def update(state, x, y):
        w, inner = state
        slope = jax.grad(lambda w: jnp.mean((x @ w - y) ** 2))(w)
        change, inner = optimizer.update(slope, inner, w)
        return w + change, inner

    used = []
    for step in range(first, last):
        state = update(state, X[step], Y[step])
        used.append(float(state[1].hyperparams["learning_rate"]))
    np.savez(folder / "state.npz", *jax.tree.leaves(state))
    return used, state[0]


# ---------------------------------------------------------------- Keras, on either backend


def keras_rates(schedule, steps):
    import keras

    from cyclr.keras import LearningRate

    return keras.ops.convert_to_numpy(LearningRate(schedule)(keras.ops.convert_to_tensor(steps, dtype="int32")))


def keras_train(folder, first, last):
    import keras

    from cyclr.keras import LearningRate, WithMomentum

    if first:
        model = keras.models.load_model(folder / "model.keras")
    else:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
        model.compile(WithMomentum(keras.optimizers.SGD(LearningRate(WAVE), momentum=0.9), MOMENTUM), "mse")
    used = []
    for step in range(first, last):
        used.append(float(model.optimizer.learning_rate))
        model.train_on_batch(X[step], Y[step])
    model.save(folder / "model.keras")
    return used, model.get_weights()[0]


FRAMEWORKS = (
    Framework("numpy", ("numpy",), numpy_rates, numpy_train, precision=float(np.finfo(float).eps), last=2**53 - 1),
    Framework("torch", ("torch",), torch_rates, torch_train, last=2**53 - 1),
    Framework("jax", ("jax", "optax"), jax_rates, jax_train),
    Framework("keras on jax", ("keras", "jax"), keras_rates, keras_train, environment={"KERAS_BACKEND": "jax"}),
    Framework("keras on torch", ("keras", "torch"), keras_rates, keras_train, environment={"KERAS_BACKEND": "torch"}),
)


# ---------------------------------------------------------------- the two processes


def steps_of(framework):
    """10,000 steps, then some at random far out, and the last."""
    near, far = np.arange(10_000), np.random.default_rng(1).integers(10_000, framework.last, 500)
    return np.concatenate([near, far, [framework.last]])


def first(framework, folder):
    """All rates, a whole training, and the first half of one."""
    rates = [np.asarray(framework.rates(schedule, steps_of(framework))) for schedule in EXAMPLES]
    np.save(folder / "rates.npy", rates)
    part(framework, folder / "whole", 0, 2 * HALF)
    part(framework, folder / "halves", 0, HALF)


def second(framework, folder):
    """The second half."""
    part(framework, folder / "halves", HALF, 2 * HALF)


def part(framework, folder, start, end):
    """A part of the training; what it used and where it got stands in the folder."""
    folder.mkdir(exist_ok=True)
    used, weights = framework.train(folder, start, end)
    np.savez(folder / f"{start}-{end}.npz", rates=used, weights=np.asarray(weights).ravel())


if __name__ == "__main__":
    name, place, which = sys.argv[1:]
    {"first": first, "second": second}[which](next(one for one in FRAMEWORKS if one.name == name), Path(place))
