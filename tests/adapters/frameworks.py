"""One case list: each framework that schedules drive, as its users drive it. To add one, add an entry.

Run as a program it is one of the two processes that trainings take: `python -m tests.adapters.frameworks FOLDER
first|second NAME ...`.
"""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import cyclr
from tests import forked
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
    backend: str = "jax"  # of Keras, in its processes
    imports: tuple[str, ...] = ()  # what its processes may find imported

    @property
    def group(self):
        """Those of one group share their processes: all that is not Keras, and Keras on each backend."""
        return "keras" in self.imports, self.backend


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


# ---------------------------------------------------------------- trainers that take the scheduler of torch


def scheduler_rates(schedule, steps):
    """What the scheduler says at each step: torch sets the rates to this after each `step()`."""
    import torch

    import cyclr.torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = cyclr.torch.Scheduler(optimizer, schedule)
    rates = []
    for scheduler.last_epoch in steps.tolist():
        rates += scheduler.get_lr()
    return rates


def least_squares():
    """The network and its optimizer."""
    import torch

    model = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def lightning_train(folder, first, last):
    import lightning as L
    import torch

    import cyclr.torch

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.optimizer = least_squares()
            self.used = []

        def training_step(self, batch, batch_idx):
            self.used.append(self.optimizer.param_groups[0]["lr"])
            x, y = (torch.from_numpy(values[self.global_step]) for values in (X, Y))
            return torch.nn.functional.mse_loss(self.model(x), y)

        def configure_optimizers(self):
            scheduler = cyclr.torch.Scheduler(self.optimizer, WAVE, momentum=MOMENTUM)
            return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    module = Module()
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = L.Trainer(accelerator="cpu", max_steps=last, default_root_dir=folder, **quiet)
    loader = torch.utils.data.DataLoader(range(HALF))  # an epoch is half the training
    trainer.fit(module, loader, ckpt_path=folder / "last.ckpt" if first else None, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return module.used, module.model.weight.detach().numpy()


def transformers_train(folder, first, last):
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from cyclr.transformers import use_schedule

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.optimizer = least_squares()

        def forward(self, x, y):
            return {"loss": torch.nn.functional.mse_loss(self.linear(x[0]), y[0])}

    class Stop(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
            used.append(optimizer.param_groups[0]["lr"])

        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = control.should_save = state.global_step == last

    used, model = [], Model()
    texts = {"schedule": repr(WAVE), "momentum": repr(MOMENTUM)}
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    options = {"per_device_train_batch_size": 1, "max_grad_norm": 0, "use_cpu": True, "dataloader_pin_memory": False}
    arguments = TrainingArguments(
        folder, num_train_epochs=1, train_sampling_strategy="sequential", lr_scheduler_kwargs=texts, **quiet, **options
    )
    data = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    trainer = Trainer(model, arguments, train_dataset=data, optimizers=(model.optimizer, None), callbacks=[Stop()])
    use_schedule(trainer)
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{first}") if first else None)
    return used, model.linear.weight.detach().numpy()


def accelerate_train(folder, first, last):
    import torch
    from accelerate import Accelerator

    import cyclr.torch

    model, optimizer = least_squares()
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    scheduler = cyclr.torch.Scheduler(optimizer, WAVE, momentum=MOMENTUM)
    accelerator = Accelerator(cpu=True)
    loader = torch.utils.data.DataLoader(data, batch_size=1)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)
    if first:
        accelerator.load_state(folder / "state")
    used = []
    for x, y in accelerator.skip_first_batches(loader, first):
        optimizer.zero_grad()
        accelerator.backward(torch.nn.functional.mse_loss(model(x[0]), y[0]))
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        if len(used) == last - first:
            break
    accelerator.save_state(folder / "state")
    return used, model.weight.detach().numpy()


def ignite_train(folder, first, last):
    import torch
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver, global_step_from_engine

    import cyclr.torch

    model, optimizer = least_squares()
    scheduler = cyclr.torch.Scheduler(optimizer, WAVE, momentum=MOMENTUM)
    used = []

    def update(engine, _):
        step = engine.state.iteration - 1
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(torch.from_numpy(X[step])), torch.from_numpy(Y[step])).backward()
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()

    trainer = Engine(update)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
    parts = {"trainer": trainer, "model": model, "optimizer": optimizer, "scheduler": scheduler}
    saver = DiskSaver(folder, require_empty=False)
    save = Checkpoint(parts, saver, global_step_transform=global_step_from_engine(trainer, Events.ITERATION_COMPLETED))
    trainer.add_event_handler(Events.COMPLETED, save)
    if first:
        Checkpoint.load_objects(parts, torch.load(folder / f"checkpoint_{first}.pt", weights_only=True))
    trainer.run(range(HALF), max_epochs=last // HALF)
    return used, model.weight.detach().numpy()


FRAMEWORKS = (
    Framework("numpy", ("numpy",), numpy_rates, numpy_train, precision=float(np.finfo(float).eps), last=2**53 - 1),
    Framework("torch", ("torch",), torch_rates, torch_train, last=2**53 - 1, imports=forked.TORCH),
    Framework("jax", ("jax", "optax"), jax_rates, jax_train),
    Framework("keras on jax", ("keras", "jax"), keras_rates, keras_train, imports=forked.KERAS),
    Framework("keras on torch", ("keras", "torch"), keras_rates, keras_train, backend="torch", imports=forked.KERAS),
    Framework(
        "lightning", ("torch", "lightning"), scheduler_rates, lightning_train, last=2**53 - 1, imports=forked.LIGHTNING
    ),
    Framework(
        "transformers",
        ("torch", "transformers"),
        scheduler_rates,
        transformers_train,
        last=2**53 - 1,
        imports=forked.TRAINER,
    ),
    Framework(
        "accelerate",
        ("torch", "accelerate"),
        scheduler_rates,
        accelerate_train,
        last=2**53 - 1,
        imports=forked.ACCELERATE,
    ),
    Framework("ignite", ("torch", "ignite"), scheduler_rates, ignite_train, last=2**53 - 1, imports=forked.TORCH),
)


# ---------------------------------------------------------------- the two processes


def steps_to(last):
    """10,000 steps, then some at random far out, and the last."""
    near, far = np.arange(10_000), np.random.default_rng(1).integers(10_000, last, 500)
    return np.concatenate([near, far, [last]])


@cache  # several trainers take the same scheduler, and are asked the same
def rates(ask, last):
    """What a framework makes of each schedule."""
    return np.array([np.asarray(ask(schedule, steps_to(last))) for schedule in EXAMPLES])


def first(framework, folder):
    """All rates, a whole training, and the first half of one."""
    np.save(folder / "rates.npy", rates(framework.rates, framework.last))
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


def main(folder, process, *names):
    """One of the two processes; an error is written down, so that it is that of one framework alone."""
    for framework in FRAMEWORKS:
        if framework.name in names:
            place = Path(folder, framework.name)
            place.mkdir(exist_ok=True)
            try:
                {"first": first, "second": second}[process](framework, place)
            except Exception:  # noqa: BLE001
                with (place / "failed").open("a") as file:
                    traceback.print_exc(file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
