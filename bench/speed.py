"""Speed beside every peer: ratios with their spread, measured by turns in one process.

    make bench                                # everything: about 8 minutes on two free cores; begun again, it goes on
    python bench/speed.py run [--again]       # the cases whose packages are installed here
    python bench/speed.py table               # writes the tables of docs/speed.md from bench/records/speed.json
    python bench/speed.py check               # fails if those tables differ from the record

A ratio is the median over rounds of (ours / the other), both measured in each round, with its quartiles. Steps are
timed by CPU time of the thread, range tests by CPU time of the process, programs by the clock. Each case is written to
the record as soon as it is measured; what is there is not measured again without `--again`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
RECORD = HERE / "records" / "speed.json"
PAGE = HERE.parent / "docs" / "speed.md"
BEGIN, END = "<!-- tables: made by bench/speed.py -->\n", "<!-- end of tables -->\n"
PACKAGES = ("cyclr", "numpy", "torch", "jax", "optax", "keras", "lightning", "transformers", "pytorch-ignite", "timm",
            "torch-lr-finder", "fastai")  # fmt: skip
BASE, MAX, SIZE = 0.001, 0.006, 2000
sys.path.insert(0, str(HERE))

Timed = Callable[[], float]


# ---------------------------------------------------------------- measuring


def cpu(function: Callable[[], object], calls: int = 1) -> Timed:
    """CPU seconds of one call; other programs on a busy machine have less influence on them than on the clock."""

    def timed() -> float:
        begun = time.process_time()
        for _ in range(calls):
            function()
        return (time.process_time() - begun) / calls

    return timed


def by_turns(ours: Timed, other: Timed, rounds: int) -> dict[str, Any]:
    """Quartiles of ours / other, and the median seconds of both."""
    ours(), other()
    found = [(ours(), other()) for _ in range(rounds)]
    low, middle, high = statistics.quantiles([one / two for one, two in found], n=4)
    seconds = [statistics.median(pair[place] for pair in found) for place in (0, 1)]
    return {"ratio": middle, "low": low, "high": high, "ours": seconds[0], "other": seconds[1], "rounds": rounds}


def clock(command: list[str]) -> Timed:
    """Seconds of a program by the clock."""

    def timed() -> float:
        begun = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - begun

    return timed


def processor(command: list[str]) -> Timed:
    """CPU seconds of a program: what the clock would show on a free core, if it does not wait for the disk."""

    def timed() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return timed


# ---------------------------------------------------------------- schedules: one step of a scheduler beside the peer's


def sgd(groups: int = 1, ratios: list[float] | None = None) -> Any:
    import torch

    given = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.1 * ratio} for ratio in ratios or [1.0] * groups]
    optimizer = torch.optim.SGD(given, lr=0.1, momentum=0.9)
    optimizer.step()
    optimizer._opt_called = True
    return optimizer


def steps_of_torch() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """Each of torch's schedulers and the loop by hand; rate and momentum where the other drives both."""
    from schedules import paper
    from torch.optim import lr_scheduler as theirs

    import cyclr
    from cyclr.torch import Scheduler

    wave = cyclr.Triangular(BASE, MAX, step_size=SIZE)
    opposed = cyclr.Opposed(wave, 0.85, 0.95)
    for layerwise in (False, True):
        for groups in (1, 10, 100):
            ratios = [0.9**group if layerwise else 1.0 for group in range(groups)]
            words = f"{groups} group{'s' * (groups > 1)}, " + ("layer-wise rates" if layerwise else "one rate")
            ours = Scheduler(sgd(ratios=ratios), wave, momentum=opposed)
            hand, other = sgd(ratios=ratios), sgd(ratios=ratios)
            count = iter(range(10**12))

            def one_rate(hand: Any = hand, count: Any = count) -> None:
                rate = paper(next(count))
                momentum = 0.95 - 0.1 * (rate - BASE) / (MAX - BASE)
                for group in hand.param_groups:
                    group["lr"] = rate
                    group["momentum"] = momentum

            def rates(hand: Any = hand, count: Any = count, ratios: Any = ratios) -> None:
                rate = paper(next(count))
                momentum = 0.95 - 0.1 * (rate - BASE) / (MAX - BASE)
                for group, ratio in zip(hand.param_groups, ratios):  # noqa: B905 (as a user writes it)
                    group["lr"] = ratio * rate
                    group["momentum"] = momentum

            yield f"rate and momentum, {words}", "a loop by hand", ours.step, rates if layerwise else one_rate
            low, high = ([bound * ratio for ratio in ratios] for bound in (BASE, MAX))
            cyclic = theirs.CyclicLR(other, low, high, SIZE, base_momentum=0.85, max_momentum=0.95)
            yield f"rate and momentum, {words}", "torch CyclicLR", ours.step, cyclic.step
    one = cyclr.one_cycle(MAX, steps=10**7)
    pairs = [
        ("one_cycle", one, theirs.OneCycleLR(sgd(), MAX, total_steps=10**7, cycle_momentum=False), "torch OneCycleLR"),
        ("WarmRestarts", cyclr.WarmRestarts(0, MAX, period=SIZE),
         theirs.CosineAnnealingWarmRestarts(sgd(), SIZE), "torch CosineAnnealingWarmRestarts"),
        ("Triangular", wave, theirs.LambdaLR(sgd(), paper), "torch LambdaLR of the formula by hand"),
    ]  # fmt: skip
    for name, schedule, scheduler, peer in pairs:
        yield f"{name}, 1 group", peer, Scheduler(sgd(), schedule).step, scheduler.step


def steps_of_others() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """timm, Ignite, transformers, Optax and Keras."""
    import cyclr
    from cyclr.torch import Scheduler

    decay = cyclr.warm_up(cyclr.Cosine(MAX, 0, steps=10**7), steps=100)
    if find_spec("timm"):
        # timm's models need torchvision, which its schedulers do not: the package is opened without its __init__
        found = find_spec("timm")
        package = ModuleType("timm")
        package.__path__ = list((found and found.submodule_search_locations) or ())
        sys.modules["timm"] = package
        from timm.scheduler.cosine_lr import CosineLRScheduler

        peer, count = CosineLRScheduler(sgd(), t_initial=10**7, t_in_epochs=False), iter(range(10**12))
        ours = Scheduler(sgd(), cyclr.Cosine(0.1, 0, steps=10**7))
        yield "Cosine, 1 group", "timm CosineLRScheduler", ours.step, lambda: peer.step_update(next(count))
    if find_spec("ignite"):
        from ignite.handlers import LinearCyclicalScheduler

        event = LinearCyclicalScheduler(sgd(), "lr", BASE, MAX, 2 * SIZE)
        ours = Scheduler(sgd(), cyclr.Triangular(BASE, MAX, step_size=SIZE))
        yield "Triangular, 1 group", "Ignite LinearCyclicalScheduler", ours.step, lambda: event(None)
    if find_spec("transformers"):
        from transformers import get_cosine_schedule_with_warmup

        peer = get_cosine_schedule_with_warmup(sgd(), 100, 10**7)
        yield "warm-up and cosine, 1 group", "transformers get_cosine_…", Scheduler(sgd(), decay).step, peer.step


def values_of_jax() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """A schedule's value in a compiled step: Optax's and Keras's own beside ours."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import jax.numpy as jnp
    import optax

    import cyclr

    steps = jnp.arange(4096)
    ours = jax.jit(jax.vmap(cyclr.Cosine(MAX, 0, steps=10_000)))
    theirs = jax.jit(jax.vmap(optax.cosine_decay_schedule(MAX, 10_000)))
    yield "4,096 steps under jit", "optax.cosine_decay_schedule", *(_ready(f, steps) for f in (ours, theirs))

    def update(rate: Any) -> Callable[[], object]:
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
        weights = jnp.zeros(1000)
        state = optimizer.init(weights)
        step = jax.jit(lambda state: optimizer.update(weights, state))
        return lambda: jax.block_until_ready(step(state))

    pair = cyclr.Cosine(MAX, 0, steps=10_000), optax.cosine_decay_schedule(MAX, 10_000)
    yield "update of inject_hyperparams(sgd) under jit", "optax.cosine_decay_schedule", *map(update, pair)
    import keras

    from cyclr.keras import LearningRate

    own = jax.jit(lambda step: LearningRate(pair[0])(step))
    peer = jax.jit(lambda step: keras.optimizers.schedules.CosineDecay(MAX, 10_000)(step))
    step = jnp.asarray(7)
    yield "one step under jit", "Keras CosineDecay", *(_ready(f, step) for f in (own, peer))


def _ready(function: Callable[[Any], Any], argument: Any) -> Callable[[], object]:
    return lambda: function(argument).block_until_ready()


def compile_times() -> Iterator[tuple[str, dict[str, Any]]]:
    """Trace and compile time of many cycles beside few."""
    import jax
    import jax.numpy as jnp

    import cyclr

    def fresh(cycles: int) -> Callable[[], object]:
        def build() -> object:
            wave = cyclr.Triangular2(BASE, MAX, step_size=50).take(100 * cycles)
            return jax.jit(lambda step: wave(step)).lower(jnp.asarray(0)).compile()

        return build

    yield "JAX: trace and compile 3,000 cycles", {"beside": "3 cycles", **by_turns(cpu(fresh(3000)), cpu(fresh(3)), 9)}
    wave = cyclr.Triangular2(BASE, MAX, step_size=50)
    far, near = cpu(lambda: wave(2**53 - 1), 2000), cpu(lambda: wave(0), 2000)
    yield "Triangular2 at step 2**53 - 1", {"beside": "step 0", **by_turns(far, near, 41)}


# ---------------------------------------------------------------- range tests


WIDTHS = {"0.3 ms": (64, 64), "1 ms": (256, 128), "30 ms": (1024, 512)}


def training(size: str) -> tuple[Any, Any, list[Any]]:
    """A network of which an update takes about so long on one core."""
    import torch

    width, batch = WIDTHS[size]
    torch.manual_seed(0)
    layers = [torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))
    batches = [(torch.randn(batch, width), torch.randint(10, (batch,))) for _ in range(20)]
    return model, torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9), batches


def bare(size: str, steps: int) -> None:
    import torch

    model, optimizer, batches = training(size)
    for step in range(steps):
        x, y = batches[step % len(batches)]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def ours_in(size: str, steps: int) -> None:
    import torch

    from cyclr import Ramp
    from cyclr.torch import range_test

    # a ramp so low that nothing ends it
    range_test(*training(size), torch.nn.functional.cross_entropy, ramp=Ramp(1e-6, 1e-3, steps))


def lr_finder_in(size: str, steps: int) -> None:
    import torch
    from torch_lr_finder import LRFinder

    model, optimizer, batches = training(size)
    finder = LRFinder(model, optimizer, torch.nn.CrossEntropyLoss(), device="cpu")
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    finder.range_test(loader, start_lr=1e-6, end_lr=1e-3, num_iter=steps)
    finder.reset()


def ignite_in(size: str, steps: int) -> None:
    import torch
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    model, optimizer, batches = training(size)
    trainer = create_supervised_trainer(model, optimizer, torch.nn.CrossEntropyLoss())
    finder = FastaiLRFinder()
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, start_lr=1e-6, end_lr=1e-3, num_iter=steps) as attached:
        attached.run(batches, max_epochs=math.ceil(steps / len(batches)))


def fastai_in(size: str, steps: int) -> None:
    import torch
    from fastai.callback import schedule  # noqa: F401 (gives learners lr_find)
    from fastai.callback.progress import ProgressCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    model, _, batches = training(size)
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(DataLoaders(loader, loader), model, torch.nn.CrossEntropyLoss(), SGD, path=folder)
        learner.remove_cb(ProgressCallback)
        learner.lr_find(start_lr=1e-6, end_lr=1e-3, num_it=steps, show_plot=False, suggest_funcs=())


def lightning_in(size: str, steps: int) -> None:
    import lightning
    import torch
    from lightning.pytorch.tuner import Tuner

    model, _, batches = training(size)

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = model, 1e-6

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=10**6, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder,
        )  # fmt: skip
        loader = torch.utils.data.DataLoader(batches, batch_size=None)
        Tuner(trainer).lr_find(Net(), loader, min_lr=1e-6, max_lr=1e-3, num_training=steps)


FINDERS = {
    "a bare loop": ("torch", bare),
    "torch-lr-finder": ("torch_lr_finder", lr_finder_in),
    "Ignite FastaiLRFinder": ("ignite", ignite_in),
    "fastai lr_find": ("fastai", fastai_in),
    "Lightning Tuner": ("lightning", lightning_in),
}


def peak(function: str, size: str, steps: int) -> float:
    """Peak memory in MiB of a process that makes a range test, above one that makes a training of the same size."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import speed, warnings; warnings.simplefilter('ignore')\n"
        f"speed.quiet(); speed.{function}({size!r}, {steps})\n"
        "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(ran.stdout.split()[-1]) / 1024


def quiet() -> None:
    """No lines of the peers' loggers; one thread."""
    import logging

    import torch

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)


# ---------------------------------------------------------------- what is run


Case = tuple[str, str, str, Callable[[], dict[str, Any]]]  # table, what, beside, measure


def steps_cases(found: Iterator[Any], table: str, calls: int) -> Iterator[Case]:
    for what, beside, ours, other in found:
        yield table, what, beside, lambda ours=ours, other=other: by_turns(cpu(ours, calls), cpu(other, calls), 41)


def cases() -> Iterator[Case]:
    """All cases whose packages are installed here."""
    if find_spec("torch"):
        yield from steps_cases(steps_of_torch(), "steps", 200)
        yield from steps_cases(steps_of_others(), "steps", 200)
    if find_spec("optax") and find_spec("keras"):
        yield from steps_cases(values_of_jax(), "steps", 50)
        for what, found in compile_times():
            yield "far", what, found.pop("beside"), lambda found=found: found
    for size, rounds in (("0.3 ms", 15), ("1 ms", 15), ("30 ms", 3)):
        for beside, (package, function) in FINDERS.items():
            if find_spec(package):
                for steps in (60, 300) if function is bare and size != "30 ms" else (60,):
                    run = [lambda f=f, size=size, steps=steps: f(size, steps) for f in (ours_in, function)]
                    what = f"{steps} steps of {size}"
                    yield "range test", what, beside, lambda run=run, rounds=rounds: by_turns(*map(cpu, run), rounds)
    for beside, (package, function) in FINDERS.items():
        if find_spec(package):
            yield "memory", "peak of a process, 60 steps of 30 ms", beside, lambda function=function: _peaks(function)
    yield from programs()


def _peaks(function: Callable[..., None]) -> dict[str, Any]:
    found = [(peak("ours_in", "30 ms", 60), peak(function.__name__, "30 ms", 60)) for _ in range(3)]
    ours, other = (statistics.median(pair[place] for pair in found) for place in (0, 1))
    ratios = sorted(one / two for one, two in found)
    return {"ratio": ratios[1], "low": ratios[0], "high": ratios[2], "ours": ours, "other": other, "rounds": 3}


def programs() -> Iterator[Case]:
    """Imports, the shell, a study on one worker and on two, the demo."""
    python = [sys.executable, "-c"]

    def imports() -> dict[str, Any]:
        base = min(processor([*python, "pass"])() for _ in range(9))
        pair = [lambda name=name: processor([*python, f"import {name}"])() - base for name in ("cyclr", "numpy")]
        return by_turns(*pair, 15)

    yield "programs", "import cyclr", "import numpy", imports
    shown = processor([sys.executable, "-m", "cyclr", "--help"])
    yield "programs", "cyclr --help, CPU time", "250 ms", lambda: by_turns(shown, lambda: 0.25, 15)

    def study(workers: int) -> Timed:
        def timed() -> float:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "cyclr", "compare", "fashion", "--epochs", "6", "--seeds", "2"]
                return clock([*command, "--workers", str(workers), "--out", f"{folder}/study", "--json"])()

        return timed

    yield "programs", "a study, 2 workers", "1 worker", lambda: by_turns(study(2), study(1), 3)

    def demo() -> float:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "cyclr", "demo"], cwd=folder, capture_output=True, check=True)
            return time.perf_counter() - begun

    yield "programs", "the demo", "a minute", lambda: by_turns(demo, lambda: 60.0, 2)


def machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": names[0].partition(": ")[2] if names else platform.processor(), "cores": os.cpu_count(),
        "python": platform.python_version(), "load": round(os.getloadavg()[0], 1), "versions": versions,
    }  # fmt: skip


def read() -> list[dict[str, Any]]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else []


def write(rows: list[dict[str, Any]]) -> None:
    RECORD.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def run(*, again: bool) -> None:
    """Measure all that is not in the record yet, and write each case at once."""
    quiet()
    failed = []
    for table, what, beside, measure in cases():
        rows = read()
        known = [row for row in rows if (row["table"], row["what"], row["beside"]) == (table, what, beside)]
        if known and not again:
            continue
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # the peers' progress
                found = {name: float(f"{value:.4g}") for name, value in measure().items()}
        except Exception as error:  # noqa: BLE001 (one peer that fails does not keep the others from being measured)
            failed.append(f"{table}: {what} / {beside}: {type(error).__name__}: {error}")
            continue
        row = {"table": table, "what": what, "beside": beside, **found, "machine": machine()}
        write([*(one for one in rows if one not in known), row])
        print(f"{table}: {what} / {beside}: {found['ratio']:.2f} [{found['low']:.2f}, {found['high']:.2f}]", flush=True)
    if failed:
        sys.exit("not measured:\n" + "\n".join(failed))


# ---------------------------------------------------------------- tables


TABLES = {
    "steps": ("One step of a scheduler", "µs", 1e6),
    "far": ("Many cycles and far steps", "µs", 1e6),
    "range test": ("Range tests", "s", 1.0),
    "memory": ("Memory of a range test", "MiB", 1.0),
    "programs": ("Programs", "s", 1.0),
}


def tables() -> str:
    lines = []
    rows = read()
    for table, (title, unit, scale) in TABLES.items():
        own = [row for row in rows if row["table"] == table]
        if own:
            lines += [f"### {title}", "", f"| what | beside | ours, {unit} | other, {unit} | ratio | quartiles |",
                      "|---|---|---|---|---|---|"]  # fmt: skip
            for row in own:
                cells = [row["what"], row["beside"], *(f"{scale * row[key]:,.3g}" for key in ("ours", "other"))]
                lost = row["ratio"] > 1.05
                ratio = f"**{row['ratio']:.2f}**" if lost else f"{row['ratio']:.2f}"
                lines.append("| " + " | ".join([*cells, ratio, f"{row['low']:.2f} to {row['high']:.2f}"]) + " |")
            lines.append("")
    places = {
        f"{row['machine']['processor']}, {row['machine']['cores']} cores, Python {row['machine']['python']}; "
        + ", ".join(f"{name} {one}" for name, one in row["machine"]["versions"].items() if name != "cyclr")
        for row in rows
    }
    loads = [row["machine"]["load"] for row in rows]
    if rows:
        lines += [
            f"Measured on {'; and '.join(sorted(places))}. Load of the machine: {min(loads)} to {max(loads)}.",
            "",
        ]
    return "\n".join(lines)


def page(*, check: bool) -> None:
    """Put the tables into the page, or fail if they are others."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    made = f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"
    if check and made != text:
        sys.exit("docs/speed.md differs from bench/records/speed.json; run python bench/speed.py table")
    if not check:
        PAGE.write_text(made)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "table", "check"])
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    if given.what == "run":
        run(again=given.again)
    else:
        page(check=given.what == "check")


if __name__ == "__main__":
    main()
