"""Signals at random moments of range tests: whatever they hit, everything must be as it was before.

    python -m tests.adapters.fire FRAMEWORK SIGNALS SEED

with `torch`, `lightning`, `transformers`, `keras` (on the backend that KERAS_BACKEND names) or `jax`. Writes how many
signals arrived inside the test, and how many of them inside the restore; exits with 1 if anything was not restored.
`make fire` sends 1,000.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from cyclr import Ramp, _interrupt

RAMP = Ramp(1e-4, 1e-1, steps=14)
LONGEST = 60  #: seconds for one test; then the program ends with the stacks of all threads
KINDS = ("SIGINT", "SIGINT twice", "SIGTERM", "SIGCHLD")
Look = Callable[[], object]
Made = tuple[Callable[[], object], Look, Callable[[], list[int]]]


def leave(number: int, frame: object) -> None:
    """A handler as for pre-emption."""
    sys.exit(143)


def main(framework: str, signals: int, seed: int) -> int:
    """Send the signals; the number of tests after which something was not as before."""
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    wrong, arrived, inside, ended = [], dict.fromkeys(KINDS, 0), 0, 0.0
    whole = _timed(FRAMEWORKS[framework](False))
    for number in range(signals):
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        kind = KINDS[number % len(KINDS)]
        test, look, workers = FRAMEWORKS[framework](kind == "SIGCHLD")
        before, handlers = look(), _handlers()
        # Half of them at any moment, half around the restore, which is short.
        moment = rng.uniform(0, whole) if rng.random() < 0.5 else rng.gauss(ended or whole, 0.1 * whole)
        error, late, ended = _struck(test, kind, max(moment, 1e-4), workers, ended)
        if error is not None:
            arrived[kind] += 1
            inside += late
        _end_helpers()
        gc.collect()
        if look() != before or _handlers() != handlers:
            wrong.append(f"{kind} at {moment:.4f} s: {error!r}, handlers {_handlers() == handlers}")
    told = ", ".join(f"{count} {kind}" for kind, count in arrived.items())
    sys.stdout.write(f"{framework}: {signals} sent, {sum(arrived.values())} arrived inside ({told}), {inside} of them "
                     f"in the restore or while the state was noted; not restored: {len(wrong)}\n")  # fmt: skip
    sys.stdout.writelines(f"  {line}\n" for line in wrong)
    return len(wrong)


def _timed(made: Made) -> float:
    made[0]()  # compiles
    start = time.perf_counter()
    made[0]()
    return time.perf_counter() - start


def _struck(
    test: Callable[[], object], kind: str, moment: float, workers: Callable[[], list[int]], ended: float
) -> tuple[BaseException | None, bool, float]:
    """Make the test under fire: what it raised, whether that had waited, and how long an unharmed one took."""
    over = threading.Event()
    waited: list[int] = []

    def strike() -> None:
        if over.wait(moment):
            return
        if kind == "SIGCHLD":
            for pid in workers()[:1]:
                os.kill(pid, signal.SIGKILL)
            return
        os.kill(os.getpid(), getattr(signal, kind.split()[0]))
        if kind.endswith("twice") and not over.wait(0.001):
            os.kill(os.getpid(), signal.SIGINT)

    wait = _interrupt.Deferral.wait

    def noticed(self: Any, front: Any) -> None:
        waited.append(front.number)
        wait(self, front)

    _interrupt.Deferral.wait = noticed  # type: ignore[method-assign]
    striker, error = threading.Thread(target=strike), None
    try:
        try:
            striker.start()
            start = time.perf_counter()
            test()
            ended = time.perf_counter() - start
        finally:
            over.set()
            if striker.ident is not None:
                striker.join()
    except BaseException as caught:  # noqa: BLE001 (in the middle of a library a signal may come out as anything)
        error = caught
        if "-v" in sys.argv:
            traceback.print_exception(caught)
    finally:
        _interrupt.Deferral.wait = wait  # type: ignore[method-assign]
    return error, bool(waited), ended


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def _random() -> list[object]:
    found: list[object] = [random.getstate(), np.random.get_state()[1].tolist()]
    if torch := sys.modules.get("torch"):
        found.append(torch.get_rng_state().tolist())
    return found


def _torch_parts(killed: bool) -> tuple[Any, Any, Any]:
    """A network, its data, and a loader with two workers if one of them will be killed."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    model = nn.Sequential(*(layer for _ in range(12) for layer in (nn.Linear(32, 32), nn.BatchNorm1d(32), nn.Tanh())))
    x = torch.randn(256, 32)
    data = torch.utils.data.TensorDataset(x, x.flip(1))
    return model, data, torch.utils.data.DataLoader(data, 16, shuffle=True, num_workers=2 * killed)


def _children() -> list[int]:
    import multiprocessing

    return [one.pid for one in multiprocessing.active_children() if one.pid]


def _torch(killed: bool) -> Made:
    import torch

    from cyclr.torch import range_test
    from tests.torch.digest import digest

    model, _, loader = _torch_parts(killed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def test() -> object:
        return range_test(model, optimizer, loader, torch.nn.functional.mse_loss, ramp=RAMP)

    return test, lambda: digest(model, optimizer, loader=loader), _children


def _lightning(killed: bool) -> Made:
    import logging

    import torch

    from cyclr.lightning import range_test
    from tests.adapters.lightning_net import L, trainer
    from tests.torch.digest import digest

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    network, _, loader = _torch_parts(killed)

    class Net(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.mse_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    module, fit = Net(), trainer(max_epochs=1)
    return lambda: range_test(fit, module, loader, ramp=RAMP), lambda: digest(module, loader=loader), _children


def _transformers(killed: bool) -> Made:
    import torch
    from transformers import Trainer, TrainingArguments

    from cyclr.transformers import range_test
    from tests.torch.digest import digest

    network, data, _ = _torch_parts(killed)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any, labels: Any) -> Any:
            return {"loss": torch.nn.functional.mse_loss(self.network(x), labels)}

    quiet: dict[str, Any] = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False}
    arguments = TrainingArguments(tempfile.gettempdir(), **quiet, dataloader_num_workers=2 * killed)
    model = Net()
    examples = [{"x": x, "labels": y} for x, y in data]
    trainer = Trainer(model, arguments, train_dataset=examples)
    return lambda: range_test(trainer, ramp=RAMP), lambda: digest(model), _children


def _keras(killed: bool) -> Made:
    import keras

    from cyclr.keras import RangeTest

    model = keras.Sequential([keras.Input((32,)), *(keras.layers.Dense(32, "tanh") for _ in range(5))])
    model.compile(keras.optimizers.Adam(1e-3), "mse", metrics=["mae"])
    x = np.random.normal(size=(256, 32)).astype(np.float32)
    data: dict[str, Any] = {"x": x, "y": x[:, ::-1].copy(), "batch_size": 16}
    forks = killed and keras.config.backend() == "torch"
    children = _children if forks else _helper(killed)
    if forks:
        data = {"x": _torch_parts(killed)[2]}
    model.fit(x, data.get("y", x), verbose=0)

    def test() -> None:
        with RangeTest(model, ramp=RAMP) as made:
            model.fit(**data, epochs=5, verbose=0, callbacks=[made])

    def look() -> object:
        values = [np.asarray(keras.ops.convert_to_numpy(one)).tobytes() for one in model.variables]
        values += [np.asarray(keras.ops.convert_to_numpy(one)).tobytes() for one in model.optimizer.variables]
        own = (id(model.train_function), id(model.optimizer._learning_rate), "fit" in vars(model), model.stop_training)
        return values, own, len(model.optimizer.variables), _random()

    return test, look, children


def _jax(killed: bool) -> Made:
    import jax
    import jax.numpy as jnp

    from cyclr.jax import range_test

    class Loader:
        """Shuffles with a generator of its own and with the global one."""

        def __init__(self) -> None:
            self.own = np.random.default_rng(1)
            self.x = np.random.normal(size=(256, 32)).astype(np.float32)

        def __iter__(self) -> Any:
            for index in self.own.permutation(256).reshape(16, 16):
                yield self.x[index] + np.float32(random.random())

    loader, state = Loader(), {"w": jnp.eye(32)}

    def loss(state: Any, batch: Any) -> Any:
        return jnp.mean((jnp.tanh(batch @ state["w"]) - batch[:, ::-1]) ** 2)

    def step(state: Any, batch: Any, lr: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(state, batch)
        return jax.tree.map(lambda one, by: one - lr * by, state, slope), value

    def look() -> object:
        return np.asarray(state["w"]).tobytes(), loader.own.bit_generator.state, _random()

    return lambda: range_test(step, state, loader, ramp=RAMP), look, _helper(killed)


def _helper(killed: bool) -> Callable[[], list[int]]:
    """A child of ours whose end raises, as torch's handler does: JAX forbids the forks that a loader makes."""
    if not killed:
        return list
    helper = subprocess.Popen(["sleep", "1000"])
    HELPERS.append(helper)

    def died(number: int, frame: object) -> None:
        if helper.poll() is not None:
            raise ChildProcessError

    signal.signal(signal.SIGCHLD, died)
    return lambda: [helper.pid] if helper.returncode is None else []


HELPERS: list[Any] = []


def _end_helpers() -> None:
    if HELPERS:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while HELPERS:
        HELPERS[-1].kill()
        HELPERS.pop().wait()


FRAMEWORKS = {
    "torch": _torch, "lightning": _lightning, "transformers": _transformers, "keras": _keras, "jax": _jax
}  # fmt: skip

if __name__ == "__main__":
    name, number, seed = sys.argv[1:4]
    sys.exit(bool(main(name, int(number), int(seed))))
