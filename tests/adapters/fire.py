"""Signals at random moments of range tests: whatever they hit, everything must be as it was before.

    python -m tests.adapters.fire FRAMEWORK SIGNALS SEED [RECORD]

with `torch`, `lightning`, `transformers`, `keras` (on the backend that KERAS_BACKEND names) or `jax`. Half of the
signals are sent at any moment of a test, half while it restores, which is short. One line says how many arrived where;
with RECORD, a row of that file does, too. Exits with 1 if anything was not restored. `make fire` sends 1,000 in all.
"""

from __future__ import annotations

import contextlib
import csv
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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from cyclr import Ramp, _interrupt

RAMP = Ramp(1e-4, 1e-1, steps=14)
LONGEST = 60  #: seconds for one test; then the program ends with the stacks of all threads
LONGEST_ALL = 1800  #: seconds for all tests of a framework; then no more are begun
KINDS = ("SIGINT", "SIGINT twice", "SIGTERM", "SIGCHLD")
COLUMNS = ("framework", "seed", "sent", *KINDS, "in_the_test", "in_the_restore", "while_noting", "not_restored")
SHORT = 0.005  #: seconds of a restore which a signal from another thread would miss
At = tuple[int, int] | None  #: a restore, and a part of it
Look = Callable[[], object]
#: A range test, how everything is, and the processes that it has started; None if it starts none.
Made = tuple[Callable[[], object], Look, Callable[[], list[int]] | None]


def leave(number: int, frame: object) -> None:
    """A handler as for pre-emption."""
    sys.exit(143)


def main(framework: str, signals: int, seed: int, record: str = "") -> int:
    """Send the signals; the number of tests after which something was not as before."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    rng, counts, wrong = random.Random(seed), Counter[str](), list[str]()
    made = {killed: FRAMEWORKS[framework](killed) for killed in (False, True)}
    fires = {killed: Fire(test, children) for killed, (test, _, children) in made.items()}
    over = time.monotonic() + LONGEST_ALL
    for _ in range(3 * signals):  # a worker may have ended, a test may be over sooner than was guessed
        if counts["sent"] == signals or time.monotonic() > over:
            break
        kind = KINDS[counts["sent"] % len(KINDS)]
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        before, handlers = made[kind == "SIGCHLD"][1](), _handlers()
        struck, error, where = fires[kind == "SIGCHLD"].strike(kind, rng)
        gc.collect()
        counts.update({"sent": struck, kind: struck, where: struck})
        if made[kind == "SIGCHLD"][1]() != before or _handlers() != handlers:
            wrong.append(f"{kind} {where}: {error!r}, handlers {_handlers() == handlers}")
    faulthandler.cancel_dump_traceback_later()
    backend = f" on {os.environ['KERAS_BACKEND']}" if framework == "keras" else ""
    counts["not_restored"] = len(wrong)
    row = {"framework": framework + backend, "seed": seed} | {name: counts[name] for name in COLUMNS[2:]}
    told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    sys.stdout.write(f"{row['framework']}: {row['sent']} sent ({told}): {row['in_the_test']} arrived in the test, "
                     f"{row['in_the_restore']} in the restore, {row['while_noting']} while the state was noted, "
                     f"{counts['after']} without effect; not restored: {len(wrong)}\n")  # fmt: skip
    sys.stdout.writelines(f"  {line}\n" for line in wrong)
    if record:
        _record(Path(record), row)
    return len(wrong)


def _record(file: Path, row: dict[str, Any]) -> None:
    """Put a row in place of that of the same framework."""
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []
    rows = [one for one in rows if one["framework"] != row["framework"]] + [row]
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Fire:
    """Makes a range test again and again and sends it signals.

    Args:
        test: The range test.
        children: The processes that it has started; None to start one for it, whose end raises.
    """

    def __init__(self, test: Callable[[], object], children: Callable[[], list[int]] | None) -> None:
        self.test, self.children = test, children
        self.begun = [threading.Event() for _ in range(100)]  # of the restores in a test
        test()  # compiles
        start = time.perf_counter()
        with self._watched():
            test()
        self.whole, self.usual = time.perf_counter() - start, list(zip(self._took, self._parts, strict=True))

    def strike(self, kind: str, rng: random.Random) -> tuple[int, BaseException | None, str]:
        """Make the test under fire: whether a signal was sent, what the test raised, and where the signal arrived."""
        which = rng.randrange(len(self.usual)) if rng.random() < 0.5 else None
        seconds, parts = self.usual[which] if which is not None else (self.whole, 0)
        self.over, self.sent, error, at = threading.Event(), 0, None, None
        if which is not None and seconds < SHORT:
            at = which, rng.randrange(parts + 1)
        striker = threading.Thread(target=self._wait, args=(kind, which, rng.uniform(0, seconds), at))
        with self._watched(kind, at), _helper(kind == "SIGCHLD" and self.children is None) as self.helper:
            try:
                try:
                    striker.start()
                    self.test()
                finally:
                    while True:  # whatever arrives only now
                        with contextlib.suppress(BaseException):
                            self.over.set()
                            striker.join()
                            time.sleep(0.001)
                            break
            except BaseException as caught:  # noqa: BLE001 (in the middle of a library a signal may come out as anything)
                error = caught
                if "-v" in sys.argv:
                    traceback.print_exception(caught)
            where = self.landed or ("in_the_test" if error is not None else "after")
        return self.sent, error, where

    def _wait(self, kind: str, which: int | None, moment: float, at: At) -> None:
        """Wait, for the restore if that is meant, and send the signal from a thread of its own."""
        while which is not None and not self.begun[which].wait(0.1) and not self.over.is_set():
            pass
        if at is None and not self.over.wait(moment):
            self._send(kind)

    def _send(self, kind: str) -> None:
        if kind == "SIGCHLD":
            pids = [self.helper.pid] if self.helper else self.children() if self.children else []
            for pid in pids[:1]:
                os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                self.sent = 1
            return
        self.sent = 1
        os.kill(os.getpid(), getattr(signal, kind.split()[0]))
        if kind.endswith("twice") and not self.over.wait(0.001):
            os.kill(os.getpid(), signal.SIGINT)

    @contextlib.contextmanager
    def _watched(self, kind: str = "", at: At = None) -> Iterator[None]:
        """Time the restores, and see where signals arrive; send one at a part of a restore that is very short."""
        self._took: list[float] = []
        self._parts: list[int] = []
        self.landed = ""
        for one in self.begun:
            one.clear()
        wait, put_back = _interrupt.Deferral.wait, _interrupt.put_back

        def noticed(deferral: Any, front: Any) -> None:
            self.landed = self.landed or _where(sys._getframe())
            wait(deferral, front)

        def counted(index: int, undo: Iterable[Any]) -> Iterator[Any]:
            for one in undo:
                if at == (index, self._parts[index]):
                    self._send(kind)
                yield one
                self._parts[index] += 1
            if at == (index, self._parts[index]):
                self._send(kind)

        def timed(undo: Iterable[Any]) -> None:
            start, index = time.perf_counter(), len(self._took)
            self._took.append(0)
            self._parts.append(0)
            self.begun[index].set()
            try:
                put_back(counted(index, undo))
            finally:
                self._took[index] = time.perf_counter() - start

        _interrupt.Deferral.wait, _interrupt.put_back = noticed, timed  # type: ignore[method-assign]
        try:
            yield
        finally:
            _interrupt.Deferral.wait, _interrupt.put_back = wait, put_back  # type: ignore[method-assign]


def _where(frame: FrameType | None) -> str:
    codes = set()
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    return "in_the_restore" if _interrupt.Restored.__exit__.__code__ in codes else "while_noting"


@contextlib.contextmanager
def _helper(wanted: bool) -> Iterator[Any]:
    """A child of ours whose end raises, as torch's handler does: JAX forbids the forks that a loader makes."""
    if not wanted:
        yield None
        return
    helper = subprocess.Popen(["sleep", "1000"])

    def died(number: int, frame: object) -> None:
        if helper.poll() is not None:
            raise ChildProcessError

    signal.signal(signal.SIGCHLD, died)
    try:
        yield helper
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        helper.kill()
        helper.wait()


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
    # What torch waits for each worker of a loader that the collector finds, as Keras leaves those of a stopped training
    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5
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

    return test, look, _children if forks else None


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

    return lambda: range_test(step, state, loader, ramp=RAMP), look, None


FRAMEWORKS = {
    "torch": _torch, "lightning": _lightning, "transformers": _transformers, "keras": _keras, "jax": _jax
}  # fmt: skip

if __name__ == "__main__":
    name, number, seed, *record = [one for one in sys.argv[1:] if one != "-v"]
    sys.exit(bool(main(name, int(number), int(seed), *record)))
